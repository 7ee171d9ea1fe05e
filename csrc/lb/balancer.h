/* Inside of mc_lb: what the policies see. Single-threaded, one worker's. */
#ifndef MC_LB_BALANCER_H
#define MC_LB_BALANCER_H

#include "lb/edf.h"
#include "lb/hosts.h"
#include "lb/locality.h"
#include "lb/slow_start.h"
#include "lb/zone.h"

/* The lists of a priority that are picked from (rule ED-4). Those of locality i follow: MC_SOURCE_LOCALITY +
 * 2 * i healthy, then degraded. */
enum { MC_SOURCE_ALL, MC_SOURCE_HEALTHY, MC_SOURCE_DEGRADED, MC_SOURCE_LOCALITY };

typedef struct mc_source {
    mc_host_list list; /* borrowed from the membership */
    bool scheduled;    /* picked by edf instead of by the policy's plain way */
    mc_edf edf;
} mc_source;

typedef struct mc_lb_priority {
    mc_host_set *set; /* borrowed from the membership */
    mc_source *sources;
    size_t source_count;
    uint64_t *cursors; /* round robin: next index by source; outlives rebuilds (ED-6) */
    size_t cursor_count;
    mc_locality_choice localities[2]; /* healthy, degraded */
} mc_lb_priority;

/* How a policy that does not hash picks one host of a non-empty source. */
typedef struct mc_policy {
    /* The plain way; `draw` chose the priority. */
    mc_host *(*pick)(mc_lb *lb, mc_lb_priority *priority, size_t source, uint64_t draw);
    /* Weight of a host now, slow start aside; NULL: never scheduled. */
    double (*weight)(const mc_lb *lb, const mc_host *host);
    /* The plain way, ahead of time; NULL: what other requests do meanwhile decides, nobody can tell. */
    mc_host *(*peek)(mc_lb *lb, mc_lb_priority *priority, size_t source, uint64_t draw);
    /* A list is to be picked from, as of now; NULL: nobody cares. */
    void (*see)(mc_lb *lb, mc_host_list list);
} mc_policy;

/* NULL: the policy hashes. */
const mc_policy *mc_policy_of(mc_lb_policy policy);
extern const mc_policy mc_policy_round_robin, mc_policy_least_request, mc_policy_random, mc_policy_peak_ewma;

struct mc_lb {
    mc_lb_config config;
    const mc_policy *policy; /* NULL: hash policies */
    mc_hosts *hosts;         /* one reference */
    mc_random *random;
    mc_lb_stats stats;
    uint64_t seed;    /* of schedulers and cursors; drawn once */
    bool seeded;      /* it was given */
    mc_lb_plan *plan; /* of the update under way; NULL: none */
    uint64_t now_ms;  /* of the call under way */
    mc_slow_start slow_start;
    mc_hosts *local; /* membership of the proxy's own cluster, one reference; NULL: unknown */
    mc_zone zone;
    mc_lb **children;           /* by hosts->subsets->items, NULL where the host is single; NULL: no subsets */
    mc_text path;               /* scratch of lookups */
    mc_lb_priority *priorities; /* hosts->priority_count of them; NULL for hash policies and with subsets */
    uint64_t *stash;            /* draws of peeks, for the picks to come: stash[stash_at .. stash_count) (ED-5) */
    size_t stash_at, stash_count, stash_cap;
    uint64_t ahead; /* round robin: peeks that no pick has followed yet (ED-6) */
};

/* Subsets (subset_lb.c): the children of a membership, those kept that `lb` has; and a host by the criteria. */
MC_MUST_CHECK mc_status mc_lb_subsets_update(mc_lb *lb, mc_hosts *hosts);
void mc_lb_subsets_fini(mc_lb *lb);
mc_host *mc_lb_subsets_choose(mc_lb *lb, const mc_lb_request *request);
/* The choice without regard to an override host. */
mc_host *mc_lb_choose_plain(mc_lb *lb, const mc_lb_request *request);

#define MC_LB_COUNT(lb, name)                                                                                          \
    do {                                                                                                               \
        if ((lb)->stats.slab != NULL) {                                                                                \
            mc_counter_inc((lb)->stats.slab, (lb)->stats.name);                                                        \
        }                                                                                                              \
    } while (0)

/* First the priority's locality choice, which draws its seed (LO-2), then, in a second round over the
 * priorities, sources and schedulers under the balancer's seed and `now_ms`. `old` (may be NULL) is what was
 * there before; its cursors are copied. A priority of zeros and one whose init failed may be given to fini. */
MC_MUST_CHECK mc_status mc_lb_priority_init(mc_lb *lb, mc_lb_priority *priority, mc_host_set *set,
                                            uint32_t overprovisioning);
MC_MUST_CHECK mc_status mc_lb_priority_schedule(mc_lb *lb, mc_lb_priority *priority, const mc_lb_priority *old);
/* The sources of a priority that has its set. */
MC_MUST_CHECK mc_status mc_lb_priority_sources(mc_lb *lb, mc_lb_priority *priority);
/* plan.c: moves the sources that lb->plan has for the priority's set to it; false: there are none that are right. */
bool mc_lb_plan_take(mc_lb *lb, mc_lb_priority *priority);
/* The part of a plan that is for a subset's balancer; NULL: there is none. And that balancer's seed, where its parent's is given. */
mc_lb_plan *mc_lb_plan_child(mc_lb_plan *plan, size_t index);
uint64_t mc_lb_child_seed(uint64_t seed, mc_slice path);
void mc_lb_priority_fini(mc_lb_priority *priority);

/* A host of a source, NULL when the source is empty. */
mc_host *mc_lb_priority_pick(mc_lb *lb, mc_lb_priority *priority, size_t source, uint64_t draw);
mc_host *mc_lb_priority_peek(mc_lb *lb, mc_lb_priority *priority, size_t source, uint64_t draw);

#endif
