#include "route/candidates.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "route/compile.h"

enum {
    MC_SPLIT_MIN = 8,   /* shorter lists are walked */
    MC_SPLIT_DEPTH = 4, /* splits of one list, and splits within a split */
    MC_SPLIT_NAMES = 8, /* header names considered for one split */
};

/* --- building --- */

typedef struct exact_use {
    uint32_t name; /* index into the names considered */
    uint32_t item;
    mc_slice value;
} exact_use;

typedef struct exact_uses {
    mc_header_key names[MC_SPLIT_NAMES];
    uint32_t name_count;
    exact_use *items;
    size_t count, cap;
} exact_uses;

static int compare_uses(const void *a, const void *b) {
    const exact_use *x = a, *y = b;
    if (x->name != y->name) {
        return x->name < y->name ? -1 : 1;
    }
    int order = mc_slice_cmp(x->value, y->value);
    return order != 0 ? order : x->item < y->item ? -1 : x->item > y->item;
}

static uint32_t find_name(exact_uses *uses, mc_header_key key) {
    for (uint32_t i = 0; i < uses->name_count; i++) {
        if (mc_slice_eq(uses->names[i].name, key.name)) {
            return i;
        }
    }
    if (uses->name_count == MC_SPLIT_NAMES) {
        return UINT32_MAX;
    }
    uses->names[uses->name_count] = key;
    return uses->name_count++;
}

/* Every exact header value that the list's matchers demand, sorted by name, value and place. */
static mc_status collect_uses(exact_uses *uses, const mc_candidate *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        for (uint32_t m = 0; m < items[i].matcher_count; m++) {
            mc_header_key key;
            mc_slice value;
            uint32_t at;
            if (!mc_match_header_exact(&items[i].matchers[m], &key, &value) ||
                (at = find_name(uses, key)) == UINT32_MAX) {
                continue;
            }
            MC_TRY(mc_grow(&uses->items, &uses->cap, uses->count + 1, sizeof *uses->items));
            uses->items[uses->count++] = (exact_use){at, (uint32_t)i, value};
        }
    }
    if (uses->count > 0) {
        qsort(uses->items, uses->count, sizeof *uses->items, compare_uses);
    }
    return MC_OK;
}

/* The run of uses of the name with the most distinct values; empty when no name is worth a split. */
static void best_run(const exact_uses *uses, size_t *start, size_t *end) {
    size_t best = 1;
    *start = *end = 0;
    for (size_t i = 0; i < uses->count;) {
        size_t first = i, values = 1;
        for (i++; i < uses->count && uses->items[i].name == uses->items[first].name; i++) {
            values += !mc_slice_eq(uses->items[i].value, uses->items[i - 1].value);
        }
        if (i - first >= MC_SPLIT_MIN && values > best) {
            best = values;
            *start = first;
            *end = i;
        }
    }
}

static mc_status build(mc_compile *c, mc_candidate *items, size_t count, int depth, mc_slice *text,
                       mc_candidates **out);

/* One list for each value in the run. */
static mc_status build_values(mc_compile *c, const exact_use *run, size_t length, const mc_candidate *items, int depth,
                              mc_map *by_value) {
    mc_status status = MC_OK;
    mc_candidate *same = mc_malloc(length * sizeof *same);
    if (same == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < length && status == MC_OK;) {
        mc_slice value = run[i].value;
        mc_candidates *list;
        mc_slice none = MC_SLICE_NONE;
        size_t n = 0;
        for (; i < length && mc_slice_eq(run[i].value, value); i++) {
            if (n == 0 || same[n - 1].order != items[run[i].item].order) {
                same[n++] = items[run[i].item];
            }
        }
        status = build(c, same, n, depth + 1, &none, &list);
        if (status == MC_OK) {
            status = mc_map_put(by_value, value, list);
        }
    }
    mc_free(same);
    return status;
}

/* Moves the routes that demand a value of one header out of the list into a split; *out NULL when it is not
 * worth it. */
static mc_status split_once(mc_compile *c, mc_candidate *items, size_t *count, int depth, mc_split **out) {
    exact_uses uses = {.count = 0};
    size_t start, end;
    mc_map *by_value;
    mc_status status = collect_uses(&uses, items, *count);
    *out = NULL;
    best_run(&uses, &start, &end);
    if (status != MC_OK || start == end) {
        goto done;
    }
    status = MC_ENOMEM;
    *out = mc_arena_zalloc(c->arena, sizeof **out);
    if (*out == NULL || (by_value = mc_compile_map(c)) == NULL) {
        goto done;
    }
    (*out)->header = uses.names[uses.items[start].name];
    (*out)->by_value = by_value;
    status = build_values(c, uses.items + start, end - start, items, depth, by_value);
    for (size_t i = start; i < end; i++) {
        items[uses.items[i].item].route = NULL; /* taken */
    }
    size_t left = 0;
    for (size_t i = 0; i < *count; i++) {
        if (items[i].route != NULL) {
            items[left++] = items[i];
        }
    }
    *count = left;
done:
    mc_free(uses.items);
    return status;
}

static mc_status build(mc_compile *c, mc_candidate *items, size_t count, int depth, mc_slice *text,
                       mc_candidates **out) {
    const mc_split *splits = NULL;
    uint32_t first = items[0].order;
    for (int i = 0; depth < MC_SPLIT_DEPTH && i < MC_SPLIT_DEPTH && count >= MC_SPLIT_MIN; i++) {
        mc_split *split;
        MC_TRY(split_once(c, items, &count, depth, &split));
        if (split == NULL) {
            break;
        }
        split->next = splits;
        splits = split;
    }
    size_t size = sizeof **out + count * sizeof *items;
    mc_candidates *list = mc_arena_alloc(c->arena, size + text->n);
    if (list == NULL) {
        return MC_ENOMEM;
    }
    *list = (mc_candidates){.splits = splits, .count = (uint32_t)count, .first = first};
    memcpy(list->items, items, count * sizeof *items);
    if (text->n > 0) {
        memcpy((char *)list + size, text->p, text->n);
        text->p = (char *)list + size;
    }
    *out = list;
    return MC_OK;
}

mc_status mc_candidates_build(mc_compile *c, mc_candidate *items, size_t count, mc_slice *text, mc_candidates **out) {
    for (size_t i = 0; i < count; i++) {
        if (items[i].matcher_count == 0 && !items[i].may_fail) {
            count = i + 1;
        }
    }
    return build(c, items, count, 0, text, out);
}

/* --- walking --- */

void mc_walk_init(mc_walk *walk, const mc_match_input *in) {
    walk->in = in;
    walk->heap = walk->inline_heap;
    walk->count = 0;
    walk->cap = MC_WALK_INLINE;
}

static mc_status grow_heap(mc_walk *walk) {
    mc_cursor *grown = mc_arena_alloc(walk->in->request->arena, 2 * (size_t)walk->cap * sizeof *grown);
    if (grown == NULL) {
        return MC_ENOMEM;
    }
    memcpy(grown, walk->heap, walk->count * sizeof *grown);
    walk->heap = grown;
    walk->cap *= 2;
    return MC_OK;
}

static inline bool earlier(const mc_cursor *a, const mc_cursor *b) { return a->at->order < b->at->order; }

static void sift_up(mc_cursor *heap, uint32_t i) {
    mc_cursor moved = heap[i];
    for (; i > 0 && earlier(&moved, &heap[(i - 1) / 2]); i = (i - 1) / 2) {
        heap[i] = heap[(i - 1) / 2];
    }
    heap[i] = moved;
}

static void sift_down(mc_cursor *heap, uint32_t count) {
    mc_cursor moved = heap[0];
    uint32_t i = 0;
    for (uint32_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && earlier(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!earlier(&heap[child], &moved)) {
            break;
        }
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

static mc_status push(mc_walk *walk, const mc_candidate *items, size_t count) {
    if (walk->count == walk->cap) {
        MC_TRY(grow_heap(walk));
    }
    walk->heap[walk->count] = (mc_cursor){items, items + count};
    sift_up(walk->heap, walk->count++);
    return MC_OK;
}

mc_status mc_walk_add(mc_walk *walk, const mc_candidates *list) {
    if (list == NULL) {
        return MC_OK;
    }
    if (list->count > 0) {
        MC_TRY(push(walk, list->items, list->count));
    }
    for (const mc_split *split = list->splits; split != NULL; split = split->next) {
        mc_slice value;
        MC_TRY(mc_match_header_value(&split->header, walk->in, &value));
        if (value.p != NULL) {
            MC_TRY(mc_walk_add(walk, mc_map_get(split->by_value, value)));
        }
    }
    return MC_OK;
}

const mc_candidate *mc_walk_next(mc_walk *walk) {
    if (walk->count == 0) {
        return NULL;
    }
    mc_cursor *top = walk->heap;
    const mc_candidate *candidate = top->at++;
    if (top->at == top->end) {
        *top = walk->heap[--walk->count];
    }
    if (walk->count > 0) {
        sift_down(walk->heap, walk->count);
    }
    return candidate;
}
