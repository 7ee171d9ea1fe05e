"""How evenly each policy spreads requests, and how many keys move when a host leaves.

    python -m bench.balance            prints the table
    python -m bench.balance --write    writes it into docs/load-balancing.md, the picture beside it

Everything is computed, nothing measured: the same table comes out on every machine.
"""

from __future__ import annotations

import heapq
import random
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.table import markdown, put_block, table
from meshcore import LoadBalancer, xxh64

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, PICTURE = DOCS / "load-balancing.md", DOCS / "load-balancing.svg"
REQUESTS = 100_000
IN_PROGRESS = 40
EQUAL = [(f"10.0.{n // 200}.{n % 200 + 1}:80", 1) for n in range(20)]
WEIGHTED = [(address, 1 + n % 4) for n, (address, _) in enumerate(EQUAL)]
RING = {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 16384}}
BOUND = {"common_lb_config": {"consistent_hashing_lb_config": {"hash_balance_factor": 125}}}
KIND = "type.googleapis.com/envoy.extensions.load_balancing_policies."
FULL_SCAN = {"@type": f"{KIND}least_request.v3.LeastRequest", "selection_method": "FULL_SCAN"}
REPORTS = {
    "@type": f"{KIND}client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
    "blackout_period": "0s",
    "weight_update_period": "0.1s",
}


@dataclass(frozen=True)
class Case:
    name: str
    cluster: Any
    hosts: list[tuple[str, int]]
    hashes: bool = False
    reports: bool = False  # hosts say what they can do, the balancer is not told their weights


CASES = [
    Case("round robin", "ROUND_ROBIN", EQUAL),
    Case("round robin, weights 1 to 4", "ROUND_ROBIN", WEIGHTED),
    Case("least request", "LEAST_REQUEST", EQUAL),
    Case("least request, full scan", FULL_SCAN, EQUAL),
    Case("least request, weights 1 to 4", "LEAST_REQUEST", WEIGHTED),
    Case("random", "RANDOM", EQUAL),
    Case("Peak-EWMA", "PEAK_EWMA", EQUAL),
    Case("client-side weights, reports of 1 to 4", REPORTS, WEIGHTED, reports=True),
    Case("ring hash, 1024 points", "RING_HASH", EQUAL, hashes=True),
    Case("ring hash, 16384 points", RING, EQUAL, hashes=True),
    Case("ring hash, 16384 points, weights", RING, WEIGHTED, hashes=True),
    Case("ring hash, bounded to 125 %", {**RING, **BOUND}, EQUAL, hashes=True),
    Case("Maglev", "MAGLEV", EQUAL, hashes=True),
    Case("Maglev, weights 1 to 4", "MAGLEV", WEIGHTED, hashes=True),
    Case("Maglev, bounded to 125 %", {"lb_policy": "MAGLEV", **BOUND}, EQUAL, hashes=True),
]


def keys() -> Iterator[int]:
    return (xxh64(b"user-%d" % number) for number in range(REQUESTS))


def spread(case: Case) -> list[float]:
    """Requests of each host over the ideal number, with so many always in progress.

    Every request takes 1 ms to 3 ms, whichever host has it.
    """
    clock = [0.0]
    draws = random.Random(7)
    hosts: Any = [address for address, _ in case.hosts] if case.reports else case.hosts
    balancer = LoadBalancer(case.cluster, hosts, random=draws, now=lambda: clock[0])
    for index, (_, weight) in enumerate(case.hosts) if case.reports else ():
        balancer.report_load(index, f"TEXT rps_fractional={100 * weight},cpu_utilization=1")
    running: list[tuple[float, int, int]] = []
    active = [0] * len(case.hosts)
    counts: Counter[int] = Counter()
    for number, key in enumerate(keys()):
        if len(running) == IN_PROGRESS:
            clock[0], _, done = heapq.heappop(running)
            active[done] -= 1
            balancer.set_active_requests(done, active[done])
        host = balancer.choose(key if case.hashes else None)
        assert host is not None
        index = host.index
        counts[index] += 1
        active[index] += 1
        balancer.set_active_requests(index, active[index])
        seconds = 0.001 + 0.002 * draws.random()
        if case.cluster == "PEAK_EWMA":
            balancer.answered(index, seconds)
        heapq.heappush(running, (clock[0] + seconds, number, index))
    total = sum(weight for _, weight in case.hosts)
    return [counts[i] / (REQUESTS * weight / total) for i, (_, weight) in enumerate(case.hosts)]


def moved(case: Case) -> tuple[float, float]:
    """Share of keys that change their host when one leaves, and the least share that must."""
    before = LoadBalancer(case.cluster, case.hosts, random=7, now=0)
    after = LoadBalancer(case.cluster, case.hosts[:7] + case.hosts[8:], random=7, now=0)
    changed = sum(str(before.choose(key)) != str(after.choose(key)) for key in keys())
    total = sum(weight for _, weight in case.hosts)
    return changed / REQUESTS, case.hosts[7][1] / total


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def rows(found: dict[str, list[float]]) -> list[list[str]]:
    out = [["policy", "least", "most", "deviation", "keys moved", "at least"]]
    for case in CASES:
        shares = found[case.name]
        keys_moved, least = moved(case) if case.hashes else (None, None)
        out.append(
            [
                case.name,
                percent(min(shares)),
                percent(max(shares)),
                percent(statistics.pstdev(shares)),
                "" if keys_moved is None else percent(keys_moved),
                "" if least is None else percent(least),
            ]
        )
    return out


WIDTH, LEFT, TOP, STEP = 780, 250, 34, 24


def picture(found: dict[str, list[float]]) -> str:
    """A line a policy, a dot a host: its requests over the ideal."""
    low, high = 0.5, 1.5

    def x(share: float) -> float:
        return LEFT + (min(max(share, low), high) - low) / (high - low) * (WIDTH - LEFT - 20)

    bottom = TOP + STEP * len(found)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 30}"',
        ' font-family="sans-serif" font-size="12">',
        "<title>Requests of each host over its ideal share</title>",
        f'<rect width="{WIDTH}" height="{bottom + 30}" fill="#fff"/>',
    ]
    for tenths in range(5, 16):
        share = tenths / 10
        colour = "#444" if tenths == 10 else "#ddd"
        out.append(
            f'<line x1="{x(share):.1f}" y1="{TOP - 8}" x2="{x(share):.1f}" y2="{bottom - 8}" '
            f'stroke="{colour}"/>'
        )
        at = f'x="{x(share):.1f}" y="{bottom + 10}"'
        out.append(f'<text {at} text-anchor="middle">{tenths * 10} %</text>')
    for number, (name, shares) in enumerate(found.items()):
        y = TOP + STEP * number + 4
        out.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{name}</text>')
        out += [
            f'<circle cx="{x(share):.1f}" cy="{y}" r="4" fill="#06c" fill-opacity="0.45"/>'
            for share in shares
        ]
    out.append(
        f'<text x="{LEFT}" y="16">requests of each of 20 hosts, 100 % = its ideal share</text>'
    )
    return "\n".join([*out, "</svg>"]) + "\n"


def main(arguments: list[str]) -> None:
    found = {case.name: spread(case) for case in CASES}
    lines = rows(found)
    print(table(lines))
    if "--write" in arguments:
        put_block(PAGE, "balance", markdown(lines))
        PICTURE.write_text(picture(found))


if __name__ == "__main__":
    main(sys.argv[1:])
