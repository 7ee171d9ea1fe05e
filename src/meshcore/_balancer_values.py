"""Clocks, draws, hashes, localities and flags of health, in any form that a load balancer takes."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from meshcore._core.base import xxh64

__all__ = ["clock_of", "draws_of", "flag_bits", "hash_of", "locality_of"]

_FLAGS = (
    "failed_active_hc",
    "failed_outlier_check",
    "failed_eds_health",
    "degraded_active_hc",
    "degraded_eds_health",
    "pending_dynamic_removal",
    "pending_active_hc",
    "excluded_via_immediate_hc_fail",
    "active_hc_timeout",
    "eds_status_draining",
    "degraded_outlier_detection",
)
_U64 = (1 << 64) - 1
_EPOCH_MS = 1 << 32


def locality_of(locality: Any) -> tuple[bytes, bytes, bytes]:
    names = ("region", "zone", "sub_zone")
    if isinstance(locality, str):
        locality = {"zone": locality}
    elif isinstance(locality, tuple | list):
        locality = dict(zip(names, locality, strict=False))
    region, zone, sub_zone = ((locality or {}).get(name, "").encode() for name in names)
    return region, zone, sub_zone


def flag_bits(value: Any) -> int:
    if isinstance(value, int):
        if not 0 <= value < 1 << len(_FLAGS):
            raise ValueError(f"health flags are the bits below {1 << len(_FLAGS)}, not {value}")
        return value
    if isinstance(value, str):
        value = [] if value == "healthy" else value.strip("/").split("/")
    bits = 0
    for name in value:
        if name not in _FLAGS:
            raise ValueError(f"no health status or flag is called {name!r}")
        bits |= 1 << _FLAGS.index(name)
    return bits


def hash_of(value: Any) -> int | None:
    if isinstance(value, str):
        return xxh64(value.encode())
    if isinstance(value, bytes | bytearray | memoryview):
        return xxh64(value)
    if isinstance(value, list | tuple):  # HA-2
        seed = 0
        for each in value:
            seed = xxh64(each.encode() if isinstance(each, str) else each, seed)
        return seed
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"hash must be an integer, text or bytes, not {value!r}")
    if value is not None and not 0 <= value <= _U64:
        raise ValueError(f"hash must be an integer between 0 and {_U64}, not {value!r}")
    return value


def clock_of(now: Any) -> Callable[[], int]:
    """Milliseconds, later than any time that means never."""
    if now is None:
        return lambda: time.monotonic_ns() // 1_000_000
    read = now if callable(now) else lambda: now

    def milliseconds() -> int:
        value = read()
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise TypeError(f"now must give milliseconds (int) or seconds (float), not {value!r}")
        # A float may stand for a whole millisecond and yet be a little less.
        whole = value if isinstance(value, int) else math.floor(round(value * 1e6) / 1000)
        return _EPOCH_MS + int(whole)

    return milliseconds


def draws_of(random: Any) -> dict[str, Any]:
    if random is None:
        return {"seed": secrets.randbits(64)}
    if isinstance(random, int):
        return {"seed": random & _U64}
    if hasattr(random, "getrandbits"):
        return {"draw": lambda: random.getrandbits(64)}
    if callable(random):
        return {"draw": lambda: _drawn(random())}
    if isinstance(random, str | bytes) or not isinstance(random, Iterable):
        raise TypeError(f"random is a function, numbers, a generator or a seed, not {random!r}")
    return {"draw": _from(iter(random))}


def _drawn(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"random must give integers of 64 bits, not {value!r}")
    return value & _U64


def _from(values: Iterator[int]) -> Callable[[], int]:
    def draw() -> int:
        for value in values:
            return _drawn(value)
        raise IndexError("random has no more draws")

    return draw
