/* Headers as Envoy's connection manager leaves them: HC-2 (order), HC-10 to HC-20, HC-30 to HC-35. */
#include <endian.h>

#include "base/hash.h"
#include "http/grpc.h"
#include "http/uri.h"
#include "proxy/stream.h"

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if ((call) != MC_OK) {                                                                                         \
            return false;                                                                                              \
        }                                                                                                              \
    } while (0)

static bool refuse(mc_reply *reply, uint16_t status, const char *details) {
    *reply = (mc_reply){.status = status, .details = details};
    return false;
}

/* What Envoy's codec finds out: the request counts as unfinished and the connection ends, stream-error mode or not. Nothing is
 * known of its headers: neither to the answer nor to the logs. */
static bool codec_refuses(mc_stream *stream, mc_reply *reply) {
    const mc_refusal *refusal = stream->refusal;
    MC_HCM_COUNT(stream, downstream_cx_protocol_error);
    mc_headers_init(&stream->request, &stream->arena);
    stream->answers_10 = stream->head.version_minor == 0;
    stream->head.version_minor = 1;
    stream->refused_head = stream->head_request;
    stream->head_request = false;
    stream->grpc_request = false;
    stream->request_complete = false;
    stream->request_complete_us = 0;
    stream->close_connection = true;
    stream->late_flags = MC_FLAG(DPE);
    *reply = (mc_reply){.status = refusal->status, .details = refusal->details, .body = refusal->body};
    return false;
}

/* H1-5: a client at the edge cannot claim TLS on a plain connection. */
static bool claims_tls(const mc_stream *stream) {
    const mc_client_rules *client = &stream->hcm->client;
    return client->use_remote_address && client->trusted_hops == 0 &&
           mc_slice_ieq(mc_headers_get_known(&stream->request, MC_H_SCHEME), MC_SLICE("https"));
}

const mc_refusal *mc_sanitize_find_refusal(mc_stream *stream, bool tls) {
    static const mc_refusal no_tls = {403, "http1.https_url_on_plaintext_connection", MC_SLICE_INIT("Forbidden")};
    static const mc_refusal no_host = {400, "http.invalid_authority", MC_SLICE_INIT("Bad Request")};
    const mc_headers *headers = &stream->request;
    if (!tls && claims_tls(stream)) {
        return &no_tls;
    }
    return mc_headers_has(headers, MC_H_AUTHORITY) &&
                   !mc_uri_authority_valid(mc_headers_get_known(headers, MC_H_AUTHORITY))
               ? &no_host
               : NULL;
}

/* --- host and path ------------------------------------------------------------------------------------------------------- */

static bool check_host(mc_stream *stream, mc_reply *reply) {
    mc_headers *headers = &stream->request;
    if (!mc_headers_has(headers, MC_H_AUTHORITY) && stream->head.version_minor == 0 &&
        stream->hcm->default_host_10.n > 0) {
        TRY(mc_headers_set_known_ref(headers, MC_H_AUTHORITY, stream->hcm->default_host_10)); /* H1-4 */
    }
    if (!mc_headers_has(headers, MC_H_AUTHORITY)) {
        return refuse(reply, 400, "missing_host_header");
    }
    return true;
}

static bool redirect_to(mc_stream *stream, mc_slice path, mc_reply *reply) { /* HC-31 */
    if (mc_grpc_request(&stream->request)) {
        return refuse(reply, 400, "path_normalization_failed");
    }
    mc_header *location = mc_arena_zalloc(&stream->arena, sizeof *location);
    if (location == NULL) {
        return false;
    }
    *location = (mc_header){.name = MC_SLICE_INIT("location"), .value = path, .id = MC_H_LOCATION};
    MC_HCM_COUNT(stream, downstream_rq_redirected_with_normalized_path);
    *reply = (mc_reply){.status = 307, .details = "path_normalization_failed", .headers = location, .header_count = 1};
    return false;
}

static bool path_refused(mc_stream *stream, mc_reply *reply) {
    MC_HCM_COUNT(stream, downstream_rq_failed_path_normalization);
    return refuse(reply, 400, "path_normalization_failed");
}

static bool normalize_path(mc_stream *stream, mc_reply *reply) {
    const mc_hcm *hcm = stream->hcm;
    mc_slice path = mc_headers_get_known(&stream->request, MC_H_PATH);
    if (!hcm->normalize_path && !hcm->merge_slashes && hcm->slashes == MC_SLASH_KEEP &&
        mc_slice_find(path, '#') == path.n) {
        return true;
    }
    mc_uri_path_options options = {
        .normalize = hcm->normalize_path,
        .merge_slashes = hcm->merge_slashes,
        .unescape_slashes = hcm->slashes == MC_SLASH_UNESCAPE_FORWARD || hcm->slashes == MC_SLASH_UNESCAPE_REDIRECT,
        .reject_escaped_slashes = hcm->slashes == MC_SLASH_REJECT,
    };
    bool had_escaped = false;
    mc_slice out;
    mc_status status = mc_uri_path_normalize(path, &options, &stream->arena, &out, &had_escaped);
    if (status == MC_ENOMEM) {
        return false;
    }
    if (had_escaped && status != MC_OK) { /* its route is looked for, and logged, by what it means */
        TRY(mc_uri_path_normalize(path, &(mc_uri_path_options){.unescape_slashes = true}, &stream->arena, &out,
                                  &had_escaped));
        TRY(mc_headers_set_known_ref(&stream->request, MC_H_PATH, out));
    }
    if (status != MC_OK) {
        return path_refused(stream, reply);
    }
    TRY(mc_headers_set_known_ref(&stream->request, MC_H_PATH, out));
    if (had_escaped && hcm->slashes == MC_SLASH_UNESCAPE_REDIRECT) {
        if (mc_grpc_request(&stream->request)) { /* cannot follow */
            return path_refused(stream, reply);
        }
        return redirect_to(stream, out, reply);
    }
    return true;
}

static bool asks_for_udp(const mc_headers *headers) {
    return mc_slice_ieq(mc_headers_get_known(headers, MC_H_UPGRADE), MC_SLICE("connect-udp"));
}

/* RFC 9298: the target in the path, /.well-known/masque/udp/<host>/<port>/, becomes the authority (HC-2, step 10). */
static bool take_udp_target(mc_stream *stream, mc_slice path) {
    const mc_slice prefix = MC_SLICE("/.well-known/masque/udp/");
    mc_slice rest = mc_slice_from(path, prefix.n), host, port, authority;
    mc_address address;
    for (size_t i = 0; i < path.n; i++) {
        if ((unsigned char)path.p[i] < 0x21 || (unsigned char)path.p[i] > 0x7e) {
            return false;
        }
    }
    host = mc_slice_until(rest, mc_slice_find(rest, '/'));
    rest = mc_slice_from(rest, host.n + 1);
    port = mc_slice_until(rest, mc_slice_find(rest, '/'));
    if (!mc_slice_has_prefix(path, prefix) || host.n == 0 || port.n == 0 || port.n + 1 != rest.n) {
        return false;
    }
    TRY(mc_percent_decode(host, &stream->arena, &host));
    TRY(mc_percent_decode(port, &stream->arena, &port));
    if (mc_slice_find(host, '%') < host.n) { /* zones are not for others */
        return false;
    }
    const bool v6 = mc_slice_find(host, ':') < host.n && mc_address_parse(&address, host, 0) == MC_OK;
    const mc_slice parts[] = {v6 ? MC_SLICE("[") : MC_SLICE(""), host, v6 ? MC_SLICE("]:") : MC_SLICE(":"), port};
    TRY(mc_arena_concat(&stream->arena, parts, sizeof parts / sizeof parts[0], &authority));
    mc_headers_doubt(&stream->request, authority);
    TRY(mc_headers_set_known_ref(&stream->request, MC_H_AUTHORITY, authority));
    return true;
}

static bool check_path(mc_stream *stream, mc_reply *reply) {
    mc_slice method = mc_headers_get_known(&stream->request, MC_H_METHOD);
    mc_slice path = mc_headers_get_known(&stream->request, MC_H_PATH);
    const bool connect = mc_slice_eq(method, MC_SLICE("CONNECT")) && path.p == NULL;
    if (path.n == 0 && !connect) {
        return refuse(reply, 404, "missing_path_rejected");
    }
    if (MC_UNLIKELY(mc_headers_has(&stream->request, MC_H_UPGRADE)) && asks_for_udp(&stream->request) &&
        !take_udp_target(stream, path)) {
        (void)refuse(reply, 404, "invalid_path");
        reply->body = MC_SLICE("The path is incorrect for CONNECT-UDP");
        return false;
    }
    if (connect) {
        return true;
    }
    if (path.p[0] != '/') {
        MC_HCM_COUNT(stream, downstream_rq_non_relative_path);
        return refuse(reply, 404, "absolute_path_rejected");
    }
    return normalize_path(stream, reply);
}

static bool normalize_host(mc_stream *stream, const mc_address *local) { /* HC-33 */
    const mc_hcm *hcm = stream->hcm;
    if (!hcm->strip_trailing_dot && !hcm->strip_any_port && !hcm->strip_matching_port) {
        return true;
    }
    mc_slice host = mc_headers_get_known(&stream->request, MC_H_AUTHORITY), out;
    mc_uri_host_options options = {
        .strip_trailing_dot = hcm->strip_trailing_dot,
        .strip_any_port = hcm->strip_any_port,
        .strip_port = hcm->strip_matching_port ? mc_address_port(local) : 0,
    };
    TRY(mc_uri_host_normalize(host, &options, &stream->arena, &out));
    const mc_slice port = mc_slice_from(host, mc_uri_port_start(host));
    if (MC_UNLIKELY(stream->connect) && port.n > 0 && mc_uri_port_start(out) == out.n) {
        stream->connect_port = port;
    }
    TRY(mc_headers_set_known_ref(&stream->request, MC_H_AUTHORITY, out));
    return true;
}

/* --- what may pass ----------------------------------------------------------------------------------------------------------- */

static const mc_header_id edge_only[] = {
    MC_H_X_ENVOY_DECORATOR_OPERATION,     MC_H_X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER,
    MC_H_X_ENVOY_DOWNSTREAM_SERVICE_NODE, MC_H_X_ENVOY_ORIGINAL_PATH,
    MC_H_X_ENVOY_ORIGINAL_HOST,
};
static const mc_header_id external[] = {
    MC_H_X_ENVOY_RETRIABLE_STATUS_CODES,
    MC_H_X_ENVOY_RETRIABLE_HEADER_NAMES,
    MC_H_X_ENVOY_RETRY_ON,
    MC_H_X_ENVOY_RETRY_GRPC_ON,
    MC_H_X_ENVOY_MAX_RETRIES,
    MC_H_X_ENVOY_UPSTREAM_ALT_STAT_NAME,
    MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS,
    MC_H_X_ENVOY_UPSTREAM_RQ_PER_TRY_TIMEOUT_MS,
    MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_ALT_RESPONSE,
    MC_H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS,
    MC_H_X_ENVOY_FORCE_TRACE,
    MC_H_X_ENVOY_IP_TAGS,
    MC_H_X_ENVOY_ORIGINAL_URL,
    MC_H_X_ENVOY_HEDGE_ON_PER_TRY_TIMEOUT,
};

static void remove_all(mc_headers *headers, const mc_header_id *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (mc_headers_has(headers, ids[i])) {
            mc_headers_remove_known(headers, ids[i]);
        }
    }
}
#define REMOVE(headers, list) remove_all(headers, list, sizeof(list) / sizeof((list)[0]))

/* HC-10: only "trailers" survives in te, in lower case only, as in Envoy. */
static bool keep_te_trailers(mc_headers *headers) {
    if (mc_headers_get_known(headers, MC_H_TE).n == 0) { /* Envoy leaves an empty one */
        return true;
    }
    mc_slice rest = mc_headers_get_known(headers, MC_H_TE), token;
    while (mc_slice_next(&rest, ',', &token)) {
        if (mc_slice_eq(token, MC_SLICE("trailers"))) {
            TRY(mc_headers_set_known_ref(headers, MC_H_TE, MC_SLICE("trailers")));
            return true;
        }
    }
    mc_headers_remove_known(headers, MC_H_TE);
    return true;
}

static bool mutate_early(mc_stream *stream) { /* HC-10 */
    for (uint32_t i = 0; i < stream->hcm->early_mutation_count; i++) {
        const mc_mutation_list *list = &stream->hcm->early_mutations[i];
        const mc_stream_info *info = list->formats ? mc_stream_collect_info(stream) : NULL;
        if (list->formats && info == NULL) {
            return false;
        }
        TRY(mc_mutation_list_apply(list, &stream->request, info));
    }
    return true;
}

/* HC-10, of the joined value. */
static void sanitize_referer(mc_headers *headers) {
    mc_slice referer = mc_headers_get_known(headers, MC_H_REFERER);
    if (referer.p != NULL && !mc_uri_referer_valid(referer)) {
        mc_headers_remove_known(headers, MC_H_REFERER);
    }
}

static bool remove_hop_by_hop(mc_stream *stream) {
    static const mc_header_id always[] = {MC_H_X_ENVOY_INTERNAL, MC_H_KEEP_ALIVE, MC_H_PROXY_CONNECTION,
                                          MC_H_TRANSFER_ENCODING};
    mc_headers *headers = &stream->request;
    if (!stream->head.upgrade || !mc_headers_ask_upgrade(headers)) { /* a CONNECT is none; or it was mutated away */
        mc_headers_remove_known(headers, MC_H_CONNECTION);
        mc_headers_remove_known(headers, MC_H_UPGRADE);
        if (mc_headers_has(headers, MC_H_TE) && !keep_te_trailers(headers)) {
            return false;
        }
    }
    REMOVE(headers, always);
    if (mc_headers_has(headers, MC_H_REFERER)) {
        sanitize_referer(headers);
    }
    return true;
}

/* HC-16, for what is not internal. */
static void drop_untrusted(mc_stream *stream) {
    mc_headers *headers = &stream->request;
    if (MC_UNLIKELY(mc_headers_any(headers, MC_H_X_ENVOY_ATTEMPT_COUNT, MC_H_X_ENVOY_UPSTREAM_STREAM_DURATION_MS))) {
        if (stream->edge) {
            REMOVE(headers, edge_only);
        }
        REMOVE(headers, external);
    }
    for (uint32_t i = 0; i < stream->routes->internal_only_count; i++) {
        mc_headers_remove(headers, stream->routes->internal_only_headers[i]);
    }
}

/* --- what is added ------------------------------------------------------------------------------------------------------------ */

/* Sixteen hex digits, all at once: nibbles spread to bytes, then lifted to '0' or 'a' - 10. */
static void put_hex(uint64_t bits, char out[16]) {
    for (unsigned half = 0; half < 2; half++) {
        uint64_t x = half == 0 ? bits >> 32 : bits & 0xffffffff;
        x = (x << 16 | x) & UINT64_C(0x0000ffff0000ffff);
        x = (x << 8 | x) & UINT64_C(0x00ff00ff00ff00ff);
        x = (x << 4 | x) & UINT64_C(0x0f0f0f0f0f0f0f0f);
        uint64_t letters = ((x + UINT64_C(0x0606060606060606)) >> 4) & UINT64_C(0x0101010101010101);
        x += UINT64_C(0x3030303030303030) + letters * ('a' - 10 - '0');
        x = htobe64(x);
        memcpy(out + half * 8, &x, sizeof x);
    }
}

/* UUIDv4 out of two draws. */
static void make_uuid(mc_random *random, char out[36]) {
    char digits[32];
    const uint64_t high = mc_random_next(random), low = mc_random_next(random);
    put_hex((high & ~(uint64_t)0xf000) | 0x4000, digits);
    put_hex((low & ~((uint64_t)3 << 62)) | ((uint64_t)2 << 62), digits + 16);
    memcpy(out, digits, 8);
    memcpy(out + 9, digits + 8, 4);
    memcpy(out + 14, digits + 12, 4);
    memcpy(out + 19, digits + 16, 4);
    memcpy(out + 24, digits + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
}

static bool set_request_id(mc_stream *stream) { /* HC-20 */
    const mc_hcm *hcm = stream->hcm;
    mc_headers *headers = &stream->request;
    mc_slice id = mc_headers_get_known(headers, MC_H_X_REQUEST_ID);
    if (!hcm->generate_request_id || (id.n > 0 && !stream->edge)) {
        return true;
    }
    enum { UUID = 36, REASON = 14 };
    char *text = mc_arena_bytes(&stream->arena, UUID);
    if (text == NULL) {
        return false;
    }
    if (id.n > 0 && hcm->preserve_external_request_id) {
        if (id.n != UUID || !hcm->pack_trace_reason) {
            return true;
        }
        memcpy(text, id.p, UUID);
        text[REASON] = '4'; /* not traced */
    } else {
        make_uuid(mc_loop_random(stream->proxy->loop), text);
    }
    TRY(mc_headers_set_known_ref(headers, MC_H_X_REQUEST_ID, mc_slice_of(text, UUID)));
    return true;
}

static bool add_user_agent(mc_stream *stream) { /* HC-18 */
    const mc_hcm *hcm = stream->hcm;
    mc_headers *headers = &stream->request;
    TRY(mc_headers_set_known_ref(headers, MC_H_X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER, hcm->node_cluster));
    if (mc_headers_get_known(headers, MC_H_USER_AGENT).n == 0) {
        TRY(mc_headers_set_known_ref(headers, MC_H_USER_AGENT, hcm->node_cluster));
    }
    if (hcm->node_id.n > 0) {
        TRY(mc_headers_set_known_ref(headers, MC_H_X_ENVOY_DOWNSTREAM_SERVICE_NODE, hcm->node_id));
    }
    return true;
}

static mc_status tell_client_cert(mc_stream *stream) { /* HC-21 */
    const mc_client_cert_rules *rules = &stream->hcm->client_cert;
    if (rules->tree != NULL) {
        mc_route_request request = {.headers = &stream->request,
                                    .remote = &stream->remote,
                                    .local = mc_downstream_local(stream->downstream),
                                    .arena = &stream->arena,
                                    .info = mc_stream_collect_info(stream),
                                    .runtime = stream->proxy->runtime};
        if (request.info == NULL || mc_client_cert_rules_find(rules, &request, &rules) != MC_OK) {
            return MC_ENOMEM;
        }
    }
    return mc_client_cert_apply(rules, mc_downstream_tls(stream->downstream), &stream->request);
}

static bool add_own(mc_stream *stream) {
    const mc_hcm *hcm = stream->hcm;
    mc_headers *headers = &stream->request;
    if (hcm->add_user_agent && !add_user_agent(stream)) {
        return false;
    }
    if (hcm->via.n > 0) { /* HC-19 */
        TRY(mc_headers_append_value(headers, MC_H_VIA, MC_SLICE(", "), hcm->via));
    }
    TRY(mc_client_add_external_address(stream));
    if (!set_request_id(stream)) {
        return false;
    }
    if (MC_UNLIKELY(mc_headers_has(headers, MC_H_X_FORWARDED_CLIENT_CERT) ||
                    mc_downstream_tls(stream->downstream) != NULL)) {
        TRY(tell_client_cert(stream));
    }
    return true;
}

bool mc_sanitize_request(mc_stream *stream, const mc_address *peer, const mc_address *local, bool tls,
                         mc_reply *reply) {
    mc_slice scheme = tls ? MC_SLICE("https") : MC_SLICE("http");
    *reply = (mc_reply){0};
    if (stream->request.repeated) {
        TRY(mc_headers_join(&stream->request, MC_HEADERS_OF_REQUEST));
        stream->grpc_request = mc_grpc_request(&stream->request);
    }
    if (MC_UNLIKELY(stream->refusal != NULL)) {
        return codec_refuses(stream, reply);
    }
    if (!check_host(stream, reply) || !check_path(stream, reply) || !normalize_host(stream, local) ||
        !mutate_early(stream) || !remove_hop_by_hop(stream) || !mc_client_find(stream, peer, local, scheme, reply)) {
        return false;
    }
    if (MC_UNLIKELY(stream->internal)) {
        TRY(mc_headers_set_known_ref(&stream->request, MC_H_X_ENVOY_INTERNAL, MC_SLICE("true")));
    } else {
        drop_untrusted(stream);
    }
    return add_own(stream);
}

/* --- responses -------------------------------------------------------------------------------------------------------------------- */

static const mc_header_id hop_by_hop[] = {MC_H_TRANSFER_ENCODING, MC_H_KEEP_ALIVE, MC_H_PROXY_CONNECTION};

/* HC-20; a client outside has lost x-envoy-force-trace by HC-16, unless it was refused before. */
static mc_status answer_request_id(mc_stream *stream) {
    if (!stream->hcm->always_set_request_id_in_response &&
        MC_LIKELY(!mc_headers_has(&stream->request, MC_H_X_ENVOY_FORCE_TRACE))) {
        return MC_OK;
    }
    mc_slice id = mc_headers_get_known(&stream->request, MC_H_X_REQUEST_ID);
    return id.p == NULL ? MC_OK : mc_headers_set_known_ref(stream->response, MC_H_X_REQUEST_ID, id);
}

mc_status mc_sanitize_interim(mc_stream *stream) {
    mc_headers_remove_known(stream->response, MC_H_CONNECTION);
    mc_headers_remove_known(stream->response, MC_H_UPGRADE);
    REMOVE(stream->response, hop_by_hop);
    return answer_request_id(stream);
}

mc_status mc_sanitize_response(mc_stream *stream) { /* HC-35 */
    const mc_hcm *hcm = stream->hcm;
    mc_headers *headers = stream->response;
    mc_status status = MC_OK;
    const bool upgraded = MC_UNLIKELY(stream->upgrade) && !stream->connect && mc_headers_ask_upgrade(headers);
    if (MC_LIKELY(!upgraded)) {
        mc_headers_remove_known(headers, MC_H_CONNECTION);
        mc_headers_remove_known(headers, MC_H_UPGRADE);
    } else if (stream->status >= 200 && !mc_headers_has(headers, MC_H_TRANSFER_ENCODING) &&
               !mc_headers_has(headers, MC_H_CONTENT_LENGTH)) {
        status = mc_headers_add_known_ref(headers, MC_H_CONTENT_LENGTH, MC_SLICE("0"));
    }
    REMOVE(headers, hop_by_hop);
    if (!mc_headers_has(headers, MC_H_DATE)) {
        status = mc_headers_add_known(headers, MC_H_DATE, mc_proxy_date(stream->proxy));
    }
    if (status == MC_OK &&
        (hcm->server_header == MC_SERVER_OVERWRITE ||
         (hcm->server_header == MC_SERVER_APPEND_IF_ABSENT && !mc_headers_has(headers, MC_H_SERVER)))) {
        status = mc_headers_set_known_ref(headers, MC_H_SERVER, hcm->server_name);
    }
    if (status == MC_OK) {
        status = answer_request_id(stream);
    }
    if (status == MC_OK && hcm->via.n > 0) {
        status = mc_headers_append_value(headers, MC_H_VIA, MC_SLICE(", "), hcm->via);
    }
    if (status == MC_OK && hcm->proxy_status != NULL) {
        status = mc_proxy_status_apply(hcm->proxy_status, stream->flags, stream->flag_order,
                                       mc_slice_cstr(stream->details), MC_SLICE_NONE, headers);
    }
    if (upgraded || (MC_UNLIKELY(stream->connect) && stream->status == 200)) {
        return status; /* what follows is no HTTP */
    }
    if (status == MC_OK && (stream->close_connection || stream->tunnel)) { /* HC-40 */
        status = mc_headers_set_known_ref(headers, MC_H_CONNECTION, MC_SLICE("close"));
    } else if (status == MC_OK && stream->head.version_minor == 0) {
        status = mc_headers_set_known_ref(headers, MC_H_CONNECTION, MC_SLICE("keep-alive"));
    }
    return status;
}
