/* Rate-limit actions of a route or virtual host: what they say of a request (RT-50, RT-51). */
#ifndef MC_ROUTE_RATE_LIMIT_H
#define MC_ROUTE_RATE_LIMIT_H

#include "route/route.h"

typedef struct mc_rate_limit_entry {
    mc_slice key, value;
} mc_rate_limit_entry;

typedef enum mc_rate_limit_unit {
    MC_RATE_UNIT_UNKNOWN,
    MC_RATE_SECOND,
    MC_RATE_MINUTE,
    MC_RATE_HOUR,
    MC_RATE_DAY,
    MC_RATE_MONTH,
    MC_RATE_YEAR,
    MC_RATE_WEEK,
} mc_rate_limit_unit;

/* Whether a response tells of the limit; unspecified: the filter says. */
typedef enum mc_rate_limit_headers {
    MC_RATE_HEADERS_UNSPECIFIED,
    MC_RATE_HEADERS_OFF,
    MC_RATE_HEADERS_DRAFT_03,
} mc_rate_limit_headers;

typedef struct mc_rate_limit_descriptor {
    const mc_rate_limit_entry *entries;
    uint32_t count;
    bool has_limit; /* `limit` of dynamic metadata (RT-51) */
    uint32_t requests_per_unit;
    mc_rate_limit_unit unit;
    mc_slice disable_key; /* by which a filter may pass it over */
    bool has_hits;
    uint64_t hits_addend;
    bool gives_back; /* the hits */
    bool bad_hits;   /* their format told no number */
    mc_rate_limit_headers headers;
} mc_rate_limit_descriptor;

typedef struct mc_rate_limit_descriptors {
    mc_rate_limit_descriptor *items; /* in the request's arena */
    uint32_t count, cap;
} mc_rate_limit_descriptors;

/* What actions look at besides the request. */
typedef struct mc_rate_limit_context {
    const mc_route_request *request;
    const mc_route *route;  /* NULL: none */
    mc_slice cluster;       /* destination_cluster */
    mc_slice local_cluster; /* source_cluster: node.cluster */
} mc_rate_limit_context;

/* A list of RateLimit; *out NULL when it is empty. */
MC_MUST_CHECK mc_status mc_rate_limits_compile(mc_arena *arena, const mc_value *object, const char *field,
                                               const mc_rate_limits **out, mc_error *error);
bool mc_rate_limits_empty(const mc_rate_limits *limits);
/* Appends the descriptors of one stage; `stream_done` picks the entries with apply_on_stream_done, else those without. */
MC_MUST_CHECK mc_status mc_rate_limits_descriptors(const mc_rate_limits *limits, uint32_t stage, bool stream_done,
                                                   const mc_rate_limit_context *context,
                                                   mc_rate_limit_descriptors *out);

/* Whether the virtual host's limits count too: a filter's vh_rate_limits option. */
typedef enum mc_vh_rate_limits {
    MC_VH_RATE_LIMITS_OVERRIDE,
    MC_VH_RATE_LIMITS_INCLUDE,
    MC_VH_RATE_LIMITS_IGNORE
} mc_vh_rate_limits;
/* The descriptors of a matched request: its route's limits, and its virtual host's when the route has none, asks for them, or the
 * filter does (RT-51). */
MC_MUST_CHECK mc_status mc_route_rate_limits(const mc_route_match *match, const mc_route_request *request,
                                             mc_slice local_cluster, uint32_t stage, bool stream_done,
                                             mc_vh_rate_limits option, mc_rate_limit_descriptors *out);

#endif
