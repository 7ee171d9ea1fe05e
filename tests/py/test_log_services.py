"""Access logs that go to services, to a real gRPC server: the messages beside those that real Envoy
sends for the same requests, field by field (AL-7)."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import peers
import pytest
import test_access_log_envoy as log_cases
from clients import Connection
from grpc_collector import HTTP2, GrpcCollector, grpc_collector
from test_access_log_envoy import REQUESTS
from test_tracing import group
from upstreams import Behaviour, Upstream
from waiting import wait_until

import meshcore
from meshcore.config import schema

json_format = pytest.importorskip("google.protobuf.json_format")

LOGGERS = "type.googleapis.com/envoy.extensions.access_loggers."
SERVICE = {"envoy_grpc": {"cluster_name": "logs"}}
NODE = {"id": "n", "cluster": "c", "locality": {"zone": "z"}, "metadata": {"a": 1}}
TAGS: list[dict[str, Any]] = [
    {"tag": "lit", "literal": {"value": "100 %"}},
    {"tag": "lit", "literal": {"value": "second"}},
    {"tag": "agent", "request_header": {"name": "user-agent", "default_value": "none"}},
    {"tag": "empty", "request_header": {"name": "x-empty"}},
    {"tag": "home", "environment": {"name": "HOME", "default_value": "nowhere"}},
    {
        "tag": "cluster",
        "metadata": {
            "kind": {"cluster": {}},
            "metadata_key": {"key": "ns", "path": [{"key": "list"}]},
        },
    },
    {
        "tag": "host",
        "metadata": {
            "kind": {"host": {}},
            "metadata_key": {"key": "ns", "path": [{"key": "k"}]},
            "default_value": "no host",
        },
    },
    {"tag": "value", "value": "%REQ(:METHOD)% %RESPONSE_CODE%%REQ(X-NONE)%"},
]


def als(kind: str = "Http", more: dict[str, Any] | None = None, **common: Any) -> dict[str, Any]:
    base = {"log_name": "the log", "grpc_service": SERVICE, "transport_api_version": "V3"}
    return {
        "name": "als",
        "typed_config": {
            "@type": f"{LOGGERS}grpc.v3.{kind}GrpcAccessLogConfig",
            "common_config": {**base, "buffer_flush_interval": "0.05s", **common},
            **(more or {}),
        },
    }


def otel(**fields: Any) -> dict[str, Any]:
    kind = f"{LOGGERS}open_telemetry.v3.OpenTelemetryAccessLogConfig"
    return {"name": "otel", "typed_config": {"@type": kind, **fields}}


def config(logs: list[dict[str, Any]], **options: Any) -> str:
    made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', log_cases.config(logs, **options)))
    made["static_resources"]["clusters"].append({**log_cases.cluster("logs"), **HTTP2})
    made["node"] = NODE
    return re.sub(r'"(\$\w+)"', r"\1", json.dumps(made))


@pytest.fixture
def ports(upstream: Callable[[Behaviour], Upstream]) -> dict[str, int]:
    return log_cases.upstream_ports(upstream)


@pytest.fixture
def collector() -> Iterator[GrpcCollector]:
    with grpc_collector() as found:
        yield found


def parsed(name: str, body: bytes) -> dict[str, Any]:
    message = schema.message_class(name).FromString(body)
    tree: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, descriptor_pool=schema.pool()
    )
    return tree


def streamed(collector: GrpcCollector) -> list[dict[str, Any]]:
    name = "envoy.service.accesslog.v3.StreamAccessLogsMessage"
    return [parsed(name, message.body) for message in collector.messages]


def entries(collector: GrpcCollector, kind: str = "http_logs") -> list[dict[str, Any]]:
    return [one for m in streamed(collector) for one in m.get(kind, {}).get("log_entry", ())]


def ask(port: int, name: str) -> None:
    with Connection(port) as connection:
        connection.send(REQUESTS[name])
        connection.reply(REQUESTS[name].split(b" ", 1)[0].decode())


def both(text: str, values: dict[str, int]) -> Iterator[peers.Server]:
    """meshcore, then Envoy."""
    with peers.meshcore(text, **values) as server:
        yield server
    with peers.envoy(text, **values) as server:
        yield server


# What no two runs share; that it is there, and what kind of thing, must agree all the same.
CHANGING = re.compile(r"(time|duration|_bytes_|bytes$|request_id|stream_id|_bytes)")


def shape(tree: Any, name: str = "") -> Any:
    """What can be compared of a message."""
    if isinstance(tree, dict):
        return {key: shape(value, key) for key, value in sorted(tree.items())}
    if isinstance(tree, list):
        return [shape(value, name) for value in tree]
    return "some" if CHANGING.search(name) or name == "port_value" else tree


def differences(left: Any, right: Any, path: str) -> list[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        keys = sorted(left.keys() | right.keys())
        return [d for k in keys for d in differences(left.get(k), right.get(k), f"{path}.{k}")]
    return [] if left == right else [f"{path}: ours {left!r}, theirs {right!r}"]


def agree(names: Iterable[str], ours: list[Any], theirs: list[Any]) -> None:
    wrong = [
        each
        for name, mine, yours in zip(names, ours, theirs, strict=True)
        for each in differences(shape(mine), shape(yours), name)
    ]
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong)


def test_entries_as_envoy_sends_them(ports: dict[str, int], collector: GrpcCollector) -> None:
    logger = als(
        more={
            "additional_request_headers_to_log": ["x-twice", "X-Bytes", "x-none", "x-empty"],
            "additional_response_headers_to_log": ["content-type", "server", "X-Powered"],
            "additional_response_trailers_to_log": ["x-t", "x-none"],
        },
        custom_tags=TAGS,
        filter_state_objects_to_log=["none"],
    )
    found: list[list[dict[str, Any]]] = []
    for server in both(config([logger]), {**ports, "logs": collector.port}):
        for number, name in enumerate(REQUESTS, 1):
            ask(server.port, name)
            wait_until(lambda: len(entries(collector)) >= number)  # noqa: B023
        found.append(entries(collector))
        sent = streamed(collector)
        assert sent[0]["identifier"]["log_name"] == "the log"
        node = sent[0]["identifier"]["node"]
        assert {key: node[key] for key in NODE} == NODE
        assert not any("identifier" in later for later in sent[1:])
        collector.messages.clear()
    agree(REQUESTS, *found)


def test_entries_of_connections_and_of_requests_that_begin(
    ports: dict[str, int], collector: GrpcCollector
) -> None:
    """A listener's log, over both kinds of entries, and a record that is not the last of its
    request."""
    text = config([als(more={"additional_request_headers_to_log": ["host"]})])
    made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', text))
    [listener] = made["static_resources"]["listeners"]
    listener["access_log"] = [als("Tcp", log_name="connections")]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["access_log_options"] = {"flush_access_log_on_new_request": True}
    text = re.sub(r'"(\$\w+)"', r"\1", json.dumps(made))
    found = []
    for server in both(text, {**ports, "logs": collector.port}):
        wait_until(lambda: entries(collector, "tcp_logs"))  # the one that looked whether it is up
        seen = len(entries(collector, "tcp_logs"))
        ask(server.port, "body")
        wait_until(lambda: len(entries(collector, "tcp_logs")) > seen)  # noqa: B023
        wait_until(lambda: len(entries(collector)) == 2)
        found.append([*entries(collector), entries(collector, "tcp_logs")[-1]])
        collector.messages.clear()
    agree(("begin", "end", "connection"), *found)


def test_records_as_envoy_sends_them(ports: dict[str, int], collector: GrpcCollector) -> None:
    """OpenTelemetry's: a body and attributes that are trees of formats, a resource."""
    texts = ["%REQ(:METHOD)%", "%REQ(X-NONE)%", "a%%%RESPONSE_CODE%|%PROTOCOL%|%REQ(X-UTF8)%", ""]
    texts.append("%REQ_WITHOUT_QUERY(:PATH)%")
    without_query = "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery"
    inner = {"kvlist_value": {"values": [{"key": "b", "value": {"string_value": "%HOSTNAME%"}}]}}
    array = {"array_value": {"values": [{"string_value": "%ROUTE_NAME%"}, inner]}}
    logger = otel(
        grpc_service=SERVICE,
        log_name="the log",
        buffer_flush_interval="0.05s",
        body=array,
        attributes={
            "values": [
                *({"key": f"{n}", "value": {"string_value": t}} for n, t in enumerate(texts)),
                {"key": "tree", "value": inner},
                {"key": "none", "value": {"array_value": {}}},
            ]
        },
        resource_attributes={
            "values": [
                {"key": "region", "value": {"int_value": "3"}},
                {"key": "node_name", "value": {"string_value": "other"}},
            ]
        },
        custom_tags=TAGS[2:],
        filter_state_objects_to_log=["none"],
        stat_prefix="mine",
        formatters=[
            {"name": "f", "typed_config": {"@type": f"type.googleapis.com/{without_query}"}}
        ],
    )
    found: list[list[dict[str, Any]]] = []
    for server in both(config([logger]), {**ports, "logs": collector.port}):
        for number, name in enumerate(REQUESTS, 1):
            ask(server.port, name)
            wait_until(lambda: len(collector.messages) >= number)  # noqa: B023
        assert {m.method.rpartition(".")[2] for m in collector.messages} == {"LogsService/Export"}
        found.append([exported(message.body) for message in collector.messages])
        collector.messages.clear()
    agree(REQUESTS, *found)


def any_value(body: bytes) -> Any:
    """An AnyValue, as plain values."""
    tree = parsed("opentelemetry.proto.common.v1.AnyValue", body)

    def plain(value: dict[str, Any]) -> Any:
        [(kind, found)] = value.items() or [("none", None)]
        if kind == "kvlist_value":
            return {pair["key"]: plain(pair["value"]) for pair in found.get("values", ())}
        if kind == "array_value":
            return [plain(item) for item in found.get("values", ())]
        return found

    return plain(tree)


def exported(body: bytes) -> dict[str, Any]:
    """An ExportLogsServiceRequest of one record."""
    [logs] = group(body)[1]
    parts = group(logs)
    pairs = [group(pair) for pair in group(parts[1][0])[1]]
    [record] = group(parts[2][0])[2]
    fields = group(record)
    assert fields.keys() <= {1, 5, 6}
    attributes = [group(pair) for pair in fields[6]]
    return {
        "resource": [(pair[1][0].decode(), any_value(pair[2][0])) for pair in pairs],
        "time": fields[1],
        "body": any_value(fields[5][0]),
        "attributes": {pair[1][0].decode(): any_value(pair[2][0]) for pair in attributes},
    }


# --- batches --------------------------------------------------------------------------------------


@pytest.fixture
def gateway(
    ports: dict[str, int], collector: GrpcCollector
) -> Iterator[Callable[..., meshcore.Gateway]]:
    """`gateway(logger, logs=PORT)`: running, its service on that port."""
    with ExitStack() as running:

        def start(logger: dict[str, Any], logs: int = 0) -> meshcore.Gateway:
            values = {**ports, "logs": logs or collector.port, "port": 0}
            text = re.sub(r"\$(\w+)", lambda m: str(values[m[1]]), config([logger]))
            return running.enter_context(meshcore.Gateway(text, workers=1))

        yield start


def counted(gateway: meshcore.Gateway, name: str) -> int:
    return int(gateway.stats.snapshot().values("counter").get(f"access_logs.{name}", -1))


def asked(gateway: meshcore.Gateway, count: int) -> None:
    with Connection(gateway.listeners["l"][1]) as connection:
        for _ in range(count):
            connection.send(REQUESTS["direct"])
            connection.reply()


def test_a_message_when_there_are_so_many_bytes(
    gateway: Callable[..., meshcore.Gateway], collector: GrpcCollector
) -> None:
    running = gateway(als(buffer_flush_interval="3600s", buffer_size_bytes=1000))
    assert counted(running, "grpc_access_log.logs_written") == 0
    asked(running, 1)
    wait_until(lambda: counted(running, "grpc_access_log.logs_written") == 1)
    assert not collector.messages
    asked(running, 5)
    wait_until(lambda: len(entries(collector)) >= 3)
    assert len(streamed(collector)[0]["http_logs"]["log_entry"]) > 1
    assert collector.streams == 1


def test_each_entry_at_once(
    gateway: Callable[..., meshcore.Gateway], collector: GrpcCollector
) -> None:
    running = gateway(als(buffer_flush_interval="3600s", buffer_size_bytes=0))
    asked(running, 20)
    wait_until(lambda: len(collector.messages) == 20)
    assert all(len(m["http_logs"]["log_entry"]) == 1 for m in streamed(collector))
    assert counted(running, "grpc_access_log.logs_written") == 20
    wait_until(lambda: counted(running, "grpc_access_log.grpc_entries_flushed") == 20)


def test_what_waits_is_sent_at_the_end(
    gateway: Callable[..., meshcore.Gateway], collector: GrpcCollector
) -> None:
    running = gateway(als(buffer_flush_interval="3600s"))
    asked(running, 3)
    running.stop()
    wait_until(lambda: len(entries(collector)) == 3)


def test_a_service_that_does_not_read(
    gateway: Callable[..., meshcore.Gateway], collector: GrpcCollector
) -> None:
    """Entries wait up to a limit, then they are dropped and counted; requests go on."""
    collector.reads.clear()
    logger = als(custom_tags=[{"tag": "long", "literal": {"value": "x" * 60_000}}])
    running = gateway(logger)

    def dropped() -> bool:
        asked(running, 20)
        return counted(running, "grpc_access_log.logs_dropped") > 0

    wait_until(dropped)
    written = counted(running, "grpc_access_log.logs_written")
    assert written < 200
    collector.reads.set()
    wait_until(lambda: len(entries(collector)) >= written)


def test_a_service_that_comes_later(gateway: Callable[..., meshcore.Gateway]) -> None:
    """Batches are lost, and counted so, while it is away; a new stream says again who sends."""
    port = peers.free_port()
    running = gateway(als(buffer_size_bytes=0), logs=port)
    asked(running, 1)
    wait_until(lambda: counted(running, "grpc_access_log.grpc_entries_flush_failed") == 1)
    assert counted(running, "grpc_access_log.logs_written") == 1
    for _ in range(2):
        with grpc_collector(port) as collector:

            def arrived() -> bool:
                asked(running, 1)
                return bool(collector.messages)

            wait_until(arrived)
            assert "identifier" in streamed(collector)[0]


def test_a_stream_is_tried_again_as_its_policy_says(
    gateway: Callable[..., meshcore.Gateway],
) -> None:
    port = peers.free_port()
    policy = {"num_retries": 200, "retry_back_off": {"base_interval": "0.1s"}}
    running = gateway(als(buffer_size_bytes=0, grpc_stream_retry_policy=policy), logs=port)
    asked(running, 1)
    wait_until(lambda: counted(running, "grpc_access_log.logs_written") == 1)
    with grpc_collector(port) as collector:
        wait_until(lambda: len(entries(collector)) == 1)
    assert counted(running, "grpc_access_log.grpc_entries_flush_failed") == 0


def test_a_target_without_a_cluster(
    gateway: Callable[..., meshcore.Gateway], collector: GrpcCollector
) -> None:
    google = {"target_uri": f"127.0.0.1:{collector.port}", "stat_prefix": "logs"}
    logger = als(
        grpc_service={"google_grpc": google, "initial_metadata": [{"key": "A", "value": "b"}]}
    )
    made = re.sub(r"\$(\w+)", "0", config([logger]))
    document = json.loads(made)
    document["static_resources"]["clusters"].pop()
    with meshcore.Gateway(document, workers=1) as running:
        asked(running, 1)
        wait_until(lambda: len(entries(collector)) == 1)
    assert collector.messages[0].metadata["a"] == "b"


def test_a_record_of_what_is_no_text(
    gateway: Callable[..., meshcore.Gateway], collector: GrpcCollector
) -> None:
    """difference: log-record-text"""
    body = {"string_value": "%REQ(X-BYTES)%"}
    running = gateway(otel(grpc_service=SERVICE, buffer_size_bytes=0, body=body))
    ask(running.listeners["l"][1], "bytes")
    wait_until(lambda: collector.messages)
    record = group(group(group(collector.messages[0].body)[1][0])[2][0])[2][0]
    assert any_value(group(record)[5][0]) == '"!!\\ x'


def test_records_that_are_refused(
    gateway: Callable[..., meshcore.Gateway], collector: GrpcCollector
) -> None:
    scope = "open_telemetry_access_log.mine"
    running = gateway(otel(grpc_service=SERVICE, buffer_size_bytes=0, stat_prefix="mine"))
    asked(running, 2)
    wait_until(lambda: counted(running, f"{scope}.logs_written") == 2)
    collector.refuses = True
    asked(running, 3)
    wait_until(lambda: counted(running, f"{scope}.logs_dropped") == 3)
    assert counted(running, f"{scope}.logs_written") == 2


def test_records_over_http(ports: dict[str, int]) -> None:
    arrived = threading.Event()

    async def take(exchange: Any) -> None:
        await exchange.read_body()
        await exchange.head(200, [("content-length", "0")])
        arrived.set()

    uri = {"uri": "http://logs.test/v1/logs", "cluster": "logs", "timeout": "5s"}
    header = {"header": {"key": "X-Key", "value": "k"}}
    service = {"http_uri": uri, "request_headers_to_add": [header]}
    body = {"string_value": "%REQ(:PATH)%"}
    logger = otel(http_service=service, body=body, buffer_flush_interval="0.05s")
    with Upstream(take) as server:
        made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', config([logger])))
        del made["static_resources"]["clusters"][-1]["typed_extension_protocol_options"]
        text = re.sub(r'"(\$\w+)"', r"\1", json.dumps(made))
        found = []
        for side in both(text, {**ports, "logs": server.port}):
            ask(side.port, "plain")
            assert arrived.wait(10)
            arrived.clear()
            [request] = server.requests
            server.requests.clear()
            names = "content-type", "x-key", "host", "user-agent"
            heads = [request.header(name) for name in names]
            assert (heads.pop() or "").startswith("OTel-OTLP-Exporter-")
            sent = group(group(group(bytes(request.body))[1][0])[2][0])[2][0]
            found.append([request.method, request.target, heads, any_value(group(sent)[5][0])])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("logger", "path", "reason"),
    [
        (als(transport_api_version="V2"), "common_config.transport_api_version", "no version"),
        (als(log_name=""), "common_config.log_name", ""),
        (als(buffer_flush_interval="0s"), "common_config.buffer_flush_interval", ""),
        (als(custom_tags=[{"tag": "a"}]), "common_config.custom_tags[0]", ""),
        (otel(), "", "must have one of"),
        (
            otel(grpc_service=SERVICE, common_config={"log_name": "a", "grpc_service": SERVICE}),
            "",
            "must have one of",
        ),
        (otel(grpc_service=SERVICE, body={"int_value": 3}), "body", "must be a string"),
        (otel(grpc_service=SERVICE, body={"string_value": "%NOPE%"}), "body.string_value", "NOPE"),
        (
            otel(grpc_service=SERVICE, attributes={"values": [{"key": "a"}]}),
            "attributes.values[0].value",
            "must be a string",
        ),
    ],
)
def test_loggers_that_are_refused(logger: dict[str, Any], path: str, reason: str) -> None:
    text = re.sub(r"\$(\w+)", "1", config([logger]))
    names = "echo", "stalled", "resetting", "refused", "trailing", "logs"
    assert not peers.envoy_accepts(config([logger]), **dict.fromkeys(names, 1))[0]
    with pytest.raises(meshcore.ConfigError) as error:
        meshcore.Gateway(text)
    at = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.access_log[0]"
    assert error.value.path == f"{at}.typed_config" + (f".{path}" if path else "")
    assert reason in error.value.reason
