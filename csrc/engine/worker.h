/* Worker: one event loop with everything it owns: listeners, connections, pools, counters. It runs on one thread; others speak to
 * it through its mailbox (engine.h does). */
#ifndef MC_ENGINE_WORKER_H
#define MC_ENGINE_WORKER_H

#include "engine/snapshot.h"
#include "net/listener.h"
#include "proxy/downstream.h"

typedef struct mc_engine mc_engine;

/* A listener's side in a worker. Lives until the listener is removed and its last connection ended. */
typedef struct mc_worker_listener {
    mc_downstream_source source;
    mc_listener listener;
    mc_link link;
    mc_slice name;      /* own copy */
    mc_address local;   /* of every connection; length 0 when each must be asked */
    mc_address address; /* as configured */
    struct mc_worker *worker;
    uint64_t max_connections; /* over all workers; UINT64_MAX: no limit */
    mc_stat cx_overflow, global_cx_overflow, cx_overload_reject;
    bool ignore_global_limit;
    bool original_dst, use_original_dst; /* LIS-17, LIS-7 */
    bool open, removed;
} mc_worker_listener;

/* What the engine tells a worker without needing memory for it: giving up must not fail. */
typedef struct mc_worker_order {
    mc_message message;
    _Atomic bool queued;
    struct mc_worker *worker;
    void (*run)(struct mc_worker *worker);
} mc_worker_order;

typedef struct mc_worker {
    mc_proxy proxy;
    mc_loop *loop;
    mc_net *net;
    mc_slab *slab;
    mc_engine *engine;
    uint32_t index;
    mc_snapshot *snapshot;
    mc_list listeners;
    mc_pool_load load;
    const mc_connector *connector; /* tests: upstream connections from elsewhere */
    bool stopping;
    mc_timer reaper;
    mc_worker_order close_order, drain_order, stop_order, overload_order, heavy_order;
    _Atomic uint64_t applied; /* number of configurations taken over */
    _Atomic bool idle;        /* draining and no connection left */
    _Atomic bool stopped;     /* everything is closed, the loop has stopped */
} mc_worker;

/* Takes the loop over. */
MC_MUST_CHECK mc_status mc_worker_init(mc_worker *worker, mc_engine *engine, uint32_t index, mc_loop *loop,
                                       mc_stats *stats, uint32_t record_capacity);
/* After the loop stopped. */
void mc_worker_fini(mc_worker *worker);

/* On the worker's thread. `fds[i]` goes with snapshot->listeners[i] (-1: already open, or not bound); taken over. */
void mc_worker_apply(mc_worker *worker, mc_snapshot *snapshot, int *fds, mc_lb_plan *const *plans);
/* `plan` may be NULL. */
void mc_worker_set_hosts(mc_worker *worker, const mc_cluster *cluster, mc_hosts *hosts, mc_lb_plan *plan);
/* CL-17. Without memory requests for its names are refused. */
void mc_worker_add_names(mc_worker *worker, mc_name_cache *cache);
void mc_worker_drain_host(mc_worker *worker, const mc_cluster *cluster, mc_host *host);
/* All but the gateway's own (a name that starts with '~'): the admin interface answers while the rest drains. */
void mc_worker_close_listeners(mc_worker *worker);
void mc_worker_drain(mc_worker *worker);
/* Closes everything; the loop stops when all is closed. */
void mc_worker_stop(mc_worker *worker);
/* From the control thread: has one of the worker's own orders run. Nothing when it is queued already. */
void mc_worker_post(mc_worker_order *order);
/* The side of a listener by name, for tests and memory connections; NULL: none. */
mc_worker_listener *mc_worker_find_listener(mc_worker *worker, mc_slice name);

#endif
