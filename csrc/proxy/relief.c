#include "proxy/relief.h"

#include "proxy/downstream_internal.h"

void mc_relief_rescale(mc_proxy *proxy) {
    const uint64_t now = mc_loop_now_ms(proxy->loop);
    MC_LIST_EACH(&proxy->connections, node) {
        mc_downstream *d = MC_CONTAINER(node, mc_downstream, link);
        if (d->source->overload == NULL || d->closing) {
            continue;
        }
        const uint64_t idle = mc_downstream_idle_ms(d), max = mc_downstream_max_ms(d);
        if (d->stream != NULL) {
            mc_stream_rescale(d->stream);
        } else if (idle != 0 && !d->head_pending) {
            mc_timer_arm(proxy->loop, &d->timer, d->idle_ms + idle > now ? d->idle_ms + idle - now : 0);
        }
        if (max != 0 && d->drain == MC_DRAIN_NONE && !d->soft_drain) {
            const uint64_t end = d->conn.opened_us / 1000 + max;
            (void)mc_downstream_limit(d, end > now ? end - now : 0);
        }
    }
}

/* What a request holds back: at filters, at the router, and on its connection. */
static size_t held_by(const mc_downstream *d) {
    const mc_stream *stream = d->stream;
    size_t n = d->conn.in.length + d->conn.out.length;
    for (uint32_t i = 0; i < stream->filters.count; i++) {
        const mc_filter *filter = &stream->filters.items[i];
        n += filter->sides[MC_DECODE].held.length + filter->sides[MC_ENCODE].held.length;
        if (filter->type->held != NULL) {
            n += filter->type->held(filter);
        }
    }
    return n;
}

enum { CLASSES = 8 };

/* -1: too little to tell. */
static int class_of(const mc_downstream *d, unsigned shift) {
    if (d->stream == NULL || d->stream->filters.items == NULL || d->source->overload == NULL) {
        return -1;
    }
    const uint64_t units = (uint64_t)held_by(d) >> shift;
    const int class = units == 0 ? -1 : 63 - __builtin_clzll(units);
    return class < CLASSES ? class : CLASSES - 1;
}

static unsigned reset_class(mc_proxy *proxy, unsigned shift, int class, unsigned most) {
    unsigned done = 0;
    MC_LIST_EACH(&proxy->connections, node) {
        mc_downstream *d = MC_CONTAINER(node, mc_downstream, link);
        if (done < most && class_of(d, shift) == class) {
            mc_stream_reset(d->stream, MC_FLAG(OM), "overload");
            done++;
        }
    }
    return done;
}

unsigned mc_relief_reset_heavy(mc_proxy *proxy, unsigned shift, double value) {
    const int classes = value * CLASSES + 1 < CLASSES ? (int)(value * CLASSES) + 1 : CLASSES;
    unsigned done = 0;
    for (int i = 0; i < classes && done < MC_RELIEF_RESETS; i++) {
        done += reset_class(proxy, shift, CLASSES - 1 - i, MC_RELIEF_RESETS - done);
    }
    return done;
}
