"""Envoy's data plane as a Python library.

Importing this package costs next to nothing: each public name brings its module in when it is first
asked for (PEP 562), and nothing optional is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module

from meshcore._version import __version__
from meshcore.errors import ConfigError, MeshcoreError, ProtocolError

TYPE_CHECKING = False  # typing would be the dearest import here

if TYPE_CHECKING:
    from typing import Any

    from meshcore import http as http
    from meshcore import stats as stats
    from meshcore._core.base import BackOff as BackOff
    from meshcore._core.base import TokenBucket as TokenBucket
    from meshcore._core.base import murmur64 as murmur64
    from meshcore._core.base import xxh64 as xxh64
    from meshcore._core.format import Formatter as Formatter
    from meshcore._core.lb import EdfScheduler as EdfScheduler
    from meshcore._core.lb import Maglev as Maglev
    from meshcore._core.lb import RingHash as RingHash
    from meshcore.balancing import LoadBalancer as LoadBalancer
    from meshcore.balancing import priority_load as priority_load
    from meshcore.cluster import ClusterManager as ClusterManager
    from meshcore.filters import Request as Request
    from meshcore.filters import Response as Response
    from meshcore.filters import http_filter as http_filter
    from meshcore.gateway import Gateway as Gateway
    from meshcore.matchers import HeaderMatcher as HeaderMatcher
    from meshcore.matchers import MetadataMatcher as MetadataMatcher
    from meshcore.matchers import PathMatcher as PathMatcher
    from meshcore.matchers import QueryParameterMatcher as QueryParameterMatcher
    from meshcore.matchers import StringMatcher as StringMatcher

_HOMES = {
    "BackOff": "meshcore._core.base",
    "ClusterManager": "meshcore.cluster",
    "EdfScheduler": "meshcore._core.lb",
    "Formatter": "meshcore._core.format",
    "Gateway": "meshcore.gateway",
    "HeaderMatcher": "meshcore.matchers",
    "LoadBalancer": "meshcore.balancing",
    "Maglev": "meshcore._core.lb",
    "MetadataMatcher": "meshcore.matchers",
    "PathMatcher": "meshcore.matchers",
    "QueryParameterMatcher": "meshcore.matchers",
    "Request": "meshcore.filters",
    "Response": "meshcore.filters",
    "RingHash": "meshcore._core.lb",
    "Route": "meshcore.routing",
    "RouteTable": "meshcore.routing",
    "StringMatcher": "meshcore.matchers",
    "TokenBucket": "meshcore._core.base",
    "http_filter": "meshcore.filters",
    "murmur64": "meshcore._core.base",
    "priority_load": "meshcore.balancing",
    "xxh64": "meshcore._core.base",
}
_MODULES = ("http", "http1", "stats")

__all__ = [
    "ConfigError",
    "MeshcoreError",
    "ProtocolError",
    "__version__",
    *_HOMES,
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"meshcore.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'meshcore' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
