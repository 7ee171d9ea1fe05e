from collections.abc import Mapping
from typing import Any, final

__all__ = ["Formatter"]

@final
class Formatter:
    source: str | Mapping[str, Any]
    def __init__(
        self,
        format: str | Mapping[str, Any] | None = None,  # noqa: A002
        *,
        omit_empty: bool = False,
    ) -> None: ...
    def format(self, context: Mapping[str, Any] | None = None) -> str: ...
