/* Host rewriting, and the order in which a request is finalised (RT-33 to RT-35, RT-40). */
#include "route/compile.h"
#include "route/mutate.h"

mc_status mc_compile_rewrite(mc_compile *c, const mc_value *value, mc_route_entry *out) {
    mc_rewrite rewrite = {.host_literal = MC_SLICE_NONE};
    mc_slice header = MC_SLICE_NONE, format = MC_SLICE_NONE;
    MC_TRY(mc_compile_path_rewrite(c, value, &out->pattern, &rewrite.path));
    if (rewrite.path.replacement.n > 0 && out->pattern.kind == MC_PATH_TEMPLATE) {
        return mc_error_set(c->error, MC_EINVAL, "prefix_rewrite", "must not be set together with a URI template");
    }
    MC_TRY(mc_read_text(c->arena, value, "host_rewrite_literal", &rewrite.host_literal, c->error));
    MC_TRY(mc_value_read_string(value, "host_rewrite_header", &header, c->error));
    MC_TRY(mc_dup_lower(c->arena, header, &rewrite.host_header));
    MC_TRY(mc_substitution_read(c->arena, value, "host_rewrite_path_regex", &rewrite.host_regex, c->error));
    MC_TRY(mc_value_read_string(value, "host_rewrite", &format, c->error));
    if (format.n > 0) {
        c->table->formats = true;
        MC_TRY(mc_error_in(mc_format_compile_text(c->arena, format, false, &rewrite.host_format, c->error), c->error,
                           "host_rewrite"));
    }
    MC_TRY(mc_value_read_bool(value, "auto_host_rewrite", &out->route.auto_host_rewrite, c->error));
    MC_TRY(mc_value_read_bool(value, "append_x_forwarded_host", &out->route.append_x_forwarded_host, c->error));
    if (!rewrite.path.any && rewrite.host_literal.n + rewrite.host_header.n == 0 && rewrite.host_regex.regex == NULL &&
        rewrite.host_format == NULL) {
        return MC_OK;
    }
    mc_rewrite *kept = mc_arena_alloc(c->arena, sizeof *kept);
    if (kept == NULL) {
        return MC_ENOMEM;
    }
    *kept = rewrite;
    out->rewrite = kept;
    return MC_OK;
}

/* --- requests --- */

/* Whether `value` is the last element of the comma list, as it stands: blanks count, empty elements do not. */
static bool is_last_element(mc_slice list, mc_slice value) {
    while (list.n > 0 && list.p[list.n - 1] == ',') {
        list.n--;
    }
    size_t start = list.n;
    while (start > 0 && list.p[start - 1] != ',') {
        start--;
    }
    return mc_slice_eq(mc_slice_from(list, start), value);
}

mc_status mc_route_rewrite_host(const mc_route *route, mc_headers *headers, mc_slice host,
                                bool suppress_envoy_headers) {
    mc_slice old = mc_headers_get_known(headers, MC_H_AUTHORITY);
    if (host.n == 0) {
        return MC_OK;
    }
    if (old.n > 0 && !suppress_envoy_headers) {
        MC_TRY(mc_headers_set_known(headers, MC_H_X_ENVOY_ORIGINAL_HOST, old));
    }
    if (old.n > 0 && route->append_x_forwarded_host) {
        mc_slice forwarded = mc_headers_get_known(headers, MC_H_X_FORWARDED_HOST);
        if (forwarded.n == 0 || !is_last_element(forwarded, old)) {
            MC_TRY(mc_headers_append_value(headers, MC_H_X_FORWARDED_HOST, MC_SLICE(","), old));
        }
    }
    mc_headers_doubt(headers, host);
    return mc_headers_set_known(headers, MC_H_AUTHORITY, host);
}

/* The host that the route's rewrite makes of a request; empty: it stays. */
static mc_status rewritten_host(const mc_rewrite *rewrite, const mc_route_request *request, const mc_headers *headers,
                                mc_slice *out) {
    *out = rewrite->host_literal;
    if (rewrite->host_header.n > 0) {
        *out = mc_headers_get(headers, rewrite->host_header);
    } else if (MC_UNLIKELY(rewrite->host_regex.regex != NULL)) {
        mc_slice path = mc_headers_get_known(headers, MC_H_PATH);
        path = mc_slice_until(mc_slice_until(path, mc_slice_find(path, '?')), mc_slice_find(path, '#'));
        return mc_substitution_apply(&rewrite->host_regex, path, request->arena, out);
    } else if (MC_UNLIKELY(rewrite->host_format != NULL)) {
        mc_stream_info info;
        mc_route_scene(request, headers, NULL, &info);
        return mc_format_run_arena(rewrite->host_format, &info, request->arena, out);
    }
    return MC_OK;
}

/* The headers of one direction at the levels of a match. */
typedef struct levels {
    const mc_header_mutations *weighted, *route, *host, *outer;
    mc_slice authority; /* of the weighted cluster; empty: none */
} levels;

/* The weighted cluster first, its authority behind its headers (RT-22); then from the route outwards, or inwards with
 * most_specific_header_mutations_wins. */
static mc_status mutate(const mc_route_table *table, const levels *level, mc_headers *headers,
                        const mc_stream_info *info) {
    if (MC_LIKELY(level->weighted == NULL && level->outer == NULL && level->host == NULL && level->route == NULL &&
                  level->authority.n == 0)) {
        return MC_OK;
    }
    MC_TRY(mc_header_mutations_apply(level->weighted, headers, info));
    if (level->authority.n > 0) {
        mc_headers_doubt(headers, level->authority);
        MC_TRY(mc_headers_set_known(headers, MC_H_AUTHORITY, level->authority));
    }
    MC_TRY(mc_header_mutations_apply(table->most_specific_wins ? level->outer : level->route, headers, info));
    MC_TRY(mc_header_mutations_apply(level->host, headers, info));
    return mc_header_mutations_apply(table->most_specific_wins ? level->route : level->outer, headers, info);
}

bool mc_route_table_formats(const mc_route_table *table) { return table->formats; }

static mc_status mutate_request(const mc_route_table *table, const mc_route_match *match,
                                const mc_route_request *request, mc_headers *headers) {
    const mc_weighted_cluster *weighted = match->weighted;
    const levels level = {weighted == NULL ? NULL : weighted->request_mutations, match->route->request_mutations,
                          match->virtual_host->request_mutations, table->request_mutations,
                          weighted == NULL ? MC_SLICE_NONE : weighted->host_rewrite_literal};
    if (MC_LIKELY(!table->formats)) {
        return mutate(table, &level, headers, NULL);
    }
    mc_stream_info info;
    mc_route_scene(request, headers, NULL, &info);
    return mutate(table, &level, headers, &info);
}

mc_status mc_route_finalize_response(const mc_route_table *table, const mc_route_match *match,
                                     const mc_route_request *request, mc_headers *headers) {
    if (match->route == NULL) {
        return MC_OK;
    }
    const mc_weighted_cluster *weighted = match->weighted;
    const levels level = {weighted == NULL ? NULL : weighted->response_mutations, match->route->response_mutations,
                          match->virtual_host->response_mutations, table->response_mutations, MC_SLICE_NONE};
    if (MC_LIKELY(!table->formats)) {
        return mutate(table, &level, headers, NULL);
    }
    mc_stream_info info;
    mc_route_scene(request, request == NULL ? NULL : request->headers, headers, &info);
    return mutate(table, &level, headers, &info);
}

mc_status mc_route_finalize_request(const mc_route_table *table, const mc_route_match *match,
                                    const mc_route_request *request, mc_headers *headers, bool suppress_envoy_headers) {
    const mc_route *route = match->route;
    if (route == NULL || route->action == MC_ROUTE_DIRECT_RESPONSE) { /* RT-32 */
        return MC_OK;
    }
    MC_TRY(mutate_request(table, match, request, headers));
    const mc_rewrite *rewrite = mc_route_entry_of(route)->rewrite;
    if (rewrite == NULL) {
        return MC_OK;
    }
    mc_slice host;
    MC_TRY(rewritten_host(rewrite, request, headers, &host));
    MC_TRY(mc_route_rewrite_host(route, headers, host, suppress_envoy_headers));
    return mc_path_rewrite_headers(&rewrite->path, request, headers, suppress_envoy_headers);
}
