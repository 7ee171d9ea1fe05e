"""Runs every linter over the tree; with --fix, the ones that can rewrite it.

One line for each, its output only when it complains; exit status 1 when any does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_ROOTS = [
    path
    for path in ("_build", "bench", "examples", "setup.py", "src", "tests", "tools")
    if (ROOT / path).exists()
]
STUBTEST_ALLOW = "tools/stubtest.allow"


def files(pattern: str, *roots: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for r in roots for p in (ROOT / r).rglob(pattern))


def c_sources() -> list[str]:
    return files("*.[ch]", "csrc", "tests", "bench", "examples") + files("*.cc", "csrc")


def modules() -> list[str]:
    """The compiled modules, by dotted name."""
    return [
        ".".join(Path(p).with_suffix("").parts[1:]) for p in files("*.pyx", "src/meshcore/_core")
    ]


def missing_stubs() -> list[str]:
    return [p for p in files("*.pyx", "src") if not (ROOT / p).with_suffix(".pyi").is_file()]


def checks() -> list[tuple[str, list[str]]]:
    python = sys.executable
    c, pyx = c_sources(), files("*.pyx", "src") + files("*.pxd", "src")
    jobs = [
        ("ruff", ["ruff", "check", "--quiet", *PYTHON_ROOTS]),
        ("ruff format", ["ruff", "format", "--quiet", "--check", *PYTHON_ROOTS]),
        ("mypy", ["mypy", "--no-error-summary"]),
        ("generated files", [python, "tools/regen.py", "--check"]),
        ("includes", [python, "tools/lint_includes.py"]),
        ("names in comments", [python, "tools/lint_names.py"]),
        ("core", ["make", "--no-print-directory", "-s", "-j2", "core"]),
        ("objects", [python, "tools/lint_objects.py"]),
    ]
    if c:
        jobs.append(("clang-format", ["clang-format", "--dry-run", "-Werror", *c]))
    if pyx:
        jobs.append(("cython-lint", ["cython-lint", *pyx]))
        stubtest = [python, "-m", "mypy.stubtest", "--allowlist", STUBTEST_ALLOW, *modules()]
        jobs.append(("stubtest", [*stubtest, "--ignore-unused-allowlist", "--concise"]))
    return jobs


def fixes() -> list[tuple[str, list[str]]]:
    return [
        ("ruff", ["ruff", "check", "--quiet", "--fix", "--exit-zero", *PYTHON_ROOTS]),
        ("ruff format", ["ruff", "format", "--quiet", *PYTHON_ROOTS]),
        ("clang-format", ["clang-format", "-i", *c_sources()]),
    ]


def main(arguments: list[str]) -> int:
    failed = 0
    # cython-lint calls a program that stands beside it.
    here = os.path.dirname(sys.executable)
    environ = os.environ | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
    for name, command in fixes() if "--fix" in arguments else checks():
        run = subprocess.run(
            command,
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"{name}: {'ok' if run.returncode == 0 else 'FAILED'}")
        if run.returncode != 0:
            failed += 1
            print(run.stdout, end="")
    for path in missing_stubs():
        failed += 1
        print(f"{path}: has no .pyi beside it")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
