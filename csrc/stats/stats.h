/* Stats: counters, gauges and histograms by name; a slab per thread, readers merge.
 *
 * A stat is an index. Each thread that records owns a slab and adds with plain (relaxed) stores, so there is no lock and no
 * atomic read-modify-write on the request path; a reader sums all slabs. Registration takes the store's lock and belongs off
 * the hot path. Names are Envoy's full dotted names; the same name of the same kind is the same stat.
 *
 * Index 0 is the null stat: writes to it vanish (rule STAT-2), so callers need not check. */
#ifndef MC_STATS_STATS_H
#define MC_STATS_STATS_H

#include <stdatomic.h>

#include "base/slice.h"

typedef uint32_t mc_stat;

typedef enum mc_stat_kind { MC_COUNTER, MC_GAUGE, MC_HISTOGRAM, MC_TEXT } mc_stat_kind;

typedef struct mc_stats mc_stats; /* the store: shared, reference-counted, thread-safe */

enum { MC_SLAB_CHUNK = 512, MC_SLAB_CHUNKS = 2048 };

/* One thread's values. Cells are 64-bit; only the owner writes. A chunk appears when the owner first touches it. */
typedef struct mc_slab {
    _Atomic(uint64_t) *_Atomic chunks[MC_SLAB_CHUNKS];
    mc_stats *store;
    struct mc_slab *next;
    void *_Atomic *histograms; /* private: sparse per-histogram bins */
} mc_slab;

mc_stats *mc_stats_new(void);
mc_stats *mc_stats_ref(mc_stats *stats);
void mc_stats_unref(mc_stats *stats);

/* A slab for the calling thread; NULL when out of memory. Released slabs keep their sums (folded into the store). */
mc_slab *mc_slab_open(mc_stats *stats);
void mc_slab_close(mc_slab *slab);

/* Finds or makes; 0 (the null stat) when out of memory or over the limit (counted by mc_stats_overflow). */
mc_stat mc_stats_counter(mc_stats *stats, mc_slice name);
mc_stat mc_stats_gauge(mc_stats *stats, mc_slice name);
mc_stat mc_stats_histogram(mc_stats *stats, mc_slice name);
/* prefix + name in one, without the caller concatenating. */
mc_stat mc_stats_scoped(mc_stats *stats, mc_stat_kind kind, mc_slice prefix, mc_slice name);

/* Slow path of the inlines below: makes the chunk. May return NULL (out of memory: the sample is dropped). */
_Atomic(uint64_t) *mc_slab_chunk(mc_slab *slab, uint32_t chunk);

static inline void mc_stat_add(mc_slab *slab, mc_stat stat, uint64_t n) {
    _Atomic(uint64_t) *chunk = atomic_load_explicit(&slab->chunks[stat / MC_SLAB_CHUNK], memory_order_relaxed);
    if (MC_UNLIKELY(chunk == NULL) && (chunk = mc_slab_chunk(slab, stat / MC_SLAB_CHUNK)) == NULL) {
        return;
    }
    _Atomic(uint64_t) *cell = &chunk[stat % MC_SLAB_CHUNK];
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void mc_counter_add(mc_slab *slab, mc_stat counter, uint64_t n) { mc_stat_add(slab, counter, n); }
static inline void mc_counter_inc(mc_slab *slab, mc_stat counter) { mc_stat_add(slab, counter, 1); }
/* A gauge moved by deltas: the sum over the slabs is its value (two's complement). */
static inline void mc_gauge_add(mc_slab *slab, mc_stat gauge, int64_t delta) { mc_stat_add(slab, gauge, (uint64_t)delta); }
/* A gauge set as a whole, from any thread (control side): not to be mixed with mc_gauge_add on the same stat. */
void mc_gauge_set(mc_stats *stats, mc_stat gauge, uint64_t value);
void mc_text_set(mc_stats *stats, mc_stat text, mc_slice value);
/* Log-linear bins, two significant digits (STAT-5). */
void mc_histogram_record(mc_slab *slab, mc_stat histogram, uint64_t value);

/* Readers, any thread. */
uint64_t mc_stats_value(mc_stats *stats, mc_stat stat);
mc_stat mc_stats_find(mc_stats *stats, mc_stat_kind kind, mc_slice name);
/* The rest of the reading side (iteration, used flags, histogram merge, interval and cumulative quantiles, reset of counters)
 * is declared in stats/read.h. */

#endif
