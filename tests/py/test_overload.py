"""The overload manager: beside real Envoy, and by its rules (BOOT-14 to BOOT-18, LIS-5)."""

from __future__ import annotations

import contextlib
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
from upstreams import Upstream, raw
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


def manager(tree: Tree) -> Tree:
    found: Tree = tree["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    config: Tree = found["typed_config"]
    return config


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
    told = ("connection", "x-envoy-local-overloaded")
    return reply.status, [value for name, value in reply.headers if name in told], reply.body


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
    **{
        name: point(name)
        for name in (
            "hcm_ondata_creating_codec",
            "http1_server_abort_dispatch",
            "http2_server_go_away_and_close_on_dispatch",
            "http2_server_go_away_on_dispatch",
            "http_connection_manager_decode_headers",
            "tcp_listener_accept",
        )
    },
}
PROXIED = ("connection_pool_new_connection", "http_downstream_filter_check")


def run(start: Callable[..., peers.Server], path: Path, what: Tree, **values: Any) -> list[Any]:
    inject(path, 0)
    tree = bootstrap(path, what, "$port", "$admin_port")
    manager(tree)["append_local_overload"] = True
    if values:
        host = manager(tree)["route_config"]["virtual_hosts"][0]
        host["routes"] = [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]
    config = json.dumps(tree)
    if values:
        config = config.replace('"port_value": 1}', '"port_value": $upstream}')
    found: list[Any] = []
    for quoted in ("port", "admin_port"):
        config = config.replace(f'"${quoted}"', f"${quoted}")
    with start(config, **values) as server:
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


@pytest.mark.parametrize("name", PROXIED)
def test_as_envoy_on_the_way_up(name: str, tmp_path: Path) -> None:
    """The first answer comes by a connection that the pool then gave up."""
    with Upstream(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")) as up:
        what = point(name)
        theirs = run(peers.envoy, tmp_path / "resource", what, upstream=up.port)
        ours = run(peers.meshcore, tmp_path / "resource", what, upstream=up.port)
    assert ours == theirs
    assert [answer[0] for answer in ours[::2]] == [200, 503, 200]


def timer(name: str, **least: Any) -> Tree:
    kind = "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig"
    factors = [{"timer": f"HTTP_DOWNSTREAM_{name}", **least}]
    scaled = trigger(scaled={"scaling_threshold": 0.5, "saturation_threshold": 0.9})
    what = action("reduce_timeouts", scaled)
    what["actions"][0]["typed_config"] = {"@type": kind, "timer_scale_factors": factors}
    return what


def is_closed(connection: Connection) -> bool:
    try:
        return not connection.socket.recv(1)
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("CONNECTION_IDLE", {"min_timeout": "0.05s"}),
        ("CONNECTION_IDLE", {"min_scale": {"value": 0}}),
        ("CONNECTION_MAX", {"min_timeout": "0s"}),
    ],
)
def test_reduced_timeouts(name: str, least: Tree, tmp_path: Path) -> None:
    """A connection that is open already feels it; while the pressure is low it stays."""
    path = tmp_path / "resource"
    inject(path, 0.5)
    tree = bootstrap(path, timer(name, **least))
    manager(tree)["common_http_protocol_options"] = {
        "idle_timeout": "300s",
        "max_connection_duration": "300s",
    }
    with meshcore.Gateway(tree, workers=1) as gateway:
        assert gateway.admin_address is not None
        until_pressure(gateway.admin_address[1], 50)
        with Connection(gateway.listeners["main"][1], timeout=0.2) as connection:
            assert not is_closed(connection)
            inject(path, 1)
            wait_until(lambda: is_closed(connection))


def test_reduced_stream_idle_timeout(tmp_path: Path) -> None:
    path = tmp_path / "resource"
    inject(path, 0)
    what = timer("STREAM_IDLE", min_timeout="0.01s")
    with meshcore.Gateway(bootstrap(path, what), workers=1) as gateway:
        port = gateway.listeners["main"][1]
        with Connection(port, timeout=10) as connection:
            connection.send(b"POST / HTTP/1.1\r\nhost: h\r\nx: ")
            inject(path, 1)
            assert connection.reply().status == 408


def test_heavy_streams_are_reset(tmp_path: Path) -> None:
    """With a value over 1/2 the five upper classes of eight go: from 2**(12 + 3) bytes on."""
    path = tmp_path / "resource"
    inject(path, 0)
    scaled = trigger(scaled={"scaling_threshold": 0.4, "saturation_threshold": 0.8})
    what = action("reset_high_memory_stream", scaled)
    what["buffer_factory_config"] = {"minimum_account_to_track_power_of_two": 12}
    tree = bootstrap(path, what)
    buffer = {
        "@type": f"{V3}.filters.http.buffer.v3.Buffer",
        "max_request_bytes": 1 << 20,
    }
    manager(tree)["http_filters"].insert(0, {"name": "buffer", "typed_config": buffer})
    with meshcore.Gateway(tree, workers=1) as gateway, contextlib.ExitStack() as open_:
        port = gateway.listeners["main"][1]
        sizes = [20000, 60000, 30000, 100]
        connections = [open_.enter_context(Connection(port, timeout=0.2)) for _ in sizes]
        for connection, size in zip(connections, sizes, strict=True):
            head = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\n"
            connection.send(head + size * b"x")
        received = gateway.stats.counter("http.example.downstream_cx_rx_bytes_total")
        wait_until(lambda: received.value > sum(sizes))
        inject(path, 0.61)
        count = gateway.stats.counter("envoy.overload_actions.reset_high_memory_stream.count")
        wait_until(lambda: count.value)
        wait_until(lambda: is_closed(connections[1]))
        assert count.value == 1
        assert not any(is_closed(connections[i]) for i in (0, 2, 3))
        inject(path, 1)
        wait_until(lambda: count.value == 3)
        assert not is_closed(connections[3])


def test_heap_is_shrunk(tmp_path: Path) -> None:
    path = tmp_path / "resource"
    inject(path, 1)
    what = action("shrink_heap")
    kind = "type.googleapis.com/envoy.config.overload.v3.ShrinkHeapConfig"
    what["actions"][0]["typed_config"] = {"@type": kind, "timer_interval": "1s"}
    with meshcore.Gateway(bootstrap(path, what), workers=1) as gateway:
        count = gateway.stats.counter("overload.envoy.overload_actions.shrink_heap.shrink_count")
        wait_until(lambda: count.value > 0)


def test_pressure_of_connections(tmp_path: Path) -> None:
    name = "envoy.resource_monitors.global_downstream_max_connections"
    kind = f"{V3}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    limit = {"@type": kind, "max_active_downstream_connections": 4}
    what = action("stop_accepting_requests", trigger(name, threshold={"value": 0.75}))
    what["resource_monitors"] = [{"name": name, "typed_config": limit}]
    with meshcore.Gateway(bootstrap(tmp_path / "x", what), workers=1) as gateway:
        port = gateway.listeners["main"][1]
        pressure = gateway.stats.gauge(f"overload.{name}.pressure")
        with Connection(port), Connection(port):
            wait_until(lambda: pressure.value == 50)
            assert ask(port)[0] == 200
            with Connection(port):
                wait_until(lambda: pressure.value == 75)
                assert ask(port)[0] == 503
                with Connection(port):
                    wait_until(lambda: pressure.value == 100)
                    assert ask(port) == "closed"
        failed = gateway.stats.counter(f"overload.{name}.failed_updates")
        assert failed.value == 1


def test_memory_of_this_process() -> None:
    heap = overload.FixedHeap({"max_heap_size_bytes": 1 << 20})
    before = heap.pressure()
    assert before > 1
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    assert heap.pressure() > before + 32


def test_memory_of_a_control_group(tmp_path: Path) -> None:
    def pressure(most: int = 0) -> float:
        return overload.CgroupMemory({"max_memory_bytes": most}, tmp_path).pressure()

    with pytest.raises(OSError, match="memory"):
        pressure()
    older = tmp_path / "memory"
    older.mkdir()
    (older / "memory.usage_in_bytes").write_text("300\n")
    (older / "memory.limit_in_bytes").write_text("1200\n")
    assert [pressure(), pressure(600), pressure(2400)] == [0.25, 0.5, 0.25]
    (older / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert [pressure(), pressure(600)] == [0, 0.5]
    (tmp_path / "memory.current").write_text("100\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert [pressure(), pressure(50)] == [0, 2]
    (tmp_path / "memory.max").write_text("400\n")
    assert [pressure(), pressure(200)] == [0.25, 0.5]


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
TIMERS = "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig"


def typed_action(name: str, *timers: str) -> Tree:
    factors = [{"timer": each, "min_timeout": "1s"} for each in timers]
    what = action(name)
    what["actions"][0]["typed_config"] = {"@type": TIMERS, "timer_scale_factors": factors}
    return what


def monitor(kind: str, name: str, **fields: Any) -> Tree:
    typed = {"@type": f"{V3}.resource_monitors.{kind}", **fields}
    return {"resource_monitors": [{"name": name, "typed_config": typed}]}


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
        (
            action("reduce_timeouts"),
            "actions[0].typed_config",
            "Unable to unpack as envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
        ),
        (
            typed_action("stop_accepting_requests", "HTTP_DOWNSTREAM_STREAM_IDLE"),
            "actions[0].typed_config",
            f'Overload action "{STOP}" has an unexpected value for the typed_config field',
        ),
        (
            typed_action("reduce_timeouts", *2 * ["HTTP_DOWNSTREAM_STREAM_IDLE"]),
            "actions[0].typed_config.timer_scale_factors[1].timer",
            "Found duplicate entry for timer type HTTP_DOWNSTREAM_STREAM_IDLE",
        ),
        (
            action("reset_high_memory_stream"),
            "actions[0].name",
            'reset_high_memory_stream" requires buffer_factory_config.',
        ),
        (
            monitor("fixed_heap.v3.FixedHeapConfig", "heap"),
            "resource_monitors[0].typed_config.max_heap_size_bytes",
            "",
        ),
        (
            monitor(
                "downstream_connections.v3.DownstreamConnectionsConfig",
                "x",
                max_active_downstream_connections=1,
            ),
            "resource_monitors[0].name",
            "must be envoy.resource_monitors.global_downstream_max_connections",
        ),
    ],
)
def test_what_cannot_be(what: Tree, path: str, reason: str) -> None:
    with pytest.raises(meshcore.ConfigError) as caught:
        meshcore.config.load(bootstrap(Path("/x"), what))
    assert caught.value.path == f"overload_manager.{path}"
    assert reason in caught.value.reason


@pytest.mark.parametrize("what", [action("nothing"), point("nothing")])
def test_what_is_not_known(what: Tree) -> None:
    with pytest.raises(meshcore.ConfigError, match=r"\[0\]\.name"):
        meshcore.config.load(bootstrap(Path("/x"), what))
