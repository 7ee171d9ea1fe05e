/* fault (FL-5 to FL-9): requests delayed or aborted, responses slowed down, for testing what stands around. */
#include <stdatomic.h>

#include "base/token_bucket.h"
#include "event/loop.h"
#include "http/codes.h"
#include "proxy/filters/kind.h"
#include "proxy/filters/shaper.h"
#include "proxy/stream.h"
#include "route/matcher.h"

#define COUNTERS(X) X(delays_injected) X(aborts_injected) X(response_rl_injected) X(faults_overflow)

enum { PLAIN_MAX = 128, TICK_MS = 50 };

/* One kind of fault: what it is when it strikes, and how often. */
typedef struct fault {
    bool set, by_header; /* by_header: the request says what it is (FL-7) */
    mc_fraction percentage;
    uint64_t value; /* delay in ms, HTTP status, or KiB/s */
} fault;

typedef struct settings {
    fault delay, abort, rate;
    bool abort_is_grpc;
    mc_slice upstream_cluster;
    mc_slice *downstream_nodes;
    uint32_t node_count;
    const mc_header_matchers *headers;
    uint64_t max_active_faults;
    bool no_cluster_stats;
    const mc_value *metadata;
    /* Runtime keys (FL-6). */
    mc_slice delay_percent, delay_duration, abort_percent, abort_http, abort_grpc, max_active, rate_percent;
} settings;

typedef struct config {
    settings settings; /* first: a route's settings take its place */
    mc_stats *store;
    mc_slice scope;
    _Atomic uint64_t active;
    mc_stat active_faults;
    struct {
        COUNTERS(MC_STAT_FIELD)
    } stats;
} config;

typedef struct state {
    mc_filter *filter;
    const settings *settings;
    mc_slice cluster; /* x-envoy-downstream-service-cluster */
    mc_timer delay;
    bool active;
    bool limited;
    mc_shaper shaper;
    mc_token_bucket bucket;
} state;

/* --- counting --------------------------------------------------------------------------------------------------------- */

/* FL-8: a stream counts as one active fault however many befall it. */
static bool take_active(state *state) {
    mc_filter *filter = state->filter;
    config *config = (struct config *)mc_filter_get_config(filter);
    mc_slab *slab = mc_filter_slab(filter);
    if (state->active) {
        return true;
    }
    uint64_t max =
        mc_runtime_u64(mc_filter_runtime(filter), state->settings->max_active, state->settings->max_active_faults);
    if (atomic_load_explicit(&config->active, memory_order_relaxed) >= max) {
        mc_counter_inc(slab, config->stats.faults_overflow);
        return false;
    }
    atomic_fetch_add_explicit(&config->active, 1, memory_order_relaxed);
    mc_gauge_add(slab, config->active_faults, 1);
    state->active = true;
    return true;
}

static void count_by_cluster(state *state, mc_slice name) {
    const config *config = mc_filter_get_config(state->filter);
    mc_slice parts[] = {config->scope, MC_SLICE("fault."), state->cluster, MC_SLICE(".")}, scope;
    const bool counts = !config->settings.no_cluster_stats && !state->settings->no_cluster_stats;
    if (state->cluster.n > 0 && counts && mc_arena_concat(mc_filter_arena(state->filter), parts, 4, &scope) == MC_OK) {
        mc_counter_inc(mc_filter_slab(state->filter), mc_stats_scoped(config->store, MC_COUNTER, scope, name));
    }
}

static void note(state *state, uint64_t flag) {
    mc_stream_flag(mc_filter_stream(state->filter), flag);
    if (state->settings->metadata != NULL &&
        mc_filter_merge_metadata(state->filter, state->filter->entry->name, state->settings->metadata) != MC_OK) {
        return; /* the fault matters more than the note */
    }
}

/* --- what strikes ------------------------------------------------------------------------------------------------------- */

/* "fault.http.<cluster>.<rest>" for a key "fault.http.<rest>" (FL-6); false: there is no cluster. */
static bool cluster_key(const state *state, mc_slice rest, char *out, size_t size, mc_slice *key) {
    int n = state->cluster.n == 0
                ? -1
                : snprintf(out, size, "fault.http.%.*s.%.*s", MC_SLICE_ARG(state->cluster), MC_SLICE_ARG(rest));
    *key = mc_slice_of(out, n < 0 ? 0 : (size_t)n);
    return n > 0 && (size_t)n < size;
}

/* A number in a request header; UINT64_MAX: none. */
static uint64_t header_number(mc_filter *filter, const char *name) {
    uint64_t number;
    mc_slice value = mc_headers_get(mc_filter_request_headers(filter), mc_slice_cstr(name));
    return value.p != NULL && mc_slice_u64(mc_slice_trim(value), &number) == MC_OK ? number : UINT64_MAX;
}

/* `by_cluster`: what follows "fault.http.<cluster>."; empty: there is no such key. */
static bool strikes(state *state, const fault *fault, mc_slice plain, const char *by_cluster, const char *header) {
    char text[PLAIN_MAX * 2];
    if (!fault->set) {
        return false;
    }
    mc_fraction percentage = fault->percentage;
    uint64_t asked = fault->by_header ? header_number(state->filter, header) : UINT64_MAX;
    if (asked < percentage.numerator) {
        percentage.numerator = (uint32_t)asked;
    }
    if (by_cluster == NULL ||
        !cluster_key(state, mc_slice_cstr(by_cluster), text, sizeof text, &percentage.runtime_key)) {
        percentage.runtime_key = plain;
    }
    return mc_fraction_holds(&percentage, mc_filter_runtime(state->filter), mc_filter_random(state->filter));
}

/* 0: none. */
static uint64_t delay_ms(state *state) {
    const settings *settings = state->settings;
    const mc_runtime *runtime = mc_filter_runtime(state->filter);
    char text[PLAIN_MAX * 2];
    mc_slice key;
    if (!strikes(state, &settings->delay, settings->delay_percent, "delay.fixed_delay_percent",
                 "x-envoy-fault-delay-request-percentage")) {
        return 0;
    }
    uint64_t ms =
        settings->delay.by_header ? header_number(state->filter, "x-envoy-fault-delay-request") : settings->delay.value;
    if (ms == UINT64_MAX) {
        return 0;
    }
    ms = mc_runtime_u64(runtime, settings->delay_duration, ms);
    if (cluster_key(state, MC_SLICE("delay.fixed_duration_ms"), text, sizeof text, &key)) {
        ms = mc_runtime_u64(runtime, key, ms);
    }
    return ms;
}

/* The status that a runtime may override: the cluster's key hides the plain one. */
static uint64_t status_now(state *state, uint64_t value, mc_slice plain, const char *by_cluster) {
    char text[PLAIN_MAX * 2];
    mc_slice key;
    if (!cluster_key(state, mc_slice_cstr(by_cluster), text, sizeof text, &key)) {
        key = plain;
    }
    return mc_runtime_u64(mc_filter_runtime(state->filter), key, value);
}

static bool abort_status(state *state, mc_reply *reply) {
    const settings *settings = state->settings;
    const fault *fault = &settings->abort;
    if (!strikes(state, fault, settings->abort_percent, "abort.abort_percent",
                 "x-envoy-fault-abort-request-percentage")) {
        return false;
    }
    uint64_t http = fault->by_header          ? header_number(state->filter, "x-envoy-fault-abort-request")
                    : settings->abort_is_grpc ? UINT64_MAX
                                              : fault->value;
    if (http != UINT64_MAX && (!fault->by_header || (http >= 200 && http < 600))) {
        reply->status = (uint16_t)status_now(state, http, settings->abort_http, "abort.http_status");
        return true;
    }
    uint64_t grpc = fault->by_header          ? header_number(state->filter, "x-envoy-fault-abort-grpc-request")
                    : settings->abort_is_grpc ? fault->value
                                              : UINT64_MAX;
    if (grpc == UINT64_MAX) {
        return false;
    }
    reply->status = 200;
    reply->has_grpc_status = true;
    reply->grpc_status = (uint32_t)status_now(state, grpc, settings->abort_grpc, "abort.grpc_status");
    return true;
}

/* True: the request was answered. */
static bool try_abort(state *state) {
    mc_reply reply = {
        .body = MC_SLICE_INIT("fault filter abort"), .details = "fault_filter_abort", .flags = MC_FLAG(FI)};
    if (!abort_status(state, &reply) || !take_active(state)) {
        return false;
    }
    const config *config = mc_filter_get_config(state->filter);
    mc_counter_inc(mc_filter_slab(state->filter), config->stats.aborts_injected);
    count_by_cluster(state, MC_SLICE("aborts_injected"));
    note(state, MC_FLAG(FI));
    mc_filter_reply(state->filter, &reply);
    return true;
}

static void delay_over(mc_timer *timer) {
    state *state = MC_CONTAINER(timer, struct state, delay);
    if (!try_abort(state)) {
        mc_filter_continue_decoding(state->filter);
    }
}

static bool try_delay(state *state) {
    uint64_t ms = delay_ms(state);
    if (ms == 0 || !take_active(state)) {
        return false;
    }
    const config *config = mc_filter_get_config(state->filter);
    state->delay.fire = delay_over;
    mc_timer_arm(mc_filter_loop(state->filter), &state->delay, ms);
    mc_counter_inc(mc_filter_slab(state->filter), config->stats.delays_injected);
    count_by_cluster(state, MC_SLICE("delays_injected"));
    note(state, MC_FLAG(DI));
    return true;
}

static void try_rate_limit(state *state) {
    const fault *rate = &state->settings->rate;
    if (!strikes(state, rate, state->settings->rate_percent, NULL, "x-envoy-fault-throughput-response-percentage")) {
        return;
    }
    uint64_t kib = rate->by_header ? header_number(state->filter, "x-envoy-fault-throughput-response") : rate->value;
    if (kib == UINT64_MAX || kib == 0 || !take_active(state)) {
        return;
    }
    const config *config = mc_filter_get_config(state->filter);
    const double bytes = (double)kib * 1024;
    const uint64_t now = mc_loop_now_us(mc_filter_loop(state->filter)) * 1000;
    if (mc_token_bucket_init(&state->bucket, now, bytes, bytes, 1000000000) != MC_OK) {
        return;
    }
    mc_token_bucket_consume(&state->bucket, now, bytes - bytes * TICK_MS / 1000); /* starts with one tick's worth */
    state->limited = true;
    mc_shaper_init(&state->shaper, state->filter, false, &state->bucket, TICK_MS);
    mc_counter_inc(mc_filter_slab(state->filter), config->stats.response_rl_injected);
}

/* --- the filter ----------------------------------------------------------------------------------------------------------- */

static bool node_matches(const settings *settings, mc_slice node) {
    for (uint32_t i = 0; i < settings->node_count; i++) {
        if (mc_slice_eq(settings->downstream_nodes[i], node)) {
            return true;
        }
    }
    return settings->node_count == 0;
}

static bool applies(mc_filter *filter, const settings *settings, const mc_headers *headers) {
    if (settings->upstream_cluster.n > 0) {
        const mc_route_match *match = mc_filter_match(filter);
        if (match == NULL || match->route == NULL || !mc_slice_eq(match->cluster, settings->upstream_cluster)) {
            return false;
        }
    }
    return node_matches(settings, mc_headers_get_known(headers, MC_H_X_ENVOY_DOWNSTREAM_SERVICE_NODE)) &&
           mc_header_matchers_all(settings->headers, headers) == 1;
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const settings *settings = mc_filter_route_config(filter);
    if (!applies(filter, settings, headers)) {
        return MC_FILTER_CONTINUE;
    }
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL) {
        return mc_filter_out_of_memory(filter);
    }
    state->filter = filter;
    state->settings = settings;
    state->cluster = mc_headers_get_known(headers, MC_H_X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER);
    mc_filter_set_state(filter, state);
    try_rate_limit(state);
    return try_delay(state) || try_abort(state) ? MC_FILTER_STOP : MC_FILTER_CONTINUE;
}

static mc_filter_status encode_data(mc_filter *filter, mc_slice data, bool end_stream) {
    state *state = mc_filter_get_state(filter);
    return state == NULL || !state->limited ? MC_FILTER_CONTINUE : mc_shaper_data(&state->shaper);
}

static void close_filter(mc_filter *filter) {
    state *state = mc_filter_get_state(filter);
    config *config = (struct config *)mc_filter_get_config(filter);
    if (state == NULL) {
        return;
    }
    mc_timer_cancel(mc_filter_loop(filter), &state->delay);
    if (state->limited) {
        mc_shaper_close(&state->shaper);
    }
    if (state->active) {
        atomic_fetch_sub_explicit(&config->active, 1, memory_order_relaxed);
        mc_gauge_add(mc_filter_slab(filter), config->active_faults, -1);
    }
}

/* --- compiling ------------------------------------------------------------------------------------------------------------ */

static mc_status read_percentage(mc_filter_compile *c, const mc_value *value, fault *out) {
    const mc_value *percentage;
    out->set = true;
    MC_TRY(mc_value_read_object(value, "percentage", &percentage, c->error));
    return mc_error_in(mc_fraction_read_percent(percentage, &out->percentage, c->error), c->error, "percentage");
}

static mc_status read_delay(mc_filter_compile *c, const mc_value *value, fault *out) {
    MC_TRY(read_percentage(c, value, out));
    out->by_header = mc_value_get(value, "header_delay") != NULL;
    if (!out->by_header && mc_value_get(value, "fixed_delay") == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have one of fixed_delay, header_delay");
    }
    return mc_value_read_duration_ms(value, "fixed_delay", &out->value, c->error);
}

static mc_status read_abort(mc_filter_compile *c, const mc_value *value, settings *out) {
    MC_TRY(read_percentage(c, value, &out->abort));
    out->abort.by_header = mc_value_get(value, "header_abort") != NULL;
    out->abort_is_grpc = mc_value_get(value, "grpc_status") != NULL;
    if (!out->abort.by_header && !out->abort_is_grpc && mc_value_get(value, "http_status") == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have one of http_status, grpc_status, header_abort");
    }
    MC_TRY(mc_value_read_u64(value, "grpc_status", &out->abort.value, c->error));
    MC_TRY(mc_value_read_u64(value, "http_status", &out->abort.value, c->error));
    if (!out->abort.by_header && !out->abort_is_grpc && (out->abort.value < 200 || out->abort.value >= 600)) {
        return mc_error_set(c->error, MC_EINVAL, "http_status", "must be between 200 and 599");
    }
    return MC_OK;
}

static mc_status read_rate(mc_filter_compile *c, const mc_value *value, fault *out) {
    const mc_value *fixed;
    MC_TRY(read_percentage(c, value, out));
    out->by_header = mc_value_get(value, "header_limit") != NULL;
    MC_TRY(mc_value_read_object(value, "fixed_limit", &fixed, c->error));
    MC_TRY(mc_error_in(mc_value_read_u64(fixed, "limit_kbps", &out->value, c->error), c->error, "fixed_limit"));
    return out->by_header || out->value > 0
               ? MC_OK
               : mc_error_set(c->error, MC_EINVAL, "", "must have one of fixed_limit, header_limit");
}

static mc_status read_nodes(mc_filter_compile *c, const mc_value *value, settings *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "downstream_nodes", &list, &count, c->error));
    out->downstream_nodes = mc_arena_alloc(c->arena, count * sizeof *out->downstream_nodes);
    if (out->downstream_nodes == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_arena_dup(c->arena, list[i].kind == MC_STRING ? list[i].string : MC_SLICE_NONE,
                            &out->downstream_nodes[out->node_count++]));
    }
    return MC_OK;
}

static mc_status read_keys(mc_filter_compile *c, const mc_value *value, settings *out) {
    const struct {
        const char *field, *key;
        mc_slice *out;
    } keys[] = {
        {"delay_percent_runtime", "fault.http.delay.fixed_delay_percent", &out->delay_percent},
        {"delay_duration_runtime", "fault.http.delay.fixed_duration_ms", &out->delay_duration},
        {"abort_percent_runtime", "fault.http.abort.abort_percent", &out->abort_percent},
        {"abort_http_status_runtime", "fault.http.abort.http_status", &out->abort_http},
        {"abort_grpc_status_runtime", "fault.http.abort.grpc_status", &out->abort_grpc},
        {"max_active_faults_runtime", "fault.http.max_active_faults", &out->max_active},
        {"response_rate_limit_percent_runtime", "fault.http.rate_limit.response_percent", &out->rate_percent},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        *keys[i].out = mc_slice_cstr(keys[i].key);
        MC_TRY(mc_read_text(c->arena, value, keys[i].field, keys[i].out, c->error));
    }
    return MC_OK;
}

static mc_status read_settings(mc_filter_compile *c, const mc_value *value, settings *out) {
    const mc_value *delay, *abort, *rate, *metadata;
    out->max_active_faults = UINT64_MAX;
    MC_TRY(mc_value_read_object(value, "delay", &delay, c->error));
    MC_TRY(mc_value_read_object(value, "abort", &abort, c->error));
    MC_TRY(mc_value_read_object(value, "response_rate_limit", &rate, c->error));
    MC_TRY(mc_value_read_object(value, "filter_metadata", &metadata, c->error));
    MC_TRY(delay == NULL ? MC_OK : mc_error_in(read_delay(c, delay, &out->delay), c->error, "delay"));
    MC_TRY(abort == NULL ? MC_OK : mc_error_in(read_abort(c, abort, out), c->error, "abort"));
    MC_TRY(rate == NULL ? MC_OK : mc_error_in(read_rate(c, rate, &out->rate), c->error, "response_rate_limit"));
    MC_TRY(metadata == NULL ? MC_OK : mc_value_copy(c->arena, metadata, &out->metadata));
    MC_TRY(mc_read_text(c->arena, value, "upstream_cluster", &out->upstream_cluster, c->error));
    MC_TRY(mc_match_headers_compile(c->arena, value, "headers", &out->headers, c->error));
    MC_TRY(read_nodes(c, value, out));
    MC_TRY(mc_value_read_u64(value, "max_active_faults", &out->max_active_faults, c->error));
    MC_TRY(mc_value_read_bool(value, "disable_downstream_cluster_stats", &out->no_cluster_stats, c->error));
    return read_keys(c, value, out);
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    if (config == NULL) {
        return MC_ENOMEM;
    }
    config->store = c->stats;
    config->scope = c->scope;
#define COUNTER(name) config->stats.name = mc_filter_stat(c, MC_COUNTER, MC_SLICE("fault."), #name);
    COUNTERS(COUNTER)
#undef COUNTER
    config->active_faults = mc_filter_stat(c, MC_GAUGE, MC_SLICE("fault."), "active_faults");
    *out = config;
    return read_settings(c, value, &config->settings);
}

static mc_status compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    settings *settings = mc_arena_zalloc(c->arena, sizeof *settings);
    *out = settings;
    return settings == NULL ? MC_ENOMEM : read_settings(c, value, settings);
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.fault",
    .decode_headers = decode_headers,
    .encode_data = encode_data,
    .close = close_filter,
};

const mc_filter_kind mc_filter_kind_fault = {
    .type = "envoy.extensions.filters.http.fault.v3.HTTPFault",
    .route_type = "envoy.extensions.filters.http.fault.v3.HTTPFault",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile_route,
};
