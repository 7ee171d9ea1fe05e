/* Map from bytes to a pointer: open addressing, linear probing, XXH64. Keys are borrowed: their bytes must outlive the
 * entry. Concurrent reads are safe while nobody writes. */
#ifndef MC_BASE_MAP_H
#define MC_BASE_MAP_H

#include "base/slice.h"

typedef struct mc_map_entry {
    uint64_t hash; /* 0: empty, 1: deleted */
    mc_slice key;
    void *value;
} mc_map_entry;

typedef struct mc_map {
    mc_map_entry *entries;
    size_t cap; /* power of two, or 0 */
    size_t count;
    size_t used; /* count + deleted */
} mc_map;

void mc_map_init(mc_map *map);
void mc_map_fini(mc_map *map);
/* NULL when absent; values should therefore not be NULL. */
void *mc_map_get(const mc_map *map, mc_slice key);
/* Replaces an existing value (the first key's bytes stay). */
MC_MUST_CHECK mc_status mc_map_put(mc_map *map, mc_slice key, void *value);
/* Returns the removed value or NULL. */
void *mc_map_remove(mc_map *map, mc_slice key);
/* Iteration in no order: start with *at = 0; false at the end. */
bool mc_map_next(const mc_map *map, size_t *at, mc_slice *key, void **value);

#endif
