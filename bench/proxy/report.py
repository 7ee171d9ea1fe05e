"""The table, the JSON record, and the comparison of two records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bench.proxy.measure import DISTURBED, SCENARIOS
from bench.table import Record, table

# Not rivals: ourselves, and the proxy that understands nothing.
OURS = ("meshcore", "floor")

# Figures to reach: (scenario, figure, most that meshcore may have, relative to this proxy or None).
TARGETS = (
    ("keepalive", "cpu_us", 1.0, "nginx"),
    ("rate", "cpu_us", 1.0, "nginx"),
    ("rate", "cpu_us", 1.0, "haproxy"),
    ("headers", "cpu_us", 1.0, "nginx"),
    ("bodies", "cpu_us", 0.6, "nginx"),
    ("keepalive", "traced_calls", 4.4, None),
    ("memory", "per_idle_connection", 1.0, "haproxy"),
)


def scenario_table(name: str, results: Mapping[str, Record]) -> str:
    """One scenario: a line for each proxy, cheapest first."""
    scenario = SCENARIOS[name]
    rivals = [r["cpu_us"] for peer, r in results.items() if not peer.startswith(OURS)]
    best = min(rivals, default=None)
    nginx = results.get("nginx", {}).get("cpu_us")
    heading = (
        *("", "req/s", "p50 ms", "p99 ms", f"CPU us/{scenario.unit}", "user", "system", "+-"),
        *("x nginx", "x best peer", "syscalls/req", "traced", "core busy", "errors"),
    )
    rows: list[tuple[str, ...]] = [heading]
    for peer, r in sorted(results.items(), key=lambda item: item[1]["cpu_us"]):
        rows.append(
            (
                peer,
                f"{r['rate']:,.0f}",
                milliseconds(r["p50_us"]),
                milliseconds(r["p99_us"]),
                f"{r['cpu_us']:,.1f}",
                f"{r['user_us']:,.1f}",
                f"{r['system_us']:,.1f}",
                f"{r['cpu_spread']:.0%}",
                ratio(r["cpu_us"], nginx),
                ratio(r["cpu_us"], best),
                calls(r["system_calls"]),
                calls(r["traced_calls"]),
                f"{r['busy']:.0%}",
                str(r["errors"]),
            )
        )
    return f"{scenario.title}\n{table(rows)}"


def memory_table(results: Mapping[str, Record]) -> str:
    rows = [("", "RSS MB", "bytes/idle connection", "connections")]
    rows += [
        (
            peer,
            f"{r['rss'] / 1e6:.1f}",
            f"{r['per_idle_connection']:,.0f}",
            f"{r['idle_connections']:,}",
        )
        for peer, r in sorted(results.items(), key=lambda item: item[1]["per_idle_connection"])
    ]
    return f"memory: resident after the load, and user memory per idle client\n{table(rows)}"


def milliseconds(us: float) -> str:
    return f"{us / 1e3:.2f}" if us else ""


def calls(per_request: float | None) -> str:
    return "" if per_request is None else f"{per_request:.1f}"


def ratio(value: float, reference: float | None) -> str:
    return f"{value / reference:.2f}" if reference else ""


def report(record: Record) -> str:
    """The whole run as text."""
    where = record["machine"]
    how = (
        f"{record['rounds']} rounds of {record['seconds']:g} s; CPU +- is half the range over the "
        "median; system calls counted by perf, and traced by strace"
    )
    parts = [
        f"{where['processor']}, {where['cores']} cores, Linux {where['kernel']}; {how}",
        "; ".join(f"{name}: {v}" for name, v in record["versions"].items() if "+" not in name),
    ]
    parts += [scenario_table(n, r) for n, r in record["scenarios"].items()]
    if record["memory"]:
        parts.append(memory_table(record["memory"]))
    parts += [f"left out: {name}: {why}" for name, why in record["failed"].items()]
    parts += disturbed(record)
    parts.append(targets_table(record))
    return "\n\n".join(filter(None, parts))


def disturbed(record: Record) -> Iterable[str]:
    """A warning for figures that were taken beside other programs."""
    names = [
        f"{scenario}/{peer} ({r['disturbance']:.0%})"
        for scenario, results in record["scenarios"].items()
        for peer, r in results.items()
        if r["disturbance"] > DISTURBED
    ]
    if names:
        yield "DISTURBED, other programs took part of the machine: " + ", ".join(names)


def targets_table(record: Record) -> str:
    rows = [("to reach", "figure", "at most", "reached")]
    for scenario, figure, most, reference in TARGETS:
        results = record["memory"] if scenario == "memory" else record["scenarios"].get(scenario)
        if not results or "meshcore" not in results or reference not in (None, *results):
            continue
        value = results["meshcore"][figure]
        if reference:
            value /= results[reference][figure]
        of = f" / {reference}'s" if reference else ""
        reached = "yes" if value <= most else "NO"
        rows.append((f"{scenario} {figure}{of}", f"{value:.2f}", f"{most:g}", reached))
    return table(rows) if len(rows) > 1 else ""


def comparison(base: Record, now: Record) -> tuple[str, float]:
    """How each proxy's cost relative to nginx's has moved; and meshcore's worst growth.

    Absolute times of two runs do not compare, since the machine differs from day to day.
    """
    rows = [("x nginx", "scenario", "then", "now", "change")]
    worst = 0.0
    for scenario, results in now["scenarios"].items():
        earlier = base["scenarios"].get(scenario, {})
        if "nginx" not in results or "nginx" not in earlier:
            continue
        for peer in results.keys() & earlier.keys() - {"nginx"}:
            then = earlier[peer]["cpu_us"] / earlier["nginx"]["cpu_us"]
            today = results[peer]["cpu_us"] / results["nginx"]["cpu_us"]
            change = today / then - 1
            if peer == "meshcore":
                worst = max(worst, change)
            rows.append((peer, scenario, f"{then:.2f}", f"{today:.2f}", f"{change:+.1%}"))
    return table([rows[0], *sorted(rows[1:])]), worst
