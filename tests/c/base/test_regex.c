/* Regular expressions: full match, limits, groups, replacement, sets against single expressions, arenas. */
#include "base/regex.h"

#include "../test.h"

static const mc_regex *compiled(mc_arena *arena, const char *pattern) {
    const mc_regex *regex = NULL;
    mc_error error;
    CHECK_INT(mc_regex_compile(arena, mc_slice_cstr(pattern), 0, &regex, &error), MC_OK);
    return regex;
}

TEST(the_whole_text_must_match) {
    static const struct {
        const char *pattern, *text;
        int holds;
    } cases[] = {{"a", "a", 1},     {"a", "ab", 0},        {"a", "ba", 0},     {"", "", 1},         {"a|ab", "ab", 1},
                 {"a.c", "abc", 1}, {"(?i)ABC", "aBc", 1}, {"a.c", "a\nc", 0}, {"[^/]+", "a/b", 0}, {"^a$", "a", 1}};
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_INT(mc_regex_full(compiled(&arena, cases[i].pattern), mc_slice_cstr(cases[i].text)), cases[i].holds);
    }
    CHECK_INT(mc_regex_full(compiled(&arena, ""), MC_SLICE_NONE), 1);
    mc_arena_fini(&arena);
}

TEST(wrong_and_large_expressions_are_refused) {
    mc_arena arena;
    mc_error error;
    const mc_regex *regex;
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_regex_compile(&arena, MC_SLICE("(a"), 100, &regex, &error), MC_EINVAL);
    CHECK_SLICE(mc_slice_cstr(error.reason), "is no regular expression of RE2: missing ): (a");
    CHECK_INT(mc_regex_compile(&arena, MC_SLICE("(?=a)"), 100, &regex, &error), MC_EINVAL);
    CHECK_INT(mc_regex_compile(&arena, MC_SLICE("(aaaa){50}"), 100, &regex, &error), MC_EINVAL);
    CHECK(strstr(error.reason, "more than 100") != NULL);
    CHECK_INT(mc_regex_compile(&arena, MC_SLICE("(aaaa){50}"), 1000, &regex, &error), MC_OK);
    CHECK_INT(mc_regex_compile(&arena, MC_SLICE("(aaaa){50}"), 0, &regex, &error), MC_OK);
    mc_arena_fini(&arena);
}

TEST(groups_and_replacement) {
    mc_arena arena;
    mc_slice groups[3], out;
    mc_arena_init(&arena, NULL);
    const mc_regex *regex = compiled(&arena, "/(?P<a>[^/]+)/(x)?(.*)");
    CHECK_INT(mc_regex_group_count(regex), 3);
    CHECK_INT(mc_regex_groups(regex, MC_SLICE("/one/two"), 0, groups, 3), 1);
    CHECK_SLICE(groups[0], "one");
    CHECK(groups[1].p == NULL);
    CHECK_SLICE(groups[2], "two");
    CHECK_INT(mc_regex_groups(regex, MC_SLICE("one"), 0, groups, 3), 0);
    static const struct {
        const char *pattern, *text, *with, *out;
    } cases[] = {{"b", "abcb", "X", "aXcX"},     {"(b)(c)", "abcd", "\\2\\1", "acbd"},
                 {"x", "abc", "y", "abc"},       {"^/a(/.*)?", "/a/b", "/z\\1", "/z/b"},
                 {"b", "abc", "[\\0]", "a[b]c"}, {"b", "abc", "\\5", "abc"},
                 {"", "ab", "-", "-a-b-"},       {"a*", "baac", "x", "xbxcx"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_INT(mc_regex_replace(compiled(&arena, cases[i].pattern), mc_slice_cstr(cases[i].text),
                                   mc_slice_cstr(cases[i].with), &arena, &out),
                  MC_OK);
        CHECK_SLICE(out, cases[i].out);
    }
    mc_arena_fini(&arena);
}

TEST(what_all_matches_begin_with) {
    static const struct {
        const char *pattern, *literal, *rest;
    } cases[] = {{"/a/[0-9]+", "/a/", "[0-9]+"},
                 {"/a/b", "/a/b", ""},
                 {"^/a/.*", "/a/", ".*"},
                 {"/a(/b|/c)", "/a", "(/b|/c)"},
                 {"/ab?", "/a", "b?"},
                 {"/ab+", "/a", "b+"},
                 {"/ab{2}", "/a", "b{2}"},
                 {"/\\.\\*x{2}", "/.*", "x{2}"},
                 {"/\\.+", "/", "\\.+"},
                 {"/a|/ab", "", "/a|/ab"},
                 {"/a\\|b", "/a|b", ""},
                 {"/a[|]", "/a", "[|]"},
                 {"/a[]|]b", "/a", "[]|]b"},
                 {"/a[^]|]b", "/a", "[^]|]b"},
                 {"/a[[:alpha:](]|b", "", "/a[[:alpha:](]|b"},
                 {"/a[\\](]|b", "", "/a[\\](]|b"},
                 {"/a\\Q|\\E", "", "/a\\Q|\\E"},
                 {"/a\\b/", "/a", "\\b/"},
                 {"/a\\x62", "/a", "\\x62"},
                 {"/a^b", "/a", "^b"},
                 {"(?i)/a", "", "(?i)/a"},
                 {"", "", ""},
                 {"^", "", "^"},
                 {"^^a", "", "^^a"}};
    static const char *const texts[] = {"/a",   "/a/",   "/a/7", "/a/b", "/ab", "/abb",
                                        "/a|b", "/.*xx", "/a|",  "b",    "/A",  ""};
    mc_arena arena;
    mc_slice literal, rest;
    mc_arena_init(&arena, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_INT(mc_regex_literal(&arena, mc_slice_cstr(cases[i].pattern), &literal, &rest), MC_OK);
        CHECK_SLICE(literal, cases[i].literal);
        CHECK_SLICE(rest, cases[i].rest);
        for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
            mc_slice text = mc_slice_cstr(texts[t]);
            CHECK_INT(mc_slice_has_prefix(text, literal) &&
                          mc_regex_full_from(compiled(&arena, cases[i].rest), text, literal.n) == 1,
                      mc_regex_full(compiled(&arena, cases[i].pattern), text));
        }
    }
    mc_arena_fini(&arena);
}

/* Every expression alone says what the set says. */
TEST(a_set_is_its_expressions) {
    enum { COUNT = 300 };
    static const char *const forms[] = {"/s%d/.*", "/s%d/[a-z]+", ".*%d", "/s(%d|1)/x?", "%d"};
    static const char *const texts[] = {"/s1/ab", "/s12/x", "/s100/", "7", "", "/s299/zz9", "nothing"};
    char store[COUNT][32];
    mc_regex_member members[COUNT];
    mc_arena arena;
    mc_error error;
    const mc_regex_set *set;
    mc_arena_init(&arena, NULL);
    for (int i = 0; i < COUNT; i++) {
        snprintf(store[i], sizeof store[i], forms[i % 5], i);
        members[i] = (mc_regex_member){mc_slice_cstr(store[i]), MC_SLICE(""), compiled(&arena, store[i])};
    }
    CHECK_INT(mc_regex_set_compile(&arena, members, COUNT, &set, &error), MC_OK);
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        const uint32_t *found;
        uint32_t count, at = 0;
        CHECK_INT(mc_regex_set_match(set, mc_slice_cstr(texts[t]), &arena, &found, &count), MC_OK);
        for (uint32_t i = 0; i < COUNT; i++) {
            bool holds = mc_regex_full(members[i].rest, mc_slice_cstr(texts[t])) == 1;
            CHECK(holds == (at < count && found[at] == i));
            at += holds;
        }
        CHECK_INT(at, count);
    }
    mc_arena_fini(&arena);
}

/* What an arena keeps dies with it, also when keeping it fails for want of memory (the sanitizers watch). */
TEST(no_memory) {
    for (long at = 1; at < 4; at++) {
        mc_arena arena;
        mc_error error;
        const mc_regex *regex;
        mc_arena_init(&arena, NULL);
        mc_test_alloc_fail_at(at);
        mc_status status = mc_regex_compile(&arena, MC_SLICE("a+"), 100, &regex, &error);
        CHECK(status == (at == 1 ? MC_ENOMEM : MC_OK));
        mc_test_alloc_fail_at(0);
        mc_arena_fini(&arena);
    }
}

static int order[3], calls;
static void note(void *object) { order[calls++] = *(int *)object; }

TEST(deferred_calls_come_newest_first_and_once) {
    int ids[] = {1, 2, 3};
    mc_arena arena;
    calls = 0;
    mc_arena_init(&arena, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(mc_arena_defer(&arena, note, &ids[i]), MC_OK);
    }
    mc_arena_fini(&arena);
    mc_arena_fini(&arena);
    CHECK_INT(calls, 3);
    CHECK(order[0] == 3 && order[1] == 2 && order[2] == 1);
}
