/* Operators that read TLS: absent without TLS, and where the certificate does not say. */
#include "route/format_evals.h"

static mc_format_result join(mc_slices items, mc_text *out) {
    const size_t start = out->n;
    for (uint32_t i = 0; i < items.count; i++) {
        if (i > 0) {
            mc_text_lit(out, ",");
        }
        mc_text_add(out, items.items[i]);
    }
    return out->n > start ? MC_FORMAT_SOME : MC_FORMAT_NOTHING;
}

/* As in x-forwarded-client-cert. */
static mc_format_result url_encoded(mc_slice pem, mc_text *out) {
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < pem.n; i++) {
        char c = pem.p[i];
        bool special = c == '\n' || c == ' ' || c == '+' || c == '/' || c == '=';
        char code[3] = {'%', hex[(unsigned char)c >> 4], hex[c & 15]};
        mc_text_add(out, special ? mc_slice_of(code, 3) : mc_slice_of(&c, 1));
    }
    return pem.n > 0 ? MC_FORMAT_SOME : MC_FORMAT_NOTHING;
}

static mc_format_result time_of(const mc_format_op *op, uint64_t seconds, mc_text *out) {
    if (seconds == MC_NO_TIME || seconds > UINT64_MAX / 1000000000u) {
        return MC_FORMAT_NOTHING;
    }
    mc_time_format_run(op->time, seconds * 1000000000u, out);
    return MC_FORMAT_SOME;
}

static mc_format_result of_certificate(const mc_format_op *op, const mc_certificate *cert, mc_text *out) {
    switch (op->command->variant & ~MC_CERT_LOCAL) {
    case MC_CERT_SUBJECT: return mc_format_slice(cert->subject, out);
    case MC_CERT_ISSUER: return mc_format_slice(cert->issuer, out);
    case MC_CERT_SERIAL: return mc_format_slice(cert->serial, out);
    case MC_CERT_SHA256: return mc_format_slice(cert->sha256, out);
    case MC_CERT_SHA1: return mc_format_slice(cert->sha1, out);
    case MC_CERT_ISSUER_SERIAL: return mc_format_slice(cert->issuer_serial, out);
    case MC_CERT_ISSUER_SHA256: return mc_format_slice(cert->issuer_sha256, out);
    case MC_CERT_PEM: return url_encoded(cert->pem, out);
    case MC_CERT_URI_SAN: return join(cert->uri_sans, out);
    case MC_CERT_DNS_SAN: return join(cert->dns_sans, out);
    case MC_CERT_IP_SAN: return join(cert->ip_sans, out);
    case MC_CERT_EMAIL_SAN: return join(cert->email_sans, out);
    case MC_CERT_OTHER_SAN: return join(cert->other_sans, out);
    case MC_CERT_CHAIN_SERIALS: return join(cert->chain_serials, out);
    case MC_CERT_CHAIN_SHA256: return join(cert->chain_sha256, out);
    case MC_CERT_CHAIN_SHA1: return join(cert->chain_sha1, out);
    case MC_CERT_V_START: return time_of(op, cert->valid_from_s, out);
    case MC_CERT_V_END: return time_of(op, cert->valid_to_s, out);
    default: return MC_FORMAT_NOTHING;
    }
}

MC_FORMAT_EVAL(mc_format_eval_tls) {
    const mc_tls_info *tls = MC_FORMAT_FIELD(mc_tls_info *, op, info);
    if (tls == NULL) {
        return MC_FORMAT_NOTHING;
    }
    switch (op->command->variant) {
    case MC_TLS_VERSION: return mc_format_slice(tls->version, out);
    case MC_TLS_CIPHER: return mc_format_slice(tls->cipher, out);
    case MC_TLS_SESSION_ID: return mc_format_slice(tls->session_id, out);
    case MC_TLS_SNI: return mc_format_slice(tls->sni, out);
    case MC_TLS_GROUP: return mc_format_slice(tls->group, out);
    case MC_TLS_JA3: return mc_format_slice(tls->ja3, out);
    case MC_TLS_JA4: return mc_format_slice(tls->ja4, out);
    default: break;
    }
    const mc_certificate *cert = op->command->variant & MC_CERT_LOCAL ? tls->local : tls->peer;
    return cert == NULL ? MC_FORMAT_NOTHING : of_certificate(op, cert, out);
}
