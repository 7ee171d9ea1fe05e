#include "base/alloc.h"
#include "pool/client.h"

mc_slice mc_reset_reason_text(mc_reset_reason reason) {
    static const mc_slice texts[] = {
#define MC_RESET_TEXT(id, text, flag) MC_SLICE_INIT(text),
        MC_RESET_REASONS(MC_RESET_TEXT)
#undef MC_RESET_TEXT
    };
    return texts[reason];
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

/* CP-5, CP-6: up to three new connections, as long as the breaker has room; a pool without any gets one in any case. MC_ELIMIT: resources
 * run short (BOOT-17). */
static mc_status pool_grow(mc_pool *pool) {
    mc_upstream *upstream = pool->upstream;
    const float ratio = upstream->cluster->per_upstream_preconnect;
    for (int i = 0; i < 3 && more_wanted(pool, ratio, 0); i++) {
        if (MC_UNLIKELY(upstream->sheds != NULL) && upstream->sheds(upstream->ctx)) {
            return MC_ELIMIT;
        }
        const bool room = may_connect(pool);
        if (!room) {
            COUNT(upstream, upstream_cx_overflow);
            if (pool->client_count > 0) {
                return MC_OK;
            }
        }
        mc_status status = mc_client_connect(pool);
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

void mc_pool_take_back(mc_pool *pool, mc_attempt *attempt) {
    pending_enter(pool, attempt, true);
    mc_loop_defer(mc_net_loop(pool->upstream->net), &pool->serve);
}

void mc_pool_fail_pending(mc_pool *pool, mc_reset_reason reason, mc_connect_error error) {
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
        mc_client_attach(client, attempt);
        attempt->events->on_ready(attempt);
    }
    mc_pool_trim(pool);
    const mc_status status = mc_list_empty(&pool->pending) ? MC_OK : pool_grow(pool);
    if (status != MC_OK && pool->client_count == 0) {
        mc_pool_fail_pending(pool, status == MC_ELIMIT ? MC_RESET_OVERFLOW : MC_RESET_LOCAL_CONNECTION_FAILURE,
                             MC_CONNECT_ERROR_NONE);
    }
    mc_pool_maybe_free(pool);
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
        if (!more_wanted(pool, ratio, 1) || !may_connect(pool) || mc_client_connect(pool) != MC_OK) {
            mc_pool_maybe_free(pool);
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
        mc_client_attach(MC_CONTAINER(idle, mc_client, link), attempt);
        if (MC_UNLIKELY(upstream->cluster->per_upstream_preconnect > 1)) {
            (void)!pool_grow(pool); /* ahead of need: who cannot have it does without */
        }
        return MC_OK;
    }
    if (mc_breaker_open(&pool->breakers->pending)) {
        COUNT(upstream, upstream_rq_pending_overflow);
        mc_pool_maybe_free(pool);
        return MC_ELIMIT;
    }
    pending_enter(pool, attempt, false);
    mc_status status = pool_grow(pool);
    if (status != MC_OK && pool->client_count == 0) {
        pending_leave(pool, attempt);
        if (status == MC_ELIMIT) {
            COUNT(upstream, upstream_rq_cancelled);
        } else {
            COUNT(upstream, upstream_rq_pending_failure_eject);
        }
        mc_pool_maybe_free(pool);
        return status == MC_ELIMIT ? status : MC_ECLOSED;
    }
    return MC_AGAIN;
}

void mc_attempt_cancel(mc_attempt *attempt) {
    mc_pool *pool = attempt->pool;
    if (pool == NULL) {
        return;
    }
    if (attempt->client == NULL) {
        pending_leave(pool, attempt);
        COUNT(pool->upstream, upstream_rq_cancelled);
        mc_pool_trim(pool);
        mc_pool_maybe_free(pool);
        return;
    }
    mc_client *client = attempt->client;
    mc_client_detach(client);
    mc_client_close(client);
}

/* Without an owner its part is left out: what most pools cost. */
static mc_slice pool_key(const mc_pool_key *key) {
    return mc_slice_of(key, MC_LIKELY(key->owner == 0) ? sizeof key->host : sizeof *key);
}

/* Hosts are aligned, so the lowest bit is free. */
static uintptr_t key_of(const mc_host *host, mc_rq_priority priority, bool raw) {
    return (uintptr_t)host | (uintptr_t)priority | (raw ? MC_PRIORITIES : 0u);
}

mc_pool *mc_pool_find(const mc_upstream *upstream, const mc_host *host, mc_rq_priority priority, bool raw) {
    const uintptr_t key = key_of(host, priority, raw);
    return mc_map_get(&upstream->pool_of, mc_slice_of(&key, sizeof key));
}

/* Nobody finds it any more, and it does not count. */
static void pool_forget(mc_pool *pool) {
    if (!pool->forgotten) {
        pool->forgotten = true;
        mc_breaker_give(&pool->breakers->pools, pool->upstream->slab);
        mc_map_remove(&pool->upstream->pool_of, pool_key(&pool->key));
    }
}

void mc_pool_free(mc_pool *pool) {
    mc_deferred_cancel(&pool->serve);
    mc_deferred_cancel(&pool->dying);
    pool_forget(pool);
    mc_link_unlink(&pool->link);
    mc_host_unref(pool->host);
    mc_free(pool);
}

static bool pool_unused(const mc_pool *pool) { return pool->client_count == 0 && pool->pending_count == 0; }

static void pool_die(mc_deferred *deferred) {
    mc_pool *pool = MC_CONTAINER(deferred, mc_pool, dying);
    if (pool_unused(pool)) {
        mc_pool_free(pool);
    }
}

/* After the callbacks that may be using it. */
void mc_pool_maybe_free(mc_pool *pool) {
    if (pool_unused(pool)) {
        mc_loop_defer(mc_net_loop(pool->upstream->net), &pool->dying);
    }
    mc_upstream_maybe_die(pool->upstream);
}

static mc_pool *pool_new(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, bool raw, uint64_t owner) {
    mc_pool *pool = mc_calloc(1, sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    pool->host = host;
    pool->key = (mc_pool_key){key_of(host, priority, raw), owner};
    pool->raw = raw;
    pool->upstream = upstream;
    pool->breakers = &upstream->cluster->breakers[priority];
    pool->serve.run = pool_serve;
    pool->dying.run = pool_die;
    mc_list_init(&pool->idle);
    mc_list_init(&pool->busy);
    mc_list_init(&pool->connecting);
    mc_list_init(&pool->pending);
    if (mc_map_put(&upstream->pool_of, pool_key(&pool->key), pool) != MC_OK) {
        mc_free(pool);
        return NULL;
    }
    mc_list_push_back(&upstream->pools, &pool->link);
    mc_breaker_take(&pool->breakers->pools, upstream->slab);
    mc_host_ref(host);
    return pool;
}

/* CP-12: another pool of the host and the priority makes room, if it has nothing to do. */
static bool make_room(mc_upstream *upstream, const mc_host *host, mc_rq_priority priority) {
    const mc_breakers *breakers = &upstream->cluster->breakers[priority];
    MC_LIST_EACH(&upstream->pools, node) {
        mc_pool *pool = MC_CONTAINER(node, mc_pool, link);
        if (pool->host == host && pool->breakers == breakers && !pool->forgotten && pool->pending_count == 0 &&
            mc_list_empty(&pool->busy)) {
            pool_forget(pool);
            mc_pool_drain(pool);
            return true;
        }
    }
    return false;
}

static mc_status make_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, bool raw, uint64_t owner,
                           mc_pool **out) {
    if (mc_breaker_open(&upstream->cluster->breakers[priority].pools) && !make_room(upstream, host, priority)) {
        COUNT(upstream, upstream_cx_pool_overflow);
        return MC_ELIMIT;
    }
    *out = pool_new(upstream, host, priority, raw, owner);
    return *out == NULL ? MC_ENOMEM : MC_OK;
}

static mc_status find_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, bool raw, mc_pool **out) {
    *out = mc_pool_find(upstream, host, priority, raw);
    return MC_LIKELY(*out != NULL) ? MC_OK : make_pool(upstream, host, priority, raw, 0, out);
}

mc_status mc_upstream_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, mc_pool **out) {
    return find_pool(upstream, host, priority, false, out);
}

mc_status mc_upstream_raw_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, mc_pool **out) {
    return find_pool(upstream, host, priority, true, out);
}

mc_status mc_upstream_own_pool(mc_upstream *upstream, mc_host *host, mc_rq_priority priority, uint64_t connection,
                               mc_pool **out) {
    const mc_pool_key key = {key_of(host, priority, false), connection};
    *out = mc_map_get(&upstream->pool_of, pool_key(&key));
    return *out != NULL ? MC_OK : make_pool(upstream, host, priority, false, connection, out);
}

void mc_pool_trim(mc_pool *pool) {
    if (!pool->draining || !mc_list_empty(&pool->pending)) {
        return;
    }
    MC_LIST_EACH(&pool->idle, idle) { mc_client_close(MC_CONTAINER(idle, mc_client, link)); }
    MC_LIST_EACH(&pool->connecting, connecting) { mc_client_close(MC_CONTAINER(connecting, mc_client, link)); }
}

void mc_pool_drain(mc_pool *pool) {
    pool->draining = true;
    MC_LIST_EACH(&pool->idle, node) { mc_client_close(MC_CONTAINER(node, mc_client, link)); }
    mc_pool_trim(pool);
    mc_pool_maybe_free(pool);
}

void mc_pool_drain_existing(mc_pool *pool) {
    MC_LIST_EACH(&pool->idle, node) { mc_client_close(MC_CONTAINER(node, mc_client, link)); }
    MC_LIST_EACH(&pool->busy, node) { MC_CONTAINER(node, mc_client, link)->requests_left = 0; }
}

void mc_pool_drop(mc_pool *pool) {
    pool->draining = true;
    mc_pool_fail_pending(pool, MC_RESET_CONNECTION_TERMINATION, MC_CONNECT_ERROR_NONE);
    mc_list *const lists[] = {&pool->idle, &pool->busy, &pool->connecting};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        MC_LIST_EACH(lists[i], node) {
            mc_client *client = MC_CONTAINER(node, mc_client, link);
            mc_client_reset(client, MC_RESET_CONNECTION_TERMINATION);
            mc_client_close(client);
        }
    }
}

void mc_pool_close_all(mc_pool *pool) {
    MC_LIST_EACH(&pool->idle, node) { mc_client_close(MC_CONTAINER(node, mc_client, link)); }
    MC_LIST_EACH(&pool->busy, node) { mc_conn_abort(&MC_CONTAINER(node, mc_client, link)->conn, MC_CLOSE_LOCAL); }
}
