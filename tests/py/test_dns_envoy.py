"""Names of every kind and by every family, as clusters resolve them beside real Envoy."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import peers
import yaml
from bootstraps import address, endpoint, listener, manager
from dns_server import DnsServer

TYPES = "type.googleapis.com/envoy.extensions."
CARES = TYPES + "network.dns_resolver.cares.v3.CaresDnsResolverConfig"
ANSWERS: dict[tuple[str, str], Any] = {
    ("a.test", "A"): [("127.0.0.1", 60)],
    ("two.test", "A"): [("127.0.0.2", 60), ("127.0.0.1", 60)],
    ("twice.test", "A"): [("127.0.0.1", 60), ("127.0.0.1", 60)],
    ("six.test", "AAAA"): [("::1", 60)],
    ("mix.test", "A"): [("127.0.0.1", 60)],
    ("mix.test", "AAAA"): [("::1", 60)],
    ("fail.test", "A"): "fail",
    ("fail.test", "AAAA"): "fail",
    ("half.test", "A"): "fail",
    ("half.test", "AAAA"): [("::1", 60)],
    ("alias.test", "A"): "a.test",
}
NAMES = [
    *("a.test", "two.test", "twice.test", "six.test", "mix.test", "fail.test", "half.test"),
    *("none.test", "alias.test", "A.TEST", "a.test.", "x..y", "127.0.0.1", "::1"),
    *("localhost", "b.localhost", "LOCALHOST.", "ip6-localhost"),
]
COUNTED = [
    *("update_attempt", "update_success", "update_failure", "update_no_rebuild", "update_empty"),
    *("membership_total", "membership_healthy", "membership_change", "max_host_weight"),
]
CLUSTERS = [
    (kind, family, name)
    for kind in ("STRICT_DNS", "LOGICAL_DNS")
    for family in ("AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL")
    for name in NAMES
]


def config(dns: int) -> dict[str, Any]:
    server = {"socket_address": {"address": "127.0.0.1", "port_value": dns}}
    resolver = {
        "@type": CARES,
        "resolvers": [server],
        "dns_resolver_options": {"no_default_search_domain": True},
        "query_tries": 1,
    }
    clusters = []
    for index, (kind, family, host) in enumerate(CLUSTERS):
        endpoints = [{"lb_endpoints": [endpoint(80, host)]}]
        clusters.append(
            {
                "name": f"c{index}",
                "type": kind,
                "dns_lookup_family": family,
                "dns_refresh_rate": "600s",
                "typed_dns_resolver_config": {"name": "cares", "typed_config": resolver},
                "load_assignment": {"cluster_name": f"c{index}", "endpoints": endpoints},
            }
        )
    return {
        "admin": {"address": address("$admin_port")},
        "static_resources": {
            "listeners": [listener(manager({"name": "none"}), "$port")],
            "clusters": clusters,
        },
    }


def page(server: peers.Server, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}{path}") as answer:
        text: str = answer.read().decode()
    return text


def found(server: peers.Server) -> dict[tuple[str, str, str], Any]:
    """Of each cluster: what it counted, and its hosts."""
    lines = page(server, "/stats?filter=^cluster").splitlines()
    stats = dict(line.rsplit(": ", 1) for line in lines)
    out: dict[tuple[str, str, str], Any] = {}
    for cluster in json.loads(page(server, "/clusters?format=json"))["cluster_statuses"]:
        name = cluster["name"]
        which = CLUSTERS[int(name[1:])]
        hosts = [
            (host["address"]["socket_address"]["address"], host.get("hostname"))
            for host in cluster.get("host_statuses", [])
        ]
        if which[1:] == ("ALL", "mix.test"):  # in the order that its two answers came in
            hosts = [(len(hosts), "")]
        out[which] = [stats[f"cluster.{name}.{each}"] for each in COUNTED], hosts
    return out


def test_first_answers() -> None:
    with DnsServer(ANSWERS) as dns:
        text = yaml.safe_dump(config(dns.port))
        text = text.replace("'$port'", "$port").replace("'$admin_port'", "$admin_port")
        with peers.envoy(text) as server:
            theirs = found(server)
        with peers.meshcore(text) as server:
            ours = found(server)
    for which, expected in theirs.items():
        assert (which, ours[which]) == (which, expected)
    assert len(theirs) == len(CLUSTERS)
