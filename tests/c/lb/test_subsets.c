/* Subsets and zones in C: what the Python tests do not see, memory above all. */
#include "fixture.h"
#include "lb/balancer.h"
#include "lb/client_weights.h"
#include "lb/metadata.h"

#define META(json) ",\"metadata\":{\"filter_metadata\":{\"envoy.lb\":" json "}}"
#define SUBSETS(more)                                                                                                  \
    "{\"lb_policy\":\"ROUND_ROBIN\",\"common_lb_config\":{\"locality_weighted_lb_config\":{}},\"lb_subset_config\":"   \
    "{\"fallback_policy\":\"DEFAULT_SUBSET\",\"default_subset\":{\"v\":\"1\"},\"panic_mode_any\":true,"                \
    "\"locality_weight_aware\":true,\"subset_selectors\":[{\"keys\":[\"v\",\"s\"]},{\"keys\":[\"v\"],"                 \
    "\"single_host_per_subset\":true},{\"keys\":[\"l\"],\"fallback_policy\":\"ANY_ENDPOINT\"}]" more "}}"

#define FIRST                                                                                                          \
    CLA(ZONE("a", 1, ENDPOINT(1, META("{\"v\":\"1\",\"s\":\"x\"}")), ENDPOINT(2, META("{\"v\":\"2\",\"s\":\"x\"}"))),  \
        ZONE("b", 2, ENDPOINT(3, META("{\"l\":[1,2]}")), ENDPOINT(4, "")))
#define SECOND                                                                                                         \
    CLA(ZONE("a", 1, ENDPOINT(1, META("{\"v\":\"1\",\"s\":\"y\"}") WEIGHT(3)),                                         \
             ENDPOINT(2, META("{\"v\":\"2\",\"s\":\"x\"}"))),                                                          \
        ZONE("c", 2, ENDPOINT(5, META("{\"l\":[2,3]}")), ENDPOINT(6, META("{\"v\":\"1\",\"s\":\"y\"}"))))

typedef struct rig {
    mc_arena arena;
    mc_lb_config config;
    mc_hosts *hosts;
    mc_random random;
    mc_lb *lb;
} rig;

static void rig_init(rig *r, const char *cluster) {
    mc_arena_init(&r->arena, NULL);
    mc_random_seed(&r->random, 1);
    r->config = config_of(cluster);
    r->hosts = hosts_of(FIRST, &r->config, NULL);
    r->lb = mc_lb_new(&r->config, r->hosts, &r->random, 0, &NO_STATS);
    CHECK(r->lb != NULL);
}

static void rig_fini(rig *r) {
    mc_lb_free(r->lb);
    mc_hosts_unref(r->hosts);
    mc_lb_config_fini(&r->config);
    mc_arena_fini(&r->arena);
}

static mc_lb_request asking(rig *r, mc_subset_criteria *criteria, const char *json) {
    const mc_value *object = parse(&r->arena, json);
    CHECK_INT(mc_subset_criteria_init(criteria, &r->arena, &object, 1), MC_OK);
    return (mc_lb_request){.criteria = criteria};
}

static int choose(rig *r, const char *json) {
    mc_subset_criteria criteria;
    mc_lb_request request = asking(r, &criteria, json);
    return number_of(mc_lb_choose(r->lb, &request));
}

/* The nth allocation fails, for every n: an error or a fallback, no leak, and afterwards all is as it should be. */
TEST(allocation_failures_leave_subsets_whole) {
    static const char *clusters[] = {SUBSETS(""), SUBSETS(",\"list_as_any\":true,\"scale_locality_weight\":true")};
    for (size_t c = 0; c < sizeof clusters / sizeof *clusters; c++) {
        rig r;
        rig_init(&r, clusters[c]);
        const mc_value *value = parse(&r.arena, SECOND);
        bool done = false;
        for (long n = 1; !done && n < 3000; n++) {
            mc_hosts *hosts = NULL;
            mc_error error;
            mc_test_alloc_fail_at(n);
            mc_status status = mc_hosts_compile(value, &r.config, MC_SLICE("c"), NULL, r.hosts, &hosts, &error);
            if (status == MC_OK) {
                status = mc_lb_update(r.lb, hosts, 0);
                done = status == MC_OK;
                mc_test_alloc_fail_at(0);
                mc_hosts_unref(done ? r.hosts : hosts);
                r.hosts = done ? hosts : r.hosts;
            }
            mc_test_alloc_fail_at(0);
            CHECK(status == MC_OK || status == MC_ENOMEM);
            CHECK(choose(&r, "{\"v\":\"2\",\"s\":\"x\"}") == 2);
        }
        CHECK(done);
        const int first = choose(&r, "{\"s\":\"y\",\"v\":\"1\"}");
        CHECK(first == 1 || first == 6);
        CHECK_INT(choose(&r, "{\"v\":\"2\"}"), 2);
        make_without_memory(&r.config, r.hosts, &r.random);
        rig_fini(&r);
    }
}

TEST(a_configuration_may_run_out_of_memory) {
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    const mc_lb_node node = {.locality = {.zone = MC_SLICE_INIT("a")}, .local_cluster = true};
    const mc_value *value = parse(&arena, SUBSETS(",\"scale_locality_weight\":true"));
    for (long n = 1;; n++) {
        mc_lb_config config;
        mc_error error;
        mc_test_alloc_fail_at(n);
        mc_status status = mc_lb_config_compile(value, &node, &config, &error);
        mc_test_alloc_fail_at(0);
        if (status == MC_OK) {
            CHECK(config.subsets != NULL && config.local != NULL && config.zone.possible);
            mc_lb_config_fini(&config);
            break;
        }
        CHECK_INT(status, MC_ENOMEM);
    }
    mc_arena_fini(&arena);
}

TEST(lookups_that_reduce_their_criteria_may_run_out_of_memory) {
    rig r;
    rig_init(
        &r,
        "{\"lb_subset_config\":{\"metadata_fallback_policy\":\"FALLBACK_LIST\",\"subset_selectors\":[{\"keys\":"
        "[\"v\",\"s\"],\"fallback_policy\":\"KEYS_SUBSET\",\"fallback_keys_subset\":[\"v\"]},{\"keys\":[\"v\"]}]}}");
    mc_subset_criteria criteria;
    mc_lb_request request = asking(&r, &criteria, "{\"s\":\"9\",\"fallback_list\":[{\"v\":\"8\"},{\"v\":\"2\"}]}");
    for (long n = 1;; n++) {
        mc_test_alloc_fail_at(n);
        mc_host *host = mc_lb_choose(r.lb, &request);
        const bool failed = mc_test_alloc_pending() == 0;
        mc_test_alloc_fail_at(0);
        CHECK(host == NULL || number_of(host) == 2);
        if (!failed) {
            CHECK_INT(number_of(host), 2);
            break;
        }
    }
    rig_fini(&r);
}

TEST(what_did_not_change_is_the_same_object) {
    rig r;
    rig_init(&r, SUBSETS(""));
    mc_hosts *next = hosts_of(SECOND, &r.config, r.hosts), *again = hosts_of(SECOND, &r.config, next);
    const mc_subset *before = mc_subsets_find(next->subsets, next->subsets->items[next->subsets->fixed].path);
    const mc_subset *after = mc_subsets_find(again->subsets, before->path);
    CHECK(before->hosts != NULL && before->hosts == after->hosts);
    CHECK_INT(again->subsets->created, 0);
    CHECK_INT(again->subsets->removed, 0);
    CHECK_INT(next->subsets->created, 2); /* l 2,3 and v 1 s y */
    mc_hosts_unref(next);
    mc_hosts_unref(again);
    rig_fini(&r);
}

TEST(a_zone_may_run_out_of_memory) {
    const mc_lb_node node = {.locality = {.zone = MC_SLICE_INIT("a")}, .local_cluster = true};
    mc_arena arena;
    mc_error error;
    mc_lb_config config;
    mc_random random;
    mc_arena_init(&arena, NULL);
    mc_random_seed(&random, 1);
    CHECK_INT(
        mc_lb_config_compile(parse(&arena, "{\"common_lb_config\":{\"zone_aware_lb_config\":{\"min_cluster_size\":"
                                           "\"1\"}}}"),
                             &node, &config, &error),
        MC_OK);
    mc_hosts *upstream =
        hosts_of(CLA(ZONE("b", 1, ENDPOINT(1, "")), ZONE("a", 1, ENDPOINT(2, "")), ZONE("c", 1, ENDPOINT(3, ""))),
                 &config, NULL);
    mc_hosts *local =
        hosts_of(CLA(ZONE("a", 1, ENDPOINT(11, ""), ENDPOINT(12, "")), ZONE("b", 1, ENDPOINT(13, ""))), &config, NULL);
    CHECK(upstream->sets[0]->has_local);
    CHECK_SLICE(upstream->sets[0]->localities[0].all.items[0]->zone, "a");
    CHECK_SLICE(upstream->sets[0]->localities[1].all.items[0]->zone, "b");
    mc_lb *lb = mc_lb_new(&config, upstream, &random, 0, &NO_STATS);
    CHECK(lb != NULL);
    mc_test_alloc_fail_at(1);
    CHECK_INT(mc_lb_set_local(lb, local), MC_ENOMEM);
    mc_test_alloc_fail_at(0);
    CHECK(pick(lb) != 0); /* without zones */
    CHECK_INT(mc_lb_set_local(lb, NULL), MC_OK);
    CHECK_INT(mc_lb_set_local(lb, local), MC_OK);
    CHECK_INT(lb->zone.state, MC_ZONE_RESIDUAL);
    CHECK_INT(lb->zone.local_share, 3333u * 10000 / 6666);
    mc_lb_free(lb);
    mc_hosts_unref(upstream);
    mc_hosts_unref(local);
    mc_lb_config_fini(&config);
    mc_arena_fini(&arena);
}

TEST(load_reports_of_all_kinds) {
    static const mc_slice metrics[] = {MC_SLICE_INIT("named_metrics.q")};
    const mc_client_weights_config config = {.error_penalty = 1, .metrics = metrics, .metric_count = 1};
    static const struct {
        const char *text;
        uint32_t weight; /* UINT32_MAX: refused */
    } cases[] = {
        {"TEXT rps_fractional=10,cpu_utilization=0.5", 20},
        {"TEXT rps_fractional=10, application_utilization=0.25 ,cpu_utilization=0.5", 40},
        {"TEXT rps_fractional=10,named_metrics.q=0.1,cpu_utilization=0.5", 100},
        {"TEXT rps_fractional=10,named_metrics.q=0.1,application_utilization=0.5", 100},
        {"TEXT rps_fractional=10,cpu_utilization=20", 0}, /* which is a weight */
        {"TEXT rps_fractional=10,eps=5,cpu_utilization=0.5", 10},
        {"TEXT cpu_utilization=0.5", 0},
        {"TEXT rps_fractional=10", 0},
        {"TEXT rps_fractional", UINT32_MAX},
        {"TEXT rps_fractional=ten", UINT32_MAX},
        {"TEXT rps_fractional=-1", UINT32_MAX},
        {"TEXT rps_fractional=1e200,cpu_utilization=1", UINT32_MAX}, /* and a weight, the greatest there is */
        {"JSON {\"rps_fractional\":10,\"named_metrics\":{\"q\":1}}", 10},
        {"JSON [1]", UINT32_MAX},
        {"JSON {", UINT32_MAX},
        {"BIN MQAAAAAAAFlACQAAAAAAAOA/", 200},
        {"BIN MQAAAAAAAFlACQAAAAAAAOA", UINT32_MAX},
        {"BIN ////", UINT32_MAX},
        {"BIN", UINT32_MAX},
        {"", UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mc_load_report report;
        mc_status status = mc_load_report_parse(mc_slice_cstr(cases[i].text), &config, &report);
        uint32_t weight = 0;
        const bool says = status == MC_OK && mc_load_report_weight(&report, &config, &weight);
        CHECK_INT(says || status == MC_OK ? weight : UINT32_MAX, cases[i].weight);
    }
}

/* An assignment of so many weighted hosts; the weight of the first is given. */
static const mc_value *many(mc_arena *arena, int count, int weight) {
    const size_t size = (size_t)count * 160 + 64;
    char *text = mc_arena_bytes(arena, size);
    size_t n = (size_t)snprintf(text, size, "{\"endpoints\":[{\"lb_endpoints\":[");
    for (int i = 0; i < count; i++) {
        n += (size_t)snprintf(text + n, size - n,
                              "%s{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.%d.%d\","
                              "\"port_value\":80}}},\"load_balancing_weight\":%d}",
                              i > 0 ? "," : "", i / 250, i % 250 + 1, i == 0 ? weight : 1 + i % 7);
    }
    snprintf(text + n, size - n, "]}]}");
    return parse(arena, text);
}

static bool same_choices(mc_lb *one, mc_lb *two, uint64_t now_ms) {
    for (int i = 0; i < 2000; i++) {
        mc_lb_request request = {.now_ms = now_ms};
        if (mc_lb_choose(one, &request) != mc_lb_choose(two, &request)) {
            return false;
        }
    }
    return true;
}

TEST(what_was_planned_is_the_same) {
    static const char *clusters[] = {
        "{}",
        "{\"lb_policy\":\"LEAST_REQUEST\"}",
        "{\"round_robin_lb_config\":{\"slow_start_config\":{\"slow_start_window\":\"10s\"}}}",
        "{\"load_balancing_policy\":{\"policies\":[{\"typed_extension_config\":{\"typed_config\":{\"@type\":"
        "\"type.googleapis.com/meshcore.PeakEwma\"}}}]}}",
        "{\"lb_subset_config\":{\"fallback_policy\":\"ANY_ENDPOINT\",\"subset_selectors\":[{\"keys\":[\"a\"]}]}}",
    };
    for (size_t c = 0; c < sizeof clusters / sizeof *clusters; c++) {
        mc_arena arena;
        mc_error error;
        mc_random randoms[2];
        mc_hosts *first, *second;
        mc_arena_init(&arena, NULL);
        mc_random_seed(&randoms[0], 1);
        mc_random_seed(&randoms[1], 1);
        mc_lb_config config = config_of(clusters[c]);
        CHECK_INT(mc_hosts_compile(many(&arena, 600, 3), &config, MC_SLICE("c"), NULL, NULL, &first, &error), MC_OK);
        mc_lb_plan *plan = mc_lb_plan_new(&config, first, NULL, 77, 5);
        CHECK(plan != NULL);
        mc_lb *one = mc_lb_new_seeded(&config, first, &randoms[0], 77, NULL, 5, &NO_STATS);
        mc_lb *two = mc_lb_new_seeded(&config, first, &randoms[1], 77, plan, 5, &NO_STATS);
        mc_lb_plan_free(plan);
        CHECK(same_choices(one, two, 5));
        CHECK_INT(mc_hosts_compile(many(&arena, 600, 9), &config, MC_SLICE("c"), NULL, first, &second, &error), MC_OK);
        plan = mc_lb_plan_new(&config, second, first, 77, 20);
        CHECK(plan != NULL);
        CHECK_INT(mc_lb_update(one, second, 20), MC_OK);
        CHECK_INT(mc_lb_update_planned(two, second, plan, 20), MC_OK);
        mc_lb_plan_free(plan);
        plan = mc_lb_plan_new(&config, second, second, 77, 20);
        CHECK(plan == NULL); /* nothing has changed */
        CHECK(same_choices(one, two, 20));
        for (long n = 1;; n++) { /* a plan that ran out of memory is worth less, or nothing */
            mc_test_alloc_fail_at(n);
            plan = mc_lb_plan_new(&config, second, first, 77, 0);
            const bool failed = mc_test_alloc_pending() == 0;
            mc_test_alloc_fail_at(0);
            mc_lb_plan_free(plan);
            if (!failed) {
                break;
            }
        }
        mc_lb_free(one);
        mc_lb_free(two);
        mc_hosts_unref(first);
        mc_hosts_unref(second);
        mc_lb_config_fini(&config);
        mc_arena_fini(&arena);
    }
}
