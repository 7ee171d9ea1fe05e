/* Members: what the control side keeps of a cluster in use: its newest membership, its outlier detection, and updates that wait to
 * be merged (rules CL-11, CL-12, OD-6 to OD-15). Control thread only, but mc_members_report. */
#ifndef MC_ENGINE_MEMBERS_H
#define MC_ENGINE_MEMBERS_H

#include "event/loop.h"
#include "health/outlier.h"
#include "pool/cluster.h"

typedef struct mc_engine mc_engine;

/* When one of a cluster's priorities was told last, and is told again (CL-12). */
typedef struct mc_merge {
    bool delivered; /* an update, ever: what a configuration brings along does not count */
    uint64_t delivered_ms;
    uint64_t due_ms; /* 0: nothing waits */
} mc_merge;

typedef struct mc_member {
    mc_engine *engine;
    mc_cluster *cluster; /* referenced */
    mc_hosts *hosts;     /* newest; referenced */
    bool watched;        /* by outlier detection */
    mc_outlier outlier;
    mc_timer tick;    /* outlier interval */
    mc_timer merge;   /* the first of the updates that wait is due */
    mc_merge *merges; /* by priority */
    size_t merge_count;
    mc_hosts *sent;   /* what workers were given last; referenced; NULL: nothing yet */
    mc_hosts *before; /* what they had before, while some may still have it: freeing a great one is not theirs to do */
    mc_timer sweep;
    mc_timer unused; /* an ORIGINAL_DST cluster lets go of hosts that nobody uses */
    mc_named named;  /* hosts of a dynamic forward proxy cluster (CL-17), which are also in `hosts` */
    mc_timer weigh;  /* client-side weights are computed (lb/client_weights.h) */
} mc_member;

/* One line of the outlier event log (OD-15). */
typedef struct mc_outlier_note {
    mc_cluster *cluster; /* referenced */
    mc_host *host;       /* referenced */
    mc_outlier_action action;
    mc_outlier_type type;
    uint64_t wall_ms;
    uint64_t since_ms; /* UINT64_MAX: none */
    uint32_t ejections;
    double success_rate, average, threshold; /* of the statistical types; percent */
} mc_outlier_note;

/* Counters under "cluster_manager." (CL-12). */
#define MC_MEMBERS_STATS(COUNTER)                                                                                      \
    COUNTER(cluster_added)                                                                                             \
    COUNTER(cluster_modified)                                                                                          \
    COUNTER(cluster_removed)                                                                                           \
    COUNTER(cluster_updated)                                                                                           \
    COUNTER(cluster_updated_via_merge)                                                                                 \
    COUNTER(update_merge_cancelled)                                                                                    \
    COUNTER(update_out_of_merge_window)

typedef struct mc_members {
    mc_member **items; /* by cluster slot; NULL: not in use */
    uint32_t count;
    mc_outlier_note *notes; /* ring of the newest */
    uint32_t note_first, note_count;
    mc_stat active_clusters, warming_clusters; /* gauges */
    bool stopped;                              /* nothing is decided or delivered any more */
    struct mc_failed_host *failed;             /* oldest first; taken by mc_members_take_failed */
#define MC_MEMBERS_FIELD(name) mc_stat name;
    MC_MEMBERS_STATS(MC_MEMBERS_FIELD)
#undef MC_MEMBERS_FIELD
} mc_members;

enum { MC_OUTLIER_NOTES = 4096 };

void mc_members_init(mc_members *members, mc_stats *stats);
void mc_members_fini(mc_members *members);
/* The engine stops: no timers any more. */
void mc_members_stop(mc_members *members);

/* Room for slots below `count`. */
MC_MUST_CHECK mc_status mc_members_grow(mc_members *members, uint32_t count);
/* The member of a cluster in use, or NULL. */
mc_member *mc_members_find(const mc_members *members, const mc_cluster *cluster);
/* The newest hosts of a slot, borrowed; NULL: none. */
mc_hosts *mc_members_hosts(const mc_members *members, uint32_t slot);

/* A cluster with its hosts comes into use, or goes on in use; `hosts` are being delivered by the caller. Without memory the cluster
 * goes on unwatched. */
void mc_members_use(mc_engine *engine, mc_cluster *cluster, mc_hosts *hosts);
/* The slot's cluster is no longer in use. */
void mc_members_drop(mc_engine *engine, uint32_t slot);

/* New hosts, or other health of the same ones: workers hear of it now or when the merge window closes (CL-12). */
MC_MUST_CHECK mc_status mc_member_set_hosts(mc_member *member, mc_hosts *hosts);
/* Flags of hosts changed: new lists, delivered as above. */
MC_MUST_CHECK mc_status mc_member_refresh(mc_member *member);
/* A host's health failed: workers let go of its connections (CL-14). */
void mc_member_drain_host(mc_member *member, mc_host *host);

/* From a worker's thread: what mc_outlier_put returned. */
void mc_members_report(mc_engine *engine, mc_cluster *cluster, mc_host *host, unsigned types);

/* From a worker's thread: a host was made for an ORIGINAL_DST cluster; it becomes a member unless its address is one already. */
void mc_members_add_host(mc_engine *engine, mc_cluster *cluster, mc_host *host);
/* From a worker's thread: a proxied answer asked to take the host out (HC-14). It is excluded at once; the control side hears of it
 * through mc_members_take_failed. */
void mc_members_fail_host(mc_engine *engine, mc_cluster *cluster, mc_host *host);
/* Moves one such host out, both referenced; false: none. */
bool mc_members_take_failed(mc_members *members, mc_cluster **cluster, mc_host **host);

/* A host that has a name comes or goes (CL-17). The workers hear of it from engine/names.c: here it is counted and watched. */
MC_MUST_CHECK mc_status mc_member_add_named(mc_member *member, mc_host *host);
MC_MUST_CHECK mc_status mc_member_remove_named(mc_member *member, mc_host *host);

/* Where a host of the cluster is now; borrowed until that changes. */
const mc_address *mc_member_address(const mc_member *member, const mc_host *host);

/* Moves up to n notes out, oldest first; the caller unrefs what they refer to. */
size_t mc_members_notes(mc_members *members, mc_outlier_note *out, size_t n);
void mc_outlier_note_fini(mc_outlier_note *note);

#endif
