/* The generic matcher (RT-15): lists of predicates and maps over inputs of a request, nested; what it leads to is the caller's.
 *
 * The first entry that holds decides; one whose own matcher finds nothing is passed over.
 * Compiled trees live in an arena and are immutable. */
#ifndef MC_ROUTE_MATCHER_TREE_H
#define MC_ROUTE_MATCHER_TREE_H

#include "route/matcher.h"

typedef struct mc_matcher_tree mc_matcher_tree;

/* Makes the action of an on_match out of its TypedExtensionConfig. */
typedef struct mc_tree_actions {
    mc_status (*compile)(void *ctx, const mc_value *action, const void **out, mc_error *error);
    void *ctx;
} mc_tree_actions;

/* *reads_info becomes true when an input is not the request's own; else it stays. */
MC_MUST_CHECK mc_status mc_matcher_tree_compile(mc_arena *arena, const mc_value *matcher,
                                                const mc_tree_actions *actions, const mc_matcher_tree **out,
                                                bool *reads_info, mc_error *error);
/* *action is NULL when nothing matches. */
MC_MUST_CHECK mc_status mc_matcher_tree_find(const mc_matcher_tree *tree, const mc_match_input *in,
                                             const void **action);

#endif
