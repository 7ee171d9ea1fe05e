"""`ClusterManager`: a client's own choice of hosts, and what it learns of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

import meshcore
from meshcore.balancing import Retry
from meshcore.cluster import ClusterManager, NoHostError


def assignment(addresses: Sequence[str], port: int = 80, **fields: Any) -> dict[str, Any]:
    return {
        "cluster_name": "x",
        "endpoints": [
            {
                "lb_endpoints": [
                    {
                        "endpoint": {
                            "address": {"socket_address": {"address": a, "port_value": port}}
                        }
                    }
                    for a in addresses
                ],
                **fields,
            }
        ],
    }


TEN = [f"10.0.0.{n}" for n in range(1, 11)]


def manager(now: Any = None, **cluster: Any) -> ClusterManager:
    fields = {"lb_policy": "RANDOM", "load_assignment": assignment(TEN), **cluster}
    return ClusterManager({"service": fields}, random=7, now=now)


def test_choice_by_cluster_and_key() -> None:
    clusters = manager(lb_policy="MAGLEV")
    assert clusters.clusters == ("service",)
    table = meshcore.Maglev([(f"{address}:80", 1) for address in TEN])
    for key in ("a", "b", "c"):
        host = clusters.choose("service", hash=key)
        assert str(host) == table.host(meshcore.xxh64(key.encode()))
    with pytest.raises(KeyError):
        clusters.choose("nobody")


def test_a_bootstrap_brings_locality_local_cluster_and_runtime() -> None:
    def zones(*counts: int, base: int) -> dict[str, Any]:
        groups = [
            {**assignment([f"10.{base}.{z}.{n}" for n in range(count)])["endpoints"][0]}
            for z, count in enumerate(counts)
        ]
        for zone, group in zip("ab", groups, strict=True):
            group["locality"] = {"zone": zone}
        return {"cluster_name": "x", "endpoints": groups}

    bootstrap = {
        "node": {"id": "n", "cluster": "c", "locality": {"zone": "b"}},
        "cluster_manager": {"local_cluster_name": "ours"},
        "layered_runtime": {
            "layers": [{"name": "s", "static_layer": {"upstream": {"healthy_panic_threshold": 0}}}]
        },
        "static_resources": {
            "clusters": [
                {"name": "theirs", "load_assignment": zones(3, 3, base=1)},
                {"name": "ours", "load_assignment": zones(2, 2, base=2)},
            ]
        },
    }
    clusters = ClusterManager(bootstrap)
    places = {str(clusters.choose("theirs")).split(".")[2] for _ in range(20)}
    assert places == {"1"}
    assert clusters.stats["cluster.theirs.lb_zone_routing_all_directly"] == 20
    clusters.balancer("theirs").set_health(
        dict.fromkeys(clusters.balancer("theirs").hosts, "UNHEALTHY")
    )
    assert clusters.choose("theirs") is None  # no panic, says the runtime
    del bootstrap["static_resources"]["clusters"][1]  # type: ignore[index]
    with pytest.raises(meshcore.ConfigError, match="local_cluster_name"):
        ClusterManager(bootstrap)


def test_hash_policy_of_the_cluster_reads_headers() -> None:
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
        "consistent_hashing_lb_config": {"hash_policy": [{"header": {"header_name": "x-key"}}]},
    }
    policy = {"policies": [{"typed_extension_config": {"name": "m", "typed_config": typed}}]}
    clusters = ClusterManager(
        [{"name": "s", "load_assignment": assignment(TEN), "load_balancing_policy": policy}]
    )
    table = meshcore.Maglev([(f"{address}:80", 1) for address in TEN])
    host = clusters.choose("s", headers=[("x-key", "user-42")], hash=5)
    assert str(host) == table.host(meshcore.xxh64(b"user-42"))


def test_failing_hosts_are_ejected_and_come_back() -> None:
    now = [0.0]
    watch = {"consecutive_5xx": 3, "interval": "10s", "base_ejection_time": "30s"}
    clusters = manager(now=lambda: now[0], outlier_detection=watch)
    balancer = clusters.balancer("service")
    sick = balancer.hosts[4]
    for _ in range(3):
        clusters.report("service", sick, 500)
    assert balancer.health(sick) == "/failed_outlier_check"
    assert clusters.stats["cluster.service.outlier_detection.ejections_active"] == 1
    assert sick not in [clusters.choose("service") for _ in range(100)]
    for _ in range(3):
        clusters.report("service", balancer.hosts[5], error=ConnectionError())
    assert balancer.health(5) == "healthy"  # one of ten is all that may go
    now[0] = 39.0
    clusters.choose("service")
    assert balancer.health(sick) == "healthy"


def test_an_attempt_counts_and_reports() -> None:
    clusters = manager(lb_policy="LEAST_REQUEST", outlier_detection={"consecutive_5xx": 1})
    balancer = clusters.balancer("service")
    with clusters.request("service") as attempt:
        assert balancer.active_requests(attempt.host) == 1
        attempt.status = 200
    host = attempt.host
    assert balancer.active_requests(host) == 0
    assert balancer.health(host) == "healthy"
    retry = Retry(max_attempts=50)
    seen = []

    def try_once() -> None:
        with clusters.request("service", retry=retry) as attempt:
            seen.append(attempt.host.address)
            raise ConnectionResetError

    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            try_once()
    assert len(set(seen)) == 3
    assert [balancer.health(address) for address in seen].count("/failed_outlier_check") == 1
    with pytest.raises(asyncio.CancelledError), clusters.request("service") as attempt:
        raise asyncio.CancelledError
    assert balancer.health(attempt.host) == "healthy"
    with pytest.raises(RuntimeError, match="inside"):
        _ = clusters.request("service").host


def test_nothing_to_choose() -> None:
    clusters = ClusterManager({"empty": {"type": "STATIC"}})
    assert clusters.choose("empty") is None
    with pytest.raises(NoHostError, match="empty"), clusters.request("empty"):
        pass
    clusters.update("empty", ["10.0.0.1:80"])
    with clusters.request("empty") as attempt:
        clusters.update("empty", ["10.0.0.2:80"])  # the host leaves meanwhile
        attempt.status = 500
    assert str(clusters.choose("empty")) == "10.0.0.2:80"


def test_names_are_looked_up_on_the_callers_loop() -> None:
    cluster = {
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        "load_assignment": assignment(["localhost"], port=8080),
    }
    clusters = ClusterManager({"named": cluster})
    assert clusters.choose("named") is None

    async def look() -> str:
        async with clusters:
            return str(clusters.choose("named"))

    assert asyncio.run(look()) == "127.0.0.1:8080"
    assert clusters.stats["cluster.named.update_success"] >= 1


def test_a_wrong_cluster_is_named() -> None:
    with pytest.raises(meshcore.ConfigError) as caught:
        ClusterManager([{"name": "a"}, {"name": "b", "lb_policy": "CLUSTER_PROVIDED"}])
    assert caught.value.path == "static_resources.clusters[1].lb_policy"


ONE = {
    "name": "a",
    "load_assignment": {
        "endpoints": [
            {
                "lb_endpoints": [
                    {
                        "endpoint": {
                            "address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}
                        }
                    }
                ]
            }
        ]
    },
}


@pytest.mark.parametrize(
    "config",
    [
        ONE,
        [ONE],
        {"clusters": [ONE]},
        {"a": {key: value for key, value in ONE.items() if key != "name"}},
        {"staticResources": {"clusters": [{**ONE, "load_assignment": None}]}},
    ],
)
def test_clusters_in_any_form(config: Any) -> None:
    clusters = ClusterManager(config)
    clusters.update("a", ["10.0.0.1:80"])
    assert clusters.clusters == ("a",)
    assert str(clusters.choose("a", "user-42")) == "10.0.0.1:80"


@pytest.mark.parametrize("config", [[ONE, ONE], {"a": "RANDOM"}])
def test_clusters_that_are_none(config: Any) -> None:
    with pytest.raises(meshcore.ConfigError, match=r"two clusters 'a'|must be a Cluster"):
        ClusterManager(config)


# --- aggregates (CL-16) ---------------------------------------------------------------------------

AGGREGATE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"


def member(number: int, *priorities: Sequence[str], **fields: Any) -> dict[str, Any]:
    """A cluster whose hosts are 10.<number>.<priority>.<n>, each as healthy as it is called."""
    groups = [
        {
            "priority": priority,
            "lb_endpoints": [
                {
                    "health_status": health,
                    "endpoint": {
                        "address": {
                            "socket_address": {
                                "address": f"10.{number}.{priority}.{n}",
                                "port_value": 80,
                            }
                        }
                    },
                }
                for n, health in enumerate(healths)
            ],
        }
        for priority, healths in enumerate(priorities)
    ]
    return {
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {"cluster_name": "x", "endpoints": groups},
        **fields,
    }


def aggregate(*names: str, **fields: Any) -> dict[str, Any]:
    typed = {"@type": AGGREGATE, "clusters": list(names)}
    return {
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": typed},
        **fields,
    }


UP, DOWN = "HEALTHY", "UNHEALTHY"


def test_an_aggregate_lists_the_priorities_of_its_members() -> None:
    draws = [0]
    no_panic = {"healthy_panic_threshold": {"value": 0}}
    clusters = ClusterManager(
        {
            "all": aggregate("missing", "one", "inner", "two"),
            "one": member(1, [UP, DOWN, DOWN], [], [DOWN], common_lb_config=no_panic),
            "two": member(2, [UP, UP], [UP]),
            "inner": aggregate("two"),
        },
        random=lambda: draws[-1],
    )
    # One third is healthy: 46 % of the load; the empty priority and the inner aggregate are none.
    for draw, address, name in (
        (0, "10.1.0.0", "one"),
        (45, "10.1.0.0", "one"),
        (46, "10.2", "two"),
    ):
        draws.append(draw)
        host = clusters.choose("all")
        assert host is not None
        assert host.address.startswith(address)
        assert host.cluster == name
    assert clusters.choose("inner") is not None


def test_requests_through_an_aggregate_count_at_the_member() -> None:
    clusters = ClusterManager(
        {
            "all": aggregate("one"),
            "one": member(1, [UP], outlier_detection={"max_ejection_percent": 100}),
        }
    )
    with clusters.request("all") as attempt:
        assert clusters.balancer("one").active_requests(attempt.host) == 1
        attempt.status = 200
    assert clusters.balancer("one").active_requests("10.1.0.0:80") == 0
    for _ in range(5):
        clusters.report("all", "10.1.0.0:80", 503)
    assert clusters.balancer("one").health("10.1.0.0:80") == "/failed_outlier_check"


def test_an_aggregate_without_hosts_has_none() -> None:
    clusters = ClusterManager({"all": aggregate("one"), "one": member(1, [])})
    assert clusters.choose("all") is None
    assert clusters.stats["cluster.all.upstream_cx_none_healthy"] == 1
    clusters.update("one", ["10.9.9.9:80"])
    assert str(clusters.choose("all")) == "10.9.9.9:80"


def test_a_retry_goes_to_the_next_member() -> None:
    clusters = ClusterManager(
        {
            "all": aggregate("one", "two", "three"),
            "one": member(1, [UP]),
            "two": member(2, [DOWN], [UP]),
            "three": member(3, [UP]),
        }
    )
    retry = Retry((), priority=1)
    names = [clusters.choose("all", retry=retry).cluster for _ in range(4)]  # type: ignore[union-attr]
    assert names == ["one", "two", "three", "one"]
