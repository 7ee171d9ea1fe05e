"""Requests and configurations about tracing, and what is left behind by them: one text for meshcore
and for Envoy, an upstream that echoes, a collector that keeps what it is sent."""

from __future__ import annotations

import json
from typing import Any

from upstreams import Exchange, Upstream

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def zipkin(**options: Any) -> dict[str, Any]:
    return {
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": "collector",
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
            **options,
        },
    }


def opentelemetry(**options: Any) -> dict[str, Any]:
    return {
        "name": "envoy.tracers.opentelemetry",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "http_service": {
                "http_uri": {
                    "uri": "http://collector/v1/traces",
                    "cluster": "collector",
                    "timeout": "1s",
                }
            },
            **options,
        },
    }


def cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


ODD = "a:b)%\"['é"  # a name with all that means something in a format


def of_route(name: str) -> dict[str, Any]:
    """A tag of the route's metadata."""
    key = {"key": "ns", "path": [{"key": name}]}
    kind: dict[str, Any] = {"route": {}}
    return {
        "tag": f"of-{name}",
        "metadata": {"kind": kind, "metadata_key": key, "default_value": "dv"},
    }


ROUTES: list[dict[str, Any]] = [
    {
        "match": {"prefix": "/decorated"},
        "route": {"cluster": "echo"},
        "decorator": {"operation": "deco"},
    },
    {
        "match": {"prefix": "/quiet"},
        "route": {"cluster": "echo"},
        "decorator": {"operation": "deco", "propagate": False},
    },
    {
        "match": {"prefix": "/off"},
        "route": {"cluster": "echo"},
        "tracing": {"random_sampling": {"numerator": 0}},
    },
    {
        "match": {"prefix": "/tagged"},
        "route": {"cluster": "echo"},
        # One field an object: the order of several is difference: tag-objects.
        "metadata": {
            "filter_metadata": {"ns": {"text": "", "null": None, "list": [1, "a"], ODD: "odd"}}
        },
        "tracing": {
            "custom_tags": [
                {"tag": "lit", "literal": {"value": "100 % route"}},
                {"tag": "head", "request_header": {"name": "x-none"}},
                {
                    "tag": "none",
                    "metadata": {
                        "kind": {"request": {}},
                        "metadata_key": {"key": "zz", "path": [{"key": "a"}]},
                        "default_value": "dv",
                    },
                },
                *(of_route(name) for name in ("text", "null", "list", ODD)),
            ]
        },
    },
    {"match": {"prefix": "/direct"}, "direct_response": {"status": 503}},
    {
        "match": {"prefix": "/refused"},
        "route": {"cluster": "refused", "retry_policy": {"retry_on": "5xx", "num_retries": 1}},
    },
    {"match": {"prefix": "/"}, "route": {"cluster": "echo"}},
]

TAGS: list[dict[str, Any]] = [
    {"tag": "lit", "literal": {"value": "hcm"}},
    {"tag": "env", "environment": {"name": "MESHCORE_NO_SUCH", "default_value": "fallback"}},
    {"tag": "empty", "environment": {"name": "MESHCORE_NO_SUCH"}},
    {"tag": "head", "request_header": {"name": "x-tag", "default_value": "nohead"}},
    {"tag": "headless", "request_header": {"name": "x-tag2"}},
    {"tag": "odd-head", "request_header": {"name": "x y?z", "default_value": "nohead"}},
    {"tag": "odder-head", "request_header": {"name": "x)%"}},
    {"tag": "fmt", "value": "%REQ(x-tag)%-%RESPONSE_CODE%"},
]


def bootstrap(
    provider: dict[str, Any] | None,
    ports: dict[str, Any],
    direction: str = "INBOUND",
    manager: dict[str, Any] | None = None,
    **tracing: Any,
) -> dict[str, Any]:
    configured = {**({"provider": provider} if provider else {}), **tracing}
    typed = {
        "@type": f"type.googleapis.com/{HCM}",
        "stat_prefix": "in",
        "tracing": configured,
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": ROUTES}],
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}},
        ],
        **(manager or {}),
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": ports["port"]}}
    return {
        "node": {"id": "node-1", "cluster": "svc", "locality": {"zone": "zone-1"}},
        "static_resources": {
            "listeners": [
                {
                    "name": "main",
                    "traffic_direction": direction,
                    "address": address,
                    "filter_chains": [{"filters": [{"name": "hcm", "typed_config": typed}]}],
                }
            ],
            "clusters": [
                {**cluster("echo", ports["echo"]), "alt_stat_name": "other"},
                cluster("collector", ports["collector"]),
                cluster("refused", 1),
            ],
        },
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    "static_layer": {
                        "tracing.zipkin.min_flush_spans": 1,
                        "tracing.zipkin.flush_interval_ms": 100,
                        "tracing.opentelemetry.min_flush_spans": 1,
                        "tracing.opentelemetry.flush_interval_ms": 100,
                    },
                }
            ]
        },
    }


async def collect(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.head(202, [("content-length", "0")])


def reported(collector: Upstream) -> list[dict[str, Any]]:
    """Every Zipkin span that came so far."""
    return [
        span
        for request in list(collector.requests)
        if request.body
        for span in json.loads(request.body)
    ]
