"""What a benchmark case is, and how it is timed."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

ROUND_S = 0.03


class NotHereError(RuntimeError):
    """The library that meshcore is compared with is not installed."""


@dataclass(frozen=True)
class Case:
    """One statement to time.

    `setup` returns the names that `statement` uses. It may be slow, and is called once. One run of
    the statement is `operations` operations; results are nanoseconds per operation.
    """

    group: str
    subject: str
    statement: str
    setup: Callable[[], dict[str, Any]]
    operations: int = 1
    slow: bool = False  # takes many seconds to set up: only on request

    @property
    def name(self) -> str:
        return f"{self.group}: {self.subject}"

    def timer(self) -> timeit.Timer:
        """A timer over the statement, set up and run once."""
        try:
            names = self.setup()
        except ImportError as error:
            if (error.name or "").startswith("meshcore"):
                raise
            raise NotHereError(str(error)) from error
        timer = timeit.Timer(self.statement, globals=names)
        timer.timeit(1)
        return timer


def loops_for(timer: timeit.Timer) -> int:
    """How often the statement must run for one round to last ROUND_S."""
    loops = 1
    while (taken := timer.timeit(loops)) < ROUND_S / 2:
        loops = max(loops * 2, int(loops * ROUND_S / max(taken, 1e-7)))
    return loops


@dataclass
class Timing:
    """Nanoseconds per operation, one for each round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def best(self) -> float:
        return min(self.rounds)

    @property
    def spread(self) -> float:
        """How far the median lies above the best round: the share that noise may have in it."""
        return self.median / self.best - 1


def measure(cases: Sequence[Case], rounds: int) -> tuple[dict[str, Timing], dict[str, str]]:
    """Time the cases, round by round in turn; by subject, and why a case was left out."""
    ready: list[tuple[Case, timeit.Timer, int]] = []
    left_out: dict[str, str] = {}
    for case in cases:
        try:
            timer = case.timer()
        except NotHereError as why:
            left_out[case.name] = str(why)
        else:
            ready.append((case, timer, loops_for(timer)))
    timings = {case.subject: Timing() for case, _, _ in ready}
    for _ in range(rounds):
        for case, timer, loops in ready:
            taken = timer.timeit(loops)
            timings[case.subject].rounds.append(taken / loops / case.operations * 1e9)
    return timings, left_out


def groups(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """Cases by group, in their order."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.group, []).append(case)
    return found
