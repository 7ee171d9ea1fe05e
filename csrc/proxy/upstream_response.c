/* What a try brings: another try, a redirect followed inside, or the response on its way down. */
#include "proxy/router_internal.h"
#include "proxy/upstream_chain.h"

static mc_try *try_of(mc_attempt *attempt) { return MC_CONTAINER(attempt, mc_try, attempt); }

/* --- another try --------------------------------------------------------------------------------------------------------- */

void mc_router_flag_verdict(mc_router *r, mc_retry_verdict verdict) {
    if (verdict == MC_RETRY_LIMIT) {
        mc_stream_flag(r->stream, MC_FLAG(URX));
    } else if (verdict == MC_RETRY_OVERFLOW) {
        mc_stream_flag(r->stream, MC_FLAG(UO));
    }
}

void mc_router_schedule_retry(mc_router *r, bool timeout) {
    r->waiting = true;
    r->timeout_retry = timeout;
    mc_loop *loop = r->stream->proxy->loop;
    mc_timer_arm(loop, &r->backoff, mc_retry_wait_ms(&r->retry, mc_loop_random(loop)));
}

void mc_router_backoff_fired(mc_timer *timer) {
    mc_router *r = MC_CONTAINER(timer, mc_router, backoff);
    mc_stream *stream = r->stream;
    r->waiting = false;
    mc_retry_begins(&r->retry);
    r->retried = true;
    stream->attempts += stream->attempts < UINT8_MAX;
    stream->first_upstream_us = 0;
    mc_try_start(r);
}

bool mc_try_retry_reset(mc_try *t, mc_reset_reason reason, bool timeout) {
    mc_router *r = t->router;
    if (r->response_started || !r->retry.configured || t->hedged) {
        return false;
    }
    mc_retry_verdict verdict = mc_retry_reset(&r->retry, reason, t->ready);
    mc_router_flag_verdict(r, verdict);
    if (verdict != MC_RETRY_YES) {
        return false;
    }
    mc_host_count_error(r, t->selected ? t->host : NULL);
    mc_try_drop(t);
    mc_router_schedule_retry(r, timeout);
    return true;
}

static bool others_may_answer(const mc_router *r) {
    if (r->waiting) {
        return true;
    }
    MC_LIST_EACH(&r->tries, node) {
        if (MC_CONTAINER(node, mc_try, link)->awaiting) {
            return true;
        }
    }
    return false;
}

void mc_try_failed(mc_try *t, mc_reset_reason reason) {
    mc_router *r = t->router;
    t->awaiting = false;
    t->failed = true;
    t->reason = reason;
    MC_FACT(t, failure, t->facts, mc_router_connect_text(t->attempt.connect_error));
    if (reason != MC_RESET_OVERFLOW) { /* RF-31 */
        mc_try_report(t, MC_OUTLIER_CONNECT_FAILED, 0);
    }
    mc_try_told_failure(t);
    if (mc_try_retry_reset(t, reason, false)) {
        return;
    }
    mc_router_charge_abort(r, reason == MC_RESET_PROTOCOL_ERROR ? 502 : 503, t);
    mc_try_drop(t);
    if (!others_may_answer(r)) {
        mc_router_reply_reset(r, reason, t->attempt.connect_error);
    }
}

void mc_router_settle(mc_router *r) {
    mc_loop *loop = r->stream->proxy->loop;
    mc_retry_stop(&r->retry);
    r->waiting = false;
    mc_router_stop_seeking(r);
    mc_timer_cancel(loop, &r->backoff);
    mc_timer_cancel(loop, &r->timeout);
}

/* --- informational responses ---------------------------------------------------------------------------------------------- */

/* HC-47. Envoy passes none of them on unless it passes 100 on, and sees no second one of a response. */
static mc_status on_informational(mc_router *r, mc_try *t) {
    mc_stream *stream = r->stream;
    const uint16_t status = t->head.status;
    if ((status != 100 && (status < 102 || status > 104)) || r->final == t) {
        return MC_OK;
    }
    mc_router_charge(r, status, t->host, mc_try_is_canary(t));
    r->response_started = true; /* RF-23: no further tries */
    r->final = t;
    mc_router_cancel_tries(r, t);
    mc_retry_stop(&r->retry);
    if (stream->hcm->proxy_100_continue && !stream->headers_sent) {
        mc_headers *response = stream->response;
        stream->response = &t->headers;
        mc_stream_send_headers(stream, false);
        stream->response = response;
    }
    return stream->finished ? MC_ECLOSED : MC_OK;
}

/* --- the response ------------------------------------------------------------------------------------------------------------ */

static mc_status set_number(mc_headers *headers, mc_header_id id, uint64_t value) {
    char digits[20];
    return mc_headers_set_known(headers, id, mc_slice_of(digits, mc_format_u64(digits, value)));
}

static mc_status add_response_headers(mc_router *r, mc_try *t) { /* RF-35 */
    mc_stream *stream = r->stream;
    mc_status status = MC_OK;
    if (stream->match.virtual_host->include_attempt_count_response) {
        status = set_number(&t->headers, MC_H_X_ENVOY_ATTEMPT_COUNT, stream->attempts);
    }
    if (r->request_end && !r->options->suppress_envoy_headers && status == MC_OK) {
        status = set_number(&t->headers, MC_H_X_ENVOY_UPSTREAM_SERVICE_TIME,
                            (stream->first_upstream_us - r->request_end_us) / 1000);
    }
    for (uint32_t i = 0; i < r->hash.set_cookie_count && status == MC_OK; i++) {
        status = mc_headers_add_known_ref(&t->headers, MC_H_SET_COOKIE, r->hash.set_cookies[i]);
    }
    mc_route_request request;
    const bool formats = mc_route_table_formats(stream->routes->table);
    if (MC_UNLIKELY(formats) && status == MC_OK) {
        status = mc_stream_route_request(stream, &request);
        if (stream->info != NULL) {
            stream->info->status = t->head.status;
        }
    }
    return status == MC_OK ? mc_route_finalize_response(stream->routes->table, &stream->match,
                                                        formats ? &request : NULL, &t->headers)
                           : status;
}

/* True when the response is given up for another try; *refused tells that one was wanted and could not be made. */
static bool retry_response(mc_router *r, mc_try *t, bool *refused) {
    *refused = false;
    if (MC_LIKELY(!r->retry.configured)) {
        return false;
    }
    if (t->hedged) { /* its other try was made already */
        *refused = mc_retry_wants_response(&r->retry, t->head.status, &t->headers);
        return false;
    }
    mc_retry_verdict verdict =
        mc_retry_response(&r->retry, t->head.status, &t->headers, mc_loop_wall_ms(r->stream->proxy->loop));
    mc_router_flag_verdict(r, verdict);
    if (verdict == MC_RETRY_YES) {
        mc_host_count_error(r, t->host);
        mc_router_charge_retried(r, t->head.status);
        return true;
    }
    *refused = verdict != MC_RETRY_NO;
    return false;
}

/* Ends a try whose response goes nowhere; its connection stays usable only if it was read to the end. */
void mc_try_give_up(mc_try *t, bool end_stream) {
    if (end_stream) {
        mc_try_drop(t);
    } else {
        mc_try_cancel(t);
    }
}

static void complete(mc_router *r, mc_try *t) {
    mc_router_charge_time(r, t);
    mc_router_track(r);
    mc_try_drop(t);
    mc_router_settle(r);
}

/* A handshake needs a 101: of an answer that is neither that nor an error, the headers are passed on and nothing else. It counts
 * nowhere and is no reason for another try. */
static void reply_handshake(mc_try *t, bool end_stream) {
    mc_router *r = t->router;
    mc_stream *stream = r->stream;
    mc_header *headers = mc_arena_alloc(&stream->arena, (t->headers.live + 1) * sizeof *headers);
    mc_reply reply = {.status = t->head.status, .details = "websocket_handshake_unsuccessful", .headers = headers};
    if (headers == NULL) {
        mc_router_out_of_memory(r);
        return;
    }
    MC_HEADERS_EACH(&t->headers, item) {
        if (item->id != MC_H_STATUS) {
            headers[reply.header_count++] = *item;
        }
    }
    mc_try_give_up(t, end_stream);
    mc_router_settle(r);
    mc_stream_reply(stream, &reply);
}

/* The response of this try is the one that is passed on. */
static void settle(mc_try *t, uint16_t grpc_status, bool end_stream) {
    mc_router *r = t->router;
    mc_stream *stream = r->stream;
    mc_retry_stop(&r->retry);
    t->canary = mc_try_is_canary(t);
    mc_router_charge(r, t->head.status, t->host, t->canary);
    if (t->head.status < 500 || t->head.status >= 600) {
        t->grpc_deferred = !mc_host_count_response(stream->proxy->slab, t->host, r->grpc, grpc_status, end_stream);
    }
    stream->details = "via_upstream";
    stream->upstream_address = *mc_upstream_address(t->upstream, t->host);
    MC_FACT(t, answers, t->facts);
    r->response_started = true;
    r->final = t;
    if (r->waiting) {
        r->waiting = false;
        mc_router_stop_seeking(r);
        mc_timer_cancel(stream->proxy->loop, &r->backoff);
    }
    if (MC_UNLIKELY(r->hedge)) { /* otherwise it is alone */
        mc_router_cancel_tries(r, t);
    }
}

/* The response headers of a try are here. MC_ECLOSED: the try is gone, or the stream. */
static mc_status respond(mc_try *t, bool end_stream) {
    mc_router *r = t->router;
    mc_stream *stream = r->stream;
    bool refused;
    if (MC_UNLIKELY(r->websocket) && t->head.status != 101 && t->head.status < 400) {
        reply_handshake(t, end_stream);
        return MC_ECLOSED;
    }
    if (MC_UNLIKELY(t->filters != NULL) && !mc_try_filter_headers(t, end_stream)) {
        return MC_ECLOSED;
    }
    const uint16_t grpc_status = MC_UNLIKELY(r->grpc) ? mc_grpc_http_status(&t->headers) : 0;
    t->awaiting = false;
    mc_upstream_report_response(t->upstream, t->host, &t->headers, t->head.status, grpc_status);
    mc_try_told(t);
    if (retry_response(r, t, &refused)) {
        mc_try_give_up(t, end_stream); /* RF-29 */
        mc_router_schedule_retry(r, false);
        return MC_ECLOSED;
    }
    if (MC_UNLIKELY(stream->match.route->redirects != NULL) && mc_router_follow_redirect(r, t, end_stream)) {
        return MC_ECLOSED;
    }
    if (refused && others_may_answer(r)) { /* RF-16: a better one may come */
        mc_host_count_error(r, t->host);
        mc_try_give_up(t, end_stream);
        return MC_ECLOSED;
    }
    settle(t, grpc_status, end_stream);
    if (add_response_headers(r, t) != MC_OK) {
        mc_router_out_of_memory(r);
        return MC_ECLOSED;
    }
    if (MC_UNLIKELY(r->looked_at != NULL)) {
        stream->match = *r->looked_at; /* what the rest of the stream sees and logs is where the redirect would lead */
    }
    if (end_stream) {
        complete(r, t);
    }
    mc_filter_encode_headers(r->filter, &t->headers, end_stream);
    return stream->finished ? MC_ECLOSED : MC_OK;
}

/* --- events of the attempt -------------------------------------------------------------------------------------------------------- */

static mc_headers *on_begin(mc_attempt *attempt) {
    mc_try *t = try_of(attempt);
    mc_headers_init(&t->headers, &t->router->stream->arena);
    return &t->headers;
}

/* The same bytes, which nobody changes; NULL: no memory. */
static mc_headers *copy_headers(const mc_headers *from) {
    mc_headers *copy = mc_arena_alloc(from->arena, sizeof *copy);
    mc_header *items = mc_arena_alloc(from->arena, from->count * sizeof *items);
    if (copy == NULL || items == NULL) {
        return NULL;
    }
    memcpy(items, from->items, from->count * sizeof *items);
    *copy = *from;
    copy->items = items;
    copy->cap = copy->count;
    return copy;
}

/* A 101 opens one where another protocol was asked for, and it says that it has changed to one. */
static bool opens_tunnel(const mc_stream *stream, const mc_h1_head *head, const mc_headers *headers) {
    return head->status != 101 || (!stream->connect && mc_headers_ask_upgrade(headers));
}

static mc_status on_headers(mc_attempt *attempt, const mc_h1_head *head) {
    mc_try *t = try_of(attempt);
    mc_router *r = t->router;
    t->head = *head;
    mc_try_active(t);
    MC_FACT(t, answered, t->facts, head->field_bytes, attempt);
    if (MC_UNLIKELY(t->headers.repeated) && mc_headers_join(&t->headers, MC_HEADERS_OF_RESPONSE) != MC_OK) {
        return MC_ENOMEM;
    }
    if (MC_UNLIKELY(head->status < 200 && head->status != 101)) {
        return on_informational(r, t);
    }
    r->stream->first_upstream_us = mc_loop_now_us(r->stream->proxy->loop);
    MC_FACT(t, begun, t->facts, r->stream->first_upstream_us);
    if (MC_UNLIKELY(r->cluster->tracking != NULL)) {
        t->arrived_size = mc_tracking_measure(&t->headers);
    }
    if (MC_UNLIKELY(r->stream->hcm->access.upstream != NULL)) {
        t->arrived = copy_headers(&t->headers);
    }
    if (head->end_stream) {
        return MC_OK; /* on_complete decides: the connection stays usable */
    }
    if (MC_LIKELY(!head->upgrade)) {
        return respond(t, false);
    }
    if (!r->stream->upgrade) { /* nobody asked for another protocol */
        return MC_EPROTO;
    }
    if (!opens_tunnel(r->stream, head, &t->headers)) {
        t->head.end_stream = true;
        mc_attempt_refuse_tunnel(attempt);
        return MC_OK;
    }
    mc_router_disarm_handshake(r, t);
    mc_attempt_tunnel(attempt);
    mc_status status = respond(t, false);
    if (status == MC_OK) {
        mc_try_write_payload(t);
    }
    return status;
}

void mc_try_accept_connect(mc_try *t) {
    mc_router *r = t->router;
    mc_stream *stream = r->stream;
    mc_headers_init(&t->headers, &stream->arena);
    t->head = (mc_h1_head){.status = 200, .version_minor = 1};
    if (mc_headers_add_known_ref(&t->headers, MC_H_STATUS, MC_SLICE("200")) != MC_OK) {
        mc_router_out_of_memory(r);
        return;
    }
    stream->first_upstream_us = mc_loop_now_us(stream->proxy->loop);
    MC_FACT(t, begun, t->facts, stream->first_upstream_us);
    if (MC_UNLIKELY(stream->hcm->access.upstream != NULL)) {
        t->arrived = copy_headers(&t->headers);
    }
    mc_router_disarm_handshake(r, t);
    if (respond(t, false) == MC_OK) {
        mc_try_write_payload(t);
    }
}

static mc_status on_body(mc_attempt *attempt, mc_slice data) {
    mc_try *t = try_of(attempt);
    mc_router *r = t->router;
    mc_try_active(t);
    if (MC_UNLIKELY(t->body_awaited)) {
        mc_try_body_came(t);
    }
    t->body_received += data.n;
    MC_FACT(t, body, t->facts, data.n, attempt);
    mc_filter_encode_data(r->filter, data, false);
    return r->stream->finished || r->final != t ? MC_ECLOSED : MC_OK;
}

static mc_status on_trailers(mc_attempt *attempt, mc_headers *trailers) {
    mc_try *t = try_of(attempt);
    t->trailers = trailers;
    MC_FACT(t, answered_trailers, t->facts, trailers);
    return MC_OK;
}

static void on_complete(mc_attempt *attempt) {
    mc_try *t = try_of(attempt);
    mc_router *r = t->router;
    if (MC_UNLIKELY(t->trailers != NULL && t->filters != NULL) && !mc_try_filter_trailers(t)) {
        return;
    }
    MC_FACT(t, received, t->facts);
    if (t->head.end_stream) {
        (void)respond(t, true);
        return;
    }
    if (MC_UNLIKELY(t->grpc_deferred)) {
        mc_host_count_end(r->stream->proxy->slab, t->host, t->trailers);
    }
    complete(r, t);
    if (t->trailers != NULL) {
        mc_filter_encode_trailers(r->filter, t->trailers);
    } else {
        mc_filter_encode_data(r->filter, MC_SLICE_NONE, true);
    }
}

static void on_reset(mc_attempt *attempt, mc_reset_reason reason) { mc_try_failed(try_of(attempt), reason); }

const mc_attempt_events mc_try_events = {
    .on_ready = mc_try_on_ready,
    .on_failure = mc_try_on_failure,
    .on_begin = on_begin,
    .on_headers = on_headers,
    .on_body = on_body,
    .on_trailers = on_trailers,
    .on_complete = on_complete,
    .on_reset = on_reset,
    .on_high = mc_try_on_high,
    .on_low = mc_try_on_low,
};
