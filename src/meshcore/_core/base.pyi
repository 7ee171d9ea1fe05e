from collections.abc import Callable
from typing import final

from _typeshed import ReadableBuffer

__all__ = ["BackOff", "TokenBucket", "murmur64", "xxh64"]

def xxh64(data: ReadableBuffer, seed: int = 0) -> int: ...
def murmur64(data: ReadableBuffer, seed: int = ...) -> int: ...

@final
class TokenBucket:
    @property
    def max_tokens(self) -> float: ...
    @property
    def tokens_per_fill(self) -> float: ...
    @property
    def fill_interval(self) -> float: ...
    def __init__(
        self,
        max_tokens: float,
        tokens_per_fill: float = 1,
        fill_interval: float = 1,
        *,
        clock: Callable[[], float] | None = None,
        now: float | None = None,
    ) -> None: ...
    def consume(self, n: float = 1.0, now: float | None = None) -> bool: ...
    def tokens(self, now: float | None = None) -> float: ...
    def wait(self, n: float = 1.0, now: float | None = None) -> float: ...

@final
class BackOff:
    def __init__(
        self,
        base_interval: int,
        max_interval: int | None = None,
        *,
        random: Callable[[], int] | None = None,
    ) -> None: ...
    @property
    def interval(self) -> int: ...
    def next(self) -> int: ...
    def reset(self) -> None: ...
