#include "proxy/client.h"

#include "base/read.h"
#include "http/codes.h"
#include "http/forwarded.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

/* --- compile ------------------------------------------------------------------------------------------------------------- */

static mc_status read_xff(mc_arena *arena, const mc_value *config, mc_detection *out, mc_error *error) {
    const mc_value *trusted;
    out->kind = MC_DETECT_XFF;
    out->skip_append = true;
    MC_TRY(mc_value_read_u32(config, "xff_num_trusted_hops", &out->trusted_hops, error));
    MC_TRY(mc_value_read_bool(config, "skip_xff_append", &out->skip_append, error));
    MC_TRY(mc_value_read_object(config, "xff_trusted_cidrs", &trusted, error));
    if (trusted != NULL && out->trusted_hops > 0) {
        return mc_error_set(error, MC_EINVAL, "xff_trusted_cidrs", "excludes xff_num_trusted_hops");
    }
    return mc_error_in(mc_cidrs_read(arena, trusted, "cidrs", &out->trusted, error), error, "xff_trusted_cidrs");
}

static mc_status read_header(mc_arena *arena, const mc_value *config, mc_detection *out, mc_error *error) {
    enum { FORBIDDEN = 403, FIRST_ERROR = 400, LAST_ERROR = 511 };
    mc_slice name = MC_SLICE_NONE, code = MC_SLICE_NONE;
    const mc_value *reject;
    out->kind = MC_DETECT_HEADER;
    MC_TRY(mc_read_name(arena, config, "header_name", &name, error));
    MC_TRY(mc_dup_lower(arena, name, &out->header));
    MC_TRY(mc_value_read_bool(config, "allow_extension_to_set_address_as_trusted", &out->trusts, error));
    MC_TRY(mc_value_read_object(config, "reject_with_status", &reject, error));
    if (reject != NULL) {
        MC_TRY(mc_value_read_string(reject, "code", &code, error));
        const uint16_t status = mc_http_status_named(code);
        out->reject_status = status >= FIRST_ERROR && status <= LAST_ERROR ? status : FORBIDDEN;
    }
    return MC_OK;
}

static mc_status read_detection(mc_arena *arena, const mc_value *entry, mc_detection *out, mc_error *error) {
    const mc_value *config;
    MC_TRY(mc_value_read_object(entry, "typed_config", &config, error));
    mc_slice type = mc_any_type(config);
    mc_status status;
    if (mc_slice_eq(type, MC_SLICE("envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"))) {
        status = read_xff(arena, config, out, error);
    } else if (mc_slice_eq(type, MC_SLICE("envoy.extensions.http.original_ip_detection.custom_header.v3."
                                          "CustomHeaderConfig"))) {
        status = read_header(arena, config, out, error);
    } else {
        return mc_error_set(error, MC_EINVAL, "typed_config", "is no original IP detection known here");
    }
    return mc_error_in(status, error, "typed_config");
}

static mc_status read_detections(mc_arena *arena, const mc_value *config, mc_client_rules *out, mc_error *error) {
    static const char field[] = "original_ip_detection_extensions";
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(config, field, &list, &count, error));
    if (count == 0) { /* HC-12: what is built in, which the peer's address is not added by */
        mc_detection *builtin = mc_arena_zalloc(arena, sizeof *builtin);
        if (builtin == NULL) {
            return MC_ENOMEM;
        }
        *builtin = (mc_detection){.kind = MC_DETECT_XFF, .trusted_hops = out->trusted_hops, .skip_append = true};
        out->detections = builtin;
        out->detection_count = 1;
        return MC_OK;
    }
    if (out->use_remote_address || out->trusted_hops > 0) {
        return mc_error_set(error, MC_EINVAL, field, "excludes use_remote_address and xff_num_trusted_hops");
    }
    mc_detection *items = mc_arena_zalloc(arena, count * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_detection(arena, &list[i], &items[i], error), error, "%s[%zu]", field, i));
    }
    out->detections = items;
    out->detection_count = (uint32_t)count;
    return MC_OK;
}

static mc_status read_ports(mc_arena *arena, const mc_value *config, const char *field, const uint32_t **out,
                            uint32_t *out_count, mc_error *error) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(config, field, &list, &count, error));
    uint32_t *ports = count == 0 ? NULL : mc_arena_alloc(arena, count * sizeof *ports);
    if (count > 0 && ports == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind != MC_NUMBER) {
            return mc_error_set(error, MC_EINVAL, field, "must be a list of ports");
        }
        ports[i] = (uint32_t)list[i].number;
    }
    *out = ports;
    *out_count = (uint32_t)count;
    return MC_OK;
}

static mc_status read_scheme_ports(mc_arena *arena, const mc_value *config, mc_scheme_ports *out, mc_error *error) {
    const mc_value *ports;
    MC_TRY(mc_value_read_object(config, "forward_proto_config", &ports, error));
    MC_TRY(read_ports(arena, ports, "https_destination_ports", &out->https, &out->https_count, error));
    return read_ports(arena, ports, "http_destination_ports", &out->http, &out->http_count, error);
}

mc_status mc_client_rules_read(mc_arena *arena, const mc_value *config, mc_client_rules *out, mc_error *error) {
    const mc_value *internal;
    MC_TRY(mc_value_read_bool(config, "use_remote_address", &out->use_remote_address, error));
    MC_TRY(mc_value_read_bool(config, "skip_xff_append", &out->skip_xff_append, error));
    MC_TRY(mc_value_read_bool(config, "append_x_forwarded_port", &out->append_x_forwarded_port, error));
    MC_TRY(mc_value_read_u32(config, "xff_num_trusted_hops", &out->trusted_hops, error));
    MC_TRY(read_scheme_ports(arena, config, &out->scheme_ports, error));
    MC_TRY(mc_value_read_object(config, "internal_address_config", &internal, error));
    out->has_internal = internal != NULL;
    MC_TRY(mc_error_in(mc_cidrs_read(arena, internal, "cidr_ranges", &out->internal, error), error,
                       "internal_address_config"));
    return read_detections(arena, config, out, error);
}

/* --- finding the client ------------------------------------------------------------------------------------------------ */

/* What was found out. */
typedef struct finding {
    mc_address client;
    bool found;
    bool trusted; /* the address may be an internal one */
    bool append;  /* X-Forwarded-For gets the peer's address, which the next detection then sees */
} finding;

static mc_status append_peer(mc_stream *stream, const mc_address *peer) {
    const mc_hcm *hcm = stream->hcm;
    char text[MC_ADDRESS_TEXT];
    if (peer->length == 0) {
        return MC_OK;
    }
    const mc_address *shown = mc_address_is_loopback(peer) && hcm->node_address.length != 0 ? &hcm->node_address : peer;
    return mc_headers_append_value(&stream->request, MC_H_X_FORWARDED_FOR, MC_SLICE(","),
                                   mc_slice_of(text, mc_address_ip(shown, text)));
}

static mc_status set_port(mc_stream *stream, const mc_address *local) {
    char digits[20];
    size_t n = mc_format_u64(digits, mc_address_port(local));
    return mc_headers_set_known(&stream->request, MC_H_X_FORWARDED_PORT, mc_slice_of(digits, n));
}

static mc_status by_peer(mc_stream *stream, const mc_address *peer, const mc_address *local, mc_slice scheme,
                         finding *out) { /* HC-11 */
    const mc_client_rules *rules = &stream->hcm->client;
    mc_headers *headers = &stream->request;
    mc_slice xff = mc_headers_get_known(headers, MC_H_X_FORWARDED_FOR);
    const bool behind = rules->trusted_hops > 0;
    out->trusted = xff.p == NULL;
    out->found = true;
    if (!behind || mc_xff_address(xff, rules->trusted_hops - 1, &out->client) != MC_OK) {
        out->client = *peer;
    }
    if (!rules->skip_xff_append) {
        MC_TRY(append_peer(stream, peer));
    }
    if (!behind || !mc_headers_has(headers, MC_H_X_FORWARDED_PROTO)) {
        MC_TRY(mc_headers_set_known_ref(headers, MC_H_X_FORWARDED_PROTO, scheme));
    }
    if (rules->append_x_forwarded_port && (!behind || !mc_headers_has(headers, MC_H_X_FORWARDED_PORT))) {
        MC_TRY(set_port(stream, local));
    }
    return MC_OK;
}

static void by_xff(const mc_headers *headers, const mc_detection *rule, const mc_address *peer, finding *out) {
    mc_slice xff = mc_headers_get_known(headers, MC_H_X_FORWARDED_FOR);
    const bool single = mc_slice_find(xff, ',') == xff.n;
    if (rule->trusted.count > 0 && !mc_cidrs_contain(&rule->trusted, peer)) { /* whoever it is, it is the client */
        out->append = true;
        return;
    }
    if (rule->trusted.count > 0) {
        out->found = mc_xff_untrusted_address(xff, &rule->trusted, &out->client) == MC_OK;
        out->trusted = single;
    } else {
        out->found = mc_xff_address(xff, rule->trusted_hops, &out->client) == MC_OK;
        out->trusted = single && rule->trusted_hops == 0;
    }
    out->append = !rule->skip_append;
}

static void by_header(const mc_headers *headers, const mc_detection *rule, finding *out) {
    out->found = mc_address_parse(&out->client, mc_headers_get(headers, rule->header), 0) == MC_OK;
    out->trusted = rule->trusts;
}

/* HC-12; false: the request is refused. */
static bool by_detection(mc_stream *stream, const mc_address *peer, finding *out, mc_reply *reply) {
    const mc_client_rules *rules = &stream->hcm->client;
    const mc_detection *at = rules->detections;
    for (const mc_detection *end = at + rules->detection_count; at < end && !out->found; at++) {
        if (at->kind == MC_DETECT_XFF) {
            by_xff(&stream->request, at, peer, out);
        } else {
            by_header(&stream->request, at, out);
        }
        if (out->append && append_peer(stream, peer) != MC_OK) {
            return false;
        }
        out->append = false;
        if (!out->found && at->reject_status != 0) {
            MC_HCM_COUNT(stream, downstream_rq_rejected_via_ip_detection);
            *reply = (mc_reply){.status = at->reject_status, .details = "rejecting_because_detection_failed"};
            return false;
        }
    }
    return true;
}

static bool listed(const uint32_t *ports, uint32_t count, uint32_t port) {
    for (uint32_t i = 0; i < count; i++) {
        if (ports[i] == port) {
            return true;
        }
    }
    return false;
}

/* HC-13: where the client was going decides, if that is known and named; else `scheme`. */
static mc_slice scheme_by_port(const mc_stream *stream, mc_slice scheme) {
    const mc_scheme_ports *ports = &stream->hcm->client.scheme_ports;
    if (MC_LIKELY(ports->https_count == 0 && ports->http_count == 0)) {
        return scheme;
    }
    const mc_address *restored = mc_downstream_restored(stream->downstream);
    if (restored == NULL) {
        return scheme;
    }
    const uint32_t port = mc_address_port(restored);
    if (listed(ports->https, ports->https_count, port)) {
        return MC_SLICE("https");
    }
    return listed(ports->http, ports->http_count, port) ? MC_SLICE("http") : scheme;
}

/* HC-13. */
static mc_status set_scheme(mc_stream *stream, const mc_address *local, mc_slice scheme) {
    const mc_hcm *hcm = stream->hcm;
    mc_headers *headers = &stream->request;
    if (!mc_headers_has(headers, MC_H_X_FORWARDED_PROTO)) {
        MC_TRY(mc_headers_set_known_ref(headers, MC_H_X_FORWARDED_PROTO, scheme));
    }
    if (hcm->client.append_x_forwarded_port && !mc_headers_has(headers, MC_H_X_FORWARDED_PORT)) {
        MC_TRY(set_port(stream, local));
    }
    if (hcm->scheme.n > 0) {
        MC_TRY(mc_headers_set_known_ref(headers, MC_H_SCHEME, hcm->scheme));
        return mc_headers_set_known_ref(headers, MC_H_X_FORWARDED_PROTO, hcm->scheme);
    }
    mc_slice given = mc_headers_get_known(headers, MC_H_SCHEME);
    if (MC_LIKELY(given.p == NULL && mc_headers_get_known(headers, MC_H_X_FORWARDED_PROTO).p == scheme.p)) {
        return mc_headers_add_known_ref(headers, MC_H_SCHEME, scheme); /* both are the connection's own */
    }
    if (given.p == NULL) {
        mc_slice proto = mc_headers_get_known(headers, MC_H_X_FORWARDED_PROTO);
        const bool known = mc_slice_ieq(proto, MC_SLICE("http")) || mc_slice_ieq(proto, MC_SLICE("https"));
        given = known ? proto : scheme;
    }
    return mc_headers_set_known_ref(headers, MC_H_SCHEME,
                                    mc_slice_ieq(given, MC_SLICE("https"))  ? MC_SLICE("https")
                                    : mc_slice_ieq(given, MC_SLICE("http")) ? MC_SLICE("http")
                                                                            : given);
}

static bool is_internal(const mc_client_rules *rules, const finding *found) { /* HC-14 */
    if (!rules->has_internal || !found->trusted || !found->found) {
        return false;
    }
    return rules->internal.count == 0 ? mc_address_is_private(&found->client)
                                      : mc_cidrs_contain(&rules->internal, &found->client);
}

bool mc_client_find(mc_stream *stream, const mc_address *peer, const mc_address *local, mc_slice scheme,
                    mc_reply *reply) {
    const mc_client_rules *rules = &stream->hcm->client;
    finding found = {0};
    mc_status status = MC_OK;
    scheme = scheme_by_port(stream, scheme);
    if (rules->use_remote_address) {
        status = by_peer(stream, peer, local, scheme, &found);
    } else if (!by_detection(stream, peer, &found, reply)) {
        return false;
    }
    if (status != MC_OK || set_scheme(stream, local, scheme) != MC_OK) {
        return false;
    }
    stream->internal = is_internal(rules, &found);
    stream->edge = !stream->internal && rules->use_remote_address; /* HC-16 */
    if (found.found) {
        stream->remote = found.client; /* HC-15 */
    }
    return true;
}

mc_status mc_client_add_external_address(mc_stream *stream) { /* HC-19 */
    char text[MC_ADDRESS_TEXT];
    if (!stream->edge || stream->remote.length == 0) {
        return MC_OK;
    }
    return mc_headers_set_known(&stream->request, MC_H_X_ENVOY_EXTERNAL_ADDRESS,
                                mc_slice_of(text, mc_address_ip(&stream->remote, text)));
}
