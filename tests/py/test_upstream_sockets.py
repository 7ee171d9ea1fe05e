"""How the sockets of upstream connections are made: source addresses and options."""

from __future__ import annotations

import socket
import sys
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


async def peer(exchange: Exchange) -> None:
    """Answers with the address that the connection comes from."""
    text = exchange.writer.get_extra_info("peername")[0].encode()
    await exchange.head(200, [("content-length", str(len(text)))])
    await exchange.write(text)


def source(address: str) -> dict[str, Any]:
    return {"address": address, "port_value": 0}


def option(level: int, name: int, value: int, state: str = "STATE_PREBIND") -> dict[str, Any]:
    return {"level": level, "name": name, "int_value": value, "state": state}


IMPOSSIBLE = option(socket.SOL_SOCKET, 32767, 1)
SELECTOR = (
    "type.googleapis.com/"
    "envoy.config.upstream.local_address_selector.v3.DefaultLocalAddressSelector"
)


def fetch(config: dict[str, Any]) -> tuple[int, bytes, int]:
    """Status, body, and how many times a socket could not be bound."""
    name = config["static_resources"]["clusters"][0]["name"]
    with meshcore.Gateway(config, workers=1) as gateway:
        reply = clients.fetch(gateway.listeners["main"][1], "/")
        return reply.status, reply.body, gateway.stats.counter(f"cluster.{name}.bind_errors").value


@pytest.mark.parametrize(
    ("bind", "seen"),
    [
        ({"source_address": source("127.0.0.5")}, b"127.0.0.5"),
        # Where the first is of another family, a further one may suit.
        (
            {
                "source_address": source("::1"),
                "extra_source_addresses": [{"address": source("127.0.0.6")}],
            },
            b"127.0.0.6",
        ),
        (
            {
                "source_address": source("::1"),
                "additional_source_addresses": [source("127.0.0.6")],
                "local_address_selector": {"name": "any", "typed_config": {"@type": SELECTOR}},
            },
            b"127.0.0.6",
        ),
        # Its own options, even none, are instead of the others.
        (
            {
                "source_address": source("::1"),
                "socket_options": [IMPOSSIBLE],
                "extra_source_addresses": [{"address": source("127.0.0.6"), "socket_options": {}}],
            },
            b"127.0.0.6",
        ),
        (
            {
                "source_address": source("127.0.0.5"),
                "extra_source_addresses": [
                    {"address": source("::1"), "socket_options": {"socket_options": [IMPOSSIBLE]}}
                ],
            },
            b"127.0.0.5",
        ),
        # Options of other times, or of other sockets, are none of a connecting stream's.
        ({"socket_options": [IMPOSSIBLE | {"state": "STATE_BOUND"}]}, b"127.0.0.1"),
        ({"socket_options": [IMPOSSIBLE | {"state": "STATE_LISTENING"}]}, b"127.0.0.1"),
        ({"socket_options": [IMPOSSIBLE | {"type": {"datagram": {}}}]}, b"127.0.0.1"),
    ],
)
def test_source_addresses(upstream: Start, bind: dict[str, Any], seen: bytes) -> None:
    config = proxy_to(upstream(peer).port)
    config["static_resources"]["clusters"][0]["upstream_bind_config"] = bind
    assert fetch(config) == (200, seen, 0)


def test_the_bootstrap_s_address_is_for_clusters_without_one(upstream: Start) -> None:
    config = proxy_to(upstream(peer).port)
    config["cluster_manager"] = {"upstream_bind_config": {"source_address": source("127.0.0.7")}}
    assert fetch(config) == (200, b"127.0.0.7", 0)
    cluster = config["static_resources"]["clusters"][0]
    cluster["upstream_bind_config"] = {"source_address": source("127.0.0.8")}
    assert fetch(config) == (200, b"127.0.0.8", 0)


@pytest.mark.parametrize(
    "bind",
    [
        {"source_address": source("203.0.113.1")},
        {"source_address": source("::1")},  # of another family than the host's
        {"socket_options": [IMPOSSIBLE]},
        {"socket_options": [IMPOSSIBLE | {"type": {"stream": {}}}]},
        {
            "source_address": source("::1"),
            "extra_source_addresses": [
                {"address": source("127.0.0.6"), "socket_options": {"socket_options": [IMPOSSIBLE]}}
            ],
        },
    ],
)
def test_what_the_system_refuses(upstream: Start, bind: dict[str, Any]) -> None:
    config = proxy_to(upstream(peer).port)
    config["static_resources"]["clusters"][0]["upstream_bind_config"] = bind
    status, body, errors = fetch(config)
    assert (status, errors) == (503, 1)
    assert body.endswith(b"reset reason: local connection failure")


FURTHER = {"address": source("127.0.0.6")}


@pytest.mark.parametrize(
    ("bind", "path"),
    [
        ({"extra_source_addresses": [FURTHER]}, "extra_source_addresses"),
        ({"additional_source_addresses": [source("::1")]}, "additional_source_addresses"),
        (
            {"source_address": source("127.0.0.5"), "extra_source_addresses": [FURTHER]},
            "extra_source_addresses",
        ),
        (
            {
                "source_address": source("127.0.0.5"),
                "additional_source_addresses": [source("::1"), source("::2")],
            },
            "additional_source_addresses",
        ),
        (
            {
                "source_address": source("::1"),
                "extra_source_addresses": [FURTHER],
                "additional_source_addresses": [source("127.0.0.6")],
            },
            "additional_source_addresses",
        ),
        (
            {"source_address": source("::1"), "extra_source_addresses": [{"address": source("x")}]},
            "extra_source_addresses[0].address.address",
        ),
    ],
)
def test_source_addresses_that_are_refused(bind: dict[str, Any], path: str) -> None:
    config = proxy_to(1)
    config["static_resources"]["clusters"][0]["upstream_bind_config"] = bind
    with pytest.raises(meshcore.ConfigError) as failure:
        meshcore.Gateway(config, workers=1)
    assert failure.value.path == f"static_resources.clusters[0].upstream_bind_config.{path}"


def test_the_cluster_s_own_limit_of_requests(upstream: Start) -> None:
    origin = upstream(peer)
    config = proxy_to(origin.port)
    config["static_resources"]["clusters"][0]["max_requests_per_connection"] = 2
    with meshcore.Gateway(config, workers=1) as gateway:
        for _ in range(4):
            clients.fetch(gateway.listeners["main"][1], "/")
    assert len({request.connection for request in origin.requests}) == 2


def own_pools(port: int, **fields: Any) -> dict[str, Any]:
    config = proxy_to(port)
    cluster = config["static_resources"]["clusters"][0]
    cluster |= {"connection_pool_per_downstream_connection": True, **fields}
    return config


def test_a_pool_for_each_client_connection(upstream: Start) -> None:
    origin = upstream(respond(200, b"ok"))
    with meshcore.Gateway(own_pools(origin.port), workers=1) as gateway:
        port = gateway.listeners["main"][1]
        with clients.Connection(port) as one, clients.Connection(port) as two:
            assert [each.request().status for each in (one, two, one, two)] == [200] * 4
            assert origin.connections == 2
        with clients.Connection(port) as three:
            assert three.request().status == 200
        assert origin.connections == 3


def test_an_idle_pool_makes_room_for_another(upstream: Start) -> None:
    """CP-12."""
    origin = upstream(respond(200, b"ok"))
    limit = {"thresholds": [{"max_connection_pools": 1}]}
    with meshcore.Gateway(own_pools(origin.port, circuit_breakers=limit), workers=1) as gateway:
        name = gateway.config["static_resources"]["clusters"][0]["name"]
        port = gateway.listeners["main"][1]
        with clients.Connection(port) as one, clients.Connection(port) as two:
            assert [each.request().status for each in (one, two, one)] == [200] * 3
        assert origin.connections == 3
        assert gateway.stats.counter(f"cluster.{name}.upstream_cx_pool_overflow").value == 0
        active = gateway.stats.gauge(f"cluster.{name}.upstream_cx_active")
        wait_until(lambda: active.value == 1)
