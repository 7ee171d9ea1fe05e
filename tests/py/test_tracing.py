"""Tracing: a running gateway, an upstream and a collector, beside real Envoy with the same
configuration: what travels to the upstream, what is told to the client, what the spans say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import peers
import pytest
from clients import fetch
from tracing_cases import ROUTER, TAGS, bootstrap, cluster, collect, opentelemetry, zipkin
from upstreams import Behaviour, Exchange, Upstream, echo
from wire import fields

import meshcore
from meshcore.tracing import OpenTelemetryApi, Span, _resource, otlp

Headers = list[tuple[str, str]]
B3: Headers = [
    ("x-b3-traceid", "0000000000000001"),
    ("x-b3-spanid", "0000000000000002"),
    ("x-b3-parentspanid", "0000000000000003"),
    ("x-b3-sampled", "1"),
]
SINGLE = "463ac35c9f6413ad48485a3953bb6124-0020000000000001-1-0000000000000009"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
FORCED_ID = "ffffffff-0000-9000-8000-000000000000"

HEALTH_CHECK = {
    "name": "check",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": True,
        "headers": [{"name": ":path", "string_match": {"exact": "/"}}],
    },
}
ROUTER_FILTER = {"name": "router", "typed_config": {"@type": ROUTER}}
STARTS_CHILDREN = {
    "name": "router",
    "typed_config": {"@type": ROUTER, "start_child_span": True},
}
UNPACKED = {
    "preserve_external_request_id": True,
    "request_id_extension": {
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
            "pack_trace_reason": False,
        }
    },
}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, Headers]]]] = {
    "plain": (
        zipkin(),
        {},
        [
            ("/", [("user-agent", "ua"), ("x-envoy-downstream-service-cluster", "front")]),
            ("/", B3),
            ("/", B3[:2]),
            ("/", [("b3", SINGLE)]),
            ("/", [("x-b3-traceid", "abc"), ("x-b3-spanid", "1")]),
            ("/tagged", []),
            ("/direct", []),
            ("/refused", []),
            ("/", [("x-request-id", FORCED_ID)]),
            ("/", [("content-type", "application/grpc"), ("grpc-timeout", "1S")]),
            ("/decorated", []),
            ("/decorated", [("x-envoy-decorator-operation", "over")]),
            ("/quiet", []),
            ("/off", [("x-client-trace-id", "c")]),
        ],
    ),
    "not sampled": (
        zipkin(),
        {},
        [
            ("/", [("b3", "0")]),
            ("/", [("b3", "garbage")]),
            ("/", [("x-b3-traceid", "zz"), ("x-b3-spanid", "1")]),
            ("/", [("x-b3-sampled", "0")]),
            ("/off", []),
            ("/off", [("x-envoy-force-trace", "1")]),
            ("/", [("x-request-id", "short")]),
            ("/", [("x-request-id", "not hexadecimal")]),
        ],
    ),
    "children": (
        zipkin(),
        {"custom_tags": TAGS, "max_path_tag_length": 5, "spawn_upstream_span": True},
        [("/abcdefghij?x=1", [("x-tag", "T")]), ("/tagged", []), ("/", B3), ("/refused", [])],
    ),
    "egress": (
        zipkin(),
        {"direction": "OUTBOUND"},
        [
            ("/", []),
            ("/", B3),
            ("/decorated", []),
            ("/decorated", [("x-envoy-decorator-operation", "over")]),
        ],
    ),
    "egress with children": (
        zipkin(),
        {"direction": "OUTBOUND", "spawn_upstream_span": True},
        [("/", []), ("/", B3), ("/decorated", [])],
    ),
    "wide": (
        zipkin(
            trace_id_128bit=True,
            shared_span_context=False,
            trace_context_option="USE_B3_WITH_W3C_PROPAGATION",
        ),
        {},
        [
            ("/", []),
            ("/", B3),
            ("/", [("traceparent", PARENT), ("tracestate", "a=b")]),
            ("/", [("traceparent", "garbage")]),
        ],
    ),
    "by time": (zipkin(timestamp_trace_ids=True), {}, [("/", []), ("/", B3)]),
    "wide by time": (zipkin(timestamp_trace_ids=True, trace_id_128bit=True), {}, [("/", [])]),
    "operations": (
        zipkin(),
        {
            "operation": "op-%REQ(:METHOD)%-%RESPONSE_CODE%",
            "upstream_operation": "up-%REQ(:METHOD)%",
            "spawn_upstream_span": True,
        },
        [
            ("/decorated", []),
            ("/decorated", [("x-envoy-decorator-operation", "over")]),
            ("/direct", []),
        ],
    ),
    "opentelemetry": (
        opentelemetry(),
        {},
        [
            ("/", []),
            ("/", [("traceparent", PARENT), ("tracestate", "a=b"), ("tracestate", "c=d")]),
            ("/decorated", []),
            ("/direct", []),
            ("/tagged", []),
        ],
    ),
    "opentelemetry not sampled": (
        opentelemetry(),
        {},
        [
            ("/", [("traceparent", UNSAMPLED), ("tracestate", "a=b")]),
            ("/", [("traceparent", "garbage")]),
            ("/", [("traceparent", PARENT.replace("00f067aa0ba902b7", "0" * 16))]),
            ("/off", []),
        ],
    ),
    "id of a span": (
        zipkin(),
        {"custom_tags": [{"tag": "id", "value": "%SPAN_ID%"}]},
        [("/", []), ("/", B3)],
    ),
    "router's children": (
        zipkin(),
        {"manager": {"http_filters": [STARTS_CHILDREN]}},
        [("/", []), ("/", B3), ("/refused", [])],
    ),
    "router's children, not shared": (
        zipkin(shared_span_context=False),
        {"manager": {"http_filters": [STARTS_CHILDREN]}},
        [("/", B3)],
    ),
    "health checks not sampled": (
        zipkin(),
        {"manager": {"http_filters": [HEALTH_CHECK, ROUTER_FILTER]}},
        [("/", []), ("/", [("x-request-id", FORCED_ID)]), ("/", B3)],
    ),
    "unpacked not sampled": (
        zipkin(),
        {"manager": UNPACKED, "random_sampling": {"value": 0}},
        [("/", [("x-request-id", FORCED_ID)]), ("/decorated", [])],
    ),
    "without context": (
        zipkin(),
        {"no_context_propagation": True, "spawn_upstream_span": True},
        [("/decorated", B3), ("/direct", []), ("/refused", [])],
    ),
    "opentelemetry without context": (
        opentelemetry(),
        {"no_context_propagation": True, "direction": "OUTBOUND"},
        [("/", []), ("/", [("traceparent", PARENT), ("tracestate", "a=b")]), ("/decorated", [])],
    ),
    "opentelemetry children": (
        opentelemetry(service_name="mine"),
        {"direction": "OUTBOUND", "spawn_upstream_span": True, "custom_tags": TAGS},
        [("/", []), ("/refused", [])],
    ),
}


@pytest.fixture
def origin() -> Iterator[Upstream]:
    with Upstream(echo) as server:
        yield server


class Collector:
    """Keeps the spans that it is sent, and tells when there are enough."""

    def __init__(self) -> None:
        self.arrived = threading.Condition()

        async def keep(exchange: Any) -> None:
            await collect(exchange)
            with self.arrived:
                self.arrived.notify_all()

        self.server = Upstream(keep)

    def spans(self, count: int) -> list[dict[str, Any]]:
        """The first `count` spans, as soon as they are here."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self._all()) >= count, 10), self._all()
        found = self._all()
        assert len(found) == count, found
        self.server.requests.clear()
        return found

    def _all(self) -> list[dict[str, Any]]:
        spans: list[dict[str, Any]] = []
        for request in list(self.server.requests):
            body = bytes(request.body)
            json_body = request.header("content-type") == "application/json"
            spans += json.loads(body) if json_body else otlp_spans(body)
        return spans


@pytest.fixture
def collector() -> Iterator[Collector]:
    kept = Collector()
    with kept.server:
        yield kept


# --- OTLP, read back ------------------------------------------------------------------------------


def attributes(values: list[bytes]) -> dict[str, str]:
    found = {}
    for value in values:
        pair = dict(fields(value))
        found[pair[1].decode()] = dict(fields(pair[2]))[1].decode()
    return found


def group(data: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def otlp_spans(body: bytes) -> list[dict[str, Any]]:
    spans = []
    for resource in group(body).get(1, ()):
        parts = group(resource)
        names = attributes(group(parts[1][0])[1])
        for scoped in parts[2]:
            for span in group(scoped).get(2, ()):
                one = group(span)
                status = dict(fields(one[15][0])) if 15 in one else {}
                spans.append(
                    {
                        "traceId": one[1][0].hex(),
                        "id": one[2][0].hex(),
                        "tracestate": one.get(3, [b""])[0].decode(),
                        "parentId": one[4][0].hex() if 4 in one else None,
                        "name": one[5][0].decode(),
                        "kind": one[6][0],
                        "status": status,
                        "tags": attributes(one[9]),
                        "service": names["service.name"],
                        "timestamp": one[7][0],
                        "duration": one[8][0] - one[7][0],
                    }
                )
    return spans


# --- comparing ------------------------------------------------------------------------------------

TRAVELLING = ("b3", "trace", "x-request-id", "decorator", "x-client")


class Names:
    """Ids by order of appearance; those that the client sent stay."""

    def __init__(self, sent: Headers) -> None:
        self.sent = " ".join(value for _, value in sent)
        self.seen: dict[str, str] = {}

    def __call__(self, value: str) -> str:
        if value in self.sent:
            return value
        if len(value) == 32:
            return f"{'padded' if value.startswith('0' * 16) else 'wide'} {self(value[16:])}"
        return self.seen.setdefault(value, f"#{len(self.seen)}")

    def header(self, name: str, value: str) -> str:
        if name == "x-request-id":
            return value if value in self.sent else f"{len(value)} {value[14]}"
        if name == "traceparent" and len(value) == 55:
            version, trace, span, flags = value.split("-")
            return "-".join((version, self(span), self(trace), flags))
        return self(value) if name.startswith("x-b3-") and name != "x-b3-sampled" else value


def comparable_span(span: dict[str, Any], names: Names) -> dict[str, Any]:
    span = dict(span)
    assert span.pop("timestamp") > 1_700_000_000_000_000
    assert span.pop("duration") >= 0
    for key in ("id", "traceId", "parentId"):
        if span.get(key):
            span[key] = names(span[key])
    span["tags"] = tags = dict(span["tags"])
    tags.pop("response_size", None)  # the echo tells each side's own headers
    tags["response_flags"] = ",".join(sorted(tags["response_flags"].split(",")))
    if "guid:x-request-id" in tags:
        tags["guid:x-request-id"] = names.header("x-request-id", tags["guid:x-request-id"])
    span["annotations"] = [one["value"] for one in span.get("annotations", ())]
    return span


def observe(
    port: int, path: str, headers: Headers, origin: Upstream, spans: Callable[[], list[Any]]
) -> dict[str, Any]:
    """One request: what was answered, what travelled on, what was reported."""
    origin.requests.clear()
    names = Names(headers)
    reply = fetch(port, path, headers=headers)
    upstream = [
        [
            (name, names.header(name, value))
            for name, value in sorted(request.headers)
            if any(part in name for part in TRAVELLING)
        ]
        for request in origin.requests
    ]
    found = sorted(spans(), key=lambda span: (span["timestamp"], str(span["kind"])))
    return {
        "status": reply.status,
        "answer": [pair for pair in reply.headers if "decorator" in pair[0]],
        "upstream": upstream,
        # The request's own span first: tries begin in its time. (difference: span-times)
        "spans": [
            comparable_span(span, names)
            for span in sorted(found, key=lambda span: "upstream_address" in span["tags"])
        ],
    }


def expected_spans(name: str, path: str) -> int:
    if "not sampled" in name:
        return 0
    tries = {"/refused": 2, "/direct": 0}.get(path, 1)
    return 1 + (tries if "children" in name or name in ("operations", "without context") else 0)


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_envoy(name: str, origin: Upstream, collector: Collector) -> None:
    provider, options, requests = CASES[name]

    def config(port: Any) -> dict[str, Any]:
        ports = {"port": port, "echo": origin.port, "collector": collector.server.port}
        return bootstrap(provider, ports, **options)

    def run(port: int) -> list[dict[str, Any]]:
        return [
            observe(
                port,
                path,
                headers,
                origin,
                lambda: collector.spans(expected_spans(name, path)),  # noqa: B023
            )
            for path, headers in requests
        ]

    with meshcore.Gateway(config(0), workers=1) as gateway:
        ours = run(gateway.listeners["main"][1])
    text = json.dumps(config("$port")).replace('"$port"', "$port")
    with peers.envoy(text) as server:
        theirs = run(server.port)
    for (path, headers), mine, envoy in zip(requests, ours, theirs, strict=True):
        assert mine == envoy, (path, headers)


def counters(gateway: meshcore.Gateway) -> dict[str, Any]:
    return gateway.stats.snapshot().values("counter")


@pytest.mark.parametrize("sampled", [None, False, True])
@pytest.mark.parametrize("provider", [zipkin(), opentelemetry()], ids=["zipkin", "opentelemetry"])
def test_mirrors_beside_envoys(
    provider: dict[str, Any], sampled: bool | None, origin: Upstream, collector: Collector
) -> None:
    """A copy has a span of its own, sampled as its policy says."""
    random_sampling = {"value": 0 if sampled else 100}
    spans = 2 if sampled is None else 1

    def config(port: Any, mirror: int) -> dict[str, Any]:
        ports = {"port": port, "echo": origin.port, "collector": collector.server.port}
        made = bootstrap(provider, ports, random_sampling=random_sampling)
        made["static_resources"]["clusters"].append(cluster("mirror", mirror))
        listener = made["static_resources"]["listeners"][0]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        policy = {"cluster": "mirror"} | ({} if sampled is None else {"trace_sampled": sampled})
        [host] = manager["route_config"]["virtual_hosts"]
        host["request_mirror_policies"] = [policy]
        return made

    def run(port: int, mirror: Upstream) -> dict[str, Any]:
        names = Names([])
        origin.requests.clear()
        arrived = threading.Event()
        mirror.behaviour = announcing(arrived)
        fetch(port, "/")
        assert arrived.wait(10)
        travelled = [
            (name, names.header(name, value))
            for server in (origin, mirror)
            for name, value in sorted(server.requests[-1].headers)
            if any(part in name for part in TRAVELLING)
        ]
        found = sorted(collector.spans(spans), key=lambda span: "upstream_address" in span["tags"])
        return {"headers": travelled, "spans": [comparable_span(span, names) for span in found]}

    with Upstream(echo) as mirror:
        with meshcore.Gateway(config(0, mirror.port), workers=1) as gateway:
            ours = run(gateway.listeners["main"][1], mirror)
        text = json.dumps(config("$port", mirror.port)).replace('"$port"', "$port")
        with peers.envoy(text) as server:
            assert ours == run(server.port, mirror)


GRPC = [("content-type", "application/grpc")]


@pytest.mark.parametrize("direction", ["INBOUND", "OUTBOUND"])
def test_what_is_an_error_of_grpc(
    direction: str, upstream: Callable[[Behaviour], Upstream], collector: Collector
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        status = exchange.request.target.removeprefix("/")
        await exchange.head(200, [("content-length", "0"), *GRPC, ("grpc-status", status)])

    port = upstream(answer).port

    def config(own: Any) -> dict[str, Any]:
        ports = {"port": own, "echo": port, "collector": collector.server.port}
        return bootstrap(opentelemetry(), ports, direction)

    def run(own: int) -> list[Any]:
        told = []
        for status in (*range(18), "x", ""):
            fetch(own, f"/{status}", headers=GRPC)
            [span] = collector.spans(1)
            told.append((status, span["status"], span["tags"].get("error")))
        return told

    with meshcore.Gateway(config(0), workers=1) as gateway:
        ours = run(gateway.listeners["main"][1])
    with peers.envoy(json.dumps(config("$port")).replace('"$port"', "$port")) as server:
        assert ours == run(server.port)


def announcing(arrived: threading.Event) -> Any:
    async def behaviour(exchange: Any) -> None:
        await echo(exchange)
        arrived.set()

    return behaviour


Propagated = list[tuple[str, str]]
IDENTITIES = ["00000001-0000-4", "00000001-0000-9", "00001387-0000-c", "00001388-0000-0", "x"]


def sent_contexts() -> list[Headers]:
    """Trace contexts of both kinds, whole and broken, with request ids that decide otherwise."""
    parents = [None, *(PARENT[:-2] + flags for flags in ("00", "01", "zz", "ff"))]
    b3s = [
        (None, None),
        ("1", "2"),
        ("0x1", "2"),
        ("1", "+2"),
        ("-1", "2"),
        ("0" * 20 + "1", "2"),
        ("1" * 17, "2"),
    ]
    contexts: list[Headers] = []
    for number, parent in enumerate(parents):
        for trace, span in b3s:
            for sampled in (None, "0", "1", "x"):
                identity = IDENTITIES[(number + len(contexts)) % len(IDENTITIES)]
                pairs = [
                    ("traceparent", parent),
                    ("x-b3-traceid", trace),
                    ("x-b3-spanid", span),
                    ("x-b3-sampled", sampled),
                    ("x-request-id", f"{identity}000-8000-000000000000"),
                ]
                contexts.append([(name, value) for name, value in pairs if value is not None])
    return contexts


@pytest.mark.parametrize(
    ("provider", "options"),
    [
        (zipkin(), {"random_sampling": {"value": 49.995}}),
        (zipkin(trace_context_option="USE_B3_WITH_W3C_PROPAGATION"), {}),
        (opentelemetry(), {"overall_sampling": {"value": 49.99}}),
    ],
    ids=["zipkin", "both", "opentelemetry"],
)
def test_contexts_travel_as_envoys(
    provider: dict[str, Any], options: dict[str, Any], origin: Upstream, collector: Collector
) -> None:
    contexts = sent_contexts()

    def config(port: Any) -> dict[str, Any]:
        ports = {"port": port, "echo": origin.port, "collector": collector.server.port}
        manager = {"preserve_external_request_id": True}
        return bootstrap(provider, ports, manager=manager, **options)

    def run(port: int) -> list[Propagated]:
        seen = []
        for headers in contexts:
            origin.requests.clear()
            fetch(port, "/", headers=headers)
            names = Names(headers)
            got = sorted(origin.requests[-1].headers)
            kept = [(k, v) for k, v in got if k.startswith("x-b3-") or k == "traceparent"]
            ids = [(k, v) for k, v in got if k == "x-request-id"]
            seen.append([*ids, *((k, names.header(k, v)) for k, v in kept)])
        return seen

    with meshcore.Gateway(config(0), workers=1) as gateway:
        ours = run(gateway.listeners["main"][1])
    with peers.envoy(json.dumps(config("$port")).replace('"$port"', "$port")) as server:
        theirs = run(server.port)
    wrong = [
        f"{sent}: ours {mine}, theirs {envoy}"
        for sent, mine, envoy in zip(contexts, ours, theirs, strict=True)
        if mine != envoy
    ]
    assert not wrong, f"{len(wrong)} of {len(contexts)} differ\n" + "\n".join(wrong)


SAMPLERS = "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3."
HALF = {
    "name": "half",
    "typed_config": {
        "@type": f"{SAMPLERS}TraceIdRatioBasedSamplerConfig",
        "sampling_percentage": {"numerator": 50},
    },
}


@pytest.mark.parametrize(
    "sampler",
    [
        HALF,
        {"name": "on", "typed_config": {"@type": f"{SAMPLERS}AlwaysOnSamplerConfig"}},
        {
            "name": "parent",
            "typed_config": {
                "@type": f"{SAMPLERS}ParentBasedSamplerConfig",
                "wrapped_sampler": HALF,
            },
        },
    ],
    ids=["ratio", "always", "parent"],
)
def test_samplers_beside_envoys(
    sampler: dict[str, Any], origin: Upstream, collector: Collector
) -> None:
    provider = opentelemetry(sampler=sampler)
    parents = [
        f"00-{high:016x}0000000000000001-00f067aa0ba902b7-{flag:02}"
        for high in (1, 2, 0x1122334455667788, 1 << 56, 49 << 56, 50 << 56, 151 << 56)
        for flag in (0, 1)
    ]

    def config(port: Any) -> dict[str, Any]:
        ports = {"port": port, "echo": origin.port, "collector": collector.server.port}
        return bootstrap(provider, ports)

    def flags(port: int) -> list[str]:
        origin.requests.clear()
        for parent in parents:
            fetch(port, "/", headers=[("traceparent", parent)])
        return [(one.header("traceparent") or "")[-2:] for one in origin.requests]

    with meshcore.Gateway(config(0), workers=1) as gateway:
        ours = flags(gateway.listeners["main"][1])
    with peers.envoy(json.dumps(config("$port")).replace('"$port"', "$port")) as server:
        assert ours == flags(server.port)


# --- alone ----------------------------------------------------------------------------------------


def test_methods_of_opentelemetrys_conventions() -> None:
    spans = [
        Span("1" * 32, "2" * 16, "n", "SERVER", 1, 1, tags={"http.method": method})
        for method in ("GET", "PROPFIND")
    ]
    exported = otlp_spans(otlp(spans, {"service.name": "s"}))
    assert [span["tags"]["http.method"] for span in exported] == ["GET", "_OTHER"]


def test_a_span_of_zero_is_no_parent(origin: Upstream, collector: Collector) -> None:
    """difference: b3-zero-span"""
    ports = {"port": 0, "echo": origin.port, "collector": collector.server.port}
    with meshcore.Gateway(
        bootstrap(zipkin(shared_span_context=False), ports), workers=1
    ) as gateway:
        sent = [("x-b3-traceid", "00000000000000aa"), ("x-b3-spanid", "0" * 16)]
        fetch(gateway.listeners["main"][1], "/", headers=sent)
    assert origin.requests[-1].header("x-b3-traceid") == "00000000000000aa"
    assert origin.requests[-1].header("x-b3-parentspanid") is None


def test_samples_follow_the_request_id(origin: Upstream, collector: Collector) -> None:
    ports = {"port": 0, "echo": origin.port, "collector": collector.server.port}
    config = bootstrap(zipkin(), ports, random_sampling={"value": 50})
    with meshcore.Gateway(config, workers=1) as gateway:
        port = gateway.listeners["main"][1]
        for number, reason in ((4999, "9"), (5000, "4"), (9999, "4"), (10000, "9")):
            sent = f"{number:08x}-0000-4000-8000-000000000000"
            fetch(port, "/", headers=[("x-request-id", sent)])
            got = origin.requests[-1].header("x-request-id")
            assert got == sent[:14] + reason + sent[15:], number
            assert origin.requests[-1].header("x-b3-sampled") == ("1" if reason == "9" else "0")
        collector.spans(2)
        stats = counters(gateway)
        counted = {
            name: stats[f"http.in.tracing.{name}"]
            for name in ("random_sampling", "not_traceable", "client_enabled", "service_forced")
        }
    assert counted == {
        "random_sampling": 2,
        "not_traceable": 2,
        "client_enabled": 0,
        "service_forced": 0,
    }


def test_overall_sampling_wins(origin: Upstream, collector: Collector) -> None:
    ports = {"port": 0, "echo": origin.port, "collector": collector.server.port}
    config = bootstrap(zipkin(), ports, overall_sampling={"value": 0})
    with meshcore.Gateway(config, workers=1) as gateway:
        fetch(gateway.listeners["main"][1], "/", headers=[("x-request-id", FORCED_ID)])
        assert counters(gateway)["http.in.tracing.not_traceable"] == 1
    got = origin.requests[0].header("x-request-id")
    assert got == FORCED_ID.replace("-9", "-4")


def test_a_health_check_counts_twice(origin: Upstream, collector: Collector) -> None:
    """As Envoy counts it, whatever was drawn for it."""
    ports = {"port": 0, "echo": origin.port, "collector": collector.server.port}
    manager = {"http_filters": [HEALTH_CHECK, ROUTER_FILTER]}
    with meshcore.Gateway(bootstrap(zipkin(), ports, manager=manager), workers=1) as gateway:
        port = gateway.listeners["main"][1]
        for path in ("/", "/quiet", "/"):
            fetch(port, path)
        found = counters(gateway)
    names = ("health_check", "not_traceable", "random_sampling")
    assert [found[f"http.in.tracing.{name}"] for name in names] == [2, 2, 1]


def test_the_bootstraps_provider(origin: Upstream, collector: Collector) -> None:
    ports = {"port": 0, "echo": origin.port, "collector": collector.server.port}
    config = bootstrap(None, ports)
    with meshcore.Gateway(config, workers=1) as gateway:
        fetch(gateway.listeners["main"][1], "/decorated")
        gateway.update({**config, "tracing": {"http": zipkin()}})
        fetch(gateway.listeners["main"][1], "/decorated")
        [span] = collector.spans(1)
    # Without a provider there is no span and no context; the id is marked all the same.
    first, second = origin.requests
    assert first.header("x-b3-traceid") is None
    assert first.header("x-request-id")[14] == "9"  # type: ignore[index]
    assert second.header("x-b3-traceid") == span["traceId"]


def test_batches_and_their_counters(origin: Upstream, collector: Collector) -> None:
    ports = {"port": 0, "echo": origin.port, "collector": collector.server.port}
    config = bootstrap(zipkin(collector_endpoint_version="HTTP_PROTO"), ports)
    layer = config["layered_runtime"]["layers"][0]["static_layer"]
    layer |= {"tracing.zipkin.min_flush_spans": 3, "tracing.zipkin.flush_interval_ms": 60000}
    with meshcore.Gateway(config, workers=1) as gateway:
        for _ in range(3):
            fetch(gateway.listeners["main"][1], "/")
        with collector.arrived:
            assert collector.arrived.wait_for(lambda: collector.server.requests, 10)
        [batch] = collector.server.requests
        assert batch.header("content-type") == "application/x-protobuf"
        spans = [group(one) for one in group(bytes(batch.body))[1]]
        assert [one[4] for one in spans] == [[2]] * 3
        assert {one[5][0] for one in spans} == {b"localhost"}
        assert group(spans[0][8][0])[1] == [b"svc"]
        collector.server.requests.clear()
        fetch(gateway.listeners["main"][1], "/")
    # What waits at the end is sent before the gateway is gone. (difference: span-batches)
    assert len(collector.server.requests) == 1
    stats = counters(gateway)
    assert stats["tracing.zipkin.spans_sent"] == 4
    assert stats["tracing.zipkin.reports_sent"] == 2
    assert stats["tracing.zipkin.reports_failed"] == 0


def test_a_collector_that_is_away(origin: Upstream) -> None:
    ports = {"port": 0, "echo": origin.port, "collector": 1}
    with meshcore.Gateway(bootstrap(zipkin(), ports), workers=1) as gateway:
        assert fetch(gateway.listeners["main"][1], "/").status == 200
    assert counters(gateway)["tracing.zipkin.reports_failed"] == 1


def test_a_real_zipkin_server(origin: Upstream) -> None:
    trace = "00000000000000aa"
    with peers.zipkin() as server:
        for media in ("application/json", "application/x-protobuf"):  # the first of each is slow
            content, body = [("content-type", media)], b"[]" if media.endswith("json") else b""
            fetch(server.port, "/api/v2/spans", method="POST", headers=content, body=body)
        for version in ("HTTP_JSON", "HTTP_PROTO"):
            ports = {"port": 0, "echo": origin.port, "collector": server.port}
            provider = zipkin(collector_endpoint_version=version)
            config = bootstrap(provider, ports, spawn_upstream_span=True)
            with meshcore.Gateway(config, workers=1) as gateway:
                port = gateway.listeners["main"][1]
                sent = [("x-b3-traceid", trace), ("x-b3-spanid", "00000000000000bb")]
                fetch(port, "/tagged", headers=sent)
                fetch(port, "/refused", headers=sent)
            assert counters(gateway)["tracing.zipkin.reports_dropped"] == 0, version
            assert counters(gateway)["tracing.zipkin.reports_sent"] > 0, version
        found = fetch(server.port, f"/api/v2/trace/{trace}")
    spans = json.loads(found.body)
    names = sorted(span["name"] for span in spans)
    assert names == (
        ["localhost"] * 4 + ["router other egress"] * 2 + ["router refused egress"] * 4
    )
    root = next(span for span in spans if span["kind"] == "SERVER")
    assert root["localEndpoint"]["serviceName"] == "svc"
    assert root["shared"]
    failed = [span for span in spans if span["tags"].get("error")]
    assert {span["tags"]["upstream_address"] for span in failed if span["kind"] == "CLIENT"} == {
        "127.0.0.1:1"
    }


def test_an_exporter_of_the_applications_own(origin: Upstream, collector: Collector) -> None:
    got: list[Span] = []
    arrived = threading.Event()

    def broken(spans: Any) -> None:
        raise RuntimeError("never mind")

    def keep(spans: Any) -> None:
        got.extend(spans)
        arrived.set()

    ports = {"port": 0, "echo": origin.port, "collector": collector.server.port}
    config = bootstrap(zipkin(), ports, verbose=True)
    with meshcore.Gateway(config, workers=1, span_exporters=[broken, keep]) as gateway:
        fetch(gateway.listeners["main"][1], "/", headers=B3)
        assert arrived.wait(10)
    [span] = got
    assert (span.trace_id, span.id, span.parent_id) == tuple(value for _, value in B3[:3])
    assert span.tags["http.status_code"] == "200"
    assert ("last_downstream_rx_byte_received") in dict(span.annotations)


def test_opentelemetrys_api(origin: Upstream, collector: Collector) -> None:
    """Spans given to an application's own tracer provider, which exports them to memory."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    kept = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(kept))
    api = OpenTelemetryApi(provider)
    parent = SINGLE.split("-")
    ports = {"port": 0, "echo": origin.port, "collector": collector.server.port}
    config = bootstrap(zipkin(), ports, verbose=True)
    with meshcore.Gateway(config, workers=1, span_exporters=[api]) as gateway:
        fetch(gateway.listeners["main"][1], "/direct", headers=[("b3", SINGLE)])
    [span] = kept.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == parent[0]
    assert f"{span.parent.span_id:016x}" == parent[3]
    assert (span.name, span.kind.name) == ("localhost", "SERVER")
    assert span.attributes["http.status_code"] == "503"
    assert span.status.status_code.name == "ERROR"
    assert span.start_time <= span.end_time
    assert span.events[0].name == "last_downstream_rx_byte_received"
    provider.shutdown()


# --- configurations that are refused --------------------------------------------------------------

AT = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.tracing"


PARENT_OF_NONE = {
    "name": "parent",
    "typed_config": {"@type": f"{SAMPLERS}ParentBasedSamplerConfig"},
}


@pytest.mark.parametrize(
    ("provider", "options", "path"),
    [
        (zipkin(collector_cluster="nobody"), {}, "provider.typed_config.collector_cluster"),
        (zipkin(collector_cluster=""), {}, "provider.typed_config.collector_cluster"),
        (zipkin(collector_endpoint=""), {}, "provider.typed_config.collector_endpoint"),
        (
            zipkin(collector_endpoint_version="GRPC"),
            {},
            "provider.typed_config.collector_endpoint_version",
        ),
        (opentelemetry(sampler=PARENT_OF_NONE), {}, "provider.typed_config.sampler"),
        (zipkin(), {"operation": "%NOTHING%"}, "operation"),
        (zipkin(), {"custom_tags": [{"tag": "a", "value": "%REQ%"}]}, "custom_tags[0].value"),
        (zipkin(), {"custom_tags": [{"tag": "a"}]}, "custom_tags[0]"),
        (zipkin(), {"random_sampling": {"value": 101}}, "random_sampling.value"),
    ],
)
def test_refused(provider: dict[str, Any], options: dict[str, Any], path: str) -> None:
    ports = {"port": 0, "echo": 1, "collector": 1}
    with pytest.raises(meshcore.ConfigError) as error:
        meshcore.Gateway(bootstrap(provider, ports, **options))
    assert error.value.path == f"{AT}.{path}"


def test_what_envoy_reads_otherwise() -> None:
    """difference: zipkin-version, difference: sampling-nan."""
    ports = {"port": 0, "echo": 1, "collector": 1}
    unset = zipkin()
    del unset["typed_config"]["collector_endpoint_version"]
    nan = {"client_sampling": {"value": "NaN"}}
    assert not peers.envoy_accepts(json.dumps(bootstrap(unset, ports)))[0]
    assert peers.envoy_accepts(json.dumps(bootstrap(zipkin(), ports, **nan)))[0]
    with meshcore.Gateway(bootstrap(unset, ports)):
        pass
    with pytest.raises(meshcore.ConfigError) as error:
        meshcore.Gateway(bootstrap(zipkin(), ports, **nan))
    assert error.value.path == f"{AT}.client_sampling.value"


def test_ids_that_begin_with_the_time(origin: Upstream, collector: Collector) -> None:
    ports = {"port": 0, "echo": origin.port, "collector": collector.server.port}
    before = int(time.time())
    with meshcore.Gateway(bootstrap(zipkin(timestamp_trace_ids=True), ports), workers=1) as gateway:
        fetch(gateway.listeners["main"][1], "/")
    made = origin.requests[0].header("x-b3-traceid")
    assert made is not None
    assert before <= int(made[:8], 16) <= time.time()


def test_a_resource_that_says_less() -> None:
    """As told by Envoy: without either, nothing is left."""
    quiet = {"set_telemetry_sdk_resource_attributes": False}
    assert _resource({**quiet, "service_name": "own"}) == {"service.name": "own"}
    assert _resource({**quiet, "set_service_name_resource_attribute": False}) == {}
    assert "telemetry.sdk.name" in _resource({"set_service_name_resource_attribute": False})
