/* Private to h1/: the admission of one field, inlined into both readers of heads. */
#ifndef MC_H1_FIELD_H
#define MC_H1_FIELD_H

#include "h1/message.h"
#include "http/lookup.h"

/* Fields that are wrong by themselves, whatever follows: a second Host (RFC 9112 section 3.2); a second Content-Length, even
 * an equal one, or one that is no number (H1-7). */
static inline mc_status mc_h1_check_field(mc_h1_parser *parser, mc_h1_message *message, mc_header_id id,
                                          mc_slice value) {
    mc_h1_head *head = &message->head;
    switch (id) {
    case MC_H_AUTHORITY: return mc_headers_has(message->headers, id) ? mc_h1_malformed(parser) : MC_OK;
    case MC_H_CONTENT_LENGTH:
        if (head->has_length || mc_slice_u64(value, &head->content_length) != MC_OK) {
            return mc_h1_malformed(parser);
        }
        head->has_length = true;
        return MC_OK;
    default: return MC_OK;
    }
}

/* Takes one field: lower-case name, trimmed value, both living as long as the message. */
MC_MUST_CHECK static inline mc_status mc_h1_add_field(mc_h1_parser *parser, mc_h1_message *message, mc_slice name,
                                                      mc_slice value) {
    const mc_h1_limits *limits = parser->limits;
    if (MC_UNLIKELY(limits->underscores != 0) && mc_slice_find(name, '_') < name.n &&
        (!message->head_done || limits->enable_trailers)) {
        message->dropped_bytes += (uint32_t)(name.n + value.n) + MC_H1_LINE_BYTES;
        if (limits->underscores == 2) {
            return mc_h1_fail_field(parser, message, MC_EPROTO, 400, "http1.unexpected_underscore");
        }
        message->head.dropped++;
        return MC_OK;
    }
    message->field_bytes += name.n + value.n;
    if (MC_UNLIKELY(message->field_bytes > limits->max_headers_bytes)) {
        return mc_h1_fail(parser, MC_ELIMIT, 431, "http1.headers_too_large");
    }
    if (MC_UNLIKELY(++message->field_count > limits->max_headers_count) && mc_h1_too_many(parser, message, name)) {
        return mc_h1_fail_field(parser, message, MC_ELIMIT, 431, "http1.too_many_headers");
    }
    if (value.p == NULL) {
        value.p = "";
    }
    mc_headers *headers = message->headers;
    mc_header_id id = mc_header_find(name);
    if (MC_UNLIKELY(message->head_done)) {
        return mc_h1_add_trailer(parser, message, id, name, value);
    }
    if (id == MC_H_HOST && parser->_role == MC_H1_REQUEST) {
        id = MC_H_AUTHORITY;
        name = mc_header_name(id);
    }
    mc_status status = mc_h1_check_field(parser, message, id, value);
    return status != MC_OK ? status : mc_headers_add_ref(headers, id, name, value);
}

#endif
