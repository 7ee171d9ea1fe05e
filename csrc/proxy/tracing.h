/* Tracing (rules TR-*): whether a request is traced, the headers that carry its trace on, and what its spans tell.
 *
 * All of it is decided and written on the worker. A sampled span becomes one JSON object in the worker's span ring when it
 * ends; the control side hands it to an exporter. A span that is not sampled only carries its context on. Where a connection
 * manager has no tracing its `tracing` is NULL, and a request pays for a look at that pointer. */
#ifndef MC_PROXY_TRACING_H
#define MC_PROXY_TRACING_H

#include "http/trace_context.h"
#include "route/tracing.h"

struct mc_stream;
struct mc_proxy;
struct mc_hcm_pin;
struct mc_hcm_context;

/* OpenTelemetry's, in place of our decision (TR-7). */
typedef enum mc_sampler_kind { MC_SAMPLER_NONE, MC_SAMPLER_ALWAYS_ON, MC_SAMPLER_RATIO } mc_sampler_kind;
typedef struct mc_sampler {
    mc_sampler_kind kind;
    bool parent_first; /* a parent's own decision counts */
    mc_fraction ratio; /* of trace ids */
} mc_sampler;

typedef enum mc_tracer { MC_TRACER_NONE, MC_TRACER_ZIPKIN, MC_TRACER_OPENTELEMETRY } mc_tracer;

/* The compiled `tracing` of a connection manager. Immutable, in its arena. */
typedef struct mc_tracing {
    mc_tracer tracer;
    uint32_t provider; /* the control side's number for it, told with each span */
    bool egress;       /* the listener's traffic_direction is OUTBOUND */
    bool spawn_upstream_span, verbose, no_context_propagation;
    bool shared_span_context, trace_id_128bit, timestamp_trace_ids, w3c_too; /* Zipkin's */
    mc_sampler sampler;
    uint32_t max_path_tag_length;
    mc_fraction client_sampling, random_sampling, overall_sampling;
    mc_custom_tags tags;
    const mc_format *operation, *upstream_operation; /* NULL: none */
    mc_slice node_id, zone;
} mc_tracing;

/* `config` is the HttpConnectionManager message; *out NULL: it has no tracing. */
MC_MUST_CHECK mc_status mc_tracing_compile(mc_arena *arena, const mc_value *config,
                                           const struct mc_hcm_context *context, const mc_tracing **out,
                                           mc_error *error);

/* A span that has begun; in the stream's arena. */
typedef struct mc_span {
    mc_trace_context context;
    mc_slice name;
    mc_slice cluster;    /* of the last try, as in statistics; empty: there was none */
    mc_slice decorated;  /* the decorator's operation, to be told in the response; empty: none */
    mc_slice tracestate; /* passed on as it came */
    uint64_t start_us;
    char trace_text[MC_TRACE_ID_TEXT], span_text[MC_SPAN_ID_TEXT]; /* for mc_tracing_tell */
    bool formatted; /* its name is a format's: the neighbour's header is left alone */
    bool none;      /* no span: no tracer, or a context that cannot be read */
    bool server;    /* else it is a client's */
    bool shared;    /* has the id of the caller's span (TR-5) */
} mc_span;

/* The trace reason, after a route was found (TR-1). */
void mc_tracing_decide(struct mc_stream *stream);
/* The span of the request; NULL in the stream when memory ran out. */
void mc_tracing_start(struct mc_stream *stream);
/* What the request belongs to is not to be reported after all: a health check. */
void mc_tracing_forget(struct mc_stream *stream);
/* Operation names that travel with the response; counts. */
void mc_tracing_response(struct mc_stream *stream);
void mc_tracing_finish(struct mc_stream *stream);
/* The ids and the reason, for formats and filters of access logs. */
void mc_tracing_tell(struct mc_stream *stream, mc_stream_info *info);

/* The span of one try, if tries have their own, else NULL (TR-2); `cluster` as in statistics. */
mc_span *mc_tracing_spawn(struct mc_stream *stream, mc_slice cluster);
/* Writes the context into the request's headers: that of `child`, or of the request when it is NULL. */
MC_MUST_CHECK mc_status mc_tracing_inject(struct mc_stream *stream, const mc_span *child);

/* How a try ended, or stands. */
typedef struct mc_span_end {
    const mc_address *upstream;
    const mc_headers *headers, *trailers; /* of the response; may be NULL */
    mc_slice reset_reason;                /* empty: it was not reset */
    uint64_t flags, flag_order;
    uint16_t status;  /* 0: no response */
    uint32_t retries; /* tries before it */
    bool connected, canceled;
} mc_span_end;
void mc_tracing_finish_child(struct mc_stream *stream, const mc_span *child, const mc_span_end *end);

/* The span of a copy of the request (RT-55), which may outlive the stream. */
typedef struct mc_shadow_span {
    mc_span span;
    struct mc_hcm_pin *pin; /* referenced until it is finished */
} mc_shadow_span;
/* Begins one in `arena` and writes its context into the copy's headers; NULL: none. `sampled` as in a mirror policy. */
mc_shadow_span *mc_tracing_spawn_shadow(struct mc_stream *stream, mc_headers *copy, mc_slice cluster, int8_t sampled);
void mc_tracing_finish_shadow(mc_shadow_span *shadow, struct mc_proxy *proxy, const mc_span_end *end);

#endif
