#include "health/status.h"

mc_eds_status mc_health_reported(uint32_t flags, mc_eds_status eds_status) {
    if (flags & (MC_FAILED_ACTIVE_HC | MC_FAILED_OUTLIER_CHECK)) {
        return MC_EDS_UNHEALTHY;
    }
    switch (eds_status) {
    case MC_EDS_UNHEALTHY:
    case MC_EDS_DRAINING:
    case MC_EDS_TIMEOUT: return eds_status;
    case MC_EDS_UNKNOWN:
    case MC_EDS_HEALTHY:
    case MC_EDS_DEGRADED: break;
    }
    return flags & MC_DEGRADED_ACTIVE_HC ? MC_EDS_DEGRADED : eds_status;
}

const char *mc_health_status_name(mc_eds_status status) {
    static const char *const names[] = {"UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED"};
    return names[status];
}

uint32_t mc_health_initial_flags(mc_host_origin origin, bool ignore_until_first_check) {
    switch (origin) {
    case MC_HOSTS_STATIC: return MC_FAILED_ACTIVE_HC;
    case MC_HOSTS_DYNAMIC: return MC_FAILED_ACTIVE_HC | (ignore_until_first_check ? MC_PENDING_ACTIVE_HC : 0);
    case MC_HOSTS_LOGICAL: break;
    }
    return 0;
}
