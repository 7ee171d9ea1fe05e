"""Active health checks by tables: results to flags and intervals (rules HC-3 to HC-6, HC-11)."""

from __future__ import annotations

from typing import Any

import pytest

from meshcore.health.payload import matches, payload
from meshcore.health.probe import HttpSpec
from meshcore.health.state import (
    DEGRADED,
    EXCLUDED,
    FAILED,
    PENDING,
    TIMEOUT,
    Change,
    Failure,
    HostCheck,
    Timing,
    milliseconds,
)

BASE: dict[str, Any] = {
    "timeout": "1s",
    "interval": "10s",
    "unhealthy_threshold": 3,
    "healthy_threshold": 2,
}


def timing(**more: Any) -> Timing:
    return Timing.read({**BASE, **more})


def check(flags: int = 0, *, seen: bool = True) -> HostCheck:
    out = HostCheck(timing(), flags)
    out.first = not seen
    return out


NETWORK, ACTIVE, PASSIVE = Failure.NETWORK, Failure.ACTIVE, Failure.PASSIVE
LATE = Failure.NETWORK_TIMEOUT


@pytest.mark.parametrize(
    ("flags", "seen", "results", "expected"),
    [
        # The first result of all makes a failed host healthy at once.
        (FAILED, False, ["ok"], [(Change.CHANGED, 0)]),
        # Later it takes the threshold.
        (FAILED, True, ["ok", "ok"], [(Change.PENDING, FAILED), (Change.CHANGED, 0)]),
        # A failure in between starts the count again.
        (
            FAILED,
            True,
            ["ok", NETWORK, "ok", "ok"],
            [
                (Change.PENDING, FAILED),
                (Change.NONE, FAILED),
                (Change.PENDING, FAILED),
                (Change.CHANGED, 0),
            ],
        ),
        # Network failures count, and so do timeouts; there is no short cut for the first.
        (
            0,
            False,
            [NETWORK, LATE, NETWORK],
            [(Change.PENDING, 0), (Change.PENDING, 0), (Change.CHANGED, FAILED)],
        ),
        # An answer that fails flips at once, a retriable one counts.
        (0, True, [ACTIVE], [(Change.CHANGED, FAILED)]),
        (0, True, [PASSIVE], [(Change.CHANGED, FAILED)]),
        (
            0,
            True,
            ["retriable", "retriable", "retriable"],
            [(Change.PENDING, 0), (Change.PENDING, 0), (Change.CHANGED, FAILED)],
        ),
        (
            0,
            True,
            [NETWORK, "ok", NETWORK],
            [(Change.PENDING, 0), (Change.NONE, 0), (Change.PENDING, 0)],
        ),
        # The timeout flag is that of the last failure of a failed host.
        (FAILED, True, [LATE], [(Change.NONE, FAILED | TIMEOUT)]),
        (FAILED | TIMEOUT, True, [NETWORK], [(Change.NONE, FAILED)]),
        (FAILED | TIMEOUT | EXCLUDED, False, ["ok"], [(Change.CHANGED, 0)]),
        # A host that was not counted yet is, whatever the result.
        (FAILED | PENDING, False, [NETWORK], [(Change.CHANGED, FAILED)]),
        (FAILED | PENDING, True, ["ok"], [(Change.CHANGED, FAILED)]),
        # Degraded follows the result.
        (
            0,
            True,
            ["degraded", "degraded", "ok"],
            [(Change.CHANGED, DEGRADED), (Change.NONE, DEGRADED), (Change.CHANGED, 0)],
        ),
        (FAILED, True, ["degraded"], [(Change.PENDING, FAILED | DEGRADED)]),
    ],
)
def test_results(
    flags: int, seen: bool, results: list[Any], expected: list[tuple[Change, int]]
) -> None:
    host = check(flags, seen=seen)
    told = []
    for result in results:
        if result in ("ok", "degraded"):
            outcome = host.succeed(degraded=result == "degraded")
        elif result == "retriable":
            outcome = host.fail(ACTIVE, retriable=True)
        else:
            outcome = host.fail(result)
        told.append((outcome.change, host.flags))
    assert told == expected


def test_events() -> None:
    host = check(FAILED, seen=False)
    assert host.succeed().events == [("add_healthy_event", {"first_check": True})]
    assert host.succeed(log_success=True).events == [("successful_health_check_event", {})]
    assert host.succeed().events == []
    assert host.fail(ACTIVE).events == [("eject_unhealthy_event", {"failure_type": "ACTIVE"})]
    assert host.fail(NETWORK).events == []
    assert host.fail(LATE, log_failures=True).events == [
        ("health_check_failure_event", {"failure_type": "NETWORK_TIMEOUT", "first_check": False})
    ]
    other = check(FAILED, seen=False)
    assert other.fail(NETWORK).events == [
        ("health_check_failure_event", {"failure_type": "NETWORK", "first_check": True})
    ]
    pending = check(FAILED).succeed(log_success=True)
    assert (pending.change, pending.events) == (
        Change.PENDING,
        [("successful_health_check_event", {})],
    )
    assert check().succeed(degraded=True).events == [("degraded_healthy_host", {})]


EDGES = {
    "unhealthy_interval": "5s",
    "unhealthy_edge_interval": "1s",
    "healthy_edge_interval": "2s",
    "no_traffic_interval": "40s",
    "no_traffic_healthy_interval": "30s",
}


@pytest.mark.parametrize(
    ("config", "traffic", "healthy", "change", "expected"),
    [
        (EDGES, True, True, Change.NONE, 10_000),
        (EDGES, True, True, Change.CHANGED, 10_000),
        (EDGES, True, True, Change.PENDING, 2000),
        (EDGES, True, False, Change.NONE, 5000),
        (EDGES, True, False, Change.PENDING, 1000),
        (EDGES, False, True, Change.NONE, 30_000),
        (EDGES, False, True, Change.PENDING, 40_000),
        (EDGES, False, False, Change.NONE, 40_000),
        ({}, False, True, Change.NONE, 60_000),
        ({}, True, False, Change.PENDING, 10_000),
        ({"unhealthy_interval": "4s"}, True, False, Change.PENDING, 4000),
        ({"no_traffic_interval": "9s"}, False, True, Change.NONE, 9000),
    ],
)
def test_intervals(
    config: dict[str, Any], traffic: bool, healthy: bool, change: Change, expected: int
) -> None:
    got = timing(**config).next(healthy=healthy, change=change, traffic=traffic, draw=lambda: 0)
    assert got == expected


def test_jitter() -> None:
    draws = iter([2999, 700])
    jittered = timing(interval_jitter_percent=15, interval_jitter="0.5s")
    wait = jittered.next(healthy=True, change=Change.NONE, traffic=True, draw=lambda: next(draws))
    assert wait == 10_000 + 2999 % 1500 + 700 % 500
    assert timing(initial_jitter="2s").first(lambda: 4001) == 1
    assert timing().first(lambda: 4001) == 0
    assert timing(initial_jitter="2s").first(lambda: 4000) == 1


def test_the_runtime_bounds_intervals() -> None:
    """HC-4."""
    values = {"health_check.min_interval": 3000, "health_check.max_interval": "4000"}
    bounded = Timing.read(BASE, values)
    assert bounded.next(healthy=True, change=Change.NONE, traffic=True, draw=lambda: 0) == 4000
    short = Timing.read({**BASE, "interval": "1s"}, values)
    assert short.next(healthy=True, change=Change.NONE, traffic=True, draw=lambda: 0) == 3000
    assert Timing.read(BASE, {"health_check.max_interval": True}).max_interval == 2**63


@pytest.mark.parametrize(
    ("text", "ms"), [("1s", 1000), ("0.25s", 250), ("1.0009s", 1000), (None, 7), ("0.5s", 500)]
)
def test_durations_lose_fractions_of_a_millisecond(text: str | None, ms: int) -> None:
    assert milliseconds(text, 7) == ms


@pytest.mark.parametrize(
    ("wanted", "data", "found"),
    [
        ([b"a", b"b"], b"xaxbx", True),
        ([b"b", b"a"], b"xaxbx", False),
        ([b"aa", b"a"], b"aa", False),
        ([b"aa", b"a"], b"aaa", True),
        ([], b"", True),
    ],
)
def test_segments_occur_in_order_without_overlap(
    wanted: list[bytes], data: bytes, found: bool
) -> None:
    assert matches(wanted, data) is found


def test_payloads_are_hex_or_bytes() -> None:
    assert payload({"text": "68656c6c6f"}, "send") == b"hello"
    assert payload({"binary": "aGVsbG8="}, "send") == b"hello"


HTTP: dict[str, Any] = {"path": "/ready"}
EXCLUDE = {"x-envoy-immediate-health-check-fail": "true"}


@pytest.mark.parametrize(
    ("config", "status", "headers", "body", "expected"),
    [
        ({}, 200, {}, b"", (None, False, False)),
        ({}, 204, {}, b"", (ACTIVE, False, False)),
        ({"expected_statuses": [{"start": 200, "end": 300}]}, 204, {}, b"", (None, False, False)),
        ({"expected_statuses": [{"start": 200, "end": 204}]}, 204, {}, b"", (ACTIVE, False, False)),
        ({"retriable_statuses": [{"start": 503, "end": 504}]}, 503, {}, b"", (ACTIVE, True, False)),
        ({"receive": [{"text": "6f6b"}]}, 200, {}, b"all ok", (None, False, False)),
        # A bad body is never retriable.
        (
            {"receive": [{"text": "6f6b"}], "retriable_statuses": [{"start": 503, "end": 504}]},
            503,
            {},
            b"no",
            (ACTIVE, False, False),
        ),
        ({}, 200, {"x-envoy-degraded": ""}, b"", (None, False, True)),
        ({"service_name_matcher": {"prefix": "a"}}, 200, {}, b"", (ACTIVE, False, False)),
        (
            {"service_name_matcher": {"prefix": "a"}},
            200,
            {"x-envoy-upstream-healthchecked-cluster": "abc"},
            b"",
            (None, False, False),
        ),
    ],
)
def test_http_answers(
    config: dict[str, Any], status: int, headers: dict[str, str], body: bytes, expected: Any
) -> None:
    spec = HttpSpec.read({**HTTP, **config}, "http")
    outcome = spec.judge(status, headers, body)
    assert (outcome.failure, outcome.retriable, outcome.degraded) == expected


def test_a_failing_answer_may_exclude_the_host() -> None:
    spec = HttpSpec.read(HTTP, "http")
    assert spec.judge(503, EXCLUDE, b"").exclude
    assert not spec.judge(200, EXCLUDE, b"").exclude
