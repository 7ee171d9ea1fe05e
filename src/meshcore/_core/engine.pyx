"""The engine: workers, configuration, and what they tell (csrc/engine)."""

cimport cython
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from meshcore._core.cbase cimport (
    MC_ADDRESS_TEXT,
    MC_ENOMEM,
    MC_ESYS,
    MC_OK,
    bytes_slice,
    mc_address,
    mc_address_ip,
    mc_address_parse,
    mc_address_text,
    mc_arena,
    mc_arena_fini,
    mc_arena_init,
    mc_error,
    mc_free,
    mc_slice,
    mc_slice_of,
    mc_status,
    mc_text,
    mc_text_fini,
    mc_value,
    mc_value_parse,
    slice_bytes,
    slice_str,
)
from meshcore._core.cengine cimport (
    MC_OVERLOAD_COUNT,
    mc_bound,
    mc_breakers,
    mc_cluster,
    mc_cluster_unref,
    mc_engine,
    mc_engine_applied,
    mc_engine_bind,
    mc_engine_close_listeners,
    mc_engine_compile,
    mc_engine_drain,
    mc_engine_drained,
    mc_engine_fail_health,
    mc_engine_find_bound,
    mc_engine_health_failed,
    mc_engine_free,
    mc_engine_names_age,
    mc_engine_names_count,
    mc_engine_names_drop,
    mc_engine_names_open,
    mc_engine_names_set,
    mc_engine_names_take,
    mc_engine_new,
    mc_engine_options,
    mc_engine_publish,
    mc_engine_records,
    mc_engine_records_dropped,
    mc_engine_refresh,
    mc_engine_run_worker,
    mc_engine_set_assignment,
    mc_engine_set_health,
    mc_engine_connections,
    mc_engine_set_overload,
    mc_engine_track_heavy,
    mc_engine_span,
    mc_engine_spans_dropped,
    mc_engine_stop,
    mc_engine_stopped,
    mc_filter_factory,
    mc_flags_text,
    mc_health_update,
    mc_host,
    mc_host_flags_text,
    mc_host_unref,
    mc_hosts,
    mc_hosts_at,
    mc_hosts_count,
    mc_log_writer,
    mc_log_writer_dropped,
    mc_log_batch,
    mc_log_writer_flush,
    mc_log_writer_reopen,
    mc_log_writer_run,
    mc_log_writer_stop,
    mc_log_writer_take,
    mc_log_writer_used,
    mc_loop_fd,
    mc_loop_turn,
    mc_member,
    mc_member_address,
    mc_members_find,
    mc_members_notes,
    mc_members_take_failed,
    mc_name_cache,
    mc_outlier_note,
    mc_outlier_note_fini,
    mc_outlier_type_name,
    mc_overload_clear,
    mc_overload_find,
    mc_overload_set_floor,
    mc_record,
    mc_snapshot,
    mc_snapshot_unref,
    mc_socket_node_address,
)
from meshcore._core.filter cimport Binding, filter_type
from meshcore._core.stats cimport Store, mc_stats_value

from meshcore.errors import ConfigError, MeshcoreError

__all__ = ["Engine", "Snapshot", "node_address"]


def node_address():
    """The IP address that this machine calls its own; empty when there is none."""
    cdef mc_address address
    cdef char text[MC_ADDRESS_TEXT]
    if not mc_socket_node_address(&address):
        return ""
    mc_address_ip(&address, text)
    return text_of(text)


cdef str text_of(const char *chars):
    return chars.decode("utf-8", "replace")


cdef int refuse(mc_status status, mc_error *error) except -1:
    """Raises what a failed call of the core means."""
    if status == MC_ENOMEM:
        raise MemoryError()
    if status == MC_ESYS:
        raise MeshcoreError(f"{text_of(error.path)}: {text_of(error.reason)}")
    raise ConfigError(text_of(error.path), text_of(error.reason))


# What a factory hands to __cinit__: without it not even __new__ makes an object that refers to
# nothing.
cdef object MADE_HERE = object()


@cython.final
cdef class Snapshot:
    """A compiled configuration."""

    cdef mc_snapshot *snapshot

    def __cinit__(self, key=None):
        if key is not MADE_HERE:
            raise TypeError("a Snapshot comes from Engine.compile")

    def __dealloc__(self):
        mc_snapshot_unref(self.snapshot)

    @property
    def listeners(self):
        cdef uint32_t i
        return [
            slice_str(self.snapshot.listeners[i].name)
            for i in range(self.snapshot.listener_count)
        ]


@cython.final
cdef class Engine:
    """The workers of one gateway. All methods belong to the control thread, but `run_worker` and
    `turn_worker`, which belong to the thread of that worker."""

    cdef mc_engine *engine
    cdef Store store
    cdef list bindings  # the filters of every published configuration live as long as the engine

    def __init__(self, workers, *, seed, record_capacity=1024, Store stats=None,
                 log_flush_ms=0, log_flush_bytes=0):
        cdef mc_engine_options options
        if self.engine != NULL:
            raise RuntimeError("an engine is made once")
        if not 1 <= workers <= 256:
            raise ValueError(f"workers must be between 1 and 256, not {workers}")
        if record_capacity < 1 or record_capacity & (record_capacity - 1):
            raise ValueError(f"record_capacity must be a power of two, not {record_capacity}")
        self.store = Store() if stats is None else stats
        self.bindings = []
        options.workers = workers
        options.seed = seed
        options.record_capacity = record_capacity
        options.stats = self.store.stats
        options.is_virtual = False
        options.log.flush_interval_ms = log_flush_ms
        options.log.flush_bytes = log_flush_bytes
        if mc_engine_new(&options, &self.engine) != MC_OK:
            raise MeshcoreError("cannot create the workers: out of memory or of file descriptors")

    def __dealloc__(self):
        self.close()

    cpdef close(self):
        """Frees everything. The workers must have stopped."""
        cdef mc_engine *engine = self.engine
        self.engine = NULL
        with nogil:
            mc_engine_free(engine)

    cdef mc_engine *use(self) except NULL:
        if self.engine == NULL:
            raise RuntimeError("the engine is closed")
        return self.engine

    @property
    def stats(self):
        return self.store

    @property
    def workers(self):
        return self.use().worker_count

    def compile(self, bytes config, filters=()):
        """A bootstrap in canonical JSON, with the Python filters that it names."""
        cdef mc_engine *engine = self.use()
        cdef mc_arena arena
        cdef mc_error error
        cdef const mc_value *value
        cdef mc_status status
        cdef Snapshot snapshot = Snapshot.__new__(Snapshot, MADE_HERE)
        cdef mc_slice json = bytes_slice(config)
        cdef Py_ssize_t count = len(filters), i
        cdef mc_filter_factory *factories
        factories = <mc_filter_factory *>calloc(count + 1, sizeof(mc_filter_factory))
        cdef list names = [name.encode() for name, _ in filters]
        cdef Binding binding
        if factories == NULL:
            raise MemoryError()
        for i in range(count):
            binding = filters[i][1]
            self.bindings.append(binding)
            factories[i].name = bytes_slice(names[i])
            factories[i].type = filter_type(binding)
            factories[i].config = <void *>binding
        error.path[0] = 0
        error.reason[0] = 0
        with nogil:
            mc_arena_init(&arena, NULL)
            status = mc_value_parse(&arena, json, &value, &error)
            if status == MC_OK:
                status = mc_engine_compile(
                    engine, value, factories, count, &snapshot.snapshot, &error)
            mc_arena_fini(&arena)
        free(factories)
        if status != MC_OK:
            refuse(status, &error)
        return snapshot

    def bind(self, Snapshot snapshot):
        """Opens the sockets that are not open yet."""
        cdef mc_error error
        cdef mc_status status = mc_engine_bind(self.use(), snapshot.snapshot, &error)
        if status != MC_OK:
            refuse(status, &error)

    def publish(self, Snapshot snapshot):
        """Sends it to every worker."""
        if mc_engine_publish(self.use(), snapshot.snapshot) != MC_OK:
            raise MemoryError()

    @property
    def applied(self):
        """Whether every worker uses what was published last."""
        return mc_engine_applied(self.use())

    def set_assignment(self, str cluster, bytes assignment):
        """New hosts of a cluster: a ClusterLoadAssignment in canonical JSON, addresses resolved."""
        cdef mc_engine *engine = self.use()
        cdef bytes name = cluster.encode()
        cdef mc_slice name_slice = bytes_slice(name)
        cdef mc_slice json = bytes_slice(assignment)
        cdef mc_arena arena
        cdef mc_error error
        cdef const mc_value *value
        cdef mc_status status
        with nogil:
            mc_arena_init(&arena, NULL)
            status = mc_value_parse(&arena, json, &value, &error)
            if status == MC_OK:
                status = mc_engine_set_assignment(engine, name_slice, value, &error)
            mc_arena_fini(&arena)
        if status != MC_OK:
            refuse(status, &error)

    def run_worker(self, uint32_t index):
        """Serves until stopped, without the GIL."""
        cdef mc_engine *engine = self.use()
        cdef mc_status status
        if index >= engine.worker_count:
            raise IndexError(index)
        with nogil:
            status = mc_engine_run_worker(engine, index)
        if status != MC_OK:
            raise MeshcoreError(f"worker {index}: its event loop failed")

    def worker_fd(self, uint32_t index):
        """Readable when `turn_worker` has something to do."""
        cdef mc_engine *engine = self.use()
        if index >= engine.worker_count:
            raise IndexError(index)
        return mc_loop_fd(engine.workers[index].loop)

    def turn_worker(self, uint32_t index):
        """Does what is due, without waiting."""
        cdef mc_engine *engine = self.use()
        cdef long ran
        if index >= engine.worker_count:
            raise IndexError(index)
        with nogil:
            ran = mc_loop_turn(engine.workers[index].loop, 0)
        return ran

    def control_fd(self):
        """Readable when workers have something to say."""
        return mc_loop_fd(self.use().control)

    def turn_control(self):
        return mc_loop_turn(self.use().control, 0)

    def set_overload(self, str name, double chance):
        """An overload action or load shed point: from now on it acts with this chance, 0 to 1."""
        cdef bytes text = name.encode()
        cdef int found = mc_overload_find(bytes_slice(text))
        if found == MC_OVERLOAD_COUNT:
            raise ValueError(f"there is no {name!r}")
        mc_engine_set_overload(self.use(), found, chance)

    def set_overload_floor(self, str timer, least_ms, double share):
        """To how little reduce_timeouts may shorten a timer: milliseconds, or a share if None."""
        cdef bytes text = timer.encode()
        cdef uint64_t ms = UINT64_MAX if least_ms is None else least_ms
        mc_overload_set_floor(&self.use().overload, bytes_slice(text), ms, share)

    def track_heavy_streams(self, unsigned shift):
        """reset_high_memory_stream tells streams apart from 2**shift bytes on."""
        mc_engine_track_heavy(self.use(), shift)

    def clear_overload(self):
        """No timer is shortened and no stream is heavy until told."""
        mc_overload_clear(&self.use().overload)

    @property
    def connections(self):
        """Connections of clients, over all workers."""
        return mc_engine_connections(self.use())

    @property
    def health_failed(self):
        return mc_engine_health_failed(self.use())

    def fail_health(self, bint fail):
        """Whether this process fails its health checks from now on."""
        mc_engine_fail_health(self.use(), fail)

    def drain(self):
        mc_engine_drain(self.use())

    @property
    def drained(self):
        return mc_engine_drained(self.use())

    def close_listeners(self):
        mc_engine_close_listeners(self.use())

    def stop(self):
        mc_engine_stop(self.use())

    @property
    def stopped(self):
        return mc_engine_stopped(self.use())

    def listeners(self):
        """(name, "ip:port") of what is bound, in the configuration's order."""
        cdef mc_engine *engine = self.use()
        cdef const mc_bound *bound
        cdef char address[MC_ADDRESS_TEXT]
        cdef uint32_t i
        cdef list out = []
        if engine.current == NULL:
            return out
        for i in range(engine.current.listener_count):
            bound = mc_engine_find_bound(engine, engine.current.listeners[i].name)
            if bound != NULL:
                mc_address_text(&bound.actual, address)
                out.append((slice_str(engine.current.listeners[i].name), text_of(address)))
        return out

    def clusters(self):
        """What /clusters shows, a dict for each cluster."""
        cdef mc_engine *engine = self.use()
        cdef uint32_t i
        cdef list out = []
        if engine.current != NULL:
            for i in range(engine.current.cluster_count):
                out.append(cluster_dict(engine, engine.current.clusters[i].cluster))
        return out

    def set_health(self, str cluster, str address, uint32_t set_flags, uint32_t clear_flags, *,
                   bint passed, bint well, bint failed):
        """What an active check said of a host; nothing when there is no such host any more."""
        cdef bytes name = cluster.encode()
        cdef bytes where = address.encode()
        cdef mc_health_update update
        update.set = set_flags
        update.clear = clear_flags
        update.passed = passed
        update.well = well
        update.failed = failed
        if mc_engine_set_health(
            self.use(), bytes_slice(name), bytes_slice(where), &update
        ) == MC_ENOMEM:
            raise MemoryError()

    def refresh_health(self, str cluster):
        """New lists after states changed."""
        cdef bytes name = cluster.encode()
        if mc_engine_refresh(self.use(), bytes_slice(name)) == MC_ENOMEM:
            raise MemoryError()

    def failed_hosts(self):
        """Hosts whose answers asked to take them out since the last call: (cluster, address)."""
        cdef mc_engine *engine = self.use()
        cdef mc_cluster *cluster
        cdef mc_host *host
        cdef list out = []
        while mc_members_take_failed(&engine.members, &cluster, &host):
            out.append((slice_str(cluster.name), slice_str(host.address_text)))
            mc_cluster_unref(cluster)
            mc_host_unref(host)
        return out

    # --- names that are resolved on demand ----------------------------------------------------

    def open_names(self, str cache, uint32_t max_hosts, uint32_t max_pending):
        """A cache of names, for every worker; or other limits of one that is open."""
        cdef bytes name = cache.encode()
        if mc_engine_names_open(
            self.use(), bytes_slice(name), max_hosts, max_pending
        ) != MC_OK:
            raise MemoryError()

    def asked_names(self):
        """What requests wait for since the last call: (cache, key)."""
        cdef mc_engine *engine = self.use()
        cdef mc_name_cache *cache
        cdef mc_slice key
        cdef list out = []
        while mc_engine_names_take(engine, &cache, &key):
            try:
                out.append((slice_str(cache.name), slice_str(key)))
            finally:
                mc_free(<void *>key.p)
        return out

    def count_names(self, str cache, uint32_t hosts):
        """How many names the cache has, whether or not they are known yet."""
        cdef bytes name = cache.encode()
        mc_engine_names_count(self.use(), bytes_slice(name), hosts)

    def set_name(self, str cache, str key, addresses, int port, str details):
        """What a key stands for: IP addresses, or the reason why there are none."""
        cdef mc_engine *engine = self.use()
        cdef bytes name = cache.encode()
        cdef bytes text = key.encode("utf-8", "surrogateescape")
        cdef bytes why = details.encode()
        cdef bytes ip
        cdef Py_ssize_t count = len(addresses), i
        cdef mc_status status
        cdef mc_address *list_of = <mc_address *>calloc(count + 1, sizeof(mc_address))
        if list_of == NULL:
            raise MemoryError()
        try:
            for i in range(count):
                ip = addresses[i].encode()
                if mc_address_parse(&list_of[i], bytes_slice(ip), port) != MC_OK:
                    raise ValueError(f"{addresses[i]!r} is not an IP address")
            status = mc_engine_names_set(
                engine, bytes_slice(name), bytes_slice(text), list_of, count, bytes_slice(why))
        finally:
            free(list_of)
        if status == MC_ENOMEM:
            raise MemoryError()

    def drop_name(self, str cache, str key):
        cdef bytes name = cache.encode()
        cdef bytes text = key.encode("utf-8", "surrogateescape")
        mc_engine_names_drop(self.use(), bytes_slice(name), bytes_slice(text))

    def name_age_ms(self, str cache, str key):
        """How long ago a request was sent there; None: never."""
        cdef bytes name = cache.encode()
        cdef bytes text = key.encode("utf-8", "surrogateescape")
        cdef uint64_t age = mc_engine_names_age(
            self.use(), bytes_slice(name), bytes_slice(text))
        return None if age == 0xFFFFFFFFFFFFFFFF else age

    def outlier_events(self):
        """Ejections and returns since the last call, oldest first, a dict each."""
        cdef mc_engine *engine = self.use()
        cdef mc_outlier_note note
        cdef list out = []
        while mc_members_notes(&engine.members, &note, 1) == 1:
            out.append(note_dict(&note))
            mc_outlier_note_fini(&note)
        return out

    # --- access logs: any thread, but not after `close` --------------------------------------

    @property
    def writes_logs(self):
        """Whether some configuration had access logs: then `run_log_writer` is needed."""
        return mc_log_writer_used(self.use().log_writer)

    def run_log_writer(self):
        """Formats and writes what workers have captured, until stopped; without the GIL."""
        cdef mc_log_writer *writer = self.use().log_writer
        with nogil:
            mc_log_writer_run(writer)

    def stop_log_writer(self):
        mc_log_writer_stop(self.use().log_writer)

    def reopen_logs(self):
        mc_log_writer_reopen(self.use().log_writer)

    def flush_logs(self, int timeout_ms):
        cdef mc_log_writer *writer = self.use().log_writer
        cdef bint done
        with nogil:
            done = mc_log_writer_flush(writer, timeout_ms)
        return done

    def log_batch(self, uint32_t number, bint rest=False):
        """Messages for a logger's service that wait to be sent: (bytes, how many), or None.

        `rest`: the writer has returned; what it had not given away counts too.
        """
        cdef mc_log_batch batch
        if not mc_log_writer_take(self.use().log_writer, number, rest, &batch):
            return None
        try:
            return slice_bytes(mc_slice_of(batch.text.p, batch.text.n)), batch.messages
        finally:
            mc_text_fini(&batch.text)

    @property
    def log_records_dropped(self):
        return mc_log_writer_dropped(self.use().log_writer)

    def records(self, uint32_t limit=1024):
        """Access records since the last call, oldest first for each worker."""
        cdef mc_engine *engine = self.use()
        cdef mc_record *records = <mc_record *>malloc((limit + 1) * sizeof(mc_record))
        cdef size_t n, i
        if records == NULL:
            raise MemoryError()
        try:
            with nogil:
                n = mc_engine_records(engine, records, limit)
            return [record_dict(&records[i]) for i in range(n)]
        finally:
            free(records)

    @property
    def records_dropped(self):
        return mc_engine_records_dropped(self.use())

    def spans(self):
        """Finished spans since the last call, each as JSON."""
        cdef mc_engine *engine = self.use()
        cdef mc_text text
        cdef list out = []
        while mc_engine_span(engine, &text):
            try:
                out.append(slice_bytes(mc_slice_of(text.p, text.n)))
            finally:
                mc_text_fini(&text)
        return out

    @property
    def spans_dropped(self):
        return mc_engine_spans_dropped(self.use())


cdef dict note_dict(mc_outlier_note *note):
    return {
        "type": text_of(mc_outlier_type_name(note.type)),
        "action": ("EJECT", "WOULD_EJECT", "UNEJECT")[note.action],
        "cluster": slice_str(note.cluster.name),
        "address": slice_str(note.host.address_text),
        "wall_ms": note.wall_ms,
        "since_ms": None if note.since_ms == 0xFFFFFFFFFFFFFFFF else note.since_ms,
        "ejections": note.ejections,
        "success_rate": note.success_rate,
        "average": note.average,
        "threshold": note.threshold,
    }


cdef dict breakers_dict(const mc_breakers *breakers):
    return {
        "max_connections": breakers.connections.max,
        "max_pending_requests": breakers.pending.max,
        "max_requests": breakers.requests.max,
        "max_retries": breakers.retries.max,
    }


cdef dict cluster_dict(mc_engine *engine, mc_cluster *cluster):
    cdef mc_member *member = mc_members_find(&engine.members, cluster)
    cdef mc_hosts *hosts = NULL if member == NULL else member.hosts
    cdef dict outlier = None
    cdef size_t i
    if member != NULL and member.watched:
        outlier = {
            "success_rate_average": member.outlier.success_rate_average[0],
            "success_rate_ejection_threshold": member.outlier.success_rate_threshold[0],
            "local_origin_success_rate_average": member.outlier.success_rate_average[1],
            "local_origin_success_rate_ejection_threshold":
                member.outlier.success_rate_threshold[1],
        }
    return {
        "outlier": outlier,
        "name": slice_str(cluster.name),
        "observability_name": slice_str(cluster.stat_name),
        "breakers": [breakers_dict(&cluster.breakers[i]) for i in range(2)],
        "hosts": [] if hosts == NULL else [
            host_dict(engine, member, mc_hosts_at(hosts, i)) for i in range(mc_hosts_count(hosts))
        ],
    }


cdef dict host_dict(mc_engine *engine, mc_member *member, mc_host *host):
    cdef char flags[256]
    cdef char address[MC_ADDRESS_TEXT]
    mc_address_text(mc_member_address(member, host), address)
    mc_host_flags_text(host.health_flags, flags, sizeof(flags))
    return {
        "address": text_of(address),
        "hostname": slice_str(host.hostname),
        "stats": {
            "cx_active": mc_stats_value(engine.stats, host.stats.cx_active),
            "cx_connect_fail": mc_stats_value(engine.stats, host.stats.cx_connect_fail),
            "cx_total": mc_stats_value(engine.stats, host.stats.cx_total),
            "rq_active": host.rq_active,
            "rq_error": mc_stats_value(engine.stats, host.stats.rq_error),
            "rq_success": mc_stats_value(engine.stats, host.stats.rq_success),
            "rq_timeout": mc_stats_value(engine.stats, host.stats.rq_timeout),
            "rq_total": mc_stats_value(engine.stats, host.stats.rq_total),
        },
        "health_flags": text_of(flags),
        "flags": host.health_flags,
        "eds_status": host.eds_status,
        "weight": host.weight,
        "region": slice_str(host.region),
        "zone": slice_str(host.zone),
        "sub_zone": slice_str(host.sub_zone),
        "canary": bool(host.canary),
        "priority": host.priority,
        "success_rate": -1.0 if host.outlier == NULL else host.outlier.success_rate,
        "local_success_rate": -1.0 if host.outlier == NULL else host.outlier.local_success_rate,
    }


cdef str cut(mc_record *record, size_t *at, size_t n):
    cdef str out = record.text[at[0]:at[0] + n].decode("utf-8", "replace")
    at[0] += n
    return out


cdef dict record_dict(mc_record *record):
    cdef char address[MC_ADDRESS_TEXT]
    cdef char flags[128]
    cdef size_t at = 0
    cdef dict out = {
        "start_ms": record.start_ms,
        "duration_us": record.duration_us,
        "upstream_us": None if record.upstream_us == 0xFFFFFFFF else record.upstream_us,
        "status": record.status,
        "bytes_received": record.bytes_received,
        "bytes_sent": record.bytes_sent,
        "attempts": record.attempts,
        "protocol": f"HTTP/1.{record.version_minor}",
        "details": None if record.details == NULL else text_of(record.details),
    }
    mc_flags_text(record.flags, flags, sizeof(flags))
    out["flags"] = text_of(flags)
    mc_address_text(&record.peer, address)
    out["remote"] = text_of(address)
    mc_address_text(&record.upstream, address)
    out["upstream"] = text_of(address) or None
    out["method"] = cut(record, &at, record.method_n)
    out["authority"] = cut(record, &at, record.authority_n)
    out["route"] = cut(record, &at, record.route_n)
    out["cluster"] = cut(record, &at, record.cluster_n)
    out["path"] = cut(record, &at, record.path_n)
    return out
