"""The router beside real Envoy: what is tried again, how long it takes, what is counted."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from router_sides import BACKOFF, INTERNAL, Pair, check, request, route

SEED = 20261121
GENERATED = 150

# --- what is retried ------------------------------------------------------------------------------

RETRY_ON = (
    "5xx gateway-error connect-failure reset reset-before-request refused-stream retriable-4xx"
    " retriable-status-codes retriable-headers envoy-ratelimited cancelled deadline-exceeded"
    " internal resource-exhausted unavailable"
).split()
STEPS = [
    *("200", "500", "502", "503", "504", "409", "418", "425", "302", "404", "reset", "drop"),
    *("503+x-envoy-ratelimited=true", "200+x-again=1", "200+grpc-status=14", "200+grpc-status=1"),
    *("200+grpc-status=4", "200+grpc-status=8", "200+grpc-status=13", "204", "garbage"),
]


def test_every_condition_of_retries(sides: Pair) -> None:
    routes = [
        route(
            f"r{n}",
            f"retry_policy: {{retry_on: {name}, retriable_status_codes: [418, 425], {BACKOFF},"
            " retriable_headers: [{name: x-again}]}",
        )
        for n, name in enumerate(RETRY_ON)
    ]
    cases = [request(f"GET /r{n}/{step},200") for n in range(len(RETRY_ON)) for step in STEPS]
    check(sides(routes), cases)


def test_limits_of_retries(sides: Pair) -> None:
    routes = [
        route("default", f"retry_policy: {{retry_on: 5xx, {BACKOFF}}}"),
        route("none", f"retry_policy: {{retry_on: 5xx, num_retries: 0, {BACKOFF}}}"),
        route("five", f"retry_policy: {{retry_on: 5xx, num_retries: 5, {BACKOFF}}}"),
        route(
            "refused", f"cluster: refused, retry_policy: {{retry_on: connect-failure, {BACKOFF}}}"
        ),
        route("unretried", "cluster: refused"),
        route("nohost", f"cluster: nohost, retry_policy: {{retry_on: 5xx, {BACKOFF}}}"),
    ]
    steps = (
        "500 500,200 500,500,200 500,reset,drop,503,502,200 half,200 part part,200 early".split()
    )
    cases = [
        request(f"GET /{name}/{step}")
        for name in ("default", "none", "five", "refused", "unretried", "nohost")
        for step in steps
    ]
    counts = "              include_request_attempt_count: true\n"
    counts += "              include_attempt_count_in_response: true\n"
    counts += "              include_is_timeout_retry_header: true\n"
    check(sides(routes, host=counts), cases)


def test_time_limits(sides: Pair) -> None:
    policy = "retry_policy: {retry_on: %s, num_retries: 2, " + BACKOFF + "%s}"
    routes = [
        route("whole", "timeout: 0.2s"),
        route("none", "timeout: 0s"),
        route("retried", "timeout: 0.2s, " + policy % ("5xx", "")),
        route("tries", policy % ("5xx", ", per_try_timeout: 0.1s")),
        route("reset", policy % ("reset", ", per_try_timeout: 0.1s")),
        route("other", policy % ("connect-failure", ", per_try_timeout: 0.1s")),
        route("both", "timeout: 0.25s, " + policy % ("5xx", ", per_try_timeout: 0.1s")),
        route("more", "timeout: 0.2s, " + policy % ("5xx", ", per_try_timeout: 0.2s")),
        route("idle", policy % ("5xx", ", per_try_idle_timeout: 0.1s")),
        route("alone", "retry_policy: {per_try_timeout: 0.1s}"),
        route("stream", "timeout: 0.1s, max_stream_duration: {}"),
    ]
    steps = (
        "200 hang hang,200 hang,hang,200 hang,hang,hang slow slow,200 stuck 500,hang,200".split()
    )
    cases = [
        request(f"GET /{name}/{step}")
        for name in "whole retried tries reset other both more idle alone stream".split()
        for step in steps
        if not (name in ("tries", "reset", "other", "alone") and step == "stuck")
        and not (name == "stream" and step not in ("slow", "200"))
    ]
    cases += [request("GET /none/slow"), request("POST /tries/hang,200", body=b"abc")]
    host = "              include_is_timeout_retry_header: true\n"
    check(sides(routes, host=host), cases)


CHUNKED = "Transfer-Encoding: chunked"


def test_bodies(sides: Pair) -> None:
    routes = [
        route("kept", f"retry_policy: {{retry_on: '5xx,reset', num_retries: 3, {BACKOFF}}}"),
        route("plain", "timeout: 5s"),
        route(
            "refused", f"cluster: refused, retry_policy: {{retry_on: connect-failure, {BACKOFF}}}"
        ),
    ]
    steps = "200 500,200 500,reset,200 reset,drop,500,500 early".split()
    bodies = [b"", b"a", b"abc" * 100, b"x" * 20000]
    cases = []
    for name in ("kept", "plain", "refused"):
        for step in steps:
            for body in bodies:
                cases.append(request(f"POST /{name}/{step}", body=body))
                chunks = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
                cases.append(request(f"PUT /{name}/{step}", CHUNKED) + chunks + b"0\r\n\r\n")
    check(sides(routes), cases)


def test_informational_responses(sides: Pair) -> None:
    routes = [route("retried", f"retry_policy: {{retry_on: 5xx, {BACKOFF}}}")]
    cases = [request("GET /retried/hints,200"), request("GET /retried/500,hints")]
    check(sides(routes), cases)
    check(sides(routes, manager="          proxy_100_continue: true\n"), cases)


OVERRIDES = [
    "x-envoy-retry-on: 5xx",
    "x-envoy-retry-on: gateway-error, retriable-4xx",
    "x-envoy-retry-on: nonsense",
    "x-envoy-retry-on: unavailable",
    "x-envoy-retry-grpc-on: unavailable",
    "x-envoy-retry-grpc-on: 5xx",
    "x-envoy-max-retries: 3",
    "x-envoy-max-retries: 0",
    "x-envoy-max-retries: many",
    "x-envoy-retriable-status-codes: 500, 409",
    "x-envoy-retriable-header-names: x-again",
    "x-envoy-upstream-rq-timeout-ms: 150",
    "x-envoy-upstream-rq-timeout-ms: 0",
    "x-envoy-upstream-rq-timeout-ms: soon",
    "x-envoy-upstream-rq-per-try-timeout-ms: 100",
    "x-envoy-upstream-rq-per-try-timeout-ms: soon",
    "x-envoy-upstream-rq-timeout-alt-response: 1",
    "x-envoy-upstream-alt-stat-name: other",
    "x-envoy-hedge-on-per-try-timeout: true",
    "x-envoy-hedge-on-per-try-timeout: yes",
    "x-envoy-upstream-stream-duration-ms: 120",
    "x-envoy-expected-rq-timeout-ms: 130",
    "x-envoy-attempt-count: 7",
    "content-type: application/grpc",
    "grpc-timeout: 100m",
]
OUTCOMES = [
    *("200", "500,200", "503,503,200", "409,200", "200+x-again=1,200", "200+grpc-status=14,200"),
    *("slow", "reset,200", "slow,200", "200+x-envoy-upstream-canary=true", "stuck"),
]


def with_overrides(count: int) -> Iterator[bytes]:
    draw = random.Random(SEED)
    for name in OVERRIDES:  # each alone, where it can matter
        for step in ("500,200", "slow,slow,200", "200+grpc-status=14,200"):
            yield request(f"GET /{draw.choice(['plain', 'kept'])}/{step}", name)
    for _ in range(count):
        names = draw.sample(OVERRIDES, draw.randrange(2, 6))
        line = f"{draw.choice(['GET', 'POST'])} /{draw.choice(['plain', 'kept'])}"
        yield request(f"{line}/{draw.choice(OUTCOMES)}", *names)


OPTIONS = {
    "plain": "",
    "strict": "strict_check_headers: [x-envoy-upstream-rq-timeout-ms, x-envoy-max-retries,"
    " x-envoy-upstream-rq-per-try-timeout-ms, x-envoy-retry-on, x-envoy-retry-grpc-on]",
    "respectful": "respect_expected_rq_timeout: true",
    "quiet": "suppress_envoy_headers: true",
    "uncounted": "dynamic_stats: false",
    "codeless": "suppress_grpc_request_failure_code_stats: true",
}


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_headers_of_requests_from_inside(sides: Pair, option: str) -> None:
    routes = [
        route("plain", "timeout: 0.7s"),
        route("kept", f"timeout: 0.7s, retry_policy: {{retry_on: reset, {BACKOFF}}}"),
    ]
    router = f"              {OPTIONS[option]}\n" if OPTIONS[option] else ""
    count = GENERATED if option == "plain" else GENERATED // 5
    cases = list(with_overrides(count))
    check(sides(routes, manager=INTERNAL, router=router), cases)


def test_hedging(sides: Pair) -> None:
    policy = (
        "timeout: 2s, hedge_policy: {hedge_on_per_try_timeout: true},"
        " retry_policy: {retry_on: %s, num_retries: %d, per_try_timeout: 0.1s, " + BACKOFF + "}"
    )
    routes = [
        route("one", policy % ("5xx", 1)),
        route("two", policy % ("5xx", 2)),
        route("other", policy % ("connect-failure", 2)),
        route("none", policy % ("5xx", 0)),
        route("short", policy.replace("timeout: 2s", "timeout: 0.4s") % ("5xx", 5)),
    ]
    steps = "200 slow,200 slow,slow slow500,slow slow,500 slow,slow500,200 slow,reset hang,hang"
    steps += " 500,slow,200 slow503,503 slow,hang slow,409"
    names = ("one", "two", "other", "none", "short")
    cases = [
        request(f"GET /{name}/{step}")
        for name in names
        for step in steps.split()
        if "hang,hang" not in step or name == "short"
    ]
    host = "              include_is_timeout_retry_header: true\n"
    host += "              include_attempt_count_in_response: true\n"
    check(sides(routes, host=host), cases)


MIRROR = "request_mirror_policies: "


def test_mirrors(sides: Pair) -> None:
    share = "{default_value: {numerator: %d, denominator: HUNDRED}}"
    routes = [
        route("one", MIRROR + "[{cluster: mirror}]"),
        route("two", MIRROR + "[{cluster: mirror}, {cluster: mirror}]"),
        route("kept", MIRROR + "[{cluster: mirror, disable_shadow_host_suffix_append: true}]"),
        route("named", MIRROR + "[{cluster: mirror, host_rewrite_literal: other.example}]"),
        route("none", MIRROR + "[{cluster: mirror, runtime_fraction: %s}]" % (share % 0)),
        route("all", MIRROR + "[{cluster: mirror, runtime_fraction: %s}]" % (share % 100)),
        route("header", MIRROR + "[{cluster_header: x-mirror}]"),
        route("refused", MIRROR + "[{cluster: refused}]"),
        route("nohost", MIRROR + "[{cluster: nohost}]"),
        route("untimed", "timeout: 0s, " + MIRROR + "[{cluster: mirror}]"),
        route(
            "retried",
            MIRROR + "[{cluster: mirror}], prefix_rewrite: /rewritten/, host_rewrite_literal: b,"
            f" retry_policy: {{retry_on: 5xx, per_try_timeout: 1s, {BACKOFF}}}",
        ),
    ]
    names = "one two kept named none all header refused nohost untimed retried".split()
    cases = []
    for name in names:
        for step in ("200", "500,200", "reset"):
            cases.append(request(f"GET /{name}/{step}", "x-mirror: mirror"))
            cases.append(request(f"POST /{name}/{step}", body=b"abc" * 1000))
            chunks = CHUNKED, "x-mirror: unknown"
            cases.append(request(f"PUT /{name}/{step}", *chunks) + b"3\r\nabc\r\n0\r\n\r\n")
    cases.append(request("HEAD /one/200", "x-forwarded-for: 1.2.3.4", "x-envoy-internal: true"))
    for step in ("200", "200+grpc-status=0", "200+grpc-status=14", "500", "part"):
        cases.append(request(f"GET /one/{step}", "content-type: application/grpc"))
        cases.append(request(f"GET /one/{step}+x-envoy-upstream-canary=true"))
    check(sides(routes), cases)


def redirected(to: str, status: int = 302) -> str:
    return f"{status}+location={to}"


@pytest.mark.parametrize("inside", [False, True])
def test_internal_redirects(sides: Pair, inside: bool) -> None:
    def follow(more: str = "") -> str:
        return f"internal_redirect_policy: {{{more}}}"

    previous = "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig"
    listed = "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig"
    safe = "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig"

    def predicate(kind: str, more: str = "") -> str:
        typed = f'{{"@type": type.googleapis.com/{kind}{more}}}'
        return f"predicates: [{{name: p, typed_config: {typed}}}]"

    routes = [
        route("one", follow()),
        route("many", follow("max_internal_redirects: 5")),
        route("zero", follow("max_internal_redirects: 0")),
        route("codes", follow("redirect_response_codes: [301, 303, 307, 308]")),
        route("cross", follow("allow_cross_scheme_redirect: true")),
        route("safe", follow("allow_cross_scheme_redirect: true, " + predicate(safe))),
        route("listed", follow(predicate(listed, ", allowed_route_names: [one]"))),
        route("previous", follow("max_internal_redirects: 5, " + predicate(previous))),
        route("copied", follow("response_headers_to_copy: [x-copy, x-gone]")),
        route("rewritten", follow() + ", prefix_rewrite: /one/, host_rewrite_literal: b"),
        route("retried", follow() + f", retry_policy: {{retry_on: 5xx, {BACKOFF}}}"),
        route("plain", "timeout: 5s"),
        route("untold", follow(), more=", request_headers_to_remove: [x-forwarded-proto]"),
        "{match: {path: /direct}, direct_response: {status: 200, body: {inline_string: hi}}}",
    ]
    targets = [
        "http://b.com/plain/200",
        "http://b.com/one/200?q=1#f",
        "http://b.com",
        "http://b.com/direct",
        "https://b.com/plain/200",
        "http://b.com/none",
        "/plain/200",
        "nonsense",
        "http://b.com:81/many/200,302~location=http:^^b.com^plain^200,200",
    ]
    cases = []
    names = "one many zero codes cross safe listed previous copied rewritten retried plain".split()
    for name in names:
        for target in targets[: len(targets) if name in ("one", "many", "codes") else 5]:
            quoted = target.replace(",", "%2C").replace("/", "|")
            cases.append(request(f"GET /{name}/{redirected(quoted)},200", "x-gone: 1"))
        quoted = "http:||b.com|plain|200"
        cases.append(request(f"POST /{name}/{redirected(quoted)},200", body=b"abc"))
        for status in (301, 303, 307, 308):
            step = f"{redirected(quoted, status)}+x-copy=1"
            cases.append(request(f"POST /{name}/{step},200", body=b"abc"))
            cases.append(request(f"GET /{name}/{step},500,200"))
        cases.append(request(f"PUT /{name}/302,200", CHUNKED) + b"3\r\nabc\r\n0\r\n\r\n")
    again = "http:||b.com|previous|200"
    cases.append(request(f"GET /previous/{redirected(again)},{redirected(again)},200"))
    cases.append(request(f"GET /untold/{redirected('http:||b.com|plain|200')},200"))
    check(sides(routes, manager=INTERNAL if inside else ""), cases)


def test_places_where_responses_count(sides: Pair) -> None:
    clusters = (
        "              virtual_clusters:\n"
        '              - {name: posts, headers: [{name: ":method", string_match: {exact: POST}}]}\n'
        "              - {name: marked, headers: [{name: x-mark, present_match: true}]}\n"
    )
    routes = [
        route("named", "timeout: 0.2s", more=", stat_prefix: some"),
        route("kept", f"retry_policy: {{retry_on: 5xx, {BACKOFF}}}", more=", stat_prefix: kept"),
        route("plain", "timeout: 5s"),
        route("refused", "cluster: refused", more=", stat_prefix: refused"),
    ]
    cases = []
    for name in ("named", "kept", "plain", "refused"):
        for step in ("200", "500,200", "500,500", "200+x-envoy-upstream-canary=true"):
            cases.append(request(f"GET /{name}/{step}"))
            cases.append(request(f"GET /{name}/{step}", "x-mark: 1"))
            cases.append(request(f"POST /{name}/{step}", body=b"a"))
    cases.append(request("GET /named/hang", "x-mark: 1"))
    check(sides(routes, host=clusters), cases)


def test_limits_of_grpc(sides: Pair) -> None:
    routes = [
        route("max", "max_grpc_timeout: 0.3s"),
        route("free", "max_grpc_timeout: 0s"),
        route("offset", "max_grpc_timeout: 2s, grpc_timeout_offset: 0.1s"),
        route("stream", "timeout: 1s, max_stream_duration: {grpc_timeout_header_max: 0.3s}"),
        route("kept", f"max_grpc_timeout: 1s, retry_policy: {{retry_on: unavailable, {BACKOFF}}}"),
    ]
    cases = []
    for name in ("max", "free", "offset", "stream", "kept"):
        for given in (None, "200m", "1S", "50m", "nonsense", "0m", "123456789m"):
            headers = ["content-type: application/grpc"]
            headers += [f"grpc-timeout: {given}"] if given else []
            if not (name == "stream" and given == "0m"):  # over before it reaches an upstream
                cases.append(request(f"GET /{name}/200", *headers))
                cases.append(request(f"GET /{name}/slow", *headers))
        cases.append(
            request(f"GET /{name}/200+grpc-status=14,200", "content-type: application/grpc")
        )
        cases.append(request(f"GET /{name}/slow", "grpc-timeout: 100m"))
    check(sides(routes), cases)


def test_bodies_beyond_what_is_kept(sides: Pair) -> None:
    policy = f"retry_policy: {{retry_on: 5xx, {BACKOFF}}}"
    follow = "internal_redirect_policy: {}"
    routes = [
        route("small", policy, more=", request_body_buffer_limit: 1000"),
        route("old", policy, more=", per_request_buffer_limit_bytes: 1000"),
        route("none", policy, more=", request_body_buffer_limit: 0"),
        route("redirect", follow, more=", request_body_buffer_limit: 1000"),
        route("both", f"{follow}, {policy}", more=", request_body_buffer_limit: 1000"),
    ]
    there = "302+location=http:||b.com|small|200"
    cases = [
        request(f"POST /{name}/{step}", body=b"x" * size)
        for name in ("small", "old", "none", "redirect", "both")
        for step in ("500,200", there, "reset,200", "200")
        for size in (1, 1000, 1001, 5000)
        # difference: redirect-body-507 (RF-28)
        if not (name == "redirect" and step == "reset,200" and size > 1000)
    ]
    check(sides(routes), cases)
