#include "stats/read.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "stats/store.h"

static int by_name(const void *a, const void *b) {
    const mc_stat_info *left = *(mc_stat_info *const *)a, *right = *(mc_stat_info *const *)b;
    int order = mc_slice_cmp(left->name, right->name);
    return order != 0 ? order : (int)left->kind - (int)right->kind;
}

static mc_status sort_names(mc_stats *stats) {
    if (stats->sorted_ok) {
        return MC_OK;
    }
    if (mc_grow(&stats->sorted, &stats->sorted_cap, stats->count, sizeof(mc_stat_info *)) != MC_OK) {
        return MC_ENOMEM;
    }
    stats->sorted_count = 0;
    for (size_t i = 1; i < stats->count; i++) {
        if (stats->infos[i] != NULL) {
            stats->sorted[stats->sorted_count++] = stats->infos[i];
        }
    }
    qsort(stats->sorted, stats->sorted_count, sizeof(mc_stat_info *), by_name);
    stats->sorted_ok = true;
    return MC_OK;
}

/* The non-zero counts as a histogram with bins of its own. */
static mc_status histogram_from(const uint64_t counts[MC_BIN_COUNT], mc_histogram *out) {
    *out = (mc_histogram){NULL, 0, 0};
    for (uint32_t id = 0; id < MC_BIN_COUNT; id++) {
        out->bin_count += counts[id] != 0;
    }
    if (out->bin_count == 0) {
        return MC_OK;
    }
    out->bins = mc_malloc(out->bin_count * sizeof *out->bins);
    if (out->bins == NULL) {
        return MC_ENOMEM;
    }
    mc_bin *bin = out->bins;
    for (uint32_t id = 0; id < MC_BIN_COUNT; id++) {
        if (counts[id] != 0) {
            *bin++ = (mc_bin){counts[id], id};
            out->samples += counts[id];
        }
    }
    return MC_OK;
}

static mc_status merge_one(const mc_stats *stats, mc_stat_info *info) {
    uint64_t counts[MC_BIN_COUNT];
    mc_histogram cumulative, interval;
    mc_stats_sum_bins(stats, info, counts);
    if (histogram_from(counts, &cumulative) != MC_OK) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < info->cumulative.bin_count; i++) {
        counts[info->cumulative.bins[i].id] -= info->cumulative.bins[i].count;
    }
    if (histogram_from(counts, &interval) != MC_OK) {
        mc_free(cumulative.bins);
        return MC_ENOMEM;
    }
    mc_free(info->cumulative.bins);
    mc_free(info->interval.bins);
    info->cumulative = cumulative;
    info->interval = interval;
    return MC_OK;
}

static mc_status merge_all(mc_stats *stats) {
    mc_status status = MC_OK;
    for (size_t i = 1; i < stats->count; i++) {
        mc_stat_info *info = mc_stats_info(stats, (mc_stat)i, MC_HISTOGRAM);
        if (info != NULL && merge_one(stats, info) != MC_OK) {
            status = MC_ENOMEM;
        }
    }
    return status;
}

mc_status mc_histogram_read(mc_stats *stats, mc_stat histogram, mc_histogram *out) {
    uint64_t counts[MC_BIN_COUNT];
    *out = (mc_histogram){NULL, 0, 0};
    pthread_mutex_lock(&stats->lock);
    const mc_stat_info *info = mc_stats_info(stats, histogram, MC_HISTOGRAM);
    if (info != NULL) {
        mc_stats_sum_bins(stats, info, counts);
    }
    pthread_mutex_unlock(&stats->lock);
    return info == NULL ? MC_OK : histogram_from(counts, out);
}

void mc_histogram_fini(mc_histogram *histogram) {
    mc_free(histogram->bins);
    *histogram = (mc_histogram){NULL, 0, 0};
}

mc_status mc_stats_merge(mc_stats *stats) {
    pthread_mutex_lock(&stats->lock);
    mc_status status = merge_all(stats);
    pthread_mutex_unlock(&stats->lock);
    return status;
}

void mc_stats_reset_counters(mc_stats *stats) {
    bool touched;
    pthread_mutex_lock(&stats->lock);
    for (size_t i = 1; i < stats->count; i++) {
        mc_stat_info *info = mc_stats_info(stats, (mc_stat)i, MC_COUNTER);
        if (info != NULL) {
            info->base = mc_stats_sum(stats, info, &touched);
        }
    }
    pthread_mutex_unlock(&stats->lock);
}

mc_status mc_stats_set_bounds(mc_stats *stats, mc_stat histogram, const double *bounds, size_t count) {
    double *copy = NULL;
    if (count > 0) {
        copy = mc_malloc(count * sizeof *copy);
        if (copy == NULL) {
            return MC_ENOMEM;
        }
        memcpy(copy, bounds, count * sizeof *copy);
    }
    pthread_mutex_lock(&stats->lock);
    mc_stat_info *info = mc_stats_info(stats, histogram, MC_HISTOGRAM);
    if (info != NULL) {
        double *old = info->bounds;
        info->bounds = copy;
        info->bound_count = count;
        copy = old;
    }
    pthread_mutex_unlock(&stats->lock);
    mc_free(copy);
    return MC_OK;
}

static mc_status copy_histogram(mc_arena *arena, const mc_histogram *from, mc_histogram *to) {
    *to = *from;
    if (from->bin_count == 0) {
        return MC_OK;
    }
    to->bins = mc_arena_alloc(arena, from->bin_count * sizeof *from->bins);
    if (to->bins == NULL) {
        return MC_ENOMEM;
    }
    memcpy(to->bins, from->bins, from->bin_count * sizeof *from->bins);
    return MC_OK;
}

static mc_status copy_bounds(mc_arena *arena, const mc_stat_info *info, mc_stat_entry *entry) {
    if (info->bounds == NULL) {
        entry->bounds = mc_default_bounds;
        entry->bound_count = MC_DEFAULT_BOUNDS;
        return MC_OK;
    }
    double *copy = mc_arena_alloc(arena, info->bound_count * sizeof *copy);
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    memcpy(copy, info->bounds, info->bound_count * sizeof *copy);
    entry->bounds = copy;
    entry->bound_count = info->bound_count;
    return MC_OK;
}

/* Whether the gauge stands below zero: what was set counts as unsigned, the movement since then as signed. */
static bool below_zero(const mc_stat_info *info, uint64_t sum) {
    int64_t moved = (int64_t)(sum - info->base);
    return moved < 0 && info->level < -(uint64_t)moved;
}

uint64_t mc_gauge_read(mc_stats *stats, mc_stat gauge, bool *negative) {
    bool touched;
    uint64_t value = 0;
    *negative = false;
    pthread_mutex_lock(&stats->lock);
    const mc_stat_info *info = mc_stats_info(stats, gauge, MC_GAUGE);
    if (info != NULL) {
        uint64_t sum = mc_stats_sum(stats, info, &touched);
        *negative = below_zero(info, sum);
        value = sum - info->base + info->level;
    }
    pthread_mutex_unlock(&stats->lock);
    return value;
}

static mc_status read_histogram(mc_stats_view *view, const mc_stat_info *info, mc_stat_entry *entry, bool live) {
    mc_status status;
    if (live) {
        uint64_t counts[MC_BIN_COUNT];
        mc_histogram now;
        mc_stats_sum_bins(view->stats, info, counts);
        status = histogram_from(counts, &now);
        if (status == MC_OK) {
            status = copy_histogram(&view->arena, &now, &entry->cumulative);
            mc_histogram_fini(&now);
        }
    } else {
        status = copy_histogram(&view->arena, &info->cumulative, &entry->cumulative);
    }
    if (status != MC_OK || copy_histogram(&view->arena, &info->interval, &entry->interval) != MC_OK) {
        return MC_ENOMEM;
    }
    entry->used = entry->cumulative.samples != 0;
    return copy_bounds(&view->arena, info, entry);
}

static mc_status read_one(mc_stats_view *view, const mc_stat_info *info, mc_stat_entry *entry, unsigned flags) {
    mc_stats *stats = view->stats;
    *entry = (mc_stat_entry){
        .name = info->name, .stat = info->stat, .kind = info->kind, .unit = info->unit, .labels = info->labels};
    if (info->kind == MC_HISTOGRAM) {
        return read_histogram(view, info, entry, (flags & MC_VIEW_LIVE) != 0);
    }
    if (info->kind == MC_TEXT) {
        entry->used = info->was_set;
        return mc_arena_dup(&view->arena, info->text, &entry->text);
    }
    bool touched;
    uint64_t sum = mc_stats_sum(stats, info, &touched);
    entry->used = touched || info->was_set;
    entry->value = sum - info->base + info->level;
    if (info->kind == MC_GAUGE) {
        entry->negative = below_zero(info, sum);
    } else {
        entry->delta = sum - info->latched;
    }
    return MC_OK;
}

static void latch(mc_stats_view *view) {
    for (size_t i = 0; i < view->count; i++) {
        if (view->entries[i].kind == MC_COUNTER) {
            view->stats->infos[view->entries[i].stat]->latched += view->entries[i].delta;
        }
    }
}

static mc_status read_all(mc_stats_view *view, mc_stats *stats, unsigned flags) {
    if ((flags & MC_VIEW_MERGE) != 0 && merge_all(stats) != MC_OK) {
        return MC_ENOMEM;
    }
    if (sort_names(stats) != MC_OK) {
        return MC_ENOMEM;
    }
    view->entries = mc_arena_alloc(&view->arena, stats->sorted_count * sizeof *view->entries);
    if (view->entries == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < stats->sorted_count; i++) {
        if (mc_slice_has_prefix(stats->sorted[i]->name, MC_SLICE("~"))) {
            continue;
        }
        mc_status status = read_one(view, stats->sorted[i], &view->entries[view->count++], flags);
        if (status != MC_OK) {
            return status;
        }
    }
    if ((flags & MC_VIEW_LATCH) != 0) {
        latch(view);
    }
    return MC_OK;
}

mc_status mc_stats_view_init(mc_stats_view *view, mc_stats *stats, unsigned flags) {
    *view = (mc_stats_view){.stats = stats};
    mc_arena_init(&view->arena, NULL);
    pthread_mutex_lock(&stats->lock);
    mc_status status = read_all(view, stats, flags);
    stats->views += status == MC_OK;
    pthread_mutex_unlock(&stats->lock);
    if (status != MC_OK) {
        mc_arena_fini(&view->arena);
        return status;
    }
    mc_stats_ref(stats);
    return MC_OK;
}

void mc_stats_view_fini(mc_stats_view *view) {
    mc_stats *stats = view->stats;
    pthread_mutex_lock(&stats->lock);
    stats->views--;
    mc_stats_bury(stats);
    pthread_mutex_unlock(&stats->lock);
    mc_arena_fini(&view->arena);
    mc_stats_unref(stats);
}
