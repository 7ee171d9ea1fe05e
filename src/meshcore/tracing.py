"""Spans on their way out: what a gateway's workers recorded, handed in batches to exporters.

Workers decide, propagate and record (docs/tracing.md); nothing here runs for a request that is not
sampled. A finished span arrives as a `Span`. Each provider of the configuration is one exporter:
Zipkin (JSON or protobuf, version 2) or OpenTelemetry (OTLP over HTTP or gRPC), sent to the
provider's cluster. An application adds its own:

    gateway = meshcore.Gateway(config, span_exporters=[OpenTelemetryApi()])

An exporter is called on the control loop with a list of spans and must not block.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshcore._log import logger as log
from meshcore._protobuf import varint
from meshcore._version import __version__
from meshcore.outgoing import (
    DELIVER_WITHIN_S,
    GrpcService,
    HttpTarget,
    Places,
    http_service,
    post,
)

if TYPE_CHECKING:
    from meshcore._core.stats import Store

__all__ = ["OpenTelemetryApi", "Span", "SpanExporter"]

Document = dict[str, Any]

ZIPKIN = "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig"
ENVIRONMENT_DETECTOR = "EnvironmentResourceDetectorConfig"
STATIC_DETECTOR = "StaticConfigResourceDetectorConfig"
MIN_FLUSH_SPANS = 5
FLUSH_INTERVAL_MS = 5000
MAX_CACHE = 1024
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span. Times are microseconds, `timestamp` of Unix time."""

    trace_id: str
    id: str
    name: str
    kind: str  # SERVER or CLIENT
    timestamp: int
    duration: int
    parent_id: str | None = None
    shared: bool = False
    tracestate: str = ""
    annotations: tuple[tuple[str, int], ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    provider: int = 0

    @classmethod
    def from_json(cls, text: bytes) -> Span:
        """From what a worker wrote."""
        found = json.loads(text.decode("utf-8", "replace"))
        found["annotations"] = tuple((name, at) for name, at in found.get("annotations", ()))
        return cls(**found)


SpanExporter = Callable[[Sequence[Span]], None]


# --- the configuration ----------------------------------------------------------------------------


def prepared(document: Document, index_of: Callable[[Document], int]) -> Document:
    """The document as the core reads it: each provider has its number, the bootstrap's stands where
    a connection manager names none, and the environment is read."""
    listeners = document.get("static_resources", {}).get("listeners", ())
    if not any(True for _ in _managers(listeners)):
        return document
    default = document.get("tracing", {}).get("http")

    def manager(typed: Document) -> Document:
        if "tracing" not in typed:
            return typed
        tracing = with_environment(dict(typed["tracing"]))
        provider = tracing.get("provider", default)
        if provider is not None:
            tracing["provider"] = {**provider, "index": index_of(provider)}
        typed = {**typed, "tracing": tracing}
        if "route_config" in typed:
            typed["route_config"] = _routes(typed["route_config"])
        return typed

    def chain(one: Document) -> Document:
        filters = [
            {**f, "typed_config": manager(f["typed_config"])} if "typed_config" in f else f
            for f in one.get("filters", ())
        ]
        return {**one, "filters": filters}

    resources = dict(document["static_resources"])
    resources["listeners"] = [
        {**one, "filter_chains": [chain(c) for c in one.get("filter_chains", ())]}
        for one in listeners
    ]
    return {**document, "static_resources": resources}


def _managers(listeners: Iterable[Document]) -> Iterator[Document]:
    """The connection managers that have tracing."""
    for listener in listeners:
        for chain in listener.get("filter_chains", ()):
            for network in chain.get("filters", ()):
                if "tracing" in network.get("typed_config", {}):
                    yield network["typed_config"]


def _routes(config: Document) -> Document:
    def route(one: Document) -> Document:
        if "custom_tags" not in one.get("tracing", {}):
            return one
        return {**one, "tracing": with_environment(dict(one["tracing"]))}

    hosts = [
        {**host, "routes": [route(one) for one in host["routes"]]} if "routes" in host else host
        for host in config.get("virtual_hosts", ())
    ]
    return {**config, "virtual_hosts": hosts} if hosts else config


def with_environment(tracing: Document) -> Document:
    tags = []
    for tag in tracing.get("custom_tags", ()):
        source = tag.get("environment")
        if source is not None:
            value = os.environ.get(source.get("name", "")) or source.get("default_value", "")
            tag = {**tag, "environment": {**source, "default_value": value}}
        tags.append(tag)
    return {**tracing, "custom_tags": tags} if tags else tracing


def runtime_values(document: Document) -> dict[str, Any]:
    """Values of the static layers, nested names joined by dots."""
    values: dict[str, Any] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                walk(f"{prefix}.{name}" if prefix else name, value)
        else:
            values[prefix] = node

    for layer in document.get("layered_runtime", {}).get("layers", ()):
        walk("", layer.get("static_layer", {}))
    return values


# --- formats --------------------------------------------------------------------------------------


def _bytes(number: int, value: bytes | str) -> bytes:
    """A length-delimited field; nothing for an empty value, as proto3 has it."""
    octets = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(octets)) + octets if octets else b""


def _message(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value) if value else b""


def _fixed64(number: int, value: int) -> bytes:
    return varint(number << 3 | 1) + value.to_bytes(8, "little")


@dataclass(frozen=True)
class _Endpoint:
    """Who reports."""

    service: str
    address: str

    @property
    def family(self) -> str:
        return "ipv6" if ":" in self.address else "ipv4"


def _ends(span: Span) -> list[tuple[str, int]]:
    """A span's annotations, the last of which tells that it was answered."""
    last = ("ss" if span.kind == "SERVER" else "cr", span.timestamp + span.duration)
    return [*span.annotations, last]


def zipkin_json(spans: Sequence[Span], endpoint: _Endpoint) -> bytes:
    """Zipkin's JSON, version 2."""
    local: Document = {"serviceName": endpoint.service, "port": 0}
    if endpoint.address:
        local[endpoint.family] = endpoint.address
    documents = []
    for span in spans:
        one: Document = {
            "traceId": span.trace_id,
            "id": span.id,
            "name": span.name,
            "kind": span.kind,
            "timestamp": span.timestamp,
            "duration": span.duration,
            "localEndpoint": local,
            "annotations": [{"timestamp": at, "value": value} for value, at in _ends(span)],
            "tags": span.tags,
        }
        if span.parent_id is not None:
            one["parentId"] = span.parent_id
        if span.shared:
            one["shared"] = True
        documents.append(one)
    return json.dumps(documents, separators=(",", ":")).encode()


def zipkin_protobuf(spans: Sequence[Span], endpoint: _Endpoint) -> bytes:
    """Zipkin's ListOfSpans (zipkin.proto3)."""
    local = _bytes(1, endpoint.service)
    if endpoint.address:
        octets = ipaddress.ip_address(endpoint.address).packed
        local += _bytes(3 if endpoint.family == "ipv6" else 2, octets)
    out = b""
    for span in spans:
        out += _message(
            1,
            _bytes(1, bytes.fromhex(span.trace_id))
            + _bytes(2, bytes.fromhex(span.parent_id or ""))
            + _bytes(3, bytes.fromhex(span.id))
            + _number(4, 2 if span.kind == "SERVER" else 1)
            + _bytes(5, span.name)
            + _fixed64(6, span.timestamp)
            + _number(7, span.duration)
            + _message(8, local)
            + b"".join(_message(10, _fixed64(1, at) + _bytes(2, v)) for v, at in _ends(span))
            + b"".join(_message(11, _bytes(1, k) + _bytes(2, v)) for k, v in span.tags.items())
            + _number(13, int(span.shared)),
        )
    return out


def _attribute(number: int, name: str, value: str) -> bytes:
    return _message(number, _bytes(1, name) + _message(2, _message(1, value.encode())))


def _failed(span: Span) -> bool:
    """OpenTelemetry's rule: 4xx is an error only to a client."""
    status, grpc = (span.tags.get(f"{of}.status_code", "0") for of in ("http", "grpc"))
    if status.isdigit() and int(status) >= (500 if span.kind == "SERVER" else 400):
        return True
    return grpc.isdigit() and (
        int(grpc) in _GRPC_FAULTS if span.kind == "SERVER" else int(grpc) != 0
    )


# What of gRPC's statuses is the server's fault, by OpenTelemetry's conventions.
_GRPC_FAULTS = frozenset((2, 4, 12, 13, 14, 15))
_METHODS = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE".split())


def _semantic(tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """OpenTelemetry's conventions know some methods, and one name for all others."""
    for name, value in tags.items():
        unknown = name == "http.method" and value not in _METHODS
        yield name, "_OTHER" if unknown else value


def otlp(spans: Sequence[Span], resource: Mapping[str, str]) -> bytes:
    """OpenTelemetry's ExportTraceServiceRequest."""
    scope = _bytes(1, "meshcore") + _bytes(2, __version__)
    scoped = _message(1, scope)
    for span in spans:
        start = span.timestamp * 1000
        scoped += _message(
            2,
            _bytes(1, bytes.fromhex(span.trace_id))
            + _bytes(2, bytes.fromhex(span.id))
            + _bytes(3, span.tracestate)
            + _bytes(4, bytes.fromhex(span.parent_id or ""))
            + _bytes(5, span.name)
            + _number(6, 2 if span.kind == "SERVER" else 3)
            + _fixed64(7, start)
            + _fixed64(8, start + span.duration * 1000)
            + b"".join(_attribute(9, name, value) for name, value in _semantic(span.tags))
            + (_message(15, _number(3, 2)) if _failed(span) else b""),
        )
    attributes = b"".join(_attribute(1, name, value) for name, value in resource.items())
    return _message(1, _message(1, attributes) + _message(2, scoped))


def _resource(config: Document) -> dict[str, str]:
    """What OpenTelemetry is told of this process."""
    resource: dict[str, str] = {}
    if config.get("set_telemetry_sdk_resource_attributes", True):
        resource |= {
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "meshcore",
            "telemetry.sdk.version": __version__,
        }
    if config.get("set_service_name_resource_attribute", True):
        resource["service.name"] = config.get("service_name") or "unknown_service:envoy"
    for detector in config.get("resource_detectors", ()):
        typed = detector.get("typed_config", {})
        if typed.get("@type", "").endswith(STATIC_DETECTOR):
            resource |= typed.get("attributes", {})
        elif typed.get("@type", "").endswith(ENVIRONMENT_DETECTOR):
            for item in filter(None, os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")):
                name, _, value = item.partition("=")
                resource[name.strip()] = urllib.parse.unquote(value.strip())
    return resource


# --- providers ------------------------------------------------------------------------------------


def _collector(config: Document, kind: str) -> HttpTarget:
    """Zipkin's own way to say where its collector is."""
    cluster = config.get("collector_cluster", "")
    host = config.get("collector_hostname") or cluster
    return HttpTarget(cluster, host, config.get("collector_endpoint", "/"), kind)


class _Provider:
    """One provider of the configuration: spans that wait, and how a batch of them looks."""

    def __init__(
        self, message: Document, endpoint: _Endpoint, stats: Store, places: Places
    ) -> None:
        config = message.get("typed_config", {})
        self.zipkin = config.get("@type") == ZIPKIN
        self.name = "zipkin" if self.zipkin else "opentelemetry"
        self.endpoint = endpoint
        self.waiting: list[Span] = []
        self.limit = int(config.get("max_cache_size", MAX_CACHE)) or MAX_CACHE
        self.resource = _resource(config)
        self.protobuf = config.get("collector_endpoint_version") == "HTTP_PROTO"
        kind = "application/json" if self.zipkin and not self.protobuf else "application/x-protobuf"
        service = config.get("collector_service" if self.zipkin else "http_service")
        self.target = http_service(service, kind) if service else _collector(config, kind)
        grpc = config.get("grpc_service")
        self.grpc = GrpcService(grpc, places) if grpc else None
        names = ["spans_sent", "timer_flushed"]
        names += (
            ["reports_sent", "reports_skipped_no_cluster", "reports_dropped", "reports_failed"]
            if self.zipkin
            else ["spans_dropped"]
        )
        self._stats = {name: stats.counter(f"tracing.{self.name}.{name}") for name in names}

    def count(self, name: str, n: int = 1) -> None:
        counter = self._stats.get(name)
        if counter is not None and n:
            counter.inc(n)

    def take(self, span: Span) -> bool:
        """False: too many wait already, the span is dropped."""
        if len(self.waiting) >= self.limit:
            self.count("spans_dropped")
            return False
        self.waiting.append(span)
        return True

    def body(self, spans: Sequence[Span]) -> bytes:
        if not self.zipkin:
            return otlp(spans, self.resource)
        encode = zipkin_protobuf if self.protobuf else zipkin_json
        return encode(spans, self.endpoint)

    def answered(self, status: int) -> None:
        if status == (202 if self.zipkin else 200):
            self.count("reports_sent")
        else:
            self.count("reports_dropped")
            log.debug("a collector of spans answered %d", status)


class Tracers:
    """The providers of a gateway, over all its configurations. Belongs to the control loop."""

    def __init__(
        self,
        stats: Store,
        exporters: Sequence[SpanExporter],
        node_address: str,
        places: Places,
    ) -> None:
        self._stats = stats
        self._exporters = exporters
        self._node_address = node_address
        self._numbers: dict[str, int] = {}
        self._providers: list[_Provider] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._places = places
        self._min_spans = dict.fromkeys(("zipkin", "opentelemetry"), MIN_FLUSH_SPANS)
        self._interval_s = dict.fromkeys(("zipkin", "opentelemetry"), FLUSH_INTERVAL_MS / 1000)

    def prepare(self, document: Document) -> Document:
        """See `prepared`; a provider that is known already keeps its number."""
        service = document.get("node", {}).get("cluster", "")

        def number(provider: Document) -> int:
            key = json.dumps([provider, service], sort_keys=True)
            if key not in self._numbers:
                self._numbers[key] = len(self._providers)
                endpoint = _Endpoint(service, self._node_address)
                self._providers.append(_Provider(provider, endpoint, self._stats, self._places))
            return self._numbers[key]

        return prepared(document, number)

    def follow(self, document: Document) -> None:
        """How often batches go from now on."""
        values = runtime_values(document)
        for name in self._min_spans:
            spans = values.get(f"tracing.{name}.min_flush_spans", MIN_FLUSH_SPANS)
            interval = values.get(f"tracing.{name}.flush_interval_ms", FLUSH_INTERVAL_MS)
            self._min_spans[name] = max(1, int(spans))
            self._interval_s[name] = max(1, int(interval)) / 1000
        if self._providers and self._ticking is None:
            self._ticking = asyncio.ensure_future(self._tick())

    def take(self, texts: Sequence[bytes]) -> None:
        """Spans from the workers."""
        spans = [Span.from_json(text) for text in texts]
        for exporter in self._exporters:
            try:
                exporter(spans)
            except Exception:
                log.exception("an exporter of spans failed")
        for span in spans:
            if span.provider < len(self._providers):
                provider = self._providers[span.provider]
                dropped = not provider.take(span)
                if dropped or len(provider.waiting) >= self._min_spans[provider.name]:
                    self._flush(provider)

    async def close(self) -> None:
        """Send what waits, within the time that a delivery may take."""
        if self._ticking is not None:
            self._ticking.cancel()
        for provider in self._providers:
            self._flush(provider)
        if self._sending:
            await asyncio.wait(self._sending, timeout=DELIVER_WITHIN_S)
        for provider in self._providers:
            if provider.grpc is not None:
                await provider.grpc.close()

    async def _tick(self) -> None:
        """Each provider's flush when its interval is over."""
        loop = asyncio.get_running_loop()
        due = dict.fromkeys(self._min_spans, 0.0)
        while True:
            now = loop.time()
            for name, interval in self._interval_s.items():
                if now >= due[name]:
                    due[name] = now + interval
                    for provider in self._providers:
                        if provider.name == name:
                            provider.count("timer_flushed")
                            self._flush(provider)
            await asyncio.sleep(max(0.0, min(due.values()) - loop.time()))

    def _flush(self, provider: _Provider) -> None:
        spans, provider.waiting = provider.waiting, []
        if spans:
            task = asyncio.ensure_future(self._deliver(provider, spans))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _deliver(self, provider: _Provider, spans: Sequence[Span]) -> None:
        provider.count("spans_sent", len(spans))
        body = provider.body(spans)
        try:
            if provider.grpc is not None:
                await provider.grpc.call(EXPORT, body)
                return
            address = self._places.host(provider.target.cluster)
            if address is None:
                provider.count("reports_skipped_no_cluster")
                return
            provider.answered(await post(address, provider.target, body))
        except (OSError, TimeoutError) as error:
            provider.count("reports_failed")
            log.debug("spans could not be delivered: %s", error)


# --- the application's own tracing ----------------------------------------------------------------


class OpenTelemetryApi:
    """An exporter that gives spans to the application's OpenTelemetry, by its API alone.

    Without an argument it is the global tracer provider. The trace's id and the parents stay as
    they travelled; the API has no way to give a span its id, so the SDK draws another.
    """

    def __init__(self, tracer_provider: Any = None) -> None:
        from opentelemetry import trace

        self._api = trace
        provider = tracer_provider or trace.get_tracer_provider()
        self._tracer = provider.get_tracer("meshcore", __version__)

    def __call__(self, spans: Sequence[Span]) -> None:
        trace = self._api
        for span in spans:
            context = trace.SpanContext(
                int(span.trace_id, 16),
                int(span.parent_id or span.id, 16),
                is_remote=True,
                trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
            )
            started = self._tracer.start_span(
                span.name,
                context=trace.set_span_in_context(trace.NonRecordingSpan(context)),
                kind=trace.SpanKind[span.kind],
                attributes=span.tags,
                start_time=span.timestamp * 1000,
            )
            for name, at in span.annotations:
                started.add_event(name, timestamp=at * 1000)
            if _failed(span):
                started.set_status(trace.StatusCode.ERROR)
            started.end(end_time=(span.timestamp + span.duration) * 1000)
