"""The gate: instructions per operation, by callgrind, may not grow by more than two per cent.

gate.c does an operation any number of times after the same preparation, so the count of one
operation comes from the difference of two runs. It is exact for one binary and one C library.
Another compiler makes another binary: the baseline holds counts by toolchain, and for a toolchain
that it does not know, the revision that stored the baseline is built here and counted.

A run ends with a proof that the gate works: a binary with a planted slowdown must be caught. What
`make test` runs leaves the proof out.

    python -m bench.gate.gate [--update | --base REF | --selftest | --no-proof] [JOB...]
"""

from __future__ import annotations

import argparse
import json
import os
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
    # A make that called this has its own jobs, and flags that are not for this one.
    env = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    done = subprocess.run(command, cwd=tree, env=env, stdout=subprocess.DEVNULL, check=False)
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


def baseline(here: str, chosen: list[str]) -> Counts:
    """The stored counts; for an unknown toolchain, those of the revision that stored them."""
    known: dict[str, Counts] = json.loads(BASELINE.read_text())
    if here in known:
        return known[here]
    git = ["git", "-C", str(ROOT), "log", "-1", "--format=%H", "--", str(BASELINE)]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise GateError(f"no baseline for {here}, and no history to build one from")
    print(f"no baseline for {here}: building the revision that stored the others")
    return of_revision(done.stdout.strip(), chosen)


def update(here: str, now: Counts) -> None:
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    known[here] = known.get(here, {}) | now
    BASELINE.write_text(json.dumps(known, indent=2) + "\n")
    print(f"stored for {here}")


def proof(now: Counts) -> bool:
    """Whether the gate would notice: a planted slowdown of five per cent must show in every job."""
    planted = count(build(ROOT, "gate-planted", "-DMC_PLANT_SLOWDOWN"), list(now))
    _, grown = verdict(now, planted)
    missed = [job for job in now if job not in grown]
    print("a planted slowdown:", f"MISSED in {missed}" if missed else "caught in every job")
    return not missed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gate.gate", description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="only these (default: all)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--update", action="store_true", help="store the counts as the baseline")
    what.add_argument("--base", metavar="REF", help="compare with a revision, not the baseline")
    what.add_argument("--selftest", action="store_true", help="only the proof, no comparison")
    what.add_argument(
        "--no-proof", action="store_true", help="only the comparison, in half the time"
    )
    return parser.parse_args()


def gate(options: argparse.Namespace) -> int:
    here = toolchain()
    now = count(build(ROOT, "gate"), options.jobs)
    if options.update:
        update(here, now)
        return 0
    grown: list[str] = []
    if not options.selftest:
        chosen = options.jobs
        base = of_revision(options.base, chosen) if options.base else baseline(here, chosen)
        text, grown = verdict(base, now)
        print(text)
    if grown:
        print(f"gate: more than {LIMIT:.0%} growth: {', '.join(grown)}", file=sys.stderr)
    return int(bool(grown) or not (options.no_proof or proof(now)))


def main() -> int:
    try:
        return gate(arguments())
    except GateError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
