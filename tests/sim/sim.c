/* The deterministic simulator: many clients and many upstream servers in random quarrel, from one seed, in virtual time.
 *
 * A seed is either calm or rough. Calm: bytes split and delayed at random, every kind of correct response, configurations and
 * hosts swapped live; then every request must be answered wholly and rightly. Rough: besides resets, stalls, refused
 * connections, clients that leave, malformed and missing responses, small circuit breakers, and half of the time a drain
 * under load; then every request must have exactly one outcome: its own whole response, an error status, or a closed
 * connection. At the end of both all gauges are at zero and all memory is back.
 *
 *   sim          runs SEEDS seeds, some of them twice (the traces must be equal)
 *   sim FROM N   runs N seeds from FROM
 *   sim SEED     replays one, telling every event */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../c/pipeline.h"

#include "base/hash.h"
#include "base/text.h"
#include "event/loop_internal.h"

enum { SEEDS = 60, CLIENTS = 12, REQUESTS = 160, ASKED = 4, CLUSTERS = 3, HOSTS = 4, KEPT = 256 };

typedef enum outcome { PENDING, WHOLE, FAILED, CLOSED } outcome;
static const char *const outcome_names[] = {"pending", "whole", "failed", "closed"};

typedef struct asked {
    uint32_t id;
    const char *method;
    size_t at;   /* in the client's bytes to send: where it begins */
    bool begun;  /* a byte of it was sent */
    bool behind; /* then: two others that were sent before were not answered */
} asked;

/* What a response, or a request, says of itself while it is read. */
typedef struct reading {
    mc_arena arena;
    mc_headers headers;
    bool open; /* the arena is in use */
    uint32_t id;
    uint64_t seed; /* of the body's pattern; 0: not checked */
    uint64_t expected, got;
    uint16_t status;
} reading;

typedef struct client {
    pipeline_peer peer;
    bool open, stalled;
    bool over;       /* half a HEAD was answered, with a body that an answer to the whole would not have */
    uint64_t expect; /* over: so many bytes of that body are to come */
    mc_h1_parser parser;
    reading response;
    asked asked[ASKED]; /* in order */
    uint32_t asked_count;
    mc_text out; /* bytes to send, from out_at */
    size_t out_at;
} client;

typedef enum script_end { STAY, CLOSE, RESET } script_end;

/* An upstream connection: what it reads, and what it is about to say. */
typedef struct server {
    pipeline_peer *peer;
    mc_h1_parser parser;
    reading request;
    bool busy, answered, stalled, head;
    bool heard, told;      /* the head of the newest request; a byte of its answer */
    uint32_t requests;     /* of this connection */
    mc_text out, previous; /* the previous bytes may still be borrowed */
    size_t out_at;
    uint64_t due_ms;
    script_end end;
} server;

/* A host that left its cluster: how many requests it may have had at most, those that waited for it then included. */
typedef struct left {
    mc_host *host; /* referenced */
    uint64_t limit;
} left;

typedef struct sim {
    uint64_t seed, hash;
    bool verbose, calm, draining;
    bool local; /* c0 is the proxy's own cluster, which stands in zone a */
    mc_random random;
    pipeline p;
    client clients[CLIENTS];
    outcome outcomes[REQUESTS];
    uint32_t requests, answered, tally[4];
    uint64_t received;      /* by servers: heads of requests */
    uint64_t ended;         /* connections that served before, by servers that had not begun to answer */
    bool reached[REQUESTS]; /* a server, by request */
    uint64_t records;
    mc_cluster *clusters[KEPT];
    mc_host *hosts[KEPT];
    uint32_t cluster_count, host_count;
    left left[KEPT];
    uint32_t left_count;
    uint32_t small_breakers;
    uint64_t floods;
} sim;

/* --- chance, trace, failure ----------------------------------------------------------------------------------------- */

static uint64_t below(sim *s, uint64_t n) { return mc_random_next(&s->random) % n; }
static bool chance(sim *s, unsigned percent) { return below(s, 100) < percent; }
static uint64_t now(const sim *s) { return s->p.worker == NULL ? 0 : mc_loop_now_ms(s->p.worker->loop); }

__attribute__((format(printf, 2, 3))) static void trace(sim *s, const char *format, ...) {
    char line[256];
    va_list args;
    int n = snprintf(line, sizeof line, "%llu ", (unsigned long long)now(s));
    va_start(args, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    s->hash = mc_xxh64(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1, s->hash);
    if (s->verbose) {
        puts(line);
    }
}

#define REQUIRE(s, condition, ...)                                                                                     \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "sim: seed %llu at %llu ms: %s: ", (unsigned long long)(s)->seed,                          \
                    (unsigned long long)now(s), #condition);                                                           \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fprintf(stderr, "\nreplay: make sim SEED=%llu\n", (unsigned long long)(s)->seed);                          \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* --- bodies --------------------------------------------------------------------------------------------------------- */

/* Requests have odd pattern seeds, responses even ones: one is never taken for the other. */
static uint64_t request_pattern(uint32_t id) { return (uint64_t)id * 2 + 1; }
static uint64_t response_pattern(uint32_t id) { return (uint64_t)id * 2 + 2; }

static char body_byte(uint64_t pattern, uint64_t offset) {
    uint64_t x = pattern * 0x9e3779b97f4a7c15u + (offset >> 3) * 0xbf58476d1ce4e5b9u;
    return (char)('a' + ((x >> 32) + offset) % 26);
}

static uint64_t body_size(sim *s) {
    uint64_t kind = below(s, 20);
    return kind < 5 ? 0 : kind < 17 ? below(s, 2000) : kind < 19 ? below(s, 40000) : below(s, 200000);
}

static void add_body(sim *s, mc_text *out, uint64_t pattern, uint64_t size, bool chunked) {
    char piece[4096];
    for (uint64_t at = 0; at < size;) {
        uint64_t n = 1 + below(s, sizeof piece);
        n = n < size - at ? n : size - at;
        for (uint64_t i = 0; i < n; i++) {
            piece[i] = body_byte(pattern, at + i);
        }
        if (chunked) {
            char head[32];
            mc_text_add(out, mc_slice_of(head, (size_t)snprintf(head, sizeof head, "%llx\r\n", (unsigned long long)n)));
        }
        mc_text_add(out, mc_slice_of(piece, n));
        if (chunked) {
            mc_text_lit(out, "\r\n");
        }
        at += n;
    }
    if (chunked) {
        mc_text_lit(out, "0\r\n\r\n");
    }
}

__attribute__((format(printf, 2, 3))) static void add(mc_text *out, const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mc_text_add(out, mc_slice_of(text, (size_t)n));
}

/* --- reading, either side ------------------------------------------------------------------------------------------- */

static void reading_close(reading *r) {
    if (r->open) {
        mc_arena_fini(&r->arena);
        r->open = false;
    }
}

static mc_headers *reading_begin(reading *r) {
    reading_close(r);
    memset(r, 0, sizeof *r);
    mc_arena_init(&r->arena, NULL);
    r->open = true;
    mc_headers_init(&r->headers, &r->arena);
    return &r->headers;
}

static uint64_t header_number(const reading *r, const char *name) {
    uint64_t value;
    mc_slice text = mc_headers_get(&r->headers, mc_slice_cstr(name));
    return text.p != NULL && mc_slice_u64(text, &value) == MC_OK ? value : UINT64_MAX;
}

static void reading_body(sim *s, reading *r, mc_slice data) {
    for (size_t i = 0; r->seed != 0 && i < data.n; i++) {
        REQUIRE(s, data.p[i] == body_byte(r->seed, r->got + i), "body of %u differs at %llu", r->id,
                (unsigned long long)(r->got + i));
    }
    r->got += data.n;
}

/* --- upstream servers ------------------------------------------------------------------------------------------------ */

static sim *sim_of(pipeline *p) { return MC_CONTAINER(p, sim, p); }
static sim *server_sim(const server *v) { return sim_of(v->peer->owner); }

static mc_headers *server_begin(void *ctx) {
    server *v = ctx;
    REQUIRE(server_sim(v), !v->busy, "a request on a connection that is still answering %u", v->request.id);
    v->answered = false;
    return reading_begin(&v->request);
}

/* What a server says to a request, all at once or bit by bit. */
static void script(server *v, bool early) {
    sim *s = server_sim(v);
    reading *r = &v->request;
    const uint64_t size = v->head ? 0 : body_size(s), kind = below(s, s->calm ? 60 : 100);
    const bool chunked = kind >= 20 && kind < 40;
    mc_text swap = v->previous;
    v->previous = v->out;
    v->out = swap;
    v->out.n = 0;
    v->out_at = 0;
    v->busy = v->answered = true;
    v->end = STAY;
    v->due_ms = now(s) + (chance(s, 30) ? below(s, 200) : 0);
    if (chance(s, 5)) {
        mc_text_lit(&v->out, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
    }
    unsigned status = kind < 60 ? 200 : kind < 75 ? 503 : kind < 80 ? 500 : 200;
    if (kind >= 55 && kind < 60) {
        add(&v->out, "HTTP/1.1 %s\r\nx-sim-id: %u\r\n\r\n", below(s, 2) ? "204 No Content" : "304 Not Modified", r->id);
        return;
    }
    if (status == 200 && chance(s, 10)) { /* some routes follow it themselves */
        status = 302;
        add(&v->out, "HTTP/1.1 302 Status\r\nlocation: http://other/%u/%u\r\n", (unsigned)below(s, 4), r->id);
    } else {
        add(&v->out, "HTTP/1.1 %u Status\r\n", status);
    }
    add(&v->out, "x-sim-id: %u\r\nx-sim-size: %llu\r\n", r->id, (unsigned long long)size);
    if (chance(s, 30)) {
        add(&v->out, "endpoint-load-metrics: TEXT rps_fractional=%u,cpu_utilization=0.%u\r\n", (unsigned)below(s, 50),
            (unsigned)below(s, 10));
    }
    if (chunked) {
        mc_text_lit(&v->out, "Transfer-Encoding: chunked\r\n\r\n");
    } else if (kind >= 40 && kind < 50) {
        mc_text_lit(&v->out, "Connection: close\r\n\r\n");
        v->end = CLOSE;
    } else {
        if (kind >= 50 && kind < 55) {
            mc_text_lit(&v->out, "Connection: close\r\n");
            v->end = CLOSE;
        }
        add(&v->out, "Content-Length: %llu\r\n\r\n", (unsigned long long)size);
    }
    if (!v->head) {
        add_body(s, &v->out, response_pattern(r->id), size, chunked);
    }
    if (kind >= 80 && kind < 86) { /* cut off somewhere */
        v->out.n = below(s, v->out.n + 1);
        v->end = below(s, 2) ? RESET : CLOSE;
    } else if (kind >= 86 && kind < 90) { /* nothing more ever */
        v->out.n = below(s, v->out.n + 1);
    } else if (kind >= 90 && kind < 93) {
        v->out.n = 0;
        mc_text_lit(&v->out, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab");
    } else if (kind >= 93) { /* whole, then gone */
        v->end = below(s, 2) ? RESET : CLOSE;
    }
    trace(s, "server %.*s %s %u: kind %llu, %zu bytes", MC_SLICE_ARG(v->peer->host->address_text),
          early ? "answers early" : "answers", r->id, (unsigned long long)kind, (size_t)v->out.n);
}

static mc_status server_headers(void *ctx, const mc_h1_head *head) {
    server *v = ctx;
    sim *s = server_sim(v);
    reading *r = &v->request;
    r->id = (uint32_t)header_number(r, "x-sim-id");
    r->expected = header_number(r, "x-sim-size");
    s->received++;
    v->heard = true;
    v->told = false;
    v->requests++;
    REQUIRE(s, r->id < s->requests, "a request that nobody sent");
    s->reached[r->id] = true;
    r->seed = request_pattern(r->id);
    v->head = mc_slice_eq(mc_headers_get_known(&r->headers, MC_H_METHOD), MC_SLICE("HEAD"));
    REQUIRE(s, !head->has_length || head->content_length == r->expected, "length of %u", r->id);
    trace(s, "server %.*s gets %u", MC_SLICE_ARG(v->peer->host->address_text), r->id);
    if (!s->calm && !head->end_stream && chance(s, 10)) {
        script(v, true);
    }
    return MC_OK;
}

static mc_status server_body(void *ctx, mc_slice data) {
    server *v = ctx;
    reading_body(server_sim(v), &v->request, data);
    return MC_OK;
}

static mc_status server_complete(void *ctx) {
    server *v = ctx;
    REQUIRE(server_sim(v), v->request.got == v->request.expected, "request %u ended after %llu of %llu bytes",
            v->request.id, (unsigned long long)v->request.got, (unsigned long long)v->request.expected);
    if (!v->answered) { /* else it was early */
        script(v, false);
    }
    return MC_OK;
}

static const mc_h1_handler server_handler = {
    .on_begin = server_begin, .on_headers = server_headers, .on_body = server_body, .on_complete = server_complete};

static mc_h1_limits request_limits, response_limits;

static void serve(pipeline_peer *peer) {
    sim *s = sim_of(peer->owner);
    server *v = peer->user;
    if (v == NULL) {
        v = mc_calloc(1, sizeof *v);
        v->peer = peer;
        peer->user = v;
        mc_h1_parser_init(&v->parser, MC_H1_REQUEST, &request_limits, &server_handler, v);
    }
    while (peer->in.length > 0) {
        mc_slice front = mc_buffer_front(&peer->in);
        long n = mc_h1_parser_feed(&v->parser, front);
        REQUIRE(s, n >= 0, "upstream got what is no request: %s", v->parser.error.details);
        mc_buffer_drain(&peer->in, (size_t)n);
    }
}

static void server_gone(pipeline_peer *peer) {
    server *v = peer->user;
    if (v != NULL) {
        reading_close(&v->request);
        mc_text_fini(&v->out);
        mc_text_fini(&v->previous);
        mc_free(v);
        peer->user = NULL;
    }
}

/* What met the end of a connection that was used before, without an answer to it, goes out once more. A reset takes back what of an
 * answer was under way. */
static void note_end(sim *s, server *v, bool reset) {
    s->ended += v->requests > 1 && v->heard && (!v->told || reset);
    v->heard = false;
}

/* Sends what is due: all of it, or a part. */
static void server_step(sim *s, server *v, bool all) {
    size_t left = v->out.n - v->out_at;
    if (!v->busy || v->peer->closed || (now(s) < v->due_ms && !all)) {
        return;
    }
    size_t n = left == 0 || all || chance(s, 60) ? left : 1 + below(s, left);
    pipeline_send(v->peer, mc_slice_of(v->out.p + v->out_at, n));
    v->told |= n > 0;
    v->out_at += n;
    v->due_ms = now(s) + below(s, 30);
    if (n < left) {
        return;
    }
    v->busy = false;
    if (v->end != STAY) {
        note_end(s, v, v->end == RESET);
    }
    if (v->end == CLOSE) {
        mc_conn_close(&v->peer->conn, true);
    } else if (v->end == RESET) {
        trace(s, "server resets %u", v->request.id);
        mc_memory_reset(&v->peer->conn);
    }
}

static bool admit(pipeline *p, const mc_host *host) {
    sim *s = sim_of(p);
    uint32_t i = 0;
    while (i < s->host_count && s->hosts[i] != host) {
        i++;
    }
    if (i == s->host_count && i < KEPT) {
        s->hosts[s->host_count++] = mc_host_ref((mc_host *)(uintptr_t)host);
    }
    p->memory = (mc_memory_options){.capacity = (uint32_t)(4096u << below(s, 5)),
                                    .split = chance(s, 50),
                                    .max_delay_ms = chance(s, 30) ? (uint32_t)below(s, 6) : 0};
    bool accepted = s->calm || !chance(s, 4);
    trace(s, "connect %.*s%s", MC_SLICE_ARG(host->address_text), accepted ? "" : " refused");
    return accepted;
}

/* --- clients --------------------------------------------------------------------------------------------------------- */

static void settle(sim *s, uint32_t id, outcome what) {
    REQUIRE(s, id < s->requests && s->outcomes[id] == PENDING, "request %u was %s and is now %s", id,
            outcome_names[s->outcomes[id]], outcome_names[what]);
    s->outcomes[id] = what;
    s->answered++;
    s->tally[what]++;
    trace(s, "request %u %s", id, outcome_names[what]);
}

static sim *client_sim(const client *c) { return sim_of(c->peer.owner); }

static mc_headers *client_begin(void *ctx) {
    client *c = ctx;
    return reading_begin(&c->response);
}

static mc_status client_headers(void *ctx, const mc_h1_head *head) {
    client *c = ctx;
    sim *s = client_sim(c);
    reading *r = &c->response;
    r->status = head->status;
    if (head->status < 200) {
        return MC_OK;
    }
    r->expected = header_number(r, "x-sim-size");
    r->id = (uint32_t)header_number(r, "x-sim-id");
    c->over = head->status == 408 && strcmp(c->asked[0].method, "HEAD") == 0 && r->id == UINT32_MAX;
    if (c->over) {
        c->expect = head->content_length;
        REQUIRE(s, head->has_length && !s->reached[c->asked[0].id], "half of %u was served", c->asked[0].id);
    }
    if (r->id != UINT32_MAX) {
        REQUIRE(s, r->id == c->asked[0].id, "got the response to %u for %u", r->id, c->asked[0].id);
        r->seed = response_pattern(r->id);
    } else {
        /* The proxy's own answer, or the garbled upstream one. */
        REQUIRE(s, !s->calm, "request %u was answered %u", c->asked[0].id, head->status);
        REQUIRE(s, head->status >= 300, "status %u of nobody", head->status);
    }
    REQUIRE(s, !s->calm || head->status < 400, "request %u was answered %u", c->asked[0].id, head->status);
    return MC_OK;
}

static mc_status client_body(void *ctx, mc_slice data) {
    client *c = ctx;
    reading_body(client_sim(c), &c->response, data);
    return MC_OK;
}

static mc_status client_complete(void *ctx) {
    client *c = ctx;
    sim *s = client_sim(c);
    reading *r = &c->response;
    if (r->status < 200) {
        return MC_OK;
    }
    const bool bodyless =
        mc_slice_eq(mc_slice_cstr(c->asked[0].method), MC_SLICE("HEAD")) || r->status == 204 || r->status == 304;
    REQUIRE(s, r->expected == UINT64_MAX || r->got == (bodyless ? 0 : r->expected),
            "response to %u ended after %llu of %llu bytes", c->asked[0].id, (unsigned long long)r->got,
            (unsigned long long)r->expected);
    settle(s, c->asked[0].id, r->status < 400 && r->seed != 0 ? WHOLE : FAILED);
    memmove(c->asked, c->asked + 1, --c->asked_count * sizeof c->asked[0]);
    return MC_AGAIN;
}

static const mc_h1_handler client_handler = {
    .on_begin = client_begin, .on_headers = client_headers, .on_body = client_body, .on_complete = client_complete};

/* Reads what came; notices the end. */
static void client_read(sim *s, client *c) {
    while (c->peer.in.length > 0) {
        mc_slice front = mc_buffer_front(&c->peer.in);
        if (c->over) {
            REQUIRE(s, c->peer.in.length <= c->expect, "an answer to half a request goes on: %.*s",
                    MC_SLICE_ARG(front));
            c->expect -= c->peer.in.length;
            mc_buffer_clear(&c->peer.in);
            break;
        }
        REQUIRE(s, c->asked_count > 0, "bytes that nobody asked for: %.*s", MC_SLICE_ARG(mc_slice_until(front, 200)));
        mc_h1_parser_expect(&c->parser, mc_slice_cstr(c->asked[0].method));
        long n = mc_h1_parser_feed(&c->parser, front);
        REQUIRE(s, n >= 0, "a client got what is no response to %u: %s: %.*s", c->asked[0].id, c->parser.error.details,
                MC_SLICE_ARG(mc_slice_until(front, 200)));
        mc_buffer_drain(&c->peer.in, (size_t)n);
    }
    if (!c->peer.closed) {
        return;
    }
    if (c->asked_count > 0 && c->peer.eof && mc_h1_parser_eof(&c->parser) != MC_OK) {
        trace(s, "response to %u cut off", c->asked[0].id);
    }
    /* H1-12: who asks for more while two answers have not left is a flood; nobody serves that request. */
    const bool flooded = c->asked_count > 0 && c->asked[0].behind && !s->reached[c->asked[0].id] &&
                         pipeline_counter(&s->p, "http1.response_flood") > s->floods;
    s->floods += flooded;
    for (uint32_t i = 0; i < c->asked_count; i++) {
        REQUIRE(s, !s->calm || flooded, "the connection of request %u was closed", c->asked[i].id);
        settle(s, c->asked[i].id, CLOSED);
    }
    trace(s, "client %d closed", (int)(c - s->clients));
    c->asked_count = 0;
    c->open = c->stalled = false;
    reading_close(&c->response);
    mc_text_fini(&c->out);
    mc_text_init(&c->out);
    mc_buffer_clear(&c->peer.in);
}

static void client_open(sim *s, client *c) {
    s->p.memory = (mc_memory_options){.capacity = (uint32_t)(4096u << below(s, 5)),
                                      .split = chance(s, 50),
                                      .max_delay_ms = chance(s, 30) ? (uint32_t)below(s, 6) : 0};
    memset(c, 0, sizeof *c);
    mc_text_init(&c->out);
    REQUIRE(s, pipeline_client(&s->p, &c->peer, "main") == MC_OK, "a client");
    mc_h1_parser_init(&c->parser, MC_H1_RESPONSE, &response_limits, &client_handler, c);
    c->open = true;
    trace(s, "client %d opened", (int)(c - s->clients));
}

static void client_ask(sim *s, client *c) {
    static const char *const methods[] = {"GET", "GET", "HEAD", "DELETE", "POST", "POST", "PUT", "POST"};
    const uint32_t kind = (uint32_t)below(s, 8), id = s->requests;
    const uint64_t size = kind < 4 ? 0 : body_size(s);
    const bool chunked = kind >= 4 && chance(s, 50);
    if (c->out_at == c->out.n) {
        c->out.n = c->out_at = 0;
    }
    s->outcomes[s->requests++] = PENDING;
    c->asked[c->asked_count++] = (asked){.id = id, .method = methods[kind], .at = c->out.n};
    add(&c->out, "%s /%u/%u HTTP/1.1\r\nHost: h%u\r\nx-sim-id: %u\r\nx-sim-size: %llu\r\n", methods[kind],
        (unsigned)below(s, s->calm ? 4 : 6), id, (unsigned)below(s, 3), id, (unsigned long long)size);
    if (chance(s, 20)) { /* some balancers heed it */
        add(&c->out, "x-host: 10.0.%u.%u:80\r\n", (unsigned)below(s, 2), (unsigned)below(s, HOSTS));
    }
    if (chance(s, 5) && kind >= 4) {
        mc_text_lit(&c->out, "Expect: 100-continue\r\n");
    }
    if (chunked) {
        mc_text_lit(&c->out, "Transfer-Encoding: chunked\r\n\r\n");
    } else if (kind >= 4) {
        add(&c->out, "Content-Length: %llu\r\n\r\n", (unsigned long long)size);
    } else {
        mc_text_lit(&c->out, "\r\n");
    }
    if (kind >= 4) {
        add_body(s, &c->out, request_pattern(id), size, chunked);
    }
    trace(s, "client %d asks %u: %s, %llu bytes%s", (int)(c - s->clients), id, methods[kind], (unsigned long long)size,
          chunked ? ", chunked" : "");
}

static void client_send(sim *s, client *c, bool all) {
    size_t left = c->out.n - c->out_at;
    if (left > 0 && !c->peer.closed) {
        size_t n = all || chance(s, 70) ? left : 1 + below(s, left);
        for (uint32_t i = 0; i < c->asked_count; i++) {
            if (!c->asked[i].begun && c->asked[i].at < c->out_at + n) {
                c->asked[i].begun = true;
                c->asked[i].behind = i >= 2;
            }
        }
        pipeline_send(&c->peer, mc_slice_of(c->out.p + c->out_at, n));
        c->out_at += n;
    }
}

static void client_misbehave(sim *s, client *c) {
    uint64_t kind = below(s, 10);
    trace(s, "client %d does %llu", (int)(c - s->clients), (unsigned long long)kind);
    if (kind < 2) {
        mc_memory_reset(&c->peer.conn);
    } else if (kind < 4) {
        mc_conn_abort(&c->peer.conn, MC_CLOSE_LOCAL);
    } else if (kind < 5) {
        mc_conn_shutdown_write(&c->peer.conn);
    } else {
        c->stalled = !c->stalled;
        mc_memory_stall(&c->peer.conn, c->stalled);
    }
}

static void client_step(sim *s, client *c) {
    if (!c->open) {
        if (!s->draining && s->requests < REQUESTS && chance(s, 30)) {
            client_open(s, c);
        }
        return;
    }
    if (!c->peer.closed && s->requests < REQUESTS && c->asked_count < ASKED &&
        chance(s, c->asked_count == 0 ? 40 : 8)) {
        client_ask(s, c);
    }
    client_send(s, c, false);
    if (!s->calm && !c->peer.closed && chance(s, 2)) {
        client_misbehave(s, c);
    } else if (s->calm && c->asked_count == 0 && c->out_at == c->out.n && chance(s, 5)) {
        mc_conn_close(&c->peer.conn, true);
    }
}

static void forget_left(sim *s);
static void note_left(sim *s, const char *name);

/* --- configurations -------------------------------------------------------------------------------------------------- */

/* Groups of a ClusterLoadAssignment. The cluster that the proxy belongs to has one priority (ZA-1). */
static void add_hosts(sim *s, mc_text *json, uint64_t cluster) {
    uint64_t present = s->calm ? 1 + below(s, (1u << HOSTS) - 1) : below(s, 1u << HOSTS);
    const bool several = !(s->local && cluster == 0) && chance(s, 40);
    const char *comma = "";
    for (uint64_t host = 0; host < HOSTS; host++) {
        if (present >> host & 1) {
            add(json,
                "%s{\"priority\":%llu,\"locality\":{\"zone\":\"%c\"},\"load_balancing_weight\":%llu,\"lb_endpoints\":[{"
                "\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.%llu.%llu\",\"port_value\":80}}},"
                "\"metadata\":{\"filter_metadata\":{\"envoy.lb\":{\"k\":\"%c\",\"v\":%llu}}},"
                "\"load_balancing_weight\":%llu}]}",
                comma, (unsigned long long)(several ? below(s, 2) : 0), (char)('a' + below(s, 2)),
                (unsigned long long)(1 + below(s, 3)), (unsigned long long)cluster, (unsigned long long)host,
                (char)('a' + below(s, 3)), (unsigned long long)below(s, 2), (unsigned long long)(1 + below(s, 3)));
            comma = ",";
        }
    }
}

/* --- balancers ---------------------------------------------------------------------------------------------------- */

#define EXTENSIONS "type.googleapis.com/envoy.extensions.load_balancing_policies."
#define WEIGHTS                                                                                                        \
    "\"" EXTENSIONS "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin\",\"blackout_period\":\"0s\","   \
    "\"weight_expiration_period\":\"2s\",\"weight_update_period\":\"0.2s\""
#define SLOW_START "\"slow_start_config\":{\"slow_start_window\":\"3s\"}"

static void open_policy(mc_text *json, const char *type) {
    add(json, "{\"policies\":[{\"typed_extension_config\":{\"name\":\"p\",\"typed_config\":{\"@type\":%s", type);
}

static void close_policy(mc_text *json) { mc_text_lit(json, "}}}]}"); }

/* A policy that chooses by itself. */
static void add_simple_policy(sim *s, mc_text *json) {
    static const char *const types[] = {
        "\"" EXTENSIONS "round_robin.v3.RoundRobin\"," SLOW_START,
        "\"" EXTENSIONS "least_request.v3.LeastRequest\",\"selection_method\":\"FULL_SCAN\"",
        "\"" EXTENSIONS "least_request.v3.LeastRequest\",\"choice_count\":3,\"active_request_bias\":{\"default_value\":"
        "2,\"runtime_key\":\"bias\"},\"locality_lb_config\":{\"locality_weighted_lb_config\":{}}," SLOW_START,
        "\"" EXTENSIONS "random.v3.Random\"",
        "\"" EXTENSIONS "ring_hash.v3.RingHash\",\"minimum_ring_size\":16,\"locality_weighted_lb_config\":{},"
        "\"consistent_hashing_lb_config\":{\"hash_balance_factor\":110}",
        "\"" EXTENSIONS "maglev.v3.Maglev\",\"table_size\":13",
        "\"type.googleapis.com/meshcore.PeakEwma\",\"failures_as_latency\":true",
        "\"type.googleapis.com/meshcore.PeakEwma\"",
        WEIGHTS,
    };
    open_policy(json, types[below(s, sizeof types / sizeof *types)]);
    close_policy(json);
}

static void add_subset_policy(sim *s, mc_text *json) {
    static const char *const selectors[] = {
        "{\"keys\":[\"k\"]}",
        "{\"keys\":[\"k\"],\"single_host_per_subset\":true}",
        "{\"keys\":[\"k\",\"v\"],\"fallback_policy\":\"KEYS_SUBSET\",\"fallback_keys_subset\":[\"k\"]},{\"keys\":["
        "\"k\"]}",
    };
    open_policy(json, "\"" EXTENSIONS "subset.v3.Subset\"");
    add(json, ",\"fallback_policy\":\"ANY_ENDPOINT\",\"locality_weight_aware\":%s,\"subset_selectors\":[%s],",
        chance(s, 50) ? "true" : "false", selectors[below(s, 3)]);
    mc_text_lit(json, "\"subset_lb_policy\":");
    add_simple_policy(s, json);
    close_policy(json);
}

static void add_policy(sim *s, mc_text *json) {
    const uint64_t kind = below(s, 10);
    mc_text_lit(json, "\"load_balancing_policy\":");
    if (kind < 3) {
        add_subset_policy(s, json);
    } else if (kind < 5) {
        open_policy(json, "\"" EXTENSIONS
                          "override_host.v3.OverrideHost\",\"override_host_sources\":[{\"header\":\"x-host\"}]");
        mc_text_lit(json, ",\"fallback_policy\":");
        add_simple_policy(s, json);
        close_policy(json);
    } else if (kind < 6) {
        open_policy(json, "\"" EXTENSIONS "wrr_locality.v3.WrrLocality\",\"endpoint_picking_policy\":");
        open_policy(json, WEIGHTS);
        close_policy(json);
        close_policy(json);
    } else {
        add_simple_policy(s, json);
    }
    mc_text_lit(json, ",");
}

static void add_legacy_policy(sim *s, mc_text *json) {
    static const char *const policies[] = {"ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV"};
    add(json,
        "\"lb_policy\":\"%s\",\"ring_hash_lb_config\":{\"minimum_ring_size\":16},\"maglev_lb_config\":{\"table_size\":"
        "13},",
        policies[below(s, 5)]);
    if (chance(s, 30)) {
        mc_text_lit(json, "\"common_lb_config\":{\"locality_weighted_lb_config\":{}},");
    } else if (!s->calm && chance(s, 60)) {
        add(json,
            "\"common_lb_config\":{\"zone_aware_lb_config\":{\"min_cluster_size\":1,\"fail_traffic_on_panic\":%s},"
            "\"consistent_hashing_lb_config\":{\"hash_balance_factor\":150}},",
            chance(s, 30) ? "true" : "false");
    }
}

static void add_outlier_detection(sim *s, mc_text *json) {
    static const unsigned limits[] = {10, 34, 50, 100};
    add(json,
        "\"outlier_detection\":{\"interval\":\"%llus\",\"base_ejection_time\":\"%llus\",\"max_ejection_percent\":%u,"
        "\"consecutive_5xx\":%llu,\"consecutive_gateway_failure\":2,\"enforcing_consecutive_gateway_failure\":%llu,"
        "\"enforcing_failure_percentage\":100,\"failure_percentage_minimum_hosts\":2,"
        "\"failure_percentage_request_volume\":5,\"failure_percentage_threshold\":50,"
        "\"split_external_local_origin_errors\":%s,\"consecutive_local_origin_failure\":2",
        (unsigned long long)(1 + below(s, 3)), (unsigned long long)(1 + below(s, 5)), limits[below(s, 4)],
        (unsigned long long)(1 + below(s, 4)), (unsigned long long)(below(s, 3) * 50),
        chance(s, 50) ? "true" : "false");
    if (chance(s, 30)) {
        mc_text_lit(json, ",\"monitors\":[{\"name\":\"degree\",\"typed_config\":{\"@type\":"
                          "\"type.googleapis.com/meshcore.HealthDegree\",\"threshold\":3}}]");
    }
    mc_text_lit(json, "},");
}

static void add_cluster(sim *s, mc_text *json, uint64_t cluster) {
    add(json, "{\"name\":\"c%llu\",\"type\":\"STATIC\",", (unsigned long long)cluster);
    if (chance(s, 50)) {
        add_policy(s, json);
    } else {
        add_legacy_policy(s, json);
    }
    if (!s->calm && chance(s, 50)) {
        add_outlier_detection(s, json);
    }
    if (chance(s, 20)) {
        add(json, "\"preconnect_policy\":{\"per_upstream_preconnect_ratio\":%s,\"predictive_preconnect_ratio\":%s},",
            chance(s, 50) ? "1.5" : "1", chance(s, 50) ? "2" : "1");
    }
    if (!s->calm && chance(s, 30)) {
        add(json,
            "\"circuit_breakers\":{\"thresholds\":[{\"max_connections\":%llu,\"max_pending_requests\":%llu,\"max_"
            "requests\":%llu,"
            "\"max_retries\":%llu}]},",
            (unsigned long long)(1 + below(s, 3)), (unsigned long long)(1 + below(s, 3)),
            (unsigned long long)(1 + below(s, 4)), (unsigned long long)below(s, 3));
    } else if (s->calm) {
        mc_text_lit(json,
                    "\"circuit_breakers\":{\"thresholds\":[{\"max_pending_requests\":5000,\"max_retries\":100}]},");
    }
    if (chance(s, 30)) {
        add(json, "\"per_connection_buffer_limit_bytes\":%llu,", (unsigned long long)(1024u << below(s, 6)));
    }
    add(json, "\"connect_timeout\":\"%llus\",\"common_http_protocol_options\":{\"idle_timeout\":\"%llus\"%s},",
        (unsigned long long)(1 + below(s, 3)), (unsigned long long)(20 + below(s, 600)),
        chance(s, 30) ? ",\"max_requests_per_connection\":2" : "");
    add(json, "\"load_assignment\":{\"cluster_name\":\"c%llu\",\"endpoints\":[", (unsigned long long)cluster);
    add_hosts(s, json, cluster);
    mc_text_lit(json, "]}}");
}

static void add_route(sim *s, mc_text *json, uint64_t route) {
    if (!s->calm && chance(s, 5)) {
        add(json,
            "%s{\"match\":{\"prefix\":\"/%llu/"
            "\"},\"direct_response\":{\"status\":418,\"body\":{\"inline_string\":\"tea\"}}}",
            route > 0 ? "," : "", (unsigned long long)route);
        return;
    }
    const bool mirrored = chance(s, 30);
    /* A copy of a request without a limit would wait for ever for a server that never answers. */
    const uint64_t limit = s->calm ? 600 : mirrored ? 1 + below(s, 19) : below(s, 20);
    add(json, "%s{\"match\":{\"prefix\":\"/%llu/\"},\"route\":{\"timeout\":\"%llus\"", route > 0 ? "," : "",
        (unsigned long long)route, (unsigned long long)limit);
    if (chance(s, 60)) {
        const bool hedged = chance(s, 30); /* the only kind of limit on tries that a calm run can have */
        add(json, "%s,\"retry_policy\":{\"retry_on\":\"%s\",\"num_retries\":%llu%s%s}",
            hedged ? ",\"hedge_policy\":{\"hedge_on_per_try_timeout\":true}" : "",
            chance(s, 50) ? "5xx,connect-failure" : "reset", (unsigned long long)below(s, 4),
            hedged                      ? ",\"per_try_timeout\":\"0.05s\""
            : !s->calm && chance(s, 30) ? ",\"per_try_timeout\":\"0.3s\""
                                        : "",
            !s->calm && chance(s, 20) ? ",\"per_try_idle_timeout\":\"0.2s\"" : "");
    }
    if (chance(s, 40)) {
        mc_text_lit(json, ",\"hash_policy\":[{\"header\":{\"header_name\":\"x-sim-id\"}}]");
    }
    if (chance(s, 50)) {
        add(json, ",\"metadata_match\":{\"filter_metadata\":{\"envoy.lb\":{\"k\":\"%c\"%s}}}",
            (char)('a' + below(s, 3)), chance(s, 40) ? ",\"v\":1" : "");
    }
    if (mirrored) {
        add(json,
            ",\"request_mirror_policies\":[{\"cluster\":\"c%llu\",\"runtime_fraction\":{\"default_value\":{"
            "\"numerator\":50}}}]",
            (unsigned long long)below(s, 2));
    }
    if (chance(s, 30)) {
        add(json, ",\"internal_redirect_policy\":{\"max_internal_redirects\":%llu}", (unsigned long long)below(s, 4));
    }
    if (chance(s, 30)) {
        mc_text_lit(
            json,
            ",\"weighted_clusters\":{\"clusters\":[{\"name\":\"c0\",\"weight\":1},{\"name\":\"c1\",\"weight\":2}]}}}");
    } else {
        add(json, ",\"cluster\":\"c%llu\"}}", (unsigned long long)(route % 2));
    }
}

static void configure(sim *s) {
    forget_left(s);
    mc_text json;
    mc_error error = {0};
    mc_text_init(&json);
    mc_text_lit(&json, "{\"static_resources\":{\"listeners\":[{\"name\":\"main\",\"address\":{\"socket_address\":{"
                       "\"address\":\"127.0.0.1\","
                       "\"port_value\":10000}},");
    if (chance(s, 30)) {
        add(&json, "\"per_connection_buffer_limit_bytes\":%llu,",
            (unsigned long long)(s->calm ? 400000 : 1024u << below(s, 8)));
    }
    mc_text_lit(
        &json,
        "\"filter_chains\":[{\"filters\":[{\"name\":\"hcm\",\"typed_config\":{\"@type\":\"type.googleapis.com/"
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\",\"stat_prefix\":\"in\",");
    if (!s->calm && chance(s, 20)) {
        mc_text_lit(&json,
                    "\"stream_idle_timeout\":\"5s\",\"request_timeout\":\"8s\",\"request_headers_timeout\":\"3s\",");
    }
    mc_text_lit(
        &json,
        "\"http_filters\":[{\"name\":\"envoy.filters.http.router\",\"typed_config\":{\"@type\":"
        "\"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\"}}],"
        "\"route_config\":{\"name\":\"local\",\"virtual_hosts\":[{\"name\":\"all\",\"domains\":[\"*\"],\"routes\":[");
    uint64_t routes = s->calm ? 4 : 5 + below(s, 2);
    for (uint64_t route = 0; route < routes; route++) {
        add_route(s, &json, route);
    }
    mc_text_lit(&json, "]}]}}}]}]}],\"clusters\":[");
    uint64_t clusters = 2 + below(s, CLUSTERS - 1);
    s->local = !s->calm && chance(s, 40);
    for (uint64_t cluster = 0; cluster < clusters; cluster++) {
        mc_text_add(&json, cluster > 0 ? MC_SLICE(",") : MC_SLICE(""));
        add_cluster(s, &json, cluster);
    }
    mc_text_lit(&json, "]}");
    if (s->local) {
        mc_text_lit(&json,
                    ",\"node\":{\"locality\":{\"zone\":\"a\"}},\"cluster_manager\":{\"local_cluster_name\":\"c0\"}");
    }
    mc_text_add(&json, mc_slice_of("}", 2)); /* with its NUL */
    mc_status status =
        s->p.engine == NULL ? pipeline_open(&s->p, json.p, s->seed, &error) : pipeline_configure(&s->p, json.p, &error);
    REQUIRE(s, status == MC_OK, "configuration: %s: %s", error.path, error.reason);
    mc_loop_shuffle(s->p.worker->loop, true);
    mc_text_fini(&json);
    const mc_snapshot *snapshot = s->p.worker->snapshot;
    for (uint32_t i = 0; i < snapshot->cluster_count && s->cluster_count < KEPT; i++) {
        s->clusters[s->cluster_count++] = mc_cluster_ref(snapshot->clusters[i].cluster);
    }
    trace(s, "configured");
}

static void change_hosts(sim *s) {
    mc_text json;
    mc_error error = {0};
    mc_arena arena;
    const mc_value *assignment;
    uint64_t cluster = below(s, 2);
    char name[8];
    snprintf(name, sizeof name, "c%llu", (unsigned long long)cluster);
    mc_text_init(&json);
    mc_arena_init(&arena, NULL);
    add(&json, "{\"cluster_name\":\"%s\",\"endpoints\":[", name);
    add_hosts(s, &json, cluster);
    mc_text_lit(&json, "]}");
    REQUIRE(s, mc_value_parse(&arena, mc_text_slice(&json), &assignment, &error) == MC_OK, "%s", error.reason);
    REQUIRE(s, mc_engine_set_assignment(s->p.engine, mc_slice_cstr(name), assignment, &error) == MC_OK, "%s",
            error.reason);
    mc_arena_fini(&arena);
    mc_text_fini(&json);
    pipeline_settle(&s->p);
    note_left(s, name);
    trace(s, "hosts of %s changed", name);
}

static mc_upstream *upstream_of(sim *s, const char *name) {
    const uint32_t slot = mc_snapshot_slot(s->p.worker->snapshot, mc_slice_cstr(name));
    return slot == UINT32_MAX ? NULL : mc_proxy_upstream(&s->p.worker->proxy, slot);
}

/* Hosts that left with this change, and those that came back. */
static void note_left(sim *s, const char *name) {
    const mc_upstream *upstream = upstream_of(s, name);
    for (uint32_t i = 0; i < s->left_count; i++) {
        if (mc_hosts_find(upstream->hosts, s->left[i].host->address_text) != NULL) {
            mc_host_unref(s->left[i].host);
            s->left[i--] = s->left[--s->left_count];
        }
    }
    char prefix[16];
    snprintf(prefix, sizeof prefix, "10.0.%c.", name[1]);
    uint64_t waiting = 0; /* those who wait with configurations before this one included */
    for (uint32_t i = 0; i < s->cluster_count; i++) {
        waiting += s->clusters[i]->breakers[MC_PRIORITY_DEFAULT].pending.count;
    }
    for (uint32_t i = 0; i < s->host_count && s->left_count < KEPT; i++) {
        mc_host *host = s->hosts[i];
        if (mc_slice_has_prefix(host->address_text, mc_slice_cstr(prefix)) &&
            mc_hosts_find(upstream->hosts, host->address_text) == NULL) {
            s->left[s->left_count++] =
                (left){mc_host_ref(host), mc_stats_value(s->p.stats, host->stats.rq_total) + waiting};
        }
    }
}

/* A new configuration may bring the same addresses back as other hosts. */
static void forget_left(sim *s) {
    while (s->left_count > 0) {
        mc_host_unref(s->left[--s->left_count].host);
    }
}

static void check_left(sim *s) {
    for (uint32_t i = 0; i < s->left_count; i++) {
        const uint64_t total = mc_stats_value(s->p.stats, s->left[i].host->stats.rq_total);
        REQUIRE(s, total <= s->left[i].limit, "%.*s left with %llu requests and has %llu",
                MC_SLICE_ARG(s->left[i].host->address_text), (unsigned long long)s->left[i].limit,
                (unsigned long long)total);
    }
}

/* What an active check says of a host, at random. */
static void change_health(sim *s) {
    char name[8];
    snprintf(name, sizeof name, "c%llu", (unsigned long long)below(s, 2));
    const mc_upstream *upstream = upstream_of(s, name);
    const size_t count = upstream == NULL ? 0 : mc_hosts_count(upstream->hosts);
    if (count == 0) {
        return;
    }
    const mc_host *host = mc_hosts_at(upstream->hosts, below(s, count));
    const bool failed = chance(s, 40);
    const mc_health_update update = {.set = failed ? MC_FAILED_ACTIVE_HC : 0,
                                     .clear = failed ? 0 : MC_FAILED_ACTIVE_HC,
                                     .passed = !failed,
                                     .well = !failed,
                                     .failed = failed};
    mc_status status = mc_engine_set_health(s->p.engine, mc_slice_cstr(name), host->address_text, &update);
    REQUIRE(s, status == MC_OK, "health of %.*s", MC_SLICE_ARG(host->address_text));
    REQUIRE(s, mc_engine_refresh(s->p.engine, mc_slice_cstr(name)) == MC_OK, "refresh");
    trace(s, "%.*s is %s", MC_SLICE_ARG(host->address_text), failed ? "failed" : "well");
}

/* OD-7: between two changes of membership, hosts only go out as long as the share allows. */
static void check_ejections(sim *s, const mc_member *member, uint64_t before) {
    const mc_outlier *o = &member->outlier;
    const size_t hosts = mc_hosts_count(member->hosts);
    REQUIRE(s, o->active <= before || o->active * 100 <= o->config.max_ejection_percent * hosts,
            "%llu of %zu hosts of %.*s are ejected, %u %% may be", (unsigned long long)o->active, hosts,
            MC_SLICE_ARG(member->cluster->name), o->config.max_ejection_percent);
}

/* --- one run --------------------------------------------------------------------------------------------------------- */

static void drain_records(sim *s) {
    mc_record records[64];
    for (size_t n; (n = mc_engine_records(s->p.engine, records, 64)) > 0;) {
        s->records += n;
    }
}

static void advance(sim *s, uint64_t ms) {
    uint64_t ejected[CLUSTERS] = {0};
    const mc_members *members = &s->p.engine->members;
    for (uint32_t i = 0; i < members->count && i < CLUSTERS; i++) {
        ejected[i] = members->items[i] == NULL ? 0 : members->items[i]->outlier.active;
    }
    pipeline_run(&s->p, ms);
    for (uint32_t i = 0; i < members->count && i < CLUSTERS; i++) {
        if (members->items[i] != NULL && members->items[i]->watched) {
            check_ejections(s, members->items[i], ejected[i]);
        }
    }
    check_left(s);
    for (client *c = s->clients; c < s->clients + CLIENTS; c++) {
        if (c->open) {
            client_read(s, c);
        }
    }
    drain_records(s);
}

static void servers_step(sim *s, bool all) {
    MC_LIST_EACH(&s->p.servers, node) {
        pipeline_peer *peer = MC_CONTAINER(node, pipeline_peer, link);
        server *v = peer->user;
        if (v == NULL || peer->closed) {
            continue;
        }
        if (!s->calm && chance(s, 1)) {
            v->stalled = !v->stalled;
            mc_memory_stall(&peer->conn, v->stalled);
        }
        server_step(s, v, all);
        if (!s->calm && !v->busy && chance(s, 1)) {
            trace(s, "server leaves");
            note_end(s, v, false);
            mc_conn_close(&peer->conn, true); /* an idle connection, perhaps in a race with the next request */
        }
    }
}

static void storm(sim *s) {
    for (int step = 0; step < 4000 && (s->requests < REQUESTS || (!s->draining && s->answered < REQUESTS - 20));
         step++) {
        for (client *c = s->clients; c < s->clients + CLIENTS; c++) {
            client_step(s, c);
        }
        servers_step(s, false);
        if (chance(s, 2)) {
            configure(s);
        } else if (chance(s, 3)) {
            change_hosts(s);
        } else if (!s->calm && chance(s, 5)) {
            change_health(s);
        } else if (!s->calm && !s->draining && s->requests > REQUESTS / 2 && chance(s, 1) && s->seed % 4 == 1) {
            trace(s, "drain");
            s->draining = true;
            mc_engine_drain(s->p.engine);
            break;
        }
        advance(s, chance(s, 90) ? below(s, 20) : below(s, 400));
    }
}

/* Lets everybody finish: what was stalled moves on, what was begun is sent to its end. */
static void calm_down(sim *s) {
    for (int step = 0; step < 1200; step++) { /* longer than the idle timeouts of ASKED requests one after the other */
        for (client *c = s->clients; c < s->clients + CLIENTS; c++) {
            if (c->open) {
                c->stalled = false;
                mc_memory_stall(&c->peer.conn, false);
                client_send(s, c, true);
            }
        }
        MC_LIST_EACH(&s->p.servers, node) {
            pipeline_peer *peer = MC_CONTAINER(node, pipeline_peer, link);
            mc_memory_stall(&peer->conn, false);
            if (peer->user != NULL) {
                server_step(s, peer->user, true);
            }
        }
        advance(s, step < 200 ? 50 : 2000);
    }
}

static void check_idle(sim *s) {
    for (uint32_t id = 0; id < s->requests; id++) {
        REQUIRE(s, s->outcomes[id] != PENDING, "request %u has no outcome", id);
    }
    const mc_proxy *proxy = &s->p.worker->proxy;
    REQUIRE(s, proxy->stream_count == 0, "%u streams on %u connections", proxy->stream_count, proxy->connection_count);
    REQUIRE(s, !s->draining || mc_engine_drained(s->p.engine), "not drained, %u connections", proxy->connection_count);
    for (uint32_t i = 0; i < s->cluster_count; i++) {
        const mc_cluster *c = s->clusters[i];
        const mc_breakers *b = &c->breakers[MC_PRIORITY_DEFAULT];
        REQUIRE(s, b->requests.count == 0 && b->pending.count == 0 && b->retries.count == 0,
                "breakers of %.*s: %u, %u, %u", MC_SLICE_ARG(c->name), b->requests.count, b->pending.count,
                b->retries.count);
    }
    for (uint32_t i = 0; i < s->host_count; i++) {
        REQUIRE(s, s->hosts[i]->rq_active == 0, "%.*s: %u", MC_SLICE_ARG(s->hosts[i]->address_text),
                s->hosts[i]->rq_active);
        REQUIRE(s, s->hosts[i]->pending == 0, "%.*s: %u given", MC_SLICE_ARG(s->hosts[i]->address_text),
                s->hosts[i]->pending);
    }
}

static void check_gauges(sim *s) {
    mc_stats_view view;
    REQUIRE(s, mc_stats_view_init(&view, s->p.stats, 0) == MC_OK, "no view");
    for (size_t i = 0; i < view.count; i++) {
        const mc_stat_entry *e = &view.entries[i];
        if (e->kind == MC_GAUGE && mc_slice_has_suffix(e->name, MC_SLICE("_active")) &&
            !mc_slice_has_suffix(e->name, MC_SLICE("lb_subsets_active"))) { /* which are of the configuration */
            REQUIRE(s, e->value == 0, "%.*s is %lld", MC_SLICE_ARG(e->name), (long long)e->value);
        }
    }
    mc_stats_view_fini(&view);
    uint64_t total = pipeline_counter(&s->p, "http.in.downstream_rq_total");
    uint64_t told = s->records + mc_engine_records_dropped(s->p.engine);
    REQUIRE(s, told == total, "%llu records of %llu requests", (unsigned long long)told, (unsigned long long)total);
    /* Nothing is sent twice but by a retry; copies and redirects are requests of the router as well. */
    uint64_t allowed =
        pipeline_counter(&s->p, "http.in.rq_total") + pipeline_counter(&s->p, "http.async-client.rq_total");
    for (int i = 0; i < CLUSTERS; i++) {
        char name[48];
        snprintf(name, sizeof name, "cluster.c%d.upstream_rq_retry", i);
        allowed += pipeline_counter(&s->p, name);
    }
    REQUIRE(s, s->received <= allowed + s->ended, "servers got %llu requests of %llu", (unsigned long long)s->received,
            (unsigned long long)allowed);
}

static void finish(sim *s) {
    forget_left(s);
    mc_worker *worker = s->p.worker;
    for (client *c = s->clients; c < s->clients + CLIENTS; c++) {
        if (c->open) {
            mc_conn_abort(&c->peer.conn, MC_CLOSE_LOCAL);
        }
    }
    advance(s, 10);
    mc_engine_stop(s->p.engine);
    for (int turns = 0; !atomic_load(&worker->stopped); turns++) {
        REQUIRE(s, turns < 100000, "the worker does not stop: %u connections, %u upstreams",
                worker->proxy.connection_count, worker->load.upstreams);
        mc_loop_turn(worker->loop, 1000);
    }
    pipeline_settle(&s->p);
    drain_records(s);
    check_gauges(s);
    for (uint32_t i = 0; i < s->cluster_count; i++) {
        REQUIRE(s, s->clusters[i]->breakers[0].connections.count == 0, "connections of %.*s",
                MC_SLICE_ARG(s->clusters[i]->name));
        mc_cluster_unref(s->clusters[i]);
    }
    for (uint32_t i = 0; i < s->host_count; i++) {
        mc_host_unref(s->hosts[i]);
    }
    MC_LIST_EACH(&s->p.servers, node) { mc_conn_abort(&MC_CONTAINER(node, pipeline_peer, link)->conn, MC_CLOSE_LOCAL); }
    pipeline_settle(&s->p);
    uint64_t next = mc_wheel_next(&worker->loop->wheel);
    REQUIRE(s, next == UINT64_MAX && mc_list_empty(&worker->loop->wheel.due), "a timer is left, at %llu",
            (unsigned long long)next);
}

static uint64_t run(uint64_t seed, bool verbose, uint32_t *tally) {
    static sim world;
    sim *s = &world;
    long live = mc_test_alloc_live();
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->verbose = verbose;
    s->calm = seed % 3 == 0;
    mc_random_seed(&s->random, seed ^ 0x73696d);
    configure(s);
    s->p.serve = serve;
    s->p.gone = server_gone;
    s->p.admit = admit;
    storm(s);
    calm_down(s);
    check_idle(s);
    finish(s);
    uint64_t hash = s->hash;
    for (int i = 0; i < 4; i++) {
        tally[i] += s->tally[i];
    }
    pipeline_close(&s->p);
    if (mc_test_alloc_live() != live) {
        fprintf(stderr, "sim: seed %llu: %ld allocations leaked\nreplay: make sim SEED=%llu\n",
                (unsigned long long)seed, mc_test_alloc_live() - live, (unsigned long long)seed);
        exit(1);
    }
    return hash;
}

int main(int argc, char **argv) {
    mc_h1_limits_init(&request_limits, MC_H1_REQUEST);
    mc_h1_limits_init(&response_limits, MC_H1_RESPONSE);
    request_limits.as_sent = response_limits.as_sent = true;
    uint32_t tally[4] = {0};
    uint64_t from = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, count = argc > 2   ? strtoull(argv[2], NULL, 10)
                                                                        : argc > 1 ? 1
                                                                                   : SEEDS;
    for (uint64_t seed = from; seed < from + count; seed++) {
        uint64_t hash = run(seed, argc == 2, tally);
        if (seed % 10 == 0) {
            uint32_t again[4] = {0};
            uint64_t second = run(seed, false, again);
            if (hash != second) {
                fprintf(stderr, "sim: seed %llu: two runs differ\n", (unsigned long long)seed);
                return 1;
            }
        }
    }
    printf("%s: %llu seeds, %u requests: %u whole, %u failed, %u closed\n", argv[0], (unsigned long long)count,
           tally[WHOLE] + tally[FAILED] + tally[CLOSED], tally[WHOLE], tally[FAILED], tally[CLOSED]);
    return 0;
}
