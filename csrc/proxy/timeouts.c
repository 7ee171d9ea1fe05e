/* Time limits of a request and of its tries (RF-10 to RF-16). */
#include "http/grpc.h"
#include "proxy/router_internal.h"

/* max_grpc_timeout, which only counts without max_stream_duration. */
static bool limits_grpc(const mc_router *r) {
    const mc_route *route = r->stream->match.route;
    return r->grpc && !route->has_max_stream_duration && route->has_grpc_timeout_max;
}

static uint64_t route_timeout(const mc_router *r) { /* RF-10 */
    const mc_route *route = r->stream->match.route;
    if (route->has_max_stream_duration) {
        return 0;
    }
    if (MC_LIKELY(!limits_grpc(r))) {
        return route->timeout_ms;
    }
    const uint64_t max = route->grpc_timeout_max_ms;
    uint64_t ms;
    if (mc_grpc_timeout_parse(mc_headers_get_known(&r->stream->request, MC_H_GRPC_TIMEOUT), &ms) != MC_OK) {
        ms = 0;
    }
    if (route->has_grpc_timeout_offset && route->grpc_timeout_offset_ms < ms) {
        ms -= route->grpc_timeout_offset_ms;
    }
    return max != 0 && (ms == 0 || ms > max) ? max : ms;
}

/* A number that a header gives; false when there is none. */
static bool header_number(const mc_headers *headers, mc_header_id id, uint64_t *out) {
    return mc_headers_has(headers, id) && mc_slice_number(mc_headers_get_known(headers, id), UINT64_MAX, out) == MC_OK;
}

static void take_number(mc_headers *headers, mc_header_id id, uint64_t *out) {
    if (mc_headers_has(headers, id)) {
        (void)header_number(headers, id, out);
        mc_headers_remove_known(headers, id);
    }
}

static void read_hedging(mc_router *r) { /* RF-16 */
    const mc_hedge_policy *policy = r->stream->match.route->hedge_policy;
    mc_headers *headers = &r->stream->request;
    r->hedge = policy != NULL && policy->hedge_on_per_try_timeout;
    if (mc_headers_has(headers, MC_H_X_ENVOY_HEDGE_ON_PER_TRY_TIMEOUT)) {
        mc_slice value = mc_headers_get_known(headers, MC_H_X_ENVOY_HEDGE_ON_PER_TRY_TIMEOUT);
        r->hedge = mc_slice_eq(value, MC_SLICE("true")) || (r->hedge && !mc_slice_eq(value, MC_SLICE("false")));
        mc_headers_remove_known(headers, MC_H_X_ENVOY_HEDGE_ON_PER_TRY_TIMEOUT);
    }
}

mc_status mc_router_announce_timeout(mc_router *r, uint64_t elapsed_ms) {
    mc_headers *headers = &r->stream->request;
    const uint64_t whole = r->timeout_ms;
    uint64_t expected = r->hedge || r->per_try_ms == 0 ? whole : r->per_try_ms;
    if (expected == 0) {
        return MC_OK;
    }
    if (whole > 0) {
        const uint64_t left = elapsed_ms >= whole ? 1 : whole - elapsed_ms; /* 0 would be no limit */
        expected = elapsed_ms >= whole || left < expected ? left : expected;
    }
    mc_status status = MC_OK;
    if (!r->options->suppress_envoy_headers) {
        char digits[20];
        status = mc_headers_set_known(headers, MC_H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS,
                                      mc_slice_of(digits, mc_format_u64(digits, expected)));
    }
    if (MC_LIKELY(!limits_grpc(r)) || status != MC_OK) {
        return status;
    }
    char text[MC_GRPC_TIMEOUT_TEXT];
    return mc_headers_set_known(headers, MC_H_GRPC_TIMEOUT, mc_slice_of(text, mc_grpc_timeout_write(expected, text)));
}

mc_status mc_router_read_timeouts(mc_router *r) {
    mc_headers *headers = &r->stream->request;
    const mc_retry_policy *policy = r->stream->match.route->retry_policy;
    read_hedging(r);
    r->timeout_ms = route_timeout(r);
    r->timeout_status = 504;
    r->duration_ms = r->cluster->max_stream_duration_ms;
    if (policy != NULL) {
        r->per_try_ms = policy->per_try_timeout_ms;
        r->per_try_idle_ms = policy->per_try_idle_timeout_ms;
    }
    if (!r->options->respect_expected_timeout || !mc_headers_has(headers, MC_H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS)) {
        take_number(headers, MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS, &r->timeout_ms); /* RF-11 */
    } else {
        (void)header_number(headers, MC_H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS, &r->timeout_ms);
    }
    take_number(headers, MC_H_X_ENVOY_UPSTREAM_RQ_PER_TRY_TIMEOUT_MS, &r->per_try_ms); /* RF-12 */
    take_number(headers, MC_H_X_ENVOY_UPSTREAM_STREAM_DURATION_MS, &r->duration_ms);   /* RF-15 */
    if (r->timeout_ms != 0 && r->per_try_ms >= r->timeout_ms) {
        r->per_try_ms = 0;
    }
    if (mc_headers_has(headers, MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_ALT_RESPONSE)) { /* RF-14 */
        r->timeout_status = 204; /* the header goes with those of retries */
    }
    return mc_router_announce_timeout(r, 0);
}

/* --- timers ------------------------------------------------------------------------------------------------------------- */

void mc_router_timeout_fired(mc_timer *timer) {
    mc_router *r = MC_CONTAINER(timer, mc_router, timeout);
    MC_LIST_EACH(&r->tries, node) {
        mc_try *t = MC_CONTAINER(node, mc_try, link);
        MC_R_COUNT(r, upstream_rq_timeout);
        mc_router_inc_scopes(r, MC_CODE_TIMEOUT);
        if (t->selected) {
            mc_counter_inc(r->stream->proxy->slab, t->host->stats.rq_timeout);
        }
        if (t->awaiting) {
            t->out_of_budget = true;
            if (!t->timeout_reported) {
                mc_try_report(t, MC_OUTLIER_TIMEOUT, r->timeout_status);
            }
            mc_router_charge_abort(r, r->timeout_status, t);
        }
        mc_try_cancel(t);
    }
    mc_router_reply_timeout(r, "response_timeout");
}

/* RF-16: the slow try goes on, beside it another one starts. */
static void hedge(mc_try *t) {
    mc_router *r = t->router;
    mc_try_report(t, MC_OUTLIER_TIMEOUT, r->timeout_status);
    t->timeout_reported = true;
    if (r->response_started || t->hedged || !r->retry.configured) {
        return;
    }
    mc_retry_verdict verdict = mc_retry_hedge(&r->retry);
    mc_router_flag_verdict(r, verdict);
    if (verdict == MC_RETRY_YES) {
        t->hedged = true;
        mc_router_schedule_retry(r, true);
    }
}

static void try_timed_out(mc_try *t, mc_stat counter, const char *details) {
    mc_router *r = t->router;
    mc_slab *slab = r->stream->proxy->slab;
    if (r->hedge) {
        hedge(t);
        return;
    }
    mc_counter_inc(slab, counter);
    if (t->selected) {
        mc_counter_inc(slab, t->host->stats.rq_timeout);
    }
    mc_attempt_cancel(&t->attempt);
    mc_try_report(t, MC_OUTLIER_TIMEOUT, r->timeout_status);
    if (mc_try_retry_reset(t, MC_RESET_LOCAL_RESET, true)) { /* RF-22 */
        return;
    }
    mc_router_charge_abort(r, r->timeout_status, t);
    mc_try_drop(t);
    mc_router_reply_timeout(r, details);
}

static void per_try_fired(mc_timer *timer) {
    mc_try *t = MC_CONTAINER(timer, mc_try, per_try);
    mc_timer_cancel(t->router->stream->proxy->loop, &t->per_try_idle);
    if (!t->router->response_started) { /* later the timeout of the whole request counts */
        t->flags |= MC_FLAG(UT);
        try_timed_out(t, t->router->cluster->stats.upstream_rq_per_try_timeout, "upstream_per_try_timeout");
    }
}

static void per_try_idle_fired(mc_timer *timer) {
    mc_try *t = MC_CONTAINER(timer, mc_try, per_try_idle);
    mc_timer_cancel(t->router->stream->proxy->loop, &t->per_try);
    t->flags |= MC_FLAG(SI);
    try_timed_out(t, t->router->cluster->stats.upstream_rq_per_try_idle_timeout, "upstream_per_try_idle_timeout");
}

static void duration_fired(mc_timer *timer) { /* RF-15 */
    mc_try *t = MC_CONTAINER(timer, mc_try, duration);
    mc_router *r = t->router;
    MC_R_COUNT(r, upstream_rq_max_duration_reached);
    mc_attempt_cancel(&t->attempt);
    if (mc_try_retry_reset(t, MC_RESET_LOCAL_RESET, false)) {
        return;
    }
    mc_try_drop(t);
    mc_router_reply(r, &(mc_reply){.status = r->stream->request_complete ? 504 : 408,
                                   .body = MC_SLICE_INIT("upstream max stream duration reached"),
                                   .details = "upstream_max_stream_duration_reached",
                                   .flags = MC_FLAG(UMSDR)});
}

static void arm_try_timeouts(mc_try *t) {
    mc_router *r = t->router;
    mc_loop *loop = r->stream->proxy->loop;
    if (r->per_try_ms != 0) {
        t->per_try.fire = per_try_fired;
        mc_timer_arm(loop, &t->per_try, r->per_try_ms);
    }
    if (r->per_try_idle_ms != 0) {
        t->per_try_idle.fire = per_try_idle_fired;
        mc_timer_arm(loop, &t->per_try_idle, r->per_try_idle_ms);
    }
}

static bool has_try_timeouts(const mc_router *r) { return (r->per_try_ms | r->per_try_idle_ms) != 0; }

void mc_try_arm(mc_try *t) {
    const mc_hcm_logs *logs = &t->router->stream->hcm->access;
    if (MC_UNLIKELY(logs->upstream != NULL) && logs->upstream_ms != 0) {
        t->log.fire = mc_try_log_fired;
        mc_timer_arm(t->router->stream->proxy->loop, &t->log, logs->upstream_ms);
    }
    if (MC_UNLIKELY(t->router->websocket) && has_try_timeouts(t->router)) { /* for the handshake */
        arm_try_timeouts(t);
    }
}

void mc_try_ready_timers(mc_try *t) {
    mc_router *r = t->router;
    if (MC_UNLIKELY(r->stream->finished)) {
        return;
    }
    /* Limits of the same length pass in this order. */
    if (MC_UNLIKELY(has_try_timeouts(r)) && r->request_end && t->per_try.fire == NULL && t->per_try_idle.fire == NULL) {
        arm_try_timeouts(t);
    }
    if (MC_UNLIKELY(r->duration_ms != 0) && !mc_timer_armed(&t->duration)) {
        t->duration.fire = duration_fired;
        mc_timer_arm(r->stream->proxy->loop, &t->duration, r->duration_ms);
    }
}

void mc_try_active(mc_try *t) {
    if (MC_UNLIKELY(mc_timer_armed(&t->per_try_idle))) {
        mc_timer_arm(t->router->stream->proxy->loop, &t->per_try_idle, t->router->per_try_idle_ms);
    }
}

void mc_try_disarm(mc_try *t) {
    mc_loop *loop = t->router->stream->proxy->loop;
    mc_timer *const timers[] = {&t->per_try, &t->per_try_idle, &t->duration};
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
        if (MC_UNLIKELY(mc_timer_armed(timers[i]))) {
            mc_timer_cancel(loop, timers[i]);
        }
    }
}

void mc_router_disarm_handshake(mc_router *r, mc_try *t) {
    mc_loop *loop = r->stream->proxy->loop;
    mc_timer_cancel(loop, &r->timeout);
    mc_timer_cancel(loop, &t->per_try);
    mc_timer_cancel(loop, &t->per_try_idle);
}
