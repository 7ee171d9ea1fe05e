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
from upstreams import Behaviour, Upstream, echo, raw, reset, stall
from waiting import wait_until

ALL = [*cel_cases.CONSTANT, *cel_cases.ATTRIBUTES, *cel_cases.CHANGING]
NODE = {
    "id": "n1",
    "cluster": "c1",
    "metadata": {"k": "v", "n": 3},
    "locality": {"region": "r", "zone": "z"},
}


@pytest.fixture
def ports(upstream: Callable[[Behaviour], Upstream]) -> dict[str, int]:
    return {
        "echo": upstream(echo).port,
        "stalled": upstream(stall).port,
        "resetting": upstream(reset).port,
        "refused": peers.free_port(),
        "trailing": upstream(raw(logging.TRAILERS)).port,
    }


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
