#include "fixture.h"
#include "lb/hosts.h"

static const mc_lb_config PLAIN = {.policy = MC_LB_ROUND_ROBIN, .panic_threshold = 50};
static const mc_lb_config RING = {.policy = MC_LB_RING_HASH, .ring_min = 64, .ring_max = 1024, .panic_threshold = 50};

TEST(hosts_keep_the_order_of_configuration) {
    mc_hosts *hosts =
        hosts_of(CLA(GROUP(1, ENDPOINT(4, "")), GROUP(0, ENDPOINT(2, ""), ENDPOINT(1, ""))), &PLAIN, NULL);
    CHECK_INT(mc_hosts_count(hosts), 3);
    CHECK_SLICE(mc_hosts_at(hosts, 0)->address_text, "10.0.0.4:80");
    CHECK_SLICE(mc_hosts_at(hosts, 1)->address_text, "10.0.0.2:80");
    CHECK_INT(mc_hosts_at(hosts, 0)->priority, 1);
    CHECK_INT(hosts->priority_count, 2);
    CHECK_INT(hosts->sets[0]->all.count, 2);
    CHECK(mc_hosts_find(hosts, MC_SLICE("10.0.0.1:80")) == mc_hosts_at(hosts, 2));
    CHECK(mc_hosts_find(hosts, MC_SLICE("10.0.0.9:80")) == NULL);
    CHECK(mc_hosts_has(hosts, mc_hosts_at(hosts, 2)));
    mc_hosts_unref(hosts);
}

TEST(health_status_becomes_flags) {
    static const struct {
        const char *json;
        mc_health health;
        bool excluded;
        const char *text;
    } cases[] = {
        {CLA(GROUP(0, ENDPOINT(1, ""))), MC_HEALTHY, false, "healthy"},
        {CLA(GROUP(0, ENDPOINT(1, STATUS(HEALTHY)))), MC_HEALTHY, false, "healthy"},
        {CLA(GROUP(0, ENDPOINT(1, STATUS(UNHEALTHY)))), MC_UNHEALTHY, false, "/failed_eds_health"},
        {CLA(GROUP(0, ENDPOINT(1, STATUS(TIMEOUT)))), MC_UNHEALTHY, false, "/failed_eds_health"},
        {CLA(GROUP(0, ENDPOINT(1, STATUS(DRAINING)))), MC_UNHEALTHY, true, "/eds_status_draining"},
        {CLA(GROUP(0, ENDPOINT(1, STATUS(DEGRADED)))), MC_DEGRADED, false, "/degraded_eds_health"},
    };
    mc_hosts *hosts = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mc_hosts *next = hosts_of(cases[i].json, &PLAIN, hosts);
        mc_hosts_unref(hosts);
        hosts = next;
        const mc_host *host = mc_hosts_at(hosts, 0);
        char text[256];
        CHECK_INT(mc_host_health(host), cases[i].health);
        CHECK_INT(mc_health_excluded(host->health_flags), cases[i].excluded);
        CHECK_INT(mc_hosts_healthy(hosts), cases[i].health == MC_HEALTHY);
        CHECK_INT(mc_hosts_degraded(hosts), cases[i].health == MC_DEGRADED);
        CHECK_INT(mc_hosts_excluded(hosts), cases[i].excluded);
        size_t n = mc_host_flags_text(host->health_flags, text, sizeof text);
        CHECK_INT(n, strlen(text));
        CHECK_SLICE(mc_slice_cstr(text), cases[i].text);
    }
    mc_hosts_unref(hosts);
}

TEST(flags_text_in_order_and_cut) {
    char text[64];
    mc_host_flags_text(MC_DEGRADED_OUTLIER_DETECTION | MC_FAILED_ACTIVE_HC, text, sizeof text);
    CHECK_SLICE(mc_slice_cstr(text), "/failed_active_hc/degraded_outlier_detection");
    CHECK_INT(mc_host_flags_text(MC_FAILED_ACTIVE_HC | MC_FAILED_EDS_HEALTH, text, 8), 7);
    CHECK_SLICE(mc_slice_cstr(text), "/failed");
}

TEST(known_addresses_keep_their_objects) {
    mc_hosts *first = hosts_of(CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, ""))), &PLAIN, NULL);
    mc_host *one = mc_hosts_at(first, 0), *two = mc_hosts_at(first, 1);
    atomic_fetch_or(&two->health_flags, MC_FAILED_OUTLIER_CHECK);
    mc_hosts *second =
        hosts_of(CLA(GROUP(0, ENDPOINT(3, "")), GROUP(1, ENDPOINT(2, WEIGHT(9) STATUS(DEGRADED)))), &PLAIN, first);
    CHECK(mc_hosts_at(second, 1) == two);
    CHECK(mc_hosts_at(second, 0) != one);
    CHECK_INT(two->weight, 9);
    CHECK_INT(two->priority, 1);
    CHECK_INT(two->health_flags, MC_FAILED_OUTLIER_CHECK | MC_DEGRADED_EDS_HEALTH);
    CHECK_INT(two->eds_status, MC_EDS_DEGRADED);
    mc_hosts_unref(first);
    /* Another locality: another object (CL-9). */
    mc_hosts *third = hosts_of(CLA(ZONE("z", 1, ENDPOINT(2, ""))), &PLAIN, second);
    CHECK(mc_hosts_at(third, 0) != two);
    CHECK_SLICE(mc_hosts_at(third, 0)->zone, "z");
    CHECK_INT(third->priority_count, 2); /* emptied, not removed */
    mc_hosts_unref(second);
    mc_hosts_unref(third);
}

TEST(duplicates_are_dropped_unless_static) {
    static const char *json = CLA(GROUP(0, ENDPOINT(1, WEIGHT(3)), ENDPOINT(1, WEIGHT(5))));
    mc_lb_config keep = config_of("{}"), drop = config_of("{\"type\":\"EDS\"}");
    mc_hosts *hosts = hosts_of(json, &drop, NULL);
    CHECK_INT(mc_hosts_count(hosts), 1);
    CHECK_INT(mc_hosts_at(hosts, 0)->weight, 3);
    mc_hosts_unref(hosts);
    hosts = hosts_of(json, &keep, NULL);
    CHECK_INT(mc_hosts_count(hosts), 2);
    mc_hosts *next = hosts_of(json, &keep, hosts);
    CHECK(mc_hosts_at(next, 0) == mc_hosts_at(hosts, 0));
    CHECK(mc_hosts_at(next, 1) != mc_hosts_at(next, 0));
    CHECK(mc_hosts_has(next, mc_hosts_at(next, 1)));
    CHECK(!mc_hosts_has(hosts, mc_hosts_at(next, 1)));
    mc_hosts_unref(hosts);
    mc_hosts_unref(next);
}

TEST(what_did_not_change_is_shared) {
    static const char *json =
        CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, "")), GROUP(1, ENDPOINT(3, ""), ENDPOINT(4, "")));
    mc_hosts *first = hosts_of(json, &RING, NULL);
    mc_hosts *same = hosts_of(json, &RING, first);
    CHECK(same->sets[0] == first->sets[0] && same->sets[1] == first->sets[1]);
    CHECK(same->tables[0] == first->tables[0] && same->tables[1] == first->tables[1]);
    atomic_fetch_or(&mc_hosts_at(first, 3)->health_flags, MC_FAILED_ACTIVE_HC);
    mc_hosts *refreshed = NULL;
    CHECK_INT(mc_hosts_refresh(same, &refreshed), MC_OK);
    CHECK(refreshed->sets[0] == first->sets[0] && refreshed->sets[1] != first->sets[1]);
    CHECK(refreshed->tables[0] == first->tables[0] && refreshed->tables[1] != first->tables[1]);
    mc_hosts *heavier =
        hosts_of(CLA(GROUP(0, ENDPOINT(1, WEIGHT(2)), ENDPOINT(2, "")), GROUP(1, ENDPOINT(3, ""), ENDPOINT(4, ""))),
                 &RING, refreshed);
    CHECK(heavier->sets[0] != refreshed->sets[0] && heavier->sets[1] == refreshed->sets[1]);
    mc_hosts_unref(first);
    mc_hosts_unref(same);
    mc_hosts_unref(refreshed);
    mc_hosts_unref(heavier);
}

static uint64_t gauge(mc_stats *stats, const char *name) {
    mc_stat stat = mc_stats_find(stats, MC_GAUGE, mc_slice_cstr(name));
    return stat == 0 ? UINT64_MAX : mc_stats_value(stats, stat);
}

TEST(tables_have_gauges) {
    static const char *json = CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, WEIGHT(3))));
    static const mc_lb_config maglev = {.policy = MC_LB_MAGLEV, .maglev_size = 11, .panic_threshold = 50};
    mc_stats *stats = mc_stats_new();
    mc_hosts *hosts = hosts_of(json, &RING, NULL);
    mc_hosts_set_gauges(hosts, MC_SLICE("r"), stats, NULL);
    CHECK_U64(gauge(stats, "cluster.r.ring_hash_lb.size"), 64);
    CHECK_U64(gauge(stats, "cluster.r.ring_hash_lb.min_hashes_per_host"), 16);
    CHECK_U64(gauge(stats, "cluster.r.ring_hash_lb.max_hashes_per_host"), 48);
    mc_hosts_unref(hosts);
    hosts = hosts_of(json, &maglev, NULL);
    mc_hosts_set_gauges(hosts, MC_SLICE("m"), stats, NULL);
    CHECK_U64(gauge(stats, "cluster.m.maglev_lb.min_entries_per_host"), 3);
    CHECK_U64(gauge(stats, "cluster.m.maglev_lb.max_entries_per_host"), 8);
    mc_hosts_unref(hosts);
    hosts = hosts_of(json, &PLAIN, NULL);
    mc_hosts_set_gauges(hosts, MC_SLICE("p"), stats, NULL);
    CHECK_U64(gauge(stats, "cluster.p.ring_hash_lb.size"), UINT64_MAX);
    mc_hosts_unref(hosts);
    mc_stats_unref(stats);
}

TEST(localities_are_sorted_and_weighed) {
    mc_hosts *hosts = hosts_of(CLA(ZONE("c", 7, ENDPOINT(1, ""), ENDPOINT(2, STATUS(DRAINING))),
                                   ZONE("a", 2, ENDPOINT(3, STATUS(DEGRADED))), ZONE("c", 5, ENDPOINT(4, "")),
                                   GROUP(0, ENDPOINT(5, ""))),
                               &PLAIN, NULL);
    const mc_host_set *set = hosts->sets[0];
    CHECK_INT(set->locality_count, 3);
    CHECK_INT(set->localities[0].weight, 0); /* no locality: no weight */
    CHECK_SLICE(set->localities[1].all.items[0]->zone, "a");
    CHECK_INT(set->localities[1].healthy.count, 0);
    CHECK_INT(set->localities[1].degraded.count, 1);
    CHECK_INT(set->localities[2].all.count, 3);
    CHECK_INT(set->localities[2].excluded, 1);
    CHECK_INT(set->localities[2].weight, 5);
    CHECK_INT(number_of(set->localities[2].healthy.items[1]), 4);
    mc_hosts_unref(hosts);
}

TEST(policy_of_the_assignment) {
    mc_hosts *hosts = hosts_of("{\"policy\":{\"overprovisioning_factor\":200,\"weighted_priority_health\":true},"
                               "\"endpoints\":[" GROUP(0, ENDPOINT(1, "")) "]}",
                               &PLAIN, NULL);
    CHECK_INT(hosts->options.overprovisioning, 200);
    CHECK(hosts->options.weighted_health);
    mc_hosts_unref(hosts);
}

TEST(errors_name_the_field) {
    const mc_lb_config ring = config_of("{\"lb_policy\":\"RING_HASH\"}"); /* sums matter to tables alone (RH-3) */
    static const struct {
        const char *json, *path;
    } cases[] = {
        {CLA("{\"lb_endpoints\":[{}]}"), "endpoints[0].lb_endpoints[0].endpoint.address.socket_address"},
        {CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(300, ""))),
         "endpoints[0].lb_endpoints[1].endpoint.address.socket_address"},
        {CLA(GROUP(0, ENDPOINT(1, STATUS(SICK)))), "endpoints[0].lb_endpoints[0].health_status"},
        {CLA(GROUP(0, ENDPOINT(1, WEIGHT(4294967295)), ENDPOINT(2, ""))),
         "endpoints[0].lb_endpoints[1].load_balancing_weight"},
        {CLA(GROUP(129, ENDPOINT(1, ""))), "endpoints[0].priority"},
        {CLA(ZONE("a", 4294967295, ENDPOINT(1, "")), ZONE("b", 1, ENDPOINT(2, ""))),
         "endpoints[1].load_balancing_weight"},
        {CLA(ZONE("a", 4294967295, ENDPOINT(1, "")), NOBODY("b", 1)), "endpoints[1].load_balancing_weight"},
        {"{\"policy\":{\"overprovisioning_factor\":0}}", "policy.overprovisioning_factor"},
        {"{\"policy\":{\"drop_overloads\":[{\"category\":\"a\",\"drop_percentage\":{\"numerator\":101}}]}}",
         "policy.drop_overloads[0].drop_percentage"},
    };
    mc_hosts *before = hosts_of(CLA(GROUP(0, ENDPOINT(1, WEIGHT(7)))), &PLAIN, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mc_hosts *hosts = NULL;
        mc_error error = {{0}, {0}};
        CHECK_INT(try_hosts(cases[i].json, &ring, before, &hosts, &error), MC_EINVAL);
        CHECK_SLICE(mc_slice_cstr(error.path), cases[i].path);
        CHECK_INT(mc_hosts_at(before, 0)->weight, 7);
    }
    mc_hosts_unref(before);
}

TEST(sums_of_weights_matter_to_tables_alone) {
    const mc_lb_config ring = config_of("{\"lb_policy\":\"RING_HASH\"}");
    mc_hosts_unref(hosts_of(CLA(ZONE("a", 4294967295, ENDPOINT(1, WEIGHT(4294967295))),
                                ZONE("b", 4294967295, ENDPOINT(2, WEIGHT(4294967295)))),
                            &PLAIN, NULL));
    /* One locality, whose last weight counts. */
    mc_hosts *hosts =
        hosts_of(CLA(ZONE("a", 4294967295, ENDPOINT(1, "")), ZONE("a", 4294967294, ENDPOINT(2, "")), NOBODY("a", 3)),
                 &ring, NULL);
    CHECK_INT(hosts->sets[0]->localities[0].weight, 3);
    mc_hosts_unref(hosts);
}

TEST(configuration_of_a_cluster) {
    mc_lb_config c = config_of("{}");
    CHECK_INT(c.policy, MC_LB_ROUND_ROBIN);
    CHECK_INT(c.panic_threshold, 50);
    CHECK_U64(c.ring_min, 1024);
    CHECK_U64(c.maglev_size, 65537);
    CHECK_INT(c.choice_count, 2);
    c = config_of("{\"common_lb_config\":{\"healthy_panic_threshold\":{\"value\":29.0}}}");
    CHECK_INT(c.panic_threshold, 28); /* C-1 */
    c = config_of("{\"lb_policy\":\"LEAST_REQUEST\",\"least_request_lb_config\":{\"choice_count\":5,"
                  "\"active_request_bias\":{\"default_value\":-1.0,\"runtime_key\":\"k\"}}}");
    CHECK_INT(c.choice_count, 5);
    CHECK(c.active_request_bias == 1.0);
    c = config_of("{\"lb_policy\":\"LEAST_REQUEST\",\"least_request_lb_config\":{\"active_request_bias\":{"
                  "\"runtime_key\":\"k\"}}}");
    CHECK(c.active_request_bias == 0.0);
    c = config_of(
        "{\"type\":\"STRICT_DNS\",\"lb_policy\":\"RING_HASH\",\"ring_hash_lb_config\":{\"minimum_ring_size\":\"10\","
        "\"hash_function\":\"MURMUR_HASH_2\"},\"common_lb_config\":{\"consistent_hashing_lb_config\":{"
        "\"use_hostname_for_hashing\":true,\"hash_balance_factor\":150}}}");
    CHECK(c.policy == MC_LB_RING_HASH && c.ring_murmur && c.ring_min == 10 && c.hostname_hash_key);
    CHECK_INT(c.hash_balance_factor, 150);
}

#define TYPED(type, more)                                                                                              \
    "{\"typed_extension_config\":{\"typed_config\":{\"@type\":\"type.googleapis.com/" type "\"" more "}}}"
#define POLICY(type) TYPED(type, "")
#define EXTENSIONS   "envoy.extensions.load_balancing_policies."
#define ROUND_ROBIN  POLICY(EXTENSIONS "round_robin.v3.RoundRobin")
#define WRR_LOCALITY                                                                                                   \
    TYPED(EXTENSIONS "wrr_locality.v3.WrrLocality", ",\"endpoint_picking_policy\":{\"policies\":[" ROUND_ROBIN "]}")

TEST(the_first_policy_that_is_known_counts) {
    const mc_lb_config c = config_of("{\"load_balancing_policy\":{\"policies\":[{}," POLICY(
        "xds.type.v3.TypedStruct") "," POLICY(EXTENSIONS "random.v3.Random") "," ROUND_ROBIN "]}}");
    CHECK_INT(c.policy, MC_LB_RANDOM);
}

TEST(configuration_errors_name_the_field) {
    static const struct {
        const char *json, *path;
    } cases[] = {
        {"{\"lb_policy\":\"CLUSTER_PROVIDED\"}", "lb_policy"},
        {"{\"lb_policy\":\"MAGLEV\",\"maglev_lb_config\":{\"table_size\":\"65536\"}}", "maglev_lb_config.table_size"},
        {"{\"lb_policy\":\"RING_HASH\",\"ring_hash_lb_config\":{\"maximum_ring_size\":\"10\"}}",
         "ring_hash_lb_config.maximum_ring_size"},
        {"{\"lb_policy\":\"LEAST_REQUEST\",\"least_request_lb_config\":{\"choice_count\":1}}",
         "least_request_lb_config.choice_count"},
        {"{\"common_lb_config\":{\"consistent_hashing_lb_config\":{\"hash_balance_factor\":99}}}",
         "common_lb_config.consistent_hashing_lb_config.hash_balance_factor"},
        {"{\"common_lb_config\":{\"healthy_panic_threshold\":{\"value\":101}}}",
         "common_lb_config.healthy_panic_threshold"},
        {"{\"common_lb_config\":{\"consistent_hashing_lb_config\":{\"use_hostname_for_hashing\":true}}}",
         "common_lb_config.consistent_hashing_lb_config.use_hostname_for_hashing"},
        {"{\"type\":\"ORIGINAL_DST\"}", "lb_policy"},
        {"{\"type\":\"ORIGINAL_DST\",\"lb_policy\":\"CLUSTER_PROVIDED\",\"lb_subset_config\":{}}", "lb_subset_config"},
        {"{\"load_balancing_policy\":{}}", "load_balancing_policy.policies"},
        {"{\"load_balancing_policy\":{\"policies\":[" POLICY("my.Own") "]}}", "load_balancing_policy.policies"},
        {"{\"load_balancing_policy\":{\"policies\":[" POLICY("my.Own") ",{\"typed_extension_config\":{}}]}}",
         "load_balancing_policy.policies[1].typed_extension_config.typed_config"},
        {"{\"load_balancing_policy\":{\"policies\":[" WRR_LOCALITY "]}}",
         "load_balancing_policy.policies[0].typed_extension_config.typed_config.endpoint_picking_policy"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mc_arena arena;
        mc_error error = {{0}, {0}};
        mc_lb_config config;
        mc_arena_init(&arena, NULL);
        CHECK_INT(mc_lb_config_compile(parse(&arena, cases[i].json), NULL, &config, &error), MC_EINVAL);
        CHECK_SLICE(mc_slice_cstr(error.path), cases[i].path);
        mc_arena_fini(&arena);
    }
}
