"""Random input: meshcore.http and the matchers against small models, written from the rules alone.

`MODEL_ROUNDS=20000 pytest tests/py/test_http_model.py` tries more.
"""

from __future__ import annotations

import ipaddress
import os
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

import meshcore
from meshcore import http

ROUNDS = int(os.environ.get("MODEL_ROUNDS", "200"))
Pairs = list[tuple[bytes, bytes]]


def texts(rng: random.Random, atoms: list[bytes], longest: int = 8) -> bytes:
    return b"".join(rng.choices(atoms, k=rng.randrange(longest)))


# --- paths ----------------------------------------------------------------------------------------

UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")
HEX = re.compile(rb"[0-9A-Fa-f]{2}")
PATH_ATOMS = [
    *(b"/", b"/", b"//", b".", b"..", b"\\", b"%2e", b"%2E", b"%2f", b"%5C", b"%41", b"%7e"),
    *(b"a", b"B", b"~", b"%", b"%4", b"%zz", b"%25", b"?", b"?x=/../", b" ", b'"', b"<", b"{"),
    *(b"\xc3\xa9", b"\xff", b";v=1", b":", b"@", b"[", b"^", b"|", b"`", b"\x7f", b"\x01", b"+"),
]


def canonical(path: bytes) -> bytes | None:
    """RFC 3986 section 6.2.2 with what browsers add to it; the query stays."""
    if b"#" in path:
        return None
    path, mark, query = path.partition(b"?")
    if b"\0" in path or b"%00" in path:
        return None
    path = path.replace(b"\\", b"/")
    out: list[bytes] = []
    octets = re.findall(rb"%[0-9A-Fa-f]{2}|.", path, re.DOTALL)
    for octet, following in zip(octets, [*octets[1:], b""], strict=True):
        if len(octet) == 3:
            byte = bytes.fromhex(octet[1:].decode())
            out.append(byte if UNRESERVED.fullmatch(byte) else octet)
            # What was decoded must not make an escape together with a percent sign before it.
            for at, rest in ((-2, out[-1] + following), (-3, b"".join(out[-2:]))):
                if out[at:][:1] == [b"%"] and len(out) >= -at and HEX.fullmatch(rest):
                    out[at] = b"%25"
        else:
            bad = octet <= b" " or octet >= b"\x7f" or octet in b'"<>`{}^|'
            out.append(b"%%%02X" % octet[0] if bad else octet)
    kept: list[bytes] = []
    *segments, last = b"".join(out).split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            kept = kept[:-1]
        elif segment != b".":
            kept.append(segment)
    if last == b"..":
        kept = kept[:-1]
    kept.append(b"" if last in (b".", b"..") else last)
    return b"/" + b"/".join(kept) + mark + query


def merged(path: bytes) -> bytes:
    path, mark, query = path.partition(b"?")
    if b"//" not in path:
        return path + mark + query
    middle = b"/".join(part for part in path.split(b"/") if part)
    ends = (b"/" if path.startswith(b"/") else b"", b"/" if path.endswith(b"/") else b"")
    return ends[0] + middle + ends[1] + mark + query


def unescaped(path: bytes) -> bytes:
    path, mark, query = path.partition(b"?")
    path = re.sub(rb"%2f", b"/", path, flags=re.IGNORECASE)
    return re.sub(rb"%5c", rb"\\", path, flags=re.IGNORECASE) + mark + query


def refused(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except http.ProtocolError:
        return None


def try_paths(rng: random.Random) -> None:
    path = b"/" + texts(rng, PATH_ATOMS, 10) + (b"#" if rng.random() < 0.03 else b"")
    assert http.strip_query_string(path) == path.split(b"?")[0]
    assert refused(lambda: http.normalize_path(path)) == canonical(path)
    if b"#" in path:
        return
    assert http.merge_slashes(path) == merged(path)
    assert http.unescape_slashes(path) == unescaped(path)
    assert http.has_escaped_slashes(path) == (unescaped(path) != path)
    both = refused(
        lambda: http.normalize_path(
            path,
            merge_slashes=True,
            path_with_escaped_slashes_action="UNESCAPE_AND_FORWARD",
        )
    )
    wanted = canonical(unescaped(path))
    assert both == (None if wanted is None else merged(wanted))


# --- queries and cookies --------------------------------------------------------------------------

QUERY_ATOMS = [b"a", b"b", b"a=", b"&", b"&", b"=", b"%41", b"%", b"+", b"1", b";", b"?", b"a=1&"]
COOKIE_ATOMS = [b"a", b"b", b"=", b"=", b";", b"; ", b" ", b'"', b'"q"', b"1", b"a=1; ", b","]


def parameters(query: bytes) -> Pairs:
    out: Pairs = []
    while query:
        item, _, query = query.partition(b"&")
        name, _, value = item.partition(b"=")
        out.append((name, value))
    return out


def first(pairs: Pairs) -> dict[bytes, bytes]:
    return dict(reversed(pairs))


def cookies(lines: list[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for item in b";".join(lines).split(b";"):
        match = re.fullmatch(rb" *([^=]*)=(.*)", item, re.DOTALL)
        if match:
            name, value = match.groups()
            quoted = re.fullmatch(rb'"(.*)"', value, re.DOTALL)
            found.setdefault(name, quoted[1] if quoted else value)
    return found


def try_queries(rng: random.Random) -> None:
    query = texts(rng, QUERY_ATOMS, 9)
    got = http.parse_query_string(b"/p?" + query)
    assert got.pairs == parameters(query)
    assert dict(got) == first(parameters(query))
    lines = [texts(rng, COOKIE_ATOMS, 9) for _ in range(rng.randrange(3))]
    found = http.parse_cookies([("cookie", line.decode()) for line in lines])
    assert found == {n.decode(): v.decode() for n, v in cookies(lines).items()}


# --- hosts ----------------------------------------------------------------------------------------

HOST_ATOMS = [b"h", b"x.y", b".", b":", b":80", b":443", b":0", b"[::1]", b"[", b"]", b"1.2.3.4"]


def split_port(host: bytes) -> tuple[bytes, bytes]:
    """The host, and the port with its colon; nothing is a port that stands before a "]"."""
    match = re.fullmatch(rb"(.*):([^\]:]*)", host, re.DOTALL)
    return (match[1], b":" + match[2]) if match else (host, b"")


def without_dot(host: bytes) -> bytes:
    """The last dot goes when it ends the host or stands before a colon."""
    return re.sub(rb"\.(?=(:[^.]*)?\Z)", b"", host, count=1, flags=re.DOTALL)


def without_port(host: bytes, only: int | None = None) -> bytes:
    name, port = split_port(host)
    digits = port[1:]
    if not digits.isdigit() or int(digits) >= 2**32 or (only is not None and int(digits) != only):
        return host
    return name


def try_hosts(rng: random.Random) -> None:
    host = texts(rng, HOST_ATOMS, 5)
    assert http.strip_trailing_host_dot(host) == without_dot(host)
    assert http.strip_port_from_host(host) == without_port(host)
    assert http.strip_port_from_host(host, 80) == without_port(host, 80)
    done = http.normalize_host(host, strip_trailing_host_dot=True, strip_any_host_port=True)
    assert done == without_port(without_dot(host))


# --- forwarding and hop-by-hop --------------------------------------------------------------------

XFF_ATOMS = [
    "1.2.3.4",
    "10.0.0.1",
    "::1",
    "2001:db8::1",
    "",
    "x",
    "1.2.3.4:80",
    "1.2.3",
    " 9.9.9.9 ",
]
TOKENS = ["close", "keep-alive", "upgrade", "Upgrade", "x-a", "X-B", "te", "", "trailers"]
NAMES = ["x-a", "x-b", "x-c", "te", "keep-alive", "proxy-connection", "transfer-encoding"]


def address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip(" ")))
    except ValueError:
        return None


def try_forwarding(rng: random.Random) -> None:
    entries = rng.choices(XFF_ATOMS, k=rng.randrange(1, 5))
    xff, skip = rng.choice((",", ", ")).join(entries), rng.randrange(4)
    wanted = address(entries[-1 - skip]) if skip < len(entries) else None
    assert http.last_address_from_xff(xff, skip) == wanted, (xff, skip)
    assert http.client_address_from_xff(xff, skip, remote_address="7.7.7.7") == (
        wanted or "7.7.7.7"
    )
    peer = http.client_address_from_xff(
        xff, skip, use_remote_address=True, remote_address="7.7.7.7"
    )
    trusted = address(entries[-skip]) if 0 < skip <= len(entries) else None
    assert peer == (trusted or "7.7.7.7")


def try_hops(rng: random.Random) -> None:
    connection = rng.choice((",", ", ")).join(rng.choices(TOKENS, k=rng.randrange(4)))
    headers = [(name, rng.choice(TOKENS)) for name in rng.choices(NAMES, k=rng.randrange(5))]
    headers.insert(0, ("connection", connection))
    upgrade = rng.choice((None, "websocket", "h2c", "WebSocket"))
    if upgrade is not None:
        headers.append(("Upgrade", upgrade))
    tokens = {token.strip().lower() for token in connection.split(",")}
    upgrades = upgrade is not None and "upgrade" in tokens
    passes = upgrades and upgrade != "h2c"
    assert http.is_upgrade(headers) == upgrades
    assert http.is_websocket_upgrade(headers) == (upgrades and upgrade != "h2c")
    gone = {"keep-alive", "proxy-connection", "transfer-encoding"}
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in gone
        and (passes or name.lower() not in ("connection", "upgrade"))
        and (passes or name != "te" or value in ("trailers", ""))
    ]
    assert http.remove_hop_by_hop(headers) == kept, headers
    if not passes:
        left = [
            (name, value)
            for name, value in headers
            if name not in tokens & {"x-a", "x-b", "te"} or (name, value) == ("te", "trailers")
        ]
        left = [h for h in left if h[0] not in tokens & {"transfer-encoding", "proxy-connection"}]
        assert http.sanitize_connection_header(headers) == left, headers


# --- matchers -------------------------------------------------------------------------------------

VALUES = ["", "a", "A", "ab", "aB", "b", "5", "-1", "05", "9223372036854775807", "5.5", "abab"]
REGEXES = ["a", "a*", "(ab)+", "[ab]b", "(?i)AB", ".*", "-?[0-9]+"]


def text_matcher(rng: random.Random) -> tuple[dict[str, Any], Callable[[str], bool]]:
    kind = rng.choice(("exact", "prefix", "suffix", "contains", "safe_regex"))
    if kind == "safe_regex":
        regex = rng.choice(REGEXES)
        return {kind: {"regex": regex}}, lambda v: re.fullmatch(regex, v) is not None
    text = rng.choice(VALUES[(kind != "exact") :])
    fold = rng.random() < 0.4
    lower: Callable[[str], str] = str.lower if fold else str
    tests: dict[str, Callable[[str], bool]] = {
        "exact": lambda v: lower(v) == lower(text),
        "prefix": lambda v: lower(v).startswith(lower(text)),
        "suffix": lambda v: lower(v).endswith(lower(text)),
        "contains": lambda v: lower(text) in lower(v),
    }
    return {kind: text, **({"ignore_case": True} if fold else {})}, tests[kind]


def integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]+", text) and abs(int(text)) < 2**63 else None


def header_matcher(rng: random.Random) -> tuple[dict[str, Any], Callable[[str | None], bool]]:
    kind = rng.choice(("present", "range", "string", "none"))
    invert, empty = rng.random() < 0.4, rng.random() < 0.3
    config: dict[str, Any] = {"name": "x"}
    config |= {"invert_match": True} if invert else {}
    config |= {"treat_missing_header_as_empty": True} if empty else {}
    if kind in ("present", "none"):
        wanted = kind == "none" or rng.random() < 0.5
        config |= {} if kind == "none" else {"present_match": wanted}

        def present(value: str | None) -> bool:
            return invert == wanted if value is None and not empty else wanted != invert

        return config, present
    if kind == "range":
        start, end = sorted(rng.choices((-10, -1, 0, 5, 6, 2**62), k=2))
        if start == end:
            end += 1
        config["range_match"] = {"start": start, "end": end}

        def test(value: str) -> bool:
            number = integer(value)
            return number is not None and start <= number < end
    else:
        config["string_match"], test = text_matcher(rng)

    def valued(value: str | None) -> bool:
        if value is None and not empty:
            return False
        return test(value or "") != invert

    return config, valued


def try_matchers(rng: random.Random) -> None:
    config, test = text_matcher(rng)
    value = rng.choice(VALUES)
    assert meshcore.StringMatcher(config).match(value) == test(value), (config, value)
    whole, header = header_matcher(rng)
    values = rng.choices(VALUES, k=rng.choice((0, 1, 1, 2)))
    got = meshcore.HeaderMatcher(whole).match([("X", value) for value in values])
    assert got == header(",".join(values) if values else None), (whole, values)
    query = texts(rng, [b"k", b"k=", b"=", b"&", b"a", b"b", b"5"], 7)
    found = first(parameters(query)).get(b"k")
    parameter = meshcore.QueryParameterMatcher({"name": "k", "string_match": config})
    assert parameter.match(query) == (found is not None and test(found.decode())), (config, query)


@pytest.mark.parametrize(
    "attempt", [try_paths, try_queries, try_hosts, try_forwarding, try_hops, try_matchers]
)
def test_as_the_model(attempt: Callable[[random.Random], None]) -> None:
    rng = random.Random(attempt.__name__)
    for _ in range(ROUNDS):
        attempt(rng)
