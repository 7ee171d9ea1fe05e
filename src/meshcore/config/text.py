"""Text to a tree of plain values: YAML and JSON, read as Envoy reads them.

YAML scalars are typed as Envoy types them, which is neither YAML 1.1 nor 1.2: a plain or tagged
scalar is a boolean (``y``, ``Yes``, ``off``...), else a whole number, else text; a number beyond 32
bits and every fraction stay text, which number fields accept. Quoted scalars are text. ``!ignore``
drops a key, so that anchors have a place to stand. Merge keys (``<<``) mean nothing, a repeated key
replaces the earlier one, and a second document is not read; the last two are reported to ``warn``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from meshcore.errors import ConfigError

__all__ = ["parse_json", "parse_yaml"]

Warn = Callable[[str], None]

MAX_DEPTH: Final = 100
# Aliases let a small text stand for a huge tree; this bounds the tree.
MAX_NODES: Final = 50_000_000


def parse_yaml(text: str, warn: Warn = lambda _: None) -> Any:
    """The first document of a YAML text."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        tree = _Document(warn).read(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        raise ConfigError("", _yaml_fault(error)) from None
    except yaml.YAMLError as error:
        raise ConfigError("", f"not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, dict):
        found = {type(None): "empty", list: "a list"}.get(type(tree), "a single value")
        raise ConfigError("", f"must be a mapping of fields, and is {found}")
    return tree


def _yaml_fault(error: Any) -> str:
    mark = error.problem_mark or error.context_mark
    where = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
    return f"not YAML: {error.problem or error.context}{where}"


_BOOLEANS: Final = {
    spelling: value
    for names, value in ((("y", "yes", "true", "on"), True), (("n", "no", "false", "off"), False))
    for name in names
    for spelling in (name, name.upper(), name.capitalize())
}
_NULLS: Final = {"", "~", "null", "Null", "NULL"}
_INTEGER: Final = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))\Z")


def _plain(text: str) -> Any:
    """The value of an unquoted scalar."""
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    match = _INTEGER.match(text) if len(text) <= 32 else None
    if match is None:
        return text
    sign, hexadecimal, octal, decimal = match.groups()
    number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    number = -number if sign == "-" else number
    if -(2**31) <= number < 2**31:
        return number
    return str(number) if -(2**63) <= number < 2**63 else text


class _Document:
    """Builds a tree from the events of a YAML parser."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._anchors: dict[str, tuple[Any, int]] = {}  # the value and how many nodes it expands to
        self._open: set[str] = set()
        self._depth = 0
        self._nodes = 0

    def read(self, events: Any) -> Any:
        import yaml

        tree = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents == 2:
                    self._warn(f"line {_line(event)}: only the first document is read")
                    break
            elif isinstance(event, yaml.NodeEvent):
                tree = self._node(event, events)
        return tree

    def _node(self, event: Any, events: Any) -> Any:
        import yaml

        self._nodes += 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._nodes
        if event.anchor is not None:
            self._open.add(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        else:
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise _at(event, f"nests deeper than {MAX_DEPTH} levels")
            is_list = isinstance(event, yaml.SequenceStartEvent)
            value = self._list(events) if is_list else self._mapping(events)
            self._depth -= 1
        if event.anchor is not None:
            self._open.discard(event.anchor)
            self._anchors[event.anchor] = value, self._nodes - before + 1
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor in self._open:
            raise _at(event, f"the alias *{event.anchor} contains itself")
        if event.anchor not in self._anchors:
            raise _at(event, f"the alias *{event.anchor} has no anchor")
        value, nodes = self._anchors[event.anchor]
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _at(event, "aliases expand to too large a tree")
        return value

    @staticmethod
    def _scalar(event: Any) -> Any:
        quoted = event.style in ("'", '"', "|", ">")
        if event.tag == "!" or (quoted and event.tag is None):
            return event.value
        if event.tag is None and event.value in _NULLS:
            return None
        return _plain(event.value)

    def _list(self, events: Any) -> list[Any]:
        import yaml

        out = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            out.append(self._node(event, events))
        return out

    def _mapping(self, events: Any) -> dict[str, Any]:
        import yaml

        out: dict[str, Any] = {}
        for key in events:
            if isinstance(key, yaml.MappingEndEvent):
                break
            name = self._key(key)
            value = self._node(next(events), events)
            if _is_ignored(key):
                continue
            if name in out:
                self._warn(f"line {_line(key)}: {name!r} is given twice; the later value counts")
            out[name] = value
        return out

    def _key(self, event: Any) -> str:
        import yaml

        if isinstance(event, yaml.ScalarEvent):
            if event.anchor is not None:
                self._anchors[event.anchor] = self._scalar(event), 1
            return str(event.value)
        if isinstance(event, yaml.AliasEvent):
            value = self._alias(event)
            if isinstance(value, str):
                return value
        raise _at(event, "a key must be a single value")


def _is_ignored(event: Any) -> bool:
    """Whether a key carries the ``!ignore`` tag."""
    return getattr(event, "tag", None) == "!ignore"


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _at(event: Any, problem: str) -> ConfigError:
    mark = event.start_mark
    return ConfigError("", f"not YAML: {problem} at line {mark.line + 1}, column {mark.column + 1}")


def parse_json(text: str, warn: Warn = lambda _: None) -> Any:
    """A JSON text whose top is an object.

    As in Envoy a repeated name replaces the earlier value, and strict JSON is not insisted on:
    names may be bare words, quotes may be single, and a comma may end a list.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(items)
        if len(out) != len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            warn(f"{twice!r} is given twice; the later value counts")
        return out

    text = text.removeprefix("\ufeff")
    try:
        tree = json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        tree = _Lenient(text, pairs, error).read()
    except RecursionError:
        raise ConfigError("", "not JSON: nests too deeply") from None
    except ValueError as error:  # an integer with thousands of digits
        raise ConfigError("", f"not JSON: {error}") from None
    if not isinstance(tree, dict):
        found = "a list" if isinstance(tree, list) else "a single value"
        raise ConfigError("", f"must be an object, and is {found}")
    return tree


def _no_constant(name: str) -> Any:
    raise ConfigError("", f"not JSON: {name} is no number")


class _Lenient:
    """A JSON reader that also takes bare names, single quotes and a last comma.

    It only runs when the strict reader refused the text, and when it refuses too, the strict
    reader's complaint is the one reported.
    """

    _SPACE = re.compile(r"[ \t\n\r]*")
    _WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
    _NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![0-9A-Za-z.])")
    _SINGLE = re.compile(r"'((?:[^'\\\x00-\x1f]|\\.)*)'")
    _DOUBLE = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
    _WORDS: Final = {"true": True, "false": False, "null": None}

    def __init__(self, text: str, pairs: Any, error: json.JSONDecodeError) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._pairs = pairs
        self._fault = ConfigError(
            "", f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        )

    def read(self) -> Any:
        tree = self._value()
        self._skip()
        if self._at != len(self._text):
            raise self._fault
        return tree

    def _skip(self) -> str:
        match = self._SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._text[self._at : self._at + 1]

    def _take(self, char: str) -> bool:
        if self._skip() != char:
            return False
        self._at += 1
        return True

    def _token(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise self._fault
        self._at = match.end()
        return match.group()

    def _value(self) -> Any:
        char = self._skip()
        if char in ("{", "["):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise ConfigError("", "not JSON: nests too deeply")
            self._at += 1
            out = self._pairs(self._members()) if char == "{" else self._items()
            self._depth -= 1
            return out
        if char in ("'", '"'):
            return self._string(char)
        if char in "-0123456789" and char:
            return json.loads(self._token(self._NUMBER))
        word = self._token(self._WORD)
        if word not in self._WORDS:
            raise self._fault
        return self._WORDS[word]

    def _members(self) -> list[tuple[str, Any]]:
        out: list[tuple[str, Any]] = []
        while not self._take("}"):
            char = self._skip()
            name = self._string(char) if char in ("'", '"') else self._token(self._WORD)
            if not self._take(":"):
                raise self._fault
            out.append((name, self._value()))
            self._separator("}")
        return out

    def _items(self) -> list[Any]:
        out = []
        while not self._take("]"):
            out.append(self._value())
            self._separator("]")
        return out

    def _separator(self, end: str) -> None:
        if not self._take(",") and self._skip() != end:
            raise self._fault

    def _string(self, quote: str) -> str:
        token = self._token(self._SINGLE if quote == "'" else self._DOUBLE)
        if quote == "'":
            body = token[1:-1].replace("\\'", "'")
            token = '"' + re.sub(r'(?<!\\)"', '\\\\"', body) + '"'
        try:
            return str(json.loads(token))
        except ValueError:
            raise self._fault from None
