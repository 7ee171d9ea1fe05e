"""The demonstration: two small upstreams, the gateway on an ordinary Envoy YAML, real traffic.

    python examples/demo.py [front_proxy.yaml]

Ends by itself; the exit status is 1 when something was not as it should be.
"""

from __future__ import annotations

import asyncio
import collections
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
LOAD_S = 1


def main() -> int:
    config = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "front_proxy.yaml"
    with tempfile.TemporaryDirectory() as directory:
        return Demo(config, Path(directory)).run()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Demo:
    def __init__(self, config: Path, directory: Path) -> None:
        # The file's ports may be taken on this machine: the demo runs on free ones.
        self.admin, self.front, self.blue, self.green = free_ports(4)
        text = config.read_text()
        free = (self.admin, self.front, self.blue, self.green)
        for old, new in zip((9901, 10000, 10001, 10002), free, strict=True):
            text = text.replace(f"port_value: {old}", f"port_value: {new}")
        self.path = directory / config.name
        self.path.write_text(text)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.faults = 0

    def run(self) -> int:
        try:
            print(
                f"meshcore serves {self.path.name}: two upstreams, a listener, an admin interface"
            )
            blue = self.start("examples/upstream.py", "blue", self.blue)
            self.start("examples/upstream.py", "green", self.green)
            gateway = self.start(
                "-m", "meshcore", "run", "-c", self.path, "--concurrency", 1, "-l", "warning"
            )
            for port in (self.blue, self.green, self.front, self.admin):
                self.wait_for(port, gateway)
            self.routing()
            self.weights()
            self.load()
            self.kill(blue)
            self.counters()
            gateway.terminate()
            status = gateway.wait(30)
            self.expect(f"SIGTERM drains and exits {status}", status == 0)
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
        print("\nall as it should be" if not self.faults else f"\n{self.faults} things were wrong")
        return min(self.faults, 1)

    # --- parts -----------------------------------------------------------------------------------

    def start(self, *command: object) -> subprocess.Popen[bytes]:
        root = HERE.parent
        process = subprocess.Popen([sys.executable, *map(str, command)], cwd=root)
        self.processes.append(process)
        return process

    def wait_for(self, port: int, gateway: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and gateway.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"nothing listens on port {port}")

    def curl(self, path: str, host: str = "shop.example") -> tuple[int, str, str]:
        """Status, location header and body, by curl."""
        done = subprocess.run(
            ["curl", "-sS", "-w", "\n%{http_code} %{redirect_url}", "-H", f"host: {host}",
             f"http://127.0.0.1:{self.front}{path}"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        body, _, tail = done.stdout.rpartition("\n")
        status, _, location = tail.partition(" ")
        return int(status), location, body.strip()

    def expect(self, what: str, good: bool) -> None:
        print(f"  {'ok ' if good else 'BAD'} {what}")
        self.faults += not good

    def routing(self) -> None:
        print("routing by host and path")
        status, _, body = self.curl("/health")
        self.expect(f"shop.example/health       {status} {body}", (status, body) == (200, "ok"))
        status, location, _ = self.curl("/old/page")
        moved = status == 301 and location.endswith("/new/page")
        self.expect(f"shop.example/old/page     {status} -> {location}", moved)
        status, _, body = self.curl("/blue/shirt")
        self.expect(f"shop.example/blue/shirt   {status} {body}", body == "blue /shirt")
        status, _, body = self.curl("/anything", "other.example")
        self.expect(f"other.example/anything    {status} {body}", status == 200)

    def weights(self) -> None:
        print("weights 80 to 20, 400 requests")
        seen = collections.Counter(asyncio.run(self.fetch_many("/", 400)))
        blue = seen["blue"]
        fair = 270 <= blue <= 370 and blue + seen["green"] == 400
        self.expect(f"blue {blue}, green {seen['green']}", fair)

    async def fetch_many(self, path: str, count: int, host: str = "shop.example") -> list[str]:
        """The first word of each answer, or its status when it is no 200; over one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.front)
        out = []
        for _ in range(count):
            writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            body = (await reader.readexactly(int(fields.get("content-length", 0)))).decode()
            out.append(body.split()[0] if " 200 " in head.splitlines()[0] else head.split()[1])
        writer.close()
        return out

    def load(self) -> None:
        print(f"a load of {LOAD_S} s on a direct response")
        if shutil.which("wrk") is None:
            count = len(asyncio.run(self.fetch_many("/health", 5000)))
            self.expect(f"{count} requests, one connection (wrk is not installed)", count == 5000)
            return
        done = subprocess.run(
            ["wrk", "-t1", "-c32", f"-d{LOAD_S}s", "-H", "Host: shop.example",
             f"http://127.0.0.1:{self.front}/health"],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        rate = next(line.split()[1] for line in done.stdout.splitlines() if "Requests/sec" in line)
        self.expect(f"{rate} requests a second, 32 connections", "Non-2xx" not in done.stdout)

    def kill(self, blue: subprocess.Popen[bytes]) -> None:
        print("the upstream blue is killed")
        blue.kill()
        blue.wait()
        status, _, body = self.curl("/blue/shirt")
        self.expect(f"a cluster without it reports: {status} {body[:48]}...", status == 503)
        seen = collections.Counter(asyncio.run(self.fetch_many("/", 50, "other.example")))
        self.expect(f"another host is retried: {dict(seen)}", seen == {"green": 50})

    def counters(self) -> None:
        print("counters")
        url = f"http://127.0.0.1:{self.admin}/stats?format=json&usedonly"
        with urllib.request.urlopen(url) as page:
            stats = {s["name"]: s["value"] for s in json.load(page)["stats"] if "value" in s}
        for name in (
            "http.front.downstream_rq_total",
            "http.front.downstream_rq_2xx",
            "http.front.downstream_rq_3xx",
            "http.front.downstream_rq_5xx",
            "cluster.blue.upstream_rq_200",
            "cluster.green.upstream_rq_200",
            "cluster.both.upstream_rq_retry",
            "cluster.both.upstream_rq_retry_success",
            "cluster.blue.upstream_cx_connect_fail",
            "http.front.response_flags.UF",
        ):
            print(f"      {name:45} {stats.get(name, 0):>9}")
        self.expect("nothing is left open", stats.get("http.front.downstream_rq_active", 0) == 0)


if __name__ == "__main__":
    sys.exit(main())
