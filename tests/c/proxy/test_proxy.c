/* Requests through the whole data plane, in memory and virtual time. */
#include "proxy_test.h"

TEST(a_request_goes_through) {
    pipeline p;
    pipeline_peer client;
    char text[4096];
    open_pipeline(&p, PLAIN);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    for (int i = 0; i < 3; i++) {
        mc_slice got = exchange(&p, &client, "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\n\r\n", text, sizeof text);
        CHECK_HAS(got, "HTTP/1.1 200 OK\r\n");
        CHECK_HAS(got, "server: envoy\r\n");
        CHECK_HAS(got, "x-envoy-upstream-service-time: ");
        CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nhello")));
    }
    CHECK_INT(p.connects, 1);
    CHECK_U64(pipeline_counter(&p, "http.in.downstream_rq_2xx"), 3);
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_200"), 3);
    CHECK_U64(pipeline_gauge(&p, "http.in.downstream_rq_active"), 0);
    pipeline_client_close(&client);
    pipeline_close(&p);
}

TEST(the_upstream_sees_envoys_headers) {
    pipeline p;
    pipeline_peer client;
    char text[4096], request[4096] = "";
    open_pipeline(&p, PLAIN);
    p.user = request;
    p.serve = keep_request;
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    exchange(&p, &client,
             "GET /a HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nX-Custom: V\r\nx-envoy-retry-on: 5xx\r\n\r\n",
             text, sizeof text);
    mc_slice seen = mc_slice_cstr(request);
    CHECK(mc_slice_has_prefix(seen, MC_SLICE("GET /a HTTP/1.1\r\nhost: h\r\n")));
    CHECK_HAS(seen, "x-custom: V\r\n");
    CHECK_HAS(seen, "x-forwarded-proto: http\r\n");
    CHECK_HAS(seen, "x-request-id: ");
    CHECK_HAS(seen, "x-envoy-expected-rq-timeout-ms: 15000\r\n");
    CHECK(!contains(seen, "connection:"));
    CHECK(!contains(seen, "x-envoy-retry-on"));
    pipeline_client_close(&client);
    pipeline_close(&p);
}

TEST(pipelined_requests_are_answered_in_order) {
    pipeline p;
    pipeline_peer client;
    char text[8192];
    open_pipeline(&p, PLAIN);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    mc_slice got = exchange(
        &p, &client,
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n", text,
        sizeof text);
    size_t count = 0;
    for (size_t at; (at = mc_slice_search(got, MC_SLICE("200 OK"))) != SIZE_MAX; got = mc_slice_from(got, at + 6)) {
        count++;
    }
    CHECK_INT(count, 3);
    pipeline_client_close(&client);
    pipeline_close(&p);
}

TEST(no_route_is_404) {
    pipeline p;
    pipeline_peer client;
    char text[4096];
    open_pipeline(&p, CONFIG(LISTENER("", "{\"match\":{\"prefix\":\"/x\"},\"route\":{\"cluster\":\"web\"}}"),
                             CLUSTER("", ENDPOINT("10.0.0.1"))));
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    CHECK_HAS(exchange(&p, &client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text), "404 Not Found\r\n");
    CHECK_U64(pipeline_counter(&p, "http.in.no_route"), 1);
    CHECK_U64(pipeline_counter(&p, "http.in.response_flags.NR"), 1);
    pipeline_client_close(&client);
    pipeline_close(&p);
}

static bool refuse_all(pipeline *p, const mc_host *host) { return false; }

TEST(faults_are_answered_as_envoy_does) {
    pipeline p;
    pipeline_peer client;
    char text[4096];
    open_pipeline(&p, PLAIN);
    p.admit = refuse_all;
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    mc_slice got = exchange(&p, &client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text);
    CHECK_HAS(got, "503 Service Unavailable\r\n");
    CHECK_HAS(got, "upstream connect error or disconnect/reset before headers. reset reason: ");
    CHECK_U64(pipeline_counter(&p, "http.in.response_flags.UF"), 1);
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_503"), 1);
    pipeline_client_close(&client);
    pipeline_close(&p);
}

TEST(no_host_is_503) {
    pipeline p;
    pipeline_peer client;
    char text[4096];
    open_pipeline(&p, CONFIG(LISTENER("", TO_WEB), "{\"name\":\"web\",\"type\":\"STATIC\"}"));
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    CHECK_HAS(exchange(&p, &client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text), "no healthy upstream");
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_cx_none_healthy"), 1);
    CHECK_U64(pipeline_counter(&p, "http.in.response_flags.UH"), 1);
    pipeline_client_close(&client);
    pipeline_close(&p);
}

static void never_answer(pipeline_peer *server) {}

TEST(timeout_is_504) {
    pipeline p;
    pipeline_peer client;
    char text[4096];
    open_pipeline(
        &p, CONFIG(LISTENER("", "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\",\"timeout\":\"0.5s\"}}"),
                   CLUSTER("", ENDPOINT("10.0.0.1"))));
    p.serve = never_answer;
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    mc_slice got = exchange(&p, &client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text);
    CHECK_HAS(got, "504 Gateway Timeout\r\n");
    CHECK_HAS(got, "upstream request timeout");
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_timeout"), 1);
    CHECK_U64(pipeline_counter(&p, "http.in.response_flags.UT"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_rq_active"), 0);
    pipeline_client_close(&client);
    pipeline_close(&p);
}

TEST(malformed_is_400_and_closes) {
    pipeline p;
    pipeline_peer client;
    char text[4096];
    open_pipeline(&p, PLAIN);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    mc_slice got =
        exchange(&p, &client, "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                 text, sizeof text);
    CHECK_HAS(got, "400 Bad Request\r\n");
    CHECK_HAS(got, "connection: close\r\n");
    CHECK(client.closed);
    CHECK_U64(pipeline_counter(&p, "http.in.downstream_cx_protocol_error"), 1);
    CHECK_U64(pipeline_counter(&p, "http.in.response_flags.DPE"), 1);
    pipeline_client_close(&client);
    pipeline_close(&p);
}

static void fail_first_host(pipeline_peer *server) {
    pipeline *p = server->owner;
    p->response = mc_slice_has_suffix(server->host->address_text, MC_SLICE("1:80"))
                      ? "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
                      : "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    pipeline_serve_default(server);
}

#define RETRIED                                                                                                        \
    "{\"match\":{\"prefix\":\"/"                                                                                       \
    "\"},\"route\":{\"cluster\":\"web\",\"retry_policy\":{\"retry_on\":\"5xx\",\"num_retries\":3}}}"

TEST(a_failed_response_is_retried) {
    pipeline p;
    pipeline_peer client;
    char text[4096];
    open_pipeline(&p, CONFIG(LISTENER("", RETRIED), CLUSTER("", ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.2"))));
    p.serve = fail_first_host;
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    for (int i = 0; i < 8; i++) {
        CHECK_HAS(exchange(&p, &client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", text, sizeof text),
                  "200 OK");
    }
    CHECK(pipeline_counter(&p, "cluster.web.upstream_rq_retry") > 0);
    CHECK_U64(pipeline_counter(&p, "cluster.web.upstream_rq_retry_success"),
              pipeline_counter(&p, "cluster.web.upstream_rq_retry"));
    pipeline_client_close(&client);
    pipeline_close(&p);
}

/* Echoes a chunked body back, until close. */
static void echo_body(pipeline_peer *server) {
    char text[65536];
    mc_slice got = pipeline_received(server, text, sizeof text);
    size_t head = mc_slice_search(got, MC_SLICE("\r\n\r\n"));
    if (head != SIZE_MAX && mc_slice_has_suffix(got, MC_SLICE("0\r\n\r\n"))) {
        pipeline_send(server, MC_SLICE("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"));
        pipeline_send(server, mc_slice_from(got, head + 4));
    }
}

TEST(chunked_bodies_pass_both_ways_at_any_split) {
    for (uint64_t round = 0; round < 40; round++) {
        pipeline p;
        pipeline_peer client;
        char text[8192];
        open_pipeline(&p, PLAIN);
        p.memory = (mc_memory_options){.split = true, .max_delay_ms = (uint32_t)(round % 5)};
        p.serve = echo_body;
        CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
        mc_slice got = exchange(
            &p, &client,
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n",
            text, sizeof text);
        CHECK_HAS(got, "transfer-encoding: chunked\r\n");
        CHECK(mc_slice_has_suffix(got, MC_SLICE("0\r\n\r\n")));
        pipeline_client_close(&client);
        pipeline_close(&p);
    }
}

TEST(a_client_that_leaves_cancels_upstream) {
    pipeline p;
    pipeline_peer client;
    open_pipeline(&p, PLAIN);
    p.serve = never_answer;
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    pipeline_send(&client, MC_SLICE("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    pipeline_run(&p, 100);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_rq_active"), 1);
    pipeline_client_close(&client);
    pipeline_run(&p, 100);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_rq_active"), 0);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    CHECK_U64(pipeline_counter(&p, "http.in.downstream_cx_destroy_remote_active_rq"), 1);
    CHECK_U64(pipeline_counter(&p, "http.in.response_flags.DC"), 1);
    pipeline_close(&p);
}

TEST(a_new_configuration_takes_over_between_requests) {
    pipeline p;
    pipeline_peer client;
    char text[4096];
    mc_error error;
    open_pipeline(&p, PLAIN);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    CHECK_HAS(exchange(&p, &client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text), "200 OK");
    CHECK_INT(
        pipeline_configure(&p,
                           CONFIG(LISTENER("", "{\"match\":{\"prefix\":\"/new\"},\"route\":{\"cluster\":\"web\"}}"),
                                  CLUSTER("", ENDPOINT("10.0.0.1"))),
                           &error),
        MC_OK);
    CHECK_HAS(exchange(&p, &client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text), "404 Not Found");
    CHECK_HAS(exchange(&p, &client, "GET /new HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text), "200 OK");
    CHECK_INT(p.connects, 1); /* an unchanged cluster keeps its connections */
    pipeline_client_close(&client);
    pipeline_close(&p);
}

TEST(draining_finishes_what_is_under_way) {
    pipeline p;
    pipeline_peer client;
    char text[4096];
    open_pipeline(&p, PLAIN);
    p.memory.max_delay_ms = 0;
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    pipeline_send(&client, MC_SLICE("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    mc_engine_drain(p.engine);
    pipeline_run(&p, 2000);
    mc_slice got = pipeline_received(&client, text, sizeof text);
    (void)got;
    CHECK(client.closed);
    CHECK(mc_engine_drained(p.engine));
    pipeline_client_close(&client);
    pipeline_close(&p);
}
