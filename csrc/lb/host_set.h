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

/* Hosts of one (region, zone, sub_zone); lists may be empty but for `all`. */
typedef struct mc_locality {
    mc_host_list all, healthy, degraded;
    size_t excluded;
    uint32_t weight; /* 0: none */
} mc_locality;

typedef struct mc_host_set {
    _Atomic uint32_t refs;
    mc_arena arena;
    mc_host_list all, healthy, degraded;
    mc_priority_counts counts;
    mc_locality *localities; /* ascending (C-6) */
    size_t locality_count;
    /* Of all.items[i] when the lists were made: health and exclusion, and its revision. */
    uint8_t *marks;
    uint32_t *revisions;
} mc_host_set;

MC_MUST_CHECK mc_status mc_host_set_new(mc_host *const *hosts, size_t count, mc_host_set **out);
mc_host_set *mc_host_set_ref(mc_host_set *set);
void mc_host_set_unref(mc_host_set *set);

/* Whether the set has just these hosts in this order, and none of them has changed since. */
bool mc_host_set_current(const mc_host_set *set, mc_host *const *hosts, size_t count);

#endif
