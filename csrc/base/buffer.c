#include "base/buffer.h"

#include "base/alloc.h"

void mc_chunk_pool_init(mc_chunk_pool *pool, size_t keep) { *pool = (mc_chunk_pool){NULL, 0, keep}; }

void mc_chunk_pool_fini(mc_chunk_pool *pool) {
    while (pool->free != NULL) {
        mc_chunk *chunk = pool->free;
        pool->free = chunk->next;
        mc_free(chunk);
    }
    pool->free_count = 0;
}

static mc_chunk *chunk_get(mc_chunk_pool *pool) {
    mc_chunk *chunk = pool == NULL ? NULL : pool->free;
    if (chunk != NULL) {
        pool->free = chunk->next;
        pool->free_count--;
    } else {
        chunk = mc_malloc(MC_CHUNK_SIZE);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->cap = MC_CHUNK_SIZE - (uint32_t)sizeof(mc_chunk);
    }
    chunk->next = NULL;
    chunk->begin = chunk->end = 0;
    return chunk;
}

static void chunk_put(mc_chunk_pool *pool, mc_chunk *chunk) {
    if (pool != NULL && pool->free_count < pool->keep) {
        chunk->next = pool->free;
        pool->free = chunk;
        pool->free_count++;
        return;
    }
    mc_free(chunk);
}

void mc_buffer_init(mc_buffer *buffer, mc_chunk_pool *pool) { *buffer = (mc_buffer){NULL, NULL, 0, pool}; }

void mc_buffer_clear(mc_buffer *buffer) { mc_buffer_drain(buffer, buffer->length); }

mc_status mc_buffer_append(mc_buffer *buffer, mc_slice bytes) {
    while (bytes.n > 0) {
        mc_chunk *tail = buffer->tail;
        if (tail == NULL || tail->end == tail->cap) {
            mc_chunk *chunk = chunk_get(buffer->pool);
            if (chunk == NULL) {
                return MC_ENOMEM;
            }
            if (tail == NULL) {
                buffer->head = chunk;
            } else {
                tail->next = chunk;
            }
            buffer->tail = tail = chunk;
        }
        size_t room = tail->cap - tail->end;
        size_t n = bytes.n < room ? bytes.n : room;
        memcpy(tail->data + tail->end, bytes.p, n);
        tail->end += (uint32_t)n;
        buffer->length += n;
        bytes = (mc_slice){bytes.p + n, bytes.n - n};
    }
    return MC_OK;
}

void mc_buffer_move(mc_buffer *to, mc_buffer *from) {
    if (from->head == NULL) {
        return;
    }
    if (to->tail == NULL) {
        to->head = from->head;
    } else {
        to->tail->next = from->head;
    }
    to->tail = from->tail;
    to->length += from->length;
    from->head = from->tail = NULL;
    from->length = 0;
}

void mc_buffer_drain(mc_buffer *buffer, size_t n) {
    while (n > 0 && buffer->head != NULL) {
        mc_chunk *chunk = buffer->head;
        size_t have = chunk->end - chunk->begin;
        size_t take = n < have ? n : have;
        chunk->begin += (uint32_t)take;
        buffer->length -= take;
        n -= take;
        if (chunk->begin == chunk->end) {
            buffer->head = chunk->next;
            if (buffer->head == NULL) {
                buffer->tail = NULL;
            }
            chunk_put(buffer->pool, chunk);
        }
    }
}

mc_slice mc_buffer_front(const mc_buffer *buffer) {
    const mc_chunk *chunk = buffer->head;
    return chunk == NULL ? MC_SLICE_NONE : mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin);
}

size_t mc_buffer_pieces(const mc_buffer *buffer, mc_slice *pieces, size_t max) {
    size_t count = 0;
    for (const mc_chunk *chunk = buffer->head; chunk != NULL && count < max; chunk = chunk->next) {
        pieces[count++] = mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin);
    }
    return count;
}

size_t mc_buffer_peek(const mc_buffer *buffer, char *out, size_t n) {
    size_t copied = 0;
    for (const mc_chunk *chunk = buffer->head; chunk != NULL && copied < n; chunk = chunk->next) {
        size_t have = chunk->end - chunk->begin;
        size_t take = n - copied < have ? n - copied : have;
        memcpy(out + copied, chunk->data + chunk->begin, take);
        copied += take;
    }
    return copied;
}
