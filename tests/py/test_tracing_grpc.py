"""Spans over gRPC, to a real server; the same beside Envoy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import peers
import pytest
from clients import Connection
from grpc_collector import HTTP2, grpc_collector
from test_tracing import AT, Names, comparable_span, counters, otlp_spans
from tracing_cases import bootstrap, opentelemetry
from upstreams import Upstream, echo
from waiting import wait_until

import meshcore


@pytest.fixture
def origin() -> Iterator[Upstream]:
    with Upstream(echo) as server:
        yield server


def over_grpc(**service: Any) -> dict[str, Any]:
    provider = opentelemetry(grpc_service={"envoy_grpc": {"cluster_name": "collector"}, **service})
    del provider["typed_config"]["http_service"]
    return provider


def test_opentelemetry_over_grpc_as_envoy_sends_it(origin: Upstream) -> None:
    provider = over_grpc(initial_metadata=[{"key": "X-Token", "value": "t"}], timeout="5s")
    with grpc_collector() as collector:

        def config(port: Any) -> dict[str, Any]:
            ports = {"port": port, "echo": origin.port, "collector": collector.port}
            made = bootstrap(provider, ports)
            made["static_resources"]["clusters"][1] |= HTTP2
            return made

        def span(port: int) -> dict[str, Any]:
            with Connection(port) as client:
                client.send(b"GET /plain HTTP/1.1\r\nhost: a.com\r\n\r\n")
                client.reply()
            wait_until(lambda: collector.messages)
            [message] = collector.messages
            collector.messages.clear()
            assert message.method.endswith("trace.v1.TraceService/Export")
            assert message.metadata["x-token"] == "t"
            [found] = otlp_spans(message.body)
            return comparable_span(found, Names([]))

        with meshcore.Gateway(config(0), workers=1) as gateway:
            ours = span(gateway.listeners["main"][1])
            assert counters(gateway)["tracing.opentelemetry.spans_sent"] == 1
        with peers.envoy(json.dumps(config("$port")).replace('"$port"', "$port")) as server:
            assert ours == span(server.port)


def test_a_collector_over_grpc_that_comes_later(origin: Upstream) -> None:
    """What cannot be delivered is lost; the next batch finds the host."""
    port = peers.free_port()
    made = bootstrap(over_grpc(), {"port": 0, "echo": origin.port, "collector": port})
    made["static_resources"]["clusters"][1] |= HTTP2

    def ask(gateway: meshcore.Gateway) -> None:
        with Connection(gateway.listeners["main"][1]) as client:
            client.send(b"GET /plain HTTP/1.1\r\nhost: a.com\r\n\r\n")
            client.reply()

    with meshcore.Gateway(made, workers=1) as gateway:
        ask(gateway)
        wait_until(lambda: counters(gateway)["tracing.opentelemetry.spans_sent"] == 1)
        with grpc_collector(port) as collector:

            def arrived() -> bool:
                ask(gateway)
                return bool(collector.messages)

            wait_until(arrived)


def test_what_grpc_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {"port": 0, "echo": 1, "collector": 1}
    stranger = bootstrap(opentelemetry(), ports)
    stranger["static_resources"]["clusters"][0] |= HTTP2
    with pytest.raises(meshcore.ConfigError, match="but for a cluster that a grpc_service names"):
        meshcore.Gateway(stranger)

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(meshcore.ConfigError, match="needs the package grpcio") as error:
        meshcore.Gateway(bootstrap(over_grpc(), ports))
    assert error.value.path == f"{AT}.provider.typed_config.grpc_service"
