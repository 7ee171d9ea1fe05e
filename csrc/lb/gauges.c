/* A cluster's stats: what the balancers count, and what the tables look like, as gauges (rules RH-5, MG-4). */
#include <stdio.h>

#include "lb/hosts.h"

static void set(mc_stats *stats, mc_slice cluster_name, const char *name, uint64_t value) {
    char full[512];
    int n = snprintf(full, sizeof full, "cluster.%.*s.%s", MC_SLICE_ARG(cluster_name), name);
    if ((size_t)n < sizeof full) {
        mc_gauge_set(stats, mc_stats_gauge(stats, mc_slice_of(full, (size_t)n)), value);
    }
}

static void count(mc_stats *stats, mc_slab *slab, mc_slice cluster_name, const char *name, uint64_t n) {
    char full[512];
    int length = snprintf(full, sizeof full, "cluster.%.*s.%s", MC_SLICE_ARG(cluster_name), name);
    if ((size_t)length < sizeof full) {
        mc_counter_add(slab, mc_stats_counter(stats, mc_slice_of(full, (size_t)length)), n);
    }
}

static void show_subsets(const mc_subsets *subsets, mc_slice cluster_name, mc_stats *stats, mc_slab *slab) {
    set(stats, cluster_name, "lb_subsets_active", subsets->count - subsets->fixed);
    set(stats, cluster_name, "lb_subsets_single_host_per_subset_duplicate", subsets->duplicates);
    count(stats, slab, cluster_name, "lb_subsets_created", subsets->created);
    count(stats, slab, cluster_name, "lb_subsets_removed", subsets->removed);
}

void mc_hosts_set_gauges(const mc_hosts *hosts, mc_slice cluster_name, mc_stats *stats, mc_slab *slab) {
    if (hosts->subsets != NULL) {
        show_subsets(hosts->subsets, cluster_name, stats, slab);
    }
    for (size_t i = 0; hosts->tables != NULL && i < hosts->priority_count; i++) {
        const mc_hash_table *table = hosts->tables[i];
        if (table->count == 0) {
            continue;
        }
        if (table->maglev != NULL) {
            set(stats, cluster_name, "maglev_lb.min_entries_per_host", table->maglev->min_per_host);
            set(stats, cluster_name, "maglev_lb.max_entries_per_host", table->maglev->max_per_host);
        } else {
            set(stats, cluster_name, "ring_hash_lb.size", table->ring->size);
            set(stats, cluster_name, "ring_hash_lb.min_hashes_per_host", table->ring->min_per_host);
            set(stats, cluster_name, "ring_hash_lb.max_hashes_per_host", table->ring->max_per_host);
        }
    }
}

mc_lb_stats mc_lb_stats_of(mc_stats *stats, mc_slab *slab, mc_slice cluster_name) {
    char scope[512];
    int n = snprintf(scope, sizeof scope, "cluster.%.*s.", MC_SLICE_ARG(cluster_name));
    mc_slice prefix = mc_slice_of(scope, (size_t)n < sizeof scope ? (size_t)n : sizeof scope - 1);
    return (mc_lb_stats){.slab = slab,
#define STAT(name) .name = mc_stats_scoped(stats, MC_COUNTER, prefix, MC_SLICE(#name)),
                         MC_LB_COUNTERS(STAT)
#undef STAT
    };
}
