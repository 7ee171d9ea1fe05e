"""The admin interface, in Envoy's shapes (rules ADM-1 to ADM-18).

It is served by the gateway's own data plane: a listener whose chain holds one asynchronous Python
filter, so that every page is made on the control loop and a slow one stops nobody.
"""

from __future__ import annotations

import asyncio
import html
import json
import logging
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from meshcore._core.engine import Engine
from meshcore._log import logger
from meshcore._version import __version__
from meshcore.discovery.rds import FileRoutes
from meshcore.filters.http import Request, Response
from meshcore.observe.clusters_page import cluster_json, cluster_lines
from meshcore.observe.config_dump import config_dump
from meshcore.observe.pages import PageError, pattern_of
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
        except PageError as error:
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
            pattern = pattern_of(parameters["filter"])
            found = [cluster for cluster in found if pattern.search(cluster["name"])]
        if parameters.get("format") == "json":
            statuses = [cluster_json(cluster) for cluster in found]
            return _json({"cluster_statuses": statuses} if statuses else {})
        return TEXT, "".join(line + "\n" for cluster in found for line in cluster_lines(cluster))

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
        run = self._run
        dumps = config_dump(self._gateway.config, run.started_at, run.routes, parameters)
        return _json({"configs": dumps})

    def drain_listeners(self, parameters: Mapping[str, str]) -> tuple[str, str]:
        if "skip_exit" in parameters and "graceful" not in parameters:
            raise PageError(400, "skip_exit requires graceful")
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
        raise PageError(400, f"error: unknown logger name or level\n\n{usage}")
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


def _help() -> str:
    lines = ["admin commands are:"]
    for path, page in sorted(PAGES.items()):
        post = " (POST)" if page.mutates else ""
        lines.append(f"  {path}{post}: {page.help}")
    return "\n".join(lines) + "\n"


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
