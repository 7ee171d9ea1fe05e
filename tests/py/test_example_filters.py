"""Every example below examples/filters does what its comment says."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from clients import Connection, Reply
from upstreams import Exchange, Upstream

import meshcore

EXAMPLES = Path(__file__).parents[2] / "examples" / "filters"
Ask = Callable[..., Reply]


async def web(exchange: Exchange) -> None:
    """Tells what it received in headers; the body is large at /large and text elsewhere."""
    body = await exchange.read_body()
    request = exchange.request
    answer = b"y" * 3000 if request.target == "/large" else b"hello, hello, hello! " * 10
    told = [(f"got-{name}", value) for name, value in request.headers]
    headers = [("content-length", str(len(answer))), ("content-type", "text/plain"), *told]
    status = 500 if request.target == "/fail" else 200
    await exchange.head(
        status, [*headers, ("got-target", request.target), ("got-body", body.hex())]
    )
    if request.method != "HEAD":
        await exchange.write(answer)


def cors(ask: Ask) -> None:
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"}
    assert ask(method="OPTIONS", **preflight).header("access-control-max-age") == "600"
    assert ask(Origin="https://evil.example").header("access-control-allow-origin") is None


def csrf(ask: Ask) -> None:
    assert ask(method="POST", Origin="https://evil.example").status == 403
    assert ask(method="POST", Origin="https://a.shop.example").status == 200


def header_mutation(ask: Ask) -> None:
    reply = ask("/?debug=1", **{"x-internal": "1"})
    assert reply.header("x-served-by") == "mesh"
    assert reply.header("got-x-client") == "127.0.0.1"
    assert reply.header("got-x-internal") is None
    assert reply.header("got-target") == "/?debug=0"


def buffer(ask: Ask) -> None:
    assert ask(method="POST", body=b"x" * 1024).status == 200
    assert ask(method="POST", body=b"x" * 2000).status == 413


def fault(ask: Ask) -> None:
    assert ask(**{"x-envoy-fault-abort-request": "503"}).body == b"fault filter abort"
    assert ask(**{"x-envoy-fault-delay-request": "10"}).status == 200


def rbac_condition(ask: Ask) -> None:
    assert ask("/public/a").status == 200
    assert ask("/notes").status == 403
    assert ask("/notes", **{"x-user": "ann", "x-owner": "ann"}).status == 200
    assert ask("/notes", **{"x-user": "bob", "x-owner": "ann"}).status == 403


def rbac(ask: Ask) -> None:
    assert ask().status == 200
    assert ask(method="DELETE").status == 403
    assert ask(method="DELETE", **{"x-role": "editor"}).status == 200


def local_ratelimit(ask: Ask) -> None:
    assert [ask(**{"x-user": "ann"}).status for _ in range(4)] == [200, 200, 200, 429]
    assert ask(**{"x-user": "bob"}).header("x-ratelimit-remaining") == "2"


def health_check(ask: Ask) -> None:
    assert (ask("/healthz").status, ask("/healthz").header("got-target")) == (200, None)
    assert ask("/").header("got-target") == "/"


def header_to_metadata(ask: Ask) -> None:
    reply = ask(**{"x-tenant": "gold"})
    assert reply.header("got-x-metadata") == '{"name":"gold"}'
    assert reply.header("got-x-tenant") is None
    assert ask().header("got-x-metadata") == '{"name":"anonymous"}'


def set_metadata(ask: Ask) -> None:
    assert ask().header("got-x-metadata") == '{"beta":true,"zone":"west"}'


def ip_tagging(ask: Ask) -> None:
    assert ask().header("got-x-envoy-ip-tags") == "here"


def grpc_stats(ask: Ask) -> None:
    message = b"\0\0\0\0\3abc"
    assert ask(
        "/shop.Cart/Add", method="POST", body=message, **{"content-type": "application/grpc"}
    )


def compressor(ask: Ask) -> None:
    reply = ask(**{"accept-encoding": "gzip"})
    assert reply.header("content-encoding") == "gzip"
    assert gzip.decompress(reply.body).startswith(b"hello, hello")


def decompressor(ask: Ask) -> None:
    reply = ask(method="POST", body=gzip.compress(b"plain"), **{"content-encoding": "gzip"})
    assert bytes.fromhex(reply.header("got-body") or "") == b"plain"


def bandwidth_limit(ask: Ask) -> None:
    assert len(ask("/large").body) == 3000


def admission_control(ask: Ask) -> None:
    statuses = {ask("/fail").status for _ in range(60)}
    assert statuses == {500, 503}


def adaptive_concurrency(ask: Ask) -> None:
    assert ask().status == 200


def cpu_limit(ask: Ask) -> None:
    assert ask().status == 200


def stateful_session(ask: Ask) -> None:
    cookie = (ask().header("set-cookie") or "").split(";")[0]
    assert cookie.startswith('session="')
    assert ask(cookie=cookie).header("set-cookie") is None


def dynamic_forward_proxy(ask: Ask) -> None:
    reply = ask("/home")
    assert (reply.header("got-host") or "").startswith("127.0.0.1:")


def on_demand(ask: Ask) -> None:
    """Nobody listens where the management server would: what needs none is served."""
    assert ask(Host="health.local").body == b"fine"


SHOWN = {
    show.__name__: show
    for show in (
        cors,
        csrf,
        header_mutation,
        buffer,
        fault,
        rbac,
        rbac_condition,
        local_ratelimit,
        health_check,
        header_to_metadata,
        set_metadata,
        ip_tagging,
        grpc_stats,
        compressor,
        decompressor,
        bandwidth_limit,
        admission_control,
        adaptive_concurrency,
        cpu_limit,
        stateful_session,
        dynamic_forward_proxy,
        on_demand,
    )
}


def test_every_example_is_shown() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.yaml")) == sorted(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_example(name: str) -> None:
    if name == "on_demand":
        pytest.importorskip("grpc")
    with Upstream(web) as upstream:
        text = (EXAMPLES / f"{name}.yaml").read_text()
        text = text.replace("10001", str(upstream.port)).replace("10000", "0")
        with meshcore.Gateway(text, workers=1) as gateway:
            port = gateway.listeners["front"][1]

            def ask(
                target: str = "/", *, method: str = "GET", body: bytes | None = None, **headers: str
            ) -> Reply:
                host = headers.pop("Host", "localhost")
                with Connection(port) as connection:
                    return connection.request(
                        target, method=method, host=host, headers=headers.items(), body=body
                    )

            SHOWN[name](ask)
            if name == "grpc_stats":
                counter = gateway.stats.counter(
                    "cluster.web.grpc.shop.Cart.Add.request_message_count"
                )
                assert counter.value == 1
