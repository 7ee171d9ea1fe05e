"""Rounds of load against running proxies, and what each round cost."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import clients
import peers

from bench.proxy.accounts import SystemCalls, best_method, cpu_time, machine_busy, memory
from bench.proxy.contestants import Contestant

CONNECTIONS = 64
SMALL = b"x" * 128
BIG = b"x" * 100_000
TEN_HEADERS = [(f"x-extra-header-{i}", f"{i}" * 88) for i in range(10)]

# A proxy that has less to do waits more often, and each wait costs. At one rate for all that is the
# same for all; a proxy of C keeps up with this one on one core.
RATE = 16_000

# A round is disturbed when programs that are not ours took more than this share of the machine.
DISTURBED = 0.03
REDO_LIMIT = 3


@dataclass(frozen=True)
class Scenario:
    """A kind of request; its cost is counted per `unit`, of which a request has `units`."""

    name: str
    title: str
    target: str = "/"
    headers: Sequence[tuple[str, str]] = ()
    unit: str = "request"
    units: float = 1.0
    rate: int | None = None  # requests/s offered by all connections together; None: what is taken


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("keepalive", "kept connections, 128-byte bodies"),
        Scenario("rate", f"the same rate offered to all, {RATE:,} requests/s", rate=RATE),
        Scenario("headers", "ten more request headers (1 KB)", headers=TEN_HEADERS),
        Scenario("bodies", "100 KB bodies", "/big", unit="MB", units=len(BIG) / 1e6),
        Scenario("connections", "a new connection per request", headers=[("Connection", "close")]),
    )
}


@dataclass(frozen=True)
class Round:
    """One round of load on one proxy. Times per unit are microseconds."""

    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float
    user_us: float
    system_us: float
    busy: float  # share of the time in which the proxy was running
    errors: int
    disturbance: float  # share of the machine that programs other than ours took


@dataclass
class Outcome:
    """All rounds of one proxy in one scenario."""

    rounds: list[Round] = field(default_factory=list)
    redone: int = 0
    system_calls: float | None = None  # by perf; None where it may not count
    traced_calls: float | None = None  # by strace

    def values(self, figure: str) -> list[float]:
        return [getattr(r, figure) for r in self.rounds]

    def median(self, figure: str) -> float:
        return statistics.median(self.values(figure))

    def spread(self, figure: str) -> float:
        """Half the distance from the lowest to the highest round, as a share of the median."""
        values = self.values(figure)
        return (max(values) - min(values)) / 2 / self.median(figure)

    def figures(self) -> dict[str, object]:
        names = ("rate", "p50_us", "p99_us", "cpu_us", "user_us", "system_us", "busy")
        return {
            **{name: self.median(name) for name in names},
            "cpu_spread": self.spread("cpu_us"),
            "errors": sum(r.errors for r in self.rounds),
            "redone": self.redone,
            "disturbance": max(r.disturbance for r in self.rounds),
            "system_calls": self.system_calls,
            "traced_calls": self.traced_calls,
            "rounds": [asdict(r) for r in self.rounds],
        }


@dataclass(frozen=True)
class Footprint:
    """Memory of a proxy: resident after the load, and user memory for each idle client."""

    rss: int
    per_idle_connection: float
    idle_connections: int


class Bench:
    """The origin and the proxies, all running until the end of the `with` block."""

    def __init__(self, proxy_core: int, load_core: int) -> None:
        self.on_proxy_core = pinned(proxy_core)
        self.on_load_core = pinned(load_core)
        self.proxies: dict[str, peers.Server] = {}
        self.failed: dict[str, str] = {}
        self._stack = ExitStack()
        raise_file_limit()

    def __enter__(self) -> Self:
        files = {"/big": BIG}
        self.origin = self._stack.enter_context(
            peers.nginx_origin(SMALL, files=files, prefix=self.on_load_core)
        )
        self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self, contestants: Sequence[Contestant]) -> None:
        """Start the proxies; one that cannot start is noted and left out."""
        for contestant in contestants:
            try:
                server = contestant.start(self.origin.port, self.on_proxy_core)
            except (peers.StartError, peers.MissingToolError) as error:
                self.failed[contestant.name] = str(error).strip()
            else:
                self.proxies[contestant.name] = self._stack.enter_context(server)

    def run(
        self,
        scenario: Scenario,
        rounds: int,
        seconds: float,
        progress: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Outcome]:
        """`rounds` interleaved rounds of one scenario, after a short one that warms up."""
        outcomes = {name: Outcome() for name in self.proxies}
        for server in self.proxies.values():
            self.load(server, scenario, 1)
        for number in range(rounds):
            for name, server in self.proxies.items():
                progress(f"{scenario.name}: round {number + 1} of {rounds}: {name}")
                self._quiet_round(outcomes[name], server, scenario, seconds)
        for name, server in self.proxies.items():
            progress(f"{scenario.name}: system calls: {name}")
            if best_method() == "perf":
                outcomes[name].system_calls = self.count_system_calls(server, scenario, "perf")
            outcomes[name].traced_calls = self.count_system_calls(server, scenario, "strace")
        return outcomes

    def _quiet_round(
        self, outcome: Outcome, server: peers.Server, scenario: Scenario, seconds: float
    ) -> None:
        """A round that nothing disturbed, or the least disturbed one of some."""
        tries = [self.round(server, scenario, seconds)]
        while tries[-1].disturbance > DISTURBED and len(tries) <= REDO_LIMIT:
            tries.append(self.round(server, scenario, seconds))
        outcome.redone += len(tries) - 1
        outcome.rounds.append(min(tries, key=lambda r: r.disturbance))

    def round(self, server: peers.Server, scenario: Scenario, seconds: float) -> Round:
        """One round of load and its accounts."""
        pids = (server.process.pid, self.origin.process.pid)
        busy, wrk = machine_busy(), resource.getrusage(resource.RUSAGE_CHILDREN)
        before = [cpu_time(pid) for pid in pids]
        load = self.load(server, scenario, seconds)
        proxy, origin = (cpu_time(pid) - then for pid, then in zip(pids, before, strict=True))
        done = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = proxy.total + origin.total
        ours += done.ru_utime + done.ru_stime - wrk.ru_utime - wrk.ru_stime
        others = machine_busy() - busy - ours
        # A round without one answer costs as much as one, and is run again.
        units = max(1, load.requests) * scenario.units
        if load.requests == 0:
            others = load.duration_s * (os.cpu_count() or 1)
        return Round(
            rate=load.rate,
            p50_us=load.p50_us,
            p99_us=load.p99_us,
            cpu_us=proxy.total / units * 1e6,
            user_us=proxy.user / units * 1e6,
            system_us=proxy.system / units * 1e6,
            busy=proxy.total / load.duration_s,
            errors=load.errors,
            disturbance=max(0.0, others / (load.duration_s * (os.cpu_count() or 1))),
        )

    def load(self, server: peers.Server, scenario: Scenario, seconds: float) -> clients.Load:
        """Load from wrk on the load core; at a given rate from h2load, without percentiles."""
        if scenario.rate is not None:
            return clients.h2load_at(
                server.port,
                scenario.target,
                rate=scenario.rate,
                connections=CONNECTIONS,
                seconds=seconds,
                prefix=self.on_load_core,
            )
        command = clients.wrk_command(
            f"http://127.0.0.1:{server.port}{scenario.target}",
            self._scratch / "report.lua",
            connections=CONNECTIONS,
            seconds=seconds,
            headers=scenario.headers,
        )
        done = subprocess.run(
            [*self.on_load_core, *command], capture_output=True, text=True, check=True
        )
        return clients.wrk_result(done.stdout)

    def count_system_calls(self, server: peers.Server, scenario: Scenario, method: str) -> float:
        """System calls per request in a short round of its own."""
        counter = SystemCalls(server.process.pid, method)
        load = self.load(server, scenario, 1)
        return counter.stop() / max(1, load.requests)

    def footprint(self, contestant: Contestant) -> Footprint:
        """Memory of a fresh server, then with idle clients that have each had one answer."""
        resident = memory(self.proxies[contestant.name].process.pid).rss
        wanted = contestant.idle_connections
        with ExitStack() as open_clients:
            server = open_clients.enter_context(
                contestant.start(self.origin.port, self.on_proxy_core)
            )

            def open_idle(count: int) -> None:
                for _ in range(count):
                    client = open_clients.enter_context(closing(clients.Connection(server.port)))
                    if client.request("/").body != SMALL:
                        raise RuntimeError(f"{contestant.name} gave a wrong answer")

            open_idle(CONNECTIONS)
            before = memory(server.process.pid).pss
            open_idle(wanted)
            used = memory(server.process.pid).pss - before
        return Footprint(resident, used / wanted, wanted)


def pinned(core: int) -> list[str]:
    return [peers.tool("taskset"), "-c", str(core)]


def raise_file_limit() -> None:
    """Idle clients take a descriptor each, here and in the proxy, which inherits the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
