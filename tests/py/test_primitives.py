"""Hashes, token bucket, back-off."""

from __future__ import annotations

import random
import threading

import pytest

import meshcore
from meshcore import BackOff, TokenBucket, murmur64, xxh64

# Rule HA-4.
VECTORS = {
    b"10.1.0.1:8080": (882326080503284613, 842056587656790141, 12234960735866116008),
    b"10.1.0.1:8080_0": (9349069322858906143, 2080389202192451599, 7101996521258488070),
    b"meshcore": (12933386059808128188, 6880699386989641941, 17811240736348729515),
    b"user-42": (4142921581652311169, 10141361466834243405, 11941320052584118171),
}


@pytest.mark.parametrize("data", VECTORS)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_hashes(data, kind):
    seed0, seed1, murmur = VECTORS[data]
    assert xxh64(kind(data)) == seed0
    assert xxh64(kind(data), seed=1) == xxh64(kind(data), 1) == seed1
    assert murmur64(kind(data)) == murmur
    assert murmur64(kind(data), 0) != murmur


def test_hashes_take_bytes_only():
    for function in (xxh64, murmur64):
        with pytest.raises(TypeError):
            function("text")
        with pytest.raises(TypeError):
            function(None)
        with pytest.raises(BufferError):
            function(memoryview(b"abcd")[::2])
        with pytest.raises(OverflowError):
            function(b"", -1)


def test_xxh64_agrees_with_xxhash():
    xxhash = pytest.importorskip("xxhash")
    source = random.Random(1)
    for length in [*range(70), 1000, 65535, 65536, 200_000]:
        data, seed = source.randbytes(length), source.getrandbits(64)
        assert xxh64(data, seed) == xxhash.xxh64_intdigest(data, seed)
        assert xxh64(memoryview(data), seed) == xxhash.xxh64_intdigest(data, seed)


# --- token bucket ---------------------------------------------------------------------------------


def test_a_bucket_starts_full_and_refills_continuously():
    bucket = TokenBucket(10, 5, 0.1, now=100.0)
    assert all(bucket.consume(now=100.0) for _ in range(10))
    assert not bucket.consume(now=100.0)
    assert bucket.wait(now=100.0) == pytest.approx(0.02)
    assert not bucket.consume(now=100.019)
    assert bucket.consume(now=100.02)
    assert bucket.tokens(now=100.07) == pytest.approx(2.5)
    assert not bucket.consume(3, now=100.07)
    assert bucket.consume(2, now=100.07)
    assert bucket.tokens(now=10_000.0) == 10
    assert bucket.wait(11, now=10_000.0) == float("inf")


def test_a_bucket_takes_its_time_from_a_clock():
    now = [5.0]
    bucket = TokenBucket(1, clock=lambda: now[0])
    assert bucket.consume()
    assert not bucket.consume()
    now[0] = 6.0
    assert bucket.consume()
    assert TokenBucket(1).consume() is True


def test_a_bucket_is_shared():
    bucket = TokenBucket(1000, 1, 3600)
    granted = []

    def take():
        granted.append(sum(bucket.consume() for _ in range(1000)))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "max_tokens"),
        ((-1,), "max_tokens"),
        ((float("nan"),), "max_tokens"),
        ((float("inf"),), "max_tokens"),
        ((1, 0), "tokens_per_fill"),
        ((1, 1, 0), "fill_interval"),
        ((1, 1, -1), "fill_interval"),
    ],
)
def test_a_bucket_checks_its_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TokenBucket(*arguments)


def test_a_bucket_cannot_be_filled_by_hand():
    with pytest.raises(ValueError, match="negative"):
        TokenBucket(1).consume(-1)
    with pytest.raises(ValueError, match="negative"):
        TokenBucket(1).consume(float("nan"))


def test_a_clock_that_fails():
    def broken():
        raise LookupError("no clock")

    with pytest.raises(LookupError):
        TokenBucket(1, clock=broken)


# --- back-off -------------------------------------------------------------------------------------


def test_back_off_doubles():  # the example of RF-24
    largest = 2**64 - 1
    back_off = BackOff(40, random=lambda: largest)
    for _ in range(2):
        intervals = []
        for _ in range(6):
            intervals.append(back_off.interval)
            assert back_off.next() == largest % intervals[-1]
        assert intervals == [40, 80, 160, 320, 400, 400]
        back_off.reset()
    assert repr(back_off) == "BackOff(40, 400)"


def test_back_off_has_a_generator_of_its_own():
    back_off = BackOff(1_000_000, 1_000_000)
    waits = {back_off.next() for _ in range(100)}
    assert len(waits) > 90
    assert all(0 <= wait < 1_000_000 for wait in waits)


def test_back_off_checks_its_arguments():
    with pytest.raises(ValueError, match="base_interval"):
        BackOff(0)
    with pytest.raises(ValueError, match="max_interval"):
        BackOff(10, 9)
    with pytest.raises(ZeroDivisionError):
        BackOff(1, random=lambda: 1 // 0).next()


# --- the package ----------------------------------------------------------------------------------


def test_unknown_names():
    with pytest.raises(AttributeError, match="has no attribute 'nonesuch'"):
        _ = meshcore.nonesuch
    assert {"xxh64", "Gateway", "stats", "__version__"} <= set(dir(meshcore))
