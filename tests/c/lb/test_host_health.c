#include "lb/lb.h"
#include "test.h"

TEST(reported_status) {
    static const struct {
        uint32_t flags;
        mc_eds_status eds, expected;
    } cases[] = {
        {0, MC_EDS_UNKNOWN, MC_EDS_UNKNOWN},
        {0, MC_EDS_HEALTHY, MC_EDS_HEALTHY},
        {MC_DEGRADED_EDS_HEALTH, MC_EDS_DEGRADED, MC_EDS_DEGRADED},
        {MC_FAILED_EDS_HEALTH, MC_EDS_TIMEOUT, MC_EDS_TIMEOUT},
        {MC_FAILED_EDS_HEALTH, MC_EDS_UNHEALTHY, MC_EDS_UNHEALTHY},
        {MC_EDS_STATUS_DRAINING | MC_DEGRADED_ACTIVE_HC, MC_EDS_DRAINING, MC_EDS_DRAINING},
        {MC_DEGRADED_ACTIVE_HC, MC_EDS_HEALTHY, MC_EDS_DEGRADED},
        {MC_DEGRADED_OUTLIER_DETECTION, MC_EDS_HEALTHY, MC_EDS_HEALTHY},
        {MC_FAILED_ACTIVE_HC | MC_EDS_STATUS_DRAINING, MC_EDS_DRAINING, MC_EDS_UNHEALTHY},
        {MC_FAILED_OUTLIER_CHECK, MC_EDS_HEALTHY, MC_EDS_UNHEALTHY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(mc_health_reported(cases[i].flags, cases[i].eds), cases[i].expected);
    }
}

TEST(coarse_health_of_each_flag) {
    static const mc_health expected[] = {MC_UNHEALTHY, MC_UNHEALTHY, MC_UNHEALTHY, MC_DEGRADED,
                                         MC_DEGRADED,  MC_HEALTHY,   MC_HEALTHY,   MC_HEALTHY,
                                         MC_HEALTHY,   MC_UNHEALTHY, MC_DEGRADED};
    for (unsigned bit = 0; bit < 11; bit++) {
        CHECK_INT(mc_health_of(1u << bit), expected[bit]);
        CHECK_INT(mc_health_excluded(1u << bit), bit == 6 || bit == 7 || bit == 9);
    }
    CHECK_INT(mc_health_of(0), MC_HEALTHY);
}
