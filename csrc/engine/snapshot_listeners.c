#include "base/defaults.h"
#include "base/read.h"
#include "engine/snapshot_internal.h"

static mc_status read_address(const mc_value *listener, mc_address *out, mc_error *error) {
    const mc_value *address, *socket;
    mc_slice ip = MC_SLICE_NONE;
    uint32_t port = 0;
    MC_TRY(mc_value_read_object(listener, "address", &address, error));
    MC_TRY(mc_value_read_object(address, "socket_address", &socket, error));
    MC_TRY(mc_value_read_string(socket, "address", &ip, error));
    MC_TRY(mc_value_read_u32(socket, "port_value", &port, error));
    if (port > UINT16_MAX) {
        return mc_error_set(error, MC_EINVAL, "address.socket_address.port_value", "must be at most 65535");
    }
    if (mc_address_parse(out, ip, (uint16_t)port) != MC_OK) {
        return mc_error_set(error, MC_EINVAL, "address.socket_address.address", "must be an IP address: %.*s",
                            MC_SLICE_ARG(ip));
    }
    return MC_OK;
}

typedef struct hcm_lookup {
    mc_slots *slots;
    const mc_snapshot *snapshot;
} hcm_lookup;

static uint32_t lookup_slot(void *ctx, mc_slice name) { return mc_slots_get(((hcm_lookup *)ctx)->slots, name); }

static bool lookup_exists(void *ctx, mc_slice name) {
    return mc_map_get(&((hcm_lookup *)ctx)->snapshot->by_name, name) != NULL;
}

/* Namespace to object; NULL: none. */
static mc_status read_metadata(const mc_value *object, const mc_value **out, mc_error *error) {
    const mc_value *metadata;
    MC_TRY(mc_value_read_object(object, "metadata", &metadata, error));
    return mc_error_in(mc_value_read_object(metadata, "filter_metadata", out, error), error, "metadata");
}

/* The end of the one filter chain, behind what guards it. */
static mc_status find_hcm(const mc_value *listener, const mc_value **out, const mc_value **guards, size_t *guard_count,
                          mc_hcm_context *hcm, mc_error *error) {
    const mc_value *chains, *filters;
    size_t chain_count, filter_count;
    MC_TRY(mc_value_read_list(listener, "filter_chains", &chains, &chain_count, error));
    if (chain_count != 1) {
        return mc_error_set(error, MC_EINVAL, "filter_chains", "must be exactly one");
    }
    MC_TRY(mc_value_read_string(&chains[0], "name", &hcm->filter_chain_name, error));
    MC_TRY(read_metadata(listener, &hcm->listener_metadata, error));
    MC_TRY(read_metadata(&chains[0], &hcm->filter_chain_metadata, error));
    MC_TRY(mc_value_read_list(&chains[0], "filters", &filters, &filter_count, error));
    if (filter_count == 0) {
        return mc_error_set(error, MC_EINVAL, "filter_chains[0].filters", "must end in an HTTP connection manager");
    }
    *guards = filters;
    *guard_count = filter_count - 1;
    MC_TRY(mc_value_read_object(&filters[*guard_count], "typed_config", out, error));
    if (*out == NULL) {
        return mc_error_set(error, MC_EINVAL, "filter_chains[0].filters", "must end in an HTTP connection manager");
    }
    return MC_OK;
}

static mc_status register_stats(mc_listener_config *listener, mc_stats *stats, mc_arena *arena, mc_slice scope) {
    mc_slice prefix;
    MC_TRY(mc_arena_concat(arena, (const mc_slice[]){MC_SLICE("listener."), scope, MC_SLICE(".")}, 3, &prefix));
    listener->cx_total = mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_cx_total"));
    listener->cx_destroy = mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_cx_destroy"));
    listener->cx_active = mc_stats_scoped(stats, MC_GAUGE, prefix, MC_SLICE("downstream_cx_active"));
    listener->cx_overflow = mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_cx_overflow"));
    listener->global_cx_overflow =
        mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_global_cx_overflow"));
    listener->cx_overload_reject =
        mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_cx_overload_reject"));
    listener->cx_length_ms = mc_stats_scoped(stats, MC_HISTOGRAM, prefix, MC_SLICE("downstream_cx_length_ms"));
    return MC_OK;
}

/* stat_prefix, else the address, with ':' as '_' (STAT-2). */
static mc_status stat_scope(const mc_value *config, const mc_address *address, mc_arena *arena, mc_slice *out,
                            mc_error *error) {
    char text[MC_ADDRESS_TEXT];
    mc_slice from = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(config, "stat_prefix", &from, error));
    if (from.n == 0) {
        from = mc_slice_of(text, mc_address_text(address, text));
    }
    char *scope = mc_arena_bytes(arena, from.n);
    if (scope == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < from.n; i++) {
        scope[i] = from.p[i] == ':' ? '_' : from.p[i];
    }
    *out = mc_slice_of(scope, from.n);
    return MC_OK;
}

/* LIS-5. The gateway's own listeners are not limited. */
static mc_status set_limits(const mc_compile_context *context, mc_snapshot *snapshot, mc_listener_config *out) {
    const mc_slice parts[] = {MC_SLICE("envoy.resource_limits.listener."), out->name, MC_SLICE(".connection_limit")};
    const uint32_t slot = mc_slots_get(context->listeners, out->name);
    mc_slice key;
    out->connections = slot == UINT32_MAX ? NULL : context->listener_count(context->members_ctx, slot);
    if (out->connections == NULL) {
        return MC_ENOMEM;
    }
    out->max_connections = UINT64_MAX;
    if (snapshot->has_runtime) {
        MC_TRY(mc_arena_concat(&snapshot->arena, parts, 3, &key));
        out->max_connections = mc_runtime_u64(&snapshot->runtime, key, UINT64_MAX);
    }
    const bool own = out->name.n > 0 && out->name.p[0] == '~';
    out->ignore_global_limit |= own;
    out->bypass_overload |= own;
    out->modify_only |= own;
    return MC_OK;
}

/* Those that are let in: original_dst, which use_original_dst brings along. */
static mc_status read_listener_filters(const mc_value *config, mc_listener_config *out, mc_error *error) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(config, "listener_filters", &list, &count, error));
    MC_TRY(mc_value_read_bool(config, "use_original_dst", &out->use_original_dst, error));
    out->original_dst = out->use_original_dst || count > 0;
    return MC_OK;
}

/* The listener's own fields, but its filter chain. */
static mc_status read_socket(const mc_value *config, mc_arena *arena, mc_listener_config *out, mc_error *error) {
    char text[MC_ADDRESS_TEXT];
    mc_slice name = MC_SLICE_NONE, drain = MC_SLICE_NONE;
    out->backlog = (uint32_t)MC_DEFAULT_TCP_BACKLOG;
    out->reuse_port = out->bind = true;
    MC_TRY(read_address(config, &out->address, error));
    MC_TRY(mc_value_read_string(config, "name", &name, error));
    if (name.n == 0) {
        name = mc_slice_of(text, mc_address_text(&out->address, text));
    }
    MC_TRY(mc_arena_dup(arena, name, &out->name));
    MC_TRY(mc_value_read_u32(config, "tcp_backlog_size", &out->backlog, error));
    MC_TRY(mc_value_read_bool(config, "enable_reuse_port", &out->reuse_port, error));
    MC_TRY(mc_value_read_bool(config, "bind_to_port", &out->bind, error));
    MC_TRY(mc_value_read_bool(config, "ignore_global_conn_limit", &out->ignore_global_limit, error));
    MC_TRY(mc_value_read_bool(config, "bypass_overload_manager", &out->bypass_overload, error));
    MC_TRY(mc_value_read_string(config, "drain_type", &drain, error));
    out->modify_only = mc_slice_eq(drain, MC_SLICE("MODIFY_ONLY"));
    return read_listener_filters(config, out, error);
}

/* What the connection manager wants to know of the listener and of this process. */
static mc_status read_place(const mc_value *config, const mc_value *bootstrap, mc_hcm_context *out, mc_error *error) {
    const mc_value *manager = mc_value_get(bootstrap, "cluster_manager");
    mc_slice direction = MC_SLICE_NONE;
    MC_TRY(mc_value_read_u32(config, "per_connection_buffer_limit_bytes", &out->buffer_limit, error));
    MC_TRY(mc_value_read_string(config, "traffic_direction", &direction, error));
    out->egress = mc_slice_eq(direction, MC_SLICE("OUTBOUND"));
    out->direction = out->egress ? 2 : mc_slice_eq(direction, MC_SLICE("INBOUND"));
    MC_TRY(mc_value_read_object(bootstrap, "node", &out->node, error));
    MC_TRY(mc_value_read_string(out->node, "id", &out->node_id, error));
    MC_TRY(mc_value_read_string(out->node, "cluster", &out->node_cluster, error));
    MC_TRY(mc_value_read_string(manager, "local_cluster_name", &out->local_cluster, error));
    return mc_value_read_string(mc_value_get(out->node, "locality"), "zone", &out->node_zone, error);
}

static mc_status compile_chain(const mc_value *config, mc_hcm_context *context, mc_hcm **out, mc_error *error) {
    const mc_value *manager, *guards = NULL;
    size_t guard_count = 0;
    MC_TRY(find_hcm(config, &manager, &guards, &guard_count, context, error));
    MC_TRY(mc_access_logs_compile(config, "access_log", context->log_writer, &context->connection_logs, error));
    mc_status status = mc_hcm_compile(manager, context, out, error);
    mc_access_logs_unref(context->connection_logs);
    MC_TRY(mc_error_in(status, error, "filter_chains[0].filters[%zu].typed_config", guard_count));
    return mc_error_in(mc_hcm_add_guards(*out, guards, guard_count, context, error), error, "filter_chains[0]");
}

static mc_status compile_listener(const mc_value *config, const mc_value *bootstrap, const mc_compile_context *context,
                                  mc_snapshot *snapshot, mc_listener_config *out, mc_error *error) {
    hcm_lookup lookup = {context->slots, snapshot};
    mc_hcm_context hcm = {.stats = context->stats,
                          .buffer_limit = (uint32_t)MC_DEFAULT_CONNECTION_BUFFER_LIMIT,
                          .node_address = context->node_address,
                          .log_writer = context->log_writer,
                          .runtime = mc_snapshot_runtime(snapshot),
                          .factories = context->factories,
                          .factory_count = context->factory_count,
                          .cluster_slot = lookup_slot,
                          .cluster_exists = lookup_exists,
                          .ctx = &lookup};
    MC_TRY(read_socket(config, &snapshot->arena, out, error));
    MC_TRY(set_limits(context, snapshot, out));
    MC_TRY(read_place(config, bootstrap, &hcm, error));
    MC_TRY(stat_scope(config, &out->address, &snapshot->arena, &hcm.listener_scope, error));
    MC_TRY(register_stats(out, context->stats, &snapshot->arena, hcm.listener_scope));
    return compile_chain(config, &hcm, &out->hcm, error);
}

static mc_status add_listener(mc_snapshot *snapshot, const mc_value *config, const mc_value *bootstrap,
                              const mc_compile_context *context, mc_error *error) {
    mc_listener_config *added = &snapshot->listeners[snapshot->listener_count++];
    MC_TRY(compile_listener(config, bootstrap, context, snapshot, added, error));
    for (const mc_listener_config *other = snapshot->listeners; other < added; other++) {
        if (mc_slice_eq(other->name, added->name)) {
            return mc_error_set(error, MC_EINVAL, "name", "is given twice: %.*s", MC_SLICE_ARG(added->name));
        }
    }
    return MC_OK;
}

mc_status mc_snapshot_compile_listeners(mc_snapshot *snapshot, const mc_value *bootstrap, const mc_value *resources,
                                        const mc_compile_context *context, mc_error *error) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(resources, "listeners", &list, &count, error));
    snapshot->listeners = mc_arena_zalloc(&snapshot->arena, count * sizeof *snapshot->listeners);
    if (snapshot->listeners == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(add_listener(snapshot, &list[i], bootstrap, context, error), error, "listeners[%zu]", i));
    }
    return MC_OK;
}
