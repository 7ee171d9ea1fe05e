"""The compiled route table, for modules that publish it: `RouteTable.table` is counted."""

from libc.stdint cimport int8_t, uint8_t, uint16_t, uint32_t, uint64_t

from meshcore._core.cbase cimport mc_slice, mc_status


cdef extern from "base/arena.h" nogil:
    ctypedef struct mc_arena:
        char *at
        char *end
    ctypedef struct mc_block_pool:
        pass
    void mc_arena_init(mc_arena *arena, mc_block_pool *pool)
    void mc_arena_fini(mc_arena *arena)

cdef extern from "base/error.h" nogil:
    ctypedef struct mc_error:
        char *path
        char *reason

cdef extern from "base/value.h" nogil:
    ctypedef struct mc_value:
        pass
    mc_status mc_value_parse(mc_arena *arena, mc_slice json, const mc_value **out, mc_error *error)

cdef extern from "base/address.h" nogil:
    ctypedef struct mc_address:
        pass
    mc_status mc_address_parse(mc_address *out, mc_slice ip, uint16_t port)

cdef extern from "http/headers.h" nogil:
    ctypedef struct mc_header:
        mc_slice name
        mc_slice value
        bint removed
    ctypedef struct mc_headers:
        const mc_header *items
        uint32_t count
    void mc_headers_init(mc_headers *headers, mc_arena *arena)
    mc_status mc_headers_add(mc_headers *headers, mc_slice name, mc_slice value)

cdef extern from "http/stream_info.h" nogil:
    ctypedef struct mc_random:
        pass
    ctypedef struct mc_stream_info:
        const mc_headers *request
        const mc_headers *response
        const mc_headers *response_trailers
        uint64_t stream_id
        mc_random *random
    void mc_stream_info_init(mc_stream_info *info)

cdef extern from "route/route.h" nogil:
    ctypedef struct mc_route_table:
        pass
    ctypedef struct mc_retry_policy:
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
    ctypedef struct mc_redirect:
        pass
    ctypedef struct mc_direct_response:
        uint16_t status
        mc_slice body
    ctypedef struct mc_weighted_cluster:
        pass
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
    ctypedef struct mc_route_request:
        const mc_headers *headers
        uint64_t random
        const mc_address *remote
        const mc_address *local
        mc_arena *arena
        const mc_stream_info *info
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
