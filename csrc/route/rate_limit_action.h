/* The actions of one RateLimit (RT-50): each says one entry of its descriptor, says nothing, or voids the descriptor.
 *
 * Compiled actions live in an arena and are immutable. */
#ifndef MC_ROUTE_RATE_LIMIT_ACTION_H
#define MC_ROUTE_RATE_LIMIT_ACTION_H

#include "route/rate_limit.h"

typedef struct mc_rate_limit_actions mc_rate_limit_actions;

/* The request that is described, with what is found out about it once for all actions. */
typedef struct mc_rate_limit_scene {
    const mc_rate_limit_context *context;
    const mc_route_request *request;
    mc_arena *arena;          /* the request's */
    const mc_value *metadata; /* dynamic; NULL: none */
    mc_slice query;           /* of the path, without '?' */
} mc_rate_limit_scene;

/* The list `actions` of a RateLimit; an empty one is an error. */
MC_MUST_CHECK mc_status mc_rate_limit_actions_compile(mc_arena *arena, const mc_value *object,
                                                      const mc_rate_limit_actions **out, mc_error *error);
/* Fills the entries of *out, which has none yet. 1; 0: there is no such descriptor; MC_ENOMEM. */
int mc_rate_limit_actions_describe(const mc_rate_limit_actions *actions, const mc_rate_limit_scene *scene,
                                   mc_rate_limit_descriptor *out);

#endif
