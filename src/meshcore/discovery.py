"""STRICT_DNS: names to addresses, again and again, on the control loop (rules CL-4, C-5, CL-6).

Resolution goes through the system's resolver (``getaddrinfo`` in a thread pool), so that nsswitch
and resolv.conf hold. It tells no TTL: ``respect_dns_ttl`` is accepted and the refresh rate counts.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from meshcore._core.stats import Store
from meshcore._log import logger as log
from meshcore.config.defaults import default

__all__ = ["DnsCluster", "clusters_needing_dns"]

Resolver = Callable[[str, int, int], Awaitable[list[str]]]
OnChange = Callable[[str, dict[str, Any]], None]

# What dns_lookup_family asks for: address families in order, and whether to stop at the first
# that has an answer.
FAMILIES = {
    "AUTO": ((socket.AF_INET6, socket.AF_INET), True),
    "V6_ONLY": ((socket.AF_INET6,), True),
    "V4_ONLY": ((socket.AF_INET,), True),
    "V4_PREFERRED": ((socket.AF_INET, socket.AF_INET6), True),
    "ALL": ((socket.AF_INET6, socket.AF_INET), False),
}


def clusters_needing_dns(document: dict[str, Any], stats: Store) -> list[DnsCluster]:
    """The STRICT_DNS clusters of a bootstrap in canonical form."""
    clusters = document.get("static_resources", {}).get("clusters", ())
    return [DnsCluster(c, stats) for c in clusters if c.get("type") == "STRICT_DNS"]


async def system_resolver(host: str, port: int, family: int) -> list[str]:
    """Addresses of a name, in the resolver's order; none is a successful empty answer."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (
            socket.EAI_NONAME,
            getattr(socket, "EAI_NODATA", -5),
            socket.EAI_ADDRFAMILY,
        ):
            return []
        raise
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def _seconds(text: str | None, default_ms: int) -> float:
    return default_ms / 1000 if text is None else float(text.removesuffix("s"))


class DnsCluster:
    """One cluster whose endpoints are names; every name is resolved on its own timer."""

    def __init__(
        self,
        cluster: dict[str, Any],
        stats: Store,
        *,
        resolver: Resolver = system_resolver,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.name: str = cluster["name"]
        self._cluster = cluster
        self._resolver = resolver
        self._sleep = sleep
        self._draw = draw
        self._families, self._first_only = FAMILIES[cluster.get("dns_lookup_family", "AUTO")]
        self._refresh_s = _seconds(cluster.get("dns_refresh_rate"), default("DNS_REFRESH_RATE"))
        failure = cluster.get("dns_failure_refresh_rate")
        self._failure_base_s = (
            None if failure is None else _seconds(failure.get("base_interval"), 0)
        )
        self._failure_max_s = 0.0
        if failure is not None and self._failure_base_s is not None:
            longest = failure.get("max_interval")
            self._failure_max_s = _seconds(longest, 0) if longest else 10 * self._failure_base_s
        self._answers: dict[str, list[str]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._on_change: OnChange | None = None
        self._last: dict[str, Any] | None = None
        scope = stats.scope(
            f"cluster.{cluster.get('alt_stat_name') or self.name}".replace(":", "_")
        )
        self._attempts = scope.counter("update_attempt")
        self._successes = scope.counter("update_success")
        self._failures = scope.counter("update_failure")
        self._unchanged = scope.counter("update_no_rebuild")

    def same_as(self, other: DnsCluster) -> bool:
        """Whether both would resolve the same names in the same way."""
        return json.dumps(self._cluster, sort_keys=True) == json.dumps(
            other._cluster, sort_keys=True
        )

    def names(self) -> list[str]:
        """The distinct names among the endpoints' addresses, in order."""
        found = [_address(endpoint).get("address", "") for endpoint in self._endpoints()]
        return [name for name in dict.fromkeys(found) if not _is_ip(name)]

    def _endpoints(self) -> list[dict[str, Any]]:
        groups = self._cluster.get("load_assignment", {}).get("endpoints", ())
        return [endpoint for group in groups for endpoint in group.get("lb_endpoints", ())]

    async def initial(self) -> dict[str, Any]:
        """The first assignment: complete once every name was tried once."""
        await asyncio.gather(*(self._resolve(name) for name in self.names()))
        self._last = self._assignment()
        return self._last

    def start(self, loop: asyncio.AbstractEventLoop, on_change: OnChange) -> None:
        """Keep resolving; every new assignment goes to the callback."""
        self._on_change = on_change
        self._tasks = [loop.create_task(self._follow(name)) for name in self.names()]

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _follow(self, name: str) -> None:
        failures = 0
        ok = name in self._answers
        while True:
            failures = 0 if ok else failures + 1
            await self._sleep(self._wait_s(failures))
            ok = await self._resolve(name)
            if ok:
                self._tell()

    def _wait_s(self, failures: int) -> float:
        if failures == 0 or self._failure_base_s is None:
            return self._refresh_s
        interval = min(self._failure_base_s * 2.0 ** min(failures - 1, 60), self._failure_max_s)
        return self._draw() * interval  # C-5: full jitter

    async def _resolve(self, name: str) -> bool:
        """False on failure: the addresses known so far stay."""
        found: list[str] = []
        self._attempts.inc()
        try:
            for family in self._families:
                found += [a for a in await self._resolver(name, 0, family) if a not in found]
                if found and self._first_only:
                    break
        except OSError as error:
            self._failures.inc()
            log.warning("cluster %s: cannot resolve %s: %s", self.name, name, error)
            return False
        self._successes.inc()
        self._answers[name] = found
        return True

    def _tell(self) -> None:
        assignment = self._assignment()
        if assignment == self._last:
            self._unchanged.inc()
            return
        self._last = assignment
        if self._on_change is not None:
            self._on_change(self.name, assignment)

    def _assignment(self) -> dict[str, Any]:
        """Each distinct address once, where it first occurs (CL-4)."""
        source = self._cluster.get("load_assignment", {})
        seen: set[tuple[str, int]] = set()
        groups = []
        for group in source.get("endpoints", ()):
            resolved = []
            for endpoint in group.get("lb_endpoints", ()):
                resolved += self._expand(endpoint, seen)
            groups.append({**group, "lb_endpoints": resolved})
        return {**source, "endpoints": groups}

    def _expand(self, endpoint: dict[str, Any], seen: set[tuple[str, int]]) -> list[dict[str, Any]]:
        socket_address = _address(endpoint)
        name, port = socket_address.get("address", ""), socket_address.get("port_value", 0)
        addresses = [name] if _is_ip(name) else self._answers.get(name, [])
        out = []
        for address in addresses:
            if (address, port) in seen:
                continue
            seen.add((address, port))
            inner = endpoint["endpoint"]
            out.append(
                {
                    **endpoint,
                    "endpoint": {
                        **inner,
                        "hostname": inner.get("hostname") or name,
                        "address": {"socket_address": {**socket_address, "address": address}},
                    },
                }
            )
        return out


def _address(endpoint: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (
        endpoint.get("endpoint", {}).get("address", {}).get("socket_address", {})
    )
    return found


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
