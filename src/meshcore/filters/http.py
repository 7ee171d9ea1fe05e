"""Python HTTP filters.

A filter is a class or a function registered under a name; a listener's ``http_filters`` names it::

    @meshcore.http_filter("tenant")
    class Tenant:
        def __init__(self, header: str = "x-tenant"):
            self.header = header

        def on_request_headers(self, request):
            if self.header not in request.headers:
                return meshcore.Response(401, body="who are you?")

    http_filters:
    - name: tenant
      typed_config:
        "@type": type.googleapis.com/google.protobuf.Struct
        value: {header: x-customer}

``on_request_headers(request)`` runs before the request is routed on, ``on_response_headers(request,
response_headers)`` before the response leaves. A plain method runs on the worker's thread, which
serves nobody else meanwhile: keep it short and never block. An ``async def`` stops only its own
request and runs on the gateway's control loop. Returning a :class:`Response` (or a status number)
answers the request at once, in place of the response that ``on_response_headers`` sees. A method
that raises, or is cancelled, answers 500: a filter that fails lets nothing pass.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

from meshcore.http import is_valid_header_name

__all__ = ["Headers", "Request", "Response", "http_filter", "registered"]

T = TypeVar("T", bound=Callable[..., Any])


class Headers(MutableMapping[str, str]):
    """Header fields in order; names are lower-case, repeated names stay separate entries.

    Looking up a name gives its first value; assigning replaces all of its values. Pseudo-headers
    (``:method``, ``:path``, ``:authority``, ``:scheme``, ``:status``) are entries like others.
    Changes are noted and reach the message when the filter's method ends.
    """

    __slots__ = ("_items", "changes")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items = list(items)
        self.changes: list[tuple[str, str, str | None]] = []

    def __getitem__(self, name: str) -> str:
        name = name.lower()
        for key, value in self._items:
            if key == name:
                return value
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None:
        name, value = _checked(name, value)
        for index, (key, _) in enumerate(self._items):
            if key == name:
                self._items[index] = (name, value)
                self._items[index + 1 :] = [i for i in self._items[index + 1 :] if i[0] != name]
                break
        else:
            self._items.append((name, value))
        self.changes.append(("set", name, value))

    def __delitem__(self, name: str) -> None:
        name = name.lower()
        kept = [item for item in self._items if item[0] != name]
        if len(kept) == len(self._items):
            raise KeyError(name)
        self._items = kept
        self.changes.append(("remove", name, None))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._items))

    def __len__(self) -> int:
        return len({name for name, _ in self._items})

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"

    def add(self, name: str, value: str) -> None:
        """Append another entry of this name."""
        name, value = _checked(name, value)
        self._items.append((name, value))
        self.changes.append(("add", name, value))

    def get_all(self, name: str) -> list[str]:
        """Every value of a name, in order."""
        name = name.lower()
        return [value for key, value in self._items if key == name]

    def entries(self) -> list[tuple[str, str]]:
        """Every entry, in order."""
        return list(self._items)

    def items(self) -> ItemsView[str, str]:
        """Every entry, in order: repeated names too."""
        return _Entries(self)


class _Entries(ItemsView[str, str]):
    _mapping: Headers

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._mapping.entries())

    def __len__(self) -> int:
        return len(self._mapping.entries())


def _checked(name: str, value: str) -> tuple[str, str]:
    """What goes on the wire must not smuggle a second line (RFC 9110, section 5.5)."""
    for text in (name, value):
        if not isinstance(text, str):
            raise TypeError(f"a header's name and value must be str, not {type(text).__name__}")
    name = name.lower()
    if not is_valid_header_name(name.removeprefix(":")):
        raise ValueError(f"not a header name: {name!r}")
    if any(c in value for c in "\r\n\0"):
        raise ValueError(f"a header value must be one line: {value!r}")
    if not value.isascii() and max(value) > "\xff":
        raise ValueError(f"a header value must be of Latin-1 characters: {value!r}")
    return name, value


class Response:
    """An answer of the gateway's own: `status` (200 to 599), `headers` as pairs or mapping, `body`.

    A body that is str goes out as UTF-8, and is bytes here. ValueError for a status out of range
    and for a header that HTTP does not allow.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        status: int = 200,
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        body: str | bytes = b"",
    ) -> None:
        self.status = operator.index(status)
        if not 200 <= self.status <= 599:
            raise ValueError(f"status must be between 200 and 599, not {status}")
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self.headers = [_checked(name, value) for name, value in pairs]
        self.body = body.encode() if isinstance(body, str) else bytes(memoryview(body))


class Request:
    """A request as a filter sees it; it belongs to the filter until its method ends.

    `headers` may be changed; `remote_address` is the client's IP address, as the connection manager
    found it; `response`, the headers of the response, is None until there is one.
    """

    __slots__ = ("headers", "remote_address", "response", "route_cleared")

    def __init__(self, headers: list[tuple[str, str]], remote_address: str) -> None:
        self.headers = Headers(headers)
        self.remote_address = remote_address
        self.response: Headers | None = None
        self.route_cleared = False

    @property
    def method(self) -> str:
        """The method, such as GET."""
        return self.headers.get(":method", "")

    @property
    def path(self) -> str:
        """Path and query, as they will be routed."""
        return self.headers.get(":path", "")

    @property
    def authority(self) -> str:
        """The host, with its port if it was sent."""
        return self.headers.get(":authority", "")

    @property
    def scheme(self) -> str:
        """The scheme: http or https."""
        return self.headers.get(":scheme", "")

    def clear_route_cache(self) -> None:
        """Choose the route again, by the headers as this filter leaves them."""
        self.route_cleared = True


_registry: dict[str, Callable[..., Any]] = {}


def http_filter(name: str) -> Callable[[T], T]:
    """Register a class or function as the HTTP filter ``name``.

    A class is made once for each place in a configuration that names it, with the entry's
    ``typed_config`` as keyword arguments. A function stands for its ``on_request_headers``. A name
    that is registered again stands for the later one, in gateways made from then on.
    """
    if not isinstance(name, str):
        raise TypeError(f'a filter\'s name must be str, not {name!r}: @http_filter("name")')
    if not name:
        raise ValueError("a filter needs a name")

    def register(target: T) -> T:
        if not callable(target):
            raise TypeError(f"a filter must be a class or a function, not {target!r}")
        _registry[name] = target
        return target

    return register


def registered(name: str) -> Callable[..., Any] | None:
    """What was registered under a name."""
    return _registry.get(name)


def methods(target: Callable[..., Any], config: dict[str, Any]) -> tuple[Any, Any]:
    """``(on_request_headers, on_response_headers)`` of a filter made with a configuration."""
    if not inspect.isclass(target):
        if config:
            raise TypeError("a function filter takes no configuration")
        return target, None
    made = target(**config)
    on_request = getattr(made, "on_request_headers", None)
    on_response = getattr(made, "on_response_headers", None)
    if on_request is None and on_response is None:
        raise TypeError(f"{target.__name__} has neither on_request_headers nor on_response_headers")
    return on_request, on_response
