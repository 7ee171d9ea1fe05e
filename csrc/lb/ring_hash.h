/* Ring hash (ketama), rules RH-1 to RH-7: each host owns points on a circle of 64-bit hashes in proportion to
 * its share; a request goes to the owner of the first point at or after its hash. Immutable once built; safe
 * to share between threads. */
#ifndef MC_LB_RING_HASH_H
#define MC_LB_RING_HASH_H

#include "lb/weights.h"

typedef struct mc_ring {
    size_t count;          /* points; 0: no hosts */
    uint64_t *hashes;      /* ascending */
    uint32_t *hosts;       /* owner of hashes[i], index into the hosts given */
    uint32_t *starts;      /* by the upper bits of a hash: the first point that has them, or more */
    unsigned shift;        /* 64 minus the number of those bits */
    uint64_t size;         /* RH-5: points aimed at, ceil(scale) */
    uint64_t min_per_host; /* RH-5 */
    uint64_t max_per_host; /* RH-5 */
} mc_ring;

typedef struct mc_ring_options {
    uint64_t min_size, max_size; /* min <= max, RH-1 */
    bool murmur;                 /* MURMUR_HASH_2 instead of XX_HASH */
} mc_ring_options;

MC_MUST_CHECK mc_status mc_ring_build(const mc_hash_host *hosts, size_t count, const mc_ring_options *options,
                                      mc_ring **out);
void mc_ring_free(mc_ring *ring);

/* Index of the host, or SIZE_MAX when the ring is empty. `attempt` counts earlier refused picks (RH-6). */
size_t mc_ring_pick(const mc_ring *ring, uint64_t hash, uint32_t attempt);

#endif
