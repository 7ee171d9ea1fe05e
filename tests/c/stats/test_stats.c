#include <pthread.h>

#include "../test.h"
#include "stats/read.h"
#include "stats/stats.h"

TEST(names_are_interned) {
    mc_stats *stats = mc_stats_new();
    mc_stat a = mc_stats_counter(stats, MC_SLICE("cluster.a.upstream_rq_total"));
    CHECK(a != 0);
    CHECK_INT(mc_stats_counter(stats, MC_SLICE("cluster.a.upstream_rq_total")), a);
    CHECK_INT(mc_stats_find(stats, MC_COUNTER, MC_SLICE("cluster.a.upstream_rq_total")), a);
    /* The kind is part of the identity. */
    CHECK(mc_stats_gauge(stats, MC_SLICE("cluster.a.upstream_rq_total")) != a);
    CHECK_INT(mc_stats_find(stats, MC_HISTOGRAM, MC_SLICE("cluster.a.upstream_rq_total")), 0);
    mc_stats_unref(stats);
}

TEST(scopes_are_cleaned) {
    static const struct {
        const char *scope, *name, *full;
    } cases[] = {
        {"cluster.a", "x", "cluster.a.x"},
        {"cluster.a.", "x", "cluster.a.x"},
        {".cluster.a.", "x", "cluster.a.x"},
        {"", "x", "x"},
        {".", "x", "x"},
        {"listener.127.0.0.1:80", "x", "listener.127.0.0.1_80.x"},
        {"listener.[::1]:80.", "x", "listener.[__1]_80.x"},
        {"cluster.http://h:/p", "x", "cluster.http_h_p.x"},
        {"a:///b", "x", "a_/b.x"},
        {"..a", "x", ".a.x"},
    };
    mc_stats *stats = mc_stats_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_stat stat = mc_stats_scoped(stats, MC_COUNTER, mc_slice_cstr(cases[i].scope), mc_slice_cstr(cases[i].name));
        CHECK(stat != 0);
        CHECK_INT(mc_stats_find(stats, MC_COUNTER, mc_slice_cstr(cases[i].full)), stat);
    }
    char wide[600];
    memset(wide, 'a', sizeof wide);
    CHECK(mc_stats_scoped(stats, MC_GAUGE, mc_slice_of(wide, sizeof wide), MC_SLICE("x")) != 0);
    mc_stats_unref(stats);
}

TEST(values_sum_over_slabs_and_survive_them) {
    mc_stats *stats = mc_stats_new();
    mc_slab *one = mc_slab_open(stats), *two = mc_slab_open(stats);
    mc_stat counter = mc_stats_counter(stats, MC_SLICE("c")), gauge = mc_stats_gauge(stats, MC_SLICE("g"));
    mc_counter_inc(one, counter);
    mc_counter_add(two, counter, 41);
    mc_gauge_add(one, gauge, 5);
    mc_gauge_add(two, gauge, -3);
    CHECK_U64(mc_stats_value(stats, counter), 42);
    CHECK_U64(mc_stats_value(stats, gauge), 2);
    mc_slab_close(one);
    CHECK_U64(mc_stats_value(stats, counter), 42);
    CHECK_U64(mc_stats_value(stats, gauge), 2);
    mc_slab_close(two);
    CHECK_U64(mc_stats_value(stats, counter), 42);
    CHECK_U64(mc_stats_value(stats, gauge), 2);
    mc_stats_unref(stats);
}

TEST(a_slab_keeps_its_store) {
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats);
    mc_stat counter = mc_stats_counter(stats, MC_SLICE("c"));
    mc_stats_unref(stats);
    mc_counter_inc(slab, counter);
    CHECK_U64(mc_stats_value(slab->store, counter), 1);
    mc_slab_close(slab);
    mc_slab_close(NULL);
}

TEST(the_null_stat_absorbs) {
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats);
    mc_counter_inc(slab, 0);
    mc_gauge_add(slab, 0, 1);
    mc_histogram_record(slab, 0, 1);
    mc_gauge_set(stats, 0, 7);
    CHECK_INT(mc_text_set(stats, 0, MC_SLICE("x")), MC_OK);
    CHECK_U64(mc_stats_value(stats, 0), 0);
    mc_stats_view view;
    CHECK_INT(mc_stats_view_init(&view, stats, MC_VIEW_MERGE), MC_OK);
    CHECK_INT(view.count, 0);
    mc_stats_view_fini(&view);
    mc_slab_close(slab);
    mc_stats_unref(stats);
}

/* The 64-bit hash of a version is a gauge too, so a set gauge keeps all its bits. */
TEST(gauges_mix_set_and_add) {
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats);
    mc_stat gauge = mc_stats_gauge(stats, MC_SLICE("g"));
    mc_gauge_add(slab, gauge, 10);
    mc_gauge_set(stats, gauge, UINT64_MAX - 1);
    CHECK_U64(mc_stats_value(stats, gauge), UINT64_MAX - 1);
    mc_gauge_add(slab, gauge, 1);
    CHECK_U64(mc_stats_value(stats, gauge), UINT64_MAX);
    mc_gauge_set(stats, gauge, 3);
    mc_gauge_add(slab, gauge, -1);
    CHECK_U64(mc_stats_value(stats, gauge), 2);
    mc_slab_close(slab);
    CHECK_U64(mc_stats_value(stats, gauge), 2);
    mc_stats_unref(stats);
}

static const mc_stat_entry *entry_of(const mc_stats_view *view, const char *name) {
    for (size_t i = 0; i < view->count; i++) {
        if (mc_slice_eq(view->entries[i].name, mc_slice_cstr(name))) {
            return &view->entries[i];
        }
    }
    fprintf(stderr, "no %s in the view\n", name);
    longjmp(mc_test_escape, 1);
}

TEST(a_view_is_ordered_and_knows_what_was_used) {
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats);
    mc_stat b = mc_stats_counter(stats, MC_SLICE("b")), back = mc_stats_gauge(stats, MC_SLICE("back"));
    mc_stat below = mc_stats_gauge(stats, MC_SLICE("below")), text = mc_stats_text(stats, MC_SLICE("a.text"));
    mc_stats_counter(stats, MC_SLICE("unused"));
    mc_stats_gauge(stats, MC_SLICE("b"));
    mc_stats_text(stats, MC_SLICE("silent"));
    mc_counter_inc(slab, b);
    mc_gauge_add(slab, back, 1);
    mc_gauge_add(slab, back, -1);
    mc_gauge_add(slab, below, -2);
    CHECK_INT(mc_text_set(stats, text, MC_SLICE("old")), MC_OK);
    CHECK_INT(mc_text_set(stats, text, MC_SLICE("new")), MC_OK);

    mc_stats_view view;
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    static const char *const order[] = {"a.text", "b", "b", "back", "below", "silent", "unused"};
    CHECK_INT(view.count, 7);
    for (size_t i = 0; i < view.count; i++) {
        CHECK_SLICE(view.entries[i].name, order[i]);
    }
    CHECK_INT(view.entries[1].kind, MC_COUNTER);
    CHECK_INT(view.entries[2].kind, MC_GAUGE);
    CHECK(view.entries[1].used && !view.entries[2].used);
    CHECK_SLICE(view.entries[0].text, "new");
    CHECK(entry_of(&view, "back")->used && entry_of(&view, "back")->value == 0 && !entry_of(&view, "back")->negative);
    CHECK(entry_of(&view, "below")->negative);
    CHECK_INT((int64_t)entry_of(&view, "below")->value, -2);
    CHECK(!entry_of(&view, "silent")->used && !entry_of(&view, "unused")->used);
    /* The view outlives later writes, and the last reference. */
    mc_counter_inc(slab, b);
    mc_slab_close(slab);
    mc_stats_unref(stats);
    CHECK_U64(view.entries[1].value, 1);
    mc_stats_view_fini(&view);
}

TEST(reset_and_latch_do_not_disturb_each_other) {
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats);
    mc_stat counter = mc_stats_counter(stats, MC_SLICE("c")), gauge = mc_stats_gauge(stats, MC_SLICE("g"));
    mc_stats_view view;
    mc_counter_add(slab, counter, 10);
    mc_gauge_add(slab, gauge, 4);
    CHECK_INT(mc_stats_view_init(&view, stats, MC_VIEW_LATCH), MC_OK);
    CHECK_U64(view.entries[0].delta, 10);
    mc_stats_view_fini(&view);
    mc_counter_add(slab, counter, 5);
    mc_stats_reset_counters(stats);
    CHECK_U64(mc_stats_value(stats, counter), 0);
    CHECK_U64(mc_stats_value(stats, gauge), 4);
    mc_counter_add(slab, counter, 1);
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    CHECK_U64(view.entries[0].value, 1);
    CHECK_U64(view.entries[0].delta, 6);
    CHECK(view.entries[0].used);
    mc_stats_view_fini(&view);
    mc_slab_close(slab);
    mc_stats_unref(stats);
}

TEST(intervals_follow_the_merge) {
    mc_stats *stats = mc_stats_new();
    mc_slab *one = mc_slab_open(stats), *two = mc_slab_open(stats);
    mc_stat histogram = mc_stats_histogram(stats, MC_SLICE("h"));
    mc_stats_view view;
    mc_histogram_record(one, histogram, 157);
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    CHECK(!view.entries[0].used); /* shown from the next merge on (STAT-4) */
    mc_stats_view_fini(&view);

    CHECK_INT(mc_stats_view_init(&view, stats, MC_VIEW_MERGE), MC_OK);
    CHECK_U64(view.entries[0].interval.samples, 1);
    CHECK_U64(view.entries[0].cumulative.samples, 1);
    CHECK_INT(view.entries[0].unit, MC_UNIT_MS);
    mc_stats_view_fini(&view);

    mc_histogram_record(two, histogram, 157);
    mc_histogram_record(two, histogram, 2);
    mc_slab_close(two);
    CHECK_INT(mc_stats_view_init(&view, stats, MC_VIEW_MERGE), MC_OK);
    CHECK_U64(view.entries[0].interval.samples, 2);
    CHECK_INT(view.entries[0].interval.bin_count, 2);
    CHECK_U64(view.entries[0].cumulative.samples, 3);
    CHECK_U64(view.entries[0].cumulative.bins[1].count, 2);
    mc_stats_view_fini(&view);

    CHECK_INT(mc_stats_merge(stats), MC_OK);
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    CHECK_U64(view.entries[0].interval.samples, 0);
    CHECK_U64(view.entries[0].cumulative.samples, 3);
    mc_stats_view_fini(&view);
    mc_slab_close(one);
    mc_stats_unref(stats);
}

TEST(folding_adds_to_what_was_folded) {
    mc_stats *stats = mc_stats_new();
    mc_stat counter = mc_stats_counter(stats, MC_SLICE("c")), gauge = mc_stats_gauge(stats, MC_SLICE("g"));
    mc_stat histogram = mc_stats_histogram(stats, MC_SLICE("h"));
    for (int i = 1; i <= 3; i++) {
        mc_slab *slab = mc_slab_open(stats);
        mc_counter_add(slab, counter, 7);
        mc_gauge_add(slab, gauge, i == 3 ? -7 : 2);
        mc_histogram_record(slab, histogram, 0);
        mc_histogram_record(slab, histogram, 5);
        mc_histogram_record(slab, histogram, (uint64_t)i * 1000);
        mc_slab_close(slab);
    }
    mc_stats_view view;
    CHECK_INT(mc_stats_view_init(&view, stats, MC_VIEW_MERGE), MC_OK);
    CHECK_U64(entry_of(&view, "c")->value, 21);
    CHECK_INT((int64_t)entry_of(&view, "g")->value, -3);
    const mc_histogram *merged = &entry_of(&view, "h")->cumulative;
    CHECK_U64(merged->samples, 9);
    CHECK_INT(merged->bin_count, 5);
    CHECK_U64(merged->bins[0].count, 3);
    CHECK_U64(merged->bins[1].count, 3);
    CHECK_U64(merged->bins[4].count, 1);
    mc_stats_view_fini(&view);
    mc_stats_unref(stats);
}

TEST(bounds_can_be_replaced) {
    static const double own[] = {1, 2.5};
    mc_stats *stats = mc_stats_new();
    mc_stat histogram = mc_stats_histogram(stats, MC_SLICE("h"));
    mc_stats_view view;
    CHECK_INT(mc_stats_set_bounds(stats, histogram, own, 2), MC_OK);
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    CHECK_INT(view.entries[0].bound_count, 2);
    CHECK(view.entries[0].bounds[1] == 2.5);
    mc_stats_view_fini(&view);
    CHECK_INT(mc_stats_set_bounds(stats, histogram, NULL, 0), MC_OK);
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    CHECK_INT(view.entries[0].bound_count, MC_DEFAULT_BOUNDS);
    mc_stats_view_fini(&view);
    mc_stats_unref(stats);
}

/* One of each kind, asked for under the name of a cluster. */
typedef struct some {
    mc_stat counter, gauge, histogram, text;
} some;

static some ask(mc_stats *stats) {
    mc_slice scope = MC_SLICE("cluster.a");
    some it = {
        .counter = mc_stats_scoped(stats, MC_COUNTER, scope, MC_SLICE("c")),
        .gauge = mc_stats_scoped(stats, MC_GAUGE, scope, MC_SLICE("g")),
        .histogram = mc_stats_scoped(stats, MC_HISTOGRAM, scope, MC_SLICE("h")),
        .text = mc_stats_scoped(stats, MC_TEXT, scope, MC_SLICE("t")),
    };
    return it;
}

static void use(mc_stats *stats, mc_slab *slab, some it) {
    mc_counter_add(slab, it.counter, 5);
    mc_gauge_add(slab, it.gauge, -1);
    mc_histogram_record(slab, it.histogram, 7);
    CHECK_INT(mc_text_set(stats, it.text, MC_SLICE("v")), MC_OK);
}

static void release(mc_stats *stats, some it) {
    mc_stats_release(stats, it.counter);
    mc_stats_release(stats, it.gauge);
    mc_stats_release(stats, it.histogram);
    mc_stats_release(stats, it.text);
}

TEST(released_stats_go_and_their_indexes_come_back) {
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats), *closed = mc_slab_open(stats);
    some first = ask(stats), second = ask(stats);
    CHECK(memcmp(&first, &second, sizeof first) == 0);
    use(stats, slab, first);
    use(stats, closed, first);
    mc_slab_close(closed);
    mc_stats_view before, after;
    CHECK_INT(mc_stats_view_init(&before, stats, MC_VIEW_MERGE), MC_OK);
    release(stats, first);
    CHECK_U64(mc_stats_value(stats, first.counter), 10); /* asked for twice */
    release(stats, second);
    CHECK_U64(mc_stats_value(stats, first.counter), 0);
    CHECK_INT(mc_stats_find(stats, MC_COUNTER, MC_SLICE("cluster.a.c")), 0);
    mc_stats_release(stats, 0);
    mc_stats_release(stats, first.counter); /* nothing is there */

    mc_stat other = mc_stats_gauge(stats, MC_SLICE("other"));
    CHECK(other == first.counter || other == first.gauge || other == first.histogram || other == first.text);
    CHECK_INT(mc_stats_view_init(&after, stats, MC_VIEW_MERGE), MC_OK);
    CHECK_INT(after.count, 1);
    CHECK(!after.entries[0].used && after.entries[0].value == 0);
    mc_stats_view_fini(&after);

    some again = ask(stats);
    use(stats, slab, again);
    CHECK_INT(mc_stats_view_init(&after, stats, MC_VIEW_MERGE), MC_OK);
    CHECK_INT(after.count, 5);
    CHECK_U64(entry_of(&after, "cluster.a.c")->value, 5);
    CHECK_U64(entry_of(&after, "cluster.a.h")->cumulative.samples, 1);
    CHECK_U64(entry_of(&after, "cluster.a.h")->interval.samples, 1);
    /* The view from before still reads what it read. */
    CHECK_INT(before.count, 4);
    CHECK_U64(entry_of(&before, "cluster.a.c")->value, 10);
    CHECK_U64(entry_of(&before, "cluster.a.h")->cumulative.samples, 2);
    mc_stats_view_fini(&before);
    mc_stats_view_fini(&after);
    release(stats, again);
    mc_slab_close(slab);
    mc_stats_unref(stats);
}

/* Hosts that come and go for ever take no more room than one. */
TEST(churn_does_not_grow) {
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats);
    long live = 0;
    mc_stat highest = 0;
    for (unsigned i = 0; i < 5000; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "~host.a.10.0.%u.%u.", i / 256, i % 256);
        mc_stat stat = mc_stats_scoped(stats, MC_COUNTER, mc_slice_of(name, (size_t)n), MC_SLICE("rq_total"));
        mc_stat histogram = mc_stats_histogram(stats, mc_slice_of(name, (size_t)n));
        mc_counter_inc(slab, stat);
        mc_histogram_record(slab, histogram, i);
        CHECK_U64(mc_stats_value(stats, stat), 1);
        highest = stat > highest ? stat : highest;
        mc_stats_release(stats, stat);
        mc_stats_release(stats, histogram);
        CHECK(i < 100 || mc_test_alloc_live() == live);
        live = mc_test_alloc_live();
    }
    CHECK(highest <= 2);
    mc_slab_close(slab);
    mc_stats_unref(stats);
}

TEST(names_of_the_core_are_not_shown) {
    mc_stats *stats = mc_stats_new();
    mc_stats_counter(stats, MC_SLICE("~host.a.10.0.0.1_80.rq_total"));
    mc_stats_counter(stats, MC_SLICE("a"));
    mc_stats_view view;
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    CHECK_INT(view.count, 1);
    CHECK(mc_stats_find(stats, MC_COUNTER, MC_SLICE("~host.a.10.0.0.1_80.rq_total")) != 0);
    mc_stats_view_fini(&view);
    mc_stats_unref(stats);
}

/* More stats than a chunk holds, from the first to the last. */
TEST(many_stats) {
    enum { MANY = 3 * MC_SLAB_CHUNK + 7 };
    mc_stats *stats = mc_stats_new();
    mc_slab *slab = mc_slab_open(stats);
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "stat.%u", i);
        mc_counter_add(slab, mc_stats_counter(stats, mc_slice_of(name, (size_t)n)), i);
    }
    CHECK_U64(mc_stats_value(stats, mc_stats_find(stats, MC_COUNTER, MC_SLICE("stat.0"))), 0);
    CHECK_U64(mc_stats_value(stats, mc_stats_find(stats, MC_COUNTER, MC_SLICE("stat.1542"))), 1542);
    mc_stats_view view;
    uint64_t sum = 0;
    CHECK_INT(mc_stats_view_init(&view, stats, 0), MC_OK);
    for (size_t i = 0; i < view.count; i++) {
        sum += view.entries[i].value;
    }
    CHECK_INT(view.count, MANY);
    CHECK_U64(sum, (uint64_t)MANY * (MANY - 1) / 2);
    mc_stats_view_fini(&view);
    mc_slab_close(slab);
    mc_stats_unref(stats);
}

/* Every allocation of a full round, failing in turn: an error or a dropped sample, never a crash or a leak. */
static void round_trip(bool *complete) {
    mc_stats *stats = mc_stats_new();
    mc_stats_view view;
    *complete = false;
    if (stats == NULL) {
        return;
    }
    mc_slab *slab = mc_slab_open(stats);
    if (slab != NULL) {
        char wide[300];
        memset(wide, 'w', sizeof wide);
        mc_stat counter = mc_stats_counter(stats, MC_SLICE("c"));
        mc_stat text = mc_stats_scoped(stats, MC_TEXT, mc_slice_of(wide, sizeof wide), MC_SLICE("t"));
        mc_stat histogram = mc_stats_histogram(stats, MC_SLICE("h"));
        static const double own[] = {1};
        uint64_t failed = mc_stats_overflow(stats, MC_COUNTER) + mc_stats_overflow(stats, MC_TEXT) +
                          mc_stats_overflow(stats, MC_HISTOGRAM);
        CHECK_INT(failed, (counter == 0) + (text == 0) + (histogram == 0));
        mc_counter_inc(slab, counter);
        mc_histogram_record(slab, histogram, 9);
        mc_status status = mc_text_set(stats, text, MC_SLICE("text"));
        mc_status bounds = mc_stats_set_bounds(stats, histogram, own, 1);
        mc_stat gone = mc_stats_gauge(stats, MC_SLICE("gone"));
        mc_stats_release(stats, gone);
        CHECK_U64(mc_stats_overflow(stats, MC_GAUGE), gone == 0);
        if (mc_stats_view_init(&view, stats, MC_VIEW_MERGE | MC_VIEW_LIVE) == MC_OK) {
            *complete = view.count == 3 && gone != 0 && status == MC_OK && bounds == MC_OK &&
                        entry_of(&view, "c")->value == 1 && entry_of(&view, "h")->cumulative.samples == 1;
            mc_stats_view_fini(&view);
        }
    }
    mc_slab_close(slab);
    mc_stats_unref(stats);
}

TEST(every_allocation_failing) {
    bool complete = false;
    int failures = 0;
    for (long nth = 1; !complete; nth++) {
        CHECK(nth < 1000);
        long live = mc_test_alloc_live();
        mc_test_alloc_fail_at(nth);
        round_trip(&complete);
        mc_test_alloc_fail_at(0);
        CHECK_INT(mc_test_alloc_live(), live);
        failures += !complete;
    }
    CHECK(failures > 10);
}

enum { THREADS = 4, ROUNDS = 20000 };

static mc_stats *shared;

static void *writer(void *arg) {
    mc_slab *slab = mc_slab_open(shared);
    mc_stat counter = mc_stats_counter(shared, MC_SLICE("t.c")), gauge = mc_stats_gauge(shared, MC_SLICE("t.g"));
    mc_stat histogram = mc_stats_histogram(shared, MC_SLICE("t.h"));
    for (unsigned i = 0; i < ROUNDS; i++) {
        mc_counter_inc(slab, counter);
        mc_gauge_add(slab, gauge, 1);
        mc_histogram_record(slab, histogram, i);
        mc_gauge_add(slab, gauge, -1);
        if (i % 1000 == 0) { /* registration beside recording */
            char name[32];
            int n = snprintf(name, sizeof name, "t.%p.%u", arg, i);
            mc_counter_inc(slab, mc_stats_counter(shared, mc_slice_of(name, (size_t)n)));
        }
    }
    mc_slab_close(slab);
    return NULL;
}

TEST(threads_add_up_while_read) {
    pthread_t threads[THREADS];
    char names[THREADS];
    shared = mc_stats_new();
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, writer, &names[i]), 0);
    }
    uint64_t last = 0, intervals = 0;
    mc_stat counter = mc_stats_counter(shared, MC_SLICE("t.c"));
    mc_stats_histogram(shared, MC_SLICE("t.h"));
    for (int round = 0; round < 50; round++) {
        mc_stats_view view;
        uint64_t now = mc_stats_value(shared, counter);
        CHECK(now >= last);
        last = now;
        CHECK_INT(mc_stats_view_init(&view, shared, MC_VIEW_MERGE), MC_OK);
        intervals += entry_of(&view, "t.h")->interval.samples;
        CHECK_U64(entry_of(&view, "t.h")->cumulative.samples, intervals);
        mc_stats_view_fini(&view);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    mc_stats_view view;
    CHECK_INT(mc_stats_view_init(&view, shared, MC_VIEW_MERGE), MC_OK);
    CHECK_U64(entry_of(&view, "t.c")->value, THREADS * ROUNDS);
    CHECK_U64(entry_of(&view, "t.g")->value, 0);
    CHECK(entry_of(&view, "t.g")->used);
    CHECK_U64(intervals + entry_of(&view, "t.h")->interval.samples, THREADS * ROUNDS);
    CHECK_INT(view.count, 3 + THREADS * ROUNDS / 1000);
    mc_stats_view_fini(&view);
    mc_stats_unref(shared);
}
