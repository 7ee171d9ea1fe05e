#include "filter_test.h"

#define ON "'filter_enabled':{'default_value':{'numerator':100}},'filter_enforced':{'default_value':{'numerator':100}}"
#define BUCKET(n)   "'token_bucket':{'max_tokens':" n ",'fill_interval':'60s'}"
#define LIMIT(more) FILTER("rl", "local_ratelimit.v3.LocalRateLimit", ",'stat_prefix':'p'," more)
#define KEYED       "'rate_limits':[{'actions':[{'request_headers':{'header_name':'x-u','descriptor_key':'u'}}]}]"
#define STAT(name)  counter("p.http_local_rate_limit." name)

static bool limited(const char *headers) { return contains(send_head("GET /", headers), "429 Too Many Requests"); }

TEST(tokens_are_spent_and_come_back) {
    begin((setup){.filters = LIMIT(ON ",'token_bucket':{'max_tokens':2,'tokens_per_fill':1,'fill_interval':'10s'}")});
    CHECK(!limited(""));
    CHECK(!limited(""));
    CHECK(limited(""));
    CHECK_HAS(send_head("GET /", ""), "\r\n\r\nlocal_rate_limited");
    pipeline_run(&p, 10000);
    CHECK(!limited(""));
    CHECK_U64(STAT("enabled"), 5);
    CHECK_U64(STAT("ok"), 3);
    CHECK_U64(STAT("rate_limited"), 2);
    CHECK_U64(STAT("enforced"), 2);
    CHECK_COUNT("response_flags.RL", 2);
    end();
}

TEST(it_is_off_by_default_and_may_only_count) {
    begin((setup){.filters = LIMIT(BUCKET("1"))});
    CHECK(!limited(""));
    CHECK(!limited(""));
    CHECK_U64(STAT("enabled"), 0);
    end();
    begin((setup){.filters = LIMIT("'filter_enabled':{'default_value':{'numerator':100}}," BUCKET(
                      "1") ",'request_headers_to_add_when_not_enforced':[{'header':{'key':'x-over','value':'1'}}]")});
    CHECK(!limited(""));
    CHECK_NOT(request, "x-over");
    CHECK(!limited(""));
    CHECK_HAS(request, "x-over: 1\r\n");
    CHECK_U64(STAT("rate_limited"), 1);
    CHECK_U64(STAT("enforced"), 0);
    end();
}

TEST(the_answer_is_configured) {
    begin((setup){.filters = LIMIT(
                      ON "," BUCKET("1") ",'status':{'code':'ServiceUnavailable'},'response_headers_to_add':"
                                         "[{'header':{'key':'x-limited','value':'yes'}}],'enable_x_ratelimit_headers':"
                                         "'DRAFT_VERSION_03','rate_limited_as_resource_exhausted':true")});
    const char *got = send_head("GET /", "");
    CHECK_HAS(got, "x-ratelimit-limit: 1\r\n");
    CHECK_HAS(got, "x-ratelimit-remaining: 0\r\n");
    CHECK_HAS(got, "x-ratelimit-reset: 60\r\n");
    got = send_head("GET /", "");
    CHECK_HAS(got, "503");
    CHECK_HAS(got, "x-limited: yes\r\n");
    CHECK_HAS(send_head("POST /a/b", "content-type: application/grpc\r\n"), "grpc-status: 8\r\n");
    end();
}

TEST(descriptors_pick_their_bucket) {
    begin((setup){
        .filters = LIMIT(ON "," BUCKET("100") "," KEYED ",'descriptors':[{'entries':[{'key':'u','value':'a'}]," BUCKET(
            "1") "},{'entries':[{'key':'u'}]," BUCKET("2") "}],'max_dynamic_descriptors':2")});
    CHECK(!limited("x-u: a\r\n"));
    CHECK(limited("x-u: a\r\n"));
    CHECK(!limited("x-u: b\r\n"));
    CHECK(!limited("x-u: b\r\n"));
    CHECK(limited("x-u: b\r\n"));
    CHECK(!limited("x-u: c\r\n"));
    CHECK(limited("x-u: b\r\n"));
    CHECK(!limited("x-u: d\r\n")); /* c gives way */
    CHECK(!limited("x-u: c\r\n"));
    CHECK(!limited("x-u: c\r\n"));
    CHECK(limited("x-u: c\r\n"));
    CHECK(!limited(""));
    end();
}

TEST(a_bucket_for_each_value_however_long) {
    char a[2200], b[2200];
    begin((setup){.filters = LIMIT(ON "," BUCKET("9") "," KEYED ",'enable_x_ratelimit_headers':'DRAFT_VERSION_03',"
                                                      "'descriptors':[{'entries':[{'key':'u'}]," BUCKET("1") "}]")});
    snprintf(a, sizeof a, "x-u: %02000d\r\n", 1);
    snprintf(b, sizeof b, "x-u: %02000d\r\n", 2);
    CHECK_HAS(send_head("GET /", a), "x-ratelimit-limit: 1\r\n");
    CHECK(limited(a));
    CHECK(!limited(b));
    CHECK(limited(b));
    CHECK(limited(a));
    end();
}

TEST(a_default_bucket_need_not_count_what_descriptors_count) {
    begin((setup){
        .filters = LIMIT(ON "," BUCKET("1") "," KEYED ",'always_consume_default_token_bucket':false,"
                                            "'descriptors':[{'entries':[{'key':'u','value':'a'}]," BUCKET("9") "}]")});
    CHECK(!limited("x-u: a\r\n"));
    CHECK(!limited("x-u: a\r\n"));
    CHECK(!limited(""));
    CHECK(limited(""));
    end();
}

TEST(a_route_says_what_to_count) {
    begin(
        (setup){.filters = LIMIT(ON ",'descriptors':[{'entries':[{'key':'generic_key','value':'g'}]," BUCKET("1") "}]"),
                .routes = "{'match':{'prefix':'/g'},'route':{'cluster':'web','rate_limits':[{'actions':[{'generic_key':"
                          "{'descriptor_value':'g'}}]}]}}," TO_WEB});
    CHECK_HAS(send_head("GET /g", ""), "200 OK");
    CHECK_HAS(send_head("GET /g", ""), "429");
    CHECK_HAS(send_head("GET /", ""), "200 OK");
    CHECK_HAS(send_head("GET /", ""), "200 OK");
    end();
}

TEST(a_bucket_for_each_connection) {
    begin((setup){.filters = LIMIT(ON "," BUCKET("1") ",'local_rate_limit_per_downstream_connection':true")});
    CHECK(!limited(""));
    CHECK(limited(""));
    pipeline_client_close(&client);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    CHECK(!limited(""));
    end();
}

TEST(a_route_has_its_own_limit) {
    begin((setup){
        .filters = LIMIT(BUCKET("1")),
        .host = PER_ROUTE("rl", "local_ratelimit.v3.LocalRateLimit", ",'stat_prefix':'q'," ON "," BUCKET("1")) ","});
    CHECK(!limited(""));
    CHECK(limited(""));
    CHECK_U64(counter("q.http_local_rate_limit.enforced"), 1);
    end();
}

TEST(wrong_configurations) {
    static const refusal cases[] = {
        {"'token_bucket':{'max_tokens':1,'tokens_per_fill':0,'fill_interval':'1s'}", "token_bucket.tokens_per_fill"},
        {"'token_bucket':{'max_tokens':1,'fill_interval':'0.049s'}", "token_bucket.fill_interval"},
        {"'descriptors':[{'entries':[{'key':'a'}]}]", "descriptors[0].token_bucket"},
        {"'descriptors':[{" BUCKET("1") "}]", "descriptors[0].entries"},
        {"'descriptors':[{'entries':[{'key':'a'}]," BUCKET("1") "},{'entries':[{'key':'a'}]," BUCKET("2") "}]",
         "descriptors[1]"},
        {BUCKET("1") ",'rate_limits':[{'actions':[{'remote_address':{}}],'stage':1}]", "rate_limits[0].stage"},
        {BUCKET("1") ",'rate_limits':[{'actions':[{'remote_address':{}}],'disable_key':'k'}]",
         "rate_limits[0].disable_key"},
    };
    check_refusals(LIMIT("%s"), cases, sizeof cases / sizeof *cases);
    CHECK_SLICE(mc_slice_cstr(refused(
                    (setup){.host = PER_ROUTE("rl", "local_ratelimit.v3.LocalRateLimit", ",'stat_prefix':'q'") ","})),
                "route_config.virtual_hosts[0].typed_per_filter_config[\"rl\"].token_bucket");
}
