/* Tags: the dimensional name of a stat (STAT-9).
 *
 * "cluster.cart.upstream_rq_404" is the full name; "cluster.upstream_rq" with envoy.cluster_name=cart and
 * envoy.response_code=404 is what tagging makes of it. The control side decides the tags, once for each stat;
 * here they are kept beside it, with their Prometheus form ready, and never change again. */
#ifndef MC_STATS_LABELS_H
#define MC_STATS_LABELS_H

#include "stats/stats.h"

typedef struct mc_tag {
    mc_slice name, value;
} mc_tag;

typedef struct mc_stat_labels {
    mc_slice extracted;  /* name without the tags */
    mc_slice prometheus; /* a="b",c="d": sanitised names, escaped values; no braces (STAT-14) */
    const mc_tag *tags;
    size_t count;
} mc_stat_labels;

/* Copies. MC_EEXIST when the stat has labels already (they stay), MC_ENOTFOUND when there is no such stat.
 * Any thread. */
MC_MUST_CHECK mc_status mc_stats_label(mc_stats *stats, mc_stat stat, mc_slice extracted, const mc_tag *tags,
                                       size_t count);

/* What a Prometheus name may hold. */
static inline char mc_prometheus_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? c : '_';
}

#endif
