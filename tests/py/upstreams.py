"""Small upstreams whose every byte a test decides: an asyncio server on a thread of its own.

An upstream runs one *behaviour* for each request: an `async def` that is given the `Exchange` and
writes what it likes. It keeps what it received, so that a test can ask afterwards:

    with Upstream(echo) as origin:
        ...
        assert origin.requests[0].target == "/"
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Self

Headers = list[tuple[str, str]]
HEAD_LIMIT = 1 << 20


@dataclass
class Request:
    """A request as it came: header names in their case and order, and the connection's number."""

    method: str
    target: str
    version: str
    headers: Headers
    connection: int
    body: bytearray = field(default_factory=bytearray)
    trailers: Headers = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in any case."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


class Exchange:
    """One request being answered."""

    def __init__(
        self,
        upstream: Upstream,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.upstream = upstream
        self.request = request
        self.reader = reader
        self.writer = writer
        self.body_read = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives, nothing of it kept."""
        self.body_read = True
        if (self.request.header("transfer-encoding") or "").lower().endswith("chunked"):
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                self.request.trailers.append(split_header(line))
            return
        left = int(self.request.header("content-length") or 0)
        while left:
            piece = await self.reader.read(min(left, 1 << 16))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece

    async def read_body(self) -> bytes:
        """The whole body, kept in the request."""
        if not self.body_read:
            async for piece in self.pieces():
                self.request.body += piece
        return bytes(self.request.body)

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        """Send one chunk; an empty one ends the body."""
        await self.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Exchange], Awaitable[None]]


class Upstream:
    """A server on 127.0.0.1:`port`; `requests` and `connections` tell what it has seen."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections = 0
        self.disconnected = threading.Event()  # a client left in the middle of an exchange
        self._gate = asyncio.Semaphore(0)
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = listening.getsockname()[1]
        serving = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening, serving), daemon=True)
        self._thread.start()
        serving.wait()

    async def gate(self) -> None:
        """For a behaviour: wait until the test calls `release`."""
        await self._gate.acquire()

    def release(self, times: int = 1) -> None:
        """Let `times` waits at the gate pass, now or later."""
        for _ in range(times):
            self._loop.call_soon_threadsafe(self._gate.release)

    def drop_connections(self) -> None:
        """Close every open connection."""
        self._loop.call_soon_threadsafe(self._cancel)

    def close(self) -> None:
        """Stop listening and close every connection; may be called again."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _run(self, listening: socket.socket, serving: threading.Event) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(
            asyncio.start_server(self._connection, sock=listening, limit=HEAD_LIMIT)
        )
        serving.set()
        loop.run_forever()
        server.close()
        self._cancel()
        loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # asyncio leaves the delay on where the listening socket was made without a protocol: then
        # every answer in two pieces would wait for a delayed acknowledgement.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        self.open_connections += 1
        number = self.connections
        with contextlib.suppress(asyncio.CancelledError):
            try:
                while await self._exchange(number, reader, writer):
                    pass
            except (OSError, EOFError):
                self.disconnected.set()
        self.open_connections -= 1
        self._tasks.discard(task)
        writer.close()

    async def _exchange(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether the connection can carry another."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        line, *lines = head[:-4].split(b"\r\n")
        method, target, version = line.decode("latin-1").split(" ", 2)
        request = Request(method, target, version, [split_header(x) for x in lines], number)
        self.requests.append(request)
        exchange = Exchange(self, request, reader, writer)
        await self.behaviour(exchange)
        if writer.transport.is_closing():
            return False
        if not exchange.body_read:
            async for _ in exchange.pieces():
                pass
        return "close" not in (request.header("connection") or "").lower()


def split_header(line: bytes) -> tuple[str, str]:
    name, _, value = line.rstrip(b"\r\n").decode("latin-1").partition(":")
    return name, value.strip()


# --- behaviours ---------------------------------------------------------------------------------


async def echo(exchange: Exchange) -> None:
    """Answer with what was received, as JSON: method, target, version, headers, body, trailers."""
    body = await exchange.read_body()
    request = exchange.request
    received = {
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "headers": request.headers,
        "body": body.decode("latin-1"),
        "trailers": request.trailers,
        "port": exchange.upstream.port,
        "connection": request.connection,
    }
    text = json.dumps(received).encode()
    await exchange.head(
        200, [("content-type", "application/json"), ("content-length", str(len(text)))]
    )
    if request.method != "HEAD":
        await exchange.write(text)


def respond(
    status: int = 200, body: bytes = b"ok", headers: Iterable[tuple[str, str]] = ()
) -> Behaviour:
    """Read the request, then answer the same each time."""
    fixed = [("content-length", str(len(body))), *headers]

    async def behaviour(exchange: Exchange) -> None:
        async for _ in exchange.pieces():
            pass
        await exchange.head(status, fixed)
        if exchange.request.method != "HEAD":
            await exchange.write(body)

    return behaviour


def raw(data: bytes, *, close: bool = False) -> Behaviour:
    """Answer with exactly these bytes."""

    async def behaviour(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.write(data)
        if close:
            exchange.writer.close()

    return behaviour


async def stall(exchange: Exchange) -> None:
    """Say nothing until the test calls `release`, then answer 200; notices a client that leaves."""
    await exchange.read_body()
    gate = asyncio.ensure_future(exchange.upstream.gate())
    gone = asyncio.ensure_future(exchange.reader.read(1))
    await asyncio.wait({gate, gone}, return_when=asyncio.FIRST_COMPLETED)
    if gone.done() and not gone.cancelled():
        gate.cancel()
        raise ConnectionResetError("the client left")
    gone.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await gone
    await respond()(exchange)


def slow(seconds: float) -> Behaviour:
    """Answer 200 after a time."""

    async def behaviour(exchange: Exchange) -> None:
        await exchange.read_body()
        await asyncio.sleep(seconds)
        await respond()(exchange)

    return behaviour


async def reset(exchange: Exchange) -> None:
    """Reset the connection once the request's head has come."""
    exchange.reset()


def reset_after(data: bytes) -> Behaviour:
    """Send some bytes, and reset the connection when the test calls `release`."""

    async def behaviour(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.write(data)
        await exchange.upstream.gate()
        exchange.reset()

    return behaviour


def early_close(announced: int, sent: bytes) -> Behaviour:
    """Announce `announced` bytes of body, send fewer, and close."""

    async def behaviour(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.head(200, [("content-length", str(announced))])
        await exchange.write(sent)
        exchange.writer.close()

    return behaviour


def chunked(*pieces: bytes, trailers: Iterable[tuple[str, str]] = ()) -> Behaviour:
    """Answer in these chunks, without waiting, then these trailers."""
    end = "0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers) + "\r\n"

    async def behaviour(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.head(200, [("transfer-encoding", "chunked")])
        for piece in pieces:
            await exchange.chunk(piece)
        await exchange.write(end.encode("latin-1"))

    return behaviour


def events(*messages: str) -> Behaviour:
    """Server-sent events; each goes out only when the test calls `release`."""

    async def behaviour(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.head(
            200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
        )
        for message in messages:
            await exchange.upstream.gate()
            await exchange.chunk(f"data: {message}\n\n".encode())
        await exchange.upstream.gate()
        await exchange.chunk(b"")

    return behaviour
