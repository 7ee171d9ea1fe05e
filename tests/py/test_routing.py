"""RouteTable: what a program without a gateway sees of it."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from meshcore import ConfigError
from meshcore.config import message_class
from meshcore.routing import Route, RouteTable

TYPE = "envoy.config.route.v3.RouteConfiguration"

TEXT = """
name: shop
virtual_hosts:
- name: shop
  domains: [shop.example, "*.shop.example"]
  include_request_attempt_count: true
  retry_policy: {retry_on: "5xx,reset", num_retries: 3, retriable_status_codes: [409]}
  routes:
  - name: old
    match: {prefix: /old/}
    redirect: {prefix_rewrite: /new/, https_redirect: true, response_code: FOUND}
  - name: teapot
    match: {path: /teapot}
    direct_response: {status: 418, body: {inline_string: short and stout}}
  - name: canary
    match: {prefix: /cart, headers: [{name: x-canary, present_match: true}]}
    route: {cluster_header: x-canary}
  - name: cart
    match: {prefix: /cart}
    request_headers_to_add: [{header: {key: x-added, value: "100%%"}}]
    response_headers_to_remove: [server]
    route:
      cluster: cart
      prefix_rewrite: /basket
      timeout: 0.25s
      idle_timeout: 2s
      priority: HIGH
      cluster_not_found_response_code: NOT_FOUND
      upgrade_configs: [{upgrade_type: WebSocket}, {upgrade_type: other, enabled: false}]
      hash_policy:
      - {header: {header_name: x-user}, terminal: true}
      - {connection_properties: {source_ip: true}}
  - name: split
    match: {prefix: /}
    route:
      weighted_clusters:
        clusters: [{name: a, weight: 20}, {name: b, weight: 30}, {name: c, weight: 50}]
- {name: secure, domains: [secure.example], require_tls: ALL}
"""


def request(path: str, host: str = "shop.example", **headers: str) -> list[tuple[str, str]]:
    pseudo = [(":authority", host), (":path", path), (":method", "GET")]
    return pseudo + [(name.replace("_", "-"), value) for name, value in headers.items()]


def found(table: RouteTable, *args: Any, random: int = 0, **headers: str) -> Route:
    route = table.match(request(*args, **headers), random)
    assert route is not None
    return route


@pytest.fixture(scope="module")
def table() -> RouteTable:
    return RouteTable(TEXT)


def test_what_a_table_says_of_itself(table: RouteTable) -> None:
    assert table.name == "shop"
    assert table.clusters == ("cart", "a", "b", "c")


def test_routes_have_the_names_of_the_api(table: RouteTable) -> None:
    route = found(table, "/cart/7")
    assert (route.name, route.cluster, route.virtual_host.name) == ("cart", "cart", "shop")
    assert (route.timeout_ms, route.idle_timeout_ms, route.max_stream_duration_ms) == (
        250,
        2000,
        None,
    )
    assert (route.priority, route.cluster_not_found_response_code) == ("HIGH", 404)
    assert route.upgrade_map == {"websocket": True, "other": False}
    assert route.include_attempt_count_in_request
    assert not route.include_attempt_count_in_response
    assert route.retry_policy is not None
    assert route.retry_policy.retry_on == "5xx,reset"
    assert route.retry_policy.num_retries == 3
    assert route.retry_policy.retriable_status_codes == (409,)
    assert (route.retry_policy.base_interval_ms, route.retry_policy.max_interval_ms) == (25, 250)
    assert route.redirect(request("/cart")) is None
    assert route.direct_response is None
    assert route.response_code is None
    assert repr(route) == "<Route 'cart' of 'shop'>"
    split = found(table, "/")
    assert (split.timeout_ms, split.idle_timeout_ms, split.priority) == (15000, None, "DEFAULT")
    assert split.hash_policy is None


def test_no_route(table: RouteTable) -> None:
    assert table.match(request("/", "other.example")) is None
    assert table.match([(":method", "GET")]) is None
    assert RouteTable("{}").match(request("/")) is None


def test_clusters_by_weight_and_by_header(table: RouteTable) -> None:
    picks = [found(table, "/", random=r).cluster for r in (0, 19, 20, 149, 50, 99, 2**64 - 1)]
    assert picks == ["a", "a", "b", "b", "c", "c", "a"]
    route = found(table, "/cart", x_canary="dynamic")
    assert (route.cluster, route.cluster_header) == ("dynamic", "x-canary")


def test_redirects_and_direct_responses(table: RouteTable) -> None:
    asked = request("/old/x?y=1")
    route = found(table, "/old/x?y=1")
    assert route.redirect([*asked, (":scheme", "http")]) == "https://shop.example/new/x?y=1"
    assert route.response_code == 302
    answer = found(table, "/teapot").direct_response
    assert answer == (418, b"short and stout")
    secure = table.match([*request("/a", "secure.example"), ("x-forwarded-proto", "http")])
    assert secure is not None
    assert (secure.name, secure.cluster, secure.response_code) == ("", "", 301)
    assert secure.redirect(request("/a", "secure.example")) == "https://secure.example/a"
    assert secure.retry_policy is secure.hash_policy is secure.direct_response is None
    assert secure.upgrade_map == {}


def test_finalised_headers(table: RouteTable) -> None:
    route = found(table, "/cart/7?a")
    assert route.finalize_request(request("/cart/7?a", x_user="u")) == [
        *request("/basket/7?a", x_user="u"),
        ("x-added", "100%"),
        ("x-envoy-original-path", "/cart/7?a"),
    ]
    assert ("x-envoy-original-path", "/cart") not in route.finalize_request(
        request("/cart"), suppress_envoy_headers=True
    )
    assert route.finalize_response([(":status", "200"), ("Server", "x")]) == [(":status", "200")]


def test_text_bytes_and_mappings(table: RouteTable) -> None:
    asked = [(b":authority", b"shop.example"), (b":path", b"/cart"), (b":method", b"GET")]
    route = table.match(asked)
    assert route is not None
    assert route.finalize_request(asked)[0] == (b":authority", b"shop.example")
    assert table.match(dict(request("/cart"))) is not None
    odd = [*request("/cart"), ("x-odd", "\udcff"), ("x-text", "ü"), ("x-bytes", bytearray(b"\xff"))]
    assert odd[-3:-1] == [h for h in route.finalize_request(odd) if h[0] in ("x-odd", "x-text")]
    for wrong in (1, [(":path", 1)], [("a", "b", "c")], [(None, "b")]):
        with pytest.raises((TypeError, ValueError)):
            table.match(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty"):
        table.match([("", "x")])


def test_hashes(table: RouteTable) -> None:
    policy = found(table, "/cart").hash_policy
    assert policy is not None
    # XXH64 of "alpha" as rule HA-5's example takes it.
    by_user = policy.generate_hash(request("/cart", x_user="alpha"), remote_address="10.0.0.1:1")
    by_client = policy.generate_hash(request("/cart"), remote_address=("10.0.0.1", 1))
    assert by_user is not None
    assert by_client == policy.generate_hash(request("/cart"), remote_address="10.0.0.1")
    assert by_user != by_client
    assert policy.generate_hash(request("/cart")) is None
    assert policy.generate_hash(request("/"), remote_address="[::1]:5") == policy.generate_hash(
        request("/"), remote_address=("::1", 9)
    )
    for wrong in ("nonsense", "1.2.3.4:99999", ("::1", -1)):
        with pytest.raises(ValueError):
            policy.generate_hash(request("/"), remote_address=wrong)


def test_cookies_that_must_be_set() -> None:
    table = RouteTable("""
      virtual_hosts:
      - name: v
        domains: ["*"]
        routes:
        - match: {prefix: /}
          route: {cluster: c, hash_policy: [{cookie: {name: s, ttl: 60s, path: /}}]}
    """)
    policy = found(table, "/").hash_policy
    assert policy is not None
    cookies: list[str] = []
    made = policy.generate_hash(request("/"), remote_address="10.0.0.1:1", set_cookies=cookies)
    assert len(cookies) == 1
    value = cookies[0].split('"')[1]
    assert cookies == [f's="{value}"; Max-Age=60; Path=/; HttpOnly']
    again: list[str] = []
    kept = policy.generate_hash(request("/", cookie=f"a=b; s={value}"), set_cookies=again)
    assert (kept, again) == (made, [])


def test_forms_of_a_configuration(tmp_path: Path) -> None:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "c"}}
    tree = {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}
    message = message_class(TYPE)()
    host = message.virtual_hosts.add(name="v", domains=["*"])
    host.routes.add().match.prefix = "/"
    host.routes[0].route.cluster = "c"
    file = tmp_path / "routes.yaml"
    file.write_text(TEXT)
    for config in (tree, message, str(tree).replace("'", '"')):
        assert found(RouteTable(config), "/").cluster == "c"
    assert RouteTable(file).name == "shop"


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"virtual_hosts": [{"name": "v"}]}, "virtual_hosts[0].domains"),
        ({"virtual_hosts": [{"name": "v", "domains": ["a", "A"]}]}, "virtual_hosts[0].domains[1]"),
        ({"nonsense": 1}, "nonsense"),
        (
            {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{}]}]},
            "virtual_hosts[0].routes[0].match",
        ),
    ],
)
def test_errors_name_the_field(config: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RouteTable(config)
    assert caught.value.path == path
    assert caught.value.reason


def test_a_route_keeps_its_table_and_nothing_leaks() -> None:
    route = found(RouteTable(TEXT), "/cart")
    gc.collect()
    assert route.virtual_host.name == "shop"
    table = RouteTable(TEXT)
    before = sys.getrefcount(table)
    for _ in range(100):
        found(table, "/cart").finalize_request(request("/cart"))
    assert sys.getrefcount(table) == before


def test_objects_that_cannot_be_made_or_changed(table: RouteTable) -> None:
    with pytest.raises(TypeError):
        Route()
    with pytest.raises(RuntimeError):
        table.__init__(TEXT)  # type: ignore[misc]


def test_many_threads_share_a_table(table: RouteTable) -> None:
    wrong: list[str] = []

    def match() -> None:
        for i in range(2000):
            cluster = found(table, f"/cart/{i}").cluster if i % 2 else found(table, "/").cluster
            if cluster != ("cart" if i % 2 else "a"):
                wrong.append(cluster)

    threads = [threading.Thread(target=match) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", ["Host", "host", ":Authority"])
def test_host_is_the_authority(name: str) -> None:
    table = RouteTable(
        """
virtual_hosts:
- name: v
  domains: [a.example]
  routes: [{match: {prefix: /}, route: {cluster: c, host_rewrite_literal: b}}]
"""
    )
    for request in ([(name, "a.example"), (":path", "/")], {name: "a.example", ":path": "/"}):
        route = table.match(request)
        assert route is not None
        sent = dict(route.finalize_request(request))
        assert (sent[":authority"], sent["x-envoy-original-host"]) == ("b", "a.example")
    assert table.match([(name.encode(), b"a.example"), (b":path", b"/")]) is not None
    both = [(":path", "/"), ("host", "other.example"), (":authority", "a.example")]
    assert table.match(both) is not None
