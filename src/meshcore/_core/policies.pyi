from typing import Any, NamedTuple, Never, final

from meshcore._core.match import HeaderMatcher

__all__ = [
    "CorsPolicy",
    "Decorator",
    "Fraction",
    "HedgePolicy",
    "InternalRedirectPolicy",
    "Metadata",
    "RedirectPredicate",
    "ResetHeader",
    "RetryPolicy",
    "ShadowPolicy",
    "Tracing",
]

class Fraction(NamedTuple):
    numerator: int
    denominator: int
    runtime_key: str

class ResetHeader(NamedTuple):
    name: str
    format: str

class RetryPolicy(NamedTuple):
    retry_on: str
    num_retries: int
    per_try_timeout_ms: int
    per_try_idle_timeout_ms: int
    base_interval_ms: int
    max_interval_ms: int
    retriable_status_codes: tuple[int, ...]
    retriable_headers: tuple[HeaderMatcher, ...]
    retriable_request_headers: tuple[HeaderMatcher, ...]
    reset_headers: tuple[ResetHeader, ...]
    reset_max_interval_ms: int
    host_selection_retry_max_attempts: int
    avoid_previous_hosts: bool
    omit_canary_hosts: bool
    previous_priorities_update_frequency: int | None

class HedgePolicy(NamedTuple):
    initial_requests: int
    additional_request_chance: Fraction
    hedge_on_per_try_timeout: bool

class ShadowPolicy(NamedTuple):
    cluster: str
    cluster_header: str
    runtime_key: str
    default_value: Fraction
    trace_sampled: bool | None
    disable_shadow_host_suffix_append: bool
    host_rewrite_literal: str

class RedirectPredicate(NamedTuple):
    name: str
    allowed_route_names: tuple[str, ...]

class InternalRedirectPolicy(NamedTuple):
    enabled: bool
    max_internal_redirects: int
    redirect_response_codes: tuple[int, ...]
    is_cross_scheme_redirect_allowed: bool
    response_headers_to_copy: tuple[str, ...]
    predicates: tuple[RedirectPredicate, ...]

class Tracing(NamedTuple):
    client_sampling: Fraction
    random_sampling: Fraction
    overall_sampling: Fraction

class Decorator(NamedTuple):
    operation: str
    propagate: bool

class Metadata(dict[str, Any]):
    @property
    def filter_metadata(self) -> Metadata: ...

@final
class CorsPolicy:
    def __new__(cls, *args: Never, **kwargs: Never) -> CorsPolicy: ...
    def allows(self, origin: str | bytes) -> bool: ...
    @property
    def allow_methods(self) -> str: ...
    @property
    def allow_headers(self) -> str: ...
    @property
    def expose_headers(self) -> str: ...
    @property
    def max_age(self) -> str: ...
    @property
    def allow_credentials(self) -> bool | None: ...
    @property
    def allow_private_network_access(self) -> bool | None: ...
    @property
    def forward_not_matching_preflights(self) -> bool | None: ...
    @property
    def filter_enabled(self) -> Fraction | None: ...
    @property
    def shadow_enabled(self) -> Fraction | None: ...
