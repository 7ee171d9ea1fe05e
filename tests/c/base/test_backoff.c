#include "base/backoff.h"

#include "../test.h"

static uint64_t largest(void *ctx) {
    ++*(int *)ctx;
    return 6983776799u; /* one less than a multiple of each interval below: the most that random % interval
                           can be */
}

TEST(intervals_double_up_to_the_maximum) { /* the example of RF-24 */
    static const uint64_t below[] = {40, 80, 160, 320, 400, 400};
    int draws = 0;
    mc_random random = {.draw = largest, .ctx = &draws};
    mc_backoff backoff;
    CHECK_INT(mc_backoff_init(&backoff, 40, 0), MC_OK);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof below / sizeof below[0]; i++) {
            CHECK_U64(backoff.interval, below[i]);
            CHECK_U64(mc_backoff_next(&backoff, &random), 6983776799u % below[i]);
        }
        mc_backoff_reset(&backoff);
    }
    CHECK_INT(draws, 12);
}

TEST(limits) {
    mc_backoff backoff;
    CHECK_INT(mc_backoff_init(&backoff, 0, 0), MC_EINVAL);
    CHECK_INT(mc_backoff_init(&backoff, 10, 9), MC_EINVAL);
    CHECK_INT(mc_backoff_init(&backoff, 10, 10), MC_OK);
    CHECK_INT(mc_backoff_init(&backoff, UINT64_MAX / 2, 0), MC_OK);
    CHECK_U64(backoff.max, UINT64_MAX);
    mc_random random;
    mc_random_seed(&random, 1);
    for (int i = 0; i < 4; i++) {
        (void)mc_backoff_next(&backoff, &random);
    }
    CHECK_U64(backoff.interval, UINT64_MAX);
}

TEST(waits_are_spread) {
    mc_random random;
    mc_backoff backoff;
    uint64_t seen_low = 0, seen_high = 0;
    mc_random_seed(&random, 7);
    CHECK_INT(mc_backoff_init(&backoff, 1000, 1000), MC_OK);
    for (int i = 0; i < 1000; i++) {
        uint64_t wait = mc_backoff_next(&backoff, &random);
        CHECK(wait < 1000);
        seen_low += wait < 500;
        seen_high += wait >= 500;
    }
    CHECK(seen_low > 400 && seen_high > 400);
}
