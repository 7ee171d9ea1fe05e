/* Buffer: a queue of bytes in fixed-size chunks, for what could not be written or parsed at once.
 *
 * Chunks come from, and return to, a worker's chunk pool. Bytes move between buffers of one worker by moving chunks,
 * not by copying. Single-threaded. Invariant: length == sum of (end - begin) over the chunks; no chunk is empty. */
#ifndef MC_BASE_BUFFER_H
#define MC_BASE_BUFFER_H

#include "base/slice.h"

#define MC_CHUNK_SIZE 16384u /* whole chunk, header included */

typedef struct mc_chunk {
    struct mc_chunk *next;
    uint32_t begin, end, cap;
    char data[];
} mc_chunk;

typedef struct mc_chunk_pool {
    mc_chunk *free;
    size_t free_count;
    size_t keep; /* at most this many free chunks are kept */
} mc_chunk_pool;

void mc_chunk_pool_init(mc_chunk_pool *pool, size_t keep);
void mc_chunk_pool_fini(mc_chunk_pool *pool);

typedef struct mc_buffer {
    mc_chunk *head, *tail;
    size_t length;
    mc_chunk_pool *pool; /* may be NULL: chunks from the heap */
} mc_buffer;

void mc_buffer_init(mc_buffer *buffer, mc_chunk_pool *pool);
/* Returns all chunks; the buffer is empty and usable afterwards. */
void mc_buffer_clear(mc_buffer *buffer);
MC_MUST_CHECK mc_status mc_buffer_append(mc_buffer *buffer, mc_slice bytes);
/* Moves all bytes of `from` to the end of `to`; both of the same pool. Never fails. */
void mc_buffer_move(mc_buffer *to, mc_buffer *from);
/* Drops the first n bytes, n <= length. */
void mc_buffer_drain(mc_buffer *buffer, size_t n);
/* The first contiguous piece; empty when the buffer is empty. */
mc_slice mc_buffer_front(const mc_buffer *buffer);
/* Up to `max` contiguous pieces in order; returns their number. */
size_t mc_buffer_pieces(const mc_buffer *buffer, mc_slice *pieces, size_t max);
/* Copies up to n bytes out without draining; returns the number copied. */
size_t mc_buffer_peek(const mc_buffer *buffer, char *out, size_t n);

#endif
