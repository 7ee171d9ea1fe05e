"""How values that are not messages are read as people spell them, and written canonically.

The scalars of proto3 JSON with the other spellings that Envoy accepts, enums, and the messages that
JSON writes as one value: durations, timestamps, wrappers, structs.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from meshcore.config.invalid import Invalid, shown
from meshcore.config.validate import NANOSECONDS

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor

__all__ = [
    "SCALARS",
    "SPECIAL",
    "WRAPPED",
    "Convert",
    "at",
    "enum_reader",
    "json_value",
    "mapping",
    "wrapper",
]

Convert = Callable[[Any], Any]


# Scalars: from the spellings that Envoy accepts to one Python value.


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str(value)
    hint = "" if isinstance(value, (Mapping, list, tuple)) else "; quote it"
    raise Invalid(f"must be a string, not {shown(value)}{hint}")


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
    raise Invalid(f"must be true or false, not {shown(value)}")


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
            raise Invalid(f"must be a whole number, not {shown(value)}")
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
    raise Invalid(f"must be a number, not {shown(value)}")


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


def enum_reader(enum: EnumDescriptor) -> Convert:
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
            raise Invalid(f"must be one of {', '.join(by_name)}, not {shown(value)}")
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
        raise Invalid(f'must be a duration in seconds such as "1.5s", not {shown(value)}')
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
        raise Invalid(f'must be a duration in seconds such as "1.5s", not {shown(text)}')
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
            parts[name] = at(name, _SECONDS if name == "seconds" else _NANOS, part)
    return parts


def at(name: str, parse: Convert, value: Any) -> Any:
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
        raise Invalid(f'must be a time such as "2024-01-31T12:00:00Z", not {shown(value)}')
    return value


def json_value(value: Any) -> Any:
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
    raise Invalid(f"must be a JSON value, not {shown(value)}")


def _struct(value: Any) -> dict[str, Any]:
    out = {}
    for key, item in mapping(value).items():
        if not isinstance(key, str):
            raise Invalid(f"must have strings as keys, not {shown(key)}")
        out[key] = at(key, json_value, item)
    return out


def _list_value(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise Invalid(f"must be a list, not {shown(value)}")
    out = []
    for index, item in enumerate(value):
        try:
            out.append(json_value(item))
        except Invalid as fault:
            raise fault.under(index) from None
    return out


def mapping(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    raise Invalid(f"must be a mapping, not {shown(value)}")


WRAPPED: dict[str, str] = {
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
SCALARS: dict[str, tuple[Convert, Convert | None]] = {
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
SPECIAL: dict[str, tuple[Convert, Convert | None]] = {
    "google.protobuf.Duration": (_duration, _emit_duration),
    "google.protobuf.FieldMask": (_string, None),
    "google.protobuf.ListValue": (_list_value, None),
    "google.protobuf.Struct": (_struct, None),
    "google.protobuf.Timestamp": (_timestamp, None),
    "google.protobuf.Value": (json_value, None),
}


def wrapper(parse: Convert, empty: Any) -> Convert:
    """Reads a wrapper message: the bare value, or ``{value: ...}``."""

    def unwrap(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return parse(value)
        for name in value:
            if name != "value":
                raise Invalid("is not a field of a wrapper", str(name))
        inner = value.get("value")
        return empty if inner is None else at("value", parse, inner)

    return unwrap
