"""How large the program of a regular expression may be that names no limit itself (RT-8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["with_program_size"]

KEY: Final = "re2.max_program_size.error_level"


def with_program_size(tree: Any, runtime: Mapping[str, Any]) -> Any:
    """The tree with the runtime's limit in every RegexMatcher without one, if there is a limit."""
    limit = runtime.get(KEY)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0:
        return tree
    return _limited(tree, {"max_program_size": max(1, int(limit))})


def _limited(value: Any, limit: dict[str, int]) -> Any:
    if isinstance(value, list):
        return [_limited(item, limit) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("regex"), str) and value.keys() <= {"regex", "google_re2"}:
        own = value.get("google_re2", {})
        return value if "max_program_size" in own else {**value, "google_re2": limit}
    return {name: _limited(item, limit) for name, item in value.items()}
