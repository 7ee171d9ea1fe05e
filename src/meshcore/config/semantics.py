"""What Envoy checks beyond the schema's annotations, and our own form of a Python filter.

A hook gets a message in canonical form, after its fields passed, and returns what takes its place;
a fault is an `Invalid` whose path starts inside that message. Rules that only the compiled table
can know (overlapping domains, weights that sum to zero) are the core's.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from meshcore._addresses import is_ip
from meshcore.config.process import with_process_values
from meshcore.config.schema import PYTHON_FILTER, TYPE_PREFIX

__all__ = ["HOOKS"]

Tree = dict[str, Any]


def _invalid(reason: str, *path: str | int) -> Exception:
    from meshcore.config.invalid import Invalid

    return Invalid(reason, *path)


def _unique(items: Iterable[Tree], field: str, what: str) -> None:
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        name = item.get("name", "")
        if name and name in seen:
            first = f"{field}[{seen[name]}]"
            raise _invalid(f"{what} {name!r} is already defined by {first}", field, index, "name")
        seen[name] = index


def _static_resources(tree: Tree) -> Tree:
    _same_caches(tree)
    _unique(tree.get("clusters", ()), "clusters", "cluster")
    listeners = tree.get("listeners", ())
    _unique(listeners, "listeners", "listener")
    addresses: dict[tuple[str, int], int] = {}
    for index, listener in enumerate(listeners):
        socket = listener.get("address", {}).get("socket_address", {})
        address = socket.get("address", ""), socket.get("port_value", 0)
        if not address[1]:
            continue
        if address in addresses:
            first = f"listeners[{addresses[address]}]"
            raise _invalid(
                f"{address[0]}:{address[1]} is already the address of {first}",
                "listeners",
                index,
                "address",
            )
        addresses[address] = index
    return tree


def _listener(tree: Tree) -> Tree:
    if "address" not in tree and "internal_listener" not in tree:
        raise _invalid("is required", "address")
    return _listening(tree)


def _listening(tree: Tree) -> Tree:
    host = tree.get("address", {}).get("socket_address", {}).get("address")
    if host is not None and not is_ip(host):
        raise _invalid(
            f"must be an IP address, not {host!r}", "address", "socket_address", "address"
        )
    return tree


def _cluster(tree: Tree) -> Tree:
    dns = _dns(tree)
    if dns.get("type") == "LOGICAL_DNS" and len(list(_endpoints(tree))) != 1:
        raise _invalid("must be exactly one endpoint with LOGICAL_DNS", "load_assignment")
    if tree.get("type") == "ORIGINAL_DST" and "load_assignment" in tree:
        raise _invalid("does not go with the type ORIGINAL_DST", "load_assignment")
    if tree.get("type") == "EDS" and "eds_config" not in tree.get("eds_cluster_config", {}):
        raise _invalid("is required with EDS", "eds_cluster_config", "eds_config")
    if tree.get("type") != "EDS" and "eds_cluster_config" in tree:
        raise _invalid("is of clusters with the type EDS", "eds_cluster_config")
    _original_dst(tree)
    _subsets(tree)
    tree = _protocol_options(tree)
    _forward_proxy(tree)
    if tree.get("type") in ("STRICT_DNS", "LOGICAL_DNS"):
        _resolvers(tree)
    resolved = (
        tree.get("type", "STATIC") not in ("STRICT_DNS", "LOGICAL_DNS")
        and "cluster_type" not in tree
    )
    for path, socket in _endpoints(tree) if resolved else ():
        host = socket.get("address", "")
        if not is_ip(host) and not socket.get("resolver_name"):
            reason = (
                f"must be an IP address, not {host!r}; a name needs the cluster type STRICT_DNS"
            )
            raise _invalid(reason, *path, "address")
    return tree


def _dns(cluster: Tree) -> Tree:
    """The cluster with what a DnsCluster says in its older places."""
    from meshcore.discovery import dns_fields
    from meshcore.health.state import milliseconds

    dns = dns_fields(cluster)
    failures = dns.get("dns_failure_refresh_rate", {})
    at_first, at_most = (failures.get(f"{name}_interval") for name in ("base", "max"))
    looks_up = dns.get("type") in ("STRICT_DNS", "LOGICAL_DNS")
    if looks_up and at_most is not None and milliseconds(at_most) < milliseconds(at_first):
        path = () if "dns_failure_refresh_rate" in cluster else ("cluster_type", "typed_config")
        reason = "must be at least base_interval"
        raise _invalid(reason, *path, "dns_failure_refresh_rate", "max_interval")
    return dns


def _original_dst(cluster: Tree) -> None:
    balancer = cluster.get("original_dst_lb_config", {})
    of_it = cluster.get("type") == "ORIGINAL_DST"
    if of_it and balancer.get("http_header_name") and not balancer.get("use_http_header"):
        reason = "needs use_http_header beside it"
        raise _invalid(reason, "original_dst_lb_config", "http_header_name")


def _subsets(cluster: Tree) -> None:
    by_locality = "locality_weighted_lb_config" in cluster.get("common_lb_config", {})
    if cluster.get("lb_subset_config", {}).get("locality_weight_aware") and not by_locality:
        reason = "needs common_lb_config.locality_weighted_lb_config"
        raise _invalid(reason, "lb_subset_config", "locality_weight_aware")


def _socket_match(tree: Tree) -> Tree:
    if "transport_socket" not in tree:
        raise _invalid("is required", "transport_socket")
    return tree


def _resolvers(tree: Tree) -> Tree:
    """The servers of the resolver that counts, the newest spelling first, are no names."""
    typed, older = tree.get("typed_dns_resolver_config"), tree.get("dns_resolution_config")
    path: tuple[str, ...] = ("dns_resolvers",)
    servers = tree.get("dns_resolvers", ())
    if typed is not None:
        path = ("typed_dns_resolver_config", "typed_config", "resolvers")
        servers = typed.get("typed_config", {}).get("resolvers", ())
    elif older is not None:
        path = ("dns_resolution_config", "resolvers")
        servers = older.get("resolvers", ())
    for index, server in enumerate(servers):
        host = server.get("socket_address", {}).get("address")
        if host is not None and not is_ip(host):
            reason = f"must be an IP address, not {host!r}"
            raise _invalid(reason, *path, index, "socket_address", "address")
    return tree


_FORWARD: Final = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


# The extension has a name, and its message one.
_HTTP_OPTIONS_NAMES: Final = (_HTTP_OPTIONS, "envoy.upstreams.http.http_protocol_options")


def _protocol_options(cluster: Tree) -> Tree:
    """Options under the name of their message, which is the one that others look for."""
    field = "typed_extension_protocol_options"
    given = cluster.get(field, {})
    for name in given:
        if name not in _HTTP_OPTIONS_NAMES:
            raise _invalid("is the name of no protocol's options", field, name)
    if len(given) > 1:
        raise _invalid("are HTTP's options under two names", field)
    return {**cluster, field: {_HTTP_OPTIONS: next(iter(given.values()))}} if given else cluster


def _forward_proxy(cluster: Tree) -> None:
    """CL-17: such a cluster names many hosts, so that who answers must be checked by name."""
    typed = cluster.get("cluster_type", {}).get("typed_config", {})
    if typed.get("@type") != TYPE_PREFIX + _FORWARD:
        return
    if typed.get("sub_clusters_config", {}).get("lb_policy") == "CLUSTER_PROVIDED":
        where = ("cluster_type", "typed_config", "sub_clusters_config", "lb_policy")
        raise _invalid("CLUSTER_PROVIDED is no policy of sub clusters", *where)
    options = cluster.get("typed_extension_protocol_options", {}).get(_HTTP_OPTIONS)
    given = options if options is not None else cluster
    http = given.get("upstream_http_protocol_options")
    if http is None and options is None:
        return  # the older spelling turns both on by itself
    safe = http is not None and http.get("auto_sni") and http.get("auto_san_validation")
    if not safe and not typed.get("allow_insecure_cluster_options"):
        raise _invalid(
            "must have auto_sni and auto_san_validation unless allow_insecure_cluster_options",
            "cluster_type",
            "typed_config",
        )


def _cache(tree: Tree) -> Tree:
    ahead, most = tree.get("preresolve_hostnames", ()), tree.get("max_hosts", 1024)
    if len(ahead) > most:
        reason = f"are {len(ahead)}, more than max_hosts={most}"
        raise _invalid(reason, "preresolve_hostnames")
    return _resolvers(tree)


def _same_caches(tree: Tree) -> Tree:
    """One name, one cache: all that say something of it must say the same."""
    from meshcore.discovery.dns_cache import cache_configs

    known: dict[str, Tree] = {}
    for config in cache_configs({"static_resources": tree}):
        if known.setdefault(config["name"], config) != config:
            reason = f"DNS cache {config['name']!r} has different settings elsewhere"
            raise _invalid(reason)
    return tree


def _endpoints(cluster: Tree) -> Iterator[tuple[tuple[str | int, ...], Tree]]:
    assignment = cluster.get("load_assignment", {})
    for i, locality in enumerate(assignment.get("endpoints", ())):
        for j, endpoint in enumerate(locality.get("lb_endpoints", ())):
            address = endpoint.get("endpoint", {}).get("address", {})
            if "socket_address" in address:
                path = ("load_assignment", "endpoints", i, "lb_endpoints", j, "endpoint", "address")
                yield (*path, "socket_address"), address["socket_address"]


_ROUTER: Final = TYPE_PREFIX + "envoy.extensions.filters.http.router.v3.Router"


def _http_connection_manager(tree: Tree) -> Tree:
    if tree.get("strip_matching_host_port") and tree.get("strip_any_host_port"):
        raise _invalid("cannot stand beside strip_matching_host_port", "strip_any_host_port")
    filters = tree.get("http_filters", ())
    for index, item in enumerate(filters):
        is_router = item.get("typed_config", {}).get("@type") == _ROUTER
        if is_router and index != len(filters) - 1:
            raise _invalid("the router must be the last HTTP filter", "http_filters", index)
    _unique_upgrades(tree)
    return tree


def _unique_upgrades(tree: Tree) -> Tree:
    seen = set()
    for index, upgrade in enumerate(tree.get("upgrade_configs", ())):
        kind = upgrade.get("upgrade_type", "").lower()
        if kind in seen:
            raise _invalid(
                f"upgrade type {kind!r} is given twice", "upgrade_configs", index, "upgrade_type"
            )
        seen.add(kind)
    return tree


_FILTER_HOST: Final = "meshcore/"


def _http_filter(tree: Tree) -> Tree:
    """An entry for a Python filter, in any of its spellings, as one: a meshcore.PythonFilter.

    `typed_config` may be that message, a TypedStruct with type URL ``meshcore/<name>``, a Struct
    (the entry's own name is the filter's), or absent when the name is not one of Envoy's.
    """
    name = tree.get("name", "")
    if "config_discovery" in tree:
        return tree
    config = tree.get("typed_config", {})
    kind = config.get("@type", "").removeprefix(TYPE_PREFIX)
    if kind == PYTHON_FILTER:
        python = {"name": config.get("name", name), "config": config.get("config", {})}
    elif kind == "google.protobuf.Struct":
        python = {"name": name, "config": config.get("value", {})}
    elif kind in ("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"):
        url = config.get("type_url", "").removeprefix(TYPE_PREFIX)
        if not url.startswith(_FILTER_HOST) or url == _FILTER_HOST:
            reason = f"must name a message of Envoy, or a Python filter as {_FILTER_HOST}<name>"
            raise _invalid(reason, "typed_config", "type_url")
        python = {"name": url.removeprefix(_FILTER_HOST), "config": config.get("value", {})}
    elif not kind:
        if name.startswith("envoy."):
            raise _invalid("is required", "typed_config")
        python = {"name": name, "config": {}}
    else:
        return tree
    typed: Tree = {"@type": TYPE_PREFIX + PYTHON_FILTER, "name": python["name"]}
    if python["config"]:
        typed["config"] = python["config"]
    return {**tree, "typed_config": typed}


def _network_filter(tree: Tree) -> Tree:
    """A filter of a chain, or of a listener."""
    if not tree.get("typed_config") and "config_discovery" not in tree:
        raise _invalid("is required", "typed_config")
    return tree


def _header_value(tree: Tree) -> Tree:
    return with_process_values(tree) if "value" in tree else tree


_FORMATS: Final = ("text_format", "text_format_source", "json_format")


def _format(tree: Tree) -> Tree:
    source = tree.get("text_format_source", {})
    if _is_outside(source):
        try:
            text = _read(source, "text_format_source").decode()
        except UnicodeDecodeError as error:
            raise _invalid(f"cannot be read: {error}", "text_format_source", "filename") from None
        tree = {**tree, "text_format_source": {"inline_string": text}}
    return {k: with_process_values(v) if k in _FORMATS else v for k, v in tree.items()}


def _direct_response(tree: Tree) -> Tree:
    return {**tree, "body": _inline(tree["body"], "body")} if "body" in tree else tree


def _dictionary(tree: Tree) -> Tree:
    if "dictionary" not in tree:
        return tree
    return {**tree, "dictionary": _inline(tree["dictionary"], "dictionary")}


def _dictionaries(tree: Tree) -> Tree:
    if "dictionaries" not in tree:
        return tree
    inline = [_inline(each, "dictionaries") for each in tree["dictionaries"]]
    return {**tree, "dictionaries": inline}


def _inline(source: Tree, field: str) -> Tree:
    """The same DataSource, out of nowhere else."""
    if not _is_outside(source):
        return source
    return {"inline_bytes": b64encode(_read(source, field)).decode()}


def _is_outside(source: Tree) -> bool:
    return "filename" in source or "environment_variable" in source


def _read(source: Tree, field: str) -> bytes:
    """A DataSource from outside the configuration."""
    if "environment_variable" in source:
        name = source["environment_variable"]
        if name not in os.environ:
            raise _invalid(f"names no environment variable: {name}", field)
        return os.fsencode(os.environ[name])
    try:
        return Path(source["filename"]).read_bytes()
    except OSError as error:
        raise _invalid(f"cannot be read: {error}", field, "filename") from None


def _environment_variable(tree: Tree) -> Tree:
    """For the core: "=" and the value in the place of the name, which cannot begin so."""
    value = os.environ.get(tree["name"])
    return tree if value is None else {**tree, "name": f"={value}"}


def _filter_config(tree: Tree) -> Tree:
    if "config" not in tree and not tree.get("disabled"):
        raise _invalid("is required unless disabled", "config")
    return tree


def _typed(tree: Tree) -> Tree:
    """An extension whose name alone says nothing."""
    if "@type" not in tree.get("typed_config", {}):
        raise _invalid("is required", "typed_config")
    return tree


def _layered_runtime(tree: Tree) -> Tree:
    layers = tree.get("layers", ())
    names: set[str] = set()
    for index, layer in enumerate(layers):
        if layer["name"] in names:
            raise _invalid(f"layer {layer['name']!r} is given twice", "layers", index, "name")
        names.add(layer["name"])
        _runtime_values(layer.get("static_layer", {}), "layers", index, "static_layer")
    return tree


def _runtime_values(values: Tree, *path: str | int) -> None:
    if {"numerator", "denominator"} & set(values):
        return
    for key, value in values.items():
        if isinstance(value, dict):
            _runtime_values(value, *path, key)
        elif value is None or isinstance(value, list):
            raise _invalid("is no value of the runtime", *path, key)


_MONITORS: Final = "type.googleapis.com/envoy.extensions.resource_monitors."
_CONNECTIONS: Final = "envoy.resource_monitors.global_downstream_max_connections"


def _monitor(monitor: Tree, *path: str | int) -> None:
    if "@type" not in monitor.get("typed_config", {}):
        raise _invalid("is required", *path, "typed_config")
    typed = monitor["typed_config"]
    kind = typed["@type"].removeprefix(_MONITORS)
    if kind == "downstream_connections.v3.DownstreamConnectionsConfig":
        if monitor["name"] != _CONNECTIONS:
            raise _invalid(f"must be {_CONNECTIONS}", *path, "name")
    elif kind == "fixed_heap.v3.FixedHeapConfig" and not int(typed.get("max_heap_size_bytes", 0)):
        reason = "fixed_heap: max heap size must be greater than 0"
        raise _invalid(reason, *path, "typed_config", "max_heap_size_bytes")
    elif kind == "injected_resource.v3.InjectedResourceConfig":
        file = Path(typed["filename"])
        if "/" not in typed["filename"] or not os.path.isdir(file.parent):
            raise _invalid(
                "must be in a directory that is there", *path, "typed_config", "filename"
            )


def _action(tree: Tree, action: Tree, *path: str | int) -> None:
    """What an action needs besides its triggers, and must not have."""
    name, typed = action["name"], action.get("typed_config", {})
    kind = typed.get("@type", "").rpartition(".")[2]
    short = name.removeprefix("envoy.overload_actions.")
    where = (*path, "typed_config")
    wanted = {
        "reduce_timeouts": "ScaleTimersOverloadActionConfig",
        "shrink_heap": "ShrinkHeapConfig" if kind else "",
    }
    if kind != wanted.get(short, ""):
        if short == "reduce_timeouts":
            reason = "Unable to unpack as envoy.config.overload.v3.ScaleTimersOverloadActionConfig"
        else:
            reason = f'Overload action "{name}" has an unexpected value for the typed_config field'
        raise _invalid(reason, *where)
    if short == "reset_high_memory_stream" and "buffer_factory_config" not in tree:
        raise _invalid(f'Overload action "{name}" requires buffer_factory_config.', *path, "name")
    seen: set[str] = set()
    for index, timer in enumerate(typed.get("timer_scale_factors", ())):
        if timer["timer"] in seen:
            reason = f"Found duplicate entry for timer type {timer['timer']}"
            raise _invalid(reason, *where, "timer_scale_factors", index, "timer")
        seen.add(timer["timer"])


def _overload_manager(tree: Tree) -> Tree:
    """BOOT-15; the reasons are Envoy's."""
    monitors: set[str] = set()
    for index, monitor in enumerate(tree.get("resource_monitors", ())):
        if monitor["name"] in monitors:
            raise _invalid(
                f"Duplicate resource monitor {monitor['name']}", "resource_monitors", index, "name"
            )
        monitors.add(monitor["name"])
        _monitor(monitor, "resource_monitors", index)
    for index, action in enumerate(tree.get("actions", ())):
        _action(tree, action, "actions", index)
    for field, what in (("actions", "overload action"), ("loadshed_points", "loadshed point")):
        names: set[str] = set()
        for index, entry in enumerate(tree.get(field, ())):
            if entry["name"] in names:
                raise _invalid(f"Duplicate {what} {entry['name']}", field, index, "name")
            names.add(entry["name"])
            _triggers(entry, what, monitors, field, index)
    return tree


def _triggers(entry: Tree, what: str, monitors: set[str], *path: str | int) -> None:
    seen: set[str] = set()
    for index, trigger in enumerate(entry.get("triggers", ())):
        name, where = trigger["name"], (*path, "triggers", index)
        scaled = trigger.get("scaled", {"saturation_threshold": 1})
        if scaled.get("scaling_threshold", 0) >= scaled.get("saturation_threshold", 0):
            reason = "scaling_threshold must be less than saturation_threshold"
            raise _invalid(reason, *where, "scaled")
        if name not in monitors:
            reason = f"Unknown trigger resource {name} for {what} {entry['name']}"
            raise _invalid(reason, *where, "name")
        if name in seen:
            reason = f"Duplicate trigger resource for {what} {entry['name']}"
            raise _invalid(reason, *where, "name")
        seen.add(name)


def _check_format(text: str, *path: str | int) -> None:
    from meshcore._core.format import Formatter
    from meshcore.errors import ConfigError

    if "%" in text:
        try:
            Formatter(text)
        except ConfigError as error:
            raise _invalid(error.reason, *path) from None


def _http_service(tree: Tree) -> Tree:
    field = "request_headers_to_add"
    for index, option in enumerate(tree.get(field, ())):
        _check_format(option["header"].get("value", ""), field, index, "header", "value")
    return tree


def _grpc_service(tree: Tree) -> Tree:
    for index, metadata in enumerate(tree.get("initial_metadata", ())):
        _check_format(metadata.get("value", ""), "initial_metadata", index, "value")
        if metadata["key"].startswith(":") or metadata["key"].lower() == "host":
            reason = "is set by the call itself, as host and names that begin with ':' are"
            raise _invalid(reason, "initial_metadata", index, "key")
    return tree


_TAGS: Final = "envoy.extensions.filters.http.ip_tagging.v3.IPTagging.IPTags"


def _ip_tagging(tree: Tree) -> Tree:
    """With the tags out of their file."""
    from meshcore.config.load import load_file
    from meshcore.errors import ConfigError

    field = "ip_tags_datasource"
    if field not in tree:
        if not tree.get("ip_tags"):
            raise _invalid(f"is required: must not be empty where there is no {field}", "ip_tags")
        return tree
    if tree.get("ip_tags"):
        raise _invalid("cannot stand beside ip_tags", field)
    _watched(tree[field], field)
    name = tree[field].get("filename", "")
    if not name.endswith((".yaml", ".json")):
        raise _invalid("must be a .yaml or .json", field, "filename")
    try:
        tags = load_file(name, type=_TAGS).document
    except (OSError, ConfigError) as error:
        raise _invalid(f"cannot be read: {error}", field, "filename") from None
    rest = {key: value for key, value in tree.items() if key != field}
    return {**rest, "ip_tags": tags.get("ip_tags", [])}


def _grpc_log(tree: Tree) -> Tree:
    if tree.get("transport_api_version") == "V2":
        raise _invalid("V2 is no version any more", "transport_api_version")
    return tree


def _watched(source: Tree, *path: str) -> Tree:
    directory = source.get("watched_directory", {}).get("path")
    if directory is not None and not os.path.exists(directory):
        reason = f"must be a directory that is there, not {directory!r}"
        raise _invalid(reason, *path, "watched_directory", "path")
    return source


def _rds(tree: Tree) -> Tree:
    if "config_source" not in tree:
        raise _invalid("is required", "config_source")
    return tree


def _zipkin(tree: Tree) -> Tree:
    if "http_uri" not in tree.get("collector_service", {"http_uri": {}}):
        raise _invalid("is required", "collector_service", "http_uri")
    return tree


def _otel_log(tree: Tree) -> Tree:
    services = [tree.get("grpc_service"), tree.get("http_service"), tree.get("common_config")]
    if sum(service is not None for service in services) != 1:
        raise _invalid("must have one of grpc_service, http_service, common_config.grpc_service")
    return tree


def _vhds(tree: Tree) -> Tree:
    source = tree.get("config_source", {})
    if "ads" in source:
        return tree
    if source.get("api_config_source", {}).get("api_type") != "DELTA_GRPC":
        raise _invalid("must be ads, or an api_config_source of DELTA_GRPC", "config_source")
    return tree


def _api_config_source(tree: Tree) -> Tree:
    if tree.get("transport_api_version") == "V2":
        raise _invalid("V2 is no version any more", "transport_api_version")
    if tree.get("api_type") in ("GRPC", "DELTA_GRPC"):
        if tree.get("cluster_names"):
            raise _invalid("is for REST, and not for gRPC", "cluster_names")
        if len(tree.get("grpc_services", ())) != 1:
            raise _invalid("must be exactly one", "grpc_services")
    return tree


HOOKS: Final[dict[str, Callable[[Tree], Tree]]] = {
    "envoy.config.bootstrap.v3.Admin": _listening,
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": _static_resources,
    "envoy.config.bootstrap.v3.LayeredRuntime": _layered_runtime,
    "envoy.config.cluster.v3.Cluster": _cluster,
    "envoy.config.cluster.v3.Cluster.TransportSocketMatch": _socket_match,
    "envoy.config.core.v3.ApiConfigSource": _api_config_source,
    "envoy.config.core.v3.GrpcService": _grpc_service,
    "envoy.config.core.v3.HeaderValue": _header_value,
    "envoy.config.core.v3.HttpService": _http_service,
    "envoy.config.core.v3.PathConfigSource": _watched,
    "envoy.config.core.v3.SubstitutionFormatString": _format,
    "envoy.config.core.v3.TransportSocket": _typed,
    "envoy.config.listener.v3.Filter": _network_filter,
    "envoy.config.listener.v3.Listener": _listener,
    "envoy.config.listener.v3.ListenerFilter": _network_filter,
    "envoy.config.overload.v3.OverloadManager": _overload_manager,
    "envoy.config.route.v3.DirectResponseAction": _direct_response,
    "envoy.config.route.v3.FilterConfig": _filter_config,
    "envoy.config.route.v3.RouteAction": _unique_upgrades,
    "envoy.config.route.v3.Vhds": _vhds,
    "envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig": _grpc_log,
    "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig": _otel_log,
    "envoy.config.trace.v3.Tracing.Http": _typed,
    "envoy.config.trace.v3.ZipkinConfig": _zipkin,
    "envoy.extensions.clusters.dns.v3.DnsCluster": _resolvers,
    "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig": _cache,
    "envoy.extensions.compression.zstd.compressor.v3.Zstd": _dictionary,
    "envoy.extensions.compression.zstd.decompressor.v3.Zstd": _dictionaries,
    "envoy.extensions.filters.http.ip_tagging.v3.IPTagging": _ip_tagging,
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": (
        _http_connection_manager
    ),
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter": _http_filter,
    "envoy.extensions.filters.network.http_connection_manager.v3.Rds": _rds,
    "envoy.extensions.matching.common_inputs.environment_variable.v3.Config": (
        _environment_variable
    ),
}
