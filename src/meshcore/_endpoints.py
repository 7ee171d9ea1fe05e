"""Endpoints in any form a caller may have them, as the groups of a ClusterLoadAssignment."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from meshcore.errors import ConfigError

__all__ = ["assignment_of", "filter_metadata", "groups_of", "is_assignment"]

Group = dict[str, Any]
STATUSES = ("UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED")
_GROUP = "envoy.config.endpoint.v3.LocalityLbEndpoints"
_TYPE = "envoy.config.endpoint.v3.ClusterLoadAssignment"
_LOCALITY = ("region", "zone", "sub_zone")
_KEYS = {
    "address",
    "ip",
    "host",
    "port",
    "hostname",
    "weight",
    "load_balancing_weight",
    "priority",
    "locality",
    "locality_weight",
    "metadata",
    "health",
    "health_status",
    "healthy",
    "canary",
    *_LOCALITY,
}


def is_assignment(source: Any) -> bool:
    if isinstance(source, Mapping):
        return "endpoints" in source or "policy" in source or not source
    return isinstance(source, str) or hasattr(source, "DESCRIPTOR") or hasattr(source, "__fspath__")


def assignment_of(source: Any) -> dict[str, Any]:
    """A ClusterLoadAssignment in canonical form, from one or from a list of endpoints."""
    if not is_assignment(source):
        return {"endpoints": groups_of(source)}
    from meshcore.config import load
    from meshcore.config.load import tree_of

    kind = getattr(getattr(source, "DESCRIPTOR", None), "full_name", _TYPE)
    tree = tree_of(source, kind)
    if kind == _GROUP:
        tree = {"endpoints": [tree]}
    if isinstance(tree, Mapping) and "clusterName" not in tree:
        tree = {"cluster_name": "cluster", **{k: v for k, v in tree.items() if k != "@type"}}
    return load(tree, type=_TYPE, check_support=False).document


def groups_of(source: Iterable[Any], priority: int | None = None) -> list[Group]:
    """LocalityLbEndpoints of a list of endpoints; `priority`, when given, overrides theirs."""
    groups: list[Group] = []
    last = None
    for index, item in enumerate(_items(source)):
        if isinstance(item, Mapping) and item.keys() & {"lb_endpoints", "lbEndpoints"}:
            groups += assignment_of({"endpoints": [item]})["endpoints"]
            last = None
        elif getattr(getattr(item, "DESCRIPTOR", None), "full_name", "") == _GROUP:
            groups += assignment_of(item)["endpoints"]
            last = None
        elif _is_priority(item):
            groups += groups_of(item, index)
            last = None
        else:
            common, endpoint = _endpoint(item, index)
            if common != last:
                groups.append({**common, "lb_endpoints": []})
                last = common
            groups[-1]["lb_endpoints"].append(endpoint)
    if priority is not None:
        for group in groups:
            group["priority"] = priority
    return groups


def _items(source: Any) -> Iterable[Any]:
    """Of a mapping: one locality's group, one endpoint, or endpoints by address."""
    if source is None or not isinstance(source, Iterable):
        raise ConfigError("endpoints", f"must be an assignment or a list, not {source!r}")
    if not isinstance(source, Mapping):
        return source
    if source.keys() & {"lb_endpoints", "lbEndpoints", "endpoint", "address", "ip", "host"}:
        return [source]
    return [
        {"address": address, **value}
        if isinstance(value, Mapping)
        else {"address": address, "weight": value}
        for address, value in source.items()
    ]


def _is_priority(item: Any) -> bool:
    """A list of endpoints among endpoints is a priority; other lists are a pair or a triple."""
    if not isinstance(item, list | tuple):
        return False
    return len(item) < 2 or not isinstance(item[0], str) or isinstance(item[1], str)


def _endpoint(item: Any, index: int) -> tuple[Group, Group]:
    """What the endpoint shares with its locality, and the LbEndpoint."""
    if isinstance(item, str):
        item = {"address": item}
    elif isinstance(item, tuple | list) and len(item) in (2, 3):
        item = _of_tuple(*item)
    elif hasattr(item, "address") and hasattr(item, "locality"):
        item = {key: getattr(item, key) for key in _KEYS if hasattr(item, key)}
    if not isinstance(item, Mapping):
        raise ConfigError(
            f"endpoints[{index}]", f"must be an address, a pair or a mapping, not {item!r}"
        )
    if "endpoint" in item:
        loaded = assignment_of({"endpoints": [{"lb_endpoints": [item]}]})
        return {}, loaded["endpoints"][0]["lb_endpoints"][0]
    unknown = set(item) - _KEYS
    if unknown:
        raise ConfigError(f"endpoints[{index}].{min(unknown)}", "is not known")
    return _common(item), _plain(item, index)


def _of_tuple(address: Any, second: Any, third: Any = None) -> Group:
    """("ip:port", weight[, priority]) or ("ip", port[, weight])."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(address)
        return {"address": (address, second), "weight": third}
    return {"address": address, "weight": second, "priority": third}


def _common(item: Mapping[str, Any]) -> Group:
    common: Group = {}
    if item.get("priority"):
        common["priority"] = int(item["priority"])
    locality = item.get("locality") or {name: item.get(name) for name in _LOCALITY}
    if isinstance(locality, str):
        locality = {"zone": locality}
    elif isinstance(locality, tuple | list):
        locality = dict(zip(_LOCALITY, locality, strict=False))
    if locality := {key: value for key, value in locality.items() if value}:
        common["locality"] = locality
    if item.get("locality_weight"):
        common["load_balancing_weight"] = int(item["locality_weight"])
    return common


def _plain(item: Mapping[str, Any], index: int) -> Group:
    ip, port = _address(_whole(item), index)
    inner: Group = {"address": {"socket_address": {"address": ip, "port_value": port}}}
    if item.get("hostname"):
        inner["hostname"] = item["hostname"]
    endpoint: Group = {"endpoint": inner}
    weight = item.get("weight", item.get("load_balancing_weight"))
    if weight is not None:
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 < weight < 2**32:
            raise ConfigError(
                f"endpoints[{index}].weight",
                f"must be an integer between 1 and 4294967295, not {weight!r}",
            )
        endpoint["load_balancing_weight"] = weight
    health = item.get("health", item.get("health_status", item.get("healthy")))
    if health is not None:
        status = status_name(health)
        if status is None:
            raise ConfigError(f"endpoints[{index}].health", f"must be one of {STATUSES}")
        endpoint["health_status"] = status
    metadata = filter_metadata(item.get("metadata") or {})
    if item.get("canary"):
        metadata["envoy.lb"] = {**metadata.get("envoy.lb", {}), "canary": True}
    if any(metadata.values()):
        endpoint["metadata"] = {"filter_metadata": metadata}
    return endpoint


def status_name(health: Any) -> str | None:
    """One of STATUSES; None when it is none of them."""
    if isinstance(health, bool):
        return "HEALTHY" if health else "UNHEALTHY"
    if isinstance(health, int) and 0 <= health < len(STATUSES):
        return STATUSES[health]
    name = health.upper() if isinstance(health, str) else None
    return name if name in STATUSES else None


def _whole(item: Mapping[str, Any]) -> Any:
    """The address with its port, which may stand beside it or in a `socket_address`."""
    address = item.get("address", item.get("ip", item.get("host")))
    if isinstance(address, Mapping):
        socket = address.get("socket_address", address)
        return socket.get("address"), socket.get("port_value", 0)
    return (address, item["port"]) if "port" in item else address


def _address(text: Any, index: int) -> tuple[str, int]:
    host, _, port = str(text).rpartition(":")
    if isinstance(text, tuple | list) and len(text) == 2:
        host, port = text
    host = str(host).removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
        return host, int(port)
    except ValueError:
        reason = f"must be an IP address and a port, such as 10.0.0.1:8080, not {text!r}"
        raise ConfigError(f"endpoints[{index}].address", reason) from None


def filter_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """By filter name. Metadata without filter names is the balancers' own, `envoy.lb`."""
    for spelling in ("filter_metadata", "filterMetadata"):
        if spelling in metadata:
            return dict(metadata[spelling])
    if "envoy.lb" in metadata:
        return dict(metadata)
    return {"envoy.lb": dict(metadata)}
