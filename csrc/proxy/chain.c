/* The filter chain: one mechanism for both directions (see filter.h).
 *
 * Decoding walks indexes up and the router, the last, consumes; encoding walks down from the filter before the router, and below
 * index 0 is the codec. At each filter a direction either passes, or is `stopped` (everything is held until continued), or
 * collects while the filter is called for more. */
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

const mc_route_filter *mc_filters_said(const mc_filters *among, const mc_filter_config *config, uint32_t slot) {
    const mc_route_filters *routed = mc_route_match_filters(&among->stream->match);
    return routed == NULL ? NULL : among->by_name ? mc_route_filters_named(routed, config) : routed->items[slot];
}

bool mc_filter_is_disabled(const mc_filters *among, const mc_filter_config *config, uint32_t slot) {
    const mc_route_filter *said = mc_filters_said(among, config, slot);
    return config->type->terminal ? false : said == NULL ? config->disabled : said->disabled;
}

mc_status mc_filters_open(mc_filters *chain, const mc_filter_config *configs, uint32_t begin, uint32_t end) {
    mc_stream *stream = chain->stream;
    mc_chunk_pool *chunks = mc_net_chunks(stream->proxy->net);
    chain->items = mc_arena_zalloc(&stream->arena, (end - begin) * sizeof(mc_filter));
    if (chain->items == NULL) {
        return MC_ENOMEM;
    }
    const bool routed = mc_route_match_filters(&stream->match) != NULL;
    uint32_t open = 0;
    for (uint32_t i = begin; i < end; i++) {
        const mc_filter_config *config = &configs[i];
        if (MC_UNLIKELY(routed || config->disabled) && mc_filter_is_disabled(chain, config, i)) {
            continue;
        }
        if (MC_UNLIKELY(chain->of_try != NULL) && config->kind->in_tries == MC_TRY_HOST) {
            continue; /* it was asked already */
        }
        mc_filter *filter = &chain->items[open];
        filter->type = config->type;
        filter->config = config->config;
        filter->stream = stream;
        filter->among = chain;
        filter->entry = config;
        filter->index = (uint8_t)open++;
        filter->slot = (uint8_t)i;
        mc_buffer_init(&filter->sides[MC_DECODE].held, chunks);
        mc_buffer_init(&filter->sides[MC_ENCODE].held, chunks);
        mc_status status = filter->type->open == NULL ? MC_OK : filter->type->open(filter);
        if (status != MC_OK) {
            return status;
        }
        filter->open = true;
        chain->count = open;
    }
    return MC_OK;
}

mc_status mc_chain_open(mc_stream *stream) {
    stream->filters = (mc_filters){.stream = stream, .worker_states = stream->pin->filter_states};
    return mc_filters_open(&stream->filters, stream->hcm->filters, stream->chain->begin, stream->chain->end);
}

void mc_chain_close(mc_filters *chain) {
    chain->closed = true;
    for (uint32_t i = 0; i < chain->count; i++) {
        mc_filter *filter = &chain->items[i];
        if (filter->open) {
            filter->open = false;
            if (filter->type->close != NULL) {
                filter->type->close(filter);
            }
        }
        mc_buffer_clear(&filter->sides[MC_DECODE].held);
        mc_buffer_clear(&filter->sides[MC_ENCODE].held);
    }
}

void mc_chain_local_reply(mc_filters *chain) {
    for (uint32_t i = 0; i < chain->count; i++) {
        mc_filter *filter = &chain->items[i];
        if (filter->open && filter->type->local_reply != NULL) {
            filter->type->local_reply(filter);
        }
    }
}

/* --- one step ------------------------------------------------------------------------------------------------------- */

static mc_filter_status call_headers(mc_filter *filter, mc_direction direction, bool end_stream) {
    const mc_filter_type *type = filter->type;
    mc_filter_status (*call)(mc_filter *, mc_headers *, bool) =
        direction == MC_DECODE ? type->decode_headers : type->encode_headers;
    mc_headers *headers = direction == MC_DECODE ? &filter->stream->request : mc_filter_response_headers(filter);
    return call == NULL ? MC_FILTER_CONTINUE : call(filter, headers, end_stream);
}

static mc_filter_status call_data(mc_filter *filter, mc_direction direction, mc_slice data, bool end_stream) {
    const mc_filter_type *type = filter->type;
    mc_filter_status (*call)(mc_filter *, mc_slice, bool) =
        direction == MC_DECODE ? type->decode_data : type->encode_data;
    return call == NULL ? MC_FILTER_CONTINUE : call(filter, data, end_stream);
}

static mc_filter_status call_trailers(mc_filter *filter, mc_direction direction) {
    const mc_filter_type *type = filter->type;
    mc_filter_status (*call)(mc_filter *, mc_headers *) =
        direction == MC_DECODE ? type->decode_trailers : type->encode_trailers;
    const mc_filters *among = filter->among;
    mc_headers *trailers = direction == MC_DECODE  ? filter->stream->request_trailers
                           : among->of_try == NULL ? filter->stream->response_trailers
                                                   : among->response_trailers;
    return call == NULL ? MC_FILTER_CONTINUE : call(filter, trailers);
}

static void call_complete(mc_filter *filter, mc_direction direction) {
    void (*call)(mc_filter *) = direction == MC_DECODE ? filter->type->decode_complete : filter->type->encode_complete;
    if (call != NULL) {
        call(filter);
    }
}

/* A local reply ends decoding; the end of the stream, or of the try, ends everything. */
static bool alive(const mc_filters *chain, mc_direction direction) {
    return !chain->stream->finished && !chain->closed && (direction == MC_ENCODE || !chain->stream->local_reply);
}

static int next_index(int index, mc_direction direction) { return direction == MC_DECODE ? index + 1 : index - 1; }

static int first_index(const mc_filters *chain, mc_direction direction) {
    return direction == MC_DECODE ? 0 : (int)chain->count - 2;
}

static bool in_chain(const mc_filters *chain, int index) { return index >= 0 && index < (int)chain->count; }

/* The last filter consumes whatever it returns. */
static bool consumes(const mc_filters *chain, mc_direction direction, int index) {
    return direction == MC_DECODE && index + 1 == (int)chain->count;
}

/* --- holding ------------------------------------------------------------------------------------------------------------ */

/* HC-7. What is too large for a try is not counted as a client's. */
static void too_large(const mc_filters *chain, mc_direction direction) {
    mc_stream *stream = chain->stream;
    if (direction == MC_DECODE) {
        if (chain->of_try == NULL) {
            MC_HCM_COUNT(stream, downstream_rq_too_large);
        }
        mc_stream_reply(stream, &(mc_reply){.status = 413,
                                            .body = MC_SLICE_INIT("Payload Too Large"),
                                            .details = "request_payload_too_large"});
    } else {
        MC_HCM_COUNT(stream, rs_too_large);
        mc_stream_reply(stream, &(mc_reply){.status = 500,
                                            .body = MC_SLICE_INIT("Internal Server Error"),
                                            .details = "response_payload_too_large"});
    }
}

static void set_pressure(mc_filter *filter, mc_direction direction, bool on) {
    mc_filter_side *side = &filter->sides[direction];
    if (side->over_limit == on) {
        return;
    }
    side->over_limit = on;
    if (direction == MC_ENCODE) {
        mc_stream_write_blocked(filter->stream, on);
    } else if (on) {
        mc_filter_decode_pause(filter);
    } else {
        mc_filter_decode_resume(filter);
    }
}

/* Of the bytes that are held. */
static size_t limit_of(const mc_filter *filter, mc_direction direction) {
    const uint32_t own = direction == MC_DECODE ? filter->among->limit : 0;
    const uint32_t limit = own != 0 ? own : filter->stream->hcm->buffer_limit;
    return limit == 0 ? SIZE_MAX : limit;
}

static void hold_data(mc_filter *filter, mc_direction direction, mc_slice data, bool end_stream, bool seen) {
    mc_stream *stream = filter->stream;
    mc_filter_side *side = &filter->sides[direction];
    if (mc_buffer_append(&side->held, data) != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return;
    }
    side->seen += seen ? data.n : 0;
    side->end_held = side->end_held || end_stream;
    if (side->held.length <= limit_of(filter, direction)) {
        return;
    }
    if (side->stopped) {
        set_pressure(filter, direction, true);
    } else {
        too_large(filter->among, direction);
    }
}

static void send_headers(mc_filters *chain, bool end_stream) {
    if (MC_LIKELY(chain->of_try == NULL)) {
        mc_stream_send_headers(chain->stream, end_stream);
    } else {
        chain->let_by = true;
    }
}

static void send_trailers(mc_filters *chain) {
    if (MC_LIKELY(chain->of_try == NULL)) {
        mc_stream_send_trailers(chain->stream);
    } else {
        chain->let_by = true;
    }
}

/* --- passing ------------------------------------------------------------------------------------------------------------ */

static void pass_headers(mc_filters *chain, mc_direction direction, int index, bool end_stream) {
    for (; in_chain(chain, index); index = next_index(index, direction)) {
        mc_filter *filter = &chain->items[index];
        mc_filter_status status = call_headers(filter, direction, end_stream);
        if (end_stream && alive(chain, direction)) {
            call_complete(filter, direction);
        }
        if (!alive(chain, direction)) {
            return;
        }
        if (status != MC_FILTER_CONTINUE && !consumes(chain, direction, index)) {
            mc_filter_side *side = &filter->sides[direction];
            side->headers_held = true;
            side->stopped = status == MC_FILTER_STOP;
            side->end_held = end_stream;
            return;
        }
    }
    if (direction == MC_ENCODE) {
        send_headers(chain, end_stream);
    }
}

static void release(mc_filter *filter, mc_direction direction);
static void pass_end(mc_filter *filter, mc_direction direction, mc_slice data);

static void pass_data(mc_filters *chain, mc_direction direction, int index, mc_slice data, bool end_stream) {
    for (; in_chain(chain, index); index = next_index(index, direction)) {
        mc_filter *filter = &chain->items[index];
        mc_filter_side *side = &filter->sides[direction];
        if (side->stopped) {
            hold_data(filter, direction, data, end_stream, false);
            return;
        }
        mc_filter_status status = call_data(filter, direction, data, end_stream);
        if (end_stream && alive(chain, direction)) {
            call_complete(filter, direction);
        }
        if (!alive(chain, direction)) {
            return;
        }
        if (consumes(chain, direction, index)) {
            return;
        }
        if (status == MC_FILTER_CONSUMED) {
            return;
        }
        if (status == MC_FILTER_CONTINUE && !side->headers_held && side->held.length == 0) {
            if (MC_UNLIKELY(end_stream && filter->trailers_added[direction])) {
                pass_end(filter, direction, data);
                return;
            }
            continue;
        }
        side->stopped = status == MC_FILTER_STOP;
        hold_data(filter, direction, data, end_stream, true);
        if (status == MC_FILTER_CONTINUE && alive(chain, direction)) {
            release(filter, direction);
        }
        return;
    }
    if (direction == MC_ENCODE) {
        mc_stream_send_data(chain->stream, data, end_stream);
    }
}

static void pass_trailers(mc_filters *chain, mc_direction direction, int index) {
    for (; in_chain(chain, index); index = next_index(index, direction)) {
        mc_filter *filter = &chain->items[index];
        mc_filter_side *side = &filter->sides[direction];
        if (side->stopped) {
            side->trailers_held = true;
            return;
        }
        mc_filter_status status = call_trailers(filter, direction);
        if (alive(chain, direction)) {
            call_complete(filter, direction);
        }
        if (!alive(chain, direction) || consumes(chain, direction, index)) {
            return;
        }
        if (status == MC_FILTER_CONTINUE && !side->headers_held && side->held.length == 0) {
            continue;
        }
        side->trailers_held = side->trailers_seen = true;
        side->stopped = status != MC_FILTER_CONTINUE;
        if (status == MC_FILTER_CONTINUE) {
            release(filter, direction);
        }
        return;
    }
    if (direction == MC_ENCODE) {
        send_trailers(chain);
    }
}

/* The last data beyond a filter that added trailers. */
static void pass_end(mc_filter *filter, mc_direction direction, mc_slice data) {
    const int next = next_index(filter->index, direction);
    if (data.n > 0) {
        pass_data(filter->among, direction, next, data, false);
    }
    if (alive(filter->among, direction)) {
        pass_trailers(filter->among, direction, next);
    }
}

/* Data beyond this filter, where trailers that it added follow the end. */
static void pass_on(mc_filter *filter, mc_direction direction, mc_slice data, bool end_stream) {
    if (end_stream && filter->trailers_added[direction]) {
        pass_end(filter, direction, data);
    } else {
        pass_data(filter->among, direction, next_index(filter->index, direction), data, end_stream);
    }
}

/* As in Envoy: a collected request that a later filter makes larger than the limit is too large all the same. */
static void bound(mc_filters *chain, int from) {
    chain->bounded = true;
    for (uint32_t i = (uint32_t)from + 1; i < chain->count; i++) {
        chain->items[i].given = 0;
    }
}

/* Lets go what a side holds, in order: headers, data, trailers. The filter may stop again on data it has not seen. */
static void release(mc_filter *filter, mc_direction direction) {
    mc_filters *chain = filter->among;
    mc_filter_side *side = &filter->sides[direction];
    const int here = filter->index, next = next_index(here, direction);
    mc_buffer data = side->held;
    size_t seen = side->seen;
    const bool end_stream = side->end_held, headers_held = side->headers_held;
    const bool empty = data.length == 0, bounded = direction == MC_DECODE && !side->stopped && !empty;
    mc_net *net = chain->stream->proxy->net;
    mc_buffer_init(&side->held, data.pool);
    side->seen = 0;
    side->stopped = side->headers_held = side->end_held = false;
    set_pressure(filter, direction, false);
    if (headers_held) {
        pass_headers(chain, direction, next, end_stream && empty);
    } else if (end_stream && empty) {
        pass_on(filter, direction, MC_SLICE_NONE, true);
    }
    if (bounded) {
        bound(chain, here);
    }
    size_t left = data.length;
    for (const mc_chunk *chunk = data.head; chunk != NULL && alive(chain, direction); chunk = chunk->next) {
        mc_slice rest = mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin);
        while (rest.n > 0 && alive(chain, direction)) {
            mc_slice piece = seen > 0 ? mc_slice_until(rest, seen) : rest;
            left -= piece.n;
            rest = mc_slice_from(rest, piece.n);
            if (seen > 0) {
                pass_on(filter, direction, piece, end_stream && left == 0);
            } else {
                pass_data(chain, direction, here, piece, end_stream && left == 0);
            }
            seen -= seen > 0 ? piece.n : 0;
        }
    }
    chain->bounded = chain->bounded && !bounded;
    mc_net_retire(net, &data); /* what was passed on may be borrowed until this callback ends */
    if (side->trailers_held && !side->stopped && alive(chain, direction)) {
        side->trailers_held = false;
        pass_trailers(chain, direction, side->trailers_seen ? next : here);
    }
}

void mc_chain_headers(mc_filters *chain, mc_direction direction, bool end_stream) {
    pass_headers(chain, direction, first_index(chain, direction), end_stream);
}

void mc_chain_data(mc_filters *chain, mc_direction direction, mc_slice data, bool end_stream) {
    if (alive(chain, direction)) {
        pass_data(chain, direction, first_index(chain, direction), data, end_stream);
    }
}

void mc_chain_trailers(mc_filters *chain, mc_direction direction) {
    if (alive(chain, direction)) {
        pass_trailers(chain, direction, first_index(chain, direction));
    }
}

/* --- what filters do with messages (filter.h) ------------------------------------------------------------------------------ */

static void continue_side(mc_filter *filter, mc_direction direction) {
    mc_filter_side *side = &filter->sides[direction];
    if (filter->open && alive(filter->among, direction) &&
        (side->stopped || side->headers_held || side->held.length > 0)) {
        release(filter, direction);
    }
}

void mc_filter_continue_decoding(mc_filter *filter) { continue_side(filter, MC_DECODE); }
void mc_filter_continue_encoding(mc_filter *filter) { continue_side(filter, MC_ENCODE); }

size_t mc_filter_held_bytes(const mc_filter *filter, bool decode) {
    return filter->sides[decode ? MC_DECODE : MC_ENCODE].held.length;
}

/* Moves the first n bytes of a buffer out, copying only the last piece; out of memory moves less. */
static void take_front(mc_buffer *from, size_t n, mc_buffer *to) {
    while (n > 0 && from->length > 0) {
        mc_slice piece = mc_slice_until(mc_buffer_front(from), n);
        if (mc_buffer_append(to, piece) != MC_OK) {
            return;
        }
        mc_buffer_drain(from, piece.n);
        n -= piece.n;
    }
}

void mc_filter_pass(mc_filter *filter, bool decode, size_t n) {
    const mc_direction direction = decode ? MC_DECODE : MC_ENCODE;
    mc_stream *stream = filter->stream;
    mc_filter_side *side = &filter->sides[direction];
    mc_buffer data;
    if (!alive(filter->among, direction)) {
        return;
    }
    mc_buffer_init(&data, side->held.pool);
    take_front(&side->held, n, &data);
    const bool empty = side->held.length == 0, end_stream = empty && side->end_held;
    side->seen = side->held.length;
    if (side->held.length <= stream->hcm->buffer_limit / 2) {
        set_pressure(filter, direction, false);
    }
    if (empty) {
        side->stopped = side->end_held = false;
    }
    size_t left = data.length;
    for (const mc_chunk *chunk = data.head; chunk != NULL && alive(filter->among, direction); chunk = chunk->next) {
        mc_slice piece = mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin);
        left -= piece.n;
        pass_on(filter, direction, piece, end_stream && left == 0);
    }
    const bool nothing = data.length == 0;
    mc_net_retire(stream->proxy->net, &data);
    if (end_stream && nothing && alive(filter->among, direction)) {
        pass_on(filter, direction, MC_SLICE_NONE, true);
    } else if (empty && side->trailers_held && alive(filter->among, direction)) {
        side->trailers_held = false;
        pass_trailers(filter->among, direction,
                      side->trailers_seen ? next_index(filter->index, direction) : filter->index);
    }
}

void mc_filter_inject(mc_filter *filter, bool decode, mc_slice data, bool end_stream) {
    const mc_direction direction = decode ? MC_DECODE : MC_ENCODE;
    mc_filters *chain = filter->among;
    if (!alive(chain, direction)) {
        return;
    }
    if (MC_UNLIKELY(decode && chain->bounded) && (filter->given += data.n) > limit_of(filter, direction)) {
        too_large(chain, direction);
        return;
    }
    pass_on(filter, direction, data, end_stream);
}

size_t mc_filter_held(mc_filter *filter, bool decode, mc_slice *pieces, size_t max) {
    return mc_buffer_pieces(&filter->sides[decode ? MC_DECODE : MC_ENCODE].held, pieces, max);
}

void mc_filter_encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    mc_stream *stream = filter->stream;
    if (alive(&stream->filters, MC_ENCODE) && !stream->response_started) {
        stream->response_started = true;
        mc_timer_cancel(stream->proxy->loop, &stream->limit); /* request_timeout */
        stream->response = headers;
        mc_chain_headers(&stream->filters, MC_ENCODE, end_stream);
    }
}

void mc_filter_encode_data(mc_filter *filter, mc_slice data, bool end_stream) {
    mc_chain_data(&filter->stream->filters, MC_ENCODE, data, end_stream);
}

void mc_filter_encode_trailers(mc_filter *filter, mc_headers *trailers) {
    filter->stream->response_trailers = trailers;
    mc_chain_trailers(&filter->stream->filters, MC_ENCODE);
}
