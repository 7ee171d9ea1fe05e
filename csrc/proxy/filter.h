/* The HTTP filter seam: a chain is a table of functions, decoding in list order, encoding in reverse (rules section 5).
 *
 * The router is the last filter. A filter acts on a stream through the functions below; a filter that stopped goes on by
 * mc_filter_continue_*, on the worker's thread (from other threads: by a mailbox message). While a filter stops, what follows is
 * held for it: MC_FILTER_STOP holds with back-pressure (the peer is no longer read above the buffer limit),
 * MC_FILTER_STOP_AND_BUFFER collects and keeps calling the filter with every further piece; over the limit the request is answered
 * 413, the response 500 (HC-7).
 *
 * A filter that changes a body takes the pieces (MC_FILTER_CONSUMED) and gives its own to those behind it (mc_filter_inject); one
 * that slows a body down lets it stop and passes bytes on as time goes by (mc_filter_pass).
 *
 * All calls of a stream are on one thread, never nested into another call of the same filter. */
#ifndef MC_PROXY_FILTER_H
#define MC_PROXY_FILTER_H

#include "base/address.h"
#include "http/headers.h"
#include "http/stream_info.h"
#include "route/route.h"

struct mc_loop;

typedef struct mc_stream mc_stream;
typedef struct mc_filter mc_filter;

typedef enum mc_filter_status {
    MC_FILTER_CONTINUE,
    MC_FILTER_STOP,            /* nothing more passes here until continued */
    MC_FILTER_STOP_AND_BUFFER, /* not yet: call me again with more */
    MC_FILTER_CONSUMED,        /* data only: these bytes are gone, what takes their place was or will be injected */
} mc_filter_status;

/* Any function may be NULL: the filter does not care. A filter that answered itself (mc_filter_reply) returns MC_FILTER_STOP. */
typedef struct mc_filter_type {
    const char *name;
    bool terminal; /* stands at the end of a chain, and only there */
    /* Makes per-stream state in the stream's arena into filter->state; non-zero refuses the stream (503). */
    mc_status (*open)(mc_filter *filter);
    mc_filter_status (*decode_headers)(mc_filter *filter, mc_headers *headers, bool end_stream);
    mc_filter_status (*decode_data)(mc_filter *filter, mc_slice data, bool end_stream);
    mc_filter_status (*decode_trailers)(mc_filter *filter, mc_headers *trailers);
    void (*decode_complete)(mc_filter *filter);
    mc_filter_status (*encode_headers)(mc_filter *filter, mc_headers *headers, bool end_stream);
    mc_filter_status (*encode_data)(mc_filter *filter, mc_slice data, bool end_stream);
    mc_filter_status (*encode_trailers)(mc_filter *filter, mc_headers *trailers);
    void (*encode_complete)(mc_filter *filter);
    /* The stream is about to be answered by us: what is under way upstream is given up first. */
    void (*local_reply)(mc_filter *filter);
    /* Once, when the stream is over, however it ended. */
    void (*close)(mc_filter *filter);
    /* The response path is full / has room again, at one place of several: counted (for who produces the response). */
    void (*encode_high)(mc_filter *filter);
    void (*encode_low)(mc_filter *filter);
    /* Bytes of the message that it keeps in buffers of its own; NULL: none. */
    size_t (*held)(const mc_filter *filter);
} mc_filter_type;

/* One entry of a configured chain. */
typedef struct mc_filter_config {
    const mc_filter_type *type;
    void *config;                      /* the type's own, outlives the chain */
    mc_slice name;                     /* what typed_per_filter_config calls it */
    const struct mc_filter_kind *kind; /* NULL: the router, or a filter from a factory */
    bool disabled;                     /* runs only where a route enables it */
} mc_filter_config;

/* What a place in the route table says about one filter (RT-57). */
typedef struct mc_route_filter {
    const void *config; /* as the filter's compile_route made it; NULL: none */
    bool disabled;
    const struct mc_route_filter *outer; /* what the next less specific level says; NULL: nothing */
} mc_route_filter;

/* The same for filters that are not the connection manager's, but a cluster's: by their name. */
typedef struct mc_route_named_filter {
    mc_slice name;
    const struct mc_filter_kind *kind; /* of the configuration; NULL: there is none */
    mc_route_filter said;
    const struct mc_route_named_filter *next;
} mc_route_named_filter;

/* What a place says about all filters. */
struct mc_route_filters {
    const mc_route_named_filter *named;
    uint32_t count;
    const mc_route_filter *items[]; /* by index in the configured chain; NULL: nothing is said */
};
/* NULL: nothing. */
const mc_route_filter *mc_route_filters_named(const mc_route_filters *routed, const mc_filter_config *config);

/* What a piece of code that knows a filter by name hands to the chain's compiler. */
typedef struct mc_filter_factory {
    mc_slice name;
    const mc_filter_type *type;
    void *config;
} mc_filter_factory;

const void *mc_filter_get_config(const mc_filter *filter);
void mc_filter_set_state(mc_filter *filter, void *state);
void *mc_filter_get_state(const mc_filter *filter);
mc_stream *mc_filter_stream(mc_filter *filter);
mc_arena *mc_filter_arena(mc_filter *filter);
mc_headers *mc_filter_request_headers(mc_filter *filter);
mc_headers *mc_filter_response_headers(mc_filter *filter);

/* What may be held of the request from now on, at any filter. */
void mc_filter_limit_request(mc_filter *filter, uint32_t bytes);

/* The worker's loop, whose mailbox resumes a stream that waits for another thread. */
struct mc_loop *mc_filter_loop(mc_filter *filter);
/* The client's address as decided by HC-11 and HC-12. */
const mc_address *mc_filter_remote(mc_filter *filter);
/* RT-58: the route is looked up again, against the headers as they are then, when the router needs it. */
void mc_filter_clear_route(mc_filter *filter);

/* What the stream's route says about this filter, the most specific place that does; NULL: nothing. */
const mc_route_filter *mc_filter_route(mc_filter *filter);
/* The configuration of the most specific place that has one, else the filter's own. */
const void *mc_filter_route_config(mc_filter *filter);
/* The route as it is now: looked up again when a filter asked for that. NULL: out of memory, and the stream is reset. */
const mc_route_match *mc_filter_match(mc_filter *filter);
/* All that is known of the stream at this moment; valid until the next call. NULL: out of memory. */
const mc_stream_info *mc_filter_info(mc_filter *filter);
const mc_runtime *mc_filter_runtime(mc_filter *filter);
/* A fresh random number. */
uint64_t mc_filter_random(mc_filter *filter);
struct mc_slab *mc_filter_slab(mc_filter *filter);
/* State that all streams of one worker share for this entry of the chain: NULL until the filter sets it; its kind closes it. */
void **mc_filter_worker_state(mc_filter *filter);

/* Dynamic metadata: a member of a namespace set, or an object merged into it (FL-56). Bytes are borrowed. */
MC_MUST_CHECK mc_status mc_filter_set_metadata(mc_filter *filter, mc_slice space, mc_slice key, const mc_value *value);
MC_MUST_CHECK mc_status mc_filter_merge_metadata(mc_filter *filter, mc_slice space, const mc_value *object);
/* NULL: none. */
const mc_value *mc_filter_metadata(mc_filter *filter, mc_slice space);

/* Sets an object of the filter state; borrowed. */
MC_MUST_CHECK mc_status mc_filter_set_filter_state(mc_filter *filter, mc_slice key, const mc_value *object);
/* The cluster of the stream's route here and now; NULL: none. */
struct mc_upstream *mc_filter_upstream(mc_filter *filter);

void mc_filter_continue_decoding(mc_filter *filter);
void mc_filter_continue_encoding(mc_filter *filter);

/* The body the filter holds back now (MC_FILTER_STOP_AND_BUFFER), for reading in place: pieces valid until the next call. */
size_t mc_filter_held(mc_filter *filter, bool decode, mc_slice *pieces, size_t max);

size_t mc_filter_held_bytes(const mc_filter *filter, bool decode);
/* Passes up to n of the held bytes to what comes next, without showing them to the filter; then, when nothing is left, the end of the
 * stream if it came, and the filter is asked again about what follows. */
void mc_filter_pass(mc_filter *filter, bool decode, size_t n);
/* Gives data to what comes behind this filter, as if it had passed. Bytes must live until the current callback ends. */
void mc_filter_inject(mc_filter *filter, bool decode, mc_slice data, bool end_stream);
/* Trailers of this filter's own: to be asked for while the last data passes it, or for trailers there are; NULL: out of memory. */
mc_headers *mc_filter_add_trailers(mc_filter *filter, bool decode);

typedef struct mc_reply {
    uint16_t status;
    mc_slice body;       /* copied */
    const char *details; /* response code details: static, or of the configuration when details_class is set */
    const char
        *details_class;   /* static: what records, which may outlive the configuration, say instead; NULL: details */
    bool has_grpc_status; /* for gRPC requests: grpc_status, not what belongs to `status` */
    uint32_t grpc_status;
    uint64_t flags;           /* response flags */
    const mc_header *headers; /* further headers, names lower-case; copied */
    size_t header_count;
    mc_slice content_type; /* of the body, whatever is added to responses says; empty: as that says, else plain text */
    bool of_route;         /* the route itself answers: what it adds to responses comes behind `headers` */
    bool as_is;            /* a response, no refusal: nothing maps it, adds to it or makes it gRPC; without a body */
} mc_reply;

/* A local reply (HC-4, HC-5): through the encoder filters when nothing of a response was seen, else the stream is reset. */
void mc_filter_reply(mc_filter *filter, const mc_reply *reply);

/* Ends the stream for want of memory; returns MC_FILTER_STOP. */
mc_filter_status mc_filter_out_of_memory(mc_filter *filter);

/* For the filter that produces the response (the router). Headers live in the stream's arena. */
void mc_filter_encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream);
void mc_filter_encode_data(mc_filter *filter, mc_slice data, bool end_stream);
void mc_filter_encode_trailers(mc_filter *filter, mc_headers *trailers);
/* Stop or go on reading the request: counted. */
void mc_filter_decode_pause(mc_filter *filter);
void mc_filter_decode_resume(mc_filter *filter);

#endif
