#include "route/path_rewrite.h"

#include "route/template.h"

static size_t path_end(mc_slice path) {
    for (size_t i = 0; i < path.n; i++) {
        if (path.p[i] == '?' || path.p[i] == '#') {
            return i;
        }
    }
    return path.n;
}

/* At most one form; an empty text is none. */
static mc_status check_one(const mc_value *value, mc_error *error) {
    static const char *const forms[] = {"prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"};
    bool found = false;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const mc_value *form = mc_value_get(value, forms[i]);
        if (form == NULL || (form->kind == MC_STRING && form->string.n == 0)) {
            continue;
        }
        if (found) {
            return mc_error_set(error, MC_EINVAL, forms[i],
                                "must not be set together with another rewrite of the path");
        }
        found = true;
    }
    return MC_OK;
}

mc_status mc_compile_path_rewrite(mc_compile *c, const mc_value *value, const mc_path_pattern *pattern,
                                  mc_path_rewrite *out) {
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(check_one(value, c->error));
    /* A redirect takes as much from a path as its template is long. */
    out->matched = pattern->kind == MC_PATH_TEMPLATE ? pattern->template_length
                   : pattern->kind >= MC_PATH_ANY    ? SIZE_MAX
                                                     : pattern->text.n;
    MC_TRY(mc_read_text(c->arena, value, "prefix_rewrite", &out->replacement, c->error));
    MC_TRY(mc_substitution_read(c->arena, value, "regex_rewrite", &out->regex, c->error));
    MC_TRY(mc_template_rewrite_compile(c, value, pattern, &out->template));
    MC_TRY(mc_value_read_string(value, "path_rewrite", &text, c->error));
    if (text.n > 0) {
        c->table->formats = true;
        MC_TRY(mc_error_in(mc_format_compile_text(c->arena, text, true, &out->format, c->error), c->error,
                           "path_rewrite"));
    }
    out->any = out->replacement.n > 0 || out->regex.regex != NULL || out->template != NULL || out->format != NULL;
    return MC_OK;
}

void mc_route_scene(const mc_route_request *request, const mc_headers *request_headers, const mc_headers *response,
                    mc_stream_info *out) {
    if (request != NULL && request->info != NULL) {
        *out = *request->info;
    } else {
        mc_stream_info_init(out);
        out->downstream_remote = request == NULL ? NULL : request->remote;
        out->downstream_local = request == NULL ? NULL : request->local;
    }
    out->request = request_headers;
    out->response = response;
}

/* Of the path without its query. */
static mc_status rewrite_bare(const mc_path_rewrite *rewrite, mc_slice bare, const mc_route_request *request,
                              const mc_headers *headers, mc_slice *out) {
    if (rewrite->regex.regex != NULL) {
        return mc_substitution_apply(&rewrite->regex, bare, request->arena, out);
    }
    if (rewrite->template != NULL) {
        return mc_template_rewrite_apply(rewrite->template, bare, request->arena, out);
    }
    mc_stream_info info;
    mc_route_scene(request, headers, NULL, &info);
    return mc_format_run_arena(rewrite->format, &info, request->arena, out);
}

mc_status mc_path_rewrite_apply(const mc_path_rewrite *rewrite, mc_slice path, const mc_route_request *request,
                                const mc_headers *headers, mc_slice *out) {
    *out = MC_SLICE_NONE;
    if (!rewrite->any) {
        return MC_OK;
    }
    size_t end = path_end(path);
    mc_slice head = rewrite->replacement;
    if (head.n == 0) {
        MC_TRY(rewrite_bare(rewrite, mc_slice_until(path, end), request, headers, &head));
    } else if (rewrite->matched != SIZE_MAX) {
        end = rewrite->matched;
    }
    if (head.n == 0) {
        return MC_OK; /* nothing came of it */
    }
    const mc_slice parts[] = {head, mc_slice_from(path, end)};
    return mc_arena_concat(request->arena, parts, 2, out);
}

mc_status mc_path_rewrite_headers(const mc_path_rewrite *rewrite, const mc_route_request *request, mc_headers *headers,
                                  bool suppress_envoy_headers) {
    mc_slice old = mc_headers_get_known(headers, MC_H_PATH), new;
    if (old.p == NULL || !rewrite->any) {
        return MC_OK;
    }
    MC_TRY(mc_path_rewrite_apply(rewrite, old, request, headers, &new));
    if (new.p == NULL) {
        return MC_OK;
    }
    if (!suppress_envoy_headers) {
        MC_TRY(mc_headers_set_known(headers, MC_H_X_ENVOY_ORIGINAL_PATH, old));
    }
    mc_headers_doubt(headers, new);
    return mc_headers_set_known_ref(headers, MC_H_PATH, new);
}
