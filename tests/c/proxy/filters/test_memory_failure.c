/* Every allocation fails once, one after the other, under a chain of nearly all filters: nothing crashes, nothing leaks, and a request
 * has an answer or a closed connection. */
#include "filter_test.h"

/* clang-format off */
#define GZIP(direction) \
    "'" direction "_library':{'name':'l','typed_config':{" \
    TYPE("envoy.extensions.compression.gzip." direction ".v3.Gzip") "}}"
#define PERCENT "{'default_value':{'numerator':100}}"
#define CHAIN \
    FILTER("cors", "cors.v3.Cors", "") "," \
    FILTER("csrf", "csrf.v3.CsrfPolicy", ",'filter_enabled':" PERCENT) "," \
    FILTER("hm", "header_mutation.v3.HeaderMutation", ",'mutations':{" \
           "'request_mutations':[{'append':{'header':{'key':'x-a','value':'%PROTOCOL%'}}}]," \
           "'query_parameter_mutations':[{'append':{'record':{'key':'a','value':'b'}}}]}") "," \
    FILTER("h2m", "header_to_metadata.v3.Config", \
           ",'request_rules':[{'header':'x-a','on_header_present':{'key':'k'}}]") "," \
    FILTER("sm", "set_metadata.v3.Config", ",'metadata':[{'metadata_namespace':'m','value':{'a':[1]}}]") "," \
    FILTER("rbac", "rbac.v3.RBAC", \
           ",'rules':{'policies':{'p':{'permissions':[{'any':true}],'principals':[{'any':true}]}}}") "," \
    FILTER("rl", "local_ratelimit.v3.LocalRateLimit", \
           ",'stat_prefix':'r','filter_enabled':" PERCENT ",'filter_enforced':" PERCENT "," \
           "'token_bucket':{'max_tokens':9,'fill_interval':'1s'},'enable_x_ratelimit_headers':'DRAFT_VERSION_03'," \
           "'rate_limits':[{'actions':[{'generic_key':{'descriptor_value':'g'}}]}]," \
           "'descriptors':[{'entries':[{'key':'generic_key'}]," \
           "'token_bucket':{'max_tokens':9,'fill_interval':'1s'}}]") "," \
    FILTER("ac", "admission_control.v3.AdmissionControl", ",'success_criteria':{}") "," \
    FILTER("ad", "adaptive_concurrency.v3.AdaptiveConcurrency", ",'gradient_controller_config':{" \
           "'concurrency_limit_params':{'concurrency_update_interval':'1s'}," \
           "'min_rtt_calc_params':{'interval':'60s'}}") "," \
    FILTER("ss", "stateful_session.v3.StatefulSession", \
           ",'session_state':{'name':'envoy.http.stateful_session.cookie','typed_config':{" \
           TYPE("envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState") \
           ",'cookie':{'name':'c'}}}") "," \
    FILTER("bw", "bandwidth_limit.v3.BandwidthLimit", \
           ",'stat_prefix':'b','limit_kbps':100,'enable_mode':'REQUEST_AND_RESPONSE'") "," \
    FILTER("b", "buffer.v3.Buffer", ",'max_request_bytes':1000") "," \
    FILTER("d", "decompressor.v3.Decompressor", "," GZIP("decompressor")) "," \
    FILTER("c", "compressor.v3.Compressor", \
           "," GZIP("compressor") ",'response_direction_config':{'common_config':{'min_content_length':1}}")
/* clang-format on */

#define POLICY PER_ROUTE("cors", "cors.v3.CorsPolicy", ",'allow_origin_string_match':[{'exact':'http://h'}]") ","
#define REQUEST                                                                                                        \
    "POST /?x=1 HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\nAccept-Encoding: gzip\r\nTransfer-Encoding: "               \
    "chunked\r\n\r\n"                                                                                                  \
    "3\r\nabc\r\n0\r\n\r\n"

static const char *const gauges[] = {"http.in.downstream_rq_active", "http.in.downstream_cx_active",
                                     "b.http_bandwidth_limit.request_pending",
                                     "b.http_bandwidth_limit.response_pending"};

/* One exchange with the nth allocation failing; whether it did fail. */
static bool exchange(long nth) {
    begin((setup){.filters = CHAIN, .host = POLICY});
    pipeline_send(&client, MC_SLICE(REQUEST)); /* the client itself does not fail */
    mc_test_alloc_fail_at(nth);
    pipeline_run(&p, 2000);
    const bool failed = mc_test_alloc_pending() == 0;
    mc_test_alloc_fail_at(0);
    if (!client.closed && client.in.length == 0) { /* the transport itself may lose bytes: then a timeout answers */
        pipeline_run(&p, 400000);
    }
    CHECK(client.closed || client.in.length > 0 || counter("http.in.downstream_rq_total") == 0);
    pipeline_client_close(&client);
    pipeline_run(&p, 100);
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
        CHECK_U64(gauge(gauges[i]), 0);
    }
    pipeline_close(&p);
    return failed;
}

TEST(requests_survive) {
    long nth = 1;
    while (exchange(nth)) {
        nth++;
    }
    CHECK(nth > 10);
}

TEST(configurations_survive) {
    const setup s = {.filters = CHAIN, .host = POLICY};
    mc_status status = MC_ENOMEM;
    long nth = 1;
    for (; status != MC_OK && nth < 5000; nth++) {
        mc_error error = {0};
        const char *json = configuration(&s);
        mc_test_alloc_fail_at(nth);
        status = pipeline_open(&p, json, 42, &error);
        mc_test_alloc_fail_at(0);
        CHECK(status == MC_OK || status == MC_ENOMEM);
        if (status == MC_OK) {
            pipeline_close(&p);
        }
    }
    CHECK_INT(status, MC_OK);
}
