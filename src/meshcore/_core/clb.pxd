"""csrc/lb as its bindings see it."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from meshcore._core.cbase cimport mc_random, mc_slice, mc_status
from meshcore._core.stats cimport mc_slab, mc_stat, mc_stats


cdef extern from "<stdbool.h>" nogil:
    ctypedef bint c_bool "bool"

cdef extern from "base/arena.h" nogil:
    ctypedef struct mc_arena:
        pass
    void mc_arena_init(mc_arena *arena, void *pool)
    void mc_arena_fini(mc_arena *arena)

cdef extern from "base/error.h" nogil:
    ctypedef struct mc_error:
        char path[512]
        char reason[256]

cdef extern from "base/value.h" nogil:
    ctypedef struct mc_value:
        pass
    mc_status mc_value_parse(mc_arena *arena, mc_slice json, const mc_value **out, mc_error *error)

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
    ctypedef struct mc_host:
        uint32_t rq_active
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

    ctypedef struct mc_lb_config:
        pass
    mc_status mc_lb_config_compile(const mc_value *cluster, mc_lb_config *out, mc_error *error)

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
    void mc_hosts_set_gauges(const mc_hosts *hosts, mc_slice cluster_name, mc_stats *stats)

    ctypedef struct mc_lb:
        pass
    ctypedef struct mc_lb_stats:
        mc_slab *slab
    ctypedef struct mc_lb_request:
        c_bool has_hash
        uint64_t hash
        uint64_t now_ms
        uint32_t cluster_active
        uint32_t attempts
        c_bool (*refuse)(void *ctx, const mc_host *host) noexcept nogil
        void *ctx
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
    mc_host *mc_lb_choose(mc_lb *lb, const mc_lb_request *request)
    mc_host *mc_lb_peek(mc_lb *lb, const mc_lb_request *request)

cdef extern from "lb/hosts.h" nogil:
    size_t mc_hosts_priorities(const mc_hosts *hosts, const mc_priority_load **loads)
