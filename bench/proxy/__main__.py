"""Command line: `python -m bench.proxy`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from bench.proxy.contestants import CONTESTANTS
from bench.proxy.measure import SCENARIOS, Bench
from bench.proxy.report import comparison, report
from bench.table import Record, machine


def names(table: Mapping[str, object]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - table.keys():
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(table)}"
            )
        return chosen

    return parse


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.proxy",
        description="Compare meshcore with other proxies on this machine.",
    )
    add = parser.add_argument
    add("--peers", type=names(CONTESTANTS), default=list(CONTESTANTS), help="comma-separated")
    add("--scenarios", type=names(SCENARIOS), default=list(SCENARIOS), help="comma-separated")
    add("--rounds", type=int, default=5, help="rounds of each proxy and scenario (default 5)")
    add("--duration", type=float, default=3, help="seconds of a round, whole (default 3)")
    add("--no-memory", action="store_true", help="leave out the idle connections")
    add("--json", type=Path, metavar="OUT", help="write the record here")
    add("--compare", type=Path, metavar="BASE", help="compare with an earlier record")
    add("--fail-above", type=float, default=10, metavar="PERCENT", help="growth that fails (10)")
    cores = sorted(os.sched_getaffinity(0))
    add("--proxy-core", type=int, default=cores[0])
    add("--load-core", type=int, default=cores[-1])
    return parser.parse_args()


def progress(text: str) -> None:
    """Say where the run is, on one line that is overwritten."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> Record:
    chosen = [CONTESTANTS[name] for name in options.peers]
    record: Record = {
        "machine": machine(),
        "rounds": options.rounds,
        "seconds": options.duration,
        "scenarios": {},
        "memory": {},
    }
    with Bench(options.proxy_core, options.load_core) as bench:
        bench.start(chosen)
        record["failed"] = bench.failed
        running = [c for c in chosen if c.name in bench.proxies]
        record["versions"] = {c.name: c.version() for c in running}
        for name in options.scenarios:
            outcomes = bench.run(SCENARIOS[name], options.rounds, options.duration, progress)
            record["scenarios"][name] = {p: o.figures() for p, o in outcomes.items()}
        if not options.no_memory:
            for contestant in running:
                progress(f"idle connections: {contestant.name}")
                record["memory"][contestant.name] = asdict(bench.footprint(contestant))
    progress("")
    return record


def main() -> int:
    options = arguments()
    record = run(options)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    print(report(record))
    if not options.compare:
        return 0
    text, worst = comparison(json.loads(options.compare.read_text()), record)
    print(f"\n{text}")
    return int(worst > options.fail_above / 100)


if __name__ == "__main__":
    sys.exit(main())
