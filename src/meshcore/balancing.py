"""Envoy's load balancing as an object: hosts in, one host for each request out, no gateway needed.

For example:

    balancer = LoadBalancer("LEAST_REQUEST", [("10.0.0.1:8080", 1), ("10.0.0.2:8080", 1)])
    host = balancer.choose()
    host.address
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshcore._balancer_values import clock_of, draws_of, flag_bits, hash_of, locality_of
from meshcore._clusters import cluster_of
from meshcore._core import balancer as _balancer
from meshcore._core.http import grpc_to_http
from meshcore._endpoints import (
    STATUSES,
    assignment_of,
    filter_metadata,
    groups_of,
    is_assignment,
    status_name,
)
from meshcore._priority_load import PriorityLoad, priority_load
from meshcore._retry import Host, Retry
from meshcore.config.runtime import static_runtime

if TYPE_CHECKING:
    import os

    from google.protobuf.message import Message

__all__ = ["Host", "LoadBalancer", "PriorityLoad", "Retry", "priority_load"]

_FAILED_ACTIVE_HC = 0x1
_STATUS_FLAG = {
    "UNHEALTHY": 0x4,
    "TIMEOUT": 0x4,
    "DEGRADED": 0x10,
    "DRAINING": 0x200,
}
_ALL = object()


class LoadBalancer:
    """Envoy's balancer over one set of hosts: the decisions of the gateway, without one.

    cluster: an Envoy `Cluster` (mapping, YAML or JSON text, path object, message), whose
        ``lb_policy`` or ``load_balancing_policy``, ``*_lb_config``, ``lb_subset_config`` and
        ``common_lb_config`` count; or a `LoadBalancingPolicy`; or just the name of a policy:
        "ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV", "PEAK_EWMA" or
        "CLIENT_SIDE_WEIGHTED_ROUND_ROBIN".
    endpoints: a `ClusterLoadAssignment` in any form, a mapping of addresses to weights, or a list
        whose items are "ip:port", ("ip:port", weight[, priority]), ("ip", port[, weight]), lists of
        the hosts of each priority, or mappings with ``address`` and, optional, ``weight``,
        ``priority``, ``locality`` (mapping, (region, zone, sub_zone) or the zone),
        ``locality_weight``,
        ``metadata`` (by filter name, or only what `envoy.lb` holds), ``health`` ("HEALTHY",
        "UNHEALTHY", "DEGRADED", "DRAINING", ...) and ``hostname``. None: the cluster's own
        ``load_assignment``.
    random: where draws come from: a callable that returns an integer of 64 bits, an iterable of
        such integers (running out of them is an IndexError), a `random.Random`, or an integer that
        seeds a generator. Given the same draws, `now` and calls, every choice is the same: the
        number and order of the draws are Envoy's. None: seeded by the system.
    now: the clock: a callable, or a fixed number. An int counts milliseconds, a float seconds. Only
        differences count. None: the monotonic clock.
    local: the hosts of the cluster that the caller itself belongs to, in any form that `endpoints`
        may have: with them and `locality` there is zone-aware routing (``zone_aware_lb_config``).
    locality: where the caller stands: a mapping with ``region``, ``zone`` and ``sub_zone``, these
        three in a tuple, or the zone.
    runtime: Envoy's runtime values by key, such as ``upstream.healthy_panic_threshold``.

    Draws: at construction one for each priority with locality weights, then one for round robin
    and least request; with subsets, so for each subset in the order in which hosts name them. At
    each choice one for the priority (hash policies: only without a hash), those of zone-aware
    routing, then the policy's own. A changed priority with locality weights takes one again.

    Methods are atomic; threads may share a balancer. ConfigError names what is wrong in a
    configuration.
    """

    def __init__(
        self,
        cluster: Mapping[str, Any] | Message | str | os.PathLike[str],
        endpoints: Any = None,
        *,
        random: Any = None,
        now: Callable[[], float] | float | None = None,
        local: Any = None,
        locality: Any = None,
        runtime: Mapping[str, Any] | None = None,
    ) -> None:
        document = cluster_of(cluster)
        self.name: str = document["name"]
        if endpoints is None:
            endpoints = document.get("load_assignment", {"endpoints": []})
        self._duplicates = document.get("type", "STATIC") in ("STATIC", "STRICT_DNS")
        self._now = clock_of(now)
        watch = document.get("outlier_detection")
        layer = {"static_layer": runtime or {}}
        self._take(assignment_of(endpoints))
        self._core = _balancer.Balancer(
            _encode({key: value for key, value in document.items() if key != "load_assignment"}),
            _encode(self._assignment()),
            name=self.name,
            now_ms=self._now(),
            locality=locality_of(locality),
            local=None if local is None else _encode(assignment_of(local)),
            runtime=_encode(static_runtime({"layered_runtime": {"layers": [layer]}})),
            outlier=_encode(watch) if watch is not None else None,
            **draws_of(random),
        )
        self._weights_due = self._now() + self._core.weights_period_ms
        self._tick_due = self._now() + self._core.outlier_interval_ms
        self._none = 0
        self._settle()

    # --- membership ---------------------------------------------------------------------------

    def _take(self, assignment: Mapping[str, Any]) -> None:
        self._groups: list[dict[str, Any]] = _copies(assignment.get("endpoints", ()))
        self._rest = {key: value for key, value in assignment.items() if key != "endpoints"}

    def _assignment(self) -> dict[str, Any]:
        return {**self._rest, "endpoints": self._groups}

    def _settle(self) -> None:
        """After a change of membership: which endpoint is which host."""
        rows = [row for group in self._groups for row in group["lb_endpoints"]]
        if not self._duplicates:
            seen: set[tuple[str, int]] = set()
            rows = [row for row in rows if _first_of(row, seen)]
        self._rows = rows
        self._known: dict[int, Host] = {}

    def update(
        self,
        priority: Any,
        endpoints: Any = _ALL,
        *,
        overprovisioning_factor: int | None = None,
        weighted_priority_health: bool | None = None,
    ) -> None:
        """Replaces the hosts of one priority; of all, as a new assignment, when it is None or left
        out.

        A host whose address stays is the same host: its active requests and health flags live on,
        while weight, metadata and the health that discovery reports are the new ones. Priorities in
        which nothing changed keep their place in the cycle; in others the schedulers start again
        with the balancer's seed, and round robin's cursor goes on.
        """
        if endpoints is _ALL:
            priority, endpoints = None, priority
        if isinstance(priority, bool) or not isinstance(priority, int | None):
            raise TypeError(f"a priority is a number, not {priority!r}")
        before = self._groups, self._rest
        if priority is None:
            self._take(assignment_of(endpoints))
        else:
            if is_assignment(endpoints):
                groups = assignment_of(endpoints).get("endpoints", [])
                groups = [{**group, "priority": priority} for group in groups]
            else:
                groups = groups_of(endpoints, priority)
            at = next(
                (i for i, g in enumerate(self._groups) if g.get("priority", 0) == priority),
                len(self._groups),
            )
            kept = [group for group in self._groups if group.get("priority", 0) != priority]
            self._groups = [*kept[:at], *_copies(groups), *kept[at:]]
        policy = dict(self._rest.get("policy", {}))
        if overprovisioning_factor is not None:
            policy["overprovisioning_factor"] = overprovisioning_factor
        if weighted_priority_health is not None:
            policy["weighted_priority_health"] = weighted_priority_health
        self._rest = {**self._rest, "policy": policy} if policy else self._rest
        try:
            self._core.update(_encode(self._assignment()), self._now())
        except BaseException:
            self._groups, self._rest = before
            raise
        self._settle()

    def update_local(self, endpoints: Any) -> None:
        """Replaces the hosts of the caller's own cluster; only where `local` was given."""
        self._core.set_local(_encode(assignment_of(endpoints)))

    def set_health(self, host: Any, health: Any = None) -> None:
        """Says how healthy a host is; with a mapping of hosts to health, of several at once.

        host: a `Host`, an address, or an index.
        health: a status of discovery ("HEALTHY", "UNKNOWN", "UNHEALTHY", "DRAINING", "TIMEOUT",
            "DEGRADED") or a bool, which replaces whatever was known of the host; or, for what
            active checks and outlier detection know, the whole set of flags: their bits, their
            names in an iterable, or the text of Envoy's /clusters ("/failed_active_hc/...",
            "healthy").

        One call is one update of the host sets. A host that is no longer failing its active check
        begins its slow start.
        """
        changes = host if isinstance(host, Mapping) else {host: health}
        for each, value in changes.items():
            index = self._index(each)
            status = status_name(value) if isinstance(value, bool | str) else None
            number = -1
            if value is None:
                raise ValueError(f"the health of {each} is missing")
            if status is not None:
                self._rows[index]["health_status"] = status
                bits, number = _STATUS_FLAG.get(status, 0), STATUSES.index(status)
            else:
                bits = flag_bits(value)
            passed = self._core.flags(index) & ~bits & _FAILED_ACTIVE_HC
            self._core.set_health(index, bits, number, max(1, self._now()) if passed else None)
        self._core.refresh(self._now())

    def set_active_requests(self, host: Any, count: int | None = None) -> None:
        """How many requests a host has in progress; with a mapping of hosts to counts, of several.

        Least request and bounded load read it; nobody else counts for a balancer of one's own.
        """
        changes: Mapping[Any, Any] = host if isinstance(host, Mapping) else {host: count}
        for each, number in changes.items():
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 32:
                raise ValueError(f"requests in progress are a number from 0 on, not {number!r}")
            self._core.set_active(self._index(each), number)

    def add_active_requests(self, host: Any, delta: int) -> None:
        """One more (1) or one less (-1) in progress on a host; one that has left is no error."""
        with contextlib.suppress(KeyError):
            index = self._index(host)
            self._core.set_active(index, max(0, self._core.active(index) + delta))

    def active_requests(self, host: Any) -> int:
        """Requests in progress at a host."""
        return self._core.active(self._index(host))

    def health(self, host: Any) -> str:
        """The host's flags as /clusters shows them: "healthy" or "/failed_eds_health"..."""
        return self._core.flags_text(self._index(host))

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order of configuration."""
        return tuple(self._host(index) for index in range(len(self._core)))

    def __len__(self) -> int:
        return len(self._core)

    def _index(self, host: Any) -> int:
        if isinstance(host, int) and not isinstance(host, bool):
            if not 0 <= host < len(self._core):
                raise KeyError(f"no host {host}")
            return host
        if (
            isinstance(host, Host)
            and host.index < len(self._core)
            and self._core.facts(host.index)[0] == host.address
        ):
            return host.index
        found = self._core.find(str(host))
        if found is None:
            raise KeyError(f"no host {host}")
        return found

    def _has(self, host: Any) -> bool:
        try:
            self._index(host)
        except KeyError:
            return False
        return True

    def _host(self, index: int) -> Host:
        known = self._known.get(index)
        if known is None:
            address, hostname, weight, priority, names = self._core.facts(index)
            known = self._known[index] = Host(
                index,
                address,
                hostname,
                weight,
                priority,
                {k: v for k, v in zip(("region", "zone", "sub_zone"), names, strict=True) if v},
                self._rows[index].get("metadata", {}).get("filter_metadata", {}),
                self.name,
            )
        return known

    # --- choices --------------------------------------------------------------------------------

    @property
    def priority_load(self) -> list[PriorityLoad]:
        """How the load is shared between the priorities now."""
        return [PriorityLoad(*load) for load in self._core.loads()]

    @property
    def stats(self) -> dict[str, int]:
        """What was counted, by the names below Envoy's ``cluster.<name>.``."""
        prefix = f"cluster.{self.name}."
        snapshot = self._core.store.snapshot()
        values: dict[str, Any] = {**snapshot.values("counter"), **snapshot.values("gauge")}
        values = {name.removeprefix(prefix): value for name, value in values.items()}
        return {**values, "upstream_cx_none_healthy": self._none}

    def choose(
        self,
        hash: int | str | bytes | Sequence[str | bytes] | None = None,  # noqa: A002
        metadata: Mapping[str, Any] | None = None,
        *,
        retry: Any = None,
        override_host: str | Host | int | None = None,
        override_host_strict: bool = False,
        active_requests: int | None = None,
    ) -> Host | None:
        """The host for one request, or None when none can be selected.

        hash: what the hash policies look for: an integer of 64 bits, such as `Route.hash` gives;
            text or bytes are hashed with XXH64, several one after the other, as Envoy hashes the
            values of a header. None: a draw instead.
        metadata: what the request asks of a subset, as a route's ``metadata_match``: by filter
            name, or only what `envoy.lb` holds. None: nothing was asked, which is not the same as
            an empty mapping for the fallbacks of selectors.
        retry: a `Retry`, or what one is made of: the hosts attempted already, the number of hosts
            to be passed over, or a mapping, such as Envoy's `RetryPolicy`, with ``attempted``
            beside its fields.
        override_host: an address to be used if there is such a host and its health is among
            ``override_host_status`` (by default UNKNOWN, HEALTHY and DEGRADED).
        override_host_strict: that host or none.
        active_requests: requests in progress in the whole cluster, which bounded load
            (``hash_balance_factor``) compares with; None: the sum over the hosts.
        """
        again = None if retry is None else Retry.of(retry)
        if again is not None:
            again.attempted = [
                self._host(self._index(each)) if isinstance(each, int) else each
                for each in again.attempted
            ]
        fields: dict[str, Any] = {"active": active_requests}
        if again is not None and again.attempted and again.update_frequency:
            fields["priority"] = again._tried(self._core, self._priority_of)
        host = self._choose(hash, metadata, again, override_host, override_host_strict, **fields)
        self._none += host is None
        if again is not None and host is not None:
            again.attempted.append(host)
        return host

    def _choose(
        self,
        hash: Any,  # noqa: A002
        metadata: Mapping[str, Any] | None,
        retry: Retry | None,
        override_host: Any,
        override_host_strict: bool,
        **fields: Any,
    ) -> Host | None:
        now = self._now()
        self._catch_up(now)
        if metadata is not None:
            fields["criteria"] = _encode(filter_metadata(metadata).get("envoy.lb", {}))
        if override_host is not None:
            fields["override"] = self._address(override_host).encode()
            fields["strict"] = override_host_strict
        refuses = None if retry is None else retry.choosing()
        if retry is not None and refuses is not None:
            fields["attempts"] = retry.max_attempts
            fields["refuses"] = lambda index: refuses(self._host(index))
        index = self._core.choose(now, hash_of(hash), **fields)
        return None if index is None else self._host(index)

    def _address(self, host: Any) -> str:
        if isinstance(host, str | Host):
            return str(host)
        if isinstance(host, int) and not isinstance(host, bool):
            return self._host(self._index(host)).address
        raise TypeError(f"a host is named by its address, not by {host!r}")

    def _priority_of(self, host: Any) -> int:
        """Of a host that may have left since."""
        try:
            return self._host(self._index(host)).priority
        except KeyError:
            return host.priority if isinstance(host, Host) else 0

    def peek(self) -> Host | None:
        """The host of the next choice, for a connection made ahead; called again, of the one after.

        The draws that a peek takes serve the choices that follow, and a change of membership
        forgets them. None: as many hosts as are healthy were peeked already, or the policy cannot
        tell: the hash policies, and least request while all weights are equal.
        """
        index = self._core.peek(self._now())
        return None if index is None else self._host(index)

    # --- what came of it --------------------------------------------------------------------------

    def answered(
        self,
        host: Any,
        seconds: float,
        *,
        status: int | None = 200,
        grpc_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        """A request to the host ended after so long: what Peak-EWMA goes by; others ignore it.

        status: of the answer; None: none came. grpc_status: of an answer of headers alone.
        retry_after: seconds the server asked for (Retry-After, grpc-retry-pushback-ms). With
        ``failures_as_latency``, failures count as ``failure_penalty`` or what the server asked for.
        """
        self._core.answered(
            self._index(host),
            max(0, round(seconds * 1e9)),
            self._now(),
            status or 0,
            -1 if grpc_status is None else grpc_status,
            None if retry_after is None or retry_after < 0 else round(retry_after * 1000),
        )

    def latency(self, host: Any) -> float:
        """Peak-EWMA's estimate for the host, in seconds, as it is now."""
        return self._core.estimate(self._index(host), self._now()) / 1e9

    def report_load(self, host: Any, report: str | Mapping[str, Any]) -> int | None:
        """A load report of the host (ORCA), for client-side weighted round robin.

        report: the value of a response's ``endpoint-load-metrics`` ("TEXT rps_fractional=10,
        cpu_utilization=0.5", "JSON {...}", "BIN ..."), or the fields of an `OrcaLoadReport`.
        Returns the weight that follows from it, 0 when it says nothing of use. Weights come into
        force once a ``weight_update_period`` at a choice, when they have been known for a
        ``blackout_period``, until a ``weight_expiration_period`` after the last report.
        """
        text = f"JSON {json.dumps(report)}" if isinstance(report, Mapping) else report
        if not isinstance(text, str):
            raise TypeError(f"a report must be str or a mapping, not {type(report).__name__}")
        return self._core.report(self._index(host), text.encode(), False, self._now())

    def report(
        self,
        host: Any,
        status: int | None = None,
        *,
        error: str | BaseException | None = None,
        seconds: float | None = None,
        grpc_status: int | None = None,
        retry_after: float | None = None,
        degraded: bool = False,
    ) -> None:
        """How a request to the host went: for outlier detection and for Peak-EWMA.

        status: the HTTP status of the answer. error: what happened instead of one: "connect" (no
        connection, or it was lost), "timeout", or the exception. seconds: how long it took, for
        Peak-EWMA. grpc_status: of an answer of headers alone, counted as its HTTP status.
        retry_after: seconds that the server asked for. degraded: the answer says x-envoy-degraded.

        An ejection by the cluster's ``outlier_detection`` counts from the next choice on; its
        interval passes with the clock, at choices and reports. Its draws (jitter, enforcing
        percentages) are not taken from `random`.
        """
        now = self._now()
        self._catch_up(now)
        index = self._index(host)
        if seconds is not None:
            self.answered(
                index,
                seconds,
                status=None if error is not None else status,
                grpc_status=grpc_status,
                retry_after=retry_after,
            )
        if error is not None:
            late = error == "timeout" or isinstance(error, TimeoutError)
            events = [("timeout", 504) if late else ("connect_failed", 0)]
        elif status is None and grpc_status is None:
            raise ValueError("report needs a status, a grpc_status or an error")
        else:
            code = grpc_to_http(grpc_status) if grpc_status is not None else status or 0
            kind = "failed" if code >= 500 else "degraded" if degraded else "success"
            events = [("connected", 0), (kind, code)]
        changed = [self._core.outcome(index, event, code, now) for event, code in events]
        if any(changed):
            self._core.refresh(now)

    def _catch_up(self, now: int) -> None:
        """What a gateway does by timers: outlier intervals, and weights by load reports."""
        changed = False
        if self._core.outlier_interval_ms and now >= self._tick_due:
            changed = self._core.tick(now)
            self._tick_due = now + self._core.outlier_interval_ms
        if self._core.policy == "weights" and now >= self._weights_due:
            self._weights_due = now + self._core.weights_period_ms
            changed |= self._core.update_weights(now)
        if changed:
            self._core.refresh(now)
            self._known.clear()


def _copies(groups: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups that the balancer may change; those without endpoints have an empty list of them."""
    return [
        {**group, "lb_endpoints": [dict(each) for each in group.get("lb_endpoints", ())]}
        for group in groups
    ]


def _encode(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _first_of(row: Mapping[str, Any], seen: set[tuple[str, int]]) -> bool:
    socket = row["endpoint"]["address"]["socket_address"]
    key = socket["address"], socket.get("port_value", 0)
    if key in seen:
        return False
    seen.add(key)
    return True
