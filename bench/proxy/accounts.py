"""What the kernel knows of a tree of processes: CPU time, memory, system calls.

CPU time comes from each thread's schedstat, in nanoseconds of run time, as exact as the scheduler's
own clock but for the running slice (a tick, 4 to 10 ms, out of a round of seconds). How it divides
into user and system time is the kernel's sample at each tick, so that split is an estimate.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """The process and its descendants."""
    found = [root]
    for pid in found:
        for children in PROC.glob(f"{pid}/task/*/children"):
            with suppress(OSError):
                found += map(int, children.read_text().split())
    return found


@dataclass(frozen=True)
class CpuTime:
    """Seconds of CPU; `user` and `system` add up to `total`."""

    total: float
    user: float
    system: float

    def __sub__(self, earlier: CpuTime) -> CpuTime:
        total = self.total - earlier.total
        user, system = self.user - earlier.user, self.system - earlier.system
        share = user / (user + system) if user + system > 0 else 0.0
        return CpuTime(total, total * share, total * (1 - share))


def cpu_time(root: int) -> CpuTime:
    """What the process and its living descendants have used since they started."""
    total_ns = user = system = 0
    for pid in tree(root):
        for thread in PROC.glob(f"{pid}/task/*"):
            with suppress(OSError):
                total_ns += int((thread / "schedstat").read_text().split()[0])
                # The name in field 2 may hold spaces; utime and stime are fields 14 and 15.
                fields = (thread / "stat").read_text().rpartition(")")[2].split()
                user += int(fields[11])
                system += int(fields[12])
    return CpuTime(total_ns / 1e9, user / TICKS_PER_S, system / TICKS_PER_S)


def machine_busy() -> float:
    """Seconds in which any core has been busy since boot, stolen time included."""
    fields = [int(x) for x in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, iowait = fields[3], fields[4]
    return (sum(fields) - idle - iowait) / TICKS_PER_S


@dataclass(frozen=True)
class Memory:
    """Bytes: resident, and the proportional share of it (shared pages divided among users)."""

    rss: int
    pss: int


def memory(root: int) -> Memory:
    totals = {"Rss": 0, "Pss": 0}
    for pid in tree(root):
        with suppress(OSError):
            rollup = (PROC / str(pid) / "smaps_rollup").read_text()
            for name, kib in re.findall(r"^(Rss|Pss):\s+(\d+) kB", rollup, re.MULTILINE):
                totals[name] += int(kib) * 1024
    return Memory(totals["Rss"], totals["Pss"])


class SystemCalls:
    """Counts the system calls of a tree from construction to `stop()`: by perf, else by strace.

    perf reads a counter in the kernel and leaves the proxy at its speed; strace stops the proxy at
    every call, so more events gather for each wait and the count comes out lower.
    """

    def __init__(self, root: int, method: str | None = None) -> None:
        self.method = method or best_method()
        self._directory = tempfile.TemporaryDirectory()
        self._output = Path(self._directory.name) / "count"
        pids = tree(root)
        self._tracer = self._perf(pids) if self.method == "perf" else self._strace(pids)

    def _perf(self, pids: list[int]) -> subprocess.Popen[bytes]:
        """Start with the counter off, and return once perf has said that it is on."""
        control_read, control_write = os.pipe()
        ack_read, ack_write = os.pipe()
        tracer = quiet(
            *("perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o", str(self._output)),
            *("-p", ",".join(map(str, pids)), "--delay=-1"),
            *("--control", f"fd:{control_read},{ack_write}"),
            pass_fds=(control_read, ack_write),
        )
        for fd in (control_read, ack_write):
            os.close(fd)
        os.write(control_write, b"enable\n")
        os.read(ack_read, 16)
        for fd in (control_write, ack_read):
            os.close(fd)
        return tracer

    def _strace(self, pids: list[int]) -> subprocess.Popen[bytes]:
        """Return once every process has its tracer."""
        attach = [word for pid in pids for word in ("-p", str(pid))]
        tracer = quiet("strace", "-c", "-f", "-o", str(self._output), *attach)
        while any("TracerPid:\t0\n" in (PROC / f"{pid}/status").read_text() for pid in pids):
            with suppress(subprocess.TimeoutExpired):
                tracer.wait(0.01)
                raise RuntimeError("strace could not attach to the proxy")
        return tracer

    def stop(self) -> int:
        """End the counting; the number of calls."""
        self._tracer.send_signal(signal.SIGINT)
        self._tracer.wait(10)
        lines = self._output.read_text().splitlines()
        self._directory.cleanup()
        if self.method == "perf":
            return int(next(line for line in lines if "sys_enter" in line).split(",")[0])
        return int(next(line for line in lines if line.endswith(" total")).split()[3])


def quiet(*argv: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(argv, stdout=nowhere, stderr=nowhere, pass_fds=pass_fds)


def best_method() -> str:
    """`perf` where this kernel and user may count system calls with it, else `strace`."""
    if shutil.which("perf"):
        probe = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stderr.partition(",")[0].isdigit():
            return "perf"
    return "strace"
