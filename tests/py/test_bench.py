"""The benchmarks' own arithmetic: what they compare, and that they fail when they must."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import peers
import pytest
from upstreams import Behaviour, Upstream, respond, slow

from meshcore.bench import BenchError, Record, compare, measure

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench import goodput
from bench.gate import gate
from bench.micro.case import Case, NotHereError
from bench.micro.case import measure as measure_cases
from bench.proxy import accounts, report
from bench.table import put_block

pytestmark = pytest.mark.tree


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "meshcore", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# --- meshcore bench -----------------------------------------------------------------------------


def test_a_record_is_written_and_compared_with(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    assert bench("--timed", "counter_inc", "--json", str(path)).returncode == 0
    base = json.loads(path.read_text())
    assert base["method"] == "time"
    base["cost"]["counter_inc"] /= 100
    path.write_text(json.dumps(base))
    done = bench("--timed", "counter_inc", "--compare", str(path))
    assert done.returncode == 1
    assert "costs more than 25% more: counter_inc" in done.stderr


@pytest.mark.parametrize(
    "text", ["", "[]", '{"method": "guess", "cost": {}}', '{"cost": {"a": 1}}']
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "base.json"
    path.write_text(text)
    done = bench("--timed", "counter_inc", "--compare", str(path))
    assert done.returncode == 1
    assert "is no record of meshcore bench" in done.stderr
    assert "Traceback" not in done.stderr


def test_growth_counts_from_the_limit_on() -> None:
    base = Record("instructions", {"a": 1000.0, "b": 1000.0, "gone": 1.0})
    now = Record("instructions", {"a": 1021.0, "b": 1019.0, "new": 1.0})
    assert compare(base, now, 0.02) == ["a"]
    with pytest.raises(BenchError, match="base counts instructions, this run time"):
        compare(base, Record("time", {}), 0.02)


def test_an_unknown_job_is_named() -> None:
    with pytest.raises(BenchError, match="no such job: nothing; known: parse, "):
        measure(["nothing"], timed=True)


@pytest.mark.slow
def test_instructions_repeat_exactly() -> None:
    peers.tool("valgrind")
    first, second = measure(["counter_inc"]), measure(["counter_inc"])
    assert first.method == "instructions"
    assert first.cost == second.cost


# --- the gate of the tree -----------------------------------------------------------------------


def test_the_gate_names_what_grew() -> None:
    text, grown = gate.verdict({"parse": 1000, "match": 1000}, {"parse": 1021, "match": 1020})
    assert grown == ["parse"]
    assert "+2.1%  GREW" in text


def test_the_gate_does_not_pass_what_it_cannot_compare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "baseline.json").write_text('{"gcc 1": {"parse": 10}}')
    monkeypatch.setattr(gate, "BASELINE", tmp_path / "baseline.json")
    assert gate.baseline("gcc 1", []) == {"parse": 10}
    with pytest.raises(gate.GateError, match="no baseline for gcc 2, and no history"):
        gate.baseline("gcc 2", [])


def test_the_baseline_holds_every_job() -> None:
    names = (ROOT / "bench/gate/gate.c").read_text().partition("jobs[] = {")[2].partition("};")[0]
    jobs = [line.split('"')[1] for line in names.splitlines() if '"' in line]
    for counts in json.loads(gate.BASELINE.read_text()).values():
        assert sorted(counts) == sorted(jobs)


# --- accounts and tables ------------------------------------------------------------------------


def test_cpu_time_is_that_of_all_processes_and_threads() -> None:
    spin = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
    program = (
        f"import subprocess, sys, threading\nspin = {spin!r}\n"
        "child = subprocess.Popen([sys.executable, '-c', spin + 'print(flush=True); input()'],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "exec(spin)\nchild.stdout.readline()\nprint(flush=True)\ninput()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        used = accounts.cpu_time(parent.pid)
        assert len(accounts.tree(parent.pid)) == 2
        assert 0.39 < used.total < 2.0
        assert accounts.memory(parent.pid).rss > 1 << 20
        parent.communicate(b"\n")


def test_cpu_shares_add_up() -> None:
    before = accounts.CpuTime(1.0, 0.5, 0.5)
    used = accounts.CpuTime(3.0, 2.0, 1.0) - before
    assert used.total == 2.0
    assert used.user == pytest.approx(1.5)
    assert used.system == pytest.approx(0.5)


@pytest.mark.parametrize("method", ["perf", "strace"])
def test_system_calls_are_counted(method: str) -> None:
    if method == "perf" and accounts.best_method() != "perf":
        pytest.skip("this kernel does not let perf count system calls")
    peers.tool("strace")
    program = (
        "import os\nprint(flush=True)\ninput()\n"
        "for _ in range(1000): os.getppid()\nprint(flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        counter = accounts.SystemCalls(process.pid, method)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert 1000 <= counter.stop() < 1050
        process.communicate(b"\n")


def record(**cpu_us: float) -> dict[str, Any]:
    results = {
        name: {"cpu_us": cost, "system_calls": 5.0, "traced_calls": 4.0, "disturbance": 0.0}
        for name, cost in cpu_us.items()
    }
    return {"scenarios": {"keepalive": results}, "memory": {}}


def test_targets_are_judged() -> None:
    assert report.targets_table(record(meshcore=9.0, nginx=10.0)).count("yes") == 2
    assert report.targets_table(record(meshcore=11.0, nginx=10.0)).count("NO") == 1


def test_runs_are_compared_by_their_ratio_to_nginx() -> None:
    base, now = record(meshcore=9.0, nginx=10.0), record(meshcore=19.8, nginx=20.0)
    text, worst = report.comparison(base, now)
    assert worst == pytest.approx(0.10)
    assert "+10.0%" in text


def test_a_disturbed_figure_is_called_so() -> None:
    run = record(meshcore=9.0)
    assert list(report.disturbed(run)) == []
    run["scenarios"]["keepalive"]["meshcore"]["disturbance"] = 0.5
    assert "keepalive/meshcore (50%)" in next(iter(report.disturbed(run)))


def test_a_missing_library_leaves_its_case_out() -> None:
    def no_library() -> dict[str, Any]:
        import no_such_library_anywhere  # type: ignore[import-not-found]

        return {"f": no_such_library_anywhere.f}

    def spin() -> dict[str, Any]:
        return {"spin": lambda: time.perf_counter()}

    missing = Case("g", "theirs", "f()", no_library)
    timings, left_out = measure_cases([missing, Case("g", "ours", "spin()", spin)], rounds=2)
    assert list(timings) == ["ours"]
    assert timings["ours"].median > 0
    assert "no_such_library_anywhere" in left_out["g: theirs"]
    with pytest.raises(NotHereError):
        missing.timer()


def test_goodput_is_drawn() -> None:
    found = {each.name: [[0.5, 0.25, 1.0]] * len(goodput.LOADS) for each in goodput.PROTECTIONS}
    lines = goodput.rows(found)
    assert [len(line) for line in lines] == [1 + len(goodput.LOADS)] * (1 + len(found))
    assert lines[1][1] == "50 % (25-100)"
    image = ElementTree.fromstring(goodput.picture(found))
    shapes = [element.tag.rpartition("}")[2] for element in image.iter()]
    assert shapes.count("polyline") == 1 + len(found) * (1 + len(goodput.LOADS))


def test_open_load_counts_what_is_useful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that come too late, and others than 200, are offered but not good."""

    async def offer(behaviour: Behaviour, deadline_ms: float = 30_000) -> goodput.Load:
        monkeypatch.setattr(goodput, "DEADLINE_MS", deadline_ms)
        with Upstream(behaviour) as server:
            load = goodput.Load(server.port, counting=True)
            await load.offer(200, 0.3)
            return load

    good = asyncio.run(offer(respond(200, b"ok")))
    assert 20 < good.offered == good.good
    bad = asyncio.run(offer(respond(503, b"no")))
    assert (bad.offered, bad.good) == (good.offered, 0)
    late = asyncio.run(offer(slow(5), deadline_ms=50))
    assert (late.offered, late.good) == (good.offered, 0)


def test_a_block_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n")
    put_block(page, "x", "new\n")
    assert page.read_text() == "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n"
    with pytest.raises(ValueError, match="no place for y"):
        put_block(page, "y", "new\n")
