/* Stats: counters, gauges and histograms by name; a slab per thread, readers merge.
 *
 * A stat is an index. Each thread that records owns a slab and adds with plain (relaxed) stores, so there is
 * no lock and no atomic read-modify-write on the request path; a reader sums all slabs. Registration takes
 * the store's lock and belongs off the hot path. Names are Envoy's full dotted names; the same name of the
 * same kind is the same stat.
 *
 * Index 0 is the null stat: writes to it vanish (rule STAT-2), so callers need not check.
 *
 * A cell of a slab is 64 bits: a counter's sum; a gauge's sum of deltas in 63 bits under MC_GAUGE_TOUCHED, so
 * that a gauge that has come back to zero is still known as used; for a histogram the address of this
 * thread's bins. An index is therefore only to be used as the kind it was made as. */
#ifndef MC_STATS_STATS_H
#define MC_STATS_STATS_H

#include <stdatomic.h>

#include "base/slice.h"

typedef uint32_t mc_stat;

typedef enum mc_stat_kind { MC_COUNTER, MC_GAUGE, MC_HISTOGRAM, MC_TEXT } mc_stat_kind;

/* What a histogram counts. Percent samples are scaled by MC_PERCENT_SCALE and divided back on output
 * (STAT-5). */
typedef enum mc_unit { MC_UNIT_NONE, MC_UNIT_BYTES, MC_UNIT_US, MC_UNIT_MS, MC_UNIT_PERCENT } mc_unit;
#define MC_PERCENT_SCALE 1000000u

typedef struct mc_stats mc_stats; /* the store: shared, reference-counted, thread-safe */

enum { MC_SLAB_CHUNK = 512, MC_SLAB_CHUNKS = 2048 };

/* One thread's values. Cells are 64-bit; only the owner writes. A chunk appears when the owner first touches
 * it. */
typedef struct mc_slab {
    _Atomic(uint64_t) *_Atomic chunks[MC_SLAB_CHUNKS];
    mc_stats *store;              /* one reference */
    struct mc_slab *next, **link; /* the store's list, under its lock */
} mc_slab;

#define MC_GAUGE_TOUCHED (UINT64_C(1) << 63)

mc_stats *mc_stats_new(void);
mc_stats *mc_stats_ref(mc_stats *stats);
void mc_stats_unref(mc_stats *stats);

/* A slab for one writing thread; NULL when out of memory. Holds a reference on the store. */
MC_MUST_CHECK mc_slab *mc_slab_open(mc_stats *stats);
/* Folds the slab's sums into the store and frees it; never fails. The owner must have stopped writing. */
void mc_slab_close(mc_slab *slab);

/* Finds or makes, and takes a reference; 0 (the null stat) when out of memory or over the limit (counted by mc_stats_overflow). */
mc_stat mc_stats_counter(mc_stats *stats, mc_slice name);
mc_stat mc_stats_gauge(mc_stats *stats, mc_slice name);
mc_stat mc_stats_histogram(mc_stats *stats, mc_slice name); /* in milliseconds, as most are */
mc_stat mc_stats_histogram_unit(mc_stats *stats, mc_slice name, mc_unit unit);
mc_stat mc_stats_text(mc_stats *stats, mc_slice name);
/* scope.name without the caller concatenating. The scope is cleaned as STAT-2 says (one leading and one
 * trailing dot dropped, colons become "_"), so "cluster.a" and "cluster.a." are the same scope; an empty
 * scope gives the bare name. */
mc_stat mc_stats_scoped(mc_stats *stats, mc_stat_kind kind, mc_slice prefix, mc_slice name);

/* Gives back what one of the calls above returned. A stat lives while anyone who asked for it has not released it; then it
 * is no longer shown, and its index is used again. So nobody that the releaser passed the index to may still record: release
 * when the last worker has let go of the configuration that held it. Stats that are never released live as long as the store. */
void mc_stats_release(mc_stats *stats, mc_stat stat);

/* Slow path of the inlines below: makes the chunk. May return NULL (out of memory: the sample is dropped). */
_Atomic(uint64_t) *mc_slab_chunk(mc_slab *slab, uint32_t chunk);

static inline _Atomic(uint64_t) *mc_stat_cell(mc_slab *slab, mc_stat stat) {
    _Atomic(uint64_t) *chunk = atomic_load_explicit(&slab->chunks[stat / MC_SLAB_CHUNK], memory_order_relaxed);
    if (MC_UNLIKELY(chunk == NULL) && (chunk = mc_slab_chunk(slab, stat / MC_SLAB_CHUNK)) == NULL) {
        return NULL;
    }
    return &chunk[stat % MC_SLAB_CHUNK];
}
static inline void mc_counter_add(mc_slab *slab, mc_stat counter, uint64_t n) {
    _Atomic(uint64_t) *cell = mc_stat_cell(slab, counter);
    if (MC_LIKELY(cell != NULL)) {
        atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
    }
}
static inline void mc_counter_inc(mc_slab *slab, mc_stat counter) { mc_counter_add(slab, counter, 1); }
/* Moves a gauge by a delta; the sum over the slabs is its value. */
static inline void mc_gauge_add(mc_slab *slab, mc_stat gauge, int64_t delta) {
    _Atomic(uint64_t) *cell = mc_stat_cell(slab, gauge);
    if (MC_LIKELY(cell != NULL)) {
        uint64_t sum = atomic_load_explicit(cell, memory_order_relaxed) + (uint64_t)delta;
        atomic_store_explicit(cell, sum | MC_GAUGE_TOUCHED, memory_order_relaxed);
    }
}
/* Sets a gauge as a whole, from any thread: takes the store's lock. Deltas added later move it from there. */
void mc_gauge_set(mc_stats *stats, mc_stat gauge, uint64_t value);
/* Any thread, takes the lock; MC_ENOMEM leaves the old text. */
mc_status mc_text_set(mc_stats *stats, mc_stat text, mc_slice value);
/* Adds one sample to the calling thread's log-linear bins, two significant digits (STAT-5). Dropped when out
 * of memory. */
void mc_histogram_record(mc_slab *slab, mc_stat histogram, uint64_t value);

/* Readers, any thread; both take the lock. The value of a counter since its last reset, or of a gauge (one
 * that has been moved below zero reads as two's complement); 0 for the other kinds. The rest of the reading
 * side (iteration in name order, used flags, histogram merge, interval and cumulative quantiles, reset and
 * latch of counters) is stats/read.h. */
uint64_t mc_stats_value(mc_stats *stats, mc_stat stat);
/* 0 when there is none. */
mc_stat mc_stats_find(mc_stats *stats, mc_stat_kind kind, mc_slice name);
/* How often a stat of this kind could not be made (STAT-16 server.stats_overflow.*). */
uint64_t mc_stats_overflow(mc_stats *stats, mc_stat_kind kind);

#endif
