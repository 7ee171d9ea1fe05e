/* The router: timeouts, retries with bodies, every form of message, upgrades, early ends, and back-pressure. */
#include "proxy_test.h"

#define ROUTE(more)         "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\"" more "}}"
#define ONE_HOST(hcm, more) CONFIG(LISTENER(hcm, ROUTE(more)), CLUSTER("", ENDPOINT("10.0.0.1")))
#define TWO_HOSTS(more) CONFIG(LISTENER("", ROUTE(more)), CLUSTER("", ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.2")))
#define GET             "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

static pipeline p;
static pipeline_peer client;
static char text[65536];

static void begin(const char *json) {
    open_pipeline(&p, json);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
}

static void end(void) {
    pipeline_client_close(&client);
    pipeline_run(&p, 100);
    CHECK_U64(pipeline_gauge(&p, "http.in.downstream_rq_active"), 0);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_rq_active"), 0);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_rq_pending_active"), 0);
    pipeline_close(&p);
}

static mc_slice ask(const char *request) { return exchange(&p, &client, request, text, sizeof text); }

static void silent(pipeline_peer *server) {}

static pipeline_peer *server_now(void) {
    mc_link *first = mc_list_first(&p.servers);
    return first == NULL ? NULL : MC_CONTAINER(first, pipeline_peer, link);
}

static void say(const char *bytes) {
    CHECK(server_now() != NULL);
    pipeline_send(server_now(), mc_slice_cstr(bytes));
    pipeline_settle(&p);
}

/* What the only server got since the last call. */
static mc_slice heard(void) {
    mc_slice got = pipeline_received(server_now(), text, sizeof text);
    mc_buffer_clear(&server_now()->in);
    return got;
}

static mc_slice received(void) {
    mc_slice got = pipeline_received(&client, text, sizeof text);
    mc_buffer_clear(&client.in);
    return got;
}

TEST(a_response_to_head_has_no_body) {
    begin(PLAIN);
    p.response = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    for (int i = 0; i < 2; i++) {
        mc_slice got = ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
        CHECK_HAS(got, "content-length: 5\r\n");
        CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\n")));
    }
    CHECK_INT(p.connects, 1);
    CHECK(!client.closed);
    end();
}

TEST(bodyless_responses_leave_the_connection_usable) {
    static const char *const responses[] = {"HTTP/1.1 204 No Content\r\n\r\n",
                                            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
                                            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"};
    begin(PLAIN);
    for (size_t i = 0; i < 3; i++) {
        p.response = responses[i];
        mc_slice got = ask(GET);
        CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\n")));
        CHECK(!contains(got, "chunked"));
    }
    CHECK_INT(p.connects, 1);
    end();
}

TEST(an_http_10_client_gets_no_chunks) {
    begin(ONE_HOST("\"http_protocol_options\":{\"accept_http_10\":true,\"default_host_for_http_10\":\"d\"},", ""));
    p.response = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    mc_slice got = ask("GET / HTTP/1.0\r\n\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nabcde")));
    CHECK(!contains(got, "chunked"));
    CHECK(client.closed);
    end();
}

TEST(http_10_is_refused_unless_accepted) {
    begin(PLAIN);
    CHECK_HAS(ask("GET / HTTP/1.0\r\nHost: h\r\n\r\n"), "426 Upgrade Required");
    end();
}

TEST(an_expectation_is_met_by_the_proxy) {
    begin(PLAIN);
    p.serve = silent;
    CHECK_SLICE(ask("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"),
                "HTTP/1.1 100 Continue\r\n\r\n");
    pipeline_send(&client, MC_SLICE("abc"));
    pipeline_settle(&p);
    mc_slice got = heard();
    CHECK(!contains(got, "\r\nexpect:"));
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nabc")));
    say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    CHECK_HAS(received(), "200 OK");
    end();
}

TEST(hints_are_passed_on) { /* HC-47 */
    begin(ONE_HOST("\"proxy_100_continue\":true,", ""));
    p.response = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    mc_slice got = ask(GET);
    CHECK(mc_slice_has_prefix(got, MC_SLICE("HTTP/1.1 103 Early Hints\r\n")));
    CHECK_HAS(got, "link: </a>\r\n");
    CHECK_HAS(got, "HTTP/1.1 200 OK\r\n");
    CHECK_HAS(ask(GET), "200 OK");
    CHECK_INT(p.connects, 1);
    end();
}

TEST(hints_are_swallowed_like_a_100) {
    begin(PLAIN);
    p.response = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    CHECK(mc_slice_has_prefix(ask(GET), MC_SLICE("HTTP/1.1 200 OK\r\n")));
    end();
}

#define UPGRADE "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

TEST(an_upgrade_makes_a_tunnel) {
    begin(ONE_HOST("\"upgrade_configs\":[{\"upgrade_type\":\"websocket\"}],", ""));
    p.serve = silent;
    pipeline_send(&client, MC_SLICE(UPGRADE));
    pipeline_settle(&p);
    mc_slice got = heard();
    CHECK_HAS(got, "upgrade: websocket\r\n");
    CHECK_HAS(got, "connection: ");
    say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nfirst");
    got = received();
    CHECK(mc_slice_has_prefix(got, MC_SLICE("HTTP/1.1 101 Switching Protocols\r\n")));
    CHECK_HAS(got, "upgrade: websocket\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nfirst")));
    pipeline_send(&client, MC_SLICE("GET / HTTP/1.1\r\n\r\nnot HTTP \0 any more"));
    pipeline_settle(&p);
    CHECK_INT(heard().n, 37);
    say("back");
    CHECK_SLICE(received(), "back");
    pipeline_run(&p, 20000); /* longer than the route's timeout */
    CHECK(!client.closed);
    mc_conn_close(&server_now()->conn, true);
    pipeline_run(&p, 2000);
    CHECK(client.closed);
    end();
}

TEST(an_upgrade_must_be_allowed) {
    begin(PLAIN);
    CHECK_HAS(ask(UPGRADE), "403 Forbidden");
    CHECK_U64(pipeline_counter(&p, "http.in.downstream_rq_ws_on_non_ws_route"), 1);
    end();
}

TEST(a_refused_upgrade_is_an_ordinary_response) {
    begin(ONE_HOST("\"upgrade_configs\":[{\"upgrade_type\":\"websocket\"}],", ""));
    p.response = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno";
    mc_slice got = ask(UPGRADE);
    CHECK_HAS(got, "400 Bad Request");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nno")));
    end();
}

TEST(an_unasked_101_is_a_fault) {
    begin(PLAIN);
    p.response = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    CHECK_HAS(ask(GET), "502 Bad Gateway");
    end();
}

TEST(an_early_response_ends_the_request) {
    begin(PLAIN);
    p.serve = silent;
    pipeline_send(&client, MC_SLICE("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc"));
    pipeline_settle(&p);
    say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    mc_slice got = received();
    CHECK_HAS(got, "connection: close\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nok")));
    pipeline_run(&p, 2000);
    CHECK(client.closed);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0); /* half a request is on it */
    CHECK_U64(pipeline_counter(&p, "http.in.downstream_rq_response_before_rq_complete"), 1);
    end();
}

TEST(too_many_header_bytes_are_431) {
    begin(PLAIN);
    static char request[80000];
    size_t n = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\nx: ");
    memset(request + n, 'y', 70000);
    memcpy(request + n + 70000, "\r\n\r\n", 5);
    CHECK_HAS(ask(request), "431 Request Header Fields Too Large");
    end();
}

TEST(a_response_is_passed_on_as_it_comes) {
    begin(PLAIN);
    p.serve = silent;
    pipeline_send(&client, MC_SLICE(GET));
    pipeline_settle(&p);
    say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n");
    CHECK_HAS(received(), "200 OK");
    for (int i = 0; i < 3; i++) {
        say("7\r\ndata: x\r\n");
        CHECK_SLICE(received(), "7\r\ndata: x\r\n");
    }
    say("0\r\n\r\n");
    CHECK_SLICE(received(), "0\r\n\r\n");
    end();
}

TEST(bytes_after_a_response_are_never_anothers) {
    begin(PLAIN);
    p.response = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for (int i = 1; i <= 3; i++) {
        CHECK(!contains(ask(GET), "poison"));
        CHECK_INT(p.connects, i);
    }
    end();
}

TEST(a_connection_that_says_close_is_not_used_again) {
    begin(PLAIN);
    p.response = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    for (int i = 1; i <= 2; i++) {
        mc_slice got = ask(GET);
        CHECK(mc_slice_has_suffix(got, MC_SLICE("ok")));
        CHECK(!contains(got, "connection: close"));
        CHECK_INT(p.connects, i);
    }
    end();
}

static void reset_each(pipeline_peer *server) { mc_memory_reset(&server->conn); }

TEST(a_reset_before_the_response_is_503) {
    begin(PLAIN);
    p.serve = reset_each;
    CHECK_HAS(ask(GET), "503 Service Unavailable");
    CHECK_U64(pipeline_counter(&p, "http.in.response_flags.UC"), 1);
    CHECK(!client.closed);
    end();
}

TEST(a_reset_within_the_response_cuts_it_off) {
    begin(PLAIN);
    p.serve = silent;
    pipeline_send(&client, MC_SLICE(GET));
    pipeline_settle(&p);
    say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    mc_memory_reset(&server_now()->conn);
    pipeline_run(&p, 100);
    mc_slice got = received();
    CHECK_HAS(got, "abc");
    CHECK(!contains(got, "\r\n0\r\n"));
    CHECK(client.closed);
    CHECK_U64(pipeline_counter(&p, "http.in.rq_reset_after_downstream_response_started"), 0); /* gRPC only */
    end();
}

TEST(a_malformed_response_is_502) {
    begin(PLAIN);
    p.response = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
    CHECK_HAS(ask(GET), "502 Bad Gateway");
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_cx_protocol_error"), 1);
    CHECK_U64(pipeline_counter(&p, "http.in.response_flags.UPE"), 1);
    end();
}

/* --- timeouts and retries --------------------------------------------------------------------------------------------- */

static void first_is_silent(pipeline_peer *server) {
    if (p.connects > 1) {
        pipeline_serve_default(server);
    }
}

TEST(a_try_that_takes_too_long_is_made_again) {
    begin(TWO_HOSTS(",\"retry_policy\":{\"retry_on\":\"5xx\",\"num_retries\":2,\"per_try_timeout\":\"0.2s\"}"));
    p.serve = first_is_silent;
    CHECK_HAS(ask(GET), "200 OK");
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_per_try_timeout"), 1);
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_retry_success"), 1);
    CHECK_INT(p.connects, 2);
    end();
}

TEST(tries_that_all_take_too_long_are_504) {
    begin(TWO_HOSTS(",\"retry_policy\":{\"retry_on\":\"5xx\",\"num_retries\":1,\"per_try_timeout\":\"0.2s\"}"));
    p.serve = silent;
    CHECK_HAS(ask(GET), "504 Gateway Timeout");
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_per_try_timeout"), 2);
    CHECK_U64(pipeline_counter(&p, "http.in.response_flags.UT"), 1);
    end();
}

TEST(a_client_from_outside_does_not_set_the_timeout) { /* HC-17 */
    begin(PLAIN);
    p.serve = silent;
    CHECK_SLICE(ask("GET / HTTP/1.1\r\nHost: h\r\nx-envoy-upstream-rq-timeout-ms: 100\r\n\r\n"), "");
    pipeline_run(&p, 15000);
    CHECK_HAS(received(), "504 Gateway Timeout");
    end();
}

TEST(a_head_that_never_ends_times_out) {
    begin(PLAIN);
    pipeline_send(&client, MC_SLICE("GET / HTTP/1.1\r\nHost: "));
    pipeline_run(&p, 299 * 1000);
    CHECK(!client.closed);
    pipeline_run(&p, 5 * 1000);
    CHECK_HAS(received(), "408 Request Timeout");
    CHECK(client.closed);
    end();
}

static void fail_once(pipeline_peer *server) {
    char got[4096];
    mc_slice all = pipeline_received(server, got, sizeof got);
    if (!mc_slice_has_suffix(all, MC_SLICE("\r\n0\r\n\r\n"))) {
        return;
    }
    CHECK(mc_slice_has_suffix(all, MC_SLICE("\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")) ||
          mc_slice_has_suffix(all, MC_SLICE("\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n")));
    mc_buffer_clear(&server->in);
    pipeline_send(server, p.user == NULL ? MC_SLICE("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno")
                                         : MC_SLICE("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    p.user = &p;
}

TEST(a_body_is_sent_again) {
    begin(TWO_HOSTS(",\"retry_policy\":{\"retry_on\":\"5xx\",\"num_retries\":1}"));
    p.serve = fail_once;
    pipeline_send(&client, MC_SLICE("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"));
    pipeline_run(&p, 10);
    mc_slice got = ask("3\r\ndef\r\n0\r\n\r\n");
    CHECK_HAS(got, "200 OK");
    CHECK(!contains(got, "500"));
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_retry"), 1);
    end();
}

TEST(headers_decide_what_is_retried) { /* RF-20, RF-21 */
    begin(TWO_HOSTS(
        ",\"retry_policy\":{\"retry_on\":\"retriable-headers\",\"retriable_headers\":[{\"name\":\"X-Again\"}],"
        "\"retriable_request_headers\":[{\"name\":\":method\",\"string_match\":{\"exact\":\"GET\"}},"
        "{\"name\":\"x-idempotent\"}],\"retry_back_off\":{\"base_interval\":\"0.001s\"}}"));
    p.response = "HTTP/1.1 200 OK\r\nx-again: 1\r\ncontent-length: 0\r\n\r\n";
    CHECK_HAS(ask(GET), "200 OK");
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_retry"), 1);
    CHECK_HAS(ask("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n"), "200 OK");
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_retry"), 1);
    CHECK_HAS(ask("DELETE / HTTP/1.1\r\nHost: h\r\nx-idempotent: 1\r\n\r\n"), "200 OK");
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_retry"), 2);
    p.response = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
    CHECK_HAS(ask(GET), "500 Internal");
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_retry"), 2);
    end();
}

TEST(a_retry_follows_a_back_off) {
    begin(TWO_HOSTS(",\"retry_policy\":{\"retry_on\":\"5xx\",\"num_retries\":9,\"retry_back_off\":{\"base_interval\":"
                    "\"1s\",\"max_interval\":\"1s\"}}"));
    p.response = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    pipeline_send(&client, MC_SLICE(GET));
    pipeline_run(&p, 0);
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_total"), 1);
    CHECK_INT(p.worker->snapshot->clusters[0].cluster->breakers[0].retries.count, 1);
    pipeline_client_close(&client); /* while it waits */
    CHECK_INT(p.worker->snapshot->clusters[0].cluster->breakers[0].retries.count, 0);
    pipeline_run(&p, 5000);
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_total"), 1);
    end();
}

/* --- back-pressure -------------------------------------------------------------------------------------------------------- */

enum { LARGE = 8 << 20, PIECE = 16384, SMALL = 600 * 1024 };

#define NARROW                                                                                                         \
    "{\"static_resources\":{\"listeners\":[{\"per_connection_buffer_limit_bytes\":32768," LISTENER_REST                \
    "],\"clusters\":[" CLUSTER("\"per_connection_buffer_limit_bytes\":32768,", ENDPOINT("10.0.0.1")) "]}}"
#define LISTENER_REST                                                                                                  \
    "\"name\":\"main\",\"address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":10000}},"             \
    "\"filter_chains\":[{\"filters\":[{\"name\":\"hcm\",\"typed_config\":{" HCM "\"stat_prefix\":\"in\"," ROUTER       \
    ",\"route_config\":{\"name\":\"local\",\"virtual_hosts\":[{\"name\":\"all\",\"domains\":[\"*\"],\"routes\":"       \
    "[" ROUTE(",\"timeout\":\"0s\"") "]}]}}}]}]}"

static char piece[PIECE];

/* Fills what the connection takes; returns the bytes given to it. */
static size_t pour(mc_conn *conn, size_t left) {
    size_t sent = 0;
    while (left > 0 && mc_conn_buffered(conn) < 2 * PIECE) {
        size_t n = left < PIECE ? left : PIECE;
        CHECK_INT(mc_conn_write(conn, mc_slice_of(piece, n)), MC_OK);
        left -= n;
        sent += n;
        pipeline_settle(&p);
    }
    pipeline_settle(&p);
    return sent;
}

/* LARGE bytes go from one end to another that at first reads nothing. */
static void stream(mc_conn *from, pipeline_peer *to) {
    size_t sent = 0, got = 0;
    mc_conn_pause_reading(&to->conn);
    for (size_t now; (now = pour(from, LARGE - sent)) > 0;) {
        sent += now;
    }
    CHECK(sent > 4 * PIECE);
    CHECK(sent < SMALL);
    mc_buffer_clear(&to->in);
    long before = mc_test_alloc_live(), most = 0;
    mc_conn_resume_reading(&to->conn);
    while (got < LARGE) {
        sent += pour(from, LARGE - sent);
        pipeline_run(&p, 1);
        CHECK(to->in.length > 0);
        got += to->in.length;
        mc_buffer_clear(&to->in);
        most = mc_test_alloc_live() - before > most ? mc_test_alloc_live() - before : most;
    }
    CHECK(most < SMALL / PIECE * 4);
}

TEST(a_large_response_waits_for_its_client) {
    begin(NARROW);
    p.serve = silent;
    pipeline_send(&client, MC_SLICE(GET));
    pipeline_settle(&p);
    say("HTTP/1.1 200 OK\r\ncontent-length: 8388608\r\n\r\n");
    CHECK_HAS(received(), "200 OK");
    stream(&server_now()->conn, &client);
    CHECK_U64(pipeline_gauge(&p, "http.in.downstream_rq_active"), 0);
    CHECK(pipeline_counter(&p, "cluster.web.upstream_flow_control_paused_reading_total") > 0);
    end();
}

TEST(a_large_request_waits_for_its_server) {
    begin(NARROW);
    p.serve = silent;
    pipeline_send(&client, MC_SLICE("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n"));
    pipeline_settle(&p);
    CHECK_HAS(heard(), "POST / HTTP/1.1\r\n");
    stream(&client.conn, server_now());
    CHECK(pipeline_counter(&p, "http.in.downstream_flow_control_paused_reading_total") > 0);
    say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    CHECK_HAS(received(), "200 OK");
    end();
}

/* CL-7: discovery wants some, or all, requests refused. */
TEST(drop_overload_refuses_a_share) {
#define DROP(percent)                                                                                                  \
    CONFIG(LISTENER("", TO_WEB),                                                                                       \
           "{\"name\":\"web\",\"type\":\"STATIC\",\"load_assignment\":{\"cluster_name\":\"web\",\"policy\":{"          \
           "\"drop_overloads\":[{\"category\":\"c\",\"drop_percentage\":{\"numerator\":" percent "}}]},"               \
           "\"endpoints\":[{\"lb_endpoints\":[" ENDPOINT("10.0.0.1") "]}]}}")
    static const char request[] = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    char text[1024];
    pipeline p;
    pipeline_peer client;
    int dropped = 0;
    open_pipeline(&p, DROP("40"));
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    for (int i = 0; i < 200; i++) {
        mc_slice got = exchange(&p, &client, request, text, sizeof text);
        if (contains(got, "HTTP/1.1 503")) {
            CHECK_HAS(got, "x-envoy-drop-overload: true\r\n");
            CHECK_HAS(got, "\r\n\r\ndrop overload");
            dropped++;
        }
    }
    CHECK(dropped > 50 && dropped < 110);
    pipeline_client_close(&client);
    pipeline_close(&p);
    open_pipeline(&p, DROP("100"));
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    mc_slice got = exchange(&p, &client, request, text, sizeof text);
    CHECK_HAS(got, "x-envoy-unconditional-drop-overload: true\r\n");
    pipeline_client_close(&client);
    pipeline_close(&p);
}
