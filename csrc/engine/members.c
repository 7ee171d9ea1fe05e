#include "engine/members.h"

#include "base/alloc.h"
#include "engine/engine.h"
#include "engine/orders.h"
#include "lb/assignment.h"
#include "lb/client_weights.h"
#include "lb/hosts.h"

void mc_members_init(mc_members *members, mc_stats *stats) {
    *members = (mc_members){0};
#define COUNTER(name) members->name = mc_stats_scoped(stats, MC_COUNTER, MC_SLICE("cluster_manager."), MC_SLICE(#name));
    MC_MEMBERS_STATS(COUNTER)
#undef COUNTER
    members->active_clusters = mc_stats_gauge(stats, MC_SLICE("cluster_manager.active_clusters"));
    members->warming_clusters = mc_stats_gauge(stats, MC_SLICE("cluster_manager.warming_clusters"));
}

#define COUNT(member, name) mc_counter_inc((member)->engine->slab, (member)->engine->members.name)

static uint64_t now_of(const mc_member *member) { return mc_loop_now_ms(member->engine->control); }

/* --- the event log ------------------------------------------------------------------------------------------------------- */

void mc_outlier_note_fini(mc_outlier_note *note) {
    mc_cluster_unref(note->cluster);
    mc_host_unref(note->host);
}

size_t mc_members_notes(mc_members *members, mc_outlier_note *out, size_t n) {
    size_t taken = 0;
    while (taken < n && members->note_count > 0) {
        out[taken++] = members->notes[members->note_first];
        members->note_first = (members->note_first + 1) % MC_OUTLIER_NOTES;
        members->note_count--;
    }
    return taken;
}

/* Nobody may be reading: then the newest drop out. */
static void note(void *ctx, mc_host *host, mc_outlier_action action, mc_outlier_type type, uint64_t since_ms) {
    mc_member *member = ctx;
    mc_members *members = &member->engine->members;
    if (members->notes == NULL) {
        members->notes = mc_malloc(MC_OUTLIER_NOTES * sizeof *members->notes);
    }
    if (members->notes == NULL || members->note_count == MC_OUTLIER_NOTES) {
        return;
    }
    const bool local =
        type == MC_OUTLIER_SUCCESS_RATE_LOCAL_ORIGIN || type == MC_OUTLIER_FAILURE_PERCENTAGE_LOCAL_ORIGIN;
    const mc_outlier_host *state = host->outlier;
    members->notes[(members->note_first + members->note_count++) % MC_OUTLIER_NOTES] = (mc_outlier_note){
        .cluster = mc_cluster_ref(member->cluster),
        .host = mc_host_ref(host),
        .action = action,
        .type = type,
        .wall_ms = mc_loop_wall_ms(member->engine->control),
        .since_ms = since_ms,
        .ejections = state->ejections,
        .success_rate = local ? state->local_success_rate : state->success_rate,
        .average = member->outlier.success_rate_average[local],
        .threshold = member->outlier.success_rate_threshold[local],
    };
    mc_engine_wake(member->engine);
}

/* --- delivery ------------------------------------------------------------------------------------------------------------ */

static const mc_host_set *set_of(const mc_hosts *hosts, size_t priority) {
    return hosts != NULL && priority < hosts->priority_count ? hosts->sets[priority] : NULL;
}

/* Whether two sets have the same hosts, in whatever order. Most often they are the same, or in the same order. */
static bool same_members(const mc_host_set *a, const mc_hosts *hosts, size_t priority) {
    const mc_host_set *b = set_of(hosts, priority);
    const size_t count = a == NULL ? 0 : a->all.count;
    if (a == b) {
        return true;
    }
    if ((b == NULL ? 0 : b->all.count) != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const mc_host *host = a->all.items[i];
        if (b->all.items[i] != host && (!mc_hosts_has(hosts, host) || atomic_load(&host->priority) != priority)) {
            return false;
        }
    }
    return true;
}

/* CL-11: once for each priority that won or lost hosts. */
static void count_changes(const mc_member *member, const mc_hosts *before, const mc_hosts *after) {
    for (size_t i = 0; i < after->priority_count; i++) {
        if (!same_members(set_of(before, i), after, i)) {
            mc_counter_inc(member->engine->slab, member->cluster->stats.membership_change);
        }
    }
}

static void show(const mc_member *member) {
    const mc_cluster *cluster = member->cluster;
    mc_stats *stats = member->engine->stats;
    mc_gauge_set(stats, cluster->stats.membership_total, mc_hosts_count(member->hosts));
    mc_gauge_set(stats, cluster->stats.membership_healthy, mc_hosts_healthy(member->hosts));
    mc_gauge_set(stats, cluster->stats.membership_degraded, mc_hosts_degraded(member->hosts));
    mc_gauge_set(stats, cluster->stats.membership_excluded, mc_hosts_excluded(member->hosts));
    const bool dynamic = !cluster->lb.keep_duplicates && !cluster->lb.logical && cluster->original_dst == NULL;
    if (dynamic && mc_hosts_count(member->hosts) > 0) { /* CL-11: only what EDS and STRICT_DNS bring */
        mc_gauge_set(stats, cluster->stats.max_host_weight, mc_hosts_max_weight(member->hosts));
    }
    mc_hosts_set_gauges(member->hosts, cluster->stat_name, stats, member->engine->slab);
}

/* Without memory a watched cluster's new hosts are not watched, the old ones stay so. */
static void take_hosts(mc_member *member, mc_hosts *hosts) {
    mc_hosts *old = member->hosts;
    if (member->watched && mc_outlier_set_hosts(&member->outlier, hosts) != MC_OK) {
        mc_counter_inc(member->engine->slab, member->cluster->stats.update_failure);
    }
    member->hosts = mc_hosts_ref(hosts);
    mc_hosts_unref(old);
    show(member);
}

enum { GREAT = 512, SWEEP_MS = 1000 };

static void sweep(mc_member *member) {
    mc_hosts_unref(member->before);
    member->before = NULL;
}

static void sweep_fired(mc_timer *timer) { sweep(MC_CONTAINER(timer, mc_member, sweep)); }

/* Workers are given these hosts. */
static void note_sent(mc_member *member, mc_hosts *hosts) {
    mc_hosts *old = member->sent;
    member->sent = mc_hosts_ref(hosts);
    sweep(member);
    if (old != NULL && mc_hosts_count(old) >= GREAT) {
        member->before = old;
        mc_timer_arm(member->engine->control, &member->sweep, SWEEP_MS);
    } else {
        mc_hosts_unref(old);
    }
}

/* The first of what waits. */
static void arm_merge(mc_member *member) {
    mc_loop *control = member->engine->control;
    uint64_t first = 0;
    for (size_t i = 0; i < member->merge_count; i++) {
        const uint64_t due = member->merges[i].due_ms;
        first = due != 0 && (first == 0 || due < first) ? due : first;
    }
    mc_timer_cancel(control, &member->merge);
    if (first != 0 && !member->engine->members.stopped) {
        const uint64_t now = now_of(member);
        mc_timer_arm(control, &member->merge, first > now ? first - now : 1);
    }
}

static mc_status make_merges(mc_member *member, size_t count) {
    if (count > member->merge_count) {
        mc_merge *grown = mc_realloc(member->merges, count * sizeof *grown);
        if (grown == NULL) {
            return MC_ENOMEM;
        }
        memset(grown + member->merge_count, 0, (count - member->merge_count) * sizeof *grown);
        member->merges = grown;
        member->merge_count = count;
    }
    return MC_OK;
}

/* Tells the workers; of priorities that wait they keep what they have. */
static mc_status deliver(mc_member *member) {
    mc_hosts *hosts;
    bool due[MC_MAX_PRIORITY + 1];
    for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
        due[i] = i >= member->merge_count || member->merges[i].due_ms == 0;
    }
    mc_status status = mc_hosts_hold_back(member->hosts, member->sent, due, &hosts);
    if (status == MC_OK) {
        status = mc_orders_hosts(member->engine, member->cluster, hosts, member->sent);
        if (status == MC_OK) {
            note_sent(member, hosts);
        }
        mc_hosts_unref(hosts);
    }
    return status;
}

/* No memory now: once more after a window. */
static void deliver_again(mc_member *member) {
    const uint64_t at = now_of(member) + member->cluster->update_merge_window_ms + 1;
    for (size_t i = 0; i < member->merge_count; i++) {
        mc_merge *merge = &member->merges[i];
        merge->due_ms = merge->due_ms == 0 ? at : merge->due_ms;
    }
    arm_merge(member);
}

static void merge_fired(mc_timer *timer) {
    mc_member *member = MC_CONTAINER(timer, mc_member, merge);
    const uint64_t now = now_of(member);
    uint32_t merged = 0;
    for (size_t i = 0; i < member->merge_count; i++) {
        mc_merge *merge = &member->merges[i];
        if (merge->due_ms != 0 && merge->due_ms <= now) {
            *merge = (mc_merge){.delivered = true, .delivered_ms = now};
            merged++;
        }
    }
    if (deliver(member) != MC_OK) {
        deliver_again(member);
        return;
    }
    mc_counter_add(member->engine->slab, member->engine->members.cluster_updated_via_merge, merged);
    arm_merge(member);
}

/* CL-12, of one priority; true: it is to be told now. */
static bool schedule(mc_member *member, size_t priority, bool mergeable) {
    mc_merge *merge = &member->merges[priority];
    const uint64_t window = member->cluster->update_merge_window_ms, now = now_of(member);
    const bool late = !merge->delivered || now - merge->delivered_ms > window;
    if (window > 0 && mergeable && !late) {
        merge->due_ms = merge->due_ms == 0 ? now + window : merge->due_ms;
        return false;
    }
    if (window > 0 && mergeable) {
        COUNT(member, update_out_of_merge_window);
    }
    if (merge->due_ms != 0) {
        COUNT(member, update_merge_cancelled);
    }
    *merge = (mc_merge){.delivered = true, .delivered_ms = now};
    COUNT(member, cluster_updated);
    return true;
}

/* Weights by load reports stay what they are, whatever an assignment says; true when one changed. */
static bool weigh(mc_member *member) {
    const mc_lb_config *config = &member->cluster->lb;
    return config->policy == MC_LB_CLIENT_WEIGHTS &&
           mc_client_weights_update(member->hosts, &config->weights, now_of(member));
}

mc_status mc_member_set_hosts(mc_member *member, mc_hosts *hosts) {
    if (make_merges(member, hosts->priority_count) != MC_OK) {
        return MC_ENOMEM;
    }
    mc_hosts *before = mc_hosts_ref(member->hosts), *weighed;
    bool now = false, any = false;
    count_changes(member, before, hosts);
    take_hosts(member, hosts);
    if (weigh(member) && mc_hosts_refresh(member->hosts, &weighed) == MC_OK) {
        take_hosts(member, weighed);
        mc_hosts_unref(weighed);
    }
    for (size_t i = 0; i < hosts->priority_count && !member->engine->members.stopped; i++) {
        if (set_of(before, i) != set_of(member->hosts, i)) {
            any = true;
            now |= schedule(member, i, same_members(set_of(before, i), hosts, i));
        }
    }
    mc_hosts_unref(before);
    arm_merge(member);
    /* What is not of any priority, such as where a logical host is, does not wait. */
    return member->engine->members.stopped || (any && !now) ? MC_OK : deliver(member);
}

/* The health of a host is news for every priority. */
mc_status mc_member_refresh(mc_member *member) {
    mc_hosts *hosts;
    bool now = false;
    mc_status status = make_merges(member, member->hosts->priority_count);
    if (status != MC_OK || (status = mc_hosts_refresh(member->hosts, &hosts)) != MC_OK) {
        return status;
    }
    take_hosts(member, hosts);
    mc_hosts_unref(hosts);
    for (size_t i = 0; i < member->merge_count && !member->engine->members.stopped; i++) {
        now |= schedule(member, i, true);
    }
    arm_merge(member);
    return now ? deliver(member) : MC_OK;
}

void mc_member_drain_host(mc_member *member, mc_host *host) {
    if (mc_orders_drain_host(member->engine, member->cluster, host) != MC_OK) {
        return; /* without memory its connections live on; they fail by themselves */
    }
}

/* --- outlier detection ------------------------------------------------------------------------------------------------------- */

/* What the detector decided, to the lists; without memory the next change brings it along. */
static void after_decision(mc_member *member, bool changed) {
    if (changed && mc_member_refresh(member) != MC_OK) {
        deliver_again(member);
    }
}

static void on_decision(void *ctx, mc_host *host, mc_outlier_action action, mc_outlier_type type, uint64_t since_ms) {
    mc_member *member = ctx;
    note(member, host, action, type, since_ms);
    if (action == MC_OUTLIER_EJECT && type != MC_OUTLIER_DEGRADED) {
        mc_member_drain_host(member, host);
    }
}

static void tick_fired(mc_timer *timer) {
    mc_member *member = MC_CONTAINER(timer, mc_member, tick);
    after_decision(member, mc_outlier_tick(&member->outlier, now_of(member)));
    mc_timer_arm(member->engine->control, timer, member->outlier.config.interval_ms);
}

typedef struct report {
    mc_message message;
    mc_engine *engine;
    mc_cluster *cluster;
    mc_host *host;
    unsigned types;
} report;

static void report_drop(mc_message *message) {
    report *r = MC_CONTAINER(message, report, message);
    mc_cluster_unref(r->cluster);
    mc_host_unref(r->host);
    mc_free(r);
}

static void report_run(mc_message *message, mc_loop *loop) {
    report *r = MC_CONTAINER(message, report, message);
    mc_member *member = mc_members_find(&r->engine->members, r->cluster);
    bool changed = false;
    for (unsigned type = 0; member != NULL && member->watched && type <= MC_OUTLIER_DEGRADED; type++) {
        if (r->types & 1u << type) {
            changed |= mc_outlier_report(&member->outlier, r->host, (mc_outlier_type)type, now_of(member));
        }
    }
    if (member != NULL) {
        after_decision(member, changed);
    }
    report_drop(message);
}

void mc_members_report(mc_engine *engine, mc_cluster *cluster, mc_host *host, unsigned types) {
    report *r = mc_malloc(sizeof *r);
    if (r == NULL) {
        return;
    }
    *r = (report){.message = {.run = report_run, .drop = report_drop},
                  .engine = engine,
                  .cluster = mc_cluster_ref(cluster),
                  .host = mc_host_ref(host),
                  .types = types};
    mc_mailbox_post(engine->control, &r->message);
}

/* --- weights by load reports ------------------------------------------------------------------------------------------------- */

static void weigh_fired(mc_timer *timer) {
    mc_member *member = MC_CONTAINER(timer, mc_member, weigh);
    after_decision(member, weigh(member));
    mc_timer_arm(member->engine->control, timer, member->cluster->lb.weights.update_ms);
}

/* --- hosts made on first use (CL-15) --------------------------------------------------------------------------------------------- */

typedef struct new_host {
    mc_message message;
    mc_engine *engine;
    mc_cluster *cluster;
    mc_host *host;
} new_host;

static void new_host_drop(mc_message *message) {
    new_host *n = MC_CONTAINER(message, new_host, message);
    mc_cluster_unref(n->cluster);
    mc_host_unref(n->host);
    mc_free(n);
}

/* All hosts that `keep` wants, and `more` (may be NULL). */
static mc_status set_list(mc_member *member, bool (*keep)(mc_host *host), mc_host *more) {
    const size_t count = mc_hosts_count(member->hosts);
    mc_host **list = mc_malloc((count + 1) * sizeof *list);
    mc_hosts *hosts;
    size_t n = 0;
    if (list == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mc_host *host = mc_hosts_at(member->hosts, i);
        if (keep == NULL || keep(host)) {
            list[n++] = host;
        }
    }
    if (more != NULL) {
        list[n++] = more;
    }
    mc_status status = more == NULL && n == count ? MC_AGAIN : mc_hosts_of(member->hosts, list, n, &hosts);
    mc_free(list);
    if (status == MC_OK) {
        status = mc_member_set_hosts(member, hosts);
        mc_hosts_unref(hosts);
    }
    return status;
}

static void new_host_run(mc_message *message, mc_loop *loop) {
    new_host *n = MC_CONTAINER(message, new_host, message);
    mc_member *member = mc_members_find(&n->engine->members, n->cluster);
    if (member != NULL && mc_hosts_find(member->hosts, n->host->address_text) == NULL &&
        set_list(member, NULL, n->host) != MC_OK) {
        mc_counter_inc(n->engine->slab, n->cluster->stats.update_failure);
    }
    new_host_drop(message);
}

void mc_members_add_host(mc_engine *engine, mc_cluster *cluster, mc_host *host) {
    new_host *n = mc_malloc(sizeof *n);
    if (n != NULL) {
        *n = (new_host){.message = {.run = new_host_run, .drop = new_host_drop},
                        .engine = engine,
                        .cluster = mc_cluster_ref(cluster),
                        .host = mc_host_ref(host)};
        mc_mailbox_post(engine->control, &n->message);
    }
}

static bool still_used(mc_host *host) {
    return atomic_exchange(&host->used, false) || atomic_load(&host->cx_active) > 0;
}

static void unused_fired(mc_timer *timer) {
    mc_member *member = MC_CONTAINER(timer, mc_member, unused);
    mc_status status = set_list(member, still_used, NULL);
    if (status != MC_OK && status != MC_AGAIN) {
        mc_counter_inc(member->engine->slab, member->cluster->stats.update_failure);
    }
    mc_timer_arm(member->engine->control, timer, member->cluster->original_dst->cleanup_ms);
}

/* --- hosts that ask to be taken out -------------------------------------------------------------------------------------------- */

typedef struct mc_failed_host {
    mc_message message;
    mc_engine *engine;
    mc_cluster *cluster;
    mc_host *host;
    struct mc_failed_host *next;
} failed_host;

static void failed_drop(mc_message *message) {
    failed_host *f = MC_CONTAINER(message, failed_host, message);
    mc_cluster_unref(f->cluster);
    mc_host_unref(f->host);
    mc_free(f);
}

static void failed_run(mc_message *message, mc_loop *loop) {
    failed_host *f = MC_CONTAINER(message, failed_host, message), **at = &f->engine->members.failed;
    mc_member *member = mc_members_find(&f->engine->members, f->cluster);
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = f;
    if (member != NULL) {
        after_decision(member, true);
    }
    mc_engine_wake(f->engine);
}

void mc_members_fail_host(mc_engine *engine, mc_cluster *cluster, mc_host *host) {
    /* Once until it is well again: a host under load says it with every answer. */
    if (atomic_fetch_or(&host->health_flags, MC_EXCLUDED_VIA_IMMEDIATE_HC_FAIL) & MC_EXCLUDED_VIA_IMMEDIATE_HC_FAIL) {
        return;
    }
    failed_host *f = mc_malloc(sizeof *f);
    if (f != NULL) {
        *f = (failed_host){.message = {.run = failed_run, .drop = failed_drop},
                           .engine = engine,
                           .cluster = mc_cluster_ref(cluster),
                           .host = mc_host_ref(host)};
        mc_mailbox_post(engine->control, &f->message);
    }
}

bool mc_members_take_failed(mc_members *members, mc_cluster **cluster, mc_host **host) {
    failed_host *f = members->failed;
    if (f == NULL) {
        return false;
    }
    members->failed = f->next;
    *cluster = f->cluster;
    *host = f->host;
    mc_free(f);
    return true;
}

/* --- use ------------------------------------------------------------------------------------------------------------------- */

mc_status mc_members_grow(mc_members *members, uint32_t count) {
    if (count <= members->count) {
        return MC_OK;
    }
    mc_member **grown = mc_realloc(members->items, count * sizeof *grown);
    if (grown == NULL) {
        return MC_ENOMEM;
    }
    memset(grown + members->count, 0, (count - members->count) * sizeof *grown);
    members->items = grown;
    members->count = count;
    return MC_OK;
}

mc_member *mc_members_find(const mc_members *members, const mc_cluster *cluster) {
    mc_member *member = cluster->slot < members->count ? members->items[cluster->slot] : NULL;
    return member != NULL && member->cluster == cluster ? member : NULL;
}

mc_hosts *mc_members_hosts(const mc_members *members, uint32_t slot) {
    return slot < members->count && members->items[slot] != NULL ? members->items[slot]->hosts : NULL;
}

static void member_free(mc_member *member) {
    if (member->watched) {
        mc_outlier_fini(&member->outlier);
        mc_outlier_stats_release(&member->outlier.stats);
    }
    mc_timer_cancel(member->engine->control, &member->tick);
    mc_timer_cancel(member->engine->control, &member->unused);
    mc_timer_cancel(member->engine->control, &member->merge);
    mc_timer_cancel(member->engine->control, &member->weigh);
    mc_timer_cancel(member->engine->control, &member->sweep);
    sweep(member);
    mc_hosts_unref(member->sent);
    mc_hosts_unref(member->hosts);
    mc_cluster_unref(member->cluster);
    mc_free(member->merges);
    mc_free(member);
}

static void watch(mc_member *member) {
    mc_engine *engine = member->engine;
    const mc_cluster *cluster = member->cluster;
    mc_random *random = mc_loop_random(engine->control);
    mc_outlier_stats stats;
    mc_outlier_stats_register(&stats, cluster->outlier, engine->stats, cluster->stat_name, engine->slab);
    mc_outlier_init(&member->outlier, cluster->outlier, &stats, random, random, on_decision, member);
    member->watched = true;
    mc_timer_arm(engine->control, &member->tick, cluster->outlier->interval_ms);
}

static mc_member *member_new(mc_engine *engine, mc_cluster *cluster) {
    mc_member *member = mc_calloc(1, sizeof *member);
    if (member != NULL) {
        member->engine = engine;
        member->cluster = mc_cluster_ref(cluster);
        member->tick.fire = tick_fired;
        member->merge.fire = merge_fired;
        member->unused.fire = unused_fired;
        if (cluster->original_dst != NULL) {
            mc_timer_arm(engine->control, &member->unused, cluster->original_dst->cleanup_ms);
        }
        member->weigh.fire = weigh_fired;
        member->sweep.fire = sweep_fired;
        if (cluster->lb.policy == MC_LB_CLIENT_WEIGHTS) {
            mc_timer_arm(engine->control, &member->weigh, cluster->lb.weights.update_ms);
        }
        if (cluster->outlier != NULL) {
            watch(member);
        }
    }
    return member;
}

void mc_members_use(mc_engine *engine, mc_cluster *cluster, mc_hosts *hosts) {
    mc_member **at = &engine->members.items[cluster->slot];
    mc_hosts *before = *at == NULL ? NULL : mc_hosts_ref((*at)->hosts);
    if (*at == NULL || (*at)->cluster != cluster) {
        mc_member *fresh = member_new(engine, cluster);
        if (fresh == NULL) {
            mc_hosts_unref(before);
            return;
        }
        if (*at != NULL) {
            COUNT(fresh, cluster_modified);
            member_free(*at);
        } else {
            COUNT(fresh, cluster_added);
            mc_gauge_add(engine->slab, engine->members.active_clusters, 1);
        }
        *at = fresh;
    }
    mc_member *member = *at;
    count_changes(member, before, hosts);
    mc_hosts_unref(before);
    take_hosts(member, hosts);
    if (make_merges(member, hosts->priority_count) != MC_OK) {
        mc_counter_inc(engine->slab, cluster->stats.update_failure);
    }
    for (size_t i = 0; i < member->merge_count; i++) {
        member->merges[i].due_ms = 0;
    }
    arm_merge(member);
    note_sent(member, hosts);
}

void mc_members_drop(mc_engine *engine, uint32_t slot) {
    mc_member **at = &engine->members.items[slot];
    if (*at != NULL) {
        COUNT(*at, cluster_removed);
        mc_gauge_add(engine->slab, engine->members.active_clusters, -1);
        member_free(*at);
        *at = NULL;
    }
}

void mc_members_stop(mc_members *members) {
    members->stopped = true;
    for (uint32_t i = 0; i < members->count; i++) {
        mc_member *member = members->items[i];
        if (member != NULL) {
            mc_timer_cancel(member->engine->control, &member->tick);
            mc_timer_cancel(member->engine->control, &member->unused);
            mc_timer_cancel(member->engine->control, &member->weigh);
            mc_timer_cancel(member->engine->control, &member->sweep);
            mc_timer_cancel(member->engine->control, &member->merge);
        }
    }
}

void mc_members_fini(mc_members *members) {
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->items[i] != NULL) {
            member_free(members->items[i]);
        }
    }
    mc_free(members->items);
    for (mc_outlier_note one; mc_members_notes(members, &one, 1) == 1;) {
        mc_outlier_note_fini(&one);
    }
    mc_free(members->notes);
    mc_cluster *cluster;
    mc_host *host;
    while (mc_members_take_failed(members, &cluster, &host)) {
        mc_cluster_unref(cluster);
        mc_host_unref(host);
    }
}
