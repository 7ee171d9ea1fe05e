#include "engine/worker.h"

#include "base/alloc.h"
#include "engine/engine.h"
#include "proxy/relief.h"

/* --- listeners ---------------------------------------------------------------------------------------------------------- */

static void listener_free(mc_worker_listener *listener) {
    mc_link_unlink(&listener->link);
    mc_hcm_pin_unref(listener->source.pin);
    mc_free((void *)listener->name.p);
    mc_free(listener);
}

/* The gateway's own, such as the admin interface: under no limit. */
static bool is_own(const mc_worker_listener *listener) { return listener->name.n > 0 && listener->name.p[0] == '~'; }

static void listener_maybe_free(mc_worker_listener *listener) {
    if (listener->removed && listener->source.connections == 0) {
        listener_free(listener);
    }
}

static void connection_closed(mc_downstream_source *source) { listener_maybe_free(source->ctx); }

static bool rejects(const mc_worker_listener *listener) {
    mc_worker *worker = listener->worker;
    mc_overload *overload = listener->source.overload;
    mc_random *random = mc_loop_random(worker->loop);
    return mc_overload_acts(overload, MC_OVERLOAD_SHED_ACCEPT, random, worker->slab) ||
           mc_overload_acts(overload, MC_OVERLOAD_REJECT_INCOMING_CONNECTIONS, random, worker->slab);
}

/* LIS-5. */
static bool over_limit(const mc_worker_listener *listener) {
    mc_worker *worker = listener->worker;
    if (worker->snapshot->max_connections != UINT64_MAX && !listener->ignore_global_limit &&
        atomic_load_explicit(&worker->engine->connections, memory_order_relaxed) >= worker->snapshot->max_connections) {
        mc_counter_inc(worker->slab, listener->global_cx_overflow);
        if (worker->snapshot->connection_monitor) {
            mc_counter_inc(worker->slab, worker->snapshot->failed_allocations);
        }
        return true;
    }
    if (MC_UNLIKELY(listener->source.overload != NULL) && rejects(listener)) {
        mc_counter_inc(worker->slab, listener->cx_overload_reject);
        return true;
    }
    if (listener->max_connections != UINT64_MAX &&
        atomic_load_explicit(listener->source.everywhere[0], memory_order_relaxed) >= listener->max_connections) {
        mc_counter_inc(worker->slab, listener->cx_overflow);
        return true;
    }
    return false;
}

/* LIS-7: the listener of just that address, else the one of every address with its port. */
static mc_worker_listener *find_by_address(mc_worker *worker, const mc_address *address) {
    mc_worker_listener *wildcard = NULL;
    MC_LIST_EACH(&worker->listeners, node) {
        mc_worker_listener *other = MC_CONTAINER(node, mc_worker_listener, link);
        const mc_address *its = &other->address;
        if (other->removed || its->any.sa_family != address->any.sa_family ||
            mc_address_port(its) != mc_address_port(address)) {
            continue;
        }
        if (mc_address_in_prefix(its, address, its->any.sa_family == AF_INET6 ? 128 : 32)) {
            return other;
        }
        wildcard = mc_address_is_any(its) ? other : wildcard;
    }
    return wildcard;
}

/* `known`: where the client was going, as the listener says that hands the connection over; NULL: it came by itself. */
static void take(mc_worker_listener *listener, int fd, const mc_address *peer, const mc_address *known) {
    mc_address local = known == NULL ? listener->local : (mc_address){.length = 0};
    mc_address restored = known == NULL ? (mc_address){.length = 0} : *known, asked;
    if (over_limit(listener) || (local.length == 0 && mc_socket_local(fd, &local) != 0)) {
        mc_socket_close(fd);
        return;
    }
    if (listener->original_dst && mc_socket_original_dst(fd, local.any.sa_family, &asked) == 0) {
        restored = asked;
    }
    if (listener->use_original_dst && known == NULL && restored.length > 0) {
        mc_worker_listener *other = find_by_address(listener->worker, &restored);
        if (other != NULL && other != listener) {
            take(other, fd, peer, &restored);
            return;
        }
    }
    if (mc_downstream_accept(&listener->worker->proxy, &listener->source, fd, peer, &local,
                             restored.length > 0 ? &restored : NULL) != MC_OK) {
        return; /* the descriptor is closed; the client sees a reset */
    }
}

static void accepted(mc_listener *net_listener, int fd, const mc_address *peer) {
    take(MC_CONTAINER(net_listener, mc_worker_listener, listener), fd, peer, NULL);
}

static void listener_close(mc_worker_listener *listener) {
    if (listener->open) {
        listener->open = false;
        mc_listener_close(&listener->listener);
    }
}

/* No new connections; those that wait to be accepted are served. */
static void listener_finish(mc_worker_listener *listener) {
    if (listener->open) {
        mc_listener_finish(&listener->listener);
        listener->open = false;
    }
}

static mc_worker_listener *listener_new(mc_worker *worker, const mc_listener_config *config) {
    mc_worker_listener *listener = mc_calloc(1, sizeof *listener);
    char *name = mc_malloc(config->name.n);
    mc_hcm_pin *pin = mc_hcm_pin_new(config->hcm);
    if (listener == NULL || name == NULL || pin == NULL) {
        mc_free(listener);
        mc_free(name);
        mc_hcm_pin_unref(pin);
        return NULL;
    }
    memcpy(name, config->name.p, config->name.n);
    listener->name = mc_slice_of(name, config->name.n);
    listener->worker = worker;
    listener->source = (mc_downstream_source){
        .pin = pin,
        .on_closed = connection_closed,
        .ctx = listener,
        .cx_total = config->cx_total,
        .cx_destroy = config->cx_destroy,
        .cx_active = config->cx_active,
        .cx_length_ms = config->cx_length_ms,
        .everywhere = {config->connections,
                       config->name.n > 0 && config->name.p[0] == '~' ? NULL : &worker->engine->connections}};
    listener->cx_overflow = config->cx_overflow;
    listener->global_cx_overflow = config->global_cx_overflow;
    listener->cx_overload_reject = config->cx_overload_reject;
    mc_list_push_back(&worker->listeners, &listener->link);
    return listener;
}

mc_worker_listener *mc_worker_find_listener(mc_worker *worker, mc_slice name) {
    MC_LIST_EACH(&worker->listeners, node) {
        mc_worker_listener *listener = MC_CONTAINER(node, mc_worker_listener, link);
        if (!listener->removed && mc_slice_eq(listener->name, name)) {
            return listener;
        }
    }
    return NULL;
}

/* stop_accepting_connections: they wait in the backlog. */
static void accept_or_wait(mc_worker_listener *listener) {
    const mc_overload *overload = listener->source.overload;
    if (!listener->open) {
        return;
    }
    if (overload != NULL && mc_overload_saturated(overload, MC_OVERLOAD_STOP_ACCEPTING_CONNECTIONS)) {
        mc_listener_pause(&listener->listener);
    } else {
        mc_listener_resume(&listener->listener);
    }
}

static void overload_changed(mc_worker *worker) {
    MC_LIST_EACH(&worker->listeners, node) { accept_or_wait(MC_CONTAINER(node, mc_worker_listener, link)); }
    mc_relief_rescale(&worker->proxy);
}

static void reset_heavy(mc_worker *worker) {
    const mc_overload *overload = &worker->engine->overload;
    const unsigned shift = atomic_load(&overload->heavy_shift);
    const double value = mc_overload_value(overload, MC_OVERLOAD_RESET_HIGH_MEMORY_STREAM);
    if (shift != 0 && value > 0) {
        mc_counter_add(worker->slab, atomic_load(&overload->heavy_resets),
                       mc_relief_reset_heavy(&worker->proxy, shift, value));
    }
}

static bool sheds_connection(void *ctx) {
    mc_worker *worker = ctx;
    return worker->snapshot->sheds_load && mc_overload_acts(&worker->engine->overload, MC_OVERLOAD_SHED_NEW_CONNECTION,
                                                            mc_loop_random(worker->loop), worker->slab);
}

static void apply_listener(mc_worker *worker, const mc_listener_config *config, int fd) {
    mc_worker_listener *listener = mc_worker_find_listener(worker, config->name);
    if (listener == NULL) {
        listener = listener_new(worker, config);
    } else {
        mc_hcm_pin *pin = mc_hcm_pin_new(config->hcm);
        if (pin != NULL) { /* without memory the old configuration goes on */
            mc_hcm_pin_unref(listener->source.pin);
            listener->source.pin = pin;
        }
    }
    if (listener != NULL) {
        listener->max_connections = config->max_connections;
        listener->ignore_global_limit = config->ignore_global_limit;
        listener->address = config->address;
        listener->original_dst = config->original_dst;
        listener->use_original_dst = config->use_original_dst;
        listener->source.modify_only = config->modify_only;
        listener->source.overload =
            worker->snapshot->sheds_load && !config->bypass_overload ? &worker->engine->overload : NULL;
        accept_or_wait(listener);
    }
    if (fd < 0) {
        return;
    }
    if (listener == NULL || worker->stopping) {
        mc_socket_close(fd);
        return;
    }
    listener_finish(listener); /* a new socket replaces the old: the address changed */
    if (mc_socket_local(fd, &listener->local) != 0 || mc_address_is_any(&listener->local)) {
        listener->local.length = 0;
    }
    listener->open = mc_listener_open(&listener->listener, worker->net, fd, accepted) == MC_OK;
    accept_or_wait(listener);
}

static bool snapshot_has(const mc_snapshot *snapshot, mc_slice name) {
    for (uint32_t i = 0; i < snapshot->listener_count; i++) {
        if (mc_slice_eq(snapshot->listeners[i].name, name)) {
            return true;
        }
    }
    return false;
}

static void listener_remove(mc_worker_listener *listener) {
    listener->removed = true;
    listener_finish(listener);
    mc_downstream_drain(&listener->worker->proxy, &listener->source);
    listener_maybe_free(listener);
}

static void apply_listeners(mc_worker *worker, const mc_snapshot *snapshot, const int *fds) {
    MC_LIST_EACH(&worker->listeners, node) {
        mc_worker_listener *listener = MC_CONTAINER(node, mc_worker_listener, link);
        if (!listener->removed && !snapshot_has(snapshot, listener->name)) {
            listener_remove(listener);
        }
    }
    for (uint32_t i = 0; i < snapshot->listener_count; i++) {
        apply_listener(worker, &snapshot->listeners[i], fds == NULL ? -1 : fds[i]);
    }
}

/* --- clusters ------------------------------------------------------------------------------------------------------------- */

static mc_status grow_slots(mc_proxy *proxy, uint32_t count) {
    if (count <= proxy->upstream_count) {
        return MC_OK;
    }
    mc_upstream **grown = mc_realloc(proxy->upstreams, count * sizeof *grown);
    if (grown == NULL) {
        return MC_ENOMEM;
    }
    memset(grown + proxy->upstream_count, 0, (count - proxy->upstream_count) * sizeof *grown);
    proxy->upstreams = grown;
    proxy->upstream_count = count;
    return MC_OK;
}

static void report_outcome(void *ctx, mc_upstream *upstream, mc_host *host, unsigned types) {
    mc_members_report(((mc_worker *)ctx)->engine, upstream->cluster, host, types);
}

static void new_host(void *ctx, mc_upstream *upstream, mc_host *host) {
    mc_members_add_host(((mc_worker *)ctx)->engine, upstream->cluster, host);
}

static void fail_host(void *ctx, mc_upstream *upstream, mc_host *host) {
    if (host->check.n > 0) {
        mc_members_fail_host(((mc_worker *)ctx)->engine, upstream->cluster, host);
    }
}

static mc_upstream *find_upstream(void *ctx, mc_slice name) {
    const mc_proxy *proxy = &((mc_worker *)ctx)->proxy;
    return mc_proxy_upstream(proxy, proxy->find_slot(proxy->ctx, name));
}

static void apply_cluster(mc_worker *worker, const mc_snapshot_cluster *entry, mc_lb_plan *plan) {
    mc_upstream **at = &worker->proxy.upstreams[entry->cluster->slot];
    if (*at != NULL && (*at)->cluster == entry->cluster) {
        if ((*at)->hosts != entry->hosts && mc_upstream_update_planned(*at, entry->hosts, plan) != MC_OK) {
            return; /* without memory the old membership goes on */
        }
        return;
    }
    mc_upstream *fresh = mc_upstream_new(entry->cluster, entry->hosts, plan, worker->net, worker->slab,
                                         worker->connector, &worker->load);
    if (fresh == NULL) {
        return;
    }
    fresh->on_outcome = report_outcome;
    fresh->on_fail_host = fail_host;
    fresh->on_new_host = new_host;
    fresh->find = find_upstream;
    fresh->sheds = sheds_connection;
    fresh->ctx = worker;
    if (*at != NULL) {
        mc_upstream_retire(*at);
    }
    *at = fresh;
}

static void apply_clusters(mc_worker *worker, const mc_snapshot *snapshot, mc_lb_plan *const *plans) {
    mc_proxy *proxy = &worker->proxy;
    if (grow_slots(proxy, snapshot->slot_count) != MC_OK) {
        return;
    }
    for (uint32_t i = 0; i < snapshot->cluster_count; i++) {
        apply_cluster(worker, &snapshot->clusters[i], plans == NULL ? NULL : plans[i]);
    }
    for (uint32_t slot = 0; slot < proxy->upstream_count; slot++) {
        mc_upstream *upstream = proxy->upstreams[slot];
        if (upstream != NULL && mc_snapshot_slot(snapshot, upstream->cluster->name) == UINT32_MAX) {
            proxy->upstreams[slot] = NULL;
            mc_upstream_retire(upstream);
        }
    }
}

/* ZA-1: every balancer knows the newest hosts of the local cluster. */
static void share_local(mc_worker *worker) {
    mc_proxy *proxy = &worker->proxy;
    const uint32_t slot = worker->snapshot->local_slot;
    mc_upstream *local = slot < proxy->upstream_count ? proxy->upstreams[slot] : NULL;
    for (uint32_t i = 0; i < proxy->upstream_count; i++) {
        if (proxy->upstreams[i] != NULL) {
            mc_upstream_set_local(proxy->upstreams[i], local == NULL ? NULL : local->hosts);
        }
    }
}

void mc_worker_apply(mc_worker *worker, mc_snapshot *snapshot, int *fds, mc_lb_plan *const *plans) {
    mc_snapshot *old = worker->snapshot;
    worker->snapshot = mc_snapshot_ref(snapshot);
    worker->proxy.runtime = snapshot->has_runtime ? &snapshot->runtime : NULL;
    apply_clusters(worker, snapshot, plans); /* clusters before the routes that name them (XDS-28) */
    share_local(worker);
    apply_listeners(worker, snapshot, fds);
    mc_snapshot_unref(old);
}

void mc_worker_set_hosts(mc_worker *worker, const mc_cluster *cluster, mc_hosts *hosts, mc_lb_plan *plan) {
    mc_upstream *upstream = mc_proxy_upstream(&worker->proxy, cluster->slot);
    if (upstream != NULL && upstream->cluster == cluster &&
        mc_upstream_update_planned(upstream, hosts, plan) != MC_OK) {
        return;
    }
    if (cluster->slot == worker->snapshot->local_slot) {
        share_local(worker);
    }
}

void mc_worker_drain_host(mc_worker *worker, const mc_cluster *cluster, mc_host *host) {
    mc_upstream *upstream = mc_proxy_upstream(&worker->proxy, cluster->slot);
    if (upstream != NULL && upstream->cluster == cluster) {
        mc_upstream_drain_host(upstream, host);
    }
}

static mc_status ask_name(void *ctx, mc_name_cache *cache, mc_slice key) {
    return mc_engine_names_ask(((mc_worker *)ctx)->engine, cache, key);
}

void mc_worker_add_names(mc_worker *worker, mc_name_cache *cache) {
    mc_map *known = &worker->proxy.names;
    mc_names *names =
        mc_map_get(known, cache->name) != NULL ? NULL : mc_names_new(cache, worker->slab, ask_name, worker);
    if (names != NULL && mc_map_put(known, cache->name, names) != MC_OK) {
        mc_names_free(names);
    }
}

static void names_fini(mc_map *names) {
    mc_slice name;
    void *value;
    for (size_t at = 0; mc_map_next(names, &at, &name, &value);) {
        mc_names_free(value);
    }
    mc_map_fini(names);
}

static void spans_wait(void *ctx) {
    mc_worker *worker = ctx;
    mc_engine_wake(worker->engine);
}

static uint32_t find_slot(void *ctx, mc_slice name) {
    const mc_worker *worker = ctx;
    return worker->snapshot == NULL ? UINT32_MAX : mc_snapshot_slot(worker->snapshot, name);
}

/* --- the end ---------------------------------------------------------------------------------------------------------------- */

void mc_worker_close_listeners(mc_worker *worker) {
    MC_LIST_EACH(&worker->listeners, node) {
        mc_worker_listener *listener = MC_CONTAINER(node, mc_worker_listener, link);
        if (!is_own(listener)) {
            listener_finish(listener);
        }
    }
}

static void proxy_idle(void *ctx) {
    mc_worker *worker = ctx;
    if (!atomic_exchange(&worker->idle, true)) {
        mc_engine_wake(worker->engine);
    }
}

void mc_worker_drain(mc_worker *worker) {
    mc_worker_close_listeners(worker);
    mc_proxy_drain(&worker->proxy, false);
}

static void give_up_names(mc_map *names) {
    mc_slice name;
    void *value;
    for (size_t at = 0; mc_map_next(names, &at, &name, &value);) {
        mc_names_give_up(value);
    }
}

static void reap(mc_timer *timer) {
    mc_worker *worker = MC_CONTAINER(timer, mc_worker, reaper);
    mc_proxy *proxy = &worker->proxy;
    if (proxy->connection_count == 0) {
        give_up_names(&proxy->names);
        for (uint32_t i = 0; i < proxy->upstream_count; i++) {
            mc_upstream *upstream = proxy->upstreams[i];
            proxy->upstreams[i] = NULL;
            if (upstream != NULL) {
                mc_upstream_free(upstream);
            }
        }
        if (worker->load.upstreams == 0) {
            atomic_store(&worker->stopped, true);
            mc_engine_wake(worker->engine);
            mc_loop_stop(worker->loop);
            return;
        }
    }
    mc_timer_arm(worker->loop, timer, 1);
}

void mc_worker_stop(mc_worker *worker) {
    if (worker->stopping) {
        return;
    }
    worker->stopping = true;
    MC_LIST_EACH(&worker->listeners, node) { listener_close(MC_CONTAINER(node, mc_worker_listener, link)); }
    mc_proxy_drain(&worker->proxy, true);
    mc_timer_arm(worker->loop, &worker->reaper, 0);
}

static void order_run(mc_message *message, mc_loop *loop) {
    mc_worker_order *order = MC_CONTAINER(message, mc_worker_order, message);
    atomic_store(&order->queued, false);
    order->run(order->worker);
}

static void order_drop(mc_message *message) {}

static void order_init(mc_worker_order *order, mc_worker *worker, void (*run)(mc_worker *)) {
    *order = (mc_worker_order){.message = {.run = order_run, .drop = order_drop}, .worker = worker, .run = run};
}

void mc_worker_post(mc_worker_order *order) {
    if (!atomic_exchange(&order->queued, true)) {
        mc_mailbox_post(order->worker->loop, &order->message);
    }
}

mc_status mc_worker_init(mc_worker *worker, mc_engine *engine, uint32_t index, mc_loop *loop, mc_stats *stats,
                         uint32_t record_capacity) {
    memset(worker, 0, sizeof *worker);
    worker->engine = engine;
    worker->index = index;
    worker->loop = loop;
    worker->reaper.fire = reap;
    order_init(&worker->close_order, worker, mc_worker_close_listeners);
    order_init(&worker->drain_order, worker, mc_worker_drain);
    order_init(&worker->stop_order, worker, mc_worker_stop);
    order_init(&worker->overload_order, worker, overload_changed);
    order_init(&worker->heavy_order, worker, reset_heavy);
    mc_list_init(&worker->listeners);
    worker->net = mc_net_new(loop);
    worker->slab = worker->net == NULL ? NULL : mc_slab_open(stats);
    if (worker->slab == NULL || mc_proxy_init(&worker->proxy, worker->net, worker->slab, record_capacity) != MC_OK) {
        mc_worker_fini(worker);
        return MC_ENOMEM;
    }
    worker->proxy.health_failed = &engine->health_failed;
    worker->proxy.find_slot = find_slot;
    worker->proxy.on_idle = proxy_idle;
    worker->proxy.on_spans = spans_wait;
    worker->proxy.ctx = worker;
    return MC_OK;
}

void mc_worker_fini(mc_worker *worker) {
    for (mc_link *node; (node = mc_list_first(&worker->listeners)) != NULL;) {
        mc_worker_listener *listener = MC_CONTAINER(node, mc_worker_listener, link);
        listener_close(listener);
        listener_free(listener);
    }
    mc_free(worker->proxy.upstreams);
    worker->proxy.upstreams = NULL;
    names_fini(&worker->proxy.names);
    mc_proxy_fini(&worker->proxy);
    mc_snapshot_unref(worker->snapshot);
    worker->snapshot = NULL;
    if (worker->net != NULL) {
        mc_net_free(worker->net);
    }
    mc_loop_free(worker->loop);
    if (worker->slab != NULL) {
        mc_slab_close(worker->slab);
    }
    worker->net = NULL;
    worker->loop = NULL;
    worker->slab = NULL;
}
