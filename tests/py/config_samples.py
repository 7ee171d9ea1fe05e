"""What the generator of configurations knows of messages: an instance of each that is valid, where
the annotations of the schema alone do not make one, and what fields need beside them."""

from __future__ import annotations

import json
from typing import Any

Tree = dict[str, Any]
TYPE = "type.googleapis.com/"
BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
MANAGERS = "envoy.extensions.filters.network.http_connection_manager.v3"
HCM = f"{MANAGERS}.HttpConnectionManager"
CLUSTERS = "envoy.config.cluster.v3.Cluster"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ROUTES = "envoy.config.route.v3"
BALANCERS = "envoy.extensions.load_balancing_policies"
MATCHING = "xds.type.matcher.v3"
FILTERS = "envoy.extensions.filters.http"
SESSIONS = "envoy.extensions.http.stateful_session"


def any_of(kind: str, **fields: Any) -> Tree:
    return {"@type": TYPE + kind, **fields}


def named(kind: str, name: str = "x", **fields: Any) -> Tree:
    """An extension."""
    return {"name": name, "typed_config": any_of(kind, **fields)}


def address(port: int = 10001) -> Tree:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


RAW = named("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")
ROUTER = named(f"{FILTERS}.router.v3.Router", "router")
ROUTE: Tree = {"match": {"prefix": "/"}, "route": {"cluster": "c"}}
HOST = {"name": "v", "domains": ["*"], "routes": [ROUTE]}
MANAGER: Tree = {
    "stat_prefix": "m",
    "route_config": {"virtual_hosts": [HOST]},
    "http_filters": [ROUTER],
}
CLUSTER = {"name": "c", "type": "STATIC", "load_assignment": {"cluster_name": "c"}}
LISTENER: Tree = {
    "name": "l",
    "address": address(10000),
    "filter_chains": [{"filters": [named(HCM, "h", **MANAGER)]}],
}
INPUT = named("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "i", header_name="x-a")
CEL_INPUT = named(f"{MATCHING}.HttpAttributesCelMatchInput", "i")
CEL: Tree = {"const_expr": {"bool_value": True}}
CEL_SELECT: Tree = {"operand": {"ident_expr": {"name": "request"}}, "field": "path"}
CEL_PACKAGES = ("cel.expr", "google.api.expr.v1alpha1")
CEL_PARTS: dict[str, Tree] = {
    "Expr": CEL,
    "ParsedExpr": {"expr": CEL},
    "CheckedExpr": {"expr": CEL},
    "Expr.Ident": {"name": "request"},
    "Expr.Select": CEL_SELECT,
    "Expr.Call": {"function": "!_", "args": [CEL]},
}
PARSED: Tree = {"cel_expr_parsed": {"expr": CEL}}
PREDICATE = {"input": INPUT, "value_match": {"exact": "x"}}
ON_MATCH = {"action": named(f"{ROUTES}.Route", "a", **ROUTE)}
FIELD_MATCHER = {"predicate": {"single_predicate": PREDICATE}, "on_match": ON_MATCH}
ROUND_ROBIN = {"typed_extension_config": named(f"{BALANCERS}.round_robin.v3.RoundRobin", "p")}
WEIGHTED = f"{BALANCERS}.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"
TEMPLATE = named("envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig")
TEMPLATE["typed_config"]["path_template"] = "/x"
REWRITE = named("envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig")
REWRITE["typed_config"]["path_template_rewrite"] = "/x"
NO_CHECKS: Tree = {"not_health_check_filter": {}}
GRADIENT = {
    "concurrency_limit_params": {"concurrency_update_interval": "1s"},
    "min_rtt_calc_params": {"interval": "60s"},
}
SESSION = named(
    f"{SESSIONS}.cookie.v3.CookieBasedSessionState",
    "envoy.http.stateful_session.cookie",
    cookie={"name": "x"},
)
FRAGMENT: Tree = {"header_value_extractor": {"name": "x", "index": 0}}
SCOPE: Tree = {
    "name": "x",
    "key": {"fragments": [{"string_key": "x"}]},
    "route_configuration": {"name": "r"},
}
FILE = {"path_config_source": {"path": "/dev/null"}}
LOG = named("envoy.extensions.access_loggers.file.v3.FileAccessLog", path="/dev/null")
HEAP = "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
MONITOR = named(HEAP, "m", max_heap_size_bytes=10**9)
TRIGGER = {"name": "m", "threshold": {"value": 0.9}}
ZIPKIN = {
    "collector_cluster": "c",
    "collector_endpoint": "/x",
    "collector_endpoint_version": "HTTP_JSON",
}
CODEC = named(f"{FILTERS}.upstream_codec.v3.UpstreamCodec")
STATUSES = {"start": 200, "end": 201}

# By message: an instance that is valid, where what the annotations ask for is not enough.
MINIMAL: dict[str, Tree] = {
    BOOTSTRAP: {
        "node": {"id": "n", "cluster": "n"},
        "admin": {"address": address(9901)},
        "static_resources": {"listeners": [LISTENER], "clusters": [CLUSTER]},
    },
    f"{BOOTSTRAP}.StaticResources": {"listeners": [LISTENER], "clusters": [CLUSTER]},
    "envoy.config.listener.v3.Listener": LISTENER,
    "envoy.config.listener.v3.FilterChain": LISTENER["filter_chains"][0],
    "envoy.config.listener.v3.Filter": LISTENER["filter_chains"][0]["filters"][0],
    "envoy.config.core.v3.Address": address(),
    "envoy.config.core.v3.SocketAddress": address()["socket_address"],
    "envoy.config.core.v3.ConfigSource": FILE,
    "envoy.config.core.v3.PathConfigSource": {"path": "/dev/null"},
    "envoy.config.core.v3.WatchedDirectory": {"path": "/dev"},
    "envoy.config.core.v3.SchemeHeaderTransformation": {"scheme_to_overwrite": "http"},
    "envoy.config.core.v3.SubstitutionFormatString": {"text_format_source": {"inline_string": "x"}},
    "envoy.config.core.v3.TransportSocket": RAW,
    "envoy.config.cluster.v3.Cluster.TransportSocketMatch": {"name": "x", "transport_socket": RAW},
    "envoy.config.listener.v3.ListenerFilter": named(
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
    ),
    "envoy.config.core.v3.KeyValuePair": {"key": "x", "value": "y"},
    "envoy.config.core.v3.KeyValueMutation": {"remove": "x"},
    "envoy.config.core.v3.KeyValueAppend": {"record": {"key": "x", "value": "y"}},
    "envoy.config.core.v3.RuntimePercent": {"default_value": {"value": 50}, "runtime_key": "x"},
    HCM: MANAGER,
    f"{MANAGERS}.HttpFilter": ROUTER,
    f"{MANAGERS}.HttpFilter#cluster": CODEC,
    f"{MANAGERS}.HttpFilter#upstream": CODEC,
    f"{MANAGERS}.HttpFilter#tries": CODEC,
    f"{MANAGERS}.Rds": {"route_config_name": "r", "config_source": FILE},
    f"{MANAGERS}.ScopedRds": {"scoped_rds_config_source": FILE},
    f"{MANAGERS}.ScopedRoutes": {
        "name": "x",
        "scope_key_builder": {"fragments": [FRAGMENT]},
        "scoped_route_configurations_list": {"scoped_route_configurations": [SCOPE]},
    },
    f"{MANAGERS}.ScopedRoutes.ScopeKeyBuilder": {"fragments": [FRAGMENT]},
    f"{MANAGERS}.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder": FRAGMENT,
    f"{MANAGERS}.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor": (
        FRAGMENT["header_value_extractor"]
    ),
    f"{ROUTES}.ScopedRouteConfiguration": SCOPE,
    f"{ROUTES}.RouteConfiguration": MANAGER["route_config"],
    f"{ROUTES}.VirtualHost": HOST,
    f"{ROUTES}.Route": ROUTE,
    f"{ROUTES}.RouteMatch": ROUTE["match"],
    f"{ROUTES}.RouteAction": ROUTE["route"],
    f"{ROUTES}.RouteAction.RequestMirrorPolicy": {"cluster": "c"},
    f"{ROUTES}.RouteAction.UpgradeConfig": {"upgrade_type": "CONNECT"},
    f"{ROUTES}.HeaderMatcher": {"name": "x-a", "present_match": True},
    f"{ROUTES}.CookieMatcher": {"name": "x", "string_match": {"exact": "x"}},
    f"{ROUTES}.VirtualCluster": {
        "name": "x",
        "headers": [{"name": "x-a", "present_match": True}],
    },
    f"{ROUTES}.WeightedCluster": {"clusters": [{"name": "c", "weight": 1}]},
    f"{ROUTES}.WeightedCluster.ClusterWeight": {"name": "c", "weight": 1},
    f"{ROUTES}.RateLimit.Action.RemoteAddressMatch": {
        "descriptor_value": "x",
        "address_matcher": {"ranges": [{"address_prefix": "10.0.0.0"}]},
    },
    f"{ROUTES}.RateLimit.HitsAddend": {"number": 1},
    f"{ROUTES}.FilterConfig": {"disabled": True},
    f"{ROUTES}.ClusterSpecifierPlugin": {
        "extension": named("google.protobuf.Struct"),
        "is_optional": True,
    },
    f"{ROUTES}.RetryPolicy.RetryHostPredicate": named(
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    ),
    f"{ROUTES}.RetryPolicy.RetryPriority": named(
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        update_frequency=2,
    ),
    "envoy.config.core.v3.TypedExtensionConfig#path_match_policy": TEMPLATE,
    "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig": {"path_template": "/x"},
    "envoy.config.core.v3.TypedExtensionConfig#path_rewrite_policy": REWRITE,
    "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig": {
        "path_template_rewrite": "/x"
    },
    CLUSTERS: {**CLUSTER, "name": "x"},
    f"{CLUSTERS}.CustomClusterType": named(
        "envoy.extensions.clusters.aggregate.v3.ClusterConfig", clusters=["c"]
    ),
    f"{CLUSTERS}.EdsClusterConfig": {"eds_config": {**FILE, "resource_api_version": "V3"}},
    "envoy.extensions.clusters.aggregate.v3.ClusterConfig": {"clusters": ["c"]},
    "envoy.config.cluster.v3.LoadBalancingPolicy": {"policies": [ROUND_ROBIN]},
    "envoy.config.cluster.v3.LoadBalancingPolicy.Policy": ROUND_ROBIN,
    "envoy.config.endpoint.v3.LbEndpoint": {"endpoint": {"address": address()}},
    "envoy.config.endpoint.v3.Endpoint": {"address": address()},
    "envoy.config.endpoint.v3.Endpoint.AdditionalAddress": {"address": address()},
    f"{BALANCERS}.override_host.v3.OverrideHost": {
        "override_host_sources": [{"header": "x-a"}],
        "fallback_policy": {"policies": [ROUND_ROBIN]},
    },
    f"{BALANCERS}.override_host.v3.OverrideHost.OverrideHostSource": {"header": "x-a"},
    f"{BALANCERS}.wrr_locality.v3.WrrLocality": {
        "endpoint_picking_policy": {"policies": [{"typed_extension_config": named(WEIGHTED)}]}
    },
    **{
        f"{kind}.TypedStruct": {
            "type_url": f"{TYPE}{BALANCERS}.round_robin.v3.RoundRobin",
            "value": {},
        }
        for kind in ("xds.type.v3", "udpa.type.v1")
    },
    OPTIONS: {"explicit_http_config": {"http_protocol_options": {}}},
    "envoy.config.common.matcher.v3.MatchPredicate": {"any_match": True},
    "envoy.config.common.matcher.v3.MatchPredicate.MatchSet": {"rules": [{"any_match": True}] * 2},
    "envoy.config.rbac.v3.Permission": {"any": True},
    "envoy.config.rbac.v3.Principal": {"any": True},
    "envoy.type.v3.HttpStatus": {"code": "OK"},
    "envoy.type.v3.TokenBucket": {"max_tokens": 1, "fill_interval": "1s"},
    "envoy.type.v3.Int32Range": STATUSES,
    "envoy.type.v3.Int64Range": STATUSES,
    "envoy.type.http.v3.Cookie": {"name": "x"},
    "envoy.type.matcher.v3.StringMatcher": {"exact": "x"},
    "envoy.type.matcher.v3.ValueMatcher": {"present_match": True},
    "envoy.type.matcher.v3.ListMatcher": {"one_of": {"present_match": True}},
    "envoy.type.matcher.v3.OrMatcher": {"value_matchers": [{"present_match": True}] * 2},
    f"{MATCHING}.Matcher": {"matcher_list": {"matchers": [FIELD_MATCHER]}},
    f"{MATCHING}.Matcher.OnMatch": ON_MATCH,
    f"{MATCHING}.Matcher.MatcherList.Predicate": {"single_predicate": PREDICATE},
    f"{MATCHING}.Matcher.MatcherList.Predicate.PredicateList": {
        "predicate": [{"single_predicate": PREDICATE}] * 2
    },
    f"{MATCHING}.Matcher.MatcherList.Predicate.SinglePredicate": PREDICATE,
    f"{MATCHING}.StringMatcher": {"exact": "x"},
    f"{MATCHING}.CelMatcher": {"expr_match": PARSED},
    "xds.type.v3.CelExpression": PARSED,
    "xds.core.v3.TypedExtensionConfig#input": INPUT,
    "xds.core.v3.TypedExtensionConfig#action": ON_MATCH["action"],
    "xds.core.v3.TypedExtensionConfig#check": named(f"{MATCHING}.CelMatcher", expr_match=PARSED),
    **{f"{package}.{name}": tree for package in CEL_PACKAGES for name, tree in CEL_PARTS.items()},
    "envoy.config.accesslog.v3.AccessLog": LOG,
    "envoy.config.accesslog.v3.AccessLogFilter": NO_CHECKS,
    "envoy.config.accesslog.v3.AndFilter": {"filters": [NO_CHECKS] * 2},
    "envoy.config.accesslog.v3.OrFilter": {"filters": [NO_CHECKS] * 2},
    "envoy.config.accesslog.v3.ExtensionFilter": named(
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression="true"
    ),
    "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter": {"expression": "true"},
    "envoy.extensions.access_loggers.file.v3.FileAccessLog": {"path": "/dev/null"},
    "envoy.config.overload.v3.ResourceMonitor": MONITOR,
    HEAP: {"max_heap_size_bytes": 10**9},
    "envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig": {
        "filename": "/dev/null"
    },
    "envoy.config.overload.v3.Trigger": TRIGGER,
    "envoy.config.overload.v3.ScaledTrigger": {
        "scaling_threshold": 0.5,
        "saturation_threshold": 0.9,
    },
    "envoy.config.overload.v3.OverloadAction": {
        "name": "envoy.overload_actions.stop_accepting_requests",
        "triggers": [TRIGGER],
    },
    "envoy.config.overload.v3.LoadShedPoint": {
        "name": "envoy.load_shed_points.tcp_listener_accept",
        "triggers": [TRIGGER],
    },
    "envoy.config.trace.v3.Tracing.Http": named("envoy.config.trace.v3.ZipkinConfig", **ZIPKIN),
    "envoy.config.trace.v3.ZipkinConfig": ZIPKIN,
    f"{FILTERS}.buffer.v3.BufferPerRoute": {"disabled": True},
    f"{FILTERS}.adaptive_concurrency.v3.AdaptiveConcurrency": {
        "gradient_controller_config": GRADIENT
    },
    f"{FILTERS}.adaptive_concurrency.v3.GradientControllerConfig": GRADIENT,
    f"{FILTERS}.adaptive_concurrency.v3.GradientControllerConfig.MinimumRTTCalculationParams": {
        "interval": "60s"
    },
    f"{FILTERS}.admission_control.v3.AdmissionControl.SuccessCriteria.HttpCriteria": {
        "http_success_status": [STATUSES]
    },
    f"{FILTERS}.header_to_metadata.v3.Config.Rule": {
        "header": "x-a",
        "on_header_present": {"key": "x", "metadata_namespace": "x"},
    },
    f"{FILTERS}.local_ratelimit.v3.LocalRateLimit": {
        "stat_prefix": "x",
        "token_bucket": {"max_tokens": 1, "fill_interval": "1s"},
    },
    f"{FILTERS}.stateful_session.v3.StatefulSession": {"session_state": SESSION},
    "envoy.config.core.v3.TypedExtensionConfig#session": SESSION,
    f"{SESSIONS}.cookie.v3.CookieBasedSessionState": {"cookie": {"name": "x"}},
}

SOURCE = {"source_address": {"address": "127.0.0.1", "port_value": 0}}
# By message and field: what must stand beside it, or (None) must not.
BESIDE: dict[tuple[str, str], Tree] = {
    (CLUSTERS, "cluster_type"): {"lb_policy": "CLUSTER_PROVIDED", "load_assignment": None},
    (CLUSTERS, "original_dst_lb_config"): {
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "load_assignment": None,
    },
    (CLUSTERS, "eds_cluster_config"): {"type": "EDS", "load_assignment": None},
    (CLUSTERS, "ring_hash_lb_config"): {"lb_policy": "RING_HASH"},
    (CLUSTERS, "maglev_lb_config"): {"lb_policy": "MAGLEV"},
    (CLUSTERS, "least_request_lb_config"): {"lb_policy": "LEAST_REQUEST"},
    ("envoy.config.core.v3.BindConfig", "extra_source_addresses"): SOURCE,
    ("envoy.config.core.v3.BindConfig", "additional_source_addresses"): SOURCE,
    ("envoy.config.core.v3.SocketOption", "name"): {"int_value": 1},
    ("envoy.config.core.v3.HealthCheck.HttpHealthCheck", "send"): {"method": "POST"},
    (f"{ROUTES}.VirtualHost", "matcher"): {"routes": None},
    (HCM, "scoped_routes"): {"route_config": None},
    (HCM, "rds"): {"route_config": None},
    ("envoy.config.core.v3.KeyValueMutation", "append"): {"remove": None},
}
# By message: what its parent must have.
WITHIN: dict[str, Tree] = {
    "envoy.config.overload.v3.ScaleTimersOverloadActionConfig": {
        "name": "envoy.overload_actions.reduce_timeouts"
    },
    "envoy.config.overload.v3.ShrinkHeapConfig": {"name": "envoy.overload_actions.shrink_heap"},
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig": {
        "name": "envoy.resource_monitors.global_downstream_max_connections"
    },
    f"{SESSIONS}.header.v3.HeaderBasedSessionState": {"name": "envoy.http.stateful_session.header"},
}
TEMPLATED = (
    ('"match": {"prefix": "/"}', f'"match": {json.dumps({"path_match_policy": TEMPLATE})}'),
)
# By a part of a table's name: what takes the place of what in the text of the bootstrap.
INSTEAD: dict[str, tuple[tuple[str, str], ...]] = {
    ".decompressor.v3.": (
        ("http.compressor.v3.Compressor", "http.decompressor.v3.Decompressor"),
        ('"compressor_library"', '"decompressor_library"'),
    ),
    "clusters.dns.v3": (('"lb_policy": "CLUSTER_PROVIDED", ', ""),),
    "path.rewrite": TEMPLATED,
    "path_rewrite_policy": TEMPLATED,
    "LocalClusterRateLimit": (
        (
            '"static_resources"',
            '"cluster_manager": {"local_cluster_name": "c"}, "static_resources"',
        ),
    ),
    **{
        part: ((json.dumps(INPUT), json.dumps(CEL_INPUT)),)
        for part in (
            *("CelMatcher", "CelExpression", "cel.expr.", "#check", "protobuf.Empty"),
            *("v1alpha1.SourceInfo", "v1alpha1.ParsedExpr"),
        )
    },
}
# Ways that are taken only to what no other leads to: by field, or by message.
DETOURS = {
    "forward_client_cert_matcher",
    "typed_per_filter_config",
    "typed_extension_protocol_options",
    "cors",
    "config",
    f"{BOOTSTRAP}.tracing",
    f"{CLUSTERS}.http_protocol_options",
    "eds_cluster_config",
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    "google.api.expr.v1alpha1.CheckedExpr",
}
# The keys of maps.
KEYS = {
    "typed_extension_protocol_options": OPTIONS,
    **dict.fromkeys(("reference_map", "type_map", "positions", "macro_calls"), "1"),
}
SIXTH = {"address": "::1", "port_value": 0}
# Values that are valid, by the field's name, or by message and field.
SAMPLES: dict[str | tuple[str, str], Any] = {
    "cluster": "c",
    "stat_prefix": "s",
    "regex": "x",
    "header_name": "x-a",
    "address_prefix": "10.0.0.0",
    "prefix": "/x",
    "port_value": 80,
    "binary": "eA==",
    "text": "78",
    "extra_source_addresses": {"address": SIXTH},
    "additional_source_addresses": SIXTH,
    "http_filters": ROUTER,
    "path_template": "/x",
    "path_template_rewrite": "/x",
    ("envoy.extensions.access_loggers.file.v3.FileAccessLog", "path"): "/dev/null",
    (f"{FILTERS}.decompressor.v3.Decompressor", "decompressor_library"): named(
        "envoy.extensions.compression.gzip.decompressor.v3.Gzip"
    ),
}
