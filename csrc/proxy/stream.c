#include "base/read.h"
#include "http/grpc.h"
#include "proxy/stream_internal.h"

/* --- life ---------------------------------------------------------------------------------------------------------- */

static void free_stream(mc_deferred *deferred) {
    mc_stream *stream = MC_CONTAINER(deferred, mc_stream, freeing);
    mc_hcm_pin_unref(stream->pin);
    mc_hcm_pin_unref(stream->former);
    mc_arena arena = stream->arena; /* the stream lives in it */
    mc_arena_fini(&arena);
}

static void open_facts(mc_stream *stream) {
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

void mc_stream_begin_leg(mc_stream *stream) {
    if (MC_UNLIKELY(stream->hcm->keeps_facts)) {
        open_facts(stream);
    }
    MC_HCM_COUNT(stream, downstream_rq_total);
    MC_HCM_COUNT(stream, downstream_rq_http1_total);
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
    stream->freeing.run = free_stream;
    mc_headers_init(&stream->request, &stream->arena);
    mc_stream_begin_leg(stream);
    proxy->stream_count++;
    stream->counted = true;
    mc_gauge_add(proxy->slab, stream->hcm->stats.downstream_rq_active, 1);
    mc_stream_start_timers(stream);
    return stream;
}

/* --- the request ----------------------------------------------------------------------------------------------------------- */

/* HC-45: whether an upgrade is allowed, and the chain it goes through. A CONNECT is one too. Absent type: there is none. */
static bool find_upgrade(mc_stream *stream, mc_slice *type) {
    *type = mc_headers_get_known(&stream->request, MC_H_UPGRADE);
    if (type->p == NULL && stream->connect) {
        *type = mc_headers_get_known(&stream->request, MC_H_METHOD);
    }
    if (type->p == NULL) {
        return false;
    }
    const mc_hcm *hcm = stream->hcm;
    const int route = stream->match.route == NULL ? -1 : mc_route_upgrade(stream->match.route, *type);
    const mc_upgrade_config *own = NULL;
    for (uint32_t i = 0; i < hcm->upgrade_count && own == NULL; i++) {
        own = mc_slice_ieq(hcm->upgrades[i].type, *type) ? &hcm->upgrades[i] : NULL;
    }
    const bool allowed = route >= 0 ? route == 1 : own != NULL && own->enabled;
    if (allowed) {
        stream->chain = own == NULL ? &hcm->chain : &own->chain;
    }
    return allowed;
}

static void decide_upgrade(mc_stream *stream) {
    mc_slice type;
    stream->upgrade = find_upgrade(stream, &type);
    stream->upgrade_refused = !stream->upgrade && type.p != NULL;
    if (stream->upgrade) {
        MC_HCM_COUNT(stream, downstream_cx_upgrades_total);
        mc_gauge_add(stream->proxy->slab, stream->hcm->stats.downstream_cx_upgrades_active, 1);
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

static inline mc_status look_up(mc_stream *stream, const mc_hcm_routes *routes, mc_route_match *out) {
    mc_route_request request = {
        .headers = &stream->request,
        .random = stream->random,
        .remote = &stream->remote,
        .local = mc_downstream_local(stream->downstream),
        .arena = &stream->arena,
        .runtime = stream->proxy->runtime,
    };
    if (MC_UNLIKELY(mc_route_table_reads_info(routes->table)) &&
        (request.info = mc_stream_collect_info(stream)) == NULL) {
        return MC_ENOMEM;
    }
    return mc_route_table_match(routes->table, &request, out);
}

bool mc_stream_has_newest_host(mc_stream *stream) {
    const mc_hcm *hcm = mc_downstream_newest(stream->downstream)->hcm;
    const mc_hcm_routes *routes = &hcm->routes;
    mc_route_match match;
    if (hcm->scopes != NULL && mc_hcm_routes_find(hcm, &stream->request, &stream->arena, &routes) != MC_OK) {
        return false;
    }
    return look_up(stream, routes, &match) == MC_OK && match.virtual_host != NULL;
}

static mc_status match_route(mc_stream *stream) {
    stream->route_stale = false;
    MC_TRY(find_scope(stream));
    mc_status status = MC_OK;
    if (MC_LIKELY(mc_headers_has(&stream->request, MC_H_X_FORWARDED_PROTO))) {
        status = look_up(stream, stream->routes, &stream->match);
    } else { /* RT-4: a filter took it away, or what the route before did */
        stream->match = (mc_route_match){.cluster_id = MC_NO_CLUSTER};
    }
    if (MC_UNLIKELY(stream->facts != NULL)) {
        note_cluster(stream);
    }
    return status;
}

mc_status mc_stream_match_route(mc_stream *stream) {
    MC_TRY(match_route(stream));
    if (MC_UNLIKELY(stream->hcm->tracing != NULL)) {
        mc_tracing_decide(stream);
    }
    return mc_stream_route_timers(stream);
}

static void request_ended(mc_stream *stream) {
    stream->request_complete = true;
    stream->request_complete_us = mc_loop_now_us(stream->proxy->loop);
    mc_timer_cancel(stream->proxy->loop, &stream->limit);
}

/* HC-3: filters, and with them a route, are looked for even for what is refused; Envoy finds one where the scheme is known
 * already, which before HC-13 is the client's x-forwarded-proto. */
static mc_status route_of_refused(mc_stream *stream) {
    if (mc_headers_has(&stream->request, MC_H_X_FORWARDED_PROTO) &&
        (stream->connect || mc_headers_get_known(&stream->request, MC_H_PATH).n > 0)) {
        MC_TRY(match_route(stream));
    }
    mc_slice type;
    if (MC_UNLIKELY(stream->head.upgrade)) {
        (void)find_upgrade(stream, &type);
    }
    return MC_OK;
}

/* As soon as a request is known to be one it is refused: without filters, without a route (BOOT-16). */
static void refuse_overloaded(mc_stream *stream) {
    static const mc_filter_chain no_filters = {.end = 0};
    static const mc_header told = {.name = MC_SLICE_INIT("x-envoy-local-overloaded"), .value = MC_SLICE_INIT("true")};
    stream->chain = &no_filters;
    mc_stream_reply(stream, &(mc_reply){.status = 503,
                                        .body = MC_SLICE_INIT("envoy overloaded"),
                                        .details = "overload",
                                        .headers = &told,
                                        .header_count = stream->hcm->append_local_overload ? 1 : 0});
}

/* HC-2; false: the request is refused, or given up. */
static bool sanitize(mc_stream *stream) {
    mc_downstream *downstream = stream->downstream;
    mc_reply reply = {0};
    if (find_scope(stream) != MC_OK) {
        mc_stream_out_of_memory(stream);
        return false;
    }
    if (mc_sanitize_request(stream, mc_downstream_peer(downstream), mc_downstream_local(downstream),
                            mc_downstream_conn(downstream)->transport->encrypted, &reply)) {
        return true;
    }
    if (reply.status != 0 && route_of_refused(stream) == MC_OK) {
        mc_stream_reply(stream, &reply);
    } else {
        mc_stream_out_of_memory(stream);
    }
    return false;
}

void mc_stream_run_leg(mc_stream *stream, bool end_stream) {
    if (mc_chain_open(stream) != MC_OK) {
        mc_stream_out_of_memory(stream);
        return;
    }
    if (stream->hcm->access.on_new_request) { /* to Envoy each leg is a new request */
        mc_stream_log(stream, MC_LOG_DOWNSTREAM_START);
    }
    if (MC_UNLIKELY(stream->upgrade_refused) && stream->match.route != NULL) {
        refuse_upgrade(stream);
        return;
    }
    if (MC_UNLIKELY(stream->hcm->tracing != NULL)) {
        mc_tracing_start(stream);
    }
    mc_chain_headers(&stream->filters, MC_DECODE, end_stream);
}

/* What the head says of the request's shape. */
static void take_head(mc_stream *stream, const mc_h1_head *head) {
    stream->head = *head;
    stream->headed = true;
    stream->connect = MC_UNLIKELY(head->upgrade) &&
                      mc_slice_eq(mc_headers_get_known(&stream->request, MC_H_METHOD), MC_SLICE("CONNECT"));
    stream->head_request = mc_slice_eq(mc_headers_get_known(&stream->request, MC_H_METHOD), MC_SLICE("HEAD"));
    stream->grpc_request = mc_grpc_request(&stream->request);
    if (head->end_stream) {
        request_ended(stream);
    }
    if (!head->keep_alive) {
        stream->close_connection = true;
    }
}

void mc_stream_request_headers(mc_stream *stream, const mc_h1_head *head) {
    take_head(stream, head);
    if (MC_UNLIKELY(stream->overloaded)) {
        refuse_overloaded(stream);
        return;
    }
    if (!sanitize(stream)) {
        return;
    }
    if (mc_stream_match_route(stream) != MC_OK) {
        mc_stream_out_of_memory(stream);
        return;
    }
    if (MC_UNLIKELY(head->upgrade)) {
        decide_upgrade(stream);
    }
    mc_stream_run_leg(stream, head->end_stream);
}

void mc_stream_request_data(mc_stream *stream, mc_slice data) {
    mc_stream_touch(stream);
    stream->bytes_received += data.n;
    mc_chain_data(&stream->filters, MC_DECODE, data, false);
}

void mc_stream_request_trailers(mc_stream *stream, mc_headers *trailers) {
    mc_stream_touch(stream);
    stream->request_trailers = trailers;
    MC_FACT(stream, asked_trailers, stream->facts, trailers);
}

void mc_stream_request_complete(mc_stream *stream) {
    mc_stream_touch(stream);
    if (stream->request_complete) { /* the end came with the headers */
        return;
    }
    request_ended(stream);
    if (stream->request_trailers != NULL) {
        mc_chain_trailers(&stream->filters, MC_DECODE);
    } else {
        mc_chain_data(&stream->filters, MC_DECODE, MC_SLICE_NONE, true);
    }
    if (!stream->finished && stream->response_complete) {
        mc_stream_finish(stream, stream->close_connection);
    }
}

/* --- the end ----------------------------------------------------------------------------------------------------------------- */

void mc_stream_out_of_memory(mc_stream *stream) { mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory"); }

void mc_stream_forget_half_head(mc_stream *stream) {
    if (MC_UNLIKELY(!stream->headed)) {
        mc_headers_init(&stream->request, &stream->arena);
    }
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

void mc_stream_finish(mc_stream *stream, bool close) {
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
    mc_stream_stop_timers(stream);
    mc_stream_cancel_restart(stream);
    mc_stream_log(stream, MC_LOG_DOWNSTREAM_END); /* while what it tells of is still there */
    mc_chain_close(&stream->filters);
    for (; stream->decode_pauses > 0; stream->decode_pauses--) {
        mc_conn_resume_reading(mc_downstream_conn(downstream));
    }
    count_end(stream);
    if (MC_UNLIKELY(stream->span != NULL)) {
        mc_tracing_finish(stream);
    }
    mc_stream_record(stream);
    proxy->stream_count--;
    stream->downstream = NULL;
    mc_loop_defer(proxy->loop, &stream->freeing);
    mc_downstream_stream_done(downstream, stream, close);
}

void mc_stream_reset(mc_stream *stream, uint64_t flags, const char *details) {
    if (stream->finished) {
        return;
    }
    mc_stream_forget_half_head(stream);
    mc_stream_flag(stream, flags);
    if (details != NULL) {
        stream->details = details;
        stream->details_class = NULL;
    }
    stream->reset = true;
    if (!(flags & (MC_FLAG(DC) | MC_FLAG(DPE) | MC_FLAG(OM)))) { /* the connection is what failed, or what must go */
        MC_HCM_COUNT(stream, downstream_rq_tx_reset);
    }
    mc_stream_finish(stream, true);
}
