"""One log format with every operator, written by meshcore and by real Envoy for the same requests:
the lines compared value by value."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket as stdlib_socket
import string
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import peers
import pytest
from clients import Connection
from differences import explained
from upstreams import Behaviour, Exchange, Upstream, echo, raw, reset, stall
from waiting import wait_until

import meshcore

FLUSH = ("--file-flush-interval-msec", "20")

OPERATORS = """
REQ(:METHOD) REQ(X-NONE?:PATH) REQ(X-LONG):3 REQ(X-NONE) REQ(X-EMPTY) REQUEST_HEADER(x-twice)
REQ(:AUTHORITY) REQ(HOST):3 REQ(X-NONE?HOST) REQ(:SCHEME) REQ(X-FORWARDED-PROTO) REQ(USER-AGENT)
REQ(X-UTF8) REQ(X-BYTES) REQ(X-QUOTES) RESP(:STATUS) RESP(SERVER) RESP(X-NONE)
RESPONSE_HEADER(content-type) RESP(CONTENT-LENGTH) TRAILER(x-t) RESPONSE_TRAILER(grpc-status)
REQUEST_HEADERS_BYTES RESPONSE_TRAILERS_BYTES PATH PATH(NQ) PATH(WQ:ORIG) PATH(NQ:PATH)
PATH(WQ:ORIG_OR_PATH):4 QUERY_PARAM(a) QUERY_PARAM(b):2 QUERY_PARAM(none) QUERY_PARAMS
QUERY_PARAMS(DECODED) QUERY_PARAMS(ORIG):3 GRPC_STATUS GRPC_STATUS(SNAKE_STRING)
GRPC_STATUS(NUMBER) GRPC_STATUS_NUMBER REQUESTED_SERVER_NAME REQUESTED_SERVER_NAME(SNI_FIRST)
REQUESTED_SERVER_NAME(HOST_FIRST:HOST) REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)
REQUESTED_SERVER_NAME(HOST_FIRST:ORIG_OR_HOST)
RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)
CONNECTION_TERMINATION_DETAILS RESPONSE_FLAGS RESPONSE_FLAGS_LONG CUSTOM_FLAGS LOCAL_REPLY_BODY
ACCESS_LOG_TYPE PROTOCOL UPSTREAM_PROTOCOL ROUTE_NAME VIRTUAL_CLUSTER_NAME FILTER_CHAIN_NAME
UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW TRACE_ID SPAN_ID UPSTREAM_REQUEST_ATTEMPT_COUNT
ENVIRONMENT(HOME) ENVIRONMENT(HOME):2 ENVIRONMENT(MESHCORE_NONE) HOSTNAME
BYTES_RECEIVED BYTES_SENT BYTES_RETRANSMITTED PACKETS_RETRANSMITTED
UPSTREAM_HOST UPSTREAM_HOST_NAME UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_HOSTS_ATTEMPTED
UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAMES_ATTEMPTED
UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT
UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT
UPSTREAM_REMOTE_PORT DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT
DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8) DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(0)
DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(33) DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)
UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID
UPSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_TRANSPORT_FAILURE_REASON
UPSTREAM_LOCAL_CLOSE_REASON DOWNSTREAM_LOCAL_CLOSE_REASON
UPSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_DETECTED_CLOSE_TYPE
DYNAMIC_METADATA(ns) DYNAMIC_METADATA(ns:k):3 CLUSTER_METADATA(ns) CLUSTER_METADATA(ns:text)
CLUSTER_METADATA(ns:list) CLUSTER_METADATA(ns:deep:n) UPSTREAM_METADATA(ns:k) METADATA(ROUTE:ns:k)
METADATA(CLUSTER:ns:text) METADATA(VIRTUAL_HOST:ns:k) FILTER_STATE(none) FILTER_STATE(none:PLAIN)
DOWNSTREAM_TLS_VERSION DOWNSTREAM_PEER_SUBJECT UPSTREAM_TLS_VERSION TLS_JA3_FINGERPRINT
DOWNSTREAM_TLS_GROUP DOWNSTREAM_PEER_ISSUER_SERIAL UPSTREAM_TLS_GROUP UPSTREAM_SERVER_NAME
STREAM_INFO_REQ(X-NONE?:PATH):3
DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_LOCAL_DNS_SAN
COALESCE({"operators":["ROUTE_NAME",{"command":"REQ","param":":AUTHORITY","max_length":3}]})
COALESCE({"operators":["CUSTOM_FLAGS","RESPONSE_CODE"]}) COALESCE({"operators":["PROTOCOL"]}):2
COMMON_DURATION(DS_RX_BEG:mine)
""".split()

# Values that no two runs share: whether there is one, and of what kind, must agree all the same.
CHANGING = """
REQ(X-REQUEST-ID) STREAM_ID UNIQUE_ID START_TIME START_TIME(%s) EMIT_TIME EMIT_TIME_LOCAL(%s.%3f)
DURATION REQUEST_DURATION REQUEST_TX_DURATION RESPONSE_DURATION RESPONSE_TX_DURATION
ROUNDTRIP_DURATION DOWNSTREAM_HANDSHAKE_DURATION UPSTREAM_CONNECTION_POOL_READY_DURATION
COMMON_DURATION(DS_RX_BEG:DS_RX_END:us) COMMON_DURATION(DS_RX_BEG:US_CX_BEG)
COMMON_DURATION(US_CX_BEG:US_CX_END) COMMON_DURATION(DS_RX_BEG:US_HS_END)
COMMON_DURATION(DS_RX_BEG:US_TX_BEG) COMMON_DURATION(DS_RX_BEG:US_TX_END)
COMMON_DURATION(DS_RX_BEG:US_RX_BEG) COMMON_DURATION(DS_RX_BEG:US_RX_BODY_BEG)
COMMON_DURATION(DS_RX_BEG:US_RX_END) COMMON_DURATION(DS_RX_BEG:DS_TX_BEG)
COMMON_DURATION(DS_RX_BEG:DS_TX_END:ns) CONNECTION_ID UPSTREAM_CONNECTION_ID
UPSTREAM_CONNECTION_IDS_ATTEMPTED UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_PORT
DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_PORT DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_PORT
DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_PORT RESPONSE_HEADERS_BYTES
UPSTREAM_WIRE_BYTES_SENT UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT
UPSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT DOWNSTREAM_WIRE_BYTES_RECEIVED
DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_HEADER_BYTES_RECEIVED
""".split()


def key(operator: str) -> str:
    return operator.replace('"', "'")


def formats() -> dict[str, Any]:
    tree: dict[str, Any] = {key(o): f"%{o}%" for o in (*OPERATORS, *CHANGING)}
    tree["mixed"] = "<%ROUTE_NAME%|%REQ(X-NONE)%|%RESPONSE_CODE%|%REQ(X-QUOTES)%>"
    tree["nested"] = {"z": "%PROTOCOL%", "a": ["%RESPONSE_CODE%", "%REQ(X-NONE)%", 1.5, True, None]}
    tree["none"] = {"a": "%REQ(X-NONE)%", "b": {"c": "%REQ(X-NONE)%"}, "d": ["%REQ(X-NONE)%"]}
    tree["plain"] = "100%%"
    tree["numbers"] = [0, 1, -1, 100000, 300000, 1800000, 1e21, 0.1, 1e-7, 123456.789]
    return tree


def file_log(path: str, **log_format: Any) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    typed = {"@type": kind, "path": f"$directory/{path}"}
    return {
        "name": "file",
        "typed_config": {**typed, "log_format": log_format} if log_format else typed,
    }


def socket(port: str) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, **more: Any) -> dict[str, Any]:
    endpoint = {
        "endpoint": {"address": socket(f"${name}")},
        "metadata": {"filter_metadata": {"ns": {"k": "host"}}},
    }
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **more,
    }


def route(prefix: str, **action: Any) -> dict[str, Any]:
    return {"match": {"prefix": prefix}, "name": f"route {prefix}", **action}


METADATA = {"ns": {"text": "words", "list": [1, "two", None], "deep": {"n": 2.5, "b": True}}}


def config(logs: list[dict[str, Any]], **options: Any) -> str:
    kind = "type.googleapis.com/envoy.extensions.filters.network."
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    manager = {
        "@type": f"{kind}http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "s",
        "access_log": logs,
        "http_filters": [{"name": "router", "typed_config": {"@type": router}}],
        "http_protocol_options": {"accept_http_10": True, "enable_trailers": True},
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "v",
                    "domains": ["a.com", "a.com:*", "localhost"],
                    "metadata": {"filter_metadata": {"ns": {"k": "virtual"}}},
                    "routes": [
                        route(
                            "/direct",
                            direct_response={"status": 200, "body": {"inline_string": "hi"}},
                        ),
                        route("/to", redirect={"path_redirect": "/x"}),
                        route("/stall", route={"cluster": "stalled", "timeout": "0.2s"}),
                        route("/reset", route={"cluster": "resetting"}),
                        route("/refused", route={"cluster": "refused"}),
                        route("/trailers", route={"cluster": "trailing"}),
                        route("/rewritten", route={"cluster": "echo", "prefix_rewrite": "/new"}),
                        route(
                            "/retried",
                            route={
                                "cluster": "resetting",
                                "retry_policy": {"retry_on": "reset", "num_retries": 2},
                            },
                        ),
                        {
                            **route("/", route={"cluster": "echo"}),
                            "metadata": {"filter_metadata": {"ns": {"k": "route"}}},
                        },
                    ],
                }
            ]
        },
        **options,
    }
    listener = {
        "name": "l",
        "address": socket("$port"),
        "filter_chains": [{"name": "chain", "filters": [{"name": "h", "typed_config": manager}]}],
    }
    clusters = [
        cluster("echo", alt_stat_name="alt", metadata={"filter_metadata": METADATA}),
        cluster("stalled"),
        cluster("resetting"),
        cluster("refused"),
        cluster("trailing"),
    ]
    text = json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}})
    return re.sub(r'"(\$\w+port|\$\w+)"', r"\1", text)


REQUESTS: dict[str, bytes] = {
    "plain": b"GET /plain?a=1%2B2&b=xyz&a=3 HTTP/1.1\r\nHost: a.com\r\nUser-Agent: t\r\n\r\n",
    "bare query": b"GET /plain? HTTP/1.1\r\nHost: a.com\r\nConnection: x-a\r\nX-A: 1\r\n\r\n",
    "body": b"POST /body HTTP/1.1\r\nHost: a.com:80\r\nContent-Length: 5\r\n\r\nhello",
    "head": b"HEAD /head HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "no route": b"GET / HTTP/1.1\r\nHost: other.com\r\n\r\n",
    "direct": b"GET /direct HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "redirect": b"GET /to HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "timeout": b"GET /stall HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "reset": b"GET /reset HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "retried": b"GET /retried HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "refused": b"GET /refused HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "trailers": b"GET /trailers HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "rewritten": b"GET /rewritten/a?b=1 HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "escapes": b"GET /?a=%41%20%3c%5B%7e%7f%zz%%4%42%e9%2&b=%zz%4 HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "grpc": b"POST /s/m HTTP/1.1\r\nHost: a.com\r\nContent-Type: application/grpc\r\n"
    b"Content-Length: 0\r\n\r\n",
    "grpc fails": b"POST /refused/m HTTP/1.1\r\nHost: a.com\r\nContent-Type: application/grpc\r\n"
    b"Content-Length: 0\r\n\r\n",
    "values": "GET /values HTTP/1.1\r\nHost: a.com\r\nX-Long: abcdef\r\nX-Empty:\r\n"
    'X-Twice: 1\r\nX-Twice: 2\r\nX-Utf8: \u00e9\u4e2d\r\nX-Quotes: a"b\\c\r\n\r\n'.encode(),
    "bytes": b'GET /bytes HTTP/1.1\r\nHost: a.com\r\nX-Bytes: "\xff\xfe\\ x\r\n\r\n',
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "old": b"GET /old HTTP/1.0\r\nHost: a.com\r\n\r\n",
    "odd host": b"GET / HTTP/1.1\r\nHost: a_b.com\r\n\r\n",
    "forwarded": b"GET / HTTP/1.1\r\nHost: a.com\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
}

TRAILERS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: end\r\n\r\n"


def upstream_ports(upstream: Callable[[Behaviour], Upstream]) -> dict[str, int]:
    return {
        "echo": upstream(echo).port,
        "stalled": upstream(stall).port,
        "resetting": upstream(reset).port,
        "refused": peers.free_port(),
        "trailing": upstream(raw(TRAILERS)).port,
    }


@pytest.fixture
def ports(upstream: Callable[[Behaviour], Upstream]) -> dict[str, int]:
    return upstream_ports(upstream)


@pytest.fixture
def both_logging(ports: dict[str, int]) -> Iterator[Callable[[str], list[peers.Server]]]:
    servers: list[peers.Server] = []

    def start(text: str) -> list[peers.Server]:
        servers.append(peers.meshcore(text, args=("--concurrency", "1", *FLUSH), **ports))
        servers.append(peers.envoy(text, args=FLUSH, **ports))
        return servers

    yield start
    for server in servers:
        server.stop()


def lines_of(path: Path, count: int) -> list[str]:
    """The file's lines, once it has so many."""

    def lines() -> list[str]:
        return path.read_text("utf-8", "surrogateescape").splitlines() if path.exists() else []

    wait_until(lambda: len(lines()) >= count)
    return lines()


def run(server: peers.Server, names: list[str], file: str, before: int = 0) -> dict[str, str]:
    """One connection a request; the line that each wrote, behind those that were there before."""
    path = server.directory / file
    out = {}
    for index, name in enumerate(names, before):
        with Connection(server.port) as connection:
            connection.send(REQUESTS[name])
            connection.reply(REQUESTS[name].split(b" ", 1)[0].decode())
        out[name] = lines_of(path, index + 1)[index]
    return out


def kind(value: Any) -> str:
    number = isinstance(value, (int, float))
    return "none" if value in (None, "-") else "number" if number else type(value).__name__


def hide_ports(value: Any, ports: dict[str, int], server: peers.Server) -> Any:
    text = json.dumps(value)
    for name, port in (*ports.items(), ("port", server.port)):
        text = re.sub(rf"(?<!\d){port}(?!\d)", f"PORT{name}", text)
    return text


# Where we say something else than Envoy, by (operator, file; "" for all).
EXPLAINED: dict[tuple[str, str], str] = {
    (f"REQUESTED_SERVER_NAME({option})", "tries"): explained("unconnected-try-host")
    for option in ("SNI_FIRST", "HOST_FIRST:HOST", "HOST_FIRST:ORIG_OR_HOST")
}


def differences(
    name: str, mine: str, yours: str, file: str, ports: dict[str, int], both: list[peers.Server]
) -> list[str]:
    """Of two lines that tell of the same."""
    left, right = json.loads(mine), json.loads(yours)
    assert list(left) == list(right), name
    wrong = []
    for field in left:
        pair = (left[field], right[field])
        changes = field in map(key, CHANGING)
        counted = "BYTES" in field and (changes or file == "connections")
        if counted and None not in pair:  # but for the digits of a duration
            same = abs(pair[0] - pair[1]) < 4
        elif changes:
            same = kind(pair[0]) == kind(pair[1])
        else:
            hidden = [
                hide_ports(*of, ports, server) for *of, server in zip(pair, both, strict=True)
            ]
            same = hidden[0] == hidden[1]
        if not same and (field, file) not in EXPLAINED:
            wrong.append(f"{name}: {field}: ours {pair[0]!r}, theirs {pair[1]!r}")
    return wrong


def test_every_operator(
    both_logging: Callable[[str], list[peers.Server]], ports: dict[str, int]
) -> None:
    both = both_logging(config([file_log("json", json_format=formats())]))
    mine, yours = (run(server, list(REQUESTS), "json") for server in both)
    wrong = [
        each
        for name in REQUESTS
        for each in differences(name, mine[name], yours[name], "json", ports, both)
    ]
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong)


# How many records the router writes of a request's tries; of others two, their beginning and end.
TRIES = {"no route": 0, "direct": 0, "redirect": 0, "no host": 0, "odd host": 0}
TRIES |= {"retried": 6, "refused": 1, "grpc fails": 1}


def test_every_operator_in_every_kind_of_record(
    both_logging: Callable[[str], list[peers.Server]], ports: dict[str, int]
) -> None:
    text = config(
        [file_log("requests", json_format=formats())],
        access_log_options={"flush_access_log_on_new_request": True},
    )
    made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', text))
    [listener] = made["static_resources"]["listeners"]
    listener["access_log"] = [file_log("connections", json_format=formats())]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"][0]["typed_config"] |= {
        "upstream_log": [file_log("tries", json_format=formats())],
        "upstream_log_options": {"flush_upstream_log_on_upstream_stream": True},
    }
    both = both_logging(re.sub(r'"(\$\w+)"', r"\1", json.dumps(made)))
    lines: list[dict[str, list[str]]] = []
    for server in both:
        # Of the connection that showed that the server is up.
        lines_of(server.directory / "connections", 1)
        run(server, list(REQUESTS), "connections", before=1)
        counts = {
            "connections": 1 + len(REQUESTS),
            "requests": 2 * len(REQUESTS) - 1,  # the one without host is refused before it starts
            "tries": sum(TRIES.get(name, 2) for name in REQUESTS),
        }
        lines.append({f: lines_of(server.directory / f, n) for f, n in counts.items()})
    wrong = []
    for file, mine in lines[0].items():
        yours = lines[1][file]
        assert len(mine) == len(yours), file
        for index, pair in enumerate(zip(mine, yours, strict=True)):
            wrong += differences(f"{file}[{index}]", *pair, file, ports, both)
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong)


# Records that the router writes of a copy that goes there.
MIRRORS = {"echo": 2, "trailing": 2, "stalled": 2, "resetting": 2, "refused": 1}
MIRRORS |= {"nowhere": 0, "full": 1}


def mirrored_requests(name: str) -> Iterator[bytes]:
    yield f"GET /to-{name}?a=1 HTTP/1.1\r\nHost: a.com\r\nX-Long: abcdef\r\n\r\n".encode()
    head = f"POST /to-{name} HTTP/1.1\r\nHost: a.com\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield f"{head}3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n".encode()


def mirroring_config() -> str:
    text = config([file_log("requests", json_format=formats())])
    made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', text))
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    typed = manager["typed_config"]
    typed["http_filters"][0]["typed_config"] |= {
        "upstream_log": [file_log("tries", json_format=formats())],
        "upstream_log_options": {"flush_upstream_log_on_upstream_stream": True},
    }
    clusters = made["static_resources"]["clusters"]
    full = {**clusters[0], "name": "full"}
    full["circuit_breakers"] = {"thresholds": [{"max_requests": 0}]}
    clusters += [full, {"name": "nowhere", "type": "STATIC"}]
    for name in MIRRORS:
        mirror: dict[str, Any] = {"cluster": "echo", "timeout": "0.4s"}
        mirror["request_mirror_policies"] = [{"cluster": name}]
        typed["route_config"]["virtual_hosts"][0]["routes"].insert(
            0, route(f"/to-{name}", route=mirror)
        )
    return re.sub(r'"(\$\w+)"', r"\1", json.dumps(made))


def records_of_copies(server: peers.Server) -> list[str]:
    """As lines; each copy's before the next one's."""
    out: list[str] = []
    seen = 0
    for name, count in MIRRORS.items():
        for data in mirrored_requests(name):
            with Connection(server.port) as connection:
                connection.send(data)
                assert connection.reply(data.split(b" ", 1)[0].decode()).status == 200
            new = lines_of(server.directory / "tries", seen + count + 2)[seen:]
            seen += len(new)
            out += [line for line in new if "a.com-shadow" in line]
    return out


def test_records_of_mirrored_requests(
    both_logging: Callable[[str], list[peers.Server]], ports: dict[str, int]
) -> None:
    both = both_logging(mirroring_config())
    mine, yours = map(records_of_copies, both)
    assert len(mine) == len(yours) == 2 * sum(MIRRORS.values())
    wrong = []
    for index, pair in enumerate(zip(mine, yours, strict=True)):
        wrong += differences(f"copies[{index}]", *pair, "tries", ports, both)
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong)


async def bytes_back(exchange: Exchange) -> None:
    """A tunnel that returns what it gets."""
    exchange.body_read = True
    if "none" in exchange.request.target:
        await exchange.head(403, [("content-length", "0")])
        return
    if exchange.request.method == "CONNECT":
        await exchange.head(200)
    else:
        await exchange.head(101, [("connection", "Upgrade"), ("upgrade", "websocket")])
    while data := await exchange.reader.read(100):
        await exchange.write(data)
    exchange.writer.close()


async def in_two_parts(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.head(200, [("transfer-encoding", "chunked")])
    await exchange.chunk(b"begin")
    await exchange.upstream.gate()
    await exchange.chunk(b"end")
    await exchange.chunk(b"")


@pytest.fixture
def no_http() -> Iterator[int]:
    """The port of a server that returns the bytes it gets, whatever they are."""
    listening = stdlib_socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                with client:
                    while data := client.recv(100):
                        client.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(stdlib_socket.SHUT_RDWR)
    listening.close()
    thread.join()


def upgrade(target: str) -> bytes:
    head = f"GET {target} HTTP/1.1\r\nHost: a.com\r\nConnection: Upgrade\r\n"
    return f"{head}Upgrade: websocket\r\n\r\n".encode()


def connect(host: str) -> bytes:
    return f"CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n".encode()


LASTING = {
    "websocket": upgrade("/tunnel"),
    "refused websocket": upgrade("/tunnel/none"),
    "websocket nowhere": upgrade("/refused"),
    "connect ends here": connect("here.com"),
    "connect goes on": connect("on.com"),
    "connect without route": connect("a.com"),
    "slow": b"GET /slow HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "slow post": b"POST /slow HTTP/1.1\r\nHost: a.com\r\nContent-Length: 3\r\n\r\nabc",
}
FILES = ("requests", "tries", "connections")


def test_each_leg_of_an_internal_redirect_is_a_new_request(
    both_logging: Callable[[str], list[peers.Server]],
    ports: dict[str, int],
    upstream: Callable[[Behaviour], Upstream],
) -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: http://a.com/direct\r\ncontent-length: 0\r\n\r\n"
    ports["trailing"] = upstream(raw(moved)).port
    line = {"inline_string": "%ACCESS_LOG_TYPE% %REQ(:PATH)% %RESPONSE_CODE% %ROUTE_NAME%\n"}
    text = config(
        [file_log("requests", text_format_source=line)],
        access_log_options={"flush_access_log_on_new_request": True},
    )
    made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', text))
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    routes = manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]
    [leading] = [each for each in routes if each["match"]["prefix"] == "/trailers"]
    leading["route"]["internal_redirect_policy"] = {}
    lines = []
    for server in both_logging(re.sub(r'"(\$\w+)"', r"\1", json.dumps(made))):
        with Connection(server.port) as connection:
            assert connection.request("/trailers", host="a.com").body == b"hi"
        lines.append(lines_of(server.directory / "requests", 4))
    assert lines[0] == lines[1]
    assert [each.split()[0] for each in lines[0]] == ["DownstreamStart", "DownstreamEnd"] * 2


ODD_ENDINGS: dict[str, bytes] = {
    "redirected": b"GET /trailers HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "redirected with a body": b"POST /trailers HTTP/1.1\r\nHost: a.com\r\n"
    b"Content-Length: 3\r\n\r\nabc",
    "nothing happens": b"GET /idle HTTP/1.1\r\nHost: a.com\r\n\r\n",
    "expectant": b"POST /body HTTP/1.1\r\nHost: a.com\r\nExpect: 100-continue\r\n"
    b"Content-Length: 3\r\n\r\nabc",
    "trailers": b"POST /body HTTP/1.1\r\nHost: a.com\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n",
    "not UTF-8": b'GET /bytes HTTP/1.1\r\nHost: a.com\r\nX-Bytes: a\xff\xfe"\\\r\n\r\n',
}


def test_odd_endings(
    both_logging: Callable[[str], list[peers.Server]],
    ports: dict[str, int],
    upstream: Callable[[Behaviour], Upstream],
) -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: http://a.com/plain\r\ncontent-length: 0\r\n\r\n"
    ports["trailing"] = upstream(raw(moved)).port
    options = {"flush_access_log_on_new_request": True}
    text = config(
        [file_log("requests", json_format=formats())],
        access_log_options=options,
        stream_idle_timeout="0.5s",
    )
    made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', text))
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    typed = manager["typed_config"]
    kind = "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config"
    rule = {"header": "x-bytes", "on_header_present": {"metadata_namespace": "ns", "key": "k"}}
    to_metadata = {"@type": kind, "request_rules": [rule]}
    typed["http_filters"].insert(0, {"name": "metadata", "typed_config": to_metadata})
    typed["http_filters"][-1]["typed_config"] |= {
        "upstream_log": [file_log("tries", json_format=formats())],
        "upstream_log_options": {"flush_upstream_log_on_upstream_stream": True},
    }
    routes = typed["route_config"]["virtual_hosts"][0]["routes"]
    [leading] = [each for each in routes if each["match"]["prefix"] == "/trailers"]
    leading["route"]["internal_redirect_policy"] = {}
    routes.insert(0, route("/idle", route={"cluster": "stalled", "timeout": "0s"}))
    both = both_logging(re.sub(r'"(\$\w+)"', r"\1", json.dumps(made)))
    found: list[dict[str, list[str]]] = []
    for server in both:
        seen = {"requests": 0, "tries": 0}
        for name, data in ODD_ENDINGS.items():
            with Connection(server.port) as connection:
                connection.send(data)
                assert connection.reply().status in (200, 504)
            for file in seen:
                seen[file] += 4 if "redirected" in name else 2
                lines_of(server.directory / file, seen[file])
        found.append({file: lines_of(server.directory / file, n) for file, n in seen.items()})
    wrong = []
    for file, mine in found[0].items():
        for index, pair in enumerate(zip(mine, found[1][file], strict=True)):
            wrong += differences(f"{file}[{index}]", *pair, file, ports, both)
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong)


def connect_route(host: str, name: str, **action: Any) -> dict[str, Any]:
    only = {"name": ":authority", "string_match": {"prefix": host}}
    return {"match": {"connect_matcher": {}, "headers": [only]}, "name": name, "route": action}


def lasting_config() -> str:
    options = {
        "access_log_flush_interval": "0.3s",
        "flush_access_log_on_new_request": True,
        "flush_log_on_tunnel_successfully_established": True,
    }
    upgrades = [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]
    logs = {name: [file_log(name, json_format=formats())] for name in FILES}
    text = config(logs["requests"], access_log_options=options, upgrade_configs=upgrades)
    made: dict[str, Any] = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', text))
    [listener] = made["static_resources"]["listeners"]
    listener["access_log"] = logs["connections"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"][0]["typed_config"] |= {
        "upstream_log": logs["tries"],
        "upstream_log_options": {
            "flush_upstream_log_on_upstream_stream": True,
            "upstream_log_flush_interval": "0.3s",
        },
    }
    [host] = manager["route_config"]["virtual_hosts"]
    host["domains"] += ["here.com:*", "on.com:*"]
    ends = [{"upgrade_type": "CONNECT", "connect_config": {}}]
    host["routes"] = [
        connect_route("here", "ends", cluster="resetting", upgrade_configs=ends),
        connect_route("on", "goes on", cluster="stalled"),
        route("/tunnel", route={"cluster": "stalled"}),
        route("/slow", route={"cluster": "trailing"}),
        *host["routes"],
    ]
    return re.sub(r'"(\$\w+)"', r"\1", json.dumps(made))


def records(server: peers.Server, file: str) -> list[dict[str, Any]]:
    path = server.directory / file
    text = path.read_text("utf-8", "surrogateescape") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def one_more_of_each(server: peers.Server, count: dict[str, int]) -> None:
    """Until each of two logs has told of what lasts, once more than it had."""
    before = {file: len(records(server, file)) for file in count}
    wait_until(lambda: all(len(records(server, f)) > n + 1 for f, n in before.items()))


def lasting_records(
    server: peers.Server, data: bytes, slowly: Upstream
) -> dict[str, dict[str, dict[str, Any]]]:
    """The last record of each type, by file."""
    start = {file: len(records(server, file)) for file in FILES}
    method = data.split(b" ", 1)[0].decode()
    with Connection(server.port) as connection:
        connection.send(data)
        if b"/slow" in data:
            connection.head()
            connection.chunk()
            one_more_of_each(server, {"requests": 0, "tries": 0})
            slowly.release()
            while connection.chunk():
                pass
        elif connection.reply(method).status == (200 if method == "CONNECT" else 101):
            connection.send(b"hello")
            told = b""
            while len(told) < 5:
                told += connection.piece(5 - len(told))
            one_more_of_each(server, {"requests": 0, "tries": 0})

    def new_records() -> dict[str, list[dict[str, Any]]]:
        return {file: records(server, file)[start[file] :] for file in FILES}

    def complete() -> bool:
        types = {f: [one["ACCESS_LOG_TYPE"] for one in each] for f, each in new_records().items()}
        routed = b"CONNECT a.com" not in data
        ended = "DownstreamEnd" in types["requests"] and "NotSet" in types["connections"]
        return ended and ("UpstreamEnd" in types["tries"] or not routed)

    wait_until(complete)
    new = new_records()
    return {file: {one["ACCESS_LOG_TYPE"]: one for one in each} for file, each in new.items()}


def test_records_of_what_lasts(
    upstream: Callable[[Behaviour], Upstream],
    no_http: int,
    both_logging: Callable[[str], list[peers.Server]],
    ports: dict[str, int],
) -> None:
    slowly = upstream(in_two_parts)
    ports |= {
        "stalled": upstream(bytes_back).port,
        "trailing": slowly.port,
        "resetting": no_http,
    }
    both = both_logging(lasting_config())
    wrong = []
    for name, data in LASTING.items():
        ours, theirs = (lasting_records(server, data, slowly) for server in both)
        assert {f: list(each) for f, each in ours.items()} == {
            f: list(each) for f, each in theirs.items()
        }, name
        for file in FILES:
            for kind_, mine in ours[file].items():
                pair = (json.dumps(mine), json.dumps(theirs[file][kind_]))
                wrong += differences(f"{name}: {file}: {kind_}", *pair, file, ports, both)
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong)


def test_text_and_default_format(
    both_logging: Callable[[str], list[peers.Server]], ports: dict[str, int]
) -> None:
    text = "|".join(f"%{o}%" for o in OPERATORS) + "\n"
    logs = [
        file_log("text", text_format_source={"inline_string": text}),
        file_log("short", text_format_source={"inline_string": text}, omit_empty_values=True),
        file_log("default"),
    ]
    ours, theirs = both_logging(config(logs))
    names = list(REQUESTS)
    for server in (ours, theirs):
        run(server, names, "text")
    for file in ("text", "short"):
        mine, yours = (kept(server, names, file) for server in (ours, theirs))
        for name in names:
            left = hide_ports(mine[name].split("|"), ports, ours)
            right = hide_ports(yours[name].split("|"), ports, theirs)
            assert json.loads(left) == json.loads(right), (file, name)
    mine, yours = (kept(server, names, "default") for server in (ours, theirs))
    for name in names:
        assert steady_default(mine[name], ports, ours) == steady_default(
            yours[name], ports, theirs
        ), name


WITHOUT_QUERY = """
REQ_WITHOUT_QUERY(:PATH) REQ_WITHOUT_QUERY(X-NONE?:PATH) REQ_WITHOUT_QUERY(:PATH):3
REQ_WITHOUT_QUERY REQ_WITHOUT_QUERY() REQ_WITHOUT_QUERY(X-NONE) REQ_WITHOUT_QUERY(USER-AGENT)
METADATA(ROUTE:ns:k)
""".split()


def test_formatters(
    both_logging: Callable[[str], list[peers.Server]], ports: dict[str, int]
) -> None:
    kind = "type.googleapis.com/envoy.extensions.formatter"
    formatters = [
        {"name": "q", "typed_config": {"@type": f"{kind}.req_without_query.v3.ReqWithoutQuery"}},
        {"name": "m", "typed_config": {"@type": f"{kind}.metadata.v3.Metadata"}},
    ]
    tree = {o: f"%{o}%" for o in WITHOUT_QUERY} | {"all": [f"<%{o}%>" for o in WITHOUT_QUERY]}
    text = " ".join(tree["all"]) + "\n"
    logs = [
        file_log("json", json_format=tree, formatters=formatters),
        file_log("text", text_format_source={"inline_string": text}, formatters=formatters),
    ]
    names = ["plain", "values", "rewritten"]
    ours, theirs = both_logging(config(logs))
    for file in ("json", "text"):
        mine, yours = (kept_of(server, names, file) for server in (ours, theirs))
        assert mine == yours


def kept_of(server: peers.Server, names: list[str], file: str) -> list[str]:
    path = server.directory / file
    if not path.exists() or not path.stat().st_size:
        run(server, names, file)
    return lines_of(path, len(names))


def kept(server: peers.Server, names: list[str], file: str) -> dict[str, str]:
    return dict(zip(names, lines_of(server.directory / file, len(names)), strict=True))


def steady_default(line: str, ports: dict[str, int], server: peers.Server) -> str:
    line = re.sub(r"^\[[^]]*\]", "[time]", line)
    line = re.sub(r"(\S+ \d+ \d+) \d+ (\S+) ", r"\1 DURATION TIME ", line)
    line = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "id", line)
    return str(hide_ports(line, ports, server))


VALUES = {
    "text": "text",
    "empty": "",
    "odd": 'a"b\\c\n\té',
    "percent": "100%",
    "null": None,
    "number": 1.5,
    "integer": 3,
    "big": 1e21,
    "negative": -2.25,
    "small": 1e-7,
    "true": True,
    "false": False,
    "list": [1, "two", None, [True]],
    "none": {},
    "no": [],
    "object": {"k": {"d": "deep"}, "n": 7},
    "objects": [{"a": 1}],
}
PLACES = ["ns", *(f"ns:{name}" for name in VALUES), "ns:object:k:d", "ns:text:x", "x", "ns:x"]
OF_PLACES = [
    "DYNAMIC_METADATA({0})",
    *(f"DYNAMIC_METADATA({{0}}):{length}" for length in range(6)),
    "METADATA(DYNAMIC:{0}):4",
    "METADATA(DYNAMIC:{0}):2",
]
KINDS = ["LISTENER", "LISTENER_FILTER_CHAIN", "VIRTUAL_HOST", "ROUTE", "CLUSTER", "UPSTREAM_HOST"]
CHOICES = [
    ["empty", "text"],
    ["empty", "number"],
    ["null", "list"],
    ["x", "object"],
    ["x", "false"],
]


def metadata_operators() -> list[str]:
    operators = [each.format(place) for place in PLACES for each in OF_PLACES]
    operators += [f"METADATA({kind}:ns{key})" for kind in KINDS for key in ("", ":k", ":text")]
    for names in CHOICES:
        listed = [{"command": "DYNAMIC_METADATA", "param": f"ns:{name}"} for name in names]
        coalesce = f"COALESCE({json.dumps({'operators': listed}, separators=(',', ':'))})"
        operators += [coalesce, f"{coalesce}:4"]
    for name in ("text", "odd", "null", "integer", "percent", "object", "list", "big", "false"):
        for most in (1, 2, 9):
            choice = {"command": "DYNAMIC_METADATA", "param": f"ns:{name}", "max_length": most}
            of_one = json.dumps({"operators": [choice, "PROTOCOL"]}, separators=(",", ":"))
            operators += [f"COALESCE({of_one})", f"COALESCE({of_one}):3"]
    return operators


def test_values_of_metadata(
    both_logging: Callable[[str], list[peers.Server]], ports: dict[str, int]
) -> None:
    operators = metadata_operators()
    tree = {
        "single": {key(o): f"%{o}%" for o in operators},
        "mixed": {key(o): f"<%{o}%>" for o in operators},
    }
    text = "|".join(f"%{o}%" for o in operators) + "\n"
    logs = [
        file_log("json", json_format=tree),
        file_log("text", text_format_source={"inline_string": text}),
    ]
    made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', config(logs)))
    [listener] = made["static_resources"]["listeners"]
    [chain] = listener["filter_chains"]
    for message, name in ((listener, "listener"), (chain, "chain")):
        message["metadata"] = {"filter_metadata": {"ns": {"k": name}}}
    type_url = "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config"
    entry = {"metadata_namespace": "ns", "value": VALUES}
    chain["filters"][0]["typed_config"]["http_filters"].insert(
        0, {"name": "set", "typed_config": {"@type": type_url, "metadata": [entry]}}
    )
    both = both_logging(re.sub(r'"(\$\w+)"', r"\1", json.dumps(made)))
    ours, theirs = (
        (run(server, ["plain"], "json")["plain"], *lines_of(server.directory / "text", 1))
        for server in both
    )
    for part in tree:
        left, right = json.loads(ours[0])[part], json.loads(theirs[0])[part]
        assert left == right, part
        assert list(map(repr, left.values())) == list(map(repr, right.values())), part
    assert ours[0] == theirs[0]
    assert ours[1].split("|") == theirs[1].split("|")


def compared(op: str, value: int, runtime_key: str) -> dict[str, Any]:
    found = {"default_value": value, "runtime_key": runtime_key}
    return {"status_code_filter": {"comparison": {"op": op, "value": found}}}


def header(**matcher: Any) -> dict[str, Any]:
    return {"header_filter": {"header": matcher}}


def metadata(path: str, invert: bool, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    place = {"filter": "ns", "path": [{"key": each} for each in path.split()]}
    return {"metadata_filter": {"matcher": {**place, "value": value, "invert": invert}, **more}}


def log_filters() -> list[dict[str, Any]]:
    ops, keys = ("EQ", "GE", "LE", "NE"), ("none", "two", "bad", "fraction", "text")
    made = [compared(op, value, key) for op in ops for value in (0, 200) for key in keys]
    made += [{name: {}} for name in ("traceable_filter", "response_flag_filter")]
    made += [
        {"response_flag_filter": {"flags": [flag]}} for flag in ("NR", "UF", "URX", "DC", "UT")
    ]
    for statuses in ([], ["OK"], ["UNKNOWN"], ["UNAVAILABLE", "NOT_FOUND"], ["CANCELED"]):
        for exclude in (False, True):
            made.append({"grpc_status_filter": {"statuses": statuses, "exclude": exclude}})
    for percent in ({}, {"numerator": 50}, {"numerator": 3, "denominator": "TEN_THOUSAND"}):
        for key in ("none", "two", "object", "fraction", "many"):
            sampled = {"percent_sampled": percent} if percent else {}
            made.append({"runtime_filter": {"runtime_key": key, **sampled}})
    made += [
        header(name="x-h"),
        header(name="x-h", string_match={"exact": "v"}, invert_match=True),
        header(name="X-H", string_match={"contains": "V", "ignore_case": True}),
        header(name="x-h", string_match={"exact": ""}, treat_missing_header_as_empty=True),
        header(name="host", string_match={"prefix": "a."}),
        header(name="x-n", range_match={"start": 1, "end": 5}),
    ]
    for types in ([], ["DownstreamEnd"], ["DownstreamStart", "NotSet"]):
        for exclude in (False, True):
            made.append({"log_type_filter": {"types": types, "exclude": exclude}})
    values: list[tuple[str, dict[str, Any]]] = [
        ("text", {"string_match": {"exact": "text"}}),
        ("number", {"double_match": {"exact": 1.5}}),
        ("object k d", {"string_match": {"prefix": "de"}}),
        ("list", {"list_match": {"one_of": {"string_match": {"exact": "two"}}}}),
        ("x", {"present_match": False}),
        ("null", {"null_match": {}}),
    ]
    for path, value in values:
        for more in ({}, {"match_if_key_not_found": False}):
            made += [metadata(path, invert, value, **more) for invert in (False, True)]
    return [*made, {"metadata_filter": {}}]


RUNTIME = {
    "two": 2,
    "bad": "x",
    "fraction": 200.7,
    "text": "404.2",
    "many": 20000,
    "object": {"numerator": 2, "denominator": "TEN_THOUSAND"},
}
ASKED = ["/echo", "/direct", "/none", "/refused", "/retried", "/stall", "/trailers"]
IDS = ["00000001", "00000031", "00000032", "00002711", "0003d090"]
REASONS = ["4000", "9000", "a000", "b000"]


def test_filters_choose_alike(
    both_logging: Callable[[str], list[peers.Server]], ports: dict[str, int]
) -> None:
    asked = [(path, "00000001-0000-4000") for path in ASKED]
    asked += [("/direct", f"{first}-0000-4000") for first in IDS]
    asked += [("/direct", f"00000001-0000-{reason}") for reason in REASONS]
    filters = log_filters()
    chosen = 0
    line = {"inline_string": "%REQ(X-N)% %ACCESS_LOG_TYPE%\n"}
    wrong = []
    for start in range(0, len(filters), 60):
        part = filters[start : start + 60]
        logs = [
            {**file_log(str(index), text_format_source=line), "filter": each}
            for index, each in enumerate(part)
        ]
        options = {"flush_access_log_on_new_request": True}
        text = config(
            [*logs, file_log("all", text_format_source=line)],
            preserve_external_request_id=True,
            access_log_options=options,
        )
        made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', text))
        [listener] = made["static_resources"]["listeners"]
        type_url = "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config"
        entry = {"metadata_namespace": "ns", "value": VALUES}
        listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"].insert(
            0, {"name": "set", "typed_config": {"@type": type_url, "metadata": [entry]}}
        )
        made["layered_runtime"] = {"layers": [{"name": "static", "static_layer": RUNTIME}]}
        both = both_logging(re.sub(r'"(\$\w+)"', r"\1", json.dumps(made)))[-2:]
        for server in both:
            for number, (path, identity) in enumerate(asked):
                grpc = "Content-Type: application/grpc\r\n" if number % 2 else ""
                with Connection(server.port) as connection:
                    connection.send(
                        f"GET {path} HTTP/1.1\r\nHost: {'b' if path == '/none' else 'a'}.com\r\n"
                        f"X-N: {number}\r\nX-H: {'vV'[number % 2]}\r\n{grpc}"
                        f"X-Request-Id: {identity}-8000-000000000000\r\n\r\n".encode()
                    )
                    connection.reply("GET")
            lines_of(server.directory / "all", 2 * len(asked))
            server.terminate()  # what is not written yet is written then
        for index, each in enumerate(part):
            ours, theirs = ((server.directory / str(index)).read_text() for server in both)
            chosen += len(ours)
            if ours != theirs:
                wrong.append(f"{each}: ours {ours.split()}, theirs {theirs.split()}")
    assert chosen
    assert not wrong, f"{len(wrong)} of {len(filters)} differ\n" + "\n".join(wrong)


# Conversions, ours and strftime's, and what only looks like one. Not more than 14 digits of a
# second: those Envoy takes from its cache, whatever the time.
CONVERSIONS = [
    f"%{modifier}{letter}"
    for letter in (*string.ascii_letters.replace("n", ""), "%", "+", "*", ":")
    for modifier in ("", "E", "O", "-", "_", "0", "^", "#", ":", "::", ":::", "E*", "E3", "E4")
]
WIDTHS = [f"%{n}{letter}" for n in (1, 3, 9, 10, 12, 70, "_5", "-5") for letter in "dYHzfsTaZpjN"]
BETWEEN = [
    "%",
    "%%",
    "%%s",
    "%%f",
    "%%3f",
    "%%%Y",
    "text",
    "-",
    "E",
    "%f.%3f",
    "%s%s",
    "%E14S",
    "%-",
    "%4%F",
    "%O%T",
    "%70f%F%T",
]


def time_formats() -> list[str]:
    draw = random.Random(20261121)
    pieces = [*CONVERSIONS, *WIDTHS, *BETWEEN]
    mixed = ["".join(draw.choices(pieces, k=draw.randint(2, 5))) for _ in range(600)]
    return list(dict.fromkeys([*pieces, *mixed]))


def test_times_are_written_alike() -> None:
    """Envoy tells the time of one request in every format; so do we, given the nanoseconds."""
    formats = time_formats()
    tree = {str(index): f"%START_TIME({each})%" for index, each in enumerate(formats)}
    text = config([file_log("json", json_format={**tree, "now": "%START_TIME(%s%9f)%"})])
    unused = dict.fromkeys(("echo", "stalled", "resetting", "refused", "trailing"), 1)
    with peers.envoy(text, args=FLUSH, **unused) as server:
        line = json.loads(run(server, ["direct"], "json")["direct"])
    context = {"start_time": Fraction(int(line["now"]), 10**9)}
    wrong = [
        f"{each!r}: ours {ours!r}, theirs {line[str(index)]!r}"
        for index, each in enumerate(formats)
        if (ours := meshcore.Formatter(tree[str(index)]).format(context)) != line[str(index)]
    ]
    assert not wrong, f"{len(wrong)} of {len(formats)} differ\n" + "\n".join(wrong)


COMMANDS = """
REQ RESP TRAILER START_TIME EMIT_TIME_LOCAL DURATION PROTOCOL RESPONSE_CODE_DETAILS COMMON_DURATION
DYNAMIC_METADATA CLUSTER_METADATA UPSTREAM_METADATA METADATA FILTER_STATE UPSTREAM_FILTER_STATE
PATH QUERY_PARAM QUERY_PARAMS GRPC_STATUS GRPC_STATUS_NUMBER REQUESTED_SERVER_NAME ENVIRONMENT
DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_PEER_CERT_V_START HOSTNAME STREAM_ID UNIQUE_ID
UPSTREAM_SERVER_NAME UPSTREAM_TLS_GROUP REQ_WITHOUT_QUERY
UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SERIAL nope NOPE A_1
""".split()
PLAIN_ARGUMENTS = """
x A?B a?b?c ?x x? :path a:b a:b:c DYNAMIC:a:b ROUTE:a UPSTREAM_HOST:a LISTENER:a k:PLAIN k:FIELD
k:FIELD:f k:PLAIN:f k: :k WQ NQ:PATH WQ:x WQ:ORIG:x ORIG DECODED CAMEL_STRING NUMBER SNI_ONLY
SNI_FIRST:ORIG HOST_FIRST:x DS_RX_BEG:DS_RX_END:us a:b:h : %Y %n %-3En 24 x)y a(b ( [1] ["a","b"]
ALLOW_WHITESPACES \u00e9
""".split()
ARGUMENTS = [*PLAIN_ARGUMENTS, "", "a b", "a\nb"]
LENGTHS = ["", "", "", ":5", ":", ":0", ":-1", ":99999999999999999999", ":5:6", " :5"]
LITERALS = [
    *("%", "%%", "%%%", "%REQ", "%REQ(", "%REQ(a)", "%REQ(a)%%", "%%REQ(a)%", "% REQ(a)%", "a%"),
    *("%REQ (a)%", "%PROTOCOL%%PROTOCOL%", "%PROTOCOL%%%PROTOCOL%%", "%:5%", "%()%", "%_%", "%\n%"),
    *("%REQ(a)b)%", "%START_TIME(%Y)abc)%", "%REQ(a)% %", "100%", "%REQ(X-%A)%", "%REQ(a)%\n"),
]


def written_formats() -> list[str]:
    draw = random.Random(20261121)
    made = [
        f"%{command}({argument}){draw.choice(LENGTHS)}%"
        for command in COMMANDS
        for argument in ARGUMENTS
        if draw.random() < 0.6
    ]
    bare = [f"%{command}{length}%" for command in COMMANDS for length in ("", ":5")]
    return [*made, *bare, *LITERALS]


def port_only(listener: dict[str, Any]) -> dict[str, Any]:
    """A listener that answers nothing, for who waits for one."""
    copy: dict[str, Any] = json.loads(json.dumps(listener))
    copy["filter_chains"][0]["filters"][0]["typed_config"]["route_config"] = {}
    return copy


def test_the_same_formats_are_refused(tmp_path: Path) -> None:
    """A listener for each format, in one file that Envoy watches: it says which it refuses."""
    formats = written_formats()
    text = json.loads(re.sub(r"\$\w+", "1", config([])))
    base = text["static_resources"]["listeners"][0]
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    resources = []
    for index, each in enumerate(formats):
        listener = port_only(base)
        log = file_log("x", text_format_source={"inline_string": each})
        log["typed_config"]["path"] = "/dev/null"
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["access_log"] = [log]
        listener["name"], listener["bind_to_port"] = f"l{index}", False
        listener["address"] = socket(1024 + index)  # type: ignore[arg-type]
        resources.append({"@type": kind, **listener})
    lds = tmp_path / "lds.json"
    lds.write_text(json.dumps({"version_info": "1", "resources": resources}))
    source = {"path_config_source": {"path": str(lds)}, "resource_api_version": "V3"}
    bootstrap = {
        "node": {"id": "n", "cluster": "c"},
        "dynamic_resources": {"lds_config": source},
        "static_resources": {"listeners": [{**port_only(base), "address": socket("$port")}]},
        "admin": {"address": socket("$admin_port")},
    }
    rendered = re.sub(r'"(\$\w*port)"', r"\1", json.dumps(bootstrap))
    with peers.envoy(rendered) as server:
        refused = set(re.findall(r"lds: listener 'l(\d+)' config rejected", server.log()))
    wrong = []
    for index, each in enumerate(formats):
        try:
            meshcore.Formatter(each)
            ours = "taken"
        except meshcore.ConfigError as error:
            ours = error.reason
        if (ours != "taken") != (str(index) in refused):
            wrong.append(f"{each!r}: {ours}")
    assert refused
    assert not wrong, f"{len(wrong)} of {len(formats)} differ\n" + "\n".join(wrong)


# Without the sizes of headers, which grow with what is added.
IN_HEADERS = [o for o in OPERATORS if "BYTES" not in o and "CONTENT-LENGTH" not in o]


def added_headers(prefix: str) -> list[dict[str, Any]]:
    return [
        {
            "header": {"key": f"{prefix}{index}", "value": f"<%{each}%>"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
        for index, each in enumerate(IN_HEADERS)
    ]


def test_every_operator_in_headers(
    both_logging: Callable[[str], list[peers.Server]], ports: dict[str, int]
) -> None:
    """Operators are evaluated while the request is on its way, and when it is answered."""
    made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', config([])))
    [listener] = made["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    [host] = manager["route_config"]["virtual_hosts"]
    host["request_headers_to_add"] = added_headers("x-asked-")
    host["response_headers_to_add"] = added_headers("x-answered-")
    tree = {key(o): f"<%{o}%>" for o in IN_HEADERS}
    manager["local_reply_config"] = {"body_format": {"json_format": tree}}
    seen = []
    for server in both_logging(re.sub(r'"(\$\w+)"', r"\1", json.dumps(made))):
        for data in REQUESTS.values():
            with Connection(server.port) as connection:
                connection.send(data)
                reply = connection.reply(data.split(b" ", 1)[0].decode())
            body = json.loads(reply.body) if reply.body.startswith(b"{") else {}
            pairs = [*reply.headers, *body.get("headers", [])]
            told = {name: value for name, value in pairs if name.startswith(("x-asked", "x-answ"))}
            told |= body if "headers" not in body else {}
            seen.append(json.loads(hide_ports(told, ports, server)))
    wrong = []
    half = len(REQUESTS)
    for name, mine, yours in zip(REQUESTS, seen[:half], seen[half:], strict=True):
        for field in sorted(mine.keys() | yours.keys()):
            left, right = mine.get(field), yours.get(field)
            if left != right:
                number = re.search(r"\d+$", field)
                operator = IN_HEADERS[int(number[0])] if field.startswith("x-") and number else ""
                wrong.append(f"{name}: {field} {operator}: ours {left!r}, theirs {right!r}")
    assert any(seen)
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong)
