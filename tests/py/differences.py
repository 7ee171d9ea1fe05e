"""What may differ from Envoy: tests/differences.toml, and docs/differences.md made of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "differences.toml"
EXPLAINED: Mapping[str, Mapping[str, str]] = tomllib.loads(SOURCE.read_text("utf-8"))

HEAD = """\
# Differences from Envoy

meshcore decides what Envoy decides. Every difference that is known and meant stands here with its
reason; another one is a defect. The tests that give both the same configuration and the same bytes
allow these and nothing else: `make regen` makes this page of their table, `tests/differences.toml`.
What meshcore does not do at all is refused when a configuration is loaded: [support.md](support.md)
lists field by field what it does.

Compared is Envoy 1.39 with its default settings.
"""


def explained(*keys: str) -> str:
    """Why these differ; a test names what it allows."""
    return "; ".join(EXPLAINED[key]["why"] for key in keys)


def page() -> str:
    out = [HEAD]
    for area in dict.fromkeys(one["area"] for one in EXPLAINED.values()):
        out.append(f"\n## {area}\n\n| What | meshcore | Envoy | Why |\n|---|---|---|---|\n")
        out += [
            f"| {one['what']} | {one['ours']} | {one['envoy']} | {one['why']} |\n"
            for one in EXPLAINED.values()
            if one["area"] == area
        ]
    return "".join(out)
