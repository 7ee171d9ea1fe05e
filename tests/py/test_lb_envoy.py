"""Hash policies against a real Envoy: the same key goes to the same host."""

from __future__ import annotations

import copy
import http.client
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bootstraps
import peers
import pytest
from differences import explained
from test_lb_model import World
from waiting import wait_until

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
    return [(f"127.0.{i // 250}.{i % 250 + 1}:{port}", 1 + i * i % 7) for i in range(count)]


def endpoint(address: str, weight: int = 1, **fields: Any) -> dict[str, Any]:
    ip, port = address.split(":")
    return {
        "endpoint": {"address": {"socket_address": {"address": ip, "port_value": int(port)}}},
        "load_balancing_weight": weight,
        **fields,
    }


def configuration(clusters: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A proxy that hashes the header x-key; the cluster NAME is reached by the path /NAME/."""
    by_key = [{"header": {"header_name": "x-key"}}]
    routes = [
        {"match": {"prefix": f"/{name}/"}, "route": {"cluster": name, "hash_policy": by_key}}
        for name in clusters
    ]
    return {
        "static_resources": {
            "listeners": [
                bootstraps.listener(bootstraps.manager(bootstraps.routing(routes)), "$port")
            ],
            "clusters": [{"name": name, **cluster} for name, cluster in clusters.items()],
        }
    }


def cluster_of(endpoints: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    assignment = {"cluster_name": "fleet", "endpoints": endpoints, **fields.pop("assignment", {})}
    return {"load_assignment": assignment, **fields}


def answers(port: int, name: str, count: int) -> list[str]:
    """The body of the cluster's answer for each of so many keys."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    bodies = []
    for number in range(count):
        client.request("GET", f"/{name}/", headers={"x-key": f"user-{number}"})
        bodies.append(client.getresponse().read().decode())
    client.close()
    return bodies


FLEETS = (3, 50, 500)
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


@pytest.fixture(scope="module")
def envoy_server(origin: int) -> Iterator[peers.Server]:
    """Envoy with a cluster for each case and fleet."""
    clusters = {
        f"{number}-{count}": cluster_of(
            [{"lb_endpoints": [endpoint(*host) for host in fleet(count, origin)]}], **policy
        )
        for number, (_, policy, _) in enumerate(CASES)
        for count in FLEETS
    }
    with peers.envoy(configuration(clusters)) as server:
        yield server


@pytest.mark.parametrize("count", FLEETS)
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case[0] for case in CASES])
def test_same_key_same_host(
    envoy_server: peers.Server, origin: int, number: int, count: int
) -> None:
    _, _, build = CASES[number]
    table = build(fleet(count, origin))
    expected = [
        table.host(xxhash.xxh64_intdigest(f"user-{number}".encode())).split(":")[0]
        for number in range(250)
    ]
    assert answers(envoy_server.port, f"{number}-{count}", 250) == expected
    assert len(set(expected)) >= min(count, 30)


# --- the whole way: priorities, panic, localities, keys ---------------------------------------

Group = dict[str, Any]


def group(hosts: str, priority: int = 0, **fields: Any) -> Group:
    """Endpoints 127.0.0.<first..>, one for each letter: Healthy, Unhealthy, Degraded, draiNing."""
    return {"hosts": hosts, "priority": priority, **fields}


def endpoints_of(groups: list[Group], port: int) -> list[dict[str, Any]]:
    statuses = {"H": "HEALTHY", "U": "UNHEALTHY", "D": "DEGRADED", "N": "DRAINING", "T": "TIMEOUT"}
    number, out = 0, []
    for fields in groups:
        rest = dict(fields)
        lb_endpoints = []
        for letter in rest.pop("hosts"):
            number += 1
            lb_endpoints.append(
                endpoint(f"127.0.0.{number}:{port}", 1 + number % 3, health_status=statuses[letter])
            )
        out.append({"lb_endpoints": lb_endpoints, **rest})
    return out


def zone(name: str, weight: int) -> dict[str, Any]:
    return {"locality": {"zone": name}, "load_balancing_weight": weight}


POLICIES = ("RING_HASH", "MAGLEV")
PANIC_10 = {"common_lb_config": {"healthy_panic_threshold": {"value": 10}}}
NO_PANIC = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
BY_LOCALITY = {"common_lb_config": {"locality_weighted_lb_config": {}}}
WHOLE: dict[str, tuple[list[Group], dict[str, Any]]] = {
    "one priority": ([group("HHHHHHH")], {}),
    "some unhealthy": ([group("HUHTHHNH")], {}),
    "panic": ([group("HUUU")], {}),
    "panic off": ([group("UUUU")], NO_PANIC),
    "no hosts": ([], {}),
    "two priorities": ([group("HUUUU"), group("HHHH", 1)], {}),
    "degraded": ([group("HDDD"), group("HHUU", 1)], {}),
    "PR-4": ([group("HHHDUUU"), group("HDUUUUUUU", 1)], {}),
    "PR-5": ([group("HUUUUUU"), group("HHUUUUUUU", 1), group("DUUUUUUUUUU", 2)], {}),
    "PR-5 threshold 10": (
        [group("HUUUUUU"), group("HHUUUUUUU", 1), group("DUUUUUUUUUU", 2)],
        PANIC_10,
    ),
    "draining leaves the denominator": ([group("HHNNNNNN"), group("HHH", 1)], {}),
    "overprovisioning": (
        [group("HHUUU"), group("HHH", 1)],
        {"assignment": {"policy": {"overprovisioning_factor": 100}}},
    ),
    "weighted priority health": (
        [group("HUUHU"), group("HHH", 1)],
        {"assignment": {"policy": {"weighted_priority_health": True}}},
    ),
    "hole between priorities": ([group("UU"), group("HH", 3)], {}),
    "localities": (
        [group("HHUU", **zone("b", 3)), group("HDH", **zone("a", 5)), group("HH", **zone("c", 1))],
        BY_LOCALITY,
    ),
    "locality without weight": (
        [group("HH", **zone("b", 3)), group("HHH", locality={"zone": "a"})],
        BY_LOCALITY,
    ),
    "locality panic": (
        [group("UUU", **zone("b", 3)), group("HUU", **zone("a", 5))],
        BY_LOCALITY,
    ),
}


def keyed(port: int) -> list[dict[str, Any]]:
    """Endpoints whose metadata names the key they are hashed by, some of them not a string."""
    keys: list[Any] = ["b", "a", "", 7, None]
    lb_endpoints = [
        endpoint(
            f"127.0.0.{number + 1}:{port}",
            metadata={"filter_metadata": {"envoy.lb": {"hash_key": key}}},
        )
        for number, key in enumerate(keys)
    ]
    return [{"lb_endpoints": lb_endpoints}]


@pytest.fixture(scope="module")
def both_servers(origin: int) -> Iterator[tuple[peers.Server, peers.Server]]:
    """meshcore and Envoy with a cluster for each case and policy."""
    clusters = {
        f"{policy}-{number}": cluster_of(
            endpoints_of(groups, origin), lb_policy=policy, **copy.deepcopy(fields)
        )
        for policy in POLICIES
        for number, (groups, fields) in enumerate(WHOLE.values())
    }
    clusters |= {
        f"{policy}-keyed": cluster_of(keyed(origin), lb_policy=policy) for policy in POLICIES
    }
    config = configuration(clusters)
    with peers.meshcore(config) as ours, peers.envoy(config) as theirs:
        yield ours, theirs


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("case", [*range(len(WHOLE)), "keyed"], ids=[*WHOLE, "metadata hash key"])
def test_gateway_answers_from_the_same_hosts(
    both_servers: tuple[peers.Server, peers.Server], policy: str, case: int | str
) -> None:
    ours, theirs = both_servers
    name = f"{policy}-{case}"
    assert answers(ours.port, name, 300) == answers(theirs.port, name, 300)


# --- subsets, zones -----------------------------------------------------------------------------


def described(port: int) -> list[dict[str, Any]]:
    """Twelve endpoints in two priorities and two zones, with metadata of all kinds."""
    metadata: list[dict[str, Any]] = [
        {"version": "1", "stage": "prod"},
        {"version": "1", "stage": "dev"},
        {"version": "2", "stage": "prod"},
        {"version": "2", "stage": "dev"},
        {"version": 1, "stage": "prod"},
        {"version": ["1", "3"], "stage": ["prod", "test"]},
        {"version": "1"},
        {"stage": "prod"},
        {},
        {"version": "1", "stage": "prod", "default": True},
        {"version": "4", "stage": "prod", "default": True},
        {"version": "1", "stage": "prod"},
    ]
    statuses = ["HEALTHY"] * 9 + ["UNHEALTHY", "HEALTHY", "DEGRADED"]
    endpoints = [
        endpoint(
            f"127.0.0.{number}:{port}",
            1 + number % 3,
            health_status=statuses[number - 1],
            metadata={"filter_metadata": {"envoy.lb": each}} if each else {},
        )
        for number, each in enumerate(metadata, 1)
    ]
    return [
        {"lb_endpoints": endpoints[:5], **zone("a", 3)},
        {"lb_endpoints": endpoints[5:9], **zone("b", 5)},
        {"lb_endpoints": endpoints[9:], "priority": 1, **zone("a", 2)},
    ]


TWO_KEYS = {"keys": ["version", "stage"]}
SUBSETS: dict[str, dict[str, Any]] = {
    "exact": {"subset_selectors": [TWO_KEYS]},
    "any": {"subset_selectors": [TWO_KEYS], "fallback_policy": "ANY_ENDPOINT"},
    "default": {
        "subset_selectors": [TWO_KEYS],
        "fallback_policy": "DEFAULT_SUBSET",
        "default_subset": {"default": True},
    },
    "panic any": {
        "subset_selectors": [TWO_KEYS],
        "fallback_policy": "DEFAULT_SUBSET",
        "default_subset": {"default": "nobody"},
        "panic_mode_any": True,
    },
    "list as any": {"subset_selectors": [TWO_KEYS, {"keys": ["stage"]}], "list_as_any": True},
    "selector none": {
        "subset_selectors": [{**TWO_KEYS, "fallback_policy": "NO_FALLBACK"}, {"keys": ["stage"]}],
        "fallback_policy": "ANY_ENDPOINT",
    },
    "selector keys": {
        "subset_selectors": [
            {**TWO_KEYS, "fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["stage"]},
            {"keys": ["stage"], "fallback_policy": "ANY_ENDPOINT"},
        ],
    },
    "hidden fallback": {
        "subset_selectors": [
            TWO_KEYS,
            {"keys": ["stage"], "fallback_policy": "ANY_ENDPOINT"},
        ],
    },
    "single host": {
        "subset_selectors": [{"keys": ["version"], "single_host_per_subset": True}],
    },
    "list of fallbacks": {
        "subset_selectors": [TWO_KEYS],
        "metadata_fallback_policy": "FALLBACK_LIST",
    },
    "weighted": {"subset_selectors": [{"keys": ["stage"]}], "locality_weight_aware": True},
    "scaled": {
        "subset_selectors": [{"keys": ["stage"]}],
        "locality_weight_aware": True,
        "scale_locality_weight": True,
    },
}
CRITERIA: list[dict[str, Any]] = [
    {"version": "1", "stage": "prod"},
    {"stage": "prod", "version": 1},
    {"version": "2", "stage": "dev"},
    {"version": "9", "stage": "prod"},
    {"version": "3", "stage": "test"},
    {"version": ["1", "3"], "stage": ["prod", "test"]},
    {"stage": "prod"},
    {"stage": "nowhere"},
    {"version": "1"},
    {"other": "x"},
    {"stage": "dev", "fallback_list": [{"version": "7"}, {"version": "2"}, {"stage": "prod"}]},
]


def subset_configuration(port: int) -> dict[str, Any]:
    clusters = {}
    for policy in POLICIES:
        for number, (name, fields) in enumerate(SUBSETS.items()):
            common = BY_LOCALITY if name in ("weighted", "scaled") else {}
            clusters[f"{policy}-{number}"] = cluster_of(
                described(port), lb_policy=policy, lb_subset_config=fields, **common
            )
    config = configuration(copy.deepcopy(clusters))
    listener = config["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    host = manager["route_config"]["virtual_hosts"][0]
    by_key = [{"header": {"header_name": "x-key"}}]
    host["routes"] = [
        {
            "match": {"prefix": f"/{name}/{index}/"},
            "route": {
                "cluster": name,
                "hash_policy": by_key,
                **({"metadata_match": {"filter_metadata": {"envoy.lb": wanted}}} if wanted else {}),
            },
        }
        for name in clusters
        for index, wanted in enumerate([*CRITERIA, None])
    ]
    return config


@pytest.fixture(scope="module")
def subset_servers(origin: int) -> Iterator[tuple[peers.Server, peers.Server]]:
    config = subset_configuration(origin)
    with peers.meshcore(config) as ours, peers.envoy(config) as theirs:
        yield ours, theirs


def whereabouts(port: int, path: str, count: int) -> list[str]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    found = []
    for number in range(count):
        client.request("GET", path, headers={"x-key": f"user-{number}"})
        response = client.getresponse()
        body = response.read().decode()
        found.append(body if response.status == 200 else str(response.status))
    client.close()
    return found


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("case", range(len(SUBSETS)), ids=list(SUBSETS))
def test_subsets_choose_the_same_hosts(
    subset_servers: tuple[peers.Server, peers.Server], policy: str, case: int
) -> None:
    ours, theirs = subset_servers
    for index in range(len(CRITERIA) + 1):
        path = f"/{policy}-{case}/{index}/"
        assert whereabouts(ours.port, path, 40) == whereabouts(theirs.port, path, 40), path


def zones_of(counts: dict[str, int], first: int, port: int) -> list[dict[str, Any]]:
    """Endpoints 127.0.<zone's letter>.<first..>."""
    return [
        {
            "lb_endpoints": [
                endpoint(f"127.0.{ord(name)}.{first + n}:{port}") for n in range(count)
            ],
            "locality": {"zone": name},
        }
        for name, count in counts.items()
    ]


@pytest.mark.parametrize("policy", ["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"])
def test_zone_aware_shares_are_the_same(origin: int, policy: str) -> None:
    upstream = zones_of({"a": 3, "b": 4, "c": 6}, 1, origin)
    local = zones_of({"a": 5, "b": 3, "c": 2}, 101, origin)
    config = configuration({"zones": cluster_of(upstream, lb_policy=policy)})
    config["static_resources"]["clusters"].append({"name": "ours", **cluster_of(local)})
    config["node"] = {"id": "node", "cluster": "ours", "locality": {"zone": "a"}}
    config["cluster_manager"] = {"local_cluster_name": "ours"}
    count = 1500
    wanted = {"a": 0.4614, "b": 0.5386 * 76 / 2691, "c": 0.5386 * 2615 / 2691}  # ZA-9
    with peers.meshcore(config) as ours, peers.envoy(config) as theirs:
        for server in (ours, theirs):
            found = [chr(int(body.split(".")[2])) for body in answers(server.port, "zones", count)]
            shares = {name: found.count(name) / count for name in wanted}
            assert all(abs(shares[name] - wanted[name]) < 0.05 for name in wanted), shares


# --- clusters of all kinds ------------------------------------------------------------------------

KEYS = 12


def generated(seed: int, port: int) -> tuple[dict[str, Any], list[dict[str, Any] | None]]:
    """A cluster whose policy hashes, over random hosts, and what requests ask of their host."""
    world = World(seed, ["RING_HASH", "MAGLEV"])
    assignment = {"cluster_name": "fleet", **world.assignment()}
    fields = {key: value for key, value in world.cluster.items() if key != "name"}
    text = json.dumps({**fields, "load_assignment": assignment})
    text = text.replace('"10.0.', '"127.1.').replace('"port_value": 80', f'"port_value": {port}')
    asked = json.dumps([world.metadata(0.6) for _ in range(5)])
    # In YAML, as Envoy is given it, a number with a point is text to Envoy.
    criteria = json.loads(asked, parse_float=lambda number: int(float(number)))
    cluster = json.loads(text, parse_float=lambda number: int(float(number)))
    return cluster, [None, *(each for each in criteria if each)]


@pytest.mark.parametrize("block", range(4))
def test_generated_clusters_choose_the_same_hosts(origin: int, block: int) -> None:
    seeds = range(block * 25, block * 25 + 25)
    made = {f"c{seed}": generated(seed, origin) for seed in seeds}
    config = configuration({name: cluster for name, (cluster, _) in made.items()})
    listener = config["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"] = [
        {
            "match": {"prefix": f"/{name}/{index}/"},
            "route": {
                "cluster": name,
                "hash_policy": [{"header": {"header_name": "x-key"}}],
                **({"metadata_match": {"filter_metadata": {"envoy.lb": wanted}}} if wanted else {}),
            },
        }
        for name, (_, criteria) in made.items()
        for index, wanted in enumerate(criteria)
    ]
    with peers.envoy(config) as server:
        for name, (cluster, criteria) in made.items():
            balancer = meshcore.LoadBalancer(cluster)
            for index, wanted in enumerate(criteria):
                hosts = [
                    balancer.choose(
                        f"user-{number}", None if wanted is None else {"envoy.lb": wanted}
                    )
                    for number in range(KEYS)
                ]
                expected = ["503" if host is None else host.address.split(":")[0] for host in hosts]
                assert whereabouts(server.port, f"/{name}/{index}/", KEYS) == expected, (
                    name,
                    wanted,
                )


GAUGES = {
    "ring_hash_lb.size": "",
    "ring_hash_lb.min_hashes_per_host": "",
    "ring_hash_lb.max_hashes_per_host": "",
    "maglev_lb.min_entries_per_host": explained("maglev-of-one"),
    "maglev_lb.max_entries_per_host": explained("maglev-of-one"),
}


def test_generated_clusters_have_the_same_gauges() -> None:
    made = {f"c{seed}": generated(seed, 9)[0] for seed in range(200, 300)}
    with peers.envoy(configuration(made)) as server:
        url = f"http://127.0.0.1:{server.admin_port}/stats?format=json&filter=^cluster.c"
        with urllib.request.urlopen(url) as response:
            rows = json.load(response)["stats"]
    theirs = {row["name"]: row["value"] for row in rows if "name" in row}
    for name, cluster in made.items():
        balancer = meshcore.LoadBalancer(cluster)
        ours, subsets = balancer.stats, "lb_subsets_active" in balancer.stats
        duplicates = "lb_subsets_single_host_per_subset_duplicate"
        compared = [duplicates] if subsets else list(GAUGES)  # else explained("subset-tables")
        for gauge in compared:
            theirs_too = theirs.get(f"cluster.{name}.{gauge}", 0)
            if theirs_too == 1 and GAUGES.get(gauge):
                continue
            assert ours.get(gauge, 0) == theirs_too, f"{name} {gauge}"
        if subsets:  # explained("subset-counts"): its main thread and one worker
            active = theirs.get(f"cluster.{name}.lb_subsets_active", 0)
            assert ours["lb_subsets_active"] * 2 == active, name


def test_the_greatest_weight_is_that_of_the_last_priority(tmp_path: Path) -> None:
    assignment = {
        "cluster_name": "eds",
        "endpoints": [
            {
                "priority": priority,
                "lb_endpoints": [
                    endpoint(f"10.0.{priority}.{weight}:1", weight) for weight in weights
                ],
            }
            for priority, weights in enumerate([(3, 9), (2, 4)])
        ],
    }
    kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    resources = [{"@type": kind, **assignment}]
    (tmp_path / "eds.json").write_text(json.dumps({"version_info": "1", "resources": resources}))
    source = {"path_config_source": {"path": str(tmp_path / "eds.json")}}
    config = configuration(
        {
            "static": cluster_of([{"lb_endpoints": [endpoint("10.0.0.1:1", 7)]}]),
            "eds": {"type": "EDS", "eds_cluster_config": {"eds_config": source}},
        }
    )
    config["node"] = {"id": "node", "cluster": "ours"}
    config["admin"] = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": "$admin_port"}}
    }
    wanted = ["cluster.eds.max_host_weight: 4", "cluster.static.max_host_weight: 0"]

    def shows(server: peers.Server) -> bool:
        url = f"http://127.0.0.1:{server.admin_port}/stats?filter=max_host_weight"
        with urllib.request.urlopen(url) as response:
            return sorted(response.read().decode().splitlines()) == wanted

    with peers.meshcore(config) as ours, peers.envoy(config) as theirs:
        for server in (ours, theirs):
            wait_until(lambda server=server: shows(server))
