/* The whole data plane in memory: an engine on a virtual loop, clients and upstream servers on memory transports. What the
 * proxy's tests, the simulator, the pipeline fuzzer and the instruction-count benchmark stand on.
 *
 * A pipeline_peer is the far end of one connection, and what it received is in its `in`: of an upstream one, where `serve` decides
 * the answer, or of a downstream one, a client. */
#ifndef MC_TESTS_PIPELINE_H
#define MC_TESTS_PIPELINE_H

#include "base/alloc.h"
#include "engine/engine.h"
#include "stats/read.h"

typedef struct pipeline pipeline;

typedef struct pipeline_peer {
    mc_conn conn;
    mc_buffer in;
    pipeline *owner;
    mc_link link;
    mc_host *host; /* servers: which host was connected to; referenced */
    bool closed, eof;
    mc_close_reason reason;
    uint32_t served;
    void *user;
} pipeline_peer;

struct pipeline {
    mc_stats *stats;
    mc_engine *engine;
    mc_worker *worker;
    mc_net *net; /* of the peers */
    mc_connector connector;
    mc_memory_options memory;
    mc_list servers;
    /* Called whenever a server has received something. NULL: answers every complete GET-like head by `response`. */
    void (*serve)(pipeline_peer *server);
    /* Called before a connection is made; returns false to refuse it. NULL: all are accepted. */
    bool (*admit)(pipeline *p, const mc_host *host);
    /* Called when a server's connection is over, before it is freed. May be NULL. */
    void (*gone)(pipeline_peer *server);
    const char *response;
    const mc_filter_factory *factories; /* of further configurations */
    size_t factory_count;
    uint32_t connects;
    void *user;
};

static inline mc_slice pipeline_received(const pipeline_peer *peer, char *out, size_t n) {
    return mc_slice_of(out, mc_buffer_peek(&peer->in, out, n));
}

static inline void pipeline_send(pipeline_peer *peer, mc_slice bytes) {
    if (!peer->closed) {
        (void)mc_conn_write(&peer->conn, bytes);
    }
}

/* Answers each head (body-less requests). */
static inline void pipeline_serve_default(pipeline_peer *server) {
    char text[8192];
    for (;;) {
        mc_slice got = pipeline_received(server, text, sizeof text);
        size_t end = mc_slice_search(got, MC_SLICE("\r\n\r\n"));
        if (end == SIZE_MAX) {
            return;
        }
        mc_buffer_drain(&server->in, end + 4);
        server->served++;
        pipeline_send(server, mc_slice_cstr(server->owner->response));
    }
}

static inline size_t pipeline_peer_data(mc_conn *conn, mc_slice data) {
    pipeline_peer *peer = MC_CONTAINER(conn, pipeline_peer, conn);
    if (mc_buffer_append(&peer->in, data) != MC_OK) {
        mc_conn_abort(conn, MC_CLOSE_LOCAL);
    } else if (peer->host != NULL) {
        (peer->owner->serve == NULL ? pipeline_serve_default : peer->owner->serve)(peer);
    }
    return data.n;
}

static inline void pipeline_peer_eof(mc_conn *conn) {
    pipeline_peer *peer = MC_CONTAINER(conn, pipeline_peer, conn);
    peer->eof = true;
    mc_conn_close(conn, true);
}

static inline void pipeline_peer_closed(mc_conn *conn, mc_close_reason reason) {
    pipeline_peer *peer = MC_CONTAINER(conn, pipeline_peer, conn);
    peer->closed = true;
    peer->reason = reason;
    if (peer->host != NULL) {
        if (peer->owner->gone != NULL) {
            peer->owner->gone(peer);
        }
        mc_link_unlink(&peer->link);
        mc_buffer_clear(&peer->in);
        mc_host_unref(peer->host);
        mc_free(peer);
    }
}

static const mc_conn_events pipeline_events = {
    .on_data = pipeline_peer_data, .on_eof = pipeline_peer_eof, .on_close = pipeline_peer_closed};

static inline mc_status pipeline_connect(void *ctx, mc_conn *conn, mc_net *net, const mc_host *host,
                                         const mc_conn_events *events) {
    pipeline *p = ctx;
    p->connects++;
    if (p->admit != NULL && !p->admit(p, host)) {
        return MC_ECLOSED;
    }
    pipeline_peer *server = mc_calloc(1, sizeof *server);
    if (server == NULL) {
        return MC_ENOMEM;
    }
    server->owner = p;
    mc_buffer_init(&server->in, NULL);
    mc_status status = mc_conn_memory_connect(conn, net, events, &server->conn, p->net, &pipeline_events, &p->memory);
    if (status != MC_OK) {
        mc_free(server);
        return status;
    }
    server->host = mc_host_ref((mc_host *)(uintptr_t)host);
    mc_list_push_back(&p->servers, &server->link);
    return MC_OK;
}

/* Compiles and publishes. */
static inline mc_status pipeline_configure(pipeline *p, const char *json, mc_error *error) {
    mc_arena arena;
    const mc_value *config;
    mc_snapshot *snapshot = NULL;
    mc_arena_init(&arena, NULL);
    mc_status status = mc_value_parse(&arena, mc_slice_cstr(json), &config, error);
    if (status == MC_OK) {
        status = mc_engine_compile(p->engine, config, p->factories, p->factory_count, &snapshot, error);
    }
    if (status == MC_OK) {
        status = mc_engine_publish(p->engine, snapshot);
        mc_snapshot_unref(snapshot);
    }
    mc_arena_fini(&arena);
    if (status == MC_OK) {
        mc_loop_turn(p->worker->loop, 0);
    }
    return status;
}

static inline void pipeline_close(pipeline *p);

static inline mc_status pipeline_open_with(pipeline *p, const char *json, uint64_t seed, bool keeps_logs,
                                           mc_error *error) {
    memset(p, 0, sizeof *p);
    mc_list_init(&p->servers);
    p->response = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    p->stats = mc_stats_new();
    if (p->stats == NULL) {
        return MC_ENOMEM;
    }
    mc_engine_options options = {.workers = 1,
                                 .seed = seed,
                                 .record_capacity = 256,
                                 .stats = p->stats,
                                 .is_virtual = true,
                                 .keeps_logs = keeps_logs};
    mc_status status = mc_engine_new(&options, &p->engine);
    if (status == MC_OK) {
        p->worker = &p->engine->workers[0];
        p->net = mc_net_new(p->worker->loop);
        p->connector = (mc_connector){pipeline_connect, p};
        p->worker->connector = &p->connector;
        status = p->net == NULL ? MC_ENOMEM : pipeline_configure(p, json, error);
    }
    if (status != MC_OK) {
        pipeline_close(p);
    }
    return status;
}

static inline mc_status pipeline_open(pipeline *p, const char *json, uint64_t seed, mc_error *error) {
    return pipeline_open_with(p, json, seed, false, error);
}

/* Turns until nothing is left to do at this moment; does not advance the clock. */
static inline void pipeline_settle(pipeline *p) {
    while (mc_loop_turn(p->worker->loop, 0) > 0) {
    }
}

/* Lets virtual time pass. */
static inline void pipeline_run(pipeline *p, uint64_t ms) {
    uint64_t until = mc_loop_now_ms(p->worker->loop) + ms;
    pipeline_settle(p);
    while (mc_loop_now_ms(p->worker->loop) < until) {
        mc_loop_turn(p->worker->loop, (int64_t)(until - mc_loop_now_ms(p->worker->loop)));
        pipeline_settle(p);
    }
}

static inline mc_status pipeline_client(pipeline *p, pipeline_peer *client, const char *listener) {
    mc_worker_listener *at = mc_worker_find_listener(p->worker, mc_slice_cstr(listener));
    memset(client, 0, sizeof *client);
    client->owner = p;
    mc_buffer_init(&client->in, NULL);
    return at == NULL ? MC_ENOTFOUND
                      : mc_downstream_memory(&p->worker->proxy, &at->source, &client->conn, p->net, &pipeline_events,
                                             &p->memory);
}

static inline void pipeline_client_close(pipeline_peer *client) {
    if (!client->closed) {
        mc_conn_abort(&client->conn, MC_CLOSE_LOCAL);
        pipeline_settle(client->owner);
    }
    mc_buffer_clear(&client->in);
}

/* Everything down, everything freed. */
static inline void pipeline_close(pipeline *p) {
    if (p->engine != NULL && p->worker != NULL && p->worker->loop != NULL) {
        mc_engine_stop(p->engine);
        while (!atomic_load(&p->worker->stopped) && mc_loop_turn(p->worker->loop, 1000) >= 0) {
        }
        MC_LIST_EACH(&p->servers, node) {
            mc_conn_abort(&MC_CONTAINER(node, pipeline_peer, link)->conn, MC_CLOSE_LOCAL);
        }
        pipeline_settle(p);
    }
    if (p->net != NULL) {
        mc_net_free(p->net);
    }
    mc_engine_free(p->engine);
    mc_stats_unref(p->stats);
}

static inline uint64_t pipeline_counter(pipeline *p, const char *name) {
    return mc_stats_value(p->stats, mc_stats_find(p->stats, MC_COUNTER, mc_slice_cstr(name)));
}
static inline uint64_t pipeline_gauge(pipeline *p, const char *name) {
    return mc_stats_value(p->stats, mc_stats_find(p->stats, MC_GAUGE, mc_slice_cstr(name)));
}

#endif
