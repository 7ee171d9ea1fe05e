/* Slow start (rule ED-11): a host that has just become healthy gets a growing part of its weight. One state a
 * balancer; single-threaded. */
#ifndef MC_LB_SLOW_START_H
#define MC_LB_SLOW_START_H

#include "lb/host_set.h"

typedef struct mc_slow_start {
    uint64_t window_ms; /* 0: off */
    double aggression;  /* above 0 */
    double min_percent;
    uint64_t latest_ms; /* newest start of any host seen */
} mc_slow_start;

void mc_slow_start_init(mc_slow_start *slow, const mc_lb_config *config, uint64_t now_ms);

/* Stamps healthy hosts that have no start yet, and moves `latest_ms`: to be called when a list is scheduled
 * anew. */
void mc_slow_start_see(mc_slow_start *slow, mc_host_list list, uint64_t now_ms);

/* False: no host can be in its window, and all weights are as configured. */
static inline bool mc_slow_start_active(const mc_slow_start *slow, uint64_t now_ms) {
    return slow->window_ms > 0 && now_ms - slow->latest_ms <= slow->window_ms;
}

/* What another one saw of the same hosts. */
static inline void mc_slow_start_join(mc_slow_start *slow, const mc_slow_start *other) {
    slow->latest_ms = other->latest_ms > slow->latest_ms ? other->latest_ms : slow->latest_ms;
}

/* The weight as it is now. */
double mc_slow_start_weight(const mc_slow_start *slow, const mc_host *host, double weight, uint64_t now_ms);

#endif
