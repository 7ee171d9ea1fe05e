"""Route matching among N services, half of them by exact path and half by prefix or pattern.

`last of N` asks for the last route: a linear router pays for every one before it, and for a table
that does not look at them one by one it is a route like any other. `random of N` asks for routes
all over the table, so that what a match reads is not in the processor's cache.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from bench.micro.case import Case

SIZES = (10, 1_000, 10_000, 100_000)
SAMPLE = 1_000


def route_configuration(size: int) -> dict[str, Any]:
    """Service i answers below /api/service{i}/items/; every second one has a single path."""
    routes = []
    for i in range(size):
        path = f"/api/service{i}/items/"
        match = {"prefix": path} if i % 2 else {"path": path + "7"}
        routes.append({"match": match, "route": {"cluster": f"service{i}"}})
    return {"name": "bench", "virtual_hosts": [{"name": "a", "domains": ["*"], "routes": routes}]}


TEMPLATE = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"


def mixed_match(i: int) -> dict[str, Any]:
    """Every kind of path, by turns."""
    path = f"/api/service{i}/items/"
    template = {"@type": TEMPLATE, "path_template": path + "{item}"}
    kinds: tuple[dict[str, Any], ...] = (
        {"path": path + "7"},
        {"prefix": path},
        {"path_separated_prefix": path.removesuffix("/")},
        {"prefix": path.upper(), "case_sensitive": False},
        {"safe_regex": {"regex": path + "[0-9]+"}},
        {"path_match_policy": {"name": "template", "typed_config": template}},
        {"prefix": path, "headers": [{"name": "accept", "string_match": {"contains": "*"}}]},
        {"path": path + "7", "query_parameters": [{"name": "q", "present_match": False}]},
    )
    return kinds[i % len(kinds)]


def mixed_configuration(size: int) -> dict[str, Any]:
    routes = [{"match": mixed_match(i), "route": {"cluster": f"service{i}"}} for i in range(size)]
    return {"name": "bench", "virtual_hosts": [{"name": "a", "domains": ["*"], "routes": routes}]}


def request_headers(i: int) -> list[tuple[str, str]]:
    return [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "www.example.com"),
        (":path", f"/api/service{i}/items/7"),
        ("user-agent", "bench"),
        ("accept", "*/*"),
    ]


def meshcore_last(size: int) -> dict[str, Any]:
    from meshcore import RouteTable

    table, headers = RouteTable(route_configuration(size)), request_headers(size - 1)
    assert table.match(headers).cluster == f"service{size - 1}"
    return {"match": table.match, "headers": headers}


def meshcore_random(size: int) -> dict[str, Any]:
    from meshcore import RouteTable

    table = RouteTable(route_configuration(size))
    chosen = random.Random(1).choices(range(size), k=SAMPLE)
    return {"match": table.match, "requests": [request_headers(i) for i in chosen]}


def meshcore_mixed(size: int) -> dict[str, Any]:
    from meshcore import RouteTable

    table = RouteTable(mixed_configuration(size))
    chosen = random.Random(1).choices(range(size), k=SAMPLE)
    assert table.match(request_headers(chosen[0])).cluster == f"service{chosen[0]}"
    return {"match": table.match, "requests": [request_headers(i) for i in chosen]}


def starlette_last(size: int) -> dict[str, Any]:
    from starlette.routing import Match, Route

    async def endpoint(request: object) -> None:
        """Never called."""

    routes = [
        Route(f"/api/service{i}/items/" + ("{item}" if i % 2 else "7"), endpoint)
        for i in range(size)
    ]
    scope = {"type": "http", "method": "GET", "path": f"/api/service{size - 1}/items/7"}

    def match() -> object:
        for route in routes:
            found, child_scope = route.matches(scope)
            if found is Match.FULL:
                return child_scope
        raise LookupError

    return {"match": match}


def werkzeug_last(size: int) -> dict[str, Any]:
    from werkzeug.routing import Map, Rule

    rules = [
        Rule(f"/api/service{i}/items/" + ("<item>" if i % 2 else "7"), endpoint=f"service{i}")
        for i in range(size)
    ]
    adapter = Map(rules).bind("www.example.com")
    return {"match": adapter.match, "path": f"/api/service{size - 1}/items/7"}


def falcon_last(size: int) -> dict[str, Any]:
    from falcon.routing import CompiledRouter

    class Resource:
        def on_get(self, request: object, response: object, **params: str) -> None:
            """Never called."""

    router, resource = CompiledRouter(), Resource()
    for i in range(size):
        router.add_route(f"/api/service{i}/items/" + ("{item}" if i % 2 else "7"), resource)
    router.find(path := f"/api/service{size - 1}/items/7")
    return {"find": router.find, "path": path}


def cases() -> list[Case]:
    found = []
    for size in SIZES:
        group = f"route, last of {size:,}"
        found += [
            Case(group, "meshcore", "match(headers)", partial(meshcore_last, size)),
            Case(group, "starlette", "match()", partial(starlette_last, size)),
            Case(group, "werkzeug", "match(path)", partial(werkzeug_last, size)),
        ]
        # falcon generates code for all routes: minutes beyond this.
        if size <= 10_000:
            found.append(
                Case(
                    group,
                    "falcon",
                    "find(path)",
                    partial(falcon_last, size),
                    slow=size == 10_000,
                )
            )
    found += [
        Case(
            f"route, random of {size:,}",
            "meshcore",
            "for headers in requests: match(headers)",
            partial(meshcore_random, size),
            operations=SAMPLE,
        )
        for size in SIZES
    ]
    found += [
        Case(
            f"route of every kind, random of {size:,}",
            "meshcore",
            "for headers in requests: match(headers)",
            partial(meshcore_mixed, size),
            operations=SAMPLE,
        )
        for size in SIZES
    ]
    return found


CASES = cases()
