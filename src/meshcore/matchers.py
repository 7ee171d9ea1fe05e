"""Envoy's matchers as objects, to be used wherever a condition is configured.

For example:

    beta = HeaderMatcher({"name": "x-beta", "string_match": {"safe_regex": {"regex": "v[0-9]+"}}})
    beta.match([("x-beta", "v7")])  # True

Each takes the message of its name as a dict, YAML or JSON text, a path object, or a message, or its
fields by name (``StringMatcher(exact="a")``), and raises ConfigError for one that is wrong. They
are immutable and may be shared between threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from meshcore._core import match as _match
from meshcore.config import load

if TYPE_CHECKING:
    import os

    from google.protobuf.message import Message

    Source: TypeAlias = Mapping[str, Any] | Message | str | os.PathLike[str]

__all__ = [
    "HeaderMatcher",
    "MetadataMatcher",
    "PathMatcher",
    "QueryParameterMatcher",
    "StringMatcher",
]


def _compact(source: Source | None, fields: Mapping[str, Any], kind: str) -> bytes:
    if source is not None and fields:
        raise TypeError("a matcher takes its message or its fields, not both")
    return load(fields if source is None else source, type=kind, check_support=False).to_core()


class HeaderMatcher(_match.HeaderMatcher):
    """A condition on headers: ``envoy.config.route.v3.HeaderMatcher``."""

    def __init__(self, config: Source | None = None, **fields: Any) -> None:
        super().__init__(_compact(config, fields, "envoy.config.route.v3.HeaderMatcher"))


class StringMatcher(_match.StringMatcher):
    """A condition on a text: ``envoy.type.matcher.v3.StringMatcher``."""

    def __init__(self, config: Source | None = None, **fields: Any) -> None:
        super().__init__(_compact(config, fields, "envoy.type.matcher.v3.StringMatcher"))


class PathMatcher(_match.PathMatcher):
    """A condition on a path without its query: ``envoy.type.matcher.v3.PathMatcher``."""

    def __init__(self, config: Source | None = None, **fields: Any) -> None:
        super().__init__(_compact(config, fields, "envoy.type.matcher.v3.PathMatcher"))


class QueryParameterMatcher(_match.QueryParameterMatcher):
    """A condition on a query: ``envoy.config.route.v3.QueryParameterMatcher``."""

    def __init__(self, config: Source | None = None, **fields: Any) -> None:
        super().__init__(_compact(config, fields, "envoy.config.route.v3.QueryParameterMatcher"))


class MetadataMatcher(_match.MetadataMatcher):
    """A condition on metadata: ``envoy.type.matcher.v3.MetadataMatcher``."""

    def __init__(self, config: Source | None = None, **fields: Any) -> None:
        super().__init__(_compact(config, fields, "envoy.type.matcher.v3.MetadataMatcher"))
