"""A store as a collector of the `prometheus_client` package, which is imported when it is used.

>>> from prometheus_client import REGISTRY
>>> REGISTRY.register(Collector(gateway.stats, prefix="envoy_", tags=TagProducer.default()))

The registry then serves these metrics beside the application's own. Counters get the `_total` that
this client insists on; for Envoy's own spelling serve the gateway's `/stats/prometheus`, or
`StatsPage`, which is also some ten times faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from meshcore._core.stats import Metric, Store
from meshcore.observe.tags import TagProducer, tagged_snapshot

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

__all__ = ["Collector"]

Buckets = tuple[list[tuple[float, int]], int, float]

_UNFIT = re.compile(r"\W", re.ASCII)


class Collector:
    """Collects a store, histograms as they are at that moment.

    Texts are left out; `tags` finds tags in names that came without.
    """

    def __init__(self, store: Store, *, prefix: str = "", tags: TagProducer | None = None) -> None:
        self._store = store
        self._prefix = prefix
        self._tags = TagProducer(()) if tags is None else tags

    def describe(self) -> list[Family]:
        """Nothing in advance: names come and go with the configuration."""
        return []

    def collect(self) -> Iterator[Family]:
        """One family for each name, in the order of names."""
        snapshot = tagged_snapshot(self._store, self._tags, live=True)
        families: dict[tuple[str, str], list[Metric]] = {}
        for metric in snapshot:
            if metric.kind != "text":
                name = _UNFIT.sub("_", self._prefix + metric.extracted_name)
                families.setdefault((metric.kind, name), []).append(metric)
        buckets = snapshot.buckets()
        for (kind, name), metrics in families.items():
            if not name[:1].isdigit():
                yield _family(kind, name, metrics, buckets)


def _family(kind: str, name: str, metrics: list[Metric], buckets: Mapping[str, Buckets]) -> Family:
    from prometheus_client.core import Metric as Family

    base = name.removesuffix("_total") if kind == "counter" else name
    family = Family(base, "", kind)
    for metric in metrics:
        labels = {_UNFIT.sub("_", tag): value for tag, value in metric.tags}
        if kind != "histogram":
            suffix = "_total" if kind == "counter" else ""
            family.add_sample(base + suffix, labels, float(str(metric.value)))
            continue
        bounds, count, total = buckets[metric.name]
        for bound, below in bounds:
            family.add_sample(f"{name}_bucket", {**labels, "le": f"{bound:g}"}, below)
        family.add_sample(f"{name}_bucket", {**labels, "le": "+Inf"}, count)
        family.add_sample(f"{name}_sum", labels, total)
        family.add_sample(f"{name}_count", labels, count)
    return family
