/* Earliest-deadline-first scheduler (rules ED-1 to ED-3): over time each item is picked in proportion to its
 * weight.
 *
 * Items are small integers (an index into a list of the owner), so nothing dies while scheduled; the weight
 * of a picked item is asked for at the moment it is put back. Invariant: `heap` is a binary min-heap by
 * (deadline, sequence), a total order, so that the picks do not depend on the heap's layout. Single-threaded. */
#ifndef MC_LB_EDF_H
#define MC_LB_EDF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct mc_edf_entry {
    double deadline;
    uint64_t sequence;
    uint32_t item;
} mc_edf_entry;

typedef struct mc_edf {
    double now;
    uint64_t sequence; /* of the next entry put in */
    mc_edf_entry *heap;
    size_t count, cap;
    uint32_t *peeked; /* FIFO: peeked[peeked_at .. peeked_count) */
    size_t peeked_at, peeked_count, peeked_cap;
} mc_edf;

/* The item's weight now, > 0. */
typedef double (*mc_edf_weight)(void *ctx, uint32_t item);

void mc_edf_init(mc_edf *edf);
void mc_edf_fini(mc_edf *edf);

/* Puts an item in with weight > 0. */
MC_MUST_CHECK mc_status mc_edf_add(mc_edf *edf, double weight, uint32_t item);

/* Items 0..count-1 of an empty scheduler, as if a number of picks derived from the seed had been made (ED-3). */
MC_MUST_CHECK mc_status mc_edf_seed(mc_edf *edf, size_t count, mc_edf_weight weight, void *ctx, uint64_t seed);

/* The next item, already put back with its weight of now; false when empty. Peeked items come first,
 * unweighed. */
bool mc_edf_pick(mc_edf *edf, mc_edf_weight weight, void *ctx, uint32_t *item);

/* The item of the next pick but as many as are peeked already (ED-2); MC_ENOTFOUND when empty. */
MC_MUST_CHECK mc_status mc_edf_peek(mc_edf *edf, mc_edf_weight weight, void *ctx, uint32_t *item);

/* True when the heap invariant holds; for tests. */
bool mc_edf_check(const mc_edf *edf);

#endif
