/* A filter kind: what makes a configuration of a filter's message. One file a kind; the table of them is in registry.c.
 *
 * A configuration is compiled once with its connection manager, lives in the manager's arena and is read by every worker at once:
 * what changes in it is atomic. What one worker keeps for itself is mc_filter_worker_state. */
#ifndef MC_PROXY_FILTERS_KIND_H
#define MC_PROXY_FILTERS_KIND_H

#include <stdio.h>

#include "base/read.h"
#include "proxy/filter.h"
#include "stats/stats.h"

/* What a compile function has besides the message. */
typedef struct mc_filter_compile {
    mc_arena *arena; /* the connection manager's */
    mc_error *error;
    mc_stats *stats;
    mc_slice scope; /* "http.<stat_prefix>." */
    /* What some filters put before the names of their stats besides, as Envoy's do: of a cluster's filter its scope once more. */
    mc_slice stat_prefix;
    mc_slice node_cluster;
    mc_slice local_cluster; /* the cluster that this node is part of; empty: not told */
    bool is_route;          /* for a place in the route table */
    const void *own; /* there: what the chain's filter of this name was made of; NULL: there is none of this kind */
    uint32_t (*cluster_slot)(void *ctx, mc_slice name);
    void *ctx;
} mc_filter_compile;

/* Whether a filter may stand among those of tries. There it lets a response pass at once, and does not see its body. */
typedef enum mc_try_place {
    MC_TRY_NEVER,
    MC_TRY_CHAIN,
    MC_TRY_HOST, /* it is asked as soon as a host is chosen, wherever it stands: of headers that no other filter has changed; it keeps
                    no state and sees nothing else */
} mc_try_place;

typedef struct mc_filter_kind {
    const char *type;       /* full name of the message in the chain */
    const char *route_type; /* of the message in typed_per_filter_config; NULL: there is none */
    const mc_filter_type *filter;
    mc_try_place in_tries;
    bool copies; /* in tries: what it does to a request's headers, it does to those of copies */
    mc_status (*compile)(mc_filter_compile *c, const mc_value *config, void **out);
    mc_status (*compile_route)(mc_filter_compile *c, const mc_value *config, void **out);
    /* Frees what is in mc_filter_worker_state; called when the worker lets the configuration go. */
    void (*worker_close)(void *state);
} mc_filter_kind;

extern const mc_filter_kind mc_filter_kind_router;

/* The kind of a message, by its full name in the chain, or in the route table; NULL: unknown. */
const mc_filter_kind *mc_filter_kind_find(mc_slice type);
const mc_filter_kind *mc_filter_kind_find_route(mc_slice type);

/* A stat below the connection manager's scope: prefix and name together. */
static inline mc_stat mc_filter_stat(mc_filter_compile *c, mc_stat_kind kind, mc_slice prefix, const char *name) {
    mc_slice parts[] = {c->scope, prefix}, scope;
    return mc_arena_concat(c->arena, parts, 2, &scope) != MC_OK
               ? 0
               : mc_stats_scoped(c->stats, kind, scope, mc_slice_cstr(name));
}

/* Fields of a struct of stats out of a list X(name). */
#define MC_STAT_FIELD(name) mc_stat name;

/* What the matchers of the route room look at, of a stream whose info was collected; both borrow. */
struct mc_match_input;
void mc_filter_match_input(mc_filter *filter, const mc_stream_info *info, mc_route_request *request,
                           struct mc_match_input *input);

/* Compiling per-route configurations: `ctx` of mc_route_filter_compiler. */
typedef struct mc_route_filters_compile {
    mc_filter_compile compile;
    const mc_filter_config *chain;
    uint32_t count;
    mc_slice name; /* of the filter that is being compiled for */
} mc_route_filters_compile;
MC_MUST_CHECK mc_status mc_route_filters_compile_level(void *ctx, const mc_value *configs,
                                                       const mc_route_filters *outer, const mc_route_filters **out,
                                                       mc_error *error);

#endif
