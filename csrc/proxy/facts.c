#include "proxy/facts.h"

#include "base/value_edit.h"
#include "event/socket.h"
#include "lb/metadata.h"

static uint64_t since_start(const mc_facts *facts, uint64_t at_us) {
    return at_us == 0 ? MC_NO_TIME : (at_us - facts->start_us) * 1000;
}

static uint64_t now(const mc_facts *facts) { return since_start(facts, mc_loop_now_us(facts->loop)); }

static void no_times(mc_try_facts *of) {
    of->connect_begin = of->connect_end = of->send_begin = of->send_end = MC_NO_TIME;
    of->body_begin = of->receive_end = of->pool_ready = MC_NO_TIME;
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
    facts->told = facts->metered = &facts->first;
    facts->first.all = facts;
    no_times(&facts->first);
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

mc_try_facts *mc_facts_begin_try(mc_facts *facts, mc_host *host) {
    if (facts == NULL) {
        return NULL;
    }
    mc_try_facts *of = &facts->first;
    if (MC_UNLIKELY(facts->tried)) {
        if ((of = mc_arena_zalloc(facts->arena, sizeof *of)) == NULL) {
            return NULL;
        }
        of->all = facts;
        no_times(of);
    }
    facts->tried = true;
    facts->told = of;
    of->host = host->address;
    of->attempted = &of->host;
    of->host_name = kept(facts, host->hostname);
    of->host_metadata = host_metadata(facts, host);
    of->locality = locality(facts, host);
    of->began_us = mc_loop_now_us(facts->loop);
    return of;
}

static void note_pool(mc_try_facts *of) { of->pool_ready = (mc_loop_now_us(of->all->loop) - of->began_us) * 1000; }

void mc_facts_note_failed(mc_try_facts *of) { note_pool(of); }

/* Envoy's meter of a connection takes over what the one before it has counted by then. */
static void take_over(mc_try_facts *of) {
    const mc_try_facts *before = of->all->metered;
    of->wire_sent = before->wire_sent;
    of->wire_received = of->received_earlier = before->wire_received;
    of->header_sent = before->header_sent;
    of->header_received = before->header_received;
    of->plain_header_received = before->plain_header_received;
    of->all->metered = of;
}

void mc_facts_note_ready(mc_try_facts *of, const mc_conn *conn, bool raw) {
    if (MC_UNLIKELY(of->all->metered != of)) {
        take_over(of);
    }
    of->connected = true;
    if (of->all->wants_local && conn->io.fd >= 0 && mc_socket_local(conn->io.fd, &of->local) != 0) {
        of->local.length = 0;
    }
    of->connection = conn->id;
    of->connect_begin = since_start(of->all, conn->opened_us);
    of->connect_end = since_start(of->all, conn->connected_us);
    note_pool(of);
    of->raw = raw;
    of->send_begin = raw ? MC_NO_TIME : now(of->all);
    of->received_before = conn->rx_bytes;
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

void mc_facts_note_sent_head(mc_try_facts *of, mc_slice head) {
    of->header_sent += header_lines(head);
    of->wire_sent += head.n;
}

void mc_facts_note_sent(mc_try_facts *of, size_t body, size_t framing) {
    of->send_begin = of->send_begin == MC_NO_TIME ? now(of->all) : of->send_begin;
    of->body_sent += body;
    of->wire_sent += body + framing;
}

void mc_facts_note_sent_all(mc_try_facts *of) { of->send_end = now(of->all); }

void mc_facts_note_progress(mc_try_facts *of, mc_attempt *attempt) {
    const mc_conn *conn = mc_attempt_conn(attempt);
    const uint64_t received = conn == NULL ? attempt->rx_bytes : conn->rx_bytes;
    const uint64_t new = received < of->received_before ? 0 : received - of->received_before;
    of->wire_received = of->received_earlier + new;
}

static void note_header_received(mc_try_facts *of, uint32_t field_bytes) {
    of->header_received += field_bytes;
    of->plain_header_received += of->header_received;
}

void mc_facts_note_answered(mc_try_facts *of, uint32_t field_bytes, mc_attempt *attempt) {
    note_header_received(of, field_bytes);
    mc_facts_note_progress(of, attempt);
}

void mc_facts_note_answered_trailers(mc_try_facts *of, const mc_headers *trailers) {
    of->header_received += header_bytes(trailers);
}

void mc_facts_note_over(mc_try_facts *of, mc_attempt *attempt) {
    if (attempt->refused_bytes > 0) {
        note_header_received(of, attempt->refused_bytes);
    }
    mc_facts_note_progress(of, attempt);
}

void mc_facts_note_body(mc_try_facts *of, size_t n, mc_attempt *attempt) {
    of->body_received += n;
    mc_facts_note_progress(of, attempt);
    if (of->body_begin == MC_NO_TIME) {
        of->body_begin = now(of->all);
    }
}

void mc_facts_note_received(mc_try_facts *of) { of->receive_end = now(of->all); }

static const mc_address *known(const mc_address *address) { return address->length == 0 ? NULL : address; }

static void fill_client(const mc_facts *facts, const mc_conn *client, mc_stream_info *info) {
    if (client != NULL) {
        info->downstream_wire_received = client->rx_bytes - facts->asked_at;
        info->downstream_wire_sent = mc_conn_written(client) - facts->answered_at;
    }
    /* HTTP/1 has no other form of headers. */
    info->downstream_header_received = info->downstream_plain_header_received = facts->request_header_bytes;
    info->downstream_header_sent = info->downstream_plain_header_sent = facts->response_header_bytes;
}

static void fill_bytes(const mc_try_facts *of, mc_stream_info *info) {
    info->upstream_wire_sent = of->wire_sent;
    info->upstream_wire_received = of->wire_received;
    info->upstream_header_sent = info->upstream_plain_header_sent = of->header_sent;
    info->upstream_header_received = of->header_received;
    info->upstream_plain_header_received = of->plain_header_received;
}

static void fill_try(const mc_try_facts *of, mc_stream_info *info) {
    info->upstream_metadata = of->host_metadata;
    info->upstream_locality = of->locality;
    info->upstream_host = known(&of->host);
    info->upstream_remote = of->connected ? info->upstream_host : NULL;
    info->upstream_local = known(&of->local);
    info->upstream_host_name = of->host_name;
    info->upstream_failure = of->failure;
    info->attempted_hosts = &of->attempted; /* Envoy, too, tells of one try alone */
    info->attempted_host_names = &of->host_name;
    info->attempted_connections = &of->connection;
    info->attempted_host_count = info->attempted_connection_count = of->connected;
    info->upstream_connection_id = of->connection;
    info->upstream_protocol = info->upstream_remote == NULL || of->raw ? MC_SLICE_NONE : MC_SLICE("HTTP/1.1");
    info->upstream_close_type = info->upstream_host == NULL ? MC_SLICE_NONE : MC_SLICE("Normal");
    info->at.upstream_connect_begin = of->connect_begin;
    info->at.upstream_connect_end = of->connect_end;
    info->at.upstream_send_begin = of->send_begin;
    info->at.upstream_send_end = of->send_end;
    info->at.upstream_receive_begin = since_start(of->all, of->receive_begin_us);
    info->at.upstream_body_begin = of->body_begin;
    info->at.upstream_receive_end = of->receive_end;
    info->at.pool_ready = of->pool_ready;
}

void mc_facts_fill(const mc_facts *facts, const mc_conn *client, mc_stream_info *info) {
    fill_client(facts, client, info);
    info->upstream_cluster = facts->cluster;
    info->upstream_cluster_raw = facts->cluster_raw;
    info->cluster_metadata = facts->cluster_metadata;
    info->upstream_endpoints = facts->endpoints;
    fill_try(facts->told, info);
    fill_bytes(facts->metered, info);
}

void mc_facts_fill_try(const mc_try_facts *of, mc_stream_info *info) {
    fill_try(of, info);
    fill_bytes(of, info);
}
