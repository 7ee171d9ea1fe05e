/* The router and the balancer: what a request asks of its host, and what the balancer is told of how it went. */
#include "base/hash.h"
#include "http/grpc.h"
#include "http/uri.h"
#include "lb/client_weights.h"
#include "lb/metadata.h"
#include "lb/peak_ewma.h"
#include "lb/retry_priority.h"
#include "proxy/forward.h"
#include "proxy/router_internal.h"

/* --- what is asked ------------------------------------------------------------------------------------------------------ */

/* Only who uses a hash asks for it, and a cookie that nobody asked for is not made. Who chooses among the clusters of an
 * aggregate, or in a sub-cluster, is not known yet. */
static bool hashes(const mc_cluster *cluster) {
    const mc_lb_policy policy = cluster->lb.policy;
    return policy == MC_LB_RING_HASH || policy == MC_LB_MAGLEV || cluster->aggregate != NULL ||
           (cluster->forward != NULL && cluster->forward->sub_clusters);
}

/* HA-5, RT-45: the balancer's own policies stand in for the cluster's, and those for the route's. */
static mc_status set_hash(mc_router *r, const mc_route_request *request) {
    const mc_hash_policies *of_cluster = &r->cluster->policies.hash, *own = r->cluster->lb.hash_policies;
    const mc_route *route = r->stream->match.route;
    own = own == NULL && of_cluster->count > 0 ? of_cluster : own;
    if (MC_LIKELY(own == NULL && route->hash_policy_count == 0) || !hashes(r->cluster)) {
        return MC_OK;
    }
    mc_route_request informed = *request;
    if (own != NULL && own->reads_info && informed.info == NULL &&
        (informed.info = mc_stream_collect_info(r->stream)) == NULL) {
        return MC_ENOMEM;
    }
    mc_status status =
        own != NULL ? mc_hash_policies_run(*own, &informed, &r->hash) : mc_route_hash(route, request, &r->hash);
    r->lb.has_hash = r->hash.has_hash;
    r->lb.hash = r->hash.hash;
    return status;
}

/* SB-3: what the route says, and filters over it. */
static mc_status set_criteria(mc_router *r) {
    mc_stream *stream = r->stream;
    const mc_value *objects[] = {stream->match.weighted != NULL && stream->match.weighted->metadata_match != NULL
                                     ? stream->match.weighted->metadata_match
                                     : stream->match.route->metadata_match,
                                 mc_value_get(stream->metadata, "envoy.lb")};
    if (objects[0] == NULL && objects[1] == NULL) {
        return MC_OK;
    }
    mc_subset_criteria *criteria = mc_arena_alloc(&stream->arena, sizeof *criteria);
    if (criteria == NULL) {
        return MC_ENOMEM;
    }
    r->lb.criteria = criteria;
    return mc_subset_criteria_init(criteria, &stream->arena, objects, sizeof objects / sizeof *objects);
}

mc_status mc_router_ask(mc_router *r, const mc_route_request *request) {
    mc_status status = set_hash(r, request);
    const bool asks = r->cluster->lb.subsets != NULL || r->cluster->aggregate != NULL || r->cluster->forward != NULL;
    return MC_LIKELY(!asks) || status != MC_OK ? status : set_criteria(r);
}

/* --- a host by its name ------------------------------------------------------------------------------------------------- */

static mc_slice named_by(const mc_stream *stream, const mc_override_source *source) {
    if (source->header.n > 0) {
        return mc_headers_get(&stream->request, source->header);
    }
    const mc_value *value = stream->metadata == NULL ? NULL : mc_lb_field(stream->metadata, source->space);
    for (size_t i = 0; i < source->path_count; i++) {
        value = mc_lb_field(value, source->path[i]);
    }
    return value != NULL && value->kind == MC_STRING ? value->string : MC_SLICE_NONE;
}

/* The override_host policy: the addresses that the request names are used up one a try, those that are no hosts here aside;
 * then the policy behind it chooses. */
static mc_host *named_host(mc_router *r) {
    const mc_lb_config *config = &r->cluster->lb;
    mc_slice address;
    for (size_t i = 0; !r->named && i < config->override_source_count && r->names.n == 0; i++) {
        r->names = named_by(r->stream, &config->override_sources[i]);
    }
    r->named = true;
    while (mc_slice_next(&r->names, ',', &address)) {
        mc_host *host = mc_hosts_find(r->upstream->hosts, address);
        if (host != NULL) {
            return host;
        }
    }
    return NULL;
}

/* --- the choice ---------------------------------------------------------------------------------------------------------- */

/* A host is its address: the same twice is one host, and stays it when discovery replaces it. */
static uint64_t identity(const mc_host *host) { return mc_xxh64(host->address_text.p, host->address_text.n, 0); }

static bool tried_before(const mc_router *r, const mc_host *host) {
    for (uint32_t i = 0; r->tried != NULL && i < r->tried_count && i < MC_TRIED_MAX; i++) {
        if (r->tried[i] == identity(host)) {
            return true;
        }
    }
    return false;
}

static bool has_labels(const mc_retry_policy *policy, const mc_host *host) {
    bool found = false;
    if (policy->omit_host_metadata_count == 0) {
        return false;
    }
    mc_lb_metadata *metadata = mc_host_metadata((mc_host *)host);
    for (uint32_t i = 0; !found && i < policy->omit_host_metadata_count; i++) {
        const mc_value *labels = policy->omit_host_metadata[i];
        found = labels->count > 0 && mc_lb_labels_match(labels, metadata, true);
    }
    mc_lb_metadata_unref(metadata);
    return found;
}

/* RF-26. */
static bool refuse_host(void *ctx, const mc_host *host) {
    const mc_router *r = ctx;
    const mc_retry_policy *policy = r->retry.with.policy;
    return (policy->avoid_previous_hosts && tried_before(r, host)) ||
           (policy->omit_canary_hosts && atomic_load_explicit(&host->canary, memory_order_relaxed)) ||
           has_labels(policy, host);
}

/* --- a host that the request says (CL-15, CL-17) ------------------------------------------------------------------------------- */

struct mc_router_seek {
    mc_seek seek;
    mc_router *router;
};

bool mc_router_seeks(const mc_router *r) { return r->seek != NULL && mc_name_waits(&r->seek->seek.wait); }

void mc_router_stop_seeking(mc_router *r) {
    if (MC_UNLIKELY(r->seek != NULL)) {
        mc_name_wait_cancel(&r->seek->seek.wait);
    }
}

static void name_known(mc_name_wait *wait, mc_slice why) {
    struct mc_router_seek *own = MC_CONTAINER(wait, struct mc_router_seek, seek.wait);
    mc_router *r = own->router;
    r->waiting = false;
    own->seek.answered = true;
    if (why.n > 0) {
        mc_seek_failed(&own->seek, &r->stream->arena, why);
        r->no_host = own->seek.why;
        mc_router_reply_no_host(r);
    } else {
        mc_try_start(r);
    }
}

static mc_host *seek(mc_router *r, mc_upstream **from) {
    mc_stream *stream = r->stream;
    const mc_seeker who = {.proxy = stream->proxy,
                           .arena = &stream->arena,
                           .request = &stream->request,
                           .metadata = stream->metadata,
                           .filter_state = stream->filter_state,
                           .restored = stream->downstream == NULL ? NULL : mc_downstream_restored(stream->downstream),
                           .lb = &r->lb};
    struct mc_router_seek *own = r->seek;
    if (own == NULL && (own = mc_arena_zalloc(&stream->arena, sizeof *own)) == NULL) {
        r->no_host = "out_of_memory";
        return NULL;
    }
    own->router = r;
    own->seek.wait.done = name_known;
    r->seek = own;
    mc_host *host = mc_seek_host(&own->seek, &who, r->upstream, from);
    r->waiting = mc_router_seeks(r);
    r->no_host = own->seek.why;
    return host;
}

static mc_host *choose(mc_router *r, mc_upstream **from) {
    const mc_retry_policy *policy = r->retry.with.policy;
    r->lb.now_ms = mc_loop_now_ms(r->stream->proxy->loop);
    /* A session's host is for the first try alone (ED-13). */
    r->lb.override_host = r->retried ? MC_SLICE_NONE : r->stream->override_host;
    r->lb.override_strict = !r->retried && r->stream->override_strict;
    if (MC_UNLIKELY(r->retried) && policy != NULL) {
        r->lb.attempts = policy->host_selection_retry_max_attempts;
        r->lb.refuse = refuse_host;
        r->lb.ctx = r;
        r->lb.retry_priority = r->retry_priority;
    }
    return mc_seeks(r->upstream) ? seek(r, from) : mc_upstream_choose(r->upstream, &r->lb, from);
}

/* PR-12. Without memory the priorities tried are not left aside. */
static void note_priority(mc_router *r, const mc_upstream *from, const mc_host *host) {
    const mc_retry_policy *policy = r->retry.with.policy;
    if (policy->previous_priorities_update == 0) {
        return;
    }
    if (r->retry_priority == NULL &&
        (r->retry_priority = mc_arena_alloc(&r->stream->arena, sizeof *r->retry_priority)) != NULL) {
        mc_retry_priority_init(r->retry_priority, policy->previous_priorities_update);
    }
    if (r->retry_priority != NULL) {
        mc_retry_priority_tried(r->retry_priority, mc_upstream_priority_of(r->upstream, from, host));
    }
}

/* Without memory it may be chosen again. */
static void note_host(mc_router *r, const mc_host *host) {
    if (!r->retry.with.policy->avoid_previous_hosts) {
        return;
    }
    if (r->tried == NULL) {
        r->tried = mc_arena_alloc(&r->stream->arena, MC_TRIED_MAX * sizeof *r->tried);
    }
    if (r->tried != NULL) {
        r->tried[r->tried_count++ % MC_TRIED_MAX] = identity(host);
    }
}

mc_host *mc_router_choose_host(mc_router *r, mc_upstream **from) {
    *from = r->upstream;
    mc_host *host = MC_UNLIKELY(r->cluster->lb.override_source_count > 0) ? named_host(r) : NULL;
    host = MC_LIKELY(host == NULL) ? choose(r, from) : host;
    if (host != NULL) {
        if (MC_UNLIKELY(r->retry.with.policy != NULL)) {
            note_host(r, host);
            note_priority(r, *from, host);
        }
    }
    return host;
}

/* --- what came of it -------------------------------------------------------------------------------------------------------- */

static bool peak(const mc_try *t) { return t->upstream->cluster->lb.policy == MC_LB_PEAK_EWMA; }

static uint64_t now_us(const mc_try *t) { return mc_loop_now_us(t->router->stream->proxy->loop); }

void mc_try_given(mc_try *t) {
    if (MC_UNLIKELY(peak(t))) {
        atomic_fetch_add_explicit(&t->host->pending, 1, memory_order_relaxed);
        t->given_us = now_us(t);
    }
}

/* Retry-After, seconds or a date. */
static bool read_retry_after(mc_slice text, uint64_t wall_ms, uint64_t *ms) {
    uint64_t seconds;
    int64_t date;
    if (mc_slice_u64(text, &seconds) == MC_OK) {
        *ms = seconds < 1000000 ? seconds * 1000 : 1000000000;
        return true;
    }
    if (mc_http_date_parse(text, (int64_t)(wall_ms / 1000), &date) != MC_OK) {
        return false;
    }
    const uint64_t at_ms = (uint64_t)date * 1000;
    *ms = at_ms > wall_ms ? at_ms - wall_ms : 0;
    return true;
}

/* When the server wants to see another request (PE-7): HTTP's way with 429 and 503, else gRPC's. */
static bool read_hint(const mc_try *t, uint16_t status, uint64_t *ms) {
    if (status == 429 || status == 503) {
        const mc_slice after = mc_slice_trim(mc_headers_get(&t->headers, MC_SLICE("retry-after")));
        return read_retry_after(after, mc_loop_wall_ms(t->router->stream->proxy->loop), ms);
    }
    return mc_slice_u64(mc_slice_trim(mc_headers_get(&t->headers, MC_SLICE("grpc-retry-pushback-ms"))), ms) == MC_OK;
}

static int16_t headers_only_grpc(const mc_try *t) {
    uint64_t status;
    const mc_slice text = mc_headers_get(&t->headers, MC_SLICE("grpc-status"));
    return t->router->grpc && t->head.end_stream && mc_slice_u64(text, &status) == MC_OK && status <= 16
               ? (int16_t)status
               : -1;
}

/* Once, when the response is known for what it is or the try fails (status 0). A success with a body is measured by the first of it
 * (PE-5). */
static void measure(mc_try *t, uint16_t status) {
    mc_peak_answer answer = {.status = status, .grpc_status = -1};
    const uint64_t now = now_us(t);
    if (t->measured) {
        return;
    }
    t->measured = true;
    if (status != 0) {
        answer.grpc_status = headers_only_grpc(t);
        answer.has_retry_after = read_hint(t, status, &answer.retry_after_ms);
    }
    const mc_peak_config *config = &t->upstream->cluster->lb.peak;
    if (status != 0 && !t->head.end_stream && !mc_peak_is_failure(config, &answer)) {
        t->measured = false;
        t->body_awaited = true;
        return;
    }
    mc_peak_answered(t->host, config, &answer, (now - t->given_us) * 1000, now * 1000);
}

void mc_try_body_came(mc_try *t) {
    const uint64_t now = now_us(t);
    t->body_awaited = false;
    t->measured = true;
    mc_peak_observe(t->host, &t->upstream->cluster->lb.peak, (now - t->given_us) * 1000, now * 1000);
}

static void report_load(mc_try *t) {
    const mc_client_weights_config *config = &t->upstream->cluster->lb.weights;
    const mc_slice text = mc_headers_get(&t->headers, MC_SLICE("endpoint-load-metrics"));
    const mc_slice binary = mc_headers_get(&t->headers, MC_SLICE("endpoint-load-metrics-bin"));
    mc_load_report report;
    mc_status status = MC_EINVAL;
    if (text.n > 0) {
        status = mc_load_report_parse(text, config, &report);
    } else if (binary.n > 0) {
        status = mc_load_report_parse_binary(binary, config, &report);
    }
    uint32_t weight;
    if (status == MC_OK && mc_load_report_weight(&report, config, &weight)) {
        mc_client_weight_report(t->host, weight, mc_loop_now_ms(t->router->stream->proxy->loop));
    }
}

void mc_try_told(mc_try *t) {
    switch (t->upstream->cluster->lb.policy) {
    case MC_LB_PEAK_EWMA: measure(t, t->head.status); break;
    case MC_LB_CLIENT_WEIGHTS: report_load(t); break;
    default: break;
    }
}

void mc_try_told_failure(mc_try *t) {
    if (MC_UNLIKELY(peak(t))) {
        measure(t, 0);
    }
}

/* What nobody waits for any more is no failure, but took its time. */
void mc_try_taken_back(mc_try *t) {
    if (MC_LIKELY(!peak(t))) {
        return;
    }
    if (!t->measured) {
        const uint64_t now = now_us(t);
        mc_peak_observe(t->host, &t->upstream->cluster->lb.peak, (now - t->given_us) * 1000, now * 1000);
    }
    atomic_fetch_sub_explicit(&t->host->pending, 1, memory_order_relaxed);
}
