/* What both h1 fuzz targets share: the same bytes whole, cut in two ways, with and without pauses, must say the same; and no
 * piece may be read past its end (each is a heap block of its own size, so AddressSanitizer sees it).
 *
 * Input: one byte of switches, one byte of seed for the cuts, then the stream. */
#ifndef MC_FUZZ_H1_H
#define MC_FUZZ_H1_H

#include "../c/h1/recorder.h"

#define FUZZ_SMALL_LIMITS 1u
#define FUZZ_STRICT       2u /* no HTTP/1.0, no trailers */
#define FUZZ_UNDERSCORES  4u
#define FUZZ_LOOSE        8u /* chunked with length, custom methods */
#define FUZZ_AS_SENT      16u
#define FUZZ_TUNNEL       32u
#define FUZZ_ASK          192u /* responses: GET, HEAD, CONNECT, nothing */

typedef struct fuzz_run {
    mc_h1_role role;
    unsigned switches;
    bool pause;
    unsigned seed; /* 0: one piece */
} fuzz_run;

static mc_h1_limits fuzz_limits(mc_h1_role role, unsigned switches) {
    mc_h1_limits limits;
    mc_h1_limits_init(&limits, role);
    if (switches & FUZZ_SMALL_LIMITS) {
        limits.max_headers_bytes = 64;
        limits.max_headers_count = 4;
    }
    limits.accept_http_10 = limits.enable_trailers = !(switches & FUZZ_STRICT);
    limits.underscores = switches & FUZZ_UNDERSCORES ? 1 + (switches & 1) : 0;
    limits.allow_chunked_length = limits.allow_custom_methods = (switches & FUZZ_LOOSE) != 0;
    limits.as_sent = (switches & FUZZ_AS_SENT) != 0;
    return limits;
}

static bool fuzz_feed_piece(recorder *r, const uint8_t *data, size_t n) {
    char *piece = malloc(n == 0 ? 1 : n);
    memcpy(piece, data, n);
    bool more = recorder_feed(r, piece, n);
    free(piece);
    return more;
}

static void fuzz_expect(recorder *r, const fuzz_run *run) {
    static const char *const methods[] = {"GET", "HEAD", "CONNECT"};
    unsigned asked = run->switches >> 6;
    if (run->role == MC_H1_RESPONSE && asked < 3) {
        mc_h1_parser_expect(&r->parser, mc_slice_cstr(methods[asked]));
    }
}

/* The log of the stream; the kind of an error is left out when a limit is small, because whether a limit or a wrong byte
 * behind it is met first is up to the cuts. */
static char *fuzz_log(const fuzz_run *run, const uint8_t *data, size_t n) {
    mc_h1_limits limits = fuzz_limits(run->role, run->switches);
    recorder r;
    recorder_init(&r, run->role, &limits);
    r.pause = run->pause;
    r.tunnel = (run->switches & FUZZ_TUNNEL) != 0;
    fuzz_expect(&r, run);
    bool more = true;
    unsigned state = run->seed;
    for (size_t at = 0; more && at < n;) {
        state = state * 1103515245u + 12345u;
        size_t step = run->seed == 0 ? n : 1 + (state >> 16) % (state >> 28 ? 9 : 64);
        step = step < n - at ? step : n - at;
        more = fuzz_feed_piece(&r, data + at, step);
        at += step;
    }
    if (more) {
        recorder_eof(&r);
    }
    char *kind = r.failed_at == 0 ? NULL : r.log + r.failed_at - 1;
    if (kind != NULL && (run->switches & FUZZ_SMALL_LIMITS)) {
        strcpy(kind, "error");
    }
    char *log = strdup(r.log);
    recorder_fini(&r);
    return log;
}

static int fuzz_h1(mc_h1_role role, const uint8_t *data, size_t n) {
    if (n < 2) {
        return 0;
    }
    fuzz_run run = {role, data[0], false, 0};
    char *whole = fuzz_log(&run, data + 2, n - 2);
    for (unsigned way = 0; way < 3; way++) {
        run.pause = way != 0;
        run.seed = way == 2 ? 0 : 1u + data[1] + 256u * way;
        char *other = fuzz_log(&run, data + 2, n - 2);
        if (strcmp(whole, other) != 0) {
            fprintf(stderr, "--- whole\n%s--- way %u\n%s", whole, way, other);
            abort();
        }
        free(other);
    }
    free(whole);
    return 0;
}

#endif
