#include "engine/orders.h"

#include "base/alloc.h"
#include "engine/engine.h"

typedef struct order order;
struct order {
    mc_message message;
    void (*run)(order *o);
    mc_worker *worker;
    mc_snapshot *snapshot; /* what the order is about; NULL: not about one. All referenced. */
    int *fds;
    mc_cluster *cluster;
    mc_hosts *hosts;
    mc_host *host;
    mc_name_cache *cache; /* of the engine's life */
    mc_address_list *addresses;
    mc_slice key, details; /* own */
    bool known;
    mc_lb_plan *plan;   /* for this worker's balancer of the hosts */
    mc_lb_plan **plans; /* for its balancers of the snapshot's clusters; NULL: none */
};

static void order_free(order *o) {
    for (uint32_t i = 0; o->plans != NULL && i < o->snapshot->cluster_count; i++) {
        mc_lb_plan_free(o->plans[i]);
    }
    mc_free(o->plans);
    mc_snapshot_unref(o->snapshot);
    mc_cluster_unref(o->cluster);
    mc_hosts_unref(o->hosts);
    mc_host_unref(o->host);
    mc_address_list_unref(o->addresses);
    mc_free((void *)o->key.p);
    mc_free((void *)o->details.p);
    mc_lb_plan_free(o->plan);
    mc_free(o->fds);
    mc_free(o);
}

static void order_run(mc_message *message, mc_loop *loop) {
    order *o = MC_CONTAINER(message, order, message);
    o->run(o);
    order_free(o);
}

static void order_drop(mc_message *message) {
    order *o = MC_CONTAINER(message, order, message);
    for (uint32_t i = 0; o->fds != NULL && i < o->snapshot->listener_count; i++) {
        if (o->fds[i] >= 0) {
            mc_socket_close(o->fds[i]);
        }
    }
    order_free(o);
}

static order **orders_new(mc_engine *engine, void (*run)(order *)) {
    order **orders = mc_calloc(engine->worker_count, sizeof(order *));
    for (uint32_t i = 0; orders != NULL && i < engine->worker_count; i++) {
        orders[i] = mc_calloc(1, sizeof **orders);
        if (orders[i] == NULL) {
            while (i-- > 0) {
                mc_free(orders[i]);
            }
            mc_free(orders);
            return NULL;
        }
        *orders[i] =
            (order){.message = {.run = order_run, .drop = order_drop}, .run = run, .worker = &engine->workers[i]};
    }
    return orders;
}

static void orders_post(mc_engine *engine, order **orders) {
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        mc_mailbox_post(engine->workers[i].loop, &orders[i]->message);
    }
    mc_free(orders);
}

static void run_apply(order *o) {
    mc_worker_apply(o->worker, o->snapshot, o->fds, o->plans);
    atomic_fetch_add(&o->worker->applied, 1);
    mc_engine_wake(o->worker->engine);
}

/* Schedulers of great memberships are made here and not by the workers; those without a plan, for want of memory, by them. */
static mc_lb_plan *plan_for(mc_engine *engine, const mc_worker *worker, mc_cluster *cluster, mc_hosts *hosts,
                            const mc_hosts *previous) {
    return mc_lb_plan_new(&cluster->lb, hosts, previous, mc_upstream_seed(cluster, worker->loop),
                          mc_loop_now_ms(engine->control));
}

static mc_lb_plan **plan_all(mc_engine *engine, const mc_worker *worker, const mc_snapshot *snapshot) {
    mc_lb_plan **plans = mc_calloc(snapshot->cluster_count, sizeof *plans);
    for (uint32_t i = 0; plans != NULL && i < snapshot->cluster_count; i++) {
        const mc_snapshot_cluster *entry = &snapshot->clusters[i];
        const mc_member *member = mc_members_find(&engine->members, entry->cluster);
        plans[i] = plan_for(engine, worker, entry->cluster, entry->hosts, member == NULL ? NULL : member->sent);
    }
    return plans;
}

mc_status mc_orders_apply(mc_engine *engine, mc_snapshot *snapshot,
                          int *(*take_fds)(mc_engine *, const mc_snapshot *, uint32_t worker)) {
    order **orders = orders_new(engine, run_apply);
    if (orders == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        orders[i]->snapshot = mc_snapshot_ref(snapshot);
        orders[i]->fds = take_fds(engine, snapshot, i);
        orders[i]->plans = plan_all(engine, orders[i]->worker, snapshot);
    }
    orders_post(engine, orders);
    return MC_OK;
}

static void run_hosts(order *o) { mc_worker_set_hosts(o->worker, o->cluster, o->hosts, o->plan); }

mc_status mc_orders_hosts(mc_engine *engine, mc_cluster *cluster, mc_hosts *hosts, const mc_hosts *previous) {
    order **orders = orders_new(engine, run_hosts);
    if (orders == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        orders[i]->cluster = mc_cluster_ref(cluster);
        orders[i]->hosts = mc_hosts_ref(hosts);
        orders[i]->plan = plan_for(engine, orders[i]->worker, cluster, hosts, previous);
    }
    orders_post(engine, orders);
    return MC_OK;
}

/* --- names (CL-17) ---------------------------------------------------------------------------------------------------------- */

static void run_name_cache(order *o) { mc_worker_add_names(o->worker, o->cache); }

mc_status mc_orders_name_cache(mc_engine *engine, mc_name_cache *cache) {
    order **orders = orders_new(engine, run_name_cache);
    if (orders == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        orders[i]->cache = cache;
    }
    orders_post(engine, orders);
    return MC_OK;
}

static void run_name(order *o) {
    mc_names *names = mc_map_get(&o->worker->proxy.names, o->cache->name);
    if (names != NULL && o->known) {
        mc_names_tell(names, o->key, o->details);
    } else if (names != NULL) {
        mc_names_forget(names, o->key);
    }
}

static bool copy_text(mc_slice text, mc_slice *out) {
    char *copy = mc_malloc(text.n);
    if (copy != NULL && text.n > 0) {
        memcpy(copy, text.p, text.n);
    }
    *out = mc_slice_of(copy, copy == NULL ? 0 : text.n);
    return copy != NULL;
}

mc_status mc_orders_name(mc_engine *engine, mc_name_cache *cache, mc_slice key, bool known, mc_slice details) {
    order **orders = orders_new(engine, run_name);
    bool whole = orders != NULL;
    for (uint32_t i = 0; orders != NULL && i < engine->worker_count; i++) {
        orders[i]->cache = cache;
        orders[i]->known = known;
        whole = copy_text(key, &orders[i]->key) && copy_text(details, &orders[i]->details) && whole;
    }
    if (!whole) {
        for (uint32_t i = 0; orders != NULL && i < engine->worker_count; i++) {
            order_free(orders[i]);
        }
        mc_free(orders);
        return MC_ENOMEM;
    }
    orders_post(engine, orders);
    return MC_OK;
}

static void run_named(order *o) {
    mc_upstream *upstream = mc_proxy_upstream(&o->worker->proxy, o->cluster->slot);
    if (upstream == NULL || upstream->cluster != o->cluster) {
        return;
    }
    if (o->addresses == NULL) {
        mc_upstream_drop_named(upstream, o->host->address_text);
    } else if (mc_upstream_put_named(upstream, o->host, o->addresses) != MC_OK) {
        return; /* without memory there is no such host here; the next request that looks for it asks again */
    }
}

mc_status mc_orders_named(mc_engine *engine, mc_cluster *cluster, mc_host *host, mc_address_list *addresses) {
    order **orders = orders_new(engine, run_named);
    if (orders == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        orders[i]->cluster = mc_cluster_ref(cluster);
        orders[i]->host = mc_host_ref(host);
        orders[i]->addresses = mc_address_list_ref(addresses);
    }
    orders_post(engine, orders);
    return MC_OK;
}

static void run_drain_host(order *o) { mc_worker_drain_host(o->worker, o->cluster, o->host); }

mc_status mc_orders_drain_host(mc_engine *engine, mc_cluster *cluster, mc_host *host) {
    order **orders = orders_new(engine, run_drain_host);
    if (orders == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        orders[i]->cluster = mc_cluster_ref(cluster);
        orders[i]->host = mc_host_ref(host);
    }
    orders_post(engine, orders);
    return MC_OK;
}
