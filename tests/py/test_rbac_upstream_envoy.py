"""Permissions by the address that the dynamic forward proxy found, beside real Envoy."""

from __future__ import annotations

import peers
import pytest
from filter_cases import Case, Tree, ask, http_filter
from test_envoy_diff_filters import OPTIONS, WITH_TRAILERS, address, bootstrap, obey, run
from upstreams import Upstream

pytestmark = pytest.mark.oracle

TYPES = "type.googleapis.com/envoy.extensions."
CACHE = {"name": "cache", "dns_lookup_family": "V4_ONLY"}
CLUSTER = {
    "name": "by_name",
    "lb_policy": "CLUSTER_PROVIDED",
    "cluster_type": {
        "name": "envoy.clusters.dynamic_forward_proxy",
        "typed_config": {
            "@type": TYPES + "clusters.dynamic_forward_proxy.v3.ClusterConfig",
            "dns_cache_config": CACHE,
        },
    },
}


def upstream_is(address: str | None = None, bits: int = 0, ports: Tree | None = None) -> Tree:
    typed: Tree = {
        "@type": TYPES + "rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher",
    }
    if address is not None:
        typed["upstream_ip"] = {"address_prefix": address, "prefix_len": bits}
    if ports is not None:
        typed["upstream_port_range"] = ports
    return {"matcher": {"name": "envoy.rbac.matchers.upstream_ip_port", "typed_config": typed}}


def refusing(port: int) -> Tree:
    """A cluster whose own filters let nobody through."""
    kind = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
    codec = {"name": "codec", "typed_config": {"@type": kind}}
    host = {"endpoint": {"address": address(port)}}
    return {
        "name": "refusing",
        "type": "STATIC",
        "typed_extension_protocol_options": {
            OPTIONS: {
                **WITH_TRAILERS,
                "http_filters": [http_filter("rbac", "rbac.v3.RBAC", rules={}), codec],
            }
        },
        "load_assignment": {"cluster_name": "refusing", "endpoints": [{"lb_endpoints": [host]}]},
    }


def told_in_spite() -> Case:
    """The host that was chosen, and refused, is the session's."""
    state = "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState"
    typed = {"@type": "type.googleapis.com/" + state, "name": "x-session"}
    kept = {"name": "envoy.http.stateful_session.header", "typed_config": typed}
    return Case(
        "told",
        [http_filter("kept", "stateful_session.v3.StatefulSession", session_state=kept)],
        [ask()],
        [{"match": {"prefix": "/"}, "route": {"cluster": "refusing"}}],
    )


def allow(rule: Tree) -> Tree:
    policy = {"permissions": [rule], "principals": [{"any": True}]}
    return http_filter("rbac", "rbac.v3.RBAC", rules={"policies": {"p": policy}})


def cases(port: int) -> tuple[list[Case], dict[str, int]]:
    """What is asked, and the status of each."""

    def saves(does: bool) -> Tree:
        kind = "dynamic_forward_proxy.v3.FilterConfig"
        return http_filter("dfp", kind, dns_cache_config=CACHE, save_upstream_address=does)

    def ports(start: int, end: int) -> Tree:
        return {"start": start, "end": end}

    local = upstream_is("127.0.0.0", 8)
    rules = {
        "address": (local, 200),
        "no_address": (upstream_is("10.0.0.0", 8), 403),
        "no_family": (upstream_is("::", 0), 403),
        "ports": (upstream_is(ports=ports(port, port + 1)), 200),
        "last_port": (upstream_is(ports=ports(port - 1, port)), 200),
        "no_ports": (upstream_is(ports=ports(1, 2)), 403),
        "ports_below_zero": (upstream_is(ports=ports(-5, 70000)), 200),
        "empty_ports": (upstream_is(ports={}), 403),
        "both": (upstream_is("127.0.0.1", 32, ports(port, port)), 200),
        "one_of_both": (upstream_is("127.0.0.2", 32, ports(port, port)), 403),
        "not": ({"not_rule": upstream_is("10.0.0.0", 8)}, 200),
    }
    chains = {name: ([saves(True), allow(rule)], status) for name, (rule, status) in rules.items()}
    chains["unsaved"] = [saves(False), allow(local)], 403
    chains["before"] = [allow(local), saves(True)], 403
    asked = [ask(host=f"127.0.0.1:{port}")]
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "by_name"}}]
    return (
        [
            *(Case(name, chain, asked, routes) for name, (chain, _) in chains.items()),
            told_in_spite(),
        ],
        {**{name: status for name, (_, status) in chains.items()}, "told": 403},
    )


def test_as_envoy() -> None:
    with Upstream(obey) as upstream:
        asked, expected = cases(upstream.port)
        ports = {case.name: peers.free_port() for case in asked}
        config = bootstrap(asked, ports, upstream.port, CLUSTER, refusing(upstream.port))
        found = []
        for start in (peers.meshcore, peers.envoy):
            with start(config) as server:
                found.append({c.name: run(server, c, ports[c.name], upstream) for c in asked})
    ours, theirs = found
    assert {name: result["outcomes"][0]["status"] for name, result in ours.items()} == expected
    assert ours == theirs
    assert "x-session" in dict(ours["told"]["outcomes"][0]["headers"])


def test_what_matches_nothing_is_refused() -> None:
    config = bootstrap([Case("empty", [allow(upstream_is())], [])], {"empty": 1}, 1)
    assert not peers.envoy_accepts(config)[0]
    with pytest.raises(peers.StartError, match="must have upstream_ip or upstream_port_range"):
        peers.meshcore(config).stop()
