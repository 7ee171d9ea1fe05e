"""meshcore.http1: its two forms, against httptools and h11 on what is valid, and on what is not."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcore import MeshcoreError, ProtocolError, http1
from meshcore.http1 import RequestParser, ResponseParser

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nX-Y: z\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
)


def feed_all(parser, pieces: list[bytes]) -> list[tuple[str, Any]]:
    return [event for piece in pieces for event in parser.feed(piece)]


# --- events -----------------------------------------------------------------------------------


def test_events_of_a_get():
    assert RequestParser().feed(GET) == [
        ("request", (b"GET", b"/a?b", b"1.1")),
        ("header", (b"host", b"x")),
        ("header", (b"accept", b"*/*")),
        ("header", (b"x-y", b"z")),
        ("headers_complete", None),
        ("complete", None),
    ]


def test_events_of_a_chunked_post():
    assert RequestParser().feed(CHUNKED) == [
        ("request", (b"POST", b"/", b"1.1")),
        ("header", (b"transfer-encoding", b"chunked")),
        ("headers_complete", None),
        ("body", b"abc"),
        ("body", b"de"),
        ("trailer", (b"t", b"1")),
        ("complete", None),
    ]


def test_trailers_can_be_dropped():
    events = RequestParser(enable_trailers=False).feed(CHUNKED)
    assert events[-2:] == [("body", b"de"), ("complete", None)]


def test_pipelined_requests_follow_each_other():
    names = [event for event, _ in RequestParser().feed(GET + POST + GET)]
    assert names.count("request") == names.count("complete") == 3


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: memoryview(bytearray(b))])
def test_feeds_on_anything_that_holds_bytes(kind):
    assert RequestParser().feed(kind(GET)) == RequestParser().feed(GET)
    assert RequestParser().messages(kind(GET))[0].target == b"/a?b"


@pytest.mark.parametrize("wrong", ["text", None, 5, memoryview(b"abcdef")[::2]])
def test_refuses_what_holds_no_plain_bytes(wrong):
    with pytest.raises((TypeError, BufferError)):
        RequestParser().feed(wrong)


def test_a_fed_bytearray_can_change_afterwards():
    data = bytearray(POST)
    parser = RequestParser()
    (request,) = parser.messages(data)
    data[:] = b"x" * 100
    assert (request.target, request.body) == (b"/", b"hello")


def test_events_before_a_fault_are_with_the_error():
    parser = RequestParser()
    with pytest.raises(ProtocolError) as caught:
        parser.feed(GET + b"GET / HTTP/1.1\r\nbad\r\n\r\n")
    assert caught.value.events == RequestParser().feed(GET)
    assert (caught.value.reply_code, caught.value.details) == (400, "http1.codec_error")
    assert isinstance(caught.value, MeshcoreError)
    with pytest.raises(ProtocolError) as again:
        parser.feed(GET)
    assert (again.value.details, again.value.events) == ("http1.codec_error", [])


def test_body_before_a_fault_is_with_the_error():
    with pytest.raises(ProtocolError) as caught:
        RequestParser().feed(CHUNKED.replace(b"2\r\nde", b"2\r\ndeX"))
    assert caught.value.events[-2:] == [("body", b"abc"), ("body", b"de")]


# --- messages ---------------------------------------------------------------------------------


def test_messages_with_bodies():
    parser = RequestParser()
    get, post = parser.messages(GET + POST)
    assert (get.method, get.target, get.version) == (b"GET", b"/a?b", b"1.1")
    assert get.headers == [(b"host", b"x"), (b"accept", b"*/*"), (b"x-y", b"z")]
    assert get.headers is get.headers
    assert (get.complete, get.keep_alive, get.body, get.content_length) == (True, True, b"", None)
    assert (post.body, post.complete, post.content_length) == (b"hello", True, 5)
    assert (post.chunked, post.upgrade, post.expect_continue) == (False, False, False)


def test_a_body_arrives_later():
    parser = RequestParser()
    assert parser.messages(POST[:10]) == []
    (post,) = parser.messages(POST[10:-3])
    assert (post.body, post.complete, parser.idle) == (b"he", False, False)
    assert parser.messages(POST[-3:-1]) == []
    assert post.body == b"hell"
    assert post.read() == b"hell"
    assert post.body == b""
    parser.messages(POST[-1:])
    assert (post.read(), post.complete, parser.idle) == (b"o", True, True)


def test_trailers_of_a_message():
    (post,) = RequestParser().messages(CHUNKED)
    assert (post.chunked, post.body, post.trailers) == (True, b"abcde", [(b"t", b"1")])
    (get,) = RequestParser().messages(GET)
    assert get.trailers == []


def test_get_finds_a_header_in_any_case():
    (get,) = RequestParser().messages(GET)
    assert get.get("ACCEPT") == get.get(b"accept") == b"*/*"
    assert get.get("Host") == b"x"
    assert get.get("x-y") == b"z"
    assert get.get("nope") is None
    assert get.get("nope", b"d") == b"d"
    assert get.get(":path") is None
    with pytest.raises(TypeError):
        get.get(3)


def test_a_request_outlives_its_parser():
    requests = RequestParser().messages(GET * 50)
    gc.collect()
    assert [r.headers for r in requests] == [requests[0].headers] * 50


def test_messages_before_a_fault_are_with_the_error():
    with pytest.raises(ProtocolError) as caught:
        RequestParser().messages(GET + b"bad\r\n\r\n")
    assert [r.target for r in caught.value.events] == [b"/a?b"]


def test_one_form_for_each_parser():
    parser = RequestParser()
    parser.feed(GET)
    with pytest.raises(ValueError, match="one form"):
        parser.messages(GET)


def test_keep_alive():
    def keep_alive(head: bytes) -> bool:
        return RequestParser().messages(head + b"\r\n")[0].keep_alive

    assert keep_alive(b"GET / HTTP/1.1\r\n")
    assert not keep_alive(b"GET / HTTP/1.1\r\nConnection: x, Close\r\n")
    assert not keep_alive(b"GET / HTTP/1.0\r\n")
    assert keep_alive(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n")


def test_expect_continue():
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    assert RequestParser().messages(head)[0].expect_continue


def test_repeated_values_are_right_whatever_was_seen_before():
    """The table of repeated headers must never hand out another header's bytes."""
    parser = RequestParser()
    for i in range(3000):
        value = b"v%d" % (i % 700)
        same = [(b"accept", value), (b"referer", value), (b"cookie", value), (b"x-u", value)]
        wire = b"".join(b"%s: %s\r\n" % pair for pair in same)
        (request,) = parser.messages(b"GET / HTTP/1.1\r\n" + wire + b"\r\n")
        assert request.headers == same


# --- upgrades ---------------------------------------------------------------------------------

UPGRADE = b"POST /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: w\r\nContent-Length: 2\r\n\r\n"


def test_an_upgrade_ends_the_parsing():
    parser = RequestParser()
    events = parser.feed(UPGRADE + b"\x81")
    assert events[-2:] == [("headers_complete", None), ("upgrade", None)]
    assert parser.trailing == b"\x81"
    assert parser.feed(b"\x82") == []
    assert parser.trailing == b"\x81\x82"


def test_a_refused_upgrade_goes_on_as_http():
    parser = RequestParser()
    parser.feed(UPGRADE + b"o")
    assert parser.refuse_upgrade() == [("body", b"o")]
    assert parser.trailing == b""
    assert parser.feed(b"k" + GET)[:3] == [
        ("body", b"k"),
        ("complete", None),
        ("request", (b"GET", b"/a?b", b"1.1")),
    ]
    with pytest.raises(ValueError, match="no upgrade"):
        parser.refuse_upgrade()


def test_a_refused_upgrade_without_a_body_is_complete():
    parser = RequestParser()
    (request,) = parser.messages(b"CONNECT a:1 HTTP/1.1\r\n\r\n" + GET)
    assert (request.upgrade, request.complete, request.target) == (True, False, b"a:1")
    assert [r.target for r in parser.refuse_upgrade()] == [b"/a?b"]
    assert request.complete


# --- responses --------------------------------------------------------------------------------


def test_events_of_a_response():
    assert ResponseParser().feed(b"HTTP/1.1 200 All right\r\nContent-Length: 2\r\n\r\nok") == [
        ("response", (200, b"All right", b"1.1")),
        ("header", (b"content-length", b"2")),
        ("headers_complete", None),
        ("body", b"ok"),
        ("complete", None),
    ]


def test_responses_follow_the_announced_methods():
    parser = ResponseParser()
    parser.expect("HEAD")
    parser.expect(b"GET")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    first, second = parser.messages(head + b"HTTP/1.1 100 Go\r\n\r\n" + head + b"ok")[::2]
    assert (first.body, first.complete) == (b"", True)
    assert (second.body, second.complete) == (b"ok", True)
    with pytest.raises(ProtocolError):
        parser.messages(head)


def test_bytes_that_nobody_asked_for():
    parser = ResponseParser()
    parser.expect("GET")
    with pytest.raises(ProtocolError):
        parser.feed(b"HTTP/1.1 204 No Content\r\n\r\nx")


def test_without_announcements_every_response_answers_a_get():
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert [r.body for r in ResponseParser().messages(response * 3)] == [b"ok"] * 3


def test_a_body_until_close():
    parser = ResponseParser()
    (response,) = parser.messages(b"HTTP/1.1 200 OK\r\n\r\nsome")
    parser.messages(b" more")
    assert not response.complete
    assert parser.eof() == []
    assert (response.body, response.complete, response.keep_alive) == (b"some more", True, False)
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 200 OK\r\n\r\nsome")
    assert parser.eof() == [("complete", None)]


@pytest.mark.parametrize("cut", [b"G", GET[:-1], POST[:-1], CHUNKED[:-1]])
def test_eof_in_the_middle(cut):
    parser = RequestParser()
    parser.feed(cut)
    with pytest.raises(ProtocolError):
        parser.eof()


def test_eof_between_messages():
    parser = RequestParser()
    parser.feed(GET)
    assert parser.idle
    assert parser.eof() == []


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "data", "details"),
    [
        ({"max_headers_count": 2}, GET, "http1.too_many_headers"),
        ({"max_headers_bytes": 20}, GET, "http1.headers_too_large"),
        ({}, b"GET /" + b"a" * 70000, "http1.headers_too_large"),
        ({}, b"GET / HTTP/1.1\r\nX: " + b"a" * 70000, "http1.headers_too_large"),
        ({}, b"GET / HTTP/1.1\r\n" + b"A:\r\n" * 101 + b"\r\n", "http1.too_many_headers"),
        ({}, CHUNKED[:-2] + b"A:\r\n" * 101 + b"\r\n", "http1.too_many_headers"),
    ],
)
def test_limits(options, data, details):
    for size in (len(data), 1000):
        parser = RequestParser(**options)
        with pytest.raises(ProtocolError) as caught:
            feed_all(parser, [data[at : at + size] for at in range(0, len(data), size)])
        assert (caught.value.reply_code, caught.value.details) == (431, details)


def test_just_within_limits():
    names_and_values = len(b"/a?b") + len(b"hostx") + len(b"accept*/*") + len(b"x-yz")
    parser = RequestParser(max_headers_count=3, max_headers_bytes=names_and_values)
    assert parser.feed(GET)[-1] == ("complete", None)


def test_underscores():
    data = b"GET / HTTP/1.1\r\na_b: 1\r\nc: 2\r\n\r\n"
    assert len(RequestParser().messages(data)[0].headers) == 2
    assert RequestParser(underscores="drop").messages(data)[0].headers == [(b"c", b"2")]
    with pytest.raises(ProtocolError, match="unexpected_underscore"):
        RequestParser(underscores="reject").messages(data)


@pytest.mark.parametrize(
    ("options", "data", "details"),
    [
        ({"accept_http_10": False}, b"GET / HTTP/1.0\r\n\r\n", "low_version"),
        ({}, b"BREW / HTTP/1.1\r\n\r\n", "http1.codec_error"),
        ({"allow_custom_methods": True}, b"B(EW / HTTP/1.1\r\n\r\n", "http1.codec_error"),
        ({}, b"GET ftp://a/ HTTP/1.1\r\n\r\n", "http1.invalid_scheme"),
        (
            {},
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "http1.content_length_and_chunked_not_allowed",
        ),
    ],
)
def test_switches_refuse(options, data, details):
    with pytest.raises(ProtocolError, match=f"^{details}$"):
        RequestParser(**options).feed(data)


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({}, b"GET / HTTP/1.0\r\n\r\n"),
        ({"allow_custom_methods": True}, b"BREW / HTTP/1.1\r\n\r\n"),
        ({"allow_absolute_url": False}, b"GET ftp://a/ HTTP/1.1\r\n\r\n"),
        (
            {"allow_chunked_length": True},
            b"POST / HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ],
)
def test_switches_allow(options, data):
    assert RequestParser(**options).feed(data)[-1] == ("complete", None)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_headers_count": 0}, ValueError),
        ({"max_headers_bytes": 1 << 32}, ValueError),
        ({"max_headers_count": "9"}, TypeError),
        ({"underscores": "maybe"}, ValueError),
        ({"unknown": 1}, TypeError),
    ],
)
def test_wrong_options(options, error):
    with pytest.raises(error):
        RequestParser(**options)


def test_a_parser_is_built_once():
    parser = RequestParser()
    with pytest.raises(TypeError):
        parser.__init__()
    with pytest.raises(ValueError, match="not initialised"):
        RequestParser.__new__(RequestParser).feed(GET)


# --- oracles ----------------------------------------------------------------------------------

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPECIAL = {"host", "connection", "upgrade", "content-length", "transfer-encoding", "expect"}
tokens = st.text(TOKEN, min_size=1, max_size=20)
values = st.binary(max_size=40).map(
    lambda raw: bytes(c for c in raw if c >= 0x20 and c != 0x7F).strip(b" \t")
)
fields = st.lists(
    st.tuples(tokens.filter(lambda n: n.lower() not in SPECIAL | {"proxy-connection"}), values),
    max_size=8,
)
targets = st.text("".join(map(chr, range(0x21, 0x7F))), max_size=30).map(lambda t: "/" + t)
bodies = st.one_of(st.none(), st.binary(max_size=60), st.lists(st.binary(min_size=1, max_size=20)))
requests = st.tuples(st.sampled_from(["GET", "POST", "PUT", "M"]), targets, fields, bodies)


def wire(method: str, target: str, headers: list[tuple[str, bytes]], body: Any) -> bytes:
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: a"]
    lines += [name.encode() + b": " + value for name, value in headers]
    if isinstance(body, bytes):
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])
    if isinstance(body, list):
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in body)
        return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", chunks + b"0\r\n\r\n"])
    return b"\r\n".join([*lines, b"", b""])


class Collector:
    """What httptools says, in our words; each message is (method, target, headers, body)."""

    def __init__(self) -> None:
        import httptools

        self.parser = httptools.HttpRequestParser(self)
        self.seen: list[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]] = []

    def on_message_begin(self) -> None:
        self.url, self.body = b"", b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.seen.append((self.parser.get_method(), self.url, self.headers, self.body))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(at)]


@given(
    st.lists(requests.filter(lambda r: r[0] != "M"), min_size=1, max_size=3),
    st.lists(st.integers(0, 999)),
)
@settings(max_examples=300, deadline=None)
def test_agrees_with_httptools(messages, cuts):
    pytest.importorskip("httptools")
    data = b"".join(wire(*message) for message in messages)
    other = Collector()
    other.parser.feed_data(data)
    parser = RequestParser()
    ours = [request for piece in pieces(data, cuts) for request in parser.messages(piece)]
    assert [(r.method, r.target, r.headers, r.body) for r in ours] == other.seen
    assert all(r.complete for r in ours)


@given(requests, st.lists(st.integers(0, 999)))
@settings(max_examples=200, deadline=None)
def test_agrees_with_h11(message, cuts):
    h11 = pytest.importorskip("h11")
    data = wire(*message)
    other = h11.Connection(h11.SERVER)
    other.receive_data(data)
    events = []
    while (event := other.next_event()) not in (h11.PAUSED, h11.NEED_DATA):
        events.append(event)
        if isinstance(event, h11.EndOfMessage):
            break
    parser = RequestParser(allow_custom_methods=True)
    ours = [event for piece in pieces(data, cuts) for event in parser.feed(piece)]
    head = events[0]
    assert ours[0] == ("request", (head.method, head.target, head.http_version))
    assert [value for event, value in ours if event == "header"] == list(head.headers)
    body = b"".join(event.data for event in events if isinstance(event, h11.Data))
    assert b"".join(value for event, value in ours if event == "body") == body
    assert ours[-1] == ("complete", None)


@given(st.binary(max_size=80), st.lists(st.integers(0, 999)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_either_parse_or_raise(noise, cuts):
    for make in (RequestParser, ResponseParser):
        parser = make()
        refused = None
        try:
            feed_all(parser, pieces(noise, cuts))
            parser.eof()
        except ProtocolError as error:
            refused = error
        assert refused is None or (refused.reply_code in range(400, 506) and refused.details)


# --- encoders ---------------------------------------------------------------------------------


def test_encode_request():
    assert http1.encode_request("GET", "/", [("Host", "a"), (b"X", b"y")]) == (
        b"GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n"
    )
    assert http1.encode_request("POST", "/", {"host": "a"}, b"hi") == (
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"
    )
    assert http1.encode_request("POST", "/") == b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
    assert http1.encode_request("POST", "/", end_stream=False) == (
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    assert http1.encode_request("PUT", "/", {"content-length": "9"}, end_stream=False) == (
        b"PUT / HTTP/1.1\r\ncontent-length: 9\r\n\r\n"
    )
    assert http1.encode_request("CONNECT", "a:1", {"host": "a:1"}) == (
        b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n"
    )


def test_encoded_headers_in_other_forms():
    wanted = b"GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\nx: 2\r\n\r\n"
    assert http1.encode_request("GET", "/", {"Host": "h", "X": ["1", "2"]}) == wanted
    assert http1.encode_request("GET", "/", iter([("Host", "h"), ("X", "1"), ["X", "2"]])) == wanted
    for headers in (5, "x: 1", ["ab"], [("a",)]):
        with pytest.raises(TypeError, match=r"headers|pair"):
            http1.encode_request("GET", "/", headers)


def test_encode_response():
    encode = http1.encode_response
    assert encode(200, {"x": "y"}, b"hi") == (
        b"HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\nhi"
    )
    assert encode(404) == b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    assert encode(204) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert encode(299, end_stream=False) == (
        b"HTTP/1.1 299 Unknown\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    assert encode(200, body=b"hi", request_method="HEAD") == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    )
    assert encode(200, end_stream=False, http_10=True) == b"HTTP/1.0 200 OK\r\n\r\n"
    assert encode(101, {"upgrade": "w", "connection": "upgrade"}, upgrade=True) == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: w\r\nconnection: upgrade\r\n\r\n"
    )
    assert encode(200, {"transfer-encoding": "gzip"}) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    )


def test_encode_chunks():
    assert http1.encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert http1.encode_chunk(b"") == b""
    assert http1.encode_chunk(memoryview(b"ab")) == b"2\r\nab\r\n"
    assert http1.encode_last_chunk() == b"0\r\n\r\n"
    assert http1.encode_last_chunk([("T", "1")]) == b"0\r\nt: 1\r\n\r\n"


@pytest.mark.parametrize(
    "call",
    [
        lambda: http1.encode_request("G T", "/"),
        lambda: http1.encode_request("", "/"),
        lambda: http1.encode_request("GET", ""),
        lambda: http1.encode_request("GET", "/a b"),
        lambda: http1.encode_request("GET", "/a\r\n"),
        lambda: http1.encode_request("GET", "/", {"a b": "c"}),
        lambda: http1.encode_request("GET", "/", {":path": "c"}),
        lambda: http1.encode_request("GET", "/", {"": "c"}),
        lambda: http1.encode_request("GET", "/", {"a": "b\r\nc: d"}),
        lambda: http1.encode_request("GET", "/", {"a": "b\nc"}),
        lambda: http1.encode_request("GET", "/", {"a": "b\0"}),
        lambda: http1.encode_request("POST", "/", {"content-length": "1"}, b"x"),
        lambda: http1.encode_response(99),
        lambda: http1.encode_response(1000),
        lambda: http1.encode_response(204, body=b"x"),
        lambda: http1.encode_response(200, [("a", "b\rc")]),
        lambda: http1.encode_last_chunk({"a": "b\n"}),
    ],
)
def test_what_cannot_be_sent(call):
    with pytest.raises(ValueError):
        call()


@given(requests.filter(lambda r: r[0] != "M"))
@settings(max_examples=200, deadline=None)
def test_what_is_encoded_parses_back(message):
    method, target, headers, body = message
    if isinstance(body, list):
        data = http1.encode_request(method, target, headers, end_stream=False)
        data += b"".join(map(http1.encode_chunk, body)) + http1.encode_last_chunk()
    else:
        data = http1.encode_request(method, target, headers, body)
    (request,) = RequestParser().messages(data)
    sent = [(name.lower().encode(), value) for name, value in headers]
    assert (request.method.decode(), request.target.decode()) == (method, target)
    assert request.headers[: len(sent)] == sent
    assert request.body == (b"".join(body) if isinstance(body, list) else body or b"")


# --- memory and threads -----------------------------------------------------------------------


def test_nothing_leaks():
    parser = RequestParser()
    responses = ResponseParser()

    def work() -> None:
        parser.feed(GET + POST + CHUNKED)
        for request in RequestParser().messages(GET + POST + CHUNKED):
            assert request.headers
            request.read()
        responses.messages(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        with pytest.raises(ProtocolError):
            RequestParser().feed(GET + b"\0")
        http1.encode_response(200, {"a": "b"}, b"c")

    for _ in range(200):
        work()
    gc.collect()
    tracemalloc.start()
    try:
        blocks = sys.getallocatedblocks()
        for _ in range(300):
            work()
        gc.collect()
        assert sys.getallocatedblocks() - blocks < 100
    finally:
        tracemalloc.stop()


def test_parsers_in_many_threads():
    failures = []

    def work(i: int) -> None:
        parser = RequestParser()
        data = b"GET /%d HTTP/1.1\r\nAccept: t%d\r\nReferer: same\r\n\r\n" % (i, i)
        for _ in range(2000):
            (request,) = parser.messages(data)
            if request.headers != [(b"accept", b"t%d" % i), (b"referer", b"same")]:
                failures.append(request.headers)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
