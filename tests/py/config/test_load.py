"""Loading: forms, merging, paths, configurations as people have them."""

from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from meshcore.config import load, load_file, message_class, type_for_any
from meshcore.config.schema import BOOTSTRAP, pool
from meshcore.errors import ConfigError

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
ROUTES = "envoy.config.route.v3.RouteConfiguration"
CLUSTER = "envoy.config.cluster.v3.Cluster"

FRONT_PROXY = """
node: {id: front, cluster: edge, locality: {zone: z1}}
admin:
  address:
    socket_address: {address: 127.0.0.1, port_value: 9901}
static_resources:
  listeners:
  - name: ingress
    address:
      socket_address: {address: 0.0.0.0, port_value: 8080}
    traffic_direction: INBOUND
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          codec_type: AUTO
          stat_prefix: ingress_http
          use_remote_address: true
          common_http_protocol_options: {idle_timeout: 3600s}
          route_config:
            name: local_route
            virtual_hosts:
            - name: backend
              domains: ["*"]
              routes:
              - match: {prefix: /service/1}
                route: {cluster: service1, timeout: 0.25s}
              - match:
                  path: /exact
                  headers: [{name: x-user, string_match: {exact: me}}]
                redirect: {https_redirect: true, response_code: FOUND}
              - match: {prefix: /}
                direct_response: {status: 404, body: {inline_string: nothing here}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: service1
    type: STRICT_DNS
    lb_policy: ROUND_ROBIN
    connect_timeout: 0.5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http_protocol_options: {}}
    load_assignment:
      cluster_name: service1
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {address: service1, port_value: 8000}
"""  # noqa: E501


def hcm(config: dict[str, Any]) -> dict[str, Any]:
    """The connection manager of a document's first listener."""
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    return chain["filters"][0]["typed_config"]  # type: ignore[no-any-return]


def fault(source: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(source, **options)
    return caught.value.path, caught.value.reason


def test_a_front_proxy_as_people_have_it() -> None:
    config = load(FRONT_PROXY)
    assert config.type == BOOTSTRAP
    manager = hcm(config.document)
    assert next(iter(manager)) == "@type"
    # Default values are gone, durations and enums have one spelling.
    assert "codec_type" not in manager
    assert manager["common_http_protocol_options"]["idle_timeout"] == "3600s"
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert routes[0] == {
        "match": {"prefix": "/service/1"},
        "route": {"cluster": "service1", "timeout": "0.250s"},
    }
    assert routes[1]["redirect"] == {"https_redirect": True, "response_code": "FOUND"}
    cluster = config.document["static_resources"]["clusters"][0]
    assert cluster["type"] == "STRICT_DNS"
    assert "lb_policy" not in cluster
    assert json.loads(config.to_core()) == config.document


def camel(tree: Any) -> Any:
    """The same tree with proto3 JSON's own names."""
    if isinstance(tree, dict):
        return {_camel(key): camel(value) for key, value in tree.items()}
    return [camel(value) for value in tree] if isinstance(tree, list) else tree


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def test_json_and_camel_case_and_messages_mean_the_same(tmp_path: Path) -> None:
    wanted = load(FRONT_PROXY)
    text = json.dumps(camel(wanted.document))
    assert load(text).document == wanted.document
    message = wanted.to_message()
    files = {
        "a.yaml": FRONT_PROXY,
        "a.YML": FRONT_PROXY,
        "a.json": text,
        "a.conf": text,
        "a.pb_text": text_format.MessageToString(message, descriptor_pool=pool()),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        assert load_file(tmp_path / name).document == wanted.document, name
    (tmp_path / "a.pb").write_bytes(message.SerializeToString())
    assert load_file(tmp_path / "a.pb").document == wanted.document
    assert load(message).document == wanted.document
    assert load(wanted).document == wanted.document


def test_a_field_in_both_its_spellings_is_refused() -> None:
    # difference: field-twice
    assert fault({"name": "a", "altStatName": "b", "alt_stat_name": "c"}, type=CLUSTER) == (
        "alt_stat_name",
        "is given twice, by its original and its camelCase name",
    )


def test_the_source_is_left_as_it_was() -> None:
    source = load(FRONT_PROXY).document
    before = copy.deepcopy(source)
    load(source).to_message()
    load(source, overlay="node: {id: other}")
    assert source == before
    assert list(hcm(source)) == list(hcm(before))


def test_other_messages_than_a_bootstrap() -> None:
    routes = {"virtual_hosts": [{"name": "v", "domains": ["*"]}]}
    assert load(routes, type=ROUTES).document == routes
    assert load("name: c", type=CLUSTER).document == {"name": "c"}
    message = message_class(ROUTES)(name="r")
    assert load(message, type=ROUTES).document == {"name": "r"}
    assert fault(message)[1] == f"must be a {BOOTSTRAP}, and is a {ROUTES}"
    assert fault({}, type="envoy.Nothing") == ("", "the schema has no message envoy.Nothing")
    with pytest.raises(TypeError):
        load(12)


def test_overlay_merges_as_protobuf_does() -> None:
    base = """
    node: {id: a, cluster: c, metadata: {k: 1}}
    static_resources: {clusters: [{name: one}]}
    """
    over = "node: {id: b, metadata: {l: 2}}\nstatic_resources: {clusters: {name: two}}"
    config = load(base, overlay=over).document
    assert config["node"] == {"id": "b", "cluster": "c", "metadata": {"l": 2}}
    assert [c["name"] for c in config["static_resources"]["clusters"]] == ["one", "two"]
    # Each part alone may be invalid; the sum counts.
    assert load("static_resources: {}", overlay="node: {id: x}").document["node"]["id"] == "x"
    twice = fault(base, overlay="static_resources: {clusters: [{name: one}]}")
    assert twice == (
        "static_resources.clusters[1].name",
        "cluster 'one' is already defined by clusters[0]",
    )
    assert fault(base, overlay="x: [")[1].startswith("not YAML: ")


def test_overlay_replaces_the_other_arm_of_a_oneof() -> None:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "a"}}
    base = {"routes": [], "name": "v", "domains": ["*"], "retry_policy": {"retry_on": "5xx"}}
    merged = load(
        {"virtual_hosts": [{**base, "routes": [route]}], "name": "r"},
        type=ROUTES,
        overlay={"name": "s"},
    )
    assert merged.document["name"] == "s"
    match = load({"prefix": "/"}, type="envoy.config.route.v3.RouteMatch", overlay={"path": "/p"})
    assert match.document == {"path": "/p"}


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        (
            lambda c: hcm(c)["route_config"]["virtual_hosts"][0].update(name=""),
            (
                "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
                ".route_config.virtual_hosts[0].name"
            ),
            "must not be empty",
        ),
        (
            lambda c: hcm(c).update(stat_prefixx="a"),
            "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stat_prefixx",
            f"is not a field of {HCM} (did you mean stat_prefix?)",
        ),
        (
            lambda c: c["static_resources"]["clusters"][0].update(connect_timeout="1m"),
            "static_resources.clusters[0].connect_timeout",
            'must be a duration in seconds such as "1.5s", not "1m"',
        ),
        (
            lambda c: c["static_resources"]["clusters"][0]["typed_extension_protocol_options"][
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            ].pop("explicit_http_config"),
            (
                "static_resources.clusters[0].typed_extension_protocol_options"
                '["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]'
            ),
            "must have one of explicit_http_config, use_downstream_protocol_config, auto_config",
        ),
        (
            lambda c: c.update(dynamic_resources={"lds_config": {"ads": {}}}),
            "dynamic_resources",
            "not supported yet by meshcore",
        ),
        (
            lambda c: hcm(c)["route_config"]["virtual_hosts"][0]["routes"][0]["match"].update(
                path="/x"
            ),
            (
                "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
                ".route_config.virtual_hosts[0].routes[0].match.path"
            ),
            "cannot stand beside prefix: at most one of the two",
        ),
    ],
)
def test_errors_name_the_path(change: Any, path: str, reason: str) -> None:
    tree = copy.deepcopy(load(FRONT_PROXY).document)
    change(tree)
    assert fault(tree) == (path, reason)


def test_the_transport_socket_of_plain_text_is_what_there_is_without_one() -> None:
    def with_socket(of: str) -> dict[str, Any]:
        tree = copy.deepcopy(load(FRONT_PROXY).document)
        socket = {
            "name": "s",
            "typed_config": {
                "@type": f"type.googleapis.com/envoy.extensions.transport_sockets.{of}"
            },
        }
        tree["static_resources"]["clusters"][0]["transport_socket"] = socket
        tree["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] = socket
        return tree

    load(with_socket("raw_buffer.v3.RawBuffer"))
    path, reason = fault(with_socket("tls.v3.UpstreamTlsContext"))
    assert path == "static_resources.listeners[0].filter_chains[0].transport_socket.typed_config"
    assert reason.endswith("tls.v3.UpstreamTlsContext is not supported yet by meshcore")


def test_what_the_text_is_not() -> None:
    assert fault("a: [")[1].startswith("not YAML: ")
    assert fault("{")[1].startswith("not JSON: ")
    assert load("{node: {id: a}}").document == {"node": {"id": "a"}}  # YAML in braces
    assert fault("just text")[1] == "must be a mapping of fields, and is a single value"
    assert fault("")[1] == "must be a mapping of fields, and is empty"
    assert fault("- a")[1] == "must be a mapping of fields, and is a list"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "no.yaml"
    assert fault(missing)[1] == f"cannot read {missing}: No such file or directory"
    assert fault(tmp_path)[1] == f"cannot read {tmp_path}: Is a directory"
    for name, content, reason in (
        ("a.yaml", b"a: \xff", "must be UTF-8 text"),
        ("a.json", b"\xff\xfe", "must be UTF-8 text"),
        ("a.pb", b"\xff\xff", f"is not a serialized {BOOTSTRAP}"),
        ("a.pb_text", b"nope", f"is not {BOOTSTRAP} in text format: "),
        ("a.txt", b"node: {}", "not JSON: "),
    ):
        (tmp_path / name).write_bytes(content)
        assert fault(tmp_path / name)[1].startswith(reason), name


def test_a_field_number_of_the_future_is_not_dropped(tmp_path: Path) -> None:
    unknown = b"\xba\xbe\x0a\x01x"  # field 21479, length-delimited
    (tmp_path / "a.pb").write_bytes(b"\x0a" + bytes([len(unknown)]) + unknown)
    assert fault(tmp_path / "a.pb") == ("node", "field number 21479 is unknown")

    # Inside the messages of a list, a map and an Any too.
    message: Any = load(FRONT_PROXY).to_message()
    options = message.static_resources.clusters[0].typed_extension_protocol_options
    where = f'clusters[0].typed_extension_protocol_options["{next(iter(options))}"]'
    kept = options[next(iter(options))].value
    options[next(iter(options))].value = kept + unknown
    assert fault(message) == (f"static_resources.{where}", "field number 21479 is unknown")
    options[next(iter(options))].value = b"\xff"
    assert fault(message)[1].startswith("is not a serialized type.googleapis.com/")
    options[next(iter(options))].type_url = "type.googleapis.com/nosuch.Type"
    reason = "names an unknown message, type.googleapis.com/nosuch.Type"
    assert fault(message) == (f"static_resources.{where}.@type", reason)


def test_python_filters_in_every_spelling() -> None:
    def filters(*entries: Any) -> Any:
        tree = copy.deepcopy(load(FRONT_PROXY).document)
        hcm(tree)["http_filters"] = [
            *entries,
            {"name": "router", "typed_config": {"@type": ROUTER}},
        ]
        return hcm(load(tree).document)["http_filters"]

    prefix = "type.googleapis.com/"
    struct = {"@type": prefix + "google.protobuf.Struct", "value": {"a": 1}}
    typed = {
        "@type": prefix + "xds.type.v3.TypedStruct",
        "type_url": "meshcore/f",
        "value": {"a": 1},
    }
    ours = {"@type": prefix + "meshcore.PythonFilter", "name": "f", "config": {"a": 1}}
    unnamed = {"@type": prefix + "meshcore.PythonFilter", "config": {"a": 1}}
    for entry in (
        {"name": "f", "typed_config": struct},
        {"name": "other", "typed_config": typed},
        {"name": "other", "typed_config": ours},
        {"name": "f", "typed_config": unnamed},
    ):
        assert filters(entry)[0]["typed_config"] == ours
    bare = {"@type": prefix + "meshcore.PythonFilter", "name": "f"}
    assert filters({"name": "f"})[0]["typed_config"] == bare
    with pytest.raises(ConfigError, match=r"http_filters\[0\]\.typed_config: is required"):
        filters({"name": "envoy.filters.http.cors"})
    with pytest.raises(ConfigError, match=r"typed_config\.type_url: must name a message"):
        filters({"name": "f", "typed_config": {**typed, "type_url": "other/f"}})


def test_a_typed_struct_stands_for_the_message_it_names() -> None:
    tree = copy.deepcopy(load(FRONT_PROXY).document)
    hcm(tree)["http_filters"][-1]["typed_config"] = {
        "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
        "type_url": ROUTER,
        "value": {"suppress_envoy_headers": True},
    }
    router = hcm(load(tree).document)["http_filters"][-1]["typed_config"]
    assert router == {"@type": ROUTER, "suppress_envoy_headers": True}


def test_rules_beyond_the_annotations() -> None:
    tree = load(FRONT_PROXY).document

    def changed(change: Any) -> tuple[str, str]:
        copied = copy.deepcopy(tree)
        change(copied)
        path, reason = fault(copied)
        return path.removeprefix("static_resources."), reason

    def second_listener(name: str, port: int) -> Any:
        def change(c: Any) -> None:
            listeners = c["static_resources"]["listeners"]
            listeners.append(copy.deepcopy(listeners[0]))
            listeners[1]["name"] = name
            listeners[1]["address"]["socket_address"]["port_value"] = port

        return change

    assert changed(second_listener("ingress", 1)) == (  # difference: listener-twice
        "listeners[1].name",
        "listener 'ingress' is already defined by listeners[0]",
    )
    assert changed(second_listener("b", 8080)) == (
        "listeners[1].address",
        "0.0.0.0:8080 is already the address of listeners[0]",
    )
    assert changed(lambda c: c["static_resources"]["clusters"][0].update(type="STATIC")) == (
        (
            "clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address"
            ".address"
        ),
        "must be an IP address, not 'service1'; a name needs the cluster type STRICT_DNS",
    )
    path, reason = changed(lambda c: hcm(c)["http_filters"].append(hcm(c)["http_filters"][0]))
    assert path.endswith("typed_config.http_filters[0]")
    assert reason == "the router must be the last HTTP filter"
    path, reason = changed(
        lambda c: hcm(c).update(strip_any_host_port=True, strip_matching_host_port=True)
    )
    assert path.endswith("typed_config.strip_any_host_port")
    upgrades = [{"upgrade_type": "websocket"}, {"upgrade_type": "WebSocket"}]
    path, reason = changed(lambda c: hcm(c).update(upgrade_configs=upgrades))
    assert path.endswith("typed_config.upgrade_configs[1].upgrade_type")


def test_unsupported_fields_are_errors_or_warnings(caplog: pytest.LogCaptureFixture) -> None:
    tree = {"static_resources": {"clusters": [{"name": "a", "filters": [{"name": "f"}]}]}}
    tree["static_resources"]["clusters"][0]["lrs_server"] = {"self": {}}  # type: ignore[assignment]
    path = "static_resources.clusters[0].filters"
    assert fault(tree)[0] == path
    with caplog.at_level(logging.WARNING, logger="meshcore"):
        config = load(tree, allow_unsupported=True)
    assert [w.path for w in config.warnings] == [
        path,
        path.replace("filters", "lrs_server"),
    ]
    assert [record.getMessage() for record in caplog.records] == [str(w) for w in config.warnings]


def test_v2_is_gone() -> None:
    tree = copy.deepcopy(load(FRONT_PROXY).document)
    hcm(tree)["@type"] = (
        "type.googleapis.com/envoy.config.filter.network.http_connection_manager.v2"
        ".HttpConnectionManager"
    )
    path, reason = fault(tree)
    assert path.endswith("filters[0].typed_config.@type")
    assert reason.endswith("the v2 API is gone from Envoy")


def test_schema_lookups() -> None:
    assert type_for_any("type.googleapis.com/" + HCM) is message_class(HCM)
    with pytest.raises(KeyError):
        message_class("envoy.Nothing")


def test_importing_meshcore_imports_neither_protobuf_nor_yaml() -> None:
    code = (
        "import sys, meshcore, meshcore.config\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('google', 'yaml', 'envoy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
