"""Virtual hosts that a management server tells (RT-59, XDS-13 to XDS-19, XDS-33): meshcore and real
Envoy at the same kind of server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import clients
import peers
import pytest
from bootstraps import MANAGER, ROUTER
from delta_server import DeltaServer, delta_server, resource
from grpc_collector import HTTP2
from waiting import wait_until

import meshcore
from meshcore import ConfigError

Tree = dict[str, Any]
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
START = {"meshcore": peers.meshcore, "envoy": peers.envoy}


def host(name: str, *domains: str, prefix: str = "/") -> Tree:
    """A virtual host that answers with its name."""
    response = {"status": 200, "body": {"inline_string": name}}
    routes = [{"match": {"prefix": prefix}, "direct_response": response}]
    return {"name": name, "domains": list(domains), "routes": routes}


def vhds(**more: Any) -> Tree:
    api = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
    }
    source = {"api_config_source": api, "resource_api_version": "V3", **more}
    return {"config_source": source}


def route_config(**more: Any) -> Tree:
    return {"name": "routes", "virtual_hosts": [host("own", "own.com")], "vhds": vhds(), **more}


def in_file(path: Path, config: Tree) -> Tree:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"version_info": "1", "resources": [{"@type": ROUTES, **config}]}))
    os.replace(fresh, path)
    source = {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
    return {"rds": {"config_source": source, "route_config_name": config["name"]}}


def bootstrap(port: int, *filters: Tree, **routes: Any) -> Tree:
    manager = {
        "@type": MANAGER,
        "stat_prefix": "in",
        "http_filters": [*filters, {"name": "router", "typed_config": {"@type": ROUTER}}],
        **routes,
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": "$port"}}
    admin = {"socket_address": {"address": "127.0.0.1", "port_value": "$admin_port"}}
    chains = [{"filters": [{"name": "hcm", "typed_config": manager}]}]
    listener = {"name": "main", "address": address, "filter_chains": chains}
    where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": where}}]}]
    assignment = {"cluster_name": "xds", "endpoints": endpoints}
    cluster = {"name": "xds", "type": "STATIC", **HTTP2, "load_assignment": assignment}
    return {
        "node": {"id": "node", "cluster": "nodes"},
        "admin": {"address": admin},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


class Side:
    """One of the two programs with its own management server."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        self.name = name
        self._stack = stack
        self.xds: DeltaServer = stack.enter_context(delta_server())
        self.server: peers.Server

    def begin(self, config: Callable[[int], Tree], *first: Tree) -> None:
        """Starts the program, which waits for the first virtual hosts."""
        found: list[peers.Server] = []

        def start() -> None:
            found.append(self._stack.enter_context(START[self.name](config(self.xds.port))))

        thread = threading.Thread(target=start)
        thread.start()
        self.xds.send(*(first or (resource("routes/first", host("first", "first.com")),)))
        thread.join()
        (self.server,) = found

    def ask(self, name: str, path: str = "/") -> tuple[int, str]:
        reply = clients.fetch(self.server.port, path, host=name)
        return reply.status, reply.body.decode()

    def answers(self, *wanted: tuple[str, int, str]) -> None:
        """An update is acknowledged before every worker has it."""
        for name, *answer in wanted:
            wait_until(lambda name=name, answer=answer: [*self.ask(name)] == answer)

    def send(self, *resources: Tree, removed: tuple[str, ...] = ()) -> bool:
        """Whether what was sent is accepted."""
        answer = self.xds.send(*resources, removed=removed)
        assert "resource_names_subscribe" not in answer
        error = answer.get("error_detail")
        assert error is None or (error["code"] == 13 and error["message"])  # difference: nack-text
        return error is None

    def admin(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.server.admin_port}{path}"
        with urllib.request.urlopen(url) as reply:
            text: str = reply.read().decode()
            return text

    def stats(self, prefix: str) -> dict[str, str]:
        """But for those of time."""
        lines = (line.partition(": ") for line in self.admin("/stats").splitlines())
        return {
            name.removeprefix(prefix): value
            for name, _, value in lines
            if name.startswith(prefix) and not name.endswith(("update_time", "update_duration"))
        }


@pytest.fixture(params=["meshcore", pytest.param("envoy", marks=pytest.mark.oracle)])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    """Both must do the same."""
    with ExitStack() as stack:
        yield Side(request.param, stack)


def test_told(side: Side, tmp_path: Path) -> None:
    """What is told comes and goes, and what is wrong is refused as a whole."""
    routes = in_file(tmp_path / "routes.json", route_config())
    named = resource("routes/b", host("routes/b", "b.com"))
    side.begin(lambda port: bootstrap(port, **routes), named)
    assert side.xds.asked() == [{}]  # everything
    side.answers(("own.com", 200, "own"), ("b.com", 200, "routes/b"), ("c.com", 404, ""))
    assert side.send(resource("routes/c", host("c", "c.com")), removed=("routes/b",))
    side.answers(("own.com", 200, "own"), ("b.com", 404, ""), ("c.com", 200, "c"))
    assert side.send(removed=("routes/c", "routes/unknown"))  # no virtual host has that name
    assert side.send(resource("other/d", host("d", "d.com")))  # another configuration's
    assert side.send({"name": "routes/none", "aliases": ["routes/none.com"]})
    unknown = {"match": {"prefix": "/"}, "route": {"cluster": "nowhere"}}
    assert side.send(resource("routes/e", {"name": "e", "domains": ["e.com"], "routes": [unknown]}))
    no_regex = {"safe_regex": {"regex": "("}}
    bad_route = {"match": no_regex, "direct_response": {"status": 200}}
    fine = resource("routes/f", host("f", "f.com"))
    for wrong in (
        [resource("routes/x", host("x", "c.com"))],
        [resource("routes/x", host("x", "own.com"))],
        [fine, resource("routes/x", {"name": "x"})],
        [fine, resource("routes/x", {"name": "x", "domains": ["x"], "routes": [bad_route]})],
        [fine, fine],
        [{"name": "routes/x", "version": "1"}],
        [{"name": "routes/x", "version": "1", "resource": {"@type": ROUTES, "name": "a"}}],
    ):
        assert not side.send(*wrong)
    assert not side.send(fine, removed=("routes/f",))
    side.answers(("own.com", 200, "own"), ("b.com", 404, ""), ("c.com", 200, "c"))
    side.answers(("d.com", 404, ""), ("e.com", 503, ""), ("f.com", 404, ""))
    assert side.stats("http.in.rds.vhds.routes.") == {
        "config_reload": "4",
        "control_plane.connected_state": "1",
        "control_plane.identifier": '""',
        "control_plane.pending_requests": "0",
        "control_plane.rate_limit_enforced": "0",
        "init_fetch_timeout": "0",
        "update_attempt": "17",
        "update_empty": "0",
        "update_failure": "0",
        "update_rejected": "8",
        "update_success": "5",
        "version": "17241709254077376921",
        "version_text": '""',
    }
    dumps = json.loads(side.admin("/config_dump"))["configs"]
    (dump,) = (each for each in dumps if each["@type"].endswith(".RoutesConfigDump"))
    (routes,) = dump["dynamic_route_configs"]
    assert [each["name"] for each in routes["route_config"]["virtual_hosts"]] == ["own", "c", "e"]
    assert routes["route_config"]["vhds"] == vhds()
    assert side.xds.asked() == [{}]  # requests without a route have asked for nothing


def test_another_stream(side: Side) -> None:
    """After the end of a stream the next one tells what is held."""
    side.begin(lambda port: bootstrap(port, route_config=route_config()))
    assert side.send(resource("routes/a", host("routes/a", "a.com"), version="7"))
    assert side.send({"name": "routes/a", "version": "7"})  # it lives on
    assert not side.send({"name": "routes/a", "version": "8"})
    side.answers(("a.com", 200, "routes/a"))
    side.xds.end_streams()
    wait_until(lambda: len(side.xds.streams) == 2)
    assert side.xds.asked() == [
        {"initial_resource_versions": {"routes/first": "1", "routes/a": "7"}}
    ]
    side.answers(("a.com", 200, "routes/a"))
    assert side.send(removed=("routes/a",))
    side.answers(("a.com", 404, ""))
    side.xds.end_streams()
    wait_until(lambda: len(side.xds.streams) == 3)
    assert side.xds.asked() == [{"initial_resource_versions": {"routes/first": "1"}}]
    stats = side.stats("vhds.routes.")
    assert {
        name: stats[name] for name in ("config_reload", "update_failure", "update_success")
    } == {
        "config_reload": "3",
        "update_failure": "2",
        "update_success": "3",
    }


def test_for_a_time_and_at_a_rate(side: Side) -> None:
    """A resource with a ttl goes by itself; acknowledgements wait for tokens."""
    source = vhds()
    api = source["config_source"]["api_config_source"]
    api["set_node_on_first_message_only"] = True
    api["rate_limit_settings"] = {"max_tokens": 2, "fill_rate": 5}
    back_off = {"base_interval": "0.01s", "max_interval": "0.02s"}
    api["grpc_services"][0]["envoy_grpc"]["retry_policy"] = {"retry_back_off": back_off}
    side.begin(lambda port: bootstrap(port, route_config=route_config(vhds=source)))
    assert side.send(resource("routes/a", host("routes/a", "a.com")) | {"ttl": "60s"})
    side.answers(("a.com", 200, "routes/a"))
    assert side.send(
        {"name": "routes/a", "version": "1", "ttl": "0.05s"}
    )  # it lives on, but not long
    wait_until(lambda: side.ask("a.com") == (404, ""))
    assert side.stats("vhds.routes.")["config_reload"] == "3"
    stream = side.xds.stream()
    assert ["node" in each for each in stream.requests] == [True, False, False, False]
    acknowledged = len(stream.acknowledged()) + 3
    for name in ("b", "c", "d"):
        side.xds.post(stream, resource(f"routes/{name}", host(name, f"{name}.com")))
    wait_until(lambda: len(stream.acknowledged()) == acknowledged)
    assert side.stats("vhds.routes.")["control_plane.rate_limit_enforced"] != "0"
    side.answers(("d.com", 200, "d"))
    side.xds.end_streams()
    wait_until(lambda: len(side.xds.streams) == 2)
    held = {f"routes/{name}": "1" for name in ("first", "b", "c", "d")}
    assert side.xds.asked() == [{"initial_resource_versions": held}]


def test_no_server(side: Side) -> None:
    """What does not come in time is not waited for, and is taken when it comes."""
    config = route_config(vhds=vhds(initial_fetch_timeout="0.2s"))
    port = peers.free_port()
    with ExitStack() as stack:
        side.server = stack.enter_context(START[side.name](bootstrap(port, route_config=config)))
        side.answers(("own.com", 200, "own"))
        assert side.stats("vhds.routes.")["init_fetch_timeout"] == "1"
        side.xds = stack.enter_context(delta_server(port))
        assert side.send(resource("routes/a", host("a", "a.com")))
        side.answers(("a.com", 200, "a"))


ON_DEMAND = {
    "name": "envoy.filters.http.on_demand",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand"
    },
}
LOG = {
    "name": "log",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": "$directory/access",
        "log_format": {
            "text_format_source": {
                "inline_string": "%REQ(:AUTHORITY)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% "
                "%RESPONSE_FLAGS% %BYTES_RECEIVED% %REQ(X-FORWARDED-FOR)%\n"
            }
        },
    },
}
LOGGED = """\
own.com 200 direct_response - 0 {ip}
a.com 0 internal_redirect - 0 {ip}
a.com 200 direct_response - 0 {ip}
B.com:81 0 internal_redirect - 0 {ip}
B.com:81 200 direct_response - 0 {ip}
alias.com 0 internal_redirect - 0 {ip}
alias.com 200 direct_response - 0 {ip}
none.com 404 route_not_found NR 0 {ip}
a.com 200 direct_response - 0 {ip}
post.com 0 internal_redirect - 5 {ip}
post.com 200 direct_response - 5 {ip}
half.com 404 route_not_found NR 2 {ip}
leaver.com 0 downstream_remote_disconnect DC 0 {ip}
late.com 0 internal_redirect - 0 {ip}
late.com 200 direct_response - 0 {ip}
again.com 0 internal_redirect - 0 {ip}
again.com 200 direct_response - 0 {ip}
"""


def test_on_demand(side: Side, tmp_path: Path) -> None:
    """Requests wait for the virtual host that they have asked for (FL-59)."""
    routes = in_file(tmp_path / "routes.json", route_config())
    more = {"access_log": [LOG], "use_remote_address": True, **routes}
    xds = side.xds
    xds.serves = {
        "routes/a.com": host("a", "a.com"),
        "routes/b.com:81": host("b", "b.com:81"),
        "routes/alias.com": resource("routes/c", host("c", "alias.com"), "routes/alias.com"),
        "routes/none.com": None,
        "routes/post.com": host("post", "post.com"),
        "routes/half.com": host("half", "half.com"),
    }
    side.begin(lambda port: bootstrap(port, ON_DEMAND, **more))
    assert [
        side.ask(name)
        for name in ("own.com", "a.com", "B.com:81", "alias.com", "none.com", "a.com")
    ] == [(200, "own"), (200, "a"), (200, "b"), (200, "c"), (404, ""), (200, "a")]
    reply = clients.fetch(side.server.port, "/", host="post.com", method="POST", body=b"hello")
    assert (reply.status, reply.body) == (200, b"post")
    with clients.Connection(side.server.port) as client:  # half a request is not begun anew
        client.send(b"POST / HTTP/1.1\r\nhost: half.com\r\ncontent-length: 5\r\n\r\nhe")
        assert client.reply().status == 404

    def asked(name: str) -> bool:
        return {"resource_names_subscribe": [name]} in xds.asked()

    with clients.Connection(side.server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: leaver.com\r\n\r\n")
        wait_until(lambda: asked("routes/leaver.com"))
    wait_until(lambda: side.stats("http.in.")["downstream_rq_active"] == "0")
    assert side.send({"name": "routes/leaver.com", "aliases": ["routes/leaver.com"]})
    with clients.Connection(side.server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: late.com\r\n\r\n")
        wait_until(lambda: asked("routes/late.com"))
        assert side.send(removed=("routes/late.com",))  # no answer
        assert not side.send(resource("routes/late.com", host("late", "own.com")))
        assert side.stats("http.in.")["downstream_rq_active"] == "1"
        assert side.send(resource("routes/late.com", host("late", "late.com")))
        assert client.reply().status == 200
    with clients.Connection(side.server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: again.com\r\n\r\n")
        wait_until(lambda: asked("routes/again.com"))
        xds.end_streams()
        wait_until(lambda: len(xds.streams) == 2)
        (first, *_) = xds.asked()
        names = ("a.com", "again.com", "alias.com", "b.com:81", "half.com", "late.com")
        names += ("leaver.com", "none.com", "post.com")
        assert first["resource_names_subscribe"] == ["*", *(f"routes/{name}" for name in names)]
        held = ("a.com", "b.com:81", "c", "first", "half.com", "late.com", "leaver.com", "none.com")
        versions = first["initial_resource_versions"]
        assert sorted(versions) == [f"routes/{name}" for name in (*held, "post.com")]
        assert (versions["routes/a.com"], versions["routes/none.com"]) == ("1", "")
        assert side.send(resource("routes/again.com", host("again", "again.com")))
        assert client.reply().status == 200
    side.server.terminate()
    log = (side.server.directory / "access").read_text()
    assert log == LOGGED.format(ip=log.split()[5])


def test_on_demand_of_scopes() -> None:
    """difference: vhds-of-scopes"""
    with ExitStack() as stack:
        side = Side("meshcore", stack)
        side.xds.serves = {"routes/a.com": host("a", "a.com"), "two/a.com": host("b", "a.com")}
        extractor = {"header_value_extractor": {"name": "x-scope", "index": 0}}
        found = [
            {
                "name": name,
                "key": {"fragments": [{"string_key": name}]},
                "route_configuration": routes,
            }
            for name, routes in (
                ("one", route_config(vhds=vhds(initial_fetch_timeout="0.1s"))),
                ("two", route_config(name="two", vhds=vhds(initial_fetch_timeout="0.1s"))),
            )
        ]
        scopes = {
            "name": "scopes",
            "scope_key_builder": {"fragments": [extractor]},
            "scoped_route_configurations_list": {"scoped_route_configurations": found},
        }
        config = bootstrap(side.xds.port, ON_DEMAND, scoped_routes=scopes)
        side.server = stack.enter_context(START[side.name](config))

        def ask(scope: str) -> bytes:
            headers = (("x-scope", scope),)
            return clients.fetch(side.server.port, "/", host="a.com", headers=headers).body

        assert [ask(scope) for scope in ("one", "two", "none")] == [b"a", b"b", b""]


def test_stop_while_it_waits() -> None:
    config = bootstrap(peers.free_port(), route_config=route_config())
    config.pop("admin")
    address = config["static_resources"]["listeners"][0]["address"]["socket_address"]
    address["port_value"] = 0

    async def serve() -> None:
        gateway = meshcore.Gateway(config, workers=0)
        serving = asyncio.ensure_future(gateway.serve())
        await asyncio.sleep(0)  # it waits for the first virtual hosts, for 15 s
        assert await gateway.drain_async()
        gateway.stop()
        await asyncio.wait_for(serving, 10)

    asyncio.run(serve())


def wrong(**api: Any) -> Tree:
    source = vhds()["config_source"]
    return {"config_source": {**source, "api_config_source": source["api_config_source"] | api}}


WRONG = [
    {"config_source": {"path_config_source": {"path": "/"}}},
    {},
    wrong(api_type="GRPC"),
    wrong(api_type="REST"),
    wrong(grpc_services=[]),
    wrong(cluster_names=["xds"]),
    wrong(transport_api_version="V2"),
]


@pytest.mark.parametrize("config", WRONG)
def test_what_is_refused(config: Tree) -> None:
    tree = bootstrap(1, route_config=route_config(vhds=config))
    tree.pop("admin")
    tree["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = 0
    with pytest.raises(ConfigError) as caught:
        meshcore.Gateway(tree)
    assert ".route_config.vhds" in caught.value.path


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = bootstrap(1, route_config=route_config())
    tree.pop("admin")
    tree["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = 0
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="needs the package grpcio") as caught:
        meshcore.Gateway(tree)
    assert caught.value.path.endswith(".route_config.vhds")


@pytest.mark.oracle
@pytest.mark.parametrize("config", WRONG)
def test_envoy_refuses_it_too(config: Tree) -> None:
    accepted, _ = peers.envoy_accepts(bootstrap(1, route_config=route_config(vhds=config)))
    assert not accepted
