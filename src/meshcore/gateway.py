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
import math
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from meshcore._core.stats import Store
from meshcore._document import check
from meshcore._run import RECORDS, Run, Served
from meshcore.config import Config, load, load_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcore.tracing import SpanExporter

__all__ = ["Gateway"]


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
        workers = len(os.sched_getaffinity(0)) if workers is None else workers
        if not hasattr(workers, "__index__"):
            raise TypeError(f"workers must be a whole number, not {type(workers).__name__}")
        if not 0 <= workers <= 256:
            raise ValueError(f"workers must be between 0 and 256, not {workers}")
        if stats is not None and not isinstance(stats, Store):
            raise TypeError(f"stats must be a meshcore.stats.Store, not {type(stats).__name__}")
        for exporter in span_exporters:
            if not callable(exporter):
                raise TypeError(f"a span exporter must take lists of spans, and is {exporter!r}")
        if not 0 <= log_flush_interval_s < math.inf:
            raise ValueError(f"log_flush_interval_s must be from 0, not {log_flush_interval_s}")
        self._allow_unsupported = allow_unsupported
        self._served = Served(
            config=self._loaded(bootstrap),
            stats=Store() if stats is None else stats,
            workers=workers,
            log_flush_ms=max(1, round(log_flush_interval_s * 1000)),
            log_flush_bytes=max(1, log_flush_kib * 1024),
            span_exporters=tuple(span_exporters),
        )
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._thread: threading.Thread | None = None
        check(self._served.config)

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
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._background(ready)), name="meshcore", daemon=True
        )
        with self._lock:
            if self._thread is not None:
                raise RuntimeError("the gateway is running")
            thread.start()
            self._thread = thread
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

    def _begin(self) -> Run:
        with self._lock:
            if self._run is not None:
                raise RuntimeError("the gateway is running")
            self._run = Run(self, self._served, asyncio.get_running_loop())
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
        if (run := self._run_for(config)) is not None:
            run.result(run.apply(config))

    async def update_async(self, bootstrap: Any) -> None:
        """``update`` for the thread of the control loop."""
        config = self._loaded(bootstrap)
        if (run := self._run_for(config)) is not None:
            await run.apply(config)

    def _run_for(self, config: Config) -> Run | None:
        """The run that takes a configuration over; where there is none the next begins with it."""
        if self._run is None:
            check(config)
            self._served.config = config
        return self._run

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.drain(10)
        self.stop()

    # --- looking --------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the listeners are open."""
        run = self._run
        return run is not None and run.opened

    @property
    def stats(self) -> Store:
        """Every counter, gauge and histogram, by Envoy's names."""
        return self._served.stats

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
        return self._served.config.document

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
        """Lines of access logs that were lost because a worker's ring was full."""
        run = self._run
        return 0 if run is None else run.ask(lambda: run.engine.records_dropped)
