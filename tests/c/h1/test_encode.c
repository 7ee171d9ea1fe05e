#include "../test.h"
#include "base/random.h"
#include "h1/h1.h"
#include "recorder.h"

static mc_arena arena;
static mc_headers headers;

static void begin(const char *const *fields) {
    mc_arena_init(&arena, NULL);
    mc_headers_init(&headers, &arena);
    for (; fields[0] != NULL; fields += 2) {
        CHECK_INT(mc_headers_add(&headers, mc_slice_cstr(fields[0]), mc_slice_cstr(fields[1])), MC_OK);
    }
}

typedef struct encode_case {
    const char *fields[12];
    mc_h1_encode how;
    const char *out;
    mc_h1_framing framing;
} encode_case;

static void check_case(const encode_case *c, bool response) {
    char out[1024];
    mc_h1_framing framing = MC_H1_TUNNEL;
    begin(c->fields);
    CHECK(mc_h1_head_size(&headers) <= sizeof out);
    size_t n = response ? mc_h1_encode_response(&headers, &c->how, out, &framing)
                        : mc_h1_encode_request(&headers, &c->how, out, &framing);
    CHECK_SLICE(((mc_slice){out, n}), c->out);
    CHECK(n <= mc_h1_head_size(&headers));
    CHECK_INT(framing, c->framing);
    mc_arena_fini(&arena);
}

#define END {.end_stream = true}

TEST(requests) {
    static const encode_case cases[] = {
        {{":method", "GET", ":path", "/a", ":authority", "h", "Accept", "*/*", NULL},
         END,
         "GET /a HTTP/1.1\r\nhost: h\r\naccept: */*\r\n\r\n",
         MC_H1_NO_BODY},
        {{":method", "DELETE", ":path", "/", NULL}, END, "DELETE / HTTP/1.1\r\n\r\n", MC_H1_NO_BODY},
        {{":method", "POST", ":path", "/", NULL}, END, "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", MC_H1_NO_BODY},
        {{":method", "GET", ":path", "/", NULL},
         {0},
         "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
         MC_H1_CHUNKED},
        {{":method", "PUT", ":path", "/", "content-length", "3", NULL},
         {0},
         "PUT / HTTP/1.1\r\ncontent-length: 3\r\n\r\n",
         MC_H1_LENGTH},
        {{":method", "PUT", ":path", "/", "transfer-encoding", "gzip", NULL},
         {0},
         "PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
         MC_H1_CHUNKED},
        {{":method", "CONNECT", ":authority", "h:1", NULL},
         {.upgrade = true},
         "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n",
         MC_H1_TUNNEL},
        {{":method", "GET", ":path", "/", "connection", "upgrade", "upgrade", "w", NULL},
         {.upgrade = true},
         "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: w\r\n\r\n",
         MC_H1_TUNNEL},
        {{":method", "GET", ":path", "/", ":scheme", "http", ":protocol", "x", NULL},
         END,
         "GET / HTTP/1.1\r\n\r\n",
         MC_H1_NO_BODY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case(&cases[i], false);
    }
}

TEST(responses) {
    static const encode_case cases[] = {
        {{":status", "200", "content-length", "2", NULL},
         {0},
         "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
         MC_H1_LENGTH},
        {{":status", "200", NULL}, END, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", MC_H1_NO_BODY},
        {{":status", "200", NULL}, {0}, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", MC_H1_CHUNKED},
        {{":status", "200", NULL}, {.http_10 = true}, "HTTP/1.0 200 OK\r\n\r\n", MC_H1_UNTIL_CLOSE},
        {{":status", "204", NULL}, {0}, "HTTP/1.1 204 No Content\r\n\r\n", MC_H1_NO_BODY},
        {{":status", "304", "content-length", "2", NULL},
         END,
         "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n",
         MC_H1_NO_BODY},
        {{":status", "100", NULL}, END, "HTTP/1.1 100 Continue\r\n\r\n", MC_H1_NO_BODY},
        {{":status", "200", NULL},
         {.head_request = true, .end_stream = true},
         "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
         MC_H1_NO_BODY},
        {{":status", "200", "content-length", "9", NULL},
         {.head_request = true},
         "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
         MC_H1_NO_BODY},
        {{":status", "200", NULL}, {.head_request = true, .http_10 = true}, "HTTP/1.0 200 OK\r\n\r\n", MC_H1_NO_BODY},
        {{":status", "101", "upgrade", "w", NULL},
         {.upgrade = true},
         "HTTP/1.1 101 Switching Protocols\r\nupgrade: w\r\n\r\n",
         MC_H1_TUNNEL},
        {{":status", "299", NULL}, END, "HTTP/1.1 299 Unknown\r\ncontent-length: 0\r\n\r\n", MC_H1_NO_BODY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case(&cases[i], true);
    }
}

TEST(removed_entries_are_not_written) {
    begin((const char *const[]){":method", "GET", ":path", "/", "a", "1", "b", "2", NULL});
    mc_headers_remove(&headers, MC_SLICE("a"));
    char out[256];
    mc_h1_framing framing;
    mc_h1_encode how = END;
    size_t n = mc_h1_encode_request(&headers, &how, out, &framing);
    CHECK_SLICE(((mc_slice){out, n}), "GET / HTTP/1.1\r\nb: 2\r\n\r\n");
    mc_arena_fini(&arena);
}

/* Lines that stand in memory as they came are written as they came, and only those. */
TEST(runs_of_lines) {
    static const char text[] = "a: 1\r\nb: 2\r\nc:3\r\nd: 4 \r\ne: 5\r\nf:  6\r\ng: 7\nh: 8\r\n";
    static const struct {
        size_t name, value;
    } places[] = {{0, 3}, {6, 9}, {12, 14}, {17, 20}, {24, 27}, {30, 34}, {37, 40}, {42, 45}};
    mc_arena_init(&arena, NULL);
    mc_headers_init(&headers, &arena);
    CHECK_INT(mc_headers_add_known_ref(&headers, MC_H_STATUS, MC_SLICE("200")), MC_OK);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        mc_slice name = {text + places[i].name, 1}, value = {text + places[i].value, 1};
        CHECK_INT(mc_headers_add_ref(&headers, MC_H_UNKNOWN, name, value), MC_OK);
    }
    char out[256];
    mc_h1_framing framing;
    mc_h1_encode how = END;
    size_t n = mc_h1_encode_response(&headers, &how, out, &framing);
    CHECK_SLICE(((mc_slice){out, n}), "HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\nf: 6\r\ng: "
                                      "7\r\nh: 8\r\ncontent-length: 0\r\n\r\n");
    mc_headers_remove(&headers, MC_SLICE("b"));
    CHECK_INT(mc_headers_set(&headers, MC_SLICE("e"), MC_SLICE("five")), MC_OK);
    n = mc_h1_encode_response(&headers, &how, out, &framing);
    CHECK_SLICE(((mc_slice){out, n}), "HTTP/1.1 200 OK\r\na: 1\r\nc: 3\r\nd: 4\r\ne: five\r\nf: 6\r\ng: 7\r\nh: "
                                      "8\r\ncontent-length: 0\r\n\r\n");
    mc_arena_fini(&arena);
}

/* What is parsed and written again is what was parsed, but for what the codec changes. */
TEST(parsed_lines_pass_unchanged) {
    static const char head[] = "GET /x HTTP/1.1\r\nhost: h\r\naccept: */*\r\nx-a: 1\r\nx-b: 2\r\nvia: v\r\n\r\n";
    mc_h1_limits limits;
    mc_h1_limits_init(&limits, MC_H1_REQUEST);
    recorder r;
    recorder_init(&r, MC_H1_REQUEST, &limits);
    CHECK(recorder_feed(&r, head, sizeof head - 1));
    char out[256];
    mc_h1_framing framing;
    mc_h1_encode how = END;
    size_t n = mc_h1_encode_request(&r.headers, &how, out, &framing);
    CHECK_SLICE(((mc_slice){out, n}), head);
    recorder_fini(&r);
}

/* The bound holds for whatever is in the map, in every way of encoding it. */
TEST(values_that_are_doubted) {
    static const char *const fields[] = {":status", "204", "x-a", "1\r\nx-b: 2", "x-c", "\t\x7f\xe9", NULL, NULL};
    const mc_h1_encode how = {.end_stream = true};
    char out[256];
    mc_h1_framing framing;
    begin(fields);
    for (uint32_t i = 0; i < headers.count; i++) {
        mc_headers_doubt(&headers, headers.items[i].value);
    }
    CHECK(headers.unchecked);
    const size_t n = mc_h1_encode_response(&headers, &how, out, &framing);
    CHECK_SLICE(((mc_slice){out, n}), "HTTP/1.1 204 No Content\r\nx-a: 1  x-b: 2\r\nx-c: \t\x7f\xe9\r\n\r\n");
    CHECK(n <= mc_h1_head_size(&headers));
    const size_t m = mc_h1_last_chunk(&headers, out);
    CHECK(m <= mc_h1_last_chunk_size(&headers));
    CHECK(mc_slice_search(mc_slice_of(out, m), MC_SLICE("\nx-b")) == SIZE_MAX);
    mc_arena_fini(&arena);
}

TEST(head_size_is_an_upper_bound) {
    static const char *const names[] = {":method", ":path",          ":authority", ":status",
                                        "x",       "content-length", "host",       "via"};
    static const char filler[] = "0123456789012345678901234567890123456789";
    mc_random random;
    mc_random_seed(&random, 7);
    for (int round = 0; round < 2000; round++) {
        mc_arena_init(&arena, NULL);
        mc_headers_init(&headers, &arena);
        uint64_t bits = mc_random_next(&random);
        for (int i = 0; i < 8; i++, bits >>= 8) {
            mc_slice value = {filler, (bits >> 3) % (sizeof filler - 1)};
            CHECK_INT(mc_headers_add(&headers, mc_slice_cstr(names[bits & 7]), value), MC_OK);
        }
        mc_h1_encode how = {.end_stream = bits & 1,
                            .http_10 = bits & 2,
                            .head_request = bits & 4,
                            .upgrade = bits & 8,
                            .absolute = bits & 16};
        size_t room = mc_h1_head_size(&headers);
        char *out = malloc(room);
        mc_h1_framing framing;
        size_t request = mc_h1_encode_request(&headers, &how, out, &framing);
        size_t response = mc_h1_encode_response(&headers, &how, out, &framing);
        free(out);
        mc_arena_fini(&arena);
        CHECK(request <= room && response <= room);
    }
}

TEST(chunks) {
    char out[MC_H1_CHUNK_HEAD_MAX];
    static const struct {
        size_t n;
        const char *head;
    } cases[] = {{0, "0\r\n"}, {1, "1\r\n"}, {26, "1a\r\n"}, {65536, "10000\r\n"}, {SIZE_MAX, "ffffffffffffffff\r\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = mc_h1_chunk_head(out, cases[i].n);
        CHECK_SLICE(((mc_slice){out, n}), cases[i].head);
    }
}

TEST(last_chunk) {
    char out[64];
    CHECK_INT(mc_h1_last_chunk_size(NULL), 5);
    CHECK_SLICE(((mc_slice){out, mc_h1_last_chunk(NULL, out)}), "0\r\n\r\n");
    begin((const char *const[]){"A", "1", "b", "", NULL});
    size_t n = mc_h1_last_chunk(&headers, out);
    CHECK_SLICE(((mc_slice){out, n}), "0\r\na: 1\r\nb: \r\n\r\n");
    CHECK_INT(mc_h1_last_chunk_size(&headers), n);
    mc_arena_fini(&arena);
}

TEST(reasons) {
    CHECK_SLICE(mc_h1_reason(200), "OK");
    CHECK_SLICE(mc_h1_reason(431), "Request Header Fields Too Large");
    CHECK_SLICE(mc_h1_reason(0), "Unknown");
}
