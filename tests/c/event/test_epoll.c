/* The epoll backend: edges, hang-ups, stale events, level-triggered ios, embedding, signals. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../test.h"
#include "event/loop.h"
#include "event/socket.h"

typedef struct watcher {
    mc_io io;
    unsigned calls;
    uint32_t events;
} watcher;

static void watched(mc_io *io, uint32_t events) {
    watcher *w = MC_CONTAINER(io, watcher, io);
    w->calls++;
    w->events = events;
}

static void socket_pair(int fds[2]) { CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0); }

/* A watcher on one side of a pair; the other side is returned. The first event (writable) is consumed. */
static int watch(mc_loop *loop, watcher *w) {
    int fds[2];
    socket_pair(fds);
    *w = (watcher){0};
    CHECK_INT(mc_io_open(loop, &w->io, fds[0], false, watched), MC_OK);
    CHECK_INT(mc_loop_turn(loop, 1000), 1);
    CHECK_INT(w->events, MC_WRITE);
    return fds[1];
}

static bool readable(int fd, int timeout_ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

TEST(edges_come_once) {
    mc_loop *loop = mc_loop_new_epoll(1);
    watcher w;
    int other = watch(loop, &w);
    CHECK_INT(write(other, "x", 1), 1);
    CHECK_INT(mc_loop_turn(loop, 1000), 1);
    CHECK((w.events & MC_READ) != 0 && (w.events & MC_HANGUP) == 0);
    CHECK_INT(mc_loop_turn(loop, 0), 0); /* unread, but no new edge */
    CHECK_INT(write(other, "x", 1), 1);
    CHECK_INT(mc_loop_turn(loop, 1000), 1);
    mc_io_close(loop, &w.io);
    close(other);
    mc_loop_free(loop);
}

TEST(a_fin_with_data_is_a_hangup_with_read) {
    mc_loop *loop = mc_loop_new_epoll(1);
    watcher w;
    int other = watch(loop, &w);
    CHECK_INT(write(other, "x", 1), 1);
    CHECK_INT(shutdown(other, SHUT_WR), 0);
    CHECK_INT(mc_loop_turn(loop, 1000), 1);
    CHECK_INT(w.events & (MC_READ | MC_HANGUP), MC_READ | MC_HANGUP);
    mc_io_close(loop, &w.io);
    CHECK_INT(w.io.fd, -1);
    close(other);
    mc_loop_free(loop);
}

TEST(a_kept_alive_description_tells_nobody) {
    /* A forked child holds a closed descriptor's description; here a duplicate does. */
    mc_loop *loop = mc_loop_new_epoll(1);
    watcher *w = malloc(sizeof *w);
    int other = watch(loop, w), number = w->io.fd, held = dup(number);
    mc_io_close(loop, &w->io);
    free(w); /* a late event must not touch it */
    CHECK_INT(write(other, "x", 1), 1);
    CHECK_INT(mc_loop_turn(loop, 10), 0);
    /* The number comes back with another socket behind it, and only that one's events count. */
    watcher next = {0};
    int fds[2];
    socket_pair(fds);
    CHECK_INT(fds[0], number);
    CHECK_INT(mc_io_open(loop, &next.io, fds[0], false, watched), MC_OK);
    CHECK_INT(mc_loop_turn(loop, 1000), 1);
    CHECK_INT(write(other, "y", 1), 1);
    CHECK_INT(mc_loop_turn(loop, 10), 0);
    CHECK_INT(next.calls, 1);
    mc_io_close(loop, &next.io);
    close(fds[1]);
    close(held);
    close(other);
    mc_loop_free(loop);
}

TEST(level_triggered_ios_repeat_and_can_be_silenced) {
    mc_loop *loop = mc_loop_new_epoll(1);
    watcher w = {0};
    int fds[2];
    socket_pair(fds);
    CHECK_INT(mc_io_open(loop, &w.io, fds[0], true, watched), MC_OK);
    CHECK_INT(mc_loop_turn(loop, 0), 0); /* writable is not asked for */
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(mc_loop_turn(loop, 1000), 1);
    CHECK_INT(mc_loop_turn(loop, 1000), 1);
    CHECK_INT(mc_io_enable(loop, &w.io, false), MC_OK);
    CHECK_INT(mc_io_enable(loop, &w.io, false), MC_OK);
    CHECK_INT(mc_loop_turn(loop, 0), 0);
    CHECK_INT(mc_io_enable(loop, &w.io, true), MC_OK);
    CHECK_INT(mc_io_enable(loop, &w.io, true), MC_OK);
    CHECK_INT(mc_loop_turn(loop, 1000), 1);
    mc_io_close(loop, &w.io);
    close(fds[1]);
    mc_loop_free(loop);
}

TEST(a_closed_level_triggered_io_is_not_heard_of_again) {
    mc_loop *loop = mc_loop_new_epoll(1);
    watcher w = {0};
    int fds[2];
    socket_pair(fds);
    int held = dup(fds[0]);
    CHECK_INT(mc_io_open(loop, &w.io, fds[0], true, watched), MC_OK);
    CHECK_INT(write(fds[1], "x", 1), 1);
    mc_io_close(loop, &w.io);
    uint64_t before = mc_loop_now_us(loop);
    CHECK_INT(mc_loop_turn(loop, 30), 0);
    CHECK(mc_loop_now_us(loop) - before >= 30000); /* it waited: nothing kept waking it */
    close(held);
    close(fds[1]);
    mc_loop_free(loop);
}

TEST(more_ready_than_a_batch_are_all_served) {
    enum { N = 300 };
    static watcher w[N];
    int others[N];
    mc_loop *loop = mc_loop_new_epoll(1);
    for (int i = 0; i < N; i++) {
        others[i] = watch(loop, &w[i]);
    }
    for (int i = 0; i < N; i++) {
        CHECK_INT(write(others[i], "x", 1), 1);
    }
    long ran = 0;
    while (ran < N) {
        long n = mc_loop_turn(loop, 1000);
        CHECK(n > 0);
        ran += n;
    }
    for (int i = 0; i < N; i++) {
        CHECK_INT(w[i].calls, 2);
        mc_io_close(loop, &w[i].io);
        close(others[i]);
    }
    mc_loop_free(loop);
}

/* --- embedded --------------------------------------------------------------------------------------------------- */

static unsigned fired;
static void count_timer(mc_timer *timer) { fired++; }
static void count_message(mc_message *message, mc_loop *loop) { fired++; }
static void count_deferred(mc_deferred *deferred) { fired++; }

/* What an outer loop does: waits for the descriptor, then turns without waiting. */
static void outer(mc_loop *loop, unsigned until) {
    for (unsigned turns = 0; fired < until; turns++) {
        CHECK(turns < 100); /* never spins */
        CHECK(readable(mc_loop_fd(loop), 5000));
        CHECK(mc_loop_turn(loop, 0) >= 0);
    }
}

TEST(an_embedded_loop_shows_all_work_on_its_descriptor) {
    mc_loop *loop = mc_loop_new_epoll(1);
    mc_timer early = {.fire = count_timer}, timer = {.fire = count_timer};
    mc_deferred deferred = {.run = count_deferred};
    mc_message message = {.run = count_message};
    watcher w = {0};
    CHECK_INT(mc_io_open(loop, &w.io, -1, false, watched), MC_OK);
    fired = 0;
    mc_loop_defer(loop, &deferred); /* before embedding */
    mc_timer_arm(loop, &early, 1000000);
    int fd = mc_loop_fd(loop);
    CHECK(fd >= 0);
    outer(loop, 1);
    mc_timer_cancel(loop, &early);
    mc_loop_turn(loop, 0);
    CHECK(!readable(fd, 0));
    mc_mailbox_post(loop, &message);
    outer(loop, 2);
    mc_loop_defer(loop, &deferred);
    outer(loop, 3);
    mc_timer_arm(loop, &timer, 100000);
    mc_timer_arm(loop, &timer, 5); /* forward */
    outer(loop, 4);
    mc_timer_arm(loop, &timer, 5);
    mc_timer_arm(loop, &timer, 30); /* back: one idle wake at most */
    uint64_t armed = mc_loop_now_ms(loop);
    outer(loop, 5);
    CHECK(mc_loop_now_ms(loop) - armed >= 30);
    mc_timer_arm(loop, &timer, 0);
    outer(loop, 6);
    mc_io_inject(loop, &w.io, MC_READ);
    CHECK(readable(fd, 0));
    CHECK_INT(mc_loop_turn(loop, 0), 1);
    mc_timer_arm(loop, &timer, UINT64_MAX);
    mc_loop_turn(loop, 0);
    CHECK(!readable(fd, 0));
    mc_timer_cancel(loop, &timer);
    mc_io_close(loop, &w.io);
    mc_loop_free(loop);
}

static mc_loop *again_loop;
static void inject_again(mc_io *io, uint32_t events) {
    if (++MC_CONTAINER(io, watcher, io)->calls < 5) {
        mc_io_inject(again_loop, io, MC_OWN);
    }
}

TEST(work_left_by_an_embedded_turn_keeps_the_descriptor_readable) {
    mc_loop *loop = again_loop = mc_loop_new_epoll(1);
    int fd = mc_loop_fd(loop);
    watcher w = {0};
    CHECK_INT(mc_io_open(loop, &w.io, -1, false, inject_again), MC_OK);
    mc_io_inject(loop, &w.io, MC_OWN);
    while (w.calls < 5) {
        CHECK(readable(fd, 1000));
        CHECK(mc_loop_turn(loop, 0) >= 0);
    }
    mc_loop_turn(loop, 0);
    CHECK(!readable(fd, 0));
    mc_io_close(loop, &w.io);
    mc_loop_free(loop);
}

TEST(a_timer_that_fires_and_rearms_stays_on_the_descriptor) {
    mc_loop *loop = mc_loop_new_epoll(1);
    mc_loop_fd(loop);
    mc_timer timer = {.fire = count_timer};
    fired = 0;
    for (unsigned i = 1; i <= 5; i++) {
        mc_timer_arm(loop, &timer, 2);
        outer(loop, i);
    }
    mc_loop_free(loop);
}

static void on_alarm(int number) {}

TEST(a_signal_ends_the_wait_without_an_error) {
    mc_loop *loop = mc_loop_new_epoll(1);
    struct sigaction old, action = {.sa_handler = on_alarm};
    CHECK_INT(sigaction(SIGALRM, &action, &old), 0);
    struct itimerval soon = {.it_value = {.tv_usec = 20000}};
    CHECK_INT(setitimer(ITIMER_REAL, &soon, NULL), 0);
    CHECK_INT(mc_loop_turn(loop, 60000), 0);
    CHECK_INT(sigaction(SIGALRM, &old, NULL), 0);
    mc_loop_free(loop);
}

TEST(an_io_that_cannot_be_watched_is_an_error) {
    mc_loop *loop = mc_loop_new_epoll(1);
    watcher w = {0};
    int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC); /* regular: epoll refuses it */
    CHECK_INT(mc_io_open(loop, &w.io, file, false, watched), MC_ESYS);
    mc_io_close(loop, &w.io);
    CHECK_INT(fcntl(file, F_GETFD), -1); /* taken over all the same */
    int fds[2];
    socket_pair(fds);
    mc_loop *fresh = mc_loop_new_epoll(1);
    mc_test_alloc_fail_at(1);
    CHECK_INT(mc_io_open(fresh, &w.io, fds[0], false, watched), MC_ENOMEM);
    mc_test_alloc_fail_at(0);
    mc_io_close(fresh, &w.io);
    close(fds[1]);
    mc_loop_free(fresh);
    mc_loop_free(loop);
}
