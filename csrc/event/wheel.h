/* Hierarchical timing wheel: timers in buckets by the highest base-64 digit in which their deadline differs
 * from now.
 *
 * Eleven levels of 64 buckets span all of uint64_t milliseconds, so there is no far list and no clamp.
 * Invariants, for a timer in bucket b of level l: every digit of its deadline above l equals now's, digit l
 * is b, and b is greater than now's digit l. Hence the first non-empty bucket of the lowest non-empty level
 * is the earliest, a timer's place can be recomputed to cancel it, and each timer moves at most once a level
 * on its way down. Timers whose time has come are on `due`. No clock of its own, no allocation;
 * single-threaded. */
#ifndef MC_EVENT_WHEEL_H
#define MC_EVENT_WHEEL_H

#include "event/loop.h"

enum { MC_WHEEL_BITS = 6, MC_WHEEL_SLOTS = 1 << MC_WHEEL_BITS, MC_WHEEL_LEVELS = 11 };

typedef struct mc_wheel {
    uint64_t now_ms;
    uint32_t levels;                    /* bit l: level l has a timer */
    uint64_t occupied[MC_WHEEL_LEVELS]; /* bit b: bucket b has a timer */
    mc_list due;
    mc_list bucket[MC_WHEEL_LEVELS][MC_WHEEL_SLOTS];
} mc_wheel;

void mc_wheel_init(mc_wheel *wheel, uint64_t now_ms);
/* The timer must be disarmed. A deadline that has passed goes to `due` at once. */
void mc_wheel_add(mc_wheel *wheel, mc_timer *timer, uint64_t deadline_ms);
/* Also right for a timer taken off `due`; harmless for a disarmed one. */
void mc_wheel_remove(mc_wheel *wheel, mc_timer *timer);
/* Moves everything with deadline <= now_ms to `due`; time never goes back. */
void mc_wheel_advance(mc_wheel *wheel, uint64_t now_ms);
/* No timer outside `due` expires before this (it may be the moment of a mere cascade); UINT64_MAX when there
 * is none. */
uint64_t mc_wheel_next(const mc_wheel *wheel);

#endif
