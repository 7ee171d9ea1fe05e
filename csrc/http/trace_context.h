/* Trace context in headers: B3 (many headers or one) and W3C, and the reason for tracing in a request id (TR-1, TR-5, TR-7).
 * Pure functions. */
#ifndef MC_HTTP_TRACE_CONTEXT_H
#define MC_HTTP_TRACE_CONTEXT_H

#include "http/headers.h"

typedef struct mc_trace_context {
    uint64_t trace_high, trace_low; /* high 0: a trace id of 64 bits */
    uint64_t span, parent;          /* parent 0: none */
    bool sampled;
} mc_trace_context;

typedef enum mc_trace_found {
    MC_TRACE_ABSENT,  /* a new trace begins here */
    MC_TRACE_PRESENT, /* this request is part of one */
    MC_TRACE_INVALID, /* Envoy then makes no span at all */
} mc_trace_found;

/* TR-5. *sampled is what the client decided: 1, 0, or -1 when it left it to us; the context's `sampled` is not set. A single
 * `b3` beats the others; with `w3c` a traceparent counts where there is no B3, and an invalid one as absent. */
mc_trace_found mc_b3_read(const mc_headers *headers, bool w3c, mc_trace_context *out, int *sampled);
MC_MUST_CHECK mc_status mc_b3_write(mc_headers *headers, const mc_trace_context *context);
/* TR-7. Sets the context's `sampled`. */
mc_trace_found mc_w3c_read(const mc_headers *headers, mc_trace_context *out);
MC_MUST_CHECK mc_status mc_w3c_write(mc_headers *headers, const mc_trace_context *context);

enum { MC_TRACE_ID_TEXT = 32, MC_SPAN_ID_TEXT = 16 };
/* Lower-case hex; `wide` writes the high half even when it is 0. Return the length. */
size_t mc_trace_id_text(const mc_trace_context *context, bool wide, char out[MC_TRACE_ID_TEXT]);
size_t mc_span_id_text(uint64_t id, char out[MC_SPAN_ID_TEXT]);

typedef enum mc_trace_reason {
    MC_TRACE_NOT_TRACEABLE,
    MC_TRACE_SAMPLED,
    MC_TRACE_SERVICE_FORCED,
    MC_TRACE_CLIENT_FORCED,
} mc_trace_reason;

/* The number that samples are drawn with: the first eight hex digits, of which the first two may be 0x; false: there
 * are none. */
bool mc_request_id_number(mc_slice id, uint64_t *out);
/* Packed in the 15th character of an id of 36 (HC-20). */
mc_trace_reason mc_request_id_reason(mc_slice id);
/* The character that stands for a reason. */
char mc_trace_reason_digit(mc_trace_reason reason);
enum { MC_REQUEST_ID_LENGTH = 36, MC_REQUEST_ID_REASON = 14 };

#endif
