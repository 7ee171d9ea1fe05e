/* The way of access records from a worker to the writer: a ring of bytes in which each record stands in one piece, so that the
 * writer formats it where it is. One producer, one consumer; when there is no room the record is dropped and counted, the
 * producer never waits. */
#ifndef MC_PROXY_LOG_RING_H
#define MC_PROXY_LOG_RING_H

#include <stdatomic.h>

#include "base/slice.h"

/* Some ten thousand records: what a writer that has no processor for a while is behind by. */
enum { MC_LOG_RING_BYTES = 1 << 24 };

typedef struct mc_log_ring {
    char *bytes;                 /* made by the producer, before it first publishes */
    _Atomic uint64_t head, tail; /* bytes ever written by the producer, read by the consumer */
    _Atomic uint64_t dropped;
} mc_log_ring;

/* Starts every record; `size` counts all of it and is a multiple of 16. */
typedef struct mc_log_entry {
    uint32_t size;
    uint32_t is_filler; /* nothing is in it: the room before the end was too small */
} mc_log_entry;

/* Room that is being filled from `begin` on. */
typedef struct mc_log_span {
    char *begin, *at, *end;
    bool full; /* something did not fit */
} mc_log_span;

void mc_log_ring_fini(mc_log_ring *ring);

/* The free room in one piece; false: there is none (or no memory), counted as dropped. */
bool mc_log_ring_begin(mc_log_ring *ring, mc_log_span *span);
/* After a full span: the room at the ring's start instead, once. False: dropped. */
bool mc_log_ring_retry(mc_log_ring *ring, mc_log_span *span);
/* Counts a record that fits nowhere as dropped. */
void mc_log_ring_give_up(mc_log_ring *ring);
/* What was taken becomes one record, whose first bytes are a mc_log_entry. True: the ring is more than half full
 * from now on. */
bool mc_log_ring_publish(mc_log_ring *ring, mc_log_span *span);

/* The oldest record, or NULL; then release it. */
mc_log_entry *mc_log_ring_next(mc_log_ring *ring);
void mc_log_ring_release(mc_log_ring *ring, const mc_log_entry *entry);
static inline bool mc_log_ring_empty(const mc_log_ring *ring) {
    return atomic_load_explicit(&ring->head, memory_order_acquire) ==
           atomic_load_explicit(&ring->tail, memory_order_relaxed);
}

/* 16-byte aligned, uninitialised; NULL and span->full when it does not fit. */
static inline void *mc_log_span_take(mc_log_span *span, size_t size) {
    size_t whole = (size + 15) & ~(size_t)15;
    if (span->full || whole > (size_t)(span->end - span->at)) {
        span->full = true;
        return NULL;
    }
    void *at = span->at;
    span->at += whole;
    return at;
}

#endif
