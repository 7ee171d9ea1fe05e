#include "filter_test.h"

#define SESSION(name, kind, fields)                                                                                    \
    "'session_state':{'name':'envoy.http.stateful_session." name                                                       \
    "','typed_config':{" TYPE("envoy.extensions.http.stateful_session." kind) fields "}}"
#define COOKIE(more)  SESSION("cookie", "cookie.v3.CookieBasedSessionState", ",'cookie':{'name':'sid'" more "}")
#define HEADER        SESSION("header", "header.v3.HeaderBasedSessionState", ",'name':'X-Session'")
#define FILTERED(cfg) FILTER("ss", "stateful_session.v3.StatefulSession", "," cfg)
#define LEGACY        "MTAuMC4wLjE6ODA="     /* 10.0.0.1:80 */
#define MESSAGE       "CgsxMC4wLjAuMTo4MA==" /* the same as a Cookie message */
#define GONE          "MTAuMC4wLjk6ODA="     /* 10.0.0.9:80 */

TEST(a_cookie_keeps_the_host) {
    begin((setup){.filters = FILTERED(COOKIE(",'ttl':'60s','path':'/a'"))});
    const char *got = send_head("GET /a/b", "");
    CHECK_HAS(got, "set-cookie: sid=\"");
    CHECK_HAS(got, "\"; Max-Age=60; Path=/a; HttpOnly\r\n");
    CHECK_NOT(send_head("GET /a", "cookie: sid=" LEGACY "\r\n"), "set-cookie");
    CHECK_NOT(send_head("GET /a", "cookie: sid=\"" MESSAGE "\"\r\n"), "set-cookie");
    CHECK_HAS(send_head("GET /a?x", "cookie: sid=" GONE "\r\n"), "set-cookie");
    CHECK_NOT(send_head("GET /ab", ""), "set-cookie");
    end();
}

TEST(an_expired_cookie_does_not_count) {
    begin((setup){.filters = FILTERED(COOKIE(""))});
    CHECK_HAS(send_head("GET /", ""), "set-cookie: sid=\"" MESSAGE "\"; HttpOnly\r\n");
    CHECK_HAS(send_head("GET /", "cookie: sid=CgsxMC4wLjAuMTo4MBAB\r\n"), "set-cookie");
    end();
}

TEST(a_header_keeps_the_host) {
    begin((setup){.filters = FILTERED(HEADER)});
    CHECK_HAS(send_head("GET /", ""), "x-session: " LEGACY "\r\n");
    CHECK_NOT(send_head("GET /", "x-session: " LEGACY "\r\n"), "x-session");
    CHECK_HAS(send_head("GET /", "x-session: " GONE "\r\n"), "x-session: " LEGACY "\r\n");
    end();
}

TEST(a_strict_session_has_no_other_host) {
    begin((setup){.filters = FILTERED(HEADER ",'strict':true")});
    CHECK_HAS(send_head("GET /", "x-session: " GONE "\r\n"), "503");
    CHECK_HAS(send_head("GET /", ""), "200 OK");
    end();
}

TEST(a_route_may_keep_none) {
    begin((setup){.filters = FILTERED(HEADER),
                  .host = PER_ROUTE("ss", "stateful_session.v3.StatefulSessionPerRoute", ",'disabled':true") ","});
    CHECK_NOT(send_head("GET /", ""), "x-session");
    end();
}

TEST(wrong_configurations) {
    CHECK_SLICE(mc_slice_cstr(
                    refused((setup){.filters = FILTERED(SESSION("cookie", "cookie.v3.CookieBasedSessionState", ""))})),
                "http_filters[0].typed_config.session_state.typed_config.cookie");
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = FILTERED(SESSION("cookie", "other.v3.Other", ""))})),
                "http_filters[0].typed_config.session_state.typed_config");
    CHECK_SLICE(mc_slice_cstr(
                    refused((setup){.filters = FILTERED(SESSION("header", "cookie.v3.CookieBasedSessionState", ""))})),
                "http_filters[0].typed_config.session_state.typed_config");
    CHECK_SLICE(
        mc_slice_cstr(refused((setup){.filters = FILTERED(SESSION("other", "cookie.v3.CookieBasedSessionState", ""))})),
        "http_filters[0].typed_config.session_state.name");
}
