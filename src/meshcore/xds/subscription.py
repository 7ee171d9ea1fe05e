"""A subscription: resources of one type from one management server, over a gRPC stream of its own
that is made again whenever it ends (XDS-13, XDS-19)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshcore._core.base import BackOff, TokenBucket, xxh64
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
        self._pauses = _back_off(api["grpc_services"][0])
        self._rate = _rate(api.get("rate_limit_settings"))
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
        self._taking = asyncio.Lock()
        self._expiries: dict[str, asyncio.Task[None]] = {}
        self._stats = _Stats(scope)

    # --- whoever subscribes ---------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._stats.attempts.inc()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._limit_first())]

    async def first(self) -> None:
        """Returns when something was taken or refused, or that took too long."""
        await self._first.wait()

    def subscribe(self, *names: str) -> None:
        self._stats.attempts.inc()
        self._state.subscribe(names)
        self._due.set()

    def stop(self) -> None:
        for task in (*self._tasks, *self._expiries.values()):
            task.cancel()

    async def stopped(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _limit_first(self) -> None:
        if self._limit_ms:
            try:
                await asyncio.wait_for(self._first.wait(), self._limit_ms / 1000)
            except TimeoutError:
                self._stats.timeouts.inc()
                self._stats.attempts.inc()
                self._first.set()

    # --- the stream -----------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                try:
                    await self._talk(await self._service.exchange(self._kind.method))
                except OSError as error:
                    log.debug("%s: %s", self._kind.method, error)
                self._stats.connected.set(0)
                self._stats.failures.inc()
                self._stats.attempts.inc()
                await asyncio.sleep(self._pauses.next() / 1000)
        finally:
            await self._service.close()

    async def _talk(self, stream: GrpcExchange) -> None:
        """Raises OSError when the stream is over."""
        self._state.reopen()
        self._answers.clear()
        self._due.set()
        writing = asyncio.ensure_future(self._write(stream))
        try:
            while True:
                response = self._read(await stream.read())
                self._pauses.reset()
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
                    await self._within_rate()
                    message = self._answers.pop(0) if self._answers else self._state.request()
                    if self._once and not first:
                        message.ClearField("node")
                    await stream.write(message.SerializeToString())
                    first = False
                    self._stats.connected.set(1)
        except OSError as error:
            log.debug("%s: %s", self._kind.method, error)  # whoever reads is told as well

    async def _within_rate(self) -> None:
        """What is asked for meanwhile goes into the same request."""
        while self._rate is not None and not self._rate.consume():
            self._stats.limited.inc()
            self._stats.pending.set(len(self._answers))
            await asyncio.sleep(self._rate.wait())
        self._stats.pending.set(max(0, len(self._answers) - 1))

    async def _answer(self, response: Any) -> None:
        if response.control_plane.identifier:
            self._stats.identifier.set(response.control_plane.identifier)
        refused = ""
        try:
            update = self._state.read(response)
            await self._hand_over(update)
            self._state.accept(update)
            self._set_expiries(response)
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
        async with self._taking:
            await self._take(Update(update.version, resources, removed))
        self._first.set()
        stats.successes.inc()
        stats.time.set(round(time.time() * 1000))
        stats.duration.record(round((time.monotonic() - started) * 1000))
        stats.version.set(xxh64(update.version.encode()))
        stats.version_text.set(update.version)

    # --- resources that live for a time (XDS-18) ------------------------------------------------

    def _set_expiries(self, response: Any) -> None:
        for name in (*(each.name for each in response.resources), *response.removed_resources):
            known = self._expiries.pop(name, None)
            if known is not None:
                known.cancel()
        for each in response.resources:
            if each.HasField("ttl"):
                limit_s = each.ttl.seconds + each.ttl.nanos / 1e9
                expiry = asyncio.ensure_future(self._expire(each.name, limit_s))
                self._expiries[each.name] = expiry

    async def _expire(self, name: str, limit_s: float) -> None:
        await asyncio.sleep(limit_s)
        del self._expiries[name]  # from here on nobody stops it
        update = Update("", (), (name,))
        try:
            await self._hand_over(update)
        except ValueError as error:
            log.warning("%s: %s cannot be let go: %s", self._kind.method, name, error)
        else:
            self._state.accept(update)


def _back_off(service: Document) -> BackOff:
    """Between two streams (XDS-19)."""
    own = service.get("envoy_grpc", {}).get("retry_policy", {}).get("retry_back_off")
    if own is None:
        return BackOff(default("XDS_BACKOFF_BASE"), default("XDS_BACKOFF_MAX"))
    base = max(1, milliseconds(own["base_interval"]))
    return BackOff(base, max(base, milliseconds(own.get("max_interval"), 10 * base)))


def _rate(settings: Document | None) -> TokenBucket | None:
    if settings is None:
        return None
    fill = float(settings.get("fill_rate", default("XDS_RATE_FILL")))
    return TokenBucket(settings.get("max_tokens", default("XDS_RATE_TOKENS")), 1, 1 / fill)


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
        self.pending = control.gauge("pending_requests")
        self.limited = control.counter("rate_limit_enforced")
        self.identifier = control.text("identifier")
