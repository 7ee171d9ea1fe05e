#include "proxy/log_ring.h"

#include "base/alloc.h"

enum { MASK = MC_LOG_RING_BYTES - 1 };

void mc_log_ring_fini(mc_log_ring *ring) {
    mc_free(ring->bytes);
    ring->bytes = NULL;
}

static bool drop(mc_log_ring *ring) {
    atomic_store_explicit(&ring->dropped, atomic_load_explicit(&ring->dropped, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return false;
}

void mc_log_ring_give_up(mc_log_ring *ring) { (void)drop(ring); }

/* Free bytes from `head` to the ring's end, and from its start to the tail. */
static void room(const mc_log_ring *ring, uint64_t *head, size_t *here, size_t *start) {
    *head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    size_t used = (size_t)(*head - atomic_load_explicit(&ring->tail, memory_order_acquire));
    size_t to_end = MC_LOG_RING_BYTES - (size_t)(*head & MASK), free = MC_LOG_RING_BYTES - used;
    *here = free < to_end ? free : to_end;
    *start = free - *here;
}

static void open_span(mc_log_span *span, char *at, size_t size) {
    *span = (mc_log_span){.begin = at, .at = at, .end = at + size};
}

bool mc_log_ring_begin(mc_log_ring *ring, mc_log_span *span) {
    uint64_t head;
    size_t here, start;
    if (ring->bytes == NULL && (ring->bytes = mc_malloc(MC_LOG_RING_BYTES)) == NULL) {
        return drop(ring);
    }
    room(ring, &head, &here, &start);
    open_span(span, ring->bytes + (head & MASK), here);
    return here > 0 || drop(ring);
}

bool mc_log_ring_retry(mc_log_ring *ring, mc_log_span *span) {
    uint64_t head;
    size_t here, start;
    room(ring, &head, &here, &start);
    if (start == 0 || span->begin != ring->bytes + (head & MASK)) {
        return drop(ring);
    }
    if (here > 0) {
        mc_log_entry *filler = (mc_log_entry *)(ring->bytes + (head & MASK));
        *filler = (mc_log_entry){.size = (uint32_t)here, .is_filler = 1};
        atomic_store_explicit(&ring->head, head + here, memory_order_release);
    }
    open_span(span, ring->bytes, start);
    return true;
}

bool mc_log_ring_publish(mc_log_ring *ring, mc_log_span *span) {
    mc_log_entry *entry = (mc_log_entry *)span->begin;
    *entry = (mc_log_entry){.size = (uint32_t)(span->at - span->begin)};
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed) + entry->size;
    atomic_store_explicit(&ring->head, head, memory_order_release);
    const uint64_t used = head - atomic_load_explicit(&ring->tail, memory_order_relaxed);
    return used > MC_LOG_RING_BYTES / 2 && used - entry->size <= MC_LOG_RING_BYTES / 2;
}

mc_log_entry *mc_log_ring_next(mc_log_ring *ring) {
    for (;;) {
        uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        if (tail == atomic_load_explicit(&ring->head, memory_order_acquire)) {
            return NULL;
        }
        mc_log_entry *entry = (mc_log_entry *)(ring->bytes + (tail & MASK));
        if (!entry->is_filler) {
            return entry;
        }
        mc_log_ring_release(ring, entry);
    }
}

void mc_log_ring_release(mc_log_ring *ring, const mc_log_entry *entry) {
    atomic_store_explicit(&ring->tail, atomic_load_explicit(&ring->tail, memory_order_relaxed) + entry->size,
                          memory_order_release);
}
