from collections.abc import Callable, Iterable
from typing import final

from meshcore._core.stats import Store

__all__ = ["Balancer", "priority_load"]

@final
class Balancer:
    store: Store
    def __init__(
        self,
        cluster: bytes,
        assignment: bytes,
        *,
        name: str,
        now_ms: int,
        draw: Callable[[], int] | None = None,
        seed: int = 0,
        locality: tuple[bytes, bytes, bytes] = ...,
        local: bytes | None = None,
        runtime: bytes = ...,
    ) -> None: ...
    def set_local(self, assignment: bytes) -> None: ...
    def update(self, assignment: bytes, now_ms: int) -> None: ...
    def refresh(self, now_ms: int) -> None: ...
    def choose(
        self,
        now_ms: int,
        hash: int | None = None,  # noqa: A002
        *,
        active: int | None = None,
        attempts: int = 0,
        refuses: Callable[[int], bool] | None = None,
        criteria: bytes | None = None,
        override: bytes = ...,
        strict: bool = False,
        frequency: int = 0,
        tried: Iterable[int] = (),
    ) -> int | None: ...
    def peek(self, now_ms: int) -> int | None: ...
    def __len__(self) -> int: ...
    def find(self, address: str) -> int | None: ...
    def facts(self, i: int) -> tuple[str, str, int, int, tuple[str, str, str]]: ...
    def flags(self, i: int) -> int: ...
    def flags_text(self, i: int) -> str: ...
    def set_health(
        self, i: int, flags: int, eds_status: int = -1, hc_pass_ms: int | None = None
    ) -> None: ...
    def active(self, i: int) -> int: ...
    def set_active(self, i: int, n: int) -> None: ...
    @property
    def policy(self) -> str: ...
    def answered(
        self,
        i: int,
        rtt_ns: int,
        now_ms: int,
        status: int,
        grpc_status: int,
        retry_after_ms: int | None,
    ) -> None: ...
    def estimate(self, i: int, now_ms: int) -> float: ...
    def report(self, i: int, header: bytes, binary: bool, now_ms: int) -> int | None: ...
    @property
    def weights_period_ms(self) -> int: ...
    def update_weights(self, now_ms: int) -> bool: ...
    def loads(self) -> list[tuple[int, int, int, int, bool]]: ...

def priority_load(
    counts: list[tuple[int, ...]],
    overprovisioning: int,
    panic_threshold: int,
    weighted: bool,
    previous: list[tuple[int, int, bool]],
) -> list[tuple[int, int, int, int, bool]]: ...
