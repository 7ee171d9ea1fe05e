"""Virtual hosts that a management server tells: VHDS (RT-59, XDS-33).

A route configuration has its own virtual hosts and those that were told, by the names that they
have themselves. A request without a route has its host asked for, under the name
``<route configuration>/<host>``, and goes on when a resource with that name or alias has come into
use, be there a virtual host behind it or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from meshcore.errors import ConfigError
from meshcore.xds.subscription import Kind, Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcore._core.stats import Scope
    from meshcore.outgoing import Places
    from meshcore.xds.delta import Update

__all__ = ["VirtualHosts"]

Tree = dict[str, Any]
HOST = "envoy.config.route.v3.VirtualHost"
KIND = Kind(HOST, "/envoy.service.route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts")
NO_LIMIT = (1 << 32) - 1


class Workers(Protocol):
    """Who asks, and is answered: the engine."""

    def open_names(self, cache: str, max_hosts: int, max_pending: int) -> None: ...
    def set_name(
        self, cache: str, key: str, addresses: Sequence[str], port: int, details: str
    ) -> None: ...
    def drop_name(self, cache: str, key: str) -> None: ...


class VirtualHosts:
    """Those of one route configuration. `asking` is the name under which workers ask for them."""

    def __init__(self, routes: Tree, asking: str, scope: Scope) -> None:
        self.asking = asking
        self.source: Tree = routes["vhds"]["config_source"]
        self.name: str = routes.get("name", "")
        self._scope = scope
        self.version = ""
        self.updated_at = 0.0  # 0: nothing was told
        self._told: dict[str, Tree] = {}
        self._asked: set[str] = set()
        self._subscription: Subscription | None = None
        self._workers: Workers | None = None
        self._use: Callable[[], Awaitable[None]] | None = None
        self._reloads = scope.counter("config_reload")
        scope.counter("update_empty")

    def merged(self, routes: Tree) -> Tree:
        """The route configuration with all its virtual hosts."""
        told = (self._told[name] for name in sorted(self._told))
        return {**routes, "virtual_hosts": [*routes.get("virtual_hosts", ()), *told]}

    def for_core(self, routes: Tree) -> Tree:
        """What the core reads of `vhds` is whom to ask."""
        return {**self.merged(routes), "vhds": {"asking": self.asking}}

    # --- following --------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        return self._subscription is not None

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        document: Tree,
        places: Places,
        workers: Workers,
        use: Callable[[], Awaitable[None]],
    ) -> None:
        """Asks from now on. What was told is taken when `use` has not raised a ConfigError."""
        self._use, self._workers = use, workers
        workers.open_names(self.asking, NO_LIMIT, NO_LIMIT)
        self._subscription = Subscription(
            KIND,
            self.source,
            document,
            places,
            self._scope,
            self._take,
            concerns=lambda name: name.rpartition("/")[0] == self.name,
        )
        self._subscription.start(loop)

    async def first(self) -> None:
        """Returns when the server has told something, or nothing for long."""
        if self._subscription is not None:
            await self._subscription.first()

    def ask(self, key: str) -> None:
        """A request waits for this."""
        self._asked.add(key)
        if self._subscription is None or not key.isprintable():  # bytes that are no text among it
            self._tell(key)
        else:
            self._subscription.subscribe(key)

    def stop(self) -> None:
        """Nobody is asked any more; who waits goes on."""
        if self._subscription is not None:
            self._subscription.stop()
        for key in list(self._asked):
            self._tell(key)

    async def stopped(self) -> None:
        if self._subscription is not None:
            await self._subscription.stopped()

    async def _take(self, update: Update) -> None:
        told, before = dict(self._told), self._told
        for name in update.removed:
            told.pop(name, None)
        for each in update.resources:
            if each.body is not None:
                told[each.body["name"]] = each.body
        if told != before and self._use is not None:
            self._told = told
            try:
                await self._use()
            except ConfigError as error:
                self._told = before
                raise _of_the_host(error) from None
        if told != before or update.resources:
            self.version, self.updated_at = update.version, time.time()
            self._reloads.inc()
        for each in update.resources:
            for name in (each.name, *each.aliases):
                self._tell(name)

    def _tell(self, name: str) -> None:
        if name in self._asked and self._workers is not None:
            self._asked.discard(name)
            self._workers.set_name(self.asking, name, (), 0, "")
            self._workers.drop_name(self.asking, name)  # the next request asks again


def _of_the_host(error: ConfigError) -> ConfigError:
    """Named by its place among the virtual hosts, wherever in a bootstrap those stand."""
    _, found, rest = error.path.partition("virtual_hosts[")
    return ConfigError(found + rest or error.path, error.reason)
