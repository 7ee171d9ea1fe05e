/* MetadataMatcher and ValueMatcher (RT-14). */
#include "route/match_metadata.h"
#include "route/compile.h"

static mc_status compile_values(mc_arena *arena, const mc_value *value, const char *field, mc_value_match *out,
                                mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, field, &items, &count, error));
    if (count < 2) {
        return mc_error_set(error, MC_EINVAL, field, "must have at least two entries");
    }
    mc_value_match *matches = mc_arena_zalloc(arena, count * sizeof *matches);
    if (matches == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_value_match_compile(arena, &items[i], &matches[i], error), error, "%s[%zu]", field, i));
    }
    out->items = matches;
    out->count = (uint32_t)count;
    return MC_OK;
}

static mc_status compile_number(const mc_value *value, mc_value_match *out, mc_error *error) {
    const mc_value *range;
    MC_TRY(mc_value_read_object(value, "range", &range, error));
    if (range != NULL) {
        out->kind = MC_VALUE_RANGE;
        MC_TRY(mc_error_in(mc_value_read_double(range, "start", &out->start, error), error, "range"));
        return mc_error_in(mc_value_read_double(range, "end", &out->end, error), error, "range");
    }
    if (mc_value_get(value, "exact") == NULL) {
        return mc_error_set(error, MC_EINVAL, "", "must have one of range, exact");
    }
    out->kind = MC_VALUE_NUMBER;
    return mc_value_read_double(value, "exact", &out->start, error);
}

static mc_status compile_list(mc_arena *arena, const mc_value *value, mc_value_match *out, mc_error *error) {
    const mc_value *one;
    MC_TRY(mc_value_read_object(value, "one_of", &one, error));
    if (one == NULL) {
        return mc_error_set(error, MC_EINVAL, "one_of", "is required");
    }
    mc_value_match *match = mc_arena_zalloc(arena, sizeof *match);
    if (match == NULL) {
        return MC_ENOMEM;
    }
    out->kind = MC_VALUE_LIST;
    out->items = match;
    out->count = 1;
    return mc_error_in(mc_value_match_compile(arena, one, match, error), error, "one_of");
}

mc_status mc_value_match_compile(mc_arena *arena, const mc_value *value, mc_value_match *out, mc_error *error) {
    const mc_value *sub = NULL;
    *out = (mc_value_match){.kind = MC_VALUE_NULL};
    MC_TRY(mc_value_read_object(value, "null_match", &sub, error));
    if (sub != NULL) {
        return MC_OK;
    }
    MC_TRY(mc_value_read_object(value, "double_match", &sub, error));
    if (sub != NULL) {
        return mc_error_in(compile_number(sub, out, error), error, "double_match");
    }
    MC_TRY(mc_value_read_object(value, "string_match", &sub, error));
    if (sub != NULL) {
        out->kind = MC_VALUE_STRING;
        return mc_error_in(mc_string_match_compile(arena, sub, &out->string, error), error, "string_match");
    }
    MC_TRY(mc_value_read_object(value, "list_match", &sub, error));
    if (sub != NULL) {
        return mc_error_in(compile_list(arena, sub, out, error), error, "list_match");
    }
    MC_TRY(mc_value_read_object(value, "or_match", &sub, error));
    if (sub != NULL) {
        out->kind = MC_VALUE_OR;
        return mc_error_in(compile_values(arena, sub, "value_matchers", out, error), error, "or_match");
    }
    static const char *const flags[] = {"bool_match", "present_match"};
    for (int i = 0; i < 2; i++) {
        if (mc_value_get(value, flags[i]) != NULL) {
            out->kind = i == 0 ? MC_VALUE_BOOL : MC_VALUE_PRESENT;
            return mc_value_read_bool(value, flags[i], &out->flag, error);
        }
    }
    return mc_error_set(error, MC_EINVAL, "",
                        "must have one of null_match, double_match, string_match, bool_match, present_match, "
                        "list_match, or_match");
}

static int any_holds(const mc_value_match *match, const mc_value *value) {
    for (uint32_t i = 0; i < match->count; i++) {
        int holds = mc_value_match_test(&match->items[i], value);
        if (holds != 0) {
            return holds;
        }
    }
    return 0;
}

int mc_value_match_test(const mc_value_match *match, const mc_value *value) {
    if (match->kind == MC_VALUE_OR) {
        return any_holds(match, value);
    }
    if (value == NULL) {
        return 0;
    }
    switch (match->kind) {
    case MC_VALUE_NULL: return value->kind == MC_NULL;
    case MC_VALUE_NUMBER: return value->kind == MC_NUMBER && value->number == match->start;
    case MC_VALUE_RANGE: return value->kind == MC_NUMBER && value->number >= match->start && value->number < match->end;
    case MC_VALUE_STRING: return value->kind == MC_STRING ? mc_string_match_test(&match->string, value->string) : 0;
    case MC_VALUE_BOOL: return value->kind == MC_BOOL && value->boolean == match->flag;
    case MC_VALUE_PRESENT: return match->flag;
    case MC_VALUE_LIST:
        for (size_t i = 0; value->kind == MC_LIST && i < value->count; i++) {
            int holds = any_holds(match, &value->items[i]);
            if (holds != 0) {
                return holds;
            }
        }
        return 0;
    case MC_VALUE_OR: break;
    }
    return 0;
}

mc_status mc_metadata_match_compile(mc_arena *arena, const mc_value *value, mc_metadata_match *out, mc_error *error) {
    const mc_value *sub;
    MC_TRY(mc_metadata_place_read(arena, value, "filter", &out->place, error));
    MC_TRY(mc_value_read_object(value, "value", &sub, error));
    if (sub == NULL) {
        return mc_error_set(error, MC_EINVAL, "value", "is required");
    }
    MC_TRY(mc_error_in(mc_value_match_compile(arena, sub, &out->value, error), error, "value"));
    return mc_value_read_bool(value, "invert", &out->invert, error);
}

int mc_metadata_match_test(const mc_metadata_match *match, const mc_value *metadata) {
    int holds = mc_value_match_test(&match->value, mc_metadata_find(metadata, &match->place));
    return holds < 0 ? holds : holds != match->invert;
}

static int metadata_holds(const void *self, const mc_match_input *in) {
    const mc_stream_info *info = in->request->info;
    return mc_metadata_match_test(self, info == NULL ? NULL : info->dynamic_metadata);
}

mc_status mc_match_metadata_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    mc_metadata_match *match = mc_arena_zalloc(arena, sizeof *match);
    if (match == NULL) {
        return MC_ENOMEM;
    }
    *out = (mc_matcher){metadata_holds, match};
    return mc_metadata_match_compile(arena, value, match, error);
}
