/* Round robin, rule ED-6: a cursor per source while all weights are equal, the weighted scheduler otherwise. */
#include "lb/balancer.h"

static mc_host *pick(mc_lb *lb, mc_lb_priority *priority, size_t source, uint64_t draw) {
    mc_host_list list = priority->sources[source].list;
    lb->ahead -= lb->ahead > 0;
    return list.items[priority->cursors[source]++ % list.count];
}

static mc_host *peek(mc_lb *lb, mc_lb_priority *priority, size_t source, uint64_t draw) {
    mc_host_list list = priority->sources[source].list;
    return list.items[(priority->cursors[source] + lb->ahead++) % list.count];
}

static double weight(const mc_lb *lb, const mc_host *host) { return host->weight; }

const mc_policy mc_policy_round_robin = {.pick = pick, .weight = weight, .peek = peek};
