#include "base/alloc.h"
#include "base/read.h"
#include "engine/snapshot_internal.h"

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

static mc_status compile_runtime(const mc_value *bootstrap, mc_snapshot *snapshot, mc_error *error) {
    const mc_value *layered, *values;
    MC_TRY(mc_value_read_object(bootstrap, "layered_runtime", &layered, error));
    MC_TRY(mc_runtime_flatten(&snapshot->arena, layered, &values, error));
    snapshot->has_runtime = values != NULL;
    return mc_runtime_init(&snapshot->runtime, values);
}

#define DOWNSTREAM_LIMIT "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"

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
    MC_TRY(mc_value_read_object(bootstrap, "overload_manager", &manager, error));
    MC_TRY(mc_value_read_list(manager, "actions", &list, &actions, error));
    MC_TRY(mc_value_read_list(manager, "loadshed_points", &list, &points, error));
    snapshot->sheds_load = actions + points > 0;
    MC_TRY(mc_value_read_list(manager, "resource_monitors", &monitors, &count, error));
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_value_read_object(&monitors[i], "typed_config", &typed, error));
        if (mc_slice_eq(mc_any_type(typed), MC_SLICE(DOWNSTREAM_LIMIT))) {
            MC_TRY(mc_value_read_u64(typed, "max_active_downstream_connections", &snapshot->max_connections, error));
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
    MC_TRY(mc_value_read_object(bootstrap, "node", &node, error));
    MC_TRY(mc_value_read_object(node, "locality", &locality, error));
    MC_TRY(mc_value_read_string(locality, "region", &name->region, error));
    MC_TRY(mc_value_read_string(locality, "zone", &name->zone, error));
    MC_TRY(mc_value_read_string(locality, "sub_zone", &name->sub_zone, error));
    MC_TRY(mc_value_read_object(bootstrap, "cluster_manager", &manager, error));
    MC_TRY(mc_value_read_string(manager, "local_cluster_name", local_cluster, error));
    snapshot->node.local_cluster = local_cluster->n > 0;
    snapshot->node.runtime = mc_snapshot_runtime(snapshot);
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

static mc_status compile_resources(mc_snapshot *snapshot, const mc_value *bootstrap, const mc_compile_context *context,
                                   mc_error *error) {
    const mc_value *resources;
    MC_TRY(mc_value_read_object(bootstrap, "static_resources", &resources, error));
    MC_TRY(mc_error_in(mc_snapshot_compile_clusters(snapshot, resources, context, error), error, "static_resources"));
    return mc_error_in(mc_snapshot_compile_listeners(snapshot, bootstrap, resources, context, error), error,
                       "static_resources");
}

static mc_status compile(mc_snapshot *snapshot, const mc_value *bootstrap, const mc_compile_context *context,
                         mc_error *error) {
    mc_slice local_cluster;
    MC_TRY(compile_runtime(bootstrap, snapshot, error));
    MC_TRY(compile_overload(bootstrap, context->stats, snapshot, error));
    MC_TRY(read_node(bootstrap, snapshot, &local_cluster, error));
    MC_TRY(compile_resources(snapshot, bootstrap, context, error));
    MC_TRY(find_local(snapshot, local_cluster, error));
    snapshot->slot_count = context->slots->count;
    return MC_OK;
}

mc_status mc_snapshot_compile(const mc_value *bootstrap, const mc_compile_context *context, mc_snapshot **out,
                              mc_error *error) {
    mc_status status = MC_ENOMEM;
    mc_snapshot *snapshot = mc_calloc(1, sizeof *snapshot);
    if (snapshot != NULL) {
        atomic_init(&snapshot->refs, 1);
        mc_arena_init(&snapshot->arena, NULL);
        mc_map_init(&snapshot->by_name);
        status = compile(snapshot, bootstrap, context, error);
    }
    if (status == MC_OK) {
        *out = snapshot;
        return MC_OK;
    }
    mc_snapshot_unref(snapshot);
    return status == MC_ENOMEM ? mc_error_set(error, status, "", "out of memory") : status;
}
