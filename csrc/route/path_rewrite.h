/* How a path is rewritten, on its way upstream or in a redirect (RT-31, RT-33): by prefix, regular expression, URI template or
 * format, one of them. */
#ifndef MC_ROUTE_PATH_REWRITE_H
#define MC_ROUTE_PATH_REWRITE_H

#include "route/format.h"
#include "route/path_index.h"
#include "route/route.h"
#include "route/substitute.h"

typedef struct mc_path_rewrite {
    bool any;             /* false: the path stays */
    mc_slice replacement; /* prefix_rewrite; empty: another form */
    size_t matched;       /* bytes it replaces; SIZE_MAX: the whole path without query */
    mc_substitution regex;
    const struct mc_template_rewrite *template;
    const mc_format *format; /* path_rewrite */
} mc_path_rewrite;

/* `value` is a RouteAction or RedirectAction. */
MC_MUST_CHECK mc_status mc_compile_path_rewrite(mc_compile *c, const mc_value *value, const mc_path_pattern *pattern,
                                                mc_path_rewrite *out);
/* The new :path in the request's arena; p == NULL when nothing is rewritten. */
MC_MUST_CHECK mc_status mc_path_rewrite_apply(const mc_path_rewrite *rewrite, mc_slice path,
                                              const mc_route_request *request, const mc_headers *headers,
                                              mc_slice *out);
/* Puts it in place, with the old path in x-envoy-original-path unless suppressed. */
MC_MUST_CHECK mc_status mc_path_rewrite_headers(const mc_path_rewrite *rewrite, const mc_route_request *request,
                                                mc_headers *headers, bool suppress_envoy_headers);
/* What formats read: all that is known, with the header maps as they are now. */
void mc_route_scene(const mc_route_request *request, const mc_headers *request_headers, const mc_headers *response,
                    mc_stream_info *out);

#endif
