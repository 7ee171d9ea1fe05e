"""What clients notice when upstreams die, freeze, fail, return, leave and join: nothing.

Three nginx upstreams stand behind a gateway with ordinary retry and outlier settings; clients of
our own, each on one connection, ask without a pause and look at every answer. ``make chaos`` prints
the counts:

    phase     requests   failed   retried   late   slowest
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import peers
from bootstraps import bootstrap
from peers import Server

CLIENTS = 16
PER_TRY_S = 0.25
# A request is late when it took longer than this: an answer of nginx takes less than a millisecond.
LATE_S = PER_TRY_S / 2
# What a busy machine may add to a wait.
SLACK_S = 0.25

NGINX = """\
daemon off; master_process off; worker_processes 1; pid nginx.pid;
events { worker_connections 1024; }
http {
    access_log off; error_log stderr crit;
    keepalive_requests 100000;
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp;
    uwsgi_temp_path temp; scgi_temp_path temp;
    server {
        $listens
        location / {
            if (-f $directory/broken) { return 500; }
            return 200 "$name";
        }
    }
}
"""

GATEWAY = bootstrap(
    """\
- match: {prefix: /}
  route:
    cluster: web
    timeout: 5s
    retry_policy:
      retry_on: 5xx,connect-failure,reset
      num_retries: 3
      per_try_timeout: $per_try
      retry_host_predicate:
      - name: envoy.retry_host_predicates.previous_hosts
        typed_config:
          "@type": type.googleapis.com/$previous
      host_selection_retry_max_attempts: 5
""".replace("$previous", "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
    """\
- name: web
  type: EDS
  connect_timeout: 0.25s
  eds_cluster_config: {service_name: web, eds_config: {path_config_source: {path: $endpoints}}}
  circuit_breakers: {thresholds: [{max_retries: 100}]}
  common_lb_config: {update_merge_window: 0s}
  outlier_detection:
    consecutive_5xx: 5
    interval: 1s
    base_ejection_time: 2s
    max_ejection_percent: 50
""",
    top=peers.ADMIN,
)


@dataclass
class Answer:
    started: float
    took: float
    status: int  # 0: none


@dataclass
class Phase:
    """What clients saw while one thing happened."""

    name: str
    answers: list[Answer] = field(default_factory=list)
    retries: int = 0
    struck: float = 0.0  # when it happened

    @property
    def failed(self) -> int:
        return sum(answer.status != 200 for answer in self.answers)

    @property
    def late(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.took > LATE_S]

    @property
    def slowest(self) -> float:
        return max((answer.took for answer in self.answers), default=0.0)

    def line(self) -> str:
        return (
            f"{self.name:<10}{len(self.answers):>9}{self.failed:>9}{self.retries:>10}"
            f"{len(self.late):>7}{self.slowest * 1000:>9.0f} ms"
        )


class Fleet:
    """The upstreams, and the file that tells the gateway of them."""

    def __init__(self, endpoints: Path, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._endpoints = endpoints
        self.servers = [self.start() for _ in range(3)]
        self.tell([server.port for server in self.servers])

    def start(self, ports: int = 1) -> Server:
        more = [peers.free_port() for _ in range(ports - 1)]
        listens = "listen 127.0.0.1:$port;" + "".join(f"listen 127.0.0.1:{p};" for p in more)
        server = peers.nginx_config(
            NGINX.replace("$listens", listens), name="nginx", more=json.dumps(more)
        )
        self._stack.enter_context(server)
        return server

    def tell(self, ports: list[int]) -> None:
        kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
        hosts = [
            {
                "endpoint": {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}
                }
            }
            for port in ports
        ]
        resource = {"@type": kind, "cluster_name": "web", "endpoints": [{"lb_endpoints": hosts}]}
        fresh = self._endpoints.with_suffix(".new")
        fresh.write_text(json.dumps({"version_info": "1", "resources": [resource]}))
        os.replace(fresh, self._endpoints)

    def signal(self, index: int, number: signal.Signals) -> None:
        self.servers[index].process.send_signal(number)

    def kill(self, index: int) -> None:
        self.servers[index].process.kill()
        self.servers[index].process.wait()

    def again(self, index: int) -> None:
        """The same upstream, on its port, after it ended."""
        old = self.servers[index]
        self.servers[index] = peers.start_nginx(old.directory, old.values, ())
        self._stack.callback(self.servers[index].terminate)

    @contextlib.contextmanager
    def broken(self, index: int) -> Iterator[None]:
        mark = self.servers[index].directory / "broken"
        mark.touch()
        yield
        mark.unlink()


class Load:
    """Clients that ask without a pause."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers: list[Answer] = []

    async def client(self) -> None:
        request = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"
        reader = writer = None
        try:
            while True:
                started = time.perf_counter()
                status = 0
                try:
                    if writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    assert reader is not None
                    writer.write(request)
                    status = await read_answer(reader)
                except (OSError, asyncio.IncompleteReadError, ValueError):
                    if writer is not None:
                        writer.close()
                    writer = None
                self.answers.append(Answer(started, time.perf_counter() - started, status))
        finally:
            if writer is not None:
                writer.close()


async def read_answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


def counter(server: Server, name: str) -> int:
    import urllib.request

    url = f"http://127.0.0.1:{server.admin_port}/stats?filter=^{name}$"
    with urllib.request.urlopen(url) as answer:
        text: str = answer.read().decode()
    return int(text.rpartition(": ")[2] or 0)


Happening = Callable[[], Awaitable[None]]


class Chaos:
    def __init__(self, fleet: Fleet, gateway: Server, pause_s: float) -> None:
        self._fleet = fleet
        self._gateway = gateway
        self._pause_s = pause_s
        self.phases: list[Phase] = []

    async def run(self) -> list[Phase]:
        load = Load(self._gateway.port)
        clients = [asyncio.create_task(load.client()) for _ in range(CLIENTS)]
        try:
            for happening in (
                self.nothing,
                self.kill,
                self.restart,
                self.freeze,
                self.fail,
                self.remove,
                self.add,
            ):
                await self._phase(load, happening)
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
        return self.phases

    async def _phase(self, load: Load, happening: Happening) -> None:
        phase = Phase(happening.__name__)
        load.answers = phase.answers
        before = await asyncio.to_thread(counter, self._gateway, "cluster.web.upstream_rq_retry")
        await asyncio.sleep(self._pause_s / 2)
        phase.struck = time.perf_counter()
        await happening()
        after = await asyncio.to_thread(counter, self._gateway, "cluster.web.upstream_rq_retry")
        phase.retries = after - before
        self.phases.append(phase)
        print(phase.line(), flush=True)

    async def _settle(self) -> None:
        await asyncio.sleep(self._pause_s)

    async def _healthy(self, hosts: int) -> None:
        """Until the gateway sends to that many hosts again."""
        for _ in range(200):
            found = await asyncio.to_thread(
                counter, self._gateway, "cluster.web.membership_healthy"
            )
            if found == hosts:
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{found} healthy hosts, not {hosts}")

    async def nothing(self) -> None:
        await self._settle()

    async def kill(self) -> None:
        self._fleet.kill(0)
        await self._settle()

    async def restart(self) -> None:
        """The dead one comes back; another one ends in good order and comes back too."""
        await asyncio.to_thread(self._fleet.again, 0)
        await self._healthy(3)
        self._fleet.signal(1, signal.SIGQUIT)
        await asyncio.to_thread(self._fleet.servers[1].process.wait)
        await asyncio.to_thread(self._fleet.again, 1)
        await self._settle()
        await self._healthy(3)

    async def freeze(self) -> None:
        self._fleet.signal(2, signal.SIGSTOP)
        await self._settle()
        self._fleet.signal(2, signal.SIGCONT)
        await self._healthy(3)

    async def fail(self) -> None:
        with self._fleet.broken(0):
            await self._settle()
        await self._healthy(3)

    async def remove(self) -> None:
        self._fleet.tell([server.port for server in self._fleet.servers[:2]])
        await self._healthy(2)
        await self._settle()
        self._fleet.kill(2)

    async def add(self) -> None:
        more = await asyncio.to_thread(self._fleet.start, 10)
        ports = [more.port, *json.loads(more.values["more"])]
        self._fleet.tell([server.port for server in self._fleet.servers[:2]] + ports)
        await self._healthy(12)
        await self._settle()


def faults(phases: list[Phase], slack_s: float = SLACK_S) -> list[str]:
    """What should not have been, on a machine that adds at most `slack_s` to a wait."""
    out = []
    for phase in phases:
        if phase.failed:
            statuses = sorted({answer.status for answer in phase.answers} - {200})
            out.append(f"{phase.name}: {phase.failed} requests failed ({statuses})")
        if phase.name == "freeze":
            # Before the host is taken out a request may wait for it once, no longer.
            worst = PER_TRY_S + slack_s
            slow = [a for a in phase.answers if a.took > worst]
            if slow:
                out.append(f"freeze: {len(slow)} requests took longer than {worst} s")
    return out


def chaos(pause_s: float, directory: Path) -> list[Phase]:
    """All of it; `pause_s` is the time that each state lasts."""
    endpoints = directory / "endpoints.json"
    with contextlib.ExitStack() as stack:
        fleet = Fleet(endpoints, stack)
        gateway = stack.enter_context(
            peers.meshcore(GATEWAY, endpoints=str(endpoints), per_try=f"{PER_TRY_S}s")
        )
        print(f"{'phase':<10}{'requests':>9}{'failed':>9}{'retried':>10}{'late':>7}{'slowest':>12}")
        return asyncio.run(Chaos(fleet, gateway, pause_s).run())


def main() -> int:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds that each state lasts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = faults(chaos(options.pause, Path(directory)))
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
