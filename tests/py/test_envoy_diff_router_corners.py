"""The router beside real Envoy: the corners of what it reads, answers and counts."""

from __future__ import annotations

import asyncio
import re

import pytest
from router_sides import (
    BACKOFF,
    INTERNAL,
    Pair,
    address,
    answer,
    check,
    cluster,
    request,
    route,
    script_of,
    scripted,
)
from upstreams import Exchange

COUNTS = "              include_request_attempt_count: true\n"
COUNTS += "              include_attempt_count_in_response: true\n"
GRPC = "content-type: application/grpc"


def retried(more: str) -> str:
    return f"retry_policy: {{{more}, {BACKOFF}}}"


def with_options(name: str, options: str, *, more: str = "", endpoints: str = "") -> str:
    """A cluster that says so itself what else its routes would."""
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoints = endpoints or f"{{endpoint: {{address: {address('$web')}}}}}"
    return (
        f"  - name: {name}\n    type: STATIC\n    load_assignment: {{cluster_name: {name},"
        f" endpoints: [{{lb_endpoints: [{endpoints}]}}]}}\n{more}"
        f"    typed_extension_protocol_options:\n      {kind}:\n"
        f'        "@type": type.googleapis.com/{kind}\n'
        "        explicit_http_config: {http_protocol_options: {}}\n"
        "        common_http_protocol_options: {max_requests_per_connection: 1}\n"
        f"        {options}\n"
    )


def step_of(exchange: Exchange) -> str:
    steps: list[str] = script_of(exchange.request.target)
    return steps[min(len(exchange.upstream.requests), len(steps)) - 1]


# --- answers of its own ---------------------------------------------------------------------------


def test_headers_of_requests_that_find_no_host(sides: Pair) -> None:
    """Those that the router reads of retries stay, for responses and logs to tell."""
    told = (
        "%REQ(x-envoy-retry-on)%/%REQ(x-envoy-max-retries)%/%REQ(x-envoy-retriable-status-codes)%"
    )
    told += "/%REQ(x-envoy-upstream-rq-timeout-alt-response)%/%REQUEST_HEADERS_BYTES%"
    added = f"response_headers_to_add: [{{header: {{key: x-told, value: '{told}'}}}}]"
    routes = [
        route("nohost", f"cluster: nohost, {retried('retry_on: 5xx')}", more=f", {added}"),
        route("plain", "timeout: 1s", more=f", {added}"),
    ]
    names = [
        "x-envoy-retry-on: 5xx",
        "x-envoy-max-retries: 2",
        "x-envoy-retriable-status-codes: 409",
        "x-envoy-upstream-rq-timeout-alt-response: 1",
    ]
    cases = [
        request(f"GET /{name}/200", *names[:count])
        for name in ("nohost", "plain")
        for count in range(len(names) + 1)
    ]
    check(sides(routes, manager=INTERNAL), cases)


def test_answers_without_an_upstream(sides: Pair) -> None:
    routes = [
        "{match: {path: /direct}, direct_response: {status: 200, body: {inline_string: hi}}}",
        "{match: {path: /created}, direct_response: {status: 201, body: {inline_string: hi}}}",
        "{match: {path: /found}, direct_response: {status: 302}}",
        "{match: {path: /same}, direct_response: {status: 304, body: {inline_string: hi}}}",
        "{match: {path: /moved}, redirect: {path_redirect: /x}}",
        "{match: {prefix: /old/}, redirect: {prefix_rewrite: /new/}}",
        (
            "{match: {prefix: /404/}, route: {cluster_header: x-no,"
            " cluster_not_found_response_code: NOT_FOUND}}"
        ),
        (
            "{match: {prefix: /500/}, route: {cluster_header: x-no,"
            " cluster_not_found_response_code: INTERNAL_SERVER_ERROR}}"
        ),
        "{match: {prefix: /503/}, route: {cluster_header: x-no}}",
        route("nohost", "cluster: nohost"),
        route("refused", "cluster: refused"),
        route("short", "timeout: 0.1s"),
    ]
    targets = "/direct /created?q=1 /found /same /moved /old/a?b=c /404/ /500/ /503/ /none"
    targets += " /nohost/200 /refused/200 /short/hang /short/garbage /short/reset"
    cases = [
        request(f"{method} {target}", *headers)
        for method in ("GET", "HEAD")
        for target in targets.split()
        for headers in ((), (GRPC,))
    ]
    cases.append(b"GET /found?x=y HTTP/1.1\r\nHost: a.com:80\r\n\r\n")
    check(sides(routes, host=COUNTS), cases)


TOLD = "%RESPONSE_CODE%|%RESPONSE_FLAGS%|%LOCAL_REPLY_BODY%|%GRPC_STATUS%"
FORMS = (
    f"text_format: '{TOLD}'",
    f"text_format_source: {{inline_string: '{TOLD}'}}, content_type: a/b",
    "json_format: {code: '%RESPONSE_CODE%', body: '%LOCAL_REPLY_BODY%'}",
    "text_format_source: {inline_string: ''}",
)
TYPES_ADDED = (
    "APPEND_IF_EXISTS_OR_ADD",
    "ADD_IF_ABSENT",
    "OVERWRITE_IF_EXISTS_OR_ADD",
    "OVERWRITE_IF_EXISTS",
)


def test_what_a_direct_response_formats(sides: Pair) -> None:
    """Made before anything else is known of the answer, and of its own type whatever is added."""
    routes, cases = [], []
    for form in FORMS:
        for action in ("", *TYPES_ADDED):
            kind = f"header: {{key: content-type, value: x/y}}, append_action: {action}"
            added = f", response_headers_to_add: [{{{kind}}}]" if action else ""
            for body in ("", "body: {inline_string: hi}, "):
                path = f"/{len(routes)}/"
                routes.append(
                    f"{{match: {{prefix: {path}}}, direct_response: {{status: 418, {body}"
                    f"body_format: {{{form}}}}}{added}}}"
                )
                cases.append(request(f"GET {path}"))
        cases.append(request(f"HEAD {path}"))
        cases.append(request(f"GET {path}", GRPC))
    check(sides(routes), cases)


def test_circuit_breakers(sides: Pair) -> None:
    limits = "circuit_breakers: {thresholds: [{%s}]},"
    budget = "max_retries: 0, retry_budget: {budget_percent: {value: 0}, min_retry_concurrency: 0}"
    clusters = (
        cluster("requests", "$web", more=limits % "max_requests: 0")
        + cluster("waiting", "$web", more=limits % "max_pending_requests: 0")
        + cluster("retries", "$web", more=limits % "max_retries: 0")
        + cluster("budget", "$web", more=limits % budget)
        + cluster("high", "$web", more=limits % "priority: HIGH, max_retries: 0")
    )
    names = "requests waiting retries budget".split()
    policy = retried("retry_on: '5xx,reset,connect-failure', num_retries: 3")
    routes = [route(name, f"cluster: {name}, {policy}") for name in names]
    routes.append(route("high", f"cluster: high, priority: HIGH, {policy}"))
    cases = [
        request(f"{method} /{name}/{step}", *headers)
        for method in ("GET", "HEAD")
        for name in (*names, "high")
        for step in ("200", "500,200")
        for headers in ((), (GRPC,))
    ]
    check(sides(routes, clusters=clusters, host=COUNTS), cases)
    quiet = "              suppress_envoy_headers: true\n"
    check(sides(routes, clusters=clusters, host=COUNTS, router=quiet), cases[:8])


def test_clusters_that_refuse(sides: Pair) -> None:
    def dropping(name: str, share: str) -> str:
        policy = f"policy: {{drop_overloads: [{{category: a, drop_percentage: {share}}}]}}"
        return cluster(name, "$web").replace("load_assignment: {", f"load_assignment: {{{policy}, ")

    shares = {
        "all": "{numerator: 100}",
        "none": "{numerator: 0}",
        "million": "{numerator: 1000000, denominator: MILLION}",
    }
    runtime = (
        "layered_runtime: {layers: [{name: static, static_layer:"
        " {upstream.maintenance_mode.refused: 100, upstream.maintenance_mode.mirror: 0}}]}\n"
    )
    routes = [route(name, f"cluster: {name}") for name in (*shares, "refused")]
    routes.append(route("kept", f"cluster: all, {retried('retry_on: 5xx')}"))
    routes.append(route("copied", "request_mirror_policies: [{cluster: all}, {cluster: refused}]"))
    cases = [
        request(f"{method} /{name}/200", *headers)
        for method in ("GET", "HEAD")
        for name in (*shares, "refused", "kept", "copied")
        for headers in ((), (GRPC,))
    ]
    clusters = "".join(dropping(name, share) for name, share in shares.items())
    for router in ("", "              suppress_envoy_headers: true\n"):
        check(sides(routes, clusters=clusters, top=runtime, host=COUNTS, router=router), cases)


# --- numbers and lists in headers -----------------------------------------------------------------


def test_numbers_and_lists_in_headers(sides: Pair) -> None:
    routes = [
        route("five", retried("retry_on: 5xx, num_retries: 2")),
        route("plain", "timeout: 3s"),
        route("codes", retried("retry_on: retriable-status-codes")),
        route("names", retried("retry_on: retriable-headers")),
    ]
    given = {
        "five/500,500,500,500,500,200 x-envoy-max-retries": (
            "3|+3| 4 |-1|4294967296|4294967297|18446744073709551616|4294967295|3.0||0x3|03|3,4|0"
        ),
        "plain/500,500,500,200 x-envoy-retry-on": (
            "5xx , reset|5XX| 5xx|5xx,,|gateway-error;5xx|retriable-status-codes"
        ),
        "codes/418,500,200 x-envoy-retriable-status-codes": "418|418,500| 418 , 500 |+418|418 500|",
        "names/200+x-again=1,200 x-envoy-retriable-header-names": (
            "x-again|X-Again| x-other , X-AGAIN ||,|x-again;x-b"
        ),
        "plain/slow x-envoy-upstream-rq-timeout-ms": (
            "150|+150|1e2|-1| 150 |18446744073709551616|18446744073709551615|150ms"
        ),
        "five/slow,200 x-envoy-upstream-rq-per-try-timeout-ms": "150|+150|0|-1|15000|20000",
        "five/slow,200 x-envoy-upstream-stream-duration-ms": "150|+150|0|x|",
    }
    cases = [
        request(f"GET /{asked.split()[0]}", f"{asked.split()[1]}: {value}")
        for asked, values in given.items()
        for value in values.split("|")
    ]
    both = ("x-envoy-retry-on: gateway-error", "x-envoy-retry-on: 5xx")
    cases += [request(f"GET /plain/{step}", *both) for step in ("503,503,200", "500,503,200")]
    check(sides(routes, manager=INTERNAL), cases)


def test_strict_headers(sides: Pair) -> None:
    numbers = "+5000||5000 |-1|1.5|18446744073709551616|4294967296"
    given = {
        "x-envoy-upstream-rq-timeout-ms": numbers,
        "x-envoy-max-retries": numbers,
        "x-envoy-retry-on": "5xx,||,|5xx, ,reset |5xx,unavailable|5XX|http3-post-connect-failure",
        "x-envoy-retry-grpc-on": "unavailable, cancelled|5xx|",
    }
    router = f"              strict_check_headers: [{', '.join(given)}]\n"
    routes = [
        route("plain", "timeout: 1s"),
        route("kept", retried("retry_on: 5xx")),
        "{match: {path: /direct}, direct_response: {status: 200}}",
    ]
    headers = [f"{name}: {value}" for name, values in given.items() for value in values.split("|")]
    cases = [
        request(f"GET {target}", header)
        for target in ("/plain/200", "/kept/500,200", "/direct", "/none")
        for header in headers
    ]
    cases += [request("HEAD /plain/200", header, GRPC) for header in headers]
    check(sides(routes, router=router, manager=INTERNAL, host=COUNTS), cases)


# --- whose policy counts --------------------------------------------------------------------------


def test_whose_policy_counts(sides: Pair) -> None:
    host = (
        "              retry_policy: {retry_on: 5xx, num_retries: 3, per_try_timeout: 0.15s,"
        f" {BACKOFF}}}\n"
        "              hedge_policy: {hedge_on_per_try_timeout: true}\n"
    )
    policy = "retry_on: retriable-4xx, num_retries: 2, per_try_timeout: 0.3s"
    own = with_options("own", f"retry_policy: {{{policy}, {BACKOFF}}}")
    routes = [
        route("host", "timeout: 3s"),
        route("route", retried("retry_on: retriable-4xx")),
        route("empty", "retry_policy: {num_retries: 2}"),
        route("limit", "retry_policy: {per_try_timeout: 0.1s}"),
        route("unhedged", "hedge_policy: {hedge_on_per_try_timeout: false}"),
        route("cluster", "cluster: own"),
        route("both", "cluster: own, retry_policy: {retry_on: 5xx, per_try_timeout: 0.1s}"),
    ]
    cases = [
        request(f"GET /{name}/{step}", *headers)
        for name in "host route empty limit unhedged cluster both".split()
        for step in ("500,500,500,200", "409,409,409,200", "slow,200", "slow,slow,slow,slow")
        for headers in ((), ("x-envoy-retry-on: 5xx",))
    ]
    check(sides(routes, host=host, manager=INTERNAL, clusters=own), cases)


# --- limits of time -------------------------------------------------------------------------------


def test_how_long_a_stream_may_last(sides: Pair) -> None:
    options = "common_http_protocol_options: {max_stream_duration: 0.12s, "
    limited = cluster("limited", "$web").replace("common_http_protocol_options: {", options)
    policies = {
        "plain": "timeout: 5s",
        "all": retried("retry_on: 5xx"),
        "other": retried("retry_on: connect-failure"),
        "reset": retried("retry_on: reset, num_retries: 3"),
    }
    routes = [route(name, f"cluster: limited, {policy}") for name, policy in policies.items()]
    steps = "slow slow,200 slow,slow,slow stuck hang,hang,200 part".split()
    cases = [
        request(f"{method} /{name}/{step}", *headers, body=body)
        for name in policies
        for step in steps
        for method, headers, body in (("GET", (), b""), ("POST", (GRPC,), b"abc"))
    ]
    cases.append(request("POST /plain/hang", "content-length: 10") + b"abc")
    check(sides(routes, clusters=limited), cases)


async def hasty(exchange: Exchange) -> None:
    """Answers, or leaves, without reading the body."""
    step = step_of(exchange)
    if step.startswith("e"):
        await answer(exchange, int(step[1:]), [])
    elif step in ("leave", "cut"):
        await asyncio.sleep(0.05)
        exchange.reset() if step == "cut" else exchange.writer.close()
    else:
        await scripted(exchange)


def test_requests_that_do_not_end(sides: Pair) -> None:
    routes = [
        route("plain", "timeout: 0.2s"),
        route("kept", retried("retry_on: 5xx, per_try_timeout: 0.1s")),
        route("idle", "idle_timeout: 0.2s"),
        route("follow", "internal_redirect_policy: {}"),
    ]
    cases = [
        request(f"POST /{name}/{step}", "content-length: 10") + b"abc"
        for name in "plain kept idle follow".split()
        for step in "e200 e500 e500,e500 e302 cut leave hang cut,e200".split()
    ]
    check(sides(routes, behaviour=hasty, host=COUNTS), cases)


@pytest.mark.parametrize("passed", [False, True])
def test_requests_that_expect_to_be_told(sides: Pair, passed: bool) -> None:
    routes = [route("plain", "timeout: 2s"), route("kept", retried("retry_on: 5xx"))]
    manager = "          proxy_100_continue: true\n" if passed else ""
    cases = [
        request(f"POST /{name}/{step}", "expect: 100-continue", body=b"abc")
        for name in ("plain", "kept")
        for step in "200 e200 e417 500,200".split()
    ]
    check(sides(routes, behaviour=hasty, manager=manager), cases)


# --- upgrades -------------------------------------------------------------------------------------


async def switching(exchange: Exchange) -> None:
    if step_of(exchange) != "101":
        await scripted(exchange)
        return
    wanted = exchange.request.header("upgrade")
    await exchange.write(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: %s\r\nconnection: upgrade\r\n\r\n"
        % (wanted or "").encode()
    )
    await exchange.reader.read(1)  # until the proxy leaves
    exchange.writer.close()


def test_upgrades(sides: Pair) -> None:
    routes = [
        route("plain", "timeout: 0.2s"),
        route(
            "kept",
            retried(
                "retry_on: '5xx,retriable-status-codes',"
                " retriable_status_codes: [302], per_try_timeout: 0.1s"
            ),
        ),
        route("refused", f"cluster: refused, {retried('retry_on: 5xx')}"),
        route("forbidden", "upgrade_configs: [{upgrade_type: websocket, enabled: false}]"),
    ]
    manager = "          upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: other}]\n"
    steps = "101 200 204 302 403 500,101 503,200 slow reset,101 garbage".split()
    cases = [
        request(f"GET /{name}/{step}", "Connection: Upgrade", f"Upgrade: {protocol}")
        for name in "plain kept refused forbidden".split()
        for step in steps
        for protocol in ("websocket", "other")
    ]
    cases.append(request("GET /plain/hang", "Connection: Upgrade", "Upgrade: websocket"))
    cases.append(request("GET /plain/200", "Connection: Upgrade", "Upgrade: unknown"))
    check(sides(routes, behaviour=switching, manager=manager, host=COUNTS), cases)


# --- what no header may hold ----------------------------------------------------------------------


def decoded(*paths: str) -> list[bytes]:
    """Requests for each path, with bytes in their query that a format decodes."""
    bytes_ = ("a", "%09", "%00", "%0d%0ax-i:1", "%7f", "%e9")
    return [request(f"GET {path}?q={each}") for path in paths for each in bytes_]


def test_requests_that_a_format_would_split(sides: Pair) -> None:
    """Of copies only whether they come: difference: unsent-copy."""
    asked = "%QUERY_PARAM(q)%"
    added = f"request_headers_to_add: [{{header: {{key: x-q, value: '{asked}'}}}}]"
    changes = f"request_headers_mutations: [{{append: {{header: {{key: x, value: '{asked}'}}}}}}]"
    routes = [
        route("header", "timeout: 1s", more=f", {added}"),
        route("kept", retried("retry_on: '5xx,reset'"), more=f", {added}"),
        route("host", f"host_rewrite: '{asked}'"),
        route("path", f"path_rewrite: '/{asked}/200'"),
        route("copied", f"request_mirror_policies: [{{cluster: mirror, {changes}}}]"),
    ]
    paths = [f"/{name}/200" for name in "header kept host path".split()]
    both = sides(routes, host=COUNTS)
    asked_of_both = [[side.ask(each) for each in decoded("/copied/200")] for side in both]
    mine, theirs = ([each["received"]["mirror"] for each in asked] for asked in asked_of_both)
    assert mine == theirs
    check(both, decoded(*paths))


def test_responses_that_a_format_would_split(sides: Pair) -> None:
    """difference: split-responses."""
    asked = "%QUERY_PARAM(q)%"
    added = f"response_headers_to_add: [{{header: {{key: x-q, value: '<{asked}>'}}}}]"
    routes = [
        f"{{match: {{prefix: /direct}}, direct_response: {{status: 204}}, {added}}}",
        f"{{match: {{prefix: /there}}, redirect: {{path_rewrite: '/<{asked}>'}}}}",
        route("answer", "timeout: 1s", more=f", {added}"),
    ]
    mine, _ = sides(routes)
    for data in decoded("/direct", "/there", "/answer/200"):
        headers = dict(mine.ask(data)["reply"]["headers"])
        value = headers.get("x-q") or headers["location"]
        assert re.search("<(a|\t|  x-i:1|[ \x7f\xe9])>", value), (data, value)
        assert "x-i" not in headers


# --- what is counted where ------------------------------------------------------------------------


def test_zones_and_canaries(sides: Pair) -> None:
    def of(name: str, endpoints: str) -> str:
        return (
            f"  - {{name: {name}, type: STATIC, load_assignment: {{cluster_name: {name},"
            f" endpoints: [{{{endpoints}}}]}},"
            " common_http_protocol_options: {max_requests_per_connection: 1}}\n"
        )

    endpoint = f"endpoint: {{address: {address('$web')}}}"
    canary = "metadata: {filter_metadata: {envoy.lb: {canary: true}}}"
    clusters = of("zoned", f"locality: {{zone: there}}, lb_endpoints: [{{{endpoint}}}]")
    clusters += of("canary", f"lb_endpoints: [{{{endpoint}, {canary}}}]")
    routes = [
        route(
            "zoned", f"cluster: zoned, {retried('retry_on: 5xx')}", more=", stat_prefix: pre.fix"
        ),
        route("canary", f"cluster: canary, {retried('retry_on: 5xx')}"),
        route("short", "cluster: zoned, timeout: 0.1s", more=", stat_prefix: short"),
    ]
    host = (
        "              virtual_clusters:\n"
        '              - {name: posts, headers: [{name: ":method", string_match: {exact: POST}}]}\n'
    )
    marked = "x-envoy-upstream-canary="
    steps = f"200 500 500,200 404 drop slow 200+{marked}true 200+{marked}TRUE 500+{marked}true,200"
    cases = [
        case
        for name in ("zoned", "canary", "short")
        for step in steps.split()
        for case in (
            request(f"GET /{name}/{step}"),
            request(f"POST /{name}/{step}", "x-envoy-upstream-alt-stat-name: a.b", body=b"c"),
        )
    ]
    top = "node: {id: me, cluster: us, locality: {region: r, zone: here}}\n"
    check(sides(routes, clusters=clusters, host=host, top=top, manager=INTERNAL), cases)


# --- what clusters decide -------------------------------------------------------------------------


def test_what_a_cluster_takes_for_a_failure(sides: Pair) -> None:
    def holds(name: str, value: str) -> str:
        return (
            "{http_response_headers_match: {headers:"
            f' [{{name: "{name}", string_match: {{exact: "{value}"}}}}]}}}}'
        )

    bad, ok = holds("x-bad", "1"), holds(":status", "200")
    asked = '{http_request_headers_match: {headers: [{name: ":method", present_match: true}]}}'
    predicates = {
        "header": bad,
        "not": f"{{not_match: {ok}}}",
        "or": f"{{or_match: {{rules: [{bad}, {holds(':status', '503')}]}}}}",
        "and": f"{{and_match: {{rules: [{{any_match: true}}, {bad}]}}}}",
        "never": asked,
        "always": f"{{not_match: {asked}}}",
    }
    detection = (
        "    outlier_detection: {consecutive_5xx: 2, interval: 100s, max_ejection_percent: 100,"
        " enforcing_consecutive_5xx: 100, enforcing_success_rate: 0}\n"
    )
    clusters = "".join(
        with_options(name, f"outlier_detection: {{error_matcher: {predicate}}}", more=detection)
        for name, predicate in predicates.items()
    )
    routes = [route(name, f"cluster: {name}") for name in predicates]
    steps = "200+x-bad=1 503 200 500 200+x-bad=1 200+x-bad=1 200 503 503 200".split()
    cases = [request(f"GET /{name}/{step}") for name in predicates for step in steps]
    check(sides(routes, clusters=clusters), cases)


def test_whose_hash_counts(sides: Pair) -> None:
    both = ", ".join(f"{{endpoint: {{address: {address(port)}}}}}" for port in ("$web", "$mirror"))
    ring = "    lb_policy: RING_HASH\n"
    clusters = with_options(
        "own", "hash_policy: [{header: {header_name: x-a}}]", more=ring, endpoints=both
    )
    clusters += with_options("none", "", more=ring, endpoints=both)
    by = "hash_policy: [{header: {header_name: x-b}}]"
    cookie = "hash_policy: [{cookie: {name: c, ttl: 10s}}]"
    routes = [route("own", f"cluster: own, {by}"), route("none", f"cluster: none, {by}")]
    routes.append(route("turns", f"cluster: web, {cookie}"))  # nobody asks for the hash
    cases = [
        request(f"GET /{name}/200", f"x-a: {a}", f"x-b: {b}")
        for name in ("own", "none")
        for a in range(4)
        for b in range(4)
    ]
    cases.append(request("GET /turns/200"))
    check(sides(routes, clusters=clusters, same_ports=True), cases)


# --- records of tries -----------------------------------------------------------------------------

TOLD = (
    "%ACCESS_LOG_TYPE% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %REQ(:METHOD)%"
    " %REQ(:PATH)% %RESP(CONTENT-LENGTH)% %BYTES_SENT% %BYTES_RECEIVED%"
    " %REQ(X-ENVOY-ATTEMPT-COUNT)% %UPSTREAM_CLUSTER% %UPSTREAM_PROTOCOL%"
    " %VIRTUAL_CLUSTER_NAME%"
)
UPSTREAM_LOG = (
    "              upstream_log:\n"
    "              - name: file\n"
    "                typed_config:\n"
    '                  "@type": type.googleapis.com/'
    "envoy.extensions.access_loggers.file.v3.FileAccessLog\n"
    "                  path: $directory/access\n"
    f'                  log_format: {{text_format_source: {{inline_string: "{TOLD}\\n"}}}}\n'
)


@pytest.mark.parametrize("when", ["at the end", "also when connected"])
def test_records_of_tries(sides: Pair, when: str) -> None:
    router = UPSTREAM_LOG
    if when == "also when connected":
        router += (
            "              upstream_log_options: {flush_upstream_log_on_upstream_stream: true}\n"
        )
    hedged = "timeout: 2s, hedge_policy: {hedge_on_per_try_timeout: true}, "
    routes = [
        route("plain", "timeout: 0.2s"),
        route("kept", retried("retry_on: 5xx, num_retries: 3, per_try_timeout: 0.15s")),
        route("idle", retried("retry_on: 5xx, per_try_idle_timeout: 0.15s")),
        route("hedged", hedged + retried("retry_on: 5xx, num_retries: 2, per_try_timeout: 0.1s")),
        route("refused", f"cluster: refused, {retried('retry_on: 5xx')}"),
        route("nohost", "cluster: nohost"),
    ]
    steps = "200 500 500,200 500,500,500,500 reset,200 hang,200 part garbage,200 slow,200 slow,slow"
    cases = [
        request(f"{method} /{name}/{step}", body=body)
        for name in "plain kept idle hedged refused nohost".split()
        for step in (*steps.split(), "hang", "early")
        for method, body in (("GET", b""), ("POST", b"abc"))
        if not (name == "idle" and step in ("hang", "part"))
    ]
    host = COUNTS + (
        "              virtual_clusters: [{name: some, headers: [{name: ':method'}]}]\n"
    )
    check(sides(routes, router=router, host=host), cases)


def test_records_of_tries_that_go_on(sides: Pair) -> None:
    router = UPSTREAM_LOG + (
        "              upstream_log_options: {upstream_log_flush_interval: 0.4s}\n"
    )
    routes = [route("plain", "timeout: 0.6s"), route("kept", retried("retry_on: 5xx"))]
    cases = [request(f"GET /{target}") for target in ("plain/200", "plain/hang", "kept/500,slow")]
    check(sides(routes, router=router), cases)


# --- filters of tries -----------------------------------------------------------------------------

CODEC = (
    "{name: codec, typed_config: {'@type': type.googleapis.com/"
    "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}}"
)


def appended(name: str, value: str) -> str:
    return f'{{append: {{header: {{key: {name}, value: "{value}"}}}}}}'


def mutating(kind: str, requests: str, responses: str, more: str = "") -> str:
    return (
        "{'@type': type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3."
        f"{kind}, mutations: {{request_mutations: [{requests}],"
        f" response_mutations: [{responses}]{more}}}}}"
    )


def test_filters_of_tries(sides: Pair) -> None:
    query = ", query_parameter_mutations: [{append: {record: {key: q, value: v}}}]"
    filters = {
        "first": mutating(
            "HeaderMutation",
            f"{appended('x-up', 'one')}, {appended('x-n', '%REQ(x-envoy-attempt-count)%')}",
            f"{appended('x-down', 'one')}, {appended('x-again', '1')}",
        ),
        "second": mutating(
            "HeaderMutation",
            f"{appended('x-up', 'two')}, {{remove: x-gone}}",
            f"{appended('x-down', 'two')}, {{remove: x-secret}}",
            query,
        ),
    }
    chain = [f"{{name: {name}, typed_config: {value}}}" for name, value in filters.items()]
    router = f"              upstream_http_filters: [{', '.join([*chain, CODEC])}]\n"
    own = mutating("HeaderMutationPerRoute", appended("x-up", "route"), appended("x-down", "route"))
    off = "{'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}"
    routes = [
        route("plain", "timeout: 1s"),
        route("kept", retried("retry_on: 5xx, num_retries: 3")),
        route(
            "again", retried("retry_on: retriable-headers, retriable_headers: [{name: x-again}]")
        ),
        route("own", "timeout: 1s", more=f", typed_per_filter_config: {{first: {own}}}"),
        route("aside", "timeout: 1s", more=f", typed_per_filter_config: {{second: {off}}}"),
        route("copied", "request_mirror_policies: [{cluster: mirror}]"),
        route("refused", f"cluster: refused, {retried('retry_on: 5xx')}"),
        route("follow", "internal_redirect_policy: {}"),
        route("codec", "cluster: codec"),
    ]
    cases = [
        request(f"{method} /{name}/{step}", "x-gone: 1", "x-up: zero", body=body)
        for name in "plain kept again own aside copied refused codec".split()
        for step in ("200+x-secret=1", "500,500,200", "reset,200", "404")
        for method, body in (("GET", b""), ("POST", b"abc"))
    ]
    cases.append(request("GET /follow/302+location=http:||b.com|plain|200,200", "x-up: zero"))
    clusters = with_options("codec", f"http_filters: [{CODEC}]")
    check(sides(routes, router=router, host=COUNTS, clusters=clusters), cases)


def test_rules_of_tries(sides: Pair) -> None:
    """Who may be told what is asked before each try, and refused instead of it."""

    def rules(action: str, header: str) -> str:
        permission = f"{{header: {{name: {header}, string_match: {{exact: '1'}}}}}}"
        policy = f"{{p: {{permissions: [{permission}], principals: [{{any: true}}]}}}}"
        return f"{{action: {action}, policies: {policy}}}"

    kind = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
    own = f"{{'@type': {kind}PerRoute, rbac: {{rules: {rules('ALLOW', 'x-may')}}}}}"
    typed = f"{{'@type': {kind}, rules: {rules('DENY', 'x-bad')}}}"
    chain = f"{{name: rbac, typed_config: {typed}}}, {CODEC}"
    router = f"              upstream_http_filters: [{chain}]\n"
    decided = "<%DYNAMIC_METADATA(envoy.filters.http.rbac)%>"
    told = f", response_headers_to_add: [{{header: {{key: x-told, value: '{decided}'}}}}]"
    routes = [
        route("plain", "timeout: 1s", more=told),
        route("again", retried("retry_on: 5xx, num_retries: 2")),
        route("own", "timeout: 1s", more=f", typed_per_filter_config: {{rbac: {own}}}"),
        route("refused", f"cluster: refused, {retried('retry_on: 5xx')}"),
        route("copied", "request_mirror_policies: [{cluster: mirror}]"),
    ]
    cases = [
        request(f"{method} /{name}/{step}", *headers, body=body)
        for name in "plain again own refused copied".split()
        for step in ("200", "500,200")
        for headers in ((), ("x-bad: 1",), ("x-may: 1",))
        for method, body in (("GET", b""), ("POST", b"abc"))
    ]
    check(sides(routes, router=router), cases)


def test_filters_that_hold_a_try_or_refuse_it(sides: Pair) -> None:
    """Of the router and of a cluster: in the one place as in the other."""
    base = "type.googleapis.com/envoy.extensions.filters.http."
    whole = f"{{'@type': {base}buffer.v3.BufferPerRoute, buffer: {{max_request_bytes: 90}}}}"
    none = f"{{'@type': {base}buffer.v3.BufferPerRoute, disabled: true}}"
    off = "{'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}"
    typed = {
        "control": f"{{'@type': {base}admission_control.v3.AdmissionControl, sampling_window: 99s,"
        " max_rejection_probability: {default_value: {value: 0}, runtime_key: share},"
        " success_criteria: {http_criteria: {http_success_status: [{start: 200, end: 300}]}}}",
        "whole": f"{{'@type': {base}buffer.v3.Buffer, max_request_bytes: 9}}",
        "told": mutating("HeaderMutation", appended("x-n", "%REQ(content-length)%"), ""),
    }
    listed = ", ".join(f"{{name: {name}, typed_config: {each}}}" for name, each in typed.items())
    routes = [
        route(f"{kind}{place}", f"cluster: {place}, {retried('retry_on: 5xx')}", more=more)
        for place in ("web", "own")
        for kind, more in (
            ("plain", ""),
            ("large", f", typed_per_filter_config: {{whole: {whole}, told: {off}}}"),
            ("aside", f", typed_per_filter_config: {{whole: {none}, control: {off}}}"),
        )
    ]
    chunks = "transfer-encoding: chunked"
    cases = [
        case
        for kind in ("plain", "large", "aside")
        for to in (f"/{kind}web", f"/{kind}own")
        for case in (
            request(f"POST {to}/500,200", chunks) + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
            request(f"POST {to}/200", chunks) + b"6\r\nabcdef\r\n7\r\nghijklm\r\n0\r\n\r\n",
            request(f"POST {to}/reset,200", body=b"1234567890"),
            request(f"GET {to}/404"),
        )
    ]
    check(
        sides(
            routes,
            router=f"              upstream_http_filters: [{listed}, {CODEC}]\n",
            clusters=with_options("own", f"http_filters: [{listed}, {CODEC}]"),
        ),
        cases,
    )


# --- whose copies, and what they carry ------------------------------------------------------------


def test_whose_copies_are_made(sides: Pair) -> None:
    changes = (
        'request_headers_mutations: [{append: {header: {key: x-s, value: "%REQ(x-a)%/%PROTOCOL%/'
        '%UPSTREAM_CLUSTER%/%ROUTE_NAME%"}}}, {remove: x-gone}, {append: {header: {key: x-a,'
        " value: z}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}}]"
    )
    mirror = "request_mirror_policies: "
    clusters = with_options(
        "own", mirror + "[{cluster: mirror, host_rewrite_literal: own.example}]"
    )
    clusters += with_options("named", mirror + "[{cluster_header: x-m}]")
    kept = "disable_shadow_host_suffix_append: true"
    rewritten = "host_rewrite_literal: new.example, prefix_rewrite: /x/, "
    routes = [
        route("own", f"cluster: own, {mirror}[{{cluster: mirror}}, {{cluster: mirror}}]"),
        route("named", "cluster: named"),
        route("host", "timeout: 3s"),
        route("kept", f"{mirror}[{{cluster: mirror, {kept}, {changes}}}]"),
        route("literal", f"{mirror}[{{cluster: mirror, {changes}, host_rewrite_literal: l}}]"),
        route("rewritten", f"{rewritten}{mirror}[{{cluster: mirror}}]"),
    ]
    host = f"              {mirror}[{{cluster: mirror, host_rewrite_literal: host.example}}]\n"
    cases = [
        f"GET /{name}/200 HTTP/1.1\r\nHost: {authority}\r\nx-a: 1\r\nx-gone: 1\r\n"
        "x-m: mirror\r\n\r\n".encode()
        for name in "own named host kept literal rewritten".split()
        for authority in "a.com a.com:80 [::1]:8080 [::1] 1.2.3.4 a.com:".split()
    ]
    check(sides(routes, clusters=clusters, host=host), cases)
