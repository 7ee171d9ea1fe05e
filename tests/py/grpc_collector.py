"""A gRPC server that keeps every message it is sent, whatever the method."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")

HTTP2 = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
}


@dataclass(frozen=True)
class Message:
    method: str
    number: int  # in its stream
    body: bytes
    metadata: dict[str, str]


class GrpcCollector(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    def __init__(self) -> None:
        self.port = 0
        self.messages: list[Message] = []
        self.streams = 0
        self.reads = threading.Event()  # cleared: streams are not read
        self.reads.set()
        self.refuses = False

    def service(self, details: Any) -> Any:
        metadata = dict(details.invocation_metadata)

        def unary(body: bytes, context: Any) -> bytes:
            if self.refuses:
                context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            self.messages.append(Message(details.method, 0, body, metadata))
            return b""

        def stream(bodies: Iterator[bytes], _: Any) -> bytes:
            self.streams += 1
            self.reads.wait()
            for number, body in enumerate(bodies):
                self.messages.append(Message(details.method, number, body, metadata))
                self.reads.wait()
            return b""

        if "/Stream" in details.method:
            return grpc.stream_unary_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)


@contextmanager
def served(handler: Any, port: int, threads: int) -> Iterator[int]:
    """A gRPC server of a generic handler; its port."""
    server = grpc.server(futures.ThreadPoolExecutor(threads), handlers=(handler,))
    found = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield found
    finally:
        server.stop(None).wait()


@contextmanager
def grpc_collector(port: int = 0) -> Iterator[GrpcCollector]:
    collector = GrpcCollector()
    with served(collector, port, threads=4) as collector.port:
        try:
            yield collector
        finally:
            collector.reads.set()
