#include "http/grpc.h"
#include "proxy/stream_internal.h"

static uint64_t idle_limit(const mc_stream *stream) {
    return mc_overload_timeout(mc_downstream_overload(stream->downstream), MC_SCALED_STREAM_IDLE, stream->idle_ms);
}

static void idle_fired(mc_timer *timer) {
    mc_stream *stream = MC_CONTAINER(timer, mc_stream, idle);
    const uint64_t idle = mc_loop_now_ms(stream->proxy->loop) - stream->last_activity_ms, limit = idle_limit(stream);
    if (idle < limit) { /* HC-36: events only move last_activity_ms */
        mc_timer_arm(stream->proxy->loop, timer, limit - idle);
        return;
    }
    MC_HCM_COUNT(stream, downstream_rq_idle_timeout);
    mc_stream_reply(stream, &(mc_reply){.status = stream->request_complete ? 504 : 408,
                                        .body = MC_SLICE_INIT("stream timeout"),
                                        .details = "stream_idle_timeout",
                                        .flags = MC_FLAG(SI)});
}

static void limit_fired(mc_timer *timer) {
    mc_stream *stream = MC_CONTAINER(timer, mc_stream, limit);
    MC_HCM_COUNT(stream, downstream_rq_timeout);
    mc_stream_reply(stream, &(mc_reply){.status = stream->request_complete ? 504 : 408,
                                        .body = MC_SLICE_INIT("request timeout"),
                                        .details = "request_overall_timeout"});
}

static void duration_fired(mc_timer *timer) {
    mc_stream *stream = MC_CONTAINER(timer, mc_stream, duration);
    MC_HCM_COUNT(stream, downstream_rq_max_duration_reached);
    mc_stream_reply(stream, &(mc_reply){.status = stream->request_complete ? 504 : 408,
                                        .body = MC_SLICE_INIT("downstream duration timeout"),
                                        .details = "max_duration_timeout",
                                        .has_grpc_status = true,
                                        .grpc_status = MC_GRPC_DEADLINE_EXCEEDED});
}

static void log_fired(mc_timer *timer) { /* AL-6 */
    mc_stream *stream = MC_CONTAINER(timer, mc_stream, log);
    mc_stream_log(stream, MC_LOG_DOWNSTREAM_PERIODIC);
    mc_timer_arm(stream->proxy->loop, timer, stream->hcm->access.interval_ms);
}

static void set_idle(mc_stream *stream, uint64_t ms) {
    stream->idle_ms = ms;
    if (ms != 0) {
        mc_timer_arm(stream->proxy->loop, &stream->idle, idle_limit(stream));
    } else {
        mc_timer_cancel(stream->proxy->loop, &stream->idle);
    }
}

void mc_stream_rescale(mc_stream *stream) {
    if (stream->idle_ms != 0 && !stream->finished) {
        const uint64_t idle = mc_loop_now_ms(stream->proxy->loop) - stream->last_activity_ms,
                       limit = idle_limit(stream);
        mc_timer_arm(stream->proxy->loop, &stream->idle, idle < limit ? limit - idle : 0);
    }
}

/* HC-37: what the route makes of grpc-timeout; false: no limit is set by it. */
static bool grpc_limit(const mc_stream *stream, uint64_t *ms) {
    const mc_route *route = stream->match.route;
    mc_slice text = mc_headers_get_known(&stream->request, MC_H_GRPC_TIMEOUT);
    if (!route->has_max_stream_duration || !route->has_grpc_timeout_max || mc_grpc_timeout_parse(text, ms) != MC_OK) {
        return false;
    }
    if (route->grpc_timeout_max_ms != 0 && *ms > route->grpc_timeout_max_ms) {
        *ms = route->grpc_timeout_max_ms;
    }
    if (route->has_grpc_timeout_offset) {
        *ms = *ms > route->grpc_timeout_offset_ms ? *ms - route->grpc_timeout_offset_ms : 0;
    }
    return true;
}

/* The route's limit of the stream's duration, else the connection manager's; false: none. */
static bool duration_limit(const mc_stream *stream, uint64_t *ms) {
    const mc_route *route = stream->match.route;
    if (grpc_limit(stream, ms)) {
        return true;
    }
    *ms = route->has_stream_duration ? route->max_stream_duration_ms : stream->hcm->max_stream_duration_ms;
    return *ms != 0;
}

/* HC-37: tells a gRPC upstream how long it has. */
static mc_status announce_duration(mc_stream *stream, bool limited, uint64_t ms) {
    mc_headers *headers = &stream->request;
    if (!stream->match.route->has_max_stream_duration || !mc_grpc_request(headers)) {
        return MC_OK;
    }
    if (!limited) {
        mc_headers_remove_known(headers, MC_H_GRPC_TIMEOUT);
        return MC_OK;
    }
    char text[MC_GRPC_TIMEOUT_TEXT];
    return mc_headers_set_known(headers, MC_H_GRPC_TIMEOUT, mc_slice_of(text, mc_grpc_timeout_write(ms, text)));
}

static mc_status set_duration(mc_stream *stream) {
    mc_loop *loop = stream->proxy->loop;
    uint64_t ms = 0, elapsed = (mc_loop_now_us(loop) - stream->start_us) / 1000;
    const bool limited = duration_limit(stream, &ms), was_limited = mc_timer_armed(&stream->duration);
    if (limited) {
        mc_timer_arm(loop, &stream->duration, ms > elapsed ? ms - elapsed : 0);
    } else {
        mc_timer_cancel(loop, &stream->duration);
    }
    return limited || was_limited ? announce_duration(stream, limited, ms) : MC_OK;
}

mc_status mc_stream_route_timers(mc_stream *stream) {
    const mc_route *route = stream->match.route;
    if (route == NULL || route->action != MC_ROUTE_TO_CLUSTER) {
        return MC_OK;
    }
    if (route->has_idle_timeout) {
        set_idle(stream, route->idle_timeout_ms);
    }
    if (MC_LIKELY(!route->has_max_stream_duration && stream->hcm->max_stream_duration_ms == 0)) {
        return MC_OK;
    }
    return set_duration(stream);
}

void mc_stream_start_timers(mc_stream *stream) {
    const mc_hcm *hcm = stream->hcm;
    mc_loop *loop = stream->proxy->loop;
    stream->idle.fire = idle_fired;
    stream->limit.fire = limit_fired;
    stream->duration.fire = duration_fired;
    stream->log.fire = log_fired;
    if (hcm->request_timeout_ms != 0) {
        mc_timer_arm(loop, &stream->limit, hcm->request_timeout_ms);
    }
    if (MC_UNLIKELY(hcm->access.interval_ms != 0)) {
        mc_timer_arm(loop, &stream->log, hcm->access.interval_ms);
    }
    set_idle(stream, hcm->stream_idle_ms); /* a head that never ends must end too */
    if (hcm->max_stream_duration_ms != 0) {
        mc_timer_arm(loop, &stream->duration, hcm->max_stream_duration_ms);
    }
}

void mc_stream_stop_timers(mc_stream *stream) {
    mc_loop *loop = stream->proxy->loop;
    mc_timer_cancel(loop, &stream->idle);
    mc_timer_cancel(loop, &stream->limit);
    mc_timer_cancel(loop, &stream->duration);
    if (MC_UNLIKELY(stream->hcm->access.interval_ms != 0)) {
        mc_timer_cancel(loop, &stream->log);
    }
}
