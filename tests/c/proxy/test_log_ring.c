/* The ring between a worker and the writer of access logs: order, wrap-around, what does not fit. */
#include "proxy/log_ring.h"

#include <pthread.h>

#include "test.h"

typedef struct item {
    mc_log_entry entry;
    uint64_t number, extra, unused; /* a multiple of 16 bytes in all */
} item;

/* One record of `number`, with `extra` bytes behind it. False: dropped. */
static bool put(mc_log_ring *ring, uint64_t number, size_t extra) {
    mc_log_span span;
    if (!mc_log_ring_begin(ring, &span)) {
        return false;
    }
    for (int round = 0; round < 2; round++) {
        item *made = mc_log_span_take(&span, sizeof *made);
        char *more = mc_log_span_take(&span, extra);
        if (made != NULL && more != NULL) {
            made->number = number;
            made->extra = extra;
            memset(more, (int)number & 0xff, extra);
            (void)mc_log_ring_publish(ring, &span);
            return true;
        }
        if (round == 0 && !mc_log_ring_retry(ring, &span)) {
            return false;
        }
    }
    mc_log_ring_give_up(ring);
    return false;
}

static bool take(mc_log_ring *ring, uint64_t *number) {
    const item *found = (const item *)mc_log_ring_next(ring);
    if (found == NULL) {
        return false;
    }
    *number = found->number;
    const char *more = (const char *)(found + 1);
    for (size_t i = 0; i < found->extra; i++) {
        CHECK_INT((unsigned char)more[i], (int)*number & 0xff);
    }
    mc_log_ring_release(ring, &found->entry);
    return true;
}

TEST(in_order_around_the_end) {
    mc_log_ring ring = {0};
    uint64_t written = 0, read = 0, number;
    while (written < 20000) { /* several times around, in pieces that never divide the ring */
        size_t extra = 1000 + written * 37 % 5000;
        if (put(&ring, written, extra)) {
            written++;
        }
        while (read + 100 < written) {
            CHECK(take(&ring, &number));
            CHECK_INT(number, read);
            read++;
        }
    }
    for (; read < written; read++) {
        CHECK(take(&ring, &number));
        CHECK_INT(number, read);
    }
    CHECK(mc_log_ring_empty(&ring) && !take(&ring, &number));
    CHECK_INT(atomic_load(&ring.dropped), 0);
    mc_log_ring_fini(&ring);
}

TEST(a_full_ring_drops_and_counts) {
    mc_log_ring ring = {0};
    uint64_t written = 0, number;
    while (put(&ring, written, 10000)) {
        written++;
    }
    CHECK(written > 400);
    CHECK(!put(&ring, written, 10000));
    CHECK_INT(atomic_load(&ring.dropped), 2);
    CHECK(take(&ring, &number) && take(&ring, &number));
    CHECK(put(&ring, written, 10000));
    for (uint64_t i = 2; i <= written; i++) {
        CHECK(take(&ring, &number));
        CHECK_INT(number, i);
    }
    mc_log_ring_fini(&ring);
}

TEST(what_never_fits_is_dropped) {
    mc_log_ring ring = {0};
    uint64_t number;
    CHECK(!put(&ring, 1, MC_LOG_RING_BYTES));
    CHECK(put(&ring, 2, 100));
    CHECK(!put(&ring, 3, MC_LOG_RING_BYTES));
    CHECK(take(&ring, &number));
    CHECK_INT(number, 2);
    CHECK(put(&ring, 4, 100) && take(&ring, &number));
    CHECK_INT(number, 4);
    CHECK_INT(atomic_load(&ring.dropped), 2);
    mc_log_ring_fini(&ring);
}

enum { MANY = 200000 };

static void *produce(void *ring) {
    for (uint64_t i = 0; i < MANY;) {
        i += put(ring, i, i % 300);
    }
    return NULL;
}

TEST(two_threads) {
    mc_log_ring ring = {0};
    pthread_t producer;
    uint64_t number;
    CHECK_INT(pthread_create(&producer, NULL, produce, &ring), 0);
    for (uint64_t read = 0; read < MANY;) {
        if (take(&ring, &number)) {
            CHECK_INT(number, read);
            read++;
        }
    }
    pthread_join(producer, NULL);
    mc_log_ring_fini(&ring);
}
