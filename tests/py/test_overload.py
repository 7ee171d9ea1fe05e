"""The overload manager: beside real Envoy, and by its rules (BOOT-14 to BOOT-18, LIS-5)."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
import pytest
from clients import Connection
from waiting import wait_until

import meshcore
from meshcore import overload

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

V3 = "type.googleapis.com/envoy.extensions"
INJECTED = "envoy.resource_monitors.injected_resource"
Tree = dict[str, Any]


def trigger(resource: str = INJECTED, **how: Any) -> Tree:
    return {"name": resource, **(how or {"threshold": {"value": 0.9}})}


def action(name: str, *triggers: Tree) -> Tree:
    full = f"envoy.overload_actions.{name}"
    return {"actions": [{"name": full, "triggers": list(triggers) or [trigger()]}]}


def point(name: str, *triggers: Tree) -> Tree:
    full = f"envoy.load_shed_points.{name}"
    return {"loadshed_points": [{"name": full, "triggers": list(triggers) or [trigger()]}]}


def injected(path: Path, name: str = INJECTED) -> Tree:
    kind = f"{V3}.resource_monitors.injected_resource.v3.InjectedResourceConfig"
    return {"name": name, "typed_config": {"@type": kind, "filename": str(path)}}


def inject(path: Path, value: float | str) -> None:
    fresh = path.with_suffix(".fresh")
    fresh.write_text(str(value))
    os.rename(fresh, path)


def bootstrap(path: Path, what: Tree, port: int | str = 0, admin: int | str = 0) -> Tree:
    def address(port: int | str) -> Tree:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    config = proxy_to(1)
    listener = config["static_resources"]["listeners"][0]
    listener["address"] = address(port)
    host = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
    reply = {"status": 200, "body": {"inline_string": "hi"}}
    host["virtual_hosts"][0]["routes"] = [{"match": {"prefix": "/"}, "direct_response": reply}]
    return {
        **config,
        "admin": {"address": address(admin)},
        "overload_manager": {
            "refresh_interval": "0.05s",
            "resource_monitors": [injected(path)],
            **what,
        },
    }


def stats(admin: int) -> dict[str, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/stats") as page:
        return dict(line.split(": ", 1) for line in page.read().decode().splitlines())


def until_pressure(admin: int, percent: int) -> dict[str, str]:
    wait_until(lambda: stats(admin)[f"overload.{INJECTED}.pressure"] == str(percent))
    return stats(admin)


def ask(port: int) -> tuple[int, list[str], bytes] | str:
    try:
        with Connection(port, timeout=2) as connection:
            reply = connection.request()
    except TimeoutError:
        return "waits"
    except (EOFError, ConnectionError):
        return "closed"
    closes = [value for name, value in reply.headers if name == "connection"]
    return reply.status, closes, reply.body


CASES = {
    **{
        name: action(name)
        for name in (
            "stop_accepting_requests",
            "disable_http_keepalive",
            "stop_accepting_connections",
            "reject_incoming_connections",
        )
    },
    "http_connection_manager_decode_headers": point("http_connection_manager_decode_headers"),
    "tcp_listener_accept": point("tcp_listener_accept"),
}


def run(start: Callable[..., peers.Server], path: Path, what: Tree) -> list[Any]:
    inject(path, 0)
    config = json.dumps(bootstrap(path, what, "$port", "$admin_port"))
    found: list[Any] = []
    for quoted in ("port", "admin_port"):
        config = config.replace(f'"${quoted}"', f"${quoted}")
    with start(config) as server:
        assert server.admin_port is not None
        for value in (0.0, 1.0, 0.5):
            inject(path, value)
            until_pressure(server.admin_port, int(value * 100))
            found.append(ask(server.port))
            after = stats(server.admin_port)  # of the same refresh as the pressure, or a later one
            wanted = ("overload_close", "overload_reject", "overload_disable", "overload.")
            found.append(
                {
                    name.replace(str(server.port), "PORT"): text
                    for name, text in after.items()
                    if any(part in name for part in wanted)
                    and text not in ("0", "No recorded values")
                    and "interval_delay" not in name
                }
            )
    return found


@pytest.mark.parametrize("name", CASES)
def test_as_envoy(name: str, tmp_path: Path) -> None:
    theirs = run(peers.envoy, tmp_path / "resource", CASES[name])
    ours = run(peers.meshcore, tmp_path / "resource", CASES[name])
    assert ours == theirs
    assert ours[0] == (200, [], b"hi")
    assert ours[2] != ours[0]


def test_scaled_sheds_a_share(tmp_path: Path) -> None:
    path = tmp_path / "resource"
    inject(path, 0.7)
    scaled = trigger(scaled={"scaling_threshold": 0.6, "saturation_threshold": 0.8})
    config = bootstrap(path, point("http_connection_manager_decode_headers", scaled))
    with meshcore.Gateway(config, workers=1) as gateway:
        assert gateway.admin_address is not None
        found = until_pressure(gateway.admin_address[1], 70)
        name = "overload.envoy.load_shed_points.http_connection_manager_decode_headers"
        assert found[f"{name}.scale_percent"] in ("49", "50")
        port = gateway.listeners["main"][1]
        with Connection(port) as connection:
            refused = sum(connection.request().status == 503 for _ in range(1000))
        assert 400 < refused < 600  # six standard deviations
        assert gateway.stats.counter(f"{name}.shed_load_count").value == refused


def test_update_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "resource"
    inject(path, 1)
    waits = bootstrap(path, action("stop_accepting_connections"))
    with meshcore.Gateway(waits, workers=1) as gateway:
        assert gateway.admin_address is not None
        until_pressure(gateway.admin_address[1], 100)
        port = gateway.listeners["main"][1]
        assert ask(port) == "waits"
        gateway.update(bootstrap(path, action("stop_accepting_requests")))
        until_pressure(gateway.admin_address[1], 100)
        assert ask(port) == (503, [], b"envoy overloaded")
        plain = bootstrap(path, {})
        del plain["overload_manager"]
        gateway.update(plain)
        assert ask(port) == (200, [], b"hi")


def test_failed_updates(tmp_path: Path) -> None:
    path = tmp_path / "resource"
    inject(path, 1)
    with meshcore.Gateway(bootstrap(path, action("stop_accepting_requests")), workers=1) as gateway:
        assert gateway.admin_address is not None
        until_pressure(gateway.admin_address[1], 100)
        inject(path, "none")
        failed = gateway.stats.counter(f"overload.{INJECTED}.failed_updates")
        wait_until(lambda: failed.value)
        assert ask(gateway.listeners["main"][1]) == (503, [], b"envoy overloaded")  # as before


@pytest.mark.parametrize(
    ("low", "high", "pressure", "value"),
    [
        (0.5, 0.9, 0.5, 0),
        (0.5, 0.9, 0.4, 0),
        (0.5, 0.9, 0.7, 0.5),
        (0.5, 0.9, 0.9, 1),
        (0.5, 0.9, 1, 1),
        (0, 1, 0.25, 0.25),
    ],
)
def test_scaled_trigger(low: float, high: float, pressure: float, value: float) -> None:
    scaled = {"scaling_threshold": low, "saturation_threshold": high}
    assert overload.Trigger({"name": "", "scaled": scaled}).value(pressure) == pytest.approx(value)


def test_threshold_trigger() -> None:
    given = overload.Trigger({"name": "", "threshold": {"value": 0.8}})
    assert [given.value(p) for p in (0, 0.79, 0.8, 1)] == [0, 0, 1, 1]
    assert overload.Trigger({"name": "", "threshold": {}}).value(0) == 1


def test_cpu_is_a_moving_average(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(10, 100), (60, 200), (160, 300), (160, 300), (100, 400), (160, 400)])
    monkeypatch.setattr(overload, "host_cpu", lambda: next(readings))
    monitor = overload.CpuUtilization({})
    assert monitor.pressure() == pytest.approx(0.025)
    assert monitor.pressure() == pytest.approx(0.025 * 0.95 + 0.05)
    for _ in range(2):  # no time has passed; time went back
        with pytest.raises(ValueError, match="no CPU time"):
            monitor.pressure()
    assert monitor.pressure() == pytest.approx((0.025 * 0.95 + 0.05) * 0.95)


def test_cpu_of_this_machine() -> None:
    first = overload.host_cpu()
    while (second := overload.host_cpu())[1] <= first[1]:
        pass
    assert second[0] >= first[0] >= 0


def test_cpu_of_a_control_group(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 6000000\nuser_usec 1\n")
    (tmp_path / "cpuset.cpus.effective").write_text("0-2,7\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert overload.container_cpu(tmp_path)[0] == 1.5
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    assert overload.container_cpu(tmp_path)[0] == 3
    older = tmp_path / "older"
    (older / "cpu").mkdir(parents=True)
    (older / "cpu" / "cpuacct.usage").write_text("6000000000\n")
    (older / "cpu" / "cpu.shares").write_text("2000\n")
    assert overload.container_cpu(older)[0] == 3


STOP = "envoy.overload_actions.stop_accepting_requests"
BELOW = {"scaling_threshold": 0.9, "saturation_threshold": 0.5}


@pytest.mark.parametrize(
    ("what", "path", "reason"),
    [
        (
            action("stop_accepting_requests", trigger("other")),
            "actions[0].triggers[0].name",
            f"Unknown trigger resource other for overload action {STOP}",
        ),
        (
            action("stop_accepting_requests", trigger(), trigger()),
            "actions[0].triggers[1].name",
            f"Duplicate trigger resource for overload action {STOP}",
        ),
        (
            {"actions": 2 * action("stop_accepting_requests")["actions"]},
            "actions[1].name",
            f"Duplicate overload action {STOP}",
        ),
        (
            {"loadshed_points": 2 * point("tcp_listener_accept")["loadshed_points"]},
            "loadshed_points[1].name",
            "Duplicate loadshed point envoy.load_shed_points.tcp_listener_accept",
        ),
        (
            {"resource_monitors": [injected(Path("/x")), injected(Path("/y"))]},
            "resource_monitors[1].name",
            f"Duplicate resource monitor {INJECTED}",
        ),
        (
            action("stop_accepting_requests", trigger(scaled=BELOW)),
            "actions[0].triggers[0].scaled",
            "scaling_threshold must be less than saturation_threshold",
        ),
    ],
)
def test_what_cannot_be(what: Tree, path: str, reason: str) -> None:
    with pytest.raises(meshcore.ConfigError) as caught:
        meshcore.config.load(bootstrap(Path("/x"), what))
    assert caught.value.path == f"overload_manager.{path}"
    assert reason in caught.value.reason


@pytest.mark.parametrize("what", [action("nothing"), point("nothing"), action("shrink_heap")])
def test_what_is_not_known(what: Tree) -> None:
    with pytest.raises(meshcore.ConfigError, match=r"\[0\]\.name"):
        meshcore.config.load(bootstrap(Path("/x"), what))
