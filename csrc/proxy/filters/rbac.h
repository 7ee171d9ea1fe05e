/* RBAC over a connection (FL-18): the rules of the HTTP filter, before any request is read. Rules that look at a request's headers
 * are refused, of its path never hold; what was decided is told in the metadata of the connection alone, not of its requests. */
#ifndef MC_PROXY_FILTERS_RBAC_H
#define MC_PROXY_FILTERS_RBAC_H

#include "proxy/filters/kind.h"

typedef struct mc_connection_rbac {
    const struct mc_rbac_rules *rules;
    uint64_t delay_ms; /* of who is denied */
    bool continuous;   /* asked with each piece that comes, not the first alone */
} mc_connection_rbac;

/* What is told of one asking. */
typedef struct mc_connection_verdict {
    bool shadowed, shadow_allowed; /* its shadow rules were asked, and what they said */
    mc_slice shadow_policy;        /* the configuration's; empty: none matched */
    bool hinted, hint;             /* access_log_hint of LOG */
} mc_connection_verdict;

/* `c` has no scope yet: a message of envoy.extensions.filters.network.rbac.v3 names its own. */
MC_MUST_CHECK mc_status mc_connection_rbac_compile(mc_filter_compile *c, const mc_value *config,
                                                   mc_connection_rbac *out);
/* Counts. *denied: why, as responses' details say it; NULL: allowed. `request` is empty but for its arena. */
MC_MUST_CHECK mc_status mc_connection_rbac_ask(const mc_connection_rbac *rbac, const mc_stream_info *info,
                                               mc_route_request *request, mc_slab *slab, mc_connection_verdict *verdict,
                                               const char **denied);
/* Adds a verdict to the metadata of its connection. */
MC_MUST_CHECK mc_status mc_connection_rbac_tell(const mc_connection_rbac *rbac, const mc_connection_verdict *verdict,
                                                mc_arena *arena, const mc_value **metadata);

#endif
