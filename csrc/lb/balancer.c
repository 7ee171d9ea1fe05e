#include "lb/balancer.h"

#include "base/alloc.h"

/* What a scheduler's weight function is given. */
typedef struct weighing {
    const mc_lb *lb;
    const mc_host_list *list;
} weighing;

static double weigh(void *ctx, uint32_t item) {
    const weighing *w = ctx;
    const mc_host *host = w->list->items[item];
    return mc_slow_start_weight(&w->lb->slow_start, host, w->lb->policy->weight(w->lb, host), w->lb->now_ms);
}

static bool weights_equal(mc_host_list list) {
    for (size_t i = 1; i < list.count; i++) {
        if (list.items[i]->weight != list.items[0]->weight) {
            return false;
        }
    }
    return true;
}

/* `even`: all weights are known to be the same. */
static mc_status source_init(mc_lb *lb, mc_source *source, mc_host_list list, bool even) {
    *source = (mc_source){.list = list};
    mc_edf_init(&source->edf);
    if (lb->policy->see != NULL) {
        lb->policy->see(lb, list);
    }
    if (lb->policy->weight == NULL) {
        return MC_OK;
    }
    mc_slow_start_see(&lb->slow_start, list, lb->now_ms);
    if (list.count <= 1 || ((even || weights_equal(list)) && !mc_slow_start_active(&lb->slow_start, lb->now_ms))) {
        return MC_OK;
    }
    weighing w = {lb, &source->list};
    source->scheduled = true;
    return mc_edf_seed(&source->edf, list.count, weigh, &w, lb->seed);
}

mc_status mc_lb_priority_sources(mc_lb *lb, mc_lb_priority *p) {
    const mc_host_set *set = p->set;
    const mc_host_list lists[] = {set->all, set->healthy, set->degraded};
    const bool localities = lb->config.locality_weighted || lb->config.zone.possible;
    p->source_count = MC_SOURCE_LOCALITY + (localities ? 2 * set->locality_count : 0);
    p->sources = mc_calloc(p->source_count, sizeof *p->sources);
    if (p->sources == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < p->source_count; i++) {
        const mc_locality *locality = i < MC_SOURCE_LOCALITY ? NULL : &set->localities[(i - MC_SOURCE_LOCALITY) / 2];
        bool degraded = (i - MC_SOURCE_LOCALITY) % 2 == 1;
        mc_status status = source_init(lb, &p->sources[i],
                                       locality == NULL ? lists[i]
                                       : degraded       ? locality->degraded
                                                        : locality->healthy,
                                       locality == NULL && set->even[i]);
        if (status != MC_OK) {
            return status;
        }
    }
    return MC_OK;
}

static mc_status init_cursors(mc_lb *lb, mc_lb_priority *p, const mc_lb_priority *old) {
    size_t kept = old == NULL ? 0 : old->cursor_count;
    p->cursor_count = p->source_count > kept ? p->source_count : kept;
    p->cursors = mc_malloc(p->cursor_count * sizeof *p->cursors);
    if (p->cursors == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < p->cursor_count; i++) {
        p->cursors[i] = i < kept ? old->cursors[i] : lb->seed;
    }
    return MC_OK;
}

mc_status mc_lb_priority_init(mc_lb *lb, mc_lb_priority *p, mc_host_set *set, uint32_t overprovisioning) {
    *p = (mc_lb_priority){.set = set};
    if (!lb->config.locality_weighted) {
        return MC_OK;
    }
    uint64_t seed = mc_random_next(lb->random);
    mc_status status = mc_locality_choice_init(&p->localities[0], set, false, overprovisioning, seed);
    return status == MC_OK ? mc_locality_choice_init(&p->localities[1], set, true, overprovisioning, seed) : status;
}

mc_status mc_lb_priority_schedule(mc_lb *lb, mc_lb_priority *p, const mc_lb_priority *old) {
    mc_status status = mc_lb_plan_take(lb, p) ? MC_OK : mc_lb_priority_sources(lb, p);
    return status == MC_OK ? init_cursors(lb, p, old) : status;
}

void mc_lb_priority_fini(mc_lb_priority *p) {
    for (size_t i = 0; p->sources != NULL && i < p->source_count; i++) {
        mc_edf_fini(&p->sources[i].edf);
    }
    mc_locality_choice_fini(&p->localities[0]);
    mc_locality_choice_fini(&p->localities[1]);
    mc_free(p->sources);
    mc_free(p->cursors);
    *p = (mc_lb_priority){0};
}

mc_host *mc_lb_priority_pick(mc_lb *lb, mc_lb_priority *p, size_t index, uint64_t draw) {
    mc_source *source = &p->sources[index];
    if (source->list.count == 0) {
        return NULL;
    }
    if (!source->scheduled) {
        return lb->policy->pick(lb, p, index, draw);
    }
    weighing w = {lb, &source->list};
    uint32_t item = 0;
    return mc_edf_pick(&source->edf, weigh, &w, &item) ? source->list.items[item] : NULL;
}

mc_host *mc_lb_priority_peek(mc_lb *lb, mc_lb_priority *p, size_t index, uint64_t draw) {
    mc_source *source = &p->sources[index];
    if (source->list.count == 0) {
        return NULL;
    }
    if (!source->scheduled) {
        return lb->policy->peek == NULL ? NULL : lb->policy->peek(lb, p, index, draw);
    }
    weighing w = {lb, &source->list};
    uint32_t item = 0;
    return mc_edf_peek(&source->edf, weigh, &w, &item) == MC_OK ? source->list.items[item] : NULL;
}
