"""Outlier detection from answer to event log, on real sockets (rules OD-2 to OD-15)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
import pytest
from upstreams import Behaviour, Exchange, Upstream, respond
from waiting import wait_until

import meshcore
from meshcore.health.events import outlier_event, timestamp

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

Start = Callable[[Behaviour], Upstream]


def endpoint(port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"endpoint": {"address": address}}


def test_a_failing_host_goes_and_comes_back(upstream: Start, tmp_path: Path) -> None:
    broken = True

    async def sometimes(exchange: Exchange) -> None:
        await respond(500 if broken else 200, b"")(exchange)

    bad, good = upstream(sometimes), upstream(respond(200, b"ok"))
    config = proxy_to(good.port)
    cluster = config["static_resources"]["clusters"][0]
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"].append(endpoint(bad.port))
    cluster["common_lb_config"] = {"update_merge_window": "0.05s"}
    cluster["outlier_detection"] = {
        "consecutive_5xx": 3,
        "interval": "0.1s",
        "base_ejection_time": "0.5s",
        "max_ejection_percent": 50,
    }
    log = tmp_path / "outlier.log"
    config["cluster_manager"] = {"outlier_detection": {"event_log_path": str(log)}}
    with meshcore.Gateway(config, workers=2) as gateway:
        port = gateway.listeners["main"][1]
        prefix = f"cluster.{cluster['name']}."

        def gauge(name: str) -> int:
            return gateway.stats.gauge(prefix + name).value

        while gauge("outlier_detection.ejections_active") == 0:
            clients.fetch(port, "/")
        wait_until(lambda: gauge("membership_healthy") == 1)
        broken = False
        wait_until(lambda: gauge("outlier_detection.ejections_active") == 0)
        wait_until(lambda: log.read_text().count("\n") == 2)
    ejected, back = (json.loads(line) for line in log.read_text().splitlines())
    assert ejected["type"] == "CONSECUTIVE_5XX"
    assert ejected["action"] == "EJECT"
    assert ejected["upstream_url"] == f"127.0.0.1:{bad.port}"
    assert ejected["cluster_name"] == cluster["name"]
    assert ejected["num_ejections"] == 1
    assert ejected["enforced"] is True
    assert ejected["eject_consecutive_event"] == {}
    assert "secs_since_last_action" not in ejected
    assert back["action"] == "UNEJECT"
    assert back["secs_since_last_action"] == "0"


EVENT = {
    "type": "SUCCESS_RATE",
    "action": "WOULD_EJECT",
    "cluster": "c",
    "address": "10.0.0.1:80",
    "wall_ms": 1_700_000_000_250,
    "since_ms": 61_999,
    "ejections": 2,
    "success_rate": 61.9,
    "average": 91.2,
    "threshold": 62.4367,
}


def test_statistics_are_whole_percents() -> None:
    event = outlier_event(EVENT)
    assert event["eject_success_rate_event"] == {
        "host_success_rate": 61,
        "cluster_average_success_rate": 91,
        "cluster_success_rate_ejection_threshold": 62,
    }
    assert event["enforced"] is False
    assert event["action"] == "EJECT"
    assert event["secs_since_last_action"] == "61"
    assert event["timestamp"] == "2023-11-14T22:13:20.250Z"


def test_failure_percentage_tells_the_host_s_rate() -> None:
    event = outlier_event({**EVENT, "type": "FAILURE_PERCENTAGE_LOCAL_ORIGIN"})
    assert event["eject_failure_percentage_event"] == {"host_success_rate": 61}


@pytest.mark.parametrize(
    ("wall_ms", "text"), [(0, "1970-01-01T00:00:00Z"), (5, "1970-01-01T00:00:00.005Z")]
)
def test_timestamp(wall_ms: int, text: str) -> None:
    assert timestamp(wall_ms) == text


def test_the_health_degree_is_a_monitor(upstream: Start) -> None:
    config = proxy_to(upstream(respond(200, b"ok")).port)
    degree = "type.googleapis.com/meshcore.HealthDegree"
    cluster = config["static_resources"]["clusters"][0]
    cluster["outlier_detection"] = {
        "monitors": [{"name": "degree", "typed_config": {"@type": degree, "threshold": 4}}]
    }
    with meshcore.Gateway(config, workers=1) as gateway:
        counter = "outlier_detection.ejections_detected_health_degree"
        assert gateway.stats.counter(f"cluster.{cluster['name']}.{counter}").value == 0
        assert clients.fetch(gateway.listeners["main"][1], "/").status == 200
