#include "lb/lb.h"

#include "base/hash.h"
#include "fixture.h"

#define THREE_EQUAL    CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, ""), ENDPOINT(3, "")))
#define WEIGHTED_2_3_7 CLA(GROUP(0, ENDPOINT(1, WEIGHT(2)), ENDPOINT(2, WEIGHT(3)), ENDPOINT(3, WEIGHT(7))))

/* A balancer with all that it borrows. */
typedef struct rig {
    mc_lb_config config;
    mc_hosts *hosts;
    script draws;
    mc_random random;
    mc_lb *lb;
} rig;

static void rig_init(rig *r, const char *cluster, const char *assignment, const uint64_t *draws, size_t count) {
    r->config = config_of(cluster);
    r->hosts = hosts_of(assignment, &r->config, NULL);
    r->draws = (script){draws, count, 0};
    r->random = scripted(&r->draws);
    r->lb = mc_lb_new(&r->config, r->hosts, &r->random, 0, &NO_STATS);
    CHECK(r->lb != NULL);
}

static void rig_fini(rig *r) {
    mc_lb_free(r->lb);
    mc_hosts_unref(r->hosts);
}

/* Publishes another assignment to the rig's balancer. */
static void rig_update(rig *r, const char *assignment, uint64_t now_ms) {
    mc_hosts *next = hosts_of(assignment, &r->config, r->hosts);
    CHECK_INT(mc_lb_update(r->lb, next, now_ms), MC_OK);
    mc_hosts_unref(r->hosts);
    r->hosts = next;
}

static void rig_refresh(rig *r, uint64_t now_ms) {
    mc_hosts *next = NULL;
    CHECK_INT(mc_hosts_refresh(r->hosts, &next), MC_OK);
    CHECK_INT(mc_lb_update(r->lb, next, now_ms), MC_OK);
    mc_hosts_unref(r->hosts);
    r->hosts = next;
}

static mc_host *host(rig *r, int number) {
    char text[32];
    snprintf(text, sizeof text, "10.0.0.%d:80", number);
    return mc_hosts_find(r->hosts, mc_slice_cstr(text));
}

#define RIG(r, cluster, assignment, ...)                                                                               \
    static const uint64_t r##_draws[] = {__VA_ARGS__};                                                                 \
    rig r;                                                                                                             \
    rig_init(&r, cluster, assignment, r##_draws, sizeof r##_draws / sizeof *r##_draws)

TEST(round_robin_starts_at_the_seed) {
    RIG(r, "{}", THREE_EQUAL, 4);
    CHECK_PICKS(r.lb, 2, 3, 1, 2);
    CHECK_INT(r.draws.at, 1 + 4); /* seed, then one draw a pick for the priority */
    rig_fini(&r);
}

TEST(round_robin_cursor_survives_an_update) {
    RIG(r, "{}", THREE_EQUAL, 0);
    CHECK_PICKS(r.lb, 1, 2);
    rig_update(&r, CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, ""), ENDPOINT(3, ""), ENDPOINT(4, ""))), 0);
    CHECK_PICKS(r.lb, 3, 4, 1);
    rig_fini(&r);
}

TEST(weighted_round_robin_of_rule_ed_3) {
    RIG(r, "{}", WEIGHTED_2_3_7, 5);
    CHECK_PICKS(r.lb, 3, 2, 3, 3, 1, 2, 3);
    rig_fini(&r);
}

TEST(an_unchanged_priority_keeps_its_scheduler) {
    RIG(r, "{}", WEIGHTED_2_3_7, 5);
    CHECK_PICKS(r.lb, 3, 2, 3);
    rig_update(&r, WEIGHTED_2_3_7, 0);
    CHECK_PICKS(r.lb, 3, 1, 2, 3);
    rig_update(&r, CLA(GROUP(0, ENDPOINT(1, WEIGHT(2)), ENDPOINT(2, WEIGHT(3)), ENDPOINT(3, WEIGHT(8)))), 0);
    rig_update(&r, WEIGHTED_2_3_7, 0);
    CHECK_PICKS(r.lb, 3, 2, 3, 3, 1, 2, 3); /* rebuilt with the same seed */
    rig_fini(&r);
}

TEST(random_uses_one_draw_for_priority_and_host) {
    RIG(r, "{\"lb_policy\":\"RANDOM\"}", THREE_EQUAL, 0, 1, 5, 99);
    CHECK_PICKS(r.lb, 1, 2, 3, 1);
    CHECK_INT(r.draws.at, 4);
    rig_fini(&r);
}

TEST(least_request_prefers_strictly_fewer) {
    /* seed; then per pick: priority, two choices */
    RIG(r, "{\"lb_policy\":\"LEAST_REQUEST\"}", THREE_EQUAL, 9, 0, 0, 1, 0, 1, 2, 0, 2, 1, 0, 1, 1);
    host(&r, 1)->rq_active = 5;
    host(&r, 2)->rq_active = 3;
    host(&r, 3)->rq_active = 3;
    CHECK_PICKS(r.lb, 2, 2, 3, 2);
    CHECK_INT(r.draws.at, 13);
    rig_fini(&r);
}

TEST(least_request_full_scan_breaks_ties_by_draw) {
    RIG(r,
        "{\"load_balancing_policy\":{\"policies\":[{\"typed_extension_config\":{\"name\":\"x\",\"typed_"
        "config\":{"
        "\"@type\":\"type.googleapis.com/"
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest\","
        "\"selection_method\":\"FULL_SCAN\"}}}]}}",
        THREE_EQUAL, 9, 0, 1, 0, 0, 1, 1, 0, 0);
    CHECK_PICKS(r.lb, 3, 1); /* 1 % 2: stay, 0 % 3: replace; then 1 % 2, 1 % 3: stay */
    host(&r, 1)->rq_active = 1;
    CHECK_PICKS(r.lb, 3); /* 2 replaces without a draw, 3 ties: 0 % 2 */
    CHECK_INT(r.draws.at, 9);
    rig_fini(&r);
}

TEST(weighted_least_request_weighs_activity) {
    RIG(r, "{\"lb_policy\":\"LEAST_REQUEST\"}", CLA(GROUP(0, ENDPOINT(1, WEIGHT(6)), ENDPOINT(2, WEIGHT(2)))), 0);
    host(&r, 1)->rq_active = 2; /* 6 / 3: as 2, from the next time it is put back */
    CHECK_PICKS(r.lb, 1, 2, 1, 2, 1, 2);
    host(&r, 1)->rq_active = 0;
    CHECK_PICKS(r.lb, 1, 1, 2, 1, 1, 1, 2);
    rig_fini(&r);
}

TEST(priority_follows_the_draw) {
    RIG(r, "{\"lb_policy\":\"RANDOM\"}",
        CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, STATUS(UNHEALTHY))), GROUP(1, ENDPOINT(3, ""), ENDPOINT(4, ""))), 69,
        70, 71, 171);
    CHECK_INT(mc_hosts_healthy(r.hosts), 3);
    CHECK_PICKS(r.lb, 1, 3, 4, 4); /* P0: 140 * 1 / 2 = 70 % */
    rig_fini(&r);
}

TEST(degraded_hosts_serve_the_degraded_share) {
    RIG(r, "{\"lb_policy\":\"RANDOM\"}",
        CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, STATUS(DEGRADED)), ENDPOINT(3, STATUS(DEGRADED)))), 45, 46, 47, 99);
    CHECK_INT(mc_hosts_degraded(r.hosts), 2);
    CHECK_PICKS(r.lb, 1, 2, 3, 3);
    rig_fini(&r);
}

TEST(panic_takes_all_hosts_and_counts) {
    static const char *assignment = CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, STATUS(UNHEALTHY)),
                                              ENDPOINT(3, STATUS(UNHEALTHY)), ENDPOINT(4, STATUS(TIMEOUT))));
    static const uint64_t draws[] = {0, 1, 2, 3};
    mc_stats *stats = mc_stats_new();
    mc_lb_stats counted = mc_lb_stats_of(stats, mc_slab_open(stats), MC_SLICE("c"));
    mc_lb_config config = config_of("{\"lb_policy\":\"RANDOM\"}");
    mc_hosts *hosts = hosts_of(assignment, &config, NULL);
    script s = {draws, 4, 0};
    mc_random random = scripted(&s);
    mc_lb *lb = mc_lb_new(&config, hosts, &random, 0, &counted);
    CHECK_PICKS(lb, 1, 2, 3, 4);
    CHECK_U64(mc_stats_value(stats, counted.lb_healthy_panic), 4);
    mc_lb_free(lb);
    mc_hosts_unref(hosts);
    mc_slab_close(counted.slab);
    mc_stats_unref(stats);
}

TEST(panic_may_fail_traffic) {
    RIG(r, "{\"common_lb_config\":{\"zone_aware_lb_config\":{\"fail_traffic_on_panic\":true}}}",
        CLA(GROUP(0, ENDPOINT(1, STATUS(UNHEALTHY)))), 0);
    CHECK_PICKS(r.lb, 0);
    rig_fini(&r);
}

TEST(without_a_threshold_nothing_is_found) {
    RIG(r, "{\"common_lb_config\":{\"healthy_panic_threshold\":{}}}", CLA(GROUP(0, ENDPOINT(1, STATUS(UNHEALTHY)))), 0);
    CHECK_PICKS(r.lb, 0);
    rig_fini(&r);
}

TEST(no_hosts_no_pick) {
    static const char *policies[] = {"ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV"};
    for (size_t i = 0; i < 5; i++) {
        char cluster[64];
        snprintf(cluster, sizeof cluster, "{\"lb_policy\":\"%s\"}", policies[i]);
        RIG(r, cluster, "{}", 0);
        CHECK_PICKS(r.lb, 0);
        CHECK_INT(mc_hosts_count(r.hosts), 0);
        rig_update(&r, THREE_EQUAL, 0);
        CHECK(pick(r.lb) != 0);
        rig_fini(&r);
    }
}

static bool refuse_all(void *ctx, const mc_host *host) {
    ++*(int *)ctx;
    return true;
}

TEST(refused_hosts_are_drawn_again_up_to_the_limit) {
    RIG(r, "{}", THREE_EQUAL, 0);
    int calls = 0;
    mc_lb_request request = {.attempts = 2, .refuse = refuse_all, .ctx = &calls};
    CHECK_INT(number_of(mc_lb_choose(r.lb, &request)), 3); /* the last one is used anyway */
    CHECK_INT(calls, 2);
    CHECK_INT(r.draws.at, 1 + 3);
    rig_fini(&r);
}

TEST(health_changes_take_effect_by_refresh) {
    RIG(r, "{}", THREE_EQUAL, 0);
    atomic_fetch_or(&host(&r, 2)->health_flags, MC_FAILED_OUTLIER_CHECK);
    CHECK_PICKS(r.lb, 1, 2);
    rig_refresh(&r, 0);
    CHECK_INT(mc_hosts_healthy(r.hosts), 2);
    CHECK_PICKS(r.lb, 1, 3, 1);
    atomic_fetch_and(&host(&r, 2)->health_flags, ~(uint32_t)MC_FAILED_OUTLIER_CHECK);
    rig_refresh(&r, 0);
    CHECK_PICKS(r.lb, 3, 1, 2);
    rig_fini(&r);
}

/* LO-2: zone a has 2.8 of 3, zone b 5 of 5 with two hosts of three healthy under 140 %. */
TEST(locality_weights_shrink_with_health) {
    RIG(r, "{\"lb_policy\":\"RANDOM\",\"common_lb_config\":{\"locality_weighted_lb_config\":{}}}",
        CLA(ZONE("b", 1, ENDPOINT(3, "")), ZONE("a", 3, ENDPOINT(1, ""), ENDPOINT(2, ""))), 0);
    int counts[4] = {0};
    for (int i = 0; i < 400; i++) {
        counts[pick(r.lb)]++;
    }
    CHECK_INT(counts[1] + counts[2], 300);
    CHECK_INT(counts[3], 100);
    CHECK_INT(r.draws.at, 1 + 400); /* the locality seed; random has no seed of its own */
    rig_fini(&r);
}

TEST(locality_seed_is_drawn_before_the_scheduler_seed) {
    RIG(r, "{\"common_lb_config\":{\"locality_weighted_lb_config\":{}}}",
        CLA(ZONE("a", 1, ENDPOINT(1, ""), ENDPOINT(2, ""), ENDPOINT(3, ""))), 1000, 1);
    CHECK_PICKS(r.lb, 2, 3, 1);
    rig_fini(&r);
}

TEST(slow_start_of_rule_ed_11) {
    RIG(r,
        "{\"round_robin_lb_config\":{\"slow_start_config\":{\"slow_start_window\":\"60s\",\"aggression\":{"
        "\"default_value\":2.0}}}}",
        CLA(GROUP(0, ENDPOINT(1, WEIGHT(8)), ENDPOINT(2, WEIGHT(8)))), 0);
    /* Both were seen first at 0 ms (stamped 1), so host 2 is moved 15 s into its window and host 1 past it. */
    host(&r, 1)->hc_pass_ms = 1;
    host(&r, 2)->hc_pass_ms = 50000;
    rig_update(&r, CLA(GROUP(0, ENDPOINT(1, WEIGHT(8)), ENDPOINT(2, WEIGHT(9)))), 60001);
    rig_update(&r, CLA(GROUP(0, ENDPOINT(1, WEIGHT(8)), ENDPOINT(2, WEIGHT(8)))), 65000);
    int counts[3] = {0};
    for (int i = 0; i < 300; i++) {
        mc_lb_request request = {.now_ms = 65000};
        counts[number_of(mc_lb_choose(r.lb, &request))]++;
    }
    CHECK_INT(counts[1], 200); /* 8 : 4 */
    CHECK_INT(counts[2], 100);
    rig_fini(&r);
}

#define RING    "{\"lb_policy\":\"RING_HASH\",\"ring_hash_lb_config\":{\"minimum_ring_size\":\"64\"}"
#define MAGLEV  "{\"lb_policy\":\"MAGLEV\",\"maglev_lb_config\":{\"table_size\":\"101\"}"
#define BOUNDED ",\"common_lb_config\":{\"consistent_hashing_lb_config\":{\"hash_balance_factor\":125}}}"

/* A host that leaves moves its own keys and few others (the ring gives the rest more points each, RH-4). */
TEST(keys_of_other_hosts_stay_when_one_leaves) {
    static const char *clusters[] = {RING "}", MAGLEV "}"};
    for (size_t c = 0; c < 2; c++) {
        RIG(r, clusters[c], THREE_EQUAL, 0);
        int before[1000], moved = 0, lost = 0;
        for (int i = 0; i < 1000; i++) {
            before[i] = pick_hash(r.lb, mc_xxh64(&i, sizeof i, 0));
        }
        atomic_fetch_or(&host(&r, 2)->health_flags, MC_FAILED_ACTIVE_HC);
        rig_refresh(&r, 0);
        for (int i = 0; i < 1000; i++) {
            int now = pick_hash(r.lb, mc_xxh64(&i, sizeof i, 0));
            CHECK(now == 1 || now == 3);
            lost += before[i] == 2;
            moved += before[i] != 2 && now != before[i];
        }
        CHECK(lost > 200);
        CHECK(moved <= 100);
        CHECK_INT(r.draws.at, 0);
        rig_fini(&r);
    }
}

TEST(hash_attempts_walk_on_without_draws) {
    RIG(r, RING "}", THREE_EQUAL, 0);
    int calls = 0;
    mc_lb_request request = {.has_hash = true, .hash = 77, .attempts = 40, .refuse = refuse_all, .ctx = &calls};
    CHECK(mc_lb_choose(r.lb, &request) != NULL);
    CHECK_INT(calls, 40);
    CHECK_INT(r.draws.at, 0);
    CHECK(pick(r.lb) != 0); /* no hash: one draw */
    CHECK_INT(r.draws.at, 1);
    rig_fini(&r);
}

TEST(metadata_hash_key_replaces_the_address) {
    static const char *keyed =
        CLA(GROUP(0, ENDPOINT(1, ",\"metadata\":{\"filter_metadata\":{\"envoy.lb\":{\"hash_key\":\"10.0.0.2:80\"}}}"),
                  ENDPOINT(2, ",\"metadata\":{\"filter_metadata\":{\"envoy.lb\":{\"hash_key\":\"10.0.0.1:80\"}}}")));
    RIG(plain, RING "}", CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, ""))), 0);
    RIG(swapped, RING "}", keyed, 0);
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t hash = mc_xxh64(&i, sizeof i, 0);
        CHECK_INT(pick_hash(plain.lb, hash) + pick_hash(swapped.lb, hash), 3);
    }
    rig_update(&plain, keyed, 0);
    CHECK_INT(pick_hash(plain.lb, 5), pick_hash(swapped.lb, 5));
    rig_fini(&plain);
    rig_fini(&swapped);
}

/* RH-9: probe order 0, 3, 1, 2 for "user-42" among four; slots 8 for 24 requests, factor 125, share 1/4. */
TEST(bounded_load_of_rule_rh_9) {
    RIG(r, RING BOUNDED, CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, ""), ENDPOINT(3, ""), ENDPOINT(4, ""))), 0);
    static const int order[] = {1, 4, 2, 3};
    mc_lb_request request = {.has_hash = true, .hash = mc_xxh64("user-42", 7, 0), .cluster_active = 23};
    int base = number_of(mc_lb_choose(r.lb, &request));
    host(&r, base)->rq_active = 8;
    CHECK_INT(number_of(mc_lb_choose(r.lb, &request)), base);
    host(&r, base)->rq_active = 9;
    for (size_t i = 0; i < 4; i++) {
        if (order[i] != base) {
            CHECK_INT(number_of(mc_lb_choose(r.lb, &request)), order[i]);
            host(&r, order[i])->rq_active = 20 - (uint32_t)i;
        }
    }
    CHECK_INT(number_of(mc_lb_choose(r.lb, &request)), base); /* 9 of 8 is the least */
    host(&r, base)->rq_active = 30;
    CHECK_INT(number_of(mc_lb_choose(r.lb, &request)), order[3] == base ? order[2] : order[3]);
    rig_fini(&r);
}

/* The nth allocation fails, for every n: an error, no leak, and the balancer as before. */
TEST(allocation_failures_leave_the_balancer_alone) {
    static const char *clusters[] = {"{}", MAGLEV "}", RING "}",
                                     "{\"common_lb_config\":{\"locality_weighted_lb_config\":{}}}"};
    static const char *next = CLA(ZONE("a", 1, ENDPOINT(1, WEIGHT(4)), ENDPOINT(3, "")),
                                  ZONE("b", 2,
                                       ENDPOINT(4, ",\"metadata\":{\"filter_metadata\":{\"envoy.lb\":{"
                                                   "\"hash_key\":\"k\"}}}")));
    for (size_t c = 0; c < sizeof clusters / sizeof *clusters; c++) {
        RIG(r, clusters[c], WEIGHTED_2_3_7, 0);
        mc_arena arena;
        mc_arena_init(&arena, NULL);
        const mc_value *value = parse(&arena, next);
        bool compiled = false;
        for (long n = 1; n < 1000; n++) {
            mc_hosts *hosts = NULL;
            mc_error error;
            mc_test_alloc_fail_at(n);
            mc_status status = mc_hosts_compile(value, &r.config, MC_SLICE("c"), NULL, r.hosts, &hosts, &error);
            if (status == MC_OK) {
                compiled = true;
                status = mc_lb_update(r.lb, hosts, 0);
                mc_test_alloc_fail_at(0);
                mc_hosts_unref(hosts);
            }
            mc_test_alloc_fail_at(0);
            CHECK(pick_hash(r.lb, 3) != 0);
            if (status == MC_OK) {
                break;
            }
            CHECK_INT(status, MC_ENOMEM);
            CHECK(pick_hash(r.lb, 3) != 4);
        }
        CHECK(compiled);
        make_without_memory(&r.config, r.hosts, &r.random);
        mc_arena_fini(&arena);
        rig_fini(&r);
    }
}
