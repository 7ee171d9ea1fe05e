/* Inside of mc_hosts (lb.h), for the balancers: a membership as the control side makes it and workers read it. It never changes once
 * it is published; what belongs together with hosts, sets and tables is referenced. */
#ifndef MC_LB_HOSTS_H
#define MC_LB_HOSTS_H

#include "base/map.h"
#include "lb/hash_table.h"
#include "lb/host_set.h"
#include "lb/lb.h"
#include "lb/metadata.h"
#include "lb/priority.h"
#include "lb/subsets.h"

struct mc_hosts {
    _Atomic uint32_t refs;
    mc_lb_config config;
    mc_priority_options options;
    double drop;   /* mc_hosts_drop */
    mc_host **all; /* order of configuration; the references are the sets' */
    size_t count;
    size_t priority_count;   /* at least 1; never less than before (priorities are emptied, not removed) */
    mc_host_set **sets;      /* by priority */
    mc_priority_load *loads; /* by priority */
    mc_hash_table **tables;  /* by priority; NULL unless the policy hashes */
    mc_map by_address;
    mc_address_list *logical; /* of the one host of a logical cluster; NULL: each host has its own */
    mc_subsets *subsets;      /* NULL unless the cluster has subsets */
};

/* A host of a membership: index into the `all` list of a priority's set. */
typedef struct mc_host_index {
    uint32_t priority, index;
} mc_host_index;

/* Some hosts of a membership, ascending, as a membership of their own, without names and without subsets; `previous` itself when
 * nothing differs. */
MC_MUST_CHECK mc_status mc_hosts_part(const mc_hosts *whole, const mc_host_index *members, size_t count,
                                      mc_part_weights weights, mc_hosts *previous, mc_hosts **out);

/* `hosts`, but with the lists that `before` has of the priorities that `due` leaves out (CL-12), as far as they hold the same hosts;
 * `hosts` itself when nothing differs. */
MC_MUST_CHECK mc_status mc_hosts_hold_back(mc_hosts *hosts, const mc_hosts *before, const bool *due, mc_hosts **out);

#endif
