/* Engine: the workers of one gateway and the control side that feeds them.
 *
 * All functions belong to the control thread, but those that say otherwise. Configuration flows one way: compile -> bind -> publish
 * (a message to each worker). What workers have to say comes back through the mailbox of the control loop
 * (engine->control), which whoever owns the control thread turns. */
#ifndef MC_ENGINE_ENGINE_H
#define MC_ENGINE_ENGINE_H

#include "engine/members.h"
#include "engine/names.h"
#include "engine/worker.h"

typedef struct mc_engine_options {
    uint32_t workers; /* 1 to 256 */
    uint64_t seed;
    uint32_t record_capacity; /* access records a worker may hold, a power of two */
    mc_stats *stats;          /* referenced */
    mc_log_options log;       /* of access logs */
    bool is_virtual;          /* virtual loops: simulation */
    bool keeps_logs;          /* a virtual one's access logs are captured, for who takes them out of the rings */
} mc_engine_options;

/* A listener as bound. */
typedef struct mc_bound {
    mc_slice name;
    mc_address wanted, actual; /* they differ when port 0 was asked for */
    int *fds;                  /* by worker; -1 once handed over */
} mc_bound;

struct mc_engine {
    mc_stats *stats;
    mc_log_writer *log_writer; /* NULL: virtual loops that keep no logs, for they have no threads */
    mc_slab *slab;             /* the control side's counters */
    mc_loop *control;
    mc_worker *workers;
    uint32_t worker_count;
    mc_slots slots, listeners;
    _Atomic uint32_t **listener_counts; /* by slot of `listeners` */
    uint32_t listener_count;
    _Atomic uint32_t connections; /* of all listeners but the gateway's own */
    mc_overload overload;
    _Atomic bool health_failed; /* this process is to fail its health checks (ADM-9) */
    mc_snapshot *current;
    mc_members members;
    mc_engine_names names;
    mc_bound *bound;
    size_t bound_count, bound_cap;
    uint64_t published; /* number of configurations sent */
    bool draining;
    mc_message note; /* wakes the control side: what it looks for has changed; needs no memory */
    _Atomic bool noted;
};

MC_MUST_CHECK mc_status mc_engine_new(const mc_engine_options *options, mc_engine **out);
/* After every worker's loop has stopped (or never ran). */
void mc_engine_free(mc_engine *engine);

/* Compiles against what is current. The result is not in use yet. */
MC_MUST_CHECK mc_status mc_engine_compile(mc_engine *engine, const mc_value *bootstrap,
                                          const mc_filter_factory *factories, size_t factory_count, mc_snapshot **out,
                                          mc_error *error);
/* Binds what the snapshot listens on and is not bound yet. MC_ESYS: error->path names the listener, reason the address and
 * the errno text; what was bound before stays. */
MC_MUST_CHECK mc_status mc_engine_bind(mc_engine *engine, const mc_snapshot *snapshot, mc_error *error);
/* Makes it current and sends it to all workers; forgets bound listeners that it no longer has. */
MC_MUST_CHECK mc_status mc_engine_publish(mc_engine *engine, mc_snapshot *snapshot);
/* True when every worker uses what was published last; a worker that gets there wakes the control loop. */
bool mc_engine_applied(const mc_engine *engine);
/* New membership of one cluster (a ClusterLoadAssignment). MC_ENOTFOUND: no such cluster now. */
MC_MUST_CHECK mc_status mc_engine_set_assignment(mc_engine *engine, mc_slice cluster, const mc_value *assignment,
                                                 mc_error *error);

/* What an active check said of a host. */
typedef struct mc_health_update {
    uint32_t set, clear; /* health flags */
    bool passed;         /* a failed host passed: stamp the time (ED-11) */
    bool well;           /* a host that is not failed passed: an ejection ends (OD-10) */
    bool failed;         /* it is failed from now on: its connections go (CL-14) */
} mc_health_update;

/* Flags of the hosts of this address change at once; lists follow with mc_engine_refresh. MC_ENOTFOUND: no such cluster or host. */
MC_MUST_CHECK mc_status mc_engine_set_health(mc_engine *engine, mc_slice cluster, mc_slice address,
                                             const mc_health_update *update);
MC_MUST_CHECK mc_status mc_engine_refresh(mc_engine *engine, mc_slice cluster);

/* An overload action or load shed point from now on. */
void mc_engine_set_overload(mc_engine *engine, mc_overload_id id, double chance);
/* reset_high_memory_stream tells streams apart from 2^shift bytes on. */
void mc_engine_track_heavy(mc_engine *engine, unsigned shift);
/* Of clients, over all workers, as the limit on them counts. */
static inline uint32_t mc_engine_connections(const mc_engine *engine) {
    return atomic_load_explicit(&engine->connections, memory_order_relaxed);
}

/* Whether this process fails its health checks, and asks its clients to go elsewhere (LIS-16), from now on. */
void mc_engine_fail_health(mc_engine *engine, bool fail);
bool mc_engine_health_failed(const mc_engine *engine);

/* Stops listening, lets connections finish (HC-40). mc_engine_drained() turns true when none is left. */
void mc_engine_drain(mc_engine *engine);
bool mc_engine_drained(const mc_engine *engine);
/* Stops listening only. */
void mc_engine_close_listeners(mc_engine *engine);
/* Closes everything; each worker's loop returns when done. */
void mc_engine_stop(mc_engine *engine);

/* On the worker's own thread. */
mc_status mc_engine_run_worker(mc_engine *engine, uint32_t index);
/* Wakes the control side. Any thread. */
void mc_engine_wake(mc_engine *engine);
bool mc_engine_stopped(const mc_engine *engine);

/* Newest membership of a cluster, borrowed; NULL: none. */
mc_hosts *mc_engine_members(const mc_engine *engine, const mc_cluster *cluster);
const mc_bound *mc_engine_find_bound(const mc_engine *engine, mc_slice name);
/* Access records of all workers, up to n; any one thread at a time. */
size_t mc_engine_records(mc_engine *engine, mc_record *out, size_t n);
uint64_t mc_engine_records_dropped(const mc_engine *engine);

/* A finished span as JSON, whose bytes are then the caller's; false when there is none. Any one thread at a time. */
bool mc_engine_span(mc_engine *engine, mc_text *out);
uint64_t mc_engine_spans_dropped(const mc_engine *engine);

#endif
