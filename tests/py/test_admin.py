"""The admin interface beside real Envoy's: the same configuration and the same requests, then every
page of both compared by shape: statuses, headers, the keys of JSON, the first words of lines."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import peers
import pytest
from clients import fetch
from upstreams import Upstream, echo

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
CONFIG = f"""
node: {{id: n1, cluster: c1, locality: {{zone: z1}}}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: $admin_port}}}}}}
layered_runtime:
  layers:
  - name: low
    static_layer: {{a: {{b: 1}}, c: text, d: true}}
  - name: high
    static_layer: {{a: {{b: 2}}}}
static_resources:
  listeners:
  - name: main
    address: {{socket_address: {{address: 127.0.0.1, port_value: $port}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/{HCM}
          stat_prefix: in
          route_config:
            name: rc
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {{match: {{prefix: /gone}}, direct_response: {{status: 410}}}}
              - {{match: {{prefix: /}}, route: {{cluster: web}}}}
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: web
    type: STATIC
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: $origin}}}}}}
"""

# What Envoy shows and we do not, by page, each for a reason.
ONLY_ENVOYS = {
    "/server_info": (
        r"command_line_options\..*",  # options that meshcore does not have
        r"node\.(extensions|user_agent_build_version).*",  # difference: build-of-envoy
        r"node\.(client_features|dynamic_parameters|listening_addresses)",  # for xDS
    ),
    "/config_dump": (r"configs\.bootstrap\.node\.(extensions|user_agent).*",),
    "/clusters": ("rq_pending_active",),  # difference: pending-active
}
SKIPPED = ("stats",)  # lists of which each element is named


class Page:
    def __init__(self, port: int, path: str, method: str = "GET") -> None:
        url = f"http://127.0.0.1:{port}{path}"
        request = urllib.request.Request(url, method=method, data=b"" if method == "POST" else None)
        try:
            answer = urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self.status: int = answer.status
            self.headers = {name.lower(): value for name, value in answer.headers.items()}
            self.text: str = answer.read().decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def frame(self) -> tuple[Any, ...]:
        names = ("content-type", "cache-control", "x-content-type-options")
        found = [self.headers.get(name) for name in names]
        # difference: empty-page-type (HC-5)
        return (self.status, *(found if self.text else found[1:]))


Both = tuple[peers.Server, peers.Server]


@pytest.fixture(scope="module")
def servers() -> Iterator[Both]:
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(Upstream(echo))
        ours = stack.enter_context(peers.meshcore(CONFIG, origin=origin.port))
        theirs = stack.enter_context(peers.envoy(CONFIG, origin=origin.port))
        for server in (ours, theirs):
            for path in ("/", "/", "/gone"):
                fetch(server.port, path)
        yield ours, theirs


def both(servers: Both, path: str, method: str = "GET") -> tuple[Page, Page]:
    """The page of both, whose statuses and headers must be the same."""
    ours, theirs = (Page(server.admin_port or 0, path, method) for server in servers)
    assert ours.frame == theirs.frame, path
    return ours, theirs


def keys(value: Any, at: str = "") -> set[str]:
    """Paths of all fields; those of list elements together."""
    if isinstance(value, dict):
        found = {f"{at}.{key}".lstrip(".") for key in value}
        return found.union(*(keys(v, f"{at}.{key}".lstrip(".")) for key, v in value.items()))
    if isinstance(value, list):
        return set().union(*(keys(item, at) for item in value))
    return set()


def unexplained(page: str, names: set[str]) -> list[str]:
    patterns = ONLY_ENVOYS.get(page, ())
    return sorted(n for n in names if not any(re.fullmatch(pattern, n) for pattern in patterns))


@pytest.mark.parametrize(
    "path",
    [
        "/server_info",
        "/clusters?format=json",
        "/clusters?format=json&filter=web",
        "/clusters?format=json&filter=none",
        "/listeners?format=json",
        "/config_dump",
        "/config_dump?resource=static_clusters",
        "/config_dump?resource=static_listeners",
        "/config_dump?mask=bootstrap",
        "/config_dump?name_regex=web",
        "/certs",
        "/memory",
        "/runtime",
        "/init_dump",
    ],
)
def test_json_pages(servers: Both, path: str) -> None:
    ours, theirs = both(servers, path)
    mine, envoy = keys(ours.json), keys(theirs.json)
    page = path.partition("?")[0]
    assert unexplained(page, envoy - mine) == []
    assert mine - envoy == set()
    kinds = [[one.get("@type") for one in p.json.get("configs", ())] for p in (ours, theirs)]
    assert kinds[0] == kinds[1]


def test_runtime_values(servers: Both) -> None:
    ours, theirs = both(servers, "/runtime")
    assert ours.json == theirs.json
    assert ours.json["entries"]["a.b"] == {"final_value": "2", "layer_values": ["1", "2"]}


def test_clusters(servers: Both) -> None:
    ours, theirs = (
        {line.rpartition("::")[0]: line.rpartition("::")[2] for line in page.text.splitlines()}
        for page in both(servers, "/clusters")
    )
    volatile = re.compile("cx_active|rq_active")
    missing = theirs.keys() - ours.keys()
    assert unexplained("/clusters", {name.rpartition("::")[2] for name in missing}) == []
    assert ours.keys() - theirs.keys() == set()
    for name, value in ours.items():
        assert value == theirs[name] or volatile.search(name), name


def test_hosts_of_clusters(servers: Both) -> None:
    ours, theirs = both(servers, "/clusters?format=json")
    hosts = [page.json["cluster_statuses"][0]["host_statuses"][0] for page in (ours, theirs)]
    mine, envoy = ({s["name"]: s.get("type") for s in host["stats"]} for host in hosts)
    assert envoy.items() - mine.items() == {("rq_pending_active", "GAUGE")}
    assert mine.items() - envoy.items() == set()
    assert hosts[0]["health_status"] == hosts[1]["health_status"]


def test_listeners(servers: Both) -> None:
    ours, theirs = both(servers, "/listeners")
    assert ours.text == f"main::127.0.0.1:{servers[0].port}\n"
    assert theirs.text == f"main::127.0.0.1:{servers[1].port}\n"


def test_ready(servers: Both) -> None:
    ours, theirs = both(servers, "/ready")
    assert ours.text == theirs.text == "LIVE\n"


def test_help(servers: Both) -> None:
    ours, theirs = (
        dict(re.findall(r"(?m)^  (/[^ :]*)( \(POST\))?:", page.text))
        for page in both(servers, "/help")
    )
    assert ours.items() <= theirs.items()
    # difference: profilers
    assert unexplained("/help", theirs.keys() - ours.keys()) == sorted(
        {
            *("/allocprofiler", "/cpuprofiler", "/heapprofiler", "/heap_dump"),
            *("/memory/tcmalloc", "/peak_heap_dump", "/runtime_modify"),
            *(f"/stats/recentlookups/{verb}" for verb in ("clear", "disable", "enable")),
        }
        & theirs.keys()
    )


@pytest.mark.parametrize("path", ["/nothing", "/stats/nothing", "/ready/"])
def test_unknown_pages(servers: Both, path: str) -> None:
    ours, theirs = both(servers, path)
    assert ours.status == 404
    first = "invalid path. admin commands are:"
    assert ours.text.splitlines()[0] == theirs.text.splitlines()[0] == first


@pytest.mark.parametrize(
    "path",
    ["/logging", "/quitquitquit", "/reset_counters", "/drain_listeners", "/healthcheck/fail"],
)
def test_pages_that_change_something(servers: Both, path: str) -> None:
    ours, theirs = both(servers, path)
    assert ours.status == 405
    assert ours.text == theirs.text == "Method GET not allowed, POST required."


@pytest.mark.parametrize(
    "path",
    [
        "/stats?filter=^http.in.downstream_rq_[0-9]xx",
        "/stats?filter=^http.in.downstream_rq_[0-9]xx&format=json",
        "/stats?filter=^http.in.downstream_rq_[0-9]xx&type=Gauges",
        "/stats?filter=nothing.at.all",
        "/stats?format=bad",
        "/stats?type=bad",
        "/stats/prometheus?filter=^http.in.downstream_rq_[0-9]xx",
    ],
)
def test_stats(servers: Both, path: str) -> None:
    ours, theirs = both(servers, path)
    assert ours.text == theirs.text


def test_stats_that_were_used(servers: Both) -> None:
    for scope in ("cluster.web", "http.in"):
        ours, theirs = (
            {line.partition(":")[0] for line in page.text.splitlines()}
            for page in both(servers, f"/stats?usedonly&type=Counters&filter=^{scope}\\.")
        )
        assert ours == theirs, scope


def test_bad_regular_expressions(servers: Both) -> None:
    ours, theirs = both(servers, "/stats?filter=(")
    assert ours.status == 400
    assert ours.text.startswith("Invalid re2 regex:")
    assert theirs.text.startswith("Invalid re2 regex:")


# The last, for they change the servers.


def test_logging(servers: Both) -> None:
    ours, theirs = both(servers, "/logging?level=debug", "POST")
    assert ours.text.splitlines()[0] == theirs.text.splitlines()[0] == "active loggers:"
    assert re.fullmatch(r"  meshcore: debug", ours.text.splitlines()[1])
    for path in ("/logging?level=loud", "/logging?nobody=debug", "/logging?level=info&x=y"):
        ours, theirs = both(servers, path, "POST")
        assert ours.status == 400
        assert "usage: /logging?level=<level>" in ours.text
        assert "usage: /logging?level=<level>" in theirs.text


def test_reset_counters(servers: Both) -> None:
    for page in both(servers, "/reset_counters", "POST"):
        assert page.text == "OK\n"
    for page in both(servers, "/stats?filter=http.in.downstream_rq_2xx"):
        assert "http.in.downstream_rq_2xx: 0\n" in page.text


def test_failing_health(servers: Both) -> None:
    for path, status, state in (("fail", 503, "DRAINING"), ("ok", 200, "LIVE")):
        for page in both(servers, f"/healthcheck/{path}", "POST"):
            assert page.text == "OK\n"
        for page in both(servers, "/ready"):
            assert (page.status, page.text) == (status, f"{state}\n")


def test_drain_and_quit(servers: Both) -> None:
    for page in both(servers, "/drain_listeners?skip_exit", "POST"):
        assert page.status == 400
    for path in ("/reopen_logs", "/drain_listeners", "/quitquitquit"):
        for page in both(servers, path, "POST"):
            assert page.text == "OK\n"
    for server in servers:
        assert server.process.wait(20) == 0
