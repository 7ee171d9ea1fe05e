"""Which fields meshcore executes, and which of a given configuration it does not.

`support.toml` is the one list. ``python -m meshcore.config.support --write`` regenerates
docs/support.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from meshcore.config import schema
from meshcore.config.canonical import OWN_SPELLING
from meshcore.config.invalid import format_path
from meshcore.errors import ConfigError

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor

__all__ = ["Support", "document", "table", "unsupported"]

REASON = "not supported yet by meshcore"


@dataclass(frozen=True, slots=True)
class Support:
    """How far one field is supported; all empty means wholly."""

    values: tuple[Any, ...] | None = None
    types: tuple[str, ...] | None = None
    max_items: int | None = None
    empty: bool = False
    optional: str | None = None
    table: str | None = None
    unread: bool = False
    note: str = ""


@cache
def table() -> dict[str, dict[str, Support]]:
    """The list: message (or ``message#place``) to field to its support, in the file's order."""
    text = files(__package__).joinpath("support.toml").read_text("utf-8")
    messages = tomllib.loads(text)
    lists = messages.pop("types")
    return {
        message: {name: _support(entry, lists) for name, entry in fields.items()}
        for message, fields in messages.items()
    }


def _support(entry: Any, named: Mapping[str, list[str]]) -> Support:
    if entry is True:
        return Support()
    if isinstance(entry, str):
        return Support(note=entry)
    lists: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    if isinstance(types := entry.get("types"), str):
        lists["types"] = tuple(named[types])
    return Support(**lists)


def unsupported(message: str, tree: Mapping[str, Any]) -> list[ConfigError]:
    """What of a canonical tree meshcore would not execute, in the tree's order."""
    walk = _Walk()
    walk.message(message, tree)
    return walk.found


class _Walk:
    def __init__(self) -> None:
        self.found: list[ConfigError] = []
        self._path: list[str | int] = []

    def message(self, name: str, tree: Mapping[str, Any]) -> None:
        plan = _plan(name)
        path = self._path
        for key, value in tree.items():
            if key == "@type":
                continue
            field = plan.get(key)
            if field is True:
                continue
            path.append(key)
            if field is None:
                self._report(REASON)
            else:
                let_through = field.support.optional
                if let_through is None or not tree.get(let_through) or self._known(field, value):
                    self._field(field, value)
            path.pop()

    @staticmethod
    def _known(field: _Field, value: Mapping[str, Any]) -> bool:
        message = value.get("typed_config", value)
        kind = message.get("@type", "").removeprefix(schema.TYPE_PREFIX)
        return kind in (field.support.types or table())

    def _field(self, field: _Field, value: Any) -> None:
        support = field.support
        if support.max_items is not None and len(value) > support.max_items:
            self._report(f"more than {support.max_items} is {REASON}")
        if field.kind == "list":
            for index, item in enumerate(value):
                self._path.append(index)
                self._value(field, item)
                self._path.pop()
        elif field.kind == "map":
            for key, item in value.items():
                self._path.append(key)
                self._value(field, item)
                self._path.pop()
        else:
            self._value(field, value)

    def _value(self, field: _Field, value: Any) -> None:
        support = field.support
        if support.values is not None and value not in support.values:
            shown = str(value).lower() if isinstance(value, bool) else value
            self._report(f"{shown} is {REASON} (supported: {_listed(support.values)})")
        if field.message == "google.protobuf.Any":
            kind = value.get("@type", "").removeprefix(schema.TYPE_PREFIX)
            if not kind and support.empty:
                return
            if support.types is not None and kind not in support.types:
                self._report(f"{kind or 'an empty Any'} is {REASON}")
            elif kind not in OWN_SPELLING:
                self.message(kind, value)
        elif field.message is not None:
            self.message(field.message, value)

    def _report(self, reason: str) -> None:
        self.found.append(ConfigError(format_path(self._path), reason))


@dataclass(frozen=True, slots=True)
class _Field:
    """A supported field whose value must be looked at."""

    support: Support
    kind: str  # single, list or map
    message: str | None  # the table that governs its message


@cache
def _plan(name: str) -> dict[str, _Field | Literal[True]]:
    """By field: True when any value is supported, else how to look at it."""
    fields = table().get(name, {})
    if not fields:
        return {}
    descriptor = schema.descriptor(name.partition("#")[0])
    return {key: _looked_at(descriptor.fields_by_name[key], each) for key, each in fields.items()}


def _looked_at(field: FieldDescriptor, support: Support) -> _Field | Literal[True]:
    message = field.message_type
    kind = "single"
    if message is not None and schema.is_map(field):
        kind = "map"
        message = message.fields_by_name["value"].message_type
    elif schema.is_repeated(field):
        kind = "list"
    if support.unread:
        return True
    name = support.table or (message.full_name if message is not None else None)
    if name is not None and name in OWN_SPELLING and name != "google.protobuf.Any":
        name = None
    if name is None and support == Support(note=support.note):
        return True
    return _Field(support, kind, name)


def document() -> str:
    """The support matrix, as Markdown."""
    out = [
        "# What meshcore supports of Envoy's v3 configuration",
        "",
        "Generated from `src/meshcore/config/support.toml` by `make regen`. A populated field that",
        "is not listed here is an error that names its path; `--allow-unsupported` turns it into a",
        "warning. A field that holds a message is supported as far as that message's table says.",
    ]
    for message, fields in table().items():
        name, _, place = message.partition("#")
        where = f", {place}" if place else ""
        total = len(schema.descriptor(name).fields)
        out += ["", f"## {name}{where}", "", f"{len(fields)} of {total} fields.", ""]
        if fields:
            out += ["| Field | How far |", "|---|---|"]
        out += [f"| `{key}` | {_extent(each)} |" for key, each in fields.items()]
    return "\n".join(out) + "\n"


def _extent(support: Support) -> str:
    parts = list(_conditions(support))
    return "; ".join(parts) if parts else "yes"


def _conditions(support: Support) -> Iterator[str]:
    if support.values is not None:
        yield f"only {_listed(support.values)}"
    if support.types is not None:
        yield "only " + ", ".join(f"`{name}`" for name in support.types)
    if support.max_items is not None:
        yield f"at most {support.max_items}"
    if support.empty:
        yield "or none"
    if support.optional is not None:
        yield f"others are left out where `{support.optional}` says so"
    if support.note:
        yield support.note


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(
        str(value).lower() if isinstance(value, bool) else str(value) for value in values
    )
