/* Cluster: an upstream service as configured, shared by all workers.
 *
 * mc_cluster is immutable and reference-counted, but for the counts of its circuit breakers, which span all workers. Its membership (mc_hosts) travels beside it, because it changes more often. */
#ifndef MC_POOL_CLUSTER_H
#define MC_POOL_CLUSTER_H

#include "event/socket.h"
#include "h1/h1.h"
#include "health/outlier.h"
#include "lb/lb.h"
#include "pool/breaker.h"
#include "pool/names.h"
#include "pool/original_dst.h"
#include "pool/tracking.h"
#include "route/route.h"
#include "stats/code_stats.h"

/* Envoy's names under "cluster.<name>." (upstream rules, section 15). Resets are those of streams that share a connection: with HTTP/1
 * none are counted. */
#define MC_CLUSTER_STATS(COUNTER, GAUGE, HISTOGRAM)                                                                    \
    COUNTER(upstream_cx_total)                                                                                         \
    COUNTER(upstream_cx_http1_total)                                                                                   \
    COUNTER(upstream_cx_connect_fail)                                                                                  \
    COUNTER(upstream_cx_connect_timeout)                                                                               \
    COUNTER(upstream_cx_destroy)                                                                                       \
    COUNTER(upstream_cx_destroy_local)                                                                                 \
    COUNTER(upstream_cx_destroy_remote)                                                                                \
    COUNTER(upstream_cx_destroy_with_active_rq)                                                                        \
    COUNTER(upstream_cx_destroy_local_with_active_rq)                                                                  \
    COUNTER(upstream_cx_destroy_remote_with_active_rq)                                                                 \
    COUNTER(upstream_cx_close_notify)                                                                                  \
    COUNTER(upstream_cx_idle_timeout)                                                                                  \
    COUNTER(upstream_cx_max_requests)                                                                                  \
    COUNTER(upstream_cx_max_duration_reached)                                                                          \
    COUNTER(upstream_cx_overflow)                                                                                      \
    COUNTER(upstream_cx_pool_overflow)                                                                                 \
    COUNTER(bind_errors)                                                                                               \
    COUNTER(upstream_cx_none_healthy)                                                                                  \
    COUNTER(upstream_cx_protocol_error)                                                                                \
    COUNTER(upstream_cx_rx_bytes_total)                                                                                \
    COUNTER(upstream_cx_tx_bytes_total)                                                                                \
    COUNTER(upstream_rq_total)                                                                                         \
    COUNTER(upstream_rq_pending_total)                                                                                 \
    COUNTER(upstream_rq_pending_overflow)                                                                              \
    COUNTER(upstream_rq_pending_failure_eject)                                                                         \
    COUNTER(upstream_rq_cancelled)                                                                                     \
    COUNTER(upstream_rq_completed)                                                                                     \
    COUNTER(upstream_rq_maintenance_mode)                                                                              \
    COUNTER(upstream_rq_timeout)                                                                                       \
    COUNTER(upstream_rq_per_try_idle_timeout)                                                                          \
    COUNTER(upstream_rq_per_try_timeout)                                                                               \
    COUNTER(upstream_rq_max_duration_reached)                                                                          \
    COUNTER(upstream_rq_rx_reset)                                                                                      \
    COUNTER(upstream_rq_tx_reset)                                                                                      \
    COUNTER(upstream_rq_retry)                                                                                         \
    COUNTER(upstream_rq_retry_success)                                                                                 \
    COUNTER(upstream_rq_retry_overflow)                                                                                \
    COUNTER(upstream_rq_retry_limit_exceeded)                                                                          \
    COUNTER(upstream_rq_retry_backoff_exponential)                                                                     \
    COUNTER(upstream_rq_retry_backoff_ratelimited)                                                                     \
    COUNTER(upstream_flow_control_paused_reading_total)                                                                \
    COUNTER(upstream_flow_control_resumed_reading_total)                                                               \
    COUNTER(retry_or_shadow_abandoned)                                                                                 \
    COUNTER(upstream_internal_redirect_succeeded_total)                                                                \
    COUNTER(upstream_internal_redirect_failed_total)                                                                   \
    MC_LB_COUNTERS(COUNTER)                                                                                            \
    COUNTER(lb_subsets_created)                                                                                        \
    COUNTER(lb_subsets_removed)                                                                                        \
    COUNTER(upstream_rq_active_overflow)                                                                               \
    GAUGE(lb_subsets_active)                                                                                           \
    COUNTER(membership_change)                                                                                         \
    COUNTER(update_attempt)                                                                                            \
    COUNTER(update_success)                                                                                            \
    COUNTER(update_failure)                                                                                            \
    COUNTER(update_no_rebuild)                                                                                         \
    COUNTER(update_empty)                                                                                              \
    COUNTER(assignment_stale)                                                                                          \
    COUNTER(assignment_timeout_received)                                                                               \
    COUNTER(assignment_use_cached)                                                                                     \
    COUNTER(original_dst_host_invalid)                                                                                 \
    COUNTER(upstream_cx_connect_attempts_exceeded)                                                                     \
    COUNTER(upstream_cx_connect_with_0_rtt)                                                                            \
    COUNTER(upstream_cx_http2_total)                                                                                   \
    COUNTER(upstream_cx_http3_total)                                                                                   \
    COUNTER(upstream_flow_control_backed_up_total)                                                                     \
    COUNTER(upstream_flow_control_drained_total)                                                                       \
    COUNTER(upstream_http3_broken)                                                                                     \
    COUNTER(upstream_rq_rx_reset_no_error)                                                                             \
    COUNTER(upstream_rq_0rtt)                                                                                          \
    GAUGE(max_host_weight)                                                                                             \
    GAUGE(upstream_cx_rx_bytes_buffered)                                                                               \
    GAUGE(upstream_cx_tx_bytes_buffered)                                                                               \
    GAUGE(version)                                                                                                     \
    GAUGE(warming_state)                                                                                               \
    GAUGE(upstream_cx_active)                                                                                          \
    GAUGE(upstream_rq_active)                                                                                          \
    GAUGE(upstream_rq_pending_active)                                                                                  \
    GAUGE(membership_total)                                                                                            \
    GAUGE(membership_healthy)                                                                                          \
    GAUGE(membership_degraded)                                                                                         \
    GAUGE(membership_excluded)                                                                                         \
    HISTOGRAM(upstream_cx_connect_ms)                                                                                  \
    HISTOGRAM(upstream_cx_length_ms)                                                                                   \
    HISTOGRAM(upstream_rq_per_cx)                                                                                      \
    HISTOGRAM(upstream_rq_time)

/* Of the codec, under "http1.". */
#define MC_CLUSTER_HTTP1_STATS(COUNTER)                                                                                \
    COUNTER(dropped_headers_with_underscores)                                                                          \
    COUNTER(requests_rejected_with_underscores_in_headers)                                                             \
    COUNTER(metadata_not_supported_error)                                                                              \
    COUNTER(response_flood)

typedef struct mc_cluster_stats {
#define MC_FIELD(name) mc_stat name;
    MC_CLUSTER_STATS(MC_FIELD, MC_FIELD, MC_FIELD)
    struct {
        MC_CLUSTER_HTTP1_STATS(MC_FIELD)
    } http1;
    mc_stat socket_matches; /* "default.total_match_count": a transport socket was found for an endpoint */
#undef MC_FIELD
} mc_cluster_stats;

/* The places where a response is counted (RF-45): plainly, by whether the request came from inside, and for canary hosts. */
typedef enum mc_origin {
    MC_ORIGIN_ANY,
    MC_ORIGIN_INTERNAL,
    MC_ORIGIN_EXTERNAL,
    MC_ORIGIN_CANARY,
    MC_ORIGINS
} mc_origin;

typedef struct mc_cluster {
    _Atomic uint32_t refs;
    uint32_t slot; /* small integer of the cluster's name in its engine */
    uint64_t config_hash;
    mc_slice name, stat_name;
    bool alt_named;           /* stat_name is not the name */
    const mc_value *metadata; /* namespace to object; NULL: none */
    mc_arena metadata_arena;
    mc_lb_config lb;
    uint64_t connect_timeout_ms;
    uint64_t idle_timeout_ms;                             /* 0: none (CP-11) */
    uint64_t max_connection_ms;                           /* 0: none (CP-11) */
    double max_connection_jitter;                         /* percent by which that of each may be longer */
    float per_upstream_preconnect, predictive_preconnect; /* ratios; 1: off (CP-5, CP-15) */
    const struct mc_cluster_filters *filters; /* of tries, in place of the router's (proxy/filter_list.h); NULL: none */
    mc_cluster_policies policies;         /* instead of the route's: retries (RF-20), mirrors (RT-55), hashes (RT-45) */
    uint64_t max_stream_duration_ms;      /* 0: none (RF-15) */
    uint32_t max_requests_per_connection; /* 0: no limit (CP-3) */
    uint32_t buffer_limit;
    mc_h1_limits h1;
    bool tcp_keepalive;
    uint32_t keepalive_probes, keepalive_time_s, keepalive_interval_s;
    mc_arena arena;             /* of what the options below point to */
    mc_connect_options connect; /* upstream_bind_config */
    bool has_connect;
    bool close_on_health_failure;
    bool pool_per_connection;              /* connection_pool_per_downstream_connection */
    bool close_on_host_set_change;         /* CL-13 */
    mc_original_dst *original_dst;         /* NULL: of another type */
    struct mc_aggregate_config *aggregate; /* NULL: of another type */
    mc_forward *forward;                   /* NULL: of another type */
    _Atomic uint64_t used_ms;              /* of a sub-cluster (CL-17): when a request last asked for it */
    mc_outlier_config *outlier;            /* NULL: not watched */
    mc_tracking *tracking;                 /* NULL: nothing more is told */
    uint64_t update_merge_window_ms;       /* CL-12; 0: off */
    mc_breakers breakers[MC_PRIORITIES];
    mc_stats *stats_store;
    mc_cluster_stats stats;
    mc_code_stats codes[MC_ORIGINS];
    mc_code_scopes code_scopes; /* further places: zones, other names (RF-6), retried responses */
} mc_cluster;

/* From a Cluster message; everything but the membership. `stats` gets a reference; `node` (may be NULL) says where the proxy
 * stands, and its runtime overrides limits. */
MC_MUST_CHECK mc_status mc_cluster_compile(const mc_value *config, const mc_lb_node *node, uint64_t config_hash,
                                           uint32_t slot, mc_stats *stats, mc_cluster **out, mc_error *error);
mc_cluster *mc_cluster_ref(mc_cluster *cluster);
void mc_cluster_unref(mc_cluster *cluster);
/* What the cluster's balancers count with. */
mc_lb_stats mc_cluster_lb_stats(const mc_cluster *cluster, mc_slab *slab);

#endif
