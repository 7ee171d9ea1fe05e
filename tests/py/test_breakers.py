"""Circuit breakers on real sockets: what a client sees of them (rules CB-6, CB-7)."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
import pytest
from upstreams import Behaviour, Exchange, Upstream, respond
from waiting import wait_until

import meshcore

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

Start = Callable[[Behaviour], Upstream]


def limited(port: int, *, route: dict[str, Any] | None = None, **limits: Any) -> dict[str, Any]:
    config = proxy_to(port)
    resources = config["static_resources"]
    resources["clusters"][0]["circuit_breakers"] = {"thresholds": [limits]}
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"] |= route or {}
    return config


@pytest.mark.parametrize("priority", ["DEFAULT", "HIGH"])
def test_overflow_is_answered_at_once(upstream: Start, priority: str) -> None:
    release = threading.Event()
    arrived = threading.Event()

    async def wait(exchange: Exchange) -> None:
        import asyncio

        arrived.set()
        while not release.is_set():
            await asyncio.sleep(0.01)
        await respond(200, b"late")(exchange)

    config = limited(
        upstream(wait).port,
        route={"priority": priority},
        priority=priority,
        max_connections=1,
        max_pending_requests=0,
        track_remaining=True,
    )
    with meshcore.Gateway(config, workers=1) as gateway:
        port = gateway.listeners["main"][1]
        refused = clients.fetch(port, "/")
        assert refused.status == 503
        assert refused.header("x-envoy-overloaded") == "true"
        assert b"reset reason: overflow" in refused.body
        record = gateway.records()[0]
        assert record["flags"] == "UO"
        cluster = config["static_resources"]["clusters"][0]["name"]
        prefix = f"cluster.{cluster}."
        assert gateway.stats.counter(f"{prefix}upstream_rq_pending_overflow").value == 1
        scope = f"{prefix}circuit_breakers.{priority.lower()}."
        assert gateway.stats.gauge(f"{scope}remaining_cx").value == 1
    release.set()


def test_other_fields_have_no_meaning_for_a_single_host() -> None:
    config = proxy_to(1)
    config["static_resources"]["clusters"][0]["circuit_breakers"] = {
        "per_host_thresholds": [{"max_requests": 3}]
    }
    with pytest.raises(meshcore.ConfigError, match="max_connections") as failure:
        meshcore.Gateway(config, workers=1)
    assert failure.value.path.endswith("circuit_breakers.per_host_thresholds[0].max_requests")


MONITOR = (
    "type.googleapis.com/"
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
)


@pytest.mark.parametrize("kind", ["monitor", "runtime", "listener"])
def test_no_more_downstream_connections_than_allowed(upstream: Start, kind: str) -> None:
    config = proxy_to(upstream(respond(200, b"ok")).port)
    listener_key = "envoy.resource_limits.listener.main.connection_limit"
    keys = {"runtime": "overload.global_downstream_max_connections", "listener": listener_key}
    if kind == "monitor":
        limit = {"@type": MONITOR, "max_active_downstream_connections": 2}
        name = "envoy.resource_monitors.global_downstream_max_connections"
        config["overload_manager"] = {"resource_monitors": [{"name": name, "typed_config": limit}]}
    else:
        layer = {"name": "static", "static_layer": {keys[kind]: 2}}
        config["layered_runtime"] = {"layers": [layer]}
    with meshcore.Gateway(config, workers=2) as gateway:
        port = gateway.listeners["main"][1]
        kept = []
        for _ in range(2):
            connection = clients.Connection(port)
            assert connection.request().status == 200
            kept.append(connection)
        with pytest.raises((ConnectionError, EOFError, OSError)):
            clients.fetch(port, "/")
        name = "downstream_cx_overflow" if kind == "listener" else "downstream_global_cx_overflow"
        values = gateway.stats.snapshot().values("counter")
        assert sum(int(v) for n, v in values.items() if n.endswith(f".{name}")) == 1
        for connection in kept:
            connection.close()

        def served() -> bool:
            with contextlib.suppress(ConnectionError, EOFError, OSError):
                return clients.fetch(port, "/").status == 200
            return False

        wait_until(served)
