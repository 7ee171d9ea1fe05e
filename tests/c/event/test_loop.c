/* The loop: the order of a turn, deferred work, timers and the clock, stopping, replay from a seed. */
#include "event/loop.h"

#include <poll.h>
#include <time.h>

#include "../test.h"
#include "base/hash.h"

enum { LOG = 256 };
static char events_log[LOG];
static size_t log_n;
static mc_loop *loop;

static void note(char c) {
    CHECK(log_n + 1 < LOG);
    events_log[log_n++] = c;
    events_log[log_n] = '\0';
}
static void clear(void) {
    log_n = 0;
    events_log[0] = '\0';
}
#define CHECK_LOG(text) CHECK_SLICE(mc_slice_of(events_log, log_n), text)

/* Both kinds behave the same in everything that needs no kernel. */
#define EACH_LOOP                                                                                                      \
    for (int kind = 0; kind < 2; kind++)                                                                               \
        for (bool once_ = (clear(), loop = kind ? mc_loop_new_virtual(3) : mc_loop_new_epoll(3), true); once_;         \
             once_ = (mc_loop_free(loop), false))

typedef struct task {
    mc_io io;
    mc_timer timer;
    mc_deferred deferred;
    mc_message message;
    char name;
    uint32_t events;
    struct task *then; /* what the callback sets off */
    void (*act)(struct task *self);
} task;

static void acted(task *t) {
    note(t->name);
    if (t->act != NULL) {
        t->act(t);
    }
}
static void task_io(mc_io *io, uint32_t events) {
    task *t = MC_CONTAINER(io, task, io);
    t->events = events;
    acted(t);
}
static void task_timer(mc_timer *timer) { acted(MC_CONTAINER(timer, task, timer)); }
static void task_deferred(mc_deferred *deferred) { acted(MC_CONTAINER(deferred, task, deferred)); }
static void task_message(mc_message *message, mc_loop *on) { acted(MC_CONTAINER(message, task, message)); }
static void task_drop(mc_message *message) { note('!'); }

static task make(char name) {
    task t = {.name = name, .timer.fire = task_timer, .deferred.run = task_deferred};
    t.message.run = task_message;
    t.message.drop = task_drop;
    CHECK_INT(mc_io_open(loop, &t.io, -1, false, task_io), MC_OK);
    return t;
}

static void defer_then(task *t) { mc_loop_defer(loop, &t->then->deferred); }
static void inject_then(task *t) { mc_io_inject(loop, &t->then->io, MC_READ); }
static void close_then(task *t) { mc_io_close(loop, &t->then->io); }
static void arm_then_now(task *t) { mc_timer_arm(loop, &t->then->timer, 0); }
static void cancel_then(task *t) { mc_timer_cancel(loop, &t->then->timer); }
static void stop(task *t) { mc_loop_stop(loop); }

TEST(a_turn_is_mailbox_ios_timers) {
    EACH_LOOP {
        task t = make('t'), i = make('i'), m = make('m');
        mc_timer_arm(loop, &t.timer, 0);
        mc_io_inject(loop, &i.io, MC_WRITE);
        mc_mailbox_post(loop, &m.message);
        CHECK_INT(mc_loop_turn(loop, -1), 3);
        CHECK_LOG("mit");
        CHECK_INT(mc_loop_turn(loop, 0), 0);
    }
}

TEST(deferred_work_runs_after_each_single_callback) {
    EACH_LOOP {
        task a = make('a'), b = make('b'), x = make('x'), y = make('y');
        a.act = b.act = defer_then;
        a.then = &x;
        b.then = &y;
        x.act = defer_then; /* in the same pass */
        task z = make('z');
        x.then = &z;
        mc_io_inject(loop, &a.io, MC_READ);
        mc_io_inject(loop, &b.io, MC_READ);
        CHECK_INT(mc_loop_turn(loop, 0), 2);
        CHECK_LOG("axzby");
    }
}

static void defer_x_then_first(task *t) {
    mc_loop_defer(loop, &t->then->deferred);
    mc_loop_defer(loop, &t->then->deferred); /* idempotent */
    mc_loop_defer_first(loop, &t->then->then->deferred);
}

TEST(defer_first_runs_before_what_is_queued) {
    EACH_LOOP {
        task a = make('a'), x = make('x'), f = make('f');
        a.act = defer_x_then_first;
        a.then = &x;
        x.then = &f;
        mc_io_inject(loop, &a.io, MC_READ);
        mc_loop_turn(loop, 0);
        CHECK_LOG("afx");
    }
}

TEST(deferred_outside_a_turn_runs_at_the_next) {
    EACH_LOOP {
        task a = make('a'), gone = make('g');
        mc_loop_defer(loop, &a.deferred);
        mc_loop_defer(loop, &gone.deferred);
        mc_deferred_cancel(&gone.deferred);
        CHECK_LOG("");
        CHECK_INT(mc_loop_turn(loop, -1), 1); /* does not wait */
        CHECK_LOG("a");
    }
}

TEST(injected_events_merge_and_die_with_a_close) {
    EACH_LOOP {
        task a = make('a'), b = make('b');
        mc_io_inject(loop, &a.io, MC_READ);
        mc_io_inject(loop, &a.io, MC_OWN);
        mc_io_inject(loop, &b.io, MC_READ);
        a.act = close_then;
        a.then = &b;
        CHECK_INT(mc_loop_turn(loop, 0), 1);
        CHECK_LOG("a");
        CHECK_INT(a.events, MC_READ | MC_OWN);
        mc_io_close(loop, &b.io); /* again: harmless */
        CHECK_INT(mc_loop_turn(loop, 0), 0);
    }
}

TEST(an_injection_into_a_served_io_waits_for_the_next_turn) {
    EACH_LOOP {
        task a = make('a');
        a.act = inject_then;
        a.then = &a;
        mc_io_inject(loop, &a.io, MC_READ);
        CHECK_INT(mc_loop_turn(loop, -1), 1);
        CHECK_INT(mc_loop_turn(loop, -1), 1); /* does not wait either */
        CHECK_LOG("aa");
        mc_io_close(loop, &a.io);
    }
}

TEST(zero_ms_fires_in_the_next_turn) {
    EACH_LOOP {
        task a = make('a');
        a.act = arm_then_now;
        a.then = &a;
        mc_timer_arm(loop, &a.timer, 0);
        CHECK_INT(mc_loop_turn(loop, -1), 1);
        CHECK_INT(mc_loop_turn(loop, -1), 1);
        CHECK_LOG("aa");
        mc_timer_cancel(loop, &a.timer);
        CHECK(!mc_timer_armed(&a.timer));
        CHECK_INT(mc_loop_turn(loop, 0), 0);
    }
}

TEST(a_due_timer_can_be_cancelled_by_another) {
    EACH_LOOP {
        task a = make('a'), b = make('b');
        a.act = b.act = cancel_then;
        a.then = &b;
        b.then = &a;
        mc_timer_arm(loop, &a.timer, 0);
        mc_timer_arm(loop, &b.timer, 0);
        CHECK_INT(mc_loop_turn(loop, -1), 1);
        CHECK_INT(mc_loop_turn(loop, 0), 0);
        CHECK_INT(log_n, 1);
    }
}

TEST(timers_are_never_early_and_rearm_replaces) {
    EACH_LOOP {
        task a = make('a'), far = make('f');
        mc_timer_arm(loop, &far.timer, UINT64_MAX);
        mc_timer_arm(loop, &a.timer, 100000);
        uint64_t armed = mc_loop_now_us(loop);
        mc_timer_arm(loop, &a.timer, 20);
        while (log_n == 0) {
            CHECK(mc_loop_turn(loop, kind ? -1 : 0) >= 0); /* every instant is looked at */
        }
        CHECK(mc_loop_now_us(loop) - armed >= 20000);
        CHECK_LOG("a");
        mc_timer_cancel(loop, &far.timer);
    }
}

static uint64_t clock_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

TEST(outside_a_turn_a_delay_counts_from_now) {
    loop = mc_loop_new_epoll(1);
    clear();
    task a = make('a');
    poll(NULL, 0, 40); /* the loop's clock falls behind */
    uint64_t armed = clock_ms();
    mc_timer_arm(loop, &a.timer, 30);
    while (log_n == 0) {
        CHECK(mc_loop_turn(loop, 0) >= 0);
    }
    CHECK(clock_ms() - armed >= 30);
    mc_loop_free(loop);
}

TEST(the_wall_clock_is_the_systems) {
    loop = mc_loop_new_epoll(1);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t wall = mc_loop_wall_ms(loop), real = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    CHECK(wall <= real + 2 && real - wall < 1000);
    mc_loop_free(loop);
}

TEST(waiting_ends_at_the_timeout) {
    EACH_LOOP {
        task far = make('f');
        mc_timer_arm(loop, &far.timer, 1000000);
        uint64_t before = mc_loop_now_us(loop);
        /* A turn may end early, for a cascade of the wheel: but not again and again. */
        unsigned turns = 0;
        for (; mc_loop_now_us(loop) - before < 15000; turns++) {
            CHECK_INT(mc_loop_turn(loop, 15), 0);
        }
        CHECK(turns <= 4 && mc_loop_now_us(loop) - before < 900000000);
        mc_timer_cancel(loop, &far.timer);
    }
}

TEST(stop_ends_the_run_and_none_is_lost) {
    EACH_LOOP {
        task m = make('m');
        m.act = stop;
        mc_mailbox_post(loop, &m.message);
        CHECK_INT(mc_loop_run(loop), MC_OK);
        CHECK_LOG("m");
        mc_loop_stop(loop);
        CHECK_INT(mc_loop_run(loop), MC_OK);
        mc_mailbox_post(loop, &m.message); /* that stop is used up */
        CHECK_INT(mc_loop_run(loop), MC_OK);
        CHECK_LOG("mm");
    }
}

static void turn_inside(task *t) { CHECK_INT(mc_loop_turn(loop, 0), MC_EINVAL); }

TEST(a_turn_inside_a_turn_is_refused) {
    EACH_LOOP {
        task a = make('a');
        a.act = turn_inside;
        mc_io_inject(loop, &a.io, MC_READ);
        CHECK_INT(mc_loop_turn(loop, 0), 1);
    }
}

TEST(messages_left_are_dropped) {
    loop = mc_loop_new_epoll(1);
    CHECK(loop != NULL);
    clear();
    task a = make('a'), b = make('b');
    mc_mailbox_post(loop, &a.message);
    mc_mailbox_post(loop, &b.message);
    mc_loop_free(loop);
    CHECK_LOG("!!");
}

/* --- virtual ---------------------------------------------------------------------------------------------------- */

TEST(virtual_time_jumps_and_ends) {
    loop = mc_loop_new_virtual(1);
    CHECK(loop != NULL && mc_loop_is_virtual(loop) && mc_loop_fd(loop) == -1);
    clear();
    task a = make('a'), b = make('b');
    mc_timer_arm(loop, &b.timer, UINT64_C(86400000) * 365);
    mc_timer_arm(loop, &a.timer, 1234567);
    uint64_t wall = mc_loop_wall_ms(loop);
    CHECK_U64(wall, MC_VIRTUAL_EPOCH_MS);
    CHECK_INT(mc_loop_turn(loop, 5), 0);
    CHECK_U64(mc_loop_now_ms(loop), 5);
    CHECK_INT(mc_loop_turn(loop, -1), 1);
    CHECK_U64(mc_loop_now_ms(loop), 1234567);
    CHECK_INT(mc_loop_run(loop), MC_EOF);
    CHECK_LOG("ab");
    CHECK_U64(mc_loop_wall_ms(loop) - wall, UINT64_C(86400000) * 365);
    mc_io io;
    CHECK_INT(mc_io_open(loop, &io, 0, false, task_io), MC_EINVAL);
    mc_loop_free(loop);
}

/* A little world of timers and injections driven by the loop's own generator. */
enum { ACTORS = 20 };
static task actors[ACTORS];
static uint64_t digest;
static unsigned lives;

static void live(task *t) {
    clear();
    uint64_t now = mc_loop_now_us(loop);
    digest = mc_xxh64(&now, sizeof now, digest);
    digest = mc_xxh64(&t->name, 1, digest);
    if (lives++ > 2000) {
        return;
    }
    mc_random *random = mc_loop_random(loop);
    task *other = &actors[mc_random_next(random) % ACTORS];
    switch (mc_random_next(random) % 4) {
    case 0: mc_timer_arm(loop, &other->timer, mc_random_next(random) % 100); break;
    case 1: mc_io_inject(loop, &other->io, MC_READ); break;
    case 2: mc_timer_cancel(loop, &other->timer); break;
    default: mc_loop_defer(loop, &other->deferred);
    }
    mc_timer_arm(loop, &t->timer, mc_random_next(random) % 1000);
}

static uint64_t world(uint64_t seed) {
    loop = mc_loop_new_virtual(seed);
    CHECK(loop != NULL);
    digest = lives = 0;
    for (unsigned i = 0; i < ACTORS; i++) {
        actors[i] = make((char)('A' + i));
        actors[i].act = live;
        mc_timer_arm(loop, &actors[i].timer, i);
    }
    CHECK_INT(mc_loop_run(loop), MC_EOF);
    CHECK(lives > 2000);
    mc_loop_free(loop);
    return digest;
}

TEST(the_virtual_loop_replays_from_its_seed) {
    uint64_t first = world(42);
    CHECK_U64(world(42), first);
    CHECK(world(43) != first);
}

/* The order in which 8 ios and 8 timers of one turn run. */
static void one_turn(uint64_t seed, bool shuffle, char out[17]) {
    loop = mc_loop_new_virtual(seed);
    CHECK(loop != NULL);
    mc_loop_shuffle(loop, shuffle);
    clear();
    for (unsigned i = 0; i < 8; i++) {
        actors[i] = make((char)('a' + i));
        mc_io_inject(loop, &actors[i].io, MC_READ);
        actors[8 + i] = make((char)('A' + i));
        mc_timer_arm(loop, &actors[8 + i].timer, 0);
    }
    uint64_t undisturbed = mc_random_next(mc_loop_random(loop));
    CHECK_INT(mc_loop_turn(loop, 0), 16);
    memcpy(out, events_log, 17);
    mc_random fresh;
    mc_random_seed(&fresh, seed);
    CHECK_U64(mc_random_next(&fresh), undisturbed);
    CHECK_U64(mc_random_next(mc_loop_random(loop)), mc_random_next(&fresh));
    mc_loop_free(loop);
}

TEST(a_shuffled_virtual_loop_tries_other_orders) {
    char plain[17], first[17], again[17];
    one_turn(1, false, plain);
    CHECK_SLICE(mc_slice_cstr(plain), "abcdefghABCDEFGH");
    unsigned different = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        one_turn(seed, true, first);
        one_turn(seed, true, again);
        CHECK(memcmp(first, again, 17) == 0);
        unsigned seen = 0;
        for (unsigned i = 0; i < 8; i++) {
            seen |= 1u << (first[i] - 'a') | 256u << (first[8 + i] - 'A');
        }
        CHECK_INT(seen, 65535);
        different += memcmp(first, plain, 17) != 0;
    }
    CHECK(different >= 18);
}

TEST(a_loop_that_finds_no_memory_is_null) {
    for (long n = 1; n < 5; n++) {
        mc_test_alloc_fail_at(n);
        loop = mc_loop_new_epoll(1);
        mc_test_alloc_fail_at(0);
        CHECK((loop == NULL) == (n == 1));
        mc_loop_free(loop);
    }
    mc_test_alloc_fail_at(1);
    CHECK(mc_loop_new_virtual(1) == NULL);
}
