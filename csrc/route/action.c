/* RouteAction: where a request goes and under which terms. */
#include "base/defaults.h"
#include "route/compile.h"
#include "route/rate_limit.h"

static const mc_name_value not_found_codes[] = {
    {"SERVICE_UNAVAILABLE", 503}, {"NOT_FOUND", 404}, {"INTERNAL_SERVER_ERROR", 500}, {NULL, 0}};
static const mc_name_value priorities[] = {{"DEFAULT", 0}, {"HIGH", 1}, {NULL, 0}};

static mc_status compile_cluster(mc_compile *c, const mc_value *value, mc_route *route) {
    const mc_value *weighted;
    mc_slice header = MC_SLICE_NONE;
    route->cluster_id = MC_NO_CLUSTER;
    if (value == NULL) {
        return MC_OK;
    }
    MC_TRY(mc_compile_specifier(c, value, route));
    if (route->no_plugin || route->cluster_matcher != NULL) {
        return MC_OK;
    }
    MC_TRY(mc_value_read_object(value, "weighted_clusters", &weighted, c->error));
    if (weighted != NULL) {
        return mc_error_in(mc_compile_weighted(c, weighted, route), c->error, "weighted_clusters");
    }
    MC_TRY(mc_value_read_string(value, "cluster_header", &header, c->error));
    if (header.n > 0) {
        return mc_dup_lower(c->arena, header, &route->cluster_header);
    }
    if (mc_value_get(value, "cluster") == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have one of cluster, cluster_header, weighted_clusters");
    }
    return mc_compile_cluster(c, value, "cluster", &route->cluster, &route->cluster_id);
}

/* A duration with a mark that it is there. */
static mc_status read_duration(mc_compile *c, const mc_value *value, const char *field, bool *has, uint64_t *out) {
    *has = mc_value_get(value, field) != NULL;
    return mc_value_read_duration_ms(value, field, out, c->error);
}

static mc_status read_stream_duration(mc_compile *c, const mc_value *stream, mc_route *route) {
    MC_TRY(
        read_duration(c, stream, "max_stream_duration", &route->has_stream_duration, &route->max_stream_duration_ms));
    MC_TRY(
        read_duration(c, stream, "grpc_timeout_header_max", &route->has_grpc_timeout_max, &route->grpc_timeout_max_ms));
    return read_duration(c, stream, "grpc_timeout_header_offset", &route->has_grpc_timeout_offset,
                         &route->grpc_timeout_offset_ms);
}

static mc_status compile_timeouts(mc_compile *c, const mc_value *value, mc_route *route) {
    const mc_value *stream;
    route->timeout_ms = MC_DEFAULT_ROUTE_TIMEOUT;
    MC_TRY(mc_value_read_duration_ms(value, "timeout", &route->timeout_ms, c->error));
    MC_TRY(read_duration(c, value, "idle_timeout", &route->has_idle_timeout, &route->idle_timeout_ms));
    MC_TRY(read_duration(c, value, "flush_timeout", &route->has_flush_timeout, &route->flush_timeout_ms));
    MC_TRY(read_duration(c, value, "max_grpc_timeout", &route->has_grpc_timeout_max, &route->grpc_timeout_max_ms));
    MC_TRY(read_duration(c, value, "grpc_timeout_offset", &route->has_grpc_timeout_offset,
                         &route->grpc_timeout_offset_ms));
    MC_TRY(mc_value_read_object(value, "max_stream_duration", &stream, c->error));
    if (stream == NULL) {
        return MC_OK;
    }
    route->has_max_stream_duration = true;
    return mc_error_in(read_stream_duration(c, stream, route), c->error, "max_stream_duration");
}

static mc_status compile_connect(mc_compile *c, const mc_value *upgrade, mc_slice type, bool enabled,
                                 const mc_connect_config **out) {
    const mc_value *config, *proxy;
    MC_TRY(mc_value_read_object(upgrade, "connect_config", &config, c->error));
    if (config == NULL) {
        return MC_OK;
    }
    if (!mc_slice_ieq(type, MC_SLICE("CONNECT")) && !mc_slice_ieq(type, MC_SLICE("CONNECT-UDP"))) {
        return mc_error_set(c->error, MC_EINVAL, "connect_config",
                            "is only for the upgrade types CONNECT, CONNECT-UDP");
    }
    mc_connect_config *made = mc_arena_zalloc(c->arena, sizeof *made);
    if (made == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(
        mc_error_in(mc_value_read_bool(config, "allow_post", &made->allow_post, c->error), c->error, "connect_config"));
    MC_TRY(mc_error_in(mc_value_read_object(config, "proxy_protocol_config", &proxy, c->error), c->error,
                       "connect_config"));
    if (proxy != NULL) {
        MC_TRY(mc_value_copy(c->arena, proxy, &made->proxy_protocol));
    }
    if (enabled && mc_slice_ieq(type, MC_SLICE("CONNECT"))) {
        *out = made;
    }
    return MC_OK;
}

static mc_status compile_upgrades(mc_compile *c, const mc_value *value, mc_route_entry *out) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "upgrade_configs", &items, &count, c->error));
    if (count == 0) {
        return MC_OK;
    }
    mc_slice *types = mc_arena_zalloc(c->arena, count * sizeof *types);
    bool *enabled = mc_arena_zalloc(c->arena, count * sizeof *enabled);
    if (types == NULL || enabled == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        static const char *const known[] = {"upgrade_type", "enabled", "connect_config", NULL};
        mc_status status = mc_refuse_unknown(&items[i], known, c->error);
        enabled[i] = true;
        if (status == MC_OK) {
            status = mc_read_name(c->arena, &items[i], "upgrade_type", &types[i], c->error);
        }
        for (size_t j = 0; j < i && status == MC_OK; j++) {
            if (mc_slice_ieq(types[i], types[j])) {
                status =
                    mc_error_set(c->error, MC_EINVAL, "upgrade_type", "%.*s is there already", MC_SLICE_ARG(types[i]));
            }
        }
        if (status == MC_OK) {
            status = mc_value_read_bool(&items[i], "enabled", &enabled[i], c->error);
        }
        if (status == MC_OK) {
            status = compile_connect(c, &items[i], types[i], enabled[i], &out->route.connect);
        }
        MC_TRY(mc_error_in(status, c->error, "upgrade_configs[%zu]", i));
    }
    out->upgrade_types = types;
    out->upgrade_enabled = enabled;
    out->upgrade_count = (uint32_t)count;
    return MC_OK;
}

int mc_route_upgrade(const mc_route *route, mc_slice type) {
    const mc_route_entry *entry = mc_route_entry_of(route);
    for (uint32_t i = 0; i < entry->upgrade_count; i++) {
        if (mc_slice_ieq(entry->upgrade_types[i], type)) {
            return entry->upgrade_enabled[i];
        }
    }
    return -1;
}

bool mc_route_upgrade_at(const mc_route *route, uint32_t i, mc_slice *type, bool *enabled) {
    const mc_route_entry *entry = mc_route_entry_of(route);
    if (i >= entry->upgrade_count) {
        return false;
    }
    *type = entry->upgrade_types[i];
    *enabled = entry->upgrade_enabled[i];
    return true;
}

/* Of a route's early_data_policy only the one that goes by the method is known: it is what holds without. */
static mc_status compile_early_data(mc_compile *c, const mc_value *value, mc_route *route) {
    static const mc_name_value types[] = {{"envoy.extensions.early_data.v3.DefaultEarlyDataPolicy", 0}, {NULL, 0}};
    const mc_value *policy, *config;
    uint64_t type;
    route->allow_early_data = true;
    MC_TRY(mc_value_read_object(value, "early_data_policy", &policy, c->error));
    if (policy == NULL) {
        return MC_OK;
    }
    route->allow_early_data = false;
    return mc_error_in(mc_read_extension(policy, "typed_config", types, &config, &type, c->error), c->error,
                       "early_data_policy");
}

static mc_status compile_policies(mc_compile *c, const mc_value *value, mc_route *route) {
    const mc_virtual_host *host = route->virtual_host;
    route->hedge_policy = host->hedge_policy;
    route->mirrors = host->mirrors;
    MC_TRY(mc_compile_hedge_policy(c, value, &route->hedge_policy));
    MC_TRY(mc_compile_mirrors(c, value, &route->mirrors));
    MC_TRY(mc_compile_internal_redirects(c, value, &route->redirects));
    MC_TRY(mc_compile_cors(c, value, &route->cors));
    MC_TRY(mc_rate_limits_compile(c->arena, value, "rate_limits", &route->rate_limits, c->error));
    MC_TRY(mc_value_read_bool(value, "include_vh_rate_limits", &route->include_virtual_host_rate_limits, c->error));
    return compile_early_data(c, value, route);
}

mc_status mc_compile_route_action(mc_compile *c, const mc_value *value, mc_route_entry *out) {
    mc_route *route = &out->route;
    const mc_value *retry;
    uint64_t not_found = 503, priority = 0;
    route->action = MC_ROUTE_TO_CLUSTER;
    MC_TRY(mc_compile_metadata_match(c, value, NULL, &route->metadata_match));
    MC_TRY(compile_cluster(c, value, route));
    MC_TRY(mc_read_enum(value, "cluster_not_found_response_code", not_found_codes, &not_found, c->error));
    route->cluster_not_found_status = (uint16_t)not_found;
    MC_TRY(mc_read_enum(value, "priority", priorities, &priority, c->error));
    route->high_priority = priority == 1;
    MC_TRY(compile_timeouts(c, value, route));
    MC_TRY(mc_value_read_object(value, "retry_policy", &retry, c->error));
    if (retry != NULL) {
        MC_TRY(mc_error_in(mc_compile_retry_policy(c, retry, &route->retry_policy), c->error, "retry_policy"));
    }
    MC_TRY(compile_policies(c, value, route));
    MC_TRY(mc_compile_hash_policies(c, value, route));
    MC_TRY(compile_upgrades(c, value, out));
    route->websocket = (int8_t)mc_route_upgrade(route, MC_SLICE("websocket"));
    return mc_compile_rewrite(c, value, out);
}
