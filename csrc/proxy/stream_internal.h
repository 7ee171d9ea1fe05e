/* A stream, as the files that make it up see it; each is called with a stream that is not finished, on its worker's thread:
 *
 *     stream.c          opens it, takes the request from the codec, finds its route, finishes it
 *     stream_timers.c   its limits of time
 *     stream_reply.c    answers of our own
 *     stream_send.c     the response, to the codec
 *     stream_restart.c  another leg of the same request
 *     stream_record.c   what the ring of access records is told at the end */
#ifndef MC_PROXY_STREAM_INTERNAL_H
#define MC_PROXY_STREAM_INTERNAL_H

#include "proxy/stream.h"

/* --- stream.c ------------------------------------------------------------------------------------------------------- */

/* The response is whole, or nothing more will come of it: counters, records, filters closed; freed once the current callback is over.
 * `close`: the connection is to end too. Nothing, when it is finished already. */
void mc_stream_finish(mc_stream *stream, bool close);
void mc_stream_out_of_memory(mc_stream *stream);
/* Half a head is none: it neither makes a reply gRPC nor is it logged. */
void mc_stream_forget_half_head(mc_stream *stream);
/* What a new leg begins with: remembered facts, where somebody reads them, and its place in the counters. */
void mc_stream_begin_leg(mc_stream *stream);
/* The filters of the route that was found get the request's headers. */
void mc_stream_run_leg(mc_stream *stream, bool end_stream);

/* --- stream_timers.c ------------------------------------------------------------------------------------------------ */

void mc_stream_start_timers(mc_stream *stream);
void mc_stream_stop_timers(mc_stream *stream);
/* What the route that was just found says of them. */
MC_MUST_CHECK mc_status mc_stream_route_timers(mc_stream *stream);
/* Something passed: the stream is not idle (HC-36). */
static inline void mc_stream_touch(mc_stream *stream) {
    stream->last_activity_ms = mc_loop_now_ms(stream->proxy->loop);
}

/* --- stream_restart.c ----------------------------------------------------------------------------------------------- */

/* The stream ends before its next leg began. */
void mc_stream_cancel_restart(mc_stream *stream);

/* --- stream_record.c ------------------------------------------------------------------------------------------------ */

void mc_stream_record(mc_stream *stream);

#endif
