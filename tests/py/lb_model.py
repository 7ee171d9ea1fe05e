"""Envoy's balancers once more, written down plainly from the rules, to compare `LoadBalancer` with.

Slow and simple: no state is kept that the rules do not name, nothing is shared, every table is
built from scratch. Draws come from the callable it is given, in the order the rules say.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshcore import xxh64

Draw = Callable[[], int]
U64 = (1 << 64) - 1
UNHEALTHY = 0x1 | 0x2 | 0x4 | 0x200
DEGRADED = 0x8 | 0x10 | 0x400
EXCLUDED = 0x40 | 0x80 | 0x200
FLAG_OF = {"UNHEALTHY": 0x4, "TIMEOUT": 0x4, "DRAINING": 0x200, "DEGRADED": 0x10}


@dataclass
class Report:
    """What a host last told of its load."""

    weight: int
    since: int | None  # the first report since reports were last too old
    last: int


@dataclass(eq=False)
class Host:
    address: str
    weight: int = 1
    priority: int = 0
    locality: tuple[str, str, str] | None = None
    locality_weight: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    hostname: str = ""
    flags: int = 0
    status: str = "UNKNOWN"
    active: int = 0
    hc_pass: int | None = None
    peak: tuple[float, int] | None = None
    report: Report | None = None
    given: int = 1  # by discovery
    reweighed: int = 0  # a weight that changed and changed back is a change too

    def weigh(self, weight: int) -> bool:
        changed = self.weight != weight
        self.weight = weight
        self.reweighed += changed
        return changed

    @property
    def healthy(self) -> bool:
        return not self.flags & (UNHEALTHY | DEGRADED)

    @property
    def degraded(self) -> bool:
        return not self.flags & UNHEALTHY and bool(self.flags & DEGRADED)

    @property
    def excluded(self) -> bool:
        return bool(self.flags & EXCLUDED)

    def reported(self) -> str:  # HS-5
        if self.flags & 0x3:
            return "UNHEALTHY"
        if self.status in ("UNHEALTHY", "DRAINING", "TIMEOUT"):
            return self.status
        return "DEGRADED" if self.flags & 0x8 else self.status


@dataclass
class Settings:
    policy: str = "ROUND_ROBIN"
    choice_count: int = 2
    full_scan: bool = False
    bias: float = 1.0
    window: int = 0
    aggression: float = 1.0
    min_percent: float = 10.0
    ring_min: int = 1024
    ring_max: int = 8388608
    murmur: bool = False
    table_size: int = 65537
    balance_factor: int = 0
    use_hostname: bool = False
    locality_weighted: bool = False
    threshold: int = 50
    fail_on_panic: bool = False
    routing_enabled: int = 100
    min_cluster_size: int = 6
    force_local: int | None = None
    by_weight: bool = False
    statuses: frozenset[str] = frozenset({"UNKNOWN", "HEALTHY", "DEGRADED"})
    subsets: dict[str, Any] | None = None
    default_rtt: float = 30e6
    decay: float = 10e9
    failure: float = 0.0  # what a failure counts as; 0: its own time
    blackout: int = 10_000
    expiration: int = 180_000
    period: int = 1000
    penalty: float = 0.0


# --- hashes ---------------------------------------------------------------------------------------


def murmur(data: bytes) -> int:  # HA-3
    m = 0xC6A4A7935BD1E995

    def mix(v: int) -> int:
        return v ^ (v >> 47)

    h = 0xC70F6907 ^ (len(data) * m & U64)
    whole = len(data) // 8 * 8
    for at in range(0, whole, 8):
        k = int.from_bytes(data[at : at + 8], "little")
        h = (h ^ (mix(k * m & U64) * m & U64)) * m & U64
    if data[whole:]:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & U64
    return mix(mix(h) * m & U64)


def mersenne(seed: int) -> random.Random:
    """mt19937 as C++ seeds it."""
    state = [seed & 0xFFFFFFFF]
    for i in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + i) & 0xFFFFFFFF)
    generator = random.Random()
    generator.setstate((3, (*state, 624), None))
    return generator


# --- a priority's hosts ---------------------------------------------------------------------------


@dataclass(eq=False)
class HostSet:
    """What is decided of hosts is decided of them as they were when the set was made."""

    hosts: list[Host]
    weights: dict[tuple[str, str, str], int] | None  # of localities
    ours: tuple[str, str, str] | None
    given: list[tuple[str, str, str]] | None = None  # the localities of the set it is a part of

    def __post_init__(self) -> None:
        nowhere = ("", "", "")
        of = {id(host): host.locality or nowhere for host in self.hosts}
        self.names = sorted(set(of.values())) if self.given is None else self.given
        if self.given is None and self.ours not in (None, nowhere) and self.ours in self.names:
            self.names.remove(self.ours)
            self.names.insert(0, self.ours)
        self.has_local = bool(self.names) and self.names[0] == self.ours != nowhere
        self.healthy = [host for host in self.hosts if host.healthy]
        self.degraded = [host for host in self.hosts if host.degraded]
        self.excluded = [host for host in self.hosts if host.excluded]
        self.all_of = [[h for h in self.hosts if of[id(h)] == name] for name in self.names]
        self.healthy_of = [[h for h in group if h.healthy] for group in self.all_of]
        self.degraded_of = [[h for h in group if h.degraded] for group in self.all_of]
        self.excluded_of = [[h for h in group if h.excluded] for group in self.all_of]
        self.facts = self._facts()

    def _facts(self) -> Any:
        """Two sets with the same facts are one: nothing changed."""
        names = self.names
        weights = None if self.weights is None else [self.weights.get(n, 0) for n in names]
        rows = []
        for h in self.hosts:
            place = names.index(h.locality or ("", "", ""))
            state = h.weight, h.reweighed, h.healthy, h.degraded, h.excluded
            rows.append((id(h), place, state, h.locality_weight, text(h.metadata)))
        return rows, self.has_local, len(names), weights

    def part(self, members: list[Host], aware: bool, scaled: bool) -> HostSet:  # SB-10
        weights: dict[tuple[str, str, str], int] | None = None
        if aware:
            weights = {}
            for name, group in zip(self.names, self.all_of, strict=True):
                weight = (self.weights or {}).get(name, 0)
                if scaled and group:
                    share = sum(any(h is m for m in members) for h in group)
                    weight = math.floor(weight * share / len(group) + 0.5)
                weights[name] = weight if group else 0
        return HostSet(members, weights, self.ours if self.has_local else None, list(self.names))


# --- loads: PR-1 to PR-9 --------------------------------------------------------------------------


@dataclass
class Options:
    factor: int = 140
    weighted: bool = False
    threshold: int = 50


def availability(s: HostSet, o: Options) -> tuple[int, int]:
    if len(s.hosts) == len(s.excluded):
        return 0, 0

    def measure(hosts: list[Host]) -> int:
        return sum(h.weight for h in hosts) if o.weighted else len(hosts)

    n = measure(s.hosts) - measure(s.excluded)
    return (
        min(100, o.factor * measure(s.healthy) // n),
        min(100, o.factor * measure(s.degraded) // n),
    )


def below(s: HostSet, threshold: int) -> bool:  # PR-8
    n = len(s.hosts) - len(s.excluded)
    percent = 100.0 * len(s.healthy) / n + 100.0 * len(s.degraded) / n if n else 0.0
    return percent < threshold


@dataclass
class Loads:
    healthy: list[int]
    degraded: list[int]
    panic: list[bool]

    @classmethod
    def none(cls, n: int) -> Loads:
        return cls([0] * n, [0] * n, [False] * n)


def compute(sets: list[HostSet], o: Options, before: Loads) -> Loads:
    n = len(sets)
    loads = Loads(
        (before.healthy + [0] * n)[:n],
        (before.degraded + [0] * n)[:n],
        (before.panic + [False] * n)[:n],
    )
    each = [availability(s, o) for s in sets]
    total = min(100, sum(h + d for h, d in each))
    if total:
        left = 100
        for kind, out in ((0, loads.healthy), (1, loads.degraded)):
            for i in range(n):
                out[i] = min(left, each[i][kind] * 100 // total)
                left -= out[i]
        for kind, out in ((0, loads.healthy), (1, loads.degraded)):
            first = next((i for i in range(n) if each[i][kind] > 0), None)
            if first is not None:
                out[first] += left
                break
    elif o.threshold == 0:
        loads.healthy[0] = 100
        return loads
    loads.panic = [total != 100 and below(s, o.threshold) for s in sets]
    if all(loads.panic):  # PR-9
        hosts = sum(len(s.hosts) for s in sets)
        loads.degraded = [0] * n
        loads.healthy = [100 * len(s.hosts) // hosts if hosts else 0 for s in sets]
        first = next((i for i in range(n) if sets[i].hosts), 0)
        loads.healthy[first] += 100 - sum(loads.healthy)
    return loads


def pick_priority(loads: Loads, h: int) -> tuple[int, bool]:  # PR-10
    x, sum_ = h % 100 + 1, 0
    for degraded, list_ in ((False, loads.healthy), (True, loads.degraded)):
        for i, load in enumerate(list_):
            sum_ += load
            if x <= sum_:
                return i, degraded
    # Weighted health may come to nothing where no priority panics (PR-8): loads stay what they
    # were, which at first is nothing.
    return 0, False


class RetryPriority:  # PR-12
    def __init__(self, frequency: int) -> None:
        self.frequency = frequency
        self.tried: list[int] = []
        self.excluded: set[int] = set()
        self.last: Loads | None = None

    def loads(self, sets: list[HostSet], o: Options) -> Loads | None:
        if len(self.tried) < self.frequency:
            return None
        if len(self.tried) % self.frequency == 0:
            self.excluded |= set(self.tried)
            each = self._available(sets, o)
            if not sum(h + d for h, d in each):
                self.excluded, self.tried = set(), []
                each = self._available(sets, o)
            total = min(100, sum(h + d for h, d in each))
            if not total:
                return None
            self.last, left = Loads.none(len(sets)), 100
            while left:
                for kind, out in ((0, self.last.healthy), (1, self.last.degraded)):
                    for i in range(len(sets)):
                        part = min(left, each[i][kind] * 100 // total)
                        out[i] += part
                        left -= part
        return self.last

    def _available(self, sets: list[HostSet], o: Options) -> list[tuple[int, int]]:
        return [(0, 0) if i in self.excluded else availability(s, o) for i, s in enumerate(sets)]


# --- EDF: ED-1 to ED-3 ----------------------------------------------------------------------------


class Edf:
    def __init__(self, items: list[Any], weigh: Callable[[Any], float], seed: int) -> None:
        self.weigh, self.now = weigh, 0.0
        self.sequence = itertools.count(len(items))
        self.peeked: list[Any] = []
        self.items = items
        picks = (seed & 0xFFFFFFFF) % 429496729
        weights = [weigh(item) + 1e-13 for item in items]
        total = 0.0
        for weight in weights:
            total += weight
        self.heap: list[tuple[float, int, int]] = []
        left = picks
        for i, weight in enumerate(weights):
            had = int(weight * picks / total) & 0xFFFFFFFF
            if had > 0 and had / weight >= picks / total:
                had -= 1
            left -= had
            self.now = max(self.now, had / weight)
            heapq.heappush(self.heap, ((had + 1) / weight, i, i))
        for _ in range(left):
            self.turn()

    def turn(self) -> Any:
        self.now, _, i = heapq.heappop(self.heap)
        again = self.now + 1.0 / self.weigh(self.items[i])
        heapq.heappush(self.heap, (again, next(self.sequence), i))
        return self.items[i]

    def pick(self) -> Any:
        return self.peeked.pop(0) if self.peeked else self.turn()

    def peek(self) -> Any:
        self.peeked.append(self.turn())
        return self.peeked[-1]


# --- tables: RH, MG -------------------------------------------------------------------------------


class Table:
    def __init__(self, s: HostSet, panic: bool, c: Settings) -> None:
        self.c = c
        self.hosts: list[Host] = []
        self.shares: list[float] = []
        plain = s.hosts if panic else s.healthy
        if c.locality_weighted and s.weights is not None and s.names:
            groups = s.all_of if panic else s.healthy_of
            weights = [s.weights.get(name, 0) for name in s.names]
            for group, weight in zip(groups, weights, strict=True):
                if weight:
                    self.add(group, weight / sum(weights))
        else:
            self.add(plain, 1.0)
        self.keys = [self.key(h) for h in self.hosts]
        self.build()

    def add(self, hosts: list[Host], share: float) -> None:
        total = sum(h.weight for h in hosts)
        self.hosts += hosts
        self.shares += [h.weight * share / total for h in hosts]

    def key(self, host: Host) -> bytes:  # RH-2
        key = host.metadata.get("hash_key")
        if isinstance(key, str) and key:
            return key.encode()
        return (host.hostname if self.c.use_hostname else host.address).encode()

    def build(self) -> None:
        c = self.c
        self.slots: list[int] = []
        self.points: list[tuple[int, int]] = []
        if not self.hosts:
            return
        if c.policy == "MAGLEV":
            self.maglev(c.table_size)
            return
        smallest = min(1.0, *self.shares)
        scale = min(math.ceil(smallest * c.ring_min) / smallest, float(c.ring_max))
        hash_ = murmur if c.murmur else xxh64
        current = target = 0.0
        for i, key in enumerate(self.keys):
            target += scale * self.shares[i]
            for n in itertools.count():
                if not current < target:
                    break
                self.points.append((hash_(key + b"_%d" % n), i))
                current += 1.0
        self.points.sort(key=lambda point: point[0])

    def maglev(self, size: int) -> None:  # MG-2, MG-3
        order = sorted(range(len(self.hosts)), key=lambda i: self.keys[i])
        largest = max(self.shares)
        table = [-1] * size
        offset = [xxh64(k) % size for k in self.keys]
        skip = [xxh64(k, 1) % (size - 1) + 1 for k in self.keys]
        after, target = [0] * len(order), [0.0] * len(order)
        filled = 0
        for turn in itertools.count(1):
            for i in order:
                if filled == size:
                    self.slots = table
                    return
                if turn * self.shares[i] < target[i]:
                    continue
                target[i] += largest
                while table[(offset[i] + skip[i] * after[i]) % size] >= 0:
                    after[i] += 1
                table[(offset[i] + skip[i] * after[i]) % size] = i
                after[i] += 1
                filled += 1

    def base(self, h: int, attempt: int) -> int:
        if self.slots:
            h ^= (1 << 64) - attempt if attempt else 0
            return self.slots[h % len(self.slots)]
        at = next((i for i, point in enumerate(self.points) if point[0] >= h), 0)
        return self.points[(at + attempt) % len(self.points)][1]

    def pick(self, h: int, attempt: int, active: int) -> Host | None:
        if not self.hosts or not (self.slots or self.points):
            return None
        base = self.base(h, attempt)
        if not self.c.balance_factor:
            return self.hosts[base]
        total = (((active + 1) * self.c.balance_factor + 99) & 0xFFFFFFFF) // 100  # RH-9

        def load(i: int) -> float:
            return self.hosts[i].active / max(math.ceil(total * self.shares[i]), 1)

        best, found = load(base), base
        if best <= 1.0:
            return self.hosts[base]
        n = len(self.hosts)
        order, generator = list(range(n)), mersenne(h)
        for i in range(n):
            k = n - i
            while (x := generator.getrandbits(32) // (2**32 // k)) >= k:
                pass
            order[i], order[i + x] = order[i + x], order[i]
            if order[i] == base:
                continue
            if load(order[i]) <= 1.0:
                return self.hosts[order[i]]
            if load(order[i]) < best:
                best, found = load(order[i]), order[i]
        return self.hosts[found]


# --- zones: ZA ------------------------------------------------------------------------------------


class Zone:
    def __init__(self, s: HostSet, local: HostSet, c: Settings) -> None:
        self.on = self.direct = False
        self.local_panic = below(local, c.threshold)
        if len(s.names) < 2 or (c.force_local is None and len(local.names) < 2):
            return
        if not local.has_local or len(s.healthy) < c.min_cluster_size:
            return

        def mass(hosts: list[Host]) -> int:
            return sum(h.weight for h in hosts) if c.by_weight else len(hosts)

        def percent(name: tuple[str, str, str], of: HostSet) -> int:
            mine = [h for h in of.healthy if (h.locality or ("", "", "")) == name]
            return 10000 * mass(mine) // mass(of.healthy) if mass(of.healthy) else 0

        self.on = True
        upstream, ours = [], []
        for i, name in enumerate(s.names):
            some = bool(s.healthy_of[i])
            upstream.append(percent(name, s) if some else 0)
            ours.append(percent(name, local) if some else 0)
        enough = c.force_local is not None and len(s.healthy_of[0]) >= c.force_local
        if s.has_local and (0 < upstream[0] >= ours[0] or enough):
            self.direct = True
            return
        self.share = upstream[0] * 10000 // ours[0] if s.has_local and ours[0] else 0
        self.residual: list[int] = []
        for i in range(len(s.names)):
            more = 0 if i == 0 and s.has_local else max(0, upstream[i] - ours[i])
            self.residual.append((self.residual[-1] if self.residual else 0) + more)

    def choose(self, draw: Draw, counts: Counter[str]) -> int:
        if self.direct:
            counts["lb_zone_routing_all_directly"] += 1
            return 0
        if draw() % 10000 < self.share:
            counts["lb_zone_routing_sampled"] += 1
            return 0
        counts["lb_zone_routing_cross_zone"] += 1
        if not self.residual[-1]:
            counts["lb_zone_no_capacity_left"] += 1
            return draw() % len(self.residual)
        x = draw() % self.residual[-1]
        return next(i for i, c in enumerate(self.residual) if x < c)


# --- a balancer -----------------------------------------------------------------------------------


@dataclass
class Request:
    hash: int | None = None
    criteria: dict[str, Any] | None = None
    refuses: Callable[[Host], bool] | None = None
    attempts: int = 0
    priority: RetryPriority | None = None
    active: int = 0


class Plain:
    """Without subsets."""

    def __init__(
        self, c: Settings, sets: list[HostSet], o: Options, draw: Draw, now: int, local: Any
    ) -> None:
        self.c, self.draw, self.now, self.counts = c, draw, now, Counter[str]()
        self.hashing = c.policy in ("RING_HASH", "MAGLEV")
        self.seeded = c.policy in ("ROUND_ROBIN", "CLIENT_SIDE_WEIGHTED", "LEAST_REQUEST")
        self.latest, self.local = now, local
        self.cursors: dict[Any, int] = {}
        self.stash: list[int] = []
        self.ahead = 0
        self.sets: list[HostSet] = []
        self.facts: list[Any] = []
        self.edfs: dict[Any, Edf] = {}
        self.choices: dict[tuple[int, bool], Edf] = {}
        self.seed: int | None = None
        self.loads = Loads.none(0)
        self.update(sets, o, now)

    def update(self, sets: list[HostSet], o: Options, now: int) -> None:
        self.now = now
        facts = [(s.facts, o.factor) for s in sets]
        changed = [i for i in range(len(sets)) if self.facts[i : i + 1] != [facts[i]]]
        if changed or len(sets) != len(self.sets):
            self.stash, self.ahead = [], 0
        self.sets = [s if i in changed else self.sets[i] for i, s in enumerate(sets)]
        self.facts, self.options = facts, o
        self.loads = compute(self.sets, o, self.loads)
        if self.hashing:
            self.tables = [
                Table(s, p, self.c) for s, p in zip(self.sets, self.loads.panic, strict=True)
            ]
            return
        if self.c.locality_weighted:
            for i in changed:
                self.weigh_localities(i, self.draw())
        if self.seed is None and self.seeded:
            self.seed = self.draw()
        for i in changed:
            self.schedule(i)
        if self.local is not None and (0 in changed or not hasattr(self, "zone")):
            self.zone = Zone(self.sets[0], self.local, self.c)

    def weigh_localities(self, i: int, seed: int) -> None:  # LO-2
        s = self.sets[i]
        for degraded in (False, True):
            self.choices.pop((i, degraded), None)
            groups = s.degraded_of if degraded else s.healthy_of
            effective = {}
            for k, name in enumerate(s.names):
                hosts = len(s.all_of[k]) - len(s.excluded_of[k])
                ratio = self.options.factor / 100.0 * (len(groups[k]) / hosts) if hosts else 0.0
                weight = (s.weights or {}).get(name, 0) * min(1.0, ratio)
                if weight > 0:
                    effective[k] = weight
            if effective and (s.degraded if degraded else s.healthy):
                edf = Edf(list(effective), effective.__getitem__, seed)
                self.choices[i, degraded] = edf

    def sources(self, i: int) -> Iterable[tuple[Any, list[Host]]]:
        s = self.sets[i]
        yield (i, "all"), s.hosts
        yield (i, "healthy"), s.healthy
        yield (i, "degraded"), s.degraded
        for k in range(len(s.names)):
            yield (i, "healthy", k), s.healthy_of[k]
            yield (i, "degraded", k), s.degraded_of[k]

    def schedule(self, i: int) -> None:  # ED-4, ED-11
        for key in [key for key in self.edfs if key[0] == i]:
            del self.edfs[key]
        for key, hosts in self.sources(i):
            if self.c.policy == "PEAK_EWMA":
                for host in hosts:
                    host.peak = host.peak or (self.c.default_rtt, self.now * 10**6)
            if not self.seeded:
                continue
            self.cursors.setdefault(key, self.seed or 0)
            if self.c.window:
                for host in hosts:
                    if host.healthy:
                        if host.hc_pass is None:
                            host.hc_pass = self.now
                        if host.hc_pass > self.latest and self.now - host.hc_pass <= self.c.window:
                            self.latest = host.hc_pass
            equal = len({host.weight for host in hosts}) <= 1
            if len(hosts) > 1 and not (equal and not self.starting()):
                self.edfs[key] = Edf(hosts, self.weight, self.seed or 0)

    def starting(self) -> bool:
        return self.c.window > 0 and self.now - self.latest <= self.c.window

    def weight(self, host: Host) -> float:
        weight = float(host.weight)
        if self.c.policy == "LEAST_REQUEST" and self.c.bias:
            load = float(host.active + 1)
            weight /= load if self.c.bias == 1.0 else math.pow(load, self.c.bias)
        if not self.starting() or host.hc_pass is None or not host.healthy:
            return weight
        passed = self.now - host.hc_pass
        if passed >= self.c.window:
            return weight
        factor = max(1, passed) / self.c.window
        if factor != 1.0 and self.c.aggression != 1.0:
            factor = math.pow(factor, 1.0 / self.c.aggression)
        return weight * max(factor, self.c.min_percent / 100.0)

    # --- choices

    def choose(self, r: Request, now: int) -> Host | None:
        self.now = now
        if self.hashing:
            h = self.draw() if r.hash is None else r.hash
            priority, _ = pick_priority(self.loads, h)
            self.counts["lb_healthy_panic"] += self.loads.panic[priority]
        for attempt in range(1 + r.attempts):
            if self.hashing:
                host = self.tables[priority].pick(h, attempt, r.active)
            else:
                host = self.once(r, False)
            if host is None or r.refuses is None or not r.refuses(host):
                break
        return host

    def peek(self, now: int) -> Host | None:
        self.now = now
        if self.hashing or len(self.stash) >= sum(len(s.healthy) for s in self.sets):
            return None
        return self.once(Request(), True)

    def once(self, r: Request, peeking: bool) -> Host | None:
        special = r.priority.loads(self.sets, self.options) if r.priority else None
        if peeking:
            draw = self.draw()
            self.stash.append(draw)
        else:
            draw = self.stash.pop(0) if self.stash else self.draw()
        priority, degraded = pick_priority(special or self.loads, draw)
        source = self.source(priority, degraded)
        if source is None:
            return None
        hosts = dict(self.sources(priority))[source]
        if source in self.edfs:
            scheduled: Host = self.edfs[source].peek() if peeking else self.edfs[source].pick()
            return scheduled
        return self.pick(source, hosts, draw, peeking) if hosts else None

    def source(self, i: int, degraded: bool) -> Any:  # LO-1
        kind = "degraded" if degraded else "healthy"
        if self.loads.panic[i]:
            self.counts["lb_healthy_panic"] += 1
            return None if self.c.fail_on_panic else (i, "all")
        if (i, degraded) in self.choices:
            return (i, kind, self.choices[i, degraded].pick())
        if i != 0 or self.local is None or not self.zone.on:
            return (i, kind)
        enabled = self.c.routing_enabled
        if enabled < 100 and (enabled == 0 or not self.draw() % 100 < enabled):
            return (i, kind)
        if self.zone.local_panic:
            return None if self.c.fail_on_panic else (i, kind)
        return (i, kind, self.zone.choose(self.draw, self.counts))

    def pick(self, source: Any, hosts: list[Host], draw: int, peeking: bool) -> Host | None:
        policy = self.c.policy
        if policy == "RANDOM":
            return hosts[draw % len(hosts)]
        if policy in ("ROUND_ROBIN", "CLIENT_SIDE_WEIGHTED"):
            if peeking:
                self.ahead += 1
                return hosts[((self.cursors[source] + self.ahead - 1) & U64) % len(hosts)]
            self.ahead -= self.ahead > 0
            self.cursors[source] += 1
            return hosts[((self.cursors[source] - 1) & U64) % len(hosts)]
        if peeking:
            return None
        if policy == "PEAK_EWMA":
            return self.better(hosts)
        if self.c.full_scan:
            best, ties = hosts[0], 1
            for host in hosts[1:]:
                if host.active < best.active:
                    best, ties = host, 1
                elif host.active == best.active:
                    ties += 1
                    best = host if self.draw() % ties == 0 else best
            return best
        best = hosts[self.draw() % len(hosts)]
        for _ in range(self.c.choice_count - 1):
            sample = hosts[self.draw() % len(hosts)]
            best = sample if sample.active < best.active else best
        return best

    def better(self, hosts: list[Host]) -> Host:  # PE-1, PE-2
        if len(hosts) == 1:
            return hosts[0]
        a = self.draw() % len(hosts)
        b = self.draw() % (len(hosts) - 1)
        b += b >= a

        def load(host: Host) -> float:
            now = self.now * 10**6
            if not self.c.failure:
                observe(host, 0.0, now, self.c)
            return projected(host, now, self.c) * (host.active + 1.0)

        loads = [load(hosts[a]), load(hosts[b])]
        return hosts[a] if loads[0] <= loads[1] else hosts[b]


def observe(host: Host, rtt: float, now: int, c: Settings) -> None:  # PE-3
    estimate, updated = host.peak or (c.default_rtt, now)
    d = math.exp(-(now - updated) / c.decay) if now > updated else 1.0
    host.peak = (rtt if estimate < rtt else estimate * d + rtt * (1.0 - d), now)


def projected(host: Host, now: int, c: Settings) -> float:  # PE-7
    estimate, updated = host.peak or (c.default_rtt, now)
    return estimate * (math.exp(-(now - updated) / c.decay) if now > updated else 1.0)


def add_peak(host: Host, rtt: float, now: int, c: Settings) -> None:  # PE-7
    estimate, updated = host.peak or (c.default_rtt, now)
    if now > updated:
        d = math.exp(-(now - updated) / c.decay)
        host.peak = (rtt if estimate * d < rtt else estimate * d + rtt * (1.0 - d), now)


def answered(
    host: Host,
    rtt: float,
    status: int | None,
    grpc: int | None,
    wait: int | None,
    c: Settings,
    now: int,
) -> None:  # PE-5, PE-7
    now *= 10**6
    host.peak = host.peak or (c.default_rtt, now)
    if not c.failure:
        return observe(host, rtt, now, c)
    if status in (429, 503) or grpc in (8, 14):
        penalty = max(c.failure, min(wait or 0, 300) * 1e9)
    elif status is None or status >= 500 or grpc in (2, 4, 13, 15):
        penalty = c.failure
    else:
        return add_peak(host, rtt, now, c)
    return add_peak(host, max(penalty, projected(host, now, c)), now, c)


# --- client-side weights --------------------------------------------------------------------------


def reported(report: Mapping[str, float], c: Settings) -> int | None:
    """The weight of a load report, None when it says nothing of use."""
    rps = report.get("rps_fractional", 0.0)
    if rps <= 0:
        return None
    used = report.get("application_utilization", 0.0) or report.get("cpu_utilization", 0.0)
    used += c.penalty * report.get("eps", 0.0) / rps
    return min(int(rps / used), 2**32 - 1) if used > 0 else None


def weigh(sets: list[HostSet], c: Settings, now: int) -> bool:
    """Reported weights come into force; who has none gets the median of its priority."""
    changed = False
    for s in sets:
        valid: dict[int, int] = {}
        for host in s.hosts:
            report = host.report
            if report is None or report.since is None or report.since + c.blackout > now:
                continue
            if report.last + c.expiration < now:
                report.since = None
                continue
            valid[id(host)] = report.weight
        usual = int(statistics.median(valid.values())) if valid else 1
        for host in s.hosts:
            changed |= host.weigh(max(1, valid.get(id(host), usual)))
    return changed


# --- subsets: SB ----------------------------------------------------------------------------------


def same(a: Any, b: Any) -> bool:
    return text(a) == text(b)


def text(value: Any) -> str:
    """Type and value."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k!r}:{text(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text, value)) + "]"
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return repr(value)
    return repr(float(value))


class Subsets:
    def __init__(
        self, c: Settings, sets: list[HostSet], o: Options, draw: Draw, now: int, local: Any
    ) -> None:
        assert c.subsets is not None
        self.c, self.draw, self.local, self.config = c, draw, local, c.subsets
        selectors = [s for s in self.config.get("subset_selectors", []) if s["keys"]]
        if self.config.get("allow_redundant_keys"):
            selectors.sort(key=lambda s: -len(set(s["keys"])))
        self.selectors = [{**s, "keys": sorted(set(s["keys"]))} for s in selectors]
        self.fallbacks: dict[tuple[str, ...], dict[str, Any]] = {}
        known: set[tuple[str, ...]] = set()
        for s in self.selectors:  # SB-6
            keys = tuple(s["keys"])
            if keys not in known:
                self.fallbacks[keys] = s
            known |= {keys[:n] for n in range(1, len(keys) + 1)}
        self.children: dict[Any, Plain | Host] = {}
        self.counts = Counter[str]()
        self.gone = Counter[str]()
        self.update(sets, o, now)

    def wanted(self) -> list[str]:
        """Fallback subsets, in the order in which they are made."""
        order = [self.config.get("fallback_policy", "NO_FALLBACK")]
        order += ["ANY_ENDPOINT"] if self.config.get("panic_mode_any") else []
        order += [s.get("fallback_policy", "NOT_DEFINED") for s in self.fallbacks.values()]
        return [f for f in dict.fromkeys(order) if f in ("ANY_ENDPOINT", "DEFAULT_SUBSET")]

    def matches(self, labels: dict[str, Any], host: Host) -> bool:
        for key, value in labels.items():
            if key not in host.metadata:
                return False
            has = host.metadata[key]
            several = self.config.get("list_as_any") and isinstance(has, list)
            if not any(same(each, value) for each in (has if several else [has])):
                return False
        return True

    def paths(self, host: Host, keys: list[str]) -> Iterable[tuple[tuple[str, str], ...]]:
        if any(key not in host.metadata for key in keys):
            return
        values: list[list[tuple[str, str]]] = []
        for key in keys:
            has = host.metadata[key]
            several = self.config.get("list_as_any") and isinstance(has, list)
            values.append([(key, text(each)) for each in (has if several else [has])])
            if not values[-1]:  # Envoy forgets what came before a list of nothing
                values = []
        if values:
            yield from itertools.product(*values)

    def update(self, sets: list[HostSet], o: Options, now: int) -> None:
        hosts = [(p, h) for p, s in enumerate(sets) for h in s.hosts]
        members: dict[Any, list[tuple[int, Host]]] = {}
        single: set[Any] = set()
        for fallback in self.wanted():
            labels = self.config.get("default_subset", {})
            members[fallback] = [
                (p, h) for p, h in hosts if fallback == "ANY_ENDPOINT" or self.matches(labels, h)
            ]
        for p, host in hosts:
            for selector in self.selectors:
                for path in self.paths(host, selector["keys"]):
                    if path not in members and selector.get("single_host_per_subset"):
                        single.add(path)
                    list_ = members.setdefault(path, [])
                    if not any(h is host for _, h in list_):
                        list_.append((p, host))
        children: dict[Any, Plain | Host] = {}
        for path, list_ in members.items():
            if path in single:
                children[path] = list_[0][1]
                continue
            parts = [
                s.part(
                    [h for q, h in list_ if q == p],
                    bool(self.config.get("locality_weight_aware")),
                    bool(self.config.get("scale_locality_weight")),
                )
                for p, s in enumerate(sets)
            ]
            child = self.children.get(path)
            if isinstance(child, Plain):
                child.update(parts, o, now)
            else:
                child = Plain(self.c, parts, o, self.draw, now, self.local)
            children[path] = child
        for path, old in self.children.items():
            if isinstance(old, Plain) and children.get(path) is not old:
                self.gone += old.counts
        self.children = children

    def totals(self) -> Counter[str]:
        total = self.counts + self.gone
        for child in self.children.values():
            if isinstance(child, Plain):
                total += child.counts
        return total

    def choose(self, r: Request, now: int) -> Host | None:
        criteria = r.criteria
        if criteria is None:
            return self.fall_back(r, now)
        if self.config.get("metadata_fallback_policy") != "FALLBACK_LIST":
            return self.by(criteria, r, now)
        if "fallback_list" not in criteria:
            return self.by(criteria, r, now)
        rest = {k: v for k, v in criteria.items() if k != "fallback_list"}
        list_ = criteria["fallback_list"]
        if not isinstance(list_, list) or not list_:
            return self.by(rest, r, now)
        for over in list_:
            host = self.by({**rest, **(over if isinstance(over, dict) else {})}, r, now)
            if host is not None:
                return host
        return None

    def by(self, criteria: dict[str, Any], r: Request, now: int) -> Host | None:
        if self.config.get("allow_redundant_keys"):
            for selector in self.selectors:
                if all(key in criteria for key in selector["keys"]):
                    criteria = {key: criteria[key] for key in selector["keys"]}
                    break
        keys = tuple(sorted(criteria))
        path = tuple((key, text(criteria[key])) for key in keys)
        if path and path in self.children:
            self.counts["lb_subsets_selected"] += 1
            return self.inside(path, r, now)
        selector = self.fallbacks.get(keys, {})
        policy = selector.get("fallback_policy", "NOT_DEFINED")
        if policy == "NO_FALLBACK":
            return None
        if policy in ("ANY_ENDPOINT", "DEFAULT_SUBSET"):
            return self.inside(policy, r, now)
        if policy == "KEYS_SUBSET":
            fewer = selector["fallback_keys_subset"]
            return self.by({k: v for k, v in criteria.items() if k in fewer}, r, now)
        return self.fall_back(r, now)

    def inside(self, path: Any, r: Request, now: int) -> Host | None:
        child = self.children[path]
        return child.choose(r, now) if isinstance(child, Plain) else child

    def fall_back(self, r: Request, now: int) -> Host | None:
        policy = self.config.get("fallback_policy", "NO_FALLBACK")
        if policy == "NO_FALLBACK":
            return None
        host = self.inside(policy, r, now)
        if host is not None:
            self.counts["lb_subsets_fallback"] += 1
        elif self.config.get("panic_mode_any"):
            host = self.inside("ANY_ENDPOINT", r, now)
            self.counts["lb_subsets_fallback_panic"] += host is not None
        return host
