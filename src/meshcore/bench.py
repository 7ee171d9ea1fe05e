"""``meshcore bench``: what a call of the installed meshcore costs, held against an earlier record.

The cost is the number of instructions of a call, as callgrind counts them: it does not depend on
what else the machine does, so two per cent more is a fact and not noise. Where there is no
valgrind, or with ``--timed``, it is the time of a call, and only a large change means anything.

A record holds for one machine's Python and one compiler: take the base and what is compared with
it in the same place.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from meshcore._bench_jobs import JOBS
from meshcore._version import __version__
from meshcore.errors import MeshcoreError

__all__ = ["JOBS", "BenchError", "Record", "compare", "measure", "run"]

if TYPE_CHECKING:
    import argparse

    from meshcore._bench_jobs import Call

LIMITS = {"instructions": 0.02, "time": 0.25}

# Calls of the two runs whose difference is the cost: both prepare the same.
FEW, MANY = 200, 1200
ROUNDS, ROUND_S = 9, 0.02


class BenchError(MeshcoreError):
    """A cost that could not be taken or compared."""


# --- the cost of one ----------------------------------------------------------------------------


def _instructions(job: str) -> float:
    return (_collected(job, MANY) - _collected(job, FEW)) / (MANY - FEW)


def _collected(job: str, count: int) -> int:
    """Instructions of a whole interpreter that repeats the job."""
    program = f"from meshcore._bench_jobs import repeat; repeat({job!r}, {count})"
    with tempfile.TemporaryDirectory() as scratch:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out"]
        # The fixed seed orders every set alike, so that the interpreter does the same in all runs;
        # without `site`, which takes seconds here, the path comes from the environment.
        done = subprocess.run(
            [*command, os.path.realpath(sys.executable), "-S", "-c", program],
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise BenchError(f"{job} failed under callgrind: {done.stderr[-1000:]}")
    return int(found[1])


def _nanoseconds(job: str) -> float:
    """The median of some rounds."""
    call = JOBS[job]()
    loops, rounds = 1, []
    while _timed(call, loops) < ROUND_S:
        loops *= 2
    for _ in range(ROUNDS):
        rounds.append(_timed(call, loops) / loops * 1e9)
    return statistics.median(rounds)


def _timed(call: Call, loops: int) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return time.perf_counter() - start


# --- records ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """What a run found: cost by job, in instructions or nanoseconds."""

    method: str
    cost: dict[str, float]
    meshcore: str = __version__
    python: str = platform.python_version()
    machine: str = platform.machine()

    @classmethod
    def load(cls, path: Path) -> Record:
        """A record that ``--json`` wrote; BenchError when it is none."""
        try:
            record = cls(**json.loads(path.read_text()))
            if record.method not in LIMITS or not all(c > 0 for c in record.cost.values()):
                raise ValueError("no method or cost")
        except (ValueError, TypeError, AttributeError) as error:
            raise BenchError(f"{path} is no record of meshcore bench: {error}") from error
        return record


def measure(jobs: list[str], *, timed: bool = False) -> Record:
    """The cost of each job, or of all."""
    if unknown := set(jobs) - JOBS.keys():
        raise BenchError(f"no such job: {', '.join(sorted(unknown))}; known: {', '.join(JOBS)}")
    timed = timed or shutil.which("valgrind") is None
    cost = _nanoseconds if timed else _instructions
    method = "time" if timed else "instructions"
    return Record(method, {job: round(cost(job), 1) for job in jobs or JOBS})


def compare(base: Record, now: Record, limit: float) -> list[str]:
    """The jobs that cost more than they did, by more than the limit."""
    if base.method != now.method:
        raise BenchError(f"the base counts {base.method}, this run {now.method}")
    both = base.cost.keys() & now.cost.keys()
    return [job for job in now.cost if job in both and now.cost[job] > base.cost[job] * (1 + limit)]


def _lines(base: Record | None, now: Record) -> list[str]:
    unit = "instructions" if now.method == "instructions" else "ns"
    lines = []
    for job, cost in now.cost.items():
        line = f"{job:<18}{cost:>12,.0f} {unit}"
        if base is not None and job in base.cost:
            line += f"{cost / base.cost[job] - 1:>+9.1%}"
        lines.append(line)
    return lines


# --- command -----------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> int:
    """Measure, print, write and compare as the flags say; the exit status."""
    base = Record.load(Path(options.compare)) if options.compare else None
    now = measure(options.jobs, timed=options.timed)
    print("\n".join(_lines(base, now)))
    if options.json:
        Path(options.json).write_text(json.dumps(asdict(now), indent=1) + "\n")
    if base is None:
        return 0
    limit = LIMITS[now.method] if options.limit is None else options.limit / 100
    grown = compare(base, now, limit)
    if grown:
        print(f"meshcore: costs more than {limit:.0%} more: {', '.join(grown)}", file=sys.stderr)
    return int(bool(grown))
