#include "base/read.h"
#include "proxy/filters/rbac.h"
#include "proxy/hcm_internal.h"

static size_t list_length(const mc_value *object, const char *field) {
    const mc_value *list = mc_value_get(object, field);
    return list != NULL && list->kind == MC_LIST ? list->count : 0;
}

/* The last filter of the connection manager's chain, which check_order knows to be the router. */
static const mc_value *router_of(const mc_value *config) {
    const mc_value *filters = mc_value_get(config, "http_filters");
    return filters == NULL || filters->kind != MC_LIST || filters->count == 0
               ? NULL
               : mc_value_get(&filters->items[filters->count - 1], "typed_config");
}

/* FL-1: the filters of tries. */
static mc_status read_upstream_chain(mc_hcm *hcm, const mc_value *config, mc_filter_list *list,
                                     mc_filter_compile *compile) {
    static const char field[] = "upstream_http_filters";
    const mc_value *router = router_of(config);
    if (list_length(router, field) == 0) {
        return MC_OK;
    }
    mc_filter_compile of_tries = *compile;
    of_tries.scope = MC_SLICE(""); /* they count for no connection manager */
    return mc_error_in(mc_filter_list_read_tries(&of_tries, list, router, field, &hcm->upstream), compile->error,
                       "http_filters[%zu].typed_config", list_length(config, "http_filters") - 1);
}

mc_status mc_hcm_read_filters(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context,
                              mc_filter_compile *compile) {
    const mc_value *upgrades;
    size_t upgrade_count, total = list_length(config, "http_filters");
    total += list_length(router_of(config), "upstream_http_filters");
    MC_TRY(mc_value_read_list(config, "upgrade_configs", &upgrades, &upgrade_count, compile->error));
    for (size_t i = 0; i < upgrade_count; i++) {
        total += list_length(&upgrades[i], "filters");
    }
    mc_filter_list list = {.factories = context->factories, .factory_count = context->factory_count};
    MC_TRY(mc_filter_list_init(&list, total, "http_filters", compile));
    hcm->filters = list.filters;
    MC_TRY(mc_filter_list_read(compile, &list, config, "http_filters", &mc_router_filter, &hcm->chain));
    for (size_t i = 0; i < upgrade_count; i++) {
        mc_filter_chain *chain = &hcm->upgrades[i].chain;
        *chain = hcm->chain;
        if (list_length(&upgrades[i], "filters") > 0) {
            MC_TRY(mc_error_in(mc_filter_list_read(compile, &list, &upgrades[i], "filters", &mc_router_filter, chain),
                               compile->error, "upgrade_configs[%zu]", i));
        }
    }
    MC_TRY(read_upstream_chain(hcm, config, &list, compile));
    hcm->filter_count = list.count;
    return MC_OK;
}

mc_status mc_hcm_add_guards(mc_hcm *hcm, const mc_value *filters, size_t count, const mc_hcm_context *context,
                            mc_error *error) {
    static const char type[] = "envoy.extensions.filters.network.rbac.v3.RBAC";
    if (count == 0) {
        return MC_OK;
    }
    mc_filter_compile c = {.arena = &hcm->arena,
                           .error = error,
                           .stats = context->stats,
                           .node_cluster = hcm->node_cluster,
                           .cluster_slot = context->cluster_slot,
                           .ctx = context->ctx};
    hcm->guards = mc_arena_zalloc(&hcm->arena, count * sizeof *hcm->guards);
    if (hcm->guards == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const mc_value *typed = mc_value_get(&filters[i], "typed_config");
        mc_status status = !mc_slice_eq(mc_any_type(typed), mc_slice_cstr(type))
                               ? mc_error_set(error, MC_EINVAL, "", "must be the last filter, or an %s", type)
                               : mc_connection_rbac_compile(&c, typed, &hcm->guards[i]);
        MC_TRY(mc_error_in(status, error, "filters[%zu].typed_config", i));
    }
    hcm->guard_count = (uint32_t)count;
    return MC_OK;
}
