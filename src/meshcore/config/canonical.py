"""From a tree as people write it to the canonical form of a message, checked on the way.

The canonical form is proto3 JSON with the original field names: enums by name, durations as
``"1.5s"``, 64-bit integers as decimal strings, default values omitted, ``Any`` inlined with
``"@type"`` first. It is what the C core reads. One walk does all: names, spellings that Envoy
accepts, types, ranges, the constraint annotations, and the rules of `semantics`.

Each message gets a `Plan`, compiled from its descriptor at the first use. A value that does not fit
raises `Invalid`, whose path grows while it leaves each level, so a walk without faults pays nothing
for paths.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import math
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from meshcore.config import schema
from meshcore.config.validate import NANOSECONDS, NO_RULES, Rules, rules_of
from meshcore.errors import ConfigError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

__all__ = ["Field", "Invalid", "Plan", "format_path", "plan_for", "unknown_fields"]

# Where unknown fields are collected while a configuration is read; None: they are errors.
unknown_fields: ContextVar[list[ConfigError] | None] = ContextVar("unknown_fields", default=None)

Convert = Callable[[Any], Any]
Hook = Callable[[dict[str, Any]], "dict[str, Any]"]


class Invalid(Exception):  # noqa: N818 - becomes a ConfigError at the boundary
    """A value that does not fit. ``parts`` is the path to it, innermost first."""

    def __init__(self, reason: str, *path: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parts: list[str | int] = list(reversed(path))

    def under(self, part: str | int) -> Invalid:
        self.parts.append(part)
        return self

    def error(self) -> ConfigError:
        return ConfigError(format_path(reversed(self.parts)), self.reason)


_SIMPLE_NAME = re.compile(r"[A-Za-z_@][A-Za-z0-9_@]*\Z")


def format_path(parts: Any) -> str:
    """``a.b[0]["key with dots"]`` out of ``("a", "b", 0, "key with dots")``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _SIMPLE_NAME.match(part):
            text += f".{part}" if text else part
        else:
            text += "[" + _quoted(part) + "]"
    return text


def _quoted(text: str) -> str:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _shown(value: Any) -> str:
    """A value as an error message shows it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "the boolean " + ("true" if value else "false")
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a Python {type(value).__name__}"


# Scalars: from the spellings that Envoy accepts to one Python value.


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str(value)
    hint = "" if isinstance(value, (Mapping, list, tuple)) else "; quote it"
    raise Invalid(f"must be a string, not {_shown(value)}{hint}")


_TRUE = {"true", "t", "yes", "y", "1"}
_FALSE = {"false", "f", "no", "n", "0"}


def _bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    if isinstance(value, str):
        lowered = value.lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
    raise Invalid(f"must be true or false, not {_shown(value)}")


_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_HEX_FLOAT = re.compile(r"[+-]?0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*([pP][+-]?[0-9]+)?\Z")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")


def _number_in(text: str) -> float | None:
    """What C's strtod reads in the whole text, or None."""
    if _DECIMAL.match(text):
        return float(text)
    if _HEX_FLOAT.match(text):
        try:
            return float.fromhex(text)
        except (ValueError, OverflowError):
            return None
    return None


def _integer(low: int, high: int) -> Convert:
    def parse(value: Any) -> int:
        number = value
        if isinstance(value, str):
            # The bound on the length keeps int() linear.
            if len(value) <= 40 and _INTEGER.match(value):
                number = int(value)
            else:
                number = _number_in(value)
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, bool) or not isinstance(number, int):
            raise Invalid(f"must be a whole number, not {_shown(value)}")
        if not low <= number <= high:
            raise Invalid(f"must be from {low} to {high}, not {number}")
        return number

    return parse


_NAMED_FLOATS = {
    sign + name: float(sign + number)
    for sign in ("", "+", "-")
    for name, number in (("nan", "nan"), ("inf", "inf"), ("infinity", "inf"))
}


def _double(value: Any) -> float:
    if isinstance(value, str):
        text = value.strip(" \t\n\r\v\f")
        number = _number_in(text)
        if number is None:
            number = _NAMED_FLOATS.get(text.lower())
        if number is not None:
            return number
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise Invalid(f"must be a number, not {_shown(value)}")


_MAX_FLOAT: Final = 3.4028234663852886e38


def _float(value: Any) -> float:
    number = _double(value)
    if math.isfinite(number) and abs(number) > _MAX_FLOAT:
        raise Invalid(f"must fit a 32-bit float, not {number}")
    return number


def _emit_double(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


_BASE64_JUNK = re.compile(r"[^A-Za-z0-9+/]")


def _bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    text = _string(value).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        if _BASE64_JUNK.search(text):
            raise binascii.Error
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise Invalid("must be base64") from None


def _emit_bytes(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _enum(enum: EnumDescriptor) -> Convert:
    by_name = {name: value.number for name, value in enum.values_by_name.items()}
    numbers = set(by_name.values())
    by_upper = {name.upper(): number for name, number in by_name.items()}

    def parse(value: Any) -> int:
        number = None
        if isinstance(value, str):
            number = by_name.get(value)
            if number is None:
                number = by_upper.get(value.upper())
            if number is None and len(value) <= 40 and _INTEGER.match(value.strip()):
                number = int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        if number is None or number not in numbers:
            raise Invalid(f"must be one of {', '.join(by_name)}, not {_shown(value)}")
        return number

    return parse


# The well-known types that JSON spells in their own way.

_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s\Z", re.ASCII)
# Envoy counts in signed 64-bit nanoseconds and keeps a second in hand.
_MAX_DURATION: Final = (2**63 // NANOSECONDS) * NANOSECONDS - NANOSECONDS


def _duration(value: Any) -> int:
    """Nanoseconds."""
    if isinstance(value, str):
        nanoseconds = _duration_text(value)
    elif isinstance(value, Mapping):
        parts = _duration_parts(value)
        nanoseconds = parts["seconds"] * NANOSECONDS + parts["nanos"]
    else:
        raise Invalid(f'must be a duration in seconds such as "1.5s", not {_shown(value)}')
    if nanoseconds < 0:
        raise Invalid(f"must not be negative, and is {_emit_duration(nanoseconds)}")
    if nanoseconds > _MAX_DURATION:
        raise Invalid(f"must be at most {_emit_duration(_MAX_DURATION)}")
    return nanoseconds


# A configuration repeats a few durations many times.
@lru_cache(maxsize=256)
def _duration_text(text: str) -> int:
    match = _DURATION.match(text)
    if match is None:
        raise Invalid(f'must be a duration in seconds such as "1.5s", not {_shown(text)}')
    sign, seconds, fraction = match.groups()
    nanoseconds = int(seconds) * NANOSECONDS + int((fraction or "").ljust(9, "0"))
    return -nanoseconds if sign else nanoseconds


_SECONDS = _integer(-(2**63), 2**63 - 1)
_NANOS = _integer(0, NANOSECONDS - 1)


def _duration_parts(value: Mapping[str, Any]) -> dict[str, int]:
    parts = {"seconds": 0, "nanos": 0}
    for name, part in value.items():
        if name not in parts:
            raise Invalid("is not a field of google.protobuf.Duration", str(name))
        if part is not None:
            parts[name] = _at(name, _SECONDS if name == "seconds" else _NANOS, part)
    return parts


def _at(name: str, parse: Convert, value: Any) -> Any:
    try:
        return parse(value)
    except Invalid as fault:
        raise fault.under(name) from None


@lru_cache(maxsize=256)
def _emit_duration(nanoseconds: int) -> str:
    sign = "-" if nanoseconds < 0 else ""
    seconds, nanos = divmod(abs(nanoseconds), NANOSECONDS)
    if not nanos:
        return f"{sign}{seconds}s"
    # Three, six or nine digits, as protobuf prints.
    digits = 3 if nanos % 1_000_000 == 0 else 6 if nanos % 1_000 == 0 else 9
    return f"{sign}{seconds}.{nanos:09d}"[: len(f"{sign}{seconds}.") + digits] + "s"


_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)


def _timestamp(value: Any) -> str:
    if not isinstance(value, str) or not _TIMESTAMP.match(value):
        raise Invalid(f'must be a time such as "2024-01-31T12:00:00Z", not {_shown(value)}')
    return value


def _json(value: Any) -> Any:
    """google.protobuf.Value: any JSON; numbers are doubles."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        number = _double(value)
        return int(number) if number.is_integer() else number
    if isinstance(value, Mapping):
        return _struct(value)
    if isinstance(value, (list, tuple)):
        return _list_value(value)
    raise Invalid(f"must be a JSON value, not {_shown(value)}")


def _struct(value: Any) -> dict[str, Any]:
    out = {}
    for key, item in _mapping(value).items():
        if not isinstance(key, str):
            raise Invalid(f"must have strings as keys, not {_shown(key)}")
        out[key] = _at(key, _json, item)
    return out


def _list_value(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise Invalid(f"must be a list, not {_shown(value)}")
    out = []
    for index, item in enumerate(value):
        try:
            out.append(_json(item))
        except Invalid as fault:
            raise fault.under(index) from None
    return out


def _mapping(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    raise Invalid(f"must be a mapping, not {_shown(value)}")


_WRAPPED: dict[str, str] = {
    "google.protobuf.BoolValue": "bool",
    "google.protobuf.BytesValue": "bytes",
    "google.protobuf.DoubleValue": "double",
    "google.protobuf.FloatValue": "float",
    "google.protobuf.Int32Value": "int32",
    "google.protobuf.Int64Value": "int64",
    "google.protobuf.StringValue": "string",
    "google.protobuf.UInt32Value": "uint32",
    "google.protobuf.UInt64Value": "uint64",
}
_INT32 = _integer(-(2**31), 2**31 - 1)
_INT64 = _integer(-(2**63), 2**63 - 1)
_UINT32 = _integer(0, 2**32 - 1)
_UINT64 = _integer(0, 2**64 - 1)
# How each scalar is read, and how it is written when that is not the value itself.
_SCALARS: dict[str, tuple[Convert, Convert | None]] = {
    "bool": (_bool, None),
    "bytes": (_bytes, _emit_bytes),
    "double": (_double, _emit_double),
    "float": (_float, _emit_double),
    "int32": (_INT32, None),
    "int64": (_INT64, str),
    "string": (_string, None),
    "uint32": (_UINT32, None),
    "uint64": (_UINT64, str),
}
_SPECIAL: dict[str, tuple[Convert, Convert | None]] = {
    "google.protobuf.Duration": (_duration, _emit_duration),
    "google.protobuf.FieldMask": (_string, None),
    "google.protobuf.ListValue": (_list_value, None),
    "google.protobuf.Struct": (_struct, None),
    "google.protobuf.Timestamp": (_timestamp, None),
    "google.protobuf.Value": (_json, None),
}
_ANY: Final = "google.protobuf.Any"
# Inside an Any these stand under "value".
OWN_SPELLING: Final = frozenset({*_WRAPPED, *_SPECIAL, _ANY})
_TYPED_STRUCTS: Final = frozenset({"udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"})


def _wrapper(parse: Convert, empty: Any) -> Convert:
    """Reads a wrapper message: the bare value, or ``{value: ...}``."""

    def unwrap(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return parse(value)
        for name in value:
            if name != "value":
                raise Invalid("is not a field of a wrapper", str(name))
        inner = value.get("value")
        return empty if inner is None else _at("value", parse, inner)

    return unwrap


class _Omit:
    """What a converter returns for a default value that the canonical form leaves out."""


OMIT: Final = _Omit()


class Field:
    """How one field is read, and how two canonical values of it merge.

    ``kind`` is value, message, list or map; ``rivals`` are the other arms of its oneof.
    """

    __slots__ = ("convert", "kind", "message", "name", "rivals")

    def __init__(
        self, name: str, convert: Convert, kind: str, rivals: tuple[str, ...], message: Plan | None
    ) -> None:
        self.name = name
        self.convert = convert
        self.kind = kind
        self.rivals = rivals
        self.message = message


class Plan:
    """How one message is read; compiled when first walked, and safe to share between threads."""

    __slots__ = (
        "_descriptor",
        "_hook",
        "_required",
        "_required_oneofs",
        "fields",
        "full_name",
        "validated",
    )

    def __init__(self, descriptor: Descriptor, *, validated: bool) -> None:
        self.full_name: str = descriptor.full_name
        self.validated = validated
        self._descriptor = descriptor
        self.fields: dict[str, Field] | None = None  # by original and by camelCase name
        self._required: tuple[tuple[str, str], ...] = ()  # names that must be there, and why
        self._required_oneofs: tuple[tuple[str, ...], ...] = ()
        self._hook: Hook | None = None

    def compile(self) -> dict[str, Field]:
        """The fields; compiles them at the first call."""
        if self.fields is not None:
            return self.fields
        message, validated = self._descriptor, self.validated
        fields: dict[str, Field] = {}
        required = []
        for field in message.fields:
            rules = rules_of(field) if validated else NO_RULES
            compiled = _Compiler(validated).field(field, rules)
            fields[field.name] = compiled
            fields.setdefault(field.json_name, compiled)
            reason = _absence(field, rules)
            if reason is not None:
                required.append((field.name, reason))
        self._required = tuple(required)
        if validated:
            from meshcore.config.semantics import HOOKS

            self._hook = HOOKS.get(self.full_name)
            self._required_oneofs = tuple(
                tuple(field.name for field in oneof.fields)
                for oneof in message.oneofs
                if schema.oneof_option(oneof, "validate.required")
            )
        # Last: another thread that sees the fields sees all. Two that compile at once make equal
        # plans.
        self.fields = fields
        return fields

    def walk(self, tree: Any) -> dict[str, Any]:
        """The canonical form of a message; raises Invalid."""
        if type(tree) is not dict:
            tree = _mapping(tree)
        fields = self.fields
        if fields is None:
            fields = self.compile()
        out: dict[str, Any] = {}
        for key, value in tree.items():
            field = fields.get(key)
            if field is None:
                self._pass_over(key)
                continue
            if value is None and field.convert is not _json:
                continue
            try:
                converted = field.convert(value)
            except Invalid as fault:
                raise fault.under(field.name) from None
            if field.rivals and not out.keys().isdisjoint(field.rivals):
                raise self._rivalry(field, out)
            name = field.name
            if name in out:
                # Two spellings of one field: in Envoy either may win.
                raise Invalid("is given twice, by its original and its camelCase name", name)
            if converted is not OMIT:
                out[name] = converted
        for name, reason in self._required:
            if name not in out:
                raise Invalid(reason, name)
        for names in self._required_oneofs:
            if out.keys().isdisjoint(names):
                one_of = "one of " if len(names) > 1 else ""
                raise Invalid(f"must have {one_of}{', '.join(names)}")
        return out if self._hook is None else self._hook(out)

    def merge(self, base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
        """Protobuf's merge: messages merge, lists append, anything else is replaced."""
        out = dict(base)
        fields = self.compile()
        for name, value in over.items():
            field = fields[name]
            for rival in field.rivals:
                out.pop(rival, None)
            present = out.get(name)
            if present is None or field.kind == "value":
                out[name] = value
            elif field.kind == "list":
                out[name] = [*present, *value]
            elif field.kind == "map":
                out[name] = {**present, **value}
            else:
                assert field.message is not None
                out[name] = field.message.merge(present, value)
        return out

    def _pass_over(self, key: Any) -> None:
        """An unknown field: an error, unless the reader asked for such to be collected."""
        fault, collected = self._unknown(key), unknown_fields.get()
        if collected is None or not isinstance(key, str):
            raise fault
        collected.append(fault.error())

    def _unknown(self, key: Any) -> Invalid:
        if not isinstance(key, str):
            return Invalid(f"must have field names as keys, not {_shown(key)}")
        if key == "<<":
            return Invalid("is a YAML merge key, which Envoy does not know either", key)
        reason = f"is not a field of {self.full_name}"
        known = {field.name for field in self.compile().values()}
        close = difflib.get_close_matches(key, known, 1)
        return Invalid(f"{reason} (did you mean {close[0]}?)" if close else reason, key)

    @staticmethod
    def _rivalry(field: Field, out: dict[str, Any]) -> Invalid:
        rival = next(name for name in field.rivals if name in out)
        return Invalid(f"cannot stand beside {rival}: at most one of the two", field.name)


_plans: dict[tuple[str, bool], Plan] = {}


def plan_for(full_name: str, *, validated: bool = True) -> Plan:
    """The plan of a message; KeyError when the schema does not have it.

    Without validation the walk still settles names, spellings and types, but asks nothing of them.
    """
    plan = _plans.get((full_name, validated))
    return plan or _plan(schema.descriptor(full_name), validated=validated)


def _plan(message: Descriptor, *, validated: bool) -> Plan:
    if validated and schema.message_option(message, "validate.disabled"):
        validated = False
    key = message.full_name, validated
    return _plans.get(key) or _plans.setdefault(key, Plan(message, validated=validated))


class _Compiler:
    """Makes the converters of one message's fields."""

    def __init__(self, validated: bool) -> None:
        self._validated = validated

    def field(self, field: FieldDescriptor, rules: Rules) -> Field:
        oneof = field.containing_oneof
        rivals = tuple(f.name for f in oneof.fields if f is not field) if oneof is not None else ()
        if schema.is_map(field):
            return Field(field.name, self._map(field, rules), "map", (), None)
        if schema.is_repeated(field):
            return Field(field.name, self._repeated(field, rules), "list", (), None)
        convert = self._single(field, rules, keep=field.has_presence)
        message = None
        kind = "value"
        if field.message_type is not None and field.message_type.full_name not in OWN_SPELLING:
            kind = "message"
            message = self._plan(field.message_type, rules)
        return Field(field.name, convert, kind, rivals, message)

    def _single(self, field: FieldDescriptor, rules: Rules, *, keep: bool) -> Convert:
        """The converter of one value; `keep` says whether a default value is still a value."""
        if field.message_type is not None:
            return self._message(field.message_type, rules)
        if field.enum_type is not None:
            # Of names that share a number, the first is canonical.
            names = {value.number: value.name for value in reversed(field.enum_type.values)}
            return _scalar(_enum(field.enum_type), rules, names.__getitem__, keep=keep)
        parse, emit = _SCALARS[_type_name(field)]
        return _scalar(parse, rules, emit, keep=keep)

    def _message(self, message: Descriptor, rules: Rules) -> Convert:
        name = message.full_name
        if name == _ANY:
            return _scalar(_Any(validated=self._validated), rules, None, keep=True)
        if name in _SPECIAL:
            parse, emit = _SPECIAL[name]
            return _scalar(parse, rules, emit, keep=True)
        if name in _WRAPPED:
            scalar = _WRAPPED[name]
            parse, emit = _SCALARS[scalar]
            return _scalar(_wrapper(parse, _EMPTY.get(scalar, 0)), rules, emit, keep=True)
        return self._plan(message, rules).walk

    def _plan(self, message: Descriptor, rules: Rules) -> Plan:
        return _plan(message, validated=self._validated and not rules.skip)

    def _repeated(self, field: FieldDescriptor, rules: Rules) -> Convert:
        item = self._single(field, rules.items or NO_RULES, keep=True)
        null = self._null(field)
        is_list = field.message_type is not None and field.message_type.full_name in (
            "google.protobuf.ListValue",
            "google.protobuf.Value",
        )

        def convert(value: Any) -> Any:
            # One value may stand for a list of one, and nested lists for one flat list.
            values = value if isinstance(value, (list, tuple)) else [value]
            if not is_list and any(isinstance(each, (list, tuple)) for each in values):
                values = list(_flat(values))
            out = []
            index = 0
            try:
                for index, each in enumerate(values):  # noqa: B007
                    out.append(item(null if each is None else each))
            except Invalid as fault:
                raise fault.under(index) from None
            reason = rules.fault(out)
            if reason is not None:
                raise Invalid(reason)
            return out or OMIT

        return convert

    def _map(self, field: FieldDescriptor, rules: Rules) -> Convert:
        entry: Any = field.message_type
        key_field, value_field = (entry.fields_by_name[name] for name in ("key", "value"))
        key_type = _type_name(key_field)
        read_key = _scalar(_SCALARS[key_type][0], rules.keys or NO_RULES, None, keep=True)
        read_value = self._single(value_field, rules.values or NO_RULES, keep=True)
        null = self._null(value_field)

        def convert(value: Any) -> Any:
            out = {}
            for key, each in _mapping(value).items():
                if not isinstance(key, str):
                    raise Invalid(f"must have strings as keys, not {_shown(key)}")
                try:
                    name = read_key(key)
                    if key_type == "bool":
                        name = "true" if name else "false"
                    out[str(name)] = read_value(null if each is None else each)
                except Invalid as fault:
                    raise fault.under(key) from None
            reason = rules.fault(out)
            if reason is not None:
                raise Invalid(reason)
            return out or OMIT

        return convert

    @staticmethod
    def _null(field: FieldDescriptor) -> Any:
        """What a null item of a list or map stands for: the default value of its type."""
        if field.message_type is not None:
            return None if field.message_type.full_name == "google.protobuf.Value" else {}
        if field.enum_type is not None:
            return 0
        return _EMPTY.get(_type_name(field), 0)


_EMPTY: Final[dict[str, Any]] = {"bool": False, "bytes": "", "string": ""}


class _Any:
    """Reads an Any: ``{"@type": url, ...fields}``."""

    def __init__(self, *, validated: bool) -> None:
        self._validated = validated

    def __call__(self, value: Any) -> dict[str, Any]:
        value = _mapping(value)
        if not value:
            return {}
        if "@type" not in value:
            raise Invalid('must have an "@type" that names the message')
        url = value["@type"]
        if not isinstance(url, str):
            raise Invalid(f"must be a string, not {_shown(url)}", "@type")
        host, slash, name = url.rpartition("/")
        if not (slash and host):
            raise Invalid(f"must be a type URL such as {schema.TYPE_PREFIX}{name}", "@type")
        plan = self._plan(name)
        body = {key: each for key, each in value.items() if key != "@type"}
        if name in OWN_SPELLING:
            return {"@type": schema.TYPE_PREFIX + name, "value": self._own(name, body)}
        out = {"@type": schema.TYPE_PREFIX + name, **plan.walk(body)}
        return self._typed_struct(out) if name in _TYPED_STRUCTS else out

    def _plan(self, name: str) -> Plan:
        try:
            return plan_for(name, validated=self._validated)
        except KeyError:
            old = re.search(r"\.v2(alpha\d*)?\.|\.v[01]alpha\.", name)
            near = difflib.get_close_matches(name, schema.message_names(), 1, 0.8)
            hint = f" (did you mean {near[0]}?)" if near else ""
            hint = "; the v2 API is gone from Envoy" if old else hint
            raise Invalid(f"names an unknown message, {_quoted(name)}{hint}", "@type") from None

    def _own(self, name: str, body: dict[str, Any]) -> Any:
        for key in body:
            if key != "value":
                raise Invalid(f"is not a field of an Any that holds a {name}", str(key))
        inner = body.get("value")
        if name == _ANY:
            return _at("value", self, {} if inner is None else inner)
        parse, emit = _SPECIAL.get(name) or _SCALARS[_WRAPPED[name]]
        if inner is None and name != "google.protobuf.Value":
            inner = _OWN_EMPTY.get(name, _EMPTY.get(_WRAPPED.get(name, ""), 0))
        parsed = _at("value", parse, inner)
        return parsed if emit is None else emit(parsed)

    def _typed_struct(self, struct: dict[str, Any]) -> dict[str, Any]:
        """A TypedStruct that names a message of the schema stands for that message, as in Envoy."""
        url = struct.get("type_url", "")
        try:
            plan = plan_for(url.rpartition("/")[2], validated=self._validated)
        except KeyError:
            return struct
        if plan.full_name in OWN_SPELLING:
            return struct
        return {
            "@type": schema.TYPE_PREFIX + plan.full_name,
            **_at("value", plan.walk, struct.get("value", {})),
        }


_OWN_EMPTY: Final[dict[str, Any]] = {
    "google.protobuf.Duration": "0s",
    "google.protobuf.FieldMask": "",
    "google.protobuf.ListValue": [],
    "google.protobuf.Struct": {},
    "google.protobuf.Timestamp": "1970-01-01T00:00:00Z",
}


def _scalar(parse: Convert, rules: Rules, emit: Convert | None, *, keep: bool) -> Convert:
    """Reads, checks and writes one value."""
    checks = rules.checks
    if keep and emit is None and not checks:
        return parse

    def convert(value: Any) -> Any:
        parsed = parse(value)
        for check in checks:
            reason = check(parsed)
            if reason is not None:
                raise Invalid(reason)
        if not keep and not parsed:
            return OMIT
        return parsed if emit is None else emit(parsed)

    return convert


def _flat(values: Any) -> Any:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _flat(value)
        else:
            yield value


def _absence(field: FieldDescriptor, rules: Rules) -> str | None:
    """Why the field must be there, or None when it may be absent."""
    if field.containing_oneof is not None:
        return None
    if rules.required:
        return "is required"
    if field.has_presence:
        return None
    if schema.is_map(field):
        empty: Any = {}
    elif schema.is_repeated(field):
        empty = []
    elif field.enum_type is not None:
        empty = 0
    else:
        empty = {"bool": False, "bytes": b"", "string": ""}.get(_type_name(field), 0)
    reason = rules.fault(empty)
    return None if reason is None else f"is required: {reason}"


def _type_name(field: FieldDescriptor) -> str:
    return _TYPE_NAMES[field.type]


_TYPE_NAMES: Final = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    6: "uint64",  # fixed64
    7: "uint32",  # fixed32
    8: "bool",
    9: "string",
    12: "bytes",
    13: "uint32",
    15: "int32",  # sfixed32
    16: "int64",  # sfixed64
    17: "int32",  # sint32
    18: "int64",  # sint64
}
