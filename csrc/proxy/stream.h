/* Stream: one request and its response, from the first header byte to the access record.
 *
 * A stream belongs to one downstream connection and lives in its own arena, on the worker's thread. Its life:
 *
 *     open -> request headers -> route -> filters decode -> (router) -> response headers -> filters encode -> codec -> finished
 *
 * It finishes exactly once (mc_stream_finish): counters, record, filters closed; freed from the deferred queue. Between two
 * callbacks any stream may have finished, so code that called out checks mc_stream.finished before it goes on. */
#ifndef MC_PROXY_STREAM_H
#define MC_PROXY_STREAM_H

#include "http/flags.h"
#include "proxy/downstream.h"
#include "proxy/facts.h"

/* What one direction of the chain holds back at one filter. Data in `held` is passed on in order; its first `seen` bytes were
 * already shown to this filter (MC_FILTER_STOP_AND_BUFFER), the rest not yet (it came while the filter was stopped). */
typedef struct mc_filter_side {
    mc_buffer held;
    size_t seen;
    bool headers_held; /* headers stopped here */
    bool stopped;      /* MC_FILTER_STOP: nothing passes until continued */
    bool end_held;     /* the end of the stream is among what is held */
    bool trailers_held;
    bool trailers_seen;
    bool over_limit; /* back-pressure is on because of this side */
} mc_filter_side;

typedef enum mc_direction { MC_DECODE, MC_ENCODE } mc_direction;

/* The filters that run for a stream, or for one try of its request (upstream_chain.c). */
typedef struct mc_filters {
    mc_stream *stream;
    struct mc_try *of_try; /* NULL: the stream's own */
    mc_filter *items;      /* NULL: not open */
    uint32_t count;
    uint32_t limit;                           /* of bytes held of a request; 0: the connection manager's */
    void **worker_states;                     /* by slot (mc_filter_worker_state) */
    mc_headers *response, *response_trailers; /* of a try: what it brought; NULL: nothing yet */
    bool by_name; /* a cluster's: the route table's words for them are found by name, not by slot */
    bool let_by;  /* of a try: what it brought came through */
    bool bounded; /* the request that passes was collected: what takes its place may not be larger either */
    bool closed;  /* nothing passes any more */
} mc_filters;

struct mc_filter {
    const mc_filter_type *type;
    void *config;
    void *state;
    mc_stream *stream;
    mc_filters *among;
    const mc_filter_config *entry;
    size_t given;  /* what it put in the place of a collected request */
    uint8_t index; /* among those that run */
    uint8_t slot;  /* in the configured chain */
    bool open;
    bool trailers_added[2];  /* by mc_direction: they follow the last data */
    mc_filter_side sides[2]; /* by mc_direction */
};

/* Why a request is refused as if the codec had. */
typedef struct mc_refusal {
    uint16_t status;
    const char *details;
    mc_slice body;
} mc_refusal;

struct mc_stream {
    mc_downstream *downstream; /* NULL once finished */
    mc_proxy *proxy;
    mc_hcm_pin *pin;
    mc_hcm_pin *former; /* of the leg before mc_stream_renew, whose texts may still be borrowed; NULL: none */
    const mc_hcm *hcm;
    const mc_hcm_routes *routes; /* of the request's scope */
    mc_arena arena;
    mc_headers request;
    mc_headers *request_trailers;
    mc_headers *response; /* the map whose headers went, or are going, downstream */
    mc_headers *response_trailers;
    mc_h1_head head;

    mc_route_match match;
    mc_address remote;            /* the client as HC-11, HC-12 decide; the peer's by default */
    uint64_t random;              /* stable random (RT-10) */
    const mc_filter_chain *chain; /* of the configuration: the connection manager's, or that of an upgrade */
    mc_slice connect_port;        /* of a CONNECT: ":port" that was stripped from its authority (HC-33) */
    mc_filters filters;

    uint64_t start_us, request_complete_us, last_activity_ms;
    mc_timer idle;     /* stream_idle_timeout, lazily re-armed */
    mc_timer limit;    /* request_timeout */
    mc_timer duration; /* max_stream_duration */
    mc_timer log;      /* access_log_flush_interval */
    uint64_t idle_ms;

    uint64_t flags, flag_order; /* set by mc_stream_flag */
    uint64_t late_flags;        /* that are told of the stream when it is over, and not to what answers it */
    const char *details;
    const char *details_class;      /* of mc_reply */
    const mc_value *metadata;       /* dynamic: namespace to object; NULL: none */
    const mc_value *typed_metadata; /* namespace to Any; NULL: none */
    mc_slice override_host;         /* address text of the host that is to be tried first; empty: none */
    bool override_strict;           /* that host or none */
    uint16_t override_status;       /* of the answer where it is none */
    const mc_value *filter_state;   /* key to object; NULL: none */
    mc_stream_info *info;           /* made when first asked for */
    mc_facts *facts;                /* NULL: nobody reads them */
    uint64_t headers_sent_us;       /* when the response began; 0: not yet */
    struct mc_redirects *redirects; /* followed inside (internal_redirect.c); NULL: none */
    struct mc_restart *restart;     /* on its way; NULL: none */
    mc_span *span;                  /* NULL: no tracing */
    const mc_refusal *refusal;      /* NULL: none */
    uint64_t bytes_received, bytes_sent;
    uint64_t first_upstream_us;
    mc_address upstream_address;
    mc_slice virtual_cluster; /* name; the route table's */
    uint16_t status;
    uint8_t attempts;
    uint8_t trace_reason; /* mc_trace_reason */
    uint16_t decode_pauses;

    bool headed;            /* the request's head came whole */
    bool request_complete;  /* all of it was parsed */
    bool response_started;  /* headers are in, or through, the encode chain */
    bool headers_sent;      /* headers were given to the codec */
    bool response_complete; /* last byte was given to the codec */
    bool local_reply;
    bool internal;         /* x-envoy-internal (HC-14) */
    bool edge;             /* HC-16 */
    bool close_connection; /* HC-40 */
    bool upgrade;          /* asked for and allowed */
    bool upgrade_refused;
    bool connect; /* the method is CONNECT */
    bool tunnel;  /* upgraded */
    bool head_request;
    bool grpc_request; /* as it came */
    bool refused_head; /* by the codec, as a HEAD request that it understood; its answer is made as for any other */
    bool refused_10;   /* refused for its HTTP/1.0, though the answer says 1.1 */
    bool answers_10;   /* in HTTP/1.0, though the version of what cannot be parsed is told as 1.1 */
    bool finished;
    bool overloaded;       /* refused: resources run short */
    bool route_stale;      /* a filter asked for another look at the routes */
    bool host_asked;       /* its virtual host was asked for: once is enough */
    bool renews;           /* the leg that is on its way takes the newest configuration */
    bool health_check;     /* FL-50: not traced, not counted in code stats */
    bool reset;            /* ended without a whole response */
    bool counted;          /* downstream_rq_active holds it */
    mc_h1_framing framing; /* of the response body on the wire */
    mc_deferred freeing;
};

mc_stream *mc_stream_open(mc_downstream *downstream, mc_proxy *proxy, mc_hcm_pin *pin);

/* Events from the codec. */
void mc_stream_request_headers(mc_stream *stream, const mc_h1_head *head);
void mc_stream_request_data(mc_stream *stream, mc_slice data);
void mc_stream_request_trailers(mc_stream *stream, mc_headers *trailers);
void mc_stream_request_complete(mc_stream *stream);

/* Begins the request anew with its headers as they are now, its body being what is taken out of `body`: a new leg with filters and
 * route of its own, once the current callback is over (RT-56). The leg before it is logged and leaves no trace in the counters of
 * responses. */
void mc_stream_restart(mc_stream *stream, mc_buffer *body);

/* The same with the newest configuration of its listener; at most once. */
void mc_stream_renew(mc_stream *stream, mc_buffer *body);

/* Looks the route up (again). */
MC_MUST_CHECK mc_status mc_stream_match_route(mc_stream *stream);
/* Whether the newest configuration of its listener has a virtual host for it. */
bool mc_stream_has_newest_host(mc_stream *stream);
/* The cluster that the route leads to; NULL: none, or none that exists. */
mc_upstream *mc_stream_upstream(const mc_stream *stream);

/* A local reply outside the filters (HC-3, HC-4). */
void mc_stream_reply(mc_stream *stream, const mc_reply *reply);
/* The connection or the proxy gives the stream up: no more bytes will be written. */
void mc_stream_reset(mc_stream *stream, uint64_t flags, const char *details);
/* Adds response flags. */
static inline void mc_stream_flag(mc_stream *stream, uint64_t flags) {
    if (MC_UNLIKELY(flags != 0)) {
        mc_flags_add(&stream->flags, &stream->flag_order, flags);
    }
}
/* Counts response headers by their status, interim ones too (ST-1). */
void mc_stream_count_response(mc_stream *stream, uint16_t status);
/* Overload changed the limits of time. */
void mc_stream_rescale(mc_stream *stream);
/* Back-pressure from the client's connection, or from a filter that holds much: each says blocked and then not, in turns. */
void mc_stream_write_blocked(mc_stream *stream, bool blocked);

/* --- info.c --------------------------------------------------------------------------------------------------------- */

/* All that is known at this moment, in a struct that the next call fills anew; NULL: out of memory. */
const mc_stream_info *mc_stream_collect_info(mc_stream *stream);
/* A record for the access logs, if there are any. */
void mc_stream_emit_log(mc_stream *stream, mc_log_type type);
static inline void mc_stream_log(mc_stream *stream, mc_log_type type) {
    if (MC_UNLIKELY(stream->hcm->access.logs != NULL)) {
        mc_stream_emit_log(stream, type);
    }
}
/* A record of a try for the router's own logs; `facts` may be NULL. */
void mc_stream_emit_upstream_log(mc_stream *stream, mc_log_type type, const mc_span_end *try,
                                 const mc_try_facts *facts);
/* The stream as its route table's decisions see it; with its info where header formats read that. */
MC_MUST_CHECK mc_status mc_stream_route_request(mc_stream *stream, mc_route_request *out);

/* --- chain.c: the filter chain ------------------------------------------------------------------------------------ */

/* What the stream's route says about a filter, the most specific place that does; NULL: nothing, or there is no route yet. `among`
 * tells how it is looked for. */
const mc_route_filter *mc_filters_said(const mc_filters *among, const mc_filter_config *config, uint32_t slot);
/* RT-57: what the route says, else the chain's own flag; the last of a chain always runs. */
bool mc_filter_is_disabled(const mc_filters *among, const mc_filter_config *config, uint32_t slot);

/* Makes the state of those of configs[begin..end) that are enabled at the stream's route; those of the chain alone when there is none
 * yet. The chain's stream, of_try, worker_states and by_name are set. */
MC_MUST_CHECK mc_status mc_filters_open(mc_filters *chain, const mc_filter_config *configs, uint32_t begin,
                                        uint32_t end);
/* The stream's own. */
MC_MUST_CHECK mc_status mc_chain_open(mc_stream *stream);
void mc_chain_local_reply(mc_filters *chain); /* before we answer */
void mc_chain_close(mc_filters *chain);
/* Decoding starts at the first filter, encoding before the last one, which makes the response. */
void mc_chain_headers(mc_filters *chain, mc_direction direction, bool end_stream);
void mc_chain_data(mc_filters *chain, mc_direction direction, mc_slice data, bool end_stream);
void mc_chain_trailers(mc_filters *chain, mc_direction direction);

/* The far end of the stream's encode direction (stream_send.c): to the codec. */
void mc_stream_send_headers(mc_stream *stream, bool end_stream);
void mc_stream_send_data(mc_stream *stream, mc_slice data, bool end_stream);
void mc_stream_send_trailers(mc_stream *stream);

/* --- sanitize.c ------------------------------------------------------------------------------------------------------ */

/* Header order of HC-2, steps 6 to 14. Fills `reply` and returns false when the request is refused. */
bool mc_sanitize_request(mc_stream *stream, const mc_address *peer, const mc_address *local, bool tls, mc_reply *reply);
/* What Envoy's codec refuses (HC-2, step 8, and H1-5), before anything is done for the request; NULL: nothing. */
const mc_refusal *mc_sanitize_find_refusal(mc_stream *stream, bool tls);
/* client.c: finds the client's address and says it upstream (HC-11 to HC-16); as above. */
bool mc_client_find(mc_stream *stream, const mc_address *peer, const mc_address *local, mc_slice scheme,
                    mc_reply *reply);
MC_MUST_CHECK mc_status mc_client_add_external_address(mc_stream *stream);
/* HC-35 and friends. MC_ENOMEM on failure. */
MC_MUST_CHECK mc_status mc_sanitize_response(mc_stream *stream);
/* The same of a 1xx, which gets nothing of ours but the request's id. */
MC_MUST_CHECK mc_status mc_sanitize_interim(mc_stream *stream);

/* --- downstream.c, as the stream sees its connection -------------------------------------------------------------------- */

const mc_address *mc_downstream_peer(const mc_downstream *downstream);
const mc_address *mc_downstream_local(const mc_downstream *downstream);
/* The socket's own, where `local` is where the client was going; and that, or NULL: nobody asked for it. */
const mc_address *mc_downstream_direct_local(const mc_downstream *downstream);
const mc_address *mc_downstream_restored(const mc_downstream *downstream);
mc_conn *mc_downstream_conn(mc_downstream *downstream);
/* The configuration that the next request is for; borrowed. */
mc_hcm_pin *mc_downstream_newest(const mc_downstream *downstream);
/* Bytes of what the client sent that belong to requests before the one that begins now. */
uint64_t mc_downstream_consumed(const mc_downstream *downstream);
/* NULL: no TLS. */
const mc_tls_info *mc_downstream_tls(const mc_downstream *downstream);
/* NULL: nothing is ever asked of it. */
mc_overload *mc_downstream_overload(const mc_downstream *downstream);
/* Whether the connection is to end after the response whose headers are due now (HC-40). */
bool mc_downstream_ends(mc_downstream *downstream);

/* The stream is over; the connection goes on with the next request, or closes. */
void mc_downstream_stream_done(mc_downstream *downstream, mc_stream *stream, bool close);

/* Counts on the stream's HCM. */
#define MC_HCM_COUNT(stream, name) mc_counter_inc((stream)->proxy->slab, (stream)->hcm->stats.name)

#endif
