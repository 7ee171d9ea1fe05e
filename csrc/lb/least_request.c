/* Least request: of some hosts drawn, or of all, the one with the fewest active requests (rules ED-7, ED-8)
 * while all weights are equal; otherwise the scheduler, with weights that shrink as requests are active
 * (ED-9). */
#include <math.h>

#include "lb/balancer.h"

static uint32_t active(const mc_host *host) { return atomic_load_explicit(&host->rq_active, memory_order_relaxed); }

static mc_host *pick_of_choices(mc_lb *lb, mc_host_list list) {
    mc_host *best = list.items[mc_random_next(lb->random) % list.count];
    for (uint32_t i = 1; i < lb->config.choice_count; i++) {
        mc_host *sample = list.items[mc_random_next(lb->random) % list.count];
        best = active(sample) < active(best) ? sample : best;
    }
    return best;
}

static mc_host *pick_of_all(mc_lb *lb, mc_host_list list) {
    mc_host *best = list.items[0];
    uint64_t ties = 1;
    for (size_t i = 1; i < list.count; i++) {
        uint32_t mine = active(list.items[i]), least = active(best);
        if (mine < least) {
            best = list.items[i];
            ties = 1;
        } else if (mine == least && mc_random_next(lb->random) % ++ties == 0) {
            best = list.items[i];
        }
    }
    return best;
}

static mc_host *pick(mc_lb *lb, mc_lb_priority *priority, size_t source, uint64_t draw) {
    mc_host_list list = priority->sources[source].list;
    return lb->config.full_scan ? pick_of_all(lb, list) : pick_of_choices(lb, list);
}

static double weight(const mc_lb *lb, const mc_host *host) {
    double bias = lb->config.active_request_bias, plain = host->weight;
    if (bias == 0.0) {
        return plain;
    }
    double load = (double)active(host) + 1;
    return plain / (bias == 1.0 ? load : pow(load, bias));
}

const mc_policy mc_policy_least_request = {.pick = pick, .weight = weight};
