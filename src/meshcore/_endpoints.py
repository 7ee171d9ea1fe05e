"""Endpoints in any form a caller may have them, as the groups of a ClusterLoadAssignment."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from meshcore.errors import ConfigError

__all__ = ["assignment_of", "filter_metadata", "groups_of", "is_assignment"]

Group = dict[str, Any]
STATUSES = ("UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED")
_TYPE = "envoy.config.endpoint.v3.ClusterLoadAssignment"
_KEYS = {
    "address",
    "hostname",
    "weight",
    "load_balancing_weight",
    "priority",
    "locality",
    "locality_weight",
    "metadata",
    "health",
    "health_status",
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

    if isinstance(source, Mapping):
        source = {"cluster_name": "cluster", **source}
    return load(source, type=_TYPE, check_support=False).document


def groups_of(source: Iterable[Any], priority: int | None = None) -> list[Group]:
    """LocalityLbEndpoints of a list of endpoints; `priority`, when given, overrides theirs."""
    groups: list[Group] = []
    last = None
    for index, item in enumerate(source):
        if isinstance(item, Mapping) and "lb_endpoints" in item:
            groups += assignment_of({"endpoints": [item]})["endpoints"]
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


def _endpoint(item: Any, index: int) -> tuple[Group, Group]:
    """What the endpoint shares with its locality, and the LbEndpoint."""
    if isinstance(item, str):
        item = {"address": item}
    elif isinstance(item, tuple | list) and len(item) == 2:
        item = {"address": item[0], "weight": item[1]}
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


def _common(item: Mapping[str, Any]) -> Group:
    common: Group = {}
    if item.get("priority"):
        common["priority"] = int(item["priority"])
    locality = item.get("locality")
    if isinstance(locality, str):
        locality = {"zone": locality}
    elif isinstance(locality, tuple | list):
        locality = dict(zip(("region", "zone", "sub_zone"), locality, strict=False))
    if locality:
        common["locality"] = {key: value for key, value in locality.items() if value}
    if item.get("locality_weight"):
        common["load_balancing_weight"] = int(item["locality_weight"])
    return common


def _plain(item: Mapping[str, Any], index: int) -> Group:
    ip, port = _address(item.get("address"), index)
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
    health = item.get("health", item.get("health_status"))
    if health is not None:
        status = status_name(health)
        if status is None:
            raise ConfigError(f"endpoints[{index}].health", f"must be one of {STATUSES}")
        endpoint["health_status"] = status
    if item.get("metadata"):
        endpoint["metadata"] = {"filter_metadata": filter_metadata(item["metadata"])}
    return endpoint


def status_name(health: Any) -> str | None:
    """One of STATUSES; None when it is none of them."""
    if isinstance(health, bool):
        return "HEALTHY" if health else "UNHEALTHY"
    if isinstance(health, int) and 0 <= health < len(STATUSES):
        return STATUSES[health]
    name = health.upper() if isinstance(health, str) else None
    return name if name in STATUSES else None


def _address(text: Any, index: int) -> tuple[str, int]:
    if isinstance(text, tuple) and len(text) == 2:
        return str(text[0]), int(text[1])
    host, _, port = str(text).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
        return host, int(port)
    except ValueError:
        reason = f"must be an IP address and a port, such as 10.0.0.1:8080, not {text!r}"
        raise ConfigError(f"endpoints[{index}].address", reason) from None


def filter_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """By filter name. Metadata without filter names is the balancers' own, `envoy.lb`."""
    if "filter_metadata" in metadata:
        return dict(metadata["filter_metadata"])
    if "envoy.lb" in metadata:
        return dict(metadata)
    return {"envoy.lb": dict(metadata)}
