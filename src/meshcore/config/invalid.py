"""A value of a configuration that does not fit, and how it and its place are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from meshcore.errors import ConfigError

__all__ = ["Invalid", "format_path", "quoted", "shown"]


class Invalid(Exception):  # noqa: N818 - becomes a ConfigError at the boundary
    """A value that does not fit. ``parts`` is the path to it, innermost first."""

    def __init__(self, reason: str, *path: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parts: list[str | int] = list(reversed(path))

    def under(self, part: str | int) -> Invalid:
        self.parts.append(part)
        return self

    def error(self) -> ConfigError:
        return ConfigError(format_path(reversed(self.parts)), self.reason)


_SIMPLE_NAME = re.compile(r"[A-Za-z_@][A-Za-z0-9_@]*\Z")


def format_path(parts: Any) -> str:
    """``a.b[0]["key with dots"]`` out of ``("a", "b", 0, "key with dots")``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _SIMPLE_NAME.match(part):
            text += f".{part}" if text else part
        else:
            text += "[" + quoted(part) + "]"
    return text


def quoted(text: str) -> str:
    short = text if len(text) <= 80 else text[:77] + "..."
    return '"' + short.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def shown(value: Any) -> str:
    """A value as an error message shows it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "the boolean " + ("true" if value else "false")
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a Python {type(value).__name__}"
