"""`import meshcore` is cheap, and its names arrive when they are asked for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

import meshcore


@pytest.mark.parametrize("name", meshcore.__all__)
def test_every_public_name_arrives(name):
    home = meshcore._HOMES.get(name, f"meshcore.{name}" if name in meshcore._MODULES else None)
    if home is not None and importlib.util.find_spec(home) is None:
        pytest.skip(f"{home} is not in this build")
    assert getattr(meshcore, name) is not None


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.split())


def test_importing_the_package_imports_nothing_else():
    before = loaded_by("pass")
    added = loaded_by("import meshcore") - before
    ours = {name for name in added if name.partition(".")[0] == "meshcore"}
    assert ours == {"meshcore", "meshcore._version", "meshcore.errors"}
    assert not added & {"typing", "re", "asyncio", "ssl", "yaml", "google.protobuf", "logging"}


def test_primitives_import_nothing_optional():
    added = loaded_by("from meshcore import stats, xxh64, TokenBucket")
    assert not added & {"asyncio", "ssl", "yaml", "google.protobuf", "prometheus_client", "logging"}
