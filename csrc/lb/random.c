/* Random, rule ED-10: the draw that chose the priority chooses the host; weights do not count. */
#include "lb/balancer.h"

static mc_host *pick(mc_lb *lb, mc_lb_priority *priority, size_t source, uint64_t draw) {
    mc_host_list list = priority->sources[source].list;
    return list.items[draw % list.count];
}

const mc_policy mc_policy_random = {.pick = pick, .peek = pick};
