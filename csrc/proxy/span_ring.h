/* Finished spans on their way from a worker to the control side: a ring of texts, one JSON object each.
 *
 * The worker writes and gives away; one reader drains. When the ring is full the span is dropped and counted, the worker never
 * waits. Single producer, single consumer. */
#ifndef MC_PROXY_SPAN_RING_H
#define MC_PROXY_SPAN_RING_H

#include <stdatomic.h>

#include "base/text.h"

enum { MC_SPAN_RING = 1024 };

typedef struct mc_span_ring {
    mc_text *texts;              /* made with the first span; MC_SPAN_RING of them */
    _Atomic uint32_t head, tail; /* written by producer / consumer */
    _Atomic uint64_t dropped;
} mc_span_ring;

void mc_span_ring_fini(mc_span_ring *ring);
/* Takes the text's bytes. True: the ring was empty, so its reader may have to be woken. */
bool mc_span_ring_push(mc_span_ring *ring, mc_text *text);
/* Consumer: the oldest text, whose bytes are then the caller's; false when there is none. */
bool mc_span_ring_pop(mc_span_ring *ring, mc_text *out);

#endif
