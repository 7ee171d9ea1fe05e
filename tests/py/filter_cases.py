"""Filters and the requests that show what they do: what test_envoy_diff_filters.py compares.

A case is a listener of its own, whose stats are below ``http.<name>.``; its routes are those of its
virtual host, by default everything to the upstream.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

HTTP = "type.googleapis.com/envoy.extensions.filters.http."
Tree = dict[str, Any]


@dataclass
class Case:
    name: str
    filters: list[Tree]
    requests: list[Request]
    routes: list[Tree] = field(default_factory=lambda: [to_upstream()])
    host: Tree = field(default_factory=dict)
    table: Tree = field(default_factory=dict)
    manager: Tree = field(default_factory=dict)
    stats: tuple[str, ...] = ()  # further prefixes of stats to compare
    runtime: Tree = field(default_factory=dict)


@dataclass
class Request:
    """One request; the upstream's answer is said in headers of the request (`reply`)."""

    line: str = "GET /"
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None
    status: int = 200
    reply: list[tuple[str, str]] = field(default_factory=list)
    reply_body: str = "hello"
    trailers: list[tuple[str, str]] = field(default_factory=list)
    reply_trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: int = 0  # a status before the answer's


def ask(line: str = "GET /", body: bytes | None = None, /, **headers: str) -> Request:
    """A request with headers, whose names have `_` for `-`."""
    return Request(line, [(n.replace("_", "-"), v) for n, v in headers.items()], body)


def answered(
    request: Request, *reply: tuple[str, str], status: int = 200, body: str = "hello"
) -> Request:
    """The request, answered by the upstream like this."""
    return replace(request, status=status, reply=list(reply), reply_body=body)


def http_filter(name: str, kind: str, **config: Any) -> Tree:
    return {"name": name, "typed_config": {"@type": HTTP + kind, **config}}


def per_route(name: str, kind: str, **config: Any) -> Tree:
    return {"typed_per_filter_config": {name: {"@type": HTTP + kind, **config}}}


def to_upstream(prefix: str = "/", **more: Any) -> Tree:
    return {"match": {"prefix": prefix}, "route": {"cluster": "up"}, **more}


def flag(name: str, **config: Any) -> Tree:
    kind = "type.googleapis.com/envoy.config.route.v3.FilterConfig"
    return {"typed_per_filter_config": {name: {"@type": kind, **config}}}


def percent(numerator: int) -> Tree:
    return {"default_value": {"numerator": numerator, "denominator": "HUNDRED"}}


ALL = percent(100)
NONE = percent(0)


def csrf() -> list[Case]:
    kind = "csrf.v3.CsrfPolicy"
    origins = [{"suffix": ".friend"}, {"exact": "other:81"}]
    requests = [
        ask(line, **headers)
        for line in ("GET /", "POST /", "PUT /off", "DELETE /own", "PATCH /", "OPTIONS /")
        for headers in (
            {},
            {"origin": "http://localhost"},
            {"origin": "https://localhost/x"},
            {"origin": "http://localhost#x"},
            {"origin": "http://evil#@localhost"},
            {"origin": "http://localhost:81"},
            {"origin": "http://LOCALHOST"},
            {"origin": "null"},
            {"origin": "null", "referer": "http://localhost/a"},
            {"origin": "junk", "referer": "http://evil/a"},
            {"origin": "junk", "referer": "http://localhost/a"},
            {"origin": "", "referer": "http://localhost/a"},
            {"referer": "http://localhost/a?b"},
            {"origin": "http://a.friend"},
            {"origin": "http://other:81"},
            {"origin": "file:///x"},
        )
    ]
    routes = [
        to_upstream("/off", **flag("csrf", disabled=True)),
        to_upstream("/own", **per_route("csrf", kind, filter_enabled=ALL)),
        to_upstream(),
    ]
    return [
        Case(
            "csrf",
            [http_filter("csrf", kind, filter_enabled=ALL, additional_origins=origins)],
            requests,
            routes,
        ),
        Case(
            "csrf_shadow",
            [http_filter("csrf", kind, filter_enabled=NONE, shadow_enabled=ALL)],
            requests,
            routes,
        ),
    ]


def buffer() -> list[Case]:
    kind = "buffer.v3.Buffer"
    return [
        Case(
            "buffer",
            [http_filter("buffer", kind, max_request_bytes=10)],
            [
                ask(),
                ask("POST /", b"0123456789"),
                ask("POST /", b"0123456789a"),
                ask("POST /", b"abc", transfer_encoding="chunked"),
                ask("POST /off", b"0123456789a"),
                ask("POST /more", b"0123456789a"),
                ask("POST /more", b"a" * 21),
            ],
            [
                to_upstream(
                    "/off", **per_route("buffer", "buffer.v3.BufferPerRoute", disabled=True)
                ),
                to_upstream(
                    "/more",
                    **per_route(
                        "buffer", "buffer.v3.BufferPerRoute", buffer={"max_request_bytes": 20}
                    ),
                ),
                to_upstream(),
            ],
        )
    ]


def fault() -> list[Case]:
    kind = "fault.v3.HTTPFault"
    always = {"numerator": 100, "denominator": "HUNDRED"}
    grpc = {"content_type": "application/grpc"}
    asked = [
        ask(),
        ask(x_envoy_fault_abort_request="418"),
        ask(x_envoy_fault_abort_request="600"),
        ask(x_envoy_fault_abort_request="abc"),
        ask(x_envoy_fault_abort_request="418", x_envoy_fault_abort_request_percentage="0"),
        ask(x_envoy_fault_abort_request="418", x_envoy_fault_abort_request_percentage="x"),
        ask(x_envoy_fault_abort_grpc_request="5"),
        ask("POST /", b"", x_envoy_fault_abort_grpc_request="5", **grpc),
        ask(x_envoy_fault_abort_request="418", x_envoy_fault_abort_grpc_request="5"),
        ask(x_envoy_fault_delay_request="20"),
        ask(x_envoy_fault_delay_request="0"),
    ]
    return [
        Case(
            "fault_abort",
            [http_filter("fault", kind, abort={"http_status": 503, "percentage": always})],
            [
                ask(),
                ask(x_envoy_downstream_service_cluster="front"),
                ask("POST /a/b", b"", **grpc),
                ask("GET /off"),
                ask("GET /own"),
            ],
            [
                to_upstream("/off", **flag("fault", disabled=True)),
                to_upstream(
                    "/own",
                    **per_route("fault", kind, abort={"http_status": 404, "percentage": always}),
                ),
                to_upstream(),
            ],
        ),
        Case(
            "fault_grpc",
            [http_filter("fault", kind, abort={"grpc_status": 7, "percentage": always})],
            [ask(), ask("POST /a/b", b"", **grpc)],
        ),
        Case(
            "fault_header",
            [
                http_filter(
                    "fault",
                    kind,
                    abort={"header_abort": {}, "percentage": always},
                    delay={"header_delay": {}, "percentage": always},
                )
            ],
            asked,
        ),
        Case(
            "fault_delay",
            [
                http_filter(
                    "fault",
                    kind,
                    abort={"http_status": 429, "percentage": always},
                    delay={"fixed_delay": "0.02s", "percentage": always},
                    headers=[{"name": "x-f", "present_match": True}],
                    downstream_nodes=["n"],
                    upstream_cluster="up",
                )
            ],
            [
                ask(),
                ask(x_f="1"),
                ask(x_f="1", x_envoy_downstream_service_node="n"),
                ask(x_f="1", x_envoy_downstream_service_node="m"),
            ],
        ),
        Case(
            "fault_notes",  # metadata in the space of the filter's name
            [
                http_filter(
                    "own name",
                    kind,
                    delay={"header_delay": {}, "percentage": always},
                    filter_metadata={"a": 1},
                ),
                show(
                    own="%DYNAMIC_METADATA(own name)%",
                    kind="%DYNAMIC_METADATA(envoy.filters.http.fault)%",
                ),
            ],
            [ask(), ask(x_envoy_fault_delay_request="1")],
        ),
        Case(
            "fault_slow",
            [
                http_filter(
                    "fault",
                    kind,
                    response_rate_limit={"fixed_limit": {"limit_kbps": 1}, "percentage": always},
                )
            ],
            [answered(ask(), body="x" * 100), answered(ask(), status=204, body="")],
        ),
    ]


def header_mutation() -> list[Case]:
    kind = "header_mutation.v3.HeaderMutation"

    def add(name: str, value: str, action: str = "APPEND_IF_EXISTS_OR_ADD", **more: Any) -> Tree:
        header = {"header": {"key": name, "value": value}, "append_action": action, **more}
        return {"append": header}

    def parameter(name: str, value: str, action: str) -> Tree:
        return {"append": {"record": {"key": name, "value": value}, "action": action}}

    request = [
        add("x-a", "1"),
        add("x-a", "%REQ(x-a)%+"),
        add("x-b", "new", "OVERWRITE_IF_EXISTS"),
        add("x-c", "new", "ADD_IF_ABSENT"),
        add("x-d", "new", "OVERWRITE_IF_EXISTS_OR_ADD"),
        {"remove": "x-gone"},
        {"remove": ""},
        {"remove_on_match": {"key_matcher": {"prefix": "x-secret"}}},
        add("x-empty", "%REQ(x-none)%"),
        add("x-kept", "%REQ(x-none)%", keep_empty_value=True),
        add("x-host", "%REQ(:authority)% %ROUTE_NAME% %PROTOCOL%"),
    ]
    query = [
        {"remove": "gone"},
        parameter("b", "2 3", "APPEND_IF_EXISTS_OR_ADD"),
        parameter("a", "no", "ADD_IF_ABSENT"),
        parameter("c", "%REQ(x-a)%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        parameter("d", "no", "OVERWRITE_IF_EXISTS"),
    ]
    response = [add("x-seen", "%REQ(x-a)%-%RESPONSE_CODE%"), {"remove": "x-up"}]

    def level(name: str) -> Tree:
        mutations = {
            "request_mutations": [
                add("x-at", name, "OVERWRITE_IF_EXISTS_OR_ADD"),
                add("x-all", name),
            ],
            "response_mutations": [add("x-back", name)],
        }
        return per_route("hm", "header_mutation.v3.HeaderMutationPerRoute", mutations=mutations)

    def leveled(wins: bool) -> Case:
        return Case(
            f"hm_levels_{wins}".lower(),
            [
                http_filter(
                    "hm",
                    kind,
                    most_specific_header_mutations_wins=wins,
                    mutations={"request_mutations": [add("x-all", "filter")]},
                )
            ],
            [ask(), ask("GET /plain")],
            [to_upstream("/plain"), to_upstream("/", **level("route"))],
            level("host"),
            level("table"),
        )

    return [
        Case(
            "hm",
            [
                http_filter(
                    "hm",
                    kind,
                    mutations={
                        "request_mutations": request,
                        "response_mutations": response,
                        "query_parameter_mutations": query,
                    },
                )
            ],
            [
                ask(),
                ask(x_a="0", x_b="0", x_c="0", x_d="0", x_gone="1", x_secret="s", x_secret_2="t"),
                ask("GET /p?gone=1&b=1&a=0&gone&z"),
                ask("GET /p?b=%20x+y&a=%26&d=1&d=2&=e"),
                answered(ask(), ("x-up", "1"), status=404),
            ],
        ),
        leveled(False),
        leveled(True),
    ]


def show_back(**formats: str) -> Tree:
    """A filter before the one that is looked at: tells the client what there is at the response."""
    mutations = [
        {"append": {"header": {"key": "x-show-" + name, "value": text}, "keep_empty_value": True}}
        for name, text in formats.items()
    ]
    kind = "header_mutation.v3.HeaderMutation"
    return http_filter("show_back", kind, mutations={"response_mutations": mutations})


def show(**formats: str) -> Tree:
    """A filter behind the one that is looked at: tells the upstream what it left behind."""
    mutations = [
        {"append": {"header": {"key": "x-show-" + name, "value": text}, "keep_empty_value": True}}
        for name, text in formats.items()
    ]
    return http_filter(
        "show",
        "header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )


def cors() -> list[Case]:
    origins = [{"exact": "http://a"}, {"suffix": ".b"}, {"safe_regex": {"regex": "http://c[0-9]+"}}]
    policy: Tree = {
        "allow_origin_string_match": origins,
        "allow_methods": "GET, PUT",
        "allow_headers": "x-a",
        "expose_headers": "x-e",
        "max_age": "60",
        "allow_credentials": True,
    }
    star = {
        "allow_origin_string_match": [{"exact": "*"}],
        "allow_methods": "*",
        "allow_headers": "*",
    }
    preflight = {
        "access_control_request_method": "PUT",
        "access_control_request_headers": "x-q, x-r",
        "access_control_request_private_network": "true",
    }
    requests = [
        ask(f"{method} {path}", **headers)
        for path in ("/", "/host", "/strict", "/star", "/shadow", "/direct", "/merged")
        for method, headers in (
            ("GET", {}),
            ("GET", {"origin": "http://a"}),
            ("GET", {"origin": "http://x.b"}),
            ("GET", {"origin": "http://evil"}),
            ("OPTIONS", {"origin": "http://c7"}),
            ("OPTIONS", {"origin": "http://a", **preflight}),
            ("OPTIONS", {"origin": "http://evil", **preflight}),
            ("OPTIONS", {"origin": "http://a", "access_control_request_method": "GET"}),
        )
    ]
    kind = "cors.v3.CorsPolicy"
    routes = [
        to_upstream(
            "/strict", **per_route("cors", kind, **policy, forward_not_matching_preflights=False)
        ),
        to_upstream("/star", **per_route("cors", kind, **star, allow_private_network_access=True)),
        to_upstream(
            "/shadow", **per_route("cors", kind, **policy, filter_enabled=NONE, shadow_enabled=ALL)
        ),
        to_upstream("/merged", **per_route("cors", kind, max_age="7", allow_credentials=False)),
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200}},
        to_upstream(),
    ]
    chain = [http_filter("cors", "cors.v3.Cors")]
    return [
        Case("cors", chain, requests, routes, per_route("cors", kind, **policy)),
        Case("cors_none", chain, requests[:8], [to_upstream()]),
    ]


def rbac() -> list[Case]:
    kind = "rbac.v3.RBAC"
    anyone = [{"any": True}]

    def policy(*permissions: Tree, principals: list[Tree] = anyone) -> Tree:
        return {"permissions": list(permissions), "principals": principals}

    def header(name: str, **match: Any) -> Tree:
        return {"header": {"name": name, **match}}

    policies = {
        "z path": policy({"url_path": {"path": {"prefix": "/z"}}}),
        "a method": policy(header(":method", string_match={"exact": "PUT"})),
        "b and": policy(
            {
                "and_rules": {
                    "rules": [
                        header("x-a", present_match=True),
                        {"not_rule": header("x-b", present_match=True)},
                    ]
                }
            }
        ),
        "c repeated": policy(header("x-r", string_match={"exact": "1"})),
        "d inverted": policy(header("x-i", string_match={"exact": "1"}, invert_match=True)),
        "e principal": policy(
            {"url_path": {"path": {"safe_regex": {"regex": "/e[0-9]"}}}},
            principals=[
                {"remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}},
                {
                    "and_ids": {
                        "ids": [
                            header("x-u", string_match={"prefix": "u"}),
                            {"not_id": {"authenticated": {}}},
                        ]
                    }
                },
            ],
        ),
        "f direct": policy(
            {"url_path": {"path": {"exact": "/f"}}},
            principals=[{"direct_remote_ip": {"address_prefix": "127.0.0.1", "prefix_len": 32}}],
        ),
        "g sni": policy(
            {
                "and_rules": {
                    "rules": [
                        {"url_path": {"path": {"exact": "/g"}}},
                        {"requested_server_name": {"exact": ""}},
                    ]
                }
            }
        ),
        "h port": policy(
            {
                "and_rules": {
                    "rules": [
                        {"url_path": {"path": {"exact": "/h"}}},
                        {"destination_port_range": {"start": 1, "end": 65536}},
                        {"destination_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}},
                    ]
                }
            }
        ),
    }
    requests = [
        ask(),
        ask("GET /z?x"),
        ask("PUT /"),
        ask(x_a="1"),
        ask(x_a="1", x_b="1"),
        Request("GET /", [("x-r", "2"), ("x-r", "1")]),
        Request("GET /", [("x-r", "2,1")]),
        Request("GET /", [("x-i", "2"), ("x-i", "1")]),
        Request("GET /", [("x-i", "2"), ("x-i", "3")]),
        ask("GET /e1"),
        ask("GET /e1", x_forwarded_for="10.1.1.1"),
        ask("GET /e1", x_u="ux"),
        ask("GET /f"),
        ask("GET /g"),
        ask("GET /h"),
        ask("GET /off"),
        ask("GET /own"),
        ask("GET /none"),
    ]
    routes = [
        to_upstream("/off", **flag("rbac", disabled=True)),
        to_upstream(
            "/own",
            **per_route(
                "rbac",
                "rbac.v3.RBACPerRoute",
                rbac={"rules": {"action": "DENY", "policies": {"own": policy({"any": True})}}},
            ),
        ),
        to_upstream("/none", **per_route("rbac", "rbac.v3.RBACPerRoute")),
        to_upstream(),
    ]
    meta = "%DYNAMIC_METADATA(envoy.filters.http.rbac:{})%"
    seen = show(
        policy=meta.format("enforced_effective_policy_id"),
        result=meta.format("enforced_engine_result"),
        shadow=meta.format("s_shadow_effective_policy_id"),
        shadowed=meta.format("s_shadow_engine_result"),
        hint="%DYNAMIC_METADATA(envoy.common:access_log_hint)%",
    )

    def case(name: str, **config: Any) -> Case:
        return Case(name, [http_filter("rbac", kind, **config), seen], requests, routes)

    def rules(action: str) -> Tree:
        return {"action": action, "policies": policies}

    def leads_to(name: str, action: str) -> Tree:
        kind = "type.googleapis.com/envoy.config.rbac.v3.Action"
        typed = {"@type": kind, "name": name, "action": action}
        return {"action": {"name": "action", "typed_config": typed}}

    path = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
    tree = {
        "matcher_tree": {
            "input": {"name": "path", "typed_config": {"@type": path, "header_name": ":path"}},
            "exact_match_map": {
                "map": {
                    "/": leads_to("root rule", "ALLOW"),
                    "/f": leads_to("f rule", "DENY"),
                    "/g": leads_to("g rule", "LOG"),
                }
            },
        }
    }

    return [
        case("rbac_allow", rules=rules("ALLOW"), track_per_rule_stats=True),
        case("rbac_deny", rules=rules("DENY"), rules_stat_prefix="pre", track_per_rule_stats=True),
        case("rbac_log", rules=rules("LOG")),
        case(
            "rbac_shadow",
            shadow_rules=rules("DENY"),
            shadow_rules_stat_prefix="s_",
            track_per_rule_stats=True,
        ),
        case("rbac_matcher", matcher=tree, track_per_rule_stats=True),
        case(
            "rbac_matcher_shadow",
            shadow_matcher=tree,
            shadow_rules_stat_prefix="s_",
            track_per_rule_stats=True,
        ),
        case("rbac_none"),
        case("rbac_empty", rules={}),
        Case(  # has no path, so that it is no gRPC, whatever it says
            "rbac_connect",
            [http_filter("rbac", kind, rules={})],
            [
                ask("CONNECT localhost:80", content_type="application/grpc"),
                *(  # nor are two types one
                    Request("GET /", [("content-type", one), ("content-type", two)])
                    for one in ("application/grpc", "application/grpc+proto", "x")
                    for two in ("application/grpc", "x")
                ),
            ],
            [{"match": {"connect_matcher": {}}, "route": {"cluster": "up"}}],
            manager={"upgrade_configs": [{"upgrade_type": "CONNECT"}]},
        ),
    ]


def health_check() -> list[Case]:
    kind = "health_check.v3.HealthCheck"
    headers = [{"name": ":path", "string_match": {"exact": "/hc"}}]
    requests = [ask(), ask("GET /hc"), ask("POST /hc", b"abc"), ask("GET /hc?x")]

    def case(name: str, *more: Request, **config: Any) -> Case:
        return Case(name, [http_filter("hc", kind, headers=headers, **config)], [*requests, *more])

    return [
        case("hc_here", pass_through_mode=False),
        case("hc_through", pass_through_mode=True),
        case(
            "hc_cached",
            answered(ask("GET /hc"), ("x-envoy-degraded", ""), status=201),
            ask("GET /hc"),
            pass_through_mode=True,
            cache_time="60s",
        ),
        case(
            "hc_min", pass_through_mode=False, cluster_min_healthy_percentages={"up": {"value": 50}}
        ),
        case(
            "hc_none",
            pass_through_mode=False,
            cluster_min_healthy_percentages={"nowhere": {"value": 0}},
        ),
        case(
            "hc_empty",
            pass_through_mode=False,
            cluster_min_healthy_percentages={"empty": {"value": 1}},
        ),
        case(
            "hc_empty0",
            pass_through_mode=False,
            cluster_min_healthy_percentages={"empty": {"value": 0}},
        ),
    ]


def header_to_metadata() -> list[Case]:
    kind = "header_to_metadata.v3.Config"

    def to(key: str, **more: Any) -> Tree:
        return {"metadata_namespace": "m", "key": key, **more}

    rules = [
        {"header": "x-a", "on_header_present": to("a"), "on_header_missing": to("a", value="none")},
        {"header": "x-b", "on_header_present": {"key": "b", "value": "fixed"}, "remove": True},
        {
            "header": "x-b",
            "on_header_missing": to(
                "missing",
                value="v",
                regex_value_rewrite={"pattern": {"regex": "v"}, "substitution": "w"},
            ),
        },
        {"header": "x-n", "on_header_present": to("n", type="NUMBER")},
        {"header": "x-64", "on_header_present": to("e", encode="BASE64")},
        {"header": "x-v", "on_header_present": to("v", type="PROTOBUF_VALUE", encode="BASE64")},
        {
            "header": ":path",
            "on_header_present": to(
                "r",
                regex_value_rewrite={
                    "pattern": {"regex": "^/([a-z]+)/.*$"},
                    "substitution": "<\\1>",
                },
            ),
        },
        {
            "cookie": "c",
            "on_header_present": to("c"),
            "on_header_missing": to("c", value="no cookie"),
        },
    ]
    meta = "%DYNAMIC_METADATA(m:{})%"
    seen = show(
        **{key: meta.format(key) for key in "anevrc"},
        b="%DYNAMIC_METADATA(envoy.filters.http.header_to_metadata:b)%",
        all="%DYNAMIC_METADATA(m)%",
    )
    import struct as packing

    def base64_of(data: bytes) -> str:
        import base64

        return base64.b64encode(data).decode()

    number = base64_of(b"\x11" + packing.pack("<d", 1.5))
    nested = base64_of(b"\x2a\x09\x0a\x07\x0a\x01k\x12\x02\x20\x01")
    return [
        Case(
            "h2m",
            [http_filter("h2m", kind, request_rules=rules), seen],
            [
                ask(),
                ask("GET /abc/d", x_a="1", x_b="2", x_n="3", x_64="aGk="),
                ask(x_n=" 1e3 ", x_64="!!", cookie="d=1; c=two"),
                ask(x_n="3x", x_a="", cookie="c="),
                Request("GET /", [("x-a", "1"), ("x-a", "2")]),
                ask(x_v=number),
                ask(x_v=nested),
                ask(x_v="AAAA"),
                ask(x_a="y" * 8192),
                ask(x_a="y" * 8191),
                ask("GET /own", x_a="1"),
            ],
            [
                to_upstream(
                    "/own",
                    **per_route(
                        "h2m",
                        kind,
                        request_rules=[{"header": "x-a", "on_header_present": to("own")}],
                    ),
                ),
                to_upstream(),
            ],
        )
    ]


def set_metadata() -> list[Case]:
    kind = "set_metadata.v3.Config"

    def own(m: Tree, **more: Any) -> Tree:
        return per_route("set", kind, metadata=[{"metadata_namespace": "m", "value": m, **more}])

    first = {"metadata": [{"metadata_namespace": "m", "value": {"a": 1, "l": [1], "o": {"x": 1}}}]}
    second = {
        "metadata": [
            {"metadata_namespace": "m", "value": {"a": 2}},
            {
                "metadata_namespace": "m",
                "allow_overwrite": True,
                "value": {"b": "t", "l": [2], "o": {"y": True}},
            },
        ]
    }

    def typed(space: str, text: str, **more: Any) -> Tree:
        value = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text}
        return {"metadata_namespace": space, "typed_value": value, **more}

    # Typed ones are apart from the others; an entry without a value sets nothing.
    twice = [typed("m", "1"), typed("m", "2"), {"metadata_namespace": "n"}, typed("n", "1")]
    behind = [
        typed("m", "3", allow_overwrite=True),
        typed("n", "2"),
        {**typed("b", "3"), "value": {"a": 1}},
        typed("b", "4"),
        {"metadata_namespace": "n", "value": {"a": 1}},
        {"metadata_namespace": "m", "value": {"a": 1}},
        {"metadata_namespace": "m", "value": {}},
    ]
    return [
        Case(
            "set_metadata_typed",
            [
                http_filter("one", kind, metadata=twice),
                http_filter("two", kind, metadata=behind),
                http_filter("old", kind, metadata_namespace="old"),
                show(
                    m="%DYNAMIC_METADATA(m)%",
                    n="%DYNAMIC_METADATA(n)%",
                    b="%DYNAMIC_METADATA(b)%",
                    old="%DYNAMIC_METADATA(old)%",
                ),
            ],
            [ask()],
        ),
        Case(
            "set_metadata",
            [
                http_filter("one", kind, **first),
                http_filter("two", kind, **second),
                http_filter("old", kind, metadata_namespace="old", value={"k": "v"}),
                show(
                    m="%DYNAMIC_METADATA(m)%",
                    a="%DYNAMIC_METADATA(m:a)%",
                    old="%DYNAMIC_METADATA(old:k)%",
                ),
            ],
            [ask()],
        ),
        Case(
            "set_metadata_routes",
            [http_filter("set", kind, **first), show(m="%DYNAMIC_METADATA(m)%")],
            [ask(f"GET {path}") for path in ("/own", "/none", "/no", "/")],
            [
                to_upstream("/own", **own(m={"a": 2, "n": 1}, allow_overwrite=True)),
                to_upstream("/none", **per_route("set", kind)),
                to_upstream("/no", **own(m={"a": 3})),
                to_upstream(),
            ],
            host=own(m={"c": 1}, allow_overwrite=True),
            stats=("set_metadata.",),
        ),
    ]


def ip_tagging() -> list[Case]:
    kind = "ip_tagging.v3.IPTagging"

    def tag(name: str, prefix: str, bits: int) -> Tree:
        return {"ip_tag_name": name, "ip_list": [{"address_prefix": prefix, "prefix_len": bits}]}

    tags = [tag("ten", "10.0.0.0", 8), tag("one", "1.2.3.4", 32), tag("six", "2001:db8::", 32)]
    requests = [
        ask(x_forwarded_for="10.1.1.1"),
        ask(x_forwarded_for="1.2.3.4", x_envoy_ip_tags="was", x_tags="was"),
        ask(x_forwarded_for="2001:db8::1"),
        ask(x_forwarded_for="9.9.9.9", x_envoy_ip_tags="was", x_tags="was"),
        ask("GET /tagged", x_forwarded_for="10.1.1.1"),
    ]
    tagged = {
        "match": {
            "prefix": "/tagged",
            "headers": [{"name": "x-envoy-ip-tags", "string_match": {"exact": "ten"}}],
        },
        "direct_response": {"status": 299},
    }

    def case(name: str, **config: Any) -> Case:
        return Case(
            name,
            [http_filter("ip", kind, ip_tags=tags, **config)],
            requests,
            [tagged, to_upstream()],
        )

    return [
        case("ip", request_type="BOTH"),
        case("ip_external", request_type="EXTERNAL"),
        case("ip_internal", request_type="INTERNAL"),
        Case(  # a tag has the route looked up again, where the protocol is no longer known
            "ip_lost",
            [
                http_filter("ip", kind, ip_tags=tags),
                http_filter(
                    "hm",
                    "header_mutation.v3.HeaderMutation",
                    mutations={"request_mutations": [{"remove": "x-forwarded-proto"}]},
                ),
            ],
            requests,
        ),
        case("ip_sanitize", ip_tag_header={"header": "X-Tags"}),
        case("ip_append", ip_tag_header={"header": "x-tags", "action": "APPEND_IF_EXISTS_OR_ADD"}),
    ]


def grpc_stats() -> list[Case]:
    kind = "grpc_stats.v3.FilterConfig"
    frame = b"\0\0\0\0\3abc"
    grpc = {"content_type": "application/grpc"}
    answer = ("content-type", "application/grpc")
    requests = [
        ask(),
        answered(ask("POST /a.B/C", frame * 2, **grpc), answer, ("grpc-status", "0"), body=""),
        answered(
            ask("POST /a.B/D", frame, **grpc), answer, ("grpc-status", "7"), body=frame.decode()
        ),
        answered(ask("POST /other", frame, **grpc), answer, ("grpc-status", "0")),
        answered(ask("POST /a.B/C", b"", **grpc), ("content-type", "text/html"), status=404),
    ]

    def case(name: str, **config: Any) -> Case:
        return Case(name, [http_filter("g", kind, **config)], requests, stats=("cluster.up.grpc",))

    allowed = {"services": [{"name": "a.B", "method_names": ["C"]}]}
    state = "envoy.filters.http.grpc_stats"
    return [
        case("grpc_stats", individual_method_stats_allowlist=allowed),
        Case(
            "grpc_state",
            [
                show_back(
                    typed=f"%FILTER_STATE({state})%",
                    plain=f"%FILTER_STATE({state}:PLAIN)%",
                    field=f"[%FILTER_STATE({state}:FIELD:request_message_count)%]",
                    cel=f"[%CEL(filter_state['{state}'])%]",
                ),
                http_filter("g", kind, emit_filter_state=True),
            ],
            requests,
            stats=("cluster.up.grpc",),
        ),
    ]


def local_ratelimit() -> list[Case]:
    kind = "local_ratelimit.v3.LocalRateLimit"
    on = {"filter_enabled": ALL, "filter_enforced": ALL}

    def bucket(tokens: int, **more: Any) -> Tree:
        return {"token_bucket": {"max_tokens": tokens, "fill_interval": "300s", **more}}

    def entry(key: str, value: str = "") -> Tree:
        return {"key": key, **({"value": value} if value else {})}

    def limited(
        name: str, requests: list[Request], routes: list[Tree] | None = None, /, **config: Any
    ) -> Case:
        chain = [http_filter("rl", kind, stat_prefix=name, **config)]
        return Case(name, chain, requests, routes or [to_upstream()], stats=(f"{name}.http_local",))

    shared = {"local_cluster_rate_limit": {}, "enable_x_ratelimit_headers": "DRAFT_VERSION_03"}
    by_user = {
        "actions": [
            {
                "request_headers": {
                    "header_name": "x-u",
                    "descriptor_key": "u",
                    "skip_if_absent": False,
                }
            }
        ]
    }
    generic = {"actions": [{"generic_key": {"descriptor_value": "g"}}]}
    slow = {"header_name": "x-slow", "descriptor_key": "slow"}
    slow_bucket = {"token_bucket": {"max_tokens": 0, "fill_interval": "3000s"}}
    users = [ask(x_u=user) for user in "aabbbbcccc"]
    routes = [
        to_upstream("/off", **flag("rl", disabled=True)),
        to_upstream("/own", **per_route("rl", kind, stat_prefix="rl_route", **on, **bucket(1))),
        to_upstream(),
    ]
    descriptors = [
        {"entries": [entry("u", "a")], **bucket(1)},
        {"entries": [entry("u")], **bucket(2)},
    ]

    def to_limited(prefix: str, *limits: Tree) -> Tree:
        return {
            "match": {"prefix": prefix},
            "route": {"cluster": "up", "rate_limits": list(limits)},
        }

    return [
        limited(
            "rl",
            [ask()] * 4 + [ask("GET /off"), ask("GET /own"), ask("GET /own")],
            routes,
            **on,
            **bucket(2),
        ),
        limited("rl_off", [ask()] * 3, **bucket(1)),
        limited(
            "rl_shadow",
            [ask()] * 3,
            filter_enabled=ALL,
            request_headers_to_add_when_not_enforced=[
                {"header": {"key": "x-over", "value": "%REQ(:path)%"}}
            ],
            **bucket(1),
        ),
        limited(
            "rl_headers",
            [ask()] * 3 + [ask("POST /a/b", b"", content_type="application/grpc")],
            enable_x_ratelimit_headers="DRAFT_VERSION_03",
            status={"code": "ServiceUnavailable"},
            response_headers_to_add=[{"header": {"key": "x-limited", "value": "%RESPONSE_CODE%"}}],
            rate_limited_as_resource_exhausted=True,
            **on,
            **bucket(2),
        ),
        limited("rl_200", [ask()] * 2, status={"code": "OK"}, **on, **bucket(1)),
        limited(
            "rl_users", users, rate_limits=[by_user], descriptors=descriptors, **on, **bucket(100)
        ),
        limited(
            "rl_default",
            [*users, ask(), ask()],
            rate_limits=[by_user],
            descriptors=descriptors[:1],
            always_consume_default_token_bucket=False,
            **on,
            **bucket(3),
        ),
        *(
            limited(
                f"rl_zero_{name}",
                [ask(x_u="a"), ask()],
                rate_limits=[by_user],
                descriptors=[{"entries": [entry("u", "a")], **bucket(its)}],
                enable_x_ratelimit_headers="DRAFT_VERSION_03",
                **on,
                **bucket(everyones),
            )
            for name, its, everyones in (("its", 0, 3), ("everyones", 3, 0), ("both", 0, 0))
        ),
        limited("rl_shared", [ask()] * 3, **shared, **on, **bucket(7)),
        limited(
            "rl_shared_users",
            users,
            rate_limits=[{**by_user, "hits_addend": {"number": 2}}],
            descriptors=[{"entries": [entry("u")], **bucket(15)}],
            **shared,
            **on,
            **bucket(100),
        ),
        *(
            limited(
                f"rl_shadow_{name}",
                [*users, ask(x_u="a", x_slow="y"), ask(x_slow="y"), ask()],
                rate_limits=[by_user, {"actions": [{"request_headers": slow}]}],
                descriptors=[
                    {"entries": [entry("u", "a")], "shadow_mode": True, **bucket(1)},
                    {"entries": [entry("u")], "shadow_mode": name != "one", **bucket(2)},
                    {"entries": [entry("slow", "y")], "shadow_mode": True, **slow_bucket},
                ],
                enable_x_ratelimit_headers="DRAFT_VERSION_03",
                request_headers_to_add_when_not_enforced=[
                    {"header": {"key": "x-over", "value": "y"}}
                ],
                filter_enabled=ALL,
                filter_enforced=NONE if name == "not_enforced" else ALL,
                **bucket(everyones),
            )
            for name, everyones in (("one", 100), ("all", 6), ("not_enforced", 100))
        ),
        *(
            limited(
                f"rl_{option}_{default}",
                [*users, ask(x_u="a", x_slow="y"), ask(x_u="z", x_slow="z"), ask()],
                rate_limits=[
                    {**by_user, "x_ratelimit_option": option},
                    {
                        "actions": [{"request_headers": slow}],
                        "hits_addend": {"number": 2, "is_negative_hits": True},
                    },
                ],
                descriptors=[
                    *descriptors,
                    {"entries": [entry("slow", "y")], **slow_bucket},
                    {"entries": [entry("slow", "z")], **bucket(7)},
                ],
                enable_x_ratelimit_headers=default,
                **on,
                **bucket(8),
            )
            for option, default in (
                ("UNSPECIFIED", "DRAFT_VERSION_03"),
                ("OFF", "DRAFT_VERSION_03"),
                ("DRAFT_VERSION_03", "OFF"),
            )
        ),
        *(
            limited(
                f"rl_back_{tokens}_{at}",
                [
                    *(ask(x_slow="z"), ask(x_back="z"), ask(x_back="z"), ask(x_back="z")),
                    *(ask(x_slow="z"), ask(x_slow="z"), ask(x_slow="z"), ask(x_back="z")),
                    *(ask(x_slow="z"), ask(x_slow="z"), ask(x_number="3")),
                    *(ask(x_slow="z"), ask(x_number="0"), ask(x_number="x"), ask(x_slow="z")),
                ],
                rate_limits=[
                    {"actions": [{"request_headers": slow}], "hits_addend": {"number": 3}},
                    {
                        "actions": [{"request_headers": {**slow, "header_name": "x-back"}}],
                        "hits_addend": {"number": 2, "is_negative_hits": True},
                    },
                    {
                        "actions": [
                            {
                                "header_value_match": {
                                    "descriptor_key": "slow",
                                    "descriptor_value": "z",
                                    "headers": [{"name": "x-number"}],
                                }
                            }
                        ],
                        "hits_addend": {"format": "%REQ(x-number)%", "is_negative_hits": at == "z"},
                    },
                ],
                descriptors=[{"entries": [entry("slow", at)], **bucket(tokens)}],
                enable_x_ratelimit_headers="DRAFT_VERSION_03",
                **on,
                **bucket(100),
            )
            for tokens in (0, 7)
            for at in ("z", "")
        ),
        limited(
            "rl_back_route",
            [ask(x_number=number) for number in ("5", "3", "x", "-1", "0", "2")],
            [
                to_limited(
                    "/",
                    {**generic, "hits_addend": {"format": "%REQ(x-number)%"}},
                )
            ],
            descriptors=[{"entries": [entry("generic_key", "g")], **bucket(7)}],
            enable_x_ratelimit_headers="DRAFT_VERSION_03",
            **on,
            **bucket(100),
        ),
        limited("rl_no_bucket", users, rate_limits=[by_user], descriptors=descriptors, **on),
        limited(
            "rl_routes",
            [
                ask(path)
                for path in ("GET /g", "GET /g", "GET /u", "GET /d", "GET /d", "GET /s", "GET /s")
            ],
            [
                to_limited("/g", generic),
                to_limited("/d", {**generic, "disable_key": "k"}),
                to_limited("/s", {**generic, "stage": 1}),
                to_upstream(),
            ],
            descriptors=[{"entries": [entry("generic_key", "g")], **bucket(1)}],
            **on,
        ),
    ]


LIBRARIES = "type.googleapis.com/envoy.extensions.compression."


def library(direction: str, coding: str = "gzip", message: str = "Gzip", **config: Any) -> Tree:
    kind = f"{LIBRARIES}{coding}.{direction}.v3.{message}"
    return {f"{direction}_library": {"name": "lib", "typed_config": {"@type": kind, **config}}}


def compressor() -> list[Case]:
    kind = "compressor.v3.Compressor"
    text = "compress me, compress me again, and again, and once more " * 4
    accepts = (
        None, "gzip", "gzip;q=0", "br, gzip;q=0.5", "*", "identity", "identity;q=1, gzip;q=0.1",
        "deflate", "", "gzip;q=x", "GZIP", "gzip, *;q=0", "br;q=1, *;q=0.5",
    )  # fmt: skip

    def answer(
        accept: str | None, *headers: tuple[str, str], path: str = "/", **more: Any
    ) -> Request:
        asked = {} if accept is None else {"accept_encoding": accept}
        return answered(ask(f"GET {path}", **asked), *headers, body=more.pop("body", text), **more)

    plain = [answer(accept) for accept in accepts]
    answers = [
        answer("gzip", *headers, **more)
        for headers, more in (
            ([("content-type", "text/html")], {}),
            ([("content-type", "text/html; charset=utf-8")], {}),
            ([("content-type", "Application/JSON")], {}),
            ([("content-type", "image/png")], {}),
            ([], {"body": "short"}),
            ([], {"body": ""}),
            ([], {"status": 404}),
            ([], {"status": 206}),
            ([("etag", '"strong"')], {}),
            ([("etag", 'W/"weak"')], {}),
            ([("cache-control", "no-transform")], {}),
            ([("cache-control", "max-age=1, No-Transform")], {}),
            ([("content-encoding", "br")], {}),
            ([("vary", "origin")], {}),
            ([("vary", "")], {}),
            ([("vary", "accept-encoding")], {}),
            ([("vary", "Origin, Accept-Encoding")], {}),
            ([("transfer-encoding", "chunked")], {}),
        )
    ]
    routes = [
        to_upstream("/off", **per_route("c", "compressor.v3.CompressorPerRoute", disabled=True)),
        to_upstream(
            "/on",
            **per_route(
                "c",
                "compressor.v3.CompressorPerRoute",
                overrides={"response_direction_config": {"remove_accept_encoding_header": True}},
            ),
        ),
        {
            "match": {"prefix": "/direct"},
            "direct_response": {"status": 200, "body": {"inline_string": text}},
        },
        to_upstream(
            "/br",
            **per_route(
                "c",
                "compressor.v3.CompressorPerRoute",
                overrides=library("compressor", "brotli", "Brotli"),
            ),
        ),
        to_upstream(),
    ]
    both = [answer(accept, path="/br") for accept in ("gzip", "br", "*", "gzip, br;q=0.5")]
    placed = [answer("gzip", path=path) for path in ("/off", "/on", "/direct", "/")]

    def case(name: str, requests: list[Request], **config: Any) -> Case:
        return Case(
            name, [http_filter("c", kind, **library("compressor"), **config)], requests, routes
        )

    off = {"enabled": {"default_value": False, "runtime_key": "nothing"}}
    tells = {
        "status_header_enabled": True,
        "disable_on_etag_header": True,
        "uncompressible_response_codes": [206],
    }
    weak: dict[str, Any] = {"weaken_etag_on_compress": True}
    tags = ('"a"', 'W/"a"', 'w/"a"', '""', "W/", "x", "", " ", "W", '"a", "b"')
    etags = [answer("gzip", ("etag", tag)) for tag in tags]
    etags += [answer("gzip", ("etag", '"a"'), ("etag", '"b"')), answer("br", ("etag", '"a"'))]
    return [
        case("gz_etag", etags, response_direction_config={}),
        case("gz_weak", etags, response_direction_config=weak),
        case(
            "gz_weak_not",
            etags[:3],
            response_direction_config={**weak, **tells, "uncompressible_response_codes": []},
        ),
        case("gz_old", [*plain, *answers, *placed]),
        case("gz", [*plain, *answers, *placed, *both], response_direction_config={}),
        case("gz_off", placed, response_direction_config={"common_config": off}),
        case(
            "gz_tells",
            [*plain[:5], *answers],
            response_direction_config={
                **tells,
                "common_config": {"min_content_length": 50, "content_type": ["text/html"]},
            },
        ),
        case(
            "gz_hides", plain[:4], response_direction_config={"remove_accept_encoding_header": True}
        ),
        case(
            "gz_request",
            [
                ask("POST /br", text.encode()),
                ask("POST /", text.encode()),
                ask("POST /", b"short"),
                ask("POST /", text.encode(), content_encoding="br"),
                ask(),
            ],
            request_direction_config={"common_config": {}},
            response_direction_config={},
        ),
        Case(
            "gz_two",
            [
                http_filter("c", kind, **library("compressor"), response_direction_config={}),
                http_filter(
                    "b",
                    kind,
                    **library("compressor", "brotli", "Brotli"),
                    response_direction_config={},
                ),
            ],
            [
                answer(accept)
                for accept in ("gzip, br", "br, gzip", "br", "gzip", "*", "gzip;q=0.5, br;q=0.6")
            ],
        ),
        Case(
            "gz_first",
            [
                http_filter("c", kind, **library("compressor"), response_direction_config={}),
                http_filter(
                    "b",
                    kind,
                    **library("compressor", "brotli", "Brotli"),
                    response_direction_config={},
                    choose_first=True,
                ),
            ],
            [answer(accept) for accept in ("gzip, br", "gzip", "gzip;q=1, br;q=0.6")],
        ),
        Case(  # of an upgrade, only the 101 begins another protocol
            "gz_upgrade",
            [http_filter("c", kind, **library("compressor"), response_direction_config={})],
            [
                ask(f"GET {path}", accept_encoding="gzip", connection="upgrade", upgrade="w")
                for path in ("/direct", "/")
            ],
            routes,
            manager={"upgrade_configs": [{"upgrade_type": "w"}]},
        ),
    ]


def decompressor() -> list[Case]:
    import gzip

    kind = "decompressor.v3.Decompressor"
    packed = gzip.compress(b"hello " * 50, mtime=0)

    def answer(*headers: tuple[str, str], body: bytes = packed, **asked: str) -> Request:
        request = answered(ask(**asked), *headers, body=body.decode("latin-1"))
        return request

    gz = ("content-encoding", "gzip")
    requests = [
        answer(gz),
        answer(gz, accept_encoding="br, gzip;q=0.1, x"),
        answer(("content-encoding", "gzip, br")),
        answer(("content-encoding", "br, gzip")),
        answer(gz, ("cache-control", "no-transform")),
        answer(gz, body=b"this is no gzip at all"),
        answer(gz, body=packed[:-9]),
        answer(gz, body=packed[:-6] + b"broken"),
        answer(gz, body=packed + packed + b"behind it"),
        answer(("content-encoding", "gzip,"), ("transfer-encoding", "chunked")),
        answer(body=b"plain"),
        ask("POST /", packed, content_encoding="gzip"),
        ask("POST /", packed, content_encoding="br"),
        ask("POST /", gzip.compress(b"0" * 50_000)[:-1], content_encoding="gzip"),
        ask("POST /", b"plain"),
        ask("POST /", packed, content_encoding="GZIP", transfer_encoding="chunked"),
        ask("POST /", gzip.compress(b"0" * 5_000), content_encoding="gzip"),
    ]

    def case(name: str, **config: Any) -> Case:
        return Case(name, [http_filter("d", kind, **library("decompressor"), **config)], requests)

    off = {"common_config": {"enabled": {"default_value": False, "runtime_key": "nothing"}}}
    brotli = library("decompressor", "brotli", "Brotli")
    brotli["decompressor_library"]["name"] = "other"
    return [
        case("gunzip"),
        Case(
            "unbr",
            [http_filter("d", kind, **brotli)],
            requests,
        ),
        Case(  # each tells the bytes that it saw
            "gunzip_twice",
            [http_filter(name, kind, **library("decompressor")) for name in ("d", "e")],
            [
                answer(("content-encoding", "gzip, gzip"), body=gzip.compress(packed, mtime=0)),
                answer(("content-encoding", "gzip, gzip")),
            ],
        ),
        case("gunzip_quiet", request_direction_config={"advertise_accept_encoding": False}),
        case("gunzip_half", request_direction_config=off),
        case("gunzip_none", response_direction_config=off),
        case(
            "gunzip_all",
            response_direction_config={"common_config": {"ignore_no_transform_header": True}},
        ),
    ]


def bandwidth_limit() -> list[Case]:
    kind = "bandwidth_limit.v3.BandwidthLimit"

    def case(name: str, **config: Any) -> Case:
        chain = [http_filter("bw", kind, stat_prefix=name, limit_kbps=1000, **config)]
        requests = [
            ask("POST /", b"x" * 20),
            answered(ask(), body="y" * 30),
            answered(ask(), status=204, body=""),
        ]
        return Case(name, chain, requests, stats=(f"{name}.http_bandwidth",))

    off = {"default_value": False, "runtime_key": "nothing"}
    return [
        case("bw_both", enable_mode="REQUEST_AND_RESPONSE"),
        case("bw_request", enable_mode="REQUEST"),
        case("bw_response", enable_mode="RESPONSE"),
        case("bw_none"),
        case("bw_off", enable_mode="RESPONSE", runtime_enabled=off),
        Case(
            "bw_no_limit",  # lets no byte pass
            [http_filter("bw", kind, stat_prefix="bw_no_limit", enable_mode="REQUEST")],
            [ask()],
            stats=("bw_no_limit.http_bandwidth",),
        ),
    ]


def admission_control() -> list[Case]:
    kind = "admission_control.v3.AdmissionControl"
    grpc = ("content-type", "application/grpc")
    called = ask("POST /a/b", b"", content_type="application/grpc")
    requests = [
        ask(),
        answered(ask(), status=431),
        answered(ask(), status=500),
        answered(called, grpc, ("grpc-status", "0")),
        answered(called, grpc, ("grpc-status", "13")),
        answered(called, grpc, ("grpc-status", "5")),
    ]
    never = {"max_rejection_probability": {"default_value": {"value": 0}, "runtime_key": "nothing"}}
    ranges = {
        "http_criteria": {"http_success_status": [{"start": 431, "end": 501}]},
        "grpc_criteria": {"grpc_success_status": [13]},
    }
    return [
        Case("admission", [http_filter("ac", kind, success_criteria={}, **never)], requests),
        Case(
            "admission_own", [http_filter("ac", kind, success_criteria=ranges, **never)], requests
        ),
    ]


def adaptive_concurrency() -> list[Case]:
    kind = "adaptive_concurrency.v3.AdaptiveConcurrency"
    controller = {
        "concurrency_limit_params": {"concurrency_update_interval": "60s"},
        "min_rtt_calc_params": {"interval": "300s", "request_count": 1000, "min_concurrency": 5},
    }
    return [
        Case(
            "adaptive",
            [http_filter("ad", kind, gradient_controller_config=controller)],
            [ask()] * 3,
        ),
        Case(
            "adaptive_often",
            [
                http_filter(
                    "ad",
                    kind,
                    gradient_controller_config={
                        **controller,
                        "concurrency_limit_params": {"concurrency_update_interval": "0.0005s"},
                    },
                )
            ],
            [ask()],
        ),
    ]


def stateful_session() -> list[Case]:
    kind = "stateful_session.v3.StatefulSession"

    def state(name: str, /, **config: Any) -> Tree:
        url = f"type.googleapis.com/envoy.extensions.http.stateful_session.{name}"
        return {
            "session_state": {
                "name": "envoy.http.stateful_session." + name.partition(".")[0],
                "typed_config": {"@type": url, **config},
            }
        }

    def cookie(**config: Any) -> Tree:
        return state("cookie.v3.CookieBasedSessionState", cookie={"name": "sid", **config})

    by_header = state("header.v3.HeaderBasedSessionState", name="X-Session")
    enveloped = state("envelope.v3.EnvelopeSessionState", header={"name": "X-Session"})
    gone = "MTAuMC4wLjk6ODA="
    paths = [ask(f"GET {path}") for path in ("/", "/a", "/a/b", "/ab", "/a?x", "/off")]
    off = to_upstream("/off", **per_route("ss", kind + "PerRoute", disabled=True))

    def case(name: str, requests: list[Request], **config: Any) -> Case:
        empty = {"match": {"prefix": "/empty"}, "route": {"cluster": "empty"}}
        routes = [off, empty, to_upstream()]
        return Case(name, [http_filter("ss", kind, **config)], requests, routes)

    stale = [ask(cookie=f"sid={gone}"), ask(cookie="sid=!!"), ask(cookie="sid=")]
    return [
        case("ss_cookie", paths + stale, **cookie(path="/a")),
        case(
            "ss_plain",
            paths + stale,
            **cookie(attributes=[{"name": "SameSite", "value": "Strict"}, {"name": "Secure"}]),
        ),
        case("ss_header", [*paths, ask(x_session=gone), ask(x_session="!!")], **by_header),
        *(
            case(
                f"ss_strict_{status}_{strict}",
                [
                    ask(),
                    ask(x_session=gone),
                    ask("GET /empty", x_session=gone),
                    ask("GET /empty"),
                    ask(x_session="!!"),
                    ask("GET /empty", x_session="!!"),
                ],
                strict=strict,
                status_on_strict_destination_not_found=status,
                stat_prefix="kept",
                **by_header,
            )
            for status in (0, 404, 200)
            for strict in (True, False)
        ),
        case(
            "ss_envelope",  # "ok", a tab, a letter above ASCII; and what no header may hold
            [
                ask(x_session=f"{gone};UV:{value}")
                for value in ("b2s=", "CQ==", "gA==", "AA==", "YQ0KYjogYw==", "fw==")
            ],
            stat_prefix="kept",
            **enveloped,
        ),
        case("ss_none", paths),
    ]


MAKERS = (
    csrf,
    buffer,
    fault,
    header_mutation,
    cors,
    rbac,
    health_check,
    header_to_metadata,
    set_metadata,
    ip_tagging,
    grpc_stats,
    local_ratelimit,
    compressor,
    decompressor,
    bandwidth_limit,
    admission_control,
    adaptive_concurrency,
    stateful_session,
)
CASES = {case.name: case for make in MAKERS for case in make()}
