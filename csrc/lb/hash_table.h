/* The consistent-hash table of one priority: ring or Maglev over the hosts that rule RH-3 selects, with
 * bounded load (RH-9). Immutable, reference-counted, shared by all workers and by memberships in which it
 * would come out the same. */
#ifndef MC_LB_HASH_TABLE_H
#define MC_LB_HASH_TABLE_H

#include "lb/host_set.h"
#include "lb/maglev.h"
#include "lb/ring_hash.h"

typedef struct mc_hash_table {
    _Atomic uint32_t refs;
    bool panic;       /* all hosts of the set, not just the healthy */
    mc_host_set *set; /* referenced: keeps `hosts` alive */
    mc_host **hosts;  /* in the order of RH-3 */
    double *shares;   /* share of hosts[i] */
    size_t count;
    mc_ring *ring; /* one of the two */
    mc_maglev *maglev;
} mc_hash_table;

MC_MUST_CHECK mc_status mc_hash_table_new(mc_host_set *set, bool panic, const mc_lb_config *config,
                                          mc_hash_table **out);
mc_hash_table *mc_hash_table_ref(mc_hash_table *table);
void mc_hash_table_unref(mc_hash_table *table);

/* NULL: the table is empty. */
mc_host *mc_hash_table_pick(const mc_hash_table *table, uint64_t hash, uint32_t attempt);

/* The same within bounds: a host that has more than its part (balance_factor percent of the average) of the
 * cluster's `active` requests is passed over in an order that only the hash decides. */
mc_host *mc_hash_table_pick_bounded(const mc_hash_table *table, uint64_t hash, uint32_t attempt,
                                    uint32_t balance_factor, uint32_t active);

#endif
