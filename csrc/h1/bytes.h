/* Private to h1/: skipping ahead over bytes of a class, sixteen at a time where the machine can. The scalar loop of each is
 * its definition. */
#ifndef MC_H1_BYTES_H
#define MC_H1_BYTES_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/slice.h"

#define MC_H1_SLACK 16u /* bytes that must be readable behind a terminator that the functions below stop at */

/* Length of the run of '!' to '~' at the start. */
static inline size_t mc_h1_visible_length(mc_slice s) {
    size_t n = 0;
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(' '), del = _mm_set1_epi8(0x7f);
    for (; n + 16 <= s.n; n += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(s.p + n));
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, space), bytes);
        __m128i high = _mm_cmpeq_epi8(_mm_max_epu8(bytes, del), bytes);
        unsigned stops = (unsigned)_mm_movemask_epi8(_mm_or_si128(low, high));
        if (stops != 0) {
            return n + (size_t)__builtin_ctz(stops);
        }
    }
#endif
    while (n < s.n && s.p[n] > ' ' && s.p[n] < 0x7f) {
        n++;
    }
    return n;
}

/* The first control byte at or after p; there must be one, with slack behind it. */
static inline char *mc_h1_find_control(char *p) {
#ifdef __SSE2__
    const __m128i last = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
    for (;; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last), bytes);
        unsigned stops = (unsigned)_mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(bytes, del)));
        if (stops != 0) {
            return p + __builtin_ctz(stops);
        }
    }
#endif
    while ((unsigned char)*p >= ' ' && *p != 0x7f) {
        p++;
    }
    return p;
}

/* Token characters (RFC 9110 section 5.6.2), lower-cased; 0 for all others. */
extern const char mc_h1_lower_token[256];

/* Lower-cases the run of token characters at p in place and returns its end; a terminator and slack must follow. */
static inline char *mc_h1_lower_name(char *p) {
#ifdef __SSE2__
    /* Letters, digits and '-', which most names are made of; the table below takes over at anything else. */
    static const unsigned char before[32] = {255, 255, 255, 255, 255, 255, 255, 255,
                                             255, 255, 255, 255, 255, 255, 255, 255};
    const __m128i bit = _mm_set1_epi8(0x20);
    for (;;) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        __m128i from_a = _mm_sub_epi8(_mm_or_si128(bytes, bit), _mm_set1_epi8('a'));
        __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, _mm_set1_epi8(25)), from_a);
        __m128i from_0 = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
        __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(from_0, _mm_set1_epi8(9)), from_0);
        __m128i dash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-'));
        unsigned plain = (unsigned)_mm_movemask_epi8(_mm_or_si128(letter, _mm_or_si128(digit, dash)));
        unsigned n = (unsigned)__builtin_ctz(~plain); /* 16 when all are */
        __m128i run = _mm_loadu_si128((const __m128i *)(before + 16 - n));
        _mm_storeu_si128((__m128i *)p, _mm_or_si128(bytes, _mm_and_si128(_mm_and_si128(letter, bit), run)));
        p += n;
        if (n < 16) {
            break;
        }
    }
#endif
    for (char c; (c = mc_h1_lower_token[(unsigned char)*p]) != 0;) {
        *p++ = c;
    }
    return p;
}

#endif
