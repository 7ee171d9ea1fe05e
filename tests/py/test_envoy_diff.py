"""The same configuration and the same bytes to meshcore and to real Envoy: the answers compared
field by field, and with them what the upstream received."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from typing import Any

import peers
import pytest
from clients import Connection, Reply
from differences import explained
from upstreams import Behaviour, Upstream, echo, reset, stall

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
SEED = 20261121
GENERATED = 250

# What may differ from one run to the next, on either side.
VOLATILE = {
    "date": "a date",
    "x-envoy-upstream-service-time": "some ms",
    "x-request-id": "an id",
}


def address(port: str | int) -> str:
    return f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"


def cluster(name: str, port: str | None) -> str:
    endpoints = (
        f"[{{lb_endpoints: [{{endpoint: {{address: {address(port)}}}}}]}}]" if port else "[]"
    )
    assignment = f"{{cluster_name: {name}, endpoints: {endpoints}}}"
    return f"  - {{name: {name}, type: STATIC, load_assignment: {assignment}}}\n"


def config(manager: str = "") -> str:
    routes = [
        '{match: {prefix: /direct}, direct_response: {status: 200, body: {inline_string: "hi"}}}',
        "{match: {prefix: /redirect}, redirect: {path_redirect: /to, response_code: FOUND}}",
        "{match: {prefix: /swap}, redirect: {prefix_rewrite: /new, https_redirect: true}}",
        "{match: {prefix: /refused}, route: {cluster: refused}}",
        "{match: {prefix: /nohost}, route: {cluster: nohost}}",
        "{match: {prefix: /stall}, route: {cluster: stall, timeout: 0.2s}}",
        "{match: {prefix: /reset}, route: {cluster: reset}}",
        "{match: {path: /rewritten}, route: {cluster: echo, prefix_rewrite: /else, timeout: 0s}}",
        "{match: {prefix: /hosted/}, route: {cluster: echo, host_rewrite_literal: up.example}}",
        "{match: {path_separated_prefix: /echo}, route: {cluster: echo}}",
    ]
    return (
        f"static_resources:\n  listeners:\n  - name: main\n    address: {address('$port')}\n"
        "    filter_chains:\n    - filters:\n      - name: hcm\n        typed_config:\n"
        f'          "@type": type.googleapis.com/{HCM}\n          stat_prefix: in\n'
        f"          delayed_close_timeout: 0.05s\n{manager}"
        "          route_config:\n            virtual_hosts:\n            - name: all\n"
        '              domains: ["*"]\n              routes:\n'
        + "".join(f"              - {route}\n" for route in routes)
        + "          http_filters:\n          - name: router\n            typed_config:\n"
        f'              "@type": type.googleapis.com/{ROUTER}\n  clusters:\n'
        + cluster("echo", "$echo")
        + cluster("stall", "$stall")
        + cluster("reset", "$reset")
        + cluster("refused", "1")
        + cluster("nohost", None)
    )


EDGE = "          use_remote_address: true\n          via: mesh\n          normalize_path: true\n"
EDGE += "          merge_slashes: true\n          server_name: front\n"
MANAGERS = {"plain": "", "edge": EDGE}


@pytest.fixture(params=sorted(MANAGERS))
def pair(
    request: pytest.FixtureRequest,
    both: Callable[..., tuple[peers.Server, peers.Server]],
    upstream: Callable[[Behaviour], Upstream],
) -> tuple[peers.Server, peers.Server]:
    ports = {
        "echo": upstream(echo).port,
        "stall": upstream(stall).port,
        "reset": upstream(reset).port,
    }
    return both(config(MANAGERS[request.param]), **ports)


def comparable(reply: Reply, port: int) -> dict[str, Any]:
    """What must agree: volatile values named, the server's own port hidden."""
    out: dict[str, Any] = {
        "version": reply.version,
        "status": reply.status,
        "headers": [
            (n, VOLATILE.get(n.lower(), v.replace(str(port), "PORT"))) for n, v in reply.headers
        ],
    }
    if reply.header("content-type") == "application/json" and b'"connection"' in reply.body:
        received = json.loads(reply.body)
        received.pop("connection")
        received["headers"] = [
            (n, VOLATILE.get(n.lower(), v.replace(str(port), "PORT")))
            for n, v in received["headers"]
        ]
        out["received"] = received
        out["headers"] = [(n, v) for n, v in out["headers"] if n != "content-length"]
    else:
        out["body"] = reply.body.decode("latin-1").replace(str(port), "PORT")
    return out


def ask(port: int, data: bytes) -> list[Any]:
    """Every reply to the bytes, then how the connection goes on."""
    data = data.replace(b"PORT", str(port).encode())
    method = data.split(b" ", 1)[0].decode("latin-1")
    out: list[Any] = []
    with Connection(port, timeout=10) as connection:
        connection.send(data)
        for _ in range(max(1, data.count(b" HTTP/1.1\r\nHost: "))):
            try:
                reply = connection.reply(method)
            except (EOFError, ConnectionError):
                out.append("closed without an answer")
                break
            out.append(comparable(reply, port))
        closing = (
            reply.header("connection") == "close" if out and isinstance(out[-1], dict) else True
        )
        if closing:
            out.append(("rest", connection.read_to_end()))
    return out


def request(line: str, *headers: str, body: bytes = b"", host: str | None = "a.com") -> bytes:
    lines = [f"{line} HTTP/1.1", *([f"Host: {host}"] if host is not None else []), *headers]
    return "".join(f"{item}\r\n" for item in lines).encode("latin-1") + b"\r\n" + body


CHUNKED = "Transfer-Encoding: chunked"
BODY = b"3\r\nabc\r\n0\r\n\r\n"
CASES: dict[str, bytes] = {
    "get": request("GET /echo/x?y=1"),
    "direct response": request("GET /direct"),
    "redirect": request("GET /redirect?q=1"),
    "https redirect": request("GET /swap/a?b"),
    "no route": request("GET /zzz"),
    "refused": request("GET /refused"),
    "no host": request("GET /nohost"),
    "timeout": request("GET /stall"),
    "reset": request("GET /reset"),
    "head": request("HEAD /echo"),
    "head direct": request("HEAD /direct"),
    "post": request("POST /echo", "Content-Length: 3", body=b"abc"),
    "post chunked": request("POST /echo", CHUNKED, body=BODY),
    "post without body": request("POST /echo"),
    "delete": request("DELETE /echo"),
    "expect": request("POST /echo", "Content-Length: 3", "Expect: 100-continue", body=b"abc"),
    "rewrite": request("GET /rewritten?q"),
    "host rewrite": request("GET /hosted/x"),
    "http/1.0": b"GET /echo HTTP/1.0\r\n\r\n",
    "bad version": b"GET /echo HTTP/9.9\r\nHost: a\r\n\r\n",
    "no host header": request("GET /echo", host=None),
    "bad method": request("FOO /echo"),
    "garbage": b"\x01\x02\x03\r\n\r\n",
    "forwarded": request(
        "GET /echo", "X-Forwarded-For: 1.2.3.4, 5.6.7.8", "X-Forwarded-Proto: https"
    ),
    "hop by hop": request(
        "GET /echo", "Connection: keep-alive, X-A", "X-A: 1", "Keep-Alive: 3", "TE: trailers"
    ),
    "proxy connection": request("GET /echo", "Proxy-Connection: x", "Upgrade: foo"),
    "repeated": request("GET /echo", "X-B: 1", "x-b: 2", "COOKIE: a=1", "Cookie: b=2"),
    "close": request("GET /echo", "Connection: close"),
    "envoy headers": request(
        "GET /echo", "x-envoy-max-retries: 3", "x-envoy-internal: true", "x-request-id: abc"
    ),
    "length and chunked": request("POST /echo", "Content-Length: 3", CHUNKED, body=BODY),
    "two lengths": request("POST /echo", "Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "bad length": request("POST /echo", "Content-Length: x"),
    "space before colon": request("GET /echo", "X-A : 1"),
    "nul": request("GET /echo", "X-A: a\0b"),
    "absolute": request("GET http://b.com/echo/q"),
    "absolute https": request("GET https://b.com/echo/q"),
    "options star": request("OPTIONS *"),
    "connect": request("CONNECT a.com:80", host="a.com:80"),
    "fragment": request("GET /echo#x"),
    "bad host": request("GET /echo", host="a b"),
    "dots": request("GET /echo/%2e%2e/A//b"),
    "large header": request("GET /echo", "X-Big: " + "a" * 70000),
    "many headers": request("GET /echo", *(f"x-{n}: 1" for n in range(120))),
    "websocket": request("GET /echo", "Connection: Upgrade", "Upgrade: websocket"),
    "gzip coding": request("POST /echo", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "referer": request("GET /echo", "User-Agent: x", "Accept: */*", "Referer: http://u@x/"),
    "pipelined": request("GET /direct") + request("GET /echo"),
    "underscore": request("GET /echo", "x_y: 1"),
    "trailers": request("POST /echo", CHUNKED, body=b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
    "empty name": request("GET /echo", ": x"),
    "bad chunk": request("POST /echo", CHUNKED, body=b"zz\r\nabc\r\n0\r\n\r\n"),
}


def differences(
    pair: tuple[peers.Server, peers.Server], cases: Iterable[tuple[str, bytes]]
) -> list[str]:
    ours, theirs = pair
    found = []
    for name, data in cases:
        mine, envoys = ask(ours.port, data), ask(theirs.port, data)
        if mine != envoys:
            found.append(f"{name}: {data[:300]!r}\n  ours  {mine}\n  Envoy {envoys}\n")
    return found


def test_the_answers_are_envoys(pair: tuple[peers.Server, peers.Server]) -> None:
    found = differences(pair, CASES.items())
    assert not found, "\n".join(found)


def generated(seed: int, count: int) -> list[tuple[str, bytes]]:
    """Well-formed requests in all their variety."""
    draw = random.Random(seed)
    paths = [
        "/echo",
        "/echo/a/b",
        "/direct",
        "/redirect",
        "/swap/x",
        "/rewritten",
        "/hosted/y",
        "/none",
    ]
    tails = ["", "?", "?a=b", "?a=%20&b", "/%41", "//x", "/./y", ";p=1", "?q=/../z"]
    names = "X-A x-envoy-retry-on Accept-Encoding X-Forwarded-For Via TE X-Empty Pragma Cookie"
    names += " x-envoy-upstream-rq-timeout-ms X-Forwarded-Proto x-client-trace-id"
    values = ["1", "a, b", "", "gzip", "10.0.0.1", "trailers", "http", "x=y; z", "5000", "\x80\xff"]
    out = []
    for index in range(count):
        method = draw.choice(["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
        headers = [
            f"{draw.choice(names.split())}: {draw.choice(values)}" for _ in range(draw.randrange(5))
        ]
        body = b""
        if method in ("POST", "PUT", "PATCH") and draw.random() < 0.8:
            body = bytes(draw.choices(b"abc\r\n", k=draw.randrange(40)))
            if draw.random() < 0.5:
                headers.append(f"Content-Length: {len(body)}")
            else:
                headers.append(CHUNKED)
                body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        host = draw.choice(["a.com", "A.Com:80", "[::1]:8080", "x"])
        line = f"{method} {draw.choice(paths)}{draw.choice(tails)}"
        out.append((f"seed {seed} number {index}", request(line, *headers, body=body, host=host)))
    return out


def test_generated_requests_get_envoys_answers(pair: tuple[peers.Server, peers.Server]) -> None:
    found = differences(pair, generated(SEED, GENERATED))
    assert not found, f"{len(found)} differ\n" + "\n".join(found[:10])


@pytest.mark.parametrize("pair", ["plain"], indirect=True)
def test_where_we_are_stricter(pair: tuple[peers.Server, peers.Server]) -> None:
    """The explained differences stay what they are: a 400 of ours for a 200 of Envoy's."""
    ours, theirs = pair
    cases = {
        "obs-fold": request("GET /echo", "X-A: 1", " two"),
        "bare-lf": b"GET /echo HTTP/1.1\nHost: a.com\n\n",
        "bare-cr": request("GET /echo", "X-A: a\rb"),
        "two-hosts": request("GET /echo", "Host: b.com"),
    }
    for key, data in cases.items():
        statuses = [ask(server.port, data)[0]["status"] for server in (ours, theirs)]
        assert statuses == [400, 200], explained(key)
