#include "proxy/stream_internal.h"

struct mc_restart {
    mc_deferred deferred;
    mc_stream *stream;
    mc_buffer body;
};

/* Filters and route of the leg before are gone, what the client sent is still there. */
static void end_leg(mc_stream *stream) {
    mc_stream_log(stream, MC_LOG_DOWNSTREAM_END);
    mc_chain_close(&stream->filters);
    if (MC_UNLIKELY(stream->span != NULL)) {
        mc_tracing_finish(stream);
        stream->span = NULL;
    }
    mc_stream_record(stream);
    stream->filters.count = 0;
    stream->response = stream->response_trailers = stream->request_trailers = NULL;
    stream->flags = stream->flag_order = 0;
    stream->virtual_cluster = MC_SLICE_NONE;
    stream->details = stream->details_class = NULL;
    stream->status = 0;
    stream->attempts = 0;
    stream->first_upstream_us = 0;
    stream->upstream_address = (mc_address){0};
    stream->headers_sent_us = 0;
    stream->response_started = stream->route_stale = false;
    stream->random = mc_random_next(mc_loop_random(stream->proxy->loop));
}

static void take_newest(mc_stream *stream) {
    mc_slab *slab = stream->proxy->slab;
    mc_gauge_add(slab, stream->hcm->stats.downstream_rq_active, -1);
    stream->former = stream->pin;
    stream->pin = mc_hcm_pin_ref(mc_downstream_newest(stream->downstream));
    stream->hcm = stream->pin->hcm;
    stream->chain = &stream->hcm->chain;
    stream->routes = &stream->hcm->routes;
    stream->renews = false;
    mc_gauge_add(slab, stream->hcm->stats.downstream_rq_active, 1);
}

static void restart(mc_deferred *deferred) {
    struct mc_restart *again = MC_CONTAINER(deferred, struct mc_restart, deferred);
    mc_stream *stream = again->stream;
    size_t left = again->body.length;
    stream->restart = NULL;
    end_leg(stream);
    if (stream->renews) {
        take_newest(stream);
    }
    mc_stream_begin_leg(stream);
    if (mc_stream_match_route(stream) == MC_OK) {
        mc_stream_run_leg(stream, left == 0);
    } else {
        mc_stream_out_of_memory(stream);
    }
    for (const mc_chunk *chunk = again->body.head; chunk != NULL && !stream->finished; chunk = chunk->next) {
        mc_slice piece = mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin);
        left -= piece.n;
        stream->bytes_received += piece.n; /* once more, as Envoy counts */
        mc_chain_data(&stream->filters, MC_DECODE, piece, left == 0);
    }
    mc_net_retire(stream->proxy->net, &again->body);
}

void mc_stream_restart(mc_stream *stream, mc_buffer *body) {
    struct mc_restart *again = mc_arena_zalloc(&stream->arena, sizeof *again);
    if (again == NULL) {
        mc_stream_out_of_memory(stream);
        return;
    }
    again->stream = stream;
    again->body = *body;
    again->deferred.run = restart;
    mc_buffer_init(body, body->pool);
    stream->restart = again;
    mc_loop_defer(stream->proxy->loop, &again->deferred);
}

void mc_stream_renew(mc_stream *stream, mc_buffer *body) {
    stream->renews = stream->former == NULL;
    mc_stream_restart(stream, body);
}

void mc_stream_cancel_restart(mc_stream *stream) {
    if (stream->restart != NULL) {
        mc_deferred_cancel(&stream->restart->deferred);
        mc_net_retire(stream->proxy->net, &stream->restart->body);
        stream->restart = NULL;
    }
}
