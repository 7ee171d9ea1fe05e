"""Useful work of a service that is offered more than it can do, with and without protection.

    python -m bench.goodput [seconds [rounds]]     prints the table
    python -m bench.goodput 4 3 --write            and writes docs/goodput.svg, docs/overload.md

The service spends COST_MS of CPU on every request, on all cores, at a lower priority than the
gateway before it: the CPU is what runs short. Requests arrive by chance whether or not earlier ones
are answered (open loop), and an answer is useful if it is a 200 within DEADLINE_MS; then the client
goes away, of which the service learns nothing. 100 % is what the service does at its best.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import re
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import meshcore
from bench.table import machine, markdown, put_block, table

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, PICTURE = DOCS / "overload.md", DOCS / "goodput.svg"
V3 = "type.googleapis.com/envoy"
HTTP = f"{V3}.extensions.filters.http"
# The queue that forms before a limit is at work takes a while to be worked off.
COST_MS, DEADLINE_MS, WARM_S = 10, 250, 10.0
LOADS = [0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0]
REQUEST = b"GET / HTTP/1.1\r\nhost: service\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

LENGTH = re.compile(rb"(?i)\ncontent-length: (\d+)\r\n(?:.*?\r\n)?\r\n", re.S)

# --- the service ----------------------------------------------------------------------------------


def spin() -> None:
    """COST_MS of CPU, whatever the host gives a core at the moment."""
    end = time.process_time() + COST_MS / 1000
    while time.process_time() < end:
        pass


def work(listening: socket.socket) -> None:
    """One process of the service: requests one after another, each for COST_MS of CPU."""
    os.nice(10)
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            sock: Any = key.fileobj
            if sock is listening:
                accepted, _ = listening.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(accepted, selectors.EVENT_READ)
            elif not serve(sock):
                selector.unregister(sock)
                sock.close()


def serve(sock: socket.socket) -> bool:
    try:
        if not sock.recv(4096):
            return False
        spin()
        sock.sendall(REPLY)
    except OSError:  # the gateway gave the request up: the work was for nothing
        return False
    return True


@contextmanager
def service() -> Iterator[int]:
    """Its port."""
    processes = []
    port = 0
    for _ in os.sched_getaffinity(0):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(4096)
        port = listening.getsockname()[1]
        process = multiprocessing.get_context("fork").Process(target=work, args=(listening,))
        process.start()
        listening.close()
        processes.append(process)
    try:
        yield port
    finally:
        for process in processes:
            process.terminate()
            process.join()


# --- the gateway ----------------------------------------------------------------------------------

ADAPTIVE = {
    "name": "adaptive_concurrency",
    "typed_config": {
        "@type": f"{HTTP}.adaptive_concurrency.v3.AdaptiveConcurrency",
        "gradient_controller_config": {
            "concurrency_limit_params": {"concurrency_update_interval": "0.1s"},
            "min_rtt_calc_params": {"interval": "10s", "request_count": 25},
        },
    },
}
ADMISSION = {
    "name": "admission_control",
    "typed_config": {
        "@type": f"{HTTP}.admission_control.v3.AdmissionControl",
        "sampling_window": "2s",
        "success_criteria": {
            "http_criteria": {"http_success_status": [{"start": 100, "end": 500}]}
        },
        "max_rejection_probability": {"default_value": {"value": 95}},
    },
}
CPU_LIMIT = {
    "name": "cpu_limit",
    "typed_config": {"@type": "type.googleapis.com/meshcore.CpuLimit"},
}


@dataclass(frozen=True)
class Protection:
    name: str
    colour: str
    filters: tuple[dict[str, Any], ...] = ()


PROTECTIONS = [
    Protection("none", "#c00"),
    Protection("adaptive concurrency", "#06c", (ADAPTIVE,)),
    Protection("CPU-aware limit", "#080", (CPU_LIMIT,)),
    Protection("admission control", "#a60", (ADMISSION,)),
]


def bootstrap(port: int, protection: Protection) -> dict[str, Any]:
    def address(port: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    route = {"cluster": "service", "timeout": f"{DEADLINE_MS / 1000}s"}
    hosts = [{"match": {"prefix": "/"}, "route": route}]
    router = {"name": "router", "typed_config": {"@type": f"{HTTP}.router.v3.Router"}}
    manager = {
        "@type": f"{V3}.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "goodput",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": hosts}]},
        "http_filters": [*protection.filters, router],
    }
    listener = {
        "name": "main",
        "address": address(0),
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]
    cluster = {
        "name": "service",
        "load_assignment": {"cluster_name": "service", "endpoints": endpoints},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


# --- clients --------------------------------------------------------------------------------------


class Client(asyncio.Protocol):
    """One connection to the gateway, with one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[bool] | None = None
        self._came = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        length = LENGTH.search(self._came)
        if length is None or len(self._came) < length.end() + int(length[1]):
            return
        good, self._came = self._came.startswith(b"HTTP/1.1 200"), b""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(good)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(False)


@dataclass
class Load:
    """What became of requests that were offered."""

    port: int
    idle: list[Client] = field(default_factory=list)
    offered: int = 0
    good: int = 0
    counting: bool = False

    async def one(self) -> None:
        counted = self.counting
        self.offered += counted
        good = False
        client = None
        try:
            async with asyncio.timeout(DEADLINE_MS / 1000):
                client = await self.connected()
                client.answer = asyncio.get_running_loop().create_future()
                assert client.transport is not None
                client.transport.write(REQUEST)
                good = await client.answer
                self.idle.append(client)
        except (TimeoutError, OSError):
            if client is not None and client.transport is not None:
                client.transport.abort()
        self.good += counted and good

    async def connected(self) -> Client:
        while self.idle:
            client = self.idle.pop()
            if client.transport is not None:
                return client
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(Client, "127.0.0.1", self.port)
        return client

    async def offer(self, rate: float, seconds: float) -> None:
        """Requests at moments of chance, `rate` a second on average."""
        loop = asyncio.get_running_loop()
        draws = random.Random(7)
        at = loop.time()
        end = at + seconds
        tasks = set()
        while (at := at + draws.expovariate(rate)) < end:
            if (wait := at - loop.time()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self.one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def keep(self, count: int, seconds: float) -> float:
        """So many requests at a time; how many a second were answered."""
        end = time.monotonic() + seconds

        async def repeat() -> None:
            while time.monotonic() < end:
                await self.one()

        self.counting = True
        await asyncio.gather(*(repeat() for _ in range(count)))
        return self.good / seconds


async def measure(port: int, rate: float, seconds: float) -> float:
    """Useful answers a second."""
    load = Load(port)
    await load.offer(rate, WARM_S)
    load.counting = True
    await load.offer(rate, seconds)
    for client in load.idle:
        if client.transport is not None:
            client.transport.abort()
    return load.good / seconds


def capacity(seconds: float) -> float:
    """Requests a second of the service at its best, through the gateway."""
    with service() as port, meshcore.Gateway(bootstrap(port, PROTECTIONS[0]), workers=1) as gateway:
        load = Load(gateway.listeners["main"][1])
        return asyncio.run(load.keep(2 * len(os.sched_getaffinity(0)), seconds))


def goodput(protection: Protection, rate: float, seconds: float) -> float:
    """Each load has a service and a gateway of its own: nothing is left over from another."""
    with service() as port, meshcore.Gateway(bootstrap(port, protection), workers=1) as gateway:
        found = asyncio.run(measure(gateway.listeners["main"][1], rate, seconds))
        gateway.stop()
        return found


# --- what is shown --------------------------------------------------------------------------------

Points = dict[str, list[list[float]]]  # by protection, for each load: the share of each round
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 400, 60, 20, 40, 50


def rows(found: Points) -> list[list[str]]:
    out = [["protection", *(f"{load:g}x" for load in LOADS)]]
    for name, points in found.items():
        out.append([name, *(cell(shares) for shares in points)])
    return out


def cell(shares: list[float]) -> str:
    middle = f"{100 * statistics.median(shares):.0f} %"
    low, high = min(shares), max(shares)
    return middle if len(shares) == 1 else f"{middle} ({100 * low:.0f}-{100 * high:.0f})"


def picture(found: Points) -> str:
    """A line a protection, through the medians; a stroke from the least of a load to the most."""

    def x(load: float) -> float:
        return LEFT + load / LOADS[-1] * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - min(share, 1.1) / 1.1 * (HEIGHT - TOP - BOTTOM)

    def line(points: list[tuple[float, float]], style: str) -> str:
        at = " ".join(f"{x(load):.1f},{y(share):.1f}" for load, share in points)
        return f'<polyline points="{at}" fill="none" {style}/>'

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        "<title>Goodput against offered load</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20">useful answers, 100 % = the service at its best</text>',
    ]
    out.append(
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 10}" text-anchor="end">'
        "requests offered, in multiples of what the service can do</text>"
    )
    for tenths in range(0, 11, 2):
        at = y(tenths / 10)
        out.append(
            f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#ddd"/>'
        )
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tenths}0 %</text>')
    for load in range(6):
        out.append(
            f'<text x="{x(load):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{load}</text>'
        )
    best = [(0.0, 0.0), (1.0, 1.0), (LOADS[-1], 1.0)]
    out.append(line(best, 'stroke="#999" stroke-dasharray="4 4"'))
    for number, protection in enumerate(each for each in PROTECTIONS if each.name in found):
        points = found[protection.name]
        stroke = f'stroke="{protection.colour}" stroke-width="2"'
        medians = [statistics.median(shares) for shares in points]
        out.append(line([(0.0, 0.0), *zip(LOADS, medians, strict=True)], stroke))
        for load, shares in zip(LOADS, points, strict=True):
            out.append(line([(load, min(shares)), (load, max(shares))], stroke))
        at = HEIGHT - BOTTOM - 20 * (len(found) - number)
        out.append(line_key(protection, at))
    return "\n".join([*out, "</svg>"]) + "\n"


def line_key(protection: Protection, y: float) -> str:
    x, stroke = WIDTH - 200, f'stroke="{protection.colour}" stroke-width="2"'
    return (
        f'<line x1="{x}" y1="{y - 4}" x2="{x + 24}" y2="{y - 4}" {stroke}/>'
        f'<text x="{x + 32}" y="{y}">{protection.name}</text>'
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.goodput", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=4.0, help="of each load")
    parser.add_argument("rounds", nargs="?", type=int, default=1, help="seven minutes each")
    parser.add_argument("--write", action="store_true", help="into docs/")
    options = parser.parse_args()
    seconds, rounds = options.seconds, options.rounds
    found: Points = {each.name: [[] for _ in LOADS] for each in PROTECTIONS}
    for _ in range(rounds):
        best = capacity(seconds)
        print(f"the service does {best:.0f} requests a second", file=sys.stderr)
        for protection in PROTECTIONS:
            for index, load in enumerate(LOADS):
                share = goodput(protection, load * best, seconds) / best
                found[protection.name][index].append(share)
                print(f"{protection.name}, {load:g}x: {share:.2f}", file=sys.stderr)
    print(table(rows(found)))
    if options.write:
        here = machine()
        times = "one round" if rounds == 1 else f"{rounds} rounds"
        place = f"{here['processor']}, {here['cores']} cores, {times} of {seconds:g} s"
        text = f"![Useful answers against offered load](goodput.svg)\n\n{markdown(rows(found))}\n"
        put_block(PAGE, "goodput", f"{text}{place}.\n")
        PICTURE.write_text(picture(found))


if __name__ == "__main__":
    main()
