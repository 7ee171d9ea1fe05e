"""Constraint annotations: every rule kind by itself, and where they apply."""

from __future__ import annotations

import time
from typing import Any

import pytest

from meshcore.config import load, message_class
from meshcore.config.canonical import plan_for
from meshcore.config.schema import BOOTSTRAP
from meshcore.config.validate import rules_in
from meshcore.errors import ConfigError

S = 1_000_000_000


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "reason"),
    [
        ("string { const: 'a' }", ["a"], ["b"], "must be 'a'"),
        ("string { len: 2 }", ["ab", "é€"], ["a"], "must have exactly 2 characters"),
        ("string { min_len: 1 }", ["a"], [""], "must not be empty"),
        ("string { min_len: 2 }", ["ab"], ["a"], "must have at least 2 characters"),
        ("string { max_len: 2 }", ["", "é€"], ["abc"], "must have at most 2 characters"),
        ("string { len_bytes: 2 }", ["é"], ["e"], "must have exactly 2 bytes"),
        ("string { min_bytes: 2 }", ["é"], ["e"], "must have at least 2 bytes"),
        ("string { max_bytes: 1 }", ["e"], ["é"], "must have at most 1 byte"),
        ("string { prefix: '%' }", ["%a"], ["a%", ""], "must start with '%'"),
        ("string { suffix: '%' }", ["a%"], ["%a"], "must end with '%'"),
        ("string { contains: 'x' }", ["axb"], ["ab"], "must contain 'x'"),
        ("string { not_contains: 'x' }", ["ab"], ["axb"], "must not contain 'x'"),
        ("string { in: ['a', 'b'] }", ["a", "b"], ["c"], "must be one of 'a', 'b'"),
        ("string { not_in: ['a'] }", ["b"], ["a"], "must be none of 'a'"),
        (
            "string { pattern: '^$|^[a-z]+$' }",
            ["", "ab"],
            ["A", "a\n", "\n"],
            "must match ^$|^[a-z]+$",
        ),
        (
            "string { min_len: 2 ignore_empty: true }",
            ["", "ab"],
            ["a"],
            "must have at least 2 characters",
        ),
        (
            "string { well_known_regex: HTTP_HEADER_NAME }",
            [":path", "x-a"],
            ["", "a b"],
            "must match",
        ),
        ("string { well_known_regex: HTTP_HEADER_VALUE }", ["", "a b"], ["a\nb"], "must match"),
        (
            "string { well_known_regex: HTTP_HEADER_NAME strict: false }",
            ["", "a b"],
            ["a\r", "a\x00"],
            "must match",
        ),
        (
            "string { well_known_regex: HTTP_HEADER_VALUE strict: false }",
            ["", "a\x01"],
            ["a\n"],
            "must match",
        ),
        ("bytes { min_len: 1 }", [b"a"], [b""], "must not be empty"),
        ("bytes { max_len: 1 }", [b"a"], [b"ab"], "must have at most 1 byte"),
        ("bytes { len: 1 }", [b"a"], [b""], "must have exactly 1 byte"),
        ("bool { const: true }", [True], [False], "must be true"),
        ("uint32 { gt: 0 }", [1], [0], "must be greater than 0"),
        ("uint32 { gte: 1 lt: 3 }", [1, 2], [0, 3], "must be"),
        ("uint64 { lte: 9 }", [9], [10], "must be at most 9"),
        ("int32 { gte: -1 }", [-1], [-2], "must be at least -1"),
        ("int64 { in: [1, 2] }", [1], [3], "must be one of 1, 2"),
        ("float { gte: 0 }", [0.0], [-0.5, float("nan")], "must be at least 0.0"),
        ("double { gt: 0 lte: 100 }", [0.1, 100.0], [0.0, 100.5, float("nan")], "must be"),
        ("enum { const: 1 }", [1], [0], "must be 1"),
        ("enum { in: [1] }", [1], [0], "must be one of 1"),
        ("enum { not_in: [0] defined_only: true }", [1], [0], "must be none of 0"),
        ("duration { gt { } }", [1], [0], "must be greater than 0s"),
        ("duration { gte { nanos: 1000000 } }", [1_000_000], [999_999], "must be at least 0.001s"),
        ("duration { lt { seconds: 300 } }", [299 * S], [300 * S], "must be less than 300s"),
        ("duration { lte { seconds: 1 } }", [S], [S + 1], "must be at most 1s"),
        ("duration { in { seconds: 1 } }", [S], [2 * S], "must be one of"),
        ("repeated { min_items: 1 }", [[1]], [[]], "must not be empty"),
        ("repeated { max_items: 1 }", [[1]], [[1, 2]], "must have at most 1 item"),
        ("repeated { unique: true }", [["a", "b"]], [["a", "a"]], "must not repeat an item ('a')"),
        ("map { min_pairs: 1 }", [{"a": 1}], [{}], "must not be empty"),
        ("map { max_pairs: 1 }", [{"a": 1}], [{"a": 1, "b": 2}], "must have at most 1 entry"),
        ("any { in: 'a/b' }", [{"@type": "a/b"}], [{"@type": "a/c"}], "must be one of 'a/b'"),
        ("any { not_in: 'a/b' }", [{"@type": "a/c"}], [{"@type": "a/b"}], "must be none of 'a/b'"),
    ],
)
def test_one_rule(annotation: str, good: list[Any], bad: list[Any], reason: str) -> None:
    from google.protobuf import text_format

    rules = rules_in(text_format.Parse(annotation, message_class("validate.FieldRules")()))
    for value in good:
        assert rules.fault(value) is None, value
    for value in bad:
        assert (rules.fault(value) or "").startswith(reason), value


def test_every_rule_of_the_schema_is_known() -> None:
    """Compiling a plan looks up every annotation of its message, so an unknown one raises."""
    from meshcore.config import schema

    messages = [schema.descriptor(name) for name in schema.message_names()]
    while messages:
        message = messages.pop()
        plan_for(message.full_name).compile()
        messages += message.nested_types


def fault(message: str, tree: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(tree, type=message, allow_unsupported=True)
    return caught.value.path, caught.value.reason


CLUSTER = "envoy.config.cluster.v3.Cluster"
ROUTE = "envoy.config.route.v3.Route"
FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"
VIRTUAL_HOST = "envoy.config.route.v3.VirtualHost"
SOCKET = "envoy.config.core.v3.SocketAddress"
LISTENER = "envoy.config.listener.v3.Listener"
ADMISSION = "envoy.extensions.filters.http.admission_control.v3.AdmissionControl"
TWICE = {"layers": [{"name": "a", "static_layer": {}}, {"name": "a", "static_layer": {}}]}
OVERLOAD = "envoy.config.overload.v3.OverloadManager"
MONITOR = "resource_monitors[0].typed_config"
MAX_REQUESTS = "max_requests_per_connection"


@pytest.mark.parametrize(
    ("message", "tree", "path", "reason"),
    [
        # Absent scalars have their default value, and that must pass too.
        (CLUSTER, {}, "name", "is required: must not be empty"),
        (VIRTUAL_HOST, {"name": "v"}, "domains", "is required: must not be empty"),
        # `required` on messages, oneofs, wrappers and durations.
        (ROUTE, {"match": {"prefix": "/"}}, "", "must have one of route, redirect"),
        (ROUTE, {"route": {"cluster": "a"}}, "match", "is required"),
        (ROUTE, {"match": {}}, "match", "must have one of prefix, path, "),
        (SOCKET, {"address": "a"}, "", "must have one of port_value, "),
        (ADMISSION, {}, "", "must have success_criteria"),
        (LISTENER, {"name": "l"}, "address", "is required"),
        ("envoy.config.bootstrap.v3.LayeredRuntime", TWICE, "layers[1].name", "layer 'a' is given"),
        (OVERLOAD, {"resource_monitors": [{"name": "m"}]}, MONITOR, "is required"),
        # Inside lists, maps and Any.
        (CLUSTER, {"name": "a", "health_checks": [{}]}, "health_checks[0].timeout", "is required"),
        (
            CLUSTER,
            {
                "name": "a",
                "transport_socket": {
                    "name": "t",
                    "typed_config": {"@type": f"x/{SOCKET}", "port_value": 1},
                },
            },
            "transport_socket.typed_config.address",
            "is required: must not be empty",
        ),
        (
            "envoy.config.route.v3.RouteConfiguration",
            {"internal_only_headers": ["ok", "a\nb"]},
            "internal_only_headers[1]",
            "must match",
        ),
        # On wrappers, only when they are there.
        (CLUSTER, {"name": "a", "max_requests_per_connection": -1}, MAX_REQUESTS, "must be"),
        (
            CLUSTER,
            {"name": "a", "ring_hash_lb_config": {"minimum_ring_size": 8388609}},
            "ring_hash_lb_config.minimum_ring_size",
            "must be at most 8388608",
        ),
        # In the wrapper of a filter's configuration an empty one only enables.
        (
            VIRTUAL_HOST,
            {
                "name": "v",
                "domains": ["*"],
                "typed_per_filter_config": {
                    "on": {"@type": f"type.googleapis.com/{FILTER_CONFIG}", "config": {}},
                    "off": {"@type": f"type.googleapis.com/{FILTER_CONFIG}", "disabled": True},
                    "wrong": {"@type": f"type.googleapis.com/{FILTER_CONFIG}"},
                },
            },
            "typed_per_filter_config.wrong.config",
            "is required unless disabled",
        ),
        # Durations are never negative, annotated or not.
        (
            ROUTE,
            {"match": {"prefix": "/"}, "route": {"cluster": "a", "timeout": "-1s"}},
            "route.timeout",
            "must not be negative",
        ),
    ],
)
def test_where_rules_apply(message: str, tree: dict[str, Any], path: str, reason: str) -> None:
    found = fault(message, tree)
    assert found[0] == path
    assert found[1].startswith(reason)


def test_a_small_bootstrap_takes_well_under_a_millisecond() -> None:
    tree = {
        "static_resources": {
            "clusters": [
                {
                    "name": f"c{index}",
                    "connect_timeout": "1s",
                    "load_assignment": {
                        "cluster_name": f"c{index}",
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {
                                        "endpoint": {
                                            "address": {
                                                "socket_address": {
                                                    "address": "127.0.0.1",
                                                    "port_value": 80,
                                                }
                                            }
                                        }
                                    }
                                ]
                            }
                        ],
                    },
                }
                for index in range(3)
            ]
        }
    }
    plan = plan_for(BOOTSTRAP)
    plan.walk(tree)
    times = []
    for _ in range(50):
        start = time.thread_time()
        plan.walk(tree)
        times.append(time.thread_time() - start)
    assert sorted(times)[25] < 1e-3
