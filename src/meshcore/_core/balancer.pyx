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
    c_bool,
    mc_arena,
    mc_arena_fini,
    mc_arena_init,
    mc_error,
    mc_random,
    mc_random_next,
    mc_random_seed,
    mc_runtime,
    mc_runtime_fini,
    mc_runtime_init,
    mc_slice,
    mc_status,
    mc_value,
    mc_value_parse,
    slice_str,
)
from meshcore._core.clb cimport *
from meshcore._core.stats cimport Store, mc_slab

from meshcore.errors import ConfigError

__all__ = ["Balancer", "RetryPriority", "priority_load"]


cdef extern from "base/error.h" nogil:
    void mc_error_under(mc_error *error, const char *format, ...)

cdef extern from "health/outlier.h" nogil:
    void mc_outlier_config_override(mc_outlier_config *config, const mc_runtime *runtime)


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


cdef void ignore_decision(
    void *ctx, mc_host *host, mc_outlier_action action, mc_outlier_type type, uint64_t since_ms
) noexcept nogil:
    pass


# mc_outlier_event, in its order.
EVENTS = (
    "connected",
    "connected_final",
    "connect_failed",
    "timeout",
    "success",
    "degraded",
    "failed",
)


@cython.final
cdef class RetryPriority:
    """What a request that is tried again knows of the priorities it tried."""

    cdef mc_retry_priority state

    def __cinit__(self, uint32_t frequency):
        mc_retry_priority_init(&self.state, frequency)

    def tried(self, uint32_t priority):
        mc_retry_priority_tried(&self.state, priority)

    def look(self, Balancer balancer):
        """What a choice would do to the state."""
        cdef mc_lb_forced unused
        cdef uint32_t member
        if balancer.aggregate == NULL:
            mc_retry_priority_loads(&self.state, balancer.hosts)
        else:
            mc_aggregate_choose(balancer.aggregate, &self.state, 0, &member, &unused)


@cython.final
cdef class Balancer:
    """Hosts are known by index, in the order of the assignment."""

    cdef mc_lb_config config
    cdef mc_lb_config local_config
    cdef mc_hosts *hosts
    cdef mc_hosts *local
    cdef mc_lb *lb
    cdef mc_aggregate *aggregate  # NULL unless `gather` was called
    cdef mc_random random
    cdef mc_random chance  # of outlier detection
    cdef mc_outlier outlier
    cdef bint watched
    cdef mc_slab *slab
    cdef readonly Store store
    cdef bytes name
    cdef object draw
    cdef object refuses
    cdef object failure
    cdef dict indexes  # address of the mc_host: index

    def __cinit__(
        self,
        bytes cluster,
        bytes assignment,
        *,
        str name,
        uint64_t now_ms,
        draw=None,
        uint64_t seed=0,
        tuple locality=(b"", b"", b""),
        bytes local=None,
        bytes runtime=b"{}",
        bytes outlier=None,
    ):
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
        self.compile_config(cluster, &self.config, locality, local is not None, runtime)
        self.hosts = self.compile_hosts(assignment, &self.config, NULL)
        if outlier is not None:
            self.watch(outlier, runtime, seed)
        cdef mc_lb_stats stats = mc_lb_stats_of(self.store.stats, self.slab, bytes_slice(self.name))
        self.lb = mc_lb_new(&self.config, self.hosts, &self.random, now_ms, &stats)
        self.settle()
        if self.lb == NULL:
            raise MemoryError()
        self.index()
        if local is not None:
            self.compile_config(b"{}", &self.local_config, locality, True, b"{}")
            self.set_local(local)

    def __dealloc__(self):
        mc_lb_free(self.lb)
        mc_aggregate_free(self.aggregate)
        if self.watched:
            mc_outlier_fini(&self.outlier)
        mc_hosts_unref(self.hosts)
        mc_hosts_unref(self.local)
        mc_lb_config_fini(&self.config)
        mc_lb_config_fini(&self.local_config)
        if self.slab != NULL:
            mc_slab_close(self.slab)

    cdef int compile_config(
        self, bytes cluster, mc_lb_config *out, tuple locality, bint known, bytes runtime
    ) except -1:
        cdef mc_arena arena
        cdef mc_error error
        cdef const mc_value *value = NULL
        cdef const mc_value *values = NULL
        cdef mc_runtime overrides
        cdef mc_lb_node node
        cdef mc_status status
        node.locality.region = bytes_slice(<bytes>locality[0])
        node.locality.zone = bytes_slice(<bytes>locality[1])
        node.locality.sub_zone = bytes_slice(<bytes>locality[2])
        node.local_cluster = known
        node.runtime = &overrides
        mc_arena_init(&arena, NULL)
        error.path[0] = error.reason[0] = 0
        status = mc_value_parse(&arena, bytes_slice(runtime), &values, &error)
        if status == MC_OK:
            status = mc_runtime_init(&overrides, values)
        if status == MC_OK:
            status = mc_value_parse(&arena, bytes_slice(cluster), &value, &error)
            if status == MC_OK:
                status = mc_lb_config_compile(value, &node, out, &error)
            mc_runtime_fini(&overrides)
        mc_arena_fini(&arena)
        if status != MC_OK:
            refuse(status, &error)
        return 0

    cdef int watch(self, bytes json, bytes runtime, uint64_t seed) except -1:
        """Outlier detection, with draws of its own: those of the balancer stay as they are."""
        cdef mc_arena arena
        cdef mc_error error
        cdef const mc_value *value = NULL
        cdef mc_outlier_config config
        cdef mc_outlier_stats stats
        cdef const mc_value *values = NULL
        cdef mc_runtime overrides
        cdef mc_status status
        mc_random_seed(&self.chance, ~seed)
        mc_arena_init(&arena, NULL)
        error.path[0] = error.reason[0] = 0
        status = mc_value_parse(&arena, bytes_slice(json), &value, &error)
        if status == MC_OK:
            status = mc_outlier_config_compile(value, &config, &error)
            mc_error_under(&error, b"outlier_detection")
        if status == MC_OK:
            status = mc_value_parse(&arena, bytes_slice(runtime), &values, &error)
        if status == MC_OK:
            status = mc_runtime_init(&overrides, values)
        if status == MC_OK:
            mc_outlier_config_override(&config, &overrides)
            mc_runtime_fini(&overrides)
        mc_arena_fini(&arena)
        if status != MC_OK:
            refuse(status, &error)
        mc_outlier_stats_register(
            &stats, &config, self.store.stats, bytes_slice(self.name), self.slab
        )
        mc_outlier_init(
            &self.outlier, &config, &stats, &self.chance, &self.chance, ignore_decision, NULL
        )
        self.watched = True
        if mc_outlier_set_hosts(&self.outlier, self.hosts) != MC_OK:
            raise MemoryError()
        return 0

    cdef mc_hosts *compile_hosts(
        self, bytes assignment, const mc_lb_config *config, mc_hosts *previous
    ) except NULL:
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
                status = mc_hosts_compile(value, config, name, NULL, previous, &hosts, &error)
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
        mc_hosts_set_gauges(
            self.hosts, bytes_slice(self.name), self.store.stats, self.slab
        )
        return 0

    cdef int swap(self, mc_hosts *hosts, uint64_t now_ms) except -1:
        cdef mc_status status = MC_OK
        if self.watched:
            status = mc_outlier_set_hosts(&self.outlier, hosts)
        if status == MC_OK:
            status = mc_lb_update(self.lb, hosts, now_ms)
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
        cdef mc_hosts *hosts = self.compile_hosts(assignment, &self.config, self.hosts)
        cdef mc_hosts *weighed = NULL
        if self.config.policy == MC_LB_CLIENT_WEIGHTS and mc_client_weights_update(
            hosts, &self.config.weights, max(now_ms, <uint64_t>1)
        ):  # an assignment does not undo what the reports say
            if mc_hosts_refresh(hosts, &weighed) == MC_OK:
                mc_hosts_unref(hosts)
                hosts = weighed
        self.swap(hosts, now_ms)

    @cython.critical_section
    def refresh(self, uint64_t now_ms):
        """The same membership after flags of hosts changed."""
        cdef mc_hosts *hosts = NULL
        if mc_hosts_refresh(self.hosts, &hosts) != MC_OK:
            raise MemoryError()
        self.swap(hosts, now_ms)

    @cython.critical_section
    def set_local(self, bytes assignment):
        """The hosts of the cluster that the caller itself belongs to."""
        cdef mc_hosts *hosts = self.compile_hosts(assignment, &self.local_config, self.local)
        cdef mc_status status = mc_lb_set_local(self.lb, hosts)
        mc_hosts_unref(self.local)
        self.local = hosts
        if status != MC_OK:
            raise MemoryError()

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
    def choose(
        self,
        uint64_t now_ms,
        hash=None,
        *,
        active=None,
        uint32_t attempts=0,
        refuses=None,
        bytes criteria=None,
        bytes override=b"",
        bint strict=False,
        RetryPriority priority=None,
        tuple forced=None,
    ):
        """The index of a host, or None.

        criteria: a list of objects; override: an address, tried first; forced: all load on this
        priority, and whether on its degraded hosts.
        """
        cdef mc_lb_forced all_load
        cdef mc_lb_request request = self.request(now_ms, hash)
        cdef mc_arena arena
        cdef mc_subset_criteria wanted
        request.cluster_active = self.total_active() if active is None else active
        request.attempts = attempts
        request.override_host = bytes_slice(override)
        request.override_strict = strict
        if priority is not None:
            request.retry_priority = &priority.state
        if forced is not None:
            all_load.priority, all_load.degraded = forced
            request.forced = &all_load
        if refuses is not None:
            self.refuses = refuses
            request.refuse = <c_bool (*)(void *, const mc_host *) noexcept nogil>refuse_one
            request.ctx = <void *>self
        mc_arena_init(&arena, NULL)
        try:
            if criteria is not None:
                self.read_criteria(criteria, &arena, &wanted)
                request.criteria = &wanted
            return self.answer(mc_lb_choose(self.lb, &request))
        finally:
            mc_arena_fini(&arena)

    @cython.critical_section
    def gather(self, list members):
        """Of an aggregate: the balancers of its members as they are now, None where there is none.
        Their number never changes."""
        cdef uint32_t i
        cdef Balancer member
        if self.aggregate == NULL:
            self.aggregate = mc_aggregate_new(<uint32_t>len(members), self.config.panic_threshold)
            if self.aggregate == NULL:
                raise MemoryError()
        for i in range(<uint32_t>len(members)):
            member = members[i]
            mc_aggregate_see(self.aggregate, i, NULL if member is None else member.hosts)

    @cython.critical_section
    def choose_member(self, RetryPriority priority=None):
        """Of an aggregate: the member whose turn it is, and what of it: index, priority, whether
        its degraded hosts. None: there is no host anywhere."""
        cdef mc_lb_forced forced
        cdef uint32_t member
        cdef mc_retry_priority *state = NULL if priority is None else &priority.state
        cdef uint64_t draw = mc_random_next(&self.random)
        self.settle()
        if not mc_aggregate_choose(self.aggregate, state, draw, &member, &forced):
            return None
        return member, forced.priority, bool(forced.degraded)

    def place(self, uint32_t member, uint32_t priority):
        """Of an aggregate: where a member's priority stands among all."""
        return mc_aggregate_place(self.aggregate, member, priority)

    cdef int read_criteria(
        self, bytes criteria, mc_arena *arena, mc_subset_criteria *out
    ) except -1:
        cdef mc_error error
        cdef const mc_value *value = NULL
        error.path[0] = error.reason[0] = 0
        cdef mc_status status = mc_value_parse(arena, bytes_slice(criteria), &value, &error)
        if status == MC_OK:
            status = mc_subset_criteria_init(out, arena, &value, 1)
        return refuse(status, &error) if status != MC_OK else 0

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
        request.criteria = NULL
        request.retry_priority = NULL
        request.forced = NULL
        request.override_host = bytes_slice(b"")
        request.override_strict = False
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
        self.at(i).pending = n

    @property
    def policy(self):
        """"peak" and "weights" need to be told of answers; "" does not."""
        return {MC_LB_PEAK_EWMA: "peak", MC_LB_CLIENT_WEIGHTS: "weights"}.get(
            self.config.policy, ""
        )

    def answered(
        self,
        size_t i,
        uint64_t rtt_ns,
        uint64_t now_ms,
        int status,
        int grpc_status,
        retry_after_ms,
    ):
        """An answer came, or none (status 0), after so long."""
        cdef mc_peak_answer answer
        answer.status = status
        answer.grpc_status = grpc_status
        answer.has_retry_after = retry_after_ms is not None
        answer.retry_after_ms = 0 if retry_after_ms is None else retry_after_ms
        mc_peak_answered(self.at(i), &self.config.peak, &answer, rtt_ns, now_ms * 1000000)

    def estimate(self, size_t i, uint64_t now_ms):
        """The latency expected of a host now, in nanoseconds."""
        return mc_peak_estimate(self.at(i), &self.config.peak, now_ms * 1000000)

    def report(self, size_t i, bytes header, bint binary, uint64_t now_ms):
        """A load report; its weight, 0 when it says nothing, None when it cannot be read."""
        cdef mc_load_report report
        cdef mc_slice text = bytes_slice(header)
        cdef mc_status status
        if binary:
            status = mc_load_report_parse_binary(text, &self.config.weights, &report)
        else:
            status = mc_load_report_parse(text, &self.config.weights, &report)
        if status == MC_ENOMEM:
            raise MemoryError()
        if status != MC_OK:
            return None
        cdef uint32_t weight = 0
        if mc_load_report_weight(&report, &self.config.weights, &weight):
            mc_client_weight_report(self.at(i), weight, max(now_ms, <uint64_t>1))
        return weight

    @property
    def outlier_interval_ms(self):
        """0 without outlier detection."""
        return self.outlier.config.interval_ms if self.watched else 0

    def outcome(self, size_t i, str event, unsigned code, uint64_t now_ms):
        """What happened to a request; true when the host was ejected, and a refresh is due."""
        cdef mc_host *host = self.at(i)
        cdef unsigned types, type
        cdef bint changed = False
        if not self.watched or host.outlier == NULL:
            return False
        types = mc_outlier_put(
            host.outlier, &self.outlier.config, <mc_outlier_event><int>EVENTS.index(event), code
        )
        for type in range(<unsigned>MC_OUTLIER_DEGRADED + 1):
            if types & (<unsigned>1 << type):
                changed |= mc_outlier_report(&self.outlier, host, <mc_outlier_type>type, now_ms)
        return changed

    def tick(self, uint64_t now_ms):
        """The end of an outlier interval; true when a refresh is due."""
        return mc_outlier_tick(&self.outlier, now_ms)

    @property
    def weights_period_ms(self):
        return self.config.weights.update_ms

    def update_weights(self, uint64_t now_ms):
        """Weights by the reports; true when one changed, and a refresh is due."""
        return mc_client_weights_update(self.hosts, &self.config.weights, max(now_ms, <uint64_t>1))

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
