"""The overload manager: resources that are watched, and what workers are asked to do when one runs
short (rules BOOT-14, BOOT-15, BOOT-18)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from meshcore._core.stats import Counter, Store
from meshcore.health.state import milliseconds

__all__ = ["Overload", "Trigger"]

Tree = Mapping[str, Any]
MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors."
SHRINK = "envoy.overload_actions.shrink_heap"
SHRINK_EVERY_MS = 10000
ALPHA = 0.05  # of the moving average of the CPU's use
CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 0x7FFFFFFFFFFFF000  # what version 1 of control groups has for no limit


class Engine(Protocol):
    """What the workers can be asked for."""

    @property
    def connections(self) -> int: ...
    def set_overload(self, name: str, chance: float) -> None: ...
    def set_overload_floor(self, timer: str, least_ms: int | None, share: float) -> None: ...
    def track_heavy_streams(self, shift: int) -> None: ...
    def clear_overload(self) -> None: ...


class Monitor(Protocol):
    """How much of one resource is in use, of 1; OSError or ValueError: it cannot be told now."""

    def pressure(self) -> float: ...


class InjectedResource:
    """A number in a file, read when the file has been replaced."""

    def __init__(self, config: Tree) -> None:
        self._path = config["filename"]
        self._seen: tuple[int, ...] = ()
        self._value = 0.0

    def pressure(self) -> float:
        found = os.stat(self._path)
        seen = found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
        if seen != self._seen:
            self._value = float(Path(self._path).read_text())
            self._seen = seen
        if not 0 <= self._value <= 1:
            raise ValueError(f"{self._path} must hold a number from 0 to 1")
        return self._value


class CpuUtilization:
    """The share of CPU time that was worked, of the machine or of this container, as a moving
    average over the refreshes."""

    def __init__(self, config: Tree) -> None:
        self._read = container_cpu if config.get("mode") == "CONTAINER" else host_cpu
        self._last = self._read()
        self._average = 0.0

    def pressure(self) -> float:
        work, total = self._read()
        spent, passed = work - self._last[0], total - self._last[1]
        if spent < 0 or passed <= 0:
            raise ValueError("no CPU time has passed")
        self._last = work, total
        self._average += ALPHA * (min(1.0, spent / passed) - self._average)
        return self._average


def host_cpu() -> tuple[float, float]:
    """Time worked and time in all, in one unit: user, nice, system; and idle."""
    with open("/proc/stat") as file:
        user, nice, system, idle = (int(text) for text in file.readline().split()[1:5])
    work = user + nice + system
    return work, work + idle


def container_cpu(root: Path = CGROUPS) -> tuple[float, float]:
    """As `host_cpu`, in seconds, of what the control group may use."""
    usage = root / "cpu.stat"
    if usage.exists():
        values = dict(line.split() for line in usage.read_text().splitlines())
        worked, cores = int(values["usage_usec"]) / 1e6, _cores(root)
    else:
        worked = int((root / "cpu" / "cpuacct.usage").read_text()) / 1e9
        cores = int((root / "cpu" / "cpu.shares").read_text()) / 1000
    return worked / cores, time.monotonic()


def _cores(root: Path) -> float:
    """The lesser of the CPUs that the group may run on and its quota of their time."""
    cores = 0.0
    for part in (root / "cpuset.cpus.effective").read_text().strip().split(","):
        first, _, last = part.partition("-")
        cores += int(last or first) - int(first) + 1
    quota, period = (root / "cpu.max").read_text().split()
    return cores if quota == "max" else min(cores, int(quota) / int(period))


class FixedHeap:
    """Memory of this process that it does not share with files, against a maximum."""

    def __init__(self, config: Tree) -> None:
        self._most = int(config["max_heap_size_bytes"])

    def pressure(self) -> float:
        return private_memory() / self._most


def private_memory() -> int:
    """Resident bytes without those of mapped files."""
    with open("/proc/self/statm") as file:
        resident, shared = (int(text) for text in file.readline().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


class CgroupMemory:
    """Memory of the control group, against its limit or a lesser one; without any limit 0."""

    def __init__(self, config: Tree, root: Path = CGROUPS) -> None:
        self._root = root
        self._most = int(config.get("max_memory_bytes", 0)) or None

    def pressure(self) -> float:
        used, limit = group_memory(self._root)
        most = min((each for each in (limit, self._most) if each is not None), default=None)
        return 0.0 if most is None else used / most if most else 1.0


def group_memory(root: Path) -> tuple[int, int | None]:
    """Bytes in use and the limit, of version 2 or else 1 of control groups; OSError: neither."""
    if (root / "memory.current").exists():
        text = (root / "memory.max").read_text().strip()
        return int((root / "memory.current").read_text()), None if text == "max" else int(text)
    older = root / "memory"
    limit = int((older / "memory.limit_in_bytes").read_text())
    used = int((older / "memory.usage_in_bytes").read_text())
    return used, None if limit >= UNLIMITED else limit


def shrink_heap() -> None:
    """Gives memory that is free back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


KINDS: dict[str, Callable[[Tree], Monitor]] = {
    f"{MONITORS}injected_resource.v3.InjectedResourceConfig": InjectedResource,
    f"{MONITORS}cpu_utilization.v3.CpuUtilizationConfig": CpuUtilization,
    f"{MONITORS}fixed_heap.v3.FixedHeapConfig": FixedHeap,
    f"{MONITORS}cgroup_memory.v3.CgroupMemoryConfig": CgroupMemory,
}
CONNECTIONS = f"{MONITORS}downstream_connections.v3.DownstreamConnectionsConfig"


class Connections:
    """Connections of clients against their maximum, which workers keep themselves."""

    def __init__(self, config: Tree, engine: Engine) -> None:
        self._most = int(config["max_active_downstream_connections"])
        self._engine = engine

    def pressure(self) -> float:
        return self._engine.connections / self._most


class Trigger:
    """What the pressure of one resource means for one action: 0 to 1."""

    def __init__(self, config: Tree) -> None:
        self.resource: str = config["name"]
        scaled = config.get("scaled")
        if scaled is None:
            self._low = self._high = config.get("threshold", {}).get("value", 0.0)
        else:
            self._low = scaled.get("scaling_threshold", 0.0)
            self._high = scaled.get("saturation_threshold", 0.0)

    def value(self, pressure: float) -> float:
        if pressure >= self._high:
            return 1.0
        return 0.0 if pressure <= self._low else (pressure - self._low) / (self._high - self._low)


class Overload:
    """The monitors of one configuration, and its actions and load shed points.

    The engine is told the name of an action or point and its value, 0 to 1, whenever that changed;
    after ``stop`` all are at 0 again.
    """

    def __init__(
        self, config: Tree, stats: Store, loop: asyncio.AbstractEventLoop, engine: Engine
    ) -> None:
        self._config = config
        self._loop = loop
        self._engine = engine
        self._interval = max(milliseconds(config.get("refresh_interval"), 1000), 1) / 1000
        self._delay = stats.histogram("overload.refresh_interval_delay")
        self._monitors: list[tuple[str, Monitor]] = []
        self._pressure: dict[str, float] = {}
        self._stats = {}
        for entry in config.get("resource_monitors", ()):
            typed, name = entry["typed_config"], entry["name"]
            self._monitors.append((name, self._monitor(typed)))
            self._pressure[name] = 0.0
            scope = stats.scope(f"overload.{name}")
            if typed["@type"] != CONNECTIONS:
                scope.counter("skipped_updates")
            gauge, failures = scope.gauge("pressure"), scope.counter("failed_updates")
            gauge.set(0)
            self._stats[name] = gauge, failures
        self._actions = {
            entry["name"]: [Trigger(trigger) for trigger in entry["triggers"]]
            for field in ("actions", "loadshed_points")
            for entry in config.get(field, ())
        }
        self._values = dict.fromkeys(self._actions, 0.0)
        points = {entry["name"] for entry in config.get("loadshed_points", ())}
        self._active = {
            name: stats.gauge(f"overload.{name}.active")
            for name in self._actions
            if name not in points
        }
        self._percent = {
            name: stats.gauge(f"overload.{name}.scale_percent") for name in self._actions
        }
        self._shrinking: asyncio.TimerHandle | None = None
        for entry in config.get("actions", ()):
            self._set_up(entry, stats)
        for name in self._actions:
            self._tell(name, 0.0)
        self._measured = loop.time()
        self._timer = loop.call_later(self._interval, self._refresh)

    def same_as(self, config: Tree) -> bool:
        return self._config == config

    def stop(self) -> None:
        self._timer.cancel()
        if self._shrinking is not None:
            self._shrinking.cancel()
        for name in self._actions:
            self._tell(name, 0.0)
        self._engine.clear_overload()

    def _monitor(self, typed: Tree) -> Monitor:
        kind = typed["@type"]
        return Connections(typed, self._engine) if kind == CONNECTIONS else KINDS[kind](typed)

    def _set_up(self, action: Tree, stats: Store) -> None:
        """What an action needs besides its value."""
        typed = action.get("typed_config", {})
        if action["name"] == SHRINK:
            count = stats.counter(f"overload.{SHRINK}.shrink_count")
            every = milliseconds(typed.get("timer_interval"), SHRINK_EVERY_MS)
            self._shrink_later(every / 1000, count)
        elif action["name"] == "envoy.overload_actions.reset_high_memory_stream":
            buffers = self._config["buffer_factory_config"]
            self._engine.track_heavy_streams(buffers["minimum_account_to_track_power_of_two"])
        for timer in typed.get("timer_scale_factors", ()):
            least = milliseconds(timer["min_timeout"], 0) if "min_timeout" in timer else None
            share = timer.get("min_scale", {}).get("value", 0.0) / 100
            self._engine.set_overload_floor(timer["timer"], least, share)

    def _shrink_later(self, seconds: float, count: Counter) -> None:
        def shrink() -> None:
            if self._values[SHRINK] >= 1:
                shrink_heap()
                count.inc()
            self._shrink_later(seconds, count)

        self._shrinking = self._loop.call_later(seconds, shrink)

    def _refresh(self) -> None:
        self._timer = self._loop.call_later(self._interval, self._refresh)
        now = self._loop.time()
        self._delay.record(round((now - self._measured) * 1000))
        self._measured = now
        for name, monitor in self._monitors:
            gauge, failures = self._stats[name]
            try:
                self._pressure[name] = monitor.pressure()
            except (OSError, ValueError):
                failures.inc()
            gauge.set(int(self._pressure[name] * 100))
        for name, value in self._changes():
            self._tell(name, value)

    def _changes(self) -> Iterator[tuple[str, float]]:
        for name, triggers in self._actions.items():
            value = max(each.value(self._pressure.get(each.resource, 0.0)) for each in triggers)
            if value != self._values[name]:
                yield name, value

    def _tell(self, name: str, value: float) -> None:
        self._values[name] = value
        if name in self._active:
            self._active[name].set(int(value >= 1))
        self._percent[name].set(int(value * 100))
        if name != SHRINK:  # which the control side does itself
            self._engine.set_overload(name, value)
