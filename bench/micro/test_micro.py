"""The cases under pytest-benchmark: `pytest bench/micro --benchmark-group-by=group`."""

from __future__ import annotations

from typing import Any

import pytest

from bench.micro.__main__ import CASES
from bench.micro.case import Case, NotHereError, loops_for


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.slow else []) for c in CASES],
)
def test_case(case: Case, benchmark: Any) -> None:
    """A round is one timing of `loops` runs; ns_per_operation is in the stored record."""
    try:
        timer = case.timer()
    except NotHereError as why:
        pytest.skip(str(why))
    loops = loops_for(timer)
    benchmark.group = case.group
    benchmark.pedantic(timer.timeit, args=(loops,), rounds=9, warmup_rounds=1)
    per_operation = benchmark.stats.stats.median / loops / case.operations * 1e9
    benchmark.extra_info["ns_per_operation"] = per_operation
