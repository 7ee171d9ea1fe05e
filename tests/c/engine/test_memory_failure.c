/* Every allocation of the core fails once, one after the other: nothing crashes, nothing leaks, and what was counted is given
 * back. A request then has an answer or a closed connection. */
#include "../pipeline.h"

#include "../test.h"

#define MANAGER                                                                                                        \
    "\"use_remote_address\":true,\"internal_address_config\":{\"cidr_ranges\":[{\"address_prefix\":\"10.0.0.0\"}]},"   \
    "\"via\":\"mesh\",\"normalize_path\":true,\"strip_any_host_port\":true,\"proxy_status_config\":{},"                \
    "\"http_protocol_options\":{\"header_key_format\":{\"stateful_formatter\":{\"name\":\"p\",\"typed_config\":{"      \
    "\"@type\":\"type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3."                        \
    "PreserveCaseFormatterConfig\"}}}},\"upgrade_configs\":[{\"upgrade_type\":\"websocket\"}],"                        \
    "\"early_header_mutation_extensions\":[{\"name\":\"e\",\"typed_config\":{\"@type\":\"type.googleapis.com/"         \
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation\",\"mutations\":[{\"append\":{"     \
    "\"header\":{\"key\":\"x-e\",\"value\":\"%REQ(:path)%\"}}}]}}],\"local_reply_config\":{\"mappers\":[{\"filter\":"  \
    "{\"status_code_filter\":{\"comparison\":{\"op\":\"GE\",\"value\":{\"default_value\":400,\"runtime_key\":\"k\"}}}" \
    "},"                                                                                                               \
    "\"body\":{\"inline_string\":\"mapped\"},\"headers_to_add\":[{\"header\":{\"key\":\"x-m\",\"value\":"              \
    "\"%RESPONSE_CODE%\"}}]}],\"body_format\":{\"json_format\":{\"b\":\"%LOCAL_REPLY_BODY%\"}}},"

#define CONFIG                                                                                                         \
    "{\"static_resources\":{\"listeners\":[{\"name\":\"main\",\"address\":{\"socket_address\":{\"address\":"           \
    "\"127.0.0.1\",\"port_value\":10000}},\"filter_chains\":[{\"filters\":[{\"name\":\"hcm\",\"typed_config\":{"       \
    "\"@type\":\"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."                     \
    "HttpConnectionManager\",\"stat_prefix\":\"in\"," MANAGER                                                          \
    "\"http_filters\":[{\"name\":\"envoy.filters.http.router\","                                                       \
    "\"typed_config\":{\"@type\":\"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\"}}],"           \
    "\"route_config\":{\"name\":\"local\",\"virtual_hosts\":[{\"name\":\"all\",\"domains\":[\"*\",\"a.b\"],"           \
    "\"request_headers_to_add\":[{\"header\":{\"key\":\"x-a\",\"value\":\"b\"}}],\"routes\":[{\"match\":{\"path\":"    \
    "\"/d\"},\"direct_response\":{\"status\":200,\"body\":{\"inline_string\":\"x\"}}},{\"match\":{\"prefix\":\"/\"},"  \
    "\"route\":{\"cluster\":\"web\",\"timeout\":\"2s\",\"retry_policy\":{\"retry_on\":\"5xx\",\"num_retries\":2},"     \
    "\"hash_policy\":[{\"header\":{\"header_name\":\"x-h\"}}]}}]}]}}}]}]}],\"clusters\":[{\"name\":\"web\",\"type\":"  \
    "\"STATIC\",\"lb_policy\":\"RING_HASH\",\"load_assignment\":{\"cluster_name\":\"web\",\"endpoints\":[{"            \
    "\"lb_endpoints\":[{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.0.1\",\"port_value\":80}}}}" \
    ","                                                                                                                \
    "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.0.2\",\"port_value\":80}}}}]}]}}]}}"

/* Answers a request, a body included: the first with 503, so that it is retried. */
static void answer(pipeline_peer *server) {
    char text[65536];
    mc_slice got = pipeline_received(server, text, sizeof text);
    size_t head = mc_slice_search(got, MC_SLICE("\r\n\r\n"));
    if (head == SIZE_MAX ||
        (mc_slice_search(got, MC_SLICE("chunked")) != SIZE_MAX && !mc_slice_has_suffix(got, MC_SLICE("0\r\n\r\n")))) {
        return;
    }
    mc_buffer_drain(&server->in, got.n);
    bool first = server->owner->user == NULL;
    server->owner->user = server->owner;
    pipeline_send(
        server,
        first ? MC_SLICE("HTTP/1.1 503 Again\r\ncontent-length: 2\r\n\r\nno")
              : MC_SLICE("HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
}

static const char *const requests[] = {
    "GET /a?b HTTP/1.1\r\nHost: h\r\nx-h: 1\r\n\r\n",
    "GET /d HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a/../c HTTP/1.1\r\nHost: h:80\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
};

static void check_gauges(pipeline *p) {
    static const char *const gauges[] = {"http.in.downstream_rq_active", "http.in.downstream_cx_active",
                                         "cluster.web.upstream_rq_active", "cluster.web.upstream_rq_pending_active"};
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
        CHECK_U64(pipeline_gauge(p, gauges[i]), 0);
    }
}

/* One exchange with the nth allocation failing; returns whether it did fail. */
static bool exchange(const char *request, long nth, bool warm, bool split) {
    pipeline p;
    pipeline_peer client;
    mc_error error = {0};
    CHECK_INT(pipeline_open(&p, CONFIG, 7, &error), MC_OK);
    p.serve = answer;
    for (int round = warm ? 0 : 1; round < 2; round++) {
        const bool failing = round == 1;
        p.user = NULL;
        p.memory = (mc_memory_options){.split = split};
        if (failing) {
            mc_test_alloc_fail_at(nth);
        }
        if (pipeline_client(&p, &client, "main") == MC_OK) {
            pipeline_send(&client, mc_slice_cstr(request));
            pipeline_run(&p, 5000);
            CHECK(client.closed || client.in.length > 0);
            pipeline_client_close(&client);
        }
        mc_buffer_clear(&client.in);
        pipeline_run(&p, 100);
    }
    const bool failed = mc_test_alloc_pending() == 0;
    mc_test_alloc_fail_at(0);
    check_gauges(&p);
    const mc_cluster *cluster = p.worker->snapshot->clusters[0].cluster;
    CHECK_INT(cluster->breakers[0].requests.count + cluster->breakers[0].pending.count +
                  cluster->breakers[0].retries.count,
              0);
    pipeline_close(&p);
    return failed;
}

TEST(requests_survive) {
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        for (int how = 0; how < 4; how++) {
            long nth = 1;
            while (exchange(requests[i], nth, how & 1, how & 2)) {
                nth++;
            }
            CHECK(nth > 3);
        }
    }
}

static mc_status whole_engine(void) {
    pipeline p;
    mc_error error = {0};
    mc_status status = pipeline_open(&p, CONFIG, 7, &error);
    if (status == MC_OK) {
        pipeline_close(&p);
    }
    return status;
}

TEST(opening_survives) {
    mc_status status;
    long nth = 0;
    do {
        mc_test_alloc_fail_at(++nth);
        status = whole_engine();
    } while (mc_test_alloc_pending() == 0);
    mc_test_alloc_fail_at(0);
    CHECK_INT(status, MC_OK);
    CHECK(nth > 50);
}

static mc_status set_hosts(pipeline *p) {
    static const char *const hosts =
        "{\"cluster_name\":\"web\",\"endpoints\":[{\"lb_endpoints\":[{\"endpoint\":{\"address\":{"
        "\"socket_address\":{\"address\":\"10.0.0.3\",\"port_value\":80}}}}]}]}";
    mc_arena arena;
    const mc_value *assignment;
    mc_error error = {0};
    mc_arena_init(&arena, NULL);
    mc_status status = mc_value_parse(&arena, mc_slice_cstr(hosts), &assignment, &error);
    if (status == MC_OK) {
        status = mc_engine_set_assignment(p->engine, MC_SLICE("web"), assignment, &error);
    }
    mc_arena_fini(&arena);
    pipeline_settle(p);
    return status;
}

/* A failed update leaves what was before; the next one works. */
TEST(updates_survive) {
    bool failed = true;
    for (long nth = 1; failed; nth++) {
        pipeline p;
        mc_error error = {0};
        CHECK_INT(pipeline_open(&p, CONFIG, 7, &error), MC_OK);
        mc_test_alloc_fail_at(nth);
        mc_status status = pipeline_configure(&p, CONFIG, &error);
        if (status == MC_OK) {
            status = set_hosts(&p);
        }
        failed = mc_test_alloc_pending() == 0;
        mc_test_alloc_fail_at(0);
        CHECK(failed || status == MC_OK);
        CHECK_INT(pipeline_configure(&p, CONFIG, &error), MC_OK);
        CHECK_INT(set_hosts(&p), MC_OK);
        pipeline_close(&p);
    }
}
