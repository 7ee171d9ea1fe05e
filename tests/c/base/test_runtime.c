#include "base/runtime.h"

#include "../test.h"

static mc_arena arena;
static mc_error error;

static const mc_value *parse(const char *json) {
    const mc_value *value = NULL;
    CHECK_INT(mc_value_parse(&arena, mc_slice_cstr(json), &value, &error), MC_OK);
    return value;
}

TEST(values_of_later_layers_win) {
    mc_runtime runtime;
    const mc_value *values;
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_runtime_flatten(
                  &arena,
                  parse("{\"layers\":[{\"name\":\"a\",\"static_layer\":{\"a\":{\"b\":1,\"c\":true},\"d.e\":2.5}},"
                        "{\"name\":\"admin\",\"admin_layer\":{}},{\"name\":\"b\",\"static_layer\":{\"a.b\":\"7\","
                        "\"x\":\"FALSE\",\"n\":-1,\"f\":{\"numerator\":3,\"denominator\":\"TEN_THOUSAND\"}}}]}"),
                  &values, &error),
              MC_OK);
    CHECK_INT(mc_runtime_init(&runtime, values), MC_OK);
    CHECK_U64(mc_runtime_u64(&runtime, MC_SLICE("a.b"), 0), 7);
    CHECK(mc_runtime_bool(&runtime, MC_SLICE("a.c"), false));
    CHECK(mc_runtime_double(&runtime, MC_SLICE("d.e"), 0) == 2.5);
    CHECK(!mc_runtime_bool(&runtime, MC_SLICE("x"), true));
    CHECK_U64(mc_runtime_u64(&runtime, MC_SLICE("n"), 9), 9);
    CHECK_U64(mc_runtime_u64(&runtime, MC_SLICE("nowhere"), 9), 9);
    CHECK_U64(mc_runtime_u64(NULL, MC_SLICE("a.b"), 9), 9);
    mc_fraction fraction = {50, 100, MC_SLICE("f")};
    CHECK(mc_fraction_holds(&fraction, &runtime, 2));
    CHECK(!mc_fraction_holds(&fraction, &runtime, 3));
    mc_runtime_fini(&runtime);
    mc_arena_fini(&arena);
}

TEST(flags_and_numbers) {
    mc_runtime runtime;
    mc_feature_flag flag = {true, MC_SLICE_NONE};
    mc_runtime_number number = {0};
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_runtime_init(&runtime, parse("{\"off\":false,\"n\":3}")), MC_OK);
    CHECK_INT(mc_feature_flag_read(&arena, parse("{}"), "f", &flag, &error), MC_OK);
    CHECK(mc_feature_flag_on(&flag, &runtime));
    CHECK_INT(mc_feature_flag_read(&arena, parse("{\"f\":{\"default_value\":true,\"runtime_key\":\"off\"}}"), "f",
                                   &flag, &error),
              MC_OK);
    CHECK(!mc_feature_flag_on(&flag, &runtime));
    CHECK(mc_feature_flag_on(&flag, NULL));
    CHECK_INT(mc_runtime_number_read(&arena,
                                     parse("{\"p\":{\"default_value\":{\"value\":95.5},\"runtime_key\":\"n\"}}"), "p",
                                     &number, &error),
              MC_OK);
    CHECK(mc_runtime_number_now(&number, NULL) == 95.5);
    CHECK(mc_runtime_number_now(&number, &runtime) == 3);
    CHECK_INT(mc_runtime_number_read(&arena, parse("{\"p\":{\"default_value\":true}}"), "p", &number, &error),
              MC_EINVAL);
    CHECK_SLICE(mc_slice_cstr(error.path), "p.default_value");
    mc_runtime_fini(&runtime);
    mc_arena_fini(&arena);
}
