/* Private to h1/: the message being read, and the steps that both readers of a head share.
 *
 * A head is read in one of two ways: scan.c takes a head that is whole and plainly conforming; everything else goes through
 * llhttp (parser.c), which is the definition. Both put fields through mc_h1_add_field and end in mc_h1_finish_head. */
#ifndef MC_H1_MESSAGE_H
#define MC_H1_MESSAGE_H

#include <llhttp.h>

#include "h1/h1.h"

#define MC_H1_LINE_BYTES 3 /* what a field has besides its name and value: ":", CR, LF */

/* Text that arrives in pieces, growing in the message's arena. */
typedef struct mc_h1_text {
    char *p;
    uint32_t n, cap;
} mc_h1_text;

typedef struct mc_h1_message {
    mc_headers *headers;
    mc_headers *trailers; /* NULL until the first trailer */
    llhttp_t *llhttp;     /* NULL until it is needed */
    mc_h1_head head;
    bool head_done;             /* fields are trailers */
    bool connect;               /* the method is CONNECT */
    bool mid_line;              /* the line of a field that is being read is not empty */
    uint32_t field_count;       /* of the head, then of the trailers */
    uint32_t joined, joined_to; /* of the first joined_to entries, those that will join another (HC-39) */
    uint64_t field_bytes;       /* names + values (+ target) so far */
    uint32_t dropped_bytes;     /* of the lines dropped for an underscore */
    uint64_t fields_read;       /* of the lines of fields, as they came (+ target): never less than field_bytes */
    mc_h1_text line, name, value;
} mc_h1_message;

/* Records the error and returns its status. */
mc_status mc_h1_fail(mc_h1_parser *parser, mc_status status, uint16_t reply_code, const char *details);
/* Because of a field, or of what they say together: those that were read are counted (mc_h1_error.field_bytes). */
mc_status mc_h1_fail_field(mc_h1_parser *parser, const mc_h1_message *message, mc_status status, uint16_t reply_code,
                           const char *details);
/* As mc_h1_head.field_bytes, of the fields read so far. */
uint32_t mc_h1_field_bytes(const mc_h1_message *message);
static inline mc_status mc_h1_malformed(mc_h1_parser *parser) {
    return mc_h1_fail(parser, MC_EPROTO, 400, "http1.codec_error");
}

/* Reads a start line without its CRLF, adding the pseudo-headers. `line` must live as long as the message. */
MC_MUST_CHECK mc_status mc_h1_start_line(mc_h1_parser *parser, mc_h1_message *message, mc_slice line);
/* HC-39: whether a field of this name is one too many; fields that join another are none of their own. Called from the limit
 * on, so that each field is looked at once. */
bool mc_h1_too_many(const mc_h1_parser *parser, mc_h1_message *message, mc_slice name);
/* Takes a field of the trailers, or drops it (H1-11). */
MC_MUST_CHECK mc_status mc_h1_add_trailer(mc_h1_parser *parser, mc_h1_message *message, mc_header_id id, mc_slice name,
                                          mc_slice value);
/* Decides framing and persistence, applies H1-5, H1-7, H1-8, H1-14. */
MC_MUST_CHECK mc_status mc_h1_finish_head(mc_h1_parser *parser, mc_h1_message *message);

/* Reads a whole head at the start of `in` if it is there and plainly conforming: its length. 0: not taken, nothing changed
 * but the arena. Negative: out of memory. */
MC_MUST_CHECK long mc_h1_scan_head(mc_h1_parser *parser, mc_h1_message *message, mc_slice in);

/* --- the options of `connection` and `proxy-connection` (connection.c) --- */

typedef enum mc_h1_option {
    MC_H1_OPTION_CLOSE,
    MC_H1_OPTION_KEEP_ALIVE,
    MC_H1_OPTION_UPGRADE,
    MC_H1_OPTION_SETTINGS,
    MC_H1_OPTION_NOMINATION
} mc_h1_option;

typedef struct mc_h1_options {
    uint32_t seen[MC_H1_OPTION_NOMINATION + 1]; /* how often each */
    uint32_t count;
} mc_h1_options;

/* Adds what the lines of one header say to *found. */
void mc_h1_read_options(const mc_headers *headers, mc_header_id id, mc_h1_options *found);
/* Removes the headers that `connection` names, or refuses to (H1-8). */
MC_MUST_CHECK mc_status mc_h1_sanitize_connection(mc_h1_parser *parser, mc_headers *headers,
                                                  const mc_h1_options *found);
/* Removes what asks for an upgrade to h2c (HC-45). */
MC_MUST_CHECK mc_status mc_h1_strip_h2c(mc_headers *headers);
/* Removes the upgrades that are passed over from `upgrade`, and the header, with what `connection` says of it, when none is left. */
MC_MUST_CHECK mc_status mc_h1_ignore_upgrades(const mc_h1_limits *limits, mc_headers *headers);

/* What a response is expected for. */
enum { MC_H1_ASKED_NOTHING, MC_H1_ASKED_OTHER, MC_H1_ASKED_HEAD, MC_H1_ASKED_CONNECT };

#endif
