"""Balancing in the gateway: what routes, retries and answers do to the choice of a host."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import bootstraps
import clients
import pytest
from waiting import wait_until

import meshcore

Answer = tuple[int, dict[str, str]]
V3 = "type.googleapis.com/envoy.extensions"


@pytest.fixture(scope="module")
def running() -> Iterator[Origin]:
    with Origin() as server:
        yield server


@pytest.fixture
def origin(running: Origin) -> Origin:
    running.behaviour.clear()
    running.late.clear()
    return running


class Origin:
    """Every address of 127.0.0.0/8 on one port, each with behaviour of its own."""

    def __init__(self) -> None:
        self.behaviour: dict[str, Callable[[], Answer]] = {}
        self.late: dict[str, float] = {}  # seconds between head and body
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                address = self.connection.getsockname()[0]
                status, headers = outer.behaviour.get(address, lambda: (200, {}))()
                body = address.encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if address in outer.late:
                    threading.Event().wait(outer.late[address])
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle()

        self.server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def endpoint(number: int, port: int, **metadata: Any) -> dict[str, Any]:
    found = {
        "endpoint": {
            "address": {"socket_address": {"address": f"127.0.0.{number}", "port_value": port}}
        }
    }
    return {**found, "metadata": {"filter_metadata": {"envoy.lb": metadata}}} if metadata else found


def group(*endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"lb_endpoints": list(endpoints), **fields}


def bootstrap(
    groups: list[dict[str, Any]], routes: list[dict[str, Any]], cluster: dict[str, Any]
) -> dict[str, Any]:
    return {
        "static_resources": {
            "listeners": [bootstraps.listener(bootstraps.manager(bootstraps.routing(routes)))],
            "clusters": [
                {
                    "name": "fleet",
                    "load_assignment": {"cluster_name": "fleet", "endpoints": groups},
                    **cluster,
                }
            ],
        }
    }


def route(path: str = "/", **action: Any) -> dict[str, Any]:
    return {"match": {"prefix": path}, "route": {"cluster": "fleet", **action}}


def lb(**metadata: Any) -> dict[str, Any]:
    return {"filter_metadata": {"envoy.lb": metadata}}


@contextmanager
def serving(config: dict[str, Any]) -> Iterator[tuple[meshcore.Gateway, Ask]]:
    with meshcore.Gateway(config, workers=1) as gateway:
        port = gateway.listeners["main"][1]

        def ask(path: str = "/", headers: dict[str, str] | None = None) -> tuple[int, str]:
            reply = clients.fetch(port, path, headers=list((headers or {}).items()))
            return reply.status, reply.body.decode().rpartition(".")[2]

        yield gateway, ask


Ask = Callable[..., tuple[int, str]]


def stat(gateway: meshcore.Gateway, name: str) -> int:
    return gateway.stats.counter(f"cluster.fleet.{name}").value


def test_a_route_asks_for_a_subset(origin: Origin) -> None:
    port = origin.port
    groups = [
        group(
            endpoint(1, port, version="1"),
            endpoint(2, port, version="2"),
            endpoint(3, port, version="2", stage="dev"),
        )
    ]
    weighted = {
        "clusters": [
            {"name": "fleet", "weight": 1, "metadata_match": lb(version="2", stage="dev")},
        ]
    }
    routes = [
        route("/1", metadata_match=lb(version="1")),
        route("/2", metadata_match=lb(version="2")),
        route("/3", metadata_match=lb(version="3")),
        {
            "match": {"prefix": "/w"},
            "route": {"weighted_clusters": weighted, "metadata_match": lb(version="1")},
        },
        route("/"),
    ]
    subsets = {
        "lb_subset_config": {
            "subset_selectors": [{"keys": ["version"]}, {"keys": ["version", "stage"]}]
        }
    }
    with serving(bootstrap(groups, routes, subsets)) as (gateway, ask):
        assert ask("/1") == (200, "1")
        assert {ask("/2") for _ in range(4)} == {(200, "2"), (200, "3")}
        assert ask("/w") == (200, "3")
        assert ask("/3")[0] == 503
        assert ask("/")[0] == 503
        assert stat(gateway, "lb_subsets_selected") == 6
        assert stat(gateway, "lb_subsets_created") == 3
        assert gateway.stats.gauge("cluster.fleet.lb_subsets_active").value == 3
        fields = bootstrap([group(endpoint(9, port, version="1"))], routes, subsets)
        gateway.update(fields)
        assert ask("/1") == (200, "9")
        assert stat(gateway, "lb_subsets_removed") == 2


def retry(**fields: Any) -> dict[str, Any]:
    return {
        "retry_on": "5xx",
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.001s"},
        "host_selection_retry_max_attempts": "20",
        **fields,
    }


def predicate(name: str, kind: str, **config: Any) -> dict[str, Any]:
    return {
        "name": f"envoy.retry_host_predicates.{name}",
        "typed_config": {"@type": f"{V3}.retry.host.{name}.v3.{kind}", **config},
    }


def test_a_retry_passes_over_hosts_by_their_metadata(origin: Origin) -> None:
    port = origin.port
    for number in (1, 2):
        origin.behaviour[f"127.0.0.{number}"] = lambda: (503, {})
    omit = predicate("omit_host_metadata", "OmitHostMetadataConfig", metadata_match=lb(bad="yes"))
    policy = retry(retry_host_predicate=[omit])
    sick = [endpoint(1, port, bad="yes"), endpoint(2, port, bad=["no", "yes"])]
    groups = [group(*sick, endpoint(3, port))]
    with serving(bootstrap(groups, [route(retry_policy=policy)], {})) as (gateway, ask):
        assert {ask() for _ in range(30)} == {(200, "3")}
        assert 0 < stat(gateway, "upstream_rq_retry") <= 30


def test_a_retry_goes_to_priorities_not_tried(origin: Origin) -> None:
    port = origin.port
    origin.behaviour["127.0.0.1"] = lambda: (503, {})
    kind = f"{V3}.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    policy = retry(
        num_retries=1,
        retry_priority={
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {"@type": kind, "update_frequency": 1},
        },
    )
    groups = [group(endpoint(1, port)), group(endpoint(2, port), priority=1)]
    with serving(bootstrap(groups, [route(retry_policy=policy)], {})) as (_, ask):
        assert {ask() for _ in range(10)} == {(200, "2")}


def typed(kind: str, **config: Any) -> dict[str, Any]:
    extension = {"name": "policy", "typed_config": {"@type": kind, **config}}
    return {"load_balancing_policy": {"policies": [{"typed_extension_config": extension}]}}


def test_peak_ewma_leaves_a_failing_host(origin: Origin) -> None:
    origin.behaviour["127.0.0.1"] = lambda: (500, {})
    kind = "type.googleapis.com/meshcore.PeakEwma"
    groups = [group(endpoint(1, origin.port), endpoint(2, origin.port))]
    config = bootstrap(groups, [route()], typed(kind, failures_as_latency=True))
    with serving(config) as (_, ask):
        answers = Counter(ask()[0] for _ in range(60))
    assert answers[500] <= 1


def test_peak_ewma_waits_for_the_body(origin: Origin) -> None:
    """PE-5: a head that comes at once makes nobody fast."""
    origin.late["127.0.0.1"] = 0.5
    kind = "type.googleapis.com/meshcore.PeakEwma"
    groups = [group(endpoint(1, origin.port), endpoint(2, origin.port))]
    with serving(bootstrap(groups, [route()], typed(kind))) as (_, ask):
        answers = Counter(ask()[1] for _ in range(40))
    assert answers["1"] <= 1


def reporting(report: str) -> Answer:
    return 200, {"endpoint-load-metrics": report}


def test_load_reports_become_weights(origin: Origin) -> None:
    reports = {
        1: "TEXT rps_fractional=100, cpu_utilization=1",
        2: 'JSON {"rps_fractional": 400, "cpu_utilization": 1}',
    }
    kind = (
        f"{V3}.load_balancing_policies.client_side_weighted_round_robin.v3."
        "ClientSideWeightedRoundRobin"
    )
    policy = typed(kind, blackout_period="0s", weight_update_period="0.1s")
    common = {"common_lb_config": {"update_merge_window": "0s"}}
    groups = [group(endpoint(1, origin.port), endpoint(2, origin.port))]
    with serving(bootstrap(groups, [route()], {**policy, **common})) as (_, ask):
        assert Counter(ask()[1] for _ in range(10)) == {"1": 5, "2": 5}
        for number, report in reports.items():
            origin.behaviour[f"127.0.0.{number}"] = partial(reporting, report)

        def shifted() -> bool:
            shares = Counter(ask()[1] for _ in range(50))
            return abs(shares["2"] - 40) <= 1

        wait_until(shifted)


def test_a_request_names_its_host(origin: Origin) -> None:
    origin.behaviour["127.0.0.4"] = lambda: (503, {})
    behind = typed(f"{V3}.load_balancing_policies.maglev.v3.Maglev")["load_balancing_policy"]
    policy = typed(
        f"{V3}.load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[{"header": "X-Host"}],
        fallback_policy=behind,
    )
    port = origin.port
    groups = [group(*(endpoint(number, port) for number in range(1, 6)))]
    routes = [route(retry_policy=retry(), hash_policy=[{"header": {"header_name": "x-key"}}])]
    with serving(bootstrap(groups, routes, policy)) as (_, ask):
        assert ask("/", {"x-host": f"127.0.0.3:{port}"}) == (200, "3")
        assert ask("/", {"x-host": f"127.0.0.9:{port}, 127.0.0.2:{port}"}) == (200, "2")
        assert ask("/", {"x-host": f"127.0.0.4:{port},127.0.0.5:{port}"}) == (200, "5")
        usual = ask("/", {"x-key": "a"})
        assert ask("/", {"x-key": "a", "x-host": f"127.0.0.9:{port}"}) == usual


def test_the_balancers_own_hash_policy_replaces_the_routes(origin: Origin) -> None:
    hashing = {"hash_policy": [{"header": {"header_name": "x-key"}}]}
    policy = typed(
        f"{V3}.load_balancing_policies.maglev.v3.Maglev", consistent_hashing_lb_config=hashing
    )
    groups = [group(*(endpoint(number, origin.port) for number in range(1, 9)))]
    by_nothing = [{"header": {"header_name": "x-other"}}]
    config = bootstrap(groups, [route(hash_policy=by_nothing)], policy)
    table = meshcore.Maglev([(f"127.0.0.{number}:{origin.port}", 1) for number in range(1, 9)])
    with serving(config) as (_, ask):
        for key in map(str, range(20)):
            wanted = table.host(meshcore.xxh64(key.encode())).split(":")[0].rpartition(".")[2]
            assert ask("/", {"x-key": key, "x-other": "same"}) == (200, wanted)


def test_zone_aware_routing_follows_the_local_cluster(origin: Origin) -> None:
    port = origin.port

    def zone(name: str, *numbers: int) -> dict[str, Any]:
        return group(*(endpoint(n, port) for n in numbers), locality={"zone": name})

    groups = [zone("a", 1, 2, 3), zone("b", 4, 5, 6)]
    config = bootstrap(groups, [route()], {})
    config["node"] = {"id": "n", "cluster": "c", "locality": {"zone": "b"}}
    config["cluster_manager"] = {"local_cluster_name": "ours"}
    ours = [zone("a", 11, 12), zone("b", 13, 14)]
    config["static_resources"]["clusters"].append(
        {"name": "ours", "load_assignment": {"cluster_name": "ours", "endpoints": ours}}
    )
    with serving(config) as (gateway, ask):
        assert {ask()[1] for _ in range(20)} == {"4", "5", "6"}
        assert stat(gateway, "lb_zone_routing_all_directly") == 20
    config["cluster_manager"] = {"local_cluster_name": "nobody"}
    with pytest.raises(meshcore.ConfigError) as caught:
        meshcore.Gateway(config).start()
    assert caught.value.path == "cluster_manager.local_cluster_name"
