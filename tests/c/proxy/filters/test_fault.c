#include "filter_test.h"

#define FAULT(cfg) FILTER("fault", "fault.v3.HTTPFault", "," cfg)
#define ALWAYS     "'percentage':{'numerator':100}"
#define ABORT(how) "'abort':{" ALWAYS "," how "}"
#define DELAY(how) "'delay':{" ALWAYS "," how "}"
#define GET        "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

TEST(an_abort) {
    begin((setup){.filters = FAULT(ABORT("'http_status':503"))});
    const char *got = send_head("GET /", "x-envoy-downstream-service-cluster: front\r\n");
    CHECK_HAS(got, "503 Service Unavailable");
    CHECK_HAS(got, "\r\n\r\nfault filter abort");
    CHECK_INT(p.connects, 0);
    CHECK_COUNT("fault.aborts_injected", 1);
    CHECK_COUNT("fault.front.aborts_injected", 1);
    CHECK_U64(gauge("http.in.fault.active_faults"), 0);
    end();
}

TEST(an_abort_of_grpc) {
    begin((setup){.filters = FAULT(ABORT("'grpc_status':5"))});
    const char *got = send_head("POST /a/b", "content-type: application/grpc\r\n");
    CHECK_HAS(got, "200 OK");
    CHECK_HAS(got, "grpc-status: 5\r\n");
    CHECK_HAS(got, "grpc-message: fault filter abort\r\n");
    end();
}

TEST(a_delay_comes_before_an_abort) {
    begin((setup){.filters = FAULT(DELAY("'fixed_delay':'2s'") "," ABORT("'http_status':429"))});
    CHECK_SLICE(mc_slice_cstr(ask_for(GET, 1900)), "");
    CHECK_U64(gauge("http.in.fault.active_faults"), 1);
    CHECK_HAS(ask_for("", 200), "429 Too Many Requests");
    CHECK_COUNT("fault.delays_injected", 1);
    CHECK_COUNT("fault.aborts_injected", 1);
    CHECK_COUNT("response_flags.DI", 1);
    CHECK_COUNT("response_flags.FI", 1);
    end();
    begin((setup){.filters = FAULT(DELAY("'fixed_delay':'2s'"))});
    CHECK_SLICE(mc_slice_cstr(ask_for(GET, 1900)), "");
    CHECK_HAS(ask_for("", 200), "200 OK");
    end();
}

TEST(a_delayed_client_goes_away) {
    begin((setup){.filters = FAULT(DELAY("'fixed_delay':'2s'"))});
    ask_for(GET, 100);
    pipeline_client_close(&client);
    CHECK_U64(gauge("http.in.fault.active_faults"), 0);
    end();
}

TEST(where_it_applies) {
    static const struct {
        const char *filter, *headers;
        bool struck;
    } cases[] = {
        {"'upstream_cluster':'web'", "", true},
        {"'upstream_cluster':'other'", "", false},
        {"'downstream_nodes':['a','b']", "x-envoy-downstream-service-node: b\r\n", true},
        {"'downstream_nodes':['a','b']", "x-envoy-downstream-service-node: c\r\n", false},
        {"'downstream_nodes':['a','b']", "", false},
        {"'headers':[{'name':'x-f','string_match':{'exact':'1'}}]", "x-f: 1\r\n", true},
        {"'headers':[{'name':'x-f','string_match':{'exact':'1'}}]", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char filters[1024];
        snprintf(filters, sizeof filters, FAULT("%s," ABORT("'http_status':500")), cases[i].filter);
        begin((setup){.filters = filters});
        CHECK_HAS(send_head("GET /", cases[i].headers), cases[i].struck ? "500 Internal" : "200 OK");
        end();
    }
}

TEST(what_the_request_asks_for) { /* FL-7 */
    static const struct {
        const char *headers, *status;
    } cases[] = {
        {"", "200 OK"},
        {"x-envoy-fault-abort-request: 418\r\n", "418"},
        {"x-envoy-fault-abort-request: 199\r\n", "200 OK"},
        {"x-envoy-fault-abort-request: x\r\n", "200 OK"},
        {"x-envoy-fault-abort-request: 418\r\nx-envoy-fault-abort-request-percentage: 0\r\n", "200 OK"},
        {"x-envoy-fault-abort-request: 418\r\nx-envoy-fault-abort-request-percentage: 100\r\n", "418"},
        {"x-envoy-fault-abort-grpc-request: 3\r\n", "fault filter abort"},
        {"x-envoy-fault-abort-request: 418\r\nx-envoy-fault-abort-grpc-request: 3\r\n", "418"},
    };
    begin((setup){.filters = FAULT(ABORT("'header_abort':{}") "," DELAY("'header_delay':{}"))});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_HAS(send_head("GET /", cases[i].headers), cases[i].status);
    }
    CHECK_SLICE(mc_slice_cstr(ask_for("GET / HTTP/1.1\r\nHost: h\r\nx-envoy-fault-delay-request: 500\r\n\r\n", 400)),
                "");
    CHECK_HAS(ask_for("", 200), "200 OK");
    end();
}

#define RUNTIME(values) "'layered_runtime':{'layers':[{'name':'s','static_layer':{" values "}}]},"

TEST(the_runtime_overrides) { /* FL-6 */
    static const struct {
        const char *runtime, *headers, *status;
    } cases[] = {
        {"'fault.http.abort.abort_percent':0", "", "200 OK"},
        {"'fault.http.abort.http_status':404", "", "404 Not Found"},
        {"'fault.http.abort.abort_percent':0", "x-envoy-downstream-service-cluster: c\r\n", "500 Internal"},
        {"'fault.http.c.abort.abort_percent':0", "x-envoy-downstream-service-cluster: c\r\n", "200 OK"},
        {"'fault.http.c.abort.http_status':404", "x-envoy-downstream-service-cluster: c\r\n", "404 Not Found"},
        {"'fault.http.abort.http_status':404", "x-envoy-downstream-service-cluster: c\r\n", "500 Internal"},
        {"'fault.http.max_active_faults':0", "", "200 OK"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char runtime[512];
        snprintf(runtime, sizeof runtime, RUNTIME("%s"), cases[i].runtime);
        begin((setup){.filters = FAULT(ABORT("'http_status':500")), .bootstrap = runtime});
        CHECK_HAS(send_head("GET /", cases[i].headers), cases[i].status);
        CHECK_COUNT("fault.faults_overflow", contains(cases[i].runtime, "max_active"));
        end();
    }
}

TEST(only_so_many_at_a_time) {
    begin((setup){.filters = FAULT("'max_active_faults':1," DELAY("'fixed_delay':'2s'"))});
    pipeline_peer other;
    CHECK_INT(pipeline_client(&p, &other, "main"), MC_OK);
    CHECK_SLICE(mc_slice_cstr(ask_for(GET, 100)), "");
    pipeline_send(&other, MC_SLICE(GET));
    pipeline_run(&p, 100);
    CHECK(other.in.length > 0);
    CHECK_COUNT("fault.faults_overflow", 1);
    pipeline_client_close(&other);
    end();
}

TEST(a_slow_response) { /* 1 KiB/s: 51 bytes at once, then 51 each 50 ms */
    static char response[4096];
    int n = snprintf(response, sizeof response, "HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n");
    memset(response + n, 'x', 1024);
    begin((setup){.filters = FAULT("'response_rate_limit':{" ALWAYS ",'fixed_limit':{'limit_kbps':1}}")});
    p.response = response;
    const char *got = ask_for(GET, 10);
    const char *body = strstr(got, "\r\n\r\n");
    CHECK(body != NULL);
    CHECK_INT(strlen(body + 4), 51);
    CHECK_INT(strlen(ask_for("", 500)), 512);
    CHECK_INT(strlen(ask_for("", 500)), 1024 - 51 - 512);
    CHECK_COUNT("fault.response_rl_injected", 1);
    response[n] = 0;
    end();
}

TEST(a_route_has_its_own_faults) {
    begin((setup){.filters = FAULT(ABORT("'http_status':500")),
                  .host = PER_ROUTE("fault", "fault.v3.HTTPFault", "," ABORT("'http_status':404")) ","});
    CHECK_HAS(send_head("GET /", ""), "404 Not Found");
    end();
}

TEST(wrong_configurations) {
    static const refusal cases[] = {
        {"'abort':{}", "abort"},
        {"'abort':{'http_status':199}", "abort.http_status"},
        {"'delay':{}", "delay"},
        {"'delay':{'fixed_delay':'1'}", "delay.fixed_delay"},
        {"'delay':{'fixed_delay':'1s','percentage':{'denominator':'X'}}", "delay.percentage.denominator"},
        {"'response_rate_limit':{}", "response_rate_limit"},
    };
    check_refusals(FAULT("%s"), cases, sizeof cases / sizeof *cases);
}
