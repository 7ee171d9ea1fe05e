"""What Python filters may do wrong, and what becomes of the request then: it never passes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clients
import pytest
from upstreams import Upstream, echo

import meshcore
from meshcore.filters import Headers

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

STRUCT = "type.googleapis.com/google.protobuf.Struct"


async def late(answer: Any) -> Any:
    await asyncio.sleep(0)
    return answer


def broken(error: BaseException) -> Any:
    raise error


async def broken_later(error: BaseException) -> Any:
    raise error


# What a method does, by the path that asks for it, and the status that the client then sees.
ANSWERS: dict[str, tuple[Callable[[], Any], int]] = {
    "none": (lambda: None, 200),
    "status": (lambda: 429, 429),
    "response": (lambda: meshcore.Response(418), 418),
    "text": (lambda: "no", 500),
    "flag": (lambda: True, 500),
    "class": (lambda: meshcore.Response, 500),
    "coroutine": (lambda: late(403), 500),
    "raises": (lambda: broken(ValueError("broken")), 500),
    "exits": (lambda: sys.exit(3), 500),
    "bad-status": (lambda: 999, 500),
}
LATER: dict[str, tuple[Callable[[], Any], int]] = {
    "later-none": (lambda: late(None), 200),
    "later-status": (lambda: late(429), 429),
    "later-text": (lambda: late("no"), 500),
    "later-coroutine": (lambda: late(late(1)), 500),
    "later-raises": (lambda: broken_later(ValueError("broken")), 500),
    "later-cancelled": (lambda: broken_later(asyncio.CancelledError()), 500),
}


class Plain:
    def on_request_headers(self, request: Any) -> Any:
        side, name = request.path.split("/")[2:4]
        return ANSWERS[name][0]() if side == "request" and name in ANSWERS else None

    def on_response_headers(self, request: Any, response: Any) -> Any:
        side, name = request.path.split("/")[2:4]
        return ANSWERS[name][0]() if side == "response" and name in ANSWERS else None


class Later:
    async def on_request_headers(self, request: Any) -> Any:
        side, name = request.path.split("/")[2:4]
        return await LATER[name][0]() if side == "request" and name in LATER else None

    async def on_response_headers(self, request: Any, response: Any) -> Any:
        side, name = request.path.split("/")[2:4]
        return await LATER[name][0]() if side == "response" and name in LATER else None


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a gateway with both filters, an upstream, and under /local/ an answer of its own."""
    meshcore.http_filter("test.answers.plain")(Plain)
    meshcore.http_filter("test.answers.later")(Later)
    filters = [
        {"name": f"test.answers.{name}", "typed_config": {"@type": STRUCT}}
        for name in ("plain", "later")
    ]
    local = {"status": 200, "body": {"inline_string": "local"}}
    with Upstream(echo) as upstream:
        config = proxy_to(upstream.port, *filters)
        [listener] = config["static_resources"]["listeners"]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        routes = manager["route_config"]["virtual_hosts"][0]["routes"]
        routes.insert(0, {"match": {"prefix": "/local/"}, "direct_response": local})
        with meshcore.Gateway(config, workers=1) as gateway:
            yield gateway.listeners["main"][1]


@pytest.mark.parametrize("name", [*ANSWERS, *LATER])
@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("source", ["upstream", "local"])
def test_a_filter_that_fails_lets_nothing_pass(
    port: int, source: str, side: str, name: str
) -> None:
    wanted = {**ANSWERS, **LATER}[name][1]
    assert clients.fetch(port, f"/{source}/{side}/{name}").status == wanted


def test_what_a_method_returned_is_named(port: int, caplog: pytest.LogCaptureFixture) -> None:
    for side, name in (("request", "text"), ("request", "coroutine"), ("response", "later-text")):
        clients.fetch(port, f"/local/{side}/{name}")
    told = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    wanted = "must return None, a meshcore.Response or a status, not a"
    assert told == [
        f"Plain.on_request_headers {wanted} str",
        f"Plain.on_request_headers {wanted} coroutine that was not awaited",
        f"Later.on_response_headers {wanted} str",
    ]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: meshcore.Response("401"), TypeError, "str"),
        (lambda: meshcore.Response(999), ValueError, "999"),
        (lambda: meshcore.Response(200, body=5), TypeError, "bytes-like"),
        (lambda: meshcore.Response(200, {"a b": "c"}), ValueError, "'a b'"),
        (lambda: meshcore.Response(200, {"\xe9": "c"}), ValueError, "header name"),
        (lambda: meshcore.Response(200, {"a": 5}), TypeError, "must be str, not int"),
        (lambda: meshcore.Response(200, {"a": "b\r\nc: d"}), ValueError, "one line"),
        (lambda: meshcore.Response(200, {"a": "\u20ac"}), ValueError, "Latin-1"),
        (lambda: meshcore.http_filter(print), TypeError, "must be str"),
        (lambda: meshcore.http_filter(""), ValueError, "needs a name"),
        (lambda: meshcore.http_filter("test.five")(5), TypeError, "class or a function"),
    ],
)
def test_misuse_is_named(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_items_of_headers_are_all_entries() -> None:
    headers = Headers([("a", "1"), ("b", "2"), ("a", "3")])
    assert list(headers.items()) == [("a", "1"), ("b", "2"), ("a", "3")]
    assert len(headers.items()) == 3
    assert len(headers) == 2
    assert meshcore.HeaderMatcher(name="a", exact_match="1,3").match(headers)
