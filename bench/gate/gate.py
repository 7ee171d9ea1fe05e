"""The gate: instructions per operation, by callgrind, may not grow by more than two per cent.

gate.c does an operation any number of times after the same preparation, so the count of one
operation comes from the difference of two runs. It is exact for one binary and one C library.
Another compiler makes another binary: the baseline holds counts by toolchain, and for a toolchain
that it does not know, `--base REF` builds a revision here and compares with that.

    python -m bench.gate.gate [--update | --base REF | --selftest] [JOB...]
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import ROOT
from bench.table import table

BASELINE = Path(__file__).with_name("baseline.json")
LIMIT = 0.02

# Operations of the two runs whose difference is taken; multiples of the planted slowdown's period.
FEW, MANY = 100, 1100

Counts = dict[str, int]


class GateError(RuntimeError):
    """The counts could not be taken."""


def build(tree: Path, name: str, flags: str = "") -> Path:
    """Build gate.c over the core of a tree, in a build directory of its own."""
    directory = f"build/{name}"
    binary = f"{directory}/bench/gate/gate"
    command = ["make", "--no-print-directory", "-s", "-j2", f"BUILD={directory}"]
    command += [f"CPPFLAGS={flags}", binary]
    done = subprocess.run(command, cwd=tree, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise GateError(f"cannot build {binary} in {tree}")
    return tree / binary


def jobs(binary: Path) -> list[str]:
    return subprocess.run([binary], capture_output=True, text=True, check=True).stdout.split()


def instructions(binary: Path, job: str, count: int) -> int:
    """Instructions of a whole run."""
    if shutil.which("valgrind") is None:
        raise GateError("valgrind is not installed: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as scratch:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out"]
        done = subprocess.run(
            [*command, binary, job, str(count)], capture_output=True, text=True, check=False
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise GateError(f"{job} failed under callgrind:\n{done.stderr}")
    return int(found[1])


def count(binary: Path, chosen: list[str]) -> Counts:
    """Instructions per operation of each job."""
    known = jobs(binary)
    if unknown := set(chosen) - set(known):
        raise GateError(f"no such job: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return {
        job: round(
            (instructions(binary, job, MANY) - instructions(binary, job, FEW)) / (MANY - FEW)
        )
        for job in chosen or known
    }


def toolchain() -> str:
    """What decides the count beside the source: the compiler, the C library, the architecture."""
    command = ["gcc", "-dumpfullversion"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return f"gcc {version}, {' '.join(platform.libc_ver())}, {platform.machine()}"


def verdict(base: Counts, now: Counts) -> tuple[str, list[str]]:
    """A table of the change, and the jobs that grew too much."""
    rows = [("instructions", "base", "now", "change", "")]
    grown = []
    for job, value in now.items():
        if job not in base:
            rows.append((job, "", f"{value:,}", "", "new"))
            continue
        grew = value > base[job] * (1 + LIMIT)
        if grew:
            grown.append(job)
        change = f"{value / base[job] - 1:+.1%}"
        rows.append((job, f"{base[job]:,}", f"{value:,}", change, "GREW" if grew else ""))
    return table(rows), grown


def of_revision(revision: str, chosen: list[str]) -> Counts:
    """Counts of another revision of this tree, built here; jobs that it lacks are left out."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", tree, revision], check=True)
        try:
            binary = build(tree, "gate")
            return count(binary, [job for job in jobs(binary) if not chosen or job in chosen])
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)


def baseline(here: str) -> Counts:
    known: dict[str, Counts] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if here not in known:
        raise GateError(
            f"no baseline for {here}: compare with a revision (make gate ARGS='--base main') or "
            "store one (make gate ARGS=--update)"
        )
    return known[here]


def update(here: str, now: Counts) -> None:
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    known[here] = known.get(here, {}) | now
    BASELINE.write_text(json.dumps(known, indent=2) + "\n")
    print(f"stored for {here}")


def selftest(chosen: list[str]) -> int:
    """The gate must pass what is the same and catch what is five per cent slower, in every job."""
    honest = build(ROOT, "gate")
    planted = build(ROOT, "gate-planted", "-DMC_PLANT_SLOWDOWN")
    base, again, slower = count(honest, chosen), count(honest, chosen), count(planted, chosen)
    text, grown = verdict(base, slower)
    print(text)
    missed = [job for job in base if job not in grown]
    unsteady = [job for job in base if again[job] != base[job]]
    print("a planted slowdown:", f"missed in {missed}" if missed else "caught in every job")
    print("two counts of one binary:", f"differ in {unsteady}" if unsteady else "equal")
    return int(bool(missed) or bool(verdict(base, again)[1]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gate.gate", description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="only these (default: all)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--update", action="store_true", help="store the counts as the baseline")
    what.add_argument("--base", metavar="REF", help="compare with a revision, not the baseline")
    what.add_argument("--selftest", action="store_true", help="prove that a slowdown is caught")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    try:
        if options.selftest:
            return selftest(options.jobs)
        here = toolchain()
        now = count(build(ROOT, "gate"), options.jobs)
        if options.update:
            update(here, now)
            return 0
        base = of_revision(options.base, options.jobs) if options.base else baseline(here)
    except GateError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    text, grown = verdict(base, now)
    print(text)
    if grown:
        print(f"gate: more than {LIMIT:.0%} growth: {', '.join(grown)}", file=sys.stderr)
    return int(bool(grown))


if __name__ == "__main__":
    sys.exit(main())
