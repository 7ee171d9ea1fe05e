#include "pool/cluster.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/defaults.h"
#include "base/read.h"
#include "lb/aggregate.h"
#include "route/matcher.h"

mc_cluster *mc_cluster_ref(mc_cluster *cluster) {
    atomic_fetch_add_explicit(&cluster->refs, 1, memory_order_relaxed);
    return cluster;
}

static void release_stats(mc_cluster *cluster) {
#define RELEASE(name) mc_stats_release(cluster->stats_store, cluster->stats.name);
    MC_CLUSTER_STATS(RELEASE, RELEASE, RELEASE)
#undef RELEASE
    mc_stats_release(cluster->stats_store, cluster->stats.socket_matches);
    if (cluster->tracking != NULL) {
        mc_tracking_release(cluster->tracking, cluster->stats_store);
    }
#define RELEASE(name) mc_stats_release(cluster->stats_store, cluster->stats.http1.name);
    MC_CLUSTER_HTTP1_STATS(RELEASE)
#undef RELEASE
    for (int i = 0; i < MC_ORIGINS; i++) {
        mc_code_stats_fini(&cluster->codes[i]);
    }
    mc_code_scopes_fini(&cluster->code_scopes);
    mc_breakers_release(cluster->breakers, cluster->stats_store);
    mc_stats_unref(cluster->stats_store);
}

void mc_cluster_unref(mc_cluster *cluster) {
    if (cluster == NULL || atomic_fetch_sub_explicit(&cluster->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    release_stats(cluster);
    mc_free(cluster->outlier);
    mc_arena_fini(&cluster->arena);
    mc_lb_config_fini(&cluster->lb);
    mc_arena_fini(&cluster->metadata_arena);
    mc_free((void *)cluster->name.p);
    mc_free((void *)cluster->stat_name.p);
    mc_free(cluster);
}

mc_lb_stats mc_cluster_lb_stats(const mc_cluster *cluster, mc_slab *slab) {
    return (mc_lb_stats){.slab = slab,
#define STAT(name) .name = cluster->stats.name,
                         MC_LB_COUNTERS(STAT)
#undef STAT
    };
}

static mc_status copy_text(mc_slice from, mc_slice *to, bool clean) {
    char *copy = mc_malloc(from.n);
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < from.n; i++) {
        copy[i] = clean && from.p[i] == ':' ? '_' : from.p[i]; /* STAT-2 */
    }
    *to = mc_slice_of(copy, from.n);
    return MC_OK;
}

static mc_status read_breakers(const mc_value *config, const mc_runtime *runtime, mc_slice name, mc_cluster *cluster,
                               mc_error *error) {
    const mc_value *breakers;
    mc_status status = mc_value_read_object(config, "circuit_breakers", &breakers, error);
    if (status == MC_OK &&
        (status = mc_breakers_compile(&cluster->arena, breakers, runtime, name, cluster->breakers, error)) != MC_OK) {
        mc_error_under(error, "circuit_breakers");
    }
    return status;
}

static mc_status read_ratio(const mc_value *policy, const char *name, float *out, mc_error *error) {
    double ratio = 1;
    mc_status status = mc_value_read_double(policy, name, &ratio, error);
    if (status == MC_OK && !(ratio >= 1 && ratio <= 3)) {
        status = mc_error_set(error, MC_EINVAL, name, "must be between 1 and 3");
    }
    *out = (float)ratio;
    return status;
}

static mc_status read_preconnect(const mc_value *config, mc_cluster *cluster, mc_error *error) {
    const mc_value *policy;
    mc_status status = mc_value_read_object(config, "preconnect_policy", &policy, error);
    if (status == MC_OK &&
        ((status = read_ratio(policy, "per_upstream_preconnect_ratio", &cluster->per_upstream_preconnect, error)) !=
             MC_OK ||
         (status = read_ratio(policy, "predictive_preconnect_ratio", &cluster->predictive_preconnect, error)) !=
             MC_OK)) {
        mc_error_under(error, "preconnect_policy");
    }
    return status;
}

static mc_status read_http(const mc_value *options, mc_cluster *cluster, mc_error *error) {
    uint32_t headers_kib = cluster->h1.max_headers_bytes / 1024;
    mc_status status;
    if ((status = mc_value_read_duration_ms(options, "idle_timeout", &cluster->idle_timeout_ms, error)) != MC_OK ||
        (status = mc_value_read_duration_ms(options, "max_connection_duration", &cluster->max_connection_ms, error)) !=
            MC_OK ||
        (status = mc_read_percent(options, "max_connection_duration_jitter", &cluster->max_connection_jitter, error)) !=
            MC_OK ||
        (status = mc_value_read_u32(options, "max_requests_per_connection", &cluster->max_requests_per_connection,
                                    error)) != MC_OK ||
        (status = mc_value_read_duration_ms(options, "max_stream_duration", &cluster->max_stream_duration_ms, error)) !=
            MC_OK ||
        (status = mc_value_read_u32(options, "max_response_headers_kb", &headers_kib, error)) != MC_OK ||
        (status = mc_value_read_u32(options, "max_headers_count", &cluster->h1.max_headers_count, error)) != MC_OK) {
        mc_error_under(error, "common_http_protocol_options");
    }
    cluster->h1.max_headers_bytes = headers_kib * 1024;
    return status;
}

/* `ignore_http_11_upgrade` is of requests; what it matches with must be sound all the same. */
static mc_status read_http1(const mc_value *options, mc_cluster *cluster, mc_error *error) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(options, "ignore_http_11_upgrade", &list, &count, error));
    for (size_t i = 0; i < count; i++) {
        mc_string_match unused;
        MC_TRY(mc_error_in(mc_string_match_compile(&cluster->arena, &list[i], &unused, error), error,
                           "http_protocol_options.ignore_http_11_upgrade[%zu]", i));
    }
    return mc_h1_limits_read(options, &cluster->h1, error);
}

#define HTTP_OPTIONS "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

/* The older fields count only where the typed options are not. */
static mc_status read_older_http(const mc_value *config, mc_cluster *cluster, mc_error *error) {
    const mc_value *common, *http1;
    mc_status status;
    if ((status = mc_value_read_object(config, "common_http_protocol_options", &common, error)) != MC_OK ||
        (status = read_http(common, cluster, error)) != MC_OK ||
        (status = mc_value_read_object(config, "http_protocol_options", &http1, error)) != MC_OK) {
        return status;
    }
    return read_http1(http1, cluster, error);
}

/* CP-16: what a client's own protocol decides is HTTP/1 as well. */
static mc_status read_typed_http(const mc_value *typed, mc_cluster *cluster, mc_error *error) {
    const mc_value *common, *chosen, *mirrored, *http1;
    mc_status status;
    if ((status = mc_value_read_object(typed, "common_http_protocol_options", &common, error)) != MC_OK ||
        (status = read_http(common, cluster, error)) != MC_OK ||
        (status = mc_value_read_object(typed, "explicit_http_config", &chosen, error)) != MC_OK ||
        (status = mc_value_read_object(typed, "use_downstream_protocol_config", &mirrored, error)) != MC_OK ||
        (status = mc_value_read_object(chosen != NULL ? chosen : mirrored, "http_protocol_options", &http1, error)) !=
            MC_OK) {
        return status;
    }
    return read_http1(http1, cluster, error);
}

static mc_status read_protocol(const mc_value *config, mc_cluster *cluster, mc_error *error) {
    const mc_value *extensions, *typed;
    mc_status status;
    mc_h1_limits_init(&cluster->h1, MC_H1_RESPONSE);
    cluster->h1.max_headers_bytes = (uint32_t)MC_DEFAULT_MAX_RESPONSE_HEADERS * 1024;
    cluster->idle_timeout_ms = MC_DEFAULT_CONNECTION_IDLE_TIMEOUT;
    if ((status = mc_value_read_u32(config, "max_requests_per_connection", &cluster->max_requests_per_connection,
                                    error)) != MC_OK ||
        (status = mc_value_read_object(config, "typed_extension_protocol_options", &extensions, error)) != MC_OK ||
        (status = mc_value_read_object(extensions, HTTP_OPTIONS, &typed, error)) != MC_OK ||
        (status = typed != NULL ? read_typed_http(typed, cluster, error) : read_older_http(config, cluster, error)) !=
            MC_OK) {
        return status;
    }
    status = mc_cluster_policies_compile(&cluster->arena, typed, &cluster->policies, error);
    if (status == MC_EINVAL) {
        mc_error_under(error, "typed_extension_protocol_options." HTTP_OPTIONS);
    }
    return status;
}

static mc_status read_connection(const mc_value *config, mc_cluster *cluster, mc_error *error) {
    const mc_value *options, *keepalive;
    mc_status status;
    cluster->connect_timeout_ms = MC_DEFAULT_CONNECT_TIMEOUT;
    cluster->buffer_limit = (uint32_t)MC_DEFAULT_CONNECTION_BUFFER_LIMIT;
    if ((status = mc_value_read_duration_ms(config, "connect_timeout", &cluster->connect_timeout_ms, error)) != MC_OK ||
        (status = mc_value_read_u32(config, "per_connection_buffer_limit_bytes", &cluster->buffer_limit, error)) !=
            MC_OK ||
        (status = mc_value_read_object(config, "upstream_connection_options", &options, error)) != MC_OK ||
        (status = mc_value_read_object(options, "tcp_keepalive", &keepalive, error)) != MC_OK) {
        return status;
    }
    cluster->tcp_keepalive = keepalive != NULL;
    if ((status = mc_value_read_u32(keepalive, "keepalive_probes", &cluster->keepalive_probes, error)) != MC_OK ||
        (status = mc_value_read_u32(keepalive, "keepalive_time", &cluster->keepalive_time_s, error)) != MC_OK ||
        (status = mc_value_read_u32(keepalive, "keepalive_interval", &cluster->keepalive_interval_s, error)) != MC_OK) {
        mc_error_under(error, "upstream_connection_options.tcp_keepalive");
        return status;
    }
    return MC_OK;
}

/* A SocketOption; its bytes come as base64 in canonical JSON. Connecting sockets take only what is set before bind, and only what is
 * for streams: *wanted. */
static mc_status read_option(const mc_value *config, mc_arena *arena, mc_socket_option *out, bool *wanted,
                             mc_error *error) {
    const mc_value *type, *datagram;
    int64_t level = 0, name = 0, number = 0;
    mc_slice state = MC_SLICE("STATE_PREBIND"), bytes = MC_SLICE_NONE;
    mc_status status;
    if ((status = mc_value_read_i64(config, "level", &level, error)) != MC_OK ||
        (status = mc_value_read_i64(config, "name", &name, error)) != MC_OK ||
        (status = mc_value_read_i64(config, "int_value", &number, error)) != MC_OK ||
        (status = mc_value_read_bytes(config, "buf_value", arena, &bytes, error)) != MC_OK ||
        (status = mc_value_read_string(config, "state", &state, error)) != MC_OK ||
        (status = mc_value_read_object(config, "type", &type, error)) != MC_OK ||
        (status = mc_value_read_object(type, "datagram", &datagram, error)) != MC_OK) {
        return status;
    }
    *wanted = mc_slice_eq(state, MC_SLICE("STATE_PREBIND")) && datagram == NULL;
    *out = (mc_socket_option){.level = (int)level, .name = (int)name};
    if (bytes.p == NULL) {
        int *value = mc_arena_alloc(arena, sizeof *value);
        if (value == NULL) {
            return MC_ENOMEM;
        }
        *value = (int)number;
        bytes = mc_slice_of(value, sizeof *value);
    }
    out->value = bytes.p;
    out->size = (uint32_t)bytes.n;
    return MC_OK;
}

static mc_status read_options(const mc_value *config, mc_arena *arena, mc_source *out, mc_error *error) {
    const mc_value *options;
    size_t count;
    mc_status status = mc_value_read_list(config, "socket_options", &options, &count, error);
    mc_socket_option *list = status == MC_OK ? mc_arena_alloc(arena, count * sizeof *list) : NULL;
    if (list == NULL) {
        return status == MC_OK ? MC_ENOMEM : status;
    }
    *out = (mc_source){.options = list};
    for (size_t i = 0; i < count; i++) {
        bool wanted = false;
        if ((status = read_option(&options[i], arena, &list[out->option_count], &wanted, error)) != MC_OK) {
            mc_error_under(error, "socket_options[%zu]", i);
            return status;
        }
        out->option_count += wanted;
    }
    return MC_OK;
}

static mc_status read_address(const mc_value *address, mc_address *out, mc_error *error) {
    mc_slice ip = MC_SLICE_NONE;
    uint32_t port = 0;
    mc_status status;
    if ((status = mc_value_read_string(address, "address", &ip, error)) != MC_OK ||
        (status = mc_value_read_u32(address, "port_value", &port, error)) != MC_OK) {
        return status;
    }
    if (port > UINT16_MAX || mc_address_parse(out, ip, (uint16_t)port) != MC_OK) {
        return mc_error_set(error, MC_EINVAL, "address", "must be an IP address: %.*s", MC_SLICE_ARG(ip));
    }
    return MC_OK;
}

/* One of extra_source_addresses: options of its own, even none, are instead of the others. */
static mc_status read_extra(const mc_value *extra, mc_arena *arena, mc_source *out, mc_error *error) {
    const mc_value *address, *own;
    mc_status status;
    if ((status = mc_value_read_object(extra, "socket_options", &own, error)) != MC_OK ||
        (status = own == NULL ? MC_OK : read_options(own, arena, out, error)) != MC_OK) {
        mc_error_under(error, "socket_options");
        return status;
    }
    if ((status = mc_value_read_object(extra, "address", &address, error)) != MC_OK ||
        (status = read_address(address, &out->address, error)) != MC_OK) {
        mc_error_under(error, "address");
    }
    return status;
}

/* A source_address, and at most one more, of the other family. */
static mc_status read_sources(const mc_value *bind, mc_arena *arena, mc_connect_options *out, mc_error *error) {
    const mc_value *source, *extra, *additional;
    size_t extras, additionals;
    mc_status status;
    if ((status = mc_value_read_object(bind, "source_address", &source, error)) != MC_OK ||
        (status = mc_value_read_list(bind, "extra_source_addresses", &extra, &extras, error)) != MC_OK ||
        (status = mc_value_read_list(bind, "additional_source_addresses", &additional, &additionals, error)) != MC_OK) {
        return status;
    }
    const char *further = extras > 0 ? "extra_source_addresses" : "additional_source_addresses";
    if (extras > 0 && additionals > 0) {
        return mc_error_set(error, MC_EINVAL, "additional_source_addresses", "not with extra_source_addresses");
    }
    if (extras + additionals > 0 && source == NULL) {
        return mc_error_set(error, MC_EINVAL, further, "needs source_address");
    }
    if (extras + additionals > 1) {
        return mc_error_set(error, MC_EINVAL, further, "at most one");
    }
    mc_source *list = mc_arena_alloc(arena, 2 * sizeof *list);
    if (list == NULL) {
        return MC_ENOMEM;
    }
    *out = (mc_connect_options){.sources = list, .source_count = 1};
    if ((status = read_options(bind, arena, &list[0], error)) != MC_OK) {
        return status;
    }
    list[1] = list[0];
    if (source != NULL && (status = read_address(source, &list[0].address, error)) != MC_OK) {
        mc_error_under(error, "source_address");
        return status;
    }
    if (extras + additionals == 0) {
        return MC_OK;
    }
    out->source_count = 2;
    if ((status = extras > 0 ? read_extra(extra, arena, &list[1], error)
                             : read_address(additional, &list[1].address, error)) != MC_OK) {
        mc_error_under(error, "%s[0]", further);
        return status;
    }
    return list[0].address.any.sa_family != list[1].address.any.sa_family
               ? MC_OK
               : mc_error_set(error, MC_EINVAL, further, "must be of the other IP version than source_address");
}

static mc_status read_bind(const mc_value *config, mc_cluster *cluster, mc_error *error) {
    const mc_value *bind;
    mc_status status = mc_value_read_object(config, "upstream_bind_config", &bind, error);
    if (status != MC_OK || bind == NULL) {
        return status;
    }
    cluster->has_connect = true;
    if ((status = read_sources(bind, &cluster->arena, &cluster->connect, error)) != MC_OK ||
        (status = mc_value_read_bool(bind, "freebind", &cluster->connect.freebind, error)) != MC_OK) {
        mc_error_under(error, "upstream_bind_config");
    }
    return status;
}

static mc_status read_outlier(const mc_value *config, const mc_runtime *runtime, mc_cluster *cluster, mc_error *error) {
    const mc_value *outlier, *common;
    mc_status status = mc_value_read_object(config, "outlier_detection", &outlier, error);
    if (status == MC_OK && outlier != NULL) {
        cluster->outlier = mc_malloc(sizeof *cluster->outlier);
        status = cluster->outlier == NULL ? MC_ENOMEM : mc_outlier_config_compile(outlier, cluster->outlier, error);
        if (status != MC_OK) {
            mc_error_under(error, "outlier_detection");
        } else {
            mc_outlier_config_override(cluster->outlier, runtime);
        }
    }
    cluster->update_merge_window_ms = MC_DEFAULT_UPDATE_MERGE_WINDOW;
    if (status == MC_OK && (status = mc_value_read_object(config, "common_lb_config", &common, error)) == MC_OK &&
        ((status = mc_value_read_duration_ms(common, "update_merge_window", &cluster->update_merge_window_ms, error)) !=
             MC_OK ||
         (status = mc_value_read_bool(common, "close_connections_on_host_set_change",
                                      &cluster->close_on_host_set_change, error)) != MC_OK)) {
        mc_error_under(error, "common_lb_config");
    }
    return status;
}

static mc_status init_codes(mc_cluster *cluster) {
    static const char *const scopes[] = {"", ".internal", ".external", ".canary"};
    cluster->code_scopes.store = cluster->stats_store;
    for (int i = 0; i < MC_ORIGINS; i++) {
        const mc_slice parts[] = {MC_SLICE("cluster."), cluster->stat_name, mc_slice_cstr(scopes[i])};
        mc_status status = mc_code_stats_init(&cluster->codes[i], cluster->stats_store, parts, 3);
        if (status != MC_OK) {
            return status;
        }
    }
    return MC_OK;
}

static void register_stats(mc_cluster *cluster) {
    char prefix[512];
    int n = snprintf(prefix, sizeof prefix, "cluster.%.*s.", MC_SLICE_ARG(cluster->stat_name));
    mc_slice scope = mc_slice_of(prefix, (size_t)n < sizeof prefix ? (size_t)n : sizeof prefix - 1);
    mc_stats *store = cluster->stats_store;
#define COUNTER(name)   cluster->stats.name = mc_stats_scoped(store, MC_COUNTER, scope, MC_SLICE(#name));
#define GAUGE(name)     cluster->stats.name = mc_stats_scoped(store, MC_GAUGE, scope, MC_SLICE(#name));
#define HISTOGRAM(name) cluster->stats.name = mc_stats_scoped(store, MC_HISTOGRAM, scope, MC_SLICE(#name));
    MC_CLUSTER_STATS(COUNTER, GAUGE, HISTOGRAM)
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#define COUNTER(name) cluster->stats.http1.name = mc_stats_scoped(store, MC_COUNTER, scope, MC_SLICE("http1." #name));
    MC_CLUSTER_HTTP1_STATS(COUNTER)
#undef COUNTER
    cluster->stats.socket_matches = mc_stats_scoped(store, MC_COUNTER, scope, MC_SLICE("default.total_match_count"));
    if (cluster->tracking != NULL) {
        mc_tracking_register(cluster->tracking, store, scope);
    }
}

/* For who tells of the cluster: formats, load-balancing extensions. */
static mc_status read_metadata(const mc_value *config, mc_cluster *cluster, mc_error *error) {
    const mc_value *metadata, *spaces;
    mc_status status = mc_value_read_object(config, "metadata", &metadata, error);
    if (status == MC_OK && (status = mc_value_read_object(metadata, "filter_metadata", &spaces, error)) == MC_OK &&
        spaces != NULL) {
        status = mc_value_copy(&cluster->metadata_arena, spaces, &cluster->metadata);
    }
    return status;
}

mc_status mc_cluster_compile(const mc_value *config, const mc_lb_node *node, uint64_t config_hash, uint32_t slot,
                             mc_stats *stats, mc_cluster **out, mc_error *error) {
    const mc_runtime *runtime = node == NULL ? NULL : node->runtime;
    mc_slice name = MC_SLICE_NONE, alt = MC_SLICE_NONE;
    mc_status status;
    mc_cluster *cluster = mc_calloc(1, sizeof *cluster);
    if (cluster == NULL) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    atomic_init(&cluster->refs, 1);
    mc_arena_init(&cluster->arena, NULL);
    cluster->slot = slot;
    mc_arena_init(&cluster->metadata_arena, NULL);
    cluster->config_hash = config_hash;
    cluster->stats_store = mc_stats_ref(stats);
    if ((status = mc_value_read_string(config, "name", &name, error)) != MC_OK ||
        (status = mc_value_read_string(config, "alt_stat_name", &alt, error)) != MC_OK ||
        (status = mc_lb_config_compile(config, node, &cluster->lb, error)) != MC_OK ||
        (status = read_breakers(config, runtime, name, cluster, error)) != MC_OK ||
        (status = read_preconnect(config, cluster, error)) != MC_OK ||
        (status = read_protocol(config, cluster, error)) != MC_OK ||
        (status = read_connection(config, cluster, error)) != MC_OK ||
        (status = read_outlier(config, runtime, cluster, error)) != MC_OK ||
        (status = read_bind(config, cluster, error)) != MC_OK ||
        (status = mc_original_dst_compile(config, &cluster->arena, &cluster->original_dst, error)) != MC_OK ||
        (status = mc_aggregate_compile(config, &cluster->arena, &cluster->aggregate, error)) != MC_OK ||
        (status = mc_forward_compile(config, &cluster->arena, &cluster->forward, error)) != MC_OK ||
        (status = mc_tracking_compile(config, &cluster->arena, &cluster->tracking, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "close_connections_on_host_health_failure",
                                     &cluster->close_on_health_failure, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "connection_pool_per_downstream_connection", &cluster->pool_per_connection,
                                     error)) != MC_OK ||
        (status = copy_text(name, &cluster->name, false)) != MC_OK ||
        (status = copy_text(alt.n > 0 ? alt : name, &cluster->stat_name, true)) != MC_OK ||
        (status = read_metadata(config, cluster, error)) != MC_OK || (status = init_codes(cluster)) != MC_OK) {
        mc_cluster_unref(cluster);
        return status;
    }
    cluster->alt_named = alt.n > 0;
    register_stats(cluster);
    mc_breakers_register(cluster->breakers, stats, cluster->stat_name);
    *out = cluster;
    return MC_OK;
}
