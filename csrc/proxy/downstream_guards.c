#include "base/read.h"
#include "proxy/downstream_internal.h"
#include "proxy/filters/rbac.h"

/* An object of connections behind network filters. */
typedef struct admission {
    mc_downstream *owner;
    mc_timer delay;                   /* before a denied connection closes */
    const char *denied;               /* by what rule; NULL: by none */
    bool asked;                       /* all filters were, once */
    mc_connection_verdict verdicts[]; /* of each */
} admission;

static const char admission_key = 0;

/* NULL: nobody was asked yet. */
static admission *admission_of(mc_downstream *d) {
    return d->pin->hcm->guards == NULL ? NULL : mc_downstream_find(d, &admission_key);
}

static void delay_fired(mc_timer *timer) { mc_downstream_close_now(MC_CONTAINER(timer, admission, delay)->owner); }

/* FL-18: who is denied gets nothing, and is closed at once or after a while. */
static void deny(mc_downstream *d, admission *admission, uint64_t delay_ms) {
    d->local_reason = "rbac_deny_close";
    if (delay_ms == 0) {
        mc_downstream_close_now(d);
        return;
    }
    d->closing = true;
    mc_timer_cancel(d->proxy->loop, &d->timer);
    mc_conn_pause_reading(&d->conn);
    admission->owner = d;
    admission->delay.fire = delay_fired;
    mc_timer_arm(d->proxy->loop, &admission->delay, delay_ms);
}

static mc_status ask_guards(mc_downstream *d, admission *admission, mc_arena *arena) {
    const mc_hcm *hcm = d->pin->hcm;
    mc_stream_info info;
    mc_headers none;
    mc_downstream_describe(d, &info);
    mc_headers_init(&none, arena);
    mc_route_request request = {.headers = &none,
                                .remote = &d->peer,
                                .local = &d->local,
                                .arena = arena,
                                .info = &info,
                                .runtime = d->proxy->runtime};
    for (uint32_t i = 0; i < hcm->guard_count && admission->denied == NULL; i++) {
        const mc_connection_rbac *guard = &hcm->guards[i];
        if (admission->asked && !guard->continuous) {
            continue;
        }
        MC_TRY(mc_connection_rbac_ask(guard, &info, &request, d->proxy->slab, &admission->verdicts[i],
                                      &admission->denied));
        if (admission->denied != NULL) {
            deny(d, admission, guard->delay_ms);
        }
    }
    admission->asked = true;
    return MC_OK;
}

bool mc_downstream_admits(mc_downstream *d) {
    mc_arena arena;
    const size_t size = sizeof(admission) + d->pin->hcm->guard_count * sizeof(mc_connection_verdict);
    admission *admission = mc_downstream_object(d, &admission_key, size);
    mc_arena_init(&arena, &d->proxy->blocks);
    if (admission == NULL || ask_guards(d, admission, &arena) != MC_OK) {
        mc_downstream_close_now(d);
    }
    mc_arena_fini(&arena);
    return !d->closing;
}

const char *mc_downstream_denied_by(mc_downstream *d) {
    const admission *admission = admission_of(d);
    return admission == NULL ? NULL : admission->denied;
}

mc_status mc_downstream_tell_guards(mc_downstream *d, mc_arena *arena, const mc_value **metadata) {
    const mc_hcm *hcm = d->pin->hcm;
    const admission *admission = admission_of(d);
    for (uint32_t i = 0; admission != NULL && i < hcm->guard_count; i++) {
        MC_TRY(mc_connection_rbac_tell(&hcm->guards[i], &admission->verdicts[i], arena, metadata));
    }
    return MC_OK;
}

void mc_downstream_dismiss_guards(mc_downstream *d) {
    admission *admission = admission_of(d);
    if (admission != NULL) {
        mc_timer_cancel(d->proxy->loop, &admission->delay);
    }
}
