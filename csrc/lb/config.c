/* From a Cluster message to mc_lb_config: the legacy fields (lb_policy and its *_lb_config), or the first
 * entry of load_balancing_policy. */
#include "base/alloc.h"
#include "base/defaults.h"
#include "base/runtime.h"
#include "lb/host.h"
#include "lb/maglev.h"
#include "lb/metadata.h"
#include "lb/subset_config.h"
#include "route/route.h"

/* --- what a configuration points to --------------------------------------------------------------------------------------- */

struct mc_lb_shared {
    _Atomic uint32_t refs;
    mc_arena arena;
    mc_locality_name local;
    mc_subset_config *subsets;
};

mc_lb_config mc_lb_config_copy(const mc_lb_config *config) {
    if (config->shared != NULL) {
        atomic_fetch_add_explicit(&config->shared->refs, 1, memory_order_relaxed);
    }
    return *config;
}

void mc_lb_config_fini(mc_lb_config *config) {
    mc_lb_shared *shared = config->shared;
    config->shared = NULL;
    if (shared != NULL && atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) == 1) {
        if (shared->subsets != NULL) {
            mc_subset_config_fini(shared->subsets);
        }
        mc_arena_fini(&shared->arena);
        mc_free(shared);
    }
}

/* Made when first needed; NULL when out of memory, which is in `error` then. */
static mc_lb_shared *shared_of(mc_lb_config *config, mc_error *error) {
    if (config->shared == NULL && (config->shared = mc_calloc(1, sizeof *config->shared)) != NULL) {
        atomic_init(&config->shared->refs, 1);
        mc_arena_init(&config->shared->arena, NULL);
    }
    if (config->shared == NULL) {
        (void)mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    return config->shared;
}

static mc_status keep_locality(const mc_locality_name *local, mc_lb_config *out, mc_error *error) {
    if (local->region.n == 0 && local->zone.n == 0 && local->sub_zone.n == 0) {
        return MC_OK;
    }
    mc_lb_shared *shared = shared_of(out, error);
    if (shared == NULL || mc_arena_dup(&shared->arena, local->region, &shared->local.region) != MC_OK ||
        mc_arena_dup(&shared->arena, local->zone, &shared->local.zone) != MC_OK ||
        mc_arena_dup(&shared->arena, local->sub_zone, &shared->local.sub_zone) != MC_OK) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    out->local = &shared->local;
    return MC_OK;
}

/* --- fields ------------------------------------------------------------------------------------------------------------------ */

/* A double in a RuntimeDouble; *out stays when the field is absent. */
static mc_status read_runtime_double(const mc_value *object, const char *name, const mc_runtime *runtime, double *out,
                                     mc_error *error) {
    const mc_value *value;
    mc_slice key = MC_SLICE_NONE;
    mc_status status = mc_value_read_object(object, name, &value, error);
    if (status != MC_OK || value == NULL) {
        return status;
    }
    *out = 0.0; /* proto3 leaves zero out */
    if ((status = mc_value_read_double(value, "default_value", out, error)) != MC_OK ||
        (status = mc_value_read_string(value, "runtime_key", &key, error)) != MC_OK) {
        mc_error_under(error, "%s", name);
        return status;
    }
    *out = runtime == NULL ? *out : mc_runtime_double(runtime, key, *out);
    return MC_OK;
}

/* A double in a Percent; *out stays when the field is absent. */
static mc_status read_percent(const mc_value *object, const char *name, double *out, mc_error *error) {
    const mc_value *percent;
    mc_status status = mc_value_read_object(object, name, &percent, error);
    if (status != MC_OK || percent == NULL) {
        return status;
    }
    *out = 0.0;
    if ((status = mc_value_read_double(percent, "value", out, error)) != MC_OK) {
        mc_error_under(error, "%s", name);
    } else if (!(*out >= 0.0 && *out <= 100.0)) {
        status = mc_error_set(error, MC_EINVAL, name, "must be between 0 and 100");
    }
    return status;
}

static mc_status read_slow_start(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    const mc_value *slow;
    mc_status status = mc_value_read_object(lb, "slow_start_config", &slow, error);
    if (status != MC_OK) {
        return status;
    }
    if ((status = mc_value_read_duration_ms(slow, "slow_start_window", &out->slow_start_window_ms, error)) != MC_OK ||
        (status = read_runtime_double(slow, "aggression", out->runtime, &out->slow_start_aggression, error)) != MC_OK ||
        (status = read_percent(slow, "min_weight_percent", &out->slow_start_min_percent, error)) != MC_OK) {
        mc_error_under(error, "slow_start_config");
    }
    if (!(out->slow_start_aggression > 0.0)) { /* ED-11, NaN included */
        out->slow_start_aggression = 1.0;
    }
    return status;
}

static mc_status read_least_request(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    mc_slice method = MC_SLICE("N_CHOICES");
    mc_status status;
    if ((status = mc_value_read_u32(lb, "choice_count", &out->choice_count, error)) != MC_OK ||
        (status = mc_value_read_bool(lb, "enable_full_scan", &out->full_scan, error)) != MC_OK ||
        (status = mc_value_read_string(lb, "selection_method", &method, error)) != MC_OK ||
        (status = read_runtime_double(lb, "active_request_bias", out->runtime, &out->active_request_bias, error)) !=
            MC_OK) {
        return status;
    }
    if (out->choice_count < MC_MIN_LEAST_REQUEST_CHOICES) {
        return mc_error_set(error, MC_EINVAL, "choice_count", "must be at least 2");
    }
    out->full_scan |= mc_slice_eq(method, MC_SLICE("FULL_SCAN"));
    if (!(out->active_request_bias >= 0.0)) { /* ED-9, NaN included */
        out->active_request_bias = 1.0;
    }
    return read_slow_start(lb, out, error);
}

static mc_status read_hashing(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    mc_status status;
    if ((status = mc_value_read_bool(lb, "use_hostname_for_hashing", &out->hostname_hash_key, error)) != MC_OK ||
        (status = mc_value_read_u32(lb, "hash_balance_factor", &out->hash_balance_factor, error)) != MC_OK) {
        return status;
    }
    if (mc_value_get(lb, "hash_balance_factor") != NULL && out->hash_balance_factor < 100) {
        return mc_error_set(error, MC_EINVAL, "hash_balance_factor", "must be at least 100");
    }
    const mc_value *policies = mc_value_get(lb, "hash_policy");
    if (policies != NULL && policies->kind == MC_LIST && policies->count > 0) {
        mc_lb_shared *shared = shared_of(out, error);
        mc_hash_policies *compiled = shared == NULL ? NULL : mc_arena_alloc(&shared->arena, sizeof *compiled);
        if (compiled == NULL) {
            return mc_error_set(error, MC_ENOMEM, "", "out of memory");
        }
        out->hash_policies = compiled;
        return mc_hash_policies_compile(policies, &shared->arena, compiled, error);
    }
    return MC_OK;
}

/* consistent_hashing_lb_config, or the deprecated fields of the same names beside it. */
static mc_status read_hashing_of(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    const mc_value *hashing;
    mc_status status = mc_value_read_object(lb, "consistent_hashing_lb_config", &hashing, error);
    if (status != MC_OK || hashing == NULL) {
        return status == MC_OK ? read_hashing(lb, out, error) : status;
    }
    if ((status = read_hashing(hashing, out, error)) != MC_OK) {
        mc_error_under(error, "consistent_hashing_lb_config");
    }
    return status;
}

static mc_status read_ring(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    mc_slice function = MC_SLICE("XX_HASH");
    mc_status status;
    if ((status = mc_value_read_u64(lb, "minimum_ring_size", &out->ring_min, error)) != MC_OK ||
        (status = mc_value_read_u64(lb, "maximum_ring_size", &out->ring_max, error)) != MC_OK ||
        (status = mc_value_read_string(lb, "hash_function", &function, error)) != MC_OK) {
        return status;
    }
    if (out->ring_min == 0 || out->ring_min > MC_MAX_RING_MINIMUM_SIZE) {
        return mc_error_set(error, MC_EINVAL, "minimum_ring_size", "must be between 1 and 8388608");
    }
    if (out->ring_max > MC_MAX_RING_MAXIMUM_SIZE || out->ring_max < out->ring_min) {
        return mc_error_set(error, MC_EINVAL, "maximum_ring_size",
                            "must be between minimum_ring_size (%llu) and 8388608", (unsigned long long)out->ring_min);
    }
    out->ring_murmur = mc_slice_eq(function, MC_SLICE("MURMUR_HASH_2"));
    return MC_OK;
}

static mc_status read_maglev(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    mc_status status = mc_value_read_u64(lb, "table_size", &out->maglev_size, error);
    if (status == MC_OK && !mc_maglev_size_ok(out->maglev_size)) {
        status = mc_error_set(error, MC_EINVAL, "table_size", "must be a prime number between 2 and 5000011");
    }
    return status;
}

static mc_status read_random(const mc_value *lb, mc_lb_config *out, mc_error *error) { return MC_OK; }

static mc_status read_duration_ns(const mc_value *lb, const char *name, uint64_t *out, mc_error *error) {
    uint64_t ms = *out / 1000000;
    mc_status status = mc_value_read_duration_ms(lb, name, &ms, error);
    *out = mc_value_get(lb, name) == NULL ? *out : ms * 1000000;
    return status;
}

/* PE-3, PE-7: both times are floored to a millisecond. */
static mc_status read_peak(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    static const uint64_t ms = 1000000;
    bool failures = mc_value_get(lb, "failure_penalty") != NULL;
    uint64_t penalty = MC_DEFAULT_PEAK_PENALTY * ms;
    mc_status status;
    if ((status = read_duration_ns(lb, "default_rtt", &out->peak.default_rtt_ns, error)) != MC_OK ||
        (status = read_duration_ns(lb, "decay", &out->peak.decay_ns, error)) != MC_OK ||
        (status = mc_value_read_bool(lb, "failures_as_latency", &failures, error)) != MC_OK ||
        (status = read_duration_ns(lb, "failure_penalty", &penalty, error)) != MC_OK) {
        return status;
    }
    out->peak.penalty_ns = failures ? penalty : 0;
    out->peak.default_rtt_ns = out->peak.default_rtt_ns < ms ? ms : out->peak.default_rtt_ns;
    out->peak.decay_ns = out->peak.decay_ns < ms ? ms : out->peak.decay_ns;
    return MC_OK;
}

static mc_status read_metrics(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    const mc_value *items;
    size_t count;
    mc_status status = mc_value_read_list(lb, "metric_names_for_computing_utilization", &items, &count, error);
    if (status != MC_OK || count == 0) {
        return status;
    }
    mc_lb_shared *shared = shared_of(out, error);
    mc_slice *names = shared == NULL ? NULL : mc_arena_alloc(&shared->arena, count * sizeof *names);
    for (size_t i = 0; names != NULL && i < count; i++) {
        if (items[i].kind != MC_STRING) {
            return mc_error_set(error, MC_EINVAL, "metric_names_for_computing_utilization", "must be strings");
        }
        names = mc_arena_dup(&shared->arena, items[i].string, &names[i]) == MC_OK ? names : NULL;
    }
    out->weights.metrics = names;
    out->weights.metric_count = count;
    return names == NULL ? mc_error_set(error, MC_ENOMEM, "", "out of memory") : MC_OK;
}

static mc_status read_client_weights(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    mc_client_weights_config *weights = &out->weights;
    mc_status status;
    if ((status = mc_value_read_duration_ms(lb, "blackout_period", &weights->blackout_ms, error)) != MC_OK ||
        (status = mc_value_read_duration_ms(lb, "weight_expiration_period", &weights->expiration_ms, error)) != MC_OK ||
        (status = mc_value_read_duration_ms(lb, "weight_update_period", &weights->update_ms, error)) != MC_OK ||
        (status = mc_value_read_double(lb, "error_utilization_penalty", &weights->error_penalty, error)) != MC_OK ||
        (status = read_metrics(lb, out, error)) != MC_OK) {
        return status;
    }
    weights->update_ms = weights->update_ms < 100 ? 100 : weights->update_ms;
    return read_slow_start(lb, out, error);
}

typedef struct policy_row {
    mc_slice name;     /* value of lb_policy; NONE: there is none */
    mc_slice type;     /* type of the extension's configuration, after type.googleapis.com/ */
    const char *field; /* configuration in the Cluster message */
    mc_lb_policy policy;
    mc_status (*read)(const mc_value *lb, mc_lb_config *out, mc_error *error);
} policy_row;

#define EXTENSION(type) MC_SLICE_INIT("envoy.extensions.load_balancing_policies." type)

static const policy_row POLICIES[] = {
    {MC_SLICE_INIT("ROUND_ROBIN"), EXTENSION("round_robin.v3.RoundRobin"), "round_robin_lb_config", MC_LB_ROUND_ROBIN,
     read_slow_start},
    {MC_SLICE_INIT("LEAST_REQUEST"), EXTENSION("least_request.v3.LeastRequest"), "least_request_lb_config",
     MC_LB_LEAST_REQUEST, read_least_request},
    {MC_SLICE_INIT("RANDOM"), EXTENSION("random.v3.Random"), NULL, MC_LB_RANDOM, read_random},
    {MC_SLICE_INIT("RING_HASH"), EXTENSION("ring_hash.v3.RingHash"), "ring_hash_lb_config", MC_LB_RING_HASH, read_ring},
    {MC_SLICE_INIT("CLUSTER_PROVIDED"), {NULL, 0}, NULL, MC_LB_RANDOM, read_random}, /* the request names its host */
    {MC_SLICE_INIT("MAGLEV"), EXTENSION("maglev.v3.Maglev"), "maglev_lb_config", MC_LB_MAGLEV, read_maglev},
    {{NULL, 0}, MC_SLICE_INIT("meshcore.PeakEwma"), NULL, MC_LB_PEAK_EWMA, read_peak},
    {{NULL, 0},
     EXTENSION("client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"),
     NULL,
     MC_LB_CLIENT_WEIGHTS,
     read_client_weights},
};

static const policy_row *find_row(mc_slice key, bool by_type) {
    for (size_t i = 0; key.n > 0 && i < sizeof POLICIES / sizeof *POLICIES; i++) {
        if (mc_slice_eq(key, by_type ? POLICIES[i].type : POLICIES[i].name)) {
            return &POLICIES[i];
        }
    }
    return NULL;
}

static mc_status read_force_local(const mc_value *zone, mc_zone_config *out, mc_error *error) {
    const mc_value *force;
    mc_status status = mc_value_read_object(zone, "force_local_zone", &force, error);
    if (status != MC_OK) {
        return status;
    }
    /* force_locality_direct_routing is the older name of a minimum of one. */
    if ((status = mc_value_read_bool(zone, "force_locality_direct_routing", &out->force_local, error)) != MC_OK) {
        return status;
    }
    out->force_local |= force != NULL;
    return mc_value_read_u32(force, "min_size", &out->force_local_minimum, error);
}

static mc_status read_zone(const mc_value *zone, mc_lb_config *out, mc_error *error) {
    double percent = 100;
    mc_slice basis = MC_SLICE_NONE;
    mc_status status;
    if ((status = read_percent(zone, "routing_enabled", &percent, error)) != MC_OK ||
        (status = mc_value_read_u64(zone, "min_cluster_size", &out->zone.min_cluster_size, error)) != MC_OK ||
        (status = mc_value_read_bool(zone, "fail_traffic_on_panic", &out->fail_traffic_on_panic, error)) != MC_OK ||
        (status = mc_value_read_string(zone, "locality_basis", &basis, error)) != MC_OK ||
        (status = read_force_local(zone, &out->zone, error)) != MC_OK) {
        return status;
    }
    out->zone.routing_enabled = (uint32_t)(100.0 * (percent / 100.0)); /* C-1 */
    out->zone.by_weight = mc_slice_eq(basis, MC_SLICE("HEALTHY_HOSTS_WEIGHT"));
    return MC_OK;
}

static mc_status read_locality(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    const mc_value *zone;
    mc_status status = mc_value_read_object(lb, "zone_aware_lb_config", &zone, error);
    out->locality_weighted |= mc_value_get(lb, "locality_weighted_lb_config") != NULL;
    if (status == MC_OK && zone != NULL && (status = read_zone(zone, out, error)) != MC_OK) {
        mc_error_under(error, "zone_aware_lb_config");
    }
    return status;
}

/* `always`: the policy is of subsets, whatever selectors it has. */
static mc_status read_subsets(const mc_value *config, bool always, mc_lb_config *out, mc_error *error) {
    mc_lb_shared *shared = shared_of(out, error);
    if (shared == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = mc_subset_config_read(config, always, &shared->arena, &out->subsets, error);
    shared->subsets = (mc_subset_config *)out->subsets;
    return status;
}

/* SB-10: the legacy configuration must weigh localities for subsets to do so. */
static mc_status read_legacy_subsets(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *subsets;
    mc_status status = mc_value_read_object(cluster, "lb_subset_config", &subsets, error);
    if (status != MC_OK || subsets == NULL) {
        return status;
    }
    status = read_subsets(subsets, false, out, error);
    if (status == MC_OK && out->subsets != NULL && out->subsets->locality_weight_aware && !out->locality_weighted) {
        status = mc_error_set(error, MC_EINVAL, "locality_weight_aware",
                              "needs common_lb_config.locality_weighted_lb_config");
    }
    if (status != MC_OK) {
        mc_error_under(error, "lb_subset_config");
    }
    return status;
}

static mc_status read_legacy(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *lb = NULL, *common;
    mc_slice name = MC_SLICE("ROUND_ROBIN");
    mc_status status = mc_value_read_string(cluster, "lb_policy", &name, error);
    if (status != MC_OK) {
        return status;
    }
    const policy_row *row = find_row(name, false);
    if (row == NULL) {
        return mc_error_set(error, MC_EINVAL, "lb_policy", "\"%.*s\" is not supported", MC_SLICE_ARG(name));
    }
    out->policy = row->policy;
    if (row->field != NULL) {
        if ((status = mc_value_read_object(cluster, row->field, &lb, error)) != MC_OK) {
            return status;
        }
        if ((status = row->read(lb, out, error)) != MC_OK) {
            mc_error_under(error, "%s", row->field);
            return status;
        }
    }
    if ((status = mc_value_read_object(cluster, "common_lb_config", &common, error)) != MC_OK) {
        return status;
    }
    if ((status = read_locality(common, out, error)) != MC_OK ||
        (status = read_hashing_of(common, out, error)) != MC_OK) {
        mc_error_under(error, "common_lb_config");
        return status;
    }
    return read_legacy_subsets(cluster, out, error);
}

static mc_status read_extension(const mc_value *policy, mc_lb_config *out, mc_error *error);

/* A policy that leads to another one, in `field`. */
static mc_status read_inner(const mc_value *typed, const char *field, mc_lb_config *out, mc_error *error) {
    const mc_value *inner;
    mc_status status = mc_value_read_object(typed, field, &inner, error);
    if (status != MC_OK) {
        return status;
    }
    if (inner == NULL) {
        return mc_error_set(error, MC_EINVAL, field, "is required");
    }
    if ((status = read_extension(inner, out, error)) != MC_OK) {
        mc_error_under(error, "%s", field);
    }
    return status;
}

/* A subset finds no host by its address: an OverrideHost inside always falls back. */
static mc_status read_subset_policy(const mc_value *typed, mc_lb_config *out, mc_error *error) {
    const mc_override_source *sources = out->override_sources;
    const size_t count = out->override_source_count;
    mc_status status = read_subsets(typed, true, out, error);
    status = status == MC_OK ? read_inner(typed, "subset_lb_policy", out, error) : status;
    out->override_sources = sources;
    out->override_source_count = count;
    return status;
}

static mc_status read_wrr_locality(const mc_value *typed, mc_lb_config *out, mc_error *error) {
    out->locality_weighted = true;
    mc_status status = read_inner(typed, "endpoint_picking_policy", out, error);
    if (status == MC_OK && (out->policy != MC_LB_CLIENT_WEIGHTS || out->subsets != NULL)) {
        status = mc_error_set(error, MC_EINVAL, "endpoint_picking_policy",
                              "must be ClientSideWeightedRoundRobin, the only policy that WrrLocality goes with");
    }
    return status;
}

static mc_status dup_lower(mc_arena *arena, mc_slice from, mc_slice *out) {
    char *copy = mc_arena_bytes(arena, from.n);
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < from.n; i++) {
        copy[i] = mc_ascii_lower(from.p[i]);
    }
    *out = mc_slice_of(copy, from.n);
    return MC_OK;
}

/* A MetadataKey. */
static mc_status read_metadata_key(const mc_value *key, mc_arena *arena, mc_override_source *out, mc_error *error) {
    const mc_value *items;
    mc_slice text = MC_SLICE_NONE;
    mc_status status;
    if ((status = mc_value_read_string(key, "key", &text, error)) != MC_OK ||
        (status = mc_value_read_list(key, "path", &items, &out->path_count, error)) != MC_OK) {
        return status;
    }
    mc_slice *path = mc_arena_alloc(arena, out->path_count * sizeof *path);
    if (path == NULL || mc_arena_dup(arena, text, &out->space) != MC_OK) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    for (size_t i = 0; i < out->path_count; i++) {
        if ((status = mc_value_read_string(&items[i], "key", &text, error)) != MC_OK) {
            return status;
        }
        if (mc_arena_dup(arena, text, &path[i]) != MC_OK) {
            return mc_error_set(error, MC_ENOMEM, "", "out of memory");
        }
    }
    out->path = path;
    return MC_OK;
}

static mc_status read_override_source(const mc_value *value, mc_arena *arena, mc_override_source *out,
                                      mc_error *error) {
    const mc_value *metadata;
    mc_slice header = MC_SLICE_NONE;
    mc_status status;
    *out = (mc_override_source){.path_count = 0};
    if ((status = mc_value_read_string(value, "header", &header, error)) != MC_OK ||
        (status = mc_value_read_object(value, "metadata", &metadata, error)) != MC_OK) {
        return status;
    }
    if ((header.n > 0) == (metadata != NULL)) {
        return mc_error_set(error, MC_EINVAL, "", "must have one of header, metadata");
    }
    if (metadata != NULL) {
        return read_metadata_key(metadata, arena, out, error);
    }
    return dup_lower(arena, header, &out->header) == MC_OK ? MC_OK
                                                           : mc_error_set(error, MC_ENOMEM, "", "out of memory");
}

static mc_status read_override_host(const mc_value *typed, mc_lb_config *out, mc_error *error) {
    const mc_value *items;
    size_t count;
    mc_lb_shared *shared = shared_of(out, error);
    mc_status status = mc_value_read_list(typed, "override_host_sources", &items, &count, error);
    if (status != MC_OK) {
        return status;
    }
    mc_override_source *sources = shared == NULL ? NULL : mc_arena_alloc(&shared->arena, count * sizeof *sources);
    if (sources == NULL) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        if ((status = read_override_source(&items[i], &shared->arena, &sources[i], error)) != MC_OK) {
            mc_error_under(error, "override_host_sources[%zu]", i);
            return status;
        }
    }
    out->override_sources = sources;
    out->override_source_count = count;
    return read_inner(typed, "fallback_policy", out, error);
}

static mc_status read_simple(const policy_row *row, const mc_value *typed, mc_lb_config *out, mc_error *error) {
    const mc_value *locality;
    mc_status status;
    out->policy = row->policy;
    if ((status = row->read(typed, out, error)) != MC_OK ||
        (status = mc_value_read_object(typed, "locality_lb_config", &locality, error)) != MC_OK ||
        (status = read_hashing_of(typed, out, error)) != MC_OK) {
        return status;
    }
    if ((status = read_locality(locality, out, error)) != MC_OK) {
        mc_error_under(error, "locality_lb_config");
        return status;
    }
    return read_locality(typed, out, error); /* the hash policies have locality_weighted_lb_config directly */
}

/* Policies that lead to another one, beside the rows of POLICIES. */
static const struct {
    mc_slice type;
    mc_status (*read)(const mc_value *typed, mc_lb_config *out, mc_error *error);
} OUTER_POLICIES[] = {
    {EXTENSION("subset.v3.Subset"), read_subset_policy},
    {EXTENSION("wrr_locality.v3.WrrLocality"), read_wrr_locality},
    {EXTENSION("override_host.v3.OverrideHost"), read_override_host},
};

static mc_slice type_of(const mc_value *typed) {
    static const mc_slice prefix = MC_SLICE_INIT("type.googleapis.com/");
    const mc_value *type = mc_value_get(typed, "@type");
    const mc_slice name = type != NULL && type->kind == MC_STRING ? type->string : MC_SLICE_NONE;
    return mc_slice_has_prefix(name, prefix) ? mc_slice_from(name, prefix.n) : name;
}

/* *known false: the type is none of ours. */
static mc_status read_typed(const mc_value *typed, bool *known, mc_lb_config *out, mc_error *error) {
    const mc_slice type = type_of(typed);
    *known = true;
    for (size_t i = 0; i < sizeof OUTER_POLICIES / sizeof *OUTER_POLICIES; i++) {
        if (mc_slice_eq(type, OUTER_POLICIES[i].type)) {
            return OUTER_POLICIES[i].read(typed, out, error);
        }
    }
    const policy_row *row = find_row(type, true);
    *known = row != NULL;
    return row != NULL ? read_simple(row, typed, out, error) : MC_OK;
}

/* The first policy of the list that is known; those before it are passed over. */
static mc_status read_extension(const mc_value *policy, mc_lb_config *out, mc_error *error) {
    const mc_value *items, *extension, *typed;
    size_t count;
    mc_status status = mc_value_read_list(policy, "policies", &items, &count, error);
    for (size_t i = 0; status == MC_OK && i < count; i++) {
        bool known = false;
        if ((status = mc_value_read_object(&items[i], "typed_extension_config", &extension, error)) == MC_OK &&
            (status = mc_value_read_object(extension, "typed_config", &typed, error)) == MC_OK) {
            if (extension != NULL && typed == NULL) {
                status = mc_error_set(error, MC_EINVAL, "typed_config", "is required");
            } else if ((status = read_typed(typed, &known, out, error)) != MC_OK) {
                mc_error_under(error, "typed_config");
            }
        }
        if (status != MC_OK) {
            mc_error_under(error, "policies[%zu].typed_extension_config", i);
        } else if (known) {
            return MC_OK;
        }
    }
    return status != MC_OK ? status : mc_error_set(error, MC_EINVAL, "policies", "has no policy that is supported");
}

/* load_balancing_policy does not go with those fields of common_lb_config, and the like, that it has itself. */
static mc_status read_new(const mc_value *cluster, const mc_value *policy, mc_lb_config *out, mc_error *error) {
    static const char *const partial[] = {"zone_aware_lb_config", "locality_weighted_lb_config",
                                          "consistent_hashing_lb_config"};
    const mc_value *common = mc_value_get(cluster, "common_lb_config");
    if (mc_value_get(cluster, "lb_subset_config") != NULL) {
        return mc_error_set(error, MC_EINVAL, "lb_subset_config", "does not go with load_balancing_policy");
    }
    for (size_t i = 0; i < sizeof partial / sizeof *partial; i++) {
        if (mc_value_get(common, partial[i]) != NULL) {
            mc_status status = mc_error_set(error, MC_EINVAL, partial[i], "does not go with load_balancing_policy");
            mc_error_under(error, "common_lb_config");
            return status;
        }
    }
    mc_status status = read_extension(policy, out, error);
    if (status != MC_OK) {
        mc_error_under(error, "load_balancing_policy");
    }
    return status;
}

/* ED-13. */
static mc_status read_override(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *set = mc_value_get(mc_value_get(cluster, "common_lb_config"), "override_host_status"), *items;
    size_t count;
    if (set == NULL) {
        return MC_OK;
    }
    mc_status status = mc_value_read_list(set, "statuses", &items, &count, error);
    out->override_statuses = 0;
    for (size_t i = 0; status == MC_OK && i < count; i++) {
        mc_eds_status bit = MC_EDS_UNKNOWN;
        if (items[i].kind != MC_STRING || mc_eds_status_parse(items[i].string, &bit) != MC_OK) {
            status = mc_error_set(error, MC_EINVAL, "statuses", "must be health statuses");
        }
        out->override_statuses |= (uint8_t)(1u << bit);
    }
    if (status != MC_OK) {
        mc_error_under(error, "common_lb_config.override_host_status");
    }
    return status;
}

static mc_status read_panic_threshold(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *common;
    double percent = (double)MC_DEFAULT_HEALTHY_PANIC_THRESHOLD;
    mc_status status = mc_value_read_object(cluster, "common_lb_config", &common, error);
    if (status == MC_OK && (status = read_percent(common, "healthy_panic_threshold", &percent, error)) != MC_OK) {
        mc_error_under(error, "common_lb_config");
    }
    out->panic_threshold = (uint32_t)(100.0 * (percent / 100.0)); /* C-1: 29 becomes 28 */
    return status;
}

/* Runtime values in place of fields (PR-6, ZA-3, ZA-5, ZA-7). */
static void override_fields(mc_lb_config *out) {
    const mc_runtime *runtime = out->runtime;
    mc_zone_config *zone = &out->zone;
    if (runtime == NULL) {
        return;
    }
    const uint64_t panic = mc_runtime_u64(runtime, MC_SLICE("upstream.healthy_panic_threshold"), out->panic_threshold);
    const uint64_t enabled = mc_runtime_u64(runtime, MC_SLICE("upstream.zone_routing.enabled"), zone->routing_enabled);
    const uint64_t forced = mc_runtime_u64(runtime, MC_SLICE("upstream.zone_routing.force_local_zone.min_size"), 0);
    out->panic_threshold = (uint32_t)(panic < 100 ? panic : 100);
    zone->routing_enabled = (uint32_t)(enabled < 100 ? enabled : 100);
    zone->min_cluster_size =
        mc_runtime_u64(runtime, MC_SLICE("upstream.zone_routing.min_cluster_size"), zone->min_cluster_size);
    if (forced > 0) {
        zone->force_local = true;
        zone->force_local_minimum = (uint32_t)(forced < UINT32_MAX ? forced : UINT32_MAX);
    }
}

static mc_status read_happy_eyeballs(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *options, *happy;
    mc_slice family = MC_SLICE("DEFAULT");
    mc_status status;
    out->happy_first_count = 1;
    if ((status = mc_value_read_object(cluster, "upstream_connection_options", &options, error)) != MC_OK ||
        (status = mc_value_read_object(options, "happy_eyeballs_config", &happy, error)) != MC_OK ||
        (status = mc_value_read_string(happy, "first_address_family_version", &family, error)) != MC_OK ||
        (status = mc_value_read_u32(happy, "first_address_family_count", &out->happy_first_count, error)) != MC_OK) {
        mc_error_under(error, "upstream_connection_options.happy_eyeballs_config");
        return status;
    }
    out->happy_first_family = mc_slice_eq(family, MC_SLICE("V4"))   ? AF_INET
                              : mc_slice_eq(family, MC_SLICE("V6")) ? AF_INET6
                                                                    : 0;
    return MC_OK;
}

#define CLUSTER_TYPES "type.googleapis.com/envoy.extensions.clusters."

static bool is_of_type(const mc_value *cluster, mc_slice wanted) {
    const mc_value *typed = mc_value_get(mc_value_get(cluster, "cluster_type"), "typed_config");
    const mc_value *type = mc_value_get(typed, "@type");
    return type != NULL && type->kind == MC_STRING && mc_slice_eq(type->string, wanted);
}

/* CL-15 to CL-17: the request names its host, or another cluster has it, in clusters of these types alone. */
static mc_status check_provided(const mc_value *cluster, mc_slice type, mc_error *error) {
    mc_slice policy = MC_SLICE("ROUND_ROBIN");
    mc_status status = mc_value_read_string(cluster, "lb_policy", &policy, error);
    const bool original = mc_slice_eq(type, MC_SLICE("ORIGINAL_DST")) ||
                          is_of_type(cluster, MC_SLICE(CLUSTER_TYPES "aggregate.v3.ClusterConfig")) ||
                          is_of_type(cluster, MC_SLICE(CLUSTER_TYPES "dynamic_forward_proxy.v3.ClusterConfig"));
    const bool provided = mc_slice_eq(policy, MC_SLICE("CLUSTER_PROVIDED"));
    if (status != MC_OK) {
        return status;
    }
    if (original ? !provided : provided && mc_value_get(cluster, "load_balancing_policy") == NULL) {
        return mc_error_set(
            error, MC_EINVAL, "lb_policy",
            "must be CLUSTER_PROVIDED with ORIGINAL_DST, aggregates and dynamic forward proxies, and only with them");
    }
    if (provided && mc_value_get(cluster, "lb_subset_config") != NULL) {
        return mc_error_set(error, MC_EINVAL, "lb_subset_config", "does not go with the lb_policy CLUSTER_PROVIDED");
    }
    return MC_OK;
}

/* RH-2: of these fields only the policies' own may be set for other types. */
static mc_status check_hostnames(const mc_value *cluster, mc_slice type, mc_error *error) {
    const mc_value *hashing = mc_value_get(mc_value_get(cluster, "common_lb_config"), "consistent_hashing_lb_config");
    bool hostnames = false;
    mc_status status = mc_value_read_bool(hashing, "use_hostname_for_hashing", &hostnames, error);
    if (status == MC_OK && hostnames && !mc_slice_eq(type, MC_SLICE("STRICT_DNS"))) {
        status = mc_error_set(error, MC_EINVAL, "use_hostname_for_hashing", "needs a cluster of type STRICT_DNS");
    }
    if (status != MC_OK) {
        mc_error_under(error, "common_lb_config.consistent_hashing_lb_config");
    }
    return status;
}

static mc_status compile(const mc_value *cluster, const mc_lb_node *node, mc_lb_config *out, mc_error *error) {
    const mc_value *policy;
    mc_slice type = MC_SLICE("STATIC");
    mc_status status;
    if ((status = mc_value_read_string(cluster, "type", &type, error)) != MC_OK ||
        (status = mc_value_read_object(cluster, "load_balancing_policy", &policy, error)) != MC_OK ||
        (status = read_panic_threshold(cluster, out, error)) != MC_OK ||
        (status = read_override(cluster, out, error)) != MC_OK) {
        return status;
    }
    out->fixed = mc_slice_eq(type, MC_SLICE("STATIC"));
    out->keep_duplicates = out->fixed || mc_slice_eq(type, MC_SLICE("STRICT_DNS"));
    out->logical = mc_slice_eq(type, MC_SLICE("LOGICAL_DNS"));
    if ((status = check_provided(cluster, type, error)) != MC_OK ||
        (status = check_hostnames(cluster, type, error)) != MC_OK ||
        (status = read_happy_eyeballs(cluster, out, error)) != MC_OK) {
        return status;
    }
    if (node != NULL) {
        out->zone.possible = node->local_cluster;
        out->runtime = node->runtime;
        if ((status = keep_locality(&node->locality, out, error)) != MC_OK) {
            return status;
        }
    }
    status = policy == NULL ? read_legacy(cluster, out, error) : read_new(cluster, policy, out, error);
    override_fields(out);
    out->runtime = NULL;
    return status;
}

mc_status mc_lb_config_compile(const mc_value *cluster, const mc_lb_node *node, mc_lb_config *out, mc_error *error) {
    *out = (mc_lb_config){.policy = MC_LB_ROUND_ROBIN,
                          .choice_count = (uint32_t)MC_DEFAULT_LEAST_REQUEST_CHOICES,
                          .active_request_bias = 1.0,
                          .slow_start_aggression = 1.0,
                          .slow_start_min_percent = (double)MC_DEFAULT_SLOW_START_MIN_WEIGHT,
                          .ring_min = MC_DEFAULT_RING_MINIMUM_SIZE,
                          .ring_max = MC_DEFAULT_RING_MAXIMUM_SIZE,
                          .maglev_size = MC_DEFAULT_MAGLEV_TABLE_SIZE,
                          .override_statuses = 1u << MC_EDS_UNKNOWN | 1u << MC_EDS_HEALTHY | 1u << MC_EDS_DEGRADED,
                          .zone = {.routing_enabled = 100,
                                   .min_cluster_size = MC_DEFAULT_ZONE_MIN_CLUSTER_SIZE,
                                   .force_local_minimum = 1},
                          .peak = {MC_DEFAULT_PEAK_DEFAULT_RTT * 1000000ull, MC_DEFAULT_PEAK_DECAY * 1000000ull, 0},
                          .weights = {.blackout_ms = MC_DEFAULT_WEIGHT_BLACKOUT,
                                      .expiration_ms = MC_DEFAULT_WEIGHT_EXPIRATION,
                                      .update_ms = MC_DEFAULT_WEIGHT_UPDATE,
                                      .error_penalty = 0.0}};
    mc_status status = compile(cluster, node, out, error);
    if (status != MC_OK) {
        mc_lb_config_fini(out);
    }
    return status;
}
