#include "base/alloc.h"
#include "proxy/downstream_internal.h"
#include "proxy/filters/rbac.h"

enum { FIRST_REQUEST_MS = 1000 }; /* how long a drain waits for the first request of a new connection */

typedef struct mc_downstream_object object;

/* An object, as few connections have one: max_connection_duration; then, while MC_DRAINING, drain_timeout. */
typedef struct lifetime {
    mc_timer timer;
    mc_downstream *owner;
} lifetime;

#define COUNT_AGENT(d, name)  mc_counter_inc((d)->proxy->slab, (d)->pin->hcm->stats.user_agents[(d)->agent].name)
#define COUNT(d, name)        mc_counter_inc((d)->proxy->slab, (d)->pin->hcm->stats.name)
#define GAUGE(d, name, delta) mc_gauge_add((d)->proxy->slab, (d)->pin->hcm->stats.name, delta)

const mc_address *mc_downstream_peer(const mc_downstream *downstream) { return &downstream->peer; }
const mc_address *mc_downstream_local(const mc_downstream *downstream) { return &downstream->local; }
mc_conn *mc_downstream_conn(mc_downstream *downstream) { return &downstream->conn; }
uint64_t mc_downstream_consumed(const mc_downstream *downstream) { return downstream->consumed; }
const mc_tls_info *mc_downstream_tls(const mc_downstream *downstream) { return NULL; }
mc_overload *mc_downstream_overload(const mc_downstream *downstream) { return downstream->source->overload; }

static void *find_object(mc_downstream *d, const void *key) {
    for (object *at = d->objects; at != NULL; at = at->next) {
        if (at->key == key) {
            return at->data;
        }
    }
    return NULL;
}

void *mc_downstream_object(mc_downstream *d, const void *key, size_t size) {
    void *found = find_object(d, key);
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

/* What was written since the last time; writes of this very callback count next time. */
static void count_tx(mc_downstream *d) {
    mc_counter_add(d->proxy->slab, d->pin->hcm->stats.downstream_cx_tx_bytes_total, d->conn.tx_bytes - d->tx_counted);
    d->tx_counted = d->conn.tx_bytes;
}

/* What the connection holds of what it read, and of what it has to write. */
static void tell_buffered(mc_downstream *d) {
    const size_t rx = d->conn.in.length, tx = d->conn.out.length;
    if (MC_UNLIKELY(rx != d->rx_told || tx != d->tx_told)) {
        GAUGE(d, downstream_cx_rx_bytes_buffered, (int64_t)rx - (int64_t)d->rx_told);
        GAUGE(d, downstream_cx_tx_bytes_buffered, (int64_t)tx - (int64_t)d->tx_told);
        d->rx_told = rx;
        d->tx_told = tx;
    }
}

/* The first request tells what the client is; the statistics know two kinds (section 8). */
static void count_agent(mc_downstream *d, mc_slice agent) {
    if (!d->agent_known) {
        d->agent_known = true;
        d->agent = mc_slice_search(agent, MC_SLICE("iOS")) != SIZE_MAX       ? MC_AGENT_IOS
                   : mc_slice_search(agent, MC_SLICE("android")) != SIZE_MAX ? MC_AGENT_ANDROID
                                                                             : MC_AGENT_NONE;
        if (d->agent != MC_AGENT_NONE) {
            COUNT_AGENT(d, downstream_cx_total);
        }
    }
    if (MC_UNLIKELY(d->agent != MC_AGENT_NONE)) {
        COUNT_AGENT(d, downstream_rq_total);
    }
}

/* --- timers ------------------------------------------------------------------------------------------------------------- */

static void set_idle(mc_downstream *d) {
    const uint64_t timeout = mc_downstream_idle_ms(d);
    d->idle_ms = mc_loop_now_ms(d->proxy->loop);
    d->head_pending = false;
    if (timeout != 0 && !mc_timer_armed(&d->timer)) { /* an armed one looks at idle_ms when it fires */
        mc_timer_arm(d->proxy->loop, &d->timer, timeout);
    }
}

static void close_now(mc_downstream *d) {
    d->closing = true;
    mc_conn_abort(&d->conn, MC_CLOSE_LOCAL);
}

/* Everything written leaves, FIN, then the peer has delayed_close_timeout to close (rules section 1.5). A client that asked for
 * the end and whose request came whole (`clean`) sends no more that a close could meet, and is not waited for. */
static void close_after_flush(mc_downstream *d, bool clean) {
    uint64_t delay = d->pin->hcm->delayed_close_ms;
    if (d->closing) {
        return;
    }
    d->closing = true;
    d->local_reason = "deferred_close_on_drained_connection";
    mc_timer_cancel(d->proxy->loop, &d->timer);
    if (delay == 0 || (clean && !d->conn.readable)) {
        mc_conn_close(&d->conn, true);
    } else {
        mc_conn_close_linger(&d->conn);
    }
    if (delay != 0 && d->conn.state != MC_CONN_CLOSED) {
        mc_timer_arm(d->proxy->loop, &d->timer, delay);
    }
}

static void duration_fired(mc_timer *timer);

static const char lifetime_key = 0;

mc_status mc_downstream_limit(mc_downstream *d, uint64_t delay_ms) {
    lifetime *limit = mc_downstream_object(d, &lifetime_key, sizeof *limit);
    if (limit == NULL) {
        return MC_ENOMEM;
    }
    limit->owner = d;
    limit->timer.fire = duration_fired;
    mc_timer_arm(d->proxy->loop, &limit->timer, delay_ms);
    return MC_OK;
}

static void unlimit_lifetime(mc_downstream *d) {
    lifetime *limit = find_object(d, &lifetime_key);
    if (limit != NULL) {
        mc_timer_cancel(d->proxy->loop, &limit->timer);
    }
}

static void drain_ended(mc_downstream *d) {
    d->drain = MC_DRAIN_CLOSING;
    if (d->stream == NULL) {
        close_after_flush(d, false);
    } else {
        d->stream->close_connection = true;
    }
}

/* HTTP/1 has no notice to send, so the client may still use the connection until drain_timeout has passed. */
static void start_drain(mc_downstream *d, const char *reason) {
    if (!d->used) {
        d->local_reason = reason;
        unlimit_lifetime(d);
        d->closing = true;
        mc_conn_close(&d->conn, true);
    } else if (d->drain == MC_DRAIN_NONE) {
        d->drain = MC_DRAINING;
        if (mc_downstream_limit(d, d->pin->hcm->drain_ms) != MC_OK) {
            drain_ended(d);
        }
    }
}

static bool overload_acts(mc_downstream *d, mc_overload_id id) {
    return mc_overload_acts(d->source->overload, id, mc_loop_random(d->proxy->loop), d->proxy->slab);
}

static bool is_overloaded(mc_downstream *d) {
    if (!overload_acts(d, MC_OVERLOAD_SHED_DECODE_HEADERS) && !overload_acts(d, MC_OVERLOAD_STOP_ACCEPTING_REQUESTS)) {
        return false;
    }
    COUNT(d, downstream_rq_overload_close);
    return true;
}

/* LIS-16. */
static bool sent_away(const mc_downstream *d) { return mc_proxy_health_failed(d->proxy) && !d->source->modify_only; }

bool mc_downstream_ends(mc_downstream *d) {
    if (d->drain == MC_DRAIN_NONE && MC_UNLIKELY(d->source->overload != NULL) &&
        overload_acts(d, MC_OVERLOAD_DISABLE_HTTP_KEEPALIVE)) {
        COUNT(d, downstream_cx_overload_disable_keepalive);
        COUNT(d, downstream_cx_drain_close);
        start_drain(d, NULL);
    }
    if (d->drain == MC_DRAIN_NONE && MC_UNLIKELY(d->leaving || d->proxy->draining || sent_away(d))) {
        COUNT(d, downstream_cx_drain_close);
        d->drain = MC_DRAIN_CLOSING;
    }
    return d->drain != MC_DRAIN_NONE;
}

static void headers_timeout(mc_downstream *d) {
    COUNT(d, downstream_rq_header_timeout);
    if (d->stream != NULL) {
        mc_stream_reply(d->stream, &(mc_reply){.status = 408,
                                               .body = MC_SLICE_INIT("request header timeout"),
                                               .details = "request_header_timeout"});
    } else {
        close_now(d);
    }
}

static void timer_fired(mc_timer *timer) {
    mc_downstream *d = MC_CONTAINER(timer, mc_downstream, timer);
    uint64_t now = mc_loop_now_ms(d->proxy->loop), timeout = mc_downstream_idle_ms(d);
    if (d->closing && d->conn.out.length > 0 && d->conn.tx_bytes != d->tx_counted) { /* a slow reader, but it reads */
        count_tx(d);
        mc_timer_arm(d->proxy->loop, timer, d->pin->hcm->delayed_close_ms);
    } else if (d->closing) {
        COUNT(d, downstream_cx_delayed_close_timeout);
        d->local_reason = "triggered_delayed_close_timeout";
        mc_conn_abort(&d->conn, MC_CLOSE_LOCAL);
    } else if (d->head_pending) {
        headers_timeout(d);
    } else if (d->stream == NULL && d->leaving) {
        close_after_flush(d, false);
    } else if (d->stream == NULL && now - d->idle_ms >= timeout) {
        COUNT(d, downstream_cx_idle_timeout);
        start_drain(d, "on_idle_timeout");
    } else if (d->stream == NULL) {
        mc_timer_arm(d->proxy->loop, timer, timeout - (now - d->idle_ms));
    }
}

static void duration_fired(mc_timer *timer) {
    mc_downstream *d = MC_CONTAINER(timer, lifetime, timer)->owner;
    if (d->drain == MC_DRAINING) {
        drain_ended(d);
        return;
    }
    COUNT(d, downstream_cx_max_duration_reached);
    if (d->pin->hcm->http1_safe_max_duration && d->used) {
        d->soft_drain = true;
        GAUGE(d, downstream_cx_http1_soft_drain, 1);
    } else {
        start_drain(d, "duration_timeout");
    }
}

/* --- codec events --------------------------------------------------------------------------------------------------------- */

/* H1-12: a client that asks for more while two responses have not left. */
static void flooded(mc_downstream *d) {
    mc_counter_inc(d->proxy->slab, d->pin->hcm->stats.http1.response_flood);
    close_after_flush(d, false);
    mc_stream_reset(d->stream, MC_FLAG(DPE), "codec_error:Too_many_responses_queued.");
}

static mc_headers *request_begin(void *ctx) {
    mc_downstream *d = ctx;
    uint64_t timeout = d->pin->hcm->headers_timeout_ms;
    d->stream = mc_stream_open(d, d->proxy, d->source->pin);
    if (d->stream == NULL) {
        return NULL;
    }
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

static mc_status request_headers(void *ctx, const mc_h1_head *head) {
    mc_downstream *d = ctx;
    const mc_hcm *hcm = d->pin->hcm;
    mc_stream *stream = d->stream;
    if (d->head_pending) {
        d->head_pending = false;
        mc_timer_cancel(d->proxy->loop, &d->timer);
    }
    if (hcm->max_requests_per_connection != 0 && d->requests >= hcm->max_requests_per_connection) {
        COUNT(d, downstream_cx_max_requests_reached);
        d->drain = MC_DRAIN_CLOSING;
    }
    MC_FACT(stream, asked, stream->facts, &stream->request);
    if (MC_UNLIKELY(head->dropped > 0)) {
        mc_counter_add(d->proxy->slab, hcm->stats.http1.dropped_headers_with_underscores, head->dropped);
    }
    stream->overloaded = MC_UNLIKELY(d->source->overload != NULL) && is_overloaded(d);
    if (MC_UNLIKELY(stream->overloaded)) {                          /* HC-2, step 5 */
    } else if (head->expect_continue && !hcm->proxy_100_continue) { /* HC-2, step 6 */
        mc_headers_remove_known(&stream->request, MC_H_EXPECT);
        mc_conn_write(&d->conn, MC_SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
        mc_stream_count_response(stream, 100);
    } else if (MC_UNLIKELY(head->version_minor == 0) && !hcm->proxy_100_continue) {
        mc_headers_remove_known(&stream->request, MC_H_EXPECT); /* ignored, RFC 9110 section 10.1.1 */
    }
    if (MC_UNLIKELY(d->soft_drain)) { /* the response under way when it was decided does not end it */
        stream->close_connection = true;
    }
    d->old = head->version_minor == 0;
    if (MC_LIKELY(!stream->overloaded)) {
        count_agent(d, mc_headers_get_known(&stream->request, MC_H_USER_AGENT));
    }
    mc_stream_request_headers(stream, head);
    if (d->stream == stream && stream->upgrade) {
        mc_h1_parser_tunnel(&d->parser);
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

/* There is one, or one is made; false: it could not be. */
static bool begins_stream(mc_downstream *d) {
    if (d->stream == NULL && request_begin(d) == NULL) {
        close_now(d);
    }
    return d->stream != NULL;
}

/* What came is given up. */
static void answer_error(mc_downstream *d, uint16_t status, const char *details) {
    d->stream->late_flags = MC_FLAG(DPE);
    mc_stream_reply(d->stream, &(mc_reply){.status = status, .body = mc_h1_reason(status), .details = details});
}

/* H1-1: a codec error is answered, then the connection closes. */
static void codec_error(mc_downstream *d) {
    const mc_h1_error *error = &d->parser.error;
    COUNT(d, downstream_cx_protocol_error);
    d->protocol_error = true;
    if (error->details != NULL && strcmp(error->details, "http1.unexpected_underscore") == 0) {
        mc_counter_inc(d->proxy->slab, d->pin->hcm->stats.http1.requests_rejected_with_underscores_in_headers);
    }
    if (begins_stream(d)) {
        d->stream->answers_10 = error->http_10;
        answer_error(d, error->reply_code == 0 ? 400 : error->reply_code,
                     error->details == NULL ? "http1.codec_error" : error->details);
    }
}

/* Load shed points before anything of what came is looked at; true: it is dropped (BOOT-17). */
static bool sheds_connection(mc_downstream *d) {
    if (!d->used && overload_acts(d, MC_OVERLOAD_SHED_CODEC)) {
        COUNT(d, downstream_rq_overload_close);
    } else if (!overload_acts(d, MC_OVERLOAD_SHED_GO_AWAY_AND_CLOSE)) {
        return false;
    }
    d->overloaded = true;
    close_after_flush(d, false);
    return true;
}

/* The same for what is about to be parsed: a request is given up as if it were malformed. */
static bool sheds_dispatch(mc_downstream *d) {
    if (!d->told_go_away && overload_acts(d, MC_OVERLOAD_SHED_GO_AWAY)) { /* which HTTP/1 says with its next response */
        d->told_go_away = true;
        start_drain(d, NULL);
    }
    if (!overload_acts(d, MC_OVERLOAD_SHED_HTTP1_DISPATCH)) {
        return false;
    }
    COUNT(d, downstream_rq_overload_close);
    d->overloaded = true;
    if (begins_stream(d)) {
        answer_error(d, 500, "overload");
    }
    return true;
}

/* What is known of a connection by itself. */
static void describe(const mc_downstream *d, mc_stream_info *info) {
    mc_stream_info_init(info);
    info->downstream_remote = info->downstream_direct_remote = &d->peer;
    info->downstream_local = info->downstream_direct_local = &d->local;
    info->downstream_tls = mc_downstream_tls(d);
    info->filter_chain_name = d->pin->hcm->filter_chain_name;
    info->listener_metadata = d->pin->hcm->listener_metadata;
    info->node = d->pin->hcm->node;
    info->listener_direction = d->pin->hcm->direction;
    info->filter_chain_metadata = d->pin->hcm->filter_chain_metadata;
    info->connection_id = d->conn.id;
}

/* An object of connections behind network filters. */
typedef struct admission {
    mc_downstream *owner;
    mc_timer delay;     /* before a denied connection closes */
    const char *denied; /* by what rule; NULL: by none */
    bool asked;         /* all filters were, once */
} admission;

static const char admission_key = 0;

/* NULL: nobody was asked yet. */
static admission *admission_of(mc_downstream *d) {
    return d->pin->hcm->guards == NULL ? NULL : find_object(d, &admission_key);
}

static void delay_fired(mc_timer *timer) { close_now(MC_CONTAINER(timer, admission, delay)->owner); }

/* FL-18: who is denied gets nothing, and is closed at once or after a while. */
static void deny(mc_downstream *d, admission *admission, uint64_t delay_ms) {
    d->local_reason = "rbac_deny_close";
    if (delay_ms == 0) {
        close_now(d);
        return;
    }
    d->closing = true;
    mc_timer_cancel(d->proxy->loop, &d->timer);
    mc_conn_pause_reading(&d->conn);
    admission->owner = d;
    admission->delay.fire = delay_fired;
    mc_timer_arm(d->proxy->loop, &admission->delay, delay_ms);
}

static mc_status ask_guards(mc_downstream *d, admission *admission, mc_arena *arena) {
    const mc_hcm *hcm = d->pin->hcm;
    mc_stream_info info;
    mc_headers none;
    describe(d, &info);
    mc_headers_init(&none, arena);
    mc_route_request request = {.headers = &none,
                                .remote = &d->peer,
                                .local = &d->local,
                                .arena = arena,
                                .info = &info,
                                .runtime = d->proxy->runtime};
    for (uint32_t i = 0; i < hcm->guard_count && admission->denied == NULL; i++) {
        const mc_connection_rbac *guard = &hcm->guards[i];
        if (admission->asked && !guard->continuous) {
            continue;
        }
        MC_TRY(mc_connection_rbac_ask(guard, &info, &request, d->proxy->slab, &admission->denied));
        if (admission->denied != NULL) {
            deny(d, admission, guard->delay_ms);
        }
    }
    admission->asked = true;
    return MC_OK;
}

static bool admits(mc_downstream *d) {
    mc_arena arena;
    admission *admission = mc_downstream_object(d, &admission_key, sizeof *admission);
    mc_arena_init(&arena, &d->proxy->blocks);
    if (admission == NULL || ask_guards(d, admission, &arena) != MC_OK) {
        close_now(d);
    }
    mc_arena_fini(&arena);
    return !d->closing;
}

static size_t downstream_data(mc_conn *conn, mc_slice data) {
    mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    size_t used = 0;
    mc_counter_add(d->proxy->slab, d->pin->hcm->stats.downstream_cx_rx_bytes_total, data.n);
    if (MC_UNLIKELY(d->source->overload != NULL) && !d->closing && sheds_connection(d)) {
        return data.n;
    }
    if (MC_UNLIKELY(d->pin->hcm->guards != NULL) && !d->closing && !admits(d)) {
        return data.n;
    }
    if (MC_UNLIKELY(!d->used)) { /* what is spoken is known by the first bytes */
        d->used = true;
        COUNT(d, downstream_cx_http1_total);
        GAUGE(d, downstream_cx_http1_active, 1);
    }
    while (used < data.n) {
        if (d->closing) {
            return data.n; /* drained until the peer closes too */
        }
        const bool busy = d->stream == NULL ? conn->above_high : d->stream->request_complete && !d->stream->upgrade;
        if (busy) {
            d->keep = true; /* pipelined: wait for the response under way, and for what waits to leave */
            mc_conn_pause_reading(conn);
            return used;
        }
        if (MC_UNLIKELY(d->source->overload != NULL) && sheds_dispatch(d)) {
            return data.n;
        }
        long n = mc_h1_parser_feed(&d->parser, mc_slice_from(data, used));
        if (n < 0) {
            if (d->closing) { /* by the answer to it */
                d->spoke = true;
            } else if (d->parser.error.reply_code != 0) {
                codec_error(d);
            } else { /* no memory for a stream */
                close_now(d);
            }
            return data.n;
        }
        used += (size_t)n;
        d->consumed += (size_t)n;
        d->spoke = true;
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

/* With the request that was kept. */
static void read_on(mc_downstream *d) {
    if (d->keep) {
        d->keep = false;
        mc_conn_resume_reading(&d->conn);
    }
}

static void downstream_drained(mc_conn *conn) {
    mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    tell_buffered(d);
    if (mc_timer_armed(&d->timer) && d->closing) { /* the wait for the peer begins when it has everything */
        mc_timer_arm(d->proxy->loop, &d->timer, d->pin->hcm->delayed_close_ms);
    }
}

static void downstream_high(mc_conn *conn) {
    mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    tell_buffered(d);
    if (d->stream != NULL) {
        mc_stream_write_blocked(d->stream, true);
    }
}

static void downstream_low(mc_conn *conn) {
    mc_downstream *d = MC_CONTAINER(conn, mc_downstream, conn);
    tell_buffered(d);
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

static void count_close(mc_downstream *d, bool active, bool remote) {
    COUNT(d, downstream_cx_destroy);
    if (remote) {
        COUNT(d, downstream_cx_destroy_remote);
    } else {
        COUNT(d, downstream_cx_destroy_local);
    }
    if (active) {
        COUNT(d, downstream_cx_destroy_active_rq);
        if (remote) {
            COUNT(d, downstream_cx_destroy_remote_active_rq);
            if (d->agent != MC_AGENT_NONE) {
                COUNT_AGENT(d, downstream_cx_destroy_remote_active_rq);
            }
        } else {
            COUNT(d, downstream_cx_destroy_local_active_rq);
        }
    }
    GAUGE(d, downstream_cx_active, -1);
    if (d->used) {
        GAUGE(d, downstream_cx_http1_active, -1);
    }
    if (d->soft_drain) {
        GAUGE(d, downstream_cx_http1_soft_drain, -1);
    }
    uint64_t lived = mc_loop_now_ms(d->proxy->loop) - d->conn.opened_us / 1000;
    mc_histogram_record(d->proxy->slab, d->pin->hcm->stats.downstream_cx_length_ms, lived);
    if (d->agent != MC_AGENT_NONE) {
        mc_histogram_record(d->proxy->slab, d->pin->hcm->stats.user_agents[d->agent].downstream_cx_length_ms, lived);
    }
    count_tx(d);
    tell_buffered(d);
    mc_counter_inc(d->proxy->slab, d->source->cx_destroy);
    mc_gauge_add(d->proxy->slab, d->source->cx_active, -1);
    mc_histogram_record(d->proxy->slab, d->source->cx_length_ms, lived);
}

/* The listener's access log tells of connections, not of what was asked on them. */
static void log_connection(mc_downstream *d, mc_close_reason reason) {
    mc_proxy *proxy = d->proxy;
    const mc_loop *loop = proxy->loop;
    mc_stream_info info;
    if (proxy->log_writer == NULL) {
        return;
    }
    const mc_log_port port = {proxy->log_writer, proxy->log_ring, proxy->runtime, mc_loop_random(proxy->loop)};
    const uint64_t lived_us = mc_loop_now_us(loop) - d->conn.opened_us;
    const admission *admission = admission_of(d);
    describe(d, &info);
    info.start_ns = mc_loop_wall_ms(loop) * 1000000 - lived_us * 1000;
    info.at.now = lived_us * 1000;
    if (admission != NULL && admission->denied != NULL) {
        info.connection_termination_details = mc_slice_cstr(admission->denied);
    }
    info.downstream_close_type = reason == MC_CLOSE_RESET ? MC_SLICE("RemoteReset") : MC_SLICE("Normal");
    info.bytes_received = d->conn.rx_bytes;
    info.bytes_sent = d->conn.tx_bytes;
    info.protocol = !d->spoke ? MC_SLICE_NONE : d->old ? MC_SLICE("HTTP/1.0") : MC_SLICE("HTTP/1.1");
    info.downstream_close_reason = d->local_reason == NULL ? MC_SLICE_NONE : mc_slice_cstr(d->local_reason);
    info.flags = (d->protocol_error ? MC_FLAG(DPE) : 0) | (d->overloaded ? MC_FLAG(OM) : 0);
    mc_access_logs_emit(d->pin->hcm->access.connections, &info, &port);
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
    count_close(d, active, remote);
    if (MC_UNLIKELY(d->pin->hcm->access.connections != NULL)) {
        log_connection(d, reason);
    }
    mc_timer_cancel(proxy->loop, &d->timer);
    unlimit_lifetime(d);
    mc_link_unlink(&d->link);
    admission *admission = admission_of(d);
    if (admission != NULL) {
        mc_timer_cancel(proxy->loop, &admission->delay);
    }
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
        COUNT(d, downstream_rq_too_many_premature_resets);
        close_now(d);
    }
}

void mc_downstream_stream_done(mc_downstream *d, mc_stream *stream, bool close) {
    if (d->stream != stream) {
        return;
    }
    d->stream = NULL;
    count_tx(d);
    tell_buffered(d);
    count_premature(d, stream);
    if (stream->reset) { /* the response is not whole: the client must see that */
        if (!d->closing) {
            close_now(d);
        }
        return;
    }
    /* A response that began before the drain could not say close. */
    if (close || d->drain == MC_DRAIN_CLOSING || d->leaving || d->proxy->draining) {
        close_after_flush(d, !stream->head.keep_alive && stream->request_complete);
        return;
    }
    d->response_ends[0] = d->response_ends[1];
    d->response_ends[1] = mc_conn_written(&d->conn);
    set_idle(d);
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
        d->timer.fire = timer_fired;
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
    COUNT(d, downstream_cx_total);
    GAUGE(d, downstream_cx_active, 1);
    mc_counter_inc(proxy->slab, d->source->cx_total);
    mc_gauge_add(proxy->slab, d->source->cx_active, 1);
    set_idle(d);
    if (d->pin->hcm->max_connection_duration_ms != 0 && mc_downstream_limit(d, mc_downstream_max_ms(d)) != MC_OK) {
        close_now(d);
    }
}

mc_status mc_downstream_accept(mc_proxy *proxy, mc_downstream_source *source, int fd, const mc_address *peer,
                               const mc_address *local) {
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

/* --- the room's context --------------------------------------------------------------------------------------------------------- */

mc_status mc_proxy_init(mc_proxy *proxy, mc_net *net, mc_slab *slab, uint32_t record_capacity) {
    memset(proxy, 0, sizeof *proxy);
    proxy->loop = mc_net_loop(net);
    proxy->net = net;
    proxy->slab = slab;
    mc_block_pool_init(&proxy->blocks, 256);
    mc_list_init(&proxy->connections);
    return mc_record_ring_init(&proxy->records, record_capacity);
}

void mc_proxy_fini(mc_proxy *proxy) {
    mc_record_ring_fini(&proxy->records);
    mc_span_ring_fini(&proxy->spans);
    mc_block_pool_fini(&proxy->blocks);
}

/* Who has just connected is about to ask: to close now would cost a request that no client may repeat by itself. */
static void drain_one(mc_downstream *d, bool force) {
    d->leaving = true;
    if (force) {
        close_now(d);
    } else if (d->stream == NULL && d->requests > 0) {
        close_after_flush(d, false);
    } else if (d->stream == NULL && !d->closing) {
        mc_timer_arm(d->proxy->loop, &d->timer, FIRST_REQUEST_MS);
    }
}

void mc_downstream_drain(mc_proxy *proxy, mc_downstream_source *source) {
    MC_LIST_EACH(&proxy->connections, node) {
        mc_downstream *d = MC_CONTAINER(node, mc_downstream, link);
        if (d->source == source) {
            drain_one(d, false);
        }
    }
}

void mc_proxy_drain(mc_proxy *proxy, bool force) {
    proxy->draining = true;
    MC_LIST_EACH(&proxy->connections, node) { drain_one(MC_CONTAINER(node, mc_downstream, link), force); }
    if (proxy->connection_count == 0 && proxy->on_idle != NULL) {
        proxy->on_idle(proxy->ctx);
    }
}
