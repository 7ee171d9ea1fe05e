#include "route/context_tls.h"

#include "route/format_evals.h"

static mc_status set_certificate(const mc_context_reader *r, unsigned variant, const mc_value *value,
                                 mc_certificate *cert) {
    switch (variant & ~(unsigned)MC_CERT_LOCAL) {
    case MC_CERT_SUBJECT: return mc_context_text(r, value, &cert->subject);
    case MC_CERT_ISSUER: return mc_context_text(r, value, &cert->issuer);
    case MC_CERT_SERIAL: return mc_context_text(r, value, &cert->serial);
    case MC_CERT_SHA256: return mc_context_text(r, value, &cert->sha256);
    case MC_CERT_SHA1: return mc_context_text(r, value, &cert->sha1);
    case MC_CERT_ISSUER_SERIAL: return mc_context_text(r, value, &cert->issuer_serial);
    case MC_CERT_ISSUER_SHA256: return mc_context_text(r, value, &cert->issuer_sha256);
    case MC_CERT_PEM: return mc_context_text(r, value, &cert->pem);
    case MC_CERT_URI_SAN: return mc_context_texts(r, value, &cert->uri_sans);
    case MC_CERT_DNS_SAN: return mc_context_texts(r, value, &cert->dns_sans);
    case MC_CERT_IP_SAN: return mc_context_texts(r, value, &cert->ip_sans);
    case MC_CERT_EMAIL_SAN: return mc_context_texts(r, value, &cert->email_sans);
    case MC_CERT_OTHER_SAN: return mc_context_texts(r, value, &cert->other_sans);
    case MC_CERT_CHAIN_SERIALS: return mc_context_texts(r, value, &cert->chain_serials);
    case MC_CERT_CHAIN_SHA256: return mc_context_texts(r, value, &cert->chain_sha256);
    case MC_CERT_CHAIN_SHA1: return mc_context_texts(r, value, &cert->chain_sha1);
    case MC_CERT_V_START: return mc_context_u64(r, value, &cert->valid_from_s);
    default: return mc_context_u64(r, value, &cert->valid_to_s);
    }
}

/* The structs behind info->*_tls are made here and nowhere else, so that they may be written. */
static mc_tls_info *open_tls(const mc_context_reader *r, const mc_tls_info **at) {
    if (*at == NULL) {
        *at = mc_arena_zalloc(r->arena, sizeof(mc_tls_info));
    }
    return (mc_tls_info *)*at;
}

static mc_certificate *open_certificate(const mc_context_reader *r, const mc_certificate **at) {
    if (*at == NULL) {
        mc_certificate *cert = mc_arena_zalloc(r->arena, sizeof *cert);
        if (cert != NULL) {
            cert->valid_from_s = cert->valid_to_s = MC_NO_TIME;
        }
        *at = cert;
    }
    return (mc_certificate *)*at;
}

mc_status mc_context_tls_field(const mc_context_reader *r, unsigned variant, const mc_value *value,
                               const mc_tls_info **at) {
    mc_tls_info *tls = open_tls(r, at);
    if (tls == NULL) {
        return MC_ENOMEM;
    }
    switch (variant) {
    case MC_TLS_VERSION: return mc_context_text(r, value, &tls->version);
    case MC_TLS_CIPHER: return mc_context_text(r, value, &tls->cipher);
    case MC_TLS_SESSION_ID: return mc_context_text(r, value, &tls->session_id);
    case MC_TLS_SNI: return mc_context_text(r, value, &tls->sni);
    case MC_TLS_GROUP: return mc_context_text(r, value, &tls->group);
    case MC_TLS_JA3: return mc_context_text(r, value, &tls->ja3);
    case MC_TLS_JA4: return mc_context_text(r, value, &tls->ja4);
    default: break;
    }
    mc_certificate *cert = open_certificate(r, variant & MC_CERT_LOCAL ? &tls->local : &tls->peer);
    return cert == NULL ? MC_ENOMEM : set_certificate(r, variant, value, cert);
}

static mc_status read_certificate(const mc_context_reader *r, const mc_value *value, const mc_certificate **at) {
    static const struct {
        const char *name;
        uint8_t variant;
    } fields[] = {{"subject", MC_CERT_SUBJECT},
                  {"issuer", MC_CERT_ISSUER},
                  {"serial", MC_CERT_SERIAL},
                  {"fingerprint_256", MC_CERT_SHA256},
                  {"sha256", MC_CERT_SHA256},
                  {"fingerprint_1", MC_CERT_SHA1},
                  {"sha1", MC_CERT_SHA1},
                  {"issuer_serial", MC_CERT_ISSUER_SERIAL},
                  {"issuer_fingerprint_256", MC_CERT_ISSUER_SHA256},
                  {"cert", MC_CERT_PEM},
                  {"pem", MC_CERT_PEM},
                  {"uri_san", MC_CERT_URI_SAN},
                  {"dns_san", MC_CERT_DNS_SAN},
                  {"ip_san", MC_CERT_IP_SAN},
                  {"email_san", MC_CERT_EMAIL_SAN},
                  {"othername_san", MC_CERT_OTHER_SAN},
                  {"chain_serials", MC_CERT_CHAIN_SERIALS},
                  {"chain_fingerprints_256", MC_CERT_CHAIN_SHA256},
                  {"chain_fingerprints_1", MC_CERT_CHAIN_SHA1},
                  {"cert_v_start", MC_CERT_V_START},
                  {"cert_v_end", MC_CERT_V_END}};
    mc_certificate *cert = open_certificate(r, at);
    if (cert == NULL) {
        return MC_ENOMEM;
    }
    if (value->kind != MC_OBJECT) {
        return mc_context_refuse(r, "a mapping of a certificate's fields");
    }
    for (size_t i = 0; i < value->count; i++) {
        size_t f = 0, count = sizeof fields / sizeof *fields;
        for (; f < count && !mc_slice_eq(mc_slice_cstr(fields[f].name), value->names[i]); f++) {
        }
        if (f == count) {
            return mc_error_set(r->error, MC_EINVAL, r->key, "has no field %.*s", MC_SLICE_ARG(value->names[i]));
        }
        MC_TRY(set_certificate(r, fields[f].variant, &value->items[i], cert));
    }
    return MC_OK;
}

/* {"version": ..., "peer": {...}}: the presence of "peer" says that a certificate was presented. */
mc_status mc_context_tls(const mc_context_reader *r, const mc_value *value, const mc_tls_info **at) {
    static const struct {
        const char *name;
        uint8_t variant;
    } fields[] = {{"version", MC_TLS_VERSION}, {"cipher", MC_TLS_CIPHER}, {"session_id", MC_TLS_SESSION_ID},
                  {"sni", MC_TLS_SNI},         {"group", MC_TLS_GROUP},   {"ja3", MC_TLS_JA3},
                  {"ja4", MC_TLS_JA4}};
    if (value->kind != MC_OBJECT) {
        return mc_context_refuse(r, "a mapping");
    }
    mc_tls_info *tls = open_tls(r, at);
    if (tls == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value->count; i++) {
        const mc_value *item = &value->items[i];
        mc_slice name = value->names[i];
        bool presented = true, found = true;
        if (mc_slice_eq(name, MC_SLICE("peer"))) {
            MC_TRY(read_certificate(r, item, &tls->peer));
        } else if (mc_slice_eq(name, MC_SLICE("local"))) {
            MC_TRY(read_certificate(r, item, &tls->local));
        } else if (mc_slice_eq(name, MC_SLICE("validated"))) {
            MC_TRY(mc_context_flag(r, item, &tls->validated));
        } else if (mc_slice_eq(name, MC_SLICE("presented"))) {
            MC_TRY(mc_context_flag(r, item, &presented));
            if (presented && open_certificate(r, &tls->peer) == NULL) {
                return MC_ENOMEM;
            }
        } else if (mc_slice_eq(name, MC_SLICE("alpn"))) {
            MC_TRY(mc_context_text(r, item, &tls->alpn));
        } else {
            found = false;
        }
        for (size_t f = 0; !found && f < sizeof fields / sizeof *fields; f++) {
            if (mc_slice_eq(mc_slice_cstr(fields[f].name), name)) {
                MC_TRY(mc_context_tls_field(r, fields[f].variant, item, at));
                found = true;
            }
        }
        if (!found) {
            return mc_error_set(r->error, MC_EINVAL, r->key, "has no field %.*s", MC_SLICE_ARG(name));
        }
    }
    return MC_OK;
}
