/* The inside of a store, shared by the files of this room alone. Everything here is guarded by `lock`, except
 * the cells and bins that the slabs point to: those belong to their writers and are read with relaxed loads. */
#ifndef MC_STATS_STORE_H
#define MC_STATS_STORE_H

#include <pthread.h>

#include "base/map.h"
#include "stats/histogram.h"
#include "stats/stats.h"

enum { MC_STAT_KINDS = 4 };

typedef struct mc_stat_info {
    mc_slice name; /* into bytes */
    mc_stat stat;
    mc_stat_kind kind;
    mc_unit unit;
    size_t refs; /* how often it was asked for and not released */
    struct mc_stat_info *next_dead;
    bool was_set;                      /* a gauge or text set as a whole */
    uint64_t base;                     /* counter: its sum at the last reset; gauge: its sum when last set */
    uint64_t level;                    /* gauge: the value last set */
    uint64_t latched;                  /* counter: its sum at the last latch */
    mc_slice text;                     /* owned */
    mc_histogram cumulative, interval; /* as of the last merge; bins owned */
    double *bounds;                    /* owned; NULL = the defaults of STAT-7 */
    size_t bound_count;
    struct mc_stat_labels *labels; /* owned; NULL until given, then immutable */
    char bytes[];
} mc_stat_info;

struct mc_stats {
    atomic_uint refs;
    pthread_mutex_t lock;
    mc_map names[MC_STAT_KINDS]; /* name -> mc_stat_info */
    mc_stat_info **infos;        /* by index; NULL: the null stat, and free indexes */
    size_t count, cap;           /* count includes the null stat */
    mc_stat_info **sorted;       /* all, by name; kept between reads while sorted_ok */
    size_t sorted_count, sorted_cap;
    bool sorted_ok;
    mc_stat *free; /* indexes to use again */
    size_t free_count, free_cap;
    size_t views;       /* open ones, which borrow names and labels */
    mc_stat_info *dead; /* released, to be freed when no view is open */
    mc_slab *slabs;     /* open ones */
    mc_slab *retired;   /* what closed slabs held; always in the sums */
    uint64_t overflow[MC_STAT_KINDS];
};

/* The sum over all slabs; *touched says whether anything was ever written. Gauges' cells are widened to 64
 * bits. */
uint64_t mc_stats_sum(const mc_stats *stats, const mc_stat_info *info, bool *touched);
/* The same for a histogram's bins, into `counts` by bin id. */
void mc_stats_sum_bins(const mc_stats *stats, const mc_stat_info *info, uint64_t counts[MC_BIN_COUNT]);
/* Zeroes a stat's cells in all slabs; its writers must have gone. */
void mc_stats_clear(mc_stats *stats, const mc_stat_info *info);
/* Frees the dead when no view is open. */
void mc_stats_bury(mc_stats *stats);
/* The slab that closed slabs fold into. */
MC_MUST_CHECK mc_slab *mc_retired_new(void);
void mc_retired_free(mc_stats *stats);

/* The info of an index that is valid and of this kind, else NULL. */
mc_stat_info *mc_stats_info(mc_stats *stats, mc_stat stat, mc_stat_kind kind);

#endif
