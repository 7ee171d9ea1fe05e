/* A growing byte string, for what is written once and handed on whole (admin pages, metrics, logs of the
 * control side).
 *
 * Appends never fail one by one: the first failure to grow sets `failed`, later appends do nothing, and the
 * owner checks once at the end. Single-threaded. */
#ifndef MC_BASE_TEXT_H
#define MC_BASE_TEXT_H

#include "base/slice.h"

typedef struct mc_text {
    char *p;
    size_t n, cap;
    bool failed; /* out of memory; the bytes so far are still valid */
} mc_text;

static inline void mc_text_init(mc_text *text) { *text = (mc_text){NULL, 0, 0, false}; }
void mc_text_fini(mc_text *text);
static inline mc_slice mc_text_slice(const mc_text *text) { return (mc_slice){text->p, text->n}; }

void mc_text_add(mc_text *text, mc_slice bytes);
#define mc_text_lit(text, lit) mc_text_add(text, MC_SLICE(lit))
void mc_text_u64(mc_text *text, uint64_t value);
void mc_text_i64(mc_text *text, int64_t value);
/* A JSON string with its quotes (RFC 8259 section 7). Bytes that are not valid UTF-8 pass through. */
void mc_text_json(mc_text *text, mc_slice string);

/* How the shortest digits that read back as the same double are laid out. */
typedef enum mc_double_style {
    MC_DOUBLE_FIXED,   /* fixed up to 16 digits, then an exponent (115.00000000000001, 300000) */
    MC_DOUBLE_SHORTER, /* whichever is shorter, fixed on a tie (3e+05, 1800000) */
} mc_double_style;
/* "nan", "inf" and "-inf" for what is not a number. */
void mc_text_double(mc_text *text, double value, mc_double_style style);
/* As printf's %.*g, with a dot whatever the locale says. */
void mc_text_general(mc_text *text, double value, int precision);

#endif
