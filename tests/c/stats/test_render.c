#include "stats/render.h"

#include "../test.h"
#include "stats/labels.h"

static const mc_render everything = {.kinds = MC_RENDER_ALL, .prefix = MC_SLICE_INIT("envoy_")};

/* A small store with one of everything. */
static mc_stats *sample(void) {
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats);
    mc_stat rq = mc_stats_counter(stats, MC_SLICE("cluster.cart.upstream_rq_404"));
    mc_stat total = mc_stats_counter(stats, MC_SLICE("cluster.cart.upstream_rq_total"));
    mc_stat active = mc_stats_gauge(stats, MC_SLICE("cluster.cart.upstream_rq_active"));
    mc_stat text = mc_stats_text(stats, MC_SLICE("cluster.cart.version_text"));
    mc_stat time = mc_stats_histogram(stats, MC_SLICE("cluster.cart.upstream_rq_time"));
    mc_stats_histogram(stats, MC_SLICE("cluster.cart.silent"));
    const mc_tag tags[] = {{MC_SLICE("envoy.response_code"), MC_SLICE("404")},
                           {MC_SLICE("envoy.cluster_name"), MC_SLICE("ca\"r\\t\n")}};
    CHECK_INT(mc_stats_label(stats, rq, MC_SLICE("cluster.upstream_rq"), tags, 2), MC_OK);
    CHECK_INT(mc_stats_label(stats, rq, MC_SLICE("other"), NULL, 0), MC_EEXIST);
    CHECK_INT(mc_stats_label(stats, 0, MC_SLICE("other"), NULL, 0), MC_ENOTFOUND);
    CHECK_INT(mc_stats_label(stats, total, MC_SLICE("cluster.upstream_rq_total"), tags + 1, 1), MC_OK);
    static const double bounds[] = {0.5, 5, 300000};
    CHECK_INT(mc_stats_set_bounds(stats, time, bounds, 3), MC_OK);
    mc_counter_add(slab, rq, 3);
    mc_gauge_add(slab, active, -1);
    CHECK_INT(mc_text_set(stats, text, MC_SLICE("v\"1\"")), MC_OK);
    mc_histogram_record(slab, time, 110);
    mc_histogram_record(slab, time, 5);
    CHECK_INT(mc_stats_merge(stats), MC_OK);
    CHECK_INT(mc_stats_merge(stats), MC_OK); /* the interval is empty now */
    mc_slab_close(slab);
    return stats;
}

typedef void (*renderer)(mc_text *, const mc_stats_view *, const mc_render *);

static void prometheus(mc_text *out, const mc_stats_view *view, const mc_render *how) {
    CHECK_INT(mc_render_prometheus(out, view, how), MC_OK);
}

static void expect(renderer render, mc_render how, const char *expected) {
    mc_stats *stats = sample();
    mc_stats_view view;
    mc_text out;
    mc_text_init(&out);
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    render(&out, &view, &how);
    CHECK(!out.failed);
    CHECK_SLICE(mc_text_slice(&out), expected);
    mc_text_fini(&out);
    mc_stats_view_fini(&view);
    mc_stats_unref(stats);
}

TEST(text) {
    expect(mc_render_text, everything,
           "cluster.cart.version_text: \"v\"1\"\"\n"
           "cluster.cart.upstream_rq_404: 3\n"
           "cluster.cart.upstream_rq_active: -1\n"
           "cluster.cart.upstream_rq_total: 0\n"
           "cluster.cart.silent: No recorded values\n"
           "cluster.cart.upstream_rq_time: P0(nan,5.05) P25(nan,5.05) P50(nan,5.05) P75(nan,115.00000000000001) "
           "P90(nan,115.00000000000001) P95(nan,115.00000000000001) P99(nan,115.00000000000001) "
           "P99.5(nan,115.00000000000001) P99.9(nan,115.00000000000001) P100(nan,115.00000000000001)\n");
}

TEST(text_buckets) {
    mc_render how = {.kinds = 1u << MC_HISTOGRAM, .used_only = true, .buckets = MC_BUCKETS_CUMULATIVE};
    expect(mc_render_text, how, "cluster.cart.upstream_rq_time: B0.5(0,0) B5(0,1) B300000(0,2)\n");
    how.buckets = MC_BUCKETS_DISJOINT;
    expect(mc_render_text, how, "cluster.cart.upstream_rq_time: B0.5(0,0) B5(0,1) B300000(0,1)\n");
    how.buckets = MC_BUCKETS_DETAILED;
    expect(mc_render_text, how,
           "cluster.cart.upstream_rq_time:\n  totals=5,0.1:1, 110,10:1\n  intervals=\n"
           "  summary=P0(nan,5.05) P25(nan,5.05) P50(nan,5.05) P75(nan,115.00000000000001) "
           "P90(nan,115.00000000000001) P95(nan,115.00000000000001) P99(nan,115.00000000000001) "
           "P99.5(nan,115.00000000000001) P99.9(nan,115.00000000000001) P100(nan,115.00000000000001)\n");
}

#define SAME5   "{\"cumulative\":5.05,\"interval\":null}"
#define SAME115 "{\"cumulative\":115.00000000000001,\"interval\":null}"
#define SEVEN   SAME115 "," SAME115 "," SAME115 "," SAME115 "," SAME115 "," SAME115 "," SAME115

TEST(json) {
    mc_render how = everything;
    how.used_only = true;
    expect(mc_render_json, how,
           "{\"stats\":[{\"name\":\"cluster.cart.version_text\",\"value\":\"v\\\"1\\\"\"},"
           "{\"name\":\"cluster.cart.upstream_rq_404\",\"value\":3},"
           "{\"name\":\"cluster.cart.upstream_rq_active\",\"value\":-1},"
           "{\"histograms\":{\"supported_quantiles\":[0,25,50,75,90,95,99,99.5,99.9,100],"
           "\"computed_quantiles\":[{\"name\":\"cluster.cart.upstream_rq_time\",\"values\":[" SAME5 "," SAME5 "," SAME5
           "," SEVEN "]}]}}]}");
    how.kinds = 1u << MC_HISTOGRAM;
    how.buckets = MC_BUCKETS_CUMULATIVE;
    expect(mc_render_json, how,
           "{\"stats\":[{\"histograms\":[{\"name\":\"cluster.cart.upstream_rq_time\",\"buckets\":["
           "{\"upper_bound\":0.5,\"interval\":0,\"cumulative\":0},{\"upper_bound\":5,\"interval\":0,"
           "\"cumulative\":1},"
           "{\"upper_bound\":3e+05,\"interval\":0,\"cumulative\":2}]}]}]}");
    how.buckets = MC_BUCKETS_DETAILED;
    expect(mc_render_json, how,
           "{\"stats\":[{\"histograms\":{\"supported_percentiles\":[0,25,50,75,90,95,99,99.5,99.9,100],"
           "\"details\":[{\"name\":\"cluster.cart.upstream_rq_time\",\"totals\":["
           "{\"lower_bound\":5,\"width\":0.1,\"count\":1},{\"lower_bound\":110.00000000000001,\"width\":10,"
           "\"count\":1}],"
           "\"intervals\":[],\"percentiles\":[" SAME5 "," SAME5 "," SAME5 "," SEVEN "]}]}}]}");
    how.kinds = 0;
    expect(mc_render_json, how, "{\"stats\":[]}");
}

TEST(prometheus_format) {
    mc_render how = everything;
    how.buckets = MC_BUCKETS_CUMULATIVE;
    how.used_only = true;
    expect(prometheus, how,
           "# TYPE envoy_cluster_upstream_rq counter\n"
           "envoy_cluster_upstream_rq{envoy_response_code=\"404\",envoy_cluster_name=\"ca\\\"r\\\\t\\n\"} 3\n"
           "# TYPE envoy_cluster_cart_upstream_rq_active gauge\n"
           "envoy_cluster_cart_upstream_rq_active{} -1\n"
           "# TYPE envoy_cluster_cart_version_text gauge\n"
           "envoy_cluster_cart_version_text{text_value=\"v\\\"1\\\"\"} 0\n"
           "# TYPE envoy_cluster_cart_upstream_rq_time histogram\n"
           "envoy_cluster_cart_upstream_rq_time_bucket{le=\"0.5\"} 0\n"
           "envoy_cluster_cart_upstream_rq_time_bucket{le=\"5\"} 1\n"
           "envoy_cluster_cart_upstream_rq_time_bucket{le=\"300000\"} 2\n"
           "envoy_cluster_cart_upstream_rq_time_bucket{le=\"+Inf\"} 2\n"
           "envoy_cluster_cart_upstream_rq_time_sum{} 119.83211364614723493104975204915\n"
           "envoy_cluster_cart_upstream_rq_time_count{} 2\n");
    how.kinds = 1u << MC_COUNTER;
    how.used_only = false;
    const uint8_t mask[] = {1, 0, 0, 0, 1, 0};
    how.mask = mask;
    expect(prometheus, how,
           "# TYPE envoy_cluster_upstream_rq_total counter\n"
           "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"ca\\\"r\\\\t\\n\"} 0\n");
    how.prefix = MC_SLICE("0");
    expect(prometheus, how, "");
}

TEST(prometheus_summary) {
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats);
    mc_histogram_record(slab, mc_stats_histogram_unit(stats, MC_SLICE("h"), MC_UNIT_PERCENT), 500000);
    mc_slab_close(slab);
    mc_stats_view view;
    mc_text out;
    mc_text_init(&out);
    CHECK_INT(mc_stats_view_init(&view, stats, MC_VIEW_MERGE), MC_OK);
    prometheus(&out, &view, &everything);
    CHECK(mc_slice_has_prefix(mc_text_slice(&out), MC_SLICE("# TYPE envoy_h summary\nenvoy_h{quantile=\"0\"} 0.505")));
    CHECK(mc_slice_search(mc_text_slice(&out), MC_SLICE("\nenvoy_h{quantile=\"0.995\"} 0.505")) != SIZE_MAX);
    CHECK(mc_slice_has_suffix(mc_text_slice(&out), MC_SLICE("\nenvoy_h_count{} 1\n")));
    mc_text_fini(&out);
    mc_stats_view_fini(&view);
    mc_stats_unref(stats);
}

/* Groups are in the order of names compared piece by piece: "cluster.x" stands before "cluster-a". */
TEST(prometheus_order) {
    static const char *const names[] = {"cluster-a", "cluster_b.x", "cluster.x", "cluster"};
    mc_stats *stats = mc_stats_new();
    for (size_t i = 0; i < 4; i++) {
        mc_stats_counter(stats, mc_slice_cstr(names[i]));
    }
    mc_stats_view view;
    mc_text out;
    mc_text_init(&out);
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    mc_render how = {.kinds = MC_RENDER_ALL};
    prometheus(&out, &view, &how);
    CHECK_SLICE(mc_text_slice(&out), "# TYPE cluster counter\ncluster{} 0\n"
                                     "# TYPE cluster_x counter\ncluster_x{} 0\n"
                                     "# TYPE cluster_a counter\ncluster_a{} 0\n"
                                     "# TYPE cluster_b_x counter\ncluster_b_x{} 0\n");
    mc_text_fini(&out);
    mc_stats_view_fini(&view);
    mc_stats_unref(stats);
}

TEST(out_of_memory_is_reported) {
    for (long nth = 1; nth < 8; nth++) {
        mc_stats *stats = sample();
        mc_stats_view view;
        mc_text out;
        mc_text_init(&out);
        CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
        mc_test_alloc_fail_at(nth);
        CHECK_INT(mc_render_prometheus(&out, &view, &everything), MC_ENOMEM);
        mc_test_alloc_fail_at(0);
        mc_text_fini(&out);
        mc_stats_view_fini(&view);
        mc_stats_unref(stats);
    }
}
