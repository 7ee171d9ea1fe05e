/* What a cluster tells of its requests beyond the ordinary, when it is asked to (track_cluster_stats): how much of their time limits
 * they used, and how great they and their responses were. Once for each try, but for the whole limit. */
#ifndef MC_POOL_TRACKING_H
#define MC_POOL_TRACKING_H

#include "base/arena.h"
#include "base/value.h"
#include "http/headers.h"
#include "stats/stats.h"

/* X(name, unit) */
#define MC_BUDGET_STATS(X)                                                                                             \
    X(upstream_rq_timeout_budget_percent_used, MC_UNIT_NONE)                                                           \
    X(upstream_rq_timeout_budget_per_try_percent_used, MC_UNIT_NONE)
#define MC_SIZE_STATS(X)                                                                                               \
    X(upstream_rq_headers_count, MC_UNIT_NONE)                                                                         \
    X(upstream_rq_headers_size, MC_UNIT_BYTES)                                                                         \
    X(upstream_rq_body_size, MC_UNIT_BYTES)                                                                            \
    X(upstream_rs_headers_count, MC_UNIT_NONE)                                                                         \
    X(upstream_rs_headers_size, MC_UNIT_BYTES)                                                                         \
    X(upstream_rs_body_size, MC_UNIT_BYTES)

typedef struct mc_tracking {
    bool budgets, sizes;
#define MC_TRACKING_FIELD(name, unit) mc_stat name;
    MC_BUDGET_STATS(MC_TRACKING_FIELD)
    MC_SIZE_STATS(MC_TRACKING_FIELD)
#undef MC_TRACKING_FIELD
} mc_tracking;

/* Of headers as they were at some moment. */
typedef struct mc_header_size {
    uint32_t count; /* 0: there were none */
    uint64_t bytes; /* of names and values */
} mc_header_size;

/* From a Cluster; NULL: nothing is tracked. Lives in `arena`. */
MC_MUST_CHECK mc_status mc_tracking_compile(const mc_value *cluster, mc_arena *arena, mc_tracking **out,
                                            mc_error *error);
/* `prefix`: the cluster's, with its dot. */
void mc_tracking_register(mc_tracking *tracking, mc_stats *stats, mc_slice prefix);
void mc_tracking_release(const mc_tracking *tracking, mc_stats *stats);

mc_header_size mc_tracking_measure(const mc_headers *headers);
/* How much of a limit was used, in whole percent; of one that is none (0) nothing ever is. */
void mc_tracking_budget(mc_slab *slab, mc_stat histogram, uint64_t used_ms, uint64_t limit_ms);
/* `response` without headers: there was none. */
void mc_tracking_sizes(const mc_tracking *tracking, mc_slab *slab, const mc_headers *request, uint64_t request_body,
                       mc_header_size response, uint64_t response_body);

#endif
