"""Fixtures that start real programs; each is a function, and what it starts ends with the test."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import peers
import pytest
from router_sides import Pair, pair_of
from upstreams import Behaviour, Upstream, echo

# Programs that tests start by the hundred find what they import compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(peers.cache_directory() / "pycache"))


@pytest.fixture
def started() -> Iterator[contextlib.ExitStack]:
    """What the test has started, ended in reverse order."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def nginx(started: contextlib.ExitStack) -> Callable[..., peers.Server]:
    """`nginx(http_block)`: see peers.nginx."""
    return lambda http, **values: started.enter_context(peers.nginx(http, **values))


@pytest.fixture
def nginx_origin(started: contextlib.ExitStack) -> Callable[..., peers.Server]:
    """`nginx_origin(body, files=...)`: see peers.nginx_origin."""
    return lambda *args, **options: started.enter_context(peers.nginx_origin(*args, **options))


@pytest.fixture
def envoy(started: contextlib.ExitStack) -> Callable[..., peers.Server]:
    """`envoy(config, **values)`: real Envoy."""
    return lambda config, **values: started.enter_context(peers.envoy(config, **values))


@pytest.fixture
def meshcore_server(started: contextlib.ExitStack) -> Callable[..., peers.Server]:
    """`meshcore_server(config, **values)`: `python -m meshcore run`."""
    return lambda config, **values: started.enter_context(peers.meshcore(config, **values))


@pytest.fixture
def both(
    envoy: Callable[..., peers.Server], meshcore_server: Callable[..., peers.Server]
) -> Callable[..., tuple[peers.Server, peers.Server]]:
    """`ours, theirs = both(config, **values)`: one text served by meshcore and by real Envoy."""
    return lambda config, **values: (meshcore_server(config, **values), envoy(config, **values))


@pytest.fixture
def upstream(started: contextlib.ExitStack) -> Callable[[Behaviour], Upstream]:
    """`upstream(behaviour)`: a Python upstream, see upstreams.py."""
    return lambda behaviour: started.enter_context(Upstream(behaviour))


@pytest.fixture
def echo_upstream(upstream: Callable[[Behaviour], Upstream]) -> Upstream:
    """An upstream that answers with what it received."""
    return upstream(echo)


@pytest.fixture
def sides(
    meshcore_server: Callable[..., peers.Server],
    envoy: Callable[..., peers.Server],
    upstream: Callable[[Behaviour], Upstream],
) -> Pair:
    """`sides(routes, **options)`: see router_sides.pair_of."""
    return pair_of(meshcore_server, envoy, upstream)
