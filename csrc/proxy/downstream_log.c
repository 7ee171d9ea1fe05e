#include "proxy/downstream_internal.h"

void mc_downstream_describe(const mc_downstream *d, mc_stream_info *info) {
    mc_stream_info_init(info);
    info->downstream_remote = info->downstream_direct_remote = &d->peer;
    info->downstream_local = &d->local;
    info->downstream_direct_local = mc_downstream_direct_local(d);
    info->downstream_tls = mc_downstream_tls(d);
    info->filter_chain_name = d->pin->hcm->filter_chain_name;
    info->listener_metadata = d->pin->hcm->listener_metadata;
    info->node = d->pin->hcm->node;
    info->listener_direction = d->pin->hcm->direction;
    info->filter_chain_metadata = d->pin->hcm->filter_chain_metadata;
    info->connection_id = d->conn.id;
}

void mc_downstream_log(mc_downstream *d, mc_close_reason reason) {
    mc_proxy *proxy = d->proxy;
    const mc_loop *loop = proxy->loop;
    mc_stream_info info;
    if (proxy->log_writer == NULL) {
        return;
    }
    const mc_log_port port = {proxy->log_writer, proxy->log_ring, proxy->runtime, mc_loop_random(proxy->loop)};
    const uint64_t lived_us = mc_loop_now_us(loop) - d->conn.opened_us;
    const char *denied = mc_downstream_denied_by(d);
    mc_downstream_describe(d, &info);
    info.start_ns = mc_loop_wall_ms(loop) * 1000000 - lived_us * 1000;
    info.at.now = lived_us * 1000;
    if (denied != NULL) {
        info.connection_termination_details = mc_slice_cstr(denied);
    }
    info.downstream_close_type = reason == MC_CLOSE_RESET ? MC_SLICE("RemoteReset") : MC_SLICE("Normal");
    info.bytes_received = d->conn.rx_bytes;
    info.bytes_sent = d->conn.tx_bytes;
    info.protocol = !d->spoke ? MC_SLICE_NONE : d->old ? MC_SLICE("HTTP/1.0") : MC_SLICE("HTTP/1.1");
    info.downstream_close_reason = d->local_reason == NULL ? MC_SLICE_NONE : mc_slice_cstr(d->local_reason);
    info.flags = (d->protocol_error ? MC_FLAG(DPE) : 0) | (d->overloaded ? MC_FLAG(OM) : 0);
    mc_arena arena;
    mc_arena_init(&arena, &proxy->blocks);
    if (mc_downstream_tell_guards(d, &arena, &info.dynamic_metadata) == MC_OK) {
        mc_access_logs_emit(d->pin->hcm->access.connections, &info, &port);
    }
    mc_arena_fini(&arena);
}
