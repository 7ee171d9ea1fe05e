/* What is counted of responses: of the cluster, the virtual cluster and the route (RF-45, RF-46), and of the host (RF-32). */
#include "http/grpc.h"
#include "proxy/router_internal.h"

static mc_code_stats *vhost_scope(mc_stream *stream, mc_slice kind, mc_slice name) {
    const mc_slice parts[] = {MC_SLICE("vhost."), stream->match.virtual_host->name, kind, name};
    return mc_code_scopes_get(stream->hcm->code_scopes, parts, sizeof parts / sizeof parts[0]);
}

void mc_router_find_scopes(mc_router *r) {
    mc_stream *stream = r->stream;
    const mc_virtual_host *host = stream->match.virtual_host;
    const mc_route *route = stream->match.route;
    uint32_t index = UINT32_MAX;
    if (MC_LIKELY(host->virtual_cluster_count == 0 && route->stat_prefix.n == 0)) {
        return;
    }
    if (mc_virtual_host_cluster(host, &stream->request, &index) == MC_OK && index < host->virtual_cluster_count) {
        if (host->virtual_clusters[index].headers != NULL) { /* the catch-all counts, but has no name */
            stream->virtual_cluster = host->virtual_clusters[index].name;
        }
        r->scopes[0] = vhost_scope(stream, MC_SLICE(".vcluster."), host->virtual_clusters[index].name);
    }
    if (route->stat_prefix.n > 0) {
        r->scopes[1] = vhost_scope(stream, MC_SLICE(".route."), route->stat_prefix);
    }
}

void mc_router_inc_scopes(mc_router *r, mc_code_counter counter) {
    for (int i = 0; i < 2; i++) {
        if (MC_UNLIKELY(r->scopes[i] != NULL)) {
            mc_code_stats_inc(r->scopes[i], r->stream->proxy->slab, counter);
        }
    }
}

static bool counted(const mc_router *r) { return !r->options->no_dynamic_stats && !r->stream->health_check; }

void mc_host_count_error(mc_router *r, mc_host *host) {
    if (host != NULL) {
        mc_counter_inc(r->stream->proxy->slab, host->stats.rq_error);
    }
}

static void count_outcome(mc_slab *slab, mc_host *host, bool success) {
    mc_counter_inc(slab, success ? host->stats.rq_success : host->stats.rq_error);
}

static bool succeeded(uint16_t grpc_status) { return grpc_status != 0 && grpc_status < 500; }

bool mc_host_count_response(mc_slab *slab, mc_host *host, bool grpc, uint16_t grpc_status, bool end_stream) {
    if (grpc && !end_stream) {
        return false;
    }
    count_outcome(slab, host, !grpc || succeeded(grpc_status));
    return true;
}

void mc_host_count_end(mc_slab *slab, mc_host *host, const mc_headers *trailers) {
    count_outcome(slab, host, trailers != NULL && succeeded(mc_grpc_http_status(trailers)));
}

/* Where a response counts, beside the cluster itself and its internal or external half. */
enum { PLACES_MAX = 8 };

typedef struct places {
    mc_code_stats *alternative; /* the cluster itself below its other name */
    mc_code_stats *at[PLACES_MAX];
    size_t count;
} places;

static void add_place(places *out, mc_code_stats *codes) {
    if (codes != NULL && out->count < PLACES_MAX) {
        out->at[out->count++] = codes;
    }
}

static mc_slice origin_name(const mc_router *r) {
    return r->stream->internal ? MC_SLICE("internal") : MC_SLICE("external");
}

mc_code_stats *mc_zone_codes(mc_cluster *cluster, mc_slice prefix, mc_slice from, const mc_host *host) {
    if (host == NULL || from.n == 0 || host->zone.n == 0) {
        return NULL;
    }
    const mc_slice parts[] = {prefix, MC_SLICE(".zone."), from, MC_SLICE("."), host->zone};
    return mc_code_scopes_get(&cluster->code_scopes, parts, sizeof parts / sizeof parts[0]);
}

static void add_zone(mc_router *r, places *out, mc_slice prefix, const mc_host *host) {
    add_place(out, mc_zone_codes(r->cluster, prefix, r->stream->hcm->node_zone, host));
}

/* RF-6: the same once more below another name. */
static void add_alternative(mc_router *r, places *out, const mc_host *host, bool canary) {
    const mc_slice stem[] = {r->cluster->codes[MC_ORIGIN_ANY].scope, MC_SLICE("."), r->alt_stat_name};
    char text[MC_CODE_SCOPE_NAME];
    size_t n = stem[0].n + 1 + stem[2].n;
    if (n > sizeof text) {
        return;
    }
    memcpy(text, stem[0].p, stem[0].n);
    text[stem[0].n] = '.';
    memcpy(text + stem[0].n + 1, stem[2].p, stem[2].n);
    const mc_slice prefix = mc_slice_of(text, n);
    const mc_slice origin[] = {prefix, MC_SLICE("."), origin_name(r)};
    const mc_slice of_canary[] = {prefix, MC_SLICE(".canary")};
    out->alternative = mc_code_scopes_get(&r->cluster->code_scopes, &prefix, 1);
    add_place(out, mc_code_scopes_get(&r->cluster->code_scopes, origin, 3));
    if (canary) {
        add_place(out, mc_code_scopes_get(&r->cluster->code_scopes, of_canary, 2));
    }
    add_zone(r, out, prefix, host);
}

static void find_places(mc_router *r, const mc_host *host, bool canary, places *out) {
    out->count = 0;
    out->alternative = NULL;
    if (canary) {
        add_place(out, &r->cluster->codes[MC_ORIGIN_CANARY]);
    }
    add_place(out, r->scopes[0]);
    add_place(out, r->scopes[1]);
    add_zone(r, out, r->cluster->codes[MC_ORIGIN_ANY].scope, host);
    if (r->alt_stat_name.n > 0) {
        add_alternative(r, out, host, canary);
    }
}

/* Most requests count in the cluster and in its internal or external half, and nowhere else. */
static bool elsewhere(const mc_router *r, bool canary) {
    return canary || r->scopes[0] != NULL || r->scopes[1] != NULL || r->stream->hcm->node_zone.n > 0 ||
           r->alt_stat_name.n > 0;
}

static mc_code_stats *half(const mc_router *r) {
    return &r->cluster->codes[r->stream->internal ? MC_ORIGIN_INTERNAL : MC_ORIGIN_EXTERNAL];
}

static void charge_elsewhere(mc_router *r, uint16_t status, mc_host *host, bool canary, bool with_code) {
    mc_slab *slab = r->stream->proxy->slab;
    places more;
    find_places(r, host, canary, &more);
    if (more.alternative != NULL) {
        mc_code_stats_response(more.alternative, slab, status, with_code);
    }
    for (size_t i = 0; i < more.count; i++) {
        mc_code_stats_response(more.at[i], slab, status, true);
    }
}

void mc_router_charge(mc_router *r, uint16_t status, mc_host *host, bool canary) {
    mc_slab *slab = r->stream->proxy->slab;
    if (!counted(r)) {
        return;
    }
    const bool with_code = !(r->grpc && r->options->suppress_grpc_failure_codes); /* only for the cluster itself */
    mc_code_stats_response(&r->cluster->codes[MC_ORIGIN_ANY], slab, status, with_code);
    mc_code_stats_response(half(r), slab, status, true);
    if (MC_UNLIKELY(elsewhere(r, canary))) {
        charge_elsewhere(r, status, host, canary, with_code);
    }
    if (status >= 500 && status < 600) {
        mc_host_count_error(r, host);
    }
}

void mc_router_charge_abort(mc_router *r, uint16_t status, mc_try *t) {
    mc_host *host = t->selected ? t->host : NULL;
    if (r->response_started) {
        if (t->grpc_deferred) {
            mc_host_count_error(r, host);
            MC_HCM_COUNT(r->stream, rq_reset_after_downstream_response_started);
        }
        return;
    }
    mc_router_charge(r, status, host, host != NULL && atomic_load_explicit(&host->canary, memory_order_relaxed));
    if (status < 500) { /* only an alternative answer to a timeout */
        mc_host_count_error(r, host);
    }
}

void mc_router_charge_retried(mc_router *r, uint16_t status) { /* RF-29 */
    const mc_slice parts[] = {r->cluster->codes[MC_ORIGIN_ANY].scope, MC_SLICE(".retry")};
    mc_code_stats *codes = mc_code_scopes_get(&r->cluster->code_scopes, parts, 2);
    if (codes != NULL) {
        mc_code_stats_response(codes, r->stream->proxy->slab, status,
                               !(r->grpc && r->options->suppress_grpc_failure_codes));
    }
}

void mc_router_charge_time(mc_router *r, const mc_try *t) {
    mc_slab *slab = r->stream->proxy->slab;
    if (!counted(r) || !r->request_end) {
        return;
    }
    const uint64_t ms = (mc_loop_now_us(r->stream->proxy->loop) - r->request_end_us) / 1000;
    mc_code_stats_time(&r->cluster->codes[MC_ORIGIN_ANY], slab, ms);
    mc_code_stats_time(half(r), slab, ms);
    if (MC_UNLIKELY(elsewhere(r, t->canary))) {
        places more;
        find_places(r, t->host, t->canary, &more);
        if (more.alternative != NULL) {
            mc_code_stats_time(more.alternative, slab, ms);
        }
        for (size_t i = 0; i < more.count; i++) {
            mc_code_stats_time(more.at[i], slab, ms);
        }
    }
}

void mc_router_track(mc_router *r) {
    const mc_tracking *tracking = r->cluster->tracking;
    const mc_loop *loop = r->stream->proxy->loop;
    if (MC_UNLIKELY(tracking != NULL) && tracking->budgets && r->request_end) {
        mc_tracking_budget(r->stream->proxy->slab, tracking->upstream_rq_timeout_budget_percent_used,
                           (mc_loop_now_us(loop) - r->request_end_us) / 1000, r->timeout_ms);
    }
}

void mc_try_track(mc_try *t) {
    const mc_router *r = t->router;
    const mc_tracking *tracking = r->cluster->tracking;
    mc_slab *slab = r->stream->proxy->slab;
    if (tracking->budgets && !t->out_of_budget) {
        mc_tracking_budget(slab, tracking->upstream_rq_timeout_budget_per_try_percent_used,
                           (mc_loop_now_us(r->stream->proxy->loop) - t->started_us) / 1000, r->per_try_ms);
    }
    if (tracking->sizes) {
        mc_tracking_sizes(tracking, slab, &r->stream->request, t->body_sent, t->arrived_size, t->body_received);
    }
}

bool mc_try_is_canary(const mc_try *t) {
    return atomic_load_explicit(&t->host->canary, memory_order_relaxed) ||
           mc_slice_eq(mc_headers_get_known(&t->headers, MC_H_X_ENVOY_UPSTREAM_CANARY), MC_SLICE("true"));
}

void mc_try_report(mc_try *t, mc_outlier_event event, unsigned code) {
    mc_upstream_report(t->upstream, t->host, event, code);
}

void mc_upstream_report_response(mc_upstream *upstream, mc_host *host, const mc_headers *response, uint16_t status,
                                 uint16_t grpc_status) {
    const mc_match_predicate *failure = upstream->cluster->policies.error_matcher;
    uint16_t code = grpc_status != 0 ? grpc_status : status;
    if (MC_UNLIKELY(failure != NULL)) { /* without memory it stays what it is */
        const int holds = mc_match_predicate_holds(failure, response);
        code = holds < 0 ? code : holds ? 500 : 200;
    }
    mc_upstream_report(upstream, host,
                       code >= 500                                       ? MC_OUTLIER_REQUEST_FAILED
                       : mc_headers_has(response, MC_H_X_ENVOY_DEGRADED) ? MC_OUTLIER_REQUEST_DEGRADED
                                                                         : MC_OUTLIER_REQUEST_SUCCESS,
                       code);
    if (MC_UNLIKELY(mc_headers_has(response, MC_H_X_ENVOY_IMMEDIATE_HEALTH_CHECK_FAIL))) {
        mc_upstream_fail_host(upstream, host);
    }
}

uint16_t mc_grpc_http_status(const mc_headers *headers) {
    mc_slice text = mc_headers_get_known(headers, MC_H_GRPC_STATUS);
    uint64_t status;
    if (text.p == NULL) {
        return 0;
    }
    return mc_slice_number(text, UINT64_MAX, &status) == MC_OK ? mc_grpc_to_http(status) : 500;
}
