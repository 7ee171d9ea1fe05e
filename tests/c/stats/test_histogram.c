#include <math.h>

#include "../test.h"
#include "stats/histogram.h"

TEST(bins_hold_two_digits) {
    static const struct {
        uint64_t value;
        double left, width;
    } cases[] = {
        {0, 0, 0},
        {1, 1, 0.1},
        {5, 5, 0.1},
        {9, 9, 0.1},
        {10, 10, 1},
        {57, 57, 1},
        {99, 99, 1},
        {100, 100, 10},
        {109, 100, 10},
        {110, 110, 10},
        {157, 150, 10},
        {999, 990, 10},
        {1000, 1000, 100},
        {1234567, 1.2e6, 1e5},
        {UINT64_MAX, 1.8e19, 1e18},
        {10000000000000000000u, 1e19, 1e18},
        {9999999999999999999u, 9.9e18, 1e17},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t id = mc_bin_id(cases[i].value);
        CHECK(id < MC_BIN_COUNT);
        CHECK(fabs(mc_bin_left(id) - cases[i].left) <= cases[i].left * 1e-15);
        CHECK(mc_bin_width(id) == cases[i].width);
    }
}

TEST(bins_are_ordered_and_contiguous) {
    uint32_t last = 0;
    for (uint64_t value = 1; value < 200000; value++) {
        uint32_t id = mc_bin_id(value);
        CHECK(id >= last && mc_bin_left(id) <= (double)value * (1 + 1e-15));
        CHECK((double)value < mc_bin_left(id) + mc_bin_width(id));
        last = id;
    }
    uint64_t power = 10;
    for (unsigned decade = 1; decade < MC_DECADES; decade++, power *= 10) {
        CHECK_INT(mc_bin_id(power), 1 + decade * MC_DECADE_BINS);
        CHECK_INT(mc_bin_id(power - 1), decade == 1 ? 1 + 80 : decade * MC_DECADE_BINS);
    }
}

/* A histogram of these samples. */
static mc_histogram histogram_of(const uint64_t *values, size_t count) {
    static uint64_t counts[MC_BIN_COUNT];
    static mc_bin out[MC_BIN_COUNT];
    mc_histogram histogram = {out, 0, count};
    mc_bins *bins = mc_bins_new();
    for (size_t i = 0; i < count; i++) {
        mc_bins_record(bins, values[i]);
    }
    memset(counts, 0, sizeof counts);
    mc_bins_sum(bins, counts);
    mc_bins_free(bins);
    for (uint32_t id = 0; id < MC_BIN_COUNT; id++) {
        if (counts[id] != 0) {
            out[histogram.bin_count++] = (mc_bin){counts[id], id};
        }
    }
    return histogram;
}

TEST(quantiles) {
    double out[MC_QUANTILES];
    uint64_t one[] = {157};
    mc_histogram histogram = histogram_of(one, 1);
    mc_histogram_quantiles(&histogram, mc_quantiles, MC_QUANTILES, out);
    CHECK(out[0] == 155 && out[2] == 155 && out[9] == 155);

    /* As Envoy 1.39 prints 3 seven times, 57 five times and 1234 ten times. */
    uint64_t many[22];
    for (size_t i = 0; i < 22; i++) {
        many[i] = i < 7 ? 3 : i < 12 ? 57 : 1234;
    }
    histogram = histogram_of(many, 22);
    mc_histogram_quantiles(&histogram, mc_quantiles, MC_QUANTILES, out);
    static const double expected[] = {3.0125,
                                      3.075,
                                      57.666666666666664,
                                      1245.4545454545455,
                                      1272.7272727272727,
                                      1281.8181818181818,
                                      1290.909090909091,
                                      1290.909090909091};
    for (size_t i = 0; i < 8; i++) {
        CHECK(out[i] == expected[i]);
    }

    uint64_t zero[] = {0, 0};
    histogram = histogram_of(zero, 2);
    mc_histogram_quantiles(&histogram, mc_quantiles, MC_QUANTILES, out);
    CHECK(out[0] == 0 && out[9] == 0);

    histogram = histogram_of(NULL, 0);
    mc_histogram_quantiles(&histogram, mc_quantiles, MC_QUANTILES, out);
    CHECK(isnan(out[0]) && isnan(out[9]));
}

TEST(buckets_count_whole_bins) {
    static const double bounds[] = {0.5, 1, 5, 10, 55, 155};
    uint64_t values[] = {0, 1, 5, 5, 9, 10, 55, 57, 157, 160};
    mc_histogram histogram = histogram_of(values, 10);
    mc_bucket_walk walk = {.histogram = &histogram, .scale = 1};
    static const uint64_t expected[] = {1, 2, 4, 6, 7, 9};
    for (size_t i = 0; i < 6; i++) {
        CHECK_U64(mc_bucket_upto(&walk, bounds[i]), expected[i]);
    }
}

/* To the last digit as Envoy 1.39 prints them. */
TEST(sums_are_approximate) {
    uint64_t values[] = {110, 57, 5, 0, 1, 157};
    mc_histogram histogram = histogram_of(values, 1);
    CHECK(mc_histogram_sum(&histogram) == 114.78260869565218627030844800174);
    histogram = histogram_of(values, 2);
    CHECK(mc_histogram_sum(&histogram) == 172.27826086956522999571461696178);
    histogram = histogram_of(values, 3);
    CHECK(mc_histogram_sum(&histogram) == 177.32776582006027865645592100918);
    histogram = histogram_of(values, 6);
    CHECK(mc_histogram_sum(&histogram) == 333.21409454509864644933259114623);
    histogram = histogram_of(values + 3, 1);
    CHECK(mc_histogram_sum(&histogram) == 0);
}
