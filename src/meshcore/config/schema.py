"""The Envoy v3 messages, in a descriptor pool of our own.

The descriptors come from ``_schema.bin`` (one compressed ``FileDescriptorSet``, written when
meshcore is built) and never enter protobuf's default pool, so meshcore lives beside any other
package that owns the names ``envoy.*``. protobuf is imported at the first use, and a file is added
to the pool when something first needs it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from meshcore.config import newer

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

__all__ = [
    "BOOTSTRAP",
    "PYTHON_FILTER",
    "TYPE_PREFIX",
    "descriptor",
    "field_option",
    "message_class",
    "message_option",
    "pool",
    "type_for_any",
]

BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
PYTHON_FILTER = "meshcore.PythonFilter"
TYPE_PREFIX = "type.googleapis.com/"


def _declared(proto: FileDescriptorProto) -> Iterator[Any]:
    yield from proto.message_type
    yield from proto.enum_type
    yield from proto.extension


class _Files:
    """What a lazy pool asks: the file with a name, and the file that declares a symbol."""

    def __init__(self, protos: list[FileDescriptorProto]) -> None:
        self._by_name = {proto.name: proto for proto in protos}
        self._by_symbol = {
            f"{proto.package}.{item.name}": proto for proto in protos for item in _declared(proto)
        }

    def message_names(self) -> list[str]:
        return [
            f"{proto.package}.{message.name}"
            for proto in self._by_name.values()
            for message in proto.message_type
        ]

    def FindFileByName(self, name: str) -> FileDescriptorProto:  # noqa: N802 - protobuf's name
        return self._by_name[name]

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptorProto:  # noqa: N802
        name = symbol
        while name:
            if name in self._by_symbol:
                return self._by_symbol[name]
            name = name.rpartition(".")[0]
        raise KeyError(symbol)


@cache
def _files() -> _Files:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    packed = files(__package__).joinpath("_schema.bin").read_bytes()
    protos = list(FileDescriptorSet.FromString(zlib.decompress(packed)).file)
    newer.apply(protos)
    ours = _python_filter_file(), _health_degree_file(), _peak_ewma_file(), _cpu_limit_file()
    return _Files([*protos, *ours])


@cache
def pool() -> DescriptorPool:
    """The private pool. Read-only once built, and safe to share between threads."""
    from google.protobuf.descriptor_pool import DescriptorPool

    return DescriptorPool(_files())


def _python_filter_file() -> FileDescriptorProto:
    """The one message that is ours: an ``http_filters`` entry that names a Python filter."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    proto = FileDescriptorProto(
        name="meshcore/python_filter.proto",
        package="meshcore",
        syntax="proto3",
        dependency=["google/protobuf/struct.proto"],
    )
    message = proto.message_type.add(name="PythonFilter")
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    message.field.add(
        name="name",
        json_name="name",
        number=1,
        label=optional,
        type=FieldDescriptorProto.TYPE_STRING,
    )
    message.field.add(
        name="config",
        json_name="config",
        number=2,
        label=optional,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        type_name=".google.protobuf.Struct",
    )
    return proto


def _health_degree_file() -> FileDescriptorProto:
    """A monitor of outlier detection: failures less successes, ejection at a threshold."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    proto = FileDescriptorProto(
        name="meshcore/health_degree.proto", package="meshcore", syntax="proto3"
    )
    proto.message_type.add(name="HealthDegree").field.add(
        name="threshold",
        json_name="threshold",
        number=1,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
        type=FieldDescriptorProto.TYPE_UINT32,
    )
    return proto


def _peak_ewma_file() -> FileDescriptorProto:
    """A load balancing policy: the better of two by latency (docs/load-balancing.md)."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    proto = FileDescriptorProto(
        name="meshcore/peak_ewma.proto",
        package="meshcore",
        syntax="proto3",
        dependency=["google/protobuf/duration.proto"],
    )
    message = proto.message_type.add(name="PeakEwma")
    fields = ("default_rtt", "decay", "failures_as_latency", "failure_penalty")
    for number, name in enumerate(fields, 1):
        field = message.field.add(
            name=name, json_name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL
        )
        if name == "failures_as_latency":
            field.type = FieldDescriptorProto.TYPE_BOOL
        else:
            field.type = FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = ".google.protobuf.Duration"
    return proto


def _cpu_limit_file() -> FileDescriptorProto:
    """An HTTP filter: fewer requests at a time while the CPU is used up (docs/overload.md)."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    proto = FileDescriptorProto(
        name="meshcore/cpu_limit.proto",
        package="meshcore",
        syntax="proto3",
        dependency=["google/protobuf/duration.proto", "google/protobuf/wrappers.proto"],
    )
    message = proto.message_type.add(name="CpuLimit")
    types = {
        "target_utilization": ".google.protobuf.DoubleValue",
        "concurrency_per_core": ".google.protobuf.UInt32Value",
        "update_interval": ".google.protobuf.Duration",
        "container": None,
    }
    for number, (name, kind) in enumerate(types.items(), 1):
        field = message.field.add(
            name=name, json_name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL
        )
        field.type = FieldDescriptorProto.TYPE_BOOL
        if kind is not None:
            field.type = FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = kind
    return proto


def descriptor(full_name: str) -> Descriptor:
    """The descriptor of a message; KeyError when the schema has no such message."""
    return pool().FindMessageTypeByName(full_name)


def message_class(full_name: str) -> type[Message]:
    """The message class with this full name, such as ``envoy.config.cluster.v3.Cluster``."""
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(descriptor(full_name))


def type_for_any(type_url: str) -> type[Message]:
    """The message class that the type URL of an ``Any`` names; KeyError when there is none."""
    return message_class(type_url.rpartition("/")[2])


@cache
def _options(name: str) -> tuple[type[Message], dict[str, FieldDescriptor]]:
    extensions = ("validate.rules", "validate.required", "validate.disabled", "validate.ignored")
    found = (pool().FindExtensionByName(extension) for extension in extensions)
    return message_class(f"google.protobuf.{name}"), {ext.full_name: ext for ext in found}


def _option(kind: str, owner: Any, extension: str) -> Any:
    # The options of a descriptor are parsed with the default pool's class, to which our extensions
    # are unknown fields; the private class knows them.
    options_class, extensions = _options(kind)
    serialized = owner.GetOptions().SerializeToString()
    if not serialized:
        return None
    options: Any = options_class.FromString(serialized)
    ext = extensions[extension]
    return options.Extensions[ext] if options.HasExtension(ext) else None


def field_option(field: FieldDescriptor, extension: str) -> Any:
    """The value of an extension option on a field, or None."""
    return _option("FieldOptions", field, extension)


def message_option(message: Descriptor, extension: str) -> Any:
    """The value of an extension option on a message, or None."""
    return _option("MessageOptions", message, extension)


def oneof_option(oneof: Any, extension: str) -> Any:
    """The value of an extension option on a oneof, or None."""
    return _option("OneofOptions", oneof, extension)


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    message = field.message_type
    return message is not None and bool(message.GetOptions().map_entry)


def is_repeated(field: Any) -> bool:
    """Whether a field is a list (or a map, which is a list of entries)."""
    # protobuf 6 has `is_repeated` and warns of `label`, which 7 does not have.
    repeated = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def message_names() -> list[str]:
    """The full names of all messages that a file of the schema declares at its top level."""
    return _files().message_names()
