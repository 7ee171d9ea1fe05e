"""What is refused when a configuration is loaded, beside real Envoy: every verdict the same."""

from __future__ import annotations

import json
import random
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from config_mutations import Case, bootstrap, cases_of, judged, make, minimal, put, ways
from config_samples import (
    BALANCERS,
    CLUSTERS,
    FILE,
    HCM,
    MANAGERS,
    OPTIONS,
    ROUTES,
    any_of,
    named,
)
from differences import explained

from meshcore.config import load, support
from meshcore.gateway import Gateway

pytestmark = pytest.mark.oracle


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a configuration names are made when it is loaded."""
    monkeypatch.chdir(tmp_path)


BOOT = "envoy.config.bootstrap.v3"
SINK = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink"
CHECK = {
    "timeout": "1s",
    "interval": "1s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "tcp_health_check": {},
}
HTTP = any_of(OPTIONS, explicit_http_config={"http_protocol_options": {}})
STATE = {"filter_state": {"key": "x"}}
RANGES = {"ranges": [{"address_prefix": "10.0.0.0"}]}
VALUES: list[Any] = [None, [], {}, {"b": [1]}, {"numerator": [1]}, {"b": {"c": None}}, True]
EDS = {"path_config_source": {"path": "/dev/null"}, "resource_api_version": "V3"}
RECORDS = "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"
HITS: list[dict[str, Any]] = [
    {},
    {"is_negative_hits": True},
    {"number": 1, "format": "%REQ(x)%"},
    {"format": "%REQ(x)%%REQ(y)%"},
    {"format": "%%"},
    {"format": "%REQ(x)%"},
    {"number": 0},
]
# By message and field: values that one of both once took for something else.
ODD: dict[tuple[str, str], list[Any]] = {
    (CLUSTERS, "typed_extension_protocol_options"): [
        {name: HTTP}
        for name in (OPTIONS, "envoy.upstreams.http.http_protocol_options", "x", "envoy.filters.x")
    ],
    (CLUSTERS, "health_checks"): [
        [{**CHECK, "event_log_path": "/nowhere/x"}],
        [{**CHECK, "event_logger": [named(SINK, event_log_path="/nowhere/x")]}],
    ],
    (CLUSTERS, "transport_socket"): [{"name": "envoy.transport_sockets.raw_buffer"}],
    ("envoy.config.core.v3.GrpcService", "initial_metadata"): [
        *([{"key": key, "value": "x"}] for key in ("host", "Host", ":path", "x")),
        *([{"key": "x", "value": value}] for value in ("%REQ(", "%%", "%NOPE%")),
    ],
    ("envoy.config.core.v3.HttpService", "request_headers_to_add"): [
        [{"header": {"key": "x", "value": value}}] for value in ("%REQ(", "%%", "%NOPE%")
    ],
    ("envoy.config.core.v3.KeyValueMutation", "append"): [
        {"record": {"key": "x", "value": "y"}},
        {"record": {"key": "x"}},
        {"record": {"key": "x", "value": None}},
        {"entry": {"key": "x", "value": "eA=="}},
    ],
    ("envoy.extensions.filters.http.header_mutation.v3.Mutations", "query_parameter_mutations"): [
        [{"remove": "x", "append": {"record": {"key": "x", "value": "y"}}}]
    ],
    (HCM, "http2_protocol_options"): [
        {"max_concurrent_streams": 100, "connection_keepalive": {"timeout": "1s"}},
        {"max_concurrent_streams": 0},
    ],
    (f"{ROUTES}.RouteAction", "retry_policy_typed_config"): [
        any_of(f"{ROUTES}.RetryPolicy", retry_on="5xx")
    ],
    (f"{ROUTES}.Route", "metadata"): [
        {"typed_filter_metadata": {"x": any_of("google.protobuf.StringValue", value="x")}},
        {"typed_filter_metadata": {"x": {"@type": "type.googleapis.com/envoy.nope.X"}}},
    ],
    ("envoy.config.core.v3.PathConfigSource", "watched_directory"): [
        {"path": path} for path in ("x", "/dev/null", "/dev")
    ],
    ("envoy.config.core.v3.ConfigSource", "path"): [""],
    ("envoy.type.v3.TokenBucket", "fill_interval"): ["0.0005s", "0.049s", "0.05s"],
    ("envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", "token_bucket"): [
        {"max_tokens": 0, "fill_interval": "0.001s"},
        {"max_tokens": 1, "fill_interval": "0.001s"},
    ],
    (RECORDS, "formatters"): [[named("envoy.extensions.formatter.metadata.v3.Metadata")]],
    (f"{MANAGERS}.Rds", "config_source"): [FILE],
    (HCM, "rds"): [{}, {"route_config_name": "x"}],
    ("envoy.config.trace.v3.ZipkinConfig", "collector_service"): [{}],
    ("envoy.config.core.v3.HealthCheck.Payload", "text"): ["\t", "0 0", "0", "00ff", "", "FF"],
    ("envoy.extensions.clusters.dns.v3.DnsCluster", "dns_failure_refresh_rate"): [
        {"base_interval": base, "max_interval": most}
        for base, most in (("1s", "0.5s"), ("1s", "1s"), ("1.0009s", "1.0001s"))
    ],
    (CLUSTERS, "dns_failure_refresh_rate"): [{"base_interval": "1s", "max_interval": "0.5s"}],
    (
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.SubClustersConfig",
        "lb_policy",
    ): ["CLUSTER_PROVIDED", "MAGLEV"],
    (CLUSTERS, "original_dst_lb_config"): [
        {"http_header_name": "x"},
        {"http_header_name": "x", "use_http_header": True},
    ],
    (f"{CLUSTERS}.LbSubsetConfig", "locality_weight_aware"): [True],
    (CLUSTERS, "eds_cluster_config"): [{"eds_config": EDS}],
    ("envoy.extensions.clusters.dns.v3.DnsCluster", "all_addresses_in_single_endpoint"): [True],
    (CLUSTERS, "transport_socket_matches"): [[{"name": "x"}]],
    ("envoy.config.listener.v3.Listener", "listener_filters"): [
        [{"name": "envoy.filters.listener.original_dst"}]
    ],
    (CLUSTERS, "ring_hash_lb_config"): [
        {"minimum_ring_size": 0},
        {"minimum_ring_size": 0, "maximum_ring_size": 0},
        {"minimum_ring_size": 2, "maximum_ring_size": 1},
    ],
    (CLUSTERS, "lb_subset_config"): [
        {"subset_selectors": [{"fallback_keys_subset": ["x"]}]},
        {"subset_selectors": [{"keys": ["x"], "fallback_keys_subset": ["x"]}]},
    ],
    (f"{BOOT}.Bootstrap", "tracing"): [{"http": {"name": "envoy.tracers.zipkin"}}],
    ("envoy.config.listener.v3.Listener", "traffic_direction"): [99],
    (f"{BOOT}.Admin", "address"): [
        {"socket_address": {"address": host, "port_value": 9901}} for host in ("x", "::1", "")
    ],
    (f"{BOOT}.ClusterManager", "outlier_detection"): [{"event_log_path": "/nowhere/x"}],
    (f"{BOOT}.LayeredRuntime", "layers"): [
        [{"name": "x", "static_layer": {}}] * 2,
        *([{"name": "x", "static_layer": {"a": value}}] for value in VALUES),
    ],
    ("envoy.config.overload.v3.OverloadManager", "resource_monitors"): [
        [{"name": "m"}],
        *(
            [named(f"envoy.extensions.resource_monitors.{kind}", "m", filename=file)]
            for kind in ("injected_resource.v3.InjectedResourceConfig",)
            for file in ("x", "/nowhere/x", "/dev/null")
        ),
    ],
    ("envoy.config.overload.v3.ShrinkHeapConfig", "timer_interval"): ["0.999s", "1s"],
    (OPTIONS, "hash_policy"): [[STATE], [{"header": {"header_name": ""}}]],
    (f"{ROUTES}.CookieMatcher", "name"): ["x" * 1024, "x" * 1025],
    (f"{ROUTES}.RateLimit.Action.RemoteAddressMatch", "descriptor_value"): [
        "%",
        "%NOPE%",
        "%REQ(x)%",
        "x",
        "",
    ],
    (f"{ROUTES}.RetryPolicy", "retry_host_predicate"): [
        [{"name": "envoy.retry_host_predicates.previous_hosts"}]
    ],
    (f"{ROUTES}.RetryPolicy.RateLimitedRetryBackOff", "max_interval"): ["0.0005s", "0s"],
    (f"{ROUTES}.InternalRedirectPolicy", "response_headers_to_copy"): [[""], ["host"], [":x"]],
    (f"{ROUTES}.RouteMatch", "safe_regex"): [
        {"regex": "x", "google_re2": {"max_program_size": size}} for size in (0, 4, 5)
    ],
    ("xds.type.matcher.v3.RegexMatcher", "regex"): ["x" * 20000, "("],
    (
        "envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing",
        "threshold",
    ): [1, 2],
    ("envoy.config.core.v3.HealthCheck.HttpHealthCheck", "request_headers_to_remove"): [[""]],
    ("envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", "rate_limits"): [
        [{"actions": [{"remote_address": {}}], "hits_addend": hits}] for hits in HITS
    ],
    (f"{ROUTES}.RouteAction", "rate_limits"): [
        [{"actions": [{"remote_address": {}}], "hits_addend": hits}] for hits in HITS
    ],
    ("envoy.extensions.filters.http.admission_control.v3.AdmissionControl", "sampling_window"): [
        "3601s",
        "2147483647s",
    ],
}
# What differs by intent: by table and by what is odd, its keys in tests/differences.toml.
MEANT = [
    (r"HashPolicy", r".", "unchecked-extensions"),
    (rf"{BALANCERS}|dns_resolver|path_match_policy", r".", "unchecked-extensions"),
    (rf"{ROUTES}.FilterConfig", r"^config", "unchecked-extensions"),
    (r".", r'"?(NaN|Infinity)"?', "no-number"),
    (r".", r"\b99\b", "unknown-numbers"),
    (r"HttpConnectionManager$", r"^http_filters", "no-filters"),
    (r"FilterChain|Listener$", r"^filter", "no-filters"),
    (r"StaticResources", r"^listeners", "listener-twice"),
    (r"ScopedRouteConfigurationsList", r"^scoped_route_configurations: \[\{.*\}, ", "scope-twice"),
    (r"ZipkinConfig", r"^collector_endpoint_version", "zipkin-version"),
    (r"RetryPolicy$", r"^retry_host_predicate", "predicate-by-name"),
    (r"TokenBucket$", r"fill_interval: \"?0.000", "sub-millisecond-fill"),
    (r"AllowListedRoutes", r".", "unchecked-extensions"),
    (r"RetryPriority|PreviousPriorities", r".", "retry-frequency"),
    (r"MaglevLbConfig", r"^table_size: 1$", "maglev-of-one-slot"),
    (
        r"Input$|#input|#check|IPMatcher|ServerNameMatcher|Cel|cel|v1alpha1|protobuf",
        r".",
        "tree-inputs",
    ),
    (r"FileAccessLog|OutlierDetection$|HealthCheck$|EventFileSink", r"\\u0000", "zero-in-path"),
    (r"GrpcHealthCheck|#gRPC", r".", "grpc-checks-http2"),
    (r"HealthCheck$", r"^grpc_health_check", "grpc-checks-http2"),
]


def is_meant(case: Case, ours: str | None) -> bool:
    """Whether a difference is known, or of what the support table does not list."""
    if ours is not None and support.REASON in ours:
        return True
    for table, what, key in MEANT:
        if re.search(table, case.table) and re.search(what, case.what):
            return bool(explained(key))
    return False


def compare(cases: list[Case]) -> None:
    with ThreadPoolExecutor(2) as threads:
        found = [
            f"{case.table}: {case.what}\n  ours  {ours}\n  Envoy {theirs}"
            for case, ours, theirs in judged(cases, threads)
            if (ours is None) != (theirs is None) and not is_meant(case, ours)
        ]
    assert not found, "\n".join(found)


def test_values_that_were_taken_otherwise() -> None:
    compare(
        [
            make(table, f"{name}: {new}", put(table, minimal(table), name, new))
            for (table, name), values in ODD.items()
            for new in values
        ]
    )


def test_tags_of_addresses_out_of_a_file(tmp_path: Path) -> None:
    table = "envoy.extensions.filters.http.ip_tagging.v3.IPTagging"
    address = {"address_prefix": "10.0.0.0", "prefix_len": 8}
    tags = {"ip_tags": [{"ip_tag_name": "x", "ip_list": [address]}]}
    texts = {"a.json": json.dumps(tags), "b.json": "{}", "c.json": '{"nope": 1}', "d.txt": "{}"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "e.yaml").write_text(json.dumps(tags))
    sources = [{"filename": str(tmp_path / name)} for name in (*texts, "e.yaml", "none.json")]
    trees = [{"ip_tags_datasource": source} for source in sources]
    trees += [{}, {**tags, **trees[0]}, {"ip_tags_datasource": {"inline_string": "{}"}}]
    compare([make(table, f"{tree}", tree) for tree in trees])
    assert '"ip_tag_name": "x"' in json.dumps(load(bootstrap(table, trees[0])).document)


def test_odd_values_of_fields() -> None:
    """Some of each twelfth message; a campaign over all of them is config_mutations.py."""
    cases = []
    for table in sorted(ways()):
        if zlib.crc32(table.encode()) % 12 == 0:
            all_of_it = list(cases_of(table))
            cases += random.Random(table).sample(all_of_it, min(3, len(all_of_it)))
    compare(cases)


def test_the_generator_makes_what_it_says() -> None:
    """An instance with nothing odd is accepted."""
    for table in (CLUSTERS, HCM, f"{ROUTES}.RouteAction", f"{ROUTES}.RetryPolicy"):
        Gateway(bootstrap(table, minimal(table)), workers=1)
