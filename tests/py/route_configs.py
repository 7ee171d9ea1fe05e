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
