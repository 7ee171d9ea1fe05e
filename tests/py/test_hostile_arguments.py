"""Arguments that no program should give: an error that says what is wrong, and nothing worse."""

from __future__ import annotations

import datetime
import ipaddress
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import meshcore

REQUEST = [(":authority", "h"), (":path", "/"), (":method", "GET"), ("x", "1")]
TABLE = {
    "virtual_hosts": [
        {
            "name": "v",
            "domains": ["*"],
            "routes": [
                {
                    "match": {"prefix": "/"},
                    "route": {"cluster": "c", "hash_policy": [{"header": {"header_name": "x"}}]},
                }
            ],
        }
    ]
}


def deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    inner = found
    for _ in range(levels):
        inner["a"] = inner = {}
    return found


def endless() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = found
    return found


def in_runtime(value: Any) -> Any:
    return meshcore.RouteTable(TABLE).match(REQUEST, 0, None, {"k": value})


def in_context(value: Any) -> Any:
    return meshcore.RouteTable(TABLE).match(REQUEST, 0, {"dynamic_metadata": {"a": value}})


def in_metadata(value: Any) -> Any:
    path = {"filter": "f", "path": [{"key": "k"}], "value": {"present_match": True}}
    return meshcore.MetadataMatcher(path).match({"f": {"k": value}})


def in_format(value: Any) -> Any:
    return meshcore.Formatter({"a": value})


def in_table(value: Any) -> Any:
    return meshcore.RouteTable({"typed_per_filter_config": value})


@pytest.mark.parametrize("place", [in_runtime, in_context, in_metadata, in_format, in_table])
@pytest.mark.parametrize(
    "value", [deep(100_000), endless(), "\ud800", float("nan"), object()], ids=type
)
def test_what_cannot_be_read_is_an_error(place: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):  # ConfigError is a ValueError
        place(value)


def test_values_of_other_libraries_in_a_context() -> None:
    form = "%START_TIME(%s)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DYNAMIC_METADATA(a:b)%"
    context = {
        "start_time": "1970-01-01T00:00:07Z",
        "downstream_remote_address": ipaddress.ip_address("::1"),
        "dynamic_metadata": {"a": {"b": Decimal("1.5")}},
    }
    assert meshcore.Formatter(form).format(context) == "7 ::1 1.5"
    context["start_time"] = datetime.datetime(1970, 1, 1, 0, 0, 8)
    assert meshcore.Formatter(form).format(context).startswith("8 ")


@pytest.mark.parametrize("headers", [None, 5, "x: 1", b"x", [5], ["ab"], [("a",)], [("a", 5)]])
def test_headers_that_are_none(headers: Any) -> None:
    route = meshcore.RouteTable(TABLE).match(REQUEST)
    assert route is not None
    assert route.hash_policy is not None
    for call in (
        meshcore.RouteTable(TABLE).match,
        meshcore.HeaderMatcher(name="x").match,
        route.finalize_request,
        route.finalize_response,
        route.rate_limit_descriptors,
        route.hash_policy.generate_hash,
    ):
        with pytest.raises(TypeError, match=r"header|pair"):
            call(headers)


def test_headers_may_change_under_way() -> None:
    """Another thread's changes may be seen or not; nothing breaks."""
    table = meshcore.RouteTable(TABLE)
    headers, mapping = list(REQUEST), dict(REQUEST)
    stop = threading.Event()

    def change() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            headers.append((f"h{turn}", "é" * (turn % 5)))
            del headers[len(REQUEST) :: 2]
            mapping[f"k{turn % 50}"] = "v"
            mapping.pop(f"k{turn * 7 % 50}", None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(2000):
            route = table.match(headers)
            assert route is not None
            route.finalize_request(headers)
            meshcore.http.remove_hop_by_hop(headers)
            table.match(dict(mapping))
    finally:
        stop.set()
        thread.join()
