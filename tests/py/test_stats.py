"""meshcore.stats: recording from many threads, reading, tags."""

from __future__ import annotations

import gc
import math
import threading

import pytest
from waiting import wait_until

from meshcore.stats import Counter, Metric, Store, Summary


def in_thread(action, *arguments):
    """Run to the end in a thread of its own, and raise here what it raised."""
    raised = []

    def run():
        try:
            action(*arguments)
        except BaseException as error:  # handed to the caller, whatever it is
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


# --- recording ------------------------------------------------------------------------------------


def test_a_counter_only_grows():
    counter = Store().counter("requests")
    counter.inc()
    counter.inc(4)
    counter.add(5)
    assert counter.value == 10
    with pytest.raises(OverflowError):
        counter.inc(-1)
    with pytest.raises(TypeError):
        counter.inc(1.5)
    assert counter.value == 10
    counter.add(2**64 - 10)
    assert counter.value == 0


@pytest.mark.parametrize("value", [0, 1, -1, 2**63, 2**64 - 1, -(2**62)])
def test_a_gauge_holds_what_is_set(value):
    gauge = Store().gauge("level")
    gauge.inc(3)
    gauge.set(value)
    assert gauge.value == value


def test_a_gauge_moves():
    gauge = Store().gauge("level")
    gauge.inc()
    gauge.inc(9)
    gauge.dec(12)
    assert gauge.value == -2
    gauge.set(5)
    gauge.add(-6)
    assert gauge.value == -1
    with pytest.raises(OverflowError):
        gauge.set(2**64)
    with pytest.raises(OverflowError):
        gauge.set(-(2**62) - 1)
    with pytest.raises(TypeError):
        gauge.set(0.5)
    with pytest.raises(TypeError):
        gauge.inc(0.5)


def test_the_same_name_is_the_same_stat():
    store = Store()
    store.counter("a").inc()
    store.counter("a").inc()
    store.gauge("a").inc(7)
    assert store.counter("a").value == 2
    assert store.gauge("a").value == 7
    assert Store().counter("a").value == 0


def test_stats_come_from_a_store():
    with pytest.raises(TypeError, match="come from a Store"):
        Counter()


def test_a_stat_keeps_its_store():
    counter = Store().counter("a")
    gc.collect()
    counter.inc()
    assert counter.value == 1


def test_scopes():
    store = Store()
    store.scope("cluster.cart.").counter("upstream_rq_total").inc()
    assert store.counter("cluster.cart.upstream_rq_total").value == 1
    inner = store.scope("listener.127.0.0.1:80").scope("http")
    assert inner.gauge("active").name == "listener.127.0.0.1_80.http.active"
    assert store.scope("").text("version").name == "version"
    assert store.scope("a").histogram("b", unit="us").name == "a.b"


def test_whole_numbers_of_other_types():
    class Three:
        def __index__(self):
            return 3

    store = Store()
    store.counter("c").inc(Three())
    store.counter("c").inc(True)
    store.histogram("h").record(Three())
    assert store.counter("c").value == 4
    with pytest.raises(TypeError):
        store.histogram("h").record(2.0)


# --- threads --------------------------------------------------------------------------------------


def test_threads_add_up_and_leave_their_sums():
    store = Store()
    counter, gauge, histogram = store.counter("c"), store.gauge("g"), store.histogram("h")

    def work():
        for i in range(1000):
            counter.inc()
            gauge.inc()
            gauge.dec()
            histogram.record(i)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 8000
    assert gauge.value == 0
    assert histogram.summary().samples == 8000


def test_a_thread_that_ends_gives_back_its_memory():
    store = Store()
    counter = store.counter("c")
    counter.inc()
    for _ in range(5):
        in_thread(counter.inc)
    # An OS thread ends a moment after Python has joined it.
    wait_until(lambda: store._threads() == 1)
    assert counter.value == 6


def test_a_thread_may_outlive_stores():
    def many():
        for _ in range(3):
            store = Store()
            store.counter("c").inc()
            other = Store()
            other.counter("c").inc(2)
            store.counter("c").inc()
            assert store.counter("c").value == 2
            assert other.counter("c").value == 2

    in_thread(many)
    many()


def test_a_store_may_end_before_the_threads_that_used_it():
    ready, leave = threading.Event(), threading.Event()
    box = [Store().counter("c")]

    def use():
        box[0].inc()
        ready.set()
        leave.wait()
        Store().counter("c").inc()  # finds nothing of the dead store

    thread = threading.Thread(target=use)
    thread.start()
    ready.wait()
    box.clear()
    gc.collect()
    leave.set()
    thread.join()


def test_readers_beside_writers():
    store = Store()
    counter = store.counter("c")
    stop = threading.Event()

    def write():
        while not stop.is_set():
            counter.inc()
            store.counter(f"c.{counter.value % 50}").inc()

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    last = 0
    for _ in range(200):
        snapshot = store.snapshot(merge=True)
        now = snapshot.values("counter")["c"]
        assert now >= last
        last = now
        assert snapshot.names() == sorted(snapshot.names())
    stop.set()
    for thread in threads:
        thread.join()


# --- histograms -----------------------------------------------------------------------------------


def test_summary():
    histogram = Store().histogram("h")
    empty = histogram.summary()
    assert empty.samples == 0
    assert empty.sum == 0
    assert all(math.isnan(value) for value in empty.quantiles.values())
    for _ in range(3):
        histogram.record(157)
    summary = histogram.summary()
    assert summary.samples == 3
    assert list(summary.quantiles) == [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1]
    # What Envoy 1.39 prints for three samples of 157.
    assert list(summary.quantiles.values()) == [152.5, 152.5, 155.0, *[157.5] * 7]
    assert summary.sum == pytest.approx(3 * 2 * 150 * 160 / 310)
    with pytest.raises(OverflowError):
        histogram.record(-1)


def test_buckets():
    store = Store()
    histogram = store.histogram("h")
    for value in (0, 1, 5, 57, 110, 157):
        histogram.record(value)
    assert histogram.buckets([0.5, 1, 5, 10, 100, 250]) == [1, 2, 3, 3, 4, 6]
    histogram.set_bounds([5, 155])
    bounds, samples, total = store.snapshot(merge=True).buckets()["h"]
    assert (bounds, samples) == ([(5.0, 3), (155.0, 6)], 6)
    assert total == 333.21409454509864644933259114623  # as Envoy prints it
    histogram.set_bounds([])
    assert len(store.snapshot().buckets()["h"][0]) == 19
    with pytest.raises(ValueError, match="ascend"):
        histogram.set_bounds([2, 1])


def test_intervals():
    store = Store()
    histogram = store.histogram("h")
    histogram.record(5)
    assert store.snapshot().values("histogram")["h"].samples == 0
    assert store.snapshot(merge=True).intervals()["h"].samples == 1
    histogram.record(6)
    store.merge()
    snapshot = store.snapshot()
    assert snapshot.intervals()["h"].samples == 1
    assert snapshot.values("histogram")["h"].samples == 2


def test_live_histograms():
    store = Store()
    store.histogram("h").record(5)
    store.merge()
    store.histogram("h").record(6)
    snapshot = store.snapshot(live=True)
    assert snapshot.values("histogram")["h"].samples == 2
    assert snapshot.intervals()["h"].samples == 1
    assert store.snapshot().values("histogram")["h"].samples == 1


def test_percent_is_scaled_back():
    store = Store()
    store.histogram("h", unit="percent").record(500_000)
    summary = store.snapshot(merge=True).values("histogram")["h"]
    assert summary.quantiles[0.5] == pytest.approx(0.505)
    with pytest.raises(ValueError, match="unit must be one of"):
        store.histogram("x", unit="s")


# --- reading --------------------------------------------------------------------------------------


def test_snapshot():
    store = Store()
    store.counter("b", {"route": "x", "code": "2"}).inc(3)
    store.gauge("a").set(-1)
    store.text("v").set("naïve")
    store.counter("unused")
    store.histogram("h")
    metrics = list(store.snapshot())
    assert metrics[:2] == [
        Metric("a", "gauge", -1, True, "a", ()),
        Metric("b.code.2.route.x", "counter", 3, True, "b", (("code", "2"), ("route", "x"))),
    ]
    assert [metric.name for metric in metrics[2:]] == ["h", "unused", "v"]
    assert isinstance(metrics[2].value, Summary)
    assert [metric.used for metric in metrics] == [True, True, False, False, True]
    assert metrics[4].value == "naïve"
    assert len(store.snapshot()) == 5
    with pytest.raises(ValueError, match="kind must be one of"):
        store.snapshot().values("count")


def test_a_snapshot_is_of_its_moment():
    store = Store()
    counter = store.counter("c")
    snapshot = store.snapshot()
    counter.inc()
    del store
    assert snapshot.values("counter") == {"c": 0}


def test_latch_and_reset():
    store = Store()
    counter, gauge = store.counter("c"), store.gauge("g")
    counter.inc(10)
    gauge.inc(2)
    assert store.snapshot(latch=True).deltas() == {"c": 10}
    counter.inc(5)
    store.reset_counters()
    assert counter.value == 0
    assert gauge.value == 2
    assert store.snapshot(latch=True).deltas() == {"c": 5}
    assert store.snapshot().deltas() == {}


def test_names_of_any_bytes():
    store = Store()
    name = "cluster.\udcff.x"
    store.counter(name).inc()
    assert store.snapshot().values("counter") == {name: 1}
    assert b"cluster.\xff.x: 1\n" in store.snapshot().render("text")


def test_the_order_of_tags_does_not_matter():
    store = Store()
    store.counter("a", {"x": "1", "y": "2"}).inc()
    store.counter("a", {"y": "2", "x": "1"}).inc()
    assert store.snapshot().values("counter") == {"a.x.1.y.2": 2}


def test_render_checks_its_arguments():
    snapshot = Store().snapshot()
    with pytest.raises(ValueError):
        snapshot.render("xml")
    with pytest.raises(ValueError, match="mask must have 0 bytes"):
        snapshot.render("text", mask=b"x")
    with pytest.raises(ValueError, match="buckets must be one of"):
        snapshot.render("text", buckets="all")
    assert snapshot.render("text") == b""
    assert Store().overflow == {"counter": 0, "gauge": 0, "histogram": 0, "text": 0}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda store: store.counter(None), "a stat's name must be str, not NoneType"),
        (lambda store: store.counter("a", ["b"]), "tags must be a mapping of str to str"),
        (lambda store: store.counter("a", {"code": 200}), "must be str, not 'code': 200"),
        (lambda store: store.scope(5), "a prefix must be str, not int"),
    ],
)
def test_misuse_is_named(call, text):
    with pytest.raises(TypeError, match=text):
        call(Store())
