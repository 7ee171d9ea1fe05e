"""What people write, what it means, and that a real Envoy agrees on both.

Each entry is the body of a cluster. An accepted one stands beside the fields it must give.
"""

from __future__ import annotations

import json
import textwrap
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import peers
import pytest

from meshcore.config import load
from meshcore.errors import ConfigError

LIMIT = "per_connection_buffer_limit_bytes"
ENDPOINT = "endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 80}}}"
ENDPOINT_TREE = {
    "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}}}
}
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
PROBE = "timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1"
PROBE_TREE = {
    "timeout": "1s",
    "interval": "1s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "tcp_health_check": {},
}


def metadata(value: Any) -> dict[str, Any]:
    return {"metadata": {"filter_metadata": {"a": {"x": value}}}}


def typed(value: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"typed_filter_metadata": {"a": value}}}


def any_of(text: str) -> str:
    kind = '"@type": type.googleapis.com/' + text
    return "metadata: {typed_filter_metadata: {a: {" + kind + "}}}"


WELL_KNOWN = "type.googleapis.com/google.protobuf."

ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    # Enums: any case, numbers, numbers in quotes.
    ("type: static", {"type": "STATIC"}),
    ("type: Strict_Dns", {"type": "STRICT_DNS"}),
    ("type: 1", {"type": "STRICT_DNS"}),
    ('type: "1"', {"type": "STRICT_DNS"}),
    ("type: null", {}),
    ("lb_policy: 0x1", {"lb_policy": "LEAST_REQUEST"}),
    ('lb_policy: "+1"', {"lb_policy": "LEAST_REQUEST"}),
    ('lb_policy: " 1"', {"lb_policy": "LEAST_REQUEST"}),
    ('lb_policy: "01"', {"lb_policy": "LEAST_REQUEST"}),
    ("lbPolicy: Maglev", {"lb_policy": "MAGLEV"}),
    # Booleans: YAML 1.1's, and in quotes what absl::SimpleAtob reads.
    *((f"respect_dns_ttl: {text}", {"respect_dns_ttl": True}) for text in (
        "true", "True", "TRUE", "yes", "Yes", "y", "Y", "on", "On", "ON", "t", "TrUe",
        '"true"', '"True"', '"1"', '"yes"', '"T"', '"Y"', "!!bool true", "!!str true",
    )),
    *((f"respect_dns_ttl: {text}", {}) for text in (
        "false", "no", "n", "N", "off", "OFF", '"false"', '"n"', "null", "~", "",
    )),
    ("wait_for_warm_on_init: {value: true}", {"wait_for_warm_on_init": True}),
    ('wait_for_warm_on_init: "no"', {"wait_for_warm_on_init": False}),
    # Numbers.
    *((f"{LIMIT}: {text}", {LIMIT: value}) for text, value in (
        ("1024", 1024), ('"1024"', 1024), ("1024.0", 1024), ("5.", 5), ('"5."', 5), ("1e3", 1000),
        ('"1e3"', 1000), ("5e0", 5), ("0x10", 16), ('"0x10"', 16), ('"0X5"', 5), ("010", 8),
        ('"010"', 10), ("09", 9), ("00", 0), ("-0", 0), ('"-0"', 0), ("+5", 5), ('"+5"', 5),
        ("{value: 5}", 5), ('{value: "5"}', 5), ("{value: null}", 0), ("{}", 0),
        ("4294967295", 4294967295), ("0xffffffff", 4294967295), ("037777777777", 4294967295),
    )),
    (f"{LIMIT}: null", {}),
    ("perConnectionBufferLimitBytes: 5", {LIMIT: 5}),
    (f"{LIMIT}: 5\n{LIMIT}: 6", {LIMIT: 6}),
    *((f"common_lb_config: {{healthy_panic_threshold: {{value: {text}}}}}",
       {"common_lb_config": {"healthy_panic_threshold": {"value": value}}}) for text, value in (
        ("1.5", 1.5), ('"1.5"', 1.5), (".5", 0.5), ("1.", 1), ('"0x10"', 16), ('"1e1"', 10),
        ('" 5"', 5), ('"5 "', 5), ('"+5"', 5), ('"0x1p3"', 8),
    )),
    # Strings: what yaml-cpp leaves as text.
    *((f"alt_stat_name: {text}", {"alt_stat_name": value}) for text, value in (
        ("1.5", "1.5"), ("99999999999", "99999999999"), ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"), ("!foo bar", "bar"), ("'12'", "12"), ('"y"', "y"), (".inf", ".inf"),
        ("1e3", "1e3"), ("=", "="), ("|-\n  12", "12"), (">-\n  true", "true"), ("oN", "oN"),
        ("!!binary aGVsbG8=", "aGVsbG8="), ('"\\xe9"', "\u00e9"), ("-2147483649", "-2147483649"),
        ("0xFFFFFFFFFF", "1099511627775"), ("0b11", "0b11"), ("0o17", "0o17"), ("tRue", "tRue"),
    )),
    ("alt_stat_name: null", {}),
    ("alt_stat_name: Null", {}),
    ("alt_stat_name:", {}),
    # Durations.
    *((f"dns_refresh_rate: {text}", {"dns_refresh_rate": value}) for text, value in (
        ("1.50s", "1.500s"), ("01s", "1s"), ("0.5s", "0.500s"), ("1.123456789s", "1.123456789s"),
        ("{seconds: 2, nanos: 5000}", "2.000005s"), ("{seconds: 1.0}", "1s"),
        ('{seconds: "2"}', "2s"),
    )),
    ("dns_refresh_rate: null", {}),
    # One value where a list is declared; lists in lists; null lists.
    (f"health_checks: {{{PROBE}, tcp_health_check: {{}}}}", {"health_checks": [PROBE_TREE]}),
    (f"health_checks: [[{{{PROBE}, tcp_health_check: }}]]".replace(": }", ": {}}"),
     {"health_checks": [PROBE_TREE]}),
    ("health_checks: null", {}),
    ("health_checks: []", {}),
    (f"load_assignment: {{cluster_name: a, endpoints: {{lb_endpoints: {{{ENDPOINT}}}}}}}",
     {"load_assignment": {"cluster_name": "a", "endpoints": [{"lb_endpoints": [ENDPOINT_TREE]}]}}),
    # Maps and free-form structures.
    *((f"metadata: {{filter_metadata: {{a: {{x: {text}}}}}}}", metadata(value)) for text, value in (
        ("1.5", "1.5"), ("99999999999", "99999999999"), ("-5", -5), ("010", 8), ("0x1F", 31),
        ("08", "08"), ('"y"', "y"), ("Y", True), ("tRue", "tRue"), ("True", True), ("1e3", "1e3"),
        ("null", None), ("~", None), ("!!str null", "null"), ("{x: 1}", {"x": 1}),
        ("[1, a]", [1, "a"]), ("2147483647", 2147483647), ("2147483648", "2147483648"),
        ("-0", 0), ("+1", 1), ("!!str 1", 1), ("!local 5", 5), ("1, x: 2", 2),
        ("!!null foo", "foo"), ('! "5"', "5"), ("! 5", "5"), ("!x '5'", 5), ("!x ''", ""),
    )),
    ("metadata: {filter_metadata: {1: {true: 1}}}",
     {"metadata": {"filter_metadata": {"1": {"true": 1}}}}),
    ("metadata: {filter_metadata: {a: null}}", {"metadata": {"filter_metadata": {"a": {}}}}),
    ("metadata: {filter_metadata: null}", {"metadata": {}}),
    ("metadata: {filter_metadata: {a: {fields: {x: {string_value: y}}}}}",
     {"metadata": {"filter_metadata": {"a": {"fields": {"x": {"string_value": True}}}}}}),
    # Oneofs: null sets nothing.
    ("type: STATIC\ncluster_type: null", {"type": "STATIC"}),
    ("ring_hash_lb_config: null\nmaglev_lb_config: {}", {"maglev_lb_config": {}}),
    # Any.
    (any_of("google.protobuf.Struct, value: {a: 1}").replace("}}}}", "}}}}"),
     typed({"@type": WELL_KNOWN + "Struct", "value": {"a": 1}})),
    (any_of("google.protobuf.Duration, value: 1.5s"),
     typed({"@type": WELL_KNOWN + "Duration", "value": "1.500s"})),
    (any_of("google.protobuf.StringValue, value: a"),
     typed({"@type": WELL_KNOWN + "StringValue", "value": "a"})),
    (any_of("google.protobuf.Empty"), typed({"@type": WELL_KNOWN + "Empty"})),
    (any_of("envoy.config.core.v3.Locality, region: r"),
     typed({"@type": "type.googleapis.com/envoy.config.core.v3.Locality", "region": "r"})),
    ('metadata: {typed_filter_metadata: {a: {zone: z, "@type": x/envoy.config.core.v3.Locality}}}',
     typed({"@type": "type.googleapis.com/envoy.config.core.v3.Locality", "zone": "z"})),
]  # fmt: skip

REJECTED: list[str] = [
    "type: strict-dns",
    "type: 1.0",
    "type: 99",
    "type: true",
    'type: ""',
    'type: " STATIC"',
    "lb_policy: [ROUND_ROBIN]",
    "lb_policy: {}",
    "lb_policy: -1",
    "lb_policy: 4294967296",
    'lb_policy: "0x1"',
    "lb_policy: 1e0",
    "respect_dns_ttl: oN",
    "respect_dns_ttl: 1",
    "respect_dns_ttl: 0",
    'respect_dns_ttl: ""',
    'respect_dns_ttl: "on"',
    'respect_dns_ttl: "true "',
    "respect_dns_ttl: {}",
    "respect_dns_ttl: [true]",
    "respect_dns_ttl: {value: true}",
    "alt_stat_name: y",
    "alt_stat_name: 12",
    "alt_stat_name: 0x10",
    "alt_stat_name: !!str 12",
    "alt_stat_name: !!str y",
    "alt_stat_name: [a]",
    "alt_stat_name: []",
    "alt_stat_name: {}",
    *(
        f"{LIMIT}: {text}"
        for text in (
            *("1.5", "-1", "4294967296", "0o17", "1_024", "true", '""', '" 5 "', "[5]", '"5.5"'),
            *('"1e-1"', '"99999999999"', "0x", "1__0", "0x1G", '"1_0"', "{value: 5, x: 1}"),
            *("{Value: 5}", "{value: {value: 5}}"),
        )
    ),
    "PerConnectionBufferLimitBytes: 5",
    *(
        f"common_lb_config: {{healthy_panic_threshold: {text}}}"
        for text in (
            *("50", '"50"', "{value: .nan}", "{value: true}", '{value: ""}', '{value: "1d"}'),
            *("{value: {}}", "{value: -1}", "{value: 101}", '{value: "inf"}', '{value: "nan"}'),
        )
    ),
    *(
        f"dns_refresh_rate: {text}"
        for text in (
            *("1", '"1"', "-1s", "1 s", "1m", "1ms", "{}", "1e3s", ".5s", "1.s", '"1S"', "+1s"),
            *('" 1s"', "0s", "-0s", "[1s]", "true", '""', "s", "1.1234567890s", "0.0000000001s"),
            *("315576000001s", "9223372036s", "{nanos: 1000000000}", "{seconds: 1, foo: 2}"),
            "0.000000001s",
        )
    ),
    "connect_timeout: 0s",
    "connect_timeout: -0.5s",
    "connect_timeout: {seconds: 1, nanos: -1}",
    "health_checks: [null]",
    'health_checks: ""',
    "health_checks: 1",
    "metadata: {filter_metadata: [{key: a, value: {a: 1}}]}",
    "metadata: {filter_metadata: {a: []}}",
    "metadata: {filter_metadata: {a: 5}}",
    "metadata: {filter_metadata: []}",
    "metadata: {filter_metadata: {[a]: {a: 1}}}",
    "metadata: []",
    'metadata: ""',
    "type: STATIC\ncluster_type: {name: foo}",
    "ring_hash_lb_config: {}\nmaglev_lb_config: {}",
    "ring_hash_lb_config: []",
    "ring_hash_lb_config: [{}]",
    'ring_hash_lb_config: ""',
    'metadata: {typed_filter_metadata: {a: {"@type": google.protobuf.Empty}}}',
    'metadata: {typed_filter_metadata: {a: {"@type": /google.protobuf.Empty}}}',
    'metadata: {typed_filter_metadata: {a: {"@type": null}}}',
    'metadata: {typed_filter_metadata: {a: {"@type": 5}}}',
    "metadata: {typed_filter_metadata: {a: {type_url: a, value: b}}}",
    any_of("nosuch.Type"),
    any_of("google.protobuf.Empty, value: {}"),
    any_of("google.protobuf.Struct, a: 1"),
    any_of("envoy.config.core.v3.Locality, value: {}"),
    "foo: 1",
    "foo: null",
    '"": 1',
    "1: 1",
    '"@type": x/y',
    "<<: {alt_stat_name: x}",
    'alt_stat_name: "\\ud83d"',
    "hosts: [{socket_address: {address: 127.0.0.1, port_value: 1}}]",
    "name: ''",
    # The same name again, as one more cluster.
    "connect_timeout: 1s\n- name: a",
]

TEMPLATE = """\
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: s
          cluster: c0
  clusters:
"""


def cluster(name: str, body: str) -> str:
    return f"  - name: {name}\n" + textwrap.indent(body, "    ") + "\n"


def bootstrap(body: str) -> str:
    return f"static_resources:\n  clusters:\n{cluster('a', body)}".replace("    - name", "  - name")


@pytest.mark.parametrize(("body", "fields"), ACCEPTED, ids=[body for body, _ in ACCEPTED])
def test_accepted(body: str, fields: dict[str, Any]) -> None:
    config = load(bootstrap(body), allow_unsupported=True)
    (found,) = config.document["static_resources"]["clusters"]
    assert found == {"name": "a", **fields}
    # The canonical form is a fixed point, and protobuf's own reader agrees with it.
    assert load(config.document, allow_unsupported=True).document == config.document
    assert load(config.to_message(), allow_unsupported=True).document == config.document


@pytest.mark.parametrize("body", REJECTED)
def test_rejected(body: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(bootstrap(body), allow_unsupported=True)
    assert "\n" not in str(caught.value)


@pytest.mark.oracle
def test_envoy_accepts_the_same_with_the_same_meaning(envoy: Callable[..., peers.Server]) -> None:
    bodies = [cluster(f"c{index}", body) for index, (body, _) in enumerate(ACCEPTED)]
    server = envoy(TEMPLATE + "".join(bodies))
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/config_dump") as answer:
        # Envoy keeps the host of a type URL; ours is always the same.
        dump = json.loads(answer.read().replace(b'"x/', b'"type.googleapis.com/'))
    theirs = {
        entry["cluster"]["name"]: entry["cluster"]
        for section in dump["configs"]
        for entry in section.get("static_clusters", ())
    }
    assert len(theirs) == len(ACCEPTED)
    for index, (body, fields) in enumerate(ACCEPTED):
        found = theirs[f"c{index}"]
        found.pop("@type")
        assert found == {"name": f"c{index}", **fields}, body


@pytest.mark.oracle
@pytest.mark.slow
def test_envoy_rejects_the_same() -> None:
    accepted, message = peers.envoy_accepts(bootstrap("type: STATIC"))
    assert accepted, message
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(peers.envoy_accepts, map(bootstrap, REJECTED)))
    assert [body for body, (ok, _) in zip(REJECTED, answers, strict=True) if ok] == []
