#include "base/slice.h"

bool mc_bytes_ieq(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (mc_ascii_lower(a[i]) != mc_ascii_lower(b[i])) {
            return false;
        }
    }
    return true;
}

int mc_slice_cmp(mc_slice a, mc_slice b) {
    size_t common = a.n < b.n ? a.n : b.n;
    int order = common == 0 ? 0 : memcmp(a.p, b.p, common);
    if (order != 0) {
        return order;
    }
    return (a.n > b.n) - (a.n < b.n);
}

size_t mc_slice_find(mc_slice s, char c) {
    const char *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);
    return at == NULL ? s.n : (size_t)(at - s.p);
}

size_t mc_slice_search(mc_slice s, mc_slice needle) {
    if (needle.n == 0) {
        return 0;
    }
    for (size_t i = 0; i + needle.n <= s.n; i++) {
        const char *at = memchr(s.p + i, needle.p[0], s.n - needle.n - i + 1);
        if (at == NULL) {
            return SIZE_MAX;
        }
        i = (size_t)(at - s.p);
        if (memcmp(at, needle.p, needle.n) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static bool is_ows(char c) { return c == ' ' || c == '\t'; }

mc_slice mc_slice_trim(mc_slice s) {
    while (s.n > 0 && is_ows(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_ows(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

mc_status mc_slice_u64(mc_slice s, uint64_t *out) {
    uint64_t value = 0;
    if (s.n == 0) {
        return MC_EINVAL;
    }
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, digit, &value)) {
            return MC_EINVAL;
        }
    }
    *out = value;
    return MC_OK;
}

mc_status mc_slice_number(mc_slice s, uint64_t max, uint64_t *out) {
    uint64_t value;
    s = mc_slice_trim(s);
    if (s.n > 0 && s.p[0] == '+') {
        s = mc_slice_from(s, 1);
    }
    if (mc_slice_u64(s, &value) != MC_OK || value > max) {
        return MC_EINVAL;
    }
    *out = value;
    return MC_OK;
}

mc_status mc_slice_i64(mc_slice s, int64_t *out) {
    bool negative = s.n > 0 && s.p[0] == '-';
    if (s.n > 0 && (s.p[0] == '-' || s.p[0] == '+')) {
        s = mc_slice_from(s, 1);
    }
    uint64_t magnitude;
    if (mc_slice_u64(s, &magnitude) != MC_OK || magnitude > (uint64_t)INT64_MAX + (negative ? 1u : 0u)) {
        return MC_EINVAL;
    }
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return MC_OK;
}

bool mc_slice_next(mc_slice *rest, char sep, mc_slice *item) {
    if (rest->p == NULL) {
        return false;
    }
    size_t at = mc_slice_find(*rest, sep);
    *item = mc_slice_trim(mc_slice_until(*rest, at));
    if (at == rest->n) {
        *rest = MC_SLICE_NONE;
    } else {
        *rest = (mc_slice){rest->p + at + 1, rest->n - at - 1};
    }
    return true;
}

size_t mc_format_u64(char *out, uint64_t value) {
    char digits[20], *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    const size_t n = (size_t)(digits + sizeof digits - at);
    memcpy(out, at, n);
    return n;
}
