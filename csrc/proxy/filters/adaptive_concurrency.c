/* adaptive_concurrency (FL-60): no more requests at a time than their latency allows. All workers share one limit; time moves it on
 * when requests come and go. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "event/loop.h"
#include "http/codes.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

#define GAUGES(X)                                                                                                      \
    X(burst_queue_size)                                                                                                \
    X(concurrency_limit) X(gradient) X(min_rtt_calculation_active) X(min_rtt_msecs) X(sample_rtt_msecs)

enum { SAMPLES_MAX = 100000, AT_MINIMUM_MAX = 5 };

typedef struct config {
    mc_feature_flag enabled;
    uint16_t status;
    double percentile, buffer, jitter; /* 0..1 */
    uint32_t max_limit, min_concurrency, request_count;
    uint64_t update_ms, min_rtt_interval_ms;
    uint64_t fixed_rtt_us; /* 0: it is measured */
    mc_stats *store;
    mc_stat rq_blocked;
    struct {
        GAUGES(MC_STAT_FIELD)
    } stats;

    /* Of all workers. */
    _Atomic uint32_t active, limit;
    pthread_mutex_t lock; /* of what follows */
    bool begun, measuring;
    uint64_t next_update_ms, next_measure_ms;
    uint64_t epoch_us; /* the last measurement's begin: what is older waited behind more requests than it tells of */
    uint64_t min_rtt_us;
    uint32_t saved_limit, at_minimum;
    uint32_t *samples; /* µs */
    size_t count, cap;
} config;

typedef struct state {
    config *config;
    uint64_t begun_us;
} state;

/* --- the controller, under its lock ------------------------------------------------------------------------------------------ */

static void show(config *config, mc_stat gauge, uint64_t value) { mc_gauge_set(config->store, gauge, value); }

static void set_limit(config *config, uint32_t limit) {
    const uint32_t old = atomic_exchange_explicit(&config->limit, limit, memory_order_relaxed);
    const bool stays = !config->measuring && old == config->min_concurrency && limit == old;
    show(config, config->stats.concurrency_limit, limit);
    config->at_minimum = stays ? config->at_minimum + 1 : 0;
}

static int ascending(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t take_percentile(config *config) {
    qsort(config->samples, config->count, sizeof *config->samples, ascending);
    size_t at = (size_t)ceil(config->percentile * (double)config->count);
    uint64_t value = config->samples[at == 0 ? 0 : at - 1];
    config->count = 0;
    return value;
}

static void begin_measuring(config *config, uint64_t now_us) {
    if (config->fixed_rtt_us != 0) {
        return;
    }
    config->measuring = true;
    config->count = 0;
    config->epoch_us = now_us;
    config->saved_limit = atomic_load_explicit(&config->limit, memory_order_relaxed);
    set_limit(config, config->min_concurrency);
    show(config, config->stats.min_rtt_calculation_active, 1);
}

static void end_measuring(config *config, uint64_t now_ms, mc_random *random) {
    config->min_rtt_us = take_percentile(config);
    set_limit(config, config->saved_limit);
    config->measuring = false;
    uint64_t spread = (uint64_t)ceil((double)config->min_rtt_interval_ms * config->jitter);
    config->next_measure_ms =
        now_ms + config->min_rtt_interval_ms + (spread == 0 ? 0 : mc_random_next(random) % spread);
    config->next_update_ms = now_ms + config->update_ms;
    show(config, config->stats.min_rtt_msecs, config->min_rtt_us / 1000);
    show(config, config->stats.min_rtt_calculation_active, 0);
}

static void update(config *config) {
    const uint64_t sample = take_percentile(config);
    const double limit = atomic_load_explicit(&config->limit, memory_order_relaxed);
    double gradient = (double)config->min_rtt_us * (1 + config->buffer) / (double)(sample == 0 ? 1 : sample);
    gradient = gradient < 0.5 ? 0.5 : gradient > 2 ? 2 : gradient;
    const double burst = sqrt(limit * gradient);
    double next = limit * gradient + burst;
    next = next < config->min_concurrency ? config->min_concurrency
           : next > config->max_limit     ? config->max_limit
                                          : next;
    show(config, config->stats.sample_rtt_msecs, sample / 1000);
    show(config, config->stats.gradient, (uint64_t)(gradient * 1000));
    show(config, config->stats.burst_queue_size, (uint64_t)burst);
    set_limit(config, (uint32_t)next);
}

/* What time has made due. */
static void advance(config *config, uint64_t now_us) {
    const uint64_t now_ms = now_us / 1000;
    if (!config->begun) {
        config->begun = true;
        config->next_update_ms = now_ms + config->update_ms;
        config->min_rtt_us = config->fixed_rtt_us;
        set_limit(config, config->min_concurrency);
        config->at_minimum = 0;
        if (config->fixed_rtt_us == 0) {
            begin_measuring(config, now_us);
        } else {
            show(config, config->stats.min_rtt_msecs, config->fixed_rtt_us / 1000);
        }
    }
    if (config->measuring) {
        return;
    }
    if (now_ms >= config->next_update_ms) {
        config->next_update_ms = now_ms + config->update_ms;
        if (config->count > 0) {
            update(config);
        }
    }
    if (config->fixed_rtt_us == 0 && (now_ms >= config->next_measure_ms || config->at_minimum >= AT_MINIMUM_MAX)) {
        begin_measuring(config, now_us);
    }
}

static void add_sample(config *config, uint64_t us, uint64_t now_ms, mc_random *random) {
    if (config->count == config->cap && config->cap < SAMPLES_MAX) {
        size_t cap = config->cap == 0 ? 256 : config->cap * 2;
        uint32_t *grown = mc_realloc(config->samples, cap * sizeof *grown);
        if (grown == NULL) {
            return;
        }
        config->samples = grown;
        config->cap = cap;
    }
    if (config->count < config->cap) {
        config->samples[config->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    }
    if (config->measuring && config->count >= config->request_count) {
        end_measuring(config, now_ms, random);
    }
}

/* --- the filter ------------------------------------------------------------------------------------------------------------- */

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    config *config = (struct config *)mc_filter_get_config(filter);
    if (!mc_feature_flag_on(&config->enabled, mc_filter_runtime(filter)) || mc_filter_stream(filter)->health_check) {
        return MC_FILTER_CONTINUE;
    }
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL) {
        return mc_filter_out_of_memory(filter);
    }
    pthread_mutex_lock(&config->lock);
    advance(config, mc_loop_now_us(mc_filter_loop(filter)));
    pthread_mutex_unlock(&config->lock);
    if (atomic_fetch_add(&config->active, 1) >= atomic_load_explicit(&config->limit, memory_order_relaxed)) {
        atomic_fetch_sub(&config->active, 1);
        mc_counter_inc(mc_filter_slab(filter), config->rq_blocked);
        mc_filter_reply(filter, &(mc_reply){.status = config->status,
                                            .body = MC_SLICE_INIT("reached concurrency limit"),
                                            .details = "reached_concurrency_limit"});
        return MC_FILTER_STOP;
    }
    state->config = config;
    state->begun_us = mc_loop_now_us(mc_filter_loop(filter));
    mc_filter_set_state(filter, state);
    return MC_FILTER_CONTINUE;
}

static void leave(mc_filter *filter, bool sample) {
    state *state = mc_filter_get_state(filter);
    mc_loop *loop = mc_filter_loop(filter);
    if (state == NULL) {
        return;
    }
    config *config = state->config;
    mc_filter_set_state(filter, NULL);
    atomic_fetch_sub(&config->active, 1);
    pthread_mutex_lock(&config->lock);
    if (sample && state->begun_us >= config->epoch_us) {
        add_sample(config, mc_loop_now_us(loop) - state->begun_us, mc_loop_now_ms(loop), mc_loop_random(loop));
    }
    advance(config, mc_loop_now_us(loop));
    pthread_mutex_unlock(&config->lock);
}

static void encode_complete(mc_filter *filter) { leave(filter, true); }
static void close_filter(mc_filter *filter) { leave(filter, false); } /* given up: tells nothing */

static void free_config(void *object) {
    config *config = object;
    pthread_mutex_destroy(&config->lock);
    mc_free(config->samples);
}

/* --- compiling ------------------------------------------------------------------------------------------------------------- */

/* A Percent as a share of one. */
static mc_status read_share(mc_filter_compile *c, const mc_value *value, const char *field, double *out) {
    double percent = *out * 100;
    MC_TRY(mc_read_percent(value, field, &percent, c->error));
    *out = percent / 100;
    return MC_OK;
}

static mc_status read_min_rtt(mc_filter_compile *c, const mc_value *value, config *out) {
    uint64_t fixed_ms = 0;
    MC_TRY(mc_value_read_duration_ms(value, "interval", &out->min_rtt_interval_ms, c->error));
    MC_TRY(mc_value_read_duration_ms(value, "fixed_value", &fixed_ms, c->error));
    MC_TRY(mc_value_read_u32(value, "request_count", &out->request_count, c->error));
    MC_TRY(mc_value_read_u32(value, "min_concurrency", &out->min_concurrency, c->error));
    MC_TRY(read_share(c, value, "jitter", &out->jitter));
    MC_TRY(read_share(c, value, "buffer", &out->buffer));
    out->fixed_rtt_us = fixed_ms * 1000;
    if (out->min_rtt_interval_ms == 0 && fixed_ms == 0) {
        return mc_error_set(c->error, MC_EINVAL, "interval", "must be set, or fixed_value");
    }
    return MC_OK;
}

static mc_status read_controller(mc_filter_compile *c, const mc_value *value, config *out) {
    const mc_value *limits, *min_rtt;
    out->percentile = 0.5;
    out->max_limit = 1000;
    out->min_concurrency = 3;
    out->request_count = 50;
    out->jitter = 0.15;
    out->buffer = 0.25;
    MC_TRY(read_share(c, value, "sample_aggregate_percentile", &out->percentile));
    MC_TRY(mc_value_read_object(value, "concurrency_limit_params", &limits, c->error));
    MC_TRY(mc_value_read_object(value, "min_rtt_calc_params", &min_rtt, c->error));
    MC_TRY(mc_error_in(mc_value_read_u32(limits, "max_concurrency_limit", &out->max_limit, c->error), c->error,
                       "concurrency_limit_params"));
    MC_TRY(mc_error_in(mc_value_read_duration_ms(limits, "concurrency_update_interval", &out->update_ms, c->error),
                       c->error, "concurrency_limit_params"));
    if (mc_value_get(limits, "concurrency_update_interval") == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "concurrency_limit_params.concurrency_update_interval", "is required");
    }
    out->update_ms = out->update_ms == 0 ? 1 : out->update_ms; /* shorter ones are allowed, but no timer is */
    return mc_error_in(read_min_rtt(c, min_rtt, out), c->error, "min_rtt_calc_params");
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *controller, *status;
    mc_slice name = MC_SLICE_NONE;
    const mc_slice prefix = MC_SLICE("adaptive_concurrency.gradient_controller.");
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    config->store = c->stats;
    config->enabled = (mc_feature_flag){true, MC_SLICE_NONE};
    config->rq_blocked = mc_filter_stat(c, MC_COUNTER, prefix, "rq_blocked");
#define GAUGE(name) config->stats.name = mc_filter_stat(c, MC_GAUGE, prefix, #name);
    GAUGES(GAUGE)
#undef GAUGE
    MC_TRY(mc_feature_flag_read(c->arena, value, "enabled", &config->enabled, c->error));
    MC_TRY(mc_value_read_object(value, "concurrency_limit_exceeded_status", &status, c->error));
    MC_TRY(mc_value_read_string(status, "code", &name, c->error));
    config->status = mc_http_status_named(name);
    config->status = config->status < 400 ? 503 : config->status;
    MC_TRY(mc_value_read_object(value, "gradient_controller_config", &controller, c->error));
    if (controller == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "gradient_controller_config", "is required");
    }
    MC_TRY(mc_error_in(read_controller(c, controller, config), c->error, "gradient_controller_config"));
    atomic_init(&config->limit, config->min_concurrency);
    pthread_mutex_init(&config->lock, NULL);
    return mc_arena_defer(c->arena, free_config, config);
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.adaptive_concurrency",
    .decode_headers = decode_headers,
    .encode_complete = encode_complete,
    .close = close_filter,
};

const mc_filter_kind mc_filter_kind_adaptive_concurrency = {
    .type = "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency",
    .filter = &filter_type,
    .compile = compile,
};
