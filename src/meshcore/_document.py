"""From a configuration to the document that the core compiles: names of Python filters bound, hosts
put in, and what is the control side's own left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from meshcore import log_services
from meshcore._core.engine import Engine
from meshcore._core.filter import Binding
from meshcore.config import Config, grpc_services
from meshcore.config.program_size import with_program_size
from meshcore.discovery import dns_fields
from meshcore.discovery.rds import with_routes
from meshcore.errors import ConfigError
from meshcore.filters.http import methods, registered
from meshcore.health.events import check_log
from meshcore.tracing import prepared, runtime_values

if TYPE_CHECKING:
    import asyncio

__all__ = ["check", "encode", "prepare", "with_assignment"]

PYTHON_FILTER = "type.googleapis.com/meshcore.PythonFilter"


def check(config: Config) -> None:
    """Compiles once, so that what cannot be served is said before anything is opened."""
    clusters = config.document.get("static_resources", {}).get("clusters", ())
    if any("health_checks" in cluster for cluster in clusters):
        from meshcore.health.checker import validate

        validate(clusters, "static_resources.clusters")
    detection = config.document.get("cluster_manager", {}).get("outlier_detection", {})
    check_log(detection.get("event_log_path"), "cluster_manager.outlier_detection.event_log_path")
    document = prepared(with_routes(config.document), lambda _: 0)
    document, filters = prepare(log_services.prepared(document, lambda _: 0), None)
    engine = Engine(1, seed=0, record_capacity=1)
    try:
        engine.compile(encode(document), filters)
    finally:
        engine.close()


def encode(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def prepare(
    document: dict[str, Any],
    loop: asyncio.AbstractEventLoop | None,
    assignments: dict[str, Any] | None = None,
    extra_listeners: list[dict[str, Any]] | None = None,
) -> tuple[dict[str, Any], list[tuple[str, Binding]]]:
    """The document as the core reads it: addresses resolved, Python filters under names of their
    own (two entries may share a filter and differ in configuration)."""
    grpc_services.check(document)
    document = with_program_size(document, runtime_values(document))
    resources = dict(document.get("static_resources", {}))
    filters: list[tuple[str, Binding]] = []
    listeners = []
    for index, listener in enumerate(resources.get("listeners", ())):
        path = f"static_resources.listeners[{index}]"
        listeners.append(_with_filters(listener, path, filters, loop))
    resources["listeners"] = [*listeners, *(extra_listeners or ())]
    manager = document.get("cluster_manager", {})
    bind = {k: manager[k] for k in ("upstream_bind_config",) if k in manager}
    resources["clusters"] = [
        with_assignment({**bind, **dns_fields(cluster)}, assignments)
        for cluster in resources.get("clusters", ())
        if not grpc_services.speaks_http2(cluster)  # the control side's own
    ]
    return {**document, "static_resources": resources}, filters


def with_assignment(cluster: dict[str, Any], assignments: dict[str, Any] | None) -> dict[str, Any]:
    """The cluster with the hosts that are known of it now."""
    name = cluster["name"]
    given = (assignments or {}).get(name)
    if given is None and cluster.get("type", "STATIC") == "STATIC":
        return cluster
    return {**cluster, "load_assignment": given or {"cluster_name": name}}


def _with_filters(
    listener: dict[str, Any],
    path: str,
    filters: list[tuple[str, Binding]],
    loop: asyncio.AbstractEventLoop | None,
) -> dict[str, Any]:
    chains = []
    for c, chain in enumerate(listener.get("filter_chains", ())):
        network = []
        for f, network_filter in enumerate(chain.get("filters", ())):
            manager = dict(network_filter.get("typed_config", {}))
            http = []
            for h, entry in enumerate(manager.get("http_filters", ())):
                where = f"{path}.filter_chains[{c}].filters[{f}].typed_config.http_filters[{h}]"
                http.append(_with_binding(entry, where, filters, loop))
            manager["http_filters"] = http
            network.append({**network_filter, "typed_config": manager})
        chains.append({**chain, "filters": network})
    return {**listener, "filter_chains": chains}


def _with_binding(
    entry: dict[str, Any],
    path: str,
    filters: list[tuple[str, Binding]],
    loop: asyncio.AbstractEventLoop | None,
) -> dict[str, Any]:
    typed = entry.get("typed_config", {})
    if typed.get("@type") != PYTHON_FILTER:
        return entry
    name = typed.get("name") or entry["name"]
    target = registered(name)
    if target is None:
        reason = f"names the Python filter {name!r}, which no imported module registers"
        hint = "" if "typed_config" in entry else "; a filter of Envoy's needs its typed_config"
        raise ConfigError(path, reason + hint)
    try:
        on_request, on_response = methods(target, typed.get("config", {}))
    except Exception as error:
        raise ConfigError(
            f"{path}.typed_config", f"does not suit the filter {name!r}: {error}"
        ) from error
    unique = f"{name}#{len(filters)}"
    filters.append((unique, Binding(on_request, on_response, loop)))
    return {**entry, "typed_config": {"@type": PYTHON_FILTER, "name": unique}}
