/* Private to the router: its state, and what its files do for each other.
 *
 *   router.c             the filter: where a request goes, its body, the end
 *   router_reply.c       answers of the router's own
 *   upstream_request.c   one try: a host, a connection, writing the request
 *   upstream_response.c  what a try brings: retry, redirect, or the way down
 *   timeouts.c           headers and timers of time limits
 *   router_stats.c       what is counted of responses
 *   internal_redirect.c  following a redirect instead of passing it on
 *   shadow.c             copies of requests to other clusters, and how they fare
 *   shadow_request.c     what such a copy says
 *   shadow_log.c         what the upstream log tells of it
 *
 * A router lives in its stream's arena. It holds its upstream until it closes. Any call that may answer or reset the stream may
 * close it, so its caller looks at stream->finished before it goes on. */
#ifndef MC_PROXY_ROUTER_INTERNAL_H
#define MC_PROXY_ROUTER_INTERNAL_H

#include "health/outlier.h"
#include "proxy/retry.h"
#include "proxy/router.h"
#include "proxy/stream.h"

enum { MC_TRIED_MAX = 64 };

typedef struct mc_router mc_router;

/* One try: an attempt at one host, with the response it may bring. With hedging several run at once. */
typedef struct mc_try {
    mc_attempt attempt;
    mc_router *router;
    mc_link link;          /* on the router's tries */
    mc_host *host;         /* referenced */
    mc_upstream *upstream; /* whose host it is */
    mc_span *span;         /* of this try alone; NULL: none */
    mc_try_facts *facts;   /* in the arena; NULL: nobody reads them */
    mc_filters *filters;   /* NULL: none but the codec */
    mc_buffer passed;      /* the body that passed them, while there is no connection */
    mc_headers headers;
    mc_headers *trailers;
    mc_headers *arrived; /* the headers before anything was changed, for who logs tries; NULL: `headers` */
    mc_h1_head head;
    bool selected;         /* it got a connection, or failed to: the host counts as attempted */
    bool ready;            /* it has its connection; without filters, the head was written */
    bool head_passed;      /* its filters: the head may be written */
    bool head_ends;        /* and is all there is */
    bool end_passed;       /* nothing more passes them */
    bool awaiting;         /* no response headers yet */
    bool blocked;          /* the request is paused: this connection is full, or too much waits for it */
    uint8_t pauses;        /* of the response: the client's connection is full, a filter holds much */
    bool hedged;           /* another try was made because this one is slow (RF-16) */
    bool timeout_reported; /* to outlier detection */
    bool grpc_deferred;    /* success is known by the trailers (RF-32) */
    bool canary;
    bool canceled;
    bool failed; /* for `reason` */
    bool holds;  /* `upstream`, which is not the router's own first */
    mc_reset_reason reason;
    uint64_t flags;    /* response flags of its own: why it was given up, or would have been */
    uint32_t number;   /* tries before it */
    bool measured;     /* its latency is known to the balancer */
    bool body_awaited; /* its latency will be known when the response's body begins */
    uint64_t given_us; /* when it was given its host, where latency counts */
    /* What its cluster may track. */
    uint64_t started_us, body_sent, body_received;
    bool out_of_budget; /* the whole time limit took it away before it had an answer: it used none of its own */
    mc_header_size arrived_size;
    mc_timer per_try, per_try_idle, duration;
    mc_timer log; /* upstream_log_flush_interval */
} mc_try;

struct mc_router {
    mc_filter *filter;
    mc_stream *stream;
    mc_upstream *upstream; /* held: where tries go now */
    mc_upstream *first;    /* held when it is another one: what `cluster` belongs to */
    mc_cluster *cluster;
    const mc_router_options *options;
    mc_list tries; /* in flight, the oldest first, as they are given up */
    mc_try *final; /* whose response goes downstream */
    mc_retry retry;
    mc_lb_request lb;
    mc_buffer body;       /* what may have to be sent (again) */
    uint64_t body_limit;  /* of what is kept for another try (RF-28); UINT64_MAX: none */
    mc_headers *trailers; /* of the request */
    mc_request_hash hash;
    uint64_t timeout_ms, per_try_ms, per_try_idle_ms, duration_ms; /* 0: none */
    uint64_t request_end_us;
    mc_timer timeout, backoff;
    uint16_t timeout_status; /* 504, or 204 (RF-14) */
    uint8_t scope_count;
    mc_code_stats *scopes[2]; /* of the virtual cluster and of the route, if they count (RF-46) */
    mc_slice alt_stat_name;   /* RF-6 */
    bool grpc;
    bool may_retry;  /* a policy or headers ask for retries */
    bool hedge;      /* hedge_on_per_try_timeout */
    bool keep_body;  /* another try or a redirect may need it (RF-28) */
    bool overflowed; /* more body came than is kept */
    bool request_end;
    bool headers_only;     /* the request came without a body, not even an empty one */
    bool waiting;          /* between tries */
    bool timeout_retry;    /* what the wait is for (RF-29) */
    bool wrote;            /* some try sent something */
    bool retried;          /* a further try was started */
    bool replied_attempts; /* answers tell the attempt count from now on */
    bool terminates;       /* CONNECT ends here: its payload goes upstream as it is (HC-46) */
    bool websocket;        /* only a 101 accepts it */
    bool payload_waits;    /* until the upstream accepted the upgrade (HC-46) */
    bool body_paused;      /* too much is held between two tries */
    bool response_started; /* headers, perhaps informational, went to the chain */
    uint64_t *tried; /* hashes of addresses, MC_TRIED_MAX, the newest replace the oldest; NULL: nobody asks (RF-26) */
    uint32_t tried_count;
    mc_slice names; /* addresses of hosts that the request names, those of earlier tries aside */
    bool named;     /* they were looked for */
    struct mc_retry_priority *retry_priority; /* NULL: none, or nothing tried yet */
    mc_route_match *looked_at;                /* where a redirect leads that is not followed after all; NULL: none */
    struct mc_shadow *shadows;                /* that still take the request's body */
    struct mc_router_seek *seek; /* for a host that the request says (CL-15, CL-17); NULL: it never sought */
    const char *no_host;         /* why there is none, in the arena or static; NULL: nobody knows better */
};

#define MC_R_COUNT(r, name) mc_counter_inc((r)->stream->proxy->slab, (r)->cluster->stats.name)

/* --- router.c ------------------------------------------------------------------------------------------------------- */

bool mc_router_stop_keeping(mc_router *r);
/* The client is not read any more while so much of the body waits for a connection. */
void mc_router_hold_back(mc_router *r, size_t waiting);

/* --- router_reply.c ------------------------------------------------------------------------------------------------ */

void mc_router_reply_redirect(mc_stream *stream);
void mc_router_reply_direct(mc_stream *stream, const mc_direct_response *direct);
/* RF-3; NULL: the request's headers are as they should be. */
const char *mc_router_strict_check(const mc_headers *request, uint8_t strict, mc_reply *reply, mc_arena *arena);
/* RF-4, CL-7: whether a request to this cluster is refused, which may draw a number. */
bool mc_draws_maintenance(const mc_proxy *proxy, const mc_cluster *cluster);
bool mc_draws_drop(const mc_proxy *proxy, const mc_upstream *upstream);
/* RF-4: true when the request was answered. */
bool mc_router_maintenance(mc_router *r);
/* CL-7: discovery wants a share of the requests refused; true when this one was answered. */
bool mc_router_drop_overload(mc_router *r);
void mc_router_reply_no_host(mc_router *r);
void mc_router_reply_unsendable(mc_router *r, const mc_header *header);
/* The response flag that tells of it. */
uint64_t mc_router_reset_flag(mc_reset_reason reason);
/* The transport failure that the error tells of; empty for none. */
mc_slice mc_router_connect_text(mc_connect_error error);
/* Answers, or resets a response that has begun. Adds what answers carry after tries were made (RF-35). */
void mc_router_reply(mc_router *r, const mc_reply *reply);
void mc_router_reply_reset(mc_router *r, mc_reset_reason reason, mc_connect_error error);
void mc_router_reply_timeout(mc_router *r, const char *details);
void mc_router_reply_too_large(mc_router *r); /* RF-28 */
void mc_router_out_of_memory(mc_router *r);

/* --- balance.c ---------------------------------------------------------------------------------------------------- */

/* What the request asks of its host: hash and metadata. */
MC_MUST_CHECK mc_status mc_router_ask(mc_router *r, const mc_route_request *request);
/* A host for the next try, which then counts as tried, and whose it is; NULL: none, or (mc_router_seeks) not yet: then the try is
 * started again when its name is known. */
mc_host *mc_router_choose_host(mc_router *r, mc_upstream **from);
bool mc_router_seeks(const mc_router *r);
void mc_router_stop_seeking(mc_router *r);
/* What balancers that go by answers are told: a try has its host; its response begins; it failed; it is over. */
void mc_try_given(mc_try *t);
void mc_try_told(mc_try *t);
void mc_try_body_came(mc_try *t);
void mc_try_told_failure(mc_try *t);
void mc_try_taken_back(mc_try *t);

/* --- upstream_request.c --------------------------------------------------------------------------------------------- */

/* Chooses a host and sends it the request; a failure may be answered or retried before it returns. */
void mc_try_start(mc_router *r);
/* The body, through the filters of the try. */
void mc_try_give(mc_try *t, mc_slice data);
void mc_try_give_end(mc_try *t);
/* What reached the codec behind the filters: it waits for the connection. */
void mc_try_pass_head(mc_try *t, bool end_stream);
void mc_try_pass_data(mc_try *t, mc_slice data, bool end_stream);
void mc_try_write(mc_try *t, mc_slice data);
void mc_try_write_end(mc_try *t);
/* The upgrade was accepted: the payload that waited follows. */
void mc_try_write_payload(mc_try *t);
/* Leaves a try behind whose attempt is detached. */
void mc_try_drop(mc_try *t);
/* Takes it down. */
void mc_try_cancel(mc_try *t);
void mc_router_cancel_tries(mc_router *r, const mc_try *but);
/* The client waits for this try's connection, and no longer. */
void mc_try_block(mc_try *t);
void mc_try_unblock(mc_try *t);
/* Events of its attempt. */
void mc_try_on_ready(mc_attempt *attempt);
void mc_try_on_failure(mc_attempt *attempt, mc_reset_reason reason);
void mc_try_on_high(mc_attempt *attempt);
void mc_try_on_low(mc_attempt *attempt);
/* Whether it takes the body: at once, if only through filters. */
static inline bool mc_try_takes(const mc_try *t) {
    return (t->ready || t->filters != NULL) && !t->router->payload_waits;
}
static inline mc_try *mc_router_newest(const mc_router *r) {
    mc_link *last = r->tries.head.prev;
    return mc_list_empty(&r->tries) ? NULL : MC_CONTAINER(last, mc_try, link);
}

/* Whether tries pass through filters (upstream_chain.h). */
static inline bool mc_router_filters_tries_to(const mc_router *r, const mc_cluster *cluster) {
    const mc_filter_chain *chain = &r->stream->hcm->upstream;
    return MC_UNLIKELY(chain->end > chain->begin || cluster->filters != NULL);
}
static inline bool mc_router_filters_tries(const mc_router *r) {
    return mc_router_filters_tries_to(r, r->upstream->cluster);
}

/* --- upstream_response.c -------------------------------------------------------------------------------------------- */

extern const mc_attempt_events mc_try_events;
/* The connection of a CONNECT that ends here stands: the client is told so. */
void mc_try_accept_connect(mc_try *t);
/* RF-22, RF-23: asks for another try after this one failed without a response; true: it is dropped and another will come. */
bool mc_try_retry_reset(mc_try *t, mc_reset_reason reason, bool timeout);
/* A try ended without a response, or within it: retried, answered, or passed on as a reset. */
void mc_try_failed(mc_try *t, mc_reset_reason reason);
void mc_router_schedule_retry(mc_router *r, bool timeout);
void mc_router_backoff_fired(mc_timer *timer);
/* Sets the response flag a refused retry leaves. */
void mc_router_flag_verdict(mc_router *r, mc_retry_verdict verdict);
/* No further try, no timers of the whole request. */
void mc_router_settle(mc_router *r);

/* --- timeouts.c --------------------------------------------------------------------------------------------------------- */

/* Reads the limits, removes the headers that set them, and announces what is expected upstream (RF-10 to RF-13). */
MC_MUST_CHECK mc_status mc_router_read_timeouts(mc_router *r);
/* RF-13, for a further try. */
MC_MUST_CHECK mc_status mc_router_announce_timeout(mc_router *r, uint64_t elapsed_ms);
void mc_router_timeout_fired(mc_timer *timer);
/* The timers of a try (RF-14, RF-15): when it starts, and when it has its connection or the request became complete. */
void mc_try_arm(mc_try *t);
void mc_try_ready_timers(mc_try *t);
void mc_try_disarm(mc_try *t);
/* Records of a try that goes on, from its connection on. */
void mc_try_log_fired(mc_timer *timer);
/* Something came from upstream. */
void mc_try_active(mc_try *t);
/* An upgrade was accepted: the limits were for the handshake. */
void mc_router_disarm_handshake(mc_router *r, mc_try *t);

/* --- router_stats.c ------------------------------------------------------------------------------------------------------- */

void mc_router_find_scopes(mc_router *r);
void mc_router_inc_scopes(mc_router *r, mc_code_counter counter);
/* A response of the upstream, or the router's own in its place; `host` may be NULL (RF-45). */
void mc_router_charge(mc_router *r, uint16_t status, mc_host *host, bool canary);
/* A try that ended without a whole response (RF-32). */
void mc_router_charge_abort(mc_router *r, uint16_t status, mc_try *t);
void mc_router_charge_retried(mc_router *r, uint16_t status);
void mc_router_charge_time(mc_router *r, const mc_try *t);
/* What its cluster tracks: of the whole limit, at the end of a response or when time is up; of a try, at its end. */
void mc_router_track(mc_router *r);
void mc_try_track(mc_try *t);
bool mc_try_is_canary(const mc_try *t);
/* Where responses of this host count by its zone and ours, below `prefix`; NULL: one of them is not known. */
mc_code_stats *mc_zone_codes(mc_cluster *cluster, mc_slice prefix, mc_slice from, const mc_host *host);
/* Outlier detection (RF-31, RF-32); `code` 0: none. */
void mc_try_report(mc_try *t, mc_outlier_event event, unsigned code);
/* What a response's headers say of its host; `grpc_status` as mc_grpc_http_status. */
void mc_upstream_report_response(mc_upstream *upstream, mc_host *host, const mc_headers *response, uint16_t status,
                                 uint16_t grpc_status);
void mc_host_count_error(mc_router *r, mc_host *host);
/* rq_success or rq_error of a response that is no 5xx; false: a gRPC response tells by its end (mc_host_count_end). */
bool mc_host_count_response(mc_slab *slab, mc_host *host, bool grpc, uint16_t grpc_status, bool end_stream);
void mc_host_count_end(mc_slab *slab, mc_host *host, const mc_headers *trailers);
/* The status that a grpc-status of `headers` stands for (HC-6); 0: there is none. */
uint16_t mc_grpc_http_status(const mc_headers *headers);

/* --- internal_redirect.c ----------------------------------------------------------------------------------------------------- */

/* RT-56: true when the request starts anew instead of passing this response on. */
bool mc_router_follow_redirect(mc_router *r, mc_try *t, bool end_stream);
void mc_try_give_up(mc_try *t, bool end_stream);

/* --- shadow.c -------------------------------------------------------------------------------------------------------------------- */

/* RT-55: makes the copies of a request whose headers are final, and sends them. */
void mc_shadows_make(mc_router *r);
void mc_shadows_start(mc_router *r, bool end_stream);
void mc_shadows_data(mc_router *r, mc_slice data);
void mc_shadows_end(mc_router *r);
/* The stream ended before the request did. */
void mc_shadows_cancel(mc_router *r);

/* --- shadow_request.c --------------------------------------------------------------------------------------------------------- */

/* What the copy that `policy` wants is sent with, of the request as it goes upstream. `to` is empty, its memory outlives the stream's.
 * *timeout_ms: how long its answer may take, 0: for ever. */
MC_MUST_CHECK mc_status mc_shadow_request(const mc_router *r, const mc_mirror_policy *policy, const mc_cluster *cluster,
                                          mc_headers *to, uint64_t *timeout_ms);
MC_MUST_CHECK mc_status mc_shadow_copy(const mc_headers *from, mc_headers *to);

#endif
