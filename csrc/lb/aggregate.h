/* Aggregate clusters (rule CL-16): the priorities of other clusters, one after the other, as if they were one cluster's. Which of them
 * a request goes to is decided here; the member cluster's own balancer then chooses among that priority's hosts, and its pools, breakers
 * and health are the member's. */
#ifndef MC_LB_AGGREGATE_H
#define MC_LB_AGGREGATE_H

#include "base/arena.h"
#include "lb/lb.h"

/* The configuration. */
typedef struct mc_aggregate_config {
    const mc_slice *clusters;
    uint32_t count;
} mc_aggregate_config;

/* NULL for a cluster of another type. Lives in `arena`. */
MC_MUST_CHECK mc_status mc_aggregate_compile(const mc_value *cluster, mc_arena *arena, mc_aggregate_config **out,
                                             mc_error *error);

/* One thread's view of so many members, none of which is there yet. */
typedef struct mc_aggregate mc_aggregate;
MC_MUST_CHECK mc_aggregate *mc_aggregate_new(uint32_t members, uint32_t panic_threshold);
void mc_aggregate_free(mc_aggregate *aggregate);

/* The member's hosts as they are now; NULL: there is no such cluster. An aggregate of its own has none: such members give nothing. */
void mc_aggregate_see(mc_aggregate *aggregate, uint32_t member, mc_hosts *hosts);
/* Which member, and what of it, a request with this draw goes to; false: there is no host anywhere. `retry` (NULL: none) knows priorities
 * by their places here. */
bool mc_aggregate_choose(mc_aggregate *aggregate, struct mc_retry_priority *retry, uint64_t draw, uint32_t *member,
                         mc_lb_forced *out);
/* The place of a member's priority among all; MC_AGGREGATE_NOWHERE: it has no hosts. */
uint32_t mc_aggregate_place(const mc_aggregate *aggregate, uint32_t member, uint32_t priority);

enum { MC_AGGREGATE_NOWHERE = UINT16_MAX };

#endif
