/* Turns what a parser says into text, so that tests and fuzzers compare one string. Adjacent body pieces read as one: the
 * pieces depend on how the input was split, the bytes do not.
 *
 *     request GET /path HTTP/1.1            response 200 HTTP/1.1
 *     header name=value                     (in order; pseudo-headers by their names)
 *     head [close] [chunked] [length=n] [upgrade] [expect] [end]
 *     body "..."    trailer name=value    complete    error 400 http1.codec_error    eof-error */
#ifndef MC_TESTS_RECORDER_H
#define MC_TESTS_RECORDER_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h1/h1.h"

typedef struct recorder {
    mc_h1_parser parser;
    mc_arena arena;
    mc_headers headers;
    char *log;
    size_t used, cap;
    bool in_body;
    bool pause;  /* answer MC_AGAIN to every event */
    bool tunnel; /* take upgrades */
    bool open_message;
    size_t failed_at; /* 1 + offset in the log of the error, if any */
} recorder;

static inline void record_bytes(recorder *r, const char *p, size_t n) {
    if (r->used + n + 1 > r->cap) {
        r->cap = (r->used + n + 1) * 2;
        r->log = realloc(r->log, r->cap);
    }
    memcpy(r->log + r->used, p, n);
    r->used += n;
    r->log[r->used] = '\0';
}

static inline void record_escaped(recorder *r, mc_slice s) {
    for (size_t i = 0; i < s.n; i++) {
        char text[8];
        unsigned char c = (unsigned char)s.p[i];
        int n = c < ' ' || c >= 0x7f || c == '\\' ? snprintf(text, sizeof text, "\\x%02x", c)
                                                  : snprintf(text, sizeof text, "%c", c);
        record_bytes(r, text, (size_t)n);
    }
}

static inline void record_text(recorder *r, const char *text) { record_bytes(r, text, strlen(text)); }

static inline void record_close_body(recorder *r) {
    if (r->in_body) {
        record_text(r, "\"\n");
        r->in_body = false;
    }
}

static inline void record_fields(recorder *r, const mc_headers *headers, const char *kind) {
    MC_HEADERS_EACH(headers, it) {
        record_text(r, kind);
        record_bytes(r, it->name.p, it->name.n);
        record_text(r, "=");
        record_escaped(r, it->value);
        record_text(r, "\n");
    }
}

static inline mc_status record_done(recorder *r) { return r->pause ? MC_AGAIN : MC_OK; }

static inline mc_headers *record_begin(void *ctx) {
    recorder *r = ctx;
    record_close_body(r);
    if (r->open_message) {
        mc_arena_fini(&r->arena);
    }
    mc_arena_init(&r->arena, NULL);
    mc_headers_init(&r->headers, &r->arena);
    r->open_message = true;
    return &r->headers;
}

static inline mc_status record_headers(void *ctx, const mc_h1_head *head) {
    recorder *r = ctx;
    char line[128];
    record_fields(r, &r->headers, "header ");
    snprintf(line, sizeof line, "head 1.%d%s%s", head->version_minor, head->keep_alive ? "" : " close",
             head->chunked ? " chunked" : "");
    record_text(r, line);
    if (head->has_length) {
        snprintf(line, sizeof line, " length=%llu", (unsigned long long)head->content_length);
        record_text(r, line);
    }
    if (head->dropped > 0) {
        snprintf(line, sizeof line, " dropped=%u", head->dropped);
        record_text(r, line);
    }
    record_text(r, head->upgrade ? " upgrade" : "");
    record_text(r, head->expect_continue ? " expect" : "");
    record_text(r, head->end_stream ? " end\n" : "\n");
    if (head->upgrade && r->tunnel) {
        mc_h1_parser_tunnel(&r->parser);
    }
    return record_done(r);
}

static inline mc_status record_body(void *ctx, mc_slice data) {
    recorder *r = ctx;
    if (!r->in_body) {
        record_text(r, "body \"");
        r->in_body = true;
    }
    record_escaped(r, data);
    return record_done(r);
}

static inline mc_status record_trailers(void *ctx, mc_headers *trailers) {
    recorder *r = ctx;
    record_close_body(r);
    record_fields(r, trailers, "trailer ");
    return record_done(r);
}

static inline mc_status record_complete(void *ctx) {
    recorder *r = ctx;
    record_close_body(r);
    record_text(r, "complete\n");
    return record_done(r);
}

static const mc_h1_handler record_handler = {
    record_begin, record_headers, record_body, record_trailers, record_complete,
};

static inline void recorder_init(recorder *r, mc_h1_role role, const mc_h1_limits *limits) {
    memset(r, 0, sizeof *r);
    record_text(r, "");
    mc_h1_parser_init(&r->parser, role, limits, &record_handler, r);
}

static inline void recorder_fini(recorder *r) {
    if (r->open_message) {
        mc_arena_fini(&r->arena);
    }
    free(r->log);
}

/* Feeds one piece; as a connection would, again after each pause. False after an error or when the rest is not taken. */
static inline bool recorder_feed(recorder *r, const char *p, size_t n) {
    for (;;) {
        size_t before = r->used;
        long taken = mc_h1_parser_feed(&r->parser, (mc_slice){p, n});
        if (taken < 0) {
            char line[128];
            record_close_body(r);
            snprintf(line, sizeof line, "error %u %s\n", r->parser.error.reply_code,
                     r->parser.error.details == NULL ? mc_status_name((mc_status)taken) : r->parser.error.details);
            r->failed_at = r->used + 1;
            record_text(r, line);
            return false;
        }
        p += taken;
        n -= (size_t)taken;
        if (r->used == before) { /* nothing was due */
            return n == 0;
        }
    }
}

static inline void recorder_eof(recorder *r) {
    if (mc_h1_parser_eof(&r->parser) != MC_OK) {
        record_close_body(r);
        record_text(r, "eof-error\n");
    }
    record_close_body(r);
}

#endif
