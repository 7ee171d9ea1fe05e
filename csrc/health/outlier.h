/* Outlier detection (rules OD-1 to OD-14): hosts that answer badly are taken out of balancing for a while.
 *
 * Two halves. On the workers, mc_outlier_put counts an outcome in the host's atomics and says which consecutive-error
 * detectors have just reached their threshold. On the control side, one thread at a time, mc_outlier owns the decisions:
 * it is handed those reports and an interval tick, ejects and lets back by the host's flag, and counts. Everything is a
 * function of (state, event, now, random). */
#ifndef MC_HEALTH_OUTLIER_H
#define MC_HEALTH_OUTLIER_H

#include "base/runtime.h"
#include "lb/lb.h"

/* What ejects: index into the counters, in the order of reports. */
#define MC_OUTLIER_TYPES(X)                                                                                            \
    X(CONSECUTIVE_GATEWAY_FAILURE, consecutive_gateway_failure)                                                        \
    X(CONSECUTIVE_5XX, consecutive_5xx)                                                                                \
    X(CONSECUTIVE_LOCAL_ORIGIN_FAILURE, consecutive_local_origin_failure)                                              \
    X(SUCCESS_RATE, success_rate)                                                                                      \
    X(SUCCESS_RATE_LOCAL_ORIGIN, local_origin_success_rate)                                                            \
    X(FAILURE_PERCENTAGE, failure_percentage)                                                                          \
    X(FAILURE_PERCENTAGE_LOCAL_ORIGIN, local_origin_failure_percentage)                                                \
    X(HEALTH_DEGREE, health_degree)

typedef enum mc_outlier_type {
#define MC_OUTLIER_TYPE(name, stat) MC_OUTLIER_##name,
    MC_OUTLIER_TYPES(MC_OUTLIER_TYPE)
#undef MC_OUTLIER_TYPE
        MC_OUTLIER_TYPE_COUNT,
    MC_OUTLIER_DEGRADED = MC_OUTLIER_TYPE_COUNT /* marks instead of ejecting, always and without a limit (OD-13) */
} mc_outlier_type;

/* "CONSECUTIVE_5XX" as in the event log. */
const char *mc_outlier_type_name(mc_outlier_type type);

/* What happened to a request or connection (OD-3, OD-4). */
typedef enum mc_outlier_event {
    MC_OUTLIER_CONNECT_SUCCESS,       /* a request got a connection */
    MC_OUTLIER_CONNECT_SUCCESS_FINAL, /* the same where nothing will follow: TCP */
    MC_OUTLIER_CONNECT_FAILED,
    MC_OUTLIER_TIMEOUT,
    MC_OUTLIER_REQUEST_SUCCESS,
    MC_OUTLIER_REQUEST_DEGRADED, /* a success that says x-envoy-degraded */
    MC_OUTLIER_REQUEST_FAILED
} mc_outlier_event;

/* Thresholds of 0 are never reached. Times in milliseconds. */
typedef struct mc_outlier_config {
    uint64_t interval_ms, base_ms, max_ms, max_jitter_ms;
    uint32_t max_ejection_percent;
    uint32_t consecutive_5xx, consecutive_gateway, consecutive_local;
    uint32_t success_minimum_hosts, success_volume, success_stdev; /* stdev factor in thousandths */
    uint32_t failure_threshold, failure_minimum_hosts, failure_volume;
    uint32_t enforcing[MC_OUTLIER_TYPE_COUNT]; /* percent */
    /* The health degree: a failure adds one, a success takes one away, at this threshold the host is ejected; it comes back
     * one below the threshold, so that one that is not well yet goes again fast. 0: off. */
    uint32_t degree_threshold;
    bool always_eject_one;
    bool detect_degraded; /* detect_degraded_hosts, OD-13 */
    bool split;           /* split_external_local_origin_errors */
    bool check_unejects;  /* successful_active_health_check_uneject_host, OD-10 */
} mc_outlier_config;

/* From Cluster.outlier_detection; NULL: all defaults. The health degree is a monitor:
 * {"@type": "type.googleapis.com/meshcore.HealthDegree", "threshold": n}. */
MC_MUST_CHECK mc_status mc_outlier_config_compile(const mc_value *value, mc_outlier_config *out, mc_error *error);
/* Values of the runtime, "outlier_detection.<field>" (times with "_ms"), take the place of configured ones. */
void mc_outlier_config_override(mc_outlier_config *config, const mc_runtime *runtime);

/* Requests of the current interval on one channel. */
typedef struct mc_outlier_bucket {
    _Atomic uint32_t total, success;
} mc_outlier_bucket;

/* One host's state. */
typedef struct mc_outlier_host {
    /* Workers count here. */
    _Atomic uint32_t consecutive_5xx, consecutive_gateway, consecutive_local, degree;
    mc_outlier_bucket external, local;
    /* The rest is the control side's. */
    double success_rate, local_success_rate; /* percent in the last interval, -1: too few requests */
    struct mc_outlier_spell {
        uint64_t since_ms, over_ms; /* of the last one; over: 0 as long as none was */
        uint64_t jitter_ms;
        uint32_t multiplier; /* of the next one's time, OD-7 */
    } ejection, degradation;
    uint32_t ejections; /* ever */
} mc_outlier_host;

/* Counts one outcome; code is the HTTP status, 0: none. Returns the types to report, as bits 1 << type (MC_OUTLIER_DEGRADED for
 * every degraded answer while that is detected). Any thread. */
unsigned mc_outlier_put(mc_outlier_host *host, const mc_outlier_config *config, mc_outlier_event event, unsigned code);

/* Registered under "cluster.<name>.outlier_detection.". */
#define MC_OUTLIER_STATS(COUNTER, GAUGE)                                                                               \
    COUNTER(ejections_enforced_total)                                                                                  \
    COUNTER(ejections_overflow)                                                                                        \
    COUNTER(ejections_total)                                                                                           \
    COUNTER(ejections_consecutive_5xx)                                                                                 \
    COUNTER(ejections_success_rate)                                                                                    \
    COUNTER(ejections_detected_degradation)                                                                            \
    GAUGE(ejections_active)

typedef struct mc_outlier_stats {
    mc_slab *slab; /* of the control thread; NULL: nothing is counted */
#define MC_OUTLIER_STAT_FIELD(name) mc_stat name;
    MC_OUTLIER_STATS(MC_OUTLIER_STAT_FIELD, MC_OUTLIER_STAT_FIELD)
#undef MC_OUTLIER_STAT_FIELD
    mc_stat detected[MC_OUTLIER_TYPE_COUNT], enforced[MC_OUTLIER_TYPE_COUNT];
} mc_outlier_stats;

/* `config` decides which detectors are shown. Release when nobody counts any more. */
void mc_outlier_stats_register(mc_outlier_stats *out, const mc_outlier_config *config, mc_stats *stats,
                               mc_slice stat_name, mc_slab *slab);
void mc_outlier_stats_release(mc_outlier_stats *stats);

/* For the event log, and to have the lists rebuilt: called after every decision but an overflow. A return from ejection or
 * degradation has the type CONSECUTIVE_5XX, the schema's zero value (OD-15). */
typedef enum mc_outlier_action { MC_OUTLIER_EJECT, MC_OUTLIER_WOULD_EJECT, MC_OUTLIER_UNEJECT } mc_outlier_action;
/* `since_ms`: how long ago the last opposite action was; UINT64_MAX: never. */
typedef void (*mc_outlier_listener)(void *ctx, mc_host *host, mc_outlier_action action, mc_outlier_type type,
                                    uint64_t since_ms);

/* One cluster's detector. */
typedef struct mc_outlier {
    mc_outlier_config config;
    mc_outlier_stats stats;
    mc_random *random;   /* borrowed */
    mc_random *sampling; /* borrowed: the runtime's generator, rule C-2 */
    mc_outlier_listener listener;
    void *ctx;
    mc_hosts *hosts;                                           /* one reference; NULL at first */
    uint64_t active;                                           /* ejected now */
    double success_rate_average[2], success_rate_threshold[2]; /* of the last tick: external, local; -1: none */
} mc_outlier;

/* `random` draws jitter, `sampling` the enforcing percentages; all pointers are borrowed. */
void mc_outlier_init(mc_outlier *outlier, const mc_outlier_config *config, const mc_outlier_stats *stats,
                     mc_random *random, mc_random *sampling, mc_outlier_listener listener, void *ctx);
void mc_outlier_fini(mc_outlier *outlier);

/* The cluster's members from now on; new ones begin to be watched (before the membership is published to workers). */
MC_MUST_CHECK mc_status mc_outlier_set_hosts(mc_outlier *outlier, mc_hosts *hosts);

/* A report of mc_outlier_put reached the control side. True: the host is ejected now, lists must be refreshed. */
bool mc_outlier_report(mc_outlier *outlier, mc_host *host, mc_outlier_type type, uint64_t now_ms);

/* End of an interval: lets hosts back, evaluates statistics. True: lists must be refreshed. */
bool mc_outlier_tick(mc_outlier *outlier, uint64_t now_ms);

/* An active check of a host that was not failing succeeded (OD-10). True: lists must be refreshed. */
bool mc_outlier_check_passed(mc_outlier *outlier, mc_host *host, uint64_t now_ms);

/* How long a host stays out once ejected with this multiplier, jitter aside (OD-8). */
uint64_t mc_outlier_ejection_ms(const mc_outlier_config *config, uint32_t multiplier);

#endif
