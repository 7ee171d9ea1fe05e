"""What is asked about, and the names that every step uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshcore.errors import MeshcoreError

__all__ = ["SPECIFIERS", "Document", "ExplainError", "HeaderList", "Request"]

Document = dict[str, Any]
HeaderList = list[tuple[str, str]]

# The fields of a RouteMatch of which one says how the path is compared.
SPECIFIERS = (
    "prefix",
    "path",
    "path_separated_prefix",
    "safe_regex",
    "path_match_policy",
    "connect_matcher",
)


class ExplainError(MeshcoreError):
    """A request or configuration of which nothing can be said."""


@dataclass(frozen=True)
class Request:
    """A request as it is asked about: a method, an absolute URL, and headers."""

    method: str
    url: str
    headers: HeaderList = field(default_factory=list)
    random_value: int = 0

    @classmethod
    def parse(cls, text: str, headers: HeaderList, random_value: int = 0) -> Request:
        """From ``GET https://host/path``; a URL alone is a GET."""
        method, _, url = text.strip().rpartition(" ")
        if not method.isascii() or "://" not in url:
            raise ExplainError(f"--request must be 'METHOD scheme://host/path', not {text!r}")
        return cls(method.strip() or "GET", url, headers, random_value)
