#include "stats/render.h"

#include <stdio.h>
#include <stdlib.h>

bool mc_render_wants(const mc_render *how, const mc_stats_view *view, size_t entry) {
    const mc_stat_entry *at = &view->entries[entry];
    return (how->kinds & (1u << at->kind)) != 0 && (at->used || !how->used_only) &&
           (how->mask == NULL || how->mask[entry] != 0);
}

/* --- what all histogram forms share ---------------------------------------------------------------- */

typedef struct quantiles {
    double interval[MC_QUANTILES], cumulative[MC_QUANTILES];
} quantiles;

static void scaled_quantiles(const mc_histogram *histogram, mc_unit unit, double *out) {
    mc_histogram_quantiles(histogram, mc_quantiles, MC_QUANTILES, out);
    for (size_t i = 0; unit == MC_UNIT_PERCENT && i < MC_QUANTILES; i++) {
        out[i] /= mc_unit_scale(unit);
    }
}

static quantiles quantiles_of(const mc_stat_entry *entry) {
    quantiles q;
    scaled_quantiles(&entry->interval, entry->unit, q.interval);
    scaled_quantiles(&entry->cumulative, entry->unit, q.cumulative);
    return q;
}

static mc_bucket_walk walk_over(const mc_histogram *histogram, mc_unit unit) {
    return (mc_bucket_walk){.histogram = histogram, .scale = mc_unit_scale(unit)};
}

static void add_value(mc_text *out, const mc_stat_entry *entry) {
    if (entry->negative) {
        mc_text_i64(out, (int64_t)entry->value);
    } else {
        mc_text_u64(out, entry->value);
    }
}

/* --- text ------------------------------------------------------------------------------------------ */

static void text_summary(mc_text *out, const mc_stat_entry *entry) {
    static const char *const names[MC_QUANTILES] = {"P0(",   " P25(", " P50(",   " P75(",   " P90(",
                                                    " P95(", " P99(", " P99.5(", " P99.9(", " P100("};
    quantiles q = quantiles_of(entry);
    for (size_t i = 0; i < MC_QUANTILES; i++) {
        mc_text_add(out, mc_slice_cstr(names[i]));
        mc_text_double(out, q.interval[i], MC_DOUBLE_FIXED);
        mc_text_lit(out, ",");
        mc_text_double(out, q.cumulative[i], MC_DOUBLE_FIXED);
        mc_text_lit(out, ")");
    }
}

static void text_buckets(mc_text *out, const mc_stat_entry *entry, bool disjoint) {
    mc_bucket_walk interval = walk_over(&entry->interval, entry->unit),
                   total = walk_over(&entry->cumulative, entry->unit);
    for (size_t i = 0; i < entry->bound_count; i++) {
        uint64_t interval_before = disjoint ? interval.running : 0, total_before = disjoint ? total.running : 0;
        mc_text_add(out, i == 0 ? MC_SLICE("B") : MC_SLICE(" B"));
        mc_text_general(out, entry->bounds[i], 6);
        mc_text_lit(out, "(");
        mc_text_u64(out, mc_bucket_upto(&interval, entry->bounds[i]) - interval_before);
        mc_text_lit(out, ",");
        mc_text_u64(out, mc_bucket_upto(&total, entry->bounds[i]) - total_before);
        mc_text_lit(out, ")");
    }
}

/* Bins have two significant digits, and that is how they are shown here: 110, not 110.00000000000001. */
static void text_two_digits(mc_text *out, double value) {
    char form[16];
    snprintf(form, sizeof form, "%.1e", value);
    mc_text_double(out, strtod(form, NULL), MC_DOUBLE_FIXED);
}

static void text_bins(mc_text *out, const mc_histogram *histogram, mc_unit unit) {
    for (size_t i = 0; i < histogram->bin_count; i++) {
        mc_text_add(out, i == 0 ? MC_SLICE("") : MC_SLICE(", "));
        text_two_digits(out, mc_bin_left(histogram->bins[i].id) / mc_unit_scale(unit));
        mc_text_lit(out, ",");
        text_two_digits(out, mc_bin_width(histogram->bins[i].id) / mc_unit_scale(unit));
        mc_text_lit(out, ":");
        mc_text_u64(out, histogram->bins[i].count);
    }
}

static void text_histogram(mc_text *out, const mc_stat_entry *entry, mc_buckets buckets) {
    mc_text_add(out, entry->name);
    if (!entry->used) {
        mc_text_lit(out, ": No recorded values\n");
        return;
    }
    if (buckets == MC_BUCKETS_DETAILED) {
        mc_text_lit(out, ":\n  totals=");
        text_bins(out, &entry->cumulative, entry->unit);
        mc_text_lit(out, "\n  intervals=");
        text_bins(out, &entry->interval, entry->unit);
        mc_text_lit(out, "\n  summary=");
        text_summary(out, entry);
    } else {
        mc_text_lit(out, ": ");
        if (buckets == MC_BUCKETS_SUMMARY) {
            text_summary(out, entry);
        } else {
            text_buckets(out, entry, buckets == MC_BUCKETS_DISJOINT);
        }
    }
    mc_text_lit(out, "\n");
}

static void text_entry(mc_text *out, const mc_stat_entry *entry, mc_buckets buckets) {
    if (entry->kind == MC_HISTOGRAM) {
        text_histogram(out, entry, buckets);
        return;
    }
    mc_text_add(out, entry->name);
    if (entry->kind == MC_TEXT) {
        mc_text_lit(out, ": \"");
        mc_text_add(out, entry->text);
        mc_text_lit(out, "\"\n");
    } else {
        mc_text_lit(out, ": ");
        add_value(out, entry);
        mc_text_lit(out, "\n");
    }
}

/* The order of both text and JSON (ADM-16): texts, then counters and gauges together, then histograms. */
static const unsigned phases[] = {1u << MC_TEXT, 1u << MC_COUNTER | 1u << MC_GAUGE, 1u << MC_HISTOGRAM};
enum { PHASES = sizeof phases / sizeof phases[0] };

static mc_render phase_of(const mc_render *how, size_t phase) {
    mc_render part = *how;
    part.kinds &= phases[phase];
    return part;
}

void mc_render_text(mc_text *out, const mc_stats_view *view, const mc_render *how) {
    for (size_t phase = 0; phase < PHASES; phase++) {
        mc_render part = phase_of(how, phase);
        for (size_t i = 0; i < view->count; i++) {
            if (mc_render_wants(&part, view, i)) {
                text_entry(out, &view->entries[i], how->buckets);
            }
        }
    }
}

/* --- JSON ------------------------------------------------------------------------------------------ */

static void json_number(mc_text *out, double value) {
    if (value != value) {
        mc_text_lit(out, "null");
    } else {
        mc_text_double(out, value, MC_DOUBLE_SHORTER);
    }
}

static void json_quantiles(mc_text *out, const mc_stat_entry *entry) {
    quantiles q = quantiles_of(entry);
    for (size_t i = 0; i < MC_QUANTILES; i++) {
        mc_text_add(out, i == 0 ? MC_SLICE("[{\"cumulative\":") : MC_SLICE(",{\"cumulative\":"));
        json_number(out, q.cumulative[i]);
        mc_text_lit(out, ",\"interval\":");
        json_number(out, q.interval[i]);
        mc_text_lit(out, "}");
    }
    mc_text_lit(out, "]");
}

static void json_bins(mc_text *out, const mc_histogram *histogram, mc_unit unit) {
    mc_text_lit(out, "[");
    for (size_t i = 0; i < histogram->bin_count; i++) {
        mc_text_add(out, i == 0 ? MC_SLICE("{\"lower_bound\":") : MC_SLICE(",{\"lower_bound\":"));
        json_number(out, mc_bin_left(histogram->bins[i].id) / mc_unit_scale(unit));
        mc_text_lit(out, ",\"width\":");
        json_number(out, mc_bin_width(histogram->bins[i].id) / mc_unit_scale(unit));
        mc_text_lit(out, ",\"count\":");
        mc_text_u64(out, histogram->bins[i].count);
        mc_text_lit(out, "}");
    }
    mc_text_lit(out, "]");
}

static void json_buckets(mc_text *out, const mc_stat_entry *entry, bool disjoint) {
    mc_bucket_walk interval = walk_over(&entry->interval, entry->unit),
                   total = walk_over(&entry->cumulative, entry->unit);
    mc_text_lit(out, "[");
    for (size_t i = 0; i < entry->bound_count; i++) {
        uint64_t interval_before = disjoint ? interval.running : 0, total_before = disjoint ? total.running : 0;
        mc_text_add(out, i == 0 ? MC_SLICE("{\"upper_bound\":") : MC_SLICE(",{\"upper_bound\":"));
        json_number(out, entry->bounds[i]);
        mc_text_lit(out, ",\"interval\":");
        mc_text_u64(out, mc_bucket_upto(&interval, entry->bounds[i]) - interval_before);
        mc_text_lit(out, ",\"cumulative\":");
        mc_text_u64(out, mc_bucket_upto(&total, entry->bounds[i]) - total_before);
        mc_text_lit(out, "}");
    }
    mc_text_lit(out, "]");
}

static void json_histogram(mc_text *out, const mc_stat_entry *entry, mc_buckets buckets) {
    mc_text_lit(out, "{\"name\":");
    mc_text_json(out, entry->name);
    switch (buckets) {
    case MC_BUCKETS_SUMMARY:
        mc_text_lit(out, ",\"values\":");
        json_quantiles(out, entry);
        break;
    case MC_BUCKETS_CUMULATIVE:
    case MC_BUCKETS_DISJOINT:
        mc_text_lit(out, ",\"buckets\":");
        json_buckets(out, entry, buckets == MC_BUCKETS_DISJOINT);
        break;
    case MC_BUCKETS_DETAILED:
        mc_text_lit(out, ",\"totals\":");
        json_bins(out, &entry->cumulative, entry->unit);
        mc_text_lit(out, ",\"intervals\":");
        json_bins(out, &entry->interval, entry->unit);
        mc_text_lit(out, ",\"percentiles\":");
        json_quantiles(out, entry);
        break;
    }
    mc_text_lit(out, "}");
}

static void json_plain(mc_text *out, const mc_stat_entry *entry) {
    mc_text_lit(out, "{\"name\":");
    mc_text_json(out, entry->name);
    mc_text_lit(out, ",\"value\":");
    if (entry->kind == MC_TEXT) {
        mc_text_json(out, entry->text);
    } else {
        add_value(out, entry);
    }
    mc_text_lit(out, "}");
}

#define JSON_QUANTILES "[0,25,50,75,90,95,99,99.5,99.9,100]"

/* What stands around the list of histograms: one member of the list of stats. */
static const struct {
    mc_slice before, after;
} json_frames[] = {
    [MC_BUCKETS_SUMMARY] = {MC_SLICE_INIT("{\"histograms\":{\"supported_quantiles\":" JSON_QUANTILES
                                          ",\"computed_quantiles\":["),
                            MC_SLICE_INIT("]}}")},
    [MC_BUCKETS_CUMULATIVE] = {MC_SLICE_INIT("{\"histograms\":["), MC_SLICE_INIT("]}")},
    [MC_BUCKETS_DISJOINT] = {MC_SLICE_INIT("{\"histograms\":["), MC_SLICE_INIT("]}")},
    [MC_BUCKETS_DETAILED] = {MC_SLICE_INIT("{\"histograms\":{\"supported_percentiles\":" JSON_QUANTILES
                                           ",\"details\":["),
                             MC_SLICE_INIT("]}}")},
};

void mc_render_json(mc_text *out, const mc_stats_view *view, const mc_render *how) {
    size_t stats = 0, histograms = 0;
    mc_text_lit(out, "{\"stats\":[");
    for (size_t phase = 0; phase < PHASES; phase++) {
        mc_render part = phase_of(how, phase);
        for (size_t i = 0; i < view->count; i++) {
            if (!mc_render_wants(&part, view, i)) {
                continue;
            }
            bool histogram = view->entries[i].kind == MC_HISTOGRAM;
            if (histogram ? histograms > 0 : stats > 0) {
                mc_text_lit(out, ",");
            }
            if (!histogram) {
                json_plain(out, &view->entries[i]);
                stats++;
                continue;
            }
            if (histograms++ == 0) {
                mc_text_add(out, stats > 0 ? MC_SLICE(",") : MC_SLICE_NONE);
                mc_text_add(out, json_frames[how->buckets].before);
            }
            json_histogram(out, &view->entries[i], how->buckets);
        }
    }
    if (histograms > 0) {
        mc_text_add(out, json_frames[how->buckets].after);
    }
    mc_text_lit(out, "]}");
}
