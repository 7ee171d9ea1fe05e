from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from typing_extensions import disjoint_base

__all__ = [
    "HeaderMatcher",
    "MetadataMatcher",
    "PathMatcher",
    "QueryParameterMatcher",
    "StringMatcher",
]

_Text: TypeAlias = str | bytes
_Headers: TypeAlias = Iterable[tuple[_Text, _Text]] | Mapping[str, str]

@disjoint_base
class Matcher:
    def __init__(self, config: bytes) -> None: ...
    def matches(self, value: Any) -> bool: ...

@disjoint_base
class HeaderMatcher(Matcher):
    @property
    def name(self) -> str: ...
    def match(self, headers: _Headers) -> bool: ...

@disjoint_base
class StringMatcher(Matcher):
    def match(self, value: _Text) -> bool: ...

@disjoint_base
class PathMatcher(Matcher):
    def match(self, path: _Text) -> bool: ...

@disjoint_base
class QueryParameterMatcher(Matcher):
    @property
    def name(self) -> str: ...
    def match(self, query: _Text | Mapping[str, Any] | Iterable[tuple[_Text, _Text]]) -> bool: ...

@disjoint_base
class MetadataMatcher(Matcher):
    def match(self, metadata: Mapping[str, Any]) -> bool: ...
