/* HTTP/1 codec, free of I/O: bytes in, events out; events in, bytes out. Parsing rests on llhttp; the strict reading of RFC
 * 9112 wherever two parsers could disagree is ours (rules H1-1 to H1-15).
 *
 * A parser lives as long as its connection and reads message after message. It calls the handler; the handler may pause it
 * (the pipelining rule H1-12: one request at a time) and the caller feeds the rest later. Header bytes are copied once, into
 * the arena of the mc_headers that on_begin hands out; body slices point into the fed bytes and die when feed returns.
 *
 * A parser is small (idle connections hold one) and single-threaded. */
#ifndef MC_H1_H1_H
#define MC_H1_H1_H

#include "base/value.h"
#include "http/headers.h"

typedef enum mc_h1_role { MC_H1_REQUEST, MC_H1_RESPONSE } mc_h1_role;

/* Shared by all connections of a listener or cluster; immutable while in use. */
typedef struct mc_h1_limits {
    uint32_t max_headers_count; /* per message, also of trailers */
    uint32_t max_headers_bytes; /* names + values + target */
    bool accept_http_10;
    bool allow_absolute_url;
    bool allow_chunked_length;
    bool allow_custom_methods;
    bool enable_trailers;      /* false: parsed and dropped (H1-11) */
    bool send_absolute_target; /* requests: send_fully_qualified_url */
    bool proper_case;          /* header_key_format: of maps without a spelling of their own */
    bool keep_case;            /* preserve_case: names are kept as they came, in the map's spelling */
    bool keep_proper;          /* with keep_case: names that did not come are written in proper case */
    bool keep_reason;          /* with keep_case: the reason phrase too */
    /* Requests: whether an upgrade to this is passed over (ignore_http_11_upgrade); NULL: none is. */
    bool (*ignores_upgrade)(const void *ctx, mc_slice upgrade);
    const void *ignore_ctx;
    bool as_sent; /* do not rewrite: no H1-5 (absolute targets), no H1-8 (nominated headers); checks still apply */
    uint8_t underscores; /* 0 allow, 1 drop header, 2 reject (H1-10) */
} mc_h1_limits;

void mc_h1_limits_init(mc_h1_limits *limits, mc_h1_role role);
/* An Http1ProtocolOptions message, but for what is not the codec's; may be NULL. */
MC_MUST_CHECK mc_status mc_h1_limits_read(const mc_value *options, mc_h1_limits *limits, mc_error *error);

/* What is known of a message once its head is complete. */
typedef struct mc_h1_head {
    uint16_t status;       /* responses */
    uint8_t version_minor; /* 0 or 1 (HTTP/1.x) */
    bool keep_alive;       /* the message allows another one after it */
    bool asks_to_close;    /* it says so, or is of HTTP/1.0 and does not ask otherwise */
    bool chunked;
    bool has_length;         /* content-length present */
    bool upgrade;            /* request: an upgrade other than h2c, or CONNECT; response: 101, or 2xx to CONNECT */
    bool expect_continue;    /* expect: 100-continue */
    bool end_stream;         /* no body follows */
    uint16_t dropped;        /* headers dropped for an underscore (H1-10) */
    uint32_t field_bytes;    /* of all headers as they came: name, ":", value and the end of the line */
    mc_slice version;        /* as sent, "1.1"; empty for HTTP/0.9 */
    mc_slice reason;         /* responses: as sent, may be empty */
    uint64_t content_length; /* when has_length */
} mc_h1_head;

/* A handler returns MC_OK to go on, MC_AGAIN to pause after this event (feed returns what it consumed; the next feed, even of
 * nothing, goes on with what is due), or an error to stop for good. It must not free the parser. */
typedef struct mc_h1_handler {
    /* A new message starts: the map to fill, or NULL when out of memory. Its arena owns the head's bytes and must live until
     * on_complete returns (or the parser is given up). For a request the map will hold :method, :path (as sent; none for
     * CONNECT), :authority (in the place of the Host line; H1-5) and :scheme only if the target was absolute; for a response
     * :status first. */
    mc_headers *(*on_begin)(void *ctx);
    mc_status (*on_headers)(void *ctx, const mc_h1_head *head);
    mc_status (*on_body)(void *ctx, mc_slice data);
    /* Only when limits.enable_trailers and there are any. */
    mc_status (*on_trailers)(void *ctx, mc_headers *trailers);
    /* After the last byte. For head->end_stream it follows on_headers directly. */
    mc_status (*on_complete)(void *ctx);
} mc_h1_handler;

typedef struct mc_h1_error {
    uint16_t reply_code; /* 400, 403, 413, 426, 431, 501; 0: no error */
    const char *details; /* static: Envoy's response code details, e.g. "http1.codec_error" */
    bool http_10;        /* of a request whose head came whole, in HTTP/1.0, where that is accepted: so is the answer */
    bool refused_10;     /* the same, where that is not accepted: the answer says 1.1, but cannot be chunked */
    bool head;           /* of a HEAD request that was understood: nothing tells how long an empty answer is */
    uint32_t field_bytes; /* as mc_h1_head, of the fields that were understood */
} mc_h1_error;

typedef struct mc_h1_parser {
    const mc_h1_limits *limits;
    const mc_h1_handler *handler;
    void *ctx;
    mc_h1_error error;
    /* private */
    struct mc_h1_message *_message; /* in the current message's arena; NULL between messages */
    uint64_t _left;                 /* bytes of a content-length body still to come */
    mc_status _status;              /* why the parser stopped for good, or what a callback returned */
    uint8_t _role;
    uint8_t _phase;
    uint8_t _asked; /* responses: what the request was */
} mc_h1_parser;

void mc_h1_parser_init(mc_h1_parser *parser, mc_h1_role role, const mc_h1_limits *limits, const mc_h1_handler *handler,
                       void *ctx);
/* Bytes consumed, or a negative status with parser->error set. Fewer than in.n only when paused by the handler, or after an
 * upgrade that was not taken (the rest is not HTTP). Bytes after a request that said close are swallowed. After an error
 * every feed fails. */
MC_MUST_CHECK long mc_h1_parser_feed(mc_h1_parser *parser, mc_slice in);
/* The peer closed: completes a body that runs until close or a tunnel, MC_EPROTO in the middle of a message, MC_OK when
 * idle. */
MC_MUST_CHECK mc_status mc_h1_parser_eof(mc_h1_parser *parser);
/* True between messages. */
bool mc_h1_parser_idle(const mc_h1_parser *parser);
/* Responses only: announce the request a response is now expected for. Without it a response is a protocol error (H1-14).
 * Holds for any number of 1xx responses and one final response. */
void mc_h1_parser_expect(mc_h1_parser *parser, mc_slice method);
/* In or after on_headers of a head with `upgrade`: all further bytes go to on_body untouched, until mc_h1_parser_eof. */
void mc_h1_parser_tunnel(mc_h1_parser *parser);

/* Instead of taking it: the message goes on by its framing as if it had not asked (RFC 9110 section 7.8); a 101 ends with
 * its head. */
void mc_h1_parser_refuse(mc_h1_parser *parser);

/* --- encoding --------------------------------------------------------------------------------------------------- */

typedef enum mc_h1_framing {
    MC_H1_NO_BODY,
    MC_H1_LENGTH,
    MC_H1_CHUNKED,
    MC_H1_UNTIL_CLOSE,
    MC_H1_TUNNEL
} mc_h1_framing;

typedef struct mc_h1_encode {
    bool end_stream;   /* nothing follows the head */
    bool http_10;      /* response to an HTTP/1.0 request: never chunk (H1-4) */
    bool says_11;      /* nevertheless its start line says HTTP/1.1: the request was refused for its version */
    bool head_request; /* response to HEAD */
    bool upgrade;      /* request or 101/CONNECT success: no framing headers */
    bool enable_trailers;
    bool absolute; /* request: the whole URL as target */
} mc_h1_encode;

extern const mc_spelling mc_h1_proper_case;
/* To be called for a map before it is encoded: names in proper case where that is configured. */
static inline void mc_h1_spell(mc_headers *headers, const mc_h1_limits *limits) {
    if (MC_UNLIKELY(limits->proper_case) && headers != NULL && headers->spelling == NULL) {
        headers->spelling = &mc_h1_proper_case;
    }
}

/* Upper bound of the encoded size of the head. */
size_t mc_h1_head_size(const mc_headers *headers);
/* Writes start line, headers and framing headers (H1-13) to `out`, which has room for mc_h1_head_size(); returns the
 * length, and the framing of what follows. The maps' content-length / transfer-encoding entries are respected or replaced
 * as H1-13 says. */
size_t mc_h1_encode_request(const mc_headers *headers, const mc_h1_encode *how, char *out, mc_h1_framing *framing);
size_t mc_h1_encode_response(const mc_headers *headers, const mc_h1_encode *how, char *out, mc_h1_framing *framing);

#define MC_H1_CHUNK_HEAD_MAX 18
/* "size CRLF" of one chunk; the data and a final CRLF follow. Returns the length. */
size_t mc_h1_chunk_head(char *out, size_t n);
/* Last chunk, with trailers when given (may be NULL): size bound, then bytes. */
size_t mc_h1_last_chunk_size(const mc_headers *trailers);
size_t mc_h1_last_chunk(const mc_headers *trailers, char *out);

/* "OK" for 200 etc.; "Unknown" for a status without a phrase. Static (http/codes.h). */
mc_slice mc_h1_reason(uint16_t status);

#endif
