"""meshcore.http: what HTTP needs of text, by tables and by random input."""

from __future__ import annotations

import random
import urllib.parse

import pytest

from meshcore import ProtocolError, http

# --- paths ----------------------------------------------------------------------------------------

NORMALIZED = [
    ("/", "/"),
    ("/a/./b", "/a/b"),
    ("/a/../b", "/b"),
    ("/..", "/"),
    ("/a/..", "/"),
    ("/a/.", "/a/"),
    ("/a/%2E%2e/b", "/b"),
    ("/a\\b", "/a/b"),
    ("/%41%7e", "/A~"),
    ("/%2f", "/%2f"),
    ("/a b", "/a%20b"),
    ("/é", "/%C3%A9"),
    ("/%zz", "/%zz"),
    ("/%%34%31", "/%2541"),
    ("/a/...", "/a/..."),
    ("/a?/../b", "/a?/../b"),
    ("/a//b", "/a//b"),
    ("/a?x=%41", "/a?x=%41"),
    ("a", "/a"),
]


@pytest.mark.parametrize(("path", "expected"), NORMALIZED)
def test_paths_are_normalized(path, expected):
    assert http.normalize_path(path) == expected
    assert http.normalize_path(path.encode()) == expected.encode()


@pytest.mark.parametrize("path", ["/%00", "/a\0", "/a#b", "/a?b#c"])
def test_paths_are_refused(path):
    with pytest.raises(ProtocolError) as error:
        http.normalize_path(path)
    assert (error.value.details, error.value.reply_code) == ("path_normalization_failed", 400)
    assert isinstance(error.value, ValueError)


def test_escaped_slashes_go_first():
    path = "/a%2F..%5cb?%2f"
    assert http.normalize_path(path) == "/a%2F..%5cb?%2f"
    for action in ("UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT"):
        assert http.normalize_path(path, path_with_escaped_slashes_action=action) == "/b?%2f"
    with pytest.raises(ProtocolError):
        http.normalize_path(path, path_with_escaped_slashes_action="REJECT_REQUEST")
    assert (
        http.normalize_path("/a?%2f", path_with_escaped_slashes_action="REJECT_REQUEST") == "/a?%2f"
    )
    with pytest.raises(ValueError, match="escaped"):
        http.normalize_path(path, path_with_escaped_slashes_action="WHATEVER")


def test_both_rules_of_paths_at_once():
    assert http.normalize_path("/a//b/../c?x=//", merge_slashes=True) == "/a/c?x=//"


@pytest.mark.parametrize(
    ("path", "merged"),
    [
        ("/a//b", "/a/b"),
        ("/a//b///", "/a/b/"),
        ("//a", "/a"),
        ("//", "//"),
        ("///", "//"),
        ("/", "/"),
        ("", ""),
        ("a//b", "a/b"),
        ("/a//b?c//d", "/a/b?c//d"),
        ("/a//b#c//d", "/a/b#c//d"),
    ],
)
def test_slashes_are_merged(path, merged):
    assert http.merge_slashes(path) == merged
    assert http.merge_slashes(path.encode()) == merged.encode()


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/a%2fb%2Fc", "/a/b/c"),
        ("/a%5cb%5Cc", "/a\\b\\c"),
        ("/a%2", "/a%2"),
        ("/%252f", "/%252f"),
        ("/a?%2f", "/a?%2f"),
        ("", ""),
    ],
)
def test_slashes_are_unescaped(path, plain):
    assert http.unescape_slashes(path) == plain
    assert http.has_escaped_slashes(path) == (path != plain)


def test_queries_are_stripped():
    assert http.strip_query_string("/a?b=c?d") == "/a"
    assert http.strip_query_string(b"/a#f?b") == b"/a#f"
    assert http.remove_query_and_fragment("/a#f?b") == "/a"
    assert http.remove_query_and_fragment("/a?b#f") == "/a"
    assert http.strip_query_string("") == ""


# --- percent-encoding -----------------------------------------------------------------------------


def test_percent_encoding():
    assert http.percent_encode("a b%é~\n") == "a b%25%C3%A9%7E%0A"
    assert http.percent_encode("a,b", reserved=",") == "a%2Cb"
    assert http.percent_encode(b"\xff") == b"%FF"
    assert http.percent_decode("a%20b%2") == "a b%2"
    assert http.percent_decode(b"%fF%00%zz") == b"\xff\x00%zz"
    assert http.percent_decode("%c3%a9") == "é"
    assert http.url_encode("a b/é~") == "a%20b%2F%C3%A9~"
    assert http.url_decode("a+b%2B") == "a b+"


def test_what_is_encoded_is_decoded_again():
    source = random.Random(5)
    for _ in range(500):
        data = source.randbytes(source.randrange(40))
        assert http.percent_decode(http.percent_encode(data)) == data
        assert http.percent_decode(http.url_encode(data)) == data
        assert http.url_encode(data).decode() == urllib.parse.quote(data, safe="")
        assert http.percent_decode(data) == urllib.parse.unquote_to_bytes(data)


# --- queries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["/p?a=1&b=%20&a=2&c&d=", "http://h/p?a=1&b=%20&a=2&c&d=", "a=1&b=%20&a=2&c&d="]
)
def test_queries_are_parsed(url):
    params = http.parse_query_string(url)
    assert params == {"a": "1", "b": "%20", "c": "", "d": ""}
    assert params.get_all("a") == ["1", "2"]
    assert params.pairs == [("a", "1"), ("b", "%20"), ("a", "2"), ("c", ""), ("d", "")]
    assert http.parse_query_string(url, decode=True)["b"] == " "
    assert http.query_parameter(url, "a") == "1"
    assert http.query_parameter(url, "b", decode=True) == " "
    assert http.query_parameter(url, "nothing") is None
    assert http.parse_query_string(url.encode())[b"c"] == b""


def test_odd_queries():
    assert http.parse_query_string("/p") == {}
    assert http.parse_query_string("") == {}
    assert http.parse_query_string("/p?&&=v&").pairs == [("", ""), ("", ""), ("", "v")]
    assert http.parse_query_string("/p?a=1&") == {"a": "1"}
    assert http.parse_query_string("a=/x?y=1") == {"a": "/x?y=1"}
    assert http.parse_query_string("/p?a=b=c") == {"a": "b=c"}
    assert http.format_query_string(http.parse_query_string("/p?a=1&a=2&b")) == "?a=1&a=2&b="
    assert http.format_query_string({"a": "1"}) == "?a=1"
    assert http.format_query_string([]) == ""


# --- cookies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        ("a=1; b=2", {"a": "1", "b": "2"}),
        (b"a=1;b=2", {"a": "1", "b": "2"}),
        ('a="x y"; b="', {"a": "x y", "b": '"'}),
        ("a=1; a=2", {"a": "1"}),
        ("a; =x; b=", {"": "x", "b": ""}),
        ("a=b=c", {"a": "b=c"}),
        (["a=1", "b=2; a=3"], {"a": "1", "b": "2"}),
        ([("Cookie", "a=1"), ("x", "y=1"), ("cookie", "b=2")], {"a": "1", "b": "2"}),
        ({"cookie": "a=1"}, {"a": "1"}),
        ("", {}),
        ([], {}),
    ],
)
def test_cookies(cookies, expected):
    assert http.parse_cookies(cookies) == expected


def test_one_cookie():
    assert http.get_cookie([("cookie", "a=1"), ("cookie", "b=2")], "b") == "2"
    assert http.get_cookie([], "b") is None
    response = [("set-cookie", 'a="x"; Path=/; b=3'), (b"set-cookie", b"b=2")]
    assert http.get_set_cookie(response, "a") == "x"
    assert http.get_set_cookie(response, "b") == "2"
    assert http.get_set_cookie(response, "Path") is None


def test_cookies_are_made():
    assert http.format_set_cookie("n", "v") == 'n="v"; HttpOnly'
    assert http.format_set_cookie("n", "v", max_age=0) == 'n="v"; HttpOnly'
    assert (
        http.format_set_cookie(
            "n", "v", max_age=60, path="/p", attributes={"SameSite": "Strict", "Secure": ""}
        )
        == 'n="v"; Max-Age=60; Path=/p; SameSite=Strict; Secure; HttpOnly'
    )
    assert http.format_set_cookie("n", "v", httponly=False) == 'n="v"'


# --- hosts and URLs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("h:80", None, "h"),
        ("h:80", 80, "h"),
        ("h:80", 81, "h:80"),
        ("h", None, "h"),
        ("h:", None, "h:"),
        ("h:x", None, "h:x"),
        ("h:65536", None, "h"),
        ("h:4294967296", None, "h:4294967296"),
        ("[::1]:443", None, "[::1]"),
        ("[::1]", None, "[::1]"),
        ("a:b:80", None, "a:b"),
        ("", None, ""),
    ],
)
def test_ports_are_stripped(host, port, expected):
    assert http.strip_port_from_host(host, port) == expected
    assert http.strip_port_from_host(host.encode(), port) == expected.encode()


def test_hosts():
    assert http.strip_trailing_host_dot("h.") == "h"
    assert http.strip_trailing_host_dot("h.:80") == "h:80"
    assert http.strip_trailing_host_dot("h..") == "h."
    assert (
        http.normalize_host("h.:80", strip_trailing_host_dot=True, strip_any_host_port=True) == "h"
    )
    assert http.normalize_host("h:80", strip_matching_host_port=80) == "h"
    with pytest.raises(ValueError, match="exclude"):
        http.normalize_host("h", strip_any_host_port=True, strip_matching_host_port=80)
    assert http.port_from_host("h:80") == 80
    assert http.port_from_host("[::1]") is None
    assert http.port_from_host("h:x") is None
    assert http.create_ssl_redirect_path({":authority": "h", ":path": "/p?q"}) == "https://h/p?q"


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("h", ("h", None, False)),
        ("h:80", ("h", 80, False)),
        ("1.2.3.4:80", ("1.2.3.4", 80, True)),
        ("[::1]:80", ("::1", 80, True)),
        ("[::1]", ("::1", None, True)),
        ("[h]", ("[h]", None, False)),
        ("h:", ("h", None, False)),
        ("h:99999", ("h", None, False)),
    ],
)
def test_authorities(authority, expected):
    assert http.parse_authority(authority) == expected
    assert http.parse_authority(authority.encode()) == expected


def test_urls():
    url = http.parse_url("HTTP://u:p@h:81/p?q=1#f")
    assert url == ("http", "h:81", "/p?q=1", "f", True)
    assert (url.host, url.port, url.path, url.query) == ("h", 81, "/p", "q=1")
    assert http.parse_url("https://[::1]").host == "::1"
    assert http.parse_url("https://h").port == 443
    assert http.parse_url(b"http://h").path_and_query == "/"
    assert http.parse_url("http://h?q").path_and_query == "/?q"
    for bad in ("", "/p", "h", "http://", "http:///p", "http://h:+1", "http://h:x", "http://[::1"):
        with pytest.raises(ProtocolError) as error:
            http.parse_url(bad)
        assert error.value.details == "http1.invalid_url"


# --- tests ----------------------------------------------------------------------------------------


def test_validity():
    assert http.is_valid_method("GET")
    assert not http.is_valid_method("get")
    assert not http.is_valid_method("FOO")
    assert http.is_valid_method("FOO", allow_custom_methods=True)
    assert not http.is_valid_method("", allow_custom_methods=True)
    assert http.is_valid_header_name("x-A_1")
    for bad in ("", ":path", "a b", "a:", "é", "a\n"):
        assert not http.is_valid_header_name(bad)
    assert http.is_valid_header_value("a\tb é")
    for bad in ("a\nb", "\r", "\0", "\x7f", "a\n"):
        assert not http.is_valid_header_value(bad)
    assert http.is_valid_authority("h:80")
    assert http.is_valid_authority("[::1]")
    assert not http.is_valid_authority("h/p")
    assert not http.is_valid_authority("h h")
    assert http.is_valid_scheme("h2+x")
    assert not http.is_valid_scheme("1h")
    assert http.is_valid_referer("http://h/p?q")
    assert http.is_valid_referer("/p")
    assert not http.is_valid_referer("http://u@h/")
    assert not http.is_valid_referer("http://h/#f")


def test_other_types_are_refused():
    for function in (http.normalize_path, http.percent_decode, http.parse_url, http.merge_slashes):
        for value in (None, 1, bytearray(b"/")):
            with pytest.raises(TypeError):
                function(value)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: http.is_upgrade(5), TypeError, "headers must be pairs"),
        (lambda: http.is_upgrade("connection: upgrade"), TypeError, "headers must be pairs"),
        (lambda: http.is_upgrade(["ab"]), TypeError, "a pair of name and value, not 'ab'"),
        (lambda: http.is_upgrade([("a", "b", "c")]), TypeError, "a pair of name and value"),
        (lambda: http.reason_phrase(-1), ValueError, "status must be from 0 to 65535, not -1"),
        (lambda: http.http_to_grpc_status(1 << 70), ValueError, "status"),
        (lambda: http.format_grpc_timeout(-1), ValueError, "milliseconds"),
        (lambda: http.last_address_from_xff("1.1.1.1", -1), ValueError, "num_to_skip"),
        (lambda: http.client_address_from_xff("1.1.1.1", -1), ValueError, "trusted_hops"),
        (lambda: http.strip_port_from_host("h:80", 70000), ValueError, "listener_port"),
        (lambda: http.strip_port, AttributeError, "strip_port_from_host"),
        (lambda: http.parse_xff, AttributeError, "last_address_from_xff"),
        (lambda: http.nothing_like_it, AttributeError, "'nothing_like_it'$"),
    ],
)
def test_misuse_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_values_of_one_header_may_stand_in_a_list():
    headers = {"cookie": ["a=1", "b=2"], "connection": ["upgrade", "x"], "upgrade": "websocket"}
    assert http.parse_cookies(headers) == {"a": "1", "b": "2"}
    assert http.is_websocket_upgrade(headers)


def test_a_port_of_any_length_is_no_fault():
    for digits in ("9" * 5000, "70000", "", "x"):
        assert http.port_from_host(f"h:{digits}") is None
        assert http.parse_authority(f"h:{digits}") == ("h", None, False)
    assert http.parse_authority("h:" + "0" * 5000 + "80").port == 80
    assert http.port_from_host("[::1]:00") == 0


# --- forwarding headers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("xff", "skip", "expected"),
    [
        ("1.1.1.1, 2.2.2.2,3.3.3.3", 0, "3.3.3.3"),
        ("1.1.1.1, 2.2.2.2,3.3.3.3", 1, "2.2.2.2"),
        ("1.1.1.1, 2.2.2.2,3.3.3.3", 3, None),
        (b"::1", 0, "::1"),
        ("unknown", 0, None),
        ("1.2.3.4:80", 0, None),
        ("", 0, None),
    ],
)
def test_last_addresses(xff, skip, expected):
    assert http.last_address_from_xff(xff, skip) == expected


def test_clients():
    xff = "1.1.1.1, 2.2.2.2, 3.3.3.3"
    client = http.client_address_from_xff
    assert [client(xff, n) for n in range(4)] == ["3.3.3.3", "2.2.2.2", "1.1.1.1", None]
    edge = [client(xff, n, use_remote_address=True, remote_address="9.9.9.9") for n in range(5)]
    assert edge == ["9.9.9.9", "3.3.3.3", "2.2.2.2", "1.1.1.1", "9.9.9.9"]
    assert client(None) is None
    assert client(None, remote_address="9.9.9.9") == "9.9.9.9"


def test_appending():
    assert http.append_xff("1.1.1.1", "2.2.2.2") == "1.1.1.1,2.2.2.2"
    assert http.append_xff(None, "2.2.2.2") == "2.2.2.2"
    assert http.append_xff(b"a", b"b") == b"a,b"
    assert http.append_via("1.1 a", "1.1 b") == "1.1 a, 1.1 b"
    assert http.append_via("", "1.1 b") == "1.1 b"


# --- hop-by-hop headers ---------------------------------------------------------------------------

UPGRADE = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket"), ("te", "gzip")]


def test_hop_by_hop_headers_are_removed():
    headers = [
        ("Connection", "x"),
        ("keep-alive", "1"),
        ("te", "gzip, trailers"),
        ("transfer-encoding", "chunked"),
        ("proxy-connection", "x"),
        ("upgrade", "h2c"),
        ("a", "b"),
    ]
    assert http.remove_hop_by_hop(headers) == [("te", "trailers"), ("a", "b")]
    assert http.remove_hop_by_hop(headers, response=True) == [("te", "gzip, trailers"), ("a", "b")]
    assert http.remove_hop_by_hop([("te", "gzip")]) == []
    assert http.remove_hop_by_hop([(b"te", b"trailers;q=1,trailers")]) == [(b"te", b"trailers")]
    assert http.remove_hop_by_hop([("te", "Trailers")]) == []
    assert http.remove_hop_by_hop(UPGRADE) == UPGRADE
    assert http.remove_hop_by_hop({"a": "b", "connection": "close"}) == [("a", "b")]


def test_upgrades():
    assert http.is_upgrade(UPGRADE)
    assert http.is_websocket_upgrade(UPGRADE)
    assert not http.is_upgrade([("upgrade", "websocket")])
    assert not http.is_upgrade([("connection", "upgrade")])
    assert not http.is_websocket_upgrade([("connection", "upgrade"), ("upgrade", "foo")])


def test_nominated_headers():
    headers = [("connection", "close, x-a, te"), ("x-a", "1"), ("te", "trailers"), ("x-b", "2")]
    assert http.sanitize_connection_header(headers) == [
        ("connection", "close, x-a, te"),
        ("te", "trailers"),
        ("x-b", "2"),
    ]
    for te, kept in (("gzip", []), ("a, Trailers", [("te", "trailers")]), ("trailers;q=1", [])):
        assert http.sanitize_connection_header([("connection", "te"), ("te", te)]) == [
            ("connection", "te"),
            *kept,
        ]
    assert http.sanitize_connection_header([("connection", "host"), (":authority", "h")]) == [
        ("connection", "host")
    ]
    assert http.sanitize_connection_header(UPGRADE) == UPGRADE
    for bad in (
        [("connection", ",".join("abcdefghij"))],
        [("connection", "x-forwarded-for")],
        [("connection", ":path")],
        [("connection", "te"), ("te", "x" * 256)],
    ):
        with pytest.raises(ProtocolError) as error:
            http.sanitize_connection_header(bad)
        assert error.value.reply_code == 400


# --- content types and codings --------------------------------------------------------------------


def test_content_types():
    parse = http.parse_content_type
    assert parse("Text/HTML") == ("text/html", {})
    assert parse("text/html; Charset=UTF-8") == ("text/html", {"charset": "UTF-8"})
    assert parse(b'a/b;x="1;2";y="\\"" ; z') == ("a/b", {"x": "1;2", "y": '"'})
    assert parse("") == ("", {})


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("br, gzip", "br"),
        ("gzip;q=0.5, br;q=0.6", "br"),
        ("*", "gzip"),
        ("gzip;q=0, *", "br"),
        ("gzip;q=0", None),
        ("identity", None),
        ("identity;q=0.5, br;q=0.4", None),
        ("deflate", None),
        ("gzip;q=what, br;q=0.1", "br"),
        (b"br", "br"),
    ],
)
def test_codings_are_chosen(accept, expected):
    assert http.choose_encoding(accept, ["gzip", "br"]) == expected


def test_a_preferred_coding_wins_a_tie():
    assert http.choose_encoding("gzip, br", ["gzip", "br"], choose_first=["br"]) == "br"
    assert http.choose_encoding("gzip, br;q=0.9", ["gzip", "br"], choose_first=["br"]) == "gzip"
    assert http.choose_encoding("*", []) is None
    with pytest.raises(ValueError, match="16"):
        http.choose_encoding("a", [str(n) for n in range(17)])


# --- gRPC -----------------------------------------------------------------------------------------


def test_grpc_messages():
    request = {":path": "/s/m", "content-type": "application/grpc+proto"}
    assert http.is_grpc_request(request)
    assert not http.is_grpc_request({"content-type": "application/grpc"})
    assert not http.is_grpc_request(request | {"content-type": "application/grpc-web"})
    assert http.is_grpc_content_type(b"application/grpc")
    assert http.is_grpc_response({":status": "200", "content-type": "application/grpc"})
    assert not http.is_grpc_response({":status": "503", "content-type": "application/grpc"})
    assert http.is_grpc_response({"grpc-status": "0"}, end_stream=True)


def test_grpc_statuses():
    to_grpc = {
        400: 13,
        401: 16,
        403: 7,
        404: 12,
        429: 14,
        502: 14,
        503: 14,
        504: 14,
        500: 2,
        200: 2,
    }
    assert {status: http.http_to_grpc_status(status) for status in to_grpc} == to_grpc
    to_http = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]
    assert [http.grpc_to_http_status(status) for status in range(17)] == to_http
    assert http.grpc_to_http_status(99) == http.grpc_to_http_status(-1) == 500


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1H", 3_600_000),
        ("2M", 120_000),
        ("3S", 3_000),
        (b"4m", 4),
        ("1u", 1),
        ("1001u", 2),
        ("1000001n", 2),
        ("0n", 0),
        ("99999999m", 99_999_999),
        ("100000000m", None),
        ("m", None),
        ("1", None),
        ("-1m", None),
        ("", None),
    ],
)
def test_grpc_timeouts_are_parsed(text, ms):
    assert http.parse_grpc_timeout(text) == ms


def test_grpc_timeouts_are_formatted():
    assert http.format_grpc_timeout(99_999_999) == "99999999m"
    assert http.format_grpc_timeout(100_000_000) == "100000S"
    assert http.format_grpc_timeout(100_000_000_000) == "1666666M"
    assert http.format_grpc_timeout(2**64 - 1) == "99999999H"
    source = random.Random(6)
    for _ in range(500):
        ms = source.randrange(10 ** source.randrange(1, 14))
        again = http.parse_grpc_timeout(http.format_grpc_timeout(ms))
        assert again is not None
        assert again <= ms
        assert ms > 99_999_999 or again == ms


def test_the_rest():
    assert http.reason_phrase(404) == "Not Found"
    assert http.reason_phrase(799) == "Unknown"
    assert http.format_http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert http.format_http_date(784111777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"


# --- random input ---------------------------------------------------------------------------------

PIECES = ["/", ".", "..", "%2e", "%2F", "%5c", "%", "%41", "\\", "a", "?", "=", "&", ";", ":", "[",
          "]", '"', ",", " ", "é", "80", "http://", "@", "//"]  # fmt: skip
FREE = [
    http.merge_slashes,
    http.unescape_slashes,
    http.strip_query_string,
    http.remove_query_and_fragment,
    http.percent_decode,
    http.percent_encode,
    http.url_encode,
    http.url_decode,
    http.strip_port_from_host,
    http.strip_trailing_host_dot,
    http.parse_query_string,
]
TESTS = [
    http.is_valid_authority,
    http.is_valid_header_name,
    http.is_valid_referer,
    http.parse_cookies,
    http.parse_content_type,
    http.parse_authority,
    http.port_from_host,
    http.parse_grpc_timeout,
    http.last_address_from_xff,
]


def test_random_text():
    source = random.Random(7)
    for _ in range(3000):
        text = "".join(source.choices(PIECES, k=source.randrange(12)))
        for function in FREE:
            done = function(text)
            if isinstance(done, str):
                assert function(text.encode()) == done.encode("utf-8", "surrogateescape")
        for function in TESTS:
            assert function(text) == function(text.encode())
        assert http.merge_slashes(http.merge_slashes(text)) == http.merge_slashes(text)
        assert (http.unescape_slashes(text) == text) == (not http.has_escaped_slashes(text))
        normal = http.normalize_path(text)
        assert http.normalize_path(normal) == normal
        path = http.strip_query_string(normal)
        assert path.startswith("/")
        assert "\\" not in path
        assert not {".", ".."} & set(path.split("/"))
        assert normal.partition("?")[1:] == text.partition("?")[1:]
        for suffix in ("", ":80"):
            host = http.strip_port_from_host("h" + suffix)
            assert http.strip_port_from_host(host) == host


def test_an_upgrade_to_h2c_ends_at_the_proxy():
    headers = [("connection", "upgrade, x-a"), ("upgrade", "h2c"), ("x-a", "1"), ("x-b", "2")]
    assert http.remove_hop_by_hop(http.sanitize_connection_header(headers)) == [("x-b", "2")]
    websocket = [("connection", "upgrade, x-a"), ("upgrade", "websocket"), ("x-a", "1")]
    assert http.remove_hop_by_hop(http.sanitize_connection_header(websocket)) == websocket
