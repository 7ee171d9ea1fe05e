"""A store beside an application's own metrics in prometheus_client."""

from __future__ import annotations

import math

import pytest

from meshcore.observe.prometheus import Collector
from meshcore.observe.tags import TagProducer
from meshcore.stats import Store

prometheus_client = pytest.importorskip("prometheus_client")


@pytest.fixture
def registry():
    return prometheus_client.CollectorRegistry()


def page(registry) -> str:
    return prometheus_client.generate_latest(registry).decode()


def test_counters_gauges_and_histograms(registry):
    store = Store()
    registry.register(Collector(store))
    prometheus_client.Counter("own", "The application's.", registry=registry).inc()
    store.counter("requests", {"route": "a"}).inc(2)
    store.counter("requests", {"route": "b"}).inc(3)
    store.counter("bytes_total").inc(7)
    store.gauge("level").set(-2)
    store.text("version").set("1")
    histogram = store.histogram("time")
    histogram.set_bounds([5, 100])
    for value in (5, 57, 110):
        histogram.record(value)

    text = page(registry)
    assert 'requests_total{route="a"} 2.0\nrequests_total{route="b"} 3.0\n' in text
    assert text.count("# TYPE requests_total counter") == 1
    assert "# TYPE bytes_total counter\nbytes_total 7.0\n" in text
    assert "# TYPE level gauge\nlevel -2.0\n" in text
    assert "# TYPE time histogram\n" in text
    for line in (
        'time_bucket{le="5"} 1.0',
        'time_bucket{le="100"} 2.0',
        'time_bucket{le="+Inf"} 3.0',
    ):
        assert line in text
    assert "own_total 1.0" in text
    assert "version" not in text
    assert registry.get_sample_value("time_count") == 3
    assert math.isclose(registry.get_sample_value("time_sum"), 177.32776582006027)


def test_envoys_names_get_envoys_tags(registry):
    store = Store()
    registry.register(Collector(store, prefix="envoy_", tags=TagProducer.default()))
    store.counter("cluster.cart.upstream_rq_404").inc()
    labels = {"envoy_cluster_name": "cart", "envoy_response_code": "404"}
    assert registry.get_sample_value("envoy_cluster_upstream_rq_total", labels) == 1


def test_registering_does_not_collect(registry):
    class Untouchable:
        def snapshot(self, **_):
            raise AssertionError("collected")

    registry.register(Collector(Untouchable()))
    assert Collector(Store()).describe() == []


def test_histograms_show_every_sample_without_a_flush(registry):
    store = Store()
    registry.register(Collector(store))
    store.histogram("h").record(1)
    assert registry.get_sample_value("h_count") == 1


def test_names_that_are_no_metric_names_are_left_out(registry):
    store = Store()
    registry.register(Collector(store))
    store.counter("9lives").inc()
    store.counter("ok-name").inc()
    assert "lives" not in page(registry)
    assert registry.get_sample_value("ok_name_total") == 1
