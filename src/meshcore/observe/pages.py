"""What the pages of the admin interface share."""

from __future__ import annotations

import re

__all__ = ["PageError", "pattern_of"]


class PageError(Exception):
    """A page that cannot be given; the text is its body."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def pattern_of(text: str) -> re.Pattern[str]:
    """A regular expression out of the query."""
    try:
        return re.compile(text)
    except re.error as error:
        raise PageError(400, f"Invalid re2 regex: {error}") from error
