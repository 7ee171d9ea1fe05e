#include "proxy/record.h"

#include "base/alloc.h"

mc_status mc_record_ring_init(mc_record_ring *ring, uint32_t capacity) {
    memset(ring, 0, sizeof *ring);
    ring->records = mc_malloc((size_t)capacity * sizeof(mc_record));
    ring->mask = capacity - 1;
    return ring->records == NULL ? MC_ENOMEM : MC_OK;
}

void mc_record_ring_fini(mc_record_ring *ring) {
    mc_free(ring->records);
    ring->records = NULL;
}

mc_record *mc_record_begin(mc_record_ring *ring) {
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&ring->tail, memory_order_acquire) > ring->mask) {
        atomic_store_explicit(&ring->dropped, atomic_load_explicit(&ring->dropped, memory_order_relaxed) + 1,
                              memory_order_relaxed);
        return NULL;
    }
    return &ring->records[head & ring->mask];
}

void mc_record_publish(mc_record_ring *ring) {
    atomic_store_explicit(&ring->head, atomic_load_explicit(&ring->head, memory_order_relaxed) + 1,
                          memory_order_release);
}

size_t mc_record_drain(mc_record_ring *ring, mc_record *out, size_t n) {
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t have = atomic_load_explicit(&ring->head, memory_order_acquire) - tail;
    size_t count = n < have ? n : have;
    for (size_t i = 0; i < count; i++) {
        out[i] = ring->records[(tail + (uint32_t)i) & ring->mask];
    }
    atomic_store_explicit(&ring->tail, tail + (uint32_t)count, memory_order_release);
    return count;
}
