"""Discovery: DNS by a real server, EDS by files (rules CL-4 to CL-10)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
import pytest
from dns_server import DnsServer
from upstreams import Behaviour, Exchange, Upstream, respond
from waiting import wait_until

import meshcore
from meshcore.discovery.dns import DnsCluster
from meshcore.discovery.resolver import Options, StubResolver, SystemFiles
from meshcore.discovery.wire import AAAA, A, DnsFormatError, decode, encode
from meshcore.stats import Store

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

Start = Callable[[Behaviour], Upstream]
CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


def address(host: str, port: int) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": host, "port_value": port}}}


# --- the wire -------------------------------------------------------------------------------------


def reply(question: bytes, *records: bytes, flags: int = 0x8180) -> bytes:
    counts = (1).to_bytes(2, "big") + len(records).to_bytes(2, "big") + bytes(4)
    return question[:2] + flags.to_bytes(2, "big") + counts + question[12:] + b"".join(records)


V4 = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\0\0\1"


def test_an_answer() -> None:
    question = encode(7, "a.test", A)
    assert decode(reply(question, V4), 7, "A.Test.", A).addresses == (("10.0.0.1", 30),)
    alias = b"\xc0\x0c\0\5\0\1\0\0\0\5\0\4\1b\xc0\x0e"  # b.test, by the question's "test"
    there = b"\1b\4test\0\0\1\0\1\0\0\0\x1e\0\4\x0a\0\0\2"
    assert decode(reply(question, alias, there), 7, "a.test", A).addresses == (("10.0.0.2", 5),)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda q: reply(q, V4)[:11],
        lambda q: b"\0\0" + reply(q, V4)[2:],
        lambda q: q,
        lambda q: reply(encode(7, "b.test", A), V4),
        lambda q: reply(encode(7, "a.test", AAAA), V4),
        lambda q: reply(q, V4)[:-1],
        lambda q: reply(q, b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\3\x0a\0\0"),
        lambda q: reply(q, b"\xc0\x18\0\1\0\1\0\0\0\x1e\0\4\x0a\0\0\1"),  # a name that is its own
        lambda q: reply(q, b"\x40\0\1"),
    ],
)
def test_what_is_no_answer(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DnsFormatError):
        decode(spoil(encode(7, "a.test", A)), 7, "a.test", A)


def test_any_bytes_are_an_answer_or_refused() -> None:
    import random

    draws = random.Random(1)
    question = encode(7, "a.test", A)
    good = reply(question, V4, V4)
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(draws.randrange(1, 4)):
            data[draws.randrange(2, len(data))] = draws.randrange(256)
        try:
            decode(bytes(data), 7, "a.test", A)
        except DnsFormatError:
            continue


# --- the resolver ---------------------------------------------------------------------------------


def resolve(server: DnsServer, name: str, family: int = socket.AF_INET, **more: Any) -> Any:
    options = Options(servers=(("127.0.0.1", server.port),), timeout_s=0.2, tries=2, **more)
    files = SystemFiles(hosts={"here.test": ["10.1.1.1"]}, search=["example"])
    return asyncio.run(StubResolver(options, lambda: files)(name, family))


def test_the_resolver() -> None:
    answers: dict[tuple[str, str], Any] = {
        ("two.test", "A"): [("10.0.0.1", 30), ("10.0.0.2", 10)],
        ("two.test", "AAAA"): [("2001:db8::1", 5)],
        ("alias.test", "A"): "two.test",
        ("cut.test", "A"): "big",
        ("down.test", "A"): "fail",
        ("deaf.test", "A"): None,
        ("short.example", "A"): [("10.0.0.9", 1)],
    }
    with DnsServer(answers) as server:
        assert resolve(server, "two.test") == [("10.0.0.1", 30), ("10.0.0.2", 10)]
        assert resolve(server, "two.test", socket.AF_INET6) == [("2001:db8::1", 5)]
        assert resolve(server, "alias.test") == [("10.0.0.1", 7), ("10.0.0.2", 7)]
        assert resolve(server, "cut.test") == [("10.9.9.9", 60)]
        assert server.questions[-1] == ("cut.test", "A", "tcp")
        assert resolve(server, "nowhere.test") == []
        assert resolve(server, "short") == [("10.0.0.9", 1)]
        assert resolve(server, "here.test") == [("10.1.1.1", None)]
        assert resolve(server, "two.test", tcp=True)[0] == ("10.0.0.1", 30)
        assert server.questions[-1][2] == "tcp"
        for name in ("down.test", "deaf.test"):
            with pytest.raises(OSError, match=r".+"):
                resolve(server, name)
        assert [q[0] for q in server.questions].count("deaf.test") == 2


# --- clusters of names ----------------------------------------------------------------------------


class Script:
    """A resolver and a clock by a script."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.waits: list[float] = []

    async def __call__(self, name: str, family: int) -> Any:
        if family == socket.AF_INET6:
            return []
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if not self.answers:
            await asyncio.Event().wait()


def follow(script: Script, **fields: Any) -> tuple[list[Any], Store]:
    """Runs a cluster until the script ends; the assignments that it told."""
    told: list[Any] = []
    stats = Store()
    cluster = {
        "name": "c",
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": address("a.test", 80)}]}]},
        **fields,
    }

    async def main() -> None:
        loop = asyncio.get_running_loop()
        subject = DnsCluster(
            cluster, stats, resolver=script, sleep=script.sleep, draw=lambda: 1234567
        )
        subject.start(loop, lambda _, assignment: told.append(assignment))
        while script.answers or len(script.waits) < 1 or script.waits[-1] < 0:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        subject.stop()

    asyncio.run(main())
    return told, stats


def addresses(assignment: Any) -> list[str]:
    return [
        entry["endpoint"]["address"]["socket_address"]["address"]
        for group in assignment["endpoints"]
        for entry in group["lb_endpoints"]
    ]


ONE, TWO = [("10.0.0.1", 30)], [("10.0.0.1", 30), ("10.0.0.2", 8)]
FAIL = OSError("no answer")


def test_answers_replace_answers() -> None:
    told, stats = follow(Script(ONE, TWO, FAIL, TWO, []))
    assert [addresses(a) for a in told] == [
        ["10.0.0.1"],
        ["10.0.0.1", "10.0.0.2"],
        ["10.0.0.1", "10.0.0.2"],
        ["10.0.0.1", "10.0.0.2"],
        [],
    ]
    values = {n: stats.counter(f"cluster.c.update_{n}").value for n in ("attempt", "success")}
    assert values == {"attempt": 5, "success": 4}
    assert stats.counter("cluster.c.update_failure").value == 1
    assert stats.counter("cluster.c.update_no_rebuild").value == 1  # a failure is no update


@pytest.mark.parametrize(
    ("fields", "answers", "waits"),
    [
        ({}, [ONE, FAIL, TWO], [5, 5, 5]),
        ({"dns_refresh_rate": "2s"}, [ONE], [2]),
        ({"respect_dns_ttl": True}, [ONE, TWO, [("10.0.0.1", 0)]], [30, 8, 5]),
        ({"respect_dns_ttl": True, "type": "LOGICAL_DNS"}, [TWO], [30]),
        ({"dns_jitter": "1s"}, [ONE], [5 + 1234567 % 1000 / 1000]),
        (
            {"dns_failure_refresh_rate": {"base_interval": "1s"}},
            [FAIL] * 6 + [ONE, FAIL],
            [1234567 % n / 1000 for n in (1000, 2000, 4000, 8000, 10000, 10000)]
            + [5, 1234567 % 1000 / 1000],
        ),
        (
            {"dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "3s"}},
            [FAIL] * 3,
            [1234567 % n / 1000 for n in (1000, 2000, 3000)],
        ),
    ],
)
def test_waits(fields: dict[str, Any], answers: list[Any], waits: list[float]) -> None:
    script = Script(*answers)
    follow(script, **fields)
    assert script.waits == pytest.approx(waits)


def test_a_logical_host_has_all_addresses() -> None:
    told, stats = follow(Script(TWO, []), type="LOGICAL_DNS")
    (group,) = told[0]["endpoints"]
    (entry,) = group["lb_endpoints"]
    assert entry["endpoint"]["address"]["socket_address"]["address"] == "10.0.0.1"
    (more,) = entry["endpoint"]["additional_addresses"]
    assert more["address"]["socket_address"] == {"address": "10.0.0.2", "port_value": 80}
    assert stats.counter("cluster.c.update_failure").value == 1  # none is a failure here


def dns_config(server: DnsServer, port: int, name: str = "web.test", **fields: Any) -> Any:
    config = proxy_to(port)
    cluster = config["static_resources"]["clusters"][0]
    resolvers = [{"socket_address": {"address": "127.0.0.1", "port_value": server.port}}]
    cluster |= {
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        "respect_dns_ttl": True,
        "typed_dns_resolver_config": {
            "name": "cares",
            "typed_config": {"@type": CARES, "resolvers": resolvers},
        },
        **fields,
    }
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"]["address"] = name
    return config


def hosts(gateway: meshcore.Gateway) -> list[str]:
    run = gateway._run
    assert run is not None
    return [h["address"].rpartition(":")[0] for h in run.ask(run.engine.clusters)[0]["hosts"]]


def loopback(number: int, port: int) -> socket.socket:
    """A listener on another address of the loopback network."""
    out = socket.socket()
    out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    out.bind((f"127.0.0.{number}", port))
    out.listen()
    return out


def test_a_gateway_follows_the_names(upstream: Start) -> None:
    origin = upstream(respond(200, b"ok"))
    answers: dict[tuple[str, str], Any] = {("web.test", "A"): [("127.0.0.1", 1)]}
    with DnsServer(answers) as server:
        config = dns_config(server, origin.port)
        with meshcore.Gateway(config, workers=1) as gateway:
            assert hosts(gateway) == ["127.0.0.1"]
            assert clients.fetch(gateway.listeners["main"][1], "/").body == b"ok"
            assert origin.requests[0].header("host") == "localhost"
            answers[("web.test", "A")] = [("127.0.0.1", 1), ("127.0.0.2", 1)]
            wait_until(lambda: hosts(gateway) == ["127.0.0.1", "127.0.0.2"])
            answers[("web.test", "A")] = "fail"
            name = gateway.config["static_resources"]["clusters"][0]["name"]
            failures = gateway.stats.counter(f"cluster.{name}.update_failure")
            wait_until(lambda: failures.value > 0)
            assert hosts(gateway) == ["127.0.0.1", "127.0.0.2"]


def test_a_logical_host_moves_and_keeps_its_connections(upstream: Start) -> None:
    async def who(exchange: Exchange) -> None:
        local = exchange.writer.get_extra_info("sockname")[0].encode()
        await exchange.head(200, [("content-length", str(len(local)))])
        await exchange.write(local)

    origin = upstream(who)
    answers: dict[tuple[str, str], Any] = {("web.test", "A"): [("127.0.0.1", 1)]}
    with DnsServer(answers) as server:
        config = dns_config(server, origin.port, type="LOGICAL_DNS")
        with meshcore.Gateway(config, workers=1) as gateway:
            port = gateway.listeners["main"][1]
            assert clients.fetch(port, "/").body == b"127.0.0.1"
            # The first address refuses: the connection goes to the next.
            answers[("web.test", "A")] = [("127.0.0.77", 1), ("127.0.0.1", 1)]
            wait_until(lambda: hosts(gateway) == ["127.0.0.77"])
            assert clients.fetch(port, "/").body == b"127.0.0.1"
            name = gateway.config["static_resources"]["clusters"][0]["name"]
            assert gateway.stats.counter(f"cluster.{name}.upstream_cx_total").value == 1
            assert gateway.stats.counter(f"cluster.{name}.membership_change").value == 1


def test_several_addresses_are_tried_in_turn(upstream: Start) -> None:
    origin = upstream(respond(200, b"ok"))
    config = proxy_to(origin.port)
    cluster = config["static_resources"]["clusters"][0]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint |= address("127.0.0.77", 1)
    endpoint["additional_addresses"] = [address("127.0.0.78", 1), address("127.0.0.1", origin.port)]
    with meshcore.Gateway(config, workers=1) as gateway:
        assert clients.fetch(gateway.listeners["main"][1], "/").body == b"ok"
        name = cluster["name"]
        assert gateway.stats.counter(f"cluster.{name}.upstream_cx_connect_fail").value == 0


def test_a_deaf_address_does_not_hold_up_the_next(upstream: Start) -> None:
    origin = upstream(respond(200, b"ok"))
    config = proxy_to(origin.port)
    cluster = config["static_resources"]["clusters"][0]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    with contextlib.ExitStack() as sockets:
        deaf = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # nobody accepts, so the queue is full soon
            filling = sockets.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(deaf.getsockname())
        endpoint |= address(*deaf.getsockname())
        endpoint["additional_addresses"] = [address("127.0.0.1", origin.port)]
        cluster["connect_timeout"] = "60s"
        with meshcore.Gateway(config, workers=1) as gateway:
            begun = time.monotonic()
            assert clients.fetch(gateway.listeners["main"][1], "/").body == b"ok"
            assert time.monotonic() - begun > 0.25
            name = cluster["name"]
            assert gateway.stats.counter(f"cluster.{name}.upstream_cx_connect_fail").value == 0
            assert gateway.stats.gauge(f"cluster.{name}.upstream_cx_active").value == 1


# --- files ----------------------------------------------------------------------------------------


def eds(path: Path, *ports: int, name: str | None = None, policy: Any = None, **more: Any) -> None:
    """Replaces the file as a configuration system does: by a rename."""
    endpoints = [{"endpoint": address("127.0.0.1", port), **more} for port in ports]
    kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    resource = {
        "@type": kind,
        "cluster_name": name or "from-file",
        "endpoints": [{"lb_endpoints": endpoints}],
        "policy": policy or {},
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"version_info": "1", "resources": [resource]}))
    os.replace(fresh, path)


def eds_config(path: Path, **fields: Any) -> Any:
    config = proxy_to(1)
    cluster = config["static_resources"]["clusters"][0]
    del cluster["load_assignment"]
    cluster |= {
        "type": "EDS",
        "eds_cluster_config": {
            "service_name": "from-file",
            "eds_config": {"path_config_source": {"path": str(path)}},
        },
        **fields,
    }
    return config


def test_endpoints_from_a_file(upstream: Start, tmp_path: Path) -> None:
    one, two = upstream(respond(200, b"one")), upstream(respond(200, b"two"))
    path = tmp_path / "eds.json"
    eds(path, one.port)
    with meshcore.Gateway(eds_config(path), workers=1) as gateway:
        port = gateway.listeners["main"][1]
        assert clients.fetch(port, "/").body == b"one"
        eds(path, two.port)
        wait_until(lambda: clients.fetch(port, "/").body == b"two")
        scope = f"cluster.{gateway.config['static_resources']['clusters'][0]['name']}"
        eds(path, one.port, name="another")
        rejected = gateway.stats.counter(f"{scope}.update_rejected")
        wait_until(lambda: rejected.value == 1)
        assert clients.fetch(port, "/").body == b"two"
        path.write_text('{"resources": []}')
        empty = gateway.stats.counter(f"{scope}.update_empty")
        wait_until(lambda: empty.value == 1)
        assert clients.fetch(port, "/").body == b"two"


def test_a_missing_file_holds_up_only_for_a_while(tmp_path: Path) -> None:
    config = eds_config(tmp_path / "none.json")
    source = config["static_resources"]["clusters"][0]["eds_cluster_config"]["eds_config"]
    source["initial_fetch_timeout"] = "0.2s"
    with meshcore.Gateway(config, workers=1) as gateway:
        assert clients.fetch(gateway.listeners["main"][1], "/").status == 503


def test_a_host_stays_while_its_checks_pass(upstream: Start, tmp_path: Path) -> None:
    """CL-10."""
    status = {"value": 200}

    async def ready(exchange: Exchange) -> None:
        await exchange.head(status["value"], [("content-length", "0")])

    one, two = upstream(ready), upstream(respond(200, b""))
    path = tmp_path / "eds.json"
    eds(path, one.port, two.port)
    check = {
        "timeout": "1s",
        "interval": "0.05s",
        "no_traffic_interval": "0.05s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/"},
    }
    config = eds_config(path, health_checks=[check])
    with meshcore.Gateway(config, workers=1) as gateway:
        run = gateway._run
        assert run is not None

        def flags() -> dict[int, str]:
            found = run.ask(run.engine.clusters)[0]["hosts"]
            return {int(h["address"].rpartition(":")[2]): h["health_flags"] for h in found}

        assert flags() == {one.port: "healthy", two.port: "healthy"}
        eds(path, two.port)
        wait_until(lambda: flags().get(one.port) == "/pending_dynamic_removal")
        status["value"] = 500
        wait_until(lambda: one.port not in flags())
        assert flags() == {two.port: "healthy"}


def test_endpoints_that_nobody_confirms_go(upstream: Start, tmp_path: Path) -> None:
    """CL-7."""
    origin = upstream(respond(200, b"ok"))
    path = tmp_path / "eds.json"
    eds(path, origin.port, policy={"endpoint_stale_after": "1s"})
    with meshcore.Gateway(eds_config(path), workers=1) as gateway:
        port = gateway.listeners["main"][1]
        assert clients.fetch(port, "/").body == b"ok"
        wait_until(lambda: clients.fetch(port, "/").status == 503)
        name = gateway.config["static_resources"]["clusters"][0]["name"]
        values = gateway.stats.snapshot().values("counter")
        assert values[f"cluster.{name}.assignment_stale"] == 1
        assert values[f"cluster.{name}.assignment_timeout_received"] == 1
        eds(path, origin.port)
        wait_until(lambda: clients.fetch(port, "/").status == 200)


def test_discovery_may_refuse_requests(upstream: Start, tmp_path: Path) -> None:
    """CL-7."""
    path = tmp_path / "eds.json"
    drop = [{"category": "load", "drop_percentage": {"numerator": 100}}]
    eds(path, upstream(respond(200, b"ok")).port, policy={"drop_overloads": drop})
    with meshcore.Gateway(eds_config(path), workers=1) as gateway:
        reply = clients.fetch(gateway.listeners["main"][1], "/")
        assert (reply.status, reply.body) == (503, b"unconditional drop overload")
        assert gateway.records()[0]["flags"] == "UDO"


def test_every_endpoint_asks_for_itself(upstream: Start) -> None:
    """Equal addresses of two endpoints are two hosts, and an IP address is its own answer."""
    origin = upstream(respond(200, b"ok"))
    with DnsServer({("web.test", "A"): [("127.0.0.1", 60)]}) as server:
        config = dns_config(server, origin.port)
        cluster = config["static_resources"]["clusters"][0]
        names = ["web.test", "web.test", "127.0.0.1", "::1"]
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = [
            {"endpoint": address(name, origin.port)} for name in names
        ]
        with meshcore.Gateway(config, workers=1) as gateway:
            wait_until(lambda: hosts(gateway) == ["127.0.0.1"] * 3)
            name = cluster["name"]

            def count(of: str) -> int:
                return gateway.stats.counter(f"cluster.{name}.update_{of}").value

            # ::1 is of no family that is asked for.
            wait_until(lambda: (count("success"), count("failure")) == (3, 1))
            assert count("attempt") == 4
            assert clients.fetch(gateway.listeners["main"][1], "/").body == b"ok"
        assert len(server.questions) == 2


NAMED = [{"socket_address": {"address": "dns.test", "port_value": 53}}]
BY_CARES = {"name": "dns", "typed_config": {"@type": CARES, "resolvers": NAMED}}
BY_OPTIONS = {"resolvers": NAMED}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"typed_dns_resolver_config": BY_CARES}, "typed_dns_resolver_config.typed_config."),
        ({"dns_resolution_config": BY_OPTIONS}, "dns_resolution_config."),
        ({"dns_resolvers": NAMED}, "dns_"),
    ],
)
def test_resolvers_are_addresses(fields: dict[str, Any], path: str) -> None:
    cluster = {"name": "c", "type": "STRICT_DNS", "load_assignment": {"cluster_name": "c"}}
    tree = {"static_resources": {"clusters": [cluster | fields]}}
    with pytest.raises(meshcore.ConfigError) as failure:
        meshcore.Gateway(tree, workers=1)
    where = f"static_resources.clusters[0].{path}resolvers[0].socket_address.address"
    assert failure.value.path == where
    cluster["type"] = "STATIC"  # which asks nobody
    meshcore.Gateway({"static_resources": {"clusters": [cluster | fields]}}, workers=1)
