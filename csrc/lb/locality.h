/* Locality-weighted choice (rule LO-2): a scheduler over the localities of a priority, one for healthy and
 * one for degraded hosts. Single-threaded. */
#ifndef MC_LB_LOCALITY_H
#define MC_LB_LOCALITY_H

#include "lb/edf.h"
#include "lb/host_set.h"

typedef struct mc_locality_choice {
    mc_edf edf;
    size_t count;      /* localities scheduled; 0: no choice is made */
    uint32_t *indexes; /* into the set's localities */
    double *weights;
} mc_locality_choice;

/* Of the localities' healthy, or degraded, hosts. On an error nothing needs fini. */
MC_MUST_CHECK mc_status mc_locality_choice_init(mc_locality_choice *choice, const mc_host_set *set, bool degraded,
                                                uint32_t overprovisioning, uint64_t seed);
void mc_locality_choice_fini(mc_locality_choice *choice);

/* Index of a locality; false when there is none to choose. */
bool mc_locality_choose(mc_locality_choice *choice, uint32_t *index);

/* Weight of a locality that has lost hosts, LO-2. */
double mc_locality_effective_weight(const mc_locality *locality, bool degraded, uint32_t overprovisioning);

#endif
