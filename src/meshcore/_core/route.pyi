from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Never, TypeAlias, final

from typing_extensions import disjoint_base

from meshcore._core.policies import (
    CorsPolicy,
    Decorator,
    HedgePolicy,
    InternalRedirectPolicy,
    Metadata,
    RetryPolicy,
    ShadowPolicy,
    Tracing,
)

__all__ = [
    "ConnectConfig",
    "DirectResponse",
    "HashPolicy",
    "RateLimitDescriptor",
    "Route",
    "RouteTable",
    "UpgradeMap",
    "VirtualHost",
]

_Text: TypeAlias = str | bytes
_Headers: TypeAlias = Iterable[tuple[_Text, _Text]] | Mapping[str, str]
_Address: TypeAlias = str | tuple[str, int]

class ConnectConfig(NamedTuple):
    allow_post: bool

class UpgradeMap(dict[str, bool]):
    def __getitem__(self, kind: str) -> bool: ...
    def __contains__(self, kind: object) -> bool: ...
    def get(self, kind: str, default: Any = None) -> Any: ...

class DirectResponse(NamedTuple):
    status: int
    body: bytes

class RateLimitDescriptor(NamedTuple):
    entries: list[tuple[str, str]]
    limit: tuple[int, str] | None
    hits_addend: int | None

class VirtualHost(NamedTuple):
    name: str
    require_tls: str
    include_request_attempt_count: bool
    include_attempt_count_in_response: bool
    include_is_timeout_retry_header: bool
    metadata: Metadata
    cors_policy: CorsPolicy | None

@disjoint_base
class RouteTable:
    def __init__(self, config: bytes) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def clusters(self) -> tuple[str, ...]: ...
    def match(
        self,
        headers: _Headers,
        random_value: int = 0,
        context: Mapping[str, Any] | None = None,
        runtime: Mapping[str, Any] | None = None,
    ) -> Route | None: ...

@final
class Route:
    def __new__(cls, *args: Never, **kwargs: Never) -> Route: ...
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
    def hedge_policy(self) -> HedgePolicy | None: ...
    @property
    def shadow_policies(self) -> tuple[ShadowPolicy, ...]: ...
    @property
    def internal_redirect_policy(self) -> InternalRedirectPolicy | None: ...
    @property
    def cors_policy(self) -> CorsPolicy | None: ...
    @property
    def metadata(self) -> Metadata: ...
    @property
    def metadata_match_criteria(self) -> dict[str, Any] | None: ...
    @property
    def typed_per_filter_config(self) -> dict[str, dict[str, Any]]: ...
    @property
    def virtual_cluster(self) -> str | None: ...
    @property
    def request_body_buffer_limit(self) -> int | None: ...
    @property
    def flush_timeout_ms(self) -> int | None: ...
    @property
    def grpc_timeout_header_max_ms(self) -> int | None: ...
    @property
    def grpc_timeout_header_offset_ms(self) -> int | None: ...
    @property
    def max_grpc_timeout_ms(self) -> int | None: ...
    @property
    def grpc_timeout_offset_ms(self) -> int | None: ...
    @property
    def tracing(self) -> Tracing | None: ...
    @property
    def decorator(self) -> Decorator | None: ...
    @property
    def stat_prefix(self) -> str: ...
    @property
    def include_virtual_host_rate_limits(self) -> bool: ...
    def rate_limit_descriptors(
        self,
        headers: _Headers,
        *,
        stage: int = 0,
        local_cluster: str = "",
        context: Mapping[str, Any] | None = None,
        apply_on_stream_done: bool = False,
        vh_rate_limits: str = "OVERRIDE",
    ) -> list[RateLimitDescriptor]: ...
    @property
    def upgrade_map(self) -> UpgradeMap: ...
    @property
    def connect_config(self) -> ConnectConfig | None: ...
    @property
    def using_new_timeouts(self) -> bool: ...
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
    def __new__(cls, *args: Never, **kwargs: Never) -> HashPolicy: ...
    def generate_hash(
        self,
        headers: _Headers,
        remote_address: _Address | None = None,
        local_address: _Address | None = None,
        *,
        set_cookies: list[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> int | None: ...
