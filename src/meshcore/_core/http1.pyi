from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, final, overload

__all__ = [
    "Request",
    "RequestParser",
    "Response",
    "ResponseParser",
    "encode_chunk",
    "encode_last_chunk",
    "encode_request",
    "encode_response",
]

_T = TypeVar("_T")
_Text: TypeAlias = bytes | str
_Data: TypeAlias = bytes | bytearray | memoryview
_Headers: TypeAlias = Iterable[tuple[_Text, _Text]] | Mapping[_Text, _Text] | Mapping[str, str]
_Event: TypeAlias = tuple[str, Any]

class _Message:
    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def trailers(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def version(self) -> bytes: ...
    @property
    def keep_alive(self) -> bool: ...
    @property
    def chunked(self) -> bool: ...
    @property
    def content_length(self) -> int | None: ...
    @property
    def upgrade(self) -> bool: ...
    @property
    def complete(self) -> bool: ...
    @property
    def body(self) -> bytes: ...
    def read(self) -> bytes: ...
    @overload
    def get(self, name: _Text) -> bytes | None: ...
    @overload
    def get(self, name: _Text, default: _T) -> bytes | _T: ...

@final
class Request(_Message):
    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def expect_continue(self) -> bool: ...

@final
class Response(_Message):
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> bytes: ...

class _Parser:
    def feed(self, data: _Data) -> list[_Event]: ...
    def eof(self) -> list[_Event]: ...
    @property
    def idle(self) -> bool: ...
    @property
    def trailing(self) -> bytes: ...

@final
class RequestParser(_Parser):
    def __init__(
        self,
        *,
        max_headers_count: int = 100,
        max_headers_bytes: int = 61440,
        accept_http_10: bool = True,
        allow_absolute_url: bool = True,
        allow_chunked_length: bool = False,
        allow_custom_methods: bool = False,
        enable_trailers: bool = True,
        underscores: str = "allow",
    ) -> None: ...
    def messages(self, data: _Data) -> list[Request]: ...
    def refuse_upgrade(self) -> list[Any]: ...

@final
class ResponseParser(_Parser):
    def __init__(
        self,
        *,
        max_headers_count: int = 100,
        max_headers_bytes: int = 81920,
        allow_chunked_length: bool = False,
        enable_trailers: bool = True,
    ) -> None: ...
    def messages(self, data: _Data) -> list[Response]: ...
    def expect(self, method: _Text) -> None: ...

def encode_request(
    method: _Text,
    target: _Text,
    headers: _Headers = (),
    body: _Data | str | None = None,
    *,
    end_stream: bool = True,
) -> bytes: ...
def encode_response(
    status: int,
    headers: _Headers = (),
    body: _Data | str | None = None,
    *,
    end_stream: bool = True,
    request_method: _Text = b"GET",
    http_10: bool = False,
    upgrade: bool = False,
) -> bytes: ...
def encode_chunk(data: _Data | str) -> bytes: ...
def encode_last_chunk(trailers: _Headers = ()) -> bytes: ...
