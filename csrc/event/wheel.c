#include "event/wheel.h"

void mc_wheel_init(mc_wheel *wheel, uint64_t now_ms) {
    wheel->now_ms = now_ms;
    wheel->levels = 0;
    mc_list_init(&wheel->due);
    for (unsigned level = 0; level < MC_WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned b = 0; b < MC_WHEEL_SLOTS; b++) {
            mc_list_init(&wheel->bucket[level][b]);
        }
    }
}

static unsigned level_of(const mc_wheel *wheel, uint64_t deadline_ms) {
    return (unsigned)(63 - __builtin_clzll(wheel->now_ms ^ deadline_ms)) / MC_WHEEL_BITS;
}

static unsigned digit(uint64_t ms, unsigned level) { return (ms >> (level * MC_WHEEL_BITS)) & (MC_WHEEL_SLOTS - 1); }

static void clear_bit(mc_wheel *wheel, unsigned level, unsigned b) {
    wheel->occupied[level] &= ~(UINT64_C(1) << b);
    if (wheel->occupied[level] == 0) {
        wheel->levels &= ~(1u << level);
    }
}

void mc_wheel_add(mc_wheel *wheel, mc_timer *timer, uint64_t deadline_ms) {
    timer->deadline_ms = deadline_ms;
    if (deadline_ms <= wheel->now_ms) {
        mc_list_push_back(&wheel->due, &timer->link);
        return;
    }
    unsigned level = level_of(wheel, deadline_ms), b = digit(deadline_ms, level);
    mc_list_push_back(&wheel->bucket[level][b], &timer->link);
    wheel->occupied[level] |= UINT64_C(1) << b;
    wheel->levels |= 1u << level;
}

void mc_wheel_remove(mc_wheel *wheel, mc_timer *timer) {
    if (!mc_link_linked(&timer->link)) {
        return;
    }
    mc_link_unlink(&timer->link);
    if (timer->deadline_ms > wheel->now_ms) {
        unsigned level = level_of(wheel, timer->deadline_ms), b = digit(timer->deadline_ms, level);
        if (mc_list_empty(&wheel->bucket[level][b])) {
            clear_bit(wheel, level, b);
        }
    }
}

/* The first non-empty bucket; its start in *start. */
static mc_list *first_bucket(const mc_wheel *wheel, uint64_t *start, unsigned *level, unsigned *b) {
    if (wheel->levels == 0) {
        return NULL;
    }
    *level = (unsigned)__builtin_ctz(wheel->levels);
    *b = (unsigned)__builtin_ctzll(wheel->occupied[*level]);
    unsigned shift = *level * MC_WHEEL_BITS;
    /* Two shifts: the top level has fewer than six bits above it, and a shift by 64 is undefined. */
    uint64_t above = wheel->now_ms >> shift >> MC_WHEEL_BITS;
    *start = (above << MC_WHEEL_BITS | *b) << shift;
    return (mc_list *)&wheel->bucket[*level][*b];
}

uint64_t mc_wheel_next(const mc_wheel *wheel) {
    uint64_t start;
    unsigned level, b;
    return first_bucket(wheel, &start, &level, &b) == NULL ? UINT64_MAX : start;
}

void mc_wheel_advance(mc_wheel *wheel, uint64_t now_ms) {
    uint64_t start;
    unsigned level, b;
    if (now_ms <= wheel->now_ms) { /* a busy loop turns many times within a millisecond */
        return;
    }
    for (mc_list *bucket; (bucket = first_bucket(wheel, &start, &level, &b)) != NULL && start <= now_ms;) {
        mc_list moving;
        mc_list_init(&moving);
        mc_list_splice(&moving, bucket);
        clear_bit(wheel, level, b);
        wheel->now_ms = start;
        for (mc_link *link; (link = mc_list_pop_front(&moving)) != NULL;) {
            mc_timer *timer = MC_CONTAINER(link, mc_timer, link);
            mc_wheel_add(wheel, timer, timer->deadline_ms);
        }
    }
    wheel->now_ms = now_ms;
}
