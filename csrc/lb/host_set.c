#include "lb/host_set.h"

#include <math.h>
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
    uint32_t order, locality, revision;
    uint8_t mark;
} row;

/* --- one allocation holds a set and all its lists ------------------------------------------------------------------------- */

static void *carve(char **at, size_t size) {
    void *p = *at;
    *at += (size + 7) & ~(size_t)7;
    return p;
}

static mc_host_set *set_alloc(size_t hosts, size_t localities) {
    /* Each host stands in `all` and in at most one more list, and again so in its locality. */
    size_t size = sizeof(mc_host_set) + 4 * hosts * sizeof(mc_host *) + localities * sizeof(mc_locality) +
                  hosts * (2 * sizeof(uint32_t) + sizeof(uint8_t)) + 4 * 8;
    char *at = mc_calloc(1, size);
    if (at == NULL) {
        return NULL;
    }
    mc_host_set *set = carve(&at, sizeof *set);
    atomic_init(&set->refs, 1);
    set->localities = carve(&at, localities * sizeof *set->localities);
    set->locality_of = carve(&at, hosts * sizeof *set->locality_of);
    set->revisions = carve(&at, hosts * sizeof *set->revisions);
    set->marks = carve(&at, hosts);
    set->all.items = carve(&at, hosts * sizeof *set->all.items); /* the other lists follow */
    return set;
}

/* Appends a list of the rows of the wanted kind, in their order. */
static mc_host **list_health(mc_host **at, const row *rows, size_t count, mc_health health, mc_host_list *list) {
    list->items = at;
    for (size_t i = 0; i < count; i++) {
        if (mark_health(rows[i].mark) == health) {
            list->items[list->count++] = rows[i].host;
        }
    }
    return at + list->count;
}

static mc_host **list_three(mc_host **at, const row *rows, size_t count, mc_host_list *all, mc_host_list *healthy,
                            mc_host_list *degraded) {
    *all = (mc_host_list){at, count};
    *healthy = *degraded = (mc_host_list){0};
    for (size_t i = 0; i < count; i++) {
        all->items[i] = rows[i].host;
    }
    at = list_health(at + count, rows, count, MC_HEALTHY, healthy);
    return list_health(at, rows, count, MC_DEGRADED, degraded);
}

static bool even(mc_host_list list) {
    for (size_t i = 1; i < list.count; i++) {
        if (list.items[i]->weight != list.items[0]->weight) {
            return false;
        }
    }
    return true;
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

static void keep_facts(mc_host_set *set, const row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        set->marks[i] = rows[i].mark;
        set->revisions[i] = rows[i].revision;
        set->locality_of[i] = rows[i].locality;
        mc_host_ref(rows[i].host);
    }
}

/* Stable: rows by locality. */
static void sort_by_locality(const row *rows, size_t count, size_t *starts, size_t localities, row *sorted) {
    for (size_t i = 0; i < count; i++) {
        starts[rows[i].locality + 1]++;
    }
    for (size_t i = 0; i < localities; i++) {
        starts[i + 1] += starts[i];
    }
    for (size_t i = 0; i < count; i++) {
        sorted[starts[rows[i].locality]++] = rows[i];
    }
    memmove(starts + 1, starts, localities * sizeof *starts);
    starts[0] = 0;
}

/* A set of rows, in their order, whose localities are known. Names and weights of the localities are the caller's to set. */
static mc_host_set *build(const row *rows, size_t count, size_t localities) {
    mc_host_set *set = set_alloc(count, localities);
    row *sorted = mc_malloc(count * sizeof *sorted);
    size_t *starts = mc_calloc(localities + 1, sizeof *starts);
    if (set == NULL || sorted == NULL || starts == NULL) {
        mc_free(set);
        set = NULL;
        goto done;
    }
    keep_facts(set, rows, count);
    count_rows(&set->counts, rows, count);
    mc_host **at = list_three(set->all.items, rows, count, &set->all, &set->healthy, &set->degraded);
    set->even[0] = even(set->all);
    set->even[1] = even(set->healthy);
    set->even[2] = even(set->degraded);
    sort_by_locality(rows, count, starts, localities, sorted);
    set->locality_count = localities;
    for (size_t i = 0; i < localities; i++) {
        const row *first = sorted + starts[i];
        const size_t n = starts[i + 1] - starts[i];
        mc_locality *locality = &set->localities[i];
        at = list_three(at, first, n, &locality->all, &locality->healthy, &locality->degraded);
        for (size_t k = 0; k < n; k++) {
            locality->excluded += (first[k].mark & MARK_EXCLUDED) != 0;
        }
    }
done:
    mc_free(sorted);
    mc_free(starts);
    return set;
}

/* --- all hosts of a priority ------------------------------------------------------------------------------------------------ */

static bool same_name(const mc_locality_name *a, const mc_locality_name *b) {
    return mc_slice_eq(a->region, b->region) && mc_slice_eq(a->zone, b->zone) && mc_slice_eq(a->sub_zone, b->sub_zone);
}

static int by_locality(const void *a, const void *b) {
    const row *x = a, *y = b;
    int order = mc_slice_cmp(x->host->locality.region, y->host->locality.region);
    order = order != 0 ? order : mc_slice_cmp(x->host->locality.zone, y->host->locality.zone);
    order = order != 0 ? order : mc_slice_cmp(x->host->locality.sub_zone, y->host->locality.sub_zone);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static bool one_locality(const row *rows, size_t count) {
    for (size_t i = 1; i < count; i++) {
        if (!same_name(&rows[0].host->locality, &rows[i].host->locality)) {
            return false;
        }
    }
    return true;
}

/* Numbers the localities of the rows in ascending order and gives their number; `rows` keep their order. */
static mc_status number_localities(row *rows, size_t count, size_t *localities) {
    *localities = count > 0;
    if (one_locality(rows, count)) {
        return MC_OK;
    }
    row *sorted = mc_malloc(count * sizeof *sorted);
    if (sorted == NULL) {
        return MC_ENOMEM;
    }
    memcpy(sorted, rows, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_locality);
    for (size_t i = 1; i < count; i++) {
        *localities += !same_name(&sorted[i - 1].host->locality, &sorted[i].host->locality);
        rows[sorted[i].order].locality = (uint32_t)*localities - 1;
    }
    mc_free(sorted);
    return MC_OK;
}

/* C-6: our own locality comes first when it has hosts. */
static bool put_local_first(row *rows, size_t count, const mc_locality_name *local) {
    uint32_t ours = UINT32_MAX;
    if (local == NULL || (local->region.n == 0 && local->zone.n == 0 && local->sub_zone.n == 0)) {
        return false;
    }
    for (size_t i = 0; i < count && ours == UINT32_MAX; i++) {
        ours = same_name(&rows[i].host->locality, local) ? rows[i].locality : UINT32_MAX;
    }
    for (size_t i = 0; ours != UINT32_MAX && i < count; i++) {
        rows[i].locality = rows[i].locality == ours ? 0 : rows[i].locality + (rows[i].locality < ours);
    }
    return ours != UINT32_MAX;
}

mc_status mc_host_set_new(mc_host *const *hosts, size_t count, const mc_locality_name *local, mc_host_set **out) {
    row *rows = mc_malloc(count * sizeof *rows);
    size_t localities;
    if (rows == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        rows[i] = (row){hosts[i], (uint32_t)i, 0, hosts[i]->revision, mark_of(hosts[i])};
    }
    mc_status status = number_localities(rows, count, &localities);
    const bool has_local = status == MC_OK && put_local_first(rows, count, local);
    mc_host_set *set = status == MC_OK ? build(rows, count, localities) : NULL;
    if (set != NULL) {
        set->has_local = has_local;
        set->weighted = true;
        for (size_t i = 0; i < count; i++) {
            mc_locality *locality = &set->localities[rows[i].locality];
            locality->name = &hosts[i]->locality;
            /* Of several weights given to one locality the last one counts. */
            locality->weight = hosts[i]->locality_weight > 0 ? hosts[i]->locality_weight : locality->weight;
        }
        *out = set;
    }
    mc_free(rows);
    return set == NULL ? MC_ENOMEM : MC_OK;
}

/* --- a part of a set ---------------------------------------------------------------------------------------------------------- */

static uint32_t part_weight(const mc_locality *whole, const mc_locality *part, mc_part_weights weights) {
    switch (weights) {
    case MC_PART_WEIGHTS_NONE: return 0;
    case MC_PART_WEIGHTS_SAME: return whole->weight;
    case MC_PART_WEIGHTS_SCALED: break;
    }
    return whole->all.count == 0
               ? 0
               : (uint32_t)roundf((float)((uint64_t)whole->weight * part->all.count) / (float)whole->all.count);
}

mc_status mc_host_set_part(const mc_host_set *whole, const uint32_t *indexes, size_t count, mc_part_weights weights,
                           mc_host_set **out) {
    row *rows = mc_malloc(count * sizeof *rows);
    if (rows == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t at = indexes[i];
        rows[i] =
            (row){whole->all.items[at], (uint32_t)i, whole->locality_of[at], whole->revisions[at], whole->marks[at]};
    }
    mc_host_set *set = build(rows, count, whole->locality_count);
    mc_free(rows);
    if (set == NULL) {
        return MC_ENOMEM;
    }
    set->has_local = whole->has_local;
    set->weighted = weights != MC_PART_WEIGHTS_NONE && whole->weighted;
    for (size_t i = 0; i < set->locality_count; i++) {
        mc_locality *part = &set->localities[i];
        part->name = part->all.count > 0 ? &part->all.items[0]->locality : NULL;
        part->weight = part_weight(&whole->localities[i], part, weights);
    }
    *out = set;
    return MC_OK;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

mc_host_set *mc_host_set_ref(mc_host_set *set) {
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void mc_host_set_unref(mc_host_set *set) {
    if (set != NULL && atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < set->all.count; i++) {
            mc_host_unref(set->all.items[i]);
        }
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

bool mc_host_set_same(const mc_host_set *a, const mc_host_set *b) {
    const size_t n = a->all.count;
    if (n != b->all.count || a->locality_count != b->locality_count || a->has_local != b->has_local ||
        a->weighted != b->weighted || memcmp(a->all.items, b->all.items, n * sizeof *a->all.items) != 0 ||
        memcmp(a->revisions, b->revisions, n * sizeof *a->revisions) != 0 || memcmp(a->marks, b->marks, n) != 0 ||
        memcmp(a->locality_of, b->locality_of, n * sizeof *a->locality_of) != 0) {
        return false;
    }
    for (size_t i = 0; i < a->locality_count; i++) {
        if (a->localities[i].weight != b->localities[i].weight) {
            return false;
        }
    }
    return true;
}
