"""What routes carry, as Python values: see csrc/route/route.h for what they mean."""

cimport cython
from libc.stdint cimport int8_t, uint32_t

from meshcore._core.cbase cimport (
    MC_BOOL,
    MC_LIST,
    MC_NUMBER,
    MC_OBJECT,
    MC_STRING,
    bytes_slice,
    mc_fraction,
    mc_slice,
    slice_str,
)
from meshcore._core.match cimport HeaderMatcher
from meshcore._core.route cimport (
    MC_REDIRECT_ALLOW_LISTED_ROUTES,
    MC_REDIRECT_PREVIOUS_ROUTES,
    mc_cors_origin_allowed,
    mc_header_matchers,
    mc_redirect_predicate,
)

from collections import namedtuple

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

Fraction = namedtuple("Fraction", "numerator denominator runtime_key")
ResetHeader = namedtuple("ResetHeader", "name format")
RetryPolicy = namedtuple(
    "RetryPolicy",
    "retry_on num_retries per_try_timeout_ms per_try_idle_timeout_ms base_interval_ms "
    "max_interval_ms retriable_status_codes retriable_headers retriable_request_headers "
    "reset_headers reset_max_interval_ms host_selection_retry_max_attempts "
    "avoid_previous_hosts omit_canary_hosts previous_priorities_update_frequency",
)
HedgePolicy = namedtuple(
    "HedgePolicy", "initial_requests additional_request_chance hedge_on_per_try_timeout"
)
ShadowPolicy = namedtuple(
    "ShadowPolicy",
    "cluster cluster_header runtime_key default_value trace_sampled "
    "disable_shadow_host_suffix_append host_rewrite_literal",
)
RedirectPredicate = namedtuple("RedirectPredicate", "name allowed_route_names")
InternalRedirectPolicy = namedtuple(
    "InternalRedirectPolicy",
    "enabled max_internal_redirects redirect_response_codes is_cross_scheme_redirect_allowed "
    "response_headers_to_copy predicates",
)
Tracing = namedtuple("Tracing", "client_sampling random_sampling overall_sampling")
Decorator = namedtuple("Decorator", "operation propagate")
Fraction.__doc__ = "A share of requests, unless the runtime says another under `runtime_key`."
ResetHeader.__doc__ = """A response header that says when to try again.

`format` is "SECONDS" or "UNIX_TIMESTAMP"."""
RetryPolicy.__doc__ = """When a request is tried again, and how long after.

`retry_on` is the text of the configuration. Of the times, in milliseconds, 0 is none; the
intervals are those in effect, 25 and ten times the first unless configured."""
HedgePolicy.__doc__ = "Whether a try that takes too long is raced by another."
ShadowPolicy.__doc__ = """A copy of requests to another cluster, of which no answer comes back.

`cluster` or `cluster_header` is empty. `trace_sampled` None: as the request is."""
RedirectPredicate.__doc__ = """A condition for following a redirect.

`name` is "allow_listed_routes" (with their names), "previous_routes" or "safe_cross_scheme"."""
InternalRedirectPolicy.__doc__ = "Which redirects of upstreams are followed here, and how often."
Tracing.__doc__ = "The shares of requests that are traced."
Decorator.__doc__ = "The name of spans; `propagate`: it is told to upstreams."


class Metadata(dict):
    """Namespace to object. `filter_metadata` is the same mapping, as the message names it."""

    @property
    def filter_metadata(self):
        """The mapping itself, by the name that the message has for it."""
        return self


cdef object value_object(const mc_value *value):
    cdef size_t i
    if value == NULL:
        return None
    if value.kind == MC_BOOL:
        return bool(value.boolean)
    if value.kind == MC_NUMBER:
        number = value.number
        return int(number) if number == int(number) else number
    if value.kind == MC_STRING:
        return slice_str(value.string)
    if value.kind == MC_LIST:
        return [value_object(&value.items[i]) for i in range(value.count)]
    if value.kind == MC_OBJECT:
        return {
            slice_str(value.names[i]): value_object(&value.items[i]) for i in range(value.count)
        }
    return None


cdef object metadata_object(const mc_value *namespaces):
    return Metadata(value_object(namespaces) or {})


cdef object fraction_object(const mc_fraction *fraction):
    return Fraction(fraction.numerator, fraction.denominator, slice_str(fraction.runtime_key))


cdef object tri(int8_t value):
    return None if value < 0 else bool(value)


cdef tuple header_matchers(const mc_header_matchers *matchers, object owner):
    cdef uint32_t i
    if matchers == NULL:
        return ()
    return tuple([
        HeaderMatcher.of(&matchers.list.items[i], owner) for i in range(matchers.list.count)
    ])


cdef tuple texts(const mc_slice *items, uint32_t count):
    cdef uint32_t i
    return tuple([slice_str(items[i]) for i in range(count)])


cdef object retry_policy_object(const mc_retry_policy *policy, object owner):
    cdef uint32_t i
    if policy == NULL:
        return None
    return RetryPolicy(
        slice_str(policy.retry_on_text),
        policy.num_retries,
        policy.per_try_timeout_ms,
        policy.per_try_idle_timeout_ms,
        policy.base_interval_ms,
        policy.max_interval_ms,
        tuple([policy.retriable_status_codes[i] for i in range(policy.retriable_status_count)]),
        header_matchers(policy.retriable_headers, owner),
        header_matchers(policy.retriable_request_headers, owner),
        tuple([
            ResetHeader(
                slice_str(policy.reset_headers[i].name),
                "UNIX_TIMESTAMP" if policy.reset_headers[i].unix_timestamp else "SECONDS",
            )
            for i in range(policy.reset_header_count)
        ]),
        policy.reset_max_interval_ms,
        policy.host_selection_retry_max_attempts,
        bool(policy.avoid_previous_hosts),
        bool(policy.omit_canary_hosts),
        policy.previous_priorities_update or None,
    )


cdef object hedge_policy_object(const mc_hedge_policy *policy):
    if policy == NULL:
        return None
    return HedgePolicy(
        policy.initial_requests,
        fraction_object(&policy.additional_request_chance),
        bool(policy.hedge_on_per_try_timeout),
    )


cdef tuple shadow_policy_objects(const mc_mirror_policies *policies):
    cdef uint32_t i
    return tuple([
        ShadowPolicy(
            slice_str(policies.items[i].cluster),
            slice_str(policies.items[i].cluster_header),
            slice_str(policies.items[i].fraction.runtime_key),
            fraction_object(&policies.items[i].fraction),
            tri(policies.items[i].trace_sampled),
            bool(policies.items[i].keep_host),
            slice_str(policies.items[i].host_rewrite_literal),
        )
        for i in range(policies.count)
    ])


cdef object predicate_object(const mc_redirect_predicate *predicate):
    if predicate.kind == MC_REDIRECT_ALLOW_LISTED_ROUTES:
        return RedirectPredicate(
            "allow_listed_routes", texts(predicate.routes, predicate.route_count)
        )
    if predicate.kind == MC_REDIRECT_PREVIOUS_ROUTES:
        return RedirectPredicate("previous_routes", ())
    return RedirectPredicate("safe_cross_scheme", ())


cdef object internal_redirect_object(const mc_internal_redirect_policy *policy):
    cdef uint32_t i
    if policy == NULL:
        return None
    return InternalRedirectPolicy(
        True,
        policy.max_internal_redirects,
        tuple([300 + i for i in range(1, 9) if policy.codes & <uint32_t>1 << i]),
        bool(policy.allow_cross_scheme),
        texts(policy.headers_to_copy, policy.header_to_copy_count),
        tuple([predicate_object(&policy.predicates[i]) for i in range(policy.predicate_count)]),
    )


# What a factory hands to __cinit__: without it not even __new__ makes an object that refers to
# nothing.
cdef object MADE_HERE = object()


@cython.final
cdef class CorsPolicy:
    """Which origins may read a response, and what a preflight is told."""

    cdef const mc_cors_policy *policy
    cdef object owner

    def __cinit__(self, key=None):
        if key is not MADE_HERE:
            raise TypeError("a CorsPolicy comes from a Route")

    def allows(self, origin):
        """Whether a page of this origin may read the response."""
        encoded = origin if isinstance(origin, bytes) else origin.encode()
        cdef mc_slice text = bytes_slice(encoded)
        cdef int holds = mc_cors_origin_allowed(self.policy, text)
        if holds < 0:
            raise MemoryError()
        return holds == 1

    @property
    def allow_methods(self):
        return slice_str(self.policy.allow_methods)

    @property
    def allow_headers(self):
        return slice_str(self.policy.allow_headers)

    @property
    def expose_headers(self):
        return slice_str(self.policy.expose_headers)

    @property
    def max_age(self):
        return slice_str(self.policy.max_age)

    @property
    def allow_credentials(self):
        """None when it is not configured."""
        return tri(self.policy.allow_credentials)

    @property
    def allow_private_network_access(self):
        return tri(self.policy.allow_private_network_access)

    @property
    def forward_not_matching_preflights(self):
        return tri(self.policy.forward_not_matching_preflights)

    @property
    def filter_enabled(self):
        return (
            fraction_object(&self.policy.filter_enabled)
            if self.policy.has_filter_enabled
            else None
        )

    @property
    def shadow_enabled(self):
        return (
            fraction_object(&self.policy.shadow_enabled)
            if self.policy.has_shadow_enabled
            else None
        )


cdef object cors_policy_object(const mc_cors_policy *policy, object owner):
    cdef CorsPolicy made
    if policy == NULL:
        return None
    made = CorsPolicy.__new__(CorsPolicy, MADE_HERE)
    made.policy = policy
    made.owner = owner
    return made


cdef object tracing_object(const mc_route_tracing *tracing):
    if tracing == NULL:
        return None
    return Tracing(
        fraction_object(&tracing.client_sampling),
        fraction_object(&tracing.random_sampling),
        fraction_object(&tracing.overall_sampling),
    )


cdef object decorator_object(const mc_decorator *decorator):
    if decorator == NULL:
        return None
    return Decorator(slice_str(decorator.operation), bool(decorator.propagate))
