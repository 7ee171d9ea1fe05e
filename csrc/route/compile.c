/* RouteConfiguration and VirtualHost: the table as a whole, and its life. */
#include "route/compile.h"

#include "base/alloc.h"
#include "base/defaults.h"
#include "route/rate_limit.h"

void *mc_compile_lines(mc_compile *c, size_t size) {
    enum { LINE = 64 };
    char *p = mc_arena_zalloc(c->arena, size + LINE);
    return p == NULL ? NULL : p + (LINE - (uintptr_t)p % LINE) % LINE;
}

mc_map *mc_compile_map(mc_compile *c) {
    mc_owned_map *owned = mc_arena_zalloc(c->arena, sizeof *owned);
    if (owned == NULL) {
        return NULL;
    }
    owned->next = c->table->maps;
    c->table->maps = owned;
    return &owned->map;
}

mc_status mc_compile_cluster(mc_compile *c, const mc_value *object, const char *field, mc_slice *name, uint32_t *id) {
    mc_route_table *table = c->table;
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(object, field, &text, c->error));
    if (text.n == 0) {
        return mc_error_set(c->error, MC_EINVAL, field, "must not be empty");
    }
    uintptr_t known = (uintptr_t)mc_map_get(&table->cluster_ids, text);
    if (known == 0) {
        MC_TRY(mc_grow(&table->clusters, &table->cluster_cap, table->cluster_count + 1, sizeof *table->clusters));
        MC_TRY(mc_arena_dup(&table->cluster_names, text, &text));
        known = table->cluster_count + 1;
        MC_TRY(mc_map_put(&table->cluster_ids, text, (void *)known));
        table->clusters[table->cluster_count++] = text;
    }
    *id = (uint32_t)(known - 1);
    *name = table->clusters[*id];
    return MC_OK;
}

mc_status mc_compile_filter_configs(mc_compile *c, const mc_value *level, const mc_route_filters *outer,
                                    const mc_value **values, const mc_route_filters **out) {
    const mc_value *configs;
    *out = outer;
    MC_TRY(mc_value_read_object(level, "typed_per_filter_config", &configs, c->error));
    if (configs == NULL) {
        return MC_OK;
    }
    MC_TRY(mc_value_copy(c->arena, configs, values));
    return c->filters == NULL ? MC_OK
                              : mc_error_in(c->filters->compile(c->filters->ctx, configs, outer, out, c->error),
                                            c->error, "typed_per_filter_config");
}

/* --- virtual hosts --- */

static const mc_name_value tls_requirements[] = {{"NONE", 0}, {"EXTERNAL_ONLY", 1}, {"ALL", 2}, {NULL, 0}};

static mc_status compile_domains(mc_compile *c, const mc_value *value, const mc_host *host) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "domains", &items, &count, c->error));
    if (count == 0) {
        return mc_error_set(c->error, MC_EINVAL, "domains", "must have at least one entry");
    }
    for (size_t i = 0; i < count; i++) {
        mc_status status = items[i].kind == MC_STRING ? mc_domains_add(c, &c->table->domains, items[i].string, host)
                                                      : mc_error_set(c->error, MC_EINVAL, "", "must be a string");
        MC_TRY(mc_error_in(status, c->error, "domains[%zu]", i));
    }
    return MC_OK;
}

static mc_status index_paths(mc_compile *c, mc_host *host) {
    mc_path_item *items = mc_calloc(host->entry_count, sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < host->entry_count; i++) {
        const mc_route_entry *entry = host->entries[i];
        items[i].pattern = entry->pattern;
        const mc_route *route = &entry->route;
        items[i].candidate = (mc_candidate){
            .order = (uint32_t)i,
            .matcher_count = entry->matchers.count,
            .matchers = entry->matchers.items,
            .route = route,
            .cluster = route->cluster,
            .cluster_id = route->cluster_id,
            .chooses = route->weighted_count > 0 || route->cluster_header.n > 0 || route->no_plugin ||
                       route->cluster_matcher != NULL,
            .may_fail = route->weighted_by_runtime || route->no_plugin,
        };
    }
    mc_status status = mc_path_index_build(c, items, host->entry_count, &host->paths);
    mc_free(items);
    return status;
}

/* Routes of a virtual host, or of an action of its matcher. */
static mc_status compile_entries(mc_compile *c, const mc_value *object, const mc_value *items, size_t count,
                                 const mc_host *host, mc_route_list *out) {
    mc_buffer_limits limits;
    MC_TRY(mc_compile_buffer_limits(c, object, &limits));
    const mc_route_entry **entries = mc_arena_zalloc(c->arena, count * sizeof *entries);
    if (entries == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mc_route_entry *entry = mc_compile_lines(c, sizeof *entry);
        if (entry == NULL) {
            return MC_ENOMEM;
        }
        MC_TRY(mc_error_in(mc_compile_route(c, &items[i], &host->public, &limits, entry), c->error, "routes[%zu]", i));
        entries[i] = entry;
    }
    *out = (mc_route_list){entries, count};
    return MC_OK;
}

static mc_status compile_routes(mc_compile *c, const mc_value *value, mc_host *host) {
    const mc_value *items;
    mc_route_list list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "routes", &items, &count, c->error));
    if (count >= UINT32_MAX) {
        return mc_error_set(c->error, MC_EINVAL, "routes", "must have fewer than %u entries", UINT32_MAX);
    }
    MC_TRY(compile_entries(c, value, items, count, host, &list));
    host->entries = list.entries;
    host->entry_count = list.count;
    return index_paths(c, host);
}

typedef struct tree_scene {
    mc_compile *c;
    const mc_value *host_value;
    const mc_host *host;
} tree_scene;

/* A Route or a RouteList; both are checked against their own matches. */
static mc_status compile_tree_action(void *ctx, const mc_value *action, const void **out, mc_error *error) {
    static const mc_name_value types[] = {
        {"envoy.config.route.v3.Route", 0}, {"envoy.config.route.v3.RouteList", 1}, {NULL, 0}};
    tree_scene *scene = ctx;
    mc_compile *c = scene->c;
    const mc_value *config, *items;
    uint64_t type;
    size_t count = 1;
    MC_TRY(mc_read_extension(action, "typed_config", types, &config, &type, error));
    items = config;
    if (type == 1) {
        MC_TRY(mc_error_in(mc_value_read_list(config, "routes", &items, &count, error), error, "typed_config"));
    }
    mc_route_list *list = mc_arena_zalloc(c->arena, sizeof *list);
    if (list == NULL) {
        return MC_ENOMEM;
    }
    *out = list;
    return mc_error_in(compile_entries(c, scene->host_value, items, count, scene->host, list), error, "typed_config");
}

static mc_status compile_tree(mc_compile *c, const mc_value *matcher, const mc_value *value, mc_host *host) {
    tree_scene scene = {c, value, host};
    const mc_tree_actions actions = {compile_tree_action, &scene};
    if (mc_value_get(value, "routes") != NULL) {
        return mc_error_set(c->error, MC_EINVAL, "matcher", "must not be set together with routes");
    }
    return mc_error_in(
        mc_matcher_tree_compile(c->arena, matcher, &actions, &host->tree, &c->table->reads_info, c->error), c->error,
        "matcher");
}

/* RT-24: without a match the request counts as "other". */
static mc_status compile_virtual_clusters(mc_compile *c, const mc_value *value, mc_virtual_host *out) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "virtual_clusters", &items, &count, c->error));
    if (count == 0) {
        return MC_OK;
    }
    mc_virtual_cluster *clusters = mc_arena_zalloc(c->arena, (count + 1) * sizeof *clusters);
    if (clusters == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mc_status status = mc_read_name(c->arena, &items[i], "name", &clusters[i].name, c->error);
        if (status == MC_OK) {
            status = mc_match_headers_compile(c->arena, &items[i], "headers", &clusters[i].headers, c->error);
        }
        if (status == MC_OK && clusters[i].headers == NULL) {
            status = mc_error_set(c->error, MC_EINVAL, "headers", "must have at least one entry");
        }
        MC_TRY(mc_error_in(status, c->error, "virtual_clusters[%zu]", i));
    }
    clusters[count].name = MC_SLICE("other");
    out->virtual_clusters = clusters;
    out->virtual_cluster_count = (uint32_t)count + 1;
    return MC_OK;
}

static mc_status compile_host_policies(mc_compile *c, const mc_value *value, mc_virtual_host *out) {
    out->mirrors = c->table->mirrors;
    MC_TRY(mc_compile_mirrors(c, value, &out->mirrors));
    MC_TRY(mc_compile_hedge_policy(c, value, &out->hedge_policy));
    MC_TRY(mc_compile_cors(c, value, &out->cors));
    MC_TRY(mc_rate_limits_compile(c->arena, value, "rate_limits", &out->rate_limits, c->error));
    MC_TRY(compile_virtual_clusters(c, value, out));
    return mc_compile_metadata(c, value, "metadata", &out->metadata);
}

static mc_status compile_host(mc_compile *c, const mc_value *value, mc_host *host) {
    mc_virtual_host *out = &host->public;
    const mc_value *retry, *matcher;
    uint64_t tls = 0;
    MC_TRY(mc_read_name(c->arena, value, "name", &out->name, c->error));
    MC_TRY(compile_domains(c, value, host));
    MC_TRY(mc_read_enum(value, "require_tls", tls_requirements, &tls, c->error));
    out->require_tls = (uint8_t)tls;
    MC_TRY(mc_value_read_bool(value, "include_request_attempt_count", &out->include_attempt_count_request, c->error));
    MC_TRY(
        mc_value_read_bool(value, "include_attempt_count_in_response", &out->include_attempt_count_response, c->error));
    MC_TRY(mc_value_read_bool(value, "include_is_timeout_retry_header", &out->include_is_timeout_retry, c->error));
    MC_TRY(mc_value_read_object(value, "retry_policy", &retry, c->error));
    if (retry != NULL) {
        MC_TRY(mc_error_in(mc_compile_retry_policy(c, retry, &out->retry_policy), c->error, "retry_policy"));
    }
    MC_TRY(compile_host_policies(c, value, out));
    MC_TRY(mc_compile_mutations(c, value, MC_HEADERS_OF_REQUEST, &out->request_mutations));
    MC_TRY(mc_compile_mutations(c, value, MC_HEADERS_OF_RESPONSE, &out->response_mutations));
    MC_TRY(mc_compile_filter_configs(c, value, c->table->filters, &out->filter_configs, &out->filters));
    MC_TRY(mc_value_read_object(value, "matcher", &matcher, c->error));
    return matcher != NULL ? compile_tree(c, matcher, value, host) : compile_routes(c, value, host);
}

/* --- the table --- */

static mc_status compile_hosts(mc_compile *c, const mc_value *config) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(config, "virtual_hosts", &items, &count, c->error));
    mc_host *hosts = mc_arena_zalloc(c->arena, count * sizeof *hosts);
    if (hosts == NULL) {
        return MC_ENOMEM;
    }
    c->table->hosts = hosts;
    c->table->host_count = count;
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_host(c, &items[i], &hosts[i]), c->error, "virtual_hosts[%zu]", i));
    }
    return MC_OK;
}

static mc_status compile_table(mc_compile *c, const mc_value *config) {
    mc_route_table *table = c->table;
    mc_slice header = MC_SLICE_NONE;
    MC_TRY(mc_compile_plugins(c, config));
    MC_TRY(mc_compile_mirrors(c, config, &table->mirrors));
    MC_TRY(mc_compile_metadata(c, config, "metadata", &table->metadata));
    MC_TRY(mc_read_text(c->arena, config, "name", &table->name, c->error));
    MC_TRY(mc_value_read_string(config, "vhost_header", &header, c->error));
    MC_TRY(mc_dup_lower(c->arena, header, &table->vhost_header));
    MC_TRY(mc_value_read_bool(config, "ignore_port_in_host_matching", &table->ignore_port, c->error));
    MC_TRY(mc_value_read_bool(config, "ignore_path_parameters_in_path_matching", &table->ignore_path_parameters,
                              c->error));
    MC_TRY(mc_value_read_bool(config, "most_specific_header_mutations_wins", &table->most_specific_wins, c->error));
    c->max_direct_response_body = MC_DEFAULT_DIRECT_RESPONSE_BODY;
    MC_TRY(mc_value_read_u64(config, "max_direct_response_body_size_bytes", &c->max_direct_response_body, c->error));
    MC_TRY(mc_compile_mutations(c, config, MC_HEADERS_OF_REQUEST, &table->request_mutations));
    MC_TRY(mc_compile_mutations(c, config, MC_HEADERS_OF_RESPONSE, &table->response_mutations));
    MC_TRY(mc_compile_filter_configs(c, config, NULL, &table->filter_configs, &table->filters));
    return compile_hosts(c, config);
}

mc_status mc_route_table_compile(const mc_value *config, mc_route_table **out, mc_error *error) {
    return mc_route_table_compile_with(config, NULL, NULL, out, error);
}

mc_status mc_route_table_compile_with(const mc_value *config, const mc_route_filter_compiler *filters,
                                      const mc_runtime *runtime, mc_route_table **out, mc_error *error) {
    if (config == NULL || config->kind != MC_OBJECT) {
        return mc_error_set(error, MC_EINVAL, "", "must be an object");
    }
    mc_route_table *table = mc_calloc(1, sizeof *table);
    if (table == NULL) {
        return MC_ENOMEM;
    }
    atomic_init(&table->refs, 1);
    mc_arena_init(&table->arena, NULL);
    mc_arena_init(&table->cluster_names, NULL);
    mc_compile c = {.table = table, .arena = &table->arena, .error = error, .filters = filters, .runtime = runtime};
    mc_map_init(&c.expressions);
    mc_status status = compile_table(&c, config);
    mc_map_fini(&c.expressions);
    if (status != MC_OK) {
        mc_route_table_unref(table);
        return status;
    }
    *out = table;
    return MC_OK;
}

mc_route_table *mc_route_table_ref(mc_route_table *table) {
    atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
    return table;
}

void mc_route_table_unref(mc_route_table *table) {
    if (table == NULL || atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (mc_owned_map *owned = table->maps; owned != NULL; owned = owned->next) {
        mc_map_fini(&owned->map);
    }
    mc_domains_fini(&table->domains);
    mc_map_fini(&table->cluster_ids);
    mc_free(table->clusters);
    mc_arena_fini(&table->cluster_names);
    mc_arena_fini(&table->arena);
    mc_free(table);
}

mc_slice mc_route_table_name(const mc_route_table *table) { return table->name; }
const mc_value *mc_route_table_filter_configs(const mc_route_table *table) { return table->filter_configs; }
bool mc_route_table_reads_info(const mc_route_table *table) { return table->reads_info; }
uint32_t mc_route_table_cluster_count(const mc_route_table *table) { return (uint32_t)table->cluster_count; }
mc_slice mc_route_table_cluster_name(const mc_route_table *table, uint32_t id) { return table->clusters[id]; }
