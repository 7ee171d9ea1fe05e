/* Tries over virtual time: every limit, hedging, what is kept of a body, what is counted. */
#include "router_test.h"

#define POLICY(more)                                                                                                   \
    ",\"retry_policy\":{\"retry_on\":\"5xx\",\"retry_back_off\":{\"base_interval\":\"0.001s\"}" more "}"

/* --- time limits (RF-10 to RF-15) ----------------------------------------------------------------------------------------- */

TEST(the_limit_runs_from_the_end_of_the_request) { /* RF-14 */
    begin(ONE_HOST("", ",\"timeout\":\"1s\""));
    p.serve = silent;
    send_now("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab");
    pipeline_run(&p, 5000);
    CHECK_INT(received().n, 0);
    send_now("c");
    pipeline_run(&p, 990);
    CHECK_INT(received().n, 0);
    pipeline_run(&p, 20);
    mc_slice got = received();
    CHECK_HAS(got, "504 Gateway Timeout");
    CHECK_HAS(got, "upstream request timeout");
    CHECK_U64(web("upstream_rq_timeout"), 1);
    CHECK_U64(web("upstream_rq_504"), 1);
    CHECK_U64(web("external.upstream_rq_504"), 1);
    CHECK_U64(in_hcm("response_flags.UT"), 1);
    end();
}

TEST(the_limit_covers_all_tries) {
    begin(ONE_HOST("", ",\"timeout\":\"0.25s\"" POLICY(",\"num_retries\":9,\"per_try_timeout\":\"0.1s\"")));
    p.serve = silent;
    send_now(GET);
    pipeline_run(&p, 240);
    CHECK_INT(received().n, 0);
    CHECK_U64(web("upstream_rq_per_try_timeout"), 2);
    pipeline_run(&p, 30);
    CHECK_HAS(received(), "504");
    CHECK_U64(web("upstream_rq_timeout"), 1);
    CHECK_U64(web("upstream_rq_total"), 3);
    end();
}

TEST(a_limit_between_two_tries_is_no_upstreams) {
    begin(ONE_HOST("",
                   ",\"timeout\":\"1s\",\"retry_policy\":{\"retry_on\":\"5xx\",\"num_retries\":1,\"retry_back_off\":{"
                   "\"base_interval\":\"1000s\",\"max_interval\":\"1000s\"}}"));
    p.response = BAD;
    send_now(GET);
    pipeline_run(&p, 1100);
    CHECK_HAS(received(), "504");
    CHECK_U64(web("upstream_rq_timeout"), 0); /* no try was running */
    CHECK_U64(web("upstream_rq_504"), 0);
    CHECK_U64(in_hcm("response_flags.UT"), 1);
    end();
}

TEST(an_alternative_answer_to_a_timeout) { /* RF-14 */
    begin(ONE_HOST(INSIDE, ",\"timeout\":\"1s\""));
    p.serve = silent;
    send_now("GET / HTTP/1.1\r\nHost: h\r\n" INNER "x-envoy-upstream-rq-timeout-alt-response: x\r\n\r\n");
    CHECK(!contains(heard(0), "alt-response"));
    pipeline_run(&p, 1010);
    CHECK_HAS(received(), "204 No Content");
    CHECK_U64(web("internal.upstream_rq_204"), 1);
    end();
}

TEST(headers_set_the_limits) { /* RF-11 to RF-13 */
    static const struct {
        const char *headers, *told;
        uint64_t ends_ms; /* 0: never */
    } cases[] = {
        {"", "x-envoy-expected-rq-timeout-ms: 1000\r\n", 1000},
        {"x-envoy-upstream-rq-timeout-ms: 300\r\n", "x-envoy-expected-rq-timeout-ms: 300\r\n", 300},
        {"x-envoy-upstream-rq-timeout-ms: soon\r\n", "x-envoy-expected-rq-timeout-ms: 1000\r\n", 1000},
        {"x-envoy-upstream-rq-timeout-ms: 0\r\n", NULL, 0},
        {"x-envoy-upstream-rq-per-try-timeout-ms: 400\r\n", "x-envoy-expected-rq-timeout-ms: 400\r\n", 400},
        {"x-envoy-upstream-rq-per-try-timeout-ms: 1000\r\n", "x-envoy-expected-rq-timeout-ms: 1000\r\n", 1000},
        {"x-envoy-upstream-stream-duration-ms: 200\r\n", "x-envoy-expected-rq-timeout-ms: 1000\r\n", 200},
        {"x-envoy-expected-rq-timeout-ms: 5\r\n", "x-envoy-expected-rq-timeout-ms: 1000\r\n", 1000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char request[256];
        begin(ONE_HOST(INSIDE, ",\"timeout\":\"1s\""));
        p.serve = silent;
        snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\n" INNER "%s\r\n", cases[i].headers);
        send_now(request);
        mc_slice got = heard(0);
        CHECK(!contains(got, "x-envoy-upstream-"));
        if (cases[i].told == NULL) {
            CHECK(!contains(got, "expected-rq-timeout"));
        } else {
            CHECK_HAS(got, cases[i].told);
        }
        if (cases[i].ends_ms > 0) {
            pipeline_run(&p, cases[i].ends_ms - 5);
            CHECK_INT(received().n, 0);
            pipeline_run(&p, 10);
            CHECK_HAS(received(), "504");
        } else {
            pipeline_run(&p, 100 * 1000);
            CHECK_INT(received().n, 0);
        }
        end();
    }
}

TEST(grpc_sets_its_own_limit) { /* RF-10 */
    begin(ONE_HOST("", ",\"timeout\":\"9s\",\"max_grpc_timeout\":\"2s\",\"grpc_timeout_offset\":\"0.1s\""));
    p.serve = silent;
    send_now("GET / HTTP/1.1\r\nHost: h\r\ncontent-type: application/grpc\r\ngrpc-timeout: 1S\r\n\r\n");
    mc_slice got = heard(0);
    CHECK_HAS(got, "x-envoy-expected-rq-timeout-ms: 900\r\n");
    CHECK_HAS(got, "grpc-timeout: 900m\r\n");
    pipeline_run(&p, 910);
    got = received();
    CHECK_HAS(got, "200 OK");
    CHECK_HAS(got, "grpc-status: 14\r\n");
    send_now("GET / HTTP/1.1\r\nHost: h\r\ncontent-type: application/grpc\r\n\r\n");
    CHECK_HAS(heard(0), "x-envoy-expected-rq-timeout-ms: 2000\r\n"); /* infinite, capped */
    end();
}

TEST(a_try_that_falls_silent_is_given_up) { /* RF-14 */
    begin(ONE_HOST("", ",\"timeout\":\"0s\"" POLICY(",\"per_try_idle_timeout\":\"0.1s\"")));
    p.serve = silent;
    send_now(GET);
    pipeline_run(&p, 110);
    CHECK_U64(web("upstream_rq_per_try_idle_timeout"), 1);
    pipeline_run(&p, 10);
    say(0, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n");
    for (int i = 0; i < 3; i++) { /* what comes keeps it alive */
        pipeline_run(&p, 90);
        say(0, "x");
    }
    CHECK(!client.closed);
    pipeline_run(&p, 110);
    CHECK(client.closed);
    CHECK_U64(web("upstream_rq_per_try_idle_timeout"), 2);
    end();
}

TEST(a_stream_upstream_lasts_only_so_long) { /* RF-15 */
    begin(
        CONFIG(LISTENER("", ROUTE("")),
               CLUSTER("\"common_http_protocol_options\":{\"max_stream_duration\":\"0.3s\"},", ENDPOINT("10.0.0.1"))));
    p.serve = silent;
    send_now("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
    pipeline_run(&p, 310);
    mc_slice got = received();
    CHECK_HAS(got, "408 Request Timeout");
    CHECK_HAS(got, "upstream max stream duration reached");
    CHECK_U64(web("upstream_rq_max_duration_reached"), 1);
    CHECK_U64(in_hcm("response_flags.UMSDR"), 1);
    end();
}

TEST(a_clusters_policies_take_the_place_of_the_routes) { /* RF-20, RT-55 */
    begin(CONFIG(LISTENER("", ROUTE(",\"retry_policy\":{\"retry_on\":\"5xx\",\"num_retries\":3,\"per_try_timeout\":"
                                    "\"0.1s\"}")),
                 CLUSTER("\"typed_extension_protocol_options\":{\"envoy.extensions.upstreams.http.v3."
                         "HttpProtocolOptions\":{\"retry_policy\":{\"retry_on\":\"retriable-4xx\",\"num_retries\":1},"
                         "\"request_mirror_policies\":[{\"cluster\":\"mirror\"}]}},",
                         ENDPOINT("10.0.0.1")) "," NAMED("mirror", "10.0.0.2")));
    p.response = "HTTP/1.1 409 No\r\ncontent-length: 0\r\n\r\n";
    CHECK_HAS(exchange(&p, &client, GET, text, sizeof text), "409 ");
    CHECK_U64(web("upstream_rq_total"), 2);
    CHECK_U64(pipeline_counter(&p, "cluster.mirror.upstream_rq_total"), 1);
    p.response = BAD;
    CHECK_HAS(exchange(&p, &client, GET, text, sizeof text), "500 ");
    CHECK_U64(web("upstream_rq_total"), 3);
    p.serve = silent;
    send_now(GET);
    pipeline_run(&p, 110);
    CHECK_U64(web("upstream_rq_per_try_timeout"), 1); /* that one is still the route's */
    pipeline_run(&p, 20000);                          /* the copy waits as long as the route says */
    end();
}

/* --- hedging (RF-16) ------------------------------------------------------------------------------------------------------------ */

#define HEDGED(more)                                                                                                   \
    ONE_HOST("", ",\"timeout\":\"9s\",\"hedge_policy\":{\"hedge_on_per_try_timeout\":true}" POLICY(                    \
                     ",\"per_try_timeout\":\"0.1s\"" more))

TEST(a_slow_try_gets_company) {
    begin(HEDGED(",\"num_retries\":2"));
    p.serve = silent;
    send_now(GET);
    CHECK_HAS(heard(0), "x-envoy-expected-rq-timeout-ms: 9000\r\n"); /* RF-13: of the whole */
    pipeline_run(&p, 110);
    CHECK_INT(p.connects, 2);
    pipeline_run(&p, 110);
    CHECK_INT(p.connects, 3);
    pipeline_run(&p, 500);
    CHECK_INT(p.connects, 3);
    CHECK_U64(web("upstream_rq_retry"), 2);
    CHECK_U64(web("upstream_rq_per_try_timeout"), 0); /* nothing was given up */
    say(0, OK);                                       /* the first one after all */
    CHECK_HAS(received(), "200 OK");
    pipeline_run(&p, 10);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_rq_active"), 0);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 1);
    end();
}

TEST(a_bad_answer_waits_for_a_better_one) {
    begin(HEDGED(",\"num_retries\":1"));
    p.serve = silent;
    send_now(GET);
    pipeline_run(&p, 110);
    say(0, BAD);
    CHECK_INT(received().n, 0);
    say(0, OK); /* the other one is the first by now, or the second */
    if (server_at(1) != NULL) {
        say(1, OK);
    }
    CHECK_HAS(received(), "200 OK");
    end();
}

TEST(when_all_are_bad_the_last_one_counts) {
    begin(HEDGED(",\"num_retries\":1"));
    p.serve = silent;
    send_now(GET);
    pipeline_run(&p, 110);
    mc_memory_reset(&server_at(0)->conn);
    pipeline_settle(&p);
    CHECK_INT(received().n, 0);
    mc_memory_reset(&server_at(0)->conn);
    pipeline_run(&p, 10);
    CHECK_HAS(received(), "503 Service Unavailable");
    end();
}

/* --- bodies (RF-28) ---------------------------------------------------------------------------------------------------------------- */

#define KEEPING(limit, more)                                                                                           \
    CONFIG(LISTENER("", "{\"match\":{\"prefix\":\"/\"},\"request_body_buffer_limit\":\"" limit                         \
                        "\",\"route\":{\"cluster\":\"web\"" more "}}"),                                                \
           CLUSTER("", ENDPOINT("10.0.0.1")))

static const char *post(size_t n) {
    static char request[70000];
    int at = snprintf(request, sizeof request, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", n);
    memset(request + at, 'x', n);
    request[(size_t)at + n] = '\0';
    return request;
}

TEST(a_body_within_the_limit_is_sent_again) {
    begin(KEEPING("1000", POLICY("")));
    p.serve = silent;
    send_now(post(1000));
    (void)heard(0);
    say(0, BAD);
    pipeline_run(&p, 10);
    CHECK_U64(web("retry_or_shadow_abandoned"), 0);
    CHECK(mc_slice_has_suffix(heard(0), mc_slice_cstr(strstr(post(1000), "\r\n\r\n"))));
    say(0, OK);
    CHECK_HAS(received(), "200 OK");
    end();
}

TEST(a_body_beyond_the_limit_is_sent_once) {
    begin(KEEPING("1000", POLICY("")));
    p.serve = silent;
    send_now(post(1001));
    CHECK_U64(web("retry_or_shadow_abandoned"), 1);
    say(0, BAD);
    CHECK_HAS(received(), "500 ");
    CHECK_U64(web("upstream_rq_retry"), 0);
    end();
}

TEST(a_body_that_grows_too_large_between_tries_is_507) {
    begin(KEEPING("100", ",\"retry_policy\":{\"retry_on\":\"5xx\",\"retry_back_off\":{\"base_interval\":\"1000s\"}}"));
    p.serve = silent;
    send_now("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200\r\n\r\nabc");
    say(0, "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
    pipeline_run(&p, 1);
    send_now(strstr(post(197), "\r\n\r\n") + 4);
    mc_slice got = received();
    CHECK_HAS(got, "507 ");
    CHECK_HAS(got, "exceeded request buffer limit while retrying upstream");
    end();
}

TEST(only_what_was_not_sent_is_kept_for_a_connection) { /* no policy: nothing is sent twice, nothing is buffered */
    begin(ONE_HOST("", ""));
    p.serve = silent;
    send_now(post(60000));
    CHECK(heard(0).n >= 60000);
    mc_memory_reset(&server_at(0)->conn);
    pipeline_run(&p, 100);
    CHECK_HAS(received(), "503 ");
    CHECK_INT(p.connects, 1);
    end();
}

static bool refuse_first(pipeline *pipe, const mc_host *host) { return pipe->connects > 1; }

TEST(a_refused_connection_is_tried_again_with_the_body) { /* difference: unsent-large-body */
    begin(KEEPING("10", ",\"retry_policy\":{\"retry_on\":\"connect-failure\",\"retry_back_off\":{\"base_interval\":"
                        "\"0.001s\"}}"));
    p.serve = silent;
    p.admit = refuse_first;
    send_now(post(60000));
    pipeline_run(&p, 10);
    CHECK(mc_slice_has_suffix(heard(0), mc_slice_cstr(strstr(post(60000), "\r\n\r\n"))));
    CHECK_U64(web("upstream_rq_retry"), 1);
    CHECK_U64(web("retry_or_shadow_abandoned"), 1); /* from now on */
    say(0, BAD);
    CHECK_HAS(received(), "500 ");
    CHECK_INT(p.connects, 2);
    end();
}

/* --- what is counted (RF-45, RF-46) -------------------------------------------------------------------------------------------------- */

#define COUNTED(router)                                                                                                \
    "{\"node\":{\"id\":\"n\",\"cluster\":\"c\",\"locality\":{\"zone\":\"here\"}},\"static_resources\":{\"listeners\":" \
    "[{\"name\":\"main\",\"address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":10000}},"           \
    "\"filter_chains\":[{\"filters\":[{\"name\":\"hcm\",\"typed_config\":{" HCM "\"stat_prefix\":\"in\"," INSIDE       \
    "\"http_filters\":[{\"name\":\"envoy.filters.http.router\",\"typed_config\":{\"@type\":\"type.googleapis.com/"     \
    "envoy.extensions.filters.http.router.v3.Router\"" router "}}],"                                                   \
    "\"route_config\":{\"virtual_hosts\":[{\"name\":\"all\",\"domains\":[\"*\"],\"virtual_clusters\":[{\"name\":"      \
    "\"posts\",\"headers\":[{\"name\":\":method\",\"string_match\":{\"exact\":\"POST\"}}]}],\"routes\":[{\"match\":"   \
    "{\"prefix\":\"/\"},\"stat_prefix\":\"rest\",\"route\":{\"cluster\":\"web\"" POLICY(                               \
        "") "}}]}]}}}]}]}],"                                                                                           \
            "\"clusters\":[{\"name\":\"web\",\"type\":\"STATIC\",\"load_assignment\":{\"cluster_name\":\"web\","       \
            "\"endpoints\":"                                                                                           \
            "[{\"locality\":{\"zone\":\"there\"},\"lb_endpoints\":[" ENDPOINT("10.0.0.1") "]}]}}]}}"

TEST(responses_count_in_every_place) {
    static const char *const names[] = {
        "cluster.web.upstream_rq_200",
        "cluster.web.upstream_rq_2xx",
        "cluster.web.upstream_rq_completed",
        "cluster.web.internal.upstream_rq_200",
        "cluster.web.canary.upstream_rq_200",
        "cluster.web.zone.here.there.upstream_rq_200",
        "cluster.web.zone.here.there.upstream_rq_completed",
        "cluster.web.other.upstream_rq_200",
        "cluster.web.other.internal.upstream_rq_2xx",
        "cluster.web.other.canary.upstream_rq_200",
        "cluster.web.other.zone.here.there.upstream_rq_200",
        "vhost.all.vcluster.posts.upstream_rq_200",
        "vhost.all.route.rest.upstream_rq_2xx",
        "cluster.web.retry.upstream_rq_500",
        "vhost.all.vcluster.posts.upstream_rq_retry",
        "vhost.all.vcluster.posts.upstream_rq_retry_success",
        "vhost.all.route.rest.upstream_rq_retry",
    };
    begin(COUNTED(""));
    p.serve = silent;
    send_now("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" INNER
             "x-envoy-upstream-alt-stat-name: other\r\n\r\n");
    CHECK(!contains(heard(0), "alt-stat-name"));
    say(0, BAD);
    pipeline_run(&p, 10);
    say(0, "HTTP/1.1 200 OK\r\nx-envoy-upstream-canary: true\r\ncontent-length: 0\r\n\r\n");
    CHECK_HAS(received(), "200 OK");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (pipeline_counter(&p, names[i]) != 1) {
            fprintf(stderr, "%s is %llu\n", names[i], (unsigned long long)pipeline_counter(&p, names[i]));
        }
        CHECK_U64(pipeline_counter(&p, names[i]), 1);
    }
    CHECK_U64(pipeline_counter(&p, "vhost.all.vcluster.posts.upstream_rq_total"), 2);
    CHECK_U64(pipeline_counter(&p, "vhost.all.route.rest.upstream_rq_total"), 2);
    send_now("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    say(0, OK);
    CHECK_U64(pipeline_counter(&p, "vhost.all.vcluster.other.upstream_rq_200"), 1);
    end();
}

TEST(nothing_counts_by_code_without_dynamic_stats) { /* FL-1 */
    begin(COUNTED(",\"dynamic_stats\":false"));
    CHECK_HAS(exchange(&p, &client, GET, text, sizeof text), "200 OK");
    CHECK_U64(web("upstream_rq_completed"), 0);
    CHECK_U64(web("upstream_rq_200"), 0);
    CHECK_U64(web("upstream_rq_total"), 1);
    end();
}

TEST(strict_headers_are_checked) { /* RF-3 */
    static const char *const headers[] = {"x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms",
                                          "x-envoy-max-retries", "x-envoy-retry-on", "x-envoy-retry-grpc-on"};
    begin(COUNTED(",\"strict_check_headers\":[\"x-envoy-upstream-rq-timeout-ms\",\"x-envoy-retry-on\","
                  "\"x-envoy-upstream-rq-per-try-timeout-ms\",\"x-envoy-max-retries\",\"x-envoy-retry-grpc-on\"]"));
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        char request[256], body[128];
        snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\n" INNER "%s: bad\r\n\r\n", headers[i]);
        snprintf(body, sizeof body, "invalid header '%s' with value 'bad'", headers[i]);
        mc_slice got = exchange(&p, &client, request, text, sizeof text);
        CHECK_HAS(got, "400 Bad Request");
        CHECK_HAS(got, body);
        pipeline_client_close(&client);
        CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    }
    CHECK_U64(in_hcm("response_flags.IH"), 5);
    CHECK_HAS(exchange(&p, &client, "GET / HTTP/1.1\r\nHost: h\r\nx-envoy-retry-on: 5xx\r\n\r\n", text, sizeof text),
              "200 OK");
    end();
}

TEST(maintenance_answers_for_the_cluster) { /* RF-4 */
    begin(ONE_HOST("", ""));
    mc_runtime runtime;
    mc_arena arena;
    const mc_value *values;
    mc_error error;
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_value_parse(&arena, MC_SLICE("{\"upstream.maintenance_mode.web\":100}"), &values, &error), MC_OK);
    CHECK_INT(mc_runtime_init(&runtime, values), MC_OK);
    const mc_runtime *before = p.worker->proxy.runtime;
    p.worker->proxy.runtime = &runtime;
    mc_slice got = exchange(&p, &client, GET, text, sizeof text);
    CHECK_HAS(got, "503 Service Unavailable");
    CHECK_HAS(got, "x-envoy-overloaded: true\r\n");
    CHECK_HAS(got, "maintenance mode");
    CHECK_U64(web("upstream_rq_maintenance_mode"), 1);
    CHECK_U64(web("upstream_rq_503"), 1);
    CHECK_U64(in_hcm("response_flags.UO"), 1);
    p.worker->proxy.runtime = before;
    mc_runtime_fini(&runtime);
    mc_arena_fini(&arena);
    end();
}

/* --- without memory ------------------------------------------------------------------------------------------------------------------- */

TEST(any_allocation_may_fail) {
    for (long at = 1; at <= 60; at++) {
        begin(HEDGED(",\"num_retries\":2"));
        p.serve = silent;
        mc_test_alloc_fail_at(at);
        send_now("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        pipeline_run(&p, 110);
        if (server_at(0) != NULL) {
            say(0, BAD);
        }
        if (server_at(0) != NULL) {
            say(0, OK);
        }
        mc_test_alloc_fail_at(0);
        pipeline_run(&p, 10000);
        end();
    }
}

/* --- which host (RF-26) ------------------------------------------------------------------------------------------------------ */

static void first_host_fails(pipeline_peer *server) {
    server->owner->response = mc_slice_eq(server->host->address_text, MC_SLICE("10.0.0.1:80")) ? BAD : OK;
    pipeline_serve_default(server);
}

TEST(a_host_is_its_address) { /* listed twice, it was tried all the same */
    begin(CONFIG(
        LISTENER("",
                 ROUTE(POLICY(",\"num_retries\":1,\"host_selection_retry_max_attempts\":20,\"retry_host_predicate\":"
                              "[{\"name\":\"envoy.retry_host_predicates.previous_hosts\"}]"))),
        CLUSTER("", ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.2"))));
    p.serve = first_host_fails;
    for (int i = 0; i < 9; i++) {
        send_now(GET);
        pipeline_run(&p, 10);
        CHECK_HAS(received(), "200 OK");
    }
    CHECK_U64(web("upstream_rq_retry"), 9);
    end();
}

/* --- filters of tries (FL-1) --------------------------------------------------------------------------------------------------- */

#define FILTER(name, type, more)                                                                                       \
    "{\"name\":\"" name "\",\"typed_config\":{\"@type\":\"type.googleapis.com/envoy.extensions.filters.http." type     \
    "\"" more "}}"
#define CODEC FILTER("codec", "upstream_codec.v3.UpstreamCodec", "")
#define CHANGE                                                                                                         \
    FILTER("change", "header_mutation.v3.HeaderMutation",                                                              \
           ",\"mutations\":{\"request_mutations\":["                                                                   \
           "{\"append\":{\"header\":{\"key\":\"x-up\",\"value\":\"%REQ(x-a)%\"}}}],\"response_mutations\":["           \
           "{\"append\":{\"header\":{\"key\":\"x-down\",\"value\":\"1\"}}}]}")
#define FILTERED(filters)                                                                                              \
    CONFIG("{\"name\":\"main\",\"address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":10000}},"     \
           "\"filter_chains\":[{\"filters\":[{\"name\":\"hcm\",\"typed_config\":{" HCM "\"stat_prefix\":\"in\","       \
           "\"http_filters\":[" FILTER("router", "router.v3.Router",                                                   \
                                       ",\"upstream_http_filters\":[" filters                                          \
                                       "]") "],\"route_config\":{\"name\":\"local\",\"virtual_hosts\":[{\"name\":"     \
                                            "\"all\",\"domains\":[\"*\"],\"routes\":[" ROUTE(POLICY("")) "]}]}}}]}]}", \
           CLUSTER("", ENDPOINT("10.0.0.1")))

TEST(tries_pass_through_filters_of_their_own) {
    begin(FILTERED(CHANGE "," CODEC));
    p.serve = silent;
    send_now("GET / HTTP/1.1\r\nHost: h\r\nx-a: 7\r\n\r\n");
    mc_slice got = heard(0);
    CHECK_HAS(got, "x-up: 7\r\n");
    say(0, BAD);
    pipeline_run(&p, 10);
    got = heard(0);
    CHECK_HAS(got, "x-up: 7\r\nx-up: 7\r\n"); /* the second try's beside the first's, as in Envoy */
    say(0, OK);
    CHECK_HAS(received(), "x-down: 1\r\n");
    end();
}

#define BUFFER(bytes) FILTER("buffer", "buffer.v3.Buffer", ",\"max_request_bytes\":" bytes)

TEST(a_try_waits_for_all_of_the_request) { /* FL-40 */
    begin(FILTERED(BUFFER("9") "," CHANGE "," CODEC));
    p.serve = silent;
    send_now("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    CHECK(server_at(0) == NULL || heard(0).n == 0);
    send_now("2\r\nde\r\n0\r\n\r\n");
    mc_slice got = heard(0);
    CHECK_HAS(got, "content-length: 5\r\n");
    CHECK_HAS(got, "\r\n\r\nabcde");
    say(0, BAD);
    pipeline_run(&p, 10);
    got = heard(0);
    CHECK_HAS(got, "\r\n\r\nabcde");
    say(0, OK);
    CHECK_HAS(received(), "200 OK");
    send_now("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n1\r\n0\r\n");
    CHECK_HAS(received(), "413 Payload Too Large");
    CHECK_U64(in_hcm("downstream_rq_too_large"), 0);
    end();
}

TEST(a_cluster_has_filters_of_its_own) {
    begin(CONFIG(
        LISTENER("", ROUTE("")),
        CLUSTER("\"typed_extension_protocol_options\":{\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\":"
                "{\"explicit_http_config\":{\"http_protocol_options\":{}},\"http_filters\":[" BUFFER(
                    "9") "," CHANGE "," CODEC "]}},",
                ENDPOINT("10.0.0.1"))));
    p.serve = silent;
    send_now("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nx-a: 7\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    mc_slice got = heard(0);
    CHECK_HAS(got, "content-length: 3\r\n");
    CHECK_HAS(got, "x-up: 7\r\n");
    say(0, OK);
    CHECK_HAS(received(), "x-down: 1\r\n");
    end();
}

TEST(filters_of_tries_end_with_the_codec) {
    static const char *const configs[] = {
        FILTERED(CHANGE), FILTERED(CODEC "," CHANGE), FILTERED(CODEC "," CODEC),
        FILTERED(FILTER("csrf", "csrf.v3.CsrfPolicy", ",\"filter_enabled\":{\"default_value\":{}}") "," CODEC)};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        mc_error error = {0};
        CHECK_INT(pipeline_open(&p, configs[i], 1, &error), MC_EINVAL);
        CHECK(strstr(error.path, "upstream_http_filters") != NULL);
    }
}
