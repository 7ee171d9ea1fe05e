#include "filter_test.h"

#define RBAC(cfg)            FILTER("rbac", "rbac.v3.RBAC", "," cfg)
#define POLICY(name, to, by) "'" name "':{'permissions':[" to "],'principals':[" by "]}"
#define RULES(action, what)  "'rules':{'action':'" action "','policies':{" what "}}"
#define ANY                  "{'any':true}"

/* A rule alone decides: allowed or not. */
static bool holds(const char *permission, const char *principal, const char *line, const char *headers) {
    char filters[2048];
    snprintf(filters, sizeof filters, RBAC("'rules':{'policies':{'p':{'permissions':[%s],'principals':[%s]}}}"),
             permission, principal);
    begin((setup){.filters = filters, .manager = "'use_remote_address':true,'xff_num_trusted_hops':1,"});
    bool allowed = contains(send_head(line, headers), "200 OK");
    CHECK_COUNT("rbac.allowed", allowed);
    CHECK_COUNT("rbac.denied", !allowed);
    end();
    return allowed;
}

TEST(permissions) {
    static const struct {
        const char *rule, *line, *headers;
        bool holds;
    } cases[] = {
        {ANY, "GET /", "", true},
        {"{'not_rule':" ANY "}", "GET /", "", false},
        {"{'url_path':{'path':{'prefix':'/a'}}}", "GET /a?b", "", true},
        {"{'url_path':{'path':{'exact':'/a'}}}", "GET /a?b", "", true},
        {"{'url_path':{'path':{'exact':'/a'}}}", "GET /b", "", false},
        {"{'header':{'name':':method','string_match':{'exact':'GET'}}}", "GET /", "", true},
        {"{'header':{'name':':method','string_match':{'exact':'GET'}}}", "PUT /", "", false},
        {"{'header':{'name':'x-a','string_match':{'exact':'1'}}}", "GET /", "x-a: 2\r\nx-a: 1\r\n", true},
        {"{'header':{'name':'x-a','string_match':{'exact':'2,1'}}}", "GET /", "x-a: 2\r\nx-a: 1\r\n", false},
        {"{'header':{'name':'x-a','string_match':{'exact':'1'},'invert_match':true}}", "GET /", "x-a: 2\r\nx-a: 1\r\n",
         false},
        {"{'header':{'name':'x-a','string_match':{'exact':'1'},'invert_match':true}}", "GET /", "x-a: 2\r\nx-a: 3\r\n",
         true},
        {"{'and_rules':{'rules':[" ANY ",{'header':{'name':'x-a','present_match':true}}]}}", "GET /", "", false},
        {"{'or_rules':{'rules':[{'not_rule':" ANY "},{'header':{'name':'x-a','present_match':true}}]}}", "GET /",
         "x-a: 1\r\n", true},
        {"{'requested_server_name':{'exact':''}}", "GET /", "", true},
        {"{'requested_server_name':{'exact':'a'}}", "GET /", "", false},
        {"{'destination_port':1}", "GET /", "", false},
        {"{'destination_port_range':{'start':0,'end':1}}", "GET /", "", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (holds(cases[i].rule, ANY, cases[i].line, cases[i].headers) != cases[i].holds) {
            fprintf(stderr, "%s with %s\n", cases[i].rule, cases[i].headers);
            CHECK(!"as expected");
        }
    }
}

TEST(principals) {
    static const struct {
        const char *rule, *headers;
        bool holds;
    } cases[] = {
        {"{'authenticated':{}}", "", false},
        {"{'not_id':{'authenticated':{'principal_name':{'exact':'x'}}}}", "", true},
        {"{'remote_ip':{'address_prefix':'10.1.0.0','prefix_len':16}}", "x-forwarded-for: 10.1.2.3\r\n", true},
        {"{'remote_ip':{'address_prefix':'10.1.0.0','prefix_len':16}}", "x-forwarded-for: 10.2.2.3\r\n", false},
        {"{'direct_remote_ip':{'address_prefix':'10.1.0.0','prefix_len':16}}", "x-forwarded-for: 10.1.2.3\r\n", false},
        {"{'and_ids':{'ids':[" ANY "]}}", "", true},
        {"{'or_ids':{'ids':[{'header':{'name':'x-u','string_match':{'prefix':'a'}}}]}}", "x-u: ab\r\n", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (holds(ANY, cases[i].rule, "GET /", cases[i].headers) != cases[i].holds) {
            fprintf(stderr, "%s with %s\n", cases[i].rule, cases[i].headers);
            CHECK(!"as expected");
        }
    }
}

TEST(a_denial_names_its_policy) {
    begin((setup){.filters = RBAC("'track_per_rule_stats':true,'rules_stat_prefix':'r'," RULES(
                      "DENY", POLICY("b no", "{'url_path':{'path':{'prefix':'/no'}}}",
                                     ANY) "," POLICY("a", "{'url_path':{'path':{'prefix':'/no/way'}}}", ANY)))});
    const char *got = send_head("GET /no", "");
    CHECK_HAS(got, "403 Forbidden");
    CHECK_HAS(got, "\r\n\r\nRBAC: access denied");
    CHECK_HAS(send_head("GET /no/way", ""), "403");
    CHECK_HAS(send_head("GET /yes", ""), "200 OK");
    CHECK_COUNT("rbac.r.denied", 2);
    CHECK_COUNT("rbac.r.allowed", 1);
    CHECK_COUNT("rbac.r.policy.a.denied", 1);
    CHECK_COUNT("rbac.r.policy.b no.denied", 1);
    end();
}

TEST(a_shadow_never_blocks) {
    begin((setup){.filters = RBAC("'shadow_rules_stat_prefix':'s_','shadow_rules':{'policies':{}}")});
    CHECK_HAS(send_head("GET /", ""), "200 OK");
    CHECK_COUNT("rbac.s_.shadow_denied", 1);
    CHECK_COUNT("rbac.denied", 0);
    end();
}

TEST(logging_allows_everything) {
    begin((setup){.filters = RBAC(RULES("LOG", POLICY("p", "{'not_rule':" ANY "}", ANY)))});
    CHECK_HAS(send_head("GET /", ""), "200 OK");
    CHECK_COUNT("rbac.allowed", 1);
    end();
}

TEST(a_route_has_its_own_rules) {
    begin((setup){
        .filters = RBAC("'rules':{'policies':{}}"),
        .routes = "{'match':{'prefix':'/own'},'route':{'cluster':'web'}," PER_ROUTE(
            "rbac", "rbac.v3.RBACPerRoute",
            ",'rbac':{" RULES(
                "ALLOW", POLICY("p", ANY, ANY)) "}") "},"
                                                     "{'match':{'prefix':'/none'},'route':{'cluster':'web'}," PER_ROUTE(
                                                         "rbac", "rbac.v3.RBACPerRoute", "") "}," TO_WEB});
    CHECK_HAS(send_head("GET /", ""), "403");
    CHECK_HAS(send_head("GET /own", ""), "200 OK");
    CHECK_HAS(send_head("GET /none", ""), "200 OK");
    CHECK_COUNT("rbac.allowed", 1);
    end();
}

#define INPUT                                                                                                          \
    "'input':{'name':'i','typed_config':{" TYPE(                                                                       \
        "envoy.type.matcher.v3.HttpRequestHeaderMatchInput") ",'header_name':'x-role'}}"
#define ACTION(n, a)                                                                                                   \
    "{'action':{'name':'a','typed_config':{" TYPE("envoy.config.rbac.v3.Action") ",'name':'" n "','action':'" a "'}}}"

TEST(a_matcher_tree_decides) {
    begin((setup){.filters = RBAC("'matcher':{'matcher_tree':{" INPUT ",'exact_match_map':{'map':{'editor':" ACTION(
                      "yes", "ALLOW") ",'thief':" ACTION("no way", "DENY") ",'guest':" ACTION("seen", "LOG") "}}}}")});
    CHECK_HAS(send_head("GET /", "x-role: editor\r\n"), "200 OK");
    CHECK_HAS(send_head("GET /", "x-role: guest\r\n"), "200 OK");
    CHECK_HAS(send_head("GET /", "x-role: thief\r\n"), "403");
    CHECK_HAS(send_head("GET /", ""), "403");
    CHECK_COUNT("rbac.allowed", 2);
    CHECK_COUNT("rbac.denied", 2);
    end();
}

#define MARKS  FILTER("m", "set_metadata.v3.Config", ",'metadata':[{'metadata_namespace':'m','value':{'k':'v'}}]")
#define MARKED "{'metadata':{'filter':'m','path':[{'key':'k'}],'value':{'string_match':{'exact':'v'}}}}"

TEST(metadata_is_looked_at) {
    begin((setup){.filters = MARKS "," RBAC(RULES("DENY", POLICY("p", MARKED, ANY)))});
    CHECK_HAS(send_head("GET /", ""), "403");
    end();
}

TEST(wrong_configurations) {
    static const struct {
        const char *rules, *path;
    } cases[] = {
        {"'rules':{'action':'NO'}", "rules.action"},
        {"'rules':{'policies':{'p':{'principals':[" ANY "]}}}", "rules.policies[\"p\"].permissions"},
        {"'rules':{'policies':{'p':{'permissions':[{}],'principals':[" ANY "]}}}",
         "rules.policies[\"p\"].permissions[0]"},
        {"'rules':{'policies':{'p':{'permissions':[" ANY "],'principals':[" ANY "],'condition':{}}}}",
         "rules.policies[\"p\"].condition"},
        {"'rules':{'policies':{'p':{'permissions':[{'and_rules':{'rules':[{'destination_port_range':{}}]}}],"
         "'principals':[" ANY "]}}}",
         "rules.policies[\"p\"].permissions[0].and_rules.rules[0].destination_port_range"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char filters[1024], path[256];
        snprintf(filters, sizeof filters, RBAC("%s"), cases[i].rules);
        snprintf(path, sizeof path, "http_filters[0].typed_config.%s", cases[i].path);
        CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = filters})), path);
    }
}
