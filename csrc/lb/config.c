/* From a Cluster message to mc_lb_config: the legacy fields (lb_policy and its *_lb_config), or the first
 * entry of load_balancing_policy. */
#include "base/defaults.h"
#include "lb/lb.h"
#include "lb/maglev.h"

/* A double in a RuntimeDouble; *out stays when the field is absent. */
static mc_status read_runtime_double(const mc_value *object, const char *name, double *out, mc_error *error) {
    const mc_value *runtime;
    mc_status status = mc_value_read_object(object, name, &runtime, error);
    if (status == MC_OK && runtime != NULL) {
        *out = 0.0; /* proto3 leaves zero out */
        if ((status = mc_value_read_double(runtime, "default_value", out, error)) != MC_OK) {
            mc_error_under(error, "%s", name);
        }
    }
    return status;
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
        (status = read_runtime_double(slow, "aggression", &out->slow_start_aggression, error)) != MC_OK ||
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
        (status = read_runtime_double(lb, "active_request_bias", &out->active_request_bias, error)) != MC_OK) {
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

static mc_status no_config(const mc_value *lb, mc_lb_config *out, mc_error *error) { return MC_OK; }

typedef struct policy_row {
    mc_slice name;     /* value of lb_policy */
    mc_slice type;     /* type of the extension's configuration, after envoy.extensions.load_balancing_policies. */
    const char *field; /* configuration in the Cluster message */
    mc_lb_policy policy;
    mc_status (*read)(const mc_value *lb, mc_lb_config *out, mc_error *error);
} policy_row;

static const policy_row POLICIES[] = {
    {MC_SLICE_INIT("ROUND_ROBIN"), MC_SLICE_INIT("round_robin.v3.RoundRobin"), "round_robin_lb_config",
     MC_LB_ROUND_ROBIN, read_slow_start},
    {MC_SLICE_INIT("LEAST_REQUEST"), MC_SLICE_INIT("least_request.v3.LeastRequest"), "least_request_lb_config",
     MC_LB_LEAST_REQUEST, read_least_request},
    {MC_SLICE_INIT("RANDOM"), MC_SLICE_INIT("random.v3.Random"), NULL, MC_LB_RANDOM, no_config},
    {MC_SLICE_INIT("RING_HASH"), MC_SLICE_INIT("ring_hash.v3.RingHash"), "ring_hash_lb_config", MC_LB_RING_HASH,
     read_ring},
    {MC_SLICE_INIT("MAGLEV"), MC_SLICE_INIT("maglev.v3.Maglev"), "maglev_lb_config", MC_LB_MAGLEV, read_maglev},
};

static const policy_row *find_row(mc_slice key, bool by_type) {
    for (size_t i = 0; i < sizeof POLICIES / sizeof *POLICIES; i++) {
        if (mc_slice_eq(key, by_type ? POLICIES[i].type : POLICIES[i].name)) {
            return &POLICIES[i];
        }
    }
    return NULL;
}

static mc_status read_locality(const mc_value *lb, mc_lb_config *out, mc_error *error) {
    const mc_value *zone_aware;
    mc_status status = mc_value_read_object(lb, "zone_aware_lb_config", &zone_aware, error);
    out->locality_weighted |= mc_value_get(lb, "locality_weighted_lb_config") != NULL;
    if (status == MC_OK && (status = mc_value_read_bool(zone_aware, "fail_traffic_on_panic",
                                                        &out->fail_traffic_on_panic, error)) != MC_OK) {
        mc_error_under(error, "zone_aware_lb_config");
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
    }
    return status;
}

static mc_status read_typed(const mc_value *typed, mc_lb_config *out, mc_error *error) {
    static const mc_slice prefix = MC_SLICE_INIT("type.googleapis.com/envoy.extensions.load_balancing_policies.");
    const mc_value *locality;
    mc_slice type = MC_SLICE_NONE;
    mc_status status = mc_value_read_string(typed, "@type", &type, error);
    if (status != MC_OK) {
        return status;
    }
    const policy_row *row = mc_slice_has_prefix(type, prefix) ? find_row(mc_slice_from(type, prefix.n), true) : NULL;
    if (row == NULL) {
        return mc_error_set(error, MC_EINVAL, "", "\"%.*s\" is not supported", MC_SLICE_ARG(type));
    }
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

static mc_status read_extension(const mc_value *policy, mc_lb_config *out, mc_error *error) {
    static const char *path = "load_balancing_policy.policies[0].typed_extension_config";
    const mc_value *items, *extension, *typed;
    size_t count;
    mc_status status = mc_value_read_list(policy, "policies", &items, &count, error);
    if (status != MC_OK || count == 0) {
        return status != MC_OK ? status
                               : mc_error_set(error, MC_EINVAL, "load_balancing_policy.policies", "is required");
    }
    if ((status = mc_value_read_object(&items[0], "typed_extension_config", &extension, error)) != MC_OK ||
        (status = mc_value_read_object(extension, "typed_config", &typed, error)) != MC_OK) {
        return status;
    }
    if (typed == NULL) {
        return mc_error_set(error, MC_EINVAL, path, "typed_config is required");
    }
    if ((status = read_typed(typed, out, error)) != MC_OK) {
        mc_error_under(error, "%s.typed_config", path);
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

mc_status mc_lb_config_compile(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *extension;
    mc_slice type = MC_SLICE("STATIC");
    mc_status status;
    *out = (mc_lb_config){.policy = MC_LB_ROUND_ROBIN,
                          .choice_count = (uint32_t)MC_DEFAULT_LEAST_REQUEST_CHOICES,
                          .active_request_bias = 1.0,
                          .slow_start_aggression = 1.0,
                          .slow_start_min_percent = (double)MC_DEFAULT_SLOW_START_MIN_WEIGHT,
                          .ring_min = MC_DEFAULT_RING_MINIMUM_SIZE,
                          .ring_max = MC_DEFAULT_RING_MAXIMUM_SIZE,
                          .maglev_size = MC_DEFAULT_MAGLEV_TABLE_SIZE};
    if ((status = mc_value_read_string(cluster, "type", &type, error)) != MC_OK ||
        (status = mc_value_read_object(cluster, "load_balancing_policy", &extension, error)) != MC_OK ||
        (status = read_panic_threshold(cluster, out, error)) != MC_OK) {
        return status;
    }
    out->keep_duplicates = mc_slice_eq(type, MC_SLICE("STATIC"));
    return extension == NULL ? read_legacy(cluster, out, error) : read_extension(extension, out, error);
}
