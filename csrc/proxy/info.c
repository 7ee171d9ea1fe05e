/* What is known of a stream, for matchers, format programs and filters. */
#include "proxy/stream.h"

static uint64_t after_start_ns(const mc_stream *stream, uint64_t at_us) {
    return at_us == 0 || at_us < stream->start_us ? MC_NO_TIME : (at_us - stream->start_us) * 1000;
}

static void fill_route(const mc_stream *stream, mc_stream_info *info) {
    const mc_route_match *match = &stream->match;
    if (match->virtual_host != NULL) {
        info->virtual_host_name = match->virtual_host->name;
        info->virtual_host_metadata = match->virtual_host->metadata;
    }
    if (match->route != NULL) {
        info->route_name = match->route->name;
        info->route_metadata = match->route->metadata;
        info->upstream_cluster = info->upstream_cluster_raw = match->cluster;
    }
}

static void fill_times(const mc_stream *stream, mc_stream_info *info) {
    const mc_loop *loop = stream->proxy->loop;
    const uint64_t now_us = mc_loop_now_us(loop);
    info->start_ns = mc_loop_wall_ms(loop) * 1000000 - (now_us - stream->start_us) * 1000;
    uint64_t *times = (uint64_t *)&info->at;
    for (size_t i = 0; i < sizeof info->at / sizeof *times; i++) {
        times[i] = MC_NO_TIME;
    }
    info->at.request_end = after_start_ns(stream, stream->request_complete_us);
    info->at.upstream_receive_begin = after_start_ns(stream, stream->first_upstream_us);
    info->at.response_begin = after_start_ns(stream, stream->headers_sent_us);
    info->at.response_end = stream->response_complete ? after_start_ns(stream, now_us) : MC_NO_TIME;
    info->at.now = after_start_ns(stream, now_us);
}

/* Before it is sent, the status is that of the headers on their way. */
static uint16_t status_now(const mc_stream *stream) {
    uint64_t status = 0;
    if (stream->status >= 200 || stream->response == NULL) {
        return stream->status;
    }
    return mc_slice_u64(mc_headers_get_known(stream->response, MC_H_STATUS), &status) == MC_OK ? (uint16_t)status : 0;
}

const mc_stream_info *mc_stream_collect_info(mc_stream *stream) {
    if (stream->info == NULL && (stream->info = mc_arena_alloc(&stream->arena, sizeof *stream->info)) == NULL) {
        return NULL;
    }
    mc_stream_info *info = stream->info;
    *info = (mc_stream_info){
        .request = &stream->request,
        .response = stream->response,
        .response_trailers = stream->response_trailers,
        .downstream_remote = &stream->remote,
        .upstream_remote = stream->upstream_address.length == 0 ? NULL : &stream->upstream_address,
        .dynamic_metadata = stream->metadata,
        .filter_state = stream->filter_state,
        .protocol = stream->head.version_minor == 0 ? MC_SLICE("HTTP/1.0") : MC_SLICE("HTTP/1.1"),
        .response_code_details = mc_slice_cstr(stream->details),
        .flags = stream->flags,
        .flag_order = stream->flag_order,
        .virtual_cluster_name = stream->virtual_cluster,
        .stream_id = stream->random,
        .random = mc_loop_random(stream->proxy->loop),
        .status = status_now(stream),
        .attempts = stream->attempts,
        .health_check = stream->health_check,
        .filter_chain_name = stream->hcm->filter_chain_name,
        .listener_metadata = stream->hcm->listener_metadata,
        .node = stream->hcm->node,
        .listener_direction = stream->hcm->direction,
        .filter_chain_metadata = stream->hcm->filter_chain_metadata,
        .downstream_close_type = MC_SLICE_INIT("Normal"),
        .bytes_received = stream->bytes_received,
        .bytes_sent = stream->bytes_sent,
    };
    if (stream->downstream != NULL) {
        info->downstream_direct_remote = mc_downstream_peer(stream->downstream);
        info->downstream_local = mc_downstream_local(stream->downstream);
        info->downstream_direct_local = mc_downstream_direct_local(stream->downstream);
        info->connection_id = mc_downstream_conn(stream->downstream)->id;
    }
    fill_route(stream, info);
    fill_times(stream, info);
    if (stream->facts != NULL) {
        mc_facts_fill(stream->facts, stream->downstream == NULL ? NULL : mc_downstream_conn(stream->downstream), info);
    }
    if (MC_UNLIKELY(stream->hcm->tracing != NULL)) {
        mc_tracing_tell(stream, info);
    }
    return info;
}

mc_status mc_stream_route_request(mc_stream *stream, mc_route_request *out) {
    *out = (mc_route_request){
        .headers = &stream->request,
        .random = stream->random,
        .remote = &stream->remote,
        .local = stream->downstream == NULL ? NULL : mc_downstream_local(stream->downstream),
        .arena = &stream->arena,
        .runtime = stream->proxy->runtime,
    };
    if (MC_UNLIKELY(mc_route_table_formats(stream->routes->table) ||
                    mc_route_table_reads_info(stream->routes->table))) {
        out->info = mc_stream_collect_info(stream);
        return out->info == NULL ? MC_ENOMEM : MC_OK;
    }
    return MC_OK;
}

void mc_stream_emit_log(mc_stream *stream, mc_log_type type) {
    mc_proxy *proxy = stream->proxy;
    if (proxy->log_writer == NULL || mc_stream_collect_info(stream) == NULL) {
        return;
    }
    const mc_log_port port = {proxy->log_writer, proxy->log_ring, proxy->runtime, mc_loop_random(proxy->loop)};
    stream->info->log_type = (uint8_t)type;
    mc_access_logs_emit(stream->hcm->access.logs, stream->info, &port);
}

/* A try has a stream info of its own in Envoy, which knows the upstream's side and less of the client's. */
static void tell_try(const mc_stream *stream, const mc_span_end *try, const mc_try_facts *facts, bool ready_only,
                     mc_stream_info *info) {
    const uint64_t before_ns = facts == NULL ? 0 : (facts->began_us - stream->start_us) * 1000;
    if (facts != NULL) {
        mc_facts_fill_try(facts, info);
    }
    const uint64_t pool_ready = info->at.pool_ready; /* no point, but a length */
    info->at.request_end = info->at.response_begin = info->at.response_end = MC_NO_TIME;
    if (ready_only) {
        info->at.upstream_send_begin = MC_NO_TIME;
    }
    uint64_t *times = (uint64_t *)&info->at;
    for (size_t i = 0; i < sizeof info->at / sizeof *times; i++) {
        times[i] -= times[i] == MC_NO_TIME ? 0 : before_ns;
    }
    info->at.pool_ready = pool_ready;
    info->start_ns += before_ns;
    info->bytes_sent = facts == NULL ? 0 : facts->body_sent;
    info->bytes_received = facts == NULL ? 0 : facts->body_received;
    info->response = try->headers;
    info->response_trailers = try->trailers;
    info->status = try->status;
    info->flags = try->flags;
    info->flag_order = try->flag_order;
    info->attempts = 0;
    info->protocol = info->upstream_protocol;
    if (info->upstream_remote == NULL) { /* no connection, nothing to tell of */
        info->downstream_wire_received = info->downstream_wire_sent = 0;
        info->downstream_header_received = info->downstream_plain_header_received = 0;
        info->downstream_header_sent = info->downstream_plain_header_sent = 0;
    }
    info->response_code_details = info->virtual_cluster_name = MC_SLICE_NONE;
    info->stream_id_text = MC_SLICE("");
    info->downstream_remote = info->downstream_direct_remote;
    info->virtual_host_metadata = info->dynamic_metadata = NULL;
}

void mc_stream_emit_upstream_log(mc_stream *stream, mc_log_type type, const mc_span_end *try,
                                 const mc_try_facts *facts) {
    mc_proxy *proxy = stream->proxy;
    if (proxy->log_writer == NULL || mc_stream_collect_info(stream) == NULL) {
        return;
    }
    const mc_log_port port = {proxy->log_writer, proxy->log_ring, proxy->runtime, mc_loop_random(proxy->loop)};
    mc_stream_info info = *stream->info;
    tell_try(stream, try, facts, type == MC_LOG_UPSTREAM_POOL_READY, &info);
    info.log_type = (uint8_t)type;
    mc_access_logs_emit(stream->hcm->access.upstream, &info, &port);
}
