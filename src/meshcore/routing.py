"""Envoy's route matching as an object: a RouteConfiguration, compiled once, matched often.

table = RouteTable(Path("routes.yaml"))
route = table.match([(":authority", "shop.example"), (":path", "/cart/7"), (":method", "GET")])
if route is not None:
    print(route.cluster)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meshcore._core import route as _route
from meshcore._core.route import DirectResponse, HashPolicy, RetryPolicy, Route, VirtualHost
from meshcore.config import load

if TYPE_CHECKING:
    import os

    from google.protobuf.message import Message

    from meshcore.config import Config

__all__ = ["DirectResponse", "HashPolicy", "RetryPolicy", "Route", "RouteTable", "VirtualHost"]

_TYPE = "envoy.config.route.v3.RouteConfiguration"


class RouteTable(_route.RouteTable):
    """A compiled RouteConfiguration.

    `config` is a dict, YAML or JSON text, a path object, or a RouteConfiguration message. A field
    that is wrong or not supported raises ConfigError, whose ``path`` names it. The table is
    immutable and safe to share between threads; matching takes the time that the request's path is
    long, however many routes there are.
    """

    def __init__(
        self, config: Config | Mapping[str, Any] | Message | str | os.PathLike[str]
    ) -> None:
        super().__init__(load(config, type=_TYPE).to_core())
