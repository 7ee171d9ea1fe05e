/* The filters of a try, between the router and the connection (FL-1, upstream_http_filters): what they do to the request is done
 * anew for each try, what they do to a response comes before the router looks at it. The last of them stands for the codec. */
#ifndef MC_PROXY_UPSTREAM_CHAIN_H
#define MC_PROXY_UPSTREAM_CHAIN_H

#include "proxy/stream.h"

extern const mc_filter_type mc_upstream_codec_filter;

/* False: the stream is over. */
MC_MUST_CHECK bool mc_upstream_chain_headers(mc_stream *stream, mc_direction direction, mc_headers *headers,
                                             bool end_stream);
/* What the filters change of a request, for a copy of it: those that may answer are left out. */
MC_MUST_CHECK bool mc_upstream_chain_copy(mc_stream *stream, mc_headers *headers, bool end_stream);
MC_MUST_CHECK bool mc_upstream_chain_trailers(mc_stream *stream, mc_direction direction, mc_headers *trailers);

#endif
