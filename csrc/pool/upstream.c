#include "base/alloc.h"
#include "base/hash.h"
#include "lb/aggregate.h"
#include "pool/client.h"
#include "pool/own_hosts.h"

static void upstream_die(mc_deferred *deferred) {
    mc_upstream *upstream = MC_CONTAINER(deferred, mc_upstream, dying);
    if (upstream->retired && upstream->clients == 0 && upstream->holds == 0) {
        mc_upstream_free(upstream);
    }
}

void mc_upstream_maybe_die(mc_upstream *upstream) {
    if (upstream->retired && upstream->clients == 0 && upstream->holds == 0) {
        mc_loop_defer(mc_net_loop(upstream->net), &upstream->dying);
    }
}

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
        (upstream->aggregate = mc_aggregate_new(cluster->aggregate->count, cluster->lb.panic_threshold)) == NULL) {
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
    mc_named_init(&upstream->named);
    upstream->load = load != NULL ? load : &upstream->own_load;
    upstream->load->upstreams++;
    return upstream;
}

void mc_upstream_retire(mc_upstream *upstream) {
    upstream->retired = true;
    MC_LIST_EACH(&upstream->pools, node) { mc_pool_drain(MC_CONTAINER(node, mc_pool, link)); }
    mc_upstream_maybe_die(upstream);
}

void mc_upstream_free(mc_upstream *upstream) {
    upstream->retired = true;
    if (upstream->clients > 0) { /* the last on_close comes back through upstream_die */
        MC_LIST_EACH(&upstream->pools, node) { mc_pool_drop(MC_CONTAINER(node, mc_pool, link)); }
        return;
    }
    MC_LIST_EACH(&upstream->pools, node) { mc_pool_free(MC_CONTAINER(node, mc_pool, link)); }
    mc_deferred_cancel(&upstream->dying);
    mc_own_hosts_forget(upstream, NULL);
    mc_named_fini(&upstream->named);
    mc_map_fini(&upstream->pool_of);
    mc_aggregate_free(upstream->aggregate);
    mc_lb_free(upstream->lb);
    mc_hosts_unref(upstream->hosts);
    if (upstream->filter_states != NULL) {
        upstream->close_filters(upstream->cluster->filters, upstream->filter_states);
    }
    mc_cluster_unref(upstream->cluster);
    upstream->load->upstreams--;
    mc_free(upstream);
}

void mc_upstream_release(mc_upstream *upstream) {
    upstream->holds--;
    mc_upstream_maybe_die(upstream);
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
    mc_own_hosts_forget(upstream, hosts);
    MC_LIST_EACH(&upstream->pools, node) {
        mc_pool *pool = MC_CONTAINER(node, mc_pool, link);
        if (!pool->draining && !mc_hosts_has(hosts, pool->host) &&
            mc_own_hosts_find(upstream, pool->host->address_text) != pool->host &&
            mc_named_find(&upstream->named, pool->host->address_text) != pool->host) {
            mc_pool_drain(pool);
        } else if (upstream->cluster->close_on_host_set_change) {
            mc_pool_drain_existing(pool);
        }
    }
    return MC_OK;
}

mc_status mc_upstream_put_named(mc_upstream *upstream, mc_host *host, mc_address_list *addresses) {
    return mc_named_put(&upstream->named, host, addresses);
}

void mc_upstream_drop_named(mc_upstream *upstream, mc_slice key) {
    mc_host *host = mc_named_take(&upstream->named, key);
    MC_LIST_EACH(&upstream->pools, node) {
        mc_pool *pool = MC_CONTAINER(node, mc_pool, link);
        if (pool->host == host) {
            mc_pool_drain(pool);
        }
    }
    mc_host_unref(host);
}

static void drain_own_pools(mc_upstream *upstream, const mc_host *host) {
    MC_LIST_EACH(&upstream->pools, node) {
        mc_pool *pool = MC_CONTAINER(node, mc_pool, link);
        if (pool->host == host && pool->key.owner != 0) {
            mc_pool_drain_existing(pool);
        }
    }
}

void mc_upstream_drain_host(mc_upstream *upstream, mc_host *host) {
    if (upstream->cluster->pool_per_connection) {
        drain_own_pools(upstream, host);
    }
    for (mc_rq_priority priority = MC_PRIORITY_DEFAULT; priority < MC_PRIORITIES; priority++) {
        for (int raw = 0; raw < 2; raw++) {
            mc_pool *pool = mc_pool_find(upstream, host, priority, raw == 1);
            if (pool != NULL && raw == 1 && upstream->cluster->close_on_health_failure) {
                mc_pool_close_all(pool);
            } else if (pool != NULL) {
                mc_pool_drain_existing(pool);
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

static mc_upstream *find_member(const mc_upstream *upstream, uint32_t member) {
    return upstream->find == NULL ? NULL
                                  : upstream->find(upstream->ctx, upstream->cluster->aggregate->clusters[member]);
}

/* An aggregate has no hosts of its own, where a session's would be looked for (ED-13). */
static mc_host *choose_member(mc_upstream *upstream, const mc_lb_request *asked, mc_upstream **from) {
    mc_lb_request without = *asked, *request = &without;
    mc_lb_forced forced;
    uint32_t member;
    if (asked->override_host.n > 0 && asked->override_strict) {
        return NULL;
    }
    without.override_host = MC_SLICE_NONE;
    for (uint32_t i = 0; i < upstream->cluster->aggregate->count; i++) {
        const mc_upstream *found = find_member(upstream, i);
        mc_aggregate_see(upstream->aggregate, i, found == NULL ? NULL : found->hosts);
    }
    const uint64_t draw = mc_random_next(mc_loop_random(mc_net_loop(upstream->net)));
    if (!mc_aggregate_choose(upstream->aggregate, request->retry_priority, draw, &member, &forced)) {
        return NULL;
    }
    *from = find_member(upstream, member);
    return choose_here(*from, request, &forced);
}

uint32_t mc_upstream_priority_of(const mc_upstream *upstream, const mc_upstream *from, const mc_host *host) {
    const uint32_t priority = atomic_load_explicit(&host->priority, memory_order_relaxed);
    if (MC_LIKELY(upstream->aggregate == NULL)) {
        return priority;
    }
    for (uint32_t i = 0; i < upstream->cluster->aggregate->count; i++) {
        if (find_member(upstream, i) == from) {
            return mc_aggregate_place(upstream->aggregate, i, priority);
        }
    }
    return MC_AGGREGATE_NOWHERE;
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

mc_host *mc_upstream_choose_sub(mc_upstream *upstream, mc_slice name, const mc_lb_request *request,
                                mc_upstream **from) {
    mc_upstream *found = upstream->find == NULL ? NULL : upstream->find(upstream->ctx, name);
    mc_host *host = found == NULL ? NULL : choose_here(found, request, NULL);
    *from = host == NULL ? upstream : found;
    return host;
}
