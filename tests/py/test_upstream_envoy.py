"""The same upstreams, the same requests, through meshcore and real Envoy: the same answers,
counters and states of hosts."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from typing import Any

import clients
import peers
from bootstraps import bootstrap
from upstreams import Behaviour, Exchange, Upstream, respond
from waiting import wait_until

Start = Callable[[Behaviour], Upstream]

CONFIG = bootstrap(
    """\
- match: {prefix: /high}
  route: {cluster: web, priority: HIGH}
- match: {prefix: /}
  route: {cluster: web}
""",
    """\
- name: web
  type: STATIC
  connect_timeout: 0.25s
  common_lb_config: {update_merge_window: 0s}
  load_assignment:
    cluster_name: web
    endpoints:
    - lb_endpoints:
      - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $good}}}
      - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $bad}}}
  circuit_breakers:
    thresholds:
    - {max_retries: 5, track_remaining: true, max_connections: 1}
    - {priority: HIGH, max_pending_requests: 0, track_remaining: true, retry_budget: {}}
  health_checks:
  - timeout: 1s
    interval: 0.2s
    no_traffic_interval: 0.2s
    unhealthy_threshold: 2
    healthy_threshold: 2
    http_health_check: {path: /ready}
  outlier_detection:
    consecutive_5xx: 3
    interval: 0.5s
    base_ejection_time: 30s
    max_ejection_percent: 50
    successful_active_health_check_uneject_host: false
""",
    top=peers.ADMIN,
)

# What is not a matter of time, of bytes on the wire, or of what meshcore does not have yet.
COMPARED = re.compile(
    r"cluster\.web\.(circuit_breakers|outlier_detection|membership|lb_healthy_panic|upstream_)"
    r"|cluster_manager\.(active|cluster_added|cluster_removed|cluster_modified)"
)
IGNORED = re.compile(
    r"remaining_cx_pools|_bytes_|upstream_rq_active_overflow|rx_reset_no_error|_ms$|upstream_rq_time$"
    r"|upstream_rq_per_cx$|upstream_cx_total$|upstream_cx_http1_total$"
)


async def failing(exchange: Exchange) -> None:
    await respond(200 if exchange.request.target == "/ready" else 500, b"")(exchange)


def get(server: peers.Server, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}{path}") as answer:
        text: str = answer.read().decode()
        return text


def observe(server: peers.Server, good: int) -> dict[str, Any]:
    """What is left when a host has been ejected and a breaker has refused."""
    # Three times each host in turn: then the failing one has failed often enough.
    statuses = sorted(clients.fetch(server.port, "/").status for _ in range(6))
    statuses += [clients.fetch(server.port, "/high").status for _ in range(2)]
    wait_until(lambda: "membership_healthy: 1" in get(server, "/stats?filter=membership_healthy"))
    statuses += [clients.fetch(server.port, "/").status for _ in range(4)]
    lines = get(server, "/stats?filter=cluster").splitlines()
    stats = dict(line.rsplit(": ", 1) for line in lines)
    clusters = json.loads(get(server, "/clusters?format=json"))["cluster_statuses"][0]
    hosts = {
        host["address"]["socket_address"]["port_value"] == good: (
            host["health_status"],
            {stat["name"]: stat.get("value", "0") for stat in host["stats"]},
        )
        for host in clusters["host_statuses"]
    }
    for _, values in hosts.values():
        values.pop("rq_pending_active", None)
    return {
        "statuses": statuses,
        "stats": {k: v for k, v in stats.items() if COMPARED.match(k) and not IGNORED.search(k)},
        "hosts": hosts,
        "limits": clusters["circuit_breakers"],
    }


def test_breakers_outliers_and_checks(
    both: Callable[..., tuple[peers.Server, peers.Server]], upstream: Start
) -> None:
    good, bad = upstream(respond(200, b"ok")), upstream(failing)
    ours, theirs = both(CONFIG, good=good.port, bad=bad.port)
    assert observe(ours, good.port) == observe(theirs, good.port)
