#include "base/value.h"

#include "../test.h"

static const mc_value *parse(mc_arena *arena, const char *json) {
    const mc_value *value = NULL;
    mc_error error;
    if (mc_value_parse(arena, mc_slice_cstr(json), &value, &error) != MC_OK) {
        fprintf(stderr, "%s\n", error.reason);
        return NULL;
    }
    return value;
}

TEST(reads_what_it_parsed) {
    mc_arena arena;
    mc_error error;
    mc_arena_init(&arena, NULL);
    const mc_value *v = parse(&arena, " {\"a\": [1, 2.5, \"x\\n\\u00e9\\ud83d\\ude00\"], \"t\": \"0.0255s\", \"n\": "
                                      "\"18446744073709551615\", \"b\": true, \"z\": null, \"e\": {}} ");
    CHECK(v != NULL);
    const mc_value *items;
    size_t count;
    CHECK_INT(mc_value_read_list(v, "a", &items, &count, &error), MC_OK);
    CHECK_INT(count, 3);
    CHECK(items[1].number == 2.5);
    CHECK_SLICE(items[2].string, "x\n\xc3\xa9\xf0\x9f\x98\x80");
    uint64_t n = 7;
    CHECK_INT(mc_value_read_duration_ms(v, "t", &n, &error), MC_OK);
    CHECK_U64(n, 25);
    CHECK_INT(mc_value_read_u64(v, "n", &n, &error), MC_OK);
    CHECK_U64(n, UINT64_MAX);
    bool flag = false;
    CHECK_INT(mc_value_read_bool(v, "b", &flag, &error), MC_OK);
    CHECK(flag);
    CHECK(mc_value_get(v, "z") == NULL);
    CHECK_INT(mc_value_read_u64(v, "absent", &n, &error), MC_OK);
    CHECK_U64(n, UINT64_MAX);
    CHECK_INT(mc_value_read_u64(v, "b", &n, &error), MC_EINVAL);
    CHECK(strcmp(error.path, "b") == 0);
    mc_error_under(&error, "routes[%d]", 3);
    CHECK(strcmp(error.path, "routes[3].b") == 0);
    mc_arena_fini(&arena);
}

TEST(refuses_malformed) {
    static const char *const bad[] = {"",    "{",   "[1,]",  "{\"a\"}",  "\"\\x\"",  "\"\\ud800\"",
                                      "nul", "01x", "[1] 2", "\"a",      "{\"a\":1", "\"\\u12\"",
                                      "+1",  "--1", "1e999", "\"a\nb\"", "\"\\"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mc_arena arena;
        mc_error error;
        const mc_value *value = NULL;
        mc_arena_init(&arena, NULL);
        mc_status status = mc_value_parse(&arena, mc_slice_cstr(bad[i]), &value, &error);
        mc_arena_fini(&arena);
        if (status != MC_EINVAL) {
            fprintf(stderr, "accepted %s\n", bad[i]);
        }
        CHECK_INT(status, MC_EINVAL);
    }
}

TEST(every_failed_allocation_is_an_error) {
    for (long n = 1; n < 10; n++) {
        mc_arena arena;
        const mc_value *value = NULL;
        mc_arena_init(&arena, NULL);
        mc_test_alloc_fail_at(n);
        mc_status status = mc_value_parse(&arena, MC_SLICE("{\"a\":[1,2,{\"b\":\"c\"}]}"), &value, NULL);
        mc_test_alloc_fail_at(0);
        mc_arena_fini(&arena);
        if (status == MC_OK) {
            CHECK(n > 2);
            return;
        }
        CHECK_INT(status, MC_ENOMEM);
    }
    CHECK(!"never succeeded");
}
