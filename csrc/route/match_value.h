/* Matchers of values in metadata: type.matcher.v3.ValueMatcher and MetadataMatcher. Immutable, in the arena given. */
#ifndef MC_ROUTE_MATCH_VALUE_H
#define MC_ROUTE_MATCH_VALUE_H

#include "base/value.h"

typedef struct mc_value_match mc_value_match;
MC_MUST_CHECK mc_status mc_value_match_compile(mc_arena *arena, const mc_value *message, const mc_value_match **out,
                                               mc_error *error);
/* 1, 0, or MC_ENOMEM. `value` NULL: there is none. */
int mc_value_match_test(const mc_value_match *match, const mc_value *value);

typedef struct mc_metadata_match mc_metadata_match;
MC_MUST_CHECK mc_status mc_metadata_match_compile(mc_arena *arena, const mc_value *message,
                                                  const mc_metadata_match **out, mc_error *error);
/* `metadata` maps namespaces to objects; NULL: empty. */
int mc_metadata_match_test(const mc_metadata_match *match, const mc_value *metadata);
/* The value that it looks at; NULL: there is none. */
const mc_value *mc_metadata_match_find(const mc_metadata_match *match, const mc_value *metadata);

#endif
