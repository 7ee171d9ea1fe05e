/* What a table is compiled into, what is refused and where, and running out of memory. */
#include "route_test.h"

static const char *refused(const char *config) {
    static char text[900];
    fixture f;
    mc_status status = fixture_compile(&f, config);
    snprintf(text, sizeof text, "%s", status == MC_OK ? "accepted" : f.error.path);
    if (status == MC_EINVAL && f.error.reason[0] == 0) {
        snprintf(text, sizeof text, "no reason");
    }
    fixture_fini(&f);
    return text;
}

#define VH(rest)       "{'virtual_hosts': [{'name': 'v', 'domains': ['*']" rest "}]}"
#define RT(rest)       VH(", 'routes': [{'match': {'prefix': '/'}, 'route': {'cluster': 'a'}}, {" rest "}]")
#define MATCH(match)   RT("'match': {" match "}, 'route': {'cluster': 'c'}")
#define ACTION(route)  RT("'match': {'prefix': '/'}, 'route': {" route "}")
#define HV(key, value) "'request_headers_to_add': [{'header': {'key': '" key "', 'value': '" value "'}}]"

TEST(errors_name_the_field) {
    static const struct {
        const char *config, *path;
    } cases[] = {
        {"{'virtual_hosts': [{'domains': ['*']}]}", "virtual_hosts[0].name"},
        {"{'virtual_hosts': [{'name': 'v'}]}", "virtual_hosts[0].domains"},
        {"{'virtual_hosts': [{'name': 'v', 'domains': ['a', 'A']}]}", "virtual_hosts[0].domains[1]"},
        {"{'virtual_hosts': [{'name': 'v', 'domains': ['*']}, {'name': 'w', 'domains': ['b', '*']}]}",
         "virtual_hosts[1].domains[1]"},
        {"{'virtual_hosts': [{'name': 'v', 'domains': ['*.a', '*.A']}]}", "virtual_hosts[0].domains[1]"},
        {"{'virtual_hosts': [{'name': 'v', 'domains': ['a.*', 'a.*']}]}", "virtual_hosts[0].domains[1]"},
        {"{'virtual_hosts': [{'name': 'v', 'domains': ['a.*', '*a.', 'a.', 'a.x']}]}", "accepted"},
        {VH(", 'require_tls': 'SOME'"), "virtual_hosts[0].require_tls"},
        {VH(", 'matcher': {}, 'routes': [{}]"), "virtual_hosts[0].matcher"},
        {VH(", 'matcher': {'matcher_list': {}}"), "virtual_hosts[0].matcher.matcher_list.matchers"},
        {VH(", 'matcher': {'on_no_match': {'action': {'name': 'x'}}}"),
         "virtual_hosts[0].matcher.on_no_match.action.typed_config"},
        {VH(", 'matcher': {'on_no_match': {'action': {'name': 'x', 'typed_config': {'@type': "
            "'t/envoy.config.route.v3.RouteList', 'routes': [{}]}}}}"),
         "virtual_hosts[0].matcher.on_no_match.action.typed_config.routes[0].match"},
        {VH(", 'retry_policy': {'retry_back_off': {}}"), "virtual_hosts[0].retry_policy.retry_back_off.base_interval"},
        {RT("'route': {'cluster': 'c'}"), "virtual_hosts[0].routes[1].match"},
        {MATCH(""), "virtual_hosts[0].routes[1].match"},
        {RT("'match': {'prefix': '/'}"), "virtual_hosts[0].routes[1]"},
        {MATCH("'safe_regex': {'regex': '('}"), "virtual_hosts[0].routes[1].match.safe_regex.regex"},
        {MATCH("'path_separated_prefix': '/a/'"), "virtual_hosts[0].routes[1].match.path_separated_prefix"},
        {MATCH("'path_separated_prefix': '/a?b'"), "virtual_hosts[0].routes[1].match.path_separated_prefix"},
        {MATCH("'path_separated_prefix': '/'"), "virtual_hosts[0].routes[1].match.path_separated_prefix"},
        {MATCH("'prefix': '/', 'tls_context': {'x': 1}"), "virtual_hosts[0].routes[1].match.tls_context.x"},
        {MATCH("'prefix': '/', 'headers': [{'name': 'a'}, {}]"), "virtual_hosts[0].routes[1].match.headers[1].name"},
        {MATCH("'prefix': '/', 'headers': [{'name': 'a', 'string_match': {}}]"),
         "virtual_hosts[0].routes[1].match.headers[0].string_match"},
        {MATCH("'prefix': '/', 'headers': [{'name': 'a', 'string_match': {'safe_regex': {'regex': '('}}}]"),
         "virtual_hosts[0].routes[1].match.headers[0].string_match.safe_regex.regex"},
        {MATCH("'prefix': '/', 'headers': [{'name': 'a', 'string_match': {'prefix': ''}}]"),
         "virtual_hosts[0].routes[1].match.headers[0].string_match.prefix"},
        {MATCH("'prefix': '/', 'headers': [{'name': 'a', 'range_match': {'end': 'x'}}]"),
         "virtual_hosts[0].routes[1].match.headers[0].range_match.end"},
        {MATCH("'prefix': '/', 'query_parameters': [{'name': 'a', 'regex': 'x'}]"),
         "virtual_hosts[0].routes[1].match.query_parameters[0].regex"},
        {MATCH("'prefix': '/', 'runtime_fraction': {'default_value': {'denominator': 'TEN'}}"),
         "virtual_hosts[0].routes[1].match.runtime_fraction.default_value.denominator"},
        {ACTION(""), "virtual_hosts[0].routes[1].route"},
        {ACTION("'cluster': ''"), "virtual_hosts[0].routes[1].route.cluster"},
        {ACTION("'cluster_specifier_plugin': 'x'"), "virtual_hosts[0].routes[1].route.cluster_specifier_plugin"},
        {ACTION("'weighted_clusters': {}"), "virtual_hosts[0].routes[1].route.weighted_clusters.clusters"},
        {ACTION("'weighted_clusters': {'clusters': [{'name': 'a'}]}"),
         "virtual_hosts[0].routes[1].route.weighted_clusters.clusters"},
        {ACTION("'weighted_clusters': {'clusters': [{'name': 'a', 'weight': 4294967295}, {'name': 'b', 'weight': 1}]}"),
         "virtual_hosts[0].routes[1].route.weighted_clusters.clusters"},
        {ACTION("'weighted_clusters': {'clusters': [{'name': 'a', 'cluster_header': 'b', 'weight': 1}]}"),
         "virtual_hosts[0].routes[1].route.weighted_clusters.clusters[0]"},
        {ACTION("'weighted_clusters': {'clusters': [{'weight': 1}]}"),
         "virtual_hosts[0].routes[1].route.weighted_clusters.clusters[0]"},
        {ACTION("'cluster': 'c', 'regex_rewrite': {}"), "virtual_hosts[0].routes[1].route.regex_rewrite.pattern"},
        {ACTION("'cluster': 'c', 'prefix_rewrite': '/a', 'regex_rewrite': {'pattern': {'regex': 'a'}}"),
         "virtual_hosts[0].routes[1].route.regex_rewrite"},
        {ACTION("'cluster': 'c', 'prefix_rewrite': '/a', 'path_rewrite': '/b'"),
         "virtual_hosts[0].routes[1].route.path_rewrite"},
        {ACTION("'cluster': 'c', 'path_rewrite_policy': {'name': 'x', 'typed_config': {'@type': 'x/y'}}"),
         "virtual_hosts[0].routes[1].route.path_rewrite_policy.typed_config"},
        {ACTION("'cluster': 'c', 'path_rewrite_policy': {'name': 'x', 'typed_config': {'@type': "
                "'t/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig', 'path_template_rewrite': "
                "'/a'}}"),
         "virtual_hosts[0].routes[1].route.path_rewrite_policy"},
        {ACTION("'cluster': 'c', 'host_rewrite': '%NOPE%'"), "virtual_hosts[0].routes[1].route.host_rewrite"},
        {ACTION("'cluster': 'c', 'timeout': '-1s'"), "virtual_hosts[0].routes[1].route.timeout"},
        {ACTION("'cluster': 'c', 'upgrade_configs': [{'upgrade_type': 'A'}, {'upgrade_type': 'a'}]"),
         "virtual_hosts[0].routes[1].route.upgrade_configs[1].upgrade_type"},
        {ACTION("'cluster': 'c', 'hash_policy': [{}]"), "virtual_hosts[0].routes[1].route.hash_policy[0]"},
        {ACTION("'cluster': 'c', 'hash_policy': [{'filter_state': {}}]"),
         "virtual_hosts[0].routes[1].route.hash_policy[0].filter_state.key"},
        {ACTION("'cluster': 'c', 'hash_policy': [{'header': {'header_name': 'k', 'regex_rewrite': {}}}]"),
         "virtual_hosts[0].routes[1].route.hash_policy[0].header.regex_rewrite.pattern"},
        {ACTION("'cluster': 'c', 'retry_policy': {'retry_back_off': {'base_interval': '2s', 'max_interval': '1s'}}"),
         "virtual_hosts[0].routes[1].route.retry_policy.retry_back_off.max_interval"},
        {ACTION("'cluster': 'c', 'retry_policy': {'retriable_headers': [{'name': 'a'}, {}]}"),
         "virtual_hosts[0].routes[1].route.retry_policy.retriable_headers[1].name"},
        {ACTION("'cluster': 'c', 'retry_policy': {'retry_host_predicate': [{'name': 'x', 'typed_config': {'@type': "
                "'y'}}]}"),
         "virtual_hosts[0].routes[1].route.retry_policy.retry_host_predicate[0]"},
        {RT("'match': {'prefix': '/'}, 'redirect': {'regex_rewrite': {}}"),
         "virtual_hosts[0].routes[1].redirect.regex_rewrite.pattern"},
        {RT("'match': {'prefix': '/'}, 'redirect': {'path_redirect': '/a', 'prefix_rewrite': '/b'}"),
         "virtual_hosts[0].routes[1].redirect.path_redirect"},
        {RT("'match': {'prefix': '/'}, 'direct_response': {'status': 600}"),
         "virtual_hosts[0].routes[1].direct_response.status"},
        {RT("'match': {'prefix': '/'}, 'direct_response': {'status': 200, 'body': {'filename': 'x'}}"),
         "virtual_hosts[0].routes[1].direct_response.body.filename"},
        {RT("'match': {'prefix': '/'}, 'direct_response': {'status': 200, 'body': {'inline_bytes': '?'}}"),
         "virtual_hosts[0].routes[1].direct_response.body.inline_bytes"},
        {"{'max_direct_response_body_size_bytes': 2, 'virtual_hosts': [{'name': 'v', 'domains': ['*'], 'routes': "
         "[{'match': {'prefix': '/'}, "
         "'direct_response': {'status': 200, 'body': {'inline_string': 'abc'}}}]}]}",
         "virtual_hosts[0].routes[0].direct_response.body"},
        {"{" HV("a", "%NOPE%") "}", "request_headers_to_add[0].header.value"},
        {"{" HV("a", "50%") "}", "request_headers_to_add[0].header.value"},
        {"{" HV("a", "50%%") "}", "accepted"},
        {"{" HV(":path", "x") "}", "request_headers_to_add[0].header.key"},
        {"{" HV("Host", "x") "}", "request_headers_to_add[0].header.key"},
        {"{'response_headers_to_remove': ['a', 'host']}", "response_headers_to_remove[1]"},
        {"{'request_headers_to_add': [{'header': {'key': 'a', 'value': 'b'}, 'append': true, 'append_action': "
         "'ADD_IF_ABSENT'}]}",
         "request_headers_to_add[0].append"},
        {VH(", 'response_headers_to_add': [{}]"), "virtual_hosts[0].response_headers_to_add[0].header"},
        {"{'virtual_hosts': 1}", "virtual_hosts"},
        {"{'virtual_hosts': [1]}", "virtual_hosts[0].name"},
        {"[]", ""},
        {"{}", "accepted"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(refused(cases[i].config), cases[i].path) != 0) {
            fprintf(stderr, "%s: %s, expected %s\n", cases[i].config, refused(cases[i].config), cases[i].path);
        }
        CHECK(strcmp(refused(cases[i].config), cases[i].path) == 0);
    }
}

TEST(matchers_of_the_stream_need_its_info) {
    static const struct {
        const char *match;
        bool reads;
    } cases[] = {{"'headers': [{'name': 'a'}]", false},
                 {"'tls_context': {'presented': true}", true},
                 {"'dynamic_metadata': [{'filter': 'f', 'path': [{'key': 'k'}], 'value': {'bool_match': true}}]", true},
                 {"'filter_state': [{'key': 'k', 'string_match': {'exact': 'v'}}]", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char route[256];
        fixture f;
        snprintf(route, sizeof route, "{'match': {'prefix': '/', %s}, 'route': {'cluster': 'c'}}", cases[i].match);
        CHECK_INT(fixture_routes(&f, route), MC_OK);
        CHECK(mc_route_table_reads_info(f.table) == cases[i].reads);
        fixture_fini(&f);
    }
}

TEST(fields_of_a_route) {
    fixture f;
    CHECK_INT(fixture_compile(
                  &f,
                  "{'name': 'table', 'virtual_hosts': [{'name': 'v', 'domains': ['*'], "
                  "'include_request_attempt_count': true, "
                  "'retry_policy': {'retry_on': '5xx,nonsense', 'num_retries': 4}, 'routes': ["
                  "{'name': 'plain', 'match': {'path': '/plain'}, 'route': {'cluster': 'a'}},"
                  "{'name': 'full', 'match': {'path': '/full'}, 'route': {'cluster': 'b', 'timeout': '0.25s', "
                  "'idle_timeout': '0s', "
                  "'priority': 'HIGH', 'cluster_not_found_response_code': 'NOT_FOUND', 'retry_policy': {'retry_on': "
                  "'connect-failure, reset', 'per_try_timeout': '1s', 'per_try_idle_timeout': '2s', "
                  "'retriable_status_codes': [409, "
                  "503], 'retry_back_off': {'base_interval': '0.0001s'}, 'host_selection_retry_max_attempts': '3', "
                  "'retry_host_predicate': [{'name': 'p', 'typed_config': {'@type': "
                  "'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate'}}]}, "
                  "'upgrade_configs': [{'upgrade_type': 'WebSocket'}, {'upgrade_type': 'tls', 'enabled': false}]}},"
                  "{'name': 'long', 'match': {'path': '/long'}, 'route': {'cluster': 'a', 'timeout': '1s', "
                  "'max_stream_duration': "
                  "{'max_stream_duration': '7s'}}}]}]}"),
              MC_OK);
    CHECK_SLICE(mc_route_table_name(f.table), "table");
    CHECK_INT(mc_route_table_cluster_count(f.table), 2);
    const mc_route_entry *const *entries = f.table->hosts[0].entries;
    const mc_route *plain = &entries[0]->route, *full = &entries[1]->route, *longer = &entries[2]->route;
    CHECK(plain->virtual_host->include_attempt_count_request && !plain->virtual_host->include_attempt_count_response);
    CHECK_U64(plain->timeout_ms, 15000);
    CHECK(!plain->has_idle_timeout && !plain->high_priority && !plain->has_max_stream_duration);
    CHECK_INT(plain->cluster_not_found_status, 503);
    CHECK_INT(plain->websocket, -1);
    CHECK_INT(plain->retry_policy->retry_on, MC_RETRY_ON_5XX);
    CHECK_INT(plain->retry_policy->num_retries, 4);
    CHECK_U64(plain->retry_policy->base_interval_ms, 25);
    CHECK_U64(plain->retry_policy->max_interval_ms, 250);
    CHECK_INT(plain->retry_policy->host_selection_retry_max_attempts, 1);
    CHECK_U64(full->timeout_ms, 250);
    CHECK(full->has_idle_timeout && full->idle_timeout_ms == 0 && full->high_priority);
    CHECK_INT(full->cluster_not_found_status, 404);
    const mc_retry_policy *retry = full->retry_policy;
    CHECK_INT(retry->retry_on, MC_RETRY_ON_CONNECT_FAILURE | MC_RETRY_ON_RESET);
    CHECK_INT(retry->num_retries, 1);
    CHECK_U64(retry->per_try_timeout_ms, 1000);
    CHECK_U64(retry->per_try_idle_timeout_ms, 2000);
    CHECK_U64(retry->base_interval_ms, 1);
    CHECK_U64(retry->max_interval_ms, 10);
    CHECK_INT(retry->retriable_status_count, 2);
    CHECK_INT(retry->retriable_status_codes[1], 503);
    CHECK_INT(retry->host_selection_retry_max_attempts, 3);
    CHECK(retry->avoid_previous_hosts);
    CHECK_INT(full->websocket, 1);
    CHECK_INT(mc_route_upgrade(full, MC_SLICE("TLS")), 0);
    CHECK_INT(mc_route_upgrade(full, MC_SLICE("CONNECT")), -1);
    CHECK_U64(longer->timeout_ms, 1000); /* as configured, though it does not count (RF-10) */
    CHECK(longer->has_max_stream_duration && longer->max_stream_duration_ms == 7000);
    fixture_fini(&f);
}

TEST(a_reference_keeps_the_table) {
    fixture f;
    CHECK_INT(fixture_routes(&f, "{'name': 'r', 'match': {'prefix': '/'}, 'route': {'cluster': 'c'}}"), MC_OK);
    mc_route_table *again = mc_route_table_ref(f.table);
    mc_route_table_unref(again);
    CHECK_SLICE(matched(&f, "/", 0), "r");
    fixture_fini(&f);
}

/* A bit of everything, so that each allocation is met. */
static const char everything[] =
    "{'name': 't', 'request_headers_to_add': [{'header': {'key': 'a', 'value': 'b'}}], 'virtual_hosts': [{'name': 'v', "
    "'domains': "
    "['a.io', '*.b.io', 'c.*', '*'], 'retry_policy': {'retriable_status_codes': [1]}, 'response_headers_to_remove': "
    "['x'], 'routes': ["
    "{'name': 'one', 'match': {'path': '/one', 'case_sensitive': false, 'headers': [{'name': 'h', 'string_match': "
    "{'exact': 'x', "
    "'ignore_case': true}}], 'query_parameters': [{'name': 'q', 'string_match': {'prefix': 'v'}}], 'runtime_fraction': "
    "{'default_value': "
    "{'numerator': 100}}, 'cookies': [{'name': 'k', 'string_match': {'exact': 'v'}}]}, 'route': {'weighted_clusters': "
    "{'clusters': "
    "[{'name': 'x', 'weight': 1}, {'name': 'y', 'weight': 2}]}, 'prefix_rewrite': '/new', 'host_rewrite_literal': "
    "'l.io', "
    "'append_x_forwarded_host': true, 'hash_policy': [{'cookie': {'name': 's', 'ttl': '1s', 'attributes': [{'name': "
    "'a', 'value': 'b'}]}}, "
    "{'header': {'header_name': 'h'}}], 'upgrade_configs': [{'upgrade_type': 'websocket'}], 'retry_policy': "
    "{'retry_on': '5xx'}}},"
    "{'match': {'prefix': '/r'}, 'redirect': {'host_redirect': 'h', 'port_redirect': 1, 'path_redirect': '/p'}},"
    "{'name': 'regex', 'match': {'safe_regex': {'regex': '/x+'}, 'headers': [{'name': 'z', 'string_match': "
    "{'safe_regex': "
    "{'regex': 'q'}}}]}, 'metadata': {'filter_metadata': {'f': {'k': ['v']}}}, 'route': {'cluster': 'c', "
    "'regex_rewrite': "
    "{'pattern': {'regex': 'x'}, 'substitution': 'y'}, 'host_rewrite': '%REQ(h)%', 'metadata_match': "
    "{'filter_metadata': "
    "{'envoy.lb': {'a': 'b'}}}, 'rate_limits': [{'actions': [{'remote_address_match': {'descriptor_value': '%REQ(h)%', "
    "'address_matcher': {'ranges': [{'address_prefix': '::'}]}}}, "
    "{'header_value_match': {'descriptor_value': 'v', 'headers': [{'name': 'h'}]}}]}], 'request_mirror_policies': "
    "[{'cluster': 'm'}], 'internal_redirect_policy': {'response_headers_to_copy': ['a']}, 'cors': "
    "{'allow_origin_string_match': [{'exact': 'o'}]}, 'hedge_policy': {}}},"
    "{'match': {'path_match_policy': {'name': 't', 'typed_config': {'@type': "
    "'t/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', 'path_template': '/t/{a}'}}, "
    "'dynamic_metadata': [{'filter': 'f', 'path': [{'key': 'k'}], 'value': {'or_match': {'value_matchers': "
    "[{'bool_match': "
    "true}, {'null_match': {}}]}}}], 'filter_state': [{'key': 'k', 'string_match': {'exact': 'v'}}]}, 'route': "
    "{'cluster': "
    "'c', 'path_rewrite_policy': {'name': 't', 'typed_config': {'@type': "
    "'t/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig', 'path_template_rewrite': '/{a}'}}}},"
    "{'match': {'safe_regex': {'regex': '/y+'}}, 'route': {'cluster': 'y'}},"
    "{'match': {'prefix': '/d'}, 'direct_response': {'status': 200, 'body': {'inline_bytes': 'YWJj'}}},"
    "{'match': {'prefix': '/', 'headers': [{'name': 'i', 'exact_match': '0'}]}, 'route': {'cluster': 'i'}},"
    "{'match': {'prefix': '/', 'headers': [{'name': 'i', 'exact_match': '1'}]}, 'route': {'cluster': 'i'}},"
    "{'match': {'prefix': '/', 'headers': [{'name': 'i', 'exact_match': '2'}]}, 'route': {'cluster': 'i'}},"
    "{'match': {'prefix': '/', 'headers': [{'name': 'i', 'exact_match': '3'}]}, 'route': {'cluster': 'i'}},"
    "{'match': {'prefix': '/', 'headers': [{'name': 'i', 'exact_match': '4'}]}, 'route': {'cluster': 'i'}},"
    "{'match': {'prefix': '/', 'headers': [{'name': 'i', 'exact_match': '5'}]}, 'route': {'cluster': 'i'}},"
    "{'match': {'prefix': '/', 'headers': [{'name': 'i', 'exact_match': '6'}]}, 'route': {'cluster': 'i'}},"
    "{'match': {'prefix': '/', 'headers': [{'name': 'i', 'exact_match': '7'}]}, 'route': {'cluster': 'i'}}]}]}";

TEST(every_failed_allocation_of_compile_is_an_error) {
    for (long n = 1;; n++) {
        fixture f;
        CHECK_INT(fixture_parse(&f, everything), MC_OK);
        mc_test_alloc_fail_at(n);
        mc_status status = mc_route_table_compile(f.config, &f.table, &f.error);
        mc_test_alloc_fail_at(0);
        fixture_fini(&f);
        if (status == MC_OK) {
            CHECK(n > 8);
            break;
        }
        CHECK_INT(status, MC_ENOMEM);
    }
}

static mc_status use(const fixture *f, request *r) {
    mc_route_match match;
    mc_request_hash hash;
    mc_slice location;
    mc_status status = mc_route_table_match(f->table, &r->request, &match);
    if (status != MC_OK || match.route == NULL) {
        return status;
    }
    status = mc_route_hash(match.route, &r->request, &hash);
    if (status == MC_OK) {
        status = mc_route_redirect_location(&match, &r->request, &location);
    }
    return status == MC_OK ? mc_route_finalize_request(f->table, &match, &r->request, &r->headers, false) : status;
}

TEST(every_failed_allocation_of_a_request_is_an_error) {
    static const char *const requests[] = {"A.io/ONE?q=v\nh: X\nh: Y",
                                           "A.io/ONE?q=v\nh: X\ncookie: k=v",
                                           "/r/x\nh: 1",
                                           "/q\ni: 3\ni: 4",
                                           "/xx\nz: q\nh: 1",
                                           "/yy"};
    fixture f;
    CHECK_INT(fixture_compile(&f, everything), MC_OK);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        mc_status status;
        for (long n = 1;; n++) {
            request r;
            request_init(&r, requests[i]);
            r.arena.at = r.arena.end; /* so that the first bytes need a block */
            mc_test_alloc_fail_at(n);
            status = use(&f, &r);
            mc_test_alloc_fail_at(0);
            request_fini(&r);
            if (status == MC_OK) {
                break;
            }
            CHECK_INT(status, MC_ENOMEM);
        }
    }
    fixture_fini(&f);
}
