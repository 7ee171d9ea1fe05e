from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Never, TypeAlias, final

from typing_extensions import disjoint_base

__all__ = ["DirectResponse", "HashPolicy", "RetryPolicy", "Route", "RouteTable", "VirtualHost"]

_Text: TypeAlias = str | bytes
_Headers: TypeAlias = Iterable[tuple[_Text, _Text]] | Mapping[str, str]
_Address: TypeAlias = str | tuple[str, int]

class DirectResponse(NamedTuple):
    status: int
    body: bytes

class RetryPolicy(NamedTuple):
    retry_on: str
    num_retries: int
    per_try_timeout_ms: int
    per_try_idle_timeout_ms: int
    base_interval_ms: int
    max_interval_ms: int
    retriable_status_codes: tuple[int, ...]
    host_selection_retry_max_attempts: int

class VirtualHost(NamedTuple):
    name: str
    require_tls: str
    include_request_attempt_count: bool
    include_attempt_count_in_response: bool
    include_is_timeout_retry_header: bool

@disjoint_base
class RouteTable:
    def __init__(self, config: bytes) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def clusters(self) -> tuple[str, ...]: ...
    def match(self, headers: _Headers, random_value: int = 0) -> Route | None: ...

@final
class Route:
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    @property
    def cluster(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def virtual_host(self) -> VirtualHost: ...
    @property
    def include_attempt_count_in_request(self) -> bool: ...
    @property
    def include_attempt_count_in_response(self) -> bool: ...
    @property
    def include_is_timeout_retry_header(self) -> bool: ...
    @property
    def cluster_header(self) -> str: ...
    @property
    def cluster_not_found_response_code(self) -> int: ...
    @property
    def timeout_ms(self) -> int: ...
    @property
    def idle_timeout_ms(self) -> int | None: ...
    @property
    def max_stream_duration_ms(self) -> int | None: ...
    @property
    def priority(self) -> str: ...
    @property
    def auto_host_rewrite(self) -> bool: ...
    @property
    def append_x_forwarded_host(self) -> bool: ...
    @property
    def retry_policy(self) -> RetryPolicy | None: ...
    @property
    def hash_policy(self) -> HashPolicy | None: ...
    @property
    def upgrade_map(self) -> dict[str, bool]: ...
    @property
    def direct_response(self) -> DirectResponse | None: ...
    @property
    def response_code(self) -> int | None: ...
    def redirect(self, headers: _Headers) -> str | None: ...
    def finalize_request(
        self,
        headers: _Headers,
        *,
        context: Mapping[str, Any] | None = None,
        suppress_envoy_headers: bool = False,
    ) -> list[tuple[str, str]]: ...
    def finalize_response(
        self,
        headers: _Headers,
        request_headers: _Headers | None = None,
        *,
        context: Mapping[str, Any] | None = None,
    ) -> list[tuple[str, str]]: ...

@final
class HashPolicy:
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    def generate_hash(
        self,
        headers: _Headers,
        *,
        remote_address: _Address | None = None,
        local_address: _Address | None = None,
        set_cookies: list[str] | None = None,
    ) -> int | None: ...
