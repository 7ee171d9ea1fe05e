#include "event/loop.h"

#include "event/loop_internal.h"

void mc_loop_init(mc_loop *loop, const mc_backend *backend, uint64_t seed) {
    loop->backend = backend;
    mc_list_init(&loop->ready);
    mc_list_init(&loop->deferred);
    loop->seed = seed;
    mc_random_seed(&loop->random, seed);
    mc_random_seed(&loop->order, ~seed);
    backend->refresh(loop);
    mc_wheel_init(&loop->wheel, loop->now_ms);
}

void mc_loop_free(mc_loop *loop) {
    if (loop == NULL) {
        return;
    }
    mc_mailbox_drop(loop);
    loop->backend->free(loop);
}

int mc_loop_fd(mc_loop *loop) { return loop->backend->fd(loop); }

uint64_t mc_loop_now_ms(const mc_loop *loop) { return loop->now_ms; }
uint64_t mc_loop_now_us(const mc_loop *loop) { return loop->now_us; }
void mc_loop_refresh(mc_loop *loop) {
    if (!loop->in_turn) {
        loop->backend->refresh(loop);
    }
}
uint64_t mc_loop_wall_ms(const mc_loop *loop) { return loop->now_ms + loop->wall_minus_now_ms; }
mc_random *mc_loop_random(mc_loop *loop) { return &loop->random; }

uint64_t mc_loop_seed(const mc_loop *loop) { return loop->seed; }
uint64_t mc_loop_turns(const mc_loop *loop) { return loop->turns; }

/* --- a turn ----------------------------------------------------------------------------------------------------- */

static void run_deferred(mc_loop *loop) {
    for (mc_link *link; (link = mc_list_pop_front(&loop->deferred)) != NULL;) {
        mc_deferred *deferred = MC_CONTAINER(link, mc_deferred, link);
        deferred->run(deferred);
    }
}

void mc_loop_after_callback(mc_loop *loop) {
    loop->ran++;
    run_deferred(loop);
}

void mc_loop_shuffle(mc_loop *loop, bool on) { loop->shuffle = on && mc_loop_is_virtual(loop); }

/* Moves what is queued now into a batch: what callbacks add waits for the next turn, so that nothing starves the rest. False:
 * nothing is queued. */
static bool take_batch(mc_loop *loop, mc_list *batch, mc_list *queue) {
    if (mc_list_empty(queue)) {
        return false;
    }
    mc_list_init(batch);
    if (!loop->shuffle) {
        mc_list_splice(batch, queue);
        return true;
    }
    for (mc_link *link; (link = mc_list_pop_front(queue)) != NULL;) {
        if ((mc_random_next(&loop->order) & 1) != 0) {
            mc_list_push_front(batch, link);
        } else {
            mc_list_push_back(batch, link);
        }
    }
    return true;
}

static void run_ready(mc_loop *loop) {
    mc_list batch;
    if (!take_batch(loop, &batch, &loop->ready)) {
        return;
    }
    for (mc_link *link; (link = mc_list_pop_front(&batch)) != NULL;) {
        mc_io *io = MC_CONTAINER(link, mc_io, ready);
        uint32_t events = io->injected;
        io->injected = 0;
        io->on_ready(io, events);
        mc_loop_after_callback(loop);
    }
}

static void run_timers(mc_loop *loop) {
    mc_list batch;
    mc_wheel_advance(&loop->wheel, mc_loop_now_ms(loop));
    if (!take_batch(loop, &batch, &loop->wheel.due)) {
        return;
    }
    for (mc_link *link; (link = mc_list_pop_front(&batch)) != NULL;) {
        mc_timer *timer = MC_CONTAINER(link, mc_timer, link);
        timer->fire(timer);
        mc_loop_after_callback(loop);
    }
}

static bool has_mail(const mc_loop *loop) { return atomic_load_explicit(&loop->mailbox, memory_order_relaxed) != NULL; }

static bool has_work(const mc_loop *loop) {
    return !mc_list_empty(&loop->ready) || !mc_list_empty(&loop->wheel.due) || !mc_list_empty(&loop->deferred) ||
           has_mail(loop);
}

long mc_loop_turn(mc_loop *loop, int64_t timeout_ms) {
    if (loop->in_turn) {
        return MC_EINVAL;
    }
    loop->in_turn = true;
    loop->turns++;
    loop->ran = 0;
    if (!mc_list_empty(&loop->deferred)) {
        mc_loop_after_callback(loop);
    }
    mc_status status = loop->backend->wait(loop, loop->ran > 0 || has_work(loop) ? 0 : timeout_ms);
    if (status == MC_OK) {
        if (has_mail(loop)) {
            mc_mailbox_run(loop);
        }
        run_ready(loop);
        run_timers(loop);
    }
    loop->in_turn = false;
    if (loop->embedded) {
        loop->backend->settle(loop);
        if (has_work(loop)) {
            loop->backend->wake(loop);
        }
    }
    return status == MC_OK ? loop->ran : status;
}

mc_status mc_loop_run(mc_loop *loop) {
    long ran = 0;
    while (!loop->stopped && ran >= 0) {
        ran = mc_loop_turn(loop, -1);
        if (ran == 0 && mc_loop_is_virtual(loop) && !has_work(loop) && mc_wheel_next(&loop->wheel) == UINT64_MAX) {
            ran = MC_EOF;
        }
    }
    loop->stopped = false;
    return ran < 0 ? (mc_status)ran : MC_OK;
}

void mc_loop_stop(mc_loop *loop) { loop->stopped = true; }

/* Work queued from outside a turn shows on an embedded loop's descriptor. */
static void announce(mc_loop *loop) {
    if (loop->embedded && !loop->in_turn) {
        loop->backend->wake(loop);
    }
}

/* --- readiness, timers, deferred work --------------------------------------------------------------------------- */

mc_status mc_io_open(mc_loop *loop, mc_io *io, int fd, bool level, void (*on_ready)(mc_io *, uint32_t)) {
    *io = (mc_io){.on_ready = on_ready, .fd = fd, .level = level};
    return fd < 0 ? MC_OK : loop->backend->io_open(loop, io);
}

void mc_io_close(mc_loop *loop, mc_io *io) {
    mc_link_unlink(&io->ready);
    io->injected = 0;
    if (io->fd >= 0) {
        loop->backend->io_close(loop, io);
        io->fd = -1;
    }
}

mc_status mc_io_enable(mc_loop *loop, mc_io *io, bool on) {
    mc_link_unlink(&io->ready);
    io->injected = 0;
    return io->fd < 0 || !io->level ? MC_EINVAL : loop->backend->io_enable(loop, io, on);
}

void mc_io_inject(mc_loop *loop, mc_io *io, uint32_t events) {
    mc_io_mark(loop, io, events);
    announce(loop);
}

void mc_timer_arm(mc_loop *loop, mc_timer *timer, uint64_t delay_ms) {
    if (!loop->in_turn) {
        loop->backend->refresh(loop);
    }
    /* Rounded up, so that a timer is never early; but 0 ms means the next turn. */
    uint64_t now_ms = (loop->now_us + (delay_ms > 0 ? 999 : 0)) / 1000;
    uint64_t deadline_ms = delay_ms < UINT64_MAX - now_ms ? now_ms + delay_ms : UINT64_MAX;
    if (mc_timer_armed(timer)) {
        if (timer->deadline_ms == deadline_ms) {
            return;
        }
        mc_wheel_remove(&loop->wheel, timer);
    }
    mc_wheel_add(&loop->wheel, timer, deadline_ms);
    if (loop->embedded && !loop->in_turn) {
        loop->backend->settle(loop);
    }
}

void mc_timer_disarm(mc_loop *loop, mc_timer *timer) { mc_wheel_remove(&loop->wheel, timer); }

void mc_loop_defer(mc_loop *loop, mc_deferred *deferred) {
    if (!mc_link_linked(&deferred->link)) {
        mc_list_push_back(&loop->deferred, &deferred->link);
        announce(loop);
    }
}

void mc_loop_defer_first(mc_loop *loop, mc_deferred *deferred) {
    mc_link_unlink(&deferred->link);
    mc_list_push_front(&loop->deferred, &deferred->link);
    announce(loop);
}

void mc_deferred_cancel(mc_deferred *deferred) { mc_link_unlink(&deferred->link); }
