"""What active checks ask, and what they make of answers: meshcore beside real Envoy."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import peers
import pytest
from bootstraps import bootstrap
from upstreams import Behaviour, Exchange, Upstream, respond
from waiting import wait_until

Start = Callable[[Behaviour], Upstream]
Make = Callable[..., peers.Server]

CONFIG = bootstrap(
    "- {match: {prefix: /}, direct_response: {status: 200}}",
    "$clusters",
    top=peers.ADMIN + "\nnode: {id: node1, cluster: checks}",
)


def cluster(name: str, port: int, check: dict[str, Any]) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    entry = {
        "endpoint": {"address": address, "hostname": "ep.example"},
        "metadata": {"filter_metadata": {"envoy.lb": {"k": "v", "n": 5}}},
    }
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [entry]}]},
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "0.15s",
                "no_traffic_interval": "0.15s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 2,
                **check,
            }
        ],
    }


# --- what is asked --------------------------------------------------------------------------------


def header(key: str, value: str, **more: Any) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, **more}


ASKED: list[dict[str, Any]] = [
    {},
    {"method": "POST"},
    {"method": "HEAD", "host": "h.example:80"},
    {"method": "PUT", "send": {"text": "6869"}},
    {"method": "PATCH", "send": {"binary": "aGk="}},
    {"method": "DELETE"},
    {"method": "OPTIONS"},
    {"method": "TRACE"},
    {
        "request_headers_to_add": [
            header("X-A", "1"),
            header("x-a", "2"),
            header("user-agent", "me"),
            header("x-b", "1", append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
            header("x-b", "3", append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
            header("x-b", "9", append_action="ADD_IF_ABSENT"),
            header("user-agent", "you", append_action="OVERWRITE_IF_EXISTS"),
            header("x-none", "you", append_action="OVERWRITE_IF_EXISTS"),
            header("x-e", ""),
            header("x-k", "", keep_empty_value=True),
        ]
    },
    {
        "request_headers_to_remove": ["user-agent", "x-none"],
        "request_headers_to_add": [
            header("x-p", "%PROTOCOL%|100%%|%UPSTREAM_HOST%|%UPSTREAM_REMOTE_ADDRESS%"),
            header("x-m", '%UPSTREAM_METADATA(["envoy.lb","k"])%|%UPSTREAM_METADATA(envoy.lb:n)%'),
            header("x-n", "%UPSTREAM_HOST_NAME%|%UPSTREAM_HOST_NAME_WITHOUT_PORT%"),
            header("x-d", "%DOWNSTREAM_REMOTE_ADDRESS%|%DOWNSTREAM_LOCAL_ADDRESS%|%REQ(:path)%"),
            header("x-r", "%RESPONSE_CODE%|%ROUTE_NAME%|%UPSTREAM_CLUSTER%|%START_TIME(%Y)%"),
        ],
    },
]


def asked_of(make: Make, upstream: Start) -> list[Any]:
    origin = upstream(respond(200, b""))
    clusters = [
        cluster(
            f"c{i}",
            origin.port,
            {"http_health_check": {"path": f"/{i}?q", **check}, "interval": "30s"},
        )
        for i, check in enumerate(ASKED)
    ]
    with make(CONFIG, clusters=json.dumps(clusters)):
        wait_until(lambda: len({r.target for r in origin.requests}) == len(ASKED))
    port = str(origin.port)
    found = {
        r.target: (r.method, [(name, value.replace(port, "PORT")) for name, value in r.headers])
        for r in origin.requests
    }
    return [found[f"/{i}?q"] for i in range(len(ASKED))]


def test_what_checks_ask(meshcore_server: Make, envoy: Make, upstream: Start) -> None:
    ours, theirs = asked_of(meshcore_server, upstream), asked_of(envoy, upstream)
    for check, mine, reference in zip(ASKED, ours, theirs, strict=True):
        assert mine == reference, check


# --- what is made of answers ----------------------------------------------------------------------


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    fields = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{fields}\r\n"
    return head.encode() + body


OK = answer()
SERVES = "x_envoy_upstream_healthchecked_cluster"
CLOSES = b""
SILENT = None
Step = bytes | tuple[bytes] | None  # in a tuple: the connection closes behind it


class Web:
    """Gives the answers of a script, the last one from then on."""

    def __init__(self, script: list[Step]) -> None:
        self.script = script
        self.asked = 0

    def next(self) -> Step:
        self.asked += 1
        return self.script[min(self.asked, len(self.script)) - 1]

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.read_body()
        step = self.next()
        if step is SILENT:
            await asyncio.sleep(30)
            return
        await exchange.write(step[0] if isinstance(step, tuple) else step)
        if isinstance(step, tuple) or step == CLOSES:
            exchange.writer.close()


class Tcp(Web):
    """The same for whatever bytes come."""

    def __init__(self, script: list[Step]) -> None:
        super().__init__(script)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(4096):
                    step = self.next()
                    connection.sendall(step[0] if isinstance(step, tuple) else step or b"")
                    if isinstance(step, tuple):
                        return
            except OSError:
                return


def http(**more: Any) -> dict[str, Any]:
    return {"http_health_check": {"path": "/ready", **more}}


def tcp(*receive: bytes, **more: Any) -> dict[str, Any]:
    wanted = [{"text": each.hex()} for each in receive]
    return {"tcp_health_check": {"send": {"text": "70"}, "receive": wanted}, **more}


def texts(*wanted: bytes) -> list[dict[str, str]]:
    return [{"text": each.hex()} for each in wanted]


SERVER_ERRORS = [{"start": 500, "end": 504}]
DEGRADED = answer(x_envoy_degraded="1")
LOCATIONS = answer(**{SERVES: "locations"})

JUDGED: dict[str, tuple[dict[str, Any], list[Step]]] = {
    "passes": (http(), [OK, answer(503), OK, OK, OK]),
    "first": (http(), [answer(503), OK, OK, OK]),
    "retriable": (http(retriable_statuses=SERVER_ERRORS), [OK, answer(503), answer(503), OK, OK]),
    "expected": (
        http(expected_statuses=[{"start": 200, "end": 300}, {"start": 418, "end": 419}]),
        [answer(204), answer(418), OK, answer(302), OK, OK],
    ),
    "degraded": (http(), [DEGRADED, OK, DEGRADED, answer(503), DEGRADED, OK, OK]),
    "degraded_again": (http(), [DEGRADED, answer(503), DEGRADED, DEGRADED, OK]),
    "exclude": (http(), [OK, answer(503, x_envoy_immediate_health_check_fail="1"), OK, OK]),
    "no_exclude": (http(), [OK, answer(200, x_envoy_immediate_health_check_fail="1"), OK, OK]),
    "closed": (http(), [OK, CLOSES, OK, CLOSES, CLOSES, OK, OK]),
    "silent": (
        {**http(), "timeout": "0.2s"},
        [OK, SILENT, OK, SILENT, SILENT, OK, OK],
    ),
    "malformed": (http(), [OK, b"bad\r\n\r\n", OK, b"bad\r\n\r\n", b"bad\r\n\r\n", OK, OK]),
    "until_close": (http(), [(b"HTTP/1.1 200 OK\r\n\r\nabc",), OK]),
    "http_10": (http(), [(b"HTTP/1.0 200 OK\r\n\r\nabc",), OK]),
    "informational": (http(), [b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK]),
    "receive": (
        http(receive=texts(b"aa", b"bb")),
        [answer(200, b"xaaybbz"), answer(200, b"bbaa"), *[answer(200, b"aabb")] * 3],
    ),
    "buffer": (
        http(receive=texts(b"aa"), response_buffer_size=4),
        [answer(200, b"xaa"), answer(200, b"xxxxaa"), *[answer(200, b"aa")] * 3],
    ),
    "bad_body_is_final": (
        http(receive=texts(b"aa"), retriable_statuses=SERVER_ERRORS),
        [answer(200, b"aa"), answer(503, b"aa"), answer(503, b"xx"), *[answer(200, b"aa")] * 3],
    ),
    "service": (
        http(service_name_matcher={"prefix": "loc"}),
        [LOCATIONS, OK, LOCATIONS, answer(**{SERVES: "x"}), answer(503), *[LOCATIONS] * 3],
    ),
    "tcp": (tcp(b"ok", timeout="0.2s"), [b"ok", b"no", b"ok", b"ok"]),
    "tcp_closes": (
        tcp(b"ok"),
        [b"ok", (b"ok",), b"ok", (b"ok",), (b"ok",), b"ok", b"ok"],
    ),
    "tcp_anew": (
        tcp(b"ok", reuse_connection=False),
        [b"ok", (b"ok",), b"ok", (b"no",), (b"ok",), b"ok", b"ok"],
    ),
    "tcp_pieces": (
        tcp(b"aa", b"bb", timeout="0.2s"),
        [b"xaaxbbx", b"bbaa", b"aabb", b"aaxxbb", b"aabb"],
    ),
}


# --- over gRPC (HC-12): what a call is answered, bytes or a status --------------------------------

SERVING = b"\x08\x01"
CALLS: dict[str, list[Any]] = {
    "health": [SERVING, b"\x08\x02", SERVING, SERVING, b"\x08\x03", SERVING, SERVING, b"", SERVING],
    "statuses": [
        SERVING,
        ("UNIMPLEMENTED", "no"),
        *[SERVING] * 2,
        ("UNAVAILABLE", "gone"),
        *[SERVING] * 2,
        ("DEADLINE_EXCEEDED", "late"),
        *[SERVING] * 2,
    ],
    "malformed": [SERVING, b"\xff\xff", *[SERVING] * 2, b"\x12\x01a\x08\x01", SERVING],
    "twice": [SERVING, b"\x08\x01\x08\x02", *[SERVING] * 2],
}


class Rpc:
    """A health service with a script; after its end it is well."""

    def __init__(self, script: list[Any]) -> None:
        import grpc

        self.script = script
        self.asked = 0
        self.codes = grpc.StatusCode
        handler = grpc.unary_unary_rpc_method_handler(self.check)
        service = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
        self.server = grpc.server(ThreadPoolExecutor(2))
        self.server.add_generic_rpc_handlers((service,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def check(self, request: bytes, context: Any) -> bytes:
        step = self.script[self.asked] if self.asked < len(self.script) else SERVING
        self.asked += 1
        if isinstance(step, bytes):
            return step
        code, text = step
        context.abort(self.codes[code], text)
        raise AssertionError


def called_by(make: Make, directory: Path, *, http2: bool) -> dict[str, Any]:
    directory.mkdir()
    servers = {name: Rpc(script) for name, script in CALLS.items()}
    clusters = []
    for name, server in servers.items():
        told = {
            "grpc_health_check": {"service_name": "orders"},
            "event_log_path": str(directory / name),
            "always_log_health_check_failures": True,
            "always_log_health_check_success": True,
            "timeout": "10s",
        }
        each = cluster(name, server.port, told)
        clusters.append({**each, **HTTP2} if http2 else each)
    with make(CONFIG, clusters=json.dumps(clusters)):
        wait_until(lambda: all(each.asked > len(each.script) for each in servers.values()))
    for server in servers.values():
        server.server.stop(None)
    return {name: kinds(directory / name)[: len(script)] for name, script in CALLS.items()}


OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2 = {  # Envoy wants it said; here the check alone speaks it
    "typed_extension_protocol_options": {
        OPTIONS: {
            "@type": f"type.googleapis.com/{OPTIONS}",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
}


def test_what_checks_make_of_calls(meshcore_server: Make, envoy: Make, tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    ours = called_by(meshcore_server, tmp_path / "ours", http2=False)
    theirs = called_by(envoy, tmp_path / "theirs", http2=True)
    for name, events in theirs.items():
        assert ours[name] == events, name


def kinds(log: Path) -> list[tuple[str, Any]]:
    """What an event log tells, without when; difference: check-event-status."""
    found = []
    for line in log.read_text().splitlines():
        event = json.loads(line)
        (kind,) = (key for key in event if key.endswith(("_event", "_host")))
        event[kind].pop("http_status_code", None)
        found.append((kind, event[kind]))
    return found


def judged_by(make: Make, upstream: Start, directory: Path) -> dict[str, Any]:
    clusters, servers = [], []
    for name, (check, script) in JUDGED.items():
        web = Tcp(script) if name.startswith("tcp") else Web(script)
        port = web.port if isinstance(web, Tcp) else upstream(web).port
        told = {
            "event_log_path": str(directory / name),
            "always_log_health_check_failures": True,
            "always_log_health_check_success": True,
        }
        servers.append(web)
        clusters.append(cluster(name, port, {**told, **check}))
    with make(CONFIG, clusters=json.dumps(clusters)):
        wait_until(lambda: all(web.asked > len(web.script) for web in servers))
    for web in servers:
        if isinstance(web, Tcp):
            web.socket.close()
    return {name: kinds(directory / name)[: len(script)] for name, (_, script) in JUDGED.items()}


def test_what_checks_make_of_answers(
    meshcore_server: Make, envoy: Make, upstream: Start, tmp_path: Path
) -> None:
    results = []
    for make, name in ((meshcore_server, "ours"), (envoy, "theirs")):
        (tmp_path / name).mkdir()
        results.append(judged_by(make, upstream, tmp_path / name))
    ours, theirs = results
    for name, events in theirs.items():
        assert ours[name] == events, name
