/* The proxy room's context: what connections, streams and the router of one worker share. The engine's worker embeds one. */
#ifndef MC_PROXY_PROXY_H
#define MC_PROXY_PROXY_H

#include "pool/pool.h"
#include "proxy/hcm.h"
#include "proxy/record.h"
#include "proxy/span_ring.h"

typedef struct mc_proxy {
    mc_loop *loop;
    mc_net *net;
    mc_slab *slab;
    mc_block_pool blocks;    /* arenas of streams */
    mc_upstream **upstreams; /* by cluster slot; NULL: no such cluster here now */
    uint32_t upstream_count;
    /* Slot of a cluster known by name only at request time; UINT32_MAX: none. */
    uint32_t (*find_slot)(void *ctx, mc_slice name);
    void *ctx;
    mc_map names;                      /* views of the caches of names, by the cache's name (CL-17) */
    const _Atomic bool *health_failed; /* this process is to fail its health checks; NULL: it is not */
    const mc_runtime *runtime; /* values in force; NULL: none. Read anew at each decision: an update replaces it */
    mc_record_ring records;
    mc_log_writer *log_writer; /* of access logs; NULL: there is none */
    mc_log_ring *log_ring;
    mc_span_ring spans;
    /* Spans wait for their reader, and none did before; NULL: nobody reads. */
    void (*on_spans)(void *ctx);
    mc_list connections; /* every mc_downstream */
    uint32_t connection_count, stream_count;
    bool draining;
    /* Called when the last connection of a draining worker is gone. */
    void (*on_idle)(void *ctx);
    uint64_t date_second; /* cached date header */
    char date[32];
    uint8_t date_n;
} mc_proxy;

MC_MUST_CHECK mc_status mc_proxy_init(mc_proxy *proxy, mc_net *net, mc_slab *slab, uint32_t record_capacity);
void mc_proxy_fini(mc_proxy *proxy);

/* The current upstream of a slot, or NULL. */
static inline mc_upstream *mc_proxy_upstream(const mc_proxy *proxy, uint32_t slot) {
    return slot < proxy->upstream_count ? proxy->upstreams[slot] : NULL;
}
/* IMF-fixdate of now. */
mc_slice mc_proxy_date(mc_proxy *proxy);

static inline bool mc_proxy_health_failed(const mc_proxy *proxy) {
    return proxy->health_failed != NULL && atomic_load_explicit(proxy->health_failed, memory_order_relaxed);
}

/* Starts draining (HC-40): idle connections close now, others after their current response, new ones
 * after their first or when none comes within a second. `force` closes all now. */
void mc_proxy_drain(mc_proxy *proxy, bool force);

#endif
