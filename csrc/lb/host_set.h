/* The hosts of one priority, sorted by health and locality. Immutable, reference-counted, shared between
 * memberships as long as nothing in it changes. It owns references of its hosts; all lists keep the order of
 * configuration. */
#ifndef MC_LB_HOST_SET_H
#define MC_LB_HOST_SET_H

#include "lb/lb.h"
#include "lb/priority.h"

typedef struct mc_host_list {
    mc_host **items;
    size_t count;
} mc_host_list;

/* Hosts of one (region, zone, sub_zone). */
typedef struct mc_locality {
    const mc_locality_name *name; /* of one of the hosts of the locality */
    mc_host_list all, healthy, degraded;
    size_t excluded;
    uint32_t weight; /* 0: none */
} mc_locality;

typedef struct mc_host_set {
    _Atomic uint32_t refs;
    mc_host_list all, healthy, degraded;
    mc_priority_counts counts;
    mc_locality *localities; /* C-6: the local one first, then ascending */
    size_t locality_count;
    bool has_local; /* localities[0] is the proxy's own */
    bool weighted;  /* localities have weights; false: of a subset that leaves them aside (SB-10) */
    /* Whether all weights of a list are the same, by kind: all, healthy, degraded (ED-4). */
    bool even[3];
    /* Of all.items[i] when the lists were made: index of its locality, health and exclusion, and its revision. */
    uint32_t *locality_of;
    uint8_t *marks;
    uint32_t *revisions;
} mc_host_set;

/* `local` is the proxy's own locality (NULL: unknown). */
MC_MUST_CHECK mc_status mc_host_set_new(mc_host *const *hosts, size_t count, const mc_locality_name *local,
                                        mc_host_set **out);
/* What becomes of the locality weights of a part (SB-10). */
typedef enum mc_part_weights { MC_PART_WEIGHTS_NONE, MC_PART_WEIGHTS_SAME, MC_PART_WEIGHTS_SCALED } mc_part_weights;
/* Some hosts of a set: those at the given indexes into whole->all, ascending. Localities keep their places, with empty lists if
 * need be (C-6). */
MC_MUST_CHECK mc_status mc_host_set_part(const mc_host_set *whole, const uint32_t *indexes, size_t count,
                                         mc_part_weights weights, mc_host_set **out);
mc_host_set *mc_host_set_ref(mc_host_set *set);
void mc_host_set_unref(mc_host_set *set);

/* Whether the set has just these hosts in this order, and none of them has changed since. */
bool mc_host_set_current(const mc_host_set *set, mc_host *const *hosts, size_t count);
/* Whether two sets are alike in all that is decided by. */
bool mc_host_set_same(const mc_host_set *a, const mc_host_set *b);

#endif
