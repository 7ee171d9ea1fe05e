#include "health/outlier.h"

#include "lb/fixture.h"

static mc_outlier_config outlier_config(const char *json) {
    mc_arena arena;
    mc_error error = {{0}, {0}};
    mc_outlier_config config;
    mc_arena_init(&arena, NULL);
    mc_status status = mc_outlier_config_compile(parse(&arena, json), &config, &error);
    mc_arena_fini(&arena);
    CHECK_INT(status, MC_OK);
    return config;
}

/* --- the workers' half ------------------------------------------------------------------------------------- */

enum { GATEWAY = 1u << MC_OUTLIER_CONSECUTIVE_GATEWAY_FAILURE };
enum { FIVE_XX = 1u << MC_OUTLIER_CONSECUTIVE_5XX };
enum { LOCAL = 1u << MC_OUTLIER_CONSECUTIVE_LOCAL_ORIGIN_FAILURE };

typedef struct step {
    mc_outlier_event event;
    unsigned code;
    unsigned reports;
} step;

static void run(const char *json, const step *steps, size_t count, mc_outlier_host *host) {
    mc_outlier_config config = outlier_config(json);
    memset(host, 0, sizeof *host);
    for (size_t i = 0; i < count; i++) {
        CHECK_INT(mc_outlier_put(host, &config, steps[i].event, steps[i].code), steps[i].reports);
    }
}

#define RUN(host, json, ...)                                                                                           \
    do {                                                                                                               \
        static const step steps_[] = {__VA_ARGS__};                                                                    \
        run(json, steps_, sizeof steps_ / sizeof *steps_, host);                                                       \
    } while (0)

#define OK_200     {MC_OUTLIER_REQUEST_SUCCESS, 200, 0}
#define FAIL(c, r) {MC_OUTLIER_REQUEST_FAILED, c, r}

TEST(consecutive_5xx_reports_on_equality_only) {
    mc_outlier_host host;
    RUN(&host, "{\"consecutive_5xx\":3}", FAIL(500, 0), FAIL(500, 0), FAIL(500, FIVE_XX), FAIL(500, 0), OK_200,
        FAIL(500, 0), FAIL(501, 0), FAIL(599, FIVE_XX));
    CHECK_INT(host.external.total, 8);
    CHECK_INT(host.external.success, 1);
    CHECK_INT(host.consecutive_5xx, 3);
}

TEST(gateway_failures_count_for_both) {
    mc_outlier_host host;
    RUN(&host, "{\"consecutive_5xx\":4,\"consecutive_gateway_failure\":2}", FAIL(503, 0), FAIL(502, GATEWAY),
        FAIL(500, 0), FAIL(504, FIVE_XX), FAIL(503, GATEWAY), FAIL(600, 0));
    CHECK_INT(host.consecutive_gateway, 0);
    CHECK_INT(host.consecutive_5xx, 0);
}

TEST(both_at_once) {
    mc_outlier_host host;
    RUN(&host, "{\"consecutive_5xx\":2,\"consecutive_gateway_failure\":2}", FAIL(503, 0), FAIL(503, GATEWAY | FIVE_XX));
}

TEST(threshold_0_is_never_reached) {
    mc_outlier_host host;
    RUN(&host, "{\"consecutive_5xx\":0}", FAIL(500, 0), FAIL(500, 0));
}

TEST(events_without_a_code_have_one) {
    mc_outlier_host host;
    RUN(&host, "{\"consecutive_gateway_failure\":2,\"consecutive_5xx\":100}", {MC_OUTLIER_CONNECT_SUCCESS, 0, 0},
        {MC_OUTLIER_CONNECT_FAILED, 0, 0}, {MC_OUTLIER_TIMEOUT, 0, GATEWAY}, {MC_OUTLIER_REQUEST_FAILED, 0, 0},
        {MC_OUTLIER_CONNECT_FAILED, 0, 0}, {MC_OUTLIER_CONNECT_SUCCESS_FINAL, 0, 0});
    CHECK_INT(host.external.total, 5); /* plain connect success does not count */
    CHECK_INT(host.external.success, 1);
    CHECK_INT(host.consecutive_5xx, 0);
}

TEST(split_keeps_local_origin_apart) {
    mc_outlier_host host;
    RUN(&host,
        "{\"split_external_local_origin_errors\":true,\"consecutive_local_origin_failure\":2,\"consecutive_5xx\":2}",
        {MC_OUTLIER_TIMEOUT, 504, 0}, {MC_OUTLIER_CONNECT_FAILED, 0, LOCAL}, {MC_OUTLIER_CONNECT_SUCCESS, 0, 0},
        {MC_OUTLIER_CONNECT_FAILED, 0, 0}, {MC_OUTLIER_REQUEST_FAILED, 0, 0}, {MC_OUTLIER_REQUEST_FAILED, 500, FIVE_XX},
        {MC_OUTLIER_REQUEST_SUCCESS, 0, 0});
    CHECK_INT(host.local.total, 4);
    CHECK_INT(host.local.success, 1);
    CHECK_INT(host.consecutive_local, 1);
    CHECK_INT(host.external.total, 3);
    CHECK_INT(host.external.success, 1);
}

/* --- the control side's half ------------------------------------------------------------------------------- */

static const mc_lb_config PLAIN = {.policy = MC_LB_ROUND_ROBIN, .panic_threshold = 50};

typedef struct rig {
    mc_hosts *hosts;
    mc_outlier outlier;
    mc_outlier_stats stats;
    mc_stats *store;
    script draws, samples;
    mc_random random, sampling;
    int told[3];
    uint64_t since_ms; /* of the last action */
} rig;

static void on_action(void *ctx, mc_host *host, mc_outlier_action action, mc_outlier_type type, uint64_t since_ms) {
    ((rig *)ctx)->told[action]++;
    ((rig *)ctx)->since_ms = since_ms;
}

static mc_hosts *fleet(size_t first, size_t count, mc_hosts *previous) {
    char json[4096];
    size_t at = (size_t)snprintf(json, sizeof json, "{\"endpoints\":[{\"lb_endpoints\":[");
    for (size_t i = 0; i < count; i++) {
        at += (size_t)snprintf(json + at, sizeof json - at,
                               "%s{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.0.%zu\","
                               "\"port_value\":80}}}}",
                               i == 0 ? "" : ",", first + i);
    }
    snprintf(json + at, sizeof json - at, "]}]}");
    return hosts_of(json, &PLAIN, previous);
}

static void rig_init(rig *r, const char *json, size_t count) {
    mc_outlier_config config = outlier_config(json);
    memset(r, 0, sizeof *r);
    r->store = mc_stats_new();
    mc_outlier_stats_register(&r->stats, &config, r->store, MC_SLICE("c"), mc_slab_open(r->store));
    r->random = scripted(&r->draws);
    r->sampling = scripted(&r->samples);
    r->hosts = fleet(1, count, NULL);
    mc_outlier_init(&r->outlier, &config, &r->stats, &r->random, &r->sampling, on_action, r);
    CHECK_INT(mc_outlier_set_hosts(&r->outlier, r->hosts), MC_OK);
}

static void rig_fini(rig *r) {
    mc_outlier_fini(&r->outlier);
    CHECK_U64(mc_stats_value(r->store, r->stats.ejections_active), 0);
    mc_hosts_unref(r->hosts);
    mc_slab_close(r->stats.slab);
    mc_stats_unref(r->store);
}

static bool report(rig *r, size_t host, uint64_t now_ms) {
    return mc_outlier_report(&r->outlier, mc_hosts_at(r->hosts, host), MC_OUTLIER_CONSECUTIVE_5XX, now_ms);
}

static uint64_t stat(rig *r, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "cluster.c.outlier_detection.%s", name);
    mc_stat counter = mc_stats_find(r->store, MC_COUNTER, mc_slice_cstr(full));
    CHECK(counter != 0);
    return mc_stats_value(r->store, counter);
}

/* OD-7: 10 hosts at 10 %: one may go; 9 hosts: none. */
TEST(ejection_limit_has_no_rounding) {
    rig r;
    rig_init(&r, "{}", 10);
    mc_hosts_at(r.hosts, 0)->outlier->consecutive_5xx = 5;
    CHECK(report(&r, 0, 0));
    CHECK_INT(mc_host_health(mc_hosts_at(r.hosts, 0)), MC_UNHEALTHY);
    CHECK_INT(mc_hosts_at(r.hosts, 0)->outlier->consecutive_5xx, 0);
    CHECK(!report(&r, 1, 0));
    CHECK(!report(&r, 0, 0)); /* already out: ignored */
    CHECK_U64(stat(&r, "ejections_detected_consecutive_5xx"), 2);
    CHECK_U64(stat(&r, "ejections_enforced_consecutive_5xx"), 1);
    CHECK_U64(stat(&r, "ejections_enforced_total"), 1);
    CHECK_U64(stat(&r, "ejections_overflow"), 1);
    CHECK_U64(stat(&r, "ejections_consecutive_5xx"), 2);
    CHECK_U64(mc_stats_value(r.store, r.stats.ejections_active), 1);
    rig_fini(&r);
    rig_init(&r, "{}", 9);
    CHECK(!report(&r, 0, 0));
    rig_fini(&r);
    rig_init(&r, "{\"always_eject_one_host\":true}", 9);
    CHECK(report(&r, 0, 0));
    CHECK(!report(&r, 1, 0));
    rig_fini(&r);
}

TEST(enforcing_is_sampled) {
    static const uint64_t samples[] = {129, 130};
    rig r;
    rig_init(&r, "{\"enforcing_consecutive_5xx\":30,\"max_ejection_percent\":100}", 3);
    r.samples = (script){samples, 2, 0};
    CHECK(report(&r, 0, 0)); /* 29 < 30 */
    CHECK(!report(&r, 1, 0));
    CHECK_INT(r.samples.at, 2);
    CHECK_INT(r.told[MC_OUTLIER_EJECT], 1);
    CHECK_INT(r.told[MC_OUTLIER_WOULD_EJECT], 1);
    CHECK(!mc_outlier_report(&r.outlier, mc_hosts_at(r.hosts, 2), MC_OUTLIER_CONSECUTIVE_GATEWAY_FAILURE, 0));
    CHECK_INT(r.samples.at, 2); /* 0 %: no draw */
    CHECK_INT(r.draws.at, 1);   /* jitter of the enforced one */
    rig_fini(&r);
}

/* OD-8: by default 30, 60, ..., 270, 300, 300 seconds. */
TEST(ejection_times_grow_to_the_maximum) {
    static const struct {
        const char *json;
        uint64_t seconds[12];
        uint32_t last;
    } cases[] = {
        {"{\"max_ejection_percent\":100}", {30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300}, 11},
        {"{\"max_ejection_percent\":100,\"base_ejection_time\":\"45s\",\"max_ejection_time\":\"100s\"}",
         {45, 90, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100},
         4},
    };
    for (size_t c = 0; c < 2; c++) {
        rig r;
        uint64_t now = 5000;
        rig_init(&r, cases[c].json, 1);
        for (size_t i = 0; i < 12; i++) {
            CHECK(report(&r, 0, now));
            CHECK(!mc_outlier_tick(&r.outlier, now + cases[c].seconds[i] * 1000 - 1));
            now += cases[c].seconds[i] * 1000;
            CHECK(mc_outlier_tick(&r.outlier, now));
            CHECK_INT(mc_host_health(mc_hosts_at(r.hosts, 0)), MC_HEALTHY);
        }
        CHECK_INT(mc_hosts_at(r.hosts, 0)->outlier->ejection.multiplier, cases[c].last);
        CHECK_INT(mc_hosts_at(r.hosts, 0)->outlier->ejections, 12);
        CHECK_INT(r.told[MC_OUTLIER_UNEJECT], 12);
        rig_fini(&r);
    }
}

TEST(jitter_adds_to_the_time) {
    static const uint64_t draws[] = {1007};
    rig r;
    rig_init(&r, "{\"max_ejection_percent\":100,\"max_ejection_time_jitter\":\"1s\"}", 1);
    r.draws = (script){draws, 1, 0};
    CHECK(report(&r, 0, 0)); /* 1007 % 1001 */
    CHECK(!mc_outlier_tick(&r.outlier, 30005));
    CHECK(mc_outlier_tick(&r.outlier, 30006));
    rig_fini(&r);
}

/* OD-9. */
TEST(multiplier_decays_an_interval_after_the_return) {
    rig r;
    rig_init(&r, "{\"max_ejection_percent\":100}", 1);
    const mc_outlier_host *host = mc_hosts_at(r.hosts, 0)->outlier;
    CHECK(report(&r, 0, 0));
    CHECK(mc_outlier_tick(&r.outlier, 30000));
    CHECK(report(&r, 0, 31000));
    CHECK_U64(r.since_ms, 1000);
    CHECK_INT(host->ejection.multiplier, 2);
    CHECK(mc_outlier_tick(&r.outlier, 91000));
    CHECK_U64(r.since_ms, 60000);
    CHECK(!mc_outlier_tick(&r.outlier, 100999));
    CHECK_INT(host->ejection.multiplier, 2);
    mc_outlier_tick(&r.outlier, 101000);
    CHECK_INT(host->ejection.multiplier, 1);
    mc_outlier_tick(&r.outlier, 102000);
    mc_outlier_tick(&r.outlier, 103000);
    CHECK_INT(host->ejection.multiplier, 0);
    rig_fini(&r);
}

TEST(a_passed_check_lets_back) {
    rig r;
    rig_init(&r, "{\"max_ejection_percent\":100}", 2);
    mc_host *host = mc_hosts_at(r.hosts, 0);
    CHECK(!mc_outlier_check_passed(&r.outlier, host, 0));
    CHECK(report(&r, 0, 0));
    atomic_fetch_or(&host->health_flags, MC_FAILED_ACTIVE_HC);
    CHECK(!mc_outlier_check_passed(&r.outlier, host, 1));
    atomic_fetch_and(&host->health_flags, ~(uint32_t)MC_FAILED_ACTIVE_HC);
    CHECK(mc_outlier_check_passed(&r.outlier, host, 1));
    CHECK_INT(mc_host_health(host), MC_HEALTHY);
    rig_fini(&r);
}

static void set_bucket(rig *r, size_t host, uint32_t total, uint32_t success) {
    mc_outlier_host *state = mc_hosts_at(r->hosts, host)->outlier;
    state->external.total = total;
    state->external.success = success;
}

/* OD-12: rates 99 98 97 100 61: mean 91, deviation 15.0333, limit 62.4367. */
TEST(success_rate_ejects_what_is_far_below_the_mean) {
    static const uint32_t rates[] = {99, 98, 97, 100, 61};
    rig r;
    rig_init(&r, "{\"max_ejection_percent\":100}", 5);
    for (size_t i = 0; i < 5; i++) {
        set_bucket(&r, i, 100, rates[i]);
    }
    CHECK(mc_outlier_tick(&r.outlier, 10000));
    CHECK(r.outlier.success_rate_average[0] == 91.0);
    CHECK(r.outlier.success_rate_threshold[0] > 62.4366 && r.outlier.success_rate_threshold[0] < 62.4368);
    for (size_t i = 0; i < 5; i++) {
        CHECK_INT(mc_host_health(mc_hosts_at(r.hosts, i)), i == 4 ? MC_UNHEALTHY : MC_HEALTHY);
        CHECK(mc_hosts_at(r.hosts, i)->outlier->success_rate == rates[i]);
    }
    CHECK_U64(stat(&r, "ejections_enforced_success_rate"), 1);
    /* The buckets were emptied, so the next interval has nothing to say. */
    CHECK(!mc_outlier_tick(&r.outlier, 20000));
    CHECK(mc_hosts_at(r.hosts, 0)->outlier->success_rate == -1);
    CHECK(r.outlier.success_rate_average[0] == -1);
    rig_fini(&r);
}

TEST(success_rate_needs_hosts_and_volume) {
    rig r;
    rig_init(&r, "{\"max_ejection_percent\":100}", 5);
    for (size_t i = 0; i < 5; i++) {
        set_bucket(&r, i, i == 0 ? 99 : 100, i == 4 ? 0 : 99); /* host 0 has too little: four candidates */
    }
    CHECK(!mc_outlier_tick(&r.outlier, 10000));
    rig_fini(&r);
    rig_init(&r, "{\"max_ejection_percent\":100}", 4);
    for (size_t i = 0; i < 4; i++) {
        set_bucket(&r, i, 100, i == 3 ? 0 : 100);
    }
    CHECK(!mc_outlier_tick(&r.outlier, 10000));
    CHECK(mc_hosts_at(r.hosts, 0)->outlier->success_rate == -1); /* too few hosts: nothing is published */
    rig_fini(&r);
}

TEST(failure_percentage_ejects_at_the_threshold) {
    rig r;
    rig_init(&r,
             "{\"max_ejection_percent\":100,\"enforcing_success_rate\":0,\"enforcing_failure_percentage\":100,"
             "\"failure_percentage_minimum_hosts\":2}",
             5);
    set_bucket(&r, 0, 100, 15);
    set_bucket(&r, 1, 100, 16);
    set_bucket(&r, 2, 49, 0);
    CHECK(mc_outlier_tick(&r.outlier, 10000));
    CHECK_INT(mc_host_health(mc_hosts_at(r.hosts, 0)), MC_UNHEALTHY);
    CHECK_INT(mc_host_health(mc_hosts_at(r.hosts, 1)), MC_HEALTHY);
    CHECK_INT(mc_host_health(mc_hosts_at(r.hosts, 2)), MC_HEALTHY);
    rig_fini(&r);
}

/* OD-12: a host that both methods catch is counted twice. */
TEST(both_statistics_raise_the_count_twice) {
    rig r;
    rig_init(&r, "{\"max_ejection_percent\":100,\"enforcing_failure_percentage\":100}", 6);
    for (size_t i = 0; i < 6; i++) {
        set_bucket(&r, i, 100, i == 5 ? 10 : 100);
    }
    CHECK(mc_outlier_tick(&r.outlier, 10000));
    CHECK_U64(r.outlier.active, 2);
    CHECK_INT(mc_hosts_at(r.hosts, 5)->outlier->ejections, 2);
    rig_fini(&r);
}

TEST(membership_changes_keep_state_and_count) {
    rig r;
    rig_init(&r, "{\"max_ejection_percent\":100}", 3);
    CHECK(report(&r, 0, 0));
    CHECK(report(&r, 2, 0));
    mc_host *gone = mc_host_ref(mc_hosts_at(r.hosts, 0));
    mc_hosts *next = fleet(2, 3, r.hosts); /* 1 leaves, 4 joins */
    CHECK_INT(mc_outlier_set_hosts(&r.outlier, next), MC_OK);
    mc_hosts_unref(r.hosts);
    r.hosts = next;
    CHECK_U64(r.outlier.active, 1);
    CHECK(mc_hosts_at(r.hosts, 2)->outlier != NULL);
    CHECK(!mc_outlier_report(&r.outlier, gone, MC_OUTLIER_CONSECUTIVE_5XX, 0)); /* a late report of a stranger */
    CHECK_U64(stat(&r, "ejections_detected_consecutive_5xx"), 2);
    mc_host_unref(gone);
    CHECK(mc_outlier_tick(&r.outlier, 30000));
    CHECK_U64(r.outlier.active, 0);
    rig_fini(&r);
}

/* OD-13: no limit, times of its own, an uneject event. */
TEST(a_degraded_answer_marks_the_host) {
    rig r;
    mc_outlier_host other;
    RUN(&other, "{}", {MC_OUTLIER_REQUEST_DEGRADED, 200, 0});
    RUN(&other, "{\"detect_degraded_hosts\":true}", {MC_OUTLIER_REQUEST_DEGRADED, 200, 1u << MC_OUTLIER_DEGRADED});
    CHECK_INT(other.external.success, 1);
    rig_init(&r, "{\"detect_degraded_hosts\":true,\"max_ejection_percent\":0}", 1);
    mc_host *host = mc_hosts_at(r.hosts, 0);
    CHECK(mc_outlier_report(&r.outlier, host, MC_OUTLIER_DEGRADED, 1000));
    CHECK(!mc_outlier_report(&r.outlier, host, MC_OUTLIER_DEGRADED, 2000));
    CHECK_INT(mc_host_health(host), MC_DEGRADED);
    CHECK_U64(stat(&r, "ejections_detected_degradation"), 1);
    CHECK_U64(r.outlier.active, 0);
    CHECK_INT(host->outlier->ejections, 0);
    CHECK(!mc_outlier_tick(&r.outlier, 30999));
    CHECK(mc_outlier_tick(&r.outlier, 31000));
    CHECK_INT(mc_host_health(host), MC_HEALTHY);
    CHECK_INT(r.told[MC_OUTLIER_UNEJECT], 1);
    rig_fini(&r);
}

#define DEGREE(n)                                                                                                      \
    "{\"max_ejection_percent\":100,\"consecutive_5xx\":0,\"monitors\":[{\"name\":\"degree\",\"typed_config\":{"        \
    "\"@type\":\"type.googleapis.com/meshcore.HealthDegree\",\"threshold\":" #n "}}]}"
enum { DEGREE_BIT = 1u << MC_OUTLIER_HEALTH_DEGREE };

TEST(health_degree_rises_and_falls) {
    mc_outlier_host host;
    RUN(&host, DEGREE(3), FAIL(500, 0), FAIL(503, 0), OK_200, OK_200, OK_200, OK_200, FAIL(500, 0), FAIL(500, 0),
        OK_200, FAIL(500, 0), FAIL(500, DEGREE_BIT), FAIL(500, 0), {MC_OUTLIER_CONNECT_FAILED, 0, 0});
    CHECK_INT(host.degree, 3);
}

TEST(health_degree_above_a_threshold_that_became_smaller) {
    mc_outlier_host host = {.degree = 5};
    const mc_outlier_config config = outlier_config(DEGREE(3));
    CHECK_INT(mc_outlier_put(&host, &config, MC_OUTLIER_REQUEST_SUCCESS, 200), 0);
    CHECK_INT(mc_outlier_put(&host, &config, MC_OUTLIER_REQUEST_SUCCESS, 200), 0);
    CHECK_INT(host.degree, 3);
    host.degree = 5;
    CHECK_INT(mc_outlier_put(&host, &config, MC_OUTLIER_REQUEST_FAILED, 500), DEGREE_BIT);
    CHECK_INT(mc_outlier_put(&host, &config, MC_OUTLIER_REQUEST_FAILED, 500), 0);
}

TEST(health_degree_of_a_returning_host_is_one_below_the_threshold) {
    rig r;
    rig_init(&r, DEGREE(3), 2);
    mc_host *host = mc_hosts_at(r.hosts, 0);
    CHECK(mc_outlier_report(&r.outlier, host, MC_OUTLIER_HEALTH_DEGREE, 0));
    CHECK_INT(host->outlier->degree, 0);
    CHECK(mc_outlier_tick(&r.outlier, 30000));
    CHECK_INT(host->outlier->degree, 2);
    CHECK_INT(mc_outlier_put(host->outlier, &r.outlier.config, MC_OUTLIER_REQUEST_FAILED, 500), DEGREE_BIT);
    CHECK_U64(stat(&r, "ejections_enforced_health_degree"), 1);
    rig_fini(&r);
}

TEST(configuration) {
    mc_outlier_config c = outlier_config("{}");
    CHECK_U64(c.interval_ms, 10000);
    CHECK_U64(c.max_ms, 300000);
    CHECK_INT(c.enforcing[MC_OUTLIER_CONSECUTIVE_GATEWAY_FAILURE], 0);
    CHECK_INT(c.success_stdev, 1900);
    CHECK(c.check_unejects);
    c = outlier_config("{\"base_ejection_time\":\"400s\",\"interval\":\"0.5s\",\"enforcing_failure_percentage\":7}");
    CHECK_U64(c.max_ms, 400000);
    CHECK_U64(c.interval_ms, 500);
    CHECK_INT(c.enforcing[MC_OUTLIER_FAILURE_PERCENTAGE], 7);
    static const char *bad[] = {"{\"max_ejection_time\":\"1s\"}", "{\"max_ejection_percent\":101}",
                                "{\"enforcing_success_rate\":101}"};
    static const char *paths[] = {"max_ejection_time", "max_ejection_percent", "enforcing_success_rate"};
    for (size_t i = 0; i < 3; i++) {
        mc_arena arena;
        mc_error error = {{0}, {0}};
        mc_arena_init(&arena, NULL);
        CHECK_INT(mc_outlier_config_compile(parse(&arena, bad[i]), &c, &error), MC_EINVAL);
        CHECK_SLICE(mc_slice_cstr(error.path), paths[i]);
        mc_arena_fini(&arena);
    }
}
