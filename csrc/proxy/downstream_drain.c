#include "proxy/downstream_internal.h"

enum { FIRST_REQUEST_MS = 1000 }; /* how long a drain waits for the first request of a new connection */

/* An object, as few connections have one: max_connection_duration; then, while MC_DRAINING, drain_timeout. */
typedef struct lifetime {
    mc_timer timer;
    mc_downstream *owner;
} lifetime;

static const char lifetime_key = 0;

static void duration_fired(mc_timer *timer);

void mc_downstream_set_idle(mc_downstream *d) {
    const uint64_t timeout = mc_downstream_idle_ms(d);
    d->idle_ms = mc_loop_now_ms(d->proxy->loop);
    d->head_pending = false;
    if (timeout != 0 && !mc_timer_armed(&d->timer)) { /* an armed one looks at idle_ms when it fires */
        mc_timer_arm(d->proxy->loop, &d->timer, timeout);
    }
}

void mc_downstream_close_now(mc_downstream *d) {
    d->closing = true;
    mc_conn_abort(&d->conn, MC_CLOSE_LOCAL);
}

void mc_downstream_close_after_flush(mc_downstream *d, bool clean) {
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

void mc_downstream_unlimit(mc_downstream *d) {
    lifetime *limit = mc_downstream_find(d, &lifetime_key);
    if (limit != NULL) {
        mc_timer_cancel(d->proxy->loop, &limit->timer);
    }
}

static void drain_ended(mc_downstream *d) {
    d->drain = MC_DRAIN_CLOSING;
    if (d->stream == NULL) {
        mc_downstream_close_after_flush(d, false);
    } else {
        d->stream->close_connection = true;
    }
}

void mc_downstream_start_drain(mc_downstream *d, const char *reason) {
    if (!d->used) {
        d->local_reason = reason;
        mc_downstream_unlimit(d);
        d->closing = true;
        mc_conn_close(&d->conn, true);
    } else if (d->drain == MC_DRAIN_NONE) {
        d->drain = MC_DRAINING;
        const mc_hcm *hcm = d->pin->hcm;
        if (mc_downstream_limit(
                d, mc_random_lengthen(mc_loop_random(d->proxy->loop), hcm->drain_ms, hcm->drain_jitter)) != MC_OK) {
            drain_ended(d);
        }
    }
}

/* LIS-16. */
static bool sent_away(const mc_downstream *d) { return mc_proxy_health_failed(d->proxy) && !d->source->modify_only; }

bool mc_downstream_ends(mc_downstream *d) {
    if (d->drain == MC_DRAIN_NONE && MC_UNLIKELY(d->source->overload != NULL) &&
        mc_downstream_acts(d, MC_OVERLOAD_DISABLE_HTTP_KEEPALIVE)) {
        MC_DOWNSTREAM_COUNT(d, downstream_cx_overload_disable_keepalive);
        MC_DOWNSTREAM_COUNT(d, downstream_cx_drain_close);
        mc_downstream_start_drain(d, NULL);
    }
    if (d->drain == MC_DRAIN_NONE && MC_UNLIKELY(d->leaving || d->proxy->draining || sent_away(d))) {
        MC_DOWNSTREAM_COUNT(d, downstream_cx_drain_close);
        d->drain = MC_DRAIN_CLOSING;
    }
    return d->drain != MC_DRAIN_NONE;
}

static void headers_timeout(mc_downstream *d) {
    MC_DOWNSTREAM_COUNT(d, downstream_rq_header_timeout);
    if (d->stream != NULL) {
        mc_stream_reply(d->stream, &(mc_reply){.status = 408,
                                               .body = MC_SLICE_INIT("request header timeout"),
                                               .details = "request_header_timeout"});
    } else {
        mc_downstream_close_now(d);
    }
}

void mc_downstream_timer_fired(mc_timer *timer) {
    mc_downstream *d = MC_CONTAINER(timer, mc_downstream, timer);
    uint64_t now = mc_loop_now_ms(d->proxy->loop), timeout = mc_downstream_idle_ms(d);
    if (d->closing && d->conn.out.length > 0 && d->conn.tx_bytes != d->tx_counted) { /* a slow reader, but it reads */
        mc_downstream_count_tx(d);
        mc_timer_arm(d->proxy->loop, timer, d->pin->hcm->delayed_close_ms);
    } else if (d->closing) {
        MC_DOWNSTREAM_COUNT(d, downstream_cx_delayed_close_timeout);
        d->local_reason = "triggered_delayed_close_timeout";
        mc_conn_abort(&d->conn, MC_CLOSE_LOCAL);
    } else if (d->head_pending) {
        headers_timeout(d);
    } else if (d->stream == NULL && d->leaving) {
        mc_downstream_close_after_flush(d, false);
    } else if (d->stream == NULL && now - d->idle_ms >= timeout) {
        MC_DOWNSTREAM_COUNT(d, downstream_cx_idle_timeout);
        mc_downstream_start_drain(d, "on_idle_timeout");
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
    MC_DOWNSTREAM_COUNT(d, downstream_cx_max_duration_reached);
    if (d->pin->hcm->http1_safe_max_duration && d->used) {
        d->soft_drain = true;
        MC_DOWNSTREAM_GAUGE(d, downstream_cx_http1_soft_drain, 1);
    } else {
        mc_downstream_start_drain(d, "duration_timeout");
    }
}

/* Who has just connected is about to ask: to close now would cost a request that no client may repeat by itself. */
static void drain_one(mc_downstream *d, bool force) {
    d->leaving = true;
    if (force) {
        mc_downstream_close_now(d);
    } else if (d->stream == NULL && d->requests > 0) {
        mc_downstream_close_after_flush(d, false);
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
