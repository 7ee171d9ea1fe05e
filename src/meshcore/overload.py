"""The overload manager: resources that are watched, and what workers are asked to do when one runs
short (rules BOOT-14, BOOT-15, BOOT-18)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from meshcore._core.stats import Store
from meshcore.health.state import milliseconds

__all__ = ["Overload", "Trigger"]

Tree = Mapping[str, Any]
MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors."
ALPHA = 0.05  # of the moving average of the CPU's use
CGROUPS = Path("/sys/fs/cgroup")


class Monitor(Protocol):
    """How much of one resource is in use, 0 to 1; OSError or ValueError: it cannot be told now."""

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


KINDS: dict[str, Callable[[Tree], Monitor]] = {
    f"{MONITORS}injected_resource.v3.InjectedResourceConfig": InjectedResource,
    f"{MONITORS}cpu_utilization.v3.CpuUtilizationConfig": CpuUtilization,
}


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

    ``act`` is told the name of an action or point and its value, 0 to 1, whenever that changed;
    after ``stop`` all are at 0 again.
    """

    def __init__(
        self,
        config: Tree,
        stats: Store,
        loop: asyncio.AbstractEventLoop,
        act: Callable[[str, float], None],
    ) -> None:
        self._config = config
        self._loop = loop
        self._act = act
        self._interval = max(milliseconds(config.get("refresh_interval"), 1000), 1) / 1000
        self._delay = stats.histogram("overload.refresh_interval_delay")
        self._monitors: list[tuple[str, Monitor]] = []
        self._pressure: dict[str, float] = {}
        self._stats = {}
        for entry in config.get("resource_monitors", ()):
            kind = KINDS.get(entry["typed_config"]["@type"])
            if kind is None:
                continue  # the limit of connections, which workers keep themselves
            name = entry["name"]
            self._monitors.append((name, kind(entry["typed_config"])))
            self._pressure[name] = 0.0
            scope = stats.scope(f"overload.{name}")
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
        for name in self._actions:
            self._tell(name, 0.0)
        self._measured = loop.time()
        self._timer = loop.call_later(self._interval, self._refresh)

    def same_as(self, config: Tree) -> bool:
        return self._config == config

    def stop(self) -> None:
        self._timer.cancel()
        for name in self._actions:
            self._tell(name, 0.0)

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
        self._act(name, value)
