#include "base/backoff.h"

mc_status mc_backoff_init(mc_backoff *backoff, uint64_t base, uint64_t max) {
    if (max == 0) {
        max = base > UINT64_MAX / MC_BACKOFF_MAX_FACTOR ? UINT64_MAX : base * MC_BACKOFF_MAX_FACTOR;
    }
    if (base == 0 || max < base) {
        return MC_EINVAL;
    }
    *backoff = (mc_backoff){base, max, base};
    return MC_OK;
}

uint64_t mc_backoff_next(mc_backoff *backoff, mc_random *random) {
    uint64_t wait = mc_random_next(random) % backoff->interval;
    backoff->interval = backoff->interval > backoff->max / 2 ? backoff->max : backoff->interval * 2;
    return wait;
}

void mc_backoff_reset(mc_backoff *backoff) { backoff->interval = backoff->base; }
