"""Trees of access-log filters made by chance, at boundary values: which records meshcore and real
Envoy write of requests, tries and connections.

`LOG_FILTERS_SEED=7 pytest tests/py/test_access_log_filters_envoy.py` runs another world.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import peers
import pytest
import test_access_log_envoy as logging
from clients import Connection
from upstreams import Behaviour, Exchange, Upstream
from waiting import wait_until

pytestmark = pytest.mark.oracle

Tree = dict[str, Any]
V3 = "type.googleapis.com/envoy.extensions."
CEL = "access_loggers.filters.cel.v3.ExpressionFilter"
NUMBERS: Tree = {"n200": 200, "n404": "404", "n0": 0, "minus": -1, "bool": True, "double": 404.0}
NUMBERS |= {"big": 1 << 32, "text": "abc"}
PARTS: Tree = {"p0": 0, "p50": 50, "p100": 100, "p5000": 5000, "below": -5, "half": 49.5}
PARTS |= {"object": {"numerator": 50, "denominator": "HUNDRED"}}
RUNTIME = {**NUMBERS, **PARTS, "envoy.reloadable_features.match_headers_individually": False}
DENOMINATORS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
FLAGS = "UH UF UT LR UR UC UO NR DI RL DC SI DPE UMSDR RFCF NC OM DO UF NR UT UC".split()
TYPES = """NotSet TcpConnectionEnd DownstreamStart DownstreamPeriodic DownstreamEnd
UpstreamPoolReady UpstreamEnd""".split()
STATUSES = """OK CANCELED UNKNOWN INVALID_ARGUMENT NOT_FOUND UNIMPLEMENTED INTERNAL UNAVAILABLE
UNAUTHENTICATED UNKNOWN NOT_FOUND UNAVAILABLE""".split()
NAMES = "x-a x-b x-none :path :method host :authority x-empty x-request-id X-A".split()
MATCHES: list[Tree] = [
    {"exact_match": "1"},
    {"prefix_match": "/s"},
    {"present_match": True},
    {"present_match": False},
    {"range_match": {"start": 1, "end": 3}},
    {"range_match": {"start": -5, "end": 2}},
    {"safe_regex_match": {"regex": "1.*"}},
    {"string_match": {"exact": "1,2"}},
    {"string_match": {"contains": "A", "ignore_case": True}},
    {"string_match": {"exact": ""}},
    {"suffix_match": "2"},
    {},
]
VALUES: list[Tree] = [
    {"string_match": {"exact": "v"}},
    {"present_match": True},
    {"present_match": False},
    {"double_match": {"exact": 2.5}},
    {"double_match": {"range": {"start": 2.5, "end": 3}}},
    {"double_match": {"range": {"start": 2, "end": 2.5}}},
    {"bool_match": True},
    {"null_match": {}},
    {"list_match": {"one_of": {"string_match": {"exact": "a"}}}},
    {"or_match": {"value_matchers": [{"bool_match": True}, {"present_match": True}]}},
]
PATHS = [["k"], ["s"], ["n"], ["b"], ["l"], ["z"], ["deep", "n"], ["deep"], ["deep", "none"]]
EXPRESSIONS = """
response.code == 404
'x-a' in request.headers
response.flags != 0
response.grpc_status == 5
response.grpc_status == -1
response.code_details == 'via_upstream'
metadata.filter_metadata.ns.k == 'v'
response.size == 2
response.trailers['grpc-status'] == '3'
xds.cluster_name == 'echo'
upstream.request_attempt_count == 1u
source.port > 0
has(upstream.address)
request.protocol == 'HTTP/1.1'
duration('0s') <= request.duration
has(request.duration)
true
1
""".strip().splitlines()


def status_code(rng: random.Random) -> Tree:
    value: Tree = {"default_value": rng.choice((0, 1, 199, 200, 201, 404, 503, 4294967295))}
    value["runtime_key"] = rng.choice(("none", *NUMBERS))
    compared = {"op": rng.choice(("EQ", "GE", "LE", "NE")), "value": value}
    return {"status_code_filter": {"comparison": compared}}


def duration(rng: random.Random) -> Tree:
    """One whose answer no slow machine changes."""
    op, value = rng.choice((("GE", 0), ("GE", 600_000), ("LE", 600_000), ("EQ", 4294967295)))
    compared = {"op": op, "value": {"default_value": value, "runtime_key": "none"}}
    return {"duration_filter": {"comparison": compared}}


def drawn(rng: random.Random) -> Tree:
    name, whole = rng.choice(list(DENOMINATORS.items()))
    sampled = {"numerator": rng.choice((0, 1, 49, 50, 51, 99, whole // 2, whole, whole + 1))}
    tree: Tree = {"runtime_key": rng.choice(("none", *PARTS))}
    if rng.random() < 0.2:
        tree = {"runtime_key": "none", "use_independent_randomness": True}
        sampled["numerator"] = rng.choice((0, whole))
    return {"runtime_filter": {**tree, "percent_sampled": {**sampled, "denominator": name}}}


def header(rng: random.Random) -> Tree:
    tree = {"name": rng.choice(NAMES), **rng.choice(MATCHES)}
    for field in ("invert_match", "treat_missing_header_as_empty"):
        if rng.random() < 0.3:
            tree[field] = True
    return {"header_filter": {"header": tree}}


def metadata(rng: random.Random) -> Tree:
    path = [{"key": each} for each in rng.choice(PATHS)]
    space = rng.choice(("ns", "set", "set", "none"))
    matcher = {"filter": space, "path": path, "value": rng.choice(VALUES)}
    tree: Tree = {"matcher": {**matcher, "invert": rng.random() < 0.3}}
    if rng.random() < 0.6:
        tree["match_if_key_not_found"] = rng.random() < 0.5
    return {"metadata_filter": tree}


def named(field: str, names: list[str], rng: random.Random) -> Tree:
    tree: Tree = {field: rng.sample(names, rng.randint(1, 3))} if rng.random() < 0.9 else {}
    if field != "flags" and (rng.random() < 0.3):
        tree["exclude"] = True
    return tree


def expression(rng: random.Random) -> Tree:
    typed = {"@type": V3 + CEL, "expression": rng.choice(EXPRESSIONS)}
    return {"extension_filter": {"name": "cel", "typed_config": typed}}


LEAVES: list[Callable[[random.Random], Tree]] = [
    status_code,
    duration,
    drawn,
    header,
    metadata,
    expression,
    lambda _: {"not_health_check_filter": {}},
    lambda _: {"traceable_filter": {}},
    lambda rng: {"response_flag_filter": named("flags", FLAGS, rng)},
    lambda rng: {"grpc_status_filter": named("statuses", STATUSES, rng)},
    lambda rng: {"log_type_filter": named("types", TYPES, rng)},
]


def tree(rng: random.Random, depth: int) -> Tree:
    if depth == 0 or rng.random() < 0.4:
        return rng.choice(LEAVES)(rng)
    parts = [tree(rng, depth - 1) for _ in range(rng.randint(2, 3))]
    return {rng.choice(("and_filter", "or_filter")): {"filters": parts}}


def logs(file: str, filters: list[Tree]) -> list[Tree]:
    """The last one has no filter: its line says that all of a record's lines are there."""
    out = []
    for number, each in enumerate([*filters, None]):
        if file != "requests" and "runtime_filter" in json.dumps(each):
            continue  # a try and a connection have no request id: they draw
        line = {"inline_string": f"{number} %REQ(X-CASE)% %ACCESS_LOG_TYPE%\n"}
        log = logging.file_log(file, text_format_source=line)
        out.append(log if each is None else {**log, "filter": each})
    return out


def http_filters() -> list[Tree]:
    kind = f"{V3}filters.http."
    healthy = [{"name": ":path", "string_match": {"exact": "/healthz"}}]
    to = {"metadata_namespace": "ns", "key": "k"}
    number = {"metadata_namespace": "ns", "key": "n", "type": "NUMBER"}
    rules = [{"header": "x-meta", "on_header_present": to}]
    rules.append({"header": "x-num", "on_header_present": number})
    value = {"s": "v", "n": 2.5, "b": True, "l": ["a", 1], "z": None, "deep": {"n": 2.5}}
    return [
        {
            "name": "health",
            "typed_config": {
                "@type": f"{kind}health_check.v3.HealthCheck",
                "pass_through_mode": True,
                "headers": healthy,
            },
        },
        {
            "name": "to-metadata",
            "typed_config": {
                "@type": f"{kind}header_to_metadata.v3.Config",
                "request_rules": rules,
            },
        },
        {
            "name": "metadata",
            "typed_config": {
                "@type": f"{kind}set_metadata.v3.Config",
                "metadata": [{"metadata_namespace": "set", "value": value}],
            },
        },
    ]


def config(filters: list[Tree]) -> str:
    text = logging.config(
        logs("requests", filters),
        access_log_options={"flush_access_log_on_new_request": True},
        preserve_external_request_id=True,
        tracing={"random_sampling": {"value": 100}},
    )
    made = json.loads(re.sub(r":\s*(\$\w+)", r': "\1"', text))
    [listener] = made["static_resources"]["listeners"]
    listener["access_log"] = logs("connections", filters)
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"][-1]["typed_config"] |= {
        "upstream_log": logs("tries", filters),
        "upstream_log_options": {"flush_upstream_log_on_upstream_stream": True},
    }
    manager["http_filters"] = [*http_filters(), *manager["http_filters"]]
    made["layered_runtime"] = {"layers": [{"name": "s", "static_layer": RUNTIME}]}
    return re.sub(r'"(\$\w+)"', r"\1", json.dumps(made))


def request(number: int, target: str, lines: str) -> bytes:
    method, path = target.split()
    host = "other.com" if "Other" in lines else "a.com"
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"X-Case: {number}", *lines.split(";")]
    return "\r\n".join([*head, "", ""]).encode()


# The first part of the request id, how many records a try of it has, what is asked.
REQUESTS = [
    ("00000000", 2, "GET /s", "X-B: 2"),
    ("00000031", 2, "GET /s", "X-A: 1"),
    ("00000032", 2, "GET /s", "X-A: 1;X-A: 2;X-B: 2"),
    ("00000063", 2, "GET /s", "X-Status: 404;X-A: 3;X-Meta: v"),
    ("00002710", 2, "GET /s", "X-Status: 503;X-Num: 2.5"),
    ("0000270F", 2, "GET /s", "X-Grpc: 5"),
    ("ffffffff", 2, "GET /s", "X-Grpc: 99"),
    ("00001387", 2, "GET /s", "X-Grpc: abc"),
    ("00001388", 2, "GET /s", "X-Grpc: -1"),
    ("000f423f", 2, "GET /s", "X-Trailer: 3;X-Grpc: 0"),
    ("000f4240", 2, "GET /s", "X-Trailer: x;X-Grpc: 0"),
    ("0x000031", 1, "GET /refused", "X-A: 2"),
    ("0X000032", 2, "GET /stall", "X-A: -5"),
    ("00000033", 2, "GET /reset", "X-A: 0"),
    ("00000034", 0, "GET /direct?a=1", "X-Meta: v"),
    ("00000035", 0, "GET /to", "X-Empty:"),
    ("00000031", 0, "GET /s", "X-Other: 1"),
    ("00000010", 2, "GET /healthz", "X-Meta: w"),
    ("00000001", 2, "GET /s", "X-Envoy-Force-Trace: true"),
    ("00000020", 2, "GET /s", "X-Client-Trace-Id: x"),
    ("0000004f", 2, "POST /s", "Content-Type: application/grpc;Content-Length: 0;X-Grpc: +5"),
    ("0000004e", 1, "POST /refused", "Content-Type: application/grpc;Content-Length: 0"),
]


async def answer(exchange: Exchange) -> None:
    await exchange.read_body()
    asked = exchange.request.header
    headers = [("transfer-encoding", "chunked")]
    if (status := asked("x-grpc")) is not None:
        headers.append(("grpc-status", status))
    await exchange.head(int(asked("x-status") or 200), headers)
    await exchange.chunk(b"hi")
    trailer = asked("x-trailer")
    end = "" if trailer is None else f"grpc-status: {trailer}\r\n"
    await exchange.write(f"0\r\n{end}\r\n".encode())


def written(server: peers.Server, last: int) -> dict[str, Counter[str]]:
    for number, (first, _, target, more) in enumerate(REQUESTS):
        data = request(number, target, f"X-Request-Id: {first}-0000-4000-8000-000000000000;{more}")
        with Connection(server.port) as connection:
            connection.send(data)
            connection.reply()
    counts = {
        "requests": 2 * len(REQUESTS),
        "tries": sum(tries for _, tries, _, _ in REQUESTS),
        "connections": 1 + len(REQUESTS),  # that of the probe
    }

    def lines(file: str) -> list[str]:
        path = server.directory / file
        return path.read_text().splitlines() if path.exists() else []

    def unfiltered(file: str) -> int:
        return sum(line.startswith(f"{last} ") for line in lines(file))

    wait_until(lambda: all(unfiltered(f) >= n for f, n in counts.items()))
    return {file: Counter(lines(file)) for file in counts}


def test_trees_of_filters(
    both_logging: Callable[[str], list[peers.Server]], ports: dict[str, int]
) -> None:
    rng = random.Random(int(os.environ.get("LOG_FILTERS_SEED", "1")))
    filters = [tree(rng, 3 if number % 2 else 0) for number in range(63)]
    mine, yours = (written(each, len(filters)) for each in both_logging(config(filters)))
    wrong = []
    for file in mine:
        for who, more in (("ours", mine[file] - yours[file]), ("theirs", yours[file] - mine[file])):
            for line in more:
                each = [*filters, None][int(line.split()[0])]
                wrong.append(f"{who}, {file}: {line}: {json.dumps(each)}")
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(sorted(wrong, key=len)[:40])
    assert all(sum(each.values()) > 300 for each in mine.values())


@pytest.fixture
def ports(upstream: Callable[[Behaviour], Upstream]) -> dict[str, int]:
    return logging.upstream_ports(upstream) | {"echo": upstream(answer).port}


both_logging = logging.both_logging
