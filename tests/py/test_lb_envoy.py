"""Hash policies against a real Envoy: the same key goes to the same host."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import peers
import pytest

import meshcore

xxhash = pytest.importorskip("xxhash")

pytestmark = pytest.mark.oracle


class Handler(BaseHTTPRequestHandler):
    """Answers with the address it was reached at."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.connection.getsockname()[0].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def origin() -> Iterator[int]:
    """A port on which every address of 127.0.0.0/8 answers."""
    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def fleet(count: int, port: int) -> list[tuple[str, int]]:
    return [(f"127.0.0.{i + 1}:{port}", 1 + i * i % 7) for i in range(count)]


def configuration(hosts: list[tuple[str, int]], policy: dict[str, Any]) -> dict[str, Any]:
    v3 = "type.googleapis.com/envoy.extensions.filters"
    route = {"cluster": "fleet", "hash_policy": [{"header": {"header_name": "x-key"}}]}
    router = {"@type": f"{v3}.http.router.v3.Router"}
    manager = {
        "@type": f"{v3}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": route}],
                }
            ]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    name = "envoy.filters.network.http_connection_manager"
    endpoints = [
        {
            "endpoint": {
                "address": {
                    "socket_address": {
                        "address": address.split(":")[0],
                        "port_value": int(address.split(":")[1]),
                    }
                }
            },
            "load_balancing_weight": weight,
        }
        for address, weight in hosts
    ]
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": "$port"}},
                    "filter_chains": [{"filters": [{"name": name, "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "fleet",
                    "load_assignment": {
                        "cluster_name": "fleet",
                        "endpoints": [{"lb_endpoints": endpoints}],
                    },
                    **policy,
                }
            ],
        }
    }


CASES: list[tuple[str, dict[str, Any], Callable[[Any], Any]]] = [
    ("ring", {"lb_policy": "RING_HASH"}, meshcore.RingHash),
    (
        "murmur",
        {
            "lb_policy": "RING_HASH",
            "ring_hash_lb_config": {"hash_function": "MURMUR_HASH_2", "minimum_ring_size": 100},
        },
        lambda hosts: meshcore.RingHash(
            hosts, hash_function="MURMUR_HASH_2", minimum_ring_size=100
        ),
    ),
    ("maglev", {"lb_policy": "MAGLEV"}, meshcore.Maglev),
    (
        "small maglev",
        {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 251}},
        lambda hosts: meshcore.Maglev(hosts, table_size=251),
    ),
]


@pytest.mark.parametrize("count", [3, 50])
@pytest.mark.parametrize(("policy", "build"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_same_key_same_host(
    envoy: Callable[..., peers.Server],
    origin: int,
    policy: dict[str, Any],
    build: Callable[[Any], Any],
    count: int,
) -> None:
    hosts = fleet(count, origin)
    server = envoy(configuration(hosts, policy))
    table = build(hosts)
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    chosen = set()
    for number in range(250):
        key = f"user-{number}"
        client.request("GET", "/", headers={"x-key": key})
        answer = client.getresponse().read().decode()
        chosen.add(answer)
        assert f"{answer}:{origin}" == table.host(xxhash.xxh64_intdigest(key.encode())), key
    client.close()
    assert len(chosen) >= min(count, 30)
