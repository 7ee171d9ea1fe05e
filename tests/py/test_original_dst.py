"""ORIGINAL_DST: the request says where it goes (rule CL-15)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
import pytest
from upstreams import Behaviour, Upstream, respond
from waiting import wait_until

import meshcore

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from config import proxy_to

Start = Callable[[Behaviour], Upstream]
HEADER = "x-envoy-original-dst-host"


def config(**settings: Any) -> dict[str, Any]:
    out = proxy_to(1)
    cluster = out["static_resources"]["clusters"][0]
    del cluster["load_assignment"]
    cluster |= {
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "cleanup_interval": "0.2s",
        "original_dst_lb_config": {"use_http_header": True, **settings},
        "common_http_protocol_options": {"idle_timeout": "0.2s"},
    }
    return out


def ask(gateway: meshcore.Gateway, *headers: tuple[str, str]) -> clients.Reply:
    with clients.Connection(gateway.listeners["main"][1]) as connection:
        return connection.request(headers=headers)


def hosts(gateway: meshcore.Gateway) -> list[dict[str, Any]]:
    run = gateway._run
    assert run is not None
    found: list[dict[str, Any]] = run.ask(run.engine.clusters)[0]["hosts"]
    return found


def test_hosts_are_made_on_first_use_and_go(upstream: Start) -> None:
    one, two = upstream(respond(200, b"one")), upstream(respond(200, b"two"))
    with meshcore.Gateway(config(), workers=2) as gateway:
        for origin, body in ((one, b"one"), (two, b"two"), (one, b"one")):
            reply = ask(gateway, (HEADER, f"127.0.0.1:{origin.port}"))
            assert (reply.status, reply.body) == (200, body)
        wait_until(lambda: len(hosts(gateway)) == 2)
        name = gateway.config["static_resources"]["clusters"][0]["name"]
        made = {host["hostname"]: host["weight"] for host in hosts(gateway)}
        assert made == {f"{name}127.0.0.1:{origin.port}": 1 for origin in (one, two)}
        assert gateway.stats.gauge(f"cluster.{name}.membership_total").value == 2
        # Neither chosen any more nor connected to: they go.
        wait_until(lambda: hosts(gateway) == [])
        assert ask(gateway, (HEADER, f"127.0.0.1:{one.port}")).body == b"one"


def test_connections_are_used_again(upstream: Start) -> None:
    origin = upstream(respond(200, b"ok"))
    with meshcore.Gateway(config(), workers=1) as gateway:
        for _ in range(5):
            assert ask(gateway, (HEADER, f"127.0.0.1:{origin.port}")).status == 200
    assert origin.connections == 1


@pytest.mark.parametrize(
    "header",
    [None, "", "nowhere", "127.0.0.1", "127.0.0.1:99999", "[::1:80", "::1:80", "[127.0.0.1]:80"],
)
def test_no_address_is_no_host(header: str | None) -> None:
    with meshcore.Gateway(config(), workers=1) as gateway:
        reply = ask(gateway, *([] if header is None else [(HEADER, header)]))
        assert (reply.status, reply.body) == (503, b"no healthy upstream")
        name = gateway.config["static_resources"]["clusters"][0]["name"]
        invalid = gateway.stats.counter(f"cluster.{name}.original_dst_host_invalid").value
        assert invalid == (0 if header is None else 1)


def test_another_header_and_another_port(upstream: Start) -> None:
    origin = upstream(respond(200, b"ok"))
    settings = {"http_header_name": "x-to", "upstream_port_override": origin.port}
    with meshcore.Gateway(config(**settings), workers=1) as gateway:
        assert ask(gateway, ("x-to", "127.0.0.1:1")).body == b"ok"
        assert ask(gateway, (HEADER, "127.0.0.1:1")).status == 503


@pytest.mark.parametrize(("kind", "policy"), [("ORIGINAL_DST", "RANDOM"), ("STATIC", None)])
def test_type_and_policy_belong_together(kind: str, policy: str | None) -> None:
    wrong = config()
    cluster = wrong["static_resources"]["clusters"][0]
    cluster["type"] = kind
    cluster["lb_policy"] = policy or "CLUSTER_PROVIDED"
    with pytest.raises(meshcore.ConfigError) as failure:
        meshcore.Gateway(wrong, workers=1)
    assert failure.value.path == "static_resources.clusters[0].lb_policy"


def test_redirected_connections() -> None:
    """SO_ORIGINAL_DST and the hand-over to another listener, in a network of the test's own."""
    if shutil.which("unshare") is None or shutil.which("iptables") is None:
        pytest.skip("needs unshare and iptables")
    command = ["unshare", "-n", "sh", "-c"]
    able = [*command, "ip link set lo up && iptables -t nat -L OUTPUT"]
    if subprocess.run(able, capture_output=True, check=False).returncode != 0:
        pytest.skip("a network of one's own cannot be had here")
    script = Path(__file__).with_name("redirected.py")
    run = [*command, f"exec {sys.executable} {script}"]
    done = subprocess.run(run, capture_output=True, check=True, text=True)
    seen = json.loads(done.stdout)
    assert seen["ours"] == seen["envoys"]
    assert [answer[1] for answer in seen["ours"][1][1:3]] == ["exact", "any"]
