#include "proxy/shadow_log.h"

#include "proxy/stream.h"

mc_shadow_log *mc_shadow_log_new(const mc_stream *stream, const mc_headers *request, const mc_cluster *cluster) {
    const mc_hcm *hcm = stream->hcm;
    mc_proxy *proxy = stream->proxy;
    if (MC_LIKELY(hcm->access.upstream == NULL || proxy->log_writer == NULL)) {
        return NULL;
    }
    mc_shadow_log *log = mc_arena_zalloc(request->arena, sizeof *log);
    mc_facts *facts =
        mc_facts_new(request->arena, proxy->loop, mc_loop_now_us(proxy->loop), hcm->keeps_local, hcm->keeps_place);
    if (log == NULL || facts == NULL) {
        return NULL;
    }
    mc_facts_note_cluster(facts, cluster);
    log->pin = mc_hcm_pin_ref(stream->pin);
    log->proxy = proxy;
    log->request = request;
    log->facts = facts;
    log->told = facts->told;
    return log;
}

void mc_shadow_log_try(mc_shadow_log *log, mc_host *host) {
    log->tried = true;
    log->facts->start_us = mc_loop_now_us(log->proxy->loop);
    log->told = mc_facts_begin_try(log->facts, host);
}

uint64_t mc_shadow_log_interval(const mc_shadow_log *log) { return log->pin->hcm->access.upstream_ms; }

static void fill(const mc_shadow_log *log, const mc_span_end *how, mc_stream_info *info) {
    const mc_facts *facts = log->facts;
    mc_loop *loop = log->proxy->loop;
    const uint64_t now_us = mc_loop_now_us(loop);
    mc_stream_info_init(info);
    mc_facts_fill(facts, NULL, info);
    info->protocol = info->upstream_protocol;
    info->start_ns = mc_loop_wall_ms(loop) * 1000000 - (now_us - facts->start_us) * 1000;
    info->at.now = (now_us - facts->start_us) * 1000;
    info->request = log->request;
    info->response = how->headers;
    info->response_trailers = how->trailers;
    info->status = how->status;
    info->flags = how->flags;
    info->bytes_sent = log->told->body_sent;
    info->bytes_received = log->told->body_received;
    info->random = mc_loop_random(loop);
    info->stream_id_text = MC_SLICE("");
    info->downstream_close_type = MC_SLICE("Normal");
    info->node = log->pin->hcm->node;
}

void mc_shadow_log_emit(const mc_shadow_log *log, mc_log_type type, const mc_span_end *how) {
    mc_proxy *proxy = log->proxy;
    mc_stream_info info;
    fill(log, how, &info);
    if (type == MC_LOG_UPSTREAM_POOL_READY) {
        info.at.upstream_send_begin = MC_NO_TIME;
    }
    info.log_type = (uint8_t)type;
    const mc_log_port port = {proxy->log_writer, proxy->log_ring, proxy->runtime, info.random};
    mc_access_logs_emit(log->pin->hcm->access.upstream, &info, &port);
}

void mc_shadow_log_ready(const mc_shadow_log *log, const mc_span_end *how) {
    if (log->pin->hcm->access.on_upstream) {
        mc_shadow_log_emit(log, MC_LOG_UPSTREAM_POOL_READY, how);
    }
}

void mc_shadow_log_end(mc_shadow_log *log, const mc_span_end *how) {
    if (log->tried) {
        mc_shadow_log_emit(log, MC_LOG_UPSTREAM_END, how);
    }
    mc_hcm_pin_unref(log->pin);
}
