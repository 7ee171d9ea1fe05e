#include "base/alloc.h"
#include "engine/engine.h"
#include "engine/member.h"
#include "engine/orders.h"
#include "lb/assignment.h"
#include "lb/hosts.h"

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

void mc_member_count_changes(const mc_member *member, const mc_hosts *before, const mc_hosts *after) {
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
    const bool dynamic =
        !cluster->lb.fixed && !cluster->lb.logical && cluster->original_dst == NULL && cluster->forward == NULL;
    if (dynamic && mc_hosts_count(member->hosts) > 0) { /* CL-11: only what EDS and STRICT_DNS bring */
        mc_gauge_set(stats, cluster->stats.max_host_weight, mc_hosts_max_weight(member->hosts));
    }
    mc_hosts_set_gauges(member->hosts, cluster->stat_name, stats, member->engine->slab);
}

void mc_member_take_hosts(mc_member *member, mc_hosts *hosts) {
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
        const uint64_t now = mc_member_now(member);
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
    if (member->cluster->forward != NULL) { /* workers have its hosts by their names, one message each */
        return MC_OK;
    }
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
    const uint64_t at = mc_member_now(member) + member->cluster->update_merge_window_ms + 1;
    for (size_t i = 0; i < member->merge_count; i++) {
        mc_merge *merge = &member->merges[i];
        merge->due_ms = merge->due_ms == 0 ? at : merge->due_ms;
    }
    arm_merge(member);
}

static void merge_fired(mc_timer *timer) {
    mc_member *member = MC_CONTAINER(timer, mc_member, merge);
    const uint64_t now = mc_member_now(member);
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
    const uint64_t window = member->cluster->update_merge_window_ms, now = mc_member_now(member);
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

mc_status mc_member_set_hosts(mc_member *member, mc_hosts *hosts) {
    if (make_merges(member, hosts->priority_count) != MC_OK) {
        return MC_ENOMEM;
    }
    mc_hosts *before = mc_hosts_ref(member->hosts), *weighed;
    bool now = false, any = false;
    mc_member_count_changes(member, before, hosts);
    mc_member_take_hosts(member, hosts);
    if (mc_member_weigh(member) && mc_hosts_refresh(member->hosts, &weighed) == MC_OK) {
        mc_member_take_hosts(member, weighed);
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
    mc_member_take_hosts(member, hosts);
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

void mc_member_after_decision(mc_member *member, bool changed) {
    if (changed && mc_member_refresh(member) != MC_OK) {
        deliver_again(member);
    }
}

void mc_member_start_over(mc_member *member, mc_hosts *hosts) {
    if (make_merges(member, hosts->priority_count) != MC_OK) {
        mc_counter_inc(member->engine->slab, member->cluster->stats.update_failure);
    }
    for (size_t i = 0; i < member->merge_count; i++) {
        member->merges[i].due_ms = 0;
    }
    arm_merge(member);
    note_sent(member, hosts);
}

void mc_member_delivery_init(mc_member *member) {
    member->merge.fire = merge_fired;
    member->sweep.fire = sweep_fired;
}

void mc_member_delivery_stop(mc_member *member) {
    mc_timer_cancel(member->engine->control, &member->merge);
    mc_timer_cancel(member->engine->control, &member->sweep);
}

void mc_member_delivery_fini(mc_member *member) {
    mc_member_delivery_stop(member);
    sweep(member);
    mc_hosts_unref(member->sent);
    mc_free(member->merges);
}
