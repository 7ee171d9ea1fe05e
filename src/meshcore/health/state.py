"""Active health checking without I/O: what a result does to a host, and when the next check is due
(rules HC-1, HC-3 to HC-6). Times are milliseconds; randomness is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from meshcore.config.runtime import runtime_integer

__all__ = [
    "DEGRADED",
    "EXCLUDED",
    "FAILED",
    "PENDING",
    "TIMEOUT",
    "Failure",
    "HostCheck",
    "Result",
    "Timing",
    "milliseconds",
]

# Health flags (HS-1) that active checks own.
FAILED = 0x1
DEGRADED = 0x8
PENDING = 0x40
EXCLUDED = 0x80
TIMEOUT = 0x100

Draw = Callable[[], int]


def milliseconds(text: str | None, default: int = 0) -> int:
    """A Duration in canonical JSON, fractions of a millisecond dropped (C-3)."""
    if text is None:
        return default
    whole, _, fraction = text.removesuffix("s").partition(".")
    return int(whole or 0) * 1000 + int((fraction + "000")[:3])


class Failure(Enum):
    """Why a check failed, by the names of the event log."""

    ACTIVE = "ACTIVE"
    PASSIVE = "PASSIVE"
    NETWORK = "NETWORK"
    NETWORK_TIMEOUT = "NETWORK_TIMEOUT"

    @property
    def network(self) -> bool:
        return self in (Failure.NETWORK, Failure.NETWORK_TIMEOUT)


class Change(Enum):
    """What a result did to the host's state."""

    NONE = 0
    PENDING = 1  # a threshold is being counted
    CHANGED = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals and thresholds of one HealthCheck message."""

    timeout: int
    interval: int
    no_traffic: int
    no_traffic_healthy: int
    unhealthy: int
    unhealthy_edge: int
    healthy_edge: int
    initial_jitter: int
    jitter: int
    jitter_percent: int
    unhealthy_threshold: int
    healthy_threshold: int
    reuse_connection: bool
    min_interval: int = 0
    max_interval: int = 2**63

    @classmethod
    def read(cls, config: Mapping[str, Any], runtime: Mapping[str, Any] | None = None) -> Timing:
        known = runtime or {}
        interval = milliseconds(config["interval"])
        unhealthy = milliseconds(config.get("unhealthy_interval"), interval)
        no_traffic = milliseconds(config.get("no_traffic_interval"), 60_000)
        return cls(
            timeout=milliseconds(config["timeout"]),
            interval=interval,
            no_traffic=no_traffic,
            no_traffic_healthy=milliseconds(config.get("no_traffic_healthy_interval"), no_traffic),
            unhealthy=unhealthy,
            unhealthy_edge=milliseconds(config.get("unhealthy_edge_interval"), unhealthy),
            healthy_edge=milliseconds(config.get("healthy_edge_interval"), interval),
            initial_jitter=milliseconds(config.get("initial_jitter")),
            jitter=milliseconds(config.get("interval_jitter")),
            jitter_percent=int(config.get("interval_jitter_percent", 0)),
            unhealthy_threshold=int(config["unhealthy_threshold"]),
            healthy_threshold=int(config["healthy_threshold"]),
            reuse_connection=bool(config.get("reuse_connection", True)),
            min_interval=runtime_integer(known, "health_check.min_interval", 0),
            max_interval=runtime_integer(known, "health_check.max_interval", 2**63),
        )

    def first(self, draw: Draw) -> int:
        """The wait before a host's first check (HC-2)."""
        return self._clamped(draw() % self.initial_jitter) if self.initial_jitter else 0

    def next(self, *, healthy: bool, change: Change, traffic: bool, draw: Draw) -> int:
        """The wait after a result (HC-3, HC-4). ``traffic``: the cluster was ever connected to."""
        pending = change is Change.PENDING
        if not traffic:
            base = self.no_traffic_healthy if healthy and not pending else self.no_traffic
        elif healthy:
            base = self.healthy_edge if pending else self.interval
        else:
            base = self.unhealthy_edge if pending else self.unhealthy
        share = self.jitter_percent * base // 100
        if share > 0:
            base += draw() % share
        if self.jitter > 0:
            base += draw() % self.jitter
        return self._clamped(base)

    def _clamped(self, ms: int) -> int:
        return max(1, min(ms, self.max_interval), self.min_interval)


@dataclass(slots=True)
class Result:
    """What one result did: flags to set and clear, and what there is to tell."""

    change: Change
    set: int = 0
    clear: int = 0
    passed: bool = False  # stamp the time of the last pass (ED-11)
    failed: bool = False  # the host has just become unhealthy (CL-14)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    healthy: int = 0  # by how much the gauges move
    degraded: int = 0


class HostCheck:
    """One host's count of checks. ``flags`` mirrors the flags that checks own."""

    __slots__ = ("_healthy", "_timing", "_unhealthy", "first", "flags")

    def __init__(self, timing: Timing, flags: int) -> None:
        self._timing = timing
        self.flags = flags
        self.first = True  # no result yet
        self._healthy = 0
        self._unhealthy = 0

    def _apply(self, result: Result) -> Result:
        self.flags = (self.flags & ~result.clear) | result.set
        self.first = False
        return result

    def _end_pending(self, result: Result) -> None:
        if self.flags & PENDING:
            result.clear |= PENDING
            result.change = Change.CHANGED

    def succeed(self, *, degraded: bool = False, log_success: bool = False) -> Result:
        """HC-5."""
        self._unhealthy = 0
        result = Result(Change.NONE)
        if self.flags & FAILED:
            self._healthy += 1
            result.passed = True
            if self.first or self._healthy == self._timing.healthy_threshold:
                result.clear |= FAILED | TIMEOUT | EXCLUDED
                result.healthy = 1
                result.change = Change.CHANGED
                result.events.append(("add_healthy_event", {"first_check": self.first}))
            else:
                result.change = Change.PENDING
        if log_success and not result.healthy:
            result.events.append(("successful_health_check_event", {}))
        self._end_pending(result)
        if degraded != bool(self.flags & DEGRADED):
            if degraded:
                result.set |= DEGRADED
                result.degraded = 1
            else:
                result.clear |= DEGRADED
            name = "degraded_healthy_host" if degraded else "no_longer_degraded_host"
            result.events.append((name, {}))
            if result.change is Change.NONE:
                result.change = Change.CHANGED
        return self._apply(result)

    def fail(self, kind: Failure, *, retriable: bool = False, log_failures: bool = False) -> Result:
        """HC-6."""
        self._healthy = 0
        result = Result(Change.NONE)
        if not self.flags & FAILED:
            at_once = not kind.network and not retriable
            if not at_once:
                self._unhealthy += 1
            if at_once or self._unhealthy == self._timing.unhealthy_threshold:
                result.set |= FAILED
                result.failed = True
                result.healthy = -1
                result.change = Change.CHANGED
                result.events.append(("eject_unhealthy_event", {"failure_type": kind.value}))
            else:
                result.change = Change.PENDING
        if kind is Failure.NETWORK_TIMEOUT and (self.flags | result.set) & FAILED:
            result.set |= TIMEOUT
        else:
            result.clear |= TIMEOUT
        self._end_pending(result)
        if self.first or log_failures:
            told = {"failure_type": kind.value, "first_check": self.first}
            result.events.append(("health_check_failure_event", told))
        return self._apply(result)
