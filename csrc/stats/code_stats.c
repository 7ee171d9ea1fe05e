#include "stats/code_stats.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/hash.h"

/* Cells that are no status: classes stand at 1 to 5. */
enum { CELL_COMPLETED = 0, CELL_TIME = 6, CELL_UNKNOWN = 7, CELL_COUNTERS = 8 };

static const char *const counter_names[] = {
#define CODE_NAME(id, name) name,
    MC_CODE_COUNTERS(CODE_NAME)
#undef CODE_NAME
};

mc_status mc_code_stats_init(mc_code_stats *codes, mc_stats *store, const mc_slice *parts, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += parts[i].n;
    }
    char *scope = mc_malloc(n + 1);
    if (scope == NULL) {
        return MC_ENOMEM;
    }
    codes->store = store;
    codes->scope = mc_slice_of(scope, n);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > 0) {
            memcpy(scope, parts[i].p, parts[i].n);
            scope += parts[i].n;
        }
    }
    return MC_OK;
}

void mc_code_stats_fini(mc_code_stats *codes) {
    if (codes->store == NULL) {
        return;
    }
    for (size_t i = 0; i < MC_STATUS_CODES; i++) {
        mc_stats_release(codes->store, atomic_load_explicit(&codes->cells[i], memory_order_relaxed));
    }
    mc_free((void *)codes->scope.p);
}

static void cell_name(unsigned cell, char *out, size_t n) {
    if (cell >= 100) {
        snprintf(out, n, "upstream_rq_%u", cell);
    } else if (cell >= CELL_COUNTERS) {
        snprintf(out, n, "upstream_rq_%s", counter_names[cell - CELL_COUNTERS]);
    } else if (cell == CELL_COMPLETED || cell == CELL_TIME || cell == CELL_UNKNOWN) {
        snprintf(out, n, "upstream_rq_%s",
                 cell == CELL_TIME        ? "time"
                 : cell == CELL_COMPLETED ? "completed"
                                          : "unknown");
    } else {
        snprintf(out, n, "upstream_rq_%uxx", cell);
    }
}

static mc_stat make_cell(mc_code_stats *codes, unsigned cell) {
    char name[48];
    cell_name(cell, name, sizeof name);
    mc_stat stat =
        mc_stats_scoped(codes->store, cell == CELL_TIME ? MC_HISTOGRAM : MC_COUNTER, codes->scope, mc_slice_cstr(name));
    mc_stat none = 0;
    if (!atomic_compare_exchange_strong_explicit(&codes->cells[cell], &none, stat, memory_order_relaxed,
                                                 memory_order_relaxed)) { /* another worker was first */
        mc_stats_release(codes->store, stat);
        stat = none;
    }
    return stat;
}

static inline mc_stat cell_stat(mc_code_stats *codes, unsigned cell) {
    mc_stat stat = atomic_load_explicit(&codes->cells[cell], memory_order_relaxed);
    return MC_LIKELY(stat != 0) ? stat : make_cell(codes, cell);
}

void mc_code_stats_response(mc_code_stats *codes, mc_slab *slab, uint16_t status, bool with_code) {
    mc_counter_inc(slab, cell_stat(codes, CELL_COMPLETED));
    if (!with_code) {
        return;
    }
    if (MC_LIKELY(status >= 100 && status < MC_STATUS_CODES)) {
        mc_counter_inc(slab, cell_stat(codes, status));
        mc_counter_inc(slab, cell_stat(codes, status / 100u));
    } else {
        mc_counter_inc(slab, cell_stat(codes, CELL_UNKNOWN));
    }
}

void mc_code_stats_time(mc_code_stats *codes, mc_slab *slab, uint64_t ms) {
    mc_histogram_record(slab, cell_stat(codes, CELL_TIME), ms);
}

void mc_code_stats_inc(mc_code_stats *codes, mc_slab *slab, mc_code_counter counter) {
    mc_counter_inc(slab, cell_stat(codes, CELL_COUNTERS + (unsigned)counter));
}

/* --- scopes by name ---------------------------------------------------------------------------------------------- */

typedef struct mc_code_scope {
    struct mc_code_scope *next; /* immutable once linked */
    mc_code_stats codes;
} mc_code_scope;

static mc_code_stats *find(mc_code_scope *first, const mc_code_scope *end, mc_slice name) {
    for (mc_code_scope *scope = first; scope != end; scope = scope->next) {
        if (mc_slice_eq(scope->codes.scope, name)) {
            return &scope->codes;
        }
    }
    return NULL;
}

static void free_scope(mc_code_scope *scope) {
    mc_code_stats_fini(&scope->codes);
    mc_free(scope);
}

mc_code_stats *mc_code_scopes_get(mc_code_scopes *scopes, const mc_slice *parts, size_t count) {
    char text[MC_CODE_SCOPE_NAME];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > sizeof text - n) {
            return NULL;
        }
        if (parts[i].n > 0) {
            memcpy(text + n, parts[i].p, parts[i].n);
            n += parts[i].n;
        }
    }
    const mc_slice name = mc_slice_of(text, n);
    struct mc_code_scope *_Atomic *bucket = &scopes->buckets[mc_xxh64(text, n, 0) % MC_CODE_BUCKETS];
    mc_code_scope *first = atomic_load_explicit(bucket, memory_order_acquire);
    mc_code_stats *found = find(first, NULL, name);
    if (MC_LIKELY(found != NULL)) {
        return found;
    }
    mc_code_scope *scope = NULL;
    if (atomic_fetch_add_explicit(&scopes->count, 1, memory_order_relaxed) >= MC_CODE_SCOPES_MAX ||
        (scope = mc_calloc(1, sizeof *scope)) == NULL ||
        mc_code_stats_init(&scope->codes, scopes->store, &name, 1) != MC_OK) {
        atomic_fetch_sub_explicit(&scopes->count, 1, memory_order_relaxed);
        mc_free(scope);
        return NULL;
    }
    scope->next = first;
    while (
        !atomic_compare_exchange_strong_explicit(bucket, &first, scope, memory_order_acq_rel, memory_order_acquire)) {
        found = find(first, scope->next, name); /* what another thread has put in front meanwhile */
        if (found != NULL) {
            atomic_fetch_sub_explicit(&scopes->count, 1, memory_order_relaxed);
            free_scope(scope);
            return found;
        }
        scope->next = first;
    }
    return &scope->codes;
}

void mc_code_scopes_fini(mc_code_scopes *scopes) {
    for (size_t i = 0; i < MC_CODE_BUCKETS; i++) {
        mc_code_scope *scope = atomic_load_explicit(&scopes->buckets[i], memory_order_relaxed);
        while (scope != NULL) {
            mc_code_scope *next = scope->next;
            free_scope(scope);
            scope = next;
        }
    }
}
