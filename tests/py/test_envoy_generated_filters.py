"""Filters with configurations made by chance, beside real Envoy: answers, what the upstream
received, and the filters' stats.

`GENERATED_SEED=7 pytest tests/py/test_envoy_generated_filters.py` runs other ones.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import peers
import pytest
from filter_cases import (
    ALL,
    NONE,
    Case,
    Request,
    Tree,
    flag,
    http_filter,
    library,
    per_route,
    show,
    to_upstream,
)
from test_envoy_diff_filters import bootstrap, obey, run
from upstreams import Upstream

pytestmark = pytest.mark.oracle

CASES_EACH, REQUESTS = 4, 14
RUNTIME = {"envoy.reloadable_features.match_headers_individually": False}  # as rule RT-12


class Draw(random.Random):
    """What the generators choose with."""

    def some(self, share: float = 0.5) -> bool:
        return self.random() < share

    def fields(self, share: float, **choices: Any) -> Tree:
        """Some of the fields; a callable makes its value, a list is chosen from."""
        out = {}
        for name, choice in choices.items():
            if self.some(share):
                out[name] = choice() if callable(choice) else self.choice(choice)
        return out

    def several(self, make: Callable[[], Any], low: int, high: int) -> list[Any]:
        return [make() for _ in range(self.randint(low, high))]


WORDS = ("a", "b", "ab", "A", "a.test", "", "1", "x y", "a,b")


def string_match(draw: Draw) -> Tree:
    kind = draw.choice(("exact", "prefix", "suffix", "contains", "safe_regex"))
    if kind == "safe_regex":
        return {"safe_regex": {"regex": draw.choice((".*", "a+", "[a-c]", "^/.*a$", "a|b"))}}
    word = draw.choice(("a", "b", "ab", "A", ".test", "/a"))
    return {kind: word, **draw.fields(0.3, ignore_case=[True])}


def header_match(draw: Draw) -> Tree:
    name = draw.choice(("x-a", "x-b", ":method", ":path", ":authority", "host", "cookie"))
    match: Tree = draw.choice(
        (
            {"present_match": draw.some()},
            {"string_match": string_match(draw)},
            {"range_match": {"start": 0, "end": 5}},
            {"exact_match": "a"},
        )
    )
    more = draw.fields(0.25, invert_match=[True], treat_missing_header_as_empty=[True])
    return {"name": name, **match, **more}


def some_headers(draw: Draw, *names: str) -> list[tuple[str, str]]:
    drawn = draw.several(lambda: (draw.choice(names), draw.choice(WORDS)), 0, 4 * bool(names))
    hosts = [pair for pair in drawn if pair[0] == "host" and pair[1]][:1]
    return [*hosts, *(pair for pair in drawn if pair[0] != "host")]


def line(draw: Draw) -> str:
    method = draw.choice(("GET", "GET", "GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"))
    path = draw.choice(("/", "/a", "/a/b", "/a?b=1", "/b", "/own", "/off", "/own/a", "/ab?a"))
    return f"{method} {path}"


def ask(draw: Draw, *names: str, more: list[tuple[str, str]] | None = None) -> Request:
    first = line(draw)
    body = draw.randbytes(draw.choice((0, 1, 9, 40))) if first[0] == "P" else None
    status = draw.choice((200, 200, 200, 204, 404, 500))
    return Request(first, [*some_headers(draw, *names), *(more or [])], body, status)


def placed(draw: Draw, name: str, kind: str, make: Callable[[], Tree]) -> dict[str, Any]:
    """Routes, virtual host and table with configurations of their own for the filter, or none."""
    own = to_upstream("/own", **per_route(name, kind, **make()))
    off = to_upstream("/off", **flag(name, disabled=True))
    out: dict[str, Any] = {"routes": [own, off, to_upstream()]}
    if draw.some(0.3):
        out["host"] = per_route(name, kind, **make())
    if draw.some(0.2):
        out["table"] = per_route(name, kind, **make())
    return out


# --- a generator for each filter ------------------------------------------------------------------


def cors(draw: Draw) -> Case:
    def policy() -> Tree:
        return draw.fields(
            0.5,
            allow_origin_string_match=lambda: draw.several(
                lambda: draw.choice(
                    ({"exact": "http://a"}, {"exact": "*"}, {"suffix": ".test"}, string_match(draw))
                ),
                0,
                3,
            ),
            allow_methods=["GET", "GET, PUT", "*", ""],
            allow_headers=["x-a", "*", "x-a,x-b"],
            expose_headers=["x-e", "*"],
            max_age=["60", "x", ""],
            allow_credentials=[True, False],
            filter_enabled=[ALL, NONE],
            shadow_enabled=[ALL, NONE],
            allow_private_network_access=[True, False],
            forward_not_matching_preflights=[True, False],
        )

    def request() -> Request:
        drawn = ask(draw, "x-a")
        for name, values in (
            ("origin", ("http://a", "http://b", "a", "null", "", "https://x.test", "http://A")),
            ("access-control-request-method", ("GET", "", "PUT")),
            ("access-control-request-headers", ("x-a", "", "x-a, x-b")),
            ("access-control-request-private-network", ("true", "false")),
        ):
            if draw.some(0.6):
                drawn.headers.append((name, draw.choice(values)))
        if draw.some(0.5):
            drawn.line = "OPTIONS " + drawn.line.split(" ")[1]
        if draw.some(0.3):
            drawn.reply = [("access-control-allow-origin", "up"), ("access-control-max-age", "1")]
        return drawn

    chain = [http_filter("cors", "cors.v3.Cors")]
    requests = draw.several(request, REQUESTS, REQUESTS)
    return Case("", chain, requests, **placed(draw, "cors", "cors.v3.CorsPolicy", policy))


def csrf(draw: Draw) -> Case:
    kind = "csrf.v3.CsrfPolicy"

    def policy() -> Tree:
        return {
            "filter_enabled": draw.choice((ALL, ALL, NONE)),
            **draw.fields(
                0.5,
                shadow_enabled=[ALL, NONE],
                additional_origins=lambda: draw.several(lambda: string_match(draw), 1, 2),
            ),
        }

    urls = (
        "http://a",
        "http://localhost",
        "http://a.test/x",
        "null",
        "",
        "x",
        "https://b:1/?",
        "/",
    )

    def request() -> Request:
        drawn = ask(draw, "x-a", "host")
        drawn.headers += [(n, draw.choice(urls)) for n in ("origin", "referer") if draw.some(0.6)]
        return drawn

    requests = draw.several(request, REQUESTS, REQUESTS)
    return Case(
        "", [http_filter("csrf", kind, **policy())], requests, **placed(draw, "csrf", kind, policy)
    )


ADDRESSES = ("127.0.0.1", "10.0.0.0", "0.0.0.0", "192.168.1.7")


def cidr(draw: Draw) -> Tree:
    return {
        "address_prefix": draw.choice(ADDRESSES),
        "prefix_len": draw.choice((0, 8, 24, 32)),
    }


def rbac(draw: Draw) -> Case:
    def metadata() -> Tree:
        return {
            "filter": "m",
            "path": [{"key": draw.choice(("k", "n"))}],
            "value": {"string_match": string_match(draw)},
            **draw.fields(0.3, invert=[True]),
        }

    def shared(depth: int, make: Callable[[int], Tree], kind: str) -> list[Callable[[], Tree]]:
        both, either, neither, inner = (
            ("and_rules", "or_rules", "not_rule", "rules")
            if kind == "p"
            else ("and_ids", "or_ids", "not_id", "ids")
        )
        choices: list[Callable[[], Tree]] = [
            lambda: {"any": True},
            lambda: {"header": header_match(draw)},
            lambda: {"url_path": {"path": string_match(draw)}},
            lambda: {"metadata": metadata()},
            lambda: {
                "sourced_metadata": {
                    "metadata_matcher": metadata(),
                    "metadata_source": draw.choice(("DYNAMIC", "ROUTE")),
                }
            },
        ]
        if depth > 0:
            choices += [
                lambda: {both: {inner: draw.several(lambda: make(depth - 1), 1, 2)}},
                lambda: {either: {inner: draw.several(lambda: make(depth - 1), 1, 2)}},
                lambda: {neither: make(depth - 1)},
            ]
        return choices

    def permission(depth: int = 2) -> Tree:
        choices = shared(depth, permission, "p")
        choices += [
            lambda: {"destination_ip": cidr(draw)},
            lambda: {"destination_port_range": {"start": 1, "end": draw.choice((2, 65536))}},
            lambda: {"requested_server_name": string_match(draw)},
            lambda: {
                "uri_template": {
                    "name": "t",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3"
                        ".UriTemplateMatchConfig",
                        "path_template": draw.choice(("/a/*", "/{x}/b", "/**", "/a")),
                    },
                }
            },
        ]
        return draw.choice(choices)()

    def principal(depth: int = 2) -> Tree:
        choices = shared(depth, principal, "i")
        choices += [
            lambda: {"source_ip": cidr(draw)},
            lambda: {"direct_remote_ip": cidr(draw)},
            lambda: {"remote_ip": cidr(draw)},
            lambda: {"authenticated": {}},
        ]
        return draw.choice(choices)()

    def rules() -> Tree:
        policies = {
            name: {
                "permissions": draw.several(permission, 1, 2),
                "principals": draw.several(principal, 1, 2),
            }
            for name in draw.sample(("a", "b", "c", "Z"), draw.randint(0, 3))
        }
        return {"action": draw.choice(("ALLOW", "DENY", "LOG")), "policies": policies}

    def config() -> Tree:
        return draw.fields(
            0.6,
            rules=rules,
            shadow_rules=rules,
            rules_stat_prefix=["pre"],
            shadow_rules_stat_prefix=["sh_"],
            track_per_rule_stats=[True],
        )

    meta = "%DYNAMIC_METADATA(envoy.filters.http.rbac)%"
    value = {"metadata_namespace": "m", "value": {"k": draw.choice(("a", "b")), "o": 1}}
    chain = [
        http_filter("set", "set_metadata.v3.Config", metadata=[value]),
        http_filter("rbac", "rbac.v3.RBAC", **config()),
        show(rbac=meta, hint="%DYNAMIC_METADATA(envoy.common:access_log_hint)%"),
    ]

    def request() -> Request:
        drawn = ask(draw, "x-a", "x-a", "x-b", "cookie", "host")
        if draw.some(0.4):
            drawn.headers.append(("x-forwarded-for", draw.choice(("10.1.1.1", "1.2.3.4"))))
        return drawn

    routes = placed(draw, "rbac", "rbac.v3.RBACPerRoute", lambda: draw.fields(0.8, rbac=config))
    routes["routes"][2]["metadata"] = {"filter_metadata": {"m": {"k": draw.choice(("a", "ab"))}}}
    return Case("", chain, draw.several(request, REQUESTS, REQUESTS), **routes)


FORMATS = (
    "v",
    "%REQ(x-a)%",
    "%REQ(x-a?x-b)%-",
    "%PROTOCOL%",
    "%REQ(:path):2%",
    "",
    "a b&c=d",
    "%%",
)
ACTIONS = (
    "APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS", "OVERWRITE_IF_EXISTS_OR_ADD",
)  # fmt: skip


def header_mutation(draw: Draw) -> Case:
    def mutation() -> Tree:
        name = draw.choice(("x-a", "x-b", "x-n", "X-A"))
        if draw.some(0.2):
            return {"remove": name}
        if draw.some(0.15):
            key = draw.choice(({"prefix": "x-"}, {"suffix": "-a"}, {"exact": "x-b"}))
            return {"remove_on_match": {"key_matcher": key}}
        header = {"key": name, "value": draw.choice(FORMATS)}
        more = draw.fields(0.5, append_action=ACTIONS, keep_empty_value=[True])
        return {"append": {"header": header, **more}}

    def parameter() -> Tree:
        key = draw.choice(("a", "b", "c d", "%26", "é"))
        if draw.some(0.3):
            return {"remove": key}
        record = {"key": key, "value": draw.choice(FORMATS)}
        return {"append": {"record": record, **draw.fields(0.7, action=ACTIONS)}}

    def mutations() -> Tree:
        return {
            "mutations": {
                "request_mutations": draw.several(mutation, 0, 3),
                "response_mutations": draw.several(mutation, 0, 3),
                "query_parameter_mutations": draw.several(parameter, 0, 3),
                "request_trailers_mutations": draw.several(mutation, 0, 1),
                "response_trailers_mutations": draw.several(mutation, 0, 1),
            }
        }

    queries = ("", "?", "?a=1", "?a=1&a=2&b", "?b=&c%20d=x", "?%26=1&a=%20", "?a=x+y&=z&&", "?é=1")

    def request() -> Request:
        drawn = ask(draw, "x-a", "x-b", "X-a")
        drawn.line = drawn.line.partition("?")[0] + draw.choice(queries).encode().decode("latin-1")
        drawn.reply = some_headers(draw, "x-a", "x-b", "x-n")
        return drawn

    wins = draw.fields(0.5, most_specific_header_mutations_wins=[True])
    kind = "header_mutation.v3.HeaderMutation"
    chain = [http_filter("hm", kind, **mutations(), **wins)]
    routes = placed(draw, "hm", kind + "PerRoute", mutations)
    return Case("", chain, draw.several(request, REQUESTS, REQUESTS), **routes)


def header_to_metadata(draw: Draw) -> Case:
    kind = "header_to_metadata.v3.Config"

    def pair(missing: bool) -> Tree:
        out: Tree = {"key": draw.choice("kln"), **draw.fields(0.5, metadata_namespace=["m", "n"])}
        if missing:
            return {**out, "value": draw.choice(("none", "3", "x"))}
        kinds = draw.fields(0.4, type=["STRING", "NUMBER"])
        how = draw.randrange(4)
        if how == 0:
            return {**out, **kinds, "value": draw.choice(("v", "7", "7.5"))}
        if how == 1:
            regex, text = draw.choice((("^(a)(.*)$", "<\\1>"), ("a", "z"), (".*", "<\\0>")))
            rewrite = {"pattern": {"regex": regex}, "substitution": text}
            return {**out, "regex_value_rewrite": rewrite}
        return {**out, **kinds, **draw.fields(0.3, encode=["NONE", "BASE64"])}

    def rule() -> Tree:
        source = draw.choice(
            ({"header": "x-a"}, {"header": "x-b"}, {"cookie": "c"}, {"header": "H"})
        )
        present: Tree = {"on_header_present": pair(False)}
        missing: Tree = {"on_header_missing": pair(True)}
        both = draw.choice((present, missing, {**present, **missing}))
        gone = {} if "cookie" in source else draw.fields(0.3, remove=[True])
        return {**source, **both, **gone}

    counted = f"h{draw.randrange(10**9)}"

    def config() -> Tree:
        rules = draw.fields(0.4, response_rules=lambda: draw.several(rule, 1, 2))
        return {
            "request_rules": draw.several(rule, 1, 4),
            **rules,
            **draw.fields(0.7, stat_prefix=[counted, f"{counted}.own"]),
        }

    values = (
        *WORDS,
        "7",
        "1e2",
        " 3 ",
        "aGk=",
        "aGk",
        "aGl",
        "YQ===",
        "a-_b",
        "!",
        "0x1",
        "a" * 9000,
        "-0",
    )

    def request() -> Request:
        drawn = ask(draw, "x-z")
        for name in ("x-a", "x-b", "h", "x-a"):
            if draw.some():
                drawn.headers.append((name, draw.choice(values)))
        if draw.some():
            cookies = ("c=1", "d=2; c=a", "c=", "c", 'c="a"', "C=1", "c=1; c=2")
            drawn.headers.append(("cookie", draw.choice(cookies)))
        return drawn

    default = "envoy.filters.http.header_to_metadata"
    spaces = {"m": "m", "n": "n", "d": default}
    seen = show(**{name: f"%DYNAMIC_METADATA({space})%" for name, space in spaces.items()})
    chain = [http_filter("h2m", kind, **config()), seen]
    routes = placed(draw, "h2m", kind, config)
    stats = (f"http_filter_name.{counted}",)
    return Case("", chain, draw.several(request, REQUESTS, REQUESTS), stats=stats, **routes)


def local_ratelimit(draw: Draw) -> Case:
    kind = "local_ratelimit.v3.LocalRateLimit"

    def bucket() -> Tree:
        return {
            "token_bucket": {
                "max_tokens": draw.choice((1, 2, 3, 5)),
                "fill_interval": "900s",
                **draw.fields(0.3, tokens_per_fill=[1, 2]),
            }
        }

    def action() -> Tree:
        key = {"descriptor_key": draw.choice("kl")}
        return draw.choice(
            (
                {"generic_key": {"descriptor_value": draw.choice("ab"), **key}},
                {"request_headers": {"header_name": draw.choice(("x-a", "x-b")), **key}},
                {"header_value_match": {
                    "descriptor_value": "m", **key, "headers": [header_match(draw)],
                    **draw.fields(0.3, expect_match=[False]),
                }},
                {"remote_address": {}},
                {"request_headers": {"header_name": "x-a", "skip_if_absent": True, **key}},
                {"query_parameters": {"query_parameter_name": "b", **key}},
            )
        )  # fmt: skip

    def limit() -> Tree:
        return {
            "actions": draw.several(action, 1, 2),
            **draw.fields(0.15, stage=[1], disable_key=["key"]),
            **draw.fields(0.2, hits_addend=lambda: {"number": draw.choice((0, 1, 2))}),
        }

    def entry() -> Tree:
        return {
            "key": draw.choice(("k", "l", "remote_address")),
            **draw.fields(0.7, value=["a", "b", "m", "127.0.0.1"]),
        }

    def descriptors() -> list[Tree]:
        found = {}
        for _ in range(draw.randint(1, 4)):
            entries = draw.several(entry, 1, 2)
            found[json.dumps(entries)] = {"entries": entries, **bucket()}
        return list(found.values())

    def config(*, route: bool = False) -> Tree:
        return {
            "stat_prefix": draw.choice(("rl", "rl2")),
            "filter_enabled": draw.choice((ALL, ALL, ALL, NONE)),
            "filter_enforced": draw.choice((ALL, ALL, ALL, NONE)),
            **(bucket() if route or draw.some(0.7) else {}),
            **draw.fields(
                0.4,
                status=[{"code": "ServiceUnavailable"}, {"code": "OK"}, {"code": "Forbidden"}],
                descriptors=descriptors,
                rate_limits=lambda: [
                    {k: v for k, v in each.items() if k not in ("stage", "disable_key")}
                    for each in draw.several(limit, 1, 2)
                ],
                always_consume_default_token_bucket=[False],
                rate_limited_as_resource_exhausted=[True],
                enable_x_ratelimit_headers=["DRAFT_VERSION_03"],
                response_headers_to_add=[[{"header": {"key": "x-r", "value": "%REQ(x-a)%"}}]],
                request_headers_to_add_when_not_enforced=[
                    [{"header": {"key": "x-l", "value": "%REQ(x-a)%-"}}]
                ],
                vh_rate_limits=["OVERRIDE", "INCLUDE", "IGNORE"],
                stage=[1],
            ),
            **draw.choice(
                (
                    {},
                    {"local_rate_limit_per_downstream_connection": True},
                    {"local_cluster_rate_limit": {}},
                )
            ),
        }

    def request() -> Request:
        drawn = ask(draw, "x-a", "x-b")
        if draw.some(0.2):
            drawn.headers.append(("content-type", "application/grpc"))
        return drawn

    place = placed(draw, "rl", kind, lambda: config(route=True))
    for route in place["routes"]:
        if draw.some(0.6):
            route["route"] = {**route["route"], "rate_limits": draw.several(limit, 1, 3)}
    if draw.some(0.5):
        place.setdefault("host", {})["rate_limits"] = draw.several(limit, 1, 2)
    requests = draw.several(request, 2 * REQUESTS, 2 * REQUESTS)
    chain = [http_filter("rl", kind, **config())]
    return Case("", chain, requests, stats=("rl.http_local", "rl2.http_local"), **place)


TEXT = "compress me, compress me again, and again, and once more " * 4


def compressor(draw: Draw) -> Case:
    kind = "compressor.v3.Compressor"
    types = ["text/html", "application/json", "image/x"]

    def common() -> Tree:
        off = {"default_value": draw.some(0.7), "runtime_key": "nothing"}
        return draw.fields(
            0.3,
            enabled=[off],
            min_content_length=[10, 60, 400],
            content_type=lambda: draw.sample(types, draw.randint(1, 2)),
        )

    def response() -> Tree:
        return draw.fields(
            0.35,
            common_config=common,
            disable_on_etag_header=[True],
            remove_accept_encoding_header=[True],
            uncompressible_response_codes=[[404], [204, 500]],
            status_header_enabled=[True],
        )

    def one(name: str, *coding: str) -> Tree:
        return http_filter(
            name,
            kind,
            **library("compressor", *coding),
            **draw.fields(0.7, response_direction_config=response),
            **draw.fields(0.2, request_direction_config=lambda: {"common_config": common()}),
            **draw.fields(0.2, choose_first=[True]),
        )

    chain = [one("c")]
    if draw.some(0.4):
        chain.append(one("b", "brotli", "Brotli"))

    def own() -> Tree:
        if draw.some(0.3):
            return {"disabled": True}
        fields = draw.fields(0.7, remove_accept_encoding_header=[True, False])
        coding = draw.choice(((), ("brotli", "Brotli"), ("zstd", "Zstd")))
        return {
            "overrides": draw.fields(
                0.6,
                response_direction_config=[fields],
                compressor_library=lambda: library("compressor", *coding)["compressor_library"],
            )
        }

    qs = ("", "", ";q=0", ";q=0.5", "; q=1", ";q=x", ";q=1.5", ";Q=0.1")
    codings = ("gzip", "br", "zstd", "*", "identity", "deflate", "GZIP", "", "x-gzip")

    def request() -> Request:
        drawn = ask(draw, "x-a")
        if draw.some(0.85):
            accepts = draw.several(lambda: draw.choice(codings) + draw.choice(qs), 1, 3)
            drawn.headers.append(("accept-encoding", draw.choice((", ", ",")).join(accepts)))
        if drawn.body is not None and draw.some():
            drawn.body = TEXT.encode()
        drawn.reply_body = draw.choice((TEXT, TEXT, "short", ""))
        for name, values in (
            ("content-type", ("text/html", "text/html; a=b", "Application/JSON", "image/x", "")),
            ("etag", ('"s"', 'W/"w"', "x")),
            ("cache-control", ("no-transform", "max-age=1, no-transform", "private")),
            ("content-encoding", ("br", "identity", "gzip")),
            ("vary", ("origin", "accept-encoding", "*", "Accept-Encoding, x")),
            ("transfer-encoding", ("chunked",)),
        ):
            if draw.some(0.25):
                drawn.reply.append((name, draw.choice(values)))
        return drawn

    routes = placed(draw, "c", "compressor.v3.CompressorPerRoute", own)
    return Case("", chain, draw.several(request, REQUESTS, REQUESTS), **routes)


def decompressor(draw: Draw) -> Case:
    def common() -> Tree:
        off = {"default_value": draw.some(0.6), "runtime_key": "nothing"}
        return draw.fields(0.4, enabled=[off], ignore_no_transform_header=[True])

    chain = [
        http_filter(
            "d",
            "decompressor.v3.Decompressor",
            **library("decompressor"),
            **draw.fields(
                0.5,
                request_direction_config=lambda: {
                    "common_config": common(),
                    **draw.fields(0.5, advertise_accept_encoding=[True, False]),
                },
                response_direction_config=lambda: {"common_config": common()},
            ),
        )
    ]
    packed = gzip.compress(b"hello " * 50, mtime=0)
    codings = ("gzip", "GZIP", "gzip, br", "br, gzip", "br", "gzip,gzip", " gzip ", "")

    def request() -> Request:
        drawn = ask(draw, "x-a")
        if drawn.body is not None:
            drawn.body = draw.choice((packed, b"plain"))
            drawn.headers.append(("content-encoding", draw.choice(codings)))
        if draw.some(0.3):
            drawn.headers.append(("accept-encoding", draw.choice(("gzip", "br", "*", "x;q=0"))))
        drawn.reply_body = draw.choice((packed, packed, b"plain")).decode("latin-1")
        if draw.some(0.8):
            drawn.reply.append(("content-encoding", draw.choice(codings)))
        if draw.some(0.2):
            drawn.reply.append(("cache-control", "no-transform"))
        if draw.some(0.2):
            drawn.reply.append(("transfer-encoding", "chunked"))
        return drawn

    return Case("", chain, draw.several(request, REQUESTS, REQUESTS))


def fault(draw: Draw) -> Case:
    kind = "fault.v3.HTTPFault"

    def share() -> Tree:
        return {"numerator": draw.choice((0, 100, 100)), "denominator": "HUNDRED"}

    def config() -> Tree:
        return draw.fields(
            0.5,
            abort=lambda: {
                **draw.choice(({"http_status": 418}, {"grpc_status": 5}, {"header_abort": {}})),
                "percentage": share(),
            },
            delay=lambda: {
                **draw.choice(({"fixed_delay": "0.01s"}, {"header_delay": {}})),
                "percentage": share(),
            },
            headers=lambda: [header_match(draw)],
            upstream_cluster=["up", "other"],
            downstream_nodes=[["n"], ["n", "m"]],
            max_active_faults=[0, 1],
            filter_metadata=[{"a": 1}],
            disable_downstream_cluster_stats=[True],
        )

    def request() -> Request:
        drawn = ask(draw, "x-a", "x-b")
        for name, values in (
            ("x-envoy-fault-abort-request", ("503", "199", "600", "x", "")),
            ("x-envoy-fault-abort-grpc-request", ("7", "16", "17", "x")),
            ("x-envoy-fault-abort-request-percentage", ("0", "100", "200", "x")),
            ("x-envoy-fault-delay-request", ("5", "0", "x", "-1")),
            ("x-envoy-fault-delay-request-percentage", ("0", "100")),
            ("x-envoy-downstream-service-cluster", ("front", "")),
            ("x-envoy-downstream-service-node", ("n", "o")),
            ("content-type", ("application/grpc",)),
        ):
            if draw.some(0.25):
                drawn.headers.append((name, draw.choice(values)))
        return drawn

    routes = placed(draw, "fault", kind, config)
    chain = [http_filter("fault", kind, **config())]
    return Case("", chain, draw.several(request, REQUESTS, REQUESTS), **routes)


def ip_tagging(draw: Draw) -> Case:
    # One tag an address: explained("tag-order").
    blocks = draw.sample(
        (("10.0.0.0", 8), ("10.9.0.0", 16), ("192.168.1.7", 32), ("1.0.0.0", 7)), 3
    )
    tags = [
        {"ip_tag_name": f"t{n}", "ip_list": [{"address_prefix": prefix, "prefix_len": bits}]}
        for n, (prefix, bits) in enumerate(blocks)
    ]
    config = draw.fields(
        0.5,
        request_type=["BOTH", "INTERNAL", "EXTERNAL"],
        ip_tag_header=lambda: {
            "header": draw.choice(("x-t", "X-T")),
            **draw.fields(0.5, action=["SANITIZE", "APPEND_IF_EXISTS_OR_ADD"]),
        },
    )

    def request() -> Request:
        drawn = ask(draw, "x-t", "x-envoy-ip-tags")
        if draw.some(0.8):
            values = ("10.1.1.1", "1.2.3.4", "192.168.1.7", "127.0.0.1, 10.0.0.1")
            drawn.headers.append(("x-forwarded-for", draw.choice(values)))
        return drawn

    chain = [http_filter("ip", "ip_tagging.v3.IPTagging", ip_tags=tags, **config)]
    return Case("", chain, draw.several(request, REQUESTS, REQUESTS))


def set_metadata(draw: Draw) -> Case:
    def value(depth: int) -> Any:
        if depth and draw.some(0.4):
            return {draw.choice("abc"): value(depth - 1) for _ in range(draw.randint(0, 3))}
        if depth and draw.some(0.3):
            return draw.several(lambda: value(depth - 1), 0, 2)
        return draw.choice((1, 0.5, "t", "", True, False))

    def entry() -> Tree:
        return {
            "metadata_namespace": draw.choice(("m", "n")),
            "value": {draw.choice("abc"): value(2) for _ in range(draw.randint(0, 3))},
            **draw.fields(0.6, allow_overwrite=[True]),
        }

    kind = "set_metadata.v3.Config"
    chain = [
        http_filter("one", kind, metadata=draw.several(entry, 0, 4)),
        http_filter("two", kind, metadata=draw.several(entry, 1, 3)),
        show(m="%DYNAMIC_METADATA(m)%", a="%DYNAMIC_METADATA(m:a)%", n="%DYNAMIC_METADATA(n)%"),
    ]
    return Case("", chain, [ask(draw), ask(draw)])


def grpc_stats(draw: Draw) -> Case:
    config = draw.choice(
        (
            {},
            {"stats_for_all_methods": True},
            {"stats_for_all_methods": False},
            {"individual_method_stats_allowlist": {
                "services": [{"name": "a.B", "method_names": ["C", "D"]}]
            }},
        )
    )  # fmt: skip
    more = draw.fields(0.4, emit_filter_state=[True], replace_dots_in_grpc_service_name=[True])
    frames = (b"", b"\0\0\0\0\3abc", b"\0\0\0\0\0" * 3, b"\0\0\0\0\3ab", b"\x01\0\0\0\1a")

    def request() -> Request:
        path = draw.choice(("/a.B/C", "/a.B/D", "/a.B/E", "/x/y", "/x", "/a.B/C/z", "/"))
        types = ("application/grpc", "application/grpc", "application/grpc+proto", "text/html")
        headers = [("content-type", draw.choice(types))]
        reply = [("content-type", draw.choice(types))]
        if draw.some(0.8):
            reply.append(("grpc-status", draw.choice(("0", "1", "13", "99", "x"))))
        body = draw.choice(frames) + draw.choice(frames)
        answer = draw.choice(frames).decode("latin-1")
        status = draw.choice((200, 200, 200, 500))
        return Request(f"POST {path}", headers, body, status, reply, answer)

    chain = [
        http_filter("g", "grpc_stats.v3.FilterConfig", **config, **more),
    ]
    requests = draw.several(request, REQUESTS, REQUESTS)
    return Case("", chain, requests)


def buffer(draw: Draw) -> Case:
    def size() -> Tree:
        return {"max_request_bytes": draw.choice((1, 9, 39, 40, 100))}

    def own() -> Tree:
        return {"disabled": True} if draw.some(0.4) else {"buffer": size()}

    def request() -> Request:
        drawn = ask(draw, "x-a")
        if drawn.body and draw.some(0.4):
            drawn.headers.append(("transfer-encoding", "chunked"))
        return drawn

    routes = placed(draw, "b", "buffer.v3.BufferPerRoute", own)
    chain = [http_filter("b", "buffer.v3.Buffer", **size())]
    return Case("", chain, draw.several(request, REQUESTS, REQUESTS), **routes)


def health_check(draw: Draw) -> Case:
    through = draw.some()
    config: Tree = {
        "pass_through_mode": through,
        "headers": draw.several(lambda: header_match(draw), 1, 2),
        **({} if not through else draw.fields(0.5, cache_time=["100s"])),
        **draw.fields(
            0.4,
            cluster_min_healthy_percentages=lambda: {
                name: {"value": draw.choice((0, 50, 100))}
                for name in draw.sample(("up", "empty", "none"), draw.randint(1, 2))
            },
        ),
    }

    def request() -> Request:
        drawn = ask(draw, "x-a", "x-b", "cookie", "host")
        drawn.reply = draw.choice(([], [("x-envoy-degraded", "1")]))
        return drawn

    chain = [http_filter("hc", "health_check.v3.HealthCheck", **config)]
    return Case("", chain, draw.several(request, REQUESTS, REQUESTS))


def stateful_session(draw: Draw) -> Case:
    kind = "stateful_session.v3.StatefulSession"
    state = "type.googleapis.com/envoy.extensions.http.stateful_session."

    def config() -> Tree:
        which = draw.choice(("cookie", "cookie", "header", "envelope"))
        typed: Tree
        if which == "header":
            typed = {"@type": state + "header.v3.HeaderBasedSessionState", "name": "x-s"}
        elif which == "envelope":
            typed = {
                "@type": state + "envelope.v3.EnvelopeSessionState",
                "header": {"name": "x-s"},
            }
        else:
            cookie = {
                "name": "c",
                **draw.fields(
                    0.5,
                    path=["/", "/a", "/own"],
                    ttl=["0s", "120s"],
                    attributes=[[{"name": "SameSite", "value": "Lax"}, {"name": "Secure"}]],
                ),
            }
            cookie.pop("ttl", None)  # the state would tell the time
            typed = {"@type": state + "cookie.v3.CookieBasedSessionState", "cookie": cookie}
        return {
            "session_state": {
                "name": "envoy.http.stateful_session." + which,
                "typed_config": typed,
            },
            **draw.fields(0.3, strict=[True]),
            **draw.fields(0.6, stat_prefix=[counted]),
        }

    counted = f"s{draw.randrange(10**9)}"

    def own() -> Tree:
        return {"disabled": True} if draw.some(0.3) else {"stateful_session": config()}

    # An address that is no message by chance: explained("plain-session").
    gone = base64.b64encode(b"127.0.0.9:80").decode()
    values = (
        "",
        "!",
        gone,
        base64.b64encode(b"\n\x03a:1").decode(),
        gone.rstrip("="),
        f"{gone};UV:YWJj",
        f"{gone};UV:YQBi",
        "a;UV:YWI",
        "YQ",
    )

    def request() -> Request:
        drawn = ask(draw, "x-a")
        value = draw.choice(values)
        if draw.some(0.6):
            drawn.headers.append(draw.choice((("cookie", f"d=1; c={value}"), ("x-s", value))))
        return replace(drawn, reply=[("x-s", "own")]) if draw.some(0.3) else drawn

    routes = placed(draw, "ss", kind + "PerRoute", own)
    chain = [http_filter("ss", kind, **config())]
    stats = (f"stateful_session.{counted}.",)
    return Case("", chain, draw.several(request, REQUESTS, REQUESTS), stats=stats, **routes)


def bandwidth_limit(draw: Draw) -> Case:
    kind = "bandwidth_limit.v3.BandwidthLimit"

    def config() -> Tree:
        off = {"default_value": draw.some(), "runtime_key": "nothing"}
        return {
            "stat_prefix": "bw",
            "limit_kbps": 10_000,
            **draw.fields(
                0.6,
                enable_mode=["DISABLED", "REQUEST", "RESPONSE", "REQUEST_AND_RESPONSE"],
                runtime_enabled=[off],
                fill_interval=["0.02s", "1s"],
            ),
        }

    routes = placed(draw, "bw", kind, config)
    chain = [http_filter("bw", kind, **config())]
    requests = draw.several(lambda: ask(draw, "x-a"), REQUESTS, REQUESTS)
    return Case("", chain, requests, stats=("bw.http_bandwidth",), **routes)


def admission_control(draw: Draw) -> Case:
    criteria = draw.fields(
        0.6,
        http_criteria=lambda: {
            "http_success_status": [{"start": 200, "end": draw.choice((201, 300, 405, 600))}]
        },
        grpc_criteria=lambda: {"grpc_success_status": draw.sample(range(17), 3)},
    )
    never = {"max_rejection_probability": {"default_value": {"value": 0}, "runtime_key": "nothing"}}
    chain = [
        http_filter(
            "ac", "admission_control.v3.AdmissionControl", success_criteria=criteria, **never
        )
    ]

    def request() -> Request:
        drawn = ask(draw, "x-a")
        if draw.some(0.4):
            drawn.headers.append(("content-type", "application/grpc"))
            drawn.reply = [
                ("content-type", "application/grpc"),
                ("grpc-status", str(draw.randrange(18))),
            ]
        return drawn

    return Case("", chain, draw.several(request, REQUESTS, REQUESTS))


MAKERS: tuple[Callable[[Draw], Case], ...] = (
    *(cors, csrf, rbac, header_mutation, header_to_metadata, local_ratelimit, compressor),
    *(decompressor, fault, ip_tagging, set_metadata, grpc_stats, buffer, health_check),
    *(stateful_session, bandwidth_limit, admission_control),
)


# --- filters together -----------------------------------------------------------------------------


APART = {"buffer": "compressor"}  # filters of one name in both


def together(draw: Draw) -> Case:
    """Two or three filters in one chain, which routes switch on and off, with requests that have
    trailers, are tried again, redirected, answered by the route or by an earlier filter."""
    makers = draw.sample(MAKERS, draw.randint(2, 3))
    names = {each.__name__ for each in makers}
    parts = [
        make(draw) for make in makers if APART.get(make.__name__, make.__name__ + "?") not in names
    ]
    chain = [each for part in parts for each in part.filters]
    if draw.some(0.3):
        abort = {"header_abort": {}, "percentage": {"numerator": 100}}
        chain.insert(
            draw.randrange(len(chain) + 1), http_filter("ab", "fault.v3.HTTPFault", abort=abort)
        )
    off = [each for each in chain if draw.some(0.15)]
    for each in off:
        each["disabled"] = True
    own = [settings(part.routes[0]) for part in parts if len(part.routes) > 1]
    merged = {name: config for each in own for name, config in each.items()}
    for each in off:
        if each["name"] not in merged and draw.some(0.7):
            kind = "type.googleapis.com/envoy.config.route.v3.FilterConfig"
            merged[each["name"]] = {"@type": kind, "config": {}}
    limits = [
        route["route"]["rate_limits"]
        for part in parts
        for route in part.routes
        if "rate_limits" in route["route"]
    ]
    place: Tree = {"typed_per_filter_config": merged} if merged else {}
    every = {"cluster": "up", **({"rate_limits": limits[0]} if limits else {})}
    text = {"inline_string": TEXT}
    routes: list[Tree] = [
        {"match": {"prefix": "/own"}, "route": every, **place},
        {
            "match": {"prefix": "/off"},
            "direct_response": {"status": draw.choice((200, 404, 500)), "body": text},
            **(place if draw.some() else {}),
        },
        {
            "match": {"prefix": "/b"},
            "redirect": {"path_redirect": "/x"},
            **(place if draw.some() else {}),
        },
        {"match": {"path": "/ab"}, "route": {"cluster": "empty"}, **place},
        {
            "match": {"prefix": "/a/"},
            "route": {
                "cluster": "up",
                "timeout": "0s",  # what is left of it would tell the time
                "retry_policy": {
                    "retry_on": "5xx,retriable-4xx",
                    "num_retries": 1,
                    "retry_back_off": {"base_interval": "0.001s"},
                },
            },
            **(place if draw.some() else {}),
        },
        {"match": {"prefix": "/"}, "route": every},
    ]

    def request() -> Request:
        drawn = draw.choice(draw.choice(parts).requests)
        more = draw.choice(draw.choice(parts).requests)
        names = {name for name, _ in drawn.headers}
        headers = drawn.headers + [
            pair for pair in more.headers if pair[0] not in names and pair[0] != "host"
        ]
        headers = [pair for pair in headers if pair[0] != "transfer-encoding"]
        reply = [pair for pair in drawn.reply if pair[0] != "transfer-encoding"]
        changed = replace(drawn, headers=headers, reply=reply)
        if draw.some(0.2):
            changed.headers.append(("x-envoy-fault-abort-request", "418"))
        if draw.some(0.2) and "content-type" not in names:
            changed.headers.append(("content-type", "application/grpc"))
        if bandwidth_limit in makers:  # difference: limited-trailers
            return replace(changed, line=changed.line.encode("latin-1").decode("ascii", "ignore"))
        if draw.some(0.25) and changed.line[0] == "P":
            changed.trailers = [("x-t", draw.choice(WORDS)), ("x-u", "2")]
        if draw.some(0.25):
            changed.reply_trailers = [("x-t", draw.choice(WORDS)), ("grpc-status", "0")]
        if draw.some(0.1):
            changed.interim = 103
        return changed

    stats = tuple({prefix for part in parts for prefix in part.stats})
    return Case("", chain, draw.several(request, 2 * REQUESTS, 2 * REQUESTS), routes, stats=stats)


def settings(route: Tree) -> Tree:
    """What a route says of filters."""
    found: Tree = route.get("typed_per_filter_config", {})
    return found


def levels(draw: Draw) -> Case:
    """Two filters of one kind under names of their own, with configurations at every level of the
    routes, plain or wrapped, of a weighted cluster too."""
    maker = draw.choice((cors, csrf, rbac, header_mutation, header_to_metadata, fault, buffer))
    chain: list[Tree] = []
    said: Tree = {}  # by filter, what places may say of it
    requests: list[Request] = []
    for number in range(2):
        part = maker(draw)
        requests += part.requests
        for each in part.filters:
            name = each["name"]
            each["name"] = f"{name}{number}"
            if name == "show":  # of the last one alone: both show the same
                chain = [old for old in chain if not old["name"].startswith("show")]
            chain.append(each)
            places = [*part.routes, part.host, part.table]
            said[each["name"]] = [settings(at)[name] for at in places if name in settings(at)]
    shown = [each for each in chain if each["name"].startswith("show")]
    chain = [each for each in chain if each not in shown]
    draw.shuffle(chain)
    for each in chain:
        if draw.some(0.2):
            each["disabled"] = True

    def level(share: float) -> Tree:
        out = {}
        for name, choices in said.items():
            if choices and draw.some(share):
                own = draw.choice(choices)
                wrapped = {"@type": WRAPPER, "config": own, **draw.fields(0.3, disabled=[True])}
                bare = own["@type"] == WRAPPER or draw.some(0.7)
                out[name] = own if bare else wrapped
            elif draw.some(share * 0.3):
                out[name] = {"@type": WRAPPER, **draw.choice(({"config": {}}, {"disabled": True}))}
        return {"typed_per_filter_config": out} if out else {}

    weighted = {"clusters": [{"name": "up", "weight": 1, **level(0.6)}]}
    routes = [
        {"match": {"prefix": "/own"}, "route": {"weighted_clusters": weighted}, **level(0.4)},
        to_upstream("/a", **level(0.6)),
        to_upstream(),
    ]
    asked = [draw.choice(requests) for _ in range(REQUESTS)]
    return Case("", chain + shown, asked, routes, level(0.4), level(0.3))


WRAPPER = "type.googleapis.com/envoy.config.route.v3.FilterConfig"
ALL_MAKERS = (*MAKERS, together, levels)
NAMES = [maker.__name__ for maker in ALL_MAKERS]


def cases(seed: int, chosen: list[str]) -> list[Case]:
    out = []
    for maker in ALL_MAKERS:
        for number in range(CASES_EACH * (3 if maker is together else 1)):
            case = maker(Draw(f"{seed} {maker.__name__} {number}"))
            case.name = f"{maker.__name__}_{number}"
            case.runtime = RUNTIME
            if maker.__name__ in chosen:
                out.append(case)
    return out


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> list[tuple[Case, Any, Any]]:
    """What meshcore did and what Envoy did; one process of each serves all cases."""
    seed = int(os.environ.get("GENERATED_SEED", "1"))
    chosen = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_as_envoy
    ]
    made = cases(seed, chosen)
    free = list({peers.free_port(): None for _ in range(3 * len(made))})
    ports = {case.name: port for case, port in zip(made, free, strict=False)}
    found = []
    with Upstream(obey) as upstream:
        config = bootstrap(made, ports, upstream.port)
        for start in (peers.meshcore, peers.envoy):
            with start(config) as server:
                found.append([run(server, case, ports[case.name], upstream) for case in made])
    return list(zip(made, *found, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_as_envoy(name: str, results: list[tuple[Case, Any, Any]]) -> None:
    different = []
    for case, ours, theirs in results:
        if not case.name.startswith(name + "_"):
            continue
        pairs = zip(case.requests, ours["outcomes"], theirs["outcomes"], strict=True)
        lines = [
            f"{request}\n  ours  {mine}\n  Envoy {envoys}"
            for request, mine, envoys in pairs
            if mine != envoys
        ]
        if ours["stats"] != theirs["stats"]:
            lines.append(f"stats\n  ours  {ours['stats']}\n  Envoy {theirs['stats']}")
        if lines:
            config = json.dumps([case.filters, case.routes, case.host, case.table])
            different.append("\n".join([case.name, *lines, config]))
    assert not different, "\n\n".join(different)
