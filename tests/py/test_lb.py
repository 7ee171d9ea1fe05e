"""Hash tables and the EDF scheduler, against the rules written a second time in plain Python."""

from __future__ import annotations

import heapq
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meshcore

Hosts = list[tuple[str, int]]
U64 = (1 << 64) - 1

# --- the rules again, naively -----------------------------------------------------------------


def rotl(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & U64


P1, P2, P3 = 11400714785074694791, 14029467366897019727, 1609587929392839161
P4, P5 = 9650029242287828579, 2870177450012600261


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64 of less than 32 bytes or more, as its specification has it."""

    def round_(lane: int, word: int) -> int:
        return rotl((lane + word * P2) & U64, 31) * P1 & U64

    at, length = 0, len(data)
    if length >= 32:
        lanes = [seed + P1 + P2, seed + P2, seed, seed - P1]
        while at + 32 <= length:
            for i in range(4):
                word = int.from_bytes(data[at + 8 * i : at + 8 * i + 8], "little")
                lanes[i] = round_(lanes[i] & U64, word)
            at += 32
        total = sum(rotl(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True))
        for lane in lanes:
            total = ((total ^ round_(0, lane)) * P1 + P4) & U64
    else:
        total = seed + P5
    total = (total + length) & U64
    while at + 8 <= length:
        total ^= round_(0, int.from_bytes(data[at : at + 8], "little"))
        total = (rotl(total, 27) * P1 + P4) & U64
        at += 8
    if at + 4 <= length:
        total ^= int.from_bytes(data[at : at + 4], "little") * P1 & U64
        total = (rotl(total, 23) * P2 + P3) & U64
        at += 4
    for byte in data[at:]:
        total = rotl(total ^ (byte * P5 & U64), 11) * P1 & U64
    total = (total ^ total >> 33) * P2 & U64
    total = (total ^ total >> 29) * P3 & U64
    return total ^ total >> 32


def murmur64(data: bytes) -> int:
    m = 0xC6A4A7935BD1E995

    def mix(value: int) -> int:
        return value ^ value >> 47

    h = 0xC70F6907 ^ (len(data) * m & U64)
    whole = len(data) // 8 * 8
    for at in range(0, whole, 8):
        k = int.from_bytes(data[at : at + 8], "little")
        h = (h ^ (mix(k * m & U64) * m & U64)) * m & U64
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & U64
    return mix(mix(h) * m & U64)


def naive_ring(hosts: Hosts, low: int, high: int, hash_: Callable[[bytes], int]) -> list[int]:
    """Pairs (point, host) of the ring, sorted."""
    total = sum(weight for _, weight in hosts)
    shares = [weight * 1.0 / total for _, weight in hosts]
    least = min(1.0, *shares)
    scale = min(math.ceil(least * low) / least, float(high))
    points, current, target = [], 0.0, 0.0
    for index, (address, _) in enumerate(hosts):
        target += scale * shares[index]
        number = 0
        while current < target:
            points.append((hash_(f"{address}_{number}".encode()), index))
            number += 1
            current += 1.0
    return sorted(points)


def naive_ring_pick(points: list, hash_: int, attempt: int) -> int:
    at = next((i for i, (point, _) in enumerate(points) if point >= hash_), 0)
    return points[(at + attempt) % len(points)][1]


def naive_maglev(hosts: Hosts, size: int) -> list[int]:
    total = sum(weight for _, weight in hosts)
    shares = [weight * 1.0 / total for _, weight in hosts]
    order = sorted(range(len(hosts)), key=lambda i: (hosts[i][0].encode(), i))
    offset = [xxh64(address.encode()) % size for address, _ in hosts]
    skip = [xxh64(address.encode(), 1) % (size - 1) + 1 for address, _ in hosts]
    following, target = [0] * len(hosts), [0.0] * len(hosts)
    table, filled, turn = [-1] * size, 0, 0
    while filled < size:
        turn += 1
        for i in order:
            if filled == size or turn * shares[i] < target[i]:
                continue
            target[i] += max(shares)
            while table[slot := (offset[i] + skip[i] * following[i]) % size] >= 0:
                following[i] += 1
            table[slot] = i
            following[i] += 1
            filled += 1
    return table


def naive_edf(weights: list[float]) -> Iterator[int]:
    heap = [(1.0 / weight, i, i) for i, weight in enumerate(weights)]
    heapq.heapify(heap)
    sequence = len(weights)
    while True:
        now, _, item = heap[0]
        heapq.heapreplace(heap, (now + 1.0 / weights[item], sequence, item))
        sequence += 1
        yield item


# --- equality ---------------------------------------------------------------------------------

addresses = st.one_of(
    st.builds("10.{}.0.{}:80".format, st.integers(0, 255), st.integers(0, 255)),
    st.text(max_size=50).filter(lambda s: s.isprintable()),
)
fleets = st.lists(
    st.tuples(addresses, st.integers(1, 50)), min_size=1, max_size=12, unique_by=lambda h: h[0]
)
hashes = st.lists(st.integers(0, U64), min_size=1, max_size=20)


def test_naive_hashes_know_the_vectors() -> None:
    assert xxh64(b"10.1.0.1:8080") == 882326080503284613
    assert xxh64(b"10.1.0.1:8080_0", 1) == 2080389202192451599
    assert murmur64(b"user-42") == 11941320052584118171
    assert murmur64(b"10.1.0.1:8080") == 12234960735866116008


@given(fleets, st.integers(1, 300), st.integers(0, 300), st.booleans(), hashes)
@settings(max_examples=60, deadline=None)
def test_ring_equals_the_naive_one(
    hosts: Hosts, low: int, more: int, murmur: bool, wanted: list[int]
) -> None:
    points = naive_ring(hosts, low, low + more, murmur64 if murmur else xxh64)
    ring = meshcore.RingHash(
        hosts,
        minimum_ring_size=low,
        maximum_ring_size=low + more,
        hash_function="MURMUR_HASH_2" if murmur else "XX_HASH",
    )
    assert len(ring) == len(points)
    edges = [point + step for point, _ in points[:20] for step in (-1, 0, 1)]
    for hash_ in [0, U64, *wanted, *edges]:
        for attempt in (0, 1, 5):
            assert ring.pick(hash_, attempt) == naive_ring_pick(points, hash_, attempt)


@given(fleets, st.sampled_from([2, 3, 11, 101, 499]), hashes)
@settings(max_examples=60, deadline=None)
def test_maglev_equals_the_naive_one(hosts: Hosts, size: int, wanted: list[int]) -> None:
    table = naive_maglev(hosts, size)
    maglev = meshcore.Maglev(hosts, table_size=size)
    assert maglev.table == table
    assert len(maglev) == size
    for hash_ in wanted:
        assert maglev.pick(hash_) == table[hash_ % size]
        assert maglev.pick(hash_, 2) == table[(hash_ ^ ((1 << 64) - 2)) % size]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20))
def test_edf_equals_a_heap(weights: list[int]) -> None:
    edf = meshcore.EdfScheduler([(weight, i) for i, weight in enumerate(weights)])
    naive = naive_edf([float(weight) for weight in weights])
    assert [edf.pick() for _ in range(200)] == [next(naive) for _ in range(200)]


def test_examples_of_the_rules() -> None:
    hosts = [("10.1.0.1:8080", 1), ("10.1.0.2:8080", 3)]
    ring = meshcore.RingHash(hosts, minimum_ring_size=6)
    assert len(ring) == 8
    assert [ring.pick(xxh64(b"user-42"), a) for a in (0, 1)] == [1, 0]
    assert ring.host(xxh64(b"user-42")) == "10.1.0.2:8080"
    three = [("10.1.0.1:8080", 1), ("10.1.0.2:8080", 2), ("10.1.0.3:8080", 1)]
    maglev = meshcore.Maglev(three, table_size=11)
    assert maglev.table == [0, 0, 2, 1, 1, 2, 2, 1, 1, 0, 1]
    assert maglev.host(xxh64(b"meshcore"), 1) == "10.1.0.3:8080"
    edf = meshcore.EdfScheduler([(2, "a"), (3, "b"), (7, "c")])
    assert "".join(edf.pick() for _ in range(12)) == "ccbcacbcccab"
    edf = meshcore.EdfScheduler([(2, "a"), (3, "b"), (7, "c")], seed=5)
    assert "".join(edf.pick() for _ in range(7)) == "cbccabc"


# --- properties -------------------------------------------------------------------------------

KEYS = [xxh64(str(i).encode()) for i in range(4000)]
FLEET = [(f"10.0.0.{i}:8080", 1 + i % 3) for i in range(12)]
TABLES: list[Callable[[Hosts], meshcore.RingHash | meshcore.Maglev]] = [
    lambda hosts: meshcore.RingHash(hosts, minimum_ring_size=20_000),
    lambda hosts: meshcore.Maglev(hosts, table_size=5003),
]


@pytest.mark.parametrize("build", TABLES)
def test_load_follows_the_weights(build: Callable[[Hosts], meshcore.RingHash]) -> None:
    table = build(FLEET)
    counts = Counter(table.pick(key) for key in KEYS)
    for index, (_, weight) in enumerate(FLEET):
        assert counts[index] == pytest.approx(len(KEYS) * weight / 24, rel=0.35)


@pytest.mark.parametrize("build", TABLES)
def test_few_keys_move_when_a_host_leaves(build: Callable[[Hosts], meshcore.RingHash]) -> None:
    before, after = build(FLEET), build(FLEET[:5] + FLEET[6:])
    moved = sum(before.host(key) != after.host(key) for key in KEYS)
    lost = sum(before.host(key) == FLEET[5][0] for key in KEYS)
    assert lost <= moved <= lost + len(KEYS) * 0.12


def test_edf_keeps_any_window_proportional() -> None:
    edf = meshcore.EdfScheduler([(5, "a"), (3, "b"), (2, "c")], seed=123456789)
    for _ in range(20):
        counts = Counter(edf.pick() for _ in range(10))
        assert [abs(counts[x] - n) for x, n in (("a", 5), ("b", 3), ("c", 2))] <= [1, 1, 1]


def test_edf_peek_looks_further_each_time_and_pick_follows() -> None:
    edf, other = (meshcore.EdfScheduler([(2, "a"), (3, "b"), (7, "c")]) for _ in range(2))
    expected = [other.pick() for _ in range(8)]
    assert [edf.peek() for _ in range(3)] == expected[:3]
    assert [edf.pick() for _ in range(8)] == expected


def test_edf_add_counts_from_now() -> None:
    edf = meshcore.EdfScheduler()
    assert len(edf) == 0
    edf.add(1.0, "slow")
    assert [edf.pick() for _ in range(3)] == ["slow"] * 3
    edf.add(2.0, "fast")
    assert len(edf) == 2
    assert "".join(edf.pick()[0] for _ in range(9)) == "fsffsffsf"


def test_edf_items_are_any_objects_and_are_let_go() -> None:
    class Item:
        alive = 0

        def __init__(self) -> None:
            Item.alive += 1

        def __del__(self) -> None:
            Item.alive -= 1

    edf = meshcore.EdfScheduler([(1, Item()) for _ in range(100)])
    assert isinstance(edf.pick(), Item)
    assert Item.alive == 100
    del edf
    assert Item.alive == 0


def test_edf_shared_by_threads_loses_no_pick() -> None:
    edf = meshcore.EdfScheduler([(1, i) for i in range(10)])
    counts: Counter[int] = Counter()
    lock = threading.Lock()

    def work() -> None:
        mine = Counter(edf.pick() for _ in range(5000))
        with lock:
            counts.update(mine)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(counts.values()) == {2000}


# --- the Python side --------------------------------------------------------------------------


def test_building_releases_the_gil() -> None:
    """Another thread runs Python while a large table is being built."""
    hosts = [(f"10.0.{i // 256}.{i % 256}:80", 1) for i in range(1000)]
    built = threading.Event()
    thread = threading.Thread(
        target=lambda: (meshcore.Maglev(hosts, table_size=5000011), built.set())
    )
    thread.start()
    turns = 0
    while not built.is_set():
        turns += 1
    thread.join()
    assert turns > 1000


def test_index_is_that_of_the_hosts_given() -> None:
    hosts = [("b", 1), ("a", 1), ("c", 1)]
    for table in (meshcore.RingHash(hosts), meshcore.Maglev(hosts)):
        assert table.hosts == tuple(hosts)
        for key in KEYS[:50]:
            assert table.hosts[table.pick(key)][0] == table.host(key)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ([[]], {}, "hosts must not be empty"),
        ([[3]], {}, r"hosts\[0\] must be a pair"),
        (["abc"], {}, "hosts must be a list of pairs"),
        ([[("a", 1), (b"b", 1)]], {}, r"hosts\[1\]: the address must be a str"),
        ([[("a", 0)]], {}, r"hosts\[0\]: the weight must be an integer between 1 and 4294967295"),
        ([[("a", 1.5)]], {}, r"hosts\[0\]: the weight"),
        ([[("a", True)]], {}, r"hosts\[0\]: the weight"),
        ([[("a", 4294967295), ("b", 1)]], {}, "hosts: the weights must add up"),
        ([[("a", 1)]], {"minimum_ring_size": 0}, "minimum_ring_size must be an integer between 1"),
        ([[("a", 1)]], {"minimum_ring_size": 8388609}, "minimum_ring_size"),
        ([[("a", 1)]], {"maximum_ring_size": 1023}, "maximum_ring_size must be .* 1024 and"),
        ([[("a", 1)]], {"hash_function": "MD5"}, 'hash_function must be "XX_HASH" or'),
        ([[("a", 1)]], {"hash_function": None}, "hash_function"),
    ],
)
def test_ring_errors_name_the_argument(arguments: list, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        meshcore.RingHash(*arguments, **options)


@pytest.mark.parametrize("size", [0, 1, 4, 65536, 5000012, -3, 1 << 70, "11", 11.0])
def test_maglev_size_must_be_a_prime(size: object) -> None:
    with pytest.raises(ValueError, match="table_size must be"):
        meshcore.Maglev([("a", 1)], table_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("hash_", [-1, 1 << 64, 1.0, "7", None])
def test_pick_errors_name_the_argument(hash_: object) -> None:
    for table in (meshcore.RingHash([("a", 1)]), meshcore.Maglev([("a", 1)])):
        with pytest.raises(ValueError, match="hash must be an integer between 0 and"):
            table.pick(hash_)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="attempt must be an integer between 0 and"):
            table.pick(1, -1)


@pytest.mark.parametrize("weight", [0, -1, math.inf, math.nan, "x", None])
def test_edf_weight_must_be_finite_and_positive(weight: object) -> None:
    edf = meshcore.EdfScheduler()
    with pytest.raises(ValueError, match="weight must be a finite number above 0"):
        edf.add(weight, "a")  # type: ignore[arg-type]
    assert len(edf) == 0


def test_edf_empty_and_bad_seed() -> None:
    edf = meshcore.EdfScheduler()
    with pytest.raises(IndexError):
        edf.pick()
    with pytest.raises(IndexError):
        edf.peek()
    with pytest.raises(ValueError, match="seed must be an integer"):
        meshcore.EdfScheduler([(1, "a")], seed=-1)


@pytest.mark.parametrize("kind", [meshcore.RingHash, meshcore.Maglev])
def test_objects_that_were_never_built(kind: Any) -> None:
    for use in (len, lambda table: table.pick(1), lambda table: table.host(1)):
        with pytest.raises(TypeError, match="__init__ was not called"):
            use(kind.__new__(kind))


def test_objects_are_built_once() -> None:
    for built in (
        meshcore.RingHash([("a", 1)]),
        meshcore.Maglev([("a", 1)]),
        meshcore.EdfScheduler([(1, "a")]),
    ):
        with pytest.raises(TypeError, match="built once"):
            built.__init__([("a", 1)])  # type: ignore[misc]


@pytest.mark.parametrize("kind", [meshcore.RingHash, meshcore.Maglev])
def test_hosts_in_other_forms(kind: type[meshcore.RingHash | meshcore.Maglev]) -> None:
    hosts = [("10.0.0.1:80", 1), ("10.0.0.2:80", 3)]
    assert kind(dict(hosts)).hosts == tuple(hosts)
    assert kind([{"address": a, "weight": w} for a, w in hosts]).hosts == tuple(hosts)
    assert kind(["10.0.0.1:80", hosts[1]]).hosts == tuple(hosts)
