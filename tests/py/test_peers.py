"""The fixtures themselves: peers serve, and upstreams misbehave as they say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import clients
import peers
import pytest
import upstreams
from bootstraps import bootstrap
from upstreams import Behaviour, Upstream

ENVOY = bootstrap("- {match: {prefix: /}, route: {cluster: origin}}")


def test_nginx_as_origin_and_as_proxy() -> None:
    with (
        peers.nginx_origin(b"small", files={"/a/big": b"x" * 100_000}) as origin,
        peers.nginx_proxy(origin.port) as proxy,
    ):
        assert clients.fetch(proxy.port, "/").body == b"small"
        assert clients.fetch(proxy.port, "/a/big").body == b"x" * 100_000
        assert not origin.log()


def test_envoy_forwards(envoy: Callable[..., peers.Server], echo_upstream: Upstream) -> None:
    server = envoy(ENVOY, origin=echo_upstream.port)
    reply = clients.fetch(server.port, "/a?b", headers=[("X-One", "1")], host="example.com")
    received = reply.json()
    assert received["target"] == "/a?b"
    assert ["host", "example.com"] in received["headers"]  # type: ignore[operator]
    assert reply.header("server") == "envoy"
    server.stop()
    assert server.process.returncode == 0


def test_envoy_judges_configurations(envoy: Callable[..., peers.Server]) -> None:
    envoy(ENVOY, origin=1)
    assert peers.envoy_accepts(ENVOY, origin=1)[0]
    accepted, why = peers.envoy_accepts(ENVOY.replace("stat_prefix: main", ""), origin=1)
    assert not accepted
    assert "StatPrefix" in why


def test_a_program_that_dies_says_why() -> None:
    with pytest.raises(peers.StartError, match="no_such_directive"):
        peers.nginx("no_such_directive on;")


def test_load_generators_and_curl(nginx_origin: Callable[..., peers.Server]) -> None:
    origin = nginx_origin(b"hello")
    load = clients.wrk(origin.port, connections=2, headers=[("X-One", "1")])
    assert load.requests > 0
    assert load.errors == 0
    assert 0 < load.p50_us <= load.p99_us
    assert clients.h2load(origin.port, requests=50, http1=True).requests == 50
    assert clients.curl(f"http://127.0.0.1:{origin.port}/").stdout == "hello"


def test_echo_tells_everything_it_received(echo_upstream: Upstream) -> None:
    with clients.Connection(echo_upstream.port) as connection:
        connection.send(
            b"POST /p HTTP/1.1\r\nHost: h\r\nB: 1\r\na:  2 \r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nhi\r\n0\r\nT: v\r\n\r\nGET /q HTTP/1.1\r\n\r\n"
        )
        first, second = connection.reply().json(), connection.reply().json()
    assert first["headers"] == [
        ["Host", "h"],
        ["B", "1"],
        ["a", "2"],
        ["Transfer-Encoding", "chunked"],
    ]
    assert (first["method"], first["target"], first["body"]) == ("POST", "/p", "hi")
    assert first["trailers"] == [["T", "v"]]
    assert (second["target"], second["connection"]) == ("/q", 1)


def test_chunked_upstream(upstream: Callable[[Behaviour], Upstream]) -> None:
    origin = upstream(upstreams.chunked(b"one", b"two", trailers=[("sum", "2")]))
    reply = clients.fetch(origin.port)
    assert (reply.body, reply.trailers) == (b"onetwo", [("sum", "2")])


def test_events_go_out_one_by_one(upstream: Callable[[Behaviour], Upstream]) -> None:
    origin = upstream(upstreams.events("a", "b"))
    with clients.Connection(origin.port) as connection:
        connection.send(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.head().header("content-type") == "text/event-stream"
        for message in (b"data: a\n\n", b"data: b\n\n", b""):
            connection.socket.settimeout(0.05)
            with pytest.raises(TimeoutError):
                connection.socket.recv(1)
            connection.socket.settimeout(clients.TIMEOUT_S)
            origin.release()
            got = b""
            while not got.endswith(message + b"\r\n"):
                got += connection.socket.recv(1000)


def test_failing_upstreams(upstream: Callable[[Behaviour], Upstream]) -> None:
    with pytest.raises(ConnectionResetError):
        clients.fetch(upstream(upstreams.reset).port)
    with pytest.raises(EOFError, match="9 bytes"):
        clients.fetch(upstream(upstreams.early_close(10, b"x")).port)


def test_stalled_upstream_notices_a_client_that_leaves(
    upstream: Callable[[Behaviour], Upstream],
) -> None:
    origin = upstream(upstreams.stall)
    with clients.Connection(origin.port) as connection:
        connection.send(b"GET / HTTP/1.1\r\n\r\n")
    assert origin.disconnected.wait(clients.TIMEOUT_S)
    origin.release()
    assert clients.fetch(origin.port).body == b"ok"


def test_same_text_for_both_kinds_of_configuration() -> None:
    values = {"port": 1}
    assert peers.render("a: $port\nr: 'x$'", values) == "a: 1\nr: 'x$'"
    assert peers.render({"a": "$port"}, values) == "a: 1\n"


def test_a_port_is_given_once() -> None:
    port = peers.free_port()
    assert not peers.claim(port)
    elsewhere = f"import peers; assert not peers.claim({port}); assert peers.free_port() != {port}"
    directory = Path(peers.__file__).parent
    subprocess.run([sys.executable, "-c", elsewhere], cwd=directory, check=True)
    assert not peers.claim(port)
