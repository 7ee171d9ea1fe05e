"""Whole configurations as text for `peers`, of what a test is about: its routes and clusters."""

from __future__ import annotations

from textwrap import indent

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
