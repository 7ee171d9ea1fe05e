/* admission_control (FL-61): requests turned away at random when too many of the last ones failed. Each worker looks at its own. */
#include <math.h>

#include "base/alloc.h"
#include "event/loop.h"
#include "http/grpc.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

#define STATS(X) X(rq_rejected) X(rq_success) X(rq_failure)

enum { MAX_SLOTS = 3600 };

typedef struct status_range {
    uint32_t start, end; /* end exclusive */
} status_range;

typedef struct config {
    mc_feature_flag enabled;
    const status_range *http;
    uint32_t http_count;
    uint32_t grpc; /* bit n: status n is a success */
    uint64_t window_s;
    mc_runtime_number aggression, threshold, rps_threshold, max_rejection; /* percentages as 0..100 */
    struct {
        STATS(MC_STAT_FIELD)
    } stats;
} config;

typedef struct slot {
    uint64_t second;
    uint32_t requests, successes;
} slot;

/* One worker's window: a slot a second, of a window of more than MAX_SLOTS some seconds, and the sums of those that are
 * not too old. */
typedef struct window {
    uint64_t requests, successes, newest;
    uint64_t slot_ms;
    uint32_t count;
    slot slots[];
} window;

typedef struct state {
    bool ignored;       /* not counted: turned away here, a health check, or the filter is off */
    bool trailers_tell; /* of a gRPC response without a status yet */
} state;

static window *find_window(mc_filter *filter, const config *config) {
    void **place = mc_filter_worker_state(filter);
    if (*place == NULL) {
        const uint64_t seconds = (config->window_s + MAX_SLOTS - 1) / MAX_SLOTS;
        const uint64_t count = (config->window_s + seconds - 1) / seconds;
        window *made = mc_calloc(1, sizeof *made + count * sizeof(slot));
        if (made != NULL) {
            made->count = (uint32_t)count;
            made->slot_ms = seconds * 1000;
        }
        *place = made;
    }
    return *place;
}

/* Lets go of what is older than the window. */
static slot *advance(window *window, uint64_t now_ms) {
    const uint64_t second = now_ms / window->slot_ms + 1; /* 0: never used */
    slot *now = &window->slots[second % window->count];
    for (uint32_t i = 0; i < window->count && window->newest != second; i++) {
        slot *slot = &window->slots[i];
        if (slot->second != 0 && slot->second + window->count <= second) {
            window->requests -= slot->requests;
            window->successes -= slot->successes;
            *slot = (struct slot){0};
        }
    }
    window->newest = second;
    now->second = second;
    return now;
}

static void record(mc_filter *filter, bool success) {
    const config *config = mc_filter_get_config(filter);
    window *window = find_window(filter, config);
    if (window == NULL) {
        return;
    }
    slot *slot = advance(window, mc_loop_now_ms(mc_filter_loop(filter)));
    slot->requests++;
    window->requests++;
    slot->successes += success;
    window->successes += success;
    mc_counter_inc(mc_filter_slab(filter), success ? config->stats.rq_success : config->stats.rq_failure);
}

/* P = ((n - s / threshold) / (n + 1)) ^ (1 / aggression) */
static bool rejects(mc_filter *filter, const config *config) {
    const mc_runtime *runtime = mc_filter_runtime(filter);
    window *window = find_window(filter, config);
    if (window == NULL) {
        return false;
    }
    advance(window, mc_loop_now_ms(mc_filter_loop(filter)));
    const double n = (double)window->requests, s = (double)window->successes;
    if (n / (double)config->window_s < mc_runtime_number_now(&config->rps_threshold, runtime)) {
        return false;
    }
    double threshold = mc_runtime_number_now(&config->threshold, runtime) / 100;
    double aggression = mc_runtime_number_now(&config->aggression, runtime);
    double most = mc_runtime_number_now(&config->max_rejection, runtime) / 100;
    threshold = threshold > 1 ? 1 : threshold;
    double p = (n - s / threshold) / (n + 1);
    if (aggression > 1) {
        p = p <= 0 ? 0 : pow(p, 1 / aggression);
    }
    p = p > most ? most : p;
    return p > 0 && 10000 * p > (double)(mc_filter_random(filter) % 10000);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL) {
        return mc_filter_out_of_memory(filter);
    }
    mc_filter_set_state(filter, state);
    state->ignored =
        !mc_feature_flag_on(&config->enabled, mc_filter_runtime(filter)) || mc_filter_stream(filter)->health_check;
    if (!state->ignored && rejects(filter, config)) {
        state->ignored = true;
        mc_counter_inc(mc_filter_slab(filter), config->stats.rq_rejected);
        mc_filter_reply(filter, &(mc_reply){.status = 503, .details = "denied_by_admission_control"});
        return MC_FILTER_STOP;
    }
    return MC_FILTER_CONTINUE;
}

static bool http_success(const config *config, mc_slice text) {
    uint64_t status = 0;
    if (mc_slice_u64(text, &status) != MC_OK) {
        return false;
    }
    for (uint32_t i = 0; i < config->http_count; i++) {
        if (status >= config->http[i].start && status < config->http[i].end) {
            return true;
        }
    }
    return false;
}

static bool grpc_success(const config *config, mc_slice text) {
    uint64_t status;
    return mc_slice_u64(text, &status) == MC_OK && status < 32 && (config->grpc >> status & 1) != 0;
}

/* As Envoy tells: a head without a body by its status, another by code and type. */
static bool is_grpc_response(const mc_headers *headers, bool end_stream) {
    return end_stream ? mc_headers_has(headers, MC_H_GRPC_STATUS)
                      : mc_slice_eq(mc_headers_get_known(headers, MC_H_STATUS), MC_SLICE("200")) &&
                            mc_grpc_content_type(mc_headers_get_known(headers, MC_H_CONTENT_TYPE));
}

/* Without state: answered by a filter before this one, which counts too. As Envoy, what ends without an answer does not. */
static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    state *state = mc_filter_get_state(filter);
    if (state != NULL && state->ignored) {
        return MC_FILTER_CONTINUE;
    }
    const mc_slice status = mc_headers_get_known(headers, MC_H_GRPC_STATUS);
    if (is_grpc_response(headers, end_stream)) {
        if (status.p != NULL) {
            record(filter, grpc_success(config, status));
        } else if (state != NULL) {
            state->trailers_tell = true;
        }
    } else {
        record(filter, http_success(config, mc_headers_get_known(headers, MC_H_STATUS)));
    }
    return MC_FILTER_CONTINUE;
}

static mc_filter_status encode_trailers(mc_filter *filter, mc_headers *trailers) {
    const state *state = mc_filter_get_state(filter);
    if (state != NULL && state->trailers_tell) {
        record(filter, grpc_success(mc_filter_get_config(filter), mc_headers_get_known(trailers, MC_H_GRPC_STATUS)));
    }
    return MC_FILTER_CONTINUE;
}

static void close_worker(void *window) { mc_free(window); }

/* --- compiling ------------------------------------------------------------------------------------------------------------- */

static mc_status read_http(mc_filter_compile *c, const mc_value *value, config *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "http_success_status", &list, &count, c->error));
    out->http_count = (uint32_t)count;
    status_range *ranges = mc_arena_zalloc(c->arena, count * sizeof *ranges);
    if (ranges == NULL) {
        return MC_ENOMEM;
    }
    out->http = ranges;
    for (size_t i = 0; i < count; i++) {
        status_range *range = &ranges[i];
        MC_TRY(mc_value_read_u32(&list[i], "start", &range->start, c->error));
        MC_TRY(mc_value_read_u32(&list[i], "end", &range->end, c->error));
        if (range->start < 100 || range->end > 600 || range->start > range->end) {
            char path[64];
            snprintf(path, sizeof path, "http_success_status[%zu]", i);
            return mc_error_set(c->error, MC_EINVAL, path, "must be a range of statuses, from 100 to 600");
        }
    }
    return MC_OK;
}

static mc_status read_grpc(mc_filter_compile *c, const mc_value *value, config *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "grpc_success_status", &list, &count, c->error));
    out->grpc = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind != MC_NUMBER || list[i].number < 0 || list[i].number > 16) {
            char path[64];
            snprintf(path, sizeof path, "grpc_success_status[%zu]", i);
            return mc_error_set(c->error, MC_EINVAL, path, "must be a gRPC status");
        }
        out->grpc |= UINT32_C(1) << (unsigned)list[i].number;
    }
    return MC_OK;
}

static mc_status read_criteria(mc_filter_compile *c, const mc_value *value, config *out) {
    static const status_range below_500[] = {{100, 500}};
    static const uint8_t successes[] = {0, 1, 2, 3, 5, 6, 7, 9, 11, 12, 16};
    const mc_value *http, *grpc;
    out->http = below_500;
    out->http_count = 1;
    for (size_t i = 0; i < sizeof successes; i++) {
        out->grpc |= UINT32_C(1) << successes[i];
    }
    MC_TRY(mc_value_read_object(value, "http_criteria", &http, c->error));
    MC_TRY(mc_value_read_object(value, "grpc_criteria", &grpc, c->error));
    if (http != NULL) {
        MC_TRY(mc_error_in(read_http(c, http, out), c->error, "http_criteria"));
    }
    return grpc == NULL ? MC_OK : mc_error_in(read_grpc(c, grpc, out), c->error, "grpc_criteria");
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *criteria;
    uint64_t window_ms = 30000;
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    config->enabled = (mc_feature_flag){true, MC_SLICE_NONE};
    config->aggression.value = 1;
    config->threshold.value = 95;
    config->max_rejection.value = 80;
    const mc_slice parts[] = {c->stat_prefix, MC_SLICE("admission_control.")};
    mc_slice prefix;
    MC_TRY(mc_arena_concat(c->arena, parts, 2, &prefix));
#define COUNTER(name) config->stats.name = mc_filter_stat(c, MC_COUNTER, prefix, #name);
    STATS(COUNTER)
#undef COUNTER
    MC_TRY(mc_feature_flag_read(c->arena, value, "enabled", &config->enabled, c->error));
    MC_TRY(mc_value_read_duration_ms(value, "sampling_window", &window_ms, c->error));
    config->window_s = window_ms < 1000 ? 1 : window_ms / 1000;
    MC_TRY(mc_runtime_number_read(c->arena, value, "aggression", &config->aggression, c->error));
    MC_TRY(mc_runtime_number_read(c->arena, value, "sr_threshold", &config->threshold, c->error));
    MC_TRY(mc_runtime_number_read(c->arena, value, "rps_threshold", &config->rps_threshold, c->error));
    MC_TRY(mc_runtime_number_read(c->arena, value, "max_rejection_probability", &config->max_rejection, c->error));
    if (config->threshold.value < 1) { /* as Envoy: it would divide by it */
        return mc_error_set(c->error, MC_EINVAL, "sr_threshold", "must be at least 1 percent");
    }
    MC_TRY(mc_value_read_object(value, "success_criteria", &criteria, c->error));
    return mc_error_in(read_criteria(c, criteria, config), c->error, "success_criteria");
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.admission_control",
    .decode_headers = decode_headers,
    .encode_headers = encode_headers,
    .encode_trailers = encode_trailers,
};

const mc_filter_kind mc_filter_kind_admission_control = {
    .type = "envoy.extensions.filters.http.admission_control.v3.AdmissionControl",
    .filter = &filter_type,
    .in_tries = MC_TRY_CHAIN,
    .compile = compile,
    .worker_close = close_worker,
};
