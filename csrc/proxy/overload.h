/* Overload: what the control side asks of every worker when a resource runs short (BOOT-15 to BOOT-17).
 *
 * One chance, 0 to 1, for each overload action and load shed point. The control side sets them; workers read them where the action
 * would act. Nothing is drawn at random where a chance is 0 or 1. */
#ifndef MC_PROXY_OVERLOAD_H
#define MC_PROXY_OVERLOAD_H

#include <stdatomic.h>

#include "base/random.h"
#include "stats/stats.h"

#define MC_OVERLOADS(X)                                                                                                \
    X(STOP_ACCEPTING_REQUESTS, "envoy.overload_actions.stop_accepting_requests")                                       \
    X(DISABLE_HTTP_KEEPALIVE, "envoy.overload_actions.disable_http_keepalive")                                         \
    X(STOP_ACCEPTING_CONNECTIONS, "envoy.overload_actions.stop_accepting_connections")                                 \
    X(REJECT_INCOMING_CONNECTIONS, "envoy.overload_actions.reject_incoming_connections")                               \
    X(REDUCE_TIMEOUTS, "envoy.overload_actions.reduce_timeouts")                                                       \
    X(RESET_HIGH_MEMORY_STREAM, "envoy.overload_actions.reset_high_memory_stream")                                     \
    X(SHED_ACCEPT, "envoy.load_shed_points.tcp_listener_accept")                                                       \
    X(SHED_CODEC, "envoy.load_shed_points.hcm_ondata_creating_codec")                                                  \
    X(SHED_GO_AWAY_AND_CLOSE, "envoy.load_shed_points.http2_server_go_away_and_close_on_dispatch")                     \
    X(SHED_GO_AWAY, "envoy.load_shed_points.http2_server_go_away_on_dispatch")                                         \
    X(SHED_HTTP1_DISPATCH, "envoy.load_shed_points.http1_server_abort_dispatch")                                       \
    X(SHED_DECODE_HEADERS, "envoy.load_shed_points.http_connection_manager_decode_headers")                            \
    X(SHED_ROUTER, "envoy.load_shed_points.http_downstream_filter_check")                                              \
    X(SHED_NEW_CONNECTION, "envoy.load_shed_points.connection_pool_new_connection")

typedef enum mc_overload_id {
#define MC_ENTRY(id, name) MC_OVERLOAD_##id,
    MC_OVERLOADS(MC_ENTRY)
#undef MC_ENTRY
        MC_OVERLOAD_COUNT,
} mc_overload_id;

/* What reduce_timeouts can shorten here. */
typedef enum mc_scaled_timer {
    MC_SCALED_CONNECTION_IDLE,
    MC_SCALED_STREAM_IDLE,
    MC_SCALED_CONNECTION_MAX,
    MC_SCALED_COUNT
} mc_scaled_timer;

typedef struct mc_overload {
    _Atomic uint32_t chance[MC_OVERLOAD_COUNT]; /* of 2^31 */
    _Atomic mc_stat count[MC_OVERLOAD_COUNT];   /* how often it acted; of load shed points, 0: not counted */
    /* To how little a timer may be shortened, in the form that overload.c gives it; 0: not at all. */
    _Atomic uint64_t floors[MC_SCALED_COUNT];
    _Atomic uint32_t heavy_shift; /* reset_high_memory_stream looks at streams that hold 2^this bytes */
    _Atomic mc_stat heavy_resets;
} mc_overload;

/* MC_OVERLOAD_COUNT: there is none of this name. */
mc_overload_id mc_overload_find(mc_slice name);
/* The control side only. */
void mc_overload_set(mc_overload *overload, mc_stats *stats, mc_overload_id id, double chance);

/* The control side only; `name` as ScaleTimersOverloadActionConfig.TimerType has it, one that nothing here has is passed over. Of the
 * two, `share` (0 to 1) counts when `ms` is UINT64_MAX. */
void mc_overload_set_floor(mc_overload *overload, mc_slice name, uint64_t ms, double share);
/* No timer is shortened, and no stream is heavy, until told. */
void mc_overload_clear(mc_overload *overload);

/* A time limit as it is now; `overload` may be NULL. 0, no limit, stays so. */
uint64_t mc_overload_shorten(const mc_overload *overload, mc_scaled_timer timer, uint64_t ms);
static inline uint64_t mc_overload_timeout(const mc_overload *overload, mc_scaled_timer timer, uint64_t ms) {
    return MC_LIKELY(overload == NULL) ? ms : mc_overload_shorten(overload, timer, ms);
}
/* 0 to 1. */
double mc_overload_value(const mc_overload *overload, mc_overload_id id);

/* Whether it is fully on, for what has no middle. */
bool mc_overload_saturated(const mc_overload *overload, mc_overload_id id);
/* Whether it acts this time, counted. */
bool mc_overload_acts(mc_overload *overload, mc_overload_id id, mc_random *random, mc_slab *slab);

#endif
