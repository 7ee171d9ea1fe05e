"""A management server that speaks delta discovery over gRPC, as a test tells it to.

It keeps every request with the stream that brought it, and answers by itself only what `serves`
has: names subscribed that are there are sent, whatever the client may hold; None is no such host.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from grpc_collector import served
from waiting import wait_until

from meshcore.config.schema import message_class, pool

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")

Tree = dict[str, Any]
HOST = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
REQUEST = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"


@dataclass
class Stream:
    """One call, and what waits to be sent on it."""

    method: str
    metadata: dict[str, str]
    requests: list[Tree] = field(default_factory=list)
    ended: bool = False
    outgoing: queue.SimpleQueue[bytes | None] = field(default_factory=queue.SimpleQueue)

    def asked(self) -> list[Tree]:
        """Requests that are no acknowledgement, without who asks."""
        return [
            {key: value for key, value in each.items() if key not in ("node", "type_url")}
            for each in self.requests
            if "response_nonce" not in each
        ]

    def acknowledged(self) -> list[Tree]:
        return [each for each in self.requests if "response_nonce" in each]

    def end(self) -> None:
        self.outgoing.put(None)


class DeltaServer(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    def __init__(self) -> None:
        self.port = 0
        self.serves: dict[str, Tree | None] = {}
        self.streams: list[Stream] = []
        self._nonces = itertools.count(1)
        self._lock = threading.Lock()

    # --- what a test does ---------------------------------------------------------------------

    def stream(self, number: int = -1) -> Stream:
        """A stream that has brought a request; waits for it."""
        wait_until(lambda: self.streams and self.streams[number].requests)
        return self.streams[number]

    def send(
        self,
        *resources: Tree,
        removed: tuple[str, ...] = (),
        stream: int = -1,
        kind: str = HOST,
        **more: Any,
    ) -> Tree:
        """Sends a response on a stream, and returns what acknowledges it (or does not)."""
        to = self.stream(stream)
        nonce = self.post(to, *resources, removed=removed, kind=kind, **more)
        return wait_until(
            lambda: next((e for e in to.acknowledged() if e["response_nonce"] == nonce), None)
        )

    def post(
        self,
        stream: Stream,
        *resources: Tree,
        removed: tuple[str, ...] = (),
        kind: str = HOST,
        **more: Any,
    ) -> str:
        nonce = f"n{next(self._nonces)}"
        tree = {
            "type_url": kind,
            "nonce": nonce,
            "resources": list(resources),
            "removed_resources": list(removed),
            **more,
        }
        message = ParseDict(tree, message_class(RESPONSE)(), descriptor_pool=pool())
        stream.outgoing.put(message.SerializeToString())
        return nonce

    def asked(self, stream: int = -1) -> list[Tree]:
        return self.stream(stream).asked()

    def end_streams(self) -> None:
        for each in self.streams:
            each.end()

    # --- the server ---------------------------------------------------------------------------

    def service(self, details: Any) -> Any:
        metadata = dict(details.invocation_metadata)

        def serve(bodies: Iterator[bytes], context: Any) -> Iterator[bytes]:
            stream = Stream(details.method, metadata)
            context.add_callback(stream.end)
            self.streams.append(stream)
            threading.Thread(target=self._read, args=(stream, bodies), daemon=True).start()
            while (body := stream.outgoing.get()) is not None:
                yield body
            stream.ended = True

        return grpc.stream_stream_rpc_method_handler(serve)

    def _read(self, stream: Stream, bodies: Iterator[bytes]) -> None:
        try:
            for body in bodies:
                message = message_class(REQUEST).FromString(body)
                tree = MessageToDict(
                    message, preserving_proto_field_name=True, descriptor_pool=pool()
                )
                stream.requests.append(tree)
                names = tree.get("resource_names_subscribe", ())
                if found := [self._resource(name) for name in names if name in self.serves]:
                    self.post(stream, *found)
        except grpc.RpcError:
            stream.ended = True

    def _resource(self, name: str) -> Tree:
        told = self.serves[name]
        if told is None:
            return {"name": name, "aliases": [name]}
        return told if "resource" in told else resource(name, told)


def resource(name: str, host: Tree, *aliases: str, version: str = "1") -> Tree:
    return {
        "name": name,
        "version": version,
        "aliases": list(aliases),
        "resource": {"@type": HOST, **host},
    }


@contextmanager
def delta_server(
    port: int = 0, serves: Mapping[str, Tree | None] | None = None
) -> Iterator[DeltaServer]:
    handler = DeltaServer()
    handler.serves.update(serves or {})
    with served(handler, port, threads=16) as handler.port:
        try:
            yield handler
        finally:
            handler.end_streams()
