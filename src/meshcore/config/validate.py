"""Constraint annotations of the schema (`validate.rules`), turned into checks on single values.

A check is a function from a value to what is wrong with it, or None. Values come as Python's own
types: durations as nanoseconds, enums as numbers. The walk that finds the values, descends into
``Any`` and names the path is `canonical`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from meshcore.config.schema import field_option

__all__ = ["Check", "Rules", "rules_in", "rules_of"]

Check = Callable[[Any], "str | None"]

NANOSECONDS = 1_000_000_000

# The named patterns of the annotations: (strict, lenient), by the name of the enum value.
_WELL_KNOWN = {
    "HTTP_HEADER_NAME": (r":?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+", r"[^\x00\n\r]*"),
    "HTTP_HEADER_VALUE": (r"[^\x00-\x08\x0a-\x1f\x7f]*", r"[^\x00\n\r]*"),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the annotations of one field (or of the items of one) ask."""

    checks: tuple[Check, ...] = ()
    required: bool = False
    skip: bool = False  # leave the rules inside the message alone
    items: Rules | None = None
    keys: Rules | None = None
    values: Rules | None = None

    def fault(self, value: Any) -> str | None:
        """What is wrong with the value, or None."""
        for check in self.checks:
            reason = check(value)
            if reason is not None:
                return reason
        return None


NO_RULES = Rules()


def rules_of(field: Any) -> Rules:
    """The rules on a field, given its descriptor."""
    annotation = field_option(field, "validate.rules")
    return NO_RULES if annotation is None else rules_in(annotation)


def rules_in(annotation: Any) -> Rules:
    """The rules that a `validate.FieldRules` message states."""
    kind = annotation.WhichOneof("type")
    message = annotation.message
    if kind is None:
        return Rules(required=message.required, skip=message.skip)
    rule = getattr(annotation, kind)
    nested = {
        name: rules_in(getattr(rule, name))
        for name in ("items", "keys", "values")
        if kind in ("repeated", "map") and _has(rule, name)
    }
    return Rules(
        checks=tuple(_checks(kind, rule)),
        required=message.required or bool(getattr(rule, "required", False)),
        skip=message.skip,
        **nested,
    )


def _has(message: Any, name: str) -> bool:
    return name in message.DESCRIPTOR.fields_by_name and message.HasField(name)


def _checks(kind: str, rule: Any) -> list[Check]:
    table = _KINDS.get(kind, _NUMBER)
    strict = getattr(rule, "strict", True)
    checks = []
    for field, parameter in rule.ListFields():
        if field.name in _STRUCTURE:
            continue
        value = parameter
        if kind == "duration":
            value = (
                [_nanoseconds(item) for item in parameter]
                if field.name in ("in", "not_in")
                else (_nanoseconds(parameter))
            )
        elif field.name == "well_known_regex":
            name = field.enum_type.values_by_number[parameter].name
            value = _WELL_KNOWN[name][0 if strict else 1]
        elif field.name in ("in", "not_in"):
            value = tuple(parameter)
        check = table[field.name](value)
        if check is not None:
            checks.append(check)
    if getattr(rule, "ignore_empty", False):
        return [_unless_empty(check) for check in checks]
    return checks


# Read by `rules_in` and `_checks` themselves.
_STRUCTURE = {"items", "keys", "values", "required", "strict", "ignore_empty", "skip"}


def _nanoseconds(duration: Any) -> int:
    return int(duration.seconds) * NANOSECONDS + int(duration.nanos)


def _unless_empty(check: Check) -> Check:
    return lambda value: check(value) if value else None


def _check(holds: Callable[[Any], Any], reason: str) -> Check:
    return lambda value: None if holds(value) else reason


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _among(values: Collection[Any]) -> str:
    return ", ".join(repr(value) if isinstance(value, str) else str(value) for value in values)


def _minimum(noun: str, measure: Callable[[Any], int] = len) -> Callable[[int], Check | None]:
    def make(bound: int) -> Check | None:
        # A minimum of nothing asks nothing.
        if bound <= 0:
            return None
        reason = "must not be empty" if bound == 1 else f"must have at least {_plural(bound, noun)}"
        return _check(lambda value: measure(value) >= bound, reason)

    return make


def _maximum(noun: str, measure: Callable[[Any], int] = len) -> Callable[[int], Check]:
    return lambda bound: _check(
        lambda value: measure(value) <= bound, f"must have at most {_plural(bound, noun)}"
    )


def _exactly(noun: str, measure: Callable[[Any], int] = len) -> Callable[[int], Check]:
    return lambda bound: _check(
        lambda value: measure(value) == bound, f"must have exactly {_plural(bound, noun)}"
    )


def _utf8(value: str) -> int:
    return len(value.encode("utf-8", "surrogatepass"))


def _match(pattern: str) -> Check:
    # RE2 and re agree on the few patterns of the schema, but for `$`, which re lets stand before a
    # newline.
    compiled = re.compile(re.sub(r"\$(?=\||$)", r"\\Z", pattern))
    return _check(compiled.search, f"must match {pattern}")


def _whole(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return _check(compiled.fullmatch, f"must match ^{pattern}$")


def _is_in(values: Collection[Any]) -> Check:
    return _check(lambda value: value in values, f"must be one of {_among(values)}")


def _not_in(values: Collection[Any]) -> Check:
    return _check(lambda value: value not in values, f"must be none of {_among(values)}")


def _const(constant: Any) -> Check:
    shown = str(constant).lower() if isinstance(constant, bool) else _among([constant])
    return _check(lambda value: value == constant, f"must be {shown}")


def _of_type(check: Check) -> Check:
    return lambda value: check(value.get("@type", ""))


def _unique(wanted: bool) -> Check | None:
    def check(values: list[Any]) -> str | None:
        seen = set()
        for value in values:
            key = repr(value)
            if key in seen:
                return f"must not repeat an item ({value!r})"
            seen.add(key)
        return None

    return check if wanted else None


def _bounds(show: Callable[[Any], str]) -> dict[str, Callable[[Any], Check | None]]:
    return {
        "gt": lambda bound: _check(
            lambda value: value > bound, f"must be greater than {show(bound)}"
        ),
        "gte": lambda bound: _check(
            lambda value: value >= bound, f"must be at least {show(bound)}"
        ),
        "lt": lambda bound: _check(lambda value: value < bound, f"must be less than {show(bound)}"),
        "lte": lambda bound: _check(lambda value: value <= bound, f"must be at most {show(bound)}"),
        "in": _is_in,
        "not_in": _not_in,
        "const": _const,
    }


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / NANOSECONDS:.9f}".rstrip("0").rstrip(".") + "s"


_NUMBER = _bounds(str)
_DURATION = _bounds(_seconds)
_STRING: dict[str, Callable[[Any], Check | None]] = {
    "len": _exactly("character"),
    "min_len": _minimum("character"),
    "max_len": _maximum("character"),
    "len_bytes": _exactly("byte", _utf8),
    "min_bytes": _minimum("byte", _utf8),
    "max_bytes": _maximum("byte", _utf8),
    "prefix": lambda text: _check(
        lambda value: value.startswith(text), f"must start with {text!r}"
    ),
    "suffix": lambda text: _check(lambda value: value.endswith(text), f"must end with {text!r}"),
    "contains": lambda text: _check(lambda value: text in value, f"must contain {text!r}"),
    "not_contains": lambda text: _check(
        lambda value: text not in value, f"must not contain {text!r}"
    ),
    "pattern": _match,
    "well_known_regex": _whole,
    "in": _is_in,
    "not_in": _not_in,
    "const": _const,
}
_BYTES: dict[str, Callable[[Any], Check | None]] = {
    "len": _exactly("byte"),
    "min_len": _minimum("byte"),
    "max_len": _maximum("byte"),
    "in": _is_in,
    "not_in": _not_in,
    "const": _const,
}
_KINDS: dict[str, dict[str, Callable[[Any], Check | None]]] = {
    "string": _STRING,
    "bytes": _BYTES,
    "duration": _DURATION,
    "bool": {"const": _const},
    # `defined_only` needs the enum's own values: `canonical` refuses every undefined number.
    "enum": {"const": _const, "in": _is_in, "not_in": _not_in, "defined_only": lambda _: None},
    "any": {
        "in": lambda urls: _of_type(_is_in(urls)),
        "not_in": lambda urls: _of_type(_not_in(urls)),
    },
    "repeated": {
        "min_items": _minimum("item"),
        "max_items": _maximum("item"),
        "unique": _unique,
    },
    "map": {
        "min_pairs": _minimum("entry"),
        "max_pairs": _maximum("entry"),
        "no_sparse": lambda _: None,
    },
}
