"""What is not told by the bootstrap: hosts of clusters from DNS (dns.py) and files (eds.py), routes
from files (rds.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, Self

from meshcore._core.stats import Store

__all__ = ["Source", "dns_fields", "sources", "with_default_resolver"]

TYPED_DNS = "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster"


class Source(Protocol):
    """Where the hosts of one cluster come from."""

    name: str

    def same_as(self, other: Self) -> bool: ...
    async def initial(self, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
        """Begins to look; returns the first assignment."""
        ...

    def start(
        self, loop: asyncio.AbstractEventLoop, on_change: Callable[[str, dict[str, Any]], None]
    ) -> None:
        """Assignments go to the callback from now on."""
        ...

    def stop(self) -> None: ...


def dns_fields(cluster: dict[str, Any]) -> dict[str, Any]:
    """The cluster with the fields of a typed DnsCluster in their older places."""
    typed = cluster.get("cluster_type", {}).get("typed_config", {})
    if typed.get("@type") != TYPED_DNS:
        return cluster
    own = {k: v for k, v in typed.items() if k not in ("@type", "all_addresses_in_single_endpoint")}
    kind = "LOGICAL_DNS" if typed.get("all_addresses_in_single_endpoint") else "STRICT_DNS"
    return {**cluster, **own, "type": kind}


def with_default_resolver(cluster: dict[str, Any], bootstrap: Mapping[str, Any]) -> dict[str, Any]:
    """The cluster with the bootstrap's resolver, where it names none of its own."""
    fields = dns_fields(cluster)
    own = fields.get("dns_resolution_config", {}).get("resolvers") or fields.get("dns_resolvers")
    if own or "typed_dns_resolver_config" in fields:
        return cluster
    names = ("typed_dns_resolver_config", "dns_resolution_config", "use_tcp_for_dns_lookups")
    given = {name: bootstrap[name] for name in names if name in bootstrap}
    return {**fields, **given} if given else cluster


def sources(clusters: Iterable[dict[str, Any]], stats: Store) -> dict[str, Any]:
    """A source for each cluster that needs one, by the cluster's name."""
    found: dict[str, Any] = {}
    for cluster in clusters:
        kind = dns_fields(cluster).get("type", "STATIC")
        if kind in ("STRICT_DNS", "LOGICAL_DNS"):
            from meshcore.discovery.dns import DnsCluster

            found[cluster["name"]] = DnsCluster(cluster, stats)
        elif kind == "EDS":
            from meshcore.discovery.eds import FileEds

            found[cluster["name"]] = FileEds(cluster, stats)
    return found
