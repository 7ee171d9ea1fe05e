"""One life of a gateway, from start to stop: its engine, and what the control side does for it."""

from __future__ import annotations

import asyncio
import functools
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from meshcore._core.engine import Engine, Snapshot, node_address
from meshcore._core.filter import Binding
from meshcore._core.stats import Store
from meshcore._document import encode, prepare, with_assignment
from meshcore._log import logger as log
from meshcore.config import Config
from meshcore.discovery import sources, with_default_resolver
from meshcore.discovery.dns_cache import NameCaches
from meshcore.discovery.rds import FileRoutes
from meshcore.errors import ConfigError, MeshcoreError
from meshcore.health.events import EventLog, outlier_event
from meshcore.log_services import LogServices
from meshcore.outgoing import Places
from meshcore.overload import Overload
from meshcore.tracing import Tracers

if TYPE_CHECKING:
    from meshcore.discovery import Source
    from meshcore.discovery.sub_clusters import MadeCluster, SubClusters
    from meshcore.gateway import Gateway
    from meshcore.health.checker import Checker
    from meshcore.tracing import SpanExporter

__all__ = ["RECORDS", "Run", "Served"]

T = TypeVar("T")
ADMIN_LISTENER = "~admin"
RECORDS = 1024


@dataclass(slots=True)
class Served:
    """What a gateway and its runs share; ``config`` is the newest."""

    config: Config
    stats: Store
    workers: int
    log_flush_ms: int
    log_flush_bytes: int
    span_exporters: tuple[SpanExporter, ...]


class Run:
    """One life of a gateway, from start to stop. Its methods belong to the control loop's thread,
    but for ``call``, ``ask`` and ``result``."""

    def __init__(self, gateway: Gateway, served: Served, loop: asyncio.AbstractEventLoop) -> None:
        self.gateway = gateway
        self._served = served
        self.loop = loop
        self.thread = threading.get_ident()
        self.embedded = served.workers == 0
        self.engine = Engine(
            max(1, served.workers),
            seed=secrets.randbits(64),
            record_capacity=RECORDS,
            stats=served.stats,
            log_flush_ms=served.log_flush_ms,
            log_flush_bytes=served.log_flush_bytes,
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
        self._tracers = Tracers(served.stats, served.span_exporters, node_address(), self._places)
        self._logs = LogServices(served.stats, self._places, self.engine)
        self._outlier_log = EventLog(None)
        self._checkers: dict[str, Checker] = {}
        self._checked_as: dict[str, str] = {}
        self._overload: Overload | None = None
        self.routes = FileRoutes(served.stats)
        self._names = NameCaches(served.stats, self.engine, loop, self._sub_clusters)
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
        manager = self._served.config.document.get("cluster_manager", {})
        self._outlier_log = EventLog(manager.get("outlier_detection", {}).get("event_log_path"))
        self._watch(self.engine.control_fd(), self._on_control)
        await self._publish(self._served.config, wait=False)
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
        await self.routes.stopped()
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
        for name, key in self.engine.asked_names():
            self._names.load(name, key)
            self.routes.ask(name, key)
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

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        tasks = asyncio.ensure_future(work), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in tasks:
                each.cancel()

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
            config = self._served.config if config is None else config
            whole = self._with_made(config.document)
            fresh = await self._resolve(whole)
            checkers = self._checkers
            try:
                checkers = await self._check(whole)
                await self._hear_of_hosts(config.document, whole, checkers)
                snapshot = self._compile(whole, checkers)
                self.engine.bind(snapshot)
                self._start_log_writer()
                self._names.follow(config.document)
                self.engine.publish(snapshot)
                self._names.forget(config.document)
            except BaseException:
                self._places.follow(self._served.config.document, self._assignments)
                self._keep_checkers(self._checkers, checkers)
                self.routes.take_back()
                for name, source in fresh.items():
                    if self._sources.get(name) is not source:
                        source.stop()
                raise
            self._keep_checkers(checkers, self._checkers)
            self._checkers = checkers
            self._follow(fresh)
            self._watch_resources(config.document.get("overload_manager"))
            self._places.follow(config.document, self._assignments)
            self.routes.settle()
            self._tracers.follow(config.document)
            self._served.config = config
            if wait:
                await self._until(lambda: self.engine.applied)

    def _compile(self, document: dict[str, Any], checkers: dict[str, Checker]) -> Snapshot:
        views = {name: checker.view() for name, checker in checkers.items()}
        own_listeners, own_filters = self._admin(document)
        traced = self._tracers.prepare(self.routes.resolve(document))
        traced = self._logs.prepare(traced)
        assignments = {**self._assignments, **views}
        document, filters = prepare(traced, self.loop, assignments, own_listeners)
        return self.engine.compile(encode(document), [*filters, *own_filters])

    async def _hear_of_hosts(
        self, document: dict[str, Any], whole: dict[str, Any], checkers: dict[str, Checker]
    ) -> None:
        """What servers tell of new route configurations is waited for once, as Envoy's listeners
        wait for it; until then it is not published, but looked at all the same."""
        self.routes.resolve(whole)
        new = self.routes.new_hosts()
        if not new:
            return

        async def use() -> None:
            if waiting:
                self._compile(whole, checkers)
            else:
                await self._again()

        async def all_told() -> None:
            for each in new:
                await each.first()

        waiting = True
        self._places.follow(document, self._assignments)
        try:
            for each in new:
                each.start(self.loop, document, self._places, self.engine, use)
            await self._unless_stopped(all_told())
        finally:
            waiting = False

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
                document,
                self._served.stats,
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
        clusters = [with_default_resolver(cluster, document) for cluster in clusters]
        found = sources(clusters, self._served.stats)
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
                checker = Checker(cluster, self._served.stats, self.loop, runtime=runtime)
                self._checked_as[name] = key
            found[name] = checker
            checker.take(with_assignment(cluster, self._assignments).get("load_assignment", {}))
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
            stats = self._served.stats
            self._overload = Overload(config, stats, self.loop, self.engine)

    def _on_assignment(self, name: str, assignment: dict[str, Any]) -> None:
        checker = self._checkers.get(name)
        if assignment == self._assignments.get(name) and (checker is None or not checker.keeps_any):
            return
        self._assignments[name] = assignment
        self._send_assignment(name, assignment if checker is None else checker.take(assignment))

    def _send_assignment(self, name: str, assignment: dict[str, Any]) -> None:
        try:
            self.engine.set_assignment(name, encode(assignment))
        except ConfigError:
            log.exception("the addresses of cluster %s cannot be used; the old ones stay", name)

    # --- the end ---------------------------------------------------------------------------------

    async def drain(self, limit_s: float | None) -> bool:
        self.draining = True
        self.engine.drain()
        if not self.opened:
            return True
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
