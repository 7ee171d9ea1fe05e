#include "base/alloc.h"
#include "proxy/downstream_internal.h"

typedef struct mc_downstream_object {
    struct mc_downstream_object *next;
    const void *key;
    _Alignas(16) char data[];
} object;

const mc_address *mc_downstream_peer(const mc_downstream *downstream) { return &downstream->peer; }
const mc_address *mc_downstream_local(const mc_downstream *downstream) { return &downstream->local; }

const mc_address *mc_downstream_direct_local(const mc_downstream *downstream) {
    return downstream->direct_local == NULL ? &downstream->local : downstream->direct_local;
}

const mc_address *mc_downstream_restored(const mc_downstream *downstream) {
    return downstream->direct_local == NULL ? NULL : &downstream->local;
}
mc_hcm_pin *mc_downstream_newest(const mc_downstream *d) { return d->source->pin; }

mc_conn *mc_downstream_conn(mc_downstream *downstream) { return &downstream->conn; }
uint64_t mc_downstream_consumed(const mc_downstream *downstream) { return downstream->consumed; }
const mc_tls_info *mc_downstream_tls(const mc_downstream *downstream) { return NULL; }
mc_overload *mc_downstream_overload(const mc_downstream *downstream) { return downstream->source->overload; }

void *mc_downstream_find(mc_downstream *d, const void *key) {
    for (object *at = d->objects; at != NULL; at = at->next) {
        if (at->key == key) {
            return at->data;
        }
    }
    return NULL;
}

void *mc_downstream_object(mc_downstream *d, const void *key, size_t size) {
    void *found = mc_downstream_find(d, key);
    object *made = found != NULL ? NULL : mc_calloc(1, sizeof *made + size);
    if (made == NULL) {
        return found;
    }
    *made = (object){.next = d->objects, .key = key};
    d->objects = made;
    return made->data;
}

static void free_objects(mc_downstream *d) {
    for (object *next; d->objects != NULL; d->objects = next) {
        next = d->objects->next;
        mc_free(d->objects);
    }
}

/* --- codec events --------------------------------------------------------------------------------------------------------- */

/* H1-12: a client that asks for more while two responses have not left. */
static void flooded(mc_downstream *d) {
    mc_counter_inc(d->proxy->slab, d->pin->hcm->stats.http1.response_flood);
    mc_downstream_close_after_flush(d, false);
    mc_stream_reset(d->stream, MC_FLAG(DPE), "codec_error:Too_many_responses_queued.");
}

static mc_headers *request_begin(void *ctx) {
    mc_downstream *d = ctx;
    uint64_t timeout = d->pin->hcm->headers_timeout_ms;
    d->stream = mc_stream_open(d, d->proxy, d->source->pin);
    if (d->stream == NULL) {
        return NULL;
    }
    d->stream->close_connection = d->soft_drain; /* what had begun when it was decided does not end it */
    d->requests++;
    if (MC_UNLIKELY(d->response_ends[0] > d->conn.tx_bytes)) {
        flooded(d);
        return NULL;
    }
    if (timeout != 0) {
        d->head_pending = true;
        mc_timer_arm(d->proxy->loop, &d->timer, timeout);
    }
    return &d->stream->request;
}

/* The stream may end within each of these; the codec then stops, and the rest of the input waits or is dropped. */
static mc_status stream_status(const mc_downstream *d) { return d->stream == NULL ? MC_ECLOSED : MC_OK; }

/* HC-2, step 6. */
static void meet_expectation(mc_downstream *d, const mc_h1_head *head) {
    mc_headers *headers = &d->stream->request;
    if (d->pin->hcm->proxy_100_continue) {
        return;
    }
    if (head->expect_continue) {
        mc_headers_remove_known(headers, MC_H_EXPECT);
        mc_conn_write(&d->conn, MC_SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
        mc_stream_count_response(d->stream, 100);
        d->stream->status = 100;
    } else if (MC_UNLIKELY(head->version_minor == 0)) {
        mc_headers_remove_known(headers, MC_H_EXPECT); /* ignored, RFC 9110 section 10.1.1 */
    }
}

static mc_status request_headers(void *ctx, const mc_h1_head *head) {
    mc_downstream *d = ctx;
    const mc_hcm *hcm = d->pin->hcm;
    mc_stream *stream = d->stream;
    if (d->head_pending) {
        d->head_pending = false;
        mc_timer_cancel(d->proxy->loop, &d->timer);
    }
    if (hcm->max_requests_per_connection != 0 && d->requests >= hcm->max_requests_per_connection) {
        MC_DOWNSTREAM_COUNT(d, downstream_cx_max_requests_reached);
        d->drain = MC_DRAIN_CLOSING;
    }
    MC_FACT(stream, asked, stream->facts, head->field_bytes);
    if (MC_UNLIKELY(head->dropped > 0)) {
        mc_counter_add(d->proxy->slab, hcm->stats.http1.dropped_headers_with_underscores, head->dropped);
    }
    stream->refusal = mc_sanitize_find_refusal(stream, d->conn.transport->encrypted);
    stream->overloaded = MC_UNLIKELY(d->source->overload != NULL) && stream->refusal == NULL &&
                         mc_downstream_sheds_request(d); /* HC-2, step 5 */
    if (MC_LIKELY(!stream->overloaded && stream->refusal == NULL)) {
        meet_expectation(d, head);
        mc_downstream_count_agent(d, mc_headers_get_known(&stream->request, MC_H_USER_AGENT));
    }
    d->old = head->version_minor == 0;
    mc_stream_request_headers(stream, head);
    if (d->stream == stream && stream->upgrade) {
        mc_h1_parser_tunnel(&d->parser);
    } else if (MC_UNLIKELY(head->upgrade) && d->stream == stream && !stream->upgrade_refused) { /* mutated away */
        mc_h1_parser_refuse(&d->parser);
    }
    return head->end_stream ? MC_OK : stream_status(d);
}

static mc_status request_body(void *ctx, mc_slice data) {
    mc_downstream *d = ctx;
    mc_stream_request_data(d->stream, data);
    return stream_status(d);
}

static mc_status request_trailers(void *ctx, mc_headers *trailers) {
    mc_downstream *d = ctx;
    mc_stream_request_trailers(d->stream, trailers);
    return stream_status(d);
}

static mc_status request_complete(void *ctx) {
    mc_downstream *d = ctx;
    if (d->stream != NULL) {
        mc_stream_request_complete(d->stream);
    }
    return MC_AGAIN; /* one request at a time (H1-12) */
}

static const mc_h1_handler request_handler = {
    .on_begin = request_begin,
    .on_headers = request_headers,
    .on_body = request_body,
    .on_trailers = request_trailers,
    .on_complete = request_complete,
};

/* --- connection events ------------------------------------------------------------------------------------------------------- */

/* What came is given up: answered by the stream that it is of, or by one that is made. */
static void answer_error(mc_downstream *d, const mc_h1_error *error) {
    const uint16_t status = error->reply_code == 0 ? 400 : error->reply_code;
    if (d->stream == NULL && request_begin(d) == NULL) {
        mc_downstream_close_now(d);
    }
    if (d->stream != NULL) {
        if (!d->stream->headed) {
            MC_FACT(d->stream, asked, d->stream->facts, error->field_bytes);
        }
        d->stream->answers_10 = error->http_10;
        d->stream->refused_head = error->head;
        d->stream->refused_10 = error->refused_10;
        d->stream->late_flags = MC_FLAG(DPE);
        mc_stream_reply(d->stream,
                        &(mc_reply){.status = status,
                                    .body = mc_h1_reason(status),
                                    .details = error->details == NULL ? "http1.codec_error" : error->details});
    }
}

/* What is wrong with the target comes before what is wrong with the version (H1-4, H1-5). */
static mc_h1_error first_error(const mc_downstream *d) {
    mc_h1_error error = d->parser.error;
    const mc_refusal *refusal =
        error.reply_code == 426 ? mc_sanitize_find_refusal(d->stream, d->conn.transport->encrypted) : NULL;
    if (refusal != NULL && refusal->status == 403) {
        error.reply_code = refusal->status;
        error.details = refusal->details;
    }
    return error;
}

/* H1-1: a codec error is answered, then the connection closes. */
static void codec_error(mc_downstream *d) {
    const mc_h1_error error = first_error(d);
    MC_DOWNSTREAM_COUNT(d, downstream_cx_protocol_error);
    d->protocol_error = true;
    if (error.details != NULL && strcmp(error.details, "http1.unexpected_underscore") == 0) {
        mc_counter_inc(d->proxy->slab, d->pin->hcm->stats.http1.requests_rejected_with_underscores_in_headers);
    }
    answer_error(d, &error);
}

/* Negative: what came is given up. */
static long feed(mc_downstream *d, mc_slice data) {
    const long n = mc_h1_parser_feed(&d->parser, data);
    if (n >= 0) {
        d->consumed += (size_t)n;
        d->spoke = true;
    } else if (d->closing) { /* by the answer to it */
        d->spoke = true;
    } else if (d->parser.error.reply_code != 0) {
        codec_error(d);
    } else { /* no memory for a stream */
        mc_downstream_close_now(d);
    }
    return n;
}

/* Whether the client's next request has to wait: for the response under way, or for what waits to leave. */
static bool is_busy(const mc_downstream *d) {
    return d->stream == NULL ? d->conn.above_high : d->stream->request_complete && !d->stream->upgrade;
}

/* What is spoken is known by the first bytes. */
static void note_protocol(mc_downstream *d) {
    d->used = true;
    MC_DOWNSTREAM_COUNT(d, downstream_cx_http1_total);
    MC_DOWNSTREAM_GAUGE(d, downstream_cx_http1_active, 1);
}

static size_t downstream_data(mc_conn *conn, mc_slice data) {
    mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    size_t used = 0;
    mc_counter_add(d->proxy->slab, d->pin->hcm->stats.downstream_cx_rx_bytes_total, data.n);
    if (MC_UNLIKELY(d->source->overload != NULL) && !d->closing && mc_downstream_sheds_connection(d)) {
        return data.n;
    }
    if (MC_UNLIKELY(d->pin->hcm->guards != NULL) && !d->closing && !mc_downstream_admits(d)) {
        return data.n;
    }
    if (MC_UNLIKELY(!d->used)) {
        note_protocol(d);
    }
    while (used < data.n) {
        if (d->closing) {
            return data.n; /* drained until the peer closes too */
        }
        if (is_busy(d)) {
            d->keep = true;
            mc_conn_pause_reading(conn);
            return used;
        }
        if (MC_UNLIKELY(d->source->overload != NULL) && mc_downstream_sheds_dispatch(d)) {
            answer_error(d, &(mc_h1_error){.reply_code = 500, .details = "overload"});
            return data.n;
        }
        const long n = feed(d, mc_slice_from(data, used));
        if (n < 0) {
            return data.n;
        }
        used += (size_t)n;
        if (n == 0 && d->stream == NULL && !d->closing) { /* leading CRLF that waits for more */
            break;
        }
        if (n == 0 && !d->closing) { /* the payload of an upgrade that was not allowed: nobody takes it */
            return data.n;
        }
    }
    return used;
}

static void downstream_eof(mc_conn *conn) {
    MC_CONTAINER(conn, mc_downstream, conn)->closing = true;
    mc_conn_abort(conn, MC_CLOSE_REMOTE); /* downstream_close gives the stream up */
}

/* A client that has left waits for nothing, and what it sent behind the request under way is not read any more. */
static void downstream_hangup(mc_conn *conn) {
    const mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    if (d->stream != NULL && !d->closing) {
        downstream_eof(conn);
    }
}

/* With the request that was kept. */
static void read_on(mc_downstream *d) {
    if (d->keep) {
        d->keep = false;
        mc_conn_resume_reading(&d->conn);
    }
}

static void downstream_drained(mc_conn *conn) {
    mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    mc_downstream_tell_buffered(d);
    if (mc_timer_armed(&d->timer) && d->closing) { /* the wait for the peer begins when it has everything */
        mc_timer_arm(d->proxy->loop, &d->timer, d->pin->hcm->delayed_close_ms);
    }
}

static void downstream_high(mc_conn *conn) {
    mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    mc_downstream_tell_buffered(d);
    if (d->stream != NULL) {
        mc_stream_write_blocked(d->stream, true);
    }
}

static void downstream_low(mc_conn *conn) {
    mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    mc_downstream_tell_buffered(d);
    if (d->stream != NULL) {
        mc_stream_write_blocked(d->stream, false);
    } else {
        read_on(d);
    }
}

static void count_everywhere(const mc_downstream_source *source, int delta) {
    for (size_t i = 0; i < 2; i++) {
        if (source->everywhere[i] != NULL) {
            atomic_fetch_add_explicit(source->everywhere[i], (uint32_t)delta, memory_order_relaxed);
        }
    }
}

static void downstream_close(mc_conn *conn, mc_close_reason reason) {
    mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    mc_proxy *proxy = d->proxy;
    mc_downstream_source *source = d->source;
    const bool active = d->stream != NULL, remote = reason == MC_CLOSE_REMOTE || reason == MC_CLOSE_RESET;
    d->closing = true;
    if (active) {
        mc_stream_reset(d->stream, MC_FLAG(DC),
                        remote ? "downstream_remote_disconnect" : "downstream_local_disconnect");
    }
    mc_downstream_count_close(d, active, remote);
    if (MC_UNLIKELY(d->pin->hcm->access.connections != NULL)) {
        mc_downstream_log(d, reason);
    }
    mc_timer_cancel(proxy->loop, &d->timer);
    mc_downstream_unlimit(d);
    mc_link_unlink(&d->link);
    mc_downstream_dismiss_guards(d);
    free_objects(d);
    mc_hcm_pin_unref(d->pin);
    mc_free(d);
    proxy->connection_count--;
    source->connections--;
    count_everywhere(source, -1);
    if (source->on_closed != NULL) {
        source->on_closed(source);
    }
    if (proxy->draining && proxy->connection_count == 0 && proxy->on_idle != NULL) {
        proxy->on_idle(proxy->ctx);
    }
}

static const mc_conn_events downstream_events = {
    .on_data = downstream_data,
    .on_eof = downstream_eof,
    .on_hangup = downstream_hangup,
    .on_high = downstream_high,
    .on_low = downstream_low,
    .on_drained = downstream_drained,
    .on_close = downstream_close,
};

/* HC-42: a client that opens requests only to give them up is cut off. */
static void count_premature(mc_downstream *d, const mc_stream *stream) {
    const mc_runtime *runtime = d->proxy->runtime;
    const uint64_t lived_s = (mc_loop_now_us(d->proxy->loop) - stream->start_us) / 1000000;
    if (MC_LIKELY(stream->status != 0) ||
        lived_s > mc_runtime_u64(runtime, MC_SLICE("overload.premature_reset_min_stream_lifetime_seconds"), 1)) {
        return;
    }
    const uint64_t limit = mc_runtime_u64(runtime, MC_SLICE("overload.premature_reset_total_stream_count"), 500);
    d->premature++;
    if (!d->closing && UINT64_C(2) * d->premature >= (d->requests < limit ? limit : d->requests)) {
        MC_DOWNSTREAM_COUNT(d, downstream_rq_too_many_premature_resets);
        mc_downstream_close_now(d);
    }
}

void mc_downstream_stream_done(mc_downstream *d, mc_stream *stream, bool close) {
    if (d->stream != stream) {
        return;
    }
    d->stream = NULL;
    mc_downstream_count_tx(d);
    mc_downstream_tell_buffered(d);
    count_premature(d, stream);
    if (stream->reset) { /* the response is not whole: the client must see that, and what there is of it */
        if (stream->headers_sent && (stream->flags & MC_FLAG(OM)) == 0) {
            mc_downstream_close_after_flush(d, false);
        } else if (!d->closing) {
            mc_downstream_close_now(d);
        }
        return;
    }
    /* A response that began before the drain could not say close. */
    if (close || d->drain == MC_DRAIN_CLOSING || d->leaving || d->proxy->draining) {
        mc_downstream_close_after_flush(d, !stream->head.keep_alive && stream->request_complete);
        return;
    }
    d->response_ends[0] = d->response_ends[1];
    d->response_ends[1] = mc_conn_written(&d->conn);
    mc_downstream_set_idle(d);
    if (!d->conn.above_high) {
        read_on(d);
    }
}

/* --- opening -------------------------------------------------------------------------------------------------------------------- */

static mc_downstream *downstream_new(mc_proxy *proxy, mc_downstream_source *source) {
    mc_downstream *d = mc_calloc(1, sizeof *d);
    if (d != NULL) {
        d->proxy = proxy;
        d->source = source;
        d->timer.fire = mc_downstream_timer_fired;
        mc_h1_parser_init(&d->parser, MC_H1_REQUEST, &source->pin->hcm->h1, &request_handler, d);
    }
    return d;
}

static void downstream_opened(mc_downstream *d) {
    mc_proxy *proxy = d->proxy;
    d->pin = mc_hcm_pin_ref(d->source->pin);
    d->conn.high_watermark = d->pin->hcm->buffer_limit;
    d->source->connections++;
    count_everywhere(d->source, 1);
    proxy->connection_count++;
    mc_list_push_back(&proxy->connections, &d->link);
    mc_downstream_count_open(d);
    mc_downstream_set_idle(d);
    if (d->pin->hcm->max_connection_duration_ms != 0 && mc_downstream_limit(d, mc_downstream_max_ms(d)) != MC_OK) {
        mc_downstream_close_now(d);
    }
}

mc_status mc_downstream_accept(mc_proxy *proxy, mc_downstream_source *source, int fd, const mc_address *peer,
                               const mc_address *local, const mc_address *restored) {
    static const char key;
    mc_downstream *d = downstream_new(proxy, source);
    if (d == NULL) {
        mc_socket_close(fd);
        return MC_ENOMEM;
    }
    d->peer = *peer;
    d->local = *local;
    mc_status status = mc_conn_accept(&d->conn, proxy->net, fd, &downstream_events);
    if (status != MC_OK) {
        mc_free(d);
        return status;
    }
    if (MC_UNLIKELY(restored != NULL) && /* without memory nobody knows of it */
        (d->direct_local = mc_downstream_object(d, &key, sizeof *d->direct_local)) != NULL) {
        *d->direct_local = *local;
        d->local = *restored;
    }
    downstream_opened(d);
    return MC_OK;
}

mc_status mc_downstream_memory(mc_proxy *proxy, mc_downstream_source *source, mc_conn *client, mc_net *client_net,
                               const mc_conn_events *client_events, const mc_memory_options *options) {
    mc_downstream *d = downstream_new(proxy, source);
    if (d == NULL) {
        return MC_ENOMEM;
    }
    mc_status status =
        mc_conn_memory_pair(&d->conn, proxy->net, &downstream_events, client, client_net, client_events, options);
    if (status != MC_OK) {
        mc_free(d);
        return status;
    }
    downstream_opened(d);
    return MC_OK;
}
