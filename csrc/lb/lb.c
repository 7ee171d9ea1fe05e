/* A worker's balancer: priority, then source, then policy (rules ED-5, ED-12, LO-1, RH-8). */
#include "lb/lb.h"

#include "base/alloc.h"
#include "lb/balancer.h"
#include "lb/retry_priority.h"

const mc_policy *mc_policy_of(mc_lb_policy policy) {
    switch (policy) {
    case MC_LB_ROUND_ROBIN: return &mc_policy_round_robin;
    case MC_LB_LEAST_REQUEST: return &mc_policy_least_request;
    case MC_LB_RANDOM: return &mc_policy_random;
    case MC_LB_PEAK_EWMA: return &mc_policy_peak_ewma;
    case MC_LB_CLIENT_WEIGHTS: return &mc_policy_round_robin;
    case MC_LB_RING_HASH:
    case MC_LB_MAGLEV: break;
    }
    return NULL;
}

/* Whether what the balancer has for priority i fits the new membership. */
static bool keeps(const mc_lb *lb, const mc_hosts *hosts, size_t i) {
    return lb->priorities != NULL && i < lb->hosts->priority_count && lb->priorities[i].set == hosts->sets[i] &&
           lb->hosts->options.overprovisioning == hosts->options.overprovisioning;
}

static mc_status build(mc_lb *lb, const mc_hosts *hosts, mc_lb_priority *built) {
    for (size_t i = 0; i < hosts->priority_count; i++) {
        mc_status status = keeps(lb, hosts, i)
                               ? MC_OK
                               : mc_lb_priority_init(lb, &built[i], hosts->sets[i], hosts->options.overprovisioning);
        if (status != MC_OK) {
            return status;
        }
    }
    if (lb->priorities == NULL && lb->policy->weight != NULL && !lb->seeded) {
        lb->seed = mc_random_next(lb->random);
    }
    for (size_t i = 0; i < hosts->priority_count; i++) {
        const mc_lb_priority *old = lb->priorities != NULL && i < lb->hosts->priority_count ? &lb->priorities[i] : NULL;
        mc_status status = keeps(lb, hosts, i) ? MC_OK : mc_lb_priority_schedule(lb, &built[i], old);
        if (status != MC_OK) {
            return status;
        }
    }
    return MC_OK;
}

static void free_priorities(mc_lb_priority *priorities, size_t count) {
    for (size_t i = 0; priorities != NULL && i < count; i++) {
        mc_lb_priority_fini(&priorities[i]);
    }
    mc_free(priorities);
}

/* New state for what changed, then, as nothing can fail any more, the old state of what did not. */
static mc_status rebuild(mc_lb *lb, const mc_hosts *hosts) {
    mc_lb_priority *built = mc_calloc(hosts->priority_count, sizeof *built);
    mc_status status = built == NULL ? MC_ENOMEM : build(lb, hosts, built);
    if (status != MC_OK) {
        free_priorities(built, hosts->priority_count);
        return status;
    }
    for (size_t i = 0; i < hosts->priority_count; i++) {
        if (keeps(lb, hosts, i)) {
            built[i] = lb->priorities[i];
            lb->priorities[i] = (mc_lb_priority){0};
        }
    }
    if (lb->priorities != NULL) {
        free_priorities(lb->priorities, lb->hosts->priority_count);
    }
    lb->priorities = built;
    return MC_OK;
}

/* --- zones --------------------------------------------------------------------------------------------------------------- */

/* ZA-2. */
static mc_status regenerate(mc_lb *lb, const mc_hosts *hosts) {
    if (lb->policy == NULL || lb->children != NULL || lb->local == NULL || !lb->config.zone.possible) {
        return MC_OK;
    }
    mc_zone zone;
    MC_LB_COUNT(lb, lb_recalculate_zone_structures);
    mc_status status = mc_zone_init(&zone, &lb->config, hosts->sets[0], lb->local);
    if (zone.reason == MC_ZONE_LOCAL_NOT_OK) {
        MC_LB_COUNT(lb, lb_local_cluster_not_ok);
    } else if (zone.reason == MC_ZONE_TOO_SMALL) {
        MC_LB_COUNT(lb, lb_zone_cluster_too_small);
    }
    mc_zone_fini(&lb->zone);
    lb->zone = zone;
    return status;
}

mc_status mc_lb_set_local(mc_lb *lb, mc_hosts *local) {
    mc_status status = MC_OK;
    mc_hosts *old = lb->local;
    if (local == old) {
        return MC_OK;
    }
    lb->local = local == NULL ? NULL : mc_hosts_ref(local);
    if (local == NULL) {
        mc_zone_fini(&lb->zone);
    } else if (old == NULL || old->sets[0] != local->sets[0]) {
        status = regenerate(lb, lb->hosts);
    }
    for (size_t i = 0; lb->children != NULL && i < lb->hosts->subsets->count; i++) {
        mc_status of_child = lb->children[i] == NULL ? MC_OK : mc_lb_set_local(lb->children[i], local);
        status = status == MC_OK ? of_child : status;
    }
    mc_hosts_unref(old);
    return status;
}

/* C-2, with draws of the balancer's generator. */
static bool sampled(mc_lb *lb, uint32_t percent) {
    return percent >= 100 || (percent > 0 && mc_random_next(lb->random) % 100 < percent);
}

/* ZA-8, ZA-9: index of a locality. */
static size_t choose_zone(mc_lb *lb) {
    const mc_zone *zone = &lb->zone;
    if (zone->state == MC_ZONE_DIRECT) {
        MC_LB_COUNT(lb, lb_zone_routing_all_directly);
        return 0;
    }
    if (mc_random_next(lb->random) % 10000 < zone->local_share) {
        MC_LB_COUNT(lb, lb_zone_routing_sampled);
        return 0;
    }
    MC_LB_COUNT(lb, lb_zone_routing_cross_zone);
    const uint64_t total = zone->residual[zone->count - 1];
    if (total == 0) {
        MC_LB_COUNT(lb, lb_zone_no_capacity_left);
        return mc_random_next(lb->random) % zone->count;
    }
    const uint64_t x = mc_random_next(lb->random) % total;
    size_t i = 0;
    while (x >= zone->residual[i]) {
        i++;
    }
    return i;
}

/* --- life ---------------------------------------------------------------------------------------------------------------- */

static mc_status take(mc_lb *lb, mc_hosts *hosts) {
    if (hosts->subsets != NULL) {
        return mc_lb_subsets_update(lb, hosts);
    }
    return lb->policy == NULL ? MC_OK : rebuild(lb, hosts);
}

static mc_lb *lb_new(const mc_lb_config *config, mc_hosts *hosts, mc_random *random, const uint64_t *seed,
                     mc_lb_plan *plan, uint64_t now_ms, const mc_lb_stats *stats) {
    mc_lb *lb = mc_calloc(1, sizeof *lb);
    if (lb == NULL) {
        return NULL;
    }
    lb->seeded = seed != NULL;
    lb->seed = seed != NULL ? *seed : 0;
    lb->config = mc_lb_config_copy(config);
    lb->policy = mc_policy_of(config->policy);
    lb->random = random;
    lb->stats = *stats;
    lb->now_ms = now_ms;
    mc_slow_start_init(&lb->slow_start, config, now_ms);
    lb->plan = plan;
    const mc_status status = take(lb, hosts);
    lb->plan = NULL;
    if (status != MC_OK) {
        mc_lb_config_fini(&lb->config);
        mc_text_fini(&lb->path);
        mc_free(lb);
        return NULL;
    }
    lb->hosts = mc_hosts_ref(hosts);
    return lb;
}

mc_lb *mc_lb_new(const mc_lb_config *config, mc_hosts *hosts, mc_random *random, uint64_t now_ms,
                 const mc_lb_stats *stats) {
    return lb_new(config, hosts, random, NULL, NULL, now_ms, stats);
}

mc_lb *mc_lb_new_seeded(const mc_lb_config *config, mc_hosts *hosts, mc_random *random, uint64_t seed, mc_lb_plan *plan,
                        uint64_t now_ms, const mc_lb_stats *stats) {
    return lb_new(config, hosts, random, &seed, plan, now_ms, stats);
}

void mc_lb_free(mc_lb *lb) {
    if (lb != NULL) {
        mc_lb_subsets_fini(lb);
        free_priorities(lb->priorities, lb->hosts->priority_count);
        mc_zone_fini(&lb->zone);
        mc_text_fini(&lb->path);
        mc_hosts_unref(lb->local);
        mc_hosts_unref(lb->hosts);
        mc_lb_config_fini(&lb->config);
        mc_free(lb->stash);
        mc_free(lb);
    }
}

mc_status mc_lb_update_planned(mc_lb *lb, mc_hosts *hosts, mc_lb_plan *plan, uint64_t now_ms) {
    lb->plan = plan;
    mc_status status = mc_lb_update(lb, hosts, now_ms);
    lb->plan = NULL;
    return status;
}

/* Whether any priority's set is another one. */
static bool differs(const mc_hosts *old, const mc_hosts *hosts) {
    bool same = old->priority_count == hosts->priority_count;
    for (size_t i = 0; same && i < hosts->priority_count; i++) {
        same = old->sets[i] == hosts->sets[i];
    }
    return !same;
}

mc_status mc_lb_update(mc_lb *lb, mc_hosts *hosts, uint64_t now_ms) {
    const bool regenerated = lb->hosts->sets[0] != hosts->sets[0], changed = differs(lb->hosts, hosts);
    lb->now_ms = now_ms;
    mc_status status = take(lb, hosts);
    if (status == MC_OK) {
        if (changed) { /* what was peeked at is not to come any more */
            lb->stash_at = lb->stash_count = 0;
            lb->ahead = 0;
        }
        mc_hosts *old = lb->hosts;
        lb->hosts = mc_hosts_ref(hosts);
        status = regenerated ? regenerate(lb, hosts) : MC_OK;
        mc_hosts_unref(old);
    }
    return status;
}

/* --- a choice ---------------------------------------------------------------------------------------------------------- */

static void count_panic(const mc_lb *lb, size_t priority) {
    if (lb->hosts->loads[priority].panic) {
        MC_LB_COUNT(lb, lb_healthy_panic);
    }
}

/* LO-1: the source of a priority, SIZE_MAX when traffic is to fail. */
static size_t choose_source(mc_lb *lb, mc_lb_priority *p, bool panic, bool degraded) {
    if (panic) {
        return lb->config.fail_traffic_on_panic ? SIZE_MAX : MC_SOURCE_ALL;
    }
    uint32_t locality;
    if (mc_locality_choose(&p->localities[degraded], &locality)) {
        return MC_SOURCE_LOCALITY + 2 * (size_t)locality + degraded;
    }
    const size_t plain = degraded ? MC_SOURCE_DEGRADED : MC_SOURCE_HEALTHY;
    if (p != lb->priorities || lb->zone.state == MC_ZONE_OFF || !sampled(lb, lb->config.zone.routing_enabled)) {
        return plain;
    }
    if (lb->zone.local_panic) { /* ZA-7 */
        MC_LB_COUNT(lb, lb_local_cluster_not_ok);
        return lb->config.fail_traffic_on_panic ? SIZE_MAX : plain;
    }
    return MC_SOURCE_LOCALITY + 2 * choose_zone(lb) + degraded;
}

/* ED-5: what was drawn for a peek serves the pick that it foretold. */
static uint64_t draw_once(mc_lb *lb, bool peeking) {
    if (!peeking) {
        return lb->stash_at < lb->stash_count ? lb->stash[lb->stash_at++] : mc_random_next(lb->random);
    }
    if (lb->stash_at == lb->stash_count) {
        lb->stash_at = lb->stash_count = 0;
    }
    uint64_t draw = mc_random_next(lb->random);
    if (mc_grow(&lb->stash, &lb->stash_cap, lb->stash_count + 1, sizeof *lb->stash) == MC_OK) {
        lb->stash[lb->stash_count++] = draw;
    }
    return draw;
}

static mc_host *choose_once(mc_lb *lb, const mc_lb_request *request, bool peeking) {
    const mc_hosts *hosts = lb->hosts;
    const mc_priority_load *loads = request->retry_priority == NULL || request->forced != NULL
                                        ? NULL
                                        : mc_retry_priority_loads(request->retry_priority, hosts);
    loads = loads == NULL ? hosts->loads : loads;
    uint64_t draw = draw_once(lb, peeking);
    bool degraded;
    size_t priority = mc_priority_choose(loads, hosts->priority_count, draw, &degraded);
    if (MC_UNLIKELY(request->forced != NULL) && request->forced->priority < hosts->priority_count) {
        priority = request->forced->priority;
        degraded = request->forced->degraded;
    }
    count_panic(lb, priority);
    mc_lb_priority *p = &lb->priorities[priority];
    size_t source = choose_source(lb, p, hosts->loads[priority].panic, degraded);
    if (source == SIZE_MAX) {
        return NULL;
    }
    return peeking ? mc_lb_priority_peek(lb, p, source, draw) : mc_lb_priority_pick(lb, p, source, draw);
}

static mc_host *pick_hashed(const mc_lb *lb, const mc_hash_table *table, const mc_lb_request *request, uint64_t hash,
                            uint32_t attempt) {
    uint32_t factor = lb->config.hash_balance_factor;
    return factor == 0 ? mc_hash_table_pick(table, hash, attempt)
                       : mc_hash_table_pick_bounded(table, hash, attempt, factor, request->cluster_active);
}

static bool refused(const mc_lb_request *request, const mc_host *host) {
    return request->refuse != NULL && request->refuse(request->ctx, host);
}

/* RH-8: one priority for all attempts, and a degraded share is served from the healthy hosts' table. */
static mc_host *choose_hashed(mc_lb *lb, const mc_lb_request *request) {
    const mc_hosts *hosts = lb->hosts;
    uint64_t hash = request->has_hash ? request->hash : mc_random_next(lb->random);
    bool degraded;
    size_t priority = mc_priority_choose(hosts->loads, hosts->priority_count, hash, &degraded);
    count_panic(lb, priority);
    for (uint32_t attempt = 0;; attempt++) {
        mc_host *host = pick_hashed(lb, hosts->tables[priority], request, hash, attempt);
        if (host == NULL || attempt >= request->attempts || !refused(request, host)) {
            return host;
        }
    }
}

mc_host *mc_lb_choose_plain(mc_lb *lb, const mc_lb_request *request) {
    lb->now_ms = request->now_ms;
    if (lb->children != NULL) {
        return mc_lb_subsets_choose(lb, request);
    }
    if (lb->policy == NULL) {
        return choose_hashed(lb, request);
    }
    for (uint32_t attempt = 0;; attempt++) {
        mc_host *host = choose_once(lb, request, false);
        if (host == NULL || attempt >= request->attempts || !refused(request, host)) {
            return host;
        }
    }
}

/* ED-13: NULL when the host is not there or reports a status that is not wanted. */
static mc_host *find_override(const mc_lb *lb, const mc_lb_request *request) {
    mc_host *host = lb->config.override_statuses == 0 ? NULL : mc_hosts_find(lb->hosts, request->override_host);
    if (host == NULL) {
        return NULL;
    }
    const mc_eds_status status = mc_health_reported(host->health_flags, (mc_eds_status)host->eds_status);
    return lb->config.override_statuses & 1u << status ? host : NULL;
}

mc_host *mc_lb_choose(mc_lb *lb, const mc_lb_request *request) {
    if (MC_UNLIKELY(request->override_host.n > 0)) {
        mc_host *host = find_override(lb, request);
        if (host != NULL || request->override_strict) {
            return host;
        }
    }
    return mc_lb_choose_plain(lb, request);
}

mc_host *mc_lb_peek(mc_lb *lb, const mc_lb_request *request) {
    lb->now_ms = request->now_ms;
    if (lb->policy == NULL || lb->children != NULL || lb->stash_count - lb->stash_at >= mc_hosts_healthy(lb->hosts)) {
        return NULL;
    }
    return choose_once(lb, request, true);
}
