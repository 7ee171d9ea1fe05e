/* Arena: the request's lifetime. Bump allocation out of blocks that come from, and return to, a worker's block pool;
 * nothing is freed singly. Single-threaded.
 *
 * A block pool keeps up to `keep` free blocks of MC_BLOCK_SIZE, so that a warm worker serves requests without malloc.
 * Requests larger than a block get a block of their own straight from the heap. */
#ifndef MC_BASE_ARENA_H
#define MC_BASE_ARENA_H

#include "base/slice.h"

#define MC_BLOCK_SIZE 4096u

typedef struct mc_block {
    struct mc_block *next;
    size_t size; /* bytes in data */
    char data[] __attribute__((aligned(16)));
} mc_block;

typedef struct mc_block_pool {
    mc_block *free;
    size_t free_count;
    size_t keep;
} mc_block_pool;

void mc_block_pool_init(mc_block_pool *pool, size_t keep);
void mc_block_pool_fini(mc_block_pool *pool);

/* What an arena calls at its end, for objects that own something outside it; itself in the arena. */
typedef struct mc_arena_deferred {
    void (*call)(void *object);
    void *object;
    struct mc_arena_deferred *next;
} mc_arena_deferred;

typedef struct mc_arena {
    char *at, *end; /* free range of the newest block */
    mc_block *blocks;
    mc_block_pool *pool;         /* may be NULL: blocks from the heap */
    mc_arena_deferred *deferred; /* newest first */
} mc_arena;

void mc_arena_init(mc_arena *arena, mc_block_pool *pool);
/* Calls what was deferred, returns all blocks; the arena may be used again. */
void mc_arena_fini(mc_arena *arena);
/* call(object) comes at the arena's end, the newest first. */
MC_MUST_CHECK mc_status mc_arena_defer(mc_arena *arena, void (*call)(void *object), void *object);
/* 8-byte aligned, uninitialised; NULL when out of memory. */
MC_MUST_CHECK void *mc_arena_alloc(mc_arena *arena, size_t size);
MC_MUST_CHECK void *mc_arena_zalloc(mc_arena *arena, size_t size);
/* Unaligned bytes, for text. */
MC_MUST_CHECK char *mc_arena_bytes(mc_arena *arena, size_t size);
/* Gives back the tail of the newest mc_arena_bytes: [keep, end) when `end` is where the arena stands, else nothing. */
void mc_arena_trim(mc_arena *arena, const char *end, char *keep);
/* Copies `s`; on OOM returns MC_ENOMEM and leaves *out. */
MC_MUST_CHECK mc_status mc_arena_dup(mc_arena *arena, mc_slice s, mc_slice *out);
/* Concatenation of `count` slices. */
MC_MUST_CHECK mc_status mc_arena_concat(mc_arena *arena, const mc_slice *parts, size_t count, mc_slice *out);

#endif
