"""Clients for tests: raw bytes over a socket, whole replies, curl, and the load generators."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from peers import tool

TIMEOUT_S = 30.0
Headers = list[tuple[str, str]]

# --- HTTP/1.1, byte by byte ---------------------------------------------------------------------


@dataclass
class Reply:
    """A response as it came: header names in their case and order."""

    version: str
    status: int
    reason: str
    headers: Headers
    body: bytes = b""
    trailers: Headers = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in any case."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    def json(self) -> dict[str, object]:
        """The body of an echo upstream."""
        value: dict[str, object] = json.loads(self.body)
        return value


class Connection:
    """A client connection to 127.0.0.1: send any bytes, read replies one after another."""

    def __init__(self, port: int, *, timeout: float = TIMEOUT_S) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(
        self,
        target: str = "/",
        *,
        method: str = "GET",
        host: str = "localhost",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Reply:
        """Send one request and read its reply."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
        return self.reply(method)

    def head(self) -> Reply:
        """The next head, an interim one included; its body is still to be read."""
        line = self._line()
        version, status, reason = ([*line.split(" ", 2), ""])[:3]
        return Reply(version, int(status), reason, self._headers())

    def reply(self, method: str = "GET", interim: list[int] | None = None) -> Reply:
        """The next final reply, whole; `interim` gets the statuses before it."""
        reply = self.head()
        while 100 <= reply.status < 200 and reply.status != 101:
            if interim is not None:
                interim.append(reply.status)
            reply = self.head()
        tunnel = method == "CONNECT" and 200 <= reply.status < 300
        if tunnel or method == "HEAD" or reply.status in (101, 204, 304):
            return reply
        length = reply.header("content-length")
        if (reply.header("transfer-encoding") or "").lower().endswith("chunked"):
            while chunk := self.chunk():
                reply.body += chunk
            reply.trailers = self._headers()
        elif length is not None:
            reply.body = self._exactly(int(length))
        else:
            reply.body = self._file.read()
        return reply

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end, with the trailers still to come."""
        size = int(self._line().split(";")[0], 16)
        data = self._exactly(size)
        if size:
            self._exactly(2)
        return data

    def piece(self, limit: int) -> bytes:
        """What is there of the bytes that follow: 1 to `limit` bytes, or none at the end.

        The head's reader may have taken some of them already: the socket is not to be asked.
        """
        return self._file.read1(limit)

    def read_to_end(self) -> bytes:
        """Everything until the peer closes; a reset counts as an end."""
        data = b""
        try:
            while piece := self._file.read1():
                data += piece
        except ConnectionResetError:
            pass
        return data

    def _line(self) -> str:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(f"the connection ended after {line!r}")
        return line[:-2].decode("latin-1")

    def _headers(self) -> Headers:
        headers = []
        while line := self._line():
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        return headers

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise EOFError(f"the connection ended {size - len(data)} bytes before the body")
        return data


def fetch(
    port: int,
    target: str = "/",
    *,
    method: str = "GET",
    host: str = "localhost",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    timeout: float = TIMEOUT_S,
) -> Reply:
    """One request on a connection of its own."""
    with Connection(port, timeout=timeout) as connection:
        return connection.request(target, method=method, host=host, headers=headers, body=body)


def exchange(port: int, data: bytes, *, timeout: float = TIMEOUT_S) -> bytes:
    """Send bytes, close our side for writing, and return everything until the peer closes."""
    with Connection(port, timeout=timeout) as connection:
        connection.send(data)
        connection.socket.shutdown(socket.SHUT_WR)
        return connection.read_to_end()


def curl(*args: str) -> subprocess.CompletedProcess[str]:
    """Run curl, silent but for errors."""
    return subprocess.run(
        [tool("curl"), "-sS", "--max-time", "30", *args],
        capture_output=True,
        text=True,
        check=False,
    )


# --- load ---------------------------------------------------------------------------------------

WRK_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nreport {"requests":%d,"bytes":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,'
    .. '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What a load generator saw; `errors` counts failed requests of every kind."""

    requests: int
    duration_s: float
    bytes: int = 0
    p50_us: float = 0.0
    p99_us: float = 0.0
    errors: int = 0

    @property
    def rate(self) -> float:
        return self.requests / self.duration_s


def wrk_command(
    url: str,
    script: Path,
    *,
    connections: int,
    seconds: float,
    headers: Iterable[tuple[str, str]] = (),
) -> list[str]:
    """The command line of one wrk run; `script` receives the report hook."""
    script.write_text(WRK_REPORT)
    argv = [tool("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    for name, value in headers:
        argv += ["-H", f"{name}: {value}"]
    return [*argv, "-s", str(script), url]


def wrk_result(output: str) -> Load:
    """Read the report that the hook printed."""
    line = next((x for x in output.splitlines() if x.startswith("report ")), None)
    if line is None:
        raise RuntimeError(f"wrk gave no report:\n{output}")
    seen = json.loads(line.removeprefix("report "))
    errors = sum(seen[kind] for kind in ("connect", "read", "write", "status", "timeout"))
    return Load(
        seen["requests"],
        seen["duration_us"] / 1e6,
        seen["bytes"],
        seen["p50_us"],
        seen["p99_us"],
        errors,
    )


def wrk(
    port: int,
    target: str = "/",
    *,
    connections: int = 16,
    seconds: float = 1,
    headers: Iterable[tuple[str, str]] = (),
    prefix: Sequence[str] = (),
) -> Load:
    """HTTP/1.1 load from one thread."""
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "report.lua"
        command = wrk_command(
            f"http://127.0.0.1:{port}{target}",
            script,
            connections=connections,
            seconds=seconds,
            headers=headers,
        )
        done = subprocess.run([*prefix, *command], capture_output=True, text=True, check=True)
    return wrk_result(done.stdout)


def h2load(
    port: int,
    target: str = "/",
    *,
    requests: int = 10_000,
    clients: int = 4,
    streams: int = 1,
    http1: bool = False,
) -> Load:
    """A fixed number of requests over HTTP/2 with prior knowledge (or HTTP/1.1)."""
    argv = [tool("h2load"), "-n", str(requests), "-c", str(clients), "-m", str(streams)]
    argv += ["--h1"] if http1 else []
    return h2load_result([*argv, f"http://127.0.0.1:{port}{target}"])


def h2load_at(
    port: int,
    target: str = "/",
    *,
    rate: int,
    connections: int,
    seconds: float,
    prefix: Sequence[str] = (),
) -> Load:
    """HTTP/1.1 requests at a rate (requests/s of all connections), answered in time or not."""
    argv = [*prefix, tool("h2load"), "--h1", "-t1", "-c", str(connections)]
    argv += ["--rps", str(rate / connections), "-D", str(max(1, round(seconds)))]
    return h2load_result([*argv, f"http://127.0.0.1:{port}{target}"])


def h2load_result(argv: Sequence[str]) -> Load:
    """Run h2load and read what it prints."""
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    words = done.stdout.replace(",", " ").split()

    def before(word: str) -> str:
        return words[words.index(word) - 1]

    succeeded, rate = int(before("succeeded")), float(before("req/s"))
    errors = int(before("failed"))
    return Load(succeeded, succeeded / rate if rate else 1.0, errors=errors)
