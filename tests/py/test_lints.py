"""The repository's own lints find what they are for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import lint_includes
import lint_names
import lint_objects
import vendor_drift

pytestmark = pytest.mark.tree


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("route/table.c", '#include "base/slice.h"', None),
        ("route/table.c", '#include "route/match.h"', None),
        ("route/table.c", "#include <string.h>", None),
        ("route/table.c", '#include "lb/edf.h"', "lb/ is below route/"),
        ("base/map.c", '  #  include "engine/worker.h"', "engine/ is below base/"),
        ("base/map.c", '#include "map.h"', "room/name.h"),
        ("base/map.h", "#include <Python.h>", "knows nothing of Python"),
        ("base/map.c", "#include <unistd.h>", "only event/"),
        ("proxy/tcp/tcp.c", "#include <sys/epoll.h>", "only event/"),
        ("event/loop.c", "#include <sys/epoll.h>", None),
        ("h1/codec.c", '#include "llhttp.h"', None),
        ("proxy/stream.c", "#include <llhttp.h>", "only h1/ uses it"),
        ("proxy/stream.c", '#include "meshcore/filter.h"', None),
        ("include/meshcore/filter.h", '#include "meshcore/abi.h"', None),
        ("include/meshcore/filter.h", '#include "proxy/stream.h"', "only public headers"),
        ("attic/old.c", "", "attic/ is not a room"),
    ],
)
def test_include_directions(file: str, line: str, fault: str | None, tmp_path: Path) -> None:
    path = tmp_path / "csrc" / file
    path.parent.mkdir(parents=True)
    path.write_text(f"/* text */\n{line}\n")
    found = list(lint_includes.lint(tmp_path / "csrc"))
    if fault is None:
        assert found == []
    else:
        assert len(found) == 1
        assert fault in found[0]
        assert file in found[0]


@pytest.mark.parametrize(
    ("comment", "fault"),
    [
        ("mc_map_put, see base/map.h", None),
        ("mc_map_* and MC_H_HOST; tests/c/test.h", None),
        ("mc_map_putt", "there is no mc_map_putt"),
        ("what hash.c does", "there is no hash.c"),
    ],
)
def test_names_in_comments(comment: str, fault: str | None, tmp_path: Path) -> None:
    for name in ("csrc/base/map.h", "tests/c/test.h"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    code = "#define X(id) MC_H_##id\nvoid mc_map_put(void);\n"
    (tmp_path / "csrc/base/map.c").write_text(f"/* {comment} */\n{code}")
    found = list(lint_names.lint(tmp_path / "csrc"))
    assert len(found) == (fault is not None)
    assert fault is None or fault in found[0]


@pytest.mark.parametrize(
    ("where", "code", "fault"),
    [
        ("lb/edf.o", "int count;", "count is a mutable global"),
        ("lb/edf.o", "int f(void) { static int n = 3; return n++; }", "is a mutable global"),
        ("lb/edf.o", "extern int x; int *const p = &x; const int t[] = {1, 2};", None),
        ("lb/edf.o", 'const char *const names[] = {"a", "b"};', None),
        ("lb/edf.o", "long time(long *); long f(void) { return time(0); }", "calls time"),
        ("event/loop.o", "long time(long *); long f(void) { return time(0); }", None),
        ("lb/edf.o", "void *malloc(unsigned long); void *f(void) { return malloc(8); }", "malloc"),
        ("base/alloc.o", "void *malloc(unsigned long); void *f(void) { return malloc(8); }", None),
        ("event/loop.o", "void abort(void); void f(void) { abort(); }", "belongs to the host"),
    ],
)
def test_objects(where: str, code: str, fault: str | None, tmp_path: Path) -> None:
    source = tmp_path / "csrc" / Path(where).with_suffix(".c")
    source.parent.mkdir(parents=True)
    source.write_text(code + "\n")
    built = source.with_suffix(".o")
    subprocess.run(["gcc", "-fPIC", "-fno-builtin", "-c", source, "-o", built], check=True)
    run = subprocess.run(
        [sys.executable, lint_objects.__file__, tmp_path / "csrc"],
        capture_output=True,
        text=True,
        check=False,
    )
    if fault is None:
        assert (run.returncode, run.stdout) == (0, "")
    else:
        assert run.returncode == 1
        assert run.stdout.startswith(f"{where}: ")
        assert fault in run.stdout


def test_objects_that_were_not_built_are_an_error(tmp_path: Path) -> None:
    assert lint_objects.main([str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("locked", "status", "line"),
    [
        ("9.4.10", 0, "parser 9.4.10: is the newest\n"),
        ("9.4.9", 1, "parser 9.4.9: upstream has 9.4.10\n"),
    ],
)
def test_drift_from_upstream(
    locked: str, status: int, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "first")
    for tag in ("v9.3.0", "v9.4.9", "release/v9.4.10", "v9.5.0-rc.1", "nightly"):
        git("tag", tag)
    lock = tmp_path / "lock.json"
    entries = {"parser": {"version": locked, "upstream": str(tmp_path)}, "other": {"version": "1"}}
    lock.write_text(json.dumps(entries))
    assert vendor_drift.main(lock) == status
    assert capsys.readouterr().out == line


def test_workflow_is_the_same_file_in_both_places() -> None:
    source = (ROOT / "wheels.yml").read_bytes()
    assert source == (ROOT / ".github" / "workflows" / "wheels.yml").read_bytes()


def test_wheels_are_built_for_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    built = project["tool"]["cibuildwheel"]["build"]
    for classifier in project["project"]["classifiers"]:
        if match := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", classifier):
            assert f"cp3{match.group(1)}-*" in built
    assert "cp314t-*" in built
