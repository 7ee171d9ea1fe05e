"""Where a request goes: the cluster, and the host as far as the request decides it."""

from __future__ import annotations

import json

from meshcore.balancing import LoadBalancer
from meshcore.errors import ConfigError
from meshcore.explain.listener import address_text
from meshcore.explain.request import Document, HeaderList
from meshcore.explain.table import Table
from meshcore.routing import Route

__all__ = ["NO_HOST", "hosts_of", "upstream_of"]

NO_HOST = "no host of the cluster can be chosen"
# What of a cluster says which hosts are asked at all.
TAKING_TURNS = (
    "name",
    "type",
    "load_assignment",
    "lb_subset_config",
)
MOST_TURNS = 40_000


def upstream_of(document: Document, table: Table, headers: HeaderList) -> Document:
    route, entry = table.route, table.entry
    assert route is not None
    action = next((k for k in ("route", "redirect", "direct_response") if k in entry), "")
    out: Document = {"action": action, "route": route.name}
    if action != "route":
        return out
    clusters = document.get("static_resources", {}).get("clusters", ())
    cluster = next((c for c in clusters if c.get("name") == route.cluster), None)
    out["cluster"] = {"name": route.cluster, "known": cluster is not None}
    weighted = entry["route"].get("weighted_clusters", {}).get("clusters", ())
    if weighted:
        out["cluster"]["weights"] = {
            one.get("name", one.get("cluster_header", "")): one.get("weight", 0) for one in weighted
        }
        out["cluster"]["random_value"] = table.random_value
    if cluster is None:
        return out
    out["cluster"] |= {
        "type": cluster.get("type", "STATIC"),
        "lb_policy": cluster.get("lb_policy", "ROUND_ROBIN"),
    }
    out["host"] = _host_of(cluster, route, headers)
    return out


def hosts_of(cluster: Document) -> list[tuple[str, int]]:
    """Address and weight of every endpoint, in order; one at weight 0 gets nothing."""
    found = []
    for locality in cluster.get("load_assignment", {}).get("endpoints", ()):
        if locality.get("priority", 0) == 0:
            for one in locality.get("lb_endpoints", ()):
                address = address_text(one.get("endpoint", {}).get("address", {}))
                found.append((address, one.get("load_balancing_weight", 1)))
    return found


def _host_of(cluster: Document, route: Route, headers: HeaderList) -> Document:
    """Which host, if the request alone decides it, else which may be chosen, and why."""
    made: list[str] = []
    policy = route.hash_policy
    value = policy.generate_hash(headers, set_cookies=made) if policy else None
    value = None if made else value  # of a cookie that holds the client's port
    criteria = route.metadata_match_criteria
    asked = None if criteria is None else {"envoy.lb": criteria}
    name, hashes = _policy_of(cluster)
    hosts = [address for address, _ in hosts_of(cluster)]
    try:
        reached = _reached(cluster, asked, len(hosts))
        by_hash = LoadBalancer(cluster, random=1).choose(value, asked) if hashes else None
    except ConfigError:  # hosts that are names yet, or come from elsewhere
        reached, by_hash = hosts, None
    out: Document = {"hash": value, "candidates": reached, "address": None}
    if not reached and hosts == reached:
        return out | {"reason": NO_HOST if _is_static(cluster) else "found when it runs"}
    if not reached:
        return out | {"reason": NO_HOST}
    if len(reached) == 1:
        return out | {"address": reached[0], "reason": "the only one"}
    if not hashes:
        return out | {"reason": f"{name} takes turns, whatever the request"}
    if value is None:
        why = "a cookie is made, and decides" if made else "no hash policy found anything"
        return out | {"reason": f"{why}: a random one"}
    return out | {"address": None if by_hash is None else by_hash.address, "reason": "by the hash"}


def _is_static(cluster: Document) -> bool:
    return cluster.get("type", "STATIC") == "STATIC" and "cluster_type" not in cluster


def _policy_of(cluster: Document) -> tuple[str, bool]:
    """The name of what balances, and whether it goes by the hash."""
    policies = cluster.get("load_balancing_policy", {}).get("policies", ())
    if not policies:
        name = cluster.get("lb_policy", "ROUND_ROBIN")
        return name, name in ("RING_HASH", "MAGLEV")
    text = json.dumps(policies[0])
    hashes = "ring_hash.v3." in text or "maglev.v3." in text
    return policies[0].get("typed_extension_config", {}).get("name", ""), hashes


def _reached(cluster: Document, asked: Document | None, hosts: int) -> list[str]:
    """The hosts among which one is chosen, in order: taking turns comes by all of them."""
    turns = {k: v for k, v in cluster.items() if k in TAKING_TURNS}
    if "subset.v3." in json.dumps(policy := cluster.get("load_balancing_policy", {})):
        turns["load_balancing_policy"] = policy
    balancer = LoadBalancer(turns, random=1)
    chosen = (balancer.choose(None, asked) for _ in range(min(4 * hosts + 4, MOST_TURNS)))
    reached = {host.address for host in chosen if host is not None}
    return [address for address, _ in hosts_of(cluster) if address in reached]
