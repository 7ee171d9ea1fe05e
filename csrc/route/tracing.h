/* What a route says of tracing: samples, tags, the names of spans. Immutable. */
#ifndef MC_ROUTE_TRACING_H
#define MC_ROUTE_TRACING_H

#include "base/runtime.h"
#include "route/custom_tag.h"
#include "route/route.h"

#define MC_TRACING_CLIENT_KEY  "tracing.client_enabled"
#define MC_TRACING_RANDOM_KEY  "tracing.random_sampling"
#define MC_TRACING_OVERALL_KEY "tracing.global_enabled"

struct mc_route_tracing {
    mc_fraction client_sampling, random_sampling, overall_sampling;
    const mc_value *custom_tags; /* a list, as configured; NULL: none */
    mc_slice operation, upstream_operation;
    mc_custom_tags tags; /* those of the list; they beat the connection manager's by name */
    /* The operations as formats; NULL: the connection manager's. */
    const mc_format *operation_format, *upstream_operation_format;
};

/* A format in a string field; *out NULL: none. */
MC_MUST_CHECK mc_status mc_read_operation(mc_arena *arena, const mc_value *object, const char *field,
                                          const mc_format **out, mc_error *error);

#endif
