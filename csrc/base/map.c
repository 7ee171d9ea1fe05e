#include "base/map.h"

#include "base/alloc.h"
#include "base/hash.h"

enum { EMPTY = 0, DELETED = 1 };

static uint64_t key_hash(mc_slice key) {
    uint64_t hash = mc_xxh64(key.p, key.n, 0);
    return hash <= DELETED ? hash + 2 : hash;
}

void mc_map_init(mc_map *map) { *map = (mc_map){NULL, 0, 0, 0}; }

void mc_map_fini(mc_map *map) {
    mc_free(map->entries);
    mc_map_init(map);
}

static mc_map_entry *find(const mc_map *map, mc_slice key, uint64_t hash) {
    if (map->cap == 0) {
        return NULL;
    }
    for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
        mc_map_entry *entry = &map->entries[i];
        if (entry->hash == EMPTY) {
            return NULL;
        }
        if (entry->hash == hash && mc_slice_eq(entry->key, key)) {
            return entry;
        }
    }
}

void *mc_map_get(const mc_map *map, mc_slice key) {
    const mc_map_entry *entry = find(map, key, key_hash(key));
    return entry == NULL ? NULL : entry->value;
}

static void place(mc_map *map, mc_map_entry entry) {
    size_t i = entry.hash & (map->cap - 1);
    while (map->entries[i].hash > DELETED) {
        i = (i + 1) & (map->cap - 1);
    }
    map->used += map->entries[i].hash == EMPTY;
    map->entries[i] = entry;
    map->count++;
}

static mc_status rehash(mc_map *map) {
    size_t cap = 8;
    while (cap < (map->count + 1) * 2) {
        cap *= 2;
    }
    mc_map grown = {mc_calloc(cap, sizeof(mc_map_entry)), cap, 0, 0};
    if (grown.entries == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < map->cap; i++) {
        if (map->entries[i].hash > DELETED) {
            place(&grown, map->entries[i]);
        }
    }
    mc_free(map->entries);
    *map = grown;
    return MC_OK;
}

mc_status mc_map_put(mc_map *map, mc_slice key, void *value) {
    uint64_t hash = key_hash(key);
    mc_map_entry *existing = find(map, key, hash);
    if (existing != NULL) {
        existing->value = value;
        return MC_OK;
    }
    if ((map->used + 1) * 4 > map->cap * 3) {
        mc_status status = rehash(map);
        if (status != MC_OK) {
            return status;
        }
    }
    place(map, (mc_map_entry){hash, key, value});
    return MC_OK;
}

void *mc_map_remove(mc_map *map, mc_slice key) {
    mc_map_entry *entry = find(map, key, key_hash(key));
    if (entry == NULL) {
        return NULL;
    }
    entry->hash = DELETED;
    map->count--;
    return entry->value;
}

bool mc_map_next(const mc_map *map, size_t *at, mc_slice *key, void **value) {
    for (; *at < map->cap; (*at)++) {
        const mc_map_entry *entry = &map->entries[*at];
        if (entry->hash > DELETED) {
            *key = entry->key;
            *value = entry->value;
            (*at)++;
            return true;
        }
    }
    return false;
}
