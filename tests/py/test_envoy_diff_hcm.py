"""The connection manager beside real Envoy: one configuration and the same bytes to both, the answers
compared field by field, with what the upstream received, response flags and response code details."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import clients
import peers
import pytest
from test_envoy_diff import ROUTER, address, ask, cluster, request
from upstreams import Behaviour, Upstream, echo, raw, stall

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TYPE = "type.googleapis.com/"
TELL = (
    '{body_format: {text_format_source: {inline_string: "%LOCAL_REPLY_BODY% code=%RESPONSE_CODE% '
)
TELL += 'details=%RESPONSE_CODE_DETAILS% flags=%RESPONSE_FLAGS%"}}}'
ROUTER_FILTER = f'{{name: router, typed_config: {{"@type": {TYPE}{ROUTER}}}}}'
ROUTES = [
    '{match: {prefix: /direct}, direct_response: {status: 200, body: {inline_string: "hi"}}}',
    "{match: {prefix: /stall}, route: {cluster: stall, timeout: 0s}}",
    "{match: {prefix: /raw}, route: {cluster: raw}}",
    "{match: {prefix: /}, route: {cluster: echo}}",
]


def config(manager: dict[str, str], routes: list[str], upstream: str = "", before: str = "") -> str:
    """`manager` are fields of the connection manager, as YAML on one line each."""
    fields = {
        "stat_prefix": "in",
        "delayed_close_timeout": "0.05s",
        "local_reply_config": TELL,
        "http_filters": f"[{ROUTER_FILTER}]",
        **manager,
    }
    return (
        f"{before}admin: {{address: {address('$admin_port')}}}\n"
        f"static_resources:\n  listeners:\n  - name: main\n    address: {address('$port')}\n"
        "    filter_chains:\n    - filters:\n      - name: hcm\n        typed_config:\n"
        f'          "@type": {TYPE}{HCM}\n'
        + "".join(f"          {name}: {value}\n" for name, value in fields.items())
        + "          route_config:\n            virtual_hosts:\n            - name: all\n"
        '              domains: ["*"]\n              routes:\n'
        + "".join(f"              - {route}\n" for route in routes)
        + "  clusters:\n"
        + cluster("echo", "$echo").replace("type: STATIC", f"type: STATIC{upstream}")
        + cluster("stall", "$stall")
        + cluster("raw", "$raw").replace("type: STATIC", f"type: STATIC{upstream}")
    )


Case = tuple[dict[str, str], list[bytes]]
XFF = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"
BY_HEADER = "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig"
EARLY = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
UUID = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
PRESERVE = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
FORWARDED = [
    request("GET /a", *headers)
    for headers in (
        (),
        ("X-Forwarded-For: 10.0.0.1",),
        ("X-Forwarded-For: 1.2.3.4",),
        ("X-Forwarded-For: 1.2.3.4, 10.0.0.1",),
        ("X-Forwarded-For: 10.0.0.1, 1.2.3.4, 127.0.0.1",),
        ("X-Forwarded-For: 10.0.0.1,",),
        ("X-Forwarded-For: nonsense, 10.0.0.2",),
        ("X-Forwarded-For: ::1", "X-Forwarded-Proto: https", "X-Forwarded-Port: 7"),
        ("X-Forwarded-Proto: HTTPS",),
        ("X-Forwarded-Proto: gopher", "X-Real: 10.1.2.3"),
        ("X-Real: nonsense",),
        (
            "x-envoy-internal: true",
            "x-envoy-original-path: /o",
            "x-envoy-decorator-operation: d",
            "x-envoy-ip-tags: t",
            "x-envoy-force-trace: 1",
            "x-envoy-expected-rq-timeout-ms: 5",
            "X-Forwarded-For: 10.0.0.7",
        ),
    )
]
IDS = [
    request("GET /a", *headers)
    for headers in (
        (),
        ("X-Request-Id: mine",),
        ("X-Request-Id:",),
        ("X-Request-Id: 01234567-89ab-9def-0123-456789abcdef",),
        ("X-Request-Id: 01234567-89ab-adef-0123-456789abcdef", "x-envoy-force-trace: 1"),
    )
]
PATHS = [
    request(f"GET {path}")
    for path in (
        "/a/../b",
        "/a//b",
        "//",
        "/a%2Fb",
        "/a%2fb/..%5Cc?x=%2F//",
        "/%41%7e",
        "/a%00b",
        "/a\\b",
        "/./x/.",
        "/a#b",
        "/a/%2e%2E/b",
        "/a%2",
        "/..",
    )
] + [request("POST /a%2Fb", "Content-Type: application/grpc", "Content-Length: 0")]
HOSTS = [
    request("GET /a", host=host)
    for host in (
        "h",
        "h.",
        "h.:80",
        "h:80",
        "h:PORT",
        "[::1]:80",
        "[::1]",
        "h:",
        "H:8x",
        "a b",
        "",
        "u@h",
    )
]
REFUSED = [
    request("GET /a", host=None),
    request("GET /a", host="a b"),
    request("OPTIONS *"),
    request("GET /a#b"),
    request("FOO /a"),
    b"GET /a HTTP/1.0\r\n\r\n",
    b"GET /a HTTP/9.9\r\nHost: a\r\n\r\n",
    request("POST /a", "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    request("POST /a", "Transfer-Encoding: gzip", body=b"0\r\n\r\n"),
    request("GET /a", "Connection: " + ",".join(f"x{n}" for n in range(12))),
    request("GET /a", "Connection: x-forwarded-for"),
    request("GET https://b.com/a"),
    request("GET ftp://b.com/a"),
    request("GET /a", "X-Big: " + "a" * 70000),
    request("GET /a", *(f"x-{n}: 1" for n in range(120))),
    request("GET /a", "x_y: 1"),
    request("GET /a", "Connection: Upgrade", "Upgrade: websocket"),
    request("GET /zzz", "Content-Type: application/grpc+proto"),
    request("HEAD /a#b"),
]
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket")
CASES: dict[str, Case] = {
    "plain": ({}, FORWARDED + IDS + PATHS + HOSTS + REFUSED),
    "edge": ({"use_remote_address": "true"}, FORWARDED + IDS + REFUSED),
    "edge hops": (
        {
            "use_remote_address": "true",
            "xff_num_trusted_hops": "1",
            "append_x_forwarded_port": "true",
        },
        FORWARDED,
    ),
    "edge ports": (
        {
            "use_remote_address": "true",
            "append_x_forwarded_port": "true",
            "skip_xff_append": "true",
        },
        FORWARDED,
    ),
    "ports": ({"append_x_forwarded_port": "true"}, FORWARDED),
    "edge mapped": (
        {
            "use_remote_address": "true",
            "represent_ipv4_remote_address_as_ipv4_mapped_ipv6": "true",
        },
        FORWARDED,
    ),
    "internal": ({"internal_address_config": "{unix_sockets: false}"}, FORWARDED),
    "internal edge": (
        {"use_remote_address": "true", "internal_address_config": "{unix_sockets: false}"},
        FORWARDED,
    ),
    "internal range": (
        {"internal_address_config": "{cidr_ranges: [{address_prefix: 1.2.0.0, prefix_len: 16}]}"},
        FORWARDED,
    ),
    "hops": (
        {"xff_num_trusted_hops": "1", "internal_address_config": "{unix_sockets: false}"},
        FORWARDED,
    ),
    "detect xff": (
        {
            "original_ip_detection_extensions": f'[{{name: x, typed_config: {{"@type": {TYPE}{XFF}, '
            "xff_num_trusted_hops: 1, skip_xff_append: false}}]",
            "internal_address_config": "{unix_sockets: false}",
        },
        FORWARDED,
    ),
    "detect ranges": (
        {
            "original_ip_detection_extensions": f'[{{name: x, typed_config: {{"@type": {TYPE}{XFF}, '
            "xff_trusted_cidrs: {cidrs: [{address_prefix: 127.0.0.0, prefix_len: 8}, "
            "{address_prefix: 10.0.0.0, prefix_len: 8}]}}}]",
            "internal_address_config": "{unix_sockets: false}",
        },
        FORWARDED,
    ),
    "detect other ranges": (
        {
            "original_ip_detection_extensions": f'[{{name: x, typed_config: {{"@type": {TYPE}{XFF}, '
            "xff_trusted_cidrs: {cidrs: [{address_prefix: 10.0.0.0, prefix_len: 8}]}}}]",
            "internal_address_config": "{unix_sockets: false}",
        },
        FORWARDED,
    ),
    "detect twice": (
        {
            "original_ip_detection_extensions": f'[{{name: x, typed_config: {{"@type": {TYPE}{XFF}, '
            "xff_num_trusted_hops: 2, skip_xff_append: false}}, "
            f'{{name: z, typed_config: {{"@type": {TYPE}{XFF}, skip_xff_append: false}}}}]',
            "internal_address_config": "{unix_sockets: false}",
        },
        FORWARDED,
    ),
    "detect header": (
        {
            "original_ip_detection_extensions": f'[{{name: x, typed_config: {{"@type": '
            f"{TYPE}{BY_HEADER}, header_name: X-Real, "
            "allow_extension_to_set_address_as_trusted: true}}]",
            "internal_address_config": "{unix_sockets: false}",
        },
        FORWARDED,
    ),
    "detect or refuse": (
        {
            "original_ip_detection_extensions": f'[{{name: x, typed_config: {{"@type": '
            f"{TYPE}{BY_HEADER}, header_name: X-Real, reject_with_status: {{code: 401}}}}}}]",
        },
        FORWARDED,
    ),
    "scheme": ({"scheme_header_transformation": "{scheme_to_overwrite: https}"}, FORWARDED),
    "via": (
        {"via": "mesh", "server_header_transformation": "APPEND_IF_ABSENT", "server_name": "me"},
        [request("GET /a", "Via: 1.1 b"), request("GET /raw"), request("GET /direct")],
    ),
    "server passes": (
        {"server_header_transformation": "PASS_THROUGH"},
        [request("GET /a"), request("GET /raw"), request("GET /direct")],
    ),
    "xfcc": ({}, [request("GET /a", "x-forwarded-client-cert: By=x")]),
    "xfcc forwarded": (
        {"forward_client_cert_details": "FORWARD_ONLY"},
        [request("GET /a", "x-forwarded-client-cert: By=x")],
    ),
    "xfcc always": (
        {"forward_client_cert_details": "ALWAYS_FORWARD_ONLY"},
        [request("GET /a", "x-forwarded-client-cert: By=x", "X-Forwarded-Client-Cert: y")],
    ),
    "early": (
        {
            "early_header_mutation_extensions": f'[{{name: e, typed_config: {{"@type": {TYPE}{EARLY}, '
            "mutations: [{remove: x-a}, {append: {header: {key: x-b, value: '%REQ(x-c)%!'}}}]}}]"
        },
        [request("GET /a", "x-a: 1", "x-c: 2"), request("GET /a#b")],
    ),
    "ids kept": (
        {"use_remote_address": "true", "preserve_external_request_id": "true"},
        IDS,
    ),
    "ids plain": (
        {
            "use_remote_address": "true",
            "preserve_external_request_id": "true",
            "always_set_request_id_in_response": "true",
            "request_id_extension": f'{{typed_config: {{"@type": {TYPE}{UUID}, '
            "pack_trace_reason: false}}",
        },
        IDS,
    ),
    "no ids": ({"generate_request_id": "false", "always_set_request_id_in_response": "true"}, IDS),
    "normalized": ({"normalize_path": "true", "merge_slashes": "true"}, PATHS),
    "slashes kept": ({"path_with_escaped_slashes_action": "KEEP_UNCHANGED"}, PATHS),
    "slashes refused": ({"path_with_escaped_slashes_action": "REJECT_REQUEST"}, PATHS),
    "slashes redirected": (
        {"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT", "normalize_path": "true"},
        PATHS,
    ),
    "slashes forwarded": (
        {
            "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
            "normalize_path": "true",
            "merge_slashes": "true",
        },
        PATHS,
    ),
    "any port": ({"strip_any_host_port": "true"}, HOSTS),
    "own port": ({"strip_matching_host_port": "true"}, HOSTS),
    "dots": ({"strip_trailing_host_dot": "true", "strip_any_host_port": "true"}, HOSTS),
    "stream errors": ({"stream_error_on_invalid_http_message": "true"}, REFUSED),
    "overridden stream errors": (
        {
            "stream_error_on_invalid_http_message": "true",
            "http_protocol_options": "{override_stream_error_on_invalid_http_message: false}",
        },
        REFUSED,
    ),
    "http/1.0": (
        {"http_protocol_options": "{accept_http_10: true, default_host_for_http_10: d}"},
        [
            b"GET /a HTTP/1.0\r\n\r\n",
            b"GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
            b"GET /raw/chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"GET /direct HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"HEAD /direct HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"GET /a#b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n",
        ],
    ),
    "underscores dropped": (
        {"common_http_protocol_options": "{headers_with_underscores_action: DROP_HEADER}"},
        [request("GET /a", "x_y: 1", "x-z: 2")],
    ),
    "underscores refused": (
        {"common_http_protocol_options": "{headers_with_underscores_action: REJECT_REQUEST}"},
        [request("GET /a", "x_y: 1")],
    ),
    "limits": (
        {
            "common_http_protocol_options": "{max_headers_count: 3}",
            "max_request_headers_kb": "1",
        },
        [
            request("GET /a", "a: 1", "b: 2"),
            request("GET /a", "a: 1", "b: 2", "c: 3"),
            request("GET /a", "a: " + "x" * 1100),
            request("GET /" + "x" * 1100),
        ],
    ),
    "trailers": (
        {"http_protocol_options": "{enable_trailers: true}"},
        [
            request("POST /a", "Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\nX-T: 1\r\n\r\n"),
            request("GET /raw/trailers"),
        ],
    ),
    "custom methods": (
        {"http_protocol_options": "{allow_custom_methods: true}"},
        [request("FOO /a"), request("FO@O /a"), request("get /a")],
    ),
    "absolute": (
        {"http_protocol_options": "{allow_absolute_url: false}"},
        [request("GET http://b.com/a"), request("GET /a")],
    ),
    "chunked length": (
        {"http_protocol_options": "{allow_chunked_length: true}"},
        [
            request(
                "POST /a",
                "Content-Length: 3",
                "Transfer-Encoding: gzip",
                body=b"3\r\nabc\r\n0\r\n\r\n",
            )
        ],
    ),
    "proper case": (
        {"http_protocol_options": "{header_key_format: {proper_case_words: {}}}"},
        [request("GET /a", "x-AB_c: 1"), request("GET /raw"), request("GET /direct")],
    ),
    "preserved case": (
        {
            "http_protocol_options": "{header_key_format: {stateful_formatter: {name: p, typed_config: "
            f'{{"@type": {TYPE}{PRESERVE}}}}}}}}}'
        },
        [request("GET /a", "X-aB: 1", "x-Ab: 2", "TE: trailers"), request("GET /raw")],
    ),
    "ignored upgrades": (
        {"http_protocol_options": "{ignore_http_11_upgrade: [{prefix: TLS}]}"},
        [
            request("GET /a", "Connection: Upgrade", "Upgrade: TLS/1.2"),
            request("GET /a", "Connection: Upgrade", "Upgrade: TLS/1.2, foo"),
            request("GET /a", "Connection: Upgrade", "Upgrade: foo"),
        ],
    ),
    "one request": (
        {"common_http_protocol_options": "{max_requests_per_connection: 1}"},
        [request("GET /a"), request("GET /direct")],
    ),
    "expect passes": (
        {"proxy_100_continue": "true"},
        [request("POST /a", "Expect: 100-continue", "Content-Length: 1", body=b"a")],
    ),
    "user agent": (
        {"add_user_agent": "true"},
        [request("GET /a"), request("GET /a", "User-Agent: u"), request("GET /a", "User-Agent:")],
    ),
    "proxy status": (
        {"proxy_status_config": "{}", "server_name": "me"},
        [request("GET /a#b"), *REFUSED, request("GET /a"), request("GET /raw/early")],
    ),
    "proxy status codes": (
        {
            "proxy_status_config": "{set_recommended_response_code: true, use_node_id: true, "
            "remove_response_flags: true}"
        },
        REFUSED,
    ),
    "request timeout": (
        {"request_timeout": "0.1s"},
        [request("POST /a", "Content-Length: 9", body=b"abc"), request("GET /a")],
    ),
    "headers timeout": (
        {"request_headers_timeout": "0.1s"},
        [b"GET /a HTTP/1.1\r\nHost: ", request("GET /a")],
    ),
    "idle stream": ({"stream_idle_timeout": "0.1s"}, [request("GET /stall")]),
    "stream duration": (
        {"common_http_protocol_options": "{max_stream_duration: 0.1s}"},
        [
            request("GET /stall"),
            request("POST /stall", "Content-Length: 9", body=b"abc"),
            request("POST /stall", "Content-Type: application/grpc", "Content-Length: 0"),
        ],
    ),
    "upgrades": (
        {"upgrade_configs": "[{upgrade_type: websocket}, {upgrade_type: foo, enabled: false}]"},
        [
            request("GET /raw/101", *WEBSOCKET),
            request("GET /raw/200", *WEBSOCKET),
            request("GET /raw/404", *WEBSOCKET),
            request("GET /raw/500", *WEBSOCKET),
            request("GET /direct", *WEBSOCKET),
            request("GET /raw/101", "Connection: Upgrade", "Upgrade: foo"),
            request("CONNECT a.com:80", host="a.com:80"),
        ],
    ),
    "informational": (
        {},
        [request("GET /raw/103"), request("GET /raw/102"), request("GET /raw/100")],
    ),
}

ANSWERS = {
    "/raw": b"HTTP/1.1 200 Fine\r\nServer: theirs\r\nX-mIx: 1\r\nContent-Length: 2\r\n\r\nok",
    "/raw/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "/raw/trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
    "/raw/101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "/raw/200": b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nno",
    "/raw/404": b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 2\r\n\r\nno",
    "/raw/500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "/raw/100": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/raw/102": b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/raw/103": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "/raw/early": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
}


async def answer(exchange: Any) -> None:
    await raw(ANSWERS[exchange.request.target])(exchange)


# What one side counts and the other does not, or what the timing of closes decides.
UNCOUNTED = r"rx_bytes|tx_bytes|destroy|flow_control|delayed_close|_active|tracing|rbac|cx_length"


def counters(server: peers.Server) -> dict[str, int]:
    assert server.admin_port is not None
    text = clients.fetch(server.admin_port, "/stats?usedonly").body.decode()
    found = re.findall(r"^(http1?\.(?:in\.)?\w+): (\d+)$", text, re.MULTILINE)
    return {name: int(value) for name, value in found if not re.search(UNCOUNTED, name)}


def counted(ours: peers.Server, theirs: peers.Server) -> list[str]:
    """Counters of the connection manager that differ."""
    mine, envoys = counters(ours), counters(theirs)
    return [
        f"  {name}: ours {mine.get(name, 0)} Envoy {envoys.get(name, 0)}"
        for name in sorted({**mine, **envoys})
        if mine.get(name, 0) != envoys.get(name, 0)
    ]


def told(ours: list[Any], theirs: list[Any]) -> str:
    """Where two lists of replies differ, field by field."""
    out = []
    for index in range(max(len(ours), len(theirs))):
        mine, envoys = (x[index] if index < len(x) else "nothing" for x in (ours, theirs))
        if isinstance(mine, dict) and isinstance(envoys, dict):
            fields = [k for k in {**mine, **envoys} if mine.get(k) != envoys.get(k)]
            out += [f"  {k}: ours {mine.get(k)} Envoy {envoys.get(k)}\n" for k in fields]
        elif mine != envoys:
            out.append(f"  ours {mine} Envoy {envoys}\n")
    return "".join(out)


Pair = Callable[..., tuple[peers.Server, peers.Server]]


@pytest.mark.parametrize("name", list(CASES))
def test_the_manager_answers_as_envoys(
    name: str, both: Pair, upstream: Callable[[Behaviour], Upstream]
) -> None:
    manager, requests = CASES[name]
    ports = {
        "echo": upstream(echo).port,
        "stall": upstream(stall).port,
        "raw": upstream(answer).port,
    }
    ours, theirs = both(config(manager, ROUTES), **ports)
    found = []
    for data in requests:
        mine, envoys = ask(ours.port, data), ask(theirs.port, data)
        if mine != envoys:
            found.append(f"{data[:200]!r}\n{told(mine, envoys)}")
    found += counted(ours, theirs)
    assert not found, f"{len(found)} of {len(requests)} differ\n" + "\n".join(found)
