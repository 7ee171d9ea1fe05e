#include "http/grpc.h"
#include "proxy/router_internal.h"

/* --- where a request goes ---------------------------------------------------------------------------------------------- */

static mc_router *router_new(mc_filter *filter, mc_upstream *upstream) {
    mc_stream *stream = mc_filter_stream(filter);
    mc_router *r = mc_arena_zalloc(&stream->arena, sizeof *r);
    if (r != NULL) {
        r->filter = filter;
        r->stream = stream;
        r->upstream = upstream;
        r->cluster = upstream->cluster;
        r->options = &stream->chain->router;
        r->timeout.fire = mc_router_timeout_fired;
        r->backoff.fire = mc_router_backoff_fired;
        mc_list_init(&r->tries);
        mc_buffer_init(&r->body, mc_net_chunks(stream->proxy->net));
        mc_upstream_hold(upstream);
        mc_filter_set_state(filter, r);
    }
    return r;
}

/* RF-28. A connection's limit of 0 is none, a route's keeps nothing. */
static uint64_t body_limit(const mc_stream *stream) {
    const uint64_t limit = stream->match.route->body_buffer_limit;
    return limit != UINT64_MAX || stream->hcm->buffer_limit == 0 ? limit : stream->hcm->buffer_limit;
}

static mc_status prepare(mc_router *r) {
    mc_stream *stream = r->stream;
    mc_headers *headers = &stream->request;
    const mc_route *route = stream->match.route;
    mc_route_request request;
    mc_status status = mc_router_read_timeouts(r);
    stream->attempts = 1;
    r->replied_attempts = stream->match.virtual_host->include_attempt_count_response;
    if (status == MC_OK && stream->match.virtual_host->include_attempt_count_request) {
        status = mc_headers_set_known_ref(headers, MC_H_X_ENVOY_ATTEMPT_COUNT, MC_SLICE("1"));
    }
    if (status == MC_OK) {
        status = mc_stream_route_request(stream, &request);
    }
    if (status == MC_OK) { /* RT-35 */
        status = mc_route_finalize_request(stream->routes->table, &stream->match, &request, headers,
                                           r->options->suppress_envoy_headers);
    }
    mc_retry_init(&r->retry,
                  &(mc_retry_context){.policy = r->cluster->policies.retry != NULL ? r->cluster->policies.retry
                                                                                   : route->retry_policy,
                                      .runtime = stream->proxy->runtime,
                                      .random = mc_loop_random(stream->proxy->loop),
                                      .cluster = r->cluster,
                                      .priority = route->high_priority ? MC_PRIORITY_HIGH : MC_PRIORITY_DEFAULT,
                                      .slab = stream->proxy->slab,
                                      .loop = stream->proxy->loop,
                                      .scopes = {r->scopes[0], r->scopes[1]}},
                  headers);
    r->may_retry = r->retry.configured;
    r->body_limit = body_limit(stream);
    return status == MC_OK ? mc_router_ask(r, &request) : status;
}

/* RF-14: the limit of the whole request runs from its end. */
static void request_ended(mc_router *r) {
    r->request_end = true;
    r->request_end_us = mc_loop_now_us(r->stream->proxy->loop);
    if (r->timeout_ms != 0 && !mc_timer_armed(&r->timeout)) {
        mc_timer_arm(r->stream->proxy->loop, &r->timeout, r->timeout_ms);
    }
}

/* RF-40: what no request can go upstream without; CONNECT has no path. NULL: all is there. */
static const mc_reply *lacks_header(const mc_headers *headers) {
    static const mc_reply no_method = {.status = 503,
                                       .body = MC_SLICE_INIT("missing required header: :method"),
                                       .details =
                                           "filter_removed_required_request_headers{missing_required_header:_:method}"};
    static const mc_reply no_path = {.status = 503,
                                     .body = MC_SLICE_INIT("missing required header: :path"),
                                     .details =
                                         "filter_removed_required_request_headers{missing_required_header:_:path}"};
    if (MC_UNLIKELY(!mc_headers_has(headers, MC_H_METHOD))) {
        return &no_method;
    }
    return MC_LIKELY(mc_headers_has(headers, MC_H_PATH)) ||
                   mc_slice_eq(mc_headers_get_known(headers, MC_H_METHOD), MC_SLICE("CONNECT"))
               ? NULL
               : &no_path;
}

static bool sheds(mc_stream *stream) { /* BOOT-17 */
    mc_overload *overload = mc_downstream_overload(stream->downstream);
    if (MC_LIKELY(overload == NULL) || !mc_overload_acts(overload, MC_OVERLOAD_SHED_ROUTER,
                                                         mc_loop_random(stream->proxy->loop), stream->proxy->slab)) {
        return false;
    }
    MC_HCM_COUNT(stream, rq_overload_local_reply);
    mc_stream_reply(stream,
                    &(mc_reply){.status = 503, .body = MC_SLICE_INIT("envoy overloaded"), .details = "overload"});
    return true;
}

/* RF-3, RF-4, RF-6. True: answered. */
static bool refused(mc_router *r) {
    mc_stream *stream = r->stream;
    mc_headers *headers = &stream->request;
    mc_reply reply;
    r->grpc = mc_grpc_request(headers);
    mc_router_find_scopes(r);
    if (MC_UNLIKELY(r->options->strict_headers != 0) &&
        mc_router_strict_check(headers, r->options->strict_headers, &reply, &stream->arena) != NULL) {
        mc_stream_reply(stream, &reply);
        return true;
    }
    if (MC_UNLIKELY(mc_headers_has(headers, MC_H_X_ENVOY_UPSTREAM_ALT_STAT_NAME))) {
        r->alt_stat_name = mc_headers_get_known(headers, MC_H_X_ENVOY_UPSTREAM_ALT_STAT_NAME);
        mc_headers_remove_known(headers, MC_H_X_ENVOY_UPSTREAM_ALT_STAT_NAME);
    }
    const mc_reply *missing = lacks_header(headers);
    if (MC_UNLIKELY(missing != NULL)) {
        mc_stream_reply(stream, missing);
        return true;
    }
    return mc_router_maintenance(r) || mc_router_drop_overload(r);
}

/* HC-46: who must accept first, and where a CONNECT ends. */
static mc_status prepare_upgrade(mc_router *r) {
    mc_stream *stream = r->stream;
    mc_headers *headers = &stream->request;
    const mc_connect_config *connect = stream->match.route->connect;
    mc_slice method = mc_headers_get_known(headers, MC_H_METHOD);
    const bool is_connect = mc_slice_eq(method, MC_SLICE("CONNECT"));
    r->terminates = connect != NULL && (is_connect || (connect->allow_post && mc_slice_eq(method, MC_SLICE("POST"))));
    r->websocket = stream->upgrade && !is_connect &&
                   mc_slice_ieq(mc_headers_get_known(headers, MC_H_UPGRADE), MC_SLICE("websocket"));
    r->payload_waits = r->terminates || is_connect || r->websocket;
    if (!is_connect || stream->connect_port.n == 0) {
        return MC_OK;
    }
    mc_slice parts[] = {mc_headers_get_known(headers, MC_H_AUTHORITY), stream->connect_port}, host; /* HC-33 */
    mc_status status = mc_arena_concat(&stream->arena, parts, 2, &host);
    return status == MC_OK ? mc_headers_set_known_ref(headers, MC_H_AUTHORITY, host) : status;
}

static void route_to_cluster(mc_filter *filter, bool end_stream) {
    mc_stream *stream = mc_filter_stream(filter);
    mc_upstream *upstream = mc_stream_upstream(stream);
    if (upstream == NULL) { /* RF-2 */
        MC_HCM_COUNT(stream, no_cluster);
        mc_stream_reply(stream, &(mc_reply){.status = stream->match.route->cluster_not_found_status,
                                            .details = "cluster_not_found",
                                            .flags = MC_FLAG(NC)});
        return;
    }
    if (sheds(stream)) {
        return;
    }
    mc_router *r = router_new(filter, upstream);
    if (r == NULL) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return;
    }
    if (refused(r)) {
        return;
    }
    if (prepare(r) != MC_OK) {
        mc_router_out_of_memory(r);
        return;
    }
    r->keep_body = (mc_retry_active(&r->retry) || stream->match.route->redirects != NULL) && !stream->upgrade;
    r->headers_only = end_stream;
    if (MC_UNLIKELY(stream->upgrade || stream->match.route->connect != NULL) && prepare_upgrade(r) != MC_OK) {
        mc_router_out_of_memory(r);
        return;
    }
    if (end_stream) {
        request_ended(r);
    } else if (r->websocket && r->timeout_ms != 0) { /* RF-14 */
        mc_timer_arm(stream->proxy->loop, &r->timeout, r->timeout_ms);
    }
    if (MC_UNLIKELY((stream->match.route->mirrors.count | r->cluster->policies.mirrors.count) > 0)) {
        mc_retry_remove_headers(&stream->request); /* copies do not carry them */
        mc_shadows_make(r);
        if (stream->finished) {
            return;
        }
    }
    mc_try_start(r);
    if (MC_UNLIKELY(r->shadows != NULL) && !stream->finished) {
        mc_shadows_start(r, end_stream);
    }
}

static mc_filter_status router_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    mc_stream *stream = mc_filter_stream(filter);
    if (stream->route_stale && mc_stream_match_route(stream) != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return MC_FILTER_STOP;
    }
    const mc_route *route = stream->match.route;
    MC_HCM_COUNT(stream, rq_total);
    if (stream->match.tls_redirect || (route != NULL && route->action == MC_ROUTE_REDIRECT)) {
        mc_router_reply_redirect(stream);
    } else if (route == NULL) { /* RT-3 */
        MC_HCM_COUNT(stream, no_route);
        mc_stream_reply(stream, &(mc_reply){.status = 404, .details = "route_not_found", .flags = MC_FLAG(NR)});
    } else if (route->action == MC_ROUTE_DIRECT_RESPONSE) {
        mc_router_reply_direct(stream, route->direct_response);
    } else {
        route_to_cluster(filter, end_stream);
    }
    return MC_FILTER_STOP;
}

/* --- the body ------------------------------------------------------------------------------------------------------------- */

/* RF-28: too much to keep for another try. False: the request was answered. */
bool mc_router_stop_keeping(mc_router *r) {
    MC_R_COUNT(r, retry_or_shadow_abandoned);
    r->keep_body = false;
    r->overflowed = true;
    const mc_try *t = mc_router_newest(r);
    if (t == NULL) { /* between two tries */
        mc_router_reply_too_large(r);
        return false;
    }
    mc_retry_stop(&r->retry);
    if (t->ready || t->filters != NULL) {
        mc_net_retire(r->stream->proxy->net, &r->body);
    }
    return true;
}

/* As long as no byte went upstream, a body is only held back, not kept for another time: whatever its size, a connection that failed
 * costs nothing but the wait. */
static bool too_much(const mc_router *r, size_t more) {
    return r->keep_body && r->wrote && r->body.length + more > r->body_limit;
}

void mc_router_hold_back(mc_router *r, size_t waiting) {
    const uint32_t limit = r->stream->hcm->buffer_limit;
    mc_try *t = mc_router_newest(r);
    if (waiting <= limit || limit == 0) {
        return;
    }
    if (t != NULL) {
        mc_try_block(t);
    } else if (!r->body_paused) {
        r->body_paused = true;
        mc_filter_decode_pause(r->filter);
    }
}

/* While the request still comes there is at most one try: hedging begins when it is complete. */
static void body_piece(mc_router *r, mc_slice data) {
    if (MC_UNLIKELY(r->shadows != NULL)) {
        mc_shadows_data(r, data);
    }
    if (too_much(r, data.n) && !mc_router_stop_keeping(r)) {
        return;
    }
    mc_try *t = mc_router_newest(r);
    if (t == NULL && !r->waiting) {
        mc_router_reply(r, &(mc_reply){.status = 503,
                                       .body = MC_SLICE_INIT("upstream is closed prematurely during decoding data from "
                                                             "downstream"),
                                       .details = "upstream_closed_prematurely"});
        return;
    }
    const bool ready = t != NULL && mc_try_takes(t);
    if (!ready || r->keep_body) {
        if (mc_buffer_append(&r->body, data) != MC_OK) {
            mc_router_out_of_memory(r);
            return;
        }
    }
    if (ready) {
        mc_try_give(t, data);
    } else {
        mc_router_hold_back(r, r->body.length);
    }
}

static mc_filter_status router_data(mc_filter *filter, mc_slice data, bool end_stream) {
    mc_router *r = mc_filter_get_state(filter);
    if (r == NULL) {
        return MC_FILTER_STOP;
    }
    if (data.n > 0) {
        body_piece(r, data);
    }
    if (end_stream && !r->stream->finished && !r->stream->local_reply) {
        request_ended(r);
        if (MC_UNLIKELY(r->shadows != NULL)) {
            mc_shadows_end(r);
        }
        mc_try *t = mc_router_newest(r);
        if (t != NULL && mc_try_takes(t)) {
            mc_try_give_end(t);
            if (MC_LIKELY(t->ready && !r->stream->finished)) {
                mc_try_ready_timers(t);
            }
        }
    }
    return MC_FILTER_STOP;
}

static mc_filter_status router_trailers(mc_filter *filter, mc_headers *trailers) {
    mc_router *r = mc_filter_get_state(filter);
    if (r != NULL) {
        r->trailers = trailers;
        return router_data(filter, MC_SLICE_NONE, true);
    }
    return MC_FILTER_STOP;
}

/* --- the end, and back-pressure --------------------------------------------------------------------------------------------- */

static void router_local_reply(mc_filter *filter) {
    mc_router *r = mc_filter_get_state(filter);
    if (r != NULL) {
        mc_router_cancel_tries(r, NULL);
    }
}

static void router_close(mc_filter *filter) {
    mc_router *r = mc_filter_get_state(filter);
    if (r == NULL) {
        return;
    }
    mc_router_cancel_tries(r, NULL);
    mc_router_settle(r);
    if (MC_UNLIKELY(r->shadows != NULL)) {
        mc_shadows_cancel(r);
    }
    mc_net_retire(r->stream->proxy->net, &r->body);
    mc_upstream_release(r->upstream);
    if (r->first != NULL) {
        mc_upstream_release(r->first);
    }
    mc_filter_set_state(filter, NULL);
}

static void router_high(mc_filter *filter) {
    mc_router *r = mc_filter_get_state(filter);
    mc_try *t = r == NULL ? NULL : r->final != NULL ? r->final : mc_router_newest(r);
    if (t != NULL && mc_attempt_conn(&t->attempt) != NULL) {
        t->pauses++;
        MC_R_COUNT(r, upstream_flow_control_paused_reading_total);
        mc_conn_pause_reading(mc_attempt_conn(&t->attempt));
    }
}

static void router_low(mc_filter *filter) {
    mc_router *r = mc_filter_get_state(filter);
    if (r == NULL) {
        return;
    }
    MC_LIST_EACH(&r->tries, node) {
        mc_try *t = MC_CONTAINER(node, mc_try, link);
        if (t->pauses > 0 && mc_attempt_conn(&t->attempt) != NULL) {
            t->pauses--;
            MC_R_COUNT(r, upstream_flow_control_resumed_reading_total);
            mc_conn_resume_reading(mc_attempt_conn(&t->attempt));
        }
    }
}

static size_t router_held(const mc_filter *filter) {
    const mc_router *r = mc_filter_get_state(filter);
    return r == NULL ? 0 : r->body.length;
}

const mc_filter_type mc_router_filter = {
    .name = "envoy.filters.http.router",
    .terminal = true,
    .decode_headers = router_headers,
    .decode_data = router_data,
    .decode_trailers = router_trailers,
    .local_reply = router_local_reply,
    .close = router_close,
    .encode_high = router_high,
    .encode_low = router_low,
    .held = router_held,
};

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    mc_router_options *options = mc_arena_zalloc(c->arena, sizeof *options);
    *out = options;
    return options == NULL ? MC_ENOMEM : mc_router_options_read(value, options, c->error);
}

const mc_filter_kind mc_filter_kind_router = {
    .type = "envoy.extensions.filters.http.router.v3.Router",
    .filter = &mc_router_filter,
    .compile = compile,
};
