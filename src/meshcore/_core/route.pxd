"""The compiled route table, for modules that publish it: `RouteTable.table` is counted."""

from libc.stdint cimport int8_t, uint8_t, uint16_t, uint32_t, uint64_t

from meshcore._core.cbase cimport (
    mc_address,
    mc_arena,
    mc_error,
    mc_fraction,
    mc_random,
    mc_runtime,
    mc_slice,
    mc_status,
    mc_value,
)
from meshcore._core.chttp cimport mc_headers


cdef extern from "http/stream_info.h" nogil:
    ctypedef struct mc_stream_info:
        const mc_headers *request
        const mc_headers *response
        const mc_headers *response_trailers
        const mc_address *downstream_remote
        const mc_address *downstream_local
        const mc_value *route_metadata
        const mc_value *virtual_host_metadata
        mc_slice route_name
        mc_slice virtual_host_name
        mc_slice upstream_cluster
        mc_slice upstream_cluster_raw
        uint64_t stream_id
        mc_random *random
    void mc_stream_info_init(mc_stream_info *info)

cdef extern from "route/cors.h" nogil:
    ctypedef struct mc_cors_policy:
        uint32_t origin_count
        mc_slice allow_methods
        mc_slice allow_headers
        mc_slice expose_headers
        mc_slice max_age
        int8_t allow_credentials
        int8_t allow_private_network_access
        int8_t forward_not_matching_preflights
        bint has_filter_enabled
        bint has_shadow_enabled
        mc_fraction filter_enabled
        mc_fraction shadow_enabled
    int mc_cors_origin_allowed(const mc_cors_policy *policy, mc_slice origin)

cdef extern from "route/matcher.h" nogil:
    ctypedef struct mc_matcher:
        pass
    ctypedef struct mc_matchers:
        const mc_matcher *items
        uint32_t count
    ctypedef struct mc_header_matchers:
        mc_matchers list

cdef extern from "route/tracing.h" nogil:
    ctypedef struct mc_route_tracing:
        mc_fraction client_sampling
        mc_fraction random_sampling
        mc_fraction overall_sampling

cdef extern from "route/route.h" nogil:
    ctypedef struct mc_route_table:
        pass
    ctypedef struct mc_reset_header:
        mc_slice name
        bint unix_timestamp
    ctypedef struct mc_hedge_policy:
        uint32_t initial_requests
        mc_fraction additional_request_chance
        bint hedge_on_per_try_timeout
    ctypedef struct mc_mirror_policy:
        mc_slice cluster
        mc_slice cluster_header
        mc_fraction fraction
        int8_t trace_sampled
        bint keep_host
        mc_slice host_rewrite_literal
    ctypedef struct mc_mirror_policies:
        const mc_mirror_policy *items
        uint32_t count
    ctypedef enum mc_redirect_predicate_kind:
        MC_REDIRECT_ALLOW_LISTED_ROUTES
        MC_REDIRECT_PREVIOUS_ROUTES
        MC_REDIRECT_SAFE_CROSS_SCHEME
    ctypedef struct mc_redirect_predicate:
        mc_redirect_predicate_kind kind
        const mc_slice *routes
        uint32_t route_count
    ctypedef struct mc_internal_redirect_policy:
        uint32_t max_internal_redirects
        uint32_t codes
        bint allow_cross_scheme
        const mc_redirect_predicate *predicates
        uint32_t predicate_count
        const mc_slice *headers_to_copy
        uint32_t header_to_copy_count
    ctypedef struct mc_rate_limits:
        pass
    ctypedef struct mc_decorator:
        mc_slice operation
        bint propagate
    ctypedef struct mc_connect_config:
        bint allow_post
    ctypedef struct mc_virtual_cluster:
        mc_slice name
    ctypedef struct mc_retry_policy:
        const mc_header_matchers *retriable_headers
        const mc_header_matchers *retriable_request_headers
        bint avoid_previous_hosts
        bint omit_canary_hosts
        uint32_t previous_priorities_update
        const mc_reset_header *reset_headers
        uint32_t reset_header_count
        uint64_t reset_max_interval_ms
        mc_slice retry_on_text
        uint32_t num_retries
        uint64_t per_try_timeout_ms
        uint64_t per_try_idle_timeout_ms
        uint64_t base_interval_ms
        uint64_t max_interval_ms
        const uint16_t *retriable_status_codes
        uint32_t retriable_status_count
        uint32_t host_selection_retry_max_attempts
    ctypedef struct mc_virtual_host:
        mc_slice name
        uint8_t require_tls
        bint include_attempt_count_request
        bint include_attempt_count_response
        bint include_is_timeout_retry
        const mc_cors_policy *cors
        const mc_virtual_cluster *virtual_clusters
        uint32_t virtual_cluster_count
        const mc_value *metadata
        const mc_value *filter_configs
    ctypedef struct mc_redirect:
        pass
    ctypedef struct mc_direct_response:
        uint16_t status
        mc_slice body
    ctypedef struct mc_weighted_cluster:
        const mc_value *filter_configs
    ctypedef struct mc_route:
        mc_slice name
        const mc_redirect *redirect
        const mc_direct_response *direct_response
        mc_slice cluster_header
        uint16_t cluster_not_found_status
        uint64_t timeout_ms
        bint has_idle_timeout
        uint64_t idle_timeout_ms
        bint has_max_stream_duration
        uint64_t max_stream_duration_ms
        const mc_retry_policy *retry_policy
        uint32_t hash_policy_count
        bint high_priority
        bint auto_host_rewrite
        bint append_x_forwarded_host
        const mc_hedge_policy *hedge_policy
        const mc_internal_redirect_policy *redirects
        mc_mirror_policies mirrors
        const mc_cors_policy *cors
        const mc_rate_limits *rate_limits
        bint include_virtual_host_rate_limits
        bint allow_early_data
        bint has_stream_duration
        bint has_grpc_timeout_max
        bint has_grpc_timeout_offset
        bint has_flush_timeout
        uint64_t grpc_timeout_max_ms
        uint64_t grpc_timeout_offset_ms
        uint64_t flush_timeout_ms
        uint64_t body_buffer_limit
        const mc_connect_config *connect
        const mc_route_tracing *tracing
        const mc_decorator *decorator
        mc_slice stat_prefix
        const mc_value *metadata
        const mc_value *metadata_match
        const mc_value *filter_configs
    ctypedef struct mc_route_request:
        const mc_headers *headers
        uint64_t random
        const mc_address *remote
        const mc_address *local
        mc_arena *arena
        const mc_stream_info *info
        const mc_runtime *runtime
    ctypedef struct mc_route_match:
        const mc_route *route
        const mc_virtual_host *virtual_host
        const mc_weighted_cluster *weighted
        mc_slice cluster
        uint32_t cluster_id
        bint tls_redirect
    ctypedef struct mc_request_hash:
        bint has_hash
        uint64_t hash
        const mc_slice *set_cookies
        uint32_t set_cookie_count

    const mc_value *mc_route_match_metadata(const mc_route_match *match)
    const mc_value *mc_route_table_filter_configs(const mc_route_table *table)
    mc_status mc_virtual_host_cluster(
        const mc_virtual_host *host, const mc_headers *headers, uint32_t *out
    )
    mc_status mc_route_table_compile(const mc_value *config, mc_route_table **out, mc_error *error)
    mc_route_table *mc_route_table_ref(mc_route_table *table)
    void mc_route_table_unref(mc_route_table *table)
    mc_slice mc_route_table_name(const mc_route_table *table)
    uint32_t mc_route_table_cluster_count(const mc_route_table *table)
    mc_slice mc_route_table_cluster_name(const mc_route_table *table, uint32_t id)
    mc_status mc_route_table_match(
        const mc_route_table *table, const mc_route_request *request, mc_route_match *out
    )
    bint mc_route_upgrade_at(const mc_route *route, uint32_t i, mc_slice *type, bint *enabled)
    mc_status mc_route_redirect_location(
        const mc_route_match *match, const mc_route_request *request, mc_slice *out
    )
    uint16_t mc_route_redirect_status(const mc_route_match *match)
    mc_status mc_route_finalize_request(
        const mc_route_table *table,
        const mc_route_match *match,
        const mc_route_request *request,
        mc_headers *headers,
        bint suppress_envoy_headers,
    )
    mc_status mc_route_finalize_response(
        const mc_route_table *table,
        const mc_route_match *match,
        const mc_route_request *request,
        mc_headers *headers,
    )
    mc_status mc_route_hash(
        const mc_route *route, const mc_route_request *request, mc_request_hash *out
    )


cdef class RouteTable:
    cdef mc_route_table *table
