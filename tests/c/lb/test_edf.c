#include "lb/edf.h"
#include "test.h"

static const double WEIGHTS[] = {2, 3, 7};

static double weight_of(void *ctx, uint32_t item) { return ((const double *)ctx)[item]; }

static void check_picks(mc_edf *edf, const double *weights, const uint32_t *expected, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t item = UINT32_MAX;
        CHECK(mc_edf_pick(edf, weight_of, (void *)weights, &item));
        CHECK_INT(item, expected[i]);
        CHECK(mc_edf_check(edf));
    }
}

TEST(empty_has_no_pick) {
    mc_edf edf;
    uint32_t item;
    mc_edf_init(&edf);
    CHECK(!mc_edf_pick(&edf, weight_of, NULL, &item));
    CHECK_INT(mc_edf_peek(&edf, weight_of, NULL, &item), MC_ENOTFOUND);
    CHECK_INT(mc_edf_seed(&edf, 0, weight_of, NULL, 5), MC_OK);
    CHECK(!mc_edf_pick(&edf, weight_of, NULL, &item));
    mc_edf_fini(&edf);
}

/* The example of rule ED-3, unseeded. */
TEST(weights_2_3_7_added_one_by_one) {
    static const uint32_t expected[] = {2, 2, 1, 2, 0, 2, 1, 2, 2, 2, 0, 1};
    mc_edf edf;
    mc_edf_init(&edf);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_INT(mc_edf_add(&edf, WEIGHTS[i], i), MC_OK);
    }
    check_picks(&edf, WEIGHTS, expected, 12);
    mc_edf_fini(&edf);
}

/* The example of rule ED-3, seeded; a seed is taken modulo 2^32, then modulo 429496729. */
TEST(weights_2_3_7_seeded_with_5) {
    static const uint32_t expected[] = {2, 1, 2, 2, 0, 1, 2};
    static const uint64_t seeds[] = {5, (1ull << 32) + 5, 429496729 + 5};
    for (size_t i = 0; i < 3; i++) {
        mc_edf edf;
        mc_edf_init(&edf);
        CHECK_INT(mc_edf_seed(&edf, 3, weight_of, (void *)WEIGHTS, seeds[i]), MC_OK);
        check_picks(&edf, WEIGHTS, expected, 7);
        mc_edf_fini(&edf);
    }
}

TEST(any_seed_keeps_the_proportions) {
    static const double weights[] = {1, 10, 100, 3, 3};
    for (uint64_t seed = 0; seed < 2000; seed += 7) {
        int counts[5] = {0};
        mc_edf edf;
        mc_edf_init(&edf);
        CHECK_INT(mc_edf_seed(&edf, 5, weight_of, (void *)weights, seed * 0x9e3779b97f4a7c15ull), MC_OK);
        for (int i = 0; i < 1170; i++) {
            uint32_t item = 0;
            CHECK(mc_edf_pick(&edf, weight_of, (void *)weights, &item));
            counts[item]++;
        }
        for (int i = 0; i < 5; i++) {
            CHECK(abs(counts[i] - (int)(10 * weights[i])) <= 1);
        }
        mc_edf_fini(&edf);
    }
}

TEST(peeked_items_come_first_and_in_order) {
    static const uint32_t plain[] = {2, 2, 1, 2, 0, 2, 1};
    mc_edf edf;
    mc_edf_init(&edf);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_INT(mc_edf_add(&edf, WEIGHTS[i], i), MC_OK);
    }
    for (size_t i = 0; i < 3; i++) {
        uint32_t item = UINT32_MAX;
        CHECK_INT(mc_edf_peek(&edf, weight_of, (void *)WEIGHTS, &item), MC_OK);
        CHECK_INT(item, plain[i]);
    }
    check_picks(&edf, WEIGHTS, plain, 7);
    mc_edf_fini(&edf);
}

TEST(weight_is_asked_for_at_the_pick) {
    double weights[] = {1, 1};
    static const uint32_t before[] = {0, 1}, after[] = {0, 0, 0, 1};
    mc_edf edf;
    mc_edf_init(&edf);
    CHECK_INT(mc_edf_add(&edf, 1, 0), MC_OK);
    CHECK_INT(mc_edf_add(&edf, 1, 1), MC_OK);
    check_picks(&edf, weights, before, 2);
    weights[0] = 4; /* counts from the next time item 0 is put back */
    check_picks(&edf, weights, after, 1);
    check_picks(&edf, weights, (const uint32_t[]){1, 0, 0, 0}, 4);
    mc_edf_fini(&edf);
}

TEST(allocation_failures_are_returned) {
    mc_edf edf;
    uint32_t item;
    mc_edf_init(&edf);
    mc_test_alloc_fail_at(1);
    CHECK_INT(mc_edf_add(&edf, 1, 0), MC_ENOMEM);
    mc_test_alloc_fail_at(1);
    CHECK_INT(mc_edf_seed(&edf, 3, weight_of, (void *)WEIGHTS, 1), MC_ENOMEM);
    CHECK_INT(mc_edf_add(&edf, 1, 0), MC_OK);
    mc_test_alloc_fail_at(1);
    CHECK_INT(mc_edf_peek(&edf, weight_of, (void *)WEIGHTS, &item), MC_ENOMEM);
    mc_edf_fini(&edf);
}
