/* Redirects (RT-30, RT-31) and the redirect to TLS (RT-4). */
#include "http/uri.h"
#include "route/compile.h"

struct mc_redirect {
    uint16_t status;
    mc_slice scheme; /* empty: the request's */
    mc_slice host;
    mc_slice port; /* ":8080", or empty */
    mc_slice path; /* path_redirect */
    mc_path_rewrite rewrite;
    bool strip_query;
};

static const mc_name_value codes[] = {{"MOVED_PERMANENTLY", 301},  {"FOUND", 302},
                                      {"SEE_OTHER", 303},          {"TEMPORARY_REDIRECT", 307},
                                      {"PERMANENT_REDIRECT", 308}, {NULL, 0}};

static mc_status compile_authority(mc_compile *c, const mc_value *value, mc_redirect *redirect) {
    bool https = false;
    uint32_t port = 0;
    MC_TRY(mc_value_read_bool(value, "https_redirect", &https, c->error));
    MC_TRY(mc_read_text(c->arena, value, "scheme_redirect", &redirect->scheme, c->error));
    if (redirect->scheme.n == 0 && https) {
        redirect->scheme = MC_SLICE("https");
    }
    MC_TRY(mc_read_text(c->arena, value, "host_redirect", &redirect->host, c->error));
    MC_TRY(mc_value_read_u32(value, "port_redirect", &port, c->error));
    if (port != 0) {
        char text[24] = ":";
        return mc_arena_dup(c->arena, mc_slice_of(text, 1 + mc_format_u64(text + 1, port)), &redirect->port);
    }
    return MC_OK;
}

mc_status mc_compile_redirect(mc_compile *c, const mc_value *value, mc_route_entry *out) {
    static const char *const known[] = {"https_redirect",
                                        "scheme_redirect",
                                        "host_redirect",
                                        "port_redirect",
                                        "path_redirect",
                                        "prefix_rewrite",
                                        "response_code",
                                        "strip_query",
                                        "regex_rewrite",
                                        "path_rewrite",
                                        NULL};
    MC_TRY(mc_refuse_unknown(value, known, c->error));
    mc_redirect *redirect = mc_arena_zalloc(c->arena, sizeof *redirect);
    if (redirect == NULL) {
        return MC_ENOMEM;
    }
    uint64_t status = 301;
    MC_TRY(mc_read_enum(value, "response_code", codes, &status, c->error));
    redirect->status = (uint16_t)status;
    MC_TRY(compile_authority(c, value, redirect));
    MC_TRY(mc_read_text(c->arena, value, "path_redirect", &redirect->path, c->error));
    MC_TRY(mc_compile_path_rewrite(c, value, &out->pattern, &redirect->rewrite));
    if (redirect->path.n > 0 && redirect->rewrite.any) {
        return mc_error_set(c->error, MC_EINVAL, "path_redirect",
                            "must not be set together with a rewrite of the path");
    }
    MC_TRY(mc_value_read_bool(value, "strip_query", &redirect->strip_query, c->error));
    out->route.action = MC_ROUTE_REDIRECT;
    out->route.redirect = redirect;
    return MC_OK;
}

uint16_t mc_route_redirect_status(const mc_route_match *match) {
    return match->tls_redirect || match->route->redirect == NULL ? 301 : match->route->redirect->status;
}

/* The request's host, without its port where that would be wrong for the new scheme or port. */
static mc_slice request_host(const mc_headers *headers, mc_slice scheme, bool new_port) {
    mc_slice host = mc_headers_get_known(headers, MC_H_AUTHORITY);
    mc_slice forwarded = mc_headers_get_known(headers, MC_H_X_FORWARDED_PROTO);
    size_t colon = mc_uri_port_start(host);
    mc_slice port = mc_slice_from(host, colon);
    bool remove = new_port;
    if (!mc_slice_eq(scheme, forwarded)) {
        remove = remove || (mc_slice_ieq(forwarded, MC_SLICE("https")) && mc_slice_eq(port, MC_SLICE(":443"))) ||
                 (mc_slice_ieq(forwarded, MC_SLICE("http")) && mc_slice_eq(port, MC_SLICE(":80")));
    }
    return remove ? mc_slice_until(host, colon) : host;
}

/* What takes the place of the whole path: path_redirect, or what path_rewrite makes; empty: nothing. */
static mc_status whole_path(const mc_redirect *redirect, const mc_route_request *request, mc_slice *out) {
    mc_stream_info info;
    *out = redirect->path;
    if (redirect->rewrite.format == NULL) {
        return MC_OK;
    }
    mc_route_scene(request, request->headers, NULL, &info);
    return mc_format_run_arena(redirect->rewrite.format, &info, request->arena, out);
}

/* The new path with its query (RT-31): a whole one may bring its own. */
static mc_status redirect_path(const mc_redirect *redirect, mc_slice path, const mc_route_request *request,
                               mc_slice *out) {
    mc_slice whole;
    MC_TRY(whole_path(redirect, request, &whole));
    if (mc_slice_find(whole, '?') < whole.n) {
        *out = whole;
        return MC_OK;
    }
    const mc_slice query = mc_slice_from(path, mc_slice_find(path, '?'));
    if (whole.n > 0) {
        const mc_slice parts[] = {whole, redirect->strip_query ? MC_SLICE_NONE : query};
        return mc_arena_concat(request->arena, parts, 2, out);
    }
    *out = path;
    if (redirect->rewrite.format == NULL) {
        MC_TRY(mc_path_rewrite_apply(&redirect->rewrite, path, request, request->headers, out));
        *out = out->p == NULL ? path : *out;
    }
    *out = redirect->strip_query ? mc_slice_until(*out, mc_slice_find(*out, '?')) : *out;
    return MC_OK;
}

static mc_slice request_scheme(const mc_headers *headers) {
    mc_slice scheme = mc_headers_get_known(headers, MC_H_SCHEME);
    if (scheme.n == 0) {
        scheme = mc_headers_get_known(headers, MC_H_X_FORWARDED_PROTO);
    }
    return scheme.n == 0 ? MC_SLICE("http") : scheme;
}

mc_status mc_route_redirect_rewrite(const mc_route_match *match, const mc_route_request *request, mc_headers *headers,
                                    bool suppress_envoy_headers) {
    const mc_redirect *redirect = match->tls_redirect ? NULL : match->route->redirect;
    return redirect == NULL || redirect->rewrite.format != NULL
               ? MC_OK
               : mc_path_rewrite_headers(&redirect->rewrite, request, headers, suppress_envoy_headers);
}

mc_status mc_route_redirect_location(const mc_route_match *match, const mc_route_request *request, mc_slice *out) {
    const mc_headers *headers = request->headers;
    mc_slice path = mc_headers_get_known(headers, MC_H_PATH);
    if (match->tls_redirect) {
        const mc_slice parts[] = {MC_SLICE("https://"), mc_headers_get_known(headers, MC_H_AUTHORITY), path};
        return mc_arena_concat(request->arena, parts, 3, out);
    }
    static const mc_redirect here;
    const mc_redirect *redirect = match->route->redirect == NULL ? &here : match->route->redirect;
    mc_slice scheme = redirect->scheme.n > 0 ? redirect->scheme : request_scheme(headers);
    mc_slice host = redirect->host.n > 0 ? redirect->host : request_host(headers, scheme, redirect->port.n > 0);
    MC_TRY(redirect_path(redirect, path, request, &path));
    mc_slice slash = path.n > 0 && path.p[0] == '/' ? MC_SLICE_NONE : MC_SLICE("/");
    const mc_slice parts[] = {scheme, MC_SLICE("://"), host, redirect->port, slash, path};
    return mc_arena_concat(request->arena, parts, 6, out);
}
