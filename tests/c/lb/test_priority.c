#include "lb/priority.h"
#include "test.h"

enum { MAX = 4 };

/* Hosts, of them healthy, degraded, excluded. */
#define N(hosts_, healthy_, degraded_, excluded_)                                                                      \
    {.hosts = hosts_, .healthy = healthy_, .degraded = degraded_, .excluded = excluded_}

typedef struct expectation {
    const char *name;
    size_t count;
    mc_priority_counts counts[MAX];
    uint32_t threshold;
    uint32_t healthy[MAX], degraded[MAX];
    bool panic[MAX];
} expectation;

static const expectation CASES[] = {
    {"PR-4", 2, {N(7, 3, 1, 0), N(9, 1, 1, 0)}, 50, {60, 15}, {20, 5}, {false, false}},
    {"PR-5, PR-9: all panic",
     3,
     {N(7, 1, 0, 0), N(9, 2, 0, 0), N(11, 0, 1, 0)},
     50,
     {27, 33, 40},
     {0},
     {true, true, true}},
    {"PR-5, PR-8: threshold 10",
     3,
     {N(7, 1, 0, 0), N(9, 2, 0, 0), N(11, 0, 1, 0)},
     10,
     {32, 49},
     {0, 0, 19},
     {false, false, true}},
    {"PR-5, no threshold",
     3,
     {N(7, 1, 0, 0), N(9, 2, 0, 0), N(11, 0, 1, 0)},
     0,
     {32, 49},
     {0, 0, 19},
     {false, false, false}},
    {"all healthy", 2, {N(2, 2, 0, 0), N(2, 2, 0, 0)}, 50, {100}, {0}, {false, false}},
    {"full elsewhere: no panic", 2, {N(4, 0, 0, 0), N(4, 4, 0, 0)}, 50, {0, 100}, {0}, {false, false}},
    {"no hosts", 1, {N(0, 0, 0, 0)}, 50, {100}, {0}, {true}},
    {"no hosts, no threshold", 1, {N(0, 0, 0, 0)}, 0, {100}, {0}, {false}},
    {"first is empty", 2, {N(0, 0, 0, 0), N(3, 0, 0, 0)}, 50, {0, 100}, {0}, {true, true}},
    {"excluded leave the denominator", 1, {N(10, 2, 0, 7)}, 50, {100}, {0}, {false}},
    {"only excluded", 1, {N(3, 0, 0, 3)}, 50, {100}, {0}, {true}},
    {"degraded only", 1, {N(5, 0, 5, 0)}, 50, {0}, {100}, {false}},
};

TEST(loads_as_computed_by_hand) {
    for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
        const expectation *e = &CASES[c];
        mc_priority_options options = {140, e->threshold, false};
        mc_priority_load loads[MAX] = {{.panic = false}};
        mc_priority_compute(e->counts, e->count, &options, loads);
        for (size_t i = 0; i < e->count; i++) {
            if (loads[i].healthy_load != e->healthy[i] || loads[i].degraded_load != e->degraded[i] ||
                loads[i].panic != e->panic[i]) {
                fprintf(stderr, "%s, P%zu: %u/%u panic %d\n", e->name, i, loads[i].healthy_load, loads[i].degraded_load,
                        loads[i].panic);
                CHECK(false);
            }
        }
    }
}

TEST(availability_of_rule_pr_5) {
    static const mc_priority_counts counts[] = {N(7, 1, 0, 0), N(9, 2, 0, 0), N(11, 0, 1, 0)};
    mc_priority_options options = {140, 50, false};
    mc_priority_load loads[3] = {{0}};
    mc_priority_compute(counts, 3, &options, loads);
    CHECK_INT(loads[0].health, 20);
    CHECK_INT(loads[1].health, 31);
    CHECK_INT(loads[2].health, 0);
    CHECK_INT(loads[2].degraded, 12);
}

/* One heavy healthy host of four is 70 % of the weight; panic still counts heads. */
TEST(weighted_priority_health) {
    mc_priority_counts counts[] = {{4, 1, 0, 0, 10, 7, 0, 0, 0, false}, {4, 4, 0, 0, 4, 4, 0, 0, 0, false}};
    mc_priority_options options = {100, 50, true};
    mc_priority_load loads[2] = {{0}};
    mc_priority_compute(counts, 2, &options, loads);
    CHECK_INT(loads[0].health, 70);
    CHECK_INT(loads[0].healthy_load, 70);
    CHECK_INT(loads[1].healthy_load, 30);
}

/* PR-2: with no availability at all, and no total panic, the loads stay. */
TEST(loads_stay_when_nothing_is_available) {
    mc_priority_counts counts[] = {N(200, 99, 0, 0)};
    mc_priority_options options = {1, 40, false}; /* 1 * 99 / 200 is 0, yet 49.5 % are healthy */
    mc_priority_load loads[1] = {{.healthy_load = 7, .degraded_load = 93}};
    mc_priority_compute(counts, 1, &options, loads);
    CHECK_INT(loads[0].healthy_load, 7);
    CHECK_INT(loads[0].degraded_load, 93);
    CHECK(!loads[0].panic);
}

TEST(the_sum_is_always_100) {
    mc_priority_options options = {140, 50, false};
    for (uint64_t n = 0; n < 4096; n++) {
        mc_priority_counts counts[3];
        mc_priority_load loads[3] = {{0}};
        uint32_t sum = 0;
        for (size_t i = 0; i < 3; i++) {
            uint64_t bits = n >> (4 * i);
            counts[i] = (mc_priority_counts){.hosts = 4 + i};
            counts[i].healthy = bits % 4;
            counts[i].degraded = bits / 4 % 4 > counts[i].healthy ? 1 : 0;
        }
        mc_priority_compute(counts, 3, &options, loads);
        for (size_t i = 0; i < 3; i++) {
            sum += loads[i].healthy_load + loads[i].degraded_load;
        }
        CHECK_INT(sum, 100);
    }
}

TEST(choosing_from_a_hash) {
    static const mc_priority_load loads[] = {{.healthy_load = 60, .degraded_load = 20},
                                             {.healthy_load = 15, .degraded_load = 5}};
    static const struct {
        uint64_t hash;
        size_t priority;
        bool degraded;
    } cases[] = {{0, 0, false}, {59, 0, false}, {60, 1, false}, {74, 1, false},  {75, 0, true},
                 {94, 0, true}, {95, 1, true},  {99, 1, true},  {100, 0, false}, {UINT64_MAX, 0, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool degraded;
        CHECK_INT(mc_priority_choose(loads, 2, cases[i].hash, &degraded), cases[i].priority);
        CHECK_INT(degraded, cases[i].degraded);
    }
}
