/* Outlier detection: the configuration message, rule OD-1. */
#include <stdio.h>

#include "base/defaults.h"
#include "health/outlier.h"

typedef struct field {
    const char *name;
    size_t offset;
    uint32_t limit; /* largest value */
} field;

#define COUNT(name, member)   {name, offsetof(mc_outlier_config, member), UINT32_MAX}
#define PERCENT(name, member) {name, offsetof(mc_outlier_config, member), 100}
#define ENFORCING(name, type) {name, offsetof(mc_outlier_config, enforcing[type]), 100}

static const field FIELDS[] = {
    COUNT("consecutive_5xx", consecutive_5xx),
    COUNT("consecutive_gateway_failure", consecutive_gateway),
    COUNT("consecutive_local_origin_failure", consecutive_local),
    PERCENT("max_ejection_percent", max_ejection_percent),
    COUNT("success_rate_minimum_hosts", success_minimum_hosts),
    COUNT("success_rate_request_volume", success_volume),
    COUNT("success_rate_stdev_factor", success_stdev),
    PERCENT("failure_percentage_threshold", failure_threshold),
    COUNT("failure_percentage_minimum_hosts", failure_minimum_hosts),
    COUNT("failure_percentage_request_volume", failure_volume),
    ENFORCING("enforcing_consecutive_5xx", MC_OUTLIER_CONSECUTIVE_5XX),
    ENFORCING("enforcing_consecutive_gateway_failure", MC_OUTLIER_CONSECUTIVE_GATEWAY_FAILURE),
    ENFORCING("enforcing_consecutive_local_origin_failure", MC_OUTLIER_CONSECUTIVE_LOCAL_ORIGIN_FAILURE),
    ENFORCING("enforcing_success_rate", MC_OUTLIER_SUCCESS_RATE),
    ENFORCING("enforcing_local_origin_success_rate", MC_OUTLIER_SUCCESS_RATE_LOCAL_ORIGIN),
    ENFORCING("enforcing_failure_percentage", MC_OUTLIER_FAILURE_PERCENTAGE),
    ENFORCING("enforcing_failure_percentage_local_origin", MC_OUTLIER_FAILURE_PERCENTAGE_LOCAL_ORIGIN),
};

static mc_status read_counts(const mc_value *value, mc_outlier_config *out, mc_error *error) {
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
        uint32_t *target = (uint32_t *)(void *)((char *)out + FIELDS[i].offset);
        mc_status status = mc_value_read_u32(value, FIELDS[i].name, target, error);
        if (status != MC_OK) {
            return status;
        }
        if (*target > FIELDS[i].limit) {
            return mc_error_set(error, MC_EINVAL, FIELDS[i].name, "must be at most %u", FIELDS[i].limit);
        }
    }
    return MC_OK;
}

static mc_status read_times(const mc_value *value, mc_outlier_config *out, mc_error *error) {
    mc_status status;
    if ((status = mc_value_read_duration_ms(value, "interval", &out->interval_ms, error)) != MC_OK ||
        (status = mc_value_read_duration_ms(value, "base_ejection_time", &out->base_ms, error)) != MC_OK) {
        return status;
    }
    out->max_ms =
        out->base_ms > MC_DEFAULT_OUTLIER_MAX_EJECTION_TIME ? out->base_ms : MC_DEFAULT_OUTLIER_MAX_EJECTION_TIME;
    if ((status = mc_value_read_duration_ms(value, "max_ejection_time", &out->max_ms, error)) != MC_OK ||
        (status = mc_value_read_duration_ms(value, "max_ejection_time_jitter", &out->max_jitter_ms, error)) != MC_OK) {
        return status;
    }
    if (out->max_ms < out->base_ms) {
        return mc_error_set(error, MC_EINVAL, "max_ejection_time", "must not be below base_ejection_time");
    }
    return MC_OK;
}

static mc_status read_switches(const mc_value *value, mc_outlier_config *out, mc_error *error) {
    mc_status status;
    if ((status = mc_value_read_bool(value, "split_external_local_origin_errors", &out->split, error)) != MC_OK ||
        (status = mc_value_read_bool(value, "always_eject_one_host", &out->always_eject_one, error)) != MC_OK ||
        (status = mc_value_read_bool(value, "detect_degraded_hosts", &out->detect_degraded, error)) != MC_OK) {
        return status;
    }
    return mc_value_read_bool(value, "successful_active_health_check_uneject_host", &out->check_unejects, error);
}

/* Other detectors than Envoy's own come as monitors. */
static mc_status read_monitors(const mc_value *value, mc_outlier_config *out, mc_error *error) {
    const mc_value *monitors, *typed;
    size_t count;
    mc_status status = mc_value_read_list(value, "monitors", &monitors, &count, error);
    for (size_t i = 0; status == MC_OK && i < count; i++) {
        mc_slice type = MC_SLICE_NONE;
        if ((status = mc_value_read_object(&monitors[i], "typed_config", &typed, error)) == MC_OK &&
            (status = mc_value_read_string(typed, "@type", &type, error)) == MC_OK) {
            out->degree_threshold = (uint32_t)MC_DEFAULT_HEALTH_DEGREE_THRESHOLD;
            status = !mc_slice_eq(type, MC_SLICE("type.googleapis.com/meshcore.HealthDegree"))
                         ? mc_error_set(error, MC_EINVAL, "typed_config", "must be a meshcore.HealthDegree")
                         : mc_value_read_u32(typed, "threshold", &out->degree_threshold, error);
        }
        if (status == MC_OK && out->degree_threshold == 0) {
            status = mc_error_set(error, MC_EINVAL, "typed_config.threshold", "must be above 0");
        }
        if (status != MC_OK) {
            mc_error_under(error, "monitors[%zu]", i);
        }
    }
    return status;
}

mc_status mc_outlier_config_compile(const mc_value *value, mc_outlier_config *out, mc_error *error) {
    const uint32_t consecutive = (uint32_t)MC_DEFAULT_OUTLIER_CONSECUTIVE;
    const uint32_t minimum_hosts = (uint32_t)MC_DEFAULT_OUTLIER_MINIMUM_HOSTS;
    *out = (mc_outlier_config){
        .interval_ms = MC_DEFAULT_OUTLIER_INTERVAL,
        .base_ms = MC_DEFAULT_OUTLIER_BASE_EJECTION_TIME,
        .max_ejection_percent = (uint32_t)MC_DEFAULT_OUTLIER_MAX_EJECTION_PERCENT,
        .consecutive_5xx = consecutive,
        .consecutive_gateway = consecutive,
        .consecutive_local = consecutive,
        .success_minimum_hosts = minimum_hosts,
        .success_volume = (uint32_t)MC_DEFAULT_OUTLIER_SUCCESS_RATE_VOLUME,
        .success_stdev = (uint32_t)MC_DEFAULT_OUTLIER_SUCCESS_RATE_STDEV,
        .failure_threshold = (uint32_t)MC_DEFAULT_OUTLIER_FAILURE_PERCENTAGE,
        .failure_minimum_hosts = minimum_hosts,
        .failure_volume = (uint32_t)MC_DEFAULT_OUTLIER_FAILURE_VOLUME,
        .enforcing = {[MC_OUTLIER_CONSECUTIVE_5XX] = 100,
                      [MC_OUTLIER_CONSECUTIVE_LOCAL_ORIGIN_FAILURE] = 100,
                      [MC_OUTLIER_SUCCESS_RATE] = 100,
                      [MC_OUTLIER_SUCCESS_RATE_LOCAL_ORIGIN] = 100,
                      [MC_OUTLIER_HEALTH_DEGREE] = 100},
        .check_unejects = true,
    };
    mc_status status = read_times(value, out, error);
    if (status == MC_OK) {
        status = read_counts(value, out, error);
    }
    if (status == MC_OK) {
        status = read_switches(value, out, error);
    }
    return status == MC_OK ? read_monitors(value, out, error) : status;
}

static uint64_t runtime_value(const mc_runtime *runtime, const char *name, uint64_t otherwise) {
    char key[128];
    int n = snprintf(key, sizeof key, "outlier_detection.%s", name);
    return mc_runtime_u64(runtime, mc_slice_of(key, (size_t)n), otherwise);
}

void mc_outlier_config_override(mc_outlier_config *config, const mc_runtime *runtime) {
    if (runtime == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
        uint32_t *target = (uint32_t *)(void *)((char *)config + FIELDS[i].offset);
        uint64_t value = runtime_value(runtime, FIELDS[i].name, *target);
        *target = value > FIELDS[i].limit ? FIELDS[i].limit : (uint32_t)value;
    }
    config->interval_ms = runtime_value(runtime, "interval_ms", config->interval_ms);
    config->interval_ms = config->interval_ms == 0 ? 1 : config->interval_ms;
    config->base_ms = runtime_value(runtime, "base_ejection_time_ms", config->base_ms);
    config->max_ms = runtime_value(runtime, "max_ejection_time_ms", config->max_ms);
    config->max_jitter_ms = runtime_value(runtime, "max_ejection_time_jitter_ms", config->max_jitter_ms);
}
