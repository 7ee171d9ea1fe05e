#include "base/hash.h"

#include "../test.h"

/* The vectors of rule HA-4. */
static const struct {
    const char *text;
    uint64_t seed0, seed1, murmur;
} vectors[] = {
    {"10.1.0.1:8080", 882326080503284613u, 842056587656790141u, 12234960735866116008u},
    {"10.1.0.1:8080_0", 9349069322858906143u, 2080389202192451599u, 7101996521258488070u},
    {"meshcore", 12933386059808128188u, 6880699386989641941u, 17811240736348729515u},
    {"user-42", 4142921581652311169u, 10141361466834243405u, 11941320052584118171u},
};

TEST(vectors) {
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        size_t n = strlen(vectors[i].text);
        CHECK_U64(mc_xxh64(vectors[i].text, n, 0), vectors[i].seed0);
        CHECK_U64(mc_xxh64(vectors[i].text, n, 1), vectors[i].seed1);
        CHECK_U64(mc_murmur64(vectors[i].text, n, MC_MURMUR_STD_SEED), vectors[i].murmur);
    }
}

TEST(chain) { /* rule HA-2 */
    mc_slice parts[] = {MC_SLICE("alpha"), MC_SLICE("beta")};
    CHECK_U64(mc_xxh64_chain(parts, 2, 0), 5981147922904442091u);
    CHECK_U64(mc_xxh64("alphabeta", 9, 0), 12820489739864339850u);
}

TEST(long_input_uses_all_lanes) {
    char text[100];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)i;
    }
    uint64_t whole = mc_xxh64(text, sizeof text, 0);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] ^= 1;
        CHECK(mc_xxh64(text, sizeof text, 0) != whole);
        text[i] ^= 1;
    }
}
