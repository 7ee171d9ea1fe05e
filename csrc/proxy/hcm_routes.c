#include "proxy/hcm_routes.h"

#include "base/read.h"
#include "proxy/filters/kind.h"
#include "proxy/hcm.h"

typedef struct scene {
    mc_hcm *hcm;
    const mc_hcm_context *context;
    mc_route_filter_compiler compiler;
    mc_error *error;
} scene;

static mc_status read_internal_only(scene *s, const mc_value *config, mc_hcm_routes *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(config, "internal_only_headers", &list, &count, s->error));
    out->internal_only_headers = mc_arena_alloc(&s->hcm->arena, count * sizeof(mc_slice));
    if (out->internal_only_headers == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_arena_dup(&s->hcm->arena, list[i].kind == MC_STRING ? list[i].string : MC_SLICE_NONE,
                            &out->internal_only_headers[i]));
    }
    out->internal_only_count = (uint32_t)count;
    return MC_OK;
}

/* Refuses the first place that names the cluster; MC_OK: there is none, as for those behind a plugin. */
static mc_status refuse_cluster(const mc_value *value, mc_slice name, bool weighted, mc_error *error) {
    for (size_t i = 0; value->kind == MC_LIST && i < value->count; i++) {
        MC_TRY(mc_error_in(refuse_cluster(&value->items[i], name, weighted, error), error, "[%zu]", i));
    }
    for (size_t i = 0; value->kind == MC_OBJECT && i < value->count; i++) {
        const mc_value *item = &value->items[i];
        const mc_slice key = value->names[i];
        if (item->kind == MC_STRING && mc_slice_eq(item->string, name) &&
            mc_slice_eq(key, weighted ? MC_SLICE("name") : MC_SLICE("cluster"))) {
            return mc_error_set(error, MC_EINVAL, weighted ? "name" : "cluster", "names an unknown cluster %.*s",
                                MC_SLICE_ARG(name));
        }
        if (!mc_slice_eq(key, MC_SLICE("typed_per_filter_config"))) {
            const bool clusters = mc_slice_eq(key, MC_SLICE("clusters"));
            MC_TRY(mc_error_in(refuse_cluster(item, name, clusters, error), error, "%.*s", MC_SLICE_ARG(key)));
        }
    }
    return MC_OK;
}

/* RT-16: static route configurations name clusters that exist. */
static mc_status find_slots(scene *s, const mc_value *config, bool validate, mc_hcm_routes *out) {
    const mc_hcm_context *context = s->context;
    uint32_t count = mc_route_table_cluster_count(out->table);
    out->cluster_slots = mc_arena_alloc(&s->hcm->arena, count * sizeof(uint32_t));
    if (out->cluster_slots == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t id = 0; id < count; id++) {
        mc_slice name = mc_route_table_cluster_name(out->table, id);
        if (validate && !context->cluster_exists(context->ctx, name)) {
            MC_TRY(refuse_cluster(config, name, false, s->error));
            return mc_error_set(s->error, MC_EINVAL, "", "names an unknown cluster %.*s", MC_SLICE_ARG(name));
        }
        out->cluster_slots[id] = context->cluster_slot(context->ctx, name);
        if (out->cluster_slots[id] == UINT32_MAX) {
            return MC_ENOMEM;
        }
    }
    return MC_OK;
}

static mc_status read_asking(scene *s, const mc_value *config, mc_hcm_routes *out) {
    const mc_value *vhds;
    MC_TRY(mc_value_read_object(config, "vhds", &vhds, s->error));
    MC_TRY(mc_read_text(&s->hcm->arena, vhds, "asking", &out->asking, s->error));
    return mc_read_text(&s->hcm->arena, config, "name", &out->name, s->error);
}

static mc_status read_table(scene *s, const mc_value *config, mc_hcm_routes *out) {
    mc_hcm *hcm = s->hcm;
    bool validate = true;
    MC_TRY(read_asking(s, config, out));
    MC_TRY(mc_value_read_bool(config, "validate_clusters", &validate, s->error));
    MC_TRY(read_internal_only(s, config, out));
    MC_TRY(mc_route_table_compile_with(config, &s->compiler, s->context->runtime, &out->table, s->error));
    hcm->formats = hcm->formats || mc_route_table_formats(out->table);
    return find_slots(s, config, validate, out);
}

static mc_status read_scope(scene *s, uint32_t place) {
    const mc_scope *scope = mc_scopes_at(s->hcm->scopes->keys, place);
    if (scope->route_configuration == NULL) {
        return mc_error_set(s->error, MC_EINVAL, "route_configuration_name",
                            "is for scopes of scoped_rds with a rds_config_source");
    }
    mc_hcm_routes *routes = &s->hcm->scopes->routes[s->hcm->scopes->count++];
    return mc_error_in(read_table(s, scope->route_configuration, routes), s->error, "route_configuration");
}

static mc_status read_scopes(scene *s, const mc_value *config) {
    static const mc_value no_routes = {.kind = MC_OBJECT};
    mc_hcm *hcm = s->hcm;
    hcm->scopes = mc_arena_zalloc(&hcm->arena, sizeof *hcm->scopes);
    if (hcm->scopes == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(read_table(s, &no_routes, &hcm->routes));
    MC_TRY(mc_scopes_compile(config, &hcm->scopes->keys, s->error));
    const uint32_t count = mc_scopes_count(hcm->scopes->keys);
    hcm->scopes->routes = mc_arena_zalloc(&hcm->arena, count * sizeof *hcm->scopes->routes);
    if (hcm->scopes->routes == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_scope(s, i), s->error,
                           "scoped_route_configurations_list.scoped_route_configurations[%u]", i));
    }
    return MC_OK;
}

mc_status mc_hcm_routes_read(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context,
                             const mc_filter_compile *compile, mc_error *error) {
    const mc_value *routes, *scopes;
    mc_route_filters_compile filters = {.compile = *compile, .chain = hcm->filters, .count = hcm->filter_count};
    scene s = {hcm, context, {mc_route_filters_compile_level, &filters}, error};
    MC_TRY(mc_value_read_object(config, "route_config", &routes, error));
    MC_TRY(mc_value_read_object(config, "scoped_routes", &scopes, error));
    if (scopes != NULL) {
        return mc_error_in(read_scopes(&s, scopes), error, "scoped_routes");
    }
    if (routes == NULL) {
        return mc_error_set(error, MC_EINVAL, "route_config", "is required");
    }
    return mc_error_in(read_table(&s, routes, &hcm->routes), error, "route_config");
}

void mc_hcm_routes_fini(mc_hcm *hcm) {
    mc_route_table_unref(hcm->routes.table);
    for (uint32_t i = 0; hcm->scopes != NULL && i < hcm->scopes->count; i++) {
        mc_route_table_unref(hcm->scopes->routes[i].table);
    }
    if (hcm->scopes != NULL) {
        mc_scopes_free(hcm->scopes->keys);
    }
}

mc_status mc_hcm_routes_find(const mc_hcm *hcm, const mc_headers *headers, mc_arena *arena, const mc_hcm_routes **out) {
    uint32_t place;
    *out = &hcm->routes;
    MC_TRY(mc_scopes_find(hcm->scopes->keys, headers, arena, &place));
    if (place != UINT32_MAX) {
        *out = &hcm->scopes->routes[place];
    }
    return MC_OK;
}
