"""STRICT_DNS and LOGICAL_DNS: names to addresses, again and again, on the control loop
(rules CL-4 to CL-6, C-5)."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from meshcore._core.stats import Store
from meshcore._log import logger as log
from meshcore.config.defaults import default
from meshcore.discovery import dns_fields
from meshcore.discovery.resolver import Resolver, look_up, read_resolver
from meshcore.discovery.updates import Updates
from meshcore.health.state import milliseconds

__all__ = ["FAMILIES", "DnsCluster"]

OnChange = Callable[[str, dict[str, Any]], None]
Found = list[tuple[str, int | None]]

# What dns_lookup_family asks for: address families in order, and whether to stop at the first
# that has an answer.
FAMILIES = {
    "UNSPECIFIED": ((socket.AF_INET6, socket.AF_INET), True),
    "AUTO": ((socket.AF_INET6, socket.AF_INET), True),
    "V6_ONLY": ((socket.AF_INET6,), True),
    "V4_ONLY": ((socket.AF_INET,), True),
    "V4_PREFERRED": ((socket.AF_INET, socket.AF_INET6), True),
    "ALL": ((socket.AF_INET, socket.AF_INET6), False),
}


class DnsCluster:
    """One cluster whose endpoints are names; every endpoint is resolved on its own timer."""

    def __init__(
        self,
        cluster: dict[str, Any],
        stats: Store,
        *,
        resolver: Resolver | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        draw: Callable[[], int] = lambda: random.getrandbits(63),
    ) -> None:
        self._cluster = cluster = dns_fields(cluster)
        self.name: str = cluster["name"]
        self._logical = cluster["type"] == "LOGICAL_DNS"
        self._resolver = read_resolver(cluster) if resolver is None else resolver
        self._sleep = sleep
        self._draw = draw
        self._families, self._first_only = FAMILIES[cluster.get("dns_lookup_family", "AUTO")]
        self._refresh = milliseconds(cluster.get("dns_refresh_rate"), default("DNS_REFRESH_RATE"))
        self._jitter = milliseconds(cluster.get("dns_jitter"))
        self._ttl = bool(cluster.get("respect_dns_ttl"))
        self._waits_for_first = bool(cluster.get("wait_for_warm_on_init", True))
        failure = cluster.get("dns_failure_refresh_rate")
        self._failure_base = self._failure_max = 0
        if failure is not None:
            self._failure_base = milliseconds(failure.get("base_interval"))
            self._failure_max = milliseconds(failure.get("max_interval"), 10 * self._failure_base)
        self._answers: dict[int, Found] = {}  # by the endpoint's index
        self._tasks: list[asyncio.Task[None]] = []
        self._on_change: OnChange | None = None
        self._last: dict[str, Any] | None = None
        self._updates = Updates(cluster, stats)
        self._weight = self._updates.scope.gauge("max_host_weight")

    def same_as(self, other: DnsCluster) -> bool:
        """Whether both would resolve the same names in the same way."""
        return self._cluster == other._cluster

    def names(self) -> list[str]:
        """The endpoints' addresses, in order; IP addresses are their own answers."""
        return [_address(endpoint).get("address", "") for endpoint in self._endpoints()]

    def _endpoints(self) -> Iterator[dict[str, Any]]:
        for group in self._cluster.get("load_assignment", {}).get("endpoints", ()):
            yield from group.get("lb_endpoints", ())

    def start(self, loop: asyncio.AbstractEventLoop, on_change: OnChange) -> None:
        """Begin to resolve; every assignment goes to the callback, an unchanged one too."""
        self._on_change = on_change
        if not self._tasks:
            self._tasks = [
                loop.create_task(self._follow(index, name))
                for index, name in enumerate(self.names())
            ]
        elif self._assignment() != self._last:
            self._tell()

    async def initial(self, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
        """Resolves from now on; returns what is known as soon as one name was answered (CL-4)."""
        known = asyncio.Event()
        names = self.names()
        self._tasks = [
            loop.create_task(self._follow(index, name, known)) for index, name in enumerate(names)
        ]
        if names and self._waits_for_first:
            await known.wait()
        self._last = self._assignment()
        return self._last

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _follow(self, index: int, name: str, known: asyncio.Event | None = None) -> None:
        failing = self._failure_base
        while True:
            ttl = await self._resolve(index, name)
            if known is not None:
                known.set()
            wait = self._refresh
            if ttl is None and self._failure_base:
                wait = self._draw() % failing  # C-5
                failing = min(2 * failing, self._failure_max)
            elif ttl is not None:
                failing = self._failure_base
                if self._ttl and ttl > 0:
                    wait = ttl * 1000
                if self._jitter:
                    wait += self._draw() % self._jitter
            if self._on_change is not None:
                self._tell(answered=ttl is not None)
            elif ttl is not None and not self._answers[index]:
                self._updates.unchanged.inc()
            if ttl is not None and not self._logical and not any(self._answers.values()):
                self._weight.set(1)  # what Envoy's greatest weight of no hosts is
            await self._sleep(wait / 1000)

    async def _resolve(self, index: int, name: str) -> int | None:
        """The TTL, 0 when unknown; None on failure: the addresses known so far stay."""
        self._updates.attempts.inc()
        try:
            found = await look_up(self._resolver, self._families, self._first_only, name)
            if self._logical and not found:  # CL-5
                raise OSError("the name has no address")
        except (OSError, ValueError) as error:
            self._updates.failures.inc()
            log.warning("cluster %s: cannot resolve %s: %s", self.name, name, error)
            return None
        self._updates.successes.inc()
        self._answers[index] = found
        ttls = [ttl or 0 for _, ttl in (found[:1] if self._logical else found)]
        return min(ttls, default=0)

    def _tell(self, *, answered: bool = False) -> None:
        assignment = self._assignment()
        if answered and assignment == self._last:
            self._updates.unchanged.inc()
        self._last = assignment
        if self._on_change is not None:
            self._on_change(self.name, assignment)

    def _assignment(self) -> dict[str, Any]:
        """Each distinct address of an endpoint once (CL-4); or one host (CL-5)."""
        source = self._cluster.get("load_assignment", {})
        if self._logical:
            return {**source, "endpoints": list(self._logical_groups(source))}
        groups = []
        index = itertools.count()
        for group in source.get("endpoints", ()):
            resolved: list[dict[str, Any]] = []
            for endpoint in group.get("lb_endpoints", ()):
                resolved += self._expand(next(index), endpoint)
            groups.append({**group, "lb_endpoints": resolved})
        return {**source, "endpoints": groups}

    def _logical_groups(self, source: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for group in source.get("endpoints", ()):
            for endpoint in group.get("lb_endpoints", ()):
                hosts = list(self._expand(0, endpoint))
                if not hosts:
                    return
                rest = [{"address": host["endpoint"]["address"]} for host in hosts[1:]]
                first = hosts[0]
                if rest:
                    inner = {**first["endpoint"], "additional_addresses": rest}
                    first = {**first, "endpoint": inner}
                yield {**group, "priority": 0, "lb_endpoints": [first]}
                return

    def _expand(self, index: int, endpoint: dict[str, Any]) -> Iterator[dict[str, Any]]:
        socket_address = _address(endpoint)
        name = socket_address.get("address", "")
        for address in dict.fromkeys(address for address, _ in self._answers.get(index, ())):
            inner = endpoint["endpoint"]
            yield {
                **endpoint,
                "endpoint": {
                    **inner,
                    "hostname": inner.get("hostname") or name,
                    "address": {"socket_address": {**socket_address, "address": address}},
                },
            }


def _address(endpoint: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (
        endpoint.get("endpoint", {}).get("address", {}).get("socket_address", {})
    )
    return found
