/* Random numbers, always taken from the owner (loop, balancer, caller), never from a global.
 *
 * The default generator is xoshiro256** (Blackman and Vigna), seeded by splitmix64. `draw` lets a user or test replace it,
 * because the number and order of draws is part of a balancer's behaviour. Single-threaded. */
#ifndef MC_BASE_RANDOM_H
#define MC_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct mc_random {
    uint64_t s[4];
    uint64_t (*draw)(void *ctx); /* when set, replaces the generator */
    void *ctx;
} mc_random;

void mc_random_seed(mc_random *random, uint64_t seed);
uint64_t mc_random_next(mc_random *random);
/* `time`, longer by up to this share of it; no draw where the share is 0. */
uint64_t mc_random_lengthen(mc_random *random, uint64_t time, double percent);

/* mt19937 (Matsumoto and Nishimura), for the bounded-load probe order of rule RH-9. */
typedef struct mc_mt19937 {
    uint32_t state[624];
    unsigned at;
} mc_mt19937;

void mc_mt19937_seed(mc_mt19937 *mt, uint32_t seed);
uint32_t mc_mt19937_next(mc_mt19937 *mt);

#endif
