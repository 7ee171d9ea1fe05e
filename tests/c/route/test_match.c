/* Which route a request finds: tables for each rule and each kind of matcher. */
#include "route_test.h"

typedef struct match_case {
    const char *request;
    const char *route;
} match_case;

static int check_cases(const fixture *f, const match_case *cases, size_t count) {
    int bad = 0;
    for (size_t i = 0; i < count; i++) {
        mc_slice got = matched(f, cases[i].request, 0);
        if (!mc_slice_eq(got, mc_slice_cstr(cases[i].route))) {
            fprintf(stderr, "case %zu, %s: \"%.*s\", expected \"%s\"\n", i, cases[i].request, MC_SLICE_ARG(got),
                    cases[i].route);
            bad++;
        }
    }
    return bad;
}

#define CHECK_CASES(f, cases) CHECK_INT(check_cases(f, cases, sizeof(cases) / sizeof((cases)[0])), 0)

#define ROUTE(name, match) "{'name': '" name "', 'match': {" match "}, 'route': {'cluster': 'c'}}"
#define HOST(name, domain) "{'name': '" name "', 'domains': [" domain "], 'routes': [" ROUTE(name, "'prefix': '/'") "]}"

TEST(domains_by_rank) {
    fixture f;
    static const char *const hosts[] = {
        HOST("exact", "'a.x.io'"),
        HOST("suffix", "'*.x.io'"),
        HOST("longer", "'*-a.x.io'"),
        HOST("prefix", "'m.*', 'deep.m.*'"),
        HOST("upper", "'Upper.Example', 'p.io:8080'"),
        HOST("any", "'*'"),
    };
    CHECK_INT(FIXTURE_HOSTS(&f, "", hosts), MC_OK);
    static const match_case cases[] = {{"a.x.io/", "exact"},
                                       {"b.x.io/", "suffix"},
                                       {"m-a.x.io/", "longer"},
                                       {"m.org/", "prefix"},
                                       {".x.io/", "any"},
                                       {"-a.x.io/", "suffix"},
                                       {"m./", "any"},
                                       {"A.X.IO/", "exact"},
                                       {"uppeR.example/", "upper"},
                                       {"deep.m.x/", "prefix"},
                                       {"p.io:8080/", "upper"},
                                       {"p.io/", "any"},
                                       {"-/", ""}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

TEST(only_the_default_host_needs_no_host) {
    fixture f;
    CHECK_INT(fixture_routes(&f, ROUTE("r", "'prefix': '/'")), MC_OK);
    CHECK_SLICE(matched(&f, "-/", 0), "r");
    fixture_fini(&f);
}

TEST(ports_and_another_header_for_the_host) {
    fixture f;
    CHECK_INT(fixture_compile(
                  &f, "{'ignore_port_in_host_matching': true, 'virtual_hosts': [" HOST("a", "'a.io', '[::1]'") "]}"),
              MC_OK);
    static const match_case cases[] = {
        {"a.io:80/", "a"}, {"a.io/", "a"}, {"[::1]:80/", "a"}, {"[::1]/", "a"}, {"a.io:x:80/", ""}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
    CHECK_INT(fixture_compile(&f, "{'vhost_header': 'X-Host', 'virtual_hosts': [" HOST("a", "'a.io'") "]}"), MC_OK);
    static const match_case by_header[] = {{"b.io/\nx-host: a.io", "a"}, {"a.io/", ""}};
    CHECK_CASES(&f, by_header);
    fixture_fini(&f);
}

TEST(paths) {
    fixture f;
    static const char *const routes[] = {
        ROUTE("exact", "'path': '/a'"),
        ROUTE("folded", "'path': '/Fold', 'case_sensitive': false"),
        ROUTE("dir", "'path_separated_prefix': '/dir/sub'"),
        ROUTE("dirfold", "'path_separated_prefix': '/DIR', 'case_sensitive': false"),
        ROUTE("ab", "'prefix': '/a/b'"),
        ROUTE("aa", "'prefix': '/a/'"),
        ROUTE("late", "'prefix': '/a/b/c'"),
        ROUTE("foldprefix", "'prefix': '/Pre', 'case_sensitive': false"),
    };
    CHECK_INT(FIXTURE_LIST(&f, routes), MC_OK);
    static const match_case cases[] = {{"/a", "exact"},
                                       {"/a?x=/b", "exact"},
                                       {"/a#f", "exact"},
                                       {"/A", ""},
                                       {"/fOLD", "folded"},
                                       {"/folded", ""},
                                       {"/dir/sub", "dir"},
                                       {"/dir/sub/x", "dir"},
                                       {"/dir/subx", "dirfold"},
                                       {"/dir/sub?q", "dir"},
                                       {"/dIr", "dirfold"},
                                       {"/dirx", ""},
                                       {"/a/b/c", "ab"},
                                       {"/a/x", "aa"},
                                       {"/pREx", "foldprefix"},
                                       {"/pr", ""},
                                       {"-", ""}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

#define REGEX(text) "'safe_regex': {'regex': '" text "'}"
#define TEMPLATE(text)                                                                                                 \
    "'path_match_policy': {'name': 't', 'typed_config': {'@type': "                                                    \
    "'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', 'path_template': "      \
    "'" text "'}}"

TEST(regular_expressions_keep_the_order_of_routes) {
    fixture f;
    static const char *const routes[] = {
        ROUTE("guarded", REGEX("/a.*") ", 'headers': [{'name': 'x', 'present_match': true}]"),
        ROUTE("exact", "'path': '/a/1'"),
        ROUTE("number", REGEX("/a/[0-9]+")),
        ROUTE("prefix", "'prefix': '/a/2'"),
        ROUTE("folded", REGEX("(?i)/CASE")),
        ROUTE("late", REGEX("/a.*")),
        ROUTE("template", TEMPLATE("/t/{x}/**")),
    };
    CHECK_INT(FIXTURE_LIST(&f, routes), MC_OK);
    static const match_case cases[] = {{"/a/1", "exact"},
                                       {"/a/1\nx: 1", "guarded"},
                                       {"/a/2", "number"},
                                       {"/a/2x", "prefix"},
                                       {"/a", "late"},
                                       {"/xa", ""},
                                       {"/a/7?b", "number"},
                                       {"/case#f", "folded"},
                                       {"/t/1/2/3", "template"},
                                       {"/t/1/\nx: 1", "template"},
                                       {"/t/1", ""},
                                       {"host.example", ""}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

TEST(one_regular_expression_needs_no_set) {
    fixture f;
    static const char *const routes[] = {ROUTE("r", REGEX("/a+")), ROUTE("again", REGEX("/a+"))};
    CHECK_INT(FIXTURE_LIST(&f, routes), MC_OK);
    const mc_candidates *late = f.table->hosts[0].paths.cased.nodes[1].late;
    CHECK_INT(late->count, 1);
    CHECK(((const mc_path_expressions *)late->items[0].matchers)->set == NULL);
    static const match_case cases[] = {{"/aaa", "r"}, {"/b", ""}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

TEST(optional_plugins_are_passed_over) {
    fixture f;
#define OPTIONAL "{'extension': {'name': 'x', 'typed_config': {'@type': 't/x'}}, 'is_optional': true}"
    CHECK_INT(
        fixture_compile(
            &f, "{'cluster_specifier_plugins': [" OPTIONAL
                "], 'virtual_hosts': [{'name': 'v', 'domains': ['*'], 'routes': ["
                "{'match': {'prefix': '/'}, 'route': {'cluster_specifier_plugin': 'x'}},"
                "{'match': {'prefix': '/'}, 'route': {'inline_cluster_specifier_plugin': " OPTIONAL "}}," ROUTE(
                    "next", "'prefix': '/a'") ", {'name': 'none', 'match': {'prefix': '/'}, 'filter_action': {}}]}]}"),
        MC_OK);
    CHECK_SLICE(matched(&f, "/a", 0), "next");
    CHECK_SLICE(matched(&f, "/b", 0), "none");
    fixture_fini(&f);
    CHECK_INT(fixture_compile(&f,
                              "{'cluster_specifier_plugins': [{'extension': {'name': 'x', 'typed_config': {'@type': "
                              "'t/x'}}}]}"),
              MC_EINVAL);
    fixture_fini(&f);
}

/* --- the generic matcher --- */

#define INPUT(type, rest) "'input': {'name': 'i', 'typed_config': {'@type': 't/" type "'" rest "}}"
#define HEADER(name)      INPUT("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", ", 'header_name': '" name "'")
#define ACTION(name, path)                                                                                             \
    "{'action': {'name': 'a', 'typed_config': {'@type': 't/envoy.config.route.v3.Route', 'name': '" name               \
    "', 'match': {'prefix': '" path "'}, 'route': {'cluster': 'c'}}}}"
#define SINGLE(input, test) "{'single_predicate': {" input ", " test "}}"
#define IS(text)            "'value_match': {'exact': '" text "'}"
#define CUSTOM(type, rest)  "'custom_match': {'name': 'c', 'typed_config': {'@type': 't/" type "', " rest "}}"

static mc_status tree_fixture(fixture *f, const char *matcher) {
    char config[8192];
    snprintf(config, sizeof config, "{'virtual_hosts': [{'name': 'v', 'domains': ['*'], 'matcher': {%s}}]}", matcher);
    mc_status status = fixture_compile(f, config);
    if (status != MC_OK) {
        fprintf(stderr, "%s: %s\n", f->error.path, f->error.reason);
    }
    return status;
}

/* clang-format off */
#define PREDICATES                                                                                                     \
    "'matcher_list': {'matchers': ["                                                                                   \
    "{'predicate': {'and_matcher': {'predicate': [" SINGLE(HEADER("a"), IS("1")) ","                                   \
    " {'not_matcher': " SINGLE(HEADER("b"), IS("1")) "}]}}, 'on_match': " ACTION("and", "/x") "},"                     \
    "{'predicate': {'or_matcher': {'predicate': ["                                                                     \
    SINGLE(HEADER("a"), "'value_match': {'safe_regex': {'regex': '[2-4]'}}") ","                                       \
    SINGLE(INPUT("envoy.type.matcher.v3.HttpRequestQueryParamMatchInput", ", 'query_param': 'q'"), IS("a b"))          \
    "]}}, 'on_match': {'matcher': {'matcher_list': {'matchers': ["                                                     \
    "{'predicate': " SINGLE(HEADER("c"), IS("1")) ", 'on_match': " ACTION("nested", "/") "}]}}}},"                     \
    "{'predicate': " SINGLE(HEADER("a"), "'value_match': {'prefix': '4'}") ", 'on_match': " ACTION("last", "/") "}]}," \
    "'on_no_match': " ACTION("other", "/")
/* clang-format on */

TEST(a_list_of_predicates) {
    fixture f;
    CHECK_INT(tree_fixture(&f, PREDICATES), MC_OK);
    static const match_case cases[] = {{"/x\na: 1", "and"},           {"/y\na: 1", ""}, /* the action's own match */
                                       {"/x\na: 1\nb: 1", "other"},   {"/\na: 3\nc: 1", "nested"},
                                       {"/?q=a%20b\nc: 1", "nested"}, {"/\na: 3", "other"},
                                       {"/\na: 4", "last"},           {"/", "other"},
                                       {"/x\na: 1\na: 1", "other"}};
    CHECK_CASES(&f, cases);
    CHECK(!mc_route_table_reads_info(f.table));
    fixture_fini(&f);
}

#define BY_B                                                                                                           \
    "{'matcher': {'matcher_tree': {" HEADER("b") ", 'prefix_match_map': {'map': {'x': " X ", 'xyz': " XYZ "}}}}}"
#define X    ACTION("x", "/")
#define XYZ  ACTION("xyz", "/")
#define ONE  ACTION("one", "/")
#define NONE ACTION("none", "/n")

TEST(maps_of_inputs) {
    fixture f;
    CHECK_INT(tree_fixture(&f, "'matcher_tree': {" HEADER("a") ", 'exact_match_map': {'map': {'1': " ONE ", '2': " BY_B
                                                               "}}}, 'on_no_match': " NONE),
              MC_OK);
    static const match_case cases[] = {{"/\na: 1", "one"},    {"/\na: 2\nb: xyzw", "xyz"}, {"/\na: 2\nb: xyw", "x"},
                                       {"/\na: 2\nb: y", ""}, {"/n\na: 2\nb: y", "none"},  {"/n\na: 3", "none"},
                                       {"/n", "none"},        {"/n\na: 12", "none"}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

TEST(a_list_of_routes) {
    fixture f;
    CHECK_INT(tree_fixture(&f, "'on_no_match': {'action': {'name': 'a', 'typed_config': {'@type': "
                               "'t/envoy.config.route.v3.RouteList', 'routes': [" ROUTE("a", "'path': '/a'") "," ROUTE(
                                   "regex", REGEX("/b+")) "," ROUTE("a2", "'prefix': '/a'") "]}}}"),
              MC_OK);
    static const match_case cases[] = {{"/a", "a"}, {"/bb", "regex"}, {"/ab", "a2"}, {"/c", ""}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

TEST(custom_checks_of_inputs) {
    static const struct {
        const char *input, *test;
        bool holds;
    } cases[] = {
        {HEADER("ip"),
         CUSTOM("envoy.extensions.matching.input_matchers.ip.v3.Ip",
                "'cidr_ranges': [{'address_prefix': '10.0.0.0', 'prefix_len': 8}]"),
         true},
        {HEADER("ip"),
         CUSTOM("envoy.extensions.matching.input_matchers.ip.v3.Ip",
                "'cidr_ranges': [{'address_prefix': '11.0.0.0', 'prefix_len': 8}]"),
         false},
        {HEADER("ip"),
         CUSTOM("envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction",
                "'runtime_fraction': {'default_value': {'numerator': 100}}"),
         true},
        {HEADER("ip"),
         CUSTOM("envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction",
                "'runtime_fraction': {'default_value': {}}"),
         false},
        {HEADER("none"),
         CUSTOM("envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction",
                "'runtime_fraction': {'default_value': {'numerator': 100}}"),
         false},
        {HEADER("ip"),
         CUSTOM("envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing", "'modulo': 1"),
         true},
        {HEADER("ip"),
         CUSTOM("envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing",
                "'modulo': 1, 'threshold': 1"),
         false},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.SourceIPInput", ""), IS("10.9.8.7"), true},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.SourcePortInput", ""), IS("77"), true},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.SourceTypeInput", ""), IS("local"), false},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.ServerNameInput", ""), IS("sni.io"), true},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput", ""), IS("10.9.8.7"), false},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.DynamicMetadataInput",
               ", 'filter': 'f', 'path': [{'key': 'k'}]"),
         IS("v"), true},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.DynamicMetadataInput",
               ", 'filter': 'f', 'path': [{'key': 'n'}]"),
         CUSTOM("envoy.extensions.matching.input_matchers.metadata.v3.Metadata",
                "'value': {'double_match': {'exact': 3}}"),
         true},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.FilterStateInput", ", 'key': 's'"), IS("state"),
         true},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.FilterStateInput", ", 'key': 'o', 'field': 'f'"),
         IS("of o"), true},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.FilterStateInput", ", 'key': 'o', 'field': 'n'"),
         IS("7"), true},
        {INPUT("envoy.extensions.matching.common_inputs.network.v3.FilterStateInput", ", 'key': 's', 'field': 'f'"),
         IS("state"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char matcher[2048];
        fixture f, values;
        request r;
        mc_route_match match;
        mc_stream_info info;
        mc_address remote;
        snprintf(matcher, sizeof matcher,
                 "'matcher_list': {'matchers': [{'predicate': {'single_predicate': {%s, %s}}, "
                 "'on_match': " ACTION("yes", "/") "}]}",
                 cases[i].input, cases[i].test);
        CHECK_INT(tree_fixture(&f, matcher), MC_OK);
        CHECK_INT(fixture_parse(
                      &values,
                      "{'metadata': {'f': {'k': 'v', 'n': 3}}, 'state': {'s': 'state', 'o': {'f': 'of o', 'n': 7}}}"),
                  MC_OK);
        mc_stream_info_init(&info);
        info.dynamic_metadata = mc_value_get(values.config, "metadata");
        info.filter_state = mc_value_get(values.config, "state");
        info.requested_server_name = MC_SLICE("sni.io");
        CHECK_INT(mc_address_parse(&remote, MC_SLICE("10.9.8.7"), 77), MC_OK);
        request_init(&r, "/\nip: 10.1.1.1");
        r.request.info = &info;
        r.request.remote = &remote;
        CHECK_INT(mc_route_table_match(f.table, &r.request, &match), MC_OK);
        if ((match.route != NULL) != cases[i].holds) {
            fprintf(stderr, "%s with %s\n", cases[i].input, cases[i].test);
        }
        CHECK((match.route != NULL) == cases[i].holds);
        request_fini(&r);
        fixture_fini(&values);
        fixture_fini(&f);
    }
}

TEST(templates_see_path_parameters) {
    fixture f;
    static const char *const hosts[] = {
        "{'name': 'v', 'domains': ['*'], 'routes': [" ROUTE("regex", REGEX("/a")) "," ROUTE("t", TEMPLATE("/*")) "]}",
    };
    CHECK_INT(FIXTURE_HOSTS(&f, "'ignore_path_parameters_in_path_matching': true,", hosts), MC_OK);
    static const match_case cases[] = {{"/a;v=1", "regex"}, {"/b;v=1?q", "t"}, {"/b/;v", ""}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

/* Whether a template matches a path; "error" when it is refused. */
static mc_slice template_case(const char *template, const char *path) {
    char route[512];
    fixture f;
    snprintf(route, sizeof route, ROUTE("yes", TEMPLATE("%s")), template);
    mc_slice got = MC_SLICE("error");
    if (fixture_routes(&f, route) == MC_OK) {
        got = matched(&f, path, 0).n > 0 ? MC_SLICE("yes") : MC_SLICE("");
    }
    fixture_fini(&f);
    return got;
}

TEST(uri_templates) {
    static const struct {
        const char *template, *path, *expected;
    } cases[] = {
        {"/", "/", "yes"},
        {"/a/b", "/a/b", "yes"},
        {"/a.b+(c)$", "/a.b+(c)$", "yes"},
        {"/a.b", "/axb", ""},
        {"/*/b", "/x/b", "yes"},
        {"/*/b", "/x/y/b", ""},
        {"/*", "/", ""},
        {"/**", "/", "yes"},
        {"/**", "/x/y", "yes"},
        {"/**/b", "/x/y/b", "yes"},
        {"/**.m3u8", "/x/y.m3u8", "yes"},
        {"/a/", "/a/", "yes"},
        {"/a/", "/a", ""},
        {"/{a}/{b}", "/x/y", "yes"},
        {"/{a=*}/{b=**}", "/x/y/z", "yes"},
        {"/{a=b/*}/c", "/b/x/c", "yes"},
        {"/{a=b/*}.json", "/b/x.json", "yes"},
        {"/*/**/x", "/1/2/3/x", "yes"},
        {"/*", "/caf%C3%A9", "yes"},
        {"a", "/a", "error"},
        {"", "/", "error"},
        {"/**/*", "/a/b", "error"},
        {"/**/{a}", "/a/b", "error"},
        {"/{a}/{a}", "/x/y", "error"},
        {"/{1a}", "/x", "error"},
        {"/{a", "/x", "error"},
        {"/{}", "/x", "error"},
        {"/{a=}", "/x", "error"},
        {"/{a=/b}", "/x", "error"},
        {"/{a=b/}", "/x", "error"},
        {"/a//b", "/x", "error"},
        {"/*x/y", "/1x/y", "yes"},
        {"/{a}b/c", "/xb/c", "yes"},
        {"/{a}b/c", "/b/c", ""},
        {"/{a}{b}", "/xb", "error"},
        {"/a{x}", "/ab", "yes"},
        {"/a{x}", "/a", ""},
        {"/ab{x}c", "/abxc", "yes"},
        {"/a{x=*}/c", "/ab/c", "yes"},
        {"/a{x=**}", "/a", "yes"},
        {"/a{x}/b/{z=**}", "/ab/b/c/d", "yes"},
        {"/{x}a{z}", "/xaz", "error"},
        {"/a b", "/x", "error"},
        {"/***", "/x", ""},
        {"/a*", "/aa", "yes"},
        {"/a*", "/", "yes"},
        {"/a*", "/a*", ""},
        {"/*", "/x*y", "yes"},
        {"/{abcdefghijklmnopq}", "/x", "error"},
        {"/{abcdefghijklmnop}", "/x", "yes"},
        {"/{a}/{b}/{c}/{d}/{e}", "/1/2/3/4/5", "yes"},
        {"/{a}/{b}/{c}/{d}/{e}/{f}", "/1/2/3/4/5/6", "error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_slice got = template_case(cases[i].template, cases[i].path);
        if (!mc_slice_eq(got, mc_slice_cstr(cases[i].expected))) {
            fprintf(stderr, "%s with %s\n", cases[i].template, cases[i].path);
        }
        CHECK_SLICE(got, cases[i].expected);
    }
}

TEST(path_parameters) {
    fixture f;
    static const char *const hosts[] = {
        "{'name': 'v', 'domains': ['*'], 'routes': [" ROUTE("r", "'path': '/a'") "]}",
    };
    CHECK_INT(FIXTURE_HOSTS(&f, "'ignore_path_parameters_in_path_matching': true,", hosts), MC_OK);
    static const match_case cases[] = {{"/a;v=1", "r"}, {"/a;v=1?q", "r"}, {"/a", "r"}, {"/b;/a", ""}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

/* One header matcher on "/", against one request. */
static mc_slice header_case(const char *matcher, const char *headers) {
    char route[512], text[512];
    fixture f;
    snprintf(route, sizeof route,
             "{'name': 'r', 'match': {'prefix': '/', 'headers': [{%s}]}, 'route': {'cluster': 'c'}}", matcher);
    snprintf(text, sizeof text, "/%s%s", headers[0] ? "\n" : "", headers);
    if (fixture_routes(&f, route) != MC_OK) {
        fprintf(stderr, "%s: %s\n", f.error.path, f.error.reason);
        fixture_fini(&f);
        return MC_SLICE("error");
    }
    mc_slice got = matched(&f, text, 0).n > 0 ? MC_SLICE("yes") : MC_SLICE("no");
    fixture_fini(&f);
    return got;
}

TEST(headers) {
    static const struct {
        const char *matcher, *headers, *expected;
    } cases[] = {
        {"'name': 'a'", "a: 1", "yes"},
        {"'name': 'A'", "a: 1", "yes"},
        {"'name': 'a'", "b: 1", "no"},
        {"'name': 'a', 'invert_match': true", "b: 1", "yes"},
        {"'name': 'a', 'present_match': true", "a:", "yes"},
        {"'name': 'a', 'present_match': false", "a: 1", "no"},
        {"'name': 'a', 'present_match': false", "b: 1", "yes"},
        {"'name': 'a', 'present_match': false, 'invert_match': true", "a: 1", "yes"},
        {"'name': 'a', 'present_match': false, 'invert_match': true", "b: 1", "no"},
        {"'name': 'a', 'present_match': true, 'treat_missing_header_as_empty': true", "b: 1", "yes"},
        {"'name': 'a', 'present_match': false, 'treat_missing_header_as_empty': true", "b: 1", "no"},
        {"'name': 'a', 'exact_match': 'x'", "a: x", "yes"},
        {"'name': 'a', 'exact_match': 'x'", "a: X", "no"},
        {"'name': 'a', 'exact_match': ''", "a: x", "yes"},
        {"'name': 'a', 'exact_match': ''", "b: x", "no"},
        {"'name': 'a', 'prefix_match': 'x'", "a: xy", "yes"},
        {"'name': 'a', 'suffix_match': 'y'", "a: xy", "yes"},
        {"'name': 'a', 'suffix_match': 'x'", "a: xy", "no"},
        {"'name': 'a', 'contains_match': 'yz'", "a: xyzw", "yes"},
        {"'name': 'a', 'string_match': {'exact': 'xY', 'ignore_case': true}", "a: Xy", "yes"},
        {"'name': 'a', 'string_match': {'exact': 'xY'}", "a: Xy", "no"},
        {"'name': 'a', 'string_match': {'exact': ''}", "a:", "yes"},
        {"'name': 'a', 'string_match': {'exact': ''}", "a: x", "no"},
        {"'name': 'a', 'string_match': {'exact': ''}", "", "no"},
        {"'name': 'a', 'string_match': {'exact': ''}, 'treat_missing_header_as_empty': true", "", "yes"},
        {"'name': 'a', 'string_match': {'prefix': 'XY', 'ignore_case': true}", "a: xyz", "yes"},
        {"'name': 'a', 'string_match': {'suffix': 'YZ', 'ignore_case': true}", "a: xyz", "yes"},
        {"'name': 'a', 'string_match': {'contains': 'Y', 'ignore_case': true}", "a: xyz", "yes"},
        {"'name': 'a', 'string_match': {'contains': 'yz'}", "a: xyy", "no"},
        {"'name': 'a', 'string_match': {'prefix': 'x'}, 'invert_match': true", "a: y", "yes"},
        {"'name': 'a', 'string_match': {'prefix': 'x'}, 'invert_match': true", "b: y", "no"},
        {"'name': 'a', 'string_match': {'prefix': 'x'}, 'invert_match': true, 'treat_missing_header_as_empty': true",
         "b: y", "yes"},
        {"'name': 'a', 'string_match': {'exact': '1,2'}", "a: 1\na: 2", "yes"},
        {"'name': 'a', 'range_match': {'start': '-5', 'end': '10'}", "a: -5", "yes"},
        {"'name': 'a', 'range_match': {'start': '-5', 'end': '10'}", "a: 10", "no"},
        {"'name': 'a', 'range_match': {'end': 10}", "a: 9", "yes"},
        {"'name': 'a', 'range_match': {'end': 10}", "a: 9.5", "no"},
        {"'name': 'a', 'range_match': {'end': 10}", "a: x", "no"},
        {"'name': 'a', 'range_match': {'end': 10}, 'invert_match': true", "a: x", "yes"},
        {"'name': 'a', 'string_match': {'safe_regex': {'regex': 'x+'}}", "a: xx", "yes"},
        {"'name': 'a', 'string_match': {'safe_regex': {'regex': 'x+'}}", "a: xxy", "no"},
        {"'name': 'a', 'string_match': {'safe_regex': {'regex': 'x+'}}, 'invert_match': true", "a: xxy", "yes"},
        {"'name': 'a', 'string_match': {'safe_regex': {'regex': '.*'}}, 'invert_match': true", "", "no"},
        {"'name': 'a', 'string_match': {'safe_regex': {'regex': '.*'}}, 'treat_missing_header_as_empty': true", "",
         "yes"},
        {"'name': 'a', 'string_match': {'safe_regex': {'regex': '1,2'}}", "a: 1\na: 2", "yes"},
        {"'name': 'a', 'safe_regex_match': {'google_re2': {}, 'regex': '[0-9]{3}'}", "a: 123", "yes"},
        {"'name': 'a', 'safe_regex_match': {'google_re2': {'max_program_size': 2}, 'regex': '[0-9]{3}'}", "a: 123",
         "error"},
        {"'name': ':authority', 'string_match': {'exact': 'host.example'}", "", "yes"},
        {"'name': ':method', 'string_match': {'exact': 'GET'}", "", "yes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_slice got = header_case(cases[i].matcher, cases[i].headers);
        if (!mc_slice_eq(got, mc_slice_cstr(cases[i].expected))) {
            fprintf(stderr, "%s with %s\n", cases[i].matcher, cases[i].headers);
        }
        CHECK_SLICE(got, cases[i].expected);
    }
}

TEST(query_parameters) {
    fixture f;
    static const char *const routes[] = {
        ROUTE("value", "'path': '/v', 'query_parameters': [{'name': 'a', 'string_match': {'exact': '%20'}}]"),
        ROUTE("empty", "'path': '/v', 'query_parameters': [{'name': 'e', 'string_match': {'exact': ''}}]"),
        ROUTE("present", "'path': '/p', 'query_parameters': [{'name': 'a'}, {'name': 'b', 'present_match': true}]"),
        ROUTE("absent", "'path': '/p', 'query_parameters': [{'name': 'c', 'present_match': false}]"),
    };
    CHECK_INT(FIXTURE_LIST(&f, routes), MC_OK);
    static const match_case cases[] = {{"/v?a=%20", "value"},   {"/v?x=1&a=%20&a=2", "value"},
                                       {"/v?a=2&a=%20", ""},    {"/v", ""},
                                       {"/v?e", "empty"},       {"/v?e=", "empty"},
                                       {"/v?e=1", ""},          {"/p?a&b", "present"},
                                       {"/p?a", "absent"},      {"/p?a&c", ""},
                                       {"/p?aa&bb=1", "absent"}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

TEST(cookies_and_grpc_and_connect) {
    fixture f;
    static const char *const routes[] = {
        ROUTE("cookie", "'path': '/c', 'cookies': [{'name': 's', 'string_match': {'exact': 'v'}}]"),
        ROUTE("inverted",
              "'path': '/i', 'cookies': [{'name': 's', 'string_match': {'exact': 'v'}, 'invert_match': true}]"),
        ROUTE("grpc", "'path': '/g', 'grpc': {}"),
        ROUTE("connect", "'connect_matcher': {}"),
    };
    CHECK_INT(FIXTURE_LIST(&f, routes), MC_OK);
    static const match_case cases[] = {{"/c\ncookie: a=b; s=v", "cookie"},
                                       {"/c\ncookie: s=\"v\"", "cookie"},
                                       {"/c\ncookie: a=b\ncookie: s=v", "cookie"},
                                       {"/c\ncookie: s=w; s=v", ""},
                                       {"/c", ""},
                                       {"/i", "inverted"},
                                       {"/i\ncookie: s=v", ""},
                                       {"/g\ncontent-type: application/grpc", "grpc"},
                                       {"/g\ncontent-type: application/grpc+proto", "grpc"},
                                       {"/g\ncontent-type: application/grpc-web", ""},
                                       {"host.example", ""},
                                       {"host.example\n:method: CONNECT", "connect"},
                                       {"/c\n:method: CONNECT", "connect"}};
    CHECK_CASES(&f, cases);
    fixture_fini(&f);
}

TEST(fractions_take_the_stable_random) {
    fixture f;
    static const char *const routes[] = {
        ROUTE("third", "'prefix': '/', 'runtime_fraction': {'default_value': {'numerator': 30}}"),
        ROUTE("few", "'prefix': '/', 'runtime_fraction': {'default_value': {'numerator': 5000, 'denominator': "
                     "'TEN_THOUSAND'}}"),
        ROUTE("rest", "'prefix': '/'"),
    };
    CHECK_INT(FIXTURE_LIST(&f, routes), MC_OK);
    CHECK_SLICE(matched(&f, "/", 29), "third");
    CHECK_SLICE(matched(&f, "/", 30), "few");
    CHECK_SLICE(matched(&f, "/", 5030), "rest");
    CHECK_SLICE(matched(&f, "/", 10029), "third");
    fixture_fini(&f);
}

TEST(fractions_of_the_runtime) {
    static const struct {
        const char *runtime;
        int percent; /* of requests that match */
    } cases[] = {{"{}", 30},
                 {"{'k': 100}", 100},
                 {"{'k': 0}", 0},
                 {"{'k': '7'}", 7},
                 {"{'k': 'x'}", 30},
                 {"{'k': 30.5}", 30},
                 {"{'k': {'numerator': 5000, 'denominator': 'TEN_THOUSAND'}}", 50}};
    fixture f, values;
    static const char *const routes[] = {
        ROUTE("r", "'prefix': '/', 'runtime_fraction': {'runtime_key': 'k', 'default_value': {'numerator': 30}}")};
    CHECK_INT(FIXTURE_LIST(&f, routes), MC_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_runtime runtime;
        int found = 0;
        CHECK_INT(fixture_parse(&values, cases[i].runtime), MC_OK);
        CHECK_INT(mc_runtime_init(&runtime, values.config), MC_OK);
        for (unsigned draw = 0; draw < 10000; draw++) {
            request r;
            mc_route_match match;
            request_init(&r, "/");
            r.request.random = draw;
            r.request.runtime = &runtime;
            CHECK_INT(mc_route_table_match(f.table, &r.request, &match), MC_OK);
            found += match.route != NULL;
            request_fini(&r);
        }
        CHECK_INT(found, cases[i].percent * 100);
        mc_runtime_fini(&runtime);
        fixture_fini(&values);
    }
    fixture_fini(&f);
}

/* Whether a matcher of the stream holds, with metadata and filter state out of `context`; presented and validated as its "tls"
 * says: 0 no TLS, 1 no certificate, 2 presented, 3 validated. */
static mc_slice stream_case(const char *matcher, const char *context, int tls) {
    char route[512];
    fixture f, values;
    request r;
    mc_route_match match;
    mc_stream_info info;
    mc_certificate certificate;
    memset(&certificate, 0, sizeof certificate);
    mc_tls_info layer = {.peer = tls > 1 ? &certificate : NULL, .validated = tls == 3};
    snprintf(route, sizeof route, "{'match': {'prefix': '/', %s}, 'route': {'cluster': 'c'}}", matcher);
    if (fixture_routes(&f, route) != MC_OK) {
        fixture_fini(&f);
        return MC_SLICE("error");
    }
    CHECK_INT(fixture_parse(&values, context), MC_OK);
    mc_stream_info_init(&info);
    info.dynamic_metadata = mc_value_get(values.config, "metadata");
    info.filter_state = mc_value_get(values.config, "state");
    info.downstream_tls = tls > 0 ? &layer : NULL;
    request_init(&r, "/");
    r.request.info = &info;
    CHECK_INT(mc_route_table_match(f.table, &r.request, &match), MC_OK);
    mc_slice got = match.route != NULL ? MC_SLICE("yes") : MC_SLICE("no");
    request_fini(&r);
    fixture_fini(&values);
    fixture_fini(&f);
    return got;
}

#define METADATA(value)                                                                                                \
    "'dynamic_metadata': [{'filter': 'f', 'path': [{'key': 'a'}, {'key': 'b'}], 'value': {" value "}}]"
#define INVERTED(value)                                                                                                \
    "'dynamic_metadata': [{'filter': 'f', 'path': [{'key': 'a'}, {'key': 'b'}], 'invert': true, 'value': {" value "}}" \
    "]"
#define AT(value)    "{'metadata': {'f': {'a': {'b': " value "}}}}"
#define STATE(value) "'filter_state': [{'key': 'k', " value "}]"

TEST(matchers_of_the_stream) {
    static const struct {
        const char *matcher, *context;
        int tls;
        const char *expected;
    } cases[] = {
        {"'tls_context': {'presented': true}", "{}", 0, "no"},
        {"'tls_context': {'presented': true}", "{}", 1, "no"},
        {"'tls_context': {'presented': true}", "{}", 2, "yes"},
        {"'tls_context': {'presented': false}", "{}", 0, "yes"},
        {"'tls_context': {'presented': false}", "{}", 2, "no"},
        {"'tls_context': {'presented': true, 'validated': false}", "{}", 2, "yes"},
        {"'tls_context': {'presented': true, 'validated': false}", "{}", 3, "no"},
        {"'tls_context': {'validated': true}", "{}", 3, "yes"},
        {"'tls_context': {}", "{}", 0, "yes"},
        {METADATA("'string_match': {'exact': 'x'}"), AT("'x'"), 0, "yes"},
        {METADATA("'string_match': {'exact': 'x'}"), AT("'y'"), 0, "no"},
        {METADATA("'string_match': {'exact': 'x'}"), AT("1"), 0, "no"},
        {METADATA("'string_match': {'exact': 'x'}"), "{}", 0, "no"},
        {INVERTED("'string_match': {'exact': 'x'}"), "{}", 0, "yes"},
        {INVERTED("'string_match': {'exact': 'x'}"), AT("'x'"), 0, "no"},
        {METADATA("'string_match': {'safe_regex': {'regex': 'x+'}}"), AT("'xx'"), 0, "yes"},
        {METADATA("'null_match': {}"), AT("null"), 0, "yes"},
        {METADATA("'null_match': {}"), AT("0"), 0, "no"},
        {METADATA("'null_match': {}"), "{}", 0, "no"},
        {METADATA("'bool_match': true"), AT("true"), 0, "yes"},
        {METADATA("'bool_match': false"), AT("true"), 0, "no"},
        {METADATA("'bool_match': false"), AT("false"), 0, "yes"},
        {METADATA("'present_match': true"), AT("{}"), 0, "yes"},
        {METADATA("'present_match': true"), "{}", 0, "no"},
        {METADATA("'present_match': false"), AT("{}"), 0, "no"},
        {METADATA("'present_match': false"), "{}", 0, "no"},
        {METADATA("'double_match': {'exact': 1.5}"), AT("1.5"), 0, "yes"},
        {METADATA("'double_match': {'exact': 1.5}"), AT("'1.5'"), 0, "no"},
        {METADATA("'double_match': {'range': {'start': 1, 'end': 2}}"), AT("1"), 0, "yes"},
        {METADATA("'double_match': {'range': {'start': 1, 'end': 2}}"), AT("2"), 0, "no"},
        {METADATA("'list_match': {'one_of': {'double_match': {'exact': 2}}}"), AT("[1, 2]"), 0, "yes"},
        {METADATA("'list_match': {'one_of': {'double_match': {'exact': 3}}}"), AT("[1, 2]"), 0, "no"},
        {METADATA("'list_match': {'one_of': {'double_match': {'exact': 2}}}"), AT("2"), 0, "no"},
        {METADATA("'or_match': {'value_matchers': [{'bool_match': true}, {'null_match': {}}]}"), AT("null"), 0, "yes"},
        {METADATA("'or_match': {'value_matchers': [{'bool_match': true}, {'null_match': {}}]}"), AT("1"), 0, "no"},
        {METADATA("'or_match': {'value_matchers': [{'bool_match': true}]}"), AT("1"), 0, "error"},
        {METADATA(""), "{}", 0, "error"},
        {"'dynamic_metadata': [{'filter': 'f', 'path': [], 'value': {'bool_match': true}}]", "{}", 0, "error"},
        {STATE("'string_match': {'prefix': 'a'}"), "{'state': {'k': 'ab'}}", 0, "yes"},
        {STATE("'string_match': {'prefix': 'a'}"), "{'state': {'k': 'ba'}}", 0, "no"},
        {STATE("'string_match': {'prefix': 'a'}"), "{}", 0, "no"},
        {STATE("'address_match': {'ranges': [{'address_prefix': '10.0.0.0', 'prefix_len': 8}]}"),
         "{'state': {'k': '10.1.1.1:80'}}", 0, "yes"},
        {STATE("'address_match': {'ranges': [{'address_prefix': '10.0.0.0', 'prefix_len': 8}]}"),
         "{'state': {'k': '11.1.1.1'}}", 0, "no"},
        {STATE("'address_match': {'invert_match': true, 'ranges': [{'address_prefix': '10.0.0.0', 'prefix_len': 8}]}"),
         "{'state': {'k': '11.1.1.1'}}", 0, "yes"},
        {STATE("'address_match': {'ranges': [{'address_prefix': '10.0.0.0', 'prefix_len': 8}]}"),
         "{'state': {'k': 'x'}}", 0, "no"},
        {STATE("'x': 1"), "{}", 0, "error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_slice got = stream_case(cases[i].matcher, cases[i].context, cases[i].tls);
        if (!mc_slice_eq(got, mc_slice_cstr(cases[i].expected))) {
            fprintf(stderr, "%s with %s and %d\n", cases[i].matcher, cases[i].context, cases[i].tls);
        }
        CHECK_SLICE(got, cases[i].expected);
    }
}

TEST(tls_is_required) {
    fixture f;
    static const char *const hosts[] = {
        "{'name': 'a', 'domains': ['all'], 'require_tls': 'ALL', 'routes': [" ROUTE("r", "'prefix': '/'") "]}",
        "{'name': 'b', 'domains': ['ext'], 'require_tls': 'EXTERNAL_ONLY', 'routes': [" ROUTE("r",
                                                                                              "'prefix': '/'") "]}",
        HOST("r", "'*'"),
    };
    CHECK_INT(FIXTURE_HOSTS(&f, "", hosts), MC_OK);
    static const match_case cases[] = {{"all/\nx-forwarded-proto: https", "r"},
                                       {"all/\nx-forwarded-proto: http", "tls"},
                                       {"all/\nx-forwarded-proto: http\nx-envoy-internal: true", "tls"},
                                       {"all/", ""},
                                       {"ext/\nx-forwarded-proto: http", "tls"},
                                       {"ext/\nx-forwarded-proto: http\nx-envoy-internal: true", "r"},
                                       {"none/\nx-forwarded-proto: http", "r"},
                                       {"none/", "r"},
                                       {"none/\nx-forwarded-proto:", ""}};
    CHECK_CASES(&f, cases);
    request r;
    mc_route_match match;
    mc_slice location;
    request_init(&r, "all/p?q=1\nx-forwarded-proto: http");
    CHECK_INT(mc_route_table_match(f.table, &r.request, &match), MC_OK);
    CHECK(match.tls_redirect && match.route == NULL);
    CHECK_SLICE(match.virtual_host->name, "a");
    CHECK_INT(mc_route_redirect_status(&match), 301);
    CHECK_INT(mc_route_redirect_location(&match, &r.request, &location), MC_OK);
    CHECK_SLICE(location, "https://all/p?q=1");
    request_fini(&r);
    fixture_fini(&f);
}

TEST(many_routes_told_apart_by_a_header) {
    enum { COUNT = 2000 };
    char *routes = malloc(COUNT * 220 + 1000), *at = routes;
    for (int i = 0; i < COUNT; i++) {
        at += sprintf(
            at,
            "{'name': 'r%d', 'match': {'prefix': '/', 'headers': [{'name': 'x-tenant', 'string_match': {'exact': "
            "'t%d'}}, {'name': 'x-b', 'present_match': %s}]}, 'route': {'cluster': 'c'}},",
            i, i / 2, i % 2 ? "true" : "false");
    }
    sprintf(at, ROUTE("rest", "'prefix': '/'"));
    fixture f;
    CHECK_INT(fixture_routes(&f, routes), MC_OK);
    free(routes);
    const mc_candidates *list = f.table->hosts[0].paths.cased.nodes[1].prefix;
    CHECK(list->splits != NULL);
    CHECK_INT(list->count, 1);
    CHECK_SLICE(matched(&f, "/\nx-tenant: t7", 0), "r14");
    CHECK_SLICE(matched(&f, "/\nx-tenant: t7\nx-b: 1", 0), "r15");
    CHECK_SLICE(matched(&f, "/\nx-tenant: t7\nx-tenant: t8", 0), "rest");
    CHECK_SLICE(matched(&f, "/", 0), "rest");
    fixture_fini(&f);
}

TEST(long_chains_of_prefixes_need_no_stack) {
    enum { COUNT = 3000 };
    char *routes = malloc((size_t)COUNT * (COUNT / 2 + 120)), *at = routes;
    for (int i = COUNT; i > 0; i--) {
        at += sprintf(at, "%s{'name': 'r%d', 'match': {'prefix': '/", i == COUNT ? "" : ",", i);
        memset(at, 'a', (size_t)i);
        at += i;
        at += sprintf(at, "', 'headers': [{'name': 'x%s'}]}, 'route': {'cluster': 'c'}}", i > 1 ? "" : "-other");
    }
    fixture f;
    CHECK_INT(fixture_routes(&f, routes), MC_OK);
    char path[COUNT + 64];
    path[0] = '/';
    memset(path + 1, 'a', COUNT);
    strcpy(path + 1 + COUNT, "\nx-other: 1");
    CHECK_SLICE(matched(&f, path, 0), "r1");
    strcpy(path + 1 + COUNT, "\nx: 1");
    CHECK_SLICE(matched(&f, path, 0), "r3000");
    free(routes);
    fixture_fini(&f);
}
