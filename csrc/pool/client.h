/* Inside of pools: a pool and its connections. */
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

struct mc_pool {
    mc_link link;  /* on its upstream's list */
    mc_host *host; /* referenced */
    mc_upstream *upstream;
    mc_list idle, busy, connecting;
    mc_list pending;
    uint32_t pending_count;
    uint32_t client_count; /* counted or not */
    uint32_t state_count[MC_CLIENT_STATES];
    uintptr_t key; /* of the upstream's map: the host and the priority */
    mc_breakers *breakers;
    bool raw;      /* its connections speak no HTTP */
    bool draining; /* the host left: no reuse */
    mc_deferred serve, dying;
};

/* A connection under way to that address, not counted yet. */
MC_MUST_CHECK mc_status mc_client_new(mc_pool *pool, uint32_t address_index, mc_client **out);
/* After on_close, or before a connect. */
void mc_client_free(mc_client *client);
/* The connection was never made; frees the client. `error`: the errno, 0: not known. */
void mc_client_failed(mc_client *client, mc_close_reason why, int error);
/* `client` takes the place of `leader`, which no longer counts. */
void mc_client_replace(mc_client *leader, mc_client *client);

#endif
