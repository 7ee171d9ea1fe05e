"""Routes and scopes of routes from files: RDS and scoped RDS by path (RT-16, RT-59); and virtual
hosts that a management server tells, for those or for routes of the bootstrap (VHDS).

A connection manager whose routes are in files is given to the core as one that has them itself, and
again whenever a file has changed. What a file says wrong is counted and left aside: the routes of
before stay, or none.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

from meshcore._core.stats import Store
from meshcore._log import logger as log
from meshcore.config.grpc_services import check_package
from meshcore.discovery.files import LOOK_S, ResourceFile, path_of
from meshcore.errors import ConfigError
from meshcore.routing import RouteTable

if TYPE_CHECKING:
    from meshcore.xds.vhds import VirtualHosts

__all__ = ["ROUTES", "SCOPES", "FileRoutes", "with_routes"]

ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
ON_DEMAND = "type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand"
SCOPES = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"

Tree = dict[str, Any]


def with_routes(document: Tree) -> Tree:
    """A bootstrap with the routes that its files have now."""
    return FileRoutes(Store()).resolve(document)


class Subscription:
    """The routes of one name, or all scopes, of one file."""

    def __init__(self, path: str, name: str, kind: str, scope: Any) -> None:
        self.name = name
        self.resources: list[Tree] = []
        self.version = ""
        self.updated_at = 0.0
        self._file = ResourceFile(path)
        self._kind = kind
        self._scope = scope
        self._before = self.resources, self.version
        self._attempts = scope.counter("update_attempt")
        self._successes = scope.counter("update_success")
        self._failures = scope.counter("update_failure")
        self._rejected = scope.counter("update_rejected")
        self._empty = scope.counter("update_empty")
        self._reloads = scope.counter("config_reload")
        self._reload_time = scope.gauge("config_reload_time_ms")
        scope.counter("init_fetch_timeout")

    @property
    def exists(self) -> bool:
        return os.path.exists(self._file.path)

    def look(self) -> bool:
        """True when the file says something new, which is taken from now on."""
        if not self._file.changed():
            return False
        self._attempts.inc()
        try:
            version, resources = self._file.read()
        except (OSError, ConfigError, ValueError) as error:
            self._failures.inc()
            log.warning("%s cannot be used: %s", self._file.path, error)
            return False
        try:
            resources = [self._checked(each) for each in resources]
            if self._kind == ROUTES and len(resources) > 1:
                raise ValueError(f"Unexpected RDS resource length: {len(resources)}")
        except ValueError as error:  # a ConfigError is one
            self.reject(error)
            return False
        if not resources and self._kind == ROUTES:
            self._successes.inc()
            self._empty.inc()
            return False
        if resources == self.resources:
            self._successes.inc()
            return False
        self._before = self.resources, self.version
        self.resources, self.version = resources, version
        return True

    def _checked(self, resource: Tree) -> Tree:
        if resource.get("@type") != self._kind:
            raise ValueError(f"the resource is a {resource.get('@type')}")
        resource = {k: v for k, v in resource.items() if k != "@type"}
        if self._kind == SCOPES:
            return resource
        if resource.get("name", "") != self.name:
            name = resource.get("name", "")
            raise ValueError(f"Unexpected RDS configuration (expecting {self.name}): {name}")
        RouteTable(resource)
        return resource

    def count_scopes(self, active: int) -> None:
        """XDS-34."""
        self._scope.gauge("all_scopes").set(len(self.resources))
        self._scope.gauge("active_scopes").set(active)
        self._scope.gauge("on_demand_scopes").set(sum(map(_waits, self.resources)))

    def accept(self) -> None:
        self.updated_at = time.time()
        self._successes.inc()
        self._reloads.inc()
        self._reload_time.set(round(self.updated_at * 1000))

    def reject(self, error: Exception) -> None:
        self._rejected.inc()
        log.warning("%s cannot be used: %s", self._file.path, error)

    def undo(self, error: Exception) -> None:
        self.resources, self.version = self._before
        self.reject(error)


class FileRoutes:
    """The subscriptions of all connection managers of a gateway."""

    def __init__(self, stats: Store) -> None:
        self._stats = stats
        self._known: dict[tuple[str, ...], Subscription] = {}
        self._used: dict[tuple[str, ...], Subscription] = {}
        self._hosts: dict[tuple[str, ...], VirtualHosts] = {}
        self._used_hosts: dict[tuple[str, ...], VirtualHosts] = {}
        self._settled: set[tuple[str, ...]] = set()
        self._task: asyncio.Task[None] | None = None

    def resolve(self, document: Tree) -> Tree:
        """The bootstrap with what the files say; a file that is new is read.

        :raises ConfigError: a path leads nowhere.
        """
        self._used, self._used_hosts = {}, {}
        resources = document.get("static_resources", {})
        listeners = resources.get("listeners", ())
        if not any(_discovers(each) for each in _managers(listeners)):
            self._known = {}
            return document
        path = "static_resources.listeners"
        resolved = [self._listener(each, f"{path}[{i}]") for i, each in enumerate(listeners)]
        self._known = self._used
        return {**document, "static_resources": {**resources, "listeners": resolved}}

    def _listener(self, listener: Tree, path: str) -> Tree:
        chains = []
        for c, chain in enumerate(listener.get("filter_chains", ())):
            network = []
            for f, each in enumerate(chain.get("filters", ())):
                where = f"{path}.filter_chains[{c}].filters[{f}].typed_config"
                typed = each.get("typed_config")
                network.append(each if typed is None else {**each, **self._filter(typed, where)})
            chains.append({**chain, "filters": network})
        return {**listener, "filter_chains": chains}

    def _filter(self, manager: Tree, path: str) -> Tree:
        prefix = f"http.{manager.get('stat_prefix', '')}"
        if "rds" in manager:
            routes = self._routes(manager["rds"], prefix, f"{path}.rds")
            rest = {k: v for k, v in manager.items() if k != "rds"}
            return {"typed_config": {**rest, "route_config": routes}}
        if "scoped_routes" in manager:
            scoped = self._scoped(manager, prefix, f"{path}.scoped_routes")
            return {"typed_config": {**manager, "scoped_routes": scoped}}
        if "vhds" in manager.get("route_config", {}):
            routes = self._with_hosts(manager["route_config"], "vhds", f"{path}.route_config")
            return {"typed_config": {**manager, "route_config": routes}}
        return {}

    def _routes(self, rds: Tree, prefix: str, path: str) -> Tree:
        name = rds.get("route_config_name", "")
        found = self._subscribe(
            rds.get("config_source", {}), name, ROUTES, f"{prefix}.rds.{name}", path
        )
        routes = found.resources[0] if found.resources else {"name": name}
        routes = self._with_hosts(routes, f"{prefix}.rds.vhds", path)
        return {"validate_clusters": False, **routes}

    def _with_hosts(self, routes: Tree, prefix: str, path: str) -> Tree:
        """With the virtual hosts that a server has told of them."""
        if "vhds" not in routes:
            return routes
        check_package(f"{path}.vhds")
        from meshcore.xds.vhds import VirtualHosts

        stats = f"{prefix}.{routes.get('name', '')}"
        key = (stats, json.dumps(routes["vhds"], sort_keys=True))
        found = self._hosts.get(key)
        if found is None:
            scope = self._stats.scope(stats.replace(":", "_"))
            names = {each.asking for each in self._hosts.values()}
            free = next(name for name in map("~vhds:{}".format, count()) if name not in names)
            found = VirtualHosts(routes, free, scope)
            self._hosts[key] = found
        self._used_hosts[key] = found
        return found.for_core(routes)

    def _scoped(self, manager: Tree, prefix: str, path: str) -> Tree:
        scoped = manager["scoped_routes"]
        if "scoped_rds" not in scoped:
            return self._listed(scoped, path)
        name = scoped.get("name", "")
        source = scoped["scoped_rds"].get("scoped_rds_config_source", {})
        stats = f"{prefix}.scoped_rds.{name}"
        found = self._subscribe(source, name, SCOPES, stats, f"{path}.scoped_rds")
        scopes = found.resources
        unwanted = [] if _asks(manager) else [each for each in scopes if _waits(each)]
        told = [
            {**each, "route_configuration_name": "", "route_configuration": {}}
            if each in unwanted
            else self._scope(each, scoped, prefix, path)
            for each in scopes
        ]
        found.count_scopes(len(scopes) - len(unwanted))
        rest = {k: v for k, v in scoped.items() if k not in ("scoped_rds", "rds_config_source")}
        return {**rest, "scoped_route_configurations_list": {"scoped_route_configurations": told}}

    def _listed(self, scoped: Tree, path: str) -> Tree:
        """Scopes that are told with the bootstrap, and bring their routes along."""
        told = scoped.get("scoped_route_configurations_list", {})
        scopes = []
        for scope in told.get("scoped_route_configurations", ()):
            if "route_configuration" in scope:
                routes = self._with_hosts(scope["route_configuration"], "vhds", path)
                scope = {**scope, "route_configuration": routes}
            scopes.append(scope)
        told = {**told, "scoped_route_configurations": scopes}
        return {**scoped, "scoped_route_configurations_list": told}

    def _scope(self, scope: Tree, scoped: Tree, prefix: str, path: str) -> Tree:
        name = scope.get("route_configuration_name")
        if "vhds" in scope.get("route_configuration", {}):
            own = self._with_hosts(scope["route_configuration"], "vhds", path)
            return {**scope, "route_configuration": own}
        if not name or "rds_config_source" not in scoped:
            return scope
        rds = {"config_source": scoped["rds_config_source"], "route_config_name": name}
        routes = self._routes(rds, prefix, path)
        rest = {k: v for k, v in scope.items() if k != "route_configuration_name"}
        return {**rest, "route_configuration": routes}

    def _subscribe(self, source: Tree, name: str, kind: str, stats: str, path: str) -> Subscription:
        file = path_of(source)
        key = (kind, stats, file)
        found = self._used.get(key) or self._known.get(key)
        if found is None:
            found = Subscription(file, name, kind, self._stats.scope(stats.replace(":", "_")))
            if not file or not found.exists:
                reason = f"paths must refer to an existing path in the system: {file!r}"
                raise ConfigError(path, f"{reason} does not exist")
            if found.look():
                found.accept()
        self._used[key] = found
        return found

    # --- following --------------------------------------------------------------------------------

    def start(
        self, loop: asyncio.AbstractEventLoop, publish: Callable[[], Awaitable[None]]
    ) -> None:
        """From now on a changed file is published."""
        self._task = loop.create_task(self._follow(publish))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        for each in self._hosts.values():
            each.stop()

    async def stopped(self) -> None:
        for each in self._hosts.values():
            await each.stopped()

    async def _follow(self, publish: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for each in list(self._known.values()):
                if each.look():
                    try:
                        await publish()
                        each.accept()
                    except ConfigError as error:
                        each.undo(error)

    # --- virtual hosts that are told ------------------------------------------------------------

    def new_hosts(self) -> list[VirtualHosts]:
        """Those of the document resolved last that nobody is asked for yet."""
        return [each for each in self._used_hosts.values() if not each.started]

    def settle(self) -> None:
        """What was resolved last is in use."""
        self._settled = set(self._used_hosts)
        self.take_back()

    def take_back(self) -> None:
        """What came into use last stays so, and nothing that was resolved since."""
        known = self._hosts
        self._hosts = {key: each for key, each in known.items() if key in self._settled}
        for key, each in known.items():
            if key not in self._settled:
                each.stop()

    def ask(self, asking: str, key: str) -> None:
        """A request waits for a virtual host."""
        for each in self._hosts.values():
            if each.asking == asking:
                each.ask(key)

    def as_told(self, routes: Tree) -> tuple[Tree, VirtualHosts | None]:
        """With the virtual hosts that were told, and by whom; None: there are none."""
        source = routes.get("vhds", {}).get("config_source")
        for each in self._hosts.values():
            if each.source == source and each.name == routes.get("name", ""):
                return each.merged(routes), each if each.updated_at else None
        return routes, None

    def known(self, kind: str) -> Iterator[Subscription]:
        """Those of one kind that know something."""
        return (each for key, each in self._known.items() if key[0] == kind and each.resources)


def _waits(scope: Tree) -> bool:
    """Its routes are read when a request asks for them."""
    return bool(scope.get("on_demand") and scope.get("route_configuration_name"))


def _asks(manager: Tree) -> bool:
    """Whether requests can: then the routes are read ahead of them."""
    filters = manager.get("http_filters", ())
    return any(each.get("typed_config", {}).get("@type") == ON_DEMAND for each in filters)


def _discovers(manager: Tree) -> bool:
    own = "vhds" in manager.get("route_config", {})
    return own or "rds" in manager or "scoped_routes" in manager


def _managers(listeners: Any) -> Iterator[Tree]:
    for listener in listeners:
        for chain in listener.get("filter_chains", ()):
            for each in chain.get("filters", ()):
                yield each.get("typed_config", {})
