"""The generic matcher in place of routes (RT-15), asked of a RouteTable and of real Envoy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peers
import pytest
from bootstraps import MANAGER, ROUTER
from clients import Connection

from meshcore import ConfigError, RouteTable

T = "type.googleapis.com/"
Tree = dict[str, Any]


def header(name: str = "x") -> Tree:
    kind = f"{T}envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
    return {"name": "header", "typed_config": {"@type": kind, "header_name": name}}


def answer(text: str, **match: Any) -> Tree:
    route = {
        "@type": f"{T}envoy.config.route.v3.Route",
        "name": text,
        "match": match or {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": text}},
    }
    return {"action": {"name": "route", "typed_config": route}}


NEVER = answer("never", path="/never")


def when(value: str, leads_to: Tree, name: str = "x", **extra: Any) -> Tree:
    single = {"input": header(name), "value_match": {"exact": value}}
    return {"predicate": {"single_predicate": single}, "on_match": {**leads_to, **extra}}


def listed(*matchers: Tree, **rest: Any) -> Tree:
    return {"matcher_list": {"matchers": list(matchers)}, **rest}


def mapped(kind: str, entries: Tree, **rest: Any) -> Tree:
    return {"matcher_tree": {"input": header(), kind: {"map": entries}}, **rest}


def custom(kind: str, **config: Any) -> Tree:
    typed = {"@type": f"{T}xds.type.matcher.v3.{kind}", **config}
    return {
        "matcher_tree": {
            "input": header(),
            "custom_match": {"name": "custom", "typed_config": typed},
        }
    }


def ranges(leads_to: Tree, *texts: str, **extra: Any) -> Tree:
    parts = [text.partition("/") for text in texts]
    found = [{"address_prefix": a, "prefix_len": int(n)} for a, _, n in parts]
    return {"ranges": found, "on_match": leads_to, **extra}


def domains(leads_to: Tree, *texts: str) -> Tree:
    return {"domains": list(texts), "on_match": leads_to}


def if_also(text: str) -> Tree:
    """Only a request with also: 1 gets this answer."""
    return {"matcher": listed(when("1", answer(text), "also"))}


TREES: list[tuple[Tree, list[str]]] = [
    (
        custom(
            "IPMatcher",
            range_matchers=[
                ranges(answer("wide"), "10.0.0.0/8", "::/0"),
                ranges(answer("narrow"), "10.1.0.0/16"),
                ranges(if_also("nested"), "10.1.2.0/24"),
                ranges(answer("second"), "10.1.0.0/16", "192.168.0.0/24"),
            ],
        ),
        [
            "10.0.0.1",
            "10.1.9.9",
            "10.1.2.3",
            "192.168.0.9",
            "192.168.1.1",
            "fe80::1",
            "",
            "x",
            "10.1.2.3:80",
        ],
    ),
    (
        custom(
            "IPMatcher",
            range_matchers=[
                ranges(answer("wide"), "10.0.0.0/8", exclusive=True),
                ranges(answer("widest"), "0.0.0.0/0"),
                ranges(if_also("nested"), "10.1.0.0/16", exclusive=True),
            ],
        )
        | {"on_no_match": answer("none")},
        ["10.0.0.1", "10.1.9.9", "11.1.1.1", "fe80::1", "no"],
    ),
    (
        custom(
            "ServerNameMatcher",
            domain_matchers=[
                domains(answer("all"), "*"),
                domains(answer("example"), "*.example.com", "example.org"),
                domains(if_also("nested"), "*.a.example.com", "b.example.com"),
            ],
        ),
        [
            "x.example.com",
            "example.com",
            ".example.com",
            "example.org",
            "EXAMPLE.org",
            "x.EXAMPLE.com",
            "z.a.example.com",
            "y.z.a.example.com",
            "a.example.com",
            "b.example.com",
            "c.b.example.com",
            "",
            "other",
        ],
    ),
    (
        custom("ServerNameMatcher", domain_matchers=[domains(answer("one"), "One.Example")])
        | {"on_no_match": answer("none")},
        ["one.example", "One.Example", "two"],
    ),
    (
        mapped("exact_match_map", {"a": answer("a"), "b": if_also("b"), "": answer("empty")})
        | {"on_no_match": answer("none")},
        ["a", "b", "", "c", "A"],
    ),
    (
        mapped("prefix_match_map", {"a": answer("a"), "ab": if_also("ab"), "abc": NEVER}),
        ["a", "ab", "abc", "abcd", "b", ""],
    ),
    (
        listed(
            when("a", NEVER),
            when("a", answer("second")),
            when("b", {"matcher": listed(when("1", answer("deep"), "also"))}),
            when("b", answer("after")),
            on_no_match={"matcher": listed(when("1", answer("fallback"), "also"))},
        ),
        ["a", "b", "c"],
    ),
]


def configuration() -> Tree:
    hosts = [
        {"name": f"v{i}", "domains": [f"v{i}"], "matcher": tree}
        for i, (tree, _) in enumerate(TREES)
    ]
    return {"name": "trees", "virtual_hosts": hosts}


def requests() -> list[tuple[str, list[tuple[str, str]]]]:
    found = []
    for i, (_, values) in enumerate(TREES):
        for value in [*values, None]:
            for extra in ([], [("also", "1")]):
                own = [] if value is None else [("x", value)]
                found.append((f"v{i}", [*own, *extra]))
    return found


def ours(table: RouteTable, host: str, headers: list[tuple[str, str]]) -> str | None:
    head = [(":method", "GET"), (":path", "/"), (":authority", host)]
    route = table.match([*head, *headers])
    return None if route is None else route.name


def bootstrap(config: Tree) -> Tree:
    manager = {
        "@type": MANAGER,
        "stat_prefix": "ingress",
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        "route_config": config,
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": "$port"}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener]}}


@pytest.mark.oracle
def test_the_same_trees(envoy: Callable[..., peers.Server]) -> None:
    table = RouteTable(configuration())
    server = envoy(bootstrap(configuration()))
    different = []
    with Connection(server.port) as client:
        for host, headers in requests():
            reply = client.request("/", host=host, headers=headers)
            theirs = reply.body.decode() if reply.status == 200 else None
            if theirs != ours(table, host, headers):
                different.append((host, headers, theirs, ours(table, host, headers)))
    assert not different, "\n".join(map(str, different))


REFUSED = [
    (custom("IPMatcher", range_matchers=[{"on_match": NEVER}]), "range_matchers[0].ranges"),
    (
        custom("ServerNameMatcher", domain_matchers=[domains(NEVER, "a", "a")]),
        "domain_matchers[0].domains[1]",
    ),
    (
        custom("ServerNameMatcher", domain_matchers=[domains(NEVER, "*a")]),
        "domain_matchers[0].domains[0]",
    ),
    (
        custom("ServerNameMatcher", domain_matchers=[domains(NEVER, "a.*")]),
        "domain_matchers[0].domains[0]",
    ),
    (
        custom("ServerNameMatcher", domain_matchers=[domains(NEVER, "*.")]),
        "domain_matchers[0].domains[0]",
    ),
    (
        custom("ServerNameMatcher", domain_matchers=[{"on_match": NEVER}]),
        "domain_matchers[0].domains",
    ),
    (custom("Matcher"), "custom_match"),
    (mapped("exact_match_map", {}), "exact_match_map"),
    (listed(), "matcher_list"),
    (listed(when("a", NEVER, keep_matching=True)), "on_match.keep_matching"),
]


@pytest.mark.parametrize(("tree", "path"), REFUSED)
def test_what_is_refused(tree: Tree, path: str) -> None:
    host = {"name": "v", "domains": ["*"], "matcher": tree}
    with pytest.raises(ConfigError) as caught:
        RouteTable({"name": "r", "virtual_hosts": [host]})
    assert path in caught.value.path


# --- the matcher that names a cluster (RT-23) ---------------------------------------------------

PLUGIN = f"{T}envoy.extensions.router.cluster_specifiers.matcher.v3"


def to_clusters(tree: Any, found: set[str]) -> Any:
    """The same tree, leading to clusters of the routes' names."""
    if isinstance(tree, list):
        return [to_clusters(each, found) for each in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.get("@type") != f"{T}envoy.config.route.v3.Route":
        return {key: to_clusters(each, found) for key, each in tree.items()}
    found.add(tree["name"])
    return {"@type": f"{PLUGIN}.ClusterAction", "cluster": tree["name"]}


def plugin(tree: Tree, found: set[str]) -> Tree:
    typed = {
        "@type": f"{PLUGIN}.MatcherClusterSpecifier",
        "cluster_matcher": to_clusters(tree, found),
    }
    return {"extension": {"name": f"p{len(found)}", "typed_config": typed}}


def cluster_configuration() -> tuple[Tree, set[str]]:
    """Every second route has its plugin inline."""
    hosts, plugins = [], []
    clusters: set[str] = set()
    for i, (tree, _) in enumerate(TREES):
        made = plugin(tree, clusters)
        if i % 2:
            action: Tree = {"inline_cluster_specifier_plugin": made}
        else:
            made["extension"]["name"] = f"plugin {i}"
            plugins.append(made)
            action = {"cluster_specifier_plugin": f"plugin {i}"}
        said = {"key": "x-cluster", "value": "%UPSTREAM_CLUSTER%"}
        hosts.append(
            {
                "name": f"v{i}",
                "domains": [f"v{i}"],
                "routes": [{"match": {"prefix": "/"}, "route": action}],
                "response_headers_to_add": [{"header": said}],
            }
        )
    config = {"name": "r", "virtual_hosts": hosts, "cluster_specifier_plugins": plugins}
    return config, clusters


@pytest.mark.oracle
def test_a_tree_that_names_the_cluster(envoy: Callable[..., peers.Server]) -> None:
    config, clusters = cluster_configuration()
    empty = [{"name": name, "type": "STATIC"} for name in sorted(clusters)]
    whole = bootstrap(config)
    whole["static_resources"]["clusters"] = empty
    table = RouteTable(config)
    server = envoy(whole)
    different = []
    with Connection(server.port) as client:
        for host, headers in requests():
            route = table.match(
                [(":method", "GET"), (":path", "/"), (":authority", host), *headers]
            )
            mine = "" if route is None else route.cluster
            reply = client.request("/", host=host, headers=headers)
            theirs = reply.header("x-cluster")
            if reply.status != 503 or (theirs or "").replace("-", "") != mine:
                different.append((host, headers, reply.status, theirs, mine))
    assert not different, "\n".join(map(str, different))


def test_a_cluster_needs_a_name() -> None:
    tree = listed(when("a", answer("")))
    for where in ("cluster_specifier_plugin", "inline_cluster_specifier_plugin"):
        made = plugin(tree, set())
        made["is_optional"] = True
        action = {where: made["extension"]["name"] if where.startswith("c") else made}
        host = {
            "name": "v",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": action}],
        }
        with pytest.raises(ConfigError) as caught:
            RouteTable({"virtual_hosts": [host], "cluster_specifier_plugins": [made]})
        assert caught.value.path.endswith("action.typed_config.cluster")


@pytest.mark.slow
@pytest.mark.oracle
def test_envoy_refuses_them_too() -> None:
    for tree, _ in REFUSED:
        host = {"name": "v", "domains": ["*"], "matcher": tree}
        accepted, _ = peers.envoy_accepts(bootstrap({"name": "r", "virtual_hosts": [host]}))
        assert not accepted, tree


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once, when the table is compiled."""
    kind = f"{T}envoy.extensions.matching.common_inputs.environment_variable.v3.Config"
    monkeypatch.setenv("MESHCORE_COLOUR", "blue")
    found = []
    for name in ("MESHCORE_COLOUR", "MESHCORE_NONE"):
        typed = {"name": "env", "typed_config": {"@type": kind, "name": name}}
        single = {"input": typed, "value_match": {"exact": "blue"}}
        tree = listed({"predicate": {"single_predicate": single}, "on_match": answer("blue")})
        host = {"name": "v", "domains": ["*"], "matcher": tree}
        found.append(RouteTable({"name": "t", "virtual_hosts": [host]}))
    monkeypatch.delenv("MESHCORE_COLOUR")
    asked = [(":authority", "h"), (":path", "/"), (":method", "GET")]
    assert [table.match(asked) is not None for table in found] == [True, False]


@pytest.mark.oracle
def test_inputs_that_envoy_has_elsewhere() -> None:
    """Addresses, names and metadata decide here too."""
    kind = f"{T}envoy.extensions.matching.common_inputs.network.v3.SourceIPInput"
    tree = {
        "matcher_tree": {
            "input": {"name": "ip", "typed_config": {"@type": kind}},
            "exact_match_map": {"map": {"1.2.3.4": answer("it")}},
        }
    }
    config = {"name": "t", "virtual_hosts": [{"name": "v", "domains": ["*"], "matcher": tree}]}
    asked = [(":authority", "h"), (":path", "/"), (":method", "GET")]
    table = RouteTable(config)
    found = table.match(asked, context={"downstream_remote_address": "1.2.3.4:5"})
    assert found is not None
    assert found.name == "it"
    accepted, why = peers.envoy_accepts(bootstrap(config))
    assert not accepted  # difference: tree-inputs
    assert "can only match on request headers" in why
