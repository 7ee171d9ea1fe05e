"""The connection manager beside real Envoy: one configuration and the same bytes to both.

The answers are compared field by field, with what the upstream received, response flags, response
code details and the manager's counters.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import clients
import peers
import pytest
from test_envoy_diff import BODY, CHUNKED, ROUTER, address, ask, cluster, generated, request
from upstreams import Behaviour, Upstream, echo, raw, stall
from waiting import wait_until

import meshcore

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


def typed(kind: str, fields: str = "") -> str:
    """An extension, as YAML."""
    return f'{{name: x, typed_config: {{"@type": {TYPE}{kind}{fields and ", " + fields}}}}}'


def detect(*extensions: str) -> dict[str, str]:
    """Original IP detection, with private addresses as internal ones."""
    return {
        "original_ip_detection_extensions": f"[{', '.join(extensions)}]",
        "internal_address_config": "{unix_sockets: false}",
    }


def ranges(*addresses: str) -> str:
    each = ", ".join(f"{{address_prefix: {x}, prefix_len: 8}}" for x in addresses)
    return f"xff_trusted_cidrs: {{cidrs: [{each}]}}"


XFF = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"
BY_HEADER = "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig"
EARLY = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
UUID = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
PRESERVE = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
CERT = f"{HCM}.ForwardClientCertConfig"
MATCH_INPUT = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput"


def by_header(name: str, **modes: str) -> str:
    """A matcher of a request header's values, each with what becomes of x-forwarded-client-cert."""
    source = typed(MATCH_INPUT, f"header_name: {name}")
    each = ", ".join(
        f"{{predicate: {{single_predicate: {{input: {source}, value_match: {{exact: {value}}}}}}}, "
        f"on_match: {{action: {typed(CERT, f'forward_client_cert_details: {mode}')}}}}}"
        for value, mode in modes.items()
    )
    return f"{{matcher_list: {{matchers: [{each}]}}}}"


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
        ("X-Forwarded-For: 127.0.0.2",),
        ("X-Forwarded-For: fc00::1",),
        ("X-Forwarded-For: fd00::1",),
        ("X-Forwarded-For: [fd00::1]:80",),
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
        "h:+80",
        "h:-80",
        "h:99999",
        "h:4294967296",
        "h:080",
        "h:80:90",
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
HOP_BY_HOP = [
    request("GET /a", f"TE: {te}", *more)
    for te in ("trailers", "Trailers", "gzip", "a, trailers", "trailers;q=1", "", " trailers ")
    for more in ((), ("Connection: TE",), ("TE: gzip",))
] + [
    request("GET /a", f"Connection: {names}", "X-A: 1", "Via: x", "Cookie: a=b", "Expect: x")
    for names in (
        "x-a",
        "X-A, Via",
        ",,x-a,,",
        '"x-a"',
        "x-a;q=1",
        "host",
        "cookie, keep-alive",
        "expect",
        "close, x-a",
        "Upgrade, x-a",
        "x-forwarded-port",
        "x-envoy-internal",
    )
]
# Which of several errors is told, and what was not yet done for a request that the codec refuses.
FIRST_ERRORS = [
    *(
        request(f"{method} ftp://b.com/", "Connection: x-forwarded-for")
        for method in ("GET", "HEAD")
    ),
    request("CONNECT a.com:80", CHUNKED, "Content-Length: 3", host="a.com:80", body=b"0\r\n\r\n"),
    b"CONNECT  HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    request("HEAD /a", "Connection: x-forwarded-for"),
    b"HEAD * HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET https://b.com/a HTTP/1.0\r\nHost: a\r\n\r\n",
    request("GET /a", "Expect: 100-continue", host="a b"),
    request("GET https://b.com/a", "Expect: 100-continue", "User-Agent: iOS"),
    request("GET http://b.com/a", "Connection: host"),
    request("GET /a", "Connection: Upgrade, x-a", "Upgrade: h2c", "Upgrade: foo", "X-A: 1"),
    request("CONNECT a.com:80", "Connection: Upgrade", "Upgrade: connect-udp", host="a.com:80"),
    request("CONNECT a.com:80", "Content-Type: application/grpc", host="a.com:80"),
    *(request(f"GET http://{x}") for x in ("a_b/", "a%41/", "a~b/", "[::1%25a]/", "a#b", "a?b#c")),
    request("CONNECT a_b:80", host="a_b:80"),
] + [
    request("GET /a", f"Referer: {x}")
    for x in ("http://a/b c", "http://a/b,c", "http://a_b/", "http://@a/b", "http://a?\t", "/b c")
]
LATER = [
    request("POST /a", f"Expect: {expect}", "Content-Length: 1", body=b"a")
    for expect in ("100-continue", "100-Continue", "x", "", "100-continue, x")
] + [
    request("GET /a#b", "Expect: 100-continue"),
    request("GET /direct") + request("GET /direct"),
    request("GET /a") * 3,
    request("POST /direct", "Content-Length: 3"),
    request("HEAD /a", host="a b"),
    request("HEAD /a", "X: \x01"),
    request("GET /a", "X\x01: 1"),
    request("GET /a", "X : 1", "Y: \x01"),
    request("GET /a", "Content-Length: 1\x7f"),
    request("PRI /\x7f"),
    request("GET http://b.com:0/"),
    request("GET http://b.com:080/"),
    request("CONNECT b.com:0", host="b"),
]
UPGRADE = "Connection: Upgrade"
WEBSOCKET = (UPGRADE, "Upgrade: websocket")
CASES: dict[str, Case] = {
    "plain": ({}, FORWARDED + IDS + PATHS + HOSTS + REFUSED + HOP_BY_HOP + LATER + FIRST_ERRORS),
    "edge": ({"use_remote_address": "true"}, FORWARDED + IDS + REFUSED + FIRST_ERRORS),
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
        detect(typed(XFF, "xff_num_trusted_hops: 1, skip_xff_append: false")),
        FORWARDED,
    ),
    "detect ranges": (detect(typed(XFF, ranges("127.0.0.0", "10.0.0.0"))), FORWARDED),
    "detect other ranges": (detect(typed(XFF, ranges("10.0.0.0"))), FORWARDED),
    "detect twice": (
        detect(
            typed(XFF, "xff_num_trusted_hops: 2, skip_xff_append: false"),
            typed(XFF, "skip_xff_append: false"),
        ),
        FORWARDED,
    ),
    "detect header": (
        detect(
            typed(
                BY_HEADER,
                "header_name: X-Real, allow_extension_to_set_address_as_trusted: true",
            )
        ),
        FORWARDED,
    ),
    "detect or refuse": (
        detect(typed(BY_HEADER, "header_name: X-Real, reject_with_status: {code: 401}")),
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
    "xfcc chosen": (
        {"forward_client_cert_matcher": by_header("x-a", keep="ALWAYS_FORWARD_ONLY")},
        [
            request("GET /a", "x-forwarded-client-cert: By=x", *header)
            for header in ((), ("x-a: keep",), ("x-a: other",))
        ],
    ),
    "path options": (
        {
            "path_normalization_options": "{forwarding_transformation: "
            "{operations: [{normalize_path_rfc_3986: {}}, {merge_slashes: {}}]}}"
        },
        PATHS,
    ),
    "user agents": (
        {},
        [
            request("GET /a", f"User-Agent: {agent}") + request("GET /a", "User-Agent: iOS")
            for agent in ("iOS", "an iOS", "ios", "android", "Android", "iOS android", "")
        ],
    ),
    "early": (
        {
            "early_header_mutation_extensions": "["
            + typed(
                EARLY,
                "mutations: [{remove: x-a}, {append: {header: {key: x-b, value: '%REQ(x-c)%!'}}}]",
            )
            + "]"
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
            b"GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
            b"GET /raw/chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"GET /direct HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"HEAD /direct HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"GET /a#b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n",
        ],
    ),
    "http/1.0 refused": (
        {"http_protocol_options": "{accept_http_10: true}"},
        [
            b"CONNECT /a HTTP/1.0\r\nHost: a\r\n\r\n",
            b"CONNECT b.com HTTP/1.0\r\nHost: a\r\n\r\n",
            b"TRACE * HTTP/1.0\r\nHost: a\r\n\r\n",
            b"FOO /a HTTP/1.0\r\n\r\n",
            b"GET ftp://a HTTP/1.0\r\nHost: a\r\n\r\n",
            *(
                f"GET /a HTTP/1.0\r\nHost: {line}\r\n\r\n".encode()
                for line in (
                    "a b",
                    "a\r\nX: \x01",
                    "a\r\nContent-Length: x",
                    "a\r\nTransfer-Encoding: gzip",
                    "a\r\nConnection: x-forwarded-for",
                )
            ),
        ],
    ),
    "host among others": (
        {},
        [
            b"GET /a HTTP/1.1\r\nX-A: 1\r\nHost: h\r\nX-B: 2\r\n\r\n",
            b"GET http://b/a HTTP/1.1\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
        ],
    ),
    **{
        f"path of what is refused, {action}": (
            {
                "path_with_escaped_slashes_action": action,
                "normalize_path": "true",
                "local_reply_config": "{body_format: {text_format: '%REQ(:path)%'}}",
            },
            [
                request(f"GET {path}", *headers)
                for path in ("/a%2fb", "/a%2fb%00", "/a%5cb/../c", "/a%2fb#c")
                for headers in ((), ("Content-Type: application/grpc",))
            ],
        )
        for action in ("REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD")
    },
    "underscores dropped": (
        {"common_http_protocol_options": "{headers_with_underscores_action: DROP_HEADER}"},
        [request("GET /a", "x_y: 1", "x-z: 2")],
    ),
    "underscores refused": (
        {"common_http_protocol_options": "{headers_with_underscores_action: REJECT_REQUEST}"},
        [
            request("GET /a", "x_y: 1"),
            request("POST /a", CHUNKED, body=b"0\r\nx_y: 1\r\n\r\n"),
        ],
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
            request("POST /a", CHUNKED, body=b"0\r\n" + b"x: 1\r\n" * 100 + b"\r\n"),
            request("GET /raw/trailers"),
        ],
    ),
    "trailers dropped": (
        {},
        [
            request("POST /a", CHUNKED, body=b"0\r\n" + b"x: 1\r\n" * count + b"\r\n")
            for count in (1, 100, 101, 200)
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
            "http_protocol_options": (
                f"{{header_key_format: {{stateful_formatter: {typed(PRESERVE)}}}}}"
            )
        },
        [request("GET /a", "X-aB: 1", "x-Ab: 2", "TE: trailers"), request("GET /raw")],
    ),
    "ignored upgrades": (
        {"http_protocol_options": "{ignore_http_11_upgrade: [{prefix: TLS}]}"},
        [
            request("GET /a", "Connection: Upgrade", "Upgrade: TLS/1.2"),
            request("GET /a#b", "Connection: Upgrade", "Upgrade: TLS/1.2"),
            request("CONNECT a:80", "Connection: Upgrade", "Upgrade: TLS/1.2", host="a:80"),
            request("GET /a", "Connection: Upgrade", "Upgrade: TLS/1.2, foo"),
            request("GET /a", "Connection: Upgrade", "Upgrade: foo"),
        ],
    ),
    "ignored upgrades of many kinds": (
        {
            "http_protocol_options": "{ignore_http_11_upgrade: [{safe_regex: {regex: 'r[0-9]+'}}, "
            "{safe_regex: {google_re2: {}, regex: '(?i)any.*'}}, {exact: one, ignore_case: true}, "
            "{suffix: end}, {contains: mid}]}",
            "upgrade_configs": "[{upgrade_type: foo}]",
        },
        [
            request("GET /direct", "Connection: Upgrade, x-a", f"Upgrade: {value}", "X-A: 1", *more)
            for value in (
                "r12",
                "r",
                "xr1",
                "r1x",
                "R1",
                "r1, r2",
                "r1,foo",
                "ANY thing",
                "One",
                "bend",
                "END",
                "amidst",
                "r1/2",
                "r1 ",
                ",r1,",
                "r1, h2c",
                "any, foo",
                '"r1"',
                "",
                "h2c",
                "h2c, r1",
                "H2C",
            )
            for more in ((), ("Upgrade: r7",), ("Upgrade: foo",))
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
    "udp": (
        {"upgrade_configs": "[{upgrade_type: connect-udp}]"},
        [
            request(f"GET /.well-known/masque/udp/{target}", UPGRADE, "Upgrade: connect-udp")
            for target in ("a.com/80", "/80/", "a.com//", "a%25b/1/", "a.com/80/x", "a.com/80/?q")
        ]
        + [
            request("GET /.well-known/masque/udp/a.com/80/", "Upgrade: Connect-UDP"),
            request("GET /.well-known/masque/udp/2001%3Adb8%3A%3A1/80/", "Upgrade: connect-udp"),
            request("GET /a", "Upgrade: connect-udp"),
        ],
    ),
    "informational passes": (
        {"proxy_100_continue": "true", "always_set_request_id_in_response": "true", "via": "x"},
        [request(f"GET /raw/{path}") for path in ("100", "102", "1xx")],
    ),
    "informational": (
        {},
        [request("GET /raw/103"), request("GET /raw/102"), request("GET /raw/100")],
    ),
}

UPSTREAM_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def upstream_http1(options: str) -> str:
    """Fields of a cluster: options of its HTTP/1 codec."""
    return (
        f", typed_extension_protocol_options: {{{UPSTREAM_OPTIONS}: "
        f'{{"@type": {TYPE}{UPSTREAM_OPTIONS}, '
        f"explicit_http_config: {{http_protocol_options: {options}}}}}}}"
    )


def to(cluster: str, action: str, match: str = "{prefix: /}") -> list[str]:
    return [f"{{match: {match}, route: {{cluster: {cluster}, {action}}}}}"]


HEADER_MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
ANSWERS_ALSO = typed(
    HEADER_MUTATION,
    "mutations: {response_mutations: [{append: {header: {key: x-also, value: '1'}}}]}",
)
CONNECT = request("CONNECT /raw/200:80", host="a.com:80").replace(b"/raw/200", b"a.com")
GRPC = ("Content-Type: application/grpc", "Content-Length: 0")


def mapper(filter_: str, fields: str) -> str:
    return f"{{filter: {filter_}, {fields}}}"


def status_is(op: str, code: int) -> str:
    value = f"{{default_value: {code}, runtime_key: k}}"
    return f"{{status_code_filter: {{comparison: {{op: {op}, value: {value}}}}}}}"


MAPPED = (
    "{mappers: ["
    + ", ".join(
        [
            mapper(
                "{header_filter: {header: {name: x-map, string_match: {exact: teapot}}}}",
                "status_code: 418, body: {inline_string: short}, "
                "headers_to_add: [{header: {key: x-code, value: '%RESPONSE_CODE%'}}, "
                "{header: {key: x-body, value: '%LOCAL_REPLY_BODY%'}}, "
                "{header: {key: content-type, value: text/tea}, "
                "append_action: OVERWRITE_IF_EXISTS_OR_ADD}, "
                "{header: {key: location, value: /x}}, {header: {key: location, value: /y}}]",
            ),
            mapper(
                "{header_filter: {header: {name: x-map, string_match: {exact: json}}}}",
                "body_format_override: {json_format: {c: '%RESPONSE_CODE%', "
                "b: '%LOCAL_REPLY_BODY%', p: '%REQ(:path)%'}}",
            ),
            mapper("{response_flag_filter: {flags: [NR]}}", "body: {inline_string: nowhere}"),
            mapper(status_is("EQ", 503), "status_code: 504"),
            mapper(
                status_is("GE", 400),
                "body_format_override: {text_format_source: "
                "{inline_string: '<%LOCAL_REPLY_BODY%>'}, content_type: text/html}",
            ),
        ]
    )
    + "], body_format: {text_format_source: {inline_string: '[%LOCAL_REPLY_BODY%]'}}}"
)
NOWHERE = [
    '{match: {prefix: /direct}, direct_response: {status: 200, body: {inline_string: "hi"}}}',
    '{match: {prefix: /full}, direct_response: {status: 503, body: {inline_string: "full"}}}',
    "{match: {prefix: /empty}, direct_response: {status: 400}}",
    "{match: {prefix: /a}, route: {cluster: echo}}",
]
# Manager, routes, fields of the clusters, requests.
ROUTED: dict[str, tuple[dict[str, str], list[str], str, list[bytes]]] = {
    "upstream proper case": (
        {},
        ROUTES,
        upstream_http1("{header_key_format: {proper_case_words: {}}}"),
        [request("GET /a", "x-AB_c: 1"), request("POST /a", CHUNKED, body=BODY)],
    ),
    "upstream preserved case": (
        {},
        ROUTES,
        upstream_http1(
            "{header_key_format: {stateful_formatter: "
            + typed(
                PRESERVE,
                "forward_reason_phrase: true, formatter_type_on_envoy_headers: PROPER_CASE",
            )
            + "}}"
        ),
        [request("GET /a", "X-aB: 1"), request("GET /raw"), request("GET /raw/chunked")],
    ),
    "schemes of upstreams": (
        {"scheme_header_transformation": "{match_upstream: true}"},
        ROUTES,
        upstream_http1("{send_fully_qualified_url: true}"),
        [
            request("GET /a", "X-Forwarded-Proto: https"),
            request("GET http://b.com:8/x", "X-Forwarded-Proto: https"),
            request("GET /direct", "X-Forwarded-Proto: https"),
        ],
    ),
    "a scheme for all": (
        {"scheme_header_transformation": "{scheme_to_overwrite: https, match_upstream: true}"},
        ROUTES,
        upstream_http1("{send_fully_qualified_url: true}"),
        [request("GET /a")],
    ),
    "whole urls": (
        {},
        ROUTES,
        upstream_http1("{send_fully_qualified_url: true}"),
        [request("GET /a?b", "X-Forwarded-Proto: https"), request("GET http://b.com:8/x")],
    ),
    "stream duration": (
        {},
        to("stall", "max_stream_duration: {max_stream_duration: 0.1s}"),
        "",
        [request("GET /a"), request("POST /a", *GRPC), request("POST /a", "Content-Length: 1")],
    ),
    "grpc timeouts": (
        {},
        to(
            "echo",
            "max_stream_duration: {grpc_timeout_header_max: 2s, grpc_timeout_header_offset: 0.1s}",
        ),
        "",
        [
            request("POST /a", *GRPC, f"grpc-timeout: {x}")
            for x in ("1S", "500m", "9H", "50m", "0m", "x", "123456789S", "1500000u")
        ]
        + [request("POST /a", *GRPC), request("GET /a", "grpc-timeout: 1S")],
    ),
    "idle timeout": (
        {"stream_idle_timeout": "9s"},
        to("stall", "idle_timeout: 0.1s"),
        "",
        [request("GET /a"), request("POST /a", "Content-Length: 3", body=b"a")],
    ),
    "route upgrades": (
        {"upgrade_configs": "[{upgrade_type: websocket, enabled: false}]"},
        to(
            "raw", "upgrade_configs: [{upgrade_type: WebSocket}, {upgrade_type: a, enabled: false}]"
        ),
        "",
        [
            request("GET /raw/101", *WEBSOCKET),
            request("GET /raw/200", "Connection: upgrade", "Upgrade: a"),
            request("GET /raw/200", "Connection: upgrade", "Upgrade: b"),
        ],
    ),
    "routers of upgrades": (
        {
            "upgrade_configs": f"[{{upgrade_type: websocket, filters: [{ANSWERS_ALSO}, {{name: r, "
            f'typed_config: {{"@type": {TYPE}{ROUTER}, suppress_envoy_headers: true}}}}]}}]'
        },
        to("raw", "timeout: 7s"),
        "",
        [
            request("GET /raw/101", *WEBSOCKET),
            request("GET /raw/200", *WEBSOCKET),
            request("GET /raw/200"),
            request("GET /raw/200#", *WEBSOCKET),  # through the same filters
        ],
    ),
    "routes of the refused": (
        {"path_with_escaped_slashes_action": "REJECT_REQUEST"},
        [
            f"{{match: {match}, route: {{cluster: echo}}, "
            f"response_headers_to_add: [{{header: {{key: r, value: r{index}}}}}]}}"
            for index, match in enumerate(
                [
                    f"{{prefix: /, headers: [{{name: {name}, present_match: true}}]}}"
                    for name in ("x-a", "connection", "keep-alive", "x-envoy-internal")
                ]
                + ["{prefix: /a/b}", "{prefix: /}"]
            )
        ],
        "",
        [
            request(f"GET {path}", "X-Forwarded-Proto: http", *headers, host=host)
            for path, host in (("/a#b", "a.com"), ("/a", None), ("/a%2Fb", "a.com"))
            for headers in (
                (),
                ("X-A: 1",),
                ("X-A: 1", "Connection: X-A"),
                ("X-A: 1", "Connection: keep-alive, X-A"),
                ("Connection: y",),
                ("Keep-Alive: 5",),
                ("x-envoy-internal: true",),
            )
        ],
    ),
    "flags of what was tried": (
        {"proxy_status_config": "{}"},
        to("raw", "retry_policy: {retry_on: '5xx,reset', num_retries: 1}"),
        "",
        [
            request("GET /raw/bad"),
            # Two lines of a type are one value, which is not that of gRPC.
            request("POST /raw/bad", *GRPC, "Content-Type: application/grpc+a"),
        ],
    ),
    "connect refused": ({}, to("raw", "timeout: 1s", "{connect_matcher: {}}"), "", [CONNECT]),
    "connect": (
        {"upgrade_configs": "[{upgrade_type: CONNECT}]", "strip_any_host_port": "true"},
        to("raw", "timeout: 1s", "{connect_matcher: {}}"),
        "",
        [
            CONNECT,
            request("CONNECT a.com", host="a.com"),
            request("CONNECT a.com:80", "Content-Length: 5", host="a.com:80"),
            request("CONNECT a.com:80", "Content-Length: 0", host="a.com:80"),
            request("CONNECT a.com:80", "Transfer-Encoding: chunked", host="a.com:80"),
            request("CONNECT a.com:80", "Connection: x", "TE: gzip", host="a.com:80"),
            request("GET /raw"),
        ],
    ),
    "what no header may hold": (
        {},
        [
            to("echo", action, f"{{prefix: /{path}}}")[0][:-1] + f", {more}}}"
            for path, action, more in (
                (
                    "value",
                    "timeout: 1s",
                    r'request_headers_to_add: [{header: {key: x-r, value: "a\x01"}}]',
                ),
                ("name", "timeout: 1s", "request_headers_to_add: [{header: {key: x r, value: a}}]"),
                (
                    "odd",
                    "timeout: 1s",
                    r'request_headers_to_add: [{header: {key: "x\x01", value: a}}]',
                ),
                (
                    "gone",
                    "timeout: 1s",
                    r'response_headers_to_add: [{header: {key: x-r, value: "a\x7f"}}]',
                ),
                ("host", r'host_rewrite_literal: "a\x01"', "name: host"),
                ("path", r'prefix_rewrite: "/\x7f"', "name: path"),
            )
        ],
        "",
        [request(f"GET /{x}") for x in ("value", "name", "odd", "gone", "host", "path")]
        + [request("POST /value", *GRPC)],
    ),
    "direct locations": (
        {},
        [
            f"{{match: {{prefix: /{status}}}, direct_response: {{status: {status}}}, "
            "response_headers_to_add: [{header: {key: location, value: /z}, "
            "append_action: ADD_IF_ABSENT}]}"
            for status in (200, 201, 301, 302, 308, 400)
        ]
        + ["{match: {prefix: /r}, redirect: {path_redirect: /x}}"],
        "",
        [request(f"GET /{x}?q") for x in (200, 201, 301, 302, 308, 400, "r")]
        + [request("POST /302", "X-Forwarded-Proto: https", *GRPC)],
    ),
    "local replies": (
        {"local_reply_config": MAPPED},
        NOWHERE,
        "",
        [
            request(f"{method} {path}", *headers)
            for method in ("GET", "HEAD")
            for path in ("/direct", "/full", "/empty", "/none", "/a#b")
            for headers in ((), ("x-map: teapot",), ("x-map: json",))
        ]
        + [
            request(f"POST {path}", *GRPC, header)
            for path in ("/full", "/empty", "/none")
            for header in ("x-map: teapot", "x-map: json", "a: b")
        ],
    ),
}

ANSWERS = {
    "/raw/bad": b"nonsense\r\n\r\n",
    "/raw": b"HTTP/1.1 200 Fine\r\nServer: theirs\r\nX-mIx: 1\r\nContent-Length: 2\r\n\r\nok",
    "/raw/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "/raw/trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
    "/raw/101": b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "/raw/200": b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nno",
    "/raw/404": b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 2\r\n\r\nno",
    "/raw/500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "/raw/100": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/raw/102": b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/raw/103": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "/raw/1xx": b"HTTP/1.1 103 Early Hints\r\nConnection: x\r\n\r\n"
    b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "/raw/199": b"HTTP/1.1 199 Odd\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n"
    b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "a.com:80": b"HTTP/1.1 200 OK\r\n\r\n",
    "/raw/early": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "/raw/426": b"HTTP/1.1 426 Upgrade Required\r\n"
    b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    "/raw/broken": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a.com:81": b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ndata",
    "/raw/unspoken": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\npayload",
    "a.com:83": b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\npayload",
    "/raw/kept": b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nno",
    "/raw/odd": b"HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: foo\r\n"
    b"Content-Length: 2\r\n\r\nno",
    "a.com:82": b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
}


async def answer(exchange: Any) -> None:
    await raw(ANSWERS[exchange.request.target])(exchange)


# What one side counts and the other does not, or what the timing of closes decides
# (difference: fin-at-once).
UNCOUNTED = r"rx_bytes|tx_bytes|destroy|flow_control|delayed_close|_active|tracing|rbac|cx_length"


def counters(server: peers.Server) -> dict[str, int]:
    assert server.admin_port is not None
    text = clients.fetch(server.admin_port, "/stats?usedonly").body.decode()
    found = re.findall(r"^(http1?\.(?:in\.)?(?:user_agent\.\w+\.)?\w+): (\d+)$", text, re.MULTILINE)
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


@pytest.fixture
def ports(upstream: Callable[[Behaviour], Upstream]) -> dict[str, int]:
    servers = {"echo": echo, "stall": stall, "raw": answer}
    return {name: upstream(behaviour).port for name, behaviour in servers.items()}


def compare(pair: tuple[peers.Server, peers.Server], requests: list[bytes]) -> None:
    ours, theirs = pair
    found = []
    for data in requests:
        mine, envoys = ask(ours.port, data), ask(theirs.port, data)
        if mine != envoys:
            found.append(f"{data[:200]!r}\n{told(mine, envoys)}")
    found += counted(ours, theirs)
    assert not found, f"{len(found)} of {len(requests)} differ\n" + "\n".join(found)


@pytest.mark.parametrize("name", list(CASES))
def test_the_manager_answers_as_envoys(name: str, both: Pair, ports: dict[str, int]) -> None:
    manager, requests = CASES[name]
    compare(both(config(manager, ROUTES), **ports), requests)


SEED = 20261121
# Independent choices; a generated configuration draws from each.
CHOICES: list[dict[str, list[str]]] = [
    {"use_remote_address": ["true", "false"]},
    {"internal_address_config": ["{unix_sockets: false}"]},
    {"xff_num_trusted_hops": ["1", "2"]},
    {"skip_xff_append": ["true"]},
    {"append_x_forwarded_port": ["true"]},
    {"normalize_path": ["true"]},
    {"merge_slashes": ["true"]},
    {
        "path_with_escaped_slashes_action": [
            "REJECT_REQUEST",
            "UNESCAPE_AND_REDIRECT",
            "UNESCAPE_AND_FORWARD",
        ]
    },
    {"strip_any_host_port": ["true"], "strip_matching_host_port": ["true"]},
    {"strip_trailing_host_dot": ["true"]},
    {"via": ["mesh"]},
    {"server_name": ["me"]},
    {"server_header_transformation": ["APPEND_IF_ABSENT", "PASS_THROUGH"]},
    {"generate_request_id": ["false"]},
    {"preserve_external_request_id": ["true"]},
    {"always_set_request_id_in_response": ["true"]},
    {"stream_error_on_invalid_http_message": ["true"]},
    {"proxy_100_continue": ["true"]},
    {"proxy_status_config": ["{}", "{remove_details: true, literal_proxy_name: p}"]},
    {"forward_client_cert_details": ["ALWAYS_FORWARD_ONLY", "APPEND_FORWARD"]},
    {"scheme_header_transformation": ["{scheme_to_overwrite: https}"]},
    {
        "http_protocol_options": [
            "{accept_http_10: true, default_host_for_http_10: d}",
            "{enable_trailers: true, allow_custom_methods: true}",
            "{allow_absolute_url: false}",
        ]
    },
    {
        "common_http_protocol_options": [
            "{max_headers_count: 8}",
            "{headers_with_underscores_action: DROP_HEADER}",
            "{headers_with_underscores_action: REJECT_REQUEST}",
        ]
    },
    {"upgrade_configs": ["[{upgrade_type: websocket}]"]},
]


def drawn(index: int) -> Case:
    draw = random.Random(f"{SEED} {index}")
    manager = {}
    for choice in CHOICES:
        if draw.random() < 0.35:
            name = draw.choice(list(choice))
            manager[name] = draw.choice(choice[name])
    shapes = [*FORWARDED, *IDS, *PATHS, *HOSTS, *REFUSED]
    shapes += [data for _, data in generated(SEED + index, 30)]
    return manager, draw.sample(shapes, 60)


LOGGED = """
RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_FLAGS BYTES_RECEIVED BYTES_SENT PROTOCOL ROUTE_NAME
UPSTREAM_CLUSTER REQ(:METHOD) REQ(:AUTHORITY) REQ(:PATH) REQ(:SCHEME) REQ(X-FORWARDED-FOR) REQ(TE)
REQ(X-FORWARDED-PROTO) REQ(X-ENVOY-INTERNAL) REQ(CONNECTION) RESP(LOCATION) RESP(CONNECTION)
QUERY_PARAMS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
DOWNSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_REQUEST_ATTEMPT_COUNT DOWNSTREAM_DETECTED_CLOSE_TYPE
""".split()
FORMATS = ", ".join(f"'{operator}': '%{operator}%'" for operator in LOGGED)
FILE_LOG = typed(
    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    f"path: requests, log_format: {{json_format: {{{FORMATS}}}}}",
)
# Envoy gives these up in the middle of the headers, and counts the name of the next one too.
HALF_COUNTED = ("http1.too_many_headers", "http1.unexpected_underscore")


def logged(server: peers.Server) -> list[list[tuple[str, Any]]]:
    """What a server that ends has logged; requests that end together may stand in any order."""
    server.terminate()
    text = (server.directory / "requests").read_text().replace(str(server.port), "PORT")
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        if line["RESPONSE_CODE_DETAILS"] in HALF_COUNTED:
            del line["DOWNSTREAM_HEADER_BYTES_RECEIVED"]
    return sorted((sorted(line.items()) for line in lines), key=str)


@pytest.mark.parametrize("index", range(12))
def test_generated_configurations(index: int, both: Pair, ports: dict[str, int]) -> None:
    manager, requests = drawn(index)
    pair = both(config({**manager, "access_log": f"[{FILE_LOG}]"}, ROUTES), **ports)
    compare(pair, requests)
    mine, envoys = (logged(server) for server in pair)
    assert [x for x in mine if x not in envoys] == [x for x in envoys if x not in mine]
    assert len(mine) == len(envoys)


@pytest.mark.parametrize("name", list(ROUTED))
def test_routes_and_clusters_too(name: str, both: Pair, ports: dict[str, int]) -> None:
    manager, routes, clusters, requests = ROUTED[name]
    compare(both(config(manager, routes, clusters), **ports), requests)


def test_interim_answers_are_passed_as_they_are(both: Pair, ports: dict[str, int]) -> None:
    """The first of several, with nothing of ours (HC-47); the reason phrase apart."""
    manager = {"proxy_100_continue": "true", "via": "x"}
    heads = []
    for server in both(config(manager, ROUTES), **ports):
        with clients.Connection(server.port) as connection:
            connection.send(request("GET /raw/1xx"))
            interim, final = connection.head(), connection.head()
        assert (interim.status, interim.headers) == (103, [])
        heads.append((final.status, [name for name, _ in final.headers]))
    assert heads[0] == heads[1]
    assert heads[0][0] == 200


def has_ended_early(server: peers.Server) -> bool:
    return gauge(server, "http.in.downstream_cx_max_duration_reached") == 1


def test_an_early_end_of_a_connection(both: Pair, ports: dict[str, int]) -> None:
    """Decided while a request is under way, be it its first bytes, it spares that one's response
    and ends the next's."""
    manager = {
        "common_http_protocol_options": "{max_connection_duration: 0.2s}",
        "http1_safe_max_connection_duration": "true",
    }
    for server in both(config(manager, ROUTES), **ports):
        with clients.Connection(server.port) as connection:
            data = request("GET /direct")
            connection.send(data[:9])
            wait_until(partial(has_ended_early, server))
            connection.send(data[9:])
            closing = [connection.reply().header("connection")]
            connection.send(data)
            closing.append(connection.reply().header("connection"))
        assert closing == [None, "close"]


def first_bytes(server: peers.Server, data: bytes) -> bytes:
    """The head of the answer, without its date, and how its body begins."""
    with clients.Connection(server.port) as connection:
        connection.send(data)
        got = b""
        while b"\r\n\r\n" not in got and (piece := connection.socket.recv(65536)):
            got += piece
    return re.sub(rb"(?im)^(date|x-envoy-upstream-service-time): .*\r\n", b"", got)


def test_answers_that_open_no_tunnel(both: Pair, ports: dict[str, int]) -> None:
    """Only 200 opens one for CONNECT, and only what speaks of an upgrade keeps its own connection
    header (HC-35, HC-40)."""
    manager = {"upgrade_configs": "[{upgrade_type: CONNECT}, {upgrade_type: websocket}]"}
    routes = to("raw", "timeout: 1s", "{connect_matcher: {}}") + ROUTES
    ours, theirs = both(config(manager, routes), **ports)
    for data, connection in [
        *((request(f"CONNECT a.com:{port}", host=f"a.com:{port}"), b"close") for port in (81, 82)),
        (request("GET /raw/426", *WEBSOCKET), b"upgrade"),
    ]:
        heads = [first_bytes(server, data).partition(b"\r\n\r\n")[0] for server in (ours, theirs)]
        assert heads[0] == heads[1]
        assert b"connection: " + connection in heads[0].lower()


def test_a_101_that_switches_to_nothing(both: Pair, ports: dict[str, int]) -> None:
    """Nothing follows it, whatever the upstream sends."""
    manager = {"upgrade_configs": "[{upgrade_type: CONNECT}, {upgrade_type: websocket}]"}
    routes = to("raw", "timeout: 1s", "{connect_matcher: {}}") + ROUTES
    servers = both(config(manager, routes), **ports)
    for data in (
        request("GET /raw/unspoken", *WEBSOCKET),
        request("CONNECT a.com:83", host="a.com:83"),
    ):
        got = []
        for server in servers:
            with clients.Connection(server.port) as connection:
                connection.send(data)
                head = connection.head()
                got.append((head.status, head.header("connection"), connection.read_to_end()))
        assert got == [(101, "close", b"")] * 2
    assert not counted(*servers)


def test_answers_of_another_status_to_upgrades(both: Pair, ports: dict[str, int]) -> None:
    """difference: handshake-keep-alive, and difference: tunnel-of-200."""
    manager = {"upgrade_configs": "[{upgrade_type: foo}, {upgrade_type: websocket}]"}
    servers = both(config(manager, ROUTES), **ports)
    for server, kept, passes in zip(servers, (None, "timeout=5"), (False, True), strict=True):
        with clients.Connection(server.port) as connection:
            connection.send(request("GET /raw/kept", *WEBSOCKET))
            assert connection.head().header("keep-alive") == kept
        with clients.Connection(server.port) as connection:
            connection.send(request("GET /raw/odd", UPGRADE, "Upgrade: foo"))
            assert connection.reply().body == b"no"
            connection.send(request("GET /raw/404"))
            if passes:
                assert connection.reply().header("server") is None
            else:
                assert connection.read_to_end() == b""


def test_an_answer_that_breaks_off(both: Pair, ports: dict[str, int]) -> None:
    """What there is of it comes before the close, though both were decided at once."""
    for server in both(config({}, ROUTES), **ports):
        with clients.Connection(server.port) as connection:
            connection.send(request("GET /raw/broken"))
            assert connection.head().status == 200
            assert connection.read_to_end() == b""


def test_who_leaves_with_another_request_waiting(both: Pair, ports: dict[str, int]) -> None:
    """Nobody waits for what the first one asked for."""
    servers = both(config({}, ROUTES), **ports)

    def asking() -> list[int]:
        return [gauge(server, "cluster.stall.upstream_rq_active") for server in servers]

    with clients.Connection(servers[0].port) as one, clients.Connection(servers[1].port) as other:
        for connection in (one, other):
            connection.send(request("GET /stall"))
        wait_until(lambda: asking() == [1, 1])
        for connection in (one, other):
            connection.send(request("GET /direct"))
    wait_until(lambda: asking() == [0, 0])
    wait_until(lambda: not counted(*servers))


def gauge(server: peers.Server, name: str) -> int:
    assert server.admin_port is not None
    text = clients.fetch(server.admin_port, f"/stats?filter=^{name}$").body.decode()
    return int(text.rpartition(": ")[2])


def test_answers_without_content(both: Pair, ports: dict[str, int]) -> None:
    """difference: bodiless-direct. A 426 that is mapped to one, too."""
    routes = [
        f"{{match: {{prefix: /{status}}}, direct_response: "
        f"{{status: {status}, body: {{inline_string: hi}}}}}}"
        for status in (204, 304)
    ]
    mapped = mapper(status_is("EQ", 426), "status_code: 204, body: {inline_string: 'hi '}")
    servers = both(config({"local_reply_config": f"{{mappers: [{mapped}]}}"}, routes), **ports)
    asked = [(request(f"GET /{s}", "Connection: close"), s) for s in (204, 304)]
    for server, body in zip(servers, (b"", b"hi"), strict=True):
        for data, status in [*asked, (b"GET / HTTP/1.0\r\n\r\n", 204)]:
            with clients.Connection(server.port) as connection:
                connection.send(data)
                assert connection.head().status == status
                assert connection.read_to_end()[: len(b"hi")] == body


def test_who_asks_for_more_than_it_reads(both: Pair, ports: dict[str, int]) -> None:
    """Two responses may wait to leave; the third request then ends the connection (H1-12)."""
    servers = both(config({}, ROUTES), **ports)
    for server in servers:
        with clients.Connection(server.port) as connection:
            connection.send(request("GET /direct") * 3)
            assert [connection.reply().status for _ in range(2)] == [200, 200]
            assert connection.read_to_end() == b""
    assert not counted(*servers)
    assert counters(servers[0])["http1.response_flood"] == 1


def test_an_answer_that_has_left_is_not_counted(both: Pair, ports: dict[str, int]) -> None:
    """difference: proxied-is-queued. What leaves before a local reply is no flood with it."""
    servers = both(config({}, ROUTES), **ports)
    for server, served in zip(servers, (3, 2), strict=True):
        with clients.Connection(server.port) as connection:
            connection.send(request("GET /echo") + request("GET /direct") * 2)
            assert [connection.reply().status for _ in range(served)] == [200] * served
            assert counters(server).get("http1.response_flood", 0) == 3 - served


def test_an_upgrade_nobody_asked_for(both: Pair, ports: dict[str, int]) -> None:
    # difference: switching-unasked
    ours, theirs = both(config({}, ROUTES), **ports)
    for headers in ((), ("Connection: keep-alive", "Upgrade: websocket")):
        data = request("GET /raw/101", *headers)
        assert ask(ours.port, data)[0]["status"] == 502
        assert ask(theirs.port, data)[0]["status"] == 101


def test_what_http_10_cannot_ask_for(both: Pair, ports: dict[str, int]) -> None:
    # difference: upgrade-http10
    ours, theirs = both(
        config({"http_protocol_options": "{accept_http_10: true}"}, ROUTES), **ports
    )
    head = b"POST /a HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    for server, expected in ((ours, 0), (theirs, 1)):
        with clients.Connection(server.port) as connection:
            connection.send(head + b"a" * (not expected))
            if expected:
                assert connection.head().status == 100
                connection.send(b"a")
            assert connection.reply().status == 200


@pytest.mark.parametrize("fields", [{"http_filters": "[]"}, {"codec_type": "HTTP2"}])
def test_what_would_not_serve_is_an_error(fields: dict[str, str], ports: dict[str, int]) -> None:
    """difference: no-filters, and difference: http2-alone."""
    values = {"port": 1, "admin_port": 2, **ports}
    text = config(fields, ROUTES)
    assert peers.envoy_accepts(text, **values)[0]
    with pytest.raises(meshcore.ConfigError, match=next(iter(fields))):
        meshcore.Gateway(peers.render(text, values)).start()


def post(server: peers.Server, path: str) -> None:
    assert server.admin_port is not None
    with clients.Connection(server.admin_port) as connection:
        assert connection.request(path, method="POST").status == 200


def test_a_drain_closes_behind_the_answer(both: Pair, ports: dict[str, int]) -> None:
    """difference: drain-at-once."""
    for server, closes in zip(both(config({}, ROUTES), **ports), (True, False), strict=True):
        with clients.Connection(server.port) as connection:
            assert connection.request("/direct").header("connection") is None
            post(server, "/healthcheck/fail")
            assert connection.request("/direct").header("connection") == "close"
            if closes:
                assert connection.read_to_end() == b""
            else:
                assert connection.request("/direct").status == 200


def test_framing_that_is_wrong_twice(both: Pair, ports: dict[str, int]) -> None:
    """difference: coding-and-empty, and difference: length-beside-chunked."""
    ours, theirs = both(config({}, ROUTES), **ports)
    data = request("POST /a", CHUNKED, "Transfer-Encoding:", body=BODY)
    assert [ask(server.port, data)[0]["status"] for server in (ours, theirs)] == [501, 200]
    data = request("POST /a", CHUNKED, "Content-Length: x", body=BODY)
    told_details = ("http1.codec_error", "http1.content_length_and_chunked_not_allowed")
    for server, details in zip((ours, theirs), told_details, strict=True):
        reply = ask(server.port, data)[0]
        assert reply["status"] == 400
        assert f"details={details} " in reply["body"]


def test_what_counts_as_bytes_of_a_head(both: Pair, ports: dict[str, int]) -> None:
    """difference: head-bytes."""
    servers = both(config({"max_request_headers_kb": "1"}, ROUTES), **ports)

    def statuses(size: int) -> list[Any]:
        data = request("GET /direct", "a: ")
        data = data.replace(b"a: ", b"a: " + b"x" * (size - len(data)))
        return [ask(server.port, data)[0]["status"] for server in servers]

    assert [statuses(size) for size in (1024, 1025, 1200)] == [[200, 200], [200, 431], [431, 431]]


def test_an_upgrade_that_is_mutated_away(both: Pair, ports: dict[str, int]) -> None:
    """difference: upgrade-mutated."""
    early = typed(EARLY, "mutations: [{remove: upgrade}]")
    ours, theirs = both(config({"early_header_mutation_extensions": f"[{early}]"}, ROUTES), **ports)
    for server, answered in ((ours, True), (theirs, False)):
        with clients.Connection(server.port) as connection:
            connection.send(request("GET /a", *WEBSOCKET))
            if answered:
                assert b"connection: upgrade" not in connection.reply().body.lower()
            else:
                wait_until(lambda: gauge(theirs, "cluster.echo.upstream_rq_active") == 1)
                connection.socket.setblocking(False)
                with pytest.raises(BlockingIOError):
                    connection.socket.recv(1)


def test_an_upgrade_that_is_only_spoken_of(both: Pair, ports: dict[str, int]) -> None:
    """difference: upgrade-required."""
    servers = both(config({"upgrade_configs": "[{upgrade_type: websocket}]"}, ROUTES), **ports)
    theirs = servers[1]
    for server, closes in zip(servers, (True, False), strict=True):
        with clients.Connection(server.port) as connection:
            connection.send(request("GET /raw/426", *WEBSOCKET))
            assert connection.head().status == 426
            if closes:
                assert connection.read_to_end() == b""
            else:
                wait_until(lambda: gauge(theirs, "http.in.downstream_rq_active") == 1)


def test_an_odd_interim_answer_before_an_upgrade(both: Pair, ports: dict[str, int]) -> None:
    """difference: odd-interim."""
    ours, theirs = both(config({"upgrade_configs": "[{upgrade_type: websocket}]"}, ROUTES), **ports)
    data = request("GET /raw/199", *WEBSOCKET)
    assert ask(ours.port, data)[0]["status"] == 101
    assert ask(theirs.port, data)[0] == "closed without an answer"


def test_phrases_that_only_one_of_both_knows(both: Pair, ports: dict[str, int]) -> None:
    """difference: odd-phrases."""
    ours, theirs = both(config({"proxy_100_continue": "true"}, ROUTES), **ports)
    for server, phrase in ((ours, "Early Hints"), (theirs, "Unknown")):
        with clients.Connection(server.port) as connection:
            connection.send(request("GET /raw/103"))
            head = connection.head()
            assert (head.status, head.reason) == (103, phrase)
            assert connection.reply().status == 200


def test_a_watched_body(both: Pair, ports: dict[str, int], tmp_path: Path) -> None:
    """difference: watched-body."""
    body = tmp_path / "body"
    body.write_text("one")
    source = f"{{filename: {body}, watched_directory: {{path: {tmp_path}}}}}"
    routes = [f"{{match: {{prefix: /}}, direct_response: {{status: 200, body: {source}}}}}"]
    ours, theirs = both(config({}, routes), **ports)

    def answer_of(server: peers.Server) -> bytes:
        with clients.Connection(server.port) as connection:
            return connection.request("/").body[:3]

    assert [answer_of(server) for server in (ours, theirs)] == [b"one", b"one"]
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(body)
    wait_until(lambda: answer_of(theirs) == b"two")
    assert answer_of(ours) == b"one"
