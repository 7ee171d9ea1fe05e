/* bandwidth_limit (FL-62): bodies held to a rate that all streams of a configuration share. */
#include <stdatomic.h>

#include "base/token_bucket.h"
#include "event/loop.h"
#include "proxy/filters/kind.h"
#include "proxy/filters/shaper.h"
#include "proxy/stream.h"

#define COUNTERS(X) X(enabled) X(enforced) X(incoming_total_size) X(allowed_total_size)
#define GAUGES(X)   X(pending) X(incoming_size) X(allowed_size)

enum { FILL_MS = 50, MIN_FILL_MS = 20, MAX_FILL_MS = 1000 };

/* Of one direction: "request_" and "response_" stand before the names. */
typedef struct stats {
    COUNTERS(MC_STAT_FIELD)
    GAUGES(MC_STAT_FIELD)
    mc_stat transfer_duration;
} stats;

typedef struct config {
    bool limits[2]; /* by mc_direction */
    bool trailers;
    uint64_t fill_ms, bytes_per_s;
    mc_feature_flag enabled;
    mc_token_bucket bucket;
    atomic_flag started; /* the bucket holds one interval's worth when first used */
    mc_slice trailer_prefix;
    mc_stats *store;
    stats stats[2];
} config;

typedef struct flow {
    mc_shaper shaper;
    bool on, pending;
    uint64_t begun_us, spent_ms;
    uint64_t held_ms; /* by this filter alone */
} flow;

typedef struct state {
    config *config;
    flow flows[2];
} state;

static state *make_state(mc_filter *filter) {
    state *state = mc_filter_get_state(filter);
    if (state == NULL && (state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state)) != NULL) {
        state->config = (config *)mc_filter_route_config(filter);
        mc_filter_set_state(filter, state);
    }
    return state;
}

static void finish(mc_filter *filter, state *state, mc_direction direction) {
    flow *flow = &state->flows[direction];
    const stats *stats = &state->config->stats[direction];
    if (flow->pending) {
        flow->pending = false;
        flow->spent_ms = (mc_loop_now_us(mc_filter_loop(filter)) - flow->begun_us) / 1000;
        mc_gauge_add(mc_filter_slab(filter), stats->pending, -1);
        mc_histogram_record(mc_filter_slab(filter), stats->transfer_duration, flow->spent_ms);
    }
}

static mc_status add_delay(mc_filter *filter, mc_headers *trailers, const char *name, uint64_t ms) {
    const state *state = mc_filter_get_state(filter);
    char digits[20];
    mc_slice parts[] = {state->config->trailer_prefix, mc_slice_cstr(name)}, key;
    MC_TRY(mc_arena_concat(mc_filter_arena(filter), parts, 2, &key));
    return mc_headers_set(trailers, key, mc_slice_of(digits, mc_format_u64(digits, ms)));
}

/* The response's trailers tell what was held back, and for how long. */
static void tell_delays(mc_filter *filter, const state *state) {
    const flow *request = &state->flows[MC_DECODE], *response = &state->flows[MC_ENCODE];
    mc_headers *trailers = mc_filter_add_trailers(filter, false);
    if (trailers == NULL ||
        (request->spent_ms > 0 &&
         add_delay(filter, trailers, "bandwidth-request-delay-ms", request->spent_ms) != MC_OK) ||
        (response->spent_ms > 0 &&
         add_delay(filter, trailers, "bandwidth-response-delay-ms", response->spent_ms) != MC_OK) ||
        (request->held_ms > 0 &&
         add_delay(filter, trailers, "bandwidth-request-filter-delay-ms", request->held_ms) != MC_OK) ||
        (response->held_ms > 0 &&
         add_delay(filter, trailers, "bandwidth-response-filter-delay-ms", response->held_ms) != MC_OK)) {
        return; /* the body matters more */
    }
}

static void passed(mc_shaper *shaper, size_t n, bool last) {
    mc_filter *filter = shaper->filter;
    state *state = mc_filter_get_state(filter);
    const mc_direction direction = shaper->decode ? MC_DECODE : MC_ENCODE;
    const stats *stats = &state->config->stats[direction];
    mc_slab *slab = mc_filter_slab(filter);
    mc_counter_add(slab, stats->allowed_total_size, n);
    mc_gauge_set(state->config->store, stats->allowed_size, n);
    if (!last) {
        mc_counter_inc(slab, stats->enforced);
        state->flows[direction].held_ms += state->config->fill_ms;
        return;
    }
    if (filter->among->items[filter->index].sides[direction].end_held) {
        finish(filter, state, direction);
        mc_gauge_set(state->config->store, stats->incoming_size,
                     0); /* without trailers, the end is a piece of no bytes */
        if (direction == MC_ENCODE && state->config->trailers) {
            tell_delays(filter, state);
        }
    }
}

static bool begin(mc_filter *filter, mc_direction direction) {
    state *state = make_state(filter);
    if (state == NULL) {
        return false;
    }
    config *config = state->config;
    if (!config->limits[direction] || !mc_feature_flag_on(&config->enabled, mc_filter_runtime(filter))) {
        return true;
    }
    const uint64_t now = mc_loop_now_us(mc_filter_loop(filter)) * 1000;
    if (!atomic_flag_test_and_set(&config->started)) {
        double whole = (double)config->bytes_per_s;
        mc_token_bucket_consume(&config->bucket, now, whole - whole * (double)config->fill_ms / 1000);
    }
    flow *flow = &state->flows[direction];
    flow->on = true;
    mc_shaper_init(&flow->shaper, filter, direction == MC_DECODE, &config->bucket, config->fill_ms);
    flow->shaper.passed = passed;
    mc_counter_inc(mc_filter_slab(filter), config->stats[direction].enabled);
    return true;
}

static mc_filter_status data(mc_filter *filter, mc_direction direction, mc_slice bytes) {
    state *state = mc_filter_get_state(filter);
    if (state == NULL || !state->flows[direction].on) {
        return MC_FILTER_CONTINUE;
    }
    flow *flow = &state->flows[direction];
    const stats *stats = &state->config->stats[direction];
    mc_slab *slab = mc_filter_slab(filter);
    if (!flow->pending) {
        flow->pending = true;
        flow->begun_us = mc_loop_now_us(mc_filter_loop(filter));
        mc_gauge_add(slab, stats->pending, 1);
    }
    mc_counter_add(slab, stats->incoming_total_size, bytes.n);
    mc_gauge_set(state->config->store, stats->incoming_size, bytes.n);
    return mc_shaper_data(&flow->shaper);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    return begin(filter, MC_DECODE) ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
}
static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    return begin(filter, MC_ENCODE) ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
}
static mc_filter_status decode_data(mc_filter *filter, mc_slice bytes, bool end_stream) {
    return data(filter, MC_DECODE, bytes);
}
static mc_filter_status encode_data(mc_filter *filter, mc_slice bytes, bool end_stream) {
    return data(filter, MC_ENCODE, bytes);
}

static mc_filter_status trailers(mc_filter *filter, mc_direction direction) {
    state *state = mc_filter_get_state(filter);
    if (state != NULL && state->flows[direction].on) {
        finish(filter, state, direction);
        if (direction == MC_ENCODE && state->config->trailers) {
            tell_delays(filter, state);
        }
    }
    return MC_FILTER_CONTINUE;
}

static mc_filter_status decode_trailers(mc_filter *filter, mc_headers *map) { return trailers(filter, MC_DECODE); }
static mc_filter_status encode_trailers(mc_filter *filter, mc_headers *map) { return trailers(filter, MC_ENCODE); }

static void close_filter(mc_filter *filter) {
    state *state = mc_filter_get_state(filter);
    for (int i = 0; state != NULL && i < 2; i++) {
        if (state->flows[i].on) {
            mc_shaper_close(&state->flows[i].shaper);
            finish(filter, state, (mc_direction)i);
        }
    }
}

/* --- compiling ------------------------------------------------------------------------------------------------------------- */

static mc_status register_stats(mc_filter_compile *c, mc_slice prefix, const char *direction, stats *out) {
    mc_slice parts[] = {prefix, MC_SLICE(".http_bandwidth_limit.")}, scope;
    char name[64];
    MC_TRY(mc_arena_concat(c->arena, parts, 2, &scope));
#define REGISTER(kind, field)                                                                                          \
    snprintf(name, sizeof name, "%s_" #field, direction);                                                              \
    out->field = mc_stats_scoped(c->stats, kind, scope, mc_slice_cstr(name));
#define COUNTER(field) REGISTER(MC_COUNTER, field)
    COUNTERS(COUNTER)
#undef COUNTER
#define GAUGE(field) REGISTER(MC_GAUGE, field)
    GAUGES(GAUGE)
#undef GAUGE
    REGISTER(MC_HISTOGRAM, transfer_duration)
#undef REGISTER
    return MC_OK;
}

static mc_status read_prefix(mc_filter_compile *c, const mc_value *value, config *out) {
    mc_slice given = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "response_trailer_prefix", &given, c->error));
    if (given.n == 0) {
        return MC_OK;
    }
    mc_slice parts[] = {given, MC_SLICE("-")}, joined;
    MC_TRY(mc_arena_concat(c->arena, parts, 2, &joined));
    return mc_dup_lower(c->arena, joined, &out->trailer_prefix);
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    static const mc_name_value modes[] = {
        {"DISABLED", 0}, {"REQUEST", 1}, {"RESPONSE", 2}, {"REQUEST_AND_RESPONSE", 3}, {NULL, 0}};
    mc_slice prefix = MC_SLICE_NONE;
    uint64_t mode = 0, kib = 0;
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    config->store = c->stats;
    config->fill_ms = FILL_MS;
    config->enabled = (mc_feature_flag){true, MC_SLICE_NONE};
    MC_TRY(mc_value_read_string(value, "stat_prefix", &prefix, c->error));
    if (prefix.n == 0) {
        return mc_error_set(c->error, MC_EINVAL, "stat_prefix", "must not be empty");
    }
    MC_TRY(mc_read_enum(value, "enable_mode", modes, &mode, c->error));
    config->limits[MC_DECODE] = (mode & 1) != 0;
    config->limits[MC_ENCODE] = (mode & 2) != 0;
    MC_TRY(mc_value_read_u64(value, "limit_kbps", &kib, c->error));
    if (kib == 0 && (c->is_route || mc_value_get(value, "limit_kbps") != NULL)) {
        return mc_error_set(c->error, MC_EINVAL, "limit_kbps", "must be at least 1");
    }
    MC_TRY(mc_value_read_duration_ms(value, "fill_interval", &config->fill_ms, c->error));
    if (config->fill_ms < MIN_FILL_MS || config->fill_ms > MAX_FILL_MS) {
        return mc_error_set(c->error, MC_EINVAL, "fill_interval", "must be between %d ms and 1 s", MIN_FILL_MS);
    }
    config->bytes_per_s = kib * 1024; /* of no limit, as in Envoy, no byte passes */
    MC_TRY(mc_token_bucket_init(&config->bucket, 0, (double)config->bytes_per_s,
                                kib == 0 ? 1 : (double)config->bytes_per_s, 1000000000));
    MC_TRY(mc_feature_flag_read(c->arena, value, "runtime_enabled", &config->enabled, c->error));
    MC_TRY(mc_value_read_bool(value, "enable_response_trailers", &config->trailers, c->error));
    MC_TRY(read_prefix(c, value, config));
    MC_TRY(register_stats(c, prefix, "request", &config->stats[MC_DECODE]));
    return register_stats(c, prefix, "response", &config->stats[MC_ENCODE]);
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.bandwidth_limit",
    .decode_headers = decode_headers,
    .decode_data = decode_data,
    .decode_trailers = decode_trailers,
    .encode_headers = encode_headers,
    .encode_data = encode_data,
    .encode_trailers = encode_trailers,
    .close = close_filter,
};

const mc_filter_kind mc_filter_kind_bandwidth_limit = {
    .type = "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit",
    .route_type = "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile,
};
