#include "../test.h"
#include "http/headers.h"

static mc_arena arena;
static mc_headers headers;

static void fresh(void) {
    mc_arena_init(&arena, NULL);
    mc_headers_init(&headers, &arena);
}

static void add(const char *name, const char *value) {
    CHECK_INT(mc_headers_add(&headers, mc_slice_cstr(name), mc_slice_cstr(value)), MC_OK);
}

/* The map's own account of itself: live entries, bytes, first of each id. */
static void check_consistent(void) {
    uint32_t live = 0, bytes = 0;
    uint16_t first[MC_H__COUNT] = {0};
    for (uint32_t i = 0; i < headers.count; i++) {
        const mc_header *item = &headers.items[i];
        if (item->removed) {
            continue;
        }
        live++;
        bytes += (uint32_t)(item->name.n + item->value.n);
        if (item->id != MC_H_UNKNOWN && first[item->id] == 0) {
            first[item->id] = (uint16_t)(i + 1);
        }
        CHECK_INT(item->id, mc_header_lookup(item->name));
    }
    CHECK_INT(headers.live, live);
    CHECK_INT(headers.bytes, bytes);
    CHECK(memcmp(first, headers.first, sizeof first) == 0);
}

TEST(lookup_finds_every_known_name_and_nothing_else) {
    for (int id = 1; id < MC_H__COUNT; id++) {
        mc_slice name = mc_header_name((mc_header_id)id);
        CHECK_INT(mc_header_lookup(name), id);
        char other[64];
        memcpy(other, name.p, name.n);
        for (size_t i = 0; i < name.n; i++) { /* any one byte different */
            other[i] ^= 1;
            int found = mc_header_lookup((mc_slice){other, name.n});
            CHECK(found == MC_H_UNKNOWN || mc_slice_eq(mc_header_name((mc_header_id)found), (mc_slice){other, name.n}));
            CHECK(found != id);
            other[i] ^= 1;
        }
        CHECK(mc_header_lookup(mc_slice_until(name, name.n - 1)) != (mc_header_id)id);
    }
    CHECK_INT(mc_header_lookup(MC_SLICE("")), MC_H_UNKNOWN);
    CHECK_INT(mc_header_lookup(MC_SLICE("a")), MC_H_UNKNOWN);
    CHECK_INT(mc_header_lookup(MC_SLICE("Host")), MC_H_UNKNOWN);
}

TEST(add_get_any_case) {
    fresh();
    add("X-Thing", "1");
    add("HOST", "h");
    add("x-thing", "2");
    CHECK_SLICE(headers.items[0].name, "x-thing");
    CHECK_SLICE(mc_headers_get(&headers, MC_SLICE("X-THING")), "1");
    CHECK_SLICE(mc_headers_get(&headers, MC_SLICE("Host")), "h");
    CHECK_SLICE(mc_headers_get_known(&headers, MC_H_HOST), "h");
    CHECK(mc_headers_get(&headers, MC_SLICE("nope")).p == NULL);
    CHECK(mc_headers_get_known(&headers, MC_H_TE).p == NULL);
    check_consistent();
    mc_arena_fini(&arena);
}

TEST(next_walks_repeats_in_order) {
    fresh();
    add("a-b", "1");
    add("via", "x");
    add("a-b", "2");
    add("via", "y");
    uint32_t at = 0;
    CHECK_SLICE(mc_headers_next(&headers, MC_SLICE("A-B"), &at)->value, "1");
    CHECK_SLICE(mc_headers_next(&headers, MC_SLICE("A-B"), &at)->value, "2");
    CHECK(mc_headers_next(&headers, MC_SLICE("A-B"), &at) == NULL);
    at = 0;
    CHECK_SLICE(mc_headers_next(&headers, MC_SLICE("via"), &at)->value, "x");
    CHECK_SLICE(mc_headers_next(&headers, MC_SLICE("via"), &at)->value, "y");
    CHECK(mc_headers_next(&headers, MC_SLICE("via"), &at) == NULL);
    mc_arena_fini(&arena);
}

TEST(set_replaces_first_and_drops_rest) {
    fresh();
    add("via", "1");
    add("x", "1");
    add("via", "2");
    add("x", "2");
    CHECK_INT(mc_headers_set(&headers, MC_SLICE("Via"), MC_SLICE("3")), MC_OK);
    CHECK_INT(mc_headers_set(&headers, MC_SLICE("X"), MC_SLICE("4")), MC_OK);
    CHECK_INT(mc_headers_set(&headers, MC_SLICE("New"), MC_SLICE("5")), MC_OK);
    CHECK_INT(mc_headers_set_known_ref(&headers, MC_H_TE, MC_SLICE_NONE), MC_OK);
    CHECK_INT(headers.live, 4);
    CHECK_SLICE(headers.items[0].value, "3");
    CHECK_SLICE(headers.items[1].value, "4");
    CHECK_SLICE(mc_headers_get(&headers, MC_SLICE("new")), "5");
    CHECK(mc_headers_has(&headers, MC_H_TE) && mc_headers_get_known(&headers, MC_H_TE).p != NULL);
    check_consistent();
    mc_arena_fini(&arena);
}

TEST(remove_moves_first_on) {
    fresh();
    add("via", "1");
    add("y", "1");
    add("via", "2");
    mc_headers_remove_at(&headers, 0);
    mc_headers_remove_at(&headers, 0);
    CHECK_SLICE(mc_headers_get_known(&headers, MC_H_VIA), "2");
    check_consistent();
    CHECK_INT(mc_headers_remove(&headers, MC_SLICE("VIA")), 1);
    CHECK_INT(mc_headers_remove(&headers, MC_SLICE("Y")), 1);
    CHECK_INT(mc_headers_remove(&headers, MC_SLICE("y")), 0);
    CHECK_INT(mc_headers_remove_known(&headers, MC_H_VIA), 0);
    CHECK_INT(headers.live, 0);
    CHECK_INT(headers.bytes, 0);
    check_consistent();
    add("via", "3");
    CHECK_SLICE(mc_headers_get_known(&headers, MC_H_VIA), "3");
    check_consistent();
    mc_arena_fini(&arena);
}

TEST(joined) {
    fresh();
    mc_slice out;
    add("x", "1");
    CHECK_INT(mc_headers_joined(&headers, MC_SLICE("none"), &arena, &out), MC_OK);
    CHECK(out.p == NULL);
    CHECK_INT(mc_headers_joined(&headers, MC_SLICE("X"), &arena, &out), MC_OK);
    CHECK(out.p == headers.items[0].value.p);
    add("x", "");
    add("accept", "a");
    add("x", "3");
    add("accept", "b");
    CHECK_INT(mc_headers_joined(&headers, MC_SLICE("x"), &arena, &out), MC_OK);
    CHECK_SLICE(out, "1,,3");
    CHECK_INT(mc_headers_joined(&headers, MC_SLICE("accept"), &arena, &out), MC_OK);
    CHECK_SLICE(out, "a,b");
    mc_arena_fini(&arena);
}

TEST(append_value) {
    fresh();
    CHECK_INT(mc_headers_append_value(&headers, MC_H_VIA, MC_SLICE(", "), MC_SLICE("a")), MC_OK);
    CHECK_INT(mc_headers_append_value(&headers, MC_H_VIA, MC_SLICE(", "), MC_SLICE("b")), MC_OK);
    CHECK_SLICE(mc_headers_get_known(&headers, MC_H_VIA), "a, b");
    check_consistent();
    mc_arena_fini(&arena);
}

TEST(grows_and_keeps_order) {
    fresh();
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        add(name, name);
    }
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        CHECK_SLICE(headers.items[i].value, name);
    }
    check_consistent();
    mc_arena_fini(&arena);
}

static mc_status build(void) {
    mc_status status = mc_headers_add(&headers, MC_SLICE("A"), MC_SLICE("1"));
    for (int i = 0; status == MC_OK && i < 60; i++) {
        status = mc_headers_add_known(&headers, MC_H_VIA,
                                      MC_SLICE("a rather long value to fill blocks with, "
                                               "so that more than one is asked for"));
    }
    mc_slice out;
    status = status != MC_OK ? status : mc_headers_joined(&headers, MC_SLICE("via"), &arena, &out);
    status = status != MC_OK ? status : mc_headers_set(&headers, MC_SLICE("a"), MC_SLICE("2"));
    return status != MC_OK ? status : mc_headers_append_value(&headers, MC_H_VIA, MC_SLICE(","), MC_SLICE("x"));
}

TEST(every_failing_allocation_is_reported) {
    for (long nth = 1;; nth++) {
        fresh();
        mc_test_alloc_fail_at(nth);
        mc_status status = build();
        mc_test_alloc_fail_at(0);
        check_consistent();
        mc_arena_fini(&arena);
        if (status == MC_OK) {
            CHECK(nth > 3);
            return;
        }
        CHECK_INT(status, MC_ENOMEM);
    }
}
