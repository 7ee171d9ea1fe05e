/* The memory transport: its faults and delays, replay from a seed, and every allocation failing once. */
#include "base/hash.h"
#include "pair.h"

static void say(peer *p, const char *text) { CHECK_INT(mc_conn_write(&p->conn, mc_slice_cstr(text)), MC_OK); }
#define CHECK_GOT(peer_, text) CHECK_SLICE(mc_slice_of((peer_)->got, (peer_)->got_n), text)

TEST(a_connect_in_memory_is_told) {
    pair p = {.loop = mc_loop_new_virtual(1)};
    p.net = mc_net_new(p.loop);
    CHECK(p.net != NULL);
    CHECK_INT(mc_conn_memory_connect(&p.a.conn, p.net, &peer_events, &p.b.conn, p.net, &peer_events, NULL), MC_OK);
    say(&p.a, "early");
    CHECK_INT(p.a.log_n, 0);
    UNTIL(&p, p.b.got_n == 5);
    CHECK_INT(p.a.log[0], 'C');
    CHECK_INT(peer_times(&p.b, 'C'), 0);
    pair_close(&p);
}

TEST(a_reset_reaches_both_after_what_had_arrived) {
    pair p;
    pair_open(&p, MEMORY_VIRTUAL, &(mc_memory_options){.max_delay_ms = 100});
    mc_conn_pause_reading(&p.b.conn);
    say(&p.a, "arrived");
    settle(&p);
    say(&p.a, "in flight");
    mc_loop_turn(p.loop, 0);
    mc_memory_reset(&p.a.conn);
    settle(&p);
    CHECK(p.a.closed && !p.b.closed);
    CHECK_INT(p.a.reason, MC_CLOSE_RESET);
    mc_conn_resume_reading(&p.b.conn);
    settle(&p);
    CHECK_INT(p.b.reason, MC_CLOSE_RESET);
    CHECK_GOT(&p.b, "arrived");
    mc_memory_reset(&p.a.conn); /* closed: ignored */
    mc_memory_stall(&p.a.conn, true);
    pair_close(&p);
}

TEST(a_stall_holds_bytes_and_fin_until_lifted) {
    pair p;
    pair_open(&p, MEMORY_VIRTUAL, NULL);
    mc_memory_stall(&p.a.conn, true);
    say(&p.a, "late");
    mc_conn_shutdown_write(&p.a.conn);
    say(&p.b, "the other way is free");
    settle(&p);
    CHECK_U64(p.b.got_n, 0);
    CHECK_GOT(&p.a, "the other way is free");
    mc_memory_stall(&p.a.conn, false);
    UNTIL(&p, peer_times(&p.b, 'E') == 1);
    CHECK_GOT(&p.b, "late");
    pair_close(&p);
}

TEST(capacity_is_back_pressure) {
    pair p;
    pair_open(&p, MEMORY_VIRTUAL, &(mc_memory_options){.capacity = 10});
    mc_conn_pause_reading(&p.b.conn);
    say(&p.a, "0123456789abcdef");
    settle(&p);
    CHECK_U64(mc_conn_buffered(&p.a.conn), 6);
    mc_conn_resume_reading(&p.b.conn);
    UNTIL(&p, p.b.got_n == 16);
    CHECK_GOT(&p.b, "0123456789abcdef");
    CHECK_INT(peer_times(&p.a, 'F'), 1);
    pair_close(&p);
}

TEST(delays_take_time_and_keep_the_order) {
    pair p;
    pair_open(&p, MEMORY_VIRTUAL, &(mc_memory_options){.max_delay_ms = 1000});
    for (char c = 'a'; c <= 'z'; c++) {
        CHECK_INT(mc_conn_write(&p.a.conn, mc_slice_of(&c, 1)), MC_OK);
        mc_loop_turn(p.loop, 0);
    }
    UNTIL(&p, p.b.got_n == 26);
    CHECK_GOT(&p.b, "abcdefghijklmnopqrstuvwxyz");
    CHECK(mc_loop_now_ms(p.loop) > 0);
    pair_close(&p);
}

/* An echo under splits and delays; the digest covers every delivery and its time. */
static uint64_t replay(uint64_t seed) {
    enum { N = 50000 };
    static char bytes[N];
    pair p = {.loop = mc_loop_new_virtual(seed)};
    p.net = mc_net_new(p.loop);
    CHECK(p.net != NULL);
    mc_memory_options options = {.capacity = 3000, .split = true, .max_delay_ms = 7};
    CHECK_INT(mc_conn_memory_pair(&p.a.conn, p.net, &peer_events, &p.b.conn, p.net, &peer_events, &options), MC_OK);
    for (size_t i = 0; i < N; i++) {
        bytes[i] = (char)(i * 7 + i / 251);
    }
    p.b.forward = &p.b;
    CHECK_INT(mc_conn_write(&p.a.conn, mc_slice_of(bytes, N)), MC_OK);
    uint64_t digest = 0;
    while (p.a.got_n < N) {
        CHECK(mc_loop_turn(p.loop, -1) > 0);
        uint64_t now[] = {mc_loop_now_us(p.loop), p.a.got_n, p.b.got_n};
        digest = mc_xxh64(now, sizeof now, digest);
    }
    CHECK(memcmp(p.a.got, bytes, N) == 0);
    pair_close(&p);
    return digest;
}

TEST(a_seed_replays) {
    uint64_t first = replay(5);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        CHECK((replay(seed) == first) == (seed == 5));
    }
}

/* Opens, talks, half-closes; whatever fails, each opened side gets exactly one on_close and nothing is kept. */
static bool talk(void) {
    pair p = {.loop = mc_loop_new_virtual(2)};
    p.net = p.loop == NULL ? NULL : mc_net_new(p.loop);
    mc_memory_options options = {.capacity = 20000, .split = true, .max_delay_ms = 3};
    static char bytes[40000];
    bool opened = p.net != NULL && mc_conn_memory_pair(&p.a.conn, p.net, &peer_events, &p.b.conn, p.net, &peer_events,
                                                       &options) == MC_OK;
    if (!opened) {
        mc_net_free(p.net);
        mc_loop_free(p.loop);
        return false;
    }
    p.b.forward = &p.b;
    p.b.leave = 1;
    char *scratch = mc_net_scratch(p.net, 100);
    if (scratch != NULL) {
        memset(scratch, 's', 100);
        (void)mc_conn_write(&p.a.conn, mc_slice_of(scratch, 100));
    }
    (void)mc_conn_write(&p.a.conn, mc_slice_of(bytes, sizeof bytes));
    mc_conn_shutdown_write(&p.a.conn);
    settle(&p);
    bool whole = p.b.got_n == sizeof bytes + 99 && peer_times(&p.b, 'E') == 1;
    pair_close(&p);
    return whole;
}

TEST(every_failed_allocation_is_survived) {
    bool whole = false;
    long n = 1;
    for (; !whole && n < 1000; n++) {
        long live = mc_test_alloc_live();
        mc_test_alloc_fail_at(n);
        whole = talk();
        mc_test_alloc_fail_at(0);
        CHECK_INT(mc_test_alloc_live(), live);
    }
    CHECK(whole && n > 10);
}
