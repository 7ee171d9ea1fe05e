"""``meshcore bench``: what a call of the installed meshcore costs, held against an earlier record.

The cost is the number of instructions of a call, as callgrind counts them: it does not depend on
what else the machine does, so two per cent more is a fact and not noise. Where there is no
valgrind, or with ``--timed``, it is the time of a call, and only a large change means anything.

A record holds for one machine's Python and one compiler: take the base and what is compared with
it in the same place.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meshcore._version import __version__
from meshcore.errors import MeshcoreError

__all__ = ["JOBS", "BenchError", "Record", "compare", "measure", "repeat", "run"]

LIMITS = {"instructions": 0.02, "time": 0.25}

# Calls of the two runs whose difference is the cost: both prepare the same.
FEW, MANY = 200, 1200
ROUNDS, ROUND_S = 9, 0.02

Call = Callable[[], Any]


class BenchError(MeshcoreError):
    """A cost that could not be taken or compared."""


# --- the calls ----------------------------------------------------------------------------------

REQUEST = (
    b"GET /static/css/site.min.css?v=20240611 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/125.0 Safari/537.36\r\n"
    b"Accept: text/css,*/*;q=0.1\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    b"\r\n"
)


def _parse() -> Call:
    from meshcore.http1 import RequestParser

    feed = RequestParser().feed
    return lambda: list(feed(REQUEST))


def _match(size: int) -> Call:
    from meshcore import RouteTable

    routes = [
        {
            "match": {"prefix": f"/api/service{i}/"} if i % 2 else {"path": f"/api/service{i}"},
            "route": {"cluster": f"service{i}"},
        }
        for i in range(size)
    ]
    table = RouteTable({"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": routes}]})
    path = f"/api/service{size - 1}/items/7"
    headers = [(":method", "GET"), (":authority", "www.example.com"), (":path", path)]
    return lambda: table.match(headers)


def _pick(table: str) -> Call:
    import meshcore

    pick = getattr(meshcore, table)([(f"10.0.0.{i}:80", 1 + i % 3) for i in range(100)]).pick
    return lambda: pick(0x9E3779B97F4A7C15)


def _schedule() -> Call:
    from meshcore import EdfScheduler

    return EdfScheduler([(1 + i % 10, i) for i in range(100)]).pick


def _hash() -> Call:
    from meshcore import xxh64

    data = bytes(1024)
    return lambda: xxh64(data)


def _count() -> Call:
    from meshcore.stats import Store

    return Store().counter("bench.counter").inc


def _record() -> Call:
    from meshcore.stats import Store

    record = Store().histogram("bench.histogram").record
    return lambda: record(137)


JOBS: dict[str, Callable[[], Call]] = {
    "parse": _parse,
    "match_10": lambda: _match(10),
    "match_1000": lambda: _match(1000),
    "pick_ring": lambda: _pick("RingHash"),
    "pick_maglev": lambda: _pick("Maglev"),
    "pick_edf": _schedule,
    "xxh64_1k": _hash,
    "counter_inc": _count,
    "histogram_record": _record,
}


def repeat(job: str, count: int) -> None:
    """Prepare a job and call it `count` times: what runs under callgrind."""
    call = JOBS[job]()
    for _ in range(count):
        call()


# --- the cost of one ----------------------------------------------------------------------------


def _instructions(job: str) -> float:
    return (_collected(job, MANY) - _collected(job, FEW)) / (MANY - FEW)


def _collected(job: str, count: int) -> int:
    """Instructions of a whole interpreter that repeats the job."""
    program = f"import meshcore.bench; meshcore.bench.repeat({job!r}, {count})"
    with tempfile.TemporaryDirectory() as scratch:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out"]
        # One order of every dict and set: the interpreter's own work is the same in all runs.
        done = subprocess.run(
            [*command, os.path.realpath(sys.executable), "-c", program],
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
