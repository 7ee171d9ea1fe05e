/* Inside of mc_hosts, for the balancers. */
#ifndef MC_LB_HOSTS_H
#define MC_LB_HOSTS_H

#include "base/map.h"
#include "lb/hash_table.h"
#include "lb/host_set.h"
#include "lb/lb.h"
#include "lb/priority.h"

struct mc_hosts {
    _Atomic uint32_t refs;
    mc_lb_config config;
    mc_priority_options options;
    mc_host **all; /* order of configuration; the references are the sets' */
    size_t count;
    size_t priority_count;   /* at least 1; never less than before (priorities are emptied, not removed) */
    mc_host_set **sets;      /* by priority */
    mc_priority_load *loads; /* by priority */
    mc_hash_table **tables;  /* by priority; NULL unless the policy hashes */
    mc_map by_address;
};

/* Number of priorities, and their loads, borrowed. */
size_t mc_hosts_priorities(const mc_hosts *hosts, const mc_priority_load **loads);

#endif
