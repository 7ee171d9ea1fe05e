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

import difflib
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from meshcore.config import schema
from meshcore.config.invalid import Invalid, quoted, shown
from meshcore.config.spelling import (
    SCALARS,
    SPECIAL,
    WRAPPED,
    Convert,
    at,
    enum_reader,
    json_value,
    mapping,
    wrapper,
)
from meshcore.config.validate import NO_RULES, Rules, rules_of
from meshcore.errors import ConfigError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

__all__ = ["OWN_SPELLING", "Field", "Plan", "plan_for", "unknown_fields"]

# Where unknown fields are collected while a configuration is read; None: they are errors.
unknown_fields: ContextVar[list[ConfigError] | None] = ContextVar("unknown_fields", default=None)

Hook = Callable[[dict[str, Any]], "dict[str, Any]"]

_ANY: Final = "google.protobuf.Any"
# Inside an Any these stand under "value".
OWN_SPELLING: Final = frozenset({*WRAPPED, *SPECIAL, _ANY})
_TYPED_STRUCTS: Final = frozenset({"udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"})


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
            tree = mapping(tree)
        fields = self.fields
        if fields is None:
            fields = self.compile()
        out: dict[str, Any] = {}
        for key, value in tree.items():
            field = fields.get(key)
            if field is None:
                self._pass_over(key)
                continue
            if value is None and field.convert is not json_value:
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
            return Invalid(f"must have field names as keys, not {shown(key)}")
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
            return _scalar(enum_reader(field.enum_type), rules, names.__getitem__, keep=keep)
        parse, emit = SCALARS[_type_name(field)]
        return _scalar(parse, rules, emit, keep=keep)

    def _message(self, message: Descriptor, rules: Rules) -> Convert:
        name = message.full_name
        if name == _ANY:
            return _scalar(_Any(validated=self._validated), rules, None, keep=True)
        if name in SPECIAL:
            parse, emit = SPECIAL[name]
            return _scalar(parse, rules, emit, keep=True)
        if name in WRAPPED:
            scalar = WRAPPED[name]
            parse, emit = SCALARS[scalar]
            return _scalar(wrapper(parse, _EMPTY.get(scalar, 0)), rules, emit, keep=True)
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
        read_key = _scalar(SCALARS[key_type][0], rules.keys or NO_RULES, None, keep=True)
        read_value = self._single(value_field, rules.values or NO_RULES, keep=True)
        null = self._null(value_field)

        def convert(value: Any) -> Any:
            out = {}
            for key, each in mapping(value).items():
                if not isinstance(key, str):
                    raise Invalid(f"must have strings as keys, not {shown(key)}")
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
        value = mapping(value)
        if not value:
            return {}
        if "@type" not in value:
            raise Invalid('must have an "@type" that names the message')
        url = value["@type"]
        if not isinstance(url, str):
            raise Invalid(f"must be a string, not {shown(url)}", "@type")
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
            raise Invalid(f"names an unknown message, {quoted(name)}{hint}", "@type") from None

    def _own(self, name: str, body: dict[str, Any]) -> Any:
        for key in body:
            if key != "value":
                raise Invalid(f"is not a field of an Any that holds a {name}", str(key))
        inner = body.get("value")
        if name == _ANY:
            return at("value", self, {} if inner is None else inner)
        parse, emit = SPECIAL.get(name) or SCALARS[WRAPPED[name]]
        if inner is None and name != "google.protobuf.Value":
            inner = _OWN_EMPTY.get(name, _EMPTY.get(WRAPPED.get(name, ""), 0))
        parsed = at("value", parse, inner)
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
            **at("value", plan.walk, struct.get("value", {})),
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
