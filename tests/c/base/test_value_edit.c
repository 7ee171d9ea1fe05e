#include "base/value_edit.h"

#include "../test.h"

static const mc_value *parse(mc_arena *arena, const char *json) {
    const mc_value *value = NULL;
    mc_error error;
    CHECK_INT(mc_value_parse(arena, mc_slice_cstr(json), &value, &error), MC_OK);
    return value;
}

static bool same(const mc_value *a, const mc_value *b) {
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case MC_NULL: return true;
    case MC_BOOL: return a->boolean == b->boolean;
    case MC_NUMBER: return a->number == b->number;
    case MC_STRING: return mc_slice_eq(a->string, b->string);
    default: break;
    }
    bool equal = a->count == b->count;
    for (size_t i = 0; i < a->count && equal; i++) {
        equal = same(&a->items[i], &b->items[i]) && (a->kind == MC_LIST || mc_slice_eq(a->names[i], b->names[i]));
    }
    return equal;
}

TEST(merging) {
    static const struct {
        const char *base, *over, *merged;
    } cases[] = {
        {"{}", "{\"a\":1}", "{\"a\":1}"},
        {"{\"a\":1,\"b\":\"x\"}", "{\"a\":\"2\"}", "{\"a\":\"2\",\"b\":\"x\"}"},
        {"{\"a\":{\"b\":1,\"c\":[1]}}", "{\"a\":{\"c\":[2,3],\"d\":true}}",
         "{\"a\":{\"b\":1,\"c\":[1,2,3],\"d\":true}}"},
        {"{\"a\":[1]}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"},
        {"{\"a\":1}", "{}", "{\"a\":1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_arena arena;
        mc_value merged;
        const mc_value *copy;
        mc_arena_init(&arena, NULL);
        const mc_value *base = parse(&arena, cases[i].base);
        CHECK_INT(mc_value_merge(&arena, base, parse(&arena, cases[i].over), &merged), MC_OK);
        CHECK(same(&merged, parse(&arena, cases[i].merged)));
        CHECK(same(base, parse(&arena, cases[i].base)));
        CHECK_INT(mc_value_copy(&arena, &merged, &copy), MC_OK);
        CHECK(same(copy, &merged));
        mc_arena_fini(&arena);
    }
}

TEST(putting) {
    mc_arena arena;
    const mc_value *object = NULL, *before;
    mc_value one = mc_value_number(1), text = mc_value_text(MC_SLICE("x"));
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_value_put(&arena, object, MC_SLICE("a"), &one, &object), MC_OK);
    before = object;
    CHECK_INT(mc_value_put(&arena, object, MC_SLICE("b"), &text, &object), MC_OK);
    CHECK_INT(mc_value_put(&arena, object, MC_SLICE("a"), &text, &object), MC_OK);
    CHECK(same(object, parse(&arena, "{\"a\":\"x\",\"b\":\"x\"}")));
    CHECK(same(before, parse(&arena, "{\"a\":1}")));
    CHECK(mc_value_find(object, MC_SLICE("c")) == NULL);
    mc_arena_fini(&arena);
}
