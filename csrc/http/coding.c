#include "http/coding.h"

#include <stdlib.h>

enum { IDENTITY = MC_CODING_MAX, WILDCARD, OTHER };

typedef struct choice {
    double q;
    unsigned coding;
} choice;

/* The number of ";q=number": 1 without it; false when it is none. Envoy looks at the first parameter alone. */
static bool read_q(mc_slice parameters, double *q) {
    size_t equals = mc_slice_find(parameters, '=');
    *q = 1;
    if (equals == parameters.n || !mc_slice_ieq(mc_slice_trim(mc_slice_until(parameters, equals)), MC_SLICE("q"))) {
        return true;
    }
    mc_slice text = mc_slice_trim(mc_slice_from(parameters, equals + 1));
    char copy[32], *end;
    if (text.n == 0 || text.n >= sizeof copy) {
        return false;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    *q = strtod(copy, &end);
    return end == copy + text.n && *q == *q;
}

static unsigned index_of(mc_slice name, const mc_coding *codings, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        if (mc_slice_eq(name, codings[i].name)) {
            return i;
        }
    }
    return mc_slice_eq(name, MC_SLICE("identity")) ? IDENTITY : mc_slice_eq(name, MC_SLICE("*")) ? WILDCARD : OTHER;
}

static bool next_token(mc_slice *rest, mc_slice *name, double *q) {
    mc_slice token;
    while (mc_slice_next(rest, ',', &token)) {
        size_t semicolon = mc_slice_find(token, ';');
        *name = mc_slice_trim(mc_slice_until(token, semicolon));
        if (token.n > 0 && read_q(mc_slice_from(token, semicolon + 1), q)) {
            return true;
        }
    }
    return false;
}

/* What the client forbids with q=0, as a bit for each coding. */
static uint32_t forbidden(mc_slice accept, const mc_coding *codings, unsigned count) {
    uint32_t bits = 0;
    mc_slice name;
    double q;
    while (next_token(&accept, &name, &q)) {
        unsigned coding = index_of(name, codings, count);
        bits |= q == 0 && coding < count ? UINT32_C(1) << coding : 0;
    }
    return bits;
}

/* As Envoy: what was drawn is from then on one of the codings that '*' chooses from, registered with the first; of these two the
 * one of the lesser name is chosen. */
static bool drawn_first(const bool *drawn, const mc_coding *codings, unsigned chosen) {
    return drawn[1] || (drawn[0] && (chosen > 0 || mc_slice_cmp(codings[0].name, MC_SLICE("identity")) > 0));
}

int mc_coding_choose(mc_slice accept, const mc_coding *codings, unsigned count, mc_coding_reason *reason) {
    mc_coding_reason ignored;
    reason = reason == NULL ? &ignored : reason;
    *reason = MC_CODING_NO_HEADER;
    if (accept.p == NULL) {
        return MC_CODING_NONE;
    }
    const uint32_t refused = forbidden(accept, codings, count);
    choice best = {0, IDENTITY};
    mc_slice name;
    double q;
    bool drawn[2] = {false, false}; /* "identity", '*': no better than what was best */
    while (next_token(&accept, &name, &q)) {
        unsigned coding = index_of(name, codings, count);
        if (coding == OTHER || (coding < count && (refused >> coding & 1) != 0)) {
            continue;
        }
        bool first = coding < count && codings[coding].choose_first;
        bool chosen_first = best.coding < count && codings[best.coding].choose_first;
        if (coding >= count && q == best.q) {
            drawn[coding == WILDCARD] = true;
        }
        if (q > best.q || (q == best.q && q > 0 && first && !chosen_first)) {
            best = (choice){q, coding};
        }
    }
    const bool none = refused == (UINT32_C(1) << count) - 1; /* nothing is left that could be chosen */
    *reason = best.q > 0 && !none ? MC_CODING_IDENTITY : MC_CODING_NOT_VALID;
    if (best.q <= 0 || none || best.coding == IDENTITY) {
        return MC_CODING_NONE;
    }
    *reason = best.coding == WILDCARD ? MC_CODING_WILDCARD : MC_CODING_COMPRESSOR;
    if (best.coding < count) {
        return (int)best.coding;
    }
    unsigned i = 0;
    while ((refused >> i & 1) != 0) {
        i++;
    }
    return drawn_first(drawn, codings, i) ? MC_CODING_NONE : (int)i;
}
