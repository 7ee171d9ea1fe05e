/* The hashes that decisions rest on, bit for bit as Envoy's (rules HA-1 to HA-4). Pure functions. */
#ifndef MC_BASE_HASH_H
#define MC_BASE_HASH_H

#include "base/slice.h"

/* XXH64 (Yann Collet's published specification), little-endian input on any machine. */
uint64_t mc_xxh64(const void *data, size_t n, uint64_t seed);
/* 64-bit MurmurHash2 as libstdc++'s std::hash<std::string> with seed 0xc70f6907 (HA-3). */
uint64_t mc_murmur64(const void *data, size_t n, uint64_t seed);
#define MC_MURMUR_STD_SEED 0xc70f6907ull
/* HA-2: seed chains through the strings. */
uint64_t mc_xxh64_chain(const mc_slice *strings, size_t count, uint64_t seed);

static inline uint64_t mc_rotl64(uint64_t v, unsigned r) { return (v << r) | (v >> (64 - r)); }

#endif
