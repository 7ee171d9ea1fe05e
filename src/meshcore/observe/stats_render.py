"""The `/stats` page: its parameters, and a store in Envoy's text, JSON and Prometheus shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from meshcore._core.stats import Snapshot, Store
from meshcore.observe.tags import TagProducer, tagged_snapshot

__all__ = ["StatsPage", "StatsQuery", "StatsQueryError"]

Kind = Literal["counter", "gauge", "histogram", "text"]
Form = Literal["text", "json", "prometheus"]
Buckets = Literal["summary", "cumulative", "disjoint", "detailed"]

ALL: tuple[Kind, ...] = ("counter", "gauge", "histogram", "text")
TYPES: dict[str, tuple[Kind, ...]] = {
    "All": ALL,
    "Counters": ("counter",),
    "Gauges": ("gauge",),
    "Histograms": ("histogram",),
    "TextReadouts": ("text",),
}
FORMS: dict[str, Form] = {"text": "text", "json": "json", "prometheus": "prometheus"}
# Prometheus has its own default, the cumulative buckets.
BUCKETS: dict[str, Buckets] = {
    "none": "summary",
    "summary": "summary",
    "cumulative": "cumulative",
    "disjoint": "disjoint",
    "detailed": "detailed",
}


class StatsQueryError(ValueError):
    """Parameters that are answered 400; the text is the whole body."""


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """What of the stats is wanted, and how (ADM-15)."""

    form: Form = "text"
    used_only: bool = False
    pattern: re.Pattern[str] | None = None
    kinds: tuple[Kind, ...] = ALL
    buckets: Buckets = "summary"

    @classmethod
    def parse(cls, parameters: Mapping[str, str], *, form: Form | None = None) -> StatsQuery:
        """From the query of a URL; `form` is what the path decides, as /stats/prometheus does."""
        if form is None:
            form = FORMS.get(parameters.get("format", "text"))
        if form is None:
            raise StatsQueryError(
                "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n"
            )
        kinds = TYPES.get(parameters.get("type", "All"))
        if kinds is None:
            raise StatsQueryError("invalid &type= param")
        if parameters.get("hidden", "exclude") not in ("include", "only", "exclude"):
            raise StatsQueryError("usage: /stats?hidden=(include|only|exclude)\n\n")
        if form == "prometheus":
            texts: tuple[Kind, ...] = ("text",) if "text_readouts" in parameters else ()
            kinds = ("counter", "gauge", "histogram", *texts)
        return cls(
            form=form,
            used_only="usedonly" in parameters,
            pattern=_pattern(parameters.get("filter", "")),
            kinds=() if parameters.get("hidden") == "only" else kinds,
            buckets=_buckets(parameters.get("histogram_buckets"), form),
        )

    @property
    def content_type(self) -> str:
        return "application/json" if self.form == "json" else "text/plain; charset=UTF-8"


def _pattern(expression: str) -> re.Pattern[str] | None:
    if not expression:
        return None
    try:
        return re.compile(expression)
    except re.error as error:
        raise StatsQueryError(f"Invalid re2 regex: {error.msg}: {expression}") from None


def _buckets(wanted: str | None, form: Form) -> Buckets:
    if wanted is None:
        return "cumulative" if form == "prometheus" else "summary"
    if wanted == "prometheusnative":
        if form != "prometheus":
            raise StatsQueryError("Invalid histogram_buckets type for non prometheus stats type")
        raise StatsQueryError(
            "unsupported prometheusnative histogram type when not using protobuf exposition format"
        )
    if wanted not in BUCKETS:
        raise StatsQueryError(
            "usage: /stats?histogram_buckets="
            "(cumulative|disjoint|detailed|summary|prometheusnative)\n"
        )
    if form == "prometheus" and wanted == "none":
        return "cumulative"
    if form == "prometheus" and wanted not in ("summary", "cumulative"):
        raise StatsQueryError("unsupported prometheus histogram bucket mode")
    return BUCKETS[wanted]


class StatsPage:
    """Renders one store. `prefix` precedes every Prometheus name."""

    def __init__(
        self, store: Store, producer: TagProducer | None = None, *, prefix: str = "envoy_"
    ) -> None:
        self._store = store
        self._producer = TagProducer.default() if producer is None else producer
        self._prefix = prefix

    def render(self, query: StatsQuery, *, merge: bool = False) -> bytes:
        """The page. `merge` starts a new interval first, as `stats_flush_on_admin` asks for."""
        if query.form == "prometheus":
            snapshot = tagged_snapshot(self._store, self._producer, merge=merge)
        else:
            snapshot = self._store.snapshot(merge=merge)
        return snapshot.render(
            query.form,
            kinds=query.kinds,
            used_only=query.used_only,
            buckets=query.buckets,
            mask=_mask(snapshot, query.pattern),
            prefix=self._prefix,
        )


def _mask(snapshot: Snapshot, pattern: re.Pattern[str] | None) -> bytes | None:
    if pattern is None:
        return None
    search = pattern.search
    return bytes([search(name) is not None for name in snapshot.names()])
