"""The page ``/config_dump`` of the admin interface (ADM-5, ADM-6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from meshcore.discovery.rds import ROUTES, SCOPES, FileRoutes
from meshcore.observe.pages import PageError, pattern_of

__all__ = ["config_dump"]


def config_dump(
    document: dict[str, Any],
    started_at: float,
    discovered: FileRoutes,
    parameters: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Of the bootstrap in canonical form and of routes from files, what `parameters` leave."""
    dumps = _dumps(document, started_at, discovered)
    if "resource" in parameters:
        dumps = _resource(dumps, parameters["resource"])
    if "name_regex" in parameters:
        pattern = pattern_of(parameters["name_regex"])
        dumps = [dump for dump in (_named(dump, pattern) for dump in dumps) if dump]
    if "mask" in parameters:
        mask = parameters["mask"]
        dumps = [dump for dump in (_masked(dump, mask) for dump in dumps) if dump]
        if not dumps:
            text = f"FieldMask {mask} could not be successfully applied to any configs."
            raise PageError(400, text)
    return dumps


def _any(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/{kind}", **value}


def _of_managers(document: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """What connection managers have in a field."""
    found = []
    for listener in document.get("static_resources", {}).get("listeners", ()):
        for chain in listener.get("filter_chains", ()):
            for network_filter in chain.get("filters", ()):
                value = network_filter.get("typed_config", {}).get(field)
                if value is not None:
                    found.append(value)
    return found


def _scopes(scoped: dict[str, Any]) -> list[dict[str, Any]]:
    listed = scoped.get("scoped_route_configurations_list", {})
    scopes = listed.get("scoped_route_configurations", ())
    return [_any("envoy.config.route.v3.ScopedRouteConfiguration", scope) for scope in scopes]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _filled(**lists: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: each for name, each in lists.items() if each}


def _discovered(routes: FileRoutes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Route configurations and scopes that came from files."""
    configs = []
    for each in routes.known(ROUTES):
        config, hosts = routes.as_told(each.resources[0])
        last = each if hosts is None else hosts
        dump: dict[str, Any] = {"version_info": last.version} if last.version else {}
        dump["route_config"] = {"@type": ROUTES, **config}
        dump["last_updated"] = _moment(last.updated_at)
        configs.append(dump)
    scopes = [
        {
            "name": each.name,
            "version_info": each.version,
            "scoped_route_configs": [{"@type": SCOPES, **one} for one in each.resources],
            "last_updated": _moment(each.updated_at),
        }
        for each in routes.known(SCOPES)
    ]
    return configs, scopes


def _dumps(
    document: dict[str, Any], started_at: float, discovered: FileRoutes
) -> list[dict[str, Any]]:
    """All there is, a message a kind."""
    moment = _moment(started_at)
    resources = document.get("static_resources", {})
    cluster_type = "envoy.config.cluster.v3.Cluster"
    listener_type = "envoy.config.listener.v3.Listener"
    route_type = "envoy.config.route.v3.RouteConfiguration"
    clusters = [
        {"cluster": _any(cluster_type, cluster), "last_updated": moment}
        for cluster in resources.get("clusters", ())
    ]
    listeners = [
        {"listener": _any(listener_type, listener), "last_updated": moment}
        for listener in resources.get("listeners", ())
    ]
    routes = [
        {"route_config": _any(route_type, discovered.as_told(routes)[0]), "last_updated": moment}
        for routes in _of_managers(document, "route_config")
    ]
    scoped = [
        {
            "name": routes.get("name", ""),
            "scoped_route_configs": _scopes(routes),
            "last_updated": moment,
        }
        for routes in _of_managers(document, "scoped_routes")
        if "scoped_rds" not in routes
    ]
    dynamic_routes, dynamic_scopes = _discovered(discovered)
    return [
        _any("envoy.admin.v3.BootstrapConfigDump", {"bootstrap": document, "last_updated": moment}),
        _any("envoy.admin.v3.ClustersConfigDump", {"static_clusters": clusters}),
        _any("envoy.admin.v3.ListenersConfigDump", {"static_listeners": listeners}),
        _any(
            "envoy.admin.v3.ScopedRoutesConfigDump",
            _filled(
                inline_scoped_route_configs=scoped, dynamic_scoped_route_configs=dynamic_scopes
            ),
        ),
        _any(
            "envoy.admin.v3.RoutesConfigDump",
            _filled(static_route_configs=routes, dynamic_route_configs=dynamic_routes),
        ),
        _any("envoy.admin.v3.SecretsConfigDump", {}),
    ]


REPEATED = {
    "static_clusters": ("cluster", "envoy.admin.v3.ClustersConfigDump.StaticCluster"),
    "static_listeners": ("listener", "envoy.admin.v3.ListenersConfigDump.StaticListener"),
    "static_route_configs": ("route_config", "envoy.admin.v3.RoutesConfigDump.StaticRouteConfig"),
    "dynamic_route_configs": ("route_config", "envoy.admin.v3.RoutesConfigDump.DynamicRouteConfig"),
    "dynamic_scoped_route_configs": (
        "",
        "envoy.admin.v3.ScopedRoutesConfigDump.DynamicScopedRouteConfigs",
    ),
    "inline_scoped_route_configs": (
        "",  # they have a name themselves
        "envoy.admin.v3.ScopedRoutesConfigDump.InlineScopedRouteConfigs",
    ),
}
EMPTY_REPEATED = (
    "dynamic_active_clusters",
    "dynamic_warming_clusters",
    "dynamic_listeners",
    "static_secrets",
    "dynamic_active_secrets",
    "dynamic_warming_secrets",
)


def _resource(dumps: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    if name in EMPTY_REPEATED:
        return []
    for dump in dumps:
        if name in dump and name in REPEATED:
            return [_any(REPEATED[name][1], element) for element in dump[name]]
        if name in dump and name != "@type":
            text = f"{name} is not a repeated field. Use ?mask={name} to get only this field"
            raise PageError(400, text)
    if name in REPEATED:
        return []
    raise PageError(404, f"{name} not found in config dump")


def _named(dump: dict[str, Any], pattern: re.Pattern[str]) -> dict[str, Any] | None:
    """Of the elements only those whose name matches fully; what has none stays as it is."""
    for field, (inner, _) in REPEATED.items():
        if field in dump:
            named = [(e, e[inner] if inner else e) for e in dump[field]]
            kept = [e for e, at in named if pattern.fullmatch(at.get("name", ""))]
            rest = {name: value for name, value in dump.items() if name != field}
            return {**rest, field: kept} if kept else rest
        if inner in dump:
            return dump if pattern.fullmatch(dump[inner].get("name", "")) else None
    return dump


def _masked(dump: dict[str, Any], mask: str) -> dict[str, Any] | None:
    out: dict[str, Any] = {}
    for path in mask.split(","):
        source, target = dump, out
        *outer, last = path.strip().split(".")
        for part in outer:
            source = source.get(part, {})
            if not isinstance(source, dict):
                return None
            target = target.setdefault(part, {})
        if last in source:
            target[last] = source[last]
    out = {key: value for key, value in out.items() if value}
    return {"@type": dump["@type"], **out} if out else None
