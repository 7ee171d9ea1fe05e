/* The known-header lookup as an inline function, for the parsers; everyone else calls mc_header_lookup(). */
#ifndef MC_HTTP_LOOKUP_H
#define MC_HTTP_LOOKUP_H

#include "http/headers.h"
#include "http/known_headers_table.h"

extern const mc_slice mc_known_header_names[MC_H__COUNT];

/* Equality of n >= 2 bytes by overlapping words; a call to memcmp costs more than most names. */
static inline bool mc_name_bytes_equal(const char *a, const char *b, size_t n) {
    if (n >= 8) {
        uint64_t x, y, differ = 0;
        for (size_t i = 0; i + 8 < n; i += 8) {
            memcpy(&x, a + i, 8);
            memcpy(&y, b + i, 8);
            differ |= x ^ y;
        }
        memcpy(&x, a + n - 8, 8);
        memcpy(&y, b + n - 8, 8);
        return (differ | (x ^ y)) == 0;
    }
    if (n >= 4) {
        uint32_t x, y, p, q;
        memcpy(&x, a, 4);
        memcpy(&y, b, 4);
        memcpy(&p, a + n - 4, 4);
        memcpy(&q, b + n - 4, 4);
        return ((x ^ y) | (p ^ q)) == 0;
    }
    return a[0] == b[0] && a[1] == b[1] && a[n - 1] == b[n - 1];
}

/* The id of a lower-case name; MC_H_UNKNOWN when not in the table. */
static inline mc_header_id mc_header_find(mc_slice name) {
    if (name.n < 2) {
        return MC_H_UNKNOWN;
    }
    unsigned id = known_header_slots[known_header_slot((const unsigned char *)name.p, name.n)];
    const mc_slice *known = &mc_known_header_names[id];
    bool same = known->n == name.n && mc_name_bytes_equal(known->p, name.p, name.n);
    return same ? (mc_header_id)id : MC_H_UNKNOWN;
}

#endif
