"""One cluster takes another's place under load, with the routes that name them: in the safe order
nobody notices, in the unsafe order clients see what Envoy would answer, until the routes follow."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
from upstreams import Behaviour, Upstream, respond
from waiting import wait_until

import meshcore

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

Start = Callable[[Behaviour], Upstream]


class Load:
    """Two clients that ask until they are told to stop; what they got, by status and body."""

    def __init__(self, port: int) -> None:
        self.seen: Counter[tuple[int, bytes]] = Counter()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(port,)) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _run(self, port: int) -> None:
        while not self._stop.is_set():
            reply = clients.fetch(port, "/")
            with self._lock:
                self.seen[reply.status, reply.body] += 1

    def until(self, answer: tuple[int, bytes], more: int = 10) -> None:
        with self._lock:
            wanted = self.seen[answer] + more
        wait_until(lambda: self.seen[answer] >= wanted, every_s=0.001)

    def stop(self) -> Counter[tuple[int, bytes]]:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.seen


def config(port: int, clusters: dict[str, int], route: str) -> dict[str, Any]:
    out = proxy_to(1)
    resources = out["static_resources"]
    template = resources["clusters"].pop()
    for name, upstream_port in clusters.items():
        address = {"address": "127.0.0.1", "port_value": upstream_port}
        endpoint = {"endpoint": {"address": {"socket_address": address}}}
        resources["clusters"].append(
            {
                **template,
                "name": name,
                "load_assignment": {
                    "cluster_name": name,
                    "endpoints": [{"lb_endpoints": [endpoint]}],
                },
            }
        )
    listener = resources["listeners"][0]
    listener["address"]["socket_address"]["port_value"] = port
    routes = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
    # The routes of a running system come after the clusters or before them.
    routes["validate_clusters"] = False
    routes["virtual_hosts"][0]["routes"][0]["route"] = {"cluster": route}
    return out


def test_the_safe_order(upstream: Start) -> None:
    old, new = upstream(respond(200, b"old")), upstream(respond(200, b"new"))
    with meshcore.Gateway(config(0, {"a": old.port}, "a"), workers=2) as gateway:
        port = gateway.listeners["main"][1]
        load = Load(port)
        load.until((200, b"old"))
        gateway.update(config(port, {"a": old.port, "b": new.port}, "a"))
        gateway.update(config(port, {"a": old.port, "b": new.port}, "b"))
        load.until((200, b"new"))
        gateway.update(config(port, {"b": new.port}, "b"))
        load.until((200, b"new"))
        seen = load.stop()
        assert set(seen) == {(200, b"old"), (200, b"new")}
        assert gateway.stats.counter("http.ingress_http.no_cluster").value == 0


def test_the_unsafe_order(upstream: Start) -> None:
    old, new = upstream(respond(200, b"old")), upstream(respond(200, b"new"))
    with meshcore.Gateway(config(0, {"a": old.port}, "a"), workers=2) as gateway:
        port = gateway.listeners["main"][1]
        load = Load(port)
        load.until((200, b"old"))
        gateway.records()
        gateway.update(config(port, {"b": new.port}, "a"))
        load.until((503, b""))
        flags = {record["flags"] for record in gateway.records() if record["status"] == 503}
        assert flags == {"NC"}
        gateway.update(config(port, {"b": new.port}, "b"))
        load.until((200, b"new"))
        seen = load.stop()
        assert set(seen) == {(200, b"old"), (503, b""), (200, b"new")}
        assert clients.fetch(port, "/").body == b"new"


def test_requests_under_way_end_where_they_began(upstream: Start) -> None:
    import asyncio

    release = threading.Event()

    async def slow(exchange: Any) -> None:
        while not release.is_set():
            await asyncio.sleep(0.01)
        await respond(200, b"old")(exchange)

    old, new = upstream(slow), upstream(respond(200, b"new"))
    with meshcore.Gateway(config(0, {"a": old.port}, "a"), workers=1) as gateway:
        port = gateway.listeners["main"][1]
        got: list[bytes] = []
        waiting = threading.Thread(target=lambda: got.append(clients.fetch(port, "/").body))
        waiting.start()
        wait_until(lambda: old.requests)
        gateway.update(config(port, {"b": new.port}, "b"))
        assert clients.fetch(port, "/").body == b"new"
        release.set()
        waiting.join()
        assert got == [b"old"]
