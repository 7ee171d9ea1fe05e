"""Random tables and requests: RouteTable against trying every route in order, in Python."""

from __future__ import annotations

import random

import pytest
from route_cases import reference, request, table

from meshcore.routing import RouteTable


@pytest.mark.parametrize("seed", range(8))
def test_first_match_in_order(seed: int) -> None:
    rng = random.Random(seed)
    met = 0
    for _ in range(40):
        config = table(rng, routes=rng.choice((5, 20, 80)))
        compiled = RouteTable(config)
        for _ in range(40):
            headers = [*request(rng), ("x-forwarded-proto", rng.choice(("http", "https")))]
            draw = rng.getrandbits(64)
            route = compiled.match(headers, draw)
            got = None if route is None else route.name or "tls"
            assert got == reference(config, headers, draw), (config, headers, draw)
            met += got is not None
    assert met > 200
