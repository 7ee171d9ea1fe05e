"""The gateway: an Envoy v3 bootstrap, served inside this process.

Three ways to run one::

    gateway = meshcore.Gateway.from_file("envoy.yaml", workers=2)
    gateway.start()                 # worker threads beside any threaded program
    ...
    gateway.stop()

    async with asyncio.TaskGroup() as group:      # or inside a running asyncio (or uvloop) loop
        group.create_task(meshcore.Gateway.from_file("envoy.yaml", workers=0).serve())

    with meshcore.Gateway.from_file("envoy.yaml") as gateway:
        ...

The control side (configuration, DNS, admin, coroutines of Python filters) runs on one asyncio loop:
the caller's with ``serve()``, else that of a thread which ``start()`` makes. Workers serve on
threads of their own without the GIL, or on the control loop itself with ``workers=0``.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from meshcore import log_services
from meshcore._core.engine import Engine, node_address
from meshcore._core.filter import Binding
from meshcore._core.stats import Store
from meshcore._log import logger as log
from meshcore.config import Config, grpc_services, load, load_file
from meshcore.config.program_size import with_program_size
from meshcore.discovery import dns_fields, sources
from meshcore.discovery.dns_cache import NameCaches
from meshcore.discovery.rds import FileRoutes, with_routes
from meshcore.errors import ConfigError, MeshcoreError
from meshcore.filters.http import methods, registered
from meshcore.health.events import EventLog, outlier_event
from meshcore.log_services import LogServices
from meshcore.outgoing import Places
from meshcore.overload import Overload
from meshcore.tracing import Tracers, prepared, runtime_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcore.discovery import Source
    from meshcore.discovery.sub_clusters import MadeCluster, SubClusters
    from meshcore.health.checker import Checker
    from meshcore.tracing import SpanExporter

__all__ = ["Gateway"]

T = TypeVar("T")
ADMIN_LISTENER = "~admin"
PYTHON_FILTER = "type.googleapis.com/meshcore.PythonFilter"
RECORDS = 1024


class Gateway:
    """Listeners, routes and clusters of one bootstrap.

    ``bootstrap`` is a dict, YAML or JSON text, a ``Bootstrap`` message or a loaded configuration.
    ``workers`` is the number of worker threads (default: one for each CPU this process may use);
    0 serves on the control loop without any thread. ``stats`` may be a store of the caller's own.
    ``span_exporters`` are called with lists of finished spans (`meshcore.tracing`).

    :raises ConfigError: the bootstrap cannot be served; ``.path`` names the field.

    ``update``, ``drain``, ``stop`` and the properties may be used from any thread.
    """

    def __init__(
        self,
        bootstrap: Any,
        *,
        workers: int | None = None,
        allow_unsupported: bool = False,
        stats: Store | None = None,
        log_flush_interval_s: float = 10.0,
        log_flush_kib: int = 64,
        span_exporters: Sequence[SpanExporter] = (),
    ) -> None:
        self._span_exporters = tuple(span_exporters)
        self._workers = len(os.sched_getaffinity(0)) if workers is None else workers
        if not 0 <= self._workers <= 256:
            raise ValueError(f"workers must be between 0 and 256, not {workers}")
        self._allow_unsupported = allow_unsupported
        self._stats = Store() if stats is None else stats
        self._log_flush = max(1, round(log_flush_interval_s * 1000)), max(1, log_flush_kib * 1024)
        self._config = self._loaded(bootstrap)
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._thread: threading.Thread | None = None
        _check(self._config)

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> Self:
        """From a file: .yaml, .yml, .json, .pb or .pb_text. Options as the constructor's."""
        allow = options.get("allow_unsupported", False)
        return cls(load_file(path, allow_unsupported=allow), **options)

    def _loaded(self, source: Any) -> Config:
        if isinstance(source, Config):
            return source
        if isinstance(source, Path):
            return load_file(source, allow_unsupported=self._allow_unsupported)
        return load(source, allow_unsupported=self._allow_unsupported)

    # --- running --------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Serve with the control side on the running loop, until ``stop()`` or cancellation."""
        run = self._begin()
        try:
            await run.open()
            await run.stopping.wait()
        finally:
            await asyncio.shield(asyncio.ensure_future(run.close()))
            self._run = None

    def start(self) -> None:
        """Serve in the background; returns when the listeners are open.

        :raises MeshcoreError: a listener's address cannot be had.
        """
        if self._thread is not None:
            raise RuntimeError("the gateway is running")
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._background(ready)), name="meshcore", daemon=True
        )
        self._thread = thread
        thread.start()
        try:
            ready.result()
        except BaseException:
            thread.join()
            self._thread = None
            raise

    async def _background(self, ready: concurrent.futures.Future[None]) -> None:
        try:
            run = self._begin()
        except BaseException as error:
            ready.set_exception(error)
            return
        try:
            try:
                await run.open()
            except BaseException as error:
                ready.set_exception(error)
                return
            ready.set_result(None)
            await run.stopping.wait()
        finally:
            await run.close()
            self._run = None

    def _begin(self) -> _Run:
        with self._lock:
            if self._run is not None:
                raise RuntimeError("the gateway is running")
            self._run = _Run(self, asyncio.get_running_loop())
            return self._run

    def stop(self) -> None:
        """Close everything now. Idempotent. Returns when all is closed, but in ``serve()``'s own
        thread, where ``serve()`` returns soon after."""
        run, thread = self._run, self._thread
        if run is not None:
            run.call(run.stopping.set)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
            self._thread = None

    def drain(self, limit_s: float | None = None) -> bool:
        """Stop accepting, let requests in flight finish; true when all did within the limit.

        Not for the control loop's own thread: there ``await drain_async()``.
        """
        run = self._run
        return True if run is None else run.result(run.drain(limit_s))

    async def drain_async(self, limit_s: float | None = None) -> bool:
        """``drain`` for the thread of the control loop."""
        run = self._run
        return True if run is None else await run.drain(limit_s)

    def update(self, bootstrap: Any) -> None:
        """Take over a new configuration, live.

        Requests in flight keep the routes that they started with; connections stay open, and so do
        those of clusters that did not change. When this returns every worker uses the new
        configuration. On an error the old one stays. Not for the control loop's own thread: there
        ``await update_async()``.

        :raises ConfigError: the configuration cannot be served.
        :raises MeshcoreError: a new listener's address cannot be had.
        """
        config = self._loaded(bootstrap)
        run = self._run
        if run is None:
            _check(config)
            self._config = config
        else:
            run.result(run.apply(config))

    async def update_async(self, bootstrap: Any) -> None:
        """``update`` for the thread of the control loop."""
        config = self._loaded(bootstrap)
        run = self._run
        if run is None:
            _check(config)
            self._config = config
        else:
            await run.apply(config)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.drain(10)
        self.stop()

    # --- looking --------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        run = self._run
        return run is not None and run.opened

    @property
    def stats(self) -> Store:
        """Every counter, gauge and histogram, by Envoy's names."""
        return self._stats

    @property
    def listeners(self) -> dict[str, tuple[str, int]]:
        """Address and port that each listener is bound to."""
        run = self._run
        return {} if run is None else run.addresses()

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Where the admin interface listens; None when the bootstrap has none."""
        run = self._run
        return None if run is None else run.admin_address()

    @property
    def config(self) -> dict[str, Any]:
        """The configuration in use, in canonical form. Read-only."""
        return self._config.document

    def records(self, limit: int = RECORDS) -> list[dict[str, Any]]:
        """Access records of finished requests since the last call.

        A worker keeps the last few; when nobody asks in time the rest are dropped and counted
        (``records_dropped``): a worker never waits.
        """
        run = self._run
        return [] if run is None else run.ask(lambda: run.engine.records(limit))

    def flush_logs(self, limit_s: float = 10.0) -> bool:
        """Write the access log lines of all requests that are over now; true when that is done.

        Otherwise a file is written every ``log_flush_interval_s``, or when ``log_flush_kib`` have
        come together. Any thread.
        """
        run = self._run
        return True if run is None else run.flush_logs(limit_s)

    def reopen_logs(self) -> None:
        """Open access log files anew, after somebody has moved them to rotate them. Any thread."""
        run = self._run
        if run is not None:
            run.reopen_logs()

    @property
    def records_dropped(self) -> int:
        run = self._run
        return 0 if run is None else run.ask(lambda: run.engine.records_dropped)


def _check(config: Config) -> None:
    """Compiles once, so that what cannot be served is said before anything is opened."""
    clusters = config.document.get("static_resources", {}).get("clusters", ())
    if any("health_checks" in cluster for cluster in clusters):
        from meshcore.health.checker import validate

        validate(clusters, "static_resources.clusters")
    document = prepared(with_routes(config.document), lambda _: 0)
    document, filters = _prepare(log_services.prepared(document, lambda _: 0), None)
    engine = Engine(1, seed=0, record_capacity=1)
    try:
        engine.compile(_encode(document), filters)
    finally:
        engine.close()


def _encode(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _prepare(
    document: dict[str, Any],
    loop: asyncio.AbstractEventLoop | None,
    assignments: dict[str, Any] | None = None,
    extra_listeners: list[dict[str, Any]] | None = None,
) -> tuple[dict[str, Any], list[tuple[str, Binding]]]:
    """The document as the core reads it: addresses resolved, Python filters under names of their
    own (two entries may share a filter and differ in configuration)."""
    grpc_services.check(document)
    document = with_program_size(document, runtime_values(document))
    resources = dict(document.get("static_resources", {}))
    filters: list[tuple[str, Binding]] = []
    listeners = []
    for index, listener in enumerate(resources.get("listeners", ())):
        path = f"static_resources.listeners[{index}]"
        listeners.append(_with_filters(listener, path, filters, loop))
    resources["listeners"] = [*listeners, *(extra_listeners or ())]
    manager = document.get("cluster_manager", {})
    bind = {k: manager[k] for k in ("upstream_bind_config",) if k in manager}
    resources["clusters"] = [
        _with_assignment({**bind, **dns_fields(cluster)}, assignments)
        for cluster in resources.get("clusters", ())
        if not grpc_services.speaks_http2(cluster)  # the control side's own
    ]
    return {**document, "static_resources": resources}, filters


def _with_assignment(cluster: dict[str, Any], assignments: dict[str, Any] | None) -> dict[str, Any]:
    name = cluster["name"]
    given = (assignments or {}).get(name)
    if given is None and cluster.get("type", "STATIC") == "STATIC":
        return cluster
    return {**cluster, "load_assignment": given or {"cluster_name": name}}


def _with_filters(
    listener: dict[str, Any],
    path: str,
    filters: list[tuple[str, Binding]],
    loop: asyncio.AbstractEventLoop | None,
) -> dict[str, Any]:
    chains = []
    for c, chain in enumerate(listener.get("filter_chains", ())):
        network = []
        for f, network_filter in enumerate(chain.get("filters", ())):
            manager = dict(network_filter.get("typed_config", {}))
            http = []
            for h, entry in enumerate(manager.get("http_filters", ())):
                where = f"{path}.filter_chains[{c}].filters[{f}].typed_config.http_filters[{h}]"
                http.append(_with_binding(entry, where, filters, loop))
            manager["http_filters"] = http
            network.append({**network_filter, "typed_config": manager})
        chains.append({**chain, "filters": network})
    return {**listener, "filter_chains": chains}


def _with_binding(
    entry: dict[str, Any],
    path: str,
    filters: list[tuple[str, Binding]],
    loop: asyncio.AbstractEventLoop | None,
) -> dict[str, Any]:
    typed = entry.get("typed_config", {})
    if typed.get("@type") != PYTHON_FILTER:
        return entry
    name = typed.get("name") or entry["name"]
    target = registered(name)
    if target is None:
        reason = f"names the Python filter {name!r}, which no imported module registers"
        hint = "" if "typed_config" in entry else "; a filter of Envoy's needs its typed_config"
        raise ConfigError(path, reason + hint)
    try:
        on_request, on_response = methods(target, typed.get("config", {}))
    except Exception as error:
        raise ConfigError(
            f"{path}.typed_config", f"does not suit the filter {name!r}: {error}"
        ) from error
    unique = f"{name}#{len(filters)}"
    filters.append((unique, Binding(on_request, on_response, loop)))
    return {**entry, "typed_config": {"@type": PYTHON_FILTER, "name": unique}}


class _Run:
    """One life of a gateway, from start to stop. Its methods belong to the control loop's thread,
    but for ``call``, ``ask`` and ``result``."""

    def __init__(self, gateway: Gateway, loop: asyncio.AbstractEventLoop) -> None:
        self.gateway = gateway
        self.loop = loop
        self.thread = threading.get_ident()
        self.embedded = gateway._workers == 0
        self.engine = Engine(
            max(1, gateway._workers),
            seed=secrets.randbits(64),
            record_capacity=RECORDS,
            stats=gateway._stats,
            log_flush_ms=gateway._log_flush[0],
            log_flush_bytes=gateway._log_flush[1],
        )
        self._log_thread: threading.Thread | None = None
        self._log_use = threading.Lock()
        self.stopping = asyncio.Event()
        self.opened = False
        self.draining = False
        self.started_at = time.time()
        self._threads: list[threading.Thread] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._sources: dict[str, Source] = {}
        self._assignments: dict[str, Any] = {}
        self._changes = asyncio.Lock()
        self._descriptors: list[int] = []
        self._places = Places()
        self._tracers = Tracers(
            gateway._stats, gateway._span_exporters, node_address(), self._places
        )
        self._logs = LogServices(gateway._stats, self._places, self.engine)
        self._outlier_log = EventLog(None)
        self._checkers: dict[str, Checker] = {}
        self._checked_as: dict[str, str] = {}
        self._overload: Overload | None = None
        self.routes = FileRoutes(gateway._stats)
        self._names = NameCaches(gateway._stats, self.engine, loop, self._sub_clusters)
        self._made: dict[str, MadeCluster] = {}

    # --- from other threads ---------------------------------------------------------------------

    def call(self, function: Callable[[], object]) -> None:
        if threading.get_ident() == self.thread:
            function()
            return
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: nothing runs any more
            log.debug("the gateway has stopped already")

    def ask(self, function: Callable[[], T]) -> T:
        if threading.get_ident() == self.thread:
            return function()

        async def answer() -> T:
            return function()

        return self.result(answer())

    def result(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if threading.get_ident() == self.thread:
            coroutine.close()
            raise RuntimeError("on the control loop's thread, await the ..._async method")
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    # --- opening and closing ----------------------------------------------------------------------

    async def open(self) -> None:
        manager = self.gateway._config.document.get("cluster_manager", {})
        self._outlier_log = EventLog(manager.get("outlier_detection", {}).get("event_log_path"))
        self._watch(self.engine.control_fd(), self._on_control)
        await self._publish(self.gateway._config, wait=False)
        for index in range(self.engine.workers):
            if self.embedded:
                turn = functools.partial(self.engine.turn_worker, index)
                self._watch(self.engine.worker_fd(index), turn)
                self.engine.turn_worker(index)
                continue
            thread = threading.Thread(
                target=self._work, args=(index,), name=f"meshcore-worker-{index}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        await self._until(lambda: self.engine.applied)
        self.routes.start(self.loop, self._again)
        self.opened = True
        for name, (host, port) in self.addresses().items():
            log.info("listener %s on %s port %d", name, host, port)

    def _start_log_writer(self) -> None:
        """A thread that writes access logs, from the first configuration that has some."""
        if self._log_thread is None and self.engine.writes_logs:
            self._log_thread = threading.Thread(
                target=self.engine.run_log_writer, name="meshcore-logs", daemon=True
            )
            self._log_thread.start()

    def flush_logs(self, limit_s: float) -> bool:
        with self._log_use:
            if self._log_thread is None:
                return True
            return self.engine.flush_logs(round(limit_s * 1000))

    def reopen_logs(self) -> None:
        with self._log_use:
            if self._log_thread is not None:
                self.engine.reopen_logs()

    def _work(self, index: int) -> None:
        try:
            self.engine.run_worker(index)
        except MeshcoreError:
            log.exception("a worker failed; the gateway stops")
            self.call(self.stopping.set)

    async def close(self) -> None:
        for source in self._sources.values():
            source.stop()
        self.routes.stop()
        self._names.stop()
        for checker in self._checkers.values():
            checker.stop()
        if self._overload is not None:
            self._overload.stop()
        if self._threads or self.embedded:
            self.engine.stop()
            await self._until(lambda: self.engine.stopped)
            for thread in self._threads:
                thread.join()
            self._tracers.take(self.engine.spans())
        await self._tracers.close()
        if self._log_thread is not None:
            self.engine.stop_log_writer()
            await asyncio.to_thread(self._log_thread.join)
            with self._log_use:
                self._log_thread = None
        await self._logs.close()
        for descriptor in self._descriptors:
            self.loop.remove_reader(descriptor)
        self._outlier_log.close()
        self.engine.close()

    def _watch(self, descriptor: int, callback: Callable[[], object]) -> None:
        self.loop.add_reader(descriptor, callback)
        self._descriptors.append(descriptor)

    def _on_control(self) -> None:
        self.engine.turn_control()
        self._names.answer()
        if spans := self.engine.spans():
            self._tracers.take(spans)
        self._logs.wake()
        for event in self.engine.outlier_events():
            self._outlier_log.write(outlier_event(event))
        for name, address in self.engine.failed_hosts():
            checker = self._checkers.get(name)
            if checker is not None:
                checker.fail_passively(address)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Waits until a worker's news make the condition true."""
        while not condition():
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter

    # --- configuration ---------------------------------------------------------------------------

    async def apply(self, config: Config) -> None:
        await self._publish(config, wait=True)

    async def _again(self) -> None:
        await self._publish(None, wait=True)

    async def _publish(
        self,
        config: Config | None,
        *,
        wait: bool,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        """Gives workers a configuration, or (None) once more the one in use, with what was found
        for it since; `unless` it is not needed any more when its turn comes."""
        async with self._changes:
            if unless():
                return
            config = self.gateway._config if config is None else config
            whole = self._with_made(config.document)
            fresh = await self._resolve(whole)
            checkers = self._checkers
            try:
                checkers = await self._check(whole)
                views = {name: checker.view() for name, checker in checkers.items()}
                own_listeners, own_filters = self._admin(whole)
                traced = self._tracers.prepare(self.routes.resolve(whole))
                traced = self._logs.prepare(traced)
                assignments = {**self._assignments, **views}
                document, filters = _prepare(traced, self.loop, assignments, own_listeners)
                snapshot = self.engine.compile(_encode(document), [*filters, *own_filters])
                self.engine.bind(snapshot)
                self._start_log_writer()
                self._names.follow(config.document)
                self.engine.publish(snapshot)
                self._names.forget(config.document)
            except BaseException:
                self._keep_checkers(self._checkers, checkers)
                for name, source in fresh.items():
                    if self._sources.get(name) is not source:
                        source.stop()
                raise
            self._keep_checkers(checkers, self._checkers)
            self._checkers = checkers
            self._follow(fresh)
            self._watch_resources(config.document.get("overload_manager"))
            self._places.follow(config.document, self._assignments)
            self._tracers.follow(config.document)
            self.gateway._config = config
            if wait:
                await self._until(lambda: self.engine.applied)

    # --- clusters that names make (CL-17) ---------------------------------------------------------

    def _sub_clusters(self, document: Mapping[str, Any]) -> list[SubClusters]:
        clusters = document.get("static_resources", {}).get("clusters", ())
        parents = [cluster for cluster in clusters if "cluster_type" in cluster]
        if not parents:
            return []
        from meshcore.discovery.sub_clusters import SubClusters, settings_of

        return [
            SubClusters(
                parent,
                self.gateway._stats,
                self.engine,
                self.loop,
                add=self._add_cluster,
                remove=self._remove_clusters,
            )
            for parent in parents
            if settings_of(parent) is not None
        ]

    def _with_made(self, document: dict[str, Any]) -> dict[str, Any]:
        if not self._made:
            return document
        resources = document.get("static_resources", {})
        clusters = resources.get("clusters", [])
        made = [each.config for each in self._made.values() if each.parent in clusters]
        return {**document, "static_resources": {**resources, "clusters": [*clusters, *made]}}

    async def _add_cluster(self, made: MadeCluster) -> None:
        name = made.config["name"]
        self._made[name] = made
        await self._publish(None, wait=False, unless=lambda: name in self._sources)

    async def _remove_clusters(self, names: list[str]) -> None:
        for name in names:
            self._made.pop(name, None)
        await self._again()

    def _admin(
        self, document: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], list[tuple[str, Binding]]]:
        """The admin listener, when one is configured: our own data plane serves it (ADM-1)."""
        address = document.get("admin", {}).get("address")
        if address is None:
            return [], []
        from meshcore.observe.admin import ADMIN_FILTER, Admin, admin_listener

        admin = Admin(self, self.gateway)
        binding = Binding(admin.on_request_headers, None, self.loop)
        return [admin_listener(ADMIN_LISTENER, address)], [(ADMIN_FILTER, binding)]

    async def _resolve(self, document: dict[str, Any]) -> dict[str, Source]:
        """Where hosts come from; known sources go on, what new ones find first is waited for."""
        clusters = document.get("static_resources", {}).get("clusters", ())
        found = sources(clusters, self.gateway._stats)
        new = []
        for name, source in found.items():
            known = self._sources.get(name)
            made = self._made.get(name)
            if known is not None and known.same_as(source):
                found[name] = known
            elif made is not None:
                found[name] = made.source
                self._assignments[name] = made.assignment
            else:
                new.append(source)
        answers = await asyncio.gather(*(source.initial(self.loop) for source in new))
        for source, assignment in zip(new, answers, strict=True):
            self._assignments[source.name] = assignment
        return found

    async def _check(self, document: dict[str, Any]) -> dict[str, Checker]:
        """Active health checks of a configuration; new hosts wait for a result (CL-1)."""
        clusters = document.get("static_resources", {}).get("clusters", ())
        clusters = [cluster for cluster in clusters if cluster.get("health_checks")]
        if not clusters:
            return {}
        from meshcore.config.runtime import static_runtime
        from meshcore.health.checker import Checker

        runtime = static_runtime(document)
        found: dict[str, Checker] = {}
        for cluster in clusters:
            name = cluster["name"]
            key = Checker.key(cluster, runtime)
            checker = self._checkers.get(name)
            if checker is None or self._checked_as[name] != key:
                checker = Checker(cluster, self.gateway._stats, self.loop, runtime=runtime)
                self._checked_as[name] = key
            found[name] = checker
            checker.take(_with_assignment(cluster, self._assignments).get("load_assignment", {}))
        await asyncio.gather(*(checker.first_results() for checker in found.values()))
        return found

    def _keep_checkers(self, kept: dict[str, Checker], other: dict[str, Checker]) -> None:
        for name, checker in other.items():
            if kept.get(name) is not checker:
                checker.stop()
        for checker in kept.values():
            checker.connect(self.engine, self._send_assignment)

    def _follow(self, fresh: dict[str, Source]) -> None:
        known, self._sources = self._sources, fresh
        for name, source in known.items():
            if fresh.get(name) is not source:
                source.stop()
        for name, source in fresh.items():
            if known.get(name) is not source:
                source.start(self.loop, self._on_assignment)

    def _watch_resources(self, config: dict[str, Any] | None) -> None:
        known = self._overload
        if config is not None and known is not None and known.same_as(config):
            return
        if known is not None:
            known.stop()
        self._overload = None
        if config is not None:
            stats = self.gateway._stats
            self._overload = Overload(config, stats, self.loop, self.engine)

    def _on_assignment(self, name: str, assignment: dict[str, Any]) -> None:
        checker = self._checkers.get(name)
        if assignment == self._assignments.get(name) and (checker is None or not checker.keeps_any):
            return
        self._assignments[name] = assignment
        self._send_assignment(name, assignment if checker is None else checker.take(assignment))

    def _send_assignment(self, name: str, assignment: dict[str, Any]) -> None:
        try:
            self.engine.set_assignment(name, _encode(assignment))
        except ConfigError:
            log.exception("the addresses of cluster %s cannot be used; the old ones stay", name)

    # --- the end ---------------------------------------------------------------------------------

    async def drain(self, limit_s: float | None) -> bool:
        self.draining = True
        self.engine.drain()
        try:
            await asyncio.wait_for(self._until(lambda: self.engine.drained), limit_s)
        except TimeoutError:
            return False
        return True

    def addresses(self) -> dict[str, tuple[str, int]]:
        out = {}
        for name, address in self.engine.listeners():
            if not name.startswith("~"):
                out[name] = _host_port(address)
        return out

    def admin_address(self) -> tuple[str, int] | None:
        for name, address in self.engine.listeners():
            if name == ADMIN_LISTENER:
                return _host_port(address)
        return None


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
