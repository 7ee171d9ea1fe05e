/* Connections: every promise of conn.h, over memory and over loopback TCP. */
#include "pair.h"

#define EACH_MEDIUM(p, options)                                                                                        \
    pair p##_storage, *p = &p##_storage;                                                                               \
    for (medium how = 0; how < MEDIA; how++)                                                                           \
        for (bool once_ = (pair_open(p, how, options), true); once_; once_ = (pair_close(p), false))

#define CHECK_GOT(peer_, text) CHECK_SLICE(mc_slice_of((peer_)->got, (peer_)->got_n), text)

static void say(peer *p, const char *text) { CHECK_INT(mc_conn_write(&p->conn, mc_slice_cstr(text)), MC_OK); }

/* n bytes that differ from their neighbours a page away. */
static char *pattern(size_t n) {
    char *bytes = malloc(n);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (char)(i * 31 + (i >> 8) * 7 + (i >> 16));
    }
    return bytes;
}

TEST(bytes_go_both_ways) {
    EACH_MEDIUM(p, NULL) {
        say(&p->a, "to b");
        say(&p->a, ", in two");
        say(&p->b, "to a");
        UNTIL(p, p->b.got_n == 12 && p->a.got_n == 4);
        CHECK_GOT(&p->b, "to b, in two");
        CHECK_GOT(&p->a, "to a");
        CHECK_U64(p->a.conn.tx_bytes, 12);
        CHECK_INT(peer_times(&p->a, 'F'), 0); /* nothing was ever buffered */
        CHECK_U64(p->b.conn.rx_bytes, 12);
        CHECK_INT(peer_times(&p->b, 'D'), 1);
    }
}

TEST(a_megabyte_arrives_whole_under_every_split) {
    enum { N = 1 << 20 };
    char *bytes = pattern(N);
    EACH_MEDIUM(
        p, (&(mc_memory_options){.capacity = 9000, .split = true, .max_delay_ms = how == MEMORY_VIRTUAL ? 20 : 0})) {
        CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, N)), MC_OK);
        UNTIL(p, p->b.got_n == N);
        CHECK(memcmp(p->b.got, bytes, N) == 0);
        CHECK(how == TCP || peer_times(&p->a, 'F') == 1); /* the kernel may take all at once */
        CHECK_U64(mc_conn_buffered(&p->a.conn), 0);
    }
    free(bytes);
}

TEST(what_is_left_is_offered_again_with_what_follows) {
    EACH_MEDIUM(p, NULL) {
        p->b.leave = 3;
        say(&p->a, "hello");
        UNTIL(p, p->b.got_n == 2);
        say(&p->a, "you");
        UNTIL(p, p->b.got_n == 5);
        CHECK_U64(p->b.offered_last, 6);
        CHECK_GOT(&p->b, "hello");
        p->b.leave = 0;
        mc_conn_pause_reading(&p->b.conn);
        mc_conn_resume_reading(&p->b.conn);
        UNTIL(p, p->b.got_n == 8);
        CHECK_GOT(&p->b, "helloyou");
        CHECK(p->b.conn.in.head == NULL);
    }
}

TEST(no_more_than_the_limit_is_kept) {
    enum { N = 4 * MC_NET_KEEP };
    char *bytes = pattern(N);
    EACH_MEDIUM(p, NULL) {
        p->b.leave = SIZE_MAX;
        CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, N)), MC_OK);
        settle(p);
        CHECK(p->b.conn.in.length >= MC_NET_KEEP && p->b.conn.in.length < MC_NET_KEEP + MC_NET_READ);
        p->b.leave = 0;
        mc_conn_pause_reading(&p->b.conn);
        mc_conn_resume_reading(&p->b.conn);
        UNTIL(p, p->b.got_n == N);
        CHECK(memcmp(p->b.got, bytes, N) == 0);
    }
    free(bytes);
}

TEST(pauses_are_counted) {
    EACH_MEDIUM(p, NULL) {
        mc_conn_pause_reading(&p->b.conn);
        mc_conn_pause_reading(&p->b.conn);
        say(&p->a, "x");
        settle(p);
        CHECK_U64(p->b.got_n, 0);
        mc_conn_resume_reading(&p->b.conn);
        settle(p);
        CHECK_U64(p->b.got_n, 0);
        mc_conn_resume_reading(&p->b.conn);
        CHECK_U64(p->b.got_n, 0); /* not inline */
        UNTIL(p, p->b.got_n == 1);
    }
}

TEST(a_pause_inside_on_data_holds_back_the_rest) {
    EACH_MEDIUM(p, NULL) {
        p->b.pause_on_data = true;
        p->b.consume_most = 2;
        say(&p->a, "abcdef");
        UNTIL(p, p->b.got_n == 2);
        settle(p);
        CHECK_U64(p->b.got_n, 2);
        for (size_t n = 4; n <= 6; n += 2) {
            mc_conn_resume_reading(&p->b.conn);
            UNTIL(p, p->b.got_n == n);
        }
        CHECK_GOT(&p->b, "abcdef");
    }
}

TEST(a_resume_inside_on_data_offers_the_rest_at_once) {
    EACH_MEDIUM(p, NULL) {
        p->b.pause_on_data = p->b.resume_on_data = true;
        p->b.consume_most = 2;
        say(&p->a, "abcdef");
        UNTIL(p, p->b.got_n == 6);
        CHECK_INT(peer_times(&p->b, 'D'), 3);
    }
}

TEST(a_reader_without_progress_is_not_asked_again) {
    EACH_MEDIUM(p, NULL) {
        p->b.pause_on_data = p->b.resume_on_data = true;
        p->b.leave = 100;
        say(&p->a, "half a line");
        settle(p);
        CHECK_INT(peer_times(&p->b, 'D'), 1);
    }
}

TEST(one_connection_reads_a_bounded_share_of_a_turn) {
    enum { N = 4 << 20 };
    char *bytes = pattern(N);
    pair storage, *p = &storage;
    pair_open(p, MEMORY_VIRTUAL, &(mc_memory_options){.capacity = N});
    CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, N)), MC_OK);
    for (size_t before = 0; p->b.got_n < N; before = peer_times(&p->b, 'D')) {
        CHECK(mc_loop_turn(p->loop, -1) > 0);
        CHECK(peer_times(&p->b, 'D') - before <= MC_NET_READ_ROUNDS);
    }
    pair_close(p);
    free(bytes);
}

TEST(low_is_half_of_high) {
    enum { CAPACITY = 100 };
    static const char bytes[1600];
    pair storage, *p = &storage;
    pair_open(p, MEMORY_VIRTUAL, &(mc_memory_options){.capacity = CAPACITY});
    p->a.conn.high_watermark = 1000;
    mc_conn_pause_reading(&p->b.conn);
    CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, 1000 + CAPACITY)), MC_OK);
    settle(p);
    CHECK_U64(mc_conn_buffered(&p->a.conn), 1000);
    CHECK_INT(peer_times(&p->a, 'H'), 0); /* above, not at */
    CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, 1)), MC_OK);
    settle(p);
    CHECK_INT(peer_times(&p->a, 'H'), 1);
    mc_conn_resume_reading(&p->b.conn);
    while (mc_conn_buffered(&p->a.conn) > 500) {
        CHECK_INT(peer_times(&p->a, 'L'), 0);
        CHECK(mc_loop_turn(p->loop, -1) > 0);
    }
    CHECK_INT(peer_times(&p->a, 'L'), 1);
    CHECK(mc_conn_buffered(&p->a.conn) > 400);
    pair_close(p);
}

TEST(watermarks_tell_once_each_way) {
    enum { N = 8 << 20 };
    char *bytes = pattern(N);
    EACH_MEDIUM(p, NULL) {
        p->a.conn.high_watermark = 100000;
        mc_conn_pause_reading(&p->b.conn);
        CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, N)), MC_OK);
        CHECK_INT(peer_times(&p->a, 'H'), 0); /* never inline */
        settle(p);
        CHECK_INT(peer_times(&p->a, 'H'), 1);
        CHECK_INT(peer_times(&p->a, 'L'), 0);
        say(&p->a, "more");
        settle(p);
        CHECK_INT(peer_times(&p->a, 'H'), 1);
        mc_conn_resume_reading(&p->b.conn);
        UNTIL(p, p->b.got_n == N + 4);
        UNTIL(p, peer_times(&p->a, 'F') == 1);
        CHECK_INT(peer_times(&p->a, 'H'), 1);
        CHECK_INT(peer_times(&p->a, 'L'), 1);
    }
    free(bytes);
}

TEST(what_on_drained_writes_goes_out_before_its_close) {
    enum { N = 8 << 20 };
    char *bytes = pattern(N);
    EACH_MEDIUM(p, NULL) {
        p->a.last_words = "the end";
        CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, N)), MC_OK);
        UNTIL(p, p->a.closed && peer_times(&p->b, 'E') == 1);
        CHECK_U64(p->b.got_n, N + 7);
    }
    free(bytes);
}

TEST(the_answer_to_kept_bytes_goes_out_before_the_remote_close) {
    EACH_MEDIUM(p, NULL) {
        p->b.conn.events = &peer_events_no_eof;
        p->b.forward = &p->b;
        p->b.pause_on_data = true;
        p->b.consume_most = 3;
        say(&p->a, "oneTWO");
        UNTIL(p, p->a.got_n == 3);
        mc_conn_shutdown_write(&p->a.conn);
        settle(p);
        p->b.pause_on_data = false;
        mc_conn_resume_reading(&p->b.conn);
        UNTIL(p, p->b.closed && p->a.got_n == 6);
        CHECK_GOT(&p->a, "oneTWO");
        CHECK_INT(p->b.reason, MC_CLOSE_REMOTE);
    }
}

TEST(a_forwarder_borrows_the_read_buffer) {
    enum { N = 3 << 20 };
    char *bytes = pattern(N);
    EACH_MEDIUM(p, NULL) {
        /* b echoes to itself: every read is written back to a from the shared read buffer. */
        p->b.forward = &p->b;
        for (size_t sent = 0; sent < N; sent += 65536) {
            CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes + sent, 65536)), MC_OK);
        }
        UNTIL(p, p->a.got_n == N);
        CHECK(memcmp(p->a.got, bytes, N) == 0);
    }
    free(bytes);
}

TEST(half_close_delivers_all_then_eof_and_the_way_back_stays) {
    EACH_MEDIUM(p, NULL) {
        say(&p->a, "last words");
        mc_conn_shutdown_write(&p->a.conn);
        CHECK_INT(mc_conn_write(&p->a.conn, MC_SLICE("x")), MC_ECLOSED);
        UNTIL(p, peer_times(&p->b, 'E') == 1);
        CHECK_GOT(&p->b, "last words");
        say(&p->b, "heard");
        UNTIL(p, p->a.got_n == 5);
        mc_conn_close(&p->b.conn, true);
        UNTIL(p, p->b.closed && peer_times(&p->a, 'E') == 1);
        CHECK_INT(p->b.reason, MC_CLOSE_LOCAL);
    }
}

TEST(eof_without_a_listener_is_a_remote_close) {
    EACH_MEDIUM(p, NULL) {
        p->b.conn.events = &peer_events_no_eof;
        say(&p->a, "bye");
        mc_conn_close(&p->a.conn, true);
        UNTIL(p, p->a.closed && p->b.closed);
        CHECK_GOT(&p->b, "bye");
        CHECK_INT(p->b.reason, MC_CLOSE_REMOTE);
    }
}

TEST(a_pause_holds_back_the_eof_too) {
    EACH_MEDIUM(p, NULL) {
        mc_conn_pause_reading(&p->b.conn);
        say(&p->a, "bye");
        mc_conn_close(&p->a.conn, true);
        UNTIL(p, p->a.closed);
        settle(p);
        CHECK_INT(p->b.log_n, 0);
        mc_conn_resume_reading(&p->b.conn);
        UNTIL(p, peer_times(&p->b, 'E') == 1);
        CHECK_GOT(&p->b, "bye");
    }
}

TEST(the_eof_waits_for_a_pause_in_its_own_round) {
    EACH_MEDIUM(p, NULL) {
        p->b.pause_on_data = true;
        p->b.consume_most = 2;
        say(&p->a, "abcdef");
        mc_conn_shutdown_write(&p->a.conn);
        UNTIL(p, p->b.got_n == 2);
        settle(p);
        for (size_t n = 4; n <= 6; n += 2) {
            CHECK_INT(peer_times(&p->b, 'E'), 0);
            mc_conn_resume_reading(&p->b.conn);
            UNTIL(p, p->b.got_n == n);
            settle(p);
        }
        CHECK_INT(peer_times(&p->b, 'E'), 0);
        mc_conn_resume_reading(&p->b.conn);
        UNTIL(p, peer_times(&p->b, 'E') == 1);
    }
}

TEST(close_drops_what_flush_would_send) {
    EACH_MEDIUM(p, NULL) {
        say(&p->a, "never sent");
        mc_conn_close(&p->a.conn, false);
        CHECK(!p->a.closed); /* never inline */
        CHECK_INT(mc_conn_write(&p->a.conn, MC_SLICE("x")), MC_ECLOSED);
        UNTIL(p, p->a.closed && peer_times(&p->b, 'E') == 1);
        CHECK_INT(p->a.reason, MC_CLOSE_LOCAL);
        CHECK_U64(p->b.got_n, 0);
    }
}

TEST(flush_waits_for_a_slow_peer) {
    enum { N = 8 << 20 };
    char *bytes = pattern(N);
    EACH_MEDIUM(p, NULL) {
        mc_conn_pause_reading(&p->b.conn);
        CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, N)), MC_OK);
        mc_conn_close(&p->a.conn, true);
        settle(p);
        CHECK(!p->a.closed);
        mc_conn_resume_reading(&p->b.conn);
        UNTIL(p, p->a.closed && peer_times(&p->b, 'E') == 1);
        CHECK_INT(p->a.reason, MC_CLOSE_LOCAL);
        CHECK_U64(p->b.got_n, N);
    }
    free(bytes);
}

TEST(linger_gets_the_answer_to_a_peer_that_still_sends) {
    enum { N = 2 << 20 };
    char *bytes = pattern(N);
    EACH_MEDIUM(p, NULL) {
        CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, N)), MC_OK);
        p->b.pause_on_data = true;
        UNTIL(p, p->b.got_n > 0);
        say(&p->b, "too large");
        mc_conn_close_linger(&p->b.conn);
        UNTIL(p, peer_times(&p->a, 'E') == 1);
        CHECK_GOT(&p->a, "too large");
        CHECK(!p->b.closed);
        mc_conn_close(&p->a.conn, true);
        UNTIL(p, p->b.closed);
        CHECK_INT(p->b.reason, MC_CLOSE_LOCAL);
    }
    free(bytes);
}

TEST(linger_reads_off_what_came_during_a_pause) {
    EACH_MEDIUM(p, NULL) {
        mc_conn_pause_reading(&p->b.conn);
        say(&p->a, "never read");
        mc_conn_shutdown_write(&p->a.conn);
        settle(p);
        say(&p->b, "no");
        mc_conn_close_linger(&p->b.conn);
        UNTIL(p, p->b.closed && peer_times(&p->a, 'E') == 1);
        CHECK_INT(p->b.reason, MC_CLOSE_LOCAL);
        CHECK_GOT(&p->a, "no");
    }
}

TEST(linger_after_the_peers_fin_and_a_small_answer) {
    EACH_MEDIUM(p, NULL) {
        mc_conn_shutdown_write(&p->a.conn);
        UNTIL(p, peer_times(&p->b, 'E') == 1);
        say(&p->b, "small");
        mc_conn_close_linger(&p->b.conn);
        UNTIL(p, p->b.closed && peer_times(&p->a, 'E') == 1);
        CHECK_INT(p->b.reason, MC_CLOSE_LOCAL);
    }
}

TEST(linger_after_the_peers_fin_only_flushes) {
    enum { N = 8 << 20 };
    char *bytes = pattern(N);
    EACH_MEDIUM(p, NULL) {
        mc_conn_shutdown_write(&p->a.conn);
        UNTIL(p, peer_times(&p->b, 'E') == 1);
        CHECK_INT(mc_conn_write(&p->b.conn, mc_slice_of(bytes, N)), MC_OK);
        mc_conn_close_linger(&p->b.conn);
        UNTIL(p, p->b.closed && peer_times(&p->a, 'E') == 1);
        CHECK_INT(p->b.reason, MC_CLOSE_LOCAL);
        CHECK_U64(p->a.got_n, N);
    }
    free(bytes);
}

TEST(a_reset_after_the_fin_is_noticed) {
    EACH_MEDIUM(p, NULL) {
        mc_conn_shutdown_write(&p->a.conn);
        UNTIL(p, peer_times(&p->b, 'E') == 1);
        mc_conn_pause_reading(&p->a.conn);
        say(&p->b, "unread");
        settle(p);
        mc_conn_close(&p->a.conn, false); /* with unread bytes: RST */
        UNTIL(p, p->b.closed);
        CHECK_INT(p->b.reason, MC_CLOSE_RESET);
    }
}

TEST(a_reset_ends_a_flush) {
    enum { N = 8 << 20 };
    char *bytes = pattern(N);
    EACH_MEDIUM(p, NULL) {
        mc_conn_pause_reading(&p->b.conn);
        CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes, N)), MC_OK);
        mc_conn_close(&p->a.conn, true);
        settle(p);
        mc_conn_close(&p->b.conn, false);
        UNTIL(p, p->a.closed);
        CHECK_INT(p->a.reason, MC_CLOSE_RESET);
    }
    free(bytes);
}

TEST(a_reset_is_told_as_reset) {
    EACH_MEDIUM(p, NULL) {
        mc_conn_pause_reading(&p->b.conn);
        say(&p->a, "unread");
        settle(p);
        mc_conn_close(&p->b.conn, false); /* with unread bytes: RST */
        UNTIL(p, p->a.closed);
        CHECK_INT(p->a.reason, MC_CLOSE_RESET);
    }
}

TEST(an_early_answer_survives_the_reset_that_follows_it) {
    EACH_MEDIUM(p, NULL) {
        mc_conn_pause_reading(&p->b.conn);
        say(&p->a, "unread");
        settle(p);
        say(&p->b, "no");
        settle(p);
        CHECK_GOT(&p->a, "no");
        say(&p->b, "go away");
        mc_conn_close(&p->b.conn, true);
        say(&p->a, "still sending"); /* runs into the reset */
        UNTIL(p, p->a.closed);
        CHECK_INT(p->a.reason, MC_CLOSE_RESET);
        CHECK_GOT(&p->a, "nogo away");
    }
}

TEST(close_inside_on_data_ends_delivery) {
    EACH_MEDIUM(p, NULL) {
        p->b.close_on_data = true;
        p->b.consume_most = 1;
        say(&p->a, "abc");
        UNTIL(p, p->b.closed);
        CHECK_U64(p->b.got_n, 1);
        CHECK_INT(p->b.reason, MC_CLOSE_LOCAL);
    }
}

TEST(abort_carries_the_owners_reason) {
    EACH_MEDIUM(p, NULL) {
        mc_conn_abort(&p->a.conn, MC_CLOSE_TIMEOUT);
        mc_conn_abort(&p->a.conn, MC_CLOSE_RESET);
        UNTIL(p, p->a.closed);
        CHECK_INT(p->a.reason, MC_CLOSE_TIMEOUT);
    }
}

TEST(more_pieces_than_a_block) {
    char *bytes = pattern(1000);
    EACH_MEDIUM(p, NULL) {
        for (size_t i = 0; i < 1000; i++) {
            CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(bytes + i, 1)), MC_OK);
        }
        UNTIL(p, p->b.got_n == 1000);
        CHECK(memcmp(p->b.got, bytes, 1000) == 0);
    }
    free(bytes);
}

TEST(a_refused_connect_is_told_later) {
    pair p = {.loop = mc_loop_new_epoll(1)};
    CHECK(p.loop != NULL);
    p.net = mc_net_new(p.loop);
    CHECK(p.net != NULL);
    mc_address bound;
    int fd = loopback_listen(&bound);
    mc_socket_close(fd);
    CHECK_INT(mc_conn_connect(&p.a.conn, p.net, &bound, &peer_events), MC_OK);
    say(&p.a, "into the void");
    CHECK(!p.a.closed);
    UNTIL(&p, p.a.closed);
    CHECK_INT(p.a.reason, MC_CLOSE_CONNECT_FAILED);
    CHECK_INT(peer_times(&p.a, 'C'), 0);
    pair_close(&p);
}

/* A connect under way, the other side behind a listener. */
static void pair_start(pair *p) {
    *p = (pair){.loop = mc_loop_new_epoll(1)};
    CHECK(p->loop != NULL);
    p->net = mc_net_new(p->loop);
    CHECK(p->net != NULL);
    mc_address bound;
    int fd = loopback_listen(&bound);
    CHECK_INT(mc_listener_open(&p->listener, p->net, fd, pair_accept), MC_OK);
    CHECK_INT(mc_conn_connect(&p->a.conn, p->net, &bound, &peer_events), MC_OK);
}

TEST(a_fin_asked_for_while_connecting) {
    pair p;
    pair_start(&p);
    mc_conn_shutdown_write(&p.a.conn);
    UNTIL(&p, peer_times(&p.b, 'E') == 1);
    pair_close(&p);
}

TEST(closing_while_connecting_is_a_local_close) {
    pair p;
    for (unsigned way = 0; way < 2; way++) {
        pair_start(&p);
        say(&p.a, "unsent");
        if (way == 0) {
            mc_conn_close_linger(&p.a.conn);
        } else {
            mc_conn_close(&p.a.conn, true);
        }
        UNTIL(&p, p.a.closed);
        CHECK_INT(p.a.reason, MC_CLOSE_LOCAL);
        CHECK_INT(peer_times(&p.a, 'C'), 0);
        mc_listener_close(&p.listener);
        pair_close(&p);
    }
}

TEST(writes_before_connected_wait) {
    pair p;
    pair_start(&p);
    say(&p.a, "early");
    mc_conn_shutdown_write(&p.a.conn);
    UNTIL(&p, peer_times(&p.b, 'E') == 1);
    CHECK_GOT(&p.b, "early");
    CHECK_INT(p.a.log[0], 'C');
    pair_close(&p);
}

TEST(an_idle_connection_is_small_and_holds_no_buffer) {
    CHECK(sizeof(mc_conn) <= 256);
    EACH_MEDIUM(p, NULL) {
        say(&p->a, "x");
        UNTIL(p, p->b.got_n == 1);
        CHECK(p->a.conn.out.head == NULL && p->a.conn.borrowed == NULL && p->b.conn.in.head == NULL);
    }
}

TEST(a_retired_buffer_lives_until_the_flush) {
    enum { N = 200000 };
    char *bytes = pattern(N);
    EACH_MEDIUM(p, NULL) {
        mc_buffer body;
        mc_buffer_init(&body, mc_net_chunks(p->net));
        CHECK_INT(mc_buffer_append(&body, mc_slice_of(bytes, N)), MC_OK);
        mc_slice pieces[32];
        size_t count = mc_buffer_pieces(&body, pieces, 32);
        for (size_t i = 0; i < count; i++) {
            CHECK_INT(mc_conn_write(&p->a.conn, pieces[i]), MC_OK);
        }
        mc_net_retire(p->net, &body);
        CHECK_U64(body.length, 0);
        mc_conn_close(&p->a.conn, true);
        UNTIL(p, p->b.got_n == N);
        CHECK(memcmp(p->b.got, bytes, N) == 0);
    }
    free(bytes);
}

TEST(what_a_callback_borrowed_does_not_pile_up) {
    pair storage, *p = &storage;
    pair_open(p, MEMORY_VIRTUAL, NULL);
    long live = 0, made = 0;
    for (unsigned i = 0; i < 50; i++) {
        if (i == 10) {
            live = mc_test_alloc_live();
            made = mc_test_alloc_count();
        }
        static const size_t sizes[] = {100, 16000, 400, 1};
        size_t total = 0;
        for (unsigned k = 0; k < 4; k++) {
            char *scratch = mc_net_scratch(p->net, sizes[k]);
            CHECK(scratch != NULL);
            memset(scratch, 'a' + (int)k, sizes[k]);
            CHECK_INT(mc_conn_write(&p->a.conn, mc_slice_of(scratch, sizes[k])), MC_OK);
            total += sizes[k];
        }
        mc_buffer retired;
        mc_buffer_init(&retired, mc_net_chunks(p->net));
        CHECK_INT(mc_buffer_append(&retired, MC_SLICE("r")), MC_OK);
        CHECK_INT(mc_conn_write(&p->a.conn, mc_buffer_front(&retired)), MC_OK);
        mc_net_retire(p->net, &retired);
        p->b.got_n = 0;
        UNTIL(p, p->b.got_n == total + 1);
        CHECK(p->b.got[0] == 'a' && p->b.got[100] == 'b' && p->b.got[16100] == 'c' && p->b.got[16500] == 'd' &&
              p->b.got[total] == 'r');
    }
    CHECK_INT(mc_test_alloc_live(), live);
    CHECK(mc_test_alloc_count() - made <= 40 * 5);
    CHECK(mc_net_chunks(p->net)->free_count <= 8);
    pair_close(p);
}

TEST(no_descriptor_is_left) {
    size_t before = open_fds();
    for (unsigned i = 0; i < 3; i++) {
        pair p;
        pair_open(&p, TCP, NULL);
        say(&p.a, "x");
        UNTIL(&p, p.b.got_n == 1);
        pair_close(&p);
    }
    CHECK_U64(open_fds(), before);
}
