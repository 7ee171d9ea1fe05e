"""The gRPC services of a bootstrap: what the control side calls itself, and the clusters for it.

Workers speak HTTP/1 to clusters. One that speaks HTTP/2 is therefore the control side's alone: it
must be named by a gRPC service, and no route finds it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

from meshcore.config.invalid import format_path
from meshcore.errors import ConfigError

__all__ = ["check", "check_package", "named", "speaks_http2", "strangers"]

Document = Mapping[str, Any]
_PROTOCOLS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP2 = "http2_protocol_options"


def named(tree: Any, *path: str | int) -> Iterator[tuple[tuple[str | int, ...], Document]]:
    """Every GrpcService of listeners and of the bootstrap's tracing, with its place; those of
    management servers among them."""
    if not path:
        resources = tree.get("static_resources", {})
        yield from named(resources.get("listeners", ()), "static_resources", "listeners")
        yield from named(tree.get("tracing", {}), "tracing")
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            if key == "grpc_service":
                yield (*path, key), value
            elif key == "grpc_services":
                yield from (((*path, key, index), each) for index, each in enumerate(value))
            elif isinstance(value, Mapping | list):
                yield from named(value, *path, key)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            if isinstance(value, Mapping):
                yield from named(value, *path, index)


def _http2_of(cluster: Document) -> tuple[tuple[str | int, ...], Document] | None:
    """Where a cluster says that it speaks HTTP/2, and what it says of it."""
    options = cluster.get("typed_extension_protocol_options", {}).get(_PROTOCOLS, {})
    explicit = options.get("explicit_http_config", {})
    if _HTTP2 in explicit:
        where = "typed_extension_protocol_options", _PROTOCOLS, "explicit_http_config", _HTTP2
        return where, explicit[_HTTP2]
    return ((_HTTP2,), cluster[_HTTP2]) if _HTTP2 in cluster else None


def speaks_http2(cluster: Document) -> bool:
    return _http2_of(cluster) is not None


def strangers(document: Document) -> Iterator[ConfigError]:
    """Clusters that speak HTTP/2 though no gRPC service names them. Routes in files may."""
    names: set[str] | None = None
    if any(_in_files(document.get("static_resources", {}).get("listeners", ()))):
        return
    for index, cluster in enumerate(document.get("static_resources", {}).get("clusters", ())):
        found = _http2_of(cluster)
        if found is None:
            continue
        if names is None:
            names = {
                service.get("envoy_grpc", {}).get("cluster_name", "")
                for _, service in named(document)
            }
        if cluster["name"] not in names:
            yield ConfigError(
                format_path(["static_resources", "clusters", index, *found[0]]),
                "not supported yet by meshcore, but for a cluster that a grpc_service names",
            )


def _in_files(listeners: Any) -> Iterator[bool]:
    for listener in listeners:
        for chain in listener.get("filter_chains", ()):
            for each in chain.get("filters", ()):
                manager = each.get("typed_config", {})
                yield "rds" in manager or "scoped_rds" in manager.get("scoped_routes", {})


def check(document: Document) -> None:
    """:raises ConfigError: a gRPC service cannot be called."""
    if _installed():  # before all of a document is looked through
        return
    for path, _ in named(document):
        check_package(format_path(path))


def _installed() -> bool:
    return importlib.util.find_spec("grpc") is not None


def check_package(path: str) -> None:
    """:raises ConfigError: nothing here speaks gRPC."""
    if not _installed():
        raise ConfigError(path, "needs the package grpcio (pip install meshcore[grpc])")
