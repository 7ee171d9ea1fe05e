#include "route/path_index.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "route/compile.h"

mc_status mc_path_expression(mc_compile *c, mc_slice text, mc_path_pattern *out) {
    mc_slice rest;
    MC_TRY(mc_arena_dup(c->arena, text, &out->text));
    MC_TRY(mc_regex_literal(c->arena, out->text, &out->literal, &rest));
    out->rest = mc_map_get(&c->expressions, rest);
    if (out->rest == NULL) {
        MC_TRY(mc_regex_compile(c->arena, rest, 0, &out->rest, c->error));
        MC_TRY(mc_map_put(&c->expressions, rest, (void *)out->rest));
    }
    return MC_OK;
}

static int test_expression(mc_slice literal, const mc_regex *rest, mc_slice path) {
    return mc_slice_has_prefix(path, literal) ? mc_regex_full_from(rest, path, literal.n) : 0;
}

int mc_path_pattern_test(const mc_path_pattern *pattern, const mc_match_input *in) {
    size_t n = pattern->text.n;
    mc_slice path = in->path, head = mc_slice_until(path, n);
    switch (pattern->kind) {
    case MC_PATH_ANY: return 1;
    case MC_PATH_REGEX: return path.p == NULL ? 0 : test_expression(pattern->literal, pattern->rest, path);
    case MC_PATH_TEMPLATE: return path.p == NULL ? 0 : test_expression(pattern->literal, pattern->rest, in->whole);
    default: break;
    }
    if (path.p == NULL || !(pattern->fold ? mc_slice_ieq(head, pattern->text) : mc_slice_eq(head, pattern->text))) {
        return 0;
    }
    switch (pattern->kind) {
    case MC_PATH_EXACT: return path.n == n;
    case MC_PATH_SEPARATED_PREFIX: return path.n == n || path.p[n] == '/';
    default: return 1;
    }
}

/* --- building --- */

static bool is_expression(const mc_path_item *item) {
    return item->pattern.kind == MC_PATH_REGEX || item->pattern.kind == MC_PATH_TEMPLATE;
}

/* A template's key ends at ';', for the path may end there when the template still sees the rest (RT-6). */
static mc_slice key_of(const mc_path_pattern *pattern) {
    switch (pattern->kind) {
    case MC_PATH_REGEX: return pattern->literal;
    case MC_PATH_TEMPLATE: return mc_slice_until(pattern->literal, mc_slice_find(pattern->literal, ';'));
    default: return pattern->text;
    }
}

/* Exact paths, then all that has a place in the trie, then the rest; equal patterns side by side in route order. */
static int compare_items(const void *a, const void *b) {
    const mc_path_item *x = a, *y = b;
    static const int groups[] = {[MC_PATH_EXACT] = 0, [MC_PATH_PREFIX] = 1,   [MC_PATH_SEPARATED_PREFIX] = 1,
                                 [MC_PATH_REGEX] = 1, [MC_PATH_TEMPLATE] = 1, [MC_PATH_ANY] = 2};
    if (x->pattern.fold != y->pattern.fold) {
        return x->pattern.fold - y->pattern.fold;
    }
    if (groups[x->pattern.kind] != groups[y->pattern.kind]) {
        return groups[x->pattern.kind] - groups[y->pattern.kind];
    }
    int order = mc_slice_cmp(x->key, y->key);
    if (order != 0) {
        return order;
    }
    if (x->pattern.kind != y->pattern.kind) {
        return (int)x->pattern.kind - (int)y->pattern.kind;
    }
    order = mc_slice_cmp(x->pattern.text, y->pattern.text);
    if (order != 0) {
        return order;
    }
    return x->candidate.order < y->candidate.order ? -1 : 1;
}

/* A distinct prefix text with its lists. */
typedef struct trie_key {
    mc_slice text;
    const mc_candidates *prefix, *separated, *late;
} trie_key;

/* The keys below a node, while building. */
typedef struct trie_range {
    size_t low, high;
    size_t depth; /* bytes the node stands for */
} trie_range;

static size_t common_length(mc_slice a, mc_slice b, size_t from) {
    size_t n = a.n < b.n ? a.n : b.n;
    while (from < n && a.p[from] == b.p[from]) {
        from++;
    }
    return from;
}

/* The text of a label behind its head, or of the node before it where that is the same: fewer lines of memory for the walks. */
static const char *share_label(const mc_trie_node *before, const char *text, size_t n) {
    return before->label_n == n + 1 && memcmp(before->label, text, n) == 0 ? before->label : text;
}

/* The children of nodes[at], appended behind nodes[*used]. Keys are sorted: those that share a prefix are a range whose first and
 * last key share exactly that much. */
static void branch(mc_trie_node *nodes, trie_range *ranges, const trie_key *keys, size_t at, size_t *used) {
    mc_trie_node *node = &nodes[at];
    trie_range range = ranges[at];
    size_t i = range.low;
    if (keys[i].text.n == range.depth) {
        node->prefix = keys[i].prefix;
        node->separated = keys[i].separated;
        node->late = keys[i].late;
        i++;
    }
    node->first_child = (uint32_t)*used;
    while (i < range.high) {
        size_t low = i;
        char head = keys[low].text.p[range.depth];
        while (i < range.high && keys[i].text.p[range.depth] == head) {
            i++;
        }
        size_t depth = common_length(keys[low].text, keys[i - 1].text, range.depth + 1);
        const char *text = keys[low].text.p + range.depth + 1;
        nodes[*used].head = head;
        nodes[*used].label = share_label(&nodes[*used - 1], text, depth - range.depth - 1);
        nodes[*used].label_n = (uint32_t)(depth - range.depth);
        ranges[*used] = (trie_range){low, i, depth};
        if (node->child_count < MC_TRIE_HEADS) {
            node->heads[node->child_count] = head;
        }
        node->child_count++;
        (*used)++;
    }
}

/* Breadth first, so that children stand side by side and a long chain of prefixes needs no stack. */
static mc_status build_trie(mc_compile *c, const trie_key *keys, size_t count, mc_path_half *half) {
    size_t cap = 2 * count + 1, used = 1;
    mc_trie_node *nodes = mc_compile_lines(c, cap * sizeof *nodes);
    trie_range *ranges = mc_malloc(cap * sizeof *ranges);
    if (nodes == NULL || ranges == NULL) {
        mc_free(ranges);
        return MC_ENOMEM;
    }
    ranges[0] = (trie_range){0, count, 0};
    for (size_t at = 0; at < used; at++) {
        branch(nodes, ranges, keys, at, &used);
    }
    mc_free(ranges);
    half->nodes = nodes;
    return MC_OK;
}

/* The candidates of the items from *at on that have the same pattern; *at goes behind them. */
static mc_status build_list(mc_compile *c, const mc_path_item *items, size_t count, size_t *at, mc_candidate *scratch,
                            mc_slice *text, mc_candidates **out) {
    const mc_path_pattern *pattern = &items[*at].pattern;
    size_t n = 0;
    for (;
         *at < count && items[*at].pattern.kind == pattern->kind && mc_slice_eq(items[*at].pattern.text, pattern->text);
         (*at)++) {
        scratch[n++] = items[*at].candidate;
    }
    return mc_candidates_build(c, scratch, n, text, out);
}

/* One list for each distinct expression of the items; `members` has room for all. */
static mc_status fill_expressions(mc_compile *c, const mc_path_item *items, size_t count, mc_candidate *scratch,
                                  mc_regex_member *members, mc_path_expressions *out, uint32_t *first) {
    const mc_candidates **lists = mc_arena_alloc(c->arena, count * sizeof *lists);
    if (lists == NULL) {
        return MC_ENOMEM;
    }
    out->lists = lists;
    for (size_t i = 0; i < count;) {
        mc_candidates *list;
        mc_slice none = MC_SLICE_NONE;
        const mc_path_pattern *pattern = &items[i].pattern;
        members[out->count] = (mc_regex_member){pattern->text, pattern->literal, pattern->rest};
        MC_TRY(build_list(c, items, count, &i, scratch, &none, &list));
        *first = list->first < *first ? list->first : *first;
        lists[out->count++] = list;
    }
    if (out->count > 1) {
        return mc_regex_set_compile(c->arena, members, out->count, &out->set, c->error);
    }
    out->literal = members[0].literal;
    out->rest = members[0].rest;
    out->list = lists[0];
    return MC_OK;
}

/* `items` are expressions of one kind with one key; *out stands for them. */
static mc_status build_expressions(mc_compile *c, const mc_path_item *items, size_t count, mc_candidate *scratch,
                                   mc_candidate *out) {
    mc_path_expressions *expressions = mc_arena_zalloc(c->arena, sizeof *expressions);
    mc_regex_member *members = mc_malloc(count * sizeof *members);
    mc_status status = MC_ENOMEM;
    *out = (mc_candidate){.order = UINT32_MAX, .matchers = (const mc_matcher *)expressions, .may_fail = true};
    if (expressions != NULL && members != NULL) {
        expressions->whole = items[0].pattern.kind == MC_PATH_TEMPLATE;
        status = fill_expressions(c, items, count, scratch, members, expressions, &out->order);
    }
    mc_free(members);
    return status;
}

/* The expressions with the key of items[*at], regular ones before templates; *at goes behind them. */
static mc_status build_late(mc_compile *c, const mc_path_item *items, size_t count, size_t *at, mc_candidate *scratch,
                            const mc_candidates **out) {
    const mc_slice key = items[*at].key;
    mc_candidate kinds[2];
    mc_candidates *list;
    mc_slice none = MC_SLICE_NONE;
    size_t n = 0;
    while (*at < count && is_expression(&items[*at]) && mc_slice_eq(items[*at].key, key)) {
        size_t start = *at;
        while (*at < count && items[*at].pattern.kind == items[start].pattern.kind &&
               mc_slice_eq(items[*at].key, key)) {
            (*at)++;
        }
        MC_TRY(build_expressions(c, items + start, *at - start, scratch, &kinds[n++]));
    }
    if (n == 2 && kinds[1].order < kinds[0].order) {
        mc_candidate first = kinds[1];
        kinds[1] = kinds[0];
        kinds[0] = first;
    }
    MC_TRY(mc_candidates_build(c, kinds, n, &none, &list));
    *out = list;
    return MC_OK;
}

/* Turns the sorted items into candidate lists, one for each distinct pattern: exact ones go into the hash,
 * the others into `keys` (at most `count` of them). */
static mc_status build_lists(mc_compile *c, const mc_path_item *items, size_t count, mc_candidate *scratch,
                             mc_path_half *half, trie_key *keys, size_t *key_count) {
    mc_map *exact = NULL;
    *key_count = 0;
    for (size_t i = 0; i < count;) {
        const mc_path_kind kind = items[i].pattern.kind;
        mc_slice text = items[i].key;
        mc_candidates *list = NULL;
        const mc_candidates *late = NULL;
        if (is_expression(&items[i])) {
            MC_TRY(build_late(c, items, count, &i, scratch, &late));
        } else {
            MC_TRY(build_list(c, items, count, &i, scratch, &text, &list));
        }
        if (kind == MC_PATH_EXACT) {
            if (exact == NULL && (exact = mc_compile_map(c)) == NULL) {
                return MC_ENOMEM;
            }
            half->exact = exact;
            MC_TRY(mc_map_put(exact, text, list));
            continue;
        }
        if (*key_count == 0 || !mc_slice_eq(keys[*key_count - 1].text, text)) {
            keys[(*key_count)++] = (trie_key){.text = text};
        }
        trie_key *key = &keys[*key_count - 1];
        switch (kind) {
        case MC_PATH_PREFIX: key->prefix = list; break;
        case MC_PATH_SEPARATED_PREFIX: key->separated = list; break;
        default: key->late = late; break;
        }
    }
    return MC_OK;
}

static mc_status build_half(mc_compile *c, const mc_path_item *items, size_t count, mc_candidate *scratch,
                            mc_path_half *half) {
    trie_key *keys = mc_malloc((count + 1) * sizeof *keys);
    size_t key_count = 0;
    if (keys == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = build_lists(c, items, count, scratch, half, keys, &key_count);
    if (status == MC_OK && key_count > 0) {
        status = build_trie(c, keys, key_count, half);
    }
    mc_free(keys);
    return status;
}

/* --- visiting, both to find and to build --- */

typedef mc_status (*mc_visit)(void *ctx, const mc_candidates *list);

/* The child whose label starts with `head`, or NULL. */
static const mc_trie_node *find_child(const mc_trie_node *nodes, const mc_trie_node *node, char head) {
    size_t here = node->child_count < MC_TRIE_HEADS ? node->child_count : MC_TRIE_HEADS;
    const char *found = memchr(node->heads, head, here);
    if (found != NULL) {
        return &nodes[node->first_child + (size_t)(found - node->heads)];
    }
    for (size_t i = here; i < node->child_count; i++) {
        const mc_trie_node *child = &nodes[node->first_child + i];
        if (child->head == head) {
            return child;
        }
    }
    return NULL;
}

/* Calls `visit` for every list whose prefix the path has. */
static inline mc_status visit_prefixes(const mc_trie_node *nodes, mc_slice path, mc_visit visit, void *ctx) {
    const mc_trie_node *node = nodes;
    const char *at = path.p, *end = path.p + path.n;
    for (;;) {
        if (node->prefix != NULL) {
            MC_TRY(visit(ctx, node->prefix));
        }
        if (node->separated != NULL && (at == end || *at == '/')) {
            MC_TRY(visit(ctx, node->separated));
        }
        if (node->late != NULL) {
            MC_TRY(visit(ctx, node->late));
        }
        if (at == end || node->child_count == 0 || (node = find_child(nodes, node, *at)) == NULL) {
            return MC_OK;
        }
        size_t n = node->label_n;
        if ((size_t)(end - at) < n || (n > 1 && memcmp(at + 1, node->label, n - 1) != 0)) {
            return MC_OK;
        }
        at += n;
    }
}

/* Calls `visit` for every list that the path leads to but the exact one of `cased`. */
static inline mc_status visit_others(const mc_path_index *index, mc_slice path, mc_arena *arena, mc_visit visit,
                                     void *ctx) {
    const mc_candidates *exact;
    if (index->cased.nodes != NULL) {
        MC_TRY(visit_prefixes(index->cased.nodes, path, visit, ctx));
    }
    if (index->any != NULL) {
        MC_TRY(visit(ctx, index->any));
    }
    if (index->folded.exact == NULL && index->folded.nodes == NULL) {
        return MC_OK;
    }
    mc_slice lower;
    MC_TRY(mc_dup_lower(arena, path, &lower));
    if (index->folded.exact != NULL && (exact = mc_map_get(index->folded.exact, lower)) != NULL) {
        MC_TRY(visit(ctx, exact));
    }
    return index->folded.nodes == NULL ? MC_OK : visit_prefixes(index->folded.nodes, lower, visit, ctx);
}

static mc_status lower_first(void *ctx, const mc_candidates *list) {
    uint32_t *first = ctx;
    *first = list->first < *first ? list->first : *first;
    return MC_OK;
}

/* An exact path whose first route has no further condition and precedes all that the path leads to otherwise needs no look at
 * the rest. */
static mc_status mark_deciding(const mc_path_index *index) {
    size_t at = 0;
    mc_slice path;
    void *value;
    while (index->cased.exact != NULL && mc_map_next(index->cased.exact, &at, &path, &value)) {
        mc_candidates *list = value;
        uint32_t others = UINT32_MAX;
        mc_arena arena;
        mc_arena_init(&arena, NULL);
        mc_status status = visit_others(index, path, &arena, lower_first, &others);
        mc_arena_fini(&arena);
        MC_TRY(status);
        list->decides = list->splits == NULL && list->items[0].matcher_count == 0 && !list->items[0].may_fail &&
                        list->first < others;
    }
    return MC_OK;
}

static mc_status build_any(mc_compile *c, const mc_path_item *items, size_t count, mc_candidate *scratch,
                           const mc_candidates **out) {
    mc_candidates *list;
    mc_slice none = MC_SLICE_NONE;
    if (count == 0) {
        return MC_OK;
    }
    for (size_t i = 0; i < count; i++) {
        scratch[i] = items[i].candidate;
    }
    MC_TRY(mc_candidates_build(c, scratch, count, &none, &list));
    *out = list;
    return MC_OK;
}

static mc_status build_all(mc_compile *c, mc_path_item *items, size_t count, mc_candidate *scratch,
                           mc_path_index *out) {
    size_t cased = 0, any;
    for (size_t i = 0; i < count; i++) {
        items[i].key = key_of(&items[i].pattern);
    }
    /* Only what has case is compiled with fold: all that has it stands behind all that has not. */
    qsort(items, count, sizeof *items, compare_items);
    while (cased < count && !items[cased].pattern.fold && items[cased].pattern.kind != MC_PATH_ANY) {
        cased++;
    }
    for (any = cased; any < count && items[any].pattern.kind == MC_PATH_ANY; any++) {
    }
    MC_TRY(build_half(c, items, cased, scratch, &out->cased));
    MC_TRY(build_any(c, items + cased, any - cased, scratch, &out->any));
    return build_half(c, items + any, count - any, scratch, &out->folded);
}

mc_status mc_path_index_build(mc_compile *c, mc_path_item *items, size_t count, mc_path_index *out) {
    *out = (mc_path_index){.any = NULL};
    if (count == 0) {
        return MC_OK;
    }
    mc_candidate *scratch = mc_malloc(count * sizeof *scratch);
    if (scratch == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = build_all(c, items, count, scratch, out);
    mc_free(scratch);
    return status == MC_OK ? mark_deciding(out) : status;
}

/* --- finding --- */

static mc_status add_to_walk(void *walk, const mc_candidates *list) { return mc_walk_add(walk, list); }

mc_status mc_path_index_find(const mc_path_index *index, const mc_match_input *in, mc_walk *walk) {
    if (in->path.p == NULL) {
        return mc_walk_add(walk, index->any);
    }
    const mc_candidates *exact = index->cased.exact == NULL ? NULL : mc_map_get(index->cased.exact, in->path);
    MC_TRY(mc_walk_add(walk, exact));
    if (exact != NULL && exact->decides) {
        return MC_OK;
    }
    return visit_others(index, in->path, in->request->arena, add_to_walk, walk);
}

mc_status mc_path_index_find_late(const mc_candidate *late, const mc_match_input *in, mc_walk *walk) {
    const mc_path_expressions *expressions = (const mc_path_expressions *)late->matchers;
    mc_slice path = expressions->whole ? in->whole : in->path;
    const uint32_t *found;
    uint32_t count;
    if (expressions->set == NULL) {
        int holds = test_expression(expressions->literal, expressions->rest, path);
        return holds == 1 ? mc_walk_add(walk, expressions->list) : holds;
    }
    MC_TRY(mc_regex_set_match(expressions->set, path, in->request->arena, &found, &count));
    for (uint32_t i = 0; i < count; i++) {
        MC_TRY(mc_walk_add(walk, expressions->lists[found[i]]));
    }
    return MC_OK;
}
