/* From a Cluster message to mc_lb_config: what the cluster's kind allows, the legacy fields (lb_policy and its *_lb_config) or
 * load_balancing_policy, and what runtime values override. */
#include "base/defaults.h"
#include "base/runtime.h"
#include "lb/config_internal.h"
#include "lb/host.h"
#include "lb/subset_config.h"

/* --- the legacy fields ------------------------------------------------------------------------------------------------------ */

/* SB-10: the legacy configuration must weigh localities for subsets to do so. */
static mc_status read_legacy_subsets(const mc_value *subsets, mc_lb_config *out, mc_error *error) {
    MC_TRY(mc_lb_read_subsets(subsets, false, out, error));
    return out->subsets == NULL || !out->subsets->locality_weight_aware || out->locality_weighted
               ? MC_OK
               : mc_error_set(error, MC_EINVAL, "locality_weight_aware",
                              "needs common_lb_config.locality_weighted_lb_config");
}

static mc_status read_common(const mc_value *common, mc_lb_config *out, mc_error *error) {
    MC_TRY(mc_lb_read_locality(common, out, error));
    return mc_lb_read_hashing(common, out, error);
}

static mc_status read_legacy(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *lb, *common, *subsets;
    mc_slice name = MC_SLICE("ROUND_ROBIN");
    MC_TRY(mc_value_read_string(cluster, "lb_policy", &name, error));
    const mc_lb_policy_row *row = mc_lb_policy_named(name);
    if (row == NULL) {
        return mc_error_set(error, MC_EINVAL, "lb_policy", "\"%.*s\" is not supported", MC_SLICE_ARG(name));
    }
    out->policy = row->policy;
    if (row->field != NULL) {
        MC_TRY(mc_value_read_object(cluster, row->field, &lb, error));
        MC_TRY(mc_error_in(row->read(lb, out, error), error, "%s", row->field));
    }
    MC_TRY(mc_value_read_object(cluster, "common_lb_config", &common, error));
    MC_TRY(mc_error_in(read_common(common, out, error), error, "common_lb_config"));
    MC_TRY(mc_value_read_object(cluster, "lb_subset_config", &subsets, error));
    return subsets == NULL ? MC_OK : mc_error_in(read_legacy_subsets(subsets, out, error), error, "lb_subset_config");
}

/* --- what goes with every policy ---------------------------------------------------------------------------------------------- */

/* ED-13. */
static mc_status read_override(const mc_value *set, mc_lb_config *out, mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(set, "statuses", &items, &count, error));
    out->override_statuses = 0;
    for (size_t i = 0; i < count; i++) {
        mc_eds_status bit = MC_EDS_UNKNOWN;
        if (items[i].kind != MC_STRING || mc_eds_status_parse(items[i].string, &bit) != MC_OK) {
            return mc_error_set(error, MC_EINVAL, "statuses", "must be health statuses");
        }
        out->override_statuses |= (uint8_t)(1u << bit);
    }
    return MC_OK;
}

static mc_status read_statuses(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *set = mc_value_get(mc_value_get(cluster, "common_lb_config"), "override_host_status");
    return set == NULL ? MC_OK
                       : mc_error_in(read_override(set, out, error), error, "common_lb_config.override_host_status");
}

static mc_status read_panic_threshold(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *common;
    double percent = (double)MC_DEFAULT_HEALTHY_PANIC_THRESHOLD;
    MC_TRY(mc_value_read_object(cluster, "common_lb_config", &common, error));
    MC_TRY(mc_error_in(mc_read_percent(common, "healthy_panic_threshold", &percent, error), error, "common_lb_config"));
    out->panic_threshold = (uint32_t)(100.0 * (percent / 100.0)); /* C-1: 29 becomes 28 */
    return MC_OK;
}

static mc_status read_happy_eyeballs(const mc_value *happy, mc_lb_config *out, mc_error *error) {
    static const mc_name_value families[] = {{"DEFAULT", 0}, {"V4", AF_INET}, {"V6", AF_INET6}, {NULL, 0}};
    uint64_t family = 0;
    MC_TRY(mc_read_enum(happy, "first_address_family_version", families, &family, error));
    out->happy_first_family = (int)family;
    return mc_value_read_u32(happy, "first_address_family_count", &out->happy_first_count, error);
}

static mc_status read_connections(const mc_value *cluster, mc_lb_config *out, mc_error *error) {
    const mc_value *options, *happy;
    out->happy_first_count = 1;
    MC_TRY(mc_value_read_object(cluster, "upstream_connection_options", &options, error));
    MC_TRY(mc_error_in(mc_value_read_object(options, "happy_eyeballs_config", &happy, error), error,
                       "upstream_connection_options"));
    return mc_error_in(read_happy_eyeballs(happy, out, error), error,
                       "upstream_connection_options.happy_eyeballs_config");
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

/* --- what the cluster's kind allows ------------------------------------------------------------------------------------------- */

#define CLUSTER_TYPES "envoy.extensions.clusters."

static bool is_of_type(const mc_value *cluster, mc_slice wanted) {
    return mc_slice_eq(mc_any_type(mc_value_get(mc_value_get(cluster, "cluster_type"), "typed_config")), wanted);
}

/* CL-15 to CL-17: the request names its host, or another cluster has it, in clusters of these types alone. */
static mc_status check_provided(const mc_value *cluster, mc_slice type, mc_error *error) {
    mc_slice policy = MC_SLICE("ROUND_ROBIN");
    MC_TRY(mc_value_read_string(cluster, "lb_policy", &policy, error));
    const bool original = mc_slice_eq(type, MC_SLICE("ORIGINAL_DST")) ||
                          is_of_type(cluster, MC_SLICE(CLUSTER_TYPES "aggregate.v3.ClusterConfig")) ||
                          is_of_type(cluster, MC_SLICE(CLUSTER_TYPES "dynamic_forward_proxy.v3.ClusterConfig"));
    const bool provided = mc_slice_eq(policy, MC_SLICE("CLUSTER_PROVIDED"));
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
    static const char field[] = "use_hostname_for_hashing";
    const mc_value *hashing = mc_value_get(mc_value_get(cluster, "common_lb_config"), "consistent_hashing_lb_config");
    bool hostnames = false;
    mc_status status = mc_value_read_bool(hashing, field, &hostnames, error);
    if (status == MC_OK && hostnames && !mc_slice_eq(type, MC_SLICE("STRICT_DNS"))) {
        status = mc_error_set(error, MC_EINVAL, field, "needs a cluster of type STRICT_DNS");
    }
    return mc_error_in(status, error, "common_lb_config.consistent_hashing_lb_config");
}

static mc_status compile(const mc_value *cluster, const mc_lb_node *node, mc_lb_config *out, mc_error *error) {
    const mc_value *policy;
    mc_slice type = MC_SLICE("STATIC");
    MC_TRY(mc_value_read_string(cluster, "type", &type, error));
    MC_TRY(mc_value_read_object(cluster, "load_balancing_policy", &policy, error));
    MC_TRY(read_panic_threshold(cluster, out, error));
    MC_TRY(read_statuses(cluster, out, error));
    out->fixed = mc_slice_eq(type, MC_SLICE("STATIC"));
    out->keep_duplicates = out->fixed || mc_slice_eq(type, MC_SLICE("STRICT_DNS"));
    out->logical = mc_slice_eq(type, MC_SLICE("LOGICAL_DNS"));
    MC_TRY(check_provided(cluster, type, error));
    MC_TRY(check_hostnames(cluster, type, error));
    MC_TRY(read_connections(cluster, out, error));
    if (node != NULL) {
        out->zone.possible = node->local_cluster;
        out->runtime = node->runtime;
        MC_TRY(mc_lb_keep_locality(&node->locality, out));
    }
    MC_TRY(policy == NULL ? read_legacy(cluster, out, error) : mc_lb_read_extension(cluster, policy, out, error));
    override_fields(out);
    out->runtime = NULL;
    return MC_OK;
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
    return status == MC_ENOMEM ? mc_error_set(error, status, "", "out of memory") : status;
}
