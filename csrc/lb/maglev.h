/* Maglev, rules MG-1 to MG-6: a prime-sized table of hosts, filled in turns from each host's own permutation;
 * a request takes the slot of its hash. Immutable once built; safe to share between threads. */
#ifndef MC_LB_MAGLEV_H
#define MC_LB_MAGLEV_H

#include "lb/weights.h"

typedef struct mc_maglev {
    uint64_t size;         /* slots; prime */
    size_t count;          /* hosts; 0: every pick fails */
    uint32_t *slots;       /* index into the hosts given, or NULL when `narrow` is used */
    uint16_t *narrow;      /* the compact form (MG-5), when the indexes fit */
    uint64_t min_per_host; /* MG-4 */
    uint64_t max_per_host; /* MG-4 */
} mc_maglev;

/* MG-1: whether `size` can be a table's. */
bool mc_maglev_size_ok(uint64_t size);

MC_MUST_CHECK mc_status mc_maglev_build(const mc_hash_host *hosts, size_t count, uint64_t size, mc_maglev **out);
void mc_maglev_free(mc_maglev *maglev);

/* Host of a slot below `size`; count > 0. */
static inline uint32_t mc_maglev_at(const mc_maglev *maglev, uint64_t slot) {
    return maglev->narrow != NULL ? maglev->narrow[slot] : maglev->slots[slot];
}

/* Index of the host, or SIZE_MAX when there is none. `attempt` counts earlier refused picks (MG-4). */
static inline size_t mc_maglev_pick(const mc_maglev *maglev, uint64_t hash, uint32_t attempt) {
    if (maglev->count == 0) {
        return SIZE_MAX;
    }
    return mc_maglev_at(maglev, (attempt == 0 ? hash : hash ^ (0 - (uint64_t)attempt)) % maglev->size);
}

#endif
