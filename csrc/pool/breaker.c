#include "pool/breaker.h"

#include <stdio.h>

#include "base/defaults.h"

static const char *const PRIORITY_NAMES[] = {"default", "high"};

/* --- configuration -------------------------------------------------------------------------------------------------------- */

static void set_defaults(mc_breakers *b) {
    *b = (mc_breakers){.max_connections_per_host = UINT32_MAX,
                       .budget_percent = 20.0,
                       .min_retry_concurrency = (uint32_t)MC_DEFAULT_MIN_RETRY_CONCURRENCY};
#define DEFAULT(field, limit, otherwise, open, remaining) b->field.max = (uint32_t)(otherwise);
    MC_BREAKERS(DEFAULT)
#undef DEFAULT
}

static mc_status read_budget(mc_arena *arena, const mc_value *threshold, mc_breakers *b, mc_error *error) {
    const mc_value *budget, *percent;
    uint64_t interval_ms = 0;
    mc_status status = mc_value_read_object(threshold, "retry_budget", &budget, error);
    if (status != MC_OK || budget == NULL) {
        return status;
    }
    b->has_budget = true;
    if ((status = mc_value_read_object(budget, "budget_percent", &percent, error)) == MC_OK && percent != NULL) {
        b->budget_percent = 0;
        status = mc_value_read_double(percent, "value", &b->budget_percent, error);
    }
    if (status == MC_OK) {
        status = mc_value_read_u32(budget, "min_retry_concurrency", &b->min_retry_concurrency, error);
    }
    if (status == MC_OK) {
        status = mc_value_read_duration_ms(budget, "budget_interval", &interval_ms, error);
    }
    if (status == MC_OK && interval_ms > 0) {
        b->recent = mc_arena_zalloc(arena, sizeof *b->recent);
        if (b->recent == NULL) {
            return MC_ENOMEM;
        }
        b->recent->interval_ms = interval_ms;
    }
    if (status != MC_OK) {
        mc_error_under(error, "retry_budget");
    }
    return status;
}

static mc_status read_threshold(mc_arena *arena, const mc_value *threshold, mc_breakers *b, mc_error *error) {
    bool track = false;
    mc_status status;
#define LIMIT(field, limit, otherwise, open, remaining)                                                                \
    if ((status = mc_value_read_u32(threshold, limit, &b->field.max, error)) != MC_OK) {                               \
        return status;                                                                                                 \
    }
    MC_BREAKERS(LIMIT)
#undef LIMIT
    if ((status = mc_value_read_bool(threshold, "track_remaining", &track, error)) != MC_OK) {
        return status;
    }
#define TRACK(field, limit, otherwise, open, remaining) b->field.tracked = track;
    MC_BREAKERS(TRACK)
#undef TRACK
    return read_budget(arena, threshold, b, error);
}

/* The first entry of each priority counts. */
static mc_status read_list(mc_arena *arena, const mc_value *config, const char *list_name,
                           mc_breakers out[MC_PRIORITIES],
                           mc_status (*read)(mc_arena *, const mc_value *, mc_breakers *, mc_error *),
                           mc_error *error) {
    const mc_value *list;
    size_t count;
    bool seen[MC_PRIORITIES] = {false, false};
    mc_status status = mc_value_read_list(config, list_name, &list, &count, error);
    for (size_t i = 0; status == MC_OK && i < count; i++) {
        mc_slice name = MC_SLICE("DEFAULT");
        status = mc_value_read_string(&list[i], "priority", &name, error);
        const mc_rq_priority priority = mc_slice_eq(name, MC_SLICE("HIGH")) ? MC_PRIORITY_HIGH : MC_PRIORITY_DEFAULT;
        if (status == MC_OK && !seen[priority]) {
            seen[priority] = true;
            status = read(arena, &list[i], &out[priority], error);
        }
        if (status != MC_OK) {
            mc_error_under(error, "%s[%zu]", list_name, i);
        }
    }
    return status;
}

static mc_status read_per_host(mc_arena *arena, const mc_value *threshold, mc_breakers *b, mc_error *error) { /* CB-5 */
    (void)arena;
    for (size_t i = 0; i < threshold->count; i++) {
        if (!mc_slice_eq(threshold->names[i], MC_SLICE("priority")) &&
            !mc_slice_eq(threshold->names[i], MC_SLICE("max_connections"))) {
            char name[64];
            snprintf(name, sizeof name, "%.*s", MC_SLICE_ARG(threshold->names[i]));
            return mc_error_set(error, MC_EINVAL, name, "is not possible for single hosts, only max_connections is");
        }
    }
    return mc_value_read_u32(threshold, "max_connections", &b->max_connections_per_host, error);
}

static uint32_t override_u32(const mc_runtime *runtime, const char *prefix, const char *name, uint32_t otherwise) {
    char key[512];
    int n = snprintf(key, sizeof key, "%s%s", prefix, name);
    uint64_t value = mc_runtime_u64(runtime, mc_slice_of(key, (size_t)n), otherwise);
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static void apply_runtime(const mc_runtime *runtime, mc_slice name, mc_rq_priority priority, mc_breakers *b) {
    char prefix[400], key[480];
    snprintf(prefix, sizeof prefix, "circuit_breakers.%.*s.%s.", MC_SLICE_ARG(name), PRIORITY_NAMES[priority]);
#define OVERRIDE(field, limit, otherwise, open, remaining)                                                             \
    b->field.max = override_u32(runtime, prefix, limit, b->field.max);
    MC_BREAKERS(OVERRIDE)
#undef OVERRIDE
    snprintf(key, sizeof key, "%sretry_budget.budget_percent", prefix);
    const double percent = mc_runtime_double(runtime, mc_slice_cstr(key), -1);
    const uint32_t least = override_u32(runtime, prefix, "retry_budget.min_retry_concurrency", UINT32_MAX);
    b->has_budget |= percent >= 0 || least != UINT32_MAX;
    b->budget_percent = percent >= 0 ? percent : b->budget_percent;
    b->min_retry_concurrency = least != UINT32_MAX ? least : b->min_retry_concurrency;
}

mc_status mc_breakers_compile(mc_arena *arena, const mc_value *config, const mc_runtime *runtime, mc_slice name,
                              mc_breakers out[MC_PRIORITIES], mc_error *error) {
    for (int i = 0; i < MC_PRIORITIES; i++) {
        set_defaults(&out[i]);
    }
    mc_status status = read_list(arena, config, "thresholds", out, read_threshold, error);
    if (status == MC_OK) {
        status = read_list(arena, config, "per_host_thresholds", out, read_per_host, error);
    }
    for (int i = 0; status == MC_OK && runtime != NULL && i < MC_PRIORITIES; i++) {
        apply_runtime(runtime, name, (mc_rq_priority)i, &out[i]);
    }
    return status;
}

/* --- gauges ------------------------------------------------------------------------------------------------------------------- */

static void show(mc_breaker *breaker, mc_stats *stats, mc_slice scope, const char *open, const char *remaining,
                 uint32_t left) {
    breaker->open = mc_stats_scoped(stats, MC_GAUGE, scope, mc_slice_cstr(open));
    if (breaker->tracked) {
        breaker->remaining = mc_stats_scoped(stats, MC_GAUGE, scope, mc_slice_cstr(remaining));
        mc_gauge_set(stats, breaker->remaining, left);
    }
}

void mc_breakers_register(mc_breakers breakers[MC_PRIORITIES], mc_stats *stats, mc_slice stat_name) {
    for (int i = 0; i < MC_PRIORITIES; i++) {
        char text[512];
        mc_breakers *b = &breakers[i];
        int n = snprintf(text, sizeof text, "cluster.%.*s.circuit_breakers.%s.", MC_SLICE_ARG(stat_name),
                         PRIORITY_NAMES[i]);
        const mc_slice scope = mc_slice_of(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
#define SHOW(field, limit, otherwise, open, remaining) show(&b->field, stats, scope, open, remaining, b->field.max);
        MC_BREAKERS(SHOW)
#undef SHOW
    }
}

void mc_breakers_release(mc_breakers breakers[MC_PRIORITIES], mc_stats *stats) {
    for (int i = 0; i < MC_PRIORITIES; i++) {
#define RELEASE(field, limit, otherwise, open_name, remaining_name)                                                    \
    mc_stats_release(stats, breakers[i].field.open);                                                                   \
    mc_stats_release(stats, breakers[i].field.remaining);
        MC_BREAKERS(RELEASE)
#undef RELEASE
    }
}

/* Each crossing of the limit moves the gauge once, whoever crosses: the sum over the workers is right without a lock. A limit of 0 is
 * crossed by the first one ever, and stays so. */
void mc_breaker_taken(mc_breaker *b, mc_slab *slab, uint32_t count) {
    if (count == b->max || (b->max == 0 && !atomic_exchange(&b->shown_open, true))) {
        mc_gauge_add(slab, b->open, 1);
    }
    if (b->tracked && count <= b->max) {
        mc_gauge_add(slab, b->remaining, -1);
    }
}

void mc_breaker_given(mc_breaker *b, mc_slab *slab, uint32_t count) {
    if (count + 1 == b->max) {
        mc_gauge_add(slab, b->open, -1);
    }
    if (b->tracked && count < b->max) {
        mc_gauge_add(slab, b->remaining, 1);
    }
}

/* --- retries ------------------------------------------------------------------------------------------------------------------ */

static uint64_t part_at(const mc_recent *recent, uint64_t now_ms) {
    return now_ms * MC_RECENT_PARTS / recent->interval_ms;
}

void mc_recent_count(mc_recent *recent, uint64_t now_ms) {
    const uint64_t part = part_at(recent, now_ms) & UINT32_MAX;
    _Atomic uint64_t *at = &recent->parts[part % (MC_RECENT_PARTS + 1)];
    uint64_t seen = atomic_load_explicit(at, memory_order_relaxed), next;
    do {
        next = seen >> 32 == part ? seen + 1 : part << 32 | 1;
    } while (!atomic_compare_exchange_weak_explicit(at, &seen, next, memory_order_relaxed, memory_order_relaxed));
}

static uint64_t recent_requests(const mc_recent *recent, uint64_t now_ms) {
    const uint32_t now = (uint32_t)part_at(recent, now_ms);
    uint64_t sum = 0;
    for (size_t i = 0; i <= MC_RECENT_PARTS; i++) {
        const uint64_t part = atomic_load_explicit(&recent->parts[i], memory_order_relaxed);
        sum += now - (uint32_t)(part >> 32) <= MC_RECENT_PARTS ? (uint32_t)part : 0;
    }
    return sum;
}

bool mc_breakers_retry_open(const mc_breakers *b, uint64_t now_ms) {
    if (!b->has_budget) {
        return mc_breaker_open(&b->retries);
    }
    const uint32_t count = atomic_load_explicit(&b->retries.count, memory_order_relaxed);
    const uint64_t at_work = b->recent != NULL
                                 ? recent_requests(b->recent, now_ms)
                                 : (uint64_t)atomic_load_explicit(&b->requests.count, memory_order_relaxed) +
                                       atomic_load_explicit(&b->pending.count, memory_order_relaxed);
    const uint64_t budget = (uint64_t)(b->budget_percent / 100.0 * (double)at_work);
    return count >= (budget > b->min_retry_concurrency ? budget : b->min_retry_concurrency);
}

static void clear_remaining(mc_breakers *b, mc_slab *slab) {
    if (b->retries.tracked && !atomic_exchange(&b->retries.cleared, true)) {
        mc_gauge_add(slab, b->retries.remaining, -(int64_t)b->retries.max);
    }
}

bool mc_breakers_may_retry(mc_breakers *b, mc_slab *slab, uint64_t now_ms) {
    if (b->has_budget) {
        clear_remaining(b, slab);
    }
    return !mc_breakers_retry_open(b, now_ms);
}

static void show_budget(mc_breakers *b, mc_slab *slab, uint64_t now_ms) {
    clear_remaining(b, slab);
    const bool open = mc_breakers_retry_open(b, now_ms);
    if (atomic_exchange(&b->retries.shown_open, open) != open) {
        mc_gauge_add(slab, b->retries.open, open ? 1 : -1);
    }
}

void mc_breakers_take_retry(mc_breakers *b, mc_slab *slab, uint64_t now_ms) {
    if (!b->has_budget) {
        mc_breaker_take(&b->retries, slab);
        return;
    }
    atomic_fetch_add_explicit(&b->retries.count, 1, memory_order_relaxed);
    show_budget(b, slab, now_ms);
}

void mc_breakers_give_retry(mc_breakers *b, mc_slab *slab, uint64_t now_ms) {
    if (!b->has_budget) {
        mc_breaker_give(&b->retries, slab);
        return;
    }
    atomic_fetch_sub_explicit(&b->retries.count, 1, memory_order_relaxed);
    show_budget(b, slab, now_ms);
}
