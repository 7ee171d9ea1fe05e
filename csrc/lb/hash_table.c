#include "lb/hash_table.h"

#include <math.h>

#include "base/alloc.h"
#include "base/random.h"

/* RH-2. */
static mc_slice key_of(const mc_host *host, const mc_lb_config *config) {
    if (host->hash_key.n > 0) {
        return host->hash_key;
    }
    return config->hostname_hash_key ? host->hostname : host->address_text;
}

/* Adds the hosts of a list, which together have `locality_share` of the load. */
static void add_list(mc_hash_table *table, mc_hash_host *keys, mc_host_list list, double locality_share,
                     const mc_lb_config *config) {
    uint64_t sum = 0;
    for (size_t i = 0; i < list.count; i++) {
        sum += list.items[i]->weight;
    }
    for (size_t i = 0; i < list.count; i++) {
        double share = mc_share(list.items[i]->weight, locality_share, sum);
        keys[table->count] = (mc_hash_host){key_of(list.items[i], config), share};
        table->hosts[table->count] = list.items[i];
        table->shares[table->count++] = share;
    }
}

static void add_localities(mc_hash_table *table, mc_hash_host *keys, const mc_lb_config *config) {
    const mc_host_set *set = table->set;
    uint64_t sum = 0;
    for (size_t i = 0; i < set->locality_count; i++) {
        sum += set->localities[i].weight;
    }
    for (size_t i = 0; i < set->locality_count; i++) {
        const mc_locality *locality = &set->localities[i];
        if (locality->weight > 0) {
            add_list(table, keys, table->panic ? locality->all : locality->healthy,
                     (double)locality->weight / (double)sum, config);
        }
    }
}

static mc_status build(mc_hash_table *table, const mc_lb_config *config) {
    mc_host_list list = table->panic ? table->set->all : table->set->healthy;
    mc_hash_host *keys = mc_malloc(list.count * sizeof *keys);
    table->hosts = mc_malloc(list.count * sizeof *table->hosts);
    table->shares = mc_malloc(list.count * sizeof *table->shares);
    mc_status status = MC_ENOMEM;
    if (keys != NULL && table->hosts != NULL && table->shares != NULL) {
        if (config->locality_weighted && table->set->weighted) {
            add_localities(table, keys, config);
        } else {
            add_list(table, keys, list, 1.0, config);
        }
        mc_ring_options options = {config->ring_min, config->ring_max, config->ring_murmur};
        status = config->policy == MC_LB_MAGLEV
                     ? mc_maglev_build(keys, table->count, config->maglev_size, &table->maglev)
                     : mc_ring_build(keys, table->count, &options, &table->ring);
    }
    mc_free(keys);
    return status;
}

mc_status mc_hash_table_new(mc_host_set *set, bool panic, const mc_lb_config *config, mc_hash_table **out) {
    mc_hash_table *table = mc_calloc(1, sizeof *table);
    if (table == NULL) {
        return MC_ENOMEM;
    }
    atomic_init(&table->refs, 1);
    table->panic = panic;
    table->set = mc_host_set_ref(set);
    mc_status status = build(table, config);
    if (status != MC_OK) {
        mc_hash_table_unref(table);
        return status;
    }
    *out = table;
    return MC_OK;
}

mc_hash_table *mc_hash_table_ref(mc_hash_table *table) {
    atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
    return table;
}

void mc_hash_table_unref(mc_hash_table *table) {
    if (table != NULL && atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) == 1) {
        mc_ring_free(table->ring);
        mc_maglev_free(table->maglev);
        mc_free(table->hosts);
        mc_free(table->shares);
        mc_host_set_unref(table->set);
        mc_free(table);
    }
}

static size_t pick(const mc_hash_table *table, uint64_t hash, uint32_t attempt) {
    return table->maglev != NULL ? mc_maglev_pick(table->maglev, hash, attempt)
                                 : mc_ring_pick(table->ring, hash, attempt);
}

mc_host *mc_hash_table_pick(const mc_hash_table *table, uint64_t hash, uint32_t attempt) {
    size_t index = pick(table, hash, attempt);
    return index == SIZE_MAX ? NULL : table->hosts[index];
}

/* RH-9.1: requests the host has, in units of those it may have. */
static double overload(const mc_hash_table *table, size_t index, uint32_t total) {
    double slots = fmax(ceil((double)total * table->shares[index]), 1.0);
    return (double)atomic_load_explicit(&table->hosts[index]->rq_active, memory_order_relaxed) / slots;
}

/* RH-9.3: uniform below k, k > 0. */
static uint32_t draw_below(mc_mt19937 *mt, uint32_t k) {
    uint32_t x;
    do {
        x = (uint32_t)(mc_mt19937_next(mt) / ((UINT64_C(1) << 32) / k));
    } while (x >= k);
    return x;
}

/* RH-9.3: walks the hosts in a shuffled order, shuffled as far as it is walked, until one has room; else the
 * least loaded. */
static size_t probe(const mc_hash_table *table, uint64_t hash, size_t base, uint32_t total, uint32_t *order) {
    mc_mt19937 mt;
    double best = overload(table, base, total);
    size_t found = base;
    mc_mt19937_seed(&mt, (uint32_t)hash);
    for (size_t i = 0; i < table->count; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t other = i + draw_below(&mt, (uint32_t)(table->count - i));
        uint32_t candidate = order[other];
        order[other] = order[i];
        order[i] = candidate;
        if (candidate == base) {
            continue;
        }
        double factor = overload(table, candidate, total);
        if (factor <= 1.0) {
            return candidate;
        }
        if (factor < best) {
            best = factor;
            found = candidate;
        }
    }
    return found;
}

enum { PROBE_ON_STACK = 512 };

mc_host *mc_hash_table_pick_bounded(const mc_hash_table *table, uint64_t hash, uint32_t attempt,
                                    uint32_t balance_factor, uint32_t active) {
    size_t base = pick(table, hash, attempt);
    if (base == SIZE_MAX) {
        return NULL;
    }
    uint32_t total = ((active + 1) * balance_factor + 99) / 100;
    if (overload(table, base, total) <= 1.0) {
        return table->hosts[base];
    }
    uint32_t on_stack[PROBE_ON_STACK];
    uint32_t *order = table->count <= PROBE_ON_STACK ? on_stack : mc_malloc(table->count * sizeof *order);
    /* Out of memory: the overloaded host is still an answer. */
    size_t found = order == NULL ? base : probe(table, hash, base, total, order);
    if (order != on_stack) {
        mc_free(order);
    }
    return table->hosts[found];
}
