/* meshcore.CpuLimit: no more requests at a time than keep the CPU busy, once it is used up (docs/overload.md).
 *
 * The CPU's use says whether there is too much to do, not how much too much: at 100 % a queue of any length hides. So what is
 * set is not a chance but the number of requests at a time, which bounds that queue at once. While the CPU is used up the number
 * shrinks to a few for each core; with that many, a service that needs nothing but CPU has every core busy and nobody waits
 * long. A service that also waits for others leaves CPU unused then, and the number grows again until it is used.
 *
 * All workers share one number; who comes when it is due reads the CPU. */
#include <pthread.h>

#include "event/cpu.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

#define GAUGES(X) X(concurrency_limit) X(utilization)

enum { NO_LIMIT = 1000000, UPDATE_MS = 100, PER_CORE = 3, FORGET = 10 /* updates */ };

#define TARGET 0.95
#define WEIGHT 0.5 /* of the newest reading in the average */
#define SHRINK 0.7
#define GROW   1.1

typedef struct config {
    bool container;
    double target;
    uint32_t per_core;
    uint64_t update_ms;
    mc_stats *store;
    mc_stat rq_blocked;
    struct {
        GAUGES(MC_STAT_FIELD)
    } stats;

    /* Of all workers. */
    _Atomic uint32_t active, limit, most; /* most: active at a time since the last update */
    _Atomic uint64_t due_ms;
    pthread_mutex_t lock; /* of what follows */
    bool begun;
    uint64_t updated_ms;
    mc_cpu_use last;
    double average, exact; /* exact: the limit */
} config;

/* --- the controller, under its lock ------------------------------------------------------------------------------------- */

static void adjust(config *config, double use, double cores) {
    const double least = cores * config->per_core < 1 ? 1 : cores * config->per_core;
    const double most = atomic_exchange(&config->most, atomic_load(&config->active));
    config->average += WEIGHT * (use - config->average);
    if (config->average >= config->target) {
        const double from = most < config->exact ? most : config->exact;
        config->exact = from * SHRINK;
    } else {
        config->exact = config->exact * GROW + 1;
    }
    config->exact = config->exact < least ? least : config->exact > NO_LIMIT ? NO_LIMIT : config->exact;
    atomic_store(&config->limit, (uint32_t)config->exact);
    mc_gauge_set(config->store, config->stats.concurrency_limit, (uint64_t)config->exact);
    mc_gauge_set(config->store, config->stats.utilization, (uint64_t)(config->average * 100 + 0.5));
}

static void update(mc_loop *loop, config *config, uint64_t now_ms) {
    mc_cpu_use use;
    if (mc_cpu_read(loop, config->container, &use) != MC_OK) {
        return;
    }
    const double passed = use.passed - config->last.passed, worked = use.worked - config->last.worked;
    const bool forget = !config->begun || now_ms - config->updated_ms > FORGET * config->update_ms;
    if (!forget && passed <= 0) {
        return; /* too little time to tell */
    }
    if (forget) { /* what was before tells nothing of now */
        config->begun = true;
        config->exact = NO_LIMIT;
        config->average = 0;
        atomic_store(&config->limit, NO_LIMIT);
    } else {
        adjust(config, worked < 0 ? 0 : worked > passed ? 1 : worked / passed, use.cores);
    }
    config->last = use;
    config->updated_ms = now_ms;
}

static void update_when_due(mc_filter *filter, config *config) {
    mc_loop *loop = mc_filter_loop(filter);
    const uint64_t now = mc_loop_now_ms(loop);
    uint64_t due = atomic_load_explicit(&config->due_ms, memory_order_relaxed);
    if (MC_LIKELY(now < due) || !atomic_compare_exchange_strong(&config->due_ms, &due, now + config->update_ms)) {
        return;
    }
    pthread_mutex_lock(&config->lock);
    update(loop, config, now);
    pthread_mutex_unlock(&config->lock);
}

/* --- the filter --------------------------------------------------------------------------------------------------------- */

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    config *config = (struct config *)mc_filter_get_config(filter);
    if (mc_filter_stream(filter)->health_check) {
        return MC_FILTER_CONTINUE;
    }
    update_when_due(filter, config);
    const uint32_t active = atomic_fetch_add(&config->active, 1) + 1;
    if (active > atomic_load_explicit(&config->limit, memory_order_relaxed)) {
        atomic_fetch_sub(&config->active, 1);
        mc_counter_inc(mc_filter_slab(filter), config->rq_blocked);
        mc_filter_reply(
            filter, &(mc_reply){.status = 503, .body = MC_SLICE_INIT("no CPU left"), .details = "cpu_limit_reached"});
        return MC_FILTER_STOP;
    }
    if (active > atomic_load_explicit(&config->most, memory_order_relaxed)) { /* a lost race is a few less */
        atomic_store_explicit(&config->most, active, memory_order_relaxed);
    }
    mc_filter_set_state(filter, config);
    return MC_FILTER_CONTINUE;
}

static void leave(mc_filter *filter) {
    config *config = mc_filter_get_state(filter);
    if (config != NULL) {
        mc_filter_set_state(filter, NULL);
        atomic_fetch_sub(&config->active, 1);
    }
}

/* --- compiling ---------------------------------------------------------------------------------------------------------- */

static void free_config(void *object) { pthread_mutex_destroy(&((config *)object)->lock); }

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_slice prefix = MC_SLICE("cpu_limit.");
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    config->store = c->stats;
    config->rq_blocked = mc_filter_stat(c, MC_COUNTER, prefix, "rq_blocked");
#define GAUGE(name) config->stats.name = mc_filter_stat(c, MC_GAUGE, prefix, #name);
    GAUGES(GAUGE)
#undef GAUGE
    config->target = TARGET;
    config->per_core = PER_CORE;
    config->update_ms = UPDATE_MS;
    MC_TRY(mc_value_read_double(value, "target_utilization", &config->target, c->error));
    MC_TRY(mc_value_read_u32(value, "concurrency_per_core", &config->per_core, c->error));
    MC_TRY(mc_value_read_duration_ms(value, "update_interval", &config->update_ms, c->error));
    MC_TRY(mc_value_read_bool(value, "container", &config->container, c->error));
    if (!(config->target > 0 && config->target <= 1)) {
        return mc_error_set(c->error, MC_EINVAL, "target_utilization", "must be above 0 and at most 1");
    }
    if (config->update_ms == 0) {
        return mc_error_set(c->error, MC_EINVAL, "update_interval", "must be at least a millisecond");
    }
    atomic_init(&config->limit, NO_LIMIT);
    pthread_mutex_init(&config->lock, NULL);
    return mc_arena_defer(c->arena, free_config, config);
}

static const mc_filter_type filter_type = {
    .name = "meshcore.cpu_limit",
    .decode_headers = decode_headers,
    .encode_complete = leave,
    .close = leave,
};

const mc_filter_kind mc_filter_kind_cpu_limit = {
    .type = "meshcore.CpuLimit", .filter = &filter_type, .compile = compile};
