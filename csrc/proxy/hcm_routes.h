/* The route tables of a connection manager: one, or one for each scope (RT-59). Each comes with what the connection manager keeps
 * beside a table. Immutable. */
#ifndef MC_PROXY_HCM_ROUTES_H
#define MC_PROXY_HCM_ROUTES_H

#include "route/route.h"
#include "route/scope.h"

typedef struct mc_hcm mc_hcm;
typedef struct mc_hcm_context mc_hcm_context;
typedef struct mc_filter_compile mc_filter_compile;

typedef struct mc_hcm_routes {
    mc_route_table *table;
    uint32_t *cluster_slots; /* by the table's cluster id */
    mc_slice *internal_only_headers;
    uint32_t internal_only_count;
    mc_slice name;
    mc_slice asking; /* where virtual hosts that it does not have are asked for (mc_forward_names); empty: nowhere */
} mc_hcm_routes;

typedef struct mc_hcm_scopes {
    mc_scopes *keys;
    mc_hcm_routes *routes; /* by place in `keys` */
    uint32_t count;        /* of those that are compiled */
} mc_hcm_scopes;

/* route_config or scoped_routes into hcm->routes and hcm->scopes; with scopes hcm->routes is a table without routes. */
MC_MUST_CHECK mc_status mc_hcm_routes_read(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context,
                                           const mc_filter_compile *compile, mc_error *error);
void mc_hcm_routes_fini(mc_hcm *hcm);
/* Where there are scopes: the routes of the request's own, hcm->routes when it has none. */
MC_MUST_CHECK mc_status mc_hcm_routes_find(const mc_hcm *hcm, const mc_headers *headers, mc_arena *arena,
                                           const mc_hcm_routes **out);

#endif
