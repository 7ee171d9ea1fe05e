/* A slice: borrowed, immutable bytes. Never owns, never NUL-terminated; an empty slice may have p == NULL. */
#ifndef MC_BASE_SLICE_H
#define MC_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

typedef struct mc_slice {
    const char *p;
    size_t n;
} mc_slice;

/* From a string literal; also usable in static initialisers through MC_SLICE_INIT. */
#define MC_SLICE_INIT(lit) {("" lit), sizeof(lit) - 1}
#define MC_SLICE(lit)      ((mc_slice)MC_SLICE_INIT(lit))
#define MC_SLICE_NONE      ((mc_slice){NULL, 0})
/* For printf("%.*s", MC_SLICE_ARG(s)). */
#define MC_SLICE_ARG(s) ((int)(s).n), ((s).p == NULL ? "" : (s).p)

static inline mc_slice mc_slice_of(const void *p, size_t n) { return (mc_slice){(const char *)p, n}; }
static inline mc_slice mc_slice_cstr(const char *s) { return (mc_slice){s, s == NULL ? 0 : strlen(s)}; }
static inline bool mc_slice_eq(mc_slice a, mc_slice b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool mc_slice_has_prefix(mc_slice s, mc_slice prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}
static inline bool mc_slice_has_suffix(mc_slice s, mc_slice suffix) {
    return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}
static inline mc_slice mc_slice_from(mc_slice s, size_t start) {
    return start >= s.n ? MC_SLICE_NONE : (mc_slice){s.p + start, s.n - start};
}
static inline mc_slice mc_slice_until(mc_slice s, size_t end) { return (mc_slice){s.p, end < s.n ? end : s.n}; }

/* ASCII only, as HTTP wants it (RFC 9110 section 5.1). */
static inline char mc_ascii_lower(char c) { return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c; }
bool mc_bytes_ieq(const char *a, const char *b, size_t n);
static inline bool mc_slice_ieq(mc_slice a, mc_slice b) { return a.n == b.n && mc_bytes_ieq(a.p, b.p, a.n); }
/* Bytewise order, shorter first on a common prefix: <0, 0, >0. */
int mc_slice_cmp(mc_slice a, mc_slice b);
/* Index of the first `c`, or s.n. */
size_t mc_slice_find(mc_slice s, char c);
/* Index of the first occurrence of `needle`, or SIZE_MAX; an empty needle is found at 0. */
size_t mc_slice_search(mc_slice s, mc_slice needle);
/* Without leading and trailing SP and HTAB (RFC 9110 OWS). */
mc_slice mc_slice_trim(mc_slice s);
/* Decimal digits only, no sign, whole slice; MC_EINVAL otherwise or on overflow. */
MC_MUST_CHECK mc_status mc_slice_u64(mc_slice s, uint64_t *out);
/* As Envoy reads the numbers of headers: blanks around them and a plus sign before them do not matter. */
MC_MUST_CHECK mc_status mc_slice_number(mc_slice s, uint64_t max, uint64_t *out);
/* Optional leading '-' or '+'. */
MC_MUST_CHECK mc_status mc_slice_i64(mc_slice s, int64_t *out);
/* Next item of a list split on `sep`, trimmed; false at the end. *rest starts as the whole slice. */
bool mc_slice_next(mc_slice *rest, char sep, mc_slice *item);
/* Writes decimal digits to `out` (at least 20 bytes); returns their number. */
size_t mc_format_u64(char *out, uint64_t value);

#endif
