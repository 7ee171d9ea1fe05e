#include "net/listener.h"

#include <errno.h>

#include "event/socket.h"

enum { BATCH_MAX = 16, BACK_OFF_MS = 100, BACKLOG_MAX = 65536 };

/* Watching off: the socket would be reported again and again. */
static void back_off(mc_listener *listener) {
    listener->refused++;
    mc_loop *loop = mc_net_loop(listener->net);
    if (mc_io_enable(loop, &listener->io, false) == MC_OK) {
        mc_timer_arm(loop, &listener->back_off, BACK_OFF_MS);
    }
}

static void watch_again(mc_listener *listener) {
    mc_loop *loop = mc_net_loop(listener->net);
    if (mc_io_enable(loop, &listener->io, true) != MC_OK) {
        mc_timer_arm(loop, &listener->back_off, BACK_OFF_MS);
    }
}

static void on_back_off(mc_timer *timer) { watch_again(MC_CONTAINER(timer, mc_listener, back_off)); }

/* Errors of the one connection, which the kernel passes on from its queue (accept(2)): the next may be fine. */
static bool only_this_one(int error) {
    switch (error) {
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH: return true;
    default: return false;
    }
}

static void on_listener_ready(mc_io *io, uint32_t events) {
    mc_listener *listener = MC_CONTAINER(io, mc_listener, io);
    uint64_t turn = mc_loop_turns(mc_net_loop(listener->net));
    if (turn != listener->last_turn + 1) {
        listener->batch = 1;
    }
    listener->last_turn = turn;
    for (uint32_t i = 0; i < listener->batch; i++) {
        mc_address peer;
        int fd = mc_socket_accept(listener->io.fd, &peer);
        if (fd < 0) {
            listener->batch = 1;
            if (fd != -EAGAIN && !only_this_one(-fd)) {
                back_off(listener);
            }
            return;
        }
        listener->accepted++;
        listener->on_accept(listener, fd, &peer);
        if (listener->io.fd < 0 || listener->paused) {
            return;
        }
    }
    if (listener->batch < BATCH_MAX) {
        listener->batch *= 2;
    }
}

mc_status mc_listener_open(mc_listener *listener, mc_net *net, int fd,
                           void (*on_accept)(mc_listener *, int fd, const mc_address *peer)) {
    *listener = (mc_listener){.net = net, .on_accept = on_accept, .batch = 1};
    listener->back_off.fire = on_back_off;
    mc_status status = mc_io_open(mc_net_loop(net), &listener->io, fd, true, on_listener_ready);
    if (status != MC_OK) {
        mc_io_close(mc_net_loop(net), &listener->io);
    }
    return status;
}

void mc_listener_finish(mc_listener *listener) {
    for (uint32_t i = 0; i < BACKLOG_MAX && listener->io.fd >= 0 && !listener->paused; i++) {
        mc_address peer;
        int fd = mc_socket_accept(listener->io.fd, &peer);
        if (fd >= 0) {
            listener->accepted++;
            listener->on_accept(listener, fd, &peer);
        } else if (!only_this_one(-fd)) {
            break;
        }
    }
    mc_listener_close(listener);
}

void mc_listener_close(mc_listener *listener) {
    mc_loop *loop = mc_net_loop(listener->net);
    mc_timer_cancel(loop, &listener->back_off);
    mc_io_close(loop, &listener->io);
}

void mc_listener_pause(mc_listener *listener) {
    if (listener->io.fd < 0 || listener->paused) {
        return;
    }
    listener->paused = true;
    mc_timer_cancel(mc_net_loop(listener->net), &listener->back_off);
    if (mc_io_enable(mc_net_loop(listener->net), &listener->io, false) != MC_OK) {
        listener->paused = false; /* it is not registered at all: nothing to silence */
    }
}

void mc_listener_resume(mc_listener *listener) {
    if (listener->io.fd >= 0 && listener->paused) {
        listener->paused = false;
        watch_again(listener);
    }
}
