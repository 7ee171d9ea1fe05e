#include "lb/maglev.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/defaults.h"
#include "base/hash.h"

#define FREE_SLOT UINT32_MAX

/* A host's walk over the table: at, at + skip, ... modulo the size. */
typedef struct walker {
    mc_slice key;
    double share, target;
    uint64_t at, skip, entries;
    uint32_t host;
} walker;

bool mc_maglev_size_ok(uint64_t size) {
    if (size < MC_MIN_MAGLEV_TABLE_SIZE || size > MC_MAX_MAGLEV_TABLE_SIZE) {
        return false;
    }
    for (uint64_t d = 2; d * d <= size; d++) {
        if (size % d == 0) {
            return false;
        }
    }
    return true;
}

/* By key; equal keys in the order given, so that the table is the same on every machine. */
static int by_key(const void *a, const void *b) {
    const walker *x = a, *y = b;
    int order = mc_slice_cmp(x->key, y->key);
    return order != 0 ? order : (x->host > y->host) - (x->host < y->host);
}

static void start(walker *walkers, const mc_hash_host *hosts, size_t count, uint64_t size) {
    for (size_t i = 0; i < count; i++) {
        mc_slice key = hosts[i].key;
        walkers[i] = (walker){.key = key,
                              .share = hosts[i].share,
                              .at = mc_xxh64(key.p, key.n, 0) % size,
                              .skip = mc_xxh64(key.p, key.n, 1) % (size - 1) + 1,
                              .host = (uint32_t)i};
    }
    qsort(walkers, count, sizeof *walkers, by_key);
}

static void step(walker *w, uint64_t size) {
    w->at += w->skip;
    w->at -= w->at >= size ? size : 0;
}

/* MG-3. */
static void fill(walker *walkers, size_t count, double max_share, uint32_t *slots, uint64_t size) {
    uint64_t filled = 0;
    for (uint64_t turn = 1; filled < size; turn++) {
        for (size_t i = 0; i < count && filled < size; i++) {
            walker *w = &walkers[i];
            if ((double)turn * w->share < w->target) {
                continue;
            }
            w->target += max_share;
            while (slots[w->at] != FREE_SLOT) {
                step(w, size);
            }
            slots[w->at] = w->host;
            step(w, size);
            w->entries++;
            filled++;
        }
    }
}

static void count_entries(mc_maglev *maglev, const walker *walkers) {
    maglev->min_per_host = maglev->size;
    for (size_t i = 0; i < maglev->count; i++) {
        uint64_t n = walkers[i].entries;
        maglev->min_per_host = n < maglev->min_per_host ? n : maglev->min_per_host;
        maglev->max_per_host = n > maglev->max_per_host ? n : maglev->max_per_host;
    }
}

static mc_status narrow(mc_maglev *maglev) {
    maglev->narrow = mc_malloc(maglev->size * sizeof *maglev->narrow);
    if (maglev->narrow == NULL) {
        return MC_ENOMEM;
    }
    for (uint64_t i = 0; i < maglev->size; i++) {
        maglev->narrow[i] = (uint16_t)maglev->slots[i];
    }
    mc_free(maglev->slots);
    maglev->slots = NULL;
    return MC_OK;
}

static mc_status build(mc_maglev *maglev, const mc_hash_host *hosts) {
    walker *walkers = mc_malloc(maglev->count * sizeof *walkers);
    maglev->slots = mc_malloc(maglev->size * sizeof *maglev->slots);
    if (walkers == NULL || maglev->slots == NULL) {
        mc_free(walkers);
        return MC_ENOMEM;
    }
    memset(maglev->slots, 0xff, maglev->size * sizeof *maglev->slots);
    start(walkers, hosts, maglev->count, maglev->size);
    fill(walkers, maglev->count, mc_share_max(hosts, maglev->count), maglev->slots, maglev->size);
    count_entries(maglev, walkers);
    mc_free(walkers);
    return maglev->count <= UINT16_MAX + 1u ? narrow(maglev) : MC_OK;
}

mc_status mc_maglev_build(const mc_hash_host *hosts, size_t count, uint64_t size, mc_maglev **out) {
    mc_maglev *maglev = mc_calloc(1, sizeof *maglev);
    if (maglev == NULL) {
        return MC_ENOMEM;
    }
    maglev->size = size;
    maglev->count = count;
    mc_status status = count > 0 ? build(maglev, hosts) : MC_OK;
    if (status != MC_OK) {
        mc_maglev_free(maglev);
        return status;
    }
    *out = maglev;
    return MC_OK;
}

void mc_maglev_free(mc_maglev *maglev) {
    if (maglev != NULL) {
        mc_free(maglev->slots);
        mc_free(maglev->narrow);
        mc_free(maglev);
    }
}
