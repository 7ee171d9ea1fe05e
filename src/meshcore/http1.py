"""HTTP/1.x, free of I/O: bytes in, events or messages out; heads and chunks back to bytes.

For example, the heart of a server:

    parser = RequestParser()
    for request in parser.messages(sock.recv(65536)):
        if request.target == b"/" and request.get("accept") is not None:
            sock.sendall(encode_response(200, [("content-type", "text/plain")], b"hello"))

It rests on the parser of the gateway itself, so it refuses what the gateway refuses: see
docs/http1.md for each case.
"""

from __future__ import annotations

from meshcore._core.http1 import (
    Request,
    RequestParser,
    Response,
    ResponseParser,
    encode_chunk,
    encode_last_chunk,
    encode_request,
    encode_response,
)

__all__ = [
    "Request",
    "RequestParser",
    "Response",
    "ResponseParser",
    "encode_chunk",
    "encode_last_chunk",
    "encode_request",
    "encode_response",
]
