"""The gateway in this process, on real sockets."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
import pytest
from upstreams import Behaviour, Upstream, respond

import meshcore

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

STRUCT = "type.googleapis.com/google.protobuf.Struct"
Start = Callable[[Behaviour], Upstream]


def port_of(gateway: meshcore.Gateway) -> int:
    return gateway.listeners["main"][1]


def test_an_update_under_load_loses_nothing(upstream: Start) -> None:
    first, second = upstream(respond(200, b"one")), upstream(respond(200, b"two"))
    answers: list[tuple[int, bytes]] = []
    stop = threading.Event()
    with meshcore.Gateway(proxy_to(first.port), workers=2) as gateway:
        port = port_of(gateway)

        def load() -> None:
            while not stop.is_set():
                reply = clients.fetch(port, "/")
                answers.append((reply.status, reply.body))

        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        config = proxy_to(first.port)
        config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = 0
        for _ in range(5):
            gateway.update(config)
        opened = gateway.stats.counter("cluster.upstream.upstream_cx_total").value
        gateway.update(proxy_to(second.port))
        while answers.count((200, b"two")) < 10:
            assert all(status == 200 for status, _ in answers)
        stop.set()
        for thread in threads:
            thread.join()
        assert port_of(gateway) == port
    assert opened <= 8  # an unchanged cluster keeps its connections
    assert {status for status, _ in answers} == {200}


def test_a_bad_update_changes_nothing(upstream: Start) -> None:
    with meshcore.Gateway(proxy_to(upstream(respond(200, b"ok")).port), workers=1) as gateway:
        bad = proxy_to(1)
        routes = bad["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
        routes["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][0]["route"] = {
            "cluster": "nowhere"
        }
        with pytest.raises(meshcore.ConfigError):
            gateway.update(bad)
        assert clients.fetch(port_of(gateway), "/").body == b"ok"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_inside_a_running_loop_without_threads(loop: str, upstream: Start) -> None:
    port = upstream(respond(200, b"ok")).port
    before = threading.active_count()

    async def main() -> int:
        gateway = meshcore.Gateway(proxy_to(port), workers=0)
        serving = asyncio.ensure_future(gateway.serve())
        while not gateway.running:
            await asyncio.sleep(0)
        assert threading.active_count() == before
        reader, writer = await asyncio.open_connection(*gateway.listeners["main"])
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        gateway.stop()
        await serving
        return int(answer.split()[1])

    if loop == "uvloop":
        runner = pytest.importorskip("uvloop").run
    else:
        runner = asyncio.run
    assert runner(main()) == 200


def test_starting_and_stopping_leaks_nothing(upstream: Start) -> None:
    gateway = meshcore.Gateway(proxy_to(upstream(respond(200, b"ok")).port), workers=2)

    def cycle() -> tuple[int, int]:
        gateway.start()
        assert clients.fetch(port_of(gateway), "/").status == 200
        gateway.stop()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    cycle()
    assert cycle() == cycle()


def test_two_gateways_in_one_process(upstream: Start) -> None:
    one, two = upstream(respond(200, b"1")), upstream(respond(200, b"2"))
    with (
        meshcore.Gateway(proxy_to(one.port), workers=1) as a,
        meshcore.Gateway(proxy_to(two.port), workers=1) as b,
    ):
        bodies = [clients.fetch(port_of(g), "/").body for g in (a, b, a)]
        assert bodies == [b"1", b"2", b"1"]
        assert a.stats.counter("http.example.downstream_rq_total").value == 2


HOLDER = """
import ctypes, subprocess, sys, meshcore
sys.path.insert(0, sys.argv[1])
from config import proxy_to
with meshcore.Gateway(proxy_to(int(sys.argv[2])), workers=1) as gateway:
    url = "http://127.0.0.1:%d/" % gateway.listeners["main"][1]
    script = 'for i in 1 2 3 4 5; do curl -s -o /dev/null -w "%{http_code} " ' + url + "; done"
    client = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
    held = ctypes.PyDLL(None)  # calls through it keep the GIL
    held.waitpid(client.pid, None, 0)
    print(client.stdout.read().decode().split())
"""


def test_a_worker_serves_while_the_gil_is_held(upstream: Start) -> None:
    """The main thread waits for the client inside a C call that keeps the GIL: if the worker
    needed it, the client would never end."""
    examples = str(Path(__file__).parents[2] / "examples")
    argument = str(upstream(respond(200, b"ok")).port)
    done = subprocess.run(
        [sys.executable, "-c", HOLDER, examples, argument],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == str(["200"] * 5), done.stderr


def with_filter(port: int, name: str, **config: Any) -> dict[str, Any]:
    typed = {"@type": STRUCT, "value": config} if config else {"@type": STRUCT}
    return proxy_to(port, {"name": name, "typed_config": typed})


def test_python_filters(echo_upstream: Upstream) -> None:
    @meshcore.http_filter("test.plain")
    def plain(request: Any) -> Any:
        if request.path == "/refused":
            return meshcore.Response(403, {"x-why": "test"}, "no")
        if request.path == "/broken":
            raise RuntimeError("broken")
        request.headers["x-seen"] = request.method
        del request.headers["x-secret"]
        return None

    @meshcore.http_filter("test.async")
    class Later:
        def __init__(self, value: str) -> None:
            self.value = value

        async def on_request_headers(self, request: Any) -> Any:
            await asyncio.sleep(0)
            request.headers["x-later"] = self.value
            return 429 if request.path == "/limited" else None

        def on_response_headers(self, request: Any, response: Any) -> None:
            response["x-left"] = "yes"

    with meshcore.Gateway(with_filter(echo_upstream.port, "test.plain"), workers=1) as gateway:
        port = port_of(gateway)
        reply = clients.fetch(port, "/a", headers=[("X-Secret", "s")])
        received = dict(map(tuple, reply.json()["headers"]))  # type: ignore[call-overload]
        assert received["x-seen"] == "GET"
        assert "x-secret" not in received
        refused = clients.fetch(port, "/refused", headers=[("X-Secret", "s")])
        assert (refused.status, refused.header("x-why"), refused.body) == (403, "test", b"no")
        assert clients.fetch(port, "/broken").status == 500
    config = with_filter(echo_upstream.port, "test.async", value="v")
    with meshcore.Gateway(config, workers=1) as gateway:
        reply = clients.fetch(port_of(gateway), "/b")
        received = dict(map(tuple, reply.json()["headers"]))  # type: ignore[call-overload]
        assert (received["x-later"], reply.header("x-left")) == ("v", "yes")
        assert clients.fetch(port_of(gateway), "/limited").status == 429


def test_a_filter_nobody_registered_is_an_error() -> None:
    with pytest.raises(meshcore.ConfigError, match="no imported module registers"):
        meshcore.Gateway(with_filter(1, "test.unknown"))


@pytest.mark.parametrize(
    ("action", "path"),
    [
        ({"cluster": "nope"}, "route.cluster"),
        (
            {"weighted_clusters": {"clusters": [{"name": "nope", "weight": 1}]}},
            "route.weighted_clusters.clusters[0].name",
        ),
        (
            {"cluster": "origin", "request_mirror_policies": [{"cluster": "nope"}]},
            "route.request_mirror_policies[0].cluster",
        ),
    ],
)
def test_an_unknown_cluster_is_named_where_it_stands(action: dict[str, Any], path: str) -> None:
    config = proxy_to(1)
    [listener] = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    config["static_resources"]["clusters"][0]["name"] = "origin"
    config["static_resources"]["clusters"][0]["load_assignment"]["cluster_name"] = "origin"
    [host] = manager["route_config"]["virtual_hosts"]
    host["name"] = "nope"
    host["routes"] = [{"match": {"prefix": "/"}, "name": "nope", "route": action}]
    with pytest.raises(meshcore.ConfigError) as caught:
        meshcore.Gateway(config)
    assert caught.value.path.endswith(f"virtual_hosts[0].routes[0].{path}")


def test_echo_is_what_it_says(echo_upstream: Upstream) -> None:
    with meshcore.Gateway(proxy_to(echo_upstream.port), workers=1) as gateway:
        body = os.urandom(300_000)
        with clients.Connection(port_of(gateway)) as connection:
            reply = connection.request("/", method="POST", body=body)
        assert str(reply.json()["body"]).encode("latin-1") == body


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"workers": "2"}, TypeError, "workers must be a whole number, not str"),
        ({"workers": 1.5}, TypeError, "workers must be a whole number, not float"),
        ({"workers": -1}, ValueError, "workers must be between 0 and 256, not -1"),
        ({"stats": {}}, TypeError, "stats must be a meshcore.stats.Store, not dict"),
        ({"span_exporters": [5]}, TypeError, "a span exporter"),
        ({"log_flush_interval_s": -1}, ValueError, "log_flush_interval_s must be from 0"),
        ({"log_flush_interval_s": float("nan")}, ValueError, "log_flush_interval_s"),
    ],
)
def test_misuse_is_named(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        meshcore.Gateway({}, **options)


@pytest.mark.parametrize("name", ["envoy.yaml", "conf/envoy.json", "./b.pb"])
def test_a_file_name_is_no_configuration(name: str) -> None:
    with pytest.raises(meshcore.ConfigError, match="is a file's name"):
        meshcore.Gateway(name)


def test_one_of_many_starts_and_all_may_stop() -> None:
    gateway = meshcore.Gateway(proxy_to(1), workers=1)
    refused: list[str] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        try:
            gateway.start()
        except RuntimeError as error:
            refused.append(str(error))

    for target in (start, gateway.stop):
        threads = [threading.Thread(target=target) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert gateway.running == (target == start)
    assert refused == ["the gateway is running"] * 3
