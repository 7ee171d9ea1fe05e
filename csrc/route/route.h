/* Route table: an Envoy v3 RouteConfiguration, compiled once, matched often (rules RT-*).
 *
 * parse (base/value) -> compile (this room) -> match: three separate steps. A compiled table is immutable,
 * reference-counted and may be matched from any thread. Matching gives the answer of first-match-in-order in
 * time that does not grow with the number of routes: exact paths in a hash, prefixes in a radix tree, and the
 * lowest-ordered candidate whose remaining matchers hold.
 *
 * Each kind of matcher is one file (match_header.c, match_query.c, ...) behind struct mc_matcher; a further
 * kind is one more file. */
#ifndef MC_ROUTE_ROUTE_H
#define MC_ROUTE_ROUTE_H

#include "base/address.h"
#include "base/runtime.h"
#include "base/value.h"
#include "http/headers.h"
#include "http/stream_info.h"

typedef struct mc_route_table mc_route_table;

/* The configurations of filters that are in force at one level of the table (RT-57), made by whoever knows the filters. */
typedef struct mc_route_filters mc_route_filters;

/* Compiles the typed_per_filter_config of one level. `outer`: what the next less specific level has; *out includes it. */
typedef struct mc_route_filter_compiler {
    mc_status (*compile)(void *ctx, const mc_value *configs, const mc_route_filters *outer,
                         const mc_route_filters **out, mc_error *error);
    void *ctx;
} mc_route_filter_compiler;

/* `config` is a RouteConfiguration in canonical JSON form; the table copies what it needs. */
MC_MUST_CHECK mc_status mc_route_table_compile(const mc_value *config, mc_route_table **out, mc_error *error);
/* With the filters' own configurations, which the compiler's side must keep as long as the table, and the weights that
 * `runtime` (NULL: none) has at this time, which must sum to something. */
MC_MUST_CHECK mc_status mc_route_table_compile_with(const mc_value *config, const mc_route_filter_compiler *filters,
                                                    const mc_runtime *runtime, mc_route_table **out, mc_error *error);
mc_route_table *mc_route_table_ref(mc_route_table *table);
void mc_route_table_unref(mc_route_table *table);
mc_slice mc_route_table_name(const mc_route_table *table);
/* typed_per_filter_config of the whole table; NULL: none. */
const mc_value *mc_route_table_filter_configs(const mc_route_table *table);

/* Every cluster named by the table has a small id, so that whoever publishes the table resolves names once. */
uint32_t mc_route_table_cluster_count(const mc_route_table *table);
mc_slice mc_route_table_cluster_name(const mc_route_table *table, uint32_t id);
#define MC_NO_CLUSTER UINT32_MAX

typedef struct mc_header_mutations mc_header_mutations; /* one level's adds and removals; see mutate.h */

/* retry_on as bits (rules RF-20, RF-21). */
#define MC_RETRY_ON_LIST(X)                                                                                            \
    X(5XX, "5xx", 0)                                                                                                   \
    X(GATEWAY_ERROR, "gateway-error", 1)                                                                               \
    X(CONNECT_FAILURE, "connect-failure", 2)                                                                           \
    X(RESET, "reset", 3)                                                                                               \
    X(RESET_BEFORE_REQUEST, "reset-before-request", 4)                                                                 \
    X(REFUSED_STREAM, "refused-stream", 5)                                                                             \
    X(RETRIABLE_4XX, "retriable-4xx", 6)                                                                               \
    X(RETRIABLE_STATUS_CODES, "retriable-status-codes", 7)                                                             \
    X(RETRIABLE_HEADERS, "retriable-headers", 8)                                                                       \
    X(ENVOY_RATELIMITED, "envoy-ratelimited", 9)                                                                       \
    X(HTTP3_POST_CONNECT_FAILURE, "http3-post-connect-failure", 10)                                                    \
    X(CANCELLED, "cancelled", 11)                                                                                      \
    X(DEADLINE_EXCEEDED, "deadline-exceeded", 12)                                                                      \
    X(INTERNAL, "internal", 13)                                                                                        \
    X(RESOURCE_EXHAUSTED, "resource-exhausted", 14)                                                                    \
    X(UNAVAILABLE, "unavailable", 15)
enum {
#define MC_RETRY_ENUM(id, token, bit) MC_RETRY_ON_##id = 1u << bit,
    MC_RETRY_ON_LIST(MC_RETRY_ENUM)
#undef MC_RETRY_ENUM
};
/* Bits of a comma list; unknown tokens are ignored and, if `unknown` is given, reported there. */
uint32_t mc_retry_on_parse(mc_slice tokens, bool *unknown);

typedef struct mc_header_matchers mc_header_matchers; /* a list of HeaderMatcher; match_header.c */
/* Whether one of them holds for these headers. */
MC_MUST_CHECK mc_status mc_header_matchers_any(const mc_header_matchers *matchers, const mc_headers *headers,
                                               bool *any);

/* 1 when every one holds for these headers (a request's or a response's), 0, or MC_ENOMEM. NULL holds. */
int mc_header_matchers_all(const mc_header_matchers *matchers, const mc_headers *headers);

typedef struct mc_reset_header {
    mc_slice name; /* lower-case */
    bool unix_timestamp;
} mc_reset_header;

typedef struct mc_retry_policy {
    uint32_t retry_on;
    mc_slice retry_on_text; /* as configured */
    uint32_t num_retries;
    uint64_t per_try_timeout_ms; /* 0: none */
    uint64_t per_try_idle_timeout_ms;
    uint64_t base_interval_ms, max_interval_ms;
    bool default_back_off; /* no retry_back_off: the runtime may have another base (RF-24) */
    const uint16_t *retriable_status_codes;
    uint32_t retriable_status_count;
    const mc_header_matchers *retriable_headers;         /* of a response; NULL: none */
    const mc_header_matchers *retriable_request_headers; /* NULL: any request may be retried */
    uint32_t host_selection_retry_max_attempts;
    bool avoid_previous_hosts; /* retry_host_predicate previous_hosts */
    bool omit_canary_hosts;
    const mc_value *const
        *omit_host_metadata; /* predicates omit_host_metadata: an object each, key to value of "envoy.lb"; a host
                                                  that has all of one is passed over */
    uint32_t omit_host_metadata_count;
    uint32_t previous_priorities_update;  /* retry_priority previous_priorities: its update_frequency; 0: none */
    const mc_reset_header *reset_headers; /* rate_limited_retry_back_off */
    uint32_t reset_header_count;
    uint64_t reset_max_interval_ms;
} mc_retry_policy;

typedef struct mc_hedge_policy {
    uint32_t initial_requests;
    mc_fraction additional_request_chance;
    bool hedge_on_per_try_timeout;
} mc_hedge_policy;

/* One copy of the request to another cluster (RT-55). */
typedef struct mc_mirror_policy {
    mc_slice cluster;        /* empty: by cluster_header */
    mc_slice cluster_header; /* lower-case */
    uint32_t cluster_id;     /* MC_NO_CLUSTER by cluster_header */
    mc_fraction fraction;    /* drawn on the stable random */
    int8_t trace_sampled;    /* -1: as the request */
    bool keep_host;          /* no "-shadow" */
    mc_slice host_rewrite_literal;
    const struct mc_mutation_list *mutations; /* request_headers_mutations, mutation_list.h; NULL: none */
} mc_mirror_policy;

typedef struct mc_mirror_policies {
    const mc_mirror_policy *items;
    uint32_t count;
} mc_mirror_policies;

/* A condition on the headers of a response (config.common.matcher.v3.MatchPredicate); match_predicate.c. */
typedef struct mc_match_predicate mc_match_predicate;
/* Reads field `field` of `object`; *out is NULL when it is absent. */
MC_MUST_CHECK mc_status mc_match_predicate_compile(mc_arena *arena, const mc_value *object, const char *field,
                                                   const mc_match_predicate **out, mc_error *error);
/* 1, 0 or MC_ENOMEM. */
int mc_match_predicate_holds(const mc_match_predicate *predicate, const mc_headers *response);

typedef enum mc_redirect_predicate_kind {
    MC_REDIRECT_ALLOW_LISTED_ROUTES,
    MC_REDIRECT_PREVIOUS_ROUTES,
    MC_REDIRECT_SAFE_CROSS_SCHEME,
} mc_redirect_predicate_kind;
typedef struct mc_redirect_predicate {
    mc_redirect_predicate_kind kind;
    const mc_slice *routes; /* MC_REDIRECT_ALLOW_LISTED_ROUTES: names */
    uint32_t route_count;
} mc_redirect_predicate;

typedef struct mc_internal_redirect_policy { /* RT-56 */
    uint32_t max_internal_redirects;
    uint32_t codes; /* bit n: status 300 + n */
    bool allow_cross_scheme;
    const mc_redirect_predicate *predicates;
    uint32_t predicate_count;
    const mc_slice *headers_to_copy; /* lower-case */
    uint32_t header_to_copy_count;
} mc_internal_redirect_policy;

/* A CorsPolicy, of a route or virtual host directly or as configuration of the filter. -1: not set. */
typedef struct mc_cors_policy mc_cors_policy; /* cors.h */

typedef struct mc_rate_limits mc_rate_limits; /* rate_limit.h */

typedef struct mc_virtual_cluster {
    mc_slice name;
    const mc_header_matchers *headers;
} mc_virtual_cluster;

typedef struct mc_virtual_host {
    mc_slice name;
    uint8_t require_tls; /* 0 none, 1 external only, 2 all (RT-4) */
    bool include_attempt_count_request, include_attempt_count_response, include_is_timeout_retry;
    const mc_retry_policy *retry_policy; /* NULL: none */
    const mc_header_mutations *request_mutations, *response_mutations;
    const mc_hedge_policy *hedge_policy; /* NULL: none */
    const mc_cors_policy *cors;          /* NULL: none */
    const mc_rate_limits *rate_limits;   /* NULL: none */
    mc_mirror_policies mirrors;
    /* RT-24: the catch-all "other" stands behind the others, if there are others. */
    const mc_virtual_cluster *virtual_clusters;
    uint32_t virtual_cluster_count;
    const mc_value *metadata;        /* namespace to object; NULL: none */
    const mc_value *filter_configs;  /* typed_per_filter_config: filter name to Any; NULL: none */
    const mc_route_filters *filters; /* compiled, with those of the levels around; NULL: none */
} mc_virtual_host;

/* The index of the virtual cluster of a request; UINT32_MAX when the host has none. Negative: MC_ENOMEM. */
MC_MUST_CHECK mc_status mc_virtual_host_cluster(const mc_virtual_host *host, const mc_headers *headers, uint32_t *out);

typedef struct mc_redirect mc_redirect; /* redirect.c */
typedef struct mc_direct_response {
    uint16_t status;
    mc_slice body;
    const struct mc_format *format; /* body_format: what the body is made with; NULL: none */
    mc_slice content_type;          /* of what `format` makes; empty: nobody said */
} mc_direct_response;

typedef struct mc_weighted_cluster {
    mc_slice name;           /* empty: by cluster_header */
    mc_slice cluster_header; /* lower-case */
    uint32_t id;             /* MC_NO_CLUSTER by cluster_header */
    uint32_t weight;
    mc_slice runtime_key; /* overrides the weight; empty: none */
    mc_slice host_rewrite_literal;
    const mc_header_mutations *request_mutations, *response_mutations;
    const mc_value *metadata_match; /* merged over the route's; NULL: none */
    const mc_value *filter_configs;
    const mc_route_filters *filters;
} mc_weighted_cluster;

typedef struct mc_hash_policy mc_hash_policy; /* hash_policy.c */

typedef struct mc_route_tracing mc_route_tracing; /* tracing.h */

typedef struct mc_decorator {
    mc_slice operation;
    bool propagate;
} mc_decorator;

/* connect_config of an upgrade to CONNECT: the request ends here and its payload goes on as a raw stream. */
typedef struct mc_connect_config {
    bool allow_post;
    const mc_value *proxy_protocol; /* NULL: none */
} mc_connect_config;

typedef enum mc_route_action { MC_ROUTE_TO_CLUSTER, MC_ROUTE_REDIRECT, MC_ROUTE_DIRECT_RESPONSE } mc_route_action;

/* What every request reads stands first. */
typedef struct mc_route {
    mc_slice cluster;        /* empty when weighted, by header, or not MC_ROUTE_TO_CLUSTER */
    mc_slice cluster_header; /* lower-case */
    uint32_t cluster_id;
    uint32_t weighted_count;
    const mc_weighted_cluster *weighted;
    mc_route_action action;
    int8_t websocket; /* upgrade_configs entry for "websocket": 1 enabled, 0 disabled, -1 no entry (HC-45); others by
                         mc_route_upgrade */
    bool high_priority;
    uint16_t cluster_not_found_status; /* 503 default */
    mc_slice name;
    const mc_virtual_host *virtual_host;
    const mc_redirect *redirect;
    const mc_direct_response *direct_response;
    const mc_retry_policy *retry_policy; /* the route's, else the virtual host's (RF-20); NULL: none */
    const mc_header_mutations *request_mutations, *response_mutations;
    uint64_t timeout_ms; /* as configured; 0: none; has_max_stream_duration: does not count (RF-10) */
    uint64_t idle_timeout_ms;
    uint64_t max_stream_duration_ms;
    const mc_hash_policy *hash_policies;
    uint32_t hash_policy_count;
    bool has_idle_timeout;
    bool has_stream_duration;     /* max_stream_duration_ms is set; without it the connection manager's counts */
    bool has_max_stream_duration; /* max_stream_duration message present: `timeout` is ignored (RF-10) */
    bool auto_host_rewrite;       /* when the host is chosen: mc_route_rewrite_host with its hostname (RT-34) */
    bool append_x_forwarded_host;
    bool weighted_by_hash;                         /* use_hash_policy (RT-21) */
    bool weighted_by_runtime;                      /* runtime_key_prefix */
    bool no_plugin;                                /* an optional cluster specifier that is not there: never chosen */
    const struct mc_matcher_tree *cluster_matcher; /* leads to the cluster's name, a slice (RT-23); NULL: none */
    mc_slice weighted_header;                      /* header_name */
    uint64_t total_weight;

    const mc_hedge_policy *hedge_policy;          /* the route's, else the virtual host's; NULL: none */
    const mc_internal_redirect_policy *redirects; /* internal_redirect_policy; NULL: responses pass through */
    mc_mirror_policies mirrors;                   /* the most specific non-empty list (RT-55) */
    const mc_cors_policy *cors;                   /* the route's own; NULL: none */
    const mc_rate_limits *rate_limits;            /* the route's own; NULL: none */
    bool include_virtual_host_rate_limits;        /* RT-51 */
    bool allow_early_data;
    bool has_grpc_timeout_max, has_grpc_timeout_offset, has_flush_timeout;
    uint64_t grpc_timeout_max_ms;    /* of max_stream_duration, or max_grpc_timeout (RF-10) */
    uint64_t grpc_timeout_offset_ms; /* taken off what grpc-timeout says */
    uint64_t flush_timeout_ms;
    uint64_t body_buffer_limit; /* request_body_buffer_limit, the route's, else its virtual host's; UINT64_MAX: none */
    const mc_connect_config *connect; /* of upgrade_configs for CONNECT; NULL: none */
    const mc_route_tracing *tracing;
    const mc_decorator *decorator;
    mc_slice stat_prefix;
    const mc_value *metadata;        /* namespace to object; NULL: none */
    const mc_value *metadata_match;  /* the "envoy.lb" object; NULL: none */
    const mc_value *filter_configs;  /* typed_per_filter_config: filter name to Any; NULL: none */
    const mc_route_filters *filters; /* compiled, with those of the levels around; NULL: none */
} mc_route;

/* Route-level upgrade_configs: 1 enabled, 0 disabled, -1 no entry. Case-insensitive. */
int mc_route_upgrade(const mc_route *route, mc_slice type);
/* Entry i of upgrade_configs; false behind the last. */
bool mc_route_upgrade_at(const mc_route *route, uint32_t i, mc_slice *type, bool *enabled);

/* What a match may look at. */
typedef struct mc_route_request {
    const mc_headers *headers;
    uint64_t random;            /* the stream's stable random (RT-10, RT-21) */
    const mc_address *remote;   /* downstream remote, may be NULL */
    const mc_address *local;    /* may be NULL */
    mc_arena *arena;            /* for joined header values and the like */
    const mc_stream_info *info; /* may be NULL: no TLS, no metadata, no filter state; see mc_route_table_reads_info */
    const mc_runtime *runtime;  /* may be NULL */
} mc_route_request;

/* Whether some matcher or policy of the table looks at request->info: who has to collect it first need not when not. */
bool mc_route_table_reads_info(const mc_route_table *table);
/* The same of header mutations: whether some value is made with a format. */
bool mc_route_table_formats(const mc_route_table *table);

typedef struct mc_route_match {
    const mc_route *route; /* NULL: no route (RT-3) */
    const mc_virtual_host *virtual_host;
    const mc_weighted_cluster *weighted; /* chosen entry, or NULL */
    mc_slice cluster;
    uint32_t cluster_id; /* MC_NO_CLUSTER when the name is only known at request time (cluster_header) */
    bool tls_redirect;   /* RT-4: answer 301 to https; route is NULL */
} mc_route_match;

/* What hosts must say of themselves in "envoy.lb" (RT-22); NULL: nothing. */
static inline const mc_value *mc_route_match_metadata(const mc_route_match *match) {
    return match->weighted != NULL ? match->weighted->metadata_match
           : match->route != NULL  ? match->route->metadata_match
                                   : NULL;
}

/* The filters' configurations at the place that was matched; NULL: none. */
static inline const mc_route_filters *mc_route_match_filters(const mc_route_match *match) {
    return match->weighted != NULL ? match->weighted->filters : match->route != NULL ? match->route->filters : NULL;
}

/* MC_OK also when nothing matched (route NULL); MC_ENOMEM otherwise. */
MC_MUST_CHECK mc_status mc_route_table_match(const mc_route_table *table, const mc_route_request *request,
                                             mc_route_match *out);

/* Location header of a redirect (RT-30, RT-31), in the request's arena; also for tls_redirect, and of a direct response, which
 * names the request's own place. Status by mc_route_redirect_status. */
MC_MUST_CHECK mc_status mc_route_redirect_location(const mc_route_match *match, const mc_route_request *request,
                                                   mc_slice *out);
/* Rewrites the request's own path as the redirect does: what logs tell of it. After its location was taken. */
MC_MUST_CHECK mc_status mc_route_redirect_rewrite(const mc_route_match *match, const mc_route_request *request,
                                                  mc_headers *headers, bool suppress_envoy_headers);
uint16_t mc_route_redirect_status(const mc_route_match *match);
/* Header mutations, host and path rewrite in the router's order (RT-35, RT-40), x-envoy-original-path/-host
 * unless suppressed. */
MC_MUST_CHECK mc_status mc_route_finalize_request(const mc_route_table *table, const mc_route_match *match,
                                                  const mc_route_request *request, mc_headers *headers,
                                                  bool suppress_envoy_headers);
/* `request->headers` and request->info are what formats read; a caller without formats may give NULL. */
MC_MUST_CHECK mc_status mc_route_finalize_response(const mc_route_table *table, const mc_route_match *match,
                                                   const mc_route_request *request, mc_headers *headers);
/* Another authority: x-forwarded-host and x-envoy-original-host as the route wants them (RT-34). An empty
 * host changes nothing. */
MC_MUST_CHECK mc_status mc_route_rewrite_host(const mc_route *route, mc_headers *headers, mc_slice host,
                                              bool suppress_envoy_headers);

typedef struct mc_request_hash {
    bool has_hash; /* false: the balancer draws a random number */
    uint64_t hash;
    mc_slice *set_cookies; /* values of set-cookie headers for generated cookies; in the request's arena */
    uint32_t set_cookie_count;
} mc_request_hash;
/* Hash policies (HA-5, RT-45, RT-46), of a route or of a balancer. */
typedef struct mc_hash_policies {
    const mc_hash_policy *items;
    uint32_t count;
    bool reads_info; /* they ask for mc_route_request.info */
} mc_hash_policies;
/* A list of RouteAction.HashPolicy, compiled into `arena`. */
MC_MUST_CHECK mc_status mc_hash_policies_compile(const mc_value *list, mc_arena *arena, mc_hash_policies *out,
                                                 mc_error *error);
MC_MUST_CHECK mc_status mc_hash_policies_run(mc_hash_policies policies, const mc_route_request *request,
                                             mc_request_hash *out);

/* What a cluster says for all requests to it (HttpProtocolOptions). NULL, or none: it does not say. */
typedef struct mc_cluster_policies {
    const mc_retry_policy *retry;
    mc_mirror_policies mirrors;
    mc_hash_policies hash;
    const mc_match_predicate *error_matcher;
} mc_cluster_policies;
/* In `arena`, clusters by name only. */
MC_MUST_CHECK mc_status mc_cluster_policies_compile(mc_arena *arena, const mc_value *options, mc_cluster_policies *out,
                                                    mc_error *error);
MC_MUST_CHECK mc_status mc_route_hash(const mc_route *route, const mc_route_request *request, mc_request_hash *out);

#endif
