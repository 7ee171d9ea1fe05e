/* What is packed inside one value: query parameters, cookies, dates. */
#include "http/uri.h"

bool mc_query_get(mc_slice query, mc_slice name, mc_slice *value) {
    while (query.n > 0) {
        size_t end = mc_slice_find(query, '&');
        mc_slice item = mc_slice_until(query, end);
        size_t equals = mc_slice_find(item, '=');
        if (mc_slice_eq(mc_slice_until(item, equals), name)) {
            *value = equals + 1 < item.n ? mc_slice_from(item, equals + 1) : MC_SLICE("");
            return true;
        }
        query = mc_slice_from(query, end + 1);
    }
    return false;
}

static mc_slice unquoted(mc_slice s) {
    return s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"' ? mc_slice_of(s.p + 1, s.n - 2) : s;
}

/* As Envoy cuts them: spaces before the name are no part of it, and all else is of the name or the value. */
bool mc_cookie_get(const mc_headers *headers, mc_slice name, mc_slice *value) {
    uint32_t at = 0;
    const mc_header *header;
    while ((header = mc_headers_next(headers, MC_SLICE("cookie"), &at)) != NULL) {
        for (mc_slice rest = header->value; rest.n > 0;) {
            size_t end = mc_slice_find(rest, ';');
            mc_slice item = mc_slice_until(rest, end);
            rest = mc_slice_from(rest, end + 1);
            while (item.n > 0 && item.p[0] == ' ') {
                item = mc_slice_from(item, 1);
            }
            size_t equals = mc_slice_find(item, '=');
            if (equals < item.n && mc_slice_eq(mc_slice_until(item, equals), name)) {
                *value = unquoted((mc_slice){item.p + equals + 1, item.n - equals - 1});
                return true;
            }
        }
    }
    return false;
}

/* Year, month (1 to 12) and day of a count of days since 1970-01-01 in the Gregorian calendar. Years are counted from March,
 * so that the leap day is the last of its year; an era is 400 such years. */
static void civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day) {
    int64_t since_era_0 = days + 719468;
    int64_t era = (since_era_0 >= 0 ? since_era_0 : since_era_0 - 146096) / 146097;
    unsigned of_era = (unsigned)(since_era_0 - era * 146097);
    unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * of_year + 2) / 153;
    *day = of_year - (153 * march_month + 2) / 5 + 1;
    *month = march_month < 10 ? march_month + 3 : march_month - 9;
    *year = (int64_t)year_of_era + era * 400 + (*month <= 2);
}

static char *put_number(char *at, unsigned value, unsigned digits) {
    for (unsigned i = digits; i > 0; i--) {
        at[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + digits;
}

static char *put_text(char *at, const char *text, size_t n) {
    memcpy(at, text, n);
    return at + n;
}

size_t mc_http_date(int64_t unix_seconds, char out[32]) {
    static const char week[] = "ThuFriSatSunMonTueWed", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (unix_seconds < 0) {
        unix_seconds = 0;
    }
    int64_t days = unix_seconds / 86400, year;
    unsigned second = (unsigned)(unix_seconds % 86400), month, day;
    civil_from_days(days, &year, &month, &day);
    char *at = put_text(out, week + 3 * (days % 7), 3);
    at = put_text(at, ", ", 2);
    at = put_number(at, day, 2);
    *at++ = ' ';
    at = put_text(at, months + 3 * (month - 1), 3);
    *at++ = ' ';
    at = put_number(at, (unsigned)(year % 10000), 4);
    *at++ = ' ';
    at = put_number(at, second / 3600, 2);
    *at++ = ':';
    at = put_number(at, second / 60 % 60, 2);
    *at++ = ':';
    at = put_number(at, second % 60, 2);
    at = put_text(at, " GMT", 4);
    return (size_t)(at - out);
}

static int64_t days_from_civil(int64_t year, unsigned month, unsigned day) {
    const int64_t from_march = month > 2 ? year : year - 1;
    const int64_t of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return 365 * from_march + from_march / 4 - from_march / 100 + from_march / 400 + of_year - 719468;
}

/* What is read is written again: only the one form of a date is that date. */
static mc_status parse_imf(mc_slice text, int64_t *unix_seconds) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t day, year, hour, minute, second;
    char again[32];
    unsigned month = 0;
    if (text.n != 29 || mc_slice_u64(mc_slice_of(text.p + 5, 2), &day) != MC_OK ||
        mc_slice_u64(mc_slice_of(text.p + 12, 4), &year) != MC_OK ||
        mc_slice_u64(mc_slice_of(text.p + 17, 2), &hour) != MC_OK ||
        mc_slice_u64(mc_slice_of(text.p + 20, 2), &minute) != MC_OK ||
        mc_slice_u64(mc_slice_of(text.p + 23, 2), &second) != MC_OK) {
        return MC_EINVAL;
    }
    while (month < 12 && memcmp(months + (size_t)3 * month, text.p + 8, 3) != 0) {
        month++;
    }
    *unix_seconds = days_from_civil((int64_t)year, month % 12 + 1, (unsigned)day) * 86400 +
                    (int64_t)(hour * 3600 + minute * 60 + second);
    const size_t n = mc_http_date(*unix_seconds, again);
    return mc_slice_eq(mc_slice_of(again, n), text) ? MC_OK : MC_EINVAL;
}

/* The year of two digits that is at most 50 years ahead of now: what looks further ahead was a century before. */
static unsigned full_year(unsigned two_digits, int64_t now) {
    int64_t year;
    unsigned month, day;
    civil_from_days(now / 86400, &year, &month, &day);
    const unsigned earliest = (unsigned)(year - 49);
    return earliest + (two_digits + 100 - earliest % 100) % 100;
}

static void put_imf(char out[29], mc_slice week, mc_slice day, mc_slice month, mc_slice time) {
    char *at = put_text(out, week.p, 3);
    at = put_text(at, ", ", 2);
    *at++ = day.p[0] == ' ' ? '0' : day.p[0];
    *at++ = day.p[1];
    *at++ = ' ';
    at = put_text(at, month.p, 3);
    at = put_text(at, " 0000 ", 6);
    put_text(put_text(at, time.p, 8), " GMT", 4);
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" */
static bool imf_of_rfc850(mc_slice text, int64_t now, char out[29]) {
    static const char *const days[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
    const size_t comma = mc_slice_find(text, ',');
    const mc_slice name = mc_slice_until(text, comma), rest = mc_slice_from(text, comma);
    uint64_t year;
    unsigned i = 0;
    while (i < 7 && !mc_slice_eq(name, mc_slice_cstr(days[i]))) {
        i++;
    }
    if (i == 7 || rest.n != 24 || rest.p[1] != ' ' || rest.p[4] != '-' || rest.p[8] != '-' || rest.p[11] != ' ' ||
        rest.p[2] == ' ' || !mc_slice_eq(mc_slice_from(rest, 20), MC_SLICE(" GMT")) ||
        mc_slice_u64(mc_slice_of(rest.p + 9, 2), &year) != MC_OK) {
        return false;
    }
    put_imf(out, name, mc_slice_from(rest, 2), mc_slice_from(rest, 5), mc_slice_from(rest, 12));
    put_number(out + 12, full_year((unsigned)year, now), 4);
    return true;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool imf_of_asctime(mc_slice text, char out[29]) {
    const char *s = text.p;
    if (text.n != 24 || s[3] != ' ' || s[7] != ' ' || s[8] == '0' || s[10] != ' ' || s[19] != ' ') {
        return false;
    }
    put_imf(out, text, mc_slice_from(text, 8), mc_slice_from(text, 4), mc_slice_from(text, 11));
    put_text(out + 12, s + 20, 4);
    return true;
}

mc_status mc_http_date_parse(mc_slice text, int64_t now, int64_t *unix_seconds) {
    char imf[29];
    if (imf_of_rfc850(text, now, imf) || imf_of_asctime(text, imf)) {
        text = mc_slice_of(imf, sizeof imf);
    }
    return parse_imf(text, unix_seconds);
}
