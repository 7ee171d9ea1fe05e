#include "base/random.h"

#include "base/hash.h"

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

void mc_random_seed(mc_random *random, uint64_t seed) {
    for (size_t i = 0; i < 4; i++) {
        random->s[i] = splitmix64(&seed);
    }
    random->draw = NULL;
    random->ctx = NULL;
}

uint64_t mc_random_next(mc_random *random) {
    if (random->draw != NULL) {
        return random->draw(random->ctx);
    }
    uint64_t *s = random->s;
    uint64_t result = mc_rotl64(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = mc_rotl64(s[3], 45);
    return result;
}

uint64_t mc_random_lengthen(mc_random *random, uint64_t time, double percent) {
    const uint64_t most = percent > 0 ? (uint64_t)((double)time * percent / 100) : 0;
    return most == 0 ? time : time + mc_random_next(random) % (most + 1);
}

enum { MT_N = 624, MT_M = 397 };

void mc_mt19937_seed(mc_mt19937 *mt, uint32_t seed) {
    mt->state[0] = seed;
    for (uint32_t i = 1; i < MT_N; i++) {
        mt->state[i] = 1812433253u * (mt->state[i - 1] ^ (mt->state[i - 1] >> 30)) + i;
    }
    mt->at = MT_N;
}

static void mt_twist(mc_mt19937 *mt) {
    for (unsigned i = 0; i < MT_N; i++) {
        uint32_t y = (mt->state[i] & 0x80000000u) | (mt->state[(i + 1) % MT_N] & 0x7fffffffu);
        mt->state[i] = mt->state[(i + MT_M) % MT_N] ^ (y >> 1) ^ ((y & 1u) ? 0x9908b0dfu : 0u);
    }
    mt->at = 0;
}

uint32_t mc_mt19937_next(mc_mt19937 *mt) {
    if (mt->at >= MT_N) {
        mt_twist(mt);
    }
    uint32_t y = mt->state[mt->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}
