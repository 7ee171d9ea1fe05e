/* Jittered exponential back-off (C-5, RF-24): each wait is random % interval, then the interval doubles up to
 * a maximum. Randomness is the caller's. Intervals are in whatever unit the caller counts, milliseconds
 * throughout the core. Single-threaded. */
#ifndef MC_BASE_BACKOFF_H
#define MC_BASE_BACKOFF_H

#include "base/random.h"
#include "base/status.h"

enum { MC_BACKOFF_MAX_FACTOR = 10 }; /* the default maximum, in base intervals */

typedef struct mc_backoff {
    uint64_t base, max, interval;
} mc_backoff;

/* max 0 = MC_BACKOFF_MAX_FACTOR * base. MC_EINVAL when base is 0 or max is below base. */
MC_MUST_CHECK mc_status mc_backoff_init(mc_backoff *backoff, uint64_t base, uint64_t max);
/* The next wait, in [0, interval). One draw. */
uint64_t mc_backoff_next(mc_backoff *backoff, mc_random *random);
/* Back to the base interval, after a success. */
void mc_backoff_reset(mc_backoff *backoff);

#endif
