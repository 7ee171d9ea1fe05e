/* The connection manager's decisions about one request: what of it goes upstream, and what is refused. */
#include "http/flags.h"
#include "proxy/client_cert.h"
#include "proxy/proxy_status.h"
#include "proxy_test.h"

typedef struct fixture {
    pipeline p;
    pipeline_peer client;
    char upstream[4096]; /* the request as the upstream saw it */
    char text[8192];
} fixture;

static void open_fixture(fixture *f, const char *config) {
    memset(f, 0, sizeof *f);
    open_pipeline(&f->p, config);
    f->p.user = f->upstream;
    f->p.serve = keep_request;
    CHECK_INT(pipeline_client(&f->p, &f->client, "main"), MC_OK);
}

static void close_fixture(fixture *f) {
    pipeline_client_close(&f->client);
    pipeline_close(&f->p);
}

static mc_slice ask(fixture *f, const char *request) {
    f->upstream[0] = '\0';
    return exchange(&f->p, &f->client, request, f->text, sizeof f->text);
}

#define WITH(hcm)             CONFIG(LISTENER(hcm, TO_WEB), CLUSTER("", ENDPOINT("10.0.0.1")))
#define GET(more)             "GET / HTTP/1.1\r\nHost: h\r\n" more "\r\n"
#define SEEN(f)               mc_slice_cstr((f).upstream)
#define CHECK_NOT(text, part) CHECK(!contains(text, part))

/* --- who is asking ---------------------------------------------------------------------------------------------------- */

TEST(nothing_is_internal_unless_configured) { /* HC-14 */
    fixture f;
    open_fixture(&f, WITH(""));
    ask(&f, GET("x-forwarded-for: 10.0.0.9\r\nx-envoy-internal: true\r\nx-envoy-max-retries: 3\r\n"));
    CHECK_NOT(SEEN(f), "x-envoy-internal");
    CHECK_NOT(SEEN(f), "x-envoy-max-retries");
    close_fixture(&f);
}

TEST(private_addresses_are_internal_when_configured) { /* HC-12, HC-14 */
    fixture f;
    open_fixture(&f, WITH("\"internal_address_config\":{\"unix_sockets\":false},"));
    ask(&f, GET("x-forwarded-for: 10.0.0.9\r\nx-envoy-ip-tags: a\r\n"));
    CHECK_HAS(SEEN(f), "x-envoy-internal: true\r\n");
    CHECK_HAS(SEEN(f), "x-envoy-ip-tags: a\r\n");
    ask(&f, GET("x-forwarded-for: 1.2.3.4, 10.0.0.9\r\nx-envoy-ip-tags: a\r\n")); /* more than one address */
    CHECK_NOT(SEEN(f), "x-envoy-internal");
    CHECK_NOT(SEEN(f), "x-envoy-ip-tags");
    ask(&f, GET("x-forwarded-for: 9.9.9.9\r\n"));
    CHECK_NOT(SEEN(f), "x-envoy-internal");
    ask(&f, GET(""));
    CHECK_NOT(SEEN(f), "x-envoy-internal");
    close_fixture(&f);
}

TEST(only_the_ranges_given_are_internal) { /* HC-14 */
    fixture f;
    open_fixture(&f,
                 WITH("\"internal_address_config\":{\"cidr_ranges\":[{\"address_prefix\":\"9.9.0.0\",\"prefix_len\":"
                      "16}]},"));
    ask(&f, GET("x-forwarded-for: 9.9.1.2\r\n"));
    CHECK_HAS(SEEN(f), "x-envoy-internal: true\r\n");
    ask(&f, GET("x-forwarded-for: 10.0.0.9\r\n"));
    CHECK_NOT(SEEN(f), "x-envoy-internal");
    close_fixture(&f);
}

#define DETECT(type, more)                                                                                             \
    "\"original_ip_detection_extensions\":[{\"name\":\"d\",\"typed_config\":{\"@type\":\"type.googleapis.com/"         \
    "envoy.extensions.http.original_ip_detection." type "\"," more                                                     \
    "}}],\"internal_address_config\":{\"unix_sockets\":"                                                               \
    "false},"

TEST(a_header_tells_the_client) { /* HC-12 */
    fixture f;
    open_fixture(&f, WITH(DETECT("custom_header.v3.CustomHeaderConfig",
                                 "\"header_name\":\"X-Real\",\"allow_extension_to_set_address_as_trusted\":true,"
                                 "\"reject_with_status\":{\"code\":\"Unauthorized\"}")));
    ask(&f, GET("x-real: 10.1.1.1\r\n"));
    CHECK_HAS(SEEN(f), "x-envoy-internal: true\r\n");
    mc_slice got = ask(&f, GET("x-real: nonsense\r\n"));
    CHECK_HAS(got, "401 Unauthorized");
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_rejected_via_ip_detection"), 1);
    CHECK_HAS(ask(&f, GET("")), "401 Unauthorized");
    close_fixture(&f);
}

TEST(trusted_hops_are_passed_over) { /* HC-12 */
    fixture f;
    open_fixture(&f, WITH(DETECT("xff.v3.XffConfig", "\"xff_num_trusted_hops\":1")));
    ask(&f, GET("x-forwarded-for: 10.0.0.1, 8.8.8.8\r\n"));
    CHECK_NOT(SEEN(f), "x-envoy-internal"); /* trusted only without hops */
    close_fixture(&f);
}

TEST(detection_excludes_use_remote_address) {
    pipeline p;
    mc_error error = {0};
    const char *const configs[] = {
        WITH("\"use_remote_address\":true," DETECT("xff.v3.XffConfig", "\"xff_num_trusted_hops\":1")),
        WITH("\"xff_num_trusted_hops\":1," DETECT("xff.v3.XffConfig", "\"xff_num_trusted_hops\":1")),
        WITH(DETECT("xff.v3.XffConfig", "\"xff_num_trusted_hops\":1,\"xff_trusted_cidrs\":{\"cidrs\":[]}")),
        WITH("\"strip_any_host_port\":true,\"strip_matching_host_port\":true,"),
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        CHECK_INT(pipeline_open(&p, configs[i], 1, &error), MC_EINVAL);
    }
}

TEST(the_scheme_is_what_was_configured) { /* HC-13 */
    fixture f;
    open_fixture(&f, WITH("\"scheme_header_transformation\":{\"scheme_to_overwrite\":\"https\"},"));
    ask(&f, GET("x-forwarded-proto: http\r\n"));
    CHECK_HAS(SEEN(f), "x-forwarded-proto: https\r\n");
    close_fixture(&f);
}

/* --- request ids --------------------------------------------------------------------------------------------------------- */

TEST(request_ids) { /* HC-20 */
    fixture f;
    open_fixture(&f, WITH("\"always_set_request_id_in_response\":true,"));
    mc_slice got = ask(&f, GET(""));
    CHECK_HAS(SEEN(f), "x-request-id: ");
    CHECK_HAS(got, "x-request-id: ");
    ask(&f, GET("x-request-id: mine\r\n")); /* not an edge: untouched */
    CHECK_HAS(SEEN(f), "x-request-id: mine\r\n");
    close_fixture(&f);
    open_fixture(&f, WITH("\"use_remote_address\":true,\"preserve_external_request_id\":true,"));
    ask(&f, GET("x-request-id: 01234567-89ab-9def-0123-456789abcdef\r\n"));
    CHECK_HAS(SEEN(f), "x-request-id: 01234567-89ab-4def-0123-456789abcdef\r\n");
    ask(&f, GET("x-request-id: mine\r\n"));
    CHECK_HAS(SEEN(f), "x-request-id: mine\r\n");
    close_fixture(&f);
    open_fixture(&f, WITH("\"use_remote_address\":true,\"preserve_external_request_id\":true,\"request_id_extension\":{"
                          "\"typed_config\":{\"@type\":\"type.googleapis.com/"
                          "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig\",\"pack_trace_reason\":false}},"));
    ask(&f, GET("x-request-id: 01234567-89ab-9def-0123-456789abcdef\r\n"));
    CHECK_HAS(SEEN(f), "x-request-id: 01234567-89ab-9def-0123-456789abcdef\r\n");
    close_fixture(&f);
}

/* --- client certificates --------------------------------------------------------------------------------------------------- */

static const mc_slice own_uris[] = {MC_SLICE_INIT("spiffe://me")};
static const mc_slice peer_uris[] = {MC_SLICE_INIT("spiffe://you")};
static const mc_slice peer_names[] = {MC_SLICE_INIT("you"), MC_SLICE_INIT("thou")};

TEST(client_certificates) { /* HC-21 */
    const mc_certificate local = {.uri_sans = {own_uris, 1}};
    const mc_certificate peer = {.subject = MC_SLICE_INIT("CN=you"),
                                 .sha256 = MC_SLICE_INIT("abcd"),
                                 .pem = MC_SLICE_INIT("a b+/=\n"),
                                 .uri_sans = {peer_uris, 1},
                                 .dns_sans = {peer_names, 2}};
    const mc_tls_info tls = {.peer = &peer, .local = &local}, anonymous = {.local = &local};
    static const struct {
        mc_client_cert_rules rules;
        int peer; /* 0 none, 1 a certificate, 2 TLS without one */
        const char *before, *after;
    } cases[] = {
        {{.mode = MC_XFCC_SANITIZE}, 1, "x", NULL},
        {{.mode = MC_XFCC_FORWARD_ONLY}, 0, "x", NULL},
        {{.mode = MC_XFCC_FORWARD_ONLY}, 2, "x", NULL},
        {{.mode = MC_XFCC_FORWARD_ONLY}, 1, "x", "x"},
        {{.mode = MC_XFCC_ALWAYS_FORWARD_ONLY}, 0, "x", "x"},
        {{.mode = MC_XFCC_APPEND_FORWARD}, 1, "x", "x,By=spiffe://me;Hash=abcd"},
        {{.mode = MC_XFCC_APPEND_FORWARD}, 1, NULL, "By=spiffe://me;Hash=abcd"},
        {{.mode = MC_XFCC_SANITIZE_SET, .cert = true, .subject = true, .uri = true, .dns = true},
         1,
         "x",
         "By=spiffe://me;Hash=abcd;Cert=\"a%20b%2B%2F%3D%0A\";Subject=\"CN=you\";URI=spiffe://you;DNS=you;DNS=thou"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mc_arena arena;
        mc_headers headers;
        mc_arena_init(&arena, NULL);
        mc_headers_init(&headers, &arena);
        if (cases[i].before != NULL) {
            CHECK_INT(mc_headers_add_known_ref(&headers, MC_H_X_FORWARDED_CLIENT_CERT, mc_slice_cstr(cases[i].before)),
                      MC_OK);
        }
        const mc_tls_info *info = cases[i].peer == 1 ? &tls : cases[i].peer == 2 ? &anonymous : NULL;
        CHECK_INT(mc_client_cert_apply(&cases[i].rules, info, &headers), MC_OK);
        mc_slice value = mc_headers_get_known(&headers, MC_H_X_FORWARDED_CLIENT_CERT);
        if (cases[i].after == NULL) {
            CHECK(value.p == NULL);
        } else {
            CHECK_SLICE(value, cases[i].after);
        }
        mc_arena_fini(&arena);
    }
}

/* --- proxy-status ------------------------------------------------------------------------------------------------------------- */

TEST(proxy_status_tells_what_went_wrong) {
    fixture f;
    open_fixture(&f, CONFIG(LISTENER("\"proxy_status_config\":{\"literal_proxy_name\":\"edge\","
                                     "\"set_recommended_response_code\":true},",
                                     "{\"match\":{\"prefix\":\"/x\"},\"route\":{\"cluster\":\"web\"}}"),
                            CLUSTER("", ENDPOINT("10.0.0.1"))));
    mc_slice got = ask(&f, GET(""));
    CHECK_HAS(got, "HTTP/1.1 500 ");
    CHECK_HAS(got, "proxy-status: edge; error=destination_not_found; details=\"route_not_found; NR\"\r\n");
    got = ask(&f, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_NOT(got, "proxy-status");
    close_fixture(&f);
}

/* --- timeouts and the end of connections ------------------------------------------------------------------------------------------- */

static void never_answer(pipeline_peer *server) {}

TEST(an_idle_connection_drains_then_closes) { /* section 1.5 */
    fixture f;
    open_fixture(&f, WITH("\"common_http_protocol_options\":{\"idle_timeout\":\"10s\"},\"drain_timeout\":\"3s\","));
    ask(&f, GET(""));
    pipeline_run(&f.p, 9500);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_idle_timeout"), 1);
    CHECK(!f.client.closed);
    pipeline_run(&f.p, 3000);
    CHECK(f.client.closed);
    close_fixture(&f);
}

TEST(a_connection_without_a_request_closes_at_once) {
    fixture f;
    open_fixture(&f, WITH("\"common_http_protocol_options\":{\"idle_timeout\":\"10s\"},"));
    pipeline_run(&f.p, 10100);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_idle_timeout"), 1);
    CHECK(f.client.closed);
    close_fixture(&f);
}

/* A response whose end waits to leave: the next request is not looked at before, or its response would wait beside it without
 * a limit. */
TEST(a_client_that_does_not_read_is_not_served_ahead) {
    static char big[1 << 21];
    const size_t body =
        1114050; /* in 17 pieces, of which one is on its way and the rest, with the head, is just above the limit */
    fixture f;
    open_fixture(&f, WITH(""));
    const int head = snprintf(big, sizeof big, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", body);
    memset(big + head, 'x', body);
    f.p.response = big;
    mc_conn_pause_reading(&f.client.conn);
    pipeline_send(&f.client, MC_SLICE(GET("") GET("")));
    pipeline_run(&f.p, 1000);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_2xx"), 1);
    CHECK_U64(pipeline_gauge(&f.p, "http.in.downstream_rq_active"), 0);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_total"), 1);
    mc_conn_resume_reading(&f.client.conn);
    pipeline_run(&f.p, 1000);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_2xx"), 2);
    CHECK(f.client.in.length > 2 * body);
    close_fixture(&f);
}

/* --- the end of a connection -------------------------------------------------------------------------------------------- */

enum { LARGE = 600000 };

/* A response of LARGE bytes and more that the client, which asked for the end, does not read yet. */
static void ask_large(fixture *f, char *big, size_t n) {
    const int head = snprintf(big, n, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n", LARGE);
    memset(big + head, 'x', LARGE);
    f->p.response = big;
    mc_conn_pause_reading(&f->client.conn);
    pipeline_send(&f->client, MC_SLICE(GET("connection: close\r\n")));
    pipeline_settle(&f->p);
    CHECK_U64(pipeline_counter(&f->p, "http.in.downstream_rq_completed"), 1);
}

static void read_some(fixture *f) {
    mc_conn_resume_reading(&f->client.conn);
    mc_loop_turn(f->p.worker->loop, 0);
    mc_conn_pause_reading(&f->client.conn);
}

TEST(a_slow_reader_gets_everything) { /* delayed_close_timeout counts from its last read */
    static char big[LARGE + 100];
    fixture f;
    int reads = 0;
    open_fixture(&f, WITH(""));
    for (ask_large(&f, big, sizeof big); !f.client.eof && reads < 100; reads++) {
        read_some(&f);
        pipeline_run(&f.p, 900);
    }
    CHECK(reads > 3);
    CHECK(f.client.in.length > LARGE);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_delayed_close_timeout"), 0);
    close_fixture(&f);
}

TEST(a_reader_that_stops_is_cut_off) {
    static char big[LARGE + 100];
    fixture f;
    open_fixture(&f, WITH(""));
    ask_large(&f, big, sizeof big);
    read_some(&f);
    pipeline_run(&f.p, 2000);
    CHECK_U64(pipeline_gauge(&f.p, "http.in.downstream_cx_active"), 0);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_delayed_close_timeout"), 1);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_destroy_local"), 1);
    close_fixture(&f);
}

/* Who asked for the end has nothing more to say; who did not may be sending the next request. */
TEST(only_who_did_not_ask_for_the_end_is_waited_for) {
    fixture f;
    open_fixture(&f, WITH("\"common_http_protocol_options\":{\"max_requests_per_connection\":1},"));
    mc_conn_pause_reading(&f.client.conn); /* such that it does not answer the FIN */
    pipeline_send(&f.client, MC_SLICE(GET("connection: close\r\n")));
    pipeline_settle(&f.p);
    CHECK_U64(pipeline_gauge(&f.p, "http.in.downstream_cx_active"), 0);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_destroy_local"), 1);
    mc_conn_resume_reading(&f.client.conn);
    pipeline_settle(&f.p);
    CHECK_HAS(pipeline_received(&f.client, f.text, sizeof f.text), "hello");
    pipeline_client_close(&f.client);

    CHECK_INT(pipeline_client(&f.p, &f.client, "main"), MC_OK);
    mc_conn_pause_reading(&f.client.conn);
    pipeline_send(&f.client, MC_SLICE(GET("")));
    pipeline_run(&f.p, 900);
    CHECK_U64(pipeline_gauge(&f.p, "http.in.downstream_cx_active"), 1);
    pipeline_run(&f.p, 200);
    CHECK_U64(pipeline_gauge(&f.p, "http.in.downstream_cx_active"), 0);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_delayed_close_timeout"), 1);
    close_fixture(&f);
}

TEST(a_connection_lives_so_long) {
    fixture f;
    open_fixture(&f, WITH("\"common_http_protocol_options\":{\"max_connection_duration\":\"5s\"},"));
    CHECK_NOT(ask(&f, GET("")), "connection: close");
    pipeline_run(&f.p, 4500);
    CHECK_HAS(ask(&f, GET("")), "connection: close");
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_max_duration_reached"), 1);
    close_fixture(&f);
    open_fixture(&f, WITH("\"common_http_protocol_options\":{\"max_connection_duration\":\"5s\"},"
                          "\"http1_safe_max_connection_duration\":true,"));
    CHECK_NOT(ask(&f, GET("")), "connection: close");
    pipeline_run(&f.p, 60000);
    CHECK(!f.client.closed);
    CHECK_U64(pipeline_gauge(&f.p, "http.in.downstream_cx_http1_soft_drain"), 1);
    CHECK_HAS(ask(&f, GET("")), "connection: close");
    pipeline_client_close(&f.client);
    CHECK_U64(pipeline_gauge(&f.p, "http.in.downstream_cx_http1_soft_drain"), 0);
    close_fixture(&f);
}

static uint64_t draw_4000(void *ctx) {
    (void)ctx;
    return 4000;
}

TEST(a_connection_lives_and_drains_up_to_twice_as_long) {
    fixture f;
    memset(&f, 0, sizeof f);
    open_pipeline(&f.p, WITH("\"common_http_protocol_options\":{\"max_connection_duration\":\"5s\","
                             "\"max_connection_duration_jitter\":{\"value\":100}},"
                             "\"drain_timeout\":\"5s\",\"drain_timeout_jitter\":{\"value\":100},"));
    f.p.user = f.upstream;
    f.p.serve = keep_request;
    mc_loop_random(f.p.worker->loop)->draw = draw_4000;
    CHECK_INT(pipeline_client(&f.p, &f.client, "main"), MC_OK);
    CHECK_NOT(ask(&f, GET("")), "connection: close");
    pipeline_run(&f.p, 5500);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_max_duration_reached"), 0);
    pipeline_run(&f.p, 4000);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_max_duration_reached"), 1);
    pipeline_run(&f.p, 5500);
    CHECK(!f.client.closed);
    pipeline_run(&f.p, 3500);
    CHECK(f.client.closed);
    close_fixture(&f);
}

TEST(a_connection_carries_so_many_requests) {
    fixture f;
    open_fixture(&f, WITH("\"common_http_protocol_options\":{\"max_requests_per_connection\":2},"));
    CHECK_NOT(ask(&f, GET("")), "connection: close");
    CHECK_HAS(ask(&f, GET("")), "connection: close");
    CHECK(f.client.closed);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_max_requests_reached"), 1);
    close_fixture(&f);
}

TEST(a_request_takes_so_long) { /* request_timeout, before and after it is complete */
    fixture f;
    open_fixture(&f, WITH("\"request_timeout\":\"0.5s\","));
    f.p.serve = never_answer;
    mc_slice got = ask(&f, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
    CHECK_HAS(got, "408 Request Timeout");
    CHECK_HAS(got, "request timeout");
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_timeout"), 1);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_response_before_rq_complete"), 1);
    close_fixture(&f);
    open_fixture(&f, WITH("\"request_timeout\":\"0.5s\","));
    f.p.serve = never_answer;
    CHECK_INT(ask(&f, GET("")).n, 0); /* it is complete: only the route's timeout counts */
    close_fixture(&f);
}

TEST(a_head_takes_so_long) {
    fixture f;
    open_fixture(&f, WITH("\"request_headers_timeout\":\"0.5s\","));
    mc_slice got = ask(&f, "GET / HTTP/1.1\r\nHost");
    CHECK_HAS(got, "408 Request Timeout");
    CHECK_HAS(got, "request header timeout");
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_header_timeout"), 1);
    close_fixture(&f);
}

#define ROUTED(action)                                                                                                 \
    CONFIG(                                                                                                            \
        LISTENER("", "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\",\"timeout\":\"0s\"," action "}}"),  \
        CLUSTER("", ENDPOINT("10.0.0.1")))

TEST(a_stream_lasts_so_long) { /* HC-37 */
    fixture f;
    open_fixture(&f, ROUTED("\"max_stream_duration\":{\"max_stream_duration\":\"0.3s\"}"));
    f.p.serve = never_answer;
    mc_slice got = ask(&f, GET(""));
    CHECK_HAS(got, "504 Gateway Timeout");
    CHECK_HAS(got, "downstream duration timeout");
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_max_duration_reached"), 1);
    got = ask(&f, GET("content-type: application/grpc\r\n"));
    CHECK_HAS(got, "grpc-status: 4\r\n");
    close_fixture(&f);
}

TEST(grpc_timeout_within_the_routes_bounds) { /* HC-37, HC-38 */
    static const struct {
        const char *duration, *timeout, *sent;
    } cases[] = {
        {"\"max_stream_duration\":{\"grpc_timeout_header_max\":\"2s\"}", "500m", "grpc-timeout: 500m\r\n"},
        {"\"max_stream_duration\":{\"grpc_timeout_header_max\":\"2s\"}", "5S", "grpc-timeout: 2000m\r\n"},
        {"\"max_stream_duration\":{\"grpc_timeout_header_max\":\"0s\"}", "5S", "grpc-timeout: 5000m\r\n"},
        {"\"max_stream_duration\":{\"grpc_timeout_header_max\":\"2s\",\"grpc_timeout_header_offset\":\"0.1s\"}", "500m",
         "grpc-timeout: 400m\r\n"},
        {"\"max_stream_duration\":{\"max_stream_duration\":\"7s\"}", "500m", "grpc-timeout: 7000m\r\n"},
        {"\"idle_timeout\":\"1s\"", "500m", "grpc-timeout: 500m\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        char config[4096], request[256];
        snprintf(config, sizeof config, ROUTED("%s"), cases[i].duration);
        snprintf(request, sizeof request, GET("content-type: application/grpc\r\ngrpc-timeout: %s\r\n"),
                 cases[i].timeout);
        open_fixture(&f, config);
        ask(&f, request);
        CHECK_HAS(SEEN(f), cases[i].sent);
        close_fixture(&f);
    }
}

TEST(an_idle_stream_ends) { /* HC-36, and the route's own limit */
    fixture f;
    open_fixture(&f, ROUTED("\"idle_timeout\":\"0.3s\""));
    f.p.serve = never_answer;
    mc_slice got = ask(&f, GET(""));
    CHECK_HAS(got, "504 Gateway Timeout");
    CHECK_HAS(got, "stream timeout");
    CHECK_U64(pipeline_counter(&f.p, "http.in.response_flags.SI"), 1);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_idle_timeout"), 1);
    close_fixture(&f);
    open_fixture(&f, CONFIG(LISTENER("\"stream_idle_timeout\":\"0.3s\",",
                                     "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\",\"timeout\":\"0s\","
                                     "\"idle_timeout\":\"0s\"}}"),
                            CLUSTER("", ENDPOINT("10.0.0.1"))));
    f.p.serve = never_answer;
    CHECK_INT(ask(&f, GET("")).n, 0);
    close_fixture(&f);
}

TEST(http_10_is_closed_unless_kept_alive) { /* HC-40 */
    fixture f;
    open_fixture(&f, WITH("\"http_protocol_options\":{\"accept_http_10\":true,\"default_host_for_http_10\":\"d\"},"));
    mc_slice got = ask(&f, "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    CHECK_HAS(got, "HTTP/1.0 200 OK\r\n");
    CHECK_HAS(got, "connection: keep-alive\r\n");
    CHECK_HAS(SEEN(f), "host: d\r\n");
    got = ask(&f, "GET / HTTP/1.0\r\n\r\n");
    CHECK_HAS(got, "connection: close\r\n");
    CHECK(f.client.closed);
    close_fixture(&f);
}

TEST(http_10_without_a_length_ends_with_the_connection) { /* HC-40 */
    fixture f;
    open_fixture(&f, WITH("\"http_protocol_options\":{\"accept_http_10\":true},"));
    f.p.response = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    mc_slice got = ask(&f, "GET / HTTP/1.0\r\nHost: h\r\nconnection: keep-alive\r\n\r\n");
    CHECK_HAS(got, "connection: close\r\n");
    CHECK_NOT(got, "chunked");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nhello")));
    CHECK(f.client.closed);
    close_fixture(&f);
}

TEST(paths_by_runtime) { /* HC-31, HC-32: what the configuration leaves to the runtime */
    fixture f;
    open_fixture(&f, "{\"layered_runtime\":{\"layers\":[{\"name\":\"a\",\"static_layer\":{"
                     "\"http_connection_manager\":{\"normalize_path\":100,\"path_with_escaped_slashes_action\":4}}}]},"
                     "\"static_resources\":{\"listeners\":[" LISTENER("", TO_WEB) "],\"clusters\":[" CLUSTER(
                         "", ENDPOINT("10.0.0.1")) "]}}");
    ask(&f, "GET /a/../b%2Fc HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_HAS(SEEN(f), "GET /b/c HTTP/1.1\r\n");
    close_fixture(&f);
}

TEST(a_grpc_client_is_not_redirected) { /* HC-31 */
    fixture f;
    open_fixture(&f, WITH("\"path_with_escaped_slashes_action\":\"UNESCAPE_AND_REDIRECT\","));
    CHECK_HAS(ask(&f, "GET /a%2Fb HTTP/1.1\r\nHost: h\r\n\r\n"), "307 Temporary Redirect\r\n");
    mc_slice got =
        ask(&f, "POST /a%2Fb HTTP/1.1\r\nHost: h\r\ncontent-length: 0\r\ncontent-type: application/grpc\r\n\r\n");
    CHECK_HAS(got, "grpc-status: 13\r\n");
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_failed_path_normalization"), 1);
    close_fixture(&f);
}

/* --- how names are written ---------------------------------------------------------------------------------------------------- */

#define HTTP1(options) "\"http_protocol_options\":{" options "},"
#define PRESERVE(more)                                                                                                 \
    "\"header_key_format\":{\"stateful_formatter\":{\"name\":\"p\",\"typed_config\":{\"@type\":\"type.googleapis.com/" \
    "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig\"" more "}}}"
#define UPSTREAM_HTTP1(options)                                                                                        \
    "\"typed_extension_protocol_options\":{\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\":{"               \
    "\"@type\":\"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\","                        \
    "\"explicit_http_config\":{\"http_protocol_options\":{" options "}}}},"

TEST(names_in_proper_case) { /* H1-13 */
    fixture f;
    open_fixture(
        &f, CONFIG(LISTENER(HTTP1("\"header_key_format\":{\"proper_case_words\":{}}"), TO_WEB),
                   CLUSTER(UPSTREAM_HTTP1("\"header_key_format\":{\"proper_case_words\":{}}"), ENDPOINT("10.0.0.1"))));
    f.p.response = "HTTP/1.1 200 OK\r\nx-a_b1c-d: v\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    mc_slice got = ask(&f, GET("x-FOO: 1\r\n"));
    CHECK_HAS(SEEN(f), "GET / HTTP/1.1\r\nHost: h\r\nX-Foo: 1\r\n");
    CHECK_HAS(got, "X-A_B1c-D: v\r\n");
    CHECK_HAS(got, "Transfer-Encoding: chunked\r\n");
    CHECK_HAS(got, "Server: envoy\r\n");
    close_fixture(&f);
}

TEST(names_as_they_came) { /* H1-13 */
    fixture f;
    open_fixture(&f, CONFIG(LISTENER(HTTP1(PRESERVE("")), TO_WEB),
                            CLUSTER(UPSTREAM_HTTP1(PRESERVE(",\"forward_reason_phrase\":true,"
                                                            "\"formatter_type_on_envoy_headers\":\"PROPER_CASE\"")),
                                    ENDPOINT("10.0.0.1"))));
    f.p.response = "HTTP/1.1 200 Fine\r\ncONTENT-length: 0\r\nX-mIXED: v\r\nx-Mixed: w\r\n\r\n";
    mc_slice got = ask(&f, "GET / HTTP/1.1\r\nhOST: h\r\nX-fOO: 1\r\n\r\n");
    CHECK_HAS(SEEN(f), "hOST: h\r\nX-fOO: 1\r\nx-forwarded-proto: http\r\n");
    CHECK_HAS(got, "HTTP/1.1 200 Fine\r\ncONTENT-length: 0\r\nX-mIXED: v\r\nX-mIXED: w\r\n");
    CHECK_HAS(got, "Server: envoy\r\n");
    close_fixture(&f);
}

TEST(the_whole_url_goes_upstream) {
    fixture f;
    open_fixture(&f, CONFIG(LISTENER("", TO_WEB),
                            CLUSTER(UPSTREAM_HTTP1("\"send_fully_qualified_url\":true"), ENDPOINT("10.0.0.1"))));
    ask(&f, "GET /a?b HTTP/1.1\r\nHost: h:8\r\n\r\n");
    CHECK_HAS(SEEN(f), "GET http://h:8/a?b HTTP/1.1\r\nhost: h:8\r\n");
    close_fixture(&f);
}

TEST(upgrades_that_are_passed_over) {
    fixture f;
    open_fixture(&f, WITH(HTTP1("\"ignore_http_11_upgrade\":[{\"prefix\":\"TLS/\"}]")));
    CHECK_HAS(ask(&f, GET("connection: upgrade\r\nupgrade: TLS/1.2\r\n")), "200 OK");
    CHECK_NOT(SEEN(f), "upgrade");
    CHECK_HAS(ask(&f, GET("connection: upgrade\r\nupgrade: websocket\r\n")), "403 Forbidden");
    close_fixture(&f);
}

TEST(response_headers_have_a_limit) { /* HC-39 */
    pipeline p;
    mc_error error = {0};
    CHECK_INT(pipeline_open(&p, WITH("\"common_http_protocol_options\":{\"max_response_headers_kb\":9},"), 1, &error),
              MC_EINVAL);
    fixture f;
    char response[3000];
    snprintf(response, sizeof response, "HTTP/1.1 200 OK\r\nx: %02000d\r\ncontent-length: 0\r\n\r\n", 0);
    open_fixture(
        &f, CONFIG(LISTENER("", TO_WEB),
                   CLUSTER("\"common_http_protocol_options\":{\"max_response_headers_kb\":1},", ENDPOINT("10.0.0.1"))));
    f.p.response = response;
    CHECK_HAS(ask(&f, GET("")), "502 Bad Gateway");
    close_fixture(&f);
}

/* --- local replies -------------------------------------------------------------------------------------------------------------- */

#define STATUS_IS(code)                                                                                                \
    "\"filter\":{\"status_code_filter\":{\"comparison\":{\"op\":\"EQ\",\"value\":{\"default_value\":" code             \
    ",\"runtime_key\":\"k\"}}}}"
#define REPLIES(config)                                                                                                \
    CONFIG(LISTENER("\"local_reply_config\":{" config "},", "{\"match\":{\"prefix\":\"/x\"},\"direct_response\":{"     \
                                                            "\"status\":503,\"body\":{\"inline_string\":\"full\"}}}"), \
           CLUSTER("", ENDPOINT("10.0.0.1")))

TEST(local_replies_are_mapped) { /* HC-50 */
    fixture f;
    open_fixture(&f, REPLIES("\"mappers\":[{" STATUS_IS(
                         "404") ",\"status_code\":410,\"body\":{\"inline_string\":\"gone\"},"
                                "\"headers_to_add\":[{\"header\":{\"key\":\"x-why\",\"value\":\"%RESPONSE_CODE_DETAILS%"
                                "\"}}]},{" STATUS_IS("404") ",\"status_code\":500}]"));
    mc_slice got = ask(&f, GET(""));
    CHECK_HAS(got, "HTTP/1.1 410 Gone\r\n");
    CHECK_HAS(got, "x-why: route_not_found\r\n");
    CHECK_HAS(got, "content-length: 4\r\ncontent-type: text/plain\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\ngone")));
    CHECK_HAS(ask(&f, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"), "\r\n\r\nfull");
    close_fixture(&f);
}

TEST(local_replies_are_formatted) { /* HC-50 */
    fixture f;
    open_fixture(
        &f, REPLIES("\"mappers\":[{" STATUS_IS(
                "404") ",\"body_format_override\":{\"text_format_source\":{"
                       "\"inline_string\":\"<%RESPONSE_CODE%>\"},\"content_type\":\"text/html\"}}],\"body_format\":{"
                       "\"json_format\":{\"code\":\"%RESPONSE_CODE%\",\"text\":\"%LOCAL_REPLY_BODY%\"}}"));
    mc_slice got = ask(&f, GET(""));
    CHECK_HAS(got, "content-type: text/html\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\n<404>")));
    got = ask(&f, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_HAS(got, "content-type: application/json\r\n");
    CHECK_HAS(got, "{\"code\":503,\"text\":\"full\"}\n");
    got = ask(&f, "POST /x HTTP/1.1\r\nHost: h\r\ncontent-length: 0\r\ncontent-type: application/grpc+proto\r\n\r\n");
    CHECK_HAS(got, "HTTP/1.1 200 OK\r\n");
    CHECK_HAS(got, "grpc-message: {\"code\":503,\"text\":\"full\"}\r\n");
    got = ask(&f, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_HAS(got, "content-length: 27\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\n")));
    close_fixture(&f);
}

TEST(headers_are_changed_before_anything_looks_at_them) { /* HC-10 */
    fixture f;
    open_fixture(&f,
                 WITH("\"early_header_mutation_extensions\":[{\"name\":\"e\",\"typed_config\":{\"@type\":"
                      "\"type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3."
                      "HeaderMutation\",\"mutations\":[{\"remove\":\"x-bad\"},{\"append\":{\"header\":{\"key\":"
                      "\"x-request-id\",\"value\":\"early-%REQ(x-a)%\"},\"append_action\":\"ADD_IF_ABSENT\"}}]}}],"));
    ask(&f, GET("x-bad: 1\r\nx-a: b\r\n"));
    CHECK_HAS(SEEN(f), "x-request-id: early-b\r\n");
    CHECK_NOT(SEEN(f), "x-bad");
    close_fixture(&f);
}
