/* The life of a message: start line, fields, body, trailers, complete. One phase, one step function. */
#include "base/alloc.h"
#include "base/defaults.h"
#include "h1/bytes.h"
#include "h1/field.h"

typedef enum phase {
    PHASE_IDLE,        /* between messages */
    PHASE_LINE,        /* collecting a start line that came in pieces */
    PHASE_FIELDS,      /* llhttp reads the fields */
    PHASE_REFUSED,     /* a field was wrong: the rest of the head is looked at for what names the error */
    PHASE_LENGTH,      /* body of known length */
    PHASE_CHUNKED,     /* llhttp reads chunks and trailers */
    PHASE_UNTIL_CLOSE, /* response body that ends with the connection */
    PHASE_TRAILERS,    /* on_trailers is due */
    PHASE_COMPLETE,    /* on_complete is due */
    PHASE_UPGRADE,     /* after the head of an upgrade: what follows is not HTTP */
    PHASE_TUNNEL,      /* the upgrade was taken: bytes pass through */
    PHASE_CLOSED,      /* after a message that said close: bytes are swallowed (RFC 9112 section 9.6) */
    PHASE_FAILED,
} phase;

void mc_h1_limits_init(mc_h1_limits *limits, mc_h1_role role) {
    *limits = (mc_h1_limits){
        .max_headers_count = MC_DEFAULT_MAX_HEADERS_COUNT,
        .max_headers_bytes = 1024u * (uint32_t)(role == MC_H1_REQUEST ? MC_DEFAULT_MAX_REQUEST_HEADERS
                                                                      : MC_DEFAULT_MAX_RESPONSE_HEADERS),
        .allow_absolute_url = true,
    };
}

mc_status mc_h1_fail(mc_h1_parser *parser, mc_status status, uint16_t reply_code, const char *details) {
    parser->error = (mc_h1_error){.reply_code = reply_code, .details = details};
    return status;
}

mc_status mc_h1_fail_field(mc_h1_parser *parser, const mc_h1_message *message, mc_status status, uint16_t reply_code,
                           const char *details) {
    (void)mc_h1_fail(parser, status, reply_code, details);
    parser->error.field_bytes = message->head_done ? 0 : mc_h1_field_bytes(message);
    return status;
}

/* --- llhttp: fields and chunks ---------------------------------------------------------------------------------- */

/* llhttp sees every message as this request, so that it reads fields (and chunks) while the start line and the decisions
 * about framing stay ours. */
static const char fields_follow[] = "POST / HTTP/1.1\r\n";
static const char chunks_follow[] = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";

static mc_status text_append(mc_arena *arena, mc_h1_text *text, const char *p, size_t n) {
    if (n > text->cap - text->n) {
        size_t cap = text->cap == 0 ? 64 : text->cap;
        while (cap < text->n + n) {
            cap *= 2;
        }
        char *bytes = mc_arena_bytes(arena, cap);
        if (bytes == NULL) {
            return MC_ENOMEM;
        }
        if (text->n > 0) {
            memcpy(bytes, text->p, text->n);
        }
        text->p = bytes;
        text->cap = (uint32_t)cap;
    }
    if (n > 0) {
        memcpy(text->p + text->n, p, n);
        text->n += (uint32_t)n;
    }
    return MC_OK;
}

static mc_status too_large(mc_h1_parser *parser) {
    return mc_h1_fail(parser, MC_ELIMIT, 431, "http1.headers_too_large");
}

/* Collects a piece; unfinished text counts against the limit too, so that it cannot grow without end. */
static mc_status collect(mc_h1_parser *parser, mc_h1_text *text, const char *p, size_t n) {
    mc_h1_message *message = parser->_message;
    uint64_t pending = (uint64_t)message->name.n + message->value.n + n;
    if (message->field_bytes + pending > parser->limits->max_headers_bytes) {
        return too_large(parser);
    }
    return text_append(message->headers->arena, text, p, n);
}

/* What a callback answers llhttp: go on, pause, or stop. */
static int answer(mc_h1_parser *parser, mc_status status) {
    parser->_status = status;
    return status == MC_OK ? HPE_OK : status == MC_AGAIN ? HPE_PAUSED : HPE_USER;
}

static int on_field(llhttp_t *llhttp, const char *p, size_t n) {
    mc_h1_parser *parser = llhttp->data;
    return answer(parser, collect(parser, &parser->_message->name, p, n));
}

/* What length and coding say is not for llhttp to judge, which would stop at an empty one. */
static int on_field_complete(llhttp_t *llhttp) {
    llhttp->header_state = 0;
    return HPE_OK;
}

static int on_value(llhttp_t *llhttp, const char *p, size_t n) {
    mc_h1_parser *parser = llhttp->data;
    return answer(parser, collect(parser, &parser->_message->value, p, n));
}

__attribute__((cold)) bool mc_h1_too_many(const mc_h1_parser *parser, mc_h1_message *message, mc_slice name) {
    if (message->head_done) {
        return parser->limits->enable_trailers; /* those that are dropped are not counted */
    }
    const mc_headers_kind kind = parser->_role == MC_H1_REQUEST ? MC_HEADERS_OF_REQUEST : MC_HEADERS_OF_RESPONSE;
    const mc_headers *headers = message->headers;
    const mc_header_id id = mc_header_lookup(name);
    uint32_t joined = message->joined;
    for (; message->joined_to < headers->count; message->joined_to++) {
        const uint16_t at = headers->items[message->joined_to].id;
        joined += headers->first[at] != 0 && headers->first[at] != message->joined_to + 1 && mc_header_joins(kind, at);
    }
    message->joined = joined;
    joined += headers->first[id] != 0 && mc_header_joins(kind, id);
    return message->field_count > parser->limits->max_headers_count + joined;
}

mc_status mc_h1_add_trailer(mc_h1_parser *parser, mc_h1_message *message, mc_header_id id, mc_slice name,
                            mc_slice value) {
    mc_arena *arena = message->headers->arena;
    if (!parser->limits->enable_trailers) {
        return MC_OK;
    }
    if (message->trailers == NULL) {
        if ((message->trailers = mc_arena_alloc(arena, sizeof *message->trailers)) == NULL) {
            return MC_ENOMEM;
        }
        mc_headers_init(message->trailers, arena);
        message->trailers->spelling = message->headers->spelling;
    }
    return mc_headers_add_ref(message->trailers, id, name, value);
}

/* preserve_case: the message's own; NULL: no memory. */
static mc_spelling *spelling_of(const mc_h1_parser *parser, mc_headers *headers) {
    mc_spelling *spelling = (mc_spelling *)(uintptr_t)headers->spelling;
    if (spelling == NULL && (spelling = mc_arena_zalloc(headers->arena, sizeof *spelling)) != NULL) {
        spelling->proper = parser->limits->keep_proper;
        headers->spelling = spelling;
    }
    return spelling;
}

/* The first spelling of each name. */
static mc_status remember_name(const mc_h1_parser *parser, mc_headers *headers, mc_slice name) {
    mc_spelling *spelling = spelling_of(parser, headers);
    if (spelling == NULL) {
        return MC_ENOMEM;
    }
    for (const mc_spelled_name *at = spelling->names; at != NULL; at = at->next) {
        if (mc_slice_ieq(at->name, name)) {
            return MC_OK;
        }
    }
    mc_spelled_name *spelled = mc_arena_zalloc(headers->arena, sizeof *spelled);
    if (spelled == NULL || mc_arena_dup(headers->arena, name, &spelled->name) != MC_OK) {
        return MC_ENOMEM;
    }
    spelled->next = spelling->names;
    spelling->names = spelled;
    return MC_OK;
}

static int on_value_complete(llhttp_t *llhttp) {
    mc_h1_parser *parser = llhttp->data;
    mc_h1_message *message = parser->_message;
    mc_h1_text *name = &message->name, *value = &message->value;
    if (MC_UNLIKELY(parser->limits->keep_case) &&
        remember_name(parser, message->headers, (mc_slice){name->p, name->n}) != MC_OK) {
        return answer(parser, MC_ENOMEM);
    }
    for (uint32_t i = 0; i < name->n; i++) {
        name->p[i] = mc_ascii_lower(name->p[i]);
    }
    mc_status status =
        mc_h1_add_field(parser, message, (mc_slice){name->p, name->n}, mc_slice_trim((mc_slice){value->p, value->n}));
    /* The bytes now belong to the map; what is left of the room serves the next field. */
    *name = (mc_h1_text){name->p + name->n, 0, name->cap - name->n};
    *value = value->n == 0 ? *value : (mc_h1_text){value->p + value->n, 0, value->cap - value->n};
    return answer(parser, status);
}

static int on_fields_complete(llhttp_t *llhttp) {
    (void)llhttp;
    return HPE_PAUSED;
}

static int on_chunk_data(llhttp_t *llhttp, const char *p, size_t n) {
    mc_h1_parser *parser = llhttp->data;
    return answer(parser, parser->handler->on_body(parser->ctx, (mc_slice){p, n}));
}

static int on_last_chunk(llhttp_t *llhttp) {
    mc_h1_parser *parser = llhttp->data;
    parser->_phase = PHASE_TRAILERS;
    return HPE_PAUSED;
}

static int nothing(llhttp_t *llhttp) {
    (void)llhttp;
    return HPE_OK;
}

static const llhttp_settings_t reads_fields = {
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_fields_complete,
};

static const llhttp_settings_t reads_chunks = {
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_body = on_chunk_data,
    .on_message_complete = on_last_chunk,
};

static const llhttp_settings_t reads_nothing = {.on_headers_complete = nothing};

static mc_status llhttp_start(mc_h1_parser *parser, const char *preamble, size_t n, const llhttp_settings_t *settings) {
    mc_h1_message *message = parser->_message;
    if (message->llhttp == NULL) {
        message->llhttp = mc_arena_alloc(message->headers->arena, sizeof *message->llhttp);
    }
    llhttp_t *llhttp = message->llhttp;
    if (llhttp == NULL) {
        return MC_ENOMEM;
    }
    llhttp_init(llhttp, HTTP_REQUEST, &reads_nothing);
    /* Length and coding are judged by mc_h1_finish_head, with the reasons of rule H1-7. */
    llhttp_set_lenient_chunked_length(llhttp, 1);
    llhttp_set_lenient_transfer_encoding(llhttp, 1);
    llhttp_execute(llhttp, preamble, n);
    llhttp->settings = (void *)settings;
    llhttp->data = parser;
    return MC_OK;
}

/* Runs llhttp over [*at, end): MC_OK all consumed, MC_AGAIN paused at *at, or an error. */
static mc_status llhttp_run(mc_h1_parser *parser, const char **at, const char *end) {
    llhttp_t *llhttp = parser->_message->llhttp;
    llhttp_resume(llhttp);
    parser->_status = MC_OK;
    llhttp_errno_t result = llhttp_execute(llhttp, *at, (size_t)(end - *at));
    if (result == HPE_OK) {
        *at = end;
        return MC_OK;
    }
    if (result == HPE_PAUSED) {
        *at = llhttp_get_error_pos(llhttp);
        return MC_AGAIN;
    }
    if (parser->_status != MC_OK) { /* a callback stopped it, under whatever name llhttp has for that */
        return parser->_status;
    }
    if (result == HPE_INVALID_TRANSFER_ENCODING) {
        return mc_h1_fail(parser, MC_EPROTO, 501, "http1.invalid_transfer_encoding");
    }
    if (strcmp(llhttp_get_error_reason(llhttp), "Invalid header value char") == 0) {
        return mc_h1_fail(parser, MC_EPROTO, 400, "http1.invalid_characters");
    }
    return mc_h1_malformed(parser);
}

/* --- steps ------------------------------------------------------------------------------------------------------ */

/* What follows the head, by its framing. */
static mc_status enter_body(mc_h1_parser *parser, mc_h1_message *message) {
    const mc_h1_head *head = &message->head;
    if (head->end_stream) { /* whatever the framing says, as after HEAD */
        parser->_phase = PHASE_COMPLETE;
    } else if (head->chunked) {
        parser->_phase = PHASE_CHUNKED;
        message->field_count = 0;
        message->field_bytes = 0;
        return llhttp_start(parser, chunks_follow, sizeof chunks_follow - 1, &reads_chunks);
    } else if (head->has_length && head->content_length > 0) {
        parser->_phase = PHASE_LENGTH;
        parser->_left = head->content_length;
    } else if (!head->has_length && parser->_role == MC_H1_RESPONSE) {
        parser->_phase = PHASE_UNTIL_CLOSE;
    } else { /* a refused upgrade without a body */
        parser->_phase = PHASE_COMPLETE;
    }
    return MC_OK;
}

static mc_status head_complete(mc_h1_parser *parser) {
    mc_h1_message *message = parser->_message;
    mc_status status = mc_h1_finish_head(parser, message);
    if (status != MC_OK) {
        return status;
    }
    message->head_done = true;
    if (MC_UNLIKELY(parser->limits->keep_case)) { /* also without a field */
        mc_spelling *spelling = spelling_of(parser, message->headers);
        if (spelling == NULL) {
            return MC_ENOMEM;
        }
        spelling->reason = parser->limits->keep_reason ? message->head.reason : MC_SLICE_NONE;
    }
    if (message->head.upgrade) {
        parser->_phase = PHASE_UPGRADE;
    } else if ((status = enter_body(parser, message)) != MC_OK) {
        return status;
    }
    return parser->handler->on_headers(parser->ctx, &message->head);
}

static mc_status step_idle(mc_h1_parser *parser, const char **at, const char *end) {
    if (parser->_role == MC_H1_REQUEST) { /* empty lines before a request (RFC 9112 section 2.2) */
        while (*at < end && (**at == '\r' || **at == '\n')) {
            ++*at;
        }
        if (*at == end) {
            return MC_OK;
        }
    } else if (parser->_asked == MC_H1_ASKED_NOTHING) {
        return mc_h1_malformed(parser);
    }
    /* What is no HTTP/1 at all, a TLS hello say, is known by its first byte. */
    if (parser->_role == MC_H1_REQUEST ? mc_h1_lower_token[(unsigned char)**at] == 0 : **at != 'H') {
        return mc_h1_malformed(parser);
    }
    mc_headers *headers = parser->handler->on_begin(parser->ctx);
    mc_h1_message *message = headers == NULL ? NULL : mc_arena_zalloc(headers->arena, sizeof *message);
    if (message == NULL) {
        return MC_ENOMEM;
    }
    message->headers = headers;
    parser->_message = message;
    /* preserve_case: the scanner lower-cases names in place. */
    long taken = MC_UNLIKELY(parser->limits->keep_case)
                     ? 0
                     : mc_h1_scan_head(parser, message, (mc_slice){*at, (size_t)(end - *at)});
    if (taken < 0) {
        return (mc_status)taken;
    }
    if (taken > 0) {
        *at += taken;
        return head_complete(parser);
    }
    parser->_phase = PHASE_LINE;
    return MC_OK;
}

static mc_status step_line(mc_h1_parser *parser, const char **at, const char *end) {
    mc_h1_message *message = parser->_message;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    const char *stop = newline == NULL ? end : newline + 1;
    if (message->line.n + (uint64_t)(stop - *at) > (uint64_t)parser->limits->max_headers_bytes + 32) {
        return too_large(parser); /* 32: method, version and white space do not count */
    }
    mc_status status = text_append(message->headers->arena, &message->line, *at, (size_t)(stop - *at));
    *at = stop;
    if (status != MC_OK || newline == NULL) {
        return status;
    }
    mc_slice line = {message->line.p, message->line.n};
    if (line.n < 2 || line.p[line.n - 2] != '\r') {
        return mc_h1_malformed(parser);
    }
    parser->_phase = PHASE_FIELDS;
    status = llhttp_start(parser, fields_follow, sizeof fields_follow - 1, &reads_fields);
    return status != MC_OK ? status : mc_h1_start_line(parser, message, mc_slice_until(line, line.n - 2));
}

static bool is_control(char c) { return (unsigned char)c < ' ' ? strchr("\t\r\n", c) == NULL || c == '\0' : c == 0x7f; }

/* Whether the line that goes on behind these bytes is empty so far. */
static bool blank_behind(bool blank, mc_slice bytes) {
    for (; bytes.n > 0 && bytes.p[bytes.n - 1] == '\r'; bytes.n--) {
    }
    return bytes.n == 0 ? blank : bytes.p[bytes.n - 1] == '\n';
}

/* H1-6: a control byte anywhere in the fields is what the head is refused for, whatever else is wrong with it. All of them are
 * looked at, so that it makes no difference how they were cut into reads. */
static mc_status step_fields(mc_h1_parser *parser, const char **at, const char *end) {
    mc_h1_message *message = parser->_message;
    const char *from = *at;
    mc_status status = llhttp_run(parser, at, end);
    if (MC_UNLIKELY(status == MC_EPROTO)) {
        *at = from;
        parser->_phase = PHASE_REFUSED;
        return MC_OK;
    }
    message->fields_read += (uint64_t)(*at - from);
    message->mid_line = status == MC_OK && !blank_behind(!message->mid_line, mc_slice_of(from, (size_t)(end - from)));
    return status == MC_AGAIN ? head_complete(parser) : status;
}

static mc_status step_refused(mc_h1_parser *parser, const char **at, const char *end) {
    mc_h1_message *message = parser->_message;
    for (; *at < end; ++*at) {
        const char c = **at;
        if (is_control(c)) {
            return mc_h1_fail(parser, MC_EPROTO, 400, "http1.invalid_characters");
        }
        if (c == '\n' && !message->mid_line) {
            return MC_EPROTO;
        }
        message->mid_line = c != '\n' && (c != '\r' || message->mid_line);
        if (++message->fields_read > parser->limits->max_headers_bytes) {
            return too_large(parser);
        }
    }
    return MC_OK;
}

static mc_status step_chunked(mc_h1_parser *parser, const char **at, const char *end) {
    mc_status status = llhttp_run(parser, at, end);
    return status == MC_AGAIN && parser->_phase == PHASE_TRAILERS ? MC_OK : status;
}

static mc_status step_length(mc_h1_parser *parser, const char **at, const char *end) {
    uint64_t have = (uint64_t)(end - *at);
    uint64_t take = have < parser->_left ? have : parser->_left;
    mc_slice data = {*at, (size_t)take};
    *at += take;
    parser->_left -= take;
    if (parser->_left == 0) {
        parser->_phase = PHASE_COMPLETE;
    }
    return parser->handler->on_body(parser->ctx, data);
}

static mc_status step_pass(mc_h1_parser *parser, const char **at, const char *end) {
    mc_slice data = {*at, (size_t)(end - *at)};
    *at = end;
    return parser->handler->on_body(parser->ctx, data);
}

static mc_status step_trailers(mc_h1_parser *parser) {
    mc_headers *trailers = parser->_message->trailers;
    parser->_phase = PHASE_COMPLETE;
    return trailers == NULL ? MC_OK : parser->handler->on_trailers(parser->ctx, trailers);
}

static mc_status step_complete(mc_h1_parser *parser) {
    const mc_h1_head *head = &parser->_message->head;
    bool interim = head->status >= 100 && head->status < 200 && head->status != 101;
    if (parser->_role == MC_H1_RESPONSE) {
        parser->_asked = interim ? parser->_asked : MC_H1_ASKED_NOTHING;
        parser->_phase = PHASE_IDLE;
    } else {
        parser->_phase = head->keep_alive ? PHASE_IDLE : PHASE_CLOSED;
    }
    parser->_message = NULL;
    return parser->handler->on_complete(parser->ctx);
}

static mc_status step(mc_h1_parser *parser, const char **at, const char *end) {
    switch ((phase)parser->_phase) {
    case PHASE_IDLE: return step_idle(parser, at, end);
    case PHASE_LINE: return step_line(parser, at, end);
    case PHASE_FIELDS: return step_fields(parser, at, end);
    case PHASE_REFUSED: return step_refused(parser, at, end);
    case PHASE_LENGTH: return step_length(parser, at, end);
    case PHASE_CHUNKED: return step_chunked(parser, at, end);
    case PHASE_UNTIL_CLOSE:
    case PHASE_TUNNEL: return step_pass(parser, at, end);
    case PHASE_TRAILERS: return step_trailers(parser);
    case PHASE_COMPLETE: return step_complete(parser);
    case PHASE_UPGRADE: return MC_AGAIN;
    case PHASE_CLOSED: *at = end; return MC_OK;
    case PHASE_FAILED: break;
    }
    return parser->_status;
}

/* --- public ----------------------------------------------------------------------------------------------------- */

void mc_h1_parser_init(mc_h1_parser *parser, mc_h1_role role, const mc_h1_limits *limits, const mc_h1_handler *handler,
                       void *ctx) {
    memset(parser, 0, sizeof *parser);
    parser->limits = limits;
    parser->handler = handler;
    parser->ctx = ctx;
    parser->_role = (uint8_t)role;
}

static mc_status stop(mc_h1_parser *parser, mc_status status) {
    parser->_phase = PHASE_FAILED;
    parser->_status = status;
    return status;
}

static bool event_due(const mc_h1_parser *parser) {
    return parser->_phase == PHASE_TRAILERS || parser->_phase == PHASE_COMPLETE;
}

long mc_h1_parser_feed(mc_h1_parser *parser, mc_slice in) {
    if (parser->_phase == PHASE_FAILED) {
        return parser->_status;
    }
    const char *at = in.p, *end = in.n == 0 ? in.p : in.p + in.n;
    mc_status status = MC_OK;
    while (status == MC_OK && (at < end || event_due(parser))) {
        status = step(parser, &at, end);
    }
    if (status != MC_OK && status != MC_AGAIN) {
        return stop(parser, status);
    }
    return at - in.p;
}

mc_status mc_h1_parser_eof(mc_h1_parser *parser) {
    mc_status status;
    switch ((phase)parser->_phase) {
    case PHASE_IDLE:
    case PHASE_CLOSED:
    case PHASE_TRAILERS:
    case PHASE_COMPLETE:
    case PHASE_UPGRADE: return MC_OK;
    case PHASE_UNTIL_CLOSE: status = step_complete(parser); break;
    case PHASE_TUNNEL:
        parser->_phase = PHASE_CLOSED;
        parser->_message = NULL;
        status = parser->handler->on_complete(parser->ctx);
        break;
    case PHASE_FAILED: return parser->_status;
    default: return stop(parser, mc_h1_malformed(parser));
    }
    return status == MC_OK || status == MC_AGAIN ? MC_OK : stop(parser, status);
}

bool mc_h1_parser_idle(const mc_h1_parser *parser) {
    return parser->_phase == PHASE_IDLE || parser->_phase == PHASE_CLOSED;
}

void mc_h1_parser_expect(mc_h1_parser *parser, mc_slice method) {
    parser->_asked = mc_slice_eq(method, MC_SLICE("HEAD"))      ? MC_H1_ASKED_HEAD
                     : mc_slice_eq(method, MC_SLICE("CONNECT")) ? MC_H1_ASKED_CONNECT
                                                                : MC_H1_ASKED_OTHER;
}

void mc_h1_parser_tunnel(mc_h1_parser *parser) { parser->_phase = PHASE_TUNNEL; }

void mc_h1_parser_refuse(mc_h1_parser *parser) {
    mc_h1_head *head = &parser->_message->head;
    head->end_stream = head->end_stream || head->status == 101;
    if (enter_body(parser, parser->_message) != MC_OK) {
        stop(parser, MC_ENOMEM);
    }
}
