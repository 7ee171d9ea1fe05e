"""Weighted round robin among 100 hosts by earliest deadline first."""

from __future__ import annotations

import heapq
from typing import Any

from bench.micro.case import Case

WEIGHTS = [1 + i % 10 for i in range(100)]


def meshcore_edf() -> dict[str, Any]:
    from meshcore import EdfScheduler

    scheduler = EdfScheduler([(weight, host) for host, weight in enumerate(WEIGHTS)])
    return {"pick": scheduler.pick}


def heapq_edf() -> dict[str, Any]:
    """The same schedule on a heap of (deadline, order, host)."""
    heap = [(1 / weight, host, host) for host, weight in enumerate(WEIGHTS)]
    heapq.heapify(heap)
    order = len(heap)

    def pick() -> int:
        nonlocal order
        deadline, _, host = heap[0]
        order += 1
        heapq.heapreplace(heap, (deadline + 1 / WEIGHTS[host], order, host))
        return host

    return {"pick": pick}


CASES = [
    Case("edf among 100 hosts, pick", "meshcore", "pick()", meshcore_edf),
    Case("edf among 100 hosts, pick", "heapq", "pick()", heapq_edf),
]
