/* Inside of the loop, for event/ alone: what both backends share and the few functions in which they differ. */
#ifndef MC_EVENT_LOOP_INTERNAL_H
#define MC_EVENT_LOOP_INTERNAL_H

#include <stdatomic.h>

#include "event/cpu.h"
#include "event/loop.h"
#include "event/wheel.h"

typedef struct mc_backend {
    mc_status (*io_open)(mc_loop *loop, mc_io *io);
    void (*io_close)(mc_loop *loop, mc_io *io);
    mc_status (*io_enable)(mc_loop *loop, mc_io *io, bool on);
    /* Waits for events (timeout_ms as for mc_loop_turn, already 0 when work is queued), puts them on the
     * ready list by mc_io_mark, and sets the clock. */
    mc_status (*wait)(mc_loop *loop, int64_t timeout_ms);
    /* Sets the clock, when there is one. */
    void (*refresh)(mc_loop *loop);
    /* Makes the loop's descriptor readable; from any thread. */
    void (*wake)(mc_loop *loop);
    /* Embedded loops: lets the descriptor tell of the next timer. */
    void (*settle)(mc_loop *loop);
    int (*fd)(mc_loop *loop);
    void (*free)(mc_loop *loop);
} mc_backend;

struct mc_loop {
    const mc_backend *backend;
    uint64_t now_us, now_ms;
    uint64_t wall_minus_now_ms;
    bool in_turn;
    bool stopped;
    bool embedded; /* mc_loop_fd was called */
    mc_list ready; /* ios with events */
    mc_list deferred;
    uint64_t turns;
    long ran; /* callbacks of this turn */
    mc_wheel wheel;
    uint64_t seed;
    mc_random random;
    bool shuffle;
    mc_random order;                          /* of shuffling */
    mc_cpu_use cpu;                           /* of a virtual loop */
    _Alignas(64) mc_message *_Atomic mailbox; /* newest first; written by other threads: a cache line of its own */
};

void mc_loop_init(mc_loop *loop, const mc_backend *backend, uint64_t seed);
static inline void mc_loop_set_now(mc_loop *loop, uint64_t us) {
    loop->now_us = us;
    loop->now_ms = us / 1000;
}
/* Adds events for an io to the ready list. */
static inline void mc_io_mark(mc_loop *loop, mc_io *io, uint32_t events) {
    io->injected |= events;
    if (!mc_link_linked(&io->ready)) {
        mc_list_push_back(&loop->ready, &io->ready);
    }
}
/* The deferred queue, until it is empty; and one more callback counted. */
void mc_loop_after_callback(mc_loop *loop);
void mc_mailbox_run(mc_loop *loop);
void mc_mailbox_drop(mc_loop *loop);

#endif
