"""RouteTable against a real Envoy: the same configurations and requests, the same decisions.

Each table is a listener of one Envoy. What Envoy answers, or what its upstream receives, is
compared with what a RouteTable says of the same request.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import peers
import pytest
from bootstraps import cluster, listener, manager
from clients import Connection, Reply
from route_cases import Headers, Tree, request, table
from route_configs import CONFIGS, OF_RUNTIMES, action, ext
from route_corners import CORNERS
from upstreams import Exchange, Upstream

from meshcore import ConfigError, Gateway
from meshcore.config import load
from meshcore.routing import Route, RouteTable

pytestmark = pytest.mark.oracle

TABLES, REQUESTS = 40, 50
V3 = "type.googleapis.com/envoy.extensions"
UPSTREAM_HEADERS = [("x-upstream", "u"), ("x-r", "u1")]
# difference: headers-individually (RT-12)
RUNTIME = {"envoy.reloadable_features.match_headers_individually": False}
# What Envoy adds by itself, or is a matter of the connection.
NOT_COMPARED = {"x-request-id", "x-envoy-expected-rq-timeout-ms", "content-length", ":scheme"}


def served(port: int, config: Tree) -> Tree:
    """A listener of its own for a route configuration."""
    return listener(manager(config), port, name=f"on {port}")


def bootstrap(listeners: list[Tree], origin: int) -> Tree:
    layer = {"name": "static", "static_layer": RUNTIME}
    return {
        "static_resources": {"listeners": listeners, "clusters": [cluster("echo", origin)]},
        "layered_runtime": {"layers": [layer]},
    }


async def echo(exchange: Exchange) -> None:
    """The request as JSON, with response headers for the routes to change."""
    await exchange.read_body()
    received = [
        (":path", exchange.request.target),
        *((name.lower(), value) for name, value in exchange.request.headers),
    ]
    text = "\n".join(f"{name}\t{value}" for name, value in received).encode("latin-1")
    await exchange.head(200, [("content-length", str(len(text))), *UPSTREAM_HEADERS])
    await exchange.write(text)


# Envoy keeps these as one entry, to which an empty value adds nothing.
ONE_ENTRY = {"user-agent", "accept", "x-forwarded-for", "cache-control"}


def joined(headers: Headers) -> dict[str, str]:
    """Repeated names as one value."""
    out: dict[str, list[str]] = {}
    for name, value in headers:
        name = {":authority": "host"}.get(name.lower(), name.lower())
        if name not in NOT_COMPARED and name != ":method":
            out.setdefault(name, []).append(value)
    for name in ONE_ENTRY & out.keys():
        out[name] = [value for value in out[name] if value]
    return {name: ",".join(values) for name, values in out.items()}


def ours(route: Route | None, headers: Headers) -> Any:
    if route is None:
        return ("none",)
    location = route.redirect(headers)
    if location is not None:
        grpc = any(value.startswith("application/grpc") for _, value in headers)
        return ("redirect", None if grpc else route.response_code, location)
    if route.direct_response is not None:
        response = route.finalize_response([])
        return ("direct", route.direct_response.body.decode(), joined(response))
    if route.cluster != "echo":
        return ("no cluster",)
    response = route.finalize_response(UPSTREAM_HEADERS)
    return ("cluster", joined(route.finalize_request(headers)), joined(response))


def theirs(reply: Reply) -> Any:
    headers = [(n, v) for n, v in reply.headers if n.lower() in ("x-r", "x-s", "x-upstream")]
    location = reply.header("location")
    # A gRPC client gets Envoy's own replies as status 200, its real one in grpc-status.
    grpc = reply.header("grpc-status")
    if location is not None:
        return ("redirect", None if grpc else reply.status, location)
    if reply.status == 404 or grpc == "12":
        return ("none",)
    if reply.status == 503 or grpc == "14":
        return ("no cluster",)
    text = reply.header("grpc-message") or reply.body.decode("latin-1")
    if "\t" not in text:
        return ("direct", text, joined(headers))
    received = [
        (name, value) for name, _, value in (line.partition("\t") for line in text.split("\n"))
    ]
    return ("cluster", joined(received), joined(headers))


def ask(client: Connection, headers: Headers) -> Reply:
    pseudo = {name: value for name, value in headers if name.startswith(":")}
    rest = [(name, value) for name, value in headers if not name.startswith(":")]
    return client.request(
        pseudo[":path"],
        method=pseudo[":method"],
        host=pseudo[":authority"],
        headers=rest,
        body=b"" if pseudo[":method"] == "POST" else None,
    )


def test_the_same_decisions(
    envoy: Callable[..., peers.Server], upstream: Callable[..., Upstream]
) -> None:
    seed = int(os.environ.get("ROUTE_SEED", "1"))
    rng = random.Random(seed)
    origin = upstream(echo)
    configs = [table(rng) for _ in range(TABLES)]
    ports = list({peers.free_port(): None for _ in range(2 * TABLES)})[:TABLES]
    listeners = [served(port, config) for port, config in zip(ports, configs, strict=True)]
    envoy(
        bootstrap(
            [served(0, configs[0]) | {"address": listener_address()}, *listeners], origin.port
        )
    )
    kinds: dict[str, int] = {}
    different = []
    for port, config in zip(ports, configs, strict=True):
        compiled = RouteTable(config)
        with Connection(port) as client:
            for _ in range(REQUESTS):
                headers = request(rng)
                seen = [*headers, ("x-forwarded-proto", "http")]
                mine, other = ours(compiled.match(seen), seen), theirs(ask(client, headers))
                kinds[mine[0]] = kinds.get(mine[0], 0) + 1
                if mine != other:
                    different.append((config, headers, mine, other))
    assert not different, f"seed {seed}: {len(different)} of {TABLES * REQUESTS}: {different[0]}"
    assert set(kinds) == {"none", "redirect", "direct", "cluster", "no cluster"}
    assert min(kinds.values()) > 10, kinds


def test_odd_corners(envoy: Callable[..., peers.Server], upstream: Callable[..., Upstream]) -> None:
    origin = upstream(echo)
    tables = [config for config, _ in CORNERS]
    ports = list({peers.free_port(): None for _ in range(2 * len(tables))})[: len(tables)]
    listeners = [served(port, config) for port, config in zip(ports, tables, strict=True)]
    first = served(0, tables[0]) | {"address": listener_address()}
    envoy(bootstrap([first, *listeners], origin.port))
    different = []
    for port, (config, requests) in zip(ports, CORNERS, strict=True):
        compiled = RouteTable(config)
        with Connection(port) as client:
            for headers in requests:
                seen = [*headers, ("x-forwarded-proto", "http")]
                mine, other = ours(compiled.match(seen), seen), theirs(ask(client, headers))
                if mine != other:
                    different.append((config["virtual_hosts"], headers, mine, other))
    assert not different, f"{len(different)}: {different[:3]}"


def listener_address() -> Tree:
    """The one that tells when Envoy serves."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": "$port"}}


def refused(config: Tree) -> bool:
    try:
        RouteTable(config)
    except ConfigError:
        return True
    return False


@pytest.mark.slow
def test_the_same_configurations() -> None:
    taken = [config for config in CONFIGS if not refused(config)]
    listeners = [served(10_000 + i, config) for i, config in enumerate(taken)]
    accepted, why = peers.envoy_accepts(bootstrap(listeners, 9999))
    assert accepted, why[-2000:]
    for config in CONFIGS:
        if refused(config):
            accepted, _ = peers.envoy_accepts(bootstrap([served(10_000, config)], 9999))
            assert not accepted, config


@pytest.mark.slow
@pytest.mark.parametrize(("config", "runtime"), OF_RUNTIMES)
def test_the_same_configurations_of_a_runtime(config: Tree, runtime: Tree) -> None:
    tree = bootstrap([served(0, config)], 9999)
    tree["layered_runtime"]["layers"].append({"name": "more", "static_layer": runtime})
    accepted, why = peers.envoy_accepts(tree)
    if accepted:
        Gateway(load(tree), workers=0)
        return
    with pytest.raises(ConfigError) as caught:
        Gateway(load(tree), workers=0)
    assert "weights" in caught.value.reason
    assert "weights" in why


@pytest.mark.parametrize("frequency", [{}, {"update_frequency": 0}, {"update_frequency": -1}])
def test_retry_priorities_that_are_never_updated(frequency: Tree) -> None:
    """difference: retry-frequency."""
    kind = "retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    config = action(retry_policy={"retry_on": "5xx", "retry_priority": ext(kind, **frequency)})
    assert peers.envoy_accepts(bootstrap([served(10_000, config)], 9999))[0]
    with pytest.raises(ConfigError, match="update_frequency"):
        RouteTable(config)
