/* What a route carries for the router and the filters: retries, hedging, mirrors, internal redirects, rate limits, the rest. */
#include "route/cors.h"
#include "route/rate_limit.h"

#include "route_test.h"

#define TYPE "'@type': 'type.googleapis.com/envoy.extensions."

static mc_status with_action(fixture *f, const char *host, const char *action) {
    char config[4096];
    snprintf(config, sizeof config,
             "{'virtual_hosts': [{'name': 'v', 'domains': ['*'], %s 'routes': [{'name': 'r', 'match': {'prefix': '/'}, "
             "'route': {'cluster': 'c', %s}}]}]}",
             host, action);
    return fixture_compile(f, config);
}

static const mc_route *only(const fixture *f) { return &f->table->hosts[0].entries[0]->route; }

TEST(retries) {
    fixture f;
    CHECK_INT(with_action(
                  &f, "",
                  "'retry_policy': {'retry_host_predicate': ["
                  "{'name': 'a', 'typed_config': {" TYPE "retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate'}},"
                  "{'name': 'b', 'typed_config': {" TYPE "retry.host.omit_host_metadata.v3.OmitHostMetadataConfig', "
                  "'metadata_match': {'filter_metadata': {'envoy.lb': {'stage': 'old'}}}}}],"
                  "'retry_priority': {'name': 'p', 'typed_config': {" TYPE
                  "retry.priority.previous_priorities.v3.PreviousPrioritiesConfig', 'update_frequency': 2}},"
                  "'rate_limited_retry_back_off': {'reset_headers': [{'name': 'Retry-After'}, {'name': 'x-reset', "
                  "'format': 'UNIX_TIMESTAMP'}]}},"
                  "'hedge_policy': {'additional_request_chance': {'numerator': 3, 'denominator': 'MILLION'}, "
                  "'hedge_on_per_try_timeout': true}"),
              MC_OK);
    const mc_retry_policy *retry = only(&f)->retry_policy;
    CHECK(retry->omit_canary_hosts && !retry->avoid_previous_hosts);
    CHECK_INT(retry->omit_host_metadata_count, 1);
    CHECK_SLICE(mc_value_get(retry->omit_host_metadata[0], "stage")->string, "old");
    CHECK_INT(retry->previous_priorities_update, 2);
    CHECK_INT(retry->reset_header_count, 2);
    CHECK_SLICE(retry->reset_headers[0].name, "retry-after");
    CHECK(!retry->reset_headers[0].unix_timestamp && retry->reset_headers[1].unix_timestamp);
    CHECK_U64(retry->reset_max_interval_ms, 300000);
    const mc_hedge_policy *hedge = only(&f)->hedge_policy;
    CHECK(hedge->hedge_on_per_try_timeout && hedge->initial_requests == 1);
    CHECK_INT(hedge->additional_request_chance.denominator, 1000000);
    fixture_fini(&f);
}

TEST(policies_come_from_the_nearest_level) {
    fixture f;
    CHECK_INT(
        fixture_compile(
            &f,
            "{'request_mirror_policies': [{'cluster': 'far'}], 'virtual_hosts': ["
            "{'name': 'a', 'domains': ['a'], 'request_body_buffer_limit': 7, 'hedge_policy': {'initial_requests': 2},"
            "'request_mirror_policies': [{'cluster': 'near'}], 'routes': ["
            "{'match': {'prefix': '/own'}, 'per_request_buffer_limit_bytes': 9, 'route': {'cluster': 'c', "
            "'hedge_policy': {'initial_requests': 3}, 'request_mirror_policies': [{'cluster_header': 'X-Copy', "
            "'runtime_fraction': {'default_value': {'numerator': 5}, 'runtime_key': 'k'}, 'trace_sampled': false, "
            "'disable_shadow_host_suffix_append': true, 'host_rewrite_literal': 'h'}, {'cluster': 'two'}]}},"
            "{'match': {'prefix': '/'}, 'route': {'cluster': 'c'}}]},"
            "{'name': 'b', 'domains': ['*'], 'routes': [{'match': {'prefix': '/'}, 'route': {'cluster': 'c'}}]}]}"),
        MC_OK);
    const mc_route *own = &f.table->hosts[0].entries[0]->route, *near = &f.table->hosts[0].entries[1]->route;
    const mc_route *far = &f.table->hosts[1].entries[0]->route;
    CHECK_INT(own->mirrors.count, 2);
    const mc_mirror_policy *first = &own->mirrors.items[0];
    CHECK_SLICE(first->cluster_header, "x-copy");
    CHECK(first->cluster_id == MC_NO_CLUSTER && first->trace_sampled == 0 && first->keep_host);
    CHECK_SLICE(first->host_rewrite_literal, "h");
    CHECK_SLICE(first->fraction.runtime_key, "k");
    CHECK_INT(first->fraction.numerator, 5);
    CHECK_INT(own->mirrors.items[1].fraction.numerator, 100);
    CHECK_INT(own->mirrors.items[1].trace_sampled, -1);
    CHECK_SLICE(near->mirrors.items[0].cluster, "near");
    CHECK_SLICE(far->mirrors.items[0].cluster, "far");
    CHECK_INT(own->hedge_policy->initial_requests, 3);
    CHECK_INT(near->hedge_policy->initial_requests, 2);
    CHECK(far->hedge_policy == NULL);
    CHECK_U64(own->body_buffer_limit, 7); /* the deprecated field comes behind that of either level */
    CHECK_U64(near->body_buffer_limit, 7);
    CHECK_U64(far->body_buffer_limit, UINT64_MAX);
    fixture_fini(&f);
}

TEST(internal_redirects) {
    fixture f;
    CHECK_INT(
        with_action(
            &f, "",
            "'internal_redirect_policy': {'max_internal_redirects': 3, 'redirect_response_codes': [301, 200, 308], "
            "'allow_cross_scheme_redirect': true, 'response_headers_to_copy': ['X-A'], 'predicates': ["
            "{'name': 'a', 'typed_config': {" TYPE "internal_redirect.previous_routes.v3.PreviousRoutesConfig'}},"
            "{'name': 'b', 'typed_config': {" TYPE
            "internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig', 'allowed_route_names': ['r']}}]}"),
        MC_OK);
    const mc_internal_redirect_policy *policy = only(&f)->redirects;
    CHECK_INT(policy->max_internal_redirects, 3);
    CHECK_INT(policy->codes, 1 << 1 | 1 << 8);
    CHECK(policy->allow_cross_scheme);
    CHECK_SLICE(policy->headers_to_copy[0], "x-a");
    CHECK_INT(policy->predicate_count, 2);
    CHECK_INT(policy->predicates[0].kind, MC_REDIRECT_PREVIOUS_ROUTES);
    CHECK_SLICE(policy->predicates[1].routes[0], "r");
    fixture_fini(&f);
    CHECK_INT(with_action(&f, "", "'internal_redirect_policy': {}"), MC_OK);
    CHECK_INT(only(&f)->redirects->codes, 1 << 2);
    CHECK_INT(only(&f)->redirects->max_internal_redirects, 1);
    fixture_fini(&f);
    CHECK_INT(
        with_action(&f, "", "'internal_redirect_action': 'HANDLE_INTERNAL_REDIRECT', 'max_internal_redirects': 4"),
        MC_OK);
    CHECK_INT(only(&f)->redirects->max_internal_redirects, 4);
    fixture_fini(&f);
    CHECK_INT(with_action(&f, "", "'internal_redirect_action': 'PASS_THROUGH_INTERNAL_REDIRECT'"), MC_OK);
    CHECK(only(&f)->redirects == NULL);
    fixture_fini(&f);
}

TEST(what_hosts_must_say_of_themselves) {
    fixture f;
    request r;
    mc_route_match match;
    CHECK_INT(fixture_routes(
                  &f, "{'match': {'prefix': '/'}, 'route': {'metadata_match': {'filter_metadata': {'envoy.lb': "
                      "{'a': 1, 'b': 2}}}, 'weighted_clusters': {'runtime_key_prefix': 'w', 'clusters': ["
                      "{'name': 'x', 'weight': 1, 'metadata_match': {'filter_metadata': {'envoy.lb': {'b': 3, 'c': "
                      "4}}}}, {'name': 'y', 'weight': 1}]}}}"),
              MC_OK);
    request_init(&r, "/");
    CHECK_INT(mc_route_table_match(f.table, &r.request, &match), MC_OK);
    const mc_value *both = mc_route_match_metadata(&match);
    CHECK_INT(both->count, 3);
    CHECK_INT(mc_value_get(both, "a")->number, 1);
    CHECK_INT(mc_value_get(both, "b")->number, 3);
    r.request.random = 1;
    CHECK_INT(mc_route_table_match(f.table, &r.request, &match), MC_OK);
    CHECK_SLICE(match.cluster, "y");
    CHECK_INT(mc_route_match_metadata(&match)->count, 2);
    request_fini(&r);
    fixture_fini(&f);
}

TEST(weights_of_the_runtime) {
    static const struct {
        const char *runtime, *picks; /* for random 0, 1, 2, 3 */
    } cases[] = {{"{}", "xyxy"}, {"{'w.x': 0}", "yyyy"}, {"{'w.x': 2}", "xxyx"}, {"{'w.y': '3'}", "xyyy"}};
    fixture f, values;
    CHECK_INT(fixture_routes(&f,
                             "{'match': {'prefix': '/'}, 'route': {'weighted_clusters': {'runtime_key_prefix': 'w', "
                             "'clusters': [{'name': 'x', 'weight': 1}, {'name': 'y', 'weight': 1}]}}}"),
              MC_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_runtime runtime;
        CHECK_INT(fixture_parse(&values, cases[i].runtime), MC_OK);
        CHECK_INT(mc_runtime_init(&runtime, values.config), MC_OK);
        for (unsigned draw = 0; draw < 4; draw++) {
            request r;
            mc_route_match match;
            request_init(&r, "/");
            r.request.random = draw;
            r.request.runtime = &runtime;
            CHECK_INT(mc_route_table_match(f.table, &r.request, &match), MC_OK);
            CHECK(match.cluster.n == 1 && match.cluster.p[0] == cases[i].picks[draw]);
            request_fini(&r);
        }
        mc_runtime_fini(&runtime);
        fixture_fini(&values);
    }
    fixture_fini(&f);
}

TEST(virtual_clusters_and_their_catch_all) {
    fixture f;
    CHECK_INT(
        with_action(&f,
                    "'virtual_clusters': [{'name': 'get', 'headers': [{'name': ':method', 'string_match': {'exact': "
                    "'GET'}}]}, {'name': 'a', 'headers': [{'name': 'x', 'present_match': true}]}],",
                    "'timeout': '1s'"),
        MC_OK);
    const mc_virtual_host *host = only(&f)->virtual_host;
    static const struct {
        const char *request, *cluster;
    } cases[] = {{"/\nx: 1", "get"}, {"/\n:method: PUT\nx: 1", "a"}, {"/\n:method: PUT", "other"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        request r;
        uint32_t at;
        request_init(&r, cases[i].request);
        CHECK_INT(mc_virtual_host_cluster(host, &r.headers, &at), MC_OK);
        CHECK_SLICE(host->virtual_clusters[at].name, cases[i].cluster);
        request_fini(&r);
    }
    fixture_fini(&f);
}

TEST(origins) {
    fixture f;
    CHECK_INT(
        with_action(&f, "'cors': {'allow_origin_string_match': [{'prefix': '*'}]},",
                    "'cors': {'allow_origin_string_match': [{'exact': 'a.io'}, {'safe_regex': {'regex': 'b\\\\..*'}}], "
                    "'allow_methods': 'GET', 'allow_credentials': true, 'max_age': '60', "
                    "'filter_enabled': {'default_value': {'numerator': 1}}}"),
        MC_OK);
    const mc_cors_policy *own = only(&f)->cors, *host = only(&f)->virtual_host->cors;
    CHECK_INT(mc_cors_origin_allowed(own, MC_SLICE("a.io")), 1);
    CHECK_INT(mc_cors_origin_allowed(own, MC_SLICE("b.io")), 1);
    CHECK_INT(mc_cors_origin_allowed(own, MC_SLICE("c.io")), 0);
    CHECK_INT(mc_cors_origin_allowed(host, MC_SLICE("c.io")), 1);
    CHECK_SLICE(own->allow_methods, "GET");
    CHECK(own->allow_credentials == 1 && own->allow_private_network_access == -1 && own->has_filter_enabled);
    CHECK_INT(own->filter_enabled.numerator, 1);
    fixture_fini(&f);
}

/* --- rate limits --- */

/* The descriptors as "key=value,key=value;..." */
static const char *described(const fixture *f, const char *text, uint32_t stage) {
    static char out[1024];
    request r;
    mc_route_match match;
    mc_address remote;
    fixture values;
    mc_stream_info info;
    mc_rate_limit_descriptors list = {.count = 0};
    size_t n = 0;
    request_init(&r, text);
    mc_stream_info_init(&info);
    CHECK_INT(fixture_parse(&values,
                            "{'ns': {'user': {'name': 'ann', 'empty': ''}, 'limit': {'requests_per_unit': 7, 'unit': "
                            "'HOUR'}}}"),
              MC_OK);
    info.dynamic_metadata = values.config;
    info.request = &r.headers;
    CHECK_INT(mc_address_parse(&remote, MC_SLICE("10.1.2.3"), 5000), MC_OK);
    r.request.remote = &remote;
    r.request.info = &info;
    CHECK_INT(mc_route_table_match(f->table, &r.request, &match), MC_OK);
    CHECK_INT(
        mc_route_rate_limits(&match, &r.request, MC_SLICE("here"), stage, false, MC_VH_RATE_LIMITS_OVERRIDE, &list),
        MC_OK);
    out[0] = '\0';
    for (uint32_t i = 0; i < list.count; i++) {
        for (uint32_t j = 0; j < list.items[i].count; j++) {
            const mc_rate_limit_entry *entry = &list.items[i].entries[j];
            n += (size_t)sprintf(out + n, "%s%.*s=%.*s", j > 0 ? "," : "", MC_SLICE_ARG(entry->key),
                                 MC_SLICE_ARG(entry->value));
        }
        if (list.items[i].has_limit) {
            n += (size_t)sprintf(out + n, " %u/%d", list.items[i].requests_per_unit, list.items[i].unit);
        }
        if (list.items[i].has_hits) {
            n += (size_t)sprintf(out + n, " +%llu", (unsigned long long)list.items[i].hits_addend);
        }
        n += (size_t)sprintf(out + n, ";");
    }
    fixture_fini(&values);
    request_fini(&r);
    return out;
}

TEST(rate_limit_actions) {
    static const struct {
        const char *actions, *request, *expected;
    } cases[] = {
        {"{'source_cluster': {}}, {'destination_cluster': {}}", "/", "source_cluster=here,destination_cluster=c;"},
        {"{'request_headers': {'header_name': 'X-U', 'descriptor_key': 'u'}}", "/\nx-u: 1\nx-u: 2", "u=1;"},
        {"{'generic_key': {'descriptor_value': 'v'}}, {'request_headers': {'header_name': 'x', 'descriptor_key': 'u'}}",
         "/", ""},
        {"{'generic_key': {'descriptor_value': 'v', 'descriptor_key': 'k'}}, {'request_headers': {'header_name': 'x', "
         "'descriptor_key': 'u', 'skip_if_absent': true}}",
         "/", "k=v;"},
        {"{'query_parameters': {'query_parameter_name': 'q', 'descriptor_key': 'p'}}", "/?a=1&q=x%20y&q=2", "p=x y;"},
        {"{'query_parameters': {'query_parameter_name': 'q'}}", "/?q=1", "query_param=1;"},
        {"{'query_parameters': {'query_parameter_name': 'q'}}", "/?a=1", ""},
        {"{'remote_address': {}}", "/", "remote_address=10.1.2.3;"},
        {"{'masked_remote_address': {}}", "/", "masked_remote_address=10.1.2.3/32;"},
        {"{'masked_remote_address': {'v4_prefix_mask_len': 20}}", "/", "masked_remote_address=10.1.0.0/20;"},
        {"{'masked_remote_address': {'v4_prefix_mask_len': 0}}", "/", "masked_remote_address=0.0.0.0/0;"},
        {"{'generic_key': {'descriptor_value': 'v'}}", "/", "generic_key=v;"},
        {"{'generic_key': {'descriptor_value': '%REQ(x)%', 'default_value': 'none'}}", "/\nx: 1",
         "generic_key=%REQ(x)%;"},
        {"{'header_value_match': {'descriptor_value': 'v', 'headers': [{'name': 'x'}]}}", "/\nx: 1", "header_match=v;"},
        {"{'header_value_match': {'descriptor_value': 'v', 'headers': [{'name': 'x'}]}}", "/", ""},
        {"{'header_value_match': {'descriptor_value': 'v', 'expect_match': false, 'headers': [{'name': 'x'}]}}", "/",
         "header_match=v;"},
        {"{'query_parameter_value_match': {'descriptor_value': 'v', 'query_parameters': [{'name': 'q', 'string_match': "
         "{'exact': 'a b'}}]}}",
         "/?q=a%20b", "query_match=v;"},
        {"{'query_parameter_value_match': {'descriptor_value': 'v', 'expect_match': false, 'descriptor_key': 'k', "
         "'query_parameters': [{'name': 'q'}]}}",
         "/?q", ""},
        {"{'metadata': {'descriptor_key': 'm', 'metadata_key': {'key': 'ns', 'path': [{'key': 'user'}, {'key': "
         "'name'}]}}}",
         "/", "m=ann;"},
        {"{'metadata': {'descriptor_key': 'm', 'default_value': 'd', 'metadata_key': {'key': 'ns', 'path': [{'key': "
         "'user'}, {'key': 'empty'}]}}}",
         "/", "m=d;"},
        {"{'metadata': {'descriptor_key': 'm', 'metadata_key': {'key': 'ns', 'path': [{'key': 'user'}, {'key': "
         "'empty'}]}}}",
         "/", ""},
        {"{'metadata': {'descriptor_key': 'm', 'skip_if_absent': true, 'metadata_key': {'key': 'ns', 'path': [{'key': "
         "'x'}]}}}",
         "/", ";"},
        {"{'metadata': {'descriptor_key': 'm', 'source': 'ROUTE_ENTRY', 'metadata_key': {'key': 'own', 'path': "
         "[{'key': "
         "'k'}]}}}",
         "/", "m=routes;"},
        {"{'remote_address_match': {'descriptor_value': 'v', 'address_matcher': {'ranges': [{'address_prefix': "
         "'10.0.0.0', "
         "'prefix_len': 8}]}}}",
         "/", "remote_address_match=v;"},
        {"{'remote_address_match': {'descriptor_value': 'v', 'address_matcher': {'invert_match': true, 'ranges': "
         "[{'address_prefix': '10.0.0.0', 'prefix_len': 8}]}}}",
         "/", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char route[1024];
        fixture f;
        snprintf(route, sizeof route,
                 "{'match': {'prefix': '/'}, 'metadata': {'filter_metadata': {'own': {'k': 'routes'}}}, 'route': "
                 "{'cluster': "
                 "'c', 'rate_limits': [{'actions': [%s]}]}}",
                 cases[i].actions);
        if (fixture_routes(&f, route) != MC_OK) {
            fprintf(stderr, "%s: %s\n", f.error.path, f.error.reason);
        }
        CHECK(f.table != NULL);
        CHECK_SLICE(mc_slice_cstr(described(&f, cases[i].request, 0)), cases[i].expected);
        fixture_fini(&f);
    }
}

TEST(rate_limits_of_stages_and_levels) {
    fixture f;
#define LIMIT(extra, value) "{" extra "'actions': [{'generic_key': {'descriptor_value': '" value "'}}]}"
    CHECK_INT(
        with_action(&f, "'rate_limits': [" LIMIT("", "host") "],",
                    "'rate_limits': [" LIMIT("", "own") "," LIMIT("'stage': 1,", "one") "," LIMIT(
                        "'limit': {'dynamic_metadata': {'metadata_key': {'key': 'ns', 'path': [{'key': 'limit'}]}}}, "
                        "'hits_addend': {'number': '3'},",
                        "more") "," LIMIT("'apply_on_stream_done': true,", "late") "]"),
        MC_OK);
    CHECK_SLICE(mc_slice_cstr(described(&f, "/", 0)), "generic_key=own;generic_key=more 7/3 +3;");
    CHECK_SLICE(mc_slice_cstr(described(&f, "/", 1)), "generic_key=one;");
    fixture_fini(&f);
    CHECK_INT(with_action(&f, "'rate_limits': [" LIMIT("", "host") "],", "'timeout': '1s'"), MC_OK);
    CHECK_SLICE(mc_slice_cstr(described(&f, "/", 0)), "generic_key=host;");
    fixture_fini(&f);
    CHECK_INT(with_action(&f, "'rate_limits': [" LIMIT("", "host") "],",
                          "'include_vh_rate_limits': true, 'rate_limits': [" LIMIT("", "own") "]"),
              MC_OK);
    CHECK_SLICE(mc_slice_cstr(described(&f, "/", 0)), "generic_key=own;generic_key=host;");
    fixture_fini(&f);
}

TEST(policies_that_are_refused) {
    static const struct {
        const char *action, *path;
    } cases[] = {
        {"'request_mirror_policies': [{}]", "request_mirror_policies[0]"},
        {"'request_mirror_policies': [{'cluster': 'a', 'cluster_header': 'b'}]", "request_mirror_policies[0]"},
        {"'internal_redirect_policy': {'response_headers_to_copy': [':path']}",
         "internal_redirect_policy.response_headers_to_copy"},
        {"'internal_redirect_policy': {'predicates': [{'name': 'x', 'typed_config': {'@type': 'x/y'}}]}",
         "internal_redirect_policy.predicates[0].typed_config"},
        {"'hedge_policy': {'initial_requests': 0}", "hedge_policy.initial_requests"},
        {"'retry_policy': {'retry_options_predicates': [{}]}", "retry_policy.retry_options_predicates"},
        {"'retry_policy': {'retry_priority': {'name': 'x'}}", "retry_policy.retry_priority"},
        {"'retry_policy': {'rate_limited_retry_back_off': {}}",
         "retry_policy.rate_limited_retry_back_off.reset_headers"},
        {"'rate_limits': [{'stage': 11, 'actions': [{'remote_address': {}}]}]", "rate_limits[0].stage"},
        {"'rate_limits': [{}]", "rate_limits[0].actions"},
        {"'rate_limits': [{'actions': [{'extension': {'name': 'x'}}]}]",
         "rate_limits[0].actions[0].extension.typed_config"},
        {"'rate_limits': [{'actions': [{'generic_key': {}}]}]",
         "rate_limits[0].actions[0].generic_key.descriptor_value"},
        {"'early_data_policy': {'name': 'x', 'typed_config': {'@type': 'x/y'}}", "early_data_policy.typed_config"},
        {"'upgrade_configs': [{'upgrade_type': 'websocket', 'connect_config': {}}]",
         "upgrade_configs[0].connect_config"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture f;
        char path[256];
        CHECK_INT(with_action(&f, "", cases[i].action), MC_EINVAL);
        snprintf(path, sizeof path, "virtual_hosts[0].routes[0].route.%s", cases[i].path);
        CHECK_SLICE(mc_slice_cstr(f.error.path), path);
        fixture_fini(&f);
    }
}
