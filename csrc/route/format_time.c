/* Time as START_TIME(format) writes it: strftime in the C locale, with cctz's %E forms, and three of Envoy's own: %s the seconds
 * since 1970, %f the nine digits of the fraction, %1f to %9f the first so many. */
#include <time.h>

#include "route/compile.h"
#include "route/format_program.h"

struct mc_time_format {
    mc_slice text;
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

mc_status mc_time_format_compile(mc_arena *arena, mc_slice format, bool local, const mc_time_format **out,
                                 mc_error *error) {
    if (has_newline(format)) {
        return mc_error_set(error, MC_EINVAL, "", "a time format must not write a newline: %.*s", MC_SLICE_ARG(format));
    }
    mc_time_format *compiled = mc_arena_zalloc(arena, sizeof *compiled);
    if (compiled == NULL) {
        return MC_ENOMEM;
    }
    compiled->text = format.n > 0 ? format
                     : local      ? MC_SLICE("%Y-%m-%dT%H:%M:%E3S%z")
                                  : MC_SLICE("%Y-%m-%dT%H:%M:%E3SZ");
    compiled->local = local;
    *out = compiled;
    return MC_OK;
}

/* --- pieces ------------------------------------------------------------------------------------------------------------- */

/* At least `width` characters, filled up in front. */
static void add_padded(mc_text *out, int64_t value, unsigned width, char fill) {
    char digits[24];
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    size_t n = mc_format_u64(digits, rest);
    if (value < 0) {
        mc_text_lit(out, "-");
    }
    for (size_t i = n; i < width; i++) {
        mc_text_add(out, mc_slice_of(&fill, 1));
    }
    mc_text_add(out, mc_slice_of(digits, n));
}

static void add_fraction(mc_text *out, uint32_t nanos, unsigned digits) {
    for (unsigned i = digits; i < 9; i++) {
        nanos /= 10;
    }
    add_padded(out, nanos, digits, '0');
}

/* All digits that are not trailing zeroes. */
static unsigned fraction_digits(uint32_t nanos) {
    unsigned digits = nanos == 0 ? 0 : 9;
    for (; digits > 0 && nanos % 10 == 0; nanos /= 10) {
        digits--;
    }
    return digits;
}

static void add_zone(mc_text *out, long seconds, const char *style) {
    mc_text_add(out, seconds < 0 ? MC_SLICE("-") : MC_SLICE("+"));
    long s = seconds < 0 ? -seconds : seconds;
    add_padded(out, s / 3600, 2, '0');
    mc_text_add(out, mc_slice_cstr(style));
    add_padded(out, s / 60 % 60, 2, '0');
}

static const mc_slice day_names[] = {MC_SLICE_INIT("Sunday"),    MC_SLICE_INIT("Monday"),   MC_SLICE_INIT("Tuesday"),
                                     MC_SLICE_INIT("Wednesday"), MC_SLICE_INIT("Thursday"), MC_SLICE_INIT("Friday"),
                                     MC_SLICE_INIT("Saturday")};
static const mc_slice month_names[] = {MC_SLICE_INIT("January"), MC_SLICE_INIT("February"), MC_SLICE_INIT("March"),
                                       MC_SLICE_INIT("April"),   MC_SLICE_INIT("May"),      MC_SLICE_INIT("June"),
                                       MC_SLICE_INIT("July"),    MC_SLICE_INIT("August"),   MC_SLICE_INIT("September"),
                                       MC_SLICE_INIT("October"), MC_SLICE_INIT("November"), MC_SLICE_INIT("December")};

/* Weeks of the ISO 8601 year, and that year. */
static int iso_week(const struct tm *tm, int64_t *year) {
    int monday = (tm->tm_wday + 6) % 7;
    int week = (tm->tm_yday - monday + 10) / 7;
    int64_t y = tm->tm_year + 1900;
    int64_t before = y - 1;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    bool before_leap = (before % 4 == 0 && before % 100 != 0) || before % 400 == 0;
    int days = leap ? 366 : 365;
    if (week <
        1) { /* of the year before, which has 53 weeks when it began on a Thursday, or on a Wednesday in a leap year */
        int yday = tm->tm_yday + (before_leap ? 366 : 365);
        *year = before;
        return (yday - monday + 10) / 7;
    }
    *year = y;
    if (week == 53 && tm->tm_yday - monday + 3 >= days) {
        *year = y + 1;
        return 1;
    }
    return week;
}

typedef struct moment {
    struct tm tm;
    int64_t seconds;
    uint32_t nanos;
} moment;

static void run(mc_slice format, const moment *at, mc_text *out);

/* One conversion of strftime; false: there is none of this letter. */
static bool convert(char letter, const moment *at, mc_text *out) {
    const struct tm *tm = &at->tm;
    const int hour12 = tm->tm_hour % 12 == 0 ? 12 : tm->tm_hour % 12;
    int64_t year = tm->tm_year + 1900, iso_year;
    switch (letter) {
    case 'Y': add_padded(out, year, 1, '0'); return true;
    case 'C': add_padded(out, year / 100, 2, '0'); return true;
    case 'y': add_padded(out, year % 100, 2, '0'); return true;
    case 'm': add_padded(out, tm->tm_mon + 1, 2, '0'); return true;
    case 'd': add_padded(out, tm->tm_mday, 2, '0'); return true;
    case 'e': add_padded(out, tm->tm_mday, 2, ' '); return true;
    case 'H': add_padded(out, tm->tm_hour, 2, '0'); return true;
    case 'k': add_padded(out, tm->tm_hour, 2, ' '); return true;
    case 'I': add_padded(out, hour12, 2, '0'); return true;
    case 'l': add_padded(out, hour12, 2, ' '); return true;
    case 'M': add_padded(out, tm->tm_min, 2, '0'); return true;
    case 'S': add_padded(out, tm->tm_sec, 2, '0'); return true;
    case 'j': add_padded(out, tm->tm_yday + 1, 3, '0'); return true;
    case 'u': add_padded(out, tm->tm_wday == 0 ? 7 : tm->tm_wday, 1, '0'); return true;
    case 'w': add_padded(out, tm->tm_wday, 1, '0'); return true;
    case 'U': add_padded(out, (tm->tm_yday + 7 - tm->tm_wday) / 7, 2, '0'); return true;
    case 'W': add_padded(out, (tm->tm_yday + 7 - (tm->tm_wday + 6) % 7) / 7, 2, '0'); return true;
    case 'V': add_padded(out, iso_week(tm, &iso_year), 2, '0'); return true;
    case 'G': (void)iso_week(tm, &iso_year), add_padded(out, iso_year, 1, '0'); return true;
    case 'g': (void)iso_week(tm, &iso_year), add_padded(out, iso_year % 100, 2, '0'); return true;
    case 's': add_padded(out, at->seconds, 1, '0'); return true;
    case 'f': add_fraction(out, at->nanos, 9); return true;
    case 'a': mc_text_add(out, mc_slice_until(day_names[tm->tm_wday], 3)); return true;
    case 'A': mc_text_add(out, day_names[tm->tm_wday]); return true;
    case 'h':
    case 'b': mc_text_add(out, mc_slice_until(month_names[tm->tm_mon], 3)); return true;
    case 'B': mc_text_add(out, month_names[tm->tm_mon]); return true;
    case 'p': mc_text_add(out, tm->tm_hour < 12 ? MC_SLICE("AM") : MC_SLICE("PM")); return true;
    case 'P': mc_text_add(out, tm->tm_hour < 12 ? MC_SLICE("am") : MC_SLICE("pm")); return true;
    case 'z': add_zone(out, tm->tm_gmtoff, ""); return true;
    case 'Z': mc_text_add(out, mc_slice_cstr(tm->tm_zone)); return true;
    case 'c': run(MC_SLICE("%a %b %e %H:%M:%S %Y"), at, out); return true;
    case 'D':
    case 'x': run(MC_SLICE("%m/%d/%y"), at, out); return true;
    case 'F': run(MC_SLICE("%Y-%m-%d"), at, out); return true;
    case 'R': run(MC_SLICE("%H:%M"), at, out); return true;
    case 'r': run(MC_SLICE("%I:%M:%S %p"), at, out); return true;
    case 'T':
    case 'X': run(MC_SLICE("%H:%M:%S"), at, out); return true;
    case 't': mc_text_lit(out, "\t"); return true;
    case '%': mc_text_lit(out, "%"); return true;
    default: return false;
    }
}

/* More than nine digits of a second are zeroes. */
static void add_long_fraction(mc_text *out, uint32_t nanos, unsigned digits) {
    add_fraction(out, nanos, digits < 9 ? digits : 9);
    for (unsigned i = 9; i < digits; i++) {
        mc_text_lit(out, "0");
    }
}

static void add_zone_seconds(mc_text *out, long offset) {
    add_zone(out, offset, ":");
    mc_text_lit(out, ":");
    add_padded(out, (offset < 0 ? -offset : offset) % 60, 2, '0');
}

/* cctz's forms behind '%': E3S, E*S, E3f, E*f, E4Y, Ez, E*z, ET, :z, ::z, :::z. Returns the characters used, 0: none. */
static size_t convert_extended(mc_slice s, const moment *at, mc_text *out) {
    if (mc_slice_has_prefix(s, MC_SLICE("Ez")) || mc_slice_has_prefix(s, MC_SLICE(":z"))) {
        add_zone(out, at->tm.tm_gmtoff, ":");
        return 2;
    }
    if (mc_slice_has_prefix(s, MC_SLICE("ET"))) {
        mc_text_lit(out, "T");
        return 2;
    }
    if (mc_slice_has_prefix(s, MC_SLICE("E4Y"))) {
        add_padded(out, at->tm.tm_year + 1900, 4, '0');
        return 3;
    }
    if (mc_slice_has_prefix(s, MC_SLICE("E*z")) || mc_slice_has_prefix(s, MC_SLICE("::z"))) {
        add_zone_seconds(out, at->tm.tm_gmtoff);
        return 3;
    }
    if (mc_slice_has_prefix(s, MC_SLICE(":::z"))) { /* as short as it can be */
        if (at->tm.tm_gmtoff % 3600 != 0) {
            add_zone(out, at->tm.tm_gmtoff, ":");
        } else {
            mc_text_add(out, at->tm.tm_gmtoff < 0 ? MC_SLICE("-") : MC_SLICE("+"));
            add_padded(out, (at->tm.tm_gmtoff < 0 ? -at->tm.tm_gmtoff : at->tm.tm_gmtoff) / 3600, 2, '0');
        }
        return 4;
    }
    size_t n = 1;
    unsigned digits = 0;
    if (s.n < 3 || s.p[0] != 'E') {
        return 0;
    }
    const bool all = s.p[1] == '*';
    for (; n < s.n && (all ? n == 1 : s.p[n] >= '0' && s.p[n] <= '9'); n++) {
        digits = all ? fraction_digits(at->nanos) : digits * 10 + (unsigned)(s.p[n] - '0');
        if (digits > 15) {
            return 0;
        }
    }
    if (n == 1 || n >= s.n || (s.p[n] != 'S' && s.p[n] != 'f')) {
        return 0;
    }
    if (s.p[n] == 'S') {
        add_padded(out, at->tm.tm_sec, 2, '0');
        mc_text_add(out, digits > 0 ? MC_SLICE(".") : MC_SLICE_NONE);
    }
    if (digits > 0 || s.p[n] == 'f') {
        add_long_fraction(out, at->nanos, digits == 0 && all ? 1 : digits);
    }
    return n + 1;
}

/* glibc's modifiers between '%' and the letter: padding, case, width. */
typedef struct modifiers {
    char padding; /* '-', '_', '0', or 0: as the conversion has it */
    bool upper, swap;
    unsigned width;
} modifiers;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static size_t read_modifiers(mc_slice s, modifiers *out) {
    size_t n = 0;
    *out = (modifiers){0};
    for (; n < s.n && memchr("-_0^#", s.p[n], 5) != NULL; n++) {
        out->upper = out->upper || s.p[n] == '^';
        out->swap = out->swap || s.p[n] == '#';
        out->padding = s.p[n] == '^' || s.p[n] == '#' ? out->padding : s.p[n];
    }
    for (; n < s.n && is_digit(s.p[n]); n++) {
        out->width = out->width < 100 ? out->width * 10 + (unsigned)(s.p[n] - '0') : out->width;
    }
    return n;
}

static void change_case(char *p, size_t n, char letter, const modifiers *how) {
    const bool lower = how->swap && (letter == 'Z' || letter == 'p');
    for (size_t i = 0; i < n && (how->upper || how->swap); i++) {
        bool small = p[i] >= 'a' && p[i] <= 'z';
        p[i] = lower ? mc_ascii_lower(p[i]) : small ? (char)(p[i] - 0x20) : p[i];
    }
}

/* What was written since `start`, as the modifiers want it. */
static void modify(mc_text *out, size_t start, char letter, const modifiers *how) {
    char *p = out->p + start;
    size_t n = out->n - start, lead = 0;
    const bool numeric = n > 0 && (is_digit(p[n - 1]) || p[0] == ' ');
    change_case(p, n, letter, how);
    for (; numeric && lead + 1 < n && (p[lead] == '0' || p[lead] == ' '); lead++) {
    }
    if (how->padding == '-') {
        memmove(p, p + lead, n - lead);
        out->n = start + n - lead;
        return;
    }
    const char fill = how->padding == '_' || (how->padding == 0 && !numeric) ? ' ' : '0';
    if (how->padding != 0) {
        memset(p, fill, lead);
    }
    for (size_t i = n; i < how->width; i++) {
        mc_text_lit(out, " ");
    }
    if (n < how->width && !out->failed) {
        p = out->p + start;
        memmove(p + how->width - n, p, n);
        memset(p, fill, how->width - n);
    }
}

/* The conversion at the start of `s`, behind its '%'. Returns the characters used, 0: there is none. */
static size_t convert_modified(mc_slice s, const moment *at, mc_text *out) {
    modifiers how;
    const size_t start = out->n;
    size_t n = read_modifiers(s, &how);
    /* The alternative digits and eras of the C locale are the usual ones. */
    size_t letter = n + (n + 1 < s.n && (s.p[n] == 'E' || s.p[n] == 'O'));
    if (letter >= s.n || (n > 0 && s.p[letter] == 'f') || !convert(s.p[letter], at, out)) {
        out->n = start;
        return 0;
    }
    if (n > 0 && !out->failed) {
        modify(out, start, s.p[letter], &how);
    }
    return letter + 1;
}

/* Envoy's own %s and %f, before anything else is looked at: they stand even behind a '%' that another one precedes. */
static size_t own_length(mc_slice s) {
    if (s.n >= 2 && s.p[0] == '%' && (s.p[1] == 's' || s.p[1] == 'f')) {
        return 2;
    }
    return s.n >= 3 && s.p[0] == '%' && s.p[1] >= '1' && s.p[1] <= '9' && s.p[2] == 'f' ? 3 : 0;
}

static void run(mc_slice format, const moment *at, mc_text *out) {
    for (size_t i = 0; i < format.n;) {
        mc_slice here = mc_slice_from(format, i), rest = mc_slice_from(format, i + 1);
        size_t own = own_length(here);
        if (own > 0 && here.p[1] == 's') {
            add_padded(out, at->seconds, 1, '0');
        } else if (own > 0) {
            add_fraction(out, at->nanos, own == 2 ? 9 : (unsigned)(here.p[1] - '0'));
        }
        if (own > 0 || here.p[0] != '%' || rest.n == 0 || own_length(rest) > 0) {
            if (own == 0) {
                mc_text_add(out, mc_slice_of(here.p, 1));
            }
            i += own > 0 ? own : 1;
            continue;
        }
        size_t used = convert_extended(rest, at, out);
        if (used == 0 && (used = convert_modified(rest, at, out)) == 0) {
            mc_text_lit(out, "%");
        }
        i += 1 + used;
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
    run(format->text, &at, out);
}
