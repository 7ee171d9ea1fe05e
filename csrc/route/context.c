#include "route/context.h"

#include <stddef.h>

#include "http/flags.h"
#include "route/compile.h"
#include "route/format_evals.h"

typedef struct reader {
    mc_arena *arena;
    mc_stream_info *info;
    mc_error *error;
    const char *key;
} reader;

static mc_status refuse(const reader *r, const char *what) {
    return mc_error_set(r->error, MC_EINVAL, r->key, "must be %s", what);
}

/* --- kinds of fields ------------------------------------------------------------------------------------------------------- */

mc_status mc_address_read(mc_slice text, mc_address *out) {
    uint64_t port = 0;
    size_t colon = text.n;
    bool bracketed = text.n > 0 && text.p[0] == '[';
    for (size_t i = 0, colons = 0; i < text.n; i++) {
        if (text.p[i] == ':' && (!bracketed || (i > 0 && text.p[i - 1] == ']'))) {
            colon = ++colons > 1 ? text.n : i; /* more than one: an IPv6 address without port */
        }
    }
    mc_slice host = mc_slice_until(text, colon), digits = mc_slice_from(text, colon + 1);
    if (bracketed) {
        if (host.n < 2 || host.p[host.n - 1] != ']') {
            return MC_EINVAL;
        }
        host = mc_slice_of(host.p + 1, host.n - 2);
    }
    if (colon < text.n && (mc_slice_u64(digits, &port) != MC_OK || port > UINT16_MAX)) {
        return MC_EINVAL;
    }
    return mc_address_parse(out, host, (uint16_t)port);
}

static mc_status read_address(const reader *r, const mc_value *value, const mc_address **out) {
    mc_address *address = mc_arena_zalloc(r->arena, sizeof *address);
    if (address == NULL) {
        return MC_ENOMEM;
    }
    if (value->kind != MC_STRING || mc_address_read(value->string, address) != MC_OK) {
        return refuse(r, "an IP address with or without port");
    }
    *out = address;
    return MC_OK;
}

static mc_status read_text(const reader *r, const mc_value *value, mc_slice *out) {
    if (value->kind != MC_STRING) {
        return refuse(r, "a string");
    }
    *out = value->string;
    return MC_OK;
}

static mc_status read_number(const reader *r, const mc_value *value, double most, double *out) {
    if (value->kind != MC_NUMBER || !(value->number >= 0) || value->number > most) {
        return refuse(r, "a number, and not negative");
    }
    *out = value->number;
    return MC_OK;
}

/* Text of digits, too: a double does not hold every 64-bit number. */
static mc_status read_u64(const reader *r, const mc_value *value, uint64_t *out) {
    double number = 0;
    if (value->kind == MC_STRING && mc_slice_u64(value->string, out) == MC_OK) {
        return MC_OK;
    }
    MC_TRY(read_number(r, value, 18446744073709549568.0, &number));
    *out = (uint64_t)number;
    return MC_OK;
}

static mc_status read_ms(const reader *r, const mc_value *value, uint64_t *ns) {
    double ms = 0;
    MC_TRY(read_number(r, value, 1e12, &ms));
    *ns = (uint64_t)(ms * 1e6 + 0.5);
    return MC_OK;
}

static mc_status read_texts(const reader *r, const mc_value *value, mc_slices *out) {
    const size_t count = value->kind == MC_LIST ? value->count : 1;
    mc_slice *items = mc_arena_zalloc(r->arena, count * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(read_text(r, value->kind == MC_LIST ? &value->items[i] : value, &items[i]));
    }
    *out = (mc_slices){items, (uint32_t)count};
    return MC_OK;
}

/* --- TLS ---------------------------------------------------------------------------------------------------------------------- */

static mc_status set_certificate(const reader *r, unsigned variant, const mc_value *value, mc_certificate *cert) {
    switch (variant & ~(unsigned)MC_CERT_LOCAL) {
    case MC_CERT_SUBJECT: return read_text(r, value, &cert->subject);
    case MC_CERT_ISSUER: return read_text(r, value, &cert->issuer);
    case MC_CERT_SERIAL: return read_text(r, value, &cert->serial);
    case MC_CERT_SHA256: return read_text(r, value, &cert->sha256);
    case MC_CERT_SHA1: return read_text(r, value, &cert->sha1);
    case MC_CERT_ISSUER_SERIAL: return read_text(r, value, &cert->issuer_serial);
    case MC_CERT_ISSUER_SHA256: return read_text(r, value, &cert->issuer_sha256);
    case MC_CERT_PEM: return read_text(r, value, &cert->pem);
    case MC_CERT_URI_SAN: return read_texts(r, value, &cert->uri_sans);
    case MC_CERT_DNS_SAN: return read_texts(r, value, &cert->dns_sans);
    case MC_CERT_IP_SAN: return read_texts(r, value, &cert->ip_sans);
    case MC_CERT_EMAIL_SAN: return read_texts(r, value, &cert->email_sans);
    case MC_CERT_OTHER_SAN: return read_texts(r, value, &cert->other_sans);
    case MC_CERT_CHAIN_SERIALS: return read_texts(r, value, &cert->chain_serials);
    case MC_CERT_CHAIN_SHA256: return read_texts(r, value, &cert->chain_sha256);
    case MC_CERT_CHAIN_SHA1: return read_texts(r, value, &cert->chain_sha1);
    case MC_CERT_V_START: return read_u64(r, value, &cert->valid_from_s);
    default: return read_u64(r, value, &cert->valid_to_s);
    }
}

/* The structs behind info->*_tls are made here and nowhere else, so that they may be written. */
static mc_tls_info *open_tls(const reader *r, const mc_tls_info **at) {
    if (*at == NULL) {
        *at = mc_arena_zalloc(r->arena, sizeof(mc_tls_info));
    }
    return (mc_tls_info *)*at;
}

static mc_certificate *open_certificate(const reader *r, const mc_certificate **at) {
    if (*at == NULL) {
        mc_certificate *cert = mc_arena_zalloc(r->arena, sizeof *cert);
        if (cert != NULL) {
            cert->valid_from_s = cert->valid_to_s = MC_NO_TIME;
        }
        *at = cert;
    }
    return (mc_certificate *)*at;
}

static mc_status set_tls(const reader *r, unsigned variant, const mc_value *value, const mc_tls_info **at) {
    mc_tls_info *tls = open_tls(r, at);
    if (tls == NULL) {
        return MC_ENOMEM;
    }
    switch (variant) {
    case MC_TLS_VERSION: return read_text(r, value, &tls->version);
    case MC_TLS_CIPHER: return read_text(r, value, &tls->cipher);
    case MC_TLS_SESSION_ID: return read_text(r, value, &tls->session_id);
    case MC_TLS_SNI: return read_text(r, value, &tls->sni);
    case MC_TLS_GROUP: return read_text(r, value, &tls->group);
    case MC_TLS_JA3: return read_text(r, value, &tls->ja3);
    case MC_TLS_JA4: return read_text(r, value, &tls->ja4);
    default: break;
    }
    mc_certificate *cert = open_certificate(r, variant & MC_CERT_LOCAL ? &tls->local : &tls->peer);
    return cert == NULL ? MC_ENOMEM : set_certificate(r, variant, value, cert);
}

static mc_status read_certificate(reader *r, const mc_value *value, const mc_certificate **at) {
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
        return refuse(r, "a mapping of a certificate's fields");
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

static mc_status read_flag(const reader *r, const mc_value *value, bool *out) {
    if (value->kind != MC_BOOL) {
        return refuse(r, "true or false");
    }
    *out = value->boolean;
    return MC_OK;
}

/* {"version": ..., "peer": {...}}: the presence of "peer" says that a certificate was presented. */
static mc_status read_tls(reader *r, const mc_value *value, const mc_tls_info **at) {
    static const struct {
        const char *name;
        uint8_t variant;
    } fields[] = {{"version", MC_TLS_VERSION}, {"cipher", MC_TLS_CIPHER}, {"session_id", MC_TLS_SESSION_ID},
                  {"sni", MC_TLS_SNI},         {"group", MC_TLS_GROUP},   {"ja3", MC_TLS_JA3},
                  {"ja4", MC_TLS_JA4}};
    if (value->kind != MC_OBJECT) {
        return refuse(r, "a mapping");
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
            MC_TRY(read_flag(r, item, &tls->validated));
        } else if (mc_slice_eq(name, MC_SLICE("presented"))) {
            MC_TRY(read_flag(r, item, &presented));
            if (presented && open_certificate(r, &tls->peer) == NULL) {
                return MC_ENOMEM;
            }
        } else if (mc_slice_eq(name, MC_SLICE("alpn"))) {
            MC_TRY(read_text(r, item, &tls->alpn));
        } else {
            found = false;
        }
        for (size_t f = 0; !found && f < sizeof fields / sizeof *fields; f++) {
            if (mc_slice_eq(mc_slice_cstr(fields[f].name), name)) {
                MC_TRY(set_tls(r, fields[f].variant, item, at));
                found = true;
            }
        }
        if (!found) {
            return mc_error_set(r->error, MC_EINVAL, r->key, "has no field %.*s", MC_SLICE_ARG(name));
        }
    }
    return MC_OK;
}

/* --- what is no operator, or not one field ----------------------------------------------------------------------------------------- */

static mc_status read_flags(reader *r, const mc_value *value) {
    if (value->kind == MC_NUMBER) {
        return read_u64(r, value, &r->info->flags);
    }
    for (size_t i = 0; i < (value->kind == MC_LIST ? value->count : 1); i++) {
        mc_slice rest, name;
        MC_TRY(read_text(r, value->kind == MC_LIST ? &value->items[i] : value, &rest));
        while (mc_slice_next(&rest, ',', &name)) {
            uint64_t flag = mc_flag_by_name(name);
            if (flag == 0 && name.n > 0 && !mc_slice_eq(name, MC_SLICE("-"))) {
                return mc_error_set(r->error, MC_EINVAL, r->key, "names no response flag: %.*s", MC_SLICE_ARG(name));
            }
            r->info->flags |= flag;
        }
    }
    return MC_OK;
}

static mc_status read_log_type(reader *r, const mc_value *value) {
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(read_text(r, value, &name));
    for (uint8_t type = 0; type < MC_LOG_TYPE_COUNT; type++) {
        if (mc_slice_eq(mc_log_type_name(type), name)) {
            r->info->log_type = type;
            return MC_OK;
        }
    }
    return refuse(r, "a type of access log record");
}

static mc_status read_hosts(reader *r, const mc_value *value) {
    if (value->kind != MC_LIST) {
        return refuse(r, "a list of addresses");
    }
    const mc_address **hosts = mc_arena_zalloc(r->arena, value->count * sizeof *hosts);
    if (hosts == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value->count; i++) {
        MC_TRY(read_address(r, &value->items[i], &hosts[i]));
    }
    r->info->attempted_hosts = hosts;
    r->info->attempted_host_count = (uint32_t)value->count;
    return MC_OK;
}

static mc_status read_host_names(reader *r, const mc_value *value) {
    mc_slices names;
    MC_TRY(read_texts(r, value, &names));
    r->info->attempted_host_names = names.items;
    if (r->info->attempted_hosts == NULL) { /* names alone: no address stands in for one */
        const mc_address **hosts = mc_arena_zalloc(r->arena, names.count * sizeof *hosts);
        if (hosts == NULL) {
            return MC_ENOMEM;
        }
        r->info->attempted_hosts = hosts;
        r->info->attempted_host_count = names.count;
    }
    return names.count < r->info->attempted_host_count ? refuse(r, "as many as the attempted hosts") : MC_OK;
}

static mc_status read_connections(reader *r, const mc_value *value) {
    if (value->kind != MC_LIST) {
        return refuse(r, "a list of numbers");
    }
    uint64_t *ids = mc_arena_zalloc(r->arena, value->count * sizeof *ids);
    if (ids == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value->count; i++) {
        MC_TRY(read_u64(r, &value->items[i], &ids[i]));
    }
    r->info->attempted_connections = ids;
    r->info->attempted_connection_count = (uint32_t)value->count;
    return MC_OK;
}

static mc_status read_points(reader *r, const mc_value *value) {
    if (value->kind != MC_OBJECT) {
        return refuse(r, "a mapping of names to milliseconds after the start");
    }
    mc_time_point *points = mc_arena_zalloc(r->arena, value->count * sizeof *points);
    if (points == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value->count; i++) {
        points[i].name = value->names[i];
        MC_TRY(read_ms(r, &value->items[i], &points[i].ns));
        uint64_t *known = mc_format_point_by_name(r->info, points[i].name);
        if (known != NULL) {
            *known = points[i].ns;
        }
    }
    r->info->points = points;
    r->info->point_count = (uint32_t)value->count;
    return MC_OK;
}

static mc_status read_object(const reader *r, const mc_value *value, const mc_value **out) {
    if (value->kind != MC_OBJECT) {
        return refuse(r, "a mapping");
    }
    *out = value;
    return MC_OK;
}

static mc_status read_field(const reader *r, mc_info_field kind, unsigned variant, void *field, const mc_value *value) {
    double number = 0;
    switch (kind) {
    case MC_INFO_SLICE: return read_text(r, value, field);
    case MC_INFO_U64: return read_u64(r, value, field);
    case MC_INFO_POINT: return read_ms(r, value, field);
    case MC_INFO_ADDRESS: return read_address(r, value, field);
    case MC_INFO_TLS: return set_tls(r, variant, value, field);
    case MC_INFO_VALUE: return read_object(r, value, field);
    case MC_INFO_U32:
        MC_TRY(read_number(r, value, UINT32_MAX, &number));
        *(uint32_t *)field = (uint32_t)number;
        return MC_OK;
    case MC_INFO_U16:
        MC_TRY(read_number(r, value, UINT16_MAX, &number));
        *(uint16_t *)field = (uint16_t)number;
        return MC_OK;
    case MC_INFO_OTHER: break;
    }
    return mc_error_set(r->error, MC_EINVAL, r->key, "is not known of a request");
}

/* --- fields of their own ---------------------------------------------------------------------------------------------------------- */

static mc_status read_downstream_tls(reader *r, const mc_value *value) {
    return read_tls(r, value, &r->info->downstream_tls);
}

static mc_status read_upstream_tls(reader *r, const mc_value *value) {
    return read_tls(r, value, &r->info->upstream_tls);
}

static mc_status read_health_check(reader *r, const mc_value *value) {
    return read_flag(r, value, &r->info->health_check);
}

/* Told from the first byte out of the upstream on, which must be known. */
static mc_status read_response_tx(reader *r, const mc_value *value) {
    mc_stream_info *info = r->info;
    uint64_t ns = 0;
    MC_TRY(read_ms(r, value, &ns));
    info->at.upstream_receive_begin =
        info->at.upstream_receive_begin == MC_NO_TIME ? 0 : info->at.upstream_receive_begin;
    info->at.response_end = info->at.upstream_receive_begin + ns;
    return MC_OK;
}

static const struct {
    const char *key;
    mc_status (*read)(reader *r, const mc_value *value);
} READERS[] = {
    {"response_flags", read_flags},
    {"access_log_type", read_log_type},
    {"upstream_hosts_attempted", read_hosts},
    {"upstream_host_names_attempted", read_host_names},
    {"upstream_connection_ids_attempted", read_connections},
    {"time_points", read_points},
    {"tls", read_downstream_tls},
    {"downstream_tls", read_downstream_tls},
    {"upstream_tls", read_upstream_tls},
    {"health_check", read_health_check},
    {"response_tx_duration", read_response_tx},
};

#define AT(member) offsetof(mc_stream_info, member)
static const struct {
    const char *key;
    mc_info_field kind;
    size_t offset;
} FIELDS[] = {
    {"route_metadata", MC_INFO_VALUE, AT(route_metadata)},
    {"virtual_host_metadata", MC_INFO_VALUE, AT(virtual_host_metadata)},
    {"listener_metadata", MC_INFO_VALUE, AT(listener_metadata)},
    {"filter_chain_metadata", MC_INFO_VALUE, AT(filter_chain_metadata)},
    {"node", MC_INFO_VALUE, AT(node)},
    {"upstream_locality", MC_INFO_VALUE, AT(upstream_locality)},
    {"virtual_host_name", MC_INFO_SLICE, AT(virtual_host_name)},
    {"requested_server_name", MC_INFO_SLICE, AT(requested_server_name)},
    {"upstream_host_name", MC_INFO_SLICE, AT(upstream_host_name)},
    {"start_time", MC_INFO_U64, AT(start_ns)},
    {"random", MC_INFO_U64, AT(stream_id)},
};
#undef AT

/* *found: whether the key is one of these. */
static mc_status read_special(reader *r, const mc_value *value, bool *found) {
    *found = true;
    for (size_t i = 0; i < sizeof READERS / sizeof *READERS; i++) {
        if (strcmp(r->key, READERS[i].key) == 0) {
            return READERS[i].read(r, value);
        }
    }
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
        if (strcmp(r->key, FIELDS[i].key) == 0) {
            return read_field(r, FIELDS[i].kind, 0, (char *)r->info + FIELDS[i].offset, value);
        }
    }
    *found = false;
    return MC_OK;
}

const char *mc_stream_info_operator(size_t i) {
    const mc_format_command *command = NULL;
    for (size_t c = 0; (command = mc_format_command_at(c)) != NULL; c++) {
        if (command->field != MC_INFO_OTHER && i-- == 0) {
            return command->name;
        }
    }
    return NULL;
}

mc_status mc_stream_info_read(mc_arena *arena, const mc_value *object, mc_stream_info *info, mc_error *error) {
    reader r = {arena, info, error, ""};
    if (object->kind != MC_OBJECT) {
        return refuse(&r, "a mapping");
    }
    for (size_t i = 0; i < object->count; i++) {
        char key[64], name[64];
        bool found;
        if (object->items[i].kind == MC_NULL) {
            continue;
        }
        snprintf(key, sizeof key, "%.*s", MC_SLICE_ARG(object->names[i]));
        for (size_t c = 0; c < sizeof name; c++) {
            name[c] = key[c] >= 'a' && key[c] <= 'z' ? (char)(key[c] - 0x20) : key[c];
            if (key[c] == '\0') {
                break;
            }
        }
        r.key = key;
        MC_TRY(read_special(&r, &object->items[i], &found));
        if (found) {
            continue;
        }
        const mc_format_command *command = mc_format_find(mc_slice_cstr(name));
        if (command == NULL) {
            return mc_error_set(error, MC_EINVAL, key, "is not known of a request");
        }
        MC_TRY(read_field(&r, command->field, command->variant, (char *)info + command->offset, &object->items[i]));
    }
    return MC_OK;
}
