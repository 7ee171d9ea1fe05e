"""Configurations that are valid but for one thing: for each field of the support table, the odd
values of its type, in the smallest bootstrap that has the field.

    python tests/py/config_mutations.py [--only REGEX] [--seed N --pairs N] [--jobs N]

compares what meshcore and real Envoy say of all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import peers
from config_samples import (
    BESIDE,
    BOOTSTRAP,
    CLUSTER,
    DETOURS,
    HCM,
    INSTEAD,
    KEYS,
    LISTENER,
    MINIMAL,
    MONITOR,
    ROUTER,
    SAMPLES,
    TYPE,
    WITHIN,
    Tree,
    address,
    any_of,
)

from meshcore.config import schema, support
from meshcore.errors import ConfigError
from meshcore.gateway import Gateway

WRAPPERS = {
    f"google.protobuf.{name}Value": name.lower()
    for name in (
        "Bool",
        "UInt32",
        "UInt64",
        "Int32",
        "Int64",
        "Double",
        "Float",
        "String",
        "Bytes",
    )
}
SCALARS = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    6: "uint64",
    7: "uint32",
    8: "bool",
    9: "string",
    11: "message",
    12: "bytes",
    13: "uint32",
    14: "enum",
    15: "int32",
    16: "int64",
    17: "int32",
    18: "int64",
}
OWN = {"Any": "any", "Duration": "duration", "Struct": "struct", "Value": "value"}
STATIC = f"{BOOTSTRAP}.StaticResources"
OVERLOAD = "envoy.config.overload.v3.OverloadManager"


def message_of(table: str) -> str:
    return table.partition("#")[0]


@dataclass(frozen=True)
class Place:
    """A field of a table."""

    table: str
    name: str
    field: Any
    support: Any

    @property
    def shape(self) -> str:
        if self.field.message_type is not None and schema.is_map(self.field):
            return "map"
        return "list" if schema.is_repeated(self.field) else "single"

    @property
    def leaf(self) -> Any:
        """The descriptor of one value."""
        if self.shape == "map":
            return self.field.message_type.fields_by_name["value"]
        return self.field

    @property
    def kind(self) -> str:
        """What one value is: the name of a scalar, or message, any, duration, struct, value."""
        message = self.leaf.message_type
        if message is None:
            return SCALARS[self.leaf.type]
        if message.full_name in WRAPPERS:
            return WRAPPERS[message.full_name]
        return OWN.get(message.full_name.removeprefix("google.protobuf."), "message")

    def children(self) -> list[str]:
        """The tables of what the field may hold."""
        if self.kind == "any":
            return [kind for kind in self.support.types or () if not kind.startswith("meshcore.")]
        if self.kind != "message":
            return []
        return [self.support.table or self.leaf.message_type.full_name]

    def rules(self) -> tuple[str | None, Any]:
        """The schema's rules on the field: their kind, and they."""
        rules = schema.field_option(self.field, "validate.rules")
        kind = None if rules is None else rules.WhichOneof("type")
        return kind, None if kind is None else getattr(rules, kind)

    def of_one(self) -> Any:
        """The rules on one value."""
        kind, rule = self.rules()
        if self.shape == "single" or rule is None:
            return rule
        inner = {"repeated": "items", "map": "values"}.get(kind or "")
        if inner is None or not rule.HasField(inner):
            return None
        rules = getattr(rule, inner)
        return getattr(rules, rules.WhichOneof("type")) if rules.WhichOneof("type") else None

    def is_required(self) -> bool:
        rules = schema.field_option(self.field, "validate.rules")
        if rules is None:
            return False
        kind, rule = self.rules()
        if rules.message.required or (kind in ("any", "duration") and rule.required):
            return True
        if self.shape != "single":
            return any(given(rule, name) for name in ("min_items", "min_pairs"))
        if self.field.message_type is not None:
            return False
        if any(given(rule, name) for name in ("min_len", "min_bytes", "prefix", "in", "gte")):
            return True
        return given(rule, "gt") is not None or 0 in (given(rule, "not_in") or ())


@cache
def places(table: str) -> dict[str, Place]:
    fields = schema.descriptor(message_of(table)).fields_by_name
    listed = support.table().get(table, {})
    return {name: Place(table, name, fields[name], each) for name, each in listed.items()}


def given(rule: Any, name: str) -> Any:
    """What a rule says under a name; None when it does not."""
    if rule is None or name not in rule.DESCRIPTOR.fields_by_name:
        return None
    if schema.is_repeated(rule.DESCRIPTOR.fields_by_name[name]):
        return list(getattr(rule, name)) or None
    return getattr(rule, name) if rule.HasField(name) else None


# ------------------------------------------------------------------------------------ valid values


@cache
def minimal_text(table: str) -> str:
    for name in (table, message_of(table)):
        if name in MINIMAL:
            return json.dumps(MINIMAL[name])
    wanted = [place for place in places(table).values() if place.is_required()]
    for oneof in schema.descriptor(message_of(table)).oneofs:
        members = [places(table)[f.name] for f in oneof.fields if f.name in places(table)]
        if schema.oneof_option(oneof, "validate.required") and members:
            wanted.append(min(members, key=lambda member: bool(member.children())))
    return json.dumps({place.name: around(place, value(place)) for place in wanted})


def minimal(table: str) -> Tree:
    tree: Tree = json.loads(minimal_text(table))
    return tree


def typed(place: Place, child: str, tree: Tree) -> Tree:
    return any_of(message_of(child), **tree) if place.kind == "any" else tree


def around(place: Place, one: Any) -> Any:
    return {"list": [one], "map": {KEYS.get(place.name, "k"): one}}.get(place.shape, one)


def value(place: Place) -> Any:
    """One valid value."""
    for key in ((message_of(place.table), place.name), place.name):
        if key in SAMPLES:
            return copy.deepcopy(SAMPLES[key])
    rule, kind = place.of_one(), place.kind
    if kind in ("message", "any"):
        children = place.children()
        if not children:
            return {} if kind == "message" else any_of("google.protobuf.Struct", value={})
        return typed(place, children[0], minimal(children[0]))
    if kind == "enum":
        allowed = place.support.values or [v.name for v in place.leaf.enum_type.values]
        return allowed[-1] if 0 in (given(rule, "not_in") or ()) else allowed[0]
    if kind == "string":
        return "x" * max(1, given(rule, "min_len") or 0)
    simple = {"duration": "1s", "struct": {"a": "b"}, "value": "b", "bytes": "eA==", "bool": True}
    if kind in simple:
        return simple[kind]
    return max(given(rule, "gte") or 1, (given(rule, "gt") or 0) + 1)


# -------------------------------------------------------------------------------------- odd values

STRINGS = """\
|x|X-Y|x y|x\n|x\r\ny|x\0|\t|é|x_y|:path|:authority|:x|host|Host|content-length|transfer-encoding
|connection|%|%%|%REQ(x)%|%NOPE%|%REQ(|[|(x|(x)|*|*.x|x.*|x*y|/|/x|//x|/x?y|/x#y|/{a}|/{a}/{a}
|/*/**|{a}|127.0.0.1|::1|[::1]:80|10.0.0.0/8|x.y.com|a:80|http://x/y|\\1|\\2\\|100-continue|-1|0
|nosuch|c|websocket|CONNECT""".replace("\n|", "|").split("|")
STRINGS += ["x" * 300, "x" * 20000, "x\n", "x\r\ny"]
DURATIONS = """\
0s -1s 0.000000001s 0.0005s 0.001s 0.000999s 1s 1.5s 59s 60s 3600s 86400s 4294967s 4294968s
2147483647s 9223372036s 9223372037s 315576000000s 315576000001s -0.000000001s nonsense""".split()
BITS = {
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


def limits(rule: Any) -> Iterator[Any]:
    for name in ("gt", "gte", "lt", "lte", "const"):
        if given(rule, name) is not None:
            yield given(rule, name)
    for name in ("in", "not_in"):
        yield from given(rule, name) or ()


def odd_numbers(place: Place) -> Iterator[Any]:
    if place.kind in BITS:
        low, high = BITS[place.kind]
        steps = {n + d for n in limits(place.of_one()) for d in (-1, 0, 1)}
        yield from sorted(steps | {-1, 0, 1, 2, 3, 100, 101, 65536, 599, 600, low, high, high + 1})
        yield 1.5
    else:
        steps = {n + d for n in limits(place.of_one()) for d in (-1, -0.001, 0, 0.001, 1)}
        yield from sorted(steps | {0, -1, 0.5, 1, 100, 100.1, 1e300})
        yield from ("NaN", "Infinity")


def odd_durations(place: Place) -> Iterator[str]:
    yield from DURATIONS
    for limit in limits(place.of_one()):
        for step in (-1, 0, 1):
            at = limit.seconds * 10**9 + limit.nanos + step
            yield f"{'-' if at < 0 else ''}{abs(at) // 10**9}.{abs(at) % 10**9:09}s"


def odd_strings(place: Place) -> Iterator[str]:
    rule = place.of_one()
    yield from STRINGS
    for name in ("min_len", "max_len", "min_bytes", "max_bytes", "len"):
        limit = given(rule, name)
        if limit is not None:
            yield from ("x" * n for n in (limit - 1, limit, limit + 1) if n >= 0)
    for name in ("prefix", "suffix", "const", "not_contains"):
        if given(rule, name) is not None:
            yield given(rule, name)
    yield from given(rule, "in") or ()


def odd(place: Place) -> Iterator[Any]:
    """Odd single values of a field."""
    kind = place.kind
    if kind in BITS or kind in ("double", "float"):
        yield from odd_numbers(place)
    elif kind == "string":
        yield from odd_strings(place)
    elif kind == "duration":
        yield from odd_durations(place)
    elif kind == "bool":
        yield from (True, False)
    elif kind == "bytes":
        yield from ("", "eA==", "AA==", "/w==", "!", "eHg=")
    elif kind == "enum":
        yield from (v.name for v in place.leaf.enum_type.values)
        yield from ("NOPE", 99)
    elif kind == "struct":
        yield from ({}, {"a": None}, {"a": {"b": [1, "x", True]}}, {"": ""})
    elif kind == "value":
        yield from (None, 1, "x", "", [], {}, True, {"a": "%REQ(x)%"}, "%NOPE%", [["%NOPE%"]])
    elif kind == "any":
        yield {}
        yield {"@type": TYPE + "google.protobuf.Empty"}
        yield {"@type": TYPE + "envoy.nope.Nope"}
        yield any_of("envoy.config.route.v3.DirectResponseAction", status=200)
        for child in place.children():
            yield {"@type": TYPE + message_of(child)}
            yield typed(place, child, minimal(child))
    else:
        yield {}
        yield from (minimal(child) for child in place.children())


def mutations(place: Place) -> Iterator[Any]:
    """Odd values of a field with all that it holds."""
    if place.shape == "single":
        yield from odd(place)
        return
    sample = value(place)
    if place.shape == "map":
        yield {}
        yield from ({key: sample} for key in ("", "x", "x y", "envoy.x", "%", "a\n"))
        yield from (around(place, each) for each in odd(place))
        return
    yield from ([], [sample] * 2, [sample] * 3)
    kind, rule = place.rules()
    for name in ("min_items", "max_items") if kind == "repeated" else ():
        limit = given(rule, name)
        if limit is not None and limit < 2000:
            yield from ([sample] * n for n in (limit - 1, limit, limit + 1) if n >= 0)
    for each in odd(place):
        yield [each]
        if place.kind in ("string", "enum", "uint32"):
            yield [sample, each]


# --------------------------------------------------------------------------- whole configurations


@cache
def ways() -> dict[str, tuple[Place, str]]:
    """For each table the field that leads to it, the shortest way from the bootstrap."""
    found: dict[str, tuple[Place, str]] = {}
    steps: deque[tuple[Place | None, str]] = deque([(None, BOOTSTRAP)])
    later: deque[tuple[Place | None, str]] = deque()
    while steps or later:
        by, table = steps.popleft() if steps else later.popleft()
        if table in found:
            continue
        if by is not None:
            found[table] = by, table
        for place in places(table).values():
            for child in place.children():
                if child != BOOTSTRAP:
                    known = {place.name, child, f"{table}.{place.name}"}
                    (later if known & DETOURS else steps).append((place, child))
    return found


def put(table: str, tree: Tree, name: str, new: Any) -> Tree:
    """The tree with the field, without the others of its oneof."""
    field = schema.descriptor(message_of(table)).fields_by_name[name]
    out = dict(tree)
    if field.containing_oneof is not None:
        for other in field.containing_oneof.fields:
            out.pop(other.name, None)
    for beside, what in BESIDE.get((message_of(table), name), {}).items():
        out.pop(beside, None)
        if what is not None:
            out[beside] = copy.deepcopy(what)
    out[name] = new
    return out


def among(place: Place, one: Any) -> Any:
    """A value with what must stand before or behind it in its list."""
    kind = one.get("typed_config", {}).get("@type", "") if isinstance(one, dict) else ""
    if place.table == STATIC and place.name == "clusters":
        return [CLUSTER, one]
    if place.table == HCM and place.name == "http_filters" and not kind.endswith(".Router"):
        return [one, ROUTER]
    if place.table == "envoy.config.listener.v3.FilterChain" and place.name == "filters":
        manager = LISTENER["filter_chains"][0]["filters"][0]
        return [one] if kind == TYPE + HCM else [one, manager]
    return around(place, one)


def bootstrap(table: str, tree: Tree) -> Tree:
    """The bootstrap whose shortest way leads to `tree`."""
    while table != BOOTSTRAP:
        place, child = ways()[table]
        parent = {**minimal(place.table), **WITHIN.get(child, {})}
        if place.table == OVERLOAD and place.name != "resource_monitors":
            parent = {"resource_monitors": [MONITOR]}
        tree = put(place.table, parent, place.name, among(place, typed(place, child, tree)))
        table = place.table
    whole = {**MINIMAL[BOOTSTRAP], **tree}
    if "static_resources" in tree:
        whole["static_resources"] = {**MINIMAL[STATIC], **tree["static_resources"]}
    return whole


@dataclass(frozen=True)
class Case:
    table: str
    what: str
    text: str
    slot: str = ""


ALONE = {
    "envoy.config.listener.v3.Listener",
    "envoy.config.core.v3.Address",
    "envoy.config.core.v3.SocketAddress",
    "envoy.config.listener.v3.FilterChain",
    "envoy.config.cluster.v3.Cluster",
}


def slot_of(table: str) -> str:
    """As what configurations of a table can stand beside each other: listeners or clusters."""
    if table in ALONE:
        return ""
    while table in ways():
        place, _ = ways()[table]
        if place.table == STATIC:
            return place.name
        table = place.table
    return ""


def shown(new: Any) -> str:
    text = json.dumps(new, ensure_ascii=False)
    return text if len(text) < 160 else f"{text[:150]}...({len(text)})"


def make(table: str, what: str, tree: Tree) -> Case:
    text = json.dumps(bootstrap(table, tree))
    for part, changes in INSTEAD.items():
        for old, new in changes if part in table else ():
            text = text.replace(old, new)
    return Case(table, what, text, slot_of(table))


def cases_of(table: str) -> Iterator[Case]:
    base = minimal(table)
    yield make(table, "base", base)
    for name in base:
        yield make(table, f"{name} dropped", {k: v for k, v in base.items() if k != name})
    for name, place in places(table).items():
        seen = set()
        for new in mutations(place):
            text = json.dumps(new)
            if text not in seen:
                seen.add(text)
                yield make(table, f"{name}: {shown(new)}", put(table, base, name, new))
    for oneof in schema.descriptor(message_of(table)).oneofs:
        members = [places(table)[f.name] for f in oneof.fields if f.name in places(table)]
        for one, two in itertools.pairwise(members):
            tree = put(table, base, one.name, around(one, value(one)))
            tree[two.name] = around(two, value(two))
            yield make(table, f"{one.name} and {two.name}", tree)


def pairs(rng: random.Random, count: int, only: str = "") -> Iterator[Case]:
    """Two or three fields of a message at once."""
    tables = [t for t in ways() if len(places(t)) > 1 and re.search(only, t)]
    weights = [len(places(t)) for t in tables]
    for _ in range(count):
        (table,) = rng.choices(tables, weights)
        tree, told = minimal(table), []
        fields = list(places(table).values())
        for place in rng.sample(fields, min(len(fields), rng.choice((2, 2, 3)))):
            new = around(place, value(place))
            if rng.random() < 0.6:
                new = rng.choice(list(mutations(place)))
            tree = put(table, tree, place.name, new)
            told.append(f"{place.name}: {shown(new)}")
        yield make(table, "; ".join(told), tree)


# ---------------------------------------------------------------------------------------- verdicts


def ours(text: str) -> str | None:
    """What meshcore has against a configuration."""
    try:
        Gateway(text, workers=1)
    except ConfigError as error:
        return str(error) or "refused"
    return None


def theirs(text: str) -> str | None:
    """What Envoy has against it. An Envoy that crashes does not accept it."""
    with tempfile.TemporaryDirectory(prefix="meshcore-verdict-") as directory:
        path = Path(directory, "config.json")
        path.write_text(text)
        done = subprocess.run(
            [
                *(str(peers.envoy_binary()), "-c", str(path), "--mode", "validate"),
                *("--disable-hot-restart", "--use-dynamic-base-id", "--log-level", "error"),
            ],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=directory,
            timeout=120,
        )
    if done.returncode == 0:
        return None
    return (done.stdout + done.stderr)[-600:] or f"ended with {done.returncode}"


def together(cases: list[Case]) -> str:
    """One bootstrap of all that stand in a slot of it."""
    trees = [json.loads(case.text) for case in cases]
    slot = cases[0].slot
    parts = []
    for index, tree in enumerate(trees):
        part = tree["static_resources"][slot][-1]
        part["name"] = f"x{index}"
        if slot == "listeners":
            part["address"] = address(10000 + index)
        parts.append(part)
    trees[0]["static_resources"][slot] = [*([CLUSTER] if slot == "clusters" else []), *parts]
    return json.dumps(trees[0])


Verdict = tuple[Case, str | None, str | None]


def judged(cases: list[Case], threads: ThreadPoolExecutor) -> Iterator[Verdict]:
    """Each case with both verdicts. Those we accept go to Envoy many at a time."""
    groups: dict[str, list[Case]] = {}
    alone: list[tuple[Case, str | None]] = []
    for case in cases:
        fault = ours(case.text)
        if fault is None and case.slot:
            groups.setdefault(case.slot, []).append(case)
        else:
            alone.append((case, fault))
    told = threads.map(lambda each: theirs(each[0].text), alone)
    yield from ((case, fault, they) for (case, fault), they in zip(alone, told, strict=True))

    def judge(some: list[Case]) -> list[Verdict]:
        if len(some) == 1:
            return [(some[0], None, theirs(some[0].text))]
        if theirs(together(some)) is None:
            return [(case, None, None) for case in some]
        half = len(some) // 2
        return judge(some[:half]) + judge(some[half:])

    batches = [g[i : i + 32] for g in groups.values() for i in range(0, len(g), 32)]
    for found in threads.map(judge, batches):
        yield from found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="tables whose name holds this expression")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=3)
    options = parser.parse_args()
    if options.pairs:
        cases = list(pairs(random.Random(options.seed), options.pairs, options.only))
    else:
        tables = [table for table in ways() if re.search(options.only, table)]
        cases = [case for table in tables for case in cases_of(table)]
    total = different = 0
    # Files that a configuration names are made when it is loaded.
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.chdir(directory),
        ThreadPoolExecutor(options.jobs) as threads,
    ):
        for case, we, they in judged(cases, threads):
            total += 1
            if (we is None) != (they is None):
                different += 1
                line = {"table": case.table, "what": case.what, "ours": we, "envoy": they}
                print(json.dumps({**line, "text": case.text}), flush=True)
    print(f"{different} of {total} differ", file=sys.stderr)


if __name__ == "__main__":
    main()
