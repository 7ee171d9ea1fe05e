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
    RESPONSE("GET", "HTTP/1.1 304 \r\nContent-Length: 2\r\n\r\n",
             "header :status=304\nheader content-length=2\nhead 1.1 length=2 end\ncomplete\n");
    RESPONSE("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
             "header :status=200\nheader transfer-encoding=chunked\nhead 1.1 chunked\nbody \"x\"\ncomplete\n");
    RESPONSE("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX",
             "header :status=200\nheader content-length=2\nhead 1.1 length=2\nbody \"ok\"\ncomplete\nerror 400 "
             "http1.codec_error\n");
    RESPONSE(NULL, "H", "error 400 http1.codec_error\n");
}
