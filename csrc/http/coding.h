/* Which content coding a response may have: Accept-Encoding against the codings there are (FL-42). Pure functions. */
#ifndef MC_HTTP_CODING_H
#define MC_HTTP_CODING_H

#include "base/slice.h"

typedef struct mc_coding {
    mc_slice name;     /* "gzip" */
    bool choose_first; /* wins a tie against what the client names earlier */
} mc_coding;

typedef enum mc_coding_reason { /* what Envoy counts */
                                MC_CODING_NO_HEADER,
                                MC_CODING_IDENTITY,
                                MC_CODING_WILDCARD,
                                MC_CODING_COMPRESSOR,
                                MC_CODING_NOT_VALID,
} mc_coding_reason;

enum { MC_CODING_MAX = 16, MC_CODING_NONE = -1 };

/* The index of the coding to use, or MC_CODING_NONE. `accept` has p == NULL when the header is absent; `codings`, in order of
 * registration, are at most MC_CODING_MAX. *reason may be NULL. */
int mc_coding_choose(mc_slice accept, const mc_coding *codings, unsigned count, mc_coding_reason *reason);

#endif
