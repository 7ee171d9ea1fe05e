#include "base/arena.h"

#include "base/alloc.h"

void mc_block_pool_init(mc_block_pool *pool, size_t keep) { *pool = (mc_block_pool){NULL, 0, keep}; }

void mc_block_pool_fini(mc_block_pool *pool) {
    while (pool->free != NULL) {
        mc_block *block = pool->free;
        pool->free = block->next;
        mc_free(block);
    }
    pool->free_count = 0;
}

static mc_block *block_get(mc_block_pool *pool, size_t size) {
    if (size == MC_BLOCK_SIZE - sizeof(mc_block) && pool != NULL && pool->free != NULL) {
        mc_block *block = pool->free;
        pool->free = block->next;
        pool->free_count--;
        return block;
    }
    if (size > SIZE_MAX - sizeof(mc_block)) {
        return NULL;
    }
    mc_block *block = mc_malloc(sizeof(mc_block) + size);
    if (block != NULL) {
        block->size = size;
    }
    return block;
}

static void block_put(mc_block_pool *pool, mc_block *block) {
    if (pool != NULL && block->size == MC_BLOCK_SIZE - sizeof(mc_block) && pool->free_count < pool->keep) {
        block->next = pool->free;
        pool->free = block;
        pool->free_count++;
        return;
    }
    mc_free(block);
}

void mc_arena_init(mc_arena *arena, mc_block_pool *pool) { *arena = (mc_arena){.pool = pool}; }

void mc_arena_fini(mc_arena *arena) {
    for (; MC_UNLIKELY(arena->deferred != NULL); arena->deferred = arena->deferred->next) {
        arena->deferred->call(arena->deferred->object);
    }
    mc_block *block = arena->blocks;
    while (block != NULL) {
        mc_block *next = block->next;
        block_put(arena->pool, block);
        block = next;
    }
    arena->at = arena->end = NULL;
    arena->blocks = NULL;
}

mc_status mc_arena_defer(mc_arena *arena, void (*call)(void *object), void *object) {
    mc_arena_deferred *deferred = mc_arena_alloc(arena, sizeof *deferred);
    if (deferred == NULL) {
        return MC_ENOMEM;
    }
    *deferred = (mc_arena_deferred){call, object, arena->deferred};
    arena->deferred = deferred;
    return MC_OK;
}

static void *arena_slow(mc_arena *arena, size_t size) {
    const size_t standard = MC_BLOCK_SIZE - sizeof(mc_block);
    bool large = size > standard / 2;
    mc_block *block = block_get(arena->pool, large ? size : standard);
    if (block == NULL) {
        return NULL;
    }
    if (large && arena->blocks != NULL) { /* keep filling the current block */
        block->next = arena->blocks->next;
        arena->blocks->next = block;
        return block->data;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    arena->at = block->data + size;
    arena->end = block->data + block->size;
    return block->data;
}

char *mc_arena_bytes(mc_arena *arena, size_t size) {
    if (MC_LIKELY((size_t)(arena->end - arena->at) >= size && arena->at != NULL)) {
        char *out = arena->at;
        arena->at += size;
        return out;
    }
    return arena_slow(arena, size);
}

void mc_arena_trim(mc_arena *arena, const char *end, char *keep) {
    if (arena->at == end) {
        arena->at = keep;
    }
}

void *mc_arena_alloc(mc_arena *arena, size_t size) {
    size_t pad = (size_t)(-(uintptr_t)arena->at & 7u);
    if (MC_LIKELY(arena->at != NULL && (size_t)(arena->end - arena->at) >= pad &&
                  (size_t)(arena->end - arena->at) - pad >= size)) {
        char *out = arena->at + pad;
        arena->at = out + size;
        return out;
    }
    return arena_slow(arena, size);
}

void *mc_arena_zalloc(mc_arena *arena, size_t size) {
    void *out = mc_arena_alloc(arena, size);
    if (out != NULL) {
        memset(out, 0, size);
    }
    return out;
}

mc_status mc_arena_dup(mc_arena *arena, mc_slice s, mc_slice *out) {
    char *copy = mc_arena_bytes(arena, s.n);
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    if (s.n > 0) {
        memcpy(copy, s.p, s.n);
    }
    *out = (mc_slice){copy, s.n};
    return MC_OK;
}

mc_status mc_arena_concat(mc_arena *arena, const mc_slice *parts, size_t count, mc_slice *out) {
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > SIZE_MAX - total) {
            return MC_ENOMEM;
        }
        total += parts[i].n;
    }
    char *copy = mc_arena_bytes(arena, total);
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > 0) {
            memcpy(copy + at, parts[i].p, parts[i].n);
        }
        at += parts[i].n;
    }
    *out = (mc_slice){copy, total};
    return MC_OK;
}
