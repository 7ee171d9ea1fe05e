/* Access record: what is known of a request when it is over, as one fixed struct in the worker's ring.
 *
 * The worker writes and never formats; one reader (the control side) drains. When the ring is full the record is dropped and
 * counted, the worker never waits. Single producer, single consumer. */
#ifndef MC_PROXY_RECORD_H
#define MC_PROXY_RECORD_H

#include <stdatomic.h>

#include "base/address.h"

enum { MC_RECORD_TEXT = 168 };

typedef struct mc_record {
    uint64_t start_ms;                   /* wall clock */
    uint32_t duration_us;                /* start to end of the response */
    uint32_t upstream_us;                /* request complete to first response byte; UINT32_MAX: none */
    uint64_t flags;                      /* MC_FLAG */
    uint64_t bytes_received, bytes_sent; /* bodies */
    mc_address peer;
    mc_address upstream; /* length 0: none */
    uint16_t status;     /* 0: none was sent */
    uint8_t version_minor;
    uint8_t attempts;
    const char *details; /* static text: response code details */
    /* method, authority, path, route name, cluster, request id: cut to fit, one after the other in text */
    uint8_t method_n, authority_n, path_n, route_n, cluster_n;
    char text[MC_RECORD_TEXT];
} mc_record;

typedef struct mc_record_ring {
    mc_record *records;
    uint32_t mask;               /* capacity - 1, a power of two */
    _Atomic uint32_t head, tail; /* written by producer / consumer */
    _Atomic uint64_t dropped;
} mc_record_ring;

MC_MUST_CHECK mc_status mc_record_ring_init(mc_record_ring *ring, uint32_t capacity);
void mc_record_ring_fini(mc_record_ring *ring);
/* The slot to fill, or NULL (full: counted as dropped); then publish. */
mc_record *mc_record_begin(mc_record_ring *ring);
void mc_record_publish(mc_record_ring *ring);
/* Consumer: copies up to n records out; returns their number. */
size_t mc_record_drain(mc_record_ring *ring, mc_record *out, size_t n);

#endif
