"""Balancers of random kinds, over random hosts, choose as the plain model does, draw for draw."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import lb_model as model
import pytest

from meshcore import LoadBalancer
from meshcore.balancing import Host, Retry

TYPED = "type.googleapis.com/envoy.extensions.load_balancing_policies."
ZONES = [None, ("r", "a", ""), ("r", "b", ""), ("q", "c", "s")]
POLICIES = (
    *("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV", "PEAK_EWMA"),
    "CLIENT_SIDE_WEIGHTED",
)
STATUSES = ["HEALTHY", "UNKNOWN", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED"]
VALUES = ["x", "v", 1, 1.0, "1", True, None, ["x", "v"], ["x", "x", 2], [], {"k": 1}]
RUNS = int(os.environ.get("LB_MODEL_RUNS", "1"))
UNCOUNTED = ("lb_recalculate_zone_structures", "lb_zone_cluster_too_small")


class World:
    """One balancer and its model under the same operations."""

    def __init__(self, seed: int, policies: Sequence[str] = POLICIES) -> None:
        self.r = random.Random(seed)
        self.policies = policies
        self.now = self.r.choice([0, 5, 10**6])
        self.settings = model.Settings()
        self.zones = self.r.random() < 0.6
        self.even = self.r.random() < 0.4
        self.healthy = self.r.choice([0.4, 0.8, 1.0])
        self.cluster = self._cluster()
        self.factor = self.r.choice([140, 100, 200, 70, 133])
        self.weighted = self.r.random() < 0.3
        self.ours = self.r.choice(ZONES)
        self.hosts: dict[str, model.Host] = {}
        self.numbers = itertools.count(1)
        self.locality_weights: dict[tuple[int, Any], int] = {}
        self.groups = [g for p in self._priorities() for g in self._priority(p)]
        self.local_groups = self._local()
        self.drawn: list[int] = []
        self.expected: list[int] = []
        source, again = random.Random(seed), random.Random(seed)
        self.balancer = LoadBalancer(
            self.cluster,
            self.assignment(),
            random=self._recorder(source, self.drawn),
            now=lambda: self.now,
            local=self.local_groups and {"endpoints": self.local_groups},
            locality=self.ours,
        )
        self.draw = self._recorder(again, self.expected)
        self.options = model.Options(self.factor, self.weighted, self.settings.threshold)
        made = model.Plain if self.settings.subsets is None else model.Subsets
        self.known: list[model.HostSet] = []
        self.model = made(
            self.settings, self._sets(), self.options, self.draw, self.now, self._local_set()
        )
        self.weights_due = self.now + self.settings.period
        self.check_draws("made")

    @staticmethod
    def _recorder(source: random.Random, log: list[int]) -> Callable[[], int]:
        def draw() -> int:
            log.append(source.getrandbits(64))
            return log[-1]

        return draw

    # --- a configuration

    def _cluster(self) -> dict[str, Any]:
        r, s = self.r, self.settings
        s.policy = r.choice(self.policies)
        fields = {
            "ROUND_ROBIN": self._round_robin,
            "LEAST_REQUEST": self._least_request,
            "RING_HASH": self._ring,
            "MAGLEV": self._maglev,
            "PEAK_EWMA": self._peak,
            "CLIENT_SIDE_WEIGHTED": self._weighted_by_reports,
        }
        typed: dict[str, Any] = fields.get(s.policy, dict)()
        if s.policy in ("RING_HASH", "MAGLEV"):
            hashing: dict[str, Any] = {}
            if r.random() < 0.5:
                s.balance_factor = hashing["hash_balance_factor"] = r.choice([100, 125, 200])
            if r.random() < 0.3:
                s.use_hostname = hashing["use_hostname_for_hashing"] = True
            if r.random() < 0.6:
                typed["consistent_hashing_lb_config"] = hashing
            else:
                s.balance_factor, s.use_hostname = 0, False
            if r.random() < 0.5:
                s.locality_weighted = True
                typed["locality_weighted_lb_config"] = {}
        elif s.policy not in ("PEAK_EWMA", "CLIENT_SIDE_WEIGHTED"):
            typed |= self._locality()
        kinds = {
            "ROUND_ROBIN": TYPED + "round_robin.v3.RoundRobin",
            "LEAST_REQUEST": TYPED + "least_request.v3.LeastRequest",
            "RANDOM": TYPED + "random.v3.Random",
            "RING_HASH": TYPED + "ring_hash.v3.RingHash",
            "MAGLEV": TYPED + "maglev.v3.Maglev",
            "PEAK_EWMA": "type.googleapis.com/meshcore.PeakEwma",
            "CLIENT_SIDE_WEIGHTED": TYPED
            + "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
        }
        typed["@type"] = kinds[s.policy]
        if s.policy == "CLIENT_SIDE_WEIGHTED":
            typed = self._in_localities(typed)
        elif r.random() < 0.4:
            typed = self._subset(typed)
        common: dict[str, Any] = {}
        if r.random() < 0.6:
            percent = r.choice([0, 10, 29, 50, 57, 100, 33.9])
            common["healthy_panic_threshold"] = {"value": percent}
            s.threshold = int(100 * (percent / 100.0))
        if r.random() < 0.3:
            s.statuses = frozenset(r.sample(STATUSES, r.randint(0, 3)))
            common["override_host_status"] = {"statuses": sorted(s.statuses)}
        policies = [{"typed_extension_config": {"name": "one", "typed_config": typed}}]
        return {
            "name": "c",
            "common_lb_config": common,
            "load_balancing_policy": {"policies": policies},
        }

    def _slow_start(self) -> dict[str, Any]:
        r, s = self.r, self.settings
        if r.random() < 0.6:
            return {}
        s.window = r.choice([1000, 10000])
        slow: dict[str, Any] = {"slow_start_window": f"{s.window / 1000}s"}
        if r.random() < 0.6:
            value = r.choice([0.5, 1.0, 2.0, -1.0, 0.0])
            slow["aggression"] = {"default_value": value, "runtime_key": "a"}
            s.aggression = value if value > 0 else 1.0
        if r.random() < 0.5:
            s.min_percent = r.choice([0.0, 25.0, 100.0])
            slow["min_weight_percent"] = {"value": s.min_percent}
        return {"slow_start_config": slow}

    def _round_robin(self) -> dict[str, Any]:
        return self._slow_start()

    def _weighted_by_reports(self) -> dict[str, Any]:
        r, s = self.r, self.settings
        typed: dict[str, Any] = {}
        if r.random() < 0.7:
            s.blackout = r.choice([0, 100, 3000])
            typed["blackout_period"] = f"{s.blackout / 1000}s"
        if r.random() < 0.5:
            s.expiration = r.choice([500, 4000])
            typed["weight_expiration_period"] = f"{s.expiration / 1000}s"
        if r.random() < 0.5:
            s.period = r.choice([100, 2500])
            typed["weight_update_period"] = f"{s.period / 1000}s"
        if r.random() < 0.3:
            s.penalty = typed["error_utilization_penalty"] = r.choice([0.0, 0.5, 3.0])
        return typed | self._slow_start()

    def _peak(self) -> dict[str, Any]:
        r, s = self.r, self.settings
        typed: dict[str, Any] = {}
        if r.random() < 0.5:
            s.default_rtt = r.choice([1e6, 2e9])
            typed["default_rtt"] = f"{s.default_rtt / 1e9}s"
        if r.random() < 0.5:
            s.decay = r.choice([1e6, 500e6, 60e9])
            typed["decay"] = f"{s.decay / 1e9}s"
        if r.random() < 0.6:
            s.failure = r.choice([5e9, 1e6])
            typed["failures_as_latency"] = True
            if s.failure != 5e9:
                typed["failure_penalty"] = f"{s.failure / 1e9}s"
        return typed

    def _least_request(self) -> dict[str, Any]:
        r, s = self.r, self.settings
        typed: dict[str, Any] = {}
        if r.random() < 0.5:
            s.choice_count = typed["choice_count"] = r.randint(2, 5)
        if r.random() < 0.4:
            s.full_scan = True
            typed["selection_method"] = "FULL_SCAN"
        if r.random() < 0.5:
            value = r.choice([0.0, 0.5, 1.0, 2.0, -3.0])
            typed["active_request_bias"] = {"default_value": value, "runtime_key": "b"}
            s.bias = value if value >= 0 else 1.0
        return typed | self._slow_start()

    def _ring(self) -> dict[str, Any]:
        r, s = self.r, self.settings
        s.ring_min = r.choice([1, 6, 100])
        s.ring_max = r.choice([s.ring_min, s.ring_min + 3, 1000])
        s.murmur = r.random() < 0.4
        return {
            "minimum_ring_size": s.ring_min,
            "maximum_ring_size": s.ring_max,
            "hash_function": "MURMUR_HASH_2" if s.murmur else "XX_HASH",
        }

    def _maglev(self) -> dict[str, Any]:
        self.settings.table_size = self.r.choice([2, 3, 11, 31, 101, 257])
        return {"table_size": self.settings.table_size}

    def _locality(self) -> dict[str, Any]:
        r, s = self.r, self.settings
        kind = r.random()
        if kind < 0.35:
            s.locality_weighted = True
            return {"locality_lb_config": {"locality_weighted_lb_config": {}}}
        if kind > 0.8:
            return {}
        zone: dict[str, Any] = {"min_cluster_size": r.choice([0, 1, 3, 6])}
        s.min_cluster_size = zone["min_cluster_size"]
        if r.random() < 0.5:
            percent = r.choice([0, 29, 50, 100])
            zone["routing_enabled"] = {"value": percent}
            s.routing_enabled = int(100 * (percent / 100.0))
        if r.random() < 0.3:
            s.fail_on_panic = zone["fail_traffic_on_panic"] = True
        if r.random() < 0.3:
            zone["locality_basis"] = "HEALTHY_HOSTS_WEIGHT"
            s.by_weight = True
        if r.random() < 0.3:
            s.force_local = r.choice([1, 2, 4])
            zone["force_local_zone"] = {"min_size": s.force_local}
        return {"locality_lb_config": {"zone_aware_lb_config": zone}}

    def _in_localities(self, inner: dict[str, Any]) -> dict[str, Any]:
        if self.r.random() < 0.6:
            return inner
        self.settings.locality_weighted = True
        inside = [{"typed_extension_config": {"name": "in", "typed_config": inner}}]
        return {
            "@type": TYPED + "wrr_locality.v3.WrrLocality",
            "endpoint_picking_policy": {"policies": inside},
        }

    def _subset(self, inner: dict[str, Any]) -> dict[str, Any]:
        r = self.r
        config: dict[str, Any] = {"subset_selectors": []}
        for _ in range(r.randint(0, 4)):
            keys = r.sample("abc", r.choice([0, 1, 1, 2, 2, 3]))
            selector: dict[str, Any] = {"keys": keys}
            policies = ["NOT_DEFINED", "NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"]
            if len(set(keys)) > 1 and r.random() < 0.5:
                fewer = r.sample(sorted(set(keys)), len(set(keys)) - 1)
                selector |= {"fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": fewer}
            elif r.random() < 0.7:
                selector["fallback_policy"] = r.choice(policies)
            if r.random() < 0.2:
                selector["single_host_per_subset"] = True
            config["subset_selectors"].append(selector)
        if r.random() < 0.7:
            config["fallback_policy"] = r.choice(["NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"])
        config["default_subset"] = self.metadata(0.3)
        switches = ["locality_weight_aware", "scale_locality_weight", "panic_mode_any"]
        switches += ["list_as_any", "allow_redundant_keys"]
        config |= {name: True for name in switches if r.random() < 0.4}
        if r.random() < 0.3:
            config["metadata_fallback_policy"] = "FALLBACK_LIST"
        self.settings.subsets = config
        inside = [{"typed_extension_config": {"name": "in", "typed_config": inner}}]
        return {
            "@type": TYPED + "subset.v3.Subset",
            **config,
            "subset_lb_policy": {"policies": inside},
        }

    def metadata(self, often: float) -> dict[str, Any]:
        r = self.r
        found: dict[str, Any] = {k: r.choice(VALUES) for k in "abc" if r.random() < often}
        if r.random() < 0.1:
            found["hash_key"] = r.choice(["k1", "k2", "", 7])
        return found

    # --- hosts

    def _priorities(self) -> list[int]:
        return sorted(self.r.sample(range(5), self.r.choice([1, 1, 2, 3])))

    def _priority(self, priority: int) -> list[dict[str, Any]]:
        """Its groups; the model's hosts come along."""
        r = self.r
        for host in [h for h in self.hosts.values() if h.priority == priority]:
            host.priority = -1
        for key in [key for key in self.locality_weights if key[0] == priority]:
            del self.locality_weights[key]
        groups = []
        for locality in r.sample(ZONES, r.randint(1, 4)) if self.zones else [None]:
            group: dict[str, Any] = {"priority": priority, "lb_endpoints": []}
            if locality:
                group["locality"] = dict(zip(("region", "zone", "sub_zone"), locality, strict=True))
            if r.random() < 0.7:
                weight = group["load_balancing_weight"] = r.randint(1, 6)
                if locality:
                    self.locality_weights[priority, locality] = weight
            for _ in range(r.choice([0, 1, 2, 3, 5])):
                group["lb_endpoints"].append(self._endpoint(priority, locality))
            groups.append(group)
        return groups

    def _endpoint(self, priority: int, locality: Any) -> dict[str, Any]:
        r = self.r
        free = [h for h in self.hosts.values() if h.priority == -1 and h.locality == locality]
        if free and r.random() < 0.8:
            host = r.choice(free)
        else:
            number = next(self.numbers)
            host = model.Host(f"10.0.{number // 250}.{number % 250 + 1}:80", locality=locality)
            host.hostname = f"host-{number}"
            self.hosts[host.address] = host
        host.priority = priority
        host.locality_weight = self.locality_weights.get((priority, locality), 0)
        host.given = 1 if self.even else r.choice([1, 1, 2, 3, 7, 100])
        host.weigh(host.given)
        host.metadata = self.metadata(0.7)
        host.status = "HEALTHY" if r.random() < self.healthy else r.choice(STATUSES)
        eds = 0x4 | 0x10 | 0x200
        host.flags = host.flags & ~eds | model.FLAG_OF.get(host.status, 0)
        ip, _, port = host.address.rpartition(":")
        return {
            "endpoint": {
                "address": {"socket_address": {"address": ip, "port_value": int(port)}},
                "hostname": host.hostname,
            },
            "load_balancing_weight": host.given,
            "health_status": host.status,
            "metadata": {"filter_metadata": {"envoy.lb": host.metadata}},
        }

    def assignment(self) -> dict[str, Any]:
        policy = {
            "overprovisioning_factor": self.factor,
            "weighted_priority_health": self.weighted,
        }
        return {"endpoints": self.groups, "policy": policy}

    def _sets(self) -> list[model.HostSet]:
        lists: dict[int, list[model.Host]] = {}
        for group in self.groups:
            list_ = lists.setdefault(group.get("priority", 0), [])
            for one in group["lb_endpoints"]:
                address = one["endpoint"]["address"]["socket_address"]
                list_.append(self.hosts[f"{address['address']}:{address['port_value']}"])
        sets = []
        for priority in range(max([*lists, len(self.known) - 1]) + 1):
            weights = {k[1]: w for k, w in self.locality_weights.items() if k[0] == priority}
            made = model.HostSet(lists.get(priority, []), weights, self.ours)
            if priority < len(self.known) and self.known[priority].facts == made.facts:
                made = self.known[priority]
            sets.append(made)
        self.known = sets
        return sets

    def _local(self) -> list[dict[str, Any]] | None:
        r = self.r
        if self.settings.policy in ("RING_HASH", "MAGLEV") or r.random() < 0.4:
            return None
        groups = []
        for zone in r.sample(ZONES[1:], r.randint(1, 3)):
            ends = []
            for k in range(r.randint(1, 4)):
                address = {"address": f"127.0.{ZONES.index(zone)}.{k + 1}", "port_value": 80}
                ends.append(
                    {
                        "endpoint": {"address": {"socket_address": address}},
                        "health_status": r.choice(["HEALTHY"] * 3 + ["UNHEALTHY"]),
                        "load_balancing_weight": r.randint(1, 3),
                    }
                )
            locality = dict(zip(("region", "zone", "sub_zone"), zone or (), strict=True))
            groups.append({"locality": locality, "lb_endpoints": ends})
        return groups

    def _local_set(self) -> model.HostSet | None:
        if self.local_groups is None:
            return None
        hosts = []
        for group in self.local_groups:
            zone = tuple(group["locality"].values())
            for one in group["lb_endpoints"]:
                flags = model.FLAG_OF.get(one["health_status"], 0)
                weight = one["load_balancing_weight"]
                hosts.append(model.Host("", weight, 0, zone, flags=flags))
        return model.HostSet(hosts, None, self.ours)

    # --- operations

    def members(self) -> list[model.Host]:
        return [host for host in self.hosts.values() if host.priority >= 0]

    def check_draws(self, what: str) -> None:
        assert len(self.drawn) == len(self.expected), what

    def check_host(self, what: str, host: Host | None, expected: model.Host | None) -> None:
        got = None if host is None else host.address
        assert got == (None if expected is None else expected.address), what
        self.check_draws(what)

    def request(self) -> tuple[dict[str, Any], model.Request]:
        r = self.r
        fields: dict[str, Any] = {}
        request = model.Request(active=sum(h.active for h in self.members()))
        if r.random() < 0.7:
            request.hash = fields["hash"] = r.choice([0, 1, r.getrandbits(64), 2**64 - 1])
        if r.random() < 0.7:
            request.criteria = fields["metadata"] = self.metadata(0.6)
            if r.random() < 0.3:
                fallbacks: list[Any] = [
                    [],
                    [self.metadata(0.4), self.metadata(0.4), "x"],
                    "no list",
                ]
                request.criteria["fallback_list"] = r.choice(fallbacks)
            fields["metadata"] = {"envoy.lb": request.criteria}
        if r.random() < 0.2:
            request.active = fields["active_requests"] = r.randint(0, 100)
        return fields, request

    def weigh(self, due: int) -> None:
        """Once a period the reports count."""
        if self.settings.policy != "CLIENT_SIDE_WEIGHTED" or self.now < due:
            return
        self.weights_due = self.now + self.settings.period
        if model.weigh(self._sets(), self.settings, self.now):
            self.model.update(self._sets(), self.options, self.now)

    def report(self) -> None:
        names = ("rps_fractional", "cpu_utilization", "application_utilization", "eps")
        values = {name: self.r.choice([0.0, 0.25, 1.0, 40.0, 100.0]) for name in names}
        host = self.r.choice(self.members())
        weight = model.reported(values, self.settings)
        assert self.balancer.report_load(host.address, values) == (weight or 0), values
        if weight is None:
            return
        if host.report is None or host.report.since is None:
            host.report = model.Report(weight, self.now, self.now)
        host.report.weight, host.report.last = weight, self.now

    def answer(self) -> None:
        r = self.r
        host = r.choice(self.members())
        ms, wait = r.choice([0, 1, 30, 400, 9000]), r.choice([None, 0, 3, 20, 1000])
        status = r.choice([200, 200, 404, 429, 500, 503, None])
        grpc = r.choice([None, None, 0, 2, 5, 8, 13, 14])
        fields = {"status": status, "grpc_status": grpc, "retry_after": wait}
        self.balancer.answered(host.address, ms / 1000, **fields)
        model.answered(host, ms * 1e6, status, grpc, wait, self.settings, self.now)
        expected = model.projected(host, self.now * 10**6, self.settings) / 1e9
        assert self.balancer.latency(host.address) == expected, fields

    def choose(self) -> None:
        self.weigh(self.weights_due)
        fields, request = self.request()
        if self.r.random() < 0.15 and self.members():
            return self.override(fields, request)
        if self.r.random() < 0.2:
            return self.again(fields, request)
        host = self.balancer.choose(**fields)
        self.check_host("choose", host, self.model.choose(request, self.now))
        return None

    def override(self, fields: dict[str, Any], request: model.Request) -> None:
        wanted = self.r.choice(self.members())
        strict = self.r.random() < 0.5
        host = self.balancer.choose(
            **fields, override_host=wanted.address, override_host_strict=strict
        )
        expected: model.Host | None = None
        if self.settings.statuses and wanted.reported() in self.settings.statuses:
            expected = wanted
        elif not strict:
            expected = self.model.choose(request, self.now)
        self.check_host("override", host, expected)

    def again(self, fields: dict[str, Any], request: model.Request) -> None:
        """A request with retries."""
        r = self.r
        frequency = r.choice([0, 0, 1, 2])
        attempts = r.choice([1, 3])
        labels = {"a": r.choice(VALUES)}
        predicates: list[Any] = ["previous_hosts"] if r.random() < 0.6 else []
        if r.random() < 0.3:
            predicates.append({"omit_host_metadata": {"envoy.lb": labels}})
        retry = Retry(predicates, max_attempts=attempts, priority=frequency)
        tried: list[model.Host] = []
        priority = model.RetryPriority(frequency) if frequency else None

        def refuses(host: model.Host) -> bool:
            if "previous_hosts" in predicates and host in tried:
                return True
            if len(predicates) == 0 or predicates == ["previous_hosts"] or "a" not in host.metadata:
                return False
            has = host.metadata["a"]
            values = has if isinstance(has, list) else [has]
            return any(model.same(value, labels["a"]) for value in values)

        for _ in range(r.randint(2, 5)):
            if tried:
                request.refuses, request.attempts = refuses, attempts
                request.priority = priority
            expected = self.model.choose(request, self.now)
            host = self.balancer.choose(**fields, retry=retry)
            self.check_host("retry", host, expected)
            if expected is not None:
                tried.append(expected)
                if priority:
                    priority.tried.append(expected.priority)

    def peek(self) -> None:
        if isinstance(self.model, model.Plain):
            self.check_host("peek", self.balancer.peek(), self.model.peek(self.now))

    def set_health(self) -> None:
        changes: dict[Any, Any] = {}
        for host in self.r.sample(self.members(), min(len(self.members()), self.r.randint(1, 3))):
            if self.r.random() < 0.6:
                host.status = self.r.choice(STATUSES)
                flags = model.FLAG_OF.get(host.status, 0)
                changes[host.address] = host.status
            else:
                flags = self.r.choice([0, 0, 0x1, 0x2, 0x8, 0x40, 0x41, 0x80, 0x400, 0x8 | 0x200])
                changes[host.address] = flags
            if host.flags & ~flags & 0x1:
                host.hc_pass = self.now
            host.flags = flags
            self._note(host)
        self.balancer.set_health(changes)
        self.model.update(self._sets(), self.options, self.now)
        self.check_draws("set_health")

    def _note(self, host: model.Host) -> None:
        """An assignment that comes later says the same of the host."""

    def set_active(self) -> None:
        host = self.r.choice(self.members())
        host.active = self.r.choice([0, 1, 2, 5, 20])
        self.balancer.set_active_requests(host.address, host.active)

    def update(self) -> None:
        priority = self.r.randrange(4)
        at = next(
            (i for i, g in enumerate(self.groups) if g["priority"] == priority), len(self.groups)
        )
        kept = [g for g in self.groups if g["priority"] != priority]
        fresh = self._priority(priority)
        self.groups = [*kept[:at], *fresh, *kept[at:]]
        for host in [h for h in self.hosts.values() if h.priority == -1]:
            del self.hosts[host.address]  # what leaves is forgotten
        # Endpoints of other priorities say what discovery last said of them.
        for host in self.members():
            if host.priority != priority:
                flag = model.FLAG_OF.get(host.status, 0)
                host.flags = host.flags & ~(0x4 | 0x10 | 0x200) | flag
        self.balancer.update(priority, {"endpoints": fresh})
        if self.settings.policy == "CLIENT_SIDE_WEIGHTED":
            for host in self.members():
                host.weigh(host.given)
            model.weigh(self._sets(), self.settings, self.now)
        self.model.update(self._sets(), self.options, self.now)
        self.check_draws("update")

    def step(self) -> None:
        self.now += self.r.choice([0, 0, 1, 50, 500, 3000])
        kind = self.r.random()
        if kind < 0.7 or not self.members():
            self.choose()
        elif kind < 0.78:
            self.peek()
        elif kind < 0.88:
            if self.settings.policy == "CLIENT_SIDE_WEIGHTED":
                self.report()
            elif self.settings.policy == "PEAK_EWMA" and self.r.random() < 0.7:
                self.answer()
            else:
                self.set_active()
        elif kind < 0.95:
            self.set_health()
        else:
            self.update()

    def check_stats(self) -> None:
        total = self.model.counts
        if isinstance(self.model, model.Subsets):
            total = self.model.totals()
        stats = self.balancer.stats
        for name in ("lb_healthy_panic", "lb_subsets_selected", "lb_subsets_fallback"):
            assert stats.get(name, 0) == total[name], name
        for name in ("all_directly", "sampled", "cross_zone"):
            assert stats.get(f"lb_zone_routing_{name}", 0) == total[f"lb_zone_routing_{name}"]


@pytest.mark.parametrize("block", range(8))
def test_choices_are_those_of_the_model(block: int) -> None:
    for seed in range(block * 20 * RUNS, (block + 1) * 20 * RUNS):
        try:
            world = World(seed)
            for _ in range(60):
                world.step()
            world.check_stats()
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
