"""How the load is shared between priorities whose hosts are not all healthy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from meshcore._core import balancer as _balancer
from meshcore._endpoints import status_name

__all__ = ["PriorityLoad", "priority_load"]


class PriorityLoad(NamedTuple):
    """One priority's part of the load; over all priorities the loads add up to 100."""

    health: int
    """Availability of its healthy hosts, 0 to 100: share times overprovisioning factor."""
    degraded: int
    """The same of its degraded hosts."""
    healthy_load: int
    """Percent of the requests that go to its healthy hosts."""
    degraded_load: int
    """Percent of the requests that go to its degraded hosts."""
    panic: bool
    """Too few of its hosts are available: health is ignored here."""


def priority_load(
    priorities: Iterable[Mapping[str, Any] | Iterable[Any]],
    *,
    overprovisioning_factor: int = 140,
    healthy_panic_threshold: float = 50,
    weighted_priority_health: bool = False,
    previous: Iterable[PriorityLoad] = (),
) -> list[PriorityLoad]:
    """How Envoy shares the load between priorities whose hosts are not all healthy.

    priorities: for each, in order, the numbers of its hosts: a mapping with ``hosts`` (all of them)
        and, each 0 when absent, ``healthy``, ``degraded`` and ``excluded``; or a tuple of these, in
        this order. A priority may also be given as a list of hosts' health: mappings with
        ``health`` and ``weight``, or plain statuses such as "HEALTHY" or "UNHEALTHY".
    overprovisioning_factor: percent; with 140, a priority carries its full load while at least 72 %
        of its hosts are healthy.
    healthy_panic_threshold: percent; below it a priority panics when the others cannot make up for
        it. A number is truncated as Envoy does it (29 becomes 28).
    weighted_priority_health: availability counts weights instead of hosts; a mapping then has
        ``hosts_weight``, ``healthy_weight``, ``degraded_weight``, ``excluded_weight`` too.
    previous: the loads before this change. Envoy leaves them as they are while no host of any
        priority is available and panic is switched off.
    """
    if overprovisioning_factor < 1:
        raise ValueError("overprovisioning_factor must be above 0")
    if not 0 <= healthy_panic_threshold <= 100:
        raise ValueError("healthy_panic_threshold must be between 0 and 100")
    counts = [_counts(priority) for priority in priorities]
    if not counts:
        raise ValueError("priorities must not be empty")
    loads = _balancer.priority_load(
        counts,
        overprovisioning_factor,
        int(100 * (healthy_panic_threshold / 100)),  # C-1
        weighted_priority_health,
        [(load[2], load[3], load[4]) for load in previous],
    )
    return [PriorityLoad(*load) for load in loads]


_COUNTS = ("hosts", "healthy", "degraded", "excluded")
_WEIGHTS = tuple(f"{name}_weight" for name in _COUNTS)


def _counts(priority: Any) -> tuple[int, ...]:
    if isinstance(priority, Mapping):
        unknown = set(priority) - {*_COUNTS, *_WEIGHTS}
        if unknown:
            raise ValueError(f"a priority has no {min(unknown)!r}")
        numbers = [priority.get(name, 0) for name in _COUNTS]
        if any(not isinstance(number, int) or number < 0 for number in priority.values()):
            raise ValueError(f"a priority has numbers of hosts, not {priority!r}")
        weights = [priority.get(w, n) for w, n in zip(_WEIGHTS, numbers, strict=True)]
        return (*numbers, *weights)
    if isinstance(priority, str) or not isinstance(priority, Iterable):
        raise ValueError(f"a priority is a mapping, numbers or hosts, not {priority!r}")
    items = list(priority)
    if all(isinstance(item, int) and not isinstance(item, bool) for item in items) and items:
        numbers = [*items, 0, 0, 0][:4]
        if min(items) < 0 or len(items) > 4:
            raise ValueError(f"a priority has up to four numbers of hosts, not {items!r}")
        return (*numbers, *numbers)
    numbers, weights = [0] * 4, [0] * 4
    for item in items:
        fields = item if isinstance(item, Mapping) else {"health": item}
        status = status_name(fields.get("health", fields.get("health_status", "HEALTHY")))
        if status is None:
            raise ValueError(f"a host cannot be {item!r}")
        weight = fields.get("weight", 1)
        kinds = (
            [0, 1] if status in ("HEALTHY", "UNKNOWN") else [0, 2] if status == "DEGRADED" else [0]
        )
        kinds += [3] if status == "DRAINING" else []
        for kind in kinds:
            numbers[kind] += 1
            weights[kind] += weight
    return (*numbers, *weights)
