/* Shared by the compile steps of this room: propagation of errors with their path, and small readers. */
#ifndef MC_ROUTE_COMPILE_H
#define MC_ROUTE_COMPILE_H

#include <stdio.h>

#include "base/map.h"
#include "route/table.h"

#define MC_TRY(expr)                                                                                                   \
    do {                                                                                                               \
        int try_status_ = (expr);                                                                                      \
        if (try_status_ != MC_OK) {                                                                                    \
            return try_status_;                                                                                        \
        }                                                                                                              \
    } while (0)

/* Passes `status` on; of a MC_EINVAL the path is put below the formatted part. */
mc_status mc_error_in(mc_status status, mc_error *error, const char *format, ...) MC_PRINTF(3, 4);

typedef struct mc_name_value {
    const char *name; /* NULL ends a table */
    uint64_t value;
} mc_name_value;

/* An enum by name; *out keeps its value when absent. */
MC_MUST_CHECK mc_status mc_read_enum(const mc_value *object, const char *field, const mc_name_value *names,
                                     uint64_t *out, mc_error *error);
/* MC_EINVAL naming the first field of `object` that is not in `known` (NULL-ended): a condition that is left
 * out would send requests astray. */
MC_MUST_CHECK mc_status mc_refuse_unknown(const mc_value *object, const char *const *known, mc_error *error);
/* Copies an optional / a required string field. */
MC_MUST_CHECK mc_status mc_read_text(mc_arena *arena, const mc_value *object, const char *field, mc_slice *out,
                                     mc_error *error);
MC_MUST_CHECK mc_status mc_read_name(mc_arena *arena, const mc_value *object, const char *field, mc_slice *out,
                                     mc_error *error);
MC_MUST_CHECK mc_status mc_dup_lower(mc_arena *arena, mc_slice text, mc_slice *out);
/* A DataSource that is inline; filename and environment_variable are resolved before configuration comes
 * here. */
MC_MUST_CHECK mc_status mc_read_data_source(mc_arena *arena, const mc_value *object, const char *field, mc_slice *out,
                                            mc_error *error);

/* What a compile step writes to: the table under construction and where to say what is wrong. */
typedef struct mc_compile {
    mc_route_table *table;
    mc_arena *arena; /* the table's */
    mc_error *error;
    uint64_t max_direct_response_body;
} mc_compile;

/* A required field that names a cluster: the table's copy of the name, and its id, given at the first mention. */
MC_MUST_CHECK mc_status mc_compile_cluster(mc_compile *c, const mc_value *object, const char *field, mc_slice *name,
                                           uint32_t *id);

/* Zeroed and at the start of a cache line. */
MC_MUST_CHECK void *mc_compile_lines(mc_compile *c, size_t size);
/* An empty map that the table frees; NULL when out of memory. */
MC_MUST_CHECK mc_map *mc_compile_map(mc_compile *c);

/* One file each; `value` is the message named by the function, error paths are relative to it. */
MC_MUST_CHECK mc_status mc_compile_route(mc_compile *c, const mc_value *value, const mc_virtual_host *host,
                                         mc_route_entry *out);
MC_MUST_CHECK mc_status mc_compile_route_action(mc_compile *c, const mc_value *value, mc_route_entry *out);
MC_MUST_CHECK mc_status mc_compile_weighted(mc_compile *c, const mc_value *value, mc_route *out);
MC_MUST_CHECK mc_status mc_compile_rewrite(mc_compile *c, const mc_value *value, mc_route_entry *out);
/* prefix_rewrite of a RouteAction or RedirectAction. */
MC_MUST_CHECK mc_status mc_compile_path_rewrite(mc_compile *c, const mc_value *value, const mc_path_pattern *pattern,
                                                mc_path_rewrite *out);
MC_MUST_CHECK mc_status mc_compile_redirect(mc_compile *c, const mc_value *value, mc_route_entry *out);
MC_MUST_CHECK mc_status mc_compile_direct_response(mc_compile *c, const mc_value *value, mc_route *out);
MC_MUST_CHECK mc_status mc_compile_hash_policies(mc_compile *c, const mc_value *route_action, mc_route *out);
MC_MUST_CHECK mc_status mc_compile_retry_policy(mc_compile *c, const mc_value *value, const mc_retry_policy **out);
/* The headers_to_add and headers_to_remove of any level; *out NULL when there are none. */
typedef enum mc_direction { MC_REQUEST, MC_RESPONSE } mc_direction;
MC_MUST_CHECK mc_status mc_compile_mutations(mc_compile *c, const mc_value *level, mc_direction direction,
                                             const mc_header_mutations **out);

#endif
