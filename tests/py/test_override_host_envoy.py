"""Hosts that a request names itself, by header or session, beside real Envoy: below and above
subsets, and through aggregates."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any

import peers
from test_lb_gateway import V3, Origin, bootstrap, endpoint, route

POLICIES = f"{V3}.load_balancing_policies."
AGGREGATE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"


def policy(kind: str, **config: Any) -> dict[str, Any]:
    typed = {"@type": POLICIES + kind, **config}
    return {"policies": [{"typed_extension_config": {"name": "p", "typed_config": typed}}]}


MAGLEV = policy("maglev.v3.Maglev")


def named_by_header(otherwise: dict[str, Any]) -> dict[str, Any]:
    sources = [{"header": "x-host"}]
    return policy(
        "override_host.v3.OverrideHost", override_host_sources=sources, fallback_policy=otherwise
    )


def subsets(inner: dict[str, Any]) -> dict[str, Any]:
    return policy(
        "subset.v3.Subset",
        subset_selectors=[{"keys": ["k"]}],
        fallback_policy="ANY_ENDPOINT",
        subset_lb_policy=inner,
    )


def configuration(port: int) -> str:
    def cluster(name: str, lb: dict[str, Any]) -> dict[str, Any]:
        hosts = [endpoint(n, port, k="a" if n < 4 else "b") for n in range(1, 7)]
        hosts[2]["health_status"] = "UNHEALTHY"
        assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}
        return {
            "name": name,
            "connect_timeout": "5s",
            "load_assignment": assignment,
            "load_balancing_policy": lb,
        }

    def aggregate(name: str, *members: str) -> dict[str, Any]:
        typed = {"@type": AGGREGATE, "clusters": members}
        return {
            "name": name,
            "connect_timeout": "5s",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": typed},
        }

    clusters = [
        cluster("inside", subsets(named_by_header(MAGLEV))),
        cluster("outside", named_by_header(subsets(MAGLEV))),
        cluster("plain", named_by_header(MAGLEV)),
        cluster("other", MAGLEV),
        aggregate("both", "other", "plain"),
        aggregate("one", "plain"),
    ]
    routes = []
    for name in ("inside", "outside", "plain", "both", "one"):
        for wanted in ("a", "b", "none", ""):
            metadata = {"filter_metadata": {"envoy.lb": {"k": wanted}}}
            each = route(f"/{name}/{wanted or 'any'}/", hash_policy=BY_KEY)
            each["route"]["cluster"] = name
            each["route"] |= {"metadata_match": metadata} if wanted else {}
            routes.append(each)
    config = bootstrap([], routes, {})
    config["static_resources"]["clusters"] = clusters
    listener = config["static_resources"]["listeners"][0]
    listener["address"]["socket_address"]["port_value"] = "$port"
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"][:0] = [session("loose", strict=False)]
    return json.dumps(config).replace('"$port"', "$port")


BY_KEY = [{"header": {"header_name": "x-key"}}]


def session(name: str, *, strict: bool) -> dict[str, Any]:
    state = {
        "@type": f"{V3}.http.stateful_session.header.v3.HeaderBasedSessionState",
        "name": "x-session",
    }
    return {
        "name": name,
        "typed_config": {
            "@type": f"{V3}.filters.http.stateful_session.v3.StatefulSession",
            "strict": strict,
            "session_state": {
                "name": "envoy.http.stateful_session.header",
                "typed_config": state,
            },
        },
    }


def requests(port: int) -> Iterator[tuple[str, dict[str, str]]]:
    for name in ("inside", "outside", "plain", "both", "one"):
        for wanted in ("a", "b", "none", "any"):
            path = f"/{name}/{wanted}/"
            yield path, {"x-key": "q"}
            for number in (1, 2, 3, 5, 9):  # the third is unhealthy, the ninth is nobody
                address = f"127.0.0.{number}:{port}"
                yield path, {"x-key": "q", "x-host": address}
                yield path, {"x-key": "q", "x-session": base64.b64encode(address.encode()).decode()}


def served(server: peers.Server, origin: int) -> list[tuple[int, str]]:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    found = []
    for path, headers in requests(origin):
        client.request("GET", path, headers=headers)
        response = client.getresponse()
        body = response.read().decode()
        found.append((response.status, body))
    client.close()
    return found


def test_requests_that_name_their_host() -> None:
    with Origin() as origin:
        asked = list(requests(origin.port))
        for strict in ("false", "true"):
            text = configuration(origin.port).replace('"strict": false', f'"strict": {strict}')
            with peers.meshcore(text) as ours:
                mine = served(ours, origin.port)
            with peers.envoy(text) as theirs:
                other = served(theirs, origin.port)
            differing = [
                (strict, *one, a, b) for one, a, b in zip(asked, mine, other, strict=True) if a != b
            ]
            assert not differing
