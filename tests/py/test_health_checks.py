"""Active health checks on real sockets: what the gateway makes of them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
import pytest
from peers import free_port
from upstreams import Behaviour, Exchange, Upstream, respond
from waiting import wait_until

import meshcore
from meshcore.discovery import TYPED_DNS
from meshcore.health.checker import Checker, hosts_of

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

Start = Callable[[Behaviour], Upstream]
HTTP_CHECK = {"path": "/ready"}


def endpoint(port: int, **check: Any) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    inner: dict[str, Any] = {"address": address}
    if check:
        inner["health_check_config"] = check
    return {"endpoint": inner}


def checked(*ports: int, **more: Any) -> dict[str, Any]:
    config = proxy_to(ports[0])
    cluster = config["static_resources"]["clusters"][0]
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = [endpoint(p) for p in ports]
    cluster["common_lb_config"] = {"update_merge_window": "0s"}
    check = {
        "timeout": "0.5s",
        "interval": "0.05s",
        "no_traffic_interval": "0.05s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 2,
        "http_health_check": HTTP_CHECK,
    }
    check |= more
    if "http_health_check" not in more and len(
        {"tcp_health_check", "grpc_health_check"} & set(more)
    ):
        del check["http_health_check"]
    cluster["health_checks"] = [check]
    return config


def flags(gateway: meshcore.Gateway) -> dict[int, str]:
    run = gateway._run
    assert run is not None
    clusters = run.ask(run.engine.clusters)
    return {int(h["address"].rpartition(":")[2]): h["health_flags"] for h in clusters[0]["hosts"]}


class Ready:
    """An upstream's answers: to checks, and to the rest."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[tuple[str, str]] = []
        self.proxied: list[tuple[str, str]] = []
        self.delay = 0.0

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.request.target == "/ready":
            await asyncio.sleep(self.delay)
            headers = [("content-length", "0"), *self.headers]
            await exchange.head(self.status, headers)
        else:
            await exchange.head(200, [("content-length", "0"), *self.proxied])


def test_the_first_results_are_waited_for(upstream: Start) -> None:
    good, dead = upstream(respond(200, b"")), free_port()
    with meshcore.Gateway(checked(good.port, dead), workers=2) as gateway:
        assert flags(gateway) == {good.port: "healthy", dead: "/failed_active_hc"}
        port = gateway.listeners["main"][1]
        assert {clients.fetch(port, "/").status for _ in range(4)} == {200}
        name = gateway.config["static_resources"]["clusters"][0]["name"]
        assert gateway.stats.gauge(f"cluster.{name}.health_check.healthy").value == 1
        assert gateway.stats.gauge(f"cluster.{name}.membership_healthy").value == 1
        failures = gateway.stats.counter(f"cluster.{name}.health_check.network_failure")
        wait_until(lambda: failures.value >= 3)
    request = good.requests[0]
    assert request.target == "/ready"
    assert request.header("host") == name
    assert request.header("user-agent") == "Envoy/HC"


def test_a_host_fails_and_recovers(upstream: Start, tmp_path: Path) -> None:
    ready = Ready()
    one, two = upstream(ready), upstream(respond(200, b""))
    log = tmp_path / "checks.log"
    config = checked(one.port, two.port, event_log_path=str(log))
    with meshcore.Gateway(config, workers=1) as gateway:
        port = gateway.listeners["main"][1]
        ready.status = 503
        wait_until(lambda: flags(gateway)[one.port] == "/failed_active_hc")
        seen = len([r for r in one.requests if r.target == "/"])
        assert {clients.fetch(port, "/").status for _ in range(6)} == {200}
        assert len([r for r in one.requests if r.target == "/"]) == seen
        ready.status = 200
        wait_until(lambda: flags(gateway)[one.port] == "healthy")
        ready.headers = [("x-envoy-degraded", "1")]
        wait_until(lambda: flags(gateway)[one.port] == "/degraded_active_hc")
        ready.headers, ready.delay = [], 5
        wait_until(lambda: "active_hc_timeout" in flags(gateway)[one.port])
    events = [json.loads(line) for line in log.read_text().splitlines()]
    mine = [e for e in events if e["host"]["socket_address"]["port_value"] == one.port]
    kinds = [next(k for k in e if k.endswith(("_event", "_host"))) for e in mine]
    assert kinds[:5] == [
        "add_healthy_event",
        "eject_unhealthy_event",
        "add_healthy_event",
        "degraded_healthy_host",
        "no_longer_degraded_host",
    ] or kinds[:5] == [
        "add_healthy_event",
        "eject_unhealthy_event",
        "add_healthy_event",
        "degraded_healthy_host",
        "eject_unhealthy_event",
    ]
    assert mine[0]["add_healthy_event"] == {"first_check": True}
    assert mine[1]["eject_unhealthy_event"] == {"failure_type": "ACTIVE"}
    assert mine[0]["health_checker_type"] == "HTTP"


def test_a_proxied_answer_takes_a_host_out(upstream: Start) -> None:
    ready = Ready()
    one, two = upstream(ready), upstream(respond(200, b""))
    config = checked(one.port, two.port, interval="30s", no_traffic_interval="30s")
    with meshcore.Gateway(config, workers=1) as gateway:
        port = gateway.listeners["main"][1]
        ready.proxied = [("x-envoy-immediate-health-check-fail", "true")]
        expected = "/failed_active_hc/excluded_via_immediate_hc_fail"
        wait_until(lambda: clients.fetch(port, "/") and flags(gateway)[one.port] == expected)
        name = gateway.config["static_resources"]["clusters"][0]["name"]
        assert gateway.stats.counter(f"cluster.{name}.health_check.passive_failure").value == 1


def test_connections_are_kept_or_not(upstream: Start) -> None:
    kept, made_anew = upstream(respond(200, b"")), upstream(respond(200, b""))
    for origin, reuse in ((kept, True), (made_anew, False)):
        with meshcore.Gateway(checked(origin.port, reuse_connection=reuse), workers=1):
            wait_until(lambda origin=origin: len(origin.requests) >= 4)  # type: ignore[misc]
    assert kept.connections == 1
    assert made_anew.connections >= 4


def test_other_targets(upstream: Start) -> None:
    """HC-8, HC-13: another port, another name; a host that is not checked."""
    checks, other = upstream(respond(200, b"")), upstream(respond(200, b""))
    config = checked(other.port)
    cluster = config["static_resources"]["clusters"][0]
    entries = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    unchecked = free_port()
    entries[:] = [
        endpoint(other.port, port_value=checks.port, hostname="check.example"),
        endpoint(unchecked, disable_active_health_check=True),
    ]
    with meshcore.Gateway(config, workers=1) as gateway:
        assert flags(gateway) == {other.port: "healthy", unchecked: "healthy"}
    assert checks.requests[0].header("host") == "check.example"
    assert other.requests == []


def test_a_port_goes_before_that_of_an_address() -> None:
    elsewhere = {"socket_address": {"address": "127.0.0.2", "port_value": 81}}
    entries = [endpoint(80, address=elsewhere, port_value=82), endpoint(80, address=elsewhere)]
    hosts = hosts_of({"endpoints": [{"lb_endpoints": entries}]})
    assert [host.check for host in hosts] == [("127.0.0.2", 82, False), ("127.0.0.2", 81, False)]


def test_hosts_of_a_typed_dns_cluster_begin_as_those_of_dns() -> None:
    config = checked(1, interval="30s")["static_resources"]["clusters"][0]
    del config["load_assignment"]
    config["cluster_type"] = {
        "name": "envoy.cluster.dns",
        "typed_config": {"@type": TYPED_DNS, "all_addresses_in_single_endpoint": True},
    }
    loop = asyncio.new_event_loop()
    checker = Checker(config, meshcore.stats.Store(), loop)
    view = checker.take({"endpoints": [{"lb_endpoints": [endpoint(1)]}]})
    assert view["endpoints"][0]["lb_endpoints"][0]["~flags"] == 0
    checker.stop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.mark.parametrize(
    ("receive", "answer", "healthy"),
    [([], b"", True), (["6f6b"], b"all ok", True), (["6f6b"], b"no", False)],
)
def test_tcp(receive: list[str], answer: bytes, healthy: bool) -> None:
    """HC-10."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if receive and await reader.read(4) == b"ping":
                writer.write(answer)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        tcp = {
            "send": {"text": b"ping".hex()},
            "receive": [{"text": text} for text in receive],
        }
        gateway = meshcore.Gateway(checked(port, tcp_health_check=tcp), workers=0)
        serving = asyncio.ensure_future(gateway.serve())
        while not gateway.running:
            await asyncio.sleep(0)
        assert ("healthy" in flags(gateway)[port]) is healthy
        gateway.stop()
        await serving
        server.close()

    asyncio.run(main())


def test_an_update_keeps_what_is_known(upstream: Start) -> None:
    good, dead = upstream(respond(200, b"")), free_port()
    config = checked(good.port, dead, interval="30s", no_traffic_interval="30s")
    with meshcore.Gateway(config, workers=1) as gateway:
        asked = len(good.requests)
        more = upstream(respond(200, b""))
        entries = config["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]
        entries["lb_endpoints"].append(endpoint(more.port))
        listener = config["static_resources"]["listeners"][0]
        listener["address"]["socket_address"]["port_value"] = gateway.listeners["main"][1]
        gateway.update(config)
        assert flags(gateway) == {
            good.port: "healthy",
            dead: "/failed_active_hc",
            more.port: "healthy",
        }
        assert len(good.requests) == asked


@pytest.mark.parametrize(
    ("check", "path"),
    [
        ({"http_health_check": {"path": "/", "method": "CONNECT"}}, "method"),
        ({"http_health_check": {"path": "/", "send": {"text": "00"}}}, "send"),
        (
            {"http_health_check": {"path": "/", "expected_statuses": [{"start": 99, "end": 200}]}},
            "expected_statuses[0]",
        ),
    ],
)
def test_refused_configurations(check: dict[str, Any], path: str) -> None:
    with pytest.raises(meshcore.ConfigError) as failure:
        meshcore.Gateway(checked(1, **check), workers=1)
    assert failure.value.path.startswith("static_resources.clusters[0].health_checks[0].http_")
    assert path in failure.value.path


def test_grpc() -> None:
    """HC-12."""
    grpc = pytest.importorskip("grpc")
    from concurrent.futures import ThreadPoolExecutor

    answers = {"": b"\x08\x01", "db": b"\x08\x02"}
    seen = []

    def answer(request: bytes, context: Any) -> bytes:
        name = request[2:].decode()
        seen.append((name, context.time_remaining() is not None))
        return answers[name]

    handler = grpc.unary_unary_rpc_method_handler(answer)
    methods = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((methods,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        for service, healthy in (("", True), ("db", False)):
            config = checked(port, grpc_health_check={"service_name": service}, timeout="5s")
            with meshcore.Gateway(config, workers=1) as gateway:
                assert ("healthy" in flags(gateway)[port]) is healthy
    finally:
        server.stop(None)
    assert {name for name, _ in seen} == {"", "db"}


def test_a_grpc_status_that_the_server_sent_is_its_answer() -> None:
    """HC-12: it flips the host at once; no answer counts towards the threshold."""
    from meshcore.health.grpc import _why
    from meshcore.health.state import Failure

    assert (
        _why("UNAVAILABLE", "failed to connect to all addresses; last error: ...")
        is Failure.NETWORK
    )
    assert _why("UNAVAILABLE", "shutting down") is Failure.ACTIVE
    assert _why("UNAVAILABLE", "Received http2 header with status: 503") is Failure.ACTIVE
    assert _why("DEADLINE_EXCEEDED", "Deadline Exceeded") is Failure.NETWORK_TIMEOUT
    assert _why("UNIMPLEMENTED", "") is Failure.ACTIVE


@pytest.mark.parametrize(
    ("check", "path"),
    [
        (
            {"http_health_check": {"path": "/", "codec_client_type": "HTTP2"}},
            "http_health_check.codec_client_type",
        ),
        (
            {"http_health_check": {"path": "/"}, "transport_socket_match_criteria": {"a": "b"}},
            "transport_socket_match_criteria",
        ),
    ],
)
def test_checks_that_are_refused(check: dict[str, Any], path: str) -> None:
    times = {"timeout": "1s", "interval": "1s"}
    thresholds = {"unhealthy_threshold": 1, "healthy_threshold": 1}
    cluster = {"name": "c", "health_checks": [{**times, **thresholds, **check}]}
    with pytest.raises(meshcore.ConfigError, match="not supported") as failure:
        meshcore.Gateway({"static_resources": {"clusters": [cluster]}}, workers=1)
    assert failure.value.path == f"static_resources.clusters[0].health_checks[0].{path}"
