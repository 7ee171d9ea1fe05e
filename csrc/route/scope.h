/* Scoped routes (RT-59): which route configuration a request has, by a key out of its headers.
 *
 * A scope table is immutable. It knows route configurations by place, their tables are the caller's: a scope either names one or
 * brings one along. */
#ifndef MC_ROUTE_SCOPE_H
#define MC_ROUTE_SCOPE_H

#include "base/map.h"
#include "base/value.h"
#include "http/headers.h"

typedef struct mc_scope {
    mc_slice name;
    mc_slice route_configuration_name;   /* empty: it brings its own */
    const mc_value *route_configuration; /* NULL: by name; lives as long as the configuration given to compile */
    bool on_demand;
} mc_scope;

typedef struct mc_scopes mc_scopes;

/* `config` is a ScopedRoutes with the scopes in it. */
MC_MUST_CHECK mc_status mc_scopes_compile(const mc_value *config, mc_scopes **out, mc_error *error);
void mc_scopes_free(mc_scopes *scopes);
uint32_t mc_scopes_count(const mc_scopes *scopes);
const mc_scope *mc_scopes_at(const mc_scopes *scopes, uint32_t i);

/* *out is the place of the request's scope, UINT32_MAX: it has none, hence no route. */
MC_MUST_CHECK mc_status mc_scopes_find(const mc_scopes *scopes, const mc_headers *headers, mc_arena *arena,
                                       uint32_t *out);

#endif
