"""Requests of the control side's own, to services that a configuration names: collectors of spans
and of logs, management servers. POST over HTTP/1, calls over gRPC (the package ``grpcio``, imported
on first use).

Everything here belongs to the control loop. A host is chosen by the cluster's own policy, in a
balancer of the control side: requests of workers do not count in it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from meshcore._core.format import Formatter
from meshcore._version import __version__
from meshcore.balancing import LoadBalancer

__all__ = [
    "DELIVER_WITHIN_S",
    "GrpcExchange",
    "GrpcService",
    "GrpcStream",
    "HttpTarget",
    "Places",
    "http_service",
    "node_of",
    "post",
]

Document = Mapping[str, Any]
DELIVER_WITHIN_S = 5.0
END_WITHIN_S = 1.0


def node_of(document: Document) -> Document:
    """Who calls, a Node: the bootstrap's, and what program it is."""
    return {
        "user_agent_name": "meshcore",
        "user_agent_version": __version__,
        **document.get("node", {}),
    }


class Places:
    """Where the clusters of the current configuration are."""

    def __init__(self) -> None:
        self._clusters: dict[str, Document] = {}
        self._assignments: Mapping[str, Any] = {}
        self._balancers: dict[str, tuple[Any, LoadBalancer]] = {}

    def follow(self, document: Document, assignments: Mapping[str, Any]) -> None:
        """`assignments` is looked at again at each choice: discovery changes it in place."""
        clusters = document.get("static_resources", {}).get("clusters", ())
        found = {cluster["name"]: cluster for cluster in clusters}
        for name, cluster in found.items():
            if self._clusters.get(name) != cluster:
                self._balancers.pop(name, None)
        self._clusters, self._assignments = found, assignments

    def host(self, cluster: str) -> tuple[str, int] | None:
        """The host for one request or connection; None when there is none."""
        config = self._clusters.get(cluster)
        if config is None:
            return None
        assignment = self._assignments.get(cluster, config.get("load_assignment", {}))
        known, balancer = self._balancers.get(cluster, (None, None))
        if balancer is None or known is not assignment:
            balancer = LoadBalancer(config, {"endpoints": [], **assignment})
            self._balancers[cluster] = assignment, balancer
        chosen = balancer.choose()
        if chosen is None:
            return None
        host, _, port = chosen.address.rpartition(":")
        return host.strip("[]"), int(port)


# --- HTTP/1 ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HttpTarget:
    """A cluster, and what a request to it says."""

    cluster: str
    host: str
    path: str
    content_type: str
    timeout_s: float = DELIVER_WITHIN_S
    headers: tuple[tuple[str, str], ...] = ()


Headers = tuple[tuple[str, str], ...]


def http_service(service: Document, content_type: str, headers: Headers = ()) -> HttpTarget:
    """Of an HttpService; `headers` come before its own."""
    uri = service.get("http_uri", {})
    _, _, rest = uri.get("uri", "").partition("://")
    host, slash, path = rest.partition("/")
    timeout = float(uri.get("timeout", "0s").rstrip("s")) or DELIVER_WITHIN_S
    headers += _headers(service.get("request_headers_to_add", ()))
    cluster = uri.get("cluster", "")
    return HttpTarget(cluster, host, slash + path or "/", content_type, timeout, headers)


def _headers(options: Any) -> Headers:
    pairs = (option["header"] for option in options)
    return tuple((pair["key"].lower(), _text(pair)) for pair in pairs)


def _text(pair: Document) -> str:
    """A header's value, which is a format; nothing is known of a request here."""
    value: str = pair.get("value", "")
    return Formatter(value, omit_empty=True).format({}) if "%" in value else value


async def post(address: tuple[str, int], target: HttpTarget, body: bytes) -> int:
    """The status of the answer; raises OSError and TimeoutError."""
    head = [
        f"POST {target.path} HTTP/1.1",
        f"host: {target.host}",
        f"content-type: {target.content_type}",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in target.headers),
        "connection: close",
    ]
    async with asyncio.timeout(target.timeout_s):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write("\r\n".join([*head, "", ""]).encode("latin-1") + body)
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/") or not rest[:3].isdigit():
        raise OSError("the collector's answer is no HTTP")
    return int(rest[:3])


# --- gRPC -----------------------------------------------------------------------------------------


class GrpcService:
    """A GrpcService: one channel to a host of the cluster, or to the target; another one after a
    failure. Messages are bytes, serialized already."""

    def __init__(self, service: Document, places: Places) -> None:
        self._envoy = service.get("envoy_grpc")
        self._google = service.get("google_grpc", {})
        self._metadata = tuple(
            (pair["key"].lower(), _text(pair)) for pair in service.get("initial_metadata", ())
        )
        self.timeout_s = float(service.get("timeout", "0s").rstrip("s")) or None
        self._places = places
        self._channel: Any = None

    def _open(self) -> Any:
        """The channel; raises OSError where there is no host."""
        if self._channel is None:
            import grpc.aio  # type: ignore[import-not-found,import-untyped,unused-ignore]

            target, options = self._google.get("target_uri", ""), []
            if self._envoy is not None:
                found = self._places.host(self._envoy["cluster_name"])
                if found is None:
                    raise OSError("the cluster has no host")
                host, port = found
                target = f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
                authority = self._envoy.get("authority") or self._envoy["cluster_name"]
                options = [("grpc.default_authority", authority)]
            # Two channels to one place would share a connection, and its state of being lost.
            options += [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
            self._channel = grpc.aio.insecure_channel(target, options=options)
        return self._channel

    async def call(self, method: str, message: bytes) -> bytes:
        """A unary call. Raises OSError, whose text tells of the status; not tried again."""
        channel = self._open()
        unary = channel.unary_unary(method)
        try:
            timeout = self.timeout_s or DELIVER_WITHIN_S
            answer: bytes = await unary(message, timeout=timeout, metadata=self._metadata)
        except Exception as error:
            await self._lost(error)
        return answer

    async def stream(self, method: str) -> GrpcStream:
        """A stream of messages, which is answered when it ends. Raises OSError."""
        call = self._open().stream_unary(method)
        return GrpcStream(self, call(timeout=self.timeout_s, metadata=self._metadata))

    async def exchange(self, method: str) -> GrpcExchange:
        """A stream of messages both ways, without an end of its own. Raises OSError."""
        call = self._open().stream_stream(method)
        return GrpcExchange(self, call(metadata=self._metadata))

    async def _lost(self, error: Exception) -> NoReturn:
        """The next call chooses a host again."""
        await self.close()
        code = getattr(error, "code", None)
        if code is None:
            raise error
        details = getattr(error, "details", lambda: "")()
        raise OSError(f"{code().name}: {details}") from error

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


class GrpcStream:
    """One call that takes messages until somebody ends it."""

    def __init__(self, service: GrpcService, call: Any) -> None:
        self._service = service
        self._call = call

    @property
    def ended(self) -> bool:
        return bool(self._call.done())

    async def write(self, message: bytes) -> None:
        """Returns when the transport has taken it. Raises OSError."""
        try:
            await self._call.write(message)
        except asyncio.InvalidStateError as error:
            raise OSError("the stream has ended") from error
        except Exception as error:
            await self._service._lost(error)

    async def end(self) -> None:
        """No more messages; the service has a moment to say that it has them all."""
        with contextlib.suppress(Exception):
            await self._call.done_writing()
            await asyncio.wait_for(self._call, END_WITHIN_S)


class GrpcExchange:
    """One call whose two sides speak when they like. It is over once something raised OSError."""

    def __init__(self, service: GrpcService, call: Any) -> None:
        self._service = service
        self._call = call

    async def write(self, message: bytes) -> None:
        try:
            await self._call.write(message)
        except asyncio.InvalidStateError as error:
            raise OSError("the stream has ended") from error
        except asyncio.CancelledError:
            self._unless_cancelled()
        except Exception as error:
            await self._service._lost(error)

    def _unless_cancelled(self) -> NoReturn:
        """A call whose channel was closed is cancelled; whoever waits for it is not."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise OSError("the stream was given up") from None

    async def read(self) -> bytes:
        """The next message; an end, too, is an OSError."""
        import grpc.aio

        try:
            message = await self._call.read()
        except asyncio.CancelledError:
            self._unless_cancelled()
        except Exception as error:
            await self._service._lost(error)
        if message is grpc.aio.EOF:
            await self._service.close()
            raise OSError(f"the service ended the stream: {await self._call.details()}")
        body: bytes = message
        return body

    def cancel(self) -> None:
        self._call.cancel()
