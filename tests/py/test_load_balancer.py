"""`LoadBalancer` and `priority_load`: Envoy's decisions through the public names."""

from __future__ import annotations

import random
from typing import Any

import pytest

import meshcore
from meshcore import ConfigError, LoadBalancer, priority_load
from meshcore.balancing import PriorityLoad

THREE = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
WEIGHTED = [("10.0.0.1:80", 2), ("10.0.0.2:80", 3), ("10.0.0.3:80", 7)]


def picks(balancer: LoadBalancer, count: int, **fields: Any) -> list[int | None]:
    chosen = [balancer.choose(**fields) for _ in range(count)]
    return [None if host is None else host.index for host in chosen]


# --- priorities ----------------------------------------------------------------------------------


def test_priority_load_of_rule_pr_4() -> None:
    assert priority_load([(7, 3, 1), (9, 1, 1)]) == [
        PriorityLoad(60, 20, 60, 20, False),
        PriorityLoad(15, 15, 15, 5, False),
    ]


@pytest.mark.parametrize(
    ("threshold", "healthy", "degraded", "panic"),
    [
        (50, [27, 33, 40], [0, 0, 0], [True, True, True]),
        (10, [32, 49, 0], [0, 0, 19], [False, False, True]),
        (0, [32, 49, 0], [0, 0, 19], [False, False, False]),
    ],
)
def test_priority_load_of_rule_pr_5(
    threshold: int, healthy: list[int], degraded: list[int], panic: list[bool]
) -> None:
    counts = [{"hosts": 7, "healthy": 1}, {"hosts": 9, "healthy": 2}, {"hosts": 11, "degraded": 1}]
    loads = priority_load(counts, healthy_panic_threshold=threshold)
    assert [load.healthy_load for load in loads] == healthy
    assert [load.degraded_load for load in loads] == degraded
    assert [load.panic for load in loads] == panic


def test_priority_load_from_the_hosts_themselves() -> None:
    hosts: Any = [["HEALTHY", "UNHEALTHY", "DRAINING"], [{"health": "HEALTHY", "weight": 3}]]
    assert [load.health for load in priority_load(hosts)] == [70, 100]
    weighted = [[{"health": "HEALTHY", "weight": 1}, {"health": "UNHEALTHY", "weight": 9}]]
    assert priority_load(weighted, weighted_priority_health=True)[0].health == 14


def test_loads_stay_when_nothing_is_available_and_panic_is_off() -> None:
    before = priority_load([(2, 1), (2, 2)])
    assert [load.healthy_load for load in before] == [70, 30]
    after = priority_load([(2, 0), (2, 0)], healthy_panic_threshold=0, previous=before)
    assert [load.healthy_load for load in after] == [100, 30]


@pytest.mark.parametrize("bad", [[], [{"host": 1}], [["SICK"]]])
def test_priority_load_refuses(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"priorit|host"):
        priority_load(bad)


# --- policies ------------------------------------------------------------------------------------


def test_round_robin_starts_at_the_seed_and_keeps_its_cursor() -> None:
    balancer = LoadBalancer("ROUND_ROBIN", THREE, random=[4, 0, 0, 0, 0, 0, 0])
    assert picks(balancer, 4) == [1, 2, 0, 1]
    balancer.update(0, [*THREE, "10.0.0.4:80"])
    assert picks(balancer, 2) == [8 % 4, 9 % 4]


def test_weighted_round_robin_of_rule_ed_3() -> None:
    assert picks(LoadBalancer("ROUND_ROBIN", WEIGHTED, random=lambda: 5), 7) == [
        2,
        1,
        2,
        2,
        0,
        1,
        2,
    ]


def test_random_takes_one_draw_for_priority_and_host() -> None:
    assert picks(LoadBalancer("RANDOM", THREE, random=[0, 1, 5, 99]), 4) == [0, 1, 2, 0]


def test_least_request_draws_twice_and_prefers_strictly_fewer() -> None:
    balancer = LoadBalancer("LEAST_REQUEST", THREE, random=[9, 0, 0, 1, 0, 1, 2])
    balancer.set_active_requests({0: 5, "10.0.0.2:80": 3, balancer.hosts[2]: 3})
    assert picks(balancer, 2) == [1, 1]


def test_ring_hash_of_rule_rh_7() -> None:
    cluster = {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 6}}
    balancer = LoadBalancer(cluster, [("10.1.0.1:8080", 1), ("10.1.0.2:8080", 3)], random=[])
    assert str(balancer.choose("user-42")) == "10.1.0.2:8080"
    assert balancer.choose(meshcore.xxh64(b"meshcore")) == balancer.hosts[1]
    assert balancer.stats["ring_hash_lb.size"] == 8
    assert balancer.stats["ring_hash_lb.min_hashes_per_host"] == 2


def test_bounded_load_of_rule_rh_9() -> None:
    cluster = {
        "lb_policy": "MAGLEV",
        "common_lb_config": {"consistent_hashing_lb_config": {"hash_balance_factor": 125}},
    }
    hosts = [f"10.0.0.{n}:80" for n in range(1, 5)]
    key = meshcore.xxh64(b"user-42")
    balancer = LoadBalancer(cluster, hosts, random=[])
    base = balancer.choose(key)
    assert base is not None
    balancer.set_active_requests(base, 8)
    assert balancer.choose(key, active_requests=23) == base
    balancer.set_active_requests(base, 9)
    order = [host for host in (0, 3, 1, 2) if host != base.index]
    assert picks(balancer, 1, hash=key, active_requests=23) == order[:1]
    assert balancer.active_requests(base) == 9


@pytest.mark.parametrize("policy", ["ROUND_ROBIN", "RANDOM"])
@pytest.mark.parametrize("hosts", [THREE, WEIGHTED])
def test_peeks_foretell_picks(policy: str, hosts: Any) -> None:
    draws = random.Random(7)
    balancer = LoadBalancer(policy, hosts, random=draws)
    for peeks in (1, 3, 2):
        foretold = [balancer.peek() for _ in range(peeks)]
        assert [balancer.choose() for _ in range(peeks)] == foretold
    assert [balancer.peek() is None for _ in range(4)] == [False, False, False, True]


def test_nobody_can_peek_least_request_or_a_hash() -> None:
    assert LoadBalancer("LEAST_REQUEST", THREE).peek() is None
    assert LoadBalancer("MAGLEV", THREE).peek() is None


# --- slow start, with a clock of one's own -------------------------------------------------------


def test_slow_start_samples_the_weight_at_the_time_of_the_pick() -> None:
    now = [0]
    cluster = {
        "lb_policy": "ROUND_ROBIN",
        "round_robin_lb_config": {"slow_start_config": {"slow_start_window": "60s"}},
    }
    balancer = LoadBalancer(cluster, THREE[:2], random=lambda: 0, now=lambda: now[0])
    now[0] = 120_000  # the first two are long warm
    balancer.update(0, THREE)
    now[0] = 126_000
    cold = picks(balancer, 210).count(2)
    now[0] = 200_000
    warm = picks(balancer, 210).count(2)
    assert cold < 20
    assert 60 < warm < 75


# --- membership ----------------------------------------------------------------------------------


def test_health_moves_load_and_stats_count_panic() -> None:
    balancer = LoadBalancer("RANDOM", [*THREE, {"address": "10.0.1.1:80", "priority": 1}], random=3)
    assert balancer.priority_load[0].healthy_load == 100
    balancer.set_health({0: "UNHEALTHY", 1: False})
    assert balancer.health(0) == "/failed_eds_health"
    assert [load.healthy_load for load in balancer.priority_load] == [46, 54]
    balancer.set_health("10.0.1.1:80", "/failed_active_hc")
    assert balancer.choose() is not None
    assert balancer.stats["lb_healthy_panic"] == 1
    balancer.set_health(dict.fromkeys(balancer.hosts, "HEALTHY"))
    assert balancer.priority_load[0].healthy_load == 100


def test_discovered_health_outlives_an_update_of_another_priority() -> None:
    balancer = LoadBalancer("RANDOM", THREE)
    balancer.set_health(0, "DEGRADED")
    balancer.set_health(1, ["failed_outlier_check"])
    balancer.update(1, [("10.0.1.1:80", 4)])
    assert [balancer.health(i) for i in range(3)] == [
        "/degraded_eds_health",
        "/failed_outlier_check",
        "healthy",
    ]
    assert balancer.hosts[3].weight == 4
    assert balancer.hosts[3].priority == 1


def test_hosts_know_what_they_were_configured_with() -> None:
    balancer = LoadBalancer(
        "ROUND_ROBIN",
        [
            {
                "address": "[::1]:80",
                "weight": 3,
                "hostname": "a",
                "locality": ("r", "z"),
                "metadata": {"version": "1"},
            }
        ],
    )
    host = balancer.choose()
    assert host is not None
    assert (host.index, host.address, host.hostname, host.weight) == (0, "[::1]:80", "a", 3)
    assert host.locality == {"region": "r", "zone": "z"}
    assert host.metadata == {"envoy.lb": {"version": "1"}}


CLUSTER = """
name: service
type: STATIC
lb_policy: MAGLEV
maglev_lb_config: {table_size: 11}
load_assignment:
  cluster_name: service
  endpoints:
  - lb_endpoints:
    - endpoint: {address: {socket_address: {address: 10.1.0.1, port_value: 8080}}}
    - endpoint: {address: {socket_address: {address: 10.1.0.2, port_value: 8080}}}
      load_balancing_weight: 2
    - endpoint: {address: {socket_address: {address: 10.1.0.3, port_value: 8080}}}
"""


def test_a_cluster_as_yaml_with_its_own_endpoints() -> None:
    balancer = LoadBalancer(CLUSTER)
    assert [str(balancer.choose(key)) for key in ("user-42", "meshcore")] == ["10.1.0.2:8080"] * 2
    assert balancer.stats["maglev_lb.min_entries_per_host"] == 3


def test_nothing_to_choose_from() -> None:
    assert LoadBalancer("ROUND_ROBIN", []).choose() is None
    assert LoadBalancer("MAGLEV", []).choose(7) is None


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("FASTEST", THREE), "lb_policy"),
        (("RANDOM", ["localhost:80"]), "endpoints[0].address"),
        (("RANDOM", [("10.0.0.1:80", 0)]), "endpoints[0].weight"),
        (("RANDOM", [{"address": "10.0.0.1:80", "colour": 1}]), "endpoints[0].colour"),
        (
            ({"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 12}}, THREE),
            "maglev_lb_config.table_size",
        ),
    ],
)
def test_errors_name_what_is_wrong(arguments: Any, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LoadBalancer(*arguments)
    assert caught.value.path == path


def test_a_failing_generator_is_the_callers_exception() -> None:
    balancer = LoadBalancer("RANDOM", THREE, random=[1])
    balancer.choose()
    with pytest.raises(IndexError, match="no more draws"):
        balancer.choose()
    with pytest.raises(KeyError):
        balancer.set_active_requests("10.0.0.9:80", 1)
