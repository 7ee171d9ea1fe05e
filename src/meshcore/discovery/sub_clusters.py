"""Clusters that a dynamic forward proxy makes of the names that requests bring (rule CL-17)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshcore._log import logger as log
from meshcore.config.defaults import default
from meshcore.discovery import with_default_resolver
from meshcore.discovery.dns import DnsCluster
from meshcore.health.state import milliseconds

if TYPE_CHECKING:
    from meshcore._core.stats import Store
    from meshcore.discovery.dns_cache import Workers

__all__ = ["MadeCluster", "SubClusters", "settings_of"]

CLUSTER = "type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
PREFIX = "DFPCluster:"


def settings_of(cluster: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a cluster says of its sub-clusters; None: it has none."""
    typed = cluster.get("cluster_type", {}).get("typed_config", {})
    found: dict[str, Any] | None = None
    if typed.get("@type") == CLUSTER:
        found = typed.get("sub_clusters_config")
    return found


@dataclass(slots=True)
class MadeCluster:
    """A cluster that no configuration has; its first addresses are known."""

    parent: Mapping[str, Any]
    config: dict[str, Any]
    source: DnsCluster
    assignment: dict[str, Any]


class SubClusters:
    """Those of one cluster. Workers know them by their whole names."""

    def __init__(
        self,
        parent: Mapping[str, Any],
        bootstrap: Mapping[str, Any],
        stats: Store,
        workers: Workers,
        loop: asyncio.AbstractEventLoop,
        *,
        add: Callable[[MadeCluster], Awaitable[None]],
        remove: Callable[[list[str]], Awaitable[None]],
    ) -> None:
        self.config = parent
        self.name = "~" + parent["name"]
        self._bootstrap = bootstrap
        self._stats = stats
        self._workers = workers
        self._loop = loop
        self._add = add
        self._remove = remove
        own = settings_of(parent) or {}
        self._policy = own.get("lb_policy", "ROUND_ROBIN")
        self._most = own.get("max_sub_clusters", default("SUB_CLUSTERS_MAX"))
        self._ttl = milliseconds(own.get("sub_cluster_ttl"), default("SUB_CLUSTER_TTL"))
        self._warming = stats.gauge("cluster_manager.warming_clusters")
        self._since: dict[str, float] = {}  # when each was asked for first
        self._warm: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self._workers.open_names(self.name, self._most, (1 << 32) - 1)
        self._run(self._reap())

    def close(self) -> None:
        self.stop()
        for name in self._since:
            self._workers.drop_name(self.name, name)
        self._since.clear()
        self._counted()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def load(self, name: str) -> None:
        """A request waits for this one."""
        if name in self._warm:
            self._tell(name)
        elif name not in self._since and len(self._since) < self._most:
            self._since[name] = time.monotonic()
            self._counted()
            self._run(self._make(name))

    def _run(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _counted(self) -> None:
        self._workers.count_names(self.name, len(self._since))

    def _tell(self, name: str) -> None:
        self._workers.set_name(self.name, name, (), 0, "")

    async def _make(self, name: str) -> None:
        config = self._made_of(name)
        source = DnsCluster(with_default_resolver(config, self._bootstrap), self._stats)
        self._warming.inc()
        try:
            assignment = await source.initial(self._loop)
            await self._add(MadeCluster(self.config, config, source, assignment))
        except asyncio.CancelledError:
            source.stop()
            raise
        except Exception:
            log.exception("the cluster %s cannot be made", name)
            source.stop()
            del self._since[name]
            self._counted()
        else:
            self._warm.add(name)
            self._tell(name)
        finally:
            self._warming.dec()

    def _made_of(self, name: str) -> dict[str, Any]:
        host, _, port = name.removeprefix(PREFIX).rpartition(":")
        where = {"socket_address": {"address": host, "port_value": int(port)}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": where}}]}]
        parent = {key: value for key, value in self.config.items() if key != "cluster_type"}
        return {
            **parent,
            "name": name,
            "type": "STRICT_DNS",
            "lb_policy": self._policy,
            "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        }

    async def _reap(self) -> None:
        """Those that nobody has asked for since the last time go."""
        while True:
            await asyncio.sleep(self._ttl / 1000)
            idle = [name for name in self._warm if self._unused_ms(name) > self._ttl]
            for name in idle:
                self._workers.drop_name(self.name, name)
                self._warm.discard(name)
                del self._since[name]
            if idle:
                self._counted()
                await self._remove(idle)

    def _unused_ms(self, name: str) -> float:
        age = self._workers.name_age_ms(self.name, name)
        since = (time.monotonic() - self._since[name]) * 1000
        return since if age is None else min(age, since)
