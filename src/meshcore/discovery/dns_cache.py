"""Names that requests bring along, resolved when they are first asked for (rule CL-17).

Workers ask through the engine and wait; here every name is resolved, refreshed, and forgotten when
nobody has used it for a while.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from meshcore._addresses import is_ip
from meshcore._log import logger as log
from meshcore.config.defaults import default
from meshcore.discovery.dns import FAMILIES
from meshcore.discovery.resolver import (
    Resolver,
    look_up,
    read_resolver,
    reason_of,
)
from meshcore.health.state import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcore._core.stats import Store
    from meshcore.discovery.sub_clusters import SubClusters

__all__ = ["DnsCache", "NameCaches", "cache_configs"]

CLUSTER = "type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
FILTER = "type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig"


class Workers(Protocol):
    """Who is told: the engine."""

    def open_names(self, cache: str, max_hosts: int, max_pending: int) -> None: ...
    def count_names(self, cache: str, hosts: int) -> None: ...
    def set_name(
        self, cache: str, key: str, addresses: Sequence[str], port: int, details: str
    ) -> None: ...
    def drop_name(self, cache: str, key: str) -> None: ...
    def name_age_ms(self, cache: str, key: str) -> int | None: ...


@dataclass(slots=True)
class Host:
    """One name with its port, whatever became of it so far."""

    key: str
    name: str
    port: int
    since: float
    failing: int  # milliseconds, of the next wait after a failure
    addresses: list[str] = field(default_factory=list)
    details: str = ""
    complete: bool = False
    task: asyncio.Task[None] | None = None


def split_key(key: str) -> tuple[str, int]:
    """Name and port; an IP address without its brackets."""
    name, _, port = key.rpartition(":")
    inner = name.removeprefix("[").removesuffix("]")
    return (inner if is_ip(inner) else name), int(port)


class DnsCache:
    """One cache, shared by every filter and cluster that names it."""

    def __init__(
        self,
        config: Mapping[str, Any],
        stats: Store,
        workers: Workers,
        loop: asyncio.AbstractEventLoop,
        *,
        resolver: Resolver | None = None,
        draw: Callable[[], int] = lambda: random.getrandbits(63),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.name: str = config["name"]
        self._workers = workers
        self._loop = loop
        self._resolver = read_resolver(config) if resolver is None else resolver
        self._draw = draw
        self._now = now
        self._families, self._first_only = FAMILIES[config.get("dns_lookup_family", "AUTO")]
        self._refresh = milliseconds(
            config.get("dns_refresh_rate"), default("DNS_CACHE_REFRESH_RATE")
        )
        self._least = milliseconds(
            config.get("dns_min_refresh_rate"), default("DNS_CACHE_MIN_REFRESH_RATE")
        )
        self._ttl = milliseconds(config.get("host_ttl"), default("DNS_CACHE_HOST_TTL"))
        self._timeout = milliseconds(
            config.get("dns_query_timeout"), default("DNS_CACHE_QUERY_TIMEOUT")
        )
        self._retries = not config.get("disable_dns_refresh_on_failure", False)
        failure = config.get("dns_failure_refresh_rate", {})
        self._failure_base = milliseconds(failure.get("base_interval"))
        self._failure_max = milliseconds(failure.get("max_interval"), 10 * self._failure_base)
        self._hosts: dict[str, Host] = {}
        scope = stats.scope(f"dns_cache.{self.name}")
        scope.counter("cache_load")
        scope.counter("dns_address_filter_out")
        self._attempts = scope.counter("dns_query_attempt")
        self._successes = scope.counter("dns_query_success")
        self._failures = scope.counter("dns_query_failure")
        self._timeouts = scope.counter("dns_query_timeout")
        self._added = scope.counter("host_added")
        self._removed = scope.counter("host_removed")
        self._changed = scope.counter("host_address_changed")
        self._count = scope.gauge("num_hosts")

    def open(self) -> None:
        """Makes it known to the workers, and begins with what is to be resolved ahead."""
        breaker = self.config.get("dns_cache_circuit_breaker", {})
        self._workers.open_names(
            self.name,
            self.config.get("max_hosts", default("DNS_CACHE_MAX_HOSTS")),
            breaker.get("max_pending_requests", default("DNS_CACHE_MAX_PENDING")),
        )
        for address in self.config.get("preresolve_hostnames", ()):
            host = address.get("address", "")
            port = address.get("port_value", 0)
            self.load(f"{host}:{port}")

    def close(self) -> None:
        for host in list(self._hosts.values()):
            self._drop(host)

    def stop(self) -> None:
        """Resolves nothing any more."""
        for host in self._hosts.values():
            if host.task is not None:
                host.task.cancel()

    def load(self, key: str) -> None:
        """A request waits for this name."""
        host = self._hosts.get(key)
        if host is not None and host.complete and not (host.addresses or self._retries):
            self._drop(host)  # it failed, and is not tried again by itself
            host = None
        if host is None:
            self._add(key)
        elif host.complete:
            self._tell(host)

    def _add(self, key: str) -> None:
        name, port = split_key(key)
        host = Host(key, name, port, self._now(), self._failure_base)
        self._hosts[key] = host
        self._added.inc()
        self._counted()
        host.task = self._loop.create_task(self._follow(host))

    def _drop(self, host: Host) -> None:
        if host.task is not None:
            host.task.cancel()
        del self._hosts[host.key]
        self._removed.inc()
        self._counted()
        self._workers.drop_name(self.name, host.key)

    def _counted(self) -> None:
        self._count.set(len(self._hosts))
        self._workers.count_names(self.name, len(self._hosts))

    async def _follow(self, host: Host) -> None:
        while True:
            wait = await self._resolve(host)
            if wait is None:
                host.task = None
                return
            await asyncio.sleep(wait / 1000)
            if self._unused_ms(host) > self._ttl:
                host.task = None
                self._drop(host)
                return

    def _unused_ms(self, host: Host) -> float:
        age = self._workers.name_age_ms(self.name, host.key)
        since = (self._now() - host.since) * 1000
        return since if age is None else min(age, since)

    async def _resolve(self, host: Host) -> int | None:
        """Milliseconds until the next time; None: never."""
        self._attempts.inc()
        try:
            async with asyncio.timeout(self._timeout / 1000 if self._timeout else None):
                found = await look_up(self._resolver, self._families, self._first_only, host.name)
        except TimeoutError:
            self._timeouts.inc()
            return self._failed(host, "resolve_timeout")
        except (OSError, ValueError) as error:
            log.debug("dns cache %s: cannot resolve %s: %s", self.name, host.name, error)
            return self._failed(host, f"cares_failure:{reason_of(error)}")
        self._successes.inc()
        host.failing = self._failure_base
        self._take(host, [address for address, _ in found], f"cares_norecords:{found.why}")
        if not found:
            return self._refresh
        return max(self._least, (found[0][1] or 0) * 1000)

    def _failed(self, host: Host, details: str) -> int | None:
        self._failures.inc()
        self._take(host, [], details)
        if not self._retries:
            return None
        wait = self._refresh
        if self._failure_base:
            wait = self._draw() % host.failing  # C-5
            host.failing = min(2 * host.failing, self._failure_max)
        return max(self._least, wait)

    def _take(self, host: Host, addresses: list[str], details: str) -> None:
        """An address once known stays until there is another one."""
        first = not host.complete
        changed = bool(addresses) and addresses != host.addresses
        host.complete = True
        if changed:
            host.addresses = addresses
            self._changed.inc()
        if not host.addresses:
            changed = changed or details != host.details
            host.details = details
        if first or changed:
            self._tell(host)

    def _tell(self, host: Host) -> None:
        details = "" if host.addresses else host.details
        self._workers.set_name(self.name, host.key, host.addresses, host.port, details)
        if not host.addresses and not self._retries:
            self._workers.drop_name(self.name, host.key)  # the next request asks again


def _managers(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for listener in document.get("static_resources", {}).get("listeners", ()):
        for chain in listener.get("filter_chains", ()):
            for network in chain.get("filters", ()):
                yield from network.get("typed_config", {}).get("http_filters", ())


def cache_configs(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every cache that the document names, as often as it does."""
    for cluster in document.get("static_resources", {}).get("clusters", ()):
        typed = cluster.get("cluster_type", {}).get("typed_config", {})
        if typed.get("@type") == CLUSTER and "dns_cache_config" in typed:
            yield typed["dns_cache_config"]
    for entry in _managers(document):
        typed = entry.get("typed_config", {})
        if typed.get("@type") == FILTER and "dns_cache_config" in typed:
            yield typed["dns_cache_config"]


class NameCaches:
    """The caches of the configuration in use, and the makers of sub-clusters (`sub_clusters`)."""

    def __init__(
        self,
        stats: Store,
        workers: Workers,
        loop: asyncio.AbstractEventLoop,
        sub_clusters: Callable[[Mapping[str, Any]], Iterable[SubClusters]],
    ) -> None:
        self._stats = stats
        self._workers = workers
        self._loop = loop
        self._sub_clusters = sub_clusters
        self._caches: dict[str, DnsCache | SubClusters] = {}

    def follow(self, document: Mapping[str, Any]) -> None:
        """Opens what a configuration names and is not open; before workers get it."""
        for config in cache_configs(document):
            known = self._caches.get(config["name"])
            if known is None or not _same(known.config, config):
                self._open(DnsCache(config, self._stats, self._workers, self._loop))
        for fresh in self._sub_clusters(document):
            known = self._caches.get(fresh.name)
            if known is None or not _same(known.config, fresh.config):
                self._open(fresh)

    def _open(self, cache: DnsCache | SubClusters) -> None:
        known = self._caches.get(cache.name)
        if known is not None:
            known.close()
        self._caches[cache.name] = cache
        cache.open()

    def forget(self, document: Mapping[str, Any]) -> None:
        """Closes what it does not name any more; after workers have it."""
        named = {config["name"] for config in cache_configs(document)}
        named |= {each.name for each in self._sub_clusters(document)}
        for name in set(self._caches) - named:
            self._caches.pop(name).close()

    def load(self, name: str, key: str) -> None:
        """A request waits for a key; of a cache that is not one of these, nothing happens."""
        cache = self._caches.get(name)
        if cache is not None:
            cache.load(key)

    def stop(self) -> None:
        for cache in self._caches.values():
            cache.stop()


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
