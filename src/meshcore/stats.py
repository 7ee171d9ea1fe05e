"""Counters, gauges and histograms that many threads write without a lock.

>>> store = Store()
>>> requests = store.counter("http.requests", {"route": "cart"})
>>> requests.inc()
>>> requests.value
1

Each OS thread adds to memory of its own; a reader sums. Recording costs some tens of nanoseconds
from Python, one from C, and nothing is shared between two threads that count. Export with
`meshcore.observe.prometheus.Collector`, or render a snapshot in Envoy's formats.
"""

from __future__ import annotations

from meshcore._core.stats import (
    Counter,
    Gauge,
    Histogram,
    Metric,
    Scope,
    Snapshot,
    Stat,
    Store,
    Summary,
    Text,
)

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "Metric",
    "Scope",
    "Snapshot",
    "Stat",
    "Store",
    "Summary",
    "Text",
]
