/* The router: the terminal filter. It answers redirects and direct responses, or sends the request to a host of the route's
 * cluster, retries as the policy allows, and brings the response back (rules RF-*). */
#ifndef MC_PROXY_ROUTER_H
#define MC_PROXY_ROUTER_H

#include "base/value.h"
#include "proxy/filter.h"

extern const mc_filter_type mc_router_filter;

/* FL-1. A plain value. */
typedef struct mc_router_options {
    bool no_dynamic_stats; /* dynamic_stats: false */
    bool suppress_envoy_headers;
    bool respect_expected_timeout;
    bool suppress_grpc_failure_codes; /* suppress_grpc_request_failure_code_stats */
    bool start_child_span;
    bool reject_early_connect_data; /* reject_connect_request_early_data */
    uint8_t strict_headers;         /* bits, as mc_router_strict_check reads them */
} mc_router_options;

/* From a Router message, may be NULL: all defaults. */
MC_MUST_CHECK mc_status mc_router_options_read(const mc_value *config, mc_router_options *out, mc_error *error);

#endif
