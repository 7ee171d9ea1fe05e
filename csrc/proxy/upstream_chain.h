/* The filters of a try, between the router and the connection: those of the cluster, else the router's (FL-1,
 * upstream_http_filters). Each try runs them anew. What they do to a response comes before the router looks at it; the last of them
 * is the codec, which writes what reaches it. */
#ifndef MC_PROXY_UPSTREAM_CHAIN_H
#define MC_PROXY_UPSTREAM_CHAIN_H

#include "proxy/router_internal.h"

extern const mc_filter_type mc_upstream_codec_filter;

/* Those that are asked as soon as a host is chosen (MC_TRY_HOST). False: the request was answered. */
MC_MUST_CHECK bool mc_try_admitted(mc_router *r);
/* Makes t->filters, when there are any. */
MC_MUST_CHECK mc_status mc_try_open_filters(mc_try *t);
/* What a try brought passes; false: the stream is over. */
MC_MUST_CHECK bool mc_try_filter_headers(mc_try *t, bool end_stream);
MC_MUST_CHECK bool mc_try_filter_trailers(mc_try *t);
/* What the filters of a cluster change of a request, for a copy of it. */
MC_MUST_CHECK bool mc_upstream_chain_copy(const mc_router *r, const mc_cluster *cluster, mc_headers *headers,
                                          bool end_stream);

#endif
