#include "base/token_bucket.h"

#include <pthread.h>

#include "../test.h"

#define MS UINT64_C(1000000)

TEST(starts_full_and_refills_with_time) { /* FL-30: 10 tokens, 5 each 100 ms, so one each 20 ms */
    uint64_t now = 123456789;
    mc_token_bucket bucket;
    CHECK_INT(mc_token_bucket_init(&bucket, now, 10, 5, 100 * MS), MC_OK);
    for (int i = 0; i < 10; i++) {
        CHECK(mc_token_bucket_consume(&bucket, now, 1));
    }
    CHECK(!mc_token_bucket_consume(&bucket, now, 1));
    CHECK(!mc_token_bucket_consume(&bucket, now + 20 * MS - 1, 1));
    CHECK_U64(mc_token_bucket_wait(&bucket, now, 1), 20 * MS);
    CHECK_U64(mc_token_bucket_wait(&bucket, now + 5 * MS, 1), 15 * MS);
    CHECK(mc_token_bucket_consume(&bucket, now + 20 * MS, 1)); /* not in ticks of 100 ms */
    CHECK(!mc_token_bucket_consume(&bucket, now + 20 * MS, 1));
    now += 20 * MS + 50 * MS;
    CHECK(mc_token_bucket_tokens(&bucket, now) == 2.5);
    CHECK(!mc_token_bucket_consume(&bucket, now, 3)); /* refused whole */
    CHECK(mc_token_bucket_tokens(&bucket, now) == 2.5);
    CHECK(mc_token_bucket_consume(&bucket, now, 2));
    now += 3600 * 1000 * MS; /* no more than full */
    CHECK(mc_token_bucket_tokens(&bucket, now) == 10);
    CHECK(mc_token_bucket_consume(&bucket, now, 10));
    CHECK(!mc_token_bucket_consume(&bucket, now, 1));
}

TEST(thirds_add_up) {
    mc_token_bucket bucket;
    CHECK_INT(mc_token_bucket_init(&bucket, 0, 3000, 3, 1000 * MS), MC_OK);
    for (int i = 0; i < 3000; i++) {
        CHECK(mc_token_bucket_consume(&bucket, 0, 1));
    }
    CHECK(!mc_token_bucket_consume(&bucket, 0, 1));
    int taken = 0;
    for (uint64_t now = 0; now <= 1000 * 1000 * MS; now += 10 * MS) {
        taken += mc_token_bucket_consume(&bucket, now, 1);
    }
    CHECK_INT(taken, 3000); /* what a step finds too late the next one finds: nothing is lost */
}

TEST(bounds) {
    mc_token_bucket bucket;
    CHECK_INT(mc_token_bucket_init(&bucket, 0, -1, 1, 1), MC_EINVAL);
    CHECK_INT(mc_token_bucket_init(&bucket, 0, 0, 1, 1), MC_OK);
    CHECK(!mc_token_bucket_consume(&bucket, 1000 * MS, 1)); /* never has a token */
    CHECK(mc_token_bucket_wait(&bucket, 1000 * MS, 1) == UINT64_MAX);
    CHECK_INT(mc_token_bucket_init(&bucket, 0, 1, 0, 1), MC_EINVAL);
    CHECK_INT(mc_token_bucket_init(&bucket, 0, 1, 1, 0), MC_EINVAL);
    CHECK_INT(mc_token_bucket_init(&bucket, 100, 1, 1, 1000 * MS), MC_OK);
    CHECK(!mc_token_bucket_consume(&bucket, 100, 2));
    CHECK_U64(mc_token_bucket_wait(&bucket, 100, 2), UINT64_MAX);
    CHECK_U64(mc_token_bucket_wait(&bucket, 100, 1), 0);
    CHECK(mc_token_bucket_consume(&bucket, 50, 1)); /* a clock behind the start counts as the start */
    CHECK(!mc_token_bucket_consume(&bucket, 100, 1));
    CHECK(mc_token_bucket_consume(&bucket, 100, 0));
}

static mc_token_bucket shared;
static atomic_int granted;

static void *consumer(void *arg) {
    for (uint64_t now = 0; now < 20000; now++) {
        if (mc_token_bucket_consume(&shared, now, 1)) {
            atomic_fetch_add(&granted, 1);
        }
    }
    return arg;
}

/* 100 at the start and one each 100 ns for 20,000 ns, however many ask. */
TEST(threads_share_it) {
    pthread_t threads[4];
    atomic_store(&granted, 0);
    CHECK_INT(mc_token_bucket_init(&shared, 0, 100, 1, 100), MC_OK);
    for (size_t i = 0; i < 4; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, consumer, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(atomic_load(&granted), 100 + 199);
}
