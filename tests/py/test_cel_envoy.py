"""Expressions evaluated by meshcore and by real Envoy for the same requests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cel_cases
import peers
import pytest
import test_access_log_envoy as logging
from clients import Connection
from differences import explained
from waiting import wait_until

import meshcore

ALL = [*cel_cases.CONSTANT, *cel_cases.ATTRIBUTES, *cel_cases.CHANGING]
NODE = {
    "id": "n1",
    "cluster": "c1",
    "metadata": {"k": "v", "n": 3},
    "locality": {"region": "r", "zone": "z"},
}


ports = logging.ports  # the fixture


@pytest.fixture
def both(ports: dict[str, int]) -> Iterator[Callable[[str], list[peers.Server]]]:
    servers: list[peers.Server] = []

    def start(text: str) -> list[peers.Server]:
        servers.append(peers.meshcore(text, args=("--concurrency", "1", *logging.FLUSH), **ports))
        servers.append(peers.envoy(text, args=logging.FLUSH, **ports))
        return servers

    yield start
    for server in servers:
        server.stop()


def config(log_format: dict[str, Any]) -> str:
    text = logging.config([logging.file_log("lines", **log_format)])
    return text.replace("{", json.dumps({"node": NODE})[:-1] + ", ", 1)


def name(expression: str) -> str:
    """Its key in the JSON."""
    return expression.replace('"', "''")


CHANGING = {name(e) for e in cel_cases.CHANGING} | {"request.headers", "request['headers']"}


def formats(command: str) -> dict[str, str]:
    return {name(e): f"%{command}({e})%" for e in ALL}


def run(server: peers.Server) -> dict[str, str]:
    """The line of each request."""
    path = server.directory / "lines"
    out: dict[str, str] = {}
    for request, sent in logging.REQUESTS.items():
        with Connection(server.port) as connection:
            connection.send(sent)
            connection.reply(sent.split(b" ", 1)[0].decode())
        wait_until(lambda: whole_lines(path) > len(out))
        out[request] = path.read_text("utf-8", "surrogateescape").splitlines()[len(out)]
    return out


def whole_lines(path: Path) -> int:
    """A long line may come in parts."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def same(expression: str, left: Any, right: Any, hidden: list[str]) -> bool:
    if left is None and right == "inf":
        return bool(explained("cel-infinity"))
    if expression == "{1:1,1u:2}":  # the order of Envoy's map changes from run to run
        return True
    if expression in CHANGING:
        return logging.kind(left) == logging.kind(right)
    return hidden[0] == hidden[1]


def compare(name: str, lines: list[str], ports: dict[str, int], servers: Any) -> list[str]:
    mine, yours = (json.loads(re.sub(r":(-?inf|nan)\b", r':"\1"', line)) for line in lines)
    wrong = []
    for field in yours:
        hidden = [
            logging.hide_ports(of[field], ports, server)
            for of, server in zip((mine, yours), servers, strict=True)
        ]
        if not same(field, mine[field], yours[field], hidden):
            wrong.append(f"{name}: {field}: ours {mine[field]!r}, theirs {yours[field]!r}")
    return wrong


@pytest.mark.parametrize("command", ["CEL", "TYPED_CEL"])
def test_every_expression(
    both: Callable[[str], list[peers.Server]], ports: dict[str, int], command: str
) -> None:
    servers = both(config({"json_format": formats(command)}))
    lines = [run(server) for server in servers]
    wrong = [
        each
        for request in logging.REQUESTS
        for each in compare(request, [of[request] for of in lines], ports, servers)
    ]
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong)


# --- conditions: of policies and of matchers -----------------------------------------------------


def const(kind: str, value: Any) -> dict[str, Any]:
    return {"const_expr": {f"{kind}_value": value}}


def text(value: str) -> dict[str, Any]:
    return const("string", value)


def member(path: str, test_only: bool = False) -> dict[str, Any]:
    """`a.b.c`."""
    *before, last = path.split(".")
    if not before:
        return {"ident_expr": {"name": last}}
    select = {"operand": member(".".join(before)), "field": last}
    return {"select_expr": {**select, **({"test_only": True} if test_only else {})}}


def call(function: str, *args: Any, target: Any = None) -> dict[str, Any]:
    made = {"function": function, "args": list(args)}
    return {"call_expr": {**made, **({} if target is None else {"target": target})}}


def is_path(path: str) -> dict[str, Any]:
    return call("_==_", member("request.url_path"), text(path))


HEADER = call("_[_]", member("request.headers"), text("x-a"))
EXPRESSIONS: dict[str, Any] = {
    "true": const("bool", True),
    "false": const("bool", False),
    "text": text("true"),
    "unknown": member("nope"),
    "header": call("_==_", HEADER, text("1")),
    "joined": call("_==_", HEADER, text("1,2")),
    "has header": member("request.headers.x-a", True),
    "in": call("@in", text("x-a"), member("request.headers")),
    "method": call("startsWith", text("G"), target=member("request.method")),
    "absorbed": call("_||_", call("_==_", HEADER, text("1")), const("bool", True)),
    "not": call("!_", call("_==_", HEADER, text("1"))),
    "if": call("_?_:_", member("request.headers.x-a", True), const("bool", True), member("nope")),
    "size": call("_>_", call("size", HEADER), const("int64", "1")),
    "list": call("@in", HEADER, {"list_expr": {"elements": [text("1"), text("3")]}}),
    "map": call(
        "_==_",
        call(
            "_[_]",
            {"struct_expr": {"entries": [{"map_key": text("1"), "value": const("uint64", "7")}]}},
            HEADER,
        ),
        const("double", 7.0),
    ),
    "matches": call("matches", HEADER, text("^[12]$")),
    "response": member("response.code", True),
    "node": call("_==_", member("xds.node.id"), text("n1")),
    "route": call("_==_", member("xds.virtual_host_name"), text("v")),
    "route name": call("_!=_", member("xds.route_name"), text("")),
    "mtls": call("!_", member("connection.mtls")),
    "loopback": call("startsWith", member("source.address"), text("127.0.0.1:")),
    "no host": member("upstream.address", True),
    "arithmetic": call(
        "_==_", call("_%_", const("int64", "7"), const("int64", "4")), const("int64", "3")
    ),
    "duration": call("_<_", const("duration", "1s"), call("duration", text("1500ms"))),
    "bytes": call("_==_", const("bytes", "YQ=="), call("bytes", text("a"))),
    "null": call("_==_", const("null", None), const("null", None)),
    "concat": call("_==_", call("_+_", text("a"), text("b")), text("ab")),
}
RBAC = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3."
MATCHER = "type.googleapis.com/xds.type.matcher.v3."


def policy(expression: Any, **more: Any) -> dict[str, Any]:
    anyone = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    return {"rules": {"policies": {"p": {**anyone, "condition": expression, **more}}}}


def action(name: str, kind: str) -> dict[str, Any]:
    typed = {"@type": "type.googleapis.com/envoy.config.rbac.v3.Action", "name": name}
    return {"action": {"name": name, "typed_config": {**typed, "action": kind}}}


def tree(expression: Any, field: str = "cel_expr_parsed") -> dict[str, Any]:
    single = {
        "input": {
            "name": "attributes",
            "typed_config": {"@type": f"{MATCHER}HttpAttributesCelMatchInput"},
        },
        "custom_match": {
            "name": "cel",
            "typed_config": {
                "@type": f"{MATCHER}CelMatcher",
                "expr_match": {field: {"expr": expression}},
            },
        },
    }
    entry = {"predicate": {"single_predicate": single}, "on_match": action("yes", "ALLOW")}
    return {"matcher": {"matcher_list": {"matchers": [entry]}, "on_no_match": action("no", "DENY")}}


def rbac_config(rules: list[dict[str, Any]]) -> str:
    """One route for each."""
    routes = [
        {
            "match": {"prefix": f"/{i}/"},
            "name": f"route {i}",
            "direct_response": {"status": 200},
            "typed_per_filter_config": {"rbac": {"@type": f"{RBAC}RBACPerRoute", "rbac": each}},
        }
        for i, each in enumerate(rules)
    ]
    made = json.loads(re.sub(r": (\$\w+)", r': "\1"', config({})))
    [listener] = made["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"].insert(0, {"name": "rbac", "typed_config": {"@type": f"{RBAC}RBAC"}})
    manager["route_config"]["virtual_hosts"] = [{"name": "v", "domains": ["*"], "routes": routes}]
    return re.sub(r'"(\$\w+)"', r"\1", json.dumps(made))


def statuses(server: peers.Server, count: int) -> list[list[int]]:
    out = []
    for headers in (b"", b"x-a: 1\r\n", b"x-a: 1\r\nx-a: 2\r\n"):
        out.append([])
        with Connection(server.port) as connection:
            for i in range(count):
                connection.send(b"GET /%d/?q HTTP/1.1\r\nhost: a.com\r\n%b\r\n" % (i, headers))
                out[-1].append(connection.reply("GET").status)
    return out


@pytest.mark.parametrize("make", [policy, tree])
def test_conditions(
    both: Callable[[str], list[peers.Server]], make: Callable[[Any], dict[str, Any]]
) -> None:
    rules = [make(e) for e in EXPRESSIONS.values()]
    if make is policy:
        rules += [
            policy(None, checked_condition={"expr": const("bool", False)}),
            policy(EXPRESSIONS["concat"], cel_config={"enable_string_concat": True}),
            policy(
                call("_==_", call("string", const("int64", "1")), text("1")),
                cel_config={"enable_string_conversion": True},
            ),
        ]
    else:
        fields = ("cel_expr_checked", "parsed_expr", "checked_expr")
        rules += [tree(EXPRESSIONS["header"], field) for field in fields]
    mine, yours = (statuses(server, len(rules)) for server in both(rbac_config(rules)))
    names = [*EXPRESSIONS, "1", "2", "3"]
    assert [dict(zip(names, each, strict=True)) for each in mine] == [
        dict(zip(names, each, strict=True)) for each in yours
    ]
    assert {200, 403} == {status for each in mine for status in each}


# --- filters of access logs ----------------------------------------------------------------------

FILTERS = [
    "response.code == 200",
    "response.code >= 400 && request.method == 'GET'",
    "'nope'",
    "nope",
    "request.url_path.matches('^/(plain|body)$')",
    "has(upstream.address)",
    "upstream.request_attempt_count > 1u",
    "response.flags != 0",
    "request.headers['x-twice'] == '1,2'",
    "response.headers['content-type'] == 'text/plain' || response.size > 2",
    "'x-t' in response.trailers",
    "xds.node.id == 'n1' && xds.route_name.startsWith('route /')",
    "xds.cluster_metadata.filter_metadata.ns.deep.n == 2.5",
    "response.code_details.contains('timeout')",
    "request.protocol == 'HTTP/1.0'",
    "duration('0s') <= request.duration",
    "has(upstream.local_address)",
    "request.total_size > 0",
]


def filtered(index: int, expression: str) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    log = logging.file_log(
        f"log{index}", text_format_source={"inline_string": "%REQ(:METHOD)% %REQ(:PATH)%\n"}
    )
    typed = {"@type": kind, "expression": expression}
    return {**log, "filter": {"extension_filter": {"name": "cel", "typed_config": typed}}}


def test_filters_of_access_logs(both: Callable[[str], list[peers.Server]]) -> None:
    logs = [logging.file_log("lines", json_format={"path": "%REQ(:PATH)%"})]
    logs += [filtered(i, each) for i, each in enumerate(FILTERS)]
    text = logging.config(logs).replace("{", json.dumps({"node": NODE})[:-1] + ", ", 1)
    wanted = []
    for server in both(text):
        run(server)
        server.terminate()
        files = [server.directory / f"log{i}" for i in range(len(FILTERS))]
        wanted.append([path.read_text().splitlines() if path.exists() else [] for path in files])
    mine, yours = (dict(zip(FILTERS, each, strict=True)) for each in wanted)
    assert mine == yours
    assert sum(map(bool, mine.values())) > len(FILTERS) // 2


# --- what is refused -----------------------------------------------------------------------------

REFUSED = ["", "1 +", "nope()", "string(1)", "[1].all(x, x > 0)", "'a'.matches('[')", "has(a)"]


@pytest.mark.parametrize("expression", REFUSED)
def test_what_is_refused_names_its_field(expression: str, tmp_path: Path) -> None:
    text = logging.config([filtered(0, expression)])
    ports = dict.fromkeys(("echo", "stalled", "resetting", "refused", "trailing", "port"), 10000)
    assert not peers.envoy_accepts(text, **ports)[0]
    with pytest.raises(meshcore.ConfigError) as caught:
        meshcore.Gateway(peers.render(text, {**ports, "directory": str(tmp_path)}))
    assert caught.value.path.endswith("filter.extension_filter.typed_config.expression")
