"""Responses of all kinds, well-formed or not, through the gateway and through real Envoy: what the
client gets, what the access log says of it, and what the cluster has counted."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import clients
import peers
import pytest
from test_envoy_diff import request
from test_envoy_diff_hcm import (
    PRESERVE,
    TYPE,
    UPSTREAM_OPTIONS,
    WEBSOCKET,
    config,
    to,
    typed,
)
from upstreams import Upstream

pytestmark = pytest.mark.oracle

SEED = 20261121
DRAWN = 24

LOGGED = """
RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_FLAGS BYTES_SENT PROTOCOL REQ(:PATH) RESP(X-A)
TRAILER(X-T) UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_REQUEST_ATTEMPT_COUNT
UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_PROTOCOL
""".split()
FILE_LOG = typed(
    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "path: requests, log_format: {json_format: {"
    + ", ".join(f"'{operator}': '%{operator}%'" for operator in LOGGED)
    + "}}",
)


@dataclass
class Plan:
    """A response: its bytes, where they are cut into writes, and whether only one side closes."""

    data: bytes
    cuts: tuple[int, ...] = ()
    half: bool = False
    ask: tuple[str, ...] = ("GET",)  # method and headers of the request


def ok(fields: str, body: str = "", status: str = "200 OK") -> Plan:
    return Plan(f"HTTP/1.1 {status}\r\n{fields}\r\n{body}".encode("latin-1"))


CHUNKED = "Transfer-Encoding: chunked\r\n"
FINAL = "HTTP/1.1 200 OK\r\nC: d\r\nContent-Length: 0\r\n\r\n"
FIXED = [
    ok("Content-Length: 3\r\nA: b\r\n", "abc", "204 No"),
    ok("Content-Length: 0\r\nA: b\r\n", "", "204 No"),
    ok("Content-Length: 0\r\n", "", "204 No"),
    ok("", "", "204 No"),
    ok(f"A: b\r\n{CHUNKED}C: d\r\n", "0\r\n\r\n", "204 No"),
    ok("Content-Length: 3\r\nA: b\r\n", "abc", "101 Go"),
    ok("Transfer-Encoding: gzip\r\nA: b\r\n"),
    ok("Transfer-Encoding:\r\nA: b\r\n"),
    ok(f"Content-Length: 3\r\n{CHUNKED}A: b\r\n", "0\r\n\r\n"),
    ok("A: b\r\nContent-Length: 0\r\n", FINAL, "103 Go"),
    ok("A: b\r\nContent-Length: 1\r\n", FINAL, "103 Go"),
    ok(f"A: b\r\n{CHUNKED}", FINAL, "102 Go"),
    ok("Content-Length: 5\r\nA: b\r\n", "", "304 No"),
]


def drawn(draw: random.Random, asks: list[tuple[str, ...]]) -> Plan:
    """A response that may be wrong in ways that both refuse."""
    status = draw.choice(["200", "200", "200", "204", "304", "404", "500", "600", "799", "999"])
    phrase = draw.choice([" OK", " ", "", " A b\tc", " \xe9"])
    version = draw.choice(["1.1"] * 8 + ["1.0", "1.0", "1.2", "2.0", "0.9"])
    body = bytes(draw.choices(b"abc\r\n0", k=draw.randrange(40)))
    fields = draw.sample(
        [
            "X-A: 1",
            "x-a:2",
            "X-A:",
            "Connection: close",
            "Connection: keep-alive",
            "Connection: x-a",
            "Connection: x-a, close, te",
            "Proxy-Connection: close",
            "Upgrade: foo",
            "TE: trailers",
            "Trailer: X-T",
            "Date: now",
            "Server: them",
            "X-B: \t b \t ",
            "Content-Type: text/plain",
        ],
        draw.randrange(5),
    )
    if draw.random() < 0.1:
        fields.append(draw.choice(["X : 1", "X\x01: 1", "X: \x01", "X", ": x", "X(: 1", "X: \x7f"]))
    length = f"Content-Length: {max(0, len(body) + draw.choice([0] * 8 + [-1, 1, 5]))}"
    shape = draw.random()
    if shape < 0.4:
        fields.append(length)
    elif shape < 0.75:
        fields.append(
            draw.choice(["Transfer-Encoding: chunked"] * 5 + ["transfer-encoding:CHUNKED"])
        )
    elif shape < 0.85:
        fields += [length, draw.choice(["Transfer-Encoding: chunked", "Transfer-Encoding: gzip"])]
    elif shape < 0.9:
        fields.append(
            draw.choice(
                ["Content-Length: x", "Content-Length: 3, 3", "Content-Length: -1"]
                if status not in ("204", "304") and draw.random() < 0.5
                else [f"Transfer-Encoding: {x}" for x in ("gzip, chunked", "identity", "")]
            )
        )
    if 0.4 <= shape < 0.85:
        body = chunks(draw, body)
    draw.shuffle(fields)
    head = f"HTTP/{version} {status}{phrase}\r\n" + "".join(f"{x}\r\n" for x in fields) + "\r\n"
    before = ""
    while draw.random() < 0.15:
        before += draw.choice(["HTTP/1.1 103 Go\r\nLink: a\r\n\r\n", "HTTP/1.1 100 Go\r\n\r\n"])
    data = (before + head).encode("latin-1") + body
    cuts = sorted(draw.sample(range(1, len(data)), min(draw.choice([0, 0, 1, 3]), len(data) - 1)))
    return Plan(data, tuple(cuts), draw.random() < 0.3, draw.choice(asks))


def chunks(draw: random.Random, body: bytes) -> bytes:
    out = b""
    while body:
        size = draw.randrange(1, len(body) + 1)
        extension = draw.choice([b"", b"", b"", b";a", b";a=b", b';a="b"'])
        out += b"%x%s\r\n%s\r\n" % (size, extension, body[:size])
        body = body[size:]
    end = draw.random()
    if end < 0.05:
        return out
    if end < 0.1:
        return draw.choice([b"z\r\n", b"-1\r\n", b"\r\n"])  # difference: joined-chunks
    trailers = draw.choice(
        [
            b"",
            b"",
            b"X-T: 1\r\n",
            b"X-T: 1\r\nx-t:2\r\nContent-Length: 9\r\n",
            b"Content-Length: x\r\nTransfer-Encoding:\r\n",
        ]
    )
    return out + draw.choice([b"0", b"0", b"000", b"0;a=b"]) + b"\r\n" + trailers + b"\r\n"


ONCE = "max_requests_per_connection: 1"  # difference: idle-close-race


def cluster_options(explicit: str = "", common: str = "") -> str:
    return (
        f", typed_extension_protocol_options: {{{UPSTREAM_OPTIONS}: "
        f'{{"@type": {TYPE}{UPSTREAM_OPTIONS}, common_http_protocol_options: {{{ONCE}{common}}}, '
        f"explicit_http_config: {{http_protocol_options: {{{explicit}}}}}}}}}"
    )


KEEPS = typed(PRESERVE, "forward_reason_phrase: true")
KEPT_CASE = f"header_key_format: {{stateful_formatter: {KEEPS}}}"
PLAIN: list[tuple[str, ...]] = [("GET",), ("GET",), ("HEAD",)]
# Fields of the manager, of the route and of the cluster; what asks.
SETS: dict[str, tuple[dict[str, str], str, str, list[tuple[str, ...]]]] = {
    "plain": ({}, "timeout: 5s", cluster_options(), PLAIN),
    "trailers": (
        {"http_protocol_options": "{enable_trailers: true}"},
        "timeout: 5s",
        cluster_options("enable_trailers: true"),
        PLAIN,
    ),
    "lenient": (
        {"proxy_100_continue": "true"},
        "timeout: 5s",
        cluster_options("allow_chunked_length: true"),
        PLAIN,
    ),
    "upgrades": (
        {"upgrade_configs": "[{upgrade_type: websocket}]", "local_reply_config": "{}"},
        "timeout: 5s",
        cluster_options(),
        [("GET", *WEBSOCKET)],
    ),
    "case": (
        {"http_protocol_options": f"{{{KEPT_CASE}}}"},
        "timeout: 5s",
        cluster_options(KEPT_CASE),
        PLAIN,
    ),
    "limits": (
        {},
        "timeout: 5s, retry_policy: {retry_on: 'reset,5xx', num_retries: 1}",
        cluster_options("", ", max_headers_count: 4"),
        PLAIN,
    ),
}


def origin_of(plans: list[Plan]) -> Callable[[Any], Any]:
    async def answer(exchange: Any) -> None:
        plan = plans[int(exchange.request.target[1:])]
        for start, end in zip((0, *plan.cuts), (*plan.cuts, len(plan.data)), strict=True):
            await exchange.write(plan.data[start:end])
            await asyncio.sleep(0.002 if plan.cuts else 0)  # the pieces may be read one by one
        if plan.half:
            exchange.writer.write_eof()
            await exchange.reader.read()
        exchange.writer.close()

    return answer


def got(server: peers.Server, index: int, plan: Plan) -> Any:
    """All the client gets, but what differs from one run to the next."""
    method, *headers = plan.ask
    if method == "GET" and not headers:
        headers = ["Connection: close"]
    with clients.Connection(server.port, timeout=10) as connection:
        connection.send(request(f"{method} /{index}", *headers))
        try:
            reply = connection.reply(method)
        except (EOFError, ConnectionError, ValueError) as error:
            return type(error).__name__
    return (
        reply.version,
        reply.status,
        reply.reason,
        [(n, v) for n, v in reply.headers if n.lower() not in ("date", UPSTREAM_TIME)],
        reply.body,
        reply.trailers,
    )


UPSTREAM_TIME = "x-envoy-upstream-service-time"


def logged(server: peers.Server) -> list[dict[str, Any]]:
    server.terminate()
    lines = (server.directory / "requests").read_text().splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda x: str(x["REQ(:PATH)"]))


COUNTED = r"cluster\.raw\.upstream_rq_\w+|http1\.\w+"


def counted(server: peers.Server) -> dict[str, int]:
    assert server.admin_port is not None
    text = clients.fetch(server.admin_port, "/stats?usedonly").body.decode()
    return {n: int(v) for n, v in re.findall(rf"^({COUNTED}): (\d+)$", text, re.MULTILINE)}


# Envoy gives too many headers up in their middle, and counts the name of the next one too.
HALF_COUNTED = {"UPSTREAM_HEADER_BYTES_RECEIVED", "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED"}


def differ(mine: dict[str, Any], envoys: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (mine.get(name), envoys.get(name))
        for name in {**mine, **envoys}
        if mine.get(name) != envoys.get(name)
    }


Both = Callable[..., tuple[peers.Server, peers.Server]]


def compared(both: Both, name: str, plans: list[Plan]) -> list[str]:
    manager, route, cluster, _ = SETS[name]
    text = config({**manager, "access_log": f"[{FILE_LOG}]"}, to("raw", route), cluster)
    found = []
    with Upstream(origin_of(plans)) as origin:
        servers = both(text, raw=origin.port, echo=1, stall=1)
        for index, plan in enumerate(plans):
            mine, envoys = (got(server, index, plan) for server in servers)
            if mine != envoys:
                found.append(f"{plan}\n  ours  {mine}\n  Envoy {envoys}")
        counters = differ(*(counted(server) for server in servers))
        for mine, envoys in zip(*(logged(server) for server in servers), strict=True):
            wrong = differ(mine, envoys)
            if wrong.keys() - (HALF_COUNTED if name == "limits" else ()):
                found.append(f"{plans[int(mine['REQ(:PATH)'][1:])]}\n  logged {wrong}")
    if counters:
        found.append(f"counters {counters}")
    return found


def test_lengths_that_nobody_needs(both: Both) -> None:
    """difference: length-of-304."""
    plan = ok("Content-Length: 3, 3\r\n", "", "304 Not Modified")
    with Upstream(origin_of([plan])) as origin:
        servers = both(config({}, to("raw", "timeout: 5s")), raw=origin.port, echo=1, stall=1)
        assert [got(server, 0, plan)[1] for server in servers] == [502, 304]


@pytest.mark.parametrize("name", list(SETS))
def test_responses(both: Both, name: str) -> None:
    draw = random.Random(f"{SEED} {name}")
    plans = [drawn(draw, SETS[name][3]) for _ in range(DRAWN)]
    found = compared(both, name, (FIXED if name == "plain" else []) + plans)
    assert not found, "\n".join(found)
