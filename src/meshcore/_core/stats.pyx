"""Counters, gauges, histograms and texts by name: the face of csrc/stats."""

cimport cython
from cpython.long cimport PyLong_CheckExact
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc

from meshcore._core.cbase cimport (
    MC_EEXIST,
    MC_OK,
    bytes_slice,
    mc_status,
    mc_text,
    mc_text_fini,
    mc_text_init,
    slice_str,
)

from collections import namedtuple

cdef extern from "thread_slabs.h" nogil:
    thread_slabs *thread_slabs_new(mc_stats *stats)
    void thread_slabs_free(thread_slabs *owner)
    mc_slab *thread_slabs_get(thread_slabs *owner)
    size_t thread_slabs_count(thread_slabs *owner)

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "Metric",
    "Scope",
    "Snapshot",
    "Stat",
    "Store",
    "Summary",
    "Text",
]

Summary = namedtuple("Summary", "samples sum quantiles")
Metric = namedtuple("Metric", "name kind value used extracted_name tags")

LOWEST = -(2**62)
UNITS = {
    "": MC_UNIT_NONE,
    "bytes": MC_UNIT_BYTES,
    "us": MC_UNIT_US,
    "ms": MC_UNIT_MS,
    "percent": MC_UNIT_PERCENT,
}
KINDS = {"counter": MC_COUNTER, "gauge": MC_GAUGE, "histogram": MC_HISTOGRAM, "text": MC_TEXT}
KIND_NAMES = {number: name for name, number in KINDS.items()}
BUCKETS = {
    "summary": MC_BUCKETS_SUMMARY,
    "cumulative": MC_BUCKETS_CUMULATIVE,
    "disjoint": MC_BUCKETS_DISJOINT,
    "detailed": MC_BUCKETS_DETAILED,
}


cdef inline mc_slab *slab_of(thread_slabs *slabs) except NULL nogil:
    cdef mc_slab *slab = thread_slabs_get(slabs)
    if slab == NULL:
        with gil:
            raise MemoryError()
    return slab


cdef int check(mc_status status) except -1:
    if status != MC_OK:
        raise MemoryError()
    return 0


cdef inline uint64_t natural(object n) except? 0:
    """n as a whole number that is not negative; a float is a TypeError."""
    return <uint64_t>(n if PyLong_CheckExact(n) else PyNumber_Index(n))


cdef inline int64_t whole(object n) except? 0:
    return <int64_t>(n if PyLong_CheckExact(n) else PyNumber_Index(n))


cdef bytes utf8(str text):
    return text.encode("utf-8", "surrogateescape")


def _look_up(table, key, what):
    try:
        return table[key]
    except KeyError:
        expected = ", ".join(repr(name) for name in table)
        raise ValueError(f"{what} must be one of {expected}, not {key!r}") from None


# What a factory hands to __cinit__: without it not even __new__ makes an object that refers to
# nothing.
cdef object MADE_HERE = object()


@cython.final
cdef class Store:
    """A set of stats by name. Share it, and everything that comes from it, between threads.

    Recording takes no lock: each OS thread adds to memory of its own, and readers sum. A stat is
    made when it is first asked for, lives as long as its store, and is the same one for the same
    name and kind.
    """

    def __cinit__(self, key=None):
        cdef mc_stats *stats
        if key is not MADE_HERE:
            stats = mc_stats_new()
            if stats == NULL:
                raise MemoryError()
            self.take(stats)

    @staticmethod
    cdef Store of(mc_stats *stats):
        """A face for a store that somebody else made; takes a reference of its own."""
        cdef Store self = Store.__new__(Store, MADE_HERE)
        self.take(mc_stats_ref(stats))
        return self

    cdef int take(self, mc_stats *stats) except -1:
        self.slabs = thread_slabs_new(stats)
        if self.slabs == NULL:
            raise MemoryError()
        self.stats = stats
        return 0

    def __dealloc__(self):
        if self.slabs != NULL:
            thread_slabs_free(self.slabs)

    def counter(self, name, tags=None):
        """The counter of this name and these tags."""
        return _make(Counter, self, MC_COUNTER, MC_UNIT_NONE, name, tags)

    def gauge(self, name, tags=None):
        """The gauge of this name and these tags."""
        return _make(Gauge, self, MC_GAUGE, MC_UNIT_NONE, name, tags)

    def histogram(self, name, tags=None, *, unit="ms"):
        """The histogram of this name and these tags.

        `unit` is "ms", "us", "bytes", "percent" or ""; it is decided by who asks first.
        """
        return _make(Histogram, self, MC_HISTOGRAM, _look_up(UNITS, unit, "unit"), name, tags)

    def text(self, name, tags=None):
        """The text of this name and these tags."""
        return _make(Text, self, MC_TEXT, MC_UNIT_NONE, name, tags)

    def scope(self, prefix):
        """A view of this store in which every name is preceded by `prefix` and a dot."""
        return Scope(self, prefix)

    def snapshot(self, *, merge=False, latch=False, live=False):
        """Everything as it is now, in the order of names.

        `merge` starts a new interval for every histogram, as a flush does. Without it histograms
        show what they were at the last merge, or with `live` what they are, their intervals left
        alone. `latch` makes the deltas of the next snapshot count from this one.
        """
        return Snapshot(self, merge, latch, live)

    def merge(self):
        """Start a new interval for every histogram."""
        cdef mc_status status
        with nogil:
            status = mc_stats_merge(self.stats)
        check(status)

    def reset_counters(self):
        """Counters read zero from here on; gauges, histograms and texts stay."""
        with nogil:
            mc_stats_reset_counters(self.stats)

    @property
    def overflow(self):
        """How many stats could not be made, by kind: `{"counter": 0, ...}`."""
        return {name: mc_stats_overflow(self.stats, kind) for name, kind in KINDS.items()}

    def _threads(self):
        """How many threads have recorded through this object and still run; for tests."""
        return thread_slabs_count(self.slabs)

    def _tag(self, uint32_t stat, str extracted, tags):
        """Label a stat, once; later calls for it do nothing."""
        _label(self, stat, extracted, tags)


cdef int _label(Store store, mc_stat stat, str extracted, tags) except -1:
    cdef bytes name = utf8(extracted)
    cdef list pairs = [(utf8(key), utf8(value)) for key, value in tags]
    cdef mc_tag *array = <mc_tag *>malloc((len(pairs) + 1) * sizeof(mc_tag))
    if array == NULL:
        raise MemoryError()
    for i, (key, value) in enumerate(pairs):
        array[i].name = bytes_slice(key)
        array[i].value = bytes_slice(value)
    cdef mc_status status = mc_stats_label(
        store.stats, stat, bytes_slice(name), array, <size_t>len(pairs)
    )
    free(array)
    return 0 if status == MC_EEXIST else check(status)


cdef list _sorted_tags(tags):
    if tags is None:
        return []
    if not hasattr(tags, "items"):
        raise TypeError(f"tags must be a mapping of str to str, not {type(tags).__name__}")
    for name, value in tags.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"a tag's name and value must be str, not {name!r}: {value!r}")
    return sorted(tags.items())


cdef str _text_of(text, what):
    if not isinstance(text, str):
        raise TypeError(f"{what} must be str, not {type(text).__name__}")
    return text


cdef Stat _make(type cls, Store store, mc_stat_kind kind, mc_unit unit, title, tags):
    cdef Stat self = cls.__new__(cls, MADE_HERE)
    cdef str name = _text_of(title, "a stat's name")
    cdef list pairs = _sorted_tags(tags)
    cdef bytes full
    self.store = store
    self.slabs = store.slabs
    self.name = ".".join([name, *(part for pair in pairs for part in pair)])
    full = utf8(self.name)
    if kind == MC_COUNTER:
        self.stat = mc_stats_counter(store.stats, bytes_slice(full))
    elif kind == MC_GAUGE:
        self.stat = mc_stats_gauge(store.stats, bytes_slice(full))
    elif kind == MC_HISTOGRAM:
        self.stat = mc_stats_histogram_unit(store.stats, bytes_slice(full), unit)
    else:
        self.stat = mc_stats_text(store.stats, bytes_slice(full))
    if pairs and self.stat != 0:
        _label(store, self.stat, name, pairs)
    return self


class Scope:
    """Names below a prefix: `store.scope("a").counter("b")` is `store.counter("a.b")`.

    One dot at either end of the prefix is dropped, and colons become underscores.
    """

    __slots__ = ("_prefix", "_store")

    def __init__(self, store, prefix):
        clean = _text_of(prefix, "a prefix").removesuffix(".").removeprefix(".")
        for unwanted in ("://", ":/", ":", "\0"):
            clean = clean.replace(unwanted, "_")
        self._store = store
        self._prefix = clean + "." if clean else ""

    def __repr__(self):
        return f"Scope({self._prefix!r})"

    def counter(self, name, tags=None):
        """As Store.counter, below the prefix."""
        return self._store.counter(self._prefix + name, tags)

    def gauge(self, name, tags=None):
        """As Store.gauge, below the prefix."""
        return self._store.gauge(self._prefix + name, tags)

    def histogram(self, name, tags=None, *, unit="ms"):
        """As Store.histogram, below the prefix."""
        return self._store.histogram(self._prefix + name, tags, unit=unit)

    def text(self, name, tags=None):
        """As Store.text, below the prefix."""
        return self._store.text(self._prefix + name, tags)

    def scope(self, prefix):
        """A scope within this one."""
        return Scope(self._store, self._prefix + prefix)


cdef class Stat:
    """One stat of a store. A stat that could not be made absorbs what is recorded."""

    def __cinit__(self, key=None):
        if key is not MADE_HERE:
            raise TypeError(f"{type(self).__name__} objects come from a Store")

    def __repr__(self):
        return f"{type(self).__name__}({self.name!r})"


@cython.final
cdef class Counter(Stat):
    """A number that only grows (modulo 2**64)."""

    def inc(self, n=1):
        """Add n, which is not negative."""
        mc_counter_add(slab_of(self.slabs), self.stat, natural(n))

    def add(self, n):
        """Add n, which is not negative."""
        mc_counter_add(slab_of(self.slabs), self.stat, natural(n))

    @property
    def value(self):
        """The sum over all threads since the last reset."""
        return mc_stats_value(self.store.stats, self.stat)


@cython.final
cdef class Gauge(Stat):
    """A number that goes up and down; each thread may move it, or set it as a whole."""

    def set(self, value):
        """Set it, from -2**62 to 2**64 - 1; takes a lock."""
        if value >= 0:
            self._set(natural(value), 0)
        elif value >= LOWEST:
            self._set(0, whole(value))
        else:
            raise OverflowError("a gauge is at least -2**62")

    cdef int _set(self, uint64_t value, int64_t below) except -1:
        mc_gauge_set(self.store.stats, self.stat, value)
        if below:
            mc_gauge_add(slab_of(self.slabs), self.stat, below)
        return 0

    def add(self, delta):
        """Move it by delta."""
        mc_gauge_add(slab_of(self.slabs), self.stat, whole(delta))

    def inc(self, n=1):
        """Move it up by n."""
        mc_gauge_add(slab_of(self.slabs), self.stat, whole(n))

    def dec(self, n=1):
        """Move it down by n."""
        mc_gauge_add(slab_of(self.slabs), self.stat, -whole(n))

    @property
    def value(self):
        """What was set last, and the sum over all threads of the moves since."""
        cdef c_bool negative = False
        cdef uint64_t value = mc_gauge_read(self.store.stats, self.stat, &negative)
        return <int64_t>value if negative else value


@cython.final
cdef class Histogram(Stat):
    """Samples in log-linear bins of two significant digits."""

    def record(self, value):
        """Add one sample, a whole number that is not negative."""
        mc_histogram_record(slab_of(self.slabs), self.stat, natural(value))

    def summary(self):
        """Count, approximate sum and quantiles of everything recorded until now."""
        cdef mc_histogram histogram
        check(mc_histogram_read(self.store.stats, self.stat, &histogram))
        try:
            return _summary(&histogram, 1.0)
        finally:
            mc_histogram_fini(&histogram)

    def buckets(self, bounds):
        """How many samples lie at or below each of these ascending bounds."""
        cdef mc_histogram histogram
        cdef mc_bucket_walk walk
        check(mc_histogram_read(self.store.stats, self.stat, &histogram))
        try:
            walk.histogram = &histogram
            walk.scale = 1.0
            walk.at = walk.running = 0
            return [mc_bucket_upto(&walk, bound) for bound in bounds]
        finally:
            mc_histogram_fini(&histogram)

    def set_bounds(self, bounds):
        """The ascending bucket bounds in which snapshots show it; none brings the defaults back."""
        cdef list values = [float(bound) for bound in bounds]
        if values != sorted(set(values)):
            raise ValueError("bounds must ascend")
        cdef double *array = <double *>malloc((len(values) + 1) * sizeof(double))
        if array == NULL:
            raise MemoryError()
        for i, value in enumerate(values):
            array[i] = value
        cdef mc_status status = mc_stats_set_bounds(
            self.store.stats, self.stat, array, <size_t>len(values)
        )
        free(array)
        check(status)


@cython.final
cdef class Text(Stat):
    """A text, such as the version of a configuration."""

    def set(self, str value):
        """Replace it."""
        cdef bytes raw = utf8(value)
        check(mc_text_set(self.store.stats, self.stat, bytes_slice(raw)))


cdef object _summary(const mc_histogram *histogram, double scale):
    cdef double[MC_QUANTILES] values
    cdef int i
    mc_histogram_quantiles(histogram, mc_quantiles, MC_QUANTILES, values)
    quantiles = {mc_quantiles[i]: values[i] / scale for i in range(MC_QUANTILES)}
    return Summary(histogram.samples, mc_histogram_sum(histogram) / scale, quantiles)


@cython.final
cdef class Snapshot:
    """All stats of a store as they were at one moment, in the order of names; immutable."""

    cdef mc_stats_view view
    cdef bint ready
    cdef Store store

    def __init__(self, Store store not None, bint merge=False, bint latch=False, bint live=False):
        cdef unsigned flags = MC_VIEW_MERGE if merge else 0
        flags |= MC_VIEW_LATCH if latch else 0
        flags |= MC_VIEW_LIVE if live else 0
        cdef mc_status status
        if self.ready:
            return
        with nogil:
            status = mc_stats_view_init(&self.view, store.stats, flags)
        check(status)
        self.store = store
        self.ready = True

    def __dealloc__(self):
        if self.ready:
            mc_stats_view_fini(&self.view)

    def __len__(self):
        return <Py_ssize_t>self.view.count

    def __iter__(self):
        cdef size_t i
        for i in range(self.view.count):
            yield self._metric(&self.view.entries[i])

    cdef object _metric(self, const mc_stat_entry *entry):
        cdef size_t i
        extracted, tags = None, ()
        if entry.labels != NULL:
            extracted = slice_str(entry.labels.extracted)
            tags = tuple([
                (slice_str(entry.labels.tags[i].name), slice_str(entry.labels.tags[i].value))
                for i in range(entry.labels.count)
            ])
        name = slice_str(entry.name)
        return Metric(
            name,
            KIND_NAMES[entry.kind],
            _value(entry),
            bool(entry.used),
            name if extracted is None else extracted,
            tags,
        )

    def names(self):
        """The names, in order."""
        cdef size_t i
        return [slice_str(self.view.entries[i].name) for i in range(self.view.count)]

    def values(self, kind):
        """`{name: value}` of one kind; a histogram's value is the Summary of all its samples."""
        cdef mc_stat_kind wanted = _look_up(KINDS, kind, "kind")
        cdef size_t i
        return {
            slice_str(self.view.entries[i].name): _value(&self.view.entries[i])
            for i in range(self.view.count)
            if self.view.entries[i].kind == wanted
        }

    def deltas(self):
        """`{name: growth since the last latch}` of the counters that have grown."""
        cdef size_t i
        return {
            slice_str(self.view.entries[i].name): self.view.entries[i].delta
            for i in range(self.view.count)
            if self.view.entries[i].kind == MC_COUNTER and self.view.entries[i].delta
        }

    def intervals(self):
        """`{name: Summary}` of the histograms' samples between the last two merges."""
        cdef size_t i
        return {
            slice_str(self.view.entries[i].name): _summary(
                &self.view.entries[i].interval, mc_unit_scale(self.view.entries[i].unit)
            )
            for i in range(self.view.count)
            if self.view.entries[i].kind == MC_HISTOGRAM
        }

    def buckets(self):
        """`{name: ([(bound, samples at or below it), ...], samples, sum)}` of the histograms."""
        cdef size_t i
        return {
            slice_str(self.view.entries[i].name): _buckets(&self.view.entries[i])
            for i in range(self.view.count)
            if self.view.entries[i].kind == MC_HISTOGRAM
        }

    def _untagged(self):
        """`[(stat, name), ...]` of those without labels, for Store._tag."""
        cdef size_t i
        return [
            (self.view.entries[i].stat, slice_str(self.view.entries[i].name))
            for i in range(self.view.count)
            if self.view.entries[i].labels == NULL
        ]

    def render(self, form, *, kinds=None, used_only=False, buckets="summary", mask=None, prefix=""):
        """The snapshot as bytes: `form` is "text", "json" or "prometheus", in Envoy's shapes.

        `kinds` limits it to some of "counter", "gauge", "histogram" and "text"; `mask` is a bytes
        object with a zero for each stat, by the order of names, that is to be left out; `prefix`
        precedes each Prometheus name.
        """
        cdef mc_render how
        cdef mc_text out
        cdef mc_status status = MC_OK
        cdef bytes raw_prefix = utf8(prefix), raw_mask = mask
        cdef int wanted = ("text", "json", "prometheus").index(form)
        how.used_only = used_only
        how.kinds = 0
        for kind in KINDS if kinds is None else kinds:
            how.kinds |= 1u << <unsigned>_look_up(KINDS, kind, "kind")
        how.buckets = _look_up(BUCKETS, buckets, "buckets")
        if raw_mask is not None and <size_t>len(raw_mask) != self.view.count:
            raise ValueError(f"mask must have {self.view.count} bytes")
        how.mask = NULL
        if raw_mask is not None:
            how.mask = <const uint8_t *><const char *>raw_mask
        how.prefix = bytes_slice(raw_prefix)
        mc_text_init(&out)
        with nogil:
            if wanted == 0:
                mc_render_text(&out, &self.view, &how)
            elif wanted == 1:
                mc_render_json(&out, &self.view, &how)
            else:
                status = mc_render_prometheus(&out, &self.view, &how)
        try:
            if out.failed:
                raise MemoryError()
            check(status)
            return out.p[:out.n] if out.n else b""
        finally:
            mc_text_fini(&out)


cdef object _value(const mc_stat_entry *entry):
    if entry.kind == MC_HISTOGRAM:
        return _summary(&entry.cumulative, mc_unit_scale(entry.unit))
    if entry.kind == MC_TEXT:
        return slice_str(entry.text)
    return <int64_t>entry.value if entry.negative else entry.value


cdef object _buckets(const mc_stat_entry *entry):
    cdef mc_bucket_walk walk
    cdef size_t i
    walk.histogram = &entry.cumulative
    walk.scale = mc_unit_scale(entry.unit)
    walk.at = walk.running = 0
    counts = [
        (entry.bounds[i], mc_bucket_upto(&walk, entry.bounds[i])) for i in range(entry.bound_count)
    ]
    return counts, entry.cumulative.samples, mc_histogram_sum(&entry.cumulative) / walk.scale


def _bench_increments(Counter counter not None, uint64_t n):
    """Increment n times without the GIL; for benchmarks."""
    cdef uint64_t _
    with nogil:
        for _ in range(n):
            mc_counter_add(slab_of(counter.slabs), counter.stat, 1)
