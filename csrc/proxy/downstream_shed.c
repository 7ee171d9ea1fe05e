#include "proxy/downstream_internal.h"

bool mc_downstream_acts(mc_downstream *d, mc_overload_id id) {
    return mc_overload_acts(d->source->overload, id, mc_loop_random(d->proxy->loop), d->proxy->slab);
}

bool mc_downstream_sheds_request(mc_downstream *d) {
    if (!mc_downstream_acts(d, MC_OVERLOAD_SHED_DECODE_HEADERS) &&
        !mc_downstream_acts(d, MC_OVERLOAD_STOP_ACCEPTING_REQUESTS)) {
        return false;
    }
    MC_DOWNSTREAM_COUNT(d, downstream_rq_overload_close);
    return true;
}

bool mc_downstream_sheds_connection(mc_downstream *d) {
    if (!d->used && mc_downstream_acts(d, MC_OVERLOAD_SHED_CODEC)) {
        MC_DOWNSTREAM_COUNT(d, downstream_rq_overload_close);
    } else if (!mc_downstream_acts(d, MC_OVERLOAD_SHED_GO_AWAY_AND_CLOSE)) {
        return false;
    }
    d->overloaded = true;
    mc_downstream_close_after_flush(d, false);
    return true;
}

bool mc_downstream_sheds_dispatch(mc_downstream *d) {
    if (!d->told_go_away &&
        mc_downstream_acts(d, MC_OVERLOAD_SHED_GO_AWAY)) { /* which HTTP/1 says with its next response */
        d->told_go_away = true;
        mc_downstream_start_drain(d, NULL);
    }
    if (!mc_downstream_acts(d, MC_OVERLOAD_SHED_HTTP1_DISPATCH)) {
        return false;
    }
    MC_DOWNSTREAM_COUNT(d, downstream_rq_overload_close);
    d->overloaded = true;
    return true;
}
