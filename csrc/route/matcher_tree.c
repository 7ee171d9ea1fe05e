#include "route/matcher_tree.h"

#include "base/cidr.h"
#include "base/hash.h"
#include "base/read.h"
#include "base/value_edit.h"
#include "route/match_metadata.h"

/* --- inputs --- */

typedef enum input_kind {
    INPUT_HEADER,
    INPUT_QUERY,
    INPUT_DESTINATION_IP,
    INPUT_DESTINATION_PORT,
    INPUT_SOURCE_IP,
    INPUT_SOURCE_PORT,
    INPUT_DIRECT_SOURCE_IP,
    INPUT_SOURCE_TYPE,
    INPUT_SERVER_NAME,
    INPUT_FILTER_STATE,
    INPUT_METADATA,
} input_kind;

#define NETWORK "envoy.extensions.matching.common_inputs.network.v3."
static const mc_name_value inputs[] = {{"envoy.type.matcher.v3.HttpRequestHeaderMatchInput", INPUT_HEADER},
                                       {"envoy.type.matcher.v3.HttpRequestQueryParamMatchInput", INPUT_QUERY},
                                       {NETWORK "DestinationIPInput", INPUT_DESTINATION_IP},
                                       {NETWORK "DestinationPortInput", INPUT_DESTINATION_PORT},
                                       {NETWORK "SourceIPInput", INPUT_SOURCE_IP},
                                       {NETWORK "SourcePortInput", INPUT_SOURCE_PORT},
                                       {NETWORK "DirectSourceIPInput", INPUT_DIRECT_SOURCE_IP},
                                       {NETWORK "SourceTypeInput", INPUT_SOURCE_TYPE},
                                       {NETWORK "ServerNameInput", INPUT_SERVER_NAME},
                                       {NETWORK "FilterStateInput", INPUT_FILTER_STATE},
                                       {NETWORK "DynamicMetadataInput", INPUT_METADATA},
                                       {NULL, 0}};

typedef struct tree_input {
    input_kind kind;
    mc_slice name; /* header (lower-case), parameter, key */
    mc_metadata_place place;
} tree_input;

static mc_status compile_input(mc_arena *arena, const mc_value *value, tree_input *out, bool *reads_info,
                               mc_error *error) {
    const mc_value *config;
    uint64_t kind;
    mc_status status = MC_OK;
    MC_TRY(mc_read_extension(value, "typed_config", inputs, &config, &kind, error));
    out->kind = (input_kind)kind;
    *reads_info = *reads_info || kind >= INPUT_DIRECT_SOURCE_IP;
    switch (out->kind) {
    case INPUT_HEADER:
        status = mc_read_name(arena, config, "header_name", &out->name, error);
        if (status == MC_OK) {
            status = mc_dup_lower(arena, out->name, &out->name);
        }
        break;
    case INPUT_QUERY: status = mc_read_name(arena, config, "query_param", &out->name, error); break;
    case INPUT_FILTER_STATE: status = mc_read_name(arena, config, "key", &out->name, error); break;
    case INPUT_METADATA: status = mc_metadata_place_read(arena, config, "filter", &out->place, error); break;
    default: break;
    }
    return mc_error_in(status, error, "typed_config");
}

static mc_status ip_text(const mc_match_input *in, const mc_address *address, bool port, mc_slice *out) {
    char text[MC_ADDRESS_TEXT];
    if (address == NULL || address->length == 0) {
        return MC_OK;
    }
    size_t n = port ? mc_format_u64(text, mc_address_port(address)) : mc_address_ip(address, text);
    return mc_arena_dup(in->request->arena, mc_slice_of(text, n), out);
}

static const mc_value *metadata_of(const tree_input *input, const mc_match_input *in) {
    return in->request->info == NULL ? NULL : mc_metadata_find(in->request->info->dynamic_metadata, &input->place);
}

/* The input as text; p == NULL: there is none. */
static mc_status input_text(const tree_input *input, const mc_match_input *in, mc_slice *out) {
    const mc_route_request *request = in->request;
    const mc_stream_info *info = request->info;
    const mc_value *value;
    *out = MC_SLICE_NONE;
    switch (input->kind) {
    case INPUT_HEADER: return mc_headers_joined(request->headers, input->name, request->arena, out);
    case INPUT_QUERY:
        return mc_query_get(in->query, input->name, out) ? mc_percent_decode(*out, request->arena, out) : MC_OK;
    case INPUT_DESTINATION_IP: return ip_text(in, request->local, false, out);
    case INPUT_DESTINATION_PORT: return ip_text(in, request->local, true, out);
    case INPUT_SOURCE_IP: return ip_text(in, request->remote, false, out);
    case INPUT_SOURCE_PORT: return ip_text(in, request->remote, true, out);
    case INPUT_DIRECT_SOURCE_IP: return ip_text(in, info == NULL ? NULL : info->downstream_direct_remote, false, out);
    case INPUT_SOURCE_TYPE:
        if (request->remote != NULL && mc_address_is_loopback(request->remote)) {
            *out = MC_SLICE("local");
        }
        return MC_OK;
    case INPUT_SERVER_NAME:
        if (info != NULL && info->requested_server_name.n > 0) {
            *out = info->requested_server_name;
        }
        return MC_OK;
    case INPUT_FILTER_STATE: value = info == NULL ? NULL : mc_value_find(info->filter_state, input->name); break;
    default: value = metadata_of(input, in); break;
    }
    if (value != NULL && value->kind == MC_STRING) {
        *out = value->string;
    }
    return MC_OK;
}

/* --- conditions on inputs --- */

typedef enum check_kind { CHECK_STRING, CHECK_IP, CHECK_METADATA, CHECK_FRACTION, CHECK_HASH } check_kind;

typedef struct check {
    check_kind kind;
    mc_string_match string;
    mc_cidrs ranges;
    mc_value_match value; /* CHECK_METADATA */
    bool invert;
    mc_fraction fraction;
    uint64_t seed;
    uint32_t threshold, modulo; /* CHECK_HASH: hash % modulo >= threshold */
} check;

static mc_status compile_custom(mc_arena *arena, const mc_value *value, check *out, mc_error *error) {
    static const mc_name_value types[] = {
        {"envoy.extensions.matching.input_matchers.ip.v3.Ip", CHECK_IP},
        {"envoy.extensions.matching.input_matchers.metadata.v3.Metadata", CHECK_METADATA},
        {"envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction", CHECK_FRACTION},
        {"envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing", CHECK_HASH},
        {NULL, 0}};
    const mc_value *config, *sub;
    uint64_t kind;
    MC_TRY(mc_read_extension(value, "typed_config", types, &config, &kind, error));
    out->kind = (check_kind)kind;
    switch (out->kind) {
    case CHECK_IP: return mc_cidrs_read(arena, config, "cidr_ranges", &out->ranges, error);
    case CHECK_METADATA:
        MC_TRY(mc_value_read_object(config, "value", &sub, error));
        MC_TRY(mc_value_read_bool(config, "invert", &out->invert, error));
        return mc_error_in(mc_value_match_compile(arena, sub, &out->value, error), error, "value");
    case CHECK_FRACTION:
        out->fraction = MC_FRACTION_ALL;
        MC_TRY(mc_fraction_read(arena, config, "runtime_fraction", &out->fraction, error));
        return mc_value_read_u64(config, "seed", &out->seed, error);
    default:
        MC_TRY(mc_value_read_u32(config, "threshold", &out->threshold, error));
        MC_TRY(mc_value_read_u32(config, "modulo", &out->modulo, error));
        MC_TRY(mc_value_read_u64(config, "seed", &out->seed, error));
        return out->modulo > 0 ? MC_OK : mc_error_set(error, MC_EINVAL, "modulo", "must be greater than 0");
    }
}

static int check_holds(const check *check, const tree_input *input, const mc_match_input *in) {
    mc_slice text;
    mc_address address;
    if (check->kind == CHECK_METADATA) {
        int holds = mc_value_match_test(&check->value, metadata_of(input, in));
        return holds < 0 ? holds : holds != check->invert;
    }
    MC_TRY(input_text(input, in, &text));
    if (text.p == NULL) {
        return 0;
    }
    switch (check->kind) {
    case CHECK_STRING: return mc_string_match_test(&check->string, text);
    case CHECK_IP: return mc_address_parse(&address, text, 0) == MC_OK && mc_cidrs_contain(&check->ranges, &address);
    case CHECK_FRACTION:
        return mc_fraction_holds(&check->fraction, in->request->runtime, mc_xxh64(text.p, text.n, check->seed));
    default: return mc_xxh64(text.p, text.n, check->seed) % check->modulo >= check->threshold;
    }
}

/* --- predicates --- */

typedef enum predicate_kind { PREDICATE_SINGLE, PREDICATE_OR, PREDICATE_AND, PREDICATE_NOT } predicate_kind;

typedef struct predicate {
    predicate_kind kind;
    tree_input input;
    check check;
    const struct predicate *items;
    uint32_t count;
} predicate;

typedef struct builder {
    mc_arena *arena;
    const mc_tree_actions *actions;
    bool *reads_info;
    mc_error *error;
} builder;

static mc_status compile_single(builder *b, const mc_value *value, predicate *out) {
    const mc_value *input, *sub;
    MC_TRY(mc_value_read_object(value, "input", &input, b->error));
    MC_TRY(mc_error_in(compile_input(b->arena, input, &out->input, b->reads_info, b->error), b->error, "input"));
    MC_TRY(mc_value_read_object(value, "value_match", &sub, b->error));
    if (sub != NULL) {
        out->check.kind = CHECK_STRING;
        return mc_error_in(mc_string_match_compile(b->arena, sub, &out->check.string, b->error), b->error,
                           "value_match");
    }
    MC_TRY(mc_value_read_object(value, "custom_match", &sub, b->error));
    if (sub == NULL) {
        return mc_error_set(b->error, MC_EINVAL, "", "must have one of value_match, custom_match");
    }
    return mc_error_in(compile_custom(b->arena, sub, &out->check, b->error), b->error, "custom_match");
}

static mc_status compile_predicate(builder *b, const mc_value *value, predicate *out);

static mc_status compile_predicates(builder *b, const mc_value *list, predicate *out) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(list, "predicate", &items, &count, b->error));
    if (count < 2) {
        return mc_error_set(b->error, MC_EINVAL, "predicate", "must have at least two entries");
    }
    predicate *made = mc_arena_zalloc(b->arena, count * sizeof *made);
    if (made == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_predicate(b, &items[i], &made[i]), b->error, "predicate[%zu]", i));
    }
    out->items = made;
    out->count = (uint32_t)count;
    return MC_OK;
}

static mc_status compile_predicate(builder *b, const mc_value *value, predicate *out) {
    static const struct {
        const char *field;
        predicate_kind kind;
    } lists[] = {{"or_matcher", PREDICATE_OR}, {"and_matcher", PREDICATE_AND}};
    const mc_value *sub;
    MC_TRY(mc_value_read_object(value, "single_predicate", &sub, b->error));
    if (sub != NULL) {
        out->kind = PREDICATE_SINGLE;
        return mc_error_in(compile_single(b, sub, out), b->error, "single_predicate");
    }
    for (int i = 0; i < 2; i++) {
        MC_TRY(mc_value_read_object(value, lists[i].field, &sub, b->error));
        if (sub != NULL) {
            out->kind = lists[i].kind;
            return mc_error_in(compile_predicates(b, sub, out), b->error, "%s", lists[i].field);
        }
    }
    MC_TRY(mc_value_read_object(value, "not_matcher", &sub, b->error));
    if (sub == NULL) {
        return mc_error_set(b->error, MC_EINVAL, "",
                            "must have one of single_predicate, or_matcher, and_matcher, not_matcher");
    }
    predicate *inner = mc_arena_zalloc(b->arena, sizeof *inner);
    if (inner == NULL) {
        return MC_ENOMEM;
    }
    out->kind = PREDICATE_NOT;
    out->items = inner;
    out->count = 1;
    return mc_error_in(compile_predicate(b, sub, inner), b->error, "not_matcher");
}

static int predicate_holds(const predicate *predicate, const mc_match_input *in) {
    int holds;
    switch (predicate->kind) {
    case PREDICATE_SINGLE: return check_holds(&predicate->check, &predicate->input, in);
    case PREDICATE_NOT: holds = predicate_holds(predicate->items, in); return holds < 0 ? holds : !holds;
    default: break;
    }
    const int enough = predicate->kind == PREDICATE_OR;
    for (uint32_t i = 0; i < predicate->count; i++) {
        holds = predicate_holds(&predicate->items[i], in);
        if (holds < 0 || holds == enough) {
            return holds;
        }
    }
    return !enough;
}

/* --- trees --- */

typedef struct on_match {
    const mc_matcher_tree *tree; /* NULL: `action` */
    const void *action;          /* NULL and no tree: there is nothing */
    bool keep_matching;
} on_match;

typedef struct map_entry {
    mc_slice key;
    on_match on_match;
} map_entry;

struct mc_matcher_tree {
    const predicate *predicates; /* with on_matches; NULL: a map */
    const on_match *on_matches;
    tree_input input;
    const map_entry *entries; /* of a map; a prefix map's longest first */
    bool by_prefix;
    uint32_t count;
    on_match otherwise;
};

static mc_status compile_tree(builder *b, const mc_value *value, const mc_matcher_tree **out);

static mc_status compile_on_match(builder *b, const mc_value *value, on_match *out) {
    const mc_value *sub;
    MC_TRY(mc_value_read_bool(value, "keep_matching", &out->keep_matching, b->error));
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
    predicate *predicates = mc_arena_zalloc(b->arena, count * sizeof *predicates);
    on_match *on_matches = mc_arena_zalloc(b->arena, count * sizeof *on_matches);
    if (predicates == NULL || on_matches == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mc_status status = mc_value_read_object(&items[i], "predicate", &sub, b->error);
        if (status == MC_OK) {
            status = mc_error_in(compile_predicate(b, sub, &predicates[i]), b->error, "predicate");
        }
        if (status == MC_OK) {
            status = mc_error_in(compile_on_match(b, mc_value_get(&items[i], "on_match"), &on_matches[i]), b->error,
                                 "on_match");
        }
        MC_TRY(mc_error_in(status, b->error, "matchers[%zu]", i));
    }
    out->predicates = predicates;
    out->on_matches = on_matches;
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

static mc_status compile_map(builder *b, const mc_value *tree, mc_matcher_tree *out) {
    static const char *const fields[] = {"exact_match_map", "prefix_match_map"};
    const mc_value *input, *sub = NULL, *map;
    MC_TRY(mc_value_read_object(tree, "input", &input, b->error));
    MC_TRY(mc_error_in(compile_input(b->arena, input, &out->input, b->reads_info, b->error), b->error, "input"));
    int form = 0;
    for (; form < 2 && sub == NULL; form++) {
        MC_TRY(mc_value_read_object(tree, fields[form], &sub, b->error));
    }
    if (sub == NULL) {
        return mc_error_set(b->error, MC_EINVAL, mc_value_get(tree, "custom_match") != NULL ? "custom_match" : "",
                            "must be one of exact_match_map, prefix_match_map");
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

static mc_status follow(const on_match *on_match, const mc_match_input *in, const void **action) {
    if (on_match->tree != NULL) {
        MC_TRY(mc_matcher_tree_find(on_match->tree, in, action));
    } else {
        *action = on_match->action;
    }
    if (on_match->keep_matching) {
        *action = NULL;
    }
    return MC_OK;
}

static mc_status find_in_list(const mc_matcher_tree *tree, const mc_match_input *in, const void **action) {
    for (uint32_t i = 0; i < tree->count && *action == NULL; i++) {
        int holds = predicate_holds(&tree->predicates[i], in);
        if (holds < 0) {
            return holds;
        }
        if (holds == 1) {
            MC_TRY(follow(&tree->on_matches[i], in, action));
        }
    }
    return MC_OK;
}

static mc_status find_in_map(const mc_matcher_tree *tree, const mc_match_input *in, const void **action) {
    mc_slice text;
    MC_TRY(input_text(&tree->input, in, &text));
    for (uint32_t i = 0; text.p != NULL && i < tree->count && *action == NULL; i++) {
        mc_slice key = tree->entries[i].key;
        if (tree->by_prefix ? mc_slice_has_prefix(text, key) : mc_slice_eq(text, key)) {
            MC_TRY(follow(&tree->entries[i].on_match, in, action));
        }
    }
    return MC_OK;
}

mc_status mc_matcher_tree_find(const mc_matcher_tree *tree, const mc_match_input *in, const void **action) {
    *action = NULL;
    MC_TRY(tree->predicates != NULL ? find_in_list(tree, in, action) : find_in_map(tree, in, action));
    return *action != NULL ? MC_OK : follow(&tree->otherwise, in, action);
}
