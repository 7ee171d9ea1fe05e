"""csrc/h1 as its bindings see it."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from meshcore._core.cbase cimport mc_slice, mc_status
from meshcore._core.chttp cimport mc_headers


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
