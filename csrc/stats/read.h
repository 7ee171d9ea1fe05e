/* The reading side of a store: a view is a consistent enough copy of everything, in name order.
 *
 * Values are read one by one while writers go on, so two stats of a view may be a moment apart; each is exact
 * for some moment between the call and its return. A view borrows names and labels,
 * which the store keeps until no view is open, owns the rest, and holds a reference. Immutable once made: share
 * it between threads as you like. */
#ifndef MC_STATS_READ_H
#define MC_STATS_READ_H

#include "base/arena.h"
#include "stats/histogram.h"
#include "stats/stats.h"

typedef struct mc_stat_entry {
    mc_slice name;
    mc_stat stat;
    mc_stat_kind kind;
    mc_unit unit;
    bool used;      /* written at least once; a histogram: has a sample as of the last merge (STAT-1) */
    bool negative;  /* gauge below zero: value is two's complement */
    uint64_t value; /* counter since its reset, or gauge */
    uint64_t delta; /* counter: growth since the last latch (STAT-11) */
    mc_slice text;
    const struct mc_stat_labels *labels; /* of the store (stats/labels.h); NULL when it has none yet */
    /* Histogram: everything up to the last merge, and what the last merge added (STAT-4). Counts are as
     * recorded: divide values by MC_PERCENT_SCALE when the unit is MC_UNIT_PERCENT. */
    mc_histogram cumulative, interval;
    const double *bounds; /* histogram: bucket bounds, ascending */
    size_t bound_count;
} mc_stat_entry;

typedef struct mc_stats_view {
    mc_stat_entry *entries; /* by name, bytewise; then by kind */
    size_t count;
    mc_stats *stats;
    mc_arena arena;
} mc_stats_view;

enum {
    MC_VIEW_MERGE = 1, /* merge histograms first: starts a new interval (STAT-4) */
    MC_VIEW_LIVE = 4, /* cumulative histograms as they are now, merged or not; intervals stay those of the last merge */
    MC_VIEW_LATCH = 2, /* latch counters: the next view's deltas count from here (STAT-11) */
};

/* Takes the store's lock for the duration. On MC_ENOMEM nothing is latched and *view needs no fini. */
MC_MUST_CHECK mc_status mc_stats_view_init(mc_stats_view *view, mc_stats *stats, unsigned flags);
void mc_stats_view_fini(mc_stats_view *view);

/* A gauge's value now; *negative says that it stands below zero, the value then being two's complement. */
uint64_t mc_gauge_read(mc_stats *stats, mc_stat gauge, bool *negative);
/* Everything a histogram holds now, merged or not, without touching its interval. The bins are the caller's: mc_histogram_fini.
 * Empty for what is no histogram. */
MC_MUST_CHECK mc_status mc_histogram_read(mc_stats *stats, mc_stat histogram, mc_histogram *out);
void mc_histogram_fini(mc_histogram *histogram);

/* Starts a new interval for every histogram. On MC_ENOMEM some keep their old one; their samples are not
 * lost. */
MC_MUST_CHECK mc_status mc_stats_merge(mc_stats *stats);
/* Counters read zero from here (ADM-18); their deltas and writers are not disturbed. Gauges and histograms
 * stay. */
void mc_stats_reset_counters(mc_stats *stats);
/* Replaces a histogram's bucket bounds (STAT-7): ascending; copied; count 0 = the defaults. */
MC_MUST_CHECK mc_status mc_stats_set_bounds(mc_stats *stats, mc_stat histogram, const double *bounds, size_t count);

#endif
