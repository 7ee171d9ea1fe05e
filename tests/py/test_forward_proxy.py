"""The dynamic forward proxy: hosts by name, resolved when requests ask for them (rule CL-17)."""

from __future__ import annotations

import contextlib
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clients
import peers
import pytest
import yaml
from bootstraps import address, listener, manager, routing
from bootstraps import cluster as static
from dns_server import DnsServer
from upstreams import Behaviour, Upstream, respond
from waiting import wait_until

import meshcore

Start = Callable[[Behaviour], Upstream]
TYPES = "type.googleapis.com/envoy.extensions."
CARES = TYPES + "network.dns_resolver.cares.v3.CaresDnsResolverConfig"
PROXY = "dynamic_forward_proxy.v3"
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_HOST_NAME%\n"


def settings(
    dns: DnsServer,
    log: Path,
    *,
    waits: bool = True,
    route: dict[str, Any] | None = None,
    ours: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
    **cache: Any,
) -> dict[str, Any]:
    """A bootstrap whose one cluster goes wherever a request says. `waits`: with the HTTP filter;
    `route`, `ours`: its configuration for the route and beside the cache."""
    typed = {
        "@type": CARES,
        "resolvers": [address(dns.port)],
        "dns_resolver_options": {"no_default_search_domain": True},
    }
    shared = {
        "dns_cache_config": {
            "name": "names",
            "dns_lookup_family": "V4_ONLY",
            "typed_dns_resolver_config": {"name": "cares", "typed_config": typed},
            **cache,
        }
    }
    name = "envoy.filters.http.dynamic_forward_proxy"
    filters: list[Any] = []
    if waits:
        own = {"@type": f"{TYPES}filters.http.{PROXY}.FilterConfig", **shared, **(ours or {})}
        filters.append({"name": name, "typed_config": own})
    there: dict[str, Any] = {"match": {"prefix": "/"}, "route": {"cluster": "anywhere"}}
    if route is not None:
        own = {"@type": f"{TYPES}filters.http.{PROXY}.PerRouteConfig", **route}
        there["typed_per_filter_config"] = {name: own}
    access = {
        "@type": TYPES + "access_loggers.file.v3.FileAccessLog",
        "path": str(log),
        "log_format": {"text_format_source": {"inline_string": LOG}},
    }
    front = manager(
        routing([there]),
        *filters,
        stat_prefix="front",
        access_log=[{"name": "log", "typed_config": access}],
    )
    anywhere = {
        "name": "anywhere",
        "connect_timeout": "2s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.dynamic_forward_proxy",
            "typed_config": {"@type": f"{TYPES}clusters.{PROXY}.ClusterConfig", **shared},
        },
        **(cluster or {}),
    }
    return {
        "static_resources": {
            "listeners": [listener(front, name="front")],
            "clusters": [anywhere],
        }
    }


@dataclass
class Side:
    """One program that serves the settings."""

    port: int
    stats: Callable[[], dict[str, int]]

    def ask(self, host: str, *headers: tuple[str, str]) -> tuple[int, bytes]:
        with clients.Connection(self.port) as connection:
            reply = connection.request(host=host, headers=headers)
        return reply.status, reply.body


SHADOWS = re.compile(r"cluster\.anywhere\.(internal\.)?upstream_rq_(\d|completed|total)")
WANTED = re.compile(
    rf"(dns_cache|cluster\.anywhere\.(membership|upstream_cx_none)|{SHADOWS.pattern})"
)


def ended(stats: dict[str, int]) -> int:
    return stats.get("cluster.anywhere.upstream_rq_completed", 0)


def numbers(text: str) -> dict[str, int]:
    pairs = (line.rpartition(": ") for line in text.splitlines())
    return {name: int(value) for name, _, value in pairs if WANTED.match(name) and value.isdigit()}


@contextlib.contextmanager
def ours(config: dict[str, Any]) -> Iterator[Side]:
    with meshcore.Gateway(config, workers=2) as gateway:

        def stats() -> dict[str, int]:
            now = gateway.stats.snapshot()
            found = {**now.values("counter"), **now.values("gauge")}
            return {k: v for k, v in found.items() if WANTED.match(k) and isinstance(v, int)}

        yield Side(gateway.listeners["front"][1], stats)


@contextlib.contextmanager
def theirs(config: dict[str, Any]) -> Iterator[Side]:
    text = yaml.safe_dump(config).replace("port_value: 0", "port_value: $port", 1)
    with peers.envoy(text) as server:
        page = f"http://127.0.0.1:{server.admin_port}/stats"

        def stats() -> dict[str, int]:
            with urllib.request.urlopen(page) as answer:
                return numbers(answer.read().decode())

        yield Side(server.port, stats)
        server.terminate()


def shown(log: Path, port: int) -> list[str]:
    """The log's lines; those of several workers come in no order."""
    lines = sorted(log.read_text().replace(str(port), "PORT").splitlines())
    log.unlink()
    return lines


@pytest.fixture
def origin(upstream: Start) -> Upstream:
    return upstream(respond(200, b"ok"))


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    answers: dict[tuple[str, str], Any] = {
        ("a.test", "A"): [("127.0.0.1", 60)],
        ("two.test", "A"): [("127.0.0.2", 60), ("127.0.0.1", 60)],
        ("six.test", "AAAA"): [("::1", 60)],
        ("fail.test", "A"): "fail",
        ("silent.test", "A"): None,
    }
    with DnsServer(answers) as server:
        yield server


# --- beside Envoy ------------------------------------------------------------------------------

HOSTS = [
    "a.test:PORT",
    "a.test:0PORT",
    "A.TEST:PORT",
    "two.test:PORT",
    "127.0.0.1:PORT",
    "[::1]:PORT",
    "six.test",
    "nowhere.test",
    "nowhere.test",
    "a.test:99999",
    "a.test:x",
    "x..y",
    "",
    "fail.test",
    "silent.test",
    "a.test:PORT",
]


@pytest.mark.parametrize("waits", [True, False])
def test_every_kind_of_name(waits: bool, origin: Upstream, dns: DnsServer, tmp_path: Path) -> None:
    """Answers, what is logged of them, and every counter."""
    seen = []
    for run in (theirs, ours):
        log = tmp_path / "log"
        config = settings(dns, log, waits=waits, dns_query_timeout="0.5s")
        with run(config) as side:
            hosts = [host.replace("PORT", str(origin.port)) for host in HOSTS]
            replies = [side.ask(host) for host in hosts]
            stats = side.stats()
        seen.append((replies, stats, shown(log, origin.port)))
    assert seen[1][0] == seen[0][0]
    assert seen[1][2] == seen[0][2]
    assert {k: seen[1][1].get(k) for k in seen[0][1]} == seen[0][1]


@pytest.mark.parametrize("waits", [True, False])
def test_a_full_cache_and_too_many_that_wait(
    waits: bool, origin: Upstream, dns: DnsServer, tmp_path: Path
) -> None:
    seen = []
    for run in (theirs, ours):
        log = tmp_path / "log"
        limits: Any = {"max_hosts": 1, "dns_cache_circuit_breaker": {"max_pending_requests": 1}}
        with run(settings(dns, log, waits=waits, **limits)) as side:
            known = f"a.test:{origin.port}"
            replies = [side.ask(host) for host in (known, f"two.test:{origin.port}", known)]
            stats = side.stats()
        with run(settings(dns, log, waits=waits, **limits, dns_query_timeout="1s")) as side:
            before = len(dns.questions)
            silent = threading.Thread(target=side.ask, args=("silent.test",))
            silent.start()
            wait_until(lambda before=before: len(dns.questions) > before)
            wait_until(lambda: side.stats()["dns_cache.names.circuit_breakers.rq_pending_open"])
            replies.append(side.ask(known))
            crowded = side.stats()
            silent.join()
            wait_until(lambda: not side.stats()["dns_cache.names.circuit_breakers.rq_pending_open"])
        seen.append((replies, stats, crowded, shown(log, origin.port)))
    assert seen[1][0] == seen[0][0]
    assert seen[1][3] == seen[0][3]
    for mine, envoys in zip(seen[1][1:3], seen[0][1:3], strict=True):
        assert {k: mine.get(k) for k in envoys} == envoys


@pytest.mark.parametrize(
    "route", [{"host_rewrite_literal": "a.test:PORT"}, {"host_rewrite_header": "X-Where"}]
)
def test_a_route_names_another_host(
    route: dict[str, str], upstream: Start, dns: DnsServer, tmp_path: Path
) -> None:
    origin = upstream(respond(200, b"ok"))
    route = {name: value.replace("PORT", str(origin.port)) for name, value in route.items()}
    where = f"a.test:{origin.port}"
    for run in (theirs, ours):
        with run(settings(dns, tmp_path / "log", route=route)) as side:
            two = [("x-where", where), ("x-where", "nowhere.test")]
            assert side.ask("nowhere.test", *two) == (200, b"ok")
    assert [request.header("host") for request in origin.requests] == [where, where]


SHADOWED = [
    "a.test:PORT",
    "two.test:PORT",
    "a.test:PORT",
    "nowhere.test",
    "fail.test",
    "127.0.0.1:PORT",
]


@pytest.mark.parametrize("keeps_host", [True, False])
def test_shadows_go_by_name_too(
    keeps_host: bool, upstream: Start, dns: DnsServer, tmp_path: Path
) -> None:
    """The request goes to a cluster of its own, its shadow to whatever its host is named."""
    dns.answers["a.test-shadow", "A"] = [("127.0.0.1", 60)]
    origin = upstream(respond(200, b"ok"))
    seen = []
    for run in (theirs, ours):
        shadows = upstream(respond(201, b""))
        config = settings(dns, tmp_path / "log", waits=False)
        listener, clusters = (config["static_resources"][key] for key in ("listeners", "clusters"))
        manager = listener[0]["filter_chains"][0]["filters"][0]["typed_config"]
        policy = {"cluster": "anywhere", "disable_shadow_host_suffix_append": keeps_host}
        route = {"cluster": "main", "request_mirror_policies": [policy]}
        manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"] = route
        clusters.append(static("main", origin.port))
        with run(config) as side:
            for number, host in enumerate(SHADOWED):
                assert side.ask(host.replace("PORT", str(shadows.port))) == (200, b"ok")
                wait_until(lambda side=side, number=number: ended(side.stats()) == number + 1)
            stats = side.stats()
        heard = [(request.method, request.target) for request in shadows.requests]
        seen.append((heard, {k: v for k, v in stats.items() if "shadow" in k or SHADOWS.match(k)}))
    assert seen[1] == seen[0]
    assert len(seen[0][0]) == (4 if keeps_host else 2)


# --- the life of a name ------------------------------------------------------------------------


def test_a_name_is_refreshed_by_its_ttl_and_keeps_its_connections(
    origin: Upstream, dns: DnsServer, tmp_path: Path
) -> None:
    dns.answers["a.test", "A"] = [("127.0.0.1", 0)]
    config = settings(dns, tmp_path / "log", dns_min_refresh_rate="1s")
    with ours(config) as side, clients.Connection(side.port) as connection:
        host = f"a.test:{origin.port}"
        changed = "dns_cache.names.host_address_changed"
        assert connection.request(host=host).status == 200
        dns.answers["a.test", "A"] = [("127.0.0.2", 60)]
        wait_until(lambda: side.stats()[changed] == 2)
        assert connection.request(host=host).status == 200
        assert origin.connections == 1
        assert side.stats()["cluster.anywhere.membership_total"] == 1


def test_an_address_stays_when_nobody_answers(
    origin: Upstream, dns: DnsServer, tmp_path: Path
) -> None:
    dns.answers["a.test", "A"] = [("127.0.0.1", 0)]
    config = settings(dns, tmp_path / "log", dns_min_refresh_rate="1s")
    with ours(config) as side:
        assert side.ask(f"a.test:{origin.port}")[0] == 200
        dns.answers["a.test", "A"] = "fail"
        wait_until(lambda: side.stats()["dns_cache.names.dns_query_failure"] > 0)
        assert side.ask(f"a.test:{origin.port}")[0] == 200


def test_a_name_that_failed_is_found_later(
    origin: Upstream, dns: DnsServer, tmp_path: Path
) -> None:
    failure = {"base_interval": "0.01s", "max_interval": "0.02s"}
    config = settings(
        dns, tmp_path / "log", dns_min_refresh_rate="1s", dns_failure_refresh_rate=failure
    )
    with ours(config) as side:
        assert side.ask(f"fail.test:{origin.port}")[1] == b"DNS resolution failure"
        dns.answers["fail.test", "A"] = [("127.0.0.1", 60)]
        wait_until(lambda: side.stats()["dns_cache.names.dns_query_success"] > 0)
        assert side.ask(f"fail.test:{origin.port}") == (200, b"ok")


def test_a_failure_that_is_not_tried_again_by_itself(
    origin: Upstream, dns: DnsServer, tmp_path: Path
) -> None:
    config = settings(dns, tmp_path / "log", disable_dns_refresh_on_failure=True)
    with ours(config) as side:
        assert side.ask(f"fail.test:{origin.port}")[0] == 503
        dns.answers["fail.test", "A"] = [("127.0.0.1", 60)]
        assert side.ask(f"fail.test:{origin.port}") == (200, b"ok")
        stats = side.stats()
    assert stats["dns_cache.names.host_added"] == 2
    assert stats["dns_cache.names.host_removed"] == 1


def test_an_unused_name_goes(origin: Upstream, dns: DnsServer, tmp_path: Path) -> None:
    dns.answers["a.test", "A"] = [("127.0.0.1", 0)]
    config = settings(dns, tmp_path / "log", dns_min_refresh_rate="1s", host_ttl="0.001s")
    with ours(config) as side:
        host = f"a.test:{origin.port}"
        assert side.ask(host)[0] == 200
        wait_until(lambda: side.stats()["dns_cache.names.num_hosts"] == 0)
        wait_until(lambda: side.stats()["cluster.anywhere.membership_total"] == 0)
        assert side.ask(host) == (200, b"ok")
        assert side.stats()["dns_cache.names.host_added"] == 2


def test_names_that_are_resolved_ahead(origin: Upstream, dns: DnsServer, tmp_path: Path) -> None:
    ahead = [{"address": "a.test", "port_value": origin.port}]
    with ours(settings(dns, tmp_path / "log", preresolve_hostnames=ahead)) as side:
        wait_until(lambda: side.stats()["cluster.anywhere.membership_total"] == 1)
        asked = len(dns.questions)
        assert side.ask(f"a.test:{origin.port}") == (200, b"ok")
        assert len(dns.questions) == asked == 1


def test_who_waits_may_leave(origin: Upstream, dns: DnsServer, tmp_path: Path) -> None:
    left = "dns_cache.names.circuit_breakers.rq_pending_remaining"
    with ours(settings(dns, tmp_path / "log")) as side:
        for _ in range(3):
            with clients.Connection(side.port) as connection:
                connection.send(b"GET / HTTP/1.1\r\nhost: silent.test\r\n\r\n")
                wait_until(lambda: side.stats()[left] == 1023)
            wait_until(lambda: side.stats()[left] == 1024)
        assert side.ask(f"a.test:{origin.port}") == (200, b"ok")


def test_an_answer_that_comes_too_late(origin: Upstream, dns: DnsServer, tmp_path: Path) -> None:
    """The stream's idle timeout answers first; the body of the request is still to come."""
    config = settings(dns, tmp_path / "log", dns_query_timeout="1s")
    filters = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    filters[0]["typed_config"]["stream_idle_timeout"] = "0.2s"
    with ours(config) as side, clients.Connection(side.port) as connection:
        connection.send(b"POST / HTTP/1.1\r\nhost: silent.test\r\ncontent-length: 9\r\n\r\nx")
        assert connection.reply().status == 408
        wait_until(lambda: side.stats()["dns_cache.names.dns_query_timeout"] > 0)
        assert side.ask(f"a.test:{origin.port}") == (200, b"ok")


def test_a_new_configuration_keeps_what_is_known(
    origin: Upstream, dns: DnsServer, tmp_path: Path
) -> None:
    with meshcore.Gateway(settings(dns, tmp_path / "log"), workers=2) as gateway:
        port = gateway.listeners["front"][1]
        host = f"a.test:{origin.port}"
        with clients.Connection(port) as connection:
            assert connection.request(host=host).status == 200
            gateway.update(settings(dns, tmp_path / "log"))
            assert connection.request(host=host).status == 200
            assert origin.connections == 1  # the same cluster
            gateway.update(settings(dns, tmp_path / "log", cluster={"connect_timeout": "1s"}))
            assert connection.request(host=host).status == 200
            assert origin.connections == 2  # another one, which got the hosts of the first
        assert len(dns.questions) == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"cluster": {"lb_policy": "ROUND_ROBIN"}}, "clusters[0].lb_policy"),
        ({"max_hosts": 1, "preresolve_hostnames": [{"address": "a", "port_value": 1}] * 2}, ""),
        (
            {
                "cluster": {
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": TYPES + "upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http_protocol_options": {}},
                        }
                    }
                }
            },
            "clusters[0].cluster_type.typed_config",
        ),
    ],
)
def test_what_is_refused(
    change: dict[str, Any], where: str, dns: DnsServer, tmp_path: Path
) -> None:
    config = settings(dns, tmp_path / "log", **change)
    text = yaml.safe_dump(config).replace("port_value: 0", "port_value: 1", 1)
    assert not peers.envoy_accepts(text)[0]
    with pytest.raises(meshcore.ConfigError) as failure:
        meshcore.Gateway(config, workers=1)
    assert where in failure.value.path


def test_one_name_is_one_cache(dns: DnsServer, tmp_path: Path) -> None:
    config = settings(dns, tmp_path / "log")
    typed = config["static_resources"]["clusters"][0]["cluster_type"]["typed_config"]
    typed["dns_cache_config"] = {**typed["dns_cache_config"], "max_hosts": 5}
    with pytest.raises(meshcore.ConfigError, match="different settings"):
        meshcore.Gateway(config, workers=1)


# --- sub-clusters ------------------------------------------------------------------------------


def with_sub_clusters(
    config: dict[str, Any], timeout: str = "0.5s", **settings: Any
) -> dict[str, Any]:
    """The same where each name is a cluster of its own."""
    resources = config["static_resources"]
    cluster = resources["clusters"][0]
    typed = cluster["cluster_type"]["typed_config"]
    typed["sub_clusters_config"] = settings
    cache = typed.pop("dns_cache_config")
    for name in ("typed_dns_resolver_config", "dns_lookup_family"):
        cluster[name] = cache[name]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    for each in manager["http_filters"]:
        if each["typed_config"].pop("dns_cache_config", None) is not None:
            each["typed_config"]["sub_cluster_config"] = {"cluster_init_timeout": timeout}
    return config


MADE = re.compile(
    r"cluster\.(DFPCluster|anywhere).*\.(membership_\w+|upstream_rq_(total|503|200)|update_\w+"
    r"|upstream_cx_(none_healthy|connect_fail))$"
    r"|cluster_manager\.(active_clusters|cluster_(added|removed))$"
)


@pytest.mark.parametrize("waits", [True, False])
def test_every_kind_of_name_has_a_cluster(
    waits: bool, origin: Upstream, dns: DnsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_forward_proxy.WANTED", MADE)
    seen = []
    for run in (theirs, ours):
        log = tmp_path / "log"
        with run(with_sub_clusters(settings(dns, log, waits=waits))) as side:
            hosts = [host.replace("PORT", str(origin.port)) for host in HOSTS if "two" not in host]
            replies = [side.ask(host) for host in hosts]
            stats = {name: n for name, n in side.stats().items() if name.startswith("cluster.")}
            stats = {name: n for name, n in stats.items() if "silent" not in name}
        seen.append((replies, stats, shown(log, origin.port)))
    assert seen[1][0] == seen[0][0]
    assert seen[1][2] == seen[0][2]
    assert {k: seen[1][1].get(k, 0) for k in seen[0][1]} == seen[0][1]


def test_as_many_sub_clusters_as_allowed_until_they_go(
    origin: Upstream, dns: DnsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_forward_proxy.WANTED", MADE)
    hosts = [f"{name}.test:{origin.port}" for name in ("a", "nowhere")]
    for run in (theirs, ours):
        config = with_sub_clusters(
            settings(dns, tmp_path / "log"), max_sub_clusters=1, sub_cluster_ttl="1s"
        )
        with run(config) as side:
            assert side.ask(hosts[0]) == (200, b"ok")
            assert side.ask(hosts[1]) == (503, b"Sub cluster overflow")
            assert side.ask(hosts[0]) == (200, b"ok")
            wait_until(lambda side=side: side.stats()["cluster_manager.cluster_removed"] == 1)
            wait_until(lambda side=side: side.ask(hosts[1]) == (503, b"no healthy upstream"))
            assert side.stats()["cluster_manager.cluster_added"] == 3


def test_sub_clusters_outlive_a_configuration_that_keeps_their_parent(
    origin: Upstream, dns: DnsServer, tmp_path: Path
) -> None:
    def config(**cluster: Any) -> dict[str, Any]:
        return with_sub_clusters(settings(dns, tmp_path / "log", cluster=cluster))

    host = f"a.test:{origin.port}"
    with meshcore.Gateway(config(), workers=1) as gateway:

        def clusters() -> Any:
            return gateway.stats.gauge("cluster_manager.active_clusters").value

        def ask() -> Any:
            with clients.Connection(gateway.listeners["front"][1]) as connection:
                return connection.request(host=host).status

        assert (ask(), clusters()) == (200, 2)
        gateway.update(config())
        assert (ask(), clusters(), origin.connections) == (200, 2, 1)
        gateway.update(config(connect_timeout="1s"))
        wait_until(lambda: clusters() == 1)
        assert (ask(), clusters(), origin.connections) == (200, 2, 2)
