/* The steps that compile a route table, for the files of this room: each reads the fields of one message into the table under
 * construction, which nobody else sees yet and whose arena owns what is made. *out is NULL, or stays as it is, where the field is
 * absent; errors name the field, relative to the message. */
#ifndef MC_ROUTE_COMPILE_H
#define MC_ROUTE_COMPILE_H

#include <stdio.h>

#include "base/map.h"
#include "base/read.h"
#include "route/table.h"

typedef struct mc_cluster_plugin {
    mc_slice name;
    const mc_matcher_tree *matcher; /* NULL: of a kind that is not known */
} mc_cluster_plugin;

/* What a compile step writes to: the table under construction and where to say what is wrong. */
typedef struct mc_compile {
    mc_route_table *table;
    mc_arena *arena; /* the table's */
    mc_error *error;
    uint64_t max_direct_response_body;
    mc_map expressions;               /* of paths, by text */
    const mc_cluster_plugin *plugins; /* cluster_specifier_plugins */
    size_t plugin_count;
    const mc_route_filter_compiler *filters; /* NULL: typed_per_filter_config is only kept */
    const mc_runtime *runtime;               /* NULL: no values */
} mc_compile;

/* typed_per_filter_config of one level: the values kept, the configurations compiled (RT-57). */
MC_MUST_CHECK mc_status mc_compile_filter_configs(mc_compile *c, const mc_value *level, const mc_route_filters *outer,
                                                  const mc_value **values, const mc_route_filters **out);

/* A required field that names a cluster: the table's copy of the name, and its id, given at the first mention. */
MC_MUST_CHECK mc_status mc_compile_cluster(mc_compile *c, const mc_value *object, const char *field, mc_slice *name,
                                           uint32_t *id);

/* Zeroed and at the start of a cache line. */
MC_MUST_CHECK void *mc_compile_lines(mc_compile *c, size_t size);
/* An empty map that the table frees; NULL when out of memory. */
MC_MUST_CHECK mc_map *mc_compile_map(mc_compile *c);

/* One file each; `value` is the message named by the function, error paths are relative to it. */
/* How much of a body a route or a virtual host says may be kept; UINT64_MAX: it does not. */
typedef struct mc_buffer_limits {
    uint64_t body; /* request_body_buffer_limit */
    uint64_t old;  /* per_request_buffer_limit_bytes */
} mc_buffer_limits;
MC_MUST_CHECK mc_status mc_compile_buffer_limits(mc_compile *c, const mc_value *value, mc_buffer_limits *out);
MC_MUST_CHECK mc_status mc_compile_route(mc_compile *c, const mc_value *value, const mc_virtual_host *host,
                                         const mc_buffer_limits *host_limits, mc_route_entry *out);
/* `value` NULL: an action that forwards to no cluster. */
MC_MUST_CHECK mc_status mc_compile_route_action(mc_compile *c, const mc_value *value, mc_route_entry *out);
/* The cluster_specifier_plugins of a route configuration. */
MC_MUST_CHECK mc_status mc_compile_plugins(mc_compile *c, const mc_value *config);
/* cluster_specifier_plugin, or the same inline, if the action has one. */
MC_MUST_CHECK mc_status mc_compile_specifier(mc_compile *c, const mc_value *route_action, mc_route *out);
MC_MUST_CHECK mc_status mc_compile_weighted(mc_compile *c, const mc_value *value, mc_route *out);
MC_MUST_CHECK mc_status mc_compile_rewrite(mc_compile *c, const mc_value *value, mc_route_entry *out);
/* tracing and decorator of a Route. */
MC_MUST_CHECK mc_status mc_compile_route_tracing(mc_compile *c, const mc_value *value, mc_route *out);
MC_MUST_CHECK mc_status mc_compile_redirect(mc_compile *c, const mc_value *value, mc_route_entry *out);
MC_MUST_CHECK mc_status mc_compile_direct_response(mc_compile *c, const mc_value *value, mc_route *out);
MC_MUST_CHECK mc_status mc_compile_hash_policies(mc_compile *c, const mc_value *route_action, mc_route *out);
MC_MUST_CHECK mc_status mc_compile_retry_policy(mc_compile *c, const mc_value *value, const mc_retry_policy **out);
/* A field of `value`; *out is kept when it is absent. */
MC_MUST_CHECK mc_status mc_compile_hedge_policy(mc_compile *c, const mc_value *value, const mc_hedge_policy **out);
MC_MUST_CHECK mc_status mc_compile_mirrors(mc_compile *c, const mc_value *value, mc_mirror_policies *out);
MC_MUST_CHECK mc_status mc_compile_internal_redirects(mc_compile *c, const mc_value *route_action,
                                                      const mc_internal_redirect_policy **out);
MC_MUST_CHECK mc_status mc_compile_cors(mc_compile *c, const mc_value *value, const mc_cors_policy **out);
/* The filter_metadata of a Metadata field. */
MC_MUST_CHECK mc_status mc_compile_metadata(mc_compile *c, const mc_value *value, const char *field,
                                            const mc_value **out);
/* What "envoy.lb" says in metadata_match, over what is said `above`. */
MC_MUST_CHECK mc_status mc_compile_metadata_match(mc_compile *c, const mc_value *value, const mc_value *above,
                                                  const mc_value **out);
/* Fields of a Route that only others read. */
MC_MUST_CHECK mc_status mc_compile_about(mc_compile *c, const mc_value *value, const mc_buffer_limits *host,
                                         mc_route *out);
/* The headers_to_add and headers_to_remove of any level; *out NULL when there are none. */
MC_MUST_CHECK mc_status mc_compile_mutations(mc_compile *c, const mc_value *level, mc_headers_kind kind,
                                             const mc_header_mutations **out);

#endif
