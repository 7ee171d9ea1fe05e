/* Cluster specifier plugins (RT-23): the matcher, whose tree leads to the name of a cluster. One of a kind that is not known may be
 * named if it is optional, and its routes are then never chosen. */
#include "route/compile.h"

/* The name, in the table's memory, of a ClusterAction. */
static mc_status compile_cluster_action(void *ctx, const mc_value *action, const void **out, mc_error *error) {
    static const mc_name_value types[] = {{"envoy.extensions.router.cluster_specifiers.matcher.v3.ClusterAction", 0},
                                          {NULL, 0}};
    mc_compile *c = ctx;
    const mc_value *config;
    uint64_t type;
    MC_TRY(mc_read_extension(action, "typed_config", types, &config, &type, error));
    mc_slice *name = mc_arena_zalloc(c->arena, sizeof *name);
    if (name == NULL) {
        return MC_ENOMEM;
    }
    *out = name;
    return mc_error_in(mc_read_name(c->arena, config, "cluster", name, error), error, "typed_config");
}

static mc_status compile_matcher(mc_compile *c, const mc_value *config, const mc_matcher_tree **out) {
    const mc_tree_actions actions = {compile_cluster_action, c};
    const mc_value *matcher;
    MC_TRY(mc_value_read_object(config, "cluster_matcher", &matcher, c->error));
    if (matcher == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "cluster_matcher", "is required");
    }
    return mc_error_in(mc_matcher_tree_compile(c->arena, matcher, &actions, out, &c->table->reads_info, c->error),
                       c->error, "cluster_matcher");
}

static mc_status compile_plugin(mc_compile *c, const mc_value *value, mc_cluster_plugin *out) {
    const mc_value *extension, *config;
    bool optional = false;
    MC_TRY(mc_value_read_object(value, "extension", &extension, c->error));
    MC_TRY(mc_value_read_string(extension, "name", &out->name, c->error));
    MC_TRY(mc_error_in(mc_value_read_object(extension, "typed_config", &config, c->error), c->error, "extension"));
    MC_TRY(mc_value_read_bool(value, "is_optional", &optional, c->error));
    if (mc_slice_eq(mc_any_type(config),
                    MC_SLICE("envoy.extensions.router.cluster_specifiers.matcher.v3.MatcherClusterSpecifier"))) {
        return mc_error_in(compile_matcher(c, config, &out->matcher), c->error, "extension.typed_config");
    }
    return optional ? MC_OK
                    : mc_error_set(c->error, MC_EINVAL, "extension.typed_config", "%.*s is not supported",
                                   MC_SLICE_ARG(mc_any_type(config)));
}

mc_status mc_compile_plugins(mc_compile *c, const mc_value *config) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(config, "cluster_specifier_plugins", &items, &count, c->error));
    mc_cluster_plugin *plugins = mc_arena_zalloc(c->arena, count * sizeof *plugins);
    if (plugins == NULL) {
        return MC_ENOMEM;
    }
    c->plugins = plugins;
    c->plugin_count = count;
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_plugin(c, &items[i], &plugins[i]), c->error, "cluster_specifier_plugins[%zu]", i));
    }
    return MC_OK;
}

static void take(mc_route *route, const mc_cluster_plugin *plugin) {
    route->cluster_matcher = plugin->matcher;
    route->no_plugin = plugin->matcher == NULL;
}

mc_status mc_compile_specifier(mc_compile *c, const mc_value *route_action, mc_route *out) {
    const mc_value *own;
    mc_cluster_plugin plugin = {.matcher = NULL};
    mc_slice wanted = MC_SLICE_NONE;
    MC_TRY(mc_value_read_object(route_action, "inline_cluster_specifier_plugin", &own, c->error));
    if (own != NULL) {
        MC_TRY(mc_error_in(compile_plugin(c, own, &plugin), c->error, "inline_cluster_specifier_plugin"));
        take(out, &plugin);
        return MC_OK;
    }
    MC_TRY(mc_value_read_string(route_action, "cluster_specifier_plugin", &wanted, c->error));
    if (wanted.p == NULL) {
        return MC_OK;
    }
    for (size_t i = 0; i < c->plugin_count; i++) {
        if (mc_slice_eq(c->plugins[i].name, wanted)) {
            take(out, &c->plugins[i]);
            return MC_OK;
        }
    }
    return mc_error_set(c->error, MC_EINVAL, "cluster_specifier_plugin", "%.*s is not defined", MC_SLICE_ARG(wanted));
}
