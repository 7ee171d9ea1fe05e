#include "base/hash.h"

static const uint64_t P1 = 0x9E3779B185EBCA87ull, P2 = 0xC2B2AE3D27D4EB4Full, P3 = 0x165667B19E3779F9ull,
                      P4 = 0x85EBCA77C2B2AE63ull, P5 = 0x27D4EB2F165667C5ull;

static uint64_t load64(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static uint32_t load32(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}

static uint64_t xxh_round(uint64_t acc, uint64_t input) { return mc_rotl64(acc + input * P2, 31) * P1; }

static uint64_t xxh_merge(uint64_t acc, uint64_t lane) { return (acc ^ xxh_round(0, lane)) * P1 + P4; }

static uint64_t xxh_stripes(const unsigned char **at, size_t n, uint64_t seed) {
    uint64_t v1 = seed + P1 + P2, v2 = seed + P2, v3 = seed, v4 = seed - P1;
    const unsigned char *p = *at, *limit = p + (n & ~(size_t)31);
    for (; p < limit; p += 32) {
        v1 = xxh_round(v1, load64(p));
        v2 = xxh_round(v2, load64(p + 8));
        v3 = xxh_round(v3, load64(p + 16));
        v4 = xxh_round(v4, load64(p + 24));
    }
    *at = p;
    uint64_t h = mc_rotl64(v1, 1) + mc_rotl64(v2, 7) + mc_rotl64(v3, 12) + mc_rotl64(v4, 18);
    return xxh_merge(xxh_merge(xxh_merge(xxh_merge(h, v1), v2), v3), v4);
}

uint64_t mc_xxh64(const void *data, size_t n, uint64_t seed) {
    if (n == 0) {
        data = "";
    }
    const unsigned char *p = data, *end = p + n;
    uint64_t h = (n >= 32 ? xxh_stripes(&p, n, seed) : seed + P5) + (uint64_t)n;
    for (; end - p >= 8; p += 8) {
        h = mc_rotl64(h ^ xxh_round(0, load64(p)), 27) * P1 + P4;
    }
    if (end - p >= 4) {
        h = mc_rotl64(h ^ (uint64_t)load32(p) * P1, 23) * P2 + P3;
        p += 4;
    }
    for (; p < end; p++) {
        h = mc_rotl64(h ^ *p * P5, 11) * P1;
    }
    h = (h ^ (h >> 33)) * P2;
    h = (h ^ (h >> 29)) * P3;
    return h ^ (h >> 32);
}

uint64_t mc_murmur64(const void *data, size_t n, uint64_t seed) {
    const uint64_t m = 0xc6a4a7935bd1e995ull;
    const unsigned char *p = n == 0 ? (const unsigned char *)"" : data;
    const unsigned char *end = p + (n & ~(size_t)7);
    uint64_t h = seed ^ ((uint64_t)n * m);
    for (; p < end; p += 8) {
        uint64_t k = load64(p) * m;
        h = (h ^ ((k ^ (k >> 47)) * m)) * m;
    }
    if ((n & 7) != 0) {
        uint64_t tail = 0;
        for (size_t i = 0; i < (n & 7); i++) {
            tail |= (uint64_t)p[i] << (8 * i);
        }
        h = (h ^ tail) * m;
    }
    h = (h ^ (h >> 47)) * m;
    return h ^ (h >> 47);
}

uint64_t mc_xxh64_chain(const mc_slice *strings, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) {
        seed = mc_xxh64(strings[i].p, strings[i].n, seed);
    }
    return seed;
}
