/* bandwidth_limit, admission_control, adaptive_concurrency, cpu_limit. */
#include "event/cpu.h"

#include "filter_test.h"

#define GET          "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define BANDWIDTH(s) FILTER("bw", "bandwidth_limit.v3.BandwidthLimit", ",'stat_prefix':'p'," s)
#define BW(name)     counter("p.http_bandwidth_limit." name)

static char large[8192];

static const char *response_of(size_t size) {
    int n = snprintf(large, sizeof large, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", size);
    memset(large + n, 'x', size);
    large[(size_t)n + size] = 0;
    return large;
}

TEST(responses_are_slowed_down) { /* 1 KiB/s: 51 bytes first, then what each 50 ms bring */
    begin((setup){.filters = BANDWIDTH("'enable_mode':'RESPONSE','limit_kbps':1")});
    p.response = response_of(1000);
    const char *body = strstr(ask_for(GET, 10), "\r\n\r\n");
    CHECK(body != NULL);
    CHECK_INT(strlen(body + 4), 51);
    CHECK_U64(gauge("p.http_bandwidth_limit.response_pending"), 1);
    CHECK_INT(strlen(ask_for("", 500)), 512);
    CHECK_INT(strlen(ask_for("", 500)), 1000 - 51 - 512);
    CHECK_U64(BW("response_enabled"), 1);
    CHECK_U64(BW("response_incoming_total_size"), 1000);
    CHECK_U64(BW("response_allowed_total_size"), 1000);
    CHECK_U64(BW("request_enabled"), 0);
    CHECK(BW("response_enforced") > 5);
    CHECK_U64(gauge("p.http_bandwidth_limit.response_pending"), 0);
    end();
}

TEST(requests_are_slowed_down) {
    static char text[4096];
    begin((setup){.filters = BANDWIDTH("'enable_mode':'REQUEST','limit_kbps':1,'fill_interval':'0.1s'")});
    int n = snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 512\r\n\r\n");
    memset(text + n, 'y', 512);
    text[n + 512] = 0;
    CHECK_SLICE(mc_slice_cstr(ask_for(text, 300)), "");
    CHECK_HAS(ask_for("", 400), "200 OK");
    CHECK_U64(BW("request_allowed_total_size"), 512);
    end();
}

TEST(a_client_may_leave_a_slow_body) {
    begin((setup){.filters = BANDWIDTH("'enable_mode':'RESPONSE','limit_kbps':1")});
    p.response = response_of(4000);
    ask_for(GET, 100);
    pipeline_client_close(&client);
    CHECK_U64(gauge("p.http_bandwidth_limit.response_pending"), 0);
    end();
}

TEST(wrong_limits) {
    static const refusal cases[] = {
        {"'enable_mode':'REQUEST','limit_kbps':'0'", "limit_kbps"},
        {"'enable_mode':'NO'", "enable_mode"},
        {"'limit_kbps':1,'fill_interval':'0.01s'", "fill_interval"},
        {"'limit_kbps':1,'fill_interval':'2s'", "fill_interval"},
    };
    check_refusals(BANDWIDTH("%s"), cases, sizeof cases / sizeof *cases);
}

#define ADMISSION(s) FILTER("ac", "admission_control.v3.AdmissionControl", "," s)

static uint64_t rejected_of(unsigned requests) {
    uint64_t before = counter("http.in.admission_control.rq_rejected");
    for (unsigned i = 0; i < requests; i++) {
        ask_for(GET, 1);
    }
    return counter("http.in.admission_control.rq_rejected") - before;
}

TEST(failures_turn_requests_away) {
    begin((setup){.filters = ADMISSION("'sampling_window':'20s'")});
    p.response = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
    CHECK_U64(rejected_of(1), 0);
    uint64_t rejected = rejected_of(100); /* (n - 0) / (n + 1), at most 80 % */
    CHECK(rejected > 60 && rejected < 95);
    CHECK_COUNT("admission_control.rq_failure", 101 - rejected);
    CHECK_COUNT("response_flags.UAEX", 0);
    pipeline_run(&p, 21000); /* the window is empty again */
    p.response = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    CHECK_U64(rejected_of(50), 0);
    CHECK_COUNT("admission_control.rq_success", 50);
    end();
}

TEST(what_counts_as_success) {
    begin((setup){
        .filters = ADMISSION("'success_criteria':{'http_criteria':{'http_success_status':[{'start':500,'end':501}]}},"
                             "'rps_threshold':{'default_value':1000}")});
    p.response = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
    CHECK_U64(rejected_of(3), 0);
    p.response = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    CHECK_U64(rejected_of(3), 0);
    p.response = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 13\r\ncontent-length: 0\r\n\r\n";
    CHECK_U64(rejected_of(1), 0);
    CHECK_COUNT("admission_control.rq_success", 3);
    CHECK_COUNT("admission_control.rq_failure", 4);
    end();
}

#define ADAPTIVE(limits, rtt)                                                                                          \
    FILTER("ad", "adaptive_concurrency.v3.AdaptiveConcurrency",                                                        \
           ",'gradient_controller_config':{'concurrency_limit_params':{'concurrency_update_interval':'0.1s'" limits    \
           "},'min_rtt_calc_params':{" rtt "}}")
#define GRADIENT(name) gauge("http.in.adaptive_concurrency.gradient_controller." name)

static void hold(pipeline_peer *server) {}

TEST(no_more_than_the_limit_at_a_time) {
    pipeline_peer others[4];
    begin((setup){.filters = ADAPTIVE("", "'interval':'60s','min_concurrency':2")});
    p.serve = hold;
    for (int i = 0; i < 4; i++) {
        CHECK_INT(pipeline_client(&p, &others[i], "main"), MC_OK);
        pipeline_send(&others[i], MC_SLICE(GET));
        pipeline_run(&p, 1);
    }
    CHECK_U64(GRADIENT("concurrency_limit"), 2);
    CHECK_U64(GRADIENT("min_rtt_calculation_active"), 1);
    char got[4096];
    mc_slice last = pipeline_received(&others[3], got, sizeof got - 1);
    got[last.n] = 0;
    CHECK_HAS(got, "503");
    CHECK_HAS(got, "reached concurrency limit");
    CHECK_COUNT("adaptive_concurrency.gradient_controller.rq_blocked", 2);
    for (int i = 0; i < 4; i++) {
        pipeline_client_close(&others[i]);
    }
    p.serve = serve;
    CHECK_HAS(ask_for(GET, 1), "200 OK");
    end();
}

TEST(the_limit_follows_the_latency) {
    begin((setup){.filters = ADAPTIVE(",'max_concurrency_limit':20", "'fixed_value':'0.010s'")});
    for (int i = 0; i < 30; i++) { /* far faster than 10 ms: the gradient is at its most, and the limit grows */
        ask_for(GET, 50);
    }
    CHECK_U64(GRADIENT("gradient"), 2000);
    CHECK_U64(GRADIENT("concurrency_limit"), 20);
    CHECK_U64(GRADIENT("min_rtt_msecs"), 10);
    end();
}

#define CPU_LIMIT(fields) "{'name':'cpu','typed_config':{'@type':'type.googleapis.com/meshcore.CpuLimit'" fields "}}"
#define CPU(name)         gauge("http.in.cpu_limit." name)

/* A tenth of a second in which one core worked this share of the time; then a request, which another client holds open. */
static const char *after_work(double share, pipeline_peer *asking) {
    static mc_cpu_use use;
    static char got[4096];
    use.cores = 1;
    use.passed += 100;
    use.worked += 100 * share;
    mc_cpu_tell(p.worker->loop, use);
    pipeline_run(&p, 100);
    CHECK_INT(pipeline_client(&p, asking, "main"), MC_OK);
    pipeline_send(asking, MC_SLICE(GET));
    pipeline_run(&p, 1);
    mc_slice text = pipeline_received(asking, got, sizeof got - 1);
    got[text.n] = 0;
    return got;
}

TEST(few_at_a_time_while_the_cpu_is_used_up) {
    pipeline_peer others[12], asking;
    begin((setup){.filters = CPU_LIMIT(",'concurrency_per_core':2")});
    p.serve = hold;
    for (int i = 0; i < 12; i++) { /* nobody knows how many are too many */
        CHECK_SLICE(mc_slice_cstr(after_work(0.2, &others[i])), "");
    }
    CHECK_COUNT("cpu_limit.rq_blocked", 0);
    for (int i = 0; i < 10; i++) {
        after_work(1, &asking);
        pipeline_client_close(&asking);
    }
    CHECK_U64(CPU("concurrency_limit"), 2);
    CHECK_U64(CPU("utilization"), 100);
    CHECK_HAS(after_work(1, &asking), "503");
    pipeline_client_close(&asking);
    for (int i = 1; i < 12; i++) { /* one is left: there is room for another */
        pipeline_client_close(&others[i]);
    }
    CHECK_SLICE(mc_slice_cstr(after_work(1, &others[1])), "");
    CHECK_HAS(after_work(1, &asking), "no CPU left");
    pipeline_client_close(&asking);
    for (int i = 2; i < 12; i++) { /* CPU is left: one more each time */
        CHECK_SLICE(mc_slice_cstr(after_work(0.5, &others[i])), "");
    }
    CHECK(CPU("concurrency_limit") > 12);
    for (int i = 0; i < 12; i++) {
        pipeline_client_close(&others[i]);
    }
    p.serve = serve;
    end();
}

TEST(wrong_cpu_limits) {
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = CPU_LIMIT(",'target_utilization':1.5")})),
                "http_filters[0].typed_config.target_utilization");
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = CPU_LIMIT(",'update_interval':'0s'")})),
                "http_filters[0].typed_config.update_interval");
}

TEST(wrong_controllers) {
    CHECK_SLICE(
        mc_slice_cstr(refused((setup){.filters = FILTER("ad", "adaptive_concurrency.v3.AdaptiveConcurrency", "")})),
        "http_filters[0].typed_config.gradient_controller_config");
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = ADAPTIVE("", "")})),
                "http_filters[0].typed_config.gradient_controller_config.min_rtt_calc_params.interval");
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = ADMISSION("'sr_threshold':{'default_value':{'value':0.5}}")})),
                "http_filters[0].typed_config.sr_threshold");
}
