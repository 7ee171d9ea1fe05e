/* Names that are resolved when a request first asks for them (rule CL-17).
 *
 *   mc_name_cache   what all workers share of one cache: its limits and its counters
 *   mc_names        one worker's view of it: which names are known, who waits for which
 *   mc_named        one cluster's hosts by name; on a worker, and on the control side
 *
 * The control side resolves. A worker that meets a name it does not know asks (mc_names_look), and goes on when the answer comes
 * through its mailbox; so nobody takes a lock, and a new name costs each worker one message, however many there are. A key is
 * "host:port". Views and hosts belong to one thread each. */
#ifndef MC_POOL_NAMES_H
#define MC_POOL_NAMES_H

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/value.h"
#include "lb/address_list.h"
#include "lb/lb.h"
#include "pool/breaker.h"

/* --- what is configured ------------------------------------------------------------------------------------------------ */

/* A dynamic forward proxy cluster. */
typedef struct mc_forward {
    mc_slice cache; /* its name */
    /* Each key has a cluster of its own, named MC_SUB_CLUSTER and the key; `cache` is "~" and the cluster's name. */
    bool sub_clusters;
} mc_forward;

#define MC_SUB_CLUSTER "DFPCluster:"

/* NULL for a cluster of another type. Lives in `arena`. */
MC_MUST_CHECK mc_status mc_forward_compile(const mc_value *cluster, mc_arena *arena, mc_forward **out, mc_error *error);

/* The key of an authority whose port, if it names none, is this one. */
MC_MUST_CHECK mc_status mc_name_key(mc_slice authority, uint16_t port, mc_arena *arena, mc_slice *out);

/* The cluster of a key: an IP address loses its brackets, a port its leading zeros. */
MC_MUST_CHECK mc_status mc_sub_cluster_name(mc_slice key, mc_arena *arena, mc_slice *out);

/* --- the cache ----------------------------------------------------------------------------------------------------------- */

typedef struct mc_name_cache {
    mc_slice name;
    _Atomic uint32_t max_hosts, host_count; /* as the control side knows them */
    mc_breaker pending;                     /* requests that wait */
    mc_stat host_overflow, pending_overflow;
    mc_stats *stats;
} mc_name_cache;

/* NULL: out of memory. What is named "~..." is no cache of DNS and counts nothing. The limits may be set again while nobody uses the cache. */
MC_MUST_CHECK mc_name_cache *mc_name_cache_new(mc_slice name, mc_stats *stats);
void mc_name_cache_set(mc_name_cache *cache, uint32_t max_hosts, uint32_t max_pending, mc_slab *slab);
void mc_name_cache_free(mc_name_cache *cache);

/* --- a worker's view -------------------------------------------------------------------------------------------------------- */

typedef struct mc_names mc_names;

/* Somebody waits: embedded in its owner. `details` tell why there is no address; empty: there is one. */
typedef struct mc_name_wait {
    mc_link link;
    mc_names *names;
    void (*done)(struct mc_name_wait *wait, mc_slice details);
} mc_name_wait;

typedef enum mc_name_answer {
    MC_NAME_KNOWN,
    MC_NAME_FAILED,  /* known to have no address */
    MC_NAME_LOADING, /* wait->done comes, later, unless mc_name_wait_cancel */
    MC_NAME_CACHE_FULL,
    MC_NAME_TOO_MANY_WAIT,
    MC_NAME_NO_MEMORY
} mc_name_answer;

/* `ask` hands a key to the control side. */
MC_MUST_CHECK mc_names *mc_names_new(mc_name_cache *cache, mc_slab *slab,
                                     mc_status (*ask)(void *ctx, mc_name_cache *cache, mc_slice key), void *ctx);
void mc_names_free(mc_names *names);
/* *details as in mc_name_wait. `anew`: asks even when the answer is known. */
mc_name_answer mc_names_look(mc_names *names, mc_slice key, bool anew, mc_name_wait *wait, mc_slice *details);
/* Waits for the answer to what is asked anew each time, but not while somebody waits for it here already: MC_NAME_LOADING or
 * MC_NAME_NO_MEMORY. Who stops waiting cancels, and lets the key be forgotten. */
mc_name_answer mc_names_await(mc_names *names, mc_slice key, mc_name_wait *wait);
void mc_name_wait_cancel(mc_name_wait *wait);
static inline bool mc_name_waits(const mc_name_wait *wait) { return mc_link_linked(&wait->link); }
/* The answer: who waits goes on. Without memory the next one asks again. */
void mc_names_tell(mc_names *names, mc_slice key, mc_slice details);
/* No answers will come any more, at the worker's end: who waits is told so. */
void mc_names_give_up(mc_names *names);
void mc_names_forget(mc_names *names, mc_slice key);

/* --- hosts by name ---------------------------------------------------------------------------------------------------------- */

typedef struct mc_named {
    mc_map by_key;
} mc_named;

void mc_named_init(mc_named *named);
void mc_named_fini(mc_named *named);
/* A host by its address_text, which is its key, with the addresses it has now. Takes references. */
MC_MUST_CHECK mc_status mc_named_put(mc_named *named, mc_host *host, mc_address_list *addresses);
/* With the map's reference, or NULL. */
mc_host *mc_named_take(mc_named *named, mc_slice key);
mc_host *mc_named_find(const mc_named *named, mc_slice key);
/* Borrowed until it changes; NULL: there are not so many, or the host is another one. */
const mc_address *mc_named_address(const mc_named *named, const mc_host *host, uint32_t index);

#endif
