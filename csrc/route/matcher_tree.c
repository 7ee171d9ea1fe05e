#include "route/matcher_tree.h"

#include <stdlib.h>

#include "base/cidr.h"
#include "base/read.h"
#include "route/matcher_input.h"
#include "route/matcher_predicate.h"

typedef struct on_match {
    const mc_matcher_tree *tree; /* NULL: `action` */
    const void *action;          /* NULL and no tree: there is nothing */
} on_match;

typedef struct list_entry {
    const mc_tree_predicate *predicate;
    on_match on_match;
} list_entry;

typedef struct map_entry {
    mc_slice key;
    on_match on_match;
} map_entry;

/* What a custom_match leads to by range of addresses or by domain. The entries that hold are asked in their order. */
typedef struct custom_entry {
    mc_cidr range;
    bool exclusive;  /* of no use behind another range that holds */
    mc_slice domain; /* of a wildcard what follows '*' */
    bool wildcard;
    uint32_t order;
    on_match on_match;
} custom_entry;

struct mc_matcher_tree {
    const list_entry *list; /* NULL: a map */
    mc_tree_input input;
    const map_entry *entries; /* of a map; a prefix map's longest first */
    bool by_prefix;
    const custom_entry *customs; /* of a custom_match, the narrowest first; NULL: none */
    bool by_ip;
    uint32_t count;
    on_match otherwise;
};

/* --- compiling --- */

typedef struct builder {
    mc_arena *arena;
    const mc_tree_actions *actions;
    bool *reads_info;
    mc_error *error;
} builder;

static mc_status compile_tree(builder *b, const mc_value *value, const mc_matcher_tree **out);

static mc_status compile_on_match(builder *b, const mc_value *value, on_match *out) {
    const mc_value *sub;
    bool keep = false;
    MC_TRY(mc_value_read_bool(value, "keep_matching", &keep, b->error));
    if (keep) {
        return mc_error_set(b->error, MC_EINVAL, "keep_matching", "is not supported here: one action is looked for");
    }
    MC_TRY(mc_value_read_object(value, "matcher", &sub, b->error));
    if (sub != NULL) {
        return mc_error_in(compile_tree(b, sub, &out->tree), b->error, "matcher");
    }
    MC_TRY(mc_value_read_object(value, "action", &sub, b->error));
    if (sub == NULL) {
        return mc_error_set(b->error, MC_EINVAL, "", "must have one of matcher, action");
    }
    return mc_error_in(b->actions->compile(b->actions->ctx, sub, &out->action, b->error), b->error, "action");
}

static mc_status compile_list(builder *b, const mc_value *list, mc_matcher_tree *out) {
    const mc_value *items, *sub;
    size_t count;
    MC_TRY(mc_value_read_list(list, "matchers", &items, &count, b->error));
    if (count == 0) {
        return mc_error_set(b->error, MC_EINVAL, "matchers", "must have at least one entry");
    }
    list_entry *entries = mc_arena_zalloc(b->arena, count * sizeof *entries);
    if (entries == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mc_status status = mc_value_read_object(&items[i], "predicate", &sub, b->error);
        if (status == MC_OK) {
            status =
                mc_error_in(mc_tree_predicate_compile(b->arena, sub, &entries[i].predicate, b->reads_info, b->error),
                            b->error, "predicate");
        }
        if (status == MC_OK) {
            status = mc_error_in(compile_on_match(b, mc_value_get(&items[i], "on_match"), &entries[i].on_match),
                                 b->error, "on_match");
        }
        MC_TRY(mc_error_in(status, b->error, "matchers[%zu]", i));
    }
    out->list = entries;
    out->count = (uint32_t)count;
    return MC_OK;
}

/* Longest keys first; otherwise the order is of no meaning. */
static void insert_entry(map_entry *entries, size_t count, map_entry entry) {
    size_t at = count;
    while (at > 0 && entries[at - 1].key.n < entry.key.n) {
        entries[at] = entries[at - 1];
        at--;
    }
    entries[at] = entry;
}

static int compare_customs(const void *a, const void *b) {
    const custom_entry *x = a, *y = b;
    if (x->wildcard != y->wildcard) {
        return x->wildcard - y->wildcard;
    }
    if (x->domain.n != y->domain.n) {
        return x->domain.n > y->domain.n ? -1 : 1;
    }
    if (x->range.bits != y->range.bits) {
        return x->range.bits > y->range.bits ? -1 : 1;
    }
    return x->order < y->order ? -1 : 1;
}

/* "a.b", "*.b" or "*"; none twice. */
static mc_status read_domain(builder *b, const mc_value *value, const custom_entry *others, uint32_t count,
                             custom_entry *out) {
    if (value->kind != MC_STRING || value->string.n == 0) {
        return mc_error_set(b->error, MC_EINVAL, "", "must be a domain");
    }
    MC_TRY(mc_arena_dup(b->arena, value->string, &out->domain));
    out->wildcard = out->domain.p[0] == '*';
    out->domain = mc_slice_from(out->domain, out->wildcard);
    if (mc_slice_find(out->domain, '*') < out->domain.n ||
        (out->wildcard && out->domain.n > 0 && (out->domain.p[0] != '.' || out->domain.n == 1))) {
        return mc_error_set(b->error, MC_EINVAL, "", "has a wildcard that is neither \"*\" nor a \"*.\" at its start");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (others[i].wildcard == out->wildcard && mc_slice_eq(others[i].domain, out->domain)) {
            return mc_error_set(b->error, MC_EINVAL, "", "is there already");
        }
    }
    return MC_OK;
}

/* The ranges or domains of one field matcher, all with its on_match. */
static mc_status read_customs(builder *b, const mc_value *value, bool by_ip, custom_entry *all, uint32_t *used) {
    const char *field = by_ip ? "ranges" : "domains";
    const mc_value *items, *sub;
    custom_entry entry = {.exclusive = false};
    size_t count;
    MC_TRY(mc_value_read_list(value, field, &items, &count, b->error));
    if (count == 0) {
        return mc_error_set(b->error, MC_EINVAL, field, "must have at least one entry");
    }
    MC_TRY(mc_value_read_bool(value, "exclusive", &entry.exclusive, b->error));
    MC_TRY(mc_value_read_object(value, "on_match", &sub, b->error));
    MC_TRY(mc_error_in(compile_on_match(b, sub, &entry.on_match), b->error, "on_match"));
    for (size_t i = 0; i < count; i++) {
        mc_status status =
            by_ip ? mc_cidr_read(&items[i], &entry.range, b->error) : read_domain(b, &items[i], all, *used, &entry);
        MC_TRY(mc_error_in(status, b->error, "%s[%zu]", field, i));
        entry.order = *used;
        all[(*used)++] = entry;
    }
    return MC_OK;
}

static mc_status compile_customs(builder *b, const mc_value *config, bool by_ip, mc_matcher_tree *out) {
    const char *field = by_ip ? "range_matchers" : "domain_matchers";
    const mc_value *items;
    size_t count, total = 0;
    MC_TRY(mc_value_read_list(config, field, &items, &count, b->error));
    for (size_t i = 0; i < count; i++) {
        const mc_value *list = mc_value_get(&items[i], by_ip ? "ranges" : "domains");
        total += list == NULL ? 0 : list->count;
    }
    custom_entry *entries = mc_arena_zalloc(b->arena, (total + 1) * sizeof *entries);
    if (entries == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_customs(b, &items[i], by_ip, entries, &out->count), b->error, "%s[%zu]", field, i));
    }
    if (out->count > 0) {
        qsort(entries, out->count, sizeof *entries, compare_customs);
    }
    out->customs = entries;
    out->by_ip = by_ip;
    return MC_OK;
}

static mc_status compile_custom_tree(builder *b, const mc_value *custom, mc_matcher_tree *out) {
    static const mc_name_value types[] = {
        {"xds.type.matcher.v3.ServerNameMatcher", 0}, {"xds.type.matcher.v3.IPMatcher", 1}, {NULL, 0}};
    const mc_value *config;
    uint64_t by_ip;
    MC_TRY(mc_read_extension(custom, "typed_config", types, &config, &by_ip, b->error));
    return mc_error_in(compile_customs(b, config, by_ip == 1, out), b->error, "typed_config");
}

static mc_status compile_map(builder *b, const mc_value *tree, mc_matcher_tree *out) {
    static const char *const fields[] = {"exact_match_map", "prefix_match_map"};
    const mc_value *input, *sub = NULL, *map;
    MC_TRY(mc_value_read_object(tree, "input", &input, b->error));
    MC_TRY(
        mc_error_in(mc_tree_input_compile(b->arena, input, &out->input, b->reads_info, b->error), b->error, "input"));
    if (out->input.kind == MC_INPUT_ATTRIBUTES) {
        return mc_error_set(b->error, MC_EINVAL, "input", "must be one of text");
    }
    int form = 0;
    for (; form < 2 && sub == NULL; form++) {
        MC_TRY(mc_value_read_object(tree, fields[form], &sub, b->error));
    }
    if (sub == NULL) {
        MC_TRY(mc_value_read_object(tree, "custom_match", &sub, b->error));
        return sub != NULL ? mc_error_in(compile_custom_tree(b, sub, out), b->error, "custom_match")
                           : mc_error_set(b->error, MC_EINVAL, "",
                                          "must have one of exact_match_map, prefix_match_map, custom_match");
    }
    form--;
    out->by_prefix = form == 1;
    MC_TRY(mc_error_in(mc_value_read_object(sub, "map", &map, b->error), b->error, "%s", fields[form]));
    if (map == NULL || map->count == 0) {
        return mc_error_in(mc_error_set(b->error, MC_EINVAL, "map", "must have at least one entry"), b->error, "%s",
                           fields[form]);
    }
    map_entry *entries = mc_arena_zalloc(b->arena, map->count * sizeof *entries);
    if (entries == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < map->count; i++) {
        map_entry entry = {.key = MC_SLICE("")};
        MC_TRY(mc_error_in(compile_on_match(b, &map->items[i], &entry.on_match), b->error, "%s.map.%.*s", fields[form],
                           MC_SLICE_ARG(map->names[i])));
        MC_TRY(mc_arena_dup(b->arena, map->names[i], &entry.key));
        insert_entry(entries, i, entry);
    }
    out->entries = entries;
    out->count = (uint32_t)map->count;
    return MC_OK;
}

static mc_status compile_tree(builder *b, const mc_value *value, const mc_matcher_tree **out) {
    const mc_value *sub;
    mc_matcher_tree *tree = mc_arena_zalloc(b->arena, sizeof *tree);
    if (tree == NULL) {
        return MC_ENOMEM;
    }
    *out = tree;
    MC_TRY(mc_value_read_object(value, "on_no_match", &sub, b->error));
    if (sub != NULL) {
        MC_TRY(mc_error_in(compile_on_match(b, sub, &tree->otherwise), b->error, "on_no_match"));
    }
    MC_TRY(mc_value_read_object(value, "matcher_list", &sub, b->error));
    if (sub != NULL) {
        return mc_error_in(compile_list(b, sub, tree), b->error, "matcher_list");
    }
    MC_TRY(mc_value_read_object(value, "matcher_tree", &sub, b->error));
    if (sub != NULL) {
        return mc_error_in(compile_map(b, sub, tree), b->error, "matcher_tree");
    }
    return MC_OK; /* only on_no_match */
}

mc_status mc_matcher_tree_compile(mc_arena *arena, const mc_value *matcher, const mc_tree_actions *actions,
                                  const mc_matcher_tree **out, bool *reads_info, mc_error *error) {
    builder b = {arena, actions, reads_info, error};
    return compile_tree(&b, matcher, out);
}

/* --- finding --- */

static mc_status follow(const on_match *on_match, const mc_match_input *in, const void **action) {
    if (on_match->tree != NULL) {
        MC_TRY(mc_matcher_tree_find(on_match->tree, in, action));
    } else {
        *action = on_match->action;
    }
    return MC_OK;
}

static mc_status find_in_list(const mc_matcher_tree *tree, const mc_match_input *in, const void **action) {
    for (uint32_t i = 0; i < tree->count && *action == NULL; i++) {
        int holds = mc_tree_predicate_holds(tree->list[i].predicate, in);
        if (holds < 0) {
            return holds;
        }
        if (holds == 1) {
            MC_TRY(follow(&tree->list[i].on_match, in, action));
        }
    }
    return MC_OK;
}

static mc_status find_in_map(const mc_matcher_tree *tree, const mc_match_input *in, const void **action) {
    mc_slice text;
    MC_TRY(mc_tree_input_text(&tree->input, in, &text));
    for (uint32_t i = 0; text.p != NULL && i < tree->count && *action == NULL; i++) {
        mc_slice key = tree->entries[i].key;
        if (tree->by_prefix ? mc_slice_has_prefix(text, key) : mc_slice_eq(text, key)) {
            MC_TRY(follow(&tree->entries[i].on_match, in, action));
        }
    }
    return MC_OK;
}

static bool custom_holds(const mc_matcher_tree *tree, const custom_entry *entry, mc_slice domain,
                         const mc_address *address) {
    if (tree->by_ip) {
        return mc_cidrs_contain(&(mc_cidrs){&entry->range, 1}, address);
    }
    return entry->wildcard ? mc_slice_has_suffix(domain, entry->domain) : mc_slice_eq(domain, entry->domain);
}

static mc_status find_in_customs(const mc_matcher_tree *tree, const mc_match_input *in, const void **action) {
    mc_slice text;
    mc_address address;
    bool narrower = false;
    MC_TRY(mc_tree_input_text(&tree->input, in, &text));
    if (text.n == 0 || (tree->by_ip && mc_address_parse(&address, text, 0) != MC_OK)) {
        return MC_OK;
    }
    for (uint32_t i = 0; i < tree->count && *action == NULL; i++) {
        const custom_entry *entry = &tree->customs[i];
        if (!custom_holds(tree, entry, text, &address) || (narrower && entry->exclusive)) {
            continue;
        }
        narrower = true;
        MC_TRY(follow(&entry->on_match, in, action));
    }
    return MC_OK;
}

mc_status mc_matcher_tree_find(const mc_matcher_tree *tree, const mc_match_input *in, const void **action) {
    *action = NULL;
    MC_TRY(tree->list != NULL      ? find_in_list(tree, in, action)
           : tree->customs != NULL ? find_in_customs(tree, in, action)
                                   : find_in_map(tree, in, action));
    return *action != NULL ? MC_OK : follow(&tree->otherwise, in, action);
}
