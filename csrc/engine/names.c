#include "engine/names.h"

#include "base/alloc.h"
#include "engine/engine.h"
#include "engine/orders.h"

typedef struct mc_question {
    mc_message message;
    mc_engine *engine;
    mc_name_cache *cache;
    struct mc_question *next;
    mc_slice key;
} question;

/* A cache with what is known in it. */
typedef struct store {
    mc_name_cache *cache;
    mc_map known; /* key to fact */
} store;

typedef struct fact {
    mc_address_list *addresses; /* NULL: it has none */
    mc_slice key;
    char text[];
} fact;

static void fact_free(fact *f) {
    mc_address_list_unref(f->addresses);
    mc_free(f);
}

static store *find_store(const mc_engine *engine, mc_slice cache) { return mc_map_get(&engine->names.caches, cache); }

void mc_engine_names_init(mc_engine_names *names) {
    mc_map_init(&names->caches);
    names->asked = NULL;
    names->last = &names->asked;
}

static void question_free(question *q) {
    mc_free((void *)q->key.p);
    mc_free(q);
}

void mc_engine_names_fini(mc_engine_names *names) {
    mc_slice key;
    void *value, *known;
    for (size_t at = 0; mc_map_next(&names->caches, &at, &key, &value);) {
        store *s = value;
        for (size_t each = 0; mc_map_next(&s->known, &each, &key, &known);) {
            fact_free(known);
        }
        mc_map_fini(&s->known);
        mc_name_cache_free(s->cache);
        mc_free(s);
    }
    mc_map_fini(&names->caches);
    for (question *q = names->asked; q != NULL;) {
        question *next = q->next;
        question_free(q);
        q = next;
    }
}

static store *store_new(mc_engine *engine, mc_slice name) {
    store *s = mc_calloc(1, sizeof *s);
    mc_name_cache *cache = s == NULL ? NULL : mc_name_cache_new(name, engine->stats);
    if (cache == NULL || mc_map_put(&engine->names.caches, cache->name, s) != MC_OK) {
        mc_name_cache_free(cache);
        mc_free(s);
        return NULL;
    }
    s->cache = cache;
    mc_map_init(&s->known);
    return s;
}

mc_status mc_engine_names_open(mc_engine *engine, mc_slice name, uint32_t max_hosts, uint32_t max_pending) {
    store *s = find_store(engine, name);
    if (s == NULL) {
        s = store_new(engine, name);
    }
    if (s == NULL) {
        return MC_ENOMEM;
    }
    if (s->cache->pending.max != max_pending || atomic_load(&s->cache->max_hosts) != max_hosts) {
        mc_name_cache_set(s->cache, max_hosts, max_pending, engine->slab);
    }
    return mc_orders_name_cache(engine, s->cache);
}

/* --- questions -------------------------------------------------------------------------------------------------------------- */

static void question_run(mc_message *message, mc_loop *loop) {
    question *q = MC_CONTAINER(message, question, message);
    mc_engine_names *names = &q->engine->names;
    *names->last = q;
    names->last = &q->next;
}

static void question_drop(mc_message *message) { question_free(MC_CONTAINER(message, question, message)); }

mc_status mc_engine_names_ask(mc_engine *engine, mc_name_cache *cache, mc_slice key) {
    question *q = mc_calloc(1, sizeof *q);
    char *copy = mc_malloc(key.n);
    if (q == NULL || copy == NULL) {
        mc_free(q);
        mc_free(copy);
        return MC_ENOMEM;
    }
    memcpy(copy, key.p, key.n);
    *q = (question){.message = {.run = question_run, .drop = question_drop},
                    .engine = engine,
                    .cache = cache,
                    .key = mc_slice_of(copy, key.n)};
    mc_mailbox_post(engine->control, &q->message);
    return MC_OK;
}

bool mc_engine_names_take(mc_engine *engine, mc_name_cache **cache, mc_slice *key) {
    mc_engine_names *names = &engine->names;
    question *q = names->asked;
    if (q == NULL) {
        return false;
    }
    names->asked = q->next;
    if (names->asked == NULL) {
        names->last = &names->asked;
    }
    *cache = q->cache;
    *key = q->key;
    mc_free(q);
    return true;
}

mc_status mc_engine_names_count(mc_engine *engine, mc_slice name, uint32_t hosts) {
    store *s = find_store(engine, name);
    if (s != NULL) {
        atomic_store(&s->cache->host_count, hosts);
    }
    return s == NULL ? MC_ENOTFOUND : MC_OK;
}

/* --- answers ------------------------------------------------------------------------------------------------------------------ */

static bool uses(const mc_member *member, const store *s) {
    return member != NULL && member->cluster->forward != NULL &&
           mc_slice_eq(member->cluster->forward->cache, s->cache->name);
}

/* The cluster's host for a key, made when it has none. */
static mc_status give_host(mc_engine *engine, mc_member *member, const fact *f) {
    mc_cluster *cluster = member->cluster;
    mc_host *known = mc_named_find(&member->named, f->key);
    mc_host *host = known != NULL ? mc_host_ref(known)
                                  : mc_hosts_make_named(f->key, &f->addresses->items[0], &cluster->lb, cluster->name,
                                                        engine->stats);
    mc_status status = host == NULL ? MC_ENOMEM : mc_named_put(&member->named, host, f->addresses);
    if (status == MC_OK && known == NULL) {
        status = mc_member_add_named(member, host);
    }
    if (status == MC_OK) {
        status = mc_orders_named(engine, cluster, host, f->addresses);
    }
    mc_host_unref(host);
    return status;
}

static fact *fact_new(store *s, mc_slice key) {
    fact *f = mc_calloc(1, sizeof *f + key.n);
    if (f != NULL) {
        memcpy(f->text, key.p, key.n);
        f->key = mc_slice_of(f->text, key.n);
        if (mc_map_put(&s->known, f->key, f) != MC_OK) {
            mc_free(f);
            f = NULL;
        }
    }
    return f;
}

static mc_status learn(mc_engine *engine, store *s, mc_slice key, const mc_address *addresses, uint32_t count) {
    fact *f = mc_map_get(&s->known, key);
    if (f == NULL && (f = fact_new(s, key)) == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = MC_OK;
    for (uint32_t i = 0; status == MC_OK && i < engine->members.count; i++) {
        mc_member *member = engine->members.items[i];
        if (uses(member, s)) {
            const mc_lb_config *lb = &member->cluster->lb;
            mc_address_list *list =
                mc_address_list_new(addresses, count, lb->happy_first_family, lb->happy_first_count);
            if (list == NULL) {
                return MC_ENOMEM;
            }
            mc_address_list_unref(f->addresses);
            f->addresses = list;
            status = give_host(engine, member, f);
        }
    }
    return status;
}

mc_status mc_engine_names_set(mc_engine *engine, mc_slice cache, mc_slice key, const mc_address *addresses,
                              uint32_t count, mc_slice details) {
    store *s = find_store(engine, cache);
    mc_status status = s == NULL ? MC_ENOTFOUND : MC_OK;
    mc_loop_refresh(engine->control);
    if (status == MC_OK && count > 0) {
        status = learn(engine, s, key, addresses, count);
    }
    return status == MC_OK ? mc_orders_name(engine, s->cache, key, true, details) : status;
}

void mc_engine_names_drop(mc_engine *engine, mc_slice cache, mc_slice key) {
    store *s = find_store(engine, cache);
    mc_loop_refresh(engine->control);
    if (s == NULL || mc_orders_name(engine, s->cache, key, false, MC_SLICE_NONE) != MC_OK) {
        return; /* without memory it stays known to the workers */
    }
    for (uint32_t i = 0; i < engine->members.count; i++) {
        mc_member *member = engine->members.items[i];
        mc_host *host = uses(member, s) ? mc_named_take(&member->named, key) : NULL;
        if (host != NULL) {
            if (mc_orders_named(engine, member->cluster, host, NULL) != MC_OK ||
                mc_member_remove_named(member, host) != MC_OK) {
                mc_counter_inc(engine->slab, member->cluster->stats.update_failure);
            }
            mc_host_unref(host);
        }
    }
    fact *f = mc_map_remove(&s->known, key);
    if (f != NULL) {
        fact_free(f);
    }
}

uint64_t mc_engine_names_age(const mc_engine *engine, mc_slice cache, mc_slice key) {
    const store *s = find_store(engine, cache);
    uint64_t newest = 0;
    mc_loop_refresh(engine->control);
    const uint64_t now = mc_loop_now_ms(engine->control);
    const bool sub = cache.n > 0 && cache.p[0] == '~';
    for (uint32_t i = 0; s != NULL && i < engine->members.count; i++) {
        const mc_member *member = engine->members.items[i];
        if (sub) {
            const bool its = member != NULL && mc_slice_eq(member->cluster->name, key);
            newest = its ? atomic_load(&member->cluster->used_ms) : newest;
            continue;
        }
        const mc_host *host = uses(member, s) ? mc_named_find(&member->named, key) : NULL;
        const uint64_t used = host == NULL ? 0 : atomic_load(&host->used_ms);
        newest = used > newest ? used : newest;
    }
    return newest == 0 ? UINT64_MAX : newest < now ? now - newest : 0;
}

void mc_engine_names_introduce(mc_engine *engine, mc_member *member) {
    const store *s = find_store(engine, member->cluster->forward->cache);
    mc_slice key;
    void *known;
    for (size_t at = 0; s != NULL && mc_map_next(&s->known, &at, &key, &known);) {
        const fact *f = known;
        if (f->addresses != NULL && give_host(engine, member, f) != MC_OK) {
            return; /* the rest comes when it is asked for */
        }
    }
}
