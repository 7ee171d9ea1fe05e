#include "base/token_bucket.h"

#include <math.h>

/* Sums of fractions of a nanosecond may stray by less than this; a bucket holding n tokens must give n. */
static const double SLACK = 0.5;

mc_status mc_token_bucket_init(mc_token_bucket *bucket, uint64_t now, double max_tokens, double tokens_per_fill,
                               uint64_t fill_interval) {
    if (!(max_tokens >= 0) || !(tokens_per_fill > 0) || isinf(max_tokens) || isinf(tokens_per_fill) ||
        fill_interval == 0) {
        return MC_EINVAL;
    }
    bucket->per_token = (double)fill_interval / tokens_per_fill;
    bucket->capacity = max_tokens * bucket->per_token;
    bucket->start = now;
    atomic_init(&bucket->empty_at, -bucket->capacity);
    return MC_OK;
}

static double since_start(const mc_token_bucket *bucket, uint64_t now) {
    return now < bucket->start ? 0 : (double)(now - bucket->start);
}

bool mc_token_bucket_consume(mc_token_bucket *bucket, uint64_t now, double n) {
    double at = since_start(bucket, now), cost = n * bucket->per_token;
    double empty_at = atomic_load_explicit(&bucket->empty_at, memory_order_relaxed), after;
    do {
        after = fmax(empty_at, at - bucket->capacity) + cost;
        if (!(after <= at + SLACK)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&bucket->empty_at, &empty_at, after, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

double mc_token_bucket_tokens(const mc_token_bucket *bucket, uint64_t now) {
    double held = since_start(bucket, now) - atomic_load_explicit(&bucket->empty_at, memory_order_relaxed);
    return fmax(0, fmin(held, bucket->capacity)) / bucket->per_token;
}

uint64_t mc_token_bucket_wait(const mc_token_bucket *bucket, uint64_t now, double n) {
    double at = since_start(bucket, now), cost = n * bucket->per_token;
    if (!(cost <= bucket->capacity + SLACK)) {
        return UINT64_MAX;
    }
    double held = at - fmax(atomic_load_explicit(&bucket->empty_at, memory_order_relaxed), at - bucket->capacity);
    double missing = ceil(cost - held - SLACK);
    return missing <= 0 ? 0 : missing >= 0x1p64 ? UINT64_MAX : (uint64_t)missing;
}
