/* Aggregate clusters (rule CL-16): the priorities of other clusters, one after the other, as if they were one cluster's. Which of them
 * a request goes to is decided here; the member cluster's own balancer then chooses among that priority's hosts, and its pools, breakers
 * and health are the member's. */
#ifndef MC_POOL_AGGREGATE_H
#define MC_POOL_AGGREGATE_H

#include "pool/pool.h"

/* The configuration. */
typedef struct mc_aggregate_config {
    const mc_slice *clusters;
    uint32_t count;
} mc_aggregate_config;

/* NULL for a cluster of another type. Lives in `arena`. */
MC_MUST_CHECK mc_status mc_aggregate_compile(const mc_value *cluster, mc_arena *arena, mc_aggregate_config **out,
                                             mc_error *error);

/* A worker's view of the members. */
typedef struct mc_aggregate mc_aggregate;
MC_MUST_CHECK mc_aggregate *mc_aggregate_new(const mc_aggregate_config *config, uint32_t panic_threshold);
void mc_aggregate_free(mc_aggregate *aggregate);

/* The member, and what of it, that a request with this draw goes to; NULL: there is no host anywhere. Members are looked up anew
 * each time. */
mc_upstream *mc_aggregate_choose(mc_aggregate *aggregate, mc_upstream *(*find)(void *ctx, mc_slice name), void *ctx,
                                 uint64_t draw, mc_lb_forced *out);

#endif
