"""xxHash64, and consistent hashing among 100 hosts: building the table, and picking by key."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench.micro.case import Case

HOSTS = [(f"10.0.{i // 250}.{i % 250}:8080", 1) for i in range(100)]
KEYS = [f"user-{i}" for i in range(1_000)]


def meshcore_xxh64(size: int) -> dict[str, Any]:
    from meshcore import xxh64

    return {"xxh64": xxh64, "data": bytes(size)}


def xxhash_xxh64(size: int) -> dict[str, Any]:
    from xxhash import xxh64_intdigest

    return {"xxh64": xxh64_intdigest, "data": bytes(size)}


def meshcore_table(kind: str) -> dict[str, Any]:
    import meshcore

    build = getattr(meshcore, kind)
    hashes = [meshcore.xxh64(key.encode()) for key in KEYS]
    names = {"build": build, "hosts": HOSTS, "pick": build(HOSTS).pick, "hashes": hashes}
    return names | {"xxh64": meshcore.xxh64, "keys": [key.encode() for key in KEYS]}


def uhashring(on_xxh64: bool = False) -> dict[str, Any]:
    from uhashring import HashRing

    options: dict[str, Any] = {}
    if on_xxh64:
        from xxhash import xxh64_intdigest

        options["hash_fn"] = lambda key: xxh64_intdigest(key.encode())
    nodes = [address for address, _ in HOSTS]
    ring = HashRing(nodes=nodes, **options)
    return {
        "build": lambda: HashRing(nodes=nodes, **options),
        "pick": ring.get_node,
        "keys": KEYS,
    }


def table_cases(kind: str, title: str) -> list[Case]:
    build, pick = f"{title} of 100 hosts, build", f"{title} of 100 hosts, pick"
    return [
        Case(build, "meshcore", "build(hosts)", lambda: meshcore_table(kind)),
        Case(build, "uhashring", "build()", uhashring),
        Case(build, "uhashring on xxh64", "build()", lambda: uhashring(on_xxh64=True)),
        Case(
            pick,
            "meshcore, hash given",
            "for h in hashes: pick(h)",
            lambda: meshcore_table(kind),
            operations=len(KEYS),
        ),
        Case(
            pick,
            "meshcore, key hashed",
            "for key in keys: pick(xxh64(key))",
            lambda: meshcore_table(kind),
            operations=len(KEYS),
        ),
        Case(pick, "uhashring", "for key in keys: pick(key)", uhashring, operations=len(KEYS)),
        Case(
            pick,
            "uhashring on xxh64",
            "for key in keys: pick(key)",
            lambda: uhashring(on_xxh64=True),
            operations=len(KEYS),
        ),
    ]


CASES = [
    case
    for size in (16, 1_024, 65_536)
    for case in (
        Case(f"xxh64, {size:,} B", "meshcore", "xxh64(data)", partial(meshcore_xxh64, size)),
        Case(f"xxh64, {size:,} B", "xxhash", "xxh64(data)", partial(xxhash_xxh64, size)),
    )
]
CASES += table_cases("RingHash", "ring") + table_cases("Maglev", "maglev")
