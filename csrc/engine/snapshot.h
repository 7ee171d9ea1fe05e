/* Snapshot: one whole configuration, compiled; immutable and reference-counted. Workers get it through their mailbox and swap.
 *
 * Clusters that did not change are the same objects in two snapshots, so that their connections, breakers and balancers
 * live on (CL-2). */
#ifndef MC_ENGINE_SNAPSHOT_H
#define MC_ENGINE_SNAPSHOT_H

#include "base/map.h"
#include "engine/slots.h"
#include "pool/cluster.h"
#include "proxy/hcm.h"

typedef struct mc_listener_config {
    mc_slice name;
    mc_address address;
    mc_hcm *hcm; /* referenced */
    uint32_t backlog;
    bool reuse_port, bind;
    mc_stat cx_total, cx_destroy, cx_active, cx_length_ms; /* LIS-23, under "listener.<address>." */
    mc_stat cx_overflow, global_cx_overflow, cx_overload_reject;
    _Atomic uint32_t *connections; /* over all workers; of the engine's life */
    uint64_t max_connections;      /* by runtime; UINT64_MAX: no limit */
    bool ignore_global_limit;
    bool bypass_overload;
    bool modify_only;                    /* drain_type */
    bool original_dst, use_original_dst; /* LIS-17, LIS-7 */
} mc_listener_config;

typedef struct mc_snapshot_cluster {
    mc_cluster *cluster; /* referenced */
    mc_hosts *hosts;     /* referenced */
} mc_snapshot_cluster;

typedef struct mc_snapshot {
    _Atomic uint32_t refs;
    mc_arena arena;
    mc_listener_config *listeners;
    uint32_t listener_count;
    mc_snapshot_cluster *clusters;
    uint32_t cluster_count;
    uint32_t slot_count;        /* every slot is below */
    mc_map by_name;             /* cluster name -> mc_snapshot_cluster */
    uint64_t max_connections;   /* of all listeners together; UINT64_MAX: no limit */
    bool connection_monitor;    /* max_connections is a resource monitor's */
    mc_stat failed_allocations; /* of that: connections refused */
    bool sheds_load;            /* overload_manager has actions or load shed points */
    mc_runtime runtime;         /* static layers of layered_runtime */
    bool has_runtime;           /* it has values */
    mc_lb_node node;            /* where this proxy stands; while compiling */
    uint32_t local_slot;        /* of local_cluster_name (ZA-1); UINT32_MAX: none */
} mc_snapshot;

typedef struct mc_compile_context {
    mc_stats *stats;
    mc_slots *slots;             /* of clusters */
    const mc_snapshot *previous; /* may be NULL */
    /* Newest hosts of a slot that `previous` has, borrowed; NULL: none. */
    mc_hosts *(*members)(const void *ctx, uint32_t slot);
    const void *members_ctx;
    mc_address node_address; /* length 0: none */
    mc_slots *listeners;     /* by name, over all configurations; counts[slot] is the number of connections */
    _Atomic uint32_t *(*listener_count)(const void *ctx, uint32_t slot); /* of members_ctx; NULL: out of memory */
    mc_log_writer *log_writer;                                           /* NULL: access logs are refused */
    const mc_filter_factory *factories;
    size_t factory_count;
} mc_compile_context;

/* From a Bootstrap in canonical JSON, all names resolved to IP addresses. Error paths start at the bootstrap. */
MC_MUST_CHECK mc_status mc_snapshot_compile(const mc_value *bootstrap, const mc_compile_context *context,
                                            mc_snapshot **out, mc_error *error);
mc_snapshot *mc_snapshot_ref(mc_snapshot *snapshot);
void mc_snapshot_unref(mc_snapshot *snapshot);
/* The slot of a cluster of this snapshot, or UINT32_MAX. Any thread. */
uint32_t mc_snapshot_slot(const mc_snapshot *snapshot, mc_slice name);

#endif
