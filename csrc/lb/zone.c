#include "lb/zone.h"

#include "base/alloc.h"

/* Parts of 10000. */
typedef struct percentages {
    uint64_t local, upstream;
} percentages;

/* ZA-3, in the order in which Envoy looks. */
static mc_zone_reason why_off(const mc_lb_config *config, const mc_host_set *upstream, const mc_host_set *local) {
    if (upstream->locality_count < 2 || (!config->zone.force_local && local->locality_count < 2)) {
        return MC_ZONE_NO_LOCALITIES;
    }
    if (!local->has_local || local->localities[0].all.count == 0) {
        return MC_ZONE_LOCAL_NOT_OK;
    }
    return upstream->healthy.count < config->zone.min_cluster_size ? MC_ZONE_TOO_SMALL : MC_ZONE_FINE;
}

/* The basis of ZA-4. */
static uint64_t mass(mc_host_list list, bool by_weight) {
    uint64_t sum = 0;
    if (!by_weight) {
        return list.count;
    }
    for (size_t i = 0; i < list.count; i++) {
        sum += list.items[i]->weight;
    }
    return sum;
}

static bool same_locality(const mc_host *a, const mc_host *b) {
    return mc_slice_eq(a->region, b->region) && mc_slice_eq(a->zone, b->zone) && mc_slice_eq(a->sub_zone, b->sub_zone);
}

/* Of the set's healthy hosts, those in the locality of `like`. */
static uint64_t mass_like(const mc_host_set *set, const mc_host *like, bool by_weight) {
    for (size_t i = 0; i < set->locality_count; i++) {
        const mc_host_list healthy = set->localities[i].healthy;
        if (healthy.count > 0 && same_locality(healthy.items[0], like)) {
            return mass(healthy, by_weight);
        }
    }
    return 0;
}

static percentages percentages_of(const mc_host_set *upstream, const mc_host_set *local, size_t i, bool by_weight) {
    const mc_host_list healthy = upstream->localities[i].healthy;
    if (healthy.count == 0) {
        return (percentages){0, 0};
    }
    const uint64_t all_upstream = mass(upstream->healthy, by_weight), all_local = mass(local->healthy, by_weight);
    return (percentages){
        all_local == 0 ? 0 : 10000 * mass_like(local, healthy.items[0], by_weight) / all_local,
        all_upstream == 0 ? 0 : 10000 * mass(healthy, by_weight) / all_upstream,
    };
}

/* ZA-5. */
static bool direct(const mc_lb_config *config, const mc_host_set *upstream, percentages ours) {
    if (!upstream->has_local) {
        return false;
    }
    return (ours.upstream > 0 && ours.upstream >= ours.local) ||
           (config->zone.force_local && upstream->localities[0].healthy.count >= config->zone.force_local_minimum);
}

/* ZA-6. */
static mc_status compute(mc_zone *zone, const mc_lb_config *config, const mc_host_set *upstream,
                         const mc_host_set *local) {
    const bool by_weight = config->zone.by_weight;
    const percentages ours = percentages_of(upstream, local, 0, by_weight);
    uint64_t sum = 0;
    if (direct(config, upstream, ours)) {
        zone->state = MC_ZONE_DIRECT;
        return MC_OK;
    }
    zone->residual = mc_malloc(upstream->locality_count * sizeof *zone->residual);
    if (zone->residual == NULL) {
        return MC_ENOMEM;
    }
    zone->state = MC_ZONE_RESIDUAL;
    zone->count = upstream->locality_count;
    zone->local_share = upstream->has_local && ours.local > 0 ? ours.upstream * 10000 / ours.local : 0;
    for (size_t i = 0; i < zone->count; i++) {
        const percentages p = percentages_of(upstream, local, i, by_weight);
        sum += (i == 0 && upstream->has_local) || p.upstream <= p.local ? 0 : p.upstream - p.local;
        zone->residual[i] = sum;
    }
    return MC_OK;
}

mc_status mc_zone_init(mc_zone *zone, const mc_lb_config *config, const mc_host_set *upstream, const mc_hosts *local) {
    const mc_host_set *locals = local->sets[0];
    *zone = (mc_zone){.reason = why_off(config, upstream, locals)};
    zone->local_panic = mc_priority_below(&locals->counts, config->panic_threshold);
    return zone->reason == MC_ZONE_FINE ? compute(zone, config, upstream, locals) : MC_OK;
}

void mc_zone_fini(mc_zone *zone) {
    mc_free(zone->residual);
    *zone = (mc_zone){0};
}
