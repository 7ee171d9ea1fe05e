from collections.abc import Iterator
from typing import final

__all__ = []

@final
class Context: ...

def operators() -> Iterator[str]: ...
