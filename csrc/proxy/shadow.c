/* Shadows: copies of a request to other clusters (RT-55). Fire and forget: what a shadow brings is read and dropped.
 *
 * A shadow owns an arena and lives as long as its attempt. While the request still comes, its router feeds it; a shadow whose
 * request is whole outlives the stream. */
#include "proxy/forward.h"
#include "proxy/router_internal.h"
#include "proxy/shadow_log.h"

typedef struct mc_shadow {
    mc_attempt attempt;
    mc_proxy *proxy;
    mc_upstream *upstream; /* held */
    mc_host *host;         /* referenced once chosen */
    mc_seek seek;          /* for it, where the request says which (CL-15, CL-17) */
    mc_router *router;     /* who feeds it; NULL: the request is whole */
    struct mc_shadow *next;
    mc_arena arena; /* it lives in it */
    mc_headers request, response;
    mc_headers *trailers;
    mc_buffer body;             /* until the connection is there */
    mc_timer timeout, duration; /* of the request; of the stream upstream (RF-15) */
    mc_headers *response_trailers;
    mc_code_stats *zone_codes; /* NULL: none */
    uint64_t timeout_ms, complete_us;
    mc_deferred freeing;
    uint16_t status;
    bool whole, headers_only; /* the request is */
    bool paused;              /* the client waits for this shadow's connection */
    bool upgrade, websocket;  /* what the request asks for; a websocket's payload waits for its 101 */
    bool selected;            /* it got a connection, or failed to */
    bool grpc, grpc_deferred;
    bool ready, over;     /* ready: the body goes out as it comes */
    bool counted;         /* in code stats */
    bool codeless;        /* in those of the cluster itself by their number alone (RF-45) */
    uint64_t flags;       /* why there was no response */
    mc_shadow_span *span; /* NULL: none */
    mc_shadow_log *log;   /* NULL: none */
    mc_timer logging;     /* of what lasts */
    uint64_t broken;      /* response flags of how its connection failed it */
} mc_shadow;

#define S_COUNT(s, name) mc_counter_inc((s)->proxy->slab, (s)->upstream->cluster->stats.name)

/* S_FACT(s, sent, s->log->told, data.n, framing) */
#define S_FACT(s, what, ...)                                                                                           \
    do {                                                                                                               \
        if (MC_UNLIKELY((s)->log != NULL)) {                                                                           \
            mc_facts_note_##what(__VA_ARGS__);                                                                         \
        }                                                                                                              \
    } while (0)

/* --- the end --------------------------------------------------------------------------------------------------------- */

static void free_shadow(mc_deferred *deferred) {
    mc_shadow *s = MC_CONTAINER(deferred, mc_shadow, freeing);
    mc_arena arena = s->arena;
    mc_arena_fini(&arena);
}

static void pause_client(mc_shadow *s) {
    if (!s->paused) {
        s->paused = true;
        S_COUNT(s, upstream_flow_control_backed_up_total);
        mc_filter_decode_pause(s->router->filter);
    }
}

static void resume_client(mc_shadow *s) {
    if (s->paused) {
        s->paused = false;
        S_COUNT(s, upstream_flow_control_drained_total);
        mc_filter_decode_resume(s->router->filter);
    }
}

static void leave_router(mc_shadow *s) {
    if (s->router == NULL) {
        return;
    }
    resume_client(s);
    mc_shadow **at = &s->router->shadows;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    s->router = NULL;
}

static void finish_span(mc_shadow *s) {
    const mc_span_end end = {
        .upstream = s->host == NULL ? NULL : mc_upstream_address(s->upstream, s->host),
        .headers = s->status == 0 ? NULL : &s->response,
        .flags = s->flags,
        .status = s->status != 0  ? s->status
                  : s->flags != 0 ? 503
                                  : 0,
        .connected = s->ready || s->status != 0,
        .canceled = s->status == 0 && s->flags == 0,
    };
    mc_tracing_finish_shadow(s->span, s->proxy, &end);
}

/* As it tells of a try: why it was given up is the request's own, and stands elsewhere. */
static mc_span_end try_of(const mc_shadow *s) {
    return (mc_span_end){
        .headers = s->status == 0 ? NULL : &s->response,
        .trailers = s->response_trailers,
        .flags = s->broken,
        .status = s->status,
    };
}

static void finish_log(mc_shadow *s) {
    const mc_span_end how = try_of(s);
    mc_timer_cancel(s->proxy->loop, &s->logging);
    mc_facts_note_over(s->log->told, &s->attempt);
    mc_shadow_log_end(s->log, &how);
    s->log = NULL;
}

static void log_fired(mc_timer *timer) {
    mc_shadow *s = MC_CONTAINER(timer, mc_shadow, logging);
    const mc_span_end how = try_of(s);
    mc_shadow_log_emit(s->log, MC_LOG_UPSTREAM_PERIODIC, &how);
    mc_timer_arm(s->proxy->loop, &s->logging, mc_shadow_log_interval(s->log));
}

static void finish(mc_shadow *s) {
    if (s->over) {
        return;
    }
    s->over = true;
    if (MC_UNLIKELY(s->span != NULL)) {
        finish_span(s);
    }
    if (MC_UNLIKELY(s->log != NULL)) {
        finish_log(s);
    }
    leave_router(s);
    mc_name_wait_cancel(&s->seek.wait);
    mc_timer_cancel(s->proxy->loop, &s->timeout);
    mc_timer_cancel(s->proxy->loop, &s->duration);
    mc_net_retire(s->proxy->net, &s->body);
    if (s->host != NULL) {
        mc_host_unref(s->host);
    }
    mc_upstream_release(s->upstream);
    mc_loop_defer(s->proxy->loop, &s->freeing);
}

static bool is_canary(const mc_shadow *s) {
    return (s->selected && atomic_load_explicit(&s->host->canary, memory_order_relaxed)) ||
           (s->status != 0 &&
            mc_slice_eq(mc_headers_get_known(&s->response, MC_H_X_ENVOY_UPSTREAM_CANARY), MC_SLICE("true")));
}

/* Where its responses count (RF-45): a shadow is a request of our own, hence internal. NULL ends them. */
static void find_places(const mc_shadow *s, mc_code_stats *out[5]) {
    mc_cluster *cluster = s->upstream->cluster;
    *out++ = &cluster->codes[MC_ORIGIN_ANY];
    *out++ = &cluster->codes[MC_ORIGIN_INTERNAL];
    if (is_canary(s)) {
        *out++ = &cluster->codes[MC_ORIGIN_CANARY];
    }
    if (s->selected && s->zone_codes != NULL) {
        *out++ = s->zone_codes;
    }
    *out = NULL;
}

static void charge(mc_shadow *s, uint16_t status) {
    mc_code_stats *places[5];
    if (!s->counted) {
        return;
    }
    find_places(s, places);
    for (int i = 0; places[i] != NULL; i++) {
        mc_code_stats_response(places[i], s->proxy->slab, status, i > 0 || !s->codeless);
    }
    if (s->selected && status >= 500) {
        mc_counter_inc(s->proxy->slab, s->host->stats.rq_error);
    }
}

static void charge_time(mc_shadow *s) {
    mc_code_stats *places[5];
    if (!s->counted || !s->whole) {
        return;
    }
    find_places(s, places);
    for (int i = 0; places[i] != NULL; i++) {
        mc_code_stats_time(places[i], s->proxy->slab, (mc_loop_now_us(s->proxy->loop) - s->complete_us) / 1000);
    }
}

static void failed(mc_shadow *s, mc_reset_reason reason) {
    s->selected = s->selected || reason != MC_RESET_OVERFLOW || s->attempt.refused;
    if (reason != MC_RESET_OVERFLOW) {
        mc_upstream_report(s->upstream, s->host, MC_OUTLIER_CONNECT_FAILED, 0);
    }
    if (s->grpc_deferred) {
        mc_counter_inc(s->proxy->slab, s->host->stats.rq_error);
    }
    s->broken = mc_router_reset_flag(reason);
    if (MC_UNLIKELY(s->log != NULL)) {
        s->log->told->failure = mc_router_connect_text(s->attempt.connect_error);
    }
    if (s->status == 0) {
        charge(s, reason == MC_RESET_PROTOCOL_ERROR ? 502 : 503);
        s->flags |= s->broken;
    }
    finish(s);
}

static void timed_out(mc_timer *timer) {
    mc_shadow *s = MC_CONTAINER(timer, mc_shadow, timeout);
    S_COUNT(s, upstream_rq_timeout);
    s->flags |= MC_FLAG(UT);
    if (s->selected) {
        mc_counter_inc(s->proxy->slab, s->host->stats.rq_timeout);
    }
    if (s->status == 0 && s->host != NULL) {
        mc_upstream_report(s->upstream, s->host, MC_OUTLIER_TIMEOUT, 504);
        charge(s, 504);
    }
    mc_attempt_cancel(&s->attempt);
    finish(s);
}

static void duration_over(mc_timer *timer) {
    mc_shadow *s = MC_CONTAINER(timer, mc_shadow, duration);
    S_COUNT(s, upstream_rq_max_duration_reached);
    s->flags |= MC_FLAG(UMSDR);
    mc_attempt_cancel(&s->attempt);
    finish(s);
}

/* --- writing ---------------------------------------------------------------------------------------------------------- */

static void write(mc_shadow *s, mc_slice data) {
    const size_t framing = mc_attempt_write(&s->attempt, data);
    S_FACT(s, sent, s->log->told, data.n, framing);
}

static void write_end(mc_shadow *s) {
    const size_t n = mc_attempt_write_end(&s->attempt, s->trailers);
    S_FACT(s, sent, s->log->told, 0, n);
    S_FACT(s, sent_all, s->log->told);
}

static void write_body(mc_shadow *s) {
    s->ready = true;
    for (const mc_chunk *chunk = s->body.head; chunk != NULL; chunk = chunk->next) {
        write(s, mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin));
    }
    mc_net_retire(s->proxy->net, &s->body);
    if (s->whole) {
        write_end(s);
    } else {
        resume_client(s);
    }
}

static void log_ready(mc_shadow *s) {
    const mc_span_end how = try_of(s);
    mc_facts_note_ready(s->log->told, mc_attempt_conn(&s->attempt), false);
    mc_shadow_log_ready(s->log, &how);
}

static void write_request(mc_shadow *s) {
    const uint64_t limit = s->upstream->cluster->max_stream_duration_ms;
    s->selected = true;
    if (MC_UNLIKELY(s->log != NULL)) {
        log_ready(s);
    }
    mc_upstream_report(s->upstream, s->host, MC_OUTLIER_CONNECT_SUCCESS, 0);
    if (MC_UNLIKELY(limit != 0)) {
        mc_timer_arm(s->proxy->loop, &s->duration, limit);
    }
    const mc_slice head = mc_attempt_write_head(&s->attempt, &s->request, s->headers_only, s->upgrade);
    if (head.n == 0) {
        return;
    }
    S_FACT(s, sent_head, s->log->told, head);
    if (MC_LIKELY(!s->websocket)) {
        write_body(s);
    }
}

/* --- events of the attempt -------------------------------------------------------------------------------------------- */

static mc_shadow *shadow_of(mc_attempt *attempt) { return MC_CONTAINER(attempt, mc_shadow, attempt); }

static void on_ready(mc_attempt *attempt) { write_request(shadow_of(attempt)); }

static void on_failure(mc_attempt *attempt, mc_reset_reason reason) {
    mc_shadow *s = shadow_of(attempt);
    S_FACT(s, failed, s->log->told);
    failed(s, reason);
}

static mc_headers *on_begin(mc_attempt *attempt) {
    mc_shadow *s = shadow_of(attempt);
    mc_headers_init(&s->response, &s->arena);
    return &s->response;
}

static mc_status on_headers(mc_attempt *attempt, const mc_h1_head *head) {
    mc_shadow *s = shadow_of(attempt);
    S_FACT(s, answered, s->log->told, head->field_bytes, attempt);
    if (head->status < 200 && head->status != 101) {
        return MC_OK;
    }
    if (MC_UNLIKELY(s->log != NULL)) {
        s->log->told->receive_begin_us = mc_loop_now_us(s->proxy->loop);
    }
    if (head->status == 101 && !s->upgrade) { /* nobody asked for another protocol */
        return MC_EPROTO;
    }
    if (MC_UNLIKELY(s->websocket) && head->status != 101 && head->status < 400) { /* it counts nowhere */
        mc_attempt_cancel(attempt);
        finish(s);
        return MC_ECLOSED;
    }
    s->status = head->status;
    const uint16_t grpc_status = s->grpc ? mc_grpc_http_status(&s->response) : 0;
    mc_upstream_report_response(s->upstream, s->host, &s->response, head->status, grpc_status);
    charge(s, head->status);
    if (head->status < 500 || head->status >= 600) {
        s->grpc_deferred = !mc_host_count_response(s->proxy->slab, s->host, s->grpc, grpc_status, head->end_stream);
    }
    if (MC_UNLIKELY(head->upgrade)) {
        mc_timer_cancel(s->proxy->loop, &s->timeout);
        mc_attempt_tunnel(attempt);
        if (s->websocket) {
            write_body(s);
        }
    }
    return MC_OK;
}

static mc_status on_body(mc_attempt *attempt, mc_slice data) {
    S_FACT(shadow_of(attempt), body, shadow_of(attempt)->log->told, data.n, attempt);
    return MC_OK;
}

static mc_status on_trailers(mc_attempt *attempt, mc_headers *trailers) {
    mc_shadow *s = shadow_of(attempt);
    S_FACT(s, answered_trailers, s->log->told, trailers);
    s->response_trailers = trailers;
    return MC_OK;
}

static void on_complete(mc_attempt *attempt) {
    mc_shadow *s = shadow_of(attempt);
    S_FACT(s, received, s->log->told);
    charge_time(s);
    if (s->grpc_deferred) {
        s->grpc_deferred = false;
        mc_host_count_end(s->proxy->slab, s->host, s->response_trailers);
    }
    finish(s);
}

static void on_reset(mc_attempt *attempt, mc_reset_reason reason) { failed(shadow_of(attempt), reason); }

static void on_high(mc_attempt *attempt) {
    mc_shadow *s = shadow_of(attempt);
    if (s->router != NULL) {
        pause_client(s);
    }
}

static void on_low(mc_attempt *attempt) { resume_client(shadow_of(attempt)); }

static const mc_attempt_events shadow_events = {
    .on_ready = on_ready,
    .on_failure = on_failure,
    .on_begin = on_begin,
    .on_headers = on_headers,
    .on_body = on_body,
    .on_trailers = on_trailers,
    .on_complete = on_complete,
    .on_reset = on_reset,
    .on_high = on_high,
    .on_low = on_low,
};

/* --- making ------------------------------------------------------------------------------------------------------------- */

static mc_upstream *find_upstream(const mc_router *r, const mc_mirror_policy *policy) {
    mc_stream *stream = r->stream;
    mc_proxy *proxy = stream->proxy;
    if (policy->cluster_id != MC_NO_CLUSTER) {
        return mc_proxy_upstream(proxy, stream->routes->cluster_slots[policy->cluster_id]);
    }
    mc_slice name = policy->cluster.n > 0 ? policy->cluster : mc_headers_get(&stream->request, policy->cluster_header);
    return name.n == 0 ? NULL : mc_proxy_upstream(proxy, proxy->find_slot(proxy->ctx, name));
}

/* Without memory there is no copy, and nobody is told. */
static void make(mc_router *r, const mc_mirror_policy *policy) {
    mc_proxy *proxy = r->stream->proxy;
    mc_upstream *upstream = find_upstream(r, policy);
    mc_arena arena;
    if (upstream == NULL) {
        return;
    }
    mc_arena_init(&arena, &proxy->blocks);
    mc_shadow *s = mc_arena_zalloc(&arena, sizeof *s);
    if (s == NULL) {
        return;
    }
    s->arena = arena;
    s->proxy = proxy;
    s->upstream = upstream;
    s->router = r;
    s->counted = !r->options->no_dynamic_stats;
    s->upgrade = r->stream->upgrade;
    s->websocket = r->websocket;
    s->timeout.fire = timed_out;
    s->duration.fire = duration_over;
    s->logging.fire = log_fired;
    s->grpc = r->grpc;
    s->codeless = r->grpc && r->options->suppress_grpc_failure_codes;
    s->freeing.run = free_shadow;
    s->attempt.events = &shadow_events;
    mc_buffer_init(&s->body, mc_net_chunks(proxy->net));
    mc_headers_init(&s->request, &s->arena);
    if (mc_shadow_request(r, policy, upstream->cluster, &s->request, &s->timeout_ms) != MC_OK) {
        arena = s->arena;
        mc_arena_fini(&arena);
        return;
    }
    if (MC_UNLIKELY(r->stream->span != NULL)) {
        s->span = mc_tracing_spawn_shadow(r->stream, &s->request, upstream->cluster->name, policy->trace_sampled);
    }
    s->log = mc_shadow_log_new(r->stream, &s->request, upstream->cluster);
    mc_upstream_hold(upstream);
    mc_shadow **at = &r->shadows;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = s;
}

void mc_shadows_make(mc_router *r) {
    const mc_mirror_policies *policies =
        r->cluster->policies.mirrors.count > 0 ? &r->cluster->policies.mirrors : &r->stream->match.route->mirrors;
    if (mc_slice_eq(mc_headers_get_known(&r->stream->request, MC_H_METHOD), MC_SLICE("CONNECT"))) {
        return;
    }
    for (uint32_t i = 0; i < policies->count && !r->stream->finished; i++) {
        if (mc_fraction_holds(&policies->items[i].fraction, r->stream->proxy->runtime, r->stream->random)) {
            make(r, &policies->items[i]);
        }
    }
}

/* --- going ------------------------------------------------------------------------------------------------------------------ */

static void request_whole(mc_shadow *s) {
    s->whole = true;
    s->complete_us = mc_loop_now_us(s->proxy->loop);
    leave_router(s);
    if (s->timeout_ms != 0) {
        mc_timer_arm(s->proxy->loop, &s->timeout, s->timeout_ms);
    }
}

/* RF-4, CL-7: a shadow's cluster refuses it as it would others. */
static bool refused(mc_shadow *s) {
    const bool maintenance = mc_draws_maintenance(s->proxy, s->upstream->cluster);
    if (MC_LIKELY(!maintenance && !mc_draws_drop(s->proxy, s->upstream))) {
        return false;
    }
    charge(s, 503);
    if (maintenance) {
        S_COUNT(s, upstream_rq_maintenance_mode);
    }
    s->flags |= maintenance ? MC_FLAG(UO) : mc_hosts_drop(s->upstream->hosts) >= 1 ? MC_FLAG(UDO) : MC_FLAG(DO);
    finish(s);
    return true;
}

static void no_host(mc_shadow *s) {
    charge(s, 503);
    s->flags |= MC_FLAG(UH);
    finish(s);
}

static void begin_log(mc_shadow *s) {
    const uint64_t interval = mc_shadow_log_interval(s->log);
    mc_shadow_log_try(s->log, s->host);
    if (interval != 0) {
        mc_timer_arm(s->proxy->loop, &s->logging, interval);
    }
}

static void go_to(mc_shadow *s, mc_host *host) {
    mc_pool *pool;
    s->host = mc_host_ref(host);
    mc_status status = mc_upstream_pool(s->upstream, host, MC_PRIORITY_DEFAULT, &pool);
    if (status == MC_OK) {
        if (MC_UNLIKELY(s->log != NULL)) {
            begin_log(s);
        }
        status = mc_pool_start(pool, &s->attempt);
    }
    if (status == MC_OK) {
        write_request(s);
    } else if (status != MC_AGAIN) {
        if (MC_UNLIKELY(s->log != NULL) && s->log->tried) {
            mc_facts_note_failed(s->log->told);
        }
        failed(s, status == MC_ELIMIT ? MC_RESET_OVERFLOW : MC_RESET_LOCAL_CONNECTION_FAILURE);
    }
}

/* The host is of a member of an aggregate cluster, or of a sub-cluster. */
static void take_upstream(mc_shadow *s, mc_upstream *from) {
    if (MC_UNLIKELY(from != s->upstream)) {
        mc_upstream_hold(from);
        mc_upstream_release(s->upstream);
        s->upstream = from;
    }
}

static void seek(mc_shadow *s);

static void name_known(mc_name_wait *wait, mc_slice why) {
    mc_shadow *s = MC_CONTAINER(wait, mc_shadow, seek.wait);
    s->seek.answered = true;
    if (why.n > 0) {
        no_host(s);
    } else {
        seek(s);
    }
}

static void seek(mc_shadow *s) {
    const mc_lb_request asked = {.now_ms = mc_loop_now_ms(s->proxy->loop)};
    const mc_seeker who = {.proxy = s->proxy, .arena = &s->arena, .request = &s->request, .lb = &asked};
    mc_upstream *from;
    s->seek.wait.done = name_known;
    mc_host *host = mc_seek_host(&s->seek, &who, s->upstream, &from);
    take_upstream(s, from);
    if (host != NULL) {
        go_to(s, host);
    } else if (!mc_name_waits(&s->seek.wait)) {
        no_host(s);
    }
}

static void choose(mc_shadow *s, mc_slice node_zone) {
    mc_upstream *from;
    mc_host *host = mc_upstream_choose(s->upstream, &(mc_lb_request){.now_ms = mc_loop_now_ms(s->proxy->loop)}, &from);
    take_upstream(s, from);
    if (host == NULL) {
        no_host(s);
        return;
    }
    s->zone_codes =
        mc_zone_codes(s->upstream->cluster, s->upstream->cluster->codes[MC_ORIGIN_ANY].scope, node_zone, host);
    go_to(s, host);
}

static void start(mc_shadow *s, bool end_stream) {
    const mc_hcm *hcm = s->router->stream->hcm;
    mc_counter_inc(s->proxy->slab, hcm->stats.shadow_rq_total);
    if (refused(s)) {
        return;
    }
    s->attempt.method = mc_headers_get_known(&s->request, MC_H_METHOD);
    s->headers_only = end_stream;
    if (end_stream) {
        request_whole(s);
    } else if (MC_UNLIKELY(s->websocket) && s->timeout_ms != 0) { /* for the handshake */
        mc_timer_arm(s->proxy->loop, &s->timeout, s->timeout_ms);
    }
    if (mc_seeks(s->upstream)) {
        seek(s);
    } else {
        choose(s, hcm->node_zone);
    }
}

void mc_shadows_start(mc_router *r, bool end_stream) {
    for (mc_shadow *s = r->shadows, *next; s != NULL; s = next) {
        next = s->next;
        start(s, end_stream);
    }
}

void mc_shadows_data(mc_router *r, mc_slice data) {
    const uint64_t limit = r->body_limit > 1 ? r->body_limit : 1;
    for (mc_shadow *s = r->shadows, *next; s != NULL; s = next) {
        next = s->next;
        if (s->ready) {
            write(s, data);
        } else if (mc_buffer_append(&s->body, data) != MC_OK) {
            mc_attempt_cancel(&s->attempt);
            finish(s);
        } else if (s->body.length > limit) {
            pause_client(s);
        }
    }
}

void mc_shadows_end(mc_router *r) {
    for (mc_shadow *s = r->shadows, *next; s != NULL; s = next) {
        next = s->next;
        if (r->trailers != NULL && (s->trailers = mc_arena_zalloc(&s->arena, sizeof *s->trailers)) != NULL) {
            mc_headers_init(s->trailers, &s->arena);
            if (mc_shadow_copy(r->trailers, s->trailers) != MC_OK) {
                s->trailers = NULL;
            }
        }
        request_whole(s);
        if (s->ready) {
            write_end(s);
        }
    }
}

void mc_shadows_cancel(mc_router *r) {
    for (mc_shadow *s = r->shadows, *next; s != NULL; s = next) {
        next = s->next;
        mc_attempt_cancel(&s->attempt);
        finish(s);
    }
}
