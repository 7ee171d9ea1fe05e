"""re2.max_program_size.error_level (RT-8): a gateway's limit for expressions that name none."""

from __future__ import annotations

from typing import Any

import pytest

from meshcore import ConfigError, Gateway
from meshcore.config import load

HTTP = "type.googleapis.com/envoy.extensions.filters"
LARGE = {"regex": "(aaaa){50}"}  # a program of about 200 steps


def bootstrap(regex: dict[str, Any], **runtime: Any) -> dict[str, Any]:
    router = {"@type": f"{HTTP}.http.router.v3.Router"}
    route = {"match": {"safe_regex": regex}, "direct_response": {"status": 200}}
    manager = {
        "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "a",
        "http_filters": [{"name": "router", "typed_config": router}],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    layer = {"name": "static", "static_layer": runtime}
    return {
        "static_resources": {"listeners": [listener]},
        "layered_runtime": {"layers": [layer]},
    }


@pytest.mark.parametrize(
    ("regex", "runtime", "accepted"),
    [
        (LARGE, {}, False),
        (LARGE, {"re2.max_program_size.error_level": 1000}, True),
        (LARGE, {"re2": {"max_program_size": {"error_level": 1000}}}, True),
        (LARGE, {"re2.max_program_size.error_level": "no number"}, False),
        ({"regex": "a+"}, {"re2.max_program_size.error_level": 0}, False),
        (
            {**LARGE, "google_re2": {"max_program_size": 150}},
            {"re2.max_program_size.error_level": 1000},
            False,
        ),
        ({"regex": "a+", "google_re2": {}}, {"re2.max_program_size.error_level": 1}, False),
        (
            {"regex": "a+", "google_re2": {"max_program_size": 50}},
            {"re2.max_program_size.error_level": 1},
            True,
        ),
    ],
)
def test_the_limit_of_the_runtime(
    regex: dict[str, Any], runtime: dict[str, Any], accepted: bool
) -> None:
    config = load(bootstrap(regex, **runtime))
    if accepted:
        Gateway(config, workers=0)
        return
    with pytest.raises(ConfigError) as caught:
        Gateway(config, workers=0)
    assert "program of size" in caught.value.reason
