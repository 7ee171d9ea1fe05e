#include "proxy/overload.h"

#include <stdio.h>

#define POINT "envoy.load_shed_points."

static const uint32_t ALWAYS = UINT32_C(1) << 31;

static const char *const names[] = {
#define ENTRY(id, name) [MC_OVERLOAD_##id] = name,
    MC_OVERLOADS(ENTRY)
#undef ENTRY
};

mc_overload_id mc_overload_find(mc_slice name) {
    int id = 0;
    while (id < MC_OVERLOAD_COUNT && !mc_slice_eq(name, mc_slice_cstr(names[id]))) {
        id++;
    }
    return id;
}

void mc_overload_set(mc_overload *overload, mc_stats *stats, mc_overload_id id, double chance) {
    if (strncmp(names[id], POINT, strlen(POINT)) == 0 && atomic_load(&overload->count[id]) == 0) {
        char name[128];
        int n = snprintf(name, sizeof name, "overload.%s.shed_load_count", names[id]);
        atomic_store(&overload->count[id], mc_stats_counter(stats, mc_slice_of(name, (size_t)n)));
    }
    atomic_store_explicit(&overload->chance[id], (uint32_t)(chance * ALWAYS), memory_order_relaxed);
}

static uint32_t chance_of(const mc_overload *overload, mc_overload_id id) {
    return atomic_load_explicit(&overload->chance[id], memory_order_relaxed);
}

double mc_overload_value(const mc_overload *overload, mc_overload_id id) {
    return (double)chance_of(overload, id) / ALWAYS;
}

/* A floor is one word: milliseconds and 1, or, with the highest bit, a share of 2^31. */
#define SHARE (UINT64_C(1) << 63)

void mc_overload_set_floor(mc_overload *overload, mc_slice name, uint64_t ms, double share) {
    static const char *const timers[MC_SCALED_COUNT] = {
        "HTTP_DOWNSTREAM_CONNECTION_IDLE", "HTTP_DOWNSTREAM_STREAM_IDLE", "HTTP_DOWNSTREAM_CONNECTION_MAX"};
    for (int i = 0; i < MC_SCALED_COUNT; i++) {
        if (mc_slice_eq(name, mc_slice_cstr(timers[i]))) {
            atomic_store(&overload->floors[i], ms == UINT64_MAX ? SHARE | (uint64_t)(share * ALWAYS) : ms + 1);
        }
    }
}

void mc_overload_clear(mc_overload *overload) {
    for (int i = 0; i < MC_SCALED_COUNT; i++) {
        atomic_store(&overload->floors[i], 0);
    }
    atomic_store(&overload->heavy_shift, 0);
}

uint64_t mc_overload_shorten(const mc_overload *overload, mc_scaled_timer timer, uint64_t ms) {
    const uint32_t chance = chance_of(overload, MC_OVERLOAD_REDUCE_TIMEOUTS);
    const uint64_t word = atomic_load_explicit(&overload->floors[timer], memory_order_relaxed);
    const uint64_t low = (word & SHARE) != 0 ? (uint64_t)((double)ms * (double)(word & ~SHARE) / ALWAYS) : word - 1;
    if (chance == 0 || word == 0 || low >= ms) {
        return ms;
    }
    const uint64_t left = low + (uint64_t)((double)(ms - low) * (ALWAYS - chance) / ALWAYS);
    return left == 0 ? 1 : left;
}

bool mc_overload_saturated(const mc_overload *overload, mc_overload_id id) { return chance_of(overload, id) >= ALWAYS; }

bool mc_overload_acts(mc_overload *overload, mc_overload_id id, mc_random *random, mc_slab *slab) {
    const uint32_t chance = chance_of(overload, id);
    if (chance == 0 || (chance < ALWAYS && (mc_random_next(random) & (ALWAYS - 1)) >= chance)) {
        return false;
    }
    const mc_stat count = atomic_load_explicit(&overload->count[id], memory_order_relaxed);
    if (count != 0) {
        mc_counter_inc(slab, count);
    }
    return true;
}
