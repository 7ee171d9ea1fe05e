"""Every example runs as a user would run it, and says what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("threads.py", ["200 upstream /a", "200 upstream /b", "requests: 2"]),
        ("asyncio_embedded.py", [str([f"HTTP/1.1 200 OK upstream /{n}" for n in range(3)])]),
        ("context_manager.py", ["200 upstream /hello"]),
        ("python_filter.py", ["401 who are you?", "200 gold"]),
    ],
)
def test_example(name: str, expected: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, name], cwd=EXAMPLES, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected


def test_the_demonstration() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BAD" not in done.stdout


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES))
)
def test_configurations_are_valid(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshcore", "validate", "-c", path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
