"""Active health checks of one cluster: a session for each host, on the control loop
(rules HC-2, HC-7, HC-13 to HC-16, CL-1, CL-9, CL-10)."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from meshcore._core.stats import Store
from meshcore.discovery import dns_fields
from meshcore.errors import ConfigError
from meshcore.health.events import EventLog, check_log, timestamp
from meshcore.health.probe import Outcome, Probe, Spec, Target, read_spec
from meshcore.health.state import (
    DEGRADED,
    EXCLUDED,
    FAILED,
    PENDING,
    Change,
    Failure,
    HostCheck,
    Result,
    Timing,
)

__all__ = ["Checker", "Host", "hosts_of", "validate"]

# Cluster types whose new hosts start as failed, and may be left out until their first check (HS-6).
DYNAMIC = {"EDS", "STRICT_DNS"}
UNCHECKED = {"LOGICAL_DNS", "ORIGINAL_DST"}
FILE_SINK = (
    "type.googleapis.com/envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink"
)
IN_FLIGHT = 512  # checks at a time, over all hosts of a cluster


class Sink(Protocol):
    """Where states go: the engine."""

    def set_health(
        self,
        cluster: str,
        address: str,
        set_flags: int,
        clear_flags: int,
        *,
        passed: bool,
        well: bool,
        failed: bool,
    ) -> None: ...
    def refresh_health(self, cluster: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Host:
    """An endpoint of an assignment. Two with the same `check` are checked alike."""

    address: str  # as the core writes it
    ip: str
    port: int
    check: tuple[str, int, bool]  # where checks go, and whether they are disabled
    check_hostname: str
    locality: tuple[str, str, str]
    priority: int
    eds_failed: bool
    endpoint: Mapping[str, Any]


def _text(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def hosts_of(assignment: Mapping[str, Any], alt_port: int = 0) -> Iterator[Host]:
    """The endpoints of a ClusterLoadAssignment whose addresses are resolved."""
    for group in assignment.get("endpoints", ()):
        locality = group.get("locality", {})
        where = (
            locality.get("region", ""),
            locality.get("zone", ""),
            locality.get("sub_zone", ""),
        )
        for entry in group.get("lb_endpoints", ()):
            endpoint = entry.get("endpoint", {})
            socket = endpoint.get("address", {}).get("socket_address", {})
            ip, port = str(socket.get("address", "")), int(socket.get("port_value", 0))
            check = endpoint.get("health_check_config", {})
            elsewhere = check.get("address", {}).get("socket_address", {})
            target_ip = str(elsewhere.get("address", ip))
            target_port = int(check.get("port_value", 0) or elsewhere.get("port_value", 0))
            disabled = bool(check.get("disable_active_health_check"))
            yield Host(
                address=_text(ip, port),
                ip=ip,
                port=port,
                check=(target_ip, target_port or alt_port or port, disabled),
                check_hostname=check.get("hostname", ""),
                locality=where,
                priority=int(group.get("priority", 0)),
                eds_failed=entry.get("health_status") in ("UNHEALTHY", "TIMEOUT", "DRAINING"),
                endpoint=entry,
            )


def _facts(host: Host) -> dict[str, Any]:
    """What formats in a check's headers may tell."""
    return {
        "upstream_host": host.address,
        "upstream_host_name": host.endpoint.get("endpoint", {}).get("hostname", ""),
        "upstream_metadata": host.endpoint.get("metadata", {}).get("filter_metadata", {}),
        "downstream_remote_address": "127.0.0.1:0",
        "downstream_local_address": "127.0.0.1:0",
        "response_code": 0,
    }


class _Session:
    """The checks of one host."""

    def __init__(self, checker: Checker, host: Host, flags: int) -> None:
        self.checker = checker
        self.host = host
        self.state = HostCheck(checker.timing, flags)
        ip, port, _ = host.check
        target = Target(
            (ip, port), host.check_hostname, checker.name, checker.timing.timeout, _facts(host)
        )
        reuse = checker.timing.reuse_connection
        self.probe: Probe = checker.spec.probe(checker.loop, target, reuse=reuse)
        self.running = False
        self.waiting = False
        self.timer: asyncio.TimerHandle | None = None

    def wait(self, ms: int) -> None:
        self.timer = self.checker.loop.call_later(ms / 1000, self.checker.begin, self)

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.running:
            self.running = False
            self.checker.ended()
        self.probe.cancel()


class Checker:
    """All checks of a cluster. Its methods belong to the control loop's thread."""

    def __init__(
        self,
        cluster: Mapping[str, Any],
        stats: Store,
        loop: asyncio.AbstractEventLoop,
        *,
        runtime: Mapping[str, Any] | None = None,
        draw: Callable[[], int] = lambda: random.getrandbits(63),
    ) -> None:
        cluster = dns_fields(dict(cluster))
        config = cluster["health_checks"][0]
        self.name: str = cluster["name"]
        self.loop = loop
        self.timing = Timing.read(config, runtime)
        self.spec: Spec = read_spec(config, "health_checks[0]")
        self._draw = draw
        self._alt_port = int(config.get("alt_port", 0))
        common = cluster.get("common_lb_config", {})
        self._initial = FAILED
        kind = cluster.get("type", "STATIC")
        self._keeps = kind in DYNAMIC and not cluster.get("ignore_health_on_host_removal")
        self._drops_at_once = kind == "EDS"
        if kind in UNCHECKED:
            self._initial = 0
        elif kind in DYNAMIC and common.get("ignore_new_hosts_until_first_hc"):
            self._initial |= PENDING
        self._sink: Sink | None = None
        self._sessions: dict[str, _Session] = {}
        self._hosts: dict[str, Host] = {}
        self._assignment: Mapping[str, Any] = {}
        self._stay: dict[str, Host] = {}
        self._on_removed: Callable[[str, dict[str, Any]], None] | None = None
        self._running = 0
        self._queue: list[_Session] = []
        self._refreshing = False
        self._traffic = False
        self._first_waiters: list[asyncio.Future[None]] = []
        stat_name = (cluster.get("alt_stat_name") or self.name).replace(":", "_")
        self._connections = stats.counter(f"cluster.{stat_name}.upstream_cx_total")
        scope = stats.scope(f"cluster.{stat_name}.health_check")
        self._counters = {
            name: scope.counter(name)
            for name in (
                "attempt",
                "success",
                "failure",
                "network_failure",
                "passive_failure",
                "verify_cluster",
            )
        }
        self._healthy = scope.gauge("healthy")
        self._degraded = scope.gauge("degraded")
        self._logs = [EventLog(file) for file in _log_files(config)]
        self._log_success = bool(config.get("always_log_health_check_success"))
        self._log_failures = bool(config.get("always_log_health_check_failures"))

    @staticmethod
    def key(cluster: Mapping[str, Any], runtime: Mapping[str, Any]) -> str:
        """Clusters with the same key are checked alike."""
        cluster = dns_fields(dict(cluster))
        own = {
            name: cluster.get(name)
            for name in (
                "name",
                "alt_stat_name",
                "type",
                "health_checks",
                "common_lb_config",
                "ignore_health_on_host_removal",
            )
        }
        values = {name: runtime[name] for name in runtime if name.startswith("health_check.")}
        return json.dumps([own, values], sort_keys=True)

    # --- membership -----------------------------------------------------------------------------

    def take(self, assignment: Mapping[str, Any]) -> dict[str, Any]:
        """A new assignment: its hosts are checked from now on. Returns its view."""
        listed = {host.address: host for host in hosts_of(assignment, self._alt_port)}
        staying = {host.address: host for host in self._staying(listed)}
        for address in [a for a in self._hosts if a not in listed and a not in staying]:
            self._forget(address)
        for host in listed.values():
            self._meet(host)
        self._assignment = assignment
        self._stay = staying
        return self.view()

    @property
    def keeps_any(self) -> bool:
        """Whether a host is there only for its health."""
        return bool(self._stay)

    def view(self) -> dict[str, Any]:
        """The assignment as the core is to see it: with the state of hosts that are new there, and
        with the hosts that stay for their health."""
        return self._annotated(self._assignment, list(self._stay.values()))

    def _staying(self, listed: Mapping[str, Host]) -> Iterator[Host]:
        """CL-10: hosts that left the assignment while their checks pass."""
        if not self._keeps:
            return
        for address, host in self._hosts.items():
            session = self._sessions.get(address)
            if address in listed or session is None or host.eds_failed:
                continue
            if not session.state.flags & FAILED:
                yield host

    def _meet(self, host: Host) -> None:
        known = self._hosts.get(host.address)
        session = self._sessions.get(host.address)
        flags = self._initial
        if known is not None:
            self._hosts[host.address] = host
            if known.check == host.check and known.check_hostname == host.check_hostname:
                if session is not None:
                    session.host = host
                return
            self._forget(host.address)  # CL-9: checked elsewhere, so it is another host
        self._hosts[host.address] = host
        if host.check[2]:
            return
        session = _Session(self, host, flags)
        self._sessions[host.address] = session
        self._healthy.add(0 if flags & FAILED else 1)
        wait = self.timing.first(self._draw)
        if wait:
            session.wait(wait)
        else:
            self.begin(session)

    def _forget(self, address: str) -> None:
        self._hosts.pop(address, None)
        session = self._sessions.pop(address, None)
        if session is not None:
            session.stop()
            self._healthy.add(0 if session.state.flags & FAILED else -1)
            self._degraded.add(-1 if session.state.flags & DEGRADED else 0)
            self._wake_first()

    def _annotated(self, assignment: Mapping[str, Any], staying: list[Host]) -> dict[str, Any]:
        groups = []
        for group in assignment.get("endpoints", ()):
            entries = [self._mark(entry) for entry in group.get("lb_endpoints", ())]
            groups.append({**group, "lb_endpoints": entries})
        for host in staying:
            region, zone, sub_zone = host.locality
            entry = {**self._mark(host.endpoint), "~pending_removal": True}
            groups.append(
                {
                    "locality": {"region": region, "zone": zone, "sub_zone": sub_zone},
                    "priority": host.priority,
                    "lb_endpoints": [entry],
                }
            )
        return {**assignment, "endpoints": groups}

    def _mark(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        host = next(hosts_of({"endpoints": [{"lb_endpoints": [entry]}]}, self._alt_port))
        session = self._sessions.get(host.address)
        flags = 0 if session is None else session.state.flags
        ip, port, disabled = host.check
        return {**entry, "~flags": flags, "~check": "" if disabled else _text(ip, port)}

    # --- checking -------------------------------------------------------------------------------

    def connect(self, sink: Sink, on_removed: Callable[[str, dict[str, Any]], None]) -> None:
        """The core knows the hosts: states go there from now on. ``on_removed`` is given a new view
        when a host that had only its health left has failed."""
        self._sink = sink
        self._on_removed = on_removed

    async def first_results(self) -> None:
        """Until every host had one result (CL-1)."""
        while any(session.state.first for session in self._sessions.values()):
            waiter = self.loop.create_future()
            self._first_waiters.append(waiter)
            await waiter

    def _wake_first(self) -> None:
        waiters, self._first_waiters = self._first_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def begin(self, session: _Session) -> None:
        session.timer = None
        if self._running >= IN_FLIGHT:
            self._queue.append(session)
            return
        self._running += 1
        session.running = True
        self._counters["attempt"].inc()
        session.timer = self.loop.call_later(
            self.timing.timeout / 1000, self._end, session, Outcome(Failure.NETWORK_TIMEOUT)
        )
        session.probe.start(lambda outcome: self._end(session, outcome))

    def ended(self) -> None:
        self._running -= 1
        while self._queue and self._running < IN_FLIGHT:
            waiting = self._queue.pop(0)
            if self._sessions.get(waiting.host.address) is waiting:
                self.begin(waiting)

    def _end(self, session: _Session, outcome: Outcome) -> None:
        if not session.running and not outcome.unasked:
            return
        if session.running:
            session.running = False
            self.ended()
        if session.timer is not None:
            session.timer.cancel()
        if outcome.failure is Failure.NETWORK_TIMEOUT:
            session.probe.cancel()
        if outcome.verified:
            self._counters["verify_cluster"].inc()
        healthy = outcome.failure is None
        if healthy:
            self._counters["success"].inc()
            result = session.state.succeed(degraded=outcome.degraded, log_success=self._log_success)
        else:
            result = self._failed(session, outcome)
        wait = self.timing.next(
            healthy=healthy, change=result.change, traffic=self._had_traffic(), draw=self._draw
        )
        session.wait(wait)
        self._tell(session, result, passed=healthy)
        self._wake_first()

    def _failed(self, session: _Session, outcome: Outcome) -> Result:
        assert outcome.failure is not None
        self._counters["failure"].inc()
        if outcome.failure.network:
            self._counters["network_failure"].inc()
        elif outcome.failure is Failure.PASSIVE:
            self._counters["passive_failure"].inc()
        result = session.state.fail(
            outcome.failure, retriable=outcome.retriable, log_failures=self._log_failures
        )
        if outcome.exclude and not session.state.flags & EXCLUDED:
            result.set |= EXCLUDED
            session.state.flags |= EXCLUDED
        return result

    def fail_passively(self, address: str) -> None:
        """A proxied answer asked for it (HC-14); the timer goes on."""
        session = self._sessions.get(address)
        if session is not None:
            session.state.flags |= EXCLUDED
            self._tell(session, self._failed(session, Outcome(Failure.PASSIVE)), passed=False)

    def _had_traffic(self) -> bool:
        self._traffic = self._traffic or self._connections.value > 0
        return self._traffic

    def _tell(self, session: _Session, result: Result, *, passed: bool) -> None:
        self._healthy.add(result.healthy)
        self._degraded.add(result.degraded)
        for name, body in result.events:
            self._log(session.host, name, body)
        if self._sink is None:
            return
        well = passed and not session.state.flags & FAILED
        if result.set or result.clear or result.passed or well:
            self._sink.set_health(
                self.name,
                session.host.address,
                result.set,
                result.clear,
                passed=result.passed,
                well=well,
                failed=result.failed,
            )
        if result.failed and self._drops_at_once and session.host.address in self._stay:
            self.loop.call_soon(self._drop_failed)
        if result.change is Change.CHANGED and not self._refreshing:
            self._refreshing = True
            self.loop.call_soon(self._refresh)

    def _drop_failed(self) -> None:
        if self._on_removed is not None:
            self._on_removed(self.name, self.take(self._assignment))

    def _refresh(self) -> None:
        """Once for all that changed in this turn of the loop (HC-7)."""
        self._refreshing = False
        if self._sink is not None:
            self._sink.refresh_health(self.name)

    def _log(self, host: Host, name: str, body: dict[str, Any]) -> None:
        """HC-15."""
        if not self._logs:
            return
        region, zone, sub_zone = host.locality
        event = {
            "health_checker_type": self.spec.kind,
            "host": {
                "socket_address": {
                    "protocol": "TCP",
                    "address": host.ip,
                    "resolver_name": "",
                    "ipv4_compat": False,
                    "port_value": host.port,
                }
            },
            "cluster_name": self.name,
            name: body,
            "timestamp": timestamp(int(time.time() * 1000)),
            "locality": {"region": region, "zone": zone, "sub_zone": sub_zone},
        }
        if "metadata" in host.endpoint:
            spaces = host.endpoint["metadata"].get("filter_metadata", {})
            event["metadata"] = {"filter_metadata": spaces, "typed_filter_metadata": {}}
        for log in self._logs:
            log.write(event)

    def stop(self) -> None:
        for address in list(self._hosts):
            self._forget(address)
        for log in self._logs:
            log.close()
        self._sink = None


def validate(clusters: Iterable[Mapping[str, Any]], path: str) -> None:
    """Reads the checks of clusters; an error names the field."""
    for index, cluster in enumerate(clusters):
        configs = cluster.get("health_checks", ())
        if len(configs) > 1:
            raise ConfigError(f"{path}[{index}].health_checks", "must be at most one")
        for config in configs:
            read_spec(config, f"{path}[{index}].health_checks[0]")
            for file in _log_files(config):
                check_log(file, f"{path}[{index}].health_checks[0]")


def _log_files(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("event_log_path"):
        yield config["event_log_path"]
    for sink in config.get("event_logger", ()):
        typed = sink.get("typed_config", {})
        if typed.get("@type") == FILE_SINK and typed.get("event_log_path"):
            yield typed["event_log_path"]
