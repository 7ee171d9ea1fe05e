/* health_check (FL-50): health checks answered here, or their answers kept for a while. */
#include <stdatomic.h>

#include "event/loop.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"
#include "proxy/tracing.h"
#include "route/matcher.h"

#define STATS(X)                                                                                                       \
    X(request_total)                                                                                                   \
    X(ok)                                                                                                              \
    X(failed)                                                                                                          \
    X(cached_response)                                                                                                 \
    X(failed_cluster_not_found) X(failed_cluster_empty) X(failed_cluster_unhealthy) X(degraded)

typedef struct minimum {
    uint32_t slot; /* of the cluster */
    double percent;
} minimum;

typedef struct config {
    bool pass_through;
    uint64_t cache_ms; /* 0: nothing is kept */
    minimum *minima;
    uint32_t minimum_count;
    const mc_header_matchers *headers;
    mc_slice node_cluster;
    /* The last answer that passed, of all workers: when, status and whether degraded, packed; 0: none. */
    _Atomic uint64_t cached;
    struct {
        STATS(MC_STAT_FIELD)
    } stats;
} config;

/* filter state: set for a health check; `mine` when it is answered here */
typedef struct state {
    bool mine;
} state;

typedef struct verdict {
    uint16_t status;
    bool degraded;
    const char *details;
} verdict;

#define COUNT(filter, config, name) mc_counter_inc(mc_filter_slab(filter), (config)->stats.name)

static bool read_cache(mc_filter *filter, config *config, verdict *out) {
    uint64_t packed = atomic_load_explicit(&config->cached, memory_order_relaxed);
    uint64_t now = mc_loop_now_ms(mc_filter_loop(filter));
    if (config->cache_ms == 0 || packed == 0 || now - (packed >> 16) >= config->cache_ms) {
        return false;
    }
    *out = (verdict){packed & 0x3ff, packed >> 15 & 1, "health_check_cached"};
    return true;
}

static void write_cache(mc_filter *filter, config *config, const mc_headers *headers) {
    uint64_t status;
    if (config->cache_ms != 0 && mc_slice_u64(mc_headers_get_known(headers, MC_H_STATUS), &status) == MC_OK) {
        uint64_t packed = mc_loop_now_ms(mc_filter_loop(filter)) << 16 | (status & 0x3ff);
        packed |= mc_headers_has(headers, MC_H_X_ENVOY_DEGRADED) ? 1 << 15 : 0;
        atomic_store_explicit(&config->cached, packed, memory_order_relaxed);
    }
}

static verdict ask_clusters(mc_filter *filter, const config *config) {
    const mc_proxy *proxy = mc_filter_stream(filter)->proxy;
    for (uint32_t i = 0; i < config->minimum_count; i++) {
        const minimum *minimum = &config->minima[i];
        const mc_upstream *upstream = mc_proxy_upstream(proxy, minimum->slot);
        if (upstream == NULL) {
            COUNT(filter, config, failed_cluster_not_found);
            return (verdict){503, false, "health_check_failed_no_cluster_found"};
        }
        const double total = (double)mc_hosts_count(upstream->hosts);
        const double able = (double)(mc_hosts_healthy(upstream->hosts) + mc_hosts_degraded(upstream->hosts));
        if (total == 0 && minimum->percent > 0) {
            COUNT(filter, config, failed_cluster_empty);
            return (verdict){503, false, "health_check_failed_cluster_empty"};
        }
        if (100 * able < total * minimum->percent) {
            COUNT(filter, config, failed_cluster_unhealthy);
            return (verdict){503, false, "health_check_failed_cluster_unhealthy"};
        }
    }
    return (verdict){200, false, "health_check_ok_cluster_healthy"};
}

static verdict judge(mc_filter *filter, config *config) {
    verdict cached;
    if (mc_proxy_health_failed(mc_filter_stream(filter)->proxy)) {
        COUNT(filter, config, failed);
        return (verdict){503, false, "health_check_failed"};
    }
    if (read_cache(filter, config, &cached)) {
        COUNT(filter, config, cached_response);
        return cached;
    }
    return config->minimum_count > 0 ? ask_clusters(filter, config) : (verdict){200, false, "health_check_ok"};
}

static void answer(mc_filter *filter) {
    config *config = (struct config *)mc_filter_get_config(filter);
    COUNT(filter, config, request_total);
    verdict verdict = judge(filter, config);
    const bool ok = verdict.status >= 200 && verdict.status < 300;
    const mc_header degraded = {.name = MC_SLICE_INIT("x-envoy-degraded"), .value = MC_SLICE_INIT("")};
    if (ok) {
        COUNT(filter, config, ok);
    } else {
        COUNT(filter, config, failed);
    }
    if (verdict.degraded) {
        COUNT(filter, config, degraded);
    }
    mc_filter_reply(filter, &(mc_reply){.status = verdict.status,
                                        .details = verdict.details,
                                        .flags = ok ? 0 : MC_FLAG(LH),
                                        .headers = &degraded,
                                        .header_count = verdict.degraded});
}

static mc_filter_status hold(mc_filter *filter, bool end_stream) {
    const state *state = mc_filter_get_state(filter);
    if (state == NULL || !state->mine) {
        return MC_FILTER_CONTINUE;
    }
    if (end_stream) {
        answer(filter);
    }
    return MC_FILTER_STOP_AND_BUFFER;
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    config *config = (struct config *)mc_filter_get_config(filter);
    mc_stream *stream = mc_filter_stream(filter);
    verdict cached;
    if (mc_header_matchers_all(config->headers, headers) != 1) {
        return MC_FILTER_CONTINUE;
    }
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL) {
        return mc_filter_out_of_memory(filter);
    }
    mc_filter_set_state(filter, state);
    stream->health_check = true;
    mc_tracing_forget(stream);
    state->mine = !config->pass_through || mc_proxy_health_failed(stream->proxy) || read_cache(filter, config, &cached);
    return hold(filter, end_stream);
}

/* What a held check sends is of no interest. */
static mc_filter_status decode_data(mc_filter *filter, mc_slice data, bool end_stream) {
    mc_filter_status status = hold(filter, end_stream);
    return status == MC_FILTER_CONTINUE ? status : MC_FILTER_CONSUMED;
}

static mc_filter_status decode_trailers(mc_filter *filter, mc_headers *trailers) { return hold(filter, true); }

static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    config *config = (struct config *)mc_filter_get_config(filter);
    mc_status status = MC_OK;
    if (mc_filter_get_state(filter) != NULL) {
        write_cache(filter, config, headers);
        status = mc_headers_set_known_ref(headers, MC_H_X_ENVOY_UPSTREAM_HEALTHCHECKED_CLUSTER, config->node_cluster);
    }
    if (status == MC_OK && mc_proxy_health_failed(mc_filter_stream(filter)->proxy)) {
        status = mc_headers_set_known_ref(headers, MC_H_X_ENVOY_IMMEDIATE_HEALTH_CHECK_FAIL, MC_SLICE("true"));
    }
    return status == MC_OK ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
}

static mc_status read_minima(mc_filter_compile *c, const mc_value *value, config *out) {
    const mc_value *map;
    MC_TRY(mc_value_read_object(value, "cluster_min_healthy_percentages", &map, c->error));
    const size_t count = map == NULL ? 0 : map->count;
    out->minima = mc_arena_zalloc(c->arena, count * sizeof *out->minima);
    if (out->minima == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        minimum *minimum = &out->minima[out->minimum_count++];
        minimum->slot = c->cluster_slot(c->ctx, map->names[i]);
        if (minimum->slot == UINT32_MAX) {
            return MC_ENOMEM;
        }
        MC_TRY(mc_error_in(mc_value_read_double(&map->items[i], "value", &minimum->percent, c->error), c->error,
                           "cluster_min_healthy_percentages[\"%.*s\"]", MC_SLICE_ARG(map->names[i])));
    }
    return MC_OK;
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
#define COUNTER(name) config->stats.name = mc_filter_stat(c, MC_COUNTER, MC_SLICE("health_check."), #name);
    STATS(COUNTER)
#undef COUNTER
    config->node_cluster = c->node_cluster;
    if (mc_value_get(value, "pass_through_mode") == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "pass_through_mode", "is required");
    }
    MC_TRY(mc_value_read_bool(value, "pass_through_mode", &config->pass_through, c->error));
    MC_TRY(mc_value_read_duration_ms(value, "cache_time", &config->cache_ms, c->error));
    if (config->cache_ms != 0 && !config->pass_through) {
        return mc_error_set(c->error, MC_EINVAL, "cache_time", "must not be set without pass_through_mode");
    }
    MC_TRY(mc_match_headers_compile(c->arena, value, "headers", &config->headers, c->error));
    return read_minima(c, value, config);
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.health_check",
    .decode_headers = decode_headers,
    .decode_data = decode_data,
    .decode_trailers = decode_trailers,
    .encode_headers = encode_headers,
};

const mc_filter_kind mc_filter_kind_health_check = {
    .type = "envoy.extensions.filters.http.health_check.v3.HealthCheck", .filter = &filter_type, .compile = compile};
