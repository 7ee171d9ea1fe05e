#include "pool/names.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/read.h"

/* --- what is configured --------------------------------------------------------------------------------------------------- */

#define TYPE MC_SLICE("type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig")

mc_status mc_forward_compile(const mc_value *cluster, mc_arena *arena, mc_forward **out, mc_error *error) {
    const mc_value *type, *typed = NULL, *cache;
    mc_slice kind = MC_SLICE_NONE;
    *out = NULL;
    MC_TRY(mc_value_read_object(cluster, "cluster_type", &type, error));
    MC_TRY(mc_value_read_object(type, "typed_config", &typed, error));
    MC_TRY(mc_value_read_string(typed, "@type", &kind, error));
    if (!mc_slice_eq(kind, TYPE)) {
        return MC_OK;
    }
    mc_forward *forward = mc_arena_zalloc(arena, sizeof *forward);
    if (forward == NULL) {
        return MC_ENOMEM;
    }
    *out = forward;
    MC_TRY(mc_value_read_object(typed, "sub_clusters_config", &cache, error));
    if (cache != NULL) {
        mc_slice parts[] = {MC_SLICE("~"), MC_SLICE_NONE};
        forward->sub_clusters = true;
        MC_TRY(mc_value_read_string(cluster, "name", &parts[1], error));
        return mc_arena_concat(arena, parts, 2, &forward->cache);
    }
    MC_TRY(mc_value_read_object(typed, "dns_cache_config", &cache, error));
    return mc_read_text(arena, cache, "name", &forward->cache, error);
}

/* What follows the last ':' is a port only if it is a number that a port can be; else all is the host's name. */
mc_status mc_name_key(mc_slice authority, uint16_t port, mc_arena *arena, mc_slice *out) {
    char digits[8];
    size_t colon = authority.n;
    uint64_t number;
    while (colon > 0 && authority.p[colon - 1] != ':') {
        colon--;
    }
    if (colon > 0 && authority.p[authority.n - 1] != ']' &&
        mc_slice_u64(mc_slice_from(authority, colon), &number) == MC_OK && number <= UINT16_MAX) {
        return mc_arena_dup(arena, authority, out);
    }
    const int n = snprintf(digits, sizeof digits, ":%u", (unsigned)port);
    const mc_slice parts[] = {authority, mc_slice_of(digits, (size_t)n)};
    return mc_arena_concat(arena, parts, 2, out);
}

mc_status mc_sub_cluster_name(mc_slice key, mc_arena *arena, mc_slice *out) {
    char digits[24];
    size_t colon = key.n;
    uint64_t port;
    while (colon > 0 && key.p[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0) {
        return MC_EINVAL;
    }
    MC_TRY(mc_slice_u64(mc_slice_from(key, colon), &port));
    mc_slice host = mc_slice_of(key.p, colon - 1);
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host = mc_slice_of(host.p + 1, host.n - 2);
    }
    const int n = snprintf(digits, sizeof digits, ":%" PRIu64, port);
    const mc_slice parts[] = {MC_SLICE(MC_SUB_CLUSTER), host, mc_slice_of(digits, (size_t)n)};
    return mc_arena_concat(arena, parts, 3, out);
}

/* --- the cache -------------------------------------------------------------------------------------------------------------- */

mc_name_cache *mc_name_cache_new(mc_slice name, mc_stats *stats) {
    char text[512];
    mc_name_cache *cache = mc_calloc(1, sizeof *cache + name.n);
    if (cache == NULL) {
        return NULL;
    }
    char *copy = (char *)(cache + 1);
    memcpy(copy, name.p, name.n);
    cache->name = mc_slice_of(copy, name.n);
    cache->stats = mc_stats_ref(stats);
    if (name.n > 0 && name.p[0] == '~') {
        return cache;
    }
    int n = snprintf(text, sizeof text, "dns_cache.%.*s.", MC_SLICE_ARG(name));
    mc_slice scope = mc_slice_of(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    cache->host_overflow = mc_stats_scoped(stats, MC_COUNTER, scope, MC_SLICE("host_overflow"));
    cache->pending_overflow = mc_stats_scoped(stats, MC_COUNTER, scope, MC_SLICE("dns_rq_pending_overflow"));
    cache->pending.open = mc_stats_scoped(stats, MC_GAUGE, scope, MC_SLICE("circuit_breakers.rq_pending_open"));
    cache->pending.remaining =
        mc_stats_scoped(stats, MC_GAUGE, scope, MC_SLICE("circuit_breakers.rq_pending_remaining"));
    cache->pending.tracked = true;
    return cache;
}

void mc_name_cache_set(mc_name_cache *cache, uint32_t max_hosts, uint32_t max_pending, mc_slab *slab) {
    atomic_store(&cache->max_hosts, max_hosts);
    mc_gauge_add(slab, cache->pending.remaining, (int64_t)max_pending - (int64_t)cache->pending.max);
    cache->pending.max = max_pending;
}

void mc_name_cache_free(mc_name_cache *cache) {
    if (cache != NULL) {
        mc_stats_unref(cache->stats);
        mc_free(cache);
    }
}

/* --- a worker's view ----------------------------------------------------------------------------------------------------------- */

struct mc_names {
    mc_name_cache *cache;
    mc_slab *slab;
    mc_map by_key; /* name */
    mc_status (*ask)(void *ctx, mc_name_cache *cache, mc_slice key);
    void *ctx;
};

typedef struct name {
    mc_list waiting;
    bool known;
    mc_slice details; /* own; empty: it has addresses */
    mc_slice key;
    char text[];
} name;

mc_names *mc_names_new(mc_name_cache *cache, mc_slab *slab,
                       mc_status (*ask)(void *ctx, mc_name_cache *cache, mc_slice key), void *ctx) {
    mc_names *names = mc_calloc(1, sizeof *names);
    if (names != NULL) {
        names->cache = cache;
        names->slab = slab;
        names->ask = ask;
        names->ctx = ctx;
        mc_map_init(&names->by_key);
    }
    return names;
}

static void name_free(mc_names *names, name *one) {
    mc_map_remove(&names->by_key, one->key);
    mc_free((void *)one->details.p);
    mc_free(one);
}

void mc_names_free(mc_names *names) {
    mc_slice key;
    void *one;
    if (names == NULL) {
        return;
    }
    for (size_t at = 0; mc_map_next(&names->by_key, &at, &key, &one);) {
        MC_LIST_EACH(&((name *)one)->waiting, node) { mc_name_wait_cancel(MC_CONTAINER(node, mc_name_wait, link)); }
        mc_free((void *)((name *)one)->details.p);
        mc_free(one);
    }
    mc_map_fini(&names->by_key);
    mc_free(names);
}

static name *make_name(mc_names *names, mc_slice key) {
    name *one = mc_map_get(&names->by_key, key);
    if (one != NULL) {
        return one;
    }
    one = mc_malloc(sizeof *one + key.n);
    if (one == NULL) {
        return NULL;
    }
    memcpy(one->text, key.p, key.n);
    one->key = mc_slice_of(one->text, key.n);
    one->known = false;
    one->details = MC_SLICE_NONE;
    mc_list_init(&one->waiting);
    if (mc_map_put(&names->by_key, one->key, one) != MC_OK) {
        mc_free(one);
        return NULL;
    }
    return one;
}

static bool cache_full(const mc_name_cache *cache) {
    return atomic_load_explicit(&cache->host_count, memory_order_relaxed) >=
           atomic_load_explicit(&cache->max_hosts, memory_order_relaxed);
}

/* False: it could not be asked, and is gone when nobody knows of it. */
static bool ask(mc_names *names, name *one) {
    if (names->ask(names->ctx, names->cache, one->key) == MC_OK) {
        return true;
    }
    if (!one->known && mc_list_empty(&one->waiting)) {
        name_free(names, one);
    }
    return false;
}

static void join(mc_names *names, name *one, mc_name_wait *wait) {
    wait->names = names;
    mc_list_push_back(&one->waiting, &wait->link);
    mc_breaker_take(&names->cache->pending, names->slab);
}

/* Requests that wait are counted before anything is looked up, as Envoy does: too many, and a known name is no help. */
mc_name_answer mc_names_look(mc_names *names, mc_slice key, bool anew, mc_name_wait *wait, mc_slice *details) {
    mc_name_cache *cache = names->cache;
    *details = MC_SLICE_NONE;
    if (mc_breaker_open(&cache->pending)) {
        mc_counter_inc(names->slab, cache->pending_overflow);
        return MC_NAME_TOO_MANY_WAIT;
    }
    name *one = mc_map_get(&names->by_key, key);
    if (one != NULL && one->known && !anew) {
        *details = one->details;
        return one->details.n > 0 ? MC_NAME_FAILED : MC_NAME_KNOWN;
    }
    if (cache_full(cache) && !anew) {
        mc_counter_inc(names->slab, cache->host_overflow);
        return MC_NAME_CACHE_FULL;
    }
    if ((one = make_name(names, key)) == NULL || !ask(names, one)) {
        return MC_NAME_NO_MEMORY;
    }
    join(names, one, wait);
    return MC_NAME_LOADING;
}

mc_name_answer mc_names_await(mc_names *names, mc_slice key, mc_name_wait *wait) {
    name *one = make_name(names, key);
    if (one == NULL || (mc_list_empty(&one->waiting) && !ask(names, one))) {
        return MC_NAME_NO_MEMORY;
    }
    join(names, one, wait);
    return MC_NAME_LOADING;
}

void mc_name_wait_cancel(mc_name_wait *wait) {
    if (mc_name_waits(wait)) {
        mc_link_unlink(&wait->link);
        mc_breaker_give(&wait->names->cache->pending, wait->names->slab);
    }
}

/* Who goes on may ask for this name again, or give up others that wait. */
static void tell(name *one, mc_slice details) {
    mc_list due;
    mc_list_init(&due);
    mc_list_splice(&due, &one->waiting);
    for (mc_link *node; (node = mc_list_first(&due)) != NULL;) {
        mc_name_wait *wait = MC_CONTAINER(node, mc_name_wait, link);
        mc_name_wait_cancel(wait);
        wait->done(wait, details);
    }
}

void mc_names_tell(mc_names *names, mc_slice key, mc_slice details) {
    name *one = make_name(names, key);
    char *copy = details.n == 0 ? NULL : mc_malloc(details.n);
    if (one == NULL) {
        mc_free(copy);
        return;
    }
    if (details.n > 0 && copy != NULL) {
        memcpy(copy, details.p, details.n);
    }
    mc_free((void *)one->details.p);
    one->details = mc_slice_of(copy, copy == NULL ? 0 : details.n);
    one->known = details.n == 0 || copy != NULL;
    tell(one, details);
}

void mc_names_give_up(mc_names *names) {
    mc_slice key;
    void *one;
    for (size_t at = 0; mc_map_next(&names->by_key, &at, &key, &one);) {
        tell(one, MC_SLICE("given up"));
    }
}

void mc_names_forget(mc_names *names, mc_slice key) {
    name *one = mc_map_get(&names->by_key, key);
    if (one == NULL) {
        return;
    }
    one->known = false;
    if (mc_list_empty(&one->waiting)) {
        name_free(names, one);
    }
}

/* --- hosts by name ---------------------------------------------------------------------------------------------------------------- */

typedef struct entry {
    mc_host *host;
    mc_address_list *addresses;
} entry;

void mc_named_init(mc_named *named) { mc_map_init(&named->by_key); }

void mc_named_fini(mc_named *named) {
    mc_slice key;
    void *value;
    for (size_t at = 0; mc_map_next(&named->by_key, &at, &key, &value);) {
        entry *e = value;
        mc_address_list_unref(e->addresses);
        mc_host_unref(e->host);
        mc_free(e);
    }
    mc_map_fini(&named->by_key);
}

mc_status mc_named_put(mc_named *named, mc_host *host, mc_address_list *addresses) {
    entry *e = mc_map_get(&named->by_key, host->address_text);
    if (e == NULL) {
        e = mc_calloc(1, sizeof *e);
        if (e == NULL || mc_map_put(&named->by_key, host->address_text, e) != MC_OK) {
            mc_free(e);
            return MC_ENOMEM;
        }
        e->host = mc_host_ref(host);
    }
    mc_address_list *old = e->addresses;
    e->addresses = mc_address_list_ref(addresses);
    mc_address_list_unref(old);
    return MC_OK;
}

mc_host *mc_named_take(mc_named *named, mc_slice key) {
    entry *e = mc_map_remove(&named->by_key, key);
    if (e == NULL) {
        return NULL;
    }
    mc_host *host = e->host;
    mc_address_list_unref(e->addresses);
    mc_free(e);
    return host;
}

mc_host *mc_named_find(const mc_named *named, mc_slice key) {
    const entry *e = mc_map_get(&named->by_key, key);
    return e == NULL ? NULL : e->host;
}

const mc_address *mc_named_address(const mc_named *named, const mc_host *host, uint32_t index) {
    const entry *e = mc_map_get(&named->by_key, host->address_text);
    return e != NULL && e->host == host && index < e->addresses->count ? &e->addresses->items[index] : NULL;
}
