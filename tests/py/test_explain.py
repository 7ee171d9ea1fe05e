"""meshcore explain: the way of a request, and why no other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bootstraps import cluster, listener, manager

from meshcore import xxh64
from meshcore.cli import main
from meshcore.config import load
from meshcore.explain import Request, explain, render

ROUTES = """
- {name: exact, match: {path: /exact}, route: {cluster: a}}
- name: picky
  match:
    prefix: /picky
    headers: [{name: x-env, string_match: {exact: prod}}, {name: x-any, present_match: true}]
    query_parameters: [{name: q, string_match: {exact: "1"}}]
  route: {cluster: a}
- name: half
  match: {prefix: /half, runtime_fraction: {default_value: {numerator: 50}}}
  route: {cluster: a}
- {match: {prefix: /old/}, redirect: {prefix_rewrite: /new/}}
- {match: {path: /hello}, direct_response: {status: 201, body: {inline_string: hi}}}
- match: {prefix: /split}
  route:
    weighted_clusters:
      clusters:
      - {name: a, weight: 20}
      - name: b
        weight: 80
        request_headers_to_add: [{header: {key: x-weighted, value: b}}]
- match: {prefix: /hash}
  route: {cluster: ring, hash_policy: [{header: {header_name: x-user}}]}
- match: {prefix: /api/}
  route: {cluster: b, prefix_rewrite: /, host_rewrite_literal: inner, timeout: 3s}
"""


def bootstrap(**fields: object) -> dict[str, object]:
    import yaml

    clusters = [cluster("a", 1001), cluster("b", 1002, 1003)]
    clusters.append(cluster("ring", *range(2000, 2010), lb_policy="RING_HASH"))
    hosts = [
        {"name": "shop", "domains": ["shop.example", "*.shop"], "routes": yaml.safe_load(ROUTES)},
        {"name": "tree", "domains": ["tree.example"], "matcher": tree("inside")},
        {
            "name": "safe",
            "domains": ["safe.example"],
            "require_tls": "ALL",
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "a"}}],
        },
    ]
    typed = manager({"name": "rc", "virtual_hosts": hosts}, **fields)  # type: ignore[arg-type]
    listeners = [
        listener(typed, port, name=name) for name, port in (("plain", 80), ("other", 8080))
    ]
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


def tree(name: str) -> dict[str, object]:
    """A route that is found by a header's value in a tree of matchers."""
    types = "type.googleapis.com/envoy"
    route = {
        "@type": f"{types}.config.route.v3.Route",
        "name": name,
        "match": {"prefix": "/"},
        "route": {"cluster": "a"},
    }
    return {
        "matcher_tree": {
            "input": {
                "name": "header",
                "typed_config": {
                    "@type": f"{types}.type.matcher.v3.HttpRequestHeaderMatchInput",
                    "header_name": "x-tree",
                },
            },
            "exact_match_map": {
                "map": {"yes": {"action": {"name": "route", "typed_config": route}}}
            },
        }
    }


def asked(text: str, *headers: tuple[str, str], random: int = 0, **manager: object):
    config = load(bootstrap(**manager))
    found = explain(config, Request.parse(text, list(headers), random))
    assert json.loads(json.dumps(found))
    assert render(found)
    return found


def matched(found) -> str | int:
    [route] = [r for r in found["routes"] if r["matched"]]
    return route["name"] or route["index"]


def test_a_request_that_is_forwarded() -> None:
    found = asked("GET http://shop.example/api/x?y=1", ("X-A", "b"), via="me")
    assert found["listener"]["name"] == "plain"
    assert found["listener"]["passed_over"] == [{"name": "other", "reason": "its port is not 80"}]
    assert found["virtual_host"] == {"name": "shop", "domain": "shop.example"}
    assert matched(found) == 7
    assert [r["index"] for r in found["routes"]] == list(range(8))
    assert found["cluster"]["name"] == "b"
    assert found["sent"]["target"] == "/x?y=1"
    sent = dict(found["sent"]["headers"])
    assert sent["host"] == "inner"
    assert sent["x-a"] == "b"
    assert sent["via"] == "me"
    assert sent["x-envoy-original-path"] == "/api/x?y=1"
    assert sent["x-envoy-expected-rq-timeout-ms"] == "3000"
    assert found["response"] is None
    assert "x-envoy-expected-rq-timeout-ms: 3000" in render(found)


def test_why_not() -> None:
    found = asked("GET http://h.shop/picky?q=2", ("x-env", "dev"))
    assert found["virtual_host"]["domain"] == "*.shop"
    why = {r["name"]: [(w["condition"], w["has"]) for w in r["why_not"]] for r in found["routes"]}
    assert why["exact"] == [("path", "/picky")]
    assert why["picky"] == [
        ("headers[0]", "dev"),
        ("headers[1]", None),
        ("query_parameters[0]", "2"),
    ]
    assert not any(r["matched"] for r in found["routes"])
    assert "404" in render(found)
    assert matched(asked("http://h.shop/picky?q=1", ("x-env", "prod"), ("x-any", ""))) == "picky"


def test_chance_is_a_number() -> None:
    assert matched(asked("http://h.shop/half", random=49)) == "half"
    found = asked("http://h.shop/half", random=50)
    assert found["routes"][2]["why_not"][0]["condition"] == "runtime_fraction"
    for random, name in ((19, "a"), (20, "b"), (99, "b")):
        found = asked("http://h.shop/split", random=random)
        assert found["cluster"]["name"] == name
        assert found["cluster"]["weights"] == {"a": 20, "b": 80}
        assert ("x-weighted" in dict(found["sent"]["headers"])) == (name == "b")


def test_answers_of_its_own() -> None:
    found = asked("http://h.shop/old/x")
    assert found["action"] == "redirect"
    assert found["sent"] is None
    assert dict(found["response"]["headers"])["location"] == "http://h.shop/new/x"
    found = asked("https://h.shop/old/x")
    assert dict(found["response"]["headers"])["location"] == "https://h.shop/new/x"
    assert asked("http://h.shop/hello")["response"]["status"] == 201
    found = asked("http://h.shop/%00", normalize_path=True)
    assert found["response"]["status"] == 400
    assert "routes" not in found


def test_tls_that_is_required() -> None:
    found = asked("http://safe.example/p")
    assert found["tls_redirect"]
    assert found["response"] == {"status": 301, "location": "https://safe.example/p"}
    assert matched(asked("https://safe.example/p")) == 0


def test_a_tree_of_matchers() -> None:
    found = asked("http://tree.example/p", ("x-tree", "yes"))
    assert [(r["index"], r["name"]) for r in found["routes"]] == [(None, "inside")]
    assert found["sent"]["target"] == "/p"
    assert "by the tree of matchers" in render(found)
    found = asked("http://tree.example/p")
    assert found["routes"] == []
    assert "404" in render(found)


def test_no_virtual_host() -> None:
    found = asked("http://nowhere/")
    assert found["virtual_host"] is None
    assert "none: no domain matches, of shop.example, *.shop, tree.example, safe.example" in render(
        found
    )


def test_the_path_that_routing_sees() -> None:
    found = asked("http://shop.example/x/../api//y", normalize_path=True, merge_slashes=True)
    assert dict(found["routed_as"])[":path"] == "/api/y"
    assert found["sent"]["target"] == "/y"


def test_the_host_that_the_hash_leads_to() -> None:
    from meshcore import RingHash, xxh64

    found = asked("http://h.shop/hash", ("x-user", "ada"))
    ring = RingHash([(f"127.0.0.1:{port}", 1) for port in range(2000, 2010)])
    assert found["host"]["hash"] == xxh64(b"ada")
    assert found["host"]["address"] == f"127.0.0.1:{2000 + ring.pick(xxh64(b'ada'))}"
    assert asked("http://h.shop/hash")["host"]["address"] is None


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    path = tmp_path / "envoy.json"
    path.write_text(json.dumps(bootstrap()))
    command = ["explain", "-c", str(path), "--request", "GET http://shop.example/api/"]
    assert main([*command, "-H", "x-a: 1", "--listener", "other"]) == 0
    out = capsys.readouterr().out
    assert "other at 127.0.0.1:8080: named by --listener" in out
    assert "x-a: 1" in out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cluster"]["name"] == "b"
    for bad in (["--listener", "none"], ["--request", "GET /p"], ["--request", "http://"]):
        assert main([*command, *bad]) == 1
        assert capsys.readouterr().err.startswith("meshcore: ")
    with pytest.raises(SystemExit):
        main([*command, "-H", "nothing"])


def test_hosts_of_a_subset_and_none() -> None:
    config = bootstrap()
    clusters = config["static_resources"]["clusters"]  # type: ignore[index]
    subset = cluster("sub", *range(3000, 3003))
    for n, one in enumerate(subset["load_assignment"]["endpoints"][0]["lb_endpoints"]):  # type: ignore[index]
        one["metadata"] = {"filter_metadata": {"envoy.lb": {"v": "old" if n == 0 else "new"}}}
    clusters.append({**subset, "lb_subset_config": {"subset_selectors": [{"keys": ["v"]}]}})
    [chain] = config["static_resources"]["listeners"][0]["filter_chains"]  # type: ignore[index]
    [shop, *_] = chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    shop["routes"] = [
        {
            "match": {"path": f"/{value}"},
            "route": {
                "cluster": "sub",
                "metadata_match": {"filter_metadata": {"envoy.lb": {"v": value}}},
            },
        }
        for value in ("old", "new", "none")
    ]

    def host(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        found = explain(load(config), Request.parse(f"GET http://shop.example/{path}", []))
        return found["host"], found

    assert host("old")[0]["address"] == "127.0.0.1:3000"
    assert host("new")[0]["candidates"] == ["127.0.0.1:3001", "127.0.0.1:3002"]
    nowhere, found = host("none")
    assert (nowhere["address"], nowhere["candidates"], found["sent"]) == (None, [], None)
    assert found["response"]["status"] == 503
    assert "none: no host of the cluster can be chosen" in render(found)


def test_the_client_is_the_one_that_the_manager_finds() -> None:
    policy = [{"connection_properties": {"source_ip": True}}]
    config = bootstrap(use_remote_address=True, xff_num_trusted_hops=1)
    [chain] = config["static_resources"]["listeners"][0]["filter_chains"]  # type: ignore[index]
    [shop, *_] = chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    shop["routes"] = [
        {"match": {"prefix": "/"}, "route": {"cluster": "ring", "hash_policy": policy}}
    ]
    request = Request.parse("GET http://shop.example/", [("x-forwarded-for", "9.9.9.9")])
    assert explain(load(config), request)["host"]["hash"] == xxh64(b"9.9.9.9")


def test_the_request_keeps_its_id():
    found = asked("GET http://shop.example/api/x")
    made = dict(found["routed_as"])["x-request-id"]
    assert dict(found["sent"]["headers"])["x-request-id"] == made
