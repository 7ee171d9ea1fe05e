/* The filter chain with filters of a test's own: passing, stopping, collecting, changing, answering, in both directions and at
 * any split of the bytes. */
#include "proxy_test.h"

#define FILTERED(hcm, filters)                                                                                         \
    "{\"static_resources\":{\"listeners\":[{\"name\":\"main\",\"per_connection_buffer_limit_bytes\":1000,\"address\":" \
    "{"                                                                                                                \
    "\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":10000}},\"filter_chains\":[{\"filters\":[{\"name\":" \
    "\"hcm\",\"typed_config\":{" HCM "\"stat_prefix\":\"in\",\"http_filters\":[" filters                               \
    ",{\"name\":\"envoy.filters.http.router\"}],\"route_config\":{\"name\":\"local\",\"virtual_hosts\":[{\"name\":"    \
    "\"all\",\"domains\":[\"*\"],\"routes\":[" TO_WEB                                                                  \
    "]}]}}}]}]}],\"clusters\":[" CLUSTER("", ENDPOINT("10.0.0.1")) "]}}"
#define ONE "{\"name\":\"one\"}"
#define TWO ONE ",{\"name\":\"two\"}"

enum { LARGE = 4000 }; /* bytes, over the buffer limit */

/* What the filter named in `plan` does; everything else passes. */
typedef struct plan {
    char name;
    mc_filter_status request_headers, request_data, response_headers, response_data;
    uint16_t answer_headers, answer_data; /* a status to answer with */
} plan;

static plan todo;
static char told[512]; /* what was called, in order */
static mc_filter *stopped;
static size_t held;
static int opened, closed;
static pipeline p;
static pipeline_peer client;
static char text[65536];

static char name_of(mc_filter *filter) { return *(const char *)mc_filter_get_config(filter); }

static void tell(mc_filter *filter, char what) {
    size_t n = strlen(told);
    if (n + 3 < sizeof told && !(n >= 2 && told[n - 2] == name_of(filter) && told[n - 1] == what)) { /* repeats once */
        snprintf(told + n, sizeof told - n, "%c%c", name_of(filter), what);
    }
}

static bool planned(mc_filter *filter) { return todo.name == name_of(filter); }

static mc_filter_status answer(mc_filter *filter, uint16_t status) {
    mc_filter_reply(filter, &(mc_reply){.status = status, .body = MC_SLICE_INIT("by a filter"), .details = "test"});
    return MC_FILTER_STOP;
}

static mc_status on_open(mc_filter *filter) {
    opened++;
    return MC_OK;
}

static mc_filter_status on_request_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    tell(filter, 'H');
    CHECK_INT(mc_headers_add(headers, MC_SLICE("x-seen-by"), mc_slice_of(mc_filter_get_config(filter), 1)), MC_OK);
    if (!planned(filter)) {
        return MC_FILTER_CONTINUE;
    }
    stopped = filter;
    return todo.answer_headers != 0 ? answer(filter, todo.answer_headers) : todo.request_headers;
}

static mc_filter_status on_request_data(mc_filter *filter, mc_slice data, bool end_stream) {
    tell(filter, 'D');
    if (!planned(filter)) {
        return MC_FILTER_CONTINUE;
    }
    if (todo.answer_data != 0) {
        return answer(filter, todo.answer_data);
    }
    if (todo.request_data == MC_FILTER_STOP_AND_BUFFER && end_stream) {
        mc_slice pieces[8];
        held = data.n;
        for (size_t i = mc_filter_held(filter, true, pieces, 8); i-- > 0;) {
            held += pieces[i].n;
        }
        return MC_FILTER_CONTINUE;
    }
    return todo.request_data;
}

static void on_request_complete(mc_filter *filter) { tell(filter, 'E'); }

static mc_filter_status on_response_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    tell(filter, 'h');
    CHECK_INT(mc_headers_add(headers, MC_SLICE("x-back-by"), mc_slice_of(mc_filter_get_config(filter), 1)), MC_OK);
    if (!planned(filter)) {
        return MC_FILTER_CONTINUE;
    }
    stopped = filter;
    return todo.response_headers;
}

static mc_filter_status on_response_data(mc_filter *filter, mc_slice data, bool end_stream) {
    tell(filter, 'd');
    if (!planned(filter)) {
        return MC_FILTER_CONTINUE;
    }
    return todo.response_data == MC_FILTER_STOP_AND_BUFFER && end_stream ? MC_FILTER_CONTINUE : todo.response_data;
}

static void on_response_complete(mc_filter *filter) { tell(filter, 'e'); }
static void on_filter_close(mc_filter *filter) { closed++; }

static const mc_filter_type type = {
    .name = "test",
    .open = on_open,
    .decode_headers = on_request_headers,
    .decode_data = on_request_data,
    .decode_complete = on_request_complete,
    .encode_headers = on_response_headers,
    .encode_data = on_response_data,
    .encode_complete = on_response_complete,
    .close = on_filter_close,
};

static const mc_filter_factory factories[] = {
    {.name = MC_SLICE_INIT("one"), .type = &type, .config = "1"},
    {.name = MC_SLICE_INIT("two"), .type = &type, .config = "2"},
};

static void serve_body(pipeline_peer *server) {
    char got[65536];
    mc_slice all = pipeline_received(server, got, sizeof got);
    size_t head = mc_slice_search(all, MC_SLICE("\r\n\r\n"));
    if (mc_slice_has_suffix(all, MC_SLICE("0\r\n\r\n")) || (head != SIZE_MAX && all.n == head + 4 + LARGE) ||
        (mc_slice_has_suffix(all, MC_SLICE("\r\n\r\n")) && !contains(all, "chunked"))) {
        if (p.user != NULL) {
            snprintf(p.user, 4096, "%.*s", MC_SLICE_ARG(all));
        }
        mc_buffer_clear(&server->in);
        pipeline_send(server, mc_slice_cstr(p.response));
    }
}

static void begin(const char *json, plan what) {
    mc_error error = {0};
    open_pipeline(&p, PLAIN);
    p.factories = factories;
    p.factory_count = 2;
    p.serve = serve_body;
    CHECK_INT(pipeline_configure(&p, json, &error), MC_OK);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    todo = what;
    told[0] = 0;
    opened = closed = 0;
    stopped = NULL;
    held = 0;
}

static void end(void) {
    pipeline_client_close(&client);
    pipeline_run(&p, 100);
    CHECK_U64(pipeline_gauge(&p, "http.in.downstream_rq_active"), 0);
    CHECK_INT(opened, closed);
    pipeline_close(&p);
}

static mc_slice ask(const char *request) { return exchange(&p, &client, request, text, sizeof text); }

#define GET  "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
#define OK   "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"

TEST(requests_go_down_the_list_and_responses_up) {
    char request[4096] = "";
    begin(FILTERED("", TWO), (plan){0});
    p.user = request;
    mc_slice got = ask(GET);
    CHECK_SLICE(mc_slice_cstr(told), "1H1E2H2E2h1h2d1d2d2e1d1e");
    CHECK_HAS(mc_slice_cstr(request), "x-seen-by: 1\r\nx-seen-by: 2\r\n");
    CHECK_HAS(got, "x-back-by: 2\r\nx-back-by: 1\r\n");
    CHECK_INT(opened, 2);
    CHECK_INT(closed, 2);
    end();
}

TEST(a_stopped_request_waits_and_goes_on) {
    begin(FILTERED("", TWO), (plan){.name = '1', .request_headers = MC_FILTER_STOP});
    p.response = OK;
    CHECK_SLICE(ask(POST), "");
    CHECK_INT(p.connects, 0);
    CHECK_SLICE(mc_slice_cstr(told), "1H");
    todo.name = 0;
    mc_filter_continue_decoding(stopped);
    pipeline_run(&p, 100);
    mc_slice got = pipeline_received(&client, text, sizeof text);
    CHECK_HAS(got, "200 OK");
    CHECK_SLICE(mc_slice_cstr(told), "1H2H1D1E2D2E2h1h2d1d2d2e1d1e");
    end();
}

TEST(a_stopped_request_is_given_up_by_its_client) {
    begin(FILTERED("", TWO), (plan){.name = '2', .request_headers = MC_FILTER_STOP});
    CHECK_SLICE(ask(POST), "");
    pipeline_client_close(&client);
    CHECK_INT(closed, 2);
    end();
}

TEST(a_collected_body_is_passed_whole) {
    static const char whole[] = "\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n",
                      parts[] = "\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    for (int split = 0; split < 20; split++) {
        char request[4096] = "";
        begin(FILTERED("", TWO), (plan){.name = '1',
                                        .request_headers = MC_FILTER_STOP_AND_BUFFER,
                                        .request_data = MC_FILTER_STOP_AND_BUFFER});
        p.memory.split = split > 0;
        p.user = request;
        pipeline_client_close(&client);
        CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
        CHECK_HAS(ask(POST), "200 OK");
        CHECK_INT(held, 6);
        mc_slice seen = mc_slice_cstr(request);
        CHECK(mc_slice_has_suffix(seen, mc_slice_cstr(whole)) || mc_slice_has_suffix(seen, mc_slice_cstr(parts)) ||
              split > 0);
        CHECK_HAS(seen, "x-seen-by: 2\r\n");
        end();
    }
}

static const char *large_request(void) {
    static char request[8192];
    int n = snprintf(request, sizeof request, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000\r\n\r\n");
    memset(request + n, 'x', LARGE);
    request[n + LARGE] = 0;
    return request;
}

TEST(too_large_to_collect_is_413) { /* HC-7 */
    begin(FILTERED("", TWO),
          (plan){.name = '1', .request_headers = MC_FILTER_STOP_AND_BUFFER, .request_data = MC_FILTER_STOP_AND_BUFFER});
    CHECK_HAS(ask(large_request()), "413 Payload Too Large");
    CHECK_INT(p.connects, 0);
    CHECK_U64(pipeline_counter(&p, "http.in.downstream_rq_too_large"), 1);
    end();
}

TEST(a_stopped_request_holds_its_client_back) {
    begin(FILTERED("", TWO), (plan){.name = '1', .request_headers = MC_FILTER_STOP});
    CHECK_SLICE(ask(large_request()), "");
    CHECK_U64(pipeline_counter(&p, "http.in.downstream_flow_control_paused_reading_total"), 1);
    mc_filter_continue_decoding(stopped);
    pipeline_run(&p, 100);
    CHECK_HAS(pipeline_received(&client, text, sizeof text), "200 OK");
    CHECK_U64(pipeline_counter(&p, "http.in.downstream_flow_control_resumed_reading_total"),
              pipeline_counter(&p, "http.in.downstream_flow_control_paused_reading_total"));
    end();
}

TEST(a_filter_answers_instead) {
    begin(FILTERED("", TWO), (plan){.name = '2', .answer_headers = 401});
    mc_slice got = ask(GET);
    CHECK_HAS(got, "401 Unauthorized");
    CHECK_HAS(got, "x-back-by: 2\r\nx-back-by: 1\r\n");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nby a filter")));
    CHECK_INT(p.connects, 0);
    CHECK(!client.closed);
    CHECK_HAS(ask(GET), "401 Unauthorized");
    end();
}

TEST(a_filter_answers_in_the_middle_of_the_body) {
    begin(FILTERED("", TWO), (plan){.name = '2', .answer_data = 403});
    CHECK_HAS(ask(POST), "403 Forbidden");
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_rq_active"), 0);
    end();
}

TEST(a_stopped_response_waits_and_goes_on) {
    begin(FILTERED("", TWO), (plan){.name = '1', .response_headers = MC_FILTER_STOP});
    p.response = OK;
    CHECK_SLICE(ask(GET), "");
    todo.name = 0;
    mc_filter_continue_encoding(stopped);
    pipeline_run(&p, 100);
    mc_slice got = pipeline_received(&client, text, sizeof text);
    CHECK_HAS(got, "200 OK");
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\n3\r\nxyz\r\n0\r\n\r\n")));
    end();
}

TEST(a_collected_response_is_passed_whole) {
    begin(
        FILTERED("", TWO),
        (plan){.name = '2', .response_headers = MC_FILTER_STOP_AND_BUFFER, .response_data = MC_FILTER_STOP_AND_BUFFER});
    p.response = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    mc_slice got = ask(GET);
    CHECK(mc_slice_has_suffix(got, MC_SLICE("\r\n\r\nhello")));
    end();
}

TEST(a_response_too_large_to_collect_is_500) { /* HC-7 */
    static char response[4096];
    int n = snprintf(response, sizeof response, "HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n");
    memset(response + n, 'x', 3000);
    begin(
        FILTERED("", TWO),
        (plan){.name = '2', .response_headers = MC_FILTER_STOP_AND_BUFFER, .response_data = MC_FILTER_STOP_AND_BUFFER});
    p.response = response;
    CHECK_HAS(ask(GET), "500 Internal Server Error");
    CHECK_U64(pipeline_counter(&p, "http.in.rs_too_large"), 1);
    end();
}
