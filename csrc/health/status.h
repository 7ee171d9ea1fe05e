/* Host health beyond the flags themselves (lb/lb.h): what is reported of a host, and how a host begins. Pure functions. */
#ifndef MC_HEALTH_STATUS_H
#define MC_HEALTH_STATUS_H

#include "lb/lb.h"

/* "HEALTHY", "UNHEALTHY", ...: of mc_health_reported. */
const char *mc_health_status_name(mc_eds_status status);

/* How the hosts of a cluster come to be known. */
typedef enum mc_host_origin {
    MC_HOSTS_STATIC,
    MC_HOSTS_DYNAMIC, /* EDS, STRICT_DNS */
    MC_HOSTS_LOGICAL, /* LOGICAL_DNS, dynamic forward proxy */
} mc_host_origin;

/* Flags a new host starts with when its cluster has active health checks that are not disabled for it (HS-6). */
uint32_t mc_health_initial_flags(mc_host_origin origin, bool ignore_until_first_check);

#endif
