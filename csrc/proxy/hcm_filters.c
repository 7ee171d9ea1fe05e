#include "base/read.h"
#include "proxy/filters/rbac.h"
#include "proxy/hcm_internal.h"
#include "proxy/upstream_chain.h"

static const mc_filter_factory *find_factory(const mc_hcm_context *context, mc_slice name) {
    for (size_t i = 0; i < context->factory_count; i++) {
        if (mc_slice_eq(context->factories[i].name, name)) {
            return &context->factories[i];
        }
    }
    return NULL;
}

/* A filter from outside the core: by the name in its configuration, else by the entry's. */
static mc_status read_factory(const mc_value *typed, const mc_hcm_context *context, mc_filter_config *out,
                              mc_error *error) {
    mc_slice name = out->name;
    MC_TRY(mc_value_read_string(typed, "name", &name, error));
    const mc_filter_factory *factory = find_factory(context, name);
    if (factory == NULL) {
        return mc_error_set(error, MC_EINVAL, "name", "is no filter known here: %.*s", MC_SLICE_ARG(name));
    }
    out->type = factory->type;
    out->config = factory->config;
    return MC_OK;
}

static mc_status read_kind(const mc_value *typed, mc_filter_compile *compile, mc_filter_config *out,
                           mc_router_options *router) {
    mc_slice type = mc_any_type(typed);
    if (mc_slice_eq(type, MC_SLICE("envoy.extensions.filters.http.router.v3.Router")) ||
        (typed == NULL && mc_slice_eq(out->name, MC_SLICE("envoy.filters.http.router")))) {
        out->type = &mc_router_filter;
        return mc_router_options_read(typed, router, compile->error);
    }
    if (mc_slice_eq(type, MC_SLICE("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"))) {
        out->type = &mc_upstream_codec_filter;
        return MC_OK;
    }
    out->kind = mc_filter_kind_find(type);
    if (out->kind == NULL) {
        return MC_OK;
    }
    out->type = out->kind->filter;
    mc_status status = out->kind->compile(compile, typed, &out->config);
    if (status == MC_EINVAL) {
        mc_error_under(compile->error, "typed_config");
    }
    return status;
}

/* out->type stays NULL for an unknown filter that is optional. */
static mc_status read_filter(mc_hcm *hcm, const mc_value *entry, const mc_hcm_context *context,
                             mc_filter_compile *compile, mc_filter_config *out, mc_router_options *router) {
    const mc_value *typed;
    mc_error *error = compile->error;
    bool is_optional = false;
    MC_TRY(mc_read_text(&hcm->arena, entry, "name", &out->name, error));
    MC_TRY(mc_value_read_bool(entry, "is_optional", &is_optional, error));
    MC_TRY(mc_value_read_bool(entry, "disabled", &out->disabled, error));
    MC_TRY(mc_value_read_object(entry, "typed_config", &typed, error));
    MC_TRY(read_kind(typed, compile, out, router));
    if (out->type == NULL && !(is_optional && find_factory(context, out->name) == NULL)) {
        MC_TRY(read_factory(typed, context, out, error));
    }
    if (out->type != NULL && out->type->terminal && out->disabled) {
        return mc_error_set(error, MC_EINVAL, "disabled", "must not be set for the last filter");
    }
    return MC_OK;
}

/* Section 5: the last filter must be terminal, and only it; `last` is that one of this kind of chain. */
static mc_status check_order(const mc_hcm *hcm, const mc_filter_chain *chain, const mc_filter_type *last,
                             const char *field, size_t count, mc_error *error) {
    const char *name = last == &mc_router_filter ? "the router" : "the upstream codec";
    for (uint32_t i = chain->begin; i < chain->end; i++) {
        const bool is_last = i + 1 == chain->end;
        const mc_filter_type *type = hcm->filters[i].type;
        if (is_last ? type != last : type->terminal) {
            mc_error_set(error, MC_EINVAL, "", is_last ? "the last filter must be %s" : "%s must be the last filter",
                         name);
            mc_error_under(error, "%s[%zu]", field,
                           chain->end - chain->begin == count ? (size_t)(i - chain->begin) : count - 1);
            return MC_EINVAL;
        }
    }
    return MC_OK;
}

/* Reads the chain in a field of `object`. */
static mc_status read_chain(mc_hcm *hcm, const mc_value *object, const char *field, const mc_filter_type *last,
                            const mc_hcm_context *context, mc_filter_compile *compile, mc_filter_chain *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(object, field, &list, &count, compile->error));
    out->begin = hcm->filter_count;
    for (size_t i = 0; i < count; i++) {
        mc_filter_config *filter = &hcm->filters[hcm->filter_count];
        mc_status status = read_filter(hcm, &list[i], context, compile, filter, &out->router);
        if (status != MC_OK) {
            mc_error_under(compile->error, "%s[%zu]", field, i);
            return status;
        }
        if (filter->type != NULL) {
            hcm->filter_count++;
        } else {
            *filter = (mc_filter_config){0};
        }
    }
    out->end = hcm->filter_count;
    if (out->begin == out->end) {
        return mc_error_set(compile->error, MC_EINVAL, field, "must end with the %s",
                            last == &mc_router_filter ? "router" : "upstream codec");
    }
    return check_order(hcm, out, last, field, count, compile->error);
}

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
static mc_status read_upstream_chain(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context,
                                     mc_filter_compile *compile) {
    static const char field[] = "upstream_http_filters";
    const mc_value *router = router_of(config);
    if (list_length(router, field) == 0) {
        return MC_OK;
    }
    const mc_slice scope = compile->scope;
    compile->scope = MC_SLICE(""); /* they count for no connection manager */
    mc_status status = read_chain(hcm, router, field, &mc_upstream_codec_filter, context, compile, &hcm->upstream);
    compile->scope = scope;
    for (uint32_t i = hcm->upstream.begin; status == MC_OK && i + 1 < hcm->upstream.end; i++) {
        if (hcm->filters[i].kind == NULL || !hcm->filters[i].kind->upstream) {
            status = mc_error_set(compile->error, MC_EINVAL, field, "holds a filter that cannot stand there: %.*s",
                                  MC_SLICE_ARG(hcm->filters[i].name));
        }
    }
    return mc_error_in(status, compile->error, "http_filters[%zu].typed_config",
                       list_length(config, "http_filters") - 1);
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
    if (total > UINT8_MAX) {
        return mc_error_set(compile->error, MC_EINVAL, "http_filters", "must be at most %d", UINT8_MAX);
    }
    hcm->filters = mc_arena_zalloc(&hcm->arena, (total + 1) * sizeof *hcm->filters);
    if (hcm->filters == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(read_chain(hcm, config, "http_filters", &mc_router_filter, context, compile, &hcm->chain));
    for (size_t i = 0; i < upgrade_count; i++) {
        hcm->upgrades[i].chain = hcm->chain;
        if (list_length(&upgrades[i], "filters") > 0) {
            MC_TRY(mc_error_in(
                read_chain(hcm, &upgrades[i], "filters", &mc_router_filter, context, compile, &hcm->upgrades[i].chain),
                compile->error, "upgrade_configs[%zu]", i));
        }
    }
    return read_upstream_chain(hcm, config, context, compile);
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
