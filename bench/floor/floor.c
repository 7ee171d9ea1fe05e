/* The floor: what a proxy on this core's loop and connections costs before it understands a byte.
 *
 * Each accepted connection gets one upstream connection, and bytes go both ways as they come: two reads, two writes and a share of
 * an epoll_wait a request, no parsing, no routing, no statistics. What a real proxy costs above this is its own doing.
 *
 *     floor LISTEN_PORT UPSTREAM_PORT      (both on 127.0.0.1; ends on SIGTERM by itself)
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "net/listener.h"

typedef struct side {
    mc_conn conn;
    struct side *other;
} side;

typedef struct flow {
    side down, up;
    unsigned open; /* sides not yet closed */
} flow;

typedef struct proxy {
    mc_loop *loop;
    mc_net *net;
    mc_listener listener;
    mc_address upstream;
} proxy;

enum { HIGH_WATERMARK = 1 << 20 };

static side *side_of(mc_conn *conn) { return MC_CONTAINER(conn, side, conn); }

static size_t forward(mc_conn *conn, mc_slice data) {
    if (mc_conn_write(&side_of(conn)->other->conn, data) != MC_OK) {
        mc_conn_close(conn, false);
    }
    return data.n;
}

static void slow_down(mc_conn *conn) { mc_conn_pause_reading(&side_of(conn)->other->conn); }
static void go_on(mc_conn *conn) { mc_conn_resume_reading(&side_of(conn)->other->conn); }

static flow *flow_of(side *s) { return s < s->other ? MC_CONTAINER(s, flow, down) : MC_CONTAINER(s, flow, up); }

static void closed(mc_conn *conn, mc_close_reason reason) {
    side *s = side_of(conn);
    flow *f = flow_of(s);
    mc_conn_close(&s->other->conn, true);
    if (--f->open == 0) {
        mc_free(f);
    }
}

static const mc_conn_events events = {.on_data = forward, .on_high = slow_down, .on_low = go_on, .on_close = closed};

static void accepted(mc_listener *listener, int fd, const mc_address *peer) {
    proxy *p = MC_CONTAINER(listener, proxy, listener);
    flow *f = mc_calloc(1, sizeof *f);
    if (f == NULL) {
        mc_socket_close(fd);
        return;
    }
    f->down.other = &f->up;
    f->up.other = &f->down;
    f->open = 2;
    if (mc_conn_accept(&f->down.conn, p->net, fd, &events) != MC_OK) {
        mc_free(f);
        return;
    }
    if (mc_conn_connect(&f->up.conn, p->net, &p->upstream, &events) != MC_OK) {
        f->open = 1;
        mc_conn_close(&f->down.conn, false);
    }
    f->down.conn.high_watermark = f->up.conn.high_watermark = HIGH_WATERMARK;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: floor LISTEN_PORT UPSTREAM_PORT\n");
        return 2;
    }
    proxy p = {.loop = mc_loop_new_epoll(1)};
    p.net = p.loop == NULL ? NULL : mc_net_new(p.loop);
    mc_address address;
    if (p.net == NULL || mc_address_parse(&address, MC_SLICE("127.0.0.1"), (uint16_t)atoi(argv[1])) != MC_OK ||
        mc_address_parse(&p.upstream, MC_SLICE("127.0.0.1"), (uint16_t)atoi(argv[2])) != MC_OK) {
        return 1;
    }
    int fd = mc_socket_listen(&address, &(mc_listen_options){.backlog = 1024});
    if (fd < 0 || mc_listener_open(&p.listener, p.net, fd, accepted) != MC_OK) {
        fprintf(stderr, "floor: cannot listen on port %s\n", argv[1]);
        return 1;
    }
    return mc_loop_run(p.loop) == MC_OK ? 0 : 1;
}
