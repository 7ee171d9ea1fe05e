#include "proxy/filters/shaper.h"

/* As many whole tokens as there are, at most n. Others may take from the same bucket meanwhile. */
static size_t take(mc_token_bucket *bucket, uint64_t now, size_t n) {
    for (;;) {
        double there = mc_token_bucket_tokens(bucket, now);
        size_t want = there >= (double)n ? n : there > 0 ? (size_t)there : 0;
        if (want == 0 || mc_token_bucket_consume(bucket, now, (double)want)) {
            return want;
        }
    }
}

static void tick(mc_timer *timer) {
    mc_shaper *shaper = MC_CONTAINER(timer, mc_shaper, timer);
    mc_loop *loop = mc_filter_loop(shaper->filter);
    const size_t held = mc_filter_held_bytes(shaper->filter, shaper->decode);
    const size_t n = take(shaper->bucket, mc_loop_now_us(loop) * 1000, held);
    if (n < held) {
        mc_timer_arm(loop, timer, shaper->tick_ms);
    }
    if (shaper->passed != NULL) {
        shaper->passed(shaper, n, n == held);
    }
    mc_filter_pass(shaper->filter, shaper->decode, n);
}

void mc_shaper_init(mc_shaper *shaper, mc_filter *filter, bool decode, mc_token_bucket *bucket, uint64_t tick_ms) {
    *shaper = (mc_shaper){.filter = filter, .bucket = bucket, .decode = decode, .tick_ms = tick_ms};
    shaper->timer.fire = tick;
}

mc_filter_status mc_shaper_data(mc_shaper *shaper) {
    if (!mc_timer_armed(&shaper->timer)) {
        mc_timer_arm(mc_filter_loop(shaper->filter), &shaper->timer, 0);
    }
    return MC_FILTER_STOP;
}

void mc_shaper_close(mc_shaper *shaper) { mc_timer_cancel(mc_filter_loop(shaper->filter), &shaper->timer); }
