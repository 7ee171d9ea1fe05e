"""Filters and the requests that show what they do: what test_envoy_diff_filters.py compares.

A case is a listener of its own, whose stats are below ``http.<name>.``; its routes are those of its
virtual host, by default everything to the upstream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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


def ask(line: str = "GET /", /, body: bytes | None = None, **headers: str) -> Request:
    """A request with headers, whose names have `_` for `-`."""
    return Request(line, [(n.replace("_", "-"), v) for n, v in headers.items()], body)


def answered(request: Request, *reply: tuple[str, str], status: int = 200, body: str = "hello") -> Request:
    """The request, answered by the upstream like this."""
    return Request(request.line, request.headers, request.body, status, list(reply), body)


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
                to_upstream("/off", **per_route("buffer", "buffer.v3.BufferPerRoute", disabled=True)),
                to_upstream(
                    "/more",
                    **per_route("buffer", "buffer.v3.BufferPerRoute", buffer={"max_request_bytes": 20}),
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
                to_upstream("/own", **per_route("fault", kind, abort={"http_status": 404, "percentage": always})),
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
        return per_route(
            "hm", "header_mutation.v3.HeaderMutationPerRoute", mutations=mutations
        )

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


CASES = {case.name: case for make in (csrf, buffer, fault, header_mutation) for case in make()}
