/* A view as text: the three formats of Envoy's /stats, byte for byte (ADM-16, ADM-17, STAT-14, STAT-15). */
#ifndef MC_STATS_RENDER_H
#define MC_STATS_RENDER_H

#include "base/text.h"
#include "stats/read.h"

typedef enum mc_buckets {
    MC_BUCKETS_SUMMARY,
    MC_BUCKETS_CUMULATIVE,
    MC_BUCKETS_DISJOINT,
    MC_BUCKETS_DETAILED
} mc_buckets;

typedef struct mc_render {
    bool used_only;
    unsigned kinds;      /* bit (1 << mc_stat_kind) for each kind wanted */
    mc_buckets buckets;  /* Prometheus: SUMMARY = interval quantiles, CUMULATIVE = buckets; the others are not
                            its own */
    const uint8_t *mask; /* by entry of the view: 0 = leave out; NULL = all */
    mc_slice prefix;     /* Prometheus: before every name, as "envoy_"; a name that would begin with a digit is
                        left out */
} mc_render;

#define MC_RENDER_ALL ((1u << MC_COUNTER) | (1u << MC_GAUGE) | (1u << MC_HISTOGRAM) | (1u << MC_TEXT))

/* Each appends to `out`; look at out->failed afterwards. */
void mc_render_text(mc_text *out, const mc_stats_view *view, const mc_render *how);
void mc_render_json(mc_text *out, const mc_stats_view *view, const mc_render *how);
/* Takes memory for sorting: MC_ENOMEM when there is none. */
MC_MUST_CHECK mc_status mc_render_prometheus(mc_text *out, const mc_stats_view *view, const mc_render *how);

/* Whether an entry is wanted; for other renderers. */
bool mc_render_wants(const mc_render *how, const mc_stats_view *view, size_t entry);
/* What the values of a histogram's samples are to be divided by. */
static inline double mc_unit_scale(mc_unit unit) { return unit == MC_UNIT_PERCENT ? MC_PERCENT_SCALE : 1; }

#endif
