"""The store, for modules that record into it or read it: `Store.of` wraps an mc_stats."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from meshcore._core.cbase cimport c_bool, mc_slice, mc_status, mc_text


cdef extern from "stats/stats.h" nogil:
    ctypedef uint32_t mc_stat
    ctypedef enum mc_stat_kind:
        MC_COUNTER
        MC_GAUGE
        MC_HISTOGRAM
        MC_TEXT
    ctypedef enum mc_unit:
        MC_UNIT_NONE
        MC_UNIT_BYTES
        MC_UNIT_US
        MC_UNIT_MS
        MC_UNIT_PERCENT
    ctypedef struct mc_stats:
        pass
    ctypedef struct mc_slab:
        pass
    mc_stats *mc_stats_new()
    mc_stats *mc_stats_ref(mc_stats *stats)
    void mc_stats_unref(mc_stats *stats)
    mc_stat mc_stats_counter(mc_stats *stats, mc_slice name)
    mc_stat mc_stats_gauge(mc_stats *stats, mc_slice name)
    mc_stat mc_stats_histogram_unit(mc_stats *stats, mc_slice name, mc_unit unit)
    mc_stat mc_stats_text(mc_stats *stats, mc_slice name)
    mc_stat mc_stats_scoped(mc_stats *stats, mc_stat_kind kind, mc_slice scope, mc_slice name)
    mc_stat mc_stats_find(mc_stats *stats, mc_stat_kind kind, mc_slice name)
    uint64_t mc_stats_value(mc_stats *stats, mc_stat stat)
    uint64_t mc_stats_overflow(mc_stats *stats, mc_stat_kind kind)
    void mc_counter_add(mc_slab *slab, mc_stat counter, uint64_t n)
    void mc_gauge_add(mc_slab *slab, mc_stat gauge, int64_t delta)
    void mc_gauge_set(mc_stats *stats, mc_stat gauge, uint64_t value)
    mc_status mc_text_set(mc_stats *stats, mc_stat text, mc_slice value)
    void mc_histogram_record(mc_slab *slab, mc_stat histogram, uint64_t value)

cdef extern from "stats/histogram.h" nogil:
    ctypedef struct mc_histogram:
        size_t bin_count
        uint64_t samples
    ctypedef struct mc_bucket_walk:
        const mc_histogram *histogram
        double scale
        size_t at
        uint64_t running
    enum: MC_QUANTILES
    const double *mc_quantiles
    void mc_histogram_quantiles(
        const mc_histogram *histogram, const double *q, size_t count, double *out
    )
    double mc_histogram_sum(const mc_histogram *histogram)
    uint64_t mc_bucket_upto(mc_bucket_walk *walk, double bound)

cdef extern from "stats/labels.h" nogil:
    ctypedef struct mc_tag:
        mc_slice name
        mc_slice value
    ctypedef struct mc_stat_labels:
        mc_slice extracted
        const mc_tag *tags
        size_t count
    mc_status mc_stats_label(
        mc_stats *stats, mc_stat stat, mc_slice extracted, const mc_tag *tags, size_t count
    )

cdef extern from "stats/read.h" nogil:
    ctypedef struct mc_stat_entry:
        mc_slice name
        mc_stat stat
        mc_stat_kind kind
        mc_unit unit
        bint used
        bint negative
        uint64_t value
        uint64_t delta
        mc_slice text
        const mc_stat_labels *labels
        mc_histogram cumulative
        mc_histogram interval
        const double *bounds
        size_t bound_count
    ctypedef struct mc_stats_view:
        mc_stat_entry *entries
        size_t count
    enum:
        MC_VIEW_MERGE
        MC_VIEW_LATCH
        MC_VIEW_LIVE
    mc_status mc_stats_view_init(mc_stats_view *view, mc_stats *stats, unsigned flags)
    void mc_stats_view_fini(mc_stats_view *view)
    uint64_t mc_gauge_read(mc_stats *stats, mc_stat gauge, c_bool *negative)
    mc_status mc_histogram_read(mc_stats *stats, mc_stat histogram, mc_histogram *out)
    void mc_histogram_fini(mc_histogram *histogram)
    mc_status mc_stats_merge(mc_stats *stats)
    void mc_stats_reset_counters(mc_stats *stats)
    mc_status mc_stats_set_bounds(
        mc_stats *stats, mc_stat histogram, const double *bounds, size_t count
    )

cdef extern from "stats/render.h" nogil:
    ctypedef enum mc_buckets:
        MC_BUCKETS_SUMMARY
        MC_BUCKETS_CUMULATIVE
        MC_BUCKETS_DISJOINT
        MC_BUCKETS_DETAILED
    ctypedef struct mc_render:
        bint used_only
        unsigned kinds
        mc_buckets buckets
        const uint8_t *mask
        mc_slice prefix
    void mc_render_text(mc_text *out, const mc_stats_view *view, const mc_render *how)
    void mc_render_json(mc_text *out, const mc_stats_view *view, const mc_render *how)
    mc_status mc_render_prometheus(mc_text *out, const mc_stats_view *view, const mc_render *how)
    double mc_unit_scale(mc_unit unit)

cdef extern from *:
    """
    typedef struct thread_slabs thread_slabs;
    """
    ctypedef struct thread_slabs:
        pass


@cython.final
cdef class Store:
    cdef mc_stats *stats
    cdef thread_slabs *slabs
    cdef object __weakref__

    @staticmethod
    cdef Store of(mc_stats *stats)

    cdef int take(self, mc_stats *stats) except -1


cdef class Stat:
    cdef Store store
    cdef thread_slabs *slabs  # the store's
    cdef mc_stat stat
    cdef readonly str name
