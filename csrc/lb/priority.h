/* How load is shared between priorities (rules PR-1 to PR-11): pure functions of the membership's counts. */
#ifndef MC_LB_PRIORITY_H
#define MC_LB_PRIORITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One priority's hosts. With weighted priority health, availability is taken of the weights instead of the
 * numbers. */
typedef struct mc_priority_counts {
    uint64_t hosts, healthy, degraded, excluded;
    uint64_t hosts_weight, healthy_weight, degraded_weight, excluded_weight;
    uint32_t overprovisioning; /* of this priority alone; 0: that of the options */
    bool weighted;             /* as weighted_health, for this priority */
} mc_priority_counts;

typedef struct mc_priority_options {
    uint32_t overprovisioning; /* percent */
    uint32_t panic_threshold;  /* percent; PR-6 */
    bool weighted_health;      /* policy.weighted_priority_health */
} mc_priority_options;

/* One priority's part; the sum over all priorities of healthy_load + degraded_load is 100. */
typedef struct mc_priority_load {
    uint32_t health, degraded;            /* availability, 0..100 (PR-1) */
    uint32_t healthy_load, degraded_load; /* percent */
    bool panic;
} mc_priority_load;

/* `loads` holds the outcome before the change (zeros at first) and receives the new one: what PR-2 and PR-7
 * leave unchanged stays. */
void mc_priority_compute(const mc_priority_counts *counts, size_t count, const mc_priority_options *options,
                         mc_priority_load *loads);

/* PR-1 of one priority: sets health and degraded. */
void mc_priority_availability(const mc_priority_counts *counts, const mc_priority_options *options,
                              mc_priority_load *load);
/* PR-8: whether a priority panics, were it evaluated. */
bool mc_priority_below(const mc_priority_counts *counts, uint32_t threshold);

/* PR-10: the priority of a hash, and whether it was a degraded share that was hit; count > 0. */
size_t mc_priority_choose(const mc_priority_load *loads, size_t count, uint64_t hash, bool *degraded);

#endif
