/* Load balancing: from a set of hosts and a request's hash to one host, exactly as Envoy picks it (rules ED,
 * RH, MG, PR, LO).
 *
 * Three lifetimes meet here:
 *   mc_host          shared by all workers, reference-counted; its atomics are the few gauges that the
 * policies need. mc_hosts         the immutable, reference-counted state of a cluster's membership: hosts by
 * priority and health, priority loads, ring and Maglev tables. Built by the control side (building a large
 * table takes long), published to workers, replaced as a whole. mc_lb            one worker's balancer of one
 * cluster: cursors, EDF schedulers, stashes. Not thread-safe. Everything is a function of (hosts, request,
 * now, random): nothing here waits or reads a clock. */
#ifndef MC_LB_LB_H
#define MC_LB_LB_H

#include <stdatomic.h>

#include "base/address.h"
#include "base/random.h"
#include "base/value.h"
#include "lb/address_list.h"
#include "lb/priority.h"
#include "stats/stats.h"

/* Health flags, rule HS-1. */
enum {
    MC_FAILED_ACTIVE_HC = 0x1,
    MC_FAILED_OUTLIER_CHECK = 0x2,
    MC_FAILED_EDS_HEALTH = 0x4,
    MC_DEGRADED_ACTIVE_HC = 0x8,
    MC_DEGRADED_EDS_HEALTH = 0x10,
    MC_PENDING_DYNAMIC_REMOVAL = 0x20,
    MC_PENDING_ACTIVE_HC = 0x40,
    MC_EXCLUDED_VIA_IMMEDIATE_HC_FAIL = 0x80,
    MC_ACTIVE_HC_TIMEOUT = 0x100,
    MC_EDS_STATUS_DRAINING = 0x200,
    MC_DEGRADED_OUTLIER_DETECTION = 0x400
};

/* Per-host stats, registered under "~host.<cluster>.<address>." (names starting with '~' are not shown by
 * /stats). */
#define MC_HOST_STATS(COUNTER, GAUGE)                                                                                  \
    COUNTER(cx_total)                                                                                                  \
    COUNTER(cx_connect_fail)                                                                                           \
    COUNTER(rq_total)                                                                                                  \
    COUNTER(rq_success)                                                                                                \
    COUNTER(rq_error)                                                                                                  \
    COUNTER(rq_timeout)                                                                                                \
    GAUGE(cx_active)

typedef struct mc_host_stats {
#define MC_HOST_STAT_FIELD(name) mc_stat name;
    MC_HOST_STATS(MC_HOST_STAT_FIELD, MC_HOST_STAT_FIELD)
#undef MC_HOST_STAT_FIELD
} mc_host_stats;

/* Health as discovery reported it (core.v3.HealthStatus), numbered as there. */
typedef enum mc_eds_status {
    MC_EDS_UNKNOWN,
    MC_EDS_HEALTHY,
    MC_EDS_UNHEALTHY,
    MC_EDS_DRAINING,
    MC_EDS_TIMEOUT,
    MC_EDS_DEGRADED
} mc_eds_status;

typedef struct mc_locality_name {
    mc_slice region, zone, sub_zone;
} mc_locality_name;

/* An upstream host. Fields above the line may change while workers read them, hence atomic; `hash_key`,
 * `locality_weight` and `revision` belong to the control side alone; the rest never changes. */
typedef struct mc_host {
    _Atomic uint32_t refs;
    _Atomic uint32_t rq_active;    /* streams attached to a connection, all workers (ED-9) */
    _Atomic uint32_t cx_active;    /* connections, all workers (CB-5) */
    _Atomic bool used;             /* chosen since the last sweep (CL-15) */
    _Atomic uint64_t used_ms;      /* when it was chosen last, by the loops' clock (CL-17); 0: never */
    _Atomic uint32_t health_flags; /* set and cleared with atomic_fetch_or/and: several parties own bits of it */
    _Atomic uint32_t pending;      /* requests that were given the host and have not ended (PE-2) */
    _Atomic uint32_t weight;       /* at least 1 (C-4) */
    _Atomic uint64_t hc_pass_ms;   /* last active health check pass or first sight (ED-11), 0: never */
    _Atomic uint32_t priority;
    _Atomic uint8_t eds_status; /* mc_eds_status */
    _Atomic bool canary;
    _Atomic bool metadata_locked;    /* held for a moment by who reads or replaces the metadata */
    struct mc_lb_metadata *metadata; /* NULL: none; one reference. Workers: mc_host_metadata */
    _Atomic uint64_t peak_bits;      /* a double, 0: not started (peak_ewma.h) */
    _Atomic uint64_t peak_updated_ns;
    _Atomic uint32_t reported_weight;                 /* client_weights.h */
    _Atomic uint64_t reported_ms, reporting_since_ms; /* 0: never */
    /* ---- */
    mc_slice hash_key; /* metadata envoy.lb hash_key, may be empty (RH-2); of `metadata` */
    uint32_t locality_weight;
    uint32_t revision; /* counts the changes of weight and metadata */
    mc_address address;
    mc_slice address_text; /* identity of a host within its cluster (CL-8); NUL-terminated */
    mc_slice hostname;     /* may be empty */
    union {
        mc_locality_name locality;
        struct {
            mc_slice region, zone, sub_zone;
        };
    };
    mc_address_list *addresses; /* all that a connection may try; NULL: `address` alone */
    mc_slice check;             /* where its health is checked, as the control side says; empty: it is not */
    mc_host_stats stats;
    mc_stats *stats_store; /* a reference; NULL: the host counts nothing */
    /* Owned, freed with the host: what health/outlier.h keeps about it; set before requests are sent, NULL: not watched. */
    struct mc_outlier_host *_Atomic outlier;
    void (*outlier_free)(struct mc_outlier_host *outlier);
} mc_host;

mc_host *mc_host_ref(mc_host *host);
void mc_host_unref(mc_host *host);
/* A reference of the host's metadata as it is now, or NULL; to be given back by mc_lb_metadata_unref. Any thread. */
MC_MUST_CHECK struct mc_lb_metadata *mc_host_metadata(mc_host *host);

typedef enum mc_health { MC_HEALTHY, MC_DEGRADED, MC_UNHEALTHY } mc_health;
/* Coarse health of the flags, HS-2. */
mc_health mc_host_health(const mc_host *host);
mc_health mc_health_of(uint32_t flags);
/* Member, but left out of the denominators of PR-1, PR-8 and LO-2 (HS-4). */
bool mc_health_excluded(uint32_t flags);
/* What /clusters and the override of a host see (HS-5); UNKNOWN when nobody has said anything. */
mc_eds_status mc_health_reported(uint32_t flags, mc_eds_status eds_status);
/* "/failed_active_hc/..." or "healthy" (HS-1); NUL-terminated, cut at n. */
size_t mc_host_flags_text(uint32_t flags, char *out, size_t n);

typedef enum mc_lb_policy {
    MC_LB_ROUND_ROBIN,
    MC_LB_LEAST_REQUEST,
    MC_LB_RANDOM,
    MC_LB_RING_HASH,
    MC_LB_MAGLEV,
    MC_LB_PEAK_EWMA,
    MC_LB_CLIENT_WEIGHTS /* client-side weighted round robin */
} mc_lb_policy;

/* Zone-aware routing (ZA-*); it works where the cluster of the proxy itself is known. */
typedef struct mc_zone_config {
    bool possible;                /* this proxy knows a local cluster (ZA-1) */
    uint32_t routing_enabled;     /* percent, C-1 */
    uint64_t min_cluster_size;    /* ZA-3 */
    bool force_local;             /* force_local_zone */
    uint32_t force_local_minimum; /* ZA-5 */
    bool by_weight;               /* locality_basis HEALTHY_HOSTS_WEIGHT, ZA-4 */
} mc_zone_config;

typedef struct mc_peak_config { /* PE-4, PE-7 */
    uint64_t default_rtt_ns, decay_ns;
    uint64_t penalty_ns; /* 0: failures count as what they took */
} mc_peak_config;

typedef struct mc_client_weights_config { /* client_weights.h */
    uint64_t blackout_ms, expiration_ms, update_ms;
    double error_penalty;
    const mc_slice *metrics; /* metric_names_for_computing_utilization */
    size_t metric_count;
} mc_client_weights_config;

/* Where a request may name its host: a header, or dynamic metadata. */
typedef struct mc_override_source {
    mc_slice header; /* lower-case; empty: metadata */
    mc_slice space;  /* namespace of the metadata */
    const mc_slice *path;
    size_t path_count;
} mc_override_source;

typedef struct mc_subset_config mc_subset_config; /* subset_config.h */
typedef struct mc_lb_shared mc_lb_shared;         /* what a configuration points to, reference-counted */

/* Compiled from a Cluster message's lb fields (lb_policy, *_lb_config, lb_subset_config, common_lb_config,
 * load_balancing_policy). Immutable; a copy shares what it points to. */
typedef struct mc_lb_config {
    mc_lb_policy policy;
    uint32_t choice_count;
    bool full_scan;                /* least request, ED-8 */
    double active_request_bias;    /* at least 0, ED-9 */
    uint64_t slow_start_window_ms; /* 0: off, ED-11 */
    double slow_start_aggression;  /* above 0 */
    double slow_start_min_percent;
    uint64_t ring_min, ring_max;
    bool ring_murmur;
    uint64_t maglev_size;
    uint32_t hash_balance_factor; /* 0: off */
    bool hostname_hash_key;       /* use_hostname_for_hashing, RH-2 */
    bool locality_weighted;       /* locality_weighted_lb_config, LO-2 */
    bool fail_traffic_on_panic;   /* PR-11 */
    uint32_t panic_threshold;     /* percent, C-1 */
    bool logical;                 /* LOGICAL_DNS: one host, whose addresses change in place (CL-5) */
    int happy_first_family;       /* happy_eyeballs_config: AF_INET, AF_INET6, 0: that of the first address */
    uint32_t happy_first_count;
    bool fixed;                /* cluster type STATIC: the hosts are those of the configuration */
    bool keep_duplicates;      /* types STATIC and STRICT_DNS: the same address twice is two hosts; otherwise the first
                             wins (CL-7) */
    uint8_t override_statuses; /* bits by mc_eds_status: what an override host may report (ED-13) */
    mc_zone_config zone;
    mc_peak_config peak;
    mc_client_weights_config weights;
    const mc_locality_name *local;                /* the proxy's own locality; NULL: unknown (C-6) */
    const mc_subset_config *subsets;              /* NULL: none (SB-1) */
    const struct mc_hash_policies *hash_policies; /* consistent_hashing_lb_config (HA-5); NULL: the route's */
    const mc_override_source *override_sources;   /* of the override_host policy; the first that names a host counts */
    size_t override_source_count;
    mc_lb_shared *shared;             /* one reference; NULL: there are no pointers */
    const struct mc_runtime *runtime; /* while it is compiled */
} mc_lb_config;

/* Where the proxy itself stands, and what overrides fields; borrowed for the call. */
typedef struct mc_lb_node {
    mc_locality_name locality;
    bool local_cluster;               /* local_cluster_name is set */
    const struct mc_runtime *runtime; /* NULL: no values */
} mc_lb_node;

/* `node` may be NULL: nowhere. */
MC_MUST_CHECK mc_status mc_lb_config_compile(const mc_value *cluster, const mc_lb_node *node, mc_lb_config *out,
                                             mc_error *error);
mc_lb_config mc_lb_config_copy(const mc_lb_config *config);
void mc_lb_config_fini(mc_lb_config *config);

/* The membership of a cluster. */
typedef struct mc_hosts mc_hosts;

/* From a ClusterLoadAssignment (canonical JSON, IP addresses only: names were resolved by the control side).
 * Hosts whose address text is in `previous` (may be NULL) are the same objects, with weight, health, metadata
 * and priority of the new assignment (CL-8; if locality or hostname differs, a new object replaces it).
 * Priorities in which nothing changed share their lists and tables with `previous`, so that workers keep
 * their state (ED-4). Registers host stats. On an error in the assignment nothing has changed. Compile and
 * refresh are to be called by one thread at a time per cluster. */
MC_MUST_CHECK mc_status mc_hosts_compile(const mc_value *assignment, const mc_lb_config *config, mc_slice cluster_name,
                                         mc_stats *stats, mc_hosts *previous, mc_hosts **out, mc_error *error);
/* The same hosts after health flags changed: new lists, loads and tables where they differ. */
MC_MUST_CHECK mc_status mc_hosts_refresh(mc_hosts *hosts, mc_hosts **out);
mc_hosts *mc_hosts_ref(mc_hosts *hosts);
void mc_hosts_unref(mc_hosts *hosts);
/* Just these hosts, in the lowest priority, under the options of `old`. */
MC_MUST_CHECK mc_status mc_hosts_of(mc_hosts *old, mc_host *const *list, size_t count, mc_hosts **out);
/* A host that no assignment names, weight 1, for mc_hosts_of. NULL: out of memory. */
mc_host *mc_hosts_make_host(const mc_address *address, const mc_lb_config *config, mc_slice cluster_name,
                            mc_stats *stats);
/* One that is known by a name of its own, not by its address. */
mc_host *mc_hosts_make_named(mc_slice name, const mc_address *address, const mc_lb_config *config,
                             mc_slice cluster_name, mc_stats *stats);
size_t mc_hosts_count(const mc_hosts *hosts);
/* The share of requests that discovery wants refused (drop_overloads), 0 to 1. */
double mc_hosts_drop(const mc_hosts *hosts);
mc_host *mc_hosts_at(const mc_hosts *hosts, size_t index); /* borrowed; configuration order, all priorities */
/* The address that a connection's attempt number `index` goes to, borrowed; NULL: no further one. */
const mc_address *mc_hosts_address(const mc_hosts *hosts, const mc_host *host, uint32_t index);
mc_host *mc_hosts_find(const mc_hosts *hosts, mc_slice address_text); /* borrowed; NULL: no such host */
bool mc_hosts_has(const mc_hosts *hosts, const mc_host *host);
/* Coarse health and exclusion (HS-2, HS-4) as they were when the lists were made. */
size_t mc_hosts_healthy(const mc_hosts *hosts);
size_t mc_hosts_degraded(const mc_hosts *hosts);
size_t mc_hosts_excluded(const mc_hosts *hosts);
/* The greatest weight in the last priority, at least 1. */
uint32_t mc_hosts_max_weight(const mc_hosts *hosts);

/* Number of priorities, and their loads, borrowed. */
size_t mc_hosts_priorities(const mc_hosts *hosts, const mc_priority_load **loads);

/* Shows a membership that is new: gauges of the tables, cluster.<name>.ring_hash_lb.* or maglev_lb.* (RH-5, MG-4; of several
 * priorities the last that has hosts), and what became of the subsets (SB-9, SB-11). */
void mc_hosts_set_gauges(const mc_hosts *hosts, mc_slice cluster_name, mc_stats *stats, mc_slab *slab);

/* One worker's balancer. */
typedef struct mc_lb mc_lb;

/* What a balancer counts, under "cluster.<name>." (section 15). */
#define MC_LB_COUNTERS(COUNTER)                                                                                        \
    COUNTER(lb_healthy_panic)                                                                                          \
    COUNTER(lb_local_cluster_not_ok)                                                                                   \
    COUNTER(lb_recalculate_zone_structures)                                                                            \
    COUNTER(lb_zone_cluster_too_small)                                                                                 \
    COUNTER(lb_zone_no_capacity_left)                                                                                  \
    COUNTER(lb_zone_routing_all_directly)                                                                              \
    COUNTER(lb_zone_routing_sampled)                                                                                   \
    COUNTER(lb_zone_routing_cross_zone)                                                                                \
    COUNTER(lb_subsets_selected)                                                                                       \
    COUNTER(lb_subsets_fallback)                                                                                       \
    COUNTER(lb_subsets_fallback_panic)

typedef struct mc_lb_stats {
    mc_slab *slab; /* the worker's; NULL: nothing is counted */
#define MC_LB_STAT_FIELD(name) mc_stat name;
    MC_LB_COUNTERS(MC_LB_STAT_FIELD)
#undef MC_LB_STAT_FIELD
} mc_lb_stats;

/* The stats of that cluster, registered. */
mc_lb_stats mc_lb_stats_of(mc_stats *stats, mc_slab *slab, mc_slice cluster_name);

/* Draws: locality seeds, then the scheduler seed (LO-2). All pointers are borrowed but `hosts`, which is
 * referenced. */
MC_MUST_CHECK mc_lb *mc_lb_new(const mc_lb_config *config, mc_hosts *hosts, mc_random *random, uint64_t now_ms,
                               const mc_lb_stats *stats);
/* Schedulers made ahead, so that the balancer's thread need not: those of a great membership take long. */
typedef struct mc_lb_plan mc_lb_plan;
/* The same with a seed of the caller's, not drawn, and with a plan for these hosts (may be NULL), of which it takes what fits. */
MC_MUST_CHECK mc_lb *mc_lb_new_seeded(const mc_lb_config *config, mc_hosts *hosts, mc_random *random, uint64_t seed,
                                      mc_lb_plan *plan, uint64_t now_ms, const mc_lb_stats *stats);
void mc_lb_free(mc_lb *lb);
/* New membership; keeps what ED-6 says is kept. On MC_ENOMEM the old membership stays. */
MC_MUST_CHECK mc_status mc_lb_update(mc_lb *lb, mc_hosts *hosts, uint64_t now_ms);
/* For balancers with this seed that have `previous` now, or, when it is NULL, are yet to be made. NULL: nothing is worth it, or no
 * memory. */
MC_MUST_CHECK mc_lb_plan *mc_lb_plan_new(const mc_lb_config *config, mc_hosts *hosts, const mc_hosts *previous,
                                         uint64_t seed, uint64_t now_ms);
void mc_lb_plan_free(mc_lb_plan *plan);
/* mc_lb_update with a plan for these hosts (may be NULL); takes what fits out of it. */
MC_MUST_CHECK mc_status mc_lb_update_planned(mc_lb *lb, mc_hosts *hosts, mc_lb_plan *plan, uint64_t now_ms);
/* The membership of the cluster that the proxy belongs to (ZA-1), referenced; NULL: unknown. On MC_ENOMEM there is no
 * zone-aware routing. */
MC_MUST_CHECK mc_status mc_lb_set_local(mc_lb *lb, mc_hosts *local);

/* What a request asks of its host (SB-3): objects `envoy.lb` merged one over the other, ascending by key. */
typedef struct mc_subset_criterion {
    mc_slice key;
    const mc_value *value;
} mc_subset_criterion;
typedef struct mc_subset_criteria {
    const mc_subset_criterion *items;
    size_t count;
} mc_subset_criteria;
/* Later objects win; a NULL among them is skipped. Borrows the objects; the rest is the arena's. */
MC_MUST_CHECK mc_status mc_subset_criteria_init(mc_subset_criteria *criteria, mc_arena *arena,
                                                const mc_value *const *objects, size_t count);

/* All load on one priority, and on its healthy or its degraded hosts (CL-16). Policies that hash do not care (RH-8). */
typedef struct mc_lb_forced {
    uint32_t priority;
    bool degraded;
} mc_lb_forced;

typedef struct mc_lb_request {
    bool has_hash;
    uint64_t hash;
    uint64_t now_ms;
    uint32_t cluster_active; /* the cluster's upstream_rq_active; read only with hash_balance_factor (RH-9) */
    uint32_t attempts;       /* host-selection attempts allowed beyond the first (ED-12), 0: none */
    /* Host predicate (RF-26): true asks for another host; NULL: accept. The last attempt's host is used
     * anyway. */
    bool (*refuse)(void *ctx, const mc_host *host);
    void *ctx;
    const mc_subset_criteria *criteria;       /* NULL: none; read only with subsets */
    struct mc_retry_priority *retry_priority; /* of a request that is tried again (PR-12); NULL: none */
    const mc_lb_forced *forced;               /* instead of all loads; NULL: none */
    mc_slice override_host;                   /* address text to be tried first (ED-13); empty: none */
    bool override_strict;                     /* that host or none */
} mc_lb_request;

/* Borrowed host (valid while the membership is), or NULL: no host can be selected. */
mc_host *mc_lb_choose(mc_lb *lb, const mc_lb_request *request);
/* The host of the choice after those peeked already, for a connection made ahead (ED-2, ED-5, ED-6); NULL: the policy cannot
 * tell, or as many hosts as are healthy have been peeked. */
mc_host *mc_lb_peek(mc_lb *lb, const mc_lb_request *request);

#endif
