/* The query of a path as parameters that may be changed, as Envoy changes it: decoded when read, sorted by name, and written as it
 * then stands, so that whoever adds a value encodes it first. */
#ifndef MC_PROXY_FILTERS_QUERY_H
#define MC_PROXY_FILTERS_QUERY_H

#include "base/arena.h"

typedef struct mc_query_parameter {
    mc_slice name, value;
} mc_query_parameter;

typedef struct mc_query {
    mc_arena *arena;
    mc_query_parameter *items;
    uint32_t count, cap;
} mc_query;

MC_MUST_CHECK mc_status mc_query_parse(mc_query *query, mc_slice path, mc_arena *arena);
/* Percent-encodes all but the unreserved characters of RFC 3986. */
MC_MUST_CHECK mc_status mc_query_encode(mc_slice value, mc_arena *arena, mc_slice *out);
bool mc_query_has(const mc_query *query, mc_slice name);
void mc_query_remove(mc_query *query, mc_slice name);
MC_MUST_CHECK mc_status mc_query_add(mc_query *query, mc_slice name, mc_slice value);
MC_MUST_CHECK mc_status mc_query_set(mc_query *query, mc_slice name, mc_slice value);
/* `path` with its query replaced, in the arena. */
MC_MUST_CHECK mc_status mc_query_write(mc_query *query, mc_slice path, mc_slice *out);

#endif
