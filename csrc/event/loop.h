/* Event loop: readiness, timers, deferred work, a mailbox; on epoll or virtual.
 *
 * One loop belongs to one thread (the thread that turns it); only mc_mailbox_post may be called from others.
 * A loop is one pollable descriptor, timers included, so that it embeds into any other loop (mc_loop_fd). The
 * virtual loop has no kernel: its clock jumps to the next timer when nothing is ready, and readiness comes
 * from mc_io_inject (memory transport); it is deterministic from its seed.
 *
 * One turn (rule THR-6): poll; read the clock once; mailbox; ready ios; expired timers. After every single
 * callback the deferred queue runs: so nothing is freed, and nothing written is flushed, inside a callback
 * (THR-8). */
#ifndef MC_EVENT_LOOP_H
#define MC_EVENT_LOOP_H

#include "base/list.h"
#include "base/random.h"
#include "base/slice.h"

typedef struct mc_loop mc_loop;

/* HANGUP (always with READ): the peer closed its side, or error. OWN: never from the kernel, for an owner's
 * own injections. */
enum { MC_READ = 1, MC_WRITE = 2, MC_HANGUP = 4, MC_OWN = 8 };

MC_MUST_CHECK mc_loop *mc_loop_new_epoll(uint64_t seed);
MC_MUST_CHECK mc_loop *mc_loop_new_virtual(uint64_t seed);
/* Drops queued messages; deferred work and timers still queued are forgotten, not run. */
void mc_loop_free(mc_loop *loop);
bool mc_loop_is_virtual(const mc_loop *loop);
/* Virtual loops: ready ios and expired timers of a turn run in an order drawn from the seed, not first come first served. No
 * order is promised by any loop (THR-6), so a simulation should try many. The draws are not those of mc_loop_random. */
void mc_loop_shuffle(mc_loop *loop, bool on);

/* Descriptor that becomes readable when a turn has work to do; -1 for a virtual loop. Calling it arms the
 * timerfd, so that timers show on the descriptor too: only embedded loops pay for that. */
int mc_loop_fd(mc_loop *loop);
/* One turn; waits at most timeout_ms (-1: until something happens, 0: not at all); may end with nothing done. Virtual: "waiting"
 * advances the clock to the next timer, at most by timeout_ms. Returns the number of callbacks run, or a
 * negative status. */
long mc_loop_turn(mc_loop *loop, int64_t timeout_ms);
/* Turns until mc_loop_stop(). A stop before the run makes that run return at once: none is lost. From the
 * loop's thread only (others post a message that stops). A virtual loop with nothing left to wait for ends
 * its run with MC_EOF. */
mc_status mc_loop_run(mc_loop *loop);
void mc_loop_stop(mc_loop *loop);

/* Monotonic, cached once a turn; outside a turn it is that of the last one (but mc_timer_arm then reads the
 * clock anew). */
uint64_t mc_loop_now_ms(const mc_loop *loop);
uint64_t mc_loop_now_us(const mc_loop *loop);
/* Outside a turn: reads the clock anew, for what the loop's owner does on behalf of others. */
void mc_loop_refresh(mc_loop *loop);
/* Wall clock, milliseconds since 1970, derived from the cached monotonic time; a step of the system's clock
 * shows within a second. Virtual: starts at MC_VIRTUAL_EPOCH_MS. */
#define MC_VIRTUAL_EPOCH_MS 1700000000000ull
uint64_t mc_loop_wall_ms(const mc_loop *loop);
mc_random *mc_loop_random(mc_loop *loop);
/* What the loop was made with. Any thread. */
uint64_t mc_loop_seed(const mc_loop *loop);
/* Turns begun so far. */
uint64_t mc_loop_turns(const mc_loop *loop);

/* --- readiness -------------------------------------------------------------------------------------------------- */

/* Embedded in its owner. Registered once, edge-triggered, for both directions; no further epoll_ctl until
 * close (the kernel forgets a descriptor when it is closed; where a forked child keeps it alive, its late
 * events are recognised and ignored). Callbacks get the new edges, and directions that are ready anyway may
 * be reported with them. */
typedef struct mc_io {
    void (*on_ready)(struct mc_io *io, uint32_t events);
    mc_link ready; /* private: on the loop's list of injected events */
    int fd;        /* -1: fed by mc_io_inject only (the only kind a virtual loop knows) */
    uint32_t injected;
    bool level; /* listen sockets are level-triggered (THR-7) */
} mc_io;

MC_MUST_CHECK mc_status mc_io_open(mc_loop *loop, mc_io *io, int fd, bool level, void (*on_ready)(mc_io *, uint32_t));
/* Forgets pending events; closes fd when >= 0. Safe inside its own callback, and repeatedly. */
void mc_io_close(mc_loop *loop, mc_io *io);
/* Level-triggered ios only: silences (or wakes) the descriptor by an epoll_ctl; pending events are forgotten. */
MC_MUST_CHECK mc_status mc_io_enable(mc_loop *loop, mc_io *io, bool on);
/* Delivers events as if the kernel had (merged with others), later in this turn or in the next, never inline. */
void mc_io_inject(mc_loop *loop, mc_io *io, uint32_t events);

/* --- timers ----------------------------------------------------------------------------------------------------- */

/* Embedded in its owner; zero-initialised means disarmed. Millisecond resolution, hierarchical wheel: arm,
 * re-arm and cancel are O(1). Never early by the loop's clock. Expired timers of one turn fire in no promised
 * order; 0 ms fires in the next turn, never inline. */
typedef struct mc_timer {
    mc_link link; /* private */
    uint64_t deadline_ms;
    void (*fire)(struct mc_timer *timer);
} mc_timer;

void mc_timer_arm(mc_loop *loop, mc_timer *timer, uint64_t delay_ms);
static inline bool mc_timer_armed(const mc_timer *timer) { return mc_link_linked(&timer->link); }
void mc_timer_disarm(mc_loop *loop, mc_timer *timer); /* an armed one; for mc_timer_cancel */
static inline void mc_timer_cancel(mc_loop *loop, mc_timer *timer) {
    if (mc_timer_armed(timer)) {
        mc_timer_disarm(loop, timer);
    }
}

/* --- deferred work ---------------------------------------------------------------------------------------------- */

/* Runs once, first-in-first-out, right after the current callback returns (or at once in the next turn when
 * outside one). Idempotent while queued. What deferred work defers runs in the same pass. */
typedef struct mc_deferred {
    mc_link link;
    void (*run)(struct mc_deferred *deferred);
} mc_deferred;

void mc_loop_defer(mc_loop *loop, mc_deferred *deferred);
/* Before everything queued: for what uses memory that other deferred work may free (net/ flushes borrowed
 * bytes so). */
void mc_loop_defer_first(mc_loop *loop, mc_deferred *deferred);
void mc_deferred_cancel(mc_deferred *deferred);

/* --- mailbox ---------------------------------------------------------------------------------------------------- */

/* A message: intrusive, owned by the mailbox from post until run; run() frees it. Messages of one producer
 * run in order. */
typedef struct mc_message {
    struct mc_message *_Atomic next;
    void (*run)(struct mc_message *message, mc_loop *loop);
    /* Called instead of run when the loop is freed with the message still queued. */
    void (*drop)(struct mc_message *message);
} mc_message;

/* From any thread: lock-free push; wakes the loop when the queue was empty (eventfd). Never fails. */
void mc_mailbox_post(mc_loop *loop, mc_message *message);

#endif
