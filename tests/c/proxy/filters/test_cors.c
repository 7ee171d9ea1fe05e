#include "filter_test.h"

#define CORS      FILTER("cors", "cors.v3.Cors", "")
#define POLICY(s) PER_ROUTE("cors", "cors.v3.CorsPolicy", "," s) ","
#define FRIENDS   "'allow_origin_string_match':[{'exact':'http://a'}],'allow_methods':'GET','max_age':'9'"
#define PREFLIGHT "Access-Control-Request-Method: PUT\r\n"

TEST(a_preflight_is_answered) {
    begin((setup){.filters = CORS, .host = POLICY(FRIENDS)});
    const char *got = send_head("OPTIONS /", "Origin: http://a\r\n" PREFLIGHT);
    CHECK_HAS(got, "200 OK");
    CHECK_HAS(got, "access-control-allow-origin: http://a\r\n");
    CHECK_HAS(got, "access-control-allow-methods: GET\r\n");
    CHECK_HAS(got, "access-control-max-age: 9\r\n");
    CHECK_INT(p.connects, 0);
    CHECK_HAS(send_head("OPTIONS /", "Origin: http://b\r\n" PREFLIGHT), "hello");
    CHECK_COUNT("cors.origin_valid", 1);
    CHECK_COUNT("cors.origin_invalid", 1);
    end();
}

TEST(a_response_is_marked_for_its_origin) {
    begin((setup){.filters = CORS, .host = POLICY(FRIENDS ",'expose_headers':'x-e','allow_credentials':true")});
    const char *got = send_head("GET /", "Origin: http://a\r\n");
    CHECK_HAS(got, "access-control-allow-origin: http://a\r\n");
    CHECK_HAS(got, "access-control-expose-headers: x-e\r\n");
    CHECK_HAS(got, "access-control-allow-credentials: true\r\n");
    CHECK_NOT(send_head("GET /", "Origin: http://b\r\n"), "access-control");
    CHECK_NOT(send_head("GET /", ""), "access-control");
    end();
}

TEST(levels_are_merged) {
    begin((setup){.filters = CORS,
                  .table = POLICY(FRIENDS),
                  .host = POLICY("'max_age':'7'"),
                  .routes = "{'match':{'prefix':'/'},'route':{'cluster':'web'}," PER_ROUTE(
                      "cors", "cors.v3.CorsPolicy", ",'forward_not_matching_preflights':false") "}"});
    const char *got = send_head("OPTIONS /", "Origin: http://a\r\n" PREFLIGHT);
    CHECK_HAS(got, "access-control-allow-methods: GET\r\n");
    CHECK_HAS(got, "access-control-max-age: 7\r\n");
    got = send_head("OPTIONS /", "Origin: http://b\r\n" PREFLIGHT);
    CHECK_NOT(got, "access-control-allow-origin");
    CHECK_HAS(got, "access-control-max-age: 7\r\n");
    end();
}

TEST(a_shadow_only_counts) {
    begin((setup){.filters = CORS,
                  .host = POLICY(FRIENDS ",'filter_enabled':{'default_value':{}},'shadow_enabled':{'default_value':"
                                         "{'numerator':100}}")});
    CHECK_NOT(send_head("GET /", "Origin: http://a\r\n"), "access-control");
    CHECK_COUNT("cors.origin_valid", 1);
    end();
}
