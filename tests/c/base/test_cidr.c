#include "base/cidr.h"

#include "../test.h"

static mc_address address(const char *text) {
    mc_address out;
    CHECK_INT(mc_address_parse(&out, mc_slice_cstr(text), 0), MC_OK);
    return out;
}

TEST(ranges_contain_what_they_say) {
    mc_arena arena;
    const mc_value *value;
    mc_error error = {0};
    mc_cidrs ranges;
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_value_parse(&arena,
                             MC_SLICE("{\"r\":[{\"address_prefix\":\"10.1.0.0\",\"prefix_len\":16},"
                                      "{\"address_prefix\":\"2001:db8::\",\"prefix_len\":32}]}"),
                             &value, &error),
              MC_OK);
    CHECK_INT(mc_cidrs_read(&arena, value, "r", &ranges, &error), MC_OK);
    mc_address in = address("10.1.2.3"), out = address("10.2.0.0"), in6 = address("2001:db8::1");
    CHECK(mc_cidrs_contain(&ranges, &in));
    CHECK(!mc_cidrs_contain(&ranges, &out));
    CHECK(mc_cidrs_contain(&ranges, &in6));
    CHECK_INT(mc_cidrs_read(&arena, value, "absent", &ranges, &error), MC_OK);
    CHECK(!mc_cidrs_contain(&ranges, &in));
    CHECK_INT(mc_value_parse(&arena, MC_SLICE("{\"r\":[{\"address_prefix\":\"x\"}]}"), &value, &error), MC_OK);
    CHECK_INT(mc_cidrs_read(&arena, value, "r", &ranges, &error), MC_EINVAL);
    CHECK_SLICE(mc_slice_cstr(error.path), "r[0].address_prefix");
    mc_arena_fini(&arena);
}

TEST(private_addresses) {
    const char *const yes[] = {"10.0.0.1",  "172.16.0.1", "172.31.255.255", "192.168.1.1",
                               "127.0.0.1", "::1",        "fd00::1"};
    const char *const no[] = {"11.0.0.1",  "172.32.0.1",  "192.169.0.1", "8.8.8.8",
                              "127.0.0.2", "2001:db8::1", "fe80::1",     "fc00::1"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        mc_address a = address(yes[i]);
        CHECK(mc_address_is_private(&a));
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        mc_address a = address(no[i]);
        CHECK(!mc_address_is_private(&a));
    }
}
