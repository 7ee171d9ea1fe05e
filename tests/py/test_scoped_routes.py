"""Scoped routes (RT-59): route configurations by a key out of the headers, as in Envoy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import peers
import pytest
from bootstraps import ROUTER
from clients import Connection

from meshcore import ConfigError
from meshcore.config import load

V3 = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
Document = dict[str, Any]
Both = Callable[..., tuple[peers.Server, peers.Server]]


def route_configuration(name: str) -> Document:
    text = f"{name} %REQ(x-only-a?x-none)%"
    body = {"status": 200, "body_format": {"text_format_source": {"inline_string": text}}}
    hosts = [
        {"name": name, "domains": [f"{name}.example"], "routes": []},
        {
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "direct_response": body}],
        },
    ]
    return {"name": name, "virtual_hosts": hosts}


def scope(name: str, *fragments: str, **fields: Any) -> Document:
    return {
        "name": name,
        "key": {"fragments": [{"string_key": fragment} for fragment in fragments]},
        "route_configuration": route_configuration(name),
    } | fields


TENANT = {"name": "X-Tenant", "element_separator": ";", "element": {"separator": "=", "key": "z"}}
PART = {"name": "x-part", "element_separator": ",", "index": 1}
SCOPES = [
    scope("a", "eu", "q") | {},
    scope("b", "us", "q"),
    scope("c", "", "q"),
    scope("d", "eu", ""),
]
SCOPES[0]["route_configuration"]["internal_only_headers"] = ["x-only-a"]


def bootstrap(scopes: list[Document], *extractors: Document, port: Any = "$port") -> Document:
    fragments = [{"header_value_extractor": extractor} for extractor in extractors]
    manager = {
        "@type": f"{V3}.HttpConnectionManager",
        "stat_prefix": "ingress",
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        "scoped_routes": {
            "name": "scopes",
            "scope_key_builder": {"fragments": fragments},
            "scoped_route_configurations_list": {"scoped_route_configurations": scopes},
        },
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener]}}


REQUESTS: list[tuple[str, list[tuple[str, str]], str | None]] = [
    ("x", [("x-tenant", "z=eu"), ("x-part", "p,q")], "a -"),
    ("x", [("x-tenant", "y=1;z=eu"), ("x-part", "p,q,r")], "a -"),
    ("x", [("x-tenant", "z=us;z=eu"), ("x-part", "p,q")], "b -"),
    ("x", [("x-tenant", "z="), ("x-part", "p,q")], "c -"),
    ("x", [("x-tenant", "z=eu"), ("x-part", "p,")], "d -"),
    ("x", [("x-tenant", "z"), ("x-part", "p,q")], "c -"),
    ("x", [("x-tenant", "zz=eu"), ("x-part", "p,q")], None),
    ("x", [("x-tenant", "z=eu=q"), ("x-part", "p,q")], None),
    ("x", [("x-tenant", "z=eu"), ("x-part", "p")], None),
    ("x", [("x-tenant", " z=eu"), ("x-part", "p, q")], None),
    ("x", [("x-tenant", "z=eu; z=us"), ("x-part", "p,q")], "a -"),
    ("x", [("x-tenant", "z=us"), ("x-tenant", "z=eu"), ("x-part", "p,q")], "b -"),
    ("x", [("x-part", "p,q")], None),
    ("x", [], None),
    ("a.example", [("x-tenant", "z=eu"), ("x-part", "p,q")], None),
    ("x", [("x-tenant", "z=eu"), ("x-part", "p,q"), ("x-only-a", "1")], "a -"),
    ("x", [("x-tenant", "z=us"), ("x-part", "p,q"), ("x-only-a", "1")], "b 1"),
]


@pytest.mark.oracle
def test_the_same_scopes(both: Both) -> None:
    for server in both(bootstrap(SCOPES, TENANT, PART)):
        with Connection(server.port) as client:
            for host, headers, expected in REQUESTS:
                reply = client.request("/", host=host, headers=headers)
                wanted = (404, "") if expected is None else (200, expected)
                got = (reply.status, reply.body.decode())
                assert got == wanted, (server.name, host, headers)


def test_explain_names_the_scope() -> None:
    from meshcore.explain import Request, explain

    config = load(bootstrap(SCOPES, TENANT, PART, port=10000))
    request = Request("GET", "http://x/", [("x-tenant", "z=us"), ("x-part", "p,q")])
    found = explain(config, request)
    assert (found["scope"], found["route_config"]) == ("b", "b")
    assert found["response"]["status"] == 200
    assert explain(config, Request("GET", "http://x/", []))["scope"] == ""


REFUSED = [
    (bootstrap(SCOPES, port=10000), "scope_key_builder.fragments"),
    (bootstrap(SCOPES, {"name": "x"}, port=10000), "header_value_extractor"),
    (bootstrap(SCOPES, {"name": "", "index": 0}, port=10000), "header_value_extractor.name"),
    (bootstrap(SCOPES, {"name": "x", "index": 1}, port=10000), "header_value_extractor"),
    (
        bootstrap(SCOPES, {"name": "x", "element": {"separator": "", "key": "k"}}, port=10000),
        "element.separator",
    ),
    (
        bootstrap([scope("a", "1"), scope("b", "1")], PART, port=10000),
        "scoped_route_configurations[1].key",
    ),
    (
        bootstrap([scope("a", "1"), scope("a", "2")], PART, port=10000),
        "scoped_route_configurations[1].name",
    ),
    (bootstrap([scope("a")], PART, port=10000), "key.fragments"),
    (bootstrap([scope("", "1")], PART, port=10000), "scoped_route_configurations[0].name"),
    (bootstrap([], PART, port=10000), "scoped_route_configurations_list"),
]


@pytest.mark.parametrize(("config", "path"), REFUSED)
def test_what_is_refused(config: Document, path: str) -> None:
    from meshcore import Gateway

    with pytest.raises(ConfigError) as caught:
        Gateway(load(config))
    assert "scoped_routes" in caught.value.path
    assert path in caught.value.path


@pytest.mark.slow
@pytest.mark.oracle
def test_envoy_refuses_them_too() -> None:
    """But for scopes that come twice: those it refuses only of an update (RT-59)."""
    for config, path in REFUSED:
        accepted, _ = peers.envoy_accepts(config)
        assert accepted == ("configurations[1]" in path), config


@pytest.mark.oracle
def test_the_same_config_dump(both: Both) -> None:
    config = {
        **bootstrap(SCOPES[:1], TENANT, PART),
        "admin": {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": "$admin_port"}}
        },
    }
    seen = []
    for server in both(config):
        assert server.admin_port is not None
        with Connection(server.admin_port) as client:
            reply = client.request("/config_dump?resource=inline_scoped_route_configs")
            (one,) = json.loads(reply.body)["configs"]
            one.pop("last_updated")
            seen.append(one)
    assert seen[0] == seen[1]
