"""Clusters in all kinds of trouble, through meshcore and real Envoy: the same answers, counters,
states of hosts and events. Every case has a cluster and a route of its own in one configuration."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import clients
import peers
from upstreams import Behaviour, Exchange, Upstream, raw, reset, respond
from waiting import wait_until

Make = Callable[..., peers.Server]
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
AGGREGATE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"

CONFIG = """\
$flush
admin: {address: {socket_address: {address: 127.0.0.1, port_value: $admin_port}}}
cluster_manager: {outlier_detection: {event_log_path: "$events"}}
layered_runtime: {layers: [{name: s, static_layer: $runtime}]}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: $routes}]}
  clusters: $clusters
"""  # noqa: E501

RUNTIME = {
    "upstream.maintenance_mode.maintained": 100,
    "circuit_breakers.overridden.default.max_requests": 1,
}

# Left out: bytes, what depends on time, and what others compare; difference: active-overflow.
IGNORED = re.compile(
    r"_bytes_|_ms$|upstream_rq_time|remaining_cx_pools|upstream_rq_active_overflow"
    r"|rx_reset_no_error|external\.|internal\.|update_|assignment_|lb_subsets|lb_zone|lb_recalc"
    r"|upstream_cx_http[123]|load_balancer|default\.total_match|upstream_rq_per_cx|http1\.|retry\."
)


def ok(body: bytes = b"") -> Behaviour:
    return respond(200, body)


async def held(exchange: Exchange) -> None:
    """Answered when the case releases it."""
    await exchange.upstream.gate()
    await respond(200, b"")(exchange)


async def early(exchange: Exchange) -> None:
    await exchange.head(200, [("content-length", "0")])


class Setting:
    """What a case may use: upstreams by letter, and the server under test."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        self.name = name
        self.stack = stack
        self.letters: dict[int, str] = {}
        self.upstreams: list[Upstream] = []
        self.server: peers.Server | None = None

    def host(self, behaviour: Behaviour | None, **more: Any) -> dict[str, Any]:
        """An endpoint; without a behaviour nobody listens there."""
        if behaviour is None:
            port = peers.free_port()
        else:
            self.upstreams.append(self.stack.enter_context(Upstream(behaviour)))
            port = self.upstreams[-1].port
        self.letters[port] = chr(ord("A") + len(self.letters))
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        return {"endpoint": {"address": address}, **more}

    def cluster(self, *priorities: list[dict[str, Any]], name: str = "", **more: Any) -> Any:
        name = name or self.name
        groups = [{"priority": i, "lb_endpoints": hosts} for i, hosts in enumerate(priorities)]
        return {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "30s",
            "load_assignment": {"cluster_name": name, "endpoints": groups},
            **more,
        }

    def get(self, times: int = 1, path: str = "") -> list[int]:
        assert self.server is not None
        target = f"/{self.name}/{path}"
        found = []
        for _ in range(times):
            try:
                found.append(clients.fetch(self.server.port, target).status)
            except EOFError:  # the answer was cut off
                found.append(0)
        return found

    def calmly(self, times: int) -> list[int]:
        """Sorted; the decision that an answer led to is known before the next one is asked for.

        It goes from the worker to the main thread and back; both do first what was posted first.
        """
        assert self.server is not None
        found = []
        for _ in range(times):
            found += self.get()
            admin(self.server, "/ready")
            assert clients.fetch(self.server.port, WORKER).status == 204
        return sorted(found)

    def at_once(self, *, reached: int, waiting: int = 0, refused: int = 0) -> list[int]:
        """Sorted; each request is where it goes before the next is sent, none is answered before
        all are there: so many have reached an upstream, wait for a connection, are refused."""
        replies: list[Future[list[int]]] = []
        with ThreadPoolExecutor(reached + waiting + refused) as pool:

            def send(count: Callable[[], int], n: int) -> None:
                replies.append(pool.submit(self.get))
                wait_until(lambda: count() == n)

            for n in range(reached):
                send(self.received, n + 1)
            for n in range(waiting):
                send(lambda: self.counter("upstream_rq_pending_active"), n + 1)
            for n in range(refused):
                send(lambda: sum(reply.done() for reply in replies), n + 1)
            self.release(reached + waiting)
            return sorted(status for reply in replies for status in reply.result())

    def held_until(self, counter: str, value: int) -> list[int]:
        """A request that is answered when the counter has that value."""
        with ThreadPoolExecutor(1) as pool:
            reply = pool.submit(self.get)
            self.reaches(counter, value)
            self.release(1)
            return reply.result()

    def received(self) -> int:
        return sum(len(upstream.requests) for upstream in self.upstreams)

    def release(self, times: int) -> None:
        for upstream in self.upstreams:
            upstream.release(times)

    def counter(self, name: str) -> int:
        assert self.server is not None
        told = admin(self.server, f"/stats?filter=^cluster[.]{self.name}[.]{name}$")
        return int(told.split(": ")[1])

    def reaches(self, counter: str, value: int) -> bool:
        return wait_until(lambda: self.counter(counter) == value)

    def bodies(self, times: int) -> set[tuple[int, bytes]]:
        assert self.server is not None
        port, target = self.server.port, f"/{self.name}/"
        replies = [clients.fetch(port, target) for _ in range(times)]
        return {(reply.status, reply.body if reply.status == 200 else b"") for reply in replies}

    def leave(self, data: bytes, when: Callable[[], bool]) -> bool:
        assert self.server is not None
        with socket.create_connection(("127.0.0.1", self.server.port)) as client:
            client.sendall(data.replace(b"PATH", f"/{self.name}/".encode()))
            wait_until(when)
        return self.reaches("upstream_cx_destroy", 1)


WORKER = "/"  # answered by the worker itself

# A case makes its clusters (and what its route says besides), then asks, once or more.
Case = Iterator[Any]
CASES: dict[str, Callable[[Setting], Case]] = {}
FULL = {"four_requests", "overridden"}  # of requests: difference active-overflow
# Decided by what one interval has seen: all of it is asked at its start, before the other cases.
# An interval later the rates are gone; the events have them.
TOLD_ONCE = {
    "statistics",
    "split_statistics",
    "percentage_alone",
    "too_few_hosts",
    "too_few_requests",
}
DRAWN = {"all_in_panic"}  # how often which host was chosen is a draw


def case(function: Callable[[Setting], Case]) -> Callable[[Setting], Case]:
    CASES[function.__name__] = function
    return function


def watched(**fields: Any) -> dict[str, Any]:
    never = {"interval": "300s", "base_ejection_time": "300s"}
    outlier = {**never, "max_ejection_percent": 50, **fields}
    common = {"update_merge_window": "0s", "healthy_panic_threshold": {"value": 0}}
    return {"outlier_detection": outlier, "common_lb_config": common}


def limited(*thresholds: Any, **more: Any) -> dict[str, Any]:
    tracked = [{"track_remaining": True, **each} for each in thresholds]
    return {"circuit_breakers": {"thresholds": tracked, **more}}


def speaking(**common: Any) -> dict[str, Any]:
    options = {
        "@type": f"type.googleapis.com/{HTTP}",
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": common,
    }
    return {"typed_extension_protocol_options": {HTTP: options}}


# --- outlier detection ----------------------------------------------------------------------------


@case
def priorities(s: Setting) -> Case:
    """CL-11, CL-12: both priorities hear of it, at once."""
    yield [s.cluster([s.host(respond(500))], [s.host(ok())], **watched(consecutive_5xx=3))]
    yield s.calmly(3), s.calmly(3)


@case
def gateway_failures(s: Setting) -> Case:
    outlier = watched(
        consecutive_5xx=4, consecutive_gateway_failure=2, enforcing_consecutive_gateway_failure=0
    )
    yield [s.cluster([s.host(respond(503)), s.host(ok())], **outlier)]
    yield s.calmly(14)


@case
def overflow(s: Setting) -> Case:
    outlier = watched(consecutive_5xx=2, max_ejection_percent=10)
    yield [s.cluster([s.host(respond(503)), s.host(ok())], **outlier)]
    yield s.calmly(8)


@case
def refused(s: Setting) -> Case:
    yield [s.cluster([s.host(None), s.host(ok())], **watched(consecutive_5xx=2))]
    yield s.calmly(8)


@case
def split(s: Setting) -> Case:
    outlier = watched(
        consecutive_5xx=3,
        consecutive_local_origin_failure=2,
        split_external_local_origin_errors=True,
        max_ejection_percent=80,
    )
    yield [s.cluster([s.host(None), s.host(respond(502)), s.host(ok())], **outlier)]
    yield s.calmly(16)


@case
def statistics(s: Setting) -> Case:
    outlier = watched(
        interval="5s",
        consecutive_5xx=1000,
        success_rate_minimum_hosts=3,
        success_rate_request_volume=4,
        success_rate_stdev_factor=1000,
        failure_percentage_minimum_hosts=3,
        failure_percentage_request_volume=4,
        enforcing_failure_percentage=100,
    )
    yield [s.cluster([*(s.host(ok()) for _ in range(4)), s.host(respond(500))], **outlier)]
    yield sorted(s.get(30))
    yield s.reaches("outlier_detection.ejections_enforced_total", 2)


@case
def degraded(s: Setting) -> Case:
    outlier = watched(interval="0.5s", base_ejection_time="1s", detect_degraded_hosts=True)
    yield [s.cluster([s.host(respond(200, b"", [("x-envoy-degraded", "1")]))], **outlier)]
    yield s.calmly(1), s.reaches("membership_degraded", 0)


@case
def returns(s: Setting) -> Case:
    outlier = watched(interval="0.1s", base_ejection_time="2s", consecutive_5xx=2)
    yield [s.cluster([s.host(respond(500)), s.host(ok())], **outlier)]
    yield s.calmly(4), s.reaches("outlier_detection.ejections_active", 0)


@case
def eject_one(s: Setting) -> Case:
    """Half of them is too many for the share, but one may always go."""
    outlier = watched(consecutive_5xx=2, max_ejection_percent=10, always_eject_one_host=True)
    yield [s.cluster([s.host(respond(503)), s.host(ok())], **outlier)]
    yield s.calmly(10)


@case
def not_enforced(s: Setting) -> Case:
    outlier = watched(consecutive_5xx=2, enforcing_consecutive_5xx=0)
    yield [s.cluster([s.host(respond(503)), s.host(ok())], **outlier)]
    yield s.calmly(10)


@case
def both_consecutive(s: Setting) -> Case:
    outlier = watched(
        consecutive_5xx=2, consecutive_gateway_failure=2, enforcing_consecutive_gateway_failure=100
    )
    yield [s.cluster([s.host(respond(502)), s.host(ok())], **outlier)]
    yield s.calmly(8)


@case
def not_the_gateway(s: Setting) -> Case:
    outlier = watched(
        consecutive_5xx=3, consecutive_gateway_failure=1, enforcing_consecutive_gateway_failure=100
    )
    yield [s.cluster([s.host(respond(500)), s.host(ok())], **outlier)]
    yield s.calmly(10)


def timed_out(split: bool) -> Callable[[Setting], Case]:
    def function(s: Setting) -> Case:
        outlier = watched(
            consecutive_5xx=2,
            consecutive_local_origin_failure=2,
            split_external_local_origin_errors=split,
        )
        yield [s.cluster([s.host(held), s.host(ok())], **outlier)], {"timeout": "1s"}
        yield s.calmly(8)

    return function


CASES |= {"timed_out": timed_out(False), "timed_out_split": timed_out(True)}


def reset_by(split: bool) -> Callable[[Setting], Case]:
    def function(s: Setting) -> Case:
        outlier = watched(
            consecutive_5xx=2,
            consecutive_local_origin_failure=3,
            split_external_local_origin_errors=split,
        )
        yield [s.cluster([s.host(reset), s.host(ok())], **outlier)]
        yield s.calmly(10)

    return function


CASES |= {"reset_by_it": reset_by(False), "reset_by_it_split": reset_by(True)}


@case
def split_not_enforced(s: Setting) -> Case:
    outlier = watched(
        consecutive_local_origin_failure=2,
        enforcing_consecutive_local_origin_failure=0,
        split_external_local_origin_errors=True,
    )
    yield [s.cluster([s.host(None), s.host(ok())], **outlier)]
    yield s.calmly(8)


@case
def split_statistics(s: Setting) -> Case:
    outlier = watched(
        interval="5s",
        consecutive_local_origin_failure=1000,
        split_external_local_origin_errors=True,
        success_rate_minimum_hosts=3,
        success_rate_request_volume=4,
        success_rate_stdev_factor=1000,
        failure_percentage_minimum_hosts=3,
        failure_percentage_request_volume=4,
        enforcing_failure_percentage_local_origin=100,
        max_ejection_percent=100,
    )
    yield [s.cluster([*(s.host(ok()) for _ in range(4)), s.host(None)], **outlier)]
    yield sorted(s.get(30))
    yield s.reaches("outlier_detection.ejections_enforced_total", 2)


@case
def percentage_alone(s: Setting) -> Case:
    outlier = watched(
        interval="5s",
        consecutive_5xx=1000,
        enforcing_success_rate=0,
        failure_percentage_threshold=50,
        failure_percentage_minimum_hosts=2,
        failure_percentage_request_volume=4,
        enforcing_failure_percentage=100,
        max_ejection_percent=100,
    )
    yield [s.cluster([s.host(ok()), s.host(respond(500)), s.host(ok())], **outlier)]
    yield sorted(s.get(30))
    yield s.reaches("outlier_detection.ejections_enforced_total", 1)


@case
def too_few_hosts(s: Setting) -> Case:
    outlier = watched(
        interval="5s",
        consecutive_5xx=1000,
        success_rate_minimum_hosts=4,
        success_rate_request_volume=4,
        failure_percentage_minimum_hosts=4,
    )
    yield [s.cluster([s.host(ok()), s.host(respond(500)), s.host(ok())], **outlier)]
    yield sorted(s.get(30))


@case
def too_few_requests(s: Setting) -> Case:
    outlier = watched(
        interval="5s",
        consecutive_5xx=1000,
        success_rate_minimum_hosts=3,
        success_rate_request_volume=400,
        failure_percentage_minimum_hosts=3,
        failure_percentage_request_volume=4,
        enforcing_failure_percentage=100,
        max_ejection_percent=10,
    )
    yield [s.cluster([s.host(ok()), s.host(respond(500)), s.host(ok())], **outlier)]
    yield sorted(s.get(30))
    yield s.reaches("outlier_detection.ejections_overflow", 1)


@case
def rpc_status(s: Setting) -> Case:
    outlier = watched(consecutive_5xx=3, consecutive_gateway_failure=2)
    bad = respond(200, b"", [("content-type", "application/grpc"), ("grpc-status", "14")])
    yield [s.cluster([s.host(bad), s.host(ok())], **outlier)]
    yield s.calmly(10)


# --- circuit breakers -----------------------------------------------------------------------------


@case
def one_connection(s: Setting) -> Case:
    limits = limited({"max_connections": 1, "max_pending_requests": 1})
    yield [s.cluster([s.host(held)], **limits)]
    yield s.at_once(reached=1, waiting=1, refused=1)


@case
def one_connection_a_host(s: Setting) -> Case:
    limits = limited({}, per_host_thresholds=[{"max_connections": 1}])
    yield [s.cluster([s.host(held), s.host(held)], **limits)]
    yield s.at_once(reached=2, waiting=2)


@case
def one_pool(s: Setting) -> Case:
    hosts = [s.host(ok()), s.host(ok())]
    yield [s.cluster(hosts, **limited({"max_connection_pools": 1}))]
    yield sorted(s.get(4))


@case
def no_connection(s: Setting) -> Case:
    yield [s.cluster([s.host(ok())], **limited({"max_connections": 0}))]
    yield s.get(2)


RETRIED = {"retry_policy": {"retry_on": "5xx", "num_retries": 2}}


@case
def no_retry(s: Setting) -> Case:
    yield [s.cluster([s.host(respond(503))], **limited({"max_retries": 0}))], RETRIED
    yield s.get(2)


@case
def budget(s: Setting) -> Case:
    limits = limited({"retry_budget": {"min_retry_concurrency": 1}})
    yield [s.cluster([s.host(respond(503))], **limits)], RETRIED
    yield s.get(2)


@case
def four_requests(s: Setting) -> Case:
    limits = limited({"max_requests": 2})
    yield [s.cluster([s.host(held)], **limits)]
    yield s.at_once(reached=2, refused=2)


@case
def nothing_waits(s: Setting) -> Case:
    yield [s.cluster([s.host(ok())], **limited({"max_pending_requests": 0}))]
    yield s.get(2)


@case
def high_priority(s: Setting) -> Case:
    limits = limited({"max_requests": 1}, {"priority": "HIGH", "max_pending_requests": 0})
    yield [s.cluster([s.host(ok())], **limits)], {"priority": "HIGH"}
    yield s.get(2)


@case
def high_priority_by_default(s: Setting) -> Case:
    yield [s.cluster([s.host(held)], **limited({"max_requests": 1}))], {"priority": "HIGH"}
    yield s.at_once(reached=3)


@case
def overridden(s: Setting) -> Case:
    """By the runtime."""
    yield [s.cluster([s.host(held)], **limited({"max_requests": 100}))]
    yield s.at_once(reached=1, refused=2)


@case
def a_host_of_high_priority(s: Setting) -> Case:
    limits = limited(
        {"priority": "HIGH"}, per_host_thresholds=[{"priority": "HIGH", "max_connections": 1}]
    )
    yield [s.cluster([s.host(held)], **limits)], {"priority": "HIGH"}
    yield s.at_once(reached=1, waiting=2)


@case
def generous_budget(s: Setting) -> Case:
    budget = {"retry_budget": {"budget_percent": {"value": 100}, "min_retry_concurrency": 0}}
    yield [s.cluster([s.host(respond(503))], **limited(budget))], RETRIED
    yield s.get(2)


@case
def no_budget(s: Setting) -> Case:
    budget = {"retry_budget": {"budget_percent": {"value": 0}, "min_retry_concurrency": 0}}
    yield [s.cluster([s.host(respond(503))], **limited(budget))], RETRIED
    yield s.get(2)


@case
def budget_of_recent_requests(s: Setting) -> Case:
    budget = {"budget_percent": {"value": 10}, "min_retry_concurrency": 0}
    limits = limited({"retry_budget": {**budget, "budget_interval": "3600s"}})
    yield [s.cluster([s.host(respond(503))], **limits)], RETRIED
    yield s.get(12)


# --- pools ----------------------------------------------------------------------------------------


@case
def requests_of_a_connection(s: Setting) -> Case:
    yield [s.cluster([s.host(ok())], **speaking(max_requests_per_connection=2))]
    yield s.get(5)


@case
def idle(s: Setting) -> Case:
    yield [s.cluster([s.host(ok())], **speaking(idle_timeout="3s"))]
    yield s.get(2), s.reaches("upstream_cx_idle_timeout", 1)


@case
def lifetime(s: Setting) -> Case:
    yield [s.cluster([s.host(held)], **speaking(max_connection_duration="0.3s"))]
    yield [s.held_until("upstream_cx_max_duration_reached", n) for n in (1, 2)]


@case
def lifetime_with_jitter(s: Setting) -> Case:
    options = speaking(max_connection_duration="0.2s", max_connection_duration_jitter={"value": 50})
    yield [s.cluster([s.host(held)], **options)]
    yield [s.held_until("upstream_cx_max_duration_reached", n) for n in (1, 2)]


@case
def made_ahead(s: Setting) -> Case:
    policy = {"per_upstream_preconnect_ratio": 2.0}
    yield [s.cluster([s.host(ok())], preconnect_policy=policy)]
    yield s.get(2)


ANSWERS = {
    "asks_to_close": respond(200, b"x", [("connection", "close")]),
    "until_close": raw(b"HTTP/1.1 200 OK\r\n\r\nabc", close=True),
    "http_10": raw(b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", close=True),
    "cut": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx", close=True),
    "garbage": raw(b"garbage\r\n\r\n"),
    "extra": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n"),
    "silent": raw(b"", close=True),
    "nobody": None,
}


def answered(behaviour: Behaviour | None) -> Callable[[Setting], Case]:
    def function(s: Setting) -> Case:
        yield [s.cluster([s.host(behaviour)])]
        yield s.get(2)

    return function


CASES |= {name: answered(behaviour) for name, behaviour in ANSWERS.items()}


@case
def answers_early(s: Setting) -> Case:
    yield [s.cluster([s.host(early)])]
    request = b"POST PATH HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc"
    yield s.leave(request, lambda: s.counter("upstream_cx_destroy") == 1)


@case
def client_leaves(s: Setting) -> Case:
    yield [s.cluster([s.host(held)])]
    yield s.leave(b"GET PATH HTTP/1.1\r\nhost: x\r\n\r\n", lambda: s.received() == 1)


@case
def maintained(s: Setting) -> Case:
    yield [s.cluster([s.host(ok())])]
    yield s.get(2)


# --- aggregates (CL-16) ---------------------------------------------------------------------------


def aggregate(s: Setting, *members: Any, **more: Any) -> list[Any]:
    names = [member["name"] for member in members]
    typed = {"@type": AGGREGATE, "clusters": [*names[:1], "nowhere", *names[1:]]}
    return [
        {
            "name": s.name,
            "connect_timeout": "0.5s",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": typed},
            **more,
        },
        *members,
    ]


def members(s: Setting, *statuses: str, **more: Any) -> list[Any]:
    """The first has two priorities."""
    a, b, c = (
        s.host(ok(x), health_status=y) for x, y in zip((b"A", b"B", b"C"), statuses, strict=True)
    )
    return [s.cluster([a], [b], name=f"{s.name}_1", **more), s.cluster([c], name=f"{s.name}_2")]


@case
def first_of_all(s: Setting) -> Case:
    yield aggregate(s, *members(s, "HEALTHY", "HEALTHY", "HEALTHY"))
    yield s.bodies(6)


@case
def next_priority(s: Setting) -> Case:
    yield aggregate(s, *members(s, "UNHEALTHY", "HEALTHY", "HEALTHY"))
    yield s.bodies(6)


@case
def next_cluster(s: Setting) -> Case:
    yield aggregate(s, *members(s, "UNHEALTHY", "UNHEALTHY", "HEALTHY"))
    yield s.bodies(6)


@case
def healthy_before_degraded(s: Setting) -> Case:
    yield aggregate(s, *members(s, "DEGRADED", "UNHEALTHY", "HEALTHY"))
    yield s.bodies(6)


@case
def all_in_panic(s: Setting) -> Case:
    yield aggregate(s, *members(s, "UNHEALTHY", "UNHEALTHY", "UNHEALTHY"))
    yield s.bodies(60)


@case
def nobody_at_all(s: Setting) -> Case:
    yield aggregate(s, s.cluster([], name=f"{s.name}_1"))
    yield s.get(2)


@case
def moves_on(s: Setting) -> Case:
    """An ejection in the first member is its own; tries count with the aggregate."""
    one = s.cluster(
        [s.host(respond(503))],
        name=f"{s.name}_1",
        **watched(consecutive_5xx=2, max_ejection_percent=100),
    )
    two = s.cluster([s.host(ok())], name=f"{s.name}_2")
    once = {"retry_policy": {"retry_on": "5xx", "num_retries": 1}}
    yield aggregate(s, one, two, **limited({})), once
    yield s.calmly(1), s.get(3)


@case
def an_aggregate_within(s: Setting) -> Case:
    first, second = members(s, "HEALTHY", "HEALTHY", "HEALTHY")
    inner = {**aggregate(s, first)[0], "name": f"{s.name}_1"}
    inner["cluster_type"]["typed_config"]["clusters"] = [f"{s.name}_0"]
    first = {**first, "name": f"{s.name}_0"}
    first["load_assignment"]["cluster_name"] = first["name"]
    yield [*aggregate(s, inner, second), first]
    yield s.bodies(6)


def across(frequency: int) -> Callable[[Setting], Case]:
    def function(s: Setting) -> Case:
        bad = [s.host(respond(503, b"A")), s.host(respond(503, b"B"))]
        one = s.cluster(bad[:1], bad[1:], name=f"{s.name}_1")
        two = s.cluster([s.host(ok(b"C"))], name=f"{s.name}_2")
        kind = "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities"
        retry = {
            "retry_on": "5xx",
            "num_retries": 2,
            "retry_priority": {
                "name": "envoy.retry_priorities.previous_priorities",
                "typed_config": {
                    "@type": f"{kind}.v3.PreviousPrioritiesConfig",
                    "update_frequency": frequency,
                },
            },
        }
        yield aggregate(s, one, two), {"retry_policy": retry}
        yield s.bodies(4)

    return function


CASES |= {"across_members": across(1), "across_members_slowly": across(2)}


# --- comparing ------------------------------------------------------------------------------------


def admin(server: peers.Server, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}{path}") as answer:
        text: str = answer.read().decode()
        return text


COUNTED = re.compile(r"cluster\.(\w+)\.(.*): (\d+)")
Counted = dict[str, dict[str, str]]


def counted(server: peers.Server) -> Counted:
    """Of every cluster, those that are not zero."""
    found: Counted = {}
    for line in admin(server, "/stats?filter=^cluster[.]").splitlines():
        match = COUNTED.fullmatch(line)
        if match and match[3] != "0":
            found.setdefault(match[1], {})[match[2]] = match[3]
    return found


def counters(clusters: Counted, name: str) -> dict[str, str]:
    """Those of the case's clusters."""
    found = {
        f"{cluster}.{key}": value
        for cluster in (name, f"{name}_1", f"{name}_2")
        for key, value in clusters.get(cluster, {}).items()
        if not IGNORED.search(f"{cluster}.{key}")
    }
    if name in FULL:
        found.pop(f"{name}.upstream_rq_pending_overflow", None)
    return found


FED = re.compile(
    r"envoy_cluster_(upstream_cx_length_ms|upstream_cx_connect_ms|upstream_rq_per_cx)_count"
    r'\{envoy_cluster_name="(\w+)"\} (\d+)'
)


def fed(server: peers.Server) -> Counted:
    """How often histograms were."""
    found: Counted = {}
    for line in admin(server, "/stats/prometheus").splitlines():
        match = FED.fullmatch(line)
        if match and match[3] != "0":
            found.setdefault(match[2], {})[match[1]] = match[3]
    return found


def states(server: peers.Server, setting: Setting) -> list[Any]:
    """Of hosts and clusters, as /clusters tells them; which of two alike was first is a draw."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for line in admin(server, "/clusters").splitlines():
        name, host, rest = [*line.split("::", 2), ""][:3]
        if name not in (setting.name, f"{setting.name}_1", f"{setting.name}_2"):
            continue
        told = r"health_flags|success_rate|local_origin|priority|cx_|rq_total"
        if setting.name in TOLD_ONCE and re.match(r"success_rate|local_origin_success", rest):
            continue
        if host == "outlier" or re.match(told, rest):
            hosts.setdefault((name, host), []).append(rest)
    return sorted([name, *sorted(lines)] for (name, _), lines in hosts.items())


def events(path: Path, settings: dict[str, Setting]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for line in path.read_text().splitlines():
        event = json.loads(line)
        del event["timestamp"]
        name = re.sub(r"_[12]$", "", event["cluster_name"])
        port = int(event["upstream_url"].rpartition(":")[2])
        event["upstream_url"] = settings[name].letters[port]
        found.setdefault(name, []).append(json.dumps(event, sort_keys=True))
    return {name: sorted(lines) for name, lines in found.items()}


@contextmanager
def prepared(name: str) -> Iterator[tuple[Setting, Case, list[Any], dict[str, Any]]]:
    with ExitStack() as stack:
        setting = Setting(name, stack)
        steps = CASES[name](setting)
        made = next(steps)
        own_clusters, route = made if isinstance(made, tuple) else (made, {})
        yield setting, steps, own_clusters, route


def settle(server: peers.Server) -> tuple[Counted, Counted]:
    """The counters and histograms when flushes have told all and no connection changes any more."""
    seen: list[Counted] = []

    def settled() -> tuple[Counted, Counted] | None:
        clusters, histograms = counted(server), fed(server)
        seen.append({name: counters(clusters, name) for name in CASES})
        same = len(seen) > 3 and seen[-1] == seen[-2] == seen[-3]
        told = all(caught_up(clusters[name], histograms.get(name, {})) for name in clusters)
        return (clusters, histograms) if same and told else None

    found = wait_until(settled, every_s=0.2)
    assert found
    return found


def caught_up(counters: dict[str, str], histograms: dict[str, str]) -> bool:
    """Each connection that came about and each that ended is in its histogram."""
    total, failed, ended = (
        int(counters.get(f"upstream_cx_{name}", 0)) for name in ("total", "connect_fail", "destroy")
    )
    return (
        int(histograms.get("upstream_cx_connect_ms", 0)) == total - failed
        and int(histograms.get("upstream_cx_length_ms", 0)) == ended
    )


def observe(make: Make, log: Path, *, envoy: bool) -> dict[str, dict[str, Any]]:
    with ExitStack() as stack:
        cases = {name: stack.enter_context(prepared(name)) for name in CASES}
        server = stack.enter_context(
            make(
                CONFIG,
                flush="stats_flush_interval: 0.1s" if envoy else "",
                events=str(log),
                runtime=json.dumps(RUNTIME),
                clusters=json.dumps([each for case in cases.values() for each in case[2]]),
                routes=json.dumps(
                    [
                        {"match": {"prefix": f"/{name}/"}, "route": {"cluster": name, **case[3]}}
                        for name, case in cases.items()
                    ]
                    + [{"match": {"path": WORKER}, "direct_response": {"status": 204}}]
                ),
            )
        )
        for setting, *_ in cases.values():
            setting.server = server
        steps = {name: case[1] for name, case in cases.items()}
        with ThreadPoolExecutor(len(CASES)) as pool:
            in_time = dict(pool.map(lambda n: (n, next(steps[n])), TOLD_ONCE))
            rest = dict(pool.map(lambda n: (n, list(steps[n])), CASES))
        found: dict[str, dict[str, Any]] = {
            name: {"answers": [in_time.get(name), *rest[name]]} for name in CASES
        }
        clusters, histograms = settle(server)
        for name, (setting, *_) in cases.items():
            if name in DRAWN:
                continue
            found[name] |= {
                "counters": counters(clusters, name),
                "hosts": states(server, setting),
                "histograms": {k: v for k, v in histograms.items() if k.startswith(name)},
            }
        found[""] = {
            line.split(": ")[0]: line.split(": ")[1]
            for line in admin(server, "/stats?filter=^cluster_manager").splitlines()
            if re.match(r"cluster_manager\.(cluster_(added|removed|modified)|active)", line)
        }
    for name, lines in events(log, {name: case[0] for name, case in cases.items()}).items():
        found[name]["events"] = lines
    return found


def test_clusters_in_trouble(meshcore_server: Make, envoy: Make, tmp_path: Path) -> None:
    ours = observe(meshcore_server, tmp_path / "ours", envoy=False)
    theirs = observe(envoy, tmp_path / "theirs", envoy=True)
    for name, reference in theirs.items():
        assert ours[name] == reference, name
