"""The gateway's HTTP/1 against a real Envoy's: the same raw bytes to both, the answers compared.

Where meshcore is stricter, as docs/differences.md lists, a case stands under the difference's key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peers
import pytest
from bootstraps import bootstrap
from clients import Connection
from differences import explained
from upstreams import Behaviour, Upstream, echo, raw

pytestmark = pytest.mark.oracle

CONFIG = bootstrap("- {match: {prefix: /}, route: {cluster: origin}}")

# What differs from run to run, or belongs to other tests.
NOT_COMPARED = {"x-request-id", "x-envoy-expected-rq-timeout-ms", "x-forwarded-proto"}

HOST = b"Host: a\r\n"


def get(lines: bytes = b"", target: bytes = b"/") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n"


def post(lines: bytes, body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + lines + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked\r\n", body)


LAST = b"0\r\n\r\n"

SAME = [
    get(),
    get(b"X:   \t a\tb \t \r\n"),
    get(b"X:\r\n"),
    get(b"X: a\x80b\r\n"),
    get(b"X: a\x00b\r\n"),
    get(b"X: a\x01b\r\n"),
    get(b"X: a\x7fb\r\n"),
    get(b"X\x01: a\r\n"),
    get(b"\x7fX: a\r\n"),
    get(b"X : a\r\n"),
    get(b"X\x80: a\r\n"),
    get(b"X(: a\r\n"),
    get(b": a\r\n"),
    get(b"Xa\r\n"),
    get(b":path: /x\r\n"),
    b"GET / HTTP/1.1\r\n X: y\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\r\n\r\n" + get(),
    b" " + get(),
    b"GET / x HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.2\r\n" + HOST + b"\r\n",
    b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    b"GET /\r\n" + HOST + b"\r\n",
    b"GET / http/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.10\r\n" + HOST + b"\r\n",
    b"GET / HTTP/11\r\n" + HOST + b"\r\n",
    b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"M-SEARCH / HTTP/1.1\r\n" + HOST + b"\r\n",
    get(target=b"*"),
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    get(target=b"/a\tb"),
    get(target=b"/a\x80b"),
    get(target=b"/a\x01b"),
    get(target=b"/a#b"),
    get(target=b"a"),
    get(target=b"http://b"),
    get(target=b"http://b?x=1"),
    get(target=b"http://b/c?x"),
    get(target=b"HTTP://B:80/c"),
    get(target=b"http://u@b/c"),
    get(target=b"ftp://b/c"),
    get(target=b"http:/b"),
    get(target=b"http:///b"),
    get(target=b"http://b:x/"),
    get(target=b"http://b:99999/"),
    get(target=b"http://b:/"),
    get(target=b"http://[::1]:80/"),
    get(target=b"http://[::1/"),
    get(target=b"http://a@@b/"),
    b"CONNECT b HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT /b HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT b:80/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT b:80 HTTP/1.1\r\nContent-Length: 1\r\n" + HOST + b"\r\n",
    b"CONNECT b:80 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n",
    post(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", LAST),
    post(b"Transfer-Encoding: Chunked\r\n", LAST),
    post(b"Transfer-Encoding: gzip, chunked\r\n", LAST),
    post(b"Transfer-Encoding: chunked, chunked\r\n", LAST),
    post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", LAST),
    post(b"Transfer-Encoding: identity\r\n", b""),
    post(b"Transfer-Encoding:\r\n", b""),
    post(b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n", b"abc"),
    post(b"Transfer-Encoding:\r\nContent-Length: 3\r\n", b"abc"),
    post(b"Content-Length: 3\r\nTransfer-Encoding:\r\n", b"abc"),
    post(b"Transfer-Encoding: \x0bchunked\r\n", LAST),
    post(b"Transfer-Encoding : chunked\r\n", LAST),
    post(b"Transfer-Encoding: chunked;x\r\n", LAST),
    post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"),
    post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abc"),
    post(b"Content-Length: 3, 3\r\n", b"abc"),
    post(b"Content-Length: +3\r\n", b"abc"),
    post(b"Content-Length: -3\r\n", b"abc"),
    post(b"Content-Length: 0x3\r\n", b"abc"),
    post(b"Content-Length: 3 3\r\n", b"abc"),
    post(b"Content-Length:\r\n", b"abc"),
    post(b"Content-Length: 18446744073709551616\r\n", b"abc"),
    post(b"Content-Length: 003\r\n", b"abc"),
    post(b"Content-Length: 3\r\n", b"abc"),
    chunked(b"3;a=b\r\nabc\r\n" + LAST),
    chunked(b'3;a="b"\r\nabc\r\n' + LAST),
    chunked(b"00003\r\nabc\r\n" + LAST),
    chunked(b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"),
    chunked(b" 3\r\nabc\r\n" + LAST),
    chunked(b"0x3\r\nabc\r\n" + LAST),
    chunked(b"+3\r\nabc\r\n" + LAST),
    chunked(b"3\nabc\n0\n\n"),
    chunked(b"3\r\nabc0\r\n\r\n"),
    chunked(b"10000000000000003\r\nabc\r\n" + LAST),
    chunked(b"\r\nabc\r\n" + LAST),
    chunked(b"3;a\rb\r\nabc\r\n" + LAST),
    chunked(b"3;a\nabc\r\n" + LAST),
    chunked(b"3\r\nabc\r\n0\r\nX : y\r\n\r\n"),
    chunked(b"3\r\nabc\r\n0\r\nX: \x01y\r\n\r\n"),
    get(b"Connection: x-a, te\r\nX-A: 1\r\nTE: trailers\r\n"),
    get(b"Connection: te\r\nTE: gzip, trailers\r\n"),
    get(b"Connection: x-forwarded-for\r\n"),
    get(b"Connection: :path\r\n"),
    get(b"Connection: a,b,c,d,e,f,g,h,i\r\n"),
    get(b"Connection: a,b,c,d,e,f,g,h,i,j\r\n"),
    get(b"Connection: host\r\n"),
    get(b"Connection: a\r\nConnection: b\r\nA: 1\r\nb: 2\r\n"),
    get(b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHttp2-Settings: x\r\n"),
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    get(b"X: " + b"a" * 61000 + b"\r\n"),
    get(b"X: " + b"a" * 62000 + b"\r\n"),
    get(b"A: b\r\n" * 99),
    get(b"A: b\r\n" * 100),
]

# What Envoy answers with 200 and we with 400.
STRICTER = {
    "bare-lf": [
        b"GET / HTTP/1.1\nHost: a\n\n",
        get(b"X: a\nY: b\r\n"),
        chunked(b"3\r\nabc\r\n0\r\n\n"),
    ],
    "obs-fold": [
        get(b"X: a\r\n b\r\n"),
        chunked(b"3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n"),
    ],
    "bare-cr": [get(b"X: a\rb\r\n"), get(b"X: a\r\r\n")],
    "start-line-space": [
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    "two-hosts": [get(b"Host: a\r\n")],
    "chunk-size-space": [chunked(b"3 \r\nabc\r\n" + LAST)],
    "chunk-data-end": [chunked(b"3\r\nabcX\r\n" + LAST)],
    "chunk-extension": [chunked(b"3;\x01\r\nabc\r\n" + LAST)],
}


def answer(port: int, data: bytes) -> tuple[int, Any]:
    """The status, and what the upstream received if it answered."""
    with Connection(port) as connection:
        connection.send(data)
        reply = connection.reply()
    if reply.status != 200:
        return reply.status, None
    received: Any = reply.json()
    headers = sorted(
        (name.lower(), value)
        for name, value in received["headers"]
        if name.lower() not in NOT_COMPARED
    )
    return reply.status, (received["method"], received["target"], headers, received["body"])


Both = Callable[..., tuple[peers.Server, peers.Server]]


def test_requests(both: Both) -> None:
    with Upstream(echo) as origin:
        ours, theirs = both(CONFIG, origin=origin.port)
        wrong = []
        for data in SAME:
            mine, other = answer(ours.port, data), answer(theirs.port, data)
            if mine != other:
                wrong.append((data[:200], mine, other))
        for key, cases in STRICTER.items():
            for data in cases:
                statuses = answer(ours.port, data)[0], answer(theirs.port, data)[0]
                if statuses != (400, 200):
                    wrong.append((data[:200], *statuses, explained(key)))
        assert wrong == []


# Refused, with an answer that is mapped to nothing: what tells its length.
REFUSED = [
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD foo HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n",
    b"HEAD / HTTP/1.1\r\n\r\n",
]
EMPTY = '          local_reply_config: {body_format: {text_format_source: {inline_string: ""}}}\n'


def test_how_long_an_empty_answer_is(both: Both) -> None:
    mark = "          http_filters:\n"
    servers = both(CONFIG.replace(mark, EMPTY + mark), origin=1)
    for data in REFUSED:
        seen = []
        for server in servers:
            with Connection(server.port) as connection:
                connection.send(data)
                head, _, rest = connection.read_to_end().partition(b"\r\n\r\n")
            lines = sorted(line for line in head.split(b"\r\n") if not line.startswith(b"date"))
            seen.append((lines, rest))
        assert seen[0] == seen[1], data


RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok",
    b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 103 Go\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEXTRA",
    b"HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok",
]
# What Envoy passes on and we answer with 502.
STRICTER_RESPONSES = {
    "start-line-space": b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
    "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "bare-cr": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "four-digit-status": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
}


def replay() -> Behaviour:
    """Answers with the bytes that the target numbers."""
    every = [raw(data, close=True) for data in (*RESPONSES, *STRICTER_RESPONSES.values())]

    async def behaviour(exchange: Any) -> None:
        await every[int(exchange.request.target[1:])](exchange)

    return behaviour


def test_responses(both: Both) -> None:
    def reply(port: int, index: int) -> tuple[int, bytes]:
        with Connection(port) as connection:
            got = connection.request(f"/{index}")
        return got.status, got.body

    with Upstream(replay()) as origin:
        ours, theirs = both(CONFIG, origin=origin.port)
        wrong = []
        for index, data in enumerate(RESPONSES):
            mine, other = reply(ours.port, index), reply(theirs.port, index)
            if mine != other:
                wrong.append((data, mine, other))
        for index, key in enumerate(STRICTER_RESPONSES, len(RESPONSES)):
            statuses = reply(ours.port, index)[0], reply(theirs.port, index)[0]
            if statuses[0] != 502 or statuses[1] not in (200, 2000):
                wrong.append((STRICTER_RESPONSES[key], *statuses, explained(key)))
        assert wrong == []


def test_chunks_that_come_together(both: Both) -> None:
    """difference: joined-chunks."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n" + LAST
    with Upstream(raw(data)) as origin:
        for server, first in zip(both(CONFIG, origin=origin.port), (b"he", b"hello"), strict=True):
            with Connection(server.port) as connection:
                connection.send(get())
                assert connection.head().status == 200
                assert connection.chunk() == first
