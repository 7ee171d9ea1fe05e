"""A small configuration for the examples, built in Python: everything goes to one upstream."""

from __future__ import annotations

from typing import Any

MANAGER = (
    "type.googleapis.com/"
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def proxy_to(port: int, *filters: dict[str, Any]) -> dict[str, Any]:
    """An Envoy v3 bootstrap: a listener on a free port, and 127.0.0.1:port behind it."""
    manager = {
        "@type": MANAGER,
        "stat_prefix": "example",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                }
            ]
        },
        "http_filters": [*filters, {"name": "router", "typed_config": {"@type": ROUTER}}],
    }
    listener = {
        "name": "main",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
