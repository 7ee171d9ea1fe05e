/* The fields of each balancer. A zero that proto3 leaves out is read as zero, where the message around it is there. */
#include "base/defaults.h"
#include "base/runtime.h"
#include "lb/config_internal.h"
#include "lb/maglev.h"
#include "route/route.h"

/* --- fields ------------------------------------------------------------------------------------------------------------------ */

/* A RuntimeDouble, as it is now; *out stays when the field is absent. */
static mc_status read_runtime_double(const mc_value *object, const char *name, const mc_runtime *runtime, double *out,
                                     mc_error *error) {
    mc_arena scratch;
    mc_runtime_number number = {.value = *out};
    mc_arena_init(&scratch, NULL);
    mc_status status = mc_runtime_number_read(&scratch, object, name, &number, error);
    *out = mc_runtime_number_now(&number, runtime);
    mc_arena_fini(&scratch);
    return status;
}

static mc_status read_slow_start_fields(const mc_value *slow, mc_lb_config *out, mc_error *error) {
    MC_TRY(mc_value_read_duration_ms(slow, "slow_start_window", &out->slow_start_window_ms, error));
    MC_TRY(read_runtime_double(slow, "aggression", out->runtime, &out->slow_start_aggression, error));
    return mc_read_percent(slow, "min_weight_percent", &out->slow_start_min_percent, error);
}

static mc_status read_slow_start(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    const mc_value *slow;
    MC_TRY(mc_value_read_object(lb, "slow_start_config", &slow, error));
    MC_TRY(mc_error_in(read_slow_start_fields(slow, out, error), error, "slow_start_config"));
    if (!(out->slow_start_aggression > 0.0)) { /* ED-11, NaN included */
        out->slow_start_aggression = 1.0;
    }
    return MC_OK;
}

static mc_status read_least_request(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    mc_slice method = MC_SLICE("N_CHOICES");
    MC_TRY(mc_value_read_u32(lb, "choice_count", &out->choice_count, error));
    MC_TRY(mc_value_read_bool(lb, "enable_full_scan", &out->full_scan, error));
    MC_TRY(mc_value_read_string(lb, "selection_method", &method, error));
    MC_TRY(read_runtime_double(lb, "active_request_bias", out->runtime, &out->active_request_bias, error));
    if (out->choice_count < MC_MIN_LEAST_REQUEST_CHOICES) {
        return mc_error_set(error, MC_EINVAL, "choice_count", "must be at least 2");
    }
    out->full_scan |= mc_slice_eq(method, MC_SLICE("FULL_SCAN"));
    if (!(out->active_request_bias >= 0.0)) { /* ED-9, NaN included */
        out->active_request_bias = 1.0;
    }
    return read_slow_start(lb, out, error);
}

static mc_status read_ring(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    mc_slice function = MC_SLICE("XX_HASH");
    MC_TRY(mc_value_read_u64(lb, "minimum_ring_size", &out->ring_min, error));
    MC_TRY(mc_value_read_u64(lb, "maximum_ring_size", &out->ring_max, error));
    MC_TRY(mc_value_read_string(lb, "hash_function", &function, error));
    if (out->ring_min > MC_MAX_RING_MINIMUM_SIZE) {
        return mc_error_set(error, MC_EINVAL, "minimum_ring_size", "must be at most 8388608");
    }
    if (out->ring_max > MC_MAX_RING_MAXIMUM_SIZE || out->ring_max < out->ring_min) {
        return mc_error_set(error, MC_EINVAL, "maximum_ring_size",
                            "must be between minimum_ring_size (%llu) and 8388608", (unsigned long long)out->ring_min);
    }
    out->ring_murmur = mc_slice_eq(function, MC_SLICE("MURMUR_HASH_2"));
    return MC_OK;
}

static mc_status read_maglev(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    MC_TRY(mc_value_read_u64(lb, "table_size", &out->maglev_size, error));
    return mc_maglev_size_ok(out->maglev_size)
               ? MC_OK
               : mc_error_set(error, MC_EINVAL, "table_size", "must be a prime number between 2 and 5000011");
}

/* In whole milliseconds. */
static mc_status read_duration_ns(const mc_value *lb, const char *name, uint64_t *out, mc_error *error) {
    uint64_t ms = *out / 1000000;
    MC_TRY(mc_value_read_duration_ms(lb, name, &ms, error));
    *out = mc_value_get(lb, name) == NULL ? *out : ms * 1000000;
    return MC_OK;
}

/* PE-3, PE-7: both times are floored to a millisecond. */
static mc_status read_peak(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    static const uint64_t ms = 1000000;
    bool failures = mc_value_get(lb, "failure_penalty") != NULL;
    uint64_t penalty = MC_DEFAULT_PEAK_PENALTY * ms;
    MC_TRY(read_duration_ns(lb, "default_rtt", &out->peak.default_rtt_ns, error));
    MC_TRY(read_duration_ns(lb, "decay", &out->peak.decay_ns, error));
    MC_TRY(mc_value_read_bool(lb, "failures_as_latency", &failures, error));
    MC_TRY(read_duration_ns(lb, "failure_penalty", &penalty, error));
    out->peak.penalty_ns = failures ? penalty : 0;
    out->peak.default_rtt_ns = out->peak.default_rtt_ns < ms ? ms : out->peak.default_rtt_ns;
    out->peak.decay_ns = out->peak.decay_ns < ms ? ms : out->peak.decay_ns;
    return MC_OK;
}

static mc_status read_metrics(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    static const char field[] = "metric_names_for_computing_utilization";
    const mc_slice *names;
    uint32_t count;
    if (mc_value_get(lb, field) == NULL) {
        return MC_OK;
    }
    mc_arena *arena = mc_lb_config_arena(out);
    if (arena == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_read_texts(arena, lb, field, &names, &count, error));
    out->weights.metrics = names;
    out->weights.metric_count = count;
    return MC_OK;
}

static mc_status read_client_weights(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    mc_client_weights_config *weights = &out->weights;
    MC_TRY(mc_value_read_duration_ms(lb, "blackout_period", &weights->blackout_ms, error));
    MC_TRY(mc_value_read_duration_ms(lb, "weight_expiration_period", &weights->expiration_ms, error));
    MC_TRY(mc_value_read_duration_ms(lb, "weight_update_period", &weights->update_ms, error));
    MC_TRY(mc_value_read_double(lb, "error_utilization_penalty", &weights->error_penalty, error));
    MC_TRY(read_metrics(lb, out, error));
    weights->update_ms = weights->update_ms < 100 ? 100 : weights->update_ms;
    return read_slow_start(lb, out, error);
}

/* --- the balancers ----------------------------------------------------------------------------------------------------------- */

#define NONE            MC_SLICE_INIT("")
#define EXTENSION(type) MC_SLICE_INIT("envoy.extensions.load_balancing_policies." type)

static const mc_lb_policy_row POLICIES[] = {
    {MC_SLICE_INIT("ROUND_ROBIN"), EXTENSION("round_robin.v3.RoundRobin"), "round_robin_lb_config", MC_LB_ROUND_ROBIN,
     read_slow_start},
    {MC_SLICE_INIT("LEAST_REQUEST"), EXTENSION("least_request.v3.LeastRequest"), "least_request_lb_config",
     MC_LB_LEAST_REQUEST, read_least_request},
    {MC_SLICE_INIT("RANDOM"), EXTENSION("random.v3.Random"), NULL, MC_LB_RANDOM, NULL},
    {MC_SLICE_INIT("RING_HASH"), EXTENSION("ring_hash.v3.RingHash"), "ring_hash_lb_config", MC_LB_RING_HASH, read_ring},
    {MC_SLICE_INIT("CLUSTER_PROVIDED"), NONE, NULL, MC_LB_RANDOM, NULL}, /* the request names its host */
    {MC_SLICE_INIT("MAGLEV"), EXTENSION("maglev.v3.Maglev"), "maglev_lb_config", MC_LB_MAGLEV, read_maglev},
    {NONE, MC_SLICE_INIT("meshcore.PeakEwma"), NULL, MC_LB_PEAK_EWMA, read_peak},
    {NONE, EXTENSION("client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"), NULL, MC_LB_CLIENT_WEIGHTS,
     read_client_weights},
};

enum { POLICY_COUNT = sizeof POLICIES / sizeof *POLICIES };

const mc_lb_policy_row *mc_lb_policy_named(mc_slice name) {
    for (size_t i = 0; name.n > 0 && i < POLICY_COUNT; i++) {
        if (mc_slice_eq(name, POLICIES[i].name)) {
            return &POLICIES[i];
        }
    }
    return NULL;
}

const mc_lb_policy_row *mc_lb_policy_of_type(mc_slice type) {
    for (size_t i = 0; type.n > 0 && i < POLICY_COUNT; i++) {
        if (mc_slice_eq(type, POLICIES[i].type)) {
            return &POLICIES[i];
        }
    }
    return NULL;
}

/* --- what several have ------------------------------------------------------------------------------------------------------- */

static mc_status read_hash_policies(const mc_value *list, mc_lb_config *out, mc_error *error) {
    mc_arena *arena = mc_lb_config_arena(out);
    mc_hash_policies *compiled = arena == NULL ? NULL : mc_arena_alloc(arena, sizeof *compiled);
    if (compiled == NULL) {
        return MC_ENOMEM;
    }
    out->hash_policies = compiled;
    return mc_hash_policies_compile(list, arena, compiled, error);
}

static mc_status read_hashing(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    MC_TRY(mc_value_read_bool(lb, "use_hostname_for_hashing", &out->hostname_hash_key, error));
    MC_TRY(mc_value_read_u32(lb, "hash_balance_factor", &out->hash_balance_factor, error));
    if (mc_value_get(lb, "hash_balance_factor") != NULL && out->hash_balance_factor < 100) {
        return mc_error_set(error, MC_EINVAL, "hash_balance_factor", "must be at least 100");
    }
    const mc_value *policies = mc_value_get(lb, "hash_policy");
    return policies != NULL && policies->kind == MC_LIST && policies->count > 0
               ? read_hash_policies(policies, out, error)
               : MC_OK;
}

mc_status mc_lb_read_hashing(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    const mc_value *hashing;
    MC_TRY(mc_value_read_object(lb, "consistent_hashing_lb_config", &hashing, error));
    return hashing == NULL ? read_hashing(lb, out, error)
                           : mc_error_in(read_hashing(hashing, out, error), error, "consistent_hashing_lb_config");
}

static mc_status read_force_local(const mc_value *zone, mc_zone_config *out, mc_error *error) {
    const mc_value *force;
    MC_TRY(mc_value_read_object(zone, "force_local_zone", &force, error));
    /* force_locality_direct_routing is the older name of a minimum of one. */
    MC_TRY(mc_value_read_bool(zone, "force_locality_direct_routing", &out->force_local, error));
    out->force_local |= force != NULL;
    return mc_value_read_u32(force, "min_size", &out->force_local_minimum, error);
}

static mc_status read_zone(const mc_value *zone, mc_lb_config *out, mc_error *error) {
    double percent = 100;
    mc_slice basis = MC_SLICE_NONE;
    MC_TRY(mc_read_percent(zone, "routing_enabled", &percent, error));
    MC_TRY(mc_value_read_u64(zone, "min_cluster_size", &out->zone.min_cluster_size, error));
    MC_TRY(mc_value_read_bool(zone, "fail_traffic_on_panic", &out->fail_traffic_on_panic, error));
    MC_TRY(mc_value_read_string(zone, "locality_basis", &basis, error));
    MC_TRY(read_force_local(zone, &out->zone, error));
    out->zone.routing_enabled = (uint32_t)(100.0 * (percent / 100.0)); /* C-1 */
    out->zone.by_weight = mc_slice_eq(basis, MC_SLICE("HEALTHY_HOSTS_WEIGHT"));
    return MC_OK;
}

mc_status mc_lb_read_locality(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    const mc_value *zone;
    MC_TRY(mc_value_read_object(lb, "zone_aware_lb_config", &zone, error));
    out->locality_weighted |= mc_value_get(lb, "locality_weighted_lb_config") != NULL;
    return zone == NULL ? MC_OK : mc_error_in(read_zone(zone, out, error), error, "zone_aware_lb_config");
}
