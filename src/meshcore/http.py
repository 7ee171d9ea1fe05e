"""What HTTP needs of text: paths, hosts, queries, cookies, forwarding headers, gRPC's dialect.

Each function decides as the gateway does, most of them by calling the very code of its request
path. Text may be str or bytes, and comes back as what it was given; str stands for UTF-8, bytes
that are not UTF-8 survive as surrogate escapes. Headers are a list of (name, value), or a mapping,
as everywhere in this package.

For example:

    >>> normalize_path("/a/./b/../%63?x=//", merge_slashes=True)
    '/a/c?x=//'
    >>> parse_query_string("/search?q=a%20b&q=c", decode=True).get_all("q")
    ['a b', 'c']
    >>> client_address_from_xff("203.0.113.7, 10.0.0.1", trusted_hops=1)
    '203.0.113.7'
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from typing import Any, AnyStr, NamedTuple, TypeAlias, TypeVar

from meshcore._core import http as _http
from meshcore._core.context import header_list
from meshcore.errors import ProtocolError

__all__ = [
    "Authority",
    "ContentType",
    "QueryParams",
    "Url",
    "append_via",
    "append_xff",
    "choose_encoding",
    "client_address_from_xff",
    "create_ssl_redirect_path",
    "format_grpc_timeout",
    "format_http_date",
    "format_query_string",
    "format_set_cookie",
    "get_cookie",
    "get_set_cookie",
    "grpc_to_http_status",
    "has_escaped_slashes",
    "http_to_grpc_status",
    "is_grpc_content_type",
    "is_grpc_request",
    "is_grpc_response",
    "is_upgrade",
    "is_valid_authority",
    "is_valid_header_name",
    "is_valid_header_value",
    "is_valid_method",
    "is_valid_referer",
    "is_valid_scheme",
    "is_websocket_upgrade",
    "last_address_from_xff",
    "merge_slashes",
    "normalize_host",
    "normalize_path",
    "parse_authority",
    "parse_content_type",
    "parse_cookies",
    "parse_grpc_timeout",
    "parse_query_string",
    "parse_url",
    "percent_decode",
    "percent_encode",
    "port_from_host",
    "query_parameter",
    "reason_phrase",
    "remove_hop_by_hop",
    "remove_query_and_fragment",
    "sanitize_connection_header",
    "sanitize_te",
    "strip_port_from_host",
    "strip_query_string",
    "strip_trailing_host_dot",
    "unescape_slashes",
    "url_decode",
    "url_encode",
]

_T = TypeVar("_T", bound=str | bytes)

Text: TypeAlias = str | bytes
Headers: TypeAlias = Iterable[tuple[Text, Text]] | Mapping[str, str]
HeaderList: TypeAlias = list[tuple[Text, Text]]

_VERBS = frozenset("append format from get has is parse remove sanitize strip to valid".split())
_U16, _U32, _U64 = 2**16 - 1, 2**32 - 1, 2**64 - 1
_PATH_REFUSED = "path_normalization_failed"
_KEEPING = ("KEEP_UNCHANGED", "IMPLEMENTATION_SPECIFIC_DEFAULT")
_UNESCAPING = ("UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT")


def __getattr__(name: str) -> Any:
    """Of a name that is not there: those that share a noun with it."""
    nouns = set(name.lower().split("_")) - _VERBS
    near = [known for known in __all__ if nouns & {*known.lower().split("_")}]
    hint = f"; there are {', '.join(near)}" if near else ""
    raise AttributeError(f"module 'meshcore.http' has no attribute {name!r}{hint}")


def _octets(value: Text) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise TypeError(f"expected str or bytes, not {type(value).__name__}")


def _like(model: AnyStr, value: bytes) -> AnyStr:
    """`value` as the type that `model` has."""
    if isinstance(model, str):
        return value.decode("utf-8", "surrogateescape")
    return value


def _string(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _number(name: str, value: int, maximum: int) -> int:
    """`value`, a whole number from 0 to `maximum`; else TypeError or ValueError."""
    number = operator.index(value)
    if not 0 <= number <= maximum:
        raise ValueError(f"{name} must be from 0 to {maximum}, not {value}")
    return number


def _values(headers: Headers, name: bytes) -> list[bytes]:
    """All values of a header; `host` and `:authority` are one."""
    names = {name, b"host", b":authority"} if name in (b"host", b":authority") else {name}
    return [_octets(v) for n, v in header_list(headers) if _octets(n).lower() in names]


def _value(headers: Headers, name: bytes) -> bytes | None:
    values = _values(headers, name)
    return values[0] if values else None


def _tokens(values: Iterable[bytes]) -> list[bytes]:
    """Of comma-separated lists; lower-case, without the empty ones."""
    tokens = (t.strip(b" \t").lower() for v in values for t in v.split(b","))
    return [t for t in tokens if t]


# --- paths ----------------------------------------------------------------------------------------


def normalize_path(
    path: AnyStr,
    *,
    merge_slashes: bool = False,
    path_with_escaped_slashes_action: str = "KEEP_UNCHANGED",
) -> AnyStr:
    r"""A request's path (and query) as `normalize_path: true` makes it.

    The part before ``?`` is changed as RFC 3986 says and browsers do: ``.`` and ``..`` segments
    (``%2e`` too) are resolved, ``\`` becomes ``/``, escapes of unreserved characters are decoded
    and bytes that may not stand in a path escaped. Escaped slashes are treated first, as
    `path_with_escaped_slashes_action` says (the names of Envoy's enum; the path of
    UNESCAPE_AND_REDIRECT is the one that is redirected to), slashes are merged last.

    Raises ProtocolError (a ValueError; reply code 400) for what the gateway refuses: a ``#``, an
    escaped or plain NUL, and an escaped slash under REJECT_REQUEST.
    """
    action = path_with_escaped_slashes_action
    if action not in (*_KEEPING, *_UNESCAPING, "REJECT_REQUEST"):
        raise ValueError(f"not an action on escaped slashes: {action!r}")
    done = _http.path_normalize(
        _octets(path),
        normalize=True,
        merge_slashes=merge_slashes,
        unescape_slashes=action in _UNESCAPING,
        reject_escaped_slashes=action == "REJECT_REQUEST",
    )
    if done is None:
        raise ProtocolError(_PATH_REFUSED)
    return _like(path, done[0])


def _path_part(path: bytes) -> tuple[bytes, bytes]:
    """What stands before ``?`` or ``#``, and the rest."""
    end = min((at for at in (path.find(b"?"), path.find(b"#")) if at >= 0), default=len(path))
    return path[:end], path[end:]


def merge_slashes(path: AnyStr) -> AnyStr:
    """Each run of ``/`` in the path, not in its query, becomes one.

    A path of slashes alone keeps two, its first and its last, as Envoy has it.
    """
    head, rest = _path_part(_octets(path))
    done = _http.path_normalize(head, merge_slashes=True)
    assert done is not None  # only a "#" is refused, and there is none
    return _like(path, done[0] + rest)


def unescape_slashes(path: AnyStr) -> AnyStr:
    r"""``%2F`` becomes ``/`` and ``%5C`` becomes ``\`` in the path, not in its query."""
    head, rest = _path_part(_octets(path))
    done = _http.path_normalize(head, unescape_slashes=True)
    assert done is not None
    return _like(path, done[0] + rest)


def has_escaped_slashes(path: Text) -> bool:
    """Whether `unescape_slashes` would change anything: what REJECT_REQUEST refuses."""
    done = _http.path_normalize(_path_part(_octets(path))[0], unescape_slashes=True)
    return done is not None and done[1]


def strip_query_string(path: AnyStr) -> AnyStr:
    """The part before the first ``?``."""
    return _like(path, _octets(path).partition(b"?")[0])


def remove_query_and_fragment(path: AnyStr) -> AnyStr:
    """The part before the first ``?`` or ``#``: what path matchers see."""
    return _like(path, _path_part(_octets(path))[0])


# --- percent-encoding -----------------------------------------------------------------------------


def percent_encode(text: AnyStr, reserved: Text = "%") -> AnyStr:
    """Escapes bytes below space, from ``~`` on, and those of `reserved`.

    As it is, this is the encoding of `grpc-message`.
    """
    return _like(text, _http.percent_encode(_octets(text), _octets(reserved)))


def percent_decode(text: AnyStr) -> AnyStr:
    """Each ``%XX`` becomes its byte; a ``%`` without two hex digits stays as it is."""
    return _like(text, _http.percent_decode(_octets(text)))


_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


def url_encode(text: AnyStr) -> AnyStr:
    """Escapes all but RFC 3986's unreserved characters (letters, digits, ``-_.~``)."""
    encoded = (b"%c" % c if c in _UNRESERVED else b"%%%02X" % c for c in _octets(text))
    return _like(text, b"".join(encoded))


def url_decode(text: AnyStr) -> AnyStr:
    """A query parameter's text: ``+`` is a space, then as `percent_decode`."""
    return _like(text, _http.percent_decode(_octets(text).replace(b"+", b" ")))


# --- queries --------------------------------------------------------------------------------------


class QueryParams(dict[_T, _T]):
    """The parameters of a query: a dict of first values, which are what matchers see.

    `pairs` holds all of them, in order.
    """

    def __init__(self, pairs: Iterable[tuple[_T, _T]] = ()) -> None:
        self.pairs: list[tuple[_T, _T]] = list(pairs)
        super().__init__(self.pairs[::-1])

    def get_all(self, name: _T) -> list[_T]:
        """Every value of a parameter, in order."""
        return [value for key, value in self.pairs if key == name]


def _query_of(text: bytes) -> bytes:
    """The query of a path or URL, or `text` when it is a query itself."""
    before, mark, query = text.partition(b"?")
    if text.startswith(b"/") or b"://" in before:
        return query
    return query if mark and b"=" not in before and b"&" not in before else text


def parse_query_string(url: AnyStr, *, decode: bool = False) -> QueryParams[AnyStr]:
    """The parameters of a URL, of a path, or of a query alone.

    A parameter without ``=`` has the empty value; nothing between two ``&`` is one without a name.
    Names and values are as they stand in the query unless `decode` is true; then each ``%XX`` is
    its byte (a ``+`` stays one).
    """
    pairs = []
    items = _query_of(_octets(url)).split(b"&")
    for item in items if items[-1] else items[:-1]:
        name, _, value = item.partition(b"=")
        if decode:
            name, value = _http.percent_decode(name), _http.percent_decode(value)
        pairs.append((_like(url, name), _like(url, value)))
    return QueryParams(pairs)


def query_parameter(url: AnyStr, name: AnyStr, *, decode: bool = False) -> AnyStr | None:
    """The first value of one parameter; None when the query has none of that name."""
    return parse_query_string(url, decode=decode).get(name)


def format_query_string(params: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """``?a=1&b=2``, as it stands, nothing encoded; empty without parameters."""
    pairs: Iterable[tuple[str, str]]
    if isinstance(params, QueryParams):
        pairs = params.pairs
    else:
        pairs = params.items() if isinstance(params, Mapping) else params
    query = "&".join(f"{name}={value}" for name, value in pairs)
    return f"?{query}" if query else ""


# --- cookies --------------------------------------------------------------------------------------


def _cookie_pairs(value: bytes) -> Iterable[tuple[bytes, bytes]]:
    for item in value.split(b";"):
        name, equals, text = item.lstrip(b" ").partition(b"=")
        if equals:
            quoted = len(text) >= 2 and text[:1] == text[-1:] == b'"'
            yield name, text[1:-1] if quoted else text


def parse_cookies(cookies: Text | Headers | Iterable[Text]) -> dict[str, str]:
    """The cookies of a ``cookie`` value, of several, or of all that headers hold.

    A cookie's first occurrence counts; quotes around a value are removed; what has no ``=`` is no
    cookie. Spaces before a name are no part of it; those behind a value are, as in Envoy.
    """
    values: list[bytes] = []
    if isinstance(cookies, (str, bytes)):
        values.append(_octets(cookies))
    elif isinstance(cookies, Mapping):
        values += _values(cookies, b"cookie")
    else:
        for one in cookies:
            if not isinstance(one, tuple):
                values.append(_octets(one))
            elif _octets(one[0]).lower() == b"cookie":
                values.append(_octets(one[1]))
    found: dict[str, str] = {}
    for value in values:
        for name, text in _cookie_pairs(value):
            found.setdefault(_string(name), _string(text))
    return found


def get_cookie(headers: Headers, name: str) -> str | None:
    """One cookie of a request's headers, None when absent."""
    return parse_cookies(headers).get(name)


def get_set_cookie(headers: Headers, name: str) -> str | None:
    """The value that a response's ``set-cookie`` headers give a cookie; None when they do not."""
    for line in _values(headers, b"set-cookie"):
        for key, value in _cookie_pairs(line.partition(b";")[0]):
            if _string(key) == name:
                return _string(value)
    return None


def format_set_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    path: str = "",
    httponly: bool = True,
    attributes: Mapping[str, str] | Iterable[tuple[str, str]] = (),
) -> str:
    """A ``set-cookie`` value: ``name="value"; Max-Age=n; Path=p; attribute=v; HttpOnly``.

    `max_age` is in seconds; None and 0 leave it out, which makes a session cookie. An attribute
    with an empty value is written without ``=``.
    """
    parts = [f'{name}="{value}"']
    if max_age:
        parts.append(f"Max-Age={max_age}")
    if path:
        parts.append(f"Path={path}")
    for key, text in attributes.items() if isinstance(attributes, Mapping) else attributes:
        parts.append(f"{key}={text}" if text else key)
    if httponly:
        parts.append("HttpOnly")
    return "; ".join(parts)


# --- hosts and URLs -------------------------------------------------------------------------------


class Authority(NamedTuple):
    """A host and port, cut up; an IPv6 address stands without its brackets."""

    host: str
    port: int | None
    is_ip_address: bool


class Url(NamedTuple):
    """An absolute URL, cut up. `path_and_query` starts with ``/`` and has no fragment."""

    scheme: str
    host_and_port: str
    path_and_query: str
    fragment: str
    has_userinfo: bool

    @property
    def host(self) -> str:
        """Without the port, and an IPv6 address without its brackets."""
        return parse_authority(self.host_and_port).host

    @property
    def port(self) -> int:
        """As written, else 443 for https, else 80."""
        port = parse_authority(self.host_and_port).port
        return port if port is not None else 443 if self.scheme == "https" else 80

    @property
    def path(self) -> str:
        """Without the query."""
        return self.path_and_query.partition("?")[0]

    @property
    def query(self) -> str:
        """Without the ``?``."""
        return self.path_and_query.partition("?")[2]


def parse_url(url: Text) -> Url:
    """An absolute URL's parts; the scheme is lower-cased, a missing path is ``/``.

    Raises ProtocolError (a ValueError) without scheme and host, and for a host that is none or a
    port above 65535.
    """
    parts = _http.parse_absolute(_octets(url))
    if parts is None:
        raise ProtocolError("http1.invalid_url")
    scheme, authority, rest, has_userinfo = parts
    path, _, fragment = rest.partition(b"#")
    if not path.startswith(b"/"):
        path = b"/" + path
    return Url(
        _string(scheme).lower(), _string(authority), _string(path), _string(fragment), has_userinfo
    )


def _port(digits: bytes) -> int | None:
    """Leading zeros are none of its five digits."""
    port = digits.lstrip(b"0") or digits[:1]
    return int(port) if port.isdigit() and len(port) <= 5 and int(port) <= _U16 else None


def _is_ip(host: str) -> bool:
    return _http.xff_address(_octets(host)) is not None if host == host.strip(" \t,") else False


def parse_authority(authority: Text) -> Authority:
    """The host, its port (None without a valid one), and whether the host is an IP address."""
    host = _string(_octets(authority))
    port: int | None = None
    name, colon, digits = host.rpartition(":")
    if colon and not host.endswith("]"):
        host = name
        port = _port(_octets(digits))
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_ip = _is_ip(inner)
    return Authority(inner if is_ip else host, port, is_ip)


def port_from_host(host: Text) -> int | None:
    """The number behind the last colon that is not inside brackets; None without one."""
    octets = _octets(host)
    return _port(octets[_http.port_start(octets) + 1 :])


def strip_port_from_host(host: AnyStr, listener_port: int | None = None) -> AnyStr:
    """Without its port: any (`strip_any_host_port`), or only `listener_port`.

    What is not a number (of 32 bits) is no port and stays.
    """
    octets = _octets(host)
    if listener_port is None:
        return _like(host, _http.host_normalize(octets, strip_any_port=True))
    if _number("listener_port", listener_port, _U16) == 0:
        return _like(host, octets)
    return _like(host, _http.host_normalize(octets, port=listener_port))


def strip_trailing_host_dot(host: AnyStr) -> AnyStr:
    """``h.`` becomes ``h`` and ``h.:80`` becomes ``h:80``."""
    return _like(host, _http.host_normalize(_octets(host), strip_trailing_dot=True))


def normalize_host(
    host: AnyStr,
    *,
    strip_trailing_host_dot: bool = False,
    strip_any_host_port: bool = False,
    strip_matching_host_port: int | None = None,
) -> AnyStr:
    """The options of a connection manager of the same names, in its order.

    `strip_matching_host_port` is the listener's port. Asking for both kinds of stripping raises
    ValueError, as the configuration would be refused.
    """
    if strip_any_host_port and strip_matching_host_port is not None:
        raise ValueError("strip_any_host_port and strip_matching_host_port exclude each other")
    port = _number("strip_matching_host_port", strip_matching_host_port or 0, _U16)
    done = _http.host_normalize(_octets(host), strip_trailing_host_dot, strip_any_host_port, port)
    return _like(host, done)


def create_ssl_redirect_path(headers: Headers) -> str:
    """Where `require_tls` sends a request: ``https://<host><path>``."""
    host, path = _value(headers, b":authority") or b"", _value(headers, b":path") or b""
    return f"https://{_string(host)}{_string(path)}"


# --- tests ----------------------------------------------------------------------------------------

_METHODS = frozenset(
    b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL "
    b"MOVE MSEARCH NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH "
    b"SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE".split()
)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*")


def is_valid_method(method: Text, *, allow_custom_methods: bool = False) -> bool:
    """One of the methods that HTTP/1 accepts; with `allow_custom_methods` any token."""
    octets = _octets(method)
    return _TOKEN.fullmatch(octets) is not None if allow_custom_methods else octets in _METHODS


def is_valid_header_name(name: Text) -> bool:
    """A token (RFC 9110 section 5.6.2)."""
    return _TOKEN.fullmatch(_octets(name)) is not None


def is_valid_header_value(value: Text) -> bool:
    """No control characters but TAB; bytes from 0x80 on may stand in it."""
    return _VALUE.fullmatch(_octets(value)) is not None


def is_valid_scheme(scheme: Text) -> bool:
    """A letter, then letters, digits, ``+``, ``-`` and ``.``."""
    return _SCHEME.fullmatch(_octets(scheme)) is not None


def is_valid_authority(authority: Text) -> bool:
    """Only characters that an authority may have."""
    return _http.authority_valid(_octets(authority))


def is_valid_referer(referer: Text) -> bool:
    """A relative reference, or an absolute URL without fragment and userinfo; else it goes."""
    return _http.referer_valid(_octets(referer))


# --- forwarding headers ---------------------------------------------------------------------------


def last_address_from_xff(xff: Text, num_to_skip: int = 0) -> str | None:
    """The address `num_to_skip` entries from the right of an ``x-forwarded-for``.

    None when the list is too short, or that entry is not an IP address.
    """
    return _http.xff_address(_octets(xff), _number("num_to_skip", num_to_skip, _U32))


def client_address_from_xff(
    xff: Text | None,
    trusted_hops: int = 0,
    *,
    use_remote_address: bool = False,
    remote_address: str | None = None,
) -> str | None:
    """The client as a connection manager with `xff_num_trusted_hops` finds it.

    Without `use_remote_address`, the entry behind `trusted_hops` others from the right; with it
    the `trusted_hops`-th from the right, since the peer itself is a hop, and for 0 the peer.
    `remote_address`, the peer, is the answer when the list has none.
    """
    found: str | None = None
    _number("trusted_hops", trusted_hops, _U32)
    if xff is not None and not use_remote_address:
        found = last_address_from_xff(xff, trusted_hops)
    elif xff is not None and trusted_hops > 0:
        found = last_address_from_xff(xff, trusted_hops - 1)
    return found if found is not None else remote_address


def append_xff(xff: AnyStr | None, address: AnyStr) -> AnyStr:
    """``xff,address`` without a space, as the gateway appends a peer; `address` alone at first."""
    if not xff:
        return address
    return _like(address, _octets(xff) + b"," + _octets(address))


def append_via(via: AnyStr | None, entry: AnyStr) -> AnyStr:
    """``via, entry``; `entry` alone at first."""
    if not via:
        return entry
    return _like(entry, _octets(via) + b", " + _octets(entry))


# --- hop-by-hop headers ---------------------------------------------------------------------------


def is_upgrade(headers: Headers) -> bool:
    """Whether there is an ``upgrade`` header and ``connection`` lists ``upgrade``."""
    connection = _tokens(_values(headers, b"connection"))
    return bool(_values(headers, b"upgrade")) and b"upgrade" in connection


def is_websocket_upgrade(headers: Headers) -> bool:
    """An upgrade to ``websocket``, in any case."""
    return is_upgrade(headers) and (_value(headers, b"upgrade") or b"").lower() == b"websocket"


def _passes_upgrade(items: Headers) -> bool:
    """An upgrade that a proxy hands on: that to ``h2c`` ends at it."""
    return is_upgrade(items) and (_value(items, b"upgrade") or b"").lower() != b"h2c"


def sanitize_te(te: Text) -> str:
    """``trailers`` if the value lists it, in lower case and without parameters, else nothing."""
    return "trailers" if b"trailers" in (t.strip(b" \t") for t in _octets(te).split(b",")) else ""


def remove_hop_by_hop(headers: Headers, *, response: bool = False) -> HeaderList:
    """Headers without those that end at a proxy.

    ``transfer-encoding``, ``keep-alive`` and ``proxy-connection`` always go; ``connection`` and
    ``upgrade`` unless the message upgrades (to ``h2c`` it never does). ``te`` of a request is
    reduced to ``trailers``, or goes.
    """
    gone = {b"transfer-encoding", b"keep-alive", b"proxy-connection"}
    items = header_list(headers)
    upgrade = _passes_upgrade(items)
    if not upgrade:
        gone |= {b"connection", b"upgrade"}
    if is_upgrade(items) != upgrade:
        gone.add(b"http2-settings")
    kept: HeaderList = []
    for name, value in items:
        lower = _octets(name).lower()
        if lower == b"te" and not response and not upgrade and value:
            if not (te := sanitize_te(value)):
                continue
            kept.append((name, te.encode() if isinstance(value, bytes) else te))
        elif lower not in gone:
            kept.append((name, value))
    return kept


_NOMINATED_MAX = 10
_TE_MAX = 256
_OPTIONS = frozenset((b"connection", b"close", b"keep-alive", b"upgrade", b"http2-settings"))
_PROTECTED = (b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto")


def sanitize_connection_header(headers: Headers) -> HeaderList:
    """A request's headers without those that its ``connection`` header nominates.

    An upgrade (but to ``h2c``) is left as it is. ``te`` that is nominated stays as ``trailers`` if
    it lists that. Raises ProtocolError (a ValueError; reply code 400) for ten tokens or more, for
    ``te`` of 256 bytes or more, and when a header that the proxy answers for is nominated.
    """
    items = header_list(headers)
    if _passes_upgrade(items):
        return items
    tokens = _tokens(_values(items, b"connection"))
    nominated = set(tokens) - _OPTIONS
    if len(tokens) >= _NOMINATED_MAX or any(
        name in _PROTECTED or name.startswith(b":") for name in nominated
    ):
        raise ProtocolError("http1.connection_header_rejected")
    kept: HeaderList = []
    for name, value in items:
        lower = _octets(name).lower()
        if lower == b"te" and lower in nominated:
            octets = _octets(value)
            if len(octets) >= _TE_MAX:
                raise ProtocolError("http1.connection_header_rejected")
            if te := sanitize_te(octets.lower()):
                kept.append((name, te.encode() if isinstance(value, bytes) else te))
        elif (b"host" if lower == b":authority" else lower) not in nominated:
            kept.append((name, value))
    return kept


# --- content types and codings --------------------------------------------------------------------


class ContentType(NamedTuple):
    """A ``content-type``: the media type, lower-cased, and its parameters."""

    type: str
    parameters: dict[str, str]


def parse_content_type(value: Text) -> ContentType:
    """The media type and its parameters; their names are lower-cased, quotes removed."""
    first, *rest = re.findall(r'(?:[^;"]|"(?:\\.|[^"\\])*"?)+', _string(_octets(value))) or [""]
    parameters: dict[str, str] = {}
    for item in rest:
        name, equals, text = item.strip(" \t").partition("=")
        if equals and name:
            text = text.strip(" \t")
            if len(text) >= 2 and text[0] == text[-1] == '"':
                text = re.sub(r"\\(.)", r"\1", text[1:-1])
            parameters.setdefault(name.strip(" \t").lower(), text)
    return ContentType(first.strip(" \t").lower(), parameters)


def choose_encoding(
    accept_encoding: Text | None,
    available: Iterable[str],
    *,
    choose_first: Iterable[str] = (),
) -> str | None:
    """The content coding that a response takes, of those `available`; None leaves it as it is.

    The highest ``q`` wins, then the one named first; but one of `choose_first` wins a tie. ``q=0``
    forbids, ``*`` picks the first available, ``identity`` is none, and so is a missing header.
    """
    names = list(available)
    preferred = set(choose_first)
    accept = None if accept_encoding is None else _octets(accept_encoding)
    chosen = _http.choose_coding(
        accept, [_octets(name) for name in names], [name in preferred for name in names]
    )
    return names[chosen] if chosen >= 0 else None


# --- gRPC -----------------------------------------------------------------------------------------


def is_grpc_content_type(value: Text) -> bool:
    """``application/grpc``, alone or with ``+`` and a codec."""
    return _http.grpc_content_type(_octets(value))


def is_grpc_request(headers: Headers) -> bool:
    """Has a path and gRPC's content type."""
    value = _value(headers, b"content-type")
    return value is not None and bool(_values(headers, b":path")) and is_grpc_content_type(value)


def is_grpc_response(headers: Headers, end_stream: bool = False) -> bool:
    """Status 200 and gRPC's content type; of headers alone, that they have a ``grpc-status``."""
    if end_stream:
        return bool(_values(headers, b"grpc-status"))
    status, value = _value(headers, b":status"), _value(headers, b"content-type")
    return status == b"200" and value is not None and is_grpc_content_type(value)


def http_to_grpc_status(status: int) -> int:
    """The gRPC status that a local reply has for an HTTP status."""
    return _http.grpc_from_http(_number("status", status, _U16))


def grpc_to_http_status(grpc_status: int) -> int:
    """The HTTP status that a gRPC status counts as; 500 for what is not one."""
    number = operator.index(grpc_status)
    return _http.grpc_to_http(number) if 0 <= number <= _U32 else 500


def parse_grpc_timeout(value: Text) -> int | None:
    """``grpc-timeout`` in milliseconds, rounded up; None when it is malformed."""
    return _http.grpc_timeout_parse(_octets(value))


def format_grpc_timeout(milliseconds: int) -> str:
    """The finest unit from milliseconds to hours of which eight digits are enough."""
    return _http.grpc_timeout_write(_number("milliseconds", milliseconds, _U64))


# --- the rest -------------------------------------------------------------------------------------


def reason_phrase(status: int) -> str:
    """``OK`` for 200; ``Unknown`` for a status without a registered phrase."""
    return _http.reason(_number("status", status, _U16))


def format_http_date(unix_seconds: float) -> str:
    """IMF-fixdate, as in a ``date`` header: ``Thu, 01 Jan 1970 00:00:00 GMT``."""
    return _http.http_date(int(unix_seconds))
