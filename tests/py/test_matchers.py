"""HeaderMatcher, StringMatcher, PathMatcher, QueryParameterMatcher, MetadataMatcher."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import meshcore
from meshcore import ConfigError


@pytest.mark.parametrize(
    ("config", "headers", "holds"),
    [
        ({"name": "X-A"}, [("x-a", "1")], True),
        ({"name": "x-a"}, {"x-b": "1"}, False),
        ({"name": "x-a", "string_match": {"exact": "1,2"}}, [("x-a", "1"), ("x-a", "2")], True),
        ({"name": "x-a", "range_match": {"start": -3, "end": 5}}, [(b"x-a", b"4")], True),
        ({"name": "x-a", "range_match": {"start": -3, "end": 5}}, [("x-a", "5")], False),
        ({"name": "x-a", "invert_match": True, "present_match": True}, [], True),
        ({"name": "x-a", "string_match": {"prefix": "b"}, "invert_match": True}, [], False),
        (
            {
                "name": "x-a",
                "string_match": {"prefix": "b"},
                "invert_match": True,
                "treat_missing_header_as_empty": True,
            },
            [],
            True,
        ),
        ({"name": "x-a", "safe_regex_match": {"regex": "[ab]+"}}, [("x-a", "abba")], True),
        ({"name": "x-a", "safe_regex_match": {"regex": "[ab]+"}}, [("x-a", "abbac")], False),
    ],
)
def test_headers(config: dict[str, Any], headers: Any, holds: bool) -> None:
    matcher = meshcore.HeaderMatcher(config)
    assert matcher.match(headers) is holds
    assert matcher.name == "x-a"


@pytest.mark.parametrize(
    ("config", "value", "holds"),
    [
        ({"exact": "Ab"}, "Ab", True),
        ({"exact": "Ab"}, b"ab", False),
        ({"exact": "Ab", "ignore_case": True}, b"aB", True),
        ({"prefix": "a"}, "ab", True),
        ({"suffix": "b"}, "ab", True),
        ({"contains": "B", "ignore_case": True}, "abc", True),
        ({"safe_regex": {"regex": "a.c"}}, "abc", True),
        ({"safe_regex": {"regex": "a.c"}}, "abcd", False),
        ({"safe_regex": {"regex": "(?i)A.C"}}, "abc", True),
        ("exact: text", "text", True),
    ],
)
def test_strings(config: Any, value: Any, holds: bool) -> None:
    assert meshcore.StringMatcher(config).match(value) is holds


def test_paths_lose_their_query() -> None:
    matcher = meshcore.PathMatcher({"path": {"suffix": "/x"}})
    assert matcher.match("/a/x?q=/y")
    assert matcher.match(b"/a/x#f?/y")
    assert not matcher.match("/a/y?/x")


@pytest.mark.parametrize(
    ("config", "query", "holds"),
    [
        ({"name": "a"}, "/p?a", True),
        ({"name": "a", "present_match": False}, "b=1", True),
        ({"name": "a", "present_match": False}, "a=1", False),
        ({"name": "a", "string_match": {"exact": "%20"}}, "/p?b=1&a=%20&a=2#a=3", True),
        ({"name": "a", "string_match": {"exact": ""}}, "a", True),
        ({"name": "a", "string_match": {"exact": "1"}}, {"a": "1"}, True),
        ({"name": "a", "string_match": {"exact": "1"}}, {"a": ["1", "2"]}, True),
        ({"name": "a", "string_match": {"exact": "2"}}, [("a", "1"), ("a", "2")], False),
        ({"name": "a", "string_match": {"exact": "1"}}, {}, False),
    ],
)
def test_query_parameters(config: dict[str, Any], query: Any, holds: bool) -> None:
    assert meshcore.QueryParameterMatcher(config).match(query) is holds


@pytest.mark.parametrize(
    ("value", "metadata", "holds"),
    [
        ({"string_match": {"exact": "x"}}, {"f": {"a": "x"}}, True),
        ({"string_match": {"exact": "x"}}, {"f": {"b": "x"}}, False),
        ({"bool_match": False}, {"f": {"a": False}}, True),
        ({"present_match": True}, {"f": {"a": {}}}, True),
        ({"null_match": {}}, {"f": {"a": None}}, True),
        ({"double_match": {"range": {"start": 1, "end": 2}}}, {"f": {"a": 1.5}}, True),
        ({"list_match": {"one_of": {"bool_match": True}}}, {"f": {"a": [1, True]}}, True),
        ({"present_match": True}, {}, False),
    ],
)
def test_metadata(value: dict[str, Any], metadata: dict[str, Any], holds: bool) -> None:
    config = {"filter": "f", "path": [{"key": "a"}], "value": value}
    assert meshcore.MetadataMatcher(config).match(metadata) is holds
    assert meshcore.MetadataMatcher(config | {"invert": True}).match(metadata) is not holds


@pytest.mark.parametrize(
    ("make", "config", "path"),
    [
        (meshcore.HeaderMatcher, {}, "name"),
        (meshcore.HeaderMatcher, {"name": "a", "safe_regex_match": {"regex": "("}}, None),
        (meshcore.StringMatcher, {"safe_regex": {"regex": "(aaaa){100}"}}, "safe_regex.regex"),
        (
            meshcore.StringMatcher,
            {"safe_regex": {"regex": "a"}, "ignore_case": True},
            "ignore_case",
        ),
        (meshcore.StringMatcher, {}, ""),
        (meshcore.PathMatcher, {"path": {"safe_regex": {"regex": "*"}}}, "path.safe_regex.regex"),
        (meshcore.QueryParameterMatcher, {"name": ""}, "name"),
        (meshcore.MetadataMatcher, {"filter": "f", "path": [{"key": "a"}]}, "value"),
        (meshcore.StringMatcher, {"nonsense": 1}, "nonsense"),
    ],
)
def test_wrong_ones_name_the_field(make: Any, config: dict[str, Any], path: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        make(config)
    assert path is None or caught.value.path == path


def test_values_of_other_types_are_refused() -> None:
    with pytest.raises(TypeError):
        meshcore.StringMatcher({"exact": "a"}).match(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        meshcore.HeaderMatcher({"name": "a"}).match([("a", 1)])  # type: ignore[list-item]


def test_threads_share_one() -> None:
    matcher = meshcore.StringMatcher({"safe_regex": {"regex": "(a|b)*c"}})
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(i for i in range(2000) if matcher.match("ab" * (i % 50) + "c") is not True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("kind", "thing"),
    [
        (meshcore.HeaderMatcher, []),
        (meshcore.StringMatcher, "a"),
        (meshcore.PathMatcher, "/a"),
        (meshcore.QueryParameterMatcher, "a=1"),
        (meshcore.MetadataMatcher, {}),
    ],
)
def test_a_matcher_without_init_refuses_to_match(kind: Any, thing: Any) -> None:
    with pytest.raises(RuntimeError):
        kind.__new__(kind).match(thing)


def test_fields_by_name_and_the_message_of_metadata():
    assert meshcore.StringMatcher(exact="a", ignore_case=True).matches("A")
    assert meshcore.HeaderMatcher(name="x-a", present_match=True).match({"X-A": ""})
    with pytest.raises(TypeError, match="not both"):
        meshcore.StringMatcher({"exact": "a"}, ignore_case=True)
    matcher = meshcore.MetadataMatcher(
        filter="ns", path=[{"key": "k"}], value={"string_match": {"exact": "v"}}
    )
    for metadata in ({"ns": {"k": "v"}}, {"filter_metadata": {"ns": {"k": "v"}}}):
        assert matcher.match(metadata)
