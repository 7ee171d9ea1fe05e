/* A fixture: two connections that record what happens to them, over a memory pair (virtual or epoll loop) or
 * loopback TCP. */
#ifndef MC_TESTS_NET_PAIR_H
#define MC_TESTS_NET_PAIR_H

#include <dirent.h>

#include "../test.h"
#include "net/listener.h"

enum { LOG = 4096 };

typedef struct peer {
    mc_conn conn;
    char *got; /* everything consumed */
    size_t got_n, got_cap;
    char log[LOG]; /* one letter a callback: C onnected, D ata, E of, H igh, L ow, F drained, X close */
    size_t log_n;
    mc_close_reason reason;
    bool closed;
    size_t leave;        /* bytes at the end that on_data leaves */
    size_t consume_most; /* 0: all */
    bool close_on_data;
    bool pause_on_data;
    bool resume_on_data;    /* after the pause */
    const char *last_words; /* written by on_drained, which then closes */
    struct peer *forward;   /* on_data writes the bytes there, borrowed */
    size_t offered_last;
} peer;

static inline void peer_log(peer *p, char c) {
    if (p->log_n + 1 < LOG) {
        p->log[p->log_n++] = c;
    }
}
static inline size_t peer_times(const peer *p, char c) {
    size_t n = 0;
    for (size_t i = 0; i < p->log_n; i++) {
        n += p->log[i] == c;
    }
    return n;
}
static inline peer *peer_of(mc_conn *conn) { return MC_CONTAINER(conn, peer, conn); }
static void peer_connected(mc_conn *conn) { peer_log(peer_of(conn), 'C'); }
static size_t peer_data(mc_conn *conn, mc_slice data) {
    peer *p = peer_of(conn);
    peer_log(p, 'D');
    p->offered_last = data.n;
    size_t n = data.n > p->leave ? data.n - p->leave : 0;
    if (p->consume_most > 0 && n > p->consume_most) {
        n = p->consume_most;
    }
    if (mc_grow(&p->got, &p->got_cap, p->got_n + n, 1) != MC_OK) {
        mc_conn_abort(conn, MC_CLOSE_RESET);
        return 0;
    }
    if (n > 0) {
        memcpy(p->got + p->got_n, data.p, n);
    }
    p->got_n += n;
    if (p->forward != NULL) {
        (void)mc_conn_write(&p->forward->conn, mc_slice_until(data, n));
    }
    if (p->pause_on_data) {
        mc_conn_pause_reading(conn);
    }
    if (p->resume_on_data) {
        mc_conn_resume_reading(conn);
    }
    if (p->close_on_data) {
        mc_conn_close(conn, false);
    }
    return n;
}
static void peer_eof(mc_conn *conn) { peer_log(peer_of(conn), 'E'); }
static void peer_high(mc_conn *conn) { peer_log(peer_of(conn), 'H'); }
static void peer_low(mc_conn *conn) { peer_log(peer_of(conn), 'L'); }
static void peer_drained(mc_conn *conn) {
    peer *p = peer_of(conn);
    peer_log(p, 'F');
    if (p->last_words != NULL) {
        (void)mc_conn_write(conn, mc_slice_cstr(p->last_words));
        mc_conn_close(conn, true);
    }
}
static void peer_close(mc_conn *conn, mc_close_reason reason) {
    peer *p = peer_of(conn);
    peer_log(p, 'X');
    p->reason = reason;
    p->closed = true;
}

static const mc_conn_events peer_events = {
    .on_connected = peer_connected,
    .on_data = peer_data,
    .on_eof = peer_eof,
    .on_high = peer_high,
    .on_low = peer_low,
    .on_drained = peer_drained,
    .on_close = peer_close,
};
static const mc_conn_events peer_events_no_eof = {
    .on_connected = peer_connected,
    .on_data = peer_data,
    .on_high = peer_high,
    .on_low = peer_low,
    .on_drained = peer_drained,
    .on_close = peer_close,
};

typedef enum medium { MEMORY_VIRTUAL, MEMORY_EPOLL, TCP, MEDIA } medium;

typedef struct pair {
    mc_loop *loop;
    mc_net *net;
    peer a, b;
    mc_listener listener;
} pair;

static void pair_accept(mc_listener *listener, int fd, const mc_address *from) {
    pair *p = MC_CONTAINER(listener, pair, listener);
    CHECK_INT(mc_conn_accept(&p->b.conn, p->net, fd, &peer_events), MC_OK);
    mc_listener_close(listener);
}

/* Turns until `cond` holds; fails the test when nothing moves any more. */
#define UNTIL(p, cond)                                                                                                 \
    do {                                                                                                               \
        for (unsigned idle_ = 0; !(cond);) {                                                                           \
            long ran_ = mc_loop_turn((p)->loop, 2000);                                                                 \
            CHECK(ran_ >= 0);                                                                                          \
            idle_ = ran_ == 0 ? idle_ + 1 : 0;                                                                         \
            if (idle_ > 3) {                                                                                           \
                CHECK(cond);                                                                                           \
                break;                                                                                                 \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

/* Turns until nothing happens without waiting. */
static inline void settle(pair *p) {
    for (unsigned quiet = 0; quiet < 3;) {
        quiet = mc_loop_turn(p->loop, mc_loop_is_virtual(p->loop) ? -1 : 1) == 0 ? quiet + 1 : 0;
    }
}

static inline int loopback_listen(mc_address *bound) {
    mc_address any;
    CHECK_INT(mc_address_parse(&any, MC_SLICE("127.0.0.1"), 0), MC_OK);
    int fd = mc_socket_listen(&any, &(mc_listen_options){.backlog = 128});
    CHECK(fd >= 0);
    CHECK_INT(mc_socket_local(fd, bound), 0);
    return fd;
}

static inline void pair_open(pair *p, medium how, const mc_memory_options *options) {
    memset(p, 0, sizeof *p);
    p->loop = how == MEMORY_VIRTUAL ? mc_loop_new_virtual(7) : mc_loop_new_epoll(7);
    CHECK(p->loop != NULL);
    p->net = mc_net_new(p->loop);
    CHECK(p->net != NULL);
    if (how != TCP) {
        CHECK_INT(mc_conn_memory_pair(&p->a.conn, p->net, &peer_events, &p->b.conn, p->net, &peer_events, options),
                  MC_OK);
        return;
    }
    mc_address bound;
    int fd = loopback_listen(&bound);
    CHECK_INT(mc_listener_open(&p->listener, p->net, fd, pair_accept), MC_OK);
    CHECK_INT(mc_conn_connect(&p->a.conn, p->net, &bound, &peer_events), MC_OK);
    UNTIL(p, p->a.conn.state == MC_CONN_OPEN && p->b.conn.state == MC_CONN_OPEN);
    settle(p);
}

static inline void pair_close(pair *p) {
    peer *both[] = {&p->a, &p->b};
    for (unsigned i = 0; i < 2; i++) {
        if (both[i]->conn.net != NULL) {
            mc_conn_close(&both[i]->conn, false);
            mc_conn_abort(&both[i]->conn, MC_CLOSE_LOCAL);
            UNTIL(p, both[i]->closed);
            CHECK_INT(peer_times(both[i], 'X'), 1);
            CHECK_INT(both[i]->log[both[i]->log_n - 1], 'X');
        }
        mc_free(both[i]->got);
    }
    mc_net_free(p->net);
    mc_loop_free(p->loop);
}

static inline size_t open_fds(void) {
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

#endif
