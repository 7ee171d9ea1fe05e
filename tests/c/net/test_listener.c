/* The listener: bursts, pausing, closing inside its callback, running out of descriptors. */
#include <sys/resource.h>
#include <unistd.h>

#include "pair.h"

enum { MANY = 100, ROOM = 200 };

typedef struct server {
    mc_listener listener;
    int fds[ROOM];
    unsigned count;
    unsigned close_at, pause_at; /* after so many */
} server;

static void on_accept(mc_listener *listener, int fd, const mc_address *from) {
    server *s = MC_CONTAINER(listener, server, listener);
    CHECK(mc_address_is_loopback(from) && mc_address_port(from) != 0);
    s->fds[s->count++] = fd;
    if (s->count == s->close_at) {
        mc_listener_close(listener);
    }
    if (s->count == s->pause_at) {
        mc_listener_pause(listener);
    }
}

typedef struct world {
    mc_loop *loop;
    mc_net *net;
    server server;
    mc_address address;
    int clients[ROOM];
    unsigned client_count;
} world;

static void world_open(world *w) {
    memset(w, 0, sizeof *w);
    w->loop = mc_loop_new_epoll(1);
    w->net = mc_net_new(w->loop);
    CHECK(w->net != NULL);
    CHECK_INT(mc_listener_open(&w->server.listener, w->net, loopback_listen(&w->address), on_accept), MC_OK);
}

static void come(world *w, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        w->clients[w->client_count] = mc_socket_connect(&w->address);
        CHECK(w->clients[w->client_count++] >= 0);
    }
}

static void world_close(world *w) {
    mc_listener_close(&w->server.listener);
    for (unsigned i = 0; i < w->client_count; i++) {
        mc_socket_close(w->clients[i]);
    }
    for (unsigned i = 0; i < w->server.count; i++) {
        mc_socket_close(w->server.fds[i]);
    }
    mc_net_free(w->net);
    mc_loop_free(w->loop);
}

TEST(a_burst_takes_few_turns) {
    world w;
    world_open(&w);
    come(&w, MANY);
    unsigned turns = 0;
    for (; w.server.count < MANY; turns++) {
        CHECK(mc_loop_turn(w.loop, 1000) >= 0);
    }
    CHECK(turns <= 4 + MANY / 16 + 1); /* 1 2 4 8 16 16 ... */
    CHECK(mc_loop_turn(w.loop, 0) == 0);
    CHECK_INT(w.server.listener.batch, 1); /* the last batch was not full */
    for (unsigned i = 1; i <= 3; i++) {
        CHECK_INT(mc_loop_turn(w.loop, 0), 0);
        come(&w, 1);
        UNTIL(&w, w.server.count == MANY + i);
        CHECK_INT(w.server.listener.batch, 2); /* it began at one: no accept that found nothing */
    }
    CHECK_U64(w.server.listener.refused, 0);
    world_close(&w);
}

TEST(a_paused_listener_leaves_the_backlog_alone) {
    world w;
    world_open(&w);
    mc_listener_pause(&w.server.listener);
    come(&w, 3);
    CHECK_INT(mc_loop_turn(w.loop, 20), 0);
    mc_listener_resume(&w.server.listener);
    mc_listener_resume(&w.server.listener);
    UNTIL(&w, w.server.count == 3);
    w.server.pause_at = 5; /* inside the callback, in the middle of a batch */
    come(&w, 6);
    UNTIL(&w, w.server.count == 5);
    CHECK_INT(mc_loop_turn(w.loop, 20), 0);
    CHECK_INT(w.server.count, 5);
    mc_listener_resume(&w.server.listener);
    UNTIL(&w, w.server.count == 9);
    world_close(&w);
}

TEST(finishing_takes_who_waits_in_the_backlog) {
    world w;
    world_open(&w);
    come(&w, MANY);
    mc_listener_finish(&w.server.listener);
    CHECK_INT(w.server.count, MANY);
    CHECK(w.server.listener.io.fd < 0);
    world_close(&w);
}

TEST(finishing_while_paused_takes_nobody) {
    world w;
    world_open(&w);
    come(&w, 2);
    w.server.pause_at = 1;
    mc_listener_finish(&w.server.listener);
    CHECK_INT(w.server.count, 1);
    world_close(&w);
}

TEST(closing_inside_on_accept_stops_the_batch) {
    world w;
    world_open(&w);
    w.server.close_at = 4;
    come(&w, 9);
    UNTIL(&w, w.server.count == 4);
    CHECK_INT(mc_loop_turn(w.loop, 20), 0);
    CHECK_INT(mc_socket_connect(&w.address) >= 0 ? 0 : -1, 0); /* starts; refused later */
    world_close(&w);
}

TEST(without_descriptors_it_waits_instead_of_spinning) {
    world w;
    world_open(&w);
    come(&w, 2);
    struct rlimit old, none;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    long ran = 0;
    uint64_t start = mc_loop_now_ms(w.loop);
    while (mc_loop_now_ms(w.loop) - start < 350) {
        ran += mc_loop_turn(w.loop, 50);
    }
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &old), 0);
    CHECK(w.server.listener.refused >= 2 && w.server.listener.refused <= 5);
    CHECK(ran <= 10);
    CHECK_INT(w.server.count, 0);
    UNTIL(&w, w.server.count == 2);
    world_close(&w);
}

TEST(a_paused_back_off_stays_paused) {
    world w;
    world_open(&w);
    come(&w, 1);
    struct rlimit old, none;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    UNTIL(&w, w.server.listener.refused == 1);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &old), 0);
    mc_listener_pause(&w.server.listener);
    for (uint64_t start = mc_loop_now_ms(w.loop); mc_loop_now_ms(w.loop) - start < 150;) {
        CHECK_INT(mc_loop_turn(w.loop, 150), 0);
    }
    mc_listener_resume(&w.server.listener);
    UNTIL(&w, w.server.count == 1);
    world_close(&w);
}

TEST(a_listener_that_cannot_open_keeps_no_descriptor) {
    mc_loop *loop = mc_loop_new_epoll(1);
    mc_net *net = mc_net_new(loop);
    CHECK(net != NULL);
    size_t before = open_fds();
    mc_address bound;
    int fd = loopback_listen(&bound);
    mc_listener listener;
    mc_test_alloc_fail_at(1);
    mc_status status = mc_listener_open(&listener, net, fd, on_accept);
    mc_test_alloc_fail_at(0);
    CHECK_INT(status, MC_ENOMEM);
    CHECK_U64(open_fds(), before);
    mc_net_free(net);
    mc_loop_free(loop);
}
