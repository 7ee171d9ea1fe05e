#include "proxy/span_ring.h"

#include "base/alloc.h"

void mc_span_ring_fini(mc_span_ring *ring) {
    mc_text text;
    while (mc_span_ring_pop(ring, &text)) {
        mc_text_fini(&text);
    }
    mc_free(ring->texts);
    ring->texts = NULL;
}

bool mc_span_ring_push(mc_span_ring *ring, mc_text *text) {
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (ring->texts == NULL) { /* the reader looks at the texts only behind a head that it has seen */
        ring->texts = mc_calloc(MC_SPAN_RING, sizeof *ring->texts);
    }
    if (ring->texts == NULL || text->failed || head - tail >= MC_SPAN_RING) {
        atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
        mc_text_fini(text);
        return false;
    }
    ring->texts[head % MC_SPAN_RING] = *text;
    mc_text_init(text);
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return head == tail;
}

bool mc_span_ring_pop(mc_span_ring *ring, mc_text *out) {
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (atomic_load_explicit(&ring->head, memory_order_acquire) == tail) {
        return false;
    }
    *out = ring->texts[tail % MC_SPAN_RING];
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}
