"""The way in: a configuration in any form, to one validated `Config`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshcore.config import grpc_services, support
from meshcore.config.canonical import Plan, plan_for, unknown_fields
from meshcore.config.invalid import Invalid
from meshcore.config.schema import (
    BOOTSTRAP,
    is_map,
    is_repeated,
    message_class,
    pool,
    type_for_any,
)
from meshcore.config.text import parse_json, parse_yaml
from meshcore.errors import ConfigError

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

__all__ = ["Config", "load", "load_file", "tree_of"]

log = logging.getLogger("meshcore")
# Silent unless the host sets up logging.
log.addHandler(logging.NullHandler())

Overlay = str | Mapping[str, Any]
# Text that can only be meant as a path: one word with a suffix of `load_file`'s.
_FILE_NAME = re.compile(r"[^\s:{}\[\]]+\.(?:ya?ml|json|pb|pb_text)")


@dataclass(frozen=True, slots=True)
class Config:
    """A validated configuration message.

    ``document`` is its canonical form: proto3 JSON with original field names and without default
    values. Treat it as read-only. ``warnings`` holds what is not supported but was let through.
    """

    type: str
    document: dict[str, Any]
    warnings: tuple[ConfigError, ...]
    _core: bytes = field(repr=False, compare=False)

    def to_core(self) -> bytes:
        """The document as the compact JSON that the C core reads."""
        return self._core

    def to_message(self) -> Message:
        """The document as a message of the private pool."""
        from google.protobuf.json_format import Parse

        # Not ParseDict: it writes to the tree while it reads.
        message: Message = message_class(self.type)()
        return Parse(self.to_core(), message, descriptor_pool=pool())


def load(
    source: Any,
    *,
    type: str = BOOTSTRAP,  # noqa: A002
    overlay: Overlay | Sequence[Overlay] | None = None,
    allow_unsupported: bool = False,
    check_support: bool = True,
    allow_unknown: bool = False,
) -> Config:
    """Read, validate and canonicalise a configuration.

    ``source`` is a mapping, a protobuf message of any origin, a path object, or YAML or JSON text;
    ``type`` is the full name of the message it holds. ``overlay`` (YAML text or a mapping, or
    several in a list) is merged over it as Envoy merges ``--config-yaml``: scalars replaced,
    messages merged, lists appended. Raises ConfigError.

    What meshcore does not support yet is an error too, the first such field with the rest in its
    ``others``; with ``allow_unsupported`` they are logged and listed in the result's ``warnings``.
    ``check_support=False`` leaves this question to whoever compiles the document. With
    ``allow_unknown`` fields that the schema does not have are left out and warned of likewise.
    """
    unknown: list[ConfigError] = []
    context = unknown_fields.set(unknown) if allow_unknown else None
    try:
        config = _load(source, type, overlay)
        if check_support:
            config = _supported(config, allow=allow_unsupported)
        return _without_unknown(config, unknown) if unknown else config
    except Invalid as fault:
        raise fault.error() from None
    except RecursionError:
        raise ConfigError("", "nests too deeply") from None
    finally:
        if context is not None:
            unknown_fields.reset(context)


def load_file(
    path: str | os.PathLike[str],
    *,
    type: str = BOOTSTRAP,  # noqa: A002
    overlay: Overlay | Sequence[Overlay] | None = None,
    allow_unsupported: bool = False,
    allow_unknown: bool = False,
) -> Config:
    """Like `load` of a file, whose form follows from its suffix.

    ``.yaml`` and ``.yml`` are YAML, ``.pb`` is a serialized message, ``.pb_text`` is text format,
    and anything else is JSON.
    """
    return load(
        Path(path),
        type=type,
        overlay=overlay,
        allow_unsupported=allow_unsupported,
        allow_unknown=allow_unknown,
    )


def _load(source: Any, type_: str, overlay: Any) -> Config:
    if isinstance(source, Config):
        type_, source = source.type, source.document
    try:
        plan = plan_for(type_)
    except KeyError:
        raise ConfigError("", f"the schema has no message {type_}") from None
    tree = tree_of(source, type_)
    if overlay:
        tree = _merged(tree, overlay, plan)
    document = plan.walk(tree)
    return Config(type_, document, (), _encode(document))


def _supported(config: Config, *, allow: bool) -> Config:
    unsupported = support.unsupported(config.type, config.document)
    if config.type == BOOTSTRAP:
        unsupported += grpc_services.strangers(config.document)
    if unsupported and not allow:
        first, *rest = unsupported
        raise ConfigError(first.path, first.reason, tuple(rest))
    for problem in unsupported:
        log.warning("%s", problem)
    return replace(config, warnings=tuple(unsupported))


def _without_unknown(config: Config, unknown: list[ConfigError]) -> Config:
    # An overlay makes every part be read more than once.
    faults = tuple({(fault.path, fault.reason): fault for fault in unknown}.values())
    for fault in faults:
        log.warning("%s", fault)
    return replace(config, warnings=(*config.warnings, *faults))


def _encode(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        around = text[max(0, error.start - 20) : error.start]
        raise ConfigError("", f"must be Unicode text: lone surrogate after {around!r}") from None


def _merged(tree: Any, overlay: Any, plan: Plan) -> dict[str, Any]:
    # Only the sum need be valid, so the parts are settled without validation first.
    loose = plan_for(plan.full_name, validated=False)
    merged = loose.walk(tree)
    for each in overlay if isinstance(overlay, (list, tuple)) else (overlay,):
        over = parse_yaml(each, log.warning) if isinstance(each, str) else each
        merged = loose.merge(merged, loose.walk(over))
    return merged


def tree_of(source: Any, type_: str) -> Any:
    """What a source holds, not validated: mappings, lists and values as they were written."""
    if isinstance(source, Config):
        return source.document
    if isinstance(source, Mapping):
        return source
    if isinstance(source, str):
        if _FILE_NAME.fullmatch(source):
            raise ConfigError("", f"is a file's name, not text: give pathlib.Path({source!r})")
        return _text(source)
    if isinstance(source, os.PathLike):
        return _file(Path(source), type_)
    if hasattr(source, "DESCRIPTOR") and hasattr(source, "SerializeToString"):
        return _message_tree(source, type_)
    raise TypeError(
        "a configuration must be a mapping, YAML or JSON text, a path object or a message, "
        f"not {type(source).__name__}"
    )


def _text(source: str) -> Any:
    """JSON if it looks like it; but a mapping in braces may be YAML too."""
    if not source.lstrip().startswith("{"):
        return parse_yaml(source, log.warning)
    try:
        return parse_json(source, log.warning)
    except ConfigError:
        with contextlib.suppress(ConfigError):
            return parse_yaml(source, log.warning)
        raise


def _file(path: Path, type_: str) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("", f"cannot read {path}: {error.strerror or error}") from None
    suffix = path.suffix.lower()
    try:
        if suffix == ".pb":
            return _binary_tree(data, type_)
        text = data.decode("utf-8-sig")
        if suffix == ".pb_text":
            return _text_format_tree(text, type_)
        if suffix in (".yaml", ".yml"):
            return parse_yaml(text, log.warning)
        return parse_json(text, log.warning)
    except UnicodeDecodeError:
        raise ConfigError("", "must be UTF-8 text") from None


def _binary_tree(data: bytes, type_: str) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return _message_tree(message_class(type_).FromString(data), type_)
    except DecodeError:
        raise ConfigError("", f"is not a serialized {type_}") from None


def _text_format_tree(text: str, type_: str) -> Any:
    from google.protobuf import text_format

    try:
        message: Message = message_class(type_)()
        text_format.Parse(text, message, descriptor_pool=pool())
    except text_format.ParseError as error:
        raise ConfigError("", f"is not {type_} in text format: {error}") from None
    return _message_tree(message, type_)


def _message_tree(message: Message, type_: str) -> Any:
    """A message as a tree. It may come from any pool: its bytes are parsed again in ours."""
    from google.protobuf.json_format import Error, MessageToDict

    if message.DESCRIPTOR.full_name != type_:
        raise ConfigError("", f"must be a {type_}, and is a {message.DESCRIPTOR.full_name}")
    ours = message_class(type_)
    if type(message) is not ours:
        message = ours.FromString(message.SerializeToString())
    _refuse_unknown(message, "")
    try:
        return MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool())
    except (Error, TypeError, ValueError) as error:
        raise ConfigError("", str(error).splitlines()[0]) from None


def _refuse_unknown(message: Any, path: str) -> None:
    """A field number that the schema does not know would be dropped in silence."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    unknown: Any = UnknownFieldSet(message)
    for each in unknown:
        raise ConfigError(path, f"field number {each.field_number} is unknown")
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        inner = _inside(message, path)
        if inner is not None:
            _refuse_unknown(inner, path)
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            name = f"{path}.{descriptor.name}" if path else descriptor.name
            for where, child in _children(descriptor, value):
                _refuse_unknown(child, name + where)


def _inside(message: Any, path: str) -> Message | None:
    """The message in an Any; None when it is empty."""
    from google.protobuf.message import DecodeError

    if not message.type_url:
        return None
    try:
        return type_for_any(message.type_url).FromString(message.value)
    except KeyError:
        raise ConfigError(
            f"{path}.@type", f"names an unknown message, {message.type_url}"
        ) from None
    except DecodeError:
        raise ConfigError(path, f"is not a serialized {message.type_url}") from None


def _children(descriptor: FieldDescriptor, value: Any) -> Iterator[tuple[str, Any]]:
    """The messages that a field holds, each with what its path adds."""
    if is_map(descriptor):
        messages = ((f'["{key}"]', value[key]) for key in value)
        yield from ((where, each) for where, each in messages if hasattr(each, "ListFields"))
    elif is_repeated(descriptor):
        yield from ((f"[{index}]", each) for index, each in enumerate(value))
    else:
        yield "", value
