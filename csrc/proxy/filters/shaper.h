/* Shaper: lets one direction of a body pass at the rate of a token bucket, a token a byte; for fault (FL-8) and bandwidth_limit
 * (FL-62). Bytes wait at the filter, with back-pressure; each tick what there are tokens for goes on. */
#ifndef MC_PROXY_FILTERS_SHAPER_H
#define MC_PROXY_FILTERS_SHAPER_H

#include "base/token_bucket.h"
#include "event/loop.h"
#include "proxy/filter.h"

typedef struct mc_shaper {
    mc_filter *filter;
    mc_token_bucket *bucket;
    mc_timer timer;
    uint64_t tick_ms;
    bool decode;
    /* Called with what passed at each tick, before it passes; `last` when nothing remains. May be NULL. */
    void (*passed)(struct mc_shaper *shaper, size_t n, bool last);
} mc_shaper;

void mc_shaper_init(mc_shaper *shaper, mc_filter *filter, bool decode, mc_token_bucket *bucket, uint64_t tick_ms);
/* What the filter's data callback returns. */
mc_filter_status mc_shaper_data(mc_shaper *shaper);
void mc_shaper_close(mc_shaper *shaper);

#endif
