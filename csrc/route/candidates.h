/* Candidates: the routes that one path pattern leads to, in the order of the configuration.
 *
 * A list is tried from its start, so a long one would make matching linear. Where at least MC_SPLIT_MIN
 * routes of a list demand exact values of one header, they are reached by that value through a hash, and only
 * the others are walked; this is done again within what is left and within each value, a few times. What
 * remains linear is a path shared by many routes that no exact header tells apart. */
#ifndef MC_ROUTE_CANDIDATES_H
#define MC_ROUTE_CANDIDATES_H

#include "base/map.h"
#include "route/matcher.h"

typedef struct mc_compile mc_compile;

/* Holds what a match hands out, so that the route itself need not be read. */
typedef struct mc_candidate {
    uint32_t order; /* the route's position in its virtual host */
    uint32_t matcher_count;
    const mc_matcher *matchers;
    const mc_route *route;
    mc_slice cluster; /* as in the route */
    uint32_t cluster_id;
    bool chooses;  /* weighted clusters, or one named by a header: mc_route_choose_cluster */
    bool may_fail; /* the choice may come to nothing, and the next candidate is asked */
} mc_candidate;

typedef struct mc_candidates {
    const struct mc_split *splits; /* NULL: none */
    uint32_t count;
    uint32_t first;       /* the lowest order in the list, splits included */
    bool decides;         /* path_index.c: its first route wins whenever the list is met */
    mc_candidate items[]; /* ascending order */
} mc_candidates;

typedef struct mc_split {
    mc_header_key header;
    const mc_map *by_value; /* -> const mc_candidates */
    const struct mc_split *next;
} mc_split;

/* From `count` candidates in ascending order (the array is used up); those behind one without matchers are
 * unreachable and dropped. *text is copied behind the list, so that who compares it has the list at hand, and becomes
 * the copy. */
MC_MUST_CHECK mc_status mc_candidates_build(mc_compile *c, mc_candidate *items, size_t count, mc_slice *text,
                                            mc_candidates **out);

/* A walk through several lists at once in ascending order: a binary heap of cursors. */
typedef struct mc_cursor {
    const mc_candidate *at, *end; /* at < end */
} mc_cursor;

enum { MC_WALK_INLINE = 16 };

typedef struct mc_walk {
    const mc_match_input *in;
    mc_cursor *heap;
    uint32_t count, cap;
    mc_cursor inline_heap[MC_WALK_INLINE];
} mc_walk;

void mc_walk_init(mc_walk *walk, const mc_match_input *in);
/* Adds what a list holds for this request; NULL is an empty list. */
MC_MUST_CHECK mc_status mc_walk_add(mc_walk *walk, const mc_candidates *list);
/* The next candidate, NULL at the end. */
const mc_candidate *mc_walk_next(mc_walk *walk);

#endif
