from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, final

__all__ = []

_Text: TypeAlias = str | bytes

@final
class Context: ...

def header_list(headers: Iterable[Any] | Mapping[Any, Any]) -> list[tuple[_Text, _Text]]: ...
def operators() -> Iterator[str]: ...
