# cython: embedsignature=True, embedsignature.format=clinic
"""One balancer over one membership: the face of csrc/lb's decisions.

meshcore.balancing is the public one."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from meshcore._core.cbase cimport (
    MC_ENOMEM,
    MC_OK,
    bytes_slice,
    mc_random,
    mc_random_seed,
    mc_slice,
    mc_status,
    slice_str,
)
from meshcore._core.clb cimport *
from meshcore._core.stats cimport Store, mc_slab

from meshcore.errors import ConfigError

__all__ = ["Balancer", "priority_load"]


cdef int refuse(mc_status status, mc_error *error) except -1:
    """Raises what a failed call of the core means."""
    if status == MC_ENOMEM:
        raise MemoryError()
    path, reason = <bytes>error.path, <bytes>error.reason
    raise ConfigError(path.decode("utf-8", "replace"), reason.decode("utf-8", "replace"))


cdef uint64_t draw_one(void *ctx) noexcept with gil:
    """A draw of the caller's generator. Its exception waits until the core has returned."""
    cdef Balancer balancer = <Balancer>ctx
    if balancer.failure is None:
        try:
            return <uint64_t>balancer.draw()
        except BaseException as error:
            balancer.failure = error
    return 0


cdef c_bool refuse_one(void *ctx, const mc_host *host) noexcept with gil:
    cdef Balancer balancer = <Balancer>ctx
    if balancer.failure is None:
        try:
            return bool(balancer.refuses(balancer.indexes[<size_t>host]))
        except BaseException as error:
            balancer.failure = error
    return False


@cython.final
cdef class Balancer:
    """Hosts are known by index, in the order of the assignment."""

    cdef mc_lb_config config
    cdef mc_hosts *hosts
    cdef mc_lb *lb
    cdef mc_random random
    cdef mc_slab *slab
    cdef readonly Store store
    cdef bytes name
    cdef object draw
    cdef object refuses
    cdef object failure
    cdef dict indexes  # address of the mc_host: index

    def __init__(
        self,
        bytes cluster,
        bytes assignment,
        *,
        str name,
        uint64_t now_ms,
        draw=None,
        uint64_t seed=0,
    ):
        if self.lb != NULL:
            raise TypeError("a Balancer is made once")
        self.name = name.encode("utf-8", "surrogateescape")
        self.store = Store()
        self.slab = mc_slab_open(self.store.stats)
        if self.slab == NULL:
            raise MemoryError()
        mc_random_seed(&self.random, seed)
        if draw is not None:
            self.draw = draw
            self.random.draw = <uint64_t (*)(void *) noexcept nogil>draw_one
            self.random.ctx = <void *>self
        self.compile_config(cluster)
        self.hosts = self.compile_hosts(assignment)
        cdef mc_lb_stats stats = mc_lb_stats_of(self.store.stats, self.slab, bytes_slice(self.name))
        self.lb = mc_lb_new(&self.config, self.hosts, &self.random, now_ms, &stats)
        self.settle()
        if self.lb == NULL:
            raise MemoryError()
        self.index()

    def __dealloc__(self):
        mc_lb_free(self.lb)
        mc_hosts_unref(self.hosts)
        if self.slab != NULL:
            mc_slab_close(self.slab)

    cdef int compile_config(self, bytes cluster) except -1:
        cdef mc_arena arena
        cdef mc_error error
        cdef const mc_value *value = NULL
        cdef mc_status status
        mc_arena_init(&arena, NULL)
        error.path[0] = error.reason[0] = 0
        status = mc_value_parse(&arena, bytes_slice(cluster), &value, &error)
        if status == MC_OK:
            status = mc_lb_config_compile(value, &self.config, &error)
        mc_arena_fini(&arena)
        if status != MC_OK:
            refuse(status, &error)
        return 0

    cdef mc_hosts *compile_hosts(self, bytes assignment) except NULL:
        cdef mc_arena arena
        cdef mc_error error
        cdef const mc_value *value = NULL
        cdef mc_hosts *hosts = NULL
        cdef mc_status status
        cdef mc_slice json = bytes_slice(assignment), name = bytes_slice(self.name)
        error.path[0] = error.reason[0] = 0
        with nogil:
            mc_arena_init(&arena, NULL)
            status = mc_value_parse(&arena, json, &value, &error)
            if status == MC_OK:
                status = mc_hosts_compile(
                    value, &self.config, name, NULL, self.hosts, &hosts, &error
                )
            mc_arena_fini(&arena)
        if status != MC_OK:
            refuse(status, &error)
        return hosts

    cdef int settle(self) except -1:
        """Raises what a callback raised."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return 0

    cdef int index(self) except -1:
        cdef size_t i
        self.indexes = {
            <size_t>mc_hosts_at(self.hosts, i): i for i in range(mc_hosts_count(self.hosts))
        }
        mc_hosts_set_gauges(self.hosts, bytes_slice(self.name), self.store.stats)
        return 0

    cdef int swap(self, mc_hosts *hosts, uint64_t now_ms) except -1:
        cdef mc_status status = mc_lb_update(self.lb, hosts, now_ms)
        if status != MC_OK:
            mc_hosts_unref(hosts)
            raise MemoryError()
        mc_hosts_unref(self.hosts)
        self.hosts = hosts
        self.index()
        return self.settle()

    @cython.critical_section
    def update(self, bytes assignment, uint64_t now_ms):
        """A new membership; hosts whose address stays are the same."""
        self.swap(self.compile_hosts(assignment), now_ms)

    @cython.critical_section
    def refresh(self, uint64_t now_ms):
        """The same membership after flags of hosts changed."""
        cdef mc_hosts *hosts = NULL
        if mc_hosts_refresh(self.hosts, &hosts) != MC_OK:
            raise MemoryError()
        self.swap(hosts, now_ms)

    cdef object answer(self, mc_host *host):
        self.refuses = None
        self.settle()
        return None if host == NULL else self.indexes[<size_t>host]

    cdef uint32_t total_active(self):
        cdef size_t i
        cdef uint32_t sum = 0
        for i in range(mc_hosts_count(self.hosts)):
            sum += mc_hosts_at(self.hosts, i).rq_active
        return sum

    @cython.critical_section
    def choose(self, uint64_t now_ms, hash=None, *, active=None, uint32_t attempts=0, refuses=None):
        """The index of a host, or None."""
        cdef mc_lb_request request = self.request(now_ms, hash)
        request.cluster_active = self.total_active() if active is None else active
        request.attempts = attempts
        if refuses is not None:
            self.refuses = refuses
            request.refuse = <c_bool (*)(void *, const mc_host *) noexcept nogil>refuse_one
            request.ctx = <void *>self
        return self.answer(mc_lb_choose(self.lb, &request))

    @cython.critical_section
    def peek(self, uint64_t now_ms):
        cdef mc_lb_request request = self.request(now_ms, None)
        return self.answer(mc_lb_peek(self.lb, &request))

    cdef mc_lb_request request(self, uint64_t now_ms, hash):
        cdef mc_lb_request request
        request.has_hash = hash is not None
        request.hash = 0 if hash is None else hash
        request.now_ms = now_ms
        request.cluster_active = request.attempts = 0
        request.refuse = NULL
        request.ctx = NULL
        return request

    def __len__(self):
        return mc_hosts_count(self.hosts)

    cdef mc_host *at(self, size_t i) except NULL:
        if i >= mc_hosts_count(self.hosts):
            raise IndexError(i)
        return mc_hosts_at(self.hosts, i)

    def find(self, str address):
        """The index of the first host of that address text, or None."""
        cdef bytes text = address.encode("utf-8", "surrogateescape")
        cdef mc_host *host = mc_hosts_find(self.hosts, bytes_slice(text))
        return None if host == NULL else self.indexes[<size_t>host]

    def facts(self, size_t i):
        """address, hostname, weight, priority, (region, zone, sub_zone) of a host."""
        cdef mc_host *host = self.at(i)
        return (
            slice_str(host.address_text),
            slice_str(host.hostname),
            host.weight,
            host.priority,
            (slice_str(host.region), slice_str(host.zone), slice_str(host.sub_zone)),
        )

    def flags(self, size_t i):
        return self.at(i).health_flags

    def flags_text(self, size_t i):
        cdef char text[256]
        cdef size_t n = mc_host_flags_text(self.at(i).health_flags, text, sizeof(text))
        return text[:n].decode("ascii")

    def set_health(self, size_t i, uint32_t flags, int eds_status=-1, hc_pass_ms=None):
        """Takes effect with the next refresh."""
        cdef mc_host *host = self.at(i)
        host.health_flags = flags
        if eds_status >= 0:
            host.eds_status = eds_status
        if hc_pass_ms is not None:
            host.hc_pass_ms = hc_pass_ms

    def active(self, size_t i):
        return self.at(i).rq_active

    def set_active(self, size_t i, uint32_t n):
        self.at(i).rq_active = n

    def loads(self):
        """By priority: health, degraded, healthy_load, degraded_load, panic."""
        cdef const mc_priority_load *loads = NULL
        cdef size_t i
        return [load_tuple(&loads[i]) for i in range(mc_hosts_priorities(self.hosts, &loads))]


cdef tuple load_tuple(const mc_priority_load *load):
    return load.health, load.degraded, load.healthy_load, load.degraded_load, bool(load.panic)


def priority_load(
    list counts,
    uint32_t overprovisioning,
    uint32_t panic_threshold,
    bint weighted,
    list previous,
):
    """counts: by priority, hosts, healthy, degraded, excluded, and the weights of the same."""
    cdef size_t n = len(counts), i
    cdef mc_priority_options options
    cdef mc_priority_counts *c = <mc_priority_counts *>calloc(n + 1, sizeof(mc_priority_counts))
    cdef mc_priority_load *loads = <mc_priority_load *>calloc(n + 1, sizeof(mc_priority_load))
    options.overprovisioning = overprovisioning
    options.panic_threshold = panic_threshold
    options.weighted_health = weighted
    try:
        if c == NULL or loads == NULL:
            raise MemoryError()
        for i in range(n):
            c[i].hosts, c[i].healthy, c[i].degraded, c[i].excluded = counts[i][:4]
            (
                c[i].hosts_weight,
                c[i].healthy_weight,
                c[i].degraded_weight,
                c[i].excluded_weight,
            ) = counts[i][4:]
        for i in range(min(n, <size_t>len(previous))):
            loads[i].healthy_load, loads[i].degraded_load, loads[i].panic = previous[i]
        mc_priority_compute(c, n, &options, loads)
        return [load_tuple(&loads[i]) for i in range(n)]
    finally:
        free(c)
        free(loads)
