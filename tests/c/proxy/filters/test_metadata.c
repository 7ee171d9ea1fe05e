/* header_to_metadata, set_metadata, ip_tagging, grpc_stats: what later filters, logs and statistics then know of a request. */
#include "filter_test.h"

#define SHOW(format)                                                                                                   \
    FILTER("show", "header_mutation.v3.HeaderMutation",                                                                \
           ",'mutations':{'request_mutations':[{'append':{'header':{'key':'x-show','value':'" format                   \
           "'},'keep_empty_value':true}}]}")
#define RULES(rules) FILTER("h2m", "header_to_metadata.v3.Config", ",'request_rules':[" rules "]")

static const char *shown(const char *headers) {
    static char value[4096];
    send_head("GET /", headers);
    const char *at = strstr(request, "x-show: ");
    CHECK(at != NULL);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at + 8, "\r"), at + 8);
    return value;
}

TEST(headers_become_metadata) {
    static const struct {
        const char *rule, *headers, *shown;
    } cases[] = {
        {"'on_header_present':{'key':'k'}", "x-a: 1\r\nx-a: 2\r\n", "{\"k\":\"1,2\"}"},
        {"'on_header_present':{'key':'k','type':'NUMBER'}", "x-a: 1.5\r\n", "{\"k\":1.5}"},
        {"'on_header_present':{'key':'k','type':'NUMBER'}", "x-a: no\r\n", ""},
        {"'on_header_present':{'key':'k','encode':'BASE64'}", "x-a: aGk=\r\n", "{\"k\":\"hi\"}"},
        {"'on_header_present':{'key':'k','encode':'BASE64','type':'PROTOBUF_VALUE'}", "x-a: MgYKBBoCaGk=\r\n",
         "{\"k\":[\"hi\"]}"},
        {"'on_header_present':{'key':'k','encode':'BASE64','type':'PROTOBUF_VALUE'}", "x-a: //8=\r\n", ""},
        {"'on_header_present':{'key':'k','value':'v'},'remove':true", "x-a: 1\r\n", "{\"k\":\"v\"}"},
        {"'on_header_missing':{'key':'k','value':'v'}", "", "{\"k\":\"v\"}"},
        {"'on_header_missing':{'key':'k','value':'v'}", "x-a: 1\r\n", ""},
        {"'on_header_present':{'key':'k','regex_value_rewrite':{'pattern':{'regex':'^a(.)'},'substitution':'<\\\\1>'}}",
         "x-a: abc\r\n", "{\"k\":\"<b>c\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char filters[2048];
        snprintf(filters, sizeof filters,
                 RULES("{'header':'x-a',%s}") "," SHOW("%%DYNAMIC_METADATA(envoy.filters.http.header_to_metadata)%%"),
                 cases[i].rule);
        begin((setup){.filters = filters});
        CHECK_SLICE(mc_slice_cstr(shown(cases[i].headers)), cases[i].shown);
        CHECK(contains(request, "x-a:") == (contains(cases[i].headers, "x-a") && !contains(cases[i].rule, "remove")));
        end();
    }
}

TEST(a_rewrite_beside_the_value_of_a_missing_header) {
    begin((setup){.filters = RULES("{'header':'a','on_header_missing':{'key':'k','value':'v','regex_value_rewrite':"
                                   "{'pattern':{'regex':'v'},'substitution':'w'}}}")});
    end();
}

TEST(wrong_rules) {
    static const struct {
        const char *rule, *path;
    } cases[] = {
        {"'header':'a'", ""},
        {"'on_header_present':{'key':'k'}", ""},
        {"'header':'a','cookie':'b','on_header_present':{'key':'k'}", ""},
        {"'cookie':'b','remove':true,'on_header_present':{'key':'k'}", ".remove"},
        {"'header':'a','on_header_missing':{'key':'k'}", ".on_header_missing.value"},
        {"'header':'a','on_header_present':{'key':'k','value':'v','regex_value_rewrite':{'pattern':{'regex':'a'}}}",
         ".on_header_present.regex_value_rewrite"},
        {"'header':'a','on_header_present':{'key':'k','regex_value_rewrite':{'pattern':{'regex':'('}}}",
         ".on_header_present.regex_value_rewrite.pattern.regex"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char filters[1024], path[256];
        snprintf(filters, sizeof filters, RULES("{%s}"), cases[i].rule);
        snprintf(path, sizeof path, "http_filters[0].typed_config.request_rules[0]%s", cases[i].path);
        CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = filters})), path);
    }
}

#define MERGED                                                                                                         \
    FILTER("a", "set_metadata.v3.Config",                                                                              \
           ",'metadata_namespace':'m','value':{'l':[1],'s':'x'},'metadata':["                                          \
           "{'metadata_namespace':'m','value':{'s':'no'}},"                                                            \
           "{'metadata_namespace':'m','allow_overwrite':true,'value':{'l':[2],'s':'y'}}]")

TEST(configured_metadata_is_merged) {
    begin((setup){.filters = MERGED "," SHOW("%DYNAMIC_METADATA(m)%")});
    CHECK_SLICE(mc_slice_cstr(shown("")), "{\"l\":[1,2],\"s\":\"y\"}");
    CHECK_COUNT("set_metadata.overwrite_denied", 1);
    end();
}

#define TAGS(more)                                                                                                     \
    FILTER("ip", "ip_tagging.v3.IPTagging",                                                                            \
           more ",'ip_tags':[{'ip_tag_name':'ten','ip_list':[{'address_prefix':'10.0.0.0','prefix_len':8}]},"          \
                "{'ip_tag_name':'all','ip_list':[{'address_prefix':'0.0.0.0'}]}]")

TEST(addresses_are_tagged) {
    begin((setup){.filters = TAGS(""), .manager = "'use_remote_address':true,'xff_num_trusted_hops':1,"});
    send_head("GET /", "x-forwarded-for: 10.1.1.1\r\n");
    CHECK_HAS(request, "x-envoy-ip-tags: ten,all\r\n");
    send_head("GET /", "x-forwarded-for: 2001::1\r\n");
    CHECK_NOT(request, "x-envoy-ip-tags");
    CHECK_COUNT("ip_tagging.ten.hit", 1);
    CHECK_COUNT("ip_tagging.no_hit", 1);
    CHECK_COUNT("ip_tagging.total", 2);
    end();
}

#define GRPC "POST /a.B/C HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\nContent-Length: 13\r\n\r\n"

TEST(calls_and_messages_are_counted) {
    begin((setup){.filters = FILTER("g", "grpc_stats.v3.FilterConfig",
                                    ",'stats_for_all_methods':true,'replace_dots_in_grpc_service_name':true")});
    p.memory.split = true;
    pipeline_client_close(&client);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    p.response = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 0\r\ncontent-length: 5\r\n\r\n"
                 "hello";
    char text[256];
    memcpy(text, GRPC, sizeof GRPC);
    mc_slice parts[] = {MC_SLICE(GRPC), MC_SLICE("\0\0\0\0\3abc\0\0\0\0\0")};
    for (size_t i = 0; i < 2; i++) {
        pipeline_send(&client, parts[i]);
    }
    pipeline_run(&p, 1000);
    CHECK_HAS(take(), "200 OK");
    CHECK_U64(counter("cluster.web.grpc.a_B.C.request_message_count"), 2);
    CHECK_U64(counter("cluster.web.grpc.a_B.C.response_message_count"), 1);
    CHECK_U64(counter("cluster.web.grpc.a_B.C.success"), 1);
    CHECK_U64(counter("cluster.web.grpc.a_B.C.0"), 1);
    CHECK_U64(counter("cluster.web.grpc.a_B.C.total"), 1);
    end();
}
