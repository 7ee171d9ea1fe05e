#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/orders.h"

/* --- life --------------------------------------------------------------------------------------------------------------- */

static mc_loop *new_loop(const mc_engine_options *options, uint64_t salt) {
    return options->is_virtual ? mc_loop_new_virtual(options->seed + salt) : mc_loop_new_epoll(options->seed + salt);
}

static mc_status init_workers(mc_engine *engine, const mc_engine_options *options) {
    engine->workers = mc_calloc(options->workers, sizeof *engine->workers);
    if (engine->workers == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < options->workers; i++) {
        mc_loop *loop = options->is_virtual ? engine->control : new_loop(options, i + 1u);
        if (loop == NULL) {
            return MC_ENOMEM;
        }
        mc_status status =
            mc_worker_init(&engine->workers[i], engine, i, loop, options->stats, options->record_capacity);
        if (status != MC_OK) {
            engine->control = options->is_virtual ? NULL : engine->control; /* the worker took it along */
            return status;
        }
        if (engine->log_writer != NULL) {
            engine->workers[i].proxy.log_writer = engine->log_writer;
            engine->workers[i].proxy.log_ring = mc_log_writer_ring(engine->log_writer, i);
        }
        engine->worker_count = i + 1;
    }
    return MC_OK;
}

static void woken(mc_message *message, mc_loop *loop) {
    atomic_store(&MC_CONTAINER(message, mc_engine, note)->noted, false);
}
static void not_woken(mc_message *message) {}

static void batch_waits(void *ctx) { mc_engine_wake(ctx); }

mc_status mc_engine_new(const mc_engine_options *options, mc_engine **out) {
    mc_engine *engine = mc_calloc(1, sizeof *engine);
    if (engine == NULL) {
        return MC_ENOMEM;
    }
    engine->stats = mc_stats_ref(options->stats);
    engine->slab = mc_slab_open(options->stats);
    engine->note = (mc_message){.run = woken, .drop = not_woken};
    mc_slots_init(&engine->slots);
    mc_slots_init(&engine->listeners);
    mc_members_init(&engine->members, engine->stats);
    mc_engine_names_init(&engine->names);
    engine->control = new_loop(options, 0);
    const bool logs = !options->is_virtual || options->keeps_logs;
    if (logs) {
        mc_log_options log = options->log;
        log.on_batch = batch_waits;
        log.ctx = engine;
        engine->log_writer = mc_log_writer_new(engine->stats, options->workers, &log);
    }
    const bool lacks = engine->control == NULL || engine->slab == NULL || (logs && engine->log_writer == NULL);
    mc_status status = lacks ? MC_ENOMEM : init_workers(engine, options);
    if (status != MC_OK) {
        mc_engine_free(engine);
        return status;
    }
    *out = engine;
    return MC_OK;
}

static void bound_fini(mc_engine *engine, mc_bound *bound) {
    for (uint32_t i = 0; bound->fds != NULL && i < engine->worker_count; i++) {
        if (bound->fds[i] >= 0) {
            mc_socket_close(bound->fds[i]);
        }
    }
    mc_free(bound->fds);
    mc_free((void *)bound->name.p);
}

void mc_engine_free(mc_engine *engine) {
    if (engine == NULL) {
        return;
    }
    for (size_t i = 0; i < engine->bound_count; i++) {
        bound_fini(engine, &engine->bound[i]);
    }
    mc_free(engine->bound);
    mc_members_fini(&engine->members);
    bool shared_loop = engine->worker_count > 0 && engine->workers[0].loop == engine->control;
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        mc_worker_fini(&engine->workers[i]);
    }
    if (!shared_loop && engine->control != NULL) {
        mc_loop_free(engine->control);
    }
    mc_free(engine->workers);
    mc_engine_names_fini(&engine->names); /* after the loops: messages refer to caches */
    mc_snapshot_unref(engine->current);
    mc_slots_fini(&engine->slots);
    mc_slots_fini(&engine->listeners);
    for (uint32_t i = 0; i < engine->listener_count; i++) {
        mc_free(engine->listener_counts[i]);
    }
    mc_free(engine->listener_counts);
    mc_log_writer_free(engine->log_writer);
    if (engine->slab != NULL) {
        mc_slab_close(engine->slab);
    }
    mc_stats_unref(engine->stats);
    mc_free(engine);
}

/* --- compile, bind, publish ---------------------------------------------------------------------------------------------------- */

/* Each count stays where it is: workers hold on to it. */
static _Atomic uint32_t *listener_count(const void *ctx, uint32_t slot) {
    mc_engine *engine = (mc_engine *)(uintptr_t)ctx;
    if (slot >= engine->listener_count) {
        _Atomic uint32_t **grown = mc_realloc(engine->listener_counts, (slot + 1u) * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        engine->listener_counts = grown;
        while (engine->listener_count <= slot) {
            grown[engine->listener_count++] = mc_calloc(1, sizeof **grown);
        }
    }
    return engine->listener_counts[slot];
}

static mc_hosts *newest_members(const void *ctx, uint32_t slot) {
    return mc_members_hosts(&((const mc_engine *)ctx)->members, slot);
}

mc_status mc_engine_compile(mc_engine *engine, const mc_value *bootstrap, const mc_filter_factory *factories,
                            size_t factory_count, mc_snapshot **out, mc_error *error) {
    mc_compile_context context = {.stats = engine->stats,
                                  .slots = &engine->slots,
                                  .previous = engine->current,
                                  .members = newest_members,
                                  .members_ctx = engine,
                                  .listeners = &engine->listeners,
                                  .listener_count = listener_count,
                                  .log_writer = engine->log_writer,
                                  .factories = factories,
                                  .factory_count = factory_count};
    if (mc_loop_is_virtual(engine->control) || !mc_socket_node_address(&context.node_address)) {
        context.node_address.length = 0;
    }
    return mc_snapshot_compile(bootstrap, &context, out, error);
}

const mc_bound *mc_engine_find_bound(const mc_engine *engine, mc_slice name) {
    for (size_t i = 0; i < engine->bound_count; i++) {
        if (mc_slice_eq(engine->bound[i].name, name)) {
            return &engine->bound[i];
        }
    }
    return NULL;
}

static bool same_address(const mc_address *a, const mc_address *b) {
    return a->length == b->length && memcmp(&a->any, &b->any, a->length) == 0;
}

/* The socket that it has serves what is wanted: also when a port that the kernel chose is now asked for by its number. */
static bool serves(const mc_bound *bound, const mc_address *wanted) {
    return same_address(&bound->wanted, wanted) || same_address(&bound->actual, wanted);
}

static int open_socket(const mc_bound *bound, const mc_listener_config *config, uint32_t worker) {
    mc_listen_options options = {.backlog = (int)config->backlog, .reuse_port = config->reuse_port};
    if (worker > 0 && !config->reuse_port) {
        return mc_socket_dup(bound->fds[0]); /* one queue shared by all workers */
    }
    return mc_socket_listen(worker == 0 ? &config->address : &bound->actual, &options);
}

static mc_status bind_listener(mc_engine *engine, const mc_listener_config *config, mc_error *error) {
    char text[MC_ADDRESS_TEXT], name_text[64];
    if (mc_grow(&engine->bound, &engine->bound_cap, engine->bound_count + 1, sizeof *engine->bound) != MC_OK) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    mc_bound bound = {.wanted = config->address, .actual = config->address};
    bound.fds = mc_malloc(engine->worker_count * sizeof(int));
    char *name = mc_malloc(config->name.n);
    bound.name = mc_slice_of(name, name == NULL ? 0 : config->name.n);
    for (uint32_t i = 0; bound.fds != NULL && i < engine->worker_count; i++) {
        bound.fds[i] = -1;
    }
    if (bound.fds == NULL || name == NULL) {
        bound_fini(engine, &bound);
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    memcpy(name, config->name.p, config->name.n);
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        int fd = open_socket(&bound, config, i);
        if (fd < 0 || (bound.fds[i] = fd, i == 0 && mc_socket_local(fd, &bound.actual) != 0)) {
            bound_fini(engine, &bound);
            mc_address_text(&config->address, text);
            snprintf(name_text, sizeof name_text, "listener %.*s", MC_SLICE_ARG(config->name));
            return mc_error_set(error, MC_ESYS, name_text, "cannot listen on %s: %s", text, strerror(fd < 0 ? -fd : 0));
        }
    }
    engine->bound[engine->bound_count++] = bound;
    return MC_OK;
}

static void unbind(mc_engine *engine, size_t index) {
    bound_fini(engine, &engine->bound[index]);
    engine->bound[index] = engine->bound[--engine->bound_count];
}

mc_status mc_engine_bind(mc_engine *engine, const mc_snapshot *snapshot, mc_error *error) {
    for (uint32_t i = 0; i < snapshot->listener_count; i++) {
        const mc_listener_config *config = &snapshot->listeners[i];
        const mc_bound *bound = mc_engine_find_bound(engine, config->name);
        if (!config->bind || (bound != NULL && serves(bound, &config->address))) {
            continue;
        }
        if (bound != NULL) {
            unbind(engine, (size_t)(bound - engine->bound));
        }
        mc_status status = bind_listener(engine, config, error);
        if (status != MC_OK) {
            return status;
        }
    }
    return MC_OK;
}

static int *take_fds(mc_engine *engine, const mc_snapshot *snapshot, uint32_t worker) {
    int *fds = mc_malloc((snapshot->listener_count + 1) * sizeof(int));
    for (uint32_t i = 0; fds != NULL && i < snapshot->listener_count; i++) {
        const mc_bound *bound = mc_engine_find_bound(engine, snapshot->listeners[i].name);
        fds[i] = bound == NULL ? -1 : bound->fds[worker];
        if (bound != NULL) {
            bound->fds[worker] = -1;
        }
    }
    return fds;
}

static void forget_unbound(mc_engine *engine, const mc_snapshot *snapshot) {
    for (size_t i = engine->bound_count; i-- > 0;) {
        bool wanted = false;
        for (uint32_t j = 0; j < snapshot->listener_count && !wanted; j++) {
            wanted = mc_slice_eq(engine->bound[i].name, snapshot->listeners[j].name);
        }
        if (!wanted) {
            unbind(engine, i);
        }
    }
}

/* --- membership ------------------------------------------------------------------------------------------------------------------ */

mc_hosts *mc_engine_members(const mc_engine *engine, const mc_cluster *cluster) {
    return mc_members_hosts(&engine->members, cluster->slot);
}

/* Clusters that the new configuration no longer has. */
static void drop_members(mc_engine *engine, const mc_snapshot *snapshot) {
    const mc_snapshot *old = engine->current;
    for (uint32_t i = 0; old != NULL && i < old->cluster_count; i++) {
        const mc_cluster *cluster = old->clusters[i].cluster;
        if (mc_snapshot_slot(snapshot, cluster->name) == UINT32_MAX) {
            mc_members_drop(engine, cluster->slot);
        }
    }
}

mc_status mc_engine_publish(mc_engine *engine, mc_snapshot *snapshot) {
    mc_status status = mc_members_grow(&engine->members, engine->slots.count);
    if (status == MC_OK) {
        status = mc_orders_apply(engine, snapshot, take_fds);
    }
    if (status != MC_OK) {
        return status;
    }
    for (uint32_t i = 0; i < snapshot->cluster_count; i++) {
        mc_members_use(engine, snapshot->clusters[i].cluster, snapshot->clusters[i].hosts);
    }
    drop_members(engine, snapshot);
    mc_snapshot *old = engine->current;
    engine->current = mc_snapshot_ref(snapshot);
    mc_snapshot_unref(old);
    forget_unbound(engine, snapshot);
    engine->published++;
    return MC_OK;
}

static mc_member *find_member(const mc_engine *engine, mc_slice name) {
    const mc_snapshot_cluster *entry = engine->current == NULL ? NULL : mc_map_get(&engine->current->by_name, name);
    return entry == NULL ? NULL : mc_members_find(&engine->members, entry->cluster);
}

mc_status mc_engine_set_assignment(mc_engine *engine, mc_slice name, const mc_value *assignment, mc_error *error) {
    mc_member *member = find_member(engine, name);
    mc_hosts *hosts;
    if (member == NULL) {
        return mc_error_set(error, MC_ENOTFOUND, "", "no cluster %.*s", MC_SLICE_ARG(name));
    }
    mc_loop_refresh(engine->control);
    mc_cluster *cluster = member->cluster;
    mc_status status =
        mc_hosts_compile(assignment, &cluster->lb, cluster->name, engine->stats, member->hosts, &hosts, error);
    if (status == MC_OK) {
        mc_counter_add(engine->slab, cluster->stats.socket_matches, mc_hosts_count(hosts));
        status = mc_member_set_hosts(member, hosts);
        mc_hosts_unref(hosts);
        if (status != MC_OK) {
            mc_error_set(error, status, "", "out of memory");
        }
    }
    return status;
}

static bool update_host(mc_member *member, mc_host *host, const mc_health_update *update) {
    const uint64_t now_ms = mc_loop_now_ms(member->engine->control);
    uint32_t old = atomic_load(&host->health_flags);
    while (!atomic_compare_exchange_weak(&host->health_flags, &old, (old & ~update->clear) | update->set)) {
    }
    if (update->passed) {
        atomic_store(&host->hc_pass_ms, now_ms);
    }
    if (update->failed) {
        mc_member_drain_host(member, host);
    }
    return update->well && member->watched && mc_outlier_check_passed(&member->outlier, host, now_ms);
}

mc_status mc_engine_set_health(mc_engine *engine, mc_slice cluster, mc_slice address, const mc_health_update *update) {
    mc_member *member = find_member(engine, cluster);
    mc_host *host = member == NULL ? NULL : mc_hosts_find(member->hosts, address);
    if (member != NULL && member->cluster->lb.logical && mc_hosts_count(member->hosts) > 0) {
        host = mc_hosts_at(member->hosts, 0);
    }
    if (host == NULL) {
        return MC_ENOTFOUND;
    }
    mc_loop_refresh(engine->control);
    bool unejected = update_host(member, host, update);
    for (size_t i = 0; member->cluster->lb.keep_duplicates && i < mc_hosts_count(member->hosts); i++) {
        mc_host *other = mc_hosts_at(member->hosts, i);
        if (other != host && mc_slice_eq(other->address_text, address)) {
            unejected |= update_host(member, other, update);
        }
    }
    return unejected ? mc_member_refresh(member) : MC_OK;
}

mc_status mc_engine_refresh(mc_engine *engine, mc_slice cluster) {
    mc_member *member = find_member(engine, cluster);
    mc_loop_refresh(engine->control);
    return member == NULL ? MC_ENOTFOUND : mc_member_refresh(member);
}

/* --- the end -------------------------------------------------------------------------------------------------------------------- */

void mc_engine_set_overload(mc_engine *engine, mc_overload_id id, double chance) {
    mc_overload_set(&engine->overload, engine->stats, id, chance);
    const bool heavy = id == MC_OVERLOAD_RESET_HIGH_MEMORY_STREAM;
    if (heavy || id == MC_OVERLOAD_STOP_ACCEPTING_CONNECTIONS || id == MC_OVERLOAD_REDUCE_TIMEOUTS) {
        for (uint32_t i = 0; i < engine->worker_count; i++) {
            mc_worker_post(heavy ? &engine->workers[i].heavy_order : &engine->workers[i].overload_order);
        }
    }
}

void mc_engine_track_heavy(mc_engine *engine, unsigned shift) {
    const mc_slice count = MC_SLICE("envoy.overload_actions.reset_high_memory_stream.count");
    atomic_store(&engine->overload.heavy_resets, mc_stats_counter(engine->stats, count));
    atomic_store(&engine->overload.heavy_shift, shift);
}

void mc_engine_fail_health(mc_engine *engine, bool fail) { atomic_store(&engine->health_failed, fail); }

bool mc_engine_health_failed(const mc_engine *engine) { return atomic_load(&engine->health_failed); }

void mc_engine_drain(mc_engine *engine) {
    engine->draining = true;
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        mc_worker_post(&engine->workers[i].drain_order);
    }
}

void mc_engine_close_listeners(mc_engine *engine) {
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        mc_worker_post(&engine->workers[i].close_order);
    }
}

void mc_engine_stop(mc_engine *engine) {
    mc_members_stop(&engine->members);
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        mc_worker_post(&engine->workers[i].stop_order);
    }
}

bool mc_engine_applied(const mc_engine *engine) {
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        if (atomic_load(&engine->workers[i].applied) != engine->published) {
            return false;
        }
    }
    return true;
}

bool mc_engine_stopped(const mc_engine *engine) {
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        if (!atomic_load(&engine->workers[i].stopped)) {
            return false;
        }
    }
    return true;
}

bool mc_engine_drained(const mc_engine *engine) {
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        if (!atomic_load(&engine->workers[i].idle)) {
            return false;
        }
    }
    return true;
}

void mc_engine_wake(mc_engine *engine) {
    if (!atomic_exchange(&engine->noted, true)) {
        mc_mailbox_post(engine->control, &engine->note);
    }
}

mc_status mc_engine_run_worker(mc_engine *engine, uint32_t index) { return mc_loop_run(engine->workers[index].loop); }

size_t mc_engine_records(mc_engine *engine, mc_record *out, size_t n) {
    size_t count = 0;
    for (uint32_t i = 0; i < engine->worker_count && count < n; i++) {
        count += mc_record_drain(&engine->workers[i].proxy.records, out + count, n - count);
    }
    return count;
}

uint64_t mc_engine_records_dropped(const mc_engine *engine) {
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        dropped += atomic_load_explicit(&engine->workers[i].proxy.records.dropped, memory_order_relaxed);
    }
    return dropped;
}

bool mc_engine_span(mc_engine *engine, mc_text *out) {
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        if (mc_span_ring_pop(&engine->workers[i].proxy.spans, out)) {
            return true;
        }
    }
    return false;
}

uint64_t mc_engine_spans_dropped(const mc_engine *engine) {
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < engine->worker_count; i++) {
        dropped += atomic_load_explicit(&engine->workers[i].proxy.spans.dropped, memory_order_relaxed);
    }
    return dropped;
}
