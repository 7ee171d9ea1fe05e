"""RBAC in front of the connection manager, beside real Envoy: who is let in, what is counted, what
is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import peers
import pytest
from clients import Connection
from filter_cases import Case, Tree
from test_envoy_diff_filters import bootstrap, obey, page
from test_envoy_diff_filters import stats as stats_of
from upstreams import Upstream

pytestmark = pytest.mark.oracle

KIND = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
ANY: Tree = {"any": True}
HERE = {"address_prefix": "127.0.0.0", "prefix_len": 8}
AWAY = {"address_prefix": "10.0.0.0", "prefix_len": 8}


def rules(action: str, **policies: tuple[Tree, Tree]) -> Tree:
    return {
        "action": action,
        "policies": {
            name: {"permissions": [permission], "principals": [principal]}
            for name, (permission, principal) in policies.items()
        },
    }


def by_ip(name: str, **outcomes: str) -> Tree:
    """A matcher that asks for the client's address."""
    return {
        "matcher_tree": {
            "input": {
                "name": "ip",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.network"
                    ".v3.SourceIPInput"
                },
            },
            "exact_match_map": {
                "map": {
                    ip.replace("_", "."): {
                        "action": {
                            "name": name,
                            "typed_config": {
                                "@type": "type.googleapis.com/envoy.config.rbac.v3.Action",
                                "name": name,
                                "action": action,
                            },
                        }
                    }
                    for ip, action in outcomes.items()
                }
            },
        }
    }


CASES: dict[str, list[Tree]] = {
    "nothing": [{}],
    "empty": [{"rules": {}}],
    "deny_none": [{"rules": rules("DENY")}],
    "allow_here": [{"rules": rules("ALLOW", a=(ANY, {"source_ip": HERE}))}],
    "allow_away": [{"rules": rules("ALLOW", a=(ANY, {"remote_ip": AWAY}))}],
    "deny_here": [{"rules": rules("DENY", a=(ANY, {"direct_remote_ip": HERE}))}],
    "log": [{"rules": rules("LOG", a=(ANY, ANY))}],
    "local": [{"rules": rules("ALLOW", a=({"destination_ip": HERE}, ANY))}],
    "port": [
        {
            "rules": rules(
                "ALLOW",
                a=({"destination_port_range": {"start": 1, "end": 2}}, ANY),
                b=({"destination_port": 1}, ANY),
            )
        }
    ],
    "path": [{"rules": rules("ALLOW", a=({"url_path": {"path": {"prefix": "/"}}}, ANY))}],
    "no_path": [
        {"rules": rules("ALLOW", a=({"not_rule": {"url_path": {"path": {"prefix": "/"}}}}, ANY))}
    ],
    "name": [{"rules": rules("ALLOW", a=({"requested_server_name": {"exact": ""}}, ANY))}],
    "secure": [{"rules": rules("ALLOW", a=(ANY, {"authenticated": {}}))}],
    "shadow": [
        {
            "rules": rules("ALLOW", a=(ANY, ANY)),
            "shadow_rules": rules("DENY", b=(ANY, ANY)),
            "shadow_rules_stat_prefix": "sh",
        }
    ],
    "shadow_alone": [{"shadow_rules": rules("ALLOW")}],
    "each_time": [
        {"rules": rules("ALLOW", a=(ANY, ANY)), "enforcement_type": "CONTINUOUS"},
        {"shadow_rules": rules("ALLOW", a=(ANY, ANY)), "enforcement_type": "CONTINUOUS"},
    ],
    "two": [
        {"rules": rules("ALLOW", a=(ANY, ANY))},
        {"rules": rules("DENY", a=(ANY, ANY)), "shadow_rules": rules("DENY")},
        {"rules": rules("ALLOW", a=(ANY, ANY))},
    ],
    "late": [{"rules": rules("DENY", a=(ANY, ANY)), "delay_deny": "0.02s"}],
    "matched": [{"matcher": by_ip("m", **{"127_0_0_1": "ALLOW"})}],
    "matched_not": [
        {"matcher": by_ip("m", **{"127_0_0_1": "DENY"}), "rules": rules("ALLOW", a=(ANY, ANY))}
    ],
    "unmatched": [{"matcher": by_ip("m", **{"10_0_0_1": "ALLOW"})}],
    "shadow_matched": [{"shadow_matcher": by_ip("m", **{"127_0_0_1": "LOG"})}],
}

HEADER: Tree = {"header": {"name": "a", "present_match": True}}
PLAIN: Tree = {"stat_prefix": "p", "rules": rules("ALLOW", a=(ANY, ANY))}
VERDICTS: dict[str, Tree] = {
    "good": PLAIN,
    "no_prefix": {"rules": rules("ALLOW")},
    "empty_prefix": {**PLAIN, "stat_prefix": ""},
    "header": {**PLAIN, "rules": rules("ALLOW", a=(HEADER, ANY))},
    "principal_header": {**PLAIN, "rules": rules("ALLOW", a=(ANY, HEADER))},
    "inner_header": {
        **PLAIN,
        "rules": rules("ALLOW", a=({"not_rule": {"and_rules": {"rules": [ANY, HEADER]}}}, ANY)),
    },
    "shadow_header": {**PLAIN, "shadow_rules": rules("ALLOW", a=(HEADER, ANY))},
    "path": {**PLAIN, "rules": rules("ALLOW", a=({"url_path": {"path": {"exact": "/"}}}, ANY))},
    "no_permissions": {
        **PLAIN, "rules": {"policies": {"a": {"permissions": [], "principals": [ANY]}}},
    },
    "bad_range": {
        **PLAIN,
        "rules": rules("ALLOW", a=({"destination_port_range": {"start": 5, "end": 5}}, ANY)),
    },
    "delay": {**PLAIN, "delay_deny": "1s"},
    "negative_delay": {**PLAIN, "delay_deny": "-1s"},
}  # fmt: skip


def guarded(text: str, guards: dict[str, list[Tree]]) -> str:
    """The bootstrap, with filters before the connection managers of some listeners."""
    tree = json.loads(text.replace("$port", '"$port"').replace("$admin_port", '"$admin_port"'))
    for listener in tree["static_resources"]["listeners"]:
        before = [
            {"name": f"rbac{n}", "typed_config": {"@type": KIND, **each}}
            for n, each in enumerate(guards.get(listener["name"], ()))
        ]
        listener["filter_chains"][0]["filters"][:0] = before
    return json.dumps(tree).replace('"$port"', "$port").replace('"$admin_port"', "$admin_port")


def talk(port: int) -> list[int | str]:
    """What becomes of two requests on one connection."""
    found: list[int | str] = []
    with Connection(port) as connection:
        for _ in range(2):
            try:
                found.append(connection.request().status)
            except (EOFError, OSError):
                found.append("closed")
    return found


def test_as_envoy() -> None:
    cases = [Case(name, [], [], stats=(f"p_{name}",)) for name in CASES]
    guards = {
        name: [{"stat_prefix": f"p_{name}_{n}", **each} for n, each in enumerate(chain)]
        for name, chain in CASES.items()
    }
    free = list({peers.free_port(): None for _ in range(3 * len(cases))})
    ports = dict(zip(CASES, free, strict=False))
    found = []
    start: Callable[..., peers.Server]
    with Upstream(obey) as upstream:
        config = guarded(bootstrap(cases, ports, upstream.port), guards)
        for start in (peers.meshcore, peers.envoy):
            with start(config) as server:
                talks = {case.name: talk(ports[case.name]) for case in cases}
                lines = page(server)
                found.append(
                    {case.name: (talks[case.name], stats_of(lines, case)) for case in cases}
                )
    ours, theirs = found
    assert ours == theirs
    assert ours["late"][0] == ["closed", "closed"]


TOLD: dict[str, list[Tree]] = {
    name: CASES[name] for name in ("shadow", "shadow_alone", "log", "two", "shadow_matched")
} | {
    "log_not": [{"rules": rules("LOG", a=(ANY, {"direct_remote_ip": AWAY}))}],
    "log_matched": [{"matcher": by_ip("m", **{"127_0_0_1": "ALLOW", "10_0_0_1": "LOG"})}],
    "both": [
        {"shadow_rules": rules("DENY", d=(ANY, ANY))},
        {"shadow_rules": rules("DENY"), "shadow_rules_stat_prefix": "second_"},
        {"shadow_rules": rules("ALLOW")},
    ],
}


def test_what_is_told() -> None:
    """The metadata of the connection, in the listener's access log; requests have none of it."""
    formats = "%DYNAMIC_METADATA(envoy.filters.network.rbac)% %DYNAMIC_METADATA(envoy.common)%"

    def log(name: str) -> list[Tree]:
        kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
        text = {"text_format_source": {"inline_string": f"{formats}\n"}}
        typed = {"@type": kind, "path": f"$directory/{name}", "log_format": text}
        return [{"name": "file", "typed_config": typed}]

    guards = {
        name: [{"stat_prefix": "p", **each} for each in chain] for name, chain in TOLD.items()
    }
    ports = {name: peers.free_port() for name in TOLD}
    cases = [Case(name, [], [], manager={"access_log": log(f"{name}.http")}) for name in TOLD]
    found = []
    start: Callable[..., peers.Server]
    with Upstream(obey) as upstream:
        text = guarded(bootstrap(cases, ports, upstream.port), guards)
        for name in TOLD:
            own = f'"name": "{name}", "address"'
            text = text.replace(own, f'"access_log": {json.dumps(log(name + ".cx"))}, {own}')
        for start in (peers.meshcore, peers.envoy):
            with start(text) as server:
                for port in ports.values():
                    talk(port)
                server.terminate()
                found.append(
                    {
                        path.name: path.read_text()
                        for name in TOLD
                        for path in (
                            server.directory / f"{name}.cx",
                            server.directory / f"{name}.http",
                        )
                    }
                )
    ours, theirs = found
    assert ours == theirs
    assert ours["shadow.cx"].startswith('{"sh')


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict(name: str) -> None:
    """What one refuses, the other does."""
    answers: list[Any] = []
    for start in (peers.meshcore, peers.envoy):
        config = guarded(
            bootstrap([Case("one", [], [])], {"one": peers.free_port()}, 1),
            {"one": [VERDICTS[name]]},
        )
        try:
            with start(config):
                answers.append(True)
        except peers.StartError:
            answers.append(False)
    assert answers[0] == answers[1]
