#include "health/status.h"

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
