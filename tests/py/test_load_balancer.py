"""`LoadBalancer` and `priority_load`: Envoy's decisions through the public names."""

from __future__ import annotations

import random
from typing import Any

import pytest

import meshcore
from meshcore import ConfigError, LoadBalancer, priority_load
from meshcore.balancing import PriorityLoad, Retry
from meshcore.config import load
from meshcore.config.schema import message_class

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


def test_weights_may_make_nothing_of_what_is_healthy() -> None:
    """PR-2, PR-8: availability is 0, yet half of the hosts is no panic."""
    assignment = {
        "cluster_name": "x",
        "policy": {"weighted_priority_health": True},
        "endpoints": [
            {
                "lb_endpoints": [
                    {
                        "health_status": status,
                        "load_balancing_weight": weight,
                        "endpoint": {
                            "address": {"socket_address": {"address": address, "port_value": 80}}
                        },
                    }
                    for status, weight, address in (
                        ("HEALTHY", 1, "10.0.0.1"),
                        ("UNHEALTHY", 1000, "10.0.0.2"),
                    )
                ]
            }
        ],
    }
    balancer = LoadBalancer("RANDOM", assignment)
    assert [tuple(load) for load in balancer.priority_load] == [(0, 0, 0, 0, False)]
    assert {str(balancer.choose()) for _ in range(20)} == {"10.0.0.1:80"}
    assert balancer.stats["lb_healthy_panic"] == 0


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


def test_slow_start_begins_when_the_active_check_passes() -> None:
    now = [0]
    config = {"slow_start_window": "60s", "aggression": {"default_value": 2.0}}
    cluster = {"lb_policy": "ROUND_ROBIN", "round_robin_lb_config": {"slow_start_config": config}}
    balancer = LoadBalancer(
        cluster, [("10.0.0.1:80", 8), ("10.0.0.2:80", 8)], random=lambda: 0, now=lambda: now[0]
    )
    balancer.set_health(0, ["failed_active_hc"])
    now[0] = 1_000_000
    balancer.set_health(0, "healthy")
    now[0] += 15_000  # ED-11: 15 s of 60 s, aggression 2: weight 4 of 8
    chosen = picks(balancer, 3)
    assert chosen.count(0) in (0, 1)
    now[0] += 60_000
    assert picks(balancer, 400).count(0) in range(190, 211)


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


# --- retries, override hosts ---------------------------------------------------------------------


def pr_5(random_: Any) -> LoadBalancer:
    def hosts(priority: int, count: int, statuses: dict[int, str]) -> list[dict[str, Any]]:
        return [
            {
                "address": f"10.{priority}.0.{n}:80",
                "priority": priority,
                "health": statuses.get(n, "UNHEALTHY"),
            }
            for n in range(count)
        ]

    cluster = {"lb_policy": "RANDOM", "common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
    everyone = [
        *hosts(0, 7, {0: "HEALTHY"}),
        *hosts(1, 9, {0: "HEALTHY", 1: "HEALTHY"}),
        *hosts(2, 11, {0: "DEGRADED"}),
    ]
    return LoadBalancer(cluster, everyone, random=random_)


def test_retry_priority_of_rule_pr_12() -> None:
    retry = {"attempted": ["10.1.0.0:80"], "predicates": [], "priority": 1}
    chosen = [
        pr_5([draw]).choose(retry={**retry, "attempted": ["10.1.0.0:80"]}) for draw in (62, 63)
    ]
    assert [host and host.priority for host in chosen] == [0, 2]  # healthy 63/0/0, degraded 0/0/37
    # One attempt does not reach an update frequency of two: P0 has 32, P1 49.
    assert str(pr_5([62]).choose(retry={**retry, "priority": 2})).startswith("10.1.")
    # Everything excluded: the exclusions are cleared, and the original loads come back.
    everywhere = ["10.0.0.0:80", "10.1.0.0:80", "10.2.0.0:80"]
    assert str(pr_5([62]).choose(retry={**retry, "attempted": everywhere})).startswith("10.1.")


def test_previous_hosts_are_passed_over() -> None:
    retry = Retry(max_attempts=3)
    balancer = LoadBalancer("RANDOM", THREE, random=[0, 0, 3, 1, 0, 0, 1, 2, 0, 1, 2, 0])
    assert [str(balancer.choose(retry=retry)) for _ in range(4)] == [
        THREE[0],
        THREE[1],  # draws 0, 3 and 1
        THREE[2],  # 0, 0, 1, 2
        THREE[0],  # 0, 1, 2, 0: all are refused, the last one is taken
    ]


def test_predicates_of_a_retry_policy() -> None:
    policy = {
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.omit_canary_hosts"},
            {
                "name": "envoy.retry_host_predicates.omit_host_metadata",
                "typed_config": {
                    "metadata_match": {"filter_metadata": {"envoy.lb": {"slow": "yes"}}}
                },
            },
        ],
        "host_selection_retry_max_attempts": "5",
        "attempted": ["10.0.0.9:80"],
    }
    hosts = [
        {"address": THREE[0], "metadata": {"canary": True}},
        {"address": THREE[1], "metadata": {"slow": ["no", "yes"]}},
        {"address": THREE[2], "metadata": {"slow": "no"}},
    ]
    balancer = LoadBalancer("RANDOM", hosts, random=[0, 1, 2])
    assert str(balancer.choose(retry=policy)) == THREE[2]
    with pytest.raises(ConfigError):
        balancer.choose(retry={"predicates": ["fastest"], "attempted": [THREE[0]]})


def test_override_host_of_rule_ed_13() -> None:
    balancer = LoadBalancer("RANDOM", THREE, random=lambda: 0)
    assert str(balancer.choose(override_host=THREE[2])) == THREE[2]
    balancer.set_health(2, "DEGRADED")
    assert str(balancer.choose(override_host=THREE[2])) == THREE[2]
    balancer.set_health(2, "UNHEALTHY")
    assert str(balancer.choose(override_host=THREE[2])) == THREE[0]
    assert balancer.choose(override_host=THREE[2], override_host_strict=True) is None
    wanted = {"override_host_status": {"statuses": ["UNHEALTHY"]}}
    other = LoadBalancer({"common_lb_config": wanted}, THREE, random=lambda: 0)
    assert str(other.choose(override_host=THREE[1])) == THREE[0]
    other.set_health(1, ["failed_outlier_check"])
    assert str(other.choose(override_host=THREE[1])) == THREE[1]


# --- zones ---------------------------------------------------------------------------------------


def zone(name: str, count: int, base: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"address": f"10.{base}.{ord(name)}.{n}:80", "locality": name, **fields}
        for n in range(count)
    ]


UPSTREAM = [*zone("a", 3, 1), *zone("b", 4, 1), *zone("c", 6, 1)]
LOCAL = [*zone("a", 5, 2), *zone("b", 3, 2), *zone("c", 2, 2)]


def zoned(draws: Any, cluster: Any = "RANDOM", **fields: Any) -> LoadBalancer:
    return LoadBalancer(
        cluster,
        fields.pop("upstream", UPSTREAM),
        random=draws,
        local=fields.pop("local", LOCAL),
        locality="a",
        **fields,
    )


@pytest.mark.parametrize(
    ("draws", "where", "counter"),
    [
        ([0, 4613], "a", "lb_zone_routing_sampled"),
        ([0, 4614, 0], "b", "lb_zone_routing_cross_zone"),
        ([0, 4614, 75], "b", "lb_zone_routing_cross_zone"),
        ([0, 4614, 76], "c", "lb_zone_routing_cross_zone"),
        ([0, 4614, 2690], "c", "lb_zone_routing_cross_zone"),
    ],
)
def test_residual_zone_routing_of_rule_za_9(draws: list[int], where: str, counter: str) -> None:
    balancer = zoned(draws)
    host = balancer.choose()
    assert host is not None
    assert host.locality == {"zone": where}
    assert balancer.stats[counter] == 1
    assert balancer.stats["lb_recalculate_zone_structures"] == 1


def test_everything_stays_at_home_when_there_is_room() -> None:
    balancer = zoned(lambda: 0, local=[*zone("a", 2, 2), *zone("b", 8, 2)])
    assert balancer.choose().locality == {"zone": "a"}  # type: ignore[union-attr]
    assert balancer.stats["lb_zone_routing_all_directly"] == 1
    balancer.update_local(zone("b", 8, 2))
    assert balancer.choose() is not None
    assert balancer.stats["lb_zone_routing_all_directly"] == 1
    assert balancer.stats["lb_recalculate_zone_structures"] == 2


@pytest.mark.parametrize(
    ("fields", "counter"),
    [
        ({"upstream": zone("a", 9, 1)}, None),
        ({"local": zone("a", 9, 2)}, None),
        ({"local": [*zone("b", 3, 2), *zone("c", 3, 2)]}, "lb_local_cluster_not_ok"),
        ({"upstream": [*zone("a", 2, 1), *zone("b", 2, 1)]}, "lb_zone_cluster_too_small"),
    ],
)
def test_zone_routing_is_off_for_the_reasons_of_rule_za_3(
    fields: dict[str, Any], counter: str | None
) -> None:
    balancer = zoned([0] * 2, **fields)
    assert balancer.choose() is not None
    moved = {name for name, value in balancer.stats.items() if value}
    assert moved == {"lb_recalculate_zone_structures", *([counter] if counter else [])}


def typed_random(**zone_aware: Any) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random",
        "locality_lb_config": {"zone_aware_lb_config": zone_aware},
    }


def test_zone_routing_forced_home() -> None:
    forced = zoned([0], typed_random(force_local_zone={"min_size": 3}), local=zone("a", 9, 2))
    assert forced.choose().locality == {"zone": "a"}  # type: ignore[union-attr]
    too_many = zoned([0, 9999, 0], typed_random(force_local_zone={"min_size": 4}))
    assert too_many.choose().locality == {"zone": "b"}  # type: ignore[union-attr]
    by_runtime = {"upstream.zone_routing.force_local_zone.min_size": 2}
    assert zoned([0], runtime=by_runtime).choose().locality == {"zone": "a"}  # type: ignore[union-attr]


def test_zone_routing_sampled_out_and_a_local_panic() -> None:
    half = typed_random(routing_enabled={"value": 50})
    assert str(zoned([12, 50], half).choose()) == UPSTREAM[12]["address"]
    assert zoned([12, 49, 0], half).choose().locality == {"zone": "a"}  # type: ignore[union-attr]
    sick = [*zone("a", 5, 2), *zone("b", 6, 2, health="UNHEALTHY")]
    balancer = zoned([12], local=sick)
    assert str(balancer.choose()) == UPSTREAM[12]["address"]
    assert balancer.stats["lb_local_cluster_not_ok"] == 1
    failing = zoned([12], typed_random(fail_traffic_on_panic=True), local=sick)
    assert failing.choose() is None


# --- subsets -------------------------------------------------------------------------------------


def host_with(number: int, priority: int = 0, **metadata: Any) -> dict[str, Any]:
    return {"address": f"10.0.0.{number}:80", "priority": priority, "metadata": metadata}


def subsets(hosts: list[dict[str, Any]], *selectors: Any, **config: Any) -> LoadBalancer:
    fields = {
        "subset_selectors": [
            {"keys": selector} if isinstance(selector, list) else selector for selector in selectors
        ],
        **config,
    }
    cluster = {
        "lb_policy": config.pop("lb_policy", "RANDOM"),
        "common_lb_config": fields.pop("common_lb_config", {}),
        "lb_subset_config": {key: fields[key] for key in fields if key != "lb_policy"},
    }
    return LoadBalancer(cluster, hosts, random=lambda: 0)


def number(host: Any) -> int | None:
    return None if host is None else int(host.address.split(":")[0].rpartition(".")[2])


VERSIONS = [
    host_with(1, version="1", stage="prod"),
    host_with(2, version="1", stage="dev"),
    host_with(3, version="2", stage="dev"),
    host_with(4),
]


def test_criteria_must_follow_a_path_exactly() -> None:
    balancer = subsets(VERSIONS, ["version", "stage"], ["stage"])

    def choice(**metadata: Any) -> int | None:
        return number(balancer.choose(metadata=metadata))

    assert choice(stage="dev", version="2") == 3
    assert choice(version="1", stage="prod") == 1
    assert choice(stage="dev") == 2
    assert choice(version="1") is None
    assert choice(stage="dev", version="2", more=1) is None
    assert choice() is None
    assert number(balancer.choose()) is None
    assert balancer.stats["lb_subsets_selected"] == 3
    assert balancer.stats["lb_subsets_active"] == 5
    assert balancer.stats["lb_subsets_created"] == 5


def test_values_compare_by_type() -> None:
    balancer = subsets([host_with(1, v=1), host_with(2, v="1"), host_with(3, v=True)], ["v"])
    assert [number(balancer.choose(metadata={"v": v})) for v in (1, 1.0, "1", True, "true")] == [
        *(1, 1, 2, 3),
        None,
    ]


def test_fallback_policies_of_the_cluster() -> None:
    assert number(subsets(VERSIONS, ["stage"]).choose()) is None
    any_ = subsets(VERSIONS, ["stage"], fallback_policy="ANY_ENDPOINT")
    assert number(any_.choose(metadata={"stage": "test"})) == 1
    assert any_.stats["lb_subsets_fallback"] == 1
    default = {"default_subset": {"version": "2"}, "fallback_policy": "DEFAULT_SUBSET"}
    assert number(subsets(VERSIONS, ["stage"], **default).choose()) == 3
    nobody = {**default, "default_subset": {"version": "9"}}
    assert number(subsets(VERSIONS, ["stage"], **nobody).choose()) is None
    panicking = subsets(VERSIONS, ["stage"], **nobody, panic_mode_any=True)
    assert number(panicking.choose()) == 1
    assert panicking.stats["lb_subsets_fallback_panic"] == 1
    assert panicking.stats["lb_subsets_fallback"] == 0
    assert number(subsets(VERSIONS, ["stage"], panic_mode_any=True).choose()) is None


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        ({"fallback_policy": "NO_FALLBACK"}, None),
        ({"fallback_policy": "ANY_ENDPOINT"}, 1),
        ({"fallback_policy": "DEFAULT_SUBSET"}, 3),
        ({"fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["stage"]}, 2),
        ({}, 3),
    ],
)
def test_fallback_policies_of_a_selector(policy: dict[str, Any], chosen: int | None) -> None:
    balancer = subsets(
        VERSIONS,
        {"keys": ["stage", "version"], **policy},
        ["stage"],
        fallback_policy="DEFAULT_SUBSET",
        default_subset={"version": "2"},
    )
    assert number(balancer.choose(metadata={"stage": "dev", "version": "7"})) == chosen
    assert balancer.stats["lb_subsets_fallback"] == (1 if policy == {} else 0)


def test_a_selector_that_begins_an_earlier_one_has_no_fallback_of_its_own() -> None:
    short = {"keys": ["a"], "fallback_policy": "ANY_ENDPOINT"}
    hosts = [host_with(1, a="1", b="1")]
    assert number(subsets(hosts, short, ["a", "b"]).choose(metadata={"a": "2"})) == 1
    assert number(subsets(hosts, ["a", "b"], short).choose(metadata={"a": "2"})) is None


def test_lists_as_any() -> None:
    hosts = [host_with(1, v=["1", "2"], w=["x", "y"]), host_with(2, v="3", w="x")]
    balancer = subsets(hosts, ["v", "w"], list_as_any=True)
    assert balancer.stats["lb_subsets_active"] == 5
    assert number(balancer.choose(metadata={"v": "2", "w": "y"})) == 1
    plain = subsets(hosts, ["v", "w"])
    assert plain.stats["lb_subsets_active"] == 2
    assert number(plain.choose(metadata={"v": "2", "w": "y"})) is None
    assert number(plain.choose(metadata={"v": ["1", "2"], "w": ["x", "y"]})) == 1


def test_a_single_host_per_subset() -> None:
    hosts = [
        host_with(1, 1, name="a"),
        host_with(2, 0, name="a"),
        host_with(3, 0, name="a"),
        host_with(4, 0, name="b"),
    ]
    balancer = subsets(hosts, {"keys": ["name"], "single_host_per_subset": True})
    balancer.set_health(1, "UNHEALTHY")
    assert number(balancer.choose(metadata={"name": "a"})) == 2
    assert number(balancer.choose(metadata={"name": "b"})) == 4
    assert balancer.stats["lb_subsets_single_host_per_subset_duplicate"] == 1


def test_a_fallback_list_in_the_request() -> None:
    config = {"metadata_fallback_policy": "FALLBACK_LIST"}
    balancer = subsets(VERSIONS, ["version", "stage"], **config)

    def choice(*tries: dict[str, str]) -> int | None:
        metadata = {"stage": "dev", "fallback_list": list(tries)}
        return number(balancer.choose(metadata=metadata))

    assert choice({"version": "9"}, {"version": "2"}) == 3
    assert choice({"version": "9"}) is None
    assert choice({"stage": "prod", "version": "1"}) == 1
    assert choice() is None
    assert number(subsets(VERSIONS, ["stage"], **config).choose(metadata={"stage": "dev"})) == 2


def test_redundant_keys_are_left_aside_by_the_longest_selector() -> None:
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.subset.v3.Subset",
        "allow_redundant_keys": True,
        "subset_selectors": [{"keys": ["stage"]}, {"keys": ["version", "stage"]}],
        "subset_lb_policy": {
            "policies": [{"typed_extension_config": {"name": "r", "typed_config": typed_random()}}]
        },
    }
    balancer = LoadBalancer(typed, VERSIONS, random=lambda: 0)
    assert number(balancer.choose(metadata={"stage": "dev", "version": "2", "x": 1})) == 3
    assert number(balancer.choose(metadata={"stage": "dev", "x": 1})) == 2
    assert number(balancer.choose(metadata={"stage": "dev", "version": "9"})) is None
    assert number(balancer.choose(metadata={"version": "2"})) is None


def test_subsets_have_hash_tables_of_their_own_and_follow_updates() -> None:
    balancer = subsets(VERSIONS, ["stage"], lb_policy="RING_HASH")
    alone = LoadBalancer("RING_HASH", VERSIONS[1:3])
    for key in range(50):
        chosen = balancer.choose(str(key), metadata={"stage": "dev"})
        assert str(chosen) == str(alone.choose(str(key)))
    balancer.update(0, VERSIONS[:2])
    assert {number(balancer.choose(str(k), {"stage": "dev"})) for k in range(20)} == {2}
    assert balancer.stats["lb_subsets_removed"] == 0
    balancer.update(0, VERSIONS[:1])
    assert balancer.choose(1, {"stage": "dev"}) is None
    assert balancer.stats["lb_subsets_removed"] == 1
    assert balancer.stats["lb_subsets_active"] == 1


def test_an_unchanged_subset_keeps_its_place_in_the_cycle() -> None:
    # difference: kept-schedulers
    hosts = [host_with(n, group="ab"[n % 2]) for n in range(6)]
    balancer = subsets(hosts, ["group"], lb_policy="ROUND_ROBIN")
    assert [number(balancer.choose(metadata={"group": "a"})) for _ in range(2)] == [0, 2]
    balancer.update(0, [*hosts, host_with(7, group="b")])
    assert number(balancer.choose(metadata={"group": "a"})) == 4
    balancer.set_health(0, "UNHEALTHY")
    picked = [number(balancer.choose(metadata={"group": "a"})) for _ in range(2)]
    assert 0 not in picked


@pytest.mark.parametrize(("scaled", "share"), [(False, 10), (True, 4)])
def test_locality_weights_of_rule_sb_10(scaled: bool, share: int) -> None:
    # Locality x: weight 10, 3 of 7 hosts in the subset; y: weight 4, all in.
    hosts = [
        {**host_with(n, v="1" if n < 3 else "2"), "locality": "x", "locality_weight": 10}
        for n in range(7)
    ]
    hosts += [{**host_with(10 + n, v="1"), "locality": "y", "locality_weight": 4} for n in range(2)]
    balancer = subsets(
        hosts,
        ["v"],
        locality_weight_aware=True,
        scale_locality_weight=scaled,
        common_lb_config={"locality_weighted_lb_config": {}},
    )
    cycle = share + 4
    chosen = [balancer.choose(metadata={"v": "1"}) for _ in range(cycle)]
    places = [host.locality["zone"] for host in chosen if host is not None]
    assert places.count("x") == share


@pytest.mark.parametrize(
    "selector",
    [
        {"keys": ["a"], "fallback_keys_subset": ["a"]},
        {"keys": ["a", "b"], "fallback_policy": "KEYS_SUBSET"},
        {"keys": ["a"], "fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["a"]},
        {"keys": ["a"], "fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["b"]},
    ],
)
def test_bad_selectors_are_refused(selector: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        subsets(VERSIONS, selector)
    assert caught.value.path == "lb_subset_config.subset_selectors[0].fallback_keys_subset"
    with pytest.raises(ConfigError):
        subsets(VERSIONS, ["a"], locality_weight_aware=True)


# --- in any form -------------------------------------------------------------------------------

A, B, C = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"
PREVIOUS = (
    "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
)
SOCKET = {"socket_address": {"address": "10.0.0.1", "port_value": 80}}
RANDOM = {
    "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random",
}


@pytest.mark.parametrize(
    "policy",
    [
        "ring-hash",
        '{"lb_policy": "RING_HASH"}',
        "lb_policy: RING_HASH",
        "lbPolicy: RING_HASH",
        {"lb_policy": 2},
        {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "lb_policy": "RING_HASH"},
        {"lb_policy": "RING_HASH", "load_assignment": {"endpoints": []}},
    ],
)
def test_a_cluster_in_any_form(policy: Any) -> None:
    assert "ring_hash_lb.size" in LoadBalancer(policy, [A, B]).stats


@pytest.mark.parametrize(
    "policy",
    [
        RANDOM,
        {"name": "any", "typed_config": RANDOM},
        {"typed_extension_config": {"name": "any", "typed_config": RANDOM}},
        {"policies": [{"typed_extension_config": {"name": "any", "typed_config": RANDOM}}]},
        f"policies: [{{typed_extension_config: {{name: any, typed_config: {RANDOM}}}}}]",
        message_class("envoy.extensions.load_balancing_policies.random.v3.Random")(),
    ],
)
def test_a_policy_in_any_form(policy: Any) -> None:
    assert str(LoadBalancer(policy, [A, B], random=[1]).choose()) == B


@pytest.mark.parametrize(
    ("endpoints", "wanted"),
    [
        ({A: 3, B: 1}, [(A, 3, 0), (B, 1, 0)]),
        ({A: {"weight": 2, "priority": 1}}, [(A, 2, 1)]),
        ([[A, B], [(C, 2)]], [(A, 1, 0), (B, 1, 0), (C, 2, 1)]),
        ([(A, 2, 1), ("10.0.0.2", 80), ("10.0.0.3", 80, 4)], [(A, 2, 1), (B, 1, 0), (C, 4, 0)]),
        ([{"ip": "10.0.0.1", "port": 80}], [(A, 1, 0)]),
        ([{"address": SOCKET}], [(A, 1, 0)]),
        ({"lb_endpoints": [{"endpoint": {"address": SOCKET}}]}, [(A, 1, 0)]),
        ({"endpoint": {"address": SOCKET}}, [(A, 1, 0)]),
        ({"clusterName": "c", "endpoints": [{"lbEndpoints": []}]}, []),
        ("endpoints: []", []),
        ([[], [A]], [(A, 1, 1)]),
    ],
)
def test_endpoints_in_any_form(endpoints: Any, wanted: Any) -> None:
    found = [(h.address, h.weight, h.priority) for h in LoadBalancer("RANDOM", endpoints).hosts]
    assert found == wanted


def test_what_an_endpoint_may_say_of_itself() -> None:
    (host,) = LoadBalancer(
        "RANDOM", [{"address": A, "zone": "z", "region": "r", "canary": True, "healthy": False}]
    ).hosts
    assert host.locality == {"region": "r", "zone": "z"}
    assert host.metadata == {"envoy.lb": {"canary": True}}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda b: b.set_health(A, None),
        lambda b: b.set_active_requests(A, -1),
        lambda b: b.set_active_requests(A, 1.5),
        lambda b: b.choose(retry={"hosts": [A]}),
        lambda b: b.choose(override_host=("10.0.0.1", 80)),
        lambda b: b.update("0", [A]),
        lambda b: b.update(0, None),
        lambda b: LoadBalancer("RANDOM", [A], random="x"),
        lambda b: LoadBalancer("RANDOM", [A], random=lambda: 0.5).choose(),
        lambda b: LoadBalancer("RANDOM", [A], now=float("nan")),
        lambda b: priority_load([3]),  # type: ignore[list-item]
        lambda b: priority_load([(-1, 0)]),
        lambda b: priority_load([{"hosts": 1, "healthy": 0.5}]),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    balancer = LoadBalancer("RANDOM", [A, B], random=[0] * 9)
    with pytest.raises((ValueError, TypeError, ConfigError), match=" "):
        wrong(balancer)
    assert str(balancer.choose()) == A


def test_a_number_of_hosts_is_passed_over() -> None:
    balancer = LoadBalancer("ROUND_ROBIN", THREE, random=lambda: 0)
    assert picks(balancer, 1) == [0]
    assert str(balancer.choose(retry=1)) == THREE[2]
    assert str(balancer.choose(retry=0)) == THREE[0]
    ring = LoadBalancer("RING_HASH", THREE)
    assert str(ring.choose(7, retry=2)) == meshcore.RingHash([(a, 1) for a in THREE]).host(7, 2)
    assert str(balancer.choose(retry={"attempted": [1]})) == THREE[2]
    policy = {"retry_host_predicate": [{"name": "x", "typed_config": {"@type": f"{PREVIOUS}"}}]}
    assert str(balancer.choose(retry={"retry_policy": policy, "attempted": [THREE[0]]})) == THREE[1]
    assert str(balancer.choose(override_host=2)) == THREE[2]


# --- latency and load reports --------------------------------------------------------------------


def test_peak_ewma_of_rule_pe_6() -> None:
    now = [0.0]
    balancer = LoadBalancer("PEAK_EWMA", THREE[:2], random=[0, 0, 0, 0], now=lambda: now[0])
    assert balancer.latency(0) == 0.03
    now[0] = 5.0
    assert round(balancer.latency(0) * 1000, 3) == 18.196
    balancer.answered(0, 0.05)
    assert balancer.latency(0) == 0.05
    now[0] = 7.0
    balancer.answered(0, 0.02)
    assert round(balancer.latency(0) * 1000, 3) == 44.562
    assert str(balancer.choose()) == THREE[1]


def test_peak_ewma_draws_two_different_hosts_and_weighs_what_is_pending() -> None:
    balancer = LoadBalancer("PEAK_EWMA", THREE, random=[0, 1, 1, 0, 0, 0, 0, 1, 0], now=0)
    assert picks(balancer, 2) == [1, 0]  # 1 and 2 tie: the first drawn; 0 and 1
    balancer.set_active_requests(0, 1)
    assert picks(balancer, 1) == [1]  # against 0, which has a request
    assert picks(LoadBalancer("PEAK_EWMA", THREE[:1], random=[0], now=0), 1) == [0]


def test_an_estimate_that_fell_to_nothing_stays_there_until_an_answer() -> None:
    now = [0]
    kind = {"@type": "type.googleapis.com/meshcore.PeakEwma", "decay": "1s"}
    balancer = LoadBalancer(kind, THREE, now=lambda: now[0])
    now[0] = 1_000_000
    assert balancer.latency(0) == 0
    balancer.choose()
    now[0] += 1
    balancer.answered(0, 0.002)
    assert balancer.latency(0) == 0.002


PENALISED = {"@type": "type.googleapis.com/meshcore.PeakEwma", "failures_as_latency": True}


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({"status": 500}, 5),
        ({"status": None}, 5),
        ({"status": 503, "retry_after": 8}, 8),
        ({"status": 503, "retry_after": 1}, 5),
        ({"status": 500, "retry_after": 8}, 5),
        ({"status": 429, "retry_after": 1000}, 300),
        ({"grpc_status": 14, "retry_after": 9}, 9),
        ({"grpc_status": 13, "retry_after": 9}, 5),
        ({"grpc_status": 5}, 0.1),
        ({"status": 404}, 0.1),
    ],
)
def test_failures_count_as_latency(answer: dict[str, Any], seconds: float) -> None:
    now = [0.0]
    balancer = LoadBalancer(PENALISED, THREE, now=lambda: now[0])
    now[0] = 1.0
    balancer.answered(0, 0.1, **answer)
    assert balancer.latency(0) == seconds
    now[0] = 11.0
    assert round(balancer.latency(0) / seconds, 3) == 0.368


def test_client_side_weights_follow_the_reports() -> None:
    now = [1_000]
    balancer = LoadBalancer(
        "CLIENT_SIDE_WEIGHTED_ROUND_ROBIN", THREE, random=lambda: 0, now=lambda: now[0]
    )
    assert balancer.report_load(0, "TEXT rps_fractional=100, cpu_utilization=0.5") == 200
    assert balancer.report_load(1, {"rps_fractional": 100, "application_utilization": 0.25}) == 400
    assert balancer.report_load(2, "JSON {}") == 0
    with pytest.raises(TypeError, match="a report must be str or a mapping, not NoneType"):
        balancer.report_load(2, None)
    assert balancer.report_load(2, "XML") is None
    now[0] = 10_999
    assert set(picks(balancer, 3)) == {0, 1, 2}  # blackout
    now[0] = 12_000
    chosen = picks(balancer, 900)
    assert [chosen.count(n) for n in range(3)] == [200, 400, 300]  # the median for who says nothing
    assert balancer.hosts[2].weight == 300
    now[0] = 181_001
    assert balancer.choose() is not None
    assert {host.weight for host in balancer.hosts} == {1}  # expired


def test_load_reports_come_with_answers_and_not_out_of_band() -> None:
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies."
        "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
        "enable_oob_load_report": True,
    }
    policies = [{"typed_extension_config": {"name": "weights", "typed_config": typed}}]
    cluster = {"name": "c", "load_balancing_policy": {"policies": policies}}
    with pytest.raises(ConfigError, match="true is not supported") as failure:
        load(cluster, type="envoy.config.cluster.v3.Cluster")
    assert failure.value.path.endswith("typed_config.enable_oob_load_report")
    typed["enable_oob_load_report"] = False
    load(cluster, type="envoy.config.cluster.v3.Cluster")


def test_errors_and_named_metrics_lower_a_weight() -> None:
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies."
        "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
        "metric_names_for_computing_utilization": ["named_metrics.queue"],
        "error_utilization_penalty": 2.0,
    }
    balancer = LoadBalancer(typed, THREE)
    report = {"rps_fractional": 100, "eps": 10, "cpu_utilization": 0.9}
    assert balancer.report_load(0, report) == 90
    assert balancer.report_load(0, {**report, "named_metrics": {"queue": 0.05}}) == 400
    wire = "BIN MQAAAAAAAFlACQAAAAAAAOA/"  # rps_fractional 100, cpu_utilization 0.5
    assert balancer.report_load(0, wire) == 200


# --- outlier detection ----------------------------------------------------------------------------


def test_the_runtime_overrides_outlier_detection() -> None:
    watch = {"consecutive_5xx": 5, "max_ejection_percent": 100}
    runtime = {"outlier_detection": {"consecutive_5xx": 2}, "upstream.healthy_panic_threshold": 0}
    balancer = LoadBalancer(
        {"lb_policy": "RANDOM", "outlier_detection": watch}, THREE[:1], now=0, runtime=runtime
    )
    balancer.report(0, 500)
    assert balancer.health(0) == "healthy"
    balancer.report(0, 500)
    assert balancer.health(0) == "/failed_outlier_check"
    assert balancer.choose() is None


def test_outlier_detection_that_makes_no_sense_says_where() -> None:
    watch = {"base_ejection_time": "30s", "max_ejection_time": "10s"}
    with pytest.raises(ConfigError) as caught:
        LoadBalancer({"lb_policy": "RANDOM", "outlier_detection": watch}, THREE)
    assert caught.value.path == "outlier_detection.max_ejection_time"


EDS = {
    "type": "EDS",
    "eds_cluster_config": {"eds_config": {"path_config_source": {"path": "/dev/null"}}},
}


@pytest.mark.parametrize(
    ("cluster", "count"), [({}, 2), ({"type": "STRICT_DNS"}, 2), (EDS, 1)], ids=str
)
def test_an_address_given_twice(cluster: dict[str, Any], count: int) -> None:
    balancer = LoadBalancer({**cluster, "lb_policy": "RANDOM"}, [THREE[0], THREE[0]])
    assert [str(host) for host in balancer.hosts] == [THREE[0]] * count


# --- what Envoy refuses -------------------------------------------------------------------------

HOSTS = [
    {
        "lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}}
        ]
    }
]


@pytest.mark.parametrize(
    ("cluster", "path"),
    [
        ({"lb_policy": "CLUSTER_PROVIDED"}, "lb_policy"),
        ({"type": "ORIGINAL_DST"}, "lb_policy"),
        (
            {
                "type": "ORIGINAL_DST",
                "lb_policy": "CLUSTER_PROVIDED",
                "load_assignment": {"cluster_name": "c", "endpoints": HOSTS},
            },
            "load_assignment",
        ),
        (
            {
                "type": "ORIGINAL_DST",
                "lb_policy": "CLUSTER_PROVIDED",
                "lb_subset_config": {"subset_selectors": [{"keys": ["a"]}]},
            },
            "lb_subset_config",
        ),
        (
            {
                "lb_policy": "RING_HASH",
                "common_lb_config": {
                    "consistent_hashing_lb_config": {"use_hostname_for_hashing": True}
                },
            },
            "common_lb_config.consistent_hashing_lb_config.use_hostname_for_hashing",
        ),
        ({"load_balancing_policy": {"policies": []}}, "load_balancing_policy.policies"),
    ],
)
def test_clusters_that_envoy_refuses(cluster: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LoadBalancer({"name": "c", **cluster})
    assert caught.value.path == path


def test_the_first_policy_that_is_known_counts() -> None:
    known = "type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random"
    custom = {"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "type_url": "x/my.Policy"}
    policies = [
        {"typed_extension_config": {"name": "one", "typed_config": typed}}
        for typed in (custom, {"@type": known})
    ]
    balancer = LoadBalancer({"policies": policies}, THREE, random=iter([2]))
    assert balancer.choose() == balancer.hosts[2]


def test_a_priority_may_be_emptied_and_filled_again() -> None:
    balancer = LoadBalancer("RANDOM", THREE, random=iter([1, 2, 0]))
    balancer.update(0, {"endpoints": [{"lb_endpoints": []}]})
    assert balancer.choose() is None
    assert balancer.stats["upstream_cx_none_healthy"] == 1
    balancer.update(0, THREE)
    assert picks(balancer, 1) == [2]


def test_client_side_weights_are_medians_of_their_priority_and_outlive_updates() -> None:
    now = [0]
    kind = "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"
    typed = {
        "@type": f"type.googleapis.com/envoy.extensions.load_balancing_policies.{kind}",
        "blackout_period": "0s",
    }
    hosts = [{"address": f"10.0.0.{i}:80", "priority": i // 4, "weight": 9} for i in range(1, 8)]
    balancer = LoadBalancer(typed, hosts, random=0, now=lambda: now[0])
    reports = {1: "application_utilization=0.5", 2: "cpu_utilization=100", 4: "cpu_utilization=1"}
    for number, report in reports.items():
        balancer.report_load(f"10.0.0.{number}:80", f"TEXT rps_fractional=10,{report}")
    weights = [9] * 7
    for later, expected in ((0, weights), (1000, [20, 1, 10, 10, 10, 10, 10])):
        now[0] = later
        balancer.choose()
        assert [host.weight for host in balancer.hosts] == expected
    balancer.update(None, hosts)
    assert [host.weight for host in balancer.hosts] == [20, 1, 10, 10, 10, 10, 10]


def test_several_strings_are_hashed_as_those_of_a_header() -> None:
    hashed = LoadBalancer("MAGLEV", THREE)
    for strings, value in ((["alpha", "beta"], 5981147922904442091), ("alphabeta", None)):
        expected = 12820489739864339850 if value is None else value
        assert hashed.choose(strings) == hashed.choose(expected)
    with pytest.raises(ValueError, match="hash must be"):
        hashed.choose(1.5)  # type: ignore[arg-type]
