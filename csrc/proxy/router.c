#include "proxy/router.h"

#include "proxy/retry.h"
#include "proxy/stream.h"

enum { MAX_TRIED = 16 };

typedef struct router router;

/* One try: an attempt at one host, with the response headers it may bring. */
typedef struct try {
    mc_attempt attempt;
    router *owner;
    mc_host *host; /* referenced */
    mc_headers headers;
    mc_h1_head head;
    mc_h1_framing framing; /* of the request body on the wire */
    bool ready;            /* the request head was written */
    bool blocked;          /* the request is paused because this connection is full */
    bool paused;           /* the response is paused because the client is full */
    bool body_sent;        /* at least one byte went out */
} try;

struct router {
    mc_filter *filter;
    mc_stream *stream;
    mc_upstream *upstream; /* held */
    mc_cluster *cluster;
    try *try; /* current, or NULL */
    mc_retry retry;
    mc_lb_request lb;
    mc_buffer body; /* what may have to be sent (again) */
    bool keep_body; /* a retry may need it (RF-28) */
    bool request_end;
    bool waiting;          /* between tries */
    bool body_paused;      /* too much is held while connecting */
    bool response_started; /* headers went to the chain */
    bool client_full;
    uint64_t timeout_ms, per_try_ms;
    mc_timer timeout, per_try, backoff;
    mc_headers *trailers;
    mc_request_hash hash;
    const mc_host *tried[MAX_TRIED]; /* compared only */
    uint32_t tried_count;
};

#define R_COUNT(r, name) mc_counter_inc((r)->stream->proxy->slab, (r)->cluster->stats.name)

static void start_try(router *r);

/* OD-5, RF-31, RF-32. */
static void outcome(router *r, const try *t, mc_outlier_event event, unsigned code) {
    mc_upstream_outcome(r->upstream, t->host, event, code);
}

/* --- answers of the router's own --------------------------------------------------------------------------------------------- */

/* Route response mutations apply to redirects and direct responses too (RT-32). */
static void reply_routed(mc_stream *stream, mc_reply *reply, mc_slice location) {
    mc_headers headers;
    mc_headers_init(&headers, &stream->arena);
    if ((location.p != NULL && mc_headers_add_known_ref(&headers, MC_H_LOCATION, location) != MC_OK) ||
        mc_route_finalize_response(stream->hcm->routes, &stream->match, &headers) != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return;
    }
    uint32_t live = 0;
    for (uint32_t i = 0; i < headers.count; i++) {
        if (!headers.items[i].removed) {
            headers.items[live++] = headers.items[i];
        }
    }
    reply->headers = headers.items;
    reply->header_count = live;
    reply->details = "direct_response";
    mc_stream_reply(stream, reply);
}

static void reply_redirect(mc_stream *stream) {
    mc_slice location;
    mc_route_request request = {.headers = &stream->request, .arena = &stream->arena, .random = stream->random};
    if (mc_route_redirect_location(&stream->match, &request, &location) != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return;
    }
    MC_HCM_COUNT(stream, rq_redirect);
    reply_routed(stream, &(mc_reply){.status = mc_route_redirect_status(&stream->match)}, location);
}

static void reply_direct(mc_stream *stream, const mc_direct_response *direct) {
    MC_HCM_COUNT(stream, rq_direct_response);
    reply_routed(stream, &(mc_reply){.status = direct->status, .body = direct->body}, MC_SLICE_NONE);
}

/* A failure of the upstream side, counted as a response of the cluster (RF-45). */
static void reply_failure(router *r, mc_reply *reply) {
    mc_stream *stream = r->stream;
    mc_cluster_count_response(r->cluster, stream->proxy->slab, reply->status, stream->internal, UINT64_MAX);
    mc_stream_reply(stream, reply);
}

static uint64_t reason_flag(mc_reset_reason reason) {
    static const uint64_t flags[] = {
#define MC_RESET_FLAG(id, text, flag) MC_FLAG(flag),
        MC_RESET_REASONS(MC_RESET_FLAG)
#undef MC_RESET_FLAG
    };
    return flags[reason];
}

/* RF-30. */
static const char *reset_details(mc_reset_reason reason, bool after) {
    static const char *const before_names[] = {
        "upstream_reset_before_response_started{local_connection_failure}",
        "upstream_reset_before_response_started{remote_connection_failure}",
        "upstream_reset_before_response_started{connection_timeout}",
        "upstream_reset_before_response_started{connection_termination}",
        "upstream_reset_before_response_started{local_reset}",
        "upstream_reset_before_response_started{overflow}",
        "upstream_reset_before_response_started{remote_reset}",
        "upstream_reset_before_response_started{protocol_error}",
    };
    static const char *const after_names[] = {
        "upstream_reset_after_response_started{local_connection_failure}",
        "upstream_reset_after_response_started{remote_connection_failure}",
        "upstream_reset_after_response_started{connection_timeout}",
        "upstream_reset_after_response_started{connection_termination}",
        "upstream_reset_after_response_started{local_reset}",
        "upstream_reset_after_response_started{overflow}",
        "upstream_reset_after_response_started{remote_reset}",
        "upstream_reset_after_response_started{protocol_error}",
    };
    return after ? after_names[reason] : before_names[reason];
}

static void reply_reset(router *r, mc_reset_reason reason) {
    static const mc_header overloaded = {
        .name = MC_SLICE_INIT("x-envoy-overloaded"), .value = MC_SLICE_INIT("true"), .id = MC_H_X_ENVOY_OVERLOADED};
    mc_stream *stream = r->stream;
    mc_slice parts[] = {MC_SLICE("upstream connect error or disconnect/reset before headers. "),
                        r->tried_count > 1 ? MC_SLICE("retried and the latest ") : MC_SLICE(""),
                        MC_SLICE("reset reason: "), mc_reset_reason_text(reason)};
    mc_reply reply = {.status = reason == MC_RESET_PROTOCOL_ERROR ? 502 : 503,
                      .flags = reason_flag(reason),
                      .details = reset_details(reason, false)};
    if (mc_arena_concat(&stream->arena, parts, sizeof parts / sizeof parts[0], &reply.body) != MC_OK) {
        reply.body = MC_SLICE_NONE;
    }
    if (reason == MC_RESET_OVERFLOW && !stream->hcm->suppress_envoy_headers) {
        reply.headers = &overloaded;
        reply.header_count = 1;
    }
    reply_failure(r, &reply);
}

/* --- a try's end ----------------------------------------------------------------------------------------------------------------- */

/* Leaves the current try behind; its attempt is already detached or was cancelled. */
static void drop_try(router *r) {
    try *t = r->try;
    if (t == NULL) {
        return;
    }
    r->try = NULL;
    mc_timer_cancel(r->stream->proxy->loop, &r->per_try);
    if (t->blocked) {
        t->blocked = false;
        mc_filter_decode_resume(r->filter);
    }
    mc_host_unref(t->host);
}

static void cancel_try(router *r) {
    if (r->try != NULL) {
        mc_attempt_cancel(&r->try->attempt);
        drop_try(r);
    }
}

static void schedule_retry(router *r) {
    mc_loop *loop = r->stream->proxy->loop;
    r->waiting = true;
    mc_timer_arm(loop, &r->backoff, mc_retry_wait_ms(&r->retry, mc_loop_random(loop)));
}

static void backoff_fired(mc_timer *timer) {
    router *r = MC_CONTAINER(timer, router, backoff);
    r->waiting = false;
    start_try(r);
}

static uint64_t verdict_flag(mc_retry_verdict verdict) {
    return verdict == MC_RETRY_LIMIT ? MC_FLAG(URX) : verdict == MC_RETRY_OVERFLOW ? MC_FLAG(UO) : 0;
}

/* A try ended without a whole response; `t` is dropped. */
static void try_failed(router *r, mc_reset_reason reason) {
    mc_stream *stream = r->stream;
    mc_counter_inc(stream->proxy->slab, r->try->host->stats.rq_error);
    if (reason != MC_RESET_OVERFLOW) {
        outcome(r, r->try, MC_OUTLIER_CONNECT_FAILED, 0);
    }
    const bool sent = r->try->body_sent || r->try->ready;
    drop_try(r);
    if (r->response_started) {
        MC_HCM_COUNT(stream, rq_reset_after_downstream_response_started);
        mc_stream_reset(stream, reason_flag(reason), reset_details(reason, true));
        return;
    }
    mc_retry_verdict verdict = mc_retry_reset(&r->retry, reason, sent);
    stream->flags |= verdict_flag(verdict);
    if (verdict == MC_RETRY_YES) {
        schedule_retry(r);
    } else {
        reply_reset(r, reason);
    }
}

/* --- the request, upstream ------------------------------------------------------------------------------------------------------------ */

static void arm_per_try(router *r) { /* RF-14 */
    if (r->per_try_ms != 0 && r->request_end && r->try != NULL && r->try->ready) {
        mc_timer_arm(r->stream->proxy->loop, &r->per_try, r->per_try_ms);
    }
}

static void write_piece(try *t, mc_slice data) {
    mc_conn *conn = mc_attempt_conn(&t->attempt);
    mc_net *net = t->owner->stream->proxy->net;
    if (data.n == 0 || conn == NULL) {
        return;
    }
    t->body_sent = true;
    if (t->framing != MC_H1_CHUNKED) {
        mc_conn_write(conn, data);
        return;
    }
    char *head = mc_net_scratch(net, MC_H1_CHUNK_HEAD_MAX);
    if (head == NULL) {
        mc_conn_abort(conn, MC_CLOSE_RESET);
        return;
    }
    mc_conn_write(conn, mc_slice_of(head, mc_h1_chunk_head(head, data.n)));
    mc_conn_write(conn, data);
    mc_conn_write(conn, MC_SLICE("\r\n"));
}

static void write_end(try *t) {
    router *r = t->owner;
    mc_conn *conn = mc_attempt_conn(&t->attempt);
    if (conn == NULL) {
        return;
    }
    if (t->framing == MC_H1_CHUNKED) {
        const mc_headers *trailers = r->cluster->h1.enable_trailers ? r->trailers : NULL;
        char *out = mc_net_scratch(r->stream->proxy->net, mc_h1_last_chunk_size(trailers));
        if (out == NULL) {
            mc_conn_abort(conn, MC_CLOSE_RESET);
            return;
        }
        mc_conn_write(conn, mc_slice_of(out, mc_h1_last_chunk(trailers, out)));
    }
    t->attempt.request_sent = true;
}

static void write_body(router *r, try *t) {
    for (const mc_chunk *chunk = r->body.head; chunk != NULL; chunk = chunk->next) {
        write_piece(t, mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin));
    }
    if (!r->keep_body) {
        mc_net_retire(r->stream->proxy->net, &r->body);
    }
    if (r->body_paused) {
        r->body_paused = false;
        mc_filter_decode_resume(r->filter);
    }
}

static void write_request(router *r, try *t) {
    mc_stream *stream = r->stream;
    mc_conn *conn = mc_attempt_conn(&t->attempt);
    char *out = mc_net_scratch(stream->proxy->net, mc_h1_head_size(&stream->request));
    if (out == NULL) {
        mc_conn_abort(conn, MC_CLOSE_RESET);
        return;
    }
    mc_h1_encode how = {
        .end_stream = r->request_end && r->body.length == 0 && r->trailers == NULL,
        .upgrade = stream->upgrade,
        .enable_trailers = r->cluster->h1.enable_trailers,
    };
    size_t n = mc_h1_encode_request(&stream->request, &how, out, &t->framing);
    t->ready = true;
    outcome(r, t, MC_OUTLIER_CONNECT_SUCCESS, 0);
    mc_conn_write(conn, mc_slice_of(out, n));
    write_body(r, t);
    if (r->request_end) {
        write_end(t);
    }
    arm_per_try(r);
}

/* --- events of the attempt -------------------------------------------------------------------------------------------------------------- */

static try *try_of(mc_attempt *attempt) { return MC_CONTAINER(attempt, try, attempt); }

static void on_ready(mc_attempt *attempt) { write_request(try_of(attempt)->owner, try_of(attempt)); }

static void on_failure(mc_attempt *attempt, mc_reset_reason reason) { try_failed(try_of(attempt)->owner, reason); }

static mc_headers *on_begin(mc_attempt *attempt) {
    try *t = try_of(attempt);
    mc_headers_init(&t->headers, &t->owner->stream->arena);
    return &t->headers;
}

/* HC-47: 100 only when the client's expectation was passed on, 102 to 104 always. */
static mc_status on_informational(router *r, try *t) {
    mc_stream *stream = r->stream;
    bool forward =
        (t->head.status == 100 && stream->hcm->proxy_100_continue) || (t->head.status >= 102 && t->head.status <= 104);
    if (forward && !stream->headers_sent) {
        mc_headers *response = stream->response;
        mc_retry_stop(&r->retry);
        stream->response = &t->headers;
        mc_stream_send_headers(stream, false);
        stream->response = response;
    }
    return stream->finished ? MC_ECLOSED : MC_OK;
}

static mc_status add_response_headers(router *r, try *t) { /* RF-35 */
    mc_stream *stream = r->stream;
    char digits[20];
    mc_status status = MC_OK;
    if (stream->request_complete && !stream->hcm->suppress_envoy_headers) {
        uint64_t ms = (stream->first_upstream_us - stream->request_complete_us) / 1000;
        status = mc_headers_set_known(&t->headers, MC_H_X_ENVOY_UPSTREAM_SERVICE_TIME,
                                      mc_slice_of(digits, mc_format_u64(digits, ms)));
    }
    for (uint32_t i = 0; i < r->hash.set_cookie_count && status == MC_OK; i++) {
        status = mc_headers_add_known_ref(&t->headers, MC_H_SET_COOKIE, r->hash.set_cookies[i]);
    }
    if (status == MC_OK) {
        status = mc_route_finalize_response(stream->hcm->routes, &stream->match, &t->headers);
    }
    if (status == MC_OK && stream->match.virtual_host->include_attempt_count_response) {
        size_t n = mc_format_u64(digits, stream->attempts);
        status = mc_headers_set_known(&t->headers, MC_H_X_ENVOY_ATTEMPT_COUNT, mc_slice_of(digits, n));
    }
    return status;
}

static void count_host(router *r, const try *t) { /* RF-32 */
    mc_slab *slab = r->stream->proxy->slab;
    outcome(r, t,
            t->head.status >= 500                                ? MC_OUTLIER_REQUEST_FAILED
            : mc_headers_has(&t->headers, MC_H_X_ENVOY_DEGRADED) ? MC_OUTLIER_REQUEST_DEGRADED
                                                                 : MC_OUTLIER_REQUEST_SUCCESS,
            t->head.status);
    if (t->head.status >= 500) {
        mc_counter_inc(slab, t->host->stats.rq_error);
    } else {
        mc_counter_inc(slab, t->host->stats.rq_success);
    }
}

/* True when the response is given up for another try. */
static bool retry_response(router *r, try *t) {
    if (!mc_retry_active(&r->retry)) {
        return false;
    }
    mc_retry_verdict verdict = mc_retry_response(&r->retry, t->head.status, &t->headers);
    r->stream->flags |= verdict_flag(verdict);
    return verdict == MC_RETRY_YES;
}

static mc_status forward_headers(router *r, try *t, bool end_stream) {
    mc_stream *stream = r->stream;
    r->response_started = true;
    stream->details = "via_upstream";
    if (add_response_headers(r, t) != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return MC_ECLOSED;
    }
    mc_filter_encode_headers(r->filter, &t->headers, end_stream);
    return stream->finished ? MC_ECLOSED : MC_OK;
}

static mc_status on_headers(mc_attempt *attempt, const mc_h1_head *head) {
    try *t = try_of(attempt);
    router *r = t->owner;
    t->head = *head;
    if (head->status < 200 && head->status != 101) {
        return on_informational(r, t);
    }
    r->stream->first_upstream_us = mc_loop_now_us(r->stream->proxy->loop);
    count_host(r, t);
    if (head->end_stream) {
        return MC_OK; /* on_complete decides: the connection stays usable */
    }
    if (retry_response(r, t)) {
        cancel_try(r); /* RF-29; the connection goes, its response was not read */
        schedule_retry(r);
        return MC_ECLOSED;
    }
    if (head->status == 101) {
        if (!r->stream->upgrade) { /* nobody asked for another protocol */
            return MC_EPROTO;
        }
        mc_timer_cancel(r->stream->proxy->loop, &r->timeout); /* it was for the handshake */
        mc_attempt_tunnel(attempt);
    }
    return forward_headers(r, t, false);
}

static mc_status on_body(mc_attempt *attempt, mc_slice data) {
    router *r = try_of(attempt)->owner;
    mc_filter_encode_data(r->filter, data, false);
    return r->stream->finished || r->try == NULL ? MC_ECLOSED : MC_OK;
}

static mc_status on_trailers(mc_attempt *attempt, mc_headers *trailers) {
    try_of(attempt)->owner->stream->response_trailers = trailers;
    return MC_OK;
}

static void count_response(router *r, const try *t) {
    mc_stream *stream = r->stream;
    uint64_t since = stream->request_complete_us == 0 ? stream->start_us : stream->request_complete_us;
    mc_cluster_count_response(r->cluster, stream->proxy->slab, t->head.status, stream->internal,
                              (mc_loop_now_us(stream->proxy->loop) - since) / 1000);
}

static void on_complete(mc_attempt *attempt) {
    try *t = try_of(attempt);
    router *r = t->owner;
    mc_stream *stream = r->stream;
    if (t->head.end_stream && retry_response(r, t)) {
        drop_try(r);
        schedule_retry(r);
        return;
    }
    count_response(r, t);
    drop_try(r);
    mc_retry_stop(&r->retry);
    mc_timer_cancel(stream->proxy->loop, &r->timeout);
    if (t->head.end_stream) {
        (void)forward_headers(r, t, true);
    } else if (stream->response_trailers != NULL) {
        mc_filter_encode_trailers(r->filter, stream->response_trailers);
    } else {
        mc_filter_encode_data(r->filter, MC_SLICE_NONE, true);
    }
}

static void on_reset(mc_attempt *attempt, mc_reset_reason reason) {
    router *r = try_of(attempt)->owner;
    R_COUNT(r, upstream_rq_rx_reset);
    try_failed(r, reason);
}

static void on_high(mc_attempt *attempt) {
    try *t = try_of(attempt);
    if (!t->blocked) {
        t->blocked = true;
        mc_filter_decode_pause(t->owner->filter);
    }
}

static void on_low(mc_attempt *attempt) {
    try *t = try_of(attempt);
    if (t->blocked) {
        t->blocked = false;
        mc_filter_decode_resume(t->owner->filter);
    }
}

static const mc_attempt_events attempt_events = {
    .on_ready = on_ready,
    .on_failure = on_failure,
    .on_begin = on_begin,
    .on_headers = on_headers,
    .on_body = on_body,
    .on_trailers = on_trailers,
    .on_complete = on_complete,
    .on_reset = on_reset,
    .on_high = on_high,
    .on_low = on_low,
};

/* --- starting ----------------------------------------------------------------------------------------------------------------------- */

static bool tried_before(void *ctx, const mc_host *host) {
    const router *r = ctx;
    for (uint32_t i = 0; i < r->tried_count && i < MAX_TRIED; i++) {
        if (r->tried[i] == host) {
            return true;
        }
    }
    return false;
}

static bool set_attempt_headers(router *r, const mc_host *host) { /* RF-29 */
    mc_stream *stream = r->stream;
    char digits[20];
    if (stream->match.route->auto_host_rewrite && host->hostname.n > 0 && /* RT-34 */
        mc_route_rewrite_host(stream->match.route, &stream->request, host->hostname,
                              stream->hcm->suppress_envoy_headers) != MC_OK) {
        return false;
    }
    if (!stream->match.virtual_host->include_attempt_count_request) {
        return true;
    }
    size_t n = mc_format_u64(digits, stream->attempts);
    return mc_headers_set_known(&stream->request, MC_H_X_ENVOY_ATTEMPT_COUNT, mc_slice_of(digits, n)) == MC_OK;
}

static mc_host *choose_host(router *r) {
    const mc_retry_policy *policy = r->retry.policy;
    r->lb.now_ms = mc_loop_now_ms(r->stream->proxy->loop);
    if (r->tried_count > 0 && policy != NULL && policy->avoid_previous_hosts) { /* RF-26 */
        r->lb.attempts = policy->host_selection_retry_max_attempts;
        r->lb.refuse = tried_before;
        r->lb.ctx = r;
    }
    return mc_upstream_choose(r->upstream, &r->lb);
}

static void start_try(router *r) {
    mc_stream *stream = r->stream;
    mc_host *host = choose_host(r);
    if (host == NULL) { /* RF-5 */
        reply_failure(r, &(mc_reply){.status = 503,
                                     .body = MC_SLICE_INIT("no healthy upstream"),
                                     .details = "no_healthy_upstream",
                                     .flags = MC_FLAG(UH)});
        return;
    }
    try *t = mc_arena_zalloc(&stream->arena, sizeof *t);
    mc_pool *pool = mc_upstream_pool(r->upstream, host);
    stream->attempts += stream->attempts < UINT8_MAX;
    if (t == NULL || pool == NULL || !set_attempt_headers(r, host)) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return;
    }
    r->tried[r->tried_count++ % MAX_TRIED] = host;
    t->owner = r;
    t->host = mc_host_ref(host);
    t->attempt.events = &attempt_events;
    t->attempt.method = mc_headers_get_known(&stream->request, MC_H_METHOD);
    r->try = t;
    stream->upstream_address = host->address;
    mc_status status = mc_pool_start(pool, &t->attempt);
    if (status == MC_OK) {
        write_request(r, t);
    } else if (status == MC_ELIMIT) {
        try_failed(r, MC_RESET_OVERFLOW);
    } else if (status != MC_AGAIN) {
        try_failed(r, MC_RESET_LOCAL_CONNECTION_FAILURE);
    }
}

/* A try without an answer so far, on a connection. */
static void count_timeout(router *r) {
    if (r->try->ready && !r->response_started) {
        outcome(r, r->try, MC_OUTLIER_TIMEOUT, 504);
    }
}

static void timed_out(router *r, const char *details) {
    mc_stream *stream = r->stream;
    if (r->try != NULL) {
        mc_counter_inc(stream->proxy->slab, r->try->host->stats.rq_timeout);
        count_timeout(r);
    }
    cancel_try(r);
    mc_retry_stop(&r->retry);
    mc_timer_cancel(stream->proxy->loop, &r->backoff);
    if (r->response_started) {
        mc_stream_reset(stream, MC_FLAG(UT), details);
        return;
    }
    bool alternative = mc_headers_has(&stream->request, MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_ALT_RESPONSE);
    reply_failure(r, &(mc_reply){.status = alternative ? 204 : 504,
                                 .body = alternative ? MC_SLICE_NONE : MC_SLICE("upstream request timeout"),
                                 .details = details,
                                 .flags = MC_FLAG(UT)});
}

static void timeout_fired(mc_timer *timer) {
    router *r = MC_CONTAINER(timer, router, timeout);
    R_COUNT(r, upstream_rq_timeout);
    timed_out(r, "response_timeout");
}

static void per_try_fired(mc_timer *timer) {
    router *r = MC_CONTAINER(timer, router, per_try);
    R_COUNT(r, upstream_rq_per_try_timeout);
    if (!r->response_started) {
        mc_counter_inc(r->stream->proxy->slab, r->try->host->stats.rq_timeout);
        mc_retry_verdict verdict = mc_retry_reset(&r->retry, MC_RESET_LOCAL_RESET, true); /* RF-22 */
        r->stream->flags |= verdict_flag(verdict);
        if (verdict == MC_RETRY_YES) {
            count_timeout(r);
            cancel_try(r);
            schedule_retry(r);
            return;
        }
    }
    timed_out(r, "upstream_per_try_timeout");
}

/* RF-11, RF-12: header overrides are read and removed. */
static uint64_t take_timeout_header(mc_headers *headers, mc_header_id id, uint64_t value) {
    if (mc_headers_has(headers, id)) {
        uint64_t given;
        if (mc_slice_u64(mc_headers_get_known(headers, id), &given) == MC_OK) {
            value = given;
        }
        mc_headers_remove_known(headers, id);
    }
    return value;
}

static mc_status set_timeouts(router *r) {
    mc_stream *stream = r->stream;
    const mc_route *route = stream->match.route;
    const mc_retry_policy *policy = route->retry_policy;
    mc_headers *headers = &stream->request;
    r->timeout_ms = route->has_max_stream_duration ? 0 : route->timeout_ms; /* RF-10 */
    r->timeout_ms = take_timeout_header(headers, MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS, r->timeout_ms);
    r->per_try_ms = take_timeout_header(headers, MC_H_X_ENVOY_UPSTREAM_RQ_PER_TRY_TIMEOUT_MS,
                                        policy == NULL ? 0 : policy->per_try_timeout_ms);
    if (r->timeout_ms != 0 && r->per_try_ms >= r->timeout_ms) {
        r->per_try_ms = 0;
    }
    uint64_t expected = r->per_try_ms != 0 ? r->per_try_ms : r->timeout_ms; /* RF-13 */
    if (stream->hcm->suppress_envoy_headers) {
        return MC_OK;
    }
    if (expected == 0) {
        mc_headers_remove_known(headers, MC_H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS);
        return MC_OK;
    }
    char digits[20];
    return mc_headers_set_known(headers, MC_H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS,
                                mc_slice_of(digits, mc_format_u64(digits, expected)));
}

static mc_status set_hash(router *r) {
    mc_stream *stream = r->stream;
    if (stream->match.route->hash_policy_count == 0) {
        return MC_OK;
    }
    mc_route_request request = {.headers = &stream->request,
                                .random = stream->random,
                                .remote = &stream->remote,
                                .local = mc_downstream_local(stream->downstream),
                                .arena = &stream->arena};
    mc_status status = mc_route_hash(stream->match.route, &request, &r->hash);
    r->lb.has_hash = r->hash.has_hash;
    r->lb.hash = r->hash.hash;
    return status;
}

static mc_status prepare(router *r) {
    mc_stream *stream = r->stream;
    mc_route_request request = {.headers = &stream->request,
                                .random = stream->random,
                                .remote = &stream->remote,
                                .local = mc_downstream_local(stream->downstream),
                                .arena = &stream->arena};
    mc_status status = set_timeouts(r);
    mc_retry_init(&r->retry, stream->match.route->retry_policy, &stream->request, r->cluster, stream->proxy->slab);
    if (status == MC_OK) {
        status = mc_route_finalize_request(stream->hcm->routes, &stream->match, &request, &stream->request,
                                           stream->hcm->suppress_envoy_headers);
    }
    return status == MC_OK ? set_hash(r) : status;
}

static router *router_new(mc_filter *filter, mc_upstream *upstream) {
    mc_stream *stream = mc_filter_stream(filter);
    router *r = mc_arena_zalloc(&stream->arena, sizeof *r);
    if (r != NULL) {
        r->filter = filter;
        r->stream = stream;
        r->upstream = upstream;
        r->cluster = upstream->cluster;
        r->timeout.fire = timeout_fired;
        r->per_try.fire = per_try_fired;
        r->backoff.fire = backoff_fired;
        mc_buffer_init(&r->body, mc_net_chunks(stream->proxy->net));
        mc_upstream_hold(upstream);
        mc_filter_set_state(filter, r);
    }
    return r;
}

static void request_ended(router *r) {
    r->request_end = true;
    if (r->timeout_ms != 0) {
        mc_timer_arm(r->stream->proxy->loop, &r->timeout, r->timeout_ms);
    }
}

static mc_upstream *find_upstream(mc_stream *stream) {
    mc_proxy *proxy = stream->proxy;
    uint32_t slot = stream->match.cluster_id == MC_NO_CLUSTER ? proxy->find_slot(proxy->ctx, stream->match.cluster)
                                                              : stream->hcm->cluster_slots[stream->match.cluster_id];
    return mc_proxy_upstream(proxy, slot);
}

static void route_to_cluster(mc_filter *filter, bool end_stream) {
    mc_stream *stream = mc_filter_stream(filter);
    mc_upstream *upstream = find_upstream(stream);
    if (upstream == NULL) { /* RF-2 */
        MC_HCM_COUNT(stream, no_cluster);
        mc_stream_reply(stream, &(mc_reply){.status = stream->match.route->cluster_not_found_status,
                                            .details = "cluster_not_found",
                                            .flags = MC_FLAG(NC)});
        return;
    }
    router *r = router_new(filter, upstream);
    if (r == NULL || prepare(r) != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return;
    }
    r->keep_body = mc_retry_active(&r->retry) && r->retry.remaining > 0 && !stream->upgrade;
    if (end_stream) {
        request_ended(r);
    } else if (stream->upgrade && r->timeout_ms != 0) { /* RF-14 */
        mc_timer_arm(stream->proxy->loop, &r->timeout, r->timeout_ms);
    }
    start_try(r);
}

/* --- the filter ------------------------------------------------------------------------------------------------------------------------ */

static mc_filter_status router_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    mc_stream *stream = mc_filter_stream(filter);
    if (stream->route_stale && mc_stream_match_route(stream) != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return MC_FILTER_STOP;
    }
    const mc_route *route = stream->match.route;
    MC_HCM_COUNT(stream, rq_total);
    if (stream->match.tls_redirect || (route != NULL && route->action == MC_ROUTE_REDIRECT)) {
        reply_redirect(stream);
    } else if (route == NULL) { /* RT-3 */
        MC_HCM_COUNT(stream, no_route);
        mc_stream_reply(stream, &(mc_reply){.status = 404, .details = "route_not_found", .flags = MC_FLAG(NR)});
    } else if (route->action == MC_ROUTE_DIRECT_RESPONSE) {
        reply_direct(stream, route->direct_response);
    } else {
        route_to_cluster(filter, end_stream);
    }
    return MC_FILTER_STOP;
}

/* RF-28: too much to keep for a retry. */
static void stop_keeping(router *r) {
    R_COUNT(r, retry_or_shadow_abandoned);
    r->keep_body = false;
    if (r->waiting) {
        mc_stream_reply(r->stream,
                        &(mc_reply){.status = 507,
                                    .body = MC_SLICE_INIT("exceeded request buffer limit while retrying upstream"),
                                    .details = "request_payload_exceeded_retry_buffer_limit"});
        return;
    }
    mc_retry_stop(&r->retry);
    if (r->try != NULL && r->try->ready) {
        mc_net_retire(r->stream->proxy->net, &r->body);
    }
}

static void body_piece(router *r, mc_slice data) {
    const uint32_t limit = r->stream->hcm->buffer_limit;
    const bool ready = r->try != NULL && r->try->ready;
    if (!ready || r->keep_body) {
        if (mc_buffer_append(&r->body, data) != MC_OK) {
            mc_stream_reset(r->stream, MC_FLAG(LR), "out_of_memory");
            return;
        }
    }
    if (ready) {
        write_piece(r->try, data);
    }
    if (limit != 0 && r->body.length > limit) {
        if (r->keep_body) {
            stop_keeping(r);
        }
        if (!ready && !r->body_paused && !r->stream->finished) {
            r->body_paused = true;
            mc_filter_decode_pause(r->filter);
        }
    }
}

static mc_filter_status router_data(mc_filter *filter, mc_slice data, bool end_stream) {
    router *r = mc_filter_get_state(filter);
    if (r == NULL) {
        return MC_FILTER_STOP;
    }
    if (data.n > 0) {
        body_piece(r, data);
    }
    if (end_stream && !r->stream->finished) {
        request_ended(r);
        if (r->try != NULL && r->try->ready) {
            write_end(r->try);
            arm_per_try(r);
        }
    }
    return MC_FILTER_STOP;
}

static mc_filter_status router_trailers(mc_filter *filter, mc_headers *trailers) {
    router *r = mc_filter_get_state(filter);
    if (r != NULL) {
        r->trailers = trailers;
        return router_data(filter, MC_SLICE_NONE, true);
    }
    return MC_FILTER_STOP;
}

static void router_close(mc_filter *filter) {
    router *r = mc_filter_get_state(filter);
    if (r == NULL) {
        return;
    }
    mc_loop *loop = r->stream->proxy->loop;
    cancel_try(r);
    mc_retry_stop(&r->retry);
    mc_timer_cancel(loop, &r->timeout);
    mc_timer_cancel(loop, &r->per_try);
    mc_timer_cancel(loop, &r->backoff);
    mc_net_retire(r->stream->proxy->net, &r->body);
    mc_upstream_release(r->upstream);
    mc_filter_set_state(filter, NULL);
}

static void router_high(mc_filter *filter) {
    router *r = mc_filter_get_state(filter);
    if (r != NULL && r->try != NULL && !r->try->paused && mc_attempt_conn(&r->try->attempt) != NULL) {
        r->try->paused = true;
        R_COUNT(r, upstream_flow_control_paused_reading_total);
        mc_conn_pause_reading(mc_attempt_conn(&r->try->attempt));
    }
}

static void router_low(mc_filter *filter) {
    router *r = mc_filter_get_state(filter);
    if (r != NULL && r->try != NULL && r->try->paused && mc_attempt_conn(&r->try->attempt) != NULL) {
        r->try->paused = false;
        R_COUNT(r, upstream_flow_control_resumed_reading_total);
        mc_conn_resume_reading(mc_attempt_conn(&r->try->attempt));
    }
}

const mc_filter_type mc_router_filter = {
    .name = "envoy.filters.http.router",
    .terminal = true,
    .decode_headers = router_headers,
    .decode_data = router_data,
    .decode_trailers = router_trailers,
    .close = router_close,
    .encode_high = router_high,
    .encode_low = router_low,
};
