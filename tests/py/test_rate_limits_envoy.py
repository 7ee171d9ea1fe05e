"""Rate limit descriptors (RT-50, RT-51): what a RouteTable makes of limits and requests by chance,
and what a real Envoy asks its rate limit service for."""

from __future__ import annotations

import random
from collections.abc import Callable

import peers
import pytest
from bootstraps import MANAGER, ROUTER
from clients import Connection
from grpc_collector import HTTP2, grpc_collector
from route_cases import Headers, Tree, header_match, query_match
from wire import fields

from meshcore import RouteTable

pytestmark = pytest.mark.oracle

LIMITS, REQUESTS = 60, 4
FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
INPUT = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
METADATA = {
    "text": "t",
    "number": 5,
    "empty": "",
    "deep": {"text": "d"},
    "day": {"requests_per_unit": 42, "unit": "DAY"},
    "week": {"requests_per_unit": 42, "unit": "WEEK"},
    "lower": {"requests_per_unit": 42, "unit": "day"},
    "written": {"requests_per_unit": "42", "unit": "DAY"},
}
UNITS = ("UNKNOWN", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR", "WEEK")
CLIENTS = ("10.1.2.3", "1.2.3.4", "2001:db8::5")
Found = tuple[list[tuple[str, str]], tuple[int, str] | None]


# --- what is drawn --------------------------------------------------------------------------------


def place(rng: random.Random) -> Tree:
    return {"key": "ns", "path": [{"key": rng.choice((*METADATA, "none"))}]}


def value(rng: random.Random) -> Tree:
    text = rng.choice(("v", "50%%", "%REQ(x-a)%", "%ROUTE_NAME%"))
    return {"descriptor_value": text} | rng.choice(({}, {"default_value": "d"}))


def action(rng: random.Random) -> Tree:
    absent = rng.choice(({}, {"skip_if_absent": True}))
    expected = rng.choice(({}, {"expect_match": False}))
    ranges = [{"address_prefix": a, "prefix_len": n} for a, n in (("10.0.0.0", 8), ("::", 0))]
    made: tuple[Tree, ...] = (
        {"source_cluster": {}},
        {"destination_cluster": {}},
        {"remote_address": {}},
        {"masked_remote_address": {"v4_prefix_mask_len": 12, "v6_prefix_mask_len": 20}},
        {"request_headers": {"header_name": "X-B", "descriptor_key": "h", **absent}},
        {"query_parameters": {"query_parameter_name": "p", "descriptor_key": "q", **absent}},
        {"generic_key": value(rng)},
        {"header_value_match": {**value(rng), "headers": [header_match(rng)], **expected}},
        {
            "query_parameter_value_match": {
                **value(rng),
                "query_parameters": [query_match(rng)],
                **expected,
            }
        },
        {
            "metadata": {
                "descriptor_key": "m",
                "metadata_key": place(rng),
                "source": rng.choice(("DYNAMIC", "ROUTE_ENTRY")),
                **absent,
            }
        },
        {"remote_address_match": {**value(rng), "address_matcher": {"ranges": ranges[:1]}}},
        {"extension": {"name": "k", "typed_config": {"@type": INPUT, "header_name": "x-a"}}},
    )
    return rng.choice(made)


def limit(rng: random.Random) -> Tree:
    made: Tree = {"actions": [action(rng) for _ in range(rng.choice((1, 1, 2)))]}
    if rng.random() < 0.4:
        made["limit"] = {"dynamic_metadata": {"metadata_key": place(rng)}}
    return made


def table(rng: random.Random) -> Tree:
    routes = [
        {
            "name": f"r{n}",
            "match": {"prefix": f"/{n}/"},
            "route": {"cluster": "c", "rate_limits": [limit(rng)]},
            "metadata": {"filter_metadata": {"ns": {"text": "of the route"}}},
        }
        for n in range(LIMITS)
    ]
    return {"name": "t", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]}


def request(rng: random.Random, number: int) -> tuple[str, Headers]:
    query = rng.choice(("", "?p=a%20b&p=2", "?p", "?q=12&pp=%zz", "?p=%zz", "?%70=1"))
    names = [name for name in ("x-a", "x-a", "x-b") if rng.random() < 0.5]
    headers = [(name, rng.choice(("1", "ab", "Ab", ""))) for name in names]
    return f"/{number}/{query}", [*headers, ("x-forwarded-for", rng.choice(CLIENTS))]


# --- both sides -----------------------------------------------------------------------------------


def descriptor(data: bytes) -> Found:
    entries, allowed = [], None
    for number, inner in fields(data):
        if number == 1:
            pair = dict(fields(inner))
            entries.append((pair.get(1, b"").decode(), pair.get(2, b"").decode()))
        elif number == 2:
            rate = dict(fields(inner))
            allowed = (rate.get(1, 0), UNITS[rate.get(2, 0)])
    return entries, allowed


def ours(compiled: RouteTable, path: str, headers: Headers) -> list[Found]:
    head = [(":authority", "h"), (":path", path), (":method", "GET"), *headers]
    client = headers[-1][1]
    context = {
        "downstream_remote_address": f"[{client}]:0" if ":" in client else f"{client}:0",
        "dynamic_metadata": {"ns": METADATA},
    }
    route = compiled.match(head, context=context)
    assert route is not None
    return [
        (list(each.entries), each.limit)
        for each in route.rate_limit_descriptors(head, local_cluster="here")
    ]


def bootstrap(config: Tree, service: int) -> Tree:
    limits = {
        "@type": f"{FILTERS}.ratelimit.v3.RateLimit",
        "domain": "d",
        "timeout": "20s",
        "rate_limit_service": {
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "service"}},
        },
    }
    known = [{"metadata_namespace": "ns", "value": METADATA}]
    metadata = {"@type": f"{FILTERS}.set_metadata.v3.Config", "metadata": known}
    manager = {
        "@type": MANAGER,
        "stat_prefix": "in",
        "http_filters": [
            {"name": name, "typed_config": typed}
            for name, typed in (("m", metadata), ("l", limits), ("r", {"@type": ROUTER}))
        ],
        "route_config": config,
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": "$port"}},
        "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": service}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    clusters = [
        {"name": "c", "type": "STATIC", "load_assignment": {"cluster_name": "c"}},
        {
            "name": "service",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "service", "endpoints": endpoints},
            **HTTP2,
        },
    ]
    return {
        "node": {"id": "me", "cluster": "here"},
        "static_resources": {"listeners": [listener], "clusters": clusters},
        # difference: headers-individually (RT-12)
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    "static_layer": {"envoy.reloadable_features.match_headers_individually": False},
                }
            ]
        },
    }


def test_the_same_descriptors(envoy: Callable[..., peers.Server]) -> None:
    rng = random.Random(20261121)
    config = table(rng)
    compiled = RouteTable(config)
    met, different = 0, []
    with grpc_collector() as service:
        server = envoy(bootstrap(config, service.port))
        with Connection(server.port) as client:
            for number in range(LIMITS * REQUESTS):
                path, headers = request(rng, number % LIMITS)
                service.messages.clear()
                client.request(path, host="h", headers=headers)
                bodies = [message.body for message in service.messages]
                theirs = [descriptor(b) for body in bodies for n, b in fields(body) if n == 2]
                mine = ours(compiled, path, headers)
                met += len(mine)
                if mine != theirs:
                    limits = config["virtual_hosts"][0]["routes"][number % LIMITS]["route"]
                    different.append((limits, path, headers, mine, theirs))
    assert not different, f"{len(different)}: {different[:3]}"
    assert met > LIMITS
