"""Whatever comes in, the loader answers with a Config or a ConfigError."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_load import FRONT_PROXY

from meshcore.config import Config, load, load_file
from meshcore.config.schema import pool
from meshcore.config.text import parse_json, parse_yaml
from meshcore.errors import ConfigError

QUICK = settings(max_examples=300, deadline=None, derandomize=True)

BASE = load(FRONT_PROXY).document


def paths(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a tree."""
    items = (
        list(tree.items())
        if isinstance(tree, dict)
        else list(enumerate(tree))
        if isinstance(tree, list)
        else []
    )
    return [here, *(p for key, value in items for p in paths(value, (*here, key)))]


PLACES = paths(BASE)[1:]
NAMES = sorted(
    {key for path in PLACES for key in path if isinstance(key, str)} | {"value", "<<", ""}
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1s", "-1s", "1e999s", "0x10", "1e400", "nan", "STATIC", "%x%", "\ud800"])
    | st.sampled_from([json.dumps(name) for name in NAMES])
)
TREES = st.recursive(
    SCALARS | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def check(error: ConfigError) -> None:
    """An error is one line that says something."""
    assert error.reason
    assert "\n" not in str(error)


def attempt(source: Any, **options: Any) -> Config | None:
    """What the loader makes of it; anything but a Config or a ConfigError fails the test."""
    try:
        config = load(source, allow_unsupported=True, **options)
    except ConfigError as error:
        check(error)
        return None
    again = load(config.document, allow_unsupported=True)
    assert again.document == config.document
    assert json.loads(config.to_core()) == config.document
    assert load(config.to_message(), allow_unsupported=True).document == config.document
    return config


@pytest.mark.filterwarnings("ignore")
@QUICK
@given(place=st.sampled_from(PLACES), value=TREES)
def test_any_value_at_any_place(place: tuple[Any, ...], value: Any) -> None:
    tree = copy.deepcopy(BASE)
    parent: Any = tree
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    attempt(tree)


@QUICK
@given(tree=TREES)
def test_any_overlay(tree: Any) -> None:
    if isinstance(tree, dict):
        attempt(BASE, overlay=tree)


@QUICK
@given(text=st.text(max_size=60))
@example("a: &x [*x]")
@example("? [a]\n: b")
@example("? &a b\n: *a")
@example("&a a: *a")
@example("{" * 2000)
@example("[" * 200)
@example("- " * 500)
@example("a: " + "[" * 500)
@example('{"a":' * 5000)
@example("{a: 'b',}")
@example("%YAML 9.9\n---\na: b")
@example("\x00")
@example("{" + "9" * 5000 + ": 1}")
@example('{"node": ' + "9" * 5000 + "}")
def test_any_text(text: str) -> None:
    attempt(text)
    for parse in (parse_yaml, parse_json):
        try:
            parse(text)
        except ConfigError as error:
            check(error)


@QUICK
@given(
    cut=st.tuples(st.integers(0, len(FRONT_PROXY)), st.integers(0, 40)),
    text=st.text(st.sampled_from("{}[]:,-'\"&*!|>%@#?\n \tay0"), max_size=6),
)
def test_any_edit_of_a_yaml_file(cut: tuple[int, int], text: str) -> None:
    start, length = cut
    attempt(FRONT_PROXY[:start] + text + FRONT_PROXY[start + length :])


@settings(parent=QUICK, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=40),
    at=st.integers(0, 400),
    suffix=st.sampled_from([".yaml", ".json", ".pb", ".pb_text"]),
)
def test_any_bytes_in_a_file(tmp_path: Path, data: bytes, at: int, suffix: str) -> None:
    message = load(FRONT_PROXY).to_message()
    whole = {
        ".yaml": FRONT_PROXY.encode(),
        ".json": json.dumps(BASE).encode(),
        ".pb": message.SerializeToString(),
        ".pb_text": text_format.MessageToString(message, descriptor_pool=pool()).encode(),
    }[suffix]
    path = tmp_path / f"fuzz{suffix}"
    for content in (data, whole[:at] + data + whole[at + len(data) :]):
        path.write_bytes(content)
        try:
            load_file(path, allow_unsupported=True)
        except ConfigError as error:
            check(error)


def test_trees_without_end() -> None:
    tree: dict[str, Any] = {"node": {"metadata": {}}}
    tree["node"]["metadata"]["self"] = tree["node"]["metadata"]
    with pytest.raises(ConfigError, match="nests too deeply"):
        load(tree)
    alias = "a0: &a0 {x: 1}\n" + "".join(
        f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(10))}}}\n"
        for i in range(1, 12)
    )
    with pytest.raises(ConfigError, match="too large a tree"):
        parse_yaml(alias)
