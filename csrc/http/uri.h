/* Paths, hosts, queries, cookies and dates as the connection manager and the route matchers see them. Pure functions. */
#ifndef MC_HTTP_URI_H
#define MC_HTTP_URI_H

#include "http/headers.h"

typedef struct mc_uri_path_options {
    bool normalize;              /* HC-32 */
    bool merge_slashes;          /* HC-32 */
    bool unescape_slashes;       /* HC-31: %2F, %5C */
    bool reject_escaped_slashes; /* HC-31 */
} mc_uri_path_options;

/* HC-30 to HC-32 on a request target's path and query. MC_EINVAL: refused (400). *had_escaped tells whether an escaped slash was
 * found. *out is `path` itself when nothing changed, else in the arena. */
MC_MUST_CHECK mc_status mc_uri_path_normalize(mc_slice path, const mc_uri_path_options *options, mc_arena *arena,
                                              mc_slice *out, bool *had_escaped);

typedef struct mc_uri_host_options {
    bool strip_trailing_dot; /* HC-33 */
    bool strip_any_port;
    uint16_t strip_port; /* this very port; 0: none */
} mc_uri_host_options;

MC_MUST_CHECK mc_status mc_uri_host_normalize(mc_slice host, const mc_uri_host_options *options, mc_arena *arena,
                                              mc_slice *out);
/* Index of the ':' before the port, or host.n (HC-34). */
size_t mc_uri_port_start(mc_slice host);
/* Characters an authority may have. */
bool mc_uri_authority_valid(mc_slice authority);
/* HC-10: a relative reference, or an absolute http(s) URL without fragment and userinfo. */
bool mc_uri_referer_valid(mc_slice referer);

/* An absolute URL, cut up: scheme://[userinfo@]authority[path][?query][#fragment]. Slices of the input. */
typedef struct mc_uri_absolute {
    mc_slice scheme;
    mc_slice authority; /* host and port, without userinfo */
    mc_slice path;      /* from the first of '/' and '?' on; empty when there is none */
    bool has_userinfo;
} mc_uri_absolute;

/* MC_EINVAL: no scheme, an empty host, characters an authority cannot have, an unclosed '[', or a port outside 1..65535. As Envoy,
 * a fragment must not follow the authority at once. */
MC_MUST_CHECK mc_status mc_uri_parse_absolute(mc_slice url, mc_uri_absolute *out);
/* host [':' port], as above; with `need_port` only host ':' port (the target of CONNECT). */
bool mc_uri_authority_sound(mc_slice authority, bool need_port);
/* Length of the "scheme" in front of "://", 0 when there is none. */
size_t mc_uri_scheme_length(mc_slice url);

/* First value of a query parameter as it stands in the query (the part after '?'), undecoded, "" without '='; false when
 * absent (RT-13). */
bool mc_query_get(mc_slice query, mc_slice name, mc_slice *value);
/* First value of a cookie over all cookie headers, unquoted; false when absent (RT-14). */
bool mc_cookie_get(const mc_headers *headers, mc_slice name, mc_slice *value);
/* The byte that "%XX" at the start of `s` stands for; -1 when there is none. */
int mc_percent_byte(mc_slice s);
/* Decodes each %XX; a '%' without two hex digits stays. *out is `s` itself when there is no '%'. */
MC_MUST_CHECK mc_status mc_percent_decode(mc_slice s, mc_arena *arena, mc_slice *out);
/* Encodes bytes below ' ', from '~' on, and those of `reserved` ("%" for a gRPC message). Always a copy. */
MC_MUST_CHECK mc_status mc_percent_encode(mc_slice s, mc_slice reserved, mc_arena *arena, mc_slice *out);

/* IMF-fixdate (RFC 9110 section 5.6.7) of unix seconds (before 1970: as 1970); returns the length, 29. */
size_t mc_http_date(int64_t unix_seconds, char out[32]);
/* The unix seconds of a date from 1970 on, in any of the three forms of RFC 9110 section 5.6.7; `now`, unix seconds too, tells
 * which century a year of two digits is of. */
MC_MUST_CHECK mc_status mc_http_date_parse(mc_slice text, int64_t now, int64_t *unix_seconds);

#endif
