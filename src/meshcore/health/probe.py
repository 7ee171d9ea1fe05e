"""How one host is asked: over HTTP/1, TCP or gRPC (rules HC-8 to HC-12).

A probe belongs to one host and keeps its connection from check to check. ``start(done)`` begins a
check; ``done`` is called exactly once, unless the check is cancelled first. The timeout is the
caller's: it cancels.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from meshcore.errors import ConfigError
from meshcore.health.payload import matches, payload, segments
from meshcore.health.state import Failure
from meshcore.http1 import Response, ResponseParser, encode_request

if TYPE_CHECKING:
    from meshcore.routing import Route

__all__ = ["HttpSpec", "Outcome", "Probe", "Spec", "Target", "TcpSpec", "read_spec"]

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """A host as checks see it."""

    address: Address  # where checks go (HC-13)
    hostname: str  # of its health_check_config
    cluster: str
    timeout_ms: int  # for protocols that tell it
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the host, for formats


@dataclass(frozen=True, slots=True)
class Outcome:
    """``failure`` None: it passed."""

    failure: Failure | None = None
    retriable: bool = False
    degraded: bool = False
    exclude: bool = False  # the answer asks to be taken out at once (HC-14)
    verified: bool = False  # a service name was compared (HC-8)
    unasked: bool = False  # between two checks


Done = Callable[[Outcome], None]


class Probe(Protocol):
    def start(self, done: Done) -> None: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...


class Spec(Protocol):
    """What to ask, for all hosts of a cluster alike."""

    @property
    def kind(self) -> str: ...
    def probe(self, loop: asyncio.AbstractEventLoop, target: Target, *, reuse: bool) -> Probe: ...


def read_spec(config: Mapping[str, Any], path: str) -> Spec:
    """The checker of a HealthCheck message."""
    if "http_health_check" in config:
        return HttpSpec.read(config["http_health_check"], f"{path}.http_health_check")
    if "tcp_health_check" in config:
        return TcpSpec.read(config["tcp_health_check"], f"{path}.tcp_health_check")
    if "grpc_health_check" in config:
        from meshcore.health.grpc import GrpcSpec

        return GrpcSpec.read(config["grpc_health_check"], f"{path}.grpc_health_check")
    raise ConfigError(path, "must name an HTTP, a TCP or a gRPC check")


class _Link(asyncio.Protocol):
    """One connection. What an old one still has to say does not reach its probe any more."""

    def __init__(self, probe: _Connected) -> None:
        self._probe: _Connected | None = probe
        self._transport: asyncio.Transport | None = None

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def abandon(self) -> None:
        self._probe = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._probe is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._probe is not None:
            self._probe.received(data)

    def connection_lost(self, error: Exception | None) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.lost(reset=error is not None)


class _Connected(ABC):
    """What HTTP and TCP checks share: one connection, one check at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: Target) -> None:
        self._loop = loop
        self._target = target
        self._link: _Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._done: Done | None = None

    def start(self, done: Done) -> None:
        self._done = done
        if self._link is not None:
            self._ask(self._link)
        else:
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        link = _Link(self)
        try:
            await self._loop.create_connection(lambda: link, *self._target.address)
        except OSError:
            self._connecting = None
            self._finish(Outcome(Failure.NETWORK))
            return
        except asyncio.CancelledError:
            link.abandon()
            raise
        self._connecting = None
        self._link = link
        self._ask(link)

    def cancel(self) -> None:
        self._done = None
        self.close()

    def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        link, self._link = self._link, None
        if link is not None:
            link.abandon()

    def _finish(self, outcome: Outcome) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(outcome)

    @abstractmethod
    def _ask(self, link: _Link) -> None:
        """Sends what a check asks."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """The host said something, asked or not."""

    def lost(self, *, reset: bool) -> None:
        self._link = None
        self._finish(Outcome(Failure.NETWORK))


# --- HTTP ----------------------------------------------------------------------------------------

Range = tuple[int, int]
BODY_METHODS = {"POST", "PUT", "PATCH", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class HttpSpec:
    """An HttpHealthCheck."""

    method: str
    path: str
    host: str
    send: bytes
    receive: list[bytes]
    buffer: int
    expected: list[Range]
    retriable: list[Range]
    mutations: Route | None  # request_headers_to_add and _to_remove
    service: Callable[[str], bool] | None
    kind: str = "HTTP"

    @classmethod
    def read(cls, config: Mapping[str, Any], path: str) -> HttpSpec:
        method = config.get("method", "GET")
        if method == "METHOD_UNSPECIFIED":
            method = "GET"
        if method == "CONNECT":
            raise ConfigError(f"{path}.method", "must not be CONNECT")
        send = payload(config.get("send"), f"{path}.send")
        if send and method not in BODY_METHODS:
            listed = ", ".join(sorted(BODY_METHODS))
            raise ConfigError(f"{path}.send", f"needs one of the methods {listed}, not {method}")
        return cls(
            method=method,
            path=config["path"],
            host=config.get("host", ""),
            send=send,
            receive=segments(config.get("receive", ()), f"{path}.receive"),
            buffer=int(config.get("response_buffer_size", 1024)),
            expected=_ranges(config.get("expected_statuses", ()), f"{path}.expected_statuses")
            or [(200, 201)],
            retriable=_ranges(config.get("retriable_statuses", ()), f"{path}.retriable_statuses"),
            mutations=_mutations(config, path),
            service=_matcher(config.get("service_name_matcher"), f"{path}.service_name_matcher"),
        )

    def probe(self, loop: asyncio.AbstractEventLoop, target: Target, *, reuse: bool) -> Probe:
        return HttpProbe(loop, target, self, reuse=reuse)

    def request(self, target: Target) -> bytes:
        """HC-8."""
        headers = [
            ("host", target.hostname or self.host or target.cluster),
            ("user-agent", "Envoy/HC"),
        ]
        if self.mutations is not None:
            facts = {**target.facts, "protocol": "HTTP/1.1", "start_time": time.time()}
            own = self.mutations.finalize_request(headers[1:], context=facts)
            headers = [headers[0], *own]
        return encode_request(self.method, self.path, headers, self.send or None)

    def judge(self, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
        exclude = "x-envoy-immediate-health-check-fail" in headers
        failed = Outcome(Failure.ACTIVE, exclude=exclude)
        if self.receive and not matches(self.receive, body):
            return failed
        if not _within(status, self.expected):
            return replace(failed, retriable=_within(status, self.retriable))
        if self.service is not None:
            name = headers.get("x-envoy-upstream-healthchecked-cluster", "")
            if not self.service(name):
                return replace(failed, verified=True)
        return Outcome(degraded="x-envoy-degraded" in headers, verified=self.service is not None)


def _ranges(configs: Iterable[Mapping[str, Any]], path: str) -> list[Range]:
    out = []
    for index, config in enumerate(configs):
        start, end = int(config.get("start", 0)), int(config.get("end", 0))
        if not 100 <= start < end <= 600:
            raise ConfigError(f"{path}[{index}]", "must be a half-open range within [100, 600)")
        out.append((start, end))
    return out


def _within(status: int, ranges: Iterable[Range]) -> bool:
    return any(start <= status < end for start, end in ranges)


def _mutations(config: Mapping[str, Any], path: str) -> Route | None:
    """What changes the headers, as a route has it."""
    names = ("request_headers_to_add", "request_headers_to_remove")
    # No header has an empty name.
    own = {name: [each for each in config.get(name, ()) if each] for name in names}
    own = {name: items for name, items in own.items() if items}
    if not own:
        return None
    from meshcore.routing import RouteTable

    route = {"match": {"prefix": "/"}, "route": {"cluster_header": "none"}, **own}
    try:
        table = RouteTable({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]})
    except ConfigError as error:
        raise ConfigError(
            f"{path}.{error.path.rpartition('routes[0].')[2]}", error.reason
        ) from None
    return table.match([(":authority", "any"), (":path", "/"), (":method", "GET")])


def _matcher(config: Mapping[str, Any] | None, path: str) -> Callable[[str], bool] | None:
    """A StringMatcher of header values, which are octets."""
    if config is None:
        return None
    from meshcore.matchers import StringMatcher

    try:
        matcher = StringMatcher(config)
    except ConfigError as error:
        raise ConfigError(f"{path}.{error.path}", error.reason) from None
    return lambda name: matcher.match(name.encode("latin-1"))


class HttpProbe(_Connected):
    def __init__(
        self, loop: asyncio.AbstractEventLoop, target: Target, spec: HttpSpec, *, reuse: bool
    ) -> None:
        super().__init__(loop, target)
        self._spec = spec
        self._reuse = reuse
        self._parser = ResponseParser()
        self._response: Response | None = None

    def _ask(self, link: _Link) -> None:
        self._parser = ResponseParser()
        self._parser.expect(self._spec.method)
        self._response = None
        link.write(self._spec.request(self._target))

    def received(self, data: bytes) -> None:
        if self._done is None:  # an answer that nobody waits for
            self.close()
            return
        try:
            for response in self._parser.messages(data):
                if response.status >= 200:
                    self._response = response
        except ValueError:
            self.close()
            self._finish(Outcome(Failure.NETWORK))
            return
        self._judge()

    def _judge(self) -> None:
        response = self._response
        if response is None or not response.complete:
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }
        body = response.body[: self._spec.buffer] if self._spec.buffer else response.body
        if not self._reuse or not response.keep_alive:  # HC-9
            self.close()
        self._finish(self._spec.judge(response.status, headers, body))

    def lost(self, *, reset: bool) -> None:
        self._link = None
        if self._done is not None and not reset:
            with contextlib.suppress(ValueError):  # a body that runs until the end
                self._parser.eof()
                self._judge()
        super().lost(reset=reset)


# --- TCP -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TcpSpec:
    """A TcpHealthCheck (HC-10)."""

    send: bytes
    receive: list[bytes]
    kind: str = "TCP"

    @classmethod
    def read(cls, config: Mapping[str, Any], path: str) -> TcpSpec:
        return cls(
            send=payload(config.get("send"), f"{path}.send"),
            receive=segments(config.get("receive", ()), f"{path}.receive"),
        )

    def probe(self, loop: asyncio.AbstractEventLoop, target: Target, *, reuse: bool) -> Probe:
        return TcpProbe(loop, target, self, reuse=reuse)


class TcpProbe(_Connected):
    def __init__(
        self, loop: asyncio.AbstractEventLoop, target: Target, spec: TcpSpec, *, reuse: bool
    ) -> None:
        super().__init__(loop, target)
        self._spec = spec
        self._reuse = reuse
        self._got = bytearray()
        self._last: Done | None = None

    def _ask(self, link: _Link) -> None:
        self._last = self._done
        self._got.clear()
        if self._spec.send:
            link.write(self._spec.send)
        if not self._spec.receive:  # that it connects is all
            self.close()
            self._finish(Outcome())

    def received(self, data: bytes) -> None:
        if self._done is None:
            return
        self._got += data
        if matches(self._spec.receive, bytes(self._got)):
            if not self._reuse:
                self.close()
            self._finish(Outcome())

    def lost(self, *, reset: bool) -> None:
        """A connection that ends between two checks is a failure too."""
        asked, last = self._done is not None, self._last
        super().lost(reset=reset)
        if not asked and last is not None:
            last(Outcome(Failure.NETWORK, unasked=True))
