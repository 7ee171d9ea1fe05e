"""What traffic notices of great memberships being updated: its p99 with and without.

    python -m bench.updates [seconds]

One worker proxies to nginx while, on the control side, another cluster gets new hosts over and
over: one host of 10 000 changes, with weights and with a Maglev table, and all of 100 000 endpoints
are applied again with other weights. What an update computes needs a core that load, worker and
origin want too: how much of a change that alone makes is shown by the row with a busy stranger. A
table before it has the CPU time that the control side and a worker spend on such a change
(bench/micro/adoption.c).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "py"))

import clients
import peers

import meshcore
from bench.table import table

ROOT = Path(__file__).parents[1]
V3 = "type.googleapis.com/envoy.extensions.filters"


def endpoints(count: int, turn: int, *, all_change: bool = False) -> bytes:
    """A ClusterLoadAssignment; `turn` decides the weight of the first host, or of all."""
    items = [
        {
            "endpoint": {
                "address": {
                    "socket_address": {
                        "address": f"10.{i // 62500}.{i // 250 % 250}.{i % 250 + 1}",
                        "port_value": 80,
                    }
                }
            },
            "load_balancing_weight": 1 + (i + turn * (all_change or i == 0)) % 5,
        }
        for i in range(count)
    ]
    return json.dumps({"endpoints": [{"lb_endpoints": items}]}).encode()


def bootstrap(origin: int, policy: str) -> dict[str, Any]:
    manager = {
        "@type": f"{V3}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{V3}.http.router.v3.Router"}}
        ],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": origin}}
    hosts = {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "main",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                    "filter_chains": [
                        {"filters": [{"name": "hcm", "typed_config": manager}]},
                    ],
                }
            ],
            "clusters": [
                {"name": "origin", "load_assignment": {"cluster_name": "origin", **hosts}},
                {
                    "name": "fleet",
                    "lb_policy": policy,
                    "common_lb_config": {"update_merge_window": "0s"},
                },
            ],
        }
    }


@contextlib.contextmanager
def busy_stranger() -> Iterator[None]:
    """A program that has nothing to do with the gateway and takes all it is given of a core."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def measure(
    origin: int, policy: str, variants: list[bytes], seconds: float
) -> tuple[clients.Load, int]:
    """Load on the gateway while the fleet gets one variant after the other; how often it did."""
    updates = 0
    stop = threading.Event()
    with meshcore.Gateway(bootstrap(origin, policy), workers=1) as gateway:
        port = gateway.listeners["main"][1]
        run = gateway._run
        assert run is not None

        def one(number: int) -> None:
            run.engine.set_assignment("fleet", variants[number % len(variants)])
            done.set()

        done = threading.Event()

        def work() -> None:
            nonlocal updates
            while variants and not stop.wait(0.05):
                done.clear()
                run.loop.call_soon_threadsafe(one, updates)
                done.wait(30)
                updates += 1

        thread = threading.Thread(target=work)
        thread.start()
        clients.wrk(port, connections=8, seconds=1)
        load = clients.wrk(port, connections=8, seconds=seconds)
        stop.set()
        thread.join()
    return load, updates


def adoption() -> str:
    program = "build/core/bench/micro/adoption"
    subprocess.run(["make", "--no-print-directory", "-s", program], cwd=ROOT, check=True)
    done = subprocess.run([ROOT / program], capture_output=True, text=True, check=True)
    head = ["policy", "hosts", "compiling us", "planning us", "worker, first us", "worker, then us"]
    return table([head, *(line.split() for line in done.stdout.splitlines())])


def main(arguments: list[str]) -> None:
    seconds = float(arguments[0]) if arguments else 5.0
    cases: list[tuple[str, str, list[bytes]]] = [
        ("no updates", "ROUND_ROBIN", []),
        (
            "one weight of 10 000, round robin",
            "ROUND_ROBIN",
            [endpoints(10_000, t) for t in range(2)],
        ),
        ("one weight of 10 000, Maglev", "MAGLEV", [endpoints(10_000, t) for t in range(2)]),
        (
            "100 000 endpoints, all weights",
            "ROUND_ROBIN",
            [endpoints(100_000, t, all_change=True) for t in range(2)],
        ),
    ]
    print(adoption(), end="\n\n", flush=True)
    rows = [["during", "updates", "requests/s", "p50 us", "p99 us"]]

    def add(name: str, load: clients.Load, updates: int) -> None:
        figures = (load.rate, load.p50_us, load.p99_us)
        rows.append([name, str(updates), *(f"{figure:.0f}" for figure in figures)])

    with peers.nginx_origin() as origin:
        for name, policy, variants in cases:
            add(name, *measure(origin.port, policy, variants, seconds))
        with busy_stranger():
            add("no updates, a busy stranger", *measure(origin.port, "ROUND_ROBIN", [], seconds))
    print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
