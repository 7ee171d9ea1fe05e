#include "route/match_value.h"

#include "route/compile.h"
#include "route/matcher.h"

typedef enum kind { IS_NULL, IS_EXACT, IS_RANGE, IS_STRING, IS_BOOL, IS_PRESENT, HAS_ONE_OF, IS_ANY_OF } kind;

struct mc_value_match {
    kind kind;
    double start, end; /* IS_RANGE: half-open; IS_EXACT: start */
    mc_string_match string;
    bool truth;
    const mc_value_match **items;
    size_t count;
};

static mc_status compile_list(mc_arena *arena, const mc_value *list, size_t count, mc_value_match *match,
                              mc_error *error) {
    match->items = mc_arena_alloc(arena, count * sizeof *match->items);
    if (match->items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_value_match_compile(arena, &list[i], &match->items[i], error), error,
                           "value_matchers[%zu]", i));
    }
    match->count = count;
    return MC_OK;
}

static mc_status compile_double(const mc_value *message, mc_value_match *match, mc_error *error) {
    const mc_value *range;
    MC_TRY(mc_value_read_object(message, "range", &range, error));
    match->kind = range != NULL ? IS_RANGE : IS_EXACT;
    if (range != NULL) {
        MC_TRY(mc_value_read_double(range, "start", &match->start, error));
        return mc_value_read_double(range, "end", &match->end, error);
    }
    return mc_value_read_double(message, "exact", &match->start, error);
}

static mc_status compile_any(mc_arena *arena, const mc_value *message, mc_value_match *match, mc_error *error) {
    const mc_value *sub, *items;
    size_t count;
    MC_TRY(mc_value_read_object(message, "double_match", &sub, error));
    if (sub != NULL) {
        return mc_error_in(compile_double(sub, match, error), error, "double_match");
    }
    MC_TRY(mc_value_read_object(message, "string_match", &sub, error));
    if (sub != NULL) {
        match->kind = IS_STRING;
        return mc_error_in(mc_string_match_compile(arena, sub, &match->string, error), error, "string_match");
    }
    MC_TRY(mc_value_read_object(message, "list_match", &sub, error));
    if (sub != NULL) {
        match->kind = HAS_ONE_OF;
        MC_TRY(mc_value_read_object(sub, "one_of", &sub, error));
        match->items = mc_arena_alloc(arena, sizeof *match->items);
        if (match->items == NULL) {
            return MC_ENOMEM;
        }
        match->count = 1;
        if (sub == NULL) {
            return mc_error_set(error, MC_EINVAL, "list_match.one_of", "is required");
        }
        return mc_error_in(mc_value_match_compile(arena, sub, &match->items[0], error), error, "list_match.one_of");
    }
    MC_TRY(mc_value_read_object(message, "or_match", &sub, error));
    if (sub != NULL) {
        match->kind = IS_ANY_OF;
        MC_TRY(mc_value_read_list(sub, "value_matchers", &items, &count, error));
        return mc_error_in(compile_list(arena, items, count, match, error), error, "or_match");
    }
    if (mc_value_get(message, "bool_match") != NULL) {
        match->kind = IS_BOOL;
        return mc_value_read_bool(message, "bool_match", &match->truth, error);
    }
    if (mc_value_get(message, "present_match") != NULL) {
        match->kind = IS_PRESENT;
        return mc_value_read_bool(message, "present_match", &match->truth, error);
    }
    if (mc_value_get(message, "null_match") != NULL) {
        match->kind = IS_NULL;
        return MC_OK;
    }
    return mc_error_set(error, MC_EINVAL, "", "must say what the value is matched with");
}

mc_status mc_value_match_compile(mc_arena *arena, const mc_value *message, const mc_value_match **out,
                                 mc_error *error) {
    mc_value_match *match = mc_arena_zalloc(arena, sizeof *match);
    if (match == NULL) {
        return MC_ENOMEM;
    }
    *out = match;
    return compile_any(arena, message, match, error);
}

static int any_item(const mc_value_match *match, const mc_value *list) {
    for (size_t i = 0; i < list->count; i++) {
        int holds = mc_value_match_test(match, &list->items[i]);
        if (holds != 0) {
            return holds;
        }
    }
    return 0;
}

int mc_value_match_test(const mc_value_match *match, const mc_value *value) {
    switch (match->kind) {
    case IS_PRESENT: return (value != NULL) == match->truth;
    case IS_ANY_OF:
        for (size_t i = 0; i < match->count; i++) {
            int holds = mc_value_match_test(match->items[i], value);
            if (holds != 0) {
                return holds;
            }
        }
        return 0;
    default: break;
    }
    if (value == NULL) {
        return 0;
    }
    switch (match->kind) {
    case IS_NULL: return value->kind == MC_NULL;
    case IS_EXACT: return value->kind == MC_NUMBER && value->number == match->start;
    case IS_RANGE: return value->kind == MC_NUMBER && value->number >= match->start && value->number < match->end;
    case IS_STRING: return value->kind == MC_STRING ? mc_string_match_test(&match->string, value->string) : 0;
    case IS_BOOL: return value->kind == MC_BOOL && value->boolean == match->truth;
    case HAS_ONE_OF: return value->kind == MC_LIST ? any_item(match->items[0], value) : 0;
    default: return 0;
    }
}

/* --- MetadataMatcher ---------------------------------------------------------------------------------------------------------- */

struct mc_metadata_match {
    mc_slice space;
    mc_slice *path;
    size_t count;
    const mc_value_match *value;
    bool invert;
};

static mc_status read_path(mc_arena *arena, const mc_value *message, mc_metadata_match *match, mc_error *error) {
    const mc_value *segments;
    MC_TRY(mc_value_read_list(message, "path", &segments, &match->count, error));
    match->path = mc_arena_zalloc(arena, match->count * sizeof *match->path);
    if (match->path == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < match->count; i++) {
        MC_TRY(mc_error_in(mc_read_name(arena, &segments[i], "key", &match->path[i], error), error, "path[%zu]", i));
    }
    return match->count == 0 ? mc_error_set(error, MC_EINVAL, "path", "must not be empty") : MC_OK;
}

mc_status mc_metadata_match_compile(mc_arena *arena, const mc_value *message, const mc_metadata_match **out,
                                    mc_error *error) {
    const mc_value *value;
    mc_metadata_match *match = mc_arena_zalloc(arena, sizeof *match);
    if (match == NULL) {
        return MC_ENOMEM;
    }
    *out = match;
    MC_TRY(mc_read_name(arena, message, "filter", &match->space, error));
    MC_TRY(read_path(arena, message, match, error));
    MC_TRY(mc_value_read_bool(message, "invert", &match->invert, error));
    MC_TRY(mc_value_read_object(message, "value", &value, error));
    if (value == NULL) {
        return mc_error_set(error, MC_EINVAL, "value", "is required");
    }
    return mc_error_in(mc_value_match_compile(arena, value, &match->value, error), error, "value");
}

static const mc_value *field(const mc_value *object, mc_slice name) {
    for (size_t i = 0; object != NULL && object->kind == MC_OBJECT && i < object->count; i++) {
        if (mc_slice_eq(object->names[i], name)) {
            return &object->items[i];
        }
    }
    return NULL;
}

const mc_value *mc_metadata_match_find(const mc_metadata_match *match, const mc_value *metadata) {
    const mc_value *value = field(metadata, match->space);
    for (size_t i = 0; i < match->count; i++) {
        value = field(value, match->path[i]);
    }
    return value;
}

int mc_metadata_match_test(const mc_metadata_match *match, const mc_value *metadata) {
    int holds = mc_value_match_test(match->value, mc_metadata_match_find(match, metadata));
    return holds < 0 ? holds : holds != match->invert;
}
