/* The predicates of the generic matcher's lists (RT-15): a condition on one input, and what and, or, not make of several.
 *
 * Compiled predicates live in an arena and are immutable. */
#ifndef MC_ROUTE_MATCHER_PREDICATE_H
#define MC_ROUTE_MATCHER_PREDICATE_H

#include "route/matcher.h"

typedef struct mc_tree_predicate mc_tree_predicate;

/* *reads_info becomes true when an input is not the request's own; else it stays. */
MC_MUST_CHECK mc_status mc_tree_predicate_compile(mc_arena *arena, const mc_value *value, const mc_tree_predicate **out,
                                                  bool *reads_info, mc_error *error);
/* 1, 0 or a negative status. */
int mc_tree_predicate_holds(const mc_tree_predicate *predicate, const mc_match_input *in);

#endif
