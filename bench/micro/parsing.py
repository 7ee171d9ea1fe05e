"""HTTP/1.1 request parsing: a browser's GET with twelve headers, 606 bytes, whole in one read."""

from __future__ import annotations

from typing import Any

from bench.micro.case import Case

REQUEST = (
    b"GET /static/css/site.min.css?v=20240611 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"Connection: keep-alive\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/125.0 Safari/537.36\r\n"
    b"Accept: text/css,*/*;q=0.1\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    b"Referer: https://www.example.com/products/1234\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    b"Cache-Control: no-cache\r\n"
    b"X-Request-Id: 7d9f1c2e-3b1a-4c55-9d3e-0f6a2b8c4d10\r\n"
    b"X-Forwarded-For: 203.0.113.7, 198.51.100.23\r\n"
    b"X-Padding: %s\r\n"
    b"\r\n"
)
REQUEST = REQUEST % (b"p" * (606 - len(REQUEST) + 2))
assert len(REQUEST) == 606


def meshcore_events() -> dict[str, Any]:
    from meshcore.http1 import RequestParser

    return {"feed": RequestParser().feed, "data": REQUEST}


def meshcore_messages() -> dict[str, Any]:
    from meshcore.http1 import RequestParser

    return {"messages": RequestParser().messages, "data": REQUEST}


class Collector:
    """What a server does with httptools: keep the target and every header."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def on_message_begin(self) -> None:
        self.headers = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        pass

    def on_message_complete(self) -> None:
        pass


class Silent:
    """Callbacks that do nothing."""

    def on_url(self, url: bytes) -> None:
        pass

    def on_header(self, name: bytes, value: bytes) -> None:
        pass

    def on_message_complete(self) -> None:
        pass


def httptools_with(receiver: type) -> dict[str, Any]:
    import httptools

    return {"feed": httptools.HttpRequestParser(receiver()).feed_data, "data": REQUEST}


def h11_server() -> dict[str, Any]:
    import h11

    def parse() -> None:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(REQUEST)
        while connection.next_event() is not h11.PAUSED:
            if connection.their_state is h11.DONE:
                break

    return {"parse": parse}


CASES = [
    Case("parse 606 B", "meshcore feed, all events", "for _ in feed(data): pass", meshcore_events),
    Case(
        "parse 606 B",
        "meshcore messages, all headers",
        "for m in messages(data): m.headers",
        meshcore_messages,
    ),
    Case("parse 606 B", "meshcore messages", "for m in messages(data): m", meshcore_messages),
    Case("parse 606 B", "httptools no callbacks", "feed(data)", lambda: httptools_with(object)),
    Case("parse 606 B", "httptools empty", "feed(data)", lambda: httptools_with(Silent)),
    Case("parse 606 B", "httptools collecting", "feed(data)", lambda: httptools_with(Collector)),
    Case("parse 606 B", "h11", "parse()", h11_server),
]
