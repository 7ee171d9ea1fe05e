/* Cookie matchers (RT-14). */
#include "route/compile.h"
#include "route/matcher.h"

typedef struct cookie_match {
    mc_slice name;
    bool invert;
    mc_string_match string;
} cookie_match;

static int cookie_holds(const void *self, const mc_match_input *in) {
    const cookie_match *match = self;
    mc_slice value = MC_SLICE_NONE;
    bool present = mc_cookie_get(in->request->headers, match->name, &value);
    int holds = present ? mc_string_match_test(&match->string, value) : 0;
    return holds < 0 ? holds : holds != match->invert;
}

mc_status mc_match_cookie_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    static const char *const known[] = {"name", "string_match", "invert_match", NULL};
    MC_TRY(mc_refuse_unknown(value, known, error));
    cookie_match *match = mc_arena_zalloc(arena, sizeof *match);
    const mc_value *string;
    if (match == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_read_name(arena, value, "name", &match->name, error));
    MC_TRY(mc_value_read_bool(value, "invert_match", &match->invert, error));
    MC_TRY(mc_value_read_object(value, "string_match", &string, error));
    if (string == NULL) {
        return mc_error_set(error, MC_EINVAL, "string_match", "is required");
    }
    MC_TRY(mc_error_in(mc_string_match_compile(arena, string, &match->string, error), error, "string_match"));
    *out = (mc_matcher){cookie_holds, match};
    return MC_OK;
}
