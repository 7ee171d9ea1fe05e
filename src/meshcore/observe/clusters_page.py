"""The page ``/clusters`` of the admin interface: what the engine knows of clusters (ADM-4)."""

from __future__ import annotations

from typing import Any

__all__ = ["cluster_json", "cluster_lines"]


def cluster_lines(cluster: dict[str, Any]) -> list[str]:
    """Of one cluster, as text."""
    name = cluster["name"]
    lines = [f"{name}::observability_name::{cluster['observability_name']}"]
    for key, value in (cluster["outlier"] or {}).items():
        lines.append(f"{name}::outlier::{key}::{_rate(value)}")
    for priority, limits in zip(
        ("default_priority", "high_priority"), cluster["breakers"], strict=True
    ):
        for limit, value in limits.items():
            lines.append(f"{name}::{priority}::{limit}::{value}")
    lines.append(f"{name}::added_via_api::false")
    for host in cluster["hosts"]:
        prefix = f"{name}::{host['address']}::"
        lines += [f"{prefix}{stat}::{value}" for stat, value in host["stats"].items()]
        lines += [
            f"{prefix}hostname::{host['hostname']}",
            f"{prefix}health_flags::{host['health_flags']}",
            f"{prefix}weight::{host['weight']}",
            f"{prefix}region::{host['region']}",
            f"{prefix}zone::{host['zone']}",
            f"{prefix}sub_zone::{host['sub_zone']}",
            f"{prefix}canary::{str(host['canary']).lower()}",
            f"{prefix}priority::{host['priority']}",
            f"{prefix}success_rate::{_rate(host['success_rate'])}",
            f"{prefix}local_origin_success_rate::{_rate(host['local_success_rate'])}",
        ]
    return lines


def _rate(value: float) -> str:
    return f"{value:.6g}"  # as a C++ stream prints a double


def cluster_json(cluster: dict[str, Any]) -> dict[str, Any]:
    """One cluster as ClusterStatus."""
    thresholds = []
    for priority, limits in zip(("DEFAULT", "HIGH"), cluster["breakers"], strict=True):
        thresholds.append({"priority": priority, **limits} if priority == "HIGH" else limits)
    outlier = cluster["outlier"] or {}
    rates = {
        key: {"value": outlier[key]}
        for key in (
            "success_rate_ejection_threshold",
            "local_origin_success_rate_ejection_threshold",
        )
        if outlier.get(key, -1) >= 0
    }
    return {
        "name": cluster["name"],
        **rates,
        "host_statuses": [_host_json(host) for host in cluster["hosts"]],
        "circuit_breakers": {"thresholds": thresholds},
        "observability_name": cluster["observability_name"],
    }


def _host_json(host: dict[str, Any]) -> dict[str, Any]:
    address, _, port = host["address"].rpartition(":")
    stats = []
    for name, value in host["stats"].items():
        stat: dict[str, Any] = {"value": str(value)} if value else {}
        if name.endswith("_active"):
            stat["type"] = "GAUGE"
        stats.append({**stat, "name": name})
    stats.sort(key=lambda stat: "type" in stat)  # counters first
    out = {
        "address": {"socket_address": {"address": address.strip("[]"), "port_value": int(port)}},
        "stats": stats,
        "health_status": _health_json(host),
        "weight": host["weight"],
        "locality": {k: host[k] for k in ("region", "zone", "sub_zone") if host[k]},
    }
    if host["hostname"]:
        out["hostname"] = host["hostname"]
    if host["priority"]:
        out["priority"] = host["priority"]
    for name, rate in (
        ("success_rate", host["success_rate"]),
        ("local_origin_success_rate", host["local_success_rate"]),
    ):
        if rate >= 0:
            out[name] = {"value": rate}
    return out


# Health flags (HS-1) as HostHealthStatus shows them; EDS health has a field of its own.
HEALTH_FIELDS = {
    0x1: "failed_active_health_check",
    0x2: "failed_outlier_check",
    0x8: "failed_active_degraded_check",
    0x20: "pending_dynamic_removal",
    0x40: "pending_active_hc",
    0x80: "excluded_via_immediate_hc_fail",
    0x100: "active_hc_timeout",
}


def _health_json(host: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        name: True for flag, name in HEALTH_FIELDS.items() if host["flags"] & flag
    }
    return {**out, "eds_health_status": _eds_health(host["flags"])}


def _eds_health(flags: int) -> str:
    for flag, name in ((0x4, "UNHEALTHY"), (0x200, "DRAINING"), (0x10, "DEGRADED")):
        if flags & flag:
            return name
    return "HEALTHY"
