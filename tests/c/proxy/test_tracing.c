/* Tracing through the whole data plane: decisions, what travels on, what a finished span says. */
#include "proxy_test.h"

#define ZIPKIN(more)                                                                                                   \
    "\"provider\":{\"name\":\"z\",\"index\":3,\"typed_config\":{\"@type\":"                                            \
    "\"type.googleapis.com/"                                                                                           \
    "envoy.config.trace.v3.ZipkinConfig\",\"collector_cluster\":\"web\",\"collector_endpoint\":\"/\"" more "}}"
#define TRACED(tracing, routes)                                                                                        \
    CONFIG(LISTENER("\"tracing\":{" tracing "},", routes), CLUSTER("", ENDPOINT("10.0.0.1")))

typedef struct run {
    pipeline p;
    pipeline_peer client;
    char request[4096], text[4096];
} run;

static void keep(pipeline_peer *server) {
    run *r = MC_CONTAINER(server->owner, run, p);
    mc_slice got = pipeline_received(server, r->text, sizeof r->text);
    if (contains(got, "\r\n\r\n")) {
        snprintf(r->request, sizeof r->request, "%.*s", MC_SLICE_ARG(got));
        pipeline_serve_default(server);
    }
}

static void open_run(run *r, const char *json) {
    open_pipeline(&r->p, json);
    r->p.serve = keep;
    CHECK_INT(pipeline_client(&r->p, &r->client, "main"), MC_OK);
}

static void close_run(run *r) {
    pipeline_client_close(&r->client);
    pipeline_close(&r->p);
}

/* One request; what reached the upstream stands in r->request. */
static void ask(run *r, const char *headers) {
    char text[4096], request[1024];
    snprintf(request, sizeof request, "GET /p?q HTTP/1.1\r\nHost: h\r\n%s\r\n", headers);
    CHECK_HAS(exchange(&r->p, &r->client, request, text, sizeof text), "200 OK");
}

/* The next span, which must hold `part`. */
static void expect_span(run *r, const char *part) {
    mc_text span;
    CHECK(mc_engine_span(r->p.engine, &span));
    CHECK_HAS(mc_text_slice(&span), part);
    mc_text_fini(&span);
}

static void expect_no_span(run *r) {
    mc_text span;
    CHECK(!mc_engine_span(r->p.engine, &span));
}

TEST(decisions) {
    static const struct {
        const char *tracing, *headers, *reason; /* the 15th character of the id that travels on */
        bool span;
    } cases[] = {
        {"", "x-request-id: 00000000-0000-4000-8000-000000000000\r\n", "0000-9000-", true},
        {"\"random_sampling\":{\"value\":50},", "x-request-id: 00001387-0000-4000-8000-000000000000\r\n",
         "00001387-0000-9", true},
        {"\"random_sampling\":{\"value\":50},", "x-request-id: 00001388-0000-4000-8000-000000000000\r\n",
         "00001388-0000-4", false},
        {"\"random_sampling\":{\"value\":0.01},", "x-request-id: 00002710-0000-4000-8000-000000000000\r\n",
         "00002710-0000-9", true},
        {"\"random_sampling\":{},", "x-client-trace-id: c\r\nx-request-id: 00000000-0000-4000-8000-000000000000\r\n",
         "00000000-0000-b", true},
        {"\"random_sampling\":{},\"client_sampling\":{},",
         "x-client-trace-id: c\r\nx-request-id: 00000000-0000-4000-8000-000000000000\r\n", "00000000-0000-4", false},
        {"\"random_sampling\":{},", "x-request-id: 00000000-0000-a000-8000-000000000000\r\n", "00000000-0000-a", true},
        {"\"overall_sampling\":{},", "x-request-id: 00000000-0000-a000-8000-000000000000\r\n", "00000000-0000-4",
         false},
        {"\"overall_sampling\":{\"value\":0.004},", "x-request-id: 00000000-0000-9000-8000-000000000000\r\n",
         "00000000-0000-4", false},
        {"", "x-request-id: not an id\r\n", "not an id", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run r = {0};
        char json[4096];
        snprintf(json, sizeof json, TRACED("%s" ZIPKIN(""), TO_WEB), cases[i].tracing);
        open_run(&r, json);
        ask(&r, cases[i].headers);
        CHECK_HAS(mc_slice_cstr(r.request), cases[i].reason);
        CHECK_HAS(mc_slice_cstr(r.request), cases[i].span ? "x-b3-sampled: 1" : "x-b3-sampled: 0");
        if (cases[i].span) {
            expect_span(&r, "{\"provider\":3,\"trace_id\":\"");
        }
        expect_no_span(&r);
        close_run(&r);
    }
}

TEST(what_a_span_says) {
    run r = {0};
    open_run(&r, TRACED(ZIPKIN(""), "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\"},\"tracing\":{"
                                    "\"custom_tags\":[{\"tag\":\"t\",\"request_header\":{\"name\":\"x-t\"}},"
                                    "{\"tag\":\"l\",\"literal\":{\"value\":\"50 %\"}}]}}"));
    ask(&r, "x-b3-traceid: 1\r\nx-b3-spanid: 2\r\nx-t: quo\"te\r\n");
    mc_text text;
    CHECK(mc_engine_span(r.p.engine, &text));
    mc_slice span = mc_text_slice(&text);
    CHECK_HAS(span, "\"trace_id\":\"0000000000000001\",\"id\":\"0000000000000002\",\"name\":\"h\",\"kind\":\"SERVER\"");
    CHECK_HAS(span, "\"shared\":true");
    CHECK_HAS(span, "\"http.url\":\"http://h/p?q\"");
    CHECK_HAS(span, "\"upstream_cluster\":\"web\"");
    CHECK_HAS(span, "\"http.status_code\":\"200\"");
    CHECK_HAS(span, "\"t\":\"quo\\\"te\"");
    CHECK_HAS(span, "\"l\":\"50 %\"");
    CHECK(!contains(span, "\"error\""));
    mc_text_fini(&text);
    CHECK_U64(pipeline_counter(&r.p, "http.in.tracing.random_sampling"), 1);
    close_run(&r);
}

TEST(each_try_has_a_span) {
    run r = {0};
    open_run(&r, TRACED("\"spawn_upstream_span\":true," ZIPKIN(""), TO_WEB));
    ask(&r, "x-b3-traceid: 1\r\nx-b3-spanid: 2\r\n");
    CHECK_HAS(mc_slice_cstr(r.request), "x-b3-parentspanid: 0000000000000002");
    expect_span(&r, "\"name\":\"router web egress\",\"kind\":\"CLIENT\"");
    expect_span(&r, "\"kind\":\"SERVER\"");
    expect_no_span(&r);
    close_run(&r);
}

TEST(a_copy_has_a_span_that_outlives_the_stream) {
    run r = {0};
    open_run(&r, TRACED(ZIPKIN(""), "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\","
                                    "\"request_mirror_policies\":[{\"cluster\":\"web\"},"
                                    "{\"cluster\":\"web\",\"trace_sampled\":false}]}}"));
    ask(&r, "x-b3-traceid: 1\r\nx-b3-spanid: 2\r\n");
    unsigned copies = 0, own = 0;
    mc_text text;
    while (mc_engine_span(r.p.engine, &text)) {
        copies += contains(mc_text_slice(&text), "\"name\":\"web\",\"kind\":\"CLIENT\"");
        own += contains(mc_text_slice(&text), "\"kind\":\"SERVER\"");
        mc_text_fini(&text);
    }
    CHECK_INT(copies, 1);
    CHECK_INT(own, 1);
    close_run(&r);
}

static bool refuse_all(pipeline *p, const mc_host *host) { return false; }

TEST(tries_that_fail) {
    run r = {0};
    char text[4096];
    open_run(&r, TRACED("\"spawn_upstream_span\":true," ZIPKIN(""),
                        "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\",\"retry_policy\":{"
                        "\"retry_on\":\"connect-failure\"},\"request_mirror_policies\":[{\"cluster\":\"web\"}]}}"));
    r.p.admit = refuse_all;
    CHECK_HAS(exchange(&r.p, &r.client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", text, sizeof text), "503");
    unsigned spans = 0, tries = 0, retries = 0, copies = 0;
    mc_text span;
    for (; mc_engine_span(r.p.engine, &span); spans++) {
        tries += contains(mc_text_slice(&span), "\"error.reason\":\"local connection failure\"");
        retries += contains(mc_text_slice(&span), "\"retry.count\":\"1\"");
        copies += contains(mc_text_slice(&span), "\"name\":\"web\"");
        mc_text_fini(&span);
    }
    CHECK_INT(tries, 2);
    CHECK_INT(retries, 1);
    CHECK_INT(copies, 1);
    CHECK_INT(spans, 4);
    close_run(&r);
}

TEST(a_full_ring_drops) {
    mc_span_ring ring = {0};
    mc_text text;
    for (unsigned i = 0; i < MC_SPAN_RING + 3; i++) {
        mc_text_init(&text);
        mc_text_u64(&text, i);
        CHECK_INT(mc_span_ring_push(&ring, &text), i == 0);
    }
    CHECK_U64(ring.dropped, 3);
    CHECK(mc_span_ring_pop(&ring, &text));
    CHECK_SLICE(mc_text_slice(&text), "0");
    mc_text_fini(&text);
    mc_span_ring_fini(&ring); /* frees what nobody read */
}

TEST(a_ring_without_memory_drops) {
    for (long n = 1; n < 60; n++) {
        mc_span_ring ring = {0};
        mc_text text;
        mc_test_alloc_fail_at(n);
        mc_text_init(&text);
        mc_text_u64(&text, 1);
        (void)mc_span_ring_push(&ring, &text);
        mc_test_alloc_fail_at(0);
        mc_span_ring_fini(&ring);
    }
}
