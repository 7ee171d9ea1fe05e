/* Schedulers made ahead: a private balancer without draws builds them, the balancer they are for takes them out. */
#include "base/alloc.h"
#include "lb/balancer.h"

/* Below so many hosts a scheduler is built as fast as it is handed over. */
enum { WORTH_IT = 512 };

struct mc_lb_plan {
    mc_lb maker;
    mc_lb_priority *priorities;
    size_t count;
};

/* Schedulers that neither the time nor the balancer's own history decides. */
static bool can_plan(const mc_lb_config *config, const mc_hosts *hosts, const mc_policy *policy) {
    return hosts->subsets == NULL && policy != NULL && policy->weight != NULL && config->slow_start_window_ms == 0;
}

static bool worth_it(const mc_hosts *hosts, const mc_hosts *previous, size_t i) {
    const mc_host_set *set = hosts->sets[i];
    return set->all.count >= WORTH_IT && !(set->even[0] && set->even[1] && set->even[2]) &&
           (previous == NULL || i >= previous->priority_count || previous->sets[i] != set);
}

mc_lb_plan *mc_lb_plan_new(const mc_lb_config *config, mc_hosts *hosts, const mc_hosts *previous, uint64_t seed,
                           uint64_t now_ms) {
    const mc_policy *policy = mc_policy_of(config->policy);
    bool any = false;
    for (size_t i = 0; can_plan(config, hosts, policy) && i < hosts->priority_count; i++) {
        any |= worth_it(hosts, previous, i);
    }
    mc_lb_plan *plan = any ? mc_calloc(1, sizeof *plan) : NULL;
    if (plan == NULL) {
        return NULL;
    }
    plan->maker = (mc_lb){.config = *config, .policy = policy, .seed = seed, .now_ms = now_ms};
    plan->priorities = mc_calloc(hosts->priority_count, sizeof *plan->priorities);
    plan->count = plan->priorities == NULL ? 0 : hosts->priority_count;
    for (size_t i = 0; i < plan->count; i++) {
        mc_lb_priority *p = &plan->priorities[i];
        p->set = hosts->sets[i];
        if (worth_it(hosts, previous, i) && mc_lb_priority_sources(&plan->maker, p) != MC_OK) {
            mc_lb_priority_fini(p); /* the balancer builds it itself */
        }
    }
    return plan;
}

void mc_lb_plan_free(mc_lb_plan *plan) {
    if (plan != NULL) {
        for (size_t i = 0; i < plan->count; i++) {
            mc_lb_priority_fini(&plan->priorities[i]);
        }
        mc_free(plan->priorities);
        mc_free(plan);
    }
}

bool mc_lb_plan_take(mc_lb_plan *plan, mc_lb_priority *priority) {
    for (size_t i = 0; plan != NULL && i < plan->count; i++) {
        mc_lb_priority *made = &plan->priorities[i];
        if (made->set == priority->set && made->sources != NULL) {
            priority->sources = made->sources;
            priority->source_count = made->source_count;
            made->sources = NULL;
            return true;
        }
    }
    return false;
}
