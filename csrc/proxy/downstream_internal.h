/* A client's connection, as the files that make it up see it: downstream.c and relief.c. */
#ifndef MC_PROXY_DOWNSTREAM_INTERNAL_H
#define MC_PROXY_DOWNSTREAM_INTERNAL_H

#include "proxy/stream.h"

/* MC_DRAINING: responses say close, and drain_timeout runs; MC_DRAIN_CLOSING: it ends as soon as no stream is left. */
typedef enum mc_drain_state { MC_DRAIN_NONE, MC_DRAINING, MC_DRAIN_CLOSING } mc_drain_state;

struct mc_downstream_object {
    struct mc_downstream_object *next;
    const void *key;
    _Alignas(16) char data[];
};

struct mc_downstream {
    mc_conn conn;
    mc_h1_parser parser;
    mc_proxy *proxy;
    mc_downstream_source *source;
    mc_hcm_pin *pin;   /* the codec's limits live there */
    mc_stream *stream; /* the one request under way */
    mc_link link;      /* proxy->connections */
    mc_timer timer;    /* idle, request headers, or delayed close: by state */
    mc_address peer, local;
    uint64_t idle_ms;
    uint64_t tx_counted;       /* of conn.tx_bytes */
    size_t rx_told, tx_told;   /* by tell_buffered */
    uint64_t response_ends[2]; /* where the last responses but one, and the last, end among the bytes written */
    uint64_t consumed;         /* bytes that the parser took */
    uint64_t requests;
    uint32_t premature; /* of the requests, those that the client gave up at once (HC-42) */
    uint8_t drain;      /* mc_drain_state */
    uint8_t agent;      /* MC_AGENT_* */
    bool agent_known;
    bool used;                            /* something came */
    bool spoke;                           /* what came is HTTP so far */
    bool old;                             /* the last one was of HTTP/1.0 */
    bool protocol_error;                  /* what came was no HTTP */
    bool soft_drain;                      /* http1_safe_max_connection_duration: the next request is the last */
    bool closing;                         /* nothing further is read; what is written still leaves */
    bool leaving;                         /* its listener is going */
    bool keep;                            /* paused: the rest of the input waits for the stream's end */
    bool overloaded;                      /* closed because resources run short */
    bool told_go_away;                    /* see MC_OVERLOAD_SHED_GO_AWAY */
    bool head_pending;                    /* a head has begun and is not complete: request_headers_timeout runs */
    struct mc_downstream_object *objects; /* mc_downstream_object */
    const char *local_reason;             /* why we close; NULL: we do not */
};

/* The connection's time is over after this long: max_connection_duration, or what is left of it; MC_ENOMEM: nothing changed. */
mc_status mc_downstream_limit(mc_downstream *d, uint64_t delay_ms);

/* Limits of time as they are now. */
static inline uint64_t mc_downstream_idle_ms(const mc_downstream *d) {
    return mc_overload_timeout(d->source->overload, MC_SCALED_CONNECTION_IDLE, d->pin->hcm->connection_idle_ms);
}
static inline uint64_t mc_downstream_max_ms(const mc_downstream *d) {
    return mc_overload_timeout(d->source->overload, MC_SCALED_CONNECTION_MAX, d->pin->hcm->max_connection_duration_ms);
}

#endif
