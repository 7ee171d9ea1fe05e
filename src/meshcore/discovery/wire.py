"""DNS messages: questions for addresses out, addresses and their TTL in (RFC 1035, RFC 3596)."""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass

__all__ = ["AAAA", "A", "Answer", "DnsFormatError", "decode", "encode"]

A, CNAME, AAAA = 1, 5, 28
IN = 1
RECURSE, TRUNCATED, RESPONSE = 0x0100, 0x0200, 0x8000
NXDOMAIN = 3
CHAIN = 16  # aliases followed, and jumps of a compressed name


class DnsFormatError(ValueError):
    """Not a DNS message, or not an answer to the question."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Addresses in the answer's order with the TTL of each; none when the name has none."""

    code: int  # RCODE
    truncated: bool
    addresses: tuple[tuple[str, int], ...]


# What a host name may hold of ASCII; others are spelled by IDNA.
_ODD = re.compile(r"[^-._*/A-Za-z0-9\x80-\U0010ffff]")


def _labels(name: str) -> bytes:
    out = bytearray()
    if _ODD.search(name):
        raise DnsFormatError(f"{name!r} is not a host name")
    for label in name.rstrip(".").split("."):
        raw = label.encode("ascii") if label.isascii() else label.encode("idna")
        if not 0 < len(raw) < 64:
            raise DnsFormatError(f"{name!r} is not a host name")
        out += bytes((len(raw),)) + raw
    if len(out) > 254:
        raise DnsFormatError(f"{name!r} is too long for a host name")
    return bytes(out) + b"\0"


def encode(identity: int, name: str, kind: int) -> bytes:
    """A recursive question."""
    header = struct.pack("!6H", identity, RECURSE, 1, 0, 0, 0)
    return header + _labels(name) + struct.pack("!2H", kind, IN)


def _name(message: bytes, at: int) -> tuple[bytes, int]:
    """A name in lower case, its labels joined by dots, and where it ends."""
    labels: list[bytes] = []
    end = -1
    for _ in range(CHAIN * 8):
        if at >= len(message):
            break
        size = message[at]
        if size == 0:
            return b".".join(labels).lower(), (at + 1 if end < 0 else end)
        if size >= 0xC0:
            if at + 1 >= len(message):
                break
            end = at + 2 if end < 0 else end
            at = (size & 0x3F) << 8 | message[at + 1]
        elif size < 0x40:
            labels.append(message[at + 1 : at + 1 + size])
            at += 1 + size
        else:
            break
    raise DnsFormatError("a name that does not end")


def decode(message: bytes, identity: int, name: str, kind: int) -> Answer:
    """The answer to `encode(identity, name, kind)`.

    :raises DnsFormatError: it is not one.
    """
    if len(message) < 12:
        raise DnsFormatError("too short")
    got, flags, questions, answers, _, _ = struct.unpack_from("!6H", message)
    if got != identity or not flags & RESPONSE or questions != 1:
        raise DnsFormatError("not the answer to this question")
    asked, at = _name(message, 12)
    wanted = _name(_labels(name), 0)[0]
    if asked != wanted or message[at : at + 4] != struct.pack("!2H", kind, IN):
        raise DnsFormatError("not the answer to this question")
    records = _records(message, at + 4, answers)
    return Answer(flags & 0xF, bool(flags & TRUNCATED), tuple(_follow(records, wanted, kind)))


Record = tuple[bytes, int, int, bytes]


def _records(message: bytes, at: int, count: int) -> list[Record]:
    out: list[Record] = []
    for _ in range(count):
        owner, at = _name(message, at)
        if at + 10 > len(message):
            raise DnsFormatError("a record that does not end")
        kind, family, ttl, size = struct.unpack_from("!2HIH", message, at)
        at += 10
        data = message[at : at + size]
        if len(data) < size:
            raise DnsFormatError("a record that does not end")
        if family == IN:
            if kind == CNAME:
                data = _name(message, at)[0]
            # A TTL with its highest bit set counts as 0 (RFC 2181, section 8).
            out.append((owner, kind, 0 if ttl & 0x80000000 else ttl, data))
        at += size
    return out


def _follow(records: list[Record], name: bytes, kind: int) -> list[tuple[str, int]]:
    """Addresses at the end of the chain of aliases; a TTL is the least on the way."""
    least = 0xFFFFFFFF
    for _ in range(CHAIN):
        found = [(data, ttl) for owner, k, ttl, data in records if owner == name and k == kind]
        if found:
            return [(_address(data, kind), min(ttl, least)) for data, ttl in found]
        alias = next((r for r in records if r[0] == name and r[1] == CNAME), None)
        if alias is None:
            return []
        name, least = alias[3], min(least, alias[2])
    return []


def _address(data: bytes, kind: int) -> str:
    if len(data) != (4 if kind == A else 16):
        raise DnsFormatError("an address of the wrong size")
    return str(ipaddress.IPv4Address(data) if kind == A else ipaddress.IPv6Address(data))
