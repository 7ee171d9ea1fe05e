/* Pools: HTTP/1 connections to the hosts of a cluster, one worker's (rules CP-*).
 *
 *   mc_upstream   a worker's side of a cluster: its balancer and its pools. Who wants a host asks mc_upstream_choose.
 *   mc_pool       the connections to one host for one request priority. It takes a chosen host and never chooses one (CP-1). A pool
 *                 without connections and without anybody waiting is freed.
 *   mc_client     one connection: idle, busy with one attempt, or connecting.
 *   mc_attempt    one try of a request; embedded in its owner (proxy/). Waits in the pool's queue or is attached to a client.
 *
 * An attempt ends in exactly one of on_complete, on_reset or on_failure, or by mc_attempt_cancel. All calls on the worker's
 * thread. Checkout is O(1): the most recently used idle client serves (CP-2). */
#ifndef MC_POOL_POOL_H
#define MC_POOL_POOL_H

#include "base/map.h"
#include "health/outlier.h"
#include "net/conn.h"
#include "pool/cluster.h"

typedef struct mc_attempt mc_attempt;
typedef struct mc_client mc_client;
typedef struct mc_pool mc_pool;

/* Why an attempt ended without a response; order and names as RF-30 and CP-9. X(id, text, response flag bit name). */
#define MC_RESET_REASONS(X)                                                                                            \
    X(LOCAL_CONNECTION_FAILURE, "local connection failure", UF)                                                        \
    X(REMOTE_CONNECTION_FAILURE, "remote connection failure", UF)                                                      \
    X(CONNECTION_TIMEOUT, "connection timeout", UF)                                                                    \
    X(CONNECTION_TERMINATION, "connection termination", UC)                                                            \
    X(LOCAL_RESET, "local reset", LR)                                                                                  \
    X(OVERFLOW, "overflow", UO)                                                                                        \
    X(REMOTE_RESET, "remote reset", UR)                                                                                \
    X(PROTOCOL_ERROR, "protocol error", UPE)

typedef enum mc_reset_reason {
#define MC_RESET_ENUM(id, text, flag) MC_RESET_##id,
    MC_RESET_REASONS(MC_RESET_ENUM)
#undef MC_RESET_ENUM
} mc_reset_reason;

mc_slice mc_reset_reason_text(mc_reset_reason reason);

/* Why a connection could not be made, as far as it is told. X(errno, text, text without spaces) */
#define MC_CONNECT_ERRORS(X)                                                                                           \
    X(ECONNREFUSED, "Connection refused", "Connection_refused")                                                        \
    X(ETIMEDOUT, "Connection timed out", "Connection_timed_out")                                                       \
    X(EHOSTUNREACH, "No route to host", "No_route_to_host")                                                            \
    X(ENETUNREACH, "Network is unreachable", "Network_is_unreachable")                                                 \
    X(ECONNRESET, "Connection reset by peer", "Connection_reset_by_peer")                                              \
    X(ECONNABORTED, "Software caused connection abort", "Software_caused_connection_abort")                            \
    X(EADDRNOTAVAIL, "Cannot assign requested address", "Cannot_assign_requested_address")

typedef enum mc_connect_error {
    MC_CONNECT_ERROR_NONE,
#define MC_CONNECT_ENUM(number, text, joined) MC_CONNECT_##number,
    MC_CONNECT_ERRORS(MC_CONNECT_ENUM)
#undef MC_CONNECT_ENUM
} mc_connect_error;

typedef struct mc_attempt_events {
    /* A queued attempt got its connection: write the request now. Comes again when the attempt is replayable and its connection
     * was closed by the server before it answered anything. */
    void (*on_ready)(mc_attempt *attempt);
    /* No connection (connect failure, overflow of the queue): the attempt is detached. */
    void (*on_failure)(mc_attempt *attempt, mc_reset_reason reason);
    mc_headers *(*on_begin)(mc_attempt *attempt);
    /* Informational responses (1xx but 101) come through here too, and end without on_complete. */
    mc_status (*on_headers)(mc_attempt *attempt, const mc_h1_head *head);
    mc_status (*on_body)(mc_attempt *attempt, mc_slice data);
    mc_status (*on_trailers)(mc_attempt *attempt, mc_headers *trailers);
    /* The whole response was read; the attempt is detached. */
    void (*on_complete)(mc_attempt *attempt);
    /* The connection was lost or the response was malformed; detached. */
    void (*on_reset)(mc_attempt *attempt, mc_reset_reason reason);
    /* The connection's write buffer is over / back under its limit. */
    void (*on_high)(mc_attempt *attempt);
    void (*on_low)(mc_attempt *attempt);
} mc_attempt_events;

struct mc_attempt {
    const mc_attempt_events *events;
    mc_link pending;
    mc_pool *pool;
    mc_client *client;              /* when attached */
    mc_slice method;                /* set before mc_pool_start: what a response will answer */
    mc_h1_framing framing;          /* of the request's body, by mc_attempt_write_head, or set by the owner */
    bool request_sent;              /* all of it was written: else the connection is not reused (CP-10) */
    bool tunnel;                    /* see mc_attempt_tunnel */
    bool refused;                   /* with an overflow: it had a connection, which may not take one more request */
    mc_connect_error connect_error; /* with on_failure */
    uint64_t rx_bytes;              /* what the connection had received, of all attempts, when this one was detached */
    uint32_t refused_bytes;         /* as mc_h1_error.field_bytes, of a response that was malformed; 0: none was */
    /* Set by the owner: sending the request twice does no harm, and it can. Then a connection that had served before and is closed
     * by the server in this very moment does not fail the attempt. */
    bool replayable;
};

/* How connections are made; tests replace it by a memory transport. */
typedef struct mc_connector {
    mc_status (*connect)(void *ctx, mc_conn *conn, mc_net *net, const mc_host *host, const mc_conn_events *events);
    void *ctx;
} mc_connector;

/* What the upstreams of a worker have together. */
typedef struct mc_pool_load {
    uint32_t upstreams;             /* not freed yet */
    uint32_t waiting, busy, unused; /* attempts queued and attached, streams that connections have room for (CP-15) */
} mc_pool_load;

typedef struct mc_upstream mc_upstream;
struct mc_upstream {
    mc_cluster *cluster;
    mc_hosts *hosts;
    mc_lb *lb;
    mc_net *net;
    mc_slab *slab;
    const mc_connector *connector;  /* NULL: sockets */
    mc_map pool_of;                 /* by the pool's key */
    struct mc_aggregate *aggregate; /* NULL: hosts are its own */
    mc_list own_hosts;              /* of an ORIGINAL_DST cluster, made here and not yet in the membership */
    mc_named named;                 /* hosts of a dynamic forward proxy cluster: `hosts` has none of them (CL-17) */
    mc_list pools;                  /* oldest first: what walks them all does so in a replayable order */
    uint32_t clients;               /* connections alive, over all pools */
    uint32_t holds;                 /* attempts' owners that still use it: mc_upstream_hold/release */
    bool retired;
    mc_deferred dying;
    mc_pool_load *load; /* the worker's, or its own */
    mc_pool_load own_load;
    /* Outlier detection wants to hear of these types (mc_outlier_put); NULL: nobody listens. */
    void (*on_outcome)(void *ctx, mc_upstream *upstream, mc_host *host, unsigned types);
    /* A response said x-envoy-immediate-health-check-fail; NULL: nobody listens. */
    void (*on_fail_host)(void *ctx, mc_upstream *upstream, mc_host *host);
    /* The upstream of a cluster by name, for members of an aggregate and sub-clusters; NULL: there is none. */
    mc_upstream *(*find)(void *ctx, mc_slice name);
    /* A host was made here (CL-15). */
    void (*on_new_host)(void *ctx, mc_upstream *upstream, mc_host *host);
    /* Whether a new connection is to be refused because resources run short; NULL: never. */
    bool (*sheds)(void *ctx);
    void *ctx;
    void **filter_states; /* what the cluster's filters keep for this worker; NULL: nothing yet */
    void (*close_filters)(const struct mc_cluster_filters *filters, void **states); /* set with them; frees the array */
};

/* `plan`: for the balancer, may be NULL; `load` may be NULL: nobody shares it. */
MC_MUST_CHECK mc_upstream *mc_upstream_new(mc_cluster *cluster, mc_hosts *hosts, mc_lb_plan *plan, mc_net *net,
                                           mc_slab *slab, const mc_connector *connector, mc_pool_load *load);
/* No new attempts will come: idle connections close, others when done; then it frees itself (CP-14). */
void mc_upstream_retire(mc_upstream *upstream);
/* Frees at once, at the worker's end: connections are dropped and attempts reset. */
void mc_upstream_free(mc_upstream *upstream);
static inline void mc_upstream_hold(mc_upstream *upstream) { upstream->holds++; }
void mc_upstream_release(mc_upstream *upstream);
/* The seed of a cluster's balancer on the worker with this loop. */
uint64_t mc_upstream_seed(const mc_cluster *cluster, const mc_loop *loop);
/* New membership, with what was made ahead for the balancer (NULL: nothing): pools of hosts that left are drained (CL-13). */
MC_MUST_CHECK mc_status mc_upstream_update_planned(mc_upstream *upstream, mc_hosts *hosts, mc_lb_plan *plan);
/* The host's health failed: its idle connections close, the others after their request (CL-14, "drain existing" of CP-14). */
void mc_upstream_drain_host(mc_upstream *upstream, mc_host *host);
/* What became of a try at a host (OD-5), counted when the cluster has outlier detection. `code`: HTTP status, 0: none. */
void mc_upstream_count_outcome(mc_upstream *upstream, mc_host *host, mc_outlier_event event, unsigned code);
static inline void mc_upstream_report(mc_upstream *upstream, mc_host *host, mc_outlier_event event, unsigned code) {
    if (MC_UNLIKELY(upstream->cluster->outlier != NULL)) {
        mc_upstream_count_outcome(upstream, host, event, code);
    }
}
/* The newest hosts of the cluster that the proxy belongs to; NULL: there is none. Without memory there is no zone-aware routing. */
void mc_upstream_set_local(mc_upstream *upstream, mc_hosts *local);
/* A host by the cluster's policy, or NULL (counted upstream_cx_none_healthy). Borrowed until the membership changes. *from: whose host
 * it is: of an aggregate cluster (CL-16) that of a member, else `upstream`. */
mc_host *mc_upstream_choose(mc_upstream *upstream, const mc_lb_request *request, mc_upstream **from);
/* The same of a sub-cluster (CL-17) by its name; not counted. */
mc_host *mc_upstream_choose_sub(mc_upstream *upstream, mc_slice name, const mc_lb_request *request, mc_upstream **from);
/* The priority of a host chosen so, as the upstream counts priorities (PR-12). */
uint32_t mc_upstream_priority_of(const mc_upstream *upstream, const mc_upstream *from, const mc_host *host);

/* The host asked to be taken out (HC-14). */
static inline void mc_upstream_fail_host(mc_upstream *upstream, mc_host *host) {
    if (upstream->on_fail_host != NULL) {
        upstream->on_fail_host(upstream->ctx, upstream, host);
    }
}

/* The host at an address of an ORIGINAL_DST cluster, made on first use; NULL: out of memory. Borrowed as with mc_upstream_choose. */
mc_host *mc_upstream_original(mc_upstream *upstream, const mc_address *address);

/* A host that has a name, with where it is now; and one that is gone, whose pools are drained. */
MC_MUST_CHECK mc_status mc_upstream_put_named(mc_upstream *upstream, mc_host *host, mc_address_list *addresses);
void mc_upstream_drop_named(mc_upstream *upstream, mc_slice key);

/* The addresses that a connection to the host tries now; borrowed until the membership changes. NULL: there are not so many. */
static inline const mc_address *mc_upstream_address_at(const mc_upstream *upstream, const mc_host *host,
                                                       uint32_t index) {
    return MC_UNLIKELY(upstream->cluster->forward != NULL) ? mc_named_address(&upstream->named, host, index)
                                                           : mc_hosts_address(upstream->hosts, host, index);
}
/* Where the host is now; borrowed until the membership changes. */
static inline const mc_address *mc_upstream_address(const mc_upstream *upstream, const mc_host *host) {
    const mc_address *address = mc_upstream_address_at(upstream, host, 0);
    return address == NULL ? &host->address : address;
}

/* The pool of a host, made on first use. MC_ELIMIT: the circuit breaker has no room for another one, as good as no host (CB-7). */
MC_MUST_CHECK mc_status mc_upstream_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, mc_pool **out);
/* A pool for one downstream connection alone, whose id is not 0 (CP-1). */
MC_MUST_CHECK mc_status mc_upstream_own_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority,
                                             uint64_t connection, mc_pool **out);
/* Connections that speak no HTTP: each carries one attempt, whose bytes come by on_body and end with on_complete (HC-46). */
MC_MUST_CHECK mc_status mc_upstream_raw_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority,
                                             mc_pool **out);
/* MC_OK: attached, write now (on_ready is not called). MC_AGAIN: queued. MC_ELIMIT: a circuit breaker refused (CB-7). */
MC_MUST_CHECK mc_status mc_pool_start(mc_pool *pool, mc_attempt *attempt);
/* Gives up: a queued attempt leaves the queue, an attached one takes its connection down. No event follows. */
void mc_attempt_cancel(mc_attempt *attempt);
/* In on_headers of an accepted upgrade: all further bytes come as on_body, until the connection ends. */
void mc_attempt_tunnel(mc_attempt *attempt);
/* Instead: the response goes on as one of another status; a 101 ends with its head. */
void mc_attempt_refuse_tunnel(mc_attempt *attempt);
/* The connection of an attached attempt, for writing and for flow control of the response; NULL when not attached. Pauses left on
 * are undone when the attempt ends. */
mc_conn *mc_attempt_conn(mc_attempt *attempt);

/* Of an attached attempt: the request's head, whose bytes are returned until the current callback ends (empty: there was no memory,
 * and the connection is aborted); a piece of its body, not empty; its end. The latter return how many bytes were written beside
 * those of the body. `trailers` may be NULL. */
mc_slice mc_attempt_write_head(mc_attempt *attempt, mc_headers *request, bool headers_only, bool upgrade);
size_t mc_attempt_write(mc_attempt *attempt, mc_slice data);
size_t mc_attempt_write_end(mc_attempt *attempt, mc_headers *trailers);

#endif
