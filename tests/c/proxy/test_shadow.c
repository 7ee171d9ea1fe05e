/* Shadows (RT-55) and internal redirects (RT-56): requests that become more, or others. */
#include "router_test.h"

#define MIRRORED(route, policy)                                                                                        \
    CONFIG(LISTENER("", "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\"" route                           \
                        ",\"request_mirror_policies\":[" policy "]}}"),                                                \
           CLUSTER("", ENDPOINT("10.0.0.1")) "," NAMED("mirror", "10.0.0.2"))
#define TO_MIRROR "{\"cluster\":\"mirror\"}"

static pipeline_peer *server_of(const char *address) {
    MC_LIST_EACH(&p.servers, node) {
        pipeline_peer *server = MC_CONTAINER(node, pipeline_peer, link);
        if (mc_slice_eq(server->host->address_text, mc_slice_cstr(address))) {
            return server;
        }
    }
    return NULL;
}
#define MAIN   "10.0.0.1:80"
#define SHADOW "10.0.0.2:80"

static mc_slice heard_by(const char *address) {
    CHECK(server_of(address) != NULL);
    mc_slice got = pipeline_received(server_of(address), text, sizeof text);
    mc_buffer_clear(&server_of(address)->in);
    return got;
}

static void answer(const char *address, const char *bytes) {
    CHECK(server_of(address) != NULL);
    pipeline_send(server_of(address), mc_slice_cstr(bytes));
    pipeline_settle(&p);
}

static uint64_t mirror(const char *name) {
    char full[128];
    snprintf(full, sizeof full, "cluster.mirror.%s", name);
    return pipeline_counter(&p, full);
}

/* --- shadows ------------------------------------------------------------------------------------------------------------ */

TEST(a_shadow_gets_what_the_upstream_gets) {
    begin(MIRRORED(",\"prefix_rewrite\":\"/new/\"", TO_MIRROR));
    p.serve = silent;
    send_now("POST /a HTTP/1.1\r\nHost: h:81\r\nContent-Length: 5\r\n\r\nab");
    CHECK_HAS(heard_by(MAIN), "host: h:81\r\n");
    mc_slice got = heard_by(SHADOW);
    CHECK(mc_slice_has_prefix(got, MC_SLICE("POST /new/a HTTP/1.1\r\n")));
    CHECK_HAS(got, "host: h-shadow:81\r\n");
    CHECK_HAS(got, "x-envoy-internal: true\r\n");
    CHECK_HAS(got, "x-envoy-expected-rq-timeout-ms: 15000\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nab")));
    send_now("cde");
    CHECK_SLICE(heard_by(SHADOW), "cde");
    answer(SHADOW, "HTTP/1.1 418 No\r\nx-other: 1\r\ncontent-length: 2\r\n\r\nno");
    CHECK_INT(received().n, 0);
    answer(MAIN, OK);
    mc_slice reply = received();
    CHECK_HAS(reply, "200 OK");
    CHECK(!contains(reply, "x-other"));
    CHECK_U64(mirror("upstream_rq_418"), 1);
    CHECK_U64(mirror("internal.upstream_rq_4xx"), 1);
    CHECK_U64(mirror("upstream_rq_total"), 1);
    end();
}

#define UPGRADING                                                                                                      \
    CONFIG(LISTENER("\"upgrade_configs\":[{\"upgrade_type\":\"websocket\"}],",                                         \
                    "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\",\"request_mirror_policies\":"        \
                    "[" TO_MIRROR "]}}"),                                                                              \
           CLUSTER("", ENDPOINT("10.0.0.1")) "," NAMED("mirror", "10.0.0.2"))
#define WEBSOCKET "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCHED  "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"

TEST(a_shadow_is_upgraded_too) {
    begin(UPGRADING);
    p.serve = silent;
    send_now(WEBSOCKET "early");
    mc_slice got = heard_by(SHADOW);
    CHECK_HAS(got, "upgrade: websocket\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\n"))); /* its payload waits for its own 101 */
    answer(MAIN, SWITCHED);
    CHECK_HAS(received(), "101 Switching");
    CHECK_INT(heard_by(SHADOW).n, 0);
    answer(SHADOW, SWITCHED "nobody hears this");
    CHECK_SLICE(heard_by(SHADOW), "early");
    send_now("more");
    CHECK_SLICE(heard_by(SHADOW), "more");
    CHECK_INT(received().n, 0);
    CHECK_U64(mirror("upstream_rq_101"), 1);
    end(); /* and ends with the client */
}

TEST(a_shadow_whose_handshake_fails_counts_nowhere) {
    begin(UPGRADING);
    p.serve = silent;
    send_now(WEBSOCKET);
    answer(SHADOW, OK);
    CHECK_U64(mirror("upstream_rq_completed"), 0);
    answer(MAIN, SWITCHED);
    CHECK_HAS(received(), "101 Switching");
    end();
}

TEST(a_shadow_lasts_no_longer_than_its_cluster_allows) { /* RF-15 */
    begin(CONFIG(LISTENER("", "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\","
                              "\"request_mirror_policies\":[" TO_MIRROR "]}}"),
                 CLUSTER("", ENDPOINT("10.0.0.1")) ",{\"name\":\"mirror\",\"type\":\"STATIC\","
                                                   "\"common_http_protocol_options\":{\"max_stream_duration\":\"1s\"},"
                                                   "\"load_assignment\":{\"cluster_name\":\"mirror\",\"endpoints\":"
                                                   "[{\"lb_endpoints\":[" ENDPOINT("10.0.0.2") "]}]}}"));
    p.serve = silent;
    send_now(GET);
    answer(MAIN, OK);
    pipeline_run(&p, 900);
    CHECK_U64(mirror("upstream_rq_max_duration_reached"), 0);
    pipeline_run(&p, 200);
    CHECK_U64(mirror("upstream_rq_max_duration_reached"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.mirror.upstream_rq_active"), 0);
    CHECK_U64(mirror("upstream_rq_completed"), 0);
    end();
}

TEST(a_shadow_has_headers_of_its_own) {
    begin(MIRRORED("", "{\"cluster\":\"mirror\",\"host_rewrite_literal\":\"other\",\"request_headers_mutations\":["
                       "{\"append\":{\"header\":{\"key\":\"x-s\",\"value\":\"%REQ(x-a)%/%UPSTREAM_CLUSTER%\"}}},"
                       "{\"remove\":\"x-a\"}]}"));
    p.serve = silent;
    send_now("GET / HTTP/1.1\r\nHost: h\r\nx-a: 1\r\n\r\n");
    mc_slice got = heard_by(SHADOW);
    CHECK_HAS(got, "x-s: 1/web\r\n");
    CHECK(!contains(got, "x-a: 1"));
    CHECK_HAS(heard_by(MAIN), "x-a: 1\r\n");
    answer(MAIN, OK);
    answer(SHADOW, OK);
    CHECK_HAS(received(), "200 OK");
    end();
}

TEST(a_shadow_outlives_its_request) {
    begin(MIRRORED("", TO_MIRROR));
    p.serve = silent;
    send_now(GET);
    answer(MAIN, OK);
    CHECK_HAS(received(), "200 OK");
    pipeline_client_close(&client);
    CHECK_U64(pipeline_gauge(&p, "cluster.mirror.upstream_rq_active"), 1);
    answer(SHADOW, OK);
    CHECK_U64(mirror("upstream_rq_200"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.mirror.upstream_rq_active"), 0);
    end();
}

TEST(a_shadow_ends_with_a_request_that_is_not_whole) {
    begin(MIRRORED("", TO_MIRROR));
    p.serve = silent;
    send_now("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
    CHECK_U64(pipeline_gauge(&p, "cluster.mirror.upstream_rq_active"), 1);
    pipeline_client_close(&client);
    CHECK_U64(pipeline_gauge(&p, "cluster.mirror.upstream_rq_active"), 0);
    end();
}

TEST(a_shadow_has_the_limit_of_the_request) {
    begin(MIRRORED(",\"timeout\":\"1s\"", TO_MIRROR));
    p.serve = silent;
    send_now(GET);
    answer(MAIN, OK);
    pipeline_run(&p, 1010);
    CHECK_U64(mirror("upstream_rq_timeout"), 1);
    CHECK_U64(mirror("upstream_rq_504"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.mirror.upstream_rq_active"), 0);
    end();
}

TEST(a_shadow_that_fails_is_nobodys_concern) {
    begin(MIRRORED("", TO_MIRROR "," TO_MIRROR ",{\"cluster_header\":\"x-none\"}"));
    p.serve = silent;
    send_now(GET);
    mc_memory_reset(&server_of(SHADOW)->conn);
    pipeline_run(&p, 10);
    mc_memory_reset(&server_of(SHADOW)->conn);
    pipeline_run(&p, 10);
    CHECK_U64(mirror("upstream_rq_503"), 2);
    answer(MAIN, OK);
    CHECK_HAS(received(), "200 OK");
    end();
}

TEST(a_share_of_requests_is_mirrored) {
    begin(MIRRORED("", "{\"cluster\":\"mirror\",\"disable_shadow_host_suffix_append\":true,\"runtime_fraction\":{"
                       "\"default_value\":{\"numerator\":30}}}"));
    for (int i = 0; i < 200; i++) {
        CHECK_HAS(exchange(&p, &client, GET, text, sizeof text), "200 OK");
    }
    uint64_t mirrored = mirror("upstream_rq_total");
    CHECK(mirrored > 30 && mirrored < 90);
    end();
}

TEST(shadows_without_memory) {
    for (long at = 1; at <= 40; at++) {
        begin(MIRRORED("", TO_MIRROR "," TO_MIRROR));
        mc_test_alloc_fail_at(at);
        send_now("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
        send_now("cde");
        mc_test_alloc_fail_at(0);
        pipeline_run(&p, 20000);
        end();
    }
}

/* --- internal redirects --------------------------------------------------------------------------------------------------- */

#define TO(prefix, route)                                                                                              \
    "{\"name\":\"" prefix "\",\"match\":{\"prefix\":\"/" prefix "\"},\"route\":{\"cluster\":\"web\"" route "}}"
#define FOLLOW(more)    ",\"internal_redirect_policy\":{" more "}"
#define ROUTES(first)   CONFIG(LISTENER("", TO("a", first) "," TO("b", "")), CLUSTER("", ENDPOINT("10.0.0.1")))
#define MOVED(to, more) "HTTP/1.1 302 Found\r\nlocation: " to "\r\n" more "content-length: 2\r\n\r\nno"

TEST(a_redirect_is_followed_inside) {
    begin(ROUTES(FOLLOW("\"response_headers_to_copy\":[\"x-copy\",\"x-gone\"]")));
    p.serve = silent;
    send_now("POST /a?q HTTP/1.1\r\nHost: h\r\nx-gone: 1\r\nContent-Length: 3\r\n\r\nabc");
    (void)heard(0);
    say(0, MOVED("http://other:81/b/x?y=1#f", "x-copy: new\r\n"));
    pipeline_run(&p, 1);
    CHECK_INT(received().n, 0);
    mc_slice got = heard(0);
    CHECK(mc_slice_has_prefix(got, MC_SLICE("POST /b/x?y=1 HTTP/1.1\r\n")));
    CHECK_HAS(got, "host: other:81\r\n");
    CHECK_HAS(got, "x-envoy-original-url: http://h/a?q\r\n");
    CHECK_HAS(got, "x-copy: new\r\n");
    CHECK(!contains(got, "x-gone"));
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nabc")));
    say(0, OK);
    got = received();
    CHECK_HAS(got, "200 OK");
    CHECK(!contains(got, "302"));
    CHECK_U64(web("upstream_internal_redirect_succeeded_total"), 1);
    CHECK_U64(web("upstream_rq_302"), 0);
    CHECK_U64(in_hcm("downstream_rq_3xx"), 0);
    CHECK_U64(in_hcm("downstream_rq_2xx"), 1);
    end();
}

TEST(each_leg_receives_the_body) {
    static const char said[] =
        "},\"response_headers_to_add\":[{\"header\":{\"key\":\"x-got\",\"value\":\"%BYTES_RECEIVED%\"}}]"
        ",\"metadata\":{";
    char config[4096];
    snprintf(config, sizeof config,
             CONFIG(LISTENER("", TO("a", FOLLOW("")) "," TO("b", "%s")), CLUSTER("", ENDPOINT("10.0.0.1"))), said);
    begin(config);
    p.serve = silent;
    send_now("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    (void)heard(0);
    say(0, MOVED("http://h/b", ""));
    pipeline_run(&p, 1);
    (void)heard(0);
    say(0, OK);
    CHECK_HAS(received(), "x-got: 6\r\n");
    end();
}

TEST(a_303_becomes_a_get) {
    begin(ROUTES(FOLLOW("\"redirect_response_codes\":[303]")));
    p.serve = silent;
    send_now("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    (void)heard(0);
    say(0, "HTTP/1.1 303 See Other\r\nlocation: http://h/b\r\ncontent-length: 0\r\n\r\n");
    pipeline_run(&p, 1);
    mc_slice got = heard(0);
    CHECK(mc_slice_has_prefix(got, MC_SLICE("GET /b HTTP/1.1\r\n")));
    CHECK(!contains(got, "content-length"));
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\n")));
    say(0, OK);
    CHECK_HAS(received(), "200 OK");
    end();
}

TEST(what_cannot_be_followed_is_passed_on) {
    static const struct {
        const char *location, *counter;
    } cases[] = {{"/b", "passthrough_internal_redirect_bad_location"},
                 {"https://h/b", "passthrough_internal_redirect_unsafe_scheme"},
                 {"http://h/none", "passthrough_internal_redirect_no_route"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char response[256];
        begin(ROUTES(FOLLOW("")));
        snprintf(response, sizeof response, MOVED("%s", ""), cases[i].location);
        p.response = response;
        mc_slice got = exchange(&p, &client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text);
        CHECK_HAS(got, "302 Found");
        CHECK_HAS(got, cases[i].location);
        CHECK_U64(in_hcm(cases[i].counter), 1);
        CHECK_U64(web("upstream_internal_redirect_failed_total"), 1);
        end();
    }
}

TEST(redirects_have_an_end) {
    begin(ROUTES(FOLLOW("\"max_internal_redirects\":3")));
    p.response = MOVED("http://h/a", "");
    mc_slice got = exchange(&p, &client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text);
    CHECK_HAS(got, "302 Found");
    CHECK_U64(web("upstream_internal_redirect_succeeded_total"), 3);
    CHECK_U64(in_hcm("passthrough_internal_redirect_too_many_redirects"), 1);
    CHECK_U64(in_hcm("downstream_rq_total"), 4);
    CHECK_U64(in_hcm("downstream_rq_completed"), 1);
    end();
}

TEST(a_client_may_leave_between_two_legs) {
    begin(ROUTES(FOLLOW("")));
    p.serve = silent;
    send_now("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    pipeline_send(server_at(0), MC_SLICE(MOVED("http://h/b", "")));
    mc_conn_abort(&client.conn, MC_CLOSE_LOCAL);
    pipeline_run(&p, 100);
    end();
}

TEST(redirects_without_memory) {
    for (long at = 1; at <= 30; at++) {
        begin(ROUTES(FOLLOW("\"response_headers_to_copy\":[\"x-copy\"]")));
        p.serve = silent;
        send_now("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        mc_test_alloc_fail_at(at);
        say(0, MOVED("http://h/b", "x-copy: 1\r\n"));
        pipeline_run(&p, 1);
        mc_test_alloc_fail_at(0);
        pipeline_run(&p, 20000);
        end();
    }
}
