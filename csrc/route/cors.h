/* CorsPolicy: which origins may read a response, and what a preflight is told (FL rules of cors). */
#ifndef MC_ROUTE_CORS_H
#define MC_ROUTE_CORS_H

#include "route/matcher.h"

struct mc_cors_policy {
    const mc_string_match *origins; /* allow_origin_string_match */
    uint32_t origin_count;
    mc_slice allow_methods, allow_headers, expose_headers, max_age;                          /* empty: no such header */
    int8_t allow_credentials, allow_private_network_access, forward_not_matching_preflights; /* 1, 0, -1: not set */
    bool has_filter_enabled, has_shadow_enabled;
    mc_fraction filter_enabled, shadow_enabled;
};

/* From either message named CorsPolicy; *out lives in `arena`. */
MC_MUST_CHECK mc_status mc_cors_policy_compile(mc_arena *arena, const mc_value *value, const mc_cors_policy **out,
                                               mc_error *error);
/* 1, 0, or MC_ENOMEM. */
int mc_cors_origin_allowed(const mc_cors_policy *policy, mc_slice origin);

#endif
