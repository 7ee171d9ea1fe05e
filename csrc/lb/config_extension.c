/* load_balancing_policy: the first policy that is known, which may lead to another list of the same kind. */
#include "lb/config_internal.h"
#include "lb/subset_config.h"

static mc_status read_list(const mc_value *policy, mc_lb_config *out, mc_error *error);

/* --- policies that lead to another ------------------------------------------------------------------------------------------- */

static mc_status read_inner(const mc_value *typed, const char *field, mc_lb_config *out, mc_error *error) {
    const mc_value *inner;
    MC_TRY(mc_value_read_object(typed, field, &inner, error));
    return inner == NULL ? mc_error_set(error, MC_EINVAL, field, "is required")
                         : mc_error_in(read_list(inner, out, error), error, "%s", field);
}

/* A subset finds no host by its address: an OverrideHost inside always falls back. */
static mc_status read_subset_policy(const mc_value *typed, mc_lb_config *out, mc_error *error) {
    const mc_override_source *sources = out->override_sources;
    const size_t count = out->override_source_count;
    MC_TRY(mc_lb_read_subsets(typed, true, out, error));
    MC_TRY(read_inner(typed, "subset_lb_policy", out, error));
    out->override_sources = sources;
    out->override_source_count = count;
    return MC_OK;
}

static mc_status read_wrr_locality(const mc_value *typed, mc_lb_config *out, mc_error *error) {
    static const char field[] = "endpoint_picking_policy";
    out->locality_weighted = true;
    MC_TRY(read_inner(typed, field, out, error));
    return out->policy == MC_LB_CLIENT_WEIGHTS && out->subsets == NULL
               ? MC_OK
               : mc_error_set(error, MC_EINVAL, field,
                              "must be ClientSideWeightedRoundRobin, the only policy that WrrLocality goes with");
}

/* --- override_host ----------------------------------------------------------------------------------------------------------- */

/* A MetadataKey. */
static mc_status read_metadata_key(const mc_value *key, mc_arena *arena, mc_override_source *out, mc_error *error) {
    const mc_value *items;
    MC_TRY(mc_read_text(arena, key, "key", &out->space, error));
    MC_TRY(mc_value_read_list(key, "path", &items, &out->path_count, error));
    mc_slice *path = mc_arena_zalloc(arena, out->path_count * sizeof *path);
    if (path == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < out->path_count; i++) {
        MC_TRY(mc_read_text(arena, &items[i], "key", &path[i], error));
    }
    out->path = path;
    return MC_OK;
}

static mc_status read_override_source(const mc_value *value, mc_arena *arena, mc_override_source *out,
                                      mc_error *error) {
    const mc_value *metadata;
    mc_slice header = MC_SLICE_NONE;
    *out = (mc_override_source){.path_count = 0};
    MC_TRY(mc_value_read_string(value, "header", &header, error));
    MC_TRY(mc_value_read_object(value, "metadata", &metadata, error));
    if ((header.n > 0) == (metadata != NULL)) {
        return mc_error_set(error, MC_EINVAL, "", "must have one of header, metadata");
    }
    return metadata != NULL ? read_metadata_key(metadata, arena, out, error)
                            : mc_dup_lower(arena, header, &out->header);
}

static mc_status read_override_host(const mc_value *typed, mc_lb_config *out, mc_error *error) {
    static const char field[] = "override_host_sources";
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(typed, field, &items, &count, error));
    mc_arena *arena = mc_lb_config_arena(out);
    mc_override_source *sources = arena == NULL ? NULL : mc_arena_alloc(arena, count * sizeof *sources);
    if (sources == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_override_source(&items[i], arena, &sources[i], error), error, "%s[%zu]", field, i));
    }
    out->override_sources = sources;
    out->override_source_count = count;
    return read_inner(typed, "fallback_policy", out, error);
}

/* --- the list ------------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *type;
    mc_status (*read)(const mc_value *typed, mc_lb_config *out, mc_error *error);
} OUTER_POLICIES[] = {
    {"envoy.extensions.load_balancing_policies.subset.v3.Subset", read_subset_policy},
    {"envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality", read_wrr_locality},
    {"envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost", read_override_host},
};

static mc_status read_balancer(const mc_lb_policy_row *row, const mc_value *typed, mc_lb_config *out, mc_error *error) {
    const mc_value *locality;
    out->policy = row->policy;
    if (row->read != NULL) {
        MC_TRY(row->read(typed, out, error));
    }
    MC_TRY(mc_value_read_object(typed, "locality_lb_config", &locality, error));
    MC_TRY(mc_lb_read_hashing(typed, out, error));
    MC_TRY(mc_error_in(mc_lb_read_locality(locality, out, error), error, "locality_lb_config"));
    return mc_lb_read_locality(typed, out, error); /* the hash policies have locality_weighted_lb_config directly */
}

/* *known false: the type is none of ours. */
static mc_status read_typed(const mc_value *typed, bool *known, mc_lb_config *out, mc_error *error) {
    const mc_slice type = mc_any_type(typed);
    *known = true;
    for (size_t i = 0; i < sizeof OUTER_POLICIES / sizeof *OUTER_POLICIES; i++) {
        if (mc_slice_eq(type, mc_slice_cstr(OUTER_POLICIES[i].type))) {
            return OUTER_POLICIES[i].read(typed, out, error);
        }
    }
    const mc_lb_policy_row *row = mc_lb_policy_of_type(type);
    *known = row != NULL;
    return row != NULL ? read_balancer(row, typed, out, error) : MC_OK;
}

static mc_status read_entry(const mc_value *entry, bool *known, mc_lb_config *out, mc_error *error) {
    const mc_value *extension, *typed;
    MC_TRY(mc_value_read_object(entry, "typed_extension_config", &extension, error));
    MC_TRY(mc_value_read_object(extension, "typed_config", &typed, error));
    if (extension != NULL && typed == NULL) {
        return mc_error_set(error, MC_EINVAL, "typed_config", "is required");
    }
    return mc_error_in(read_typed(typed, known, out, error), error, "typed_config");
}

static mc_status read_list(const mc_value *policy, mc_lb_config *out, mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(policy, "policies", &items, &count, error));
    for (size_t i = 0; i < count; i++) {
        bool known = false;
        MC_TRY(
            mc_error_in(read_entry(&items[i], &known, out, error), error, "policies[%zu].typed_extension_config", i));
        if (known) {
            return MC_OK;
        }
    }
    return mc_error_set(error, MC_EINVAL, "policies", "has no policy that is supported");
}

/* It does not go with those fields of common_lb_config, and the like, that it has itself. */
static mc_status check_alone(const mc_value *cluster, mc_error *error) {
    static const char *const partial[] = {"zone_aware_lb_config", "locality_weighted_lb_config",
                                          "consistent_hashing_lb_config"};
    const mc_value *common = mc_value_get(cluster, "common_lb_config");
    if (mc_value_get(cluster, "lb_subset_config") != NULL) {
        return mc_error_set(error, MC_EINVAL, "lb_subset_config", "does not go with load_balancing_policy");
    }
    for (size_t i = 0; i < sizeof partial / sizeof *partial; i++) {
        if (mc_value_get(common, partial[i]) != NULL) {
            mc_status status = mc_error_set(error, MC_EINVAL, partial[i], "does not go with load_balancing_policy");
            return mc_error_in(status, error, "common_lb_config");
        }
    }
    return MC_OK;
}

mc_status mc_lb_read_extension(const mc_value *cluster, const mc_value *policy, mc_lb_config *out, mc_error *error) {
    MC_TRY(check_alone(cluster, error));
    return mc_error_in(read_list(policy, out, error), error, "load_balancing_policy");
}
