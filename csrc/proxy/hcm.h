/* HTTP connection manager: the compiled form of an HttpConnectionManager message. Immutable, reference-counted, shared by all
 * workers; a worker pins it once (mc_hcm_pin), its connections and streams count on the pin without atomics. */
#ifndef MC_PROXY_HCM_H
#define MC_PROXY_HCM_H

#include "h1/h1.h"
#include "proxy/access_log.h"
#include "proxy/client.h"
#include "proxy/client_cert.h"
#include "proxy/filter.h"
#include "proxy/hcm_routes.h"
#include "proxy/local_reply.h"
#include "proxy/proxy_status.h"
#include "proxy/router.h"
#include "proxy/tracing.h"
#include "route/matcher.h"
#include "route/mutation_list.h"
#include "route/route.h"
#include "stats/code_stats.h"

/* Under "http.<stat_prefix>." (rules section 8). */
#define MC_HCM_STATS(COUNTER, GAUGE, HISTOGRAM)                                                                        \
    COUNTER(downstream_cx_total)                                                                                       \
    COUNTER(downstream_cx_ssl_total)                                                                                   \
    COUNTER(downstream_cx_http2_total)                                                                                 \
    COUNTER(downstream_cx_http3_total)                                                                                 \
    COUNTER(downstream_rq_http2_total)                                                                                 \
    COUNTER(downstream_rq_http3_total)                                                                                 \
    COUNTER(downstream_cx_http1_total)                                                                                 \
    COUNTER(downstream_cx_upgrades_total)                                                                              \
    COUNTER(downstream_cx_destroy)                                                                                     \
    COUNTER(downstream_cx_destroy_remote)                                                                              \
    COUNTER(downstream_cx_destroy_local)                                                                               \
    COUNTER(downstream_cx_destroy_active_rq)                                                                           \
    COUNTER(downstream_cx_destroy_local_active_rq)                                                                     \
    COUNTER(downstream_cx_destroy_remote_active_rq)                                                                    \
    COUNTER(downstream_cx_protocol_error)                                                                              \
    COUNTER(downstream_cx_drain_close)                                                                                 \
    COUNTER(downstream_cx_idle_timeout)                                                                                \
    COUNTER(downstream_cx_max_duration_reached)                                                                        \
    COUNTER(downstream_cx_max_requests_reached)                                                                        \
    COUNTER(downstream_cx_delayed_close_timeout)                                                                       \
    COUNTER(downstream_cx_overload_disable_keepalive)                                                                  \
    COUNTER(downstream_cx_rx_bytes_total)                                                                              \
    COUNTER(downstream_cx_tx_bytes_total)                                                                              \
    COUNTER(downstream_flow_control_paused_reading_total)                                                              \
    COUNTER(downstream_flow_control_resumed_reading_total)                                                             \
    COUNTER(downstream_rq_total)                                                                                       \
    COUNTER(downstream_rq_http1_total)                                                                                 \
    COUNTER(downstream_rq_completed)                                                                                   \
    COUNTER(downstream_rq_1xx)                                                                                         \
    COUNTER(downstream_rq_2xx)                                                                                         \
    COUNTER(downstream_rq_3xx)                                                                                         \
    COUNTER(downstream_rq_4xx)                                                                                         \
    COUNTER(downstream_rq_5xx)                                                                                         \
    COUNTER(downstream_rq_rx_reset)                                                                                    \
    COUNTER(downstream_rq_tx_reset)                                                                                    \
    COUNTER(downstream_rq_non_relative_path)                                                                           \
    COUNTER(downstream_rq_too_large)                                                                                   \
    COUNTER(downstream_rq_response_before_rq_complete)                                                                 \
    COUNTER(downstream_rq_timeout)                                                                                     \
    COUNTER(downstream_rq_header_timeout)                                                                              \
    COUNTER(downstream_rq_idle_timeout)                                                                                \
    COUNTER(downstream_rq_max_duration_reached)                                                                        \
    COUNTER(downstream_rq_overload_close)                                                                              \
    COUNTER(downstream_rq_ws_on_non_ws_route)                                                                          \
    COUNTER(downstream_rq_failed_path_normalization)                                                                   \
    COUNTER(downstream_rq_redirected_with_normalized_path)                                                             \
    COUNTER(downstream_rq_rejected_via_ip_detection)                                                                   \
    COUNTER(downstream_rq_too_many_premature_resets)                                                                   \
    COUNTER(rs_too_large)                                                                                              \
    COUNTER(no_route)                                                                                                  \
    COUNTER(no_cluster)                                                                                                \
    COUNTER(rq_redirect)                                                                                               \
    COUNTER(rq_direct_response)                                                                                        \
    COUNTER(rq_total)                                                                                                  \
    COUNTER(rq_reset_after_downstream_response_started)                                                                \
    COUNTER(passthrough_internal_redirect_bad_location)                                                                \
    COUNTER(passthrough_internal_redirect_no_route)                                                                    \
    COUNTER(passthrough_internal_redirect_predicate)                                                                   \
    COUNTER(passthrough_internal_redirect_too_many_redirects)                                                          \
    COUNTER(passthrough_internal_redirect_unsafe_scheme)                                                               \
    COUNTER(rq_overload_local_reply)                                                                                   \
    GAUGE(downstream_cx_active)                                                                                        \
    GAUGE(downstream_cx_ssl_active)                                                                                    \
    GAUGE(downstream_cx_http2_active)                                                                                  \
    GAUGE(downstream_cx_http3_active)                                                                                  \
    GAUGE(downstream_cx_rx_bytes_buffered)                                                                             \
    GAUGE(downstream_cx_tx_bytes_buffered)                                                                             \
    GAUGE(downstream_cx_http1_active)                                                                                  \
    GAUGE(downstream_cx_upgrades_active)                                                                               \
    GAUGE(downstream_cx_http1_soft_drain)                                                                              \
    GAUGE(downstream_rq_active)                                                                                        \
    HISTOGRAM(downstream_cx_length_ms)                                                                                 \
    HISTOGRAM(downstream_rq_time)

/* Under "listener.<address>.http.<stat_prefix>.". */
#define MC_LISTENER_HTTP_STATS(COUNTER)                                                                                \
    COUNTER(downstream_rq_completed)                                                                                   \
    COUNTER(downstream_rq_1xx)                                                                                         \
    COUNTER(downstream_rq_2xx)                                                                                         \
    COUNTER(downstream_rq_3xx)                                                                                         \
    COUNTER(downstream_rq_4xx)                                                                                         \
    COUNTER(downstream_rq_5xx)

/* Under "http.<stat_prefix>.tracing.". */
#define MC_TRACING_STATS(COUNTER)                                                                                      \
    COUNTER(random_sampling)                                                                                           \
    COUNTER(service_forced)                                                                                            \
    COUNTER(client_enabled)                                                                                            \
    COUNTER(not_traceable)                                                                                             \
    COUNTER(health_check)

/* Of the codec, under "http1.". */
#define MC_HTTP1_STATS(COUNTER)                                                                                        \
    COUNTER(dropped_headers_with_underscores)                                                                          \
    COUNTER(requests_rejected_with_underscores_in_headers)                                                             \
    COUNTER(metadata_not_supported_error)                                                                              \
    COUNTER(response_flood)

/* Under "http.<stat_prefix>.user_agent.<ios or android>.". */
#define MC_USER_AGENT_STATS(COUNTER, HISTOGRAM)                                                                        \
    COUNTER(downstream_cx_total)                                                                                       \
    COUNTER(downstream_cx_destroy_remote_active_rq)                                                                    \
    COUNTER(downstream_rq_total)                                                                                       \
    HISTOGRAM(downstream_cx_length_ms)

typedef struct mc_user_agent_stats {
#define MC_FIELD(name) mc_stat name;
    MC_USER_AGENT_STATS(MC_FIELD, MC_FIELD)
#undef MC_FIELD
} mc_user_agent_stats;
enum { MC_AGENT_NONE, MC_AGENT_IOS, MC_AGENT_ANDROID, MC_AGENT_COUNT };

typedef struct mc_hcm_stats {
#define MC_FIELD(name) mc_stat name;
    MC_HCM_STATS(MC_FIELD, MC_FIELD, MC_FIELD)
    mc_stat shadow_rq_total; /* of all managers: http.async-client.rq_total */
    mc_stat flags[32];       /* response_flags.<short name>: one counter a flag */
    struct {
        MC_LISTENER_HTTP_STATS(MC_FIELD)
    } listener;
    struct {
        MC_TRACING_STATS(MC_FIELD)
    } tracing;
    struct {
        MC_HTTP1_STATS(MC_FIELD)
    } http1;
    mc_user_agent_stats user_agents[MC_AGENT_COUNT];
#undef MC_FIELD
} mc_hcm_stats;

typedef enum mc_server_header {
    MC_SERVER_OVERWRITE,
    MC_SERVER_APPEND_IF_ABSENT,
    MC_SERVER_PASS_THROUGH
} mc_server_header;
typedef enum mc_slash_action {
    MC_SLASH_KEEP,
    MC_SLASH_REJECT,
    MC_SLASH_UNESCAPE_REDIRECT,
    MC_SLASH_UNESCAPE_FORWARD
} mc_slash_action;

/* A chain is a run of mc_hcm.filters; the last one is terminal. */
typedef struct mc_filter_chain {
    uint32_t begin, end;
    mc_router_options router; /* of the last one, if that is the router */
} mc_filter_chain;

typedef struct mc_upgrade_config {
    mc_slice type;
    bool enabled;
    mc_filter_chain chain; /* the connection manager's when it has none of its own */
} mc_upgrade_config;

/* Access logs and when they are written besides at the end (AL-6). */
typedef struct mc_hcm_logs {
    mc_access_logs *logs;        /* NULL: none */
    mc_access_logs *connections; /* of the listener: a record for each connection's end; NULL: none */
    mc_access_logs *upstream;    /* of the router: a record for each try; NULL: none */
    uint64_t interval_ms;        /* 0: none */
    uint64_t upstream_ms;        /* the same of a try; 0: none */
    bool on_new_request, on_tunnel, on_upstream;
} mc_hcm_logs;

typedef struct mc_hcm {
    _Atomic uint32_t refs;
    mc_arena arena;            /* owns every slice below */
    mc_hcm_routes routes;      /* of a request without scope */
    mc_hcm_scopes *scopes;     /* NULL: none, `routes` are of all requests */
    mc_filter_config *filters; /* of all chains */
    uint32_t filter_count;
    mc_filter_chain upstream; /* of tries (upstream_chain.c); empty: none */
    mc_filter_chain chain;
    mc_h1_limits h1;
    mc_string_match *ignored_upgrades;
    uint32_t ignored_upgrade_count;
    mc_slice default_host_10, server_name, via;
    mc_slice node_id, node_cluster, node_zone, filter_chain_name;
    const mc_value *listener_metadata, *filter_chain_metadata; /* namespace to object; NULL: none */
    const mc_value *node;                                      /* of the bootstrap; NULL: none */
    uint8_t direction;                                         /* the listener's traffic_direction */
    mc_address node_address; /* stands for a loopback peer in x-forwarded-for (HC-11); length 0: none */
    mc_server_header server_header;
    mc_slash_action slashes;
    mc_client_rules client;
    mc_client_cert_rules client_cert;
    const mc_proxy_status_rules *proxy_status; /* NULL: no such header */
    const mc_local_replies *local_replies;     /* NULL: as they are */
    mc_mutation_list *early_mutations;         /* one an extension (HC-10) */
    uint32_t early_mutation_count;
    mc_slice scheme; /* scheme_to_overwrite; empty: none */
    bool scheme_match_upstream;
    bool pack_trace_reason, use_request_id_for_trace_sampling;
    bool generate_request_id, preserve_external_request_id, always_set_request_id_in_response;
    bool normalize_path, merge_slashes;
    bool strip_any_port, strip_matching_port, strip_trailing_dot;
    bool add_user_agent, proxy_100_continue;
    bool keep_open_on_error;     /* stream-error mode, H1-15 */
    const mc_tracing *tracing;   /* NULL: none */
    mc_code_scopes *code_scopes; /* of virtual clusters and routes (RF-46); NULL: nothing counts there */
    mc_upgrade_config *upgrades;
    uint32_t upgrade_count;
    uint64_t connection_idle_ms, max_connection_duration_ms, stream_idle_ms, request_timeout_ms, headers_timeout_ms;
    uint64_t max_stream_duration_ms, delayed_close_ms, drain_ms, stream_flush_ms; /* all: 0 none */
    bool http1_safe_max_duration;
    mc_hcm_logs access;
    bool formats;     /* some header of a route is made with a format */
    bool keeps_facts; /* somebody may read what facts.h remembers */
    bool keeps_local; /* the local address of upstream connections among it */
    bool keeps_place; /* the locality of hosts */
    uint32_t max_requests_per_connection;
    uint32_t buffer_limit;
    struct mc_connection_rbac *guards; /* asked before anything is read; NULL: none */
    uint32_t guard_count;
    mc_stats *stats_store;
    mc_hcm_stats stats;
} mc_hcm;

/* What the compiler needs besides the message. */
typedef struct mc_hcm_context {
    mc_stats *stats;
    mc_slice listener_scope; /* address part of the listener's stats, e.g. "127.0.0.1_10000" */
    uint32_t buffer_limit;   /* listener per_connection_buffer_limit_bytes */
    mc_slice node_id, node_cluster, node_zone;
    mc_slice local_cluster; /* the cluster that this node is part of; empty: not told */
    mc_address node_address;
    const mc_runtime *runtime; /* NULL: no values */
    mc_slice filter_chain_name;
    const mc_value *listener_metadata, *filter_chain_metadata; /* namespace to object; NULL: none */
    mc_access_logs *connection_logs;    /* of the listener, referenced by what is compiled; NULL: none */
    mc_log_writer *log_writer;          /* NULL: access logs are refused */
    const mc_value *node;               /* of the bootstrap; NULL: none */
    uint8_t direction;                  /* the listener's traffic_direction: 1 INBOUND, 2 OUTBOUND */
    bool egress;                        /* it is OUTBOUND */
    const mc_filter_factory *factories; /* known filters beside the router */
    size_t factory_count;
    /* The engine's small integer for a cluster name; UINT32_MAX when out of memory. */
    uint32_t (*cluster_slot)(void *ctx, mc_slice name);
    /* Whether the name is a cluster of this configuration (RT-16). */
    bool (*cluster_exists)(void *ctx, mc_slice name);
    void *ctx;
} mc_hcm_context;

/* Network filters that stand before the connection manager, to be added before anybody else sees it (FL-18). */
MC_MUST_CHECK mc_status mc_hcm_add_guards(mc_hcm *hcm, const mc_value *filters, size_t count,
                                          const mc_hcm_context *context, mc_error *error);
MC_MUST_CHECK mc_status mc_hcm_compile(const mc_value *config, const mc_hcm_context *context, mc_hcm **out,
                                       mc_error *error);
mc_hcm *mc_hcm_ref(mc_hcm *hcm);
void mc_hcm_unref(mc_hcm *hcm);

/* A worker's count on an HCM: listener, connections and streams hold it; not atomic. */
typedef struct mc_hcm_pin {
    mc_hcm *hcm;
    uint32_t refs;
    void *filter_states[]; /* by index in the chain: what a filter keeps for this worker */
} mc_hcm_pin;

MC_MUST_CHECK mc_hcm_pin *mc_hcm_pin_new(mc_hcm *hcm);
static inline mc_hcm_pin *mc_hcm_pin_ref(mc_hcm_pin *pin) {
    pin->refs++;
    return pin;
}
void mc_hcm_pin_unref(mc_hcm_pin *pin);

#endif
