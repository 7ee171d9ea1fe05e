/* Upgrades and CONNECT (HC-45, HC-46). */
#include "proxy_test.h"

#define UPGRADED        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
#define WEBSOCKET(path) "GET " path " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"

typedef struct fixture {
    pipeline p;
    pipeline_peer client;
    char upstream[4096];
    char text[8192];
} fixture;

static void note(pipeline_peer *server, mc_slice bytes) {
    fixture *f = server->owner->user;
    size_t n = strlen(f->upstream);
    snprintf(f->upstream + n, sizeof f->upstream - n, "%.*s", MC_SLICE_ARG(bytes));
}

/* Answers the head by p->response, then echoes in capitals. */
static void accept_and_echo(pipeline_peer *server) {
    char text[4096];
    mc_slice got = pipeline_received(server, text, sizeof text);
    size_t end = server->served > 0 ? 0 : mc_slice_search(got, MC_SLICE("\r\n\r\n"));
    if (end == SIZE_MAX) {
        return;
    }
    note(server, got);
    if (server->served++ == 0) {
        mc_buffer_drain(&server->in, end + 4);
        pipeline_send(server, mc_slice_cstr(server->owner->response));
        got = pipeline_received(server, text, sizeof text);
    }
    for (size_t i = 0; i < got.n; i++) {
        text[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 32) : text[i];
    }
    mc_buffer_clear(&server->in);
    pipeline_send(server, got);
}

/* Speaks no HTTP at all. */
static void echo_raw(pipeline_peer *server) {
    server->served = 1;
    accept_and_echo(server);
}

static void open_fixture(fixture *f, const char *config) {
    memset(f, 0, sizeof *f);
    open_pipeline(&f->p, config);
    f->p.user = f;
    f->p.serve = accept_and_echo;
    f->p.response = UPGRADED;
    CHECK_INT(pipeline_client(&f->p, &f->client, "main"), MC_OK);
}

static void close_fixture(fixture *f) {
    pipeline_client_close(&f->client);
    CHECK_U64(pipeline_gauge(&f->p, "http.in.downstream_cx_upgrades_active"), 0);
    pipeline_close(&f->p);
}

static mc_slice ask(fixture *f, const char *request) {
    f->upstream[0] = '\0';
    return exchange(&f->p, &f->client, request, f->text, sizeof f->text);
}

#define SEEN(f)              mc_slice_cstr((f).upstream)
#define ALLOW(more)          "\"upgrade_configs\":[{\"upgrade_type\":\"websocket\"" more "}],"
#define WITH(hcm)            CONFIG(LISTENER(hcm, TO_WEB), CLUSTER("", ENDPOINT("10.0.0.1")))
#define ROUTE(match, action) "{\"match\":" match ",\"route\":{\"cluster\":\"web\"," action "}}"

TEST(a_websocket_passes_both_ways) {
    fixture f;
    open_fixture(&f, WITH(ALLOW("")));
    mc_slice got = ask(&f, WEBSOCKET("/chat"));
    CHECK_HAS(SEEN(f), "connection: Upgrade\r\n");
    CHECK_HAS(SEEN(f), "upgrade: WebSocket\r\n");
    CHECK_HAS(got, "HTTP/1.1 101 Switching Protocols\r\n");
    CHECK_HAS(got, "upgrade: websocket\r\n");
    CHECK_HAS(got, "connection: upgrade\r\n");
    CHECK_SLICE(ask(&f, "hello"), "HELLO");
    CHECK_SLICE(ask(&f, "again"), "AGAIN");
    CHECK_U64(pipeline_gauge(&f.p, "http.in.downstream_cx_upgrades_active"), 1);
    CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_upgrades_total"), 1);
    close_fixture(&f);
}

TEST(the_payload_waits_for_the_101) { /* HC-46 */
    fixture f;
    open_fixture(&f, WITH(ALLOW("")));
    f.p.response = "";
    CHECK_INT(ask(&f, WEBSOCKET("/") "early").n, 0);
    CHECK(!contains(SEEN(f), "early"));
    MC_LIST_EACH(&f.p.servers, node) { pipeline_send(MC_CONTAINER(node, pipeline_peer, link), MC_SLICE(UPGRADED)); }
    pipeline_run(&f.p, 10);
    CHECK_HAS(pipeline_received(&f.client, f.text, sizeof f.text), "\r\n\r\nEARLY");
    close_fixture(&f);
}

TEST(an_upgrade_that_is_not_allowed) { /* HC-45 */
    const char *const configs[] = {
        WITH(""),
        WITH(ALLOW(",\"enabled\":false")),
        CONFIG(LISTENER(ALLOW(""), ROUTE("{\"prefix\":\"/\"}",
                                         "\"upgrade_configs\":[{\"upgrade_type\":\"WEBSOCKET\",\"enabled\":false}]")),
               CLUSTER("", ENDPOINT("10.0.0.1"))),
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        fixture f;
        open_fixture(&f, configs[i]);
        mc_slice got = ask(&f, WEBSOCKET("/"));
        CHECK_HAS(got, "403 Forbidden\r\n");
        CHECK_HAS(got, "connection: close\r\n");
        CHECK(f.client.closed);
        CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_rq_ws_on_non_ws_route"), 1);
        CHECK_U64(pipeline_counter(&f.p, "http.in.downstream_cx_upgrades_total"), 0);
        close_fixture(&f);
    }
}

TEST(a_route_allows_what_the_manager_does_not) { /* HC-45 */
    fixture f;
    open_fixture(&f,
                 CONFIG(LISTENER(ALLOW(",\"enabled\":false"),
                                 ROUTE("{\"prefix\":\"/\"}", "\"upgrade_configs\":[{\"upgrade_type\":\"websocket\"}]")),
                        CLUSTER("", ENDPOINT("10.0.0.1"))));
    CHECK_HAS(ask(&f, WEBSOCKET("/")), "101 Switching");
    close_fixture(&f);
}

TEST(an_upgrade_has_a_chain_of_its_own) { /* HC-45 */
    fixture f;
    open_fixture(&f,
                 WITH(ALLOW(",\"filters\":[{\"name\":\"fault\",\"typed_config\":{\"@type\":\"type.googleapis.com/"
                            "envoy.extensions.filters.http.fault.v3.HTTPFault\",\"abort\":{\"http_status\":418,"
                            "\"percentage\":{\"numerator\":100}}}},{\"name\":\"router\",\"typed_config\":{\"@type\":"
                            "\"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\"}}]")));
    CHECK_HAS(ask(&f, WEBSOCKET("/")), "HTTP/1.1 418 ");
    close_fixture(&f);
    open_fixture(&f, WITH(ALLOW(",\"filters\":[{\"name\":\"router\",\"typed_config\":{\"@type\":"
                                "\"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\"}}]")));
    CHECK_HAS(ask(&f, WEBSOCKET("/")), "101 Switching");
    close_fixture(&f);
}

TEST(a_handshake_that_fails) { /* RF-40 */
    fixture f;
    open_fixture(&f, WITH(ALLOW("")));
    f.p.response = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nno";
    mc_slice got = ask(&f, WEBSOCKET("/"));
    CHECK_HAS(got, "HTTP/1.1 200 OK\r\n");
    CHECK_HAS(got, "x-a: b\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\n")));
    CHECK(f.client.closed);
    close_fixture(&f);
    open_fixture(&f, WITH(ALLOW("")));
    f.p.response = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno";
    got = ask(&f, WEBSOCKET("/"));
    CHECK_HAS(got, "HTTP/1.1 404 Not Found\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nno")));
    close_fixture(&f);
}

#define CONNECT "CONNECT up.example:443 HTTP/1.1\r\nHost: up.example:443\r\n\r\n"
#define CONNECT_ROUTE(config)                                                                                          \
    ROUTE("{\"connect_matcher\":{}}", "\"upgrade_configs\":[{\"upgrade_type\":\"CONNECT\"" config "}]")

TEST(connect_is_forwarded) { /* HC-46 */
    fixture f;
    open_fixture(&f, CONFIG(LISTENER("", CONNECT_ROUTE("")), CLUSTER("", ENDPOINT("10.0.0.1"))));
    f.p.response = "HTTP/1.1 200 OK\r\n\r\n";
    mc_slice got = ask(&f, CONNECT "early ");
    CHECK_HAS(SEEN(f), "CONNECT up.example:443 HTTP/1.1\r\nhost: up.example:443\r\n");
    CHECK_HAS(got, "HTTP/1.1 200 OK\r\n");
    CHECK(!contains(got, "chunked"));
    CHECK(!contains(got, "connection:"));
    CHECK_HAS(got, "\r\n\r\nEARLY ");
    CHECK_SLICE(ask(&f, "hello"), "HELLO");
    close_fixture(&f);
}

TEST(a_101_opens_a_tunnel_only_where_it_says_so) {
    static const struct {
        const char *request, *response;
    } cases[] = {
        {WEBSOCKET("/"), "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"},
        {WEBSOCKET("/"), "HTTP/1.1 101 Switching Protocols\r\ncontent-length: 0\r\n\r\n"},
        {CONNECT, UPGRADED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        open_fixture(&f, CONFIG(LISTENER(ALLOW(""), CONNECT_ROUTE("") "," TO_WEB), CLUSTER("", ENDPOINT("10.0.0.1"))));
        f.p.response = cases[i].response;
        mc_slice got = ask(&f, cases[i].request);
        CHECK_HAS(got, "HTTP/1.1 101 Switching Protocols\r\n");
        CHECK_HAS(got, "connection: close\r\n");
        CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\n")));
        ask(&f, "payload");
        CHECK(!contains(SEEN(f), "payload"));
        close_fixture(&f);
    }
}

static void close_servers(fixture *f, const char *last) {
    MC_LIST_EACH(&f->p.servers, node) {
        pipeline_peer *server = MC_CONTAINER(node, pipeline_peer, link);
        pipeline_send(server, mc_slice_cstr(last));
        mc_conn_close(&server->conn, true);
    }
    pipeline_run(&f->p, 10);
}

TEST(a_connect_that_is_cut_off) { /* with the last bytes, or behind them */
    for (int joined = 0; joined < 2; joined++) {
        fixture f;
        open_fixture(&f, CONFIG(LISTENER("", CONNECT_ROUTE("")), CLUSTER("", ENDPOINT("10.0.0.1"))));
        f.p.response = joined ? "" : "HTTP/1.1 20";
        CHECK_INT(ask(&f, CONNECT).n, 0);
        close_servers(&f, joined ? "HTTP/1.1 20" : "");
        CHECK_HAS(pipeline_received(&f.client, f.text, sizeof f.text), joined ? " 503 " : " 502 ");
        close_fixture(&f);
    }
}

TEST(a_port_that_was_stripped_comes_back) { /* HC-33 */
    fixture f;
    open_fixture(
        &f, CONFIG(LISTENER("\"strip_any_host_port\":true,", CONNECT_ROUTE("")), CLUSTER("", ENDPOINT("10.0.0.1"))));
    f.p.response = "HTTP/1.1 200 OK\r\n\r\n";
    ask(&f, CONNECT);
    CHECK_HAS(SEEN(f), "CONNECT up.example:443 HTTP/1.1\r\nhost: up.example:443\r\n");
    close_fixture(&f);
}

TEST(connect_ends_here) { /* HC-46 */
    fixture f;
    open_fixture(&f, CONFIG(LISTENER("", CONNECT_ROUTE(",\"connect_config\":{}")), CLUSTER("", ENDPOINT("10.0.0.1"))));
    f.p.serve = echo_raw;
    mc_slice got = ask(&f, CONNECT "early ");
    CHECK_HAS(got, "HTTP/1.1 200 OK\r\n");
    CHECK_HAS(got, "\r\n\r\nEARLY ");
    CHECK_SLICE(SEEN(f), "early ");
    CHECK_SLICE(ask(&f, "hello"), "HELLO");
    MC_LIST_EACH(&f.p.servers, node) { mc_conn_close(&MC_CONTAINER(node, pipeline_peer, link)->conn, true); }
    pipeline_run(&f.p, 2000);
    CHECK(f.client.closed);
    CHECK_U64(pipeline_gauge(&f.p, "cluster.web.upstream_cx_active"), 0);
    close_fixture(&f);
}

TEST(post_may_end_here_too) { /* HC-46 */
    fixture f;
    open_fixture(
        &f,
        CONFIG(
            LISTENER(
                "",
                ROUTE("{\"prefix\":\"/\"}",
                      "\"upgrade_configs\":[{\"upgrade_type\":\"CONNECT\",\"connect_config\":{\"allow_post\":true}}]")),
            CLUSTER("", ENDPOINT("10.0.0.1"))));
    f.p.serve = echo_raw;
    mc_slice got = ask(&f, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    CHECK_HAS(got, "HTTP/1.1 200 OK\r\n");
    CHECK_HAS(got, "5\r\nHELLO\r\n");
    CHECK_SLICE(SEEN(f), "hello");
    close_fixture(&f);
}

TEST(connect_without_leave) { /* HC-45 */
    fixture f;
    open_fixture(&f, CONFIG(LISTENER("", ROUTE("{\"connect_matcher\":{}}", "\"timeout\":\"1s\"")),
                            CLUSTER("", ENDPOINT("10.0.0.1"))));
    CHECK_HAS(ask(&f, CONNECT), "403 Forbidden");
    close_fixture(&f);
    open_fixture(&f, WITH(""));
    CHECK_HAS(ask(&f, CONNECT), "404 Not Found");
    close_fixture(&f);
}

TEST(a_client_that_leaves_ends_the_tunnel) {
    fixture f;
    open_fixture(&f, WITH(ALLOW("")));
    ask(&f, WEBSOCKET("/"));
    pipeline_client_close(&f.client);
    pipeline_run(&f.p, 100);
    CHECK_U64(pipeline_gauge(&f.p, "cluster.web.upstream_cx_active"), 0);
    CHECK_U64(pipeline_gauge(&f.p, "http.in.downstream_cx_active"), 0);
    close_fixture(&f);
}

TEST(bytes_after_a_refusal_are_dropped) {
    fixture f;
    open_fixture(&f, WITH(""));
    CHECK_HAS(ask(&f, WEBSOCKET("/") "more"), "403 Forbidden");
    pipeline_send(&f.client, MC_SLICE("and more"));
    pipeline_run(&f.p, 10);
    close_fixture(&f);
}
