#include "pool/client.h"

#include <errno.h>

#include "base/alloc.h"
#include "pool/race.h"

/* CP-3: streams that a connection in this state has room for; HTTP/1 has one at a time. */
static uint32_t has_room(unsigned state) { return state == MC_CLIENT_CONNECTING || state == MC_CLIENT_IDLE; }

static void client_move(mc_client *client, mc_list *list, mc_client_state state) {
    mc_link_unlink(&client->link);
    if (list != NULL) {
        mc_list_push_front(list, &client->link);
    }
    mc_pool *pool = client->pool;
    pool->state_count[client->state]--;
    pool->state_count[state]++;
    mc_pool_load *load = pool->upstream->load;
    load->unused += has_room(state) - has_room(client->state);
    load->busy += (state == MC_CLIENT_BUSY) - (client->state == MC_CLIENT_BUSY);
    client->state = (uint8_t)state;
}

/* What was written since the last time; writes of this very callback count next time. */
static void client_count_tx(mc_client *client) {
    mc_upstream *upstream = client->pool->upstream;
    mc_counter_add(upstream->slab, upstream->cluster->stats.upstream_cx_tx_bytes_total,
                   client->conn.tx_bytes - client->tx_counted);
    client->tx_counted = client->conn.tx_bytes;
}

/* Ends the attempt's hold on the connection; the gauges of an active stream go back. */
mc_attempt *mc_client_detach(mc_client *client) {
    mc_attempt *attempt = client->attempt;
    if (attempt != NULL) {
        mc_upstream *upstream = client->pool->upstream;
        client_count_tx(client);
        while (client->conn.read_off > 0) {
            mc_conn_resume_reading(&client->conn);
        }
        client->attempt = NULL;
        attempt->rx_bytes = client->conn.rx_bytes;
        attempt->refused_bytes = client->parser.error.field_bytes;
        client->cut_off = true;
        attempt->client = NULL;
        attempt->pool = NULL;
        atomic_fetch_sub_explicit(&client->pool->host->rq_active, 1, memory_order_relaxed);
        mc_breaker_give(&client->pool->breakers->requests, upstream->slab);
        GAUGE(upstream, upstream_rq_active, -1);
    }
    return attempt;
}

void mc_client_attach(mc_client *client, mc_attempt *attempt) {
    mc_upstream *upstream = client->pool->upstream;
    client->attempt = attempt;
    attempt->client = client;
    attempt->pool = client->pool;
    client_move(client, &client->pool->busy, MC_CLIENT_BUSY);
    if (client->requests_left != UINT32_MAX && --client->requests_left == 0) {
        COUNT(upstream, upstream_cx_max_requests);
    }
    client->answered = false;
    client->served++;
    mc_breaker_take(&client->pool->breakers->requests, upstream->slab);
    if (MC_UNLIKELY(client->pool->breakers->recent != NULL)) {
        mc_recent_count(client->pool->breakers->recent, mc_loop_now_ms(mc_net_loop(upstream->net)));
    }
    atomic_fetch_add_explicit(&client->pool->host->rq_active, 1, memory_order_relaxed);
    COUNT(upstream, upstream_rq_total);
    GAUGE(upstream, upstream_rq_active, 1);
    mc_counter_inc(upstream->slab, client->pool->host->stats.rq_total);
    if (MC_UNLIKELY(client->pool->raw)) {
        mc_attempt_tunnel(attempt);
    } else {
        mc_h1_parser_expect(&client->parser, attempt->method);
    }
}

void mc_client_close(mc_client *client) {
    if (client->state != MC_CLIENT_CLOSING) {
        client_move(client, NULL, MC_CLIENT_CLOSING);
        if (client->race != NULL) {
            mc_race_stop(client->race, MC_CLOSE_LOCAL);
        } else {
            mc_conn_close(&client->conn, false);
        }
    }
}

static void client_idle(mc_client *client) {
    mc_pool *pool = client->pool;
    mc_loop *loop = mc_net_loop(pool->upstream->net);
    uint64_t timeout = pool->upstream->cluster->idle_timeout_ms;
    client_move(client, &pool->idle, MC_CLIENT_IDLE);
    client->idle_ms = mc_loop_now_ms(loop);
    if (timeout != 0 && !mc_timer_armed(&client->timer)) { /* an armed one looks at idle_ms when it fires */
        mc_timer_arm(loop, &client->timer, timeout);
    }
    if (!mc_list_empty(&pool->pending)) {
        /* After this callback: a close by the server that came along is seen first (CP-10). */
        mc_loop_defer(loop, &pool->serve);
    }
}

static void client_timer(mc_timer *timer) {
    mc_client *client = MC_CONTAINER(timer, mc_client, timer);
    mc_upstream *upstream = client->pool->upstream;
    mc_loop *loop = mc_net_loop(upstream->net);
    uint64_t now = mc_loop_now_ms(loop);
    if (client->state == MC_CLIENT_CONNECTING) {
        if (client->race != NULL) {
            mc_race_stop(client->race, MC_CLOSE_TIMEOUT);
        } else {
            mc_conn_abort(&client->conn, MC_CLOSE_TIMEOUT);
        }
    } else if (client->state == MC_CLIENT_IDLE) {
        uint64_t idle = now - client->idle_ms, timeout = upstream->cluster->idle_timeout_ms;
        if (idle >= timeout) {
            COUNT(upstream, upstream_cx_idle_timeout);
            mc_client_close(client);
        } else {
            mc_timer_arm(loop, &client->timer, timeout - idle);
        }
    }
}

static void client_lifetime(mc_timer *timer) {
    mc_client *client = MC_CONTAINER(timer, mc_client, lifetime);
    COUNT(client->pool->upstream, upstream_cx_max_duration_reached);
    if (client->state == MC_CLIENT_IDLE) {
        mc_client_close(client);
    } else {
        client->requests_left = 0;
    }
}

static void client_connected(mc_conn *conn) {
    mc_client *client = MC_CONTAINER(conn, mc_client, conn);
    mc_upstream *upstream = client->pool->upstream;
    uint64_t now = mc_loop_now_ms(mc_net_loop(upstream->net));
    if (client->race != NULL) {
        mc_race_won(client);
    }
    mc_timer_cancel(mc_net_loop(upstream->net), &client->timer);
    client->connected = true;
    mc_histogram_record(upstream->slab, upstream->cluster->stats.upstream_cx_connect_ms, now - client->since_ms);
    if (upstream->cluster->max_connection_ms != 0) {
        mc_loop *loop = mc_net_loop(upstream->net);
        mc_timer_arm(loop, &client->lifetime,
                     mc_random_lengthen(mc_loop_random(loop), upstream->cluster->max_connection_ms,
                                        upstream->cluster->max_connection_jitter));
    }
    client_idle(client);
    mc_pool_trim(client->pool);
}

void mc_client_reset(mc_client *client, mc_reset_reason reason) {
    mc_attempt *attempt = mc_client_detach(client);
    if (attempt != NULL) {
        attempt->events->on_reset(attempt, reason);
    }
}

/* The server ended the connection. What it could not have meant to answer, because it closed an idle connection while the request was
 * on its way, goes to another connection. */
static void client_lost(mc_client *client) {
    mc_attempt *attempt = client->attempt;
    mc_pool *pool = client->pool;
    if (attempt != NULL && attempt->replayable && client->served > 1 && !client->answered && !pool->draining &&
        !pool->upstream->retired) {
        mc_client_detach(client);
        attempt->request_sent = false;
        mc_pool_take_back(pool, attempt);
        return;
    }
    /* A connection may be half-closed by a CONNECT: an end that comes with bytes is the connection's, not the response's. */
    const bool half = client->conn.eof_joined && attempt != NULL && mc_slice_eq(attempt->method, MC_SLICE("CONNECT"));
    const bool cut = attempt != NULL && !attempt->tunnel && !mc_h1_parser_idle(&client->parser);
    if (cut && !half) { /* in the middle of a response */
        COUNT(pool->upstream, upstream_cx_protocol_error);
        mc_client_reset(client, MC_RESET_PROTOCOL_ERROR);
        return;
    }
    mc_client_reset(client, MC_RESET_CONNECTION_TERMINATION);
}

static size_t client_data(mc_conn *conn, mc_slice data) {
    mc_client *client = MC_CONTAINER(conn, mc_client, conn);
    mc_upstream *upstream = client->pool->upstream;
    if (client->state == MC_CLIENT_CLOSING) {
        return data.n;
    }
    mc_counter_add(upstream->slab, upstream->cluster->stats.upstream_cx_rx_bytes_total, data.n);
    client->answered = true;
    if (client->attempt == NULL) { /* a response nobody asked for (H1-14) */
        COUNT(upstream, upstream_cx_protocol_error);
        mc_client_close(client);
        return data.n;
    }
    long consumed = mc_h1_parser_feed(&client->parser, data);
    if (client->state == MC_CLIENT_CLOSING) {
        if (consumed >= 0 && (size_t)consumed < data.n) { /* its last response was complete */
            COUNT(upstream, upstream_cx_protocol_error);
        }
        return data.n;
    }
    if (consumed < 0 || (size_t)consumed < data.n) { /* malformed, or bytes after a complete response (H1-14) */
        COUNT(upstream, upstream_cx_protocol_error);
        mc_client_reset(client, MC_RESET_PROTOCOL_ERROR);
        mc_client_close(client);
        return data.n;
    }
    return (size_t)consumed;
}

static void client_eof(mc_conn *conn) {
    mc_client *client = MC_CONTAINER(conn, mc_client, conn);
    if (client->state == MC_CLIENT_CLOSING) {
        return;
    }
    client->last_keep_alive = false;
    client->ended = true;
    /* A body that runs until close ends here and detaches its attempt; whatever is still attached was cut off. A tunnel through HTTP
     * never ends in order; one of bytes alone does. */
    const bool cut = client->attempt != NULL && client->attempt->tunnel && !client->pool->raw;
    if (client->attempt == NULL || cut || mc_h1_parser_eof(&client->parser) != MC_OK || client->attempt != NULL) {
        client_lost(client);
    }
    if (client->state != MC_CLIENT_CLOSING) {
        client_move(client, NULL, MC_CLIENT_CLOSING);
        mc_conn_abort(&client->conn, MC_CLOSE_REMOTE);
    }
}

static void client_high(mc_conn *conn) {
    mc_attempt *attempt = MC_CONTAINER(conn, mc_client, conn)->attempt;
    if (attempt != NULL) {
        attempt->events->on_high(attempt);
    }
}

static void client_low(mc_conn *conn) {
    mc_attempt *attempt = MC_CONTAINER(conn, mc_client, conn)->attempt;
    if (attempt != NULL) {
        attempt->events->on_low(attempt);
    }
}

static mc_connect_error connect_error(int number) {
    switch (number) {
#define CONNECT_CASE(number, text, joined)                                                                             \
    case number: return MC_CONNECT_##number;
        MC_CONNECT_ERRORS(CONNECT_CASE)
#undef CONNECT_CASE
    default: return MC_CONNECT_ERROR_NONE;
    }
}

static void client_count_destroy(mc_client *client, bool active, bool remote) {
    mc_upstream *upstream = client->pool->upstream;
    mc_histogram_record(upstream->slab, upstream->cluster->stats.upstream_cx_length_ms,
                        mc_loop_now_ms(mc_net_loop(upstream->net)) - client->since_ms);
    COUNT(upstream, upstream_cx_destroy);
    if (remote) {
        COUNT(upstream, upstream_cx_destroy_remote);
    } else {
        COUNT(upstream, upstream_cx_destroy_local);
    }
    if (active) {
        COUNT(upstream, upstream_cx_destroy_with_active_rq);
        if (remote) {
            COUNT(upstream, upstream_cx_destroy_remote_with_active_rq);
        } else {
            COUNT(upstream, upstream_cx_destroy_local_with_active_rq);
        }
    }
}

static void client_connect_failed(mc_client *client, mc_close_reason why, int error) {
    mc_pool *pool = client->pool;
    mc_upstream *upstream = pool->upstream;
    client_count_destroy(client, false, why != MC_CLOSE_TIMEOUT && why != MC_CLOSE_LOCAL);
    COUNT(upstream, upstream_cx_connect_fail);
    mc_counter_inc(upstream->slab, pool->host->stats.cx_connect_fail);
    if (why == MC_CLOSE_TIMEOUT) {
        COUNT(upstream, upstream_cx_connect_timeout);
    }
    mc_pool_fail_pending(pool,
                         why == MC_CLOSE_TIMEOUT ? MC_RESET_CONNECTION_TIMEOUT
                         : why == MC_CLOSE_LOCAL ? MC_RESET_LOCAL_CONNECTION_FAILURE
                                                 : MC_RESET_REMOTE_CONNECTION_FAILURE,
                         connect_error(error));
}

/* The pool, its host and its cluster have one connection more, or less. */
static void client_count(mc_client *client) {
    mc_pool *pool = client->pool;
    mc_upstream *upstream = pool->upstream;
    client->counted = true;
    mc_breaker_take(&pool->breakers->connections, upstream->slab);
    atomic_fetch_add_explicit(&pool->host->cx_active, 1, memory_order_relaxed);
    GAUGE(upstream, upstream_cx_active, 1);
    mc_gauge_add(upstream->slab, pool->host->stats.cx_active, 1);
    pool->state_count[client->state]++;
    client_move(client, &pool->connecting, MC_CLIENT_CONNECTING);
}

static void client_uncount(mc_client *client) {
    mc_pool *pool = client->pool;
    mc_upstream *upstream = pool->upstream;
    client_move(client, NULL, MC_CLIENT_CLOSING);
    client->counted = false;
    mc_timer_cancel(mc_net_loop(upstream->net), &client->timer);
    mc_timer_cancel(mc_net_loop(upstream->net), &client->lifetime);
    GAUGE(upstream, upstream_cx_active, -1);
    mc_gauge_add(upstream->slab, pool->host->stats.cx_active, -1);
    atomic_fetch_sub_explicit(&pool->host->cx_active, 1, memory_order_relaxed);
    mc_breaker_give(&pool->breakers->connections, upstream->slab);
    pool->state_count[client->state]--;
}

void mc_client_replace(mc_client *leader, mc_client *client) {
    client->since_ms = leader->since_ms;
    client_count(client);
    client_uncount(leader);
}

void mc_client_free(mc_client *client) {
    mc_pool *pool = client->pool;
    if (client->counted) {
        client_uncount(client);
    }
    mc_link_unlink(&client->link);
    pool->client_count--;
    pool->upstream->clients--;
    mc_free(client);
    if (!mc_list_empty(&pool->pending)) {
        mc_loop_defer(mc_net_loop(pool->upstream->net), &pool->serve);
    }
    mc_pool_maybe_free(pool);
}

void mc_client_failed(mc_client *client, mc_close_reason why, int error) {
    client_move(client, NULL, MC_CLIENT_CLOSING);
    client_connect_failed(client, why, error);
    mc_client_free(client);
}

static void client_ended(mc_client *client, mc_close_reason reason) {
    mc_pool *pool = client->pool;
    mc_upstream *upstream = pool->upstream;
    const bool remote = reason == MC_CLOSE_REMOTE || reason == MC_CLOSE_RESET;
    client_count_destroy(client, client->attempt != NULL || client->cut_off, remote);
    mc_histogram_record(upstream->slab, upstream->cluster->stats.upstream_rq_per_cx, client->served);
    client_move(client, NULL, MC_CLIENT_CLOSING);
    if (remote) {
        client_lost(client);
    } else {
        mc_client_reset(client, MC_RESET_CONNECTION_TERMINATION);
    }
    mc_client_free(client);
}

static void client_closed(mc_conn *conn, mc_close_reason reason) {
    mc_client *client = MC_CONTAINER(conn, mc_client, conn);
    client_count_tx(client);
    if (client->race != NULL) {
        mc_race_lost(client, reason);
    } else if (!client->counted) { /* another one had been faster */
        mc_client_free(client);
    } else if (!client->connected) {
        mc_client_failed(client, reason, conn->connect_error);
    } else {
        client_ended(client, reason);
    }
}

static const mc_conn_events client_events = {
    .on_connected = client_connected,
    .on_data = client_data,
    .on_eof = client_eof,
    .on_high = client_high,
    .on_low = client_low,
    .on_close = client_closed,
};

/* --- the response, as the parser tells it --------------------------------------------------------------------------- */

static mc_headers *response_begin(void *ctx) {
    mc_client *client = ctx;
    return client->attempt == NULL ? NULL : client->attempt->events->on_begin(client->attempt);
}

static mc_status response_headers(void *ctx, const mc_h1_head *head) {
    mc_client *client = ctx;
    client->informational = head->status < 200 && head->status != 101;
    client->last_keep_alive = head->keep_alive;
    if (head->asks_to_close && !client->informational) {
        COUNT(client->pool->upstream, upstream_cx_close_notify);
    }
    return client->attempt->events->on_headers(client->attempt, head);
}

static mc_status response_body(void *ctx, mc_slice data) {
    mc_client *client = ctx;
    return client->attempt == NULL ? MC_ECLOSED : client->attempt->events->on_body(client->attempt, data);
}

static mc_status response_trailers(void *ctx, mc_headers *trailers) {
    mc_client *client = ctx;
    return client->attempt == NULL ? MC_ECLOSED : client->attempt->events->on_trailers(client->attempt, trailers);
}

static mc_status response_complete(void *ctx) {
    mc_client *client = ctx;
    mc_pool *pool = client->pool;
    if (client->attempt == NULL) {
        return MC_ECLOSED;
    }
    if (client->informational) {
        return MC_OK;
    }
    mc_attempt *attempt = mc_client_detach(client);
    client->cut_off = !attempt->request_sent;
    bool reuse = client->last_keep_alive && attempt->request_sent && !attempt->tunnel && client->requests_left > 0 &&
                 !pool->draining && !pool->upstream->retired;
    if (reuse) {
        client_idle(client);
    } else if (!client->ended) {
        mc_client_close(client);
    }
    attempt->events->on_complete(attempt);
    return MC_AGAIN; /* one response an attempt */
}

static const mc_h1_handler response_handler = {
    .on_begin = response_begin,
    .on_headers = response_headers,
    .on_body = response_body,
    .on_trailers = response_trailers,
    .on_complete = response_complete,
};

/* --- its beginning -------------------------------------------------------------------------------------------------- */

static mc_status socket_connect(const mc_upstream *upstream, mc_client *client, const mc_host *host) {
    if (upstream->connector != NULL) {
        return upstream->connector->connect(upstream->connector->ctx, &client->conn, upstream->net, host,
                                            &client_events);
    }
    const mc_address *address = mc_upstream_address_at(upstream, host, client->address_index);
    address = address == NULL ? &host->address : address;
    if (MC_LIKELY(!upstream->cluster->has_connect)) {
        return mc_conn_connect(&client->conn, upstream->net, address, &client_events);
    }
    bool bind_failed = false;
    mc_status status = mc_conn_connect_from(&client->conn, upstream->net, address, &upstream->cluster->connect,
                                            &bind_failed, &client_events);
    if (bind_failed) {
        COUNT(upstream, bind_errors);
    }
    return status;
}

mc_status mc_client_new(mc_pool *pool, uint32_t address_index, mc_client **out) {
    mc_upstream *upstream = pool->upstream;
    mc_cluster *cluster = upstream->cluster;
    mc_client *client = mc_calloc(1, sizeof *client);
    if (client == NULL) {
        return MC_ENOMEM;
    }
    client->pool = pool;
    client->address_index = address_index;
    client->timer.fire = client_timer;
    client->lifetime.fire = client_lifetime;
    client->since_ms = mc_loop_now_ms(mc_net_loop(upstream->net));
    client->requests_left =
        cluster->max_requests_per_connection == 0 ? UINT32_MAX : cluster->max_requests_per_connection;
    mc_h1_parser_init(&client->parser, MC_H1_RESPONSE, &cluster->h1, &response_handler, client);
    mc_status status = socket_connect(upstream, client, pool->host);
    if (status != MC_OK) {
        mc_free(client);
        return status;
    }
    client->conn.high_watermark = cluster->buffer_limit;
    if (cluster->tcp_keepalive && client->conn.io.fd >= 0) {
        mc_socket_keepalive(client->conn.io.fd, cluster->keepalive_probes, cluster->keepalive_time_s,
                            cluster->keepalive_interval_s);
    }
    upstream->clients++;
    pool->client_count++;
    *out = client;
    return MC_OK;
}

mc_status mc_client_connect(mc_pool *pool) {
    mc_upstream *upstream = pool->upstream;
    mc_client *client;
    mc_status status = mc_client_new(pool, 0, &client);
    if (status != MC_OK) {
        COUNT(upstream, upstream_cx_connect_fail);
        mc_counter_inc(upstream->slab, pool->host->stats.cx_connect_fail);
        return status;
    }
    client_count(client);
    mc_timer_arm(mc_net_loop(upstream->net), &client->timer, upstream->cluster->connect_timeout_ms);
    COUNT(upstream, upstream_cx_total);
    mc_counter_inc(upstream->slab, pool->host->stats.cx_total);
    if (!pool->raw) {
        COUNT(upstream, upstream_cx_http1_total);
    }
    mc_race_begin(client);
    return MC_OK;
}
