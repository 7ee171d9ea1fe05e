/* Zone-aware routing (rules ZA-*): how much of priority 0 stays in our own locality, and where the rest goes, from the healthy
 * hosts of the upstream cluster and of the cluster that the proxy itself belongs to. One state a balancer. */
#ifndef MC_LB_ZONE_H
#define MC_LB_ZONE_H

#include "lb/hosts.h"

typedef enum mc_zone_state { MC_ZONE_OFF, MC_ZONE_DIRECT, MC_ZONE_RESIDUAL } mc_zone_state;
/* Why it is off, for the counters of ZA-3. */
typedef enum mc_zone_reason {
    MC_ZONE_FINE,
    MC_ZONE_NO_LOCALITIES,
    MC_ZONE_LOCAL_NOT_OK,
    MC_ZONE_TOO_SMALL
} mc_zone_reason;

typedef struct mc_zone {
    mc_zone_state state;
    mc_zone_reason reason;
    bool local_panic;     /* ZA-7: the local cluster panics */
    uint64_t local_share; /* of 10000, ZA-6 */
    uint64_t *residual;   /* cumulative capacity by locality */
    size_t count;
} mc_zone;

/* `local` is the membership of the local cluster. On MC_ENOMEM the zone is off. */
MC_MUST_CHECK mc_status mc_zone_init(mc_zone *zone, const mc_lb_config *config, const mc_host_set *upstream,
                                     const mc_hosts *local);
void mc_zone_fini(mc_zone *zone);

#endif
