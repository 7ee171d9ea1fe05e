#include "../test.h"
#include "http/uri.h"

typedef struct path_case {
    const char *in, *out; /* out NULL: refused */
} path_case;

static void check_paths(const path_case *cases, size_t n, mc_uri_path_options options) {
    for (size_t i = 0; i < n; i++) {
        mc_arena arena;
        mc_arena_init(&arena, NULL);
        mc_slice out = MC_SLICE_NONE;
        bool had;
        mc_status status = mc_uri_path_normalize(mc_slice_cstr(cases[i].in), &options, &arena, &out, &had);
        if (cases[i].out == NULL) {
            CHECK_INT(status, MC_EINVAL);
        } else {
            CHECK_INT(status, MC_OK);
            CHECK_SLICE(out, cases[i].out);
        }
        mc_arena_fini(&arena);
    }
}

#define PATHS(cases, ...) check_paths(cases, sizeof(cases) / sizeof(cases)[0], (mc_uri_path_options){__VA_ARGS__})

/* Expected values are what Envoy 1.39 sends upstream for the same paths. */
TEST(path_normalize) {
    static const path_case cases[] = {
        {"/", "/"},
        {"/a/./b", "/a/b"},
        {"/a/../b", "/b"},
        {"/..", "/"},
        {"/a/..", "/"},
        {"/a/.", "/a/"},
        {"/a/%2E%2e/b", "/b"},
        {"/a\\b", "/a/b"},
        {"/%41%7e", "/A~"},
        {"/%2f", "/%2f"},
        {"/a b", "/a%20b"},
        {"/\xc3\xa9", "/%C3%A9"},
        {"/%zz", "/%zz"},
        {"/%%34%31", "/%2541"},
        {"/%41%2%41%2e", "/A%252A."},
        {"/a/...", "/a/..."},
        {"/a.b/.c", "/a.b/.c"},
        {"/a?/../b", "/a?/../b"},
        {"/a/b/../../..//c", "//c"},
        {"/%00", NULL},
        {"/<\">", "/%3C%22%3E"},
        {"a", "/a"},
        {"/a#b", NULL},
        {"/a?b#c", NULL},
    };
    PATHS(cases, .normalize = true);
}

TEST(path_merge_slashes) {
    static const path_case cases[] = {
        {"/a//b", "/a/b"}, {"/a//b/", "/a/b/"}, {"//", "//"},     {"///", "//"},
        {"/", "/"},        {"/a?//", "/a?//"},  {"//a//", "/a/"},
    };
    PATHS(cases, .merge_slashes = true);
    static const path_case both[] = {{"/a//b/../c?x=//", "/a/c?x=//"}, {"/./", "/"}, {"/a/%2e//b", "/a/b"}};
    PATHS(both, .normalize = true, .merge_slashes = true);
}

TEST(path_escaped_slashes) {
    static const path_case forward[] = {{"/a%2Fb%5c?%2f", "/a/b\\?%2f"}, {"/a%2", "/a%2"}, {"/a%25", "/a%25"}};
    PATHS(forward, .unescape_slashes = true);
    static const path_case all[] = {{"/a%2f..%5Cb", "/b"}};
    PATHS(all, .unescape_slashes = true, .normalize = true, .merge_slashes = true);
    static const path_case reject[] = {{"/a%2Fb", NULL}, {"/a%5c", NULL}, {"/a%41?%2f", "/a%41?%2f"}};
    PATHS(reject, .reject_escaped_slashes = true);
}

TEST(path_escaped_slashes_reported) {
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    mc_uri_path_options options = {.unescape_slashes = true};
    mc_slice out;
    bool had = false;
    CHECK_INT(mc_uri_path_normalize(MC_SLICE("/a%2fb"), &options, &arena, &out, &had), MC_OK);
    CHECK(had);
    CHECK_INT(mc_uri_path_normalize(MC_SLICE("/a%41b"), &options, &arena, &out, &had), MC_OK);
    CHECK(!had);
    mc_arena_fini(&arena);
}

TEST(path_unchanged_is_not_copied) {
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    mc_uri_path_options options = {.normalize = true, .merge_slashes = true, .unescape_slashes = true};
    mc_slice in = MC_SLICE("/plain/path.html?q=%2f//"), out;
    bool had;
    CHECK_INT(mc_uri_path_normalize(in, &options, &arena, &out, &had), MC_OK);
    CHECK(out.p == in.p && out.n == in.n);
    CHECK(arena.blocks == NULL);
    mc_test_alloc_fail_at(1);
    CHECK_INT(mc_uri_path_normalize(MC_SLICE("/a/../b"), &options, &arena, &out, &had), MC_ENOMEM);
    mc_arena_fini(&arena);
}

static void check_host(const char *in, mc_uri_host_options options, const char *expected) {
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    mc_slice out;
    CHECK_INT(mc_uri_host_normalize(mc_slice_cstr(in), &options, &arena, &out), MC_OK);
    CHECK_SLICE(out, expected);
    mc_arena_fini(&arena);
}

TEST(host_normalize) {
    mc_uri_host_options dot = {.strip_trailing_dot = true}, any = {.strip_any_port = true}, port = {.strip_port = 80};
    check_host("h.", dot, "h");
    check_host("h.:80", dot, "h:80");
    check_host("h.:80:90", dot, "h:80:90");
    check_host("h.:80:90", (mc_uri_host_options){.strip_trailing_dot = true, .strip_any_port = true}, "h:80");
    check_host("h..:80", dot, "h.:80");
    check_host("h:80", dot, "h:80");
    check_host("h:80", any, "h");
    check_host("h:x", any, "h:x");
    check_host("h:", any, "h:");
    check_host("[::1]:80", any, "[::1]");
    check_host("[::1]", any, "[::1]");
    check_host("h:80", port, "h");
    check_host("h:81", port, "h:81");
    check_host("h.:80", (mc_uri_host_options){.strip_trailing_dot = true, .strip_port = 80}, "h");
    check_host("", (mc_uri_host_options){.strip_trailing_dot = true, .strip_any_port = true}, "");
}

TEST(port_start) {
    CHECK_INT(mc_uri_port_start(MC_SLICE("h:1")), 1);
    CHECK_INT(mc_uri_port_start(MC_SLICE("h")), 1);
    CHECK_INT(mc_uri_port_start(MC_SLICE("[::1]")), 5);
    CHECK_INT(mc_uri_port_start(MC_SLICE("[::1]:9")), 5);
    CHECK_INT(mc_uri_port_start(MC_SLICE("")), 0);
}

TEST(authority) {
    CHECK(mc_uri_authority_valid(MC_SLICE("a.b_c~:80@[]")));
    CHECK(mc_uri_authority_valid(MC_SLICE("")));
    static const char *const bad[] = {"a b", "a/b", "a#", "a\"", "a\\", "a<", "a^", "a`", "a{", "a|", "\x80", "a?"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!mc_uri_authority_valid(mc_slice_cstr(bad[i])));
    }
}

TEST(absolute) {
    mc_uri_absolute url;
    CHECK_INT(mc_uri_parse_absolute(MC_SLICE("http://u:p@h:80/p?q#f"), &url), MC_OK);
    CHECK_SLICE(url.scheme, "http");
    CHECK_SLICE(url.authority, "h:80");
    CHECK_SLICE(url.path, "/p?q#f");
    CHECK(url.has_userinfo);
    CHECK_INT(mc_uri_parse_absolute(MC_SLICE("x-y+1.z://[::1]?q"), &url), MC_OK);
    CHECK_SLICE(url.authority, "[::1]");
    CHECK_SLICE(url.path, "?q");
    CHECK(!url.has_userinfo);
    static const char *const bad[] = {"",
                                      "http:/h",
                                      "://h",
                                      "1http://h",
                                      "http://",
                                      "http:///p",
                                      "http://h#f",
                                      "http://h:80#",
                                      "http://u#p@h/",
                                      "http://h:",
                                      "http://h:+1",
                                      "http://h:x",
                                      "http://h:65536",
                                      "http://[::1",
                                      "http://[::1]x",
                                      "http://:80",
                                      "http://a b/",
                                      "http://a_b/",
                                      "http://a~b/",
                                      "http://a%41/",
                                      "http://a/ b",
                                      "http://a?\t",
                                      "http://a/\x80",
                                      "http://[::1%25a]/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_INT(mc_uri_parse_absolute(mc_slice_cstr(bad[i]), &url), MC_EINVAL);
    }
}

TEST(referer) {
    static const char *const good[] = {"http://h/p?q", "/p?q", "p/q:r", "", "?q"};
    static const char *const bad[] = {"http://h/#f", "http://u@h/", "a:b", "/a b", "/\x80", "/#"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(mc_uri_referer_valid(mc_slice_cstr(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!mc_uri_referer_valid(mc_slice_cstr(bad[i])));
    }
}

TEST(query) {
    mc_slice value;
    CHECK(mc_query_get(MC_SLICE("a=1&b&a=2&c="), MC_SLICE("a"), &value));
    CHECK_SLICE(value, "1");
    CHECK(mc_query_get(MC_SLICE("a=1&b&a=2&c="), MC_SLICE("b"), &value));
    CHECK_SLICE(value, "");
    CHECK(mc_query_get(MC_SLICE("a=1&b&a=2&c="), MC_SLICE("c"), &value));
    CHECK_SLICE(value, "");
    CHECK(mc_query_get(MC_SLICE("x=%20=y"), MC_SLICE("x"), &value));
    CHECK_SLICE(value, "%20=y");
    CHECK(!mc_query_get(MC_SLICE("a=1&b"), MC_SLICE("z"), &value));
    CHECK(!mc_query_get(MC_SLICE(""), MC_SLICE("a"), &value));
}

TEST(cookie) {
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    mc_headers headers;
    mc_headers_init(&headers, &arena);
    mc_slice value;
    CHECK(!mc_cookie_get(&headers, MC_SLICE("a"), &value));
    CHECK_INT(mc_headers_add(&headers, MC_SLICE("Cookie"), MC_SLICE("x=1; y=\"two\";z")), MC_OK);
    CHECK_INT(mc_headers_add(&headers, MC_SLICE("cookie"), MC_SLICE("x=3;w=")), MC_OK);
    CHECK(mc_cookie_get(&headers, MC_SLICE("x"), &value));
    CHECK_SLICE(value, "1");
    CHECK(mc_cookie_get(&headers, MC_SLICE("y"), &value));
    CHECK_SLICE(value, "two");
    CHECK(mc_cookie_get(&headers, MC_SLICE("w"), &value));
    CHECK_SLICE(value, "");
    CHECK(!mc_cookie_get(&headers, MC_SLICE("z"), &value));
    CHECK_INT(mc_headers_add(&headers, MC_SLICE("cookie"), MC_SLICE("k =1;  s=1 ;\tt=2; u=\"3\" ;; v=4")), MC_OK);
    CHECK(!mc_cookie_get(&headers, MC_SLICE("k"), &value));
    CHECK(mc_cookie_get(&headers, MC_SLICE("s"), &value));
    CHECK_SLICE(value, "1 ");
    CHECK(!mc_cookie_get(&headers, MC_SLICE("t"), &value));
    CHECK(mc_cookie_get(&headers, MC_SLICE("u"), &value));
    CHECK_SLICE(value, "\"3\" ");
    CHECK(mc_cookie_get(&headers, MC_SLICE("v"), &value));
    mc_arena_fini(&arena);
}

TEST(percent_decode) {
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    mc_slice out, in = MC_SLICE("plain");
    CHECK_INT(mc_percent_decode(in, &arena, &out), MC_OK);
    CHECK(out.p == in.p);
    CHECK_INT(mc_percent_decode(MC_SLICE("%41%zz%4%20%"), &arena, &out), MC_OK);
    CHECK_SLICE(out, "A%zz%4 %");
    mc_arena_fini(&arena);
}

TEST(date) {
    static const struct {
        int64_t at;
        const char *text;
    } cases[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},          {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},  {951868799, "Tue, 29 Feb 2000 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"}, {-5, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {1767225599, "Wed, 31 Dec 2025 23:59:59 GMT"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[32];
        size_t n = mc_http_date(cases[i].at, out);
        CHECK_INT(n, 29);
        CHECK_SLICE(((mc_slice){out, n}), cases[i].text);
        int64_t back;
        CHECK_INT(mc_http_date_parse(mc_slice_of(out, n), 0, &back), MC_OK);
        CHECK_INT(back, cases[i].at < 0 ? 0 : cases[i].at);
    }
}

TEST(obsolete_date) { /* RFC 9110 section 5.6.7 */
    static const struct {
        const char *text;
        int64_t now, at;
    } cases[] = {
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777, 784111777},
        {"Sun Nov  6 08:49:37 1994", 0, 784111777},
        {"Tue Feb 29 00:00:00 2000", 0, 951782400},
        {"Tuesday, 29-Feb-00 00:00:00 GMT", 0, 951782400},
        {"Tuesday, 29-Feb-00 00:00:00 GMT", 1767225599, 951782400},
        {"Monday, 01-Mar-00 00:00:00 GMT", 3000000000, 4107542400}, /* of 2065: 2100 */
        {"Wednesday, 31-Dec-25 23:59:59 GMT", 0, -1},               /* of 1970: 1925 */
        {"Thursday, 01-Jan-70 00:00:00 GMT", 1576800000, 0},        /* of 2019: 51 years ahead, 1970 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t at = -1;
        const mc_status status = mc_http_date_parse(mc_slice_cstr(cases[i].text), cases[i].now, &at);
        CHECK_INT(status, cases[i].at < 0 ? MC_EINVAL : MC_OK);
        CHECK(status != MC_OK || at == cases[i].at);
    }
}

TEST(no_date) {
    static const char *const cases[] = {
        "",
        "120",
        "Thu, 01 Jan 1970 00:00:00 UTC",
        "Fri, 01 Jan 1970 00:00:00 GMT", /* it was not */
        "Wed, 30 Feb 2000 00:00:00 GMT",
        "Tue, 29 Feb 2000 24:00:00 GMT",
        "Tue, 29 Fib 2000 00:00:00 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Monday, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sunday,  6-Nov-94 08:49:37 GMT",
        "Sunday, 6-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 UTC",
        "Sunday",
        "Sunday,",
        "sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 06 08:49:37 1994",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 94  ",
        "Mon Nov  6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t at;
        CHECK_INT(mc_http_date_parse(mc_slice_cstr(cases[i]), 784111777, &at), MC_EINVAL);
    }
}
