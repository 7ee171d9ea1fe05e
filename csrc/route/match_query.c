/* Query parameter matchers (RT-13). */
#include "route/compile.h"
#include "route/matcher.h"

typedef struct query_match {
    mc_slice name;
    bool by_value; /* else by presence */
    bool present;
    mc_string_match string;
} query_match;

static int value_holds(const query_match *match, bool present, mc_slice value) {
    if (match->by_value) {
        return present ? mc_string_match_test(&match->string, value) : 0;
    }
    return present == match->present;
}

static int query_holds(const void *self, const mc_match_input *in) {
    const query_match *match = self;
    mc_slice value = MC_SLICE_NONE;
    bool present = mc_query_get(in->query, match->name, &value);
    return value_holds(match, present, value);
}

mc_slice mc_match_query_name(const mc_matcher *matcher) { return ((const query_match *)matcher->self)->name; }

int mc_match_query_value(const mc_matcher *matcher, bool present, mc_slice value) {
    return value_holds(matcher->self, present, value);
}

mc_status mc_match_query_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    static const char *const known[] = {"name", "string_match", "present_match", NULL};
    MC_TRY(mc_refuse_unknown(value, known, error));
    query_match *match = mc_arena_zalloc(arena, sizeof *match);
    const mc_value *string;
    if (match == NULL) {
        return MC_ENOMEM;
    }
    match->present = true;
    MC_TRY(mc_read_name(arena, value, "name", &match->name, error));
    MC_TRY(mc_value_read_bool(value, "present_match", &match->present, error));
    MC_TRY(mc_value_read_object(value, "string_match", &string, error));
    if (string != NULL) {
        match->by_value = true;
        MC_TRY(mc_error_in(mc_string_match_compile(arena, string, &match->string, error), error, "string_match"));
    }
    *out = (mc_matcher){query_holds, match};
    return MC_OK;
}
