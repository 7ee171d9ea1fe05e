#include "proxy/facts.h"

#include "base/value_edit.h"
#include "event/socket.h"
#include "lb/metadata.h"

static uint64_t since_start(const mc_facts *facts, uint64_t at_us) {
    return at_us == 0 ? MC_NO_TIME : (at_us - facts->start_us) * 1000;
}

static uint64_t now(const mc_facts *facts) { return since_start(facts, mc_loop_now_us(facts->loop)); }

static void forget_try(mc_facts *facts) {
    facts->remote.length = facts->local.length = 0;
    facts->connection = 0;
    facts->attempted_count = facts->connection_count = 0; /* Envoy, too, tells of the last try alone */
    facts->received_earlier = facts->wire_received;
    facts->body_sent = facts->body_received = 0;
    facts->connect_begin = facts->connect_end = facts->send_begin = facts->send_end = MC_NO_TIME;
    facts->body_begin = facts->receive_end = facts->pool_ready = MC_NO_TIME;
}

mc_facts *mc_facts_new(mc_arena *arena, const mc_loop *loop, uint64_t start_us, bool wants_local, bool wants_place) {
    mc_facts *facts = mc_arena_zalloc(arena, sizeof *facts);
    if (facts == NULL) {
        return NULL;
    }
    facts->arena = arena;
    facts->loop = loop;
    facts->start_us = start_us;
    facts->wants_local = wants_local;
    facts->wants_place = wants_place;
    forget_try(facts);
    return facts;
}

static mc_slice kept(mc_facts *facts, mc_slice text) {
    mc_slice copy = MC_SLICE_NONE;
    return text.n > 0 && mc_arena_dup(facts->arena, text, &copy) == MC_OK ? copy : MC_SLICE_NONE;
}

void mc_facts_note_cluster(mc_facts *facts, const mc_cluster *cluster) {
    if (cluster == NULL) {
        facts->cluster = facts->cluster_raw = MC_SLICE_NONE;
        facts->cluster_metadata = NULL;
        return;
    }
    if (mc_slice_eq(facts->cluster_raw, cluster->name)) {
        return;
    }
    facts->cluster_raw = kept(facts, cluster->name);
    facts->cluster = cluster->alt_named ? kept(facts, cluster->stat_name) : facts->cluster_raw;
    facts->cluster_metadata = NULL;
    if (cluster->metadata != NULL) {
        (void)!mc_value_copy(facts->arena, cluster->metadata, &facts->cluster_metadata);
    }
}

static const mc_value *locality(mc_facts *facts, const mc_host *host) {
    static const mc_slice names[] = {MC_SLICE_INIT("region"), MC_SLICE_INIT("zone"), MC_SLICE_INIT("sub_zone")};
    if (!facts->wants_place || host->region.n + host->zone.n + host->sub_zone.n == 0) {
        return NULL;
    }
    mc_value *object = mc_arena_zalloc(facts->arena, 4 * sizeof *object);
    if (object == NULL) {
        return NULL;
    }
    mc_value *items = object + 1;
    items[0] = mc_value_text(kept(facts, host->region));
    items[1] = mc_value_text(kept(facts, host->zone));
    items[2] = mc_value_text(kept(facts, host->sub_zone));
    *object = (mc_value){.kind = MC_OBJECT, .items = items, .names = names, .count = 3};
    return object;
}

static const mc_value *host_metadata(mc_facts *facts, mc_host *host) {
    mc_lb_metadata *metadata = mc_host_metadata(host);
    const mc_value *copy = NULL;
    if (metadata != NULL && mc_value_copy(facts->arena, &metadata->spaces, &copy) != MC_OK) {
        copy = NULL;
    }
    mc_lb_metadata_unref(metadata);
    return copy;
}

void mc_facts_note_host(mc_facts *facts, mc_host *host) {
    facts->host = host->address;
    facts->host_name = kept(facts, host->hostname);
    facts->host_metadata = host_metadata(facts, host);
    facts->locality = locality(facts, host);
    facts->try_us = mc_loop_now_us(facts->loop);
    forget_try(facts);
}

static bool make_room(mc_facts *facts) {
    if (facts->connection_count < facts->room) {
        return true;
    }
    uint32_t room = facts->room == 0 ? 2 : facts->room * 2;
    const mc_address **attempted = mc_arena_zalloc(facts->arena, room * sizeof *attempted);
    mc_slice *names = mc_arena_zalloc(facts->arena, room * sizeof *names);
    uint64_t *connections = mc_arena_zalloc(facts->arena, room * sizeof *connections);
    if (attempted == NULL || names == NULL || connections == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < facts->room; i++) {
        attempted[i] = facts->attempted[i];
        names[i] = facts->attempted_names[i];
        connections[i] = facts->connections[i];
    }
    facts->attempted = attempted;
    facts->attempted_names = names;
    facts->connections = connections;
    facts->room = room;
    return true;
}

static void note_attempt(mc_facts *facts, uint64_t connection) {
    if (!make_room(facts)) {
        return;
    }
    facts->connections[facts->connection_count++] = connection;
    for (uint32_t i = 0; i < facts->attempted_count; i++) {
        if (memcmp(facts->attempted[i], &facts->host, sizeof facts->host) == 0) {
            return;
        }
    }
    mc_address *host = mc_arena_alloc(facts->arena, sizeof *host);
    if (host != NULL) {
        *host = facts->host;
        facts->attempted[facts->attempted_count] = host;
        facts->attempted_names[facts->attempted_count++] = facts->host_name;
    }
}

static void note_pool(mc_facts *facts) { facts->pool_ready = (mc_loop_now_us(facts->loop) - facts->try_us) * 1000; }

void mc_facts_note_failed(mc_facts *facts) { note_pool(facts); }

void mc_facts_note_ready(mc_facts *facts, const mc_conn *conn, bool raw) {
    note_attempt(facts, conn->id);
    facts->remote = facts->host;
    if (facts->wants_local && conn->io.fd >= 0 && mc_socket_local(conn->io.fd, &facts->local) != 0) {
        facts->local.length = 0;
    }
    facts->connection = conn->id;
    facts->connect_begin = since_start(facts, conn->opened_us);
    facts->connect_end = since_start(facts, conn->connected_us);
    note_pool(facts);
    facts->raw = raw;
    facts->send_begin = raw ? MC_NO_TIME : now(facts);
    facts->received_before = conn->rx_bytes;
}

/* Of a head as it is written: what stands between its first line and the empty one. */
static uint64_t header_lines(mc_slice head) {
    const size_t first = mc_slice_find(head, '\n') + 1;
    return head.n < first + 2 ? 0 : head.n - first - 2;
}

/* As Envoy counts them when they come: "name:value" and the end of the line, and nothing for what was made of the first line.
 * A head without lines counts as one with an empty one. */
static uint64_t header_bytes(const mc_headers *headers) {
    uint64_t bytes = 0;
    MC_HEADERS_EACH(headers, it) {
        if (it->name.p[0] != ':') {
            bytes += it->name.n + it->value.n + 3;
        }
    }
    return bytes > 0 ? bytes : 3;
}

void mc_facts_note_asked(mc_facts *facts, uint32_t field_bytes) { facts->request_header_bytes = field_bytes; }

void mc_facts_note_asked_trailers(mc_facts *facts, const mc_headers *trailers) {
    facts->request_header_bytes += header_bytes(trailers);
}

void mc_facts_note_head(mc_facts *facts, mc_slice head) { facts->response_header_bytes += header_lines(head); }

void mc_facts_note_trailers(mc_facts *facts, const mc_headers *trailers) {
    facts->response_header_bytes += trailers->bytes + 4 * (uint64_t)trailers->live;
}

void mc_facts_note_sent_head(mc_facts *facts, mc_slice head) {
    facts->header_sent += header_lines(head);
    facts->wire_sent += head.n;
}

void mc_facts_note_sent(mc_facts *facts, size_t body, size_t framing) {
    facts->send_begin = facts->send_begin == MC_NO_TIME ? now(facts) : facts->send_begin;
    facts->body_sent += body;
    facts->wire_sent += body + framing;
}

void mc_facts_note_sent_all(mc_facts *facts) { facts->send_end = now(facts); }

void mc_facts_note_progress(mc_facts *facts, mc_attempt *attempt) {
    const mc_conn *conn = mc_attempt_conn(attempt);
    const uint64_t received = conn == NULL ? attempt->rx_bytes : conn->rx_bytes;
    const uint64_t new = received < facts->received_before ? 0 : received - facts->received_before;
    facts->wire_received = facts->received_earlier + new;
}

static void note_header_received(mc_facts *facts, uint32_t field_bytes) {
    facts->header_received += field_bytes;
    facts->plain_header_received += facts->header_received;
}

void mc_facts_note_answered(mc_facts *facts, uint32_t field_bytes, mc_attempt *attempt) {
    note_header_received(facts, field_bytes);
    mc_facts_note_progress(facts, attempt);
}

void mc_facts_note_answered_trailers(mc_facts *facts, const mc_headers *trailers) {
    facts->header_received += header_bytes(trailers);
}

void mc_facts_note_over(mc_facts *facts, mc_attempt *attempt) {
    if (attempt->refused_bytes > 0) {
        note_header_received(facts, attempt->refused_bytes);
    }
    mc_facts_note_progress(facts, attempt);
}

void mc_facts_note_body(mc_facts *facts, size_t n, mc_attempt *attempt) {
    facts->body_received += n;
    mc_facts_note_progress(facts, attempt);
    if (facts->body_begin == MC_NO_TIME) {
        facts->body_begin = now(facts);
    }
}

void mc_facts_note_received(mc_facts *facts) { facts->receive_end = now(facts); }

static const mc_address *known(const mc_address *address) { return address->length == 0 ? NULL : address; }

static void fill_bytes(const mc_facts *facts, const mc_conn *client, mc_stream_info *info) {
    if (client != NULL) {
        info->downstream_wire_received = client->rx_bytes - facts->asked_at;
        info->downstream_wire_sent = mc_conn_written(client) - facts->answered_at;
    }
    /* HTTP/1 has no other form of headers. */
    info->downstream_header_received = info->downstream_plain_header_received = facts->request_header_bytes;
    info->downstream_header_sent = info->downstream_plain_header_sent = facts->response_header_bytes;
    info->upstream_wire_sent = facts->wire_sent;
    info->upstream_wire_received = facts->wire_received;
    info->upstream_header_sent = info->upstream_plain_header_sent = facts->header_sent;
    info->upstream_header_received = facts->header_received;
    info->upstream_plain_header_received = facts->plain_header_received;
}

void mc_facts_fill(const mc_facts *facts, const mc_conn *client, mc_stream_info *info) {
    fill_bytes(facts, client, info);
    info->upstream_cluster = facts->cluster;
    info->upstream_cluster_raw = facts->cluster_raw;
    info->cluster_metadata = facts->cluster_metadata;
    info->upstream_metadata = facts->host_metadata;
    info->upstream_locality = facts->locality;
    info->upstream_endpoints = facts->endpoints;
    info->upstream_host = known(&facts->host);
    info->upstream_remote = known(&facts->remote);
    info->upstream_local = known(&facts->local);
    info->upstream_host_name = facts->host_name;
    info->attempted_hosts = facts->attempted;
    info->attempted_host_names = facts->attempted_names;
    info->attempted_host_count = facts->attempted_count;
    info->attempted_connection_count = facts->connection_count;
    info->attempted_connections = facts->connections;
    info->upstream_connection_id = facts->connection;
    info->upstream_protocol = info->upstream_remote == NULL || facts->raw ? MC_SLICE_NONE : MC_SLICE("HTTP/1.1");
    info->upstream_close_type = info->upstream_host == NULL ? MC_SLICE_NONE : MC_SLICE("Normal");
    info->at.upstream_connect_begin = facts->connect_begin;
    info->at.upstream_connect_end = facts->connect_end;
    info->at.upstream_send_begin = facts->send_begin;
    info->at.upstream_send_end = facts->send_end;
    info->at.upstream_body_begin = facts->body_begin;
    info->at.upstream_receive_end = facts->receive_end;
    info->at.pool_ready = facts->pool_ready;
}
