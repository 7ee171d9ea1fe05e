#include "lb/aggregate.h"

#include "base/alloc.h"
#include "base/read.h"
#include "lb/assignment.h"
#include "lb/hosts.h"
#include "lb/retry_priority.h"

#define TYPE MC_SLICE("type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig")

/* --- configuration --------------------------------------------------------------------------------------------------- */

mc_status mc_aggregate_compile(const mc_value *cluster, mc_arena *arena, mc_aggregate_config **out, mc_error *error) {
    const mc_value *type, *typed = NULL;
    mc_slice name = MC_SLICE_NONE;
    mc_status status = mc_value_read_object(cluster, "cluster_type", &type, error);
    *out = NULL;
    if (status != MC_OK || (status = mc_value_read_object(type, "typed_config", &typed, error)) != MC_OK ||
        (status = mc_value_read_string(typed, "@type", &name, error)) != MC_OK || !mc_slice_eq(name, TYPE)) {
        return status;
    }
    mc_aggregate_config *config = mc_arena_zalloc(arena, sizeof *config);
    status =
        config == NULL ? MC_ENOMEM : mc_read_texts(arena, typed, "clusters", &config->clusters, &config->count, error);
    if (status != MC_OK) {
        mc_error_under(error, "cluster_type.typed_config");
        return status;
    }
    *out = config;
    return MC_OK;
}

/* --- a thread's view --------------------------------------------------------------------------------------------------- */

/* One priority of one member. */
typedef struct part {
    uint32_t member, priority;
} part;

struct mc_aggregate {
    uint32_t members;
    mc_priority_options options;
    mc_hosts **seen; /* by member, referenced; NULL: the cluster is not there */
    part *parts;
    mc_priority_counts *counts; /* by part */
    mc_priority_load *loads;    /* by part */
    size_t count;
    bool stale; /* of what is seen now, nothing was computed yet */
};

mc_aggregate *mc_aggregate_new(uint32_t members, uint32_t panic_threshold) {
    mc_aggregate *a = mc_calloc(1, sizeof *a);
    if (a != NULL) {
        a->members = members;
        a->options.panic_threshold = panic_threshold;
        a->seen = mc_calloc(members, sizeof(mc_hosts *));
        if (a->seen == NULL) {
            mc_aggregate_free(a);
            return NULL;
        }
    }
    return a;
}

void mc_aggregate_free(mc_aggregate *a) {
    if (a != NULL) {
        for (uint32_t i = 0; a->seen != NULL && i < a->members; i++) {
            mc_hosts_unref(a->seen[i]);
        }
        mc_free(a->seen);
        mc_free(a->parts);
        mc_free(a->counts);
        mc_free(a->loads);
        mc_free(a);
    }
}

void mc_aggregate_see(mc_aggregate *a, uint32_t member, mc_hosts *hosts) {
    if (hosts != a->seen[member]) {
        mc_hosts_unref(a->seen[member]);
        a->seen[member] = hosts == NULL ? NULL : mc_hosts_ref(hosts);
        a->stale = true;
    }
}

static size_t count_priorities(const mc_aggregate *a) {
    size_t count = 0;
    for (uint32_t i = 0; i < a->members; i++) {
        count += a->seen[i] == NULL ? 0 : a->seen[i]->priority_count;
    }
    return count;
}

/* Each priority is judged by what its own cluster says of overprovisioning and weights. */
static mc_priority_counts counts_of(const mc_hosts *hosts, size_t priority) {
    mc_priority_counts counts = hosts->sets[priority]->counts;
    counts.overprovisioning = hosts->options.overprovisioning;
    counts.weighted = hosts->options.weighted_health;
    return counts;
}

static void list_parts(mc_aggregate *a) {
    for (uint32_t i = 0; i < a->members; i++) {
        const mc_hosts *hosts = a->seen[i];
        for (uint32_t p = 0; hosts != NULL && p < hosts->priority_count; p++) {
            if (hosts->sets[p]->all.count > 0) {
                a->counts[a->count] = counts_of(hosts, p);
                a->parts[a->count++] = (part){i, p};
            }
        }
    }
}

/* The loads of the members as they are now; without memory there are none yet. */
static void rebuild(mc_aggregate *a) {
    const size_t most = count_priorities(a);
    mc_free(a->parts);
    mc_free(a->counts);
    mc_free(a->loads);
    a->count = 0;
    a->parts = mc_malloc(most * sizeof *a->parts);
    a->counts = mc_malloc(most * sizeof *a->counts);
    a->loads = mc_calloc(most, sizeof *a->loads);
    a->stale = most > 0 && (a->counts == NULL || a->parts == NULL || a->loads == NULL);
    if (most > 0 && !a->stale) {
        list_parts(a);
        if (a->count > 0) {
            mc_priority_compute(a->counts, a->count, &a->options, a->loads);
        }
    }
}

static const mc_priority_counts *counts_of_part(const void *of, size_t i) {
    return &((const mc_aggregate *)of)->counts[i];
}

bool mc_aggregate_choose(mc_aggregate *a, mc_retry_priority *retry, uint64_t draw, uint32_t *member,
                         mc_lb_forced *out) {
    if (a->stale) {
        rebuild(a);
    }
    if (a->count == 0) {
        return false;
    }
    const mc_retry_counts counts = {counts_of_part, a, a->count, &a->options};
    const mc_priority_load *loads = retry == NULL ? NULL : mc_retry_priority_adjust(retry, &counts);
    const part *chosen =
        &a->parts[mc_priority_choose(loads == NULL ? a->loads : loads, a->count, draw, &out->degraded)];
    out->priority = chosen->priority;
    *member = chosen->member;
    return true;
}

uint32_t mc_aggregate_place(const mc_aggregate *a, uint32_t member, uint32_t priority) {
    for (size_t i = 0; i < a->count; i++) {
        if (a->parts[i].member == member && a->parts[i].priority == priority) {
            return (uint32_t)i;
        }
    }
    return MC_AGGREGATE_NOWHERE;
}
