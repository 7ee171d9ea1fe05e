#include "proxy/stream_internal.h"

void mc_stream_count_response(mc_stream *stream, uint16_t status) {
    const mc_hcm_stats *stats = &stream->hcm->stats;
    const mc_stat classes[] = {0,
                               stats->downstream_rq_1xx,
                               stats->downstream_rq_2xx,
                               stats->downstream_rq_3xx,
                               stats->downstream_rq_4xx,
                               stats->downstream_rq_5xx};
    const mc_stat listener[] = {0,
                                stats->listener.downstream_rq_1xx,
                                stats->listener.downstream_rq_2xx,
                                stats->listener.downstream_rq_3xx,
                                stats->listener.downstream_rq_4xx,
                                stats->listener.downstream_rq_5xx};
    mc_slab *slab = stream->proxy->slab;
    if (MC_UNLIKELY(stream->health_check)) {
        return;
    }
    mc_counter_inc(slab, stats->downstream_rq_completed);
    mc_counter_inc(slab, stats->listener.downstream_rq_completed);
    if (status >= 100 && status < 600) {
        mc_counter_inc(slab, classes[status / 100]);
        mc_counter_inc(slab, listener[status / 100]);
    }
}

static uint16_t parse_status(mc_slice text) {
    uint64_t value = 0;
    return mc_slice_u64(text, &value) == MC_OK && value < 1000 ? (uint16_t)value : 0;
}

/* HC-40, at the moment of the response headers. */
static bool response_closes(mc_stream *stream) {
    if (!stream->request_complete) {
        MC_HCM_COUNT(stream, downstream_rq_response_before_rq_complete);
        return true;
    }
    if (stream->head.version_minor == 0 && !mc_headers_has(stream->response, MC_H_CONTENT_LENGTH)) {
        return true;
    }
    return mc_downstream_ends(stream->downstream);
}

void mc_stream_send_headers(mc_stream *stream, bool end_stream) {
    mc_conn *conn = mc_downstream_conn(stream->downstream);
    mc_net *net = stream->proxy->net;
    uint16_t status = parse_status(mc_headers_get_known(stream->response, MC_H_STATUS));
    const bool informational = status < 200 && status != 101;
    mc_stream_touch(stream);
    if (!informational) {
        stream->status = status;
        stream->tunnel = MC_UNLIKELY(stream->upgrade) &&
                         ((status == 101 && !end_stream) || (stream->connect && status >= 200 && status < 300));
        stream->close_connection = response_closes(stream) || stream->close_connection;
    }
    if (MC_UNLIKELY(stream->hcm->tracing != NULL) && !informational) {
        mc_tracing_response(stream);
    }
    if ((MC_UNLIKELY(informational) ? mc_sanitize_interim(stream) : mc_sanitize_response(stream)) != MC_OK) {
        mc_stream_out_of_memory(stream);
        return;
    }
    if (MC_UNLIKELY(stream->hcm->proxy_status != NULL) && !informational) { /* it may recommend another */
        stream->status = status = parse_status(mc_headers_get_known(stream->response, MC_H_STATUS));
    }
    if (MC_UNLIKELY(stream->tunnel) && stream->hcm->access.on_tunnel) {
        mc_stream_log(stream, MC_LOG_DOWNSTREAM_TUNNEL);
    }
    mc_h1_spell(stream->response, &stream->hcm->h1);
    char *out = mc_net_scratch(net, mc_h1_head_size(stream->response));
    if (out == NULL) {
        mc_stream_out_of_memory(stream);
        return;
    }
    mc_h1_encode how = {
        .end_stream = end_stream,
        .http_10 = stream->head.version_minor == 0 || stream->answers_10 || stream->refused_10,
        .says_11 = stream->refused_10,
        .head_request = stream->head_request || (stream->refused_head && end_stream),
        .upgrade = stream->tunnel,
        .enable_trailers = stream->hcm->h1.enable_trailers,
    };
    mc_h1_framing framing;
    size_t n = mc_h1_encode_response(stream->response, &how, out, &framing);
    mc_stream_count_response(stream, status);
    mc_conn_write(conn, mc_slice_of(out, n));
    MC_FACT(stream, head, stream->facts, mc_slice_of(out, n));
    if (informational) {
        return;
    }
    stream->headers_sent = true;
    stream->headers_sent_us = mc_loop_now_us(stream->proxy->loop);
    stream->framing = framing;
    if (framing == MC_H1_UNTIL_CLOSE || stream->tunnel) {
        stream->close_connection = true;
    }
    if (end_stream) {
        mc_stream_finish(stream, stream->close_connection);
    }
}

/* The body ends with: last chunk, or nothing. */
static void write_end(mc_stream *stream) {
    if (stream->framing != MC_H1_CHUNKED) {
        return;
    }
    const mc_headers *trailers = stream->hcm->h1.enable_trailers ? stream->response_trailers : NULL;
    mc_h1_spell(stream->response_trailers, &stream->hcm->h1);
    char *out = mc_net_scratch(stream->proxy->net, mc_h1_last_chunk_size(trailers));
    if (out != NULL) {
        mc_conn_write(mc_downstream_conn(stream->downstream), mc_slice_of(out, mc_h1_last_chunk(trailers, out)));
        if (trailers != NULL) {
            MC_FACT(stream, trailers, stream->facts, trailers);
        }
    } else {
        stream->close_connection = true;
    }
}

void mc_stream_send_data(mc_stream *stream, mc_slice data, bool end_stream) {
    mc_conn *conn = mc_downstream_conn(stream->downstream);
    mc_stream_touch(stream);
    if (data.n > 0 && stream->framing != MC_H1_NO_BODY) {
        stream->bytes_sent += data.n;
        if (stream->framing == MC_H1_CHUNKED) {
            char *head = mc_net_scratch(stream->proxy->net, MC_H1_CHUNK_HEAD_MAX);
            if (head == NULL) {
                mc_stream_out_of_memory(stream);
                return;
            }
            mc_conn_write(conn, mc_slice_of(head, mc_h1_chunk_head(head, data.n)));
            mc_conn_write(conn, data);
            mc_conn_write(conn, MC_SLICE("\r\n"));
        } else {
            mc_conn_write(conn, data);
        }
    }
    if (end_stream) {
        write_end(stream);
        mc_stream_finish(stream, stream->close_connection);
    }
}

void mc_stream_send_trailers(mc_stream *stream) {
    mc_stream_touch(stream);
    write_end(stream);
    mc_stream_finish(stream, stream->close_connection);
}

void mc_stream_write_blocked(mc_stream *stream, bool blocked) {
    for (uint32_t i = 0; i < stream->filters.count && !stream->finished; i++) {
        const mc_filter_type *type = stream->filters.items[i].type;
        void (*call)(mc_filter *) = blocked ? type->encode_high : type->encode_low;
        if (call != NULL) {
            call(&stream->filters.items[i]);
        }
    }
}
