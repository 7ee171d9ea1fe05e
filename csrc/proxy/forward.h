/* What the dynamic forward proxy's filter and the router share (rule CL-17): which name a request goes to, and how it is told that
 * the name has no address. */
#ifndef MC_PROXY_FORWARD_H
#define MC_PROXY_FORWARD_H

#include "proxy/stream.h"

/* The key of a request's name; empty: it names none. With `by_state` the objects envoy.upstream.dynamic_host and dynamic_port of
 * the filter state stand in for the Host header and the port. */
MC_MUST_CHECK mc_status mc_forward_key(mc_stream *stream, bool by_state, mc_slice *key);
/* A worker's view of a cache; NULL: there was no memory for it. */
mc_names *mc_forward_names(const mc_stream *stream, mc_slice cache);
/* "dns_resolution_failure{why}" in the stream's arena, without spaces. NULL: out of memory. */
const char *mc_forward_details(mc_stream *stream, mc_slice why);

#endif
