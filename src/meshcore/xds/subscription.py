"""A subscription: resources of one type from one management server, over a gRPC stream of its own
that is made again whenever it ends (XDS-13, XDS-19)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshcore._core.base import BackOff, xxh64
from meshcore._log import logger as log
from meshcore.config.defaults import default
from meshcore.health.state import milliseconds
from meshcore.outgoing import GrpcService, Places, node_of
from meshcore.xds.delta import RESPONSE, DeltaState, Update

if TYPE_CHECKING:
    from meshcore._core.stats import Scope
    from meshcore.outgoing import GrpcExchange

__all__ = ["Kind", "Subscription"]

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of resource, and the method that tells it."""

    type_name: str
    method: str


class Subscription:
    """`take` is given what changes, one update at a time: when it raises a ValueError, the update
    is refused with that reason. What `concerns` says no to is acknowledged, and left aside. Belongs
    to the control loop."""

    def __init__(
        self,
        kind: Kind,
        source: Document,
        document: Document,
        places: Places,
        scope: Scope,
        take: Callable[[Update], Awaitable[None]],
        *,
        names: Iterable[str] = (),
        concerns: Callable[[str], bool] = lambda _: True,
    ) -> None:
        from google.protobuf.json_format import ParseDict

        from meshcore.config import schema

        api = source["api_config_source"]
        node = schema.message_class("envoy.config.core.v3.Node")()
        ParseDict(dict(node_of(document)), node, descriptor_pool=schema.pool())
        self._kind = kind
        self._response = schema.message_class(RESPONSE)
        self._service = GrpcService(api["grpc_services"][0], places)
        self._once = api.get("set_node_on_first_message_only", False)
        self._state = DeltaState(kind.type_name, node, names)
        self._take = take
        self._concerns = concerns
        self._limit_ms = milliseconds(
            source.get("initial_fetch_timeout"), default("XDS_FIRST_FETCH")
        )
        self._answers: list[Any] = []  # acknowledgements that wait to be sent
        self._due = asyncio.Event()
        self._first = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stats = _Stats(scope)

    # --- whoever subscribes ---------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._stats.attempts.inc()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._expire())]

    async def first(self) -> None:
        """Returns when something was taken or refused, or that took too long."""
        await self._first.wait()

    def subscribe(self, *names: str) -> None:
        self._stats.attempts.inc()
        self._state.subscribe(names)
        self._due.set()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def stopped(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _expire(self) -> None:
        if self._limit_ms:
            try:
                await asyncio.wait_for(self._first.wait(), self._limit_ms / 1000)
            except TimeoutError:
                self._stats.timeouts.inc()
                self._stats.attempts.inc()
                self._first.set()

    # --- the stream -----------------------------------------------------------------------------

    async def _run(self) -> None:
        back_off = BackOff(default("XDS_BACKOFF_BASE"), default("XDS_BACKOFF_MAX"))
        try:
            while True:
                try:
                    await self._talk(await self._service.exchange(self._kind.method), back_off)
                except OSError as error:
                    log.debug("%s: %s", self._kind.method, error)
                self._stats.connected.set(0)
                self._stats.failures.inc()
                self._stats.attempts.inc()
                await asyncio.sleep(back_off.next() / 1000)
        finally:
            await self._service.close()

    async def _talk(self, stream: GrpcExchange, back_off: BackOff) -> None:
        """Raises OSError when the stream is over."""
        self._state.reopen()
        self._answers.clear()
        self._due.set()
        writing = asyncio.ensure_future(self._write(stream))
        try:
            while True:
                response = self._read(await stream.read())
                back_off.reset()
                await self._answer(response)
        finally:
            writing.cancel()
            stream.cancel()

    def _read(self, message: bytes) -> Any:
        from google.protobuf.message import DecodeError

        try:
            return self._response.FromString(message)
        except DecodeError as error:
            raise OSError(f"what came is no {RESPONSE}") from error

    async def _write(self, stream: GrpcExchange) -> None:
        """Acknowledgements before what is asked for (XDS-13)."""
        first = True
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                while self._answers or self._state.due:
                    message = self._answers.pop(0) if self._answers else self._state.request()
                    if self._once and not first:
                        message.ClearField("node")
                    await stream.write(message.SerializeToString())
                    first = False
                    self._stats.connected.set(1)
        except OSError as error:
            log.debug("%s: %s", self._kind.method, error)  # whoever reads is told as well

    async def _answer(self, response: Any) -> None:
        if response.control_plane.identifier:
            self._stats.identifier.set(response.control_plane.identifier)
        refused = ""
        try:
            update = self._state.read(response)
            await self._hand_over(update)
            self._state.accept(update)
        except Exception as error:
            refused = str(error) or type(error).__name__
            if not isinstance(error, ValueError):  # a ConfigError is one
                log.exception("%s: an update has failed", self._kind.method)
            self._stats.rejected.inc()
            self._stats.attempts.inc()
            self._first.set()
            log.warning("%s: an update cannot be used: %s", self._kind.method, refused)
        self._answers.append(self._state.acknowledge(response.nonce, refused))
        self._due.set()

    async def _hand_over(self, update: Update) -> None:
        resources = tuple(each for each in update.resources if self._concerns(each.name))
        removed = tuple(name for name in update.removed if self._concerns(name))
        if not resources and not removed:
            return
        stats = self._stats
        stats.attempts.inc()
        started = time.monotonic()
        await self._take(Update(update.version, resources, removed))
        self._first.set()
        stats.successes.inc()
        stats.time.set(round(time.time() * 1000))
        stats.duration.record(round((time.monotonic() - started) * 1000))
        stats.version.set(xxh64(update.version.encode()))
        stats.version_text.set(update.version)


class _Stats:
    """XDS-27."""

    def __init__(self, scope: Scope) -> None:
        self.attempts = scope.counter("update_attempt")
        self.successes = scope.counter("update_success")
        self.failures = scope.counter("update_failure")
        self.rejected = scope.counter("update_rejected")
        self.timeouts = scope.counter("init_fetch_timeout")
        self.time = scope.gauge("update_time")
        self.version = scope.gauge("version")
        self.version_text = scope.text("version_text")
        self.duration = scope.histogram("update_duration")
        control = scope.scope("control_plane")
        self.connected = control.gauge("connected_state")
        control.gauge("pending_requests")  # nothing limits the rate of what is sent
        control.counter("rate_limit_enforced")
        self.identifier = control.text("identifier")
