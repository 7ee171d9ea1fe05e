/* The subsets of a membership (rules SB-2, SB-9, SB-10): a part of its hosts for each (key, value)... path that they have, and
 * for the fallbacks. Immutable, belongs to its mc_hosts; made by the control side.
 *
 * A subset in which nothing changed is the same mc_hosts in two memberships, so that workers keep its balancer. */
#ifndef MC_LB_SUBSETS_H
#define MC_LB_SUBSETS_H

#include "base/map.h"
#include "lb/lb.h"
#include "lb/subset_config.h"

typedef struct mc_subset {
    mc_slice path;   /* of the arena */
    mc_hosts *hosts; /* referenced; NULL: a single host */
    mc_host *host;   /* single_host_per_subset: the host, kept by the whole membership */
} mc_subset;

typedef struct mc_subsets {
    mc_arena arena;
    mc_subset *items; /* in order of creation: fallbacks first */
    size_t count;
    size_t fixed;            /* so many fallbacks */
    mc_map by_path;          /* path -> its mc_subset */
    size_t created, removed; /* against the membership before; fallbacks do not count */
    size_t duplicates;       /* SB-9 */
} mc_subsets;

/* Paths of the fallbacks; no host's path is like them. */
#define MC_SUBSET_ANY     MC_SLICE("*")
#define MC_SUBSET_DEFAULT MC_SLICE("=")

/* Of a membership whose sets and loads are known. `previous` may be NULL. */
MC_MUST_CHECK mc_status mc_subsets_new(const mc_hosts *hosts, const mc_hosts *previous, mc_subsets **out);
void mc_subsets_free(mc_subsets *subsets);

/* NULL: there is none. */
static inline const mc_subset *mc_subsets_find(const mc_subsets *subsets, mc_slice path) {
    return (const mc_subset *)mc_map_get(&subsets->by_path, path);
}

#endif
