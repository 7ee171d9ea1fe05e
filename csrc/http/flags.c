#include "http/flags.h"

#include <stdio.h>

mc_slice mc_flag_name(unsigned index) {
    static const mc_slice names[] = {
#define MC_FLAG_TEXT(id, text, name) MC_SLICE_INIT(text),
        MC_RESPONSE_FLAGS(MC_FLAG_TEXT)
#undef MC_FLAG_TEXT
    };
    return index < MC_FLAG_COUNT ? names[index] : MC_SLICE_NONE;
}

mc_slice mc_flag_long_name(unsigned index) {
    static const mc_slice names[] = {
#define MC_FLAG_TEXT(id, text, name) MC_SLICE_INIT(name),
        MC_RESPONSE_FLAGS(MC_FLAG_TEXT)
#undef MC_FLAG_TEXT
    };
    return index < MC_FLAG_COUNT ? names[index] : MC_SLICE_NONE;
}

uint64_t mc_flag_by_name(mc_slice name) {
    for (unsigned i = 0; i < MC_FLAG_COUNT; i++) {
        if (mc_slice_eq(mc_flag_name(i), name)) {
            return (uint64_t)1 << i;
        }
    }
    return 0;
}

enum { ORDER_BITS = 6, ORDER_PLACES = 64 / ORDER_BITS };

void mc_flags_add(uint64_t *flags, uint64_t *order, uint64_t added) {
    unsigned place = 0;
    while (place < ORDER_PLACES && (*order >> (place * ORDER_BITS)) != 0) {
        place++;
    }
    for (uint64_t fresh = added & ~*flags; fresh != 0 && place < ORDER_PLACES; fresh &= fresh - 1, place++) {
        *order |= (uint64_t)(__builtin_ctzll(fresh) + 1) << (place * ORDER_BITS);
    }
    *flags |= added;
}

bool mc_flags_take(uint64_t *flags, uint64_t *order, unsigned *index) {
    if (*flags == 0) {
        return false;
    }
    *index = *order != 0 ? (unsigned)(*order & ((1u << ORDER_BITS) - 1)) - 1 : (unsigned)__builtin_ctzll(*flags);
    *order >>= ORDER_BITS;
    *flags &= ~((uint64_t)1 << *index);
    return true;
}

size_t mc_flags_text(uint64_t flags, char *out, size_t n) { return mc_flags_text_ordered(flags, 0, out, n); }

size_t mc_flags_text_ordered(uint64_t flags, uint64_t order, char *out, size_t n) {
    size_t at = 0;
    if (n == 0) {
        return 0;
    }
    if (flags == 0) {
        at = (size_t)snprintf(out, n, "-");
    }
    for (unsigned i; at < n && mc_flags_take(&flags, &order, &i);) {
        at += (size_t)snprintf(out + at, n - at, "%s%.*s", at == 0 ? "" : ",", MC_SLICE_ARG(mc_flag_name(i)));
    }
    return at < n ? at : n - 1;
}
