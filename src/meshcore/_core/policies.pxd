"""What routes carry, as Python values."""

from meshcore._core.cbase cimport mc_value
from meshcore._core.route cimport (
    mc_cors_policy,
    mc_decorator,
    mc_hedge_policy,
    mc_internal_redirect_policy,
    mc_mirror_policies,
    mc_retry_policy,
    mc_route_tracing,
)


cdef object value_object(const mc_value *value)
cdef object metadata_object(const mc_value *namespaces)
# `owner` keeps what a policy's matchers live in.
cdef object retry_policy_object(const mc_retry_policy *policy, object owner)
cdef object hedge_policy_object(const mc_hedge_policy *policy)
cdef tuple shadow_policy_objects(const mc_mirror_policies *policies)
cdef object internal_redirect_object(const mc_internal_redirect_policy *policy)
cdef object cors_policy_object(const mc_cors_policy *policy, object owner)
cdef object tracing_object(const mc_route_tracing *tracing)
cdef object decorator_object(const mc_decorator *decorator)
