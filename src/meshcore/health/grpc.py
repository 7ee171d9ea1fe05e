"""Health checks over gRPC (rule HC-12), by the package ``grpcio``, imported on first use."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshcore._protobuf import read_varint, varint
from meshcore.errors import ConfigError
from meshcore.health.state import Failure

if TYPE_CHECKING:
    from meshcore.health.probe import Done, Outcome, Probe, Target

__all__ = ["GrpcSpec", "serving"]

METHOD = "/grpc.health.v1.Health/Check"
SERVING = 1
# What the client side says of statuses that it makes up when no answer came; a server may send the
# same statuses, and then they are its answer.
NO_ANSWER = {
    "UNAVAILABLE": (Failure.NETWORK, ("failed to connect", "Socket closed", "Connection reset")),
    "DEADLINE_EXCEEDED": (Failure.NETWORK_TIMEOUT, ("Deadline Exceeded",)),
}


def _aio() -> Any:
    import grpc.aio  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return grpc.aio


@dataclass(frozen=True, slots=True)
class GrpcSpec:
    """A GrpcHealthCheck."""

    service: str
    authority: str
    metadata: tuple[tuple[str, str], ...]
    kind: str = "GRPC"

    @classmethod
    def read(cls, config: Mapping[str, Any], path: str) -> GrpcSpec:
        try:
            _aio()
        except ImportError:
            raise ConfigError(
                path, "needs the package grpcio (pip install meshcore[grpc])"
            ) from None
        metadata = [entry.get("header", {}) for entry in config.get("initial_metadata", ())]
        return cls(
            service=config.get("service_name", ""),
            authority=config.get("authority", ""),
            metadata=tuple((h.get("key", "").lower(), h.get("value", "")) for h in metadata),
        )

    def probe(self, loop: asyncio.AbstractEventLoop, target: Target, *, reuse: bool) -> Probe:
        return GrpcProbe(loop, target, self, reuse=reuse)

    def request(self) -> bytes:
        """A HealthCheckRequest: the service's name as field 1."""
        name = self.service.encode()
        return b"\x0a" + varint(len(name)) + name if name else b""


def _why(code: str, details: str) -> Failure:
    failure, signs = NO_ANSWER.get(code, (Failure.ACTIVE, ()))
    return failure if any(sign in details for sign in signs) else Failure.ACTIVE


def serving(response: bytes) -> bool:
    """Whether a HealthCheckResponse says SERVING: field 1, the last one counts."""
    status, at = 0, 0
    while at < len(response):
        tag, at = read_varint(response, at)
        kind = tag & 7
        if kind == 0:
            value, at = read_varint(response, at)
            status = value if tag >> 3 == 1 else status
        elif kind == 2:
            size, at = read_varint(response, at)
            at += size
        else:
            return False
    return status == SERVING and at == len(response)


class GrpcProbe:
    """A channel to one host; a check is one unary call."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, target: Target, spec: GrpcSpec, *, reuse: bool
    ) -> None:
        self._loop = loop
        self._target = target
        self._spec = spec
        self._reuse = reuse
        self._channel: Any = None
        self._task: asyncio.Task[None] | None = None

    def start(self, done: Done) -> None:
        self._task = self._loop.create_task(self._check(done))

    async def _check(self, done: Done) -> None:
        outcome = await self._call()
        if not self._reuse:
            await self._shut()
        self._task = None
        done(outcome)

    async def _call(self) -> Outcome:
        from meshcore.health.probe import Outcome

        aio = _aio()
        if self._channel is None:
            host, port = self._target.address
            authority = self._spec.authority or self._target.hostname or self._target.cluster
            self._channel = aio.insecure_channel(
                f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                options=[("grpc.default_authority", authority), ("grpc.enable_retries", 0)],
            )
        call = self._channel.unary_unary(METHOD)
        try:
            answer: bytes | None = await call(
                self._spec.request(),
                timeout=self._target.timeout_ms / 1000,
                metadata=self._spec.metadata,
            )
        except aio.AioRpcError as error:
            return Outcome(_why(error.code().name, error.details() or ""))
        return Outcome(None if answer is not None and serving(answer) else Failure.ACTIVE)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.close()

    def close(self) -> None:
        if self._channel is not None:
            self._loop.create_task(self._shut())

    async def _shut(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()
