#include "proxy/stream_internal.h"

static uint8_t put_text(mc_record *record, size_t *at, mc_slice text, size_t max) {
    size_t room = MC_RECORD_TEXT - *at;
    size_t n = text.n < max ? text.n : max;
    n = n < room ? n : room;
    if (n > 0) {
        memcpy(record->text + *at, text.p, n);
    }
    *at += n;
    return (uint8_t)n;
}

void mc_stream_record(mc_stream *stream) {
    mc_record *record = mc_record_begin(&stream->proxy->records);
    if (record == NULL) {
        return;
    }
    const mc_loop *loop = stream->proxy->loop;
    uint64_t now_us = mc_loop_now_us(loop);
    size_t at = 0;
    record->duration_us = (uint32_t)(now_us - stream->start_us);
    record->start_ms = mc_loop_wall_ms(loop) - (now_us - stream->start_us) / 1000;
    record->upstream_us = stream->first_upstream_us == 0 || stream->request_complete_us == 0
                              ? UINT32_MAX
                              : (uint32_t)(stream->first_upstream_us - stream->request_complete_us);
    record->flags = stream->flags;
    record->bytes_received = stream->bytes_received;
    record->bytes_sent = stream->bytes_sent;
    record->peer = stream->remote;
    record->upstream = stream->upstream_address;
    record->status = stream->status;
    record->version_minor = stream->head.version_minor;
    record->attempts = stream->attempts;
    record->details = stream->details_class != NULL ? stream->details_class : stream->details;
    record->method_n = put_text(record, &at, mc_headers_get_known(&stream->request, MC_H_METHOD), 16);
    record->authority_n = put_text(record, &at, mc_headers_get_known(&stream->request, MC_H_AUTHORITY), 40);
    record->route_n =
        put_text(record, &at, stream->match.route == NULL ? MC_SLICE_NONE : stream->match.route->name, 24);
    record->cluster_n = put_text(record, &at, stream->match.cluster, 32);
    record->path_n = put_text(record, &at, mc_headers_get_known(&stream->request, MC_H_PATH), MC_RECORD_TEXT);
    mc_record_publish(&stream->proxy->records);
}
