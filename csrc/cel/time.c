/* Durations and timestamps: text to value and back, and their parts. The calendar is the proleptic Gregorian one, UTC. */
#include <stdlib.h>

#include "cel/node.h"

enum { NS = 1000000000, DAY_S = 86400 };
static const int64_t most_s = 315576000000; /* of a duration, either way: ten thousand years */

mc_cel mc_cel_duration_ns(int64_t ns) {
    const int64_t rest = ns % NS, carry = rest < 0;
    return (mc_cel){.kind = MC_CEL_DURATION, .seconds = ns / NS - carry, .ns = (uint32_t)(rest + carry * NS)};
}

mc_cel mc_cel_timestamp_ns(uint64_t ns) {
    return (mc_cel){.kind = MC_CEL_TIMESTAMP, .seconds = (int64_t)(ns / NS), .ns = (uint32_t)(ns % NS)};
}

/* --- the calendar -------------------------------------------------------------------------------------------------------------- */

typedef struct civil {
    int64_t year;
    int month, day; /* from 1 */
} civil;

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* Of the day. */
static int64_t second_of(int64_t seconds) { return (seconds % DAY_S + DAY_S) % DAY_S; }

/* Days since 1970-01-01; the year begins in March, so that the leap day is its last. */
static int64_t days_of(civil date) {
    const int64_t year = date.year - (date.month <= 2);
    const int64_t era = floor_div(year, 400), of_era = year - era * 400;
    const int64_t of_year = (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static civil date_of(int64_t days) {
    days += 719468;
    const int64_t era = floor_div(days, 146097), of_era = days - era * 146097;
    const int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const int64_t of_year = of_era - (365 * year + year / 4 - year / 100), m = (5 * of_year + 2) / 153;
    civil date = {year + era * 400, (int)(m < 10 ? m + 3 : m - 9), (int)(of_year - (153 * m + 2) / 5 + 1)};
    date.year += date.month <= 2;
    return date;
}

static int month_days(civil date) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = date.year % 4 == 0 && (date.year % 100 != 0 || date.year % 400 == 0);
    return days[date.month - 1] + (date.month == 2 && leap);
}

/* --- reading ---------------------------------------------------------------------------------------------------------------------- */

static bool is_digit(mc_slice s) { return s.n > 0 && s.p[0] >= '0' && s.p[0] <= '9'; }

static void skip(mc_slice *s, size_t n) { *s = mc_slice_of(s->p + n, s->n - n); }

/* At most `most` digits; false: none. */
static bool take_number(mc_slice *s, unsigned most, int64_t *out) {
    unsigned n = 0;
    for (*out = 0; n < most && is_digit(*s); n++, skip(s, 1)) {
        *out = *out * 10 + (s->p[0] - '0');
    }
    return n > 0;
}

static bool take_char(mc_slice *s, char a, char b) {
    bool there = s->n > 0 && (s->p[0] == a || s->p[0] == b);
    if (there) {
        skip(s, 1);
    }
    return there;
}

/* Digits behind a dot, as nanoseconds; what is finer is left out. */
static bool take_fraction(mc_slice *s, uint32_t *ns) {
    uint32_t unit = NS / 10;
    *ns = 0;
    if (!is_digit(*s)) {
        return false;
    }
    for (; is_digit(*s); skip(s, 1), unit /= 10) {
        *ns += (uint32_t)(s->p[0] - '0') * unit;
    }
    return true;
}

static const struct {
    const char *name;
    int64_t ns;
} units[] = {{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"h", 3600 * (int64_t)NS}, {"m", 60 * (int64_t)NS}, {"s", NS}};

/* One number with its unit, added to *ns. */
static bool take_part(mc_slice *s, __int128 *ns) {
    int64_t whole = 0;
    uint32_t fraction = 0;
    bool any = take_number(s, 15, &whole);
    if (take_char(s, '.', '.')) {
        any = take_fraction(s, &fraction) || any;
    }
    for (size_t i = 0; any && i < sizeof units / sizeof *units; i++) {
        mc_slice name = mc_slice_cstr(units[i].name);
        if (mc_slice_has_prefix(*s, name)) {
            skip(s, name.n);
            *ns += (__int128)whole * units[i].ns + (__int128)fraction * units[i].ns / NS;
            return true;
        }
    }
    return false;
}

mc_cel mc_cel_parse_duration(mc_slice text) {
    __int128 ns = 0;
    const bool negative = text.n > 0 && text.p[0] == '-';
    (void)!take_char(&text, '-', '+');
    if (text.n == 0 || text.n > 256) {
        return MC_CEL_FAILED;
    }
    if (!mc_slice_eq(text, MC_SLICE("0"))) {
        while (text.n > 0) {
            if (!take_part(&text, &ns)) {
                return MC_CEL_FAILED;
            }
        }
    }
    if (ns > (__int128)most_s * NS) {
        return MC_CEL_FAILED;
    }
    ns = negative ? -ns : ns;
    const int64_t rest = (int64_t)(ns % NS), carry = rest < 0;
    return (mc_cel){
        .kind = MC_CEL_DURATION, .seconds = (int64_t)(ns / NS) - carry, .ns = (uint32_t)(rest + carry * NS)};
}

/* "Z", "+01:00", "+0100", "+01"; a bare "01:00" when `bare`. */
static bool take_offset(mc_slice *s, bool bare, int64_t *seconds) {
    int64_t hours, minutes = 0;
    *seconds = 0;
    if (!bare && take_char(s, 'Z', 'z')) {
        return true;
    }
    const bool negative = s->n > 0 && s->p[0] == '-';
    if (!take_char(s, '+', '-') && !bare) {
        return false;
    }
    if (!take_number(s, 2, &hours)) {
        return false;
    }
    bool colon = take_char(s, ':', ':');
    if (!take_number(s, 2, &minutes) && colon) {
        return false;
    }
    *seconds = (hours * 60 + minutes) * (negative ? -60 : 60);
    return hours < 24 && minutes < 60;
}

mc_cel mc_cel_parse_timestamp(mc_slice text) {
    civil date = {0, 0, 0};
    int64_t month, day, hour, minute, second, offset, days;
    mc_cel value = {.kind = MC_CEL_TIMESTAMP};
    text = mc_slice_trim(text);
    const bool negative = take_char(&text, '-', '-');
    if (!take_number(&text, 12, &date.year) || !take_char(&text, '-', '-') || !take_number(&text, 2, &month) ||
        !take_char(&text, '-', '-') || !take_number(&text, 2, &day) || !take_char(&text, 'T', 't') ||
        !take_number(&text, 2, &hour) || !take_char(&text, ':', ':') || !take_number(&text, 2, &minute) ||
        !take_char(&text, ':', ':') || !take_number(&text, 2, &second)) {
        return MC_CEL_FAILED;
    }
    if (take_char(&text, '.', '.') && !take_fraction(&text, &value.ns)) {
        return MC_CEL_FAILED;
    }
    date = (civil){negative ? -date.year : date.year, (int)month, (int)day};
    if (!take_offset(&text, false, &offset) || text.n > 0 || month < 1 || month > 12 || day < 1 ||
        day > month_days(date) || hour > 23 || minute > 59 || second > 60) {
        return MC_CEL_FAILED;
    }
    days = days_of(date);
    if (__builtin_mul_overflow(days, (int64_t)DAY_S, &value.seconds) ||
        __builtin_add_overflow(value.seconds, hour * 3600 + minute * 60 + second - offset, &value.seconds)) {
        return MC_CEL_FAILED;
    }
    value.ns = second == 60 ? 0 : value.ns;
    return value;
}

/* --- parts ------------------------------------------------------------------------------------------------------------------------- */

static bool zone_offset(mc_slice zone, int64_t *seconds) {
    *seconds = 0;
    return zone.n == 0 || mc_slice_eq(zone, MC_SLICE("UTC")) || (take_offset(&zone, true, seconds) && zone.n == 0);
}

bool mc_cel_zone_known(mc_slice zone) {
    int64_t seconds;
    return zone_offset(zone, &seconds);
}

/* Towards zero, all of it in the unit; milliseconds are those of the last second. */
static mc_cel duration_part(mc_cel_op op, const mc_cel *value) {
    const bool up = value->seconds < 0 && value->ns > 0;
    const int64_t seconds = value->seconds + up;
    switch (op) {
    case MC_CEL_GET_HOURS: return mc_cel_int(seconds / 3600);
    case MC_CEL_GET_MINUTES: return mc_cel_int(seconds / 60);
    case MC_CEL_GET_SECONDS: return mc_cel_int(seconds);
    case MC_CEL_GET_MILLISECONDS: return mc_cel_int(((int64_t)value->ns - (up ? NS : 0)) / 1000000);
    default: return MC_CEL_FAILED;
    }
}

mc_cel mc_cel_time_part(mc_cel_op op, const mc_cel *time, const mc_cel *zone) {
    int64_t offset = 0, local;
    if (time->kind == MC_CEL_DURATION && zone == NULL) {
        return duration_part(op, time);
    }
    if (time->kind != MC_CEL_TIMESTAMP ||
        (zone != NULL && (zone->kind != MC_CEL_STRING || !zone_offset(zone->text, &offset))) ||
        __builtin_add_overflow(time->seconds, offset, &local)) {
        return MC_CEL_FAILED;
    }
    const int64_t days = floor_div(local, DAY_S), second = second_of(local);
    const civil date = date_of(days);
    switch (op) {
    case MC_CEL_GET_YEAR: return mc_cel_int(date.year);
    case MC_CEL_GET_MONTH: return mc_cel_int(date.month - 1);
    case MC_CEL_GET_DATE: return mc_cel_int(date.day);
    case MC_CEL_GET_DAY_OF_MONTH: return mc_cel_int(date.day - 1);
    case MC_CEL_GET_DAY_OF_WEEK: return mc_cel_int((days % 7 + 7 + 4) % 7); /* 1970 began on a Thursday */
    case MC_CEL_GET_DAY_OF_YEAR: return mc_cel_int(days - days_of((civil){date.year, 1, 1}));
    case MC_CEL_GET_HOURS: return mc_cel_int(second / 3600);
    case MC_CEL_GET_MINUTES: return mc_cel_int(second / 60 % 60);
    case MC_CEL_GET_SECONDS: return mc_cel_int(second % 60);
    default: return mc_cel_int(time->ns / 1000000);
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------------------------ */

static void put_padded(mc_text *out, uint64_t value, unsigned digits) {
    char text[20];
    size_t n = mc_format_u64(text, value);
    for (; digits > n; digits--) {
        mc_text_lit(out, "0");
    }
    mc_text_add(out, mc_slice_of(text, n));
}

/* "1.5" out of 1500 of a thousandth: without zeros at the end. */
static void put_decimal(mc_text *out, uint64_t value, uint64_t unit) {
    unsigned digits = 0;
    uint64_t rest = value % unit;
    mc_text_u64(out, value / unit);
    if (rest == 0) {
        return;
    }
    for (uint64_t u = unit; u > 1; u /= 10) {
        digits++;
    }
    for (; rest % 10 == 0; rest /= 10) {
        digits--;
    }
    mc_text_lit(out, ".");
    put_padded(out, rest, digits);
}

/* Its magnitude; the sign is written. */
static void take_sign(const mc_cel *value, mc_text *out, uint64_t *seconds, uint64_t *ns) {
    *seconds = (uint64_t)value->seconds;
    *ns = value->ns;
    if (value->seconds < 0) {
        mc_text_lit(out, "-");
        *seconds = 0 - *seconds - (*ns > 0);
        *ns = *ns == 0 ? 0 : NS - *ns;
    }
}

void mc_cel_print_duration(const mc_cel *value, mc_text *out) {
    uint64_t seconds, ns;
    take_sign(value, out, &seconds, &ns);
    if (seconds == 0 && ns > 0) {
        const uint64_t unit = ns < 1000 ? 1 : ns < 1000000 ? 1000 : 1000000;
        put_decimal(out, ns, unit);
        mc_text_add(out, unit == 1 ? MC_SLICE("ns") : unit == 1000 ? MC_SLICE("us") : MC_SLICE("ms"));
        return;
    }
    if (seconds == 0) {
        mc_text_lit(out, "0");
    }
    if (seconds >= 3600) {
        mc_text_u64(out, seconds / 3600);
        mc_text_lit(out, "h");
    }
    if (seconds / 60 % 60 > 0) {
        mc_text_u64(out, seconds / 60 % 60);
        mc_text_lit(out, "m");
    }
    if (seconds % 60 > 0 || ns > 0) {
        put_decimal(out, seconds % 60 * NS + ns, NS);
        mc_text_lit(out, "s");
    }
}

static void put_date(const mc_cel *value, bool padded, mc_text *out) {
    const int64_t days = floor_div(value->seconds, DAY_S), second = second_of(value->seconds);
    const civil date = date_of(days);
    const uint64_t parts[] = {(uint64_t)date.month, (uint64_t)date.day, (uint64_t)(second / 3600),
                              (uint64_t)(second / 60 % 60), (uint64_t)(second % 60)};
    if (padded) {
        put_padded(out, (uint64_t)date.year, 4);
    } else {
        mc_text_i64(out, date.year);
    }
    for (size_t i = 0; i < 5; i++) {
        mc_text_add(out, mc_slice_of(&"--T::"[i], 1));
        put_padded(out, parts[i], 2);
    }
}

void mc_cel_print_timestamp(const mc_cel *value, mc_text *out) {
    put_date(value, false, out);
    if (value->ns > 0) {
        mc_text fraction;
        mc_text_init(&fraction);
        put_decimal(&fraction, value->ns, NS);
        mc_text_add(out, mc_slice_from(mc_text_slice(&fraction), 1));
        out->failed = out->failed || fraction.failed;
        mc_text_fini(&fraction);
    }
    mc_text_lit(out, "+00:00");
}

/* Three, six or nine digits. */
static void put_json_fraction(uint64_t ns, mc_text *out) {
    if (ns > 0) {
        const bool ms = ns % 1000000 == 0, us = ns % 1000 == 0;
        mc_text_lit(out, ".");
        put_padded(out, ms ? ns / 1000000 : us ? ns / 1000 : ns, ms ? 3 : us ? 6 : 9);
    }
}

bool mc_cel_json_duration(const mc_cel *value, mc_text *out) {
    uint64_t seconds, ns;
    take_sign(value, out, &seconds, &ns);
    mc_text_u64(out, seconds);
    put_json_fraction(ns, out);
    mc_text_lit(out, "s");
    return seconds <= (uint64_t)most_s;
}

bool mc_cel_json_timestamp(const mc_cel *value, mc_text *out) {
    if (value->seconds < INT64_C(-62135596800) || value->seconds > INT64_C(253402300799)) { /* years 1 to 9999 */
        return false;
    }
    put_date(value, true, out);
    put_json_fraction(value->ns, out);
    mc_text_lit(out, "Z");
    return true;
}
