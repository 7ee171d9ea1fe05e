#include "pool/tracking.h"

#include <stdio.h>

#include "base/read.h"

mc_status mc_tracking_compile(const mc_value *cluster, mc_arena *arena, mc_tracking **out, mc_error *error) {
    const mc_value *track;
    bool budgets = false, sizes = false;
    *out = NULL;
    MC_TRY(mc_value_read_bool(cluster, "track_timeout_budgets", &budgets, error)); /* the older spelling */
    MC_TRY(mc_value_read_object(cluster, "track_cluster_stats", &track, error));
    if (track != NULL) {
        MC_TRY(mc_value_read_bool(track, "timeout_budgets", &budgets, error));
        MC_TRY(mc_value_read_bool(track, "request_response_sizes", &sizes, error));
    }
    if (!budgets && !sizes) {
        return MC_OK;
    }
    mc_tracking *tracking = mc_arena_zalloc(arena, sizeof *tracking);
    if (tracking == NULL) {
        return MC_ENOMEM;
    }
    tracking->budgets = budgets;
    tracking->sizes = sizes;
    *out = tracking;
    return MC_OK;
}

static mc_stat histogram(mc_stats *stats, mc_slice prefix, const char *name, mc_unit unit) {
    char text[640];
    const int n = snprintf(text, sizeof text, "%.*s%s", MC_SLICE_ARG(prefix), name);
    return mc_stats_histogram_unit(stats, mc_slice_of(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1),
                                   unit);
}

void mc_tracking_register(mc_tracking *tracking, mc_stats *stats, mc_slice prefix) {
#define REGISTER(name, unit) tracking->name = histogram(stats, prefix, #name, unit);
    if (tracking->budgets) {
        MC_BUDGET_STATS(REGISTER)
    }
    if (tracking->sizes) {
        MC_SIZE_STATS(REGISTER)
    }
#undef REGISTER
}

void mc_tracking_release(const mc_tracking *tracking, mc_stats *stats) {
#define RELEASE(name, unit) mc_stats_release(stats, tracking->name);
    if (tracking->budgets) {
        MC_BUDGET_STATS(RELEASE)
    }
    if (tracking->sizes) {
        MC_SIZE_STATS(RELEASE)
    }
#undef RELEASE
}

mc_header_size mc_tracking_measure(const mc_headers *headers) {
    mc_header_size size = {.count = 0};
    MC_HEADERS_EACH(headers, item) {
        size.count++;
        size.bytes += item->name.n + item->value.n;
    }
    return size;
}

void mc_tracking_budget(mc_slab *slab, mc_stat histogram, uint64_t used_ms, uint64_t limit_ms) {
    mc_histogram_record(slab, histogram, limit_ms == 0 ? 0 : used_ms * 100 / limit_ms);
}

void mc_tracking_sizes(const mc_tracking *tracking, mc_slab *slab, const mc_headers *request, uint64_t request_body,
                       mc_header_size response, uint64_t response_body) {
    const mc_header_size asked = mc_tracking_measure(request);
    mc_histogram_record(slab, tracking->upstream_rq_headers_count, asked.count);
    mc_histogram_record(slab, tracking->upstream_rq_headers_size, asked.bytes);
    mc_histogram_record(slab, tracking->upstream_rq_body_size, request_body);
    if (response.count > 0) {
        mc_histogram_record(slab, tracking->upstream_rs_headers_count, response.count);
        mc_histogram_record(slab, tracking->upstream_rs_headers_size, response.bytes);
        mc_histogram_record(slab, tracking->upstream_rs_body_size, response_body);
    }
}
