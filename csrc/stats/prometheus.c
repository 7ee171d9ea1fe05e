/* The Prometheus text format as Envoy writes it (STAT-14, STAT-15). */
#include <stdlib.h>

#include "base/alloc.h"
#include "stats/labels.h"
#include "stats/render.h"

typedef struct series {
    mc_slice extracted; /* groups are of one extracted name */
    const mc_stat_entry *entry;
} series;

/* Byte order with the dot before everything: the order of names compared piece by piece. */
static int by_pieces(mc_slice a, mc_slice b) {
    size_t common = a.n < b.n ? a.n : b.n, i = 0;
    while (i < common && a.p[i] == b.p[i]) {
        i++;
    }
    if (i == common) {
        return (a.n > b.n) - (a.n < b.n);
    }
    int left = a.p[i] == '.' ? -1 : (unsigned char)a.p[i], right = b.p[i] == '.' ? -1 : (unsigned char)b.p[i];
    return left - right;
}

static int by_group(const void *a, const void *b) {
    const series *left = a, *right = b;
    int order = by_pieces(left->extracted, right->extracted);
    return order != 0 ? order : by_pieces(left->entry->name, right->entry->name);
}

static mc_slice labels_of(const mc_stat_entry *entry) {
    return entry->labels == NULL ? MC_SLICE_NONE : entry->labels->prometheus;
}

/* prefix + extracted name, sanitised; false when the result is no metric name. */
static bool family_of(mc_text *out, mc_slice prefix, mc_slice extracted) {
    out->n = 0;
    mc_text_add(out, prefix);
    mc_text_add(out, extracted);
    for (size_t i = 0; i < out->n; i++) {
        out->p[i] = mc_prometheus_char(out->p[i]);
    }
    return out->n > 0 && !(out->p[0] >= '0' && out->p[0] <= '9');
}

typedef struct family {
    mc_text *out;
    mc_slice name;
    const mc_render *how;
} family;

/* name{labels} with a suffix of the name and one more label, each may be empty. */
static void put_series(const family *to, const char *suffix, const mc_stat_entry *entry) {
    mc_text_add(to->out, to->name);
    mc_text_add(to->out, mc_slice_cstr(suffix));
    mc_text_lit(to->out, "{");
    mc_text_add(to->out, labels_of(entry));
}

static void put_extra_label(const family *to, const mc_stat_entry *entry, const char *name) {
    mc_text_add(to->out, labels_of(entry).n > 0 ? MC_SLICE(",") : MC_SLICE_NONE);
    mc_text_add(to->out, mc_slice_cstr(name));
    mc_text_lit(to->out, "=\"");
}

static void put_number(const family *to, uint64_t value, bool negative) {
    mc_text_lit(to->out, "} ");
    if (negative) {
        mc_text_i64(to->out, (int64_t)value);
    } else {
        mc_text_u64(to->out, value);
    }
    mc_text_lit(to->out, "\n");
}

static void put_sum_and_count(const family *to, const mc_stat_entry *entry, const mc_histogram *histogram) {
    put_series(to, "_sum", entry);
    mc_text_lit(to->out, "} ");
    mc_text_general(to->out, mc_histogram_sum(histogram) / mc_unit_scale(entry->unit), 32);
    mc_text_lit(to->out, "\n");
    put_series(to, "_count", entry);
    put_number(to, histogram->samples, false);
}

static void put_summary(const family *to, const mc_stat_entry *entry) {
    double quantiles[MC_QUANTILES];
    mc_histogram_quantiles(&entry->interval, mc_quantiles, MC_QUANTILES, quantiles);
    for (size_t i = 0; i < MC_QUANTILES; i++) {
        put_series(to, "", entry);
        put_extra_label(to, entry, "quantile");
        mc_text_general(to->out, mc_quantiles[i], 6);
        mc_text_lit(to->out, "\"} ");
        mc_text_general(to->out, quantiles[i] / mc_unit_scale(entry->unit), 32);
        mc_text_lit(to->out, "\n");
    }
    put_sum_and_count(to, entry, &entry->interval);
}

static void put_buckets(const family *to, const mc_stat_entry *entry) {
    mc_bucket_walk walk = {.histogram = &entry->cumulative, .scale = mc_unit_scale(entry->unit)};
    for (size_t i = 0; i < entry->bound_count; i++) {
        put_series(to, "_bucket", entry);
        put_extra_label(to, entry, "le");
        mc_text_general(to->out, entry->bounds[i], 32);
        mc_text_lit(to->out, "\"");
        put_number(to, mc_bucket_upto(&walk, entry->bounds[i]), false);
    }
    put_series(to, "_bucket", entry);
    put_extra_label(to, entry, "le");
    mc_text_lit(to->out, "+Inf\"");
    put_number(to, entry->cumulative.samples, false);
    put_sum_and_count(to, entry, &entry->cumulative);
}

/* A text is a gauge of 0 with the text as a label. */
static void put_text(const family *to, const mc_stat_entry *entry) {
    put_series(to, "", entry);
    put_extra_label(to, entry, "text_value");
    for (size_t i = 0; i < entry->text.n; i++) {
        char c = entry->text.p[i];
        if (c == '\\' || c == '"' || c == '\n') {
            mc_text_lit(to->out, "\\");
        }
        mc_text_add(to->out, c == '\n' ? MC_SLICE("n") : mc_slice_of(&entry->text.p[i], 1));
    }
    mc_text_lit(to->out, "\"");
    put_number(to, 0, false);
}

static void put_entry(const family *to, const mc_stat_entry *entry) {
    switch (entry->kind) {
    case MC_COUNTER:
    case MC_GAUGE:
        put_series(to, "", entry);
        put_number(to, entry->value, entry->negative);
        break;
    case MC_TEXT: put_text(to, entry); break;
    case MC_HISTOGRAM:
        if (to->how->buckets == MC_BUCKETS_SUMMARY) {
            put_summary(to, entry);
        } else {
            put_buckets(to, entry);
        }
        break;
    }
}

static mc_slice type_of(mc_stat_kind kind, const mc_render *how) {
    switch (kind) {
    case MC_COUNTER: return MC_SLICE(" counter\n");
    case MC_GAUGE:
    case MC_TEXT: return MC_SLICE(" gauge\n");
    case MC_HISTOGRAM: break;
    }
    return how->buckets == MC_BUCKETS_SUMMARY ? MC_SLICE(" summary\n") : MC_SLICE(" histogram\n");
}

static void put_kind(mc_text *out, mc_text *name, const mc_render *how, const series *from, size_t count) {
    bool shown = false;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !mc_slice_eq(from[i].extracted, from[i - 1].extracted)) {
            shown = family_of(name, how->prefix, from[i].extracted);
            if (shown) {
                mc_text_lit(out, "# TYPE ");
                mc_text_add(out, mc_text_slice(name));
                mc_text_add(out, type_of(from[i].entry->kind, how));
            }
        }
        if (shown) {
            family to = {out, mc_text_slice(name), how};
            put_entry(&to, from[i].entry);
        }
    }
}

mc_status mc_render_prometheus(mc_text *out, const mc_stats_view *view, const mc_render *how) {
    static const mc_stat_kind order[] = {MC_COUNTER, MC_GAUGE, MC_TEXT, MC_HISTOGRAM};
    series *all = mc_malloc(view->count * sizeof *all);
    mc_text name;
    if (all == NULL) {
        return MC_ENOMEM;
    }
    mc_text_init(&name);
    for (size_t kind = 0; kind < sizeof order / sizeof order[0]; kind++) {
        mc_render part = *how;
        part.kinds &= 1u << order[kind];
        size_t count = 0;
        for (size_t i = 0; i < view->count; i++) {
            if (mc_render_wants(&part, view, i)) {
                const mc_stat_entry *entry = &view->entries[i];
                all[count++] = (series){entry->labels == NULL ? entry->name : entry->labels->extracted, entry};
            }
        }
        if (count > 0) {
            qsort(all, count, sizeof *all, by_group);
            put_kind(out, &name, how, all, count);
        }
    }
    mc_status status = out->failed || name.failed ? MC_ENOMEM : MC_OK;
    mc_text_fini(&name);
    mc_free(all);
    return status;
}
