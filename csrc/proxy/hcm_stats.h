/* What a connection manager counts. Registered once, when it is compiled; a stat of the same name is shared with other managers. */
#ifndef MC_PROXY_HCM_STATS_H
#define MC_PROXY_HCM_STATS_H

#include "base/arena.h"
#include "stats/stats.h"

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

/* `scope` is "http.<stat_prefix>.", `listener_scope` the address part of the listener's stats. `arena` holds names on their way. */
MC_MUST_CHECK mc_status mc_hcm_stats_register(mc_hcm_stats *stats, mc_stats *store, mc_arena *arena, mc_slice scope,
                                              mc_slice listener_scope);

#endif
