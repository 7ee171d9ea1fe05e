"""Options of clusters, listeners and bootstraps in older and rarer spellings, beside real Envoy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import clients
import peers
import yaml
from dns_server import DnsServer
from upstreams import Upstream, raw, respond

TYPES = "type.googleapis.com/envoy.extensions."
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
CARES = TYPES + "network.dns_resolver.cares.v3.CaresDnsResolverConfig"
BOTH = b"content-length: 3\r\ntransfer-encoding: chunked\r\n"
BOTH_LENGTHS = b"HTTP/1.1 200 OK\r\n" + BOTH + b"\r\n2\r\nok\r\n0\r\n\r\n"
Config = dict[str, Any]


def typed(**options: Any) -> Config:
    inner = {"explicit_http_config": {"http_protocol_options": {}}, **options}
    if "use_downstream_protocol_config" in options:
        del inner["explicit_http_config"]
    return {
        "typed_extension_protocol_options": {
            HTTP: {"@type": "type.googleapis.com/" + HTTP, **inner}
        }
    }


PROPER = {"header_key_format": {"proper_case_words": {}}}
LENGTHS = {"explicit_http_config": {"http_protocol_options": {"allow_chunked_length": True}}}
POOL = TYPES + "upstreams.http.generic.v3.GenericConnectionPoolProto"

# What each cluster has, by its name; which is asked for by a path.
CLUSTERS: dict[str, Config] = {
    "plain": {},
    "proper": {"http_protocol_options": PROPER},
    "not-proper": {"http_protocol_options": PROPER, **typed()},
    "once": {"max_requests_per_connection": 1},
    "not-once": {"common_http_protocol_options": {"max_requests_per_connection": 1}, **typed()},
    "mirrored": typed(use_downstream_protocol_config={"http_protocol_options": PROPER}),
    "selected": {"protocol_selection": "USE_DOWNSTREAM_PROTOCOL"},
    "pooled": {"upstream_config": {"name": "generic", "typed_config": {"@type": POOL}}},
    "lengths": typed(**LENGTHS),
    "no-lengths": {},
    "named": {"type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY"},
}


def config(port: int, lengths: int, dns: int) -> Config:
    clusters = []
    for name, more in CLUSTERS.items():
        host = "a.test" if name == "named" else "127.0.0.1"
        there = {"address": host, "port_value": lengths if "lengths" in name else port}
        endpoint = {"endpoint": {"address": {"socket_address": there}}}
        endpoints = [{"lb_endpoints": [endpoint], "proximity": 1}]
        assignment = {"cluster_name": name, "endpoints": endpoints}
        clusters.append({"name": name, "load_assignment": assignment, **copy.deepcopy(more)})
    routes = [{"match": {"prefix": f"/{name}/"}, "route": {"cluster": name}} for name in CLUSTERS]
    manager = {
        "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "main",
        "http_protocol_options": {"accept_http_10": True},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": TYPES + "filters.http.router.v3.Router"},
            }
        ],
        "route_config": {"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": routes}]},
    }
    name = "envoy.filters.network.http_connection_manager"
    listener = {
        "name": "main",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": "$port"}},
        "enable_reuse_port": False,
        "max_connections_to_accept_per_socket_event": 3,
        "filter_chains": [{"filters": [{"name": name, "typed_config": manager}]}],
    }
    server = {"socket_address": {"address": "127.0.0.1", "port_value": dns}}
    resolver = {"@type": CARES, "resolvers": [server], "udp_max_queries": 9}
    return {
        "typed_dns_resolver_config": {"name": "cares", "typed_config": resolver},
        "stats_flush_interval": "1s",
        "node": {"id": "one", "cluster": "all", "client_features": ["none"]},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def drive(server: peers.Server, origin: Upstream) -> list[Any]:
    seen: list[Any] = []
    for name in CLUSTERS:
        before = origin.connections
        origin.requests.clear()
        with clients.Connection(server.port) as connection:
            for _ in range(2):
                reply = connection.request(f"/{name}/", headers=[("x-one-two", "3")])
                seen.append((name, reply.status, reply.body))
        names = [header for request in origin.requests for header, _ in request.headers]
        seen.append((names, origin.connections - before))
    with clients.Connection(server.port) as connection:
        connection.send(b"GET /mirrored/ HTTP/1.0\r\nhost: a\r\n\r\n")
        seen.append((connection.reply().status, origin.requests[-1].version))
    return seen


def test_what_clients_and_upstreams_see() -> None:
    with ExitStack() as stack:
        dns = stack.enter_context(DnsServer({("a.test", "A"): [("127.0.0.1", 60)]}))
        origin = stack.enter_context(Upstream(respond(200, b"ok")))
        lengths = stack.enter_context(Upstream(raw(BOTH_LENGTHS)))
        text = yaml.safe_dump(config(origin.port, lengths.port, dns.port)).replace(
            "'$port'", "$port"
        )
        makes: tuple[Callable[..., peers.Server], ...] = (peers.envoy, peers.meshcore)
        seen = []
        for make in makes:
            with make(text) as server:
                seen.append(drive(server, origin))
    assert seen[1] == seen[0]
