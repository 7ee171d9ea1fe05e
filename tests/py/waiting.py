"""Waiting for a condition, the only way in which a test waits: a test that sleeps guesses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# Reached only by a test that fails, however slow the machine is.
LIMIT_S = 30.0


def wait_until(
    condition: Callable[[], Found], limit_s: float = LIMIT_S, every_s: float = 0.01
) -> Found:
    """The first truthy value of `condition`, asked every `every_s` seconds."""
    deadline = time.monotonic() + limit_s
    pause = threading.Event()
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {found!r} after {limit_s:g} s")
        pause.wait(every_s)
    return found
