#include "base/hash.h"
#include "base/read.h"
#include "engine/snapshot_internal.h"
#include "proxy/filter_list.h"

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

/* Of runtime values: a cluster's limits, and what balancers and outlier detection have for all clusters. */
static bool is_compiled_in(mc_slice key, mc_slice cluster) {
    static const mc_slice limits = MC_SLICE_INIT("circuit_breakers.");
    if (mc_slice_has_prefix(key, MC_SLICE("upstream.")) || mc_slice_has_prefix(key, MC_SLICE("outlier_detection."))) {
        return true;
    }
    const mc_slice of = mc_slice_has_prefix(key, limits) ? mc_slice_from(key, limits.n) : MC_SLICE_NONE;
    return mc_slice_has_prefix(of, cluster) && of.n > cluster.n && of.p[cluster.n] == '.';
}

static uint64_t hash_runtime(const mc_runtime *runtime, mc_slice name, uint64_t seed) {
    uint64_t sum = 0; /* of any order */
    mc_slice key;
    void *value;
    if (runtime == NULL) {
        return seed;
    }
    for (size_t at = 0; mc_map_next(&runtime->values, &at, &key, &value);) {
        if (is_compiled_in(key, name)) {
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
    MC_TRY(mc_value_read_string(config, "name", &name, error));
    MC_TRY(mc_value_read_object(config, "load_assignment", &assignment, error));
    const uint32_t slot = mc_slots_get(context->slots, name);
    if (slot == UINT32_MAX) {
        return MC_ENOMEM;
    }
    const uint64_t hash = hash_runtime(mc_snapshot_runtime(snapshot), name, hash_cluster(config));
    const mc_snapshot_cluster *old = context->previous == NULL ? NULL : mc_map_get(&context->previous->by_name, name);
    const bool same = old != NULL && old->cluster->config_hash == hash;
    if (same) {
        out->cluster = mc_cluster_ref(old->cluster);
    } else {
        mc_filter_compile filters = {.error = error, .stats = context->stats};
        MC_TRY(mc_cluster_compile(config, &snapshot->node, hash, slot, context->stats, &out->cluster, error));
        MC_TRY(mc_cluster_filters_compile(out->cluster, config, &filters));
    }
    mc_hosts *members = same ? context->members(context->members_ctx, slot) : NULL;
    if (members != NULL && (out->cluster->original_dst != NULL || out->cluster->forward != NULL)) {
        out->hosts = mc_hosts_ref(members); /* which no assignment names */
        return MC_OK;
    }
    return mc_error_in(mc_hosts_compile(assignment == NULL ? &no_assignment : assignment, &out->cluster->lb,
                                        out->cluster->name, context->stats, members, &out->hosts, error),
                       error, "load_assignment");
}

static mc_status add_cluster(mc_snapshot *snapshot, const mc_value *config, const mc_compile_context *context,
                             mc_error *error) {
    mc_snapshot_cluster *entry = &snapshot->clusters[snapshot->cluster_count++];
    MC_TRY(compile_cluster(config, context, snapshot, entry, error));
    const mc_slice name = entry->cluster->name;
    return mc_map_get(&snapshot->by_name, name) == NULL
               ? mc_map_put(&snapshot->by_name, name, entry)
               : mc_error_set(error, MC_EINVAL, "name", "is given twice: %.*s", MC_SLICE_ARG(name));
}

mc_status mc_snapshot_compile_clusters(mc_snapshot *snapshot, const mc_value *resources,
                                       const mc_compile_context *context, mc_error *error) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(resources, "clusters", &list, &count, error));
    snapshot->clusters = mc_arena_zalloc(&snapshot->arena, count * sizeof *snapshot->clusters);
    if (snapshot->clusters == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(add_cluster(snapshot, &list[i], context, error), error, "clusters[%zu]", i));
    }
    return MC_OK;
}
