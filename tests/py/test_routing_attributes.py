"""What a Route says of itself, and what a context and a runtime change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshcore import ConfigError
from meshcore.routing import Fraction, ResetHeader, Route, RouteTable

V3 = "type.googleapis.com/envoy.extensions"
TEXT = f"""
request_mirror_policies: [{{cluster: everywhere}}]
virtual_hosts:
- name: shop
  domains: ["*"]
  metadata: {{filter_metadata: {{owner: {{team: a}}}}}}
  request_body_buffer_limit: 100
  cors: {{allow_origin_string_match: [{{suffix: .example}}], max_age: "10"}}
  virtual_clusters:
  - {{name: reads, headers: [{{name: ":method", string_match: {{exact: GET}}}}]}}
  rate_limits: [{{actions: [{{remote_address: {{}}}}]}}]
  routes:
  - name: full
    match: {{prefix: /full}}
    stat_prefix: full
    decorator: {{operation: op, propagate: false}}
    tracing: {{client_sampling: {{numerator: 5}}, operation: "%REQ(:path)%"}}
    metadata: {{filter_metadata: {{envoy.lb: {{stage: prod}}, mine: {{n: 1, l: [true, null]}}}}}}
    typed_per_filter_config:
      csrf:
        "@type": "{V3}.filters.http.csrf.v3.CsrfPolicy"
        filter_enabled: {{default_value: {{}}}}
    route:
      cluster: c
      metadata_match: {{filter_metadata: {{envoy.lb: {{version: "2"}}}}}}
      max_stream_duration: {{grpc_timeout_header_max: 2s, grpc_timeout_header_offset: 0.1s}}
      flush_timeout: 4s
      retry_policy:
        retry_on: 5xx
        retriable_headers: [{{name: x-retry, string_match: {{exact: "1"}}}}]
        rate_limited_retry_back_off:
          reset_headers: [{{name: Retry-After}}, {{name: x-reset, format: UNIX_TIMESTAMP}}]
          max_interval: 7s
        retry_host_predicate:
        - name: p
          typed_config: {{"@type": "{V3}.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}
      hedge_policy: {{hedge_on_per_try_timeout: true, additional_request_chance: {{numerator: 7}}}}
      request_mirror_policies:
      - cluster: copy
        runtime_fraction: {{default_value: {{numerator: 3}}, runtime_key: mirror}}
        trace_sampled: false
      - {{cluster_header: X-Copy}}
      internal_redirect_policy:
        max_internal_redirects: 2
        redirect_response_codes: [302, 307]
        response_headers_to_copy: [X-A]
        predicates:
        - name: s
          typed_config:
            "@type": "{V3}.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig"
      cors: {{allow_origin_string_match: [{{exact: a.io}}], allow_credentials: true}}
      rate_limits:
      - actions: [{{request_headers: {{header_name: x-user, descriptor_key: user}}}}]
        limit: {{dynamic_metadata: {{metadata_key: {{key: limits, path: [{{key: own}}]}}}}}}
  - name: plain
    match: {{prefix: /plain}}
    route: {{cluster: c}}
"""


@pytest.fixture(scope="module")
def table() -> RouteTable:
    return RouteTable(TEXT)


def ask(table: RouteTable, path: str, *more: Any, method: str = "GET", **rest: Any) -> Route:
    headers = [(":authority", "h"), (":path", path), (":method", method), *more]
    route = table.match(headers, **rest)
    assert route is not None
    return route


def test_policies_carry_the_names_of_the_api(table: RouteTable) -> None:
    route = ask(table, "/full")
    retry = route.retry_policy
    assert retry is not None
    assert retry.reset_headers == (
        ResetHeader("retry-after", "SECONDS"),
        ResetHeader("x-reset", "UNIX_TIMESTAMP"),
    )
    assert (retry.reset_max_interval_ms, retry.avoid_previous_hosts) == (7000, True)
    assert [matcher.name for matcher in retry.retriable_headers] == ["x-retry"]
    assert retry.retriable_headers[0].match({"x-retry": "1"})
    assert not retry.retriable_headers[0].match({"x-retry": "2"})
    assert route.hedge_policy == (1, Fraction(7, 100, ""), True)
    first, second = route.shadow_policies
    assert (first.cluster, first.runtime_key, first.trace_sampled) == ("copy", "mirror", False)
    assert first.default_value[:2] == (3, 100)
    assert (second.cluster, second.cluster_header) == ("", "x-copy")
    assert second.default_value[:2] == (100, 100)
    assert second.trace_sampled is None
    redirects = route.internal_redirect_policy
    assert redirects is not None
    assert redirects.max_internal_redirects == 2
    assert redirects.redirect_response_codes == (302, 307)
    assert redirects.response_headers_to_copy == ("x-a",)
    assert [predicate.name for predicate in redirects.predicates] == ["safe_cross_scheme"]
    cors = route.cors_policy
    assert cors is not None
    assert cors.allows("a.io")
    assert not cors.allows("b.io")
    assert (cors.allow_credentials, cors.forward_not_matching_preflights) == (True, None)


def test_the_rest_of_a_route(table: RouteTable) -> None:
    route = ask(table, "/full")
    assert route.metadata["envoy.lb"] == {"stage": "prod"}
    assert route.metadata.filter_metadata["mine"] == {"n": 1, "l": [True, None]}
    assert route.metadata_match_criteria == {"version": "2"}
    assert route.virtual_host.metadata == {"owner": {"team": "a"}}
    assert (route.grpc_timeout_header_max_ms, route.grpc_timeout_header_offset_ms) == (2000, 100)
    assert (route.max_stream_duration_ms, route.max_grpc_timeout_ms) == (None, None)
    assert (route.timeout_ms, route.using_new_timeouts) == (15_000, True)
    assert route.flush_timeout_ms == 4000
    assert route.request_body_buffer_limit == 100
    assert route.stat_prefix == "full"
    assert route.decorator == ("op", False)
    assert route.tracing is not None
    assert route.tracing.client_sampling[:2] == (5, 100)
    assert route.tracing.random_sampling[:2] == (100, 100)
    assert list(route.typed_per_filter_config) == ["csrf"]


def test_defaults_and_levels(table: RouteTable) -> None:
    route = ask(table, "/plain")
    assert (route.hedge_policy, route.internal_redirect_policy) == (None, None)
    assert [policy.cluster for policy in route.shadow_policies] == ["everywhere"]
    assert route.cors_policy is not None
    assert route.cors_policy.allows("x.example")
    assert (route.metadata, route.metadata_match_criteria, route.tracing) == ({}, None, None)
    bare = RouteTable(
        {
            "virtual_hosts": [
                {
                    "name": "v",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": "c", "retry_policy": {}}}
                    ],
                }
            ]
        }
    )
    route = ask(bare, "/")
    assert route.retry_policy is not None
    assert route.retry_policy.reset_max_interval_ms == 300_000
    assert (route.cors_policy, route.virtual_cluster, route.request_body_buffer_limit) == (
        None,
        None,
        None,
    )


def test_virtual_clusters(table: RouteTable) -> None:
    assert ask(table, "/plain").virtual_cluster == "reads"
    assert ask(table, "/plain", method="POST").virtual_cluster == "other"


def test_rate_limits(table: RouteTable) -> None:
    context = {
        "downstream_remote_address": "10.0.0.1:5",
        "dynamic_metadata": {"limits": {"own": {"requests_per_unit": 3, "unit": "MINUTE"}}},
    }
    headers = [(":path", "/full"), ("x-user", "ann")]
    route = ask(table, "/full", context=context)
    assert route.rate_limit_descriptors(headers) == [([("user", "ann")], (3, "MINUTE"), None)]
    both = route.rate_limit_descriptors(headers, vh_rate_limits="INCLUDE")
    assert [each.entries for each in both] == [
        [("user", "ann")],
        [("remote_address", "10.0.0.1")],
    ]
    plain = ask(table, "/plain")
    assert plain.rate_limit_descriptors(headers) == []
    assert [e.entries for e in plain.rate_limit_descriptors(headers, context=context)] == [
        [("remote_address", "10.0.0.1")]
    ]


def one(match: dict[str, Any], route: dict[str, Any] | None = None, **more: Any) -> RouteTable:
    entry = {"match": {"prefix": "/"} | match, "route": route or {"cluster": "c"}} | more
    return RouteTable({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [entry]}]})


REQUEST = [(":authority", "h"), (":path", "/p?q"), (":method", "GET")]


@pytest.mark.parametrize(
    ("match", "context", "found"),
    [
        ({"tls_context": {"presented": True}}, {}, False),
        ({"tls_context": {"presented": False}}, {}, True),
        (
            {"tls_context": {"presented": True}},
            {"downstream_tls": {"peer": {"subject": "CN=x"}}},
            True,
        ),
        ({"tls_context": {"presented": True}}, {"downstream_tls": {"version": "TLSv1.3"}}, False),
        (
            {
                "dynamic_metadata": [
                    {
                        "filter": "f",
                        "path": [{"key": "k"}],
                        "value": {"string_match": {"exact": "v"}},
                    }
                ]
            },
            {"dynamic_metadata": {"f": {"k": "v"}}},
            True,
        ),
        (
            {"filter_state": [{"key": "k", "string_match": {"prefix": "v"}}]},
            {"filter_state": {"k": "vw"}},
            True,
        ),
        ({"filter_state": [{"key": "k", "string_match": {"prefix": "v"}}]}, {}, False),
    ],
)
def test_a_context_is_matched(match: dict[str, Any], context: dict[str, Any], found: bool) -> None:
    table = one(match)
    assert (table.match(REQUEST, context=context) is not None) is found


def test_a_runtime_overrides() -> None:
    fraction = {"runtime_fraction": {"default_value": {"numerator": 50}, "runtime_key": "a.b"}}
    table = one(fraction)
    assert table.match(REQUEST, 49) is not None
    assert table.match(REQUEST, 50) is None
    assert table.match(REQUEST, 50, runtime={"a.b": 51}) is not None
    assert table.match(REQUEST, 50, None, {"a": {"b": 51}}) is not None
    million = {"a.b": {"numerator": 999_999, "denominator": "MILLION"}}
    assert table.match(REQUEST, 999_998, runtime=million) is not None
    assert table.match(REQUEST, 999_999, runtime=million) is None
    clusters = [{"name": "x", "weight": 1}, {"name": "y", "weight": 1}]
    weighted = one({}, {"weighted_clusters": {"clusters": clusters, "runtime_key_prefix": "w"}})
    assert [ask(weighted, "/", random_value=r).cluster for r in range(2)] == ["x", "y"]
    only_y = {"w.x": 0}
    assert {ask(weighted, "/", random_value=r, runtime=only_y).cluster for r in range(4)} == {"y"}
    assert weighted.match(REQUEST, runtime={"w.x": 0, "w.y": 0}) is None
    with pytest.raises(TypeError):
        table.match(REQUEST, runtime=[1])  # type: ignore[arg-type]


def test_formats_read_the_context_of_the_match() -> None:
    table = one(
        {},
        {"cluster": "c", "host_rewrite": "%REQ(x-tenant)%.io", "path_rewrite": "/v2%REQ(:path)%"},
        request_headers_to_add=[
            {"header": {"key": "x-client", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}
        ],
        response_headers_to_add=[{"header": {"key": "x-asked", "value": "%REQ(x-tenant)%"}}],
    )
    headers = [*REQUEST, ("x-tenant", "acme")]
    route = table.match(headers, context={"downstream_remote_address": "10.0.0.1:5"})
    assert route is not None
    final = dict(route.finalize_request(headers))
    assert (final["x-client"], final[":authority"]) == ("10.0.0.1", "acme.io")
    assert final["x-envoy-original-path"] == "/p?q"
    assert dict(route.finalize_response([(":status", "200")], headers))["x-asked"] == "acme"


def test_hash_of_the_filter_state() -> None:
    table = one({}, {"cluster": "c", "hash_policy": [{"filter_state": {"key": "k"}}]})
    plain = ask(table, "/")
    assert plain.hash_policy is not None
    assert plain.hash_policy.generate_hash(REQUEST) is None
    known = plain.hash_policy.generate_hash(REQUEST, context={"filter_state": {"k": "v"}})
    route = ask(table, "/", context={"filter_state": {"k": "v"}})
    assert route.hash_policy is not None
    assert route.hash_policy.generate_hash(REQUEST) == known is not None


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ({"cluster_specifier_plugin": "x"}, "cluster_specifier_plugin"),
        ({"cluster": "c", "request_mirror_policies": [{}]}, "request_mirror_policies[0]"),
        (
            {"cluster": "c", "prefix_rewrite": "/", "path_rewrite": "/"},
            "path_rewrite",
        ),
        (
            {"cluster": "c", "regex_rewrite": {"pattern": {"regex": "("}}},
            "regex_rewrite.pattern.regex",
        ),
        ({"cluster": "c", "path_rewrite": "%NOPE%"}, "path_rewrite"),
    ],
)
def test_what_is_refused(route: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        one({}, route)
    assert caught.value.path == f"virtual_hosts[0].routes[0].route.{path}"


def test_formats_know_what_was_matched() -> None:
    value = "%ROUTE_NAME% %UPSTREAM_CLUSTER% %METADATA(ROUTE:a:b)% %METADATA(VIRTUAL_HOST:c:d)%"
    route = {
        "name": "n",
        "match": {"prefix": "/"},
        "route": {"cluster": "c"},
        "metadata": {"filter_metadata": {"a": {"b": "q"}}},
        "request_headers_to_add": [{"header": {"key": "x", "value": value}}],
    }
    host = {
        "name": "v",
        "domains": ["*"],
        "routes": [route],
        "metadata": {"filter_metadata": {"c": {"d": "r"}}},
    }
    asked = [(":path", "/"), (":method", "GET")]
    found = RouteTable({"name": "t", "virtual_hosts": [host]}).match(asked)
    assert found is not None
    assert dict(found.finalize_request(asked))["x"] == "n c q r"
    assert dict(found.finalize_request(asked, context={"route_name": "z"}))["x"] == "z c q r"


def test_direct_responses_out_of_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table(body: dict[str, str]) -> RouteTable:
        entry = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": body}}
        host = {"name": "v", "domains": ["*"], "routes": [entry]}
        return RouteTable({"name": "t", "virtual_hosts": [host]})

    def body(**source: str) -> bytes:
        found = table(source).match([(":path", "/"), (":method", "GET")])
        assert found is not None
        assert found.direct_response is not None
        return found.direct_response.body

    file = tmp_path / "body"
    file.write_bytes(b"\xff\x00 octets")
    monkeypatch.setenv("A_BODY", "text")
    assert body(filename=str(file)) == b"\xff\x00 octets"
    assert body(environment_variable="A_BODY") == b"text"
    file.write_bytes(b"x" * 4097)
    for source in (
        {"filename": str(file)},
        {"filename": str(tmp_path / "none")},
        {"environment_variable": "NO_SUCH_BODY"},
    ):
        with pytest.raises(ConfigError) as caught:
            table(source)
        assert "direct_response.body" in caught.value.path


def test_a_direct_response_changes_no_request() -> None:
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200},
        "request_headers_to_add": [{"header": {"key": "x", "value": "1"}}],
        "response_headers_to_add": [{"header": {"key": "y", "value": "1"}}],
    }
    host = {"name": "v", "domains": ["*"], "routes": [route]}
    asked = [(":path", "/"), (":method", "GET")]
    found = RouteTable({"name": "t", "virtual_hosts": [host]}).match(asked)
    assert found is not None
    assert found.finalize_request(asked) == asked
    assert found.finalize_response([]) == [("y", "1")]


@pytest.mark.parametrize(
    "context",
    [
        {"downstream_remote_address": "10.0.0.1:5"},
        {"remote_address": ("10.0.0.1", 5)},
        {"source.address": ["10.0.0.1", 5]},
        {"source": {"address": "10.0.0.1"}},
        {"downstream_remote_address": {"socket_address": {"address": "10.0.0.1"}}},
    ],
)
def test_a_context_by_the_names_of_attributes(context: dict[str, Any]) -> None:
    table = one(
        {}, {"cluster": "c", "hash_policy": [{"connection_properties": {"source_ip": True}}]}
    )
    policy = ask(table, "/", context=context).hash_policy
    assert policy is not None
    assert policy.generate_hash(REQUEST) == policy.generate_hash(REQUEST, "10.0.0.1:9")


def test_a_context_by_the_names_of_messages() -> None:
    metadata = {"filter": "ns", "path": [{"key": "k"}], "value": {"string_match": {"exact": "v"}}}
    table = one({"dynamic_metadata": [metadata], "tls_context": {"presented": True}})
    for context in (
        {"metadata": {"filter_metadata": {"ns": {"k": "v"}}}, "connection": {"mtls": True}},
        {"filter_metadata": {"ns": {"k": "v"}}, "tls_context": {"presented": True}},
    ):
        assert table.match(REQUEST, context=context) is not None
        assert table.match(REQUEST, context={**context, "downstream_tls": None}) is not None
    with pytest.raises(ValueError, match=r"did you mean downstream_remote_address\?"):
        table.match(REQUEST, context={"downstream_remote_adress": "10.0.0.1"})


def test_upgrades_in_any_case_and_where_connect_ends() -> None:
    upgrades = [
        {"upgrade_type": "WebSocket", "enabled": False},
        {"upgrade_type": "CONNECT", "connect_config": {"allow_post": True}},
    ]
    route = ask(one({}, {"cluster": "c", "upgrade_configs": upgrades}), "/")
    assert route.upgrade_map == {"websocket": False, "connect": True}
    assert (route.upgrade_map["WEBSOCKET"], "Connect" in route.upgrade_map) == (False, True)
    assert route.connect_config == (True,)
    assert not route.using_new_timeouts


@pytest.mark.parametrize(
    ("host", "route", "limit"),
    [
        ({"request_body_buffer_limit": 1}, {"request_body_buffer_limit": 2}, 2),
        ({"request_body_buffer_limit": 1}, {"per_request_buffer_limit_bytes": 2}, 1),
        ({"request_body_buffer_limit": 0}, {"per_request_buffer_limit_bytes": 2}, 0),
        ({"per_request_buffer_limit_bytes": 1}, {"per_request_buffer_limit_bytes": 2}, 2),
        ({"per_request_buffer_limit_bytes": 1}, {"request_body_buffer_limit": 2}, 2),
        ({"per_request_buffer_limit_bytes": 1}, {}, 1),
    ],
)
def test_whose_buffer_limit_counts(host: dict[str, int], route: dict[str, int], limit: int) -> None:
    """RF-28: the deprecated field comes behind that of either level."""
    entry = {"match": {"prefix": "/"}, "route": {"cluster": "c"}, **route}
    table = RouteTable(
        {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [entry], **host}]}
    )
    found = table.match([(":path", "/"), (":authority", "h")])
    assert found is not None
    assert found.request_body_buffer_limit == limit
