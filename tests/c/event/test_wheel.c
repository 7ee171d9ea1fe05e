/* The wheel against a naive list: every timer is due exactly when its deadline is reached, whatever was done
 * before. */
#include "event/wheel.h"

#include "../test.h"
#include "base/random.h"

enum { TIMERS = 200, STEPS = 2000 };

static uint64_t random_delay(mc_random *random) {
    /* Every level gets its share: the magnitude is random, then the value. */
    unsigned bits = (unsigned)(mc_random_next(random) % 40);
    return mc_random_next(random) & ((UINT64_C(1) << bits) - 1);
}

static size_t count_due(mc_wheel *wheel) {
    size_t n = 0;
    MC_LIST_EACH(&wheel->due, link) { n++; }
    return n;
}

static void check_against_naive(uint64_t seed) {
    static mc_wheel wheel;
    static mc_timer timers[TIMERS];
    mc_random random;
    mc_random_seed(&random, seed);
    memset(timers, 0, sizeof timers);
    uint64_t now = mc_random_next(&random) >> (mc_random_next(&random) % 64);
    now = now > UINT64_MAX / 2 ? now / 2 : now;
    mc_wheel_init(&wheel, now);
    for (unsigned step = 0; step < STEPS; step++) {
        mc_timer *timer = &timers[mc_random_next(&random) % TIMERS];
        switch (mc_random_next(&random) % 4) {
        case 0:
        case 1:
            mc_wheel_remove(&wheel, timer);
            mc_wheel_add(&wheel, timer, now + random_delay(&random));
            CHECK(mc_timer_armed(timer));
            break;
        case 2:
            mc_wheel_remove(&wheel, timer);
            CHECK(!mc_timer_armed(timer));
            break;
        default: now += random_delay(&random) >> (mc_random_next(&random) % 16); mc_wheel_advance(&wheel, now);
        }
        uint64_t next = UINT64_MAX;
        size_t due = 0;
        for (unsigned i = 0; i < TIMERS; i++) {
            if (mc_timer_armed(&timers[i])) {
                due += timers[i].deadline_ms <= now;
                if (timers[i].deadline_ms > now && timers[i].deadline_ms < next) {
                    next = timers[i].deadline_ms;
                }
            }
        }
        CHECK_U64(count_due(&wheel), due);
        uint64_t promised = mc_wheel_next(&wheel);
        CHECK(promised <= next && (promised > now || promised == UINT64_MAX));
        CHECK((promised == UINT64_MAX) == (next == UINT64_MAX));
    }
}

TEST(wheel_is_the_naive_list) {
    for (uint64_t seed = 1; seed <= 200; seed++) {
        check_against_naive(seed);
    }
}

TEST(wheel_next_is_exact_on_the_lowest_level) {
    static mc_wheel wheel;
    mc_timer timer = {0};
    mc_wheel_init(&wheel, 1000);
    CHECK_U64(mc_wheel_next(&wheel), UINT64_MAX);
    mc_wheel_add(&wheel, &timer, 1005);
    CHECK_U64(mc_wheel_next(&wheel), 1005);
    mc_wheel_remove(&wheel, &timer);
    CHECK_U64(mc_wheel_next(&wheel), UINT64_MAX);
}

TEST(wheel_holds_the_last_millisecond) {
    static mc_wheel wheel;
    mc_timer timer = {0};
    mc_wheel_init(&wheel, 0);
    mc_wheel_add(&wheel, &timer, UINT64_MAX);
    unsigned hops = 0;
    for (uint64_t next; mc_list_empty(&wheel.due); hops++) {
        next = mc_wheel_next(&wheel);
        CHECK(hops < MC_WHEEL_LEVELS + 1);
        mc_wheel_advance(&wheel, next);
    }
    CHECK_U64(wheel.now_ms, UINT64_MAX);
    mc_wheel_remove(&wheel, &timer);
}
