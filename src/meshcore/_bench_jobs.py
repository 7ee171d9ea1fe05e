"""The calls whose cost ``meshcore bench`` takes.

Apart from bench.py because it also runs under callgrind, where every import takes fifty times as
long: it imports nothing before a job needs it.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Call = Callable[[], Any]

REQUEST = (
    b"GET /static/css/site.min.css?v=20240611 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/125.0 Safari/537.36\r\n"
    b"Accept: text/css,*/*;q=0.1\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    b"\r\n"
)


def _parse() -> Call:
    from meshcore.http1 import RequestParser

    feed = RequestParser().feed
    return lambda: list(feed(REQUEST))


def _match(size: int) -> Call:
    from meshcore import RouteTable

    routes = [
        {
            "match": {"prefix": f"/api/service{i}/"} if i % 2 else {"path": f"/api/service{i}"},
            "route": {"cluster": f"service{i}"},
        }
        for i in range(size)
    ]
    table = RouteTable({"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": routes}]})
    path = f"/api/service{size - 1}/items/7"
    headers = [(":method", "GET"), (":authority", "www.example.com"), (":path", path)]
    return lambda: table.match(headers)


def _pick(table: str) -> Call:
    import meshcore

    pick = getattr(meshcore, table)([(f"10.0.0.{i}:80", 1 + i % 3) for i in range(100)]).pick
    return lambda: pick(0x9E3779B97F4A7C15)


def _schedule() -> Call:
    from meshcore import EdfScheduler

    return EdfScheduler([(1 + i % 10, i) for i in range(100)]).pick


def _hash() -> Call:
    from meshcore import xxh64

    data = bytes(1024)
    return lambda: xxh64(data)


def _count() -> Call:
    from meshcore.stats import Store

    return Store().counter("bench.counter").inc


def _record() -> Call:
    from meshcore.stats import Store

    record = Store().histogram("bench.histogram").record
    return lambda: record(137)


JOBS: dict[str, Callable[[], Call]] = {
    "parse": _parse,
    "match_10": lambda: _match(10),
    "match_1000": lambda: _match(1000),
    "pick_ring": lambda: _pick("RingHash"),
    "pick_maglev": lambda: _pick("Maglev"),
    "pick_edf": _schedule,
    "xxh64_1k": _hash,
    "counter_inc": _count,
    "histogram_record": _record,
}


def repeat(job: str, count: int) -> None:
    """Prepare a job and call it `count` times: what runs under callgrind."""
    call = JOBS[job]()
    for _ in range(count):
        call()
