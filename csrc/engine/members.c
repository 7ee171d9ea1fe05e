#include "engine/members.h"

#include "base/alloc.h"
#include "engine/engine.h"
#include "engine/member.h"
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

uint64_t mc_member_now(const mc_member *member) { return mc_loop_now_ms(member->engine->control); }

bool mc_member_weigh(mc_member *member) {
    const mc_lb_config *config = &member->cluster->lb;
    return config->policy == MC_LB_CLIENT_WEIGHTS &&
           mc_client_weights_update(member->hosts, &config->weights, mc_member_now(member));
}

static void weigh_fired(mc_timer *timer) {
    mc_member *member = MC_CONTAINER(timer, mc_member, weigh);
    mc_member_after_decision(member, mc_member_weigh(member));
    mc_timer_arm(member->engine->control, timer, member->cluster->lb.weights.update_ms);
}

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

static void stop_timers(mc_member *member) {
    mc_loop *control = member->engine->control;
    mc_member_delivery_stop(member);
    mc_timer_cancel(control, &member->tick);
    mc_timer_cancel(control, &member->unused);
    mc_timer_cancel(control, &member->weigh);
}

static void member_free(mc_member *member) {
    stop_timers(member);
    mc_member_unwatch(member);
    mc_member_delivery_fini(member);
    mc_named_fini(&member->named);
    mc_hosts_unref(member->hosts);
    mc_cluster_unref(member->cluster);
    mc_free(member);
}

static mc_member *member_new(mc_engine *engine, mc_cluster *cluster) {
    mc_member *member = mc_calloc(1, sizeof *member);
    if (member != NULL) {
        member->engine = engine;
        member->cluster = mc_cluster_ref(cluster);
        member->weigh.fire = weigh_fired;
        mc_named_init(&member->named);
        mc_member_delivery_init(member);
        mc_member_reap_unused(member);
        if (cluster->lb.policy == MC_LB_CLIENT_WEIGHTS) {
            mc_timer_arm(engine->control, &member->weigh, cluster->lb.weights.update_ms);
        }
        mc_member_watch(member);
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
        mc_counter_add(engine->slab, cluster->stats.socket_matches, mc_hosts_count(hosts));
    }
    mc_member *member = *at;
    mc_member_count_changes(member, before, hosts);
    mc_hosts_unref(before);
    mc_member_take_hosts(member, hosts);
    mc_member_start_over(member, hosts);
    if (cluster->forward != NULL && member->named.by_key.count == 0) {
        mc_engine_names_introduce(engine, member);
    }
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
        if (members->items[i] != NULL) {
            stop_timers(members->items[i]);
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
