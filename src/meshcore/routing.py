"""Envoy's route matching as an object: a RouteConfiguration, compiled once, matched often.

For example:

    table = RouteTable(Path("routes.yaml"))
    route = table.match([(":authority", "shop.example"), (":path", "/cart/7"), (":method", "GET")])

It needs no gateway: any server may ask it where a request goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meshcore._core import route as _route
from meshcore._core.policies import (
    CorsPolicy,
    Decorator,
    Fraction,
    HedgePolicy,
    InternalRedirectPolicy,
    Metadata,
    RedirectPredicate,
    ResetHeader,
    RetryPolicy,
    ShadowPolicy,
    Tracing,
)
from meshcore._core.route import (
    ConnectConfig,
    DirectResponse,
    HashPolicy,
    RateLimitDescriptor,
    Route,
    UpgradeMap,
    VirtualHost,
)
from meshcore.config import load

if TYPE_CHECKING:
    import os

    from google.protobuf.message import Message

    from meshcore.config import Config

__all__ = [
    "ConnectConfig",
    "CorsPolicy",
    "Decorator",
    "DirectResponse",
    "Fraction",
    "HashPolicy",
    "HedgePolicy",
    "InternalRedirectPolicy",
    "Metadata",
    "RateLimitDescriptor",
    "RedirectPredicate",
    "ResetHeader",
    "RetryPolicy",
    "Route",
    "RouteTable",
    "ShadowPolicy",
    "Tracing",
    "UpgradeMap",
    "VirtualHost",
]

_TYPE = "envoy.config.route.v3.RouteConfiguration"


class RouteTable(_route.RouteTable):
    """A compiled RouteConfiguration.

    `config` is a dict, YAML or JSON text, a path object, or a RouteConfiguration message. A field
    that is wrong raises ConfigError, whose ``path`` names it; so does a matcher or rewrite that is
    not supported. What decides nothing here (filters' own configuration, rate limits, tracing) is
    left alone. The table is immutable and safe to share between threads, and its size does not
    tell in the time that matching takes.
    """

    def __init__(
        self, config: Config | Mapping[str, Any] | Message | str | os.PathLike[str]
    ) -> None:
        # The core refuses by itself what would change its decisions and is not supported; the
        # rest, such as filters' own configuration, is none of a table's business.
        super().__init__(load(config, type=_TYPE, check_support=False).to_core())
