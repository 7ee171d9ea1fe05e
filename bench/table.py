"""Plain tables, and where their figures come from."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def machine() -> Record:
    """Where the figures come from."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """As `table`, for a page of the docs."""
    heading, *rest = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|---" + "|--:" * (len(rows[0]) - 1) + "|"
    return "\n".join([heading, rule, *rest]) + "\n"


def put_block(page: Path, name: str, text: str) -> None:
    """Puts text between the marks of this name in a page, for what stands there."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    head, found, rest = page.read_text().partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no place for {name}")
    page.write_text(head + begin + text + end + tail)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns: the first left, the others right; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
