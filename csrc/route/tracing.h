/* What a route says of tracing: samples, tags, the names of spans. Immutable. */
#ifndef MC_ROUTE_TRACING_H
#define MC_ROUTE_TRACING_H

#include "base/runtime.h"
#include "route/custom_tag.h"

#define MC_TRACING_CLIENT_KEY  "tracing.client_enabled"
#define MC_TRACING_RANDOM_KEY  "tracing.random_sampling"
#define MC_TRACING_OVERALL_KEY "tracing.global_enabled"

struct mc_route_tracing {
    mc_fraction client_sampling, random_sampling, overall_sampling;
    mc_custom_tags tags;                             /* beat those of the connection manager by name */
    const mc_format *operation, *upstream_operation; /* NULL: the connection manager's */
};

/* A format in a string field; *out NULL: none. */
MC_MUST_CHECK mc_status mc_read_operation(mc_arena *arena, const mc_value *object, const char *field,
                                          const mc_format **out, mc_error *error);

#endif
