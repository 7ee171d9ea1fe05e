#include "engine/snapshot.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/defaults.h"
#include "base/hash.h"
#include "base/read.h"
#include "proxy/filter_list.h"

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        mc_status status_ = (call);                                                                                    \
        if (status_ != MC_OK) {                                                                                        \
            return status_;                                                                                            \
        }                                                                                                              \
    } while (0)

/* --- slots ------------------------------------------------------------------------------------------------------------ */

void mc_slots_init(mc_slots *slots) {
    mc_map_init(&slots->map);
    mc_arena_init(&slots->arena, NULL);
    slots->count = 0;
}

void mc_slots_fini(mc_slots *slots) {
    mc_map_fini(&slots->map);
    mc_arena_fini(&slots->arena);
}

uint32_t mc_slots_get(mc_slots *slots, mc_slice name) {
    uintptr_t known = (uintptr_t)mc_map_get(&slots->map, name);
    if (known != 0) {
        return (uint32_t)(known - 1);
    }
    mc_slice copy;
    if (mc_arena_dup(&slots->arena, name, &copy) != MC_OK ||
        mc_map_put(&slots->map, copy, (void *)(uintptr_t)(slots->count + 1u)) != MC_OK) {
        return UINT32_MAX;
    }
    return slots->count++;
}

/* --- snapshot ---------------------------------------------------------------------------------------------------------- */

mc_snapshot *mc_snapshot_ref(mc_snapshot *snapshot) {
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    return snapshot;
}

void mc_snapshot_unref(mc_snapshot *snapshot) {
    if (snapshot == NULL || atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t i = 0; i < snapshot->listener_count; i++) {
        mc_hcm_unref(snapshot->listeners[i].hcm);
    }
    for (uint32_t i = 0; i < snapshot->cluster_count; i++) {
        mc_hosts_unref(snapshot->clusters[i].hosts);
        mc_cluster_unref(snapshot->clusters[i].cluster);
    }
    mc_map_fini(&snapshot->by_name);
    mc_runtime_fini(&snapshot->runtime);
    mc_arena_fini(&snapshot->arena);
    mc_free(snapshot);
}

uint32_t mc_snapshot_slot(const mc_snapshot *snapshot, mc_slice name) {
    const mc_snapshot_cluster *entry = mc_map_get(&snapshot->by_name, name);
    return entry == NULL ? UINT32_MAX : entry->cluster->slot;
}

/* --- clusters ------------------------------------------------------------------------------------------------------------- */

static uint64_t hash_value(const mc_value *value, uint64_t seed) {
    seed = mc_xxh64(&value->kind, sizeof value->kind, seed);
    switch (value->kind) {
    case MC_NULL: return seed;
    case MC_BOOL: return mc_xxh64(&value->boolean, sizeof value->boolean, seed);
    case MC_NUMBER: return mc_xxh64(&value->number, sizeof value->number, seed);
    case MC_STRING: return mc_xxh64(value->string.p, value->string.n, seed);
    case MC_LIST:
    case MC_OBJECT:
        for (size_t i = 0; i < value->count; i++) {
            if (value->kind == MC_OBJECT) {
                seed = mc_xxh64(value->names[i].p, value->names[i].n, seed);
            }
            seed = hash_value(&value->items[i], seed);
        }
        return seed;
    }
    return seed;
}

/* Everything but the membership, which may change under a living cluster. */
static uint64_t hash_cluster(const mc_value *config) {
    uint64_t seed = 0;
    for (size_t i = 0; i < config->count; i++) {
        if (!mc_slice_eq(config->names[i], MC_SLICE("load_assignment"))) {
            seed = mc_xxh64(config->names[i].p, config->names[i].n, seed);
            seed = hash_value(&config->items[i], seed);
        }
    }
    return seed;
}

/* Runtime values that are compiled into a cluster: its limits, and those of outlier detection. */
static uint64_t hash_runtime(const mc_runtime *runtime, mc_slice name, uint64_t seed) {
    char prefix[512];
    if (runtime == NULL) {
        return seed;
    }
    int n = snprintf(prefix, sizeof prefix, "circuit_breakers.%.*s.", MC_SLICE_ARG(name));
    const mc_slice lb = MC_SLICE("upstream.");
    uint64_t sum = 0; /* of any order */
    mc_slice key;
    void *value;
    for (size_t at = 0; mc_map_next(&runtime->values, &at, &key, &value);) {
        if (mc_slice_has_prefix(key, mc_slice_of(prefix, (size_t)n)) || mc_slice_has_prefix(key, lb) ||
            mc_slice_has_prefix(key, MC_SLICE("outlier_detection."))) {
            sum += hash_value(value, mc_xxh64(key.p, key.n, seed));
        }
    }
    return seed + sum;
}

static mc_status compile_cluster(const mc_value *config, const mc_compile_context *context, const mc_snapshot *snapshot,
                                 mc_snapshot_cluster *out, mc_error *error) {
    static const mc_value no_assignment = {.kind = MC_OBJECT};
    mc_slice name = MC_SLICE_NONE;
    const mc_value *assignment;
    if (config->kind != MC_OBJECT) {
        return mc_error_set(error, MC_EINVAL, "", "must be an object");
    }
    TRY(mc_value_read_string(config, "name", &name, error));
    TRY(mc_value_read_object(config, "load_assignment", &assignment, error));
    const uint32_t slot = mc_slots_get(context->slots, name);
    if (slot == UINT32_MAX) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    const mc_runtime *runtime = snapshot->has_runtime ? &snapshot->runtime : NULL;
    const uint64_t hash = hash_runtime(runtime, name, hash_cluster(config));
    const mc_snapshot_cluster *old = context->previous == NULL ? NULL : mc_map_get(&context->previous->by_name, name);
    const bool same = old != NULL && old->cluster->config_hash == hash;
    if (same) {
        out->cluster = mc_cluster_ref(old->cluster);
    } else {
        mc_filter_compile filters = {.error = error, .stats = context->stats};
        TRY(mc_cluster_compile(config, &snapshot->node, hash, slot, context->stats, &out->cluster, error));
        TRY(mc_cluster_filters_compile(out->cluster, config, &filters));
    }
    mc_hosts *members = same ? context->members(context->members_ctx, slot) : NULL;
    if (members != NULL && (out->cluster->original_dst != NULL || out->cluster->forward != NULL)) {
        out->hosts = mc_hosts_ref(members); /* which no assignment names */
        return MC_OK;
    }
    mc_status status = mc_hosts_compile(assignment == NULL ? &no_assignment : assignment, &out->cluster->lb,
                                        out->cluster->name, context->stats, members, &out->hosts, error);
    if (status != MC_OK) {
        mc_error_under(error, "load_assignment");
        return status;
    }
    return MC_OK;
}

static mc_status compile_clusters(const mc_value *resources, const mc_compile_context *context, mc_snapshot *snapshot,
                                  mc_error *error) {
    const mc_value *list;
    size_t count;
    TRY(mc_value_read_list(resources, "clusters", &list, &count, error));
    snapshot->clusters = mc_arena_zalloc(&snapshot->arena, count * sizeof *snapshot->clusters);
    if (snapshot->clusters == NULL) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        mc_snapshot_cluster *entry = &snapshot->clusters[snapshot->cluster_count++];
        mc_status status = compile_cluster(&list[i], context, snapshot, entry, error);
        if (status == MC_OK && mc_map_get(&snapshot->by_name, entry->cluster->name) != NULL) {
            status = mc_error_set(error, MC_EINVAL, "name", "is given twice: %.*s", MC_SLICE_ARG(entry->cluster->name));
        }
        if (status == MC_OK) {
            status = mc_map_put(&snapshot->by_name, entry->cluster->name, entry);
        }
        if (status != MC_OK) {
            mc_error_under(error, "clusters[%zu]", i);
            return status;
        }
    }
    return MC_OK;
}

/* --- listeners ------------------------------------------------------------------------------------------------------------ */

static mc_status read_address(const mc_value *listener, mc_address *out, mc_error *error) {
    const mc_value *address, *socket;
    mc_slice ip = MC_SLICE_NONE;
    uint32_t port = 0;
    TRY(mc_value_read_object(listener, "address", &address, error));
    TRY(mc_value_read_object(address, "socket_address", &socket, error));
    TRY(mc_value_read_string(socket, "address", &ip, error));
    TRY(mc_value_read_u32(socket, "port_value", &port, error));
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
    TRY(mc_value_read_object(object, "metadata", &metadata, error));
    mc_status status = mc_value_read_object(metadata, "filter_metadata", out, error);
    if (status == MC_EINVAL) {
        mc_error_under(error, "metadata");
    }
    return status;
}

/* The end of the one filter chain, behind what guards it. */
static mc_status find_hcm(const mc_value *listener, const mc_value **out, const mc_value **guards, size_t *guard_count,
                          mc_hcm_context *hcm, mc_error *error) {
    const mc_value *chains, *filters;
    size_t chain_count, filter_count;
    TRY(mc_value_read_list(listener, "filter_chains", &chains, &chain_count, error));
    if (chain_count != 1) {
        return mc_error_set(error, MC_EINVAL, "filter_chains", "must be exactly one");
    }
    TRY(mc_value_read_string(&chains[0], "name", &hcm->filter_chain_name, error));
    TRY(read_metadata(listener, &hcm->listener_metadata, error));
    TRY(read_metadata(&chains[0], &hcm->filter_chain_metadata, error));
    TRY(mc_value_read_list(&chains[0], "filters", &filters, &filter_count, error));
    if (filter_count == 0) {
        return mc_error_set(error, MC_EINVAL, "filter_chains[0].filters", "must end in an HTTP connection manager");
    }
    *guards = filters;
    *guard_count = filter_count - 1;
    TRY(mc_value_read_object(&filters[*guard_count], "typed_config", out, error));
    if (*out == NULL) {
        return mc_error_set(error, MC_EINVAL, "filter_chains[0].filters", "must end in an HTTP connection manager");
    }
    return MC_OK;
}

static void register_listener_stats(mc_listener_config *listener, mc_stats *stats, mc_slice scope_name) {
    char scope[160];
    int n = snprintf(scope, sizeof scope, "listener.%.*s.", MC_SLICE_ARG(scope_name));
    mc_slice prefix = mc_slice_of(scope, (size_t)n < sizeof scope ? (size_t)n : sizeof scope - 1);
    listener->cx_total = mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_cx_total"));
    listener->cx_destroy = mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_cx_destroy"));
    listener->cx_active = mc_stats_scoped(stats, MC_GAUGE, prefix, MC_SLICE("downstream_cx_active"));
    listener->cx_overflow = mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_cx_overflow"));
    listener->global_cx_overflow =
        mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_global_cx_overflow"));
    listener->cx_overload_reject =
        mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE("downstream_cx_overload_reject"));
    listener->cx_length_ms = mc_stats_scoped(stats, MC_HISTOGRAM, prefix, MC_SLICE("downstream_cx_length_ms"));
}

/* stat_prefix, else the address, with ':' as '_' (STAT-2). */
static mc_slice stat_scope(const mc_value *config, const mc_listener_config *listener, char out[MC_ADDRESS_TEXT * 2]) {
    mc_slice given = MC_SLICE_NONE;
    size_t n;
    if (mc_value_read_string(config, "stat_prefix", &given, NULL) == MC_OK && given.n > 0) {
        n = given.n < MC_ADDRESS_TEXT * 2 ? given.n : MC_ADDRESS_TEXT * 2;
        memcpy(out, given.p, n);
    } else {
        n = mc_address_text(&listener->address, out);
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = out[i] == ':' ? '_' : out[i];
    }
    return mc_slice_of(out, n);
}

/* LIS-5. The gateway's own listeners are not limited. */
static mc_status set_limits(const mc_compile_context *context, const mc_snapshot *snapshot, mc_listener_config *out,
                            mc_error *error) {
    char key[400];
    const uint32_t slot = mc_slots_get(context->listeners, out->name);
    out->connections = slot == UINT32_MAX ? NULL : context->listener_count(context->members_ctx, slot);
    if (out->connections == NULL) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    out->max_connections = UINT64_MAX;
    if (snapshot->has_runtime) {
        int n =
            snprintf(key, sizeof key, "envoy.resource_limits.listener.%.*s.connection_limit", MC_SLICE_ARG(out->name));
        out->max_connections = mc_runtime_u64(&snapshot->runtime, mc_slice_of(key, (size_t)n), UINT64_MAX);
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
    TRY(mc_value_read_list(config, "listener_filters", &list, &count, error));
    TRY(mc_value_read_bool(config, "use_original_dst", &out->use_original_dst, error));
    out->original_dst = out->use_original_dst || count > 0;
    return MC_OK;
}

static mc_status compile_listener(const mc_value *config, const mc_value *bootstrap, const mc_compile_context *context,
                                  mc_snapshot *snapshot, mc_listener_config *out, mc_error *error) {
    char scope_text[MC_ADDRESS_TEXT * 2], address_text[MC_ADDRESS_TEXT];
    hcm_lookup lookup = {context->slots, snapshot};
    mc_hcm_context hcm = {.stats = context->stats,
                          .buffer_limit = (uint32_t)MC_DEFAULT_CONNECTION_BUFFER_LIMIT,
                          .node_address = context->node_address,
                          .log_writer = context->log_writer,
                          .runtime = snapshot->has_runtime ? &snapshot->runtime : NULL,
                          .factories = context->factories,
                          .factory_count = context->factory_count,
                          .cluster_slot = lookup_slot,
                          .cluster_exists = lookup_exists,
                          .ctx = &lookup};
    mc_slice name = MC_SLICE_NONE, direction = MC_SLICE_NONE, drain = MC_SLICE_NONE;
    const mc_value *manager, *node, *guards = NULL;
    size_t guard_count = 0;
    out->backlog = (uint32_t)MC_DEFAULT_TCP_BACKLOG;
    out->reuse_port = out->bind = true;
    TRY(read_address(config, &out->address, error));
    TRY(mc_value_read_string(config, "name", &name, error));
    if (name.n == 0) {
        name = mc_slice_of(address_text, mc_address_text(&out->address, address_text));
    }
    TRY(mc_arena_dup(&snapshot->arena, name, &out->name));
    TRY(mc_value_read_u32(config, "tcp_backlog_size", &out->backlog, error));
    TRY(mc_value_read_bool(config, "enable_reuse_port", &out->reuse_port, error));
    TRY(mc_value_read_bool(config, "bind_to_port", &out->bind, error));
    TRY(mc_value_read_bool(config, "ignore_global_conn_limit", &out->ignore_global_limit, error));
    TRY(mc_value_read_bool(config, "bypass_overload_manager", &out->bypass_overload, error));
    TRY(mc_value_read_string(config, "drain_type", &drain, error));
    out->modify_only = mc_slice_eq(drain, MC_SLICE("MODIFY_ONLY"));
    TRY(read_listener_filters(config, out, error));
    TRY(set_limits(context, snapshot, out, error));
    TRY(mc_value_read_u32(config, "per_connection_buffer_limit_bytes", &hcm.buffer_limit, error));
    TRY(mc_value_read_string(config, "traffic_direction", &direction, error));
    hcm.egress = mc_slice_eq(direction, MC_SLICE("OUTBOUND"));
    hcm.direction = hcm.egress ? 2 : mc_slice_eq(direction, MC_SLICE("INBOUND"));
    TRY(mc_value_read_object(bootstrap, "node", &node, error));
    hcm.node = node;
    TRY(mc_value_read_string(node, "id", &hcm.node_id, error));
    TRY(mc_value_read_string(node, "cluster", &hcm.node_cluster, error));
    TRY(mc_value_read_string(mc_value_get(bootstrap, "cluster_manager"), "local_cluster_name", &hcm.local_cluster,
                             error));
    TRY(mc_value_read_string(mc_value_get(node, "locality"), "zone", &hcm.node_zone, error));
    TRY(find_hcm(config, &manager, &guards, &guard_count, &hcm, error));
    hcm.listener_scope = stat_scope(config, out, scope_text);
    register_listener_stats(out, context->stats, hcm.listener_scope);
    TRY(mc_access_logs_compile(config, "access_log", context->log_writer, &hcm.connection_logs, error));
    mc_status status = mc_hcm_compile(manager, &hcm, &out->hcm, error);
    mc_access_logs_unref(hcm.connection_logs);
    if (status != MC_OK) {
        mc_error_under(error, "filter_chains[0].filters[%zu].typed_config", guard_count);
        return status;
    }
    return mc_error_in(mc_hcm_add_guards(out->hcm, guards, guard_count, &hcm, error), error, "filter_chains[0]");
}

static mc_status compile_listeners(const mc_value *bootstrap, const mc_value *resources,
                                   const mc_compile_context *context, mc_snapshot *snapshot, mc_error *error) {
    const mc_value *list;
    size_t count;
    TRY(mc_value_read_list(resources, "listeners", &list, &count, error));
    snapshot->listeners = mc_arena_zalloc(&snapshot->arena, count * sizeof *snapshot->listeners);
    if (snapshot->listeners == NULL) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        mc_listener_config *listener = &snapshot->listeners[snapshot->listener_count++];
        mc_status status = compile_listener(&list[i], bootstrap, context, snapshot, listener, error);
        for (size_t j = 0; status == MC_OK && j < i; j++) {
            if (mc_slice_eq(snapshot->listeners[j].name, listener->name)) {
                status = mc_error_set(error, MC_EINVAL, "name", "is given twice: %.*s", MC_SLICE_ARG(listener->name));
            }
        }
        if (status != MC_OK) {
            mc_error_under(error, "listeners[%zu]", i);
            return status;
        }
    }
    return MC_OK;
}

static mc_status compile_runtime(const mc_value *bootstrap, mc_snapshot *snapshot, mc_error *error) {
    const mc_value *layered, *values;
    TRY(mc_value_read_object(bootstrap, "layered_runtime", &layered, error));
    TRY(mc_runtime_flatten(&snapshot->arena, layered, &values, error));
    snapshot->has_runtime = values != NULL;
    return mc_runtime_init(&snapshot->runtime, values);
}

#define DOWNSTREAM_LIMIT                                                                                               \
    "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"

/* The resource monitor for connections, or the runtime in its place; and whether others may ask for something: they, and what
 * they ask for, are the control side's. */
static mc_status compile_overload(const mc_value *bootstrap, mc_stats *stats, mc_snapshot *snapshot, mc_error *error) {
    const mc_value *manager, *monitors, *typed, *list;
    size_t count, actions, points;
    snapshot->max_connections = UINT64_MAX;
    if (snapshot->has_runtime) {
        snapshot->max_connections =
            mc_runtime_u64(&snapshot->runtime, MC_SLICE("overload.global_downstream_max_connections"), UINT64_MAX);
    }
    TRY(mc_value_read_object(bootstrap, "overload_manager", &manager, error));
    TRY(mc_value_read_list(manager, "actions", &list, &actions, error));
    TRY(mc_value_read_list(manager, "loadshed_points", &list, &points, error));
    snapshot->sheds_load = actions + points > 0;
    TRY(mc_value_read_list(manager, "resource_monitors", &monitors, &count, error));
    for (size_t i = 0; i < count; i++) {
        mc_slice type = MC_SLICE_NONE;
        TRY(mc_value_read_object(&monitors[i], "typed_config", &typed, error));
        TRY(mc_value_read_string(typed, "@type", &type, error));
        if (mc_slice_eq(type, MC_SLICE(DOWNSTREAM_LIMIT))) {
            TRY(mc_value_read_u64(typed, "max_active_downstream_connections", &snapshot->max_connections, error));
            snapshot->connection_monitor = true;
            snapshot->failed_allocations = mc_stats_counter(
                stats, MC_SLICE("overload.envoy.resource_monitors.global_downstream_max_connections.failed_updates"));
        }
    }
    return MC_OK;
}

/* Where this proxy stands: its locality, and whether a cluster is its own. */
static mc_status read_node(const mc_value *bootstrap, mc_snapshot *snapshot, mc_slice *local_cluster, mc_error *error) {
    const mc_value *node, *manager, *locality;
    mc_locality_name *name = &snapshot->node.locality;
    *local_cluster = MC_SLICE_NONE;
    TRY(mc_value_read_object(bootstrap, "node", &node, error));
    TRY(mc_value_read_object(node, "locality", &locality, error));
    TRY(mc_value_read_string(locality, "region", &name->region, error));
    TRY(mc_value_read_string(locality, "zone", &name->zone, error));
    TRY(mc_value_read_string(locality, "sub_zone", &name->sub_zone, error));
    TRY(mc_value_read_object(bootstrap, "cluster_manager", &manager, error));
    TRY(mc_value_read_string(manager, "local_cluster_name", local_cluster, error));
    snapshot->node.local_cluster = local_cluster->n > 0;
    snapshot->node.runtime = snapshot->has_runtime ? &snapshot->runtime : NULL;
    return MC_OK;
}

/* ZA-1: it must be there, with one priority. */
static mc_status find_local(mc_snapshot *snapshot, mc_slice local_cluster, mc_error *error) {
    const mc_snapshot_cluster *local = mc_map_get(&snapshot->by_name, local_cluster);
    snapshot->local_slot = UINT32_MAX;
    snapshot->node = (mc_lb_node){.local_cluster = false};
    if (local_cluster.n == 0) {
        return MC_OK;
    }
    if (local == NULL) {
        return mc_error_set(error, MC_EINVAL, "cluster_manager.local_cluster_name", "there is no cluster \"%.*s\"",
                            MC_SLICE_ARG(local_cluster));
    }
    const mc_priority_load *loads;
    if (mc_hosts_priorities(local->hosts, &loads) > 1) {
        return mc_error_set(error, MC_EINVAL, "cluster_manager.local_cluster_name",
                            "cluster \"%.*s\" must have a single priority", MC_SLICE_ARG(local_cluster));
    }
    snapshot->local_slot = local->cluster->slot;
    return MC_OK;
}

mc_status mc_snapshot_compile(const mc_value *bootstrap, const mc_compile_context *context, mc_snapshot **out,
                              mc_error *error) {
    mc_slice local_cluster;
    const mc_value *resources;
    mc_snapshot *snapshot = mc_calloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    atomic_init(&snapshot->refs, 1);
    mc_arena_init(&snapshot->arena, NULL);
    mc_map_init(&snapshot->by_name);
    mc_status status = compile_runtime(bootstrap, snapshot, error);
    if (status == MC_OK) {
        status = compile_overload(bootstrap, context->stats, snapshot, error);
    }
    if (status == MC_OK) {
        status = read_node(bootstrap, snapshot, &local_cluster, error);
    }
    if (status == MC_OK) {
        status = mc_value_read_object(bootstrap, "static_resources", &resources, error);
    }
    if (status == MC_OK) {
        status = compile_clusters(resources, context, snapshot, error);
        if (status == MC_OK) {
            status = compile_listeners(bootstrap, resources, context, snapshot, error);
        }
        if (status != MC_OK) {
            mc_error_under(error, "static_resources");
        }
    }
    if (status == MC_OK) {
        status = find_local(snapshot, local_cluster, error);
    }
    if (status != MC_OK) {
        mc_snapshot_unref(snapshot);
        return status;
    }
    snapshot->slot_count = context->slots->count;
    *out = snapshot;
    return MC_OK;
}
