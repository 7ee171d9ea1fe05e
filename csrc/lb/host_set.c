#include "lb/host_set.h"

#include <stdlib.h>

#include "base/alloc.h"

enum { MARK_EXCLUDED = 0x80 };

static uint8_t mark_of(const mc_host *host) {
    uint32_t flags = atomic_load(&host->health_flags);
    return (uint8_t)(mc_health_of(flags) | (mc_health_excluded(flags) ? MARK_EXCLUDED : 0));
}

static mc_health mark_health(uint8_t mark) { return (mc_health)(mark & ~MARK_EXCLUDED); }

/* A host with what it is sorted by; the mark is read once so that all lists agree. */
typedef struct row {
    mc_host *host;
    size_t order;
    uint8_t mark;
} row;

static int by_locality(const void *a, const void *b) {
    const row *x = a, *y = b;
    int order = mc_slice_cmp(x->host->region, y->host->region);
    order = order != 0 ? order : mc_slice_cmp(x->host->zone, y->host->zone);
    order = order != 0 ? order : mc_slice_cmp(x->host->sub_zone, y->host->sub_zone);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static bool same_locality(const mc_host *a, const mc_host *b) {
    return mc_slice_eq(a->region, b->region) && mc_slice_eq(a->zone, b->zone) && mc_slice_eq(a->sub_zone, b->sub_zone);
}

/* Rows of the wanted kind in their order. */
static mc_status list_all(mc_arena *arena, const row *rows, size_t count, mc_host_list *list) {
    list->count = count;
    list->items = mc_arena_alloc(arena, count * sizeof *list->items);
    if (list->items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        list->items[i] = rows[i].host;
    }
    return MC_OK;
}

static mc_status list_health(mc_arena *arena, const row *rows, size_t count, mc_health health, mc_host_list *list) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += mark_health(rows[i].mark) == health;
    }
    *list = (mc_host_list){mc_arena_alloc(arena, n * sizeof *list->items), 0};
    if (list->items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (mark_health(rows[i].mark) == health) {
            list->items[list->count++] = rows[i].host;
        }
    }
    return MC_OK;
}

static mc_status list_three(mc_arena *arena, const row *rows, size_t count, mc_host_list *all, mc_host_list *healthy,
                            mc_host_list *degraded) {
    mc_status status = list_all(arena, rows, count, all);
    if (status == MC_OK) {
        status = list_health(arena, rows, count, MC_HEALTHY, healthy);
    }
    return status == MC_OK ? list_health(arena, rows, count, MC_DEGRADED, degraded) : status;
}

static void count_rows(mc_priority_counts *counts, const row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t weight = rows[i].host->weight;
        mc_health health = mark_health(rows[i].mark);
        bool excluded = (rows[i].mark & MARK_EXCLUDED) != 0;
        counts->hosts++;
        counts->hosts_weight += weight;
        counts->healthy += health == MC_HEALTHY;
        counts->healthy_weight += health == MC_HEALTHY ? weight : 0;
        counts->degraded += health == MC_DEGRADED;
        counts->degraded_weight += health == MC_DEGRADED ? weight : 0;
        counts->excluded += excluded;
        counts->excluded_weight += excluded ? weight : 0;
    }
}

static mc_status make_locality(mc_arena *arena, const row *rows, size_t count, mc_locality *locality) {
    *locality = (mc_locality){0};
    for (size_t i = 0; i < count; i++) {
        locality->excluded += (rows[i].mark & MARK_EXCLUDED) != 0;
        /* Of several weights given to one locality the last one counts. */
        if (rows[i].host->locality_weight > 0) {
            locality->weight = rows[i].host->locality_weight;
        }
    }
    return list_three(arena, rows, count, &locality->all, &locality->healthy, &locality->degraded);
}

/* Sorts the rows by locality. */
static mc_status group(mc_host_set *set, row *rows, size_t count) {
    qsort(rows, count, sizeof *rows, by_locality);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += i == 0 || !same_locality(rows[i - 1].host, rows[i].host);
    }
    set->localities = mc_arena_alloc(&set->arena, n * sizeof *set->localities);
    if (set->localities == NULL) {
        return MC_ENOMEM;
    }
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && same_locality(rows[first].host, rows[end].host); end++) {
        }
        mc_status status = make_locality(&set->arena, rows + first, end - first, &set->localities[set->locality_count]);
        if (status != MC_OK) {
            return status;
        }
        set->locality_count++;
    }
    return MC_OK;
}

static mc_status build(mc_host_set *set, row *rows, size_t count) {
    set->marks = (uint8_t *)mc_arena_bytes(&set->arena, count);
    set->revisions = mc_arena_alloc(&set->arena, count * sizeof *set->revisions);
    if (set->marks == NULL || set->revisions == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        set->marks[i] = rows[i].mark;
        set->revisions[i] = rows[i].host->revision;
    }
    count_rows(&set->counts, rows, count);
    mc_status status = list_three(&set->arena, rows, count, &set->all, &set->healthy, &set->degraded);
    return status == MC_OK ? group(set, rows, count) : status;
}

mc_status mc_host_set_new(mc_host *const *hosts, size_t count, mc_host_set **out) {
    mc_host_set *set = mc_calloc(1, sizeof *set);
    row *rows = mc_malloc(count * sizeof *rows);
    mc_status status = MC_ENOMEM;
    if (set != NULL && rows != NULL) {
        atomic_init(&set->refs, 1);
        mc_arena_init(&set->arena, NULL);
        for (size_t i = 0; i < count; i++) {
            rows[i] = (row){hosts[i], i, mark_of(hosts[i])};
        }
        status = build(set, rows, count);
        if (status != MC_OK) {
            mc_arena_fini(&set->arena);
        }
    }
    mc_free(rows);
    if (status != MC_OK) {
        mc_free(set);
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        mc_host_ref(hosts[i]);
    }
    *out = set;
    return MC_OK;
}

mc_host_set *mc_host_set_ref(mc_host_set *set) {
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void mc_host_set_unref(mc_host_set *set) {
    if (set != NULL && atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < set->all.count; i++) {
            mc_host_unref(set->all.items[i]);
        }
        mc_arena_fini(&set->arena);
        mc_free(set);
    }
}

bool mc_host_set_current(const mc_host_set *set, mc_host *const *hosts, size_t count) {
    if (set->all.count != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (set->all.items[i] != hosts[i] || set->revisions[i] != hosts[i]->revision ||
            set->marks[i] != mark_of(hosts[i])) {
            return false;
        }
    }
    return true;
}
