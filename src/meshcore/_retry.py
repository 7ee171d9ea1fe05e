"""Hosts as a caller sees them, and what makes a request pass some of them over."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshcore._core import balancer as _balancer
from meshcore._endpoints import filter_metadata
from meshcore.errors import ConfigError

__all__ = ["Host", "Retry"]

_RETRY_POLICY = {
    "retry_policy",
    "retry_on",
    "num_retries",
    "per_try_timeout",
    "per_try_idle_timeout",
    "retry_priority",
    "retry_host_predicate",
    "retry_options_predicates",
    "host_selection_retry_max_attempts",
    "retriable_status_codes",
    "retry_back_off",
    "rate_limited_retry_back_off",
    "retriable_headers",
    "retriable_request_headers",
}


@dataclass(frozen=True, slots=True)
class Host:
    """A host as it stood in its membership. ``str(host)`` is its address."""

    index: int
    """Its place in the order of configuration, all priorities together."""
    address: str
    """ "ip:port", IPv6 in brackets."""
    hostname: str
    weight: int
    priority: int
    locality: Mapping[str, str] = field(hash=False)
    """region, zone and sub_zone, those that are not empty."""
    metadata: Mapping[str, Any] = field(hash=False)
    """By filter name; the balancers read ``envoy.lb``."""
    cluster: str = ""
    """The name of the cluster it belongs to."""

    def __str__(self) -> str:
        return self.address


class Retry:
    """A request that may be tried on several hosts: what `LoadBalancer.choose` heeds of a retry.

    predicates: what makes a host be passed over, as in Envoy's ``retry_host_predicate``:
        "previous_hosts", "omit_canary_hosts", or a mapping ``{"omit_host_metadata": {...}}`` of the
        labels in `envoy.lb` that a host must not have all of. Envoy's own messages do too.
    max_attempts: ``host_selection_retry_max_attempts``: so often another host is asked for; the
        last one is used even if it is to be passed over.
    priority: ``update_frequency`` of the retry priority `previous_priorities`, or Envoy's message:
        after every so many hosts the priorities tried so far are left aside.
    attempted: hosts that were tried already, in order.
    refused: so many hosts are passed over at each choice, whatever they are.

    `choose` adds the host it chooses to ``attempted``. Nothing is passed over as long as it is
    empty: then it is no retry.
    """

    def __init__(
        self,
        predicates: Iterable[Any] = ("previous_hosts",),
        *,
        max_attempts: int = 1,
        priority: Any = 0,
        attempted: Iterable[Any] = (),
        refused: int = 0,
    ) -> None:
        self.attempted = list(attempted)
        self.refused = refused
        self.max_attempts = max_attempts
        self.update_frequency = _frequency(priority)
        self._priority: _balancer.RetryPriority | None = None
        self._noted = 0
        self.previous_hosts = self.omit_canary_hosts = False
        self.omit_host_metadata: list[Mapping[str, Any]] = []
        for predicate in predicates:
            self._add(predicate)

    @classmethod
    def of(cls, source: Any) -> Retry:
        """From a Retry, the hosts attempted, the number of hosts to be passed over, or a mapping:
        a `RetryPolicy` with ``attempted``."""
        if isinstance(source, Retry):
            return source
        if isinstance(source, int):
            return cls(max_attempts=int(source), refused=int(source))
        if not isinstance(source, Mapping):
            return cls(attempted=[source] if isinstance(source, str | Host) else source)
        source = {**source.get("retry_policy", {}), **source}
        known = {
            "attempted": ("attempted", "attempted_hosts", "previous_hosts"),
            "predicates": ("predicates", "retry_host_predicate"),
            "max_attempts": ("max_attempts", "host_selection_retry_max_attempts"),
            "priority": ("priority", "retry_priority"),
        }
        fields = {
            name: source[spelling]
            for name, spellings in known.items()
            for spelling in spellings
            if spelling in source
        }
        unknown = set(source) - _RETRY_POLICY - {name for names in known.values() for name in names}
        if unknown:
            raise ConfigError(f"retry.{min(unknown)}", "is not known")
        if not _RETRY_POLICY.isdisjoint(source):
            fields.setdefault("predicates", ())
        fields["max_attempts"] = int(fields.get("max_attempts", 1))
        return cls(**fields)

    def _add(self, predicate: Any) -> None:
        name, labels = predicate, None
        if isinstance(predicate, Mapping):
            if "name" in predicate or "typed_config" in predicate:
                config = predicate.get("typed_config", {})
                name = config.get("@type", "") or predicate.get("name", "")
                labels = config.get("metadata_match", {})
            else:
                ((name, labels),) = predicate.items()
        kind = str(name).rpartition(".")[2]
        if kind in ("previous_hosts", "PreviousHostsPredicate"):
            self.previous_hosts = True
        elif kind in ("omit_canary_hosts", "OmitCanaryHostsPredicate"):
            self.omit_canary_hosts = True
        elif kind in ("omit_host_metadata", "OmitHostMetadataConfig"):
            self.omit_host_metadata.append(filter_metadata(labels or {}).get("envoy.lb", {}))
        else:
            raise ConfigError("retry", f"there is no host predicate {name!r}")

    def _tried(
        self, core: _balancer.Balancer, priority_of: Callable[[Any], int]
    ) -> _balancer.RetryPriority:
        """The request's state with the hosts that are new to it, as if they were chosen there."""
        state = self._priority or _balancer.RetryPriority(self.update_frequency)
        self._priority = state
        fresh = self.attempted[self._noted :]
        self._noted = len(self.attempted)
        for place, host in enumerate(fresh):
            if place > 0:
                state.look(core)
            state.tried(priority_of(host))
        return state

    def choosing(self) -> Callable[[Host], bool] | None:
        """What one choice asks of each host it comes to; None: it is no retry."""
        if self.refused == 0:
            return self.refuses if self.attempted else None
        left = itertools.repeat(True, self.refused)
        return lambda _: next(left, False)

    def refuses(self, host: Host) -> bool:
        """Whether a host is to be passed over."""
        if self.previous_hosts and host.address in {str(each) for each in self.attempted}:
            return True
        lb = host.metadata.get("envoy.lb", {})
        if self.omit_canary_hosts and lb.get("canary") is True:
            return True
        return any(
            labels and all(_has(lb, key, value) for key, value in labels.items())
            for labels in self.omit_host_metadata
        )


def _frequency(priority: Any) -> int:
    if isinstance(priority, Mapping):
        config = priority.get("typed_config", priority)
        priority = config.get("update_frequency", 0)
        if not priority:
            raise ConfigError("retry.priority.update_frequency", "must be above 0")
    return int(priority)


def _has(metadata: Mapping[str, Any], key: str, value: Any) -> bool:
    """A list has what one of its elements is."""
    if key not in metadata:
        return False
    has = metadata[key]
    return any(_same(each, value) for each in has) if isinstance(has, list) else _same(has, value)


def _same(a: Any, b: Any) -> bool:
    """JSON values are the same by type and value."""
    return json.dumps(_floats(a), sort_keys=True) == json.dumps(_floats(b), sort_keys=True)


def _floats(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _floats(each) for key, each in value.items()}
    return [_floats(each) for each in value] if isinstance(value, list | tuple) else value
