/* Paths, hosts, queries, cookies and dates as the connection manager and the route matchers see them. Pure functions. */
#ifndef MC_HTTP_URI_H
#define MC_HTTP_URI_H

#include "base/arena.h"

typedef struct mc_uri_path_options {
    bool normalize;              /* HC-32 */
    bool merge_slashes;          /* HC-32 */
    bool unescape_slashes;       /* HC-31: %2F, %5C */
    bool reject_escaped_slashes; /* HC-31 */
} mc_uri_path_options;

/* HC-30 to HC-32 on a request target's path and query. MC_EINVAL: refused (400). *had_escaped tells whether an escaped slash was
 * found. *out is `path` itself when nothing changed, else in the arena. */
MC_MUST_CHECK mc_status mc_uri_path_normalize(mc_slice path, const mc_uri_path_options *options, mc_arena *arena, mc_slice *out,
                                              bool *had_escaped);

typedef struct mc_uri_host_options {
    bool strip_trailing_dot; /* HC-33 */
    bool strip_any_port;
    uint16_t strip_port; /* this very port; 0: none */
} mc_uri_host_options;

MC_MUST_CHECK mc_status mc_uri_host_normalize(mc_slice host, const mc_uri_host_options *options, mc_arena *arena, mc_slice *out);
/* Index of the ':' before the port, or host.n (HC-34). */
size_t mc_uri_port_start(mc_slice host);
/* Characters an authority may have. */
bool mc_uri_authority_valid(mc_slice authority);
/* HC-10: a relative reference, or an absolute http(s) URL without fragment and userinfo. */
bool mc_uri_referer_valid(mc_slice referer);

/* First value of the key in the query of `path`, undecoded; p == NULL: absent; "" without '=' (RT-13). */
mc_slice mc_query_get(mc_slice path, mc_slice key);
/* IMF-fixdate (RFC 9110 section 5.6.7) of unix seconds; returns the length, 29. */
size_t mc_http_date(int64_t unix_seconds, char out[32]);

#endif
