#include "proxy/stream.h"

#include "base/alloc.h"
#include "base/read.h"
#include "http/grpc.h"
#include "http/uri.h"

/* --- life ---------------------------------------------------------------------------------------------------------- */

static void idle_fired(mc_timer *timer);
static void limit_fired(mc_timer *timer);
static void duration_fired(mc_timer *timer);
static void log_fired(mc_timer *timer);
static void set_idle(mc_stream *stream, uint64_t ms);
static void finish(mc_stream *stream, bool close);
static void cancel_restart(mc_stream *stream);

static void free_stream(mc_deferred *deferred) {
    mc_stream *stream = MC_CONTAINER(deferred, mc_stream, freeing);
    mc_hcm_pin_unref(stream->pin);
    mc_arena arena = stream->arena; /* the stream lives in it */
    mc_arena_fini(&arena);
}

static void open_facts(mc_stream *stream) {
    if (MC_UNLIKELY(stream->hcm->keeps_facts)) {
        const mc_facts *before = stream->facts; /* of an earlier leg */
        stream->facts = mc_facts_new(&stream->arena, stream->proxy->loop, stream->start_us, stream->hcm->keeps_local,
                                     stream->hcm->keeps_place);
        if (stream->facts != NULL && before != NULL) {
            stream->facts->asked_at = before->asked_at;
            stream->facts->answered_at = before->answered_at;
            stream->facts->request_header_bytes = before->request_header_bytes;
        } else if (stream->facts != NULL && stream->downstream != NULL) {
            stream->facts->asked_at = mc_downstream_consumed(stream->downstream);
            stream->facts->answered_at = mc_conn_written(mc_downstream_conn(stream->downstream));
        }
    }
}

mc_stream *mc_stream_open(mc_downstream *downstream, mc_proxy *proxy, mc_hcm_pin *pin) {
    mc_arena arena;
    mc_arena_init(&arena, &proxy->blocks);
    mc_stream *stream = mc_arena_zalloc(&arena, sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->arena = arena;
    stream->downstream = downstream;
    stream->proxy = proxy;
    stream->pin = mc_hcm_pin_ref(pin);
    stream->hcm = pin->hcm;
    stream->chain = &stream->hcm->chain;
    stream->routes = &stream->hcm->routes;
    stream->random = mc_random_next(mc_loop_random(proxy->loop));
    stream->head.version_minor = 1; /* until the head says otherwise: codec errors are answered in HTTP/1.1 */
    stream->start_us = mc_loop_now_us(proxy->loop);
    stream->last_activity_ms = mc_loop_now_ms(proxy->loop);
    stream->remote = *mc_downstream_peer(downstream);
    stream->idle.fire = idle_fired;
    stream->limit.fire = limit_fired;
    stream->duration.fire = duration_fired;
    stream->log.fire = log_fired;
    stream->freeing.run = free_stream;
    mc_headers_init(&stream->request, &stream->arena);
    open_facts(stream);
    proxy->stream_count++;
    stream->counted = true;
    MC_HCM_COUNT(stream, downstream_rq_total);
    MC_HCM_COUNT(stream, downstream_rq_http1_total);
    mc_gauge_add(proxy->slab, stream->hcm->stats.downstream_rq_active, 1);
    if (stream->hcm->request_timeout_ms != 0) {
        mc_timer_arm(proxy->loop, &stream->limit, stream->hcm->request_timeout_ms);
    }
    if (MC_UNLIKELY(stream->hcm->access.interval_ms != 0)) {
        mc_timer_arm(proxy->loop, &stream->log, stream->hcm->access.interval_ms);
    }
    set_idle(stream, stream->hcm->stream_idle_ms); /* a head that never ends must end too */
    if (stream->hcm->max_stream_duration_ms != 0) {
        mc_timer_arm(proxy->loop, &stream->duration, stream->hcm->max_stream_duration_ms);
    }
    return stream;
}

/* --- timeouts (rules section 1.5) -------------------------------------------------------------------------------------- */

static uint64_t idle_limit(const mc_stream *stream) {
    return mc_overload_timeout(mc_downstream_overload(stream->downstream), MC_SCALED_STREAM_IDLE, stream->idle_ms);
}

static void idle_fired(mc_timer *timer) {
    mc_stream *stream = MC_CONTAINER(timer, mc_stream, idle);
    const uint64_t idle = mc_loop_now_ms(stream->proxy->loop) - stream->last_activity_ms, limit = idle_limit(stream);
    if (idle < limit) { /* HC-36: events only move last_activity_ms */
        mc_timer_arm(stream->proxy->loop, timer, limit - idle);
        return;
    }
    MC_HCM_COUNT(stream, downstream_rq_idle_timeout);
    mc_stream_reply(stream, &(mc_reply){.status = stream->request_complete ? 504 : 408,
                                        .body = MC_SLICE_INIT("stream timeout"),
                                        .details = "stream_idle_timeout",
                                        .flags = MC_FLAG(SI)});
}

static void limit_fired(mc_timer *timer) {
    mc_stream *stream = MC_CONTAINER(timer, mc_stream, limit);
    MC_HCM_COUNT(stream, downstream_rq_timeout);
    mc_stream_reply(stream, &(mc_reply){.status = stream->request_complete ? 504 : 408,
                                        .body = MC_SLICE_INIT("request timeout"),
                                        .details = "request_overall_timeout"});
}

static void duration_fired(mc_timer *timer) {
    mc_stream *stream = MC_CONTAINER(timer, mc_stream, duration);
    MC_HCM_COUNT(stream, downstream_rq_max_duration_reached);
    mc_stream_reply(stream, &(mc_reply){.status = stream->request_complete ? 504 : 408,
                                        .body = MC_SLICE_INIT("downstream duration timeout"),
                                        .details = "max_duration_timeout",
                                        .has_grpc_status = true,
                                        .grpc_status = MC_GRPC_DEADLINE_EXCEEDED});
}

static void log_fired(mc_timer *timer) { /* AL-6 */
    mc_stream *stream = MC_CONTAINER(timer, mc_stream, log);
    mc_stream_log(stream, MC_LOG_DOWNSTREAM_PERIODIC);
    mc_timer_arm(stream->proxy->loop, timer, stream->hcm->access.interval_ms);
}

static void set_idle(mc_stream *stream, uint64_t ms) {
    stream->idle_ms = ms;
    if (ms != 0) {
        mc_timer_arm(stream->proxy->loop, &stream->idle, idle_limit(stream));
    } else {
        mc_timer_cancel(stream->proxy->loop, &stream->idle);
    }
}

void mc_stream_rescale(mc_stream *stream) {
    if (stream->idle_ms != 0 && !stream->finished) {
        const uint64_t idle = mc_loop_now_ms(stream->proxy->loop) - stream->last_activity_ms,
                       limit = idle_limit(stream);
        mc_timer_arm(stream->proxy->loop, &stream->idle, idle < limit ? limit - idle : 0);
    }
}

static void activity(mc_stream *stream) { stream->last_activity_ms = mc_loop_now_ms(stream->proxy->loop); }

/* HC-37: what the route makes of grpc-timeout; false: no limit is set by it. */
static bool grpc_limit(const mc_stream *stream, uint64_t *ms) {
    const mc_route *route = stream->match.route;
    mc_slice text = mc_headers_get_known(&stream->request, MC_H_GRPC_TIMEOUT);
    if (!route->has_max_stream_duration || !route->has_grpc_timeout_max || mc_grpc_timeout_parse(text, ms) != MC_OK) {
        return false;
    }
    if (route->grpc_timeout_max_ms != 0 && *ms > route->grpc_timeout_max_ms) {
        *ms = route->grpc_timeout_max_ms;
    }
    if (route->has_grpc_timeout_offset) {
        *ms = *ms > route->grpc_timeout_offset_ms ? *ms - route->grpc_timeout_offset_ms : 0;
    }
    return true;
}

/* The route's limit of the stream's duration, else the connection manager's; false: none. */
static bool duration_limit(const mc_stream *stream, uint64_t *ms) {
    const mc_route *route = stream->match.route;
    if (grpc_limit(stream, ms)) {
        return true;
    }
    *ms = route->has_stream_duration ? route->max_stream_duration_ms : stream->hcm->max_stream_duration_ms;
    return *ms != 0;
}

/* HC-37: tells a gRPC upstream how long it has. */
static mc_status announce_duration(mc_stream *stream, bool limited, uint64_t ms) {
    mc_headers *headers = &stream->request;
    if (!stream->match.route->has_max_stream_duration ||
        !mc_grpc_content_type(mc_headers_get_known(headers, MC_H_CONTENT_TYPE))) {
        return MC_OK;
    }
    if (!limited) {
        mc_headers_remove_known(headers, MC_H_GRPC_TIMEOUT);
        return MC_OK;
    }
    char text[MC_GRPC_TIMEOUT_TEXT];
    return mc_headers_set_known(headers, MC_H_GRPC_TIMEOUT, mc_slice_of(text, mc_grpc_timeout_write(ms, text)));
}

static mc_status set_duration(mc_stream *stream) {
    mc_loop *loop = stream->proxy->loop;
    uint64_t ms = 0, elapsed = (mc_loop_now_us(loop) - stream->start_us) / 1000;
    const bool limited = duration_limit(stream, &ms), was_limited = mc_timer_armed(&stream->duration);
    if (limited) {
        mc_timer_arm(loop, &stream->duration, ms > elapsed ? ms - elapsed : 0);
    } else {
        mc_timer_cancel(loop, &stream->duration);
    }
    return limited || was_limited ? announce_duration(stream, limited, ms) : MC_OK;
}

/* What the route says of time limits. */
static mc_status refresh_timeouts(mc_stream *stream) {
    const mc_route *route = stream->match.route;
    if (route == NULL || route->action != MC_ROUTE_TO_CLUSTER) {
        return MC_OK;
    }
    if (route->has_idle_timeout) {
        set_idle(stream, route->idle_timeout_ms);
    }
    if (MC_LIKELY(!route->has_max_stream_duration && stream->hcm->max_stream_duration_ms == 0)) {
        return MC_OK;
    }
    return set_duration(stream);
}

/* --- the request ----------------------------------------------------------------------------------------------------------- */

/* HC-45: whether an upgrade is allowed, and the chain it goes through. A CONNECT is one too. */
static void decide_upgrade(mc_stream *stream) {
    mc_slice type = mc_headers_get_known(&stream->request, MC_H_UPGRADE);
    if (type.p == NULL && stream->connect) {
        type = mc_headers_get_known(&stream->request, MC_H_METHOD);
    }
    if (type.p == NULL) {
        return;
    }
    const mc_hcm *hcm = stream->hcm;
    const int route = stream->match.route == NULL ? -1 : mc_route_upgrade(stream->match.route, type);
    const mc_upgrade_config *own = NULL;
    for (uint32_t i = 0; i < hcm->upgrade_count && own == NULL; i++) {
        own = mc_slice_ieq(hcm->upgrades[i].type, type) ? &hcm->upgrades[i] : NULL;
    }
    stream->upgrade = route >= 0 ? route == 1 : own != NULL && own->enabled;
    stream->upgrade_refused = !stream->upgrade;
    if (stream->upgrade) {
        MC_HCM_COUNT(stream, downstream_cx_upgrades_total);
        mc_gauge_add(stream->proxy->slab, hcm->stats.downstream_cx_upgrades_active, 1);
        stream->chain = own == NULL ? &hcm->chain : &own->chain;
    }
}

static void refuse_upgrade(mc_stream *stream) {
    MC_HCM_COUNT(stream, downstream_rq_ws_on_non_ws_route);
    mc_stream_reply(stream, &(mc_reply){.status = 403, .details = "upgrade_failed"});
}

mc_upstream *mc_stream_upstream(const mc_stream *stream) {
    const mc_proxy *proxy = stream->proxy;
    uint32_t slot = stream->match.cluster_id == MC_NO_CLUSTER ? proxy->find_slot(proxy->ctx, stream->match.cluster)
                                                              : stream->routes->cluster_slots[stream->match.cluster_id];
    return mc_proxy_upstream(proxy, slot);
}

static void note_cluster(mc_stream *stream) {
    const bool forwards = stream->match.route != NULL && stream->match.cluster.n > 0;
    const mc_upstream *upstream = forwards ? mc_stream_upstream(stream) : NULL;
    mc_facts_note_cluster(stream->facts, upstream == NULL ? NULL : upstream->cluster);
    stream->facts->endpoints = upstream == NULL ? 0 : (uint32_t)mc_hosts_count(upstream->hosts);
}

/* The routes of the request's scope, where there are scopes. */
static inline mc_status find_scope(mc_stream *stream) {
    return MC_LIKELY(stream->hcm->scopes == NULL)
               ? MC_OK
               : mc_hcm_routes_find(stream->hcm, &stream->request, &stream->arena, &stream->routes);
}

mc_status mc_stream_match_route(mc_stream *stream) {
    stream->route_stale = false;
    mc_route_request request = {
        .headers = &stream->request,
        .random = stream->random,
        .remote = &stream->remote,
        .local = mc_downstream_local(stream->downstream),
        .arena = &stream->arena,
        .runtime = stream->proxy->runtime,
    };
    MC_TRY(find_scope(stream));
    if (MC_UNLIKELY(mc_route_table_reads_info(stream->routes->table)) &&
        (request.info = mc_stream_collect_info(stream)) == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = mc_route_table_match(stream->routes->table, &request, &stream->match);
    if (MC_UNLIKELY(stream->facts != NULL)) {
        note_cluster(stream);
    }
    if (MC_UNLIKELY(stream->hcm->tracing != NULL)) {
        mc_tracing_decide(stream);
    }
    return status == MC_OK ? refresh_timeouts(stream) : status;
}

static void out_of_memory(mc_stream *stream) { mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory"); }

static void request_ended(mc_stream *stream) {
    stream->request_complete = true;
    stream->request_complete_us = mc_loop_now_us(stream->proxy->loop);
    mc_timer_cancel(stream->proxy->loop, &stream->limit);
}

/* HC-3: filters, and with them a route, are looked for even for what is refused; Envoy finds one where the scheme is known
 * already, which before HC-13 is the client's x-forwarded-proto. */
static mc_status route_of_refused(mc_stream *stream) {
    return mc_headers_has(&stream->request, MC_H_X_FORWARDED_PROTO) &&
                   mc_headers_get_known(&stream->request, MC_H_PATH).n > 0
               ? mc_stream_match_route(stream)
               : MC_OK;
}

/* As soon as a request is known to be one it is refused: without filters, without a route (BOOT-16). */
static void refuse_overloaded(mc_stream *stream) {
    static const mc_filter_chain no_filters = {.end = 0};
    stream->chain = &no_filters;
    mc_stream_reply(stream,
                    &(mc_reply){.status = 503, .body = MC_SLICE_INIT("envoy overloaded"), .details = "overload"});
}

void mc_stream_request_headers(mc_stream *stream, const mc_h1_head *head) {
    mc_reply reply = {0};
    stream->head = *head;
    stream->headed = true;
    stream->connect = MC_UNLIKELY(head->upgrade) &&
                      mc_slice_eq(mc_headers_get_known(&stream->request, MC_H_METHOD), MC_SLICE("CONNECT"));
    stream->head_request = mc_slice_eq(mc_headers_get_known(&stream->request, MC_H_METHOD), MC_SLICE("HEAD"));
    if (head->end_stream) {
        request_ended(stream);
    }
    if (!head->keep_alive) {
        stream->close_connection = true;
    }
    if (MC_UNLIKELY(stream->overloaded)) {
        refuse_overloaded(stream);
        return;
    }
    if (find_scope(stream) != MC_OK) {
        out_of_memory(stream);
        return;
    }
    if (!mc_sanitize_request(stream, mc_downstream_peer(stream->downstream), mc_downstream_local(stream->downstream),
                             mc_downstream_conn(stream->downstream)->transport->encrypted, &reply)) {
        if (reply.status != 0 && route_of_refused(stream) == MC_OK) {
            mc_stream_reply(stream, &reply);
        } else {
            out_of_memory(stream);
        }
        return;
    }
    if (mc_stream_match_route(stream) != MC_OK) {
        out_of_memory(stream);
        return;
    }
    if (MC_UNLIKELY(head->upgrade)) {
        decide_upgrade(stream);
    }
    if (mc_chain_open(stream) != MC_OK) {
        out_of_memory(stream);
        return;
    }
    if (stream->hcm->access.on_new_request) {
        mc_stream_log(stream, MC_LOG_DOWNSTREAM_START);
    }
    if (MC_UNLIKELY(stream->upgrade_refused) && stream->match.route != NULL) {
        refuse_upgrade(stream);
    } else {
        if (MC_UNLIKELY(stream->hcm->tracing != NULL)) {
            mc_tracing_start(stream);
        }
        mc_chain_headers(stream, MC_DECODE, head->end_stream);
    }
}

void mc_stream_request_data(mc_stream *stream, mc_slice data) {
    activity(stream);
    stream->bytes_received += data.n;
    mc_chain_data(stream, MC_DECODE, data, false);
}

void mc_stream_request_trailers(mc_stream *stream, mc_headers *trailers) {
    activity(stream);
    stream->request_trailers = trailers;
}

void mc_stream_request_complete(mc_stream *stream) {
    activity(stream);
    if (stream->request_complete) { /* the end came with the headers */
        return;
    }
    request_ended(stream);
    if (stream->request_trailers != NULL) {
        mc_chain_trailers(stream, MC_DECODE);
    } else {
        mc_chain_data(stream, MC_DECODE, MC_SLICE_NONE, true);
    }
    if (!stream->finished && stream->response_complete) {
        finish(stream, stream->close_connection);
    }
}

/* --- the response ------------------------------------------------------------------------------------------------------------ */

static mc_status set_number(mc_headers *headers, mc_header_id id, uint64_t value) {
    char digits[20];
    return mc_headers_set_known(headers, id, mc_slice_of(digits, mc_format_u64(digits, value)));
}

/* What a request is answered on its way to a cluster carries what its route adds, whoever answers; so do the answers that are
 * routes themselves (RT-32). */
static mc_status mutate_reply(mc_stream *stream, const mc_reply *reply, mc_headers *headers) {
    mc_route_request request;
    if (stream->match.route == NULL || (stream->match.route->action != MC_ROUTE_TO_CLUSTER && !reply->of_route)) {
        return MC_OK;
    }
    mc_status status = mc_stream_route_request(stream, &request);
    if (stream->info != NULL) { /* the status of an answer of our own is set later: headers cannot tell it */
        stream->info->status = 0;
    }
    return status == MC_OK ? mc_route_finalize_response(stream->routes->table, &stream->match, &request, headers)
                           : status;
}

/* HC-50: what the configuration makes of it. */
static mc_status rewrite_reply(mc_stream *stream, mc_local_reply *reply) {
    const mc_local_replies *replies = stream->hcm->local_replies;
    if (MC_LIKELY(replies == NULL)) {
        return MC_OK;
    }
    if (mc_stream_collect_info(stream) == NULL) {
        return MC_ENOMEM;
    }
    return mc_local_replies_apply(replies, stream->info, stream->proxy->runtime, mc_loop_random(stream->proxy->loop),
                                  reply);
}

/* HC-5: the body of a reply as gRPC's message. */
static mc_status finish_grpc_reply(const mc_stream *stream, const mc_reply *asked, mc_local_reply *reply) {
    mc_headers *headers = reply->headers;
    mc_slice message = reply->body;
    mc_headers_remove_known(headers, MC_H_CONTENT_LENGTH);
    MC_TRY(set_number(headers, MC_H_STATUS, 200));
    MC_TRY(mc_headers_set_known_ref(headers, MC_H_CONTENT_TYPE, MC_SLICE("application/grpc")));
    if (mc_headers_get_known(headers, MC_H_GRPC_STATUS).n == 0) {
        MC_TRY(set_number(headers, MC_H_GRPC_STATUS,
                          asked->has_grpc_status ? asked->grpc_status : mc_grpc_from_http(reply->status)));
    }
    if (mc_slice_eq(reply->content_type, MC_SLICE("application/json")) &&
        mc_slice_has_suffix(message, MC_SLICE("\n"))) {
        message.n--; /* of the JSON line */
    }
    reply->body = MC_SLICE_NONE;
    if (message.n == 0 || stream->head_request) {
        return MC_OK;
    }
    MC_TRY(mc_percent_encode(message, MC_SLICE("%"), headers->arena, &message));
    return mc_headers_set_known_ref(headers, MC_H_GRPC_MESSAGE, message);
}

/* `changed`: the body is not the one that was asked for, and nobody said of what type it is. */
static mc_status finish_plain_reply(mc_stream *stream, bool changed, mc_local_reply *reply) {
    mc_headers *headers = reply->headers;
    if (reply->body.n == 0) {
        mc_headers_remove_known(headers, MC_H_CONTENT_LENGTH);
        mc_headers_remove_known(headers, MC_H_CONTENT_TYPE);
        return MC_OK;
    }
    MC_TRY(set_number(headers, MC_H_CONTENT_LENGTH, reply->body.n));
    if (changed || !mc_headers_has(headers, MC_H_CONTENT_TYPE)) {
        MC_TRY(mc_headers_set_known_ref(headers, MC_H_CONTENT_TYPE,
                                        reply->content_type.n > 0 ? reply->content_type : MC_SLICE("text/plain")));
    }
    if (stream->head_request) {
        reply->body = MC_SLICE_NONE;
        return MC_OK;
    }
    return mc_arena_dup(&stream->arena, reply->body, &reply->body);
}

/* HC-5; *body is what is to be sent. */
static mc_status make_reply(mc_stream *stream, const mc_reply *asked, mc_headers *headers, mc_slice *body) {
    mc_local_reply reply = {.headers = headers, .status = asked->status, .body = asked->body};
    MC_TRY(set_number(headers, MC_H_STATUS, asked->status));
    if (!asked->of_route && !asked->as_is) {
        MC_TRY(mutate_reply(stream, asked, headers));
    }
    for (size_t i = 0; i < asked->header_count; i++) {
        MC_TRY(mc_headers_add(headers, asked->headers[i].name, asked->headers[i].value));
    }
    if (asked->as_is) {
        *body = MC_SLICE_NONE;
        return MC_OK;
    }
    if (asked->of_route) {
        MC_TRY(mutate_reply(stream, asked, headers));
    }
    const mc_slice type = mc_headers_get_known(headers, MC_H_CONTENT_TYPE);
    MC_TRY(rewrite_reply(stream, &reply));
    const bool changed =
        !mc_slice_eq(reply.body, asked->body) && mc_slice_eq(type, mc_headers_get_known(headers, MC_H_CONTENT_TYPE));
    mc_status status = mc_grpc_content_type(mc_headers_get_known(&stream->request, MC_H_CONTENT_TYPE))
                           ? finish_grpc_reply(stream, asked, &reply)
                           : finish_plain_reply(stream, changed, &reply);
    *body = reply.body;
    return status;
}

/* Half a head is none: it neither makes a reply gRPC nor is it logged. */
static void forget_half_head(mc_stream *stream) {
    if (MC_UNLIKELY(!stream->headed)) {
        mc_headers_init(&stream->request, &stream->arena);
    }
}

void mc_stream_reply(mc_stream *stream, const mc_reply *reply) {
    mc_slice body;
    if (stream->finished) {
        return;
    }
    forget_half_head(stream);
    mc_stream_flag(stream, reply->flags);
    if (reply->details != NULL) {
        stream->details = reply->details;
        stream->details_class = reply->details_class;
    }
    if (stream->headers_sent || stream->local_reply) { /* HC-4: too late for a reply */
        mc_stream_reset(stream, reply->flags, reply->details);
        return;
    }
    const bool direct = stream->response_started;
    if (stream->filters == NULL && mc_chain_open(stream) != MC_OK) { /* HC-3 */
        out_of_memory(stream);
        return;
    }
    mc_headers *headers = mc_arena_alloc(&stream->arena, sizeof *headers);
    if (headers == NULL) {
        out_of_memory(stream);
        return;
    }
    mc_headers_init(headers, &stream->arena);
    stream->local_reply = true;
    stream->response_started = true;
    if (reply->status == 400 && !stream->hcm->keep_open_on_error) { /* HC-40, whatever becomes of the status (HC-5) */
        stream->close_connection = true;
    }
    stream->response = headers;
    stream->response_trailers = NULL;
    mc_timer_cancel(stream->proxy->loop, &stream->limit);
    if (make_reply(stream, reply, headers, &body) != MC_OK) {
        out_of_memory(stream);
        return;
    }
    if (direct) { /* the encode chain has seen another response: straight to the codec */
        mc_stream_send_headers(stream, body.n == 0);
        if (body.n > 0 && !stream->finished) {
            mc_stream_send_data(stream, body, true);
        }
        return;
    }
    mc_chain_headers(stream, MC_ENCODE, body.n == 0);
    if (body.n > 0) {
        mc_chain_data(stream, MC_ENCODE, body, true);
    }
}

void mc_stream_count_response(mc_stream *stream, uint16_t status) {
    const mc_hcm_stats *stats = &stream->hcm->stats;
    const mc_stat classes[] = {0,
                               stats->downstream_rq_1xx,
                               stats->downstream_rq_2xx,
                               stats->downstream_rq_3xx,
                               stats->downstream_rq_4xx,
                               stats->downstream_rq_5xx};
    const mc_stat listener[] = {0,
                                stats->listener.downstream_rq_1xx,
                                stats->listener.downstream_rq_2xx,
                                stats->listener.downstream_rq_3xx,
                                stats->listener.downstream_rq_4xx,
                                stats->listener.downstream_rq_5xx};
    mc_slab *slab = stream->proxy->slab;
    if (MC_UNLIKELY(stream->health_check)) {
        return;
    }
    mc_counter_inc(slab, stats->downstream_rq_completed);
    mc_counter_inc(slab, stats->listener.downstream_rq_completed);
    if (status >= 100 && status < 600) {
        mc_counter_inc(slab, classes[status / 100]);
        mc_counter_inc(slab, listener[status / 100]);
    }
}

static uint16_t parse_status(mc_slice text) {
    uint64_t value = 0;
    return mc_slice_u64(text, &value) == MC_OK && value < 1000 ? (uint16_t)value : 0;
}

/* HC-40, at the moment of the response headers. */
static bool response_closes(mc_stream *stream) {
    if (!stream->request_complete) {
        MC_HCM_COUNT(stream, downstream_rq_response_before_rq_complete);
        return true;
    }
    if (stream->head.version_minor == 0 && !mc_headers_has(stream->response, MC_H_CONTENT_LENGTH)) {
        return true;
    }
    return mc_downstream_ends(stream->downstream);
}

void mc_stream_send_headers(mc_stream *stream, bool end_stream) {
    mc_conn *conn = mc_downstream_conn(stream->downstream);
    mc_net *net = stream->proxy->net;
    const uint16_t status = parse_status(mc_headers_get_known(stream->response, MC_H_STATUS));
    const bool informational = status < 200 && status != 101;
    activity(stream);
    if (!informational) {
        stream->status = status;
        stream->tunnel =
            MC_UNLIKELY(stream->upgrade) && (status == 101 || (stream->connect && status >= 200 && status < 300));
        stream->close_connection = response_closes(stream) || stream->close_connection;
    }
    if (MC_UNLIKELY(stream->hcm->tracing != NULL) && !informational) {
        mc_tracing_response(stream);
    }
    if ((MC_UNLIKELY(informational) ? mc_sanitize_interim(stream) : mc_sanitize_response(stream)) != MC_OK) {
        out_of_memory(stream);
        return;
    }
    if (MC_UNLIKELY(stream->tunnel) && stream->hcm->access.on_tunnel) {
        mc_stream_log(stream, MC_LOG_DOWNSTREAM_TUNNEL);
    }
    mc_h1_spell(stream->response, &stream->hcm->h1);
    char *out = mc_net_scratch(net, mc_h1_head_size(stream->response));
    if (out == NULL) {
        out_of_memory(stream);
        return;
    }
    mc_h1_encode how = {
        .end_stream = end_stream,
        .http_10 = stream->head.version_minor == 0 || stream->answers_10,
        .head_request = stream->head_request,
        .upgrade = stream->tunnel,
        .enable_trailers = stream->hcm->h1.enable_trailers,
    };
    mc_h1_framing framing;
    size_t n = mc_h1_encode_response(stream->response, &how, out, &framing);
    mc_stream_count_response(stream, status);
    mc_conn_write(conn, mc_slice_of(out, n));
    MC_FACT(stream, head, stream->facts, mc_slice_of(out, n));
    if (informational) {
        return;
    }
    stream->headers_sent = true;
    stream->headers_sent_us = mc_loop_now_us(stream->proxy->loop);
    stream->framing = framing;
    if (framing == MC_H1_UNTIL_CLOSE || stream->tunnel) {
        stream->close_connection = true;
    }
    if (end_stream) {
        finish(stream, stream->close_connection);
    }
}

/* The body ends with: last chunk, or nothing. */
static void write_end(mc_stream *stream) {
    if (stream->framing != MC_H1_CHUNKED) {
        return;
    }
    const mc_headers *trailers = stream->hcm->h1.enable_trailers ? stream->response_trailers : NULL;
    mc_h1_spell(stream->response_trailers, &stream->hcm->h1);
    char *out = mc_net_scratch(stream->proxy->net, mc_h1_last_chunk_size(trailers));
    if (out != NULL) {
        mc_conn_write(mc_downstream_conn(stream->downstream), mc_slice_of(out, mc_h1_last_chunk(trailers, out)));
        if (trailers != NULL) {
            MC_FACT(stream, trailers, stream->facts, trailers);
        }
    } else {
        stream->close_connection = true;
    }
}

void mc_stream_send_data(mc_stream *stream, mc_slice data, bool end_stream) {
    mc_conn *conn = mc_downstream_conn(stream->downstream);
    activity(stream);
    if (data.n > 0 && stream->framing != MC_H1_NO_BODY) {
        stream->bytes_sent += data.n;
        if (stream->framing == MC_H1_CHUNKED) {
            char *head = mc_net_scratch(stream->proxy->net, MC_H1_CHUNK_HEAD_MAX);
            if (head == NULL) {
                out_of_memory(stream);
                return;
            }
            mc_conn_write(conn, mc_slice_of(head, mc_h1_chunk_head(head, data.n)));
            mc_conn_write(conn, data);
            mc_conn_write(conn, MC_SLICE("\r\n"));
        } else {
            mc_conn_write(conn, data);
        }
    }
    if (end_stream) {
        write_end(stream);
        finish(stream, stream->close_connection);
    }
}

void mc_stream_send_trailers(mc_stream *stream) {
    activity(stream);
    write_end(stream);
    finish(stream, stream->close_connection);
}

void mc_stream_write_blocked(mc_stream *stream, bool blocked) {
    for (uint32_t i = 0; i < stream->filter_count && !stream->finished; i++) {
        const mc_filter_type *type = stream->filters[i].type;
        void (*call)(mc_filter *) = blocked ? type->encode_high : type->encode_low;
        if (call != NULL) {
            call(&stream->filters[i]);
        }
    }
}

/* --- the end ----------------------------------------------------------------------------------------------------------------- */

static uint8_t put_text(mc_record *record, size_t *at, mc_slice text, size_t max) {
    size_t room = MC_RECORD_TEXT - *at;
    size_t n = text.n < max ? text.n : max;
    n = n < room ? n : room;
    if (n > 0) {
        memcpy(record->text + *at, text.p, n);
    }
    *at += n;
    return (uint8_t)n;
}

static void write_record(mc_stream *stream) {
    mc_record *record = mc_record_begin(&stream->proxy->records);
    if (record == NULL) {
        return;
    }
    const mc_loop *loop = stream->proxy->loop;
    uint64_t now_us = mc_loop_now_us(loop);
    size_t at = 0;
    record->duration_us = (uint32_t)(now_us - stream->start_us);
    record->start_ms = mc_loop_wall_ms(loop) - (now_us - stream->start_us) / 1000;
    record->upstream_us = stream->first_upstream_us == 0 || stream->request_complete_us == 0
                              ? UINT32_MAX
                              : (uint32_t)(stream->first_upstream_us - stream->request_complete_us);
    record->flags = stream->flags;
    record->bytes_received = stream->bytes_received;
    record->bytes_sent = stream->bytes_sent;
    record->peer = stream->remote;
    record->upstream = stream->upstream_address;
    record->status = stream->status;
    record->version_minor = stream->head.version_minor;
    record->attempts = stream->attempts;
    record->details = stream->details_class != NULL ? stream->details_class : stream->details;
    record->method_n = put_text(record, &at, mc_headers_get_known(&stream->request, MC_H_METHOD), 16);
    record->authority_n = put_text(record, &at, mc_headers_get_known(&stream->request, MC_H_AUTHORITY), 40);
    record->route_n =
        put_text(record, &at, stream->match.route == NULL ? MC_SLICE_NONE : stream->match.route->name, 24);
    record->cluster_n = put_text(record, &at, stream->match.cluster, 32);
    record->path_n = put_text(record, &at, mc_headers_get_known(&stream->request, MC_H_PATH), MC_RECORD_TEXT);
    mc_record_publish(&stream->proxy->records);
}

static void count_end(mc_stream *stream) {
    mc_slab *slab = stream->proxy->slab;
    mc_gauge_add(slab, stream->hcm->stats.downstream_rq_active, -1);
    if (MC_UNLIKELY(stream->upgrade)) {
        mc_gauge_add(slab, stream->hcm->stats.downstream_cx_upgrades_active, -1);
    }
    mc_histogram_record(slab, stream->hcm->stats.downstream_rq_time,
                        (mc_loop_now_us(stream->proxy->loop) - stream->start_us) / 1000);
    for (uint64_t flags = stream->flags; flags != 0; flags &= flags - 1) {
        mc_counter_inc(slab, stream->hcm->stats.flags[__builtin_ctzll(flags)]);
    }
}

static void finish(mc_stream *stream, bool close) {
    if (stream->finished) {
        return;
    }
    mc_downstream *downstream = stream->downstream;
    mc_proxy *proxy = stream->proxy;
    stream->response_complete = !stream->reset;
    if (!stream->request_complete && !stream->reset && !stream->tunnel) {
        close = true;
    }
    if (stream->reset || !stream->request_complete) { /* whoever gave it up */
        MC_HCM_COUNT(stream, downstream_rq_rx_reset);
    }
    stream->finished = true;
    mc_stream_flag(stream, stream->late_flags);
    mc_timer_cancel(proxy->loop, &stream->idle);
    mc_timer_cancel(proxy->loop, &stream->limit);
    mc_timer_cancel(proxy->loop, &stream->duration);
    if (MC_UNLIKELY(stream->hcm->access.interval_ms != 0)) {
        mc_timer_cancel(proxy->loop, &stream->log);
    }
    cancel_restart(stream);
    mc_stream_log(stream, MC_LOG_DOWNSTREAM_END); /* while what it tells of is still there */
    mc_chain_close(stream);
    for (; stream->decode_pauses > 0; stream->decode_pauses--) {
        mc_conn_resume_reading(mc_downstream_conn(downstream));
    }
    count_end(stream);
    if (MC_UNLIKELY(stream->span != NULL)) {
        mc_tracing_finish(stream);
    }
    write_record(stream);
    proxy->stream_count--;
    stream->downstream = NULL;
    mc_loop_defer(proxy->loop, &stream->freeing);
    mc_downstream_stream_done(downstream, stream, close);
}

/* --- another leg ------------------------------------------------------------------------------------------------------------ */

struct mc_restart {
    mc_deferred deferred;
    mc_stream *stream;
    mc_buffer body;
};

/* Filters and route of the leg before are gone, what the client sent is still there. */
static void end_leg(mc_stream *stream) {
    mc_stream_log(stream, MC_LOG_DOWNSTREAM_END);
    mc_chain_close(stream);
    if (MC_UNLIKELY(stream->span != NULL)) {
        mc_tracing_finish(stream);
        stream->span = NULL;
    }
    write_record(stream);
    stream->filter_count = 0;
    stream->response = stream->response_trailers = stream->request_trailers = NULL;
    stream->flags = stream->flag_order = 0;
    stream->virtual_cluster = stream->upstream_failure = MC_SLICE_NONE;
    stream->details = stream->details_class = NULL;
    stream->status = 0;
    stream->attempts = 0;
    stream->first_upstream_us = 0;
    stream->upstream_address = (mc_address){0};
    stream->headers_sent_us = 0;
    open_facts(stream);
    stream->response_started = stream->route_stale = false;
    stream->random = mc_random_next(mc_loop_random(stream->proxy->loop));
    MC_HCM_COUNT(stream, downstream_rq_total);
    MC_HCM_COUNT(stream, downstream_rq_http1_total);
}

static void restart(mc_deferred *deferred) {
    struct mc_restart *again = MC_CONTAINER(deferred, struct mc_restart, deferred);
    mc_stream *stream = again->stream;
    size_t left = again->body.length;
    stream->restart = NULL;
    end_leg(stream);
    if (mc_stream_match_route(stream) != MC_OK || mc_chain_open(stream) != MC_OK) {
        out_of_memory(stream);
    } else {
        if (stream->hcm->access.on_new_request) { /* to Envoy each leg is a new request */
            mc_stream_log(stream, MC_LOG_DOWNSTREAM_START);
        }
        if (MC_UNLIKELY(stream->hcm->tracing != NULL)) {
            mc_tracing_start(stream);
        }
        mc_chain_headers(stream, MC_DECODE, left == 0);
    }
    for (const mc_chunk *chunk = again->body.head; chunk != NULL && !stream->finished; chunk = chunk->next) {
        mc_slice piece = mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin);
        left -= piece.n;
        mc_chain_data(stream, MC_DECODE, piece, left == 0);
    }
    mc_net_retire(stream->proxy->net, &again->body);
}

void mc_stream_restart(mc_stream *stream, mc_buffer *body) {
    struct mc_restart *again = mc_arena_zalloc(&stream->arena, sizeof *again);
    if (again == NULL) {
        out_of_memory(stream);
        return;
    }
    again->stream = stream;
    again->body = *body;
    again->deferred.run = restart;
    mc_buffer_init(body, body->pool);
    stream->restart = again;
    mc_loop_defer(stream->proxy->loop, &again->deferred);
}

/* The stream ends before its next leg began. */
static void cancel_restart(mc_stream *stream) {
    if (stream->restart != NULL) {
        mc_deferred_cancel(&stream->restart->deferred);
        mc_net_retire(stream->proxy->net, &stream->restart->body);
        stream->restart = NULL;
    }
}

void mc_stream_reset(mc_stream *stream, uint64_t flags, const char *details) {
    if (stream->finished) {
        return;
    }
    forget_half_head(stream);
    mc_stream_flag(stream, flags);
    if (details != NULL) {
        stream->details = details;
        stream->details_class = NULL;
    }
    stream->reset = true;
    if (!(flags & (MC_FLAG(DC) | MC_FLAG(DPE) | MC_FLAG(OM)))) { /* the connection is what failed, or what must go */
        MC_HCM_COUNT(stream, downstream_rq_tx_reset);
    }
    finish(stream, true);
}
