/* HTTP connection manager: the compiled form of an HttpConnectionManager message. Immutable, reference-counted, shared by all
 * workers; a worker pins it once (mc_hcm_pin), its connections and streams count on the pin without atomics. */
#ifndef MC_PROXY_HCM_H
#define MC_PROXY_HCM_H

#include "h1/h1.h"
#include "proxy/access_log.h"
#include "proxy/client.h"
#include "proxy/client_cert.h"
#include "proxy/filter.h"
#include "proxy/filter_list.h"
#include "proxy/hcm_routes.h"
#include "proxy/hcm_stats.h"
#include "proxy/local_reply.h"
#include "proxy/proxy_status.h"
#include "proxy/tracing.h"
#include "route/matcher.h"
#include "route/mutation_list.h"
#include "route/route.h"
#include "stats/code_stats.h"

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
    mc_filter_config *filters; /* of all chains (mc_filter_list) */
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
    bool add_user_agent, proxy_100_continue, append_local_overload;
    bool keep_open_on_error;     /* stream-error mode, H1-15 */
    const mc_tracing *tracing;   /* NULL: none */
    mc_code_scopes *code_scopes; /* of virtual clusters and routes (RF-46); NULL: nothing counts there */
    mc_upgrade_config *upgrades;
    uint32_t upgrade_count;
    uint64_t connection_idle_ms, max_connection_duration_ms, stream_idle_ms, request_timeout_ms, headers_timeout_ms;
    uint64_t max_stream_duration_ms, delayed_close_ms, drain_ms, stream_flush_ms; /* all: 0 none */
    double max_connection_jitter, drain_jitter; /* percent by which each connection's own time may be longer */
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
