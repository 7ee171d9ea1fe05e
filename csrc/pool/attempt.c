/* What an attempt writes to its connection. */
#include "pool/client.h"

mc_conn *mc_attempt_conn(mc_attempt *attempt) { return attempt->client == NULL ? NULL : &attempt->client->conn; }

void mc_attempt_tunnel(mc_attempt *attempt) {
    attempt->tunnel = true;
    mc_h1_parser_tunnel(&attempt->client->parser);
}

void mc_attempt_refuse_tunnel(mc_attempt *attempt) { mc_h1_parser_refuse(&attempt->client->parser); }

/* Borrowed until the current callback ends. NULL: the connection is aborted. */
static char *scratch(mc_attempt *attempt, size_t size) {
    char *out = mc_net_scratch(attempt->pool->upstream->net, size);
    if (MC_UNLIKELY(out == NULL)) {
        mc_conn_abort(&attempt->client->conn, MC_CLOSE_RESET);
    }
    return out;
}

mc_slice mc_attempt_write_head(mc_attempt *attempt, mc_headers *request, bool headers_only, bool upgrade) {
    const mc_h1_limits *limits = &attempt->pool->upstream->cluster->h1;
    const mc_h1_encode how = {
        .end_stream = headers_only,
        .upgrade = upgrade,
        .absolute = limits->send_absolute_target,
        .enable_trailers = limits->enable_trailers,
    };
    mc_h1_spell(request, limits);
    char *out = scratch(attempt, mc_h1_head_size(request));
    if (out == NULL) {
        return MC_SLICE_NONE;
    }
    const mc_slice head = mc_slice_of(out, mc_h1_encode_request(request, &how, out, &attempt->framing));
    mc_conn_write(&attempt->client->conn, head);
    return head;
}

size_t mc_attempt_write(mc_attempt *attempt, mc_slice data) {
    mc_conn *conn = &attempt->client->conn;
    if (attempt->framing != MC_H1_CHUNKED) {
        mc_conn_write(conn, data);
        return 0;
    }
    char *out = scratch(attempt, MC_H1_CHUNK_HEAD_MAX);
    if (out == NULL) {
        return 0;
    }
    const mc_slice head = mc_slice_of(out, mc_h1_chunk_head(out, data.n));
    mc_conn_write(conn, head);
    mc_conn_write(conn, data);
    mc_conn_write(conn, MC_SLICE("\r\n"));
    return head.n + 2;
}

size_t mc_attempt_write_end(mc_attempt *attempt, mc_headers *trailers) {
    const mc_h1_limits *limits = &attempt->pool->upstream->cluster->h1;
    mc_slice last = MC_SLICE_NONE;
    if (attempt->framing == MC_H1_CHUNKED) {
        const mc_headers *sent = limits->enable_trailers ? trailers : NULL;
        mc_h1_spell(trailers, limits);
        char *out = scratch(attempt, mc_h1_last_chunk_size(sent));
        if (out == NULL) {
            return 0;
        }
        last = mc_slice_of(out, mc_h1_last_chunk(sent, out));
        mc_conn_write(&attempt->client->conn, last);
    }
    attempt->request_sent = true;
    return last.n;
}
