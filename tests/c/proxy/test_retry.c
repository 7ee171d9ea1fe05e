/* Retries: every condition against every outcome, budgets of tries, and the waits between them. */
#include "base/value.h"
#include "proxy/retry.h"

#include "../test.h"

/* --- a cluster and a request to try with ------------------------------------------------------------------------------- */

static mc_stats *stats;
static mc_slab *slab;
static mc_cluster *cluster;
static mc_arena arena;
static mc_random generator;
static mc_headers request, response;

static const mc_value *parse(const char *json) {
    const mc_value *value;
    mc_error error;
    CHECK_INT(mc_value_parse(&arena, mc_slice_cstr(json), &value, &error), MC_OK);
    return value;
}

static void begin(void) {
    mc_error error = {0};
    mc_arena_init(&arena, NULL);
    stats = mc_stats_new();
    slab = mc_slab_open(stats);
    CHECK_INT(mc_cluster_compile(parse("{\"name\":\"web\"}"), NULL, 1, 0, stats, &cluster, &error), MC_OK);
    mc_random_seed(&generator, 7);
    mc_headers_init(&request, &arena);
    mc_headers_init(&response, &arena);
}

static void end(void) {
    mc_cluster_unref(cluster);
    mc_slab_close(slab);
    mc_stats_unref(stats);
    mc_arena_fini(&arena);
}

static uint64_t counted(const char *name) {
    char full[96];
    snprintf(full, sizeof full, "cluster.web.%s", name);
    return mc_stats_value(stats, mc_stats_find(stats, MC_COUNTER, mc_slice_cstr(full)));
}

static void set(mc_headers *headers, const char *name, const char *value) {
    CHECK_INT(mc_headers_add(headers, mc_slice_cstr(name), mc_slice_cstr(value)), MC_OK);
}

static mc_retry start(const mc_retry_policy *policy) {
    mc_retry retry;
    mc_retry_init(&retry, &(mc_retry_context){.policy = policy, .random = &generator, .cluster = cluster, .slab = slab},
                  &request);
    return retry;
}

static mc_retry_policy policy_on(const char *on) {
    return (mc_retry_policy){.retry_on = mc_retry_on_parse(mc_slice_cstr(on), NULL),
                             .num_retries = 1,
                             .base_interval_ms = 25,
                             .max_interval_ms = 250,
                             .default_back_off = true};
}

/* --- what is retried ------------------------------------------------------------------------------------------------------ */

typedef struct outcome {
    const char *label;
    uint16_t status;
    const char *header, *value; /* of the response; NULL: none */
} outcome;

static const outcome outcomes[] = {
    {"200", 200, NULL, NULL},
    {"409", 409, NULL, NULL},
    {"418", 418, NULL, NULL},
    {"429", 429, NULL, NULL},
    {"500", 500, NULL, NULL},
    {"501", 501, NULL, NULL},
    {"502", 502, NULL, NULL},
    {"503", 503, NULL, NULL},
    {"504", 504, NULL, NULL},
    {"505", 505, NULL, NULL},
    {"limited 503", 503, "x-envoy-ratelimited", "true"},
    {"limited 200", 200, "x-envoy-ratelimited", "true"},
    {"marked", 200, "x-again", "1"},
    {"grpc 0", 200, "grpc-status", "0"},
    {"grpc 1", 200, "grpc-status", "1"},
    {"grpc 4", 200, "grpc-status", "4"},
    {"grpc 8", 200, "grpc-status", "8"},
    {"grpc 13", 200, "grpc-status", "13"},
    {"grpc 14", 200, "grpc-status", "14"},
    {"grpc nonsense", 200, "grpc-status", "x"},
};
enum { OUTCOMES = sizeof outcomes / sizeof outcomes[0] };

/* By condition: the outcomes it retries, in the order above. */
static const struct {
    const char *on, *retried;
} by_response[] = {
    {"5xx", "....xxxxxx.........."},
    {"gateway-error", "......xxx..........."},
    {"connect-failure", "...................."},
    {"reset", "...................."},
    {"reset-before-request", "...................."},
    {"refused-stream", "...................."},
    {"retriable-4xx", ".x.................."},
    {"retriable-status-codes", "..x................."},
    {"retriable-headers", "............x......."},
    {"envoy-ratelimited", "..........xx........"},
    {"http3-post-connect-failure", "...................."},
    {"cancelled", "..............x....."},
    {"deadline-exceeded", "...............x...."},
    {"resource-exhausted", "................x..."},
    {"internal", ".................x.."},
    {"unavailable", "..................x."},
    {"5xx,retriable-4xx,unavailable", ".x..xxxxxx........x."},
    {" 5xx , nonsense", "....xxxxxx.........."},
    {"", "...................."},
};

TEST(every_condition_meets_every_response) { /* RF-21, RF-22 */
    for (size_t k = 0; k < sizeof by_response / sizeof by_response[0]; k++) {
        for (size_t i = 0; i < OUTCOMES; i++) {
            static const uint16_t codes[] = {418};
            begin();
            mc_retry_policy policy = policy_on(by_response[k].on);
            policy.retriable_status_codes = codes;
            policy.retriable_status_count = 1;
            set(&request, "x-envoy-retriable-header-names", "x-other, x-again");
            mc_retry retry = start(&policy);
            mc_retry_remove_headers(&request);
            CHECK(mc_headers_get(&request, MC_SLICE("x-envoy-retriable-header-names")).p == NULL);
            if (outcomes[i].header != NULL) {
                set(&response, outcomes[i].header, outcomes[i].value);
            }
            const bool expected = by_response[k].retried[i] == 'x';
            const bool got = mc_retry_response(&retry, outcomes[i].status, &response, 0) == MC_RETRY_YES;
            if (got != expected) {
                fprintf(stderr, "%s meets %s: %d\n", by_response[k].on, outcomes[i].label, got);
            }
            CHECK_INT(got, expected && policy.retry_on != 0);
            mc_retry_stop(&retry);
            end();
        }
    }
}

/* Resets in their order; the second line is for a request that was not sent yet. */
static const struct {
    const char *on, *sent, *unsent;
} by_reset[] = {
    {"5xx", "xxxxx.xx", "xxxxx.xx"},
    {"gateway-error", "xxxxx.xx", "xxxxx.xx"},
    {"reset", "xxxxx.xx", "xxxxx.xx"},
    {"reset-before-request", "........", "xxxxx.xx"},
    {"connect-failure", "xxx.....", "xxx....."},
    {"retriable-4xx", "........", "........"},
    {"retriable-headers", "........", "........"},
    {"refused-stream", "........", "........"},
    {"unavailable", "........", "........"},
};

TEST(every_condition_meets_every_reset) { /* RF-21, RF-31 */
    for (size_t k = 0; k < sizeof by_reset / sizeof by_reset[0]; k++) {
        for (int reason = MC_RESET_LOCAL_CONNECTION_FAILURE; reason <= MC_RESET_PROTOCOL_ERROR; reason++) {
            for (int sent = 0; sent < 2; sent++) {
                begin();
                mc_retry_policy policy = policy_on(by_reset[k].on);
                mc_retry retry = start(&policy);
                const bool expected = (sent ? by_reset[k].sent : by_reset[k].unsent)[reason] == 'x';
                CHECK_INT(mc_retry_reset(&retry, (mc_reset_reason)reason, sent) == MC_RETRY_YES, expected);
                mc_retry_stop(&retry);
                end();
            }
        }
    }
}

TEST(headers_add_to_the_policy) { /* RF-20, RF-21 */
    begin();
    mc_retry_policy policy = policy_on("retriable-4xx");
    set(&request, "x-envoy-retry-on", "gateway-error,cancelled");
    set(&request, "x-envoy-retry-grpc-on", "unavailable,5xx");
    set(&request, "x-envoy-max-retries", "3");
    set(&request, "x-envoy-retriable-status-codes", "418, 419");
    mc_retry retry = start(&policy);
    CHECK_INT(retry.on, MC_RETRY_ON_RETRIABLE_4XX | MC_RETRY_ON_GATEWAY_ERROR | MC_RETRY_ON_UNAVAILABLE);
    CHECK_INT(retry.remaining, 3);
    mc_retry_remove_headers(&request);
    CHECK_INT(request.live, 0);
    CHECK(!mc_retry_wants_response(&retry, 418, &response)); /* without retriable-status-codes */
    mc_retry_stop(&retry);
    set(&request, "x-envoy-retry-on", "retriable-status-codes");
    set(&request, "x-envoy-retriable-status-codes", "418, 419");
    set(&request, "x-envoy-max-retries", "many");
    retry = start(NULL);
    CHECK_INT(retry.remaining, 1);
    CHECK(mc_retry_wants_response(&retry, 419, &response));
    mc_retry_stop(&retry);
    mc_retry_remove_headers(&request);
    retry = start(NULL);
    CHECK(!retry.configured);
    end();
}

TEST(too_early_is_tried_again_at_once) { /* RF-21 */
    static const uint16_t codes[] = {425};
    begin();
    mc_retry_policy policy = policy_on("retriable-status-codes");
    policy.retriable_status_codes = codes;
    policy.retriable_status_count = 1;
    mc_retry retry = start(&policy);
    CHECK_INT(mc_retry_response(&retry, 425, &response, 0), MC_RETRY_YES);
    CHECK_U64(mc_retry_wait_ms(&retry, &generator), 0);
    mc_retry_begins(&retry);
    CHECK_U64(counted("upstream_rq_retry_backoff_exponential"), 0);
    mc_retry_stop(&retry);
    set(&request, "early-data", "1");
    retry = start(&policy);
    CHECK_INT(mc_retry_response(&retry, 425, &response, 0), MC_RETRY_NO);
    end();
}

/* --- how often --------------------------------------------------------------------------------------------------------------- */

TEST(tries_are_spent_in_order) { /* RF-23 */
    begin();
    mc_retry_policy policy = policy_on("5xx");
    policy.num_retries = 2;
    mc_retry retry = start(&policy);
    CHECK_INT(mc_retry_response(&retry, 500, &response, 0), MC_RETRY_YES);
    CHECK_INT(cluster->breakers[MC_PRIORITY_DEFAULT].retries.count, 1);
    CHECK_U64(counted("upstream_rq_retry"), 0); /* not before its wait is over */
    mc_retry_begins(&retry);
    CHECK_INT(mc_retry_reset(&retry, MC_RESET_REMOTE_RESET, true), MC_RETRY_YES);
    mc_retry_begins(&retry);
    CHECK_INT(cluster->breakers[MC_PRIORITY_DEFAULT].retries.count, 1);
    CHECK_INT(mc_retry_response(&retry, 500, &response, 0), MC_RETRY_LIMIT);
    mc_retry_stop(&retry);
    CHECK_INT(cluster->breakers[MC_PRIORITY_DEFAULT].retries.count, 0);
    CHECK_U64(counted("upstream_rq_retry"), 2);
    CHECK_U64(counted("upstream_rq_retry_limit_exceeded"), 1);
    CHECK_U64(counted("upstream_rq_retry_success"), 0);
    end();
}

TEST(the_end_of_retries_counts_as_success) {
    begin();
    mc_retry_policy policy = policy_on("connect-failure");
    policy.num_retries = 5;
    mc_retry retry = start(&policy);
    CHECK_INT(mc_retry_response(&retry, 200, &response, 0), MC_RETRY_NO);
    CHECK_U64(counted("upstream_rq_retry_success"), 0); /* nothing was retried yet */
    CHECK_INT(mc_retry_reset(&retry, MC_RESET_CONNECTION_TIMEOUT, false), MC_RETRY_YES);
    CHECK_INT(mc_retry_response(&retry, 200, &response, 0), MC_RETRY_NO);
    CHECK_U64(counted("upstream_rq_retry_success"), 1);
    CHECK_INT(mc_retry_reset(&retry, MC_RESET_CONNECTION_TIMEOUT, false), MC_RETRY_YES);
    CHECK_INT(mc_retry_reset(&retry, MC_RESET_REMOTE_RESET, true), MC_RETRY_NO); /* as Envoy sees it */
    CHECK_U64(counted("upstream_rq_retry_success"), 2);
    end();
}

TEST(a_full_breaker_refuses) { /* RF-23, CB-8 */
    begin();
    mc_retry_policy policy = policy_on("5xx");
    policy.num_retries = 9;
    mc_retry first[4];
    for (int i = 0; i < 3; i++) {
        first[i] = start(&policy);
        CHECK_INT(mc_retry_response(&first[i], 500, &response, 0), MC_RETRY_YES);
    }
    first[3] = start(&policy);
    CHECK_INT(mc_retry_response(&first[3], 500, &response, 0), MC_RETRY_OVERFLOW);
    CHECK_INT(first[3].remaining, 8); /* spent before the breaker is asked */
    CHECK_U64(counted("upstream_rq_retry_overflow"), 1);
    for (int i = 0; i < 4; i++) {
        mc_retry_stop(&first[i]);
    }
    CHECK_INT(cluster->breakers[MC_PRIORITY_DEFAULT].retries.count, 0);
    end();
}

TEST(the_runtime_turns_retries_off) { /* RF-23 */
    begin();
    mc_runtime runtime;
    CHECK_INT(mc_runtime_init(&runtime, parse("{\"upstream.use_retry\":0,\"upstream.base_retry_backoff_ms\":1}")),
              MC_OK);
    mc_retry_policy policy = policy_on("5xx");
    mc_retry retry;
    mc_retry_init(&retry,
                  &(mc_retry_context){
                      .policy = &policy, .runtime = &runtime, .random = &generator, .cluster = cluster, .slab = slab},
                  &request);
    CHECK_INT(mc_retry_response(&retry, 500, &response, 0), MC_RETRY_NO);
    CHECK_U64(counted("upstream_rq_retry"), 0);
    CHECK_U64(retry.backoff.interval, 1);
    mc_runtime_fini(&runtime);
    end();
}

TEST(hedging_needs_no_condition) { /* RF-16 */
    begin();
    mc_retry_policy policy = policy_on("retriable-4xx");
    mc_retry retry = start(&policy);
    CHECK_INT(mc_retry_hedge(&retry), MC_RETRY_YES);
    CHECK_INT(mc_retry_hedge(&retry), MC_RETRY_LIMIT);
    CHECK_INT(mc_retry_response(&retry, 200, &response, 0), MC_RETRY_NO);
    CHECK_U64(counted("upstream_rq_retry_success"), 1);
    end();
}

/* --- waits ---------------------------------------------------------------------------------------------------------------------- */

TEST(waits_are_jittered_and_grow) { /* RF-24 */
    static const uint64_t intervals[] = {40, 80, 160, 320, 400, 400};
    begin();
    mc_retry_policy policy = policy_on("5xx");
    policy.default_back_off = false;
    policy.base_interval_ms = 40;
    policy.max_interval_ms = 400;
    mc_random same = generator;
    mc_retry retry = start(&policy);
    for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; i++) {
        const uint64_t draw = mc_random_next(&same);
        CHECK_U64(mc_retry_wait_ms(&retry, &generator), draw % intervals[i]);
        mc_retry_begins(&retry);
    }
    CHECK_U64(counted("upstream_rq_retry_backoff_exponential"), 6);
    end();
}

enum { NOW_S = 1000 };

static uint64_t wait_after(const mc_retry_policy *policy, const char *name, const char *value) {
    mc_headers_init(&response, &arena);
    set(&response, "x-other", "5");
    if (name != NULL) {
        set(&response, name, value);
    }
    mc_retry retry = start(policy);
    CHECK_INT(mc_retry_response(&retry, 503, &response, NOW_S * 1000 + 500), MC_RETRY_YES);
    uint64_t wait = mc_retry_wait_ms(&retry, &generator);
    mc_retry_begins(&retry);
    mc_retry_stop(&retry);
    return wait;
}

TEST(a_response_may_ask_for_a_wait) { /* RF-25 */
    static const mc_reset_header headers[] = {{MC_SLICE_INIT("retry-after"), false}, {MC_SLICE_INIT("x-reset"), true}};
    begin();
    mc_retry_policy policy = policy_on("5xx");
    policy.reset_headers = headers;
    policy.reset_header_count = 2;
    policy.reset_max_interval_ms = 300 * 1000;
    for (int i = 0; i < 50; i++) {
        uint64_t wait = wait_after(&policy, "retry-after", "10");
        CHECK(wait >= 10000 && wait < 15000);
        wait = wait_after(&policy, "x-reset", "1002");
        CHECK(wait >= 2000 && wait < 3000);
    }
    CHECK_U64(counted("upstream_rq_retry_backoff_ratelimited"), 100);
    static const char *const ignored[][2] = {{NULL, NULL},          {"retry-after", "301"}, {"retry-after", "soon"},
                                             {"retry-after", "-1"}, {"retry-after", "0"},   {"x-reset", "999"},
                                             {"x-reset", "1000"},   {"x-reset", "1301"}};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
        CHECK(wait_after(&policy, ignored[i][0], ignored[i][1]) < 25);
    }
    CHECK_U64(counted("upstream_rq_retry_backoff_ratelimited"), 100);
    CHECK(wait_after(&policy, "retry-after", "300") >= 300000);
    end();
}
