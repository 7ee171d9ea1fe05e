"""Protobuf messages of tests read back without their schema."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            octet = data[at]
            at += 1
            value |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 2:
            length = varint()
            at += length
            yield key >> 3, data[at - length : at]
        elif key & 7 == 1:
            at += 8
            yield key >> 3, struct.unpack("<Q", data[at - 8 : at])[0]
        else:
            yield key >> 3, varint()
