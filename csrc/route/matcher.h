/* A matcher: one condition of a route besides its path, compiled. One file a kind (match_<kind>.c), each with
 * one compile function below; the route holds when all its matchers do. Matchers live in the table's arena
 * and are immutable. */
#ifndef MC_ROUTE_MATCHER_H
#define MC_ROUTE_MATCHER_H

#include "base/regex.h"
#include "http/uri.h"
#include "route/route.h"

/* What matchers see of a request: split once, looked at by many. */
typedef struct mc_match_input {
    const mc_route_request *request;
    mc_slice path;  /* :path before '?' and '#' (RT-6); p == NULL: no path */
    mc_slice whole; /* the same where path ends at ';' */
    mc_slice query; /* what follows '?', undecoded */
} mc_match_input;

/* 1: holds, 0: does not, MC_ENOMEM. */
typedef int (*mc_match_fn)(const void *self, const mc_match_input *in);

typedef struct mc_matcher {
    mc_match_fn match;
    const void *self;
} mc_matcher;

typedef struct mc_matchers {
    const mc_matcher *items;
    uint32_t count;
} mc_matchers;

struct mc_header_matchers {
    mc_matchers list;
};
/* 1 when every one holds, 0, or MC_ENOMEM. */
int mc_matchers_test(const mc_matchers *matchers, const mc_match_input *in);

/* type.matcher.v3.StringMatcher without custom. */
typedef enum mc_string_kind {
    MC_STRING_EXACT,
    MC_STRING_PREFIX,
    MC_STRING_SUFFIX,
    MC_STRING_CONTAINS,
    MC_STRING_REGEX,
} mc_string_kind;
typedef struct mc_string_match {
    mc_string_kind kind;
    bool ignore_case;      /* of no meaning to a regular expression */
    mc_slice text;         /* lower-case when ignore_case */
    const mc_regex *regex; /* MC_STRING_REGEX */
} mc_string_match;
MC_MUST_CHECK mc_status mc_string_match_compile(mc_arena *arena, const mc_value *value, mc_string_match *out,
                                                mc_error *error);
/* An xds.type.matcher.v3.StringMatcher, whose expressions no limit holds for. */
MC_MUST_CHECK mc_status mc_string_match_compile_xds(mc_arena *arena, const mc_value *value, mc_string_match *out,
                                                    mc_error *error);
/* 1, 0, or MC_ENOMEM. */
int mc_string_match_test(const mc_string_match *match, mc_slice value);

/* The kinds. `value` is the message of one matcher; error paths are relative to it. */
MC_MUST_CHECK mc_status mc_match_header_compile(mc_arena *arena, const mc_value *value, mc_matcher *out,
                                                mc_error *error);
/* Of a matcher that mc_match_header_compile made: its header, in lower case. */
mc_slice mc_match_header_name(const mc_matcher *matcher);
MC_MUST_CHECK mc_status mc_match_query_compile(mc_arena *arena, const mc_value *value, mc_matcher *out,
                                               mc_error *error);
/* Of a matcher that mc_match_query_compile made: its parameter, and what it says of a value in hand. */
mc_slice mc_match_query_name(const mc_matcher *matcher);
int mc_match_query_value(const mc_matcher *matcher, bool present, mc_slice value);
MC_MUST_CHECK mc_status mc_match_cookie_compile(mc_arena *arena, const mc_value *value, mc_matcher *out,
                                                mc_error *error);
MC_MUST_CHECK mc_status mc_match_fraction_compile(mc_arena *arena, const mc_value *value, mc_matcher *out,
                                                  mc_error *error);
MC_MUST_CHECK mc_status mc_match_grpc_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error);
MC_MUST_CHECK mc_status mc_match_connect_compile(mc_arena *arena, const mc_value *value, mc_matcher *out,
                                                 mc_error *error);
MC_MUST_CHECK mc_status mc_match_tls_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error);
/* A URI template against the path with its query. */
MC_MUST_CHECK mc_status mc_match_template_compile(mc_arena *arena, const mc_value *policy, mc_matcher *out,
                                                  mc_error *error);
MC_MUST_CHECK mc_status mc_match_metadata_compile(mc_arena *arena, const mc_value *value, mc_matcher *out,
                                                  mc_error *error);
MC_MUST_CHECK mc_status mc_match_filter_state_compile(mc_arena *arena, const mc_value *value, mc_matcher *out,
                                                      mc_error *error);

/* A repeated HeaderMatcher field; *out NULL when it is empty. Error paths are relative to `object`. */
MC_MUST_CHECK mc_status mc_match_headers_compile(mc_arena *arena, const mc_value *object, const char *field,
                                                 const mc_header_matchers **out, mc_error *error);

/* A header as matchers name it: lower-case, with its id. */
typedef struct mc_header_key {
    mc_slice name;
    mc_header_id id;
} mc_header_key;
/* All its values joined (RT-12); p == NULL: absent. */
MC_MUST_CHECK mc_status mc_match_header_value(const mc_header_key *key, const mc_match_input *in, mc_slice *out);

/* True when the matcher can only hold if this header, its values joined, equals *value (non-empty): what an
 * index by header value may rest on. */
bool mc_match_header_exact(const mc_matcher *matcher, mc_header_key *key, mc_slice *value);

#endif
