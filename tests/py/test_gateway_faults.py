"""The gateway on real sockets when things go wrong: limits, timeouts, clients and upstreams that
leave, signals, and bodies far larger than memory should hold."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clients
import peers
import pytest
from bootstraps import bootstrap
from upstreams import (
    Behaviour,
    Exchange,
    Upstream,
    early_close,
    echo,
    events,
    raw,
    reset,
    reset_after,
    respond,
    stall,
)
from waiting import LIMIT_S, wait_until

import meshcore

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

Start = Callable[[Behaviour], Upstream]
GIB = 1 << 30


def manager_of(config: dict[str, Any]) -> dict[str, Any]:
    listener = config["static_resources"]["listeners"][0]
    manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def route_of(config: dict[str, Any]) -> dict[str, Any]:
    route: dict[str, Any] = manager_of(config)["route_config"]["virtual_hosts"][0]["routes"][0]
    return route["route"]  # type: ignore[no-any-return]


@contextlib.contextmanager
def serving(config: dict[str, Any]) -> Iterator[tuple[meshcore.Gateway, int]]:
    with meshcore.Gateway(config, workers=1) as gateway:
        yield gateway, gateway.listeners["main"][1]


def value(gateway: meshcore.Gateway, name: str) -> int:
    return int(gateway.stats.counter(name).value)


def active(gateway: meshcore.Gateway, name: str) -> int:
    return int(gateway.stats.gauge(name).value)


def flags(gateway: meshcore.Gateway) -> dict[str, int]:
    """How often each response flag was set, but for those that were not."""
    prefix = "http.example.response_flags."
    counters = gateway.stats.snapshot().values("counter")
    return {
        name.removeprefix(prefix): number
        for name, number in counters.items()
        if name.startswith(prefix) and isinstance(number, int) and number
    }


# --- limits and timeouts --------------------------------------------------------------------------


def test_a_body_larger_than_a_filter_holds_is_413(upstream: Start) -> None:
    buffer = {
        "name": "buffer",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": 1000,
        },
    }
    with serving(proxy_to(upstream(echo).port, buffer)) as (gateway, port):
        assert clients.fetch(port, method="POST", body=b"x" * 999).status == 200
        reply = clients.fetch(port, method="POST", body=b"x" * 5000)
        assert (reply.status, reply.body) == (413, b"Payload Too Large")
        assert value(gateway, "http.example.downstream_rq_too_large") == 1


def test_a_head_larger_than_the_limit_is_431(upstream: Start) -> None:
    with serving(proxy_to(upstream(echo).port)) as (gateway, port):
        reply = clients.fetch(port, headers=[("x-big", "a" * 70_000)])
        assert (reply.status, reply.header("connection")) == (431, "close")
        reply = clients.fetch(port, headers=[(f"x-{n}", "1") for n in range(101)])
        assert reply.status == 431
        wait_until(lambda: flags(gateway) == {"DPE": 2})
        assert clients.fetch(port).status == 200


@pytest.mark.parametrize(
    ("field", "sent", "counter"),
    [
        ("request_headers_timeout", b"GET / HTTP/1.1\r\nHost: a\r\n", "header_timeout"),
        (
            "request_timeout",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
            "timeout",
        ),
        (
            "stream_idle_timeout",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
            "idle_timeout",
        ),
    ],
)
def test_a_client_that_stalls_is_408(
    field: str, sent: bytes, counter: str, upstream: Start
) -> None:
    config = proxy_to(upstream(echo).port)
    manager_of(config)[field] = "0.1s"
    with serving(config) as (gateway, port), clients.Connection(port) as connection:
        connection.send(sent)
        reply = connection.reply()
        assert (reply.status, reply.header("connection")) == (408, "close")
        assert connection.read_to_end() == b""
        assert value(gateway, f"http.example.downstream_rq_{counter}") == 1


def test_each_fault_has_its_flag(upstream: Start) -> None:
    with serving(proxy_to(peers.free_port())) as (gateway, port):
        assert clients.fetch(port).status == 503
        assert flags(gateway) == {"UF": 1}
    with serving(proxy_to(upstream(reset).port)) as (gateway, port):
        assert clients.fetch(port).status == 503
        assert flags(gateway) == {"UC": 1}
    with serving(proxy_to(upstream(raw(b"no HTTP at all\r\n\r\n")).port)) as (gateway, port):
        assert clients.fetch(port).status == 502
        assert flags(gateway) == {"UPE": 1}
    config = proxy_to(upstream(stall).port)
    route_of(config)["timeout"] = "0.1s"
    with serving(config) as (gateway, port):
        assert clients.fetch(port).status == 504
        assert flags(gateway) == {"UT": 1}
    config = proxy_to(1)
    del config["static_resources"]["clusters"][0]["load_assignment"]["endpoints"]
    with serving(config) as (gateway, port):
        assert clients.fetch(port).status == 503
        assert flags(gateway) == {"UH": 1}
    config = proxy_to(upstream(echo).port)
    manager_of(config)["route_config"]["virtual_hosts"][0]["domains"] = ["only.example"]
    with serving(config) as (gateway, port):
        assert clients.fetch(port).status == 404
        assert flags(gateway) == {"NR": 1}


def test_an_upstream_that_breaks_off_resets_the_client(upstream: Start) -> None:
    with serving(proxy_to(upstream(early_close(100, b"half")).port)) as (gateway, port):
        with pytest.raises((EOFError, ConnectionError)):
            clients.fetch(port)
        wait_until(lambda: flags(gateway) == {"UPE": 1})  # a message cut short, as in Envoy
    origin = upstream(reset_after(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"))
    with serving(proxy_to(origin.port)) as (gateway, port), clients.Connection(port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head().status == 200
        origin.release()
        assert client.read_to_end() in (b"abc", b"")


def test_a_client_that_leaves_cancels_its_request(upstream: Start) -> None:
    origin = upstream(stall)
    with serving(proxy_to(origin.port)) as (gateway, port):
        with clients.Connection(port) as connection:
            connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: origin.requests)
        assert origin.disconnected.wait(LIMIT_S)
        wait_until(lambda: flags(gateway) == {"DC": 1})
        wait_until(lambda: active(gateway, "cluster.upstream.upstream_rq_active") == 0)
        assert value(gateway, "http.example.downstream_cx_destroy_remote_active_rq") == 1


# --- whole processes ----------------------------------------------------------------------------

CONFIG = bootstrap("- {match: {prefix: /}, route: {cluster: origin, timeout: 0s}}")


def test_sigterm_lets_a_request_in_flight_finish(
    upstream: Start, meshcore_server: Callable[..., peers.Server]
) -> None:
    origin = upstream(stall)
    server = meshcore_server(CONFIG, origin=origin.port)
    with clients.Connection(server.port) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: origin.requests)
        server.process.send_signal(signal.SIGTERM)

        def refused() -> bool:
            try:
                clients.Connection(server.port, timeout=1).close()
            except OSError:
                return True
            return False

        wait_until(refused)
        assert server.process.poll() is None
        origin.release()
        reply = connection.reply()
        assert (reply.status, reply.body, reply.header("connection")) == (200, b"ok", "close")
    assert server.process.wait(LIMIT_S) == 0


def test_a_port_in_use_is_an_error_of_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = CONFIG.replace("$port", str(taken.getsockname()[1])).replace("$origin", "1")
        done = subprocess.run(
            [sys.executable, "-m", "meshcore", "run", "--config-yaml", text],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "in use" in done.stderr


def resident_kib(pid: int) -> int:
    """The most memory a process has held so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


async def swallow_then_pour(exchange: Exchange) -> None:
    """Count a large body, then answer with as large a one."""
    received = 0
    async for piece in exchange.pieces():
        received += len(piece)
    await exchange.head(200, [("content-length", str(GIB)), ("x-received", str(received))])
    block = bytes(1 << 20)
    for _ in range(GIB // len(block)):
        await exchange.write(block)


def test_a_gibibyte_each_way_in_bounded_memory(
    upstream: Start, meshcore_server: Callable[..., peers.Server]
) -> None:
    server = meshcore_server(CONFIG, origin=upstream(swallow_then_pour).port)
    before = resident_kib(server.process.pid)
    block = bytes(1 << 20)
    with clients.Connection(server.port, timeout=120) as connection:
        head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {GIB}\r\n\r\n"
        connection.send(head.encode())
        for _ in range(GIB // len(block)):
            connection.send(block)
        reply = connection.head()
        assert reply.header("x-received") == str(GIB)
        received = 0
        while received < GIB:
            piece = connection.piece(1 << 20)
            assert piece
            received += len(piece)
    assert resident_kib(server.process.pid) - before < 16 * 1024


FORKER = """
import os, sys
import meshcore
sys.path.insert(0, sys.argv[1])
from config import proxy_to
child = os.fork()
if child == 0:
    import urllib.request
    with meshcore.Gateway(proxy_to(int(sys.argv[2])), workers=2) as gateway:
        host, port = gateway.listeners["main"]
        body = urllib.request.urlopen(f"http://{host}:{port}/").read()
    os._exit(0 if body == b"ok" else 1)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_fork_between_import_and_start(upstream: Start) -> None:
    examples = str(Path(__file__).parents[2] / "examples")
    argument = str(upstream(respond(200, b"ok")).port)
    command = [sys.executable, "-W", "error", "-c", FORKER, examples, argument]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


# --- streams ------------------------------------------------------------------------------------


def test_server_sent_events_arrive_one_by_one(upstream: Start) -> None:
    origin = upstream(events("one", "two", "three"))
    with (
        serving(proxy_to(origin.port)) as (_, port),
        clients.Connection(port) as connection,
    ):
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
        assert connection.head().header("content-type") == "text/event-stream"
        for message in (b"one", b"two", b"three"):
            origin.release()
            assert connection.chunk() == b"data: " + message + b"\n\n"
        origin.release()
        assert connection.chunk() == b""


@pytest.fixture
def websocket_origin() -> Iterator[int]:
    """A real WebSocket server that sends back what it gets."""
    server_module = pytest.importorskip("websockets.sync.server")

    def answer(connection: Any) -> None:
        for message in connection:
            connection.send(message)

    with server_module.serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def test_websockets_end_to_end(websocket_origin: int) -> None:
    connect = pytest.importorskip("websockets.sync.client").connect
    config = proxy_to(websocket_origin)
    manager_of(config)["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    with serving(config) as (gateway, port):
        with connect(f"ws://127.0.0.1:{port}/chat") as client:
            for message in ("hello", b"\x00\xff" * 50_000, "", "x" * 300_000):
                client.send(message)
                assert client.recv(timeout=LIMIT_S) == message
            assert active(gateway, "http.example.downstream_cx_upgrades_active") == 1
        wait_until(lambda: active(gateway, "http.example.downstream_cx_upgrades_active") == 0)
        assert value(gateway, "http.example.downstream_cx_upgrades_total") == 1


def test_connect_reaches_a_server_that_speaks_no_http() -> None:
    config = proxy_to(1)
    manager_of(config)["route_config"]["virtual_hosts"][0]["routes"] = [
        {
            "match": {"connect_matcher": {}},
            "route": {
                "cluster": "upstream",
                "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
            },
        }
    ]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoints = config["static_resources"]["clusters"][0]["load_assignment"]["endpoints"]
        address = endpoints[0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
        address["port_value"] = listening.getsockname()[1]
        with serving(config) as (_, port), clients.Connection(port) as client:
            client.send(b"CONNECT a.example:22 HTTP/1.1\r\nHost: a.example:22\r\n\r\n")
            accepted, _ = listening.accept()
            with accepted:
                assert client.head().status == 200
                accepted.sendall(b"SSH-2.0-x\r\n")
                assert client.piece(100) == b"SSH-2.0-x\r\n"
                client.send(b"\x00\x01")
                assert accepted.recv(100) == b"\x00\x01"
            assert client.read_to_end() == b""


def listening(port: int) -> set[str]:
    """The inodes of this machine's sockets that listen on a port of IPv4."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


def test_a_port_now_asked_for_by_number_keeps_its_socket(upstream: Start) -> None:
    config = proxy_to(upstream(respond(200, b"ok")).port)
    with serving(config) as (gateway, port):
        before = listening(port)
        address = config["static_resources"]["listeners"][0]["address"]["socket_address"]
        address["port_value"] = port
        gateway.update(config)
        assert before
        assert listening(port) == before
        assert clients.fetch(port, "/").status == 200


def test_a_listener_that_goes_answers_who_has_connected(upstream: Start) -> None:
    config = proxy_to(upstream(respond(200, b"ok")).port)
    with serving(config) as (gateway, port), clients.Connection(port) as connection:
        config["static_resources"]["listeners"] = []
        gateway.update(config)
        wait_until(lambda: not listening(port))
        reply = connection.request("/")
        assert reply.status == 200
        assert reply.header("connection") == "close"
        assert connection.read_to_end() == b""
