/* Time as START_TIME(format) writes it. Envoy takes its own specifiers out first: %s the seconds since 1970, %f the nine digits of
 * the fraction, %1f to %9f and %E1f to %E9f the first so many, %E1S to %E9S the same behind seconds and a point. What lies between
 * goes to cctz, which does the common conversions and its %E forms by itself and hands the rest to strftime in runs; here strftime
 * has the C locale. A format is cut into such pieces once. */
#include <locale.h>
#include <time.h>

#include "base/alloc.h"
#include "route/compile.h"
#include "route/format_program.h"

typedef enum piece_kind {
    LITERAL,
    SECONDS_SINCE_1970,
    FRACTION, /* `digits` of it */
    YEAR,
    YEAR_OF_4,
    DATE,
    CLOCK,
    TWO_DIGITS, /* the text is one of m, d, H, M, S */
    POINT_AND_FRACTION,
    SECOND_AND_FRACTION,
    ZONE,
    ZONE_COLON,
    ZONE_SECONDS,
    ZONE_SHORT,
    ZONE_NAME,
    STRFTIME, /* the text, ended by NUL, is strftime's */
} piece_kind;

typedef struct piece {
    piece_kind kind;
    bool all_digits; /* of a fraction that are not trailing zeroes */
    uint16_t digits;
    mc_slice text;
} piece;

struct mc_time_format {
    piece *pieces;
    size_t count;
    bool local;
};

/* A newline must not get into a header: %n, and what strftime takes for it. */
static bool has_newline(mc_slice s) {
    for (size_t i = 0; i + 1 < s.n; i++) {
        if (s.p[i] != '%') {
            continue;
        }
        size_t j = i + 1;
        for (; j < s.n && memchr("-_0^#", s.p[j], 5) != NULL; j++) {
        }
        for (; j < s.n && s.p[j] >= '1' && s.p[j] <= '9'; j++) {
        }
        j += j < s.n && (s.p[j] == 'E' || s.p[j] == 'O');
        if (j < s.n && s.p[j] == 'n') {
            return true;
        }
    }
    return false;
}

/* --- compiling ---------------------------------------------------------------------------------------------------------- */

typedef struct compiler {
    mc_arena *arena;
    mc_time_format *format;
} compiler;

static void add_piece(compiler *c, piece one) { c->format->pieces[c->format->count++] = one; }

static mc_status add_text(compiler *c, piece_kind kind, mc_slice text) {
    char *copy = mc_arena_bytes(c->arena, text.n + 1);
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    add_piece(c, (piece){.kind = kind, .text = mc_slice_of(copy, text.n)});
    return MC_OK;
}

/* "E0S", "E12f" at the start of `s`: no digit, or more than Envoy's own have. Returns the characters used, 0: it is another. */
static size_t read_fraction(mc_slice s, piece *out) {
    size_t n = 1;
    unsigned digits = 0;
    for (; n < s.n && s.p[n] >= '0' && s.p[n] <= '9' && digits <= 1024; n++) {
        digits = digits * 10 + (unsigned)(s.p[n] - '0');
    }
    if (n == 1 || n >= s.n || digits > 1024 || (s.p[n] != 'S' && s.p[n] != 'f')) {
        return 0;
    }
    out->kind = s.p[n] == 'S' ? SECOND_AND_FRACTION : FRACTION;
    out->digits = (uint16_t)(digits < 18 ? digits : 18); /* cctz writes no more */
    return n + 1;
}

/* The conversion behind an unescaped '%' that cctz knows. Returns the characters used, 0: it is strftime's. */
static size_t read_conversion(mc_slice s, piece *out) {
    static const struct {
        const char *text;
        piece_kind kind;
        mc_slice content;
    } known[] = {
        {"Y", YEAR, MC_SLICE_INIT("")},           {"E4Y", YEAR_OF_4, MC_SLICE_INIT("")},
        {"m", TWO_DIGITS, MC_SLICE_INIT("m")},    {"d", TWO_DIGITS, MC_SLICE_INIT("d")},
        {"H", TWO_DIGITS, MC_SLICE_INIT("H")},    {"M", TWO_DIGITS, MC_SLICE_INIT("M")},
        {"S", TWO_DIGITS, MC_SLICE_INIT("S")},    {"e", STRFTIME, MC_SLICE_INIT("%e")},
        {"U", STRFTIME, MC_SLICE_INIT("%U")},     {"u", STRFTIME, MC_SLICE_INIT("%u")},
        {"W", STRFTIME, MC_SLICE_INIT("%W")},     {"w", STRFTIME, MC_SLICE_INIT("%w")},
        {"z", ZONE, MC_SLICE_INIT("")},           {"Z", ZONE_NAME, MC_SLICE_INIT("")},
        {":z", ZONE_COLON, MC_SLICE_INIT("")},    {"Ez", ZONE_COLON, MC_SLICE_INIT("")},
        {"::z", ZONE_SECONDS, MC_SLICE_INIT("")}, {"E*z", ZONE_SECONDS, MC_SLICE_INIT("")},
        {":::z", ZONE_SHORT, MC_SLICE_INIT("")},  {"ET", LITERAL, MC_SLICE_INIT("T")},
        {"F", DATE, MC_SLICE_INIT("")},           {"T", CLOCK, MC_SLICE_INIT("")},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        mc_slice text = mc_slice_cstr(known[i].text);
        if (mc_slice_has_prefix(s, text)) {
            *out = (piece){.kind = known[i].kind, .text = known[i].content};
            return text.n;
        }
    }
    *out = (piece){0};
    return s.n > 0 && s.p[0] == 'E' ? read_fraction(s, out) : 0;
}

/* cctz's part. `from` is where text begins that was not dealt with: plain so far, or a run for strftime. */
static mc_status compile_run(compiler *c, mc_slice s) {
    size_t from = 0, at = 0;
    while (at < s.n) {
        if (s.p[at] != '%') {
            size_t end = at + mc_slice_find(mc_slice_from(s, at), '%');
            if (from == at) {
                MC_TRY(add_text(c, LITERAL, mc_slice_of(s.p + at, end - at)));
                from = end;
            }
            at = end;
            continue;
        }
        size_t percent = at;
        for (; at < s.n && s.p[at] == '%'; at++) {
        }
        if (from == percent) { /* pairs, and a single one at the very end, are percent signs */
            size_t pairs = (at - percent) / 2, rest = (at - percent) % 2;
            size_t written = pairs + (at == s.n ? rest : 0);
            MC_TRY(add_text(c, LITERAL, mc_slice_of(s.p + percent, written)));
            from = at == s.n ? at : at - rest;
        }
        if (at == s.n || (at - percent) % 2 == 0) {
            continue;
        }
        piece found;
        size_t used = read_conversion(mc_slice_from(s, at), &found);
        if (used > 0) {
            if (at - 1 > from) {
                MC_TRY(add_text(c, STRFTIME, mc_slice_of(s.p + from, at - 1 - from)));
            }
            add_piece(c, found);
            from = at += used;
        }
    }
    return from < s.n ? add_text(c, STRFTIME, mc_slice_from(s, from)) : MC_OK;
}

/* Envoy's own at the start of `s`: %s, %f, %3f, %E3f, %E*f, %E3S, %E*S. They stand even behind a '%' that another one precedes.
 * Returns the characters used, 0: there is none. */
static size_t read_own(mc_slice s, piece *out) {
    *out = (piece){.kind = FRACTION, .digits = 9};
    size_t n = 1;
    if (s.n < 2 || s.p[0] != '%') {
        return 0;
    }
    if (s.p[1] == 's') {
        out->kind = SECONDS_SINCE_1970;
        return 2;
    }
    const bool extended = s.p[1] == 'E';
    n += extended;
    if (n < s.n && s.p[n] >= '1' && s.p[n] <= '9') {
        out->digits = (uint16_t)(s.p[n++] - '0');
    } else if (extended) {
        out->all_digits = true;
        n += n < s.n && s.p[n] == '*' ? 1 : s.n;
    }
    if (n >= s.n || (s.p[n] != 'f' && !(extended && s.p[n] == 'S'))) {
        return 0;
    }
    out->kind = s.p[n] == 'f' ? FRACTION : POINT_AND_FRACTION;
    return n + 1;
}

/* A run, to which the seconds belong whose fraction comes next. */
static mc_status compile_seconds(compiler *c, mc_slice run) {
    const mc_slice parts[] = {run, MC_SLICE("%S")};
    mc_slice whole;
    MC_TRY(mc_arena_concat(c->arena, parts, 2, &whole));
    return compile_run(c, whole);
}

static mc_status compile_all(compiler *c, mc_slice s) {
    size_t from = 0;
    for (size_t at = 0; at < s.n;) {
        piece own;
        size_t used = read_own(mc_slice_from(s, at), &own);
        if (used == 0) {
            at++;
            continue;
        }
        mc_slice run = mc_slice_of(s.p + from, at - from);
        MC_TRY(own.kind == POINT_AND_FRACTION ? compile_seconds(c, run) : compile_run(c, run));
        add_piece(c, own);
        from = at += used;
    }
    return compile_run(c, mc_slice_from(s, from));
}

mc_status mc_time_format_compile(mc_arena *arena, mc_slice format, bool local, const mc_time_format **out,
                                 mc_error *error) {
    if (has_newline(format)) {
        return mc_error_set(error, MC_EINVAL, "", "a time format must not write a newline: %.*s", MC_SLICE_ARG(format));
    }
    if (format.n == 0) {
        format = local ? MC_SLICE("%Y-%m-%dT%H:%M:%E3S%z") : MC_SLICE("%Y-%m-%dT%H:%M:%E3SZ");
    }
    mc_time_format *compiled = mc_arena_zalloc(arena, sizeof *compiled);
    /* Every piece takes a character at least, and one of strftime's may stand before each. */
    piece *pieces = mc_arena_zalloc(arena, (format.n + 1) * sizeof *pieces);
    if (compiled == NULL || pieces == NULL) {
        return MC_ENOMEM;
    }
    compiled->pieces = pieces;
    compiled->local = local;
    compiler c = {arena, compiled};
    MC_TRY(compile_all(&c, format));
    *out = compiled;
    return MC_OK;
}

/* --- running ------------------------------------------------------------------------------------------------------------- */

typedef struct moment {
    struct tm tm;
    int64_t seconds;
    uint32_t nanos;
} moment;

static void add_number(mc_text *out, int64_t value, unsigned width) {
    char digits[24];
    size_t n = mc_format_u64(digits, value < 0 ? -(uint64_t)value : (uint64_t)value);
    if (value < 0) {
        mc_text_lit(out, "-");
    }
    for (size_t i = n; i < width; i++) {
        mc_text_lit(out, "0");
    }
    mc_text_add(out, mc_slice_of(digits, n));
}

/* More than nine digits of a second are zeroes. */
static void add_fraction(mc_text *out, uint32_t nanos, unsigned digits) {
    for (unsigned i = digits; i < 9; i++) {
        nanos /= 10;
    }
    add_number(out, nanos, digits < 9 ? digits : 9);
    for (unsigned i = 9; i < digits; i++) {
        mc_text_lit(out, "0");
    }
}

static unsigned digits_of(const piece *one, uint32_t nanos) {
    if (!one->all_digits) {
        return one->digits;
    }
    unsigned digits = nanos == 0 ? 0 : 9;
    for (; digits > 0 && nanos % 10 == 0; nanos /= 10) {
        digits--;
    }
    return digits == 0 && one->kind == FRACTION ? 1 : digits;
}

static void add_zone(mc_text *out, long seconds, piece_kind kind) {
    const unsigned long s = (unsigned long)(seconds < 0 ? -seconds : seconds);
    mc_text_add(out, seconds < 0 ? MC_SLICE("-") : MC_SLICE("+"));
    add_number(out, (int64_t)(s / 3600), 2);
    if (kind == ZONE_SHORT && s % 3600 == 0) {
        return;
    }
    mc_text_add(out, kind == ZONE ? MC_SLICE_NONE : MC_SLICE(":"));
    add_number(out, (int64_t)(s / 60 % 60), 2);
    if (kind == ZONE_SECONDS || (kind == ZONE_SHORT && s % 60 != 0)) {
        mc_text_lit(out, ":");
        add_number(out, (int64_t)(s % 60), 2);
    }
}

static int two_digits(char letter, const struct tm *tm) {
    switch (letter) {
    case 'm': return tm->tm_mon + 1;
    case 'd': return tm->tm_mday;
    case 'H': return tm->tm_hour;
    case 'M': return tm->tm_min;
    default: return tm->tm_sec;
    }
}

/* Three numbers of two digits at least. */
static void add_three(mc_text *out, const int64_t *numbers, mc_slice between) {
    for (int i = 0; i < 3; i++) {
        mc_text_add(out, i > 0 ? between : MC_SLICE_NONE);
        add_number(out, numbers[i], 2);
    }
}

/* As cctz calls it: what needs more than 16 times the room of its format is left out. */
static void add_strftime(mc_text *out, mc_slice format, const struct tm *tm) {
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* the C library's own, without memory */
    char *room = plain == (locale_t)0 ? NULL : mc_malloc(format.n * 16);
    if (room != NULL) {
        mc_text_add(out, mc_slice_of(room, strftime_l(room, format.n * 16, format.p, tm, plain)));
        mc_free(room);
    } else {
        out->failed = true;
    }
    if (plain != (locale_t)0) {
        freelocale(plain);
    }
}

static void run_piece(const piece *one, const moment *at, mc_text *out) {
    const struct tm *tm = &at->tm;
    const unsigned digits = digits_of(one, at->nanos);
    switch (one->kind) {
    case LITERAL: mc_text_add(out, one->text); return;
    case SECONDS_SINCE_1970: mc_text_i64(out, at->seconds); return;
    case YEAR: mc_text_i64(out, tm->tm_year + INT64_C(1900)); return;
    case YEAR_OF_4: add_number(out, tm->tm_year + INT64_C(1900), 4); return;
    case DATE:
        add_three(out, (int64_t[]){tm->tm_year + INT64_C(1900), tm->tm_mon + 1, tm->tm_mday}, MC_SLICE("-"));
        return;
    case CLOCK: add_three(out, (int64_t[]){tm->tm_hour, tm->tm_min, tm->tm_sec}, MC_SLICE(":")); return;
    case TWO_DIGITS: add_number(out, two_digits(one->text.p[0], tm), 2); return;
    case ZONE:
    case ZONE_COLON:
    case ZONE_SECONDS:
    case ZONE_SHORT: add_zone(out, tm->tm_gmtoff, one->kind); return;
    case ZONE_NAME: mc_text_add(out, mc_slice_cstr(tm->tm_zone)); return;
    case STRFTIME: add_strftime(out, one->text, tm); return;
    case SECOND_AND_FRACTION: add_number(out, tm->tm_sec, 2); /* fallthrough */
    case POINT_AND_FRACTION: mc_text_add(out, digits > 0 ? MC_SLICE(".") : MC_SLICE_NONE); break;
    case FRACTION: break;
    }
    if (digits > 0) {
        add_fraction(out, at->nanos, digits);
    }
}

void mc_time_format_run(const mc_time_format *format, uint64_t ns, mc_text *out) {
    moment at = {.seconds = (int64_t)(ns / 1000000000u), .nanos = (uint32_t)(ns % 1000000000u)};
    time_t seconds = (time_t)at.seconds;
    if (format->local) {
        (void)localtime_r(&seconds, &at.tm);
    } else {
        (void)gmtime_r(&seconds, &at.tm);
        at.tm.tm_zone = "UTC";
    }
    for (size_t i = 0; i < format->count; i++) {
        run_piece(&format->pieces[i], &at, out);
    }
}
