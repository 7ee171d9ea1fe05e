/* Schedulers made ahead: a private balancer without draws builds them, the balancer they are for takes them out. */
#include "base/alloc.h"
#include "base/hash.h"
#include "lb/balancer.h"

/* Below so many hosts a scheduler is built as fast as it is handed over. */
enum { WORTH_IT = 512 };

typedef struct planned {
    mc_lb_priority priority;
    bool starting; /* hosts were in slow start, so the weights are those of that */
} planned;

struct mc_lb_plan {
    mc_lb maker;
    planned *priorities;
    size_t count;
    mc_lb_plan **children; /* by subset; NULL where nothing is worth it, and without subsets */
    size_t child_count;
};

uint64_t mc_lb_child_seed(uint64_t seed, mc_slice path) { return mc_xxh64(path.p, path.n, seed); }

/* Whether hosts are looked at one by one whatever their weights are. */
static bool sees(const mc_lb_config *config, const mc_policy *policy) {
    return policy->see != NULL || (policy->weight != NULL && config->slow_start_window_ms > 0);
}

static bool can_plan(const mc_lb_config *config, const mc_policy *policy) {
    return policy != NULL && (policy->weight != NULL || sees(config, policy));
}

static bool worth_it(const mc_lb *maker, const mc_hosts *hosts, const mc_hosts *previous, size_t i) {
    const mc_host_set *set = hosts->sets[i];
    const bool even = set->even[0] && set->even[1] && set->even[2];
    return set->all.count >= WORTH_IT && (!even || sees(&maker->config, maker->policy)) &&
           (previous == NULL || i >= previous->priority_count || previous->sets[i] != set);
}

/* False: no memory. */
static bool plan_priorities(mc_lb_plan *plan, const mc_hosts *hosts, const mc_hosts *previous) {
    plan->priorities = mc_calloc(hosts->priority_count, sizeof *plan->priorities);
    if (plan->priorities == NULL) {
        return false;
    }
    plan->count = hosts->priority_count;
    for (size_t i = 0; i < plan->count; i++) {
        planned *p = &plan->priorities[i];
        p->priority.set = hosts->sets[i];
        if (worth_it(&plan->maker, hosts, previous, i) && mc_lb_priority_sources(&plan->maker, &p->priority) != MC_OK) {
            mc_lb_priority_fini(&p->priority); /* the balancer builds it itself */
        }
        p->starting = mc_slow_start_active(&plan->maker.slow_start, plan->maker.now_ms);
    }
    return true;
}

static bool plan_children(mc_lb_plan *plan, const mc_hosts *hosts, const mc_hosts *previous) {
    const mc_subsets *subsets = hosts->subsets, *old = previous == NULL ? NULL : previous->subsets;
    bool any = false;
    plan->children = mc_calloc(subsets->count, sizeof *plan->children);
    if (plan->children == NULL) {
        return false;
    }
    plan->child_count = subsets->count;
    for (size_t i = 0; i < subsets->count; i++) {
        mc_hosts *of = subsets->items[i].hosts;
        const mc_subset *before = old == NULL ? NULL : mc_subsets_find(old, subsets->items[i].path);
        const mc_hosts *of_before = before == NULL ? NULL : before->hosts;
        if (of != NULL && of != of_before) {
            const uint64_t seed = mc_lb_child_seed(plan->maker.seed, subsets->items[i].path);
            plan->children[i] = mc_lb_plan_new(&of->config, of, of_before, seed, plan->maker.now_ms);
            any |= plan->children[i] != NULL;
        }
    }
    return any;
}

static bool any_worth_it(const mc_lb *maker, const mc_hosts *hosts, const mc_hosts *previous) {
    for (size_t i = 0; i < hosts->priority_count; i++) {
        if (worth_it(maker, hosts, previous, i)) {
            return true;
        }
    }
    return false;
}

mc_lb_plan *mc_lb_plan_new(const mc_lb_config *config, mc_hosts *hosts, const mc_hosts *previous, uint64_t seed,
                           uint64_t now_ms) {
    mc_lb maker = {.config = *config, .policy = mc_policy_of(config->policy), .seed = seed, .now_ms = now_ms};
    if (!can_plan(config, maker.policy) || (hosts->subsets == NULL && !any_worth_it(&maker, hosts, previous))) {
        return NULL;
    }
    mc_lb_plan *plan = mc_calloc(1, sizeof *plan);
    if (plan == NULL) {
        return NULL;
    }
    mc_slow_start_init(&maker.slow_start, config, previous == NULL ? now_ms : 0);
    plan->maker = maker;
    if (!(hosts->subsets != NULL ? plan_children(plan, hosts, previous) : plan_priorities(plan, hosts, previous))) {
        mc_lb_plan_free(plan);
        return NULL;
    }
    return plan;
}

void mc_lb_plan_free(mc_lb_plan *plan) {
    if (plan != NULL) {
        for (size_t i = 0; i < plan->count; i++) {
            mc_lb_priority_fini(&plan->priorities[i].priority);
        }
        for (size_t i = 0; i < plan->child_count; i++) {
            mc_lb_plan_free(plan->children[i]);
        }
        mc_free(plan->priorities);
        mc_free(plan->children);
        mc_free(plan);
    }
}

mc_lb_plan *mc_lb_plan_child(mc_lb_plan *plan, size_t index) {
    return plan != NULL && index < plan->child_count ? plan->children[index] : NULL;
}

bool mc_lb_plan_take(mc_lb *lb, mc_lb_priority *priority) {
    mc_lb_plan *plan = lb->plan;
    for (size_t i = 0; plan != NULL && i < plan->count; i++) {
        planned *made = &plan->priorities[i];
        if (made->priority.set != priority->set || made->priority.sources == NULL) {
            continue;
        }
        mc_slow_start_join(&lb->slow_start, &plan->maker.slow_start);
        if (made->starting != mc_slow_start_active(&lb->slow_start, lb->now_ms)) {
            return false;
        }
        priority->sources = made->priority.sources;
        priority->source_count = made->priority.source_count;
        made->priority.sources = NULL;
        return true;
    }
    return false;
}
