"""Access logs that go to services (AL-7): batches of messages that the log writer made, sent over
gRPC (StreamAccessLogs; OpenTelemetry's Export) or HTTP (OpenTelemetry).

The writer gives away one batch of a logger at a time and keeps what comes meanwhile, up to a limit;
here each logger has one task, which takes a batch, sends it, and takes the next.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from meshcore._log import logger as log
from meshcore._protobuf import read_varint, varint
from meshcore._version import __version__
from meshcore.config.process import with_process_values
from meshcore.outgoing import (
    DELIVER_WITHIN_S,
    GrpcService,
    GrpcStream,
    http_service,
    node_of,
    post,
)
from meshcore.tracing import with_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcore._core.engine import Engine
    from meshcore._core.stats import Store
    from meshcore.outgoing import Places

__all__ = ["LogServices", "prepared"]

Document = dict[str, Any]

_TYPES = "type.googleapis.com/envoy.extensions.access_loggers."
_HTTP = f"{_TYPES}grpc.v3.HttpGrpcAccessLogConfig"
_TCP = f"{_TYPES}grpc.v3.TcpGrpcAccessLogConfig"
_OTEL = f"{_TYPES}open_telemetry.v3.OpenTelemetryAccessLogConfig"
_STREAM = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
_EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


# --- the configuration ----------------------------------------------------------------------------


def prepared(document: Document, number_of: Callable[[Document], int]) -> Document:
    """The document as the core reads it: each logger has its number, the environment is read."""

    def logger(entry: Document) -> Document:
        typed = entry.get("typed_config", {})
        kind = typed.get("@type")
        if kind not in (_HTTP, _TCP, _OTEL):
            return entry
        typed = {**typed, "number": number_of(typed)}
        if kind == _OTEL:
            typed = with_environment(typed)
            for field in typed.keys() & {"body", "attributes"}:
                typed[field] = with_process_values(typed[field])
        else:
            typed["common_config"] = with_environment(dict(typed["common_config"]))
        return {**entry, "typed_config": typed}

    def loggers(holder: Document, field: str) -> Document:
        if field not in holder:
            return holder
        return {**holder, field: [logger(entry) for entry in holder[field]]}

    def http_filter(one: Document) -> Document:
        typed = one.get("typed_config", {})
        if "upstream_log" not in typed:
            return one
        return {**one, "typed_config": loggers(typed, "upstream_log")}

    def network_filter(one: Document) -> Document:
        typed = one.get("typed_config", {})
        if "access_log" not in typed and "http_filters" not in typed:
            return one
        typed = loggers(typed, "access_log")
        if "http_filters" in typed:
            typed = {**typed, "http_filters": [http_filter(f) for f in typed["http_filters"]]}
        return {**one, "typed_config": typed}

    def chain(one: Document) -> Document:
        return {**one, "filters": [network_filter(f) for f in one.get("filters", ())]}

    def listener(one: Document) -> Document:
        one = loggers(one, "access_log")
        return {**one, "filter_chains": [chain(c) for c in one.get("filter_chains", ())]}

    resources = dict(document.get("static_resources", {}))
    if "listeners" not in resources:
        return document
    resources["listeners"] = [listener(one) for one in resources["listeners"]]
    return {**document, "static_resources": resources}


# --- messages -------------------------------------------------------------------------------------


def _field(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def _parts(batch: bytes, count: int, each: bool) -> Iterator[tuple[bytes, int]]:
    """What is sent at a time, with its number of entries: all, or each with its tag and length."""
    if not each or count <= 1:
        yield batch, count
        return
    at = 0
    while at < len(batch):
        _, body = read_varint(batch, at)
        size, body = read_varint(batch, body)
        yield batch[at : body + size], 1
        at = body + size


def _serialized(name: str, tree: Mapping[str, Any]) -> bytes:
    """A message of the private pool, out of its canonical form."""
    from google.protobuf.json_format import Parse

    from meshcore.config import schema

    message = schema.message_class(name)()
    Parse(json.dumps(tree), message, descriptor_pool=schema.pool())
    return message.SerializeToString(deterministic=True)


def _identifier(document: Document, log_name: str) -> bytes:
    """StreamAccessLogsMessage.Identifier."""
    node = _serialized("envoy.config.core.v3.Node", node_of(document))
    return _field(1, node) + _field(2, log_name.encode())


def _resource(document: Document, config: Document) -> bytes:
    """OpenTelemetry's Resource: labels and attributes."""
    node = document.get("node", {})
    labels: dict[str, Any] = {}
    if not config.get("disable_builtin_labels"):
        common = config.get("common_config", {})
        labels = {
            "log_name": config.get("log_name") or common.get("log_name", ""),
            "zone_name": node.get("locality", {}).get("zone", ""),
            "cluster_name": node.get("cluster", ""),
            "node_name": node.get("id", ""),
        }
    pairs = [{"key": key, "value": {"string_value": value}} for key, value in labels.items()]
    pairs += config.get("resource_attributes", {}).get("values", ())
    return _serialized("opentelemetry.proto.common.v1.KeyValueList", {"values": pairs})


# --- loggers --------------------------------------------------------------------------------------


class _Stream:
    """StreamAccessLogs: one stream for as long as it lasts."""

    def __init__(self, config: Document, document: Document, stats: Store, places: Places) -> None:
        common = config["common_config"]
        self._service = GrpcService(common["grpc_service"], places)
        self._identifier = _field(1, _identifier(document, common.get("log_name", "")))
        self._entries = 3 if config["@type"] == _TCP else 2
        self._each = int(common.get("buffer_size_bytes", 16384)) == 0
        self._retry = common.get("grpc_stream_retry_policy")
        self._stream: GrpcStream | None = None
        scope = "access_logs.grpc_access_log"
        self._flushed = stats.counter(f"{scope}.grpc_entries_flushed")
        self._failed = stats.counter(f"{scope}.grpc_entries_flush_failed")

    async def send(self, batch: bytes, count: int) -> None:
        for part, entries in _parts(batch, count, self._each):
            try:
                await self._send(_field(self._entries, part))
            except OSError as error:
                self._failed.inc(entries)
                log.debug("access logs could not be sent: %s", error)
            else:
                self._flushed.inc(entries)

    async def _send(self, logs: bytes) -> None:
        """Tried again only as the retry policy says: while no stream can be had."""
        tries = 1 + int(self._retry.get("num_retries", 1)) if self._retry is not None else 1
        back_off = (self._retry or {}).get("retry_back_off", {})
        base = float(back_off.get("base_interval", "1s").rstrip("s"))
        most = float(back_off.get("max_interval", f"{10 * base}s").rstrip("s"))
        for number in range(1, tries + 1):
            try:
                await self._write(logs)
                return
            except OSError:
                if number == tries:
                    raise
            await asyncio.sleep(min(most, base * (2**number - 1)))

    async def _write(self, logs: bytes) -> None:
        stream, self._stream = self._stream, None
        if stream is None or stream.ended:
            stream = await self._service.stream(_STREAM)
            logs = self._identifier + logs
        await stream.write(logs)
        self._stream = stream

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.end()
        await self._service.close()


class _Export:
    """OpenTelemetry's logs, a request for each batch."""

    def __init__(self, config: Document, document: Document, stats: Store, places: Places) -> None:
        self._places = places
        self._resource = _field(1, _resource(document, config))
        self._each = int(_own(config, "buffer_size_bytes", 16384)) == 0
        service = config.get("grpc_service") or config.get("common_config", {}).get("grpc_service")
        self._grpc = GrpcService(service, places) if service else None
        agent = ("user-agent", f"OTel-OTLP-Exporter-meshcore/{__version__}")
        self._target = http_service(
            config.get("http_service", {}), "application/x-protobuf", (agent,)
        )
        prefix = config.get("stat_prefix", "")
        scope = "access_logs.open_telemetry_access_log." + (f"{prefix}." if prefix else "")
        self._written = stats.counter(f"{scope}logs_written")
        self._dropped = stats.counter(f"{scope}logs_dropped")

    async def send(self, batch: bytes, count: int) -> None:
        for part, entries in _parts(batch, count, self._each):
            try:
                await self._send(_field(1, self._resource + _field(2, part)))
            except (OSError, TimeoutError) as error:
                self._dropped.inc(entries)
                log.debug("access logs could not be sent: %s", error)
            else:
                self._written.inc(entries)

    async def _send(self, request: bytes) -> None:
        if self._grpc is not None:
            await self._grpc.call(_EXPORT, request)
            return
        address = self._places.host(self._target.cluster)
        if address is None:
            raise OSError("the cluster has no host")
        status = await post(address, self._target, request)
        if status != 200:
            raise OSError(f"the service answered {status}")

    async def close(self) -> None:
        if self._grpc is not None:
            await self._grpc.close()


def _own(config: Document, field: str, default: Any) -> Any:
    """A field of the message itself, or of its older place."""
    return config.get(field, config.get("common_config", {}).get(field, default))


class LogServices:
    """The loggers of a gateway, over all its configurations. Belongs to the control loop."""

    def __init__(self, stats: Store, places: Places, engine: Engine) -> None:
        self._stats = stats
        self._places = places
        self._engine = engine
        self._numbers: dict[str, int] = {}
        self._loggers: list[_Stream | _Export] = []
        self._sending: dict[int, asyncio.Task[None]] = {}

    def prepare(self, document: Document) -> Document:
        """See `prepared`. Loggers of the same service share a number, and what they send with."""

        def number(config: Document) -> int:
            kind = _Export if config["@type"] == _OTEL else _Stream
            same = config if kind is _Export else [config["@type"], config["common_config"]]
            key = json.dumps([same, document.get("node", {})], sort_keys=True)
            if key not in self._numbers:
                self._numbers[key] = len(self._loggers)
                self._loggers.append(kind(config, document, self._stats, self._places))
            return self._numbers[key]

        return prepared(document, number)

    def wake(self) -> None:
        """There may be batches."""
        for number in range(len(self._loggers)):
            if number not in self._sending:
                batch = self._engine.log_batch(number)
                if batch is not None:
                    self._sending[number] = asyncio.ensure_future(self._send(number, batch))

    async def _send(self, number: int, batch: tuple[bytes, int] | None) -> None:
        try:
            while batch is not None:
                await self._loggers[number].send(*batch)
                batch = self._engine.log_batch(number)
        except Exception:
            log.exception("a batch of access logs was lost")
        finally:
            del self._sending[number]

    async def close(self) -> None:
        """Sends what waits, within the time that a delivery may take; the writer has returned."""
        if self._sending:
            await asyncio.wait(self._sending.values(), timeout=DELIVER_WITHIN_S)
        for task in self._sending.values():
            task.cancel()
        for number, logger in enumerate(self._loggers):
            try:
                async with asyncio.timeout(DELIVER_WITHIN_S):
                    while (batch := self._engine.log_batch(number, rest=True)) is not None:
                        await logger.send(*batch)
            except TimeoutError:
                log.debug("the last access logs could not be sent in time")
            await logger.close()
