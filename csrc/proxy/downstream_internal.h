/* A client's connection, as the files that make it up see it:
 *
 *     downstream.c         opens and closes it, feeds the codec, hands its events to the stream
 *     downstream_drain.c   its timers, its drain, and how it comes to its end
 *     downstream_shed.c    what overload drops before anything looks at it
 *     downstream_guards.c  network filters that say whether it may stay
 *     downstream_stats.c   what is counted of it
 *     downstream_log.c     what is known of it by itself, and the record of its end
 *     relief.c             what overload asks of connections that are there */
#ifndef MC_PROXY_DOWNSTREAM_INTERNAL_H
#define MC_PROXY_DOWNSTREAM_INTERNAL_H

#include "proxy/stream.h"

/* MC_DRAINING: responses say close, and drain_timeout runs; MC_DRAIN_CLOSING: it ends as soon as no stream is left. */
typedef enum mc_drain_state { MC_DRAIN_NONE, MC_DRAINING, MC_DRAIN_CLOSING } mc_drain_state;

struct mc_downstream {
    mc_conn conn;
    mc_h1_parser parser;
    mc_proxy *proxy;
    mc_downstream_source *source;
    mc_hcm_pin *pin;   /* the codec's limits live there */
    mc_stream *stream; /* the one request under way */
    mc_link link;      /* proxy->connections */
    mc_timer timer;    /* idle, request headers, or delayed close: by state (downstream_drain.c) */
    mc_address peer, local;
    mc_address *direct_local; /* an object; NULL: `local` is it */
    uint64_t idle_ms;
    uint64_t tx_counted;       /* of conn.tx_bytes */
    size_t rx_told, tx_told;   /* by mc_downstream_tell_buffered */
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

/* The object of mc_downstream_object, if there is one yet; else NULL. */
void *mc_downstream_find(mc_downstream *d, const void *key);

/* --- downstream_drain.c ----------------------------------------------------------------------------------------------- */

void mc_downstream_timer_fired(mc_timer *timer);
/* No request is under way: idle_timeout runs. */
void mc_downstream_set_idle(mc_downstream *d);
/* The connection's time is over after this long: max_connection_duration, or what is left of it; MC_ENOMEM: nothing changed. */
mc_status mc_downstream_limit(mc_downstream *d, uint64_t delay_ms);
void mc_downstream_unlimit(mc_downstream *d);
/* HTTP/1 has no notice to send, so the client may still use the connection until drain_timeout has passed. `reason`, of a connection
 * that was never used and closes at once: static. */
void mc_downstream_start_drain(mc_downstream *d, const char *reason);
void mc_downstream_close_now(mc_downstream *d);
/* Everything written leaves, FIN, then the peer has delayed_close_timeout to close (rules section 1.5). A client that asked for
 * the end and whose request came whole (`clean`) sends no more that a close could meet, and is not waited for. */
void mc_downstream_close_after_flush(mc_downstream *d, bool clean);

/* Limits of time as they are now. */
static inline uint64_t mc_downstream_idle_ms(const mc_downstream *d) {
    return mc_overload_timeout(d->source->overload, MC_SCALED_CONNECTION_IDLE, d->pin->hcm->connection_idle_ms);
}
static inline uint64_t mc_downstream_max_ms(const mc_downstream *d) {
    const mc_hcm *hcm = d->pin->hcm;
    return mc_overload_timeout(d->source->overload, MC_SCALED_CONNECTION_MAX,
                               mc_random_lengthen(mc_loop_random(d->proxy->loop), hcm->max_connection_duration_ms,
                                                  hcm->max_connection_jitter));
}

/* --- downstream_shed.c: of connections whose source has an overload ------------------------------------------------- */

/* Whether it acts this time, counted. */
bool mc_downstream_acts(mc_downstream *d, mc_overload_id id);
/* Before anything of what came is looked at: the connection closes, and what came is dropped (BOOT-17). */
bool mc_downstream_sheds_connection(mc_downstream *d);
/* The same of what is about to be parsed, which is to be given up as if it were malformed. */
bool mc_downstream_sheds_dispatch(mc_downstream *d);
bool mc_downstream_sheds_request(mc_downstream *d);

/* --- downstream_guards.c: of connections whose connection manager has guards (FL-18) -------------------------------- */

/* Asks them about what came; false: the connection is closing. */
bool mc_downstream_admits(mc_downstream *d);
/* The rule that denied; NULL: none. */
const char *mc_downstream_denied_by(mc_downstream *d);
/* Adds what they decided to the metadata of the connection. */
MC_MUST_CHECK mc_status mc_downstream_tell_guards(mc_downstream *d, mc_arena *arena, const mc_value **metadata);
void mc_downstream_dismiss_guards(mc_downstream *d);

/* --- downstream_stats.c ----------------------------------------------------------------------------------------------- */

#define MC_DOWNSTREAM_COUNT(d, name)        mc_counter_inc((d)->proxy->slab, (d)->pin->hcm->stats.name)
#define MC_DOWNSTREAM_GAUGE(d, name, delta) mc_gauge_add((d)->proxy->slab, (d)->pin->hcm->stats.name, delta)

void mc_downstream_count_open(mc_downstream *d);
/* `active`: in the middle of a request; `remote`: the client closed. */
void mc_downstream_count_close(mc_downstream *d, bool active, bool remote);
/* A request began, of this user-agent. The first one tells what the client is; the statistics know two kinds (section 8). */
void mc_downstream_count_agent(mc_downstream *d, mc_slice agent);
/* What was written since the last time; writes of this very callback count next time. */
static inline void mc_downstream_count_tx(mc_downstream *d) {
    mc_counter_add(d->proxy->slab, d->pin->hcm->stats.downstream_cx_tx_bytes_total, d->conn.tx_bytes - d->tx_counted);
    d->tx_counted = d->conn.tx_bytes;
}
/* What the connection holds of what it read, and of what it has to write. */
static inline void mc_downstream_tell_buffered(mc_downstream *d) {
    const size_t rx = d->conn.in.length, tx = d->conn.out.length;
    if (MC_UNLIKELY(rx != d->rx_told || tx != d->tx_told)) {
        MC_DOWNSTREAM_GAUGE(d, downstream_cx_rx_bytes_buffered, (int64_t)rx - (int64_t)d->rx_told);
        MC_DOWNSTREAM_GAUGE(d, downstream_cx_tx_bytes_buffered, (int64_t)tx - (int64_t)d->tx_told);
        d->rx_told = rx;
        d->tx_told = tx;
    }
}

/* --- downstream_log.c ------------------------------------------------------------------------------------------------- */

/* Fills `info` with what is known of a connection by itself; it borrows from the connection. */
void mc_downstream_describe(const mc_downstream *d, mc_stream_info *info);
/* The listener's access log tells of connections, not of what was asked on them. */
void mc_downstream_log(mc_downstream *d, mc_close_reason reason);

#endif
