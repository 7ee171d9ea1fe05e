"""Routes and scopes of routes that files tell (RT-16, RT-59): found, replaced and refused."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
import peers
import pytest
from bootstraps import MANAGER, ROUTER
from waiting import wait_until

import meshcore
from meshcore import ConfigError
from meshcore.config import load
from meshcore.explain import Request, explain

T = "type.googleapis.com/"
ROUTES = f"{T}envoy.config.route.v3.RouteConfiguration"
SCOPE = f"{T}envoy.config.route.v3.ScopedRouteConfiguration"
Tree = dict[str, Any]


def write(path: Path, *resources: Tree | str, version: str = "1") -> None:
    """Replaces the file as a configuration system does: by a rename."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"version_info": version, "resources": list(resources)}))
    os.replace(fresh, path)


def answering(text: str, name: str = "routes", **more: Any) -> Tree:
    response = {"status": 200, "body": {"inline_string": text}}
    routes = [{"match": {"prefix": "/"}, "direct_response": response}]
    host = {"name": "all", "domains": ["*"], "routes": routes}
    return {"@type": ROUTES, "name": name, "virtual_hosts": [host], **more}


def source(path: Path) -> Tree:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def bootstrap(**routes: Any) -> Tree:
    manager = {
        "@type": MANAGER,
        "stat_prefix": "in",
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        **routes,
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": "$port"}}
    admin = {"socket_address": {"address": "127.0.0.1", "port_value": "$admin_port"}}
    listener = {
        "name": "main",
        "address": address,
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    node = {"id": "node", "cluster": "nodes"}
    return {
        "node": node,
        "admin": {"address": admin},
        "static_resources": {"listeners": [listener]},
    }


def rds(path: Path) -> Tree:
    return {"rds": {"config_source": source(path), "route_config_name": "routes"}}


def scope(name: str, **more: Any) -> Tree:
    key = {"fragments": [{"string_key": name}]}
    return {"@type": SCOPE, "name": name, "key": key, **more}


def scoped(**more: Any) -> Tree:
    extractor = {"name": "x-scope", "index": 0}
    builder = {"fragments": [{"header_value_extractor": extractor}]}
    return {"scoped_routes": {"name": "scopes", "scope_key_builder": builder, **more}}


def ask(server: peers.Server, *headers: tuple[str, str]) -> tuple[int, str]:
    reply = clients.fetch(server.port, "/", headers=headers)
    return reply.status, reply.body.decode()


def admin(server: peers.Server, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}{path}") as reply:
        text: str = reply.read().decode()
        return text


def counters(server: peers.Server, prefix: str) -> dict[str, int]:
    lines = (line.rpartition(": ") for line in admin(server, "/stats").splitlines())
    names = ("attempt", "success", "failure", "rejected", "empty", "reload")
    return {
        name.removeprefix(prefix): int(value)
        for name, _, value in lines
        if name.startswith(prefix) and name.rpartition("_")[2] in names
    }


def dumped(server: peers.Server, field: str) -> list[Any]:
    found = json.loads(admin(server, "/config_dump"))["configs"]
    return [
        {key: value for key, value in each.items() if key != "last_updated"}
        for dump in found
        for each in dump.get(field, ())
    ]


Start = Callable[..., peers.Server]


@pytest.fixture(params=["meshcore", pytest.param("envoy", marks=pytest.mark.oracle)])
def start(request: pytest.FixtureRequest) -> Start:
    """Both must do the same."""
    name = "meshcore_server" if request.param == "meshcore" else "envoy"
    found: Start = request.getfixturevalue(name)
    return found


def test_routes_of_a_file(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    write(path, answering("one"))
    server = start(bootstrap(**rds(path)))
    assert ask(server) == (200, "one")
    write(path, answering("two"), version="2")
    wait_until(lambda: ask(server) == (200, "two"))
    unknown = {"match": {"prefix": "/"}, "route": {"cluster": "nowhere"}}
    host = {"name": "all", "domains": ["*"], "routes": [unknown]}
    write(path, answering("", virtual_hosts=[host]))  # without validate_clusters
    wait_until(lambda: ask(server) == (503, ""))
    write(path, answering("three"), version="3")
    wait_until(lambda: ask(server) == (200, "three"))
    (dump,) = dumped(server, "dynamic_route_configs")
    assert dump == {"version_info": "3", "route_config": answering("three")}
    assert counters(server, "http.in.rds.routes.")["config_reload"] == 4


def test_what_a_file_may_not_say(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    write(path, answering("one"))
    server = start(bootstrap(**rds(path)))
    host = {"name": "all", "domains": ["*"]}
    wrong: list[tuple[Tree, ...]] = [
        (answering("two", name="other"),),
        (answering("two"), answering("three")),
        (answering("two", virtual_hosts=[host, host]),),
        (scope("a", route_configuration_name="routes"),),
    ]
    prefix = "http.in.rds.routes."
    for count, resources in enumerate(wrong, 1):
        write(path, *resources)
        wait_until(lambda n=count: counters(server, prefix)["update_rejected"] == n)
        assert ask(server) == (200, "one")
    write(path)
    wait_until(lambda: counters(server, prefix)["update_empty"] == 1)
    fresh = path.with_suffix(".new")
    fresh.write_text("{")
    os.replace(fresh, path)
    wait_until(lambda: counters(server, prefix)["update_failure"] == 1)
    assert ask(server) == (200, "one")
    write(path, answering("four"))
    wait_until(lambda: ask(server) == (200, "four"))
    # Counted when every worker has the routes, which answer before that.
    wait_until(lambda: counters(server, prefix)["config_reload"] == 2)
    assert counters(server, prefix) == {
        "config_reload": 2,
        "update_attempt": 8,
        "update_empty": 1,
        "update_failure": 1,
        "update_rejected": 4,
        "update_success": 3,
    }


def test_no_routes_at_first(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    write(path, answering("one", name="other"))
    server = start(bootstrap(**rds(path)))
    assert ask(server) == (404, "")
    write(path, answering("one"))
    wait_until(lambda: ask(server) == (200, "one"))


def test_scopes_of_a_file(start: Start, tmp_path: Path) -> None:
    scopes, routes = tmp_path / "scopes.json", tmp_path / "routes.json"
    write(routes, answering("of a name"))
    own = {k: v for k, v in answering("its own", name="a").items() if k != "@type"}
    first = scope("a", route_configuration=own)
    write(scopes, first, scope("b", route_configuration_name="routes"))
    locator = {"scoped_rds": {"scoped_rds_config_source": source(scopes)}}
    server = start(bootstrap(**scoped(rds_config_source=source(routes), **locator)))

    def found() -> list[tuple[int, str]]:
        return [ask(server, ("x-scope", name)) for name in ("a", "b", "c")]

    wait_until(lambda: found() == [(200, "its own"), (200, "of a name"), (404, "")])
    write(routes, answering("changed"))
    wait_until(lambda: found() == [(200, "its own"), (200, "changed"), (404, "")])
    write(scopes, scope("c", route_configuration_name="routes"), first, version="2")
    wait_until(lambda: found() == [(200, "its own"), (404, ""), (200, "changed")])
    twice = scope("d", route_configuration_name="routes") | {"key": first["key"]}
    prefix = "http.in.scoped_rds.scopes."
    write(scopes, first, twice)
    wait_until(lambda: counters(server, prefix)["update_rejected"] == 1)
    assert found() == [(200, "its own"), (404, ""), (200, "changed")]
    write(scopes)
    wait_until(lambda: found() == [(404, "")] * 3)


def test_scopes_that_are_asked_for(start: Start, tmp_path: Path) -> None:
    scopes, routes = tmp_path / "scopes.json", tmp_path / "routes.json"
    write(routes, answering("of a name"))
    write(scopes, scope("a", route_configuration_name="routes", on_demand=True))
    locator = {"scoped_rds": {"scoped_rds_config_source": source(scopes)}}
    config = bootstrap(**scoped(rds_config_source=source(routes), **locator))
    server = start(config)
    assert ask(server, ("x-scope", "a")) == (404, "")
    stats = admin(server, "/stats?filter=_scopes")
    assert "all_scopes: 1" in stats
    assert "active_scopes: 0" in stats
    assert "on_demand_scopes: 1" in stats
    (chain,) = config["static_resources"]["listeners"][0]["filter_chains"]
    filters = chain["filters"][0]["typed_config"]["http_filters"]
    kind = f"{T}envoy.extensions.filters.http.on_demand.v3.OnDemand"
    filters.insert(0, {"name": "on_demand", "typed_config": {"@type": kind}})
    assert ask(start(config), ("x-scope", "a")) == (200, "of a name")


@pytest.mark.oracle
def test_listed_scopes_bring_their_routes(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    write(path, answering("of a name"))
    one = {k: v for k, v in scope("a", route_configuration_name="routes").items() if k != "@type"}
    scopes = {"scoped_route_configurations_list": {"scoped_route_configurations": [one]}}
    config = bootstrap(**scoped(rds_config_source=source(path), **scopes))
    accepted, why = peers.envoy_accepts(config)
    assert not accepted
    assert "is not supported with inline scoped routes" in why
    config.pop("admin")
    config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = 80
    with pytest.raises(ConfigError, match="route_configuration_name"):
        meshcore.Gateway(config)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    config = bootstrap(**rds(tmp_path / "none.json"))
    config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = 0
    config.pop("admin")
    with pytest.raises(ConfigError) as caught:
        meshcore.Gateway(config)
    assert caught.value.path.endswith("filters[0].typed_config.rds")
    assert caught.value.reason.startswith("paths must refer to an existing path in the system")
    path = tmp_path / "routes.json"
    write(path, answering("one"))
    config = bootstrap(**rds(path))
    config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = 80
    config.pop("admin")
    found = explain(load(config), Request("GET", "http://a/", []))
    assert found["route_config"] == "routes"


@pytest.mark.oracle
def test_envoy_wants_the_file_too(tmp_path: Path) -> None:
    config = bootstrap(**rds(tmp_path / "none.json"))
    accepted, why = peers.envoy_accepts(config)
    assert not accepted
    assert "must refer to an existing path in the system" in why
