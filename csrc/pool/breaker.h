/* Circuit breakers (rules CB-1 to CB-8): how much of each resource a cluster may have at once, over all workers. Counts are atomics,
 * so a brief overshoot is possible (CB-2). */
#ifndef MC_POOL_BREAKER_H
#define MC_POOL_BREAKER_H

#include "base/runtime.h"
#include "stats/stats.h"

typedef struct mc_breaker {
    _Atomic uint32_t count;
    uint32_t max;
    mc_stat open;      /* gauge: 1 while no other may be created (CB-3) */
    mc_stat remaining; /* gauge; only with track_remaining, else the null stat */
    bool tracked;
    _Atomic bool cleared;    /* a retry budget in use shows no remaining ones */
    _Atomic bool shown_open; /* where crossing the limit does not tell: limit 0, retry budget */
} mc_breaker;

typedef enum mc_rq_priority { MC_PRIORITY_DEFAULT, MC_PRIORITY_HIGH, MC_PRIORITIES } mc_rq_priority;

/* Of one request priority. X(field, name of its limit, default, stat of "open", stat of "remaining") */
#define MC_BREAKERS(X)                                                                                                 \
    X(connections, "max_connections", MC_DEFAULT_MAX_CONNECTIONS, "cx_open", "remaining_cx")                           \
    X(pending, "max_pending_requests", MC_DEFAULT_MAX_PENDING_REQUESTS, "rq_pending_open", "remaining_pending")        \
    X(requests, "max_requests", MC_DEFAULT_MAX_REQUESTS, "rq_open", "remaining_rq")                                    \
    X(retries, "max_retries", MC_DEFAULT_MAX_RETRIES, "rq_retry_open", "remaining_retries")                            \
    X(pools, "max_connection_pools", UINT32_MAX, "cx_pool_open", "remaining_cx_pools")

/* Requests that have gone upstream within an interval, by parts of it: as exact as a part is short. Each part is one word, so that
 * workers count without a lock. */
enum { MC_RECENT_PARTS = 64 };
typedef struct mc_recent {
    uint64_t interval_ms;
    _Atomic uint64_t parts[MC_RECENT_PARTS + 1]; /* its number since the beginning of time << 32 | requests */
} mc_recent;

typedef struct mc_breakers {
#define MC_BREAKER_FIELD(field, limit, otherwise, open, remaining) mc_breaker field;
    MC_BREAKERS(MC_BREAKER_FIELD)
#undef MC_BREAKER_FIELD
    uint32_t max_connections_per_host; /* CB-5 */
    bool has_budget;                   /* CB-4: instead of retries.max */
    double budget_percent;
    uint32_t min_retry_concurrency;
    mc_recent *recent; /* budget_interval: the share is of its requests, instead of those at work; NULL: none */
} mc_breakers;

/* Both sets of a cluster from Cluster.circuit_breakers (may be NULL) and the runtime's overrides, shown under
 * "cluster.<stat name>.circuit_breakers.". */
MC_MUST_CHECK mc_status mc_breakers_compile(mc_arena *arena, const mc_value *config, const mc_runtime *runtime,
                                            mc_slice name, mc_breakers out[MC_PRIORITIES], mc_error *error);
void mc_breakers_register(mc_breakers breakers[MC_PRIORITIES], mc_stats *stats, mc_slice stat_name);
void mc_breakers_release(mc_breakers breakers[MC_PRIORITIES], mc_stats *stats);

/* Slow halves of take and give: move the gauges. `count` is the one after the step. */
void mc_breaker_taken(mc_breaker *breaker, mc_slab *slab, uint32_t count);
void mc_breaker_given(mc_breaker *breaker, mc_slab *slab, uint32_t count);

/* CB-2: is there no room for another one? */
static inline bool mc_breaker_open(const mc_breaker *breaker) {
    return atomic_load_explicit(&breaker->count, memory_order_relaxed) >= breaker->max;
}
static inline void mc_breaker_take(mc_breaker *breaker, mc_slab *slab) {
    uint32_t count = atomic_fetch_add_explicit(&breaker->count, 1, memory_order_relaxed) + 1;
    if (MC_UNLIKELY(count >= breaker->max || breaker->tracked)) {
        mc_breaker_taken(breaker, slab, count);
    }
}
static inline void mc_breaker_give(mc_breaker *breaker, mc_slab *slab) {
    uint32_t count = atomic_fetch_sub_explicit(&breaker->count, 1, memory_order_relaxed) - 1;
    if (MC_UNLIKELY(count + 1 >= breaker->max || breaker->tracked)) {
        mc_breaker_given(breaker, slab, count);
    }
}

void mc_recent_count(mc_recent *recent, uint64_t now_ms);

/* Retries have rules of their own: a budget may set their limit (CB-4). */
bool mc_breakers_retry_open(const mc_breakers *breakers, uint64_t now_ms);
/* Whether one more retry may start; the first question shows that a budget has no number of retries left to tell. */
bool mc_breakers_may_retry(mc_breakers *breakers, mc_slab *slab, uint64_t now_ms);
void mc_breakers_take_retry(mc_breakers *breakers, mc_slab *slab, uint64_t now_ms);
void mc_breakers_give_retry(mc_breakers *breakers, mc_slab *slab, uint64_t now_ms);

#endif
