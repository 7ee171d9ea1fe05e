"""Filters beside real Envoy: one configuration, the same requests; answers, what the upstream
received, and the filters' own stats compared."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import urllib.request
import zlib
from collections.abc import Callable
from typing import Any

import peers
import pytest
from clients import Connection
from filter_cases import CASES, Case, Request, http_filter, library
from upstreams import Exchange, Upstream

MANAGER = (
    "type.googleapis.com/"
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
WITH_TRAILERS = {
    "@type": f"type.googleapis.com/{OPTIONS}",
    "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
}
VOLATILE = {"date", "x-envoy-upstream-service-time", "x-request-id"}
# Stats of the connection manager itself: others compare them.
GENERAL = re.compile(r"(downstream_|no_|rq_|rs_|passthrough|tracing|user_agent|response_flags)")
# difference: compressed-bytes
UNEQUAL = re.compile(r"^compressor.*total_compressed_bytes|decompressor_library")
# difference: last-piece, difference: pending-body
CUT = re.compile(r"(_incoming_size|request_pending)$")
SAW = re.compile(r"(?<=^x-envoy-decompressor-)\w+")  # difference: decompressor-names
HEALTH_CHECK = "health_check.v3.HealthCheck"
IS_CHECK = [{"name": ":path", "string_match": {"exact": "/hc"}}]
Outcome = dict[str, Any]


def address(port: int | str) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(case: Case, port: int | str) -> dict[str, Any]:
    manager = {
        "@type": MANAGER,
        "stat_prefix": case.name,
        "http_filters": [*case.filters, {"name": "router", "typed_config": {"@type": ROUTER}}],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": case.routes, **case.host}
            ],
            **case.table,
        },
        "http_protocol_options": {"enable_trailers": True},
        **case.manager,
    }
    chain = {"filters": [{"name": "hcm", "typed_config": manager}]}
    return {"name": case.name, "address": address(port), "filter_chains": [chain]}


def bootstrap(
    cases: list[Case], ports: dict[str, int], upstream: int, *clusters: dict[str, Any]
) -> str:
    runtime = {key: value for case in cases for key, value in case.runtime.items()}
    ready = Case("ready", [], [])
    own = [{"lb_endpoints": [{"endpoint": {"address": address(upstream + n)}} for n in range(3)]}]
    tree = {
        "node": {"id": "node", "cluster": "edge"},
        "admin": {"address": address("$admin_port")},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": runtime}]},
        "cluster_manager": {"local_cluster_name": "own"},
        "static_resources": {
            "listeners": [
                listener(ready, "$port"),
                *(listener(case, ports[case.name]) for case in cases),
            ],
            "clusters": [
                *clusters,
                {
                    "name": "up",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {OPTIONS: WITH_TRAILERS},
                    "load_assignment": {
                        "cluster_name": "up",
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}
                        ],
                    },
                },
                {
                    "name": "own",
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "own", "endpoints": own},
                },
                {"name": "empty", "type": "STATIC", "load_assignment": {"cluster_name": "empty"}},
            ],
        },
    }
    return json.dumps(tree).replace('"$port"', "$port").replace('"$admin_port"', "$admin_port")


async def obey(exchange: Exchange) -> None:
    """Answers as the request's x-answer says."""
    await exchange.read_body()
    answer = json.loads(base64.b64decode(exchange.request.header("x-answer") or "e30="))
    body = answer.get("body", "hello").encode("latin-1")
    headers = [tuple(pair) for pair in answer.get("headers", [])]
    status, trailers = answer.get("status", 200), answer.get("trailers", [])
    if answer.get("interim"):
        await exchange.head(answer["interim"], [("x-early", "1")])
    bodiless = exchange.request.method == "HEAD" or status in (204, 304)
    if trailers and not bodiless:
        headers = [("transfer-encoding", "chunked"), *headers]
    chunked = any(name == "transfer-encoding" for name, _ in headers)
    if status != 204 and not chunked:
        headers.append(("content-length", str(len(body))))
    await exchange.head(status, headers)
    if bodiless:
        return
    if chunked:
        if body:
            await exchange.chunk(body)
        ends = "".join(f"{name}: {value}\r\n" for name, value in trailers)
        await exchange.write(f"0\r\n{ends}\r\n".encode())
    else:
        await exchange.write(body)


def send(connection: Connection, request: Request) -> Outcome:
    answer = json.dumps(
        {
            "status": request.status,
            "headers": request.reply,
            "body": request.reply_body,
            "trailers": request.reply_trailers,
            "interim": request.interim,
        }
    )
    headers = [*request.headers, ("x-answer", base64.b64encode(answer.encode()).decode())]
    method, target = request.line.split(" ", 1)
    names = {name.lower() for name, _ in headers}
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in names:
        lines.append("Host: localhost")
    lines += [f"{name}: {value}" for name, value in headers]
    body = request.body or b""
    if request.trailers and "transfer-encoding" not in names:
        names.add("transfer-encoding")
        lines.append("Transfer-Encoding: chunked")
    if "transfer-encoding" in names:
        ends = "".join(f"{name}: {value}\r\n" for name, value in request.trailers).encode()
        chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n" if body else b""
        body = chunk + b"0\r\n" + ends + b"\r\n"
    elif request.body is not None:
        lines.append(f"Content-Length: {len(body)}")
    connection.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    interim: list[int] = []
    try:
        reply = connection.reply(method, interim)
    except EOFError as error:
        return {"closed": str(error)}
    # The same coding may write other bytes.
    body = plain(reply.body)
    if reply.header("content-encoding") in ("br", "zstd"):  # difference: route-library
        body = b"*"
    return {
        "status": reply.status,
        "interim": interim,
        "headers": stable(reply.headers),
        "body": body.decode("latin-1"),
        "trailers": told(reply.trailers),
    }


def stable(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without what differs from run to run; the order matters only among equal names."""
    kept = [(n, "*" if n.lower() in VOLATILE else v) for n, v in headers if n.lower() != "x-answer"]
    return sorted(kept, key=lambda pair: pair[0])


def told(trailers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(SAW.sub("*", name), value) for name, value in trailers]


def plain(body: bytes) -> bytes:
    if body.startswith(b"\x28\xb5\x2f\xfd"):
        return b"zstd"
    with contextlib.suppress(EOFError, OSError, zlib.error):  # what is broken stays as it is
        return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    return body


def page(server: peers.Server) -> list[str]:
    """The lines of /stats."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/stats") as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return lines


def stats(lines: list[str], case: Case) -> dict[str, int]:
    found = {}
    for line in lines:
        name, _, value = line.partition(": ")
        own = name.removeprefix(f"http.{case.name}.")
        wanted = own != name and not GENERAL.match(own) and not UNEQUAL.search(own)
        wanted = wanted or name.startswith(case.stats or ("\0",))
        if wanted and not CUT.search(name) and value.isdecimal() and int(value):
            found[name] = int(value)  # difference: zero-counters
    return found


def run(server: peers.Server, case: Case, port: int, upstream: Upstream) -> Outcome:
    outcomes = []
    for request in case.requests:
        del upstream.requests[:]
        with Connection(port) as connection:
            outcome = send(connection, request)
        outcome["upstream"] = [
            (r.method, r.target, stable(r.headers), plain(bytes(r.body)), told(r.trailers))
            for r in upstream.requests
        ]
        outcomes.append(outcome)
    # Stats that cases share are looked at case by case; the page is long, for so many listeners.
    return {"outcomes": outcomes, "stats": stats(page(server), case) if case.stats else None}


def run_all(
    server: peers.Server, cases: list[Case], ports: dict[str, int], upstream: Upstream
) -> dict[str, Outcome]:
    found = {case.name: run(server, case, ports[case.name], upstream) for case in cases}
    lines = page(server)
    for case in cases:
        if not case.stats:
            found[case.name]["stats"] = stats(lines, case)
    return found


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> dict[str, tuple[Outcome, Outcome]]:
    """By case: what meshcore did, and what Envoy did. One process of each serves them all."""
    chosen = [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_as_envoy
    ]
    cases = [CASES[name] for name in CASES if name in chosen]
    ports = {case.name: peers.free_port() for case in cases}
    start: Callable[..., peers.Server]
    found: list[dict[str, Outcome]] = []
    with Upstream(obey) as upstream:
        config = bootstrap(cases, ports, upstream.port)
        for start in (peers.meshcore, peers.envoy):
            with start(config) as server:
                found.append(run_all(server, cases, ports, upstream))
    ours, theirs = found
    return {name: (ours[name], theirs[name]) for name in ours}


@pytest.mark.parametrize("name", CASES)
def test_as_envoy(name: str, results: dict[str, tuple[Outcome, Outcome]]) -> None:
    ours, theirs = results[name]
    pairs = zip(CASES[name].requests, ours["outcomes"], theirs["outcomes"], strict=True)
    differing = [(request, mine, envoys) for request, mine, envoys in pairs if mine != envoys]
    for request, mine, envoys in differing:
        print(request, "\nours:  ", mine, "\ntheirs:", envoys)
    assert not differing
    assert ours["stats"] == theirs["stats"]


def failing(start: Callable[..., peers.Server], upstream: Upstream) -> list[Any]:
    """What clients see before, while and after the process is to fail its health checks."""
    case = Case(
        "failing", [http_filter("hc", HEALTH_CHECK, pass_through_mode=True, headers=IS_CHECK)], []
    )
    found: list[Any] = []
    with start(bootstrap([case], {"failing": peers.free_port()}, upstream.port)) as server:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/listeners") as answer:
            port = int(re.search(rb"failing::127.0.0.1:(\d+)", answer.read())[1])  # type: ignore[index]
        for order in ("ok", "fail", "ok"):
            url = f"http://127.0.0.1:{server.admin_port}/healthcheck/{order}"
            urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()
            for line in ("GET /hc", "GET /"):
                with Connection(port) as connection:
                    found.append(send(connection, Request(line)))
        found.append(stats(page(server), case))
    return found


def tunneled(start: Callable[..., peers.Server], upstream: Upstream) -> tuple[str | None, bytes]:
    """The coding and the bytes that come out of a tunnel through `compressor`."""
    route = {
        "match": {"connect_matcher": {}},
        "route": {
            "cluster": "up",
            "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
        },
    }
    manager = {"upgrade_configs": [{"upgrade_type": "CONNECT"}]}
    chain = [http_filter("c", "compressor.v3.Compressor", **library("compressor"))]
    case, port = Case("tunnel", chain, [], [route], manager=manager), peers.free_port()
    with (
        start(bootstrap([case], {"tunnel": port}, upstream.port)),
        Connection(port) as connection,
    ):
        connection.send(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nAccept-Encoding: gzip\r\n\r\n")
        head = connection.reply("CONNECT")
        connection.send(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        return head.header("content-encoding"), connection.read_to_end()


def test_a_tunnel_through_the_compressor() -> None:
    """difference: compressed-tunnel."""
    with Upstream(obey) as upstream:
        ours, theirs = (tunneled(start, upstream) for start in (peers.meshcore, peers.envoy))
    assert ours[0] is None
    assert ours[1].startswith(b"HTTP/1.1 200 OK")
    assert ours[1].endswith(b"hello")
    assert theirs == ("gzip", theirs[1])
    assert plain(theirs[1]) == ours[1]


def test_a_process_that_is_to_fail() -> None:
    """difference: failed-health-count."""
    with Upstream(obey) as upstream:
        theirs = failing(peers.envoy, upstream)
        ours = failing(peers.meshcore, upstream)
    counts = [side[-1].pop("http.failing.health_check.failed") for side in (ours, theirs)]
    assert counts == [2, 1]
    assert ours == theirs
    assert [each["status"] for each in ours[:6]] == [200, 200, 503, 200, 200, 200]
