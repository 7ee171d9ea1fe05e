/* Inside of pools (pool.h): a pool and its connections, for the files of this room.
 *
 * A connection is on the one list of its pool that its state names; mc_pool counts by state what its cluster's breakers allow. All
 * of it is a worker's own. Nothing here is freed within a callback. */
#ifndef MC_POOL_CLIENT_H
#define MC_POOL_CLIENT_H

#include "pool/pool.h"

typedef enum mc_client_state {
    MC_CLIENT_NEW,
    MC_CLIENT_CONNECTING,
    MC_CLIENT_IDLE,
    MC_CLIENT_BUSY,
    MC_CLIENT_CLOSING,
    MC_CLIENT_STATES
} mc_client_state;

struct mc_client {
    mc_conn conn;
    mc_h1_parser parser;
    mc_pool *pool;
    mc_attempt *attempt;  /* when busy */
    mc_link link;         /* on the pool's list of its state */
    mc_timer timer;       /* connecting: connect timeout; idle: idle timeout */
    mc_timer lifetime;    /* max_connection_duration */
    struct mc_race *race; /* while connecting to a host of several addresses (race.h), else NULL */
    uint64_t since_ms;    /* its start */
    uint64_t idle_ms;     /* idle: since when */
    uint64_t tx_counted;  /* of conn.tx_bytes */
    uint32_t requests_left, served;
    uint32_t address_index; /* of the host's addresses */
    uint8_t state;
    bool counted; /* among the pool's connections; false: one that races for another, or has lost */
    bool connected;
    bool answered;        /* something came for the current attempt */
    bool cut_off;         /* its last attempt did not end as it should have */
    bool ended;           /* the server has ended it */
    bool last_keep_alive; /* the current response allows reuse */
    bool informational;   /* the current message is a 1xx that does not end the attempt */
};

/* What a pool is found by: the host with the priority, and the downstream connection that has it alone, 0: it is everybody's. */
typedef struct mc_pool_key {
    uintptr_t host;
    uint64_t owner;
} mc_pool_key;

struct mc_pool {
    mc_link link;  /* on its upstream's list */
    mc_host *host; /* referenced */
    mc_upstream *upstream;
    mc_list idle, busy, connecting;
    mc_list pending;
    uint32_t pending_count;
    uint32_t client_count; /* counted or not */
    uint32_t state_count[MC_CLIENT_STATES];
    mc_pool_key key; /* of the upstream's map */
    mc_breakers *breakers;
    bool raw;       /* its connections speak no HTTP */
    bool draining;  /* the host left: no reuse */
    bool forgotten; /* it is in no map and under no limit any more (CP-12) */
    mc_deferred serve, dying;
};

#define COUNT(upstream, name)        mc_counter_inc((upstream)->slab, (upstream)->cluster->stats.name)
#define GAUGE(upstream, name, delta) mc_gauge_add((upstream)->slab, (upstream)->cluster->stats.name, delta)

/* One more connection of the pool, counted. */
MC_MUST_CHECK mc_status mc_client_connect(mc_pool *pool);
/* The attempt is this idle connection's. */
void mc_client_attach(mc_client *client, mc_attempt *attempt);
/* Ends the attempt's hold on the connection and returns it, NULL: it had none; the gauges of an active stream go back. */
mc_attempt *mc_client_detach(mc_client *client);
/* The attempt, if any, ends with on_reset. */
void mc_client_reset(mc_client *client, mc_reset_reason reason);
/* Closes what is idle or connecting. */
void mc_client_close(mc_client *client);
/* A connection under way to that address, not counted yet. */
MC_MUST_CHECK mc_status mc_client_new(mc_pool *pool, uint32_t address_index, mc_client **out);
/* After on_close, or before a connect. */
void mc_client_free(mc_client *client);
/* The connection was never made; frees the client. `error`: the errno, 0: not known. */
void mc_client_failed(mc_client *client, mc_close_reason why, int error);
/* `client` takes the place of `leader`, which no longer counts. */
void mc_client_replace(mc_client *leader, mc_client *client);

/* The pool of that host, priority and kind; NULL: none. */
mc_pool *mc_pool_find(const mc_upstream *upstream, const mc_host *host, mc_rq_priority priority, bool raw);
void mc_pool_free(mc_pool *pool);
/* CP-14: a pool that nothing uses goes, after this callback; so may its upstream. */
void mc_pool_maybe_free(mc_pool *pool);
/* An attempt whose connection went away waits again, before all others. */
void mc_pool_take_back(mc_pool *pool, mc_attempt *attempt);
void mc_pool_fail_pending(mc_pool *pool, mc_reset_reason reason, mc_connect_error error);
/* A draining pool keeps no connection that nobody waits for. */
void mc_pool_trim(mc_pool *pool);
/* CP-14, "drain and delete". */
void mc_pool_drain(mc_pool *pool);
/* CP-14, "drain existing". */
void mc_pool_drain_existing(mc_pool *pool);
/* CL-14: idle and busy connections close at once. */
void mc_pool_close_all(mc_pool *pool);
/* At the end: attempts are reset, connections closed. */
void mc_pool_drop(mc_pool *pool);

/* A retired upstream that nothing uses goes, after this callback. */
void mc_upstream_maybe_die(mc_upstream *upstream);

#endif
