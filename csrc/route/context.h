/* Context: a stream info out of a value tree, for who has no live stream (the Python primitives).
 *
 * Keys are the names of the format operators in lower case ("upstream_cluster", "response_code", "downstream_remote_address");
 * the table stands in docs/access-logs.md. Header maps are the caller's to fill. */
#ifndef MC_ROUTE_CONTEXT_H
#define MC_ROUTE_CONTEXT_H

#include "http/stream_info.h"

/* Adds what `object` says to *info, which must be initialised; borrows from `object` and `arena`. MC_EINVAL: error->path
 * names the key. */
MC_MUST_CHECK mc_status mc_stream_info_read(mc_arena *arena, const mc_value *object, mc_stream_info *info,
                                            mc_error *error);
/* The i-th operator, in capitals, whose value a context may hold; NULL behind the last. */
const char *mc_stream_info_operator(size_t i);
/* "1.2.3.4:80", "[::1]:80", or an address without port. */
MC_MUST_CHECK mc_status mc_address_read(mc_slice text, mc_address *out);

#endif
