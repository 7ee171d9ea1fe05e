"""The Envoy v3 schema as one file: `src/meshcore/config/_schema.bin`.

That file is a zlib-compressed `google.protobuf.FileDescriptorSet`: every v3 file of Envoy, xDS and
udpa with all that they import, each file after its imports, so that a reader can add them to a pool
in order.

The descriptors are read out of two locked wheels without importing them: generated code carries
each file's serialized descriptor as a bytes literal. So the build needs no protobuf, and their
packages (`envoy/`, `google/`, ...) never meet an interpreter. Google's well-known types come from
the oldest protobuf that meshcore supports, hence every later run time understands them.
"""

from __future__ import annotations

import ast
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import vendor

TARGET = vendor.ROOT / "src" / "meshcore" / "config" / "_schema.bin"
SOURCES = ("xds-protos", "protobuf")
# What a configuration can name, directly or in an Any; the rest of the set is what these import.
ROOTS = re.compile(
    r"envoy/(.+/)?v3(alpha)?/"
    r"|xds/(core|data|type|annotations)/"
    r"|udpa/(type|annotations)/"
    r"|validate/"
    r"|google/rpc/(status|code|error_details)_pb2"
    r"|google/protobuf/(any|descriptor|duration|empty|field_mask|struct|timestamp|wrappers)_pb2"
)

# Field numbers of descriptor.proto.
SET_FILE = 1
FILE_DEPENDENCY = 3


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A base-128 number of `data` at `at`, and the offset after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def strings(message: bytes, number: int) -> Iterator[str]:
    """The values of one string field of a message that, like FileDescriptorProto, has no groups."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        field, wire = tag >> 3, tag & 7
        value, at = varint(message, at)
        if wire == 2:
            if field == number:
                yield message[at : at + value].decode()
            at += value


def literal(module: bytes, path: str) -> bytes:
    """The serialized FileDescriptorProto inside one generated module."""
    for node in ast.walk(ast.parse(module)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "AddSerializedFile"
        ):
            value = ast.literal_eval(node.args[0])
            assert isinstance(value, bytes)
            return value
    raise vendor.VendorError(f"{path} carries no serialized descriptor")


def closure(wheels: list[zipfile.ZipFile]) -> Iterator[bytes]:
    """The serialized files below ROOTS, each once and after what it imports, in a stable order."""
    where: dict[str, zipfile.ZipFile] = {}
    for wheel in wheels:
        for path in wheel.namelist():
            if path.endswith("_pb2.py"):
                where.setdefault(path, wheel)
    done: set[str] = set()

    def visit(path: str) -> Iterator[bytes]:
        if path in done:
            return
        done.add(path)
        if path not in where:
            raise vendor.VendorError(f"no locked wheel has {path}")
        file = literal(where[path].read(path), path)
        for dependency in strings(file, FILE_DEPENDENCY):
            yield from visit(dependency.removesuffix(".proto").replace("-", "_") + "_pb2.py")
        yield file

    for path in sorted(where):
        if ROOTS.match(path):
            yield from visit(path)


def generate() -> bytes:
    """The FileDescriptorSet, serialized."""
    lock = vendor.load_lock()
    wheels = [zipfile.ZipFile(vendor.archive(name, lock[name])) for name in SOURCES]
    out = bytearray()
    for file in closure(wheels):
        out += bytes([SET_FILE << 3 | 2])
        size = len(file)
        while size > 0x7F:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        out.append(size)
        out += file
    return bytes(out)


def ensure(target: Path = TARGET) -> bool:
    """Make `target` hold the schema that the lock names; true when it had to be written."""
    wanted = vendor.load_lock()["xds-protos"]["schema_sha256"]
    if target.is_file() and _digest(target) == wanted:
        return False
    schema = generate()
    if vendor.sha256(schema) != wanted:
        raise vendor.VendorError(
            f"the schema generated from the locked wheels has SHA-256 {vendor.sha256(schema)}, "
            f"but {vendor.LOCK.name} says {wanted}"
        )
    vendor.write(target, zlib.compress(schema, 9))
    return True


def _digest(target: Path) -> str | None:
    try:
        return vendor.sha256(zlib.decompress(target.read_bytes()))
    except zlib.error:
        return None


def main() -> int:
    try:
        if ensure():
            print(f"{TARGET.relative_to(vendor.ROOT)}: generated")
    except vendor.VendorError as error:
        print(f"meshcore: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
