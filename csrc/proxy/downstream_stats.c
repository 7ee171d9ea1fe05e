#include "proxy/downstream_internal.h"

#define COUNT_AGENT(d, name) mc_counter_inc((d)->proxy->slab, (d)->pin->hcm->stats.user_agents[(d)->agent].name)

void mc_downstream_count_agent(mc_downstream *d, mc_slice agent) {
    if (!d->agent_known) {
        d->agent_known = true;
        d->agent = mc_slice_search(agent, MC_SLICE("iOS")) != SIZE_MAX       ? MC_AGENT_IOS
                   : mc_slice_search(agent, MC_SLICE("android")) != SIZE_MAX ? MC_AGENT_ANDROID
                                                                             : MC_AGENT_NONE;
        if (d->agent != MC_AGENT_NONE) {
            COUNT_AGENT(d, downstream_cx_total);
        }
    }
    if (MC_UNLIKELY(d->agent != MC_AGENT_NONE)) {
        COUNT_AGENT(d, downstream_rq_total);
    }
}

void mc_downstream_count_open(mc_downstream *d) {
    MC_DOWNSTREAM_COUNT(d, downstream_cx_total);
    MC_DOWNSTREAM_GAUGE(d, downstream_cx_active, 1);
    mc_counter_inc(d->proxy->slab, d->source->cx_total);
    mc_gauge_add(d->proxy->slab, d->source->cx_active, 1);
}

static void count_active_close(mc_downstream *d, bool remote) {
    MC_DOWNSTREAM_COUNT(d, downstream_cx_destroy_active_rq);
    if (!remote) {
        MC_DOWNSTREAM_COUNT(d, downstream_cx_destroy_local_active_rq);
        return;
    }
    MC_DOWNSTREAM_COUNT(d, downstream_cx_destroy_remote_active_rq);
    if (d->agent != MC_AGENT_NONE) {
        COUNT_AGENT(d, downstream_cx_destroy_remote_active_rq);
    }
}

void mc_downstream_count_close(mc_downstream *d, bool active, bool remote) {
    MC_DOWNSTREAM_COUNT(d, downstream_cx_destroy);
    if (remote) {
        MC_DOWNSTREAM_COUNT(d, downstream_cx_destroy_remote);
    } else {
        MC_DOWNSTREAM_COUNT(d, downstream_cx_destroy_local);
    }
    if (active) {
        count_active_close(d, remote);
    }
    MC_DOWNSTREAM_GAUGE(d, downstream_cx_active, -1);
    if (d->used) {
        MC_DOWNSTREAM_GAUGE(d, downstream_cx_http1_active, -1);
    }
    if (d->soft_drain) {
        MC_DOWNSTREAM_GAUGE(d, downstream_cx_http1_soft_drain, -1);
    }
    uint64_t lived = mc_loop_now_ms(d->proxy->loop) - d->conn.opened_us / 1000;
    mc_histogram_record(d->proxy->slab, d->pin->hcm->stats.downstream_cx_length_ms, lived);
    if (d->agent != MC_AGENT_NONE) {
        mc_histogram_record(d->proxy->slab, d->pin->hcm->stats.user_agents[d->agent].downstream_cx_length_ms, lived);
    }
    mc_downstream_count_tx(d);
    mc_downstream_tell_buffered(d);
    mc_counter_inc(d->proxy->slab, d->source->cx_destroy);
    mc_gauge_add(d->proxy->slab, d->source->cx_active, -1);
    mc_histogram_record(d->proxy->slab, d->source->cx_length_ms, lived);
}
