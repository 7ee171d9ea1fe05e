#include "base/alloc.h"
#include "engine/engine.h"
#include "engine/member.h"
#include "lb/hosts.h"

/* --- made on first use (CL-15) ---------------------------------------------------------------------------------------- */

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

/* All hosts that `keep` wants, but `less`, and `more`; each may be NULL. */
static mc_status set_list(mc_member *member, bool (*keep)(mc_host *host), const mc_host *less, mc_host *more) {
    const size_t count = mc_hosts_count(member->hosts);
    mc_host **list = mc_malloc((count + 1) * sizeof *list);
    mc_hosts *hosts;
    size_t n = 0;
    if (list == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mc_host *host = mc_hosts_at(member->hosts, i);
        if (host != less && (keep == NULL || keep(host))) {
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
        set_list(member, NULL, NULL, n->host) != MC_OK) {
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
    mc_status status = set_list(member, still_used, NULL, NULL);
    if (status != MC_OK && status != MC_AGAIN) {
        mc_counter_inc(member->engine->slab, member->cluster->stats.update_failure);
    }
    mc_timer_arm(member->engine->control, timer, member->cluster->original_dst->cleanup_ms);
}

void mc_member_reap_unused(mc_member *member) {
    member->unused.fire = unused_fired;
    if (member->cluster->original_dst != NULL) {
        mc_timer_arm(member->engine->control, &member->unused, member->cluster->original_dst->cleanup_ms);
    }
}

/* --- that have a name (CL-17) ----------------------------------------------------------------------------------------- */

const mc_address *mc_member_address(const mc_member *member, const mc_host *host) {
    const mc_address *address = member->cluster->forward != NULL ? mc_named_address(&member->named, host, 0)
                                                                 : mc_hosts_address(member->hosts, host, 0);
    return address == NULL ? &host->address : address;
}

mc_status mc_member_add_named(mc_member *member, mc_host *host) { return set_list(member, NULL, NULL, host); }

mc_status mc_member_remove_named(mc_member *member, mc_host *host) { return set_list(member, NULL, host, NULL); }

/* --- that ask to be taken out (HC-14) --------------------------------------------------------------------------------- */

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
        mc_member_after_decision(member, true);
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
