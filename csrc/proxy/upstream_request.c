/* One try: choosing a host, getting a connection, writing the request. */
#include "proxy/router_internal.h"
#include "proxy/upstream_chain.h"

/* --- back-pressure ------------------------------------------------------------------------------------------------------ */

void mc_try_block(mc_try *t) {
    if (!t->blocked) {
        t->blocked = true;
        MC_R_COUNT(t->router, upstream_flow_control_backed_up_total);
        mc_filter_decode_pause(t->router->filter);
    }
}

void mc_try_unblock(mc_try *t) {
    if (MC_UNLIKELY(t->blocked)) {
        t->blocked = false;
        MC_R_COUNT(t->router, upstream_flow_control_drained_total);
        mc_filter_decode_resume(t->router->filter);
    }
}

/* --- writing ---------------------------------------------------------------------------------------------------------- */

void mc_try_write(mc_try *t, mc_slice data) {
    if (data.n == 0 || mc_attempt_conn(&t->attempt) == NULL) {
        return;
    }
    t->body_sent += data.n;
    const size_t framing = mc_attempt_write(&t->attempt, data);
    MC_FACT(t, sent, t->facts, data.n, framing);
}

void mc_try_write_end(mc_try *t) {
    mc_router *r = t->router;
    mc_conn *conn = mc_attempt_conn(&t->attempt);
    if (conn == NULL) {
        return;
    }
    if (MC_UNLIKELY(r->terminates)) {
        mc_conn_shutdown_write(conn);
        t->attempt.request_sent = true;
    } else {
        const size_t n = mc_attempt_write_end(&t->attempt, r->trailers);
        MC_FACT(t, sent, t->facts, 0, n);
    }
    MC_FACT(t, sent_all, t->facts);
}

void mc_try_give(mc_try *t, mc_slice data) {
    if (MC_LIKELY(t->filters == NULL)) {
        mc_try_write(t, data);
    } else {
        mc_chain_data(t->filters, MC_DECODE, data, false);
    }
}

void mc_try_give_end(mc_try *t) {
    const mc_router *r = t->router;
    if (MC_LIKELY(t->filters == NULL)) {
        mc_try_write_end(t);
    } else if (r->trailers != NULL) {
        mc_chain_trailers(t->filters, MC_DECODE);
    } else if (!r->headers_only) {
        mc_chain_data(t->filters, MC_DECODE, MC_SLICE_NONE, true);
    }
}

static void resume_body(mc_router *r, mc_try *t) {
    mc_try_unblock(t);
    if (r->body_paused) {
        r->body_paused = false;
        mc_filter_decode_resume(r->filter);
    }
}

/* What came before there was anybody to give it to. */
static void give_body(mc_router *r, mc_try *t) {
    for (const mc_chunk *chunk = r->body.head; chunk != NULL && !r->stream->finished; chunk = chunk->next) {
        mc_try_give(t, mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin));
    }
    r->wrote = r->wrote || t->ready;
    if (!r->keep_body) {
        mc_net_retire(r->stream->proxy->net, &r->body);
    } else if (MC_UNLIKELY(t->ready && r->body.length > r->body_limit)) { /* held back so far; t is there, so this does
                                                                             not answer */
        (void)mc_router_stop_keeping(r);
    }
    if (t->ready) {
        resume_body(r, t);
    }
}

static void give_request(mc_router *r, mc_try *t) {
    if (MC_LIKELY(!r->payload_waits)) {
        give_body(r, t);
    }
    if (r->request_end && !r->stream->finished) {
        mc_try_give_end(t);
    }
}

static void log_ready(mc_try *t);

/* False: it could not be written: the connection goes, or the stream was answered. */
static bool write_head(mc_try *t, bool end_stream) {
    mc_router *r = t->router;
    mc_stream *stream = r->stream;
    mc_conn *conn = mc_attempt_conn(&t->attempt);
    const mc_header *unsendable;
    if (MC_UNLIKELY(r->terminates)) {
        return true;
    }
    if (MC_UNLIKELY(stream->request.unchecked) && (unsendable = mc_headers_unsendable(&stream->request)) != NULL) {
        mc_router_reply_unsendable(r, unsendable);
        return false;
    }
    if (MC_UNLIKELY(stream->span != NULL) && mc_tracing_inject(stream, t->span) != MC_OK) {
        mc_conn_abort(conn, MC_CLOSE_RESET);
        return false;
    }
    if (MC_UNLIKELY(stream->hcm->scheme_match_upstream) &&
        mc_headers_set_known_ref(&stream->request, MC_H_SCHEME,
                                 conn->transport->encrypted ? MC_SLICE("https") : MC_SLICE("http")) != MC_OK) {
        mc_conn_abort(conn, MC_CLOSE_RESET);
        return false;
    }
    const mc_slice head = mc_attempt_write_head(&t->attempt, &stream->request, end_stream, stream->upgrade);
    if (head.n == 0) {
        return false;
    }
    MC_FACT(t, sent_head, t->facts, head);
    return true;
}

void mc_try_pass_head(mc_try *t, bool end_stream) {
    t->head_passed = true;
    t->head_ends = t->end_passed = end_stream;
    if (t->ready && write_head(t, end_stream) && end_stream) {
        mc_try_write_end(t);
    }
}

void mc_try_pass_data(mc_try *t, mc_slice data, bool end_stream) {
    mc_router *r = t->router;
    t->end_passed = t->end_passed || end_stream;
    if (t->ready) {
        mc_try_write(t, data);
        if (end_stream) {
            mc_try_write_end(t);
        }
    } else if (mc_buffer_append(&t->passed, data) != MC_OK) {
        mc_router_out_of_memory(r);
    } else {
        mc_router_hold_back(r, t->passed.length);
    }
}

/* What passed the filters before there was a connection. */
static void write_passed(mc_try *t) {
    mc_router *r = t->router;
    r->wrote = true;
    if (t->head_passed && write_head(t, t->head_ends)) {
        for (const mc_chunk *chunk = t->passed.head; chunk != NULL; chunk = chunk->next) {
            mc_try_write(t, mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin));
        }
        mc_net_retire(r->stream->proxy->net, &t->passed);
        if (t->end_passed) {
            mc_try_write_end(t);
        }
    }
    if (r->stream->finished || r->stream->local_reply) {
        return;
    }
    resume_body(r, t);
}

/* The try has its connection. */
static void begin_request(mc_try *t) {
    mc_router *r = t->router;
    mc_stream *stream = r->stream;
    t->selected = true;
    MC_FACT(t, ready, t->facts, mc_attempt_conn(&t->attempt), r->terminates);
    if (MC_UNLIKELY(stream->hcm->access.on_upstream)) {
        log_ready(t);
    }
    mc_try_report(t, MC_OUTLIER_CONNECT_SUCCESS, 0);
    mc_router_inc_scopes(r, MC_CODE_TOTAL);
    t->ready = true;
    if (MC_UNLIKELY(r->terminates)) {
        t->attempt.framing = MC_H1_TUNNEL;
        mc_try_ready_timers(t);
        mc_try_accept_connect(t);
        return;
    }
    if (MC_LIKELY(t->filters == NULL)) {
        if (!write_head(t, r->headers_only)) {
            return;
        }
        give_request(r, t);
    } else {
        write_passed(t);
    }
    mc_try_ready_timers(t);
}

void mc_try_write_payload(mc_try *t) {
    mc_router *r = t->router;
    r->payload_waits = false;
    give_request(r, t);
}

static mc_try *try_of(mc_attempt *attempt) { return MC_CONTAINER(attempt, mc_try, attempt); }

void mc_try_on_ready(mc_attempt *attempt) { begin_request(try_of(attempt)); }

void mc_try_on_failure(mc_attempt *attempt, mc_reset_reason reason) {
    mc_try *t = try_of(attempt);
    MC_FACT(t, failed, t->facts);
    t->selected = reason != MC_RESET_OVERFLOW || attempt->refused; /* else it is the cluster's, no host's */
    mc_try_failed(t, reason);
}

void mc_try_on_high(mc_attempt *attempt) { mc_try_block(try_of(attempt)); }
void mc_try_on_low(mc_attempt *attempt) { mc_try_unblock(try_of(attempt)); }

/* --- the end of a try ---------------------------------------------------------------------------------------------------- */

static mc_span_end end_of(const mc_try *t) {
    const bool answered = t->head.status >= 200 || t->head.status == 101; /* informational responses are none */
    mc_span_end end = {
        .upstream = mc_upstream_address(t->upstream, t->host),
        .headers = !answered            ? NULL
                   : t->arrived != NULL ? t->arrived
                                        : &t->headers,
        .trailers = t->trailers,
        .reset_reason = t->failed ? mc_reset_reason_text(t->reason) : MC_SLICE_NONE,
        .status = answered ? t->head.status : 0,
        .retries = t->number,
        .connected = t->ready,
        .canceled = t->canceled,
    };
    mc_flags_add(&end.flags, &end.flag_order, t->flags);
    mc_flags_add(&end.flags, &end.flag_order, t->failed ? mc_router_reset_flag(t->reason) : 0);
    return end;
}

static void finish_span(mc_try *t) {
    const mc_span_end end = end_of(t);
    mc_tracing_finish_child(t->router->stream, t->span, &end);
}

static void log_try(mc_try *t, mc_log_type type) {
    mc_span_end end = end_of(t);
    if (MC_UNLIKELY(t->router->websocket) && end.status < 400 && end.status != 101) { /* no answer to a handshake */
        end.headers = NULL;
        end.status = 0;
    }
    mc_stream_emit_upstream_log(t->router->stream, type, &end, t->facts);
}

void mc_try_log_fired(mc_timer *timer) {
    mc_try *t = MC_CONTAINER(timer, mc_try, log);
    const mc_stream *stream = t->router->stream;
    log_try(t, MC_LOG_UPSTREAM_PERIODIC);
    mc_timer_arm(stream->proxy->loop, &t->log, stream->hcm->access.upstream_ms);
}

static void log_ready(mc_try *t) {
    if (t->router->stream->hcm->access.upstream != NULL) {
        log_try(t, MC_LOG_UPSTREAM_POOL_READY);
    }
}

void mc_try_drop(mc_try *t) {
    mc_router *r = t->router;
    if (MC_UNLIKELY(r->cluster->tracking != NULL)) {
        mc_try_track(t);
    }
    MC_FACT(t, over, t->facts, &t->attempt);
    if (MC_UNLIKELY(r->stream->hcm->access.upstream != NULL)) {
        log_try(t, MC_LOG_UPSTREAM_END);
        mc_timer_cancel(r->stream->proxy->loop, &t->log);
    }
    if (MC_UNLIKELY(t->span != NULL)) {
        finish_span(t);
        t->span = NULL;
    }
    mc_link_unlink(&t->link);
    if (MC_UNLIKELY(t->filters != NULL)) {
        mc_chain_close(t->filters);
        mc_net_retire(r->stream->proxy->net, &t->passed);
    }
    if (MC_UNLIKELY((r->per_try_ms | r->per_try_idle_ms | r->duration_ms) != 0)) {
        mc_try_disarm(t);
    }
    mc_try_unblock(t);
    if (r->final == t) {
        r->final = NULL;
    }
    mc_try_taken_back(t);
    mc_host_unref(t->host);
    if (MC_UNLIKELY(t->holds)) {
        mc_upstream_release(t->upstream);
    }
}

void mc_try_cancel(mc_try *t) {
    t->canceled = true;
    mc_attempt_cancel(&t->attempt);
    mc_try_drop(t);
}

void mc_router_cancel_tries(mc_router *r, const mc_try *but) {
    MC_LIST_EACH(&r->tries, node) {
        mc_try *t = MC_CONTAINER(node, mc_try, link);
        if (t != but) {
            mc_try_cancel(t);
        }
    }
}

/* --- starting --------------------------------------------------------------------------------------------------------------- */

static mc_status set_number(mc_headers *headers, mc_header_id id, uint64_t value) {
    char digits[20];
    return mc_headers_set_known(headers, id, mc_slice_of(digits, mc_format_u64(digits, value)));
}

/* RF-29: what differs from try to try. */
static mc_status set_try_headers(mc_router *r, const mc_host *host) {
    mc_stream *stream = r->stream;
    const mc_virtual_host *virtual_host = stream->match.virtual_host;
    mc_status status = MC_OK;
    if (stream->match.route->auto_host_rewrite && host->hostname.n > 0) { /* RT-34 */
        status = mc_route_rewrite_host(stream->match.route, &stream->request, host->hostname,
                                       r->options->suppress_envoy_headers);
    }
    if (MC_LIKELY(!r->retried) || status != MC_OK) {
        return status;
    }
    if (virtual_host->include_attempt_count_request) {
        status = set_number(&stream->request, MC_H_X_ENVOY_ATTEMPT_COUNT, stream->attempts);
    }
    if (virtual_host->include_is_timeout_retry && status == MC_OK) {
        status = mc_headers_set_known_ref(&stream->request, MC_H_X_ENVOY_IS_TIMEOUT_RETRY,
                                          r->timeout_retry ? MC_SLICE("true") : MC_SLICE("false"));
    }
    if (status == MC_OK) {
        uint64_t elapsed = r->request_end ? mc_loop_now_us(stream->proxy->loop) - r->request_end_us : 0;
        status = mc_router_announce_timeout(r, elapsed / 1000);
    }
    return status;
}

/* Sent twice it does no harm (RFC 9110, section 9.2.1), and all of it is at hand. */
static bool replayable(const mc_router *r) {
    static const mc_slice methods[] = {MC_SLICE_INIT("GET"), MC_SLICE_INIT("HEAD"), MC_SLICE_INIT("OPTIONS")};
    const mc_slice method = mc_headers_get_known(&r->stream->request, MC_H_METHOD);
    for (size_t i = 0; r->request_end && r->body.length == 0 && i < sizeof methods / sizeof methods[0]; i++) {
        if (mc_slice_eq(method, methods[i])) {
            return true;
        }
    }
    return false;
}

static mc_status find_pool(const mc_router *r, mc_upstream *from, mc_host *host, mc_pool **out) {
    const mc_rq_priority priority = r->retry.with.priority;
    if (MC_UNLIKELY(from->cluster->pool_per_connection) && !r->terminates && r->stream->downstream != NULL) {
        return mc_upstream_own_pool(from, host, priority, mc_downstream_conn(r->stream->downstream)->id, out);
    }
    return MC_UNLIKELY(r->terminates) ? mc_upstream_raw_pool(from, host, priority, out)
                                      : mc_upstream_pool(from, host, priority, out);
}

/* A further try goes to the cluster as it is then (RF-29): its hosts may be others. False: there is none any more. */
static bool follow_cluster(mc_router *r) {
    if (MC_LIKELY(!r->upstream->retired)) {
        return true;
    }
    mc_upstream *now = mc_proxy_upstream(r->stream->proxy, r->cluster->slot);
    if (now != NULL) {
        mc_upstream_hold(now);
        if (r->first == NULL) {
            r->first = r->upstream;
        } else {
            mc_upstream_release(r->upstream);
        }
        r->upstream = now;
    }
    return now != NULL;
}

void mc_try_start(mc_router *r) {
    mc_stream *stream = r->stream;
    mc_upstream *from;
    mc_host *host = follow_cluster(r) ? mc_router_choose_host(r, &from) : NULL;
    if (MC_UNLIKELY(host == NULL)) { /* RF-5 */
        if (!mc_router_seeks(r)) {
            mc_router_reply_no_host(r);
        }
        return;
    }
    if (MC_LIKELY(!r->retried)) {
        mc_retry_remove_headers(&stream->request);
    }
    mc_try *t = mc_arena_zalloc(&stream->arena, sizeof *t);
    mc_pool *pool;
    mc_status status = t == NULL ? MC_ENOMEM : set_try_headers(r, host);
    if (MC_UNLIKELY(mc_router_filters_tries(r)) && status == MC_OK) {
        stream->upstream_address = *mc_upstream_address(from, host); /* known, even if it is refused */
        t->facts = mc_facts_begin_try(stream->facts, host);
        if (!mc_try_admitted(r)) {
            return;
        }
    }
    if (status == MC_OK && (status = find_pool(r, from, host, &pool)) == MC_ELIMIT) {
        mc_router_reply_no_host(r);
        return;
    }
    if (status != MC_OK) {
        mc_router_out_of_memory(r);
        return;
    }
    t->router = r;
    if (MC_UNLIKELY(mc_router_filters_tries(r)) && mc_try_open_filters(t) != MC_OK) {
        mc_router_out_of_memory(r);
        return;
    }
    t->host = mc_host_ref(host);
    t->upstream = from;
    if (MC_UNLIKELY(from != r->upstream || r->retried)) {
        t->holds = true;
        mc_upstream_hold(from);
    }
    mc_try_given(t);
    if (MC_UNLIKELY(r->cluster->tracking != NULL)) {
        t->started_us = mc_loop_now_us(stream->proxy->loop);
    }
    t->awaiting = true;
    t->attempt.events = &mc_try_events;
    t->attempt.method = mc_headers_get_known(&stream->request, MC_H_METHOD);
    t->attempt.replayable = replayable(r);
    mc_list_push_back(&r->tries, &t->link);
    if (MC_UNLIKELY(stream->span != NULL)) {
        t->number = stream->attempts - 1u;
        t->span = mc_tracing_spawn(stream, from->cluster->stat_name);
    }
    stream->upstream_address = *mc_upstream_address(from, host);
    if (MC_UNLIKELY(stream->facts != NULL) && t->facts == NULL) {
        t->facts = mc_facts_begin_try(stream->facts, host);
    }
    mc_try_arm(t);
    status = mc_pool_start(pool, &t->attempt);
    if (MC_UNLIKELY(t->filters != NULL) && (status == MC_OK || status == MC_AGAIN)) {
        mc_chain_headers(t->filters, MC_DECODE, r->headers_only);
        give_request(r, t);
        if (t->filters->closed) {
            return;
        }
    }
    if (status == MC_OK) {
        begin_request(t);
    } else if (status != MC_AGAIN) {
        const bool full = status == MC_ELIMIT;
        MC_FACT(t, failed, t->facts);
        t->selected = !full || t->attempt.refused;
        mc_try_failed(t, full ? MC_RESET_OVERFLOW : MC_RESET_LOCAL_CONNECTION_FAILURE);
    }
}
