#include "filter_test.h"

#define HC(more)                                                                                                       \
    FILTER("hc", "health_check.v3.HealthCheck", ",'headers':[{'name':':path','string_match':{'exact':'/hc'}}]," more)

TEST(a_check_is_answered_here) {
    begin((setup){.filters = HC("'pass_through_mode':false")});
    const char *got = send_head("GET /hc", "");
    CHECK_HAS(got, "200 OK");
    CHECK_HAS(got, "x-envoy-upstream-healthchecked-cluster: edge\r\n");
    CHECK_INT(p.connects, 0);
    CHECK_HAS(ask("POST /hc HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"), "200 OK");
    CHECK_NOT(send_head("GET /", ""), "healthchecked");
    CHECK_COUNT("health_check.ok", 2);
    CHECK_COUNT("health_check.request_total", 2);
    end();
}

TEST(a_process_that_is_to_fail) {
    begin((setup){.filters = HC("'pass_through_mode':true"), .listener = "'drain_type':'MODIFY_ONLY',"});
    mc_engine_fail_health(p.worker->engine, true);
    CHECK_HAS(send_head("GET /hc", ""), "503");
    CHECK_HAS(send_head("GET /", ""), "x-envoy-immediate-health-check-fail: true\r\n");
    CHECK_COUNT("health_check.failed", 2);
    mc_engine_fail_health(p.worker->engine, false);
    CHECK_HAS(send_head("GET /hc", ""), "hello");
    end();
}

TEST(an_answer_is_kept_for_a_while) {
    begin((setup){.filters = HC("'pass_through_mode':true,'cache_time':'5s'")});
    p.response = "HTTP/1.1 204 No Content\r\nx-envoy-degraded: 1\r\n\r\n";
    CHECK_HAS(send_head("GET /hc", ""), "204");
    CHECK_INT(p.connects, 1);
    p.response = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
    const char *got = send_head("GET /hc", "");
    CHECK_HAS(got, "204");
    CHECK_HAS(got, "x-envoy-degraded");
    CHECK_COUNT("health_check.cached_response", 1);
    CHECK_COUNT("health_check.degraded", 1);
    pipeline_run(&p, 5000);
    CHECK_HAS(send_head("GET /hc", ""), "500");
    end();
}

TEST(clusters_must_be_healthy_enough) {
    static const struct {
        const char *minima, *status, *stat;
    } cases[] = {
        {"'web':{'value':100}", "200 OK", "ok"},
        {"'web':{}", "200 OK", "ok"},
        {"'gone':{}", "503", "failed_cluster_not_found"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char filters[1024], name[128];
        snprintf(filters, sizeof filters, HC("'pass_through_mode':false,'cluster_min_healthy_percentages':{%s}"),
                 cases[i].minima);
        snprintf(name, sizeof name, "http.in.health_check.%s", cases[i].stat);
        begin((setup){.filters = filters});
        CHECK_HAS(send_head("GET /hc", ""), cases[i].status);
        CHECK_U64(counter(name), 1);
        end();
    }
}

TEST(wrong_configurations) {
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = HC("'cache_time':'1s'")})),
                "http_filters[0].typed_config.pass_through_mode");
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = HC("'pass_through_mode':false,'cache_time':'1s'")})),
                "http_filters[0].typed_config.cache_time");
    CHECK_SLICE(mc_slice_cstr(refused(
                    (setup){.filters = HC("'pass_through_mode':false"),
                            .host = PER_ROUTE("hc", "health_check.v3.HealthCheck", ",'pass_through_mode':false") ","})),
                "route_config.virtual_hosts[0].typed_per_filter_config[\"hc\"]");
}
