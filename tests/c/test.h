/* The C tests' frame: one binary a file. Each TEST registers itself; main runs all, or those whose name contains argv[1].
 *
 * Checks print file, line and values and count; a failing check ends its test. After every test the count of live
 * allocations must be what it was before (built with MC_TEST_ALLOC). */
#ifndef MC_TESTS_TEST_H
#define MC_TESTS_TEST_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/slice.h"

typedef struct mc_test {
    const char *name;
    void (*run)(void);
    struct mc_test *next;
} mc_test;

static mc_test *mc_tests;
static jmp_buf mc_test_escape;

#define TEST(id)                                                                                                       \
    static void test_##id(void);                                                                                       \
    static mc_test mc_test_##id = {#id, test_##id, NULL};                                                              \
    __attribute__((constructor)) static void mc_register_##id(void) {                                                  \
        mc_test **at = &mc_tests;                                                                                      \
        while (*at != NULL) {                                                                                          \
            at = &(*at)->next;                                                                                         \
        }                                                                                                              \
        *at = &mc_test_##id;                                                                                           \
    }                                                                                                                  \
    static void test_##id(void)

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond);                                         \
            longjmp(mc_test_escape, 1);                                                                                \
        }                                                                                                              \
    } while (0)

#define CHECK_INT(actual, expected)                                                                                    \
    do {                                                                                                               \
        long long a_ = (long long)(actual), e_ = (long long)(expected);                                                \
        if (a_ != e_) {                                                                                                \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #actual, a_, e_);                \
            longjmp(mc_test_escape, 1);                                                                                \
        }                                                                                                              \
    } while (0)

#define CHECK_U64(actual, expected)                                                                                    \
    do {                                                                                                               \
        unsigned long long a_ = (actual), e_ = (expected);                                                             \
        if (a_ != e_) {                                                                                                \
            fprintf(stderr, "%s:%d: %s is %llu, expected %llu\n", __FILE__, __LINE__, #actual, a_, e_);                \
            longjmp(mc_test_escape, 1);                                                                                \
        }                                                                                                              \
    } while (0)

#define CHECK_SLICE(actual, expected)                                                                                  \
    do {                                                                                                               \
        mc_slice a_ = (actual), e_ = mc_slice_cstr(expected);                                                          \
        if (!mc_slice_eq(a_, e_)) {                                                                                    \
            fprintf(stderr, "%s:%d: %s is \"%.*s\", expected \"%s\"\n", __FILE__, __LINE__, #actual, MC_SLICE_ARG(a_), \
                    expected);                                                                                         \
            longjmp(mc_test_escape, 1);                                                                                \
        }                                                                                                              \
    } while (0)

int main(int argc, char **argv) {
    volatile int passed = 0, failed = 0;
    for (mc_test *volatile test = mc_tests; test != NULL; test = test->next) {
        if (argc > 1 && strstr(test->name, argv[1]) == NULL) {
            continue;
        }
        volatile int bad = 0;
        volatile long live = mc_test_alloc_live();
        if (setjmp(mc_test_escape) == 0) {
            test->run();
            if (mc_test_alloc_live() != live) {
                fprintf(stderr, "%s: %ld allocations leaked\n", test->name, mc_test_alloc_live() - live);
                bad = 1;
            }
        } else {
            bad = 1;
        }
        mc_test_alloc_fail_at(0);
        if (bad) {
            fprintf(stderr, "FAIL %s\n", test->name);
        }
        failed = failed + bad;
        passed = passed + !bad;
    }
    printf("%s: %d passed, %d failed\n", argv[0], passed, failed);
    return failed != 0;
}

#endif
