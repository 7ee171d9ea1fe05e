#include "base/text.h"

#include <math.h>

#include "../test.h"

TEST(doubles) {
    static const struct {
        double value;
        const char *fixed, *shorter;
    } cases[] = {
        {0, "0", "0"},
        {0.5, "0.5", "0.5"},
        {0.1, "0.1", "0.1"},
        {-2.5, "-2.5", "-2.5"},
        {1.1 * 100, "110.00000000000001", "110.00000000000001"},
        {3.0142857142857142, "3.0142857142857142", "3.0142857142857142"},
        {60000, "60000", "60000"},
        {100000, "100000", "1e+05"},
        {-0.0, "-0", "-0"},
        {300000, "300000", "3e+05"},
        {1800000, "1800000", "1800000"},
        {1050000, "1050000", "1050000"},
        {1e15, "1000000000000000", "1e+15"},
        {1e16, "1e+16", "1e+16"},
        {1.8e19, "1.8e+19", "1.8e+19"},
        {0.0001, "0.0001", "1e-04"},
        {0.00001, "1e-05", "1e-05"},
        {1e300, "1e+300", "1e+300"},
        {NAN, "nan", "nan"},
        {-INFINITY, "-inf", "-inf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_text text;
        mc_text_init(&text);
        mc_text_double(&text, cases[i].value, MC_DOUBLE_FIXED);
        CHECK_SLICE(mc_text_slice(&text), cases[i].fixed);
        text.n = 0;
        mc_text_double(&text, cases[i].value, MC_DOUBLE_SHORTER);
        CHECK_SLICE(mc_text_slice(&text), cases[i].shorter);
        mc_text_fini(&text);
    }
}

TEST(appends) {
    mc_text text;
    mc_text_init(&text);
    mc_text_lit(&text, "a=");
    mc_text_u64(&text, UINT64_MAX);
    mc_text_lit(&text, ",b=");
    mc_text_i64(&text, INT64_MIN);
    mc_text_json(&text, MC_SLICE("q\"\\\n\x01\xc3\xa9"));
    CHECK_SLICE(mc_text_slice(&text), "a=18446744073709551615,b=-9223372036854775808\"q\\\"\\\\\\n\\u0001\xc3\xa9\"");
    mc_text_fini(&text);
}

TEST(a_failure_is_kept) {
    mc_text text;
    mc_text_init(&text);
    mc_text_lit(&text, "kept");
    mc_test_alloc_fail_at(1);
    char wide[100] = {0};
    mc_text_add(&text, mc_slice_of(wide, sizeof wide));
    mc_text_lit(&text, "x");
    CHECK(text.failed);
    CHECK_SLICE(mc_text_slice(&text), "kept");
    mc_text_fini(&text);
}
