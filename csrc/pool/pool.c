#include "pool/pool.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "pool/aggregate.h"
#include "pool/client.h"
#include "pool/race.h"

mc_slice mc_reset_reason_text(mc_reset_reason reason) {
    static const mc_slice texts[] = {
#define MC_RESET_TEXT(id, text, flag) MC_SLICE_INIT(text),
        MC_RESET_REASONS(MC_RESET_TEXT)
#undef MC_RESET_TEXT
    };
    return texts[reason];
}

#define COUNT(upstream, name)        mc_counter_inc((upstream)->slab, (upstream)->cluster->stats.name)
#define GAUGE(upstream, name, delta) mc_gauge_add((upstream)->slab, (upstream)->cluster->stats.name, delta)

static void pool_maybe_free(mc_pool *pool);
static void pool_trim(mc_pool *pool);
static mc_status pool_connect(mc_pool *pool);
static void pool_fail_pending(mc_pool *pool, mc_reset_reason reason, mc_connect_error error);
static void pending_enter(mc_pool *pool, mc_attempt *attempt, bool first);

/* --- client ------------------------------------------------------------------------------------------------------ */

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
static mc_attempt *client_detach(mc_client *client) {
    mc_attempt *attempt = client->attempt;
    if (attempt != NULL) {
        mc_upstream *upstream = client->pool->upstream;
        client_count_tx(client);
        while (client->conn.read_off > 0) {
            mc_conn_resume_reading(&client->conn);
        }
        client->attempt = NULL;
        attempt->rx_bytes = client->conn.rx_bytes;
        client->cut_off = true;
        attempt->client = NULL;
        attempt->pool = NULL;
        atomic_fetch_sub_explicit(&client->pool->host->rq_active, 1, memory_order_relaxed);
        mc_breaker_give(&client->pool->breakers->requests, upstream->slab);
        GAUGE(upstream, upstream_rq_active, -1);
    }
    return attempt;
}

static void client_attach(mc_client *client, mc_attempt *attempt) {
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

static void client_close(mc_client *client) {
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
            client_close(client);
        } else {
            mc_timer_arm(loop, &client->timer, timeout - idle);
        }
    }
}

static void client_lifetime(mc_timer *timer) {
    mc_client *client = MC_CONTAINER(timer, mc_client, lifetime);
    COUNT(client->pool->upstream, upstream_cx_max_duration_reached);
    if (client->state == MC_CLIENT_IDLE) {
        client_close(client);
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
        mc_timer_arm(mc_net_loop(upstream->net), &client->lifetime, upstream->cluster->max_connection_ms);
    }
    client_idle(client);
    pool_trim(client->pool);
}

static void client_reset_attempt(mc_client *client, mc_reset_reason reason) {
    mc_attempt *attempt = client_detach(client);
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
        client_detach(client);
        attempt->request_sent = false;
        pending_enter(pool, attempt, true);
        mc_loop_defer(mc_net_loop(pool->upstream->net), &pool->serve);
        return;
    }
    if (attempt != NULL && !attempt->tunnel && !mc_h1_parser_idle(&client->parser)) { /* in the middle of a response */
        COUNT(pool->upstream, upstream_cx_protocol_error);
        client_reset_attempt(client, MC_RESET_PROTOCOL_ERROR);
        return;
    }
    client_reset_attempt(client, MC_RESET_CONNECTION_TERMINATION);
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
        client_close(client);
        return data.n;
    }
    long consumed = mc_h1_parser_feed(&client->parser, data);
    if (client->state == MC_CLIENT_CLOSING) {
        return data.n;
    }
    if (consumed < 0 || (size_t)consumed < data.n) { /* malformed, or bytes after a complete response (H1-14) */
        COUNT(upstream, upstream_cx_protocol_error);
        client_reset_attempt(client, MC_RESET_PROTOCOL_ERROR);
        client_close(client);
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
    pool_fail_pending(pool,
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
    pool_maybe_free(pool);
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
        client_reset_attempt(client, MC_RESET_CONNECTION_TERMINATION);
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
    mc_attempt *attempt = client_detach(client);
    client->cut_off = !attempt->request_sent;
    bool reuse = client->last_keep_alive && attempt->request_sent && !attempt->tunnel && client->requests_left > 0 &&
                 !pool->draining && !pool->upstream->retired;
    if (reuse) {
        client_idle(client);
    } else if (!client->ended) {
        client_close(client);
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

/* --- pool ---------------------------------------------------------------------------------------------------------- */

static mc_status socket_connect(const mc_upstream *upstream, mc_client *client, const mc_host *host) {
    if (upstream->connector != NULL) {
        return upstream->connector->connect(upstream->connector->ctx, &client->conn, upstream->net, host,
                                            &client_events);
    }
    const mc_address *address = mc_hosts_address(upstream->hosts, host, client->address_index);
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

static mc_status pool_connect(mc_pool *pool) {
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

/* CB-5. */
static bool may_connect(const mc_pool *pool) {
    return !mc_breaker_open(&pool->breakers->connections) &&
           atomic_load_explicit(&pool->host->cx_active, memory_order_relaxed) <
               pool->breakers->max_connections_per_host;
}

/* CP-5: do the streams, waiting, at work and expected, need more than there is? */
static bool more_wanted(const mc_pool *pool, float ratio, uint32_t expected) {
    const uint32_t connecting = pool->state_count[MC_CLIENT_CONNECTING], active = pool->state_count[MC_CLIENT_BUSY];
    const uint32_t unused = connecting + pool->state_count[MC_CLIENT_IDLE];
    if (ratio <= 1 && expected == 0) {
        return pool->pending_count > unused;
    }
    if (mc_host_health(pool->host) != MC_HEALTHY) {
        return pool->pending_count > connecting;
    }
    return (float)(pool->pending_count + active + expected) * ratio > (float)(unused + active);
}

/* CP-5, CP-6: up to three new connections, as long as the breaker has room; a pool without any gets one in any case. */
static mc_status pool_grow(mc_pool *pool) {
    mc_upstream *upstream = pool->upstream;
    const float ratio = upstream->cluster->per_upstream_preconnect;
    for (int i = 0; i < 3 && more_wanted(pool, ratio, 0); i++) {
        const bool room = may_connect(pool);
        if (!room) {
            COUNT(upstream, upstream_cx_overflow);
            if (pool->client_count > 0) {
                return MC_OK;
            }
        }
        mc_status status = pool_connect(pool);
        if (status != MC_OK || !room) {
            return status;
        }
    }
    return MC_OK;
}

static void pending_enter(mc_pool *pool, mc_attempt *attempt, bool first) {
    attempt->pool = pool;
    attempt->client = NULL;
    if (first) {
        mc_list_push_front(&pool->pending, &attempt->pending);
    } else {
        mc_list_push_back(&pool->pending, &attempt->pending);
    }
    pool->pending_count++;
    pool->upstream->load->waiting++;
    mc_breaker_take(&pool->breakers->pending, pool->upstream->slab);
    COUNT(pool->upstream, upstream_rq_pending_total);
    GAUGE(pool->upstream, upstream_rq_pending_active, 1);
}

static void pending_leave(mc_pool *pool, mc_attempt *attempt) {
    mc_link_unlink(&attempt->pending);
    attempt->pool = NULL;
    pool->pending_count--;
    pool->upstream->load->waiting--;
    mc_breaker_give(&pool->breakers->pending, pool->upstream->slab);
    GAUGE(pool->upstream, upstream_rq_pending_active, -1);
}

static void pool_fail_pending(mc_pool *pool, mc_reset_reason reason, mc_connect_error error) {
    mc_list failed; /* an attempt may come back to this pool at once: its retry must not fail with the others */
    mc_list_init(&failed);
    mc_list_splice(&failed, &pool->pending);
    for (mc_link *node; (node = mc_list_first(&failed)) != NULL;) {
        mc_attempt *attempt = MC_CONTAINER(node, mc_attempt, pending);
        pending_leave(pool, attempt);
        COUNT(pool->upstream, upstream_rq_pending_failure_eject);
        attempt->connect_error = error;
        attempt->events->on_failure(attempt, reason);
    }
}

static void pool_serve(mc_deferred *deferred) {
    mc_pool *pool = MC_CONTAINER(deferred, mc_pool, serve);
    mc_upstream *upstream = pool->upstream;
    while (!mc_list_empty(&pool->pending) && !mc_list_empty(&pool->idle)) {
        mc_client *client = MC_CONTAINER(mc_list_first(&pool->idle), mc_client, link);
        mc_attempt *attempt = MC_CONTAINER(mc_list_first(&pool->pending), mc_attempt, pending);
        pending_leave(pool, attempt);
        if (mc_breaker_open(&pool->breakers->requests)) { /* CB-6: also when leaving the queue */
            COUNT(upstream, upstream_rq_pending_overflow);
            attempt->refused = true;
            attempt->events->on_failure(attempt, MC_RESET_OVERFLOW);
            continue;
        }
        client_attach(client, attempt);
        attempt->events->on_ready(attempt);
    }
    pool_trim(pool);
    if (!mc_list_empty(&pool->pending) && pool_grow(pool) != MC_OK && pool->client_count == 0) {
        pool_fail_pending(pool, MC_RESET_LOCAL_CONNECTION_FAILURE, MC_CONNECT_ERROR_NONE);
    }
    pool_maybe_free(pool);
}

/* CP-15: connections for streams that are expected, to the hosts that the balancer would choose next. What all clusters of the
 * worker have counts. */
static void preconnect(mc_upstream *upstream) {
    const float ratio = upstream->cluster->predictive_preconnect;
    const mc_lb_request request = {.now_ms = mc_loop_now_ms(mc_net_loop(upstream->net))};
    for (int i = 0; i < 3; i++) {
        const mc_pool_load *load = upstream->load;
        if ((float)(load->waiting + load->busy + 1) * ratio <= (float)(load->unused + load->busy)) {
            return;
        }
        mc_host *host = mc_lb_peek(upstream->lb, &request);
        mc_pool *pool;
        if (host == NULL || mc_host_health(host) != MC_HEALTHY ||
            mc_upstream_pool(upstream, host, MC_PRIORITY_DEFAULT, &pool) != MC_OK) {
            return;
        }
        if (!more_wanted(pool, ratio, 1) || !may_connect(pool) || pool_connect(pool) != MC_OK) {
            pool_maybe_free(pool);
            return;
        }
    }
}

mc_status mc_pool_start(mc_pool *pool, mc_attempt *attempt) {
    mc_upstream *upstream = pool->upstream;
    if (MC_UNLIKELY(upstream->cluster->predictive_preconnect > 1)) {
        preconnect(upstream);
    }
    mc_link *idle = mc_list_first(&pool->idle);
    if (MC_LIKELY(idle != NULL)) {
        if (mc_breaker_open(&pool->breakers->requests)) {
            COUNT(upstream, upstream_rq_pending_overflow);
            attempt->refused = true;
            return MC_ELIMIT;
        }
        client_attach(MC_CONTAINER(idle, mc_client, link), attempt);
        if (MC_UNLIKELY(upstream->cluster->per_upstream_preconnect > 1)) {
            (void)!pool_grow(pool); /* ahead of need: who cannot have it does without */
        }
        return MC_OK;
    }
    if (mc_breaker_open(&pool->breakers->pending)) {
        COUNT(upstream, upstream_rq_pending_overflow);
        pool_maybe_free(pool);
        return MC_ELIMIT;
    }
    pending_enter(pool, attempt, false);
    mc_status status = pool_grow(pool);
    if (status != MC_OK && pool->client_count == 0) {
        pending_leave(pool, attempt);
        COUNT(upstream, upstream_rq_pending_failure_eject);
        pool_maybe_free(pool);
        return MC_ECLOSED;
    }
    return MC_AGAIN;
}

mc_conn *mc_attempt_conn(mc_attempt *attempt) { return attempt->client == NULL ? NULL : &attempt->client->conn; }

void mc_attempt_cancel(mc_attempt *attempt) {
    mc_pool *pool = attempt->pool;
    if (pool == NULL) {
        return;
    }
    if (attempt->client == NULL) {
        pending_leave(pool, attempt);
        COUNT(pool->upstream, upstream_rq_cancelled);
        pool_trim(pool);
        pool_maybe_free(pool);
        return;
    }
    mc_client *client = attempt->client;
    client_detach(client);
    client_close(client);
}

void mc_attempt_tunnel(mc_attempt *attempt) {
    attempt->tunnel = true;
    mc_h1_parser_tunnel(&attempt->client->parser);
}

static mc_slice pool_key(const mc_pool *pool) { return mc_slice_of(&pool->key, sizeof pool->key); }

/* Hosts are aligned, so the lowest bit is free. */
static uintptr_t key_of(const mc_host *host, mc_rq_priority priority, bool raw) {
    return (uintptr_t)host | (uintptr_t)priority | (raw ? MC_PRIORITIES : 0u);
}

static void pool_free(mc_pool *pool) {
    mc_deferred_cancel(&pool->serve);
    mc_deferred_cancel(&pool->dying);
    mc_breaker_give(&pool->breakers->pools, pool->upstream->slab);
    mc_link_unlink(&pool->link);
    mc_map_remove(&pool->upstream->pool_of, pool_key(pool));
    mc_host_unref(pool->host);
    mc_free(pool);
}

static void upstream_die(mc_deferred *deferred) {
    mc_upstream *upstream = MC_CONTAINER(deferred, mc_upstream, dying);
    if (upstream->retired && upstream->clients == 0 && upstream->holds == 0) {
        mc_upstream_free(upstream);
    }
}

static void upstream_maybe_die(mc_upstream *upstream) {
    if (upstream->retired && upstream->clients == 0 && upstream->holds == 0) {
        mc_loop_defer(mc_net_loop(upstream->net), &upstream->dying);
    }
}

static bool pool_unused(const mc_pool *pool) { return pool->client_count == 0 && pool->pending_count == 0; }

static void pool_die(mc_deferred *deferred) {
    mc_pool *pool = MC_CONTAINER(deferred, mc_pool, dying);
    if (pool_unused(pool)) {
        pool_free(pool);
    }
}

/* CP-14. After the callbacks that may be using it. */
static void pool_maybe_free(mc_pool *pool) {
    if (pool_unused(pool)) {
        mc_loop_defer(mc_net_loop(pool->upstream->net), &pool->dying);
    }
    upstream_maybe_die(pool->upstream);
}

static mc_pool *pool_new(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, bool raw) {
    mc_pool *pool = mc_calloc(1, sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    pool->host = host;
    pool->key = key_of(host, priority, raw);
    pool->raw = raw;
    pool->upstream = upstream;
    pool->breakers = &upstream->cluster->breakers[priority];
    pool->serve.run = pool_serve;
    pool->dying.run = pool_die;
    mc_list_init(&pool->idle);
    mc_list_init(&pool->busy);
    mc_list_init(&pool->connecting);
    mc_list_init(&pool->pending);
    if (mc_map_put(&upstream->pool_of, pool_key(pool), pool) != MC_OK) {
        mc_free(pool);
        return NULL;
    }
    mc_list_push_back(&upstream->pools, &pool->link);
    mc_breaker_take(&pool->breakers->pools, upstream->slab);
    mc_host_ref(host);
    return pool;
}

static mc_status find_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, bool raw, mc_pool **out) {
    const uintptr_t key = key_of(host, priority, raw);
    mc_pool *pool = mc_map_get(&upstream->pool_of, mc_slice_of(&key, sizeof key));
    if (MC_UNLIKELY(pool == NULL)) {
        if (mc_breaker_open(&upstream->cluster->breakers[priority]
                                 .pools)) { /* CP-12: no other pool serves this host and priority */
            COUNT(upstream, upstream_cx_pool_overflow);
            return MC_ELIMIT;
        }
        if ((pool = pool_new(upstream, host, priority, raw)) == NULL) {
            return MC_ENOMEM;
        }
    }
    *out = pool;
    return MC_OK;
}

mc_status mc_upstream_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, mc_pool **out) {
    return find_pool(upstream, host, priority, false, out);
}

mc_status mc_upstream_raw_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, mc_pool **out) {
    return find_pool(upstream, host, priority, true, out);
}

/* A draining pool keeps no connection that nobody waits for. */
static void pool_trim(mc_pool *pool) {
    if (!pool->draining || !mc_list_empty(&pool->pending)) {
        return;
    }
    MC_LIST_EACH(&pool->idle, idle) { client_close(MC_CONTAINER(idle, mc_client, link)); }
    MC_LIST_EACH(&pool->connecting, connecting) { client_close(MC_CONTAINER(connecting, mc_client, link)); }
}

/* CP-14, "drain and delete". */
static void pool_drain(mc_pool *pool) {
    pool->draining = true;
    MC_LIST_EACH(&pool->idle, node) { client_close(MC_CONTAINER(node, mc_client, link)); }
    pool_trim(pool);
    pool_maybe_free(pool);
}

/* CP-14, "drain existing". */
static void pool_drain_existing(mc_pool *pool) {
    MC_LIST_EACH(&pool->idle, node) { client_close(MC_CONTAINER(node, mc_client, link)); }
    MC_LIST_EACH(&pool->busy, node) { MC_CONTAINER(node, mc_client, link)->requests_left = 0; }
}

/* --- upstream -------------------------------------------------------------------------------------------------------- */

mc_upstream *mc_upstream_new(mc_cluster *cluster, mc_hosts *hosts, mc_lb_plan *plan, mc_net *net, mc_slab *slab,
                             const mc_connector *connector, mc_pool_load *load) {
    mc_upstream *upstream = mc_calloc(1, sizeof *upstream);
    if (upstream == NULL) {
        return NULL;
    }
    mc_loop *loop = mc_net_loop(net);
    const mc_lb_stats stats = mc_cluster_lb_stats(cluster, slab);
    upstream->lb = mc_lb_new_seeded(&cluster->lb, hosts, mc_loop_random(loop), mc_upstream_seed(cluster, loop), plan,
                                    mc_loop_now_ms(loop), &stats);
    if (upstream->lb == NULL) {
        mc_free(upstream);
        return NULL;
    }
    if (cluster->aggregate != NULL &&
        (upstream->aggregate = mc_aggregate_new(cluster->aggregate, cluster->lb.panic_threshold)) == NULL) {
        mc_lb_free(upstream->lb);
        mc_free(upstream);
        return NULL;
    }
    upstream->cluster = mc_cluster_ref(cluster);
    upstream->hosts = mc_hosts_ref(hosts);
    upstream->net = net;
    upstream->slab = slab;
    upstream->connector = connector;
    upstream->dying.run = upstream_die;
    mc_map_init(&upstream->pool_of);
    mc_list_init(&upstream->pools);
    mc_list_init(&upstream->own_hosts);
    upstream->load = load != NULL ? load : &upstream->own_load;
    upstream->load->upstreams++;
    return upstream;
}

void mc_upstream_retire(mc_upstream *upstream) {
    upstream->retired = true;
    MC_LIST_EACH(&upstream->pools, node) { pool_drain(MC_CONTAINER(node, mc_pool, link)); }
    upstream_maybe_die(upstream);
}

static void pool_drop(mc_pool *pool) {
    pool->draining = true;
    pool_fail_pending(pool, MC_RESET_CONNECTION_TERMINATION, MC_CONNECT_ERROR_NONE);
    mc_list *const lists[] = {&pool->idle, &pool->busy, &pool->connecting};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        MC_LIST_EACH(lists[i], node) {
            mc_client *client = MC_CONTAINER(node, mc_client, link);
            client_reset_attempt(client, MC_RESET_CONNECTION_TERMINATION);
            client_close(client);
        }
    }
}

typedef struct own_host {
    mc_link link;
    mc_host *host; /* referenced */
} own_host;

/* Those whose address `hosts` has now; NULL: all. */
static void forget_own_hosts(mc_upstream *upstream, const mc_hosts *hosts) {
    MC_LIST_EACH(&upstream->own_hosts, node) {
        own_host *own = MC_CONTAINER(node, own_host, link);
        if (hosts == NULL || mc_hosts_find(hosts, own->host->address_text) != NULL) {
            mc_link_unlink(&own->link);
            mc_host_unref(own->host);
            mc_free(own);
        }
    }
}

static mc_host *find_own_host(const mc_upstream *upstream, mc_slice text) {
    MC_LIST_EACH(&upstream->own_hosts, node) {
        mc_host *host = MC_CONTAINER(node, own_host, link)->host;
        if (mc_slice_eq(host->address_text, text)) {
            return host;
        }
    }
    return NULL;
}

static mc_host *make_own_host(mc_upstream *upstream, const mc_address *address) {
    mc_cluster *cluster = upstream->cluster;
    own_host *own = mc_malloc(sizeof *own);
    mc_host *host = mc_hosts_make_host(address, &cluster->lb, cluster->name, cluster->stats_store);
    if (own == NULL || host == NULL) {
        mc_free(own);
        mc_host_unref(host);
        return NULL;
    }
    *own = (own_host){.host = host};
    mc_list_push_back(&upstream->own_hosts, &own->link);
    if (upstream->on_new_host != NULL) {
        upstream->on_new_host(upstream->ctx, upstream, host);
    }
    return host;
}

mc_host *mc_upstream_original(mc_upstream *upstream, const mc_address *address) {
    char text[MC_ADDRESS_TEXT];
    const mc_slice key = mc_slice_of(text, mc_address_text(address, text));
    mc_host *host = mc_hosts_find(upstream->hosts, key);
    if (host == NULL) {
        host = find_own_host(upstream, key);
    }
    if (host == NULL) {
        host = make_own_host(upstream, address);
    }
    if (host != NULL && !atomic_load_explicit(&host->used, memory_order_relaxed)) {
        atomic_store_explicit(&host->used, true, memory_order_relaxed);
    }
    return host;
}

void mc_upstream_free(mc_upstream *upstream) {
    upstream->retired = true;
    if (upstream->clients > 0) { /* the last on_close comes back through upstream_die */
        MC_LIST_EACH(&upstream->pools, node) { pool_drop(MC_CONTAINER(node, mc_pool, link)); }
        return;
    }
    MC_LIST_EACH(&upstream->pools, node) { pool_free(MC_CONTAINER(node, mc_pool, link)); }
    mc_deferred_cancel(&upstream->dying);
    forget_own_hosts(upstream, NULL);
    mc_map_fini(&upstream->pool_of);
    mc_aggregate_free(upstream->aggregate);
    mc_lb_free(upstream->lb);
    mc_hosts_unref(upstream->hosts);
    mc_cluster_unref(upstream->cluster);
    upstream->load->upstreams--;
    mc_free(upstream);
}

void mc_upstream_release(mc_upstream *upstream) {
    upstream->holds--;
    upstream_maybe_die(upstream);
}

uint64_t mc_upstream_seed(const mc_cluster *cluster, const mc_loop *loop) {
    return mc_xxh64(cluster->name.p, cluster->name.n, mc_loop_seed(loop));
}

mc_status mc_upstream_update_planned(mc_upstream *upstream, mc_hosts *hosts, mc_lb_plan *plan) {
    mc_status status = mc_lb_update_planned(upstream->lb, hosts, plan, mc_loop_now_ms(mc_net_loop(upstream->net)));
    if (status != MC_OK) {
        return status;
    }
    mc_hosts *old = upstream->hosts;
    upstream->hosts = mc_hosts_ref(hosts);
    mc_hosts_unref(old);
    forget_own_hosts(upstream, hosts);
    MC_LIST_EACH(&upstream->pools, node) {
        mc_pool *pool = MC_CONTAINER(node, mc_pool, link);
        if (!pool->draining && !mc_hosts_has(hosts, pool->host) &&
            find_own_host(upstream, pool->host->address_text) != pool->host) {
            pool_drain(pool);
        } else if (upstream->cluster->close_on_host_set_change) {
            pool_drain_existing(pool);
        }
    }
    return MC_OK;
}

static void pool_close_all(mc_pool *pool) {
    MC_LIST_EACH(&pool->idle, node) { client_close(MC_CONTAINER(node, mc_client, link)); }
    MC_LIST_EACH(&pool->busy, node) { mc_conn_abort(&MC_CONTAINER(node, mc_client, link)->conn, MC_CLOSE_LOCAL); }
}

void mc_upstream_drain_host(mc_upstream *upstream, mc_host *host) {
    for (mc_rq_priority priority = MC_PRIORITY_DEFAULT; priority < MC_PRIORITIES; priority++) {
        for (int raw = 0; raw < 2; raw++) {
            const uintptr_t key = key_of(host, priority, raw == 1);
            mc_pool *pool = mc_map_get(&upstream->pool_of, mc_slice_of(&key, sizeof key));
            if (pool != NULL && raw == 1 && upstream->cluster->close_on_health_failure) {
                pool_close_all(pool);
            } else if (pool != NULL) {
                pool_drain_existing(pool);
            }
        }
    }
}

void mc_upstream_count_outcome(mc_upstream *upstream, mc_host *host, mc_outlier_event event, unsigned code) {
    struct mc_outlier_host *watched = atomic_load_explicit(&host->outlier, memory_order_acquire);
    unsigned types = watched == NULL ? 0 : mc_outlier_put(watched, upstream->cluster->outlier, event, code);
    if (types != 0 && upstream->on_outcome != NULL) {
        upstream->on_outcome(upstream->ctx, upstream, host, types);
    }
}

static uint32_t cluster_active(const mc_cluster *cluster) {
    return atomic_load_explicit(&cluster->breakers[MC_PRIORITY_DEFAULT].requests.count, memory_order_relaxed) +
           atomic_load_explicit(&cluster->breakers[MC_PRIORITY_HIGH].requests.count, memory_order_relaxed);
}

void mc_upstream_set_local(mc_upstream *upstream, mc_hosts *local) {
    if (mc_lb_set_local(upstream->lb, local) != MC_OK) {
        COUNT(upstream, lb_local_cluster_not_ok);
    }
}

static mc_host *choose_here(mc_upstream *upstream, const mc_lb_request *request, const mc_lb_forced *forced) {
    mc_lb_request counted = *request;
    counted.cluster_active = cluster_active(upstream->cluster);
    counted.forced = forced;
    return mc_lb_choose(upstream->lb, &counted);
}

static mc_host *choose_member(mc_upstream *upstream, const mc_lb_request *request, mc_upstream **from) {
    mc_lb_forced forced;
    const uint64_t draw = mc_random_next(mc_loop_random(mc_net_loop(upstream->net)));
    mc_upstream *member = upstream->find == NULL
                              ? NULL
                              : mc_aggregate_choose(upstream->aggregate, upstream->find, upstream->ctx, draw, &forced);
    if (member == NULL) {
        return NULL;
    }
    *from = member;
    return choose_here(member, request, &forced);
}

mc_host *mc_upstream_choose(mc_upstream *upstream, const mc_lb_request *request, mc_upstream **from) {
    *from = upstream;
    mc_host *host = MC_UNLIKELY(upstream->aggregate != NULL) ? choose_member(upstream, request, from)
                                                             : choose_here(upstream, request, NULL);
    if (host == NULL) {
        COUNT(upstream, upstream_cx_none_healthy);
    }
    return host;
}
