"""Counters and histograms, on one thread and on four at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from bench.micro.case import Case

THREADS = 4
PER_THREAD = 20_000


def meshcore_stat(kind: str) -> Any:
    from meshcore.stats import Store

    return getattr(Store(), kind)("bench.stat", {"cluster": "a"})


def prometheus_stat(kind: str) -> Any:
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    return getattr(prometheus_client, kind)("bench", "A stat.", ["cluster"], registry=registry)


def meshcore_counter() -> dict[str, Any]:
    return {"inc": meshcore_stat("counter").inc}


def meshcore_histogram() -> dict[str, Any]:
    return {"record": meshcore_stat("histogram").record}


def prometheus_counter() -> dict[str, Any]:
    counter = prometheus_stat("Counter")
    return {"counter": counter, "inc": counter.labels("a").inc}


def prometheus_histogram() -> dict[str, Any]:
    return {"record": prometheus_stat("Histogram").labels("a").observe}


def on_threads(setup: Callable[[], dict[str, Any]], call: str) -> dict[str, Any]:
    """The statement's operations shared out among threads that start together."""
    function = setup()[call]

    def work(gate: threading.Barrier) -> None:
        gate.wait()
        for _ in range(PER_THREAD):
            function(*arguments)

    arguments = () if call == "inc" else (137,)

    def run() -> None:
        gate = threading.Barrier(THREADS)
        threads = [threading.Thread(target=work, args=(gate,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return {"run": run}


def threaded(group: str, subject: str, setup: Callable[[], dict[str, Any]], call: str) -> Case:
    return Case(
        f"{group}, {THREADS} threads",
        subject,
        "run()",
        lambda: on_threads(setup, call),
        operations=THREADS * PER_THREAD,
    )


CASES = [
    Case("counter", "meshcore", "inc()", meshcore_counter),
    Case("counter", "prometheus_client", "inc()", prometheus_counter),
    Case(
        "counter",
        "prometheus_client, label looked up",
        "counter.labels('a').inc()",
        prometheus_counter,
    ),
    Case("histogram", "meshcore", "record(137)", meshcore_histogram),
    Case("histogram", "prometheus_client", "record(137)", prometheus_histogram),
    threaded("counter", "meshcore", meshcore_counter, "inc"),
    threaded("counter", "prometheus_client", prometheus_counter, "inc"),
    threaded("histogram", "meshcore", meshcore_histogram, "record"),
    threaded("histogram", "prometheus_client", prometheus_histogram, "record"),
]
