"""The admin interface, in Envoy's shapes (rules ADM-1 to ADM-18).

It is served by the gateway's own data plane: a listener whose chain holds one asynchronous Python
filter, so that every page is made on the control loop and a slow one stops nobody.
"""

from __future__ import annotations

import asyncio
import html
import json
import logging
import re
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from meshcore._core.engine import Engine
from meshcore._log import logger
from meshcore._version import __version__
from meshcore.discovery.rds import ROUTES, SCOPES, FileRoutes
from meshcore.filters.http import Request, Response
from meshcore.observe.stats_render import StatsPage, StatsQuery, StatsQueryError

if TYPE_CHECKING:
    from meshcore.gateway import Gateway

__all__ = ["ADMIN_FILTER", "Admin", "admin_listener"]

ADMIN_FILTER = "~admin"
TEXT = "text/plain; charset=UTF-8"
JSON = "application/json"
HTTP_MANAGER = (
    "type.googleapis.com/"
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
LEVELS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}


def admin_listener(name: str, address: dict[str, Any]) -> dict[str, Any]:
    """The listener that serves the admin interface, in canonical form."""
    not_found = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    manager = {
        "@type": HTTP_MANAGER,
        "stat_prefix": "admin",
        "generate_request_id": False,
        "http_filters": [
            {"name": ADMIN_FILTER},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}},
        ],
        "route_config": {
            "name": "admin",
            "virtual_hosts": [{"name": "admin", "domains": ["*"], "routes": [not_found]}],
        },
    }
    return {
        "name": name,
        "address": address,
        "stat_prefix": "admin",
        "filter_chains": [{"filters": [{"name": "admin", "typed_config": manager}]}],
    }


class Run(Protocol):
    """What the admin interface needs of a running gateway."""

    engine: Engine
    opened: bool
    draining: bool
    started_at: float
    routes: FileRoutes
    stopping: asyncio.Event
    loop: asyncio.AbstractEventLoop


class AdminError(Exception):
    """A page that cannot be given; the text is its body."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Page:
    handler: Callable[[Admin, Mapping[str, str]], tuple[str, str | bytes]]
    help: str
    mutates: bool = False


class Admin:
    """Pages of one running gateway. Used on the control loop only."""

    def __init__(self, run: Run, gateway: Gateway) -> None:
        self._run = run
        self._gateway = gateway
        self._stats = StatsPage(gateway.stats)

    async def on_request_headers(self, request: Request) -> Response:
        return self.handle(request.method, request.path)

    def handle(self, method: str, target: str) -> Response:
        path, _, query = target.partition("?")
        page = PAGES.get(path)
        if page is None:
            return _response(404, TEXT, f"invalid path. {_help()}")
        if page.mutates and method != "POST":
            return _response(405, TEXT, f"Method {method} not allowed, POST required.")
        try:
            parameters = dict(parse_qsl(query, keep_blank_values=True))
            kind, body = page.handler(self, parameters)
        except AdminError as error:
            return _response(error.status, TEXT, str(error))
        except StatsQueryError as error:
            return _response(400, TEXT, str(error))
        status = 503 if path == "/ready" and self.state() != "LIVE" else 200
        return _response(status, kind, body)

    def state(self) -> str:
        """ADM-12."""
        if self._run.engine.health_failed or self._run.draining:
            return "DRAINING"
        return "LIVE" if self._run.opened else "INITIALIZING"

    # --- pages -----------------------------------------------------------------------------------

    def ready(self, _: Mapping[str, str]) -> tuple[str, str]:
        return TEXT, f"{self.state()}\n"

    def help(self, _: Mapping[str, str]) -> tuple[str, str]:
        return TEXT, _help()

    def home(self, _: Mapping[str, str]) -> tuple[str, str]:
        rows = []
        for path, page in sorted(PAGES.items()):
            if path == "/":
                continue
            verb = "post" if page.mutates else "get"
            rows.append(
                f"<tr><td><form action='{path[1:]}' method='{verb}'>"
                f"<button>{html.escape(path[1:])}</button></form></td>"
                f"<td>{html.escape(page.help)}</td></tr>"
            )
        body = "<!DOCTYPE html><html><head><title>meshcore admin</title></head><body><table>"
        return "text/html; charset=UTF-8", body + "".join(rows) + "</table></body></html>"

    def server_info(self, _: Mapping[str, str]) -> tuple[str, str]:
        uptime = f"{int(time.time() - self._run.started_at)}s"
        return _json(
            {
                "version": f"meshcore/{__version__}",
                "state": self.state(),
                "hot_restart_version": "disabled",
                "hot_restart_initializing": False,
                "command_line_options": {
                    "concurrency": self._run.engine.workers,
                    "log_level": _level_name(),
                    "mode": "Serve",
                    "disable_hot_restart": True,
                },
                "node": _node(self._gateway.config.get("node", {})),
                "uptime_current_epoch": uptime,
                "uptime_all_epochs": uptime,
            }
        )

    def certs(self, _: Mapping[str, str]) -> tuple[str, str]:
        return _json({"certificates": []})

    def memory(self, _: Mapping[str, str]) -> tuple[str, str]:
        """ADM-11; what the system knows of the process stands for what an allocator would."""
        used = _resident_bytes()
        names = ("allocated", "heap_size", "total_physical_bytes")
        idle = ("pageheap_unmapped", "pageheap_free", "total_thread_cache")
        return _json({**dict.fromkeys(names, str(used)), **dict.fromkeys(idle, "0")})

    def contention(self, _: Mapping[str, str]) -> tuple[str, str]:
        return TEXT, "Mutex contention tracing is not enabled.\n"

    def hot_restart_version(self, _: Mapping[str, str]) -> tuple[str, str]:
        return TEXT, "disabled"

    def init_dump(self, _: Mapping[str, str]) -> tuple[str, str]:
        return _json({})

    def runtime(self, _: Mapping[str, str]) -> tuple[str, str]:
        """ADM-13."""
        layers = self._gateway.config.get("layered_runtime", {}).get("layers", [])
        values = [dict(_flat(layer.get("static_layer", {}))) for layer in layers]
        entries = {}
        for key in sorted({key for layer in values for key in layer}):
            each = [_runtime_text(layer[key]) if key in layer else "" for layer in values]
            final = next(
                text for layer, text in zip(values[::-1], each[::-1], strict=True) if key in layer
            )
            entries[key] = {"final_value": final, "layer_values": each}
        return _json({"entries": entries, "layers": [layer.get("name", "") for layer in layers]})

    def recent_lookups(self, _: Mapping[str, str]) -> tuple[str, str]:
        return TEXT, "Lookup tracking is not enabled.\n"

    def stats(self, parameters: Mapping[str, str]) -> tuple[str, bytes]:
        return self._render(StatsQuery.parse(parameters))

    def prometheus(self, parameters: Mapping[str, str]) -> tuple[str, bytes]:
        return self._render(StatsQuery.parse(parameters, form="prometheus"))

    def _render(self, query: StatsQuery) -> tuple[str, bytes]:
        self._update_server_stats()
        return query.content_type, self._stats.render(query, merge=True)

    def _update_server_stats(self) -> None:
        """STAT-16."""
        store = self._gateway.stats
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        values = {
            "server.uptime": int(time.time() - self._run.started_at),
            "server.live": int(self.state() == "LIVE"),
            "server.state": {"LIVE": 0, "DRAINING": 1, "PRE_INITIALIZING": 2}.get(self.state(), 3),
            "server.concurrency": self._run.engine.workers,
            "server.memory_allocated": used,
            "server.memory_physical_size": used,
        }
        for name, value in values.items():
            store.gauge(name).set(value)

    def reset_counters(self, _: Mapping[str, str]) -> tuple[str, str]:
        self._gateway.stats.reset_counters()
        return TEXT, "OK\n"

    def clusters(self, parameters: Mapping[str, str]) -> tuple[str, str]:
        found = self._run.engine.clusters()
        if "filter" in parameters:
            pattern = _regex(parameters["filter"])
            found = [cluster for cluster in found if pattern.search(cluster["name"])]
        if parameters.get("format") == "json":
            statuses = [_cluster_json(cluster) for cluster in found]
            return _json({"cluster_statuses": statuses} if statuses else {})
        return TEXT, "".join(line + "\n" for cluster in found for line in _cluster_lines(cluster))

    def listeners(self, parameters: Mapping[str, str]) -> tuple[str, str]:
        found = self._gateway.listeners
        if parameters.get("format") == "json":
            statuses = [
                {
                    "name": name,
                    "local_address": {"socket_address": {"address": host, "port_value": port}},
                }
                for name, (host, port) in found.items()
            ]
            return _json({"listener_statuses": statuses} if statuses else {})
        lines = (f"{name}::{_address(host, port)}\n" for name, (host, port) in found.items())
        return TEXT, "".join(lines)

    def config_dump(self, parameters: Mapping[str, str]) -> tuple[str, str]:
        dumps = _dumps(self._gateway.config, self._run.started_at, self._run.routes)
        if "resource" in parameters:
            dumps = _resource(dumps, parameters["resource"])
        if "name_regex" in parameters:
            pattern = _regex(parameters["name_regex"])
            dumps = [dump for dump in (_named(dump, pattern) for dump in dumps) if dump]
        if "mask" in parameters:
            mask = parameters["mask"]
            dumps = [dump for dump in (_masked(dump, mask) for dump in dumps) if dump]
            if not dumps:
                text = f"FieldMask {mask} could not be successfully applied to any configs."
                raise AdminError(400, text)
        return _json({"configs": dumps})

    def drain_listeners(self, parameters: Mapping[str, str]) -> tuple[str, str]:
        if "skip_exit" in parameters and "graceful" not in parameters:
            raise AdminError(400, "skip_exit requires graceful")
        if "graceful" in parameters:
            self._run.draining = True
            if "skip_exit" in parameters:
                return TEXT, "OK\n"
            self._run.engine.drain()
        else:
            self._run.engine.close_listeners()
        return TEXT, "OK\n"

    def quit(self, _: Mapping[str, str]) -> tuple[str, str]:
        # A moment later, so that this answer still leaves.
        self._run.loop.call_later(0.1, self._run.stopping.set)
        return TEXT, "OK\n"

    def reopen_logs(self, _: Mapping[str, str]) -> tuple[str, str]:
        self._gateway.reopen_logs()
        return TEXT, "OK\n"

    def fail(self, _: Mapping[str, str]) -> tuple[str, str]:
        self._run.engine.fail_health(True)
        return TEXT, "OK\n"

    def ok(self, _: Mapping[str, str]) -> tuple[str, str]:
        self._run.engine.fail_health(False)
        return TEXT, "OK\n"

    def logging(self, parameters: Mapping[str, str]) -> tuple[str, str]:
        if parameters:
            _set_levels(parameters)
        return TEXT, f"active loggers:\n  meshcore: {_level_name()}\n"


def _level_name() -> str:
    effective = logger.getEffectiveLevel()
    return next((name for name, number in LEVELS.items() if effective <= number), "off")


def _node(node: dict[str, Any]) -> dict[str, Any]:
    locality = dict.fromkeys(("region", "zone", "sub_zone"), "") | node.get("locality", {})
    return {"user_agent_name": "meshcore", **node, "locality": locality}


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of a layer, nested names joined by dots; a fraction is one value."""
    if isinstance(node, dict) and not ({"numerator", "denominator"} & node.keys()):
        for name, value in node.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, node


def _runtime_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _set_levels(parameters: Mapping[str, str]) -> None:
    usage = "usage: /logging?<name>=<level> (change single level)\n"
    usage += "usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n"
    usage += "usage: /logging?level=<level> (change all levels)\nlevels: " + " ".join(LEVELS) + "\n"
    (name, level), *more = parameters.items()
    pairs = [(name, level)]
    if name == "paths":
        pairs = [(n, lv) for n, _, lv in (item.partition(":") for item in level.split(","))]
    if more or any(n not in ("level", "meshcore") or lv not in LEVELS for n, lv in pairs):
        raise AdminError(400, f"error: unknown logger name or level\n\n{usage}")
    for _, each in pairs:
        logger.setLevel(LEVELS[each])


def _response(status: int, kind: str, body: str | bytes) -> Response:
    headers = {
        "content-type": kind,
        "cache-control": "no-cache, max-age=0",
        "x-content-type-options": "nosniff",
    }
    return Response(status, headers, body)


def _json(value: Any) -> tuple[str, str]:
    return JSON, json.dumps(value, indent=1) + "\n"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise AdminError(400, f"Invalid re2 regex: {error}") from error


def _help() -> str:
    lines = ["admin commands are:"]
    for path, page in sorted(PAGES.items()):
        post = " (POST)" if page.mutates else ""
        lines.append(f"  {path}{post}: {page.help}")
    return "\n".join(lines) + "\n"


# --- /clusters (ADM-4) ---------------------------------------------------------------------------


def _cluster_lines(cluster: dict[str, Any]) -> list[str]:
    name = cluster["name"]
    lines = [f"{name}::observability_name::{cluster['observability_name']}"]
    for key, value in (cluster["outlier"] or {}).items():
        lines.append(f"{name}::outlier::{key}::{_rate(value)}")
    for priority, limits in zip(
        ("default_priority", "high_priority"), cluster["breakers"], strict=True
    ):
        for limit, value in limits.items():
            lines.append(f"{name}::{priority}::{limit}::{value}")
    lines.append(f"{name}::added_via_api::false")
    for host in cluster["hosts"]:
        prefix = f"{name}::{host['address']}::"
        lines += [f"{prefix}{stat}::{value}" for stat, value in host["stats"].items()]
        lines += [
            f"{prefix}hostname::{host['hostname']}",
            f"{prefix}health_flags::{host['health_flags']}",
            f"{prefix}weight::{host['weight']}",
            f"{prefix}region::{host['region']}",
            f"{prefix}zone::{host['zone']}",
            f"{prefix}sub_zone::{host['sub_zone']}",
            f"{prefix}canary::{str(host['canary']).lower()}",
            f"{prefix}priority::{host['priority']}",
            f"{prefix}success_rate::{_rate(host['success_rate'])}",
            f"{prefix}local_origin_success_rate::{_rate(host['local_success_rate'])}",
        ]
    return lines


def _rate(value: float) -> str:
    return f"{value:.6g}"  # as a C++ stream prints a double


def _cluster_json(cluster: dict[str, Any]) -> dict[str, Any]:
    thresholds = []
    for priority, limits in zip(("DEFAULT", "HIGH"), cluster["breakers"], strict=True):
        thresholds.append({"priority": priority, **limits} if priority == "HIGH" else limits)
    outlier = cluster["outlier"] or {}
    rates = {
        key: {"value": outlier[key]}
        for key in (
            "success_rate_ejection_threshold",
            "local_origin_success_rate_ejection_threshold",
        )
        if outlier.get(key, -1) >= 0
    }
    return {
        "name": cluster["name"],
        **rates,
        "host_statuses": [_host_json(host) for host in cluster["hosts"]],
        "circuit_breakers": {"thresholds": thresholds},
        "observability_name": cluster["observability_name"],
    }


def _host_json(host: dict[str, Any]) -> dict[str, Any]:
    address, _, port = host["address"].rpartition(":")
    stats = []
    for name, value in host["stats"].items():
        stat: dict[str, Any] = {"value": str(value)} if value else {}
        if name.endswith("_active"):
            stat["type"] = "GAUGE"
        stats.append({**stat, "name": name})
    stats.sort(key=lambda stat: "type" in stat)  # counters first
    out = {
        "address": {"socket_address": {"address": address.strip("[]"), "port_value": int(port)}},
        "stats": stats,
        "health_status": _health_json(host),
        "weight": host["weight"],
        "locality": {k: host[k] for k in ("region", "zone", "sub_zone") if host[k]},
    }
    if host["hostname"]:
        out["hostname"] = host["hostname"]
    if host["priority"]:
        out["priority"] = host["priority"]
    for name, rate in (
        ("success_rate", host["success_rate"]),
        ("local_origin_success_rate", host["local_success_rate"]),
    ):
        if rate >= 0:
            out[name] = {"value": rate}
    return out


# Health flags (HS-1) as HostHealthStatus shows them; EDS health has a field of its own.
HEALTH_FIELDS = {
    0x1: "failed_active_health_check",
    0x2: "failed_outlier_check",
    0x8: "failed_active_degraded_check",
    0x20: "pending_dynamic_removal",
    0x40: "pending_active_hc",
    0x80: "excluded_via_immediate_hc_fail",
    0x100: "active_hc_timeout",
}


def _health_json(host: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        name: True for flag, name in HEALTH_FIELDS.items() if host["flags"] & flag
    }
    return {**out, "eds_health_status": _eds_health(host["flags"])}


def _eds_health(flags: int) -> str:
    for flag, name in ((0x4, "UNHEALTHY"), (0x200, "DRAINING"), (0x10, "DEGRADED")):
        if flags & flag:
            return name
    return "HEALTHY"


# --- /config_dump (ADM-5, ADM-6) -----------------------------------------------------------------


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
    configs = [
        {
            "version_info": each.version,
            "route_config": {"@type": ROUTES, **each.resources[0]},
            "last_updated": _moment(each.updated_at),
        }
        for each in routes.known(ROUTES)
    ]
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
        {"route_config": _any(route_type, routes), "last_updated": moment}
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
            raise AdminError(400, text)
    if name in REPEATED:
        return []
    raise AdminError(404, f"{name} not found in config dump")


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


PAGES: dict[str, Page] = {
    "/": Page(Admin.home, "Admin home page"),
    "/certs": Page(Admin.certs, "print certs on machine"),
    "/clusters": Page(Admin.clusters, "upstream cluster status"),
    "/config_dump": Page(Admin.config_dump, "dump current configuration"),
    "/contention": Page(Admin.contention, "dump mutex contention stats (if enabled)"),
    "/drain_listeners": Page(Admin.drain_listeners, "drain listeners", mutates=True),
    "/healthcheck/fail": Page(Admin.fail, "cause the server to fail health checks", mutates=True),
    "/healthcheck/ok": Page(Admin.ok, "cause the server to pass health checks", mutates=True),
    "/help": Page(Admin.help, "print out list of admin commands"),
    "/hot_restart_version": Page(
        Admin.hot_restart_version, "print the hot restart compatibility version"
    ),
    "/init_dump": Page(Admin.init_dump, "dump what is not ready yet"),
    "/listeners": Page(Admin.listeners, "print listener info"),
    "/logging": Page(Admin.logging, "query/change logging levels", mutates=True),
    "/memory": Page(Admin.memory, "print current allocation/heap usage"),
    "/quitquitquit": Page(Admin.quit, "exit the server", mutates=True),
    "/ready": Page(Admin.ready, "print server state, return 200 if LIVE, otherwise return 503"),
    "/reopen_logs": Page(Admin.reopen_logs, "reopen access logs", mutates=True),
    "/reset_counters": Page(Admin.reset_counters, "reset all counters to zero", mutates=True),
    "/runtime": Page(Admin.runtime, "print runtime values"),
    "/server_info": Page(Admin.server_info, "print server version/status information"),
    "/stats": Page(Admin.stats, "print server stats"),
    "/stats/prometheus": Page(Admin.prometheus, "print server stats in prometheus format"),
    "/stats/recentlookups": Page(Admin.recent_lookups, "show recent stat-name lookups"),
}
