#include "base/alloc.h"
#include "engine/engine.h"
#include "engine/member.h"
#include "lb/hosts.h"

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

static void on_decision(void *ctx, mc_host *host, mc_outlier_action action, mc_outlier_type type, uint64_t since_ms) {
    mc_member *member = ctx;
    note(member, host, action, type, since_ms);
    if (action == MC_OUTLIER_EJECT && type != MC_OUTLIER_DEGRADED) {
        mc_member_drain_host(member, host);
    }
}

static void tick_fired(mc_timer *timer) {
    mc_member *member = MC_CONTAINER(timer, mc_member, tick);
    mc_member_after_decision(member, mc_outlier_tick(&member->outlier, mc_member_now(member)));
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
            changed |= mc_outlier_report(&member->outlier, r->host, (mc_outlier_type)type, mc_member_now(member));
        }
    }
    if (member != NULL) {
        mc_member_after_decision(member, changed);
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

void mc_member_watch(mc_member *member) {
    mc_engine *engine = member->engine;
    const mc_cluster *cluster = member->cluster;
    member->tick.fire = tick_fired;
    if (cluster->outlier == NULL) {
        return;
    }
    mc_random *random = mc_loop_random(engine->control);
    mc_outlier_stats stats;
    mc_outlier_stats_register(&stats, cluster->outlier, engine->stats, cluster->stat_name, engine->slab);
    mc_outlier_init(&member->outlier, cluster->outlier, &stats, random, random, on_decision, member);
    member->watched = true;
    mc_timer_arm(engine->control, &member->tick, cluster->outlier->interval_ms);
}

void mc_member_unwatch(mc_member *member) {
    mc_timer_cancel(member->engine->control, &member->tick);
    if (member->watched) {
        mc_outlier_fini(&member->outlier);
        mc_outlier_stats_release(&member->outlier.stats);
    }
}
