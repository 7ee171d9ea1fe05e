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

bool mc_cookie_get(const mc_headers *headers, mc_slice name, mc_slice *value) {
    uint32_t at = 0;
    const mc_header *header;
    while ((header = mc_headers_next(headers, MC_SLICE("cookie"), &at)) != NULL) {
        mc_slice rest = header->value, item;
        while (mc_slice_next(&rest, ';', &item)) {
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
mc_status mc_http_date_parse(mc_slice text, int64_t *unix_seconds) {
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
