"""Every default and limit of the data plane, read from the core's own table.

`csrc/base/defaults.def` is the source and C includes it; `make regen` turns it into `defaults.toml`
beside this file, which is what an installed package reads, and into docs/defaults.md.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Default", "default", "defaults"]

_LINE = re.compile(
    r"^MC_DEFAULT\((?P<name>\w+), *(?P<unit>\w+), *(?P<value>\d+), *(?P<minimum>\d+),"
    r' *(?P<maximum>\d+), *"(?P<source>[^"]*)"\)$'
)
_UNITS = {"bytes", "count", "kib", "ms", "percent"}


@dataclass(frozen=True, slots=True)
class Default:
    """One line of the table; ``value``, ``minimum`` and ``maximum`` are in ``unit``."""

    name: str
    unit: str
    value: int
    minimum: int
    maximum: int
    source: str


@cache
def defaults() -> dict[str, Default]:
    """The whole table by name, in its order."""
    text = files(__package__).joinpath("defaults.toml").read_text("utf-8")
    return {name: Default(name, **fields) for name, fields in tomllib.loads(text).items()}


def default(name: str) -> int:
    """The default value of this name, such as ``CONNECT_TIMEOUT``."""
    return defaults()[name].value


def parse(source: str) -> list[Default]:
    """The lines of a ``defaults.def``; ValueError names the first bad one."""
    out: list[Default] = []
    for number, line in enumerate(source.splitlines(), 1):
        if not line.startswith("MC_DEFAULT("):
            continue
        match = _LINE.match(line)
        if match is None or match["unit"] not in _UNITS:
            raise ValueError(f"line {number}: not MC_DEFAULT(NAME, unit, value, min, max, source)")
        value, minimum, maximum = (int(match[part]) for part in ("value", "minimum", "maximum"))
        entry = Default(match["name"], match["unit"], value, minimum, maximum, match["source"])
        if not minimum <= value <= maximum and value != 0:
            raise ValueError(f"line {number}: {entry.name} is outside its own limits")
        if any(entry.name == other.name for other in out):
            raise ValueError(f"line {number}: {entry.name} is given twice")
        out.append(entry)
    return out


def toml(entries: list[Default]) -> str:
    """The table as the package carries it."""
    lines = ["# Generated from csrc/base/defaults.def by `make regen`."]
    for each in entries:
        lines.append(
            f'{each.name} = {{ unit = "{each.unit}", value = {each.value},'
            f' minimum = {each.minimum}, maximum = {each.maximum}, source = "{each.source}" }}'
        )
    return "\n".join(lines) + "\n"


def markdown(entries: list[Default]) -> str:
    """The table as the documentation shows it."""
    lines = [
        "# Defaults and limits",
        "",
        "Generated from `csrc/base/defaults.def` by `make regen`. A default of 0 for a time or a",
        "maximum means none.",
        "",
        "| Name | Default | Minimum | Maximum | Unit | Where it comes from |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{e.name}` | {e.value} | {e.minimum} | {e.maximum} | {e.unit} | {e.source} |"
        for e in entries
    ]
    return "\n".join(lines) + "\n"
