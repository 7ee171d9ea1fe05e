#include <sys/mman.h>

#include "../test.h"
#include "recorder.h"

static mc_h1_limits lenient(mc_h1_role role) {
    mc_h1_limits limits;
    mc_h1_limits_init(&limits, role);
    limits.accept_http_10 = true;
    limits.enable_trailers = true;
    return limits;
}

typedef struct run_options {
    mc_h1_role role;
    const mc_h1_limits *limits;
    const char *methods[4]; /* responses: the requests, in order */
    bool pause, tunnel;
} run_options;

/* The log of the input cut in pieces: at `a` and `b`, or every byte alone when a == SIZE_MAX. */
static char *run(const run_options *how, mc_slice in, size_t a, size_t b) {
    recorder r;
    recorder_init(&r, how->role, how->limits);
    r.pause = how->pause;
    r.tunnel = how->tunnel;
    if (how->role == MC_H1_RESPONSE && how->methods[0] != NULL) {
        mc_h1_parser_expect(&r.parser, mc_slice_cstr(how->methods[0]));
    }
    bool ok = true;
    if (a == SIZE_MAX) {
        for (size_t i = 0; ok && i < in.n; i++) {
            ok = recorder_feed(&r, in.p + i, 1);
        }
    } else {
        ok = recorder_feed(&r, in.p, a) && recorder_feed(&r, in.p + a, b - a) && recorder_feed(&r, in.p + b, in.n - b);
    }
    if (ok) {
        recorder_eof(&r);
    }
    char *log = strdup(r.log);
    recorder_fini(&r);
    return log;
}

static void check_log(const run_options *how, mc_slice in, size_t a, size_t b, const char *expected) {
    char *log = run(how, in, a, b);
    if (strcmp(log, expected) != 0) {
        fprintf(stderr, "split %zd %zd pause %d of:\n%.*s\n--- got\n%s--- expected\n%s", a, b, how->pause,
                MC_SLICE_ARG(in), log, expected);
        free(log);
        CHECK(!"logs differ");
    }
    free(log);
}

/* Whole, byte by byte, and at every two split points; with and without pauses. */
static void check_every_split(run_options how, mc_slice in, const char *expected) {
    for (int pause = 0; pause < 2; pause++) {
        how.pause = pause;
        check_log(&how, in, in.n, in.n, expected);
        check_log(&how, in, SIZE_MAX, 0, expected);
        size_t step = in.n > 200 ? 7 : 1;
        for (size_t a = 0; a <= in.n; a++) {
            for (size_t b = a; b <= in.n; b += step) {
                check_log(&how, in, a, b, expected);
            }
        }
    }
}

#define REQUEST(text, expected)                                                                                        \
    do {                                                                                                               \
        mc_h1_limits limits_ = lenient(MC_H1_REQUEST);                                                                 \
        check_every_split((run_options){.role = MC_H1_REQUEST, .limits = &limits_}, MC_SLICE(text), expected);         \
    } while (0)

#define RESPONSE(method, text, expected)                                                                               \
    do {                                                                                                               \
        mc_h1_limits limits_ = lenient(MC_H1_RESPONSE);                                                                \
        check_every_split((run_options){.role = MC_H1_RESPONSE, .limits = &limits_, .methods = {method}},              \
                          MC_SLICE(text), expected);                                                                   \
    } while (0)

TEST(get) {
    REQUEST("GET /a?b HTTP/1.1\r\nHost: x\r\nX-Thing:  a\t b \r\nAccept: */*\r\nEmpty:\r\n\r\n",
            "header :method=GET\nheader :path=/a?b\nheader :authority=x\nheader x-thing=a\\x09 b\nheader accept=*/*\n"
            "header empty=\nhead 1.1 end\ncomplete\n");
}

TEST(pipelined) {
    REQUEST("GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\nPOST /b HTTP/1.1\r\nHost: y\r\nContent-Length: 3\r\n\r\nabcGET /c "
            "HTTP/1.1\r\nConnection: Close\r\nHost: z\r\n\r\nGET ",
            "header :method=GET\nheader :path=/\nheader :authority=x\nhead 1.1 end\ncomplete\n"
            "header :method=POST\nheader :path=/b\nheader :authority=y\nheader content-length=3\nhead 1.1 length=3\n"
            "body \"abc\"\ncomplete\n"
            "header :method=GET\nheader :path=/c\nheader connection=Close\nheader :authority=z\nhead 1.1 close "
            "end\ncomplete\n");
}

TEST(chunked_with_trailers) {
    REQUEST("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
            "chunked\r\n\r\n3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\nT-A: 1\r\n"
            "t-b: 2\r\n\r\n",
            "header :method=POST\nheader :path=/\nheader :authority=x\nheader transfer-encoding=chunked\nhead 1.1 "
            "chunked\nbody \"abc0123456789\"\ntrailer t-a=1\ntrailer t-b=2\ncomplete\n");
}

TEST(http_10) {
    REQUEST("GET / HTTP/1.0\r\n\r\nx", "header :method=GET\nheader :path=/\nhead 1.0 close end\ncomplete\n");
    REQUEST("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            "header :method=GET\nheader :path=/\nheader connection=keep-alive\nhead 1.0 end\ncomplete\n");
}

TEST(absolute_target) {
    REQUEST(
        "GET http://u@b:80/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
        "header :method=GET\nheader :path=/c?d\nheader :authority=b:80\nheader :scheme=http\nhead 1.1 end\ncomplete\n");
    REQUEST("GET http://b HTTP/1.1\r\n\r\n",
            "header :method=GET\nheader :path=/\nheader :authority=b\nheader :scheme=http\nhead 1.1 end\ncomplete\n");
}

TEST(connect_then_tunnel) {
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    run_options how = {.role = MC_H1_REQUEST, .limits = &limits, .tunnel = true};
    check_every_split(
        how, MC_SLICE("CONNECT b:80 HTTP/1.1\r\nHost: a\r\n\r\nraw\x01"),
        "header :method=CONNECT\nheader :authority=b:80\nhead 1.1 upgrade\nbody \"raw\\x01\"\ncomplete\n");
    check_every_split(how, MC_SLICE("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: x, Upgrade\r\n\r\nraw"),
                      "header :method=GET\nheader :path=/\nheader upgrade=websocket\nheader connection=x, Upgrade\n"
                      "head 1.1 upgrade\nbody \"raw\"\ncomplete\n");
}

TEST(responses) {
    RESPONSE(
        "GET", "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\n\r\nok",
        "header :status=200\nheader server=s\nheader content-length=2\nhead 1.1 length=2\nbody \"ok\"\ncomplete\n");
    RESPONSE("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204\r\n\r\n",
             "header :status=100\nhead 1.1 end\ncomplete\nheader :status=204\nhead 1.1 end\ncomplete\n");
    RESPONSE("GET", "HTTP/1.0 200 OK\r\n\r\nuntil the end",
             "header :status=200\nhead 1.0 close\nbody \"until the end\"\ncomplete\n");
    RESPONSE("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
             "header :status=200\nheader content-length=2\nhead 1.1 length=2 end\ncomplete\n");
    RESPONSE("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
             "header :status=200\nheader transfer-encoding=chunked\nhead 1.1 chunked end\ncomplete\n");
    RESPONSE("GET", "HTTP/1.1 304 Not\r\nTransfer-Encoding: chunked\r\n\r\n",
             "header :status=304\nheader transfer-encoding=chunked\nhead 1.1 chunked end\ncomplete\n");
    RESPONSE("GET", "HTTP/1.1 304 \r\nContent-Length: 2\r\n\r\n",
             "header :status=304\nheader content-length=2\nhead 1.1 length=2 end\ncomplete\n");
    RESPONSE("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
             "header :status=200\nheader transfer-encoding=chunked\nhead 1.1 chunked\nbody \"x\"\ncomplete\n");
    RESPONSE("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX",
             "header :status=200\nheader content-length=2\nhead 1.1 length=2\nbody \"ok\"\ncomplete\nerror 400 "
             "http1.codec_error\n");
    RESPONSE(NULL, "H", "error 400 http1.codec_error\n");
}

/* --- refused ---------------------------------------------------------------------------------------------------- */

typedef struct refusal {
    const char *in;
    unsigned code;
    const char *details;
} refusal;

#define CODEC   400, "http1.codec_error"
#define CHARS   400, "http1.invalid_characters"
#define URL     400, "http1.invalid_url"
#define CODING  501, "http1.invalid_transfer_encoding"
#define BOTH    400, "http1.content_length_and_chunked_not_allowed"
#define NOMINEE 400, "http1.connection_header_rejected"

/* The log must end in the error, and in no split may a message have been announced that was not complete before. */
static void check_refused(mc_h1_role role, const mc_h1_limits *limits, const refusal *cases, size_t count, bool head) {
    for (size_t i = 0; i < count; i++) {
        mc_slice in = mc_slice_cstr(cases[i].in);
        run_options how = {.role = role, .limits = limits, .methods = {"GET"}};
        for (size_t a = 0; a <= in.n + 1; a++) {
            char *log = a > in.n ? run(&how, in, SIZE_MAX, 0) : run(&how, in, a, in.n);
            char expected[128];
            snprintf(expected, sizeof expected, "error %u %s\n", cases[i].code, cases[i].details);
            const char *error = strstr(log, "error ");
            bool right = error != NULL && strcmp(error, expected) == 0 && (!head || error == log);
            if (!right) {
                fprintf(stderr, "case %zu split %zu: %s\n--- got\n%s--- expected\n%s", i, a, cases[i].in, log,
                        expected);
            }
            free(log);
            CHECK(right);
        }
    }
}

#define REFUSED(role, limits, cases, head) check_refused(role, limits, cases, sizeof(cases) / sizeof(cases)[0], head)

TEST(request_heads_refused) {
    static const refusal cases[] = {
        /* line ends and white space (RFC 9112 section 2.2, 3) */
        {"GET / HTTP/1.1\nHost: a\n\n", CODEC},
        {"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nX: a\r\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nX: a\r\n\r\r\n", CODEC},
        {"GET  / HTTP/1.1\r\n\r\n", CODEC},
        {"GET /  HTTP/1.1\r\n\r\n", CODEC},
        {"GET / HTTP/1.1 \r\n\r\n", CODEC},
        {" GET / HTTP/1.1\r\n\r\n", CODEC},
        {"GET\t/ HTTP/1.1\r\n\r\n", CODEC},
        {"GET / x HTTP/1.1\r\n\r\n", CODEC},
        {"GET\r\n\r\n", CODEC},
        {"GET \r\n\r\n", CODEC},
        /* obs-fold (section 5.2) */
        {"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nX: a\r\n\tb\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\n X: a\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nX:\r\n b\r\n\r\n", CHARS},
        /* names (section 5.1) */
        {"GET / HTTP/1.1\r\nX : a\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nX\t: a\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nX\x80: a\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nX(: a\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\n: a\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\n:path: /x\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nXa\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nX\r\n: a\r\n\r\n", CODEC},
        /* control bytes come first, wherever they are (H1-6) */
        {"GET / HTTP/1.1\r\nX\x01: a\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\nX\x7fY: a\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\n\x1fX: a\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\nContent-Length: 1\x7f\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\nTransfer-Encoding: \x0bz\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\nX : a\r\nY: \x01\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nY\x02: a\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\nX: a\nY: \x01\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\nX : a\r\n\r\n\x01", CODEC},
        {"GET / HTTP/1.1\r\nX: a\r\n\n\x01: b\r\n\r\n", CODEC},
        /* values (section 5.5) */
        {"GET / HTTP/1.1\r\nX: a\x01z\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\nX: a\x7f\r\n\r\n", CHARS},
        {"GET / HTTP/1.1\r\nX: \x0bz\r\n\r\n", CHARS},
        /* methods, targets, versions (H1-2 to H1-4) */
        {"get / HTTP/1.1\r\n\r\n", CODEC},
        {"FOO / HTTP/1.1\r\n\r\n", CODEC},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", CODEC},
        {"GET a HTTP/1.1\r\n\r\n", CODEC},
        {"GET ?a HTTP/1.1\r\n\r\n", CODEC},
        {"GET /a\x80 HTTP/1.1\r\n\r\n", CODEC},
        {"GET /a\tb HTTP/1.1\r\n\r\n", CODEC},
        {"GET /a\x01 HTTP/1.1\r\n\r\n", CHARS},
        {"GET / http/1.1\r\n\r\n", CODEC},
        {"GET / HTTP/1.10\r\n\r\n", CODEC},
        {"GET / HTTP/11\r\n\r\n", CODEC},
        {"GET / FTP/1.1\r\n\r\n", CODEC},
        {"GET / HTTP/x.1\r\n\r\n", CODEC},
        {"GET * HTTP/1.1\r\n\r\n", URL},
        {"GET http:/b HTTP/1.1\r\n\r\n", CODEC},
        {"GET http:///b HTTP/1.1\r\n\r\n", URL},
        {"GET http://b:x/ HTTP/1.1\r\n\r\n", URL},
        {"GET http://b:99999/ HTTP/1.1\r\n\r\n", URL},
        {"GET http://b:/ HTTP/1.1\r\n\r\n", URL},
        {"GET http://[::1/ HTTP/1.1\r\n\r\n", URL},
        {"GET http://a@@b/ HTTP/1.1\r\n\r\n", CODEC},
        {"GET http://a\"b/ HTTP/1.1\r\n\r\n", CODEC},
        {"GET ftp://b/ HTTP/1.1\r\n\r\n", 400, "http1.invalid_scheme"},
        {"CONNECT b HTTP/1.1\r\n\r\n", URL},
        {"CONNECT b: HTTP/1.1\r\n\r\n", URL},
        {"CONNECT /b HTTP/1.1\r\n\r\n", URL},
        {"CONNECT http://b:80 HTTP/1.1\r\n\r\n", URL},
        {"CONNECT b:80/ HTTP/1.1\r\n\r\n", URL},
        {"CONNECT b:80 HTTP/1.1\r\nContent-Length: 1\r\n\r\n", 400, "http1.body_disallowed"},
        {"CONNECT b:80 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", CODING},
        /* Host (section 3.2) */
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", CODEC},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b\r\n\r\n", CODEC},
        /* length and coding (section 6, H1-7) */
        {"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", BOTH},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", BOTH},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n", BOTH},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", CODING},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", CODING},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", CODING},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", CODING},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", CODING},
        {"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", CODING},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked;x\r\n\r\n", CODING},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", CODING},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: \x0b"
         "chunked\r\n\r\n",
         CHARS},
        {"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length: 3 3\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length: 3.0\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", CODEC},
        {"POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", CODEC},
        /* nominations (H1-8) */
        {"GET / HTTP/1.1\r\nConnection: a,b,c,d,e,f,g,h,i,j\r\n\r\n", NOMINEE},
        {"GET / HTTP/1.1\r\nConnection: x-Forwarded-For\r\n\r\n", NOMINEE},
        {"GET / HTTP/1.1\r\nConnection: close, :path\r\n\r\n", NOMINEE},
    };
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    REFUSED(MC_H1_REQUEST, &limits, cases, true);
}

TEST(nul_is_refused_everywhere) {
    static const struct {
        mc_slice in;
        const char *error;
    } cases[] = {
        {MC_SLICE_INIT("G\0T / HTTP/1.1\r\n\r\n"), "error 400 http1.codec_error\n"},
        {MC_SLICE_INIT("GET /\0 HTTP/1.1\r\n\r\n"), "error 400 http1.invalid_characters\n"},
        {MC_SLICE_INIT("GET / HTTP/1.1\0\r\n\r\n"), "error 400 http1.codec_error\n"},
        {MC_SLICE_INIT("GET / HTTP/1.1\r\nX\0: a\r\n\r\n"), "error 400 http1.invalid_characters\n"},
        {MC_SLICE_INIT("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n"), "error 400 http1.invalid_characters\n"},
        {MC_SLICE_INIT("GET / HTTP/1.1\r\nX: a\r\n\0\r\n\r\n"), "error 400 http1.invalid_characters\n"},
    };
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_every_split((run_options){.role = MC_H1_REQUEST, .limits = &limits}, cases[i].in, cases[i].error);
    }
}

TEST(chunks_refused) {
#define CHUNKED "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    static const refusal cases[] = {
        {CHUNKED " 3\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "3 \r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "0x3\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "+3\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "-3\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "g\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED ";a\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "3\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "3\r\nabcX\r\n0\r\n\r\n", CODEC},
        {CHUNKED "3\r\nabc0\r\n\r\n", CODEC},
        {CHUNKED "3\r\nabc\n0\r\n\r\n", CODEC},
        {CHUNKED "3\r\nabc\r0\r\n\r\n", CODEC},
        {CHUNKED "3;a\rb\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "3;a\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "3;\x01\r\nabc\r\n0\r\n\r\n", CODEC},
        {CHUNKED "0\r\n\n", CODEC},
        {CHUNKED "0\r\nX : y\r\n\r\n", CODEC},
        {CHUNKED "0\r\nX: a\r\n b\r\n\r\n", CODEC},
        {CHUNKED "0\r\nX: a\n\r\n", CODEC},
        {CHUNKED "0\r\nX: \x01\r\n\r\n", CHARS},
    };
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    REFUSED(MC_H1_REQUEST, &limits, cases, false);
    mc_h1_limits_init(&limits, MC_H1_REQUEST); /* dropped trailers are checked too */
    REFUSED(MC_H1_REQUEST, &limits, cases, false);
}

TEST(responses_refused) {
    static const refusal cases[] = {
        {"HTTP/1.1 200 OK\nContent-Length: 0\n\n", CODEC},
        {"http/1.1 200 OK\r\n\r\n", CODEC},
        {"HTTP/1.1  200 OK\r\n\r\n", CODEC},
        {"HTTP/1.1 20 OK\r\n\r\n", CODEC},
        {"HTTP/1.1 2000 OK\r\n\r\n", CODEC},
        {"HTTP/1.1 099 OK\r\n\r\n", CODEC},
        {"HTTP/1.1 20x OK\r\n\r\n", CODEC},
        {"HTTP/1.1 200 O\x01K\r\n\r\n", CODEC},
        {"HTTP/1.1\r\n\r\n", CODEC},
        {"\r\nHTTP/1.1 200 OK\r\n\r\n", CODEC},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", CODEC},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", BOTH},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", CODING},
        {"HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\n", 502, "http1.content_length_not_allowed"},
        {"HTTP/1.1 100 Go\r\nContent-Length: 1\r\n\r\n", 502, "http1.content_length_not_allowed"},
        {"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", 502, "http1.transfer_encoding_not_allowed"},
    };
    mc_h1_limits limits = lenient(MC_H1_RESPONSE);
    REFUSED(MC_H1_RESPONSE, &limits, cases, true);
}

/* --- limits ----------------------------------------------------------------------------------------------------- */

TEST(limits_refuse_with_431) {
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    limits.max_headers_count = 2;
    limits.max_headers_bytes = 20;
    static const refusal cases[] = {
        {"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n", 431, "http1.too_many_headers"},
        {"GET / HTTP/1.1\r\na: 0123456789012345678\r\n\r\n", 431, "http1.headers_too_large"},
        {"GET / HTTP/1.1\r\n01234567890123456789: \r\n\r\n", 431, "http1.headers_too_large"},
        {"GET /0123456789012345678901234567890 HTTP/1.1\r\n\r\n", 431, "http1.headers_too_large"},
        {"GET /01234567890123456789 HTTP/1.1\r\n\r\n", 431, "http1.headers_too_large"},
    };
    REFUSED(MC_H1_REQUEST, &limits, cases, true);
    run_options how = {.role = MC_H1_REQUEST, .limits = &limits};
    check_every_split(
        how, MC_SLICE("GET / HTTP/1.1\r\na: 1\r\nb:  012345678901234 \r\n\r\n"),
        "header :method=GET\nheader :path=/\nheader a=1\nheader b=012345678901234\nhead 1.1 end\ncomplete\n");
    static const refusal trailers[] = {
        {CHUNKED "0\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n", 431, "http1.too_many_headers"},
        {CHUNKED "0\r\na: 0123456789012345678901234567890123456789\r\n\r\n", 431, "http1.headers_too_large"},
    };
    limits.max_headers_bytes = 40;
    REFUSED(MC_H1_REQUEST, &limits, trailers, false);
}

TEST(http_10_refused_unless_accepted) {
    mc_h1_limits limits;
    mc_h1_limits_init(&limits, MC_H1_REQUEST);
    static const refusal cases[] = {
        {"GET / HTTP/1.0\r\n\r\n", 426, "low_version"},
        {"GET / HTTP/1.2\r\n\r\n", 426, "low_version"},
        {"GET / HTTP/2.0\r\n\r\n", 426, "low_version"},
        {"GET /\r\n\r\n", 426, "low_version"},
    };
    REFUSED(MC_H1_REQUEST, &limits, cases, true);
}

TEST(underscores) {
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    run_options how = {.role = MC_H1_REQUEST, .limits = &limits};
    mc_slice in = MC_SLICE("GET / HTTP/1.1\r\na_b: 1\r\nc: 2\r\n\r\n");
    check_every_split(how, in,
                      "header :method=GET\nheader :path=/\nheader a_b=1\nheader c=2\nhead 1.1 end\ncomplete\n");
    limits.underscores = 1;
    check_every_split(how, in, "header :method=GET\nheader :path=/\nheader c=2\nhead 1.1 dropped=1 end\ncomplete\n");
    limits.underscores = 2;
    check_every_split(how, in, "error 400 http1.unexpected_underscore\n");
}

/* --- other rules ------------------------------------------------------------------------------------------------ */

TEST(chunked_length_allowed) { /* difference: chunked-and-length */
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    limits.allow_chunked_length = true;
    check_every_split(
        (run_options){.role = MC_H1_REQUEST, .limits = &limits},
        MC_SLICE("POST / HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        "header :method=POST\nheader :path=/\nheader transfer-encoding=Chunked\nhead 1.1 close chunked\n"
        "body \"x\"\ncomplete\n");
}

TEST(custom_methods_allowed) {
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    limits.allow_custom_methods = true;
    run_options how = {.role = MC_H1_REQUEST, .limits = &limits};
    check_every_split(how, MC_SLICE("x-Y! / HTTP/1.1\r\n\r\n"),
                      "header :method=x-Y!\nheader :path=/\nhead 1.1 end\ncomplete\n");
    check_every_split(how, MC_SLICE("x:y / HTTP/1.1\r\n\r\n"), "error 400 http1.codec_error\n");
    REQUEST("MSEARCH / HTTP/1.1\r\n\r\n", "header :method=MSEARCH\nheader :path=/\nhead 1.1 end\ncomplete\n");
}

TEST(nominated_headers_go) {
    REQUEST("GET / HTTP/1.1\r\nX-A: 1\r\nTE: gzip, Trailers\r\nConnection: x-a, TE, close\r\nHost: h\r\nx-a: 2\r\n\r\n",
            "header :method=GET\nheader :path=/\nheader te=trailers\nheader connection=TE,close\nheader "
            ":authority=h\nhead 1.1 close end\ncomplete\n");
    REQUEST("GET / HTTP/1.1\r\nTE: trailers;q=1\r\nConnection: TE\r\n\r\n",
            "header :method=GET\nheader :path=/\nhead 1.1 end\ncomplete\n");
    REQUEST("POST / HTTP/1.1\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\nx",
            "header :method=POST\nheader :path=/\nhead 1.1 length=1\nbody "
            "\"x\"\ncomplete\n");
    REQUEST("GET / HTTP/1.1\r\nConnection: upgrade, http2-settings, y\r\nUpgrade: h2c\r\nHTTP2-Settings: z\r\n\r\n",
            "header :method=GET\nheader :path=/\nhead 1.1 end\ncomplete\n");
}

TEST(as_sent_keeps_everything) {
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    limits.as_sent = true;
    run_options how = {.role = MC_H1_REQUEST, .limits = &limits};
    check_every_split(
        how, MC_SLICE("GET http://b/c HTTP/1.1\r\nHost: a\r\nConnection: x\r\nX: 1\r\n\r\n"),
        "header :method=GET\nheader :path=http://b/c\nheader :authority=a\nheader connection=x\nheader x=1\n"
        "head 1.1 end\ncomplete\n");
}

TEST(expect_continue) {
    REQUEST(
        "POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
        "header :method=POST\nheader :path=/\nheader expect=100-Continue\nheader content-length=1\nhead 1.1 length=1 "
        "expect\nbody \"x\"\ncomplete\n");
}

TEST(response_to_connect_opens_a_tunnel) {
    mc_h1_limits limits = lenient(MC_H1_RESPONSE);
    run_options how = {.role = MC_H1_RESPONSE, .limits = &limits, .methods = {"CONNECT"}, .tunnel = true};
    check_every_split(
        how, MC_SLICE("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nraw"),
        "header :status=200\nheader content-length=5\nhead 1.1 length=5 upgrade\nbody \"raw\"\ncomplete\n");
    how.methods[0] = "GET";
    check_every_split(how, MC_SLICE("HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw"),
                      "header :status=101\nheader upgrade=x\nheader connection=upgrade\nhead 1.1 upgrade\nbody "
                      "\"raw\"\ncomplete\n");
}

TEST(upgrade_not_taken_leaves_the_rest) {
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    recorder r;
    recorder_init(&r, MC_H1_REQUEST, &limits);
    mc_slice in = MC_SLICE("CONNECT b:80 HTTP/1.1\r\n\r\nraw");
    CHECK_INT(mc_h1_parser_feed(&r.parser, in), in.n - 3);
    CHECK_INT(mc_h1_parser_feed(&r.parser, MC_SLICE("raw")), 0);
    mc_h1_parser_tunnel(&r.parser);
    CHECK_INT(mc_h1_parser_feed(&r.parser, MC_SLICE("raw")), 3);
    CHECK(strstr(r.log, "body \"raw") != NULL);
    recorder_fini(&r);
}

TEST(eof_in_the_middle) {
    static const char *const cut[] = {"G", "GET / HTTP/1.1\r\nH", "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nx",
                                      CHUNKED "1"};
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++) {
        recorder r;
        recorder_init(&r, MC_H1_REQUEST, &limits);
        CHECK(recorder_feed(&r, cut[i], strlen(cut[i])));
        CHECK(!mc_h1_parser_idle(&r.parser));
        CHECK_INT(mc_h1_parser_eof(&r.parser), MC_EPROTO);
        CHECK_INT(mc_h1_parser_feed(&r.parser, MC_SLICE("x")), MC_EPROTO);
        CHECK_INT(r.parser.error.reply_code, 400);
        recorder_fini(&r);
    }
}

TEST(idle_between_messages) {
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    recorder r;
    recorder_init(&r, MC_H1_REQUEST, &limits);
    CHECK(mc_h1_parser_idle(&r.parser));
    CHECK(recorder_feed(&r, "\r\n", 2));
    CHECK(mc_h1_parser_idle(&r.parser));
    CHECK(recorder_feed(&r, "GET / HTTP/1.1\r\n\r\n", 18));
    CHECK(mc_h1_parser_idle(&r.parser));
    CHECK_INT(mc_h1_parser_eof(&r.parser), MC_OK);
    recorder_fini(&r);
    CHECK(sizeof(mc_h1_parser) < 250);
}

TEST(large_head_in_small_and_large_pieces) {
    enum { COUNT = 90, SIZE = COUNT * 128 + 64 };
    char in[SIZE];
    size_t n = (size_t)snprintf(in, sizeof in, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < COUNT; i++) {
        n += (size_t)snprintf(in + n, sizeof in - n, "X-%d: %0100d\r\n", i, i);
    }
    n += (size_t)snprintf(in + n, sizeof in - n, "\r\n");
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    run_options how = {.role = MC_H1_REQUEST, .limits = &limits};
    char *whole = run(&how, (mc_slice){in, n}, n, n), *bytes = run(&how, (mc_slice){in, n}, SIZE_MAX, 0);
    bool same = strcmp(whole, bytes) == 0 && strstr(whole, "header x-89=000") != NULL;
    free(whole);
    free(bytes);
    CHECK(same);
}

/* Bytes beyond the input are never read: the input ends where memory does. */
TEST(guard_page) {
    size_t page = 4096;
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    CHECK_INT(mprotect(pages + page, page, PROT_NONE), 0);
    static const char text[] =
        "POST /a/rather/long/path/for/vectors?and=a+query HTTP/1.1\r\nHost: example.org\r\nX-Long-Name-For-Vectors: "
        "and a value longer than one\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX: y\r\n\r\n";
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    for (size_t n = 0; n < sizeof text; n++) {
        char *at = pages + page - n;
        memcpy(at, text, n);
        recorder r;
        recorder_init(&r, MC_H1_REQUEST, &limits);
        CHECK(recorder_feed(&r, at, n));
        recorder_fini(&r);
    }
    munmap(pages, 2 * page);
}

TEST(every_failing_allocation_is_reported) {
    static const char text[] =
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, x\r\nUpgrade: h2c\r\nTransfer-Encoding: "
        "chunked\r\n\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\n";
    mc_h1_limits limits = lenient(MC_H1_REQUEST);
    for (size_t split = 1; split <= sizeof text - 1; split += sizeof text - 2) {
        bool complete = false;
        for (long nth = 1; !complete; nth++) {
            recorder r;
            recorder_init(&r, MC_H1_REQUEST, &limits);
            mc_test_alloc_fail_at(nth);
            bool ok = recorder_feed(&r, text, split) && recorder_feed(&r, text + split, sizeof text - 1 - split);
            mc_test_alloc_fail_at(0);
            complete = ok && strstr(r.log, "complete") != NULL;
            bool reported = strstr(r.log, "error 0 out of memory") != NULL;
            recorder_fini(&r);
            CHECK(complete || reported);
            CHECK(nth < 100);
        }
    }
}
