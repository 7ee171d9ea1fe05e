/* From configured weights to the shares of rule RH-3, common to ring hash, Maglev and bounded load. Pure
 * functions. */
#ifndef MC_LB_WEIGHTS_H
#define MC_LB_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* What a hash table is built of: the key that is hashed, and the host's share of the whole, in (0, 1]. */
typedef struct mc_hash_host {
    mc_slice key;
    double share;
} mc_hash_host;

/* share = weight * locality_share / (sum of weights), in that order of operations. */
static inline double mc_share(uint32_t weight, double locality_share, uint64_t sum) {
    return (double)weight * locality_share / (double)sum;
}

static inline double mc_share_min(const mc_hash_host *hosts, size_t count) {
    double min = 1.0;
    for (size_t i = 0; i < count; i++) {
        min = hosts[i].share < min ? hosts[i].share : min;
    }
    return min;
}

static inline double mc_share_max(const mc_hash_host *hosts, size_t count) {
    double max = 0.0;
    for (size_t i = 0; i < count; i++) {
        max = hosts[i].share > max ? hosts[i].share : max;
    }
    return max;
}

#endif
