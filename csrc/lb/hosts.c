#include "lb/hosts.h"

#include <stdio.h>

#include "base/alloc.h"
#include "lb/assignment.h"

/* Whether there are tables: with subsets only those of the subsets. */
static bool has_tables(const mc_lb_config *config) {
    return (config->policy == MC_LB_RING_HASH || config->policy == MC_LB_MAGLEV) && config->subsets == NULL;
}

static mc_hosts *hosts_new(size_t count, size_t priority_count, const mc_lb_config *config) {
    mc_hosts *hosts = mc_calloc(1, sizeof *hosts);
    if (hosts == NULL) {
        return NULL;
    }
    atomic_init(&hosts->refs, 1);
    hosts->config = mc_lb_config_copy(config);
    hosts->count = count;
    hosts->priority_count = priority_count;
    mc_map_init(&hosts->by_address);
    hosts->all = mc_calloc(count, sizeof *hosts->all);
    hosts->sets = mc_calloc(priority_count, sizeof *hosts->sets);
    hosts->loads = mc_calloc(priority_count, sizeof *hosts->loads);
    hosts->tables = has_tables(config) ? mc_calloc(priority_count, sizeof *hosts->tables) : NULL;
    if (hosts->all == NULL || hosts->sets == NULL || hosts->loads == NULL ||
        (has_tables(config) && hosts->tables == NULL)) {
        mc_hosts_unref(hosts);
        return NULL;
    }
    return hosts;
}

mc_hosts *mc_hosts_ref(mc_hosts *hosts) {
    atomic_fetch_add_explicit(&hosts->refs, 1, memory_order_relaxed);
    return hosts;
}

void mc_hosts_unref(mc_hosts *hosts) {
    if (hosts == NULL || atomic_fetch_sub_explicit(&hosts->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < hosts->priority_count; i++) {
        mc_host_set_unref(hosts->sets == NULL ? NULL : hosts->sets[i]);
        mc_hash_table_unref(hosts->tables == NULL ? NULL : hosts->tables[i]);
    }
    mc_free(hosts->all);
    mc_free(hosts->sets);
    mc_free(hosts->loads);
    mc_free(hosts->tables);
    mc_map_fini(&hosts->by_address);
    mc_address_list_unref(hosts->logical);
    mc_subsets_free(hosts->subsets);
    mc_lb_config_fini(&hosts->config);
    mc_free(hosts);
}

/* Loads from the sets, on top of those before. */
static mc_status compute_loads(mc_hosts *hosts, const mc_hosts *previous) {
    mc_priority_counts *counts = mc_malloc(hosts->priority_count * sizeof *counts);
    if (counts == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < hosts->priority_count; i++) {
        counts[i] = hosts->sets[i]->counts;
        if (previous != NULL && i < previous->priority_count) {
            hosts->loads[i] = previous->loads[i];
        }
    }
    mc_priority_compute(counts, hosts->priority_count, &hosts->options, hosts->loads);
    mc_free(counts);
    return MC_OK;
}

/* Whether a table built under `a` is the one that `b` asks for. */
static bool same_tables(const mc_lb_config *a, const mc_lb_config *b) {
    return a->policy == b->policy && a->ring_min == b->ring_min && a->ring_max == b->ring_max &&
           a->ring_murmur == b->ring_murmur && a->maglev_size == b->maglev_size &&
           a->hostname_hash_key == b->hostname_hash_key && a->locality_weighted == b->locality_weighted;
}

static mc_status make_table(mc_hosts *hosts, const mc_hosts *previous, size_t priority) {
    bool panic = hosts->loads[priority].panic;
    if (previous != NULL && previous->tables != NULL && priority < previous->priority_count &&
        same_tables(&previous->config, &hosts->config)) {
        mc_hash_table *table = previous->tables[priority];
        if (table->panic == panic && mc_host_set_same(table->set, hosts->sets[priority])) {
            hosts->tables[priority] = mc_hash_table_ref(table);
            return MC_OK;
        }
    }
    return mc_hash_table_new(hosts->sets[priority], panic, &hosts->config, &hosts->tables[priority]);
}

/* What follows from the sets: loads, then tables (panic decides which hosts they have). */
static mc_status decide(mc_hosts *hosts, const mc_hosts *previous) {
    mc_status status = compute_loads(hosts, previous);
    for (size_t i = 0; status == MC_OK && hosts->tables != NULL && i < hosts->priority_count; i++) {
        status = make_table(hosts, previous, i);
    }
    return status;
}

static mc_status finish(mc_hosts *hosts, const mc_hosts *previous) {
    mc_status status = MC_OK;
    if (hosts->config.subsets != NULL) { /* the children choose: no tables of the whole, but its loads are shown */
        status = compute_loads(hosts, previous);
        status = status == MC_OK ? mc_subsets_new(hosts, previous, &hosts->subsets) : status;
    } else {
        status = decide(hosts, previous);
    }
    for (size_t i = 0; status == MC_OK && i < hosts->count; i++) {
        /* Of equal addresses the first is found. */
        if (mc_map_get(&hosts->by_address, hosts->all[i]->address_text) == NULL) {
            status = mc_map_put(&hosts->by_address, hosts->all[i]->address_text, hosts->all[i]);
        }
    }
    return status;
}

/* Of the same hosts as `like`, in other sets. */
static mc_status finish_as(mc_hosts *hosts, const mc_hosts *like, const mc_hosts *previous) {
    memcpy(hosts->all, like->all, like->count * sizeof *hosts->all);
    hosts->options = like->options;
    hosts->drop = like->drop;
    hosts->logical = mc_address_list_ref(like->logical);
    return finish(hosts, previous);
}

/* To the caller, or freed where something went wrong. */
static mc_status deliver(mc_hosts *hosts, mc_status status, mc_hosts **out) {
    if (status != MC_OK) {
        mc_hosts_unref(hosts);
        return status;
    }
    *out = hosts;
    return MC_OK;
}

mc_status mc_hosts_refresh(mc_hosts *old, mc_hosts **out) {
    mc_hosts *hosts = hosts_new(old->count, old->priority_count, &old->config);
    mc_status status = hosts == NULL ? MC_ENOMEM : MC_OK;
    for (size_t i = 0; status == MC_OK && i < hosts->priority_count; i++) {
        mc_host_set *set = old->sets[i];
        if (mc_host_set_current(set, set->all.items, set->all.count)) {
            hosts->sets[i] = mc_host_set_ref(set);
        } else {
            status = mc_host_set_new(set->all.items, set->all.count, old->config.local, &hosts->sets[i]);
        }
    }
    if (status == MC_OK) {
        status = finish_as(hosts, old, old);
    }
    return deliver(hosts, status, out);
}

static bool same_list(const mc_host_list *a, const mc_host_list *b) {
    return a->count == b->count && memcmp(a->items, b->items, a->count * sizeof *a->items) == 0;
}

/* The set of a priority that is held back; the new one where there is nothing to hold back. */
static mc_host_set *held_set(const mc_hosts *hosts, const mc_hosts *before, size_t priority, bool due) {
    mc_host_set *set = hosts->sets[priority];
    mc_host_set *old = before != NULL && priority < before->priority_count ? before->sets[priority] : NULL;
    return !due && old != NULL && same_list(&old->all, &set->all) ? old : set;
}

mc_status mc_hosts_hold_back(mc_hosts *hosts, const mc_hosts *before, const bool *due, mc_hosts **out) {
    bool differs = false;
    for (size_t i = 0; i < hosts->priority_count; i++) {
        differs |= held_set(hosts, before, i, due[i]) != hosts->sets[i];
    }
    if (!differs) {
        *out = mc_hosts_ref(hosts);
        return MC_OK;
    }
    mc_hosts *mixed = hosts_new(hosts->count, hosts->priority_count, &hosts->config);
    if (mixed == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < hosts->priority_count; i++) {
        mixed->sets[i] = mc_host_set_ref(held_set(hosts, before, i, due[i]));
    }
    return deliver(mixed, finish_as(mixed, hosts, before), out);
}

mc_status mc_hosts_of(mc_hosts *old, mc_host *const *list, size_t count, mc_hosts **out) {
    mc_hosts *hosts = hosts_new(count, 1, &old->config);
    mc_status status = hosts == NULL ? MC_ENOMEM : mc_host_set_new(list, count, old->config.local, &hosts->sets[0]);
    if (status == MC_OK) {
        memcpy(hosts->all, list, count * sizeof *hosts->all);
        hosts->options = old->options;
        hosts->drop = old->drop;
        status = finish(hosts, old);
    }
    return deliver(hosts, status, out);
}

mc_host *mc_hosts_make_host(const mc_address *address, const mc_lb_config *config, mc_slice cluster_name,
                            mc_stats *stats) {
    char text[MC_ADDRESS_TEXT], name[MC_ADDRESS_TEXT + 256];
    mc_host_spec spec = {.address = *address, .weight = 1};
    spec.address_text = mc_slice_of(text, mc_address_text(address, text));
    int n =
        snprintf(name, sizeof name, "%.*s%s", (int)(cluster_name.n < 256 ? cluster_name.n : 255), cluster_name.p, text);
    spec.hostname = mc_slice_of(name, (size_t)n);
    mc_host *host = mc_host_new(&spec, config, cluster_name, stats);
    if (host != NULL) {
        atomic_init(&host->weight, 1);
    }
    return host;
}

mc_host *mc_hosts_make_named(mc_slice name, const mc_address *address, const mc_lb_config *config,
                             mc_slice cluster_name, mc_stats *stats) {
    const mc_host_spec spec = {.address = *address, .address_text = name, .hostname = name, .weight = 1};
    mc_host *host = mc_host_new(&spec, config, cluster_name, stats);
    if (host != NULL) {
        atomic_init(&host->weight, 1);
    }
    return host;
}

/* One host of the new membership, before anything is changed. */
typedef struct planned {
    mc_host *host;            /* one reference */
    mc_lb_metadata *metadata; /* copy, until it is handed to the host */
} planned;

typedef struct plan {
    mc_assignment assignment;
    planned *hosts;
    mc_host **sorted; /* by priority, in order of configuration */
    size_t *starts;   /* priorities + 1 indexes into `sorted` */
    size_t priorities;
} plan;

/* The host that goes on under this spec, if it fits. */
static mc_host *known_host(const mc_host_spec *spec, const mc_lb_config *config, const mc_hosts *previous) {
    if (previous == NULL) {
        return NULL;
    }
    if (config->logical) {
        return previous->count > 0 ? previous->all[0] : NULL;
    }
    mc_host *host = mc_map_get(&previous->by_address, spec->address_text);
    return host != NULL && mc_address_list_eq(host->addresses, spec->addresses, spec->address_count) ? host : NULL;
}

static mc_status plan_host(planned *p, const mc_host_spec *spec, const mc_lb_config *config, mc_map *taken,
                           mc_slice cluster_name, mc_stats *stats, const mc_hosts *previous) {
    mc_host *known = known_host(spec, config, previous);
    if (known != NULL && mc_host_fits(known, spec) && mc_map_get(taken, known->address_text) == NULL) {
        if (mc_map_put(taken, known->address_text, known) != MC_OK) {
            return MC_ENOMEM;
        }
        p->host = mc_host_ref(known);
    } else {
        p->host = mc_host_new(spec, config, cluster_name, stats);
    }
    if (p->host == NULL) {
        return MC_ENOMEM;
    }
    return spec->metadata == NULL ? MC_OK : mc_lb_metadata_new(spec->metadata, &p->metadata);
}

static void sort_by_priority(plan *p) {
    const mc_assignment *a = &p->assignment;
    for (size_t i = 0; i < a->count; i++) {
        p->starts[a->hosts[i].priority + 1]++;
    }
    for (size_t i = 0; i < p->priorities; i++) {
        p->starts[i + 1] += p->starts[i];
    }
    for (size_t i = 0; i < a->count; i++) {
        p->sorted[p->starts[a->hosts[i].priority]++] = p->hosts[i].host;
    }
    memmove(p->starts + 1, p->starts, p->priorities * sizeof *p->starts);
    p->starts[0] = 0;
}

static mc_status plan_init(plan *p, const mc_lb_config *config, mc_slice cluster_name, mc_stats *stats,
                           const mc_hosts *previous) {
    const mc_assignment *a = &p->assignment;
    mc_map taken;
    p->priorities = a->priorities;
    if (previous != NULL && previous->priority_count > p->priorities) {
        p->priorities = previous->priority_count;
    }
    p->hosts = mc_calloc(a->count, sizeof *p->hosts);
    p->sorted = mc_malloc(a->count * sizeof *p->sorted);
    p->starts = mc_calloc(p->priorities + 1, sizeof *p->starts);
    if (p->hosts == NULL || p->sorted == NULL || p->starts == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = MC_OK;
    mc_map_init(&taken);
    for (size_t i = 0; status == MC_OK && i < a->count; i++) {
        status = plan_host(&p->hosts[i], &a->hosts[i], config, &taken, cluster_name, stats, previous);
    }
    mc_map_fini(&taken);
    if (status == MC_OK) {
        sort_by_priority(p);
    }
    return status;
}

static void plan_fini(plan *p) {
    for (size_t i = 0; p->hosts != NULL && i < p->assignment.count; i++) {
        mc_host_unref(p->hosts[i].host);
        mc_lb_metadata_unref(p->hosts[i].metadata);
    }
    mc_free(p->hosts);
    mc_free(p->sorted);
    mc_free(p->starts);
    mc_assignment_fini(&p->assignment);
}

/* From here on only memory can fail. */
static void plan_apply(plan *p) {
    for (size_t i = 0; i < p->assignment.count; i++) {
        mc_host_apply(p->hosts[i].host, &p->assignment.hosts[i], p->hosts[i].metadata);
        p->hosts[i].metadata = NULL;
    }
}

static mc_status make_sets(mc_hosts *hosts, const plan *p, const mc_hosts *previous) {
    for (size_t i = 0; i < p->priorities; i++) {
        mc_host **first = p->sorted + p->starts[i];
        size_t count = p->starts[i + 1] - p->starts[i];
        mc_host_set *old = previous != NULL && i < previous->priority_count ? previous->sets[i] : NULL;
        if (old != NULL && mc_host_set_current(old, first, count)) {
            hosts->sets[i] = mc_host_set_ref(old);
            continue;
        }
        mc_status status = mc_host_set_new(first, count, hosts->config.local, &hosts->sets[i]);
        if (status != MC_OK) {
            return status;
        }
    }
    return MC_OK;
}

static mc_status take_logical(mc_hosts *hosts, const mc_host_spec *spec, const mc_lb_config *config) {
    const bool many = spec->address_count > 0;
    hosts->logical = mc_address_list_new(many ? spec->addresses : &spec->address, many ? spec->address_count : 1,
                                         config->happy_first_family, config->happy_first_count);
    return hosts->logical == NULL ? MC_ENOMEM : MC_OK;
}

static mc_status execute(plan *p, const mc_lb_config *config, const mc_hosts *previous, mc_hosts **out) {
    mc_hosts *hosts = hosts_new(p->assignment.count, p->priorities, config);
    mc_status status = hosts == NULL ? MC_ENOMEM : MC_OK;
    if (status == MC_OK) {
        hosts->options = (mc_priority_options){p->assignment.overprovisioning, config->panic_threshold,
                                               p->assignment.weighted_health};
        hosts->drop = p->assignment.drop;
        for (size_t i = 0; i < hosts->count; i++) {
            hosts->all[i] = p->hosts[i].host;
        }
        plan_apply(p);
        status = make_sets(hosts, p, previous);
    }
    if (status == MC_OK && config->logical && hosts->count > 0) {
        status = take_logical(hosts, &p->assignment.hosts[0], config);
    }
    return deliver(hosts, status == MC_OK ? finish(hosts, previous) : status, out);
}

mc_status mc_hosts_compile(const mc_value *assignment, const mc_lb_config *config, mc_slice cluster_name,
                           mc_stats *stats, mc_hosts *previous, mc_hosts **out, mc_error *error) {
    plan p = {0};
    mc_status status = mc_assignment_read(assignment, config, &p.assignment, error);
    if (status != MC_OK) {
        return status;
    }
    status = plan_init(&p, config, cluster_name, stats, previous);
    if (status == MC_OK) {
        status = execute(&p, config, previous, out);
    }
    plan_fini(&p);
    return status == MC_OK ? MC_OK : mc_error_set(error, status, "", "out of memory");
}

/* --- parts ----------------------------------------------------------------------------------------------------------------- */

static mc_status part_set(const mc_hosts *whole, size_t priority, const uint32_t *indexes, size_t count,
                          mc_part_weights weights, const mc_hosts *previous, mc_host_set **out) {
    mc_host_set *before = previous != NULL && priority < previous->priority_count ? previous->sets[priority] : NULL;
    mc_status status = mc_host_set_part(whole->sets[priority], indexes, count, weights, out);
    if (status == MC_OK && before != NULL && mc_host_set_same(before, *out)) {
        mc_host_set_unref(*out);
        *out = mc_host_set_ref(before);
    }
    return status;
}

static bool same_loads(const mc_hosts *a, const mc_hosts *b) {
    for (size_t i = 0; i < a->priority_count; i++) {
        const mc_priority_load *x = &a->loads[i], *y = &b->loads[i];
        if (a->sets[i] != b->sets[i] || x->healthy_load != y->healthy_load || x->degraded_load != y->degraded_load ||
            x->panic != y->panic) {
            return false;
        }
    }
    return a->options.overprovisioning == b->options.overprovisioning &&
           a->options.weighted_health == b->options.weighted_health;
}

mc_status mc_hosts_part(const mc_hosts *whole, const mc_host_index *members, size_t count, mc_part_weights weights,
                        mc_hosts *previous, mc_hosts **out) {
    mc_lb_config config = whole->config; /* hosts_new takes a reference of its own */
    uint32_t *indexes = mc_malloc(count * sizeof *indexes);
    config.subsets = NULL;
    mc_hosts *hosts = indexes == NULL ? NULL : hosts_new(0, whole->priority_count, &config);
    mc_status status = hosts == NULL ? MC_ENOMEM : MC_OK;
    for (size_t p = 0, first = 0; status == MC_OK && p < whole->priority_count; p++) {
        size_t n = 0;
        for (; first + n < count && members[first + n].priority == p; n++) {
            indexes[n] = members[first + n].index;
        }
        status = part_set(whole, p, indexes, n, weights, previous, &hosts->sets[p]);
        first += n;
    }
    mc_free(indexes);
    if (status == MC_OK) {
        hosts->options = whole->options;
        status = decide(hosts, previous);
    }
    if (status != MC_OK) {
        mc_hosts_unref(hosts);
        return status;
    }
    if (previous != NULL && previous->priority_count == hosts->priority_count && same_loads(previous, hosts)) {
        mc_hosts_unref(hosts);
        hosts = mc_hosts_ref(previous);
    }
    *out = hosts;
    return MC_OK;
}

double mc_hosts_drop(const mc_hosts *hosts) { return hosts->drop; }

size_t mc_hosts_count(const mc_hosts *hosts) { return hosts->count; }

mc_host *mc_hosts_at(const mc_hosts *hosts, size_t index) { return hosts->all[index]; }

const mc_address *mc_hosts_address(const mc_hosts *hosts, const mc_host *host, uint32_t index) {
    const mc_address_list *list = hosts->logical != NULL ? hosts->logical : host->addresses;
    if (list == NULL) {
        return index == 0 ? &host->address : NULL;
    }
    return index < list->count ? &list->items[index] : NULL;
}

mc_host *mc_hosts_find(const mc_hosts *hosts, mc_slice address_text) {
    return mc_map_get(&hosts->by_address, address_text);
}

bool mc_hosts_has(const mc_hosts *hosts, const mc_host *host) {
    const mc_host *found = mc_hosts_find(hosts, host->address_text);
    if (found == NULL || found == host) {
        return found != NULL;
    }
    for (size_t i = 0; i < hosts->count; i++) { /* one of several of the same address */
        if (hosts->all[i] == host) {
            return true;
        }
    }
    return false;
}

size_t mc_hosts_priorities(const mc_hosts *hosts, const mc_priority_load **loads) {
    *loads = hosts->loads;
    return hosts->priority_count;
}

static size_t sum_counts(const mc_hosts *hosts, size_t field) {
    uint64_t sum = 0;
    for (size_t i = 0; i < hosts->priority_count; i++) {
        sum += *(const uint64_t *)((const char *)&hosts->sets[i]->counts + field);
    }
    return (size_t)sum;
}

size_t mc_hosts_healthy(const mc_hosts *hosts) { return sum_counts(hosts, offsetof(mc_priority_counts, healthy)); }

size_t mc_hosts_degraded(const mc_hosts *hosts) { return sum_counts(hosts, offsetof(mc_priority_counts, degraded)); }

size_t mc_hosts_excluded(const mc_hosts *hosts) { return sum_counts(hosts, offsetof(mc_priority_counts, excluded)); }

uint32_t mc_hosts_max_weight(const mc_hosts *hosts) {
    const mc_host_list all = hosts->sets[hosts->priority_count - 1]->all;
    uint32_t max = 1;
    for (size_t i = 0; i < all.count; i++) {
        max = all.items[i]->weight > max ? all.items[i]->weight : max;
    }
    return max;
}
