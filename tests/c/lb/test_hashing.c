#include "base/defaults.h"
#include "base/hash.h"
#include "lb/maglev.h"
#include "lb/ring_hash.h"
#include "test.h"

static uint64_t hash_of(const char *text) { return mc_xxh64(text, strlen(text), 0); }

static const mc_hash_host TWO[] = {{MC_SLICE_INIT("10.1.0.1:8080"), 0.25}, {MC_SLICE_INIT("10.1.0.2:8080"), 0.75}};

/* The example of rule RH-7. */
TEST(ring_of_rule_rh_7) {
    mc_ring_options options = {6, MC_DEFAULT_RING_MAXIMUM_SIZE, false};
    static const uint32_t owners[] = {1, 0, 1, 0, 1, 1, 1, 1};
    mc_ring *ring;
    CHECK_INT(mc_ring_build(TWO, 2, &options, &ring), MC_OK);
    CHECK_INT(ring->count, 8);
    CHECK_INT(ring->size, 8);
    CHECK_INT(ring->min_per_host, 2);
    CHECK_INT(ring->max_per_host, 6);
    for (size_t i = 0; i < 8; i++) {
        CHECK_INT(ring->hosts[i], owners[i]);
    }
    CHECK_U64(ring->hashes[0], 8256321548735522463u);
    CHECK_U64(ring->hashes[7], 17276386938393058899u);
    CHECK_INT(mc_ring_pick(ring, hash_of("user-42"), 0), 1);
    CHECK_INT(mc_ring_pick(ring, hash_of("user-42"), 1), 0);
    CHECK_INT(mc_ring_pick(ring, hash_of("meshcore"), 0), 1);
    CHECK_INT(mc_ring_pick(ring, hash_of("meshcore"), 1), 1); /* wraps to point 0 */
    mc_ring_free(ring);
}

TEST(ring_of_rule_rh_7_by_murmur) {
    mc_ring_options options = {6, MC_DEFAULT_RING_MAXIMUM_SIZE, true};
    static const uint32_t owners[] = {1, 1, 1, 0, 0};
    mc_ring *ring;
    CHECK_INT(mc_ring_build(TWO, 2, &options, &ring), MC_OK);
    for (size_t i = 0; i < 5; i++) {
        CHECK_INT(ring->hosts[i], owners[i]);
    }
    CHECK_INT(mc_ring_pick(ring, hash_of("user-42"), 0), 0);
    mc_ring_free(ring);
}

/* First point at or after the hash, else the first of all (RH-6), at every edge. */
TEST(ring_lookup_at_the_edges) {
    mc_hash_host hosts[5] = {{MC_SLICE_INIT("a"), 0.2},
                             {MC_SLICE_INIT("b"), 0.2},
                             {MC_SLICE_INIT("c"), 0.2},
                             {MC_SLICE_INIT("d"), 0.2},
                             {MC_SLICE_INIT("e"), 0.2}};
    for (size_t size = 1; size <= 40; size++) {
        mc_ring_options options = {size, MC_DEFAULT_RING_MAXIMUM_SIZE, false};
        mc_ring *ring;
        CHECK_INT(mc_ring_build(hosts, 5, &options, &ring), MC_OK);
        CHECK_INT(mc_ring_pick(ring, 0, 0), ring->hosts[0]);
        for (size_t i = 0; i < ring->count; i++) {
            size_t next = (i + 1) % ring->count;
            CHECK(i == 0 || ring->hashes[i - 1] < ring->hashes[i]);
            CHECK_INT(mc_ring_pick(ring, ring->hashes[i], 0), ring->hosts[i]);
            CHECK_INT(mc_ring_pick(ring, ring->hashes[i] + 1, 0), ring->hosts[next]);
            CHECK_INT(mc_ring_pick(ring, ring->hashes[i], 3), ring->hosts[(i + 3) % ring->count]);
        }
        mc_ring_free(ring);
    }
}

TEST(ring_size_is_held_to_the_maximum) {
    mc_hash_host hosts[] = {{MC_SLICE_INIT("a"), 0.001}, {MC_SLICE_INIT("b"), 0.999}};
    mc_ring_options options = {1, 10, false};
    mc_ring *ring;
    CHECK_INT(mc_ring_build(hosts, 2, &options, &ring), MC_OK);
    CHECK_INT(ring->size, 10);
    CHECK_INT(ring->count, 10);
    CHECK_INT(ring->min_per_host, 1); /* the fraction of the first host's point carries */
    CHECK_INT(ring->max_per_host, 9);
    mc_ring_free(ring);
}

TEST(ring_without_hosts_picks_nothing) {
    mc_ring_options options = {1024, 1024, false};
    mc_ring *ring;
    CHECK_INT(mc_ring_build(NULL, 0, &options, &ring), MC_OK);
    CHECK(mc_ring_pick(ring, 1, 0) == SIZE_MAX);
    mc_ring_free(ring);
}

static const mc_hash_host THREE[] = {{MC_SLICE_INIT("10.1.0.1:8080"), 0.25},
                                     {MC_SLICE_INIT("10.1.0.2:8080"), 0.5},
                                     {MC_SLICE_INIT("10.1.0.3:8080"), 0.25}};

/* The example of rule MG-6. */
TEST(maglev_of_rule_mg_6) {
    static const uint32_t slots[] = {0, 0, 2, 1, 1, 2, 2, 1, 1, 0, 1};
    mc_maglev *maglev;
    CHECK_INT(mc_maglev_build(THREE, 3, 11, &maglev), MC_OK);
    for (uint64_t i = 0; i < 11; i++) {
        CHECK_INT(mc_maglev_at(maglev, i), slots[i]);
    }
    CHECK_INT(maglev->min_per_host, 3);
    CHECK_INT(maglev->max_per_host, 5);
    CHECK_INT(mc_maglev_pick(maglev, hash_of("user-42"), 0), slots[8]);
    CHECK_INT(mc_maglev_pick(maglev, hash_of("user-42"), 1), slots[7]);
    CHECK_INT(mc_maglev_pick(maglev, hash_of("user-42"), 2), slots[8]);
    CHECK_INT(mc_maglev_pick(maglev, hash_of("meshcore"), 0), slots[10]);
    CHECK_INT(mc_maglev_pick(maglev, hash_of("meshcore"), 1), slots[5]);
    mc_maglev_free(maglev);
}

/* The indexes are those of the hosts given, whatever their order; the table is the keys'. */
TEST(maglev_does_not_depend_on_the_order_of_hosts) {
    const mc_hash_host turned[] = {THREE[2], THREE[0], THREE[1]};
    mc_maglev *a, *b;
    CHECK_INT(mc_maglev_build(THREE, 3, 65537, &a), MC_OK);
    CHECK_INT(mc_maglev_build(turned, 3, 65537, &b), MC_OK);
    for (uint64_t i = 0; i < 65537; i++) {
        CHECK_INT((mc_maglev_at(b, i) + 2) % 3, mc_maglev_at(a, i));
    }
    mc_maglev_free(a);
    mc_maglev_free(b);
}

TEST(maglev_with_more_hosts_than_slots) {
    mc_maglev *maglev;
    CHECK_INT(mc_maglev_build(THREE, 3, 2, &maglev), MC_OK);
    CHECK_INT(maglev->min_per_host, 0);
    CHECK_INT(mc_maglev_at(maglev, 0) + mc_maglev_at(maglev, 1), 1);
    mc_maglev_free(maglev);
}

TEST(maglev_sizes) {
    static const struct {
        uint64_t size;
        bool ok;
    } cases[] = {{0, false}, {1, false},    {2, true},      {3, true},       {4, false},       {9, false},
                 {11, true}, {65537, true}, {65536, false}, {5000011, true}, {5000021, false}, {UINT64_MAX, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(mc_maglev_size_ok(cases[i].size), cases[i].ok);
    }
}

TEST(allocation_failures_are_returned) {
    mc_ring_options options = {1024, 8388608, false};
    for (long n = 1;; n++) {
        mc_ring *ring = NULL;
        mc_test_alloc_fail_at(n);
        mc_status status = mc_ring_build(TWO, 2, &options, &ring);
        mc_test_alloc_fail_at(0);
        if (status == MC_OK) {
            CHECK(n > 3);
            mc_ring_free(ring);
            break;
        }
        CHECK_INT(status, MC_ENOMEM);
    }
    for (long n = 1;; n++) {
        mc_maglev *maglev = NULL;
        mc_test_alloc_fail_at(n);
        mc_status status = mc_maglev_build(THREE, 3, 101, &maglev);
        mc_test_alloc_fail_at(0);
        if (status == MC_OK) {
            CHECK(n > 3);
            mc_maglev_free(maglev);
            break;
        }
        CHECK_INT(status, MC_ENOMEM);
    }
}
