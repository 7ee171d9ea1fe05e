"""Command line: `python -m bench.micro`, one table of ratios and the figures to reach."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from bench import ROOT
from bench.micro import balancing, counting, hashing, parsing, routing
from bench.micro.case import Case, Timing, groups, measure
from bench.table import machine, table

CASES: list[Case] = [
    *parsing.CASES,
    *routing.CASES,
    *hashing.CASES,
    *balancing.CASES,
    *counting.CASES,
]

Figures = dict[str, dict[str, Timing]]


class Target(NamedTuple):
    """Case `over`'s time divided by case `under`'s is at least (`>`) or at most (`<`) a bound."""

    what: str
    over: str
    under: str
    sign: str
    bound: float


TARGETS = [
    Target(
        "parser, all headers, x httptools collecting",
        "parse 606 B: httptools collecting",
        "parse 606 B: meshcore messages, all headers",
        *(">", 3.0),
    ),
    Target(
        "counter x prometheus_client", "counter: prometheus_client", "counter: meshcore", ">", 5
    ),
]
TARGETS += [
    Target(
        f"match among 100k / among 10, {what}",
        f"{group} of 100,000: meshcore",
        f"{group} of 10: meshcore",
        *("<", 2.0),
    )
    for what, group in (
        ("last routes", "route, last"),
        ("random routes", "route, random"),
        ("random routes of every kind", "route of every kind, random"),
    )
]
TARGETS += [
    Target(
        f"{table_kind} pick x {peer}",
        f"{table_kind} of 100 hosts, pick: {peer}",
        f"{table_kind} of 100 hosts, pick: meshcore, hash given",
        *(">", bound),
    )
    for table_kind in ("ring", "maglev")
    for peer, bound in (("uhashring on xxh64", 10.0), ("uhashring", 20.0))
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.micro", description="Time meshcore's primitives beside others."
    )
    add = parser.add_argument
    add("--groups", default="", metavar="TEXT", help="only groups whose name starts so")
    add("--rounds", type=int, default=9, help="interleaved rounds (default 9)")
    add("--full", action="store_true", help="also the cases that take long to set up")
    add("--no-workers", action="store_true", help="leave out the increments of two C workers")
    add("--json", type=Path, metavar="OUT", help="write the figures here")
    return parser.parse_args()


def group_table(group: str, timings: dict[str, Timing]) -> str:
    """A line for each subject, with its time relative to the best meshcore one."""
    ours = [t.median for subject, t in timings.items() if subject.startswith("meshcore")]
    rows = [(group, "ns", "+", "x meshcore")]
    rows += [
        (
            subject,
            f"{timing.median:,.0f}",
            f"{timing.spread:.0%}",
            f"{timing.median / min(ours):.1f}" if ours else "",
        )
        for subject, timing in timings.items()
    ]
    return table(rows)


def targets_table(figures: Figures, workers: tuple[float, float] | None) -> str:
    rows = [("to reach", "figure", "bound", "reached")]
    found = {f"{g}: {s}": t.median for g, timings in figures.items() for s, t in timings.items()}
    measured = [
        (what, found[over] / found[under], sign, bound)
        for what, over, under, sign, bound in TARGETS
        if over in found and under in found
    ]
    if workers:
        measured.append(("two workers' increments / one's", workers[1] / workers[0], ">", 1.9))
    for what, value, sign, bound in measured:
        reached = value >= bound if sign == ">" else value <= bound
        rows.append((what, f"{value:.2f}", f"{sign} {bound:g}", "yes" if reached else "NO"))
    return table(rows)


def workers_increments() -> tuple[float, float]:
    """Increments per second of one C worker and of two on two cores, by increments.c."""
    program = "build/core/bench/micro/increments"
    subprocess.run(["make", "--no-print-directory", "-s", program], cwd=ROOT, check=True)
    done = subprocess.run([ROOT / program], capture_output=True, text=True, check=True)
    one, two = map(float, done.stdout.split())
    return one, two


def main() -> int:
    options = arguments()
    figures: Figures = {}
    left_out: dict[str, str] = {}
    for group, cases in groups(CASES).items():
        chosen = [case for case in cases if options.full or not case.slow]
        if not group.startswith(options.groups):
            continue
        figures[group], missing = measure(chosen, options.rounds)
        left_out |= missing
        if figures[group]:
            print(group_table(group, figures[group]), end="\n\n", flush=True)
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    workers = None if options.no_workers else workers_increments()
    print(targets_table(figures, workers))
    if options.json:
        record = {g: {s: asdict(t) for s, t in timings.items()} for g, timings in figures.items()}
        options.json.write_text(
            json.dumps({"machine": machine(), "groups": record, "workers": workers}, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
