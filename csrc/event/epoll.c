#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "event/loop_internal.h"

/* The loop on epoll. An event names its descriptor and the generation of that descriptor's registration, not
 * the io: a forked child may keep a closed descriptor's description alive, and then the kernel goes on
 * telling about it. */

enum { BATCH = 256, WALL_SYNC_US = 1000000 };

typedef struct slot {
    mc_io *io;
    uint32_t generation;
} slot;

typedef struct epoll_loop {
    mc_loop base;
    int epoll_fd;
    int event_fd;
    int timer_fd;      /* -1 until embedded */
    uint64_t timer_ms; /* what timer_fd is set to; UINT64_MAX: nothing */
    uint64_t wall_synced_us;
    slot *slots; /* by descriptor */
    size_t slots_cap;
    struct epoll_event events[BATCH];
} epoll_loop;

/* Generation 0 is the loop's own descriptors: an event of theirs only ends the wait. */
static uint64_t event_data(int fd, uint32_t generation) { return (uint64_t)generation << 32 | (uint32_t)fd; }

static int control(epoll_loop *loop, int op, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(loop->epoll_fd, op, fd, &event);
}

static mc_status watch(epoll_loop *loop, mc_io *io) {
    /* EXCLUSIVE: of several loops on one listening socket one is woken for a connection, not all. */
    uint32_t events = io->level ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    uint32_t generation = loop->slots[io->fd].generation;
    return control(loop, EPOLL_CTL_ADD, io->fd, events, event_data(io->fd, generation)) == 0 ? MC_OK : MC_ESYS;
}

static mc_status io_open(mc_loop *base, mc_io *io) {
    epoll_loop *loop = (epoll_loop *)base;
    size_t before = loop->slots_cap;
    mc_status status = mc_grow(&loop->slots, &loop->slots_cap, (size_t)io->fd + 1, sizeof(slot));
    if (status != MC_OK) {
        return status;
    }
    memset(loop->slots + before, 0, (loop->slots_cap - before) * sizeof(slot));
    slot *at = &loop->slots[io->fd];
    at->generation = at->generation == UINT32_MAX ? 1 : at->generation + 1;
    status = watch(loop, io);
    at->io = status == MC_OK ? io : NULL;
    return status;
}

static void io_close(mc_loop *base, mc_io *io) {
    epoll_loop *loop = (epoll_loop *)base;
    if ((size_t)io->fd < loop->slots_cap && loop->slots[io->fd].io == io) {
        loop->slots[io->fd].io = NULL;
        if (io->level) {
            /* Were the description kept alive elsewhere, its level-triggered events would never end. */
            control(loop, EPOLL_CTL_DEL, io->fd, 0, 0);
        }
    }
    close(io->fd);
}

static mc_status io_enable(mc_loop *base, mc_io *io, bool on) {
    epoll_loop *loop = (epoll_loop *)base;
    if (on) {
        mc_status status = watch(loop, io);
        return status != MC_OK && errno == EEXIST ? MC_OK : status;
    }
    return control(loop, EPOLL_CTL_DEL, io->fd, 0, 0) == 0 || errno == ENOENT ? MC_OK : MC_ESYS;
}

static uint64_t read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void refresh(mc_loop *base) {
    epoll_loop *loop = (epoll_loop *)base;
    mc_loop_set_now(base, read_clock(CLOCK_MONOTONIC));
    if (base->now_us - loop->wall_synced_us >= WALL_SYNC_US || loop->wall_synced_us == 0) {
        loop->wall_synced_us = base->now_us;
        base->wall_minus_now_ms = read_clock(CLOCK_REALTIME) / 1000 - base->now_ms;
    }
}

static int wait_ms(const mc_loop *base, int64_t timeout_ms) {
    uint64_t next = mc_wheel_next(&base->wheel);
    if (next != UINT64_MAX && timeout_ms != 0) {
        /* In milliseconds: deadlines reach to the end of what counts those. */
        uint64_t left = next <= base->now_ms ? 0 : next - base->now_ms;
        if (timeout_ms < 0 || left < (uint64_t)timeout_ms) {
            timeout_ms = left > INT_MAX ? INT_MAX : (int64_t)left;
        }
    }
    return timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
}

static uint32_t translate(uint32_t epoll_events) {
    uint32_t events = 0;
    if (epoll_events & EPOLLIN) {
        events |= MC_READ;
    }
    if (epoll_events & EPOLLOUT) {
        events |= MC_WRITE;
    }
    if (epoll_events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        events |= MC_HANGUP | MC_READ;
    }
    return events;
}

static mc_status poll(mc_loop *base, int64_t timeout_ms) {
    epoll_loop *loop = (epoll_loop *)base;
    int count = epoll_wait(loop->epoll_fd, loop->events, BATCH, wait_ms(base, timeout_ms));
    if (count < 0 && errno != EINTR) {
        return MC_ESYS;
    }
    refresh(base);
    for (int i = 0; i < count; i++) {
        uint32_t fd = (uint32_t)loop->events[i].data.u64, generation = (uint32_t)(loop->events[i].data.u64 >> 32);
        if (generation != 0 && loop->slots[fd].generation == generation && loop->slots[fd].io != NULL) {
            mc_io_mark(base, loop->slots[fd].io, translate(loop->events[i].events));
        }
    }
    return MC_OK;
}

/* The eventfd and the timerfd are edge-triggered: each write or expiry is an event, and they need never be
 * read. */
static void wake(mc_loop *base) {
    uint64_t one = 1;
    while (write(((epoll_loop *)base)->event_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

/* Set only when the next deadline moved forward or the last one has passed: a deadline that moved back costs
 * one idle wake. */
static void settle(mc_loop *base) {
    epoll_loop *loop = (epoll_loop *)base;
    if (loop->timer_ms <= mc_loop_now_ms(base)) {
        loop->timer_ms = UINT64_MAX;
    }
    uint64_t next = mc_list_empty(&base->wheel.due) ? mc_wheel_next(&base->wheel) : mc_loop_now_ms(base);
    if (next >= loop->timer_ms) {
        return;
    }
    /* Further than a year is not set but asked again then: time_t would not hold every deadline. */
    uint64_t year = mc_loop_now_ms(base) + UINT64_C(31536000000);
    loop->timer_ms = next < year ? next : year;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(loop->timer_ms / 1000), .tv_nsec = (long)(loop->timer_ms % 1000) * 1000000}};
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static int embed(mc_loop *base) {
    epoll_loop *loop = (epoll_loop *)base;
    if (!base->embedded) {
        loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (loop->timer_fd < 0 ||
            control(loop, EPOLL_CTL_ADD, loop->timer_fd, EPOLLIN | EPOLLET, event_data(loop->timer_fd, 0)) < 0) {
            return -1;
        }
        base->embedded = true;
        settle(base);
        wake(base); /* what was queued before nobody could see */
    }
    return loop->epoll_fd;
}

static void epoll_free(mc_loop *base) {
    epoll_loop *loop = (epoll_loop *)base;
    int fds[] = {loop->epoll_fd, loop->event_fd, loop->timer_fd};
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    mc_free(loop->slots);
    mc_free(loop);
}

static const mc_backend epoll_backend = {
    .io_open = io_open,
    .io_close = io_close,
    .io_enable = io_enable,
    .wait = poll,
    .refresh = refresh,
    .wake = wake,
    .settle = settle,
    .fd = embed,
    .free = epoll_free,
};

mc_loop *mc_loop_new_epoll(uint64_t seed) {
    epoll_loop *loop = mc_aligned_alloc(_Alignof(epoll_loop), sizeof *loop);
    if (loop == NULL) {
        return NULL;
    }
    memset(loop, 0, sizeof *loop);
    loop->timer_fd = -1;
    loop->timer_ms = UINT64_MAX;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    mc_loop_init(&loop->base, &epoll_backend, seed);
    if (loop->epoll_fd < 0 || loop->event_fd < 0 ||
        control(loop, EPOLL_CTL_ADD, loop->event_fd, EPOLLIN | EPOLLET, event_data(loop->event_fd, 0)) < 0) {
        epoll_free(&loop->base);
        return NULL;
    }
    return &loop->base;
}
