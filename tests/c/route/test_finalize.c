/* What a matched route does to a request: cluster, redirect, rewrites, header mutations, hash. */
#include "route_test.h"

#include "base/hash.h"
#include "route/mutate.h"

/* A matched request, ready for the functions under test. */
typedef struct run {
    request r;
    mc_route_match match;
} run;

static void run_init(run *run, const fixture *f, const char *text) {
    request_init(&run->r, text);
    if (mc_route_table_match(f->table, &run->r.request, &run->match) != MC_OK) {
        abort();
    }
}

static void run_fini(run *run) { request_fini(&run->r); }

static const char *finalized(const fixture *f, const char *text, bool suppress) {
    run run;
    run_init(&run, f, text);
    mc_status status = mc_route_finalize_request(f->table, &run.match, &run.r.request, &run.r.headers, suppress);
    const char *result = headers_text(&run.r.headers);
    run_fini(&run);
    return status == MC_OK ? result : mc_status_name(status);
}

static mc_slice location(const char *redirect, const char *match, const char *text) {
    static char kept[512];
    char route[512];
    fixture f;
    run run;
    mc_slice out = MC_SLICE("error");
    snprintf(route, sizeof route, "{'name': 'r', 'match': {%s}, 'redirect': {%s}}", match, redirect);
    if (fixture_routes(&f, route) == MC_OK) {
        run_init(&run, &f, text);
        if (run.match.route == NULL || mc_route_redirect_location(&run.match, &run.r.request, &out) != MC_OK) {
            out = MC_SLICE("no route");
        }
        memcpy(kept, out.p, out.n);
        out = mc_slice_of(kept, out.n);
        run_fini(&run);
    }
    fixture_fini(&f);
    return out;
}

TEST(redirect_locations) {
    static const struct {
        const char *redirect, *match, *request, *expected;
    } cases[] = {
        {"'https_redirect': true", "'prefix': '/'", "h.io/a?q\n:scheme: http", "https://h.io/a?q"},
        {"'scheme_redirect': 'ftp'", "'prefix': '/'", "h.io/a\n:scheme: http", "ftp://h.io/a"},
        {"'host_redirect': 'n.io'", "'prefix': '/'", "h.io:1/a\n:scheme: https", "https://n.io/a"},
        {"'port_redirect': 8443", "'prefix': '/'", "h.io:1/a\n:scheme: http", "http://h.io:8443/a"},
        {"'port_redirect': 8443", "'prefix': '/'", "[::1]:1/a\n:scheme: http", "http://[::1]:8443/a"},
        {"'port_redirect': 8443", "'prefix': '/'", "[::1]/a\n:scheme: http", "http://[::1]:8443/a"},
        {"'https_redirect': true", "'prefix': '/'", "h.io:80/a\n:scheme: http\nx-forwarded-proto: http",
         "https://h.io/a"},
        {"'https_redirect': true", "'prefix': '/'", "h.io:81/a\n:scheme: http\nx-forwarded-proto: http",
         "https://h.io:81/a"},
        {"'https_redirect': true", "'prefix': '/'", "h.io:80/a\n:scheme: http\nx-forwarded-proto: https",
         "https://h.io:80/a"},
        {"'scheme_redirect': 'http'", "'prefix': '/'", "h.io:443/a\n:scheme: https\nx-forwarded-proto: https",
         "http://h.io/a"},
        {"'path_redirect': '/n'", "'prefix': '/'", "h.io/o?k=1\n:scheme: http", "http://h.io/n?k=1"},
        {"'path_redirect': '/n?own=1'", "'prefix': '/'", "h.io/o?k=1\n:scheme: http", "http://h.io/n?own=1"},
        {"'path_redirect': '/n?own=1', 'strip_query': true", "'prefix': '/'", "h.io/o?k=1\n:scheme: http",
         "http://h.io/n?own=1"},
        {"'path_redirect': '/n', 'strip_query': true", "'prefix': '/'", "h.io/o?k=1\n:scheme: http", "http://h.io/n"},
        {"'path_redirect': 'n'", "'prefix': '/'", "h.io/o\n:scheme: http", "http://h.io/n"},
        {"'strip_query': true", "'prefix': '/'", "h.io/o?k=1\n:scheme: http", "http://h.io/o"},
        {"'prefix_rewrite': '/new/'", "'prefix': '/old/'", "h.io/old/x?k=/old/\n:scheme: http",
         "http://h.io/new/x?k=/old/"},
        {"'prefix_rewrite': '/new'", "'path': '/old'", "h.io/old?k\n:scheme: http", "http://h.io/new?k"},
        {"'prefix_rewrite': '/new'", "'path_separated_prefix': '/old'", "h.io/old/x\n:scheme: http",
         "http://h.io/new/x"},
        {"'prefix_rewrite': '/new'", "'prefix': '/OLD', 'case_sensitive': false", "h.io/oLd/x\n:scheme: http",
         "http://h.io/new/x"},
        {"'https_redirect': false", "'prefix': '/'", "h.io/a", "http://h.io/a"},
        {"'regex_rewrite': {'pattern': {'regex': '^/([^/]+)/(.*)'}, 'substitution': '/\\\\2/\\\\1'}", "'prefix': '/'",
         "h.io/a/b?c=/d/e", "http://h.io/b/a?c=/d/e"},
        {"'prefix_rewrite': '/new'",
         "'path_match_policy': {'name': 'm', 'typed_config': {'@type': "
         "'t/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', 'path_template': '/x/{a}'}}",
         "h.io/x/yy?q\n:scheme: http", "http://h.io/newq"},
        {"'path_rewrite': '/by%REQ(:path)%', 'strip_query': true", "'prefix': '/'", "h.io/a?q", "http://h.io/by/a?q"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_SLICE(location(cases[i].redirect, cases[i].match, cases[i].request), cases[i].expected);
    }
}

/* :authority and :path after the rewrites of a route, " < " and what they were. */
static const char *rewritten(const char *match, const char *action, const char *text) {
    static char out[1024];
    char route[1024];
    fixture f;
    run run;
    snprintf(route, sizeof route, "{'match': {%s}, 'route': {'cluster': 'c', %s}}", match, action);
    if (fixture_routes(&f, route) != MC_OK) {
        snprintf(out, sizeof out, "%s: %s", f.error.path, f.error.reason);
        fixture_fini(&f);
        return out;
    }
    run_init(&run, &f, text);
    mc_headers *headers = &run.r.headers;
    if (run.match.route == NULL ||
        mc_route_finalize_request(f.table, &run.match, &run.r.request, headers, false) != MC_OK) {
        snprintf(out, sizeof out, "no route");
    } else {
        mc_slice host = mc_headers_get_known(headers, MC_H_X_ENVOY_ORIGINAL_HOST);
        mc_slice path = mc_headers_get_known(headers, MC_H_X_ENVOY_ORIGINAL_PATH);
        snprintf(out, sizeof out, "%.*s%.*s < %.*s%.*s", MC_SLICE_ARG(mc_headers_get_known(headers, MC_H_AUTHORITY)),
                 MC_SLICE_ARG(mc_headers_get_known(headers, MC_H_PATH)), MC_SLICE_ARG(host), MC_SLICE_ARG(path));
    }
    run_fini(&run);
    fixture_fini(&f);
    return out;
}

#define PATTERN(regex, with) "{'pattern': {'regex': '" regex "'}, 'substitution': '" with "'}"
#define TEMPLATED(match)                                                                                               \
    "'path_match_policy': {'name': 'm', 'typed_config': {'@type': "                                                    \
    "'t/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', 'path_template': '" match "'}}"
#define TO_TEMPLATE(text)                                                                                              \
    "'path_rewrite_policy': {'name': 'm', 'typed_config': {'@type': "                                                  \
    "'t/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig', 'path_template_rewrite': '" text      \
    "'}}"

TEST(rewrites_of_every_form) {
    static const char any[] = "'prefix': '/'";
    static const struct {
        const char *match, *action, *request, *expected;
    } cases[] = {
        {any, "'regex_rewrite': " PATTERN("/a", "/b"), "h/a/a?x=/a", "h/b/b?x=/a < /a/a?x=/a"},
        {any, "'regex_rewrite': " PATTERN("(\\\\d+)", "<\\\\1>"), "h/1/22", "h/<1>/<22> < /1/22"},
        {any, "'regex_rewrite': " PATTERN("none", "x"), "h/a", "h/a < /a"},
        {any, "'regex_rewrite': " PATTERN(".*", ""), "h/a?q", "h/a?q < "},
        {any, "'regex_rewrite': " PATTERN("^/.*", ""), "h/a", "h/a < "},
        {"'safe_regex': {'regex': '/a.*'}", "'prefix_rewrite': '/z'", "h/abc?q", "h/z?q < /abc?q"},
        {TEMPLATED("/api/{name}/{rest=**}"), TO_TEMPLATE("/{rest}/of/{name}"), "h/api/x/y/z?q",
         "h/y/z/of/x?q < /api/x/y/z?q"},
        {TEMPLATED("/{a}"), TO_TEMPLATE("/fixed"), "h/x", "h/fixed < /x"},
        {any, "'path_rewrite': '/p%REQ(x)%'", "h/a?q\nx: 1", "h/p1?q < /a?q"},
        {any, "'host_rewrite_path_regex': " PATTERN("^/([^/]+)/.*", "\\\\1.io"), "h/tenant/x?q",
         "tenant.io/tenant/x?q < h"},
        {any, "'host_rewrite': '%REQ(x)%.io'", "h/a\nx: n", "n.io/a < h"},
        {any, "'host_rewrite': '%REQ(x)%'", "h/a", "-/a < h"},
        {any, "'path_rewrite': '%REQ(x)%'", "h/a?q", "h/a?q < "},
        {any, "'host_rewrite_header': 'X-H'", "h/a\nx-h: n", "n/a < h"},
        {TEMPLATED("/{a}"), TO_TEMPLATE("/{b}"), "h/x",
         "virtual_hosts[0].routes[0].route.path_rewrite_policy.typed_config.path_template_rewrite: b is no name of the "
         "template that is matched"},
        {TEMPLATED("/{a}"), "'prefix_rewrite': '/x'", "h/x",
         "virtual_hosts[0].routes[0].route.prefix_rewrite: must not be set together with a URI template"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_SLICE(mc_slice_cstr(rewritten(cases[i].match, cases[i].action, cases[i].request)), cases[i].expected);
    }
}

TEST(redirect_status_and_direct_response) {
    fixture f;
    CHECK_INT(fixture_routes(&f,
                             "{'match': {'path': '/d'}, 'direct_response': {'status': 418, 'body': {'inline_bytes': "
                             "'dGVhIHBvdA=='}}}, {'match': {'path': '/e'}, 'direct_response': {'status': 204}},"
                             "{'match': {'path': '/r'}, 'redirect': {'response_code': 'PERMANENT_REDIRECT'}},"
                             "{'match': {'path': '/s'}, 'redirect': {}}"),
              MC_OK);
    run run;
    run_init(&run, &f, "/d");
    CHECK_INT(run.match.route->action, MC_ROUTE_DIRECT_RESPONSE);
    CHECK_INT(run.match.route->direct_response->status, 418);
    CHECK_SLICE(run.match.route->direct_response->body, "tea pot");
    run_fini(&run);
    run_init(&run, &f, "/e");
    CHECK_INT(run.match.route->direct_response->body.n, 0);
    run_fini(&run);
    run_init(&run, &f, "/r");
    CHECK_INT(mc_route_redirect_status(&run.match), 308);
    run_fini(&run);
    run_init(&run, &f, "/s");
    CHECK_INT(mc_route_redirect_status(&run.match), 301);
    run_fini(&run);
    fixture_fini(&f);
}

TEST(rewrites) {
    fixture f;
    CHECK_INT(fixture_routes(
                  &f,
                  "{'match': {'prefix': '/p/'}, 'route': {'cluster': 'c', 'prefix_rewrite': '/', "
                  "'host_rewrite_literal': 'new.io', 'append_x_forwarded_host': true}},"
                  "{'match': {'path': '/e'}, 'route': {'cluster': 'c', 'prefix_rewrite': '/x', 'host_rewrite_header': "
                  "'X-Host'}},"
                  "{'match': {'prefix': '/a'}, 'route': {'cluster': 'c', 'auto_host_rewrite': true}}"),
              MC_OK);
    CHECK(strcmp(finalized(&f, "/p/x?q\nx-forwarded-host: a.io", false),
                 ":method: GET\n:authority: new.io\n:path: /x?q\nx-forwarded-host: a.io,host.example\n"
                 "x-envoy-original-host: host.example\nx-envoy-original-path: /p/x?q\n") == 0);
    CHECK(strcmp(finalized(&f, "/p/x\nx-forwarded-host: a.io,host.example", true),
                 ":method: GET\n:authority: new.io\n:path: /x\nx-forwarded-host: a.io,host.example\n") == 0);
    CHECK(strcmp(finalized(&f, "/e?q\nx-host: first\nx-host: second", true),
                 ":method: GET\n:authority: first\n:path: /x?q\nx-host: first\nx-host: second\n") == 0);
    CHECK(strcmp(finalized(&f, "/e", true), ":method: GET\n:authority: host.example\n:path: /x\n") == 0);
    run run;
    run_init(&run, &f, "/a");
    CHECK(run.match.route->auto_host_rewrite);
    CHECK_INT(mc_route_rewrite_host(run.match.route, &run.r.headers, MC_SLICE("up.io"), false), MC_OK);
    CHECK(strcmp(headers_text(&run.r.headers),
                 ":method: GET\n:authority: up.io\n:path: /a\nx-envoy-original-host: host.example\n") == 0);
    run_fini(&run);
    fixture_fini(&f);
}

#define ADD(key, value, action) "{'header': {'key': '" key "', 'value': '" value "'}, 'append_action': '" action "'}"

/* clang-format off */
#define ADDITIONS                                                                                                      \
    ADD("x-a", "1", "APPEND_IF_EXISTS_OR_ADD") ","                                                                     \
    ADD("x-b", "2", "ADD_IF_ABSENT") ","                                                                               \
    ADD("x-c", "3", "OVERWRITE_IF_EXISTS_OR_ADD") ","                                                                  \
    ADD("x-d", "4", "OVERWRITE_IF_EXISTS") ","                                                                         \
    ADD("x-back", "50%%", "ADD_IF_ABSENT") ","                                                                         \
    ADD("x-empty", "", "APPEND_IF_EXISTS_OR_ADD") ","                                                                  \
    "{'header': {'key': 'x-kept'}, 'keep_empty_value': true},"                                                         \
    "{'header': {'key': 'X-Raw', 'value': 'x', 'raw_value': 'JXg='}},"                                                 \
    "{'header': {'key': 'x-old', 'value': 'n'}, 'append': false}"
/* clang-format on */

TEST(mutations_within_a_level) {
    fixture f;
    CHECK_INT(fixture_routes(&f, "{'match': {'prefix': '/'}, 'route': {'cluster': 'c'},"
                                 "'request_headers_to_remove': ['X-Gone', 'x-back'],"
                                 "'request_headers_to_add': [" ADDITIONS "]}"),
              MC_OK);
    CHECK(strcmp(finalized(&f, "/\nx-gone: 1\nx-gone: 2\nx-back: 1\nx-old: o\nx-old: p", true),
                 ":method: GET\n:authority: host.example\n:path: /\nx-c: 3\nx-old: n\nx-a: 1\nx-b: 2\nx-back: 50%\n"
                 "x-kept: \nx-raw: x\n") == 0);
    CHECK(strcmp(finalized(&f, "/\nx-a: 0\nx-b: 0\nx-c: 0\nx-d: 0\nx-d: 0", true),
                 ":method: GET\n:authority: host.example\n:path: /\nx-a: 0\nx-b: 0\nx-c: 3\nx-d: 4\nx-old: n\nx-a: 1\n"
                 "x-back: 50%\nx-kept: \nx-raw: x\n") == 0);
    fixture_fini(&f);
}

static const char *levels(const char *extra, bool response) {
    static const char *const format =
        "{%s '%s_headers_to_add': [{'header': {'key': 'x', 'value': 'table'}, 'append': false}],"
        "'virtual_hosts': [{'name': 'v', 'domains': ['*'], '%s_headers_to_add': [{'header': {'key': 'x', 'value': "
        "'host'}, "
        "'append': false}], 'routes': [{'match': {'prefix': '/'}, '%s_headers_to_add': [{'header': {'key': 'x', "
        "'value': "
        "'route'}, 'append': false}], 'route': {'weighted_clusters': {'clusters': [{'name': 'c', 'weight': 1, "
        "'host_rewrite_literal': 'w.io', '%s_headers_to_add': [{'header': {'key': 'x', 'value': 'cluster'}, 'append': "
        "false}]}]}}}]}]}";
    static char result[4096];
    char config[1200];
    const char *prefix = response ? "response" : "request";
    fixture f;
    run run;
    snprintf(config, sizeof config, format, extra, prefix, prefix, prefix, prefix);
    if (fixture_compile(&f, config) != MC_OK) {
        fprintf(stderr, "%s: %s\n", f.error.path, f.error.reason);
        abort();
    }
    run_init(&run, &f, "/");
    mc_status status = response ? mc_route_finalize_response(f.table, &run.match, &run.r.request, &run.r.headers)
                                : mc_route_finalize_request(f.table, &run.match, &run.r.request, &run.r.headers, false);
    snprintf(result, sizeof result, "%s", status == MC_OK ? headers_text(&run.r.headers) : "error");
    run_fini(&run);
    fixture_fini(&f);
    return result;
}

TEST(levels_run_outwards_unless_told_otherwise) {
    CHECK(strstr(levels("", false), "\nx: table\n") != NULL);
    CHECK(strstr(levels("", false), ":authority: w.io\n") != NULL);
    CHECK(strstr(levels("", false), "original-host") == NULL);
    CHECK(strstr(levels("'most_specific_header_mutations_wins': true,", false), "\nx: route\n") != NULL);
    CHECK(strstr(levels("", true), "\nx: table\n") != NULL);
    CHECK(strstr(levels("'most_specific_header_mutations_wins': true,", true), "\nx: route\n") != NULL);
}

/* Chosen cluster of a route with these cluster fields. */
static mc_slice chosen(const char *action, const char *text, uint64_t random) {
    static char kept[64];
    char route[1024];
    fixture f;
    mc_route_match match;
    request r;
    snprintf(route, sizeof route, "{'match': {'prefix': '/'}, 'route': {%s}}", action);
    if (fixture_routes(&f, route) != MC_OK) {
        fprintf(stderr, "%s: %s\n", f.error.path, f.error.reason);
        abort();
    }
    request_init(&r, text);
    r.request.random = random;
    if (mc_route_table_match(f.table, &r.request, &match) != MC_OK) {
        abort();
    }
    bool known = match.cluster_id != MC_NO_CLUSTER;
    if (known && !mc_slice_eq(mc_route_table_cluster_name(f.table, match.cluster_id), match.cluster)) {
        abort();
    }
    size_t n = (size_t)snprintf(kept, sizeof kept, "%.*s%s", MC_SLICE_ARG(match.cluster), known ? "" : "?");
    request_fini(&r);
    fixture_fini(&f);
    return mc_slice_of(kept, n);
}

TEST(clusters) {
#define W(extra)                                                                                                       \
    "'weighted_clusters': {'clusters': [{'name': 'a', 'weight': 20}, {'name': 'b', 'weight': 30}, "                    \
    "{'cluster_header': 'X-C', 'weight': 50}]" extra "}"
    CHECK_SLICE(chosen("'cluster': 'one'", "/", 0), "one");
    CHECK_SLICE(chosen("'cluster_header': 'X-Cluster'", "/\nx-cluster: dyn", 0), "dyn?");
    CHECK_SLICE(chosen("'cluster_header': 'x-cluster'", "/", 0), "?");
    CHECK_SLICE(chosen(W(""), "/", 0), "a");
    CHECK_SLICE(chosen(W(""), "/", 19), "a");
    CHECK_SLICE(chosen(W(""), "/", 149), "b");
    CHECK_SLICE(chosen(W(""), "/\nx-c: dyn", 50), "dyn?");
    CHECK_SLICE(chosen(W(", 'header_name': 'X-R'"), "/\nx-r: 25", 0), "b");
    CHECK_SLICE(chosen(W(", 'header_name': 'x-r'"), "/\nx-r: 25\nx-r: 25", 0), "a");
    CHECK_SLICE(chosen(W(", 'header_name': 'x-r'"), "/\nx-r: -25", 0), "a");
    CHECK_SLICE(chosen(W(", 'header_name': 'x-r'"), "/", 21), "b");
    uint64_t hash = mc_xxh64("7", 1, 0) % 100;
    const char *by_hash = hash < 20 ? "a" : hash < 50 ? "b" : "?";
    CHECK_SLICE(chosen(W(", 'use_hash_policy': true") ", 'hash_policy': [{'header': {'header_name': 'x-u'}}]",
                       "/\nx-u: 7", hash < 20 ? 20 : 0),
                by_hash);
    CHECK_SLICE(chosen(W(", 'use_hash_policy': true") ", 'hash_policy': [{'header': {'header_name': 'x-u'}}]", "/", 21),
                "b");
}

typedef struct hashed {
    mc_request_hash hash;
    char cookies[2][128];
} hashed;

static hashed hash_of(const char *policies, const char *text, const char *remote) {
    hashed out;
    char route[1024];
    fixture f;
    run run;
    mc_address address, local;
    snprintf(route, sizeof route, "{'match': {'prefix': '/'}, 'route': {'cluster': 'c', 'hash_policy': [%s]}}",
             policies);
    if (fixture_routes(&f, route) != MC_OK) {
        fprintf(stderr, "%s: %s\n", f.error.path, f.error.reason);
        abort();
    }
    memset(&out, 0, sizeof out);
    run_init(&run, &f, text);
    if (remote != NULL) {
        if (mc_address_parse(&address, mc_slice_cstr(remote), 1234) != MC_OK ||
            mc_address_parse(&local, MC_SLICE("127.0.0.1"), 80) != MC_OK) {
            abort();
        }
        run.r.request.remote = &address;
        run.r.request.local = &local;
    }
    if (mc_route_hash(run.match.route, &run.r.request, &out.hash) != MC_OK) {
        abort();
    }
    for (uint32_t i = 0; i < out.hash.set_cookie_count; i++) {
        snprintf(out.cookies[i], sizeof out.cookies[i], "%.*s", MC_SLICE_ARG(out.hash.set_cookies[i]));
    }
    run_fini(&run);
    fixture_fini(&f);
    return out;
}

#define X(text)         mc_xxh64(text, strlen(text), 0)
#define BY_HEADER(name) "{'header': {'header_name': '" name "'}}"

TEST(hashes) {
    CHECK(!hash_of("", "/", NULL).hash.has_hash);
    CHECK(!hash_of(BY_HEADER("x-a"), "/", NULL).hash.has_hash);
    /* The example of rule HA-5. */
    CHECK_U64(hash_of(BY_HEADER("x-a") "," BY_HEADER("x-b"), "/\nx-a: alpha\nx-b: beta", NULL).hash.hash,
              8890083201787766869ull);
    CHECK_U64(hash_of(BY_HEADER("x-none") "," BY_HEADER("X-B"), "/\nx-b: beta", NULL).hash.hash, X("beta"));
    CHECK_U64(hash_of(BY_HEADER("x-a"), "/\nx-a: 2\nx-a: 1", NULL).hash.hash, mc_xxh64("2", 1, mc_xxh64("1", 1, 0)));
    CHECK_U64(
        hash_of("{'header': {'header_name': 'x-a', 'regex_rewrite': {'pattern': {'regex': '[0-9]+'}, 'substitution': "
                "'n'}}}",
                "/\nx-a: user12", NULL)
            .hash.hash,
        X("usern"));
    CHECK(!hash_of("{'filter_state': {'key': 'k'}}", "/", NULL).hash.has_hash);
    CHECK_U64(hash_of("{'query_parameter': {'name': 'k'}}", "/?a&k=v&k=w", NULL).hash.hash, X("v"));
    CHECK_U64(hash_of("{'query_parameter': {'name': 'k'}}", "/?k", NULL).hash.hash, X(""));
    CHECK(!hash_of("{'query_parameter': {'name': 'k'}}", "/k=v", NULL).hash.has_hash);
    CHECK_U64(hash_of("{'connection_properties': {'source_ip': true}}", "/", "10.0.0.1").hash.hash, X("10.0.0.1"));
    CHECK(!hash_of("{'connection_properties': {'source_ip': true}}", "/", NULL).hash.has_hash);
    CHECK(!hash_of("{'connection_properties': {}}", "/?&=&", "10.0.0.1").hash.has_hash);
    CHECK_U64(
        hash_of("{'header': {'header_name': 'x-a'}, 'terminal': true}," BY_HEADER("x-b"), "/\nx-a: 1\nx-b: 2", NULL)
            .hash.hash,
        X("1"));
    CHECK_U64(
        hash_of("{'header': {'header_name': 'x-a'}, 'terminal': true}," BY_HEADER("x-b"), "/\nx-b: 2", NULL).hash.hash,
        X("2"));
}

TEST(cookies_are_made_when_they_have_a_life) {
    char value[17], expected[256];
    CHECK_U64(hash_of("{'cookie': {'name': 's'}}", "/\ncookie: s=abc", NULL).hash.hash, X("abc"));
    CHECK(!hash_of("{'cookie': {'name': 's'}}", "/\ncookie: s=", NULL).hash.has_hash);
    CHECK_INT(hash_of("{'cookie': {'name': 's', 'ttl': '3s'}}", "/\ncookie: s=abc", NULL).hash.set_cookie_count, 0);
    snprintf(value, sizeof value, "%016llx", (unsigned long long)X("10.0.0.1:1234127.0.0.1:80"));
    hashed made = hash_of(
        "{'cookie': {'name': 's', 'ttl': '3.5s', 'path': '/p', 'attributes': [{'name': 'SameSite', 'value': 'Strict'}, "
        "{'name': 'Secure'}]}}, {'cookie': {'name': 't', 'ttl': '0s'}}",
        "/", "10.0.0.1");
    CHECK_INT(made.hash.set_cookie_count, 2);
    snprintf(expected, sizeof expected, "s=\"%s\"; Max-Age=3; Path=/p; SameSite=Strict; Secure; HttpOnly", value);
    CHECK(strcmp(made.cookies[0], expected) == 0);
    snprintf(expected, sizeof expected, "t=\"%s\"; HttpOnly", value);
    CHECK(strcmp(made.cookies[1], expected) == 0);
    CHECK_U64(made.hash.hash, mc_rotl64(X(value), 1) ^ X(value));
}
