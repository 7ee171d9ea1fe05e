#include "route/mutation_list.h"

#include "base/read.h"
#include "route/matcher.h"

struct mc_mutation {
    enum { REMOVE, APPEND, REMOVE_MATCHING } kind;
    mc_slice name; /* REMOVE: lower-case */
    mc_header_addition addition;
    mc_header_mutations append; /* of that one addition */
    mc_string_match matching;   /* names */
};

static mc_status remove_matching(const mc_mutation *mutation, mc_headers *headers) {
    for (uint32_t i = 0; i < headers->count; i++) {
        if (!headers->items[i].removed) {
            int matches = mc_string_match_test(&mutation->matching, headers->items[i].name);
            if (matches == 1) {
                mc_headers_remove_at(headers, i);
            } else if (matches < 0) {
                return (mc_status)matches;
            }
        }
    }
    return MC_OK;
}

mc_status mc_mutation_list_apply(const mc_mutation_list *list, mc_headers *headers, const mc_stream_info *info) {
    for (uint32_t i = 0; i < list->count; i++) {
        const mc_mutation *mutation = &list->items[i];
        switch (mutation->kind) {
        case REMOVE: mc_headers_remove(headers, mutation->name); break;
        case REMOVE_MATCHING: MC_TRY(remove_matching(mutation, headers)); break;
        case APPEND: MC_TRY(mc_header_mutations_apply(&mutation->append, headers, info)); break;
        }
    }
    return MC_OK;
}

static mc_status read_mutation(mc_arena *arena, const mc_value *value, mc_mutation *out, mc_error *error) {
    const mc_value *append, *matching, *names;
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "remove", &name, error));
    MC_TRY(mc_value_read_object(value, "append", &append, error));
    MC_TRY(mc_value_read_object(value, "remove_on_match", &matching, error));
    if (append != NULL) {
        out->kind = APPEND;
        MC_TRY(mc_error_in(mc_header_option_compile(arena, append, &out->addition, error), error, "append"));
        out->append = (mc_header_mutations){
            .formats = out->addition.format != NULL, .additions = &out->addition, .addition_count = 1};
        return MC_OK;
    }
    if (matching != NULL) {
        out->kind = REMOVE_MATCHING;
        MC_TRY(mc_value_read_object(matching, "key_matcher", &names, error));
        return mc_error_in(mc_string_match_compile(arena, names, &out->matching, error), error,
                           "remove_on_match.key_matcher");
    }
    if (mc_value_get(value, "remove") == NULL) { /* an empty one removes nothing */
        return mc_error_set(error, MC_EINVAL, "", "must have one of remove, append, remove_on_match");
    }
    out->kind = REMOVE;
    return mc_dup_lower(arena, name, &out->name);
}

mc_status mc_mutation_list_compile(mc_arena *arena, const mc_value *object, const char *field, mc_headers_kind kind,
                                   mc_mutation_list *out, mc_error *error) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(object, field, &list, &count, error));
    mc_mutation *items = mc_arena_zalloc(arena, count * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    *out = (mc_mutation_list){.items = items, .count = (uint32_t)count};
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_mutation(arena, &list[i], &items[i], error), error, "%s[%zu]", field, i));
        items[i].append.kind = kind;
        out->formats = out->formats || items[i].append.formats;
    }
    return MC_OK;
}
