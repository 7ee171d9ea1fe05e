"""`import meshcore` is cheap, and its names arrive when they are asked for."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
import types
from collections.abc import Iterator

import pytest

import meshcore


@pytest.mark.parametrize("name", meshcore.__all__)
def test_every_public_name_arrives(name):
    home = meshcore._HOMES.get(name, f"meshcore.{name}" if name in meshcore._MODULES else None)
    if home is not None and importlib.util.find_spec(home) is None:
        pytest.skip(f"{home} is not in this build")
    assert getattr(meshcore, name) is not None


# What their class tells of: plain attributes, and the fields of named tuples.
TOLD_BY_CLASS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    type(meshcore.http.Url.scheme),
)


def members(owner: object) -> Iterator[tuple[str, object]]:
    if inspect.ismodule(owner):
        yield from ((name, getattr(owner, name)) for name in owner.__all__)
    elif inspect.isclass(owner) and not issubclass(owner, Exception):
        own = {key: value for base in owner.__mro__[:-1] for key, value in vars(base).items()}
        yield from ((name, value) for name, value in own.items() if not name.startswith("_"))


@pytest.mark.parametrize("module", ["meshcore", "meshcore.http", "meshcore.routing"])
def test_every_public_name_says_what_it_is(module):
    silent = []
    home = importlib.import_module(module)
    for name, value in members(home):
        if inspect.isroutine(value) or inspect.isclass(value):
            doc = inspect.getdoc(value) or ""
            made = hasattr(value, "_fields") and doc.startswith(f"{name}(")  # by namedtuple
            silent += [name] if made or not doc else []
            for inner, member in members(value):
                if not isinstance(member, TOLD_BY_CLASS) and not inspect.getdoc(member):
                    silent.append(f"{name}.{inner}")
    assert not silent


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


UNFINISHED = """
import importlib, inspect, pkgutil, sys
import meshcore._core

VALUES = [(), (None,), (None, None), (None, None, None), ("x",), (b"x",), (1,), (1, 2), ("x", "y"),
          ("x", 1), ([],), ([], []), ({},), (1, 2, 3)]
WAITS = {"__class__", "__init__", "__new__", "__subclasshook__", "__init_subclass__"}


def tried(function, values):
    try:
        return function(*values)
    except Exception:
        return None


for module in pkgutil.iter_modules(meshcore._core.__path__, "meshcore._core."):
    for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
        if found.__module__ != module.name:
            continue
        print(found.__module__, found.__qualname__, file=sys.stderr, flush=True)
        for values in VALUES[1:4]:
            tried(found, values)
        unfinished = tried(found.__new__, (found,))
        for name in set(dir(unfinished)) - WAITS if unfinished is not None else ():
            member = tried(getattr, (unfinished, name))
            for values in VALUES if callable(member) else ():
                tried(member, values)
"""


def test_no_class_crashes_when_it_is_made_without_its_constructor():
    run = subprocess.run(
        [sys.executable, "-c", UNFINISHED], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr[-400:]
    assert run.stderr.count("\n") > 20
