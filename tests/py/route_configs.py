"""Route configurations at the edge of what is accepted, for comparison with a real Envoy."""

from __future__ import annotations

from typing import Any

Tree = dict[str, Any]


def host(**k: Any) -> Tree:
    return {"virtual_hosts": [{"name": "v", "domains": ["*"], **k}]}


def route(**k: Any) -> Tree:
    return host(routes=[{"match": {"prefix": "/"}, **k}])


def match(**k: Any) -> Tree:
    return host(routes=[{"match": k, "direct_response": {"status": 200}}])


def action(**k: Any) -> Tree:
    return route(route={"cluster": "echo", **k})


def addition(**k: Any) -> Tree:
    return route(request_headers_to_add=[k], direct_response={"status": 200})


def header(k: str, v: str = "x") -> Tree:
    return {"key": k, "value": v}


FINE = {"status": 200}
CONFIGS: list[Tree] = [
    {"virtual_hosts": [{"name": "v", "domains": ["a"]}, {"name": "v", "domains": ["b"]}]},
    {"virtual_hosts": [{"name": "v", "domains": [""]}]},
    {"virtual_hosts": [{"name": "v", "domains": ["a", "a"]}]},
    {"virtual_hosts": [{"name": "v", "domains": ["*a*"]}]},
    {"virtual_hosts": [{"name": "v", "domains": ["a*b"]}]},
    {"virtual_hosts": [{"name": "v", "domains": ["**"]}]},
    {"virtual_hosts": [{"name": "v", "domains": ["*.a", "a"]}, {"name": "w", "domains": ["*.A"]}]},
    {"virtual_hosts": []},
    {},
    host(routes=[{"match": {"prefix": "/"}}]),
    match(prefix=""),
    match(path=""),
    match(path="/a?b"),
    match(prefix="a"),
    match(path_separated_prefix="ab"),
    match(path_separated_prefix="/ab"),
    match(path_separated_prefix="/"),
    match(prefix="/", headers=[{"name": ""}]),
    match(prefix="/", headers=[{"name": "a", "string_match": {}}]),
    match(prefix="/", headers=[{"name": "a", "string_match": {"prefix": ""}}]),
    match(prefix="/", headers=[{"name": "a", "prefix_match": ""}]),
    match(
        prefix="/",
        headers=[
            {"name": "a", "string_match": {"safe_regex": {"regex": "a"}, "ignore_case": True}}
        ],
    ),
    match(prefix="/", headers=[{"name": "a b"}]),
    match(prefix="/", headers=[{"name": "a", "range_match": {"start": 5, "end": 2}}]),
    match(prefix="/", query_parameters=[{"name": ""}]),
    match(prefix="/", query_parameters=[{"name": "a", "string_match": {"contains": ""}}]),
    match(prefix="/", runtime_fraction={}),
    match(prefix="/", runtime_fraction={"default_value": {"numerator": 200}}),
    match(prefix="/", runtime_fraction={"runtime_key": "a"}),
    action(prefix_rewrite=""),
    action(prefix_rewrite="a"),
    action(prefix_rewrite="a\r\n"),
    action(host_rewrite_literal=""),
    action(timeout="0s"),
    action(timeout="-1s"),
    action(idle_timeout="0s"),
    action(weighted_clusters={"clusters": [{"name": "echo", "weight": 1}]}),
    route(route={"weighted_clusters": {"clusters": [{"name": "echo", "weight": 0}]}}),
    route(
        route={
            "weighted_clusters": {
                "clusters": [{"name": "echo", "weight": 0}, {"name": "echo", "weight": 4294967295}]
            }
        }
    ),
    route(
        route={
            "weighted_clusters": {
                "clusters": [{"name": "echo", "weight": 1}, {"name": "echo", "weight": 4294967295}]
            }
        }
    ),
    route(route={"weighted_clusters": {"clusters": [{"name": "echo"}]}}),
    route(
        route={
            "weighted_clusters": {"clusters": [{"name": "echo", "weight": 1}], "total_weight": 5}
        }
    ),
    route(route={"weighted_clusters": {"clusters": [{"weight": 1}]}}),
    route(
        route={
            "weighted_clusters": {
                "clusters": [{"name": "echo", "cluster_header": "a", "weight": 1}]
            }
        }
    ),
    route(
        route={
            "weighted_clusters": {"clusters": [{"name": "echo", "weight": 1}], "header_name": "x y"}
        }
    ),
    route(route={"cluster": ""}),
    route(route={"cluster_header": ""}),
    route(route={"cluster_header": "a b"}),
    action(retry_policy={"retry_on": "nonsense"}),
    action(retry_policy={"retry_back_off": {}}),
    action(retry_policy={"retry_back_off": {"base_interval": "0s"}}),
    action(retry_policy={"retry_back_off": {"base_interval": "0.0001s", "max_interval": "0.001s"}}),
    action(retry_policy={"retry_back_off": {"base_interval": "2s", "max_interval": "1s"}}),
    action(retry_policy={"retriable_status_codes": [70000]}),
    action(retry_policy={"num_retries": 0}),
    action(retry_policy={"host_selection_retry_max_attempts": -1}),
    action(upgrade_configs=[{"upgrade_type": "a"}, {"upgrade_type": "A"}]),
    action(upgrade_configs=[{}]),
    action(hash_policy=[{}]),
    action(hash_policy=[{"header": {"header_name": ""}}]),
    action(hash_policy=[{"cookie": {"name": ""}}]),
    action(hash_policy=[{"connection_properties": {}}]),
    action(hash_policy=[{"query_parameter": {"name": ""}}]),
    action(max_stream_duration={}),
    action(cluster_not_found_response_code="INTERNAL_SERVER_ERROR"),
    route(redirect={}),
    route(redirect={"port_redirect": 70000}),
    route(redirect={"path_redirect": "a\n"}),
    route(redirect={"host_redirect": "a b"}),
    route(redirect={"path_redirect": "", "prefix_rewrite": ""}),
    route(redirect={"scheme_redirect": ""}),
    route(direct_response={"status": 199}),
    route(direct_response={"status": 600}),
    route(direct_response={"status": 99}),
    route(direct_response={"status": 204, "body": {"inline_string": "x"}}),
    route(direct_response={"status": 200, "body": {"inline_string": "x" * 4096}}),
    route(direct_response={"status": 200, "body": {"inline_string": "x" * 4097}}),
    route(direct_response={"status": 200, "body": {}}),
    route(direct_response={"status": 200, "body": {"inline_string": ""}}),
    {
        **route(direct_response={"status": 200, "body": {"inline_string": "abc"}}),
        "max_direct_response_body_size_bytes": 2,
    },
    addition(header=header("a"), append=True, append_action="ADD_IF_ABSENT"),
    addition(header=header("a"), append=False, append_action="APPEND_IF_EXISTS_OR_ADD"),
    addition(header=header(":path")),
    addition(header=header("Host")),
    addition(header=header("")),
    addition(header=header("a b")),
    addition(),
    addition(header={"key": "a", "raw_value": "eA=="}),
    addition(header={"key": "a", "value": "x", "raw_value": "eA=="}),
    addition(header=header("a", "50%")),
    addition(header=header("a", "%%")),
    addition(header=header("a", "%X")),
    addition(header=header("a", "a\nb")),
    {**route(direct_response=FINE), "request_headers_to_remove": ["host"]},
    {**route(direct_response=FINE), "request_headers_to_remove": [":path"]},
    {**route(direct_response=FINE), "response_headers_to_remove": [""]},
    {**route(direct_response=FINE), "response_headers_to_remove": ["host"]},
    {
        **route(direct_response={"status": 200}),
        "response_headers_to_add": [{"header": header(":status")}],
    },
    {
        **route(direct_response={"status": 200}),
        "request_headers_to_add": [{"header": header("a")}] * 1001,
    },
    {**route(direct_response=FINE), "vhost_header": "a b"},
    {**route(direct_response=FINE), "vhost_header": "x-a"},
    {**route(direct_response=FINE), "internal_only_headers": ["a b"]},
    host(require_tls=7),
    host(routes=[], name=""),
    host(domains=[]),
]

V3 = "type.googleapis.com/envoy.extensions."
TM = "path.match.uri_template.v3.UriTemplateMatchConfig"
TR = "path.rewrite.uri_template.v3.UriTemplateRewriteConfig"


def ext(kind: str, **k: Any) -> Tree:
    return {"name": "x", "typed_config": {"@type": V3 + kind, **k}}


def rx(text: str) -> Tree:
    return {"regex": text}


def tmpl(text: str, **k: Any) -> Tree:
    match = {"path_match_policy": ext(TM, path_template=text)}
    return host(routes=[{"match": match, "route": {"cluster": "echo", **k}}])


CONFIGS += [
    match(safe_regex=rx("(")),
    match(safe_regex=rx("")),
    match(safe_regex=rx("a{1,30}b{1,30}")),
    match(safe_regex=rx("[a-z]{100}")),
    match(safe_regex=rx("[a-z]{94}")),
    match(safe_regex=rx("[a-z]{97}")),
    match(safe_regex={"google_re2": {"max_program_size": 5}, "regex": "[a-z]{20}"}),
    match(safe_regex={"google_re2": {"max_program_size": 500}, "regex": "[a-z]{200}"}),
    match(safe_regex={"google_re2": {}, "regex": "[a-z]{200}"}),
    match(prefix="/", headers=[{"name": "a", "string_match": {"safe_regex": rx("(?!a)")}}]),
    match(prefix="/", headers=[{"name": "a", "safe_regex_match": rx("\\C")}]),
    *[
        tmpl(t)
        for t in (
            "/",
            "/a",
            "a",
            "",
            "/*",
            "/**",
            "/**/*",
            "/{a}/{a}",
            "/{1}",
            "/{a",
            "/{a=}",
            "/{a=*/**}",
            "/a//b",
            "/***",
            "/a*",
            "/*a",
            "/{a}b",
            "/{a}b/c",
            "/{abcdefghijklmnopq}",
            "/{a}/{b}/{c}/{d}/{e}/{f}",
            "/a b",
            "/{a=/b}",
            "/{a=b/}",
            "/%zz",
            "/a?b",
            "/{a}{b}",
            "/**.m",
            "/a/",
            "/{a=b}",
            "/é",
        )
    ],
    tmpl("/{a}", path_rewrite_policy=ext(TR, path_template_rewrite="/x/{a}")),
    tmpl("/{a}", path_rewrite_policy=ext(TR, path_template_rewrite="/x/{b}")),
    tmpl("/{a}", path_rewrite_policy=ext(TR, path_template_rewrite="x")),
    tmpl("/{a}", path_rewrite_policy=ext(TR, path_template_rewrite="/x//y")),
    tmpl("/{a}", path_rewrite_policy=ext(TR, path_template_rewrite="/{a")),
    tmpl("/{a}", path_rewrite_policy=ext(TR, path_template_rewrite="/*")),
    tmpl("/{a}", path_rewrite_policy=ext(TR, path_template_rewrite="{a}")),
    tmpl("/{a}", prefix_rewrite="/x"),
    tmpl("/{a}", regex_rewrite={"pattern": rx("a"), "substitution": "b"}),
    tmpl("/{a}", path_rewrite="/x"),
    action(path_rewrite_policy=ext(TR, path_template_rewrite="/x")),
    host(
        routes=[
            {
                "match": {"path_match_policy": ext(TM, path_template="/{a}")},
                "redirect": {"prefix_rewrite": "/x"},
            }
        ]
    ),
    host(
        routes=[
            {
                "match": {"path_match_policy": ext(TM, path_template="/{a}")},
                "redirect": {"regex_rewrite": {"pattern": rx("a"), "substitution": "b"}},
            }
        ]
    ),
    match(prefix="/", cookies=[{"name": "a", "string_match": {"exact": "b"}}]),
    match(prefix="/", cookies=[{"name": "a"}]),
    match(prefix="/", cookies=[{"name": "", "string_match": {"exact": "b"}}]),
    match(
        prefix="/",
        dynamic_metadata=[
            {"filter": "f", "path": [{"key": "a"}], "value": {"present_match": True}}
        ],
    ),
    match(
        prefix="/", dynamic_metadata=[{"filter": "f", "path": [], "value": {"present_match": True}}]
    ),
    match(
        prefix="/",
        dynamic_metadata=[{"filter": "", "path": [{"key": "a"}], "value": {"present_match": True}}],
    ),
    match(prefix="/", dynamic_metadata=[{"filter": "f", "path": [{"key": "a"}]}]),
    match(prefix="/", dynamic_metadata=[{"filter": "f", "path": [{"key": "a"}], "value": {}}]),
    match(
        prefix="/",
        dynamic_metadata=[
            {
                "filter": "f",
                "path": [{"key": "a"}],
                "value": {"or_match": {"value_matchers": [{"present_match": True}]}},
            }
        ],
    ),
    match(prefix="/", filter_state=[{"key": "k", "string_match": {"exact": "b"}}]),
    match(prefix="/", filter_state=[{"key": "k"}]),
    match(prefix="/", filter_state=[{"key": "", "string_match": {"exact": "b"}}]),
    match(prefix="/", filter_state=[{"key": "k", "address_match": {"ranges": []}}]),
    match(
        prefix="/",
        filter_state=[
            {"key": "k", "address_match": {"ranges": [{"address_prefix": "x", "prefix_len": 8}]}}
        ],
    ),
    match(prefix="/", tls_context={}),
    action(prefix_rewrite="/a", regex_rewrite={"pattern": rx("a"), "substitution": "b"}),
    action(prefix_rewrite="/a", path_rewrite="/b"),
    action(regex_rewrite={"pattern": rx("a"), "substitution": "\\5"}),
    action(regex_rewrite={"pattern": rx("a"), "substitution": "b\n"}),
    action(regex_rewrite={"pattern": rx("("), "substitution": "b"}),
    action(regex_rewrite={}),
    action(host_rewrite="%X%"),
    action(path_rewrite="%REQ(a)%"),
    action(host_rewrite_path_regex={"pattern": rx("[a-z]{300}")}),
    action(request_mirror_policies=[{}]),
    action(request_mirror_policies=[{"cluster": "echo"}]),
    action(request_mirror_policies=[{"cluster_header": "a"}]),
    action(request_mirror_policies=[{"cluster": "echo", "cluster_header": "a"}]),
    action(request_mirror_policies=[{"cluster_header": "a b"}]),
    {**action(cluster="nope"), "validate_clusters": False},
    {
        **route(route={"weighted_clusters": {"clusters": [{"name": "nope", "weight": 1}]}}),
        "validate_clusters": False,
    },
    {**action(request_mirror_policies=[{"cluster": "nope"}]), "validate_clusters": False},
    action(hedge_policy={"initial_requests": 0}),
    action(hedge_policy={"initial_requests": 3}),
    action(internal_redirect_policy={"redirect_response_codes": [301, 302, 303, 307, 308, 309]}),
    action(internal_redirect_policy={"redirect_response_codes": [200]}),
    action(internal_redirect_policy={"response_headers_to_copy": [":path"]}),
    action(internal_redirect_policy={"response_headers_to_copy": ["host"]}),
    action(internal_redirect_policy={"response_headers_to_copy": ["a"]}),
    action(internal_redirect_policy={"response_headers_to_copy": ["a", "A"]}),
    action(
        internal_redirect_policy={
            "predicates": [
                ext("internal_redirect.previous_routes.v3.PreviousRoutesConfig"),
                ext(
                    "internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig",
                    allowed_route_names=["r"],
                ),
            ]
        }
    ),
    action(rate_limits=[{}]),
    action(rate_limits=[{"stage": 11, "actions": [{"remote_address": {}}]}]),
    action(rate_limits=[{"actions": [{}]}]),
    action(rate_limits=[{"actions": [{"generic_key": {}}]}]),
    action(rate_limits=[{"actions": [{"request_headers": {"header_name": "a"}}]}]),
    action(rate_limits=[{"actions": [{"header_value_match": {"descriptor_value": "a"}}]}]),
    action(rate_limits=[{"actions": [{"query_parameters": {"query_parameter_name": "a"}}]}]),
    action(rate_limits=[{"actions": [{"generic_key": {"descriptor_value": "%X%"}}]}]),
    action(rate_limits=[{"actions": [{"generic_key": {"descriptor_value": "50%"}}]}]),
    action(rate_limits=[{"actions": [{"masked_remote_address": {"v4_prefix_mask_len": 33}}]}]),
    action(
        rate_limits=[
            {
                "actions": [
                    {
                        "metadata": {
                            "descriptor_key": "a",
                            "metadata_key": {"key": "k", "path": [{"key": "a"}]},
                        }
                    }
                ]
            }
        ]
    ),
    action(rate_limits=[{"actions": [{"remote_address": {}}], "hits_addend": {"format": "abc"}}]),
    action(
        rate_limits=[
            {
                "actions": [{"remote_address": {}}],
                "hits_addend": {"format": "%BYTES_RECEIVED%", "number": 3},
            }
        ]
    ),
    action(
        rate_limits=[{"actions": [{"remote_address": {}}], "hits_addend": {"number": 10000000000}}]
    ),
    action(rate_limits=[{"actions": [{"remote_address": {}}], "hits_addend": {}}]),
    action(
        rate_limits=[
            {"actions": [{"remote_address": {}}], "hits_addend": {"format": "%BYTES_RECEIVED%x"}}
        ]
    ),
    action(rate_limits=[{"actions": [{"remote_address": {}}], "limit": {}}]),
    host(virtual_clusters=[{"name": "a", "headers": []}]),
    host(virtual_clusters=[{"name": "", "headers": [{"name": "a"}]}]),
    host(virtual_clusters=[{"name": "a", "headers": [{"name": "a"}]}]),
    action(hash_policy=[{"filter_state": {"key": ""}}]),
    action(hash_policy=[{"header": {"header_name": "a", "regex_rewrite": {"pattern": rx("(")}}}]),
    action(hash_policy=[{"cookie": {"name": "a", "attributes": [{"name": "", "value": ""}]}}]),
    action(upgrade_configs=[{"upgrade_type": "websocket", "connect_config": {}}]),
    action(upgrade_configs=[{"upgrade_type": "CONNECT", "connect_config": {}}]),
    action(upgrade_configs=[{"upgrade_type": "connect", "connect_config": {"allow_post": True}}]),
    action(upgrade_configs=[{"upgrade_type": "CONNECT-UDP", "connect_config": {}}]),
    action(max_grpc_timeout="0s"),
    action(early_data_policy=ext("early_data.v3.DefaultEarlyDataPolicy")),
    action(
        retry_policy={"retry_options_predicates": [ext("early_data.v3.DefaultEarlyDataPolicy")]}
    ),
    action(retry_policy={"rate_limited_retry_back_off": {}}),
    action(
        retry_policy={
            "rate_limited_retry_back_off": {"reset_headers": [{"name": "a"}], "max_interval": "0s"}
        }
    ),
    action(retry_policy={"retry_host_predicate": [{"name": "x"}]}),
    action(retry_policy={"retry_priority": {"name": "x"}}),
    route(route={"cluster_specifier_plugin": "x"}),
    {
        **route(route={"cluster_specifier_plugin": "x"}),
        "cluster_specifier_plugins": [
            {
                "extension": {
                    "name": "x",
                    "typed_config": {"@type": "type.googleapis.com/google.protobuf.Struct"},
                }
            }
        ],
    },
    {
        **route(route={"cluster_specifier_plugin": "x"}),
        "cluster_specifier_plugins": [
            {
                "extension": {
                    "name": "x",
                    "typed_config": {"@type": "type.googleapis.com/google.protobuf.Struct"},
                },
                "is_optional": True,
            }
        ],
    },
    route(direct_response={"status": 200, "body_format": {"text_format": "a %LOCAL_REPLY_BODY%"}}),
    route(direct_response={"status": 200, "body_format": {"text_format": "%X%"}}),
    {**action(), "per_request_buffer_limit_bytes": 3},
    host(
        routes=[
            {
                "match": {"prefix": "/"},
                "route": {"cluster": "echo"},
                "per_request_buffer_limit_bytes": 3,
                "request_body_buffer_limit": 4,
            }
        ]
    ),
    host(per_request_buffer_limit_bytes=3, request_body_buffer_limit=4),
    host(cors={"allow_origin_string_match": [{"exact": "a"}]}),
    action(cors={"filter_enabled": {}}),
    route(redirect={"path_rewrite": "/x"}),
    route(redirect={"regex_rewrite": {"pattern": rx("a")}}),
    route(redirect={"path_rewrite": "%X%"}),
    host(routes=[{"match": {"prefix": "/"}, "filter_action": {}}]),
    host(routes=[{"match": {"prefix": "/"}, "non_forwarding_action": {}}]),
    host(
        routes=[
            {"match": {"prefix": "/"}, "route": {"cluster": "echo"}, "decorator": {"operation": ""}}
        ]
    ),
    route(
        route={
            "weighted_clusters": {
                "clusters": [{"name": "echo", "weight": 1}],
                "use_hash_policy": True,
            }
        }
    ),
    route(
        route={
            "weighted_clusters": {
                "clusters": [{"name": "echo", "weight": 1}],
                "use_hash_policy": True,
                "header_name": "a",
            }
        }
    ),
    {**route(direct_response=FINE), "internal_only_headers": ["a"]},
]


def weighted(*weights: int) -> Tree:
    clusters = [{"name": "echo", "weight": weight} for weight in weights]
    return route(route={"weighted_clusters": {"clusters": clusters, "runtime_key_prefix": "w"}})


# With what a runtime says when they are loaded.
OF_RUNTIMES: list[tuple[Tree, Tree]] = [
    (weighted(1), {"w.echo": 0}),
    (weighted(1, 2), {"w.echo": 0}),
    (weighted(1, 2), {"w.echo": 4294967295}),
    (weighted(1), {"w.echo": 4294967296}),
    (weighted(0), {"w.echo": 5}),
    (weighted(4294967295, 1), {"w.echo": 5}),
    (weighted(1), {"w.other": 0}),
]
