/* The store: names to indexes, and what is known of each stat beside its cells. */
#include "stats/stats.h"

#include "base/alloc.h"
#include "stats/store.h"

enum { MC_STAT_MAX = MC_SLAB_CHUNK * MC_SLAB_CHUNKS };

mc_stats *mc_stats_new(void) {
    mc_stats *stats = mc_calloc(1, sizeof *stats);
    if (stats == NULL) {
        return NULL;
    }
    stats->retired = mc_retired_new();
    if (stats->retired == NULL || mc_grow(&stats->infos, &stats->cap, 1, sizeof *stats->infos) != MC_OK) {
        goto fail;
    }
    if (pthread_mutex_init(&stats->lock, NULL) != 0) {
        goto fail;
    }
    stats->infos[0] = NULL;
    stats->count = 1;
    atomic_init(&stats->refs, 1);
    for (size_t kind = 0; kind < MC_STAT_KINDS; kind++) {
        mc_map_init(&stats->names[kind]);
    }
    return stats;
fail:
    mc_free(stats->infos);
    mc_free(stats->retired);
    mc_free(stats);
    return NULL;
}

mc_stats *mc_stats_ref(mc_stats *stats) {
    atomic_fetch_add_explicit(&stats->refs, 1, memory_order_relaxed);
    return stats;
}

static void info_free(mc_stat_info *info) {
    mc_free((void *)info->text.p);
    mc_free(info->cumulative.bins);
    mc_free(info->interval.bins);
    mc_free(info->bounds);
    mc_free(info->labels);
    mc_free(info);
}

void mc_stats_unref(mc_stats *stats) {
    if (stats == NULL || atomic_fetch_sub_explicit(&stats->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    /* No slab is open: each holds a reference. */
    mc_retired_free(stats);
    for (size_t i = 1; i < stats->count; i++) {
        if (stats->infos[i] != NULL) {
            info_free(stats->infos[i]);
        }
    }
    mc_stats_bury(stats);
    mc_free(stats->free);
    for (size_t kind = 0; kind < MC_STAT_KINDS; kind++) {
        mc_map_fini(&stats->names[kind]);
    }
    mc_free(stats->infos);
    mc_free(stats->sorted);
    pthread_mutex_destroy(&stats->lock);
    mc_free(stats);
}

/* A name in up to two parts, joined into `out` (room for both and a dot); returns its length. */
static size_t join(char *out, mc_slice scope, mc_slice name) {
    size_t n = 0;
    if (scope.n > 0 && scope.p[scope.n - 1] == '.') {
        scope.n--;
    }
    if (scope.n > 0 && scope.p[0] == '.') {
        scope = mc_slice_from(scope, 1);
    }
    for (size_t i = 0; i < scope.n; i++) {
        if (scope.p[i] == ':') { /* "://", ":/" and ":" each become one "_" (STAT-2) */
            size_t slashes = 0;
            while (slashes < 2 && i + 1 < scope.n && scope.p[i + 1] == '/') {
                slashes++;
                i++;
            }
            out[n++] = '_';
        } else {
            out[n++] = scope.p[i] == '\0' ? '_' : scope.p[i];
        }
    }
    if (n > 0) {
        out[n++] = '.';
    }
    if (name.n > 0) {
        memcpy(out + n, name.p, name.n);
    }
    return n + name.n;
}

/* An index for a new stat, 0 when there is none. */
static mc_stat take_index(mc_stats *stats) {
    if (stats->free_count > 0) {
        return stats->free[--stats->free_count];
    }
    if (stats->count == MC_STAT_MAX ||
        mc_grow(&stats->infos, &stats->cap, stats->count + 1, sizeof *stats->infos) != MC_OK) {
        return 0;
    }
    stats->infos[stats->count] = NULL;
    return (mc_stat)stats->count++;
}

/* Without memory for the list the index is not used again. */
static void give_index(mc_stats *stats, mc_stat stat) {
    if (mc_grow(&stats->free, &stats->free_cap, stats->free_count + 1, sizeof *stats->free) == MC_OK) {
        stats->free[stats->free_count++] = stat;
    }
}

static mc_stat_info *make(mc_stats *stats, mc_stat_kind kind, mc_slice name, mc_unit unit) {
    mc_stat stat = take_index(stats);
    mc_stat_info *info = stat == 0 ? NULL : mc_calloc(1, sizeof *info + name.n);
    if (info == NULL) {
        goto fail;
    }
    if (name.n > 0) {
        memcpy(info->bytes, name.p, name.n);
    }
    info->name = mc_slice_of(info->bytes, name.n);
    info->stat = stat;
    info->kind = kind;
    info->unit = unit;
    if (mc_map_put(&stats->names[kind], info->name, info) != MC_OK) {
        goto fail;
    }
    stats->infos[stat] = info;
    stats->sorted_ok = false;
    return info;
fail:
    mc_free(info);
    if (stat != 0) {
        give_index(stats, stat);
    }
    return NULL;
}

static mc_stat find_or_make(mc_stats *stats, mc_stat_kind kind, mc_slice name, mc_unit unit) {
    mc_stat stat = 0;
    pthread_mutex_lock(&stats->lock);
    mc_stat_info *info = mc_map_get(&stats->names[kind], name);
    if (info == NULL) {
        info = make(stats, kind, name, unit);
    }
    if (info != NULL) {
        info->refs++;
        stat = info->stat;
    } else {
        stats->overflow[kind]++;
    }
    pthread_mutex_unlock(&stats->lock);
    return stat;
}

void mc_stats_release(mc_stats *stats, mc_stat stat) {
    if (stat == 0) {
        return;
    }
    pthread_mutex_lock(&stats->lock);
    mc_stat_info *info = stat < stats->count ? stats->infos[stat] : NULL;
    if (info != NULL && --info->refs == 0) {
        (void)mc_map_remove(&stats->names[info->kind], info->name);
        mc_stats_clear(stats, info);
        stats->infos[stat] = NULL;
        stats->sorted_ok = false;
        give_index(stats, stat);
        info->next_dead = stats->dead;
        stats->dead = info;
        mc_stats_bury(stats);
    }
    pthread_mutex_unlock(&stats->lock);
}

void mc_stats_bury(mc_stats *stats) {
    while (stats->views == 0 && stats->dead != NULL) {
        mc_stat_info *info = stats->dead;
        stats->dead = info->next_dead;
        info_free(info);
    }
}

mc_stat mc_stats_counter(mc_stats *stats, mc_slice name) { return find_or_make(stats, MC_COUNTER, name, MC_UNIT_NONE); }

mc_stat mc_stats_gauge(mc_stats *stats, mc_slice name) { return find_or_make(stats, MC_GAUGE, name, MC_UNIT_NONE); }

mc_stat mc_stats_histogram(mc_stats *stats, mc_slice name) {
    return find_or_make(stats, MC_HISTOGRAM, name, MC_UNIT_MS);
}

mc_stat mc_stats_histogram_unit(mc_stats *stats, mc_slice name, mc_unit unit) {
    return find_or_make(stats, MC_HISTOGRAM, name, unit);
}

mc_stat mc_stats_text(mc_stats *stats, mc_slice name) { return find_or_make(stats, MC_TEXT, name, MC_UNIT_NONE); }

mc_stat mc_stats_scoped(mc_stats *stats, mc_stat_kind kind, mc_slice scope, mc_slice name) {
    mc_unit unit = kind == MC_HISTOGRAM ? MC_UNIT_MS : MC_UNIT_NONE;
    char small[256];
    size_t room = scope.n + 1 + name.n;
    char *text = room <= sizeof small ? small : mc_malloc(room);
    if (text == NULL) {
        pthread_mutex_lock(&stats->lock);
        stats->overflow[kind]++;
        pthread_mutex_unlock(&stats->lock);
        return 0;
    }
    mc_stat stat = find_or_make(stats, kind, mc_slice_of(text, join(text, scope, name)), unit);
    if (text != small) {
        mc_free(text);
    }
    return stat;
}

mc_stat mc_stats_find(mc_stats *stats, mc_stat_kind kind, mc_slice name) {
    pthread_mutex_lock(&stats->lock);
    const mc_stat_info *info = mc_map_get(&stats->names[kind], name);
    mc_stat stat = info == NULL ? 0 : info->stat;
    pthread_mutex_unlock(&stats->lock);
    return stat;
}

uint64_t mc_stats_overflow(mc_stats *stats, mc_stat_kind kind) {
    pthread_mutex_lock(&stats->lock);
    uint64_t overflow = stats->overflow[kind];
    pthread_mutex_unlock(&stats->lock);
    return overflow;
}

mc_stat_info *mc_stats_info(mc_stats *stats, mc_stat stat, mc_stat_kind kind) {
    mc_stat_info *info = stat < stats->count ? stats->infos[stat] : NULL;
    return info != NULL && info->kind == kind ? info : NULL;
}

uint64_t mc_stats_value(mc_stats *stats, mc_stat stat) {
    bool touched;
    uint64_t value = 0;
    pthread_mutex_lock(&stats->lock);
    const mc_stat_info *info = stat < stats->count ? stats->infos[stat] : NULL;
    if (info != NULL && info->kind <= MC_GAUGE) {
        value = mc_stats_sum(stats, info, &touched) - info->base + info->level;
    }
    pthread_mutex_unlock(&stats->lock);
    return value;
}

void mc_gauge_set(mc_stats *stats, mc_stat gauge, uint64_t value) {
    bool touched;
    pthread_mutex_lock(&stats->lock);
    mc_stat_info *info = mc_stats_info(stats, gauge, MC_GAUGE);
    if (info != NULL) {
        info->base = mc_stats_sum(stats, info, &touched);
        info->level = value;
        info->was_set = true;
    }
    pthread_mutex_unlock(&stats->lock);
}

mc_status mc_text_set(mc_stats *stats, mc_stat text, mc_slice value) {
    mc_status status = MC_ENOMEM;
    pthread_mutex_lock(&stats->lock);
    mc_stat_info *info = mc_stats_info(stats, text, MC_TEXT);
    char *copy = info == NULL ? NULL : mc_malloc(value.n);
    if (info == NULL) {
        status = MC_OK; /* the null stat absorbs writes */
    } else if (copy != NULL) {
        if (value.n > 0) {
            memcpy(copy, value.p, value.n);
        }
        mc_free((void *)info->text.p);
        info->text = mc_slice_of(copy, value.n);
        info->was_set = true;
        status = MC_OK;
    }
    pthread_mutex_unlock(&stats->lock);
    return status;
}
