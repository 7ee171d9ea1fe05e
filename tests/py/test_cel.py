"""Expressions in the primitives: formats over a context, matchers of a route table."""

from __future__ import annotations

from typing import Any

import pytest
from test_cel_envoy import EXPRESSIONS, tree

import meshcore

CONTEXT = {
    "request_headers": [(":path", "/p?a=1"), (":method", "GET"), ("x-a", "1"), ("x-a", "2")],
    "response_code": 200,
    "route_name": "r",
    "upstream_host": "10.9.9.9:8080",
    "upstream_locality": {"region": "r", "zone": "z"},
    "node": {"id": "n", "metadata": {"k": [1]}},
    "dynamic_metadata": {"ns": {"key": "text", "n": 3}},
    "filter_state": {"k": "v", "o": {"f": "field"}},
    "downstream_remote_address": "10.1.2.3:4567",
    "tls": {"version": "TLSv1.3", "peer": {"subject": "CN=peer", "dns_san": ["a.com", "b.com"]}},
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("request.url_path + request.query", "-"),
        ("request.path", "/p?a=1"),
        ("request.headers['X-A']", "1,2"),
        ("response.code >= 200 && response.code < 300", "true"),
        ("upstream.address", "10.9.9.9:8080"),
        ("upstream.locality.zone", "z"),
        ("xds.node.metadata.k[0]", "1"),
        ("metadata.filter_metadata.ns.n + 1.0", "4"),
        ("filter_state.k == b'v'", "true"),
        ("filter_state.o.f", "field"),
        ("source.port", "4567"),
        ("connection.mtls", "true"),
        ("connection.tls_version", "TLSv1.3"),
        ("connection.dns_san_peer_certificate", "a.com"),
        ("has(connection.uri_san_peer_certificate)", "false"),
        ("response.headers['a']", "-"),
    ],
)
def test_formats(expression: str, expected: str) -> None:
    assert meshcore.Formatter(f"%CEL({expression})%").format(CONTEXT) == expected


def test_a_length_cuts() -> None:
    formatter = meshcore.Formatter("%CEL(request.path):2% %TYPED_CEL(request.path):3%")
    assert formatter.format(CONTEXT) == "/p /p?"


@pytest.mark.parametrize("expression", ["1 +", "nope()", "[1].map(x, x)", "'a'.matches('(')"])
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(meshcore.ConfigError, match="CEL"):
        meshcore.Formatter(f"%CEL({expression})%")


def route(name: str) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.config.route.v3.Route"
    typed = {"@type": kind, "name": name, "match": {"prefix": "/"}, "route": {"cluster": name}}
    return {"action": {"name": "route", "typed_config": typed}}


@pytest.mark.parametrize(
    ("expression", "headers", "matches"),
    [
        ("header", [("x-a", "1")], True),
        ("header", [], False),
        ("joined", [("x-a", "1"), ("x-a", "2")], True),
        ("method", [], True),
        ("unknown", [], False),
        ("text", [], False),
        ("absorbed", [], True),
        ("response", [], False),
    ],
)
def test_matchers_of_routes(expression: str, headers: list[tuple[str, str]], matches: bool) -> None:
    matcher = tree(EXPRESSIONS[expression])["matcher"]
    matcher["matcher_list"]["matchers"][0]["on_match"] = route("yes")
    matcher["on_no_match"] = route("no")
    host = {"name": "v", "domains": ["*"], "matcher": matcher}
    table = meshcore.RouteTable({"virtual_hosts": [host]})
    found = table.match([(":method", "GET"), (":path", "/"), (":authority", "a"), *headers])
    assert found is not None
    assert found.name == ("yes" if matches else "no")
