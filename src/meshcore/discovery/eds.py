"""EDS from a file (rule CL-7)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from meshcore._core.stats import Store
from meshcore._log import logger as log
from meshcore.discovery.files import LOOK_S, ResourceFile, path_of
from meshcore.discovery.updates import Updates
from meshcore.errors import ConfigError
from meshcore.health.state import milliseconds

__all__ = ["FileEds"]

ASSIGNMENT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

OnChange = Callable[[str, dict[str, Any]], None]


class FileEds:
    """The endpoints of one cluster, from a file."""

    def __init__(
        self,
        cluster: dict[str, Any],
        stats: Store,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self.name: str = cluster["name"]
        config = cluster.get("eds_cluster_config", {})
        source = config.get("eds_config", {})
        self._file = ResourceFile(path_of(source))
        self._wanted: str = config.get("service_name") or self.name
        self._timeout_s = milliseconds(source.get("initial_fetch_timeout"), 15_000) / 1000
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self._on_change: OnChange | None = None
        self._last: dict[str, Any] | None = None
        self._given: dict[str, Any] | None = None  # by `initial`
        self._updates = Updates(cluster, stats)
        scope = self._updates.scope
        self._rejected = scope.counter("update_rejected")
        self._empty = scope.counter("update_empty")
        self._timeouts = scope.counter("init_fetch_timeout")
        self._limited = scope.counter("assignment_timeout_received")
        self._stale = scope.counter("assignment_stale")
        self._stale_at: float | None = None

    def same_as(self, other: object) -> bool:
        return isinstance(other, FileEds) and self._cluster == other._cluster

    async def initial(self, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
        """The first assignment; an empty one when none came in time."""
        known = asyncio.Event()
        self._task = loop.create_task(self._follow(known))
        try:
            await asyncio.wait_for(known.wait(), self._timeout_s or None)
        except TimeoutError:
            self._timeouts.inc()
        self._given = self._last
        return self._last or {"cluster_name": self.name}

    def start(self, loop: asyncio.AbstractEventLoop, on_change: OnChange) -> None:
        self._on_change = on_change
        if self._last is not None and self._last is not self._given:
            on_change(self.name, self._last)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _follow(self, known: asyncio.Event) -> None:
        while True:
            if self._file.changed() and self._read():
                known.set()
            self._expire()
            await self._sleep(LOOK_S)

    def _expire(self) -> None:
        """Endpoints that nobody confirmed in time are not used any more."""
        if self._stale_at is not None and time.monotonic() >= self._stale_at:
            self._stale_at = None
            self._stale.inc()
            self._last = {"cluster_name": self.name}
            if self._on_change is not None:
                self._on_change(self.name, self._last)

    def _read(self) -> bool:
        """True when the file had something to say, if only that there is nothing."""
        self._updates.attempts.inc()
        try:
            _, resources = self._file.read()
            assignment = self._choose(resources)
        except (OSError, ConfigError, ValueError) as error:
            self._updates.failures.inc()
            self._rejected.inc()
            log.warning("cluster %s: %s cannot be used: %s", self.name, self._file.path, error)
            return False
        self._updates.successes.inc()
        if assignment is None:
            self._empty.inc()
            return True
        limit = milliseconds(assignment.get("policy", {}).get("endpoint_stale_after"))
        self._stale_at = time.monotonic() + limit / 1000 if limit else None
        if limit:
            self._limited.inc()
        if assignment == self._last:
            self._updates.unchanged.inc()
            return True
        self._last = assignment
        if self._on_change is not None:
            self._on_change(self.name, assignment)
        return True

    def _choose(self, resources: list[dict[str, Any]]) -> dict[str, Any] | None:
        if not resources:
            return None
        if len(resources) > 1:
            raise ValueError(f"Unexpected EDS resource length: {len(resources)}")
        found = {k: v for k, v in resources[0].items() if k != "@type"}
        if resources[0].get("@type") != ASSIGNMENT:
            raise ValueError(f"the resource is a {resources[0].get('@type')}")
        if found.get("cluster_name") != self._wanted:
            name = found.get("cluster_name")
            raise ValueError(f"Unexpected EDS cluster (expecting {self._wanted}): {name}")
        return found
