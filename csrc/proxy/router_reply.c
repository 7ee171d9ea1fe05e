/* The router's own answers: redirects, direct responses, and what it says when no upstream did. */
#include "proxy/router_internal.h"
#include "route/path_rewrite.h"

void mc_router_out_of_memory(mc_router *r) { mc_stream_reset(r->stream, MC_FLAG(LR), "out_of_memory"); }

void mc_router_reply_redirect(mc_stream *stream) {
    mc_header location = {.name = MC_SLICE_INIT("location"), .id = MC_H_LOCATION};
    mc_route_request request;
    if (mc_stream_route_request(stream, &request) != MC_OK ||
        mc_route_redirect_location(&stream->match, &request, &location.value) != MC_OK ||
        mc_route_redirect_rewrite(&stream->match, &request, &stream->request,
                                  stream->chain->router.suppress_envoy_headers) != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return;
    }
    MC_HCM_COUNT(stream, rq_direct_response); /* rq_redirect stands still, as in Envoy */
    mc_stream_reply(stream, &(mc_reply){.status = mc_route_redirect_status(&stream->match),
                                        .details = "direct_response",
                                        .headers = &location,
                                        .header_count = 1,
                                        .of_route = true});
}

/* RT-32: the body as body_format makes it. */
static mc_status format_direct(mc_stream *stream, const mc_direct_response *direct, mc_slice *body) {
    mc_route_request request;
    mc_stream_info info;
    mc_status status = mc_stream_route_request(stream, &request);
    if (status != MC_OK) {
        return status;
    }
    mc_route_scene(&request, &stream->request, NULL, &info);
    info.local_reply_body = direct->body;
    info.status = 0; /* it is not an answer yet */
    return mc_format_run_arena(direct->format, &info, &stream->arena, body);
}

/* What is created, or is elsewhere, has a place (RFC 9110 section 10.2.2). */
static mc_status locate_direct(mc_stream *stream, mc_slice *location) {
    mc_route_request request;
    mc_status status = mc_stream_route_request(stream, &request);
    return status == MC_OK ? mc_route_redirect_location(&stream->match, &request, location) : status;
}

void mc_router_reply_direct(mc_stream *stream, const mc_direct_response *direct) {
    mc_header location;
    mc_reply reply = {.status = direct->status,
                      .body = direct->body,
                      .details = "direct_response",
                      .headers = &location,
                      .of_route = true};
    mc_status status = MC_OK;
    MC_HCM_COUNT(stream, rq_direct_response);
    if (MC_UNLIKELY(direct->format != NULL)) {
        reply.content_type = direct->content_type;
        status = format_direct(stream, direct, &reply.body);
    }
    if (MC_UNLIKELY(direct->status == 201 || direct->status / 100 == 3) && status == MC_OK) {
        reply.header_count = 1;
        location = (mc_header){.name = MC_SLICE_INIT("location"), .id = MC_H_LOCATION};
        status = locate_direct(stream, &location.value);
    }
    if (status != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return;
    }
    mc_stream_reply(stream, &reply);
}

/* --- before a try ------------------------------------------------------------------------------------------------- */

/* In the order of their check, each with the details of its refusal. */
static const struct {
    mc_header_id id;
    bool list;
    const char *details;
} strict_headers[] = {
    {MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS, false, "request_headers_failed_strict_check{x-envoy-upstream-rq-timeout-ms}"},
    {MC_H_X_ENVOY_UPSTREAM_RQ_PER_TRY_TIMEOUT_MS, false,
     "request_headers_failed_strict_check{x-envoy-upstream-rq-per-try-timeout-ms}"},
    {MC_H_X_ENVOY_MAX_RETRIES, false, "request_headers_failed_strict_check{x-envoy-max-retries}"},
    {MC_H_X_ENVOY_RETRY_GRPC_ON, true, "request_headers_failed_strict_check{x-envoy-retry-grpc-on}"},
    {MC_H_X_ENVOY_RETRY_ON, true, "request_headers_failed_strict_check{x-envoy-retry-on}"},
};
enum { STRICT_COUNT = sizeof strict_headers / sizeof strict_headers[0] };

mc_status mc_router_options_read(const mc_value *config, mc_router_options *out, mc_error *error) {
    bool dynamic = true;
    const mc_value *names;
    size_t count;
    mc_status status;
    *out = (mc_router_options){0};
    if ((status = mc_value_read_bool(config, "dynamic_stats", &dynamic, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "suppress_envoy_headers", &out->suppress_envoy_headers, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "respect_expected_rq_timeout", &out->respect_expected_timeout, error)) !=
            MC_OK ||
        (status = mc_value_read_bool(config, "suppress_grpc_request_failure_code_stats",
                                     &out->suppress_grpc_failure_codes, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "start_child_span", &out->start_child_span, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "reject_connect_request_early_data", &out->reject_early_connect_data,
                                     error)) != MC_OK ||
        (status = mc_value_read_list(config, "strict_check_headers", &names, &count, error)) != MC_OK) {
        return status;
    }
    out->no_dynamic_stats = !dynamic;
    for (size_t i = 0; i < count; i++) {
        unsigned k = 0;
        while (k < STRICT_COUNT &&
               (names[i].kind != MC_STRING || !mc_slice_ieq(names[i].string, mc_header_name(strict_headers[k].id)))) {
            k++;
        }
        if (k == STRICT_COUNT) {
            mc_error_set(error, MC_EINVAL, "", "is no header that can be checked");
            mc_error_under(error, "strict_check_headers[%zu]", i);
            return MC_EINVAL;
        }
        out->strict_headers |= (uint8_t)(1u << k);
    }
    return MC_OK;
}

static bool strictly_valid(unsigned k, mc_slice value) {
    uint64_t number;
    bool unknown = false;
    if (!strict_headers[k].list) {
        return mc_slice_number(value, UINT64_MAX, &number) == MC_OK;
    }
    uint32_t bits = mc_retry_on_parse(value, &unknown);
    const uint32_t grpc = MC_RETRY_ON_CANCELLED | MC_RETRY_ON_DEADLINE_EXCEEDED | MC_RETRY_ON_INTERNAL |
                          MC_RETRY_ON_RESOURCE_EXHAUSTED | MC_RETRY_ON_UNAVAILABLE;
    const bool of_grpc = strict_headers[k].id == MC_H_X_ENVOY_RETRY_GRPC_ON;
    return !unknown && (bits & (of_grpc ? ~grpc : grpc)) == 0;
}

const char *mc_router_strict_check(const mc_headers *request, uint8_t strict, mc_reply *reply, mc_arena *arena) {
    for (unsigned k = 0; k < STRICT_COUNT; k++) {
        const mc_header_id id = strict_headers[k].id;
        if (!(strict & (1u << k)) || !mc_headers_has(request, id) ||
            strictly_valid(k, mc_headers_get_known(request, id))) {
            continue;
        }
        const mc_slice parts[] = {MC_SLICE("invalid header '"), mc_header_name(id), MC_SLICE("' with value '"),
                                  mc_headers_get_known(request, id), MC_SLICE("'")};
        *reply = (mc_reply){.status = 400, .details = strict_headers[k].details, .flags = MC_FLAG(IH)};
        if (mc_arena_concat(arena, parts, sizeof parts / sizeof parts[0], &reply->body) != MC_OK) {
            reply->body = MC_SLICE_NONE;
        }
        return reply->details;
    }
    return NULL;
}

static const mc_header overloaded = {
    .name = MC_SLICE_INIT("x-envoy-overloaded"), .value = MC_SLICE_INIT("true"), .id = MC_H_X_ENVOY_OVERLOADED};

bool mc_draws_maintenance(const mc_proxy *proxy, const mc_cluster *cluster) {
    static const char key[] = "upstream.maintenance_mode.";
    const mc_slice name = cluster->name;
    char text[256];
    if (MC_LIKELY(proxy->runtime == NULL) || name.n > sizeof text - sizeof key) {
        return false;
    }
    memcpy(text, key, sizeof key - 1);
    memcpy(text + sizeof key - 1, name.p, name.n);
    const uint64_t percent = mc_runtime_u64(proxy->runtime, mc_slice_of(text, sizeof key - 1 + name.n), 0);
    return percent >= 100 || (percent > 0 && mc_random_next(mc_loop_random(proxy->loop)) % 100 < percent);
}

bool mc_draws_drop(const mc_proxy *proxy, const mc_upstream *upstream) {
    const double share = mc_hosts_drop(upstream->hosts);
    return MC_UNLIKELY(share > 0) &&
           (share >= 1 || mc_random_next(mc_loop_random(proxy->loop)) <= (uint64_t)(share * 18446744073709551615.0));
}

bool mc_router_maintenance(mc_router *r) {
    mc_stream *stream = r->stream;
    if (MC_LIKELY(!mc_draws_maintenance(stream->proxy, r->cluster))) {
        return false;
    }
    mc_router_charge(r, 503, NULL, false);
    MC_R_COUNT(r, upstream_rq_maintenance_mode);
    mc_stream_reply(stream, &(mc_reply){.status = 503,
                                        .body = MC_SLICE_INIT("maintenance mode"),
                                        .details = "maintenance_mode",
                                        .flags = MC_FLAG(UO),
                                        .headers = &overloaded,
                                        .header_count = r->options->suppress_envoy_headers ? 0 : 1});
    return true;
}

bool mc_router_drop_overload(mc_router *r) {
    static const mc_header headers[] = {
        {.name = MC_SLICE_INIT("x-envoy-drop-overload"), .value = MC_SLICE_INIT("true")},
        {.name = MC_SLICE_INIT("x-envoy-unconditional-drop-overload"), .value = MC_SLICE_INIT("true")}};
    mc_stream *stream = r->stream;
    if (MC_LIKELY(!mc_draws_drop(stream->proxy, r->upstream))) {
        return false;
    }
    const bool all = mc_hosts_drop(r->upstream->hosts) >= 1;
    mc_router_charge(r, 503, NULL, false);
    mc_stream_reply(stream,
                    &(mc_reply){.status = 503,
                                .body = all ? MC_SLICE("unconditional drop overload") : MC_SLICE("drop overload"),
                                .details = all ? "unconditional_drop_overload" : "drop_overload",
                                .flags = all ? MC_FLAG(UDO) : MC_FLAG(DO),
                                .headers = &headers[all],
                                .header_count = r->options->suppress_envoy_headers ? 0 : 1});
    return true;
}

/* --- after tries --------------------------------------------------------------------------------------------------- */

void mc_router_reply(mc_router *r, const mc_reply *reply) {
    mc_stream *stream = r->stream;
    char digits[20];
    mc_reply full = *reply;
    mc_header headers[2] = {{.removed = true}, {.removed = true}};
    if (reply->header_count > 0) {
        headers[0] = reply->headers[0];
    }
    if (r->replied_attempts) {
        headers[full.header_count++] =
            (mc_header){.name = mc_header_name(MC_H_X_ENVOY_ATTEMPT_COUNT),
                        .value = mc_slice_of(digits, mc_format_u64(digits, stream->attempts)),
                        .id = MC_H_X_ENVOY_ATTEMPT_COUNT};
    }
    full.headers = headers;
    mc_router_settle(r);
    mc_stream_reply(stream, &full);
}

void mc_router_reply_no_host(mc_router *r) {
    const uint16_t status = MC_UNLIKELY(r->lb.override_strict) ? r->stream->override_status : 503;
    mc_router_charge(r, status, NULL, false);
    mc_router_reply(r, &(mc_reply){.status = status,
                                   .body = MC_SLICE_INIT("no healthy upstream"),
                                   .details = MC_LIKELY(r->no_host == NULL) ? "no_healthy_upstream" : r->no_host,
                                   .details_class = "no_healthy_upstream",
                                   .flags = MC_FLAG(UH)});
}

/* A name as the answer tells it. */
static mc_status readable(mc_arena *arena, mc_slice name, mc_slice *out) {
    char *text = mc_arena_bytes(arena, 6 * name.n + 1), *at = text;
    if (text == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < name.n; i++) {
        const unsigned char c = (unsigned char)name.p[i];
        if (c < ' ' || c == 0x7f) {
            at += snprintf(at, 7, "\\u%04x", c);
        } else {
            *at++ = (char)c;
        }
    }
    *out = mc_slice_of(text, (size_t)(at - text));
    return MC_OK;
}

static mc_status unsendable_texts(mc_arena *arena, const mc_header *header, mc_slice *body, mc_slice *details) {
    const bool value = mc_header_name_sendable(header->name);
    mc_slice name, told;
    MC_TRY(readable(arena, header->name, &name));
    MC_TRY(mc_arena_dup(arena, name, &told));
    for (size_t i = 0; i < told.n; i++) { /* as in all details */
        if (told.p[i] == ' ') {
            ((char *)(uintptr_t)told.p)[i] = '_';
        }
    }
    const mc_slice body_parts[] = {value ? MC_SLICE("invalid header value for: ") : MC_SLICE("invalid header name: "),
                                   name};
    const mc_slice details_parts[] = {MC_SLICE("filter_removed_required_request_headers{"),
                                      value ? MC_SLICE("invalid_header_value_for:_")
                                            : MC_SLICE("invalid_header_name:_"),
                                      told,
                                      {"}", 2}};
    MC_TRY(mc_arena_concat(arena, body_parts, 2, body));
    return mc_arena_concat(arena, details_parts, 4, details);
}

void mc_router_reply_unsendable(mc_router *r, const mc_header *header) {
    mc_slice body, details;
    if (unsendable_texts(&r->stream->arena, header, &body, &details) != MC_OK) {
        mc_router_out_of_memory(r);
        return;
    }
    mc_router_settle(r);
    mc_stream_reply(r->stream, &(mc_reply){.status = 503, /* of the try, so without the count of attempts */
                                           .body = body,
                                           .details = details.p,
                                           .details_class = "filter_removed_required_request_headers",
                                           .flags = MC_FLAG(DPE)});
}

uint64_t mc_router_reset_flag(mc_reset_reason reason) {
    static const uint64_t flags[] = {
#define MC_RESET_FLAG(id, text, flag) MC_FLAG(flag),
        MC_RESET_REASONS(MC_RESET_FLAG)
#undef MC_RESET_FLAG
    };
    return flags[reason];
}

/* RF-30. */
static const char *reset_details(mc_reset_reason reason, bool after) {
    static const char *const names[][2] = {
#define DETAILS(reason)                                                                                                \
    {"upstream_reset_before_response_started{" reason "}", "upstream_reset_after_response_started{" reason "}"}
        [MC_RESET_LOCAL_CONNECTION_FAILURE] = DETAILS("local_connection_failure"),
        [MC_RESET_REMOTE_CONNECTION_FAILURE] = DETAILS("remote_connection_failure"),
        [MC_RESET_CONNECTION_TIMEOUT] = DETAILS("connection_timeout"),
        [MC_RESET_CONNECTION_TERMINATION] = DETAILS("connection_termination"),
        [MC_RESET_LOCAL_RESET] = DETAILS("local_reset"),
        [MC_RESET_OVERFLOW] = DETAILS("overflow"),
        [MC_RESET_REMOTE_RESET] = DETAILS("remote_reset"),
        [MC_RESET_PROTOCOL_ERROR] = DETAILS("protocol_error"),
#undef DETAILS
    };
    return names[reason][after];
}

static const char *connect_details(mc_connect_error error) {
    static const char *const details[] = {NULL,
#define CONNECT_DETAILS(number, text, joined)                                                                          \
    "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_" joined "}",
                                          MC_CONNECT_ERRORS(CONNECT_DETAILS)
#undef CONNECT_DETAILS
    };
    return details[error];
}

mc_slice mc_router_connect_text(mc_connect_error error) {
    static const mc_slice texts[] = {{NULL, 0},
#define CONNECT_TEXT(number, text, joined) MC_SLICE_INIT("delayed connect error: " text),
                                     MC_CONNECT_ERRORS(CONNECT_TEXT)
#undef CONNECT_TEXT
    };
    return texts[error];
}

/* RF-28: a request that could still have been redirected inside but for its body. */
static bool lost_to_body(const mc_router *r) {
    return r->overflowed && r->stream->match.route->redirects != NULL && !r->may_retry && !r->response_started;
}

static void reply_too_large(mc_router *r, uint64_t flags) {
    mc_router_reply(r, &(mc_reply){.status = 507,
                                   .body = MC_SLICE_INIT("exceeded request buffer limit while retrying upstream"),
                                   .details = "request_payload_exceeded_retry_buffer_limit",
                                   .flags = flags});
}

void mc_router_reply_reset(mc_router *r, mc_reset_reason reason, mc_connect_error error) {
    mc_stream *stream = r->stream;
    const mc_slice parts[] = {MC_SLICE("upstream connect error or disconnect/reset before headers. "),
                              r->retried ? MC_SLICE("retried and the latest ") : MC_SLICE(""),
                              MC_SLICE("reset reason: "), mc_reset_reason_text(reason)};
    if (lost_to_body(r)) {
        reply_too_large(r, mc_router_reset_flag(reason));
        return;
    }
    mc_reply reply = {.status = reason == MC_RESET_PROTOCOL_ERROR ? 502 : 503,
                      .flags = mc_router_reset_flag(reason),
                      .details = reset_details(reason, r->response_started)};
    if (reason == MC_RESET_REMOTE_CONNECTION_FAILURE && error != MC_CONNECT_ERROR_NONE) {
        reply.details = connect_details(error);
    }
    if (mc_arena_concat(&stream->arena, parts, sizeof parts / sizeof parts[0], &reply.body) != MC_OK) {
        reply.body = MC_SLICE_NONE;
    }
    if (reason == MC_RESET_OVERFLOW && !r->options->suppress_envoy_headers) {
        reply.headers = &overloaded;
        reply.header_count = 1;
    }
    mc_router_reply(r, &reply);
}

void mc_router_reply_timeout(mc_router *r, const char *details) {
    mc_router_track(r);
    if (lost_to_body(r)) {
        reply_too_large(r, MC_FLAG(UT));
        return;
    }
    mc_router_reply(r,
                    &(mc_reply){.status = r->timeout_status,
                                .body = r->timeout_status == 504 ? MC_SLICE("upstream request timeout") : MC_SLICE_NONE,
                                .details = details,
                                .flags = MC_FLAG(UT)});
}

void mc_router_reply_too_large(mc_router *r) { reply_too_large(r, 0); }
