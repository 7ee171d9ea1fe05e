"""csrc/lb as its bindings see it."""

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t

from meshcore._core.cbase cimport (
    c_bool,
    mc_arena,
    mc_error,
    mc_random,
    mc_runtime,
    mc_slice,
    mc_status,
    mc_value,
)
from meshcore._core.stats cimport mc_slab, mc_stat, mc_stats


cdef extern from "stats/stats.h" nogil:
    mc_slab *mc_slab_open(mc_stats *stats)
    void mc_slab_close(mc_slab *slab)
    mc_stat mc_stats_counter(mc_stats *stats, mc_slice name)

cdef extern from "lb/priority.h" nogil:
    ctypedef struct mc_priority_counts:
        uint64_t hosts
        uint64_t healthy
        uint64_t degraded
        uint64_t excluded
        uint64_t hosts_weight
        uint64_t healthy_weight
        uint64_t degraded_weight
        uint64_t excluded_weight
    ctypedef struct mc_priority_options:
        uint32_t overprovisioning
        uint32_t panic_threshold
        c_bool weighted_health
    ctypedef struct mc_priority_load:
        uint32_t health
        uint32_t degraded
        uint32_t healthy_load
        uint32_t degraded_load
        c_bool panic
    void mc_priority_compute(
        const mc_priority_counts *counts,
        size_t count,
        const mc_priority_options *options,
        mc_priority_load *loads,
    )

cdef extern from "lb/lb.h" nogil:
    ctypedef struct mc_locality_name:
        mc_slice region
        mc_slice zone
        mc_slice sub_zone
    ctypedef struct mc_outlier_host:
        pass
    ctypedef struct mc_host:
        mc_outlier_host *outlier
        uint32_t rq_active
        uint32_t pending
        uint32_t health_flags
        uint64_t hc_pass_ms
        uint32_t weight
        uint32_t priority
        uint8_t eds_status
        c_bool canary
        mc_slice address_text
        mc_slice hostname
        mc_slice region
        mc_slice zone
        mc_slice sub_zone
    size_t mc_host_flags_text(uint32_t flags, char *out, size_t n)

    ctypedef enum mc_lb_policy:
        MC_LB_PEAK_EWMA
        MC_LB_CLIENT_WEIGHTS
    ctypedef struct mc_peak_config:
        pass
    ctypedef struct mc_client_weights_config:
        uint64_t update_ms
    ctypedef struct mc_lb_config:
        mc_lb_policy policy
        mc_peak_config peak
        mc_client_weights_config weights
        uint32_t panic_threshold
    ctypedef struct mc_lb_node:
        mc_locality_name locality
        c_bool local_cluster
        const mc_runtime *runtime
    mc_status mc_lb_config_compile(
        const mc_value *cluster, const mc_lb_node *node, mc_lb_config *out, mc_error *error
    )
    void mc_lb_config_fini(mc_lb_config *config)

    ctypedef struct mc_hosts:
        pass
    mc_status mc_hosts_compile(
        const mc_value *assignment,
        const mc_lb_config *config,
        mc_slice cluster_name,
        mc_stats *stats,
        mc_hosts *previous,
        mc_hosts **out,
        mc_error *error,
    )
    mc_status mc_hosts_refresh(mc_hosts *hosts, mc_hosts **out)
    void mc_hosts_unref(mc_hosts *hosts)
    size_t mc_hosts_count(const mc_hosts *hosts)
    mc_host *mc_hosts_at(const mc_hosts *hosts, size_t index)
    mc_host *mc_hosts_find(const mc_hosts *hosts, mc_slice address_text)
    size_t mc_hosts_priorities(const mc_hosts *hosts, const mc_priority_load **loads)
    void mc_hosts_set_gauges(
        const mc_hosts *hosts, mc_slice cluster_name, mc_stats *stats, mc_slab *slab
    )

    ctypedef struct mc_lb:
        pass
    ctypedef struct mc_lb_stats:
        mc_slab *slab
    ctypedef struct mc_subset_criteria:
        pass
    mc_status mc_subset_criteria_init(
        mc_subset_criteria *criteria, mc_arena *arena, const mc_value **objects, size_t count
    )
    ctypedef struct mc_lb_forced:
        uint32_t priority
        c_bool degraded
    ctypedef struct mc_lb_request:
        c_bool has_hash
        uint64_t hash
        uint64_t now_ms
        uint32_t cluster_active
        uint32_t attempts
        c_bool (*refuse)(void *ctx, const mc_host *host) noexcept nogil
        void *ctx
        const mc_subset_criteria *criteria
        mc_retry_priority *retry_priority
        const mc_lb_forced *forced
        mc_slice override_host
        c_bool override_strict
    mc_lb_stats mc_lb_stats_of(mc_stats *stats, mc_slab *slab, mc_slice cluster_name)
    mc_lb *mc_lb_new(
        const mc_lb_config *config,
        mc_hosts *hosts,
        mc_random *random,
        uint64_t now_ms,
        const mc_lb_stats *stats,
    )
    void mc_lb_free(mc_lb *lb)
    mc_status mc_lb_update(mc_lb *lb, mc_hosts *hosts, uint64_t now_ms)
    mc_status mc_lb_set_local(mc_lb *lb, mc_hosts *local)
    mc_host *mc_lb_choose(mc_lb *lb, const mc_lb_request *request)
    mc_host *mc_lb_peek(mc_lb *lb, const mc_lb_request *request)

cdef extern from "lb/retry_priority.h" nogil:
    ctypedef struct mc_retry_priority:
        pass
    void mc_retry_priority_init(mc_retry_priority *retry, uint32_t frequency)
    void mc_retry_priority_tried(mc_retry_priority *retry, uint32_t priority)
    const mc_priority_load *mc_retry_priority_loads(
        mc_retry_priority *retry, const mc_hosts *hosts
    )

cdef extern from "lb/aggregate.h" nogil:
    ctypedef struct mc_aggregate:
        pass
    mc_aggregate *mc_aggregate_new(uint32_t members, uint32_t panic_threshold)
    void mc_aggregate_free(mc_aggregate *aggregate)
    void mc_aggregate_see(mc_aggregate *aggregate, uint32_t member, mc_hosts *hosts)
    c_bool mc_aggregate_choose(
        mc_aggregate *aggregate,
        mc_retry_priority *retry,
        uint64_t draw,
        uint32_t *member,
        mc_lb_forced *out,
    )
    uint32_t mc_aggregate_place(const mc_aggregate *aggregate, uint32_t member, uint32_t priority)

cdef extern from "lb/peak_ewma.h" nogil:
    ctypedef struct mc_peak_answer:
        uint16_t status
        int16_t grpc_status
        c_bool has_retry_after
        uint64_t retry_after_ms
    double mc_peak_estimate(const mc_host *host, const mc_peak_config *config, uint64_t now_ns)
    void mc_peak_answered(
        mc_host *host,
        const mc_peak_config *config,
        const mc_peak_answer *answer,
        uint64_t rtt_ns,
        uint64_t now_ns,
    )

cdef extern from "lb/client_weights.h" nogil:
    ctypedef struct mc_load_report:
        pass
    mc_status mc_load_report_parse(
        mc_slice header, const mc_client_weights_config *config, mc_load_report *out
    )
    mc_status mc_load_report_parse_binary(
        mc_slice base64, const mc_client_weights_config *config, mc_load_report *out
    )
    bint mc_load_report_weight(
        const mc_load_report *report, const mc_client_weights_config *config, uint32_t *out
    )
    void mc_client_weight_report(mc_host *host, uint32_t weight, uint64_t now_ms)
    bint mc_client_weights_update(
        const mc_hosts *hosts, const mc_client_weights_config *config, uint64_t now_ms
    )

cdef extern from "health/outlier.h" nogil:
    ctypedef enum mc_outlier_event:
        pass
    ctypedef enum mc_outlier_type:
        MC_OUTLIER_DEGRADED
    ctypedef enum mc_outlier_action:
        pass
    ctypedef struct mc_outlier_config:
        uint64_t interval_ms
    ctypedef struct mc_outlier_stats:
        pass
    ctypedef struct mc_outlier:
        mc_outlier_config config
    mc_status mc_outlier_config_compile(
        const mc_value *value, mc_outlier_config *out, mc_error *error
    )
    unsigned mc_outlier_put(
        mc_outlier_host *host,
        const mc_outlier_config *config,
        mc_outlier_event event,
        unsigned code,
    )
    void mc_outlier_stats_register(
        mc_outlier_stats *out,
        const mc_outlier_config *config,
        mc_stats *stats,
        mc_slice stat_name,
        mc_slab *slab,
    )
    void mc_outlier_init(
        mc_outlier *outlier,
        const mc_outlier_config *config,
        const mc_outlier_stats *stats,
        mc_random *random,
        mc_random *sampling,
        void (*listener)(
            void *ctx,
            mc_host *host,
            mc_outlier_action action,
            mc_outlier_type type,
            uint64_t since_ms,
        ) noexcept nogil,
        void *ctx,
    )
    void mc_outlier_fini(mc_outlier *outlier)
    mc_status mc_outlier_set_hosts(mc_outlier *outlier, mc_hosts *hosts)
    bint mc_outlier_report(
        mc_outlier *outlier, mc_host *host, mc_outlier_type type, uint64_t now_ms
    )
    bint mc_outlier_tick(mc_outlier *outlier, uint64_t now_ms)
