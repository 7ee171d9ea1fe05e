"""Checks that comments in csrc/ speak of what exists: names with mc_ or MC_, and source files.

A name may be the beginning of others ("mc_filter_continue_*"), or have the beginning that a macro
pastes to.

    python tools/lint_names.py [csrc]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from lint_includes import run

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
NAME = re.compile(r"\b(?:mc|MC)_\w+")
PASTED = re.compile(r"\b((?:mc|MC)_\w+) ?##")
SOURCE = re.compile(r"(?<![\w./-])(?:[\w-]+/)*[\w-]+\.(?:c|cc|h|def)\b(?!\()")


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each comment."""
    for match in COMMENT.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group()


def lint(root: Path) -> Iterator[str]:
    paths = sorted(path for kind in ("*.c", "*.cc", "*.h", "*.def") for path in root.rglob(kind))
    texts = {path: path.read_text("utf-8") for path in paths}
    code = [COMMENT.sub("", text) for text in texts.values()]
    names = {name for text in code for name in NAME.findall(text)}
    pasted = tuple({begin for text in code for begin in PASTED.findall(text)})
    sources = {f"/{path.relative_to(root).as_posix()}" for path in paths}
    for path, text in texts.items():
        for line, comment in comments(text):
            for name in NAME.findall(comment):
                known = name in names or name.startswith(pasted)
                if not known and not any(other.startswith(name) for other in names):
                    yield f"{path}:{line}: there is no {name}"
            for source in SOURCE.findall(comment):
                known = any(other.endswith(f"/{source}") for other in sources)
                if not known and not (root.parent / source).is_file():
                    yield f"{path}:{line}: there is no {source}"


if __name__ == "__main__":
    sys.exit(run(lint, sys.argv[1:]))
