/* Route and RouteMatch. */
#include "route/compile.h"
#include "route/substitute.h"
#include "route/template.h"

/* RT-6: without '?' and '#', not ending in '/', at least two bytes. */
static bool is_separated_prefix(mc_slice text) {
    return text.n >= 2 && text.p[text.n - 1] != '/' && mc_slice_find(text, '?') == text.n &&
           mc_slice_find(text, '#') == text.n;
}

/* The limit on the program's size holds for the whole expression. */
static mc_status compile_regex(mc_compile *c, const mc_value *regex, mc_path_pattern *out) {
    const mc_regex *whole;
    mc_slice text = MC_SLICE_NONE;
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    mc_status status = mc_regex_read(&arena, regex, &whole, c->error);
    mc_arena_fini(&arena);
    MC_TRY(status);
    MC_TRY(mc_value_read_string(regex, "regex", &text, c->error));
    return mc_path_expression(c, text, out);
}

static mc_status compile_other_path(mc_compile *c, const mc_value *match, mc_path_pattern *out) {
    const mc_value *regex, *policy;
    *out = (mc_path_pattern){.kind = MC_PATH_ANY};
    MC_TRY(mc_value_read_object(match, "safe_regex", &regex, c->error));
    if (regex != NULL) {
        out->kind = MC_PATH_REGEX;
        return mc_error_in(compile_regex(c, regex, out), c->error, "safe_regex");
    }
    MC_TRY(mc_value_read_object(match, "path_match_policy", &policy, c->error));
    if (policy != NULL) {
        out->kind = MC_PATH_TEMPLATE;
        return mc_error_in(mc_template_compile(c, policy, out), c->error, "path_match_policy");
    }
    if (mc_value_get(match, "connect_matcher") == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "",
                            "must have one of prefix, path, safe_regex, connect_matcher, path_separated_prefix, "
                            "path_match_policy");
    }
    return MC_OK;
}

static mc_status compile_path(mc_compile *c, const mc_value *match, mc_path_pattern *out) {
    static const struct {
        const char *field;
        mc_path_kind kind;
    } specifiers[] = {
        {"prefix", MC_PATH_PREFIX}, {"path", MC_PATH_EXACT}, {"path_separated_prefix", MC_PATH_SEPARATED_PREFIX}};
    bool case_sensitive = true;
    MC_TRY(mc_value_read_bool(match, "case_sensitive", &case_sensitive, c->error));
    for (size_t i = 0; i < 3; i++) {
        mc_slice text = MC_SLICE_NONE;
        if (mc_value_get(match, specifiers[i].field) == NULL) {
            continue;
        }
        MC_TRY(mc_value_read_string(match, specifiers[i].field, &text, c->error));
        if (specifiers[i].kind == MC_PATH_SEPARATED_PREFIX && !is_separated_prefix(text)) {
            return mc_error_set(c->error, MC_EINVAL, specifiers[i].field,
                                "must be at least two characters without '?' and '#' that do not end in '/'");
        }
        *out = (mc_path_pattern){.kind = specifiers[i].kind, .fold = !case_sensitive};
        return case_sensitive ? mc_arena_dup(c->arena, text, &out->text) : mc_dup_lower(c->arena, text, &out->text);
    }
    return compile_other_path(c, match, out);
}

typedef mc_status (*matcher_compile)(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error);

/* Fields of RouteMatch that are matchers, cheapest first: the order decides nothing but the time. */
static const struct {
    const char *field;
    bool repeated;
    bool reads_info;
    matcher_compile compile;
} kinds[] = {
    {"connect_matcher", false, false, mc_match_connect_compile},
    {"runtime_fraction", false, false, mc_match_fraction_compile},
    {"grpc", false, false, mc_match_grpc_compile},
    {"tls_context", false, true, mc_match_tls_compile},
    {"headers", true, false, mc_match_header_compile},
    {"query_parameters", true, false, mc_match_query_compile},
    {"cookies", true, false, mc_match_cookie_compile},
    {"dynamic_metadata", true, true, mc_match_metadata_compile},
    {"filter_state", true, true, mc_match_filter_state_compile},
};
enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

static mc_status compile_matchers(mc_compile *c, const mc_value *match, mc_matchers *out) {
    const mc_value *values[KIND_COUNT];
    size_t counts[KIND_COUNT], total = 0;
    for (int k = 0; k < KIND_COUNT; k++) {
        if (kinds[k].repeated) {
            MC_TRY(mc_value_read_list(match, kinds[k].field, &values[k], &counts[k], c->error));
        } else {
            MC_TRY(mc_value_read_object(match, kinds[k].field, &values[k], c->error));
            counts[k] = values[k] != NULL;
        }
        total += counts[k];
        c->table->reads_info = c->table->reads_info || (counts[k] > 0 && kinds[k].reads_info);
    }
    *out = (mc_matchers){NULL, 0};
    if (total == 0) {
        return MC_OK;
    }
    mc_matcher *items = mc_arena_alloc(c->arena, total * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    for (int k = 0; k < KIND_COUNT; k++) {
        for (size_t i = 0; i < counts[k]; i++) {
            mc_status status = kinds[k].compile(c->arena, &values[k][i], &items[out->count++], c->error);
            MC_TRY(kinds[k].repeated ? mc_error_in(status, c->error, "%s[%zu]", kinds[k].field, i)
                                     : mc_error_in(status, c->error, "%s", kinds[k].field));
        }
    }
    out->items = items;
    return MC_OK;
}

static mc_status compile_match(mc_compile *c, const mc_value *match, mc_route_entry *out) {
    static const char *const known[] = {"prefix",
                                        "path",
                                        "path_separated_prefix",
                                        "safe_regex",
                                        "path_match_policy",
                                        "connect_matcher",
                                        "case_sensitive",
                                        "headers",
                                        "runtime_fraction",
                                        "query_parameters",
                                        "grpc",
                                        "tls_context",
                                        "dynamic_metadata",
                                        "filter_state",
                                        "cookies",
                                        NULL};
    MC_TRY(mc_refuse_unknown(match, known, c->error));
    MC_TRY(compile_path(c, match, &out->pattern));
    return compile_matchers(c, match, &out->matchers);
}

static mc_status compile_action(mc_compile *c, const mc_value *value, mc_route_entry *out) {
    const mc_value *sub;
    MC_TRY(mc_value_read_object(value, "route", &sub, c->error));
    if (sub != NULL) {
        return mc_error_in(mc_compile_route_action(c, sub, out), c->error, "route");
    }
    MC_TRY(mc_value_read_object(value, "redirect", &sub, c->error));
    if (sub != NULL) {
        return mc_error_in(mc_compile_redirect(c, sub, out), c->error, "redirect");
    }
    MC_TRY(mc_value_read_object(value, "direct_response", &sub, c->error));
    if (sub != NULL) {
        return mc_error_in(mc_compile_direct_response(c, sub, &out->route), c->error, "direct_response");
    }
    /* These are for other proxies: here a request that meets them finds no cluster. */
    if (mc_value_get(value, "filter_action") != NULL || mc_value_get(value, "non_forwarding_action") != NULL) {
        return mc_compile_route_action(c, NULL, out);
    }
    return mc_error_set(c->error, MC_EINVAL, "", "must have one of route, redirect, direct_response");
}

mc_status mc_compile_route(mc_compile *c, const mc_value *value, const mc_virtual_host *host,
                           const mc_buffer_limits *host_limits, mc_route_entry *out) {
    const mc_value *match;
    mc_route *route = &out->route;
    route->virtual_host = host;
    route->websocket = -1;
    route->cluster_id = MC_NO_CLUSTER;
    MC_TRY(mc_read_text(c->arena, value, "name", &route->name, c->error));
    MC_TRY(mc_value_read_object(value, "match", &match, c->error));
    if (match == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "match", "is required");
    }
    MC_TRY(mc_error_in(compile_match(c, match, out), c->error, "match"));
    MC_TRY(mc_compile_filter_configs(c, value, host->filters, &route->filter_configs, &route->filters));
    MC_TRY(mc_compile_about(c, value, host_limits, route));
    MC_TRY(compile_action(c, value, out));
    if (route->retry_policy == NULL) {
        route->retry_policy = host->retry_policy;
    }
    MC_TRY(mc_compile_mutations(c, value, MC_HEADERS_OF_REQUEST, &route->request_mutations));
    return mc_compile_mutations(c, value, MC_HEADERS_OF_RESPONSE, &route->response_mutations);
}
