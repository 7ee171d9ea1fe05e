#include "filter_test.h"

#define ALL       "'filter_enabled':{'default_value':{'numerator':100}}"
#define SHADOW    "'filter_enabled':{'default_value':{}},'shadow_enabled':{'default_value':{'numerator':100}}"
#define CSRF(cfg) FILTER("csrf", "csrf.v3.CsrfPolicy", "," cfg)

TEST(what_changes_something_must_come_from_here) {
    static const struct {
        const char *line, *headers, *status;
    } cases[] = {
        {"GET /", "Origin: http://evil\r\n", "200 OK"},
        {"POST /", "Origin: http://h\r\n", "200 OK"},
        {"POST /", "Origin: https://h/x\r\n", "200 OK"},
        {"POST /", "Origin: http://h:81\r\n", "403 Forbidden"},
        {"PUT /", "Origin: http://evil\r\n", "403 Forbidden"},
        {"DELETE /", "Origin: null\r\nReferer: http://h/a\r\n", "403 Forbidden"},
        {"PATCH /", "Referer: http://evil/a\r\n", "403 Forbidden"},
        {"POST /", "", "403 Forbidden"},
        {"POST /", "Origin: http://www.friend\r\n", "200 OK"},
        {"OPTIONS /", "", "200 OK"},
    };
    begin((setup){.filters = CSRF(ALL ",'additional_origins':[{'suffix':'.friend'}]")});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_HAS(send_head(cases[i].line, cases[i].headers), cases[i].status);
    }
    CHECK_HAS(send_head("POST /", ""), "\r\n\r\nInvalid origin");
    CHECK_COUNT("csrf.missing_source_origin", 3);
    CHECK_COUNT("csrf.request_valid", 3);
    CHECK_COUNT("csrf.request_invalid", 3);
    end();
}

TEST(a_shadow_only_counts) {
    begin((setup){.filters = CSRF(SHADOW)});
    CHECK_HAS(send_head("POST /", "Origin: http://evil\r\n"), "200 OK");
    CHECK_COUNT("csrf.request_invalid", 1);
    end();
}

/* RT-57, by way of a filter whose effect is plain to see. */
#define ROUTE(path, config) "{'match':{'prefix':'" path "'},'route':{'cluster':'web'}" config "}"
#define OFF    "'typed_per_filter_config':{'csrf':{" TYPE("envoy.config.route.v3.FilterConfig") ",'disabled':true}}"
#define ON     "'typed_per_filter_config':{'csrf':{" TYPE("envoy.config.route.v3.FilterConfig") ",'config':{}}}"
#define FRIEND PER_ROUTE("csrf", "csrf.v3.CsrfPolicy", "," ALL ",'additional_origins':[{'exact':'evil'}]")

static bool blocked(const char *path) {
    char line[64];
    snprintf(line, sizeof line, "POST %s", path);
    return contains(send_head(line, "Origin: http://evil\r\n"), "403 Forbidden");
}

TEST(the_most_specific_place_decides) {
    begin((setup){
        .filters = CSRF(ALL),
        .table = FRIEND ",",
        .routes = ROUTE("/off", "," OFF) "," ROUTE(
            "/own", "," PER_ROUTE("csrf", "csrf.v3.CsrfPolicy", "," ALL)) "," ROUTE("/on", "," ON) "," ROUTE("/", "")});
    CHECK(!blocked("/"));
    CHECK(!blocked("/off"));
    CHECK(!blocked("/on"));
    CHECK(blocked("/own"));
    CHECK_COUNT("csrf.request_valid", 2);
    end();
}

TEST(a_weighted_cluster_decides_over_its_route) {
    begin((setup){.filters = CSRF(ALL),
                  .host = OFF ",",
                  .routes =
                      "{'match':{'prefix':'/w'},'route':{'weighted_clusters':{'clusters':[{'name':'web','weight':1," ON
                      "}]}}," OFF "}," TO_WEB});
    CHECK(blocked("/w"));
    CHECK(!blocked("/"));
    end();
}

TEST(a_disabled_filter_runs_where_a_route_says_so) {
    begin((setup){.filters = "{'name':'csrf','disabled':true,'typed_config':{" HTTP("csrf.v3.CsrfPolicy") "," ALL "}}",
                  .routes = ROUTE("/on", "," ON) "," ROUTE("/own", "," FRIEND) "," ROUTE("/", "")});
    CHECK(!blocked("/"));
    CHECK(blocked("/on"));
    CHECK(!blocked("/own"));
    CHECK_COUNT("csrf.request_invalid", 1);
    CHECK_COUNT("csrf.request_valid", 1);
    end();
}

TEST(wrong_configurations) {
    static const struct {
        setup setup;
        const char *path;
    } cases[] = {
        {{.filters = CSRF("'shadow_enabled':{'default_value':{}}")}, "http_filters[0].typed_config.filter_enabled"},
        {{.filters = CSRF(ALL ",'additional_origins':[{'prefix':''}]")},
         "http_filters[0].typed_config.additional_origins[0].prefix"},
        {{.filters = "{'name':'x','typed_config':{" HTTP("nothing.v3.Nothing") "}}"}, "http_filters[0].name"},
        {{.filters = CSRF(ALL), .host = PER_ROUTE("csrf", "nothing.v3.Nothing", "") ","},
         "route_config.virtual_hosts[0].typed_per_filter_config[\"csrf\"]"},
        {{.filters = CSRF(ALL),
          .table = "'typed_per_filter_config':{'csrf':{" TYPE("envoy.config.route.v3.FilterConfig") "}},"},
         "route_config.typed_per_filter_config[\"csrf\"].config"},
        {{.filters = CSRF(ALL), .host = PER_ROUTE("other", "csrf.v3.CsrfPolicy", "") ","},
         "route_config.virtual_hosts[0].typed_per_filter_config[\"other\"].filter_enabled"},
        {{.filters = "{'name':'r','typed_config':{" HTTP("router.v3.Router") "}}"}, "http_filters[0]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_SLICE(mc_slice_cstr(refused(cases[i].setup)), cases[i].path);
    }
}

TEST(an_unknown_filter_may_be_optional) {
    begin((setup){
        .filters = "{'name':'x','is_optional':true,'typed_config':{" HTTP("nothing.v3.Nothing") "}}",
        .host = "'typed_per_filter_config':{'x':{" TYPE(
            "envoy.config.route.v3.FilterConfig") ",'is_optional':true,'config':{" HTTP("nothing.v3.Nothing") "}}},"});
    CHECK_HAS(send_head("GET /", ""), "200 OK");
    end();
}
