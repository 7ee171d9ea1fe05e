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
    X(SHED_ACCEPT, "envoy.load_shed_points.tcp_listener_accept")                                                       \
    X(SHED_DECODE_HEADERS, "envoy.load_shed_points.http_connection_manager_decode_headers")

typedef enum mc_overload_id {
#define MC_ENTRY(id, name) MC_OVERLOAD_##id,
    MC_OVERLOADS(MC_ENTRY)
#undef MC_ENTRY
        MC_OVERLOAD_COUNT,
} mc_overload_id;

typedef struct mc_overload {
    _Atomic uint32_t chance[MC_OVERLOAD_COUNT]; /* of 2^31 */
    _Atomic mc_stat count[MC_OVERLOAD_COUNT];   /* how often it acted; of load shed points, 0: not counted */
} mc_overload;

/* MC_OVERLOAD_COUNT: there is none of this name. */
mc_overload_id mc_overload_find(mc_slice name);
/* The control side only. */
void mc_overload_set(mc_overload *overload, mc_stats *stats, mc_overload_id id, double chance);

/* Whether it is fully on, for what has no middle. */
bool mc_overload_saturated(const mc_overload *overload, mc_overload_id id);
/* Whether it acts this time, counted. */
bool mc_overload_acts(mc_overload *overload, mc_overload_id id, mc_random *random, mc_slab *slab);

#endif
