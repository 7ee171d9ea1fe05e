"""What a format takes from the process: %ENVIRONMENT(NAME)% and %HOSTNAME%.

The core reads neither; their values stand in the text before it is compiled, as literals. That is
when Envoy reads them, too.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import Any

__all__ = ["with_process_values"]

# An escape, one of the two operators, or any other operator, which is passed over whole.
_PIECE = re.compile(
    r"%%|(?P<host>%HOSTNAME(?:\(\))?%)|%ENVIRONMENT\((?P<name>.+?)\)(?::(?P<length>\d{1,18}))?%"
    r"|%[A-Z0-9_]+(?:\(.*?\))?(?::\d+)?%"
)


def with_process_values(tree: Any) -> Any:
    """The format, text or a tree of texts, with these operators replaced by what they yield."""
    if isinstance(tree, str):
        return _PIECE.sub(_replaced, tree) if "%HOSTNAME" in tree or "%ENV" in tree else tree
    if isinstance(tree, Mapping):
        return {key: with_process_values(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [with_process_values(value) for value in tree]
    return tree


def _replaced(match: re.Match[str]) -> str:
    if match["name"] is not None:
        value = os.environ.get(match["name"])
        if value is None:
            return "-"
        return value[: int(match["length"]) if match["length"] else None].replace("%", "%%")
    if match["host"]:
        return socket.gethostname().replace("%", "%%")
    return match[0]
