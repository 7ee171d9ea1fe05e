/* The slab of the calling thread, found fast: what lets any Python thread write to a store without a lock.
 *
 * A Store object owns a thread_slabs. Each OS thread that records through it gets a slab of its own on its first record, kept
 * in a list of that thread and, the last one used, in a thread-local variable: the usual cost is one comparison. A slab is
 * folded into the store when its thread ends or when the Store object dies, whichever comes first. All lists are guarded by
 * one lock, taken only then and on a thread's first record.
 *
 * Included by one Cython module only: these variables are the process's, not the core's. */
#ifndef MESHCORE_THREAD_SLABS_H
#define MESHCORE_THREAD_SLABS_H

#include <pthread.h>

#include "base/alloc.h"
#include "stats/stats.h"

struct thread_slabs;

typedef struct thread_slab {
    uint64_t owner_id; /* never used twice, so that an entry whose owner died matches nothing */
    mc_slab *slab;
    struct thread_slabs *owner; /* NULL once the owner died; under the lock */
    struct thread_slab *next_of_thread;
    struct thread_slab *next_of_owner;
} thread_slab;

typedef struct thread_slabs {
    uint64_t id;
    mc_stats *stats;
    thread_slab *slabs;
} thread_slabs;

static pthread_mutex_t thread_slabs_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t thread_slabs_last_id;
static pthread_once_t thread_slabs_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_slabs_key; /* for its destructor */
static int thread_slabs_key_ok;

static _Thread_local thread_slab *thread_slabs_mine;
static _Thread_local struct {
    uint64_t owner_id;
    mc_slab *slab;
} thread_slabs_cached;

static void thread_slabs_unlink(thread_slab *entry) {
    thread_slab **at = &entry->owner->slabs;
    while (*at != entry) {
        at = &(*at)->next_of_owner;
    }
    *at = entry->next_of_owner;
}

static void thread_slabs_thread_ends(void *first) {
    (void)first;
    thread_slab *entry = thread_slabs_mine;
    thread_slabs_mine = NULL;
    thread_slabs_cached.owner_id = 0;
    pthread_mutex_lock(&thread_slabs_lock);
    while (entry != NULL) {
        thread_slab *next = entry->next_of_thread;
        if (entry->owner != NULL) {
            thread_slabs_unlink(entry);
            mc_slab_close(entry->slab);
        }
        mc_free(entry);
        entry = next;
    }
    pthread_mutex_unlock(&thread_slabs_lock);
}

static void thread_slabs_make_key(void) {
    thread_slabs_key_ok = pthread_key_create(&thread_slabs_key, thread_slabs_thread_ends) == 0;
}

/* Takes over the caller's reference on the store; NULL, and the reference dropped, when out of memory. */
static thread_slabs *thread_slabs_new(mc_stats *stats) {
    thread_slabs *owner = mc_malloc(sizeof *owner);
    if (owner == NULL) {
        mc_stats_unref(stats);
        return NULL;
    }
    pthread_once(&thread_slabs_once, thread_slabs_make_key);
    pthread_mutex_lock(&thread_slabs_lock);
    owner->id = ++thread_slabs_last_id;
    pthread_mutex_unlock(&thread_slabs_lock);
    owner->stats = stats;
    owner->slabs = NULL;
    return owner;
}

/* No thread may be recording through it any more. */
static void thread_slabs_free(thread_slabs *owner) {
    pthread_mutex_lock(&thread_slabs_lock);
    for (thread_slab *entry = owner->slabs; entry != NULL; entry = entry->next_of_owner) {
        mc_slab_close(entry->slab);
        entry->owner = NULL; /* its thread frees it */
    }
    pthread_mutex_unlock(&thread_slabs_lock);
    mc_stats_unref(owner->stats);
    mc_free(owner);
}

/* Frees this thread's entries whose owners died. Under the lock. */
static void thread_slabs_prune(void) {
    thread_slab **at = &thread_slabs_mine;
    while (*at != NULL) {
        thread_slab *entry = *at;
        if (entry->owner == NULL) {
            *at = entry->next_of_thread;
            mc_free(entry);
        } else {
            at = &entry->next_of_thread;
        }
    }
}

static mc_slab *thread_slabs_open(thread_slabs *owner) {
    thread_slab *entry = thread_slabs_key_ok ? mc_malloc(sizeof *entry) : NULL;
    if (entry == NULL) {
        return NULL;
    }
    *entry = (thread_slab){owner->id, mc_slab_open(owner->stats), owner, NULL, NULL};
    if (entry->slab == NULL || pthread_setspecific(thread_slabs_key, entry) != 0) {
        mc_slab_close(entry->slab);
        mc_free(entry);
        return NULL;
    }
    pthread_mutex_lock(&thread_slabs_lock);
    thread_slabs_prune();
    entry->next_of_thread = thread_slabs_mine;
    entry->next_of_owner = owner->slabs;
    owner->slabs = thread_slabs_mine = entry;
    pthread_mutex_unlock(&thread_slabs_lock);
    return entry->slab;
}

static __attribute__((noinline)) mc_slab *thread_slabs_find(thread_slabs *owner) {
    thread_slab *entry = thread_slabs_mine;
    while (entry != NULL && entry->owner_id != owner->id) {
        entry = entry->next_of_thread;
    }
    mc_slab *slab = entry != NULL ? entry->slab : thread_slabs_open(owner);
    if (slab != NULL) {
        thread_slabs_cached.owner_id = owner->id;
        thread_slabs_cached.slab = slab;
    }
    return slab;
}

/* The calling thread's slab; NULL when out of memory. */
static inline mc_slab *thread_slabs_get(thread_slabs *owner) {
    if (MC_LIKELY(thread_slabs_cached.owner_id == owner->id)) {
        return thread_slabs_cached.slab;
    }
    return thread_slabs_find(owner);
}

/* How many threads' slabs are open through this store; for tests. */
static size_t thread_slabs_count(thread_slabs *owner) {
    size_t count = 0;
    pthread_mutex_lock(&thread_slabs_lock);
    for (thread_slab *entry = owner->slabs; entry != NULL; entry = entry->next_of_owner) {
        count++;
    }
    pthread_mutex_unlock(&thread_slabs_lock);
    return count;
}

#endif
