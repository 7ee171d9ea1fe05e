"""What clusters track of their requests when asked to (track_cluster_stats), beside real Envoy."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections import Counter
from contextlib import ExitStack
from typing import Any

import clients
import peers
import yaml
from bootstraps import address, endpoint, listener, manager, routing
from upstreams import Behaviour, Exchange, Upstream, reset, respond
from waiting import wait_until

PAGE = "/stats?format=json&histogram_buckets=detailed&filter=^cluster.*(budget|_size|_count)"
RETRIES = {"retry_on": "5xx", "num_retries": 1}


async def slow(exchange: Exchange) -> None:
    await asyncio.sleep(0.6)
    await respond(200, b"late")(exchange)


async def cut(exchange: Exchange) -> None:
    await exchange.head(200, [("content-length", "10")])
    await asyncio.sleep(5)


CASES: dict[str, tuple[Behaviour | None, dict[str, Any]]] = {
    "plain": (respond(200, b"hello world"), {}),
    "fails": (respond(500, b"no"), {"retry_policy": RETRIES}),
    "late": (slow, {"timeout": "0.2s"}),
    "tries": (slow, {"timeout": "30s", "retry_policy": {**RETRIES, "per_try_timeout": "0.2s"}}),
    "resets": (reset, {}),
    "dead": (None, {}),
    "cut": (cut, {"timeout": "0.2s"}),
}


def config(ports: dict[str, int]) -> dict[str, Any]:
    routes = [
        {"match": {"prefix": f"/{name}"}, "route": {"cluster": name, **route}}
        for name, (_, route) in CASES.items()
    ]
    clusters: list[dict[str, Any]] = []
    for name, port in ports.items():
        endpoints = [{"lb_endpoints": [endpoint(port)]}]
        tracks = {"timeout_budgets": True, "request_response_sizes": True}
        clusters.append(
            {
                "name": name,
                "load_assignment": {"cluster_name": name, "endpoints": endpoints},
                "track_cluster_stats": tracks,
            }
        )
    del clusters[-1]["track_cluster_stats"]
    clusters[-1]["track_timeout_budgets"] = True
    return {
        "admin": {"address": address("$admin_port")},
        "static_resources": {
            "listeners": [listener(manager(routing(routes), stat_prefix="main"), "$port")],
            "clusters": clusters,
        },
    }


def histograms(server: peers.Server) -> dict[str, Counter[float]]:
    """By name, each bucket's lower bound and count; of time limits, halves."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}{PAGE}") as answer:
        page = json.loads(answer.read())
    out = {}
    for each in page["stats"]:
        for one in each.get("histograms", {}).get("details", []):
            name = one["name"]
            found: Counter[float] = Counter()
            for bucket in one["totals"]:
                low = bucket["lower_bound"]
                found[low if "percent" not in name else 0 if low < 50 else 50] += bucket["count"]
            out[name] = found
    return out


def drive(server: peers.Server) -> tuple[list[int], dict[str, Counter[float]]]:
    statuses = []
    for name in CASES:
        for body in (None, b"x" * 300):
            try:
                with clients.Connection(server.port) as connection:
                    reply = connection.request(f"/{name}", method="POST", body=body)
                    statuses.append(reply.status)
            except EOFError:  # it was cut off
                statuses.append(0)
    count = "cluster.cut.upstream_rq_timeout_budget_percent_used"
    wait_until(lambda: sum(histograms(server).get(count, Counter()).values()) == 2)
    return statuses, histograms(server)


def test_budgets_and_sizes() -> None:
    with ExitStack() as stack:
        ports = {}
        for name, (behaviour, _) in CASES.items():
            if behaviour is None:
                ports[name] = peers.free_port()
            else:
                ports[name] = stack.enter_context(Upstream(behaviour)).port
        text = yaml.safe_dump(config(ports)).replace("$admin_port'", "$admin_port")
        text = text.replace("'$", "$").replace("$port'", "$port")
        seen = []
        for make, more in ((peers.envoy, "stats_flush_on_admin: true\n"), (peers.meshcore, "")):
            with make(more + text) as server:
                seen.append(drive(server))
    assert seen[1][0] == seen[0][0]
    for name, buckets in seen[0][1].items():
        assert (name, seen[1][1].get(name)) == (name, buckets)
