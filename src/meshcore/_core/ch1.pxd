"""csrc/http and csrc/h1, as http1.pyx needs them."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from meshcore._core.cbase cimport mc_slice, mc_status


cdef extern from "base/arena.h" nogil:
    ctypedef struct mc_arena:
        pass
    ctypedef struct mc_block_pool:
        pass
    void mc_block_pool_init(mc_block_pool *pool, size_t keep)
    void mc_arena_init(mc_arena *arena, mc_block_pool *pool)
    void mc_arena_fini(mc_arena *arena)

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
        const mc_header *items
        uint32_t count
        uint32_t live
    void mc_headers_init(mc_headers *headers, mc_arena *arena)
    mc_slice mc_header_name(mc_header_id id)
    mc_status mc_headers_add(mc_headers *headers, mc_slice name, mc_slice value)
    mc_status mc_headers_add_known(mc_headers *headers, mc_header_id id, mc_slice value)
    mc_slice mc_headers_get(const mc_headers *headers, mc_slice name)
    mc_slice mc_headers_get_known(const mc_headers *headers, mc_header_id id)
    bint mc_headers_has(const mc_headers *headers, mc_header_id id)

cdef extern from "h1/h1.h" nogil:
    ctypedef enum mc_h1_role:
        MC_H1_REQUEST
        MC_H1_RESPONSE
    ctypedef struct mc_h1_limits:
        uint32_t max_headers_count
        uint32_t max_headers_bytes
        bint accept_http_10
        bint allow_absolute_url
        bint allow_chunked_length
        bint allow_custom_methods
        bint enable_trailers
        bint as_sent
        uint8_t underscores
    void mc_h1_limits_init(mc_h1_limits *limits, mc_h1_role role)
    ctypedef struct mc_h1_head:
        uint16_t status
        bint keep_alive
        bint chunked
        bint has_length
        bint upgrade
        bint expect_continue
        bint end_stream
        mc_slice version
        mc_slice reason
        uint64_t content_length
    # Statuses as plain int, so that -1 (MC_ENOMEM) can stand for "an exception is set".
    ctypedef struct mc_h1_handler:
        mc_headers *(*on_begin)(void *ctx) except NULL
        int (*on_headers)(void *ctx, const mc_h1_head *head) except -1
        int (*on_body)(void *ctx, mc_slice data) except -1
        int (*on_trailers)(void *ctx, mc_headers *trailers) except -1
        int (*on_complete)(void *ctx) except -1
    ctypedef struct mc_h1_error:
        uint16_t reply_code
        const char *details
    ctypedef struct mc_h1_parser:
        mc_h1_error error
    void mc_h1_parser_init(
        mc_h1_parser *parser, mc_h1_role role, const mc_h1_limits *limits,
        const mc_h1_handler *handler, void *ctx
    )
    long mc_h1_parser_feed(mc_h1_parser *parser, mc_slice data)
    mc_status mc_h1_parser_eof(mc_h1_parser *parser)
    bint mc_h1_parser_idle(const mc_h1_parser *parser)
    void mc_h1_parser_expect(mc_h1_parser *parser, mc_slice method)
    void mc_h1_parser_refuse(mc_h1_parser *parser)
    ctypedef enum mc_h1_framing:
        MC_H1_NO_BODY
        MC_H1_LENGTH
        MC_H1_CHUNKED
    ctypedef struct mc_h1_encode:
        bint end_stream
        bint http_10
        bint head_request
        bint upgrade
    size_t mc_h1_head_size(const mc_headers *headers)
    size_t mc_h1_encode_request(
        const mc_headers *headers, const mc_h1_encode *how, char *out, mc_h1_framing *framing
    )
    size_t mc_h1_encode_response(
        const mc_headers *headers, const mc_h1_encode *how, char *out, mc_h1_framing *framing
    )
    enum: MC_H1_CHUNK_HEAD_MAX
    size_t mc_h1_chunk_head(char *out, size_t n)
    size_t mc_h1_last_chunk_size(const mc_headers *trailers)
    size_t mc_h1_last_chunk(const mc_headers *trailers, char *out)
