/* Inside of net/: the per-worker state and what connections and transports need of each other. */
#ifndef MC_NET_NET_INTERNAL_H
#define MC_NET_NET_INTERNAL_H

#include "net/conn.h"

enum {
    MC_NET_BLOCK = 64,  /* borrowed pieces a connection collects before it sends them early */
    MC_NET_CHUNKS = 64, /* free chunks a worker keeps */
    MC_NET_GATHER = 4096
};

/* Bytes for scratch; a list of them, newest first. */
typedef struct mc_scratch_block {
    struct mc_scratch_block *next;
    size_t size;
    char data[];
} mc_scratch_block;

struct mc_net {
    mc_loop *loop;
    uint64_t connections;       /* ever */
    char *read_buffer;          /* MC_NET_KEEP + MC_NET_READ */
    char gather[MC_NET_GATHER]; /* see raw.c */
    mc_chunk_pool chunks;
    mc_list flush; /* connections with borrowed pieces */
    mc_deferred flusher;
    void *free_blocks; /* of MC_NET_BLOCK iovecs, chained through their first bytes */
    mc_scratch_block *scratch;
    size_t scratch_used; /* of the newest block */
    mc_buffer retired;   /* bytes that outlived their owner, borrowed by writes */
};

/* NULL when out of memory. */
MC_MUST_CHECK struct iovec *mc_net_block_get(mc_net *net);
void mc_net_block_put(mc_net *net, struct iovec *block);
/* Sends what connections borrowed, then forgets the scratch bytes. Calls on_high and the like, never
 * on_close. */
void mc_net_flush(mc_net *net);

/* A connection in `state` without an io yet. */
void mc_conn_init(mc_conn *conn, mc_net *net, const mc_conn_events *events, uint8_t state);
/* The io callback of every connection. */
void mc_conn_ready(mc_io *io, uint32_t events);
/* One connection's share of mc_net_flush. */
void mc_conn_flush(mc_conn *conn);

extern const mc_transport mc_transport_raw;
extern const mc_transport mc_transport_memory;

#endif
