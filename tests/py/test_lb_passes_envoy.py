"""Beside a real Envoy: which hosts are passed over, by retries and for their load."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import peers
import pytest
from test_lb_envoy import configuration
from waiting import wait_until

import meshcore

pytestmark = pytest.mark.oracle

RETRY = "type.googleapis.com/envoy.extensions.retry"
KEYS = 8
STATUSES = ["HEALTHY", "HEALTHY", "HEALTHY", "UNHEALTHY", "DEGRADED", "DRAINING"]


class Origin(ThreadingHTTPServer):
    """Notes where each request came to; answers 503, or nothing until it is let go."""

    request_queue_size = 200
    daemon_threads = True

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = defaultdict(list)
        self.go = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer.seen[self.headers["x-id"]].append(self.connection.getsockname()[0])
                outer.go.wait()
                self.send_response(503)
                self.send_header("content-length", "0")
                self.end_headers()

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle()

            def log_message(self, *arguments: object) -> None:
                pass

        super().__init__(("0.0.0.0", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.go.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as server:
        yield server


def endpoint(r: random.Random, address: str, port: int) -> dict[str, Any]:
    labels: dict[str, Any] = {}
    if r.random() < 0.3:
        labels["canary"] = True
    if r.random() < 0.4:
        labels["a"] = r.choice(["x", "y", ["x", "z"], 1])
    return {
        "endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}},
        "health_status": r.choice(STATUSES),
        "load_balancing_weight": r.choice([1, 1, 2, 5, 20]),
        "metadata": {"filter_metadata": {"envoy.lb": labels}},
    }


def cluster(seed: int, port: int) -> dict[str, Any]:
    r = random.Random(seed)
    groups = []
    for priority in range(r.choice([1, 1, 2])):
        addresses = [f"127.0.{seed}.{priority * 100 + n}" for n in range(1, r.choice([3, 6, 12]))]
        ends = [endpoint(r, address, port) for address in addresses]
        groups.append({"priority": priority, "lb_endpoints": ends})
    return {
        "lb_policy": r.choice(["RING_HASH", "MAGLEV"]),
        "load_assignment": {"cluster_name": "fleet", "endpoints": groups},
        "common_lb_config": {"healthy_panic_threshold": {"value": r.choice([0, 50])}},
        "maglev_lb_config": {"table_size": 251},
    }


def retry_policy(seed: int) -> dict[str, Any]:
    r = random.Random(seed)
    labels = {"filter_metadata": {"envoy.lb": {"a": r.choice(["x", "z", 1])}}}
    kinds: list[dict[str, Any]] = [
        {"@type": f"{RETRY}.host.previous_hosts.v3.PreviousHostsPredicate"},
        {"@type": f"{RETRY}.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate"},
        {
            "@type": f"{RETRY}.host.omit_host_metadata.v3.OmitHostMetadataConfig",
            "metadata_match": labels,
        },
    ]
    predicates = [
        {"name": f"predicate-{number}", "typed_config": kind}
        for number, kind in enumerate(kinds)
        if r.random() < 0.6
    ]
    interval = {"base_interval": "0.001s", "max_interval": "0.001s"}
    attempts = {"host_selection_retry_max_attempts": r.choice([1, 2, 5])}
    return {
        "retry_on": "5xx",
        "num_retries": 3,
        "retry_back_off": interval,
        "retry_host_predicate": predicates,
        **(attempts if r.random() < 0.8 else {}),
    }


def routes_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    routes: list[dict[str, Any]] = manager["typed_config"]["route_config"]["virtual_hosts"][0][
        "routes"
    ]
    return routes


def test_retries_go_to_the_same_hosts(origin: Origin) -> None:
    origin.go.set()
    names = [f"c{seed}" for seed in range(1, 21)]
    config = configuration({name: cluster(int(name[1:]), origin.server_port) for name in names})
    for seed, route in enumerate(routes_of(config), 1):
        route["route"] |= {"retry_policy": retry_policy(seed), "timeout": "0s"}
    found = []
    for start in (peers.meshcore, peers.envoy):
        with start(config) as server:
            client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            for name in names:
                for key in range(KEYS):
                    headers = {"x-key": f"user-{key}", "x-id": f"{name} {key}"}
                    client.request("GET", f"/{name}/", headers=headers)
                    client.getresponse().read()
            client.close()
        found.append(dict(origin.seen))
        origin.seen.clear()
    assert found[0] == found[1]
    assert any(len(set(hosts)) > 1 for hosts in found[0].values())


@pytest.mark.parametrize("start", [peers.meshcore, peers.envoy], ids=["meshcore", "envoy"])
def test_bounded_load_passes_over_the_same_hosts(origin: Origin, start: Any) -> None:
    """Requests that nobody answers are in progress; the balancer alone says where they are."""
    clusters: dict[str, dict[str, Any]] = {}
    for seed in range(1, 7):
        made = cluster(seed, origin.server_port)
        factor = {"hash_balance_factor": [100, 110, 150][seed % 3]}
        made["common_lb_config"]["consistent_hashing_lb_config"] = factor
        clusters[f"c{seed}"] = made
    keys = [f"user-{number % 3}" for number in range(12)]
    config = configuration(clusters)
    for route in routes_of(config):
        route["route"]["timeout"] = "0s"
    with start(config) as server, contextlib.ExitStack() as open_:
        for name, made in clusters.items():
            balancer = meshcore.LoadBalancer(made)
            for number, key in enumerate(keys):
                host = balancer.choose(key)
                if host is None:
                    continue
                balancer.add_active_requests(host, 1)
                client = socket.create_connection(("127.0.0.1", server.port))
                open_.enter_context(client)
                mark = f"{name} {number}"
                head = f"GET /{name}/ HTTP/1.1\r\nhost: a\r\nx-key: {key}\r\nx-id: {mark}\r\n\r\n"
                client.sendall(head.encode())
                wait_until(lambda mark=mark: origin.seen[mark])
                assert origin.seen[mark] == [host.address.split(":")[0]], mark
        origin.go.set()
