"""Configurations of what a test is about: whole ones as text for `peers`, and parts as trees."""

from __future__ import annotations

from textwrap import indent
from typing import Any

Tree = dict[str, Any]

MANAGER = (
    "type.googleapis.com/"
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"

# A cluster of one host, `$origin`.
ORIGIN = """\
- name: origin
  type: STATIC
  load_assignment:
    cluster_name: origin
    endpoints:
    - lb_endpoints:
      - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $origin}}}
"""


def bootstrap(routes: str, clusters: str = ORIGIN, *, top: str = "") -> str:
    """A bootstrap with one listener, on `$port`.

    `routes` and `clusters` are YAML lists, `top` is what else stands beside `static_resources`.
    """
    return f"""\
{top}
static_resources:
  listeners:
  - name: main
    address: {{socket_address: {{address: 127.0.0.1, port_value: $port}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {MANAGER}
          stat_prefix: main
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": {ROUTER}}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
{indent(routes, " " * 14)}
  clusters:
{indent(clusters, " " * 4)}
"""


# --- as trees -----------------------------------------------------------------------------------


def address(port: int | str, host: str = "127.0.0.1") -> Tree:
    return {"socket_address": {"address": host, "port_value": port}}


def endpoint(port: int | str, host: str = "127.0.0.1") -> Tree:
    return {"endpoint": {"address": address(port, host)}}


def cluster(name: str, *ports: int | str, **fields: Any) -> Tree:
    """A cluster of hosts on 127.0.0.1."""
    endpoints = [{"lb_endpoints": [endpoint(port) for port in ports]}]
    load = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "type": "STATIC", "load_assignment": load, **fields}


def routing(routes: list[Tree], **host: Any) -> Tree:
    """A route configuration with one virtual host, of every domain."""
    return {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes, **host}]}


def manager(routes: Tree, *filters: Tree, stat_prefix: str = "ingress", **fields: Any) -> Tree:
    """A connection manager; ``filters`` stand before the router."""
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}
    return {
        "@type": MANAGER,
        "stat_prefix": stat_prefix,
        "http_filters": [*filters, router],
        "route_config": routes,
        **fields,
    }


def listener(
    manager: Tree,
    port: int | str = 0,
    *,
    host: str = "127.0.0.1",
    name: str = "main",
    **fields: Any,
) -> Tree:
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": name,
        "address": address(port, host),
        "filter_chains": [{"filters": [network]}],
        **fields,
    }
