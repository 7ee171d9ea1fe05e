/* Names that are resolved on demand (CL-17): a worker's view of them, and hosts by name. */
#include "pool/names.h"

#include "../test.h"
#include "base/alloc.h"

static mc_stats *stats;
static mc_slab *slab;
static mc_name_cache *cache;
static mc_names *names;
static int asked;

static mc_status ask(void *ctx, mc_name_cache *which, mc_slice key) {
    CHECK(ctx == &asked && which == cache && key.n > 0);
    asked++;
    return MC_OK;
}

static void setup(uint32_t max_hosts, uint32_t max_pending) {
    stats = mc_stats_new();
    slab = mc_slab_open(stats);
    cache = mc_name_cache_new(MC_SLICE("c"), stats);
    mc_name_cache_set(cache, max_hosts, max_pending, slab);
    names = mc_names_new(cache, slab, ask, &asked);
    CHECK(stats != NULL && slab != NULL && cache != NULL && names != NULL);
    asked = 0;
}

static void teardown(void) {
    mc_names_free(names);
    CHECK_INT(cache->pending.count, 0);
    mc_name_cache_free(cache);
    mc_slab_close(slab);
    mc_stats_unref(stats);
}

typedef struct waiter {
    mc_name_wait wait;
    int calls;
    char details[32];
    struct waiter *gives_up; /* when it is called */
    mc_name_wait *again;     /* asks once more when it is called */
} waiter;

static const mc_slice KEY = MC_SLICE_INIT("a.test:80");

static mc_name_answer look(mc_name_wait *wait) {
    mc_slice details;
    return mc_names_look(names, KEY, false, wait, &details);
}

static void done(mc_name_wait *wait, mc_slice details) {
    waiter *w = MC_CONTAINER(wait, waiter, wait);
    w->calls++;
    snprintf(w->details, sizeof w->details, "%.*s", MC_SLICE_ARG(details));
    if (w->gives_up != NULL) {
        mc_name_wait_cancel(&w->gives_up->wait);
    }
    if (w->again != NULL) {
        CHECK_INT(look(w->again), MC_NAME_KNOWN);
    }
}

static waiter make_waiter(void) { return (waiter){.wait = {.done = done}}; }

TEST(who_waits_hears_of_it_once) {
    setup(10, 10);
    waiter one = make_waiter(), two = make_waiter();
    CHECK_INT(look(&one.wait), MC_NAME_LOADING);
    CHECK_INT(look(&two.wait), MC_NAME_LOADING);
    CHECK_INT(asked, 2);
    CHECK_INT(cache->pending.count, 2);
    mc_names_tell(names, KEY, MC_SLICE_NONE);
    CHECK_INT(one.calls + two.calls, 2);
    CHECK_INT(cache->pending.count, 0);
    CHECK_INT(look(&one.wait), MC_NAME_KNOWN);
    CHECK_INT(asked, 2);
    teardown();
}

TEST(one_that_goes_on_gives_up_another) {
    setup(10, 10);
    waiter one = make_waiter(), two = make_waiter();
    one.gives_up = &two;
    one.again = &one.wait;
    CHECK_INT(look(&one.wait), MC_NAME_LOADING);
    CHECK_INT(look(&two.wait), MC_NAME_LOADING);
    mc_names_tell(names, KEY, MC_SLICE_NONE);
    CHECK_INT(one.calls, 1);
    CHECK_INT(two.calls, 0);
    teardown();
}

TEST(why_there_is_no_address_is_remembered_until_it_is_forgotten) {
    setup(10, 10);
    waiter w = make_waiter();
    mc_slice details;
    CHECK_INT(look(&w.wait), MC_NAME_LOADING);
    mc_names_tell(names, KEY, MC_SLICE("no such name"));
    CHECK_SLICE(mc_slice_cstr(w.details), "no such name");
    CHECK_INT(mc_names_look(names, KEY, false, &w.wait, &details), MC_NAME_FAILED);
    CHECK_SLICE(details, "no such name");
    mc_names_forget(names, KEY);
    CHECK_INT(look(&w.wait), MC_NAME_LOADING);
    mc_names_forget(names, KEY); /* somebody waits: it stays */
    mc_names_tell(names, KEY, MC_SLICE_NONE);
    CHECK_INT(w.calls, 2);
    CHECK_INT(look(&w.wait), MC_NAME_KNOWN);
    teardown();
}

TEST(limits) {
    setup(1, 1);
    waiter one = make_waiter(), two = make_waiter();
    CHECK_INT(look(&one.wait), MC_NAME_LOADING);
    CHECK_INT(look(&two.wait), MC_NAME_TOO_MANY_WAIT);
    mc_name_wait_cancel(&one.wait);
    atomic_store(&cache->host_count, 1);
    CHECK_INT(look(&two.wait), MC_NAME_CACHE_FULL);
    mc_names_tell(names, KEY, MC_SLICE_NONE);
    CHECK_INT(look(&two.wait), MC_NAME_KNOWN);
    CHECK_U64(mc_stats_value(stats, cache->host_overflow), 1);
    CHECK_U64(mc_stats_value(stats, cache->pending_overflow), 1);
    teardown();
}

TEST(who_still_waits_at_the_end_is_let_go) {
    setup(10, 10);
    waiter w = make_waiter();
    CHECK_INT(look(&w.wait), MC_NAME_LOADING);
    teardown();
    CHECK(!mc_name_waits(&w.wait));
    CHECK_INT(w.calls, 0);
}

TEST(one_question_for_those_that_wait_together) {
    setup(UINT32_MAX, UINT32_MAX);
    waiter a = make_waiter(), b = make_waiter();
    CHECK_INT(mc_names_await(names, KEY, &a.wait), MC_NAME_LOADING);
    CHECK_INT(mc_names_await(names, KEY, &b.wait), MC_NAME_LOADING);
    CHECK_INT(asked, 1);
    mc_names_tell(names, KEY, MC_SLICE_NONE);
    mc_names_forget(names, KEY);
    CHECK_INT(a.calls + b.calls, 2);
    CHECK_INT(mc_names_await(names, KEY, &a.wait), MC_NAME_LOADING);
    CHECK_INT(asked, 2);
    mc_name_wait_cancel(&a.wait);
    mc_names_forget(names, KEY);
    CHECK_INT(mc_names_await(names, KEY, &a.wait), MC_NAME_LOADING);
    CHECK_INT(asked, 3);
    teardown();
}

TEST(keys) {
    static const char *const cases[][2] = {
        {"a.test", "a.test:80"},
        {"a.test:81", "a.test:81"},
        {"a.test:x", "a.test:x:80"},
        {"a.test:", "a.test::80"},
        {"a.test:65536", "a.test:65536:80"},
        {"[::1]", "[::1]:80"},
        {"[::1]:8080", "[::1]:8080"},
        {"::1", "::1"},
        {":81", ":81"},
    };
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_slice key;
        CHECK_INT(mc_name_key(mc_slice_cstr(cases[i][0]), 80, &arena, &key), MC_OK);
        CHECK_SLICE(key, cases[i][1]);
    }
    mc_arena_fini(&arena);
}

static mc_address_list *addresses(const char *ip) {
    mc_address address;
    CHECK_INT(mc_address_parse(&address, mc_slice_cstr(ip), 80), MC_OK);
    return mc_address_list_new(&address, 1, 0, 1);
}

TEST(a_host_keeps_its_name_when_its_addresses_change) {
    mc_named named;
    mc_lb_config config = {0};
    mc_address_list *first = addresses("10.0.0.1"), *second = addresses("10.0.0.2");
    mc_host *host = mc_hosts_make_named(KEY, &first->items[0], &config, MC_SLICE("c"), NULL);
    char text[MC_ADDRESS_TEXT];
    mc_named_init(&named);
    CHECK_INT(mc_named_put(&named, host, first), MC_OK);
    CHECK(mc_named_find(&named, KEY) == host);
    CHECK_INT(mc_named_put(&named, host, second), MC_OK);
    mc_address_text(mc_named_address(&named, host, 0), text);
    CHECK_SLICE(mc_slice_cstr(text), "10.0.0.2:80");
    CHECK(mc_named_address(&named, host, 1) == NULL);
    mc_host *taken = mc_named_take(&named, KEY);
    CHECK(taken == host && mc_named_find(&named, KEY) == NULL && mc_named_take(&named, KEY) == NULL);
    CHECK(mc_named_address(&named, host, 0) == NULL);
    mc_host_unref(taken);
    CHECK_INT(mc_named_put(&named, host, first), MC_OK);
    mc_named_fini(&named);
    mc_host_unref(host);
    mc_address_list_unref(first);
    mc_address_list_unref(second);
}
