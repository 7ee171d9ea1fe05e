"""Whole gateways made by chance, beside real Envoy: connection managers, filters, route tables and
requests drawn from a seed, every answer and everything the upstream received compared.

`GENERATED_SEED=7 pytest tests/py/test_envoy_generated.py` runs another world.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from typing import Any

import peers
import pytest
import route_cases
from route_cases import Tree
from test_envoy_diff import ask
from upstreams import Behaviour, Exchange, Upstream, echo

pytestmark = pytest.mark.oracle

LISTENERS, REQUESTS = 32, 70
V3 = "type.googleapis.com/envoy.extensions.filters"
RUNTIME = {"envoy.reloadable_features.match_headers_individually": False}  # as rule RT-12
SLASHES = ("KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD")
SERVER = ("OVERWRITE", "APPEND_IF_ABSENT", "PASS_THROUGH")


def percent(rng: random.Random) -> Tree:
    return {"numerator": rng.choice((0, 100, 100)), "denominator": "HUNDRED"}


def enabled(rng: random.Random) -> Tree:
    return {"default_value": percent(rng)}


def origins(rng: random.Random) -> list[Tree]:
    return [rng.choice(({"exact": "http://a.test"}, {"suffix": "b.org"}, {"exact": "*"}))]


def cors(rng: random.Random) -> Tree:
    tree: Tree = {"allow_origin_string_match": origins(rng), "filter_enabled": enabled(rng)}
    for field, value in (
        ("allow_methods", "GET, PUT"),
        ("allow_headers", rng.choice(("x-a", "*"))),
        ("expose_headers", "x-r"),
        ("max_age", "60"),
        ("allow_credentials", chance(rng, 0.5)),
        ("forward_not_matching_preflights", chance(rng, 0.5)),
    ):
        if chance(rng, 0.5):
            tree[field] = value
    return tree


def csrf(rng: random.Random) -> Tree:
    hosts = [{"exact": "a.test"}] if chance(rng, 0.5) else []
    return {"filter_enabled": enabled(rng), "additional_origins": hosts}


def fault(rng: random.Random) -> Tree:
    status = rng.choice(({"http_status": 503}, {"http_status": 404}, {"grpc_status": 7}))
    headers = [route_cases.header_match(rng)] if chance(rng, 0.7) else []
    return {"abort": {**status, "percentage": percent(rng)}, "headers": headers}


def rbac(rng: random.Random) -> Tree:
    def permission() -> Tree:
        kind = rng.randrange(4)
        if kind == 0:
            return {"any": True}
        if kind == 1:
            return {"url_path": {"path": route_cases.string_match(rng)}}
        if kind == 2:
            return {"not_rule": permission()}
        return {"header": {"name": "x-a", "string_match": route_cases.string_match(rng)}}

    policy = {"permissions": [permission(), permission()], "principals": [{"any": True}]}
    return {"rules": {"action": rng.choice(("ALLOW", "DENY")), "policies": {"p": policy}}}


def rbac_route(rng: random.Random) -> Tree:
    return {"rbac": rbac(rng)} if chance(rng, 0.7) else {}


def header_mutation(rng: random.Random) -> Tree:
    def mutation(name: str) -> Tree:
        if chance(rng, 0.3):
            return {"remove": rng.choice(("x-a", "x-b", "user-agent"))}
        value = rng.choice(("v", "%REQ(X-B)%", "%PROTOCOL%", "%REQ(:METHOD)%-%REQ(X-A?X-C)%"))
        actions = ("APPEND_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS", "ADD_IF_ABSENT")
        header = {"key": name, "value": value}
        return {"append": {"header": header, "append_action": rng.choice(actions)}}

    return {
        "mutations": {
            "request_mutations": [mutation("x-c") for _ in range(rng.randrange(3))],
            "response_mutations": [mutation("x-m") for _ in range(rng.randrange(3))],
        }
    }


def buffer(rng: random.Random) -> Tree:
    return {"max_request_bytes": rng.choice((8, 20, 1000))}


def buffer_route(rng: random.Random) -> Tree:
    return {"disabled": True} if chance(rng, 0.5) else {"buffer": buffer(rng)}


Maker = Callable[[random.Random], Tree]
# By name: the filter's message and what makes one, the route's message and what makes that.
FILTERS: dict[str, tuple[str, Maker, str, Maker]] = {
    "cors": ("cors.v3.Cors", lambda _: {}, "cors.v3.CorsPolicy", cors),
    "csrf": ("csrf.v3.CsrfPolicy", csrf, "csrf.v3.CsrfPolicy", csrf),
    "fault": ("fault.v3.HTTPFault", fault, "fault.v3.HTTPFault", fault),
    "rbac": ("rbac.v3.RBAC", rbac, "rbac.v3.RBACPerRoute", rbac_route),
    "header_mutation": (
        *("header_mutation.v3.HeaderMutation", header_mutation),
        *("header_mutation.v3.HeaderMutationPerRoute", header_mutation),
    ),
    "buffer": ("buffer.v3.Buffer", buffer, "buffer.v3.BufferPerRoute", buffer_route),
}


def chain(rng: random.Random) -> list[Tree]:
    chosen = [name for name in FILTERS if chance(rng, 0.35)]
    rng.shuffle(chosen)
    filters: list[Tree] = []
    for name in chosen:
        kind, make, _, _ = FILTERS[name]
        filters.append({"name": name, "typed_config": {"@type": f"{V3}.http.{kind}", **make(rng)}})
        if chance(rng, 0.1):
            filters[-1]["disabled"] = True
    return filters


def of_routes(rng: random.Random, table: Tree, filters: list[Tree]) -> None:
    """Give some levels of a table configurations of their own for the filters of the chain."""
    places = [table, *table["virtual_hosts"]]
    for host in table["virtual_hosts"]:
        places += host["routes"]
        for route in host["routes"]:
            places += route.get("route", {}).get("weighted_clusters", {}).get("clusters", ())
    for each in filters:
        _, _, kind, make = FILTERS[each["name"]]
        for place in places:
            if chance(rng, 0.15):
                own = place.setdefault("typed_per_filter_config", {})
                own[each["name"]] = {"@type": f"{V3}.http.{kind}", **make(rng)}


def chance(rng: random.Random, share: float) -> bool:
    return rng.random() < share


def manager(rng: random.Random) -> Tree:
    filters, table = chain(rng), routes(rng)
    of_routes(rng, table, filters)
    tree: Tree = {
        "@type": f"{V3}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "delayed_close_timeout": "0.05s",
        "route_config": table,
        "http_filters": [
            *filters,
            {"name": "router", "typed_config": {"@type": f"{V3}.http.router.v3.Router"}},
        ],
    }
    for flag in (
        *("use_remote_address", "skip_xff_append", "append_x_forwarded_port", "normalize_path"),
        *("merge_slashes", "preserve_external_request_id", "always_set_request_id_in_response"),
        *("add_user_agent", "proxy_100_continue", "strip_trailing_host_dot"),
        "stream_error_on_invalid_http_message",
    ):
        if chance(rng, 0.3):
            tree[flag] = True
    if chance(rng, 0.3):
        tree["xff_num_trusted_hops"] = rng.randrange(3)
    if chance(rng, 0.3):
        tree[rng.choice(("strip_any_host_port", "strip_matching_host_port"))] = True
    if chance(rng, 0.3):
        tree["generate_request_id"] = False
    if chance(rng, 0.4):
        tree["path_with_escaped_slashes_action"] = rng.choice(SLASHES)
    if chance(rng, 0.4):
        tree["server_header_transformation"] = rng.choice(SERVER)
    if chance(rng, 0.3):
        tree["server_name"] = "front"
    if chance(rng, 0.3):
        tree["via"] = "mesh"
    if chance(rng, 0.3):
        tree["common_http_protocol_options"] = {
            "max_headers_count": 12,
            "headers_with_underscores_action": rng.choice(
                ("ALLOW", "REJECT_REQUEST", "DROP_HEADER")
            ),
        }
    if chance(rng, 0.3):
        tree["http_protocol_options"] = {
            key: True
            for key in ("accept_http_10", "enable_trailers", "allow_absolute_url")
            if chance(rng, 0.5)
        }
    return tree


def routes(rng: random.Random) -> Tree:
    tree = route_cases.table(rng, actions="ddrcccc")
    # A catch-all, so that most requests meet a cluster.
    last = tree["virtual_hosts"][-1]
    if "*" not in (d for host in tree["virtual_hosts"] for d in host["domains"]):
        last["domains"].append("*")
    last["routes"].append({"name": "last", "match": {"prefix": "/"}, "route": {"cluster": "echo"}})
    return tree


def bootstrap(managers: list[Tree], ports: list[int], origin: int) -> Tree:
    def address(port: int) -> Tree:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def cluster(name: str, port: int | None) -> Tree:
        hosts = [] if port is None else [{"endpoint": {"address": address(port)}}]
        endpoints = [{"lb_endpoints": hosts}] if hosts else []
        return {
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        }

    listeners = [
        {
            "name": f"l{port}",
            "address": address(port),
            "filter_chains": [{"filters": [{"name": "hcm", "typed_config": each}]}],
        }
        for port, each in zip(ports, managers, strict=True)
    ]
    return {
        "node": {"id": "node-id", "cluster": "node-cluster"},
        "static_resources": {
            "listeners": listeners,
            "clusters": [cluster("echo", origin), cluster("refused", 1), cluster("nohost", None)],
        },
        "layered_runtime": {"layers": [{"name": "static", "static_layer": RUNTIME}]},
    }


EXTRA = (
    *("X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 10.0.0.1, 8.8.8.8", "X-Forwarded-For: junk"),
    *("X-Forwarded-Proto: https", "X-Forwarded-Proto: x", "Via: 1.1 a", "TE: trailers, gzip"),
    *("x-envoy-retry-on: 5xx", "x-envoy-upstream-rq-timeout-ms: 900", "x-envoy-internal: true"),
    *("x-request-id: 01234567-89ab-4def-8123-456789abcdef", "x-client-trace-id: t", "x_y: 1"),
    *("Connection: X-A", "Keep-Alive: 5", "Proxy-Connection: close", "Expect: 100-continue"),
    *("Referer: /relative", "Referer: http://u:p@a/", "Accept-Encoding: gzip", "User-Agent: ua"),
    *("Origin: http://c.b.org", "Access-Control-Request-Method: PUT", "Origin: null"),
    *("Cookie: a=1; b=2", "Origin: http://a.test", "x-envoy-force-trace: 1", "Pragma: no-cache"),
)
TAILS = ("", "", "", "", "//b", "/./a/../b", "%2fb", "%5Cb", "%41", "/%2E%2e/", "?a=%2F", "#f")
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


def request(rng: random.Random) -> bytes:
    drawn = route_cases.request(rng)
    pseudo = {name: value for name, value in drawn if name.startswith(":")}
    target, mark, query = pseudo[":path"].partition("?")
    target += rng.choice(TAILS)
    lines = [f"{name}: {value}" for name, value in drawn if not name.startswith(":")]
    lines += [rng.choice(EXTRA) for _ in range(rng.choice((0, 0, 1, 2, 4)))]
    method = rng.choice(METHODS)
    body = b""
    if method in ("POST", "PUT", "PATCH"):
        body = bytes(rng.choices(b"abc\r\n", k=rng.randrange(30)))
        if chance(rng, 0.5):
            lines.append(f"Content-Length: {len(body)}")
        else:
            lines.append("Transfer-Encoding: chunked")
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    host = pseudo[":authority"] + rng.choice(("", "", "", ".", ":80", ":PORT"))
    version = "1.0" if chance(rng, 0.03) else "1.1"
    head = [f"{method} {target}{mark}{query} HTTP/{version}", f"Host: {host}", *lines]
    return "".join(f"{line}\r\n" for line in head).encode("latin-1") + b"\r\n" + body


def options(config: Tree) -> Tree:
    """What a manager is told, without the routes."""
    return {key: value for key, value in config.items() if key not in ("@type", "route_config")}


REPEATED = ("Vary", "ETag", "Cache-Control", "Age", "Set-Cookie", "X-S", "Via", "Warning", "Server")


async def echo_with_more(exchange: Exchange) -> None:
    """An echo; a request for /A... gets response headers by chance, some of them twice."""
    write = exchange.write

    async def more(data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 200"):
            rng = random.Random(exchange.request.target + str(exchange.request.headers[1:3]))
            lines = "".join(f"{rng.choice(REPEATED)}: {n}\r\n" for n in range(rng.randrange(6)))
            data = data[:-2] + lines.encode() + b"\r\n"
        await write(data)

    if "A" in exchange.request.target:
        exchange.write = more
    await echo(exchange)


def ports(count: int) -> list[int]:
    return list({peers.free_port(): None for _ in range(2 * count)})[:count]


def test_the_same_world(
    meshcore_server: Callable[..., peers.Server],
    envoy: Callable[..., peers.Server],
    upstream: Callable[[Behaviour], Upstream],
) -> None:
    seed = int(os.environ.get("GENERATED_SEED", "1"))
    rng = random.Random(seed)
    origin = upstream(echo_with_more).port
    managers = [manager(rng) for _ in range(LISTENERS)]
    requests = [[request(rng) for _ in range(REQUESTS)] for _ in managers]
    # One after the other on the same ports: a matcher of hosts may look at the digits of a port.
    used = ports(LISTENERS)
    text = json.dumps(bootstrap(managers, used, origin))
    answers: list[list[Any]] = []
    for start in (meshcore_server, envoy):
        server = start(text, port=used[0])
        answers.append(
            [ask(port, data) for port, each in zip(used, requests, strict=True) for data in each]
        )
        server.terminate()
    asked = [
        (config, data) for config, each in zip(managers, requests, strict=True) for data in each
    ]
    different: list[tuple[Tree, bytes, Any, Any]] = [
        (*of, a, b) for of, a, b in zip(asked, *answers, strict=True) if a != b
    ]
    if different:
        lines = [
            f"{d!r}\n  ours  {a}\n  Envoy {b}\n  {options(c)}\n" for c, d, a, b in different[:40]
        ]
        config = json.dumps(different[0][0])
        pytest.fail(
            f"seed {seed}: {len(different)} of {LISTENERS * REQUESTS} differ\n"
            f"{''.join(lines)}configuration of the first: {config}"
        )
