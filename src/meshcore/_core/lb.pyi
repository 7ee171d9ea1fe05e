from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, final

__all__ = ["EdfScheduler", "Maglev", "RingHash"]

_Members: TypeAlias = Mapping[str, int] | Iterable[tuple[str, int] | str | Mapping[str, Any]]

@final
class RingHash:
    def __init__(
        self,
        hosts: _Members,
        *,
        minimum_ring_size: int = 1024,
        maximum_ring_size: int = 8388608,
        hash_function: str = "XX_HASH",
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def hosts(self) -> tuple[tuple[str, int], ...]: ...
    def pick(self, hash: int, attempt: int = 0) -> int: ...  # noqa: A002
    def host(self, hash: int, attempt: int = 0) -> str: ...  # noqa: A002

@final
class Maglev:
    def __init__(self, hosts: _Members, *, table_size: int = 65537) -> None: ...
    def __len__(self) -> int: ...
    @property
    def hosts(self) -> tuple[tuple[str, int], ...]: ...
    @property
    def table(self) -> list[int]: ...
    def pick(self, hash: int, attempt: int = 0) -> int: ...  # noqa: A002
    def host(self, hash: int, attempt: int = 0) -> str: ...  # noqa: A002

@final
class EdfScheduler:
    def __init__(
        self, items: Iterable[tuple[float, Any]] = (), *, seed: int | None = None
    ) -> None: ...
    def __len__(self) -> int: ...
    def add(self, weight: float, item: Any) -> None: ...
    def pick(self) -> Any: ...
    def peek(self) -> Any: ...
