#include "base/read.h"
#include "http/grpc.h"
#include "http/uri.h"
#include "proxy/stream_internal.h"

static mc_status set_number(mc_headers *headers, mc_header_id id, uint64_t value) {
    char digits[20];
    return mc_headers_set_known(headers, id, mc_slice_of(digits, mc_format_u64(digits, value)));
}

/* What a request is answered on its way to a cluster carries what its route adds, whoever answers; so do the answers that are
 * routes themselves (RT-32). */
static mc_status mutate_reply(mc_stream *stream, const mc_reply *reply, mc_headers *headers) {
    mc_route_request request;
    if (stream->match.route == NULL || (stream->match.route->action != MC_ROUTE_TO_CLUSTER && !reply->of_route)) {
        return MC_OK;
    }
    mc_status status = mc_stream_route_request(stream, &request);
    if (stream->info != NULL) { /* the status of an answer of our own is set later: headers cannot tell it */
        stream->info->status = 0;
    }
    return status == MC_OK ? mc_route_finalize_response(stream->routes->table, &stream->match, &request, headers)
                           : status;
}

/* HC-50: what the configuration makes of it. */
static mc_status rewrite_reply(mc_stream *stream, mc_local_reply *reply) {
    const mc_local_replies *replies = stream->hcm->local_replies;
    if (MC_LIKELY(replies == NULL)) {
        return MC_OK;
    }
    if (mc_stream_collect_info(stream) == NULL) {
        return MC_ENOMEM;
    }
    return mc_local_replies_apply(replies, stream->info, stream->proxy->runtime, mc_loop_random(stream->proxy->loop),
                                  reply);
}

/* HC-5: the body of a reply as gRPC's message. */
static mc_status finish_grpc_reply(const mc_stream *stream, const mc_reply *asked, mc_local_reply *reply) {
    mc_headers *headers = reply->headers;
    mc_slice message = reply->body;
    mc_headers_remove_known(headers, MC_H_CONTENT_LENGTH);
    MC_TRY(set_number(headers, MC_H_STATUS, 200));
    MC_TRY(mc_headers_set_known_ref(headers, MC_H_CONTENT_TYPE, MC_SLICE("application/grpc")));
    if (mc_headers_get_known(headers, MC_H_GRPC_STATUS).n == 0) {
        MC_TRY(set_number(headers, MC_H_GRPC_STATUS,
                          asked->has_grpc_status ? asked->grpc_status : mc_grpc_from_http(reply->status)));
    }
    if (mc_slice_eq(reply->content_type, MC_SLICE("application/json")) &&
        mc_slice_has_suffix(message, MC_SLICE("\n"))) {
        message.n--; /* of the JSON line */
    }
    reply->body = MC_SLICE_NONE;
    if (message.n == 0 || stream->head_request) {
        return MC_OK;
    }
    MC_TRY(mc_percent_encode(message, MC_SLICE("%"), headers->arena, &message));
    return mc_headers_set_known_ref(headers, MC_H_GRPC_MESSAGE, message);
}

/* `changed`: the body is not the one that was asked for, and nobody said of what type it is. */
static mc_status finish_plain_reply(mc_stream *stream, bool changed, mc_local_reply *reply) {
    mc_headers *headers = reply->headers;
    if (reply->body.n == 0) {
        mc_headers_remove_known(headers, MC_H_CONTENT_LENGTH);
        mc_headers_remove_known(headers, MC_H_CONTENT_TYPE);
        return MC_OK;
    }
    MC_TRY(set_number(headers, MC_H_CONTENT_LENGTH, reply->body.n));
    if (changed || !mc_headers_has(headers, MC_H_CONTENT_TYPE)) {
        MC_TRY(mc_headers_set_known_ref(headers, MC_H_CONTENT_TYPE,
                                        reply->content_type.n > 0 ? reply->content_type : MC_SLICE("text/plain")));
    }
    if (stream->head_request) {
        reply->body = MC_SLICE_NONE;
        return MC_OK;
    }
    return mc_arena_dup(&stream->arena, reply->body, &reply->body);
}

/* HC-5; *body is what is to be sent. */
static mc_status make_reply(mc_stream *stream, const mc_reply *asked, mc_headers *headers, mc_slice *body) {
    mc_local_reply reply = {.headers = headers, .status = asked->status, .body = asked->body};
    MC_TRY(set_number(headers, MC_H_STATUS, asked->status));
    if (!asked->of_route && !asked->as_is) {
        MC_TRY(mutate_reply(stream, asked, headers));
    }
    for (size_t i = 0; i < asked->header_count; i++) {
        MC_TRY(mc_headers_add(headers, asked->headers[i].name, asked->headers[i].value));
        mc_headers_doubt(headers, asked->headers[i].value); /* a location may be made by a format */
    }
    if (asked->as_is) {
        *body = MC_SLICE_NONE;
        return MC_OK;
    }
    if (asked->of_route) {
        MC_TRY(mutate_reply(stream, asked, headers));
    }
    if (asked->content_type.n > 0) {
        MC_TRY(mc_headers_set_known(headers, MC_H_CONTENT_TYPE, asked->content_type));
    }
    const mc_slice type = mc_headers_get_known(headers, MC_H_CONTENT_TYPE);
    MC_TRY(rewrite_reply(stream, &reply));
    const bool changed =
        !mc_slice_eq(reply.body, asked->body) && mc_slice_eq(type, mc_headers_get_known(headers, MC_H_CONTENT_TYPE));
    mc_status status =
        stream->grpc_request ? finish_grpc_reply(stream, asked, &reply) : finish_plain_reply(stream, changed, &reply);
    *body = reply.body;
    return status;
}

void mc_stream_reply(mc_stream *stream, const mc_reply *reply) {
    mc_slice body;
    if (stream->finished) {
        return;
    }
    mc_stream_forget_half_head(stream);
    mc_stream_flag(stream, reply->flags);
    if (reply->details != NULL) {
        stream->details = reply->details;
        stream->details_class = reply->details_class;
    }
    if (stream->headers_sent) { /* HC-4: too late for a reply */
        mc_stream_reset(stream, reply->flags, reply->details);
        return;
    }
    const bool direct = stream->response_started;
    if (stream->filters.items == NULL && mc_chain_open(stream) != MC_OK) { /* HC-3 */
        mc_stream_out_of_memory(stream);
        return;
    }
    mc_headers *headers = mc_arena_alloc(&stream->arena, sizeof *headers);
    if (headers == NULL) {
        mc_stream_out_of_memory(stream);
        return;
    }
    mc_headers_init(headers, &stream->arena);
    mc_chain_local_reply(&stream->filters);
    stream->local_reply = true;
    stream->response_started = true;
    if (reply->status == 400 && !stream->hcm->keep_open_on_error) { /* HC-40, whatever becomes of the status (HC-5) */
        stream->close_connection = true;
    }
    stream->response = headers;
    stream->response_trailers = NULL;
    mc_timer_cancel(stream->proxy->loop, &stream->limit);
    if (make_reply(stream, reply, headers, &body) != MC_OK) {
        mc_stream_out_of_memory(stream);
        return;
    }
    if (direct) { /* the encode chain has seen another response: straight to the codec */
        mc_stream_send_headers(stream, body.n == 0);
        if (body.n > 0 && !stream->finished) {
            mc_stream_send_data(stream, body, true);
        }
        return;
    }
    mc_chain_headers(&stream->filters, MC_ENCODE, body.n == 0);
    if (body.n > 0 && stream->response == headers) { /* unless a filter answered in its place */
        mc_chain_data(&stream->filters, MC_ENCODE, body, true);
    }
}
