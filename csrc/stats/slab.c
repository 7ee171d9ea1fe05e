/* Slabs: the writers' side of the store. */
#include "base/alloc.h"
#include "stats/store.h"

enum { CACHE_LINE = 64 };

mc_slab *mc_slab_open(mc_stats *stats) {
    mc_slab *slab = mc_calloc(1, sizeof *slab);
    if (slab == NULL) {
        return NULL;
    }
    slab->store = mc_stats_ref(stats);
    pthread_mutex_lock(&stats->lock);
    slab->next = stats->slabs;
    slab->link = &stats->slabs;
    if (slab->next != NULL) {
        slab->next->link = &slab->next;
    }
    stats->slabs = slab;
    pthread_mutex_unlock(&stats->lock);
    return slab;
}

_Atomic(uint64_t) *mc_slab_chunk(mc_slab *slab, uint32_t chunk) {
    /* On its own cache lines, so that two threads never write to the same one. */
    _Atomic(uint64_t) *cells = mc_aligned_alloc(CACHE_LINE, MC_SLAB_CHUNK * sizeof *cells);
    if (cells == NULL) {
        return NULL;
    }
    memset((void *)cells, 0, MC_SLAB_CHUNK * sizeof *cells);
    /* Release: a reader that sees the pointer sees the zeroes. */
    atomic_store_explicit(&slab->chunks[chunk], cells, memory_order_release);
    return cells;
}

static mc_bins *bins_of(uint64_t cell) { return (mc_bins *)(uintptr_t)cell; }

void mc_histogram_record(mc_slab *slab, mc_stat histogram, uint64_t value) {
    _Atomic(uint64_t) *cell = histogram == 0 ? NULL : mc_stat_cell(slab, histogram);
    if (cell == NULL) {
        return;
    }
    mc_bins *bins = bins_of(atomic_load_explicit(cell, memory_order_relaxed));
    if (MC_UNLIKELY(bins == NULL)) {
        bins = mc_bins_new();
        if (bins == NULL) {
            return;
        }
        atomic_store_explicit(cell, (uint64_t)(uintptr_t)bins, memory_order_release);
    }
    mc_bins_record(bins, value);
}

/* A gauge's 63-bit sum, sign-extended. */
static uint64_t widen(uint64_t cell) { return (uint64_t)((int64_t)(cell << 1) >> 1); }

static void fold_cell(mc_stat_kind kind, _Atomic(uint64_t) *to, uint64_t from) {
    uint64_t held = atomic_load_explicit(to, memory_order_relaxed), sum;
    if (kind == MC_HISTOGRAM) {
        if (held != 0 && from != 0) {
            mc_bins_fold(bins_of(held), bins_of(from));
            return;
        }
        sum = held | from;
    } else if (kind == MC_GAUGE) {
        sum = (widen(held) + widen(from)) & ~MC_GAUGE_TOUCHED;
        sum |= (held | from) & MC_GAUGE_TOUCHED;
    } else {
        sum = held + from;
    }
    atomic_store_explicit(to, sum, memory_order_relaxed);
}

static void fold(mc_stats *stats, mc_slab *slab) {
    for (size_t at = 0; at < MC_SLAB_CHUNKS; at++) {
        _Atomic(uint64_t) *from = atomic_load_explicit(&slab->chunks[at], memory_order_relaxed);
        _Atomic(uint64_t) *to = atomic_load_explicit(&stats->retired->chunks[at], memory_order_relaxed);
        if (from == NULL) {
            continue;
        }
        if (to == NULL) {
            atomic_store_explicit(&stats->retired->chunks[at], from, memory_order_relaxed);
            continue;
        }
        size_t first = at * MC_SLAB_CHUNK;
        for (size_t i = 0; i < MC_SLAB_CHUNK && first + i < stats->count; i++) {
            const mc_stat_info *info = stats->infos[first + i];
            if (info != NULL) {
                fold_cell(info->kind, &to[i], atomic_load_explicit(&from[i], memory_order_relaxed));
            }
        }
        mc_free((void *)from);
    }
}

void mc_slab_close(mc_slab *slab) {
    if (slab == NULL) {
        return;
    }
    mc_stats *stats = slab->store;
    pthread_mutex_lock(&stats->lock);
    *slab->link = slab->next;
    if (slab->next != NULL) {
        slab->next->link = slab->link;
    }
    fold(stats, slab);
    pthread_mutex_unlock(&stats->lock);
    mc_free(slab);
    mc_stats_unref(stats);
}

static uint64_t cell_of(const mc_slab *slab, mc_stat stat) {
    _Atomic(uint64_t) *chunk = atomic_load_explicit(&slab->chunks[stat / MC_SLAB_CHUNK], memory_order_acquire);
    return chunk == NULL ? 0 : atomic_load_explicit(&chunk[stat % MC_SLAB_CHUNK], memory_order_acquire);
}

uint64_t mc_stats_sum(const mc_stats *stats, const mc_stat_info *info, bool *touched) {
    uint64_t cell = cell_of(stats->retired, info->stat), seen = cell;
    uint64_t sum = info->kind == MC_GAUGE ? widen(cell) : cell;
    for (const mc_slab *slab = stats->slabs; slab != NULL; slab = slab->next) {
        cell = cell_of(slab, info->stat);
        seen |= cell;
        sum += info->kind == MC_GAUGE ? widen(cell) : cell;
    }
    *touched = seen != 0;
    return sum;
}

void mc_stats_sum_bins(const mc_stats *stats, const mc_stat_info *info, uint64_t counts[MC_BIN_COUNT]) {
    const mc_bins *bins = bins_of(cell_of(stats->retired, info->stat));
    memset(counts, 0, MC_BIN_COUNT * sizeof *counts);
    if (bins != NULL) {
        mc_bins_sum(bins, counts);
    }
    for (const mc_slab *slab = stats->slabs; slab != NULL; slab = slab->next) {
        if ((bins = bins_of(cell_of(slab, info->stat))) != NULL) {
            mc_bins_sum(bins, counts);
        }
    }
}

static void clear_cell(const mc_slab *slab, const mc_stat_info *info) {
    _Atomic(uint64_t) *chunk = atomic_load_explicit(&slab->chunks[info->stat / MC_SLAB_CHUNK], memory_order_acquire);
    if (chunk == NULL) {
        return;
    }
    _Atomic(uint64_t) *cell = &chunk[info->stat % MC_SLAB_CHUNK];
    if (info->kind == MC_HISTOGRAM) {
        mc_bins_free(bins_of(atomic_load_explicit(cell, memory_order_acquire)));
    }
    atomic_store_explicit(cell, 0, memory_order_relaxed);
}

void mc_stats_clear(mc_stats *stats, const mc_stat_info *info) {
    clear_cell(stats->retired, info);
    for (const mc_slab *slab = stats->slabs; slab != NULL; slab = slab->next) {
        clear_cell(slab, info);
    }
}

mc_slab *mc_retired_new(void) { return mc_calloc(1, sizeof(mc_slab)); }

void mc_retired_free(mc_stats *stats) {
    for (size_t i = 1; i < stats->count; i++) {
        if (stats->infos[i] != NULL && stats->infos[i]->kind == MC_HISTOGRAM) {
            mc_bins_free(bins_of(cell_of(stats->retired, (mc_stat)i)));
        }
    }
    for (size_t at = 0; at < MC_SLAB_CHUNKS; at++) {
        mc_free((void *)atomic_load_explicit(&stats->retired->chunks[at], memory_order_relaxed));
    }
    mc_free(stats->retired);
}
