"""csrc/http as its bindings see it."""

from libc.stdint cimport uint16_t, uint32_t

from meshcore._core.cbase cimport mc_arena, mc_slice, mc_status


cdef extern from "http/headers.h" nogil:
    ctypedef enum mc_header_id:
        MC_H_UNKNOWN
        MC_H_METHOD
        MC_H_PATH
        MC_H_AUTHORITY
        MC_H_STATUS
        MC_H_PROTOCOL
        MC_H_AUTHORIZATION
        MC_H_CONTENT_LENGTH
        MC_H_COOKIE
        MC_H_DATE
        MC_H_HOST
        MC_H_SET_COOKIE
        MC_H_TRACEPARENT
        MC_H_TRANSFER_ENCODING
        MC_H_X_CLIENT_TRACE_ID
        MC_H_X_REQUEST_ID
        MC_H__COUNT
    ctypedef struct mc_header:
        mc_slice name
        mc_slice value
        uint16_t id
        bint removed
    ctypedef struct mc_headers:
        mc_header *items
        uint32_t count
        uint32_t live
        bint unchecked
    void mc_headers_init(mc_headers *headers, mc_arena *arena)
    mc_slice mc_header_name(mc_header_id id)
    mc_status mc_headers_add(mc_headers *headers, mc_slice name, mc_slice value)
    mc_status mc_headers_add_known(mc_headers *headers, mc_header_id id, mc_slice value)
    mc_status mc_headers_set(mc_headers *headers, mc_slice name, mc_slice value)
    uint32_t mc_headers_remove(mc_headers *headers, mc_slice name)
    mc_slice mc_headers_get(const mc_headers *headers, mc_slice name)
    mc_slice mc_headers_get_known(const mc_headers *headers, mc_header_id id)
    bint mc_headers_has(const mc_headers *headers, mc_header_id id)
